"""What moved first: the signals around an event in the order in which they left their usual range.

Each signal is held against its own past before the event: the range it kept, continued where it ran steadily. What
leaves that range and stays away has moved; a message that stops has moved too, at its last frame. The earliest comes
first, because a cause moves before its consequences. What moves all the time with the driver keeps a wide range and so
does not come up by itself.

Standard: none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from diag.facts import Json
    from diag.samples import Series

    Floats = NDArray[np.float64]

__all__ = ["Moved", "what_moved_first"]

_BEFORE_S: Final = 20.0
"""What lies this long before the event, or longer, is taken for the usual."""
_FEWEST: Final = 8
_STAYS_S: Final = 3.0
_STAYS_SHARE: Final = 0.7
_MISSED: Final = 6
_SILENT_S: Final = 0.3
_SAME_MOMENT_S: Final = 0.25
_STATES: Final = 16
_GUESSED_STEP: Final = 0.05
_CLEAR: Final = 1.5
_FAMILY: Final = 4
_UNEVEN: Final = 3
_SILENT_SCORE: Final = 10.0


@dataclass(frozen=True, slots=True)
class Moved:
    """One signal.

    Args:
        t_ns: its last usual value, or when it was heard last.
        score: how far, in widths of that range.
        before: usual value.
        after: value in the seconds after; None when it fell silent.
    """

    signal: str
    unit: str
    t_ns: int
    score: float
    before: float
    after: float | None

    @property
    def fell_silent(self) -> bool:
        """Nothing was heard of it any more."""
        return self.after is None

    def to_json(self, event_ns: int) -> Json:
        """One entry of ``moved``."""
        return {
            "signal": self.signal,
            "unit": self.unit,
            "s": round((self.t_ns - event_ns) / 1e9, 3),
            "score": round(self.score, 2),
            "before": self.before,
            "after": self.after,
        }


def what_moved_first(series: Mapping[str, Series], start_ns: int, event_ns: int, end_ns: int) -> tuple[Moved, ...]:
    """Ranks the signals of a recording around an event.

    Args:
        series: by signal name.
        start_ns: where the recording begins; some minutes before the event tell what is usual.
        event_ns: the event.
        end_ns: where it ends.

    Returns:
        Those that moved, the earliest first; of those that moved in the same quarter of a second the farthest.
    """
    usual_until = max(start_ns + (event_ns - start_ns) // 2, event_ns - int(_BEFORE_S * 1e9))
    quanta = _quanta(series)
    apart = _apart_from_family(series)
    found = []
    for item in series.values():
        seen = item.valid & np.isfinite(item.values) & (item.t_ns >= start_ns) & (item.t_ns <= end_ns)
        quantum = quanta[_family(item)]
        moved = _one(item, item.t_ns[seen], item.values[seen], usual_until, end_ns, quantum)
        if item.name in apart:
            own = _one(item, item.t_ns[seen], apart[item.name][seen], usual_until, end_ns, quantum)
            if own is not None and (moved is None or own.t_ns < moved.t_ns):
                moved = _with_values(own, item, seen)
        if moved is not None:
            found.append(moved)
    return tuple(_in_order(found))


def _family(item: Series) -> tuple[str, str]:
    """Signals that differ by their number only are measured alike: ``CellTemp_01``, ``CellTemp_02`` …."""
    return re.sub(r"\d+", "", item.name), item.unit


def _apart_from_family(series: Mapping[str, Series]) -> dict[str, Floats]:
    """Signals of one kind against their median: a cell that sags is seen although all cells follow the current."""
    families: dict[tuple[str, str], list[Series]] = {}
    for item in series.values():
        families.setdefault(_family(item), []).append(item)
    out: dict[str, Floats] = {}
    for members in families.values():
        shortest = min(len(item.values) for item in members)
        longest = max(len(item.values) for item in members)
        if len(members) < _FAMILY or longest - shortest > _UNEVEN or shortest < _FEWEST:
            continue
        table = np.full((longest, len(members)), np.nan)
        for at, item in enumerate(members):
            table[: len(item.values), at] = np.where(item.valid, item.values, np.nan)
        seen = np.isfinite(table).any(axis=1)
        middle = np.full(longest, np.nan)
        middle[seen] = np.nanmedian(table[seen], axis=1)
        for item in members:
            away = item.values - middle[: len(item.values)]
            out[item.name] = np.where(np.isfinite(away), away, 0.0)
    return out


def _with_values(moved: Moved, item: Series, seen: NDArray[np.bool_]) -> Moved:
    """The same with the signal's own values instead of its distance from the others."""
    t_ns, values = item.t_ns[seen], item.values[seen]
    before = values[(t_ns <= moved.t_ns) & (t_ns > moved.t_ns - int(_STAYS_S * 1e9))]
    after = values[(t_ns > moved.t_ns) & (t_ns <= moved.t_ns + int(_STAYS_S * 1e9))]
    if moved.after is None or not len(before) or not len(after):
        return moved
    return replace(moved, before=float(np.median(before)), after=float(np.median(after)))


