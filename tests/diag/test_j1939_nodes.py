"""What a J1939 bus tells by itself: the standard's vectors, cut lists, and the simulated bus through a scan."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casebase.query import Query
from diag.carscan import scan
from diag.facts import EcuRole
from diag.frames import Frame
from diag.j1939 import nodes_from_frames, parse_name
from huizhen.simlink import CarLink
from virtualbus.car import Car
from virtualbus.errors import Phrase
from virtualbus.faults import make_fault
from virtualbus.scenario import Scenario

NONE = "00FF00000000FFFF"


def frame(can_id: int, data: str) -> Frame:
    return Frame(can_id, bytes.fromhex(data), extended=True)


def bam(source: int, payload: bytes, *, lose: int | None = None) -> list[Frame]:
    """DM1 by the transport protocol. Standard: SAE J1939-21, TP.CM_BAM and TP.DT."""
    count = -(-len(payload) // 7)
    head = bytes([0x20]) + len(payload).to_bytes(2, "little") + bytes([count, 0xFF]) + (0xFECA).to_bytes(3, "little")
    out = [Frame(0x1CECFF00 | source, head, extended=True)]
    for number in range(count):
        part = payload[7 * number : 7 * number + 7].ljust(7, b"\xff")
        if number != lose:
            out.append(Frame(0x1CEBFF00 | source, bytes([number + 1]) + part, extended=True))
    return out


def test_the_standards_example() -> None:
    """Standard: SAE J1939-73 DM1; SPN 3163 FMI 3, five times, malfunction lamp on."""
    (node,) = nodes_from_frames([frame(0x18FECA00, "44FF5B0C0305FFFF")])
    (dtc,) = node.dtcs
    assert (dtc.display, dtc.spn, dtc.fmi, dtc.occurrences, dtc.ecu) == ("SPN 3163 FMI 3", 3163, 3, 5, "0x00")
    assert node.is_heard


def test_no_code_is_heard_and_silence_is_not() -> None:
    claim = frame(0x18EEFF49, "0100A0D3FF003080")
    nodes = nodes_from_frames([frame(0x18FECA27, NONE), claim])
    assert [(node.address, node.is_heard, node.dtcs) for node in nodes] == [(0x27, True, ()), (0x49, False, ())]


def test_another_makers_29_bit_identifiers_are_not_taken_for_j1939() -> None:
    strangers = [frame(0x10FECA40, "44FF5B0C0305FFFF"), frame(0x10EE1040, "0102030405060708"), frame(0x18EEFF40, NONE)]
    assert nodes_from_frames(strangers) == ()


def test_a_name_is_taken_apart() -> None:
    """Standard: SAE J1939-81; fields set one by one, least significant first."""
    value = 0x12345 | 0x3AB << 21 | 5 << 32 | 9 << 35 | 0x31 << 40 | 0x11 << 49 | 3 << 56 | 2 << 60 | 1 << 63
    name = parse_name(value.to_bytes(8, "little"))
    assert name is not None
    assert (name.identity, name.manufacturer, name.function, name.function_instance) == (0x12345, 0x3AB, 0x31, 9)
    assert (name.vehicle_system, name.industry_group, name.is_arbitrary) == (0x11, 2, True)
    assert parse_name(b"\0" * 7) is None


def test_a_long_list_and_a_cut_one() -> None:
    codes = [(3163, 3), (5464, 3), (521277, 4), (521300, 0)]
    payload = b"\x04\xff" + b"".join(
        bytes([spn & 0xFF, spn >> 8 & 0xFF, (spn >> 16) << 5 | fmi, 1]) for spn, fmi in codes
    )
    whole, cut = nodes_from_frames([*bam(0xF3, payload), *bam(0xEF, payload, lose=1)])[::-1]
    assert {(dtc.spn, dtc.fmi) for dtc in whole.dtcs} == set(codes)
    assert whole.missing == 0
    assert not cut.is_heard
    assert [(dtc.spn, dtc.fmi) for dtc in cut.dtcs] == codes[:1]
    assert cut.missing == 3


def test_11_bits_and_diagnostics_are_no_parameter_groups() -> None:
    assert nodes_from_frames([Frame(0x6CA, bytes.fromhex(NONE)), frame(0x18DAF110, "0259020000000000")]) == ()


@given(st.lists(st.tuples(st.integers(0, 0x1FFFFFFF), st.binary(max_size=8)), max_size=40))
def test_any_frames_in_no_error_out(frames: list[tuple[int, bytes]]) -> None:
    for node in nodes_from_frames([Frame(can_id, data, extended=True) for can_id, data in frames]):
        assert 0 <= node.address <= 0xFD


@pytest.fixture(scope="module")
def bus() -> Car:
    return Car(Scenario("bus", Phrase("bus", "bus"), "ebus", (make_fault("isolation"),)), 3)


async def test_a_scan_of_the_bus_names_the_units_and_their_codes(bus: Car) -> None:
    async with CarLink(bus) as link:
        report = await scan(link, simulated=True)
    assert {ecu.protocol for ecu in report.ecus} == {"j1939"}
    assert {ecu.role for ecu in report.ecus} >= {EcuRole.BMS, EcuRole.VCU, EcuRole.CHARGER, EcuRole.BRAKES}
    assert len(report.ecus) == 12
    (dtc,) = report.dtcs
    assert (dtc.ecu, dtc.fmi) == ("0xF3", 4)
    assert not any("could not be asked" in note.en for note in report.notes)
    assert {ecu.identification["make"] for ecu in report.ecus} == {"HZSIM"}
    assert Query.from_report(report).read == (), "units of J1939 never set the codes of J2012"
