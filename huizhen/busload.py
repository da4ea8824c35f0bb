"""How full a CAN bus is: the time that its frames take on the wire, over the last second.

Bits of a frame are counted from its format; stuff bits depend on the content and are taken as a tenth, so that the load
is an estimate. Standard: ISO 11898-1:2015 §10.4.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diag.frames import Frame

__all__ = ["BusLoad", "seconds_on_wire"]

_STUFFING: Final = 1.1
_CLASSIC_BITS: Final = 34
_CLASSIC_TAIL: Final = 13
_EXTENDED_BITS: Final = 20
_FD_ARBITRATION: Final = 17
_FD_EXTENDED_BITS: Final = 19
_FD_DATA_BITS: Final = 5
_FD_TAIL: Final = 12
_FD_CHECK_BITS: Final = (28, 33)
_FD_SHORT: Final = 16
_WINDOW_S: Final = 1.0


def seconds_on_wire(frame: Frame, bitrate: int, data_bitrate: int | None = None) -> float:
    """How long a frame occupies the bus, with the pause behind it.

    Args:
        frame: classic or CAN FD; an FD frame is taken to switch to ``data_bitrate``.
        bitrate: bit/s of the arbitration phase.
        data_bitrate: bit/s of the data phase; None = as the other.
    """
    data_bits = 0 if frame.remote else 8 * len(frame.data)
    if not frame.fd:
        stuffed = _CLASSIC_BITS + (_EXTENDED_BITS if frame.extended else 0) + data_bits
        return (stuffed * _STUFFING + _CLASSIC_TAIL) / bitrate
    arbitration = _FD_ARBITRATION + (_FD_EXTENDED_BITS if frame.extended else 0)
    check_bits = _FD_CHECK_BITS[len(frame.data) > _FD_SHORT]
    fast = (_FD_DATA_BITS + data_bits) * _STUFFING + check_bits
    return (arbitration * _STUFFING + _FD_TAIL) / bitrate + fast / (data_bitrate or bitrate)


@dataclass(slots=True)
class BusLoad:
    """Frames and load of the last second.

    Args:
        bitrate: bit/s; None = unknown, then only frames are counted.
        data_bitrate: of CAN FD's data phase.
    """

    bitrate: int | None = None
    data_bitrate: int | None = None
    _batches: deque[tuple[float, int, float]] = field(default_factory=deque)
    _known: dict[tuple[int, bool, bool, bool], float] = field(default_factory=dict)

    def take(self, frames: Iterable[Frame], now_s: float) -> None:
        """Frames that have come since the last call, at ``now_s`` of any steady clock."""
        count, wire_s, known = 0, 0.0, self._known
        for frame in frames:
            count += 1
            if self.bitrate:
                key = len(frame.data), frame.extended, frame.fd, frame.remote
                seconds = known.get(key)
                if seconds is None:
                    seconds = known[key] = seconds_on_wire(frame, self.bitrate, self.data_bitrate)
                wire_s += seconds
        self._batches.append((now_s, count, wire_s))
        self._forget(now_s)

    def _forget(self, now_s: float) -> None:
        while self._batches and self._batches[0][0] <= now_s - _WINDOW_S:
            self._batches.popleft()

    def frames_per_s(self, now_s: float) -> int:
        """Frames of the last second."""
        self._forget(now_s)
        return sum(count for _, count, _ in self._batches)

    def percent(self, now_s: float) -> float | None:
        """Load of the last second; None without a bit rate."""
        if not self.bitrate:
            return None
        self._forget(now_s)
        return min(100.0, 100.0 * sum(seconds for *_, seconds in self._batches) / _WINDOW_S)
