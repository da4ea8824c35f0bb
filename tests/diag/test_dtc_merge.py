"""One fault told several times is one record."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diag.dtc import parse_j1939_dtcs, parse_obd_dtcs, parse_uds_dtcs
from diag.dtcmerge import merge_dtcs
from diag.facts import Dtc, DtcKind, DtcStatus

ECU = "0x7EC"


def uds(text, **more):
    return parse_uds_dtcs(bytes.fromhex(text), ecu=ECU, **more)


ONE = "0AA61A2F"


def test_obd_and_uds_tell_one_fault_once():
    stored = parse_obd_dtcs(bytes.fromhex("43010AA6"), ecu=ECU)
    permanent = parse_obd_dtcs(bytes.fromhex("4A010AA6"), ecu=ECU)
    [dtc] = merge_dtcs([*permanent.dtcs, *stored.dtcs, *uds("5902FF" + ONE).dtcs])
    assert dtc.display == "P0AA6-1A"
    assert dtc.kind == (DtcKind.STORED, DtcKind.PENDING, DtcKind.PERMANENT)
    assert dtc.status == DtcStatus(0x2F)
    assert dtc.raw.hex().upper() == ONE


def test_other_ecus_and_other_failure_types_stay_apart():
    other = parse_obd_dtcs(bytes.fromhex("43010AA6"), ecu="0x7E8").dtcs
    mine = uds("5902FF" + ONE + "0AA61B2C").dtcs
    merged = merge_dtcs([*mine, *other])
    assert {(dtc.ecu, dtc.display) for dtc in merged} == {
        ("0x7E8", "P0AA6"),
        (ECU, "P0AA6-1A"),
        (ECU, "P0AA6-1B"),
    }


def test_obd_kind_goes_to_the_failure_type_that_is_a_fault():
    permanent = parse_obd_dtcs(bytes.fromhex("4A010AA6"), ecu=ECU).dtcs
    merged = {dtc.display: dtc.kind for dtc in merge_dtcs([*uds("5902FF0AA61A2C0AA61B50").dtcs, *permanent])}
    assert merged == {"P0AA6-1A": (DtcKind.STORED, DtcKind.PENDING, DtcKind.PERMANENT), "P0AA6-1B": ()}


def test_most_dangerous_first():
    merged = merge_dtcs(uds("5902FF" + "0A7F002C" + "0BBD852C" + "0B3C642F" + "0AA61A2C").dtcs)
    assert [dtc.display for dtc in merged] == ["P0AA6-1A", "P0B3C-64", "P0BBD-85", "P0A7F"]


@given(
    st.lists(
        st.tuples(st.sampled_from([0x0AA61A, 0x0AA61B, 0x0BBD85, 0x0BBD00]), st.integers(0, 255), st.booleans()),
        max_size=12,
    )
)
def test_merging_is_idempotent_and_loses_no_fault(entries):
    dtcs = []
    for code, status, is_obd in entries:
        raw = code.to_bytes(3, "big")
        if is_obd:
            dtcs += parse_obd_dtcs(b"\x43\x01" + raw[:2], ecu=ECU).dtcs
        else:
            dtcs += parse_uds_dtcs(b"\x59\x02\xff" + raw + bytes([status]), ecu=ECU).dtcs
    merged = merge_dtcs(dtcs)
    assert merge_dtcs(merged) == merged
    assert {dtc.code for dtc in merged} == {dtc.code for dtc in dtcs}
    keys = [(dtc.ecu, dtc.code, dtc.failure_type) for dtc in merged]
    assert len(set(keys)) == len(keys)
    for dtc in dtcs:
        heirs = [other for other in merged if other.code == dtc.code]
        assert any(set(dtc.kind) <= set(other.kind) for other in heirs)


def test_legacy_j1939_codes_of_other_bytes_stay_apart():
    dtcs = parse_j1939_dtcs(bytes.fromhex("00FF" + "5B0C0385" + "5C0C0385")).dtcs
    assert len(merge_dtcs(dtcs)) == 2


def merged_from(*answers: str) -> tuple[Dtc, ...]:
    found: list[Dtc] = []
    for answer in map(bytes.fromhex, answers):
        parse = parse_uds_dtcs if answer[0] == 0x59 else parse_obd_dtcs
        found += parse(answer, ecu="0x7EC").dtcs
    return merge_dtcs(found)


def test_a_code_of_the_obd_lists_is_a_fault_whatever_its_status_byte_says() -> None:
    (only,) = merged_from("43010AA6", "4A010AA6", "5902FF0AA61A22")
    assert only.kind == (DtcKind.STORED, DtcKind.PERMANENT)
    assert only.is_fault


@pytest.mark.parametrize(
    ("status", "is_fault"), [(0x20, False), (0x50, False), (0x22, False), (0x28, True), (0x24, True)]
)
def test_a_status_alone_tells_history_from_fault(status: int, is_fault: bool) -> None:
    (only,) = merged_from(f"5902FF0AA61A{status:02X}")
    assert only.is_fault is is_fault


def test_an_availability_mask_of_zero_beside_records_erases_nothing() -> None:
    (only,) = merged_from("5902000AA61A2F")
    assert only.is_fault
    assert only.status is not None
    assert only.status.failing_now
    assert only.kind == (DtcKind.STORED, DtcKind.PENDING)
    assert not merged_from("5902000AA61A50")[0].is_fault
