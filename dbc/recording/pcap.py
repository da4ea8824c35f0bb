"""Captures of SocketCAN: pcap and pcapng as tcpdump, Wireshark and dumpcap write them.

Link types 227 (CAN_SOCKETCAN), whose identifiers are big-endian, and 113 and 276 (Linux "cooked") with the protocols of
CAN and CAN FD, whose identifiers have the byte order of the computer that captured. Times are UTC.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from dbc.errors import NotARecording, Phrase, RecordingBroken
from dbc.recording.lines import KEPT_BAD_LINES, BadLine, Read, Unreadable
from dbc.table import BITRATE_SWITCH, ERROR, ERROR_STATE, EXTENDED, FD, REMOTE, TX, FrameRow, FrameTable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from mmap import mmap

__all__ = ["PcapSource", "is_pcap", "read"]

_MAGIC: Final = {
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
}
_NG: Final = b"\x0a\x0d\x0d\x0a"
_SOCKETCAN, _COOKED, _COOKED_2 = 227, 113, 276
_PROTOCOLS: Final = {0x000C: False, 0x000D: True}
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE, _PACKET = 0x0A0D0D0A, 1, 2, 3, 6
_NAME, _RESOLUTION, _OFFSET, _FLAGS = 2, 9, 14, 2
_MAX_T: Final = 1 << 62
_MOST_BUSES: Final = 256
_FD_FRAME: Final = 72
_ROWS: Final = 1 << 15
"""Frames that are given at once."""


def is_pcap(head: bytes) -> bool:
    """Whether a file begins as pcap or pcapng."""
    return head[:4] in _MAGIC or head.startswith(_NG)


@dataclass(slots=True)
class _Packets:
    """What was read so far."""

    rows: list[FrameRow] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    bad: list[BadLine] = field(default_factory=list)
    bad_count: int = 0
    number: int = 0
    other: int = 0
    order: Literal["big", "little"] = "little"

    def wrong(self, en: str, zh: str) -> None:
        """Notes the packet at hand as unreadable."""
        self.bad_count += 1
        if len(self.bad) < KEPT_BAD_LINES:
            self.bad.append(BadLine(self.number, Phrase(en, zh)))

    def add(self, t_ns: int, link: int, data: bytes, bus: str, sent: bool) -> None:
        """Reads one packet."""
        self.number += 1
        fd: bool | None = None
        if link in {_COOKED, _COOKED_2}:
            if len(data) < 20:
                self.wrong("a packet without its header", "数据包缺少头部")
                return
            at, skip, kind = (14, 16, 1) if link == _COOKED else (0, 20, 10)
            fd = _PROTOCOLS.get(int.from_bytes(data[at : at + 2], "big"))
            sent = (data[kind] if link == _COOKED else data[10]) == 4
            data = data[skip:]
            if fd is None:
                self.other += 1
                return
        elif link != _SOCKETCAN:
            self.other += 1
            return
        try:
            row = _frame(t_ns, data, fd, "big" if link == _SOCKETCAN else self.order)
        except Unreadable as exc:
            self.wrong(exc.reason.en, exc.reason.zh)
            return
        if bus not in self.names:
            if len(self.names) == _MOST_BUSES:
                self.wrong("more than 256 buses", "总线超过 256 条")
                return
            self.names.append(bus)
        self.rows.append(row._replace(channel=self.names.index(bus), flags=row.flags | (TX if sent else 0)))


def _frame(t_ns: int, data: bytes, fd: bool | None, order: Literal["big", "little"]) -> FrameRow:
    """A frame as SocketCAN lays it out."""
    if len(data) < 8:
        raise Unreadable("a packet shorter than a frame's head", "数据包短于报文头")
    if not 0 <= t_ns < _MAX_T:
        raise Unreadable("a time out of range", "时间超出范围")
    word, length, marks = int.from_bytes(data[:4], order), data[4], data[5]
    if fd is None:
        fd = length > 8 or bool(marks & 4) or len(data) == _FD_FRAME
    if length > (64 if fd else 8):
        raise Unreadable(f"a length of {length} bytes", f"长度 {length} 字节")
    flags = EXTENDED if word >> 31 else 0
    can_id = word & (0x1FFF_FFFF if flags else 0x7FF)
    if word & 0x2000_0000:
        flags, can_id = flags | ERROR | EXTENDED, word & 0x1FFF_FFFF
    if fd:
        flags |= FD | (BITRATE_SWITCH if marks & 1 else 0) | (ERROR_STATE if marks & 2 else 0)
    elif word & 0x4000_0000:
        return FrameRow(t_ns, can_id, b"", flags | REMOTE, 0, length)
    if len(data) < 8 + length:
        raise Unreadable(
            f"{len(data) - 8} bytes where {length} are announced", f"声明 {length} 字节，实有 {len(data) - 8}"
        )
    return FrameRow(t_ns, can_id, data[8 : 8 + length], flags)


def _read_pcap(content: bytes | mmap, packets: _Packets) -> Iterator[None]:
    """Reads packets one by one; stops behind each."""
    order, unit = _MAGIC[content[:4]]
    packets.order = "big" if order == ">" else "little"
    if len(content) < 24:
        packets.wrong("the header is cut", "文件头不完整")
        return
    link = struct.unpack_from(f"{order}L", content, 20)[0] & 0xFFFF
    head = struct.Struct(f"{order}LLLL")
    at, size = 24, len(content)
    while at + head.size <= size:
        seconds, part, stored, _ = head.unpack_from(content, at)
        at += head.size
        if at + stored > size:
            break
        packets.add(seconds * 1_000_000_000 + part * unit, link, content[at : at + stored], "0", sent=False)
        at += stored
        yield
    if at != size:
        packets.number += 1
        packets.wrong("the last packet is cut", "最后一个数据包不完整")


@dataclass(frozen=True, slots=True)
class _Interface:
    """One interface of a pcapng section: link type, name, ticks of its clock, offset of its clock."""

    link: int
    name: str
    numerator: int
    denominator: int
    offset_s: int

    def t_ns(self, ticks: int) -> int:
        """A stamp in ns."""
        return ticks * self.numerator // self.denominator + self.offset_s * 1_000_000_000


def _options(content: bytes | mmap, order: str, at: int, end: int) -> Iterator[tuple[int, bytes]]:
    while at + 4 <= end:
        code, length = struct.unpack_from(f"{order}HH", content, at)
        if code == 0 or at + 4 + length > end:
            return
        yield code, content[at + 4 : at + 4 + length]
        at += 4 + (length + 3) // 4 * 4


def _interface(content: bytes | mmap, order: str, at: int, end: int, number: int) -> _Interface:
    link = struct.unpack_from(f"{order}H", content, at)[0]
    name, numerator, denominator, offset = str(number), 1000, 1, 0
    for code, value in _options(content, order, at + 8, end):
        if code == _NAME and value:
            name = value.decode("utf-8", "replace").strip("\0 ") or name
        elif code == _RESOLUTION and value:
            base = 2 if value[0] & 0x80 else 10
            numerator, denominator = 1_000_000_000, base ** (value[0] & 0x7F)
        elif code == _OFFSET and len(value) == 8:
            offset = struct.unpack(f"{order}q", value)[0]
    return _Interface(link, name, numerator, denominator, offset)


def _is_sent(content: bytes | mmap, order: str, at: int, end: int) -> bool:
    """Whether a packet's flags say outbound."""
    for code, value in _options(content, order, at, end):
        if code == _FLAGS and len(value) == 4:
            return bool(struct.unpack(f"{order}L", value)[0] & 3 == 2)
    return False


