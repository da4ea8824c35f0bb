"""Recorded blocks as columns: many at once by numpy, for the history and the export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from consult.wire import HEAD_SIZE, SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from consult.recording import Recording, Span

__all__ = ["SampleColumns", "read_columns"]

_BLOCKS: Final = 2_000
_KIND_OFFSET: Final = 0


@dataclass(frozen=True, slots=True, eq=False)
class SampleColumns:
    """Some blocks of one stream in one epoch.

    Args:
        seq: int64, shape ``(n,)``.
        t_us: int64, shape ``(n,)``; UTC microseconds.
        values: float32, shape ``(n, signals)``; NaN where not valid.
        valid: bool, same shape.
    """

    seq: NDArray[np.int64]
    t_us: NDArray[np.int64]
    values: NDArray[np.float32]
    valid: NDArray[np.bool_]


def read_columns(
    recording: Recording, span: Span, columns: Sequence[int], from_us: int = 0, to_us: int = 1 << 62
) -> Iterator[SampleColumns]:
    """A stream's blocks in order, two thousand at a time; blocks of other kinds are left out.

    Args:
        recording: where they stand.
        span: which stream and epoch.
        columns: which signals of the span's schema, by their places in it.
        from_us: the first time, UTC microseconds.
        to_us: the time behind the last.

    Raises:
        RecordingBroken: the file cannot be read.
    """
    count = len(span.schema["signals"])
    size = HEAD_SIZE + 4 * count + (count + 7) // 8
    rows: list[tuple[int, int, bytes]] = []
    for row in recording.blocks_of(span, from_us, to_us):
        if len(row[2]) == size and row[2][_KIND_OFFSET] == SAMPLES:
            rows.append(row)
            if len(rows) == _BLOCKS:
                yield _decoded(rows, count, size, columns)
                rows = []
    if rows:
        yield _decoded(rows, count, size, columns)


def _decoded(rows: list[tuple[int, int, bytes]], count: int, size: int, columns: Sequence[int]) -> SampleColumns:
    content = np.frombuffer(b"".join(data for _, _, data in rows), dtype=np.uint8).reshape(len(rows), size)
    values = np.empty((len(rows), len(columns)), np.float32)
    valid = np.empty((len(rows), len(columns)), np.bool_)
    bitmap = HEAD_SIZE + 4 * count
    for place, column in enumerate(columns):
        at = HEAD_SIZE + 4 * column
        values[:, place] = np.ascontiguousarray(content[:, at : at + 4]).view("<f4")[:, 0]
        valid[:, place] = (content[:, bitmap + column // 8] >> (column % 8)) & 1
    values[~valid] = np.nan
    seq, t_us = (np.array([row[at] for row in rows], np.int64) for at in (0, 1))
    return SampleColumns(seq, t_us, values, valid)
