"""What a finding means, for people who have a car and no workshop: no codes, no abbreviations, no figures to interpret.

One sentence for each kind of finding; several findings of one kind are said once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.facts import Json
    from huizhen.language import Translator

__all__ = ["charging_words", "finding_words", "part_words"]

_WORN: Final = ("cell-weak", "cell-worn", "cell-resistive", "cell-capacity", "cell-charge-low", "cell-charge-high")
_KINDS: Final = {
    **{f"battery.{name}": "cell" for name in _WORN},
    "battery.cell-short": "heat",
    "thermal.runaway": "heat",
    "thermal.hot": "heat",
    "thermal.gradient": "warm",
    "battery.module-joint": "joint",
    "battery.spread": "spread",
    "battery.over-voltage": "overfull",
    "battery.under-voltage": "empty",
    "battery.sampling-line": "wire",
    "battery.current-offset": "display",
    "battery.soc-jump": "display",
    "thermal.sensor": "probe",
    "thermal.probe-stuck": "probe",
    "thermal.probe-offset": "probe",
    "insulation.low": "insulation",
    "insulation.intermittent": "insulation",
    "hv.contactor-open": "switch",
    "hv.contactor-welded": "switch",
    "hv.precharge-slow": "switch",
    "network.ecu-silent": "silent",
    "software.incompatible": "software",
    "data.vin-mismatch": "mismatch",
    "data.codes-cleared": "cleared",
    "data.cells-missing": "unseen",
    "data.cell-sum": "unseen",
    "monitor.test-failed": "selftest",
    "car.own-flags": "reported",
}
_NO_CHARGE: Final = ("battery.", "thermal.", "insulation.", "hv.")


def finding_words(findings: Sequence[Json], tr: Translator) -> list[tuple[str, str]]:
    """Severity and sentence of each kind of finding, most urgent first."""
    words = {
        "cell": tr("report.plain.cell"),
        "heat": tr("report.plain.heat"),
        "warm": tr("report.plain.warm"),
        "joint": tr("report.plain.joint"),
        "spread": tr("report.plain.spread"),
        "overfull": tr("report.plain.overfull"),
        "empty": tr("report.plain.empty"),
        "wire": tr("report.plain.wire"),
        "display": tr("report.plain.display"),
        "probe": tr("report.plain.probe"),
        "insulation": tr("report.plain.insulation"),
        "switch": tr("report.plain.switch"),
        "silent": tr("report.plain.silent"),
        "software": tr("report.plain.software"),
        "mismatch": tr("report.plain.mismatch"),
        "cleared": tr("report.plain.cleared"),
        "unseen": tr("report.plain.unseen"),
        "selftest": tr("report.plain.selftest"),
        "reported": tr("report.plain.reported"),
    }
    told: dict[str, str] = {}
    for finding in findings:
        kind = _KINDS.get(finding["code"])
        text = words[kind] if kind else tr("report.plain.stored", part=part_words(finding["part"], tr))
        told.setdefault(text, finding["severity"])
    return [(severity, text) for text, severity in told.items()]


def part_words(role: str, tr: Translator) -> str:
    """A control unit's job as a driver would call that part of the car."""
    words = {
        "vcu": tr("report.part.drive"),
        "inverter": tr("report.part.motor"),
        "engine": tr("report.part.engine"),
        "transmission": tr("report.part.transmission"),
        "bms": tr("report.part.battery"),
        "charger": tr("report.part.charger"),
        "dcdc": tr("report.part.supply"),
        "thermal": tr("report.part.cooling"),
        "brakes": tr("report.part.brakes"),
        "steering": tr("report.part.steering"),
        "tyres": tr("report.part.tyres"),
        "body": tr("report.part.body"),
        "airbag": tr("report.part.airbag"),
        "cluster": tr("report.part.cluster"),
        "gateway": tr("report.part.network"),
        "telematics": tr("report.part.network"),
    }
    return words.get(role, tr("report.part.unknown"))


def charging_words(content: Json, tr: Translator) -> str | None:
    """May it be charged; None for a car without a plug."""
    if not content["high_voltage"]:
        return None
    about = [finding for finding in content["findings"] if finding["code"].startswith(_NO_CHARGE)]
    if content["fire"] or any(finding["severity"] == "stop" for finding in about):
        return tr("report.charge.no")
    if any(finding["severity"] == "soon" for finding in about):
        return tr("report.charge.slow")
    if content["drive"] == "stop":
        return tr("report.charge.after")
    return tr("report.charge.unproven") if content["drive"] == "unproven" else tr("report.charge.yes")
