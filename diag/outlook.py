"""Warning before the breakdown: figures of a car over its visits or telematics days, and when they will cross a limit.

A line is laid through the figure over time so that single bad readings do not decide (Theil-Sen), with an interval of
95 % for its slope. A warning is given only when the slope is sure, larger than what such a figure wanders by, and the
crossing lies near enough to matter. A sound car gives none.

Standard: none; practice as collected in ``docs/standards.md`` (battery).
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from diag.facts import Severity, Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from diag.facts import Json

    Floats = NDArray[np.float64]

__all__ = ["Outlook", "Watched", "look_ahead", "point_from_json", "watched_figures"]

_FILE: Final = Path(__file__).parent / "rules" / "outlook.toml"
_DAY_NS: Final = 86_400_000_000_000
_FEWEST: Final = 4
_NORMAL_95: Final = 1.96


@dataclass(frozen=True, slots=True)
class Watched:
    """A figure that is watched over time; a setting in ``rules/outlook.toml``.

    Args:
        limit: where it must not go.
        falls: the limit is below; else above.
        wander: how far it moves from visit to visit in a sound car, 1 sigma (of the logarithm where ``is_log``).
        is_log: it is followed as a logarithm, as what grows by a share.
        soon_days: a crossing within this time is urgent.
        horizon_days: one after this time is not told.
    """

    name: str
    title: Text
    unit: str
    limit: float
    falls: bool
    wander: float
    is_log: bool
    soon_days: float
    horizon_days: float


@dataclass(frozen=True, slots=True)
class Outlook:
    """A warning.

    Args:
        per_month: change in 30 days; a share of the value where the figure is followed as a logarithm.
        value: where the line stands at the last day.
        days: until the limit is crossed, and the interval of 95 % (inf = perhaps never).
        points: visits or days that it rests on.
    """

    figure: Watched
    per_month: float
    value: float
    days: float
    interval_days: tuple[float, float]
    points: int
    span_days: float

    @property
    def severity(self) -> Severity:
        """How near it is."""
        return Severity.SOON if self.days <= self.figure.soon_days else Severity.MONITOR

    @property
    def text(self) -> Text:
        """The warning in words."""
        early, late = self.interval_days
        when, when_zh = f"{self.days:.0f} days", f"{self.days:.0f} 天"
        to, to_zh = ("never", "不会") if not np.isfinite(late) else (f"{late:.0f}", f"{late:.0f}")
        change = f"{100 * self.per_month:+.1f} %" if self.figure.is_log else f"{self.per_month:+.3g} {self.figure.unit}"
        return Text(
            f"{self.figure.title.en}: {self.value:.4g} {self.figure.unit}, {change} a month over {self.span_days:.0f} "
            f"days; reaches {self.figure.limit:g} {self.figure.unit} in about {when} ({early:.0f} … {to})",
            f"{self.figure.title.zh}：{self.value:.4g} {self.figure.unit}，{self.span_days:.0f} 天内每月变化 {change}；"
            f"预计约 {when_zh}后达到 {self.figure.limit:g} {self.figure.unit}（{early:.0f} … {to_zh}）",
        )

    def to_json(self) -> Json:
        """One entry of ``outlook``."""
        late = self.interval_days[1]
        return {
            "figure": self.figure.name,
            "severity": self.severity.value,
            "text": self.text.to_json(),
            "value": round(self.value, 4),
            "unit": self.figure.unit,
            "limit": self.figure.limit,
            "per_month": round(self.per_month, 5),
            "days": round(self.days, 1),
            "interval_days": [round(self.interval_days[0], 1), round(late, 1) if np.isfinite(late) else None],
            "points": self.points,
            "span_days": round(self.span_days, 1),
        }


@cache
def watched_figures() -> tuple[Watched, ...]:
    """The figures of the rule file."""
    return tuple(
        Watched(
            item["name"],
            Text(**item["title"]),
            item["unit"],
            item["limit"],
            item["falls"],
            item["wander"],
            item["log"],
            item["soon_days"],
            item["horizon_days"],
        )
        for item in tomllib.loads(_FILE.read_text(encoding="utf-8"))["figure"]
    )


def point_from_json(value: Any) -> tuple[str | None, int, dict[str, float | None]]:
    """VIN, time (UTC nanoseconds) and figures of a saved visit (``huizhen.scan/1`` or ``huizhen.battery/1``).

    Raises:
        ValueError: it is something else, has no time or no battery; says which.
    """
    schema = value.get("schema") if isinstance(value, dict) else None
    if schema not in ("huizhen.scan/1", "huizhen.battery/1"):
        raise ValueError("schema huizhen.scan/1, huizhen.battery/1")
    battery = value.get("battery") if schema == "huizhen.scan/1" else value
    told, vin = value.get("started"), (value.get("vehicle") or {}).get("vin")
    if not isinstance(battery, dict) or not isinstance(battery.get("features"), dict):
        raise ValueError("battery")  # noqa: TRY004 - a file's content is wrong, not a caller's type
    if not isinstance(told, str):
        raise ValueError("started")  # noqa: TRY004 - as above
    figures = {
        str(name): float(figure) if isinstance(figure, (int, float)) else None
        for name, figure in battery["features"].items()
    }
    soh = battery.get("soh")
    figures["soh_percent"] = float(soh["percent"]) if isinstance(soh, dict) else None
    return vin, round(datetime.fromisoformat(told).timestamp() * 1e9), figures


def look_ahead(
    points: Iterable[tuple[int, Mapping[str, float | None]]], figures: Sequence[Watched] | None = None
) -> tuple[Outlook, ...]:
    """Warnings from a car's visits.

    Args:
        points: (UTC nanoseconds, figures by name) of each visit or day, any order.
        figures: which are watched; None = those of the rule file.

    Returns:
        The nearest crossing first; empty on a car that only wanders.
    """
    ordered = sorted(points, key=lambda point: point[0])
    found = []
    for figure in watched_figures() if figures is None else figures:
        seen = [(t_ns, value) for t_ns, values in ordered if (value := values.get(figure.name)) is not None]
        if figure.is_log:
            seen = [(t_ns, value) for t_ns, value in seen if value > 0]
        if outlook := _one(figure, seen):
            found.append(outlook)
    return tuple(sorted(found, key=lambda outlook: outlook.days))


def _one(figure: Watched, seen: Sequence[tuple[int, float]]) -> Outlook | None:
    if len(seen) < _FEWEST:
        return None
    days = np.array([(t_ns - seen[-1][0]) / _DAY_NS for t_ns, _ in seen])
    values = np.array([value for _, value in seen], dtype=np.float64)
    y, limit = (np.log(values), float(np.log(figure.limit))) if figure.is_log else (values, figure.limit)
    span = float(np.ptp(days))
    if span < 1.0:
        return None
    slope, scatter, now = _line(days, y, figure.wander)
    spread = float(((days - days.mean()) ** 2).sum())
    towards = -slope if figure.falls else slope
    if towards - _NORMAL_95 * scatter / np.sqrt(spread) <= 0 or towards * span < 2 * _NORMAL_95 * figure.wander:
        return None
    distance = (now - limit) if figure.falls else (limit - now)
    if distance <= 0:
        return None  # it is there already: that is a finding, no outlook
    until = distance / towards
    early, late = _crossing(towards, distance, scatter, len(days), float(days.mean()), spread)
    if until > figure.horizon_days or until > 4 * span:  # a line is not trusted far beyond what it was laid through
        return None
    month = 30 * slope
    return Outlook(
        figure,
        float(np.expm1(month)) if figure.is_log else month,
        float(np.exp(now)) if figure.is_log else now,
        until,
        (early, late),
        len(seen),
        span,
    )


def _crossing(
    towards: float, distance: float, scatter: float, many: int, middle: float, spread: float
) -> tuple[float, float]:
    """Interval of 95 % of the day at which a line crosses its limit (Fieller), from day 0 on."""
    k = _THEIL_SEN * (_NORMAL_95 * scatter) ** 2
    a = towards**2 - k / spread
    b = -2 * towards * distance + 2 * k * middle / spread
    c = distance**2 - k * (1 / many + middle**2 / spread)
    root = float(np.sqrt(max(0.0, b * b - 4 * a * c)))
    if a <= 0:
        return max(0.0, distance / (2 * towards)), float("inf")
    return max(0.0, (-b - root) / (2 * a)), (-b + root) / (2 * a)


def _line(days: Floats, y: Floats, wander: float) -> tuple[float, float, float]:
    """Slope per day by Theil-Sen, scatter of the readings about the line, and its value at day 0."""
    first, second = np.triu_indices(len(days), 1)
    apart = days[second] - days[first]
    slopes = (y[second] - y[first])[apart > 0] / apart[apart > 0]
    slope = float(np.median(slopes))
    now = float(np.median(y - slope * days))
    rest = y - now - slope * days
    return slope, max(wander, 1.4826 * float(np.median(np.abs(rest)))), now


_THEIL_SEN: Final = 1.25
"""Its variance over that of least squares, with the median of the rest for the value at day 0."""
