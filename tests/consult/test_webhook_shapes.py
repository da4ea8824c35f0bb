"""What webhooks are sent, whatever a notice says; their pace; their settings."""

import json
import re

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from noticekit import PATHS, Clock, DingTalk, Feishu, JsonReceiver, SmtpServer, WeCom, hook_for, make_notice

from consult.configfile import load_config
from consult.errors import ConfigBroken
from consult.mailer import compose_mail
from consult.notices import SEVERITIES, Notice
from consult.noticesettings import MailServer, Webhook
from consult.webhookpace import LONGEST_WAIT_S, Pace, wait_after
from consult.webhookshapes import (
    MOST_AT_ONCE,
    KeptNotice,
    Outcome,
    compose,
    how_many_fit,
    judge,
    link_of,
    plain,
)
from diag.facts import Text
from huizhen.cli import main
from huizhen.exits import Exit

BASE = "https://room.example.com"
KINDS = (WeCom, DingTalk, Feishu, JsonReceiver)


def hook_of(kind, **more):
    robot = kind()
    robot.url = f"https://robot.example.com{kind.path}"
    return hook_for(robot, **more)


def kept_of(n, title, text="", severity="normal", path="/rooms"):
    return KeptNotice(
        n, f"msg_{n:032x}", Notice("queued", severity, Text(title, title), Text(text, text), 1, path=path)
    )


anything = st.text(max_size=900)
evil = st.sampled_from(
    [
        "[click](http://evil.example)",
        "<@all>",
        '<font color="info">x</font>',
        "@所有人",
        "# head",
        "![x](https://evil.example/p.png)",
        "dingtalk://dingtalkclient/page/link?url=x",
        "a\r\nBcc: other@example.com",
        "\u202egnp.exe",
        "`x` ~~y~~ **z**",
        "www.evil.example",
    ]
)


@given(anything | evil)
def test_security_what_a_car_says_is_only_text(said):
    shown = plain(said, 200)
    assert len(shown) <= 200
    assert not set(shown) & set("[]()<>*_`~#@|\\\r\n\t\u202e\u2028\x00")
    assert "://" not in shown
    assert not re.search(r"(?i)www\.", shown)
    assert plain(shown, 200) == shown
    shown.encode()


@given(
    st.lists(st.tuples(anything | evil, anything | evil, st.sampled_from(SEVERITIES)), min_size=1, max_size=30),
    st.sampled_from(KINDS),
    st.sampled_from(["zh", "en", "both"]),
    st.booleans(),
)
def test_every_message_is_one_that_the_receiver_takes(said, kind, language, at_all):
    at_all = at_all and kind in (WeCom, DingTalk)
    hook = hook_of(kind, language=language, at_all=at_all)
    kept = [kept_of(n, title, text, severity) for n, (title, text, severity) in enumerate(said)]
    count = how_many_fit(hook, kept, BASE)
    assert 1 <= count <= min(len(kept), MOST_AT_ONCE)
    letter = compose(hook, kept[:count], BASE, 1_700_000_000_000_000)
    body = json.loads(letter.body)
    if kind is WeCom:
        text = body[body["msgtype"]]["content"]
        assert 0 < len(text.encode()) <= (4096 if body["msgtype"] == "markdown" else 2048)
    elif kind is not JsonReceiver:
        assert len(letter.body) <= 20_000
    if kind is not JsonReceiver:
        text = json.dumps(body, ensure_ascii=False)
        for one in kept[:count]:
            assert f"{one.ident[4:12]}" in text, "nothing is cut off when it goes in company"
    targets = re.findall(r"\]\(([^)]*)\)", letter.body.decode()) if kind in (WeCom, DingTalk) else []
    assert all(target == f"{BASE}/rooms" for target in targets)
    assert "example.com" not in letter.url.replace("robot.example.com", "")


@given(anything | evil, anything | evil)
def test_security_no_notice_adds_a_head_to_a_mail(title, text):
    mail = MailServer(name="mail", host="localhost", port=25, sender="room@example.com", to=("duty@example.com",))
    message = compose_mail(mail, [kept_of(1, title, text)], BASE, 1_700_000_000_000_000)
    heads = {"from", "to", "subject", "date", "message-id", "auto-submitted"}
    heads |= {"content-type", "content-transfer-encoding", "mime-version"}
    assert {name.lower() for name in message} == heads
    message.as_bytes()


