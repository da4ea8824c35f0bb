"""The end of a job: who may say so, what must be in it, and what becomes of it."""

import asyncio
import json
import os
import re
import shlex
import sys

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from casebase.library import Library
from consult.closing import check_statement, consultation
from consult.errors import MessageBroken, RoleRefused, RoomClosed
from consult.invites import Role
from consult.journal import Journal
from consult.member import Member
from consult.messages import Finish, Hello, encode_message
from consult.outbox import Outbox
from consult.recordcheck import check_record
from consult.recording import Recording
from consult.room import Room
from huizhen.console import standard
from huizhen.language import Translator
from huizhen.roomclosing import ask_statement, statement_from_line

GOOD = {
    "lang": "zh", "component": "电池模组", "failure_mode": "16 号单体内阻偏大", "action": "更换模组后均衡",
    "outcome": "fixed", "note": "", "tried": ["均衡充电", {"what": "紧固采样线", "result": "无变化"}],
}  # fmt: skip
REPORT = {
    "schema": "huizhen.scan/1", "started": "2026-11-02T08:00:00Z", "simulated": False, "complete": True,
    "vehicle": {"vin": "LHZEV4D04RA490472", "make": "Huizhen", "model": "EV400"},
    "dtcs": [{"code": "P0DE6", "failure_type": "16", "display": "P0DE6-16", "ecu": "0x7EC"}],
    "cases": {"matches": []},
}  # fmt: skip


def test_a_statement_comes_back_with_all_its_parts():
    said = check_statement(GOOD)
    assert said["tried"] == [{"what": "均衡充电", "result": ""}, {"what": "紧固采样线", "result": "无变化"}]
    assert set(said) == {"lang", "fix", "component", "failure_mode", "action", "outcome", "note", "tried"}
    assert check_statement({"fix": "weak-cell"})["outcome"] == "unknown"
    assert check_statement({"outcome": "not-fixed"})["lang"] == "en"


@pytest.mark.parametrize(
    "change",
    [
        {"lang": "de"}, {"outcome": "cured"}, {"outcome": None}, {"component": 1}, {"note": "x" * 2001},
        {"action": "x" * 401}, {"fix": 3}, {"tried": "x"}, {"tried": [""]}, {"tried": ["x"] * 51},
        {"tried": [{"what": "x", "more": 1}]}, {"tried": [{"result": "x"}]}, {"tried": [1]}, {"simulated": False},
        {"tried": ["x" * 4001]}, {"share": "yes"}, {"share": None}, {"share": 1},
    ],
)  # fmt: skip
def test_a_part_that_is_not_what_it_should_be_is_refused(change):
    with pytest.raises(MessageBroken):
        check_statement({**GOOD, **change})


@pytest.mark.parametrize("empty", [{}, {"lang": "zh", "note": "  ", "tried": ["x"]}])
def test_a_statement_that_says_nothing_is_refused(empty):
    with pytest.raises(MessageBroken):
        check_statement(empty)


@given(st.dictionaries(st.sampled_from([*GOOD, "fix", "x"]), st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["en", "fixed"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["what", "result", "x"]), inner),
    max_leaves=5)))  # fmt: skip
def test_any_object_is_a_statement_or_refused(body):
    try:
        said = check_statement(body)
    except MessageBroken:
        return
    assert check_statement({key: value for key, value in said.items() if value}) == said


@pytest.mark.parametrize("simulated", [False, True])
def test_the_case_library_takes_the_consultation_and_a_simulated_car_stays_one(tmp_path, simulated):
    document = consultation(
        "0123456789ab", {**REPORT, "simulated": simulated, "symptom": "续航变短"}, check_statement(GOOD),
        opened_us=1_760_000_000_000_000, closed_us=1_760_000_600_000_000,
    )  # fmt: skip
    with Library.open(tmp_path / "cases.db", create=True) as library:
        library.drafts.take(json.loads(json.dumps(document)))
        (draft,) = library.drafts.waiting()
        assert draft.simulated is simulated
        assert (draft.car_key is None) is simulated
        assert draft.statement.component == "电池模组"
        assert draft.question["symptom"] == "续航变短"
        assert draft.tried[1] == ("紧固采样线", "无变化")
        assert "LHZEV4D04RA490472" not in json.dumps(draft.to_json())
        before = library.counts()
        library.drafts.confirm(draft.number)
        after = library.counts()
        assert after["simulated_jobs"] - before["simulated_jobs"] == int(simulated)
        assert after["outcomes"] - before["outcomes"] == int(not simulated), "a simulated car teaches nothing"


@pytest.fixture
def room(tmp_path):
    with Journal(tmp_path / "a.room", room="0123456789ab") as journal:
        room = Room("0123456789ab", journal, created_us=5)
        room.take_hello(Hello(1, 9, REPORT, [], 0), 1, "Wang", 10)
        yield room


def flush(room):
    room.write_batch(room.take_batch())


