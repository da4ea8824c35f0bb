"""ISO-TP messages out of printed frames, where characters may have been lost on the adapter's serial line.

Sequence numbers say what is missing. Where the text itself shows the damage, what comes behind a gap keeps its place
and only the lost bytes are unknown; without such a sign a wrong sequence number ends the message, because the frame
may belong to another one.

Standard: ISO 15765-2:2016 §9.6.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dbc.errors import BadPci
from dbc.pci import ConsecutiveFrame, FirstFrame, FlowControl, SingleFrame, parse_pci

__all__ = ["Assembly", "EcuAnswer"]

_MOST_FRAMES_LOST = 3


@dataclass(frozen=True, slots=True)
class EcuAnswer:
    """One payload of one ECU.

    Args:
        can_id: the identifier that it came with; None where the adapter printed none.
        payload: as far as it came; lost bytes are 0.
        missing: announced bytes that are not there, those in ``lost`` among them.
        lost: indices of bytes in the middle that did not come.
    """

    can_id: int | None
    payload: bytes
    missing: int = 0
    lost: frozenset[int] = frozenset()


@dataclass(slots=True)
class _Message:
    """A message that has begun."""

    length: int
    data: bytearray
    frame_bytes: int
    sequence: int = 1
    last: bytes = b""
    lost: set[int] = field(default_factory=set)
    damaged: bool = False

    def skip(self, count: int) -> None:
        """Bytes that did not come."""
        self.lost |= set(range(len(self.data), len(self.data) + count))
        self.data += bytes(count)

    def answer(self, can_id: int) -> EcuAnswer:
        """As far as it came."""
        payload = bytes(self.data[: self.length])
        lost = frozenset(at for at in self.lost if at < self.length)
        return EcuAnswer(can_id, payload, self.length - len(payload) + len(lost), lost)


class Assembly:
    """The frames of one ECU, in the order in which they were printed.

    Args:
        can_id: its identifier.
        address_bytes: 1 with extended addressing, whose byte the caller has taken off.
    """

    def __init__(self, can_id: int, *, address_bytes: int = 0) -> None:
        self._can_id = can_id
        self._address_bytes = address_bytes
        self._open: _Message | None = None

    def takes(self, data: bytes) -> bool:
        """Whether this can be a frame of the ECU; no consecutive frame is longer than its first frame."""
        try:
            frame = parse_pci(data, address_bytes=self._address_bytes)
        except BadPci:
            return False
        is_longer = self._open is not None and len(data) > self._open.frame_bytes
        return not (is_longer and isinstance(frame, ConsecutiveFrame))

    def feed(self, data: bytes) -> list[EcuAnswer]:
        """Takes a frame that :meth:`takes`; gives the messages that it ended."""
        frame = parse_pci(data, address_bytes=self._address_bytes)
        if isinstance(frame, FlowControl):
            return []
        if isinstance(frame, ConsecutiveFrame):
            return self._consecutive(frame)
        ended = self.finish()
        if isinstance(frame, SingleFrame):
            return [*ended, EcuAnswer(self._can_id, frame.data)]
        return ended + self._begin(frame, len(data))

    def _begin(self, frame: FirstFrame, frame_bytes: int) -> list[EcuAnswer]:
        self._open = _Message(frame.length, bytearray(frame.data), frame_bytes)
        return self.finish() if len(frame.data) >= frame.length else []

    def _consecutive(self, frame: ConsecutiveFrame) -> list[EcuAnswer]:
        message = self._open
        if message is None:
            return []
        if frame.sequence != message.sequence:
            if frame.sequence == message.sequence - 1 & 0x0F and frame.data == message.last:
                return []
            gap = frame.sequence - message.sequence & 0x0F
            lost = gap * (message.frame_bytes - 1)
            if not message.damaged or gap > _MOST_FRAMES_LOST or len(message.data) + lost >= message.length:
                return self.finish()
            message.skip(lost)
        message.damaged = False
        message.sequence = frame.sequence + 1 & 0x0F
        message.last = frame.data
        message.data += frame.data
        return self.finish() if len(message.data) >= message.length else []

    def feed_damaged(self, data: bytes) -> None:
        """Takes the beginning of a consecutive frame whose end was lost with the line's."""
        message = self._open
        if message is None:
            return
        message.damaged = True
        if data and data[0] == 0x20 | message.sequence:
            known = data[1 : message.frame_bytes]
            message.data += known
            message.skip(message.frame_bytes - 1 - len(known))
            message.sequence = message.sequence + 1 & 0x0F
            message.last = b""

    def finish(self) -> list[EcuAnswer]:
        """What has begun, as far as it came."""
        message, self._open = self._open, None
        return [] if message is None else [message.answer(self._can_id)]
