"""Text logs of any size: whole lines, a few megabytes at a time, plain or gzipped.

The result is that of reading the file whole. What needs all of it at once (dialects whose stamps may be none, times or
steps; sessions that are put together at their end; UTF-16; archives) is not streamed.
"""

from __future__ import annotations

import gzip
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np

from dbc.errors import FileMissing, Phrase, RecordingBroken, RecordingTooLarge
from dbc.recording import candump, containers, gvret, tables
from dbc.recording.dialects import DIALECTS
from dbc.recording.lines import KEPT_BAD_LINES, BadLine, Unreadable
from dbc.recording.patterns import normalised
from dbc.recording.sheet import read_lines
from dbc.recording.timeline import carried_on, means_milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dbc.recording.sheet import Dialect
    from dbc.table import FrameTable

__all__ = ["LineStream", "opened_stream"]

_HEAD: Final = 1 << 16
_CHUNK: Final = 4 << 20
_LONGEST_LINE: Final = 1 << 20
"""A text without a line end for so long is no log."""
_MAX_INFLATED: Final = 64 << 30
"""No memory is at stake, but time and disk."""
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")


class LineStream:
    """The frames of one text log.

    Attributes:
        format: name of the dialect.
        bad: the first lines that could not be read.
        bad_count: how many there are, all of them only when :meth:`tables` has ended.
    """

    def __init__(self, file: BinaryIO, path: str, format_: str, read: _Reader, *, is_compressed: bool) -> None:
        self.format = format_
        self._path = path
        self._is_compressed = is_compressed
        self._file = file
        self._read = read

    @property
    def bad(self) -> list[BadLine]:
        """In the order of the file."""
        return sorted(self._read.bad)

    @property
    def bad_count(self) -> int:
        """How many lines could not be read."""
        return self._read.bad_count

    def tables(self, chunk: int = _CHUNK) -> Iterator[FrameTable]:
        """The frames in the file's order, some at a time.

        Raises:
            RecordingTooLarge: a compressed file inflates to more than 64 GiB.
        """
        for lines in _whole_lines(self._file, chunk, self._read, self._path, is_compressed=self._is_compressed):
            table = self._read(lines)
            if len(table):
                yield table


def _whole_lines(file: BinaryIO, chunk: int, read: _Reader, path: str, *, is_compressed: bool) -> Iterator[bytes]:
    """The file in pieces of whole lines; a compressed file that is cut gives what is there, and that is noted.

    Raises:
        RecordingTooLarge: it is compressed and inflates beyond all measure.
    """
    rest = b""
    total = 0
    while True:
        try:
            piece = file.read(chunk)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            read.note(Phrase("the compressed file is cut or damaged here", "压缩文件在此处不完整或已损坏"))
            piece = b""
        if not piece:
            break
        total += len(piece)
        if is_compressed and total > _MAX_INFLATED:
            raise RecordingTooLarge(path, total, _MAX_INFLATED)
        rest += piece
        # A carriage return at the end may have its line feed in the next piece.
        end = max(rest.rfind(b"\n"), rest.rfind(b"\r", 0, len(rest) - 1)) + 1
        if end or len(rest) > _LONGEST_LINE:
            yield rest[: end or len(rest)]
            rest = rest[end:] if end else b""
    if rest:
        yield rest


