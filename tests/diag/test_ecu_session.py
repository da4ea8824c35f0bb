"""Sessions beyond reading: bytes against udsoncan, the whole of a software update against the simulated ECU."""

from __future__ import annotations

import asyncio
import itertools
import zlib

import pytest
import udsoncan
from hypothesis import given
from hypothesis import strategies as st
from scripted_ecu import Rig, ScriptedEcu, answers_from_table
from udsoncan import services

import virtualbus
from diag import udsrequests as make
from diag.addressing import Target
from diag.canbus import open_can
from diag.dtc import parse_uds_dtcs
from diag.errors import BadInput, NegativeResponse, RefusedByPolicy, RemoteProtocolError, TransferStopped
from diag.facts import Text
from diag.guard import Risk, TransmitGuard, VehicleState
from diag.request import IsoTpLink, Timing
from diag.session import EcuSession
from diag.transfer import download, upload
from diag.udsrequests import MemoryArea, RoutineKind, SessionKind
from virtualbus.flash import BASE, Image, make_image

CHANNELS = (f"session{n}" for n in itertools.count())
BMS = Target.physical(0x7E4)
SAFE = VehicleState(speed_kmh=0.0, is_charging=False, supply_v=12.6)
ROUTINES = {
    0xFF00: (Risk.ALTER, Text("erase memory", "擦除内存")),
    0xFF01: (Risk.ALTER, Text("check programming dependencies", "检查编程依赖性")),
}
SHOP = udsoncan.AsciiCodec(4)
AREA = udsoncan.MemoryLocation(0x12345678, 0x400, 32, 16)
OURS = MemoryArea(0x12345678, 0x400, 4, 2)

PAIRS = [
    (make.session_request(3), services.DiagnosticSessionControl.make_request(3)),
    (make.reset_request(1), services.ECUReset.make_request(1)),
    (make.clear_request(), services.ClearDiagnosticInformation.make_request()),
    (make.clear_request(0x0AA61A), services.ClearDiagnosticInformation.make_request(0x0AA61A)),
    (make.clear_request(memory=0x10), services.ClearDiagnosticInformation.make_request(memory_selection=0x10)),
    (make.communication_request(1, 1), services.CommunicationControl.make_request(1, 1)),
    (make.communication_request(4, 1, node=0x0102), services.CommunicationControl.make_request(4, 1, node_id=0x0102)),
    (make.code_setting_request(on=False), services.ControlDTCSetting.make_request(2)),
    (make.seed_request(3), services.SecurityAccess.make_request(3, services.SecurityAccess.Mode.RequestSeed)),
    (
        make.key_request(3, b"\x11\x22"),
        services.SecurityAccess.make_request(3, services.SecurityAccess.Mode.SendKey, b"\x11\x22"),
    ),
    (make.routine_request(1, 0xFF00, b"\x01"), services.RoutineControl.make_request(0xFF00, 1, b"\x01")),
    (make.write_request(0xF198, b"HZ12"), services.WriteDataByIdentifier.make_request(0xF198, "HZ12", {0xF198: SHOP})),
    (make.read_memory_request(OURS), services.ReadMemoryByAddress.make_request(AREA)),
    (make.download_request(OURS), services.RequestDownload.make_request(AREA, udsoncan.DataFormatIdentifier())),
    (make.upload_request(OURS, 0x12), services.RequestUpload.make_request(AREA, udsoncan.DataFormatIdentifier(1, 2))),
    (make.transfer_request(0x101, b"ab"), services.TransferData.make_request(1, b"ab")),
    (make.transfer_exit_request(b"\x01"), services.RequestTransferExit.make_request(b"\x01")),
    (
        make.authentication_request(1, b"cert", b"ch", configuration=0),
        services.Authentication.make_request(
            1, communication_configuration=0, certificate_client=b"cert", challenge_client=b"ch"
        ),
    ),
    (
        make.authentication_request(3, b"proof", b""),
        services.Authentication.make_request(3, proof_of_ownership_client=b"proof", ephemeral_public_key_client=b""),
    ),
    (make.clear_definition_request(0xF300), services.DynamicallyDefineDataIdentifier.make_request(3, 0xF300)),
]  # fmt: skip


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_requests_are_the_bytes_of_udsoncan(ours, theirs):
    assert ours == theirs.get_payload()


