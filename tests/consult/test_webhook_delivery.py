"""Notices arrive: each kind of webhook at a receiver that holds to the real protocol, whatever goes wrong between."""

import asyncio
import contextlib
import dataclasses
import json
import logging
import signal
import sys

import pytest
from aiohttp import web
from noticekit import (
    ACCESS_TOKEN,
    DING_SECRET,
    JSON_SECRET,
    KEY,
    SECRETS,
    Clock,
    DingTalk,
    Feishu,
    JsonReceiver,
    SmtpServer,
    WeCom,
    certificate,
    hook_for,
    make_notice,
)  # fmt: skip

from consult.service import ServiceConfig, running_service
from consult.webhookpart import NoticePart
from consult.webhookstore import NoticeStore

PATIENCE_S = 120


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def config(tmp_path, clock):
    return ServiceConfig(
        data=tmp_path / "rooms", state=tmp_path / "rooms" / "service.db", now_us=clock.now_us, webrtc=False
    )


def with_hooks(config, *hooks, mail=None):
    return dataclasses.replace(config, webhooks=tuple(hooks), mail=mail)


def part_of(service):
    return next(part for part in service.parts if isinstance(part, NoticePart))


def states(service):
    """How many deliveries are in which state, over all webhooks."""
    found = {}
    for counts in part_of(service).store.counts().values():
        for state, count in counts.items():
            found[state] = found.get(state, 0) + count
    return found


@pytest.mark.parametrize("kind", [WeCom, DingTalk, Feishu, JsonReceiver])
@pytest.mark.parametrize("severity", ["normal", "danger"])
async def test_each_webhook_gets_a_notice_in_its_own_shape(kind, severity, config, clock, eventually):
    async with kind(clock) as robot, running_service(with_hooks(config, hook_for(robot))) as service:
        service.notices.publish(make_notice(7, severity=severity, path="/r/0123456789ab"))
        await eventually(lambda: states(service) == {"sent": 1})
        assert robot.faults == []
        assert len(robot.taken) == 1
        assert "车辆等待会诊 7" in robot.text
        assert "A car waits 7" in robot.text
        assert f"{service.url}/r/0123456789ab" in robot.text


@pytest.mark.parametrize("kind", [WeCom, DingTalk])
async def test_danger_calls_everybody_where_that_is_wanted(kind, config, clock, eventually):
    async with kind(clock) as robot:
        async with running_service(with_hooks(config, hook_for(robot, at_all=True))) as service:
            service.notices.publish(make_notice(1, severity="high"))
            await eventually(lambda: states(service) == {"sent": 1})
            service.notices.publish(make_notice(2, severity="danger"))
            await eventually(lambda: states(service) == {"sent": 2})
        assert robot.faults == []
        calls = ["@all" in json.dumps(one) or one.get("at") == {"isAtAll": True} for one in robot.taken]
        assert calls == [False, True]


async def test_a_filter_takes_kinds_and_severities(config, clock, eventually):
    async with JsonReceiver(clock) as grave, JsonReceiver(clock) as drafts:
        hooks = hook_for(grave, "grave", severity="high"), hook_for(drafts, "drafts", kinds=("draft", "research"))
        async with running_service(with_hooks(config, *hooks)) as service:
            for n, (kind, severity) in enumerate(
                [("queued", "danger"), ("queued", "normal"), ("draft", "normal"), ("warning", "high")]
            ):
                service.notices.publish(make_notice(n, kind=kind, severity=severity))
            await eventually(lambda: states(service) == {"sent": 3})
        assert sorted(one["kind"] for one in grave.taken) == ["queued", "warning"]
        assert [one["kind"] for one in drafts.taken] == ["draft"]


async def test_a_filter_sets_the_language(config, clock, eventually):
    async with WeCom(clock) as robot, running_service(with_hooks(config, hook_for(robot, language="zh"))) as service:
        service.notices.publish(make_notice(3))
        await eventually(lambda: states(service) == {"sent": 1})
        assert "A car waits" not in robot.text
        assert "车辆等待会诊 3" in robot.text


@pytest.mark.parametrize("kind", [WeCom, DingTalk])
async def test_a_flood_is_merged_and_never_faster_than_the_robot_takes(kind, config, clock, eventually):
    async with kind(clock) as robot, running_service(with_hooks(config, hook_for(robot))) as service:
        for n in range(300):
            service.notices.publish(make_notice(n))
        for _ in range(200):
            if states(service).get("waiting", 1) == 0 or "waiting" not in states(service):
                break
            clock.moved_s += 10
            await asyncio.sleep(0.1)
        await eventually(lambda: states(service) == {"sent": 300})
        assert robot.faults == [], "never too fast, never too long"
        assert len(robot.taken) < 60
        assert all(robot.text.count(f"A car waits {n}\\n") == 1 for n in range(300))


