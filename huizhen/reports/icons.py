"""The few signs of a report, drawn by us."""

from __future__ import annotations

from huizhen.reports.markup import Element, h

__all__ = ["lightning", "verdict_icon"]


def _icon(*shapes: Element, kind: str) -> Element:
    return h("svg", {"viewBox": "0 0 40 40", "aria-hidden": "true", "class": kind}, shapes)


def verdict_icon(drive: str) -> Element:
    """One shape per degree, so that it can be told apart in grey too: octagon, triangle, circle, tick."""
    octagon = "12,2 28,2 38,12 38,28 28,38 12,38 2,28 2,12"
    mark = (h("path", {"d": "M20 11 L20 22", "class": "sign"}), h("path", {"d": "M20 29 L20 29.1", "class": "sign"}))
    if drive == "stop":
        cross = h("path", {"d": "M13 13 L27 27 M27 13 L13 27", "class": "sign"})
        return _icon(h("polygon", {"points": octagon, "class": "shape"}), cross, kind="icon")
    if drive in ("soon", "monitor"):
        lower = (
            h("path", {"d": "M20 15 L20 25", "class": "sign"}),
            h("path", {"d": "M20 31 L20 31.1", "class": "sign"}),
        )
        return _icon(h("polygon", {"points": "20,3 39,37 1,37", "class": "shape"}), *lower, kind="icon")
    if drive == "none":
        tick = h("path", {"d": "M11 21 L18 28 L30 13", "class": "sign"})
        return _icon(h("circle", {"cx": 20, "cy": 20, "r": 18, "class": "shape"}), tick, kind="icon")
    return _icon(h("circle", {"cx": 20, "cy": 20, "r": 18, "class": "shape"}), *mark, kind="icon")


def lightning() -> Element:
    """The warning of high voltage. Standard: ISO 7010 W012 (its idea; drawn anew)."""
    return h(
        "svg",
        {"viewBox": "0 0 40 36", "aria-hidden": "true"},
        h("polygon", {"points": "20,1 39,35 1,35", "class": "shape"}),
        h("polygon", {"points": "22,10 14,23 19,23 17,32 26,19 21,19", "class": "sign"}),
    )
