"""Whatever is requested, sent raw or answered, no frame leaves that DESIGN.md does not allow.

The oracle is written here from the text of DESIGN.md §2 and the layout of ISO-TP, and shares nothing with the guard.
A witness counts every frame at the bus itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import queue
from collections import Counter

import can
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diag.addressing import Target
from diag.canbus import Frame, open_can
from diag.errors import DiagError, RefusedByPolicy
from diag.guard import Risk, TransmitGuard, VehicleState
from diag.request import IsoTpLink, Timing

CHANNELS = itertools.count()


def design_class(payload: bytes) -> str:
    """Class of a request by DESIGN.md §2, written down a second time."""
    sid = payload[0] if payload else None
    sub = payload[1] & 0x7F if len(payload) > 1 else None
    if sid in (0x01, 0x02, 0x03, 0x06, 0x07, 0x09, 0x0A, 0x19, 0x22, 0x24, 0x3E):
        return "A"
    if sid == 0x10:
        return {1: "A", 3: "B", 2: "D"}.get(sub, "refused")
    if sid in (0x14, 0x04, 0x85, 0x28, 0x23, 0x2A, 0x2C):
        return "B"
    if sid in (0x11, 0x2F):
        return "C"
    if sid == 0x27:
        return "refused" if sub in (0x5F, 0x60) else "D"
    if sid in (0x29, 0x2E, 0x34, 0x35, 0x36, 0x37, 0x38, 0x3D):
        return "D"
    return "refused"  # 31 too: no routine is named


def physical_id(response_id: int, extended: bool) -> int:
    if extended:
        return 0x18DA00F1 | (response_id & 0xFF) << 8
    return response_id - 8


class Witness(queue.Queue):
    """The receive queue of a bus of its own: sees each frame of the tester in the moment it leaves."""

    def __init__(self, story: list[tuple]) -> None:
        super().__init__()
        self.story = story

    def put(self, item, block=True, timeout=None):
        data = bytes(item.data)
        self.story.append(("out", item.arbitration_id, item.is_extended_id, data, item.is_remote_frame))


class Judge:
    """Reads the story afterwards and names the first frame that nothing allows."""

    def __init__(self, granted: str) -> None:
        self.granted = granted
        self.live: list[dict] = []
        self.frames = 0

    def hear(self, event: tuple) -> None:
        getattr(self, f"on_{event[0]}")(*event[1:])

    def on_open(self, key: int, target: Target, payload: bytes) -> None:
        self.live.append({"key": key, "target": target, "payload": payload, "sent": 0, "seq": 1, "earned": Counter()})

    def on_close(self, key: int) -> None:
        self.live = [exchange for exchange in self.live if exchange["key"] != key]

    def on_ecu(self, can_id: int, extended: bool, data: bytes) -> None:
        if not data or data[0] >> 4 != 1 or len(data) < 8:
            return
        for exchange in self.live:
            target = exchange["target"]
            if extended != target.extended:
                continue
            if target.response_id is not None:
                mine = can_id == target.response_id
            else:
                mine = can_id >> 8 == 0x18DAF1 if extended else 0x7E8 <= can_id <= 0x7EF
            if mine:
                physical = target.request_id if target.response_id is not None else physical_id(can_id, extended)
                exchange["earned"][physical] += 700

    def on_out(self, can_id: int, extended: bool, data: bytes, remote: bool) -> None:
        self.frames += 1
        shown = f"{can_id:X} {data.hex()}"
        assert not remote, f"a remote frame left: {shown}"
        assert data, f"an empty frame left: {shown}"
        assert any(self.explains(exchange, can_id, extended, data) for exchange in self.live), f"unexplained: {shown}"

    def explains(self, exchange: dict, can_id: int, extended: bool, data: bytes) -> bool:
        target, payload = exchange["target"], exchange["payload"]
        if extended != target.extended or design_class(payload) not in self.granted:
            return False
        if data[0] >> 4 == 3:
            exchange["earned"][can_id] -= 1
            return exchange["earned"][can_id] >= 0
        if can_id != target.request_id:
            return False
        if data[0] >> 4 == 0:
            is_first = exchange["sent"] == 0
            exchange["sent"] = len(payload)
            return is_first and data[0] == len(payload) and data[1 : 1 + len(payload)] == payload
        if data[0] >> 4 == 1:
            is_first = exchange["sent"] == 0 and target.response_id is not None
            exchange["sent"] = 6
            return (
                is_first
                and data[:2] == bytes([0x10 | len(payload) >> 8, len(payload) & 0xFF])
                and (data[2:] == payload[:6])
            )
        sent, seq = exchange["sent"], exchange["seq"]
        part = payload[sent : sent + 7]
        exchange["sent"], exchange["seq"] = sent + len(part), (seq + 1) & 15
        return bool(part) and sent > 0 and data[0] == 0x20 | seq and data[1 : 1 + len(part)] == part


TARGETS = st.sampled_from(
    [
        Target.physical(0x7E0), Target.physical(0x7E4), Target.physical(0x74C, 0x75C), Target.functional(),
        Target.functional(0x18DB33F1), Target.physical(0x18DA10F1), Target(0x123, 0x7E8), Target(0x7E8, 0x7E0),
    ]
)  # fmt: skip
LIKELY = [
    "0100", "0902", "03", "04", "0800", "1001", "1002", "1003", "1081", "1101", "14FFFFFF", "1902AF", "19040AA61AFF",
    "22F190", "22F190F18CF195F188", "2701", "275F", "2760", "2EF19000", "2FD00103", "3101E200", "3101FF00", "3E80",
    "280301", "3400", "8502", "FF", "7F0000", "62F190",
]  # fmt: skip
PAYLOADS = st.one_of(st.sampled_from([bytes.fromhex(text) for text in LIKELY]), st.binary(max_size=20))
IDS = st.sampled_from([0x7DF, 0x7E0, 0x7E4, 0x7E8, 0x7EC, 0x74C, 0x75C, 0x100, 0x18DB33F1, 0x18DA10F1, 0x18DAF110])
RAW = st.one_of(
    st.builds(lambda body: (bytes([len(body)]) + body).ljust(8, b"\xcc"), PAYLOADS.filter(lambda body: len(body) < 8)),
    st.sampled_from([bytes.fromhex(t) for t in ("300000CCCCCCCCCC", "3000", "310000", "2141424344454647", "1014")]),
    st.binary(max_size=8),
)
FRAMES = st.builds(
    lambda can_id, data, remote: Frame(can_id, data, extended=can_id > 0x7FF, remote=remote),
    IDS, RAW, st.integers(0, 9).map(lambda n: n == 0),
)  # fmt: skip
ANSWERS = st.one_of(
    RAW,
    st.builds(
        lambda sid, size, rest: bytes([0x10 | size >> 8, size & 0xFF, sid | 0x40]) + rest,
        st.sampled_from([0x01, 0x09, 0x19, 0x22, 0x10]), st.integers(8, 4095), st.binary(min_size=5, max_size=5),
    ),
    st.builds(lambda seq, rest: bytes([0x20 | seq]) + rest, st.integers(0, 15), st.binary(min_size=7, max_size=7)),
    st.builds(lambda fs, bs: bytes([0x30 | fs, bs, 0]), st.integers(0, 3), st.integers(0, 2)),
    st.builds(lambda sid, nrc: bytes([3, 0x7F, sid, nrc]), st.integers(0, 255), st.sampled_from([0x78, 0x21, 0x31])),
)  # fmt: skip
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("request"), TARGETS, PAYLOADS),
        st.tuples(st.just("send"), FRAMES),
        st.tuples(st.just("ecu"), IDS, ANSWERS, st.sampled_from([1, 1, 1, 40])),
        st.tuples(st.just("wait")),
    ),
    min_size=1,
    max_size=25,
)
FAST = Timing(answer_s=0.01, window_s=0.01, pending_s=0.02, pending_total_s=0.03, busy_pause_s=0.001, busy_repeats=2)


class TellingGuard(TransmitGuard):
    """The real guard, which also tells the story when an exchange begins and ends, so that the judge knows what the
    request stage accepted; what it accepted is judged, not trusted."""

    story: list[tuple]

    def open(self, payload, target):
        exchange = super().open(payload, target)
        self.story.append(("open", id(exchange), target, bytes(payload)))
        return exchange

    def close(self, exchange):
        super().close(exchange)
        self.story.append(("close", id(exchange)))


async def play(steps: list[tuple], guard: TellingGuard) -> list[tuple]:
    channel, story = f"fuzz{next(CHANNELS)}", []
    guard.story = story
    ecu = can.Bus(interface="virtual", channel=channel)
    peers = ecu.channel
    peers[peers.index(ecu.queue)] = ecu.queue = Witness(story)
    running = []

    async def request(link, target, payload):
        try:
            await link.request(target, payload)
        except DiagError:
            return

    try:
        async with await open_can("virtual", channel, guard=guard) as link, IsoTpLink(link, timing=FAST) as requests:
            for step in steps:
                if step[0] == "request":
                    running.append(asyncio.ensure_future(request(requests, *step[1:])))
                elif step[0] == "send":
                    with contextlib.suppress(RefusedByPolicy):
                        await link.send(step[1])
                elif step[0] == "ecu":
                    _, can_id, data, times = step
                    for _ in range(times):
                        story.append(("ecu", can_id, can_id > 0x7FF, data))
                        ecu.send(can.Message(arbitration_id=can_id, data=data, is_extended_id=can_id > 0x7FF))
                    await asyncio.sleep(0)
                else:
                    await asyncio.sleep(0.003)
            await asyncio.gather(*running)
    finally:
        ecu.shutdown()
    return story


def judge(story: list[tuple], granted: str) -> int:
    court = Judge(granted)
    for event in story:
        court.hear(event)
    return court.frames


def drive(steps: list[tuple], guard: TellingGuard) -> list[tuple]:
    return asyncio.run(asyncio.wait_for(play(steps, guard), 30))


SLOW = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@given(steps=STEPS)
@SLOW
def test_only_reading_leaves_without_a_grant(steps):
    guard = TellingGuard()
    story = drive(steps, guard)
    assert judge(story, "A") == guard.sent


@given(steps=STEPS)
@settings(SLOW, max_examples=60)
def test_with_every_grant_nothing_refused_always_leaves(steps):
    guard = TellingGuard(frozenset(Risk), state=VehicleState(0.0, False, 12.6))
    for step in steps:
        if step[0] == "request":
            guard.confirm(step[2], step[1])
    story = drive(steps, guard)
    assert judge(story, "ABCD") == guard.sent


def test_the_judge_condemns_what_it_should():
    target = Target.physical(0x7E0)
    opened = ("open", 1, target, bytes.fromhex("22F190"))
    fine = ("out", 0x7E0, False, bytes.fromhex("0322F190CCCCCCCC"), False)
    first = ("ecu", 0x7E8, False, bytes.fromhex("101462F190414243"))
    flow = ("out", 0x7E0, False, bytes.fromhex("300000CCCCCCCCCC"), False)
    assert judge([opened, fine, first, flow], "A") == 2
    for bad in (
        [fine],
        [opened, fine, fine],
        [opened, ("close", 1), fine],
        [opened, fine, flow],
        [opened, fine, first, ("close", 1), flow],
        [opened, ("out", 0x7E1, *fine[2:])],
        [opened, (*fine[:4], True)],
        [("open", 1, target, b"\x11\x01"), ("out", 0x7E0, False, b"\x02\x11\x01", False)],
    ):
        with pytest.raises(AssertionError):
            judge(bad, "A")


ECU = Target.physical(0x7E0)
FIRST = ("ecu", 0x7E8, bytes.fromhex("101462F190414243"), 1)


def test_an_honest_conversation_reaches_the_bus():
    steps = [("request", ECU, bytes.fromhex("22F190F18CF195F188")), ("wait",), ("ecu", 0x7E8, b"\x30\x00\x00", 1),
             ("wait",), FIRST, ("wait",)]  # fmt: skip
    guard = TellingGuard()
    story = drive(steps, guard)
    left = [event[3].hex() for event in story if event[0] == "out"]
    assert left == ["100922f190f18cf1", "2195f188cccccccc", "300000cccccccccc"]
    assert judge(story, "A") == guard.sent == 3


class Sleeping(TellingGuard):
    def check_frame(self, can_id, data, *, extended=False, is_plain=True):
        self.sent += 1


class Lenient(TellingGuard):
    def check_request(self, payload, target):
        return Risk.READ


@pytest.mark.parametrize(
    ("guard", "steps"),
    [
        (Sleeping, [("send", Frame(0x7E0, b"\x02\x11\x01"))]),
        (Sleeping, [("send", Frame(0x100, b"\x00"))]),
        (Lenient, [("request", ECU, b"\x11\x01"), ("wait",)]),
    ],
)
def test_a_broken_guard_is_caught(guard, steps):
    with pytest.raises(AssertionError):
        judge(drive(steps, guard()), "A")
