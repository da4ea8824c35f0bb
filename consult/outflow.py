"""What an agent sends next: the blocks as they are, or on a thin line envelopes of now and the truth behind them.

No I/O and no clock; :class:`consult.agent.Agent` is the loop around it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from consult.batches import MAX_BATCH_BLOCKS, encode_batch
from consult.rates import EnvelopeClock, Pacer
from consult.wire import SAMPLES, encode_envelope, envelope_of, kind_of, parse_samples, t_us_of

if TYPE_CHECKING:
    from consult.spool import Lane, Spool

__all__ = ["Era", "Outflow"]

_ENVELOPE_BLOCKS: Final = 100
"""An envelope after a long cut stands for the newest only; the truth behind it draws the rest."""

_ENVELOPE_SPAN_US: Final = 1_000_000
_BATCH_BYTES: Final = 60_000
"""Of blocks before they are deflated."""

_SMALL_BATCH_BYTES: Final = 6_000


@dataclass(slots=True)
class Era:
    """Everything numbered under one epoch.

    Args:
        schemas: of its streams, as JSON.
        lanes: by stream.
    """

    epoch: int
    schemas: list[dict[str, Any]]
    lanes: dict[int, Lane] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        """Blocks that are not acknowledged yet."""
        return sum(len(lane) for lane in self.lanes.values())


class Outflow:
    """One connection's way through an era's lanes.

    Args:
        wanted: the block that the service wants next, by stream.
    """

    def __init__(self, spool: Spool, era: Era, wanted: dict[int, int], pacer: Pacer) -> None:
        self.era = era
        self.pacer = pacer
        self.clock = EnvelopeClock()
        self.envelopes = 0
        self.batches = 0
        self._spool = spool
        self._queue: list[bytes] = []
        self._sent = {stream: wanted.get(stream, 0) for stream in era.lanes}
        self._shown = dict(self._sent)
        # Raw frames go last: they are many, and nobody looks at them curve by curve.
        raw = {entry["stream"] for entry in era.schemas if entry.get("kind") == "raw"}
        self._order = sorted(era.lanes, key=lambda stream: (stream in raw, stream))
        self._raw = raw
        for stream, lane in era.lanes.items():
            if self._sent[stream] > lane.next:
                lane.skip_to(self._sent[stream])

    def oldest_wait_s(self, now_us: int) -> float:
        """How long the oldest block that was not sent yet has waited."""
        oldest = now_us
        for stream in self._order:
            if stream not in self._raw and (entry := self._peek(stream)) is not None:
                oldest = min(oldest, t_us_of(entry[1]))
        return (now_us - oldest) / 1e6

    def next_message(self, now_s: float, now_us: int) -> bytes | None:
        """What goes out now, or None when there is nothing or the line has enough under way."""
        if not self.pacer.is_open:
            if not self.clock.is_thin:
                self.clock.note_wait(self.oldest_wait_s(now_us))
            return None
        if self.clock.is_thin or self.pacer.under_way == 0:
            self.clock.note_wait(self.oldest_wait_s(now_us))
        if self.clock.is_due(now_s):
            envelopes = [made for stream in self._order if (made := self._envelope(stream)) is not None]
            self.clock.note_envelope(sum(map(len, envelopes)), self.pacer.rate_bytes_s, now_s)
            self._queue = envelopes[1:]
            if envelopes:
                self.envelopes += len(envelopes)
                return envelopes[0]
        if self._queue:
            return self._queue.pop(0)
        for stream in self._order:
            message = self._truth(stream)
            if message is not None:
                return message
        return None

    def _peek(self, stream: int) -> tuple[int, bytes] | None:
        return self._spool.from_seq(self.era.lanes[stream], self._sent[stream])

    def _envelope(self, stream: int) -> bytes | None:
        lane = self.era.lanes[stream]
        if stream in self._raw or lane.next <= self._shown[stream] or lane.next <= self._sent[stream]:
            return None
        first = max(self._shown[stream], self._sent[stream], lane.next - _ENVELOPE_BLOCKS)
        frames = []
        while (entry := self._spool.from_seq(lane, first)) is not None:
            frames.append(parse_samples(entry[1]))
            first = entry[0] + 1
        if not frames:
            return None
        newest_us = frames[-1].head.t_us
        frames = [frame for frame in frames if newest_us - frame.head.t_us <= _ENVELOPE_SPAN_US]
        self._shown[stream] = lane.next
        return encode_envelope(envelope_of(frames))

    def _truth(self, stream: int) -> bytes | None:
        entry = self._peek(stream)
        if entry is None:
            return None
        seq, block = entry
        blocks = [block]
        if self.clock.is_thin and kind_of(block) == SAMPLES:
            size = len(block)
            # Deflated it is half of that or less, so that the window is filled and not passed by much.
            most = min(_BATCH_BYTES, max(_SMALL_BATCH_BYTES, 2 * (self.pacer.window - self.pacer.under_way)))
            while len(blocks) < MAX_BATCH_BLOCKS and size < most:
                following = self._spool.from_seq(self.era.lanes[stream], seq + len(blocks))
                if following is None or following[0] != seq + len(blocks):
                    break
                blocks.append(following[1])
                size += len(following[1])
        self._sent[stream] = seq + len(blocks)
        if len(blocks) == 1:
            return block
        self.batches += 1
        return encode_batch(blocks)