async def test_danger_goes_before_what_waits_and_has_room_when_the_minute_is_full(config, clock, eventually):
    async with WeCom(clock) as robot:
        hook = hook_for(robot)
        async with running_service(with_hooks(config, hook)) as service:
            for n in range(15):
                service.notices.publish(make_notice(n))
                await eventually(lambda n=n: states(service) == {"sent": n + 1})
            for n in range(15, 20):
                service.notices.publish(make_notice(n))
            await eventually(lambda: states(service) == {"sent": 15, "waiting": 5})
            service.notices.publish(make_notice(99, severity="danger"))
            await eventually(lambda: states(service) == {"sent": 16, "waiting": 5})
            assert "A car waits 99" in json.dumps(robot.taken[-1])
            clock.moved_s += 62
            await eventually(lambda: states(service) == {"sent": 21})
        assert robot.faults == []
        assert len(robot.taken) == 17, "what waited came together"


async def test_a_robot_that_says_too_fast_is_left_alone_as_long_as_it_wants(config, clock, eventually):
    async with WeCom(clock) as robot:
        robot.answers = [web.json_response({"errcode": 45009, "errmsg": "api freq out of limit"})]
        async with running_service(with_hooks(config, hook_for(robot))) as service:
            service.notices.publish(make_notice(1))
            await eventually(lambda: robot.seen == 1)
            service.notices.publish(make_notice(2, severity="danger"))
            await eventually(lambda: states(service) == {"waiting": 2})
            await eventually(lambda: part_of(service).couriers[0].reason == "answer-45009")
            clock.moved_s += 30
            await asyncio.sleep(1.5)
            assert robot.seen == 1, "not even danger"
            clock.moved_s += 40
            await eventually(lambda: states(service) == {"sent": 2})
            assert robot.faults == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (web.HTTPInternalServerError(), "http-500"),
        (web.HTTPBadGateway(), "http-502"),
        (web.HTTPTooManyRequests(), "http-429"),
        ("flood", "answer-strange"),
        (web.json_response({"errcode": "zero"}), "answer-strange"),
        (web.Response(text="<html>sign in to this network</html>"), "answer-strange"),
        (web.json_response({"errcode": -1, "errmsg": "system busy"}), "answer--1"),
        (web.HTTPForbidden(), "http-403"),
        (web.json_response({"errcode": 93000, "errmsg": "invalid webhook url, from ip: 203.0.113.7"}), "answer-93000"),
    ],
)
async def test_what_was_not_taken_is_tried_again(answer, reason, config, clock, eventually):
    async with WeCom(clock) as robot, running_service(with_hooks(config, hook_for(robot))) as service:
        robot.answers = [answer]
        service.notices.publish(make_notice(1))
        await eventually(lambda: part_of(service).couriers[0].reason == reason)
        assert states(service) == {"waiting": 1}
        clock.moved_s += 6
        await eventually(lambda: states(service) == {"sent": 1})
        assert part_of(service).couriers[0].reason == ""


async def test_a_receiver_that_is_down_for_a_while_gets_everything(config, clock, eventually):
    robot = await JsonReceiver(clock).start()
    port = robot.port
    await robot.stop()
    async with running_service(with_hooks(config, hook_for(robot))) as service:
        for n in range(5):
            service.notices.publish(make_notice(n))
        await eventually(lambda: part_of(service).couriers[0].reason == "unreachable")
        clock.moved_s += 3600
        await eventually(lambda: part_of(service).couriers[0].failures >= 2)
        await robot.start(port)
        try:
            clock.moved_s += 3600
            await eventually(lambda: states(service) == {"sent": 5})
        finally:
            await robot.stop()
    assert [one["title"]["en"] for one in robot.taken] == [f"A car waits {n}" for n in range(5)], "in order"
    assert len(set(robot.ids)) == 5


