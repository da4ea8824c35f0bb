"""Text logs whose lines follow one pattern: the pattern's named groups say where each part of a frame stands.

A dialect is a subclass with a pattern. Lines of the same layout as one that was read are read in columns
(:mod:`dbc.recording.sheet`); the others one by one, with the same result.

Groups: ``neg h min s f ms part us ns`` time (``f`` the digits of a fraction of a second, ``part`` of a
millisecond), ``id`` identifier, ``dlc`` length, ``data`` bytes, ``bus``, ``dir`` direction, ``rtr`` filled for a remote
request, ``skip…`` text that may differ from line to line without a meaning.
"""
# ruff: noqa: ARG002, ARG003 - a hook gets what every dialect may need

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from dbc.errors import Phrase, RecordingBroken
from dbc.recording.lines import Read, Unreadable
from dbc.recording.sheet import number_from_digits, read_lines
from dbc.table import CLASSIC_WIDTH, EXTENDED, FD, FD_WIDTH, NO_MESSAGE, REMOTE, TX, FrameRow, FrameTable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from dbc.recording.sheet import Sheet

__all__ = ["PatternDialect", "normalised", "number"]

_LARGEST_ID: Final = 0x1FFF_FFFF
_LARGEST_STANDARD: Final = 0x7FF
_MAX_T: Final = 1 << 62
_LONGEST_LAYOUT: Final = 300
_MOST_DIGITS: Final = 17
_MOST_BUSES: Final = 256
_UNITS_NS: Final = {
    "h": 3_600_000_000_000,
    "min": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "us": 1_000,
    "ns": 1,
}
_BYTE: Final = re.compile(r"[0-9A-Fa-f]{2}")
_SENT: Final = ("t", "s", "发")


