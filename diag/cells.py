"""Which cell of a pack, and which temperature probe, stands out from the others.

Everything is measured from the median with the median absolute deviation, never with a mean and a spread that contain
the bad cell. A sense wire that reads wrong is found first and its two cells are left out before the rest is judged.

Standard: none; practice as collected in ``docs/standards.md`` (battery).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from diag.limits import BatteryLimits

__all__ = ["CellView", "LowCell", "WirePair", "find_bad_probes", "ranges_from_numbers", "view_cells"]

_FEWEST: Final = 4
"""Cells, or probes, that make a median worth comparing with."""


@dataclass(frozen=True, slots=True)
class WirePair:
    """Cells ``cell`` and ``cell + 1``, apart from the median in opposite directions by at least ``millivolts``."""

    cell: int
    millivolts: float


@dataclass(frozen=True, slots=True)
class LowCell:
    """A cell below the median by ``millivolts``, which is ``score`` times the usual scatter."""

    cell: int
    millivolts: float
    score: float


@dataclass(frozen=True, slots=True)
class CellView:
    """How the cells of a pack stand to each other; cells count from 1.

    Args:
        pairs: sense wires that read wrong, by the cells on both sides.
        lowest: the lowest cell of the rest, None with fewer than four.
        standing_out: the cells of the rest that are low by the limits, the lowest first.
        spread_mv: highest minus lowest of the rest.
        high_mv: the highest cell above the median, the cells of ``pairs`` included.
    """

    pairs: tuple[WirePair, ...] = ()
    lowest: LowCell | None = None
    standing_out: tuple[LowCell, ...] = ()
    spread_mv: float | None = None
    high_mv: float | None = None


def view_cells(volts: Sequence[float | None], limits: BatteryLimits) -> CellView:
    """Compares the cells of a pack; None is a cell that was not measured."""
    rest = np.array([np.nan if value is None else value for value in volts], dtype=np.float64)
    pairs: list[WirePair] = []
    if np.isfinite(rest).sum() < _FEWEST:
        return CellView()
    high_mv = float(np.nanmax(rest - np.nanmedian(rest))) * 1000
    while np.isfinite(rest).sum() >= _FEWEST:
        deviation_mv, sigma_mv = _deviations(rest, limits)
        pair = _find_pair(deviation_mv, sigma_mv, limits)
        if pair is None:
            return _judge_rest(rest, deviation_mv, sigma_mv, limits, tuple(pairs), high_mv)
        pairs.append(pair)
        rest[pair.cell - 1 : pair.cell + 1] = np.nan
    return CellView(tuple(pairs), high_mv=high_mv)


def _deviations(rest: NDArray[np.float64], limits: BatteryLimits) -> tuple[NDArray[np.float64], float]:
    """Each cell against the median, and the usual scatter; both in mV."""
    deviation_mv = (rest - np.nanmedian(rest)) * 1000
    return deviation_mv, max(1.4826 * float(np.nanmedian(np.abs(deviation_mv))), limits.mad_floor_mv)


def _judge_rest(
    rest: NDArray[np.float64],
    deviation_mv: NDArray[np.float64],
    sigma_mv: float,
    limits: BatteryLimits,
    pairs: tuple[WirePair, ...],
    high_mv: float,
) -> CellView:
    below = {number: -float(mv) for number, mv in enumerate(deviation_mv, start=1) if np.isfinite(mv)}
    ordered = [LowCell(number, mv, mv / sigma_mv) for number, mv in sorted(below.items(), key=lambda item: -item[1])]
    return CellView(
        pairs,
        ordered[0],
        tuple(low for low in ordered if low.millivolts >= limits.cell_low_monitor_mv and low.score >= limits.z_flag),
        float(np.nanmax(rest) - np.nanmin(rest)) * 1000,
        high_mv,
    )


def _find_pair(deviation_mv: NDArray[np.float64], sigma_mv: float, limits: BatteryLimits) -> WirePair | None:
    """The two neighbours that stand furthest apart in opposite directions by about the same amount.

    A sense wire between two cells that reads wrong moves both readings against each other and leaves their sum alone;
    a bad cell moves only itself.
    """
    left, right = deviation_mv[:-1], deviation_mv[1:]
    smaller = np.minimum(np.abs(left), np.abs(right))
    larger = np.maximum(np.abs(left), np.abs(right))
    with np.errstate(invalid="ignore"):
        pair = (
            (left * right < 0)
            & (smaller >= max(limits.z_flag * sigma_mv, limits.opposition_mv))
            & (np.abs(left + right) <= limits.opposition_imbalance * larger)
        )
    if not pair.any():
        return None
    at = int(np.argmax(np.where(pair, smaller, 0.0)))
    return WirePair(at + 1, float(smaller[at]))


def find_bad_probes(celsius: Sequence[float | None], limits: BatteryLimits) -> tuple[int, ...]:
    """Probes, counted from 1, that read what a probe reads when it is broken or its wire is open or shorted.

    At the ends of the measuring range while the others are not near, or alone far above the median of at least four.
    Two probes that are hot together are believed.
    """
    seen = {number: value for number, value in enumerate(celsius, start=1) if value is not None}
    low, high = limits.probe_possible_c
    bad = set()
    for number, value in seen.items():
        others = [other for at, other in seen.items() if at != number]
        middle = float(np.median(others)) if others else None
        at_an_end = value <= low or value >= high
        if at_an_end and (middle is None or abs(value - middle) > limits.probe_outlier_k / 2):
            bad.add(number)
    if len(seen) >= _FEWEST:
        middle = float(np.median(list(seen.values())))
        far = [number for number, value in seen.items() if value - middle > limits.probe_outlier_k]
        bad.update(far if len(set(far) - bad) == 1 else ())
    return tuple(sorted(bad))


def ranges_from_numbers(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Neighbouring numbers as (first, last)."""
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found
