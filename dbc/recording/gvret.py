"""CSV of SavvyCAN and GVRET in all its variants of columns.

The header line names the columns; their order and number differ between versions (``Bus`` or ``Dir,Bus``, ``LEN`` or
``DLC``, 8 or 64 data columns). Stamps are µs and may be negative; in old files they are milliseconds, which shows when
no bus could have carried the frames in so many µs. Identifiers and bytes may lack their leading zeros, and a
spreadsheet may have turned ``1E5`` into ``100000``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from dbc.errors import Phrase, RecordingBroken
from dbc.recording.lines import Read, Unreadable
from dbc.recording.sheet import Sheet, number_from_digits, read_lines
from dbc.recording.tables import note_repaired, perhaps_repaired, repaired_id
from dbc.recording.timeline import means_milliseconds
from dbc.table import ERROR, EXTENDED, FD, REMOTE, TX, FrameRow, FrameTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["MODULI_NS", "is_gvret", "opened", "read", "read_of"]

_BOM: Final = b"\xef\xbb\xbf"
_HEADER: Final = re.compile(
    rb"^(?:\xef\xbb\xbf)?\s*(?P<stamp>\"?time ?stamp\"?)\s*[,;]\s*\"?id\"?\s*[,;][^\n\r]*\"?(?:len|dlc)\"?\s*[,;]?",
    re.IGNORECASE | re.MULTILINE,
)
_TRUE: Final = frozenset({"true", "1", "yes"})
_FALSE: Final = frozenset({"false", "0", "no", ""})
_MAX_T: Final = 1 << 63
_DATA: Final = re.compile(r"d(?:ata)?(\d+)")
_ERROR_ID: Final = 0x2000_0000
_LARGEST_ID: Final = 0x1FFF_FFFF
_LARGEST_STANDARD: Final = 0x7FF
_TIME_DIGITS: Final = 16
_LARGEST_US: Final = 9_223_372_036_854_775
_LONGEST_SHAPE: Final = 200
MODULI_NS: Final = ((1 << 32) * 1000,)
"""The adapters count µs in 32 bits."""
_MOST_MS_NS: Final = 9_000_000_000_000_000


def is_gvret(head: bytes) -> bool:
    """Whether the header line stands in a file's beginning."""
    return _HEADER.search(head) is not None


