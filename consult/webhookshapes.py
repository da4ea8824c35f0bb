"""What a webhook is sent, and what its answer means. No I/O, no clock.

WeCom, DingTalk and Feishu: their robots for groups; ``json``: ``huizhen.notice/1``, signed as Standard Webhooks
(https://www.standardwebhooks.com) lays down. docs/room-notices.md shows each shape.

What a notice says comes partly from the car and the workshop. In a group's message it is text and nothing else: no
link, no call to everybody, no colour.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from consult.noticesettings import DINGTALK, FEISHU, JSON, WECOM
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consult.notices import Notice
    from consult.noticesettings import Hook, Webhook

__all__ = [
    "MOST_AT_ONCE",
    "KeptNotice",
    "Letter",
    "Outcome",
    "Verdict",
    "compose",
    "how_many_fit",
    "judge",
    "lines_of",
    "link_of",
    "plain",
]

MOST_AT_ONCE: Final = 20
"""Notices in one message of a group."""

_MAX_BYTES: Final = {WECOM: 3800, DINGTALK: 15_000, FEISHU: 15_000}
"""Of a message's text. WeCom takes 4096 bytes of markdown, 2048 of text; DingTalk and Feishu about 20 kB in all."""

_WECOM_TEXT_BYTES: Final = 2000
_TITLE_CHARS: Final = 120
_TEXT_CHARS: Final = 600
_MARKS: Final = {ord(a): b for a, b in zip("[]()<>*_`~#@|\\", "［］（）＜＞＊＿｀～＃＠｜＼", strict=True)}
_SEVERITY: Final = {
    "danger": Text("DANGER", "危险"),
    "high": Text("High", "高"),
    "normal": Text("Normal", "一般"),
}
_COLOUR: Final = {"danger": "warning", "high": "warning", "normal": "comment"}
_OPEN: Final = Text("Open", "打开")
_SEVERAL: Final = Text("{n} notices", "{n} 条通知")
_WECOM_PAUSE_S: Final = 60.0
_DINGTALK_PAUSE_S: Final = 600.0
"""DingTalk takes nothing for ten minutes from who was too fast."""

_TOO_FAST: Final = {
    WECOM: {45009: _WECOM_PAUSE_S},
    DINGTALK: {130101: _DINGTALK_PAUSE_S, 410100: _DINGTALK_PAUSE_S, 90030: _DINGTALK_PAUSE_S},
    FEISHU: {11232: 60.0, 9499: 60.0},
}
_BUSY: Final = {WECOM: {-1, 6000}, DINGTALK: {-1}, FEISHU: {11233}}
"""The other side's own troubles, by its code."""


@dataclass(frozen=True, slots=True)
class KeptNotice:
    """A notice as it is kept: ``n`` counts them, ``ident`` names it for good, also when it comes twice."""

    n: int
    ident: str
    notice: Notice

    @property
    def short(self) -> str:
        """Enough of the name to see in a chat that something came twice."""
        return self.ident.removeprefix("msg_")[:8]


