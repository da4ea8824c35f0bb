import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from udsoncan import Request, Response
from udsoncan.services import ReadDTCInformation

from diag.dtc import parse_j1939_dtcs, parse_obd_dtcs, parse_uds_dtcs
from diag.dtcanswer import DtcAnswer, FaultCounter, bytes_from_code, code_from_bytes, split_code
from diag.errors import BadInput, DiagError, RemoteProtocolError
from diag.facts import DtcKind, DtcStatus, Severity
from diag.nrc import Negative

ECU = "0x7EC"
real_codes = st.integers(1, 0xFFFFFE)
records = st.lists(st.tuples(real_codes, st.integers(0, 255)), max_size=30)


def uds(text, **more):
    return parse_uds_dtcs(bytes.fromhex(text), ecu=ECU, **more)


def shown(answer):
    return [dtc.display for dtc in answer.dtcs]


# --- notation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("0A1B", "P0A1B"),
        ("4123", "C0123"),
        ("9234", "B1234"),
        ("C100", "U0100"),
        ("D987", "U1987"),
        ("0A1B16", "P0A1B-16"),
        ("FFFF", "U3FFF"),
    ],
)
def test_code_notation(raw, code):
    assert code_from_bytes(bytes.fromhex(raw)) == code
    assert bytes_from_code(code) == bytes.fromhex(raw)


@given(st.binary(min_size=2, max_size=3))
def test_notation_round_trip(raw):
    assert bytes_from_code(code_from_bytes(raw)) == raw


@pytest.mark.parametrize("text", ["p0aa6-1a", "P0AA61A", "P0AA6:1A", " P0AA6-1a "])
def test_ways_of_writing(text):
    assert split_code(text) == ("P0AA6", "1A")


@pytest.mark.parametrize("text", ["", "P0AA", "X0AA6", "P4AA6", "P0AG6", "P0AA6-1", "P0AA6-", "P0AA6-1A2", "P0AA6-ZZ"])
def test_not_a_code(text):
    with pytest.raises(BadInput, match="not a trouble code"):
        split_code(text)


def test_code_needs_two_or_three_bytes():
    with pytest.raises(BadInput, match="two or three bytes"):
        code_from_bytes(b"\x01")


# --- OBD ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sid", "kind"), [("43", DtcKind.STORED), ("47", DtcKind.PENDING), ("4A", DtcKind.PERMANENT)])
def test_obd_count_byte_is_no_code(sid, kind):
    answer = parse_obd_dtcs(bytes.fromhex(sid + "0201430196"), ecu="0x7E8")
    assert shown(answer) == ["P0143", "P0196"]
    assert {dtc.kind for dtc in answer.dtcs} == {(kind,)}
    assert [dtc.raw.hex() for dtc in answer.dtcs] == ["0143", "0196"]
    assert answer.dtcs[0].status is None
    assert answer.complete
    assert answer.count == 2


def test_obd_none_stored():
    assert parse_obd_dtcs(b"\x43\x00") == DtcAnswer(count=0)


def test_obd_padding_is_ignored():
    answer = parse_obd_dtcs(bytes.fromhex("43010AA6000000"))
    assert shown(answer) == ["P0AA6"]
    assert answer.complete
    assert answer.rest == b""


def test_obd_zero_pairs_within_the_count_are_no_codes():
    answer = parse_obd_dtcs(bytes.fromhex("43030AA600000196"))
    assert shown(answer) == ["P0AA6", "P0196"]
    assert answer.missing == 0


def test_obd_cut_keeps_codes_and_counts_missing():
    answer = parse_obd_dtcs(bytes.fromhex("430B" + "0AA60BBD0DE60B3C" + "C1"))
    assert shown(answer) == ["P0AA6", "P0BBD", "P0DE6", "P0B3C"]
    assert (answer.complete, answer.missing, answer.count) == (False, 7, 11)