NINETEEN = {
    0x01: {"status_mask": 0xAF}, 0x02: {"status_mask": 0x09}, 0x03: {},
    0x04: {"dtc": 0x0AA61A, "snapshot_record_number": 1},
    0x05: {"snapshot_record_number": 2}, 0x06: {"dtc": 0x0AA61A, "extended_data_record_number": 0xFE},
    0x07: {"severity_mask": 0xE0, "status_mask": 8}, 0x08: {"severity_mask": 0xE0, "status_mask": 8},
    0x09: {"dtc": 0x0AA61A}, 0x0A: {}, 0x0B: {}, 0x0C: {}, 0x0D: {}, 0x0E: {}, 0x0F: {"status_mask": 1},
    0x10: {"dtc": 0x0AA61A, "extended_data_record_number": 1}, 0x11: {"status_mask": 1}, 0x12: {"status_mask": 1},
    0x13: {"status_mask": 1}, 0x14: {}, 0x15: {}, 0x16: {"extended_data_record_number": 1},
    0x17: {"status_mask": 1, "memory_selection": 0x10},
    0x18: {"dtc": 1, "snapshot_record_number": 1, "memory_selection": 0x10},
    0x19: {"dtc": 1, "extended_data_record_number": 1, "memory_selection": 0x10},
}  # fmt: skip


@pytest.mark.parametrize("sub", NINETEEN)
def test_every_kind_of_reading_codes_is_asked_as_udsoncan_asks(sub):
    edition = 2013 if 0x0F <= sub <= 0x13 else 2020
    request = services.ReadDTCInformation.make_request(sub, standard_version=edition, **NINETEEN[sub])
    theirs = request.get_payload()
    order = (
        "dtc",
        "severity_mask",
        "status_mask",
        "snapshot_record_number",
        "extended_data_record_number",
        "memory_selection",
    )
    given = [NINETEEN[sub][name] for name in order if name in NINETEEN[sub]]
    assert make.dtc_request(sub, *given) == theirs
    assert TransmitGuard().check_request(theirs, BMS) is Risk.READ


def test_bad_figures_are_refused_before_anything_is_sent():
    for bad in (
        lambda: make.dtc_request(0x04, 0x0AA61A),
        lambda: make.dtc_request(0x77),
        lambda: make.dtc_request(0x02, 0x100),
        lambda: make.seed_request(2),
        lambda: make.write_request(0x12345, b""),
        lambda: make.download_request(MemoryArea(0, 0)),
        lambda: make.download_request(MemoryArea(0x1234, 1, 1, 1)),
        lambda: make.write_memory_request(MemoryArea(0, 2), b"x"),
        lambda: make.file_request(1, "电池"),
        lambda: make.define_by_memory_request(0xF300, ()),
    ):
        with pytest.raises(BadInput):
            bad()


@given(st.binary(max_size=40))
def test_any_answer_is_parsed_without_an_undeclared_error(payload):
    make.parse_block_length(payload)
    make.parse_scaling(payload)
    make.parse_seed(payload)


def grown(car, *, granted=frozenset(Risk)) -> TransmitGuard:
    return TransmitGuard(granted, state=SAFE, routines=ROUTINES)


async def key_of_the_simulated_ecu(session: EcuSession):
    serial = await session.read_one(0xF18C)

    async def key(_target, _level, seed):
        return zlib.crc32(seed + serial).to_bytes(4, "big")

    return key


async def begin(session: EcuSession, guard: TransmitGuard, kind: int = SessionKind.EXTENDED) -> None:
    guard.confirm(make.session_request(kind), session.target)
    await session.start(kind)


