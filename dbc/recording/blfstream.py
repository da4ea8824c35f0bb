"""BLF files of any size: some containers at a time, out of a file that is mapped and not read.

The file is gone through twice: once to see which buses it has, and once for the frames. What is damaged is passed over
as in a file read whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dbc.recording.blf import (
    bad_objects,
    first_part,
    frames_of,
    index_of,
    narrowed,
    objects_in,
    parts_of,
    start_of,
    stream_of,
    unbroken,
)
from dbc.recording.lines import Read
from dbc.recording.source import forget_pages
from dbc.table import FrameTable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from mmap import mmap

    from numpy.typing import NDArray

    from dbc.recording.blf import Part

__all__ = ["BlfSource"]

_GROUP: Final = 16 << 20
"""Bytes that the containers of one step inflate to."""
_LARGEST: Final = 256 << 20
"""A container that says it inflates to more is damaged."""
_MOST: Final = 1 << 50


class BlfSource:
    """The frames of one BLF file.

    Args:
        content: the whole file.
        path: names it in errors.

    Raises:
        RecordingBroken: its header is damaged.
    """

    name = "blf"
    wraps = 0

    def __init__(self, content: mmap, path: str) -> None:
        self._content = content
        self.maps = (content,)
        parts, cut = parts_of(content, first_part(content, path), path, _MOST)
        # Such a one has to inflate to nothing: then something is missing there.
        self._parts = [
            part if part.inflated <= _LARGEST else part._replace(end=part.begin, inflated=1) for part in parts
        ]
        self._is_damaged = cut
        self._used = np.zeros(1 << 16, np.bool_)
        self._total = sum(part.end - part.begin if part.inflated < 0 else part.inflated for part in self._parts)
        self._count = self._short = 0
        self._is_cut = self._is_broken = False

    def _groups(self) -> Iterator[list[Part]]:
        group: list[Part] = []
        total = 0
        for part in self._parts:
            group.append(part)
            total += max(part.inflated, part.end - part.begin)
            if total >= _GROUP:
                yield group
                group, total = [], 0
        # The last one, even without anything, for what is left of those before.
        yield group

    def _objects(self) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
        """Bytes and the places of objects in them; what was amiss is noted at the end."""
        rest = np.empty(0, np.uint8)
        count, skipped, total = 0, 0, 0
        breaks: list[int] = []
        is_first, is_cut, is_broken = True, self._is_damaged, False
        groups = self._groups()
        group = next(groups, None)
        while group is not None:
            following = next(groups, None)
            raw, size, found, cut = stream_of(self._content, group, rest)
            breaks += found
            total += size - len(rest)
            begin = min(skipped, size)
            raw, size, skipped = raw[begin:], size - begin, skipped - begin
            breaks = [place - begin for place in breaks]
            ahead = 0 if following is None else max(self._total - total, 1)
            at, end, broken = objects_in(raw, size, ahead=ahead, is_first=is_first)
            is_cut, is_broken, is_first = is_cut or cut, is_broken or broken, is_first and not end
            rest, skipped = raw[min(end, size) : size].copy(), skipped + max(end - size, 0)
            kept = unbroken(raw, at, breaks)
            count += len(kept)
            is_cut = is_cut or len(kept) < len(at)
            # Those at the end may lie inside an object that goes on.
            breaks = [place - end for place in breaks if place >= min(end, size)]
            yield raw, kept
            group = following
        self._count, self._is_cut, self._is_broken, self._total = count, is_cut, is_broken, total

    def _look(self) -> None:
        """Notes which buses there are."""
        self._used[:] = False
        self._short = 0
        for raw, at in self._objects():
            _, numbers, short = frames_of(raw, at)
            self._used[numbers] = True
            self._short += short
            forget_pages(self.maps)

    def tables(self) -> Iterator[FrameTable]:
        """The frames in the file's order, some at a time."""
        announced = self._total
        self._look()
        if self._total != announced:
            # How much there is decides which damaged objects are believed.
            self._look()
        index = index_of(np.flatnonzero(self._used))
        for raw, at in self._objects():
            columns, numbers, _ = frames_of(raw, at)
            table = columns.table()
            table.channel[:] = index[numbers]
            if len(table):
                yield narrowed(table)

    def outcome(self) -> Read:
        """Buses, start, what was damaged."""
        known = np.flatnonzero(self._used)[:256].tolist()
        bad = bad_objects(self._count, self._short, is_cut=self._is_cut, is_broken=self._is_broken)
        start_ns, local = start_of(self._content)
        return Read(
            FrameTable.empty(),
            tuple(str(bus) for bus in known),
            bad,
            self._is_cut + self._is_broken + self._short,
            start_ns=start_ns,
            local_start=local,
        )