class _Columns:
    """Where each field stands, by the header line."""

    def __init__(self, names: Sequence[str]) -> None:
        plain = [name.strip().strip('"').lower().replace(" ", "") for name in names]
        where = {name: at for at, name in reversed(list(enumerate(plain)))}
        self.time = where["timestamp"]
        self.can_id = where["id"]
        length = where.get("len", where.get("dlc"))
        if length is None:
            raise KeyError("len")
        self.length = length
        self.extended = where.get("extended")
        self.direction = where.get("dir", where.get("direction"))
        self.bus = where.get("bus")
        data = [at for at, name in enumerate(plain) if _DATA.fullmatch(name)]
        self.data = data[0] if data else max(where.values()) + 1
        self.needed = max(self.time, self.can_id, self.length) + 1
        self.repaired = 0

    def row(self, fields: Sequence[str]) -> FrameRow:
        """One line as a frame.

        Raises:
            Unreadable: a field that is no number, or fewer bytes than the line says.
        """
        if len(fields) < self.needed:
            raise Unreadable("too few columns", "列数不足")
        t_us = _number(fields[self.time], 10, "time stamp", "时间戳")
        if not -_MAX_T <= t_us * 1000 < _MAX_T:
            raise Unreadable("a time out of range", "时间超出范围")
        can_id = self._identifier(fields)
        flags = 0
        if can_id & _ERROR_ID and can_id < 1 << 32:
            can_id, flags = can_id & 0x1FFF_FFFF, ERROR
        if not 0 <= can_id <= 0x1FFF_FFFF:
            raise Unreadable("an identifier above 29 bits", "标识符超过 29 位")
        if self.says_extended(fields) or can_id > _LARGEST_STANDARD:
            flags |= EXTENDED
        if self.direction is not None and len(fields) > self.direction:
            flags |= TX if fields[self.direction].strip().strip('"').lower().startswith("t") else 0
        length = _number(fields[self.length], 10, "length", "长度")
        bus = 0
        if self.bus is not None and len(fields) > self.bus:
            bus = _number(fields[self.bus], 10, "bus", "总线号")
        if not 0 <= length <= 64 or not 0 <= bus <= 255:
            raise Unreadable("a length or bus out of range", "长度或总线号超出范围")
        texts = [text for text in fields[self.data : self.data + length] if text.strip()]
        if length and not texts:
            return FrameRow(t_us * 1000, can_id, b"", flags | REMOTE, bus, min(length, 64))
        if len(texts) < length:
            raise Unreadable(
                f"{len(texts)} bytes where {length} are announced", f"声明 {length} 字节，实有 {len(texts)}"
            )
        data = [_number(text, 16, "data byte", "数据字节") for text in texts]
        if any(not 0 <= byte <= 255 for byte in data):
            raise Unreadable("a data byte above FF", "数据字节超过 FF")
        return FrameRow(t_us * 1000, can_id, bytes(data), flags | (FD if length > 8 else 0), bus)

    def _identifier(self, fields: Sequence[str]) -> int:
        text = fields[self.can_id]
        repaired = repaired_id(text)
        if repaired is None or self.extended is None or self.says_extended(fields):
            return _number(text, 16, "identifier", "标识符")
        self.repaired += 1
        return repaired

    def says_extended(self, fields: Sequence[str]) -> bool:
        """Whether the line calls its identifier extended.

        Raises:
            Unreadable: it says neither yes nor no.
        """
        if self.extended is None or len(fields) <= self.extended:
            return False
        word = fields[self.extended].strip().strip('"').lower()
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
        raise Unreadable(f"{word[:20]!r} is neither true nor false", f"{word[:20]!r} 既不是 true 也不是 false")


def _number(text: str, base: int, en: str, zh: str) -> int:
    clean = text.strip().strip('"')
    if len(clean) > 24 or "_" in clean:
        raise Unreadable(f"the {en} is no number", f"{zh}不是数字")
    try:
        return int(clean, base)
    except ValueError:
        pass
    try:
        whole, _, fraction = clean.partition(".")
        if base == 10 and fraction.strip("0") == "":
            return int(whole)
    except ValueError:
        pass
    raise Unreadable(f"the {en} is no number", f"{zh}不是数字")


class _Gvret:
    """The lines below a header line."""

    def __init__(self, columns: _Columns, separator: str) -> None:
        self.columns = columns
        self.separator = separator

    def single(self, text: str) -> FrameRow | None:
        """Reads one line of any kind; another capture glued behind brings its header line along."""
        if _HEADER.match(text.encode()):
            return None
        return self.columns.row(text.split(self.separator))

    def shaped(self, sheet: Sheet, left: NDArray[np.intp]) -> tuple[NDArray[np.intp], FrameTable] | None:
        """Reads the lines that differ from the first of them only in time, identifier and data."""
        line = sheet.line(int(left[0]))
        repaired = self.columns.repaired
        try:
            fields = line.decode("ascii").split(self.separator)
            row = self.columns.row(fields)
        except (UnicodeDecodeError, Unreadable):
            return None
        columns = self.columns
        begins = [0]
        for field in fields:
            begins.append(begins[-1] + len(field) + 1)
        signed = fields[columns.time].startswith("-")
        time = slice(begins[columns.time] + signed, begins[columns.time + 1] - 1)
        can_id = slice(begins[columns.can_id], begins[columns.can_id + 1] - 1)
        bytes_at = begins[columns.data : columns.data + len(row.data)]
        plain = (
            row.flags & (REMOTE | ERROR | FD) == 0
            and 1 <= time.stop - time.start <= _TIME_DIGITS
            and 1 <= can_id.stop - can_id.start <= 8
            and len(line) <= _LONGEST_SHAPE
            and all(len(text) == 2 for text in fields[columns.data : columns.data + len(row.data)])
            and (
                can_id.stop - can_id.start == 3
                or not fields[columns.can_id][:1].isdecimal()
                or fields[columns.can_id].startswith("0")
            )
        )
        if not plain:
            self.columns.repaired = repaired  # The line is read again by itself.
            return None
        rows = left[sheet.ends[left] - sheet.starts[left] == len(line)]
        starts = sheet.starts[rows]
        text = sheet.characters(starts, len(line))
        fixed = np.ones(len(line), np.bool_)
        fixed[time] = fixed[can_id] = False
        for at in bytes_at:
            fixed[at : at + 2] = False
        good = text.are(np.frombuffer(line, np.uint8), fixed)
        t_us, right = number_from_digits(text.digits(range(time.start, time.stop)), 10)
        good &= right & (t_us <= _LARGEST_US)
        ids, right = number_from_digits(text.digits(range(can_id.start, can_id.stop)), 16)
        good &= right & (ids <= _LARGEST_ID) & ~perhaps_repaired(ids)
        data, right = text.data(bytes_at)
        good &= right
        extended = columns.says_extended(fields) | (ids > _LARGEST_STANDARD)
        flags = np.where(extended, EXTENDED, 0) | row.flags & ~EXTENDED
        count = int(np.count_nonzero(good))
        table = FrameTable(
            t_us[good] * (-1000 if signed else 1000),
            ids[good].astype(np.uint32),
            flags[good].astype(np.uint8),
            np.full(count, row.channel, np.uint8),
            np.full(count, len(row.data), np.uint8),
            data[good],
        )
        return rows[good], table


