"""What a CAN frame is, and what every source of frames offers: an adapter, a recording, a simulated car.

A :class:`FrameLink` may have several readers at once: every call of :meth:`FrameLink.frames` is a subscription of its
own with its own bounded queue, so that a slow recorder takes nothing from the diagnostics.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from diag.errors import LinkLost
    from diag.guard import TransmitGuard
    from diag.vehiclereport import LinkInfo

__all__ = ["CAPACITY", "Frame", "FrameLink", "FrameSubscription"]

CAPACITY: Final = 16_384
"""Frames that wait for a reader: four seconds of a full 500 kbit/s bus."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One CAN or CAN FD frame.

    Args:
        t_ns: UTC nanoseconds since the Unix epoch, as the adapter or this machine stamped it; 0 on a frame to send.
        tx: this machine sent it.
    """

    can_id: int
    data: bytes
    t_ns: int = 0
    extended: bool = False
    fd: bool = False
    remote: bool = False
    error: bool = False
    channel: str = ""
    tx: bool = False


class FrameSubscription:
    """One reader's view of a link: an async iterator of frames that ends when it or the link is closed.

    When nobody reads, the oldest frames go; :attr:`dropped` counts them. Closing is by ``with`` or :meth:`close`; a
    subscription that is no longer referenced closes itself.
    """

    def __init__(self, *, capacity: int, accept: Callable[[Frame], bool] | None, is_sent_wanted: bool) -> None:
        self.dropped = 0
        self._accept = accept
        self._is_sent_wanted = is_sent_wanted
        self._frames: deque[Frame] = deque(maxlen=capacity)
        self._waiter: asyncio.Future[None] | None = None
        self._is_closed = False
        self._error: LinkLost | None = None

    @property
    def is_closed(self) -> bool:
        """No frame will be added any more."""
        return self._is_closed

    def push(self, frame: Frame) -> None:
        """Takes a frame from the link; called on the event loop."""
        if self._is_closed or (frame.tx and not self._is_sent_wanted):
            return
        if self._accept is not None and not self._accept(frame):
            return
        if len(self._frames) == self._frames.maxlen:
            self.dropped += 1
        self._frames.append(frame)
        self._wake()

    def close(self, error: LinkLost | None = None) -> None:
        """Ends the iteration after the frames that are already here; with an error, it raises that."""
        if not self._is_closed:
            self._is_closed, self._error = True, error
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self) -> bool:
        """Waits until frames are here; False when none will come any more."""
        while not self._frames:
            if self._is_closed:
                if self._error is not None:
                    raise self._error
                return False
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return True

    async def batch(self) -> tuple[Frame, ...]:
        """All frames that are here, at least one; empty only at the end.

        Raises:
            LinkLost: the adapter went away.
        """
        await self._wait()
        frames = tuple(self._frames)
        self._frames.clear()
        return frames

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Frame:
        if not await self._wait():
            raise StopAsyncIteration
        return self._frames.popleft()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FrameLink(Protocol):
    """Something that frames come from and go to: an adapter, a recording, a simulated car."""

    info: LinkInfo

    @property
    def guard(self) -> TransmitGuard:
        """Who decides what leaves through this link."""
        ...

    def frames(
        self,
        *,
        accept: Callable[[Frame], bool] | None = None,
        capacity: int = CAPACITY,
        is_sent_wanted: bool = False,
    ) -> FrameSubscription:
        """A new, independent subscription to what arrives from now on.

        Args:
            accept: lets only some frames into the queue.
            capacity: most frames that wait for this reader.
            is_sent_wanted: whether the frames that this machine sends come too, marked ``tx``.
        """
        ...

    async def send(self, frame: Frame) -> None:
        """Sends one frame, if the guard lets it.

        Raises:
            RefusedByPolicy: the frame belongs to no exchange that the guard opened.
            LinkLost: the adapter went away, or nobody on the bus acknowledges.
        """
        ...

    async def close(self) -> None:
        """Gives the adapter back; may be called twice."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
