"""HTML and SVG as values: everything that is text is escaped because there is no other way to write it.

An element takes attributes and children; a child is another element or a text. What could run or load something
(scripts, links, embedded files, event attributes) is no element of this module at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Element", "Style", "h", "number", "page_text"]

_HTML: Final = frozenset(
    {
        "body", "dd", "div", "dl", "dt", "figcaption", "figure", "footer", "h1", "h2", "h3", "head", "header", "html",
        "li", "main", "meta", "ol", "p", "section", "small", "span", "strong", "table", "tbody", "td", "th", "thead",
        "title", "tr", "ul",
    }
)  # fmt: skip
_SVG: Final = frozenset({"svg", "g", "rect", "line", "path", "circle", "polyline", "polygon", "text", "title"})
_EMPTY: Final = frozenset({"meta"})
_ATTRIBUTES: Final = frozenset(
    {
        "aria-hidden", "aria-label", "charset", "class", "content", "cx", "cy", "d", "data-cell", "data-digest",
        "data-high", "data-low", "data-mv", "data-p", "data-percent", "data-signal", "data-soc", "data-v",
        "data-volts", "fill", "font-size", "font-weight", "height", "http-equiv", "lang", "name", "points", "r",
        "role", "rx", "scope", "text-anchor", "viewBox", "width", "x", "x1", "x2", "y", "y1", "y2",
    }
)  # fmt: skip
_TURNING: Final = (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C)
"""Marks that turn the direction of writing: a name from the car could make its line read otherwise."""
_CONTROL: Final = dict.fromkeys((*range(9), 11, 12, *range(14, 32), *range(0x7F, 0xA0), *_TURNING), "\ufffd")


def _told(text: str) -> str:
    return escape(text.translate(_CONTROL), quote=True)


@dataclass(frozen=True, slots=True)
class Style:
    """A style sheet of this program; never anything that came from elsewhere."""

    css: str


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a page; :func:`h` makes it."""

    tag: str
    attributes: tuple[tuple[str, str], ...]
    children: tuple[Element | Style | str, ...]

    def pieces(self) -> Iterable[str]:
        """The page's text, piece by piece."""
        told = "".join(f' {name}="{_told(value)}"' for name, value in self.attributes)
        yield f"<{self.tag}{told}>"
        if self.tag in _EMPTY:
            return
        for child in self.children:
            if isinstance(child, Element):
                yield from child.pieces()
            elif isinstance(child, Style):
                yield f"<style>{child.css}</style>"
            else:
                yield _told(child)
        yield f"</{self.tag}>"

    def __str__(self) -> str:
        return "".join(self.pieces())


def h(
    tag: str,
    attributes: dict[str, str | float | int | None] | None = None,
    *children: Element | Style | str | Iterable[Element | str] | None,
) -> Element:
    """An element.

    Args:
        tag: one of those that neither run nor load anything.
        attributes: name -> value; None leaves it out.
        children: elements and texts, or iterables of them; a child that is None is left out.

    Raises:
        ValueError: no such element or attribute here.
    """
    if tag not in _HTML and tag not in _SVG:
        raise ValueError(tag)
    told = []
    for name, value in (attributes or {}).items():
        if name not in _ATTRIBUTES:
            raise ValueError(name)
        if value is not None:
            told.append((name, value if isinstance(value, str) else number(value)))
    flat: list[Element | Style | str] = []
    for child in children:
        if isinstance(child, Element | Style | str):
            flat.append(child)
        elif child is not None:
            flat.extend(child)
    return Element(tag, tuple(told), tuple(flat))


def number(value: float) -> str:
    """A figure for an attribute: at most two decimals, no exponent."""
    return str(value) if isinstance(value, int) else f"{value:.2f}".rstrip("0").rstrip(".")


def page_text(root: Element) -> str:
    """A whole document."""
    return f"<!doctype html>\n{root}\n"
