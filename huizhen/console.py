"""What a person sees: lines, tables with Chinese widths, colours, progress.

Results go to standard output, progress and errors to standard error. Colour only on a terminal and without
``NO_COLOR``; progress only on a terminal.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from huizhen.language import Translator

__all__ = ["Console", "cut_to_width", "display_width", "pad", "program_name", "wants_json"]

_STYLES: Final = {
    "stop": "\x1b[1;97;41m",
    "soon": "\x1b[1;31m",
    "monitor": "\x1b[33m",
    "low": "\x1b[36m",
    "good": "\x1b[32m",
    "title": "\x1b[1m",
    "dim": "\x1b[2m",
}

_CLOSING: Final = "，。、；：？！）】》」』”’％%‰…—·°,.;:?!)]}"
_OPENING: Final = "（【《「『“‘([{#$"


def program_name() -> str:
    """How this program was called, so that a printed command can be typed again as it stands."""
    called = sys.argv[0]
    if Path(called).name != "huizhen":
        return "huizhen"
    import shutil

    on_path = shutil.which("huizhen")
    if on_path and Path(on_path).resolve() == Path(called).resolve():
        return "huizhen"
    return os.path.relpath(called)


def display_width(text: str) -> int:
    """Columns that ``text`` takes in a terminal: wide characters count two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def pad(text: str, width: int) -> str:
    """``text`` filled with spaces to ``width`` columns."""
    return text + " " * max(0, width - display_width(text))


_UNIT_LETTERS: Final = 4
"""A word this short after a figure is taken for its unit and stays with it: ``30 V``, ``146 mV``."""


def _may_break(text: str, at: int) -> bool:
    """Whether a line may end before ``text[at]``."""
    before, after = text[at - 1], text[at]
    if before == " ":
        return not (at > 1 and text[at - 2].isdigit() and _is_unit(text, at))
    if after == " " or after in _CLOSING or before in _OPENING:
        return False
    return display_width(before) == 2 or display_width(after) == 2


def _is_unit(text: str, at: int) -> bool:
    end = at
    while end < len(text) and (text[end].isalpha() or text[end] in "%°Ω/µ") and display_width(text[end]) == 1:
        end += 1
    return 0 < end - at <= _UNIT_LETTERS


def cut_to_width(text: str, width: int) -> list[str]:
    """``text`` in lines of at most ``width`` columns.

    Lines end at spaces and between wide characters, but not before what closes or after what opens, nor between a
    figure and its unit; where nothing else is left, anywhere.
    """
    lines: list[str] = []
    start, used, last = 0, 0, 0
    for at, char in enumerate(text):
        if at > start and _may_break(text, at):
            last = at
        size = display_width(char)
        while used + size > width and at > start:
            if char == " " and (at + 1 == len(text) or _may_break(text, at + 1)):
                last = at  # the space itself needs no room
            end = last if last > start else at
            lines.append(text[start:end].rstrip(" "))
            start = end
            while start < at and text[start] == " ":
                start += 1
            used, last = display_width(text[start:at]), start
        if char == " " and start == at and lines:
            start, used, last = at + 1, 0, at + 1  # no line begins with the space that ended the one before
            continue
        used += size
    return [*lines, text[start:]]


def wants_json(args: argparse.Namespace) -> bool:
    """Whether ``--json`` or ``--jsonl`` was given, of those that the command has."""
    return bool(getattr(args, "json", False) or getattr(args, "jsonl", False))


@dataclass(slots=True)
class Console:
    """One place to speak from.

    Args:
        tr: says the catalogue's sentences.
        quiet: only results and errors.
        has_spoken: a JSON object has gone out; an error after it gets none of its own.
        verbose: more detail where a command has it.
    """

    tr: Translator
    out: TextIO
    err: TextIO
    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    has_spoken: bool = False

    @property
    def colour(self) -> bool:
        """Whether standard output takes colours."""
        return self.out.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"

    @property
    def _takes_progress(self) -> bool:
        """A line that is written over and over needs a terminal that can wipe it."""
        return not self.quiet and self.err.isatty() and os.environ.get("TERM") != "dumb"

    @property
    def width(self) -> int:
        """Columns to write in; 120 when not a terminal."""
        return self.width_of(self.out)

    @staticmethod
    def width_of(stream: TextIO) -> int:
        """Columns of a stream; 120 when it is not a terminal, or one that does not know."""
        try:
            return os.get_terminal_size(stream.fileno()).columns or 120
        except (OSError, ValueError):
            return 120

    def style(self, text: str, name: str) -> str:
        """``text`` in one of the named styles, plain where colours are off."""
        return f"{_STYLES[name]}{text}\x1b[0m" if self.colour and name in _STYLES else text

    def line(self, text: str = "") -> None:
        """One line of result."""
        self.out.write(text + "\n")

    def wrapped(self, text: str, indent: str = "", first: str | None = None, style: str = "") -> None:
        """A sentence broken to the width, each line indented; the first may begin otherwise, as wide as the indent."""
        start = indent if first is None else first
        for number, part in enumerate(cut_to_width(text, max(20, self.width - display_width(indent) - 1))):
            self.line((start if number == 0 else indent) + self.style(part, style))

    def json(self, value: dict[str, Any]) -> None:
        """One JSON object on one line."""
        import json

        self.has_spoken = True
        self.out.write(json.dumps(value, ensure_ascii=False) + "\n")
        self.out.flush()

    def stage(self, text: str) -> None:
        """Progress: what is being done now. On a terminal only."""
        if self._takes_progress:
            room = max(20, self.width_of(self.err) - 3)
            shown = text if display_width(text) <= room else cut_to_width(text, room - 1)[0] + "…"
            self.err.write(f"\r\x1b[K· {shown}")
            self.err.flush()

    def stage_done(self) -> None:
        """Wipes the progress line."""
        if self._takes_progress:
            self.err.write("\r\x1b[K")
            self.err.flush()

    def note(self, text: str) -> None:
        """A remark on standard error."""
        if not self.quiet:
            self.err.write(text + "\n")
            self.err.flush()

    def error(self, text: str) -> None:
        """An error's one line on standard error."""
        self.stage_done()
        self.err.write(f"huizhen: {text}\n")
        self.err.flush()

    def table(self, rows: Sequence[Sequence[str]], head: Sequence[str] = (), indent: str = "  ") -> None:
        """Rows as aligned columns; the last column is broken to the width that is left."""
        everything = [list(head), *map(list, rows)] if head else [list(row) for row in rows]
        if not everything:
            return
        columns = max(map(len, everything))
        widths = [max((display_width(row[i]) for row in everything if i < len(row)), default=0) for i in range(columns)]
        before = sum(widths[:-1]) + 2 * (columns - 1) + len(indent)
        last = max(20, self.width - before - 1)
        for number, row in enumerate(everything):
            lead = indent + "".join(pad(cell, widths[i]) + "  " for i, cell in enumerate(row[:-1]))
            for part_number, part in enumerate(cut_to_width(row[-1], last)):
                text = (lead if part_number == 0 else " " * before) + part
                self.line(self.style(text.rstrip(), "dim") if head and number == 0 else text.rstrip())


def standard(tr: Translator, *, quiet: bool = False, verbose: bool = False, debug: bool = False) -> Console:
    """The console on the process's own streams."""
    return Console(tr, sys.stdout, sys.stderr, quiet=quiet, verbose=verbose, debug=debug)