async def test_software_is_updated_where_the_policy_names_it():
    with virtualbus.running("software-mismatch", seed=3) as car:
        guard = grown(car)
        async with await open_can(car.interface, car.channel, guard=guard) as link, IsoTpLink(link) as requests:
            session = EcuSession(requests, BMS)
            assert await session.read_one(0xF189) == b"2.7"
            await begin(session, guard)
            assert session.times.p2_star_s == 5.0
            key = await key_of_the_simulated_ecu(session)
            assert await session.unlock(0x01, key)
            assert not await session.unlock(0x01, key), "it is open already"
            await session.start(SessionKind.PROGRAMMING)
            image = make_image(Image("BMS", "3.4", "NMC811"))
            area = MemoryArea(BASE, len(image), 4, 4)
            with pytest.raises(NegativeResponse):
                await download(session, area, image)  # not erased yet
            assert await session.routine(0xFF00) == b"\0"
            steps = []
            await download(session, area, image, progress=lambda done, total: steps.append((done, total)))
            assert steps[-1] == (len(image), len(image))
            assert len(steps) == -(-len(image) // 256)
            assert await session.routine(0xFF01) == b"\0"
            with pytest.raises(NegativeResponse):
                await upload(session, area)
            await session.reset(0x01)
            assert await session.read_one(0xF189) == b"3.4"
            assert (await session.read_one(0xF186)) == b"\x01"
            assert guard.refused == 0


async def test_a_damaged_image_is_not_started_and_a_gap_stops_the_transfer():
    with virtualbus.running("software-mismatch", seed=3) as car:
        guard = grown(car)
        async with await open_can(car.interface, car.channel, guard=guard) as link, IsoTpLink(link) as requests:
            session = EcuSession(requests, BMS)
            await begin(session, guard)
            await session.unlock(0x01, await key_of_the_simulated_ecu(session))
            await session.start(SessionKind.PROGRAMMING)
            await session.routine(0xFF00)
            image = bytearray(make_image(Image("BMS", "3.4", "NMC811")))
            image[100] ^= 1
            await download(session, MemoryArea(BASE, len(image), 4, 4), bytes(image))
            assert await session.routine(0xFF01) == b"\x01"
            await session.reset(0x01)
            assert await session.read_one(0xF189) == b"2.7"


async def test_wrong_keys_lock_and_nothing_is_tried_again():
    with virtualbus.running("healthy", seed=3) as car:
        guard = grown(car)
        async with await open_can(car.interface, car.channel, guard=guard) as link, IsoTpLink(link) as requests:
            session = EcuSession(requests, BMS)
            await begin(session, guard)

            async def wrong(_target, _level, _seed):
                return b"\0\0\0\1"

            codes = []
            for _ in range(4):
                with pytest.raises(NegativeResponse) as refusal:
                    await session.unlock(0x01, wrong)
                codes.append(refusal.value.nrc)
            assert codes == [0x35, 0x35, 0x36, 0x37]


@pytest.mark.parametrize("missing", [Risk.ALTER, Risk.ASK_EACH_TIME])
async def test_without_the_grant_nothing_leaves(missing):
    with virtualbus.running("healthy", seed=3) as car:
        guard = grown(car, granted=frozenset(Risk) - {missing})
        async with await open_can(car.interface, car.channel, guard=guard) as link, IsoTpLink(link) as requests:
            session = EcuSession(requests, BMS)
            sent = guard.sent
            asked = session.unlock(0x01, None) if missing is Risk.ALTER else begin(session, guard)
            with pytest.raises(RefusedByPolicy):
                await asked
            assert guard.sent == sent


def test_a_policy_cannot_name_what_is_never_allowed():
    for rid, risk in ((0xE200, Risk.ACTUATE), (0xE2FF, Risk.ALTER), (0x0203, Risk.READ), (0x10000, Risk.ALTER)):
        with pytest.raises(ValueError, match="routine"):
            TransmitGuard(routines={rid: (risk, Text("x", "x"))})
    with pytest.raises(RefusedByPolicy):
        TransmitGuard(frozenset(Risk), state=SAFE).check_request(bytes.fromhex("3101FF00"), BMS)


async def test_every_kind_of_19_is_read_from_the_simulated_car():
    with virtualbus.running("isolation", seed=8) as car:
        async with await open_can(car.interface, car.channel) as link, IsoTpLink(link) as requests:
            session = EcuSession(requests, BMS)
            code = 0x0AA61A
            told = {}
            for sub, parameters in {
                0x01: (0x08,), 0x02: (0x08,), 0x03: (), 0x04: (code, 0xFF), 0x05: (1,), 0x06: (code, 0xFF),
                0x07: (0x80, 8),
                0x08: (0x80, 8), 0x09: (code,), 0x0A: (), 0x0B: (), 0x0C: (), 0x0D: (), 0x0E: (), 0x14: (), 0x15: (),
                0x16: (1,), 0x1A: (1,),
            }.items():  # fmt: skip
                answer = (await session.ask(make.dtc_request(sub, *parameters))).whole()
                told[sub] = parse_uds_dtcs(answer.payload)
                assert told[sub].complete, sub
            assert told[0x01].count == told[0x07].count == 1
            for sub in (0x02, 0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E, 0x15, 0x16):
                assert [dtc.display for dtc in told[sub].dtcs] == ["P0AA6-1A"], hex(sub)
            assert {record.record for record in told[0x05].snapshots} == {1}
            for sub in (0x17, 0x0F, 0x42, 0x55):
                refused = await session.ask(make.dtc_request(sub, *(1,) * len(make.SUB_FUNCTIONS_19[sub][1])))
                assert refused.nrc == 0x12


def rigged(table):
    return ScriptedEcu(0x7E4, 0x7EC, answers_from_table(table))


async def test_the_session_is_kept_alive_only_while_somebody_wants_it(monkeypatch):
    monkeypatch.setattr("diag.session.S3_CLIENT_S", 0.05)
    channel, ecu = next(CHANNELS), rigged({"1003": "5003003201F4", "1001": "5001003201F4"})
    guard = TransmitGuard(frozenset(Risk), state=SAFE)
    wanted = True
    with Rig(channel, ecu):
        async with await open_can("virtual", channel, guard=guard) as link, IsoTpLink(link) as requests:
            session = EcuSession(requests, BMS, may_keep=lambda: wanted)
            guard.confirm(make.session_request(3), BMS)
            async with session:
                async with asyncio.timeout(120):
                    while ecu.requests.count(b"\x3e\x80") < 3:  # noqa: ASYNC110 - the ECU has its own thread
                        await asyncio.sleep(0.01)
                wanted = False
                await asyncio.sleep(0.1)
                before = ecu.requests.count(b"\x3e\x80")
                await asyncio.sleep(0.2)
                assert ecu.requests.count(b"\x3e\x80") == before
    assert ecu.requests[-1] == b"\x10\x01"


async def test_the_ecus_own_times_are_waited_for():
    table = {"1003": "5003038401F4", "1001": "5001003201F4"}

    def script(request):
        if request == b"\x22\xf1\x90":
            return [(0.4, b"\x62\xf1\x90OK")]
        return answers_from_table(table)(request)

    channel, ecu = next(CHANNELS), ScriptedEcu(0x7E4, 0x7EC, script)
    guard = TransmitGuard(frozenset(Risk), state=SAFE)
    with Rig(channel, ecu):
        async with (
            await open_can("virtual", channel, guard=guard) as link,
            IsoTpLink(link, timing=Timing(answer_s=0.1)) as requests,
        ):
            guard.confirm(make.session_request(3), BMS)
            async with EcuSession(requests, BMS) as session:
                assert await session.read_one(0xF190) == b"OK"


async def test_a_memory_answer_of_another_size_is_no_reading():
    channel, ecu = next(CHANNELS), rigged({"231210000004": "63010203"})
    guard = TransmitGuard(frozenset(Risk), state=SAFE)
    area = MemoryArea(0x1000, 4, 2, 1)
    with Rig(channel, ecu):
        async with await open_can("virtual", channel, guard=guard) as link, IsoTpLink(link) as requests:
            ecu.script = answers_from_table({make.read_memory_request(area).hex().upper(): "63010203"})
            guard.confirm(make.read_memory_request(area), BMS)
            with pytest.raises(RemoteProtocolError):
                await EcuSession(requests, BMS).read_memory(area)


async def test_a_transfer_that_stops_says_how_far_it_came():
    state = {"blocks": 0}

    def script(request):
        if request[0] == 0x34:
            return [bytes.fromhex("74200006")]
        if request[0] == 0x36:
            state["blocks"] += 1
            return [bytes([0x76, request[1]]) if state["blocks"] < 3 else bytes([0x7F, 0x36, 0x72])]
        return [bytes([0x7F, request[0], 0x11])]

    channel, ecu = next(CHANNELS), ScriptedEcu(0x7E4, 0x7EC, script)
    guard = TransmitGuard(frozenset(Risk), state=SAFE)
    with Rig(channel, ecu):
        async with await open_can("virtual", channel, guard=guard) as link, IsoTpLink(link) as requests:
            with pytest.raises(TransferStopped) as stopped:
                await download(EcuSession(requests, BMS), MemoryArea(0, 12, 4, 4), bytes(12))
    assert (stopped.value.done, stopped.value.total, stopped.value.nrc) == (8, 12, 0x72)


async def test_authentication_proves_the_tester():
    challenge = b"\x01\x02\x03\x04"
    hello = make.authentication_request(1, b"CERT", b"", configuration=0)
    proof = make.authentication_request(3, b"signed" + challenge, b"")
    table = {
        hello.hex().upper(): (b"\x69\x01\x11" + b"\0\4" + challenge + b"\0\0").hex(),
        proof.hex().upper(): "6903120000",
    }

    class Identity:
        certificate = b"CERT"

        async def __call__(self, _target, given):
            return b"signed" + given

    channel, ecu = next(CHANNELS), rigged(table)
    guard = TransmitGuard(frozenset(Risk), state=SAFE)
    with Rig(channel, ecu):
        async with await open_can("virtual", channel, guard=guard) as link, IsoTpLink(link) as requests:
            await EcuSession(requests, BMS).authenticate(Identity())
    assert ecu.requests == [hello, proof]


def test_routine_kinds_are_those_of_the_standard():
    assert [make.routine_request(kind, 0x0203)[1] for kind in RoutineKind] == [1, 2, 3]
