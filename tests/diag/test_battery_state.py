"""The battery's figures: robust, by name and unit, and nothing impossible is judged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diag.battery import battery_from_series, find_battery_signals
from diag.samples import Series


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
        ("cellvoltage12", "Volts", "cell"),
        ("Cell12_V", "volt", "cell"),
        ("HV_Voltage", "Volts", "pack_v"),
        ("RdHVltBatPckVlt", "Volts", "pack_v"),
        ("RdHVltBatPckCrnt", "Amps", "current"),
        ("HVBatBlkSOC", "percent", "soc"),
        ("BattTrac_U_Actl", "Volt", "pack_v"),
        ("BattTrac_I_Actl", "Amp", "current"),
        ("Battery_Voltage", "Unit_Volt", "pack_v"),
        ("Battery_Current", "Unit_Amper", "current"),
        ("Battery_SOC", "Unit_PerCent", "soc"),
        ("Batt_Temp_1", "Unit_DegreCelsi", "temperature"),
        ("SOC_Limit", "%", "none"),
        ("Battery_Voltage", "Unit_None", "none"),
        ("Battery_Voltage", "V", "pack_v"),
        ("BattTemp_2", "degree C", "temperature"),
        ("Riso", "kΩ", "insulation"),
        ("AuxBatteryVoltage", "V", "none"),
        ("LV_Battery_Voltage", "V", "none"),
        ("Lead_Battery_Voltage", "V", "none"),
        ("BatteryVoltage_12", "V", "none"),
        ("MaxPackVoltage", "V", "none"),
        ("BatteryPackMaxVoltage", "V", "none"),
        ("BattTargetVoltage", "V", "none"),
        ("ChargerRequestedBatteryVoltage", "V", "none"),
        ("HVBattMaxDischargeCurrent", "A", "none"),
        ("DCBatteryChargerCurrent", "A", "none"),
        ("OBC_BatteryCurrent", "A", "none"),
        ("12V_BatteryCurrent", "A", "none"),
        ("IGBTModuleTemp1", "degC", "none"),
        ("AvgCellVoltage1", "V", "none"),
        ("CellVoltageLimit1", "V", "none"),
        ("BMS_CellVoltMin1", "V", "none"),
    ],
)
def test_recognises_signals_by_name_and_unit(name: str, unit: str, role: str) -> None:
    other = {"VCell900": "V"} if role == "pack_v" else {"TractionPackVoltage": "V"}
    found = find_battery_signals({name: unit, **other})
    assert found is not None
    everything = {
        "cell": [entry[0] for entry in found.cells.values()],
        "temperature": list(found.temperatures.values()),
        "pack_v": [found.pack_v[0]] if found.pack_v else [],
        "current": [found.current],
        "soc": [found.soc],
        "insulation": [found.insulation[0]] if found.insulation else [],
    }
    assert [figure for figure, names in everything.items() if name in names] == [role] * (role != "none")


def test_the_traction_battery_is_preferred_to_a_battery_of_no_name() -> None:
    for order in (("Battery_Voltage", "HV_Batt_Voltage"), ("HV_Batt_Voltage", "LV_Battery_Voltage", "Battery_Voltage")):
        found = find_battery_signals(dict.fromkeys(order, "V"))
        assert found is not None
        assert found.pack_v == ("HV_Batt_Voltage", 1.0)


@pytest.mark.parametrize(("volts", "is_pack"), [(13.8, False), (27.9, False), (352.0, True)])
def test_a_battery_voltage_of_a_low_voltage_system_is_no_pack(volts: float, is_pack: bool) -> None:
    state = battery_from_series({"BatteryVoltage": series("BatteryVoltage", [volts], "V")}, source="test")
    assert (state is not None) is is_pack
    cells = pack(GOOD, BatteryVoltage=series("BatteryVoltage", [volts], "V"))
    both = battery_from_series(cells, source="test")
    assert both is not None
    assert (both.pack_v is not None) is is_pack
    assert any(item.signal == "BatteryVoltage" for item in both.rejected) is not is_pack


def test_cells_numbered_by_module_keep_their_order_and_their_own_numbers() -> None:
    names = [f"Module{module}_CellVoltage{cell}" for module in (1, 2, 4) for cell in range(1, 7)]
    state = battery_from_series({name: series(name, [3.7], "V") for name in reversed(names)}, source="test")
    assert state is not None
    assert len(state.cell_v) == 24
    assert [signal for signal in state.cell_signals if signal] == names
    assert state.cell_v[12:18] == (None,) * 6
    assert state.cell_label(9) == "2-3"


def test_cell_1_1_is_not_cell_11_and_a_number_claimed_twice_is_nobodys() -> None:
    found = find_battery_signals(dict.fromkeys(("Cell_1_1_Voltage", "Cell_1_2_Voltage", "Cell_11_Voltage"), "V"))
    assert found is not None
    assert [name for name, _ in found.cells.values()] == ["Cell_1_1_Voltage", "Cell_1_2_Voltage"]
    twice = {f"{place}CellVoltage{i}": "V" for place in ("Front", "Rear") for i in range(1, 5)}
    assert find_battery_signals(twice) is None
    again = find_battery_signals(dict.fromkeys(("CellVoltage_1", "CellVoltage_01", "CellVoltage_2"), "V"))
    assert again is not None
    assert [name for name, _ in again.cells.values()] == ["CellVoltage_2"]


def test_cells_that_count_from_zero_show_their_own_number() -> None:
    cells = {f"Cell{i}_Voltage": series(f"Cell{i}_Voltage", [3.7 - 0.08 * (i == 16)], "V") for i in range(96)}
    state = battery_from_series(cells, source="test")
    assert state is not None
    assert len(state.cell_v) == 96
    assert state.weakest_cell == 17
    assert state.cell_label(17) == "16"
    assert state.weakest_why is not None
    assert "Cell16_Voltage" in state.weakest_why.en
    assert "Cell16_Voltage" in state.weakest_why.zh


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
    assert state.features["cell_low_mv"] == pytest.approx(1.5, abs=1)


def test_a_weak_cell_stands_out_beside_a_wrong_sense_wire() -> None:
    cells = [*GOOD]
    cells[30] += 0.120
    cells[31] -= 0.120
    cells[59] -= 0.250
    state = battery_from_series(pack(cells), source="test")
    assert state is not None
    assert state.weakest_cell == 60
    assert state.features["cell_low_mv"] == pytest.approx(250, abs=3)


@pytest.mark.parametrize(("other", "is_pair"), [(-0.079, True), (-0.045, False), (0.080, False)])
def test_only_about_equal_and_opposite_neighbours_are_a_wire(other: float, is_pair: bool) -> None:
    cells = [*GOOD]
    cells[30] = cells[31] = 3.7015
    cells[30] += 0.080
    cells[31] += other
    state = battery_from_series(pack(cells), source="test")
    assert state is not None
    assert (state.features["opposition_cell"] is not None) is is_pair


def test_neighbours_within_the_scatter_of_a_worn_pack_are_no_wire() -> None:
    cells = [3.7 + 0.02 * (-1) ** (i // 2) for i in range(96)]
    cells[31] = 3.65
    cells[32] = 3.75
    state = battery_from_series(pack(cells), source="test")
    assert state is not None
    assert state.features["opposition_cell"] is None
    assert state.weakest_cell is None


@pytest.mark.parametrize(
    ("probes", "hottest"),
    [
        ([25, 26, 127, 25], 26),
        ([25, 26, 70, 25], 26),
        ([25, 64, 70, 25], 70),
        ([25, 24, 26, 25, 70, 72], 72),
        ([25, 70, 25], 70),
        ([25, 26, -40, 25], 26),
        ([-40, -40, -41, -40], -40),
        ([121, 124, 122, 118], 124),
        ([127], None),
    ],
)
def test_a_broken_probe_is_no_heat(probes: list[float], hottest: float | None) -> None:
    names = {f"CellTemp_{i}": series(f"CellTemp_{i}", [float(t)], "degC") for i, t in enumerate(probes, start=1)}
    state = battery_from_series(pack(GOOD, **names), source="test")
    assert state is not None
    assert state.features["temp_max_c"] == hottest


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
