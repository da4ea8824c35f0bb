"""Many sample blocks as one message, for the truth over a thin line.

No I/O and no clock. After the 24-byte head of :mod:`consult.wire` (kind 5; ``seq`` and ``t_us`` are those of the last
block, ``count`` its signals) come ``u32 first``, ``u32 size`` of what is deflated, and raw deflate (RFC 1951). The
blocks ``first`` to ``seq`` have no hole. Inflated, ``n`` blocks are::

    i64  dt_us[n]             time of each block minus that of the one before (of the first: minus the head's)
    u8   planes[4][count][n]  byte p of each signal's float32, XOR the same byte in the block before
    u8   bitmap[n][ceil(count / 8)], XOR the block before

A signal that stands still is zeros then, and one that moves a little changes its low bytes only. What comes out is the
blocks as they were, bit for bit. Standard: none, this format is ours.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Final

import numpy as np

from consult.errors import BlockBroken
from consult.wire import (
    BATCH,
    HEAD_SIZE,
    MAX_BLOCK_BYTES,
    MAX_SIGNALS,
    BlockHead,
    encode_head,
    parse_any_head,
    parse_head,
)
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MAX_BATCH_BLOCKS", "MAX_BATCH_BYTES", "encode_batch", "parse_batch"]

MAX_BATCH_BLOCKS: Final = 1024
MAX_BATCH_BYTES: Final = 1 << 20
"""Of the message; what it inflates to is at most four times that."""

_PREFIX: Final = struct.Struct("<II")
_LEVEL: Final = 6


def encode_batch(blocks: Sequence[bytes], *, level: int = _LEVEL) -> bytes:
    """Consecutive sample blocks of one stream as one message; ``level`` of deflate, 1 (quick) to 9.

    Raises:
        BlockBroken: none, too many, not consecutive, of several streams or widths, or no blocks at all.
    """
    heads = [parse_head(block) for block in blocks]
    wrong = BlockBroken(Text("blocks that do not belong together", "数据块不连续或不属于同一数据流"))
    if not 0 < len(heads) <= MAX_BATCH_BLOCKS:
        raise wrong
    first, last = heads[0], heads[-1]
    for number, head in enumerate(heads):
        name = (head.stream, head.epoch, head.seq, head.count)
        if name != (first.stream, first.epoch, first.seq + number, first.count):
            raise wrong
    rows = np.frombuffer(b"".join(blocks), dtype=np.uint8).reshape(len(blocks), -1)[:, HEAD_SIZE:]
    moved = rows.copy()
    moved[1:] ^= rows[:-1]
    width = 4 * first.count
    planes = moved[:, :width].reshape(len(blocks), first.count, 4).transpose(2, 1, 0)
    times = np.array([last.t_us, *(head.t_us for head in heads)], dtype=np.int64)
    plain = np.diff(times).astype("<i8").tobytes() + planes.tobytes() + moved[:, width:].tobytes()
    squeezer = zlib.compressobj(level, zlib.DEFLATED, -15)
    packed = squeezer.compress(plain) + squeezer.flush()
    head = BlockHead(last.stream, last.epoch, last.seq, last.t_us, last.count, BATCH)
    return encode_head(head) + _PREFIX.pack(first.seq, len(plain)) + packed


def parse_batch(data: bytes) -> list[tuple[BlockHead, bytes]]:
    """The blocks in a batch, as they were.

    Raises:
        BlockBroken: no batch of this version, or anything in it that no block may have.
    """
    head = parse_any_head(data, (BATCH,), most=MAX_BATCH_BYTES)
    if len(data) < HEAD_SIZE + _PREFIX.size:
        raise BlockBroken(Text(f"{len(data)} bytes", f"{len(data)} 字节"))
    first, size = _PREFIX.unpack_from(data, HEAD_SIZE)
    n, width, bits = head.seq - first + 1, 4 * head.count, (head.count + 7) // 8
    if not 0 < n <= MAX_BATCH_BLOCKS or head.count > MAX_SIGNALS or size != n * (8 + width + bits):
        raise BlockBroken(Text(f"{n} blocks in {size} bytes", f"{size} 字节中有 {n} 个数据块"))
    if size > 4 * MAX_BATCH_BYTES:
        raise BlockBroken(Text(f"{size} bytes", f"{size} 字节"))
    plain = _inflate(data[HEAD_SIZE + _PREFIX.size :], size)
    steps = np.frombuffer(plain, dtype="<i8", count=n)
    if np.abs(steps.astype(np.float64)).max() > 2**53:
        raise BlockBroken(Text("a time that is none", "时间无效"))
    times = head.t_us + np.cumsum(steps)
    if times[-1] != head.t_us or (times < 0).any():
        raise BlockBroken(Text("a time that is none", "时间无效"))
    rows = np.empty((n, width + bits), dtype=np.uint8)
    planes = np.frombuffer(plain, dtype=np.uint8, count=n * width, offset=8 * n).reshape(4, head.count, n)
    rows[:, :width] = planes.transpose(2, 1, 0).reshape(n, width)
    rows[:, width:] = np.frombuffer(plain, dtype=np.uint8, offset=n * (8 + width)).reshape(n, bits)
    rows = np.bitwise_xor.accumulate(rows, axis=0)
    _check_rows(rows, head.count)
    found = []
    for number in range(n):
        one = BlockHead(head.stream, head.epoch, first + number, int(times[number]), head.count)
        found.append((one, encode_head(one) + rows[number].tobytes()))
    return found


def _inflate(packed: bytes, size: int) -> bytes:
    opener = zlib.decompressobj(-15)
    try:
        plain = opener.decompress(packed, size + 1)
    except zlib.error as error:
        raise BlockBroken(Text("what is packed cannot be opened", "无法解压")) from error
    if len(plain) != size or not opener.eof or opener.unused_data:
        raise BlockBroken(Text("what is packed has another size", "解压后的大小不符"))
    return plain


def _check_rows(rows: np.ndarray[tuple[int, int], np.dtype[np.uint8]], count: int) -> None:
    """What :func:`consult.wire.parse_samples` checks of each block, for all at once."""
    values = np.ascontiguousarray(rows[:, : 4 * count]).view("<f4")
    valid = np.unpackbits(np.ascontiguousarray(rows[:, 4 * count :]), axis=1, bitorder="little").astype(np.bool_)
    if valid[:, count:].any():
        raise BlockBroken(Text("validity bits behind the last signal", "有效位超出最后一个信号"))
    if not np.isfinite(values[valid[:, :count]]).all():
        raise BlockBroken(Text("a valid value that is no number", "有效值不是数字"))
    if HEAD_SIZE + rows.shape[1] > MAX_BLOCK_BYTES:
        raise BlockBroken(Text(f"{rows.shape[1]} bytes", f"{rows.shape[1]} 字节"))
