"""Text logs of any size: whole lines, a few megabytes at a time, plain or gzipped.

The result is that of reading the file whole. One thing is decided by the file's first 64 KiB: whether the stamps of
GVRET are ms or µs.
"""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from dbc.errors import NotARecording, Phrase, RecordingBroken, RecordingTooLarge
from dbc.recording import candump, gvret, tables
from dbc.recording.dialects import DIALECTS
from dbc.recording.lines import KEPT_BAD_LINES, BadLine, Read, Unreadable
from dbc.recording.patterns import normalised
from dbc.recording.sheet import read_lines
from dbc.recording.terminals import Console
from dbc.recording.timeline import carried_on, means_milliseconds
from dbc.table import FrameTable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from mmap import mmap

    from dbc.recording.patterns import PatternDialect

__all__ = ["CHUNK", "LineSource", "Readable", "opened_text"]

CHUNK: Final = 4 << 20
"""Bytes that are read at once."""
_HEAD: Final = 1 << 16
_LONGEST_LINE: Final = 1 << 20
"""A text without a line end for so long is no log."""
_MAX_INFLATED: Final = 64 << 30
"""No memory is at stake, but time and disk."""
_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class _Lines(Protocol):
    """Reads the lines of one dialect."""

    name: str
    moduli_ns: tuple[int, ...]

    def read(self, lines: bytes, before: int) -> tuple[FrameTable, list[BadLine], int]:
        """The frames of whole lines, the first bad lines, how many there are; so many lines stand before."""

    def sums_up(self) -> bool:
        """Whether stamps are steps."""

    def outcome(self, first: FrameTable | None, most_channel: int) -> Read:
        """What else it found out, given the first frame and the highest index of a bus (-1 without frames)."""


class _Candump:
    """candump -L."""

    name = "candump"
    moduli_ns: tuple[int, ...] = ()

    def __init__(self) -> None:
        self._lines = candump.CandumpLines()

    def read(self, lines: bytes, before: int) -> tuple[FrameTable, list[BadLine], int]:  # noqa: ARG002 - it counts itself
        kept, count = len(self._lines.bad), self._lines.bad_count
        table = self._lines.read(lines)
        return table, self._lines.bad[kept:], self._lines.bad_count - count

    def sums_up(self) -> bool:
        return False

    def outcome(self, first: FrameTable | None, most_channel: int) -> Read:  # noqa: ARG002 - names are its own
        table = FrameTable.empty() if first is None else first
        return candump.read_of(table, self._lines)


class _Gvret:
    """GVRET; by the file's beginning it is decided whether the stamps are ms, as in old files."""

    name = "gvret"

    def __init__(self, plain: bytes, path: str) -> None:
        dialect, begin, _ = gvret.opened(plain, path)
        first, _, _ = read_lines(dialect, plain[begin : plain.rfind(b"\n") + 1])
        self._is_milliseconds = means_milliseconds(first)
        self._dialect, _, _ = gvret.opened(plain, path)
        self.moduli_ns: tuple[int, ...] = () if self._is_milliseconds else gvret.MODULI_NS

    def read(self, lines: bytes, before: int) -> tuple[FrameTable, list[BadLine], int]:
        table, bad, count = read_lines(self._dialect, lines, before)
        if self._is_milliseconds:
            table.t_ns[:] *= 1000
        return table, bad, count

    def sums_up(self) -> bool:
        return False

    def outcome(self, first: FrameTable | None, most_channel: int) -> Read:
        table = FrameTable.empty() if first is None else first
        names = tuple(str(bus) for bus in range(most_channel + 1))
        return gvret.read_of(table, names, self._dialect, is_milliseconds=self._is_milliseconds)


class _Pattern:
    """Dialects whose lines follow a pattern."""

    def __init__(self, dialect: PatternDialect) -> None:
        self.name = dialect.name
        self.moduli_ns = dialect.moduli_ns
        self.dialect = dialect

    def read(self, lines: bytes, before: int) -> tuple[FrameTable, list[BadLine], int]:
        table, bad, count = read_lines(self.dialect, lines, before)
        return self.dialect.drained(table), bad, count

    def sums_up(self) -> bool:
        return self.dialect.sums_up()

    def outcome(self, first: FrameTable | None, most_channel: int) -> Read:  # noqa: ARG002 - names are its own
        dialect = self.dialect
        read = Read(FrameTable.empty(), tuple(dialect.buses), timed=dialect.timed)
        dialect.finished(read.table if first is None else first, read)
        read.channels = tuple(dialect.buses)
        read.start_ns, read.local_start = dialect.start_ns, dialect.local_start
        return read


