"""The battery's figures: robust, by name and unit, and nothing impossible is judged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diag.battery import battery_from_series, find_battery_signals
from diag.facts import Series


def series(name: str, values: list[float], unit: str, valid: list[bool] | None = None) -> Series:
    return Series(
        name,
        unit,
        np.arange(len(values), dtype=np.int64) * 10_000_000,
        np.array(values, dtype=np.float64),
        np.ones(len(values), dtype=bool) if valid is None else np.array(valid),
    )


def pack(cells: list[float], **more: Series) -> dict[str, Series]:
    out = {f"CellVoltage_{i:03d}": series(f"CellVoltage_{i:03d}", [v] * 3, "V") for i, v in enumerate(cells, start=1)}
    return {**out, **more}


GOOD = [3.700 + 0.001 * (i % 4) for i in range(96)]


@pytest.mark.parametrize(
    ("name", "unit", "role"),
    [
        ("CellVoltage_012", "V", "cell"),
        ("BMS_Cell12_Voltage", "mV", "cell"),
        ("VCell12", "mV", "cell"),
        ("CellTemp_03", "degC", "temperature"),
        ("PackVoltage", "V", "pack_v"),
        ("HVBatt_Voltage", "V", "pack_v"),
        ("PackCurrent", "A", "current"),
        ("StateOfCharge", "%", "soc"),
        ("SOC", "%", "soc"),
        ("InsulationResistance", "kOhm", "insulation"),
    ],
)
def test_recognises_signals_by_name_and_unit(name: str, unit: str, role: str) -> None:
    found = find_battery_signals({name: unit, "PackVoltage": "V"})
    assert found is not None
    everything = {
        "cell": [entry[0] for entry in found.cells.values()],
        "temperature": list(found.temperatures.values()),
        "pack_v": [found.pack_v[0]] if found.pack_v else [],
        "current": [found.current],
        "soc": [found.soc],
        "insulation": [found.insulation[0]] if found.insulation else [],
    }
    assert name in everything[role]


@pytest.mark.parametrize(
    ("name", "unit"), [("VehicleSpeed", "km/h"), ("CellVoltage_001", "km/h"), ("SOC_Limit_State", "")]
)
def test_other_signals_are_no_battery(name: str, unit: str) -> None:
    assert find_battery_signals({name: unit}) is None
    assert battery_from_series({name: series(name, [1.0], unit)}, source="test") is None


def test_a_sentinel_is_rejected_and_listed_never_the_weakest_cell() -> None:
    cells = [*GOOD]
    cells[40] = 65.535
    state = battery_from_series(pack(cells), source="test")
    assert state is not None
    assert state.cell_v[40] is None
    assert [(item.signal, item.n) for item in state.rejected] == [("CellVoltage_041", 3)]
    assert state.weakest_cell != 41
    assert state.spread_mv == pytest.approx(3.0)


def test_not_available_is_none_and_listed() -> None:
    cells = pack(GOOD)
    cells["CellVoltage_007"] = series("CellVoltage_007", [0.0, 0.0], "V", [False, False])
    state = battery_from_series(cells, source="test")
    assert state is not None
    assert state.cell_v[6] is None
    assert state.features["cell_low_mv"] == pytest.approx(1.0, abs=1.0)


def test_a_missing_cell_number_stays_a_hole() -> None:
    cells = pack(GOOD)
    del cells["CellVoltage_010"]
    state = battery_from_series(cells, source="test")
    assert state is not None
    assert len(state.cell_v) == 96
    assert state.cell_v[9] is None
    assert state.features["sum_mismatch_v"] is None


def test_one_low_cell_stands_out() -> None:
    cells = [*GOOD]
    cells[16] -= 0.060
    state = battery_from_series(pack(cells), source="test")
    assert state is not None
    assert state.weakest_cell == 17
    assert state.features["cell_low_mv"] == pytest.approx(61.5, abs=2)
    assert state.features["cell_low_z"] is not None
    assert state.features["cell_low_z"] > 4
    assert state.features["neighbour_opposition_mv"] == 0


def test_neighbours_in_opposition_are_a_wire_and_no_weak_cell() -> None:
    cells = [*GOOD]
    cells[30] += 0.120
    cells[31] -= 0.120
    state = battery_from_series(pack(cells), source="test")
    assert state is not None
    assert state.weakest_cell is None
    assert state.features["opposition_cell"] == 31
    assert state.features["neighbour_opposition_mv"] == pytest.approx(120, abs=2)


def test_insulation_in_ohm_per_volt() -> None:
    state = battery_from_series(
        pack(
            GOOD,
            PackVoltage=series("PackVoltage", [400.0], "V"),
            InsulationResistance=series("InsulationResistance", [40.0], "kOhm"),
        ),
        source="test",
    )
    assert state is not None
    assert state.features["insulation_ohm_per_v"] == pytest.approx(100.0)
    assert state.features["sum_mismatch_v"] == pytest.approx(sum(GOOD) - 400, abs=0.01)


@given(st.lists(st.one_of(st.floats(), st.sampled_from([0.0, 65.535, -4.136, 3.7])), min_size=1, max_size=40))
def test_any_readings_give_only_possible_figures(values: list[float]) -> None:
    state = battery_from_series(
        {f"Cell{i}_Voltage": series(f"Cell{i}_Voltage", [v], "V") for i, v in enumerate(values, start=1)}, source="test"
    )
    assert state is not None
    assert all(volts is None or 0.5 <= volts <= 5.0 for volts in state.cell_v)
    judged = sum(volts is not None for volts in state.cell_v)
    assert judged + sum(item.n for item in state.rejected) == len(values)
