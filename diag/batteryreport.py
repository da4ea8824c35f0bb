"""A battery report: the figures of the moment, what time and load show, state of health, findings.

The same for broadcast frames, polled values, telematics and charging data: all come in as series.

Standard: none; practice as collected in ``docs/standards.md`` (battery).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from diag.battery import battery_from_series
from diag.batterydoctor import BatteryStudy, study_battery, with_study
from diag.findings import findings_from_facts
from diag.limits import load_limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diag.celltypes import CellType
    from diag.facts import BatteryState, Finding, Json, Series
    from diag.limits import BatteryLimits

__all__ = ["BatteryReport", "battery_report"]


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
            "warranty_percent": load_limits().warranty_percent,
            "warranty_years": load_limits().warranty_years,
            "findings": [finding.to_json() for finding in self.findings],
        }


def battery_report(
    series: Mapping[str, Series],
    *,
    source: str,
    limits: BatteryLimits | None = None,
    kind: CellType | None = None,
    rated_ah: float | None = None,
) -> BatteryReport | None:
    """Judges a battery by its series.

    Args:
        series: signal name -> series, units as in the database.
        source: where they are from.
        limits: other than those of the rule file.
        kind: the cells' type where it is known.
        rated_ah: capacity when new.

    Returns:
        None when there is no traction battery among the signals.
    """
    state = battery_from_series(series, source=source, limits=limits)
    if state is None:
        return None
    study = study_battery(series, limits=limits, state=state, kind=kind, rated_ah=rated_ah)
    state = with_study(state, study)
    findings = findings_from_facts(dtcs=(), battery=state, studied=study.findings if study else ())
    starts = [int(item.t_ns[0]) for item in series.values() if len(item.t_ns)]
    started_ns = min((start for start in starts if start >= _YEAR_2000_NS), default=None)
    return BatteryReport(state, study, findings, started_ns)


_YEAR_2000_NS: Final = 946_684_800_000_000_000