@given(st.text(max_size=80))
def test_security_a_link_leads_to_the_service_only(path):
    link = link_of(BASE, make_notice(path=path))
    assert link.startswith(f"{BASE}/")
    assert not link.startswith(f"{BASE}//")
    assert link.isascii()


def test_paths_that_are_ours_are_kept():
    for path in ("/rooms", "/r/0123456789ab", "/board", "/drafts/7?tab=open"):
        assert link_of(f"{BASE}/", make_notice(path=path)) == BASE + path


@pytest.mark.parametrize("path", PATHS)
def test_every_notice_leads_to_where_it_says(path):
    assert link_of(BASE, make_notice(path=path)) == BASE + path


def test_a_hash_is_a_short_plain_word():
    for path in ("/review#", "/review#a#b", "/review#" + "a" * 41, "/review#<b>", "#draft-3", "//evil.example#a"):
        assert link_of(BASE, make_notice(path=path)) == f"{BASE}/rooms"


def test_the_signature_is_that_of_standard_webhooks():
    """The example of the specification's own libraries: key, id, time and body give this signature."""
    import base64
    import hashlib
    import hmac

    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    known = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    payload = b'{"test": 2432232314}'
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330." + payload
    assert "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() == known
    hook = Webhook(name="x", speaks="json", url=BASE, secret=secret)
    letter = compose(hook, [kept_of(1, "t")], BASE, 1_614_265_330_000_000)
    mine = letter.headers["webhook-id"].encode() + b".1614265330." + letter.body
    assert (
        letter.headers["webhook-signature"]
        == "v1," + base64.b64encode(hmac.new(key, mine, hashlib.sha256).digest()).decode()
    )


@given(
    st.sampled_from(["wecom", "dingtalk", "feishu", "json"]), st.integers(100, 599), st.binary(max_size=60), anything
)
def test_any_answer_is_judged(speaks, status, body, after):
    verdict = judge(speaks, status, body, after)
    assert verdict.outcome in (Outcome.SENT, Outcome.LATER, Outcome.REFUSED)
    assert verdict.wait_s is None or 0 <= verdict.wait_s <= 3600
    assert re.fullmatch(r"[a-z0-9-]*", verdict.reason)
    assert verdict.outcome != Outcome.SENT or 200 <= status < 300


# -- pace ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(0, 30), st.booleans()), min_size=1, max_size=200))
def test_no_minute_holds_more_messages_than_the_robot_takes(steps):
    pace, now_s, sent = Pace(20), 1000.0, []
    for pause_s, is_danger in steps:
        now_s += pause_s
        now_s += pace.wait_s(now_s, is_danger=is_danger)
        assert pace.wait_s(now_s + 1e-6, is_danger=is_danger) == 0
        pace.note_try(now_s)
        pace.note_sent()
        sent.append((now_s, is_danger))
    for at_s, _ in sent:
        minute = [danger for when_s, danger in sent if at_s <= when_s < at_s + 60]
        assert len(minute) <= 20


def test_waits_grow_to_half_an_hour_and_differ():
    assert [wait_after(n, 0.0) for n in (1, 2, 3)] == [5, 10, 20]
    assert wait_after(1, 1.0) == 2.5
    assert wait_after(10**6, 0.0) == LONGEST_WAIT_S


# -- settings --------------------------------------------------------------------------------------------------------

WHOLE = """\
public_url = "https://room.example.com"

[[webhook]]
name = "duty"
kind = "wecom"
url = "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=KEY"
at_all = true
kinds = ["queued", "escalated"]
severity = "high"
language = "zh"

[[webhook]]
name = "crm"
kind = "json"
url = "https://crm.example.com/in"
secret = "0123456789abcdef"
ca = "crm.pem"

[mail]
host = "mail.example.com"
username = "u"
password = "p"
from = "room@example.com"
to = ["a@example.com", "b@example.com"]
"""


@pytest.fixture
def load(tmp_path):
    def load(text):
        path = tmp_path / "service.toml"
        path.write_text(text, encoding="utf-8")
        return load_config(path)

    return load


