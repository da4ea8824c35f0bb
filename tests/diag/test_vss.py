"""Names of the Vehicle Signal Specification: the specification's units and signs, and nothing that is not known."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from dbc.database import load, load_bytes
from dbc.files import EBUS, EV400, EV800, LFP104, PHEV, ZEV
from diag.facts import BatteryState, Dtc, DtcKind, EcuRole
from diag.vehiclereport import Ecu, LinkInfo, Vehicle, VehicleReport
from diag.vss import VSS_VERSION, vss_from_battery, vss_from_report, vss_names
from huizhen.cli import main

ROOT = Path(__file__).parents[2]
BATTERY = "Vehicle.Powertrain.TractionBattery"
OWN = (EBUS, EV400, *EV800, LFP104, PHEV, ZEV)
UNITS = {  # ours -> the specification's, with the factor between them where the signs agree
    ("km/h", "km/h"): 1,
    ("km", "m"): 1000,
    ("degC", "Celsius"): 1,
    ("V", "V"): 1,
    ("A", "A"): 1,
    ("kW", "W"): 1000,
    ("kWh", "kWh"): 1,
    ("%", "percent"): 1,
    ("rpm", "rpm"): 1,
    ("Nm", "Nm"): 1,
    ("g/s", "g/s"): 1,
    ("kPa", "kPa"): 1,
}


def report(**parts) -> VehicleReport:
    link = LinkInfo("virtual", "x", simulated=True)
    return VehicleReport(0, 1.0, complete=True, simulated=True, link=link, vehicle=Vehicle(), **parts)


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.stem)
def test_every_scale_follows_from_the_units(path: Path) -> None:
    database = load(path)
    names = vss_names(database)
    for full, name in names.items():
        message, _, signal = full.partition(".")
        unit = next(one.unit for one in database.by_name[message].signals if one.name == signal)
        assert abs(name.scale) == UNITS[unit, name.unit], full
    assert len({name.path for name in names.values()}) == len(names)
    assert {name.path for name in names.values() if name.scale < 0} <= {
        f"{BATTERY}.CurrentCurrent",
        f"{BATTERY}.CurrentPower",
    }


def test_a_current_into_the_battery_is_positive_there() -> None:
    name = vss_names(load(EV400))["BMS_Pack.PackCurrent"]
    assert name.path == f"{BATTERY}.CurrentCurrent"
    assert name.value(12.5) == -12.5  # ours: positive is discharge
    assert vss_names(load(EV400))["VCU_Odometer.Odometer"].value(123.4) == 123_400


def test_of_foreign_databases_only_charge_and_voltage_are_named() -> None:
    text = b"""VERSION ""
BU_: A
BO_ 256 Pack: 8 A
 SG_ HVBatt_Voltage : 0|16@1+ (100,0) [0|0] "mV" A
 SG_ HVBatt_Current : 16|16@1- (0.1,0) [0|0] "A" A
 SG_ HVBatt_SOC : 32|8@1+ (0.5,0) [0|0] "%" A
 SG_ VehicleSpeed : 40|8@1+ (1,0) [0|0] "mph" A
