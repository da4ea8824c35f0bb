"""What a technician reads of a request and types about it: real book, real hands, a bus on which nobody answers."""

from __future__ import annotations

import contextlib
import io
import json

import pytest

from consult.approver import Approver
from consult.execution import CarHands
from consult.grants import GrantBook
from consult.messages import Decide, Event, Result, Stop
from consult.remotepolicy import parse_policy
from consult.requestproof import request_digest
from diag.addressing import Target
from diag.canbus import open_can
from diag.guard import TransmitGuard
from diag.request import IsoTpLink
from huizhen.console import Console
from huizhen.language import Translator
from huizhen.roomrequests import RoomRequests, in_both_languages

ROOM, BMS, VCU = "0123456789ab", "0x7EC", "0x7E8"
TARGETS = {BMS: Target.physical(0x7E4, 0x7EC), VCU: Target.physical(0x7E0, 0x7E8)}
POLICY = '[classes]\nD = true\n[[alter]]\necu = "0x7EC"\nrequest = "2E F1 98"'


class Desk:
    """The technician's side with what it said, posted and was told."""

    def __init__(self, link, lang, *, is_json=False):
        self.out, self.err, self.posted, self.notices, self.phones = io.StringIO(), io.StringIO(), [], [], 0
        self.now_s = 1000.0
        guard = link.guard
        self.console = Console(Translator(lang), out=self.out, err=self.err)
        self.words = RoomRequests(
            self.console, is_json=is_json, show_phone=self._phone, ecu_names={BMS: "BMS"}, now_s=lambda: self.now_s
        )
        hands = CarHands(IsoTpLink(link), guard, sign=lambda data: bytes(64), say=in_both_languages, timeout_s=0.05)
        book = GrantBook(ROOM, TARGETS, parse_policy(POLICY), bytes(32), lambda data: bytes(64))
        self.approver = Approver(book, hands, post=self.posted.append, notify=self._notice)
        self.words.attach(self.approver)

    async def _phone(self):
        self.phones += 1

    def _notice(self, notice):
        self.notices.append(notice.kind)
        self.words.notice(notice)

    def ask(self, ident, data, *, ecu=BMS, risk="A", hold=False, name="Li"):
        digest = request_digest(ROOM, ident, ecu, bytes.fromhex(data), hold=hold, risk=risk)
        body = {"ecu": ecu, "data": data, "risk": risk, "hold": hold, "digest": digest}
        who = {"id": 7, "role": "expert", "name": name}
        self.approver.take(Event(n=1, t_us=1, kind="request", who=who, id=ident, text="because", body=body))

    async def type(self, *lines):
        for line in lines:
            assert await self.words.take(line), line

    @property
    def decisions(self):
        return [(one.id, one.decision, one.unplugged) for one in self.posted if isinstance(one, Decide)]


@pytest.fixture
async def link(request):
    guard = TransmitGuard()
    async with await open_can("virtual", f"nobody-{request.node.name}", 500_000, guard=guard) as found:
        yield found


@pytest.fixture
async def desk_of(link):
    made = []

    def make(lang="en", **named):
        made.append(Desk(link, lang, **named))
        return made[-1]

    yield make
    for desk in made:
        for task in list(desk.approver._tasks):
            task.cancel()
            with contextlib.suppress(BaseException):
                await task


@pytest.mark.parametrize(
    ("lang", "words"),
    [("en", "REQUEST from Li: BMS (0x7EC), read codes"), ("zh", "请求来自 Li：BMS (0x7EC)，读故障码")],
)
async def test_a_request_is_shown_with_all_that_matters_and_granted_by_a_letter(desk_of, eventually, lang, words):
    desk = desk_of(lang)
    desk.ask("r", "1902FF")
    await eventually(lambda: "shown" in desk.notices)
    text = desk.out.getvalue()
    assert words in text
    assert "19 02 FF" in text
    assert "because" in text
    assert "A" in text
    await desk.type("Y")
    assert desk.decisions == [("r", "approve", False)]
    await eventually(lambda: "over" in desk.notices)
    assert [(one.outcome, one.body["code"]) for one in desk.posted if isinstance(one, Result)] == [
        ("failed", "diag.no-answer")
    ]


async def test_beyond_reading_the_technician_has_to_look_first(desk_of, eventually):
    desk = desk_of()
    desk.ask("r", "14FFFFFF", risk="B")
    await eventually(lambda: "shown" in desk.notices)
    assert "speed unknown" in desk.out.getvalue()
    assert "nothing can be sent now: the car is not known to stand still" in desk.out.getvalue()
    await desk.type("y")
    assert desk.decisions == []
    assert "is no charging cable plugged in?" in desk.out.getvalue()
    await desk.type("n")
    assert desk.decisions == [], "back, not denied"
    await desk.type("s")
    assert "only reading" in desk.err.getvalue()
    await desk.type("y", "y")
    assert desk.decisions == [("r", "approve", True)]
    await eventually(lambda: "over" in desk.notices)
    (result,) = [one for one in desk.posted if isinstance(one, Result)]
    assert (result.outcome, result.body["code"]) == ("refused", "consult.state-unmet")


