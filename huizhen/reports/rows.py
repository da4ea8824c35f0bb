"""Tables, badges and codes of the workshop's page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from huizhen.reports.markup import Element, h

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["badge", "code", "table"]


def table(head: Iterable[str], rows: Iterable[Iterable[Any]], *, stacks: bool = False, numeric: int = 99) -> Element:
    """A table.

    Args:
        head: names of the columns.
        rows: cells: texts or elements.
        stacks: on a phone a row becomes a block.
        numeric: the first column of figures.
    """

    def cell(at: int, value: Any) -> Element:
        return h("td", {"class": "num" if at >= numeric else None}, value)

    def name_cell(at: int, name: str) -> Element:
        return h("th", {"scope": "col", "class": "num" if at >= numeric else None}, name)

    return h(
        "div",
        {"class": "wide"},
        h(
            "table",
            {"class": "stack" if stacks else None},
            h("thead", None, h("tr", None, (name_cell(at, name) for at, name in enumerate(head)))),
            h("tbody", None, (h("tr", None, (cell(at, value) for at, value in enumerate(row))) for row in rows)),
        ),
    )


def badge(kind: str, text: str) -> Element:
    """A word on its colour."""
    return h("span", {"class": f"badge {kind}"}, text)


def code(text: str) -> Element:
    """A code or an address."""
    return h("span", {"class": "code"}, text)
