"""The service's log: lines that machines read, in which nobody is named and no secret stands."""

import asyncio
import contextlib
import json
import logging
import re
import secrets
import signal
import threading

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from roomwalls import PASSWORD, hashed_once
from servicekit import ServeProcess, browser_like, redeem

from consult.accounts import Account, AccountRole
from consult.errors import RoomClosed
from consult.invites import make_secret
from consult.logpart import PeopleNames
from consult.service import ServiceConfig
from consult.servicelog import LogSettings, Redactor, ServiceFormatter, make_handler
from consult.servicestate import ServiceState
from huizhen.cli import main
from huizhen.exits import Exit

redact = Redactor(lambda: ("王师傅", "Li Lei", "li", "An-Na O'Hara"))

VINS = st.text("ABCDEFGHJKLMNPRSTUVWXYZ0123456789", min_size=17, max_size=17).filter(lambda vin: re.search(r"\d", vin))
PHONES = st.from_regex(r"\A1[3-9]\d{9}\Z") | st.from_regex(r"\A\+86 1[3-9]\d \d{4} \d{4}\Z") | st.just("+49 89 1234567")
MAILS = st.from_regex(r"\A[a-z][a-z0-9._]{0,10}[a-z]@[a-z]{2,10}\.(com|cn|de)\Z")
ADDRESSES = st.ip_addresses(v=4).map(str)
SIXES = st.ip_addresses(v=6).map(str)
TOKENS = st.builds(lambda _: make_secret(), st.integers()) | st.builds(lambda _: secrets.token_hex(32), st.integers())
PLATES = st.from_regex(r"\A[京沪粤苏浙川][A-HJ-NP-Z](?:[A-HJ-NP-Z0-9]{5}|[DF][0-9]{5})\Z")
AROUND = st.sampled_from(
    ["{}", "car {} left", "cannot read '{}': no such file", "({})", "车辆 {}，已离开", 'x="{}"', "{}\n{}"]
)


@given(st.one_of(VINS, PHONES, MAILS, TOKENS, PLATES), AROUND)
@example("LHZEV4001N0001234", "/rooms/{}.room")
@example("13812345678", "电话：{}。")
def test_what_leads_to_a_person_or_opens_a_door_is_taken_out(private, around):
    shown = redact(around.replace("{}", private))
    assert private not in shown
    assert "[" in shown
    assert "\n" not in shown


@given(ADDRESSES | SIXES, AROUND)
@example("203.0.113.77", "{}:51234")
@example("2001:db8:1:2:3:4:5:6", "[{}]:443")
def test_addresses_are_told_as_networks(address, around):
    import ipaddress

    shown = redact(around.replace("{}", address))
    found = ipaddress.ip_address(address)
    if found.is_loopback or found.is_unspecified:
        assert address in shown
    else:
        network = ipaddress.ip_network((found, 24 if found.version == 4 else 48), strict=False)
        assert str(network) in shown
        assert not re.search(rf"(?<![\w:.]){re.escape(address)}(?![\w:./])", shown)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("王师傅 joined", "[name] joined"),
        ("by Li Lei (expert)", "by [name] (expert)"),
        ("listening li.", "listening [name]."),
        ("An-Na O'Hara", "[name]"),
        ("GET https://x.example/send?key=abc&a=1 failed", "GET https://x.example/send?[secret] failed"),
        ("https://u:p@x.example/", "https://[secret]@x.example/"),
        ("open https://x.example/join#abcdef now", "open https://x.example/join?[secret] now"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer [secret]"),
        ("password=hunter2, user", "password=[secret], user"),
        ("token: 'short'", "token: [secret]"),
        ("Cookie huizhen_session=ab12", "Cookie huizhen_session=[secret]"),
        ("room 0123456789ab: consult.room-closed", "room 0123456789ab: consult.room-closed"),
        ("code: consult.room-closed", "code: consult.room-closed"),
        ("errno 13 at 2026-11-30 10:20:30", "errno 13 at 2026-11-30 10:20:30"),
        ("1234567890123456 us", "1234567890123456 us"),
        ("listening on 127.0.0.1:8443 and [::1]:8443", "listening on 127.0.0.1:8443 and [::1]:8443"),
        ("room /data/20260101-120000-0123456789ab.room", "room /data/20260101-120000-0123456789ab.room"),
        ("aiohttp 3.14.0.1 at 12:34:56", None),
    ],
)
def test_what_is_said_of_each(text, shown):
    assert redact(text) == shown or shown is None


@given(st.text(max_size=300))
def test_any_text_is_one_line_and_stays_so(text):
    shown = redact(text)
    assert shown.isprintable()
    assert len(shown) <= 4000
    shown.encode(errors="strict")