def opened(content: bytes, path: str) -> tuple[_Gvret, int, int]:
    """How to read the lines of a file, how many of its bytes stand before them, and how many lines.

    Raises:
        RecordingBroken: the header line is missing or lacks a column that is needed.
    """
    found = _HEADER.search(content)
    if found is None:
        raise RecordingBroken(path, Phrase("the header", "表头"), Phrase("no header line", "没有表头行"))
    begin = max(content.rfind(b"\n", 0, found.start("stamp")), content.rfind(b"\r", 0, found.start("stamp"))) + 1
    end = len(content)
    for mark in (b"\n", b"\r"):
        at = content.find(mark, found.start("stamp"))
        end = at if 0 <= at < end else end
    header = content[begin:end].removeprefix(_BOM).replace(b"\0", b"").decode("utf-8", "replace")
    if content[end : end + 2] == b"\r\n":
        end += 1
    before = len(content[:end].splitlines())
    separator = ";" if header.count(";") > header.count(",") else ","
    try:
        columns = _Columns(header.split(separator))
    except KeyError as exc:
        place = Phrase(f"line {before}", f"第 {before} 行")
        raise RecordingBroken(path, place, Phrase(f"no column {exc.args[0]}", f"缺少列 {exc.args[0]}")) from exc
    return _Gvret(columns, separator), min(end + 1, len(content)), before


def read(content: bytes, path: str) -> Read:
    """Reads a whole file; lines that are no frames are noted and passed over.

    Raises:
        RecordingBroken: the header line lacks a column that is needed.
    """
    dialect, begin, before = opened(content, path)
    table, bad, count = read_lines(dialect, content[begin:], before)
    names = tuple(str(bus) for bus in range(int(table.channel.max()) + 1 if len(table) else 0))
    is_milliseconds = means_milliseconds(table) and int(np.abs(table.t_ns).max()) < _MOST_MS_NS
    if is_milliseconds:
        table.t_ns[:] *= 1000
    result = read_of(table, names, dialect, is_milliseconds=is_milliseconds)
    result.bad_lines, result.bad_line_count = bad, count
    result.moduli_ns = () if is_milliseconds else MODULI_NS
    return result


def read_of(table: FrameTable, names: tuple[str, ...], dialect: _Gvret, *, is_milliseconds: bool) -> Read:
    """What is known of a file."""
    result = Read(table, names)
    note_repaired(result, dialect.columns.repaired)
    if is_milliseconds:
        en = "its stamps must be milliseconds: no bus carries so many frames in so many microseconds"
        result.notes.append(Phrase(en, "时间戳应为毫秒：按微秒计算则总线无法承载这么多报文"))
    return result
