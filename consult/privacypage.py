"""The privacy page: who runs the service, what it keeps and why, who sees it, how long, what one may ask. No script."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from consult.consenttexts import SHARING, consent_texts
from diag.facts import Text

if TYPE_CHECKING:
    from consult.privacyconfig import PrivacyConfig

__all__ = ["PRIVACY_STYLE", "privacy_page"]

PRIVACY_STYLE: Final = """:root { color-scheme: light dark; font: 16px/1.6 system-ui, "Noto Sans CJK SC", sans-serif; }
body { max-width: 44rem; margin: 0 auto; padding: 1rem 1.25rem 3rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .5rem 0 1rem; }
h2 { font-size: 1.1rem; margin: 1.8rem 0 .4rem; }
.lang { display: inline-block; padding: .6rem 1rem .6rem 0; min-height: 40px; box-sizing: border-box; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .45rem .8rem .45rem 0; }
th, td { border-bottom: 1px solid color-mix(in srgb, currentColor 25%, transparent); }
th { width: 38%; font-weight: 600; }
@media (max-width: 30rem) {
  th, td { display: block; width: auto; padding-right: 0; }
  th { border: 0; padding-bottom: 0; }
  td { padding-top: .1rem; }
}
.small { opacity: .75; font-size: .85rem; }
"""

_TITLE: Final = Text("Privacy in the expert room", "会诊室隐私说明")
_OTHER: Final = Text("中文", "English")
_WHO: Final = Text("Who is responsible", "谁负责处理数据")
_NOBODY: Final = Text(
    "The workshop that runs this service; its owner has not entered a name here yet. Ask the technician.",
    "运营本服务的门店；运营者尚未填写名称，请向技师询问。",
)
_CONTACT: Final = Text("Contact", "联系方式")
_REGION: Final = Text("The data are kept in", "数据存放地区")
_WATCHED: Final = Text("Rooms may be watched from", "允许查看的地区")
_WHAT: Final = Text("What is kept, and why", "保存哪些数据及用途")
_LONG: Final = Text("How long", "保存期限")
_SEES: Final = Text("Who sees it", "谁能看到")
_AGREE: Final = Text("What is asked for separately", "需要单独同意的事项")
_RIGHTS: Final = Text("Your rights", "您的权利")
_BROWSER: Final = Text("In your browser", "浏览器中的数据")

_KEPT: Final = (
    (
        Text("The car: report, fault codes, signals, battery", "车辆：报告、故障码、信号、电池"),
        Text("to find the fault together and to prove what was done", "共同查找故障，并证明所做的工作"),
    ),
    (
        Text("The vehicle identification number", "车架号（VIN）"),
        Text(
            "to find the car again; experts and observers see its beginning and its last four characters",
            "用于识别车辆；普通专家和旁观者仅能看到开头和后四位",
        ),
    ),
    (
        Text(
            "Chat, marks, files, frozen pictures of the camera, requests to the car, with names and times",
            "聊天、标记、文件、摄像头冻结画面、对车辆的请求及姓名和时间",
        ),
        Text(
            "the record of the job, chained and signed against later changes", "会诊记录，带哈希链和签名，防止事后改动"
        ),
    ),
    (
        Text("Sound and pictures of calls", "通话的声音和图像"),
        Text(
            "only where everybody in the call agreed to the recording; otherwise nothing of a call is kept",
            "仅在通话中所有人同意录制时保存；否则不保存通话内容",
        ),
    ),
    (
        Text("Who came in, when, from which address was refused", "进入者、时间，以及被拒绝的来访地址"),
        Text("to protect the service (audit)", "保护服务安全（审计）"),
    ),
    (
        Text("The car's position", "车辆位置"),
        Text("not collected, unless the workshop has switched it on", "默认不采集，除非门店主动开启"),
    ),
)
_PEOPLE: Final = Text(
    "Technician and lead expert see everything; experts and observers see no full VIN and no raw frames. Who runs the "
    "service can read what it keeps; on the disk it is encrypted with a key for each room, unless the owner has turned "
    "that off.",
    "技师和首席专家可看到全部内容；普通专家和旁观者看不到完整车架号和原始帧。服务运营者可以读取其保存的数据；"
    "除非运营者关闭加密，磁盘上的数据按会诊室分别加密。",
)
_LEARNT: Final = (
    (
        Text(
            "A draft of the case: codes, findings, what was done, without names",
            "案例草稿：故障码、结论、处理措施，不含姓名",
        ),
        Text("to learn from it for other cars, after a person's review", "经人工审核后用于帮助其他车辆"),
    ),
    (
        Text(
            "A visit of the car: codes, findings, the fix, whether it helped, day, thousands of kilometres",
            "到店记录：故障码、结论、处理措施及结果、日期、里程（千公里）",
        ),
        Text(
            "so that another workshop knows what was tried; only with the technician's consent",
            "使其他门店了解已尝试的处理；仅在技师同意时保存",
        ),
    ),
    (
        Text("Codes and day of a car that was not cured", "未修好车辆的故障码和日期"),
        Text(
            "for the service's research; the workshops get its answer, not the car",
            "供研发分析；门店仅得到答复，不含车辆信息",
        ),
    ),
)
_RECORD: Final = Text(
    "The room's record: car data, chat, files, frozen pictures, recordings of calls",
    "会诊记录：车辆数据、聊天、文件、冻结画面、通话录制",
)
_DELETED: Final = Text(
    "{days} days after the room ends; the technician or the lead may choose otherwise for a room, within bounds, and a "
    "legal hold stops it",
    "会诊结束后 {days} 天；技师或首席专家可在限定范围内为单个会诊室另行选择，法律保全期间不删除",
)
_UNLIMITED: Final = Text("until somebody deletes it", "保存至有人删除为止")
_TERMS: Final = (
    (Text("Visits of cars, for the network of workshops", "为门店网络保存的到店记录"), "visits"),
    (Text("Drafts of cases, and the cases that come of them", "案例草稿及由此形成的案例"), "drafts"),
    (Text("Problems for research: which rooms they come from", "研发问题：来自哪些会诊室"), "research"),
)
_LASTS: Final = {
    "visits": Text(
        "{visits} days, or until the consent is withdrawn; what workshops have read by then stays with them",
        "{visits} 天，或至撤回同意时；此前门店已获取的内容由其保存",
    ),
    "drafts": Text(
        "until somebody deletes them; when the car is forgotten nothing leads from them to it any more",
        "保存至有人删除为止；删除车辆数据后不再与该车关联",
    ),
    "research": Text("as long as the room's record", "与会诊记录相同"),
}
_WAITS: Final = Text("How long cars waited for an expert", "车辆等待专家的时间")
_AUDIT: Final = Text("The audit and proofs of consent", "审计记录和同意凭证")
_DAYS: Final = Text("{days} days", "{days} 天")
_MAY: Final = (
    Text(
        "know what is held about you or your car, and get a copy in a readable form",
        "了解并以可读格式获取与您或您车辆有关的数据",
    ),
    Text("have wrong data corrected", "更正不准确的数据"),
    Text("have it deleted; a deletion comes with a signed certificate", "删除数据；删除后提供带签名的证明"),
    Text("withdraw what you agreed to; what was done before stays lawful", "撤回同意；撤回前的处理不受影响"),
    Text("object, and complain to the authority for data protection", "提出异议，并向主管部门投诉"),
)
_ASK: Final = Text("Turn to the contact above, or to the workshop.", "请联系上述联系方式或门店。")
_COOKIES: Final = Text(
    "One cookie for your session in the room, one for your account where you sign in; your name, language and layout. "
    "Nothing from third parties, no tracking.",
    "用于会诊室会话的一个 Cookie，登录账号时另有一个；以及您的姓名、语言和页面布局。没有第三方内容，不做跟踪。",
)
_VERSION: Final = Text("Version of the notice at the door", "入口告知版本")


def privacy_page(
    lang: str, privacy: PrivacyConfig, *, audit_days: int, version: str, visit_days: int = 0, waiting_days: int = 0
) -> str:
    """The whole page in one language; everything that is filled in is escaped.

    Args:
        lang: ``en`` or ``zh``.
        privacy: the service's settings.
        audit_days: how long the audit is kept.
        version: of the notice at the door.
        visit_days: how long visits are remembered; 0 where the service keeps no network of workshops.
        waiting_days: how long it is known how long cars waited.
    """

    def say(text: Text) -> str:
        return escape(text.in_language(lang))

    def section(title: Text, body: str) -> str:
        return f"<h2>{say(title)}</h2>{body}"

    def table(rows: list[tuple[str, str]]) -> str:
        return "<table>" + "".join(f"<tr><th>{one}</th><td>{other}</td></tr>" for one, other in rows) + "</table>"

    other = "en" if lang == "zh" else "zh"
    agreed = [text for kind, text in consent_texts(visit_days).items() if visit_days or kind != SHARING]
    facts = []
    if privacy.contact:
        facts.append((say(_CONTACT), escape(privacy.contact)))
    if privacy.region:
        facts.append((say(_REGION), escape(privacy.region)))
    if privacy.regions.allowed:
        facts.append((say(_WATCHED), escape(", ".join(sorted(privacy.regions.allowed)))))
    long = _DELETED if privacy.retention_days else _UNLIMITED
    terms = [(say(_RECORD), say(long).format(days=privacy.retention_days))]
    if visit_days:
        terms += [(say(what), say(_LASTS[key]).format(visits=visit_days)) for what, key in _TERMS]
    if waiting_days:
        terms.append((say(_WAITS), say(_DAYS).format(days=waiting_days)))
    terms.append((say(_AUDIT), say(_DAYS).format(days=audit_days)))
    parts = (
        section(
            _WHO,
            f"<p>{escape(privacy.operator) if privacy.operator else say(_NOBODY)}</p>"
            + (table(facts) if facts else ""),
        ),
        section(_WHAT, table([(say(what), say(why)) for what, why in (*_KEPT, *(_LEARNT if visit_days else ()))])),
        section(_SEES, f"<p>{say(_PEOPLE)}</p>"),
        section(_LONG, table(terms)),
        section(_AGREE, "<ul>" + "".join(f"<li>{say(text)}</li>" for text in agreed) + "</ul>"),
        section(_RIGHTS, "<ul>" + "".join(f"<li>{say(text)}</li>" for text in _MAY) + f"</ul><p>{say(_ASK)}</p>"),
        section(_BROWSER, f"<p>{say(_COOKIES)}</p>"),
    )
    return (
        f'<!doctype html><html lang="{lang}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">'
        f'<title>{say(_TITLE)}</title><link rel="icon" href="/icon.svg">'
        '<link rel="stylesheet" href="/privacy/style.css"></head><body>'
        f'<a class="lang" href="/privacy?lang={other}" hreflang="{other}">{say(_OTHER)}</a>'
        f"<h1>{say(_TITLE)}</h1>{''.join(parts)}"
        f'<p class="small">{say(_VERSION)}: <code>{escape(version)}</code></p>'
        "</body></html>"
    )