def _read_ng(content: bytes | mmap, packets: _Packets) -> Iterator[None]:
    """Reads blocks one by one; stops behind each."""
    order, size, at = "<", len(content), 0
    interfaces: list[_Interface] = []
    while at + 12 <= size:
        if content[at : at + 4] == _NG:
            mark = content[at + 8 : at + 12]
            order = ">" if mark == b"\x1a\x2b\x3c\x4d" else "<"
            packets.order = "big" if order == ">" else "little"
            interfaces = []
        kind, length = struct.unpack_from(f"{order}LL", content, at)
        body, end = at + 8, at + length - 4
        if length < 12 or length % 4 or at + length > size:
            break
        if kind == _INTERFACE and end - body >= 8:
            interfaces.append(_interface(content, order, body, end, len(interfaces)))
        elif kind in {_PACKET, _OLD_PACKET} and end - body >= 20:
            number, high, low, stored, _ = struct.unpack_from(f"{order}LLLLL", content, body)
            number = number if kind == _PACKET else struct.unpack_from(f"{order}H", content, body)[0]
            if number >= len(interfaces) or body + 20 + stored > end:
                packets.number += 1
                packets.wrong("a packet that contradicts itself", "数据包自相矛盾")
            else:
                where = interfaces[number]
                stop = body + 20 + stored
                sent = _is_sent(content, order, (stop + 3) // 4 * 4, end)
                packets.add(where.t_ns(high << 32 | low), where.link, content[body + 20 : stop], where.name, sent)
        elif kind == _SIMPLE and interfaces and end - body >= 4:
            packets.add(0, interfaces[0].link, content[body + 4 : end], interfaces[0].name, sent=False)
        at += length
        yield
    if at != size:
        packets.number += 1
        packets.wrong("the last block is cut or damaged", "最后一个块不完整或已损坏")


class PcapSource:
    """The frames of one capture.

    Args:
        content: the whole file.
        path: names it in errors.
    """

    name = "pcap"
    wraps = 0
    maps: tuple[mmap, ...] = ()

    def __init__(self, content: bytes | mmap, path: str) -> None:
        self._content, self._path = content, path
        self.maps = (content,) if not isinstance(content, bytes) else ()
        self._packets = _Packets()

    def tables(self) -> Iterator[FrameTable]:
        """The frames in the file's order.

        Raises:
            NotARecording: sound, but without CAN frames.
            RecordingBroken: nothing of it is readable.
        """
        packets = self._packets
        steps = (_read_pcap if self._content[:4] in _MAGIC else _read_ng)(self._content, packets)
        for _ in steps:
            if len(packets.rows) >= _ROWS:
                yield self._taken()
        if packets.rows:
            yield self._taken()
        if packets.names:
            return
        if packets.bad:
            place = Phrase(f"packet {packets.number}", f"第 {packets.number} 包")
            raise RecordingBroken(self._path, place, packets.bad[0].reason)
        raise NotARecording(self._path, Phrase("a capture without CAN frames", "抓包文件中没有 CAN 报文"))

    def _taken(self) -> FrameTable:
        rows, self._packets.rows = self._packets.rows, []
        return FrameTable.from_rows(rows)

    def outcome(self) -> Read:
        """Interfaces, bad packets, notes."""
        packets = self._packets
        out = Read(FrameTable.empty(), tuple(packets.names), packets.bad, packets.bad_count, start_ns=0)
        if packets.other:
            en = f"{packets.other} packets of other protocols"
            out.notes.append(Phrase(en, f"另有 {packets.other} 个其他协议数据包"))
        return out


def read(content: bytes, path: str) -> Read:
    """Reads a whole file.

    Raises:
        NotARecording: sound, but without CAN frames.
        RecordingBroken: nothing of it is readable.
    """
    source = PcapSource(content, path)
    table = FrameTable.concat(list(source.tables()))
    out = source.outcome()
    out.table = table
    return out
