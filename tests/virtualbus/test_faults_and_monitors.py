"""Broken metal, wires and programs: which codes the car's own monitors set, and that a sound car sets none."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from virtualbus.car import Car
from virtualbus.errors import Phrase
from virtualbus.faults import FAULTS, make_fault
from virtualbus.scenario import DEFAULT_CYCLE, Environment, Phase, Scenario, find_scenario
from virtualbus.vehicles import VEHICLES

CONFIRMED_NOW = 0x2F
DRIVE_AC = (Phase("drive", 24), Phase("charge-ac", 90))
DRIVE_DC = (Phase("drive", 24), Phase("charge-dc", 20))
TWO_TRIPS = (Phase("drive", 24, "motorway"), Phase("park", 45), Phase("drive", 24, "motorway"), Phase("park", 45))


@cache  # tests that change a car build their own
def car(scenario: str | Scenario, seed: int = 1, seconds: float = 2.0) -> Car:
    made = Car(find_scenario(scenario) if isinstance(scenario, str) else scenario, seed)
    for _ in range(round(seconds * 100)):
        made.tick()
    return made


def with_faults(*faults, vehicle="ev400", cycle=DEFAULT_CYCLE, now="ready", environment=None) -> Scenario:
    weather = environment or Environment()
    return Scenario("test", Phrase("test", "test"), vehicle, faults, environment=weather, cycle=cycle, now=now)


def set_codes(made: Car) -> dict[tuple[str, str], int]:
    """(ECU, code) -> the seven status bits that all ECUs support, for codes with any trace of a failure."""
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
        (
            "lost-bms",
            {(ecu, "U0111-87") for ecu in ("VCU", "INV", "OBC", "TMS", "IC")} | {("BMS", "U0293-87")},
        ),
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
        assert code.snapshots[1]


# What the car's own monitors find of each fault, and where its circumstances are: a phase of charging, heat, rain.
# None of these codes stands in the fault: it follows from the changed metal. An empty set is an answer too: such a
# fault shows only in the measured values.
FOUND = {
    "weak-cell": {"BMS P0DE6-16", "BMS P0BBD-85"},
    "low-capacity-cell": {"BMS P0DE6-16", "BMS P0BBD-85"},
    "self-discharge": set(),
    "resistive-cell": {"BMS P0B23-1B", "BMS P0DE6-16", "BMS P0BBD-85"},
    "shorted-cell": {"BMS P0DE6-16", "BMS P0C32-92"},
    "ageing": {"BMS P0A7F-92"},
    "module-joint": {"BMS P0B23-1B", "BMS P0DE6-16", "BMS P0BBD-85"},
    "sampling-line": {"BMS P0B3C-64"},
    "sampling-line-open": {"BMS P0DE6-16", "BMS P0DE7-17", "BMS P0BBD-85"},
    "probe-stuck": {"BMS P0A9C-64"},
    "probe-offset": {"BMS P0A9C-64"},
    "probe-open": {"BMS P0A9D-14"},
    "current-offset": {"BMS P0AC0-64"},
    "current-gain": set(),
    "balancing-dead": {"BMS P0DAC-93"},
    "balancing-stuck": {"BMS P0DAC-93", "BMS P0DE6-16", "BMS P0BBD-85"},
    "soc-jump": set(),
    "software-mismatch": {"VCU U0312-57"},
    "isolation": {"BMS P0AA6-1A"},
    "isolation-intermittent": {"BMS P0AA6-1A"},
    "isolation-wet": {"BMS P0AA6-1A"},
    "contactor-welded": {"BMS P0AA1-73"},
    "contactor-negative-welded": {"BMS P0AA4-73"},
    "contactor-stuck": {"BMS P0AA2-72", "INV P0DA8-62"},
    "contactor-worn": {"BMS P0AA0-92", "INV P0DA8-62"},
    "precharge-resistor": {"BMS P0C78-63"},
    "interlock-open": {"VCU P0A0A-13"},
    "interlock-intermittent": {"VCU P0A0A-13"},
    "coolant-pump": {"TMS P0CFF-71"},
    "coolant-pump-worn": {"TMS P0C4A-92"},
    "coolant-blocked": {"BMS P0C32-92"},
    "chiller": {"TMS P0C32-92"},
    "drive-pump": {"TMS P0A05-13"},
    "radiator-fan": {"OBC P0D8F-92"},
    "charger-derating": {"OBC P0D22-92"},
    "inlet-hot": {"OBC P0E5F-4B"},
    "control-pilot": {"OBC P0CF5-16"},
    "inlet-lock": {"OBC P0D94-92"},
    "dc-timeout": {"OBC U057D-87"},
    "low-battery": set(),
    "converter": {"DCDC P0A94-92"},
    "drain": {"VCU P0562-16", "VCU U3003-16", "BMS U3003-16"},
    "body-ground": {"BCM U3003-1C"},
    "lost-bms": {"VCU U0111-87", "INV U0111-87", "OBC U0111-87", "TMS U0111-87", "IC U0111-87", "BMS U0293-87"},
    "lost-ecu": {"VCU U0121-87"},
    "bus-errors": {"GW U0001-88", "VCU U0073-88"},
    "inverter-hot": {"INV P0A3C-4B"},
    "resolver": {"INV P0A40-64"},
    "winding": {"INV P0BFD-64"},
    "motor-probe": {"INV P0A2A-13"},
    "motor-bearing": {"INV P0A2F-4B"},
    "brake-switch": {"ESC C0041-64"},
    "brake-drag": set(),
    "wheel-sensor": {"ESC C003A-64"},
    "tyre-leak": {"TPM C0077-84"},
    "tyre-sensor": {"TPM C1751-31"},
    "misfire": {"ECM P0300-00"},
    "thermostat": {"ECM P0128-00"},
    "intake-leak": {"ECM P0171-00"},
}
GIVEN = {"lost-ecu": {"ecu": "ESC"}, "wheel-sensor": {"wheel": "RR"}, "tyre-sensor": {"wheel": "FR"}}
CIRCUMSTANCES = {
    "charger-derating": {"cycle": DRIVE_AC},
    "inlet-hot": {"cycle": DRIVE_AC},
    "control-pilot": {"cycle": DRIVE_AC},
    "inlet-lock": {"cycle": DRIVE_AC},
    "dc-timeout": {"cycle": DRIVE_DC},
    "drain": {"cycle": (Phase("drive", 24), Phase("park", 6000))},
    "isolation-wet": {"environment": Environment(wet=True)},
    "misfire": {"cycle": TWO_TRIPS},
    "thermostat": {"cycle": TWO_TRIPS},
    "intake-leak": {"cycle": TWO_TRIPS},
    "inverter-hot": {"cycle": (Phase("drive", 40, "motorway"),), "environment": Environment(38.0)},
    "motor-bearing": {"cycle": (Phase("drive", 60, "motorway"),)},
    "coolant-blocked": {
        "cycle": (Phase("drive", 40, "motorway"), Phase("charge-dc", 30)),
        "environment": Environment(30.0),
    },
    "radiator-fan": {"cycle": (Phase("drive", 24), Phase("charge-ac", 150)), "environment": Environment(38.0)},
    "chiller": {
        "cycle": (Phase("drive", 30, "motorway"), Phase("charge-dc", 25)),
        "environment": Environment(38.0),
    },
}
MANY_MORE = {"bus-errors", "drain", "lost-ecu"}
"""Faults that take others with them: the codes named must be among those found."""


def test_every_fault_has_an_expectation():
    assert set(FOUND) == set(FAULTS)
    assert len(FAULTS) >= 40


@pytest.mark.parametrize("name", FOUND)
def test_what_the_car_finds_of_each_fault(name):
    vehicle = "phev" if FAULTS[name].needs else "ev400"
    fault = make_fault(name, **GIVEN.get(name, {}))
    made = car.__wrapped__(with_faults(fault, vehicle=vehicle, **CIRCUMSTANCES.get(name, {})), seconds=3.0)
    found = {f"{ecu} {dtc}" for (ecu, dtc), status in set_codes(made).items() if status & 0x08}
    assert found >= FOUND[name]
    if name not in MANY_MORE:
        assert found == FOUND[name]


@pytest.mark.parametrize("name", sorted({*CIRCUMSTANCES, "default"}))
def test_the_same_circumstances_without_the_fault_set_nothing(name):
    vehicle = "phev" if name in FAULTS and FAULTS[name].needs else "ev400"
    made = car.__wrapped__(with_faults(vehicle=vehicle, **CIRCUMSTANCES.get(name, {})), seconds=3.0)
    assert set_codes(made) == {}


@pytest.mark.parametrize("vehicle", VEHICLES)
@pytest.mark.parametrize("now", ["ready", "drive", "charge-ac", "charge-dc"])
def test_sound_cars_of_every_kind_set_nothing_whatever_they_do(vehicle, now):
    made = car.__wrapped__(with_faults(vehicle=vehicle, now=now), seed=5, seconds=5.0)
    assert set_codes(made) == {}
    assert len(made.ecus) >= 10


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
        make_fault("weak-cell", cell=20, capacity=0.98, resistance=1.1, leak_ohm=1000.0),
        make_fault("sampling-line", wire=60, contact_ohm=9_000.0),
        make_fault("isolation", leak_ohm=900_000.0, from_s=10.0),
    )
    assert set_codes(car(small)) == {}


def test_weak_cell_is_lowest_at_rest_and_lower_still_under_load():
    made = car(with_faults(make_fault("weak-cell", cell=33)))
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
    sound, broken = car("healthy"), car(with_faults(make_fault("sampling-line", wire=40)))
    assert np.allclose(sound.plant.pack.terminal_v, broken.plant.pack.terminal_v, atol=1e-4)
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
    assert set_codes(car(with_faults(make_fault("software-mismatch", version="3.3", cell="NMC811")))) == {}


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
