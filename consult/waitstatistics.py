"""How long cars waited, and how many experts the next hours need: from the entries of the queue. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from consult.staffing import Staffing, staffing_for
from consult.waitclocks import CLOCKS, QueueConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from consult.waitingline import Entry

__all__ = ["DAY_US", "clock_statistics", "durations_s", "handling_s", "hourly_staffing", "percentile"]

DAY_US: Final = 86_400_000_000
_HOUR_US: Final = 3_600_000_000


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of the values do not exceed (nearest rank); of none it is nan."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def durations_s(entries: Iterable[Entry], clock: str) -> list[float]:
    """What a clock showed when it stopped, in seconds; withdrawn cars and those who still wait have no such time."""
    found = []
    for one in entries:
        begin, end = {
            "accept": (one.queued_us, one.accepted_us),
            "finding": (one.accepted_us, one.finding_us),
            "resolve": (one.accepted_us, one.ended_us),
        }[clock]
        if begin is not None and end is not None:
            found.append((end - begin) / 1e6)
    return found


def clock_statistics(entries: Sequence[Entry], config: QueueConfig) -> dict[str, Any]:
    """Per clock: how many, mean and 95th percentile in seconds, how many within the target; also by severity.

    Numbers are None where there is nothing to count.
    """
    told: dict[str, Any] = {}
    for clock in CLOCKS:
        told[clock] = _one_clock(entries, clock, config)
        told[clock]["by_severity"] = {
            severity: _one_clock([one for one in entries if one.need.severity == severity], clock, config)
            for severity in ("danger", "high", "normal")
        }
    return told


def _one_clock(entries: Sequence[Entry], clock: str, config: QueueConfig) -> dict[str, Any]:
    values = durations_s(entries, clock)
    timely = sum(
        value <= config.target_s(clock, one.need.severity) for one in entries for value in durations_s([one], clock)
    )
    return {
        "n": len(values),
        "mean_s": round(sum(values) / len(values), 1) if values else None,
        "p95_s": round(percentile(values, 0.95), 1) if values else None,
        "within": round(timely / len(values), 4) if values else None,
    }


def handling_s(entries: Iterable[Entry]) -> float | None:
    """Mean time from accepted to ended; None while no case has ended."""
    values = durations_s(entries, "resolve")
    return sum(values) / len(values) if values else None


def _utc_hour(t_us: int) -> int:
    return datetime.fromtimestamp(t_us / 1e6, tz=UTC).hour


def hourly_staffing(
    entries: Iterable[Entry],
    since_us: int,
    now_us: int,
    handling: float,
    config: QueueConfig,
    *,
    hour_of: Callable[[int], int] = _utc_hour,
) -> list[Staffing]:
    """What Erlang C asks for in each hour of the day, 0 to 23, from what came between two times.

    An hour of the day counts as often as it began in the window, so that half a day of a short window is not taken for
    a quiet one; where it never did, it counts once.

    Args:
        entries: those who began to wait in the window.
        since_us: when the window begins.
        now_us: when it ends.
        handling: mean seconds a case takes.
        config: the target.
        hour_of: the hour of the day of a time; UTC unless told otherwise.
    """
    came, counted = [0] * 24, [0.0] * 24
    for one in entries:
        came[hour_of(one.queued_us)] += 1
    t_us = since_us
    while t_us < now_us:
        end_us = min(t_us + _HOUR_US - t_us % _HOUR_US, now_us)
        counted[hour_of(t_us)] += (end_us - t_us) / _HOUR_US
        t_us = end_us
    return [
        staffing_for(count / max(1.0, hours), handling, share=config.share, within_s=config.accept_s)
        for count, hours in zip(came, counted, strict=True)
    ]
