"""Raw CAN frames as blocks: what the bus itself said, for those who may see it.

No I/O and no clock. After the 24-byte head of :mod:`consult.wire` (kind 3, ``count`` = frames, ``t_us`` = time of the
first) each frame is::

    0  u32  dt_us   microseconds since the first
    4  u32  id      bit 31: 29-bit identifier
    8  u8   length  of the data
    9  u8   flags   1 = CAN FD, 2 = bit rate switch, 4 = remote, 8 = error, 16 = this machine sent it
    10 u16  0
    12 u8   data[length], then zeros up to a multiple of four

A raw stream can tell the vehicle identification number, so the room gives it to nobody who may not see that.
Standard: none, this format is ours.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from consult.errors import BlockBroken
from consult.wire import HEAD_SIZE, MAX_BLOCK_BYTES, RAW, BlockHead, encode_head, parse_any_head
from diag.facts import Text
from diag.frames import Frame

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["MAX_FRAME_DATA", "encode_raw", "parse_raw", "parse_raw_head", "split_frames"]

MAX_FRAME_DATA: Final = 64
_FRAME: Final = struct.Struct("<IIBBH")
_EXTENDED: Final = 1 << 31
_FD, _REMOTE, _ERROR, _SENT = 1, 4, 8, 16
_KNOWN_FLAGS: Final = 31


def _size(frame: Frame) -> int:
    return _FRAME.size + (len(frame.data) + 3) // 4 * 4


def split_frames(frames: Sequence[Frame]) -> Iterator[tuple[Frame, ...]]:
    """Runs of frames that fit into a block each and lie within an hour."""
    run: list[Frame] = []
    size = HEAD_SIZE
    for frame in frames:
        if run and (size + _size(frame) > MAX_BLOCK_BYTES or not 0 <= frame.t_ns - run[0].t_ns < 3600 * 10**9):
            yield tuple(run)
            run, size = [], HEAD_SIZE
        run.append(frame)
        size += _size(frame)
    if run:
        yield tuple(run)


def encode_raw(frames: Sequence[Frame], *, stream: int, epoch: int, seq: int) -> bytes:
    """One block of frames, as :func:`split_frames` gives them; at least one.

    Raises:
        BlockBroken: they do not fit.
    """
    first_us = frames[0].t_ns // 1000
    parts = [encode_head(BlockHead(stream, epoch, seq, first_us, len(frames), RAW))]
    for frame in frames:
        can_id = frame.can_id | (_EXTENDED if frame.extended else 0)
        flags = _FD * frame.fd | _REMOTE * frame.remote | _ERROR * frame.error | _SENT * frame.tx
        parts.append(_FRAME.pack(frame.t_ns // 1000 - first_us, can_id, len(frame.data), flags, 0))
        parts.append(frame.data + bytes(-len(frame.data) % 4))
    data = b"".join(parts)
    if len(data) > MAX_BLOCK_BYTES:
        raise BlockBroken(Text(f"{len(data)} bytes", f"{len(data)} 字节"))
    return data


def parse_raw_head(data: bytes) -> BlockHead:
    """The head of a block of raw frames, after walking over all of them.

    Raises:
        BlockBroken: anything else than one whole block of raw frames.
    """
    head = parse_any_head(data, (RAW,), most=MAX_BLOCK_BYTES)
    at = HEAD_SIZE
    for _ in range(head.count):
        if at + _FRAME.size > len(data):
            raise BlockBroken(Text("frames cut short", "报文不完整"))
        _, _, length, flags, reserved = _FRAME.unpack_from(data, at)
        end = at + _FRAME.size + length
        at = end + -length % 4
        if length > MAX_FRAME_DATA or flags & ~_KNOWN_FLAGS or reserved or at > len(data) or any(data[end:at]):
            raise BlockBroken(Text("a frame that is none", "报文格式错误"))
    if at != len(data):
        raise BlockBroken(Text("bytes behind the last frame", "最后一帧之后有多余字节"))
    return head


def parse_raw(data: bytes) -> tuple[BlockHead, tuple[Frame, ...]]:
    """Head and frames of a block.

    Raises:
        BlockBroken: as :func:`parse_raw_head`.
    """
    head = parse_raw_head(data)
    frames: list[Frame] = []
    at = HEAD_SIZE
    for _ in range(head.count):
        dt_us, can_id, length, flags, _ = _FRAME.unpack_from(data, at)
        at += _FRAME.size
        frames.append(
            Frame(
                can_id & ~_EXTENDED,
                data[at : at + length],
                t_ns=(head.t_us + dt_us) * 1000,
                extended=bool(can_id & _EXTENDED),
                fd=bool(flags & _FD),
                remote=bool(flags & _REMOTE),
                error=bool(flags & _ERROR),
                tx=bool(flags & _SENT),
            )
        )
        at += length + -length % 4
    return head, tuple(frames)
