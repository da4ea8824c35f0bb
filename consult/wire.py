"""Sample blocks as bytes: the one format on both carriers, in the journal and in the ring.

No I/O and no clock. All numbers are little-endian; a block has a 24-byte head, the values, and the validity bitmap::

    0   u8   kind      1 = samples, 2 = beat (head only)
    1   u8   flags     high nibble: version (1); low nibble: 0
    2   u16  stream    which schema the columns follow
    4   u32  seq       counts blocks of one (stream, epoch) from 0
    8   u64  t_us      UTC microseconds since the Unix epoch
    16  u32  epoch     drawn anew whenever the sender starts to count again
    20  u16  count     number of signals
    22  u16  reserved  0
    24  f32  values[count]; a signal without a value is 0 here and unset in the bitmap
    ..  u8   bitmap[ceil(count / 8)]; bit i % 8 of byte i // 8: signal i is valid

A beat is the first 16 bytes alone. ``(stream, epoch, seq)`` names a block for good: a receiver may get it twice, by
either carrier and out of order, and must end up with the same curve. The browser has the same parser
(``page/src/wire.ts``); shared vectors pin both. Standard: none, this format is ours.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from consult.errors import BlockBroken
from diag.facts import Text

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "BEAT",
    "HEAD_SIZE",
    "MAX_BLOCK_BYTES",
    "MAX_SIGNALS",
    "SAMPLES",
    "VERSION",
    "BlockHead",
    "SampleFrame",
    "encode_beat",
    "encode_samples",
    "parse_head",
    "parse_samples",
]

VERSION: Final = 1
SAMPLES: Final = 1
BEAT: Final = 2
MAX_BLOCK_BYTES: Final = 16_384
"""No message on a data channel may be longer: beyond it browsers fragment or refuse."""

_COMMON: Final = struct.Struct("<BBHIQ")
_BODY: Final = struct.Struct("<IHH")
BEAT_SIZE: Final = _COMMON.size
HEAD_SIZE: Final = _COMMON.size + _BODY.size
MAX_SIGNALS: Final = (MAX_BLOCK_BYTES - HEAD_SIZE - 1) * 8 // 33
"""3,965 signals of four bytes and one bit."""

_FLAGS: Final = VERSION << 4


@dataclass(frozen=True, slots=True)
class BlockHead:
    """What a relay needs to know of a block: its name, its time and its width."""

    stream: int
    epoch: int
    seq: int
    t_us: int
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class SampleFrame:
    """One decoded block.

    Args:
        values: float32, shape ``(head.count,)``; NaN where not valid.
        valid: bool, same shape.
    """

    head: BlockHead
    values: NDArray[np.float32]
    valid: NDArray[np.bool_]


def encode_samples(
    *, stream: int, epoch: int, seq: int, t_us: int, values: NDArray[np.float32], valid: NDArray[np.bool_]
) -> bytes:
    """One tick of a stream as bytes. A value that is not finite is sent as not valid.

    Raises:
        BlockBroken: more signals than a block holds, or the two arrays differ in length.
    """
    count = len(values)
    if count > MAX_SIGNALS:
        raise BlockBroken(Text(f"{count} signals, at most {MAX_SIGNALS}", f"{count} 个信号，最多 {MAX_SIGNALS} 个"))
    if values.shape != (count,) or valid.shape != (count,):
        raise BlockBroken(Text("values and validity differ in length", "数值与有效位长度不一致"))
    good = np.asarray(valid, dtype=np.bool_) & np.isfinite(values)
    head = _COMMON.pack(SAMPLES, _FLAGS, stream, seq, t_us) + _BODY.pack(epoch, count, 0)
    sent = np.where(good, values, np.float32(0)).astype("<f4", copy=False)
    return head + sent.tobytes() + np.packbits(good, bitorder="little").tobytes()


def encode_beat(t_us: int) -> bytes:
    """A sign of life for a carrier that has nothing to carry."""
    return _COMMON.pack(BEAT, _FLAGS, 0, 0, t_us)


def parse_head(data: bytes) -> BlockHead:
    """The head of a sample block, after checking that the rest has the length it announces.

    Raises:
        BlockBroken: anything else than one whole sample block of this version.
    """
    if not HEAD_SIZE <= len(data) <= MAX_BLOCK_BYTES:
        raise BlockBroken(Text(f"{len(data)} bytes", f"{len(data)} 字节"))
    kind, flags, stream, seq, t_us = _COMMON.unpack_from(data)
    epoch, count, reserved = _BODY.unpack_from(data, _COMMON.size)
    if kind != SAMPLES:
        raise BlockBroken(Text(f"unknown kind {kind}", f"未知类型 {kind}"))
    if flags != _FLAGS or reserved:
        raise BlockBroken(
            Text(f"version {flags >> 4}, this side speaks {VERSION}", f"版本 {flags >> 4}，本端为 {VERSION}")
        )
    if len(data) != HEAD_SIZE + 4 * count + (count + 7) // 8:
        raise BlockBroken(Text(f"{len(data)} bytes for {count} signals", f"{count} 个信号却有 {len(data)} 字节"))
    return BlockHead(stream, epoch, seq, t_us, count)


def parse_samples(data: bytes) -> SampleFrame:
    """One whole block.

    Raises:
        BlockBroken: as :func:`parse_head`, or bits set behind the last signal, or a valid value that is not finite.
    """
    head = parse_head(data)
    end = HEAD_SIZE + 4 * head.count
    values = np.frombuffer(data, dtype="<f4", count=head.count, offset=HEAD_SIZE).astype(np.float32)
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8, offset=end), bitorder="little").astype(np.bool_)
    valid = bits[: head.count]
    if bits[head.count :].any():
        raise BlockBroken(Text("validity bits behind the last signal", "有效位超出最后一个信号"))
    if not np.isfinite(values[valid]).all():
        raise BlockBroken(Text("a valid value that is no number", "有效值不是数字"))
    values[~valid] = np.nan
    return SampleFrame(head, values, valid)