def normalised(content: bytes) -> bytes:
    """A text log with plain line ends in UTF-8, whatever its writer used.

    Lone and mixed CR become line ends, UTF-16 with its mark and GBK become UTF-8; NUL bytes stay.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        content = content.decode("utf-16", "replace").encode()
    content = content.removeprefix(b"\xef\xbb\xbf")
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if not content.isascii():
        try:
            content.decode("utf-8")
        except UnicodeDecodeError:
            try:
                content = content.decode("gb18030").encode()
            except UnicodeDecodeError:
                return content
    return content


def number(text: str, base: int, en: str, zh: str) -> int:
    """A field as a number.

    Raises:
        Unreadable: it is none.
    """
    clean = text.strip()
    if clean[:2] in {"0x", "0X"}:
        clean, base = clean[2:], 16
    if not clean or len(clean) > 2 * _MOST_DIGITS or "_" in clean or not clean.isascii():
        raise Unreadable(f"the {en} is no number", f"{zh}不是数字")
    try:
        return int(clean, base)
    except ValueError:
        raise Unreadable(f"the {en} is no number", f"{zh}不是数字") from None


class PatternDialect:
    """Lines of one pattern.

    Attributes:
        name: of the format, as shown to people.
        pattern: matches a whole line that is a frame.
        timed: whether lines have a time stamp.
        moduli_ns: after how many ns the stamps may start again from zero.
        base: of identifiers and bytes, 16 or 10.
    """

    name: ClassVar[str]
    pattern: re.Pattern[str]
    timed: ClassVar[bool] = True
    moduli_ns: ClassVar[tuple[int, ...]] = ()

    def __init__(self) -> None:
        self.base = 16
        self.buses: list[str] = []
        self.start_ns: int | None = None
        self.local_start: str | None = None

    @classmethod
    def recognises(cls, head: str) -> bool:
        """Whether a file's beginning (plain line ends, no NUL bytes) is of this dialect."""
        return any(cls.pattern.fullmatch(line) for line in lines_of(head))

    @classmethod
    def opened(cls, head: str) -> PatternDialect:
        """The dialect for a file that was recognised by its beginning."""
        return cls()

    # What a dialect may say otherwise.

    def other(self, text: str) -> FrameRow | None:
        """A line that does not match: None when it rightly is no frame.

        Raises:
            Unreadable: it should have been one.
        """
        raise Unreadable("no frame of this format", "不是该格式的报文行")

    def is_extended(self, found: re.Match[str]) -> bool:
        """Whether the line says that its identifier has 29 bits; larger ones have them anyway."""
        return len(found["id"].removeprefix("0x").removeprefix("0X")) > 4

    def has_layout(self, found: re.Match[str]) -> bool:
        """Whether other lines may be read by this one's layout."""
        return True

    def extra_flags(self, found: re.Match[str]) -> int:
        """Flags besides extended, remote, sent."""
        return 0

    def bus(self, found: re.Match[str]) -> str:
        """Name of the bus."""
        return found["bus"] if "bus" in self.pattern.groupindex and found["bus"] else "0"

    def length(self, found: re.Match[str]) -> int | None:
        """Announced bytes, None when the line does not say."""
        if "dlc" not in self.pattern.groupindex or found["dlc"] is None:
            return None
        return number(found["dlc"], 10, "length", "长度")

    def sums_up(self) -> bool:
        """Whether the stamps are steps from line to line."""
        return False

    def drained(self, table: FrameTable) -> FrameTable:
        """The frames of some lines that were just read."""
        return table

    def finished(self, table: FrameTable, read: Read) -> FrameTable:
        """The last word on a file, for instance on what its times count from.

        Args:
            table: all frames; where they come piece by piece only the first of them, its time as it will be.
            read: to be told notes.
        """
        return table

    # What is the same for all.

    def _channel(self, name: str) -> int:
        if name in self.buses:
            return self.buses.index(name)
        if len(self.buses) == _MOST_BUSES:
            raise Unreadable("more than 256 buses", "总线超过 256 条")
        self.buses.append(name)
        return len(self.buses) - 1

    def _time_spans(self, found: re.Match[str]) -> Iterator[tuple[str, int]]:
        """The groups of the time that this line has, with their unit in ns (times 10⁻ⁿ for fractions)."""
        for group in ("h", "min", "s", "f", "ms", "part", "us", "ns"):
            if group in self.pattern.groupindex and found[group]:
                last = 6 if group == "part" else 9
                yield group, _UNITS_NS.get(group, 0) or 10 ** max(last - len(found[group]), 0)

    def _time_ns(self, found: re.Match[str]) -> int:
        total = 0
        for group, unit in self._time_spans(found):
            digits = found[group][:9] if group == "f" else found[group]
            total += int(digits[: _MOST_DIGITS + 1]) * unit
        if total >= _MAX_T:
            raise Unreadable("a time out of range", "时间超出范围")
        return -total if "neg" in self.pattern.groupindex and found["neg"] == "-" else total

    def _flags(self, found: re.Match[str]) -> int:
        flags = self.extra_flags(found)
        groups = self.pattern.groupindex
        if "dir" in groups and (found["dir"] or "").lower().startswith(_SENT):
            flags |= TX
        if "rtr" in groups and found["rtr"]:
            flags |= REMOTE
        return flags

    def single(self, text: str) -> FrameRow | None:
        """Reads one line of any kind."""
        found = self.pattern.fullmatch(text)
        return self.other(text) if found is None else self.row(found)

    def row(self, found: re.Match[str]) -> FrameRow:
        """One matching line as a frame.

        Raises:
            Unreadable: its numbers are out of range or contradict each other.
        """
        flags = self._flags(found)
        can_id = number(found["id"], self.base, "identifier", "标识符")
        if not 0 <= can_id <= _LARGEST_ID:
            raise Unreadable("an identifier above 29 bits", "标识符超过 29 位")
        if can_id > _LARGEST_STANDARD or self.is_extended(found):
            flags |= EXTENDED
        t_ns = self._time_ns(found)
        length = self.length(found)
        if length is not None and not 0 <= length <= FD_WIDTH:
            raise Unreadable(f"a length of {length} bytes", f"长度 {length} 字节")
        if flags & REMOTE:
            return FrameRow(t_ns, can_id, b"", flags, self._channel(self.bus(found)), min(length or 0, 8))
        data = self._data(found)
        if length is not None:
            if length > CLASSIC_WIDTH and not flags & FD and len(data) <= CLASSIC_WIDTH and length <= 15:
                length = CLASSIC_WIDTH  # A classic frame may carry a DLC of 9 to 15 and then has 8 bytes.
            if length > len(data):
                raise Unreadable(
                    f"{len(data)} bytes where {length} are announced", f"声明 {length} 字节，实有 {len(data)}"
                )
            data = data[:length]
        if len(data) > FD_WIDTH:
            raise Unreadable("more than 64 bytes of data", "数据超过 64 字节")
        if len(data) > CLASSIC_WIDTH:
            flags |= FD
        return FrameRow(t_ns, can_id, data, flags, self._channel(self.bus(found)))

    def _data(self, found: re.Match[str]) -> bytes:
        words = (found["data"] or "").replace(";", " ").replace(",", " ").split()
        values = [number(word, self.base, "data byte", "数据字节") for word in words[: FD_WIDTH + 1]]
        if any(not 0 <= value <= 255 for value in values):
            raise Unreadable("a data byte above FF", "数据字节超过 FF")
        return bytes(values)

    def _layout(self, line: str) -> _Layout | None:
        found = self.pattern.fullmatch(line)
        if found is None or self.base != 16 or "0X" in line or not self.has_layout(found):
            return None
        row = self.row(found)
        id_at, id_end = found.span("id")
        id_at += 2 if found["id"].startswith("0x") else 0
        places = [word.end() + found.start("data") for word in _HEX_WORD.finditer(found["data"] or "")]
        places = places[: len(row.data)]
        spans = [(*found.span(group), unit) for group, unit in self._time_spans(found)]
        fits = (
            not row.flags & NO_MESSAGE
            and len(row.data) == len(places)
            and all(_BYTE.fullmatch(line[at : at + 2]) and not line[at + 2 : at + 3].isalnum() for at in places)
            and all(line[begin:end].isdigit() and end - begin <= _MOST_DIGITS for begin, end, _ in spans)
            and not any(unit == 1 and end - begin > 9 for begin, end, unit in spans)
            and 0 < id_end - id_at <= 8
        )
        if not fits:
            return None
        fixed = np.ones(len(line), np.bool_)
        for begin, end, _ in spans:
            fixed[begin:end] = False
        fixed[id_at:id_end] = False
        for at in places:
            fixed[at : at + 2] = False
        for group in self.pattern.groupindex:
            if group.startswith("skip"):
                fixed[slice(*found.span(group))] = False
        free = [found.span(group) for group in self.pattern.groupindex if group.startswith("skipn") and found[group]]
        sign = -1 if "neg" in self.pattern.groupindex and found["neg"] == "-" else 1
        marked = EXTENDED if self.is_extended(found) else 0
        return _Layout(
            row._replace(flags=row.flags & ~EXTENDED | marked), spans, sign, (id_at, id_end), places, fixed, free
        )

    def shaped(self, sheet: Sheet, left: NDArray[np.intp]) -> tuple[NDArray[np.intp], FrameTable] | None:
        """Reads the lines of the same layout as the first."""
        try:
            raw = sheet.line(int(left[0]))
            line = raw.decode("ascii")
            layout = self._layout(line) if len(raw) <= _LONGEST_LAYOUT else None
        except (UnicodeDecodeError, Unreadable):
            return None
        if layout is None:
            return None
        rows = left[sheet.ends[left] - sheet.starts[left] == len(raw)]
        return layout.read(sheet, rows, np.frombuffer(raw, np.uint8))


