"""Some records of one layout, and the columns of their channels.

The records stand as 64-bit words, so that a channel at any place is shifted out of one or two of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dbc.recording.mdf import Damaged
from dbc.recording.swar import field, rows_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dbc.recording.mdf import Channel

__all__ = ["Records"]

_INTEGERS: Final = frozenset({0, 1, 2, 3})
_FLOATS: Final = {(4, 32): "<f4", (4, 64): "<f8", (5, 32): ">f4", (5, 64): ">f8"}
_WORD: Final = 8


class Records:
    """Records of one group.

    Args:
        content: uint8, the stream, with room behind it for a record and a word.
        starts: int64 (n,), where the records begin.
        size: bytes of each.
    """

    def __init__(self, content: NDArray[np.uint8], starts: NDArray[np.int64], size: int) -> None:
        self._n = len(starts)
        self._size = size
        self._words = np.ascontiguousarray(rows_at(content, starts, max(1, -(-size // _WORD))).T)

    def __len__(self) -> int:
        return self._n

    def _check(self, at: int, size: int, name: str) -> None:
        if at + size > self._size:
            raise Damaged(f"{name[:40]} lies outside its record", f"{name[:40]} 超出记录")

    def word(self, at: int) -> NDArray[np.uint64]:
        """uint64 (n,): eight bytes from one place on; zeros behind the record's last word."""
        return field(self._words, at)

    def integers(self, channel: Channel) -> NDArray[np.uint64]:
        """uint64 (n,): an integer channel of up to 57 bits and any offset, or of 64 at a byte's start."""
        bits = channel.bit_offset + channel.bit_count
        if channel.data_type not in _INTEGERS or bits > 64 or channel.bit_offset > 7:
            raise Damaged(f"{channel.name[:40]} is no integer", f"{channel.name[:40]} 不是整数通道")
        size = (bits + 7) // 8
        self._check(channel.byte_offset, size, channel.name)
        word = self.word(channel.byte_offset)
        if channel.data_type & 1 and size:
            word = (word << np.uint64(64 - 8 * size)).byteswap()
        out = word >> np.uint64(channel.bit_offset) if channel.bit_offset else word
        return out & np.uint64((1 << channel.bit_count) - 1) if channel.bit_count < 64 else out

    def times(self, channel: Channel) -> NDArray[np.int64]:
        """int64 (n,): ns since the file's start."""
        form = _FLOATS.get((channel.data_type, channel.bit_count))
        if form is None:
            raw = self.integers(channel)
            if channel.factor == 1e-9 and channel.offset == 0:
                return raw.astype(np.int64)
            number = raw.astype(np.float64)
        else:
            self._check(channel.byte_offset, channel.bit_count // 8, "the time")
            word = self.word(channel.byte_offset)
            narrow = word if channel.bit_count == 64 else word.astype(np.uint32)
            number = narrow.view(np.dtype(form)).astype(np.float64)
            if channel.factor == 1e-9 and channel.offset == 0:
                return _whole(number)
        with np.errstate(over="ignore", invalid="ignore"):
            return _whole((number * channel.factor + channel.offset) * 1e9)

    def bytes(self, at: int, size: int, width: int) -> NDArray[np.uint8]:
        """uint8 (n, width): some bytes of each record, filled up with zeros to a width that is a multiple of 8."""
        self._check(at, size, "the payload")
        words = np.zeros((self._n, width // _WORD), np.uint64)
        for number in range(-(-size // _WORD)):
            left = size - _WORD * number
            word = self.word(at + _WORD * number)
            words[:, number] = word if left >= _WORD else word & np.uint64((1 << 8 * left) - 1)
        return words.view(np.uint8).reshape(self._n, width)


def _whole(number: NDArray[np.float64]) -> NDArray[np.int64]:
    """Nearest int64; what is no time at all becomes 0."""
    with np.errstate(invalid="ignore"):
        sane = np.abs(number) < 2.0**62
    return np.rint(number if sane.all() else np.where(sane, number, 0.0)).astype(np.int64)
