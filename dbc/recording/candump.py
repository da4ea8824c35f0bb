"""The log format of can-utils: ``(1700000000.123456) can0 1DB#EEC0C3EA00F7619B``.

Plain data frames are read many at once (:mod:`dbc.recording.sheet`); whatever differs (CAN FD ``##``, remote ``#R``,
error frames, raw DLC ``_9``, broken lines) goes line by line. Writers differ in the suffix: python-can adds `` R`` or
`` T``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from dbc.recording.lines import Read, Unreadable
from dbc.recording.sheet import CLOSE, DOT, HASH, OPEN, Sheet, number_from_digits, read_lines
from dbc.table import BITRATE_SWITCH, ERROR, ERROR_STATE, EXTENDED, FD, REMOTE, TX, FrameRow, FrameTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["is_candump", "read"]

_RECOGNISE: Final = re.compile(rb"^\s*\(\d+(?:\.\d+)?\)\s+\S+\s+[0-9A-Fa-f]{1,8}#", re.MULTILINE)
_LINE: Final = re.compile(
    r"\((?P<s>\d{1,11})(?:\.(?P<f>\d{1,9}))?\)\s+(?P<bus>\S{1,64})\s+(?P<id>[0-9A-Fa-f]{1,8})"
    r"(?P<mark>##?)(?P<data>[0-9A-Fa-f.]*|R[0-9A-Fa-f]?(?:_[0-9A-Fa-f])?|[0-9A-Fa-f.]*_[0-9A-Fa-f])"
    r"(?:\s+(?P<dir>[RrTt]x?))?\s*"
)
_ERROR_ID: Final = 0x2000_0000
_LONGEST_BUS: Final = 64
_MOST_BUSES: Final = 256
_LARGEST_ID: Final = 0x1FFF_FFFF
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


_Shape = tuple[int, int, int, bytes]


def _shape(line: bytes) -> _Shape | None:
    """Digits of the seconds, of the fraction and of the identifier, and the bus: what many lines share."""
    dot, close, mark = line.find(b"."), line.find(b")"), line.find(b"#")
    space = line.rfind(b" ", 0, mark)
    digits, fraction, id_digits = dot - 1, close - dot - 1, mark - space - 1
    if not (1 <= digits <= _MAX_SECONDS_DIGITS and 1 <= fraction <= 9 and id_digits in {3, 8} and close + 2 <= space):
        return None
    bus = line[close + 1 : space + 1]
    if not 1 <= len(bus.strip()) <= _LONGEST_BUS or len(bus) > _LONGEST_BUS + 2 or len(bus.split()) != 1:
        return None
    return digits, fraction, id_digits, bus


class _Candump:
    """The lines of candump; collects the buses' names in the order in which they appear."""

    def __init__(self) -> None:
        self.buses: list[str] = []

    def _bus(self, name: str) -> int:
        if name in self.buses:
            return self.buses.index(name)
        if len(self.buses) == _MOST_BUSES:
            raise Unreadable("more than 256 buses", "总线超过 256 条")
        self.buses.append(name)
        return len(self.buses) - 1

    def single(self, text: str) -> FrameRow:
        """Reads one line of any kind."""
        row, bus = parse_line(text)
        return row._replace(channel=self._bus(bus))

    def shaped(self, sheet: Sheet, left: NDArray[np.intp]) -> tuple[NDArray[np.intp], FrameTable] | None:
        """Reads the plain data frames among some lines that look like the first of them."""
        starts, ends = sheet.starts[left], sheet.ends[left]
        # python-can ends each line with " R" or " T".
        letter = sheet.at(ends - 1)
        marked = (ends - starts > 2) & (sheet.at(ends - 2) == ord(" ")) & ((letter == ord("R")) | (letter == ord("T")))
        ends = ends - 2 * marked
        shape = _shape(sheet.content[starts[0] : ends[0]])
        if shape is None or len(self.buses) == _MOST_BUSES:
            return None
        digits, fraction, id_digits, bus = shape
        after = 3 + digits + fraction
        at = after + len(bus) + id_digits + 1
        cells = sheet.cells(starts, at + 16)
        size = ends - starts - at
        good = (size >= 0) & (size <= 16) & (size & 1 == 0)
        for place, code in ((0, OPEN), (1 + digits, DOT), (after - 1, CLOSE), (at - 1, HASH)):
            good &= cells[place] == code
        seconds, right = number_from_digits(cells[1 : 1 + digits], 10)
        good &= right & (seconds <= _LAST_SECOND)
        part, right = number_from_digits(cells[2 + digits : after - 1], 10)
        good &= right
        ids, right = number_from_digits(cells[at - 1 - id_digits : at - 1], 16)
        good &= right & (ids <= _LARGEST_ID)
        name = np.frombuffer(bus, np.uint8)[:, None]
        good &= (sheet.characters(starts + after, len(bus)) == name).all(axis=0)
        used = np.arange(16)[:, None] < size
        good &= ((cells[at:] < 16) | ~used).all(axis=0)
        count = int(np.count_nonzero(good))
        if not count:
            return None
        data = np.where(used[::2], cells[at::2] << 4 | cells[at + 1 :: 2] & 15, 0).astype(np.uint8).T[good]
        sent = np.where(marked & (letter == ord("T")), TX, 0)[good]
        table = FrameTable(
            seconds[good] * 1_000_000_000 + part[good] * 10 ** (9 - fraction),
            ids[good].astype(np.uint32),
            (sent | (EXTENDED if id_digits == 8 else 0)).astype(np.uint8),
            np.full(count, self._bus(bus.strip().decode("utf-8", "replace")), np.uint8),
            (size[good] // 2).astype(np.uint8),
            np.ascontiguousarray(data),
        )
        return left[good], table


def read(content: bytes, path: str) -> Read:  # noqa: ARG001 - every reader takes both; here no line ends the reading
    """Reads a whole file; lines that are no frames are noted and passed over."""
    dialect = _Candump()
    table, bad, count = read_lines(dialect, content)
    absolute = len(table) and int(table.t_ns[0]) >= _YEAR_2000_NS
    return Read(table, tuple(dialect.buses), bad, count, start_ns=0 if absolute else None)
