"""The battery doctor against packs whose truth is known: the simulator's physics, and readings with noise."""

from __future__ import annotations

import json

import numpy as np
import pytest

from diag.batterydoctor import study_battery
from diag.batteryreport import battery_report
from diag.cellmodel import fit_cells
from diag.celltypes import cell_types, fit_cell_type
from diag.facts import Severity
from diag.samples import Series
from virtualbus.chemistry import CELL_TYPES
from virtualbus.pack import CellSpread, Pack

CELLS, BAD = 24, 10
PER_MODULE = 6


def readings(
    cell="NMC811",
    *,
    seed=1,
    minutes=15.0,
    soc=0.6,
    change=None,
    current=None,
    sign=1.0,
    kelvin=None,
    names="CellVoltage_{:03d}",
):
    """A pack's readings at 1 Hz: a drive of steps, or the current that ``current(second)`` gives."""
    rng = np.random.default_rng(seed)
    spread = CellSpread.even(CELLS, soc)
    spread.capacity = 1 + 0.01 * rng.standard_normal(CELLS)
    spread.resistance = 1 + 0.01 * rng.standard_normal(CELLS)
    if change is not None:
        change(spread)
    pack = Pack(CELL_TYPES[cell], spread, PER_MODULE, 22.0)
    rows = round(minutes * 60)
    steps = np.repeat(rng.uniform(-60, 160, rows // 15 + 1), 15)[:rows]
    amperes = np.array([current(second) for second in range(rows)]) if current else steps
    volts, warmth, charge = np.empty((rows, CELLS)), np.empty((rows, pack.modules)), np.empty(rows)
    for row, ampere in enumerate(amperes):
        pack.step(float(ampere), 1.0, 20.0)
        volts[row], warmth[row], charge[row] = pack.terminal_v, pack.temperature_c, pack.soc.mean()
    if kelvin is not None:
        kelvin(warmth)
    t_ns = np.arange(rows, dtype=np.int64) * 1_000_000_000
    sure = np.ones(rows, dtype=np.bool_)
    seen = np.rint((volts + 0.001 * rng.standard_normal(volts.shape)) * 1000) / 1000
    series = {}

    def add(name, unit, values):
        series[name] = Series(name, unit, t_ns, np.asarray(values, dtype=np.float64), sure)

    for number in range(CELLS):
        add(names.format(number + 1), "V", seen[:, number])
    for number in range(pack.modules):
        add(f"CellTemp_{number + 1:02d}", "degC", warmth[:, number] + 0.3 * rng.standard_normal(rows))
    add("PackCurrent", "A", sign * (amperes + 0.3 + 0.1 * rng.standard_normal(rows)))
    add("PackVoltage", "V", seen.sum(axis=1))
    add("StateOfCharge", "%", np.rint((charge * 100 + 0.7) * 2) / 2)
    return series, pack


def joint(spread):
    spread.joint_ohm[BAD - 1] = 0.0005


def resistive(spread):
    spread.resistance[BAD - 1] = 1.5


def small(spread):
    spread.capacity[BAD - 1] = 0.9


def emptied(spread):
    spread.soc[BAD - 1] -= 0.06


def codes(study):
    return [finding.code for finding in study.findings]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (joint, "battery.module-joint"),
        (resistive, "battery.cell-resistive"),
        (small, "battery.cell-capacity"),
        (emptied, "battery.cell-charge-low"),
    ],
)
@pytest.mark.parametrize("cell", ["NMC811", "NMC532"])
def test_each_cause_is_told_from_the_others(change, code, cell):
    study = study_battery(readings(cell, change=change, minutes=25)[0])
    assert codes(study) == [code]
    assert {cause.cell for cause in study.causes} == {BAD}
    finding = study.findings[0]
    assert finding.safety, "high-voltage work needs its steps"
    assert str(BAD) in finding.title.en
    assert str(BAD) in finding.title.zh


@pytest.mark.parametrize("cell", ["NMC811", "NMC532", "LFP135"])
def test_a_sound_pack_has_no_findings(cell):
    study = study_battery(readings(cell, seed=5, minutes=20)[0])
    assert codes(study) == []
    assert study.to_json()["chemistry"] == ("lfp" if cell == "LFP135" else "nmc")


def test_resistances_are_those_that_were_built_in():
    series, pack = readings(change=joint, minutes=25)
    study = study_battery(series)
    model = study.model
    assert model.ohmic[BAD - 1] == pytest.approx(0.0005, rel=0.08)
    truth = float(np.median(pack.ohmic_ohm)) + CELL_TYPES["NMC811"].polarisation_ohm
    assert model.pack_resistance == pytest.approx(truth, rel=0.12)
    assert model.capacity[BAD - 1] == pytest.approx(0.0, abs=0.05)