@pytest.mark.parametrize("role", [Role.EXPERT, Role.OBSERVER])
def test_only_technician_and_lead_finish_a_job(room, role):
    with pytest.raises(RoleRefused):
        room.ending.finish(Finish(GOOD), {"id": 2}, role, 20)
    assert room.ending.document is None
    assert room.closed_code is None


def test_a_room_without_its_agent_closes_at_once_and_keeps_the_consultation(room):
    room.ending.finish(Finish(GOOD, id="f1"), {"id": 2}, Role.LEAD, 20)
    assert room.closed_code == "consult.room-finished"
    flush(room)
    room.journal.end(room.closed_code)
    room.ending.write_file()
    beside = room.journal.path.with_suffix(".consultation.json")
    assert beside.stat().st_mode & 0o077 == 0
    ((_, kept),) = room.journal.documents("consultation")
    assert json.loads(beside.read_text(encoding="utf-8")) == kept
    assert kept["statement"]["action"] == "更换模组后均衡"
    assert kept["vin"] == "LHZEV4D04RA490472"
    assert "cases" not in kept["scan"]
    assert check_record(room.journal.path).closed == "consult.room-finished"


def test_with_its_agent_the_room_waits_for_what_was_measured_but_not_for_ever(room):
    room.agent = Outbox()
    room.ending.finish(Finish(GOOD), {"id": 2}, Role.LEAD, 20)
    room.ending.finish(Finish({"outcome": "not-fixed"}), {"id": 2}, Role.LEAD, 21)
    assert room.ending.document["statement"]["outcome"] == "fixed", "the first word counts"
    for now_us in (30, 300_000_000):
        room.ending.end_if_due(now_us)
        assert room.closed_code is None
    room.agent = None
    room.ending.end_if_due(309_000_000)
    assert room.closed_code is None
    room.ending.end_if_due(311_000_000)
    assert room.closed_code == "consult.room-finished"


def test_a_finished_job_stays_finished_over_a_restart(room, tmp_path):
    room.agent = Outbox()
    room.ending.finish(Finish(GOOD), {"id": 2}, Role.LEAD, 20)
    flush(room)
    again = Room("0123456789ab", room.journal, created_us=5)
    again.restore(room.journal.resume())
    assert again.ending.document["statement"]["outcome"] == "fixed"
    again.ending.end_if_due(1_000_000_000)
    assert again.closed_code is None, "the agent has time to come back"
    again.ending.end_if_due(1_011_000_000)
    assert again.closed_code == "consult.room-finished"


async def test_a_lead_finishes_on_a_page_and_nothing_measured_is_lost(
    service, car, report, in_room, eventually, config
):
    """The agent brings its last blocks, both sides hear why the room closed, and the record is whole."""
    async with in_room(service, car, report) as agent:
        invite = await agent.invite("lead")
        room = service.rooms[agent.room]
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
            async with http.post(f"{service.url}/redeem", json={"invite": invite.code, "name": "x"}) as entered:
                path = (await entered.json())["path"]
            async with http.ws_connect(f"{service.url}{path}/watch") as socket, asyncio.timeout(120):
                await eventually(lambda: len(car.sent) > 10)
                await socket.send_str(encode_message(Finish({"outcome": "gone"}, id="f0")))
                await socket.send_str(encode_message(Finish(GOOD, id="f1")))
                heard = []
                while not heard or heard[-1]["type"] != "closed":
                    message = await socket.receive()
                    if message.type is aiohttp.WSMsgType.TEXT:
                        heard.append(json.loads(message.data))
        assert heard[-1]["code"] == "consult.room-finished"
        assert {"type": "refused", "code": "consult.message-broken", "id": "f0"} in heard
        (finish,) = [one for one in heard if one.get("kind") == "finish"]
        assert finish["body"]["component"] == "电池模组"
        await eventually(lambda: agent.room not in service.rooms)
    assert agent.finished is not None
    assert agent.finished.body == finish["body"]
    assert not len(agent.spool)
    check = check_record(room.journal.path)
    assert (check.closed, check.faults) == ("consult.room-finished", ())
    with Recording(room.journal.path) as recording:
        (span,) = recording.spans()
        assert recording.count_blocks() == span.next >= len(car.sent) - 1
    assert not room.journal.path.with_suffix(".consultation.json").exists(), "it would stand there in the clear"
    with pytest.raises(RoomClosed):
        service.room(agent.room)


async def lines_of(*words):
    for word in words:
        yield word


CASES = {"matches": [{"case_id": "weak-cell", "fix": {"en": "Replace the module", "zh": "更换模组"}}]}