def test_names_that_cannot_be_known_hold_the_line_back():
    def broken():
        raise RuntimeError("no database")

    assert Redactor(broken)("Wang came") == "[names unknown, line held back]"


def record_of(message, *args, error=None, **more):
    found = logging.LogRecord("consult.x", logging.ERROR, "x.py", 1, message, args, None)
    if error is not None:
        try:
            raise error
        except type(error):
            import sys

            found.exc_info = sys.exc_info()
    vars(found).update(more)
    return found


def test_a_line_holds_what_a_machine_asks_for():
    line = ServiceFormatter(as_json=True, redact=redact).format(
        record_of("room %s: %s", "0123456789ab", RoomClosed(), error=ValueError("LHZEV4001N0001234"))
    )
    body = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body.pop("time"))
    assert body.pop("trace")[0].startswith("test_service_log.py:")
    assert body == {
        "level": "error",
        "logger": "consult.x",
        "event": "room %s: %s",
        "message": f"room 0123456789ab: {RoomClosed()}",
        "room": "0123456789ab",
        "code": "consult.room-closed",
        "error": "ValueError: [vin]",
    }
    assert "\n" not in line


def test_a_record_that_is_broken_is_told_all_the_same():
    formatter = ServiceFormatter(as_json=True, redact=redact)
    assert json.loads(formatter.format(record_of("%d rooms", "many")))["message"] == "%d rooms"
    text = ServiceFormatter(as_json=False, redact=redact).format(record_of("x", error=OSError("a@b.example.com")))
    assert text.endswith("consult.x x | OSError: [e-mail]")


def test_a_file_is_private_and_begun_anew_when_it_is_moved(tmp_path):
    path = tmp_path / "service.log"
    handler = make_handler(LogSettings("json", "info", path))
    log = logging.getLogger("consult.rotated")
    log.addHandler(handler)
    try:
        log.error("one")
        assert path.stat().st_mode & 0o777 == 0o600
        path.rename(tmp_path / "old.log")
        log.error("two")
        assert json.loads(path.read_text())["message"] == "two"
    finally:
        log.removeHandler(handler)
        handler.close()


@pytest.fixture
def config(tmp_path):
    return ServiceConfig(data=tmp_path / "rooms", state=tmp_path / "rooms" / "service.db")


@contextlib.contextmanager
def logging_to(path, names):
    handler = make_handler(LogSettings("json", "debug", path), names)
    loggers = [logging.getLogger(name) for name in ("consult", "aiohttp", "asyncio")]
    levels = [log.level for log in loggers]
    for log in loggers:
        log.addHandler(handler)
        log.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        for log, level in zip(loggers, levels, strict=True):
            log.removeHandler(handler)
            log.setLevel(level)
        handler.close()


async def test_security_a_whole_room_leaves_nobodys_name_in_the_log(
    tmp_path, service, car, report, in_room, eventually, monkeypatch
):
    path, vin = tmp_path / "service.log", report["vehicle"]["vin"]
    private = {vin, "王师傅", "Li Secret", "13812345678", "who@example.com", PASSWORD}
    car.count = 40
    with logging_to(path, PeopleNames(service)):
        async with browser_like() as http, in_room(service, car, report) as agent:
            service.state.put_account(
                Account("wang.wu", display="王五", role=AccountRole.LEAD, password=hashed_once(), on_duty=True)
            )
            private |= {"wang.wu", "王五"}
            invite = await agent.invite("expert")
            private.add(invite.code)
            _, body, cookies = await redeem(http, service.url, invite.code, name="Li Secret")
            private.add(cookies["huizhen_session"].value)
            signed = {"name": "wang.wu", "password": PASSWORD}
            async with http.post(f"{service.url}/login", json=signed) as answer:
                private.add(answer.cookies["huizhen_account"].value)
            async with http.post(f"{service.url}/login", json={**signed, "password": "wrong"}) as answer:
                assert answer.status == 401
            async with http.ws_connect(f"{service.url}{body['path']}/watch") as channel:
                await channel.send_json(
                    {"type": "chat", "id": "1", "text": f"call 13812345678, who@example.com, {vin}"}
                )
                room = service.room(agent.room)
                await eventually(lambda: any(one["kind"] == "chat" for one in room.events_after(0)))
                # Whatever breaks inside, with whatever in its message:
                said = f"Li Secret and 王五 in {vin} at 13812345678 <who@example.com> {invite.code}"

                def broken(*_):
                    raise ValueError(said)

                monkeypatch.setattr(service.histories, "read", broken)
                query = "stream=1&signal=x&from_us=0&to_us=9&points=100"
                async with http.get(f"{service.url}{body['path']}/history?{query}") as answer:
                    assert answer.status == 500
                logging.getLogger("consult.room").error("room %s: %s", agent.room, said)
                await channel.send_str("no message at all")
                await channel.receive()
        await eventually(lambda: not service.rooms)
        await asyncio.sleep(0)
    text = path.read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    assert [one for one in private if one in text] == []
    assert {"opened", "closed"} <= {one["message"].split(": ")[1].split(",")[0] for one in lines if "room" in one}
    assert any(
        one.get("route") == "/r/{room:[0-9a-f]{12}}/watch" or one.get("route") == "/r/{room}/watch" for one in lines
    )
    assert any(one.get("status") == 401 and one.get("route") == "/login" for one in lines)
    assert any("[vin]" in one["message"] for one in lines), "the lines with it were written"


