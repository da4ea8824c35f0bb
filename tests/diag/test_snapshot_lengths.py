"""Which identifier of a snapshot keeps it from being cut into values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diag.dtc import find_unknown_did, parse_uds_dtcs

HEAD = bytes.fromhex("59040DE6162F")
KNOWN = {0xF40D: 1, 0xF442: 2}
TWO_RECORDS = HEAD + bytes.fromhex("0102F40D000140AABB" + "0202F40D050140CCDD")


@pytest.mark.parametrize(
    ("payload", "lengths", "did"),
    [
        (HEAD + bytes.fromhex("0102F40D00F44235AB"), KNOWN, None),
        (TWO_RECORDS, KNOWN, 0x0140),
        (TWO_RECORDS, {**KNOWN, 0x0140: 2}, None),
        (HEAD, KNOWN, None),
        (HEAD + b"\x01", KNOWN, None),
        (HEAD + bytes.fromhex("0102F40D00"), KNOWN, None),
        (HEAD + bytes.fromhex("0101F442AA"), KNOWN, None),
        (bytes.fromhex("59060DE6162F01070200"), KNOWN, None),
        (bytes.fromhex("7F1931"), KNOWN, None),
    ],
    ids=["all known", "second unknown", "learned", "no record", "no count", "cut before it", "cut inside", "06", "7F"],
)
def test_unknown_did(payload: bytes, lengths: dict[int, int], did: int | None) -> None:
    assert find_unknown_did(payload, lengths) == did


def test_learning_the_length_frees_the_second_record() -> None:
    before = parse_uds_dtcs(TWO_RECORDS, did_lengths=KNOWN).snapshots
    after = parse_uds_dtcs(TWO_RECORDS, did_lengths={**KNOWN, 0x0140: 2}).snapshots
    assert [record.record for record in before] == [1]
    assert [(record.record, dict(record.values)[0x0140]) for record in after] == [(1, b"\xaa\xbb"), (2, b"\xcc\xdd")]


@given(st.binary(max_size=40))
def test_any_bytes_give_a_did_or_none(rest: bytes) -> None:
    did = find_unknown_did(HEAD + rest, KNOWN)
    assert did is None or did not in KNOWN
