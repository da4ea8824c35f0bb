"""One contract for everything that carries requests: CAN, an ELM327, DoIP, all to the same simulated car."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from test_guard_fuzz import design_class

from diag.addressing import OBD_FUNCTIONAL, Target
from diag.answers import Answer, AnswerTimes, TimedLink, ask
from diag.canbus import open_can
from diag.direct import DirectLink
from diag.doip import open_doip
from diag.elm327 import open_elm327
from diag.errors import DiagError, LinkLost, NegativeResponse, NoAnswer, RefusedByPolicy
from diag.guard import TransmitGuard
from diag.nrc import PENDING
from diag.request import IsoTpLink, Timing
from diag.vehiclereport import LinkInfo
from virtualbus.car import Car
from virtualbus.fronts import open_front, parse_front
from virtualbus.runner import CarRunner
from virtualbus.scenario import find_scenario

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@dataclass
class Way:
    """How one kind of link reaches the car: who is whom there."""

    kind: str
    bms: Target
    vcu: Target
    nobody: Target
    everybody: Target
    port: str = ""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[IsoTpLink | DirectLink]:
        if self.kind == "can":
            async with await open_can("virtual", self.port) as frames, IsoTpLink(frames) as link:
                yield link
        elif self.kind == "elm327":
            pytest.importorskip("obd", reason="python-OBD is optional")
            async with await open_elm327(f"socket://127.0.0.1:{self.port}", "38400", "6") as link:
                yield link
        else:
            async with await open_doip("127.0.0.1", int(self.port)) as link:
                yield link


CAN = Target.physical(0x7E4), Target.physical(0x7E0), Target.physical(0x7D0, 0x7D8), OBD_FUNCTIONAL
LOGICAL = Target.at_logical(0x1003), Target.at_logical(0x1001), Target.at_logical(0x2FFF), Target.at_logical(0xE400)


@pytest.fixture(scope="module", params=["can", "elm327", "doip"])
def way(request: pytest.FixtureRequest) -> Iterator[Way]:
    words = {"can": "can:virtual:contract", "elm327": "elm327:0", "doip": "doip:0"}
    front = open_front(parse_front(words[request.param]))
    runner = CarRunner(Car(find_scenario("isolation"), 5), [front])
    runner.start()
    try:
        port = str(front.description.get("port", "contract"))
        yield Way(request.param, *(LOGICAL if request.param == "doip" else CAN), port=port)
    finally:
        runner.stop()


def guard_of(link: IsoTpLink | DirectLink) -> TransmitGuard:
    return link.link.guard if isinstance(link, IsoTpLink) else link.guard


async def test_an_answer_is_whole_and_names_its_ecu(way: Way) -> None:
    async with way.open() as link:
        (answer,) = await link.request(way.bms, b"\x22\xf1\x8c")
        assert (answer.source, answer.request, answer.complete, answer.missing) == (way.bms, b"\x22\xf1\x8c", True, 0)
        assert answer.payload.startswith(b"\x62\xf1\x8cBMS")
        codes = (await ask(link, way.bms, b"\x19\x02\x08")).whole()
        assert codes.payload[3:6] == bytes.fromhex("0AA61A")
        assert guard_of(link).refused == 0


async def test_a_refusal_is_an_answer_and_no_reading(way: Way) -> None:
    async with way.open() as link:
        refused = await ask(link, way.bms, b"\x22\xff\xff")
        assert (refused.nrc, refused.complete) == (0x31, True)
        with pytest.raises(NegativeResponse):
            refused.whole()


async def test_waiting_for_a_slow_ecu_is_not_its_answer(way: Way) -> None:
    async with way.open() as link:
        slow = await ask(link, way.bms, b"\x22\xf1\x95")
        assert slow.nrc != PENDING
        assert slow.payload.startswith(b"\x62\xf1\x95")


async def test_silence_of_one_is_an_error_and_of_all_is_not(way: Way) -> None:
    async with way.open() as link:
        with pytest.raises((NoAnswer, DiagError)) as silence:
            await link.request(way.nobody, b"\x3e\x00", timeout_s=0.3)
        assert not isinstance(silence.value, (LinkLost, RefusedByPolicy))
        assert await link.request(way.everybody, b"\x22\xff\xff", timeout_s=0.3) == ()


async def test_all_who_answer_are_kept_apart(way: Way) -> None:
    async with way.open() as link:
        answers = await link.request(way.everybody, b"\x3e\x00")
        assert len(answers) >= 6
        assert len({answer.ecu for answer in answers}) == len(answers)
        assert all(isinstance(answer, Answer) and answer.payload == b"\x7e\x00" for answer in answers)
        assert all(not answer.source.is_functional for answer in answers)


async def test_what_was_to_be_silent_is_no_error(way: Way) -> None:
    async with way.open() as link:
        assert await link.request(way.bms, b"\x3e\x80", timeout_s=0.2) == ()


async def test_side_by_side_nobody_gets_anothers_answer(way: Way) -> None:
    async with way.open() as link:
        wanted = [(target, did) for target in (way.bms, way.vcu) for did in (0xF187, 0xF18C, 0xF197)] * 3
        random.Random(1).shuffle(wanted)
        answers = await asyncio.gather(*(ask(link, target, b"\x22" + did.to_bytes(2, "big")) for target, did in wanted))
        for (target, did), answer in zip(wanted, answers, strict=True):
            assert answer.source == target
            assert answer.payload[1:3] == did.to_bytes(2, "big")


async def test_nothing_beyond_reading_leaves(way: Way) -> None:
    async with way.open() as link:
        guard = guard_of(link)
        sent = guard.sent
        for text in ("1002", "1003", "14FFFFFF", "2701", "2EF19000", "31010203", "04", "0800", "", "FF"):
            with pytest.raises(RefusedByPolicy):
                await link.request(way.bms, bytes.fromhex(text))
        assert guard.sent == sent
        assert guard.refused == 10
        assert not any(entry.is_allowed for entry in guard.log[-10:])


async def test_an_ecus_own_times_are_kept(way: Way) -> None:
    async with way.open() as link:
        assert isinstance(link, TimedLink)
        link.set_times(way.nobody, AnswerTimes(0.1, 1.0, 2.0))
        link.set_times(way.nobody, None)
        assert (await ask(link, way.bms, b"\x3e\x00")).nrc is None


async def test_a_cancelled_request_disturbs_none_after_it(way: Way) -> None:
    async with way.open() as link:
        for _ in range(3):
            task = asyncio.create_task(ask(link, way.bms, b"\x22\xf1\x95"))
            await asyncio.sleep(0.02)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            answer = await ask(link, way.bms, b"\x22\xf1\x8c")
            assert answer.payload.startswith(b"\x62\xf1\x8c")
        # An ECU that gets no flow control for what nobody waits for any more is busy with it for a second (N_Bs).
        assert (await ask(link, way.bms, b"\x3e\x00", timeout_s=5.0)).nrc is None


async def test_closed_means_closed(way: Way) -> None:
    async with way.open() as link:
        assert (await ask(link, way.bms, b"\x3e\x00")).nrc is None
    await link.close()
    with pytest.raises(LinkLost):
        await ask(link, way.bms, b"\x3e\x00", timeout_s=0.5)


class Wire(DirectLink):
    """A link whose far side is a table of hostile habits; keeps what left."""

    at_once = 8

    def __init__(self, dice: random.Random) -> None:
        quick = Timing(0.01, 0.01, 0.02, 0.03, 0.001, 1)
        super().__init__(LinkInfo("wire", "fuzz"), TransmitGuard(), timing=quick)
        self.dice, self.left = dice, []

    async def _transmit(self, target: Target, payload: bytes) -> None:
        self.left.append((target, payload))
        loop = asyncio.get_running_loop()
        source = Target.at_logical(0x1003) if target.is_functional else target
        for _ in range(self.dice.randint(0, 4)):
            said = self.dice.choice(
                [
                    bytes([payload[0] | 0x40]) + payload[1:3] + self.dice.randbytes(self.dice.randint(0, 40)),
                    bytes([0x7F, payload[0], self.dice.choice([0x78, 0x21, 0x31, 0x12])]),
                    self.dice.randbytes(self.dice.randint(0, 8)),
                    b"",
                    bytes([0x7F]),
                ]
            )
            missing = self.dice.choice([0, 0, 0, 5])
            loop.call_later(self.dice.random() * 0.03, self._hear, source, said, missing)
        if self.dice.random() < 0.01:
            self._lose(LinkLost("fuzz", "gone"))

    async def close(self) -> None:
        self._lose(LinkLost("fuzz", "closed"))


@pytest.mark.parametrize("seed", range(12))
async def test_hostile_answers_end_in_declared_errors_and_only_reading_leaves(seed: int) -> None:
    dice = random.Random(seed)
    pool = [
        "0100",
        "0902",
        "03",
        "22F190",
        "1902AF",
        "3E80",
        "1003",
        "2701",
        "14FFFFFF",
        "2EF19000",
        "31010203",
        "FF",
        "",
    ]
    async with Wire(dice) as link:
        for _ in range(60):
            target = Target.at_logical(dice.choice([0x1001, 0x1003, 0xE400, 0x0DFF]))
            payload = bytes.fromhex(dice.choice(pool)) if dice.random() < 0.8 else dice.randbytes(dice.randint(0, 6))
            try:
                answers = await link.request(target, payload)
            except DiagError:
                continue
            assert all(answer.payload for answer in answers)
            assert all(answer.request == payload for answer in answers)
        allowed = [entry for entry in link.guard.log if entry.is_allowed and entry.stage == "frame"]
        assert len(allowed) == len(link.left) == link.guard.sent
        assert {design_class(payload) for _, payload in link.left} <= {"A"}
