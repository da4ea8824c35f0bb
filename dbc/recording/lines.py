"""What the readers of recordings share: results, bad lines, rows to columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from dbc.errors import Phrase

if TYPE_CHECKING:
    from dbc.table import FrameTable

__all__ = ["KEPT_BAD_LINES", "BadLine", "Read", "Unreadable"]

KEPT_BAD_LINES: Final = 100
"""So many bad lines are kept with their reasons; all are counted."""


class BadLine(NamedTuple):
    """A line (counted from 1) that could not be read, and why."""

    line: int
    reason: Phrase


class Unreadable(Exception):
    """A line that is no frame."""

    def __init__(self, en: str, zh: str) -> None:
        super().__init__(en)
        self.reason = Phrase(en, zh)


@dataclass(slots=True)
class Read:
    """What a reader made of a file.

    Args:
        table: the frames in the file's order.
        channels: names of the buses by the table's channel index.
        bad_lines: the first lines that could not be read.
        bad_line_count: how many there are.
        start_ns: UTC in ns of the table's time 0, where the file says it.
        local_start: date and time of time 0 by a clock whose zone the file does not say.
        notes: what a person should know about the content.
        timed: whether the dialect has time stamps.
        moduli_ns: after how many ns the dialect's stamps may start again from zero.
    """

    table: FrameTable
    channels: tuple[str, ...]
    bad_lines: list[BadLine] = field(default_factory=list)
    bad_line_count: int = 0
    start_ns: int | None = None
    local_start: str | None = None
    notes: list[Phrase] = field(default_factory=list)
    timed: bool = True
    moduli_ns: tuple[int, ...] = ()
