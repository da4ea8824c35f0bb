"""Findings: the right statement from the evidence, the dangerous first, nothing stored is lost, healthy is silent."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import numpy as np
import pytest

from diag.battery import RULES, battery_from_series
from diag.facts import BatteryState, Dtc, DtcKind, DtcStatus, Ecu, EcuRole, Series, Severity, Text, Unanswered
from diag.findings import findings_from_facts

ECUS = (
    Ecu("0x7E8", "0x7E0", "VCU", EcuRole.VCU, "obd2+uds", {"vehicleManufacturerECUSoftwareVersionNumber": "V2.1"}),
    Ecu("0x7EC", "0x7E4", "BMS", EcuRole.BMS, "obd2+uds"),
)
BMS_SILENT = Unanswered("0x7EC", Text("asked, no answer", "已询问,无应答"), EcuRole.BMS)


def dtc(code: str, ecu: str = "0x7EC", mask: int = 0x2F, severity: Severity = Severity.SOON) -> Dtc:
    return Dtc(code, b"\x00\x00\x00\x2f", ecu, "16", DtcStatus(mask), severity=severity)


def battery(changes: dict[int, float] | None = None, insulation: float = 2000.0, hottest: float = 25.0) -> BatteryState:
    cells = {i: 3.7 + 0.001 * (i % 4) + (changes or {}).get(i, 0.0) for i in range(1, 97)}

    def one(name: str, value: float, unit: str) -> Series:
        return Series(name, unit, np.zeros(1, np.int64), np.array([value]), np.ones(1, bool))

    series = {f"CellVoltage_{i:03d}": one(f"CellVoltage_{i:03d}", v, "V") for i, v in cells.items()}
    series["PackVoltage"] = one("PackVoltage", sum(cells.values()), "V")
    series["InsulationResistance"] = one("InsulationResistance", insulation, "kOhm")
    series["CellTemp_01"] = one("CellTemp_01", hottest, "degC")
    state = battery_from_series(series, source="test")
    assert state is not None
    return state


def codes_of(**facts: object) -> list[str]:
    given = {"dtcs": (), "battery": None, "ecus": ECUS, **facts}
    return [finding.code for finding in findings_from_facts(**given)]


def test_a_healthy_car_gives_no_finding() -> None:
    assert codes_of(battery=battery()) == []


def test_history_and_untested_codes_are_no_finding() -> None:
    assert codes_of(dtcs=[dtc("P0AA6", mask=0x50), dtc("P0DE6", mask=0x20)], battery=battery()) == []


def test_weak_cell_by_voltage_alone() -> None:
    found = findings_from_facts(dtcs=(), battery=battery({17: -0.07}), ecus=ECUS)
    assert [f.code for f in found] == ["battery.cell-weak"]
    assert "17" in found[0].title.en
    assert "17" in found[0].title.zh
    assert found[0].severity is Severity.SOON
    assert found[0].safety


def test_weak_cell_takes_its_spread_code_along() -> None:
    assert codes_of(dtcs=[dtc("P0DE6"), dtc("P0BBD")], battery=battery({17: -0.12})) == ["battery.cell-weak"]


def test_a_sampling_line_is_not_called_a_weak_cell() -> None:
    found = codes_of(dtcs=[dtc("P0B3C"), dtc("P0DE6"), dtc("P0BBD")], battery=battery({31: 0.12, 32: -0.12}))
    assert found == ["battery.sampling-line"]


@pytest.mark.parametrize(("kohm", "severity"), [(30.0, Severity.STOP), (100.0, Severity.SOON)])
def test_insulation_by_its_limits(kohm: float, severity: Severity) -> None:
    found = findings_from_facts(dtcs=(), battery=battery(insulation=kohm), ecus=ECUS)
    assert [(f.code, f.severity) for f in found] == [("insulation.low", severity)]


def test_an_isolation_code_without_broadcast_is_still_stop() -> None:
    found = findings_from_facts(dtcs=[dtc("P0AA6")], battery=None, ecus=ECUS)
    assert [(f.code, f.severity) for f in found] == [("insulation.low", Severity.STOP)]


def test_a_silent_bms_stops_the_car_and_gathers_all_that_miss_it() -> None:
    found = findings_from_facts(dtcs=[dtc("U0111", "0x7E8")], battery=None, unanswered=[BMS_SILENT], ecus=ECUS[:1])
    assert [(f.code, f.severity) for f in found] == [("network.ecu-silent", Severity.STOP)]
    assert {item.kind for item in found[0].evidence} == {"silence", "dtc"}
    assert "BMS" in found[0].title.en


def test_lost_communication_with_an_ecu_that_answers_is_not_stop() -> None:
    found = findings_from_facts(dtcs=[dtc("U0111", "0x7E8")], battery=battery(), ecus=ECUS)
    assert [(f.code, f.severity) for f in found] == [("network.ecu-silent", Severity.SOON)]


def test_software_names_the_versions() -> None:
    found = findings_from_facts(dtcs=[dtc("U0312", "0x7E8")], battery=battery(), ecus=ECUS)
    assert [f.code for f in found] == ["software.incompatible"]
    assert any("V2.1" in item.text.en for item in found[0].evidence)


def test_what_no_rule_explains_is_not_lost() -> None:
    found = findings_from_facts(dtcs=[dtc("P0C4A", severity=Severity.MONITOR)], battery=battery(), ecus=ECUS)
    assert [(f.code, f.severity) for f in found] == [("dtc.confirmed", Severity.MONITOR)]
    assert "P0C4A" in found[0].title.zh


def test_the_most_dangerous_comes_first() -> None:
    found = findings_from_facts(
        dtcs=[dtc("P0C4A", severity=Severity.LOW), dtc("P0DE6"), dtc("P0AA6")], battery=battery({5: -0.1}), ecus=ECUS
    )
    assert [f.severity.rank for f in found] == sorted(f.severity.rank for f in found)
    assert found[0].code == "insulation.low"


def test_heat() -> None:
    assert codes_of(battery=battery(hottest=61.0)) == ["thermal.hot"]


def test_two_vins_are_a_finding() -> None:
    assert codes_of(vins=[("0x7E8", "A"), ("0x7EC", "B")]) == ["data.vin-mismatch"]
    assert codes_of(vins=[("0x7E8", "A"), ("0x7EC", "A")]) == []


def test_every_rule_has_both_languages_and_known_safety() -> None:
    rules = tomllib.loads(RULES.read_text(encoding="utf-8"))
    for rule in rules["finding"]:
        assert rule["title"]["en"]
        assert rule["title"]["zh"]
        Severity(rule["severity"])
        assert rule.get("safety", "hv") in rules["safety"]
    for steps in rules["safety"].values():
        assert all(step["en"] and step["zh"] for step in steps)


def test_a_code_of_an_obd_list_is_never_dropped_for_its_status() -> None:
    record = replace(dtc("P0AA6", mask=0x22), kind=(DtcKind.STORED, DtcKind.PERMANENT))
    assert codes_of(dtcs=[record], battery=battery()) == ["insulation.low"]
    assert codes_of(dtcs=[dtc("P0AA6", mask=0x22)], battery=battery()) == []
