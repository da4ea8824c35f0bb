"""What the agent has measured and the service has not yet acknowledged. No I/O."""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["Spool"]

MAX_BYTES: Final = 64_000_000
"""More than an hour of a hundred signals at 20 Hz."""


class Spool:
    """Numbered blocks of one (stream, epoch), oldest first; bounded, the oldest go first and are counted."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._blocks: deque[bytes] = deque()
        self._bytes = 0
        self.first = 0
        self.next = 0
        self.lost = 0

    def add(self, block: bytes) -> None:
        """Takes in the block numbered :attr:`next`."""
        self._blocks.append(block)
        self._bytes += len(block)
        self.next += 1
        while self._bytes > self._max_bytes:
            self._drop()
            self.lost += 1

    def acknowledge(self, next_seq: int) -> None:
        """Forgets every block below a number."""
        while self._blocks and self.first < next_seq:
            self._drop()

    def from_seq(self, seq: int) -> tuple[int, bytes] | None:
        """The first block at or above a number that is still here, with its number."""
        index = max(seq, self.first) - self.first
        return (self.first + index, self._blocks[index]) if index < len(self._blocks) else None

    def __len__(self) -> int:
        return len(self._blocks)

    def _drop(self) -> None:
        self._bytes -= len(self._blocks.popleft())
        self.first += 1
