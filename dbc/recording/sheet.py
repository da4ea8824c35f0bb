"""Lines of a text log, many at once.

Most lines of a log look alike: the same number of digits at the same places. A reader takes the first line that is
left, makes its shape, reads all lines of that shape in columns, and goes on with the rest; what has no shape goes line
by line. The result is the same as reading each line by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from dbc.recording.lines import KEPT_BAD_LINES, BadLine, Unreadable
from dbc.recording.swar import rows_at
from dbc.table import CLASSIC_WIDTH, FD_WIDTH, FrameRow, FrameTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["Characters", "Dialect", "Sheet", "chunks", "number_from_digits", "read_lines"]

_CHUNK: Final = 2 << 20
_LONGEST_LINE: Final = 4096
_PADDING: Final = 512
_SHAPES_PER_CHUNK: Final = 96
_MISSES_PER_CHUNK: Final = 24


def _code_table() -> bytes:
    codes = bytearray(b"\xff" * 256)
    for value, char in enumerate(b"0123456789"):
        codes[char] = value
    for value in range(6):
        codes[ord("a") + value] = codes[ord("A") + value] = 10 + value
    return bytes(codes)


_CODES: Final = _code_table()
"""Hexadecimal digits as 0 to 15, everything else as 0xFF."""
_WORD: Final = 8


class Characters:
    """The characters of some lines, from the same place of each on.

    They stand as 64-bit words, so that eight are moved, and compared, at once.

    Args:
        text: uint8, with room for all of them behind the last place.
        starts: int64 (n,), where they begin.
        width: how many of each line.
    """

    __slots__ = ("_bytes", "_words", "width")

    def __init__(self, text: NDArray[np.uint8], starts: NDArray[np.int64], width: int) -> None:
        self.width = width
        self._words = np.ascontiguousarray(rows_at(text, starts, max(1, -(-width // _WORD))).T)
        self._bytes = self._words.view(np.uint8)

    def are(self, line: NDArray[np.uint8], fixed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """bool (n,): lines that have the characters of one line wherever ``fixed`` (width,) says so."""
        room = -len(line) % _WORD
        masks = np.pad(np.where(fixed, np.uint8(0xFF), np.uint8(0)), (0, room)).view(np.uint64)
        wanted = np.pad(line, (0, room)).view(np.uint64) & masks
        good = np.ones(self._words.shape[1], np.bool_)
        for number in np.flatnonzero(masks).tolist():
            np.logical_and(good, (self._words[number] & masks[number]) == wanted[number], good)
        return good

    def digits(self, places: Sequence[int]) -> NDArray[np.uint8]:
        """uint8 (len(places), n): hexadecimal digits as 0 to 15, other characters as 0xFF."""
        out = np.empty((len(places), self._words.shape[1]), np.uint8)
        for number, place in enumerate(places):
            out[number] = self._bytes[place // _WORD, place % _WORD :: _WORD]
        return np.frombuffer(out.tobytes().translate(_CODES), np.uint8).reshape(out.shape)

    def data(self, places: Sequence[int]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """uint8 (n, 8 or 64): bytes of two digits each at some places, and bool (n,): whether they are digits."""
        high, low = self.digits(places), self.digits([place + 1 for place in places])
        n, size = self._words.shape[1], len(places)
        out = np.zeros((n, CLASSIC_WIDTH if size <= CLASSIC_WIDTH else FD_WIDTH), np.uint8)
        for number in range(size):
            out[:, number] = high[number] << 4 | low[number] & 15
        good: NDArray[np.bool_] = np.logical_and.reduce((high | low) < 16, axis=0)
        return out, good


class Sheet:
    """The lines of one chunk of a file.

    Args:
        content: whole lines.

    Attributes:
        starts: int64 (n,), where each line begins.
        ends: int64 (n,), where it ends, without line ends and blanks.
    """

    __slots__ = ("_raw", "content", "ends", "starts")

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._raw = np.frombuffer(content + b"\n" + bytes(_PADDING), np.uint8)
        breaks = np.flatnonzero(self._raw[: len(content) + 1] == 10)
        starts = np.concatenate([np.zeros(1, np.int64), breaks[:-1] + 1])
        if content.endswith(b"\n"):
            starts, breaks = starts[:-1], breaks[:-1]
        ends = breaks
        for _ in range(2):
            last = self._raw[np.maximum(ends - 1, 0)]
            ends = ends - ((ends > starts) & ((last == 13) | (last == 32)))
        self.starts, self.ends = starts, ends

    def __len__(self) -> int:
        return len(self.starts)

    def line(self, row: int) -> bytes:
        """One line, cut where it is absurdly long."""
        begin = int(self.starts[row])
        return self.content[begin : min(int(self.ends[row]), begin + _LONGEST_LINE)]

    def characters(self, starts: NDArray[np.int64], width: int) -> Characters:
        """The characters from some places on; ``width`` may be up to 504."""
        return Characters(self._raw, starts, width)


def number_from_digits(cells: NDArray[np.uint8], base: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """int64 (n,): numbers whose digits are the rows of ``cells``, and whether they are numbers of that base."""
    value = np.zeros(cells.shape[1], np.int64)
    for row in cells:
        value *= base
        value += row
    return value, cells.max(axis=0) < base


class Dialect(Protocol):
    """What a reader knows about its lines."""

    def shaped(self, sheet: Sheet, left: NDArray[np.intp]) -> tuple[NDArray[np.intp], FrameTable] | None:
        """Reads those of some lines that look like the first of them; None when that one has no shape."""

    def single(self, text: str) -> FrameRow | None:
        """Reads one line; None for headers, comments and events, which rightly are no frames.

        Raises:
            Unreadable: no frame, though it should be one.
        """


def chunks(content: bytes, size: int = _CHUNK) -> Iterator[bytes]:
    """A file in pieces of whole lines, of about so many bytes."""
    at = 0
    while at < len(content):
        end = min(at + size, len(content))
        if end < len(content):
            newline = content.rfind(b"\n", at, end)
            if newline < 0:
                newline = content.find(b"\n", end)
            end = len(content) if newline < 0 else newline + 1
        yield content[at:end]
        at = end


def _read_singly(
    dialect: Dialect, sheet: Sheet, rows: NDArray[np.intp], before: int, bad: list[BadLine]
) -> tuple[list[tuple[NDArray[np.intp], FrameTable]], int]:
    """Reads lines one by one; notes what cannot be read and says how many those are."""
    frames: list[FrameRow] = []
    where: list[int] = []
    failed = 0
    for row in rows.tolist():
        text = sheet.line(row).replace(b"\0", b"").decode("utf-8", "replace").strip()
        if not text:
            continue
        try:
            frame = dialect.single(text)
            if frame is not None:
                frames.append(frame)
                where.append(row)
        except Unreadable as exc:
            failed += 1
            if len(bad) < KEPT_BAD_LINES:
                bad.append(BadLine(before + row + 1, exc.reason))
    return ([(np.array(where, np.intp), FrameTable.from_rows(frames))] if frames else []), failed


def read_lines(dialect: Dialect, content: bytes, before: int = 0) -> tuple[FrameTable, list[BadLine], int]:
    """Reads all lines of a file.

    Args:
        dialect: what the lines look like.
        content: the lines.
        before: how many lines of the file stand before them.

    Returns:
        the frames in the file's order, the first bad lines, and how many there are.
    """
    tables: list[FrameTable] = []
    bad: list[BadLine] = []
    failed = 0
    for chunk in chunks(content):
        sheet = Sheet(chunk)
        pieces: list[tuple[NDArray[np.intp], FrameTable]] = []
        left = np.flatnonzero(sheet.ends > sheet.starts)
        misses = 0
        for _ in range(_SHAPES_PER_CHUNK):
            if not len(left) or misses == _MISSES_PER_CHUNK:
                break
            read = dialect.shaped(sheet, left)
            if read is not None and len(read[0]):
                pieces.append(read)
                left = left[~np.isin(left, read[0], assume_unique=True)]
            else:
                misses += 1
                found, count = _read_singly(dialect, sheet, left[:1], before, bad)
                pieces += found
                failed += count
                left = left[1:]
        found, count = _read_singly(dialect, sheet, left, before, bad)
        pieces += found
        failed += count
        if pieces:
            rows = np.concatenate([where for where, _ in pieces])
            table = FrameTable.concat([table for _, table in pieces])
            tables.append(table if len(pieces) == 1 else table[np.argsort(rows, kind="stable")])
        before += len(sheet)
    return FrameTable.concat(tables), sorted(bad), failed