async def test_danger_tries_a_receiver_that_was_away_at_once(config, clock, eventually):
    async with JsonReceiver(clock) as robot, running_service(with_hooks(config, hook_for(robot))) as service:
        robot.answers = [web.HTTPBadGateway() for _ in range(5)]
        service.notices.publish(make_notice(1))
        courier = part_of(service).couriers[0]
        for n in range(5):
            await eventually(lambda n=n: courier.failures == n + 1)
            clock.moved_s += 2000 if n < 4 else 6
        assert courier.pace.resume_s > clock.now_us() / 1e6 + 20, "by now it is asked seldom"
        service.notices.publish(make_notice(2, severity="danger"))
        await eventually(lambda: states(service) == {"sent": 2})
        assert robot.taken[0]["severity"] == "danger"


async def test_a_receiver_that_hangs_keeps_no_other_waiting(config, clock, eventually):
    async with JsonReceiver(clock) as slow, JsonReceiver(clock) as good:
        slow.answers = ["hang"]
        hooks = hook_for(slow, "slow"), hook_for(good, "good")
        async with running_service(with_hooks(config, *hooks)) as service:
            service.notices.publish(make_notice(1))
            await asyncio.wait_for(slow.hung.wait(), PATIENCE_S)
            service.notices.publish(make_notice(2))
            await eventually(lambda: len(good.taken) == 2)
            await eventually(lambda: part_of(service).couriers[0].reason == "timeout")
            clock.moved_s += 60
            await eventually(lambda: states(service) == {"sent": 4})


async def test_one_bad_notice_does_not_keep_the_others_back(config, clock, eventually):
    class Picky(WeCom):
        def fault_of(self, request, body, data):
            fault = super().fault_of(request, body, data)
            return fault or (self.refusal("a word that it does not like") if b"waits 3" in data else None)

    async with Picky(clock) as robot:
        hook = dataclasses.replace(hook_for(WeCom(clock)), url=robot.url)
        robot.answers = [web.HTTPBadGateway()]  # so that the rest gathers
        async with running_service(with_hooks(config, hook)) as service:
            for n in range(6):
                service.notices.publish(make_notice(n))
            await eventually(lambda: robot.seen == 1)
            for _ in range(60):
                if states(service) == {"sent": 5, "waiting": 1}:
                    break
                clock.moved_s += 5
                await asyncio.sleep(0.2)
            assert states(service) == {"sent": 5, "waiting": 1}
            clock.moved_s += 86_400
            await eventually(lambda: states(service) == {"sent": 5, "dead": 1})
            (dead,) = (await part_of(service).to_json())["dead"]
            assert (dead["reason"], dead["title"]["en"]) == ("answer-40058", "A car waits 3")
            assert "notices-lost" in part_of(service).troubles()


async def test_what_nobody_takes_in_a_day_is_given_up_and_said(config, clock, eventually, caplog):
    robot = await JsonReceiver(clock).start()
    await robot.stop()
    async with running_service(with_hooks(config, hook_for(robot))) as service:
        service.notices.publish(make_notice(1))
        await eventually(lambda: part_of(service).couriers[0].reason == "unreachable")
        assert part_of(service).troubles() == []
        clock.moved_s += 700
        assert part_of(service).troubles() == ["notices-waiting"]
        clock.moved_s += 86_400
        await eventually(lambda: states(service) == {"dead": 1})
        assert "given up" in caplog.text


async def test_notices_outlive_a_service_that_is_killed(tmp_path, eventually):
    """Killed while the receiver hangs with one under way: all come after the restart, doubles by the same id."""
    robot = await JsonReceiver().start()
    robot.answers = ["hang"]
    path = tmp_path / "service.toml"
    path.write_text(
        f'[[webhook]]\nname = "box"\nkind = "json"\nurl = "{robot.url}"\nsecret = "{JSON_SECRET}"\n', encoding="utf-8"
    )
    script = tmp_path / "publish.py"
    script.write_text(
        "import asyncio, pathlib, sys\n"
        f"sys.path.insert(0, {str(path.parent)!r})\n"
        "from consult.configfile import load_config\n"
        "from consult.service import ServiceConfig, running_service\n"
        "from consult.notices import Notice\n"
        "from diag.facts import Text\n"
        "async def main():\n"
        f"    data = pathlib.Path({str(tmp_path / 'rooms')!r})\n"
        f"    settings = load_config(pathlib.Path({str(path)!r}))\n"
        "    config = ServiceConfig(data=data, state=data / 'service.db', **settings)\n"
        "    async with running_service(config) as service:\n"
        "        for n in range(int(sys.argv[1])):\n"
        "            service.notices.publish(Notice('queued', 'normal', Text(f'n{n}', f'n{n}'), Text('', ''),"
        " config.now_us()))\n"
        "        await asyncio.sleep(3600)\n"
        "asyncio.run(main())\n",
        encoding="utf-8",
    )
    processes = []

    async def run(count):
        processes.append(await asyncio.create_subprocess_exec(sys.executable, str(script), str(count)))

    try:
        await run(8)
        await asyncio.wait_for(robot.hung.wait(), PATIENCE_S)
        processes[0].send_signal(signal.SIGKILL)
        await processes[0].wait()
        assert robot.taken == []
        await run(0)
        await eventually(lambda: len(set(robot.ids)) == 8)
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        await robot.stop()
    assert {one["title"]["en"] for one in robot.taken} == {f"n{n}" for n in range(8)}
    assert robot.faults == []


