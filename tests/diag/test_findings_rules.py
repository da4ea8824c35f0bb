"""Findings: the right statement from the evidence, the dangerous first, nothing stored is lost, healthy is silent."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from diag.battery import RULES, battery_from_series
from diag.dtctext import load_codes
from diag.facts import BatteryState, Dtc, DtcKind, DtcStatus, EcuRole, Severity, Text
from diag.findings import findings_from_facts
from diag.samples import Series
from diag.vehiclereport import Ecu, Unanswered

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from diag.facts import Finding

ECUS = (
    Ecu("0x7E8", "0x7E0", "VCU", EcuRole.VCU, "obd2+uds", {"vehicleManufacturerECUSoftwareVersionNumber": "V2.1"}),
    Ecu("0x7EC", "0x7E4", "BMS", EcuRole.BMS, "obd2+uds"),
)
BMS_SILENT = Unanswered("0x7EC", Text("asked, no answer", "已询问,无应答"), EcuRole.BMS)


def dtc(code: str, ecu: str = "0x7EC", mask: int = 0x2F, severity: Severity = Severity.SOON) -> Dtc:
    return Dtc(code, b"\x00\x00\x00\x2f", ecu, "16", DtcStatus(mask), severity=severity)


def obd(code: str, *kind: DtcKind, severity: Severity = Severity.STOP) -> Dtc:
    """As services 03, 07 and 0A tell it: without a status."""
    return Dtc(code, b"\x00\x00", "0x7EC", kind=kind, severity=severity)


def battery(
    changes: dict[int, float] | None = None,
    insulation: float = 2000.0,
    hottest: float = 25.0,
    *,
    base: float = 3.7,
    drop: Collection[int] = (),
    current: float | None = None,
    pack_off: float = 0.0,
    probes: Sequence[float] = (),
    count: int = 96,
) -> BatteryState:
    cells = {i: base + 0.001 * (i % 4) + (changes or {}).get(i, 0.0) for i in range(1, count + 1) if i not in drop}

    def one(name: str, value: float, unit: str) -> Series:
        return Series(name, unit, np.zeros(1, np.int64), np.array([value]), np.ones(1, bool))

    series = {f"CellVoltage_{i:03d}": one(f"CellVoltage_{i:03d}", v, "V") for i, v in cells.items()}
    series["PackVoltage"] = one("PackVoltage", sum(cells.values()) + pack_off, "V")
    if current is not None:
        series["PackCurrent"] = one("PackCurrent", current, "A")
    series["InsulationResistance"] = one("InsulationResistance", insulation, "kOhm")
    for number, celsius in enumerate(probes or [hottest], start=1):
        series[f"CellTemp_{number:02d}"] = one(f"CellTemp_{number:02d}", celsius, "degC")
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


@pytest.mark.parametrize(
    ("hottest", "severity", "evacuates"), [(61.0, Severity.STOP, True), (56.0, Severity.SOON, False)]
)
def test_heat_and_when_to_leave_the_car(hottest: float, severity: Severity, evacuates: bool) -> None:
    (only,) = judged(battery=battery(hottest=hottest))
    assert (only.code, only.severity) == ("thermal.hot", severity)
    assert any("15 m" in step.en for step in only.safety) is evacuates


def test_heat_that_has_passed_sends_nobody_away() -> None:
    for record in (dtc("P0A7E", mask=0x28, severity=Severity.STOP), obd("P0A7E", DtcKind.PENDING)):
        (only,) = judged(dtcs=[record], battery=battery())
        assert (only.code, only.severity) == ("thermal.hot", Severity.MONITOR)
        assert not any("15 m" in step.en for step in only.safety)
        (unseen,) = judged(dtcs=[record])
        assert unseen.severity is Severity.SOON
    (now,) = judged(dtcs=[dtc("P0A7E", mask=0x2F, severity=Severity.STOP)], battery=battery())
    assert now.severity is Severity.STOP
    assert any("15 m" in step.en for step in now.safety)


@pytest.mark.parametrize("probes", [(25.0, 26.0, 127.0), (25.0, 26.0, -40.0), (25.0, 26.0, 24.0, 70.0)])
def test_a_probe_that_cannot_be_right_is_a_probe(probes: tuple[float, ...]) -> None:
    (only,) = judged(battery=battery(probes=probes))
    assert (only.code, only.severity) == ("thermal.sensor", Severity.SOON)
    assert str(len(probes)) in only.title.en
    assert codes_of(battery=battery(probes=(25.0, 66.0, 70.0, 24.0))) == ["thermal.hot"]


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


def judged(**facts: object) -> tuple[Finding, ...]:
    given = {"dtcs": (), "battery": None, "ecus": ECUS, **facts}
    return findings_from_facts(**given)


def test_a_danger_that_is_judged_last_still_comes_first() -> None:
    found = judged(dtcs=[dtc("P0AA1", severity=Severity.STOP)], battery=battery({5: -0.1}))
    assert [(f.code, f.severity) for f in found] == [
        ("dtc.confirmed", Severity.STOP),
        ("battery.cell-weak", Severity.SOON),
    ]


@pytest.mark.parametrize(
    ("record", "severity", "says"),
    [
        (dtc("P0AA6", mask=0x2F), Severity.STOP, "failing now"),
        (dtc("P0AA6", mask=0x28), Severity.SOON, "confirmed, not failing now"),
        (dtc("P0AA6", mask=0x24), Severity.SOON, "pending"),
        (obd("P0AA6", DtcKind.STORED), Severity.STOP, "stored"),
        (obd("P0AA6", DtcKind.PENDING), Severity.SOON, "pending"),
        (obd("P0AA6", DtcKind.PERMANENT), Severity.SOON, "permanent"),
    ],
)
def test_insulation_is_as_urgent_as_its_code_is_present(record: Dtc, severity: Severity, says: str) -> None:
    (only,) = judged(dtcs=[record])
    assert (only.code, only.severity) == ("insulation.low", severity)
    assert f"({says})" in only.evidence[0].text.en
    assert ("at some time" in only.title.en) is (severity is Severity.SOON)


def test_what_is_only_pending_is_at_most_soon_and_says_so() -> None:
    (only,) = judged(dtcs=[obd("P0AA1", DtcKind.PENDING)])
    assert only.severity is Severity.SOON
    assert "pending" in only.title.en
    assert "待定" in only.title.zh
    (low,) = judged(dtcs=[obd("P0C4A", DtcKind.PENDING, severity=Severity.LOW)])
    assert low.severity is Severity.LOW


@pytest.mark.parametrize(
    ("volts", "code", "severity"),
    [
        (4.45, "battery.over-voltage", Severity.STOP),
        (4.35, None, None),
        (2.55, None, None),
        (2.3, "battery.under-voltage", Severity.SOON),
    ],
)
def test_a_pack_outside_its_voltage_window(volts: float, code: str | None, severity: Severity | None) -> None:
    found = judged(battery=battery(base=volts))
    assert [(f.code, f.severity) for f in found] == ([(code, severity)] if code else [])
    if code:
        assert "1–96" in found[0].title.zh


def test_one_cell_outside_the_window_is_named() -> None:
    found = judged(battery=battery({12: 0.75}))
    assert found[0].code == "battery.over-voltage"
    assert found[0].severity is Severity.STOP
    assert "Cell 12 " in found[0].title.en
    assert "battery.over-voltage" not in codes_of(battery=battery({30: 0.75, 31: -0.75}))


@pytest.mark.parametrize(
    "changes", [{31: -3.7}, {31: 1.25}, {31: -3.7, 32: 2.0}, {31: -3.7, 32: 1.15}, {1: -3.7}, {96: -3.7}]
)
def test_a_cell_that_reads_nothing_beside_sound_ones_is_a_wire(changes: dict[int, float]) -> None:
    (only,) = judged(battery=battery(changes), dtcs=[dtc("P0DE6")])
    assert only.code == "battery.sampling-line"
    assert str(next(iter(changes))) in only.title.en
    assert "断路" in only.title.zh


def test_cells_that_nobody_sees_are_said() -> None:
    (hole,) = judged(battery=battery(drop=(40, 41)))
    assert (hole.code, hole.severity) == ("data.cells-missing", Severity.MONITOR)
    assert "2 of 96" in hole.title.en
    assert "40–41" in hole.evidence[0].text.en
    (dead,) = judged(battery=battery(dict.fromkeys(range(49, 97), -3.7)))
    assert dead.code == "data.cells-missing"
    assert "49–96" in dead.evidence[0].text.zh
    both = codes_of(battery=battery({17: -0.06}, drop=(40, 41)))
    assert both == ["battery.cell-weak", "data.cells-missing"]


@pytest.mark.parametrize("state", [None, battery()])
@pytest.mark.parametrize("mask", [0x2F, 0x28])
def test_no_cell_is_named_when_none_stands_out(state: BatteryState | None, mask: int) -> None:
    (only,) = judged(dtcs=[dtc("P0DE6", mask=mask)], battery=state)
    assert (only.code, only.severity) == ("battery.cell-weak", Severity.SOON)
    assert not any(letter.isdigit() or letter == "?" for letter in only.title.en + only.title.zh)


def test_a_low_cell_within_the_scatter_does_not_stand_out() -> None:
    worn = {cell: 0.02 * (cell % 3) for cell in range(1, 97)}
    (only,) = judged(battery=battery({**worn, 17: -0.02}))
    assert only.code == "battery.spread"


def test_a_finding_is_never_milder_than_its_own_code() -> None:
    (weak,) = judged(dtcs=[dtc("P0DE6", severity=Severity.STOP)], battery=battery({17: -0.04}))
    assert weak.severity is Severity.STOP
    (spread,) = judged(dtcs=[dtc("P0BBD")], battery=battery())
    assert (spread.code, spread.severity) == ("battery.spread", Severity.SOON)
    (mild,) = judged(dtcs=[dtc("P0BBE", severity=Severity.MONITOR)], battery=battery())
    assert mild.severity is Severity.MONITOR


@pytest.mark.parametrize(("step", "severity"), [(0.0, None), (0.012, Severity.MONITOR), (0.02, Severity.SOON)])
def test_spread_by_its_limits(step: float, severity: Severity | None) -> None:
    found = judged(battery=battery({cell: step * (cell % 4) for cell in range(1, 97)}))
    assert [(f.code, f.severity) for f in found] == ([("battery.spread", severity)] if severity else [])


def test_a_weak_cell_beside_a_wrong_wire_keeps_its_code() -> None:
    found = judged(dtcs=[dtc("P0DE6"), dtc("P0B3C")], battery=battery({31: 0.12, 32: -0.12, 60: -0.25}))
    by_code = {finding.code: finding for finding in found}
    assert by_code.keys() == {"battery.sampling-line", "battery.cell-weak"}
    assert "60" in by_code["battery.cell-weak"].title.en
    assert any("P0DE6" in item.ref for item in by_code["battery.cell-weak"].evidence)
    assert [item.ref for item in by_code["battery.sampling-line"].evidence if item.kind == "dtc"] == ["0x7EC P0B3C-16"]


@pytest.mark.parametrize(
    ("cells", "says"),
    [((60,), "Cell 60 is"), ((60, 61), "Neighbouring cells 60–61 are"), ((20, 60, 61), "Cells 20, 60–61 are")],
)
def test_every_low_cell_is_listed(cells: tuple[int, ...], says: str) -> None:
    (only,) = judged(battery=battery(dict.fromkeys(cells, -0.1)))
    assert only.code == "battery.cell-weak"
    assert only.title.en.startswith(says)
    assert sum(item.kind == "signal" for item in only.evidence) == len(cells)


@pytest.mark.parametrize(
    ("low", "current", "severity"),
    [
        (-0.035, 5.0, Severity.MONITOR),
        (-0.035, -200.0, None),
        (-0.060, 5.0, Severity.SOON),
        (-0.060, 200.0, Severity.MONITOR),
    ],
)
def test_a_low_cell_under_load_is_only_noted(low: float, current: float, severity: Severity | None) -> None:
    found = judged(battery=battery({17: low}, current=current))
    assert [(f.code, f.severity) for f in found] == ([("battery.cell-weak", severity)] if severity else [])
    if severity:
        assert ("under load" in found[0].evidence[0].text.en) is (abs(current) > 20)


@pytest.mark.parametrize(
    ("off", "count", "is_finding"), [(4.0, 96, False), (6.0, 96, True), (-6.0, 96, True), (6.0, 216, False)]
)
def test_cells_and_pack_that_contradict_each_other(off: float, count: int, is_finding: bool) -> None:
    found = judged(battery=battery(pack_off=off, count=count))
    assert [(f.code, f.severity) for f in found] == [("data.cell-sum", Severity.MONITOR)] * is_finding
    if is_finding:
        assert "differ by 6.0 V" in found[0].evidence[0].text.en
        assert ("低 6.0 V" if off > 0 else "高 6.0 V") in found[0].evidence[0].text.zh


@pytest.mark.parametrize(
    ("mask", "role", "unanswered", "severity"),
    [
        (0x28, EcuRole.UNKNOWN, (), Severity.SOON),
        (0x2F, EcuRole.UNKNOWN, (), Severity.SOON),
        (0x28, EcuRole.CHARGER, (), Severity.SOON),
        (0x2F, EcuRole.CHARGER, (), Severity.STOP),
        (0x28, EcuRole.CHARGER, (BMS_SILENT,), Severity.STOP),
    ],
)
def test_a_missed_bms_stops_the_car_only_when_it_is_missed_now(
    mask: int, role: EcuRole, unanswered: tuple[Unanswered, ...], severity: Severity
) -> None:
    ecus = (ECUS[0], Ecu("0x7ED", "0x7E5", "", role, "uds"))
    (only,) = judged(dtcs=[dtc("U0111", "0x7E8", mask=mask)], ecus=ecus, unanswered=unanswered)
    assert (only.code, only.severity) == ("network.ecu-silent", severity)
    assert ("for a time" in only.title.en) is (mask == 0x28 and not unanswered)
    assert "失去通信" in only.title.zh


@pytest.mark.parametrize(
    ("code", "severity", "step"),
    [
        ("P0AA1", Severity.STOP, "two-pole tester"),
        ("P0A0A", Severity.STOP, "two-pole tester"),
        ("P0D20", Severity.SOON, "two-pole tester"),
        ("P0562", Severity.SOON, None),
        ("P0AA1", Severity.LOW, None),
    ],
)
def test_work_on_high_voltage_shows_its_steps(code: str, severity: Severity, step: str | None) -> None:
    (only,) = judged(dtcs=[dtc(code, severity=severity)])
    assert any(step in text.en for text in only.safety) if step else not only.safety


def test_a_version_is_referred_to_by_the_identifier_it_was_read_from() -> None:
    bms = Ecu("0x7EC", "0x7E4", "BMS", EcuRole.BMS, "uds", {"systemSupplierECUSoftwareVersionNumber": "9.1"})
    (only,) = judged(dtcs=[dtc("U0312", "0x7E8")], ecus=(ECUS[0], bms))
    assert {item.ref for item in only.evidence if item.kind == "identification"} == {"0x7E8 F189", "0x7EC F195"}


@pytest.mark.parametrize(("mask", "severity"), [(0x2F, Severity.STOP), (0x28, Severity.STOP), (0x2F, Severity.SOON)])
def test_people_leave_the_car_only_for_a_fire_hazard_that_is_there(mask: int, severity: Severity) -> None:
    fire = next(code for code, known in load_codes().items() if known.reason == "fire" and code != "P0A7E")
    (only,) = judged(dtcs=[dtc(fire, mask=mask, severity=severity)])
    assert any("15 m" in step.en for step in only.safety) is (mask == 0x2F and severity is Severity.STOP)
    assert only.safety
