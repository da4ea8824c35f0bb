"""Frames that come in pieces, put into the order of time without having all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dbc.recording.timeline import segment_starts
from dbc.table import FrameTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["LATE_NS", "in_order", "merged_by_time"]

LATE_NS: Final = 1_000_000_000
"""Frames of several buses may come out of order by less than this; more is another capture."""


def merged_by_time(streams: Sequence[Iterator[FrameTable]]) -> Iterator[FrameTable]:
    """The frames of several streams, each in the order of time, as one; of equal times the first stream's come first.

    Where a stream's times go back, its frames come as late as they stand in it.
    """
    heads = [next(stream, None) for stream in streams]
    while any(head is not None for head in heads):
        # Every stream still to come begins behind the last frame that is here of it.
        bound = min(int(head.t_ns[-1]) for head in heads if head is not None)
        ready: list[FrameTable] = []
        for number, head in enumerate(heads):
            if head is None:
                continue
            rest: FrameTable | None = head
            while rest is not None and int(rest.t_ns[-1]) <= bound:
                # What follows may be as old as the bound.
                ready.append(rest)
                rest = next(streams[number], None)
            if rest is not None:
                early = rest.t_ns <= bound
                if early.any():
                    ready.append(rest[early])
                    rest = rest[~early]
            heads[number] = rest
        yield FrameTable.concat(ready).by_time()


def in_order(pieces: Iterable[FrameTable]) -> Iterator[tuple[FrameTable, bool]]:
    """The frames of each capture in the order of time; where the time jumps back, another capture begins.

    Yields:
        some frames, oldest first, and whether they begin another capture.
    """
    held = FrameTable.empty()
    newest = 0
    begins = False
    for piece in pieces:
        joined = FrameTable.concat([held, piece]) if len(held) else piece
        start = len(held)
        if start and len(piece) and int(piece.t_ns[0]) - newest < -LATE_NS:
            yield held.by_time(), begins
            begins, joined, start = True, piece, 0
        rows = [row for row in segment_starts(joined.t_ns) if row > start]
        for at, end in zip([0, *rows][:-1], rows, strict=True):
            yield joined[at:end].by_time(), begins
            begins = True
        last = joined[rows[-1] :] if rows else joined
        if not len(last):
            continue
        newest = int(last.t_ns[-1])
        last = last.by_time()
        ready = int(np.searchsorted(last.t_ns, int(last.t_ns[-1]) - LATE_NS))
        if ready:
            yield last[:ready], begins
            begins = False
        held = last[ready:]
    if len(held):
        yield held.by_time(), begins