"""
    names = vss_names(load_bytes(text, "maker.dbc"))
    assert {full: name.path for full, name in names.items()} == {
        "Pack.HVBatt_Voltage": f"{BATTERY}.CurrentVoltage",
        "Pack.HVBatt_SOC": f"{BATTERY}.StateOfCharge.Current",
    }
    assert names["Pack.HVBatt_Voltage"].value(380_000) == 380


def test_cells_count_from_zero_and_what_is_unknown_is_left_out() -> None:
    values = vss_from_battery(
        BatteryState(
            cell_v=(3.7, None, 3.6, 3.8), temperatures_c=(20.0, None, 25.0), current_a=10.0, source="broadcast:maker"
        )
    )
    assert values == {
        f"{BATTERY}.CellVoltage.Min": 3.6,
        f"{BATTERY}.CellVoltage.IdMin": 2,
        f"{BATTERY}.CellVoltage.Max": 3.8,
        f"{BATTERY}.CellVoltage.IdMax": 3,
        f"{BATTERY}.CellVoltage.CellVoltages": [3.7, None, 3.6, 3.8],
        f"{BATTERY}.Temperature.Min": 20.0,
        f"{BATTERY}.Temperature.Max": 25.0,
        f"{BATTERY}.Temperature.Average": 22.5,
    }
    ours = vss_from_battery(BatteryState(cell_v=(), current_a=10.0, source="broadcast:huizhen_ev400"))
    assert ours == {f"{BATTERY}.CurrentCurrent": -10.0}
    both = vss_from_battery(BatteryState(cell_v=(), current_a=10.0, source="broadcast:huizhen_ev400,maker"))
    assert both == {}


def test_codes_are_those_of_units_that_were_read() -> None:
    bms = Ecu("0x7EC", "0x7E4", role=EcuRole.BMS)
    dtcs = (
        Dtc("P0DE6", b"", "0x7EC", "16", kind=(DtcKind.STORED,)),
        Dtc("P0DE6", b"", "0x7EC", "17", kind=(DtcKind.STORED,)),
        Dtc("U0111", b"", "0x7E8", "87", kind=(DtcKind.STORED,)),
        Dtc("SPN 5464 FMI 3", b"", "0xF3", spn=5464, fmi=3),
    )
    values = vss_from_report(report(ecus=(bms,), dtcs=dtcs))
    assert values["Vehicle.Diagnostics.DTCList"] == ["P0DE6", "U0111"]
    assert values["Vehicle.Diagnostics.DTCCount"] == 2
    assert values[f"{BATTERY}.ErrorCodes"] == ["P0DE6-16", "P0DE6-17"]
    assert vss_from_report(report()) == {}, "no unit was read: no list of codes, not an empty one"
    silent = Ecu("0x7EC", "0x7E4", role=EcuRole.BMS, codes_read=False)
    assert "Vehicle.Diagnostics.DTCCount" not in vss_from_report(report(ecus=(silent,)))


def test_a_scan_has_them_beside_its_own_keys(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", "--demo", "--json", "--vss", "--no-network"]) == 0
    value = json.loads(capfd.readouterr().out)
    vss = value["vss"]
    assert vss["Vehicle.VehicleIdentification.VIN"] == value["vehicle"]["vin"]
    assert vss[f"{BATTERY}.StateOfCharge.Current"] == value["battery"]["soc"]
    assert vss[f"{BATTERY}.CurrentCurrent"] == -value["battery"]["current_a"]
    assert vss[f"{BATTERY}.CellVoltage.IdMin"] == value["battery"]["weakest"]["cell"] - 1
    assert "P0DE6" in vss["Vehicle.Diagnostics.DTCList"]
    assert {path.partition(".")[0] for path in vss} == {"Vehicle"}


def test_live_lines_have_them(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["live", "--demo", "--jsonl", "--no-codes", "--vss", "--duration", "6"]) == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    named = [line["vss"] for line in lines if line["vss"]]
    assert named
    assert {"Vehicle.Speed", f"{BATTERY}.CurrentVoltage", f"{BATTERY}.CurrentCurrent"} <= set(named[-1])


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """Two frames: 12.5 A of discharge, then a current that is not available."""
    path = tmp_path / "drive.log"
    path.write_text("(1.000000) can0 180#A00F8D2732000000\n(2.000000) can0 180#A00FFFFF32000000\n", encoding="utf-8")
    return path


def test_decoded_files_have_name_and_value(drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = ["--vss", "--signals", "PackCurrent,BMS_Pack_Counter"]
    rows = tmp_path / "out.csv"
    assert main(["log", "decode", str(drive), "--dbc", str(EV400), *wanted, "-o", str(rows)]) == 0
    with rows.open(encoding="utf-8", newline="") as file:
        found = [row for row in csv.DictReader(file) if row["signal"] == "PackCurrent"]
        file.seek(0)
        other = [row for row in csv.DictReader(file) if row["signal"] == "BMS_Pack_Counter"]
    assert [(row["value"], row["vss"], row["vss_value"]) for row in found] == [
        ("12.5", f"{BATTERY}.CurrentCurrent", "-12.5"),
        ("", f"{BATTERY}.CurrentCurrent", ""),
    ]
    assert {(row["vss"], row["vss_value"]) for row in other} == {("", "")}
    lines = tmp_path / "out.jsonl"
    assert main(["log", "decode", str(drive), "--dbc", str(EV400), *wanted, "-o", str(lines)]) == 0
    signals = [json.loads(line)["signals"] for line in lines.read_text(encoding="utf-8").splitlines()]
    assert [one["PackCurrent"]["vss_value"] for one in signals] == [-12.5, None]
    assert "vss" not in signals[0]["BMS_Pack_Counter"]
    capsys.readouterr()
    assert main(["log", "decode", str(drive), "--dbc", str(EV400), *wanted, "--summary", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["messages"]["BMS_Pack"]["signals"]
    assert told["PackCurrent"]["vss"] == f"{BATTERY}.CurrentCurrent"
    assert told["BMS_Pack_Counter"]["vss"] is None


def test_parquet_has_them_in_columns_of_their_own(drive: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is optional")
    path = tmp_path / "out.parquet"
    assert main(["log", "decode", str(drive), "--dbc", str(EV400), "--vss", "-o", str(path)]) == 0
    rows = [row for row in parquet.read_table(path).to_pylist() if row["signal"] == "PackCurrent"]
    assert [(row["vss"], row["vss_value"]) for row in rows] == [
        (f"{BATTERY}.CurrentCurrent", -12.5),
        (f"{BATTERY}.CurrentCurrent", None),
    ]
    plain = tmp_path / "plain.parquet"
    assert main(["log", "decode", str(drive), "--dbc", str(EV400), "-o", str(plain)]) == 0
    assert "vss" not in parquet.read_schema(plain).names


def test_a_folder_is_no_place_for_them(drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log", "decode", str(drive), "--dbc", str(EV400), "--vss", "-o", f"{tmp_path}/out/"]) == 2
    assert "one file" in capsys.readouterr().err


def test_the_guide_lists_every_name() -> None:
    text = (ROOT / "docs" / "vss.md").read_text(encoding="utf-8")
    assert f"VSS {VSS_VERSION}" in text
    paths = {name.path for path in OWN for name in vss_names(load(path)).values()}
    corners = ("Row1.Wheel.Left", "Row1.Wheel.Right", "Row2.Wheel.Left", "Row2.Wheel.Right")
    for path in paths:
        shown = path
        for corner in corners:
            shown = shown.replace(corner, "Row{1,2}.Wheel.{Left,Right}")
        assert f"`{shown}`" in text, path