def test_every_webhook_setting_arrives(load, tmp_path):
    found = load(WHOLE)
    duty, crm = found["webhooks"]
    assert (duty.name, duty.kind, duty.at_all, duty.kinds) == ("duty", "wecom", True, ("queued", "escalated"))
    assert (duty.severity, duty.language) == ("high", "zh")
    assert crm.ca == tmp_path / "crm.pem"
    mail = found["mail"]
    assert (mail.host, mail.port, mail.security, mail.to) == (
        "mail.example.com", 587, "starttls", ("a@example.com", "b@example.com"),
    )  # fmt: skip
    assert all(secret not in repr(found) for secret in ("KEY", "0123456789abcdef", "a@example.com", "password"))


HEAD = '[[webhook]]\nname = "x"\n'


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('[[webhook]]\nkind = "wecom"\nurl = "https://a/"\n', 1, "has name, kind and url"),
        (HEAD + 'kind = "telegram"\n', 3, "one of wecom"),
        (HEAD + 'kind = "wecom"\nurl = "http://robot.example.com/KEY"\n', 4, "https://"),
        (HEAD + 'kind = "wecom"\nurl = "https://u:KEY@robot.example.com/"\n', 4, "https://"),
        (HEAD + 'kind = "wecom"\nurl = "https://robot.example.com/ KEY"\n', 4, "https://"),
        (HEAD + 'kind = "wecom"\nurl = "file:///KEY"\n', 4, "https://"),
        (HEAD + 'kind = "wecom"\nurl = "https://[KEY"\n', 4, "https://"),
        (HEAD + 'kind = "wecom"\nurl = "https://a/"\nsecret = "KEY"\n', 1, "no secret but its address"),
        (HEAD + 'kind = "json"\nurl = "https://a/"\nsecret = "KEY"\n', 1, "16 characters"),
        (HEAD + 'kind = "json"\nurl = "https://a/"\n', 1, "16 characters"),
        (
            HEAD + 'kind = "wecom"\nurl = "https://a/"\n\n' + HEAD + 'kind = "wecom"\nurl = "https://b/"\n',
            6,
            "this name",
        ),
        (HEAD + 'kinds = ["danger"]\n', 3, "list of some of queued"),
        (HEAD + "severity = 1\n", 3, "one of danger"),
        ("webhook = 1\n", 1, "list of tables"),
        ('[mail]\nhost = "m.example.com"\n', 1, "host, from and to"),
        ('[mail]\nhost = "m"\nfrom = "a@b.c\\nBcc: KEY"\n', 3, "an address"),
        ('[mail]\nhost = "m"\nsecurity = "plain"\nfrom = "a@b.c"\nto = ["a@b.c"]\n', 1, "on this machine"),
        ('[mail]\nhost = "m"\npassword = "KEY"\nfrom = "a@b.c"\nto = ["a@b.c"]\n', 1, "go together"),
        ("[mail]\npassword = 5\n", 2, "a text of one line"),
        ('[log]\nformat = "xml"\n', 2, "one of json, text"),
        ("[log]\naccess = 1\n", 2, "true or false"),
    ],
)
def test_a_mistake_around_notices_is_told_with_its_line_and_no_secret(load, text, line, said):
    with pytest.raises(ConfigBroken) as caught:
        load(text)
    assert caught.value.line == line
    assert said in str(caught.value)
    assert "KEY" not in str(caught.value) or "from" in text, "an address of a webhook is a secret"


# -- the command -----------------------------------------------------------------------------------------------------


def config_of(folder, *robots, mail=None):
    rows = ['public_url = "https://room.example.com"']
    for n, robot in enumerate(robots):
        hook = hook_for(robot, f"h{n}")
        rows += ["[[webhook]]", f'name = "{hook.name}"', f'kind = "{hook.kind}"', f'url = "{hook.url}"']
        rows += [f'secret = "{hook.secret}"'] if hook.secret else []
    if mail is not None:
        rows += ["[mail]", 'host = "127.0.0.1"', f"port = {mail.port}", 'security = "plain"']
        rows += ['from = "room@example.com"', 'to = ["duty@example.com"]']
    path = folder / "service.toml"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return str(path)


