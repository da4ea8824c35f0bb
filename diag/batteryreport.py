"""A battery report: the figures of the moment, what time and load show, state of health, findings.

The same for broadcast frames, polled values, telematics and charging data: all come in as series.

Standard: none; practice as collected in ``docs/standards.md`` (battery).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import numpy as np

from diag.battery import battery_from_series, find_battery_signals
from diag.batterydoctor import BatteryStudy, study_battery, with_study
from diag.facts import Text
from diag.findings import findings_from_facts
from diag.limits import limits_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diag.celltypes import CellType
    from diag.facts import BatteryState, Finding, Json
    from diag.limits import BatteryLimits
    from diag.samples import Series

__all__ = ["BatteryReport", "battery_report", "find_misfit"]


@dataclass(frozen=True, slots=True)
class BatteryReport:
    """One battery, judged.

    Args:
        study: None where there is no recording of cells.
        started_ns: UTC of the first reading; None where the recording's clock starts anywhere.
    """

    state: BatteryState
    study: BatteryStudy | None
    findings: tuple[Finding, ...]
    started_ns: int | None = None

    @property
    def figures(self) -> dict[str, float | None]:
        """What is followed over visits."""
        soh = self.state.soh
        return {**self.state.features, "soh_percent": float(soh["percent"]) if soh else None}

    def to_json(self) -> Json:
        """``huizhen.battery/1``."""
        study, state = self.study, self.state.to_json()
        return {
            "schema": "huizhen.battery/1",
            "started": None
            if self.started_ns is None
            else datetime.fromtimestamp(self.started_ns / 1e9, UTC).isoformat(timespec="milliseconds"),
            **state,
            "soh_methods": [item.to_json() for item in study.health.methods] if study else [],
            "soh_missing": study.health.why_not.to_json() if study and study.health.why_not else None,
            "study": study.to_json() if study else None,
            "warranty_percent": limits_for(None).warranty_percent,
            "warranty_years": limits_for(None).warranty_years,
            "findings": [finding.to_json() for finding in self.findings],
        }


def find_misfit(series: Mapping[str, Series], limits: BatteryLimits | None = None) -> Text | None:
    """Why these cannot be a battery's signals: a database of another car turns its bytes into such voltages.

    Readings that stand still, zero or all ones are what a sleeping unit sends, and are no proof.

    Returns:
        the worst signal with its values, None where at least half of the cells are believable.
    """
    limits = limits or limits_for(None)
    signals = find_battery_signals({name: item.unit for name, item in series.items()})
    if signals is None or not signals.cells:
        return None
    odd: list[tuple[float, str, float, float, str]] = []
    for name, scale in signals.cells.values():
        item = series[name]
        volts = item.values[item.valid] * scale
        if not len(volts):
            continue
        outside = (volts < limits.cell_possible_v[0]) | (volts > limits.cell_possible_v[1])
        if outside.mean() > 0.5 and (volts.min() < 0 or float(np.ptp(volts)) > 0):
            worst = float(np.abs(volts - 3.5).max())
            odd.append(
                (worst, name, float(item.values[item.valid].min()), float(item.values[item.valid].max()), item.unit)
            )
    if 2 * len(odd) <= len(signals.cells):
        return None
    _, name, low, high, unit = max(odd)
    return Text(
        f"{name} reads {low:g} … {high:g} {unit}, which no cell has ({len(odd)} of {len(signals.cells)} cells are so)",
        f"{name} 读数为 {low:g} … {high:g} {unit}，单体不可能有此电压"
        f"（{len(signals.cells)} 个单体中有 {len(odd)} 个如此）",
    )


def battery_report(
    series: Mapping[str, Series],
    *,
    source: str,
    limits: BatteryLimits | None = None,
    kind: CellType | None = None,
    rated_ah: float | None = None,
    rated_mohm: float | None = None,
    is_flipped: bool | None = None,
) -> BatteryReport | None:
    """Judges a battery by its series.

    Args:
        series: signal name -> series, units as in the database.
        source: where they are from.
        limits: other than those of the rule file.
        kind: the cells' type where it is known.
        rated_ah: capacity when new.
        rated_mohm: resistance of one cell when new.
        is_flipped: whether charging is counted as positive; None = learned from the voltage.

    Returns:
        None when there is no traction battery among the signals.
    """
    state = battery_from_series(series, source=source, limits=limits)
    if state is None:
        return None
    study = study_battery(
        series,
        limits=limits,
        state=state,
        kind=kind,
        rated_ah=rated_ah,
        rated_mohm=rated_mohm,
        is_flipped=is_flipped,
    )
    state = with_study(state, study)
    findings = findings_from_facts(dtcs=(), battery=state, studied=study.findings if study else (), limits=limits)
    starts = [int(item.t_ns[0]) for item in series.values() if len(item.t_ns)]
    started_ns = min((start for start in starts if start >= _YEAR_2000_NS), default=None)
    return BatteryReport(state, study, findings, started_ns)


_YEAR_2000_NS: Final = 946_684_800_000_000_000
