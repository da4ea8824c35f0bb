"""What waits to be sent to one peer: bounded, so that a peer who stops reading harms nobody but itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Final

from consult.batches import encode_batch
from consult.rates import EnvelopeClock, Pacer
from consult.wire import SAMPLES, SampleFrame, encode_envelope, envelope_of, kind_of, parse_samples

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Outbox"]

MAX_LIVE: Final = 100
MAX_FILL: Final = 2048
MAX_WORDS_BYTES: Final = 8_000_000
_LAGS_BYTES: Final = 64_000
_BATCH_BYTES: Final = 30_000
"""Of blocks in one batch: a millisecond of deflating, so that nobody else waits longer for it."""

_SMALL_BATCH_BYTES: Final = 6_000
_LEVEL: Final = 1
_TICK_S: Final = 0.05
_CALM_S: Final = 2.0
"""A thin line that was asked for nothing for so long may have become a good one."""

_NAME: Final = slice(2, 8)
"""Stream and number in a block's head; with the epoch at 16 they name it."""


def _no_clock() -> float:
    return 0.0


def _name_of(block: bytes) -> bytes:
    return block[_NAME] + block[16:20]


class Outbox:
    """Queues to one websocket, most urgent first.

    *Words* (JSON) are never dropped: a peer with too many unread ones is hopeless, and :attr:`overrun` says so.
    *Live* blocks drop their oldest: the peer asks for the hole by number when it has caught up. *Fill* blocks are what
    it asked for, each once.

    While :attr:`pacer` says that the line has enough under way, blocks wait. Where they wait for long the line is thin:
    the live ones then become envelopes of now, and what the peer asks for goes as batches.
    """

    def __init__(self) -> None:
        self.pacer: Pacer | None = None
        self.clock = EnvelopeClock()
        self.dropped = 0
        self.overrun = False
        self._words: deque[str] = deque()
        self._words_bytes = 0
        self._live: deque[bytes] = deque()
        self._envelopes: dict[int, bytes] = {}
        self._fill: deque[bytes] = deque()
        self._filling: set[bytes] = set()
        self._wake = asyncio.Event()
        self._busy_s = 0.0
        self._full_since_s: float | None = None
        self._stopped = False

    @property
    def lags(self) -> bool:
        """Whether so many words wait that one worth nothing later had better not be said."""
        return self._words_bytes > _LAGS_BYTES

    def say(self, text: str) -> None:
        """Queues a JSON text."""
        self._words_bytes += len(text)
        if self._words_bytes > MAX_WORDS_BYTES:
            self.overrun = True
        else:
            self._words.append(text)
        self._wake.set()

    def push_live(self, block: bytes) -> None:
        """Queues a block of now; the oldest one waiting goes when there are too many."""
        if len(self._live) >= MAX_LIVE:
            self._live.popleft()
            self.dropped += 1
        self._live.append(block)
        self._wake.set()

    def push_envelope(self, stream: int, envelope: bytes) -> None:
        """Queues an envelope of now in place of an older one of its stream."""
        self._envelopes[stream] = envelope
        self._wake.set()

    @property
    def fill_room(self) -> int:
        """How many more fill blocks may be queued."""
        return MAX_FILL - len(self._fill)

    def push_fill(self, blocks: list[bytes]) -> None:
        """Queues blocks that the peer asked for, as far as there is room for them and they do not wait already."""
        for block in blocks[: max(0, self.fill_room)]:
            name = _name_of(block)
            if name not in self._filling:
                self._filling.add(name)
                self._fill.append(block)
        self._wake.set()

    def drop_live(self) -> None:
        """Forgets the live blocks not sent yet: another carrier has taken over."""
        self._live.clear()

    def wake(self) -> None:
        """Looks again: the line may have room now."""
        self._wake.set()

    def stop(self) -> None:
        """Nothing more will be sent once the words queued so far are out."""
        self._stopped = True
        self._wake.set()

    async def take(self, clock_s: Callable[[], float] = _no_clock) -> str | bytes | None:
        """The next thing to send, waiting for one; None after the end. ``clock_s`` only grows."""
        while True:
            if self._words:
                text = self._words.popleft()
                self._words_bytes -= len(text)
                return text
            if self._stopped:
                return None
            block = self._next_block(clock_s())
            if block is not None:
                return block
            self._wake.clear()
            if not self.clock.is_thin:
                await self._wake.wait()
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._wake.wait()

    def _next_block(self, now_s: float) -> bytes | None:
        pacer = self.pacer
        if pacer is not None:
            if not pacer.is_open:
                if self._live and not self.clock.is_thin:
                    # Of many blocks a second, those that still wait are young: the line itself tells more.
                    self._full_since_s = now_s if self._full_since_s is None else self._full_since_s
                    self.clock.note_wait(now_s - self._full_since_s)
                    self._busy_s = now_s
                return None
            self._full_since_s = None
            if self.clock.is_thin:
                return self._next_thin(pacer, now_s)
        if self._envelopes:
            return self._envelopes.pop(next(iter(self._envelopes)))
        if self._live:
            return self._live.popleft()
        return self._next_fill() if self._fill else None

    def _next_thin(self, pacer: Pacer, now_s: float) -> bytes | None:
        if self._live and self.clock.is_due(now_s):
            self._thin_out()
            self.clock.note_envelope(sum(map(len, self._envelopes.values())), pacer.rate_bytes_s, now_s)
        if self._envelopes:
            return self._envelopes.pop(next(iter(self._envelopes)))
        if self._fill:
            self._busy_s = now_s
            return self._next_fill()
        if now_s - self._busy_s > _CALM_S and pacer.under_way < pacer.window // 4:
            self.clock.is_thin = False
        return None

    def _thin_out(self) -> None:
        """The live blocks that wait become one envelope per stream; raw frames wait for a better time."""
        frames: dict[tuple[int, int], list[SampleFrame]] = {}
        for block in self._live:
            if kind_of(block) == SAMPLES:
                frame = parse_samples(block)
                frames.setdefault((frame.head.stream, frame.head.epoch), []).append(frame)
        self._live.clear()
        for (stream, _), found in frames.items():
            self._envelopes[stream] = encode_envelope(envelope_of(found))

    def _next_fill(self) -> bytes:
        block = self._fill.popleft()
        self._filling.discard(_name_of(block))
        if not self.clock.is_thin or kind_of(block) != SAMPLES:
            return block
        run, size, seq = [block], len(block), int.from_bytes(block[4:8], "little")
        most = _BATCH_BYTES
        if self.pacer is not None:  # deflated it is half of that or less
            most = min(most, max(_SMALL_BATCH_BYTES, 2 * (self.pacer.window - self.pacer.under_way)))
        while self._fill and size < most:
            following = self._fill[0]
            same = following[2:4] == block[2:4] and following[16:24] == block[16:24] and following[0] == block[0]
            if not same or int.from_bytes(following[4:8], "little") != seq + len(run):
                break
            run.append(self._fill.popleft())
            self._filling.discard(_name_of(following))
            size += len(following)
        return encode_batch(run, level=_LEVEL) if len(run) > 1 else block
