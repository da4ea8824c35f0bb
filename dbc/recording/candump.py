"""The log format of can-utils: ``(1700000000.123456) can0 1DB#EEC0C3EA00F7619B``.

Plain data frames are read in columns, many at once; whatever differs (CAN FD ``##``, remote ``#R``, error frames,
raw DLC ``_9``, broken lines) goes line by line. Writers differ in the suffix: python-can adds `` R`` or `` T``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from dbc.recording.lines import DIGIT, HEX, KEPT_BAD_LINES, BadLine, Read, Unreadable
from dbc.table import BITRATE_SWITCH, ERROR, ERROR_STATE, EXTENDED, FD, REMOTE, TX, FrameRow, FrameTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["is_candump", "read"]

_CHUNK: Final = 2 << 20
_LONGEST_LINE: Final = 4096
_RECOGNISE: Final = re.compile(rb"^\s*\(\d+(?:\.\d+)?\)\s+\S+\s+[0-9A-Fa-f]{1,8}#", re.MULTILINE)
_LINE: Final = re.compile(
    r"\((?P<s>\d{1,11})(?:\.(?P<f>\d{1,9}))?\)\s+(?P<bus>\S{1,64})\s+(?P<id>[0-9A-Fa-f]{1,8})"
    r"(?P<mark>##?)(?P<data>[0-9A-Fa-f.]*|R[0-9A-Fa-f]?(?:_[0-9A-Fa-f])?|[0-9A-Fa-f.]*_[0-9A-Fa-f])"
    r"(?:\s+(?P<dir>[RrTt]x?))?\s*"
)
_ERROR_ID: Final = 0x2000_0000
_LONGEST_BUS: Final = 64
_PADDING: Final = 256
_SHAPES_PER_CHUNK: Final = 64
_LAST_SECOND: Final = 9_223_372_035
_YEAR_2000_NS: Final = 946_684_800_000_000_000
_MAX_SECONDS_DIGITS: Final = 10
_FD_FLAGS: Final = ((0x01, BITRATE_SWITCH), (0x02, ERROR_STATE))


def is_candump(head: bytes) -> bool:
    """Whether some line of a file's beginning is one of this format."""
    return _RECOGNISE.search(head.replace(b"\0", b"")) is not None


def _flags_from_id(text: str) -> tuple[int, int]:
    value = int(text, 16)
    if value & _ERROR_ID:
        return value & 0x1FFF_FFFF, ERROR | EXTENDED
    if value > 0x1FFF_FFFF:
        raise Unreadable("an identifier above 29 bits", "标识符超过 29 位")
    return value, EXTENDED if len(text) > 3 else 0


def parse_line(line: str) -> tuple[FrameRow, str]:
    """One line as a frame (channel 0) and the name of its bus.

    Raises:
        Unreadable: no frame of this format.
    """
    found = _LINE.fullmatch(line)
    if found is None:
        raise Unreadable("not a candump line", "不是 candump 报文行")
    t_ns = int(found["s"]) * 1_000_000_000 + int((found["f"] or "0").ljust(9, "0"))
    if t_ns >= 1 << 63:
        raise Unreadable("a time out of range", "时间超出范围")
    can_id, flags = _flags_from_id(found["id"])
    if found["dir"] and found["dir"][0] in "Tt":
        flags |= TX
    text, _, _ = found["data"].partition("_")
    if found["mark"] == "##":
        if not text or text[0] in ".R":
            raise Unreadable("a CAN FD frame without its flags", "CAN FD 报文缺少标志位")
        nibble = int(text[0], 16)
        flags |= FD
        for mask, flag in _FD_FLAGS:
            flags |= flag if nibble & mask else 0
        text = text[1:]
    elif text.startswith("R"):
        asked = int(text[1:] or "0", 16)
        return FrameRow(t_ns, can_id, b"", flags | REMOTE, 0, min(asked, 8)), found["bus"]
    text = text.replace(".", "")
    limit = 64 if flags & FD else 8
    if len(text) % 2:
        raise Unreadable("half a byte at the end of the data", "数据末尾缺半个字节")
    if len(text) > 2 * limit:
        raise Unreadable(f"more than {limit} bytes of data", f"数据超过 {limit} 字节")
    return FrameRow(t_ns, can_id, bytes.fromhex(text), flags), found["bus"]