async def test_a_webhook_that_is_configured_no_more_gets_nothing_and_that_is_said(config, clock, eventually):
    robot = await JsonReceiver(clock).start()
    await robot.stop()
    async with running_service(with_hooks(config, hook_for(robot, "old"))) as service:
        service.notices.publish(make_notice(1))
        await eventually(lambda: states(service) == {"waiting": 1})
    async with running_service(config) as service:
        await eventually(lambda: states(service) == {"dead": 1})
        assert (await part_of(service).to_json())["dead"][0]["reason"] == "no-such-hook"


# -- security --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_security_no_redirect_is_followed(status, config, clock, eventually):
    async with JsonReceiver(clock) as other, WeCom(clock) as robot:
        robot.answers = [web.Response(status=status, headers={"Location": other.url})]
        async with running_service(with_hooks(config, hook_for(robot))) as service:
            service.notices.publish(make_notice(1))
            await eventually(lambda: part_of(service).couriers[0].reason == "redirect")
            assert other.seen == 0


async def test_security_no_secret_of_a_webhook_is_told(config, clock, eventually, caplog):
    """Not in the log, at any level, not on the board, not in the metrics, not in a repr."""
    caplog.set_level(logging.DEBUG)
    async with WeCom(clock) as wecom, DingTalk(clock) as ding, JsonReceiver(clock) as box:
        gone = await WeCom(clock).start()
        await gone.stop()
        wecom.answers = [web.HTTPForbidden(), web.Response(text=KEY)]
        ding.answers = [web.json_response({"errcode": 310000, "errmsg": f"sign {DING_SECRET} {ACCESS_TOKEN}"})]
        box.answers = [web.HTTPFound(f"http://127.0.0.1:{box.port}/?{JSON_SECRET}")]
        hooks = [hook_for(one, name) for name, one in (("a", wecom), ("b", ding), ("c", box), ("d", gone))]
        strange = dataclasses.replace(hooks[0], name="e", url=f"http://127.0.0.1:{wecom.port}/\x00?key={KEY}")
        configured = with_hooks(config, *hooks, strange)
        async with running_service(configured) as service:
            service.notices.publish(make_notice(1))
            await eventually(lambda: all(one.failures for one in part_of(service).couriers[:4]))
            clock.moved_s += 10
            await eventually(lambda: part_of(service).couriers[1].sent == 1)
            told = json.dumps(await part_of(service).to_json()) + part_of(service).metrics()
            told += repr(configured) + caplog.text + repr(part_of(service).couriers[0]._sender)
        assert "webhook a" in caplog.text
        told += caplog.text
        assert [secret for secret in SECRETS if secret in told] == []


async def test_security_a_stranger_on_the_line_gets_no_notice(tmp_path, config, clock, eventually):
    """A receiver whose certificate nobody vouches for is told nothing; with its authority named it is."""
    ca, context = certificate(tmp_path / "tls")
    robot = await JsonReceiver(clock).start(context=context)
    try:
        trusted, other = hook_for(robot, "trusted", ca=ca), hook_for(robot, "other")
        async with running_service(with_hooks(config, trusted, other)) as service:
            service.notices.publish(make_notice(1))
            await eventually(lambda: [one.reason for one in part_of(service).couriers] == ["", "tls"])
            await eventually(lambda: states(service) == {"sent": 1, "waiting": 1})
        assert len(robot.taken) == 1
    finally:
        await robot.stop()


async def test_security_the_environment_names_no_proxy(config, clock, eventually, monkeypatch):
    async with JsonReceiver(clock) as proxy, JsonReceiver(clock) as robot:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with running_service(with_hooks(config, hook_for(robot))) as service:
            service.notices.publish(make_notice(1))
            await eventually(lambda: states(service) == {"sent": 1})
        assert (proxy.seen, len(robot.taken)) == (0, 1)


