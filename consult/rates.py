"""How much may be under way on a line, and what to send when that is less than there is.

No I/O and no clock: bytes and seconds in, decisions out. TCP tells neither how full the network's own queues are nor
how old what arrives is, so both ends measure it themselves: a ping goes out behind the data, its echo says when all of
that has arrived. As long as echoes come back nearly as quickly as they can, more may be under way; when they grow old,
less. So what is sent next is never stuck behind seconds of what is stale by then.
"""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["EnvelopeClock", "Pacer"]

_WINDOW_AT_FIRST: Final = 16_000
_SMALLEST_WINDOW: Final = 8_000
_LARGEST_WINDOW: Final = 4_000_000
_QUEUE_AIM_S: Final = 0.25
"""So much longer than its shortest may an echo take: the queues that our own bytes make."""

_SHORTEST_FORGET_S: Final = 30.0
"""So old, the shortest echo may be that of another path: the line is emptied for a moment and measured again."""

_CAREFUL_GROWTH: Final = 8
_PING_BYTES: Final = 16_000
_PING_S: Final = 0.5
_RATE_SHARE: Final = 0.5
"""Of a thin line's rate that envelopes may take; the rest is for the truth."""

_SLOWEST_S: Final = 0.35
_QUICKEST_S: Final = 0.1


class Pacer:
    """The bytes that may be under way on one connection.

    Attributes:
        rtt_s: of the last echo; None before the first.
        rate_bytes_s: what the line was seen to carry while it was full; 0 before that.
    """

    def __init__(self) -> None:
        self.window = _WINDOW_AT_FIRST
        self.rtt_s: float | None = None
        self.rate_bytes_s = 0.0
        self._sent = 0
        self._arrived = 0
        self._pinged = 0
        self._pinged_s = float("-inf")
        self._pings: deque[tuple[int, int, float, bool]] = deque()
        self._tokens = 0
        self._shortest_s = float("inf")
        self._shortest_at_s = 0.0
        self._echo_s = 0.0
        self._cut_s = float("-inf")
        self._emptying_until_s: float | None = None
        self._window_before = 0

    @property
    def under_way(self) -> int:
        """Bytes sent of which no echo says yet that they arrived."""
        return self._sent - self._arrived

    @property
    def is_open(self) -> bool:
        """Whether more may be sent now."""
        return self.under_way < self.window

    def note_sent(self, size: int) -> None:
        """So many bytes went out."""
        self._sent += size

    def next_ping(self, now_s: float) -> int | None:
        """The token of a ping that should go out now; None while none is due."""
        fresh = self._sent - self._pinged
        step = min(_PING_BYTES, self.window // 4)
        late = now_s - self._pinged_s >= _PING_S
        if fresh < step and not (late and (fresh or not self._pings)):
            return None
        self._tokens += 1
        self._pings.append((self._tokens, self._sent, now_s, self.under_way >= self.window // 2))
        self._pinged, self._pinged_s = self._sent, now_s
        return self._tokens

    def note_echo(self, token: int, now_s: float) -> None:
        """An echo came back; one that was never asked for is ignored."""
        if not self._pings or not self._pings[0][0] <= token <= self._pings[-1][0]:
            return
        while self._pings[0][0] < token:
            self._pings.popleft()
        _, sent, sent_s, was_full = self._pings.popleft()
        arrived, gap_s = sent - self._arrived, now_s - max(self._echo_s, sent_s)
        self._arrived, self._echo_s = sent, now_s
        self.rtt_s = rtt_s = now_s - sent_s
        if rtt_s <= self._shortest_s:
            self._shortest_s, self._shortest_at_s = rtt_s, now_s
        if was_full and gap_s > 0:
            seen = arrived / gap_s
            self.rate_bytes_s = seen if not self.rate_bytes_s else 0.8 * self.rate_bytes_s + 0.2 * seen
        self._steer(rtt_s - self._shortest_s, arrived, now_s, grow=was_full)

    def _steer(self, queue_s: float, arrived: int, now_s: float, *, grow: bool) -> None:
        rtt_s = self.rtt_s or 0.0
        if self._emptying_until_s is not None:
            if now_s >= self._emptying_until_s:
                self._shortest_s, self._shortest_at_s = rtt_s, now_s
                self.window, self._emptying_until_s = self._window_before, None
        elif now_s - self._shortest_at_s > _SHORTEST_FORGET_S:
            self._window_before, self.window = self.window, _SMALLEST_WINDOW // 2
            self._emptying_until_s = now_s + 2 * rtt_s
        elif queue_s < _QUEUE_AIM_S:
            if grow:
                # A line that was full before is near its limit again; one that never was is far from it.
                more = arrived if self._cut_s < 0 else arrived // _CAREFUL_GROWTH
                self.window = min(_LARGEST_WINDOW, self.window + more)
        elif queue_s > 2 * _QUEUE_AIM_S and now_s - self._cut_s > rtt_s:
            # Once per round trip: the echoes under way tell of the same queue.
            self._cut_s = now_s
            self.window = max(_SMALLEST_WINDOW, int(self.window * max(0.5, _QUEUE_AIM_S / queue_s)))


class EnvelopeClock:
    """When a line counts as thin, and how often it then gets an envelope of now.

    A line is thin once blocks have waited for it for longer than half a second, until hardly one waits any more.
    """

    THIN_AFTER_S: Final = 0.5
    THICK_BELOW_S: Final = 0.15

    def __init__(self) -> None:
        self.is_thin = False
        self._due_s = float("-inf")

    def note_wait(self, waiting_s: float) -> None:
        """How old the oldest block is that waits to be sent; 0 when none does."""
        if waiting_s > self.THIN_AFTER_S:
            self.is_thin = True
        elif waiting_s < self.THICK_BELOW_S:
            self.is_thin = False

    def is_due(self, now_s: float) -> bool:
        """Whether an envelope should go out now."""
        return self.is_thin and now_s >= self._due_s

    def note_envelope(self, size: int, rate_bytes_s: float, now_s: float) -> None:
        """Envelopes of so many bytes went out; the next ones wait so that the truth behind them moves on too."""
        wait_s = size / (_RATE_SHARE * rate_bytes_s) if rate_bytes_s > 0 else _SLOWEST_S
        self._due_s = now_s + min(_SLOWEST_S, max(_QUICKEST_S, wait_s))
