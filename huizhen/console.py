"""What a person sees: lines, tables with Chinese widths, colours, progress.

Results go to standard output, progress and errors to standard error. Colour only on a terminal and without
``NO_COLOR``; progress only on a terminal.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Sequence

    from huizhen.language import Translator

__all__ = ["Console", "cut_to_width", "display_width", "pad", "program_name"]

_STYLES: Final = {
    "stop": "\x1b[1;97;41m",
    "soon": "\x1b[1;31m",
    "monitor": "\x1b[33m",
    "low": "\x1b[36m",
    "good": "\x1b[32m",
    "title": "\x1b[1m",
    "dim": "\x1b[2m",
}


def program_name() -> str:
    """How this program was called, so that a printed command can be typed again as it stands."""
    called = sys.argv[0]
    if Path(called).name != "huizhen":
        return "huizhen"
    on_path = shutil.which("huizhen")
    if on_path and Path(on_path).resolve() == Path(called).resolve():
        return "huizhen"
    return os.path.relpath(called)


def display_width(text: str) -> int:
    """Columns that ``text`` takes in a terminal: wide characters count two, combining ones none."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def pad(text: str, width: int) -> str:
    """``text`` filled with spaces to ``width`` columns."""
    return text + " " * max(0, width - display_width(text))


def cut_to_width(text: str, width: int) -> list[str]:
    """``text`` in lines of at most ``width`` columns, broken at spaces or between wide characters."""
    lines: list[str] = []
    line, used, space = "", 0, -1
    for char in text:
        size = display_width(char)
        if used + size > width and line:
            if char != " " and space > 0:
                rest = line[space + 1 :]
                lines.append(line[:space])
                line, used = rest, display_width(rest)
            else:
                lines.append(line)
                line, used = "", 0
            space = -1
            if char == " ":
                continue
        if char == " ":
            space = len(line)
        line += char
        used += size
        if size == 2:
            space = -1 if space < 0 else space
    return [*lines, line]


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
        return self.out.isatty() and "NO_COLOR" not in os.environ

    @property
    def width(self) -> int:
        """Columns to write in; 120 when not a terminal."""
        try:
            return os.get_terminal_size(self.out.fileno()).columns
        except (OSError, ValueError):
            return 120

    def style(self, text: str, name: str) -> str:
        """``text`` in one of the named styles, plain where colours are off."""
        return f"{_STYLES[name]}{text}\x1b[0m" if self.colour and name in _STYLES else text

    def line(self, text: str = "") -> None:
        """One line of result."""
        self.out.write(text + "\n")

    def wrapped(self, text: str, indent: str = "", first: str | None = None) -> None:
        """A sentence broken to the width, each line indented; the first one may begin otherwise."""
        start = indent if first is None else first
        for number, part in enumerate(cut_to_width(text, max(20, self.width - display_width(indent) - 1))):
            self.line((start if number == 0 else indent) + part)

    def json(self, value: dict[str, Any]) -> None:
        """One JSON object on one line."""
        self.has_spoken = True
        self.out.write(json.dumps(value, ensure_ascii=False) + "\n")
        self.out.flush()

    def stage(self, text: str) -> None:
        """Progress: what is being done now. On a terminal only."""
        if not self.quiet and self.err.isatty():
            self.err.write(f"\r\x1b[K· {text}")
            self.err.flush()

    def stage_done(self) -> None:
        """Wipes the progress line."""
        if not self.quiet and self.err.isatty():
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
