"""UDS: bytes and names against udsoncan, and a session with ECUs that refuse, stay silent or cut their answers."""

from __future__ import annotations

import itertools

import pytest
import udsoncan
from hypothesis import given
from hypothesis import strategies as st
from scripted_ecu import Rig, ScriptedEcu, answers_from_table
from udsoncan import services

from diag.addressing import Target
from diag.answers import Answer
from diag.canbus import open_can
from diag.errors import NegativeResponse, NoAnswer, RemoteProtocolError
from diag.nrc import NRCS, nrc_name, nrc_text
from diag.request import IsoTpLink, Timing
from diag.uds import (
    DID_LENGTHS,
    IDENTIFIERS,
    UdsSession,
    decode_did,
    parse_data,
    parse_dtc_count,
    parse_freeze_frames,
    parse_session_times,
    read_identifications,
    text_from_bytes,
)

CHANNELS = (f"uds{n}" for n in itertools.count())
QUICK = Timing(answer_s=0.05, window_s=0.05)
BMS = Target.physical(0x7E4)
CODE = bytes.fromhex("0AA61A")


class Recorder:
    """A request link that answers by table and keeps what was asked."""

    def __init__(self, table: dict[str, str]) -> None:
        self.table, self.asked, self.patience = table, [], []

    async def request(self, target, payload, *, timeout_s=None):
        self.asked.append(payload)
        self.patience.append(timeout_s)
        text = self.table.get(payload.hex().upper())
        if text is None:
            raise NoAnswer(target.address, timeout_s or 0)
        return (Answer(target, payload, bytes.fromhex(text)),)


ASKED = [
    (lambda s: s.start_default_session(), services.DiagnosticSessionControl.make_request(1), "5001003201F4"),
    (lambda s: s.tester_present(), services.TesterPresent.make_request(), "7E00"),
    (
        lambda s: s.count_codes(0xAF),
        services.ReadDTCInformation.make_request(1, status_mask=0xAF),
        "5901FF010002",
    ),
    (lambda s: s.read_codes(0x09), services.ReadDTCInformation.make_request(2, status_mask=0x09), "5902FF"),
    (
        lambda s: s.read_snapshots(CODE),
        services.ReadDTCInformation.make_request(4, dtc=0x0AA61A, snapshot_record_number=0xFF),
        "59040AA61A2F",
    ),
    (
        lambda s: s.read_extended(CODE),
        services.ReadDTCInformation.make_request(6, dtc=0x0AA61A, extended_data_record_number=0xFF),
        "59060AA61A2F",
    ),
    (
        lambda s: s.read_data(0xF190, 0xF18C),
        services.ReadDataByIdentifier.make_request([0xF190, 0xF18C], {0xF190: "17s", 0xF18C: "4s"}),
        "62F190",
    ),
]


@pytest.mark.parametrize(("ask", "theirs", "reply"), ASKED)
async def test_requests_are_the_bytes_that_udsoncan_makes(ask, theirs, reply):
    link = Recorder({theirs.get_payload().hex().upper(): reply})
    await ask(UdsSession(link, BMS))
    assert link.asked == [theirs.get_payload()]


def test_session_times_and_counts_are_read_as_udsoncan_reads_them():
    response = udsoncan.Response.from_payload(bytes.fromhex("5001003201F4"))
    theirs = services.DiagnosticSessionControl.interpret_response(response).service_data
    ours = parse_session_times(response.get_payload())
    assert (ours.p2_s, ours.p2_star_s) == (theirs.p2_server_max, theirs.p2_star_server_max) == (0.05, 5.0)
    assert parse_session_times(b"\x50\x01") is None
    response = udsoncan.Response.from_payload(bytes.fromhex("5901FB040102"))
    theirs = services.ReadDTCInformation.interpret_response(response, subfunction=1).service_data
    ours = parse_dtc_count(response.get_payload())
    assert (ours.count, ours.available, ours.format) == (
        theirs.dtc_count,
        theirs.status_availability.get_byte_as_int(),
        4,
    )
    assert ours.count == 258
    assert parse_dtc_count(b"\x59\x01\xff") is None


