"""Strip charts: what signals did in the last seconds, drawn with dots of braille.

:class:`SignalHistory` keeps every signal of the loaded databases, so that one that is chosen later has its past too. A
column of dots shows the lowest and the highest value of its time: a spike of one sample stays visible.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from huizhen.panelrows import columns, cut, fitted, headed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from huizhen.language import Translator
    from huizhen.panelrows import Piece, Row

__all__ = ["RATE_HZ", "WINDOWS_S", "SignalHistory", "Strip", "draw_strips", "plot"]

RATE_HZ: Final = 10
WINDOWS_S: Final = (10, 30, 60, 120, 300)
"""Seconds that a chart may show."""
_MOST_VALUES: Final = 12_000_000
"""Memory for all signals: 48 MB; with very many of them the past is shorter."""
_COLOURS: Final = 6
_AXIS: Final = 7
_DOTS: Final = 4
"""Dots of a character from top to bottom; it has two columns of them."""
_BITS: Final = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], dtype=np.uint32)
"""Standard: Unicode 15, Braille Patterns."""
_TALLEST: Final = 9
_LOWEST_ROWS: Final = 2


class SignalHistory:
    """The last minutes of all signals, ten samples a second.

    Args:
        count: of signals.
        seconds: how long a sample is kept.
    """

    def __init__(self, count: int, seconds: int = WINDOWS_S[-1]) -> None:
        rows = max(RATE_HZ * WINDOWS_S[0], min(RATE_HZ * seconds, _MOST_VALUES // max(1, count)))
        self._ring = np.full((rows, count), np.nan, dtype=np.float32)
        self.total = 0

    def add(self, values: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
        """One sample of every signal, shape (signals,); what is not valid is a gap."""
        row = self._ring[self.total % len(self._ring)]
        row[:] = values
        row[~valid] = np.nan
        self.total += 1

    def copy(self) -> SignalHistory:
        """All that is kept, as it stands now."""
        other = SignalHistory(0)
        other._ring, other.total = self._ring.copy(), self.total
        return other

    def last(self, column: int) -> float | None:
        """The newest value of a signal; None where there is none now."""
        if not self.total:
            return None
        value = float(self._ring[(self.total - 1) % len(self._ring), column])
        return None if math.isnan(value) else value

    def window(self, column: int, start: int) -> NDArray[np.float32]:
        """A signal's samples from number ``start`` up to the newest; NaN where there are none (any more)."""
        size = len(self._ring)
        numbers = np.arange(start, self.total)
        out: NDArray[np.float32] = self._ring[numbers % size, column]
        out[(numbers < 0) | (numbers < self.total - size)] = np.nan
        return out


@dataclass(frozen=True, slots=True)
class Strip:
    """A chosen signal; ``column`` is None where no loaded database has it."""

    name: str
    unit: str = ""
    column: int | None = None
    colour: int = 0


