"""The log format of can-utils: ``(1700000000.123456) can0 1DB#EEC0C3EA00F7619B``.

Plain data frames are read many at once (:mod:`dbc.recording.sheet`); whatever differs (CAN FD ``##``, remote ``#R``,
error frames, raw DLC ``_9``, broken lines) goes line by line. Writers differ in the suffix: python-can adds `` R`` or
`` T``.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from dbc.recording.lines import KEPT_BAD_LINES, BadLine, Read, Unreadable
from dbc.recording.sheet import chunks
from dbc.recording.swar import bytes_from_hex, decimal, field, marks, rows_at
from dbc.table import BITRATE_SWITCH, ERROR, ERROR_STATE, EXTENDED, FD, REMOTE, TX, FrameRow, FrameTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

__all__ = ["CandumpLines", "is_candump", "parse_line", "read", "read_of"]

_RECOGNISE: Final = re.compile(rb"^\s*\(\d+(?:\.\d+)?\)\s+\S+\s+[0-9A-Fa-f]{1,8}#", re.MULTILINE)
_LINE: Final = re.compile(
    r"\((?P<s>\d{1,11})(?:\.(?P<f>\d{1,9}))?\)\s+(?P<bus>\S{1,64})\s+(?P<id>[0-9A-Fa-f]{1,8})"
    r"(?P<mark>##?)(?P<data>[0-9A-Fa-f.]*|R[0-9A-Fa-f]?(?:_[0-9A-Fa-f])?|[0-9A-Fa-f.]*_[0-9A-Fa-f])"
    r"(?:\s+(?P<dir>[RrTt]x?))?\s*"
)
_ERROR_ID: Final = 0x2000_0000
_LONGEST_LINE: Final = 4096
_FRONT: Final = 16
_BACK: Final = 64
_CHUNK: Final = 1 << 21
"""Bytes of whole lines that are read at once: their columns stay in the cache."""
_SHAPES_PER_CHUNK: Final = 8
_MOST_BUSES: Final = 256
_LARGEST_ID: Final = 0x1FFF_FFFF
_LAST_SECOND: Final = 9_223_372_035
_YEAR_2000_NS: Final = 946_684_800_000_000_000
_MAX_SECONDS_DIGITS: Final = 10
_FD_FLAGS: Final = ((0x01, BITRATE_SWITCH), (0x02, ERROR_STATE))
_ZEROS: Final = 0x3030303030303030
_MOST_DIGITS: Final = 16
_FIFTH: Final = np.uint64(0x000000FF00000000)
_BLANK_FIFTH: Final = np.uint64(0x0000002000000000)
_LAST_THREE: Final = np.uint64(0xFFFFFF0000000000)
_FIVE_ZEROS: Final = np.uint64(0x0000003030303030)
_KEPT: Final = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)
"""Keeps the first so many characters of a word."""
_FILLED: Final = np.array([_ZEROS >> 8 * n << 8 * n for n in range(9)], np.uint64)
"""Zeros in the place of the others."""


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


class _Shape(NamedTuple):
    """What many lines share: digits of the seconds and of the fraction."""

    digits: int
    fraction: int

    @property
    def bus_at(self) -> int:
        """Where the bus's name begins in a line."""
        return self.digits + self.fraction + 4

    def fits(self, head: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """bool (n,): lines with the parentheses, the dot and the blank where they belong."""
        text, mask = bytearray(8 * len(head)), bytearray(8 * len(head))
        for at, char in ((0, "("), (self.digits + 1, "."), (self.bus_at - 2, ")"), (self.bus_at - 1, " ")):
            text[at], mask[at] = ord(char), 0xFF
        good = np.ones(head.shape[1], np.bool_)
        for word, wanted, used in zip(
            head, struct.iter_unpack("<Q", text), struct.iter_unpack("<Q", mask), strict=True
        ):
            if used[0]:
                good &= (word & np.uint64(used[0])) == np.uint64(wanted[0])
        return good


def _shape(line: bytes) -> _Shape | None:
    dot, close = line.find(b"."), line.find(b")")
    digits, fraction = dot - 1, close - dot - 1
    return _Shape(digits, fraction) if 1 <= digits <= _MAX_SECONDS_DIGITS and 1 <= fraction <= 9 else None


class _Lines(NamedTuple):
    """The lines of a chunk: its bytes between some padding, and for each line its start, its mark and its end."""

    text: NDArray[np.uint8]
    starts: NDArray[np.intp]
    hashes: NDArray[np.intp]
    ends: NDArray[np.intp]
    sent: NDArray[np.bool_] | None

    def bytes_of(self, row: int) -> bytes:
        """One line, cut where it is absurdly long."""
        begin = int(self.starts[row])
        return self.text[begin : min(int(self.ends[row]), begin + _LONGEST_LINE)].tobytes()


def _lines(chunk: bytes) -> _Lines:
    """Finds the lines of a chunk; python-can's " R" and " T" at their ends are taken off."""
    open_end = b"" if chunk.endswith(b"\n") else b"\n"
    text = np.frombuffer(b"".join((bytes(_FRONT), chunk, open_end, bytes(_BACK))), np.uint8)
    ends, hashes = marks(text, ord("#"))
    starts = np.concatenate([np.array([_FRONT], np.intp), ends[:-1] + 1])
    last = text[ends - 1]
    if (last == ord("\r")).any():
        ends = ends - ((last == ord("\r")) & (ends > starts))
        last = text[ends - 1]
    sent = None
    letter = (last == ord("R")) | (last == ord("T"))
    if letter.any():
        cut = letter & (text[ends - 2] == ord(" ")) & (ends - starts > 2)
        sent = cut & (last == ord("T"))
        ends = ends - 2 * cut
    return _Lines(text, starts, hashes, ends, sent)


class CandumpLines:
    """Reads candump chunk by chunk.

    Attributes:
        buses: their names in the order in which they appear.
        bad: the first lines that could not be read.
        bad_count: how many there are.
    """

    def __init__(self) -> None:
        self.buses: list[str] = []
        self.bad: list[BadLine] = []
        self.bad_count = 0
        self._before = 0

    def _bus(self, name: str) -> int:
        if name in self.buses:
            return self.buses.index(name)
        if len(self.buses) == _MOST_BUSES:
            raise Unreadable("more than 256 buses", "总线超过 256 条")
        self.buses.append(name)
        return len(self.buses) - 1

    def read(self, chunk: bytes) -> FrameTable:
        """The frames of some whole lines, in their order."""
        lines = _lines(chunk)
        count = len(lines.starts)
        pieces: list[tuple[NDArray[np.intp] | None, FrameTable]] = []
        left: NDArray[np.intp] | None = None
        for _ in range(_SHAPES_PER_CHUNK):
            if left is not None and not len(left):
                break
            shape = _shape(lines.bytes_of(0 if left is None else int(left[0])))
            read = None if shape is None else self._shaped(lines, shape, left)
            if read is None:
                break
            table, good = read
            rows = None if left is None and good.all() else np.flatnonzero(good) if left is None else left[good]
            pieces.append((rows, table))
            left = np.empty(0, np.intp) if rows is None else np.flatnonzero(~good) if left is None else left[~good]
        if left is None or len(left):
            pieces += self._singly(lines, range(count) if left is None else left.tolist())
        self._before += count
        if len(pieces) == 1 and pieces[0][0] is None:
            return pieces[0][1]
        order = np.argsort(np.concatenate([np.arange(count) if at is None else at for at, _ in pieces]), kind="stable")
        return FrameTable.concat([table for _, table in pieces])[order]

    def _singly(self, lines: _Lines, rows: Iterable[int]) -> Iterator[tuple[NDArray[np.intp], FrameTable]]:
        """Reads lines one by one; notes what cannot be read."""
        frames: list[FrameRow] = []
        where: list[int] = []
        for row in rows:
            text = lines.bytes_of(row).replace(b"\0", b"").decode("utf-8", "replace").strip()
            if not text:
                continue
            try:
                frame, bus = parse_line(text)
                flags = frame.flags | (TX if lines.sent is not None and lines.sent[row] else 0)
                frames.append(frame._replace(channel=self._bus(bus), flags=flags))
                where.append(row)
            except Unreadable as exc:
                self.bad_count += 1
                if len(self.bad) < KEPT_BAD_LINES:
                    self.bad.append(BadLine(self._before + row + 1, exc.reason))
        yield np.array(where, np.intp), FrameTable.from_rows(frames)

    def _channels(
        self, names: NDArray[np.uint64], size: NDArray[np.intp], good: NDArray[np.bool_]
    ) -> NDArray[np.uint8]:
        """uint8 (n,): numbers of buses with names of up to eight characters; others are struck from ``good``."""
        good &= (size >= 1) & (size <= 8)
        names = names & _KEPT[np.clip(size, 0, 8)]
        out = np.zeros(len(names), np.uint8)
        left = good.copy()
        for _ in range(_MOST_BUSES):
            first = int(np.argmax(left))
            if not left[first]:
                break
            same = left & (names == names[first])
            text = int(names[first]).to_bytes(8, "little").rstrip(b"\0")
            if text.isascii() and text.decode("ascii").isprintable() and b" " not in text and b"#" not in text:
                try:
                    out[same] = self._bus(text.decode("ascii"))
                except Unreadable:
                    good &= ~same
            else:
                good &= ~same
            left &= ~same
        return out

    def _shaped(
        self, lines: _Lines, shape: _Shape, rows: NDArray[np.intp] | None
    ) -> tuple[FrameTable, NDArray[np.bool_]] | None:
        """Reads the plain data frames of one shape among some lines; None when there are none."""
        text, starts, hashes, ends, sent = lines if rows is None else _some(lines, rows)
        at_bus = shape.bus_at
        head = np.ascontiguousarray(rows_at(text, starts, (at_bus + 15) // 8).T)
        digits = rows_at(text, np.maximum(hashes - 8, 0), 1)[:, 0]
        good = shape.fits(head) & (hashes > starts)
        seconds, right = decimal(head, 1, shape.digits)
        good &= right & (seconds <= _LAST_SECOND)
        part, right = decimal(head, shape.digits + 2, shape.fraction)
        good &= right
        standard = (digits & _FIFTH) == _BLANK_FIFTH
        if standard.all():
            digits = digits & _LAST_THREE | _FIVE_ZEROS
            id_size: NDArray[np.intp] | int = 3
        else:
            digits = np.where(standard, digits & _LAST_THREE | _FIVE_ZEROS, digits)
            id_size = np.where(standard, 3, 8)
            good &= standard | (text[np.maximum(hashes - 9, 0)] == ord(" "))
        ids, right = bytes_from_hex(digits)
        can_id = ids.byteswap()
        good &= right & (can_id <= _LARGEST_ID)
        channel = self._channels(field(head, at_bus), hashes - 1 - id_size - (starts + at_bus), good)
        size = ends - hashes - 1
        good &= (size >= 0) & (size <= _MOST_DIGITS) & (size & 1 == 0)
        data, right = _data(rows_at(text, hashes + 1, 2), size)
        good &= right
        flags = np.where(standard, np.uint8(0), np.uint8(EXTENDED))
        if sent is not None:
            flags |= np.where(sent, np.uint8(TX), np.uint8(0))
        t_ns = seconds * 1_000_000_000 + part * 10 ** (9 - shape.fraction)
        length = (size >> 1).astype(np.uint8)
        if good.all():
            return FrameTable(t_ns, can_id, flags, channel, length, data), good
        if not good.any():
            return None
        return FrameTable(t_ns[good], can_id[good], flags[good], channel[good], length[good], data[good]), good


def _some(lines: _Lines, rows: NDArray[np.intp]) -> _Lines:
    sent = None if lines.sent is None else lines.sent[rows]
    return _Lines(lines.text, lines.starts[rows], lines.hashes[rows], lines.ends[rows], sent)


def _data(words: NDArray[np.uint64], size: NDArray[np.intp]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """uint8 (n, 8): payloads from so many hexadecimal digits in uint64 (n, 2), and whether they are such digits."""
    if (size != _MOST_DIGITS).any():
        parts = np.clip(np.stack([size, size - 8], axis=1), 0, 8)
        words = words & _KEPT[parts] | _FILLED[parts]
    data, good = bytes_from_hex(words.reshape(-1))
    return data.view(np.uint8).reshape(-1, 8), good[::2] & good[1::2]


def read_of(table: FrameTable, reader: CandumpLines) -> Read:
    """What is known of a file; of its frames only the first has to be in ``table``."""
    absolute = len(table) and int(table.t_ns[0]) >= _YEAR_2000_NS
    return Read(table, tuple(reader.buses), sorted(reader.bad), reader.bad_count, start_ns=0 if absolute else None)


def read(content: bytes, path: str) -> Read:  # noqa: ARG001 - every reader takes both; here no line ends the reading
    """Reads a whole file; lines that are no frames are noted and passed over."""
    reader = CandumpLines()
    return read_of(FrameTable.concat([reader.read(chunk) for chunk in chunks(content, _CHUNK)]), reader)
