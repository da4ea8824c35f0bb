"""Live signals: the last value of each, at a steady tick, with validity by age.

:class:`SignalBoard` is the core (frames and a time in, blocks out); :class:`LiveStream` is the loop around it.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import numpy as np

from dbc.protection import find_protection
from diag.broadcast import is_diagnostic_id
from diag.samples import SampleBlock, SignalInfo, StreamSchema

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

    from dbc.database import Database
    from dbc.signals import Message, Signal
    from diag.frames import Frame, FrameLink

__all__ = ["LiveStream", "SignalBoard", "raw_frames"]

_SHORTEST_AGE_NS: Final = 500_000_000
_UNKNOWN_CYCLE_AGE_NS: Final = 3_000_000_000
_CYCLES_MISSED: Final = 3


def _age_limit_ns(message: Message, signal: Signal) -> int:
    """How long a value stays believable: three missed cycles, of all groups where the message is multiplexed."""
    if not message.cycle_time_ms:
        return _UNKNOWN_CYCLE_AGE_NS
    groups = {condition.ranges for other in message.signals for condition in other.conditions}
    rounds = max(1, len(groups)) if signal.conditions else 1
    return max(_SHORTEST_AGE_NS, _CYCLES_MISSED * rounds * message.cycle_time_ms * 1_000_000)


def _is_plumbing(message: Message, signal: Signal) -> bool:
    """Counters, checksums and group selectors say nothing about the car."""
    selectors = {condition.selector for other in message.signals for condition in other.conditions}
    return signal.name in selectors or signal.name in {f"{message.name}_Counter", f"{message.name}_Checksum"}


class SignalBoard:
    """The last value of every signal of some databases.

    Args:
        databases: the first that knows a frame decodes it.
        signals: only these, by name; None = all but counters, checksums and group selectors.
        stream: number of the stream in its schema; ``name``, ``kind`` and ``rate_hz`` stand there too.

    A frame whose checksum the database names and that does not fit is not used; :attr:`damaged` counts them.
    """

    def __init__(
        self,
        databases: Sequence[Database],
        *,
        signals: Collection[str] | None = None,
        stream: int = 0,
        name: str = "",
        kind: str = "signals",
        rate_hz: float = 0.0,
    ) -> None:
        self.damaged = 0
        self._databases = tuple(databases)
        self._protection = {
            message.name: protection
            for database in self._databases
            for message in database.messages
            if (protection := find_protection(message)) is not None and protection.checksum is not None
        }
        self._column: dict[tuple[str, str], int] = {}
        infos: list[SignalInfo] = []
        limits: list[int] = []
        for database in self._databases:
            for message in database.messages:
                for signal in message.signals:
                    key = (message.name, signal.name)
                    wanted = not _is_plumbing(message, signal) if signals is None else signal.name in signals
                    if wanted and key not in self._column:
                        self._column[key] = len(infos)
                        limits.append(_age_limit_ns(message, signal))
                        infos.append(SignalInfo(signal.name, signal.unit, message.name, signal.minimum, signal.maximum))
        self.schema = StreamSchema(stream, tuple(infos), name, kind, rate_hz)
        self._limit_ns = np.array(limits, dtype=np.int64)
        self._values = np.zeros(len(infos), dtype=np.float32)
        self._known = np.zeros(len(infos), dtype=np.bool_)
        self._seen_ns = np.zeros(len(infos), dtype=np.int64)

    def take(self, frame: Frame, now_ns: int) -> None:
        """Uses one frame that arrived at ``now_ns`` (any clock, the same as in :meth:`block`)."""
        if frame.error or frame.remote or is_diagnostic_id(frame.can_id, extended=frame.extended):
            return
        for database in self._databases:
            message = database.find_message(frame.can_id, extended=frame.extended)
            if message is None:
                continue
            protection = self._protection.get(message.name)
            if protection is not None and not protection.holds(frame.data):
                self.damaged += 1
                return
            for name, value in message.values(frame.data).items():
                at = self._column.get((message.name, name))
                if at is not None:
                    self._known[at] = value is not None
                    self._values[at] = 0.0 if value is None else value
                    self._seen_ns[at] = now_ns
            return

    def block(self, now_ns: int, t_ns: int) -> SampleBlock:
        """The board as it stands at ``now_ns``, stamped ``t_ns`` (UTC)."""
        fresh = self._known & (now_ns - self._seen_ns <= self._limit_ns)
        return SampleBlock(t_ns, self._values.copy(), fresh)


async def raw_frames(link: FrameLink, *, period_s: float = 0.05) -> AsyncIterator[tuple[Frame, ...]]:
    """What a link hears and sends, frame by frame, some of them at a time, until it ends.

    Raises:
        LinkLost: the adapter went away.
    """
    with link.frames(is_sent_wanted=True) as subscription:
        while frames := await subscription.batch():
            yield frames
            await asyncio.sleep(period_s)


class LiveStream:
    """A link's signals as blocks at a steady tick.

    Args:
        link: where the frames come from; other readers of it are not disturbed.
        databases: what decodes them.
        period_s: seconds between blocks.
        signals: only these, by name; None = all.
        stream: number of the stream; ``name`` and ``kind`` as in its schema.
    """

    def __init__(
        self,
        link: FrameLink,
        databases: Sequence[Database],
        *,
        period_s: float = 0.05,
        signals: Collection[str] | None = None,
        stream: int = 0,
        name: str = "",
        kind: str = "signals",
    ) -> None:
        self._link = link
        self._period_s = period_s
        self.board = SignalBoard(
            databases, signals=signals, stream=stream, name=name, kind=kind, rate_hz=round(1 / period_s, 3)
        )

    @property
    def schema(self) -> StreamSchema:
        """The columns of the blocks."""
        return self.board.schema

    async def blocks(self) -> AsyncIterator[SampleBlock]:
        """Blocks until the link ends.

        Raises:
            LinkLost: the adapter went away.
        """
        clock = asyncio.get_running_loop().time
        with self._link.frames() as subscription:
            due = clock() + self._period_s
            while True:
                wait = due - clock()
                if wait > 0:
                    try:
                        frames = await asyncio.wait_for(subscription.batch(), wait)
                    except TimeoutError:
                        continue
                    if not frames:
                        return
                    now_ns = int(clock() * 1e9)
                    for frame in frames:
                        self.board.take(frame, now_ns)
                    continue
                yield self.board.block(int(clock() * 1e9), time.time_ns())
                due = max(due + self._period_s, clock())
