"""The records of an unsorted data group of MDF 4, found many at a time.

Where one record ends only the record itself says. Two ways are faster than walking one by one, and have the same
result. Loggers write a frame's record and then its payload's: all places that look like such a pair are found at
once, and those are kept that are reached from the pair before. Where records are mixed, the stream is cut into many
stretches; in each a place is looked for from which a chain of records goes on, and then all stretches are walked in
step; one counts only when the walk before it arrives exactly where it began. What is left is walked singly.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["Walk"]

_LENGTH_BYTES: Final = 4
_STRETCH: Final = 2048
_MOST_STRETCHES: Final = 4096
_WORTH_IT: Final = 1 << 17
"""Bytes below which walking singly is as fast."""
_FIRST_LOOK: Final = 4096
_BLOCK: Final = 1 << 18
_WORTH_PAIRING: Final = 32
"""Pairs are given up when more than one in so many is not followed by another."""
_CHAIN: Final = 12
"""Records that must follow each other before a place is taken for the beginning of one."""
_LONGEST_GUESS: Final = 4096
_LIKELY: Final = 64
"""Values that carry their length are seldom longer."""
_LEFT_BEHIND: Final = 32
"""When only one in so many stretches is not at its end yet, these go on singly."""
_WIDEST_TABLE: Final = 2
"""Record numbers of up to so many bytes are looked up in a table; wider ones are walked singly."""


class Walk:
    """A walk over all records of a stream.

    Args:
        content: uint8, the stream with some bytes behind its end.
        length: bytes of the stream.
        id_size: bytes of the record number in front of each record.
        sizes: bytes of a record by its number, without that number; None for values that carry their length.

    Attributes:
        starts: int64 (n,), where the number of each record stands that was not found in a pair.
        numbers: int64 (n,), their numbers.
        end: where the walk ended.
        unknown: the record number at the end that ``sizes`` does not have; None where the stream ended or was cut.
    """

    def __init__(self, content: NDArray[np.uint8], length: int, id_size: int, sizes: Mapping[int, int | None]) -> None:
        self._content = content
        self._length = length
        self._id_size = id_size
        self._sizes = sizes
        self.unknown: int | None = None
        self.end = 0
        self._pairs: tuple[int, int, NDArray[np.int64], int] | None = None
        pieces: list[NDArray[np.int64]] = []
        if id_size <= _WIDEST_TABLE and length > _WORTH_IT:
            pieces = self._in_pairs() if id_size == 1 else []
            if self._pairs is None:
                self.end = 0
                pieces = self._in_step()
        pieces.append(self._singly(self.end, length))
        self.starts = np.concatenate(pieces)
        self.numbers = self._unsigned(self.starts, id_size)

    def found(self, number: int) -> tuple[NDArray[np.int64], int]:
        """int64 (n,): places in the order of the stream, each so many bytes before a record of one number.

        That spares a copy of as many places as there are records.
        """
        own: NDArray[np.int64] = self.starts[self.numbers == number]
        if self._pairs is None or number not in self._pairs[:2]:
            return own, self._id_size
        first, _, firsts, span = self._pairs
        shift = 0 if number == first else span
        if len(own):
            return np.sort(np.concatenate([firsts + shift, own])), self._id_size
        return firsts, shift + self._id_size

    def places(self, number: int) -> NDArray[np.int64]:
        """int64 (n,): where the records of one number begin, behind that number, in the order of the stream."""
        at, shift = self.found(number)
        return at + shift

    def _unsigned(self, at: NDArray[np.int64], size: int) -> NDArray[np.int64]:
        """int64 (n,): little-endian numbers of some bytes."""
        numbers: NDArray[np.int64] = _every(self._content, size, 0)[at].astype(np.int64)
        return numbers

    def _singly(self, at: int, stop: int) -> NDArray[np.int64]:
        """Walks from one place until another is reached; leaves :attr:`end` and :attr:`unknown`."""
        found: list[int] = []
        content, id_size = self._content, self._id_size
        while at < stop:
            begin = at + id_size
            if begin > self._length:
                break
            number = int.from_bytes(content[at:begin].tobytes(), "little")
            if number not in self._sizes:
                self.unknown = number
                break
            size = self._sizes[number]
            if size is None:
                size = _LENGTH_BYTES + int.from_bytes(content[begin : begin + _LENGTH_BYTES].tobytes(), "little")
            if begin + size > self._length:
                break
            found.append(at)
            at = begin + size
        self.end = at
        return np.array(found, np.int64)

    def _in_pairs(self) -> list[NDArray[np.int64]]:
        """Finds pairs of a record of fixed length and a value behind it; gives the records between them.

        Leaves :attr:`_pairs` None where there are hardly any.
        """
        pair = self._likely_pair()
        if pair is None:
            return []
        first, second = pair
        size = self._sizes[first] or 0
        span = self._id_size + size
        found: list[NDArray[np.int64]] = []
        follow: list[NDArray[np.int64]] = []
        data = self._content
        # The length's lowest byte is used, the others are zero: a payload of up to 255 bytes.
        last = self._length - span - self._id_size - _LENGTH_BYTES
        for begin in range(0, last + 1, _BLOCK):
            stop = min(begin + _BLOCK, last + 1)
            fits = data[begin:stop] == first
            fits &= data[begin + span : stop + span] == second
            fits &= data[begin + span + 2 : stop + span + 2] == 0
            at = np.flatnonzero(fits) + begin
            at = at[(data[span + 3 :][at] | data[span + 4 :][at]) == 0]
            found.append(at)
            follow.append(at + (span + self._id_size + _LENGTH_BYTES) + data[span + 1 :][at])
        if not found:
            return []
        return self._linked(np.concatenate(found), np.concatenate(follow), (first, second, span))

    def _linked(
        self, likely: NDArray[np.int64], ahead: NDArray[np.int64], pair: tuple[int, int, int]
    ) -> list[NDArray[np.int64]]:
        """Keeps the likely pairs that are reached from the stream's beginning, pair by pair or singly."""
        broken = np.flatnonzero(ahead[:-1] != likely[1:]).tolist()
        if len(broken) > len(likely) // _WORTH_PAIRING:
            return []
        broken.append(len(likely) - 1)
        spans: list[NDArray[np.int64]] = []
        between: list[NDArray[np.int64]] = []
        at = index = 0
        while index < len(likely):
            if int(likely[index]) > at:
                between.append(self._singly(at, int(likely[index])))
                at = self.end
                if at < int(likely[index]):
                    break
            if int(likely[index]) == at:
                stop = broken[bisect_left(broken, index)]
                if int(ahead[stop]) > self._length:
                    stop -= 1
                if stop >= index:
                    spans.append(likely[index : stop + 1])
                    at = self.end = int(ahead[stop])
            index = max(index + 1, int(np.searchsorted(likely, at)))
        firsts = spans[0] if len(spans) == 1 else np.concatenate(spans) if spans else np.empty(0, np.int64)
        self._pairs = (pair[0], pair[1], firsts, pair[2])
        self.end = at
        return between

    def _likely_pair(self) -> tuple[int, int] | None:
        """The numbers of a record of fixed length and of the value that follows it, by the first records."""
        starts = self._singly(0, min(_FIRST_LOOK, self._length))
        self.end, self.unknown = 0, None
        numbers = self._unsigned(starts, self._id_size).tolist()
        pairs = [
            (one, other)
            for one, other in pairwise(numbers)
            if self._sizes[one] is not None and self._sizes[other] is None
        ]
        return max(set(pairs), key=pairs.count) if len(pairs) * 4 > len(numbers) else None

    def _in_step(self) -> list[NDArray[np.int64]]:
        """The records of the stretches, as far as their walks join."""
        count = min(_MOST_STRETCHES, self._length // _STRETCH)
        bounds = np.linspace(0, self._length, count + 1).astype(np.int64)
        steps = _Steps(self._content, self._length, self._id_size, self._sizes)
        begins = steps.begins(bounds[:-1])
        starts, edges, arrived = steps.walk(begins, bounds[1:])
        pieces: list[NDArray[np.int64]] = []
        at = 0
        for number, (begin, stop) in enumerate(zip(begins.tolist(), bounds[1:].tolist(), strict=True)):
            if at >= stop:
                continue
            if begin == at:
                pieces.append(starts[edges[number] : edges[number + 1]])
                at = self.end = int(arrived[number])
            if at < stop:
                pieces.append(self._singly(at, stop))
                at = self.end
            if at < stop:
                break
        return pieces


class _Steps:
    """Steps from record to record in many places at once."""

    def __init__(self, content: NDArray[np.uint8], length: int, id_size: int, sizes: Mapping[int, int | None]) -> None:
        self._length = length
        self._numbers: NDArray[Any] = _every(content, id_size, 0)
        self._lengths: NDArray[Any] = _every(content, _LENGTH_BYTES, id_size)
        self._table = np.full(1 << 8 * id_size, -1, np.int64)
        self._carries = np.zeros(len(self._table), np.bool_)
        for number, size in sizes.items():
            if number < len(self._table):
                self._table[number] = id_size + (_LENGTH_BYTES if size is None else size)
                self._carries[number] = size is None
        self._varies = bool(self._carries.any())
        self._guesses = min(int(self._table.max()) + _LIKELY, _LONGEST_GUESS)

    def _next(self, at: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64 (n,): where the next record begins; ``at`` itself where none does, or the one there is not whole."""
        number = self._numbers[at].astype(np.intp)
        step = self._table[number]
        ahead = at + step
        if self._varies:
            ahead += self._lengths[at].astype(np.int64) * self._carries[number]
        return np.where((step > 0) & (ahead <= self._length), ahead, at)

    def begins(self, bounds: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64 (n,): a likely beginning of a record behind each bound, -1 where none is found."""
        out = np.full(len(bounds), -1, np.int64)
        out[0] = 0
        open_ = np.arange(1, len(bounds))
        for offset in range(self._guesses):
            alive = open_
            at = bounds[open_] + offset
            for _ in range(_CHAIN):
                ahead = self._next(np.minimum(at, self._length - 1))
                goes_on = (ahead > at) & (ahead - at <= self._guesses)
                alive, at = alive[goes_on], ahead[goes_on]
                if not len(alive):
                    break
            out[alive] = bounds[alive] + offset
            open_ = open_[out[open_] < 0]
            if not len(open_):
                break
        return out

    def walk(
        self, begins: NDArray[np.int64], stops: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], list[int], NDArray[np.int64]]:
        """Walks all stretches in step.

        Returns:
            int64, the records' places by stretch; where each stretch's begin among them; and int64 (n,), where each
            walk arrived: at or behind its stop, or before it where it got stuck or was left behind by the others.
        """
        at = begins.copy()
        live = (at >= 0) & (at < stops)
        at[~live] = 0
        few = len(at) // _LEFT_BEHIND
        places: list[NDArray[np.int64]] = []
        taken: list[NDArray[np.bool_]] = []
        while np.count_nonzero(live) > few:
            ahead = self._next(at)
            live &= ahead > at
            places.append(at)
            taken.append(live.copy())
            at = np.where(live, ahead, at)
            live &= at < stops
        if not places:
            return np.empty(0, np.int64), [0] * (len(at) + 1), at
        mask = np.stack(taken, axis=1)
        edges = np.concatenate([np.zeros(1, np.int64), np.cumsum(mask.sum(axis=1))])
        return np.stack(places, axis=1)[mask], edges.tolist(), at


def _every(content: NDArray[np.uint8], size: int, offset: int) -> NDArray[Any]:
    """Little-endian numbers of some bytes at every place, ``offset`` bytes behind it."""
    return np.ndarray((len(content) - size - offset + 1,), f"<u{size}", content, offset, (1,))
