"""BLF files of any size: some containers at a time, out of a file that is mapped and not read.

The file is gone through twice: once to see which buses it has, and that its objects follow each other without a gap,
and once for the frames. Where they do not, the file is damaged, and is left to the reader of whole files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dbc.errors import RecordingError
from dbc.recording.blf import (
    first_part,
    frames_of,
    in_chain,
    index_of,
    joined,
    marks_in,
    narrowed,
    parts_of,
    start_of,
)
from dbc.recording.lines import Read
from dbc.recording.source import forget_pages
from dbc.table import FrameTable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from mmap import mmap

    from numpy.typing import NDArray

    from dbc.recording.blf import Part

__all__ = ["BlfSource", "opened_blf"]

_GROUP: Final = 16 << 20
"""Bytes that the containers of one step inflate to."""
_LARGEST: Final = 256 << 20
"""A single container that inflates to more is read as no logger writes it: not at all."""
_MOST: Final = 1 << 40


class BlfSource:
    """The frames of one sound BLF file."""

    name = "blf"
    wraps = 0

    def __init__(self, content: mmap, parts: list[Part]) -> None:
        self._content = content
        self.maps = (content,)
        self._parts = parts
        self._used = np.zeros(1 << 16, np.bool_)

    def _groups(self) -> Iterator[list[Part]]:
        group: list[Part] = []
        total = 0
        for part in self._parts:
            group.append(part)
            total += max(part.inflated, part.end - part.begin)
            if total >= _GROUP:
                yield group
                group, total = [], 0
        if group:
            yield group

    def _objects(self) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]] | None]:
        """Bytes and the places of whole objects in them; None, and the end, where something is not as it should be."""
        rest: NDArray[np.uint8] | None = None
        size = 0
        for group in self._groups():
            raw, size, cut = joined(self._content, group, rest)
            found = None if cut else in_chain(raw, marks_in(raw, 0), size)
            if found is None:
                yield None
                return
            at, is_open = found
            ends = at + raw[at[:, None] + np.arange(8, 12)].view("<u4")[:, 0] if len(at) else at
            end = int(ends[-1]) if len(ends) else 0
            if is_open:
                places = marks_in(raw, 0)
                end = int(places[len(at)])
            # Words are looked at by fours: what is left begins at such a place again.
            rest = raw[min(end + -end % 4, size) : size].copy()
            yield raw, at
        if rest is not None and len(rest) >= 4:
            yield None

    def is_sound(self) -> bool:
        """Whether the objects follow each other without a gap to the end; notes the buses."""
        for found in self._objects():
            if found is None:
                return False
            _, numbers, short = frames_of(*found)
            if short:
                return False
            forget_pages(self.maps)
            self._used[numbers] = True
        return True

    def tables(self) -> Iterator[FrameTable]:
        """The frames in the file's order, some at a time."""
        index = index_of(np.flatnonzero(self._used))
        for found in self._objects():
            if found is None:
                return
            columns, numbers, _ = frames_of(*found)
            table = columns.table()
            table.channel[:] = index[numbers]
            if len(table):
                yield narrowed(table)

    def outcome(self) -> Read:
        """Buses and start."""
        known = np.flatnonzero(self._used)[:256].tolist()
        start_ns, local = start_of(self._content)
        return Read(FrameTable.empty(), tuple(str(bus) for bus in known), start_ns=start_ns, local_start=local)


def opened_blf(content: mmap, path: str) -> BlfSource | None:
    """A BLF file; None where it is damaged and has to be read whole."""
    try:
        parts, cut = parts_of(content, first_part(content, path), path, _MOST)
    except RecordingError:
        return None
    if cut or any(part.inflated > _LARGEST for part in parts):
        return None
    source = BlfSource(content, parts)
    return source if source.is_sound() else None
