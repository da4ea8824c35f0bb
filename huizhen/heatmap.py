"""The battery panel: every cell of the pack as a patch of colour, the extremes named.

A cell's colour is its distance from the median cell, in fixed steps, so that the same colour means the same millivolts
on every car. How large a patch is depends on the room: a number, a mark, or half a character.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from diag.batterynames import find_battery_signals
from huizhen.panelrows import HEAT, columns, fitted, headed, scrolled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from diag.batterynames import BatterySignals
    from diag.facts import BatteryState
    from diag.samples import SignalInfo
    from huizhen.language import Translator
    from huizhen.panelrows import Piece, Row, Scroll

__all__ = ["STEPS_MV", "CellBoard", "Pack", "draw_pack"]

STEPS_MV: Final = (-80.0, -40.0, -20.0, -10.0, -5.0, 5.0, 10.0, 20.0, 40.0, 80.0)
"""Where one colour ends and the next begins."""
_USUAL: Final = len(STEPS_MV) // 2
_PER_ROW: Final = (96, 64, 48, 32, 24, 20, 16, 12, 10, 8)
_WIDTHS: Final = (5, 3, 2, 1)
_WITH_NUMBER: Final = 5
_LOWEST, _HIGHEST, _UNSEEN, _IMPOSSIBLE = "▼", "▲", "·", "×"


@dataclass(frozen=True, slots=True)
class Pack:
    """The cells as they are now.

    Args:
        volts: per cell in pack order, NaN where nothing believable is seen.
        labels: each cell's number in the car's own counting.
        impossible: cells with a reading that no cell can have, by place from 0.
        state: the battery's judged figures, at most some seconds old.
    """

    volts: NDArray[np.float64]
    labels: tuple[str, ...]
    impossible: frozenset[int] = frozenset()
    state: BatteryState | None = None


class CellBoard:
    """Which columns of a signal board are the cells of the pack; found again whenever another signal was first seen."""

    def __init__(self, signals: Sequence[SignalInfo], possible_v: tuple[float, float]) -> None:
        self._signals = signals
        self._possible_v = possible_v
        self._seen = np.zeros(len(signals), dtype=np.bool_)
        self._at = np.zeros(0, dtype=np.intp)
        self._scale = np.zeros(0)
        self.labels: tuple[str, ...] = ()
        self.names: BatterySignals | None = None

    def learn(self, valid: NDArray[np.bool_]) -> None:
        """Looks at which signals there are; cheap while nothing new is."""
        if not (valid & ~self._seen).any():
            return
        self._seen |= valid
        place: dict[str, int] = {}
        for at, info in enumerate(self._signals):
            if self._seen[at]:
                place.setdefault(info.name, at)
        self.names = names = find_battery_signals({name: self._signals[at].unit for name, at in place.items()})
        count = names.count if names is not None else 0
        self._at, self._scale = np.full(count, -1, dtype=np.intp), np.ones(count)
        for number, (name, scale) in names.cells.items() if names is not None else ():
            self._at[number - 1], self._scale[number - 1] = place[name], scale
        labels = names.labels if names is not None and names.labels else {}
        self.labels = tuple(labels.get(number, "?") for number in range(1, count + 1))

    def pack(self, values: NDArray[np.float32], valid: NDArray[np.bool_], state: BatteryState | None) -> Pack:
        """The cells out of one block of the board."""
        if not len(self._at):
            return Pack(np.zeros(0), (), state=state)
        there = (self._at >= 0) & valid[self._at]
        volts = np.where(there, values[self._at] * self._scale, np.nan)
        low, high = self._possible_v
        wrong = there & ~((volts >= low) & (volts <= high))
        volts[wrong] = np.nan
        return Pack(volts, self.labels, frozenset(np.flatnonzero(wrong).tolist()), state)


def draw_pack(
    pack: Pack, width: int, height: int, tr: Translator, *, is_focused: bool = False, scroll: Scroll | None = None
) -> tuple[Row, ...]:
    """The panel in ``height`` rows of ``width`` columns.

    Args:
        pack: what is known now.
        width: of the panel, in columns.
        height: of it, in rows.
        tr: for its words.
        is_focused: the keys go to it.
        scroll: how far it is scrolled, where not all cells fit.
    """
    seen = np.isfinite(pack.volts)
    if not len(pack.volts):
        note = tr("dashboard.cells.none")
        figures = _figure_rows(pack, width, tr)
        body = figures or [fitted(((" ", ""), (note, "dim")), width)]
        return (headed(tr("dashboard.cells.title"), "", width, is_focused=is_focused), *_fill(body, width, height - 1))
    head = tr("dashboard.cells.count", n=len(pack.volts))
    if missing := int(len(pack.volts) - seen.sum()):
        head = tr("dashboard.cells.count_missing", n=len(pack.volts), missing=missing)
    rows = [headed(tr("dashboard.cells.title"), head, width, is_focused=is_focused)]
    named = _extremes(pack, seen, width, tr)
    figures = _figure_rows(pack, width, tr)
    room = height - 1 - len(named)
    figures = figures[: max(0, min(len(figures), room - 2))]
    room -= len(figures)
    grid = _grid(pack, seen, width, room)
    spare = room - len(grid)
    legend = [_legend(width)] if spare > 0 and width >= columns(_LEGEND_TEXT) else []
    shown = scrolled(grid, room - len(legend), scroll, width)
    return (*rows, *shown, *legend, *named, *figures)[:height]


def _fill(rows: Sequence[Row], width: int, height: int) -> tuple[Row, ...]:
    return scrolled(rows, max(0, height), None, width)


# -- the cells -------------------------------------------------------------------------------------------------------


def _layout(count: int, width: int, height: int) -> tuple[int, int]:
    """Columns per cell (0 = two cells in one character) and cells per row, as large as fits."""
    lead = len(str(count)) + 1
    for size in _WIDTHS:
        per_row = _per_row(count, (width - lead) // size)
        if per_row and -(-count // per_row) <= height:
            return size, per_row
    return 0, _per_row(count, width - lead) or max(1, width - lead)


def _per_row(count: int, most: int) -> int:
    """A round number of cells, no more than there is room for or cells."""
    if count <= most:
        return count
    return next((number for number in _PER_ROW if number <= most), 0)


def _grid(pack: Pack, seen: NDArray[np.bool_], width: int, height: int) -> list[Row]:
    count = len(pack.volts)
    size, per_row = _layout(count, width, height)
    deviation = _deviations(pack, seen)
    steps = [bisect_right(STEPS_MV, value) if good else -1 for value, good in zip(deviation, seen, strict=True)]
    low, high = _ends(pack, seen)
    if not size:
        return _half_rows(steps, per_row, width, count)
    lead = len(str(count))
    rows: list[Row] = []
    for start in range(0, count, per_row):
        pieces: list[Piece] = [(f"{start + 1:>{lead}} ", "dim")]
        for at in range(start, min(start + per_row, count)):
            step = steps[at]
            style = f"heat{step}" if step >= 0 else "unseen"
            mark = _LOWEST if at == low else _HIGHEST if at == high else " "
            if step < 0:
                mark = _IMPOSSIBLE if at in pack.impossible else _UNSEEN
            if size == _WITH_NUMBER and step >= 0:
                number = f"{min(999, max(-999, round(deviation[at]))):+d}" if step != _USUAL else ""
                pieces.append((f"{mark}{number:>3}"[-4:] if len(number) < 4 else number, style))
                pieces.append((" ", ""))
            elif size == 1:
                pieces.append((mark, style))
            else:
                pieces.append((mark + " " * (size - 1), style))
        rows.append(fitted(pieces, width))
    return rows


def _half_rows(steps: list[int], per_row: int, width: int, count: int) -> list[Row]:
    """Two rows of cells in one of text, by half blocks; the colours above and below are one style's two."""
    lead = len(str(count))
    rows: list[Row] = []
    for start in range(0, count, 2 * per_row):
        pieces: list[Piece] = [(f"{start + 1:>{lead}} ", "dim")]
        for at in range(start, min(start + per_row, count)):
            below = steps[at + per_row] if at + per_row < count else None
            pieces.append(("▀", half_style(steps[at], below)))
        rows.append(fitted(pieces, width))
    return rows


