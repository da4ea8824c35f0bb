"""Whatever is requested, sent raw or answered, no frame leaves that DESIGN.md does not allow.

The oracle is written here from the text of DESIGN.md §2 and the layout of ISO-TP, and shares nothing with the guard.
A witness counts every frame at the bus itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import queue
import random
from collections import Counter

import can
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diag.addressing import Target
from diag.canbus import Frame, open_can
from diag.errors import DiagError, RefusedByPolicy
from diag.guard import Risk, TransmitGuard, VehicleState
from diag.isotp import IsoTpSettings
from diag.request import IsoTpLink, Timing

CHANNELS = itertools.count()


SUBS_19 = {
    0x01: 3, 0x02: 3, 0x03: 2, 0x04: 6, 0x05: 3, 0x06: 6, 0x07: 4, 0x08: 4, 0x09: 5, 0x0A: 2, 0x0B: 2, 0x0C: 2,
    0x0D: 2, 0x0E: 2, 0x0F: 3, 0x10: 6, 0x11: 3, 0x12: 3, 0x13: 3, 0x14: 2, 0x15: 2, 0x16: 3, 0x17: 4, 0x18: 7,
    0x19: 7, 0x1A: 3, 0x42: 5, 0x55: 3, 0x56: 4,
}  # fmt: skip


def reading_fits(payload: bytes) -> bool:
    """Whether a request of class A has a length that standards/uds.md and obd2.md give it."""
    sid, size = payload[0], len(payload)
    if sid in (0x01, 0x06, 0x09):
        return 2 <= size <= 7
    if sid == 0x02:
        return size in (3, 5, 7)
    if sid == 0x19:
        return size > 1 and SUBS_19.get(payload[1] & 0x7F) == size
    if sid == 0x22:
        return size >= 3 and size % 2 == 1
    if sid == 0x3E:
        return size == 2 and payload[1] & 0x7F == 0
    return size == {0x03: 1, 0x07: 1, 0x0A: 1, 0x10: 2, 0x24: 3}[sid]


def design_class(payload: bytes) -> str:
    """Class of a request by DESIGN.md §2, written down a second time."""
    sid = payload[0] if payload else None
    sub = payload[1] & 0x7F if len(payload) > 1 else None
    if sid in (0x01, 0x02, 0x03, 0x06, 0x07, 0x09, 0x0A, 0x19, 0x22, 0x24, 0x3E) or (sid == 0x10 and sub == 1):
        return "A" if reading_fits(payload) else "refused"
    if sid == 0x10:
        return {3: "B", 2: "D"}.get(sub, "refused")
    if sid in (0x14, 0x04, 0x85, 0x28, 0x23, 0x2A, 0x2C):
        return "B"
    if sid in (0x11, 0x2F):
        return "C"
    if sid == 0x27:
        return "refused" if sub in (0x5F, 0x60) else "D"
    if sid in (0x29, 0x2E, 0x34, 0x35, 0x36, 0x37, 0x38, 0x3D):
        return "D"
    return "refused"  # 31 too: no routine is named


def may_go_to_all(payload: bytes) -> bool:
    """DESIGN.md §2: reading, clearing and the default or extended session; nothing that actuates or alters."""
    return design_class(payload) == "A" or payload[0] in (0x04, 0x14) or payload[:1] + payload[1:2] in (
        b"\x10\x03", b"\x10\x83",
    )  # fmt: skip


def is_for_diagnostics(can_id: int, extended: bool) -> bool:
    """Identifiers of standards/obd2.md §1, and the makers' own from 0x700 on."""
    if extended:
        return can_id == 0x18DB33F1 or (can_id >> 16 == 0x18DA and can_id & 0xFF == 0xF1)
    return 0x700 <= can_id <= 0x7FF and not 0x7E8 <= can_id <= 0x7EF


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
        live = {"key": key, "target": target, "payload": payload, "sent": 0, "seq": 1, "earned": Counter()}
        self.live.append({**live, "cleared": False})

    def on_close(self, key: int) -> None:
        self.live = [exchange for exchange in self.live if exchange["key"] != key]

    def on_ecu(self, can_id: int, extended: bool, data: bytes) -> None:
        if len(data) < 3:
            return
        for exchange in self.live:
            target = exchange["target"]
            if extended != target.extended:
                continue
            if target.response_id is not None:
                mine = can_id == target.response_id
            else:
                mine = can_id >> 8 == 0x18DAF1 if extended else 0x7E8 <= can_id <= 0x7EF
            if mine and data[0] == 0x30:
                exchange["cleared"] |= exchange["sent"] > 0
            service = data[6:7] if data[:2] == b"\x10\x00" else data[2:3]
            if mine and data[0] >> 4 == 1 and exchange["sent"] and service == bytes([exchange["payload"][0] | 0x40]):
                physical = target.request_id if target.response_id is not None else physical_id(can_id, extended)
                exchange["earned"][physical] += 700

    def on_out(self, can_id: int, extended: bool, data: bytes, remote: bool) -> None:
        self.frames += 1
        shown = f"{can_id:X} {data.hex()}"
        assert not remote, f"a remote frame left: {shown}"
        assert data, f"an empty frame left: {shown}"
        assert is_for_diagnostics(can_id, extended), f"not for diagnostics: {shown}"
        assert any(self.explains(exchange, can_id, extended, data) for exchange in self.live), f"unexplained: {shown}"

    def explains(self, exchange: dict, can_id: int, extended: bool, data: bytes) -> bool:
        target, payload, sent = exchange["target"], exchange["payload"], exchange["sent"]
        if extended != target.extended or design_class(payload) not in self.granted:
            return False
        is_functional = can_id in (0x7DF, 0x18DB33F1)
        if is_functional and (data[0] >> 4 in (1, 3) or not may_go_to_all(payload)):
            return False
        if data[0] >> 4 == 3:
            fits = exchange["earned"][can_id] > 0 and len(set(data[3:])) < 2
            exchange["earned"][can_id] -= fits
            return fits
        if can_id != target.request_id:
            return False
        if data[0] >> 4 == 0:
            wanted, size = bytes([len(payload)]) + payload, len(payload)
            fits = sent == 0
        elif data[0] >> 4 == 1:
            wanted, size = bytes([0x10 | len(payload) >> 8, len(payload) & 0xFF]) + payload[:6], 6
            fits = sent == 0 and len(payload) > 7
        else:
            wanted, size = bytes([0x20 | exchange["seq"]]) + payload[sent : sent + 7], len(payload[sent : sent + 7])
            fits = exchange["cleared"] and sent > 0 and size > 0
        fits = fits and data.startswith(wanted) and len(set(data[len(wanted) :])) < 2
        if fits:
            exchange["seq"] = (exchange["seq"] + (data[0] >> 4 == 2)) & 15
            exchange["sent"] = sent + size
        return fits


