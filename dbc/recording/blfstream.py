"""BLF files of any size: some containers at a time, out of a file that is mapped and not read.

The file is gone through twice: once to see which buses it has, and that its objects follow each other without a gap,
and once for the frames. Where they do not, the file is damaged, and is left to the reader of whole files.
"""

from __future__ import annotations

from contextlib import contextmanager
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from dbc.errors import FileMissing, RecordingError
from dbc.recording.blf import first_part, frames_of, in_chain, index_of, is_blf, joined, marks_in, parts_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from dbc.recording.blf import Part
    from dbc.table import FrameTable

__all__ = ["BlfStream", "opened_blf"]

_GROUP: Final = 16 << 20
"""Bytes that the containers of one step inflate to."""
_LARGEST: Final = 256 << 20
"""A single container that inflates to more is read as no logger writes it: not at all."""
_MOST: Final = 1 << 40


class BlfStream:
    """The frames of one sound BLF file."""

    def __init__(self, content: mmap, parts: list[Part]) -> None:
        self._content = content
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
                yield table


@contextmanager
def opened_blf(path: str | Path) -> Iterator[BlfStream | None]:
    """Opens a BLF file; None where it is none, or a damaged one, which has to be read whole.

    Raises:
        FileMissing: it is not there or not readable.
    """
    try:
        file = Path(path).open("rb")  # noqa: SIM115 - closed below; only its opening is translated
    except (OSError, ValueError) as exc:
        raise FileMissing(str(path), getattr(exc, "strerror", None) or str(exc)) from exc
    with file:
        if not is_blf(file.read(4)):
            yield None
            return
        with mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            stream = None
            try:
                parts, cut = parts_of(content, first_part(content, str(path)), str(path), _MOST)
                if not cut and all(part.inflated <= _LARGEST for part in parts):
                    stream = BlfStream(content, parts)
            except RecordingError:
                stream = None
            yield stream if stream is not None and stream.is_sound() else None
            del stream
