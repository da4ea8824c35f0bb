"""Codes in the layout of DM1 become records."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diag.dtc import parse_j1939_dtcs
from diag.facts import DtcKind

ECU = "0x7EC"


def test_j1939_example_of_the_standard():
    answer = parse_j1939_dtcs(bytes.fromhex("44FF5B0C0305FFFF"), ecu="0x18FECA00")
    [dtc] = answer.dtcs
    assert (dtc.code, dtc.spn, dtc.fmi, dtc.occurrences) == ("SPN 3163 FMI 3", 3163, 3, 5)
    assert {lamp.name for lamp in answer.lamps if lamp.on} == {"amber-warning", "malfunction-indicator"}
    assert dtc.display == "SPN 3163 FMI 3"
    assert answer.complete


@pytest.mark.parametrize("payload", ["00FF00000000FFFF", "00FFFFFFFFFFFFFF", "00FF"])
def test_j1939_without_codes(payload):
    assert parse_j1939_dtcs(bytes.fromhex(payload)).dtcs == ()


def test_j1939_lamps_that_say_nothing_are_none():
    lamps = {lamp.name: lamp.on for lamp in parse_j1939_dtcs(b"\xd0\xff").lamps}
    assert lamps == {"protect": False, "amber-warning": False, "red-stop": True, "malfunction-indicator": None}
    flashing = parse_j1939_dtcs(bytes([0b00_01_01_00, 0b00_01_00_00])).lamps
    assert [lamp.flash for lamp in flashing] == [None, "slow", "fast", None]


def test_j1939_legacy_conversion_is_flagged_not_guessed():
    [dtc] = parse_j1939_dtcs(bytes.fromhex("00FF5B0C0385")).dtcs
    assert (dtc.spn, dtc.fmi, dtc.code) == (None, 3, "SPN ? FMI 3")
    assert dtc.raw.hex() == "5b0c0385"
    assert "legacy" in dtc.text.en


def test_j1939_count_127_is_not_available():
    assert parse_j1939_dtcs(bytes.fromhex("00FF5B0C037F")).dtcs[0].occurrences is None


def test_j1939_cut():
    payload = bytes.fromhex("00FF" + "5B0C0305" * 3)
    answer = parse_j1939_dtcs(payload[:8], declared_length=len(payload))
    assert (len(answer.dtcs), answer.missing, answer.complete) == (1, 2, False)
    assert not parse_j1939_dtcs(b"\x00").complete


@given(st.lists(st.tuples(st.integers(1, 0x7FFFE), st.integers(0, 31), st.integers(0, 126)), max_size=20))
def test_j1939_round_trip(codes):
    body = b"".join(bytes([spn & 0xFF, spn >> 8 & 0xFF, spn >> 16 << 5 | fmi, count]) for spn, fmi, count in codes)
    answer = parse_j1939_dtcs(b"\x00\xff" + body, kind=DtcKind.PENDING)
    assert [(dtc.spn, dtc.fmi, dtc.occurrences) for dtc in answer.dtcs] == codes
    assert {dtc.kind for dtc in answer.dtcs} <= {(DtcKind.PENDING,)}