def test_names_of_refusals_are_those_of_udsoncan():
    theirs = {
        number: name
        for name, number in vars(udsoncan.Response.Code).items()
        if isinstance(number, int) and not name.startswith("_")
    }
    older = set(range(0x38, 0x41))  # names of ISO 15764, which the edition of 2020 gave to secured transmission
    assert set(theirs) - set(NRCS) - older == {0x00}
    assert set(NRCS) <= set(theirs)
    for number, (name, text) in NRCS.items():
        assert text.en
        assert text.zh
        if number not in older:
            assert name.lower().replace("or", "") == theirs[number].lower().replace("_", "").replace("or", "")
    assert nrc_name(0xF3) == "vehicleManufacturerSpecificConditionsNotCorrect"
    assert nrc_name(0x44) == "ISOSAEReserved"
    assert nrc_text(0x44).zh == "保留代码"


def test_identifiers_cover_the_standard_and_carry_both_languages():
    assert set(IDENTIFIERS) == set(range(0xF180, 0xF1A0))
    names = [item.name for item in IDENTIFIERS.values()]
    assert len(set(names)) == 32
    for item in IDENTIFIERS.values():
        assert item.text.en
        assert item.text.zh
    assert IDENTIFIERS[0xF189].name == "vehicleManufacturerECUSoftwareVersionNumber"
    assert IDENTIFIERS[0xF197].name == "systemNameOrEngineType"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"BMS-96\0\0", "BMS-96"), (b"  V1.2  ", "V1.2"), (b"\xff\xffA\xff", "A"), (b"\0" * 4, None), (b"", None),
        (b"\x01\x02", "0102"), (b"A\x01", "4101"), ("电".encode(), "E794B5"), (b"A B", "A B"), (b"\n", "0A"),
    ],
)  # fmt: skip
def test_text_or_hexadecimal(raw, text):
    assert text_from_bytes(raw) == text


@pytest.mark.parametrize(
    ("did", "raw", "value"),
    [
        (0xF18B, "20240315", "2024-03-15"), (0xF18B, "240315", "2024-03-15"), (0xF18B, "20241399", "20241399"),
        (0xF186, "01", 1), (0xF190, "4C485A45563430305850303030303030 31".replace(" ", ""), "LHZEV400XP0000001"),
        (0xF45B, "80", pytest.approx(50.2, abs=0.01)), (0xF4A6, "00000064", 10), (0xD001, "1234", None),
    ],
)  # fmt: skip
def test_what_an_identifier_holds(did, raw, value):
    reading = decode_did(did, bytes.fromhex(raw))[0]
    assert (reading.value, reading.raw) == (value, bytes.fromhex(raw))


def test_several_identifiers_are_cut_apart_by_length():
    vin = b"LHZEV400XP0000001"
    payload = b"\x62\xf1\x90" + vin + b"\xf1\x8c" + b"SN\xf1\x90"
    assert parse_data(payload, [0xF190, 0xF18C]) == {0xF190: vin, 0xF18C: b"SN\xf1\x90"}
    assert parse_data(payload, [0xF190]) == {0xF190: payload[3:]}
    assert parse_data(b"\x62\xd0\x01\xaa\xd0\x02\xbb", [0xD001, 0xD002]) == {}
    assert parse_data(b"\x62\xd0\x01\xaa\xd0\x02\xbb", [0xD001, 0xD002], {0xD001: 1}) == {
        0xD001: b"\xaa",
        0xD002: b"\xbb",
    }
    assert parse_data(b"\x62\xf1\x90" + vin[:9], [0xF190, 0xF18C]) == {}
    assert parse_data(b"\x62", [0xF190]) == {}


@given(payload=st.binary(max_size=60), asked=st.lists(st.sampled_from([0xF190, 0xF186, 0xF18C, 0xD001]), max_size=4))
def test_any_bytes_are_cut_without_an_error(payload, asked):
    for raw in parse_data(payload, asked).values():
        assert raw in payload


def test_freeze_frames_from_snapshots():
    answer = Answer(
        BMS,
        bytes.fromhex("19040AA61AFF"),
        bytes.fromhex("59040AA61A2F" + "0102" + "F45B80" + "F40D00" + "0201" + "D0011234"),
    )
    first, second = parse_freeze_frames(answer)
    assert (first.ecu, first.code, first.record, first.source) == ("0x7EC", "P0AA6-1A", 1, "uds-snapshot")
    assert [(reading.name, reading.unit) for reading in first.readings] == [
        ("tractionBatteryCharge", "%"),
        ("vehicleSpeed", "km/h"),
    ]
    assert (second.record, second.readings) == (2, ())
    assert second.raw.endswith(b"\xd0\x01\x12\x34")
    (named,) = parse_freeze_frames(
        Answer(BMS, b"", bytes.fromhex("59040AA61A2F0101D0011234")), {**DID_LENGTHS, 0xD001: 2}
    )
    assert named.readings[0].raw == b"\x12\x34"
    assert parse_freeze_frames(Answer(BMS, b"", b"\x7f\x19\x31")) == ()
    (extended,) = parse_freeze_frames(Answer(BMS, b"", bytes.fromhex("59060AA61A2F0105")))
    assert (extended.source, extended.raw) == ("uds-extended", b"\x01\x05")