class _Buses:
    """Names of buses in the order in which they appear."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def number(self, name: str) -> int:
        try:
            return self.names.index(name)
        except ValueError:
            if len(self.names) == 256:
                raise Unreadable("more than 256 buses", "总线超过 256 条") from None
            self.names.append(name)
            return len(self.names) - 1


def _decimal(
    buffer: NDArray[np.uint8], start: NDArray[np.int64], digits: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Numbers of a fixed count of digits, and whether they are."""
    value = np.zeros(len(start), np.int64)
    good = np.ones(len(start), np.bool_)
    for k in range(digits):
        digit = DIGIT[buffer[start + k]]
        good &= digit != 255
        value *= 10
        value += digit
    return value, good


class _Columns:
    """Regular lines of one shape in one chunk, as columns."""

    def __init__(self, buffer: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        self.buffer = buffer
        self.starts = starts
        self.ends = ends
        self.good = np.ones(len(starts), np.bool_)

    def expect(self, at: NDArray[np.int64], char: bytes) -> None:
        self.good &= self.buffer[at] == char[0]

    def times(self, digits: int, fraction: int) -> NDArray[np.int64]:
        """int64 (n,): the stamps, all with the same number of digits."""
        self.expect(self.starts, b"(")
        seconds, good = _decimal(self.buffer, self.starts + 1, digits)
        self.good &= good & (seconds <= _LAST_SECOND)
        self.expect(self.starts + 1 + digits, b".")
        part, good = _decimal(self.buffer, self.starts + 2 + digits, fraction)
        self.good &= good
        self.expect(self.starts + 2 + digits + fraction, b")")
        stamps: NDArray[np.int64] = seconds * 1_000_000_000 + part * np.int64(10 ** (9 - fraction))
        return stamps

    def ids(self, at: NDArray[np.int64], digits: int) -> NDArray[np.uint32]:
        """uint32 (n,): the hexadecimal identifiers."""
        value = np.zeros(len(at), np.uint32)
        for k in range(digits):
            digit = HEX[self.buffer[at + k]]
            self.good &= digit != 255
            value = value << np.uint32(4) | digit
        return value

    def data(self, at: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """uint8 (n,) lengths and uint8 (n, 8) payloads of what stands from ``at`` to the end."""
        size = self.ends - at
        self.good &= (size <= 16) & (size % 2 == 0)
        count = (np.clip(size, 0, 16) // 2).astype(np.uint8)
        out = np.zeros((len(at), 8), np.uint8)
        for k in range(8):
            here = count > k
            high = HEX[self.buffer[at + 2 * k]]
            low = HEX[self.buffer[at + 2 * k + 1]]
            self.good &= ~here | ((high < 16) & (low < 16))
            out[:, k] = np.where(here, high << 4 | low & 15, 0)
        return count, out


_Key = tuple[int, int, int, bytes]


def _shape(line: bytes) -> _Key | None:
    """Digits of the seconds, of the fraction and of the identifier, and the bus: what many lines share."""
    dot, close, mark = line.find(b"."), line.find(b")"), line.find(b"#")
    space = line.rfind(b" ", 0, mark)
    digits, fraction, id_digits = dot - 1, close - dot - 1, mark - space - 1
    if not (1 <= digits <= _MAX_SECONDS_DIGITS and 1 <= fraction <= 9 and id_digits in {3, 8} and close + 2 <= space):
        return None
    bus = line[close + 1 : space + 1]
    if not 1 <= len(bus.strip()) <= _LONGEST_BUS or len(bus.split()) != 1:
        return None
    return digits, fraction, id_digits, bus


def _regular(columns: _Columns, key: _Key) -> tuple[FrameTable, NDArray[np.bool_]]:
    """Reads lines as if all had one shape; the mask says which really have."""
    digits, fraction, id_digits, bus = key
    t_ns = columns.times(digits, fraction)
    after = columns.starts + 3 + digits + fraction
    for k, char in enumerate(bus):
        columns.good &= columns.buffer[after + k] == char
    at = after + len(bus)
    can_id = columns.ids(at, id_digits)
    columns.expect(at + id_digits, b"#")
    length, data = columns.data(at + id_digits + 1)
    if id_digits == 8:
        columns.good &= can_id <= 0x1FFF_FFFF
    good = columns.good
    n = int(np.count_nonzero(good))
    return FrameTable(
        t_ns[good],
        can_id[good],
        np.full(n, EXTENDED if id_digits == 8 else 0, np.uint8),
        np.zeros(n, np.uint8),
        length[good],
        data[good],
    ), good


class _Reader:
    """Reads one file chunk by chunk."""

    def __init__(self) -> None:
        self.buses = _Buses()
        self.bad: list[BadLine] = []
        self.bad_count = 0
        self.tables: list[FrameTable] = []
        self.lines = 0

    def chunk(self, content: bytes) -> None:
        """Takes whole lines."""
        buffer = np.frombuffer(content + b"\n" + bytes(_PADDING), np.uint8)
        breaks = np.flatnonzero(buffer[: len(content) + 1] == 10)
        starts = np.concatenate([np.zeros(1, np.int64), breaks[:-1] + 1])
        ends = breaks.copy()
        if content.endswith(b"\n"):
            starts, ends = starts[:-1], ends[:-1]
        for _ in range(2):
            last = buffer[np.maximum(ends - 1, 0)]
            ends = ends - ((ends > starts) & ((last == 13) | (last == 32)))
        # python-can ends each line with " R" or " T".
        letter = buffer[np.maximum(ends - 1, 0)]
        marked = (ends - starts > 2) & (buffer[np.maximum(ends - 2, 0)] == 32) & ((letter == 82) | (letter == 84))
        sent = np.where(marked & (letter == 84), np.uint8(TX), np.uint8(0))
        bare = ends - 2 * marked
        pieces: list[tuple[NDArray[np.intp], FrameTable]] = []
        left = np.flatnonzero(ends > starts)
        misses = 0
        for _ in range(_SHAPES_PER_CHUNK):
            if not len(left) or misses == _SHAPES_PER_CHUNK // 4:
                break
            first = left[0]
            key = _shape(content[starts[first] : bare[first]])
            read = 0
            if key is not None:
                table, good = _regular(_Columns(buffer, starts[left], bare[left]), key)
                read = len(table)
                if read:
                    table.flags[:] |= sent[left[good]]
                    pieces.append((left[good], self._on_bus(table, key[3])))
                    left = left[~good]
            if not read:
                misses += 1
                pieces += self._slow(content, starts, ends, left[:1])
                left = left[1:]
        pieces += self._slow(content, starts, ends, left)
        if pieces:
            rows = np.concatenate([where for where, _ in pieces])
            self.tables.append(FrameTable.concat([table for _, table in pieces])[np.argsort(rows, kind="stable")])
        self.lines += len(starts)

    def _on_bus(self, table: FrameTable, bus: bytes) -> FrameTable:
        number = self.buses.number(bus.decode("utf-8", "replace").strip())
        table.channel[:] = number
        return table

    def _slow(
        self, content: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64], which: NDArray[np.intp]
    ) -> list[tuple[NDArray[np.intp], FrameTable]]:
        """Reads lines one by one; what cannot be read is noted."""
        rows: list[FrameRow] = []
        where: list[int] = []
        for line in which.tolist():
            raw = content[starts[line] : min(ends[line], starts[line] + _LONGEST_LINE)]
            text = raw.replace(b"\0", b"").decode("utf-8", "replace").strip()
            if not text:
                continue
            try:
                row, bus = parse_line(text)
                rows.append(row._replace(channel=self.buses.number(bus)))
                where.append(line)
            except Unreadable as exc:
                self.bad_count += 1
                if len(self.bad) < KEPT_BAD_LINES:
                    self.bad.append(BadLine(self.lines + line + 1, exc.reason))
        return [(np.array(where, np.intp), FrameTable.from_rows(rows))] if rows else []


def read(content: bytes, path: str) -> Read:  # noqa: ARG001 - every reader takes both; here no line ends the reading
    """Reads a whole file; lines that are no frames are noted and passed over."""
    reader = _Reader()
    at = 0
    while at < len(content):
        end = min(at + _CHUNK, len(content))
        if end < len(content):
            newline = content.rfind(b"\n", at, end)
            if newline < 0:
                newline = content.find(b"\n", end)
            end = len(content) if newline < 0 else newline + 1
        reader.chunk(content[at:end])
        at = end
    reader.bad.sort()
    table = FrameTable.concat(reader.tables)
    absolute = len(table) and int(table.t_ns[0]) >= _YEAR_2000_NS
    return Read(table, tuple(reader.buses.names), reader.bad, reader.bad_count, start_ns=0 if absolute else None)
