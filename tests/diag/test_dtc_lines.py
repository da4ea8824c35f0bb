"""Pasted lines of a bus become codes, in every dialect, cut anywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diag.dtclines import parse_dtc_lines
from diag.errors import BadInput, RemoteProtocolError
from diag.facts import DtcKind
from diag.nrc import PENDING


def shown(answer):
    return [dtc.display for dtc in answer.dtcs]


WHOLE = ["7E4 03 19 02 AF 00 00 00 00", "7EC 10 0B 59 02 FF 0A A6 1A", "7E4 30 00 00", "7EC 21 2F 0B BD 85 2C CC CC"]


@pytest.mark.parametrize(
    "lines",
    [
        WHOLE,
        ["7EC#100B5902FF0AA61A", "7EC#212F0BBD852CCCCC"],
        ["(1.5) can0 7EC#100B5902FF0AA61A", "(1.6) can0 7EC#212F0BBD852CCCCC"],
        ["  can0  7EC   [8]  10 0B 59 02 FF 0A A6 1A", "  can0  7EC   [8]  21 2F 0B BD 85 2C CC CC"],
        ["7EC100B5902FF0AA61A", ">7EC212F0BBD852CCCCC"],
        ["0x7EC: 10 0B 59 02 FF 0A A6 1A", "# a remark", "", "0x7EC: 21 2F 0B BD 85 2C CC CC"],
        ["5902FF0AA61A2F0BBD852C"],
        ["7EC##1100B5902FF0AA61A", "7EC##1212F0BBD852CCCCC"],
    ],
    ids=["spaced", "hash", "candump log", "candump screen", "adapter", "remarks", "payload", "candump fd"],
)
def test_dialects(lines):
    answer = parse_dtc_lines(lines, "uds")
    assert shown(answer) == ["P0AA6-1A", "P0BBD-85"]
    assert answer.complete


def test_29_bit_lines_with_spaces():
    answer = parse_dtc_lines(["18 DA F1 10 07 59 02 FF 0A A6 1A 2F"], "uds")
    assert [dtc.ecu for dtc in answer.dtcs] == ["0x18DAF110"]


def test_interleaved_ecus():
    lines = [
        "7E8 10 0B 59 02 FF C1 11 87",
        "7EC 10 0B 59 02 FF 0A A6 1A",
        "7E8 21 2F 0A 1D 49 2C 00 00",
        "7EC 21 2F 0B BD 85 2C CC CC",
    ]
    answer = parse_dtc_lines(lines, "uds")
    assert {(dtc.ecu, dtc.display) for dtc in answer.dtcs} == {
        ("0x7E8", "U0111-87"),
        ("0x7E8", "P0A1D-49"),
        ("0x7EC", "P0AA6-1A"),
        ("0x7EC", "P0BBD-85"),
    }


@pytest.mark.parametrize(
    ("lines", "codes"),
    [
        (["7EC 10 2F 59 02 FF 0A A6 1A", "7EC 21 2F 0B BD 85 2C 0D E6"], 2),
        (["7EC 10 2F 59 02 FF 0A A6 1A", "7EC 21 2F 0B BD 85 2C 0D E6", "7EC 23 16 2F 0B 3C 64 24 C1"], 2),
        (["7EC 10 2F 59 02 FF 0A A6 1A", "7EC 21 2F 0B BD 8"], 1),
        (["7EC 10 2F 59 02 FF 0A A6"], 0),
        (["7EC 10 2F 59 02 FF 0A A6 1A", "7EC 21 2F", "7EC 22 BD 85 2C 0D E6 16 2F"], 1),
        (["7EC 10 2F 59 02 FF 0A A6 1A", "7EC 03 7F 22 31"], 0),
    ],
    ids=["stops", "skips a frame", "cut in a byte", "first frame cut", "cut frame in the middle", "another message"],
)
def test_cut_lines_keep_codes_and_count_the_missing(lines, codes):
    answer = parse_dtc_lines(lines, "uds")
    assert len(answer.dtcs) == codes
    assert (answer.complete, answer.missing) == (False, 11 - codes)


def test_response_pending_before_the_answer_is_passed_over():
    answer = parse_dtc_lines(["7EC 03 7F 19 78", "7EC 07 59 02 FF 0A A6 1A 2F"], "uds")
    assert answer.negative is None
    assert shown(answer) == ["P0AA6-1A"]
    alone = parse_dtc_lines(["7EC 03 7F 19 78"], "uds")
    assert alone.negative.nrc == PENDING


def test_obd_lines_of_three_lists_are_united():
    lines = ["7EC 04 43 01 0A A6", "7EC 02 47 00", "7EC 04 4A 01 0A A6", "7EC 06 41 00 BE 1F A8 13"]
    [dtc] = parse_dtc_lines(lines, "obd").dtcs
    assert dtc.kind == (DtcKind.STORED, DtcKind.PERMANENT)


def test_j1939_lines_single_and_bam():
    single = parse_dtc_lines(["18FECA00 44 FF 5B 0C 03 05 FF FF"], "j1939")
    assert [dtc.spn for dtc in single.dtcs] == [3163]
    bam = [
        "18ECFF00 20 0A 00 02 FF CA FE 00",
        "18EBFF00 01 44 FF 5B 0C 03 05 5C",
        "18F00400 00 00 00 00 00 00 00 00",
        "18EBFF00 02 0C 04 01 FF FF FF FF",
    ]
    answer = parse_dtc_lines(bam, "j1939")
    assert [(dtc.spn, dtc.fmi) for dtc in answer.dtcs] == [(3163, 3), (3164, 4)]
    assert answer.complete
    cut = parse_dtc_lines(bam[:2], "j1939")
    assert (len(cut.dtcs), cut.missing, cut.complete) == (1, 1, False)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["7EC 07 59 02 FF 0A A6 1A 2F", "hello world"], "line 2: not a CAN frame: 'hello world'"),
        (["7E8 03 41 0D 00"], "no answer of service uds in 1 frames"),
        ([], "no answer of service uds in 0 frames"),
        (["FFFFFFFF 07 59 02 FF 0A A6 1A 2F"], "line 1: not a CAN frame"),
    ],
)
def test_unusable_lines_say_why(lines, says):
    with pytest.raises(BadInput) as caught:
        parse_dtc_lines(lines, "uds")
    assert says in str(caught.value)


@given(st.lists(st.text(max_size=40) | st.from_regex(r"7E[89C]( [0-9A-F]{2}){0,8}", fullmatch=True), max_size=12))
def test_any_lines_give_an_answer_or_bad_input(lines):
    for service in ("uds", "obd", "j1939"):
        try:
            answer = parse_dtc_lines(lines, service)
        except (BadInput, RemoteProtocolError):
            continue
        assert not (answer.missing and answer.complete)
