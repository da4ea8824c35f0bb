"""Payloads of variable length in MF4, which records refer to by an offset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from dbc.table import CLASSIC_WIDTH, FD_WIDTH

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Payloads", "PayloadsOf", "Values", "first_bytes", "value_places", "value_rows"]

_LENGTH_BYTES: Final = 4
_KEPT: Final = np.array([(1 << 8 * n) - 1 for n in range(CLASSIC_WIDTH + 1)], np.uint64)
"""Keeps the first so many bytes of a word."""


class Payloads(Protocol):
    """Values of one channel or group."""

    def rows(
        self, offsets: NDArray[np.int64], first: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]:
        """uint8 (n, 8 or 64) payloads, int64 (n,) lengths, and which offsets lead to a value.

        Args:
            offsets: int64 (n,).
            first: number of the first record that these belong to, a guess at which value they mean.
        """


class PayloadsOf(Protocol):
    """Where the values of each channel are."""

    def payloads(self, address: int) -> Payloads:
        """Those that a channel's link leads to."""


class Values:
    """Values of variable length, by the offset that records refer to them with.

    Most often each record has its own value, and both stand in the same order: then nothing is worked out but what the
    records that are read now mean.

    Args:
        content: uint8, with room behind the last value.
        heads: int64 (n,), so many bytes before each value in ``content``, which begins with its length in four bytes.
        shift: how many.
    """

    def __init__(self, content: NDArray[np.uint8], heads: NDArray[np.int64], shift: int) -> None:
        self.content = content
        self._heads = heads
        self._shift = shift
        self._next = (0, 0)
        self._all: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None

    def _sizes(self, heads: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64 (n,): bytes of the values."""
        lengths: NDArray[Any] = np.ndarray(
            (len(self.content) - 3 - self._shift,), "<u4", self.content, self._shift, (1,)
        )
        sizes: NDArray[np.int64] = lengths[heads].astype(np.int64)
        return sizes

    def rows(
        self, offsets: NDArray[np.int64], first: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]:
        """As :meth:`Payloads.rows`."""
        n = len(offsets)
        if not len(self._heads):
            return np.zeros((n, 8), np.uint8), np.zeros(n, np.int64), np.zeros(n, np.bool_)
        found = self._in_order(offsets, first) if self._next[0] == first else None
        heads, size, known = found or self._looked_up(offsets)
        known &= size <= FD_WIDTH
        size = np.minimum(size, FD_WIDTH)
        width = CLASSIC_WIDTH if int(size.max(initial=0)) <= CLASSIC_WIDTH else FD_WIDTH
        return first_bytes(_rows(self.content, heads + (self._shift + 4), width), size), size, known

    def _in_order(
        self, offsets: NDArray[np.int64], first: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]] | None:
        """The values that follow those that were read last; None when the offsets mean others."""
        n = len(offsets)
        heads = self._heads[first : first + n]
        if len(heads) < n:
            return None
        sizes = self._sizes(heads)
        ends = np.cumsum(sizes + 4)
        ends += self._next[1]
        if int(offsets[0]) != self._next[1] or not np.array_equal(offsets[1:], ends[:-1]):
            return None
        self._next = (first + n, int(ends[-1]))
        return heads, sizes, np.ones(n, np.bool_)

    def _looked_up(self, offsets: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """The values that offsets in any order mean."""
        if self._all is None:
            sizes = self._sizes(self._heads)
            self._all = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes + 4)[:-1]]), sizes
        all_offsets, sizes = self._all
        which = np.minimum(np.searchsorted(all_offsets, offsets), len(all_offsets) - 1)
        known = all_offsets[which] == offsets
        return self._heads[which], np.where(known, sizes[which], 0), known


def _rows(content: NDArray[np.uint8], at: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
    """uint8 (n, width): the bytes from each place on."""
    every: NDArray[Any] = np.ndarray((len(content) - width + 1,), f"V{width}", content, 0, (1,))
    rows: NDArray[np.uint8] = every[at].view(np.uint8).reshape(-1, width)
    return rows


def first_bytes(data: NDArray[np.uint8], size: NDArray[np.integer]) -> NDArray[np.uint8]:
    """The rows of ``data`` with zeros behind their first so many bytes."""
    if data.shape[1] != CLASSIC_WIDTH:
        return np.where(np.arange(data.shape[1]) < size[:, None], data, 0).astype(np.uint8)
    if (size >= CLASSIC_WIDTH).all():
        return data
    words = np.ascontiguousarray(data).view(np.dtype("<u8"))[:, 0] & _KEPT[np.minimum(size, CLASSIC_WIDTH)]
    kept: NDArray[np.uint8] = words.astype("<u8").view(np.uint8).reshape(-1, CLASSIC_WIDTH)
    return kept


def value_rows(content: NDArray[np.uint8], heads: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """uint8 (n, 8 or 64): the beginnings of the values whose lengths stand at some places; int64 (n,): these lengths.

    ``content`` has room behind its last value.
    """
    sizes = _numbers(content)[heads].astype(np.int64)
    width = CLASSIC_WIDTH if int(sizes.max(initial=0)) <= CLASSIC_WIDTH else FD_WIDTH
    return first_bytes(_rows(content, heads + _LENGTH_BYTES, width), np.minimum(sizes, width)), sizes


def _numbers(content: NDArray[np.uint8]) -> NDArray[Any]:
    return np.ndarray((len(content) - _LENGTH_BYTES + 1,), "<u4", content, 0, (1,))


def value_places(content: NDArray[np.uint8], length: int) -> tuple[NDArray[np.int64], int]:
    """int64 (n,): where the lengths of the whole values of a stream stand, one behind the other; and where they end."""
    # Most often all values are equally long.
    if length >= _LENGTH_BYTES:
        size = int(_numbers(content)[0])
        step = size + _LENGTH_BYTES
        heads = np.arange(length // step, dtype=np.int64) * step
        if len(heads) and (_numbers(content)[heads] == size).all():
            return heads, len(heads) * step
    places: list[int] = []
    stream, at = content.data, 0
    while at + _LENGTH_BYTES <= length:
        size = int.from_bytes(stream[at : at + _LENGTH_BYTES], "little")
        if at + _LENGTH_BYTES + size > length:
            break
        places.append(at)
        at += _LENGTH_BYTES + size
    return np.array(places, np.int64), at