# -- mail ------------------------------------------------------------------------------------------------------------


async def test_mail_says_it_in_both_languages(config, clock, eventually):
    async with SmtpServer() as server, running_service(with_hooks(config, mail=server.hook())) as service:
        service.notices.publish(make_notice(5, severity="danger", path="/rooms"))
        await eventually(lambda: states(service) == {"sent": 1})
        (mail,) = server.mails
        assert mail.to == ["duty@example.com"]
        assert mail.message["Subject"] == "[会诊] 危险 DANGER 车辆等待会诊 5 / A car waits 5"
        assert mail.message["Importance"] == "high"
        text = mail.message.get_content()
        assert "A car waits 5" in text
        assert "电池" in text
        assert f"{service.url}/rooms" in text
        kept = part_of(service).store.after(0)[0]
        assert mail.message["Message-ID"] == f"<{kept.ident}@example.com>"


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_mail_goes_encrypted_and_signed_in(security, tmp_path, config, clock, eventually):
    ca, context = certificate(tmp_path / "tls")
    login = ("robot", "pass wörd 密码" if security == "tls" else "plain words")
    async with SmtpServer(context=context, implicit=security == "tls", login=login) as server:
        hook = server.hook(security=security, username=login[0], password=login[1], ca=ca)
        async with running_service(with_hooks(config, mail=hook)) as service:
            service.notices.publish(make_notice(1))
            await eventually(lambda: states(service) == {"sent": 1})
        assert server.mails[0].was_encrypted
        assert server.mails[0].login == "robot"


async def test_security_mail_never_goes_over_a_line_that_should_be_encrypted_and_is_not(config, clock, eventually):
    """Somebody on the way takes STARTTLS out of what the server offers: then there is no mail and no password."""
    async with SmtpServer(login=("robot", "secret word")) as server:
        hook = server.hook(security="starttls", username="robot", password="secret word")
        async with running_service(with_hooks(config, mail=hook)) as service:
            service.notices.publish(make_notice(1))
            await eventually(lambda: part_of(service).couriers[0].reason == "smtp-unsupported")
        assert not any(line.startswith(("AUTH", "MAIL", "DATA")) for line in server.said)


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"MAIL": ["451 later"]}, "smtp-451"),
        ({"RCPT": ["550 nobody of that name"]}, "smtp-550"),
        ({"DATA": ["552 too big"]}, "smtp-552"),
        ({"MAIL": ["421 going away"]}, "smtp-421"),
    ],
)
async def test_mail_that_was_not_taken_is_tried_again(answers, reason, config, clock, eventually):
    async with SmtpServer() as server, running_service(with_hooks(config, mail=server.hook())) as service:
        server.answers = answers
        service.notices.publish(make_notice(1))
        await eventually(lambda: part_of(service).couriers[0].reason == reason)
        clock.moved_s += 6
        await eventually(lambda: states(service) == {"sent": 1})


@pytest.mark.parametrize("goodbye", ["250 ok", "421 too late"])
async def test_mail_that_was_taken_is_sent_whatever_the_goodbye(goodbye, config, clock, eventually):
    async with SmtpServer() as server, running_service(with_hooks(config, mail=server.hook())) as service:
        server.answers = {"QUIT": [goodbye]}
        service.notices.publish(make_notice(1))
        await eventually(lambda: states(service) != {} and server.mails)
        await eventually(lambda: states(service) == {"sent": 1})
        assert len(server.mails) == 1


async def test_a_mail_server_that_hangs_does_not_keep_the_service_from_ending(config, clock):
    loop = asyncio.get_running_loop()
    async with SmtpServer() as server:
        server.answers = {"EHLO": ["hang"]}
        async with running_service(with_hooks(config, mail=server.hook())) as service:
            service.notices.publish(make_notice(1))
            await asyncio.wait_for(server.hung.wait(), PATIENCE_S)
            began_s = loop.time()
        assert loop.time() - began_s < 12, "it is given 15 s to answer"
    assert service is not None


async def test_a_store_counts_on_after_notices_were_forgotten(config, clock, tmp_path):
    from consult.servicestate import ServiceState

    with ServiceState(tmp_path / "x.db") as state:
        store = NoticeStore(state)
        store.put([make_notice(n, t_us=clock.now_us()) for n in range(3)], ())
        store.give_up((), clock.now_us() + 8 * 86_400_000_000)
        assert store.after(0) == []
        assert store.head() == 3
        assert store.put([make_notice(9)], ())[0].n == 4
