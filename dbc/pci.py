"""The four frames of ISO-TP: what the protocol control information at the start of a CAN frame says.

Parsing and encoding stand side by side, on bytes only: no state, no timing. A caller with extended or mixed
addressing keeps its address byte to itself and says so with ``address_bytes=1``, because the limits count it.

Standard: ISO 15765-2:2016 §9.6 (classic CAN and CAN FD).
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from dbc.errors import BadPci, Phrase

__all__ = [
    "FD_LENGTHS",
    "MAX_LENGTH",
    "ConsecutiveFrame",
    "FirstFrame",
    "FlowControl",
    "FlowStatus",
    "IsoTpFrame",
    "SingleFrame",
    "byte_from_stmin_us",
    "pad",
    "parse_pci",
    "segment",
    "stmin_us_from_byte",
]

FD_LENGTHS: Final = (0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64)
"""Payload lengths that a CAN FD frame can have, by DLC. Standard: ISO 11898-1:2015 §8.4.2.4."""

MAX_LENGTH: Final = 0xFFFF_FFFF
"""The longest message that a first frame can announce."""

_CLASSIC: Final = 8
_SHORT_LENGTH: Final = 0xFFF
_STMIN_RESERVED_US: Final = 127_000


class FlowStatus(IntEnum):
    """What the receiver of a message wants its sender to do. Standard: ISO 15765-2:2016 §9.6.5.2."""

    CONTINUE_TO_SEND = 0
    WAIT = 1
    OVERFLOW = 2


def stmin_us_from_byte(raw: int) -> int:
    """The separation time, in µs, that a flow control byte asks for.

    00–7F are milliseconds, F1–F9 are 100–900 µs. A reserved byte means the longest time of the standard, 127 ms.

    Standard: ISO 15765-2:2016 §9.6.5.4 and §9.6.5.5.
    """
    if raw <= 0x7F:
        return raw * 1000
    if 0xF1 <= raw <= 0xF9:
        return (raw - 0xF0) * 100
    return _STMIN_RESERVED_US


def byte_from_stmin_us(stmin_us: int) -> int:
    """The shortest separation time that is not below ``stmin_us``, as the byte of a flow control.

    Raises:
        ValueError: below 0 or above 127 ms, which no byte can say.
    """
    if not 0 <= stmin_us <= _STMIN_RESERVED_US:
        raise ValueError(stmin_us)
    if 0 < stmin_us <= 900:
        return 0xF0 + -(-stmin_us // 100)
    return -(-stmin_us // 1000)


def pad(data: bytes, *, can_dl: int = _CLASSIC, fill: int = 0xCC, address_bytes: int = 0) -> bytes:
    """A frame filled up to ``can_dl`` bytes, and in any case to a length that a frame can have.

    Args:
        data: at most 64 bytes, without the address byte that ``address_bytes`` announces.
        can_dl: least length of the frame with its address byte.
        fill: the byte to fill with.
        address_bytes: 1 with extended or mixed addressing.
    """
    used = len(data) + address_bytes
    wanted = max(can_dl, FD_LENGTHS[bisect_left(FD_LENGTHS, used)])
    return data + bytes([fill]) * (wanted - used)


def _bad(data: bytes, en: str, zh: str) -> BadPci:
    return BadPci(data.hex().upper() or "-", Phrase(en, zh))


@dataclass(frozen=True, slots=True)
class SingleFrame:
    """A whole message in one frame: 1–7 bytes, or up to 62 with the escape of CAN FD.

    Standard: ISO 15765-2:2016 §9.6.2.
    """

    data: bytes

    def encode(self, *, address_bytes: int = 0) -> bytes:
        """The frame without padding.

        Raises:
            ValueError: no data, or more than fits in 64 bytes.
        """
        size = len(self.data)
        if not 1 <= size <= 62 - address_bytes:
            raise ValueError(size)
        short = size < _CLASSIC - address_bytes
        return bytes([size] if short else [0, size]) + self.data

    @classmethod
    def parse(cls, data: bytes, *, address_bytes: int = 0) -> SingleFrame:
        """Reads a frame whose type nibble is 0; what follows the message is padding.

        Raises:
            BadPci: length 0, longer than the frame, or the short form in a frame above 8 bytes.
        """
        start, size = 1, data[0] & 0x0F
        if len(data) + address_bytes > _CLASSIC:
            if size:
                raise _bad(
                    data, "a frame above 8 bytes needs the long form of the length", "超过 8 字节的帧须用长格式长度"
                )
            start, size = 2, data[1]
        if size == 0:
            raise _bad(data, "a single frame of length 0", "单帧长度为 0")
        if size > len(data) - start:
            raise _bad(
                data,
                f"{size} bytes announced, {len(data) - start} there",
                f"声明 {size} 字节，实有 {len(data) - start}",
            )
        return cls(bytes(data[start : start + size]))


@dataclass(frozen=True, slots=True)
class FirstFrame:
    """The beginning of a longer message.

    Args:
        length: of the whole message, in bytes.
        data: its first bytes, all that this frame carries.

    Standard: ISO 15765-2:2016 §9.6.3.
    """

    length: int
    data: bytes

    def encode(self) -> bytes:
        """The frame; a first frame is always full and has no padding.

        Raises:
            ValueError: a length that no first frame can say.
        """
        if self.length + 1 < _CLASSIC - 1 or self.length > MAX_LENGTH:
            raise ValueError(self.length)
        if self.length <= _SHORT_LENGTH:
            return bytes([0x10 | self.length >> 8, self.length & 0xFF]) + self.data
        return b"\x10\x00" + self.length.to_bytes(4, "big") + self.data

    @classmethod
    def parse(cls, data: bytes, *, address_bytes: int = 0) -> FirstFrame:
        """Reads a frame whose type nibble is 1.

        Raises:
            BadPci: a frame below 8 bytes, a length that a single frame would carry, or the long form for a short
                length.
        """
        if len(data) + address_bytes < _CLASSIC:
            raise _bad(data, "a first frame below 8 bytes", "首帧不足 8 字节")
        start, length = 2, (data[0] & 0x0F) << 8 | data[1]
        if length == 0:
            start, length = 6, int.from_bytes(data[2:6], "big")
            if length <= _SHORT_LENGTH:
                raise _bad(data, f"the long form for a length of {length}", f"长度 {length} 却用了长格式")
        elif length < _CLASSIC - address_bytes:
            raise _bad(data, f"a first frame for {length} bytes, which fit a single frame", f"{length} 字节应使用单帧")
        return cls(length, bytes(data[start : start + length]))


@dataclass(frozen=True, slots=True)
class ConsecutiveFrame:
    """A later part of a message.

    Args:
        sequence: 0–15, counting from 1 after the first frame and wrapping to 0.
        data: the part; in the last frame padding may follow it, which only the announced length tells apart.

    Standard: ISO 15765-2:2016 §9.6.4.
    """

    sequence: int
    data: bytes

    def encode(self) -> bytes:
        """The frame without padding.

        Raises:
            ValueError: a sequence number outside 0–15.
        """
        if not 0 <= self.sequence <= 15:
            raise ValueError(self.sequence)
        return bytes([0x20 | self.sequence]) + self.data

    @classmethod
    def parse(cls, data: bytes, *, address_bytes: int = 0) -> ConsecutiveFrame:  # noqa: ARG003 - as its siblings
        """Reads a frame whose type nibble is 2.

        Raises:
            BadPci: nothing after the sequence number.
        """
        if len(data) < 2:
            raise _bad(data, "a consecutive frame without data", "连续帧没有数据")
        return cls(data[0] & 0x0F, bytes(data[1:]))


@dataclass(frozen=True, slots=True)
class FlowControl:
    """The receiver's word on how to go on.

    Args:
        block_size: consecutive frames until the next flow control; 0 is all that remain.
        stmin: the separation time byte as received; :attr:`stmin_us` says what it means.

    Standard: ISO 15765-2:2016 §9.6.5.
    """

    status: FlowStatus
    block_size: int = 0
    stmin: int = 0

    @property
    def stmin_us(self) -> int:
        """Least time between two consecutive frames, in µs."""
        return stmin_us_from_byte(self.stmin)

    def encode(self) -> bytes:
        """The frame without padding.

        Raises:
            ValueError: a field that does not fit its byte.
        """
        return bytes([0x30 | self.status, self.block_size, self.stmin])

    @classmethod
    def parse(cls, data: bytes, *, address_bytes: int = 0) -> FlowControl:  # noqa: ARG003 - as its siblings
        """Reads a frame whose type nibble is 3.

        Raises:
            BadPci: below 3 bytes, or a reserved flow status.
        """
        if len(data) < 3:
            raise _bad(data, "a flow control below 3 bytes", "流控帧不足 3 字节")
        if data[0] & 0x0F > FlowStatus.OVERFLOW:
            raise _bad(data, f"reserved flow status {data[0] & 0x0F}", f"保留的流控状态 {data[0] & 0x0F}")
        return cls(FlowStatus(data[0] & 0x0F), data[1], data[2])


IsoTpFrame = SingleFrame | FirstFrame | ConsecutiveFrame | FlowControl

_BY_TYPE: Final[tuple[type[SingleFrame | FirstFrame | ConsecutiveFrame | FlowControl], ...]] = (
    SingleFrame,
    FirstFrame,
    ConsecutiveFrame,
    FlowControl,
)


def parse_pci(data: bytes, *, address_bytes: int = 0) -> IsoTpFrame:
    """Reads the payload of one CAN frame as ISO-TP.

    Args:
        data: the payload without the address byte of extended or mixed addressing.
        address_bytes: 1 where such a byte stood in front of ``data``, else 0.

    Raises:
        BadPci: empty, a reserved type, or a frame that its type forbids; the standard says to ignore such a frame.

    Standard: ISO 15765-2:2016 §9.6.1, Table 9.
    """
    if not data:
        raise _bad(data, "an empty frame", "空帧")
    kind = data[0] >> 4
    if kind >= len(_BY_TYPE):
        raise _bad(data, f"reserved frame type {kind:X}", f"保留的帧类型 {kind:X}")
    return _BY_TYPE[kind].parse(data, address_bytes=address_bytes)


def segment(payload: bytes, *, can_dl: int = _CLASSIC, address_bytes: int = 0) -> tuple[IsoTpFrame, ...]:
    """Cuts a message into the frames that carry it: one single frame, or a first and its consecutive frames.

    Args:
        payload: 1 to :data:`MAX_LENGTH` bytes.
        can_dl: largest frame of the link in bytes, 8 or a CAN FD length above.
        address_bytes: 1 with extended or mixed addressing.

    Raises:
        ValueError: an empty payload, or a ``can_dl`` that the standard does not allow.
    """
    if not payload or can_dl < _CLASSIC or can_dl not in FD_LENGTHS:
        raise ValueError((len(payload), can_dl))
    room = can_dl - address_bytes
    if len(payload) <= min(7 - address_bytes, room - 1) or (can_dl > _CLASSIC and len(payload) <= room - 2):
        return (SingleFrame(payload),)
    first = room - (2 if len(payload) <= _SHORT_LENGTH else 6)
    step = room - 1
    rest = range(first, len(payload), step)
    return (
        FirstFrame(len(payload), payload[:first]),
        *(ConsecutiveFrame(n & 0x0F, payload[at : at + step]) for n, at in enumerate(rest, start=1)),
    )