def test_the_direction_of_the_current_is_learned():
    ours, theirs = (study_battery(readings(change=joint, sign=sign)[0]) for sign in (1.0, -1.0))
    assert theirs.pack.is_flipped
    assert not ours.pack.is_flipped
    assert ours.causes[0].value == pytest.approx(theirs.causes[0].value, rel=1e-6)


def test_without_current_resistance_is_not_visible_and_said_so():
    study = study_battery(readings(current=lambda _: 0.0, change=resistive)[0])
    assert codes(study) == []
    assert {item.what for item in study.unseen} == {"resistance", "capacity"}
    assert all(item.why.zh and item.remedy.zh for item in study.unseen)


def test_lfp_on_its_plateau_does_not_show_capacity():
    study = study_battery(readings("LFP135", change=small, minutes=20)[0])
    assert codes(study) == []
    unseen = next(item for item in study.unseen if item.what == "capacity")
    assert "flat" in unseen.why.en


def test_half_a_minute_is_needed():
    study = study_battery(readings(minutes=0.4)[0])
    assert study.model is None
    assert [item.what for item in study.unseen] == ["resistance", "capacity"]


def test_a_sense_wire_is_no_low_cell():
    series, _ = readings(minutes=20)
    for number, shift in ((BAD, -0.08), (BAD + 1, 0.08)):
        name = f"CellVoltage_{number:03d}"
        old = series[name]
        series[name] = Series(name, "V", old.t_ns, old.values + shift, old.valid)
    report = battery_report(series, source="test")
    assert [finding.code for finding in report.findings] == ["battery.sampling-line"]
    assert report.study.causes == ()


