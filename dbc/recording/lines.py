"""What the readers of recordings share: results, bad lines, rows to columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from dbc.errors import Phrase

if TYPE_CHECKING:
    from dbc.table import FrameTable

__all__ = ["DIGIT", "HEX", "KEPT_BAD_LINES", "BadLine", "Read", "Unreadable"]

KEPT_BAD_LINES: Final = 100
"""So many bad lines are kept with their reasons; all are counted."""

HEX: Final = np.full(256, 255, np.uint8)
"""Value of a hexadecimal digit by its character, 255 for any other character."""
HEX[np.frombuffer(b"0123456789", np.uint8)] = np.arange(10)
HEX[np.frombuffer(b"abcdef", np.uint8)] = np.arange(10, 16)
HEX[np.frombuffer(b"ABCDEF", np.uint8)] = np.arange(10, 16)

DIGIT: Final = np.where(HEX < 10, HEX, 255).astype(np.uint8)
"""Value of a decimal digit by its character, 255 for any other character."""


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
    """What a reader made of a file."""

    table: FrameTable
    channels: tuple[str, ...]
    bad_lines: list[BadLine] = field(default_factory=list)
    bad_line_count: int = 0
    start_ns: int | None = None
