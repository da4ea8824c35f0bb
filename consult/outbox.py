"""What waits to be sent to one peer: bounded, so that a peer who stops reading harms nobody but itself."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

__all__ = ["Outbox"]

MAX_LIVE: Final = 100
MAX_FILL: Final = 2048
MAX_WORDS_BYTES: Final = 8_000_000


class Outbox:
    """Three queues to one websocket, most urgent first.

    *Words* (JSON) are never dropped: a peer with too many unread ones is hopeless, and :attr:`overrun` says so.
    *Live* blocks drop their oldest: the peer asks for the hole by number when it has caught up. *Fill* blocks are what
    it asked for.
    """

    def __init__(self) -> None:
        self._words: deque[str] = deque()
        self._words_bytes = 0
        self._live: deque[bytes] = deque()
        self._fill: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self.dropped = 0
        self.overrun = False
        self._stopped = False

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

    @property
    def fill_room(self) -> int:
        """How many more fill blocks may be queued."""
        return MAX_FILL - len(self._fill)

    def push_fill(self, blocks: list[bytes]) -> None:
        """Queues blocks that the peer asked for, as far as there is room for them."""
        self._fill.extend(blocks[: self.fill_room])
        self._wake.set()

    def drop_live(self) -> None:
        """Forgets the live blocks not sent yet: another carrier has taken over."""
        self._live.clear()

    def stop(self) -> None:
        """Nothing more will be sent once the words queued so far are out."""
        self._stopped = True
        self._wake.set()

    async def take(self) -> str | bytes | None:
        """The next thing to send, waiting for one; None after the end."""
        while True:
            if self._words:
                text = self._words.popleft()
                self._words_bytes -= len(text)
                return text
            if self._stopped:
                return None
            if self._live:
                return self._live.popleft()
            if self._fill:
                return self._fill.popleft()
            self._wake.clear()
            await self._wake.wait()