def test_a_short_is_told_by_the_heat_beside_the_lost_charge():
    def warm(table):
        table[:, (BAD - 1) // PER_MODULE] += np.linspace(3.0, 9.0, len(table))

    study = study_battery(readings(change=emptied, kelvin=warm)[0])
    assert codes(study)[0] == "battery.cell-short"
    assert study.findings[0].severity is Severity.STOP
    assert "thermal.probe-offset" not in codes(study)


def test_probes_that_stand_still_or_beside_the_others():
    def stuck(table):
        table += np.linspace(0.0, 6.0, len(table))[:, None]

    series, _ = readings(kelvin=stuck, minutes=12)
    held = series["CellTemp_02"]
    series["CellTemp_02"] = Series(held.name, "degC", held.t_ns, np.full_like(held.values, 24.0), held.valid)
    assert codes(study_battery(series)) == ["thermal.probe-stuck"]

    def beside(table):
        table[:, 2] -= 8.0

    assert codes(study_battery(readings(kelvin=beside, minutes=12)[0])) == ["thermal.probe-offset"]


def test_a_kelvin_per_second_is_a_runaway_and_a_jump_is_not():
    def runaway(table):
        table[600:640, 1] += np.linspace(0.0, 60.0, 40)
        table[640:, 1] += 60.0

    study = study_battery(readings(kelvin=runaway)[0])
    assert codes(study)[0] == "thermal.runaway"
    assert study.findings[0].severity is Severity.STOP

    def jump(table):
        table[600:, 1] += 30.0

    assert "thermal.runaway" not in codes(study_battery(readings(kelvin=jump)[0]))


def test_a_jump_of_the_charge_counter():
    series, _ = readings()
    old = series["StateOfCharge"]
    moved = np.where(np.arange(len(old.values)) > 400, old.values - 7.0, old.values)
    series["StateOfCharge"] = Series(old.name, "%", old.t_ns, moved, old.valid)
    assert "battery.soc-jump" in codes(study_battery(series))


def test_cells_that_do_not_add_up_are_a_finding_about_the_data():
    series, _ = readings(minutes=10)
    old = series["PackVoltage"]
    for share, expected in ((1.002, []), (1.008, ["data.cell-sum"]), (0.97, ["data.cell-sum"])):
        series["PackVoltage"] = Series(old.name, "V", old.t_ns, old.values * share, old.valid)
        report = battery_report(series, source="test")
        assert [finding.code for finding in report.findings] == expected


def charge_between_rests(seed, health=1.0, cell="NMC811"):
    def aged(spread):
        spread.capacity *= health

    rest, up = 2400, round(3600 * 0.6 * health * CELL_TYPES[cell].capacity_ah / 60)
    return readings(
        cell,
        seed=seed,
        soc=0.2,
        change=aged,
        minutes=(2 * rest + up) / 60,
        current=lambda second: -60.0 if rest <= second < rest + up else 0.0,
    )


@pytest.mark.parametrize("health", [1.0, 0.8])
def test_capacity_between_two_rests(health):
    series, pack = charge_between_rests(3, health)
    study = study_battery(series, rated_ah=150.0)
    best = study.health.best
    assert best.method == "rest-to-rest"
    assert best.interval_ah[0] <= float(np.median(pack.capacity_ah)) <= best.interval_ah[1]
    assert best.percent == pytest.approx(100 * health, abs=5)
    assert study.health.to_json()["interval"] == [round(value, 1) for value in best.interval]


@pytest.mark.parametrize("health", [1.0, 0.75])
@pytest.mark.parametrize("beside_v", [0.0, 0.02])
def test_the_shape_of_the_curve_tells_capacity_wherever_it_lies(health, beside_v):
    series, pack = charge_between_rests(6, health)
    for name, item in list(series.items()):
        if item.unit == "V":
            cells = len(pack.capacity_ah) if name == "PackVoltage" else 1
            series[name] = Series(name, "V", item.t_ns, item.values + beside_v * cells, item.valid)
    kind = cell_types()["nmc811"]
    methods = {item.method: item for item in study_battery(series, kind=kind, rated_ah=150.0).health.methods}
    low, high = methods["incremental"].interval_ah
    assert low <= float(np.median(pack.capacity_ah)) <= high
    assert high - low < 0.35 * 150


def test_resistance_is_a_method_of_its_own_and_never_the_state_of_health():
    series, _ = readings(change=None, minutes=20)
    health = study_battery(series, rated_mohm=1.0).health
    (own,) = [item for item in health.methods if item.method == "resistance"]
    pack_mohm = study_battery(series).model.pack_resistance * 1000
    assert own.interval[0] < 100 * (2 - pack_mohm) + 15
    assert own.ah is None
    assert health.to_json() is None
    for name, item in list(series.items()):
        if item.unit == "degC":
            series[name] = Series(name, "degC", item.t_ns, item.values - 40, item.valid)
    cold = study_battery(series, rated_mohm=1.0).health
    assert "resistance" not in [item.method for item in cold.methods]


def test_not_enough_data_is_said_with_what_would_be_needed():
    study = study_battery(readings(minutes=5)[0], rated_ah=150.0)
    assert study.health.to_json() is None
    assert "20 to 80" in study.health.why_not.en
    assert "20 %" in study.health.why_not.zh


def test_capacity_without_the_rated_one_is_in_ampere_hours():
    study = study_battery(charge_between_rests(4)[0])
    assert study.health.best is None
    assert study.health.methods[0].ah == pytest.approx(150, rel=0.06)
    assert "--rated-ah" in study.health.why_not.en


def test_what_the_car_says_is_its_own_method():
    series, _ = readings(minutes=3)
    t_ns, sure = series["PackCurrent"].t_ns, series["PackCurrent"].valid
    series["BMS_StateOfHealth"] = Series("BMS_StateOfHealth", "%", t_ns, np.full(len(t_ns), 87.0), sure)
    assert study_battery(series).health.to_json() == {"percent": 87.0, "interval": None, "method": "car-says"}


def test_gaps_and_sentinels_do_not_move_the_answer():
    series, _ = readings(change=joint, minutes=25)
    rng = np.random.default_rng(0)
    for name, item in list(series.items()):
        values, valid = item.values.copy(), item.valid.copy()
        values[rng.random(len(values)) < 0.02] = 65.535 if item.unit == "V" else np.nan
        valid &= np.isfinite(values) & (rng.random(len(values)) > 0.2)
        series[name] = Series(name, item.unit, item.t_ns, np.nan_to_num(values), valid)
    report = battery_report(series, source="test")
    assert [finding.code for finding in report.findings] == ["battery.module-joint"]
    assert report.state.rejected, "what was not believed is listed"
    json.dumps(report.to_json(), allow_nan=False)


def test_cell_types_are_told_by_their_curve():
    taken = np.linspace(0, 60, 400)
    for name in ("nmc532", "nmc811", "lfp"):
        kind = cell_types()[name]
        soc = 0.9 - taken / 100
        found = fit_cell_type(kind.ocv(soc), taken, np.rint(soc * 100) / 100 + 0.01)
        assert found.kind.name == name
        assert found.per_ah == pytest.approx(0.01, rel=0.02)
    assert fit_cell_type(np.full(50, 12.6), np.zeros(50), np.full(50, np.nan)) is None


def test_a_pack_of_three_cells_or_without_current_is_not_fitted():
    series, _ = readings(minutes=5)
    few = {name: item for name, item in series.items() if not name.startswith("CellVoltage") or name[-2:] < "04"}
    study = study_battery(few)
    assert study.model is None
    without = {name: item for name, item in series.items() if name != "PackCurrent"}
    assert study_battery(without).model is None
    assert fit_cells(study_battery(series).pack) is not None


def test_nothing_is_a_battery_without_cells():
    sure = np.ones(3, dtype=np.bool_)
    speed = Series("VehicleSpeed", "km/h", np.arange(3, dtype=np.int64), np.zeros(3), sure)
    assert study_battery({"VehicleSpeed": speed}) is None
    assert battery_report({"VehicleSpeed": speed}, source="test") is None