def _quanta(series: Mapping[str, Series]) -> dict[tuple[str, str], float | None]:
    """The smallest step of each family; None where none of it ever moved twice."""
    steps: dict[tuple[str, str], list[float]] = {}
    for item in series.values():
        jumps = np.diff(np.unique(item.values[item.valid & np.isfinite(item.values)]))
        own = steps.setdefault(_family(item), [])
        if len(jumps):
            own.append(float(jumps.min()))
    return {family: min(own) if len(own) > 1 else None for family, own in steps.items()}


def _in_order(found: list[Moved]) -> list[Moved]:
    """By time; those within one moment of the first of them by how far they went.

    What went beyond its range by less than the range itself comes after: somebody drove a little harder than before.
    """
    ordered: list[Moved] = []
    for is_clear in (True, False):
        group: list[Moved] = []
        for moved in sorted(found, key=lambda one: one.t_ns):
            if (moved.score >= _CLEAR or moved.fell_silent) is not is_clear:
                continue
            if group and moved.t_ns - group[0].t_ns > _SAME_MOMENT_S * 1e9:
                ordered += sorted(group, key=lambda one: -one.score)
                group = []
            group.append(moved)
        ordered += sorted(group, key=lambda one: -one.score)
    return ordered


def _one(
    item: Series, t_ns: NDArray[np.int64], values: Floats, usual_until: int, end_ns: int, quantum: float | None
) -> Moved | None:
    past = int(np.searchsorted(t_ns, usual_until, side="right"))
    if past < _FEWEST:
        return None
    usual, times = values[:past], t_ns[:past]
    middle = float(np.median(usual))
    left = _left_range(t_ns, values, past, quantum)
    if left is not None:
        at, score = left
        until = int(np.searchsorted(t_ns, t_ns[at] + int(_STAYS_S * 1e9), side="right"))
        # It moved between its last usual value and the next: a slow message must not come after what it caused.
        return Moved(item.name, item.unit, int(t_ns[at - 1]), score, middle, float(np.median(values[at:until])))
    cycle_ns = float(np.median(np.diff(times)))
    if end_ns - int(t_ns[-1]) > max(_MISSED * cycle_ns, _SILENT_S * 1e9):
        return Moved(item.name, item.unit, int(t_ns[-1]), _SILENT_SCORE, middle, None)
    return None


def _left_range(t_ns: NDArray[np.int64], values: Floats, past: int, quantum: float | None) -> tuple[int, float] | None:
    """Row at which the values leave their past range for good, and how far they go in widths of it."""
    usual = values[:past]
    t_s = (t_ns - t_ns[0]) / 1e9
    steps = np.diff(usual)
    distinct = np.unique(usual)
    if len(distinct) > 3 and (np.all(steps >= 0) or np.all(steps <= 0)):
        slope, level = np.polyfit(t_s[:past], usual, 1)
        values = values - slope * t_s - level
        usual = values[:past]
        distinct = np.unique(usual)
    low, high = float(usual.min()), float(usual.max())
    everything = np.unique(values)
    jumps = np.diff(everything)
    if quantum is None or quantum > high - low > 0:
        quantum = float(jumps.min()) if len(jumps) > 1 else _GUESSED_STEP * max(abs(low), abs(high))
    is_state = len(everything) <= _STATES and bool(np.all(everything == np.rint(everything)))
    margin = 0.3 * (high - low) + 2 * quantum if high > low else 0.0 if is_state else 3.5 * quantum
    if not is_state and high - low <= 4 * quantum:
        margin = max(margin, 3.5 * quantum)  # it drifts by single steps, as temperatures do
    out = (values < low - margin) | (values > high + margin)
    out[:past] = False
    if not out.any():
        return None
    width = max(high - low, 1.0 if is_state else quantum, 1e-12)
    for at in np.flatnonzero(out)[:200]:
        until = int(np.searchsorted(t_s, t_s[at] + _STAYS_S, side="right"))
        if float(out[at:until].mean()) >= _STAYS_SHARE:
            part = values[at:until]
            away = np.maximum(low - part, part - high)
            score = float(np.median(away)) / width
            return int(at), score if high > low else max(_CLEAR, score)
    return None
