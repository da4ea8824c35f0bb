"""One pass over the frames of one recording: what every reader of pieces offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbc.recording.lines import Read
    from dbc.table import FrameTable

__all__ = ["Source"]


class Source(Protocol):
    """The frames of a recording in its order, some at a time, to be gone through once."""

    @property
    def name(self) -> str:
        """Of the dialect."""

    @property
    def wraps(self) -> int:
        """How often the clock started again and was carried on; right when the last table has come."""

    def tables(self) -> Iterator[FrameTable]:
        """Some frames after the others.

        Raises:
            RecordingError: what follows cannot be read.
        """

    def outcome(self) -> Read:
        """What else the reader found out, without frames; right only when the last table has come."""
