"""From codes, silence and battery figures to statements that a technician can act on.

Words, urgency, thresholds and safety steps stand in ``rules/findings.toml``; the functions here only decide whether
the evidence is there. A code that no rule explains becomes a finding of its own, so nothing stored is lost. Dangerous
findings come first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from diag.facts import EcuRole, Evidence, Finding, Severity, Text
from diag.limits import load_limits, load_rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from diag.facts import BatteryState, Dtc, Ecu, Unanswered

__all__ = ["ROLE_NAMES", "findings_from_facts"]

ROLE_NAMES: Final = {
    EcuRole.VCU: Text("Vehicle control unit (VCU)", "整车控制器(VCU)"),
    EcuRole.BMS: Text("Battery management system (BMS)", "电池管理系统(BMS)"),
    EcuRole.CHARGER: Text("On-board charger (OBC)", "车载充电机(OBC)"),
    EcuRole.INVERTER: Text("Drive inverter (MCU)", "电机控制器(MCU)"),
    EcuRole.ENGINE: Text("Engine control module (ECM)", "发动机控制模块(ECM)"),
    EcuRole.TRANSMISSION: Text("Transmission control module (TCM)", "变速器控制模块(TCM)"),
    EcuRole.BRAKES: Text("Brake control module", "制动控制模块"),
    EcuRole.BODY: Text("Body control module (BCM)", "车身控制模块(BCM)"),
    EcuRole.GATEWAY: Text("Gateway", "网关"),
    EcuRole.DCDC: Text("DC/DC converter", "DC/DC 变换器"),
    EcuRole.UNKNOWN: Text("Control unit", "控制器"),
}


class _Case:
    """The evidence while it is being judged; codes that a finding explained are marked."""

    def __init__(
        self,
        dtcs: Sequence[Dtc],
        battery: BatteryState | None,
        unanswered: Sequence[Unanswered],
        ecus: Sequence[Ecu],
    ) -> None:
        self.faults = [dtc for dtc in dtcs if dtc.is_fault]
        self.battery = battery
        self.unanswered = unanswered
        self.ecus = {ecu.address: ecu for ecu in ecus}
        self.explained: set[int] = set()
        self.limits = load_limits()

    def feature(self, name: str) -> float | None:
        return self.battery.features.get(name) if self.battery else None

    def codes(self, codes: Iterable[str]) -> list[Dtc]:
        """The faults with one of these codes; marks them as explained."""
        wanted = set(codes)
        found = [dtc for dtc in self.faults if dtc.code in wanted]
        self.explained.update(map(id, found))
        return found

    def name(self, address: str | None) -> Text:
        ecu = self.ecus.get(address or "")
        if ecu is None:
            return Text(address or "?", address or "?")
        role = ROLE_NAMES[ecu.role]
        return Text(f"{role.en} {ecu.address}", f"{role.zh} {ecu.address}")


def _rule(code: str) -> dict[str, Any]:
    return next(rule for rule in load_rules()["finding"] if rule["code"] == code)


def _finding(code: str, evidence: Sequence[Evidence], severity: Severity | None = None, **fields: object) -> Finding:
    """A finding of the rule file with its words filled in; a field may be a :class:`Text`."""
    rule = _rule(code)

    def filled(lang: str) -> str:
        words = {name: value.in_language(lang) if isinstance(value, Text) else value for name, value in fields.items()}
        return str(rule["title"][lang].format(**words))

    steps = load_rules()["safety"].get(rule.get("safety", ""), ())
    return Finding(
        code=code,
        severity=severity or Severity(rule["severity"]),
        title=Text(filled("en"), filled("zh")),
        evidence=tuple(evidence),
        safety=tuple(Text(**step) for step in steps),
    )


def _from_dtc(dtc: Dtc, name: Text) -> Evidence:
    text = dtc.text or Text("no public description", "无公开说明")
    state = _state(dtc)
    return Evidence(
        "dtc",
        f"{dtc.ecu or '?'} {dtc.display}",
        Text(
            f"{name.en} stores {dtc.display}: {text.en} ({state.en})",
            f"{name.zh} 存有 {dtc.display}:{text.zh}({state.zh})",
        ),
    )


def _state(dtc: Dtc) -> Text:
    if dtc.status is None:
        return Text("stored", "已存储")
    if dtc.status.failing_now:
        return Text("failing now", "当前故障")
    if dtc.status.confirmed:
        return Text("confirmed, not failing now", "已确认,当前未失效")
    return Text("pending", "待定")


def _measured(ref: str, en: str, zh: str, value: float, unit: str) -> Evidence:
    return Evidence("signal", ref, Text(en, zh), value, unit)


def _thermal(case: _Case) -> list[Finding]:
    evidence = [_from_dtc(dtc, case.name(dtc.ecu)) for dtc in case.codes(_rule("thermal.hot")["codes"])]
    hottest = case.feature("temp_max_c")
    severity = Severity.STOP if evidence else None
    if hottest is not None and hottest >= case.limits.temperature_soon_c:
        severity = severity or (Severity.STOP if hottest >= case.limits.temperature_stop_c else Severity.SOON)
        evidence.append(
            _measured("CellTemp", f"hottest probe {hottest:.1f} °C", f"最高探头温度 {hottest:.1f} °C", hottest, "degC")
        )
    return [_finding("thermal.hot", evidence, severity)] if evidence else []


def _insulation(case: _Case) -> list[Finding]:
    dtcs = case.codes(_rule("insulation.low")["codes"])
    evidence = [_from_dtc(dtc, case.name(dtc.ecu)) for dtc in dtcs]
    severity = Severity.STOP if any(dtc.status is None or dtc.status.failing_now for dtc in dtcs) else Severity.SOON
    per_volt = case.feature("insulation_ohm_per_v")
    battery = case.battery
    if per_volt is not None and battery is not None and per_volt < case.limits.insulation_soon_ohm_per_v:
        low = per_volt < case.limits.insulation_stop_ohm_per_v
        severity = Severity.STOP if low else severity
        limit = case.limits.insulation_stop_ohm_per_v if low else case.limits.insulation_soon_ohm_per_v
        evidence.append(
            _measured(
                "InsulationResistance",
                f"{battery.insulation_kohm:.0f} kΩ at {battery.pack_v:.0f} V = {per_volt:.0f} Ω/V (limit {limit:.0f})",
                f"{battery.insulation_kohm:.0f} kΩ,总压 {battery.pack_v:.0f} V,即 {per_volt:.0f} Ω/V(限值 {limit:.0f})",
                per_volt,
                "ohm/V",
            )
        )
    return [_finding("insulation.low", evidence, severity)] if evidence else []


def _silence(case: _Case) -> list[Finding]:
    """ECUs that do not talk: by their own silence, and by what the others miss."""
    rule = _rule("network.ecu-silent")
    answered = {ecu.role for ecu in case.ecus.values()}
    evidence: dict[EcuRole, list[Evidence]] = {}
    for item in case.unanswered:
        if item.role is not EcuRole.UNKNOWN:
            evidence.setdefault(item.role, []).append(Evidence("silence", item.address, item.why))
    for code, role_name in rule["silent_role"].items():
        role = EcuRole(role_name)
        for dtc in case.codes([code]):
            evidence.setdefault(role, []).append(_from_dtc(dtc, case.name(dtc.ecu)))
    found = []
    for role, items in evidence.items():
        serious = role.value in rule["stop_roles"] and role not in answered
        severity = Severity.STOP if serious else Severity(rule["severity"])
        found.append(_finding("network.ecu-silent", items, severity, name=ROLE_NAMES[role]))
    return found


def _cells(case: _Case) -> list[Finding]:
    """Sense wire, weak cell or general spread: the first that the readings support explains the others' codes."""
    battery, limits = case.battery, case.limits
    line = [_from_dtc(dtc, case.name(dtc.ecu)) for dtc in case.codes(_rule("battery.sampling-line")["codes"])]
    weak = [_from_dtc(dtc, case.name(dtc.ecu)) for dtc in case.codes(_rule("battery.cell-weak")["codes"])]
    spread = [_from_dtc(dtc, case.name(dtc.ecu)) for dtc in case.codes(_rule("battery.spread")["codes"])]
    opposition, at = case.feature("neighbour_opposition_mv"), case.feature("opposition_cell")
    if battery and at is not None and opposition is not None and opposition >= limits.opposition_mv:
        cell = int(at)
        one, other = battery.cell_v[cell - 1], battery.cell_v[cell]
        line.append(
            _measured(
                f"CellVoltage {cell}/{cell + 1}",
                f"cells {cell} and {cell + 1} read {one:.3f} V and {other:.3f} V: {opposition:.0f} mV away from the "
                "median in opposite directions, while their sum is normal",
                f"第 {cell}、{cell + 1} 号单体读数为 {one:.3f} V 与 {other:.3f} V:"
                f"向相反方向偏离中位数 {opposition:.0f} mV,而两者之和正常",
                opposition,
                "mV",
            )
        )
        return [_finding("battery.sampling-line", [*line, *weak, *spread], cell=cell, next=cell + 1)]
    found = []
    if line:
        found.append(_finding("battery.sampling-line", line, cell="?", next="?"))
    low, z = case.feature("cell_low_mv"), case.feature("cell_low_z")
    stands_out = low is not None and z is not None and low >= limits.cell_low_monitor_mv and z >= limits.z_flag
    if battery and battery.weakest_cell and battery.weakest_why and low is not None and (stands_out or weak):
        number = battery.weakest_cell
        why = battery.weakest_why
        weak.append(
            _measured(f"CellVoltage {number}", f"cell {number}: {why.en}", f"第 {number} 号单体:{why.zh}", low, "mV")
        )
    if weak:
        number_text = battery.weakest_cell if battery and battery.weakest_cell else "?"
        severe = len(weak) > 1 or (low or 0) >= limits.cell_low_soon_mv
        found.append(
            _finding(
                "battery.cell-weak",
                [*weak, *spread],
                Severity.SOON if severe else Severity.MONITOR,
                cell=number_text,
            )
        )
        return found
    total = battery.spread_mv if battery else None
    if total is not None and total >= limits.spread_monitor_mv:
        spread.append(_measured("CellVoltage", f"spread {total:.0f} mV", f"压差 {total:.0f} mV", total, "mV"))
    if spread:
        severity = Severity.SOON if (total or 0) >= limits.spread_soon_mv else Severity.MONITOR
        found.append(_finding("battery.spread", spread, severity))
    return found