TARGETS = [
    Target.physical(0x7E0), Target.physical(0x7E4), Target.physical(0x74C, 0x75C), Target.functional(),
    Target.functional(0x18DB33F1), Target.physical(0x18DA10F1), Target(0x123, 0x7E8), Target(0x7E8, 0x7E0),
    Target(0x18DAF110, 0x18DA10F1, extended=True), Target(0x7DF, 0x7E8),
    Target(0x18DB33F1, 0x18DAF110, extended=True),
]  # fmt: skip
PAYLOADS = [bytes.fromhex(text) for text in (
    "0100", "010C0D05", "0902", "03", "04", "0800", "1001", "1002", "1003", "1081", "1082", "1101", "14FFFFFF",
    "1902AF", "19040AA61AFF", "22F190", "22F190F18CF195F188", "22F1", "2701", "275F", "2760", "2EF19000", "2FD00103",
    "3101E200", "3101FF00", "3103FF00", "3E80", "3E01", "280301", "3400", "8502", "FF", "7F0000", "62F190", "0A00",
)]  # fmt: skip
IDS = [0x7DF, 0x7E0, 0x7E4, 0x7E8, 0x7EC, 0x74C, 0x75C, 0x100, 0x18DB33F1, 0x18DA10F1, 0x18DAF110]
NOISE = range(256)


def some_bytes(dice: random.Random, most: int) -> bytes:
    return bytes(dice.choice(NOISE) for _ in range(dice.randint(0, most)))


def scene(dice: random.Random) -> list[tuple]:
    """A few steps around one or two targets and payloads, so that what is sent and answered meets what is open."""
    targets = [dice.choice([*TARGETS[:6], *TARGETS]) for _ in range(dice.randint(1, 2))]
    reading = [payload for payload in PAYLOADS if design_class(payload) == "A"]
    long = [bytes.fromhex("22F190F18CF195F188")] * 12
    payloads = [dice.choice([*reading * 2, *long, *PAYLOADS, some_bytes(dice, 12)]) for _ in range(dice.randint(1, 2))]
    return [step(dice, dice.choice(targets), dice.choice(payloads)) for _ in range(dice.randint(4, 24))]


