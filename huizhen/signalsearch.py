"""The search for signals by name, over all loaded databases: what was typed, what fits, what is chosen."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from huizhen.panelrows import columns, cut, fitted, headed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from diag.samples import SignalInfo
    from huizhen.language import Translator
    from huizhen.panelrows import Row

__all__ = ["SignalSearch", "chart_names", "draw_search", "find_signals"]

_LONGEST: Final = 64
_PAGE: Final = 8
_NUMBERS: Final = re.compile(r"(\d+)")


def find_signals(signals: Sequence[SignalInfo], typed: str) -> tuple[int, ...]:
    """Places of the signals whose name or message holds every word that was typed, capitals or not.

    Those whose name begins with the first word stand first, then those whose name holds all words, each by name.
    """
    words = typed.casefold().split()
    ranked: list[tuple[int, list[tuple[int, str]], int]] = []
    for at, info in enumerate(signals):
        name, message = info.name.casefold(), info.message.casefold()
        if all(word in name or word in message for word in words):
            is_named = all(word in name for word in words)
            rank = 0 if not words or name.startswith(words[0]) else 1 if is_named else 2
            ranked.append((rank, _counted(name), at))
    return tuple(at for *_, at in sorted(ranked))


def chart_names(signals: Sequence[SignalInfo]) -> tuple[str, ...]:
    """What each signal is called by: its name, with its message in front where another message has that name, too."""
    counted = Counter(info.name for info in signals)
    return tuple(info.name if counted[info.name] == 1 else f"{info.message}.{info.name}" for info in signals)


def _counted(name: str) -> list[tuple[int, str]]:
    """Sorts ``Cell9`` before ``Cell10``."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _NUMBERS.split(name)]


@dataclass(slots=True)
class SignalSearch:
    """One search.

    Args:
        signals: of all loaded databases.
        typed: so far.
        at: which of the found ones is marked.
    """

    signals: Sequence[SignalInfo]
    typed: str = ""
    at: int = 0
    found: tuple[int, ...] = field(default=())

    def __post_init__(self) -> None:
        self.found = find_signals(self.signals, self.typed)

    def type(self, text: str) -> None:
        """Takes what was typed or pasted."""
        clean = "".join(char for char in text if char.isprintable())
        self._search((self.typed + clean)[:_LONGEST])

    def erase(self, *, is_all: bool = False) -> None:
        """The last character goes, or all of them."""
        self._search("" if is_all else self.typed[:-1])

    def move(self, by: int) -> None:
        """The mark goes down (or up), and stays inside."""
        self.at = max(0, min(len(self.found) - 1, self.at + by))

    def page(self, by: int) -> None:
        """The mark goes several rows down (or up)."""
        self.move(by * _PAGE)

    @property
    def marked(self) -> int | None:
        """Place of the signal under the mark."""
        return self.found[self.at] if self.found else None

    def _search(self, typed: str) -> None:
        self.typed, self.at = typed, 0
        self.found = find_signals(self.signals, typed)


def draw_search(
    search: SignalSearch,
    chosen: Collection[int],
    value_of: Callable[[int], str],
    width: int,
    height: int,
    tr: Translator,
) -> tuple[Row, ...]:
    """The search in place of a panel.

    Args:
        search: as it stands.
        chosen: places of the signals that have a chart.
        value_of: place of a signal -> its value of now with unit, as text.
        width: of the panel, in columns.
        height: of it, in rows.
        tr: for its words.
    """
    note = tr("dashboard.search.found", n=len(search.found), total=len(search.signals))
    rows: list[Row] = [headed(tr("dashboard.search.title"), note, width, is_focused=True)]
    typed = search.typed
    while columns(typed) > width - 4:
        typed = typed[1:]
    rows.append(fitted(((" / ", "strong"), (typed, ""), ("▏", "title")), width))
    room = max(0, height - 3)
    first = max(0, min(search.at - room // 2, len(search.found) - room))
    for place in range(first, min(first + room, len(search.found))):
        at = search.found[place]
        info = search.signals[at]
        is_marked = place == search.at
        mark = "✓" if at in chosen else " "
        value = value_of(at)
        name = cut(info.name, max(6, width - columns(value) - 4))
        left = width - columns(name) - columns(value) - 4
        message = cut(info.message, left - 2) if left > 6 else ""
        gap = max(0, left - columns(message) - 1)
        style = "focus" if is_marked else ""
        rows.append(
            fitted(
                (
                    (f" {mark} ", style or "good"),
                    (name, style),
                    (f" {message}" if message else " ", style or "dim"),
                    (" " * gap, style),
                    (value, style),
                ),
                width,
                style,
            )
        )
    if not search.found:
        rows.append(fitted(((" ", ""), (tr("dashboard.search.nothing"), "dim")), width))
    empty = fitted((), width)
    rows += [empty] * (height - 1 - len(rows))
    rows = rows[: height - 1]
    return (*rows, fitted(((" ", ""), (tr("dashboard.search.keys"), "dim")), width))
