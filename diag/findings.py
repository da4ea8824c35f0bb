"""From codes, silence and battery figures to statements that a technician can act on.

Words, urgency, thresholds and safety steps stand in ``rules/findings.toml``; the functions here only decide whether
the evidence is there. A code that no rule explains becomes a finding of its own, so nothing stored is lost. Dangerous
findings come first.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from diag.cellfindings import judge_cells
from diag.cells import find_bad_probes
from diag.evidence import (
    ROLE_NAMES,
    Case,
    finding_of,
    is_failing,
    is_pending_only,
    measured,
    rule_of,
    safety_of_dtc,
    urgency_of,
)
from diag.facts import EcuRole, Evidence, Severity, Text
from diag.obdmonitors import monitor_text, test_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from diag.facts import BatteryState, Dtc, Finding
    from diag.limits import BatteryLimits
    from diag.obdmonitors import MonitorResult, SinceClear
    from diag.vehiclereport import Ecu, Unanswered

__all__ = ["ROLE_NAMES", "findings_from_facts"]

_A_CELL_IS_LOW: Final = ("battery.cell-weak", "battery.spread")
_WHY_A_CELL_IS_LOW: Final = (
    "battery.cell-short",
    "battery.cell-worn",
    "battery.module-joint",
    "battery.cell-resistive",
    "battery.cell-capacity",
    "battery.cell-charge-low",
    "battery.cell-charge-high",
)

_SOFTWARE_VERSIONS: Final = {
    "F195": "systemSupplierECUSoftwareVersionNumber",
    "F189": "vehicleManufacturerECUSoftwareVersionNumber",
}
"""Data identifier -> field. Standard: ISO 14229-1:2020 Annex C.1."""


def _thermal(case: Case) -> list[Finding]:
    """Heat that is there now, heat that a code remembers, and probes that cannot be believed."""
    dtcs = case.codes(rule_of("thermal.hot")["codes"])
    evidence = case.evidence(dtcs)
    hottest, limits = case.feature("temp_max_c"), case.limits
    is_hot = hottest is not None and hottest >= limits.temperature_soon_c
    is_now = any(is_failing(dtc) for dtc in dtcs) or (hottest is not None and hottest >= limits.temperature_stop_c)
    if hottest is not None and (is_hot or evidence):
        evidence.append(
            measured("CellTemp", f"hottest probe {hottest:.1f} °C", f"最高探头温度 {hottest:.1f} °C", hottest, "degC")
        )
    found = []
    if is_now:
        found.append(finding_of("thermal.hot", evidence, Severity.STOP))
    elif is_hot:
        found.append(finding_of("thermal.hot", evidence, Severity.SOON, title="title_warm", safety="hv"))
    elif evidence:
        severity = Severity.SOON if hottest is None else Severity.MONITOR
        found.append(finding_of("thermal.hot", evidence, severity, title="title_past", safety="hv"))
    return [*found, *_probes(case)]


def _probes(case: Case) -> list[Finding]:
    battery = case.battery
    broken = find_bad_probes(battery.temperatures_c, case.limits) if battery else ()
    if battery is None or not broken:
        return []
    evidence = []
    for probe in broken:
        celsius = battery.temperatures_c[probe - 1]
        evidence.append(
            measured(
                f"CellTemp {probe}",
                f"probe {probe} reads {celsius:.1f} °C, the others do not: rule out real heat first (measure, smell)",
                f"探头 {probe} 读数 {celsius:.1f} °C，其余探头正常：请先排除真实过热（测温、闻味）",
                celsius,
                "degC",
            )
        )
    return [finding_of("thermal.sensor", evidence, probes=", ".join(map(str, broken)))]


def _insulation(case: Case) -> list[Finding]:
    dtcs = case.codes(rule_of("insulation.low")["codes"])
    evidence = case.evidence(dtcs)
    severity = Severity.STOP if any(is_failing(dtc) for dtc in dtcs) else Severity.SOON
    per_volt = case.feature("insulation_ohm_per_v")
    battery = case.battery
    if per_volt is not None and battery is not None and per_volt < case.limits.insulation_soon_ohm_per_v:
        low = per_volt < case.limits.insulation_stop_ohm_per_v
        severity = Severity.STOP if low else severity
        limit = case.limits.insulation_stop_ohm_per_v if low else case.limits.insulation_soon_ohm_per_v
        evidence.append(
            measured(
                "InsulationResistance",
                f"{battery.insulation_kohm:.0f} kΩ at {battery.pack_v:.0f} V = {per_volt:.0f} Ω/V (limit {limit:.0f})",
                f"{battery.insulation_kohm:.0f} kΩ，总压 {battery.pack_v:.0f} V，"
                f"即 {per_volt:.0f} Ω/V（限值 {limit:.0f}）",
                per_volt,
                "ohm/V",
            )
        )
    is_past = bool(dtcs) and len(evidence) == len(dtcs) and not any(is_failing(dtc) for dtc in dtcs)
    title = "title_past" if is_past else "title"
    return [finding_of("insulation.low", evidence, severity, title=title)] if evidence else []


def _silence(case: Case) -> list[Finding]:
    """ECUs that do not talk: by their own silence, and by what the others miss."""
    rule = rule_of("network.ecu-silent")
    answered = {ecu.role for ecu in case.ecus.values()}
    missed: dict[EcuRole, list[Dtc]] = {}
    silent: dict[EcuRole, list[Evidence]] = {}
    for item in case.unanswered:
        if item.role is not EcuRole.UNKNOWN:
            silent.setdefault(item.role, []).append(Evidence("silence", item.address, item.why))
    for code, role_name in rule["silent_role"].items():
        if dtcs := case.codes([code]):
            missed.setdefault(EcuRole(role_name), []).extend(dtcs)
    found = []
    for role in dict.fromkeys((*silent, *missed)):
        dtcs = missed.get(role, [])
        is_now = role in silent or any(is_failing(dtc) for dtc in dtcs)
        # An ECU of unknown role may be the very one that the others miss; silence by address leaves no such doubt.
        is_sure = role in silent or EcuRole.UNKNOWN not in answered
        stops = is_now and is_sure and role not in answered and role.value in rule["stop_roles"]
        found.append(
            finding_of(
                "network.ecu-silent",
                [*silent.get(role, []), *case.evidence(dtcs)],
                Severity.STOP if stops else Severity(rule["severity"]),
                title="title" if is_now else "title_past",
                name=ROLE_NAMES[role],
            )
        )
    return found


def _software(case: Case) -> list[Finding]:
    """Codes that report incompatible software, with the versions the ECUs really carry."""
    dtcs = [dtc for dtc in case.faults if dtc.code.startswith("U03")]
    if not dtcs:
        return []
    case.codes(dtc.code for dtc in dtcs)
    evidence = case.evidence(dtcs)
    for ecu in case.ecus.values():
        for did, field in _SOFTWARE_VERSIONS.items():
            if version := ecu.identification.get(field):
                name = case.name(ecu.address)
                evidence.append(
                    Evidence(
                        "identification",
                        f"{ecu.address} {did}",
                        Text(f"{name.en} runs software {version}", f"{name.zh} 软件版本 {version}"),
                    )
                )
                break
    return [finding_of("software.incompatible", evidence, urgency_of(dtcs))]


def _remaining(case: Case) -> list[Finding]:
    """Every confirmed or failing code that no rule has explained."""
    found = []
    for dtc in case.faults:
        if id(dtc) in case.explained:
            continue
        name = case.name(dtc.ecu)
        text = dtc.text or Text("no public description", "无公开说明")
        severity = urgency_of([dtc])
        found.append(
            finding_of(
                "dtc.confirmed",
                case.evidence([dtc]),
                severity,
                title="title_pending" if is_pending_only(dtc) else "title",
                safety=safety_of_dtc(dtc, severity),
                name=Text(f"{name.en} {dtc.display}", f"{name.zh} {dtc.display}"),
                text=text,
            )
        )
    return found


def findings_from_facts(
    *,
    dtcs: Sequence[Dtc],
    battery: BatteryState | None,
    unanswered: Sequence[Unanswered] = (),
    ecus: Sequence[Ecu] = (),
    vins: Sequence[tuple[str, str]] = (),
    since_clear: Mapping[str, SinceClear] | None = None,
    tests: Sequence[MonitorResult] = (),
    studied: Sequence[Finding] = (),
    limits: BatteryLimits | None = None,
) -> tuple[Finding, ...]:
    """Judges one visit's evidence.

    Args:
        dtcs: merged records; one whose status shows neither failing, pending nor confirmed is no evidence of a fault.
        battery: its figures, None when nothing was received.
        unanswered: who was expected and stayed silent.
        ecus: who answered.
        vins: (ECU address, VIN) as each ECU reports it.
        since_clear: ECU address -> how long ago its codes were cleared.
        tests: results of on-board monitors with their limits.
        studied: what the battery's behaviour over time and load showed.
        limits: other than those of the rule file.

    Returns:
        Findings, most urgent first, in the rule file's order within one urgency.
    """
    case = Case(dtcs, battery, unanswered, ecus, limits)
    found = [
        *_thermal(case),
        *_insulation(case),
        *_silence(case),
        *_with_studied(judge_cells(case), studied),
        *_software(case),
        *_vins(vins),
        *_cleared(case, since_clear or {}),
        *_tests(case, tests),
        *_remaining(case),
    ]
    return tuple(sorted(found, key=lambda finding: finding.severity.rank))


def _with_studied(found: list[Finding], studied: Sequence[Finding]) -> list[Finding]:
    """What load and time showed says more than a cell that is low now: the latter becomes its evidence."""
    told = {finding.code for finding in studied}
    found = [finding for finding in found if finding.code != "data.cell-sum" or finding.code not in told]
    chief = next((finding for finding in studied if finding.code in _WHY_A_CELL_IS_LOW), None)
    if chief is None:
        return [*found, *studied]
    general = [finding for finding in found if finding.code in _A_CELL_IS_LOW]
    severity = min((chief.severity, *(finding.severity for finding in general)), key=lambda one: one.rank)
    seen = [item for finding in general for item in finding.evidence]
    named = replace(chief, severity=severity, evidence=(*chief.evidence, *seen))
    return [
        *(finding for finding in found if finding.code not in _A_CELL_IS_LOW),
        *(named if finding is chief else finding for finding in studied),
    ]


def _cleared(case: Case, since_clear: Mapping[str, SinceClear]) -> list[Finding]:
    """Codes were cleared shortly before: "no codes" then says little."""
    limits = case.limits
    evidence = []
    for ecu, since in since_clear.items():
        km, warm_ups = since.distance_km, since.warm_ups
        if km is not None:
            is_recent = km <= limits.cleared_distance_km
        else:
            is_recent = warm_ups is not None and warm_ups <= limits.cleared_warm_ups
        if not is_recent:
            continue
        said = [(f"{km} km", f"{km} km")] if km is not None else []
        said += [(f"{warm_ups} warm-ups", f"{warm_ups} 次暖机")] if warm_ups is not None else []
        said += [(f"{since.minutes} min", f"{since.minutes} 分钟")] if since.minutes is not None else []
        evidence.append(
            Evidence(
                "counter",
                f"{ecu} since clear",
                Text(
                    f"{ecu}: {', '.join(en for en, _ in said)} since its codes were cleared",
                    f"{ecu}：清码后 {'、'.join(zh for _, zh in said)}",
                ),
                km if km is not None else warm_ups,
                "km" if km is not None else "",
            )
        )
    return [finding_of("data.codes-cleared", evidence)] if evidence else []


def _tests(case: Case, tests: Sequence[MonitorResult]) -> list[Finding]:
    """On-board tests outside of their limits, which come before a code is stored."""
    found = []
    for test in tests:
        if test.is_passed is not False:
            continue
        watched, measure = monitor_text(test.monitor), test_text(test.test)
        figures = f"{test.value:g} {test.unit} ({test.minimum:g} … {test.maximum:g})" if test.value is not None else ""
        shown = figures or test.raw.hex(" ").upper()
        text = Text(f"{watched.en}, {measure.en}: {shown}", f"{watched.zh}，{measure.zh}：{shown}")
        ref = f"{test.ecu} {test.monitor:02X}/{test.test:02X}"
        name = case.name(test.ecu)
        evidence = Evidence("monitor", ref, text, test.value, test.unit)
        found.append(finding_of("monitor.test-failed", [evidence], name=name, what=watched))
    return found


def _vins(vins: Sequence[tuple[str, str]]) -> list[Finding]:
    if len({vin for _, vin in vins}) < 2:
        return []
    return [
        finding_of(
            "data.vin-mismatch",
            [
                Evidence("identification", f"{ecu} VIN", Text(f"{ecu} reports {vin}", f"{ecu} 报告 {vin}"))
                for ecu, vin in vins
            ],
        )
    ]