def step(dice: random.Random, target: Target, payload: bytes) -> tuple:
    kind = dice.choice(["request", "request", "send", "send", "send", "ecu", "ecu", "wait"])
    if kind == "request":
        return kind, target, payload
    if kind == "wait":
        return (kind,)
    return say(dice, target, payload) if kind == "send" else answer(dice, target, payload)


def say(dice: random.Random, target: Target, payload: bytes) -> tuple:
    """A frame that a tester with a fault might send: right, nearly right, or noise."""
    rest = some_bytes(dice, 8)
    fill = dice.choice([b"\xcc", b"\x00", b"\xaa", b"\x12"])
    if len(payload) > 7:
        whole = bytes([0x10, len(payload)]) + payload[:6]
        more = (b"\x21" + payload[6:13]).ljust(8, fill)
    else:
        whole = (bytes([len(payload)]) + payload).ljust(8, fill)
        more = bytes([len(payload)]) + payload
    flow = b"\x30\x00\x00"
    wrong = more[:2] + rest[:1] + more[3:]
    data = dice.choice(
        [whole, whole, more, more, wrong, flow, flow + rest[:5], whole[:-1] + rest[:1], more + rest, rest]
    )
    data = data[:8]
    can_id = dice.choice([target.request_id] * 12 + IDS)
    extended = can_id > 0x7FF or dice.randint(0, 19) == 0
    return "send", Frame(can_id, data, extended=extended, remote=dice.randint(0, 19) == 0)


def answer(dice: random.Random, target: Target, payload: bytes) -> tuple:
    """A frame of a hostile ECU: an answer, another's answer, flow control at any time, storms, noise."""
    can_id = dice.choice([target.response_id or (0x18DAF110 if target.extended else 0x7E8)] * 12 + IDS)
    service = (payload[:1] or b"\0")[0] | 0x40
    rest = some_bytes(dice, 8)
    data = dice.choice(
        [
            bytes([0x10, 0x14, service]) + payload[1:6].ljust(5, b"\x01"), b"\x30\x00\x00", b"\x30\x00\x00",
            bytes([0x10, 0x14, service]) + payload[1:6].ljust(5, b"\x01"), bytes([0x10, 0x14, 0x59, 1, 2, 3, 4, 5]),
            bytes([2, service, 0]) + rest[:5], bytes([3, 0x7F, service & 0x3F, dice.choice([0x78, 0x21, 0x31])]),
            bytes([0x20 | dice.randint(0, 15)]) + b"1234567", bytes([0x30 | dice.randint(0, 3), dice.randint(0, 2), 0]),
            rest,
        ]
    )  # fmt: skip
    return "ecu", can_id, data[:8], dice.choice([1, 1, 1, 30])


FAST = Timing(answer_s=0.01, window_s=0.01, pending_s=0.02, pending_total_s=0.03, busy_pause_s=0.001, busy_repeats=2)


class TellingGuard(TransmitGuard):
    """The real guard, which also tells when an exchange begins and ends and when a frame was received.

    The judge thus knows the order as the tester lived it; what was accepted is judged, not trusted.
    """

    story: list[tuple]

    def observe(self, can_id, data, *, extended):
        self.story.append(("ecu", can_id, extended, data))
        super().observe(can_id, data, extended=extended)

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
    running, spoken = [], Counter()

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
                        spoken[can_id, data] += 1
                        ecu.send(can.Message(arbitration_id=can_id, data=data, is_extended_id=can_id > 0x7FF))
                    await asyncio.sleep(0)
                else:
                    await asyncio.sleep(0.003)
            await asyncio.gather(*running)
    finally:
        ecu.shutdown()
    assert Counter((event[1], event[3]) for event in story if event[0] == "ecu") <= spoken
    return story


def judge(story: list[tuple], granted: str) -> int:
    court = Judge(granted)
    for event in story:
        court.hear(event)
    return court.frames


def drive(steps: list[tuple], guard: TellingGuard) -> list[tuple]:
    return asyncio.run(asyncio.wait_for(play(steps, guard), 30))