_HEX_WORD: Final = re.compile(r"(?<![0-9A-Za-z])(?:0x)?(?=[0-9A-Fa-f])", re.ASCII)


class _Layout:
    """Where each part of some lines stands."""

    def __init__(
        self,
        row: FrameRow,
        spans: list[tuple[int, int, int]],
        sign: int,
        id_span: tuple[int, int],
        places: list[int],
        fixed: NDArray[np.bool_],
        free: list[tuple[int, int]],
    ) -> None:
        self.row, self.spans, self.sign, self.id_span = row, spans, sign, id_span
        self.places, self.fixed, self.free = places, fixed, free

    def read(
        self, sheet: Sheet, rows: NDArray[np.intp], line: NDArray[np.uint8]
    ) -> tuple[NDArray[np.intp], FrameTable]:
        """Those of the lines that have this layout, and their frames."""
        starts, width = sheet.starts[rows], len(line)
        text = sheet.characters(starts, width)
        good = text.are(line, self.fixed)
        t_ns = np.zeros(len(rows), np.int64)
        for begin, end, unit in self.spans:
            value, right = number_from_digits(text.digits(range(begin, end)), 10)
            good &= right & (value < _MAX_T // unit)
            t_ns += np.where(good, value, 0) * unit
            good &= t_ns < _MAX_T
            t_ns[~good] = 0
        for begin, end in self.free:
            good &= (text.digits(range(begin, end)) < 10).all(axis=0)
        ids, right = number_from_digits(text.digits(range(*self.id_span)), 16)
        good &= right & (ids <= _LARGEST_ID)
        size = len(self.row.data)
        data, right = text.data(self.places)
        good &= right
        count = int(np.count_nonzero(good))
        flags = np.where(ids[good] > _LARGEST_STANDARD, EXTENDED, 0) | self.row.flags
        table = FrameTable(
            t_ns[good] * self.sign,
            ids[good].astype(np.uint32),
            flags.astype(np.uint8),
            np.full(count, self.row.channel, np.uint8),
            np.full(count, size, np.uint8),
            data[good],
        )
        return rows[good], table


def lines_of(head: str, most: int = 400) -> Iterator[str]:
    """The first lines of a file's beginning that hold anything, without blanks around them."""
    count = 0
    for line in head.split("\n"):
        clean = line.strip()
        if clean:
            yield clean
            count += 1
            if count == most:
                return


def read(dialect: PatternDialect, content: bytes, path: str) -> Read:
    """Reads a whole file (plain line ends) as one dialect; what is no frame is noted and passed over.

    Raises:
        RecordingBroken: no line of it is a frame, though some should be.
    """
    table, bad, count = read_lines(dialect, content)
    result = Read(table, tuple(dialect.buses), bad, count, timed=dialect.timed, moduli_ns=dialect.moduli_ns)
    result.table = dialect.finished(table, result)
    result.start_ns, result.local_start = dialect.start_ns, dialect.local_start
    if bad and not len(result.table):
        raise RecordingBroken(path, Phrase(f"line {bad[0].line}", f"第 {bad[0].line} 行"), bad[0].reason)
    return result
