"""Requests over real buses: many ECUs, cut and late and pending answers. can-isotp plays the ECUs."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import replace

import can
import pytest
from scripted_ecu import Rig, ScriptedEcu, answers_from_table

from diag.addressing import OBD_FUNCTIONAL, OBD_FUNCTIONAL_29, Target
from diag.answers import Answer, ask, is_answer_to
from diag.canbus import open_can
from diag.errors import (
    LinkLost,
    LocalProtocolError,
    NegativeResponse,
    NoAnswer,
    RefusedByPolicy,
    RemoteProtocolError,
)
from diag.guard import Risk, TransmitGuard, VehicleState
from diag.isotp import IsoTpSettings
from diag.request import IsoTpLink, Timing

CHANNELS = (f"request{n}" for n in itertools.count())
QUICK = Timing(answer_s=0.2, window_s=0.1, pending_s=0.3, pending_total_s=0.7, busy_pause_s=0.02, busy_repeats=3)
VCU, BMS = Target.physical(0x7E0), Target.physical(0x7E4)
VIN = bytes.fromhex("62F190") + b"LHZEV400XP0000001"


class Car:
    """A link to scripted ECUs; ``async with``."""

    def __init__(self, *ecus: ScriptedEcu, timing: Timing = QUICK, settings: IsoTpSettings | None = None, guard=None):
        self.fd = settings is not None and settings.can_dl > 8
        self.rig = Rig(channel := next(CHANNELS), *ecus, fd=self.fd)
        self.guard = guard
        self.channel, self.timing, self.settings = channel, timing, settings or IsoTpSettings()

    async def __aenter__(self) -> IsoTpLink:
        self.rig.__enter__()
        options = {"protocol": can.CanProtocol.CAN_FD} if self.fd else {}
        self.frames = await open_can("virtual", self.channel, guard=self.guard, **options)
        self.link = IsoTpLink(self.frames, timing=self.timing, settings=self.settings)
        return self.link

    async def __aexit__(self, *_):
        await self.link.close()
        await self.frames.close()
        self.rig.__exit__()


def ecu(request_id: int, table: dict, response_id: int | None = None, **params) -> ScriptedEcu:
    response_id = response_id or Target.physical(request_id).response_id
    return ScriptedEcu(request_id, response_id, answers_from_table(table), params)


async def test_one_ecu_answers_in_one_frame_and_in_many():
    async with Car(ecu(0x7E0, {"3E00": "7E00", "22F190": VIN.hex()})) as link:
        (short,) = await link.request(VCU, b"\x3e\x00")
        assert (short.ecu, short.payload, short.nrc, short.complete) == ("0x7E8", b"\x7e\x00", None, True)
        long = await ask(link, VCU, bytes.fromhex("22F190"))
        assert long.whole().payload == VIN
        assert abs(long.t_ns - time.time_ns()) < 10**9
        assert long.source == VCU


async def test_every_ecu_answers_a_functional_request_apart():
    first, second, third = (
        ecu(request_id, {"0902": "490201" + (f"{n}" * 17).encode().hex(), "0100": f"4100000000{n:02X}"})
        for n, request_id in enumerate((0x7E0, 0x7E4, 0x7E7))
    )
    async with Car(first, second, third) as link:
        answers = await link.request(OBD_FUNCTIONAL, b"\x09\x02")
        assert {answer.ecu: answer.payload[3:] for answer in answers} == {
            "0x7E8": b"0" * 17,
            "0x7EC": b"1" * 17,
            "0x7EF": b"2" * 17,
        }
        assert {answer.source.request_id for answer in answers} == {0x7E0, 0x7E4, 0x7E7}
        assert await link.request(OBD_FUNCTIONAL, b"\x0a") == ()


async def test_29_bit_identifiers():
    request_id, response_id = 0x18DA10F1, 0x18DAF110
    async with Car(ecu(request_id, {"22F190": VIN.hex(), "0902": "490201" + "41" * 17}, response_id)) as link:
        answer = await ask(link, Target.physical(request_id), bytes.fromhex("22F190"))
        assert (answer.ecu, answer.payload) == ("0x18DAF110", VIN)
        (functional,) = await link.request(OBD_FUNCTIONAL_29, b"\x09\x02")
        assert functional.source == Target(request_id, response_id, extended=True)


async def test_can_fd():
    long = "62F190" + "42" * 300
    settings = IsoTpSettings(can_dl=64)
    async with Car(ecu(0x7E0, {"22F190": long}, can_fd=True, tx_data_length=64), settings=settings) as link:
        assert (await ask(link, VCU, bytes.fromhex("22F190"))).payload.hex().upper() == long


async def test_a_long_request_keeps_to_the_flow_control_of_the_ecu():
    dids = "F190F18CF195F188F189F187F191F192"
    one = ecu(0x7E0, {"22" + dids: "62" + dids}, blocksize=1, stmin=5)
    async with Car(one) as link:
        assert (await ask(link, VCU, bytes.fromhex("22" + dids))).payload.hex().upper() == "62" + dids
    assert one.requests == [bytes.fromhex("22" + dids)]


async def test_silence_of_one_is_an_error_and_names_it():
    async with Car(ecu(0x7E0, {})) as link:
        begun = time.monotonic()
        with pytest.raises(NoAnswer, match=r"0x7EC within 0\.05 s"):
            await link.request(BMS, b"\x3e\x00", timeout_s=0.05)
        assert time.monotonic() - begun < 0.2


async def test_a_negative_answer_is_an_answer():
    async with Car(ecu(0x7E0, {"22F190": "7F2233"})) as link:
        answer = await ask(link, VCU, bytes.fromhex("22F190"))
        assert (answer.nrc, answer.negative.name) == (0x33, "securityAccessDenied")
        with pytest.raises(NegativeResponse, match=r"0x7E8 refused service 0x22: securityAccessDenied \(0x33\)"):
            answer.positive()


async def test_pending_is_waited_for():
    def script(_request):
        return [b"\x7f\x22\x78", (0.25, b"\x7f\x22\x78"), (0.5, VIN)]

    async with Car(ScriptedEcu(0x7E0, 0x7E8, script)) as link:
        begun = time.monotonic()
        assert (await ask(link, VCU, bytes.fromhex("22F190"))).payload == VIN
        assert time.monotonic() - begun > 0.45


async def test_pending_for_ever_has_an_end_and_is_told():
    def script(_request):
        return [(0.1 * n, b"\x7f\x22\x78") for n in range(30)]

    async with Car(ScriptedEcu(0x7E0, 0x7E8, script)) as link:
        begun = time.monotonic()
        answer = await ask(link, VCU, bytes.fromhex("22F190"))
        assert answer.nrc == 0x78
        assert 0.5 < time.monotonic() - begun < 1.2


async def test_one_pending_ecu_does_not_hide_the_others():
    slow = ScriptedEcu(0x7E0, 0x7E8, lambda _: [b"\x7f\x22\x78", (0.25, VIN)])
    async with Car(slow, ecu(0x7E4, {"22F190": VIN.hex()})) as link:
        answers = await link.request(OBD_FUNCTIONAL, bytes.fromhex("22F190"))
        assert {answer.ecu: answer.payload for answer in answers} == {"0x7EC": VIN, "0x7E8": VIN}


async def test_a_busy_ecu_is_asked_again_a_few_times():
    count = itertools.count(1)
    one = ScriptedEcu(0x7E0, 0x7E8, lambda _: [VIN] if next(count) == 3 else [b"\x7f\x22\x21"])
    always = ScriptedEcu(0x7E4, 0x7EC, lambda _: [b"\x7f\x22\x21"])
    async with Car(one, always) as link:
        answers = await link.request(OBD_FUNCTIONAL, bytes.fromhex("22F190"))
        assert {answer.ecu: answer.payload for answer in answers} == {"0x7E8": VIN, "0x7EC": b"\x7f\x22\x21"}
    assert len(one.requests) == 3
    assert len(always.requests) == 4


async def test_a_suppressed_positive_answer_is_not_waited_for_long():
    async with Car(ecu(0x7E0, {"3E80": []}), ecu(0x7E4, {})) as link:
        assert await link.request(VCU, b"\x3e\x80") == ()
        (refusal,) = await link.request(BMS, b"\x3e\x80")
        assert refusal.nrc == 0x11


async def test_many_ecus_are_asked_side_by_side_but_each_one_thing_at_a_time():
    def script(request):
        return [(0.05, b"\x62" + request[1:3] + b"x")]

    ecus = [ScriptedEcu(0x700 + n, 0x780 + n, script) for n in range(8)]
    async with Car(*ecus) as link:
        targets = [Target.physical(0x700 + n, 0x780 + n) for n in range(8)]
        begun = time.monotonic()
        answers = await asyncio.gather(
            *(ask(link, target, bytes([0x22, 0xF1, 0x80 + n]), timeout_s=1) for target in targets for n in range(3))
        )
        duration = time.monotonic() - begun
        assert len(answers) == 24
        assert all(answer.payload[:3] == b"\x62" + answer.request[1:3] for answer in answers)
        assert 0.15 <= duration < 0.6  # 24 requests of 50 ms one after another take 1.2 s


class Puppet:
    """A bus on which the test itself plays the ECUs, frame by frame."""

    async def __aenter__(self):
        channel = next(CHANNELS)
        self.bus = can.Bus(interface="virtual", channel=channel)
        self.frames = await open_can("virtual", channel)
        self.link = IsoTpLink(
            self.frames, timing=QUICK, settings=IsoTpSettings(n_cr_ns=100_000_000, n_bs_ns=100_000_000)
        )
        return self

    async def __aexit__(self, *_):
        await self.link.close()
        await self.frames.close()
        self.bus.shutdown()

    async def request(self, target, text, *frames):
        """Starts a request, waits until it is on the bus, then sends the frames as ``(id, hex)``."""
        task = asyncio.ensure_future(self.link.request(target, bytes.fromhex(text)))
        await asyncio.sleep(0.005)
        await self.say(*frames)
        return task

    async def say(self, *frames):
        for can_id, text in frames:
            self.bus.send(can.Message(arbitration_id=can_id, data=bytes.fromhex(text), is_extended_id=can_id > 0x7FF))
        await asyncio.sleep(0.005)

    def heard(self):
        out = []
        while (message := self.bus.recv(0)) is not None:
            out.append((message.arbitration_id, bytes(message.data).hex().upper()))
        return out


async def test_interleaved_answers_are_told_apart_and_each_gets_its_flow_control():
    async with Puppet() as car:
        task = await car.request(OBD_FUNCTIONAL, "0902", (0x7E8, "1014490201414243"), (0x7EC, "1014490201616263"))
        await car.say(
            (0x7EC, "2164656667686970"), (0x7E8, "2144454647484950"), (0x7E8, "2251525354555657"),
            (0x123, "2251525354555657"), (0x7EC, "2271727374757677"),
        )  # fmt: skip
        answers = {answer.ecu: answer.payload[3:] for answer in await task}
        assert answers == {"0x7E8": b"ABCDEFGHIPQRSTUVW", "0x7EC": b"abcdefghipqrstuvw"}
        assert car.heard() == [
            (0x7DF, "020902CCCCCCCCCC"), (0x7E0, "300000CCCCCCCCCC"), (0x7E4, "300000CCCCCCCCCC"),
        ]  # fmt: skip


async def test_a_cut_answer_keeps_what_came():
    async with Puppet() as car:
        task = await car.request(VCU, "1902AF", (0x7E8, "10175902FF0AA61A"), (0x7E8, "212F0A1B160801A0"))
        (answer,) = await task
        assert (answer.payload.hex().upper(), answer.complete, answer.missing) == (
            "5902FF0AA61A2F0A1B160801A0",
            False,
            10,
        )
        assert answer.declared_length == 23
        with pytest.raises(RemoteProtocolError) as error:
            answer.whole()
        assert error.value.raw == answer.payload
        assert "in time" in error.value.reason.en


async def test_a_late_answer_to_an_earlier_request_is_not_taken():
    async with Puppet() as car:
        with pytest.raises(NoAnswer):
            await (await car.request(VCU, "22F18C"))
        late = [(0x7E8, "0562F18C4142CCCC"), (0x7E8, "101462F18C414243"), (0x7E8, "037F1978CCCCCCCC"),
                (0x7E8, "0459010203CCCCCC"), (0x7E8, "101449020141")]  # fmt: skip
        task = await car.request(VCU, "22F190", *late)
        await car.say((0x7E8, "0662F190414243CC"))
        (answer,) = await task
        assert answer.payload == bytes.fromhex("62F190414243")
        assert [text for _, text in car.heard() if text.startswith("3")] == []


async def test_an_answer_begun_anew_counts_as_one():
    async with Puppet() as car:
        task = await car.request(VCU, "22F190", (0x7E8, "100A62F190414243"), (0x7E8, "100A62F190414243"))
        await car.say((0x7E8, "2144454647CCCCCC"))
        (answer,) = await task
        assert (answer.payload[3:], answer.complete) == (b"ABCDEFG", True)


async def test_an_answer_given_up_for_another_message_is_kept_in_part():
    async with Puppet() as car:
        task = await car.request(VCU, "22F190", (0x7E8, "100A62F190414243"), (0x7E8, "037F1033CCCCCCCC"))
        (answer,) = await task
        assert (answer.payload[3:], answer.complete, answer.missing) == (b"ABC", False, 4)


async def test_an_ecu_that_never_lets_a_long_request_go_is_blamed():
    async with Puppet() as car:
        with pytest.raises(RemoteProtocolError, match="no flow control"):
            await (await car.request(VCU, "22F190F18CF195F188"))
        with pytest.raises(RemoteProtocolError, match="too long"):
            await (await car.request(VCU, "22F190F18CF195F188", (0x7E8, "320000")))


async def test_a_late_refusal_is_not_charged_to_the_next_request():
    async with Puppet() as car:
        with pytest.raises(NoAnswer):
            await (await car.request(VCU, "22F180"))
        task = await car.request(VCU, "22F187", (0x7E8, "037F2231CCCCCCCC"))
        await car.say((0x7E8, "0562F1874142CCCC"))
        (answer,) = await task
        assert answer.payload == bytes.fromhex("62F1874142")
        (again,) = await (await car.request(VCU, "22F18C", (0x7E8, "037F2231CCCCCCCC")))
        assert again.nrc == 0x31  # nothing is owed any more
        assert len(car.heard()) == 3


async def test_two_refusals_after_a_silence_belong_to_either_request():
    async with Puppet() as car:
        with pytest.raises(NoAnswer):
            await (await car.request(VCU, "22F180"))
        task = await car.request(VCU, "22F187", (0x7E8, "037F2231CCCCCCCC"), (0x7E8, "037F2233CCCCCCCC"))
        (answer,) = await task
        assert answer.nrc == 0x33


@pytest.mark.parametrize("is_silent", [False, True])
async def test_a_refusal_of_doubtful_origin_is_asked_for_again(is_silent):
    async with Puppet() as car:
        with pytest.raises(NoAnswer):
            await (await car.request(VCU, "22F180"))
        car.heard()
        task = await car.request(VCU, "22F187", (0x7E8, "037F2231CCCCCCCC"))
        heard = []
        async with asyncio.timeout(120):
            while len(heard) < 2:
                heard += car.heard()
                await asyncio.sleep(0.001)
        assert heard == [(0x7E0, "0322F187CCCCCCCC")] * 2
        if is_silent:
            with pytest.raises(NoAnswer):
                await task
        else:
            await car.say((0x7E8, "037F2231CCCCCCCC"))
            (answer,) = await task
            assert answer.nrc == 0x31


async def test_a_refusal_of_another_service_is_not_doubted():
    async with Puppet() as car:
        with pytest.raises(NoAnswer):
            await (await car.request(VCU, "22F180"))
        (answer,) = await (await car.request(VCU, "1902AF", (0x7E8, "037F1922CCCCCCCC")))
        assert answer.nrc == 0x22
        assert len(car.heard()) == 2


async def test_two_ecus_on_one_identifier_are_never_mixed():
    async with Puppet() as car:
        task = await car.request(VCU, "1902AF", (0x7E8, "100B5902FF0AA61A"), (0x7E8, "100B5902FF0DE616"))
        await car.say((0x7E8, "212F0AA7112F"), (0x7E8, "212F0BBD162F"))
        (answer,) = await task
        assert (answer.payload.hex().upper(), answer.complete, answer.missing) == ("5902FF0AA61A", False, 5)
        assert "two different" in answer.reason.en
        assert "两个不同" in answer.reason.zh


@pytest.mark.parametrize("target", [VCU, OBD_FUNCTIONAL])
@pytest.mark.parametrize("second", ["075902FF0DE6162F", "100B5902FF0DE616", "035902FFCCCCCCCC", "037F1931CCCCCCCC"])
async def test_a_second_different_answer_makes_both_doubtful(target, second):
    async with Puppet() as car:
        task = await car.request(target, "1902AF", (0x7E8, "075902FF0AA61A2F"), (0x7E8, second))
        (answer,) = await task
        assert (answer.complete, answer.payload.hex().upper()) == (False, "5902FF0AA61A2F")
        with pytest.raises(RemoteProtocolError, match="two different"):
            answer.whole()
        task = await car.request(VCU, "1902AF", *[(0x7E8, "075902FF0AA61A2F")] * 2)
        assert (await task)[0].complete  # the same twice is the same


async def test_a_second_ecu_on_the_identifier_may_take_a_moment():
    async with Puppet() as car:
        car.link.timing = replace(QUICK, second_s=0.3)
        task = await car.request(VCU, "1902AF", (0x7E8, "075902FF0AA61A2F"))
        assert not task.done()
        await car.say((0x7E8, "075902FF0DE6162F"))
        assert not (await task)[0].complete


async def test_another_single_answer_within_a_long_one_is_doubtful():
    async with Puppet() as car:
        task = await car.request(VCU, "1902AF", (0x7E8, "100B5902FF0AA61A"), (0x7E8, "035902FFCCCCCCCC"))
        (answer,) = await task
        assert (answer.payload, answer.complete) == (b"\x59\x02\xff", False)
        assert "two different" in answer.reason.en


async def test_an_identifier_that_is_known_is_not_listened_to_longer():
    timing = Timing(answer_s=30, second_s=30)
    async with Car(ecu(0x7E0, {"3E00": "7E00"}), timing=timing) as link:
        link._alone[VCU] = 8
        async with asyncio.timeout(120):
            await link.request(VCU, b"\x3e\x00")


async def test_a_busy_ecu_is_not_asked_twice_for_more_than_reading():
    clear = bytes.fromhex("14FFFFFF")
    guard = TransmitGuard(frozenset(Risk), state=VehicleState(0.0, False, 12.6))
    one = ScriptedEcu(0x7E0, 0x7E8, lambda _: [b"\x7f\x14\x21"])
    async with Car(one, guard=guard) as link:
        guard.confirm(clear, VCU)
        (answer,) = await link.request(VCU, clear)
        assert answer.nrc == 0x21
    assert len(one.requests) == 1


async def test_a_busy_ecu_that_then_stays_silent_has_said_busy():
    count = itertools.count()
    one = ScriptedEcu(0x7E0, 0x7E8, lambda _: [] if next(count) else [b"\x7f\x22\x21"])
    async with Car(one) as link:
        (answer,) = await link.request(VCU, bytes.fromhex("22F190"))
        assert answer.nrc == 0x21
    assert len(one.requests) > 1


async def test_a_functional_request_has_the_bus_to_itself():
    async with Puppet() as car:
        first = await car.request(VCU, "22F190")
        every = await car.request(OBD_FUNCTIONAL, "0100")
        later = await car.request(BMS, "22F190")
        assert car.heard() == [(0x7E0, "0322F190CCCCCCCC")]
        await car.say((0x7E8, "0562F1904142CCCC"), (0x7EC, "0641000000000000"))
        await first
        await asyncio.sleep(0.01)
        assert car.heard() == [(0x7DF, "020100CCCCCCCCCC")]  # and the BMS waits, though nobody speaks with it
        await car.say((0x7E8, "0641008000000000"))
        assert [answer.ecu for answer in await every] == ["0x7E8"]
        await asyncio.sleep(0.01)
        assert car.heard() == [(0x7E4, "0322F190CCCCCCCC")]
        await car.say((0x7EC, "0562F1904142CCCC"))
        assert len(await later) == 1


async def test_a_functional_request_gets_its_turn_however_busy_the_single_ones_are():
    ecus = [ecu(0x7E0, {"3E00": "7E00"}), ecu(0x7E4, {"3E00": "7E00", "0100": "410080000000"})]
    async with Car(*ecus) as link:

        async def keep_busy(target):
            while True:
                await link.request(target, b"\x3e\x00")

        tasks = [asyncio.ensure_future(keep_busy(target)) for target in (VCU, VCU, BMS, BMS)]
        await asyncio.sleep(0.05)
        async with asyncio.timeout(120):
            answers = await link.request(OBD_FUNCTIONAL, b"\x01\x00")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert [answer.ecu for answer in answers] == ["0x7EC"]
        assert link._lanes.is_idle


async def test_a_refused_request_leaves_no_trace():
    async with Puppet() as car:
        for text in ("1101", "14FFFFFF", "2EF19000", "275F", "3101E200", "0800"):
            with pytest.raises(RefusedByPolicy):
                await car.link.request(VCU, bytes.fromhex(text))
        assert car.heard() == []
        task = await car.request(VCU, "3E00", (0x7E8, "027E00"))
        assert len(await task) == 1


async def test_a_link_that_is_lost_ends_every_request():
    async with Puppet() as car:
        tasks = [await car.request(target, "22F190") for target in (VCU, BMS)]
        car.frames.lose(OSError(5, "Input/output error"))
        for task in tasks:
            with pytest.raises(LinkLost, match="unplugged"):
                await task
        with pytest.raises(LinkLost):
            await car.link.request(VCU, b"\x3e\x00")


async def test_a_cancelled_request_closes_its_exchange_and_frees_the_ecu():
    async with Puppet() as car:
        task = await car.request(VCU, "22F190")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert car.frames.guard._open == []
        again = await car.request(VCU, "3E00", (0x7E8, "027E00"))
        assert len(await again) == 1


async def test_ask_wants_one_ecu():
    async with Puppet() as car:
        with pytest.raises(LocalProtocolError):
            await ask(car.link, OBD_FUNCTIONAL, b"\x01\x00")


@pytest.mark.parametrize(
    ("request_", "payload", "fits"),
    [
        ("22F190", "62F19041", True), ("22F190", "62F18C41", False), ("22F190", "62F1", True), ("22F190", "62", True),
        ("22F190F18C", "62F18C41", True), ("22F190", "7F2231", True), ("22F190", "7F1931", False),
        ("22F190", "7F", True),
        ("22F190", "59", False), ("1902AF", "5902FF", True), ("1902AF", "5901FF", False), ("1081", "5001", True),
        ("010C0D", "410D00", True), ("010C0D", "410E00", False), ("020C000D00", "420D0010", True), ("03", "4300", True),
        ("3E80", "7E00", True), ("3101FF00", "7101FF00", True), ("3101FF00", "7102FF00", False),
        ("0902", "490201", True),
        ("0902", "490401", False), ("2EF190", "6EF190", True), ("2EF190", "6EF191", False),
    ],
)  # fmt: skip
def test_which_answer_belongs_to_which_request(request_, payload, fits):
    assert is_answer_to(bytes.fromhex(request_), bytes.fromhex(payload)) is fits


def test_an_answer_knows_its_sign():
    answer = Answer(VCU, b"\x3e\x00", b"\x7e\x00")
    assert answer.negative is None
    assert answer.positive() is answer
    assert Answer(VCU, b"\x3e\x00", b"\x7f\x3e").negative is None
