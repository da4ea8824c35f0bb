"""What this laptop keeps back from a room, whatever the service says: positions, watchers from elsewhere, long keeping.

The settings ``room.position``, ``room.regions`` and ``room.retention-days`` (``huizhen config``). Positions are taken
out here, before anything is sent; the service is told of the settings and takes out what should come all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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

    from consult.messages import Event
    from dbc.database import Database
    from diag.asked import AskedStream
    from diag.frames import Frame
    from diag.live import LiveStream
    from diag.samples import SampleBlock, StreamSchema
    from diag.tape import Tape

__all__ = ["PlacelessStream", "PositionGate", "RoomPrivacy", "load_room_privacy"]


@dataclass(slots=True)
class PositionGate:
    """Whether the technician has withdrawn the positions of a room that runs: then none leaves this laptop.

    Said in the terminal it shuts at once, with or without a line; said elsewhere, when the room tells of it.
    """

    is_shut: bool = False

    def take(self, event: Event) -> None:
        """Heeds what the room tells, also again after a restart of this program."""
        if event.kind == "position" and isinstance(withdrawn := event.body.get("withdrawn"), bool):
            self.is_shut = withdrawn


@dataclass(frozen=True, slots=True)
class RoomPrivacy:
    """The settings.

    Args:
        position: ``off``, ``coarse`` (to a hundredth of a degree) or ``on``.
        regions: from where the room may be watched; empty: as the service says.
        retention_days: how long its record is kept; None: as the service says.
        gate: shut while the technician withholds the positions of the room, whatever the setting says.
    """

    position: str = "off"
    regions: tuple[str, ...] = ()
    retention_days: int | None = None
    gate: PositionGate = field(default_factory=PositionGate, compare=False)

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
        if not any(places):
            return stream
        if self.position == "on":
            return PlacelessStream(stream, [False] * len(places), [False] * len(places), places, self.gate)
        rounded = [
            self.position == "coarse" and is_place and is_degrees(one.name, one.unit)
            for one, is_place in zip(signals, places, strict=True)
        ]
        return PlacelessStream(stream, places, rounded, rounded, self.gate)

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
            is_open = self.position == "on" and not self.gate.is_shut
            kept = frames if is_open else frames_without(frames, keys)
            if kept:
                yield kept


class PlacelessStream:
    """A stream of samples without its positions.

    Args:
        stream: as it is measured.
        places: columns that go; they are not announced.
        rounded: columns of them that are announced all the same, and rounded.
        withheld: announced columns that have no value while the gate is shut.
        gate: of the room.
    """

    def __init__(
        self,
        stream: LiveStream | AskedStream,
        places: list[bool],
        rounded: list[bool],
        withheld: list[bool],
        gate: PositionGate,
    ) -> None:
        import numpy as np

        self._stream, self._gate = stream, gate
        self._rounded, self._withheld = np.array(rounded, dtype=np.bool_), np.array(withheld, dtype=np.bool_)
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
            if self._gate.is_shut:
                values[self._withheld] = np.nan
                valid &= ~self._withheld
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