TABLE = {
    "1001": "5001003201F4", "3E00": "7E00", "3E80": [], "22F190": "62F190" + b"LHZEV400XP0000001".hex(),
    "22F197": "62F197" + b"BMS\0\0".hex(), "22F189": "62F189" + b"SW02.10".hex(), "22F18C": "7F2231",
    "22F191": [], "1901AF": "5901FF010001", "1902AF": "5902FF0AA61A2F",
}  # fmt: skip
SOME = (0xF189, 0xF18C, 0xF190, 0xF191, 0xF197)


@pytest.fixture
async def link():
    channel = next(CHANNELS)
    ecus = [
        ScriptedEcu(0x7E4, 0x7EC, answers_from_table(TABLE)),
        ScriptedEcu(0x7E0, 0x7E8, answers_from_table({})),
        ScriptedEcu(0x7E5, 0x7ED, lambda _: []),
    ]
    with Rig(channel, *ecus):
        async with await open_can("virtual", channel) as frames, IsoTpLink(frames, timing=QUICK) as requests:
            yield requests


async def test_a_session_end_to_end(link):
    session = UdsSession(link, BMS)
    times = await session.start_default_session()
    assert (times.p2_s, times.p2_star_s) == (0.05, 5.0)
    assert session.times is times
    assert await session.tester_present() is True
    assert await session.tester_present(is_answer_wanted=False) is True
    assert (await session.count_codes()).count == 1
    assert (await session.read_codes()).payload.hex().upper() == "5902FF0AA61A2F"
    assert (await session.read_snapshots(CODE)).nrc == 0x11


async def test_refusals_and_silence_stay_apart_from_values(link):
    found = await UdsSession(link, BMS).read_identification(SOME)
    assert found.texts == {
        "vehicleManufacturerECUSoftwareVersionNumber": "SW02.10",
        "VIN": "LHZEV400XP0000001",
        "systemNameOrEngineType": "BMS",
    }
    assert found.vin == "LHZEV400XP0000001"
    assert {did: negative.name for did, negative in found.refused.items()} == {0xF18C: "requestOutOfRange"}
    assert found.silent == (0xF191,)
    assert found.cut == ()


async def test_several_ecus_side_by_side(link):
    targets = [BMS, Target.physical(0x7E0), Target.physical(0x7E5)]
    known, refusing, silent = await read_identifications(link, targets, SOME)
    assert (known.ecu, len(known.readings)) == ("0x7EC", 3)
    assert (refusing.readings, set(refusing.refused)) == ({}, set(SOME))
    assert (silent.readings, silent.silent) == ({}, SOME)


async def test_a_refusal_is_an_error_where_a_value_is_needed(link):
    session = UdsSession(link, Target.physical(0x7E0))
    with pytest.raises(NegativeResponse):
        await session.start_default_session()
    with pytest.raises(NegativeResponse):
        await session.count_codes()
    with pytest.raises(NoAnswer):
        await UdsSession(link, Target.physical(0x7E5)).start_default_session()


async def test_a_cut_count_is_the_fault_of_the_ecu():
    session = UdsSession(Recorder({"1901AF": "5901FF"}), BMS)
    with pytest.raises(RemoteProtocolError) as error:
        await session.count_codes()
    assert error.value.raw == b"\x59\x01\xff"


@pytest.mark.parametrize(("p2", "given", "patience"), [("0032", None, None), ("01F4", None, 0.7), ("01F4", 0.1, 0.1)])
async def test_an_ecu_that_needs_longer_gets_longer(p2, given, patience):
    link = Recorder({"1001": f"5001{p2}01F4", "1902AF": "5902FF"})
    session = UdsSession(link, BMS, timeout_s=given)
    await session.start_default_session()
    await session.read_codes()
    assert link.patience == [given, patience]
