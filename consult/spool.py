"""What the agent has measured and the service has not yet acknowledged, in memory and, given files, on disk.

Blocks are numbered per lane: one (epoch, stream). All of them share one limit; beyond it the oldest go and are counted.
"""

from __future__ import annotations

from array import array
from collections import deque
from typing import TYPE_CHECKING, Final

from consult.rawframes import encode_raw, split_frames
from consult.wire import encode_samples
from diag.samples import SampleBlock

if TYPE_CHECKING:
    from collections.abc import Callable

    from consult.spoolfiles import SegmentFiles
    from diag.frames import Frame

__all__ = ["Lane", "Spool", "store_block"]

MAX_MEMORY_BYTES: Final = 64_000_000
"""More than an hour of a hundred signals at 20 Hz."""

_CACHE_BYTES: Final = 8_000_000
"""What stays in memory of blocks that are on disk as well."""

_COMPACT: Final = 4096


class Lane:
    """The blocks of one (epoch, stream): ``first`` to ``next - 1``, perhaps with holes."""

    def __init__(self, epoch: int, stream: int) -> None:
        self.epoch = epoch
        self.stream = stream
        self.first = 0
        self.next = 0
        self.lost = 0
        self.held: dict[int, bytes] = {}
        self._base = 0
        self._places = array("Q")

    def __len__(self) -> int:
        return self.next - self.first

    def place(self, seq: int) -> int:
        """Where on disk a block is; 0 = nowhere."""
        return self._places[seq - self._base] if self._base <= seq < self.next else 0

    def put(self, seq: int, place: int) -> None:
        """Notes a block's place; numbers only grow, and one that is left out is a hole."""
        if not self._places and self.next == 0:
            self.first = self.next = self._base = seq
        while self.next < seq:
            self._places.append(0)
            self.next += 1
        self._places.append(place)
        self.next = seq + 1

    def skip_to(self, seq: int) -> None:
        """Goes on counting at a number, if it is higher; what was numbered below it here is lost."""
        if seq > self.next:
            self.lost += len(self)
            self.held.clear()
            self.first = self.next = self._base = seq
            self._places = array("Q")

    def forget_below(self, seq: int) -> None:
        """Everything below a number is settled."""
        seq = min(seq, self.next)
        for number in range(self.first, seq):
            self.held.pop(number, None)
        self.first = max(self.first, seq)
        if self.first - self._base > _COMPACT:
            del self._places[: self.first - self._base]
            self._base = self.first


class Spool:
    """All lanes of one agent, oldest epoch first.

    Args:
        files: where blocks are kept on disk too; what is there already is taken in.
        on_trouble: told once when the disk refuses (the reason), and None when it takes blocks again.
    """

    def __init__(
        self,
        files: SegmentFiles | None = None,
        *,
        max_memory_bytes: int = MAX_MEMORY_BYTES,
        on_trouble: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        self.lanes: list[Lane] = []
        self._files = files
        self._max_memory_bytes = max_memory_bytes
        self._on_trouble = on_trouble
        self._is_troubled = False
        self._memory_bytes = 0
        self._order: deque[tuple[Lane, int, int]] = deque()
        self._last_in: dict[int, dict[Lane, int]] = {}
        if files is not None:
            for place, head, _ in files.load():
                lane = self.lane(head.epoch, head.stream)
                if head.seq >= lane.next:
                    self._note(lane, head.seq, place)

    @property
    def lost(self) -> int:
        """Blocks that went unacknowledged because there was no more room."""
        return sum(lane.lost for lane in self.lanes)

    def __len__(self) -> int:
        return sum(len(lane) for lane in self.lanes)

    def lane(self, epoch: int, stream: int) -> Lane:
        """The lane of an epoch and a stream, made if it is new."""
        for lane in self.lanes:
            if lane.epoch == epoch and lane.stream == stream:
                return lane
        lane = Lane(epoch, stream)
        self.lanes.append(lane)
        return lane

    def add(self, lane: Lane, block: bytes) -> None:
        """Takes in the block numbered ``lane.next``: on disk first, then in memory."""
        seq, place = lane.next, 0
        if self._files is not None:
            try:
                place = self._files.append(block)
                self._tell(None)
            except OSError as error:
                if not self._is_troubled:
                    self._tell(error.strerror or str(error))
        self._note(lane, seq, place)
        lane.held[seq] = block
        self._memory_bytes += len(block)
        self._order.append((lane, seq, len(block)))
        self._trim()

    def _tell(self, reason: str | None) -> None:
        if (reason is not None) != self._is_troubled:
            self._is_troubled = reason is not None
            self._on_trouble(reason)

    def _note(self, lane: Lane, seq: int, place: int) -> None:
        lane.put(seq, place)
        if place:
            self._last_in.setdefault(place >> 32, {})[lane] = seq

    def _trim(self) -> None:
        limit = self._max_memory_bytes if self._is_troubled or self._files is None else _CACHE_BYTES
        while self._memory_bytes > limit and self._order:
            lane, seq, size = self._order.popleft()
            self._memory_bytes -= size
            if lane.held.pop(seq, None) is not None and not lane.place(seq) and seq >= lane.first:
                lane.lost += 1
                if seq == lane.first:
                    lane.forget_below(seq + 1)
        while self._files is not None and self._files.is_overfull:
            oldest = self._files.segments[0]
            for lane, last in self._last_in.pop(oldest, {}).items():
                lane.lost += max(0, last + 1 - lane.first)
                lane.forget_below(last + 1)
            self._files.drop(oldest)

    def acknowledge(self, lane: Lane, next_seq: int) -> None:
        """Forgets every block of a lane below a number; segments that nobody needs any more are deleted."""
        lane.forget_below(next_seq)
        while self._order and self._order[0][1] < self._order[0][0].first:
            self._memory_bytes -= self._order.popleft()[2]
        if self._files is None:
            return
        for number in self._files.segments[:-1]:
            if any(last >= one.first for one, last in self._last_in.get(number, {}).items()):
                break
            self._last_in.pop(number, None)
            self._files.drop(number)

    def from_seq(self, lane: Lane, seq: int) -> tuple[int, bytes] | None:
        """The first block of a lane at or above a number that is still here, with its number."""
        for number in range(max(seq, lane.first), lane.next):
            block = lane.held.get(number)
            if block is None and self._files is not None and (place := lane.place(number)):
                block = self._files.read(place)
            if block is not None:
                return number, block
        return None

    def sync(self) -> None:
        """Has the disk keep what was written; may run in a thread.

        Raises:
            OSError: it does not.
        """
        if self._files is not None:
            self._files.sync()

    def close(self) -> None:
        """Closes the files."""
        if self._files is not None:
            self._files.close()


def store_block(spool: Spool, lane: Lane, measured: SampleBlock | tuple[Frame, ...]) -> None:
    """One tick of signals, or the frames since the last, as the lane's next blocks."""
    if isinstance(measured, SampleBlock):
        data = encode_samples(
            stream=lane.stream,
            epoch=lane.epoch,
            seq=lane.next,
            t_us=measured.t_ns // 1000,
            values=measured.values,
            valid=measured.valid,
        )
        spool.add(lane, data)
        return
    for run in split_frames(measured):
        spool.add(lane, encode_raw(run, stream=lane.stream, epoch=lane.epoch, seq=lane.next))
