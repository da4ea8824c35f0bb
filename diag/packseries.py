"""A pack over time on one grid: all cells, current, charge and temperatures, for what needs them side by side.

A battery's signals arrive in different messages at different moments. Here they are averaged in bins of equal length;
bins in which the current moved count less, because a cell and the current are then not of the same moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from diag.batterynames import BatterySignals
    from diag.limits import BatteryLimits
    from diag.samples import Series

    Floats = NDArray[np.float64]

__all__ = ["PackSeries", "pack_series"]

_USUAL_BIN_S: Final = 1.0
_SHORTEST_BIN_S: Final = 0.05
_BINS_OF_SHORT: Final = 150
_MOST_BINS: Final = 40_000
_STEADY_SHARE: Final = 0.08
_STEADY_FLOOR_A: Final = 2.0
_ENOUGH_STEPS: Final = 10
_STEP_A: Final = 5.0


@dataclass(frozen=True, slots=True)
class PackSeries:
    """One row per bin, N rows; NaN where nothing believable arrived.

    Args:
        t_s: seconds since the first row, shape ``(N,)``.
        bin_s: length of a bin.
        cell_v: shape ``(N, cells)``.
        current_a: positive = discharge, shape ``(N,)``.
        soc: state of charge 0..1 as the car tells it.
        temperature_c: shape ``(N, probes)``.
        pack_v: shape ``(N,)``.
        weight: 0..1, how far a row's cells and current are of the same moment: 1 where the current stood still.
        sign_known: False where nothing told which way the current is counted; discharge is then taken for positive.
        is_flipped: the car counts charging as positive.
    """

    t_s: Floats
    bin_s: float
    cell_v: Floats
    current_a: Floats
    soc: Floats
    temperature_c: Floats
    pack_v: Floats
    weight: Floats
    sign_known: bool
    is_flipped: bool

    @property
    def median_v(self) -> Floats:
        """Median of the cells per row."""
        with np.errstate(all="ignore"):
            return _nan_median(self.cell_v)


def _nan_median(table: Floats) -> Floats:
    out = np.full(len(table), np.nan)
    seen = np.isfinite(table).any(axis=1)
    if seen.any():
        out[seen] = np.nanmedian(table[seen], axis=1)
    return out


def pack_series(
    series: Mapping[str, Series], signals: BatterySignals, limits: BatteryLimits, *, is_flipped: bool | None = None
) -> PackSeries | None:
    """Puts a battery's series on one grid.

    Args:
        series: by signal name, units as in the database.
        signals: which is what.
        limits: which readings are possible.
        is_flipped: whether charging is positive; None = by what the voltage does when the current moves.

    Returns:
        None when there are no cells or nothing believable.
    """
    first = [series[name] for name, _ in signals.cells.values() if name in series]
    times = [item.t_ns[[0, -1]] for item in first if len(item.t_ns)]
    if not times:
        return None
    start_ns, end_ns = min(int(pair[0]) for pair in times), max(int(pair[1]) for pair in times)
    steps = [float(np.median(np.diff(item.t_ns))) / 1e9 for item in first if len(item.t_ns) > 1]
    period_s = float(np.median(steps)) if steps else _USUAL_BIN_S
    length_s = (end_ns - start_ns) / 1e9
    bin_s = max(period_s, min(_USUAL_BIN_S, length_s / _BINS_OF_SHORT), length_s / _MOST_BINS, _SHORTEST_BIN_S)
    rows = int(length_s / bin_s) + 1

    def column(name: str | None, scale: float, possible: tuple[float, float]) -> Floats:
        item = series.get(name) if name else None
        if item is None or not len(item.values):
            return np.full(rows, np.nan)
        values = item.values * scale
        good = item.valid & (values >= possible[0]) & (values <= possible[1])
        at = ((item.t_ns[good] - start_ns) / 1e9 / bin_s).astype(np.int64)
        inside = (at >= 0) & (at < rows)
        at, chosen = at[inside], values[good][inside]
        count = np.bincount(at, minlength=rows)
        with np.errstate(invalid="ignore"):
            return np.bincount(at, weights=chosen, minlength=rows) / np.where(count, count, np.nan)

    nothing = ("", 1.0)
    cells = np.column_stack(
        [column(*signals.cells.get(number, nothing), limits.cell_possible_v) for number in range(1, signals.count + 1)]
    )
    probes = [
        column(signals.temperatures[number], 1.0, limits.temperature_possible_c)
        for number in sorted(signals.temperatures)
    ]
    current = column(signals.current, 1.0, (-3000.0, 3000.0))
    soc = column(signals.soc, 0.01, (0.0, 1.0))
    pack_v = column(*(signals.pack_v or nothing), limits.pack_possible_v)
    median = _nan_median(cells)
    learned = _learn_sign(median, current)
    flipped = (learned if learned is not None else False) if is_flipped is None else is_flipped
    current = -current if flipped else current
    return PackSeries(
        t_s=np.arange(rows, dtype=np.float64) * bin_s,
        bin_s=bin_s,
        cell_v=cells,
        current_a=current,
        soc=soc,
        temperature_c=np.column_stack(probes) if probes else np.empty((rows, 0)),
        pack_v=pack_v,
        weight=_weights(current, signals.current, series, start_ns, bin_s),
        sign_known=learned is not None or is_flipped is not None,
        is_flipped=flipped,
    )


def _learn_sign(median_v: Floats, current_a: Floats) -> bool | None:
    """True when the voltage rises with the current (charging is positive); None without enough steps."""
    dv, di = np.diff(median_v), np.diff(current_a)
    step = np.isfinite(dv) & np.isfinite(di) & (np.abs(di) >= _STEP_A)
    if int(step.sum()) < _ENOUGH_STEPS:
        return None
    agree = float(np.mean(np.sign(dv[step]) == np.sign(di[step])))
    if 0.3 < agree < 0.7:
        return None
    return agree > 0.5


def _weights(current_a: Floats, name: str | None, series: Mapping[str, Series], start_ns: int, bin_s: float) -> Floats:
    rows = len(current_a)
    item = series.get(name) if name else None
    if item is None or not item.valid.any():
        return np.ones(rows)
    values, times = item.values[item.valid], item.t_ns[item.valid]
    at = ((times - start_ns) / 1e9 / bin_s).astype(np.int64)
    inside = (at >= 0) & (at < rows)
    low, high = np.full(rows, np.inf), np.full(rows, -np.inf)
    np.minimum.at(low, at[inside], values[inside])
    np.maximum.at(high, at[inside], values[inside])
    # With one reading per bin the step to the bins beside it tells how fast the current moves.
    low[1:], high[1:] = np.minimum(low[1:], low[:-1].copy()), np.maximum(high[1:], high[:-1].copy())
    allowed = max(_STEADY_FLOOR_A, _STEADY_SHARE * float(np.percentile(np.abs(values), 90)))
    moved = np.where(np.isfinite(high - low), high - low, np.inf)
    return 1 / (1 + (moved / allowed) ** 2)
