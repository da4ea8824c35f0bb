"""Rows of the dashboard's panels before any terminal: pieces of text, each with the name of a style.

Widths are columns of a terminal: a Chinese character takes two. Nothing here knows Textual, so that every panel can be
drawn, and tested, as text.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from huizhen.console import display_width

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "HEAT",
    "STYLES",
    "Piece",
    "Row",
    "Scroll",
    "columns",
    "cut",
    "fitted",
    "headed",
    "scrolled",
    "text_of",
    "wrapped",
]

Piece = tuple[str, str]
"""Text and the name of its style."""
Row = tuple[Piece, ...]
"""One line of a panel, as wide as the panel."""

HEAT: Final = (
    "#ffffff on #5f00d7",
    "#ffffff on #0000d7",
    "#ffffff on #005fff",
    "#ffffff on #0087d7",
    "#ffffff on #008787",
    "#d0d0d0 on #005f00",
    "#000000 on #878700",
    "#000000 on #d7af00",
    "#000000 on #ff8700",
    "#ffffff on #d75f00",
    "#ffffff on #d70000",
)
"""From far below the median (violet, blue) over usual (green) to far above (red); colours of the 256."""

STYLES: Final = {
    "": "",
    "dim": "#8a8a8a",
    "title": "bold #5fd7ff",
    "focus": "bold #000000 on #5fd7ff",
    "rule": "#4e4e4e",
    "strong": "bold",
    "good": "#5fd75f",
    "stop": "bold #ffffff on #d70000",
    "soon": "bold #ff5f5f",
    "monitor": "#ffd75f",
    "low": "#5fd7ff",
    "changed": "bold #000000 on #ffd75f",
    "lost": "bold #ffffff on #d70000",
    "rec": "bold #ff5f5f",
    "bar": "#d0d0d0 on #303030",
    "bar.good": "bold #5fd75f on #303030",
    "bar.monitor": "bold #ffd75f on #303030",
    "bar.rec": "bold #ffffff on #d70000",
    "bar.dim": "#8a8a8a on #303030",
    "bar.key": "bold #ffd75f on #303030",
    "unseen": "#6c6c6c",
    "chart0": "#5fd7ff",
    "chart1": "#ffd75f",
    "chart2": "#87ff5f",
    "chart3": "#ff87d7",
    "chart4": "#ffaf5f",
    "chart5": "#d7afff",
    **{f"heat{at}": colour for at, colour in enumerate(HEAT)},
}
"""Name of a style -> how Rich writes it."""


@lru_cache(maxsize=4096)
def columns(text: str) -> int:
    """How many columns ``text`` takes."""
    return len(text) if text.isascii() else display_width(text)


def _without_control(text: str) -> str:
    """Names and units come out of files: what would move the cursor, or turn the writing round, becomes a dot."""
    return "".join("·" if unicodedata.category(char)[0] == "C" else char for char in text)


def cut(text: str, width: int) -> str:
    """``text`` in at most ``width`` columns, with ``…`` where something is missing."""
    if columns(text) <= width:
        return text
    if width <= 0:
        return ""
    out, used = "", 0
    for char in text:
        size = columns(char)
        if used + size > width - 1:
            break
        out += char
        used += size
    return out + "…"


def fitted(pieces: Iterable[Piece], width: int, fill: str = "") -> Row:
    """Pieces as a row of exactly ``width`` columns; neighbours of one style become one piece.

    Args:
        pieces: from left to right; what does not fit is cut.
        width: of the row.
        fill: style of the spaces at the end.
    """
    out: list[Piece] = []
    left = width

    def put(text: str, style: str) -> None:
        if out and out[-1][1] == style:
            out[-1] = out[-1][0] + text, style
        elif text:
            out.append((text, style))

    for raw, style in pieces:
        text = raw if raw.isprintable() else _without_control(raw)
        size = columns(text)
        if size > left:
            shown = cut(text, left)
            put(shown, style)
            left -= columns(shown)
            break
        put(text, style)
        left -= size
    if left > 0:
        put(" " * left, fill)
    return tuple(out)


def headed(title: str, note: str, width: int, *, is_focused: bool) -> Row:
    """A panel's first line: its title, a remark, and a rule to the end."""
    name: Piece = (f" {title} ", "focus" if is_focused else "title")
    pieces: list[Piece] = [("─", "rule"), name]
    if note:
        pieces.append((f" {note} ", "dim"))
    used = sum(columns(text) for text, _ in pieces)
    if used < width:
        pieces.append(("─" * (width - used), "rule"))
    return fitted(pieces, width)


@dataclass(slots=True)
class Scroll:
    """How far a panel is scrolled; drawing it keeps that inside of what there is."""

    at: int = 0

    def move(self, by: int) -> None:
        """Down (or up) by rows."""
        self.at = max(0, self.at + by)

    def first(self, count: int, height: int) -> int:
        """The first row to show of ``count`` where ``height`` are seen."""
        self.at = max(0, min(self.at, count - height))
        return self.at


def scrolled(rows: Sequence[Row], height: int, scroll: Scroll | None, width: int) -> tuple[Row, ...]:
    """``height`` of the rows, filled up with empty ones; arrows tell that there is more."""
    first = scroll.first(len(rows), height) if scroll is not None else 0
    shown = list(rows[first : first + height])
    if first > 0 and shown:
        shown[0] = _marked(shown[0], "▲", width)
    if first + height < len(rows) and shown:
        shown[-1] = _marked(shown[-1], "▼", width)
    empty = fitted((), width)
    return (*shown, *(empty for _ in range(height - len(shown))))


def _marked(row: Row, mark: str, width: int) -> Row:
    pieces = list(row)
    if pieces and pieces[-1][0].endswith("  "):
        pieces[-1] = pieces[-1][0][:-2], pieces[-1][1]
    else:
        pieces = list(fitted(row, max(0, width - 2)))
    return fitted((*pieces, (" ", ""), (mark, "strong")), width)


def wrapped(text: str, width: int, first: Sequence[Piece], indent: int, style: str = "") -> list[Row]:
    """A sentence in as many rows as it takes, the first behind ``first``, the others indented."""
    from huizhen.console import cut_to_width

    lines = cut_to_width(text, max(8, width - indent - 1))
    lead = tuple(first) or ((" " * indent, ""),)
    rows = [fitted((*lead, (lines[0], style)), width)]
    rows += [fitted(((" " * indent, ""), (line, style)), width) for line in lines[1:]]
    return rows


def text_of(rows: Iterable[Row]) -> str:
    """The rows as plain text."""
    return "\n".join("".join(text for text, _ in row).rstrip() for row in rows)
