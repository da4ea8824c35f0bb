"""What this laptop keeps back from a room, whatever the service says: positions, watchers from elsewhere, long keeping.

The settings ``room.position``, ``room.regions`` and ``room.retention-days`` (``huizhen config``). Positions are taken
out here, before anything is sent; the service is told of the settings and takes out what should come all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from consult.positions import (
    coarse_values,
    frames_without,
    is_degrees,
    is_position,
    is_position_frame,
    position_keys,
    tree_without,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from dbc.database import Database
    from diag.asked import AskedStream
    from diag.frames import Frame
    from diag.live import LiveStream
    from diag.samples import SampleBlock, StreamSchema
    from diag.tape import Tape

__all__ = ["PlacelessStream", "RoomPrivacy", "load_room_privacy"]


@dataclass(frozen=True, slots=True)
class RoomPrivacy:
    """The settings.

    Args:
        position: ``off``, ``coarse`` (to a hundredth of a degree) or ``on``.
        regions: from where the room may be watched; empty: as the service says.
        retention_days: how long its record is kept; None: as the service says.
    """

    position: str = "off"
    regions: tuple[str, ...] = ()
    retention_days: int | None = None

    def allows(self) -> dict[str, Any]:
        """What the service is told, beside the policy of requests."""
        told: dict[str, Any] = {"position": self.position}
        if self.regions:
            told["regions"] = list(self.regions)
        if self.retention_days is not None:
            told["retention_days"] = self.retention_days
        return told

    def stream(self, stream: LiveStream | AskedStream) -> LiveStream | AskedStream | PlacelessStream:
        """The stream without what is kept back; the very same where nothing is."""
        signals = stream.schema.signals
        places = [is_position(signal.name, signal.unit) for signal in signals]
        if self.position == "on" or not any(places):
            return stream
        rounded = [
            self.position == "coarse" and is_place and is_degrees(one.name, one.unit)
            for one, is_place in zip(signals, places, strict=True)
        ]
        return PlacelessStream(stream, places, rounded)

    def report(self, report: dict[str, Any]) -> dict[str, Any]:
        """The report without what is kept back."""
        kept: dict[str, Any] = tree_without(report, self.position)
        return kept

    def tape(self, tape: Tape, databases: Iterable[Database]) -> Tape:
        """The tape with nothing in the frames that are kept back; they stay in their places, which the tape counts."""
        if self.position == "on":
            return tape
        keys = position_keys((*databases, *tape.databases))
        frames = [
            replace(one, data=bytes(len(one.data))) if is_position_frame(one, keys) else one for one in tape.frames
        ]
        return replace(tape, frames=frames)

    async def frames(
        self, source: AsyncIterator[tuple[Frame, ...]], databases: Iterable[Database]
    ) -> AsyncIterator[tuple[Frame, ...]]:
        """Raw frames without those that are kept back."""
        keys = position_keys(databases)
        async for frames in source:
            kept = frames if self.position == "on" else frames_without(frames, keys)
            if kept:
                yield kept


class PlacelessStream:
    """A stream of samples without its positions; their columns are not announced, but for those that are rounded."""

    def __init__(self, stream: LiveStream | AskedStream, places: list[bool], rounded: list[bool]) -> None:
        import numpy as np

        self._stream = stream
        self._rounded = np.array(rounded, dtype=np.bool_)
        self._kept = ~np.array(places, dtype=np.bool_) | self._rounded

    @property
    def schema(self) -> StreamSchema:
        """The columns of the blocks."""
        schema = self._stream.schema
        kept = tuple(one for one, is_kept in zip(schema.signals, self._kept, strict=True) if is_kept)
        return replace(schema, signals=kept)

    async def blocks(self) -> AsyncIterator[SampleBlock]:
        """Blocks until the link ends.

        Raises:
            LinkLost: the adapter went away.
        """
        import numpy as np

        async for block in self._stream.blocks():
            values = block.values.copy()
            values[self._rounded] = coarse_values(values[self._rounded])
            valid = block.valid & ~(self._rounded & np.isnan(values))
            yield replace(block, values=values[self._kept], valid=valid[self._kept])


def load_room_privacy() -> RoomPrivacy:
    """What the settings say.

    Raises:
        BadSettings: they make no sense. Nothing is opened then.
    """
    from huizhen.settings import load_settings

    settings = load_settings()
    days = settings.get("room.retention-days")
    return RoomPrivacy(
        str(settings.get("room.position", "off")),
        tuple(str(settings.get("room.regions", "")).replace(",", " ").split()),
        int(days) if days is not None else None,
    )
