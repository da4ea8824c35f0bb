"""The drawings of a report, in SVG of our own: cells, the cells' place on their curve, health, odds, signals over time.

Every figure that is drawn also stands in a ``data-`` attribute and in a title, so that the drawing can be checked and
read aloud. Nothing is told by colour alone.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Final

from huizhen.reports.markup import Element, h

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.facts import Json
    from huizhen.language import Translator

__all__ = ["cell_map", "health_bar", "odds_bar", "strip_chart", "voltage_curve"]

_COLUMNS: Final = 12
_CELL_W: Final = 46
_CELL_H: Final = 30
_LEFT: Final = 34
FULL_MV: Final = 50.0
"""Away from the median by this much a cell has the full colour."""
_FLAT: Final = 1e-9


def _signed(millivolts: float) -> str:
    return f"{millivolts:+.0f}".replace("-", "−") if round(millivolts) else "0"


def _colour(away_mv: float | None) -> str:
    """White at the median, orange below, blue above: also apart for people who do not see red and green apart."""
    if away_mv is None:
        return "#ffffff"
    strength = min(1.0, abs(away_mv) / FULL_MV)
    low, high = ((214, 84, 24), (34, 98, 186))
    full = low if away_mv < 0 else high
    start = (238, 241, 244)
    red, green, blue = (round(a + (b - a) * strength) for a, b in zip(start, full, strict=True))
    return f"rgb({red},{green},{blue})"


def _ink(away_mv: float | None) -> str:
    return "#ffffff" if away_mv is not None and abs(away_mv) >= 0.62 * FULL_MV else "#17212b"


def cell_map(cells: Json, tr: Translator, *, shows_figures: bool = True) -> Element:
    """Every cell in its place, by its millivolts from the median."""
    volts, middle = cells["v"], cells["median_v"]
    rows = -(-len(volts) // _COLUMNS)
    width, height = _LEFT + _COLUMNS * (_CELL_W + 2), rows * (_CELL_H + 2)
    marked = {one["cell"]: one["cause"] for one in reversed(cells.get("causes", []))}
    labels = cells.get("labels") or [str(at + 1) for at in range(len(volts))]
    shapes: list[Element] = []
    for row in range(rows):
        y = row * (_CELL_H + 2)
        first = labels[row * _COLUMNS]
        shapes.append(_text(_LEFT - 7, y + 20, first, "axis", anchor="end"))
    for at, value in enumerate(volts):
        x, y = _LEFT + at % _COLUMNS * (_CELL_W + 2), at // _COLUMNS * (_CELL_H + 2)
        away = None if value is None else (value - middle) * 1000
        shown = "–" if away is None else _signed(away) if shows_figures else ""
        title = tr("report.cell_unseen", cell=labels[at]) if value is None else f"{labels[at]}: {value:.3f} V"
        is_marked = at + 1 == cells["weakest"] or at + 1 in marked
        shapes.append(
            h(
                "g",
                {
                    "data-cell": at + 1,
                    "data-volts": None if value is None else f"{value:.4f}",
                    "data-mv": None if away is None else f"{away:.1f}",
                },
                h("title", None, title),
                h("rect", {"x": x, "y": y, "width": _CELL_W, "height": _CELL_H, "rx": 3, "fill": _colour(away),
                           "class": "cell marked" if is_marked else "cell gone" if value is None else "cell"}),
                h("text", {"x": x + _CELL_W / 2, "y": y + 20, "text-anchor": "middle", "font-size": 13,
                           "font-weight": 700 if is_marked else 400, "fill": _ink(away)}, shown),
            )
        )  # fmt: skip
    return _drawing(
        width,
        height,
        tr("report.cell_map", n=len(volts), median=f"{middle:.3f}"),
        shapes,
        "cells" if shows_figures else "cells plain",
    )


def _text(x: float, y: float, text: str, kind: str, *, anchor: str = "start") -> Element:
    return h("text", {"x": x, "y": y, "class": kind, "text-anchor": anchor, "font-size": 11}, text)


def _drawing(width: float, height: float, label: str, shapes: Sequence[Element], kind: str) -> Element:
    box = f"0 0 {width:g} {height:g}"
    return h("svg", {"viewBox": box, "role": "img", "aria-label": label, "class": f"plot {kind}"}, shapes)


def cell_legend(tr: Translator, *, is_plain: bool = False) -> Element:
    """What the colours of :func:`cell_map` mean; in words instead of millivolts where ``is_plain``."""
    steps = [-FULL_MV, -25.0, -10.0, 0.0, 10.0, 25.0, FULL_MV]
    shapes = []
    plain = {0: tr("report.legend_low"), 3: tr("report.legend_same"), 6: tr("report.legend_high")}
    for at, step in enumerate(steps):
        shapes.append(h("rect", {"x": at * 44, "y": 0, "width": 42, "height": 12, "fill": _colour(step)}))
        word = plain.get(at, "") if is_plain else _signed(step)
        shapes.append(_text(at * 44 + 21, 25, word, "axis", anchor="middle"))
    if not is_plain:
        shapes.append(_text(len(steps) * 44 + 4, 11, "mV", "axis"))
    return _drawing(len(steps) * 44 + 30, 30, tr("report.cell_legend"), shapes, "legend")


_CURVE_W: Final = 588
_CURVE_H: Final = 250
_PLOT: Final = (46.0, 12.0, 566.0, 214.0)
"""Left, top, right, bottom of the field."""


def voltage_curve(ocv: Json, tr: Translator) -> Element:
    """The voltage of a rested cell over its charge, and where median, lowest and highest cell stand on it."""
    left, top, right, bottom = _PLOT
    volts = [point[1] for point in ocv["curve"]] + [point["v"] for point in ocv["points"]]
    low, high = math.floor(min(volts) * 5) / 5, math.ceil(max(volts) * 5) / 5

    def x(soc: float) -> float:
        return float(left + (right - left) * min(max(soc, 0.0), 100.0) / 100)

    def y(value: float) -> float:
        return float(bottom - (bottom - top) * (value - low) / max(high - low, _FLAT))

    shapes: list[Element] = []
    for soc in range(0, 101, 20):
        shapes.append(h("line", {"x1": x(soc), "x2": x(soc), "y1": top, "y2": bottom, "class": "grid"}))
        shapes.append(_text(x(soc), bottom + 16, f"{soc} %", "axis", anchor="middle"))
    steps = round((high - low) / 0.2)
    each = 1 if steps <= 7 else 2
    for step in range(0, steps + 1, each):
        value = low + 0.2 * step
        shapes.append(h("line", {"x1": left, "x2": right, "y1": y(value), "y2": y(value), "class": "grid"}))
        shapes.append(_text(left - 6, y(value) + 4, f"{value:.1f}", "axis up", anchor="end"))
    shapes.append(_text(4, top + 2, "V", "axis up"))
    shapes.append(_text((left + right) / 2, bottom + 33, tr("report.ocv_axis"), "axis", anchor="middle"))
    if ocv["soc"] is not None:
        at = x(ocv["soc"])
        shapes.append(
            h("line", {"x1": at, "x2": at, "y1": top, "y2": bottom, "class": "told", "data-soc": f"{ocv['soc']:.2f}"})
        )
        anchor, shift = ("end", -5) if ocv["soc"] > 70 else ("start", 5)
        shapes.append(
            _text(at + shift, bottom - 6, tr("report.ocv_car", soc=f"{ocv['soc']:.0f}"), "axis", anchor=anchor)
        )
    line = " ".join(f"{x(soc):.1f},{y(value):.1f}" for soc, value in ocv["curve"])
    shapes.append(h("polyline", {"points": line, "class": "curve"}))
    for point in ocv["points"]:
        at, height = x(point["soc"]), y(point["v"])
        first, last = (x(value) for value in point["interval"])
        kind = f"point {point['what']}"
        shapes.append(
            h(
                "g",
                {
                    "class": kind,
                    "data-v": f"{point['v']:.4f}",
                    "data-soc": f"{point['soc']:.1f}",
                    "data-cell": point["cell"],
                },
                h("title", None, f"{point['v']:.3f} V, {point['soc']:.0f} %"),
                h("line", {"x1": first, "x2": last, "y1": height, "y2": height}),
                _dot(point["what"], at, height),
            )
        )
    return _drawing(_CURVE_W, _CURVE_H, tr("report.ocv_title"), shapes, "curve-plot")


def _dot(what: str, x: float, y: float) -> Element:
    """A shape of its own for each, so that they are told apart in grey too."""
    if what == "median":
        return h("circle", {"cx": x, "cy": y, "r": 5})
    turn = 1 if what == "lowest" else -1
    points = f"{x - 6:.1f},{y - 5 * turn:.1f} {x + 6:.1f},{y - 5 * turn:.1f} {x:.1f},{y + 6 * turn:.1f}"
    return h("polygon", {"points": points})


_BAR_FROM: Final = 40.0
_BAR_TO: Final = 110.0


def health_bar(health: Json, tr: Translator) -> Element:
    """State of health with its interval, and the usual warranty line."""

    def x(percent: float) -> float:
        return 22 + (min(max(percent, _BAR_FROM), _BAR_TO) - _BAR_FROM) / (_BAR_TO - _BAR_FROM) * 544

    percent, interval, line = health["percent"], health["interval"], health["warranty_percent"]
    shapes = [h("rect", {"x": 22, "y": 26, "width": 544, "height": 20, "rx": 4, "class": "track"})]
    if interval:
        left, right = x(interval[0]), x(interval[1])
        shapes.append(
            h("rect", {"x": left, "y": 26, "width": max(2.0, right - left), "height": 20, "class": "span",
                       "data-low": f"{interval[0]:.1f}", "data-high": f"{interval[1]:.1f}"})
        )  # fmt: skip
    shapes.append(h("line", {"x1": x(line), "x2": x(line), "y1": 18, "y2": 54, "class": "limit"}))
    shapes.append(
        h("rect", {"x": x(percent) - 3, "y": 20, "width": 6, "height": 32, "rx": 2, "class": "needle",
                   "data-percent": f"{percent:.1f}"})
    )  # fmt: skip
    steps = range(int(_BAR_FROM), int(_BAR_TO) + 1, 10)
    shapes += [_text(x(step), 70, f"{step} %", "axis", anchor="middle") for step in steps]
    shapes.append(
        _text(x(line), 13, tr("report.warranty_line", percent=f"{line:g}"), "axis limit-word", anchor="middle")
    )
    return _drawing(588, 76, tr("report.soh_is", percent=f"{percent:.1f}"), shapes, "health")


def odds_bar(p: float, interval: Sequence[float] | None) -> Element:
    """A probability from 0 to 1 with its interval."""
    shapes = [
        h("rect", {"x": 0, "y": 3, "width": 160, "height": 12, "rx": 2, "class": "track"}),
        h("rect", {"x": 0, "y": 3, "width": 160 * min(max(p, 0.0), 1.0), "height": 12, "rx": 2, "class": "odds",
                   "data-p": f"{p:.4f}"}),
    ]  # fmt: skip
    if interval and len(interval) == 2:
        low, high = (160 * min(max(value, 0.0), 1.0) for value in interval)
        shapes.append(
            h("g", {"class": "whisker", "data-low": f"{interval[0]:.4f}", "data-high": f"{interval[1]:.4f}"},
              h("line", {"x1": low, "x2": high, "y1": 9, "y2": 9}),
              h("line", {"x1": low, "x2": low, "y1": 4, "y2": 14}),
              h("line", {"x1": high, "x2": high, "y1": 4, "y2": 14}))
        )  # fmt: skip
    return h("svg", {"viewBox": "-1 0 162 18", "aria-hidden": "true", "class": "plot odds-plot"}, shapes)


_STRIP_W: Final = 588
_GAP: Final = 6
"""Steps without a value, in those that are usual for the signal, after which the line is broken."""
_STRIP_H: Final = 92


def strip_chart(strip: Json, moment: Json) -> Element:
    """One signal over the seconds around a fault: from its lowest to its highest value in every step of time."""
    left, right, top, bottom = 52.0, 580.0, 6.0, 70.0
    start, end = moment["from_s"], moment["to_s"]
    low, high = min(strip["low"]), max(strip["high"])
    is_still = bool(high - low < _FLAT + 1e-6 * abs(high))
    if is_still:
        low, high = low - max(0.5, abs(low) * 0.01), high + max(0.5, abs(high) * 0.01)

    def x(second: float) -> float:
        return float(left + (right - left) * (second - start) / max(end - start, _FLAT))

    def y(value: float) -> float:
        return float(bottom - (bottom - top) * (value - low) / (high - low))

    shapes: list[Element] = [
        h("rect", {"x": left, "y": top, "width": right - left, "height": bottom - top, "class": "field"})
    ]
    for second in _ticks(start, end):
        shapes.append(h("line", {"x1": x(second), "x2": x(second), "y1": top, "y2": bottom, "class": "grid"}))
        shown = f"{second:+g}".replace("-", "−") if second else "0"
        shapes.append(_text(x(second), bottom + 15, f"{shown} s", "axis", anchor="middle"))
    digits = 0 if high - low >= 20 else 1 if high - low >= 2 else 3 if high - low < 0.2 else 2
    if is_still:
        shapes.append(_text(left - 5, (top + bottom) / 2 + 4, f"{strip['low'][0]:g}", "axis up", anchor="end"))
    else:
        shapes.append(_text(left - 5, top + 9, f"{high:.{digits}f}", "axis up", anchor="end"))
        shapes.append(_text(left - 5, bottom, f"{low:.{digits}f}", "axis up", anchor="end"))
    kind = "band" if strip["signal"] else "band between"
    for points in _stretches(strip):
        there = " ".join(f"{x(t):.1f},{y(value):.1f}" for t, _, value in points)
        back = " ".join(f"{x(t):.1f},{y(value):.1f}" for t, value, _ in reversed(points))
        shapes.append(h("polygon", {"points": f"{there} {back}", "class": kind}))
    if moment["kind"] != "reading":
        shapes.append(h("line", {"x1": x(0), "x2": x(0), "y1": top, "y2": bottom, "class": "fault"}))
        shapes += [
            h("line", {"x1": x(mark["s"]), "x2": x(mark["s"]), "y1": top, "y2": bottom, "class": "mark"})
            for mark in moment["marks"]
            if mark["s"] and start <= mark["s"] <= end
        ]
    return h(
        "svg",
        {
            "viewBox": f"0 0 {_STRIP_W} {_STRIP_H}",
            "role": "img",
            "aria-label": f"{strip['signal']} {low:g} … {high:g} {strip['unit']}",
            "class": "plot strip",
            "data-signal": strip["signal"],
            "data-low": f"{min(strip['low']):.6g}",
            "data-high": f"{max(strip['high']):.6g}",
        },
        shapes,
    )


def _stretches(strip: Json) -> list[list[tuple[float, float, float]]]:
    """The strip without its gaps: where nothing was received nothing is drawn."""
    times = strip["t_s"]
    steps = sorted(after - before for before, after in itertools.pairwise(times))
    usual = steps[len(steps) // 2] if steps else 0.0
    found: list[list[tuple[float, float, float]]] = [[]]
    last = times[0]
    for t, low, high in zip(times, strip["low"], strip["high"], strict=True):
        if t - last > _GAP * usual:
            found.append([])
        found[-1].append((t, low, high))
        last = t
    return found


def _ticks(start: float, end: float) -> list[float]:
    """Round seconds, at most eight."""
    span = end - start
    step = next((one for one in (0.5, 1, 2, 5, 10, 20, 50, 100, 200) if span / one <= 8), span)
    first = math.ceil(start / step)
    return [number * step for number in range(first, math.floor(end / step) + 1)]
