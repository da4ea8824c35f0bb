"""The DC charging conversation: bytes of the standard, order, periods, and what happens when a message stays away."""

from __future__ import annotations

from collections import defaultdict

import can
import numpy as np
import pytest

import virtualbus
from virtualbus.car import Car
from virtualbus.errors import Phrase
from virtualbus.faults import make_fault
from virtualbus.gbt27930 import CarSays, StationSays, StationSide, VehicleSide, timeout_bits
from virtualbus.scenario import Scenario

MS = 1_000_000


def charging(*faults, vehicle: str = "ev400") -> Scenario:
    return Scenario("dc", Phrase("dc", "dc"), vehicle, faults, now="charge-dc")


def car_says(**changes) -> CarSays:
    base = {
        "vin": "LHZEV4D07RA775411", "cell_kind": 6, "capacity_ah": 150.0, "nominal_v": 360.0, "most_cell_v": 4.25,
        "most_a": 200.0, "most_v": 403.2, "energy_kwh": 54.0, "soc": 0.5, "pack_v": 365.0, "current_a": -100.0,
        "demand_v": 400.0, "demand_a": 100.0, "cells_v": tuple([3.80] * 11 + [3.83] + [3.80] * 84),
        "probes_c": (28.0, 25.0, 29.0, 30.0), "minutes_left": 40.0,
    }  # fmt: skip
    return CarSays(**(base | changes))


def test_bytes_of_the_demand_the_output_and_the_flags():
    """Standard: vectors of gbt.md section B8."""
    vehicle = VehicleSide(car_says)
    vehicle.phase = "charging"
    sent = {frame.can_id: frame.data.hex() for frame in vehicle.poll(1)}
    assert sent[0x181056F4] == "a00fb80b02", "BCL 400.0 V, 100.0 A, constant current"
    assert sent[0x181356F4] == "0b50034b010010", "BSM highest cell 12, 30 C at probe 4, 25 C at probe 2, permit"
    station = StationSide(lambda: StationSays(out_v=399.6, out_a=99.6, minutes=12))
    station.phase = "charging"
    sent = {frame.can_id: frame.data.hex() for frame in station.poll(1)}
    assert sent[0x1812F456] == "9c0fbc0b0c00fdff"
    assert timeout_bits("CCS").hex() == "f0f0f1fc"
    full = VehicleSide(lambda: car_says(is_full=True))
    full.phase = "stop"
    assert next(f.data.hex() for f in full.poll(1) if f.can_id == 0x101956F4) == "010000f0"


def talk(car: Car, seconds: float) -> list[tuple[int, int, bytes]]:
    return [
        (tick * 10, frame.can_id, frame.data)
        for tick in range(round(seconds * 100))
        for frame in car.tick()
        if frame.channel == car.bus_count - 1
    ]


def test_the_talk_goes_through_its_phases_in_order_and_current_flows():
    car = Car(charging(), 1)
    said = talk(car, 25.0)
    first = {}
    for at, can_id, _ in said:
        first.setdefault(can_id >> 16 & 0xFF, at)
    order = [0x26, 0x27, 0x01, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x10, 0x12]
    seen = [first[pf] for pf in order if pf in first]
    assert seen == sorted(seen)
    assert {0x26, 0x27, 0x01, 0x07, 0x08, 0x09, 0x0A, 0x10, 0x12, 0x13} <= first.keys()
    assert car.bms.current_a < -50
    assert car.plant.port.station_a == pytest.approx(-car.bms.current_a, rel=0.05)


def test_periods_are_the_standards():
    """Standard: gbt.md section B2."""
    times = defaultdict(list)
    for at, can_id, _ in talk(Car(charging(), 2), 20.0):
        times[can_id >> 16 & 0xFF].append(at)
    for pf, period in ((0x10, 50), (0x12, 50), (0x13, 250)):
        assert abs(float(np.median(np.diff(times[pf]))) - period) <= 10, hex(pf)


def test_transport_by_rts_cts_and_end_of_message():
    """BRM: 49 bytes in 7 packets, as in the example of gbt.md section B3."""
    control = [data.hex() for _, can_id, data in talk(Car(charging(), 1), 3.0) if can_id in (0x1CEC56F4, 0x1CECF456)]
    at = control.index("10310007ff000200")
    assert control[at + 1 : at + 3] == ["110701ffff000200", "13310007ff000200"]
    packets = [data for _, can_id, data in talk(Car(charging(), 1), 1.0) if can_id == 0x1CEB56F4][:7]
    brm = b"".join(data[1:] for data in packets)[:49]
    assert brm[:4].hex() == "01010006"
    assert brm[24:41].decode() == Car(charging(), 1).vin


def test_a_silent_station_ends_with_bem_and_without_current():
    car = Car(charging(make_fault("dc-timeout", after_s=12.0)), 1)
    said = talk(car, 30.0)
    bem = [(at, data) for at, can_id, data in said if can_id == 0x081E56F4]
    assert bem[0][1].hex() == "f0f0f1fc"
    last_ccs = max(at for at, can_id, _ in said if can_id == 0x1812F456)
    assert 1000 <= bem[0][0] - last_ccs <= 1200
    assert car.plant.port.station_a < 1.0
    assert "U057D-87" in [code.test.dtc for code in car.ecus["OBC"].memory.codes.values() if code.status & 0x08]


def test_a_full_battery_ends_with_bst_cst_and_both_sums():
    says = car_says()
    vehicle, station = VehicleSide(lambda: says), StationSide(lambda: StationSays(out_v=365.0, out_a=90.0))
    kinds = []
    for at in range(0, 12_000, 5):
        if at == 6000:
            says.is_full = True
        for _ in range(3):
            for frame in station.poll(at * MS):
                vehicle.receive(frame, at * MS)
                kinds.append(frame.can_id >> 16 & 0xFF)
            for frame in vehicle.poll(at * MS):
                station.receive(frame, at * MS)
                kinds.append(frame.can_id >> 16 & 0xFF)
    assert {0x19, 0x1A, 0x1C, 0x1D} <= set(kinds)
    assert vehicle.ended_by == "vehicle"
    assert vehicle.phase == "over"


@pytest.mark.parametrize(("pf", "missing"), [(0x27, None), (0x10, "BCL")])
def test_a_station_gives_up_when_the_car_falls_silent(pf, missing):
    says = car_says()
    vehicle, station = VehicleSide(lambda: says), StationSide(StationSays)
    for at in range(0, 20_000, 10):
        for frame in station.poll(at * MS):
            vehicle.receive(frame, at * MS)
        for frame in vehicle.poll(at * MS):
            if at < 8000 or frame.can_id >> 16 & 0xFF != pf:
                station.receive(frame, at * MS)
    assert (station.missing or None) == missing


def test_the_charging_bus_is_a_bus_of_its_own():
    with virtualbus.running(charging(), seed=1) as car:
        assert len(car.channels) == 2
        with can.Bus(interface="virtual", channel=car.channels[1]) as bus:
            seen = {bus.recv(1.0).arbitration_id for _ in range(40)}
    assert seen <= {
        0x1826F456, 0x182756F4, 0x1801F456, 0x1CEC56F4, 0x1CECF456, 0x1CEB56F4, 0x1807F456, 0x1808F456, 0x100956F4,
        0x100AF456, 0x181056F4, 0x1812F456, 0x181356F4,
    }  # fmt: skip