@pytest.mark.parametrize(
    ("payload", "codes", "complete"),
    [
        ("430AA60301C1000B3C", ["P0AA6", "P0301", "U0100", "P0B3C"], True),
        ("430AA6", ["P0AA6"], True),
        ("43010AA6000000", ["P0AA6"], True),
        ("43020AA60301", ["P0AA6", "P0301"], True),
        ("430B0AA60BBD", ["P0AA6", "P0BBD"], False),
    ],
)
def test_a_whole_answer_that_no_count_byte_explains_has_none(payload: str, codes: list[str], complete: bool) -> None:
    raw = bytes.fromhex(payload)
    answer = parse_obd_dtcs(raw, declared_length=len(raw))
    assert [dtc.code for dtc in answer.dtcs] == codes
    assert answer.complete is complete


def test_a_cut_answer_keeps_its_count_byte() -> None:
    answer = parse_obd_dtcs(bytes.fromhex("430B0AA60BBD0D"), declared_length=24)
    assert (len(answer.dtcs), answer.missing) == (2, 9)


def test_obd_bytes_beyond_the_count_are_shown_not_decoded():
    answer = parse_obd_dtcs(bytes.fromhex("43010AA60196"))
    assert shown(answer) == ["P0AA6"]
    assert answer.rest == b"\x01\x96"


def test_kline_has_no_count_byte():
    answer = parse_obd_dtcs(bytes.fromhex("43014301960000"), can=False)
    assert shown(answer) == ["P0143", "P0196"]
    assert answer.complete
    cut = parse_obd_dtcs(bytes.fromhex("43014301"), can=False)
    assert (shown(cut), cut.missing) == (["P0143"], 1)


def test_obd_header_cut():
    assert not parse_obd_dtcs(b"\x43").complete


@pytest.mark.parametrize("payload", ["", "4100", "590200", "03"])
def test_obd_other_answers_are_refused(payload):
    with pytest.raises(RemoteProtocolError, match="not an answer to OBD service"):
        parse_obd_dtcs(bytes.fromhex(payload), ecu="0x7E8")


# --- negative responses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parse", [parse_obd_dtcs, parse_uds_dtcs])
def test_negative_is_never_a_code(parse):
    answer = parse(b"\x7f\x03\x22", ecu=ECU)
    assert answer.dtcs == ()
    assert answer.negative == Negative(0x03, 0x22)
    assert answer.negative.name == "conditionsNotCorrect"
    assert answer.complete


@pytest.mark.parametrize("cut", [b"\x7f", b"\x7f\x19"])
def test_cut_negative_says_so(cut):
    assert parse_uds_dtcs(cut, ecu=ECU) == DtcAnswer(complete=False, rest=cut)


# --- UDS lists ------------------------------------------------------------------------------------------------------

ONE = "0AA61A2F"
LISTS = {
    "02": "5902FF" + ONE,
    "08": "5908FF8033" + ONE,
    "09": "5909FF8033" + ONE,
    "0A": "590AFF" + ONE,
    "0B": "590BFF" + ONE,
    "0C": "590CFF" + ONE,
    "0D": "590DFF" + ONE,
    "0E": "590EFF" + ONE,
    "0F": "590FFF" + ONE,
    "13": "5913FF" + ONE,
    "15": "5915FF" + ONE,
    "17": "591701FF" + ONE,
    "1A": "591AFF05" + ONE,
    "42": "594233FFFF0420" + ONE,
    "55": "595533FF04" + ONE,
    "56": "595633FF0405" + ONE,
}


@pytest.mark.parametrize("sub", LISTS)
def test_one_code_in_every_list_layout(sub):
    answer = uds(LISTS[sub])
    assert shown(answer) == ["P0AA6-1A"]
    [dtc] = answer.dtcs
    assert dtc.ecu == ECU
    assert dtc.status == DtcStatus(0x2F)
    assert dtc.status.failing_now
    assert DtcKind.STORED in dtc.kind
    assert (DtcKind.PERMANENT in dtc.kind) == (sub in ("15", "55"))
    assert dtc.severity is Severity.STOP
    assert dtc.text.zh.startswith("高压系统对车身绝缘故障")
    assert dtc.raw.hex().upper().endswith(ONE)
    assert answer.available == 0xFF
    assert answer.complete