class LineSource:
    """The frames of one text log.

    Args:
        file: to read from; must seek.
        path: names it in errors.
        lines: reads its lines.
        place: bytes that stand before these, and lines.
        is_compressed: what is read was inflated.
    """

    def __init__(
        self, file: Readable, path: str, lines: _Lines, place: tuple[int, int], *, is_compressed: bool
    ) -> None:
        self.name = lines.name
        self.wraps = 0
        self.maps: tuple[mmap, ...] = ()
        self._bad: list[BadLine] = []
        self._bad_count = 0
        self._file, self._path, self._lines = file, path, lines
        self._begin, self._before = place
        self._is_compressed = is_compressed
        self._first: FrameTable | None = None
        self._most_channel = -1
        self._last_ns: int | None = None
        self._lift_ns = 0

    def tables(self) -> Iterator[FrameTable]:
        """The frames in the file's order, those of some megabytes at a time.

        Raises:
            RecordingTooLarge: a compressed file inflates to more than 64 GiB.
            RecordingBroken: no line is a frame, though some should be.
        """
        if isinstance(self._lines, _Pattern) and isinstance(self._lines.dialect, Console):
            self._judge(self._lines.dialect)
        for lines in self._whole_lines():
            plain = normalised(lines)
            table, bad, count = self._lines.read(plain, self._before)
            self._before += plain.count(b"\n") + (not plain.endswith(b"\n"))
            self._bad_count += count
            self._bad += bad[: KEPT_BAD_LINES - len(self._bad)]
            if len(table):
                self._carry_on(table)
                self._first = table[:1] if self._first is None else self._first
                self._most_channel = max(self._most_channel, int(table.channel.max()))
                yield table
        if self._bad and self._first is None and isinstance(self._lines, _Pattern):
            line = self._bad[0].line
            raise RecordingBroken(self._path, Phrase(f"line {line}", f"第 {line} 行"), self._bad[0].reason)

    def _judge(self, dialect: Console) -> None:
        """Goes through a log once for its stamps alone."""
        looking = Console()
        for lines in self._whole_lines():
            looking.judge(read_lines(looking, normalised(lines))[0])
        dialect.stamps, dialect.is_judged = looking.stamps, True

    def outcome(self) -> Read:
        """Channels, start, bad lines, notes."""
        read = self._lines.outcome(self._first, self._most_channel)
        read.bad_lines, read.bad_line_count = sorted(self._bad), self._bad_count
        return read

    def _carry_on(self, table: FrameTable) -> None:
        """Steps summed up, clocks that start again carried on; in place."""
        t_ns = table.t_ns
        if self._lines.sums_up():
            t_ns[:] = np.cumsum(t_ns) + (self._last_ns or 0)
            self._last_ns = int(t_ns[-1])
            return
        if not self._lines.moduli_ns:
            return
        last = int(t_ns[-1])
        before = t_ns[:1] if self._last_ns is None else np.array([self._last_ns])
        joined = np.concatenate([before, t_ns])
        carried, wraps = carried_on(joined, self._lines.moduli_ns)
        t_ns[:] = carried[1:] + self._lift_ns
        self._lift_ns += int(carried[-1]) - last
        self._last_ns = last
        self.wraps += wraps

    def _whole_lines(self) -> Iterator[bytes]:
        """The file in pieces of whole lines."""
        self._file.seek(self._begin)
        rest, total = b"", 0
        while True:
            piece = self._file.read(CHUNK)
            if not piece:
                break
            total += len(piece)
            if self._is_compressed and total > _MAX_INFLATED:
                raise RecordingTooLarge(self._path, total, _MAX_INFLATED)
            rest += piece
            # A carriage return at the end may have its line feed in the next piece.
            end = max(rest.rfind(b"\n"), rest.rfind(b"\r", 0, len(rest) - 1)) + 1
            if end or len(rest) > _LONGEST_LINE:
                yield rest[: end or len(rest)]
                rest = rest[end:] if end else b""
        if rest:
            yield rest


class Readable(Protocol):
    """What is read of a file."""

    def read(self, size: int, /) -> bytes:
        """So many bytes, fewer at the end."""

    def seek(self, at: int, /) -> int:
        """Goes to a place."""


class _FromUtf16:
    """A file in UTF-16 as one in UTF-8; seeks to bytes that were read before or to the beginning."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-16")("replace")
        self._rest = b""

    def seek(self, at: int, /) -> int:
        self._file.seek(0)
        self._decoder.reset()
        self._rest = b""
        while at > 0 and (skipped := self.read(min(at, CHUNK))):
            at -= len(skipped)
        return 0

    def read(self, size: int, /) -> bytes:
        while len(self._rest) < size:
            raw = self._file.read(size)
            self._rest += self._decoder.decode(raw, final=not raw).encode()
            if not raw:
                break
        out, self._rest = self._rest[:size], self._rest[size:]
        return out


def _lines_from(head: bytes, path: str) -> tuple[_Lines, tuple[int, int]]:
    """What reads the lines of a file with such a beginning, and how many bytes and lines stand before them.

    Raises:
        NotARecording: no dialect recognised.
        RecordingBroken: its header is damaged.
    """
    plain = normalised(head)
    if gvret.is_gvret(plain):
        _, begin, before = gvret.opened(head, path)
        return _Gvret(plain, path), (begin, before)
    if candump.is_candump(plain):
        return _Candump(), (0, 0)
    text = plain.decode("utf-8", "replace").replace("\0", "")
    if tables.is_values(text):
        values = Phrase("decoded values of Car Scanner, not frames", "Car Scanner 的解码数值，不是报文")
        raise NotARecording(path, values)
    for kind in DIALECTS:
        if kind.recognises(text):
            try:
                return _Pattern(kind.opened(text)), (0, 0)
            except Unreadable as exc:
                raise RecordingBroken(path, Phrase("the header", "文件头"), exc.reason) from exc
    raise NotARecording(path, Phrase("no known dialect in it", "无法识别其格式"))


def opened_text(file: Readable, path: str, *, is_compressed: bool = False) -> LineSource:
    """A text log.

    Args:
        file: its bytes; must seek.
        path: names it in errors.
        is_compressed: what comes out of ``file`` was inflated, and is bounded.

    Raises:
        NotARecording: no dialect recognised.
        RecordingBroken: its header is damaged.
    """
    file.seek(0)
    begin = file.read(2)
    source: Readable = _FromUtf16(file) if begin in _UTF_16 else file
    source.seek(0)
    lines, place = _lines_from(source.read(_HEAD), path)
    return LineSource(source, path, lines, place, is_compressed=is_compressed)
