"""One pass over the frames of one recording: what every reader of pieces offers."""

from __future__ import annotations

import mmap as mmap_module
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from mmap import mmap

    from dbc.recording.lines import Read
    from dbc.table import FrameTable

__all__ = ["Source", "forget_pages"]


def forget_pages(maps: Sequence[mmap]) -> None:
    """Gives back the memory through which files are looked into; what is needed again comes from the system's cache."""
    for content in maps:
        if hasattr(content, "madvise"):
            content.madvise(mmap_module.MADV_DONTNEED)


class Source(Protocol):
    """The frames of a recording in its order, some at a time, to be gone through once."""

    @property
    def name(self) -> str:
        """Of the dialect."""

    @property
    def wraps(self) -> int:
        """How often the clock started again and was carried on; right when the last table has come."""

    @property
    def maps(self) -> Sequence[mmap]:
        """The files that are looked into through memory."""

    def tables(self) -> Iterator[FrameTable]:
        """Some frames after the others.

        Raises:
            RecordingError: what follows cannot be read.
        """

    def outcome(self) -> Read:
        """What else the reader found out, without frames; right only when the last table has come."""
