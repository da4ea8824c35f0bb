"""The evidence of one visit while it is being judged, and how a finding is put into words.

Words, urgency, thresholds and safety steps stand in ``rules/findings.toml``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from diag.dtctext import find_reason, load_reasons
from diag.facts import DtcKind, EcuRole, Evidence, Finding, Severity, Text
from diag.limits import limits_for, load_rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from diag.facts import BatteryState, Dtc
    from diag.limits import BatteryLimits
    from diag.vehiclereport import Ecu, Unanswered

__all__ = [
    "ROLE_NAMES",
    "Case",
    "evidence_from_dtc",
    "finding_of",
    "is_failing",
    "is_pending_only",
    "measured",
    "rule_of",
    "safety_of_dtc",
    "urgency_of",
]

ROLE_NAMES: Final = {
    EcuRole.VCU: Text("Vehicle control unit (VCU)", "整车控制器（VCU）"),
    EcuRole.BMS: Text("Battery management system (BMS)", "电池管理系统（BMS）"),
    EcuRole.CHARGER: Text("On-board charger (OBC)", "车载充电机（OBC）"),
    EcuRole.INVERTER: Text("Drive inverter (MCU)", "电机控制器（MCU）"),
    EcuRole.ENGINE: Text("Engine control module (ECM)", "发动机控制模块（ECM）"),
    EcuRole.TRANSMISSION: Text("Transmission control module (TCM)", "变速器控制模块（TCM）"),
    EcuRole.BRAKES: Text("Brake control module", "制动控制模块"),
    EcuRole.BODY: Text("Body control module (BCM)", "车身控制模块（BCM）"),
    EcuRole.GATEWAY: Text("Gateway", "网关"),
    EcuRole.DCDC: Text("DC/DC converter", "DC/DC 变换器"),
    EcuRole.THERMAL: Text("Thermal management", "热管理控制器"),
    EcuRole.STEERING: Text("Power steering (EPS)", "电动助力转向（EPS）"),
    EcuRole.TYRES: Text("Tyre pressure monitoring", "胎压监测"),
    EcuRole.CLUSTER: Text("Instrument cluster", "组合仪表"),
    EcuRole.AIRBAG: Text("Airbag control unit", "安全气囊控制器"),
    EcuRole.TELEMATICS: Text("Telematics unit (T-BOX)", "车载终端（T-BOX）"),
    EcuRole.UNKNOWN: Text("Control unit", "控制器"),
}


class Case:
    """What was found on one car; codes that a finding explained are marked."""

    def __init__(
        self,
        dtcs: Sequence[Dtc],
        battery: BatteryState | None,
        unanswered: Sequence[Unanswered],
        ecus: Sequence[Ecu],
        limits: BatteryLimits | None = None,
    ) -> None:
        self.faults = [dtc for dtc in dtcs if dtc.is_fault]
        self.battery = battery
        self.unanswered = unanswered
        self.ecus = {ecu.address: ecu for ecu in ecus}
        self.explained: set[int] = set()
        self.limits = limits or limits_for(None)

    def feature(self, name: str) -> float | None:
        """A figure of the battery, None where it was not measured."""
        return self.battery.features.get(name) if self.battery else None

    def codes(self, codes: Iterable[str]) -> list[Dtc]:
        """The faults with one of these codes; marks them as explained."""
        wanted = set(codes)
        found = [dtc for dtc in self.faults if dtc.code in wanted]
        self.explained.update(map(id, found))
        return found

    def name(self, address: str | None) -> Text:
        """An ECU by its role and address."""
        ecu = self.ecus.get(address or "")
        if ecu is None:
            return Text(address or "?", address or "?")
        role = ROLE_NAMES[ecu.role]
        return Text(f"{role.en} {ecu.address}", f"{role.zh} {ecu.address}".replace("） ", "）"))

    def evidence(self, dtcs: Iterable[Dtc]) -> list[Evidence]:
        """Codes as evidence."""
        return [evidence_from_dtc(dtc, self.name(dtc.ecu)) for dtc in dtcs]


def rule_of(code: str) -> dict[str, Any]:
    """A finding's entry in the rule file.

    Raises:
        StopIteration: no such finding.
    """
    return next(rule for rule in load_rules()["finding"] if rule["code"] == code)


def finding_of(
    code: str,
    evidence: Sequence[Evidence],
    severity: Severity | None = None,
    *,
    title: str = "title",
    safety: str | None = None,
    **fields: object,
) -> Finding:
    """A finding of the rule file with its words filled in.

    Args:
        code: the finding's.
        evidence: what it rests on.
        severity: other than the rule's.
        title: which of the rule's titles.
        safety: which safety steps, other than the rule's; empty for none.
        fields: words for the title's gaps; a :class:`Text` is taken in each language.
    """
    rule = rule_of(code)

    def filled(lang: str) -> str:
        words = {name: value.in_language(lang) if isinstance(value, Text) else value for name, value in fields.items()}
        return str(rule[title][lang].format(**words))

    steps = load_rules()["safety"].get(rule.get("safety", "") if safety is None else safety, ())
    return Finding(
        code=code,
        severity=severity or Severity(rule["severity"]),
        title=Text(filled("en"), filled("zh")),
        evidence=tuple(evidence),
        safety=tuple(Text(**step) for step in steps),
    )


def evidence_from_dtc(dtc: Dtc, name: Text) -> Evidence:
    """A code in words: who stores it, what it means, and whether it fails now."""
    text = dtc.text or Text("no public description", "无公开说明")
    state = _state(dtc)
    return Evidence(
        "dtc",
        f"{dtc.ecu or '?'} {dtc.display}",
        Text(
            f"{name.en} stores {dtc.display}: {text.en} ({state.en})",
            f"{name.zh} 存有 {dtc.display}：{text.zh}（{state.zh}）",
        ),
    )


def _state(dtc: Dtc) -> Text:
    status = dtc.status
    if status and status.failing_now:
        return Text("failing now", "当前故障")
    if status and status.confirmed:
        return Text("confirmed, not failing now", "历史故障，当前不存在")
    if DtcKind.STORED in dtc.kind or not (dtc.kind or status):
        return Text("stored", "已存储")
    if DtcKind.PENDING in dtc.kind or (status and status.pending):
        return Text("pending", "待定")
    return Text("permanent", "永久")


def is_failing(dtc: Dtc) -> bool:
    """It fails now, or nobody can tell: an OBD list of stored codes has no status."""
    if dtc.status is not None:
        return dtc.status.failing_now
    return DtcKind.STORED in dtc.kind or not dtc.kind


def is_pending_only(dtc: Dtc) -> bool:
    """Seen once and not confirmed, and not failing now."""
    if dtc.status and (dtc.status.failing_now or dtc.status.confirmed):
        return False
    if dtc.status and dtc.status.pending and not dtc.kind:
        return True
    return set(dtc.kind) == {DtcKind.PENDING}


def urgency_of(dtcs: Iterable[Dtc], *others: Severity) -> Severity:
    """The most urgent of the codes' own and the other severities; a code that is only pending is at most SOON."""
    own = [Severity.SOON if is_pending_only(dtc) and dtc.severity is Severity.STOP else dtc.severity for dtc in dtcs]
    return min((*own, *others), key=lambda severity: severity.rank)


def safety_of_dtc(dtc: Dtc, severity: Severity) -> str:
    """Which safety steps a code asks for by the reason of its urgency; empty where it concerns no high voltage.

    Evacuation steps belong to a fire hazard that is there now; one that has passed is still high-voltage work.
    """
    if severity not in (Severity.STOP, Severity.SOON):
        return ""
    reason = find_reason(dtc.code, dtc.failure_type)
    key = next((name for name, text in load_reasons().items() if text == reason), "")
    steps = str(load_rules()["reason_safety"].get(key, ""))
    return "hv" if steps == "thermal" and (severity is not Severity.STOP or not is_failing(dtc)) else steps


def measured(ref: str, en: str, zh: str, value: float | None, unit: str) -> Evidence:
    """A figure of the battery as evidence."""
    return Evidence("signal", ref, Text(en, zh), value, unit)
