"""The city bus on J1939: can-j1939 as a tester, cantools on the frames, layouts of the standard by hand."""

from __future__ import annotations

import time

import can
import cantools
import j1939
import numpy as np
import pytest

import virtualbus
from dbc.files import EBUS
from virtualbus.car import Car
from virtualbus.errors import Phrase
from virtualbus.faults import make_fault
from virtualbus.j1939 import spn_from_dtc
from virtualbus.scenario import Scenario
from virtualbus.transport import Frame

MS = 1_000_000


def bus_scenario(*faults) -> Scenario:
    return Scenario("bus", Phrase("bus", "bus"), "ebus", faults)


@pytest.fixture(scope="module")
def broken() -> Car:
    return Car(bus_scenario(make_fault("isolation"), make_fault("coolant-pump")), 3)


def talk(car: Car, *frames: Frame, seconds: float = 2.0) -> list[tuple[int, Frame]]:
    """Everything that the car's nodes say, with its time in ms."""
    out, now = [], 0
    car._made = None  # the nodes appear anew
    car._busy = dict(car._transports)
    car.answers(now)
    for frame in frames:
        car.receive(frame, now)
    while now < seconds * 1000 * MS:
        out += [(now // MS, frame) for frame in car.answers(now)]
        now += MS
    return out


def request(pgn: int, to: int = 0xFF, source: int = 0xF9) -> Frame:
    return Frame(0x18EA0000 | to << 8 | source, pgn.to_bytes(3, "little"), extended=True)


def test_standard_groups_have_the_standards_layout():
    """Standard: vectors of j1939.md section 9."""
    car = Car(bus_scenario(), 1)
    seen = {}
    for _ in range(120):
        for frame in car.tick():
            assert frame.extended
            seen[frame.can_id >> 8 & 0xFFFF] = frame.data
    assert int.from_bytes(seen[0xF090][4:6], "little") * 0.05 == pytest.approx(car.bms.pack_v, abs=2.0)
    assert int.from_bytes(seen[0xF090][6:8], "little") * 0.05 - 1600 == pytest.approx(car.bms.current_a, abs=8.0)
    assert int.from_bytes(seen[0xF091][:2], "little") / 640 == pytest.approx(car.bms.soc * 100, abs=0.1)
    assert int.from_bytes(seen[0xFEF1][1:3], "little") == 0
    assert int.from_bytes(seen[0xFEC1][:4], "little") * 0.005 == pytest.approx(car.plant.odometer_km, abs=0.1)
    assert seen[0xFEF1][3:] == b"\xcf\xff\xff\xff\xff" or seen[0xFEF1][0] & 0xF3 == 0xF3, "unused bits are ones"


def test_cantools_reads_cells_and_probes_as_they_were_sampled():
    car = Car(bus_scenario(), 1)
    database = cantools.database.load_file(EBUS, strict=True)
    cells = {}
    for _ in range(200):
        for frame in car.tick():
            message = database.get_message_by_frame_id(frame.can_id)
            values = message.decode(frame.data, decode_choices=False)
            cells |= {name: value for name, value in values.items() if name.startswith("CellVoltage_")}
    assert len(cells) == 180
    truth = car.plant.pack.terminal_v
    assert max(abs(cells[f"CellVoltage_{at + 1:03d}"] - truth[at]) for at in range(180)) < 0.008


def test_dm1_every_second_with_lamps_and_codes(broken):
    dm1 = [(at, f.data) for at, f in talk(broken, seconds=3.5) if f.can_id == 0x18FECAF3]
    assert len(dm1) in (3, 4)
    assert set(np.diff([at for at, _ in dm1])) <= {1000, 1001}
    spn, fmi = spn_from_dtc("P0AA6-1A")
    data = dm1[0][1]
    assert data[2] | data[3] << 8 | (data[4] >> 5) << 16 == spn
    assert data[4] & 0x1F == fmi == 4
    assert data[0] >> 6 == 1, "MIL"
    assert data[0] >> 4 & 3 == 1, "red stop lamp: insulation"
    sound = [f.data.hex() for _, f in talk(broken) if f.can_id == 0x18FECA0B]
    assert sound[0] == "00ff00000000ffff"


def test_request_to_all_is_answered_by_bam_with_50_ms_between():
    car = Car(bus_scenario(), 2)
    said = [(at, f) for at, f in talk(car, request(0xFEEC)) if f.can_id & 0xFF == 0x27 and f.can_id >> 24 == 0x1C]
    assert said[0][1].can_id == 0x1CECFF27
    assert said[0][1].data.hex() == "20120003ffecfe00"
    assert [f.data[0] for _, f in said[1:]] == [1, 2, 3]
    assert all(50 <= gap <= 200 for gap in np.diff([at for at, _ in said]))
    assert b"".join(f.data[1:] for _, f in said[1:])[:18] == car.vin.encode() + b"*"


def test_what_a_node_does_not_have_is_refused_to_one_and_silent_to_all():
    car = Car(bus_scenario(), 2)
    refused = [f for _, f in talk(car, request(0xFEE5, to=0xF3)) if f.can_id >> 16 & 0xFF == 0xE8]
    assert [(f.can_id, f.data.hex()) for f in refused] == [(0x18E8FFF3, "01fffffff9e5fe00")]
    assert not [f for _, f in talk(car, request(0xFEE5)) if f.can_id >> 16 & 0xFF == 0xE8]


def test_can_j1939_reads_codes_and_vin():
    """can-j1939 does the transport protocol and takes DM1 apart."""
    with virtualbus.running(bus_scenario(make_fault("isolation"), make_fault("coolant-pump")), seed=3) as car:
        unit = j1939.ElectronicControlUnit()
        unit.connect(interface="virtual", channel=car.channel)
        name = j1939.Name(
            arbitrary_address_capable=1, industry_group=0, vehicle_system_instance=0, vehicle_system=0, function=0xFF,
            function_instance=0, ecu_instance=0, manufacturer_code=0x666, identity_number=7,
        )  # fmt: skip
        tester = j1939.ControllerApplication(name, 0xF9)
        seen, vins = {}, {}

        def take(priority, pgn, sa, timestamp, data):
            if pgn == 0xFECA:
                seen[sa] = bytes(data)
            if pgn == 0xFEEC:
                vins[sa] = bytes(data)

        unit.subscribe(take)
        unit.add_ca(controller_application=tester)
        tester.start()
        try:
            end = time.monotonic() + 6
            asked = 0.0
            while time.monotonic() < end and not ({0x27, 0xF3} <= vins.keys() and len(seen) == 12):
                if tester.state == j1939.ControllerApplication.State.NORMAL and time.monotonic() - asked > 2:
                    asked = time.monotonic()
                    tester.send_request(0, 0xFEEC, 0x27)
                    tester.send_request(0, 0xFEEC, 0xF3)
                time.sleep(0.05)
        finally:
            tester.stop()
            unit.disconnect()
        assert set(seen) == {0x27, 0xEF, 0xF3, 0x49, 0x1E, 0x19, 0x0B, 0x13, 0x21, 0x17, 0x33, 0x25}
        assert vins == {0x27: car.car.vin.encode() + b"*", 0xF3: car.car.vin.encode() + b"*"}
        numbers = {sa: data[2] | data[3] << 8 | (data[4] >> 5) << 16 for sa, data in seen.items()}
        assert numbers[0xF3] == spn_from_dtc("P0AA6-1A")[0]
        assert numbers[0x19] == spn_from_dtc("P0CFF-71")[0]


def test_a_lost_battery_is_reported_by_its_address():
    car = Car(bus_scenario(make_fault("lost-bms")), 1)
    dm1 = next(f.data for _, f in talk(car) if f.can_id == 0x18FECA27)
    assert (dm1[2] | dm1[3] << 8 | (dm1[4] >> 5) << 16, dm1[4] & 0x1F) == (2000 + 0xF3, 9)
    assert not [f for _, f in talk(car) if f.can_id & 0xFF == 0xF3]


def test_no_two_codes_share_a_number():
    car = Car(bus_scenario(), 1)
    for ecu in car.ecus.values():
        numbers = [spn_from_dtc(dtc) for dtc in ecu.memory.codes]
        assert len(set(numbers)) == len(numbers), ecu.name


def test_frames_are_29_bits_on_the_bus():
    with (
        virtualbus.running(bus_scenario(), seed=1) as car,
        can.Bus(interface="virtual", channel=car.channel) as bus,
    ):
        assert all(bus.recv(1.0).is_extended_id for _ in range(50))