async def notify(capsys, *words):
    import asyncio

    code = await asyncio.to_thread(main, ["consult", "notify", *words])
    return code, capsys.readouterr()


async def test_the_command_sends_a_test_to_each_and_says_how_it_went(tmp_path, capsys):
    async with WeCom() as wecom, DingTalk() as ding, Feishu() as feishu, JsonReceiver() as box, SmtpServer() as mail:
        path = config_of(tmp_path, wecom, ding, feishu, box, mail=mail)
        code, said = await notify(capsys, "--config", path, "--json")
        told = json.loads(said.out)
        assert code == Exit.DONE
        assert told["schema"] == "huizhen.notify/1"
        assert [one["result"] for one in told["hooks"]] == ["sent"] * 5
        assert [len(one.taken) for one in (wecom, ding, feishu, box)] == [1] * 4
        assert "测试通知" in wecom.text
        assert "Test notice" in mail.mails[0].message["Subject"]
        wecom.answers = [web.json_response({"errcode": 93000, "errmsg": "invalid webhook url"})]
        code, said = await notify(capsys, "--config", path, "--hook", "h0", "--lang", "zh")
        assert code == Exit.REMOTE
        assert "h0 (wecom): 被拒绝（answer-93000）" in said.out


async def test_a_dry_run_sends_nothing_and_shows_no_secret(tmp_path, capsys):
    async with WeCom() as wecom, DingTalk() as ding, SmtpServer() as mail:
        path = config_of(tmp_path, wecom, ding, mail=mail)
        code, said = await notify(capsys, "--config", path, "--dry-run")
        assert code == Exit.DONE
        assert (wecom.seen, ding.seen, mail.said) == (0, 0, [])
        assert "actionCard" in said.out
        from noticekit import SECRETS

        assert not [one for one in SECRETS if one in said.out + said.err]


async def test_the_command_says_what_is_missing(tmp_path, capsys):
    path = config_of(tmp_path)
    code, said = await notify(capsys, "--config", path)
    assert code == Exit.USAGE
    assert "[[webhook]]" in said.err
    async with WeCom(Clock()) as wecom:
        code, said = await notify(capsys, "--config", config_of(tmp_path, wecom), "--hook", "other")
        assert code == Exit.USAGE
        assert "there are h0" in said.err


def test_a_check_names_the_webhooks(tmp_path, capsys):
    robot = WeCom()
    robot.url = f"https://qyapi.weixin.qq.com{robot.path}"
    words = ["consult", "serve", "--check", "--json", "--config", config_of(tmp_path, robot), "--data", str(tmp_path)]
    assert main(words) == Exit.DONE
    said = capsys.readouterr().out
    assert [(one["name"], one["kind"]) for one in json.loads(said)["webhooks"]] == [("h0", "wecom")]
    assert "693a91f6" not in said


@pytest.mark.parametrize("page", ["room-notices.md", "zh/room-notices.md"])
async def test_the_check_in_the_manual_checks(page):
    """The receiver that docs/room-notices.md shows takes what is sent, once, and nothing that was changed or is old."""
    import base64
    from pathlib import Path

    text = (Path(__file__).parents[2] / "docs" / page).read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    space = {}
    exec(code, space)  # noqa: S102 - the manual's own example
    is_genuine = space["is_genuine"]
    for secret, key in (
        ("whsec_" + base64.b64encode(b"k" * 24).decode(), b"k" * 24),
        ("plain words, sixteen", b"plain words, sixteen"),
    ):
        hook = Webhook(name="x", speaks="json", url=BASE, secret=secret)
        letter = compose(hook, [kept_of(1, "标题")], BASE, 1_700_000_000_000_000)
        assert is_genuine(letter.headers, letter.body, key, 1_700_000_100.0)
        assert not is_genuine(letter.headers, letter.body + b" ", key, 1_700_000_100.0)
        assert not is_genuine(letter.headers, letter.body, b"another key", 1_700_000_100.0)
        assert not is_genuine(letter.headers, letter.body, key, 1_700_000_900.0)
        changed = {**letter.headers, "webhook-id": "msg_other"}
        assert not is_genuine(changed, letter.body, key, 1_700_000_100.0)