def rehearse(steps: list[tuple], guard: TellingGuard) -> list[tuple]:
    """The same steps against the guard alone, without bus and time; a wait ends the oldest exchange."""
    guard.story, running = [], []
    for step in steps:
        with contextlib.suppress(RefusedByPolicy):
            if step[0] == "request":
                running.append(guard.open(step[2], step[1]))
            elif step[0] == "send":
                frame = step[1]
                guard.check_frame(frame.can_id, frame.data, extended=frame.extended, is_plain=not frame.remote)
                guard.story.append(("out", frame.can_id, frame.extended, frame.data, frame.remote))
            elif step[0] == "ecu":
                guard.observe(step[1], step[2], extended=step[1] > 0x7FF)
            elif running:
                guard.close(running.pop(0))
    return guard.story


def everything_granted(steps: list[tuple]) -> TellingGuard:
    guard = TellingGuard(frozenset(Risk), state=VehicleState(0.0, False, 12.6))
    for step in steps:
        if step[0] == "request":
            guard.confirm(step[2], step[1])
    return guard


SEEDS = range(4000)
DICE = st.randoms(use_true_random=False)
ON_THE_BUS = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_the_guard_alone_lets_only_reading_pass():
    passed = 0
    for seed in SEEDS:
        steps, guard = scene(random.Random(seed)), TellingGuard()
        assert judge(rehearse(steps, guard), "A") == guard.sent, f"seed {seed}"
        passed += guard.sent
    assert passed > len(SEEDS) // 8


def test_the_guard_alone_never_passes_what_is_always_refused():
    passed = 0
    for seed in SEEDS:
        steps = scene(random.Random(seed))
        guard = everything_granted(steps)
        assert judge(rehearse(steps, guard), "ABCD") == guard.sent, f"seed {seed}"
        passed += guard.sent
    assert passed > len(SEEDS) // 8


@given(dice=DICE)
@ON_THE_BUS
def test_only_reading_leaves_without_a_grant(dice):
    guard = TellingGuard()
    assert judge(drive(scene(dice), guard), "A") == guard.sent


@given(dice=DICE)
@settings(ON_THE_BUS, max_examples=20)
def test_with_every_grant_nothing_refused_always_leaves(dice):
    steps = scene(dice)
    guard = everything_granted(steps)
    assert judge(drive(steps, guard), "ABCD") == guard.sent


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
        [("open", 1, Target(0x7DF, 0x7E8), b"\x11\x01"), ("out", 0x7DF, False, b"\x02\x11\x01", False)],
        [("open", 1, target, b"\x11\x01"), ("out", 0x7E0, False, b"\x02\x11\x01", False)],
    ):
        with pytest.raises(AssertionError):
            judge(bad, "A")


ECU = Target.physical(0x7E0)


async def test_an_honest_conversation_reaches_the_bus():
    channel, story, guard = f"fuzz{next(CHANNELS)}", [], TellingGuard()
    guard.story = story
    left = asyncio.Event()

    class Told(Witness):
        def put(self, item, block=True, timeout=None):
            super().put(item)
            left.set()

    ecu = can.Bus(interface="virtual", channel=channel)
    ecu.channel[ecu.channel.index(ecu.queue)] = ecu.queue = Told(story)

    async def say_when_asked(text):
        await asyncio.wait_for(left.wait(), 30)
        left.clear()
        ecu.send(can.Message(arbitration_id=0x7E8, data=bytes.fromhex(text), is_extended_id=False))

    patient = Timing(answer_s=30)
    settings = IsoTpSettings(n_bs_ns=30 * 10**9, n_cr_ns=30 * 10**9)
    async with (
        await open_can("virtual", channel, guard=guard) as link,
        IsoTpLink(link, timing=patient, settings=settings) as requests,
    ):
        asked = asyncio.ensure_future(requests.request(ECU, bytes.fromhex("22F190F18CF195F188")))
        for text in ("300000", "100A62F190414243", "2144454647"):
            await say_when_asked(text)
        (answer,) = await asyncio.wait_for(asked, 30)
    ecu.shutdown()
    assert answer.payload == b"\x62\xf1\x90ABCDEFG"
    out = [event[3].hex() for event in story if event[0] == "out"]
    assert out == ["100922f190f18cf1", "2195f188cccccccc", "300000cccccccccc"]
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