def _sum(case: _Case) -> list[Finding]:
    mismatch = case.feature("sum_mismatch_v")
    if mismatch is None or abs(mismatch) < case.limits.sum_mismatch_v:
        return []
    return [
        _finding(
            "data.cell-sum",
            [
                _measured(
                    "PackVoltage",
                    f"cells add up to {mismatch:+.1f} V against the pack voltage",
                    f"单体电压之和比总压相差 {mismatch:+.1f} V",
                    mismatch,
                    "V",
                )
            ],
        )
    ]


def _software(case: _Case) -> list[Finding]:
    """Codes that report incompatible software, with the versions the ECUs really carry."""
    dtcs = [dtc for dtc in case.faults if dtc.code.startswith("U03")]
    if not dtcs:
        return []
    case.codes(dtc.code for dtc in dtcs)
    evidence = [_from_dtc(dtc, case.name(dtc.ecu)) for dtc in dtcs]
    for ecu in case.ecus.values():
        version = ecu.identification.get("systemSupplierECUSoftwareVersionNumber") or ecu.identification.get(
            "vehicleManufacturerECUSoftwareVersionNumber"
        )
        if version:
            name = case.name(ecu.address)
            evidence.append(
                Evidence(
                    "identification",
                    f"{ecu.address} F189",
                    Text(f"{name.en} runs software {version}", f"{name.zh} 软件版本 {version}"),
                )
            )
    return [_finding("software.incompatible", evidence)]


