"""Counts by fix and term, more of them than memory should hold.

A pair of fix and term is one 64-bit key, the fix in front. What comes is gathered, sorted and summed up; where that
grows long it goes as a sorted run into a file without a name, which vanishes with the process whatever becomes of it.
In the end the runs are merged, some fixes at a time.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import numpy as np

from casebase.postings import TERM_BITS, TERM_MASK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import IO

    from numpy.typing import NDArray

__all__ = ["MOST_FIXES", "Runs", "by_term", "distinct", "key_of", "numbers_of", "rows_of", "summed"]

MOST_FIXES: Final = 1 << (64 - TERM_BITS)
_MOST_PENDING: Final = 1_000_000
_SHARES: Final = 4
"""Bits."""
_LAST: Final = (1 << 64) - 1
_AT_ONCE: Final = 1_000_000
"""Entries that are merged together, about."""

Counted = tuple["NDArray[np.uint64]", "NDArray[np.float32]"]


def key_of(rows: NDArray[np.int64], numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Keys of pairs.

    Raises:
        ValueError: more fixes than a key can tell apart.
    """
    if rows.size and int(rows.max()) >= MOST_FIXES:
        raise ValueError(f"more than {MOST_FIXES} fixes")
    return (rows.astype(np.uint64) << np.uint64(TERM_BITS)) | numbers


def distinct(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Each value once, rising. By sorting, which is ten times quicker here than NumPy's own way by hashing."""
    values = np.sort(values)
    return values[np.concatenate(([True], values[1:] != values[:-1]))] if values.size else values


def summed(keys: NDArray[np.uint64], counts: NDArray[np.float32]) -> Counted:
    """Each key once, rising, with the sum of its counts."""
    order = np.argsort(keys)
    keys = keys[order]
    at = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1]))) if keys.size else np.empty(0, np.int64)
    return keys[at], np.add.reduceat(counts[order], at).astype(np.float32) if keys.size else counts


class Runs:
    """Gathers counts.

    Args:
        folder: where runs that memory should not hold are put; None takes the system's place for such files.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._pending: list[Counted] = []
        self._size = 0
        self._file: IO[bytes] | None = None
        self._runs: list[_Run] = []

    def add(self, keys: NDArray[np.uint64], counts: NDArray[np.float32]) -> None:
        """Takes some, a key more than once at will."""
        self._pending.append((keys, counts))
        self._size += keys.size
        if self._size > _MOST_PENDING:
            merged = self._gathered()
            self._pending, self._size = [merged], merged[0].size
            if merged[0].size > _MOST_PENDING // 2:
                with suppress(OSError):  # where there is no room memory has to hold it
                    self._put_away(merged)

    def _gathered(self) -> Counted:
        if len(self._pending) == 1:
            return summed(*self._pending[0])
        keys = np.concatenate([np.empty(0, np.uint64), *(keys for keys, _ in self._pending)])
        return summed(keys, np.concatenate([np.empty(0, np.float32), *(counts for _, counts in self._pending)]))

    def _put_away(self, run: Counted) -> None:
        if self._file is None:
            if self._folder is not None:
                self._folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - lives as long as this object
        keys, counts = run
        at = self._file.seek(0, 2)
        self._file.write(keys.tobytes())
        self._file.write(counts.tobytes())
        self._file.flush()
        self._runs.append(_Run(self._file, at, keys.size))
        self._pending, self._size = [], 0

    def blocks(self, fixes: int) -> Iterator[Counted]:
        """Everything, each key once and rising, all of a fix's in the same block.

        Args:
            fixes: how many there are.
        """
        keys, counts = self._gathered()
        self._pending, self._size = [(keys, counts)], keys.size
        total = sum(run.size for run in self._runs) + keys.size
        step = max(1, fixes * _AT_ONCE // max(total, 1)) if total > _AT_ONCE else max(fixes, 1)
        for first in range(0, fixes, step):
            low, high = first << TERM_BITS, min(fixes, first + step) << TERM_BITS
            parts = [run.between(low, high) for run in self._runs]
            at, end = np.searchsorted(keys, np.array([low, min(high, _LAST)], dtype=np.uint64))
            parts.append((keys[at:end], counts[at:end]))
            parts = [part for part in parts if part[0].size]
            if len(parts) == 1:
                yield parts[0]
            elif parts:
                yield summed(np.concatenate([keys for keys, _ in parts]), np.concatenate([c for _, c in parts]))

    def close(self) -> None:
        """Lets the file go."""
        self._runs = []
        if self._file is not None:
            self._file.close()
            self._file = None


class _Run:
    """A sorted run in a file: keys, then counts. It is read, not mapped: what is mapped counts as memory."""

    def __init__(self, file: IO[bytes], at: int, size: int) -> None:
        self._file, self._at, self.size = file, at, size

    def between(self, low: int, high: int) -> Counted:
        """The part with ``low <= key < high``."""
        first, last = self._find(low), self._find(high)
        keys = self._read(self._at + 8 * first, 8 * (last - first))
        counts = self._read(self._at + 8 * self.size + 4 * first, 4 * (last - first))
        return np.frombuffer(keys, dtype=np.uint64), np.frombuffer(counts, dtype=np.float32)

    def _find(self, key: int) -> int:
        low, high = 0, self.size
        while low < high:
            middle = (low + high) // 2
            found = int.from_bytes(self._read(self._at + 8 * middle, 8), sys.byteorder)
            if found < key:
                low = middle + 1
            else:
                high = middle
        return low

    def _read(self, at: int, size: int) -> bytes:
        self._file.seek(at)
        return self._file.read(size)


def rows_of(keys: NDArray[np.uint64]) -> NDArray[np.int32]:
    """The fixes of keys."""
    return (keys >> np.uint64(TERM_BITS)).astype(np.int32)


def numbers_of(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The terms of keys."""
    return keys & TERM_MASK


def by_term(
    parts: Sequence[Counted],
) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """Counts in the order of term and fix: the terms, where each begins, the fixes, the counts.

    Terms are numbered evenly, so that some upper bits of them cut the whole into equal shares: memory holds the parts,
    what comes out, and one share more.

    Args:
        parts: keys and counts, each key in one of them only.
    """
    size = sum(keys.size for keys, _ in parts)
    rows, counts = np.empty(size, dtype=np.int32), np.empty(size, dtype=np.float32)
    numbers: list[NDArray[np.uint64]] = [np.empty(0, np.uint64)]
    starts: list[NDArray[np.int64]] = []
    at = 0
    for share in range(1 << _SHARES):
        mine = [numbers_of(keys) >> np.uint64(TERM_BITS - _SHARES) == share for keys, _ in parts]
        keys = np.concatenate([np.empty(0, np.uint64), *(k[m] for (k, _), m in zip(parts, mine, strict=True))])
        count = np.concatenate([np.empty(0, np.float32), *(c[m] for (_, c), m in zip(parts, mine, strict=True))])
        del mine
        keys = (numbers_of(keys) << np.uint64(64 - TERM_BITS)) | (keys >> np.uint64(TERM_BITS))
        order = np.argsort(keys)
        keys = keys[order]
        end = at + keys.size
        counts[at:end] = count[order]
        rows[at:end] = (keys & np.uint64(MOST_FIXES - 1)).astype(np.int32)
        terms = keys >> np.uint64(64 - TERM_BITS)
        begin = np.flatnonzero(np.concatenate(([True], terms[1:] != terms[:-1]))) if terms.size else order
        numbers.append(terms[begin])
        starts.append(at + begin)
        at = end
    return np.concatenate(numbers), np.append(np.concatenate(starts), size).astype(np.int64), rows, counts