async def test_names_are_known_without_asking_or_waiting_for_each_line(service):
    names = PeopleNames(service)
    service.state.put_account(Account("wang.wu", display="王五"))
    assert {"wang.wu", "王五"} <= set(names())
    asked = []
    rows, service.state.rows = service.state.rows, lambda *words: asked.append(words) or rows(*words)
    assert {"wang.wu", "王五"} <= set(names())
    assert asked == [], "nothing has changed"
    service.state.rows = rows
    held, go = threading.Event(), threading.Event()

    def write():
        with service.state.transaction():
            held.set()
            go.wait(60)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        await asyncio.to_thread(held.wait, 60)
        service.state.accounts_version += 1
        found = await asyncio.wait_for(asyncio.to_thread(lambda: set(names())), 30)
        assert "王五" in found, "who writes is not waited for"
    finally:
        go.set()
        writer.join()


async def test_another_program_s_account_is_known_too(service, eventually):
    names = PeopleNames(service)
    set(names())
    with ServiceState(service.state.path) as other:
        other.put_account(Account("zhao", display="赵六"))
    await eventually(lambda: "赵六" in set(names()))


async def test_serve_writes_the_log_that_is_configured(tmp_path):
    path, log = tmp_path / "service.toml", tmp_path / "log" / "service.log"
    log.parent.mkdir()
    path.write_text('[log]\nformat = "json"\nlevel = "info"\nfile = "log/service.log"\n', encoding="utf-8")
    async with ServeProcess(tmp_path / "rooms", words=("--config", str(path))) as process, browser_like() as http:
        code = process.offer["technician_invite"]
        status, body, _ = await redeem(http, process.url, code, agent=True, name="王师傅")
        assert status == 200
        assert (await redeem(http, process.url, code))[0] == 410
        exit_code, said = await process.end(signal.SIGTERM)
        assert (exit_code, said) == (0, "")
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert [one["status"] for one in lines if one.get("route") == "/redeem"] == [200, 410]
    assert any(one["message"] == f"room {body['room']}: opened" for one in lines)
    assert code not in log.read_text(encoding="utf-8")
    assert "王师傅" not in log.read_text(encoding="utf-8")


async def test_requests_are_left_out_where_that_is_wanted(tmp_path):
    path, log = tmp_path / "service.toml", tmp_path / "service.log"
    path.write_text('[log]\nformat = "text"\nfile = "service.log"\naccess = false\n', encoding="utf-8")
    async with ServeProcess(tmp_path / "rooms", words=("--config", str(path))) as process, browser_like() as http:
        assert (await redeem(http, process.url, process.offer["technician_invite"], agent=True))[0] == 200
        await process.end(signal.SIGTERM)
    text = log.read_text(encoding="utf-8")
    assert "opened" in text
    assert "/redeem" not in text


def test_a_log_that_cannot_be_written_is_said_at_once(tmp_path, capsys):
    path = tmp_path / "service.toml"
    path.write_text('[log]\nfile = "nowhere/service.log"\n', encoding="utf-8")
    for words in (["--check"], []):
        assert main(["consult", "serve", "--config", str(path), "--data", str(tmp_path / "d"), *words]) == Exit.USAGE
        assert "nowhere/service.log" in capsys.readouterr().err


async def test_a_log_line_and_the_rooms_wait_for_nobody_who_writes_to_the_database(service):
    """Another program may keep the file for seconds: the event loop goes on, and no line is written unchecked."""
    service.state.put_account(Account("wang.wu", display="王五", password=hashed_once()))
    names, written = PeopleNames(service), threading.Event()

    def write():
        with service.state.transaction():
            return written.wait(60)

    writing = asyncio.create_task(asyncio.to_thread(write))
    try:
        for _ in range(30):
            await asyncio.sleep(0.05)
            assert {"wang.wu", "王五"} <= set(names())
    finally:
        written.set()
    assert await writing, "the loop stood still until the writer gave up"
