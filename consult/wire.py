"""Blocks as bytes: the one format on both carriers, in the journal and in the ring.

No I/O and no clock. All numbers are little-endian; a block of samples has a 24-byte head, the values, and the validity
bitmap::

    0   u8   kind      1 = samples, 2 = beat (first 16 bytes only), 3 = raw frames, 4 = envelope, 5 = batch
    1   u8   flags     high nibble: version (1); low nibble: 0
    2   u16  stream    which schema the columns follow
    4   u32  seq       counts blocks of one (stream, epoch) from 0
    8   u64  t_us      UTC microseconds since the Unix epoch
    16  u32  epoch     drawn anew whenever the sender starts to count again
    20  u16  count     number of signals, or of raw frames
    22  u16  reserved  0
    24  f32  values[count]; a signal without a value is 0 here and unset in the bitmap
    ..  u8   bitmap[ceil(count / 8)]; bit i % 8 of byte i // 8: signal i is valid

Raw frames (kind 3) follow the head one after the other (:mod:`consult.rawframes`). An envelope (kind 4) stands for the
blocks ``first`` to ``seq`` of a line that is too thin for them: ``u32 first, f32 min[count], f32 max[count], bitmap``;
it is shown and never kept, the blocks themselves follow. A batch (kind 5) is those blocks, deflated
(:mod:`consult.batches`).

``(stream, epoch, seq)`` names a block for good: a receiver may get it twice, by either carrier and out of order, and
must end up with the same curve. The browser has the same parser (``page/src/wire.ts``); shared vectors pin both.
Standard: none, this format is ours.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from consult.errors import BlockBroken
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "BATCH",
    "BEAT",
    "ENVELOPE",
    "HEAD_SIZE",
    "MAX_BLOCK_BYTES",
    "MAX_SIGNALS",
    "RAW",
    "SAMPLES",
    "VERSION",
    "BlockHead",
    "Envelope",
    "SampleFrame",
    "encode_beat",
    "encode_envelope",
    "encode_head",
    "encode_samples",
    "envelope_of",
    "kind_of",
    "parse_any_head",
    "parse_envelope",
    "parse_head",
    "parse_samples",
    "t_us_of",
]

VERSION: Final = 1
SAMPLES: Final = 1
BEAT: Final = 2
RAW: Final = 3
ENVELOPE: Final = 4
BATCH: Final = 5
MAX_BLOCK_BYTES: Final = 16_384
"""No message on a data channel may be longer: beyond it browsers fragment or refuse."""

_COMMON: Final = struct.Struct("<BBHIQ")
_BODY: Final = struct.Struct("<IHH")
_FIRST: Final = struct.Struct("<I")
BEAT_SIZE: Final = _COMMON.size
HEAD_SIZE: Final = _COMMON.size + _BODY.size
MAX_SIGNALS: Final = (MAX_BLOCK_BYTES - HEAD_SIZE - 1) * 8 // 33
"""3,965 signals of four bytes and one bit."""

_FLAGS: Final = VERSION << 4
_END_OF_TIME_US: Final = 1 << 63
"""The journal has signed numbers."""


@dataclass(frozen=True, slots=True)
class BlockHead:
    """What a relay needs to know of a block: its name, its time and its width (signals, or raw frames)."""

    stream: int
    epoch: int
    seq: int
    t_us: int
    count: int
    kind: int = SAMPLES


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


@dataclass(frozen=True, slots=True, eq=False)
class Envelope:
    """The lowest and the highest value of each signal in the blocks ``first`` to ``head.seq``.

    Args:
        low: float32, shape ``(head.count,)``; NaN where no block has a value.
        high: likewise.
    """

    head: BlockHead
    first: int
    low: NDArray[np.float32]
    high: NDArray[np.float32]


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
    head = encode_head(BlockHead(stream, epoch, seq, t_us, count))
    sent = np.where(good, values, np.float32(0)).astype("<f4", copy=False)
    return head + sent.tobytes() + np.packbits(good, bitorder="little").tobytes()


def encode_beat(t_us: int) -> bytes:
    """A sign of life for a carrier that has nothing to carry."""
    return _COMMON.pack(BEAT, _FLAGS, 0, 0, t_us)


def encode_head(head: BlockHead) -> bytes:
    """The first 24 bytes of a block."""
    first = _COMMON.pack(head.kind, _FLAGS, head.stream, head.seq, head.t_us)
    return first + _BODY.pack(head.epoch, head.count, 0)


def kind_of(data: bytes) -> int:
    """What a message says that it is; 0 for none at all."""
    return data[0] if data else 0


def t_us_of(block: bytes) -> int:
    """The time of a block whose head was checked before."""
    return int.from_bytes(block[8:16], "little")


def parse_any_head(data: bytes, kinds: tuple[int, ...], *, most: int) -> BlockHead:
    """The first 24 bytes of a message of one of these kinds; what follows is not looked at.

    Raises:
        BlockBroken: too short, longer than ``most``, of another kind or version.
    """
    if not HEAD_SIZE <= len(data) <= most:
        raise BlockBroken(Text(f"{len(data)} bytes", f"{len(data)} 字节"))
    kind, flags, stream, seq, t_us = _COMMON.unpack_from(data)
    epoch, count, reserved = _BODY.unpack_from(data, _COMMON.size)
    if kind not in kinds:
        raise BlockBroken(Text(f"unknown kind {kind}", f"未知类型 {kind}"))
    if flags != _FLAGS or reserved:
        raise BlockBroken(
            Text(f"version {flags >> 4}, this side speaks {VERSION}", f"版本 {flags >> 4}，本端为 {VERSION}")
        )
    if t_us >= _END_OF_TIME_US:
        raise BlockBroken(Text(f"time {t_us}", f"时间 {t_us}"))
    return BlockHead(stream, epoch, seq, t_us, count, kind)


def parse_head(data: bytes) -> BlockHead:
    """The head of a sample block, after checking that the rest has the length it announces.

    Raises:
        BlockBroken: anything else than one whole sample block of this version.
    """
    head = parse_any_head(data, (SAMPLES,), most=MAX_BLOCK_BYTES)
    if len(data) != HEAD_SIZE + 4 * head.count + (head.count + 7) // 8:
        raise BlockBroken(
            Text(f"{len(data)} bytes for {head.count} signals", f"{head.count} 个信号却有 {len(data)} 字节")
        )
    return head


def parse_samples(data: bytes) -> SampleFrame:
    """One whole block.

    Raises:
        BlockBroken: as :func:`parse_head`, or bits set behind the last signal, or a valid value that is not finite.
    """
    head = parse_head(data)
    end = HEAD_SIZE + 4 * head.count
    values = np.frombuffer(data, dtype="<f4", count=head.count, offset=HEAD_SIZE).astype(np.float32)
    valid = _parse_bitmap(data, end, head.count)
    if not np.isfinite(values[valid]).all():
        raise BlockBroken(Text("a valid value that is no number", "有效值不是数字"))
    values[~valid] = np.nan
    return SampleFrame(head, values, valid)


def _parse_bitmap(data: bytes, at: int, count: int) -> NDArray[np.bool_]:
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8, offset=at), bitorder="little").astype(np.bool_)
    if bits[count:].any():
        raise BlockBroken(Text("validity bits behind the last signal", "有效位超出最后一个信号"))
    return bits[:count]


def envelope_of(frames: Sequence[SampleFrame]) -> Envelope:
    """What blocks of one stream look like from afar; ``frames`` in order, at least one, all of the same width."""
    last = frames[-1].head
    values = np.stack([frame.values for frame in frames])
    known = ~np.isnan(values)
    low = np.min(values, axis=0, where=known, initial=np.inf).astype(np.float32)
    high = np.max(values, axis=0, where=known, initial=-np.inf).astype(np.float32)
    none = ~known.any(axis=0)
    low[none] = high[none] = np.nan
    head = BlockHead(last.stream, last.epoch, last.seq, last.t_us, last.count, ENVELOPE)
    return Envelope(head, frames[0].head.seq, low, high)


def encode_envelope(envelope: Envelope) -> bytes:
    """An envelope as bytes."""
    good = np.isfinite(envelope.low) & np.isfinite(envelope.high)
    pair = [np.where(good, part, np.float32(0)).astype("<f4", copy=False) for part in (envelope.low, envelope.high)]
    bits = np.packbits(good, bitorder="little").tobytes()
    return encode_head(envelope.head) + _FIRST.pack(envelope.first) + pair[0].tobytes() + pair[1].tobytes() + bits


def parse_envelope(data: bytes) -> Envelope:
    """One whole envelope.

    Raises:
        BlockBroken: no envelope of this version, bounds that are no numbers or the wrong way round, stray bits.
    """
    head = parse_any_head(data, (ENVELOPE,), most=2 * MAX_BLOCK_BYTES)
    values = HEAD_SIZE + _FIRST.size
    end = values + 8 * head.count
    if head.count > MAX_SIGNALS or len(data) != end + (head.count + 7) // 8:
        raise BlockBroken(
            Text(f"{len(data)} bytes for {head.count} signals", f"{head.count} 个信号却有 {len(data)} 字节")
        )
    (first,) = _FIRST.unpack_from(data, HEAD_SIZE)
    if first > head.seq:
        raise BlockBroken(Text("it ends before it begins", "结束早于开始"))
    low, high = np.frombuffer(data, dtype="<f4", count=2 * head.count, offset=values).astype(np.float32).reshape(2, -1)
    valid = _parse_bitmap(data, end, head.count)
    if not (np.isfinite(low[valid]).all() and np.isfinite(high[valid]).all()):
        raise BlockBroken(Text("a valid value that is no number", "有效值不是数字"))
    if (low[valid] > high[valid]).any():
        raise BlockBroken(Text("a lowest value above the highest", "最小值大于最大值"))
    low, high = np.where(valid, low, np.float32(np.nan)), np.where(valid, high, np.float32(np.nan))
    return Envelope(head, first, low, high)