@pytest.mark.parametrize("lang", ["en", "zh"])
async def test_the_questions_of_close_make_a_statement(lang, capsys):
    console = standard(Translator(lang))
    typed = lines_of("9", "", "模组", "单体弱", "更换", "均衡", "无效", "", "7", "1", "下次先测内阻")
    said = await ask_statement(typed, CASES, console)
    assert said == {
        "lang": lang, "component": "模组", "failure_mode": "单体弱", "action": "更换",
        "tried": [{"what": "均衡", "result": "无效"}], "outcome": "fixed", "note": "下次先测内阻",
    }  # fmt: skip
    check_statement(said)
    said = await ask_statement(lines_of("1", "", "2", ""), CASES, console)
    assert (said["fix"], said["outcome"]) == ("weak-cell", "not-fixed")
    assert await ask_statement(lines_of("1", "/cancel"), CASES, console) is None
    assert await ask_statement(lines_of("1"), CASES, console) is None, "the end of the input is no answer"
    assert ("Replace the module" if lang == "en" else "更换模组") in capsys.readouterr().out


@pytest.mark.parametrize(("lang", "said"), [("en", "Li finished the job: Replace the module"), ("zh", "更换模组")])
def test_the_terminal_calls_a_known_fix_by_its_words(lang, said, capsys):
    from consult.messages import Event
    from huizhen.console import standard
    from huizhen.language import Translator
    from huizhen.roomview import show_event

    finished = Event(7, 1, "finish", {"role": "lead", "name": "Li"}, "", "", {"fix": "weak-cell"})
    show_event(finished, standard(Translator(lang)), CASES)
    assert said in capsys.readouterr().out
    show_event(finished, standard(Translator(lang)))
    assert "weak-cell" in capsys.readouterr().out, "a fix that the report does not name"


def test_a_script_says_it_in_one_line():
    assert statement_from_line('{"finish": {"outcome": "fixed"}}') == {"outcome": "fixed"}
    for other in ("hello", "{", '{"decide": "approve"}', '{"finish": 1}', "[]"):
        assert statement_from_line(other) is None


@pytest.mark.parametrize("way", ["script", "terminal"])
async def test_the_program_ends_the_job_and_drafts_the_case_of_a_simulated_car(tmp_path, way):
    """``consult open`` from its first line to the draft in the technician's own library."""
    library = tmp_path / "cases.db"
    Library.open(library, create=True).close()
    words = ["--json"] if way == "script" else ["--lang", "en"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "huizhen", "consult", "open", "--demo", "--scenario", "weak-cell", "--listen", "1",
        "--symptom", "range is short", "--data", str(tmp_path / "my 会诊"), "--library", str(library), *words,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    out = b""
    async with asyncio.timeout(120):
        while b"/join#" not in out:
            line = await process.stdout.readline()
            assert line, (await process.stderr.read()).decode()
            out += line
        if way == "script":
            process.stdin.write(b'{"finish": {"outcome": "nonsense"}}\n')
            process.stdin.write(json.dumps({"finish": GOOD}).encode() + b"\n")
        else:
            process.stdin.write(b"/close\n0\nmodule\nweak cell\nreplaced\n\n1\nmeasure first\n")
        rest, errors = await process.communicate()
    out = (out + rest).decode()
    assert process.returncode == 0, errors.decode()
    with Library.open(library) as opened:
        (draft,) = opened.drafts.waiting()
    assert draft.simulated
    assert draft.car_key is None
    assert draft.question["symptom"] == "range is short"
    assert draft.statement.action == ("更换模组后均衡" if way == "script" else "replaced")
    if way == "script":
        told = [json.loads(line) for line in out.splitlines()]
        assert told[-1]["schema"] == "huizhen.draft/1"
        assert told[-1]["simulated"] is True
        assert "outcome" in errors.decode()
    else:
        assert f"Draft {draft.number}" in out
    (record,) = (tmp_path / "my 会诊").glob("*.room")
    if way == "terminal":
        (typed,) = re.findall("huizhen consult verify (.*)", out)
        assert shlex.split(typed)[:2] == [str(record), "--head"], "as it can be typed"
    assert (check_record(record).verdict, check_record(record).closed) == ("intact", "consult.room-finished")
    assert (await asyncio.to_thread(lambda: list((tmp_path / "my 会诊").glob("*.consultation.json")))) == []


@pytest.mark.parametrize(("role", "told"), [(Role.TECHNICIAN, True), (Role.LEAD, None)])
def test_whether_the_network_may_remember_the_car_is_for_its_technician_to_say(room, role, told):
    room.ending.finish(Finish({**GOOD, "share": True}), {"id": 2}, role, 20)
    assert room.ending.document["statement"].get("share") is told


def test_a_member_hears_the_finish_as_an_event(room):
    member = Member(2, Role.EXPERT, "Li")
    room.enter(member, 11)
    room.ending.finish(Finish({**GOOD, "note": "LHZEV4D04RA490472"}), {"id": 1}, Role.TECHNICIAN, 20)
    flush(room)
    assert [event["kind"] for event in room.journal.events()] == ["join", "finish"]
    told = list(member.outbox._words)
    assert any('"kind":"finish"' in text for text in told)
    assert not any("LHZEV4D04RA490472" in text for text in told), "an expert sees no VIN there either"