class _Reader:
    """Reads pieces of whole lines with one dialect; counts lines, carries clocks on over the pieces."""

    def __init__(self, dialect: Dialect, moduli_ns: Sequence[int], *, sums_up: Callable[[], bool]) -> None:
        self.bad: list[BadLine] = []
        self.bad_count = 0
        self._dialect = dialect
        self._moduli_ns = moduli_ns
        self._sums_up = sums_up
        self._lines = 0
        self._last_ns: int | None = None
        self._lift_ns = 0

    def note(self, reason: Phrase) -> None:
        """Notes something that is wrong at this place."""
        self.bad_count += 1
        if len(self.bad) < KEPT_BAD_LINES:
            self.bad.append(BadLine(self._lines + 1, reason))

    def skip(self, lines: int) -> None:
        """Counts lines that stand before the first piece."""
        self._lines += lines

    def __call__(self, lines: bytes) -> FrameTable:
        plain = normalised(lines)
        table, bad, count = read_lines(self._dialect, plain, self._lines)
        self._lines += plain.count(b"\n") + (not plain.endswith(b"\n"))
        self.bad_count += count
        self.bad += bad[: KEPT_BAD_LINES - len(self.bad)]
        if len(table):
            self._carry_on(self.scaled(table))
        return table

    def scaled(self, table: FrameTable) -> FrameTable:
        """The frames with their stamps in ns."""
        return table

    def _carry_on(self, table: FrameTable) -> None:
        """Steps summed up, clocks that start again carried on; in place."""
        t_ns = table.t_ns
        if self._sums_up():
            t_ns[:] = np.cumsum(t_ns) + (self._last_ns or 0)
            self._last_ns = int(t_ns[-1])
            return
        last = int(t_ns[-1])
        before = t_ns[:1] if self._last_ns is None else np.array([self._last_ns])
        joined = np.concatenate([before, t_ns])
        carried, _ = carried_on(joined, self._moduli_ns)
        t_ns[:] = carried[1:] + self._lift_ns
        self._lift_ns += int(carried[-1]) - last
        self._last_ns = last


class _Milliseconds(_Reader):
    """GVRET's stamps where they are ms and not µs."""

    def scaled(self, table: FrameTable) -> FrameTable:
        table.t_ns[:] *= 1000
        return table


def _gvret(plain: bytes, path: str) -> tuple[str, _Reader, int]:
    """GVRET's reader; by the file's beginning it is decided whether the stamps are ms, as in old files."""
    dialect, begin, lines = gvret.opened(plain, path)
    first, _, _ = read_lines(dialect, plain[begin : plain.rfind(b"\n") + 1])
    dialect, _, _ = gvret.opened(plain, path)
    kind, moduli = (_Milliseconds, ()) if means_milliseconds(first) else (_Reader, gvret.MODULI_NS)
    reader = kind(dialect, moduli, sums_up=lambda: False)
    reader.skip(lines)
    return "gvret", reader, begin


def _reader(head: bytes, path: str) -> tuple[str, _Reader, int] | None:
    """The dialect's name, its reader, and how many bytes stand before the lines that it reads; None for no dialect."""
    if head.startswith(_UTF_16) or candump.is_candump(normalised(head)):
        return None
    plain = normalised(head)
    if gvret.is_gvret(plain):
        name, reader, _ = _gvret(plain, path)
        return name, reader, gvret.opened(head, path)[1]
    text = plain.decode("utf-8", "replace").replace("\0", "")
    if tables.is_values(text):
        return None
    for kind in DIALECTS:
        if kind.recognises(text):
            if not kind.streams:
                return None
            try:
                opened = kind.opened(text)
            except Unreadable as exc:
                raise RecordingBroken(path, Phrase("the header", "文件头"), exc.reason) from exc
            return opened.name, _Reader(opened, opened.moduli_ns, sums_up=opened.sums_up), 0
    return None


@contextmanager
def opened_stream(path: str | Path) -> Iterator[LineStream | None]:
    """Opens a text log; None where it is none, or one that has to be read whole.

    Raises:
        FileMissing: it is not there or not readable.
        RecordingBroken: its header is damaged.
    """
    try:
        file: BinaryIO = Path(path).open("rb")  # noqa: SIM115 - closed below; only its opening is translated
    except (OSError, ValueError) as exc:
        raise FileMissing(str(path), getattr(exc, "strerror", None) or str(exc)) from exc
    with file:
        source: BinaryIO = file
        if containers.is_gzip(file.read(4)):
            file.seek(0)
            source = gzip.GzipFile(fileobj=file)  # type: ignore[assignment]  # it reads and seeks as one
        source.seek(0)
        try:
            head = source.read(_HEAD)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            yield None
            return
        found = _reader(head, str(path))
        if found is None:
            yield None
            return
        name, reader, begin = found
        source.seek(begin)
        yield LineStream(source, str(path), name, reader, is_compressed=source is not file)