async def test_a_letter_meant_for_the_request_before_is_not_taken_for_this_one(desk_of, eventually):
    desk = desk_of()
    desk.ask("first", "1902FF")
    await eventually(lambda: "shown" in desk.notices)
    desk.ask("second", "14FFFFFF", risk="B")
    await eventually(lambda: desk.notices.count("shown") == 2)
    desk.approver.take(Event(n=2, t_us=2, kind="withdraw", who={"id": 7}, id="first", text=""))
    assert "clear codes" in desk.out.getvalue()
    await desk.type("n")
    assert desk.decisions == []
    assert "answer again" in desk.err.getvalue()
    await desk.type("n")
    assert desk.decisions == [("second", "deny", False)]
    await desk.type("y")
    assert "no request waits" in desk.err.getvalue()


async def test_until_the_end_for_reading(desk_of, eventually):
    desk = desk_of()
    desk.ask("r", "1902FF")
    await eventually(lambda: "shown" in desk.notices)
    await desk.type("s")
    desk.ask("again", "1901FF")
    assert desk.decisions == [("r", "session", False), ("again", "session", False)]
    await eventually(lambda: desk.notices.count("over") == 2)


async def test_class_d_tells_that_a_second_person_is_needed(desk_of, eventually):
    desk = desk_of()
    desk.ask("d", "2EF19801", risk="D")
    await eventually(lambda: "shown" in desk.notices)
    assert "a second person of the room must agree too" in desk.out.getvalue()
    await desk.type("y", "y")
    assert "waiting for the second person" in desk.err.getvalue()
    assert "running" not in desk.notices


async def test_the_kill_switch_and_the_other_words(desk_of, eventually):
    desk = desk_of()
    desk.ask("r", "1902FF", name="A\x1b[2JB")
    desk.ask("other", "22F187", ecu=VCU)
    await eventually(lambda: desk.notices.count("shown") == 2)
    await desk.type("/requests", "/phone", "")
    assert desk.phones == 1
    listed = desk.out.getvalue()
    assert "0x7E8" in listed
    assert "22 F1 87" in listed
    assert "\x1b[2J" not in listed
    await desk.type("/stop")
    assert [type(one) for one in desk.posted if isinstance(one, (Stop, Result))] == [Result, Result, Stop]
    assert "/resume" in desk.out.getvalue()
    await desk.type("/requests")
    assert "no request waits" in desk.err.getvalue()
    await desk.type("/resume")
    assert desk.posted[-1] == Stop(resume=True)
    assert not await desk.words.take("good morning"), "said in the room"
    assert not await desk.words.take("/quit")


async def test_json_lines_both_ways(desk_of, eventually):
    desk = desk_of(is_json=True)
    desk.ask("r", "14FFFFFF", risk="B")
    await eventually(lambda: "shown" in desk.notices)
    (shown,) = [json.loads(line) for line in desk.out.getvalue().splitlines()]
    assert (shown["schema"], shown["event"], shown["id"]) == ("huizhen.room-request/1", "shown", "r")
    assert shown["unplugged_needed"] is True
    assert shown["unmet"]["zh"]
    for line in ("{", "{}", '{"decide": "maybe", "id": "r"}', '{"hold": 3}', '{"stop": false}', '[1]{"x": 1}'[3:]):
        await desk.type(line)
    assert desk.err.getvalue().count("no word for requests") == 6
    await desk.type('{"decide": "approve", "id": "nobody"}')
    await desk.type('{"decide": "approve", "id": "r", "digest": "' + "0" * 64 + '"}')
    assert desk.notices.count("rejected") == 2
    await desk.type('{"decide": "deny", "id": "r"}')
    assert desk.decisions == [("r", "deny", False)]
    await desk.type('{"stop": true}', '{"resume": true}', '{"phone": true}')
    kinds = [json.loads(line)["event"] for line in desk.out.getvalue().splitlines()]
    assert kinds == ["shown", "rejected", "rejected", "gone", "stopped", "resumed"]
    assert not await desk.words.take("y"), "letters are for people"


@pytest.fixture
def eventually():
    import asyncio

    async def wait(condition, timeout_s=120):
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110 - what is waited for happens in other tasks
                await asyncio.sleep(0.01)

    return wait