def _remaining(case: _Case) -> list[Finding]:
    """Every confirmed or failing code that no rule has explained."""
    found = []
    for dtc in case.faults:
        if id(dtc) in case.explained:
            continue
        name = case.name(dtc.ecu)
        text = dtc.text or Text("no public description", "无公开说明")
        found.append(
            _finding(
                "dtc.confirmed",
                [_from_dtc(dtc, name)],
                dtc.severity,
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
) -> tuple[Finding, ...]:
    """Judges one visit's evidence.

    Args:
        dtcs: merged records; one whose status shows neither failing, pending nor confirmed is no evidence of a fault.
        battery: its figures, None when nothing was received.
        unanswered: who was expected and stayed silent.
        ecus: who answered.
        vins: (ECU address, VIN) as each ECU reports it.

    Returns:
        Findings, most urgent first, in the rule file's order within one urgency.
    """
    case = _Case(dtcs, battery, unanswered, ecus)
    found = [
        *_thermal(case),
        *_insulation(case),
        *_silence(case),
        *_cells(case),
        *_sum(case),
        *_software(case),
        *_vins(vins),
        *_remaining(case),
    ]
    return tuple(sorted(found, key=lambda finding: finding.severity.rank))


def _vins(vins: Sequence[tuple[str, str]]) -> list[Finding]:
    if len({vin for _, vin in vins}) < 2:
        return []
    return [
        _finding(
            "data.vin-mismatch",
            [
                Evidence("identification", f"{ecu} VIN", Text(f"{ecu} reports {vin}", f"{ecu} 报告 {vin}"))
                for ecu, vin in vins
            ],
        )
    ]