@dataclass(frozen=True, slots=True)
class Letter:
    """One HTTP POST. ``url`` may hold a key: it is shown to nobody."""

    url: str
    headers: dict[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"Letter({len(self.body)} bytes)"


class Outcome:
    """What became of a message."""

    SENT: Final = "sent"
    LATER: Final = "later"
    """The other side is away, busy or counts: the same again, after a while."""
    REFUSED: Final = "refused"
    """It was understood and not taken."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """``reason``: a word for the log and the page, without any text of the other side. ``wait_s``: asked for by it."""

    outcome: str
    reason: str = ""
    wait_s: float | None = None


def plain(text: str, limit: int) -> str:
    """One line that no chat program takes for more than text: what could format, link or call is made wide."""
    seen = "".join(
        " " if char.isspace() or unicodedata.category(char) in ("Cc", "Zl", "Zp") else char
        for char in text[: 4 * limit]
        if unicodedata.category(char) not in ("Cf", "Cs", "Co")
    )
    line = " ".join(seen.split()).translate(_MARKS)
    line = re.sub(r"(?i)(https?|ftp|dingtalk|wxwork)://", r"\1：//", line)
    line = re.sub(r"(?i)\bwww\.", "www．", line)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _said(text: Text, language: str) -> list[str]:
    """A text in the languages asked for, once where both are the same."""
    found = {"zh": [text.zh], "en": [text.en], "both": [text.zh, text.en]}[language]
    return list(dict.fromkeys(one for one in found if one))


def lines_of(kept: KeptNotice, language: str) -> tuple[list[str], list[str]]:
    """Title lines and further lines of a notice, each plain."""
    notice = kept.notice
    titles = [plain(one, _TITLE_CHARS) for one in _said(notice.title, language)]
    return titles, [plain(one, _TEXT_CHARS) for one in _said(notice.text, language)]


def link_of(base_url: str, notice: Notice) -> str:
    """Where one goes on. Only addresses of the service itself: a path that is none leads to its front door."""
    path = notice.path if re.fullmatch(r"/(?!/)[A-Za-z0-9/_.?=&-]{0,200}(#[a-z0-9-]{1,40})?", notice.path) else "/rooms"
    return base_url.rstrip("/") + path


def _grade(notice: Notice, language: str) -> str:
    return " ".join(_said(_SEVERITY[notice.severity], language))


def _open(language: str) -> str:
    return " ".join(_said(_OPEN, language))


def _markdown(kept: KeptNotice, base_url: str, language: str, *, coloured: bool) -> str:
    """One notice as the few marks of markdown that WeCom and DingTalk share."""
    titles, texts = lines_of(kept, language)
    grade = _grade(kept.notice, language)
    if coloured:
        grade = f'<font color="{_COLOUR[kept.notice.severity]}">{grade}</font>'
    rows = [f"**{grade}** {titles[0] if titles else ''}", *titles[1:], *(f"> {one}" for one in texts)]
    rows.append(f"[{_open(language)}]({link_of(base_url, kept.notice)}) {kept.short}")
    return "\n\n".join(rows) if not coloured else "\n".join(rows)


def _plain_rows(kept: KeptNotice, base_url: str, language: str) -> str:
    titles, texts = lines_of(kept, language)
    head = f"【{_grade(kept.notice, language)}】{' / '.join(titles)}"
    return "\n".join([head, *texts, link_of(base_url, kept.notice), kept.short])


def _is_call(hook: Webhook, kept: Sequence[KeptNotice]) -> bool:
    return hook.at_all and any(one.notice.severity == "danger" for one in kept)


def _text_of(hook: Webhook, kept: Sequence[KeptNotice], base_url: str) -> str:
    """The text of a group's message, of several notices one below the other."""
    if hook.speaks == WECOM and _is_call(hook, kept):
        return "\n\n".join(_plain_rows(one, base_url, hook.language) for one in kept)
    rule = "\n\n---\n\n" if hook.speaks == DINGTALK else "\n\n"
    return rule.join(_markdown(one, base_url, hook.language, coloured=hook.speaks == WECOM) for one in kept)


def how_many_fit(hook: Hook, kept: Sequence[KeptNotice], base_url: str) -> int:
    """How many of some notices, from the first one on, go together in one message; at least one."""
    speaks = hook.kind
    if speaks == JSON:
        return 1
    if speaks not in _MAX_BYTES:
        return min(len(kept), MOST_AT_ONCE)
    limit, size = _MAX_BYTES[speaks], 0
    from consult.noticesettings import Webhook

    if not isinstance(hook, Webhook):
        return 1
    if speaks == WECOM and _is_call(hook, kept):
        limit = _WECOM_TEXT_BYTES
    for count, one in enumerate(kept[:MOST_AT_ONCE]):
        size += len(_text_of(hook, [one], base_url).encode()) + 10
        if size > limit - 200 and count:
            return count
    return min(len(kept), MOST_AT_ONCE)


def compose(hook: Webhook, kept: Sequence[KeptNotice], base_url: str, now_us: int) -> Letter:
    """The message for some notices (for ``json`` exactly one), signed as of now (UTC microseconds)."""
    make = {WECOM: _wecom, DINGTALK: _dingtalk, FEISHU: _feishu, JSON: _json}[hook.speaks]
    return make(hook, kept, base_url, now_us)


def _letter(url: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> Letter:
    data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    return Letter(url, {"Content-Type": "application/json; charset=utf-8", **(headers or {})}, data)


def _cut(text: str, limit: int) -> str:
    """No more than ``limit`` bytes of UTF-8, no half characters."""
    data = text.encode()
    return text if len(data) <= limit else data[: limit - 3].decode(errors="ignore") + "…"


def _wecom(hook: Webhook, kept: Sequence[KeptNotice], base_url: str, _: int) -> Letter:
    text = _text_of(hook, kept, base_url)
    if _is_call(hook, kept):
        # Only plain text can call everybody there.
        body = {"content": _cut(text, _WECOM_TEXT_BYTES), "mentioned_list": ["@all"]}
        return _letter(hook.url, {"msgtype": "text", "text": body})
    return _letter(hook.url, {"msgtype": "markdown", "markdown": {"content": _cut(text, _MAX_BYTES[WECOM])}})


def _heading(kept: Sequence[KeptNotice], language: str) -> str:
    """One line for where a list of messages shows no more. The word 会诊 passes a robot's filter for keywords."""
    if len(kept) > 1:
        return "会诊 " + " ".join(one.format(n=len(kept)) for one in _said(_SEVERAL, language))
    titles, _ = lines_of(kept[0], language)
    return f"会诊 {_grade(kept[0].notice, language)} {titles[0] if titles else ''}".strip()


def _dingtalk(hook: Webhook, kept: Sequence[KeptNotice], base_url: str, now_us: int) -> Letter:
    url = hook.url
    if hook.secret:
        stamp = str(now_us // 1000)
        digest = hmac.digest(hook.secret.encode(), f"{stamp}\n{hook.secret}".encode(), hashlib.sha256)
        joint = "&" if "?" in url else "?"
        url += f"{joint}timestamp={stamp}&sign={quote(base64.b64encode(digest).decode(), safe='')}"
    heading = _heading(kept, hook.language)
    text = f"### 会诊\n\n{_cut(_text_of(hook, kept, base_url), _MAX_BYTES[DINGTALK])}"
    if len(kept) == 1 and not _is_call(hook, kept):
        card = {
            "title": heading,
            "text": text,
            "singleTitle": _open(hook.language),
            "singleURL": link_of(base_url, kept[0].notice),
        }
        return _letter(url, {"msgtype": "actionCard", "actionCard": card})
    body: dict[str, Any] = {"msgtype": "markdown", "markdown": {"title": heading, "text": text}}
    if _is_call(hook, kept):
        body["at"] = {"isAtAll": True}
    return _letter(url, body)


def _feishu(hook: Webhook, kept: Sequence[KeptNotice], base_url: str, now_us: int) -> Letter:
    rows: list[list[dict[str, str]]] = []
    for one in kept:
        titles, texts = lines_of(one, hook.language)
        head = f"【{_grade(one.notice, hook.language)}】{' / '.join(titles)}"
        rows += [[{"tag": "text", "text": said}] for said in (head, *texts)]
        link = {"tag": "a", "text": _open(hook.language), "href": link_of(base_url, one.notice)}
        rows.append([link, {"tag": "text", "text": f" {one.short}"}])
    post = {"zh_cn": {"title": _heading(kept, hook.language), "content": rows}}
    body: dict[str, Any] = {"msg_type": "post", "content": {"post": post}}
    if hook.secret:
        stamp = str(now_us // 1_000_000)
        # Here the text is the key, and nothing is signed with it.
        digest = hmac.digest(f"{stamp}\n{hook.secret}".encode(), b"", hashlib.sha256)
        body = {"timestamp": stamp, "sign": base64.b64encode(digest).decode(), **body}
    return _letter(hook.url, body)


def _json(hook: Webhook, kept: Sequence[KeptNotice], base_url: str, now_us: int) -> Letter:
    (one,) = kept
    body = {
        "schema": "huizhen.notice/1",
        "id": one.ident,
        "n": one.n,
        **one.notice.to_json(),
        "url": link_of(base_url, one.notice),
    }
    letter = _letter(hook.url, body)
    stamp = str(now_us // 1_000_000)
    signed = b".".join((one.ident.encode(), stamp.encode(), letter.body))
    digest = hmac.digest(_json_key(hook.secret), signed, hashlib.sha256)
    letter.headers.update(
        {
            "webhook-id": one.ident,
            "webhook-timestamp": stamp,
            "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
        }
    )
    return letter


def _json_key(secret: str) -> bytes:
    """``whsec_`` and base64, as Standard Webhooks writes keys; anything else is taken as it stands."""
    if secret.startswith("whsec_"):
        try:
            return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            return secret.encode()
    return secret.encode()


def judge(speaks: str, status: int, body: bytes, retry_after: str = "") -> Verdict:
    """What an answer means. ``retry_after``: the header of that name."""
    if status == 429 or status == 503:
        asked = float(retry_after) if retry_after.isascii() and retry_after.isdecimal() else None
        return Verdict(Outcome.LATER, f"http-{status}", None if asked is None else min(asked, 3600.0))
    if status >= 500 or status in (408, 425):
        return Verdict(Outcome.LATER, f"http-{status}")
    if 300 <= status < 400:
        return Verdict(Outcome.REFUSED, "redirect")
    if not 200 <= status < 300:
        return Verdict(Outcome.REFUSED, f"http-{status}")
    if speaks == JSON:
        return Verdict(Outcome.SENT)
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return Verdict(Outcome.LATER, "answer-strange")  # a proxy's or a portal's page: the robot has not spoken
    if not isinstance(answer, dict):
        return Verdict(Outcome.LATER, "answer-strange")
    names = ("code", "StatusCode") if speaks == FEISHU else ("errcode",)
    code = next((answer[name] for name in names if name in answer), None)
    if isinstance(code, bool) or not isinstance(code, int):
        return Verdict(Outcome.LATER, "answer-strange")
    if code == 0:
        return Verdict(Outcome.SENT)
    if code in _TOO_FAST[speaks]:
        return Verdict(Outcome.LATER, f"answer-{code}", _TOO_FAST[speaks][code])
    return Verdict(Outcome.LATER if code in _BUSY[speaks] else Outcome.REFUSED, f"answer-{code}")
