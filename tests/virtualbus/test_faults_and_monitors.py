"""Broken metal, wires and programs: which codes the car's own monitors set, and that a sound car sets none."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from virtualbus.car import Car
from virtualbus.errors import Phrase
from virtualbus.faults import BmsSoftwareMismatch, IsolationLeak, SenseWire, WeakCell
from virtualbus.scenario import Scenario, find_scenario

CONFIRMED_NOW = 0x2F


@cache  # tests that change a car build their own
def car(scenario: str | Scenario, seed: int = 1, seconds: float = 2.0) -> Car:
    made = Car(find_scenario(scenario) if isinstance(scenario, str) else scenario, seed)
    for _ in range(round(seconds * 100)):
        made.tick()
    return made


def with_faults(*faults) -> Scenario:
    return Scenario("test", Phrase("test", "test"), "ev400", faults)


def set_codes(made: Car) -> dict[tuple[str, str], int]:
    """(ECU, code) -> the seven status bits that all four ECUs support, for codes with any trace of a failure."""
    return {
        (ecu.name, code.test.dtc): code.status & 0x7F
        for ecu in made.ecus.values()
        for code in ecu.memory.codes.values()
        if code.status & 0x2F
    }


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        ("weak-cell", {("BMS", "P0DE6-16"), ("BMS", "P0BBD-85")}),
        ("sampling-line", {("BMS", "P0B3C-64")}),
        ("isolation", {("BMS", "P0AA6-1A")}),
        ("lost-bms", {("VCU", "U0111-87"), ("INV", "U0111-87"), ("OBC", "U0111-87"), ("BMS", "U0293-87")}),
        ("software-mismatch", {("VCU", "U0312-57")}),
    ],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_fault_sets_its_codes_confirmed_with_freeze_frame(scenario, expected, seed):
    made = car(scenario, seed)
    assert set_codes(made) == dict.fromkeys(expected, CONFIRMED_NOW)
    for ecu, dtc in expected:
        code = made.ecus[ecu].memory.codes[dtc]
        assert code.occurrences >= 1
        assert len(code.snapshots[1]) >= 4


def test_sound_cars_set_nothing():
    for seed in range(1, 21):
        made = car.__wrapped__("healthy", seed, seconds=3.0)
        assert set_codes(made) == {}, f"seed {seed}"
        tested = [code for ecu in made.ecus.values() for code in ecu.memory.codes.values() if not code.status & 0x50]
        assert len(tested) >= 20, "most tests really ran"


def test_a_test_without_its_conditions_stays_not_completed():
    made = car("healthy")
    mains = made.ecus["OBC"].memory.codes["P0D27-16"]
    assert mains.status == 0x50


def test_tolerances_are_no_faults_and_thresholds_are_the_metals():
    """The same monitors stay silent for small deviations of the same kind."""
    small = with_faults(
        WeakCell(cell=20, capacity=0.98, resistance=1.1, leak_ohm=1000.0),
        SenseWire(wire=60, contact_ohm=9_000.0),
        IsolationLeak(leak_ohm=900_000.0, from_s=10.0),
    )
    assert set_codes(car(small)) == {}


def test_weak_cell_is_lowest_at_rest_and_lower_still_under_load():
    made = car(with_faults(WeakCell(cell=33)))
    pack = made.plant.pack

    def below_median() -> float:
        return float(np.median(pack.terminal_v) - pack.terminal_v[32])

    assert int(pack.terminal_v.argmin()) == 32
    at_rest = below_median()
    for _ in range(20):
        pack.step(150.0, 0.5, 20.0)
    assert int(pack.terminal_v.argmin()) == 32
    assert below_median() > at_rest + 0.05


def test_sampling_line_moves_what_the_bms_sees_and_not_the_cells():
    sound, broken = car("healthy"), car(with_faults(SenseWire(wire=40)))
    assert np.array_equal(sound.plant.pack.terminal_v, broken.plant.pack.terminal_v)
    moved = broken.bms.cells_v - sound.bms.cells_v
    assert moved[39] < -0.06
    assert moved[40] > 0.06
    assert abs(moved[39] + moved[40]) < 0.004
    assert np.abs(np.delete(moved, [39, 40])).max() < 0.001


def test_lost_bms_is_silent_opens_its_contactors_and_the_car_rolls_out():
    made = Car(find_scenario("lost-bms"), 1)
    ids = {frame.can_id for _ in range(120) for frame in made.tick()}
    assert not {0x180, 0x184, 0x188, 0x1A0, 0x1A4} & ids
    assert {0x100, 0x110, 0x120, 0x124, 0x200} <= ids
    assert made.bms.contactors.name == "OPEN"
    assert made.plant.link_v < 1.0
    assert made.plant.speed_kmh == 0.0
    assert made.plant.low_v < 13.0, "no DC/DC converter without contactors"


def test_lost_bms_freeze_frame_has_the_speed_and_no_invented_pack_values():
    code = car("lost-bms").ecus["VCU"].memory.codes["U0111-87"]
    kept = dict(code.snapshots[1])
    assert kept[0xF40D][0] > 0
    assert 0xF45B not in kept
    assert 0xF49A not in kept
    assert kept[0x0140][:3] == b"\xff\xff\xff"


def test_foreign_bms_program_misjudges_the_charge():
    made = car("software-mismatch")
    assert abs(made.bms.soc - float(made.plant.pack.soc.mean())) > 0.03
    sound = car("healthy")
    assert abs(sound.bms.soc - float(sound.plant.pack.soc.mean())) < 0.01
    assert made.ecus["BMS"].identification[0xF189] == b"2.7"


def test_a_compatible_bms_program_is_accepted():
    assert set_codes(car(with_faults(BmsSoftwareMismatch(version="3.3", cell="NMC811")))) == {}


def test_isolation_freeze_frame_is_of_the_moment_of_the_fault():
    made = car("isolation")
    kept = dict(made.bms.memory.codes["P0AA6-1A"].snapshots[1])
    ohm = int.from_bytes(kept[0x0111], "big") * 1000
    volts = int.from_bytes(kept[0xF49A][2:4], "big") / 64
    assert ohm < 100 * volts
    assert ohm > made.bms.insulation_ohm, "it was still growing then"


def test_nothing_on_the_bus_or_in_the_answers_names_the_scenario():
    for name in ("weak-cell", "isolation"):
        made = car(name)
        seen = b"".join(frame.data for _ in range(200) for frame in made.tick())
        for ecu in made.ecus.values():
            seen += b"".join(ecu.identification.values()) + b"".join(ecu.vehicle_info.values())
        assert name.encode() not in seen
        assert b"fault" not in seen.lower()
    plain = car("healthy").ecus
    for name, ecu in car("weak-cell").ecus.items():
        assert ecu.identification == plain[name].identification


def test_missing_inverter_is_noticed_by_the_vcu():
    scenario = find_scenario("healthy")
    made = Car(scenario, 1)
    made.plant.design.off_the_bus_s["INV"] = made.plant.t_s
    for _ in range(300):
        made.tick()
    assert made.ecus["VCU"].memory.codes["U0110-87"].status & 0x7F == CONFIRMED_NOW


def test_open_interlock_reaches_the_right_monitor():
    made = Car(find_scenario("healthy"), 1)
    made.plant.interlock_closed = False
    for _ in range(400):
        made.tick()
    assert set(set_codes(made)) == {("VCU", "P0A0A-13")}


def test_hot_pack_is_a_code_of_the_bms():
    made = Car(find_scenario("healthy"), 1)
    made.plant.pack.temperature_c[5] = 70.0
    for _ in range(700):
        made.tick()
    assert ("BMS", "P0A7E-4B") in set_codes(made)