@pytest.mark.parametrize("sub", LISTS)
def test_every_list_layout_cut_anywhere(sub):
    whole = bytes.fromhex(LISTS[sub])
    for size in range(1, len(whole)):
        answer = parse_uds_dtcs(whole[:size], ecu=ECU, declared_length=len(whole))
        assert answer.dtcs == ()
        assert not answer.complete
        assert size < 2 or answer.missing == 1


def test_no_match_is_just_the_mask():
    assert uds("5902FF") == DtcAnswer(available=0xFF)


def test_unavailable_status_bits_read_as_false():
    [dtc] = uds("5902770AA61A88").dtcs
    assert dtc.status.mask == 0x88
    assert dtc.to_json()["status"]["mask"] == "0x88"
    assert not dtc.status.confirmed
    assert dtc.kind == ()


@pytest.mark.parametrize("padding", ["FFFFFF2F", "FFFFFFFF", "FFFFFF00", "00000000"])
def test_padding_records_are_no_codes(padding):
    answer = uds("5902FF" + padding + ONE + padding)
    assert shown(answer) == ["P0AA6-1A"]
    assert answer.complete


@pytest.mark.parametrize("padding", ["00", "0000", "000000", "FF", "FFFFFF"])
def test_padding_shorter_than_a_record_is_not_a_cut(padding):
    answer = uds("5902FF" + ONE + padding)
    assert (answer.complete, answer.missing, answer.rest) == (True, 0, b"")


def test_cut_record_is_missing_and_kept_raw():
    answer = uds("5902FF" + ONE + "0BBD85")
    assert shown(answer) == ["P0AA6-1A"]
    assert (answer.complete, answer.missing, answer.rest) == (False, 1, b"\x0b\xbd\x85")


def test_four_of_eleven_codes():
    payload = bytes.fromhex("5902FF" + "".join(f"0B{n:02X}002C" for n in range(11)))
    answer = parse_uds_dtcs(payload[:21], ecu=ECU, declared_length=len(payload))
    assert (len(answer.dtcs), answer.complete, answer.missing) == (4, False, 7)


def test_udsoncan_raises_where_we_keep_the_whole_codes():
    cut = bytes.fromhex("5902FF" + ONE + "0BBD")
    with pytest.raises(Exception, match="Incomplete"):
        ReadDTCInformation.interpret_response(
            Response.from_payload(cut), ReadDTCInformation.Subfunction.reportDTCByStatusMask, tolerate_zero_padding=True
        )
    assert shown(parse_uds_dtcs(cut, ecu=ECU)) == ["P0AA6-1A"]


def test_wwh_permanent_has_four_byte_records_where_udsoncan_reads_five():
    payload = bytes.fromhex("595533FF04" + "0AA61A2F" + "0BBD852C" + "0DE6162C" + "0B3C6424" + "C1118724")
    answer = parse_uds_dtcs(payload, ecu=ECU)
    assert shown(answer) == ["P0AA6-1A", "P0BBD-85", "P0DE6-16", "P0B3C-64", "U0111-87"]


def test_wwh_permanent_with_severity_bytes():
    answer = uds("595533FF04" + "20" + ONE + "80" + "0BBD852C")
    assert shown(answer) == ["P0AA6-1A", "P0BBD-85"]


def test_j1939_format_in_a_wwh_answer():
    [dtc] = uds("594233FFFF0220" + "5B0C032F").dtcs
    assert (dtc.code, dtc.spn, dtc.fmi) == ("SPN 3163 FMI 3", 3163, 3)
    assert dtc.status.failing_now
    assert dtc.occurrences is None


@pytest.mark.parametrize("sub", ["01", "07", "11", "12"])
def test_counts(sub):
    answer = uds(f"59{sub}FF010123")
    assert (answer.count, answer.dtcs, answer.complete) == (0x123, (), True)
    cut = uds(f"59{sub}FF0101")
    assert (cut.count, cut.complete) == (None, False)


def test_snapshot_record_numbers_are_no_status():
    answer = uds("59030AA61A010AA61A020BBD85FF")
    assert answer.dtcs == ()
    assert [(item.code, item.failure_type, item.record) for item in answer.snapshots] == [
        ("P0AA6", "1A", 1),
        ("P0AA6", "1A", 2),
        ("P0BBD", "85", 0xFF),
    ]
    assert answer.snapshots[0].to_json()["record"] == 1
    cut = uds("59030AA61A010AA6")
    assert (len(cut.snapshots), cut.missing) == (1, 1)