def draw_strips(
    strips: Sequence[Strip],
    history: SignalHistory | None,
    window_s: int,
    selected: int,
    width: int,
    height: int,
    tr: Translator,
    *,
    is_focused: bool = False,
    is_held: bool = False,
) -> tuple[Row, ...]:
    """The panel of strip charts in ``height`` rows of ``width`` columns.

    Args:
        strips: from top to bottom; those around the selected one are shown where not all fit.
        history: None before the first sample.
        window_s: seconds to show, about: a column of dots is a whole number of samples.
        selected: number of the strip that keys work on.
        width: of the panel, in columns.
        height: of it, in rows.
        tr: for its words.
        is_focused: the keys go to it.
        is_held: the charts stand still.
    """
    dots = 2 * max(1, width - _AXIS - 1)
    step = max(1, -(-RATE_HZ * window_s // dots))
    shown_s = dots * step / RATE_HZ
    note = tr("dashboard.charts.window", seconds=f"{shown_s:.0f}")
    if is_held:
        note = tr("dashboard.charts.held", window=note)
    rows: list[Row] = [headed(tr("dashboard.charts.title"), note, width, is_focused=is_focused)]
    room = height - 1
    if not strips:
        rows.append(fitted(((" ", ""), (cut(tr("dashboard.charts.empty"), width - 2), "dim")), width))
    else:
        fits = max(1, min(len(strips), room // _LOWEST_ROWS))
        first = min(max(0, selected - fits + 1), len(strips) - fits)
        each, more = divmod(room, fits)
        for place, strip in enumerate(strips[first : first + fits]):
            size = min(_TALLEST, each + (place < more))
            is_selected = first + place == selected and len(strips) > 1
            drawn = _draw_strip(strip, history, step, dots, width, size, is_selected=is_selected)
            if history is not None and strip.column is None and size > 1:
                drawn[1] = fitted(((" ", ""), (tr("dashboard.charts.unknown"), "dim")), width)
            rows += drawn
        hidden = len(strips) - fits
        if hidden:
            rows[0] = headed(
                tr("dashboard.charts.title"),
                tr("dashboard.charts.more", note=note, n=hidden),
                width,
                is_focused=is_focused,
            )
    empty = fitted((), width)
    return (*rows, *(empty for _ in range(height - len(rows))))[:height]


def _draw_strip(
    strip: Strip,
    history: SignalHistory | None,
    step: int,
    dots: int,
    width: int,
    height: int,
    *,
    is_selected: bool,
) -> list[Row]:
    """A line with the name and the value of now, and the curve under it."""
    colour = f"chart{strip.colour % _COLOURS}"
    value = history.last(strip.column) if history is not None and strip.column is not None else None
    shown = number(value)
    if strip.unit and value is not None:
        shown += f" {strip.unit}"
    mark: Piece = ("▶", "strong") if is_selected else (" ", "")
    name = cut(strip.name, max(4, width - columns(shown) - 3))
    gap = max(1, width - columns(name) - columns(shown) - 2)
    rows = [fitted((mark, (name, colour), (" " * gap, ""), (shown, "strong")), width)]
    lines = height - 1
    if lines <= 0:
        return rows
    if history is None or strip.column is None:
        return [*rows, *(fitted((), width) for _ in range(lines))]
    newest = history.total // step
    start = (newest + 1 - dots) * step
    samples = history.window(strip.column, start)
    padded = np.full(dots * step, np.nan, dtype=np.float32)
    padded[: len(samples)] = samples[: dots * step]
    curve, low, high = plot(padded.reshape(dots, step), lines)
    for at, line in enumerate(curve):
        label = number(high) if at == 0 else number(low) if at == lines - 1 else ""
        if low is None:
            label = ""
        rows.append(fitted(((f"{label:>{_AXIS}}", "dim"), ("▕", "rule"), (line, colour)), width))
    return rows


def plot(buckets: NDArray[np.float32], lines: int) -> tuple[list[str], float | None, float | None]:
    """A curve as lines of braille.

    Args:
        buckets: shape (columns of dots, samples in each); NaN is a gap.
        lines: rows of characters, four dots each.

    Returns:
        The lines from top to bottom, and the values at the lower and the upper edge; None without a single sample.
    """
    dots, height = len(buckets), _DOTS * lines
    least, most = np.fmin.reduce(buckets, axis=1), np.fmax.reduce(buckets, axis=1)
    good = np.isfinite(least)
    if not good.any():
        return [" " * (dots // 2)] * lines, None, None
    low, high = _edges(float(least[good].min()), float(most[good].max()))
    scale = (height - 1) / (high - low)
    filled_low, filled_high = np.where(good, least, low), np.where(good, most, low)
    bottom = np.rint((filled_low - low) * scale).astype(np.int64)
    top = np.rint((filled_high - low) * scale).astype(np.int64)
    # A curve has no holes between two neighbours: the later one reaches to the one before.
    joined = good[1:] & good[:-1]
    up = joined & (bottom[1:] > top[:-1] + 1)
    down = joined & (top[1:] < bottom[:-1] - 1)
    joined_bottom, joined_top = bottom.copy(), top.copy()
    joined_bottom[1:][up] = top[:-1][up] + 1
    joined_top[1:][down] = bottom[:-1][down] - 1
    place = np.arange(height - 1, -1, -1)[:, None]
    grid = (place >= joined_bottom) & (place <= joined_top) & good
    weights = (grid.reshape(lines, _DOTS, dots // 2, 2) * _BITS[None, :, None, :]).sum(axis=(1, 3), dtype=np.uint32)
    codes = np.where(weights > 0, 0x2800 + weights, 0x20).astype("<u4")
    return [row.tobytes().decode("utf-32-le") for row in codes], low, high


def _edges(low: float, high: float) -> tuple[float, float]:
    """Round numbers around the values, so that the scale stands still while they move a little."""
    span = max(high - low, abs(high) * 1e-3, 1e-3)
    step = 10.0 ** math.floor(math.log10(span))
    step *= next((part for part in (0.2, 0.5, 1.0, 2.0) if span / (step * part) <= 8), 2.0)
    below, above = math.floor(low / step) * step, math.ceil(high / step) * step
    if above <= below:
        below, above = below - step, above + step
    return below, above


def number(value: float | None) -> str:
    """A value in at most seven columns."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e6 or size < 1e-3:
        return f"{value:.1e}".replace("e+0", "e").replace("e-0", "e-")
    digits = max(0, 3 - math.floor(math.log10(size))) if size < 100 else 1 if size < 1000 else 0
    text = f"{value:.{min(4, digits)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
