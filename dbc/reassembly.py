"""Messages of ISO-TP put together again from a recording, by one who only listens.

Nothing is asked for and no time is kept but that of the frames. A message whose frames were lost comes out as far as
it goes, marked as incomplete with the number of missing bytes; frames that belong to nothing are counted.

Standard: ISO 15765-2:2016 §9.6 and §9.8.3 (unexpected frames).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from dbc.errors import BadPci
from dbc.pci import ConsecutiveFrame, FirstFrame, FlowControl, SingleFrame, parse_pci
from dbc.table import NO_MESSAGE

if TYPE_CHECKING:
    from dbc.table import FrameRow, FrameTable

__all__ = ["PAUSE_NS", "Ending", "Payload", "Reassembler", "Reassembly", "reassemble"]

PAUSE_NS: Final = 2_000_000_000
"""Silence after which a message counts as broken off.

N_Cr is 1 s; stamps of whole seconds can make 1 s look like 2.
"""


class Ending(StrEnum):
    """How a message ended."""

    COMPLETE = "complete"
    SEQUENCE = "sequence"
    """A consecutive frame is missing."""
    ABORTED = "aborted"
    """A new message began on the same identifier."""
    PAUSE = "pause"
    """Nothing came for too long, or the clock went back."""
    CUT = "cut"
    """The recording ended."""


@dataclass(frozen=True, slots=True)
class Payload:
    """One message as far as it was recorded.

    Args:
        t_ns: time of its first frame.
        end_ns: time of its last recorded frame.
        key: identifier, with bit 31 for one of 29 bits.
        data: the bytes that are there, without gaps from the first one on.
        missing: bytes announced and not there.
        frames: CAN frames that it came in.
    """

    t_ns: int
    end_ns: int
    key: int
    channel: int
    data: bytes
    missing: int
    frames: int
    ending: Ending = Ending.COMPLETE

    @property
    def can_id(self) -> int:
        """The identifier without flag bits."""
        return self.key & 0x1FFF_FFFF

    @property
    def complete(self) -> bool:
        """Whether all announced bytes are there."""
        return self.missing == 0


@dataclass(frozen=True, slots=True)
class Reassembly:
    """What a recording holds in ISO-TP messages.

    Args:
        payloads: in the order of their first frames.
        stray: consecutive frames without a first one.
        rejected: frames that are no ISO-TP.
        repeated: consecutive frames recorded twice.
    """

    payloads: tuple[Payload, ...]
    stray: int = 0
    rejected: int = 0
    repeated: int = 0


class _Open:
    """A message that has begun."""

    __slots__ = ("data", "end_ns", "frames", "last", "length", "sequence", "t_ns")

    def __init__(self, t_ns: int, frame: FirstFrame) -> None:
        self.t_ns = self.end_ns = t_ns
        self.length = frame.length
        self.data = bytearray(frame.data)
        self.sequence = 1
        self.frames = 1
        self.last = b""


class Reassembler:
    """Takes the frames of one identifier on one bus and gives messages.

    Args:
        key: identifier, with bit 31 for one of 29 bits.
        channel: index of the bus.
        pause_ns: silence after which a message counts as broken off.
    """

    def __init__(self, key: int, channel: int = 0, *, pause_ns: int = PAUSE_NS) -> None:
        self.key = key
        self.channel = channel
        self.pause_ns = pause_ns
        self.stray = 0
        self.rejected = 0
        self.repeated = 0
        self._open: _Open | None = None

    def _close(self, ending: Ending) -> list[Payload]:
        begun, self._open = self._open, None
        if begun is None:
            return []
        data = bytes(begun.data[: begun.length])
        missing = begun.length - len(data)
        return [Payload(begun.t_ns, begun.end_ns, self.key, self.channel, data, missing, begun.frames, ending)]

    def feed(self, t_ns: int, data: bytes) -> list[Payload]:
        """Takes one frame; returns what it ended: nothing, a message, or a broken message and a whole one."""
        try:
            frame = parse_pci(data)
        except BadPci:
            self.rejected += 1
            return []
        if isinstance(frame, FlowControl):
            return []
        if isinstance(frame, ConsecutiveFrame):
            return self._consecutive(t_ns, frame)
        out = self._close(Ending.ABORTED)
        if isinstance(frame, SingleFrame):
            out.append(Payload(t_ns, t_ns, self.key, self.channel, frame.data, 0, 1))
        else:
            self._open = _Open(t_ns, frame)
            if len(frame.data) >= frame.length:
                out += self._close(Ending.COMPLETE)
        return out

    def _consecutive(self, t_ns: int, frame: ConsecutiveFrame) -> list[Payload]:
        begun = self._open
        if begun is None:
            self.stray += 1
            return []
        if not 0 <= t_ns - begun.end_ns <= self.pause_ns:
            self.stray += 1
            return self._close(Ending.PAUSE)
        if frame.sequence != begun.sequence:
            if frame.sequence == begun.sequence - 1 & 0x0F and frame.data == begun.last:
                self.repeated += 1
                return []
            self.stray += 1
            return self._close(Ending.SEQUENCE)
        begun.data += frame.data
        begun.sequence = begun.sequence + 1 & 0x0F
        begun.last = frame.data
        begun.end_ns = t_ns
        begun.frames += 1
        return self._close(Ending.COMPLETE) if len(begun.data) >= begun.length else []

    def finish(self) -> list[Payload]:
        """What is left when no more frames come."""
        return self._close(Ending.CUT)


def reassemble(table: FrameTable, *, pause_ns: int = PAUSE_NS) -> Reassembly:
    """Puts the messages of all identifiers of a table together, each identifier and bus by itself.

    Args:
        table: frames in the order in which they were on the bus; give only those that carry ISO-TP.
        pause_ns: silence after which a message counts as broken off.
    """
    listeners: dict[tuple[int, int], Reassembler] = {}
    payloads: list[Payload] = []
    keys = table.key.tolist()
    row: FrameRow
    for key, row in zip(keys, table.rows(), strict=True):
        if row.flags & NO_MESSAGE:
            continue
        listener = listeners.get((key, row.channel))
        if listener is None:
            listener = listeners[key, row.channel] = Reassembler(key, row.channel, pause_ns=pause_ns)
        payloads += listener.feed(row.t_ns, row.data)
    for listener in listeners.values():
        payloads += listener.finish()
    payloads.sort(key=lambda payload: payload.t_ns)
    return Reassembly(
        tuple(payloads),
        sum(listener.stray for listener in listeners.values()),
        sum(listener.rejected for listener in listeners.values()),
        sum(listener.repeated for listener in listeners.values()),
    )
