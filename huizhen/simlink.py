"""A simulated car as a link, in the same process and in its own time: no thread, no bus, no waiting.

The car's clock runs as fast as the machine allows while a request is under way or the reader still needs broadcast
frames, and stands otherwise. So a thousand cars are scanned through ``diag`` in the time that one takes on a real bus.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from diag.errors import LinkLost
from diag.facts import Text
from diag.frames import CAPACITY, Frame, FrameSubscription
from diag.guard import TransmitGuard
from diag.vehiclereport import LinkInfo
from virtualbus.car import TICK_NS
from virtualbus.transport import Frame as CarFrame

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from virtualbus.car import Car

__all__ = ["CarLink"]

_BROADCAST_NS: Final = 1_300_000_000
_TICKS_AT_ONCE: Final = 8


class CarLink:
    """A :class:`~diag.frames.FrameLink` to a car of this process; to be made on the running event loop.

    Args:
        broadcast_ns: how much bus time passes by itself once somebody listens.
    """

    def __init__(self, car: Car, *, guard: TransmitGuard | None = None, broadcast_ns: int = _BROADCAST_NS) -> None:
        self.info = LinkInfo("in-process", car.vehicle.name, car.vehicle.bitrate, simulated=True)
        self._car = car
        self._guard = guard if guard is not None else TransmitGuard()
        self._subscriptions: list[weakref.ref[FrameSubscription]] = []
        self._start_ns = time.time_ns()
        self._now_ns = 0
        self._until_ns = broadcast_ns
        self._wake = asyncio.Event()
        self._is_closed = False
        self._task = asyncio.create_task(self._run())

    @property
    def guard(self) -> TransmitGuard:
        """Who decides what leaves through this link."""
        return self._guard

    def frames(
        self,
        *,
        accept: Callable[[Frame], bool] | None = None,
        capacity: int = CAPACITY,
        is_sent_wanted: bool = False,
    ) -> FrameSubscription:
        """A new, independent subscription to what arrives from now on."""
        subscription = FrameSubscription(capacity=capacity, accept=accept, is_sent_wanted=is_sent_wanted)
        self._subscriptions = [ref for ref in self._subscriptions if (one := ref()) is not None and not one.is_closed]
        self._subscriptions.append(weakref.ref(subscription))
        self._wake.set()
        return subscription

    def _publish(self, frame: Frame) -> None:
        if not frame.tx:
            self._guard.observe(frame.can_id, frame.data, extended=frame.extended)
        for ref in self._subscriptions:
            if (subscription := ref()) is not None:
                subscription.push(frame)

    def _deliver(self, frame: CarFrame) -> None:
        at_ns = self._start_ns + self._now_ns
        channel = str(frame.channel) if frame.channel else ""
        self._publish(Frame(frame.can_id, frame.data, at_ns, frame.extended, frame.fd, channel=channel))

    async def send(self, frame: Frame) -> None:
        """Sends one frame, if the guard lets it.

        Raises:
            RefusedByPolicy: the frame belongs to no exchange that the guard opened.
            LinkLost: the link is closed.
        """
        if self._is_closed:
            raise LinkLost(self.info.channel, Text("it was closed", "已关闭"))
        self._guard.check_frame(
            frame.can_id, frame.data, extended=frame.extended, is_plain=not (frame.remote or frame.error)
        )
        self._publish(Frame(frame.can_id, frame.data, self._start_ns + self._now_ns, frame.extended, frame.fd, tx=True))
        self._car.receive(CarFrame(frame.can_id, frame.data, frame.extended, frame.fd), self._now_ns)
        self._wake.set()

    async def _run(self) -> None:
        """Moves the car on while there is a reason to."""
        while not self._is_closed:
            due = self._car.next_answer_ns(self._now_ns)
            if due is None and self._now_ns >= self._until_ns:
                self._wake.clear()
                await self._wake.wait()
                continue
            for _ in range(_TICKS_AT_ONCE):
                for frame in self._car.answers(self._now_ns):
                    self._deliver(frame)
                due = self._car.next_answer_ns(self._now_ns)
                if due is not None and due <= self._now_ns + TICK_NS:
                    self._now_ns = max(self._now_ns + 1, due)
                    continue
                if due is None and self._now_ns >= self._until_ns:
                    break
                self._now_ns = (self._now_ns // TICK_NS + 1) * TICK_NS
                for frame in self._car.tick():
                    self._deliver(frame)
            await asyncio.sleep(0)

    async def close(self) -> None:
        """Stops the car; may be called twice."""
        self._is_closed = True
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        for ref in self._subscriptions:
            if (subscription := ref()) is not None:
                subscription.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