def test_snapshot_with_known_lengths():
    payload = "5904" + ONE + "01" + "02" + "F40D" + "2A" + "0200" + "1234" + "02" + "01" + "F40D" + "00"
    answer = uds(payload, did_lengths={0xF40D: 1, 0x0200: 2})
    assert shown(answer) == ["P0AA6-1A"]
    assert [(item.record, item.values) for item in answer.snapshots] == [
        (1, ((0xF40D, b"\x2a"), (0x0200, b"\x12\x34"))),
        (2, ((0xF40D, b"\x00"),)),
    ]


def test_snapshot_with_unknown_lengths_stays_raw():
    answer = uds("5904" + ONE + "01" + "02" + "F40D" + "2A" + "0200" + "1234", did_lengths={0xF40D: 1})
    [record] = answer.snapshots
    assert record.values == ((0xF40D, b"\x2a"),)
    assert record.raw.hex() == "0102f40d2a02001234"
    assert answer.complete


def test_snapshot_of_user_memory():
    answer = uds("591801" + ONE + "0100")
    assert shown(answer) == ["P0AA6-1A"]
    assert answer.snapshots[0].record == 1


@pytest.mark.parametrize("head", ["5906", "5910", "591901"])
def test_extended_data(head):
    answer = uds(head + ONE + "0105" + "02AABB", extended_lengths={1: 1, 2: 2})
    assert [(item.record, item.raw.hex()) for item in answer.extended] == [(1, "0105"), (2, "02aabb")]
    raw = uds(head + ONE + "0105" + "02AABB")
    assert [(item.record, item.raw.hex()) for item in raw.extended] == [(1, "010502aabb")]
    assert shown(uds(head + ONE)) == ["P0AA6-1A"]


def test_one_code_answers_cut_before_the_status():
    answer = uds("59040AA6")
    assert (answer.dtcs, answer.complete, answer.missing) == ((), False, 1)


def test_stored_data_by_record_number():
    answer = uds("5905" + "01" + ONE + "01F40D2A" + "02" + "0BBD852C" + "01F40D2B", did_lengths={0xF40D: 1})
    assert shown(answer) == ["P0AA6-1A", "P0BBD-85"]
    assert [item.values[0][1] for item in answer.snapshots] == [b"\x2a", b"\x2b"]
    assert uds("590501") == DtcAnswer()
    assert uds("5905010AA6").missing == 1


def test_extended_data_by_record_number():
    answer = uds("591605" + ONE + "AA" + "0BBD852C" + "BB", extended_lengths={5: 1})
    assert shown(answer) == ["P0AA6-1A", "P0BBD-85"]
    assert shown(uds("591605" + ONE + "AA")) == ["P0AA6-1A"]
    assert uds("591605" + ONE + "AA0BBD", extended_lengths={5: 1}).missing == 1
    assert uds("591605").complete


def test_fault_detection_counter_is_signed_and_no_status():
    answer = uds("5914" + "0AA61A7F" + "0BBD8580" + "0DE61605")
    assert answer.fault_counters == (
        FaultCounter("P0AA6", "1A", 127),
        FaultCounter("P0BBD", "85", -128),
        FaultCounter("P0DE6", "16", 5),
    )
    assert all(dtc.status is None and dtc.kind == () for dtc in answer.dtcs)


@pytest.mark.parametrize("payload", ["62F190", "", "5999FF", "43010AA6"])
def test_other_answers_are_refused(payload):
    with pytest.raises(RemoteProtocolError):
        uds(payload)


