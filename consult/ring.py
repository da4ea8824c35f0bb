"""The last two minutes of a stream, at hand for who lacks something of them. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from consult.wire import BlockHead

__all__ = ["RING_US", "Ring"]

RING_US: Final = 120_000_000
_RING_BYTES: Final = 32_000_000


class Ring:
    """The last two minutes of one (stream, epoch), by number."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.next = 0
        self._blocks: dict[int, tuple[int, bytes]] = {}
        self._bytes = 0

    @property
    def first(self) -> int:
        """The oldest number still here; ``next`` when empty."""
        return next(iter(self._blocks), self.next)

    def add(self, head: BlockHead, data: bytes) -> bool:
        """Takes a block in; False when its number is not new."""
        if head.seq < self.next:
            return False
        self._blocks[head.seq] = (head.t_us, data)
        self._bytes += len(data)
        self.next = head.seq + 1
        while self._blocks:
            oldest = next(iter(self._blocks))
            t_us, old = self._blocks[oldest]
            if head.t_us - t_us <= RING_US and self._bytes <= _RING_BYTES:
                break
            del self._blocks[oldest]
            self._bytes -= len(old)
        return True

    def find(self, seq: int) -> bytes | None:
        """The block of a number, if it is still here."""
        entry = self._blocks.get(seq)
        return entry[1] if entry else None