def half_style(above: int, below: int | None) -> str:
    """The style of a character whose upper half is one cell and whose lower half is another (None: nothing)."""
    colour = _paint(above)
    return colour if below is None else f"{colour} on {_paint(below)}"


def _paint(step: int) -> str:
    return HEAT[step].partition(" on ")[2] if step >= 0 else "#3a3a3a"


def _deviations(pack: Pack, seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Millivolts from the median cell."""
    if not seen.any():
        return np.zeros(len(pack.volts))
    return (pack.volts - float(np.median(pack.volts[seen]))) * 1000


def _ends(pack: Pack, seen: NDArray[np.bool_]) -> tuple[int, int]:
    """The lowest and the highest cell, by place from 0; −1 where they do not differ or none is seen."""
    if seen.sum() < 2 or np.nanmax(pack.volts) <= np.nanmin(pack.volts):
        return -1, -1
    return int(np.nanargmin(pack.volts)), int(np.nanargmax(pack.volts))


_LEGEND_TEXT: Final = " " + " ".join(f"{step:+.0f}" for step in STEPS_MV) + " mV "


def _legend(width: int) -> Row:
    """Which colour is how many millivolts."""
    pieces: list[Piece] = [(" ", "")]
    for at in range(len(HEAT)):
        if at == _USUAL:
            pieces.append(("±5", f"heat{at}"))
        else:
            edge = STEPS_MV[at] if at < _USUAL else STEPS_MV[at - 1]
            pieces.append((f"{edge:+.0f}", f"heat{at}"))
        pieces.append((" ", ""))
    return fitted((*pieces[:-1], (" mV", "dim")), width)


# -- the figures -----------------------------------------------------------------------------------------------------


def _extremes(pack: Pack, seen: NDArray[np.bool_], width: int, tr: Translator) -> list[Row]:
    """The lowest and the highest cell by name, the spread and the median."""
    if not seen.any():
        return [fitted(((" ", ""), (tr("dashboard.cells.unseen"), "monitor")), width)]
    low, high = _ends(pack, seen)
    deviation = _deviations(pack, seen)
    rows: list[Row] = []
    for at, mark, word in (
        (low, _LOWEST, tr("dashboard.cells.lowest")),
        (high, _HIGHEST, tr("dashboard.cells.highest")),
    ):
        if at < 0:
            continue
        step = bisect_right(STEPS_MV, deviation[at])
        stands_out = pack.state is not None and pack.state.weakest_cell == at + 1
        name = tr("dashboard.cells.cell", label=pack.labels[at])
        rows.append(
            fitted(
                (
                    (" ", ""),
                    (mark, f"heat{step}"),
                    (f" {word} ", "dim"),
                    (name, "soon" if stands_out else "strong"),
                    (f"  {pack.volts[at]:.3f} V", ""),
                    (f"  {deviation[at]:+.0f} mV", "" if abs(deviation[at]) < STEPS_MV[-3] else "monitor"),
                ),
                width,
            )
        )
    spread = (float(np.nanmax(pack.volts)) - float(np.nanmin(pack.volts))) * 1000
    median = float(np.median(pack.volts[seen]))
    rows.append(
        fitted(((" ", ""), (tr("dashboard.cells.spread", spread=f"{spread:.0f}", median=f"{median:.3f}"), "")), width)
    )
    return rows


def _figure_rows(pack: Pack, width: int, tr: Translator) -> list[Row]:
    """Charge, voltage, current, isolation, temperature and state of health, as many in a row as fit."""
    state = pack.state
    if state is None:
        return []
    figures = [
        (tr("dashboard.cells.soc"), state.soc_percent, 0, "%"),
        (tr("dashboard.cells.voltage"), state.pack_v, 0, "V"),
        (tr("dashboard.cells.current"), state.current_a, 1, "A"),
        (tr("dashboard.cells.insulation"), state.insulation_kohm, 0, "kΩ"),
        (tr("dashboard.cells.temperature"), state.features.get("temp_max_c"), 0, "°C"),
        (tr("dashboard.cells.soh"), state.soh.get("percent") if state.soh else None, 0, "%"),
    ]
    rows: list[Row] = []
    pieces: list[Piece] = [(" ", "")]
    for name, value, digits, unit in figures:
        if value is None:
            continue
        text = f"{value:.{digits}f} {unit}"
        size = columns(name) + columns(text) + 3
        if len(pieces) > 1 and sum(columns(part) for part, _ in pieces) + size - 2 > width:
            rows.append(fitted(pieces[:-1], width))
            pieces = [(" ", "")]
        pieces += [(f"{name} ", "dim"), (text, ""), ("  ", "")]
    if len(pieces) > 1:
        rows.append(fitted(pieces[:-1], width))
    return rows