@given(
    st.binary(max_size=80), st.integers(0, 200) | st.none(), st.dictionaries(st.integers(0, 65535), st.integers(0, 9))
)
def test_any_bytes_give_an_answer_or_a_declared_error(payload, declared, lengths):
    for parse in (
        lambda: parse_uds_dtcs(
            payload, ecu=ECU, declared_length=declared, did_lengths=lengths, extended_lengths=lengths
        ),
        lambda: parse_uds_dtcs(b"\x59" + payload, ecu=ECU, declared_length=declared),
        lambda: parse_obd_dtcs(payload, ecu=ECU),
        lambda: parse_obd_dtcs(b"\x43" + payload, ecu=ECU, can=False),
        lambda: parse_j1939_dtcs(payload, ecu=ECU, declared_length=declared),
    ):
        try:
            answer = parse()
        except DiagError:
            continue
        assert isinstance(answer, DtcAnswer)
        assert answer.missing >= 0
        assert not (answer.missing and answer.complete)
        for dtc in answer.dtcs:
            assert dtc.to_json()["raw"] == dtc.raw.hex().upper()


@given(records, st.integers(0, 255))
def test_list_round_trip_and_udsoncan_agrees(codes, mask):
    payload = bytes([0x59, 0x02, mask]) + b"".join(c.to_bytes(3, "big") + bytes([s]) for c, s in codes)
    answer = parse_uds_dtcs(payload, ecu=ECU)
    assert answer.complete
    assert bytes([0x59, 0x02, mask]) + b"".join(dtc.raw for dtc in answer.dtcs) == payload
    assert [bytes_from_code(f"{dtc.code}-{dtc.failure_type}") for dtc in answer.dtcs] == [
        code.to_bytes(3, "big") for code, _ in codes
    ]
    theirs = ReadDTCInformation.interpret_response(
        Response.from_payload(payload),
        ReadDTCInformation.Subfunction.reportDTCByStatusMask,
        tolerate_zero_padding=True,
        ignore_all_zero_dtc=True,
    ).service_data
    assert theirs.status_availability.get_byte_as_int() == mask
    assert [(dtc.id, dtc.status.get_byte_as_int()) for dtc in theirs.dtcs] == [
        (int.from_bytes(mine.raw[:3], "big"), mine.status.mask) for mine in answer.dtcs
    ]


@given(
    real_codes,
    st.integers(0, 255),
    st.lists(st.tuples(st.integers(1, 254), st.binary(min_size=3, max_size=3)), min_size=1, max_size=4),
)
def test_snapshots_as_udsoncan_reads_them(code, status, snapshots):
    body = b"".join(bytes([number, 1]) + b"\x47\x11" + data for number, data in snapshots)
    payload = b"\x59\x04" + code.to_bytes(3, "big") + bytes([status]) + body
    mine = parse_uds_dtcs(payload, ecu=ECU, did_lengths={0x4711: 3})
    theirs = ReadDTCInformation.interpret_response(
        Response.from_payload(payload),
        ReadDTCInformation.Subfunction.reportDTCSnapshotRecordByDTCNumber,
        dtc_snapshot_did_size=2,
        didconfig={0x4711: "3s"},
        tolerate_zero_padding=True,
    ).service_data.dtcs[0]
    assert theirs.id == code
    assert [(item.record_number, item.raw_data) for item in theirs.snapshots] == [
        (item.record, item.values[0][1]) for item in mine.snapshots
    ]
    assert Request(ReadDTCInformation, subfunction=4).get_payload()[:2] == b"\x19\x04"


@given(st.lists(st.integers(1, 0xFFFF), max_size=40))
def test_obd_round_trip(codes):
    payload = bytes([0x43, len(codes)]) + b"".join(code.to_bytes(2, "big") for code in codes)
    answer = parse_obd_dtcs(payload)
    assert answer.complete
    assert b"".join(bytes_from_code(dtc.code) for dtc in answer.dtcs) == payload[2:]


@given(records, st.integers(3, 130))
def test_cut_plus_missing_is_everything(codes, size):
    payload = b"\x59\x02\xff" + b"".join(c.to_bytes(3, "big") + bytes([s]) for c, s in codes)
    answer = parse_uds_dtcs(payload[:size], ecu=ECU, declared_length=len(payload))
    assert len(answer.dtcs) + answer.missing == len(codes)


def test_records_are_frozen():
    [dtc] = uds("5902FF" + ONE).dtcs
    with pytest.raises(dataclasses.FrozenInstanceError):
        dtc.code = "P0000"
