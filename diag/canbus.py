"""Frames from and to a CAN bus, over any interface that python-can knows.

How frames are received is chosen once, when the link opens: by file descriptor where the bus has one, by the queue
itself on python-can's in-process bus, by one thread for the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import queue
import sys
import threading
import time
import weakref
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from diag.busopening import Comeback, bus_options, is_simulation, open_bus, reason_of, shut_down
from diag.errors import LinkLost, NoAdapter
from diag.facts import Text
from diag.frames import CAPACITY, Frame, FrameLink, FrameSubscription
from diag.guard import Risk, TransmitGuard
from diag.pythoncan import VirtualBus, can
from diag.vehiclereport import LinkInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from diag.serialport import PortClaim

__all__ = ["CanLink", "Frame", "FrameLink", "FrameSubscription", "open_can"]

_LOG = logging.getLogger(__name__)

_DRAIN: Final = 256
"""Frames taken from the driver before others on the loop have their turn."""

_POLL_S: Final = 0.2
"""How long the reader thread sleeps in the driver before it looks whether to stop."""

_SEND_PATIENCE_S: Final = 1.0
"""How long a full transmit buffer may stay full before the link counts as lost."""

_MALFORMED_LIMIT: Final = 64
"""Unreadable lines in a row after which a serial adapter counts as lost."""

_REPLUG_POLL_S: Final = 0.3
_CLOCK_TOLERANCE_S: Final = 3600.0
"""Adapters whose clock differs more than this from ours count from their own start."""


class _WakingQueue(queue.Queue[can.Message]):
    """The receive queue of python-can's in-process bus, which tells the event loop when something is in it.

    Putting takes no lock and never waits: the oldest message goes when nobody takes.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_ready: Callable[[], None]) -> None:
        super().__init__()
        self._loop, self._on_ready, self._home = loop, on_ready, threading.get_ident()
        self._waiting: deque[can.Message] = deque(maxlen=CAPACITY)
        self._is_woken = False
        self.dropped = 0

    def put(self, item: can.Message, block: bool = True, timeout: float | None = None) -> None:  # noqa: ARG002 - as queue.Queue
        """Takes a message from any thread."""
        self.dropped += len(self._waiting) == CAPACITY
        self._waiting.append(item)
        if self._is_woken or self._loop.is_closed():
            return
        self._is_woken = True
        if threading.get_ident() == self._home:
            self._loop.call_soon(self._on_ready)
        else:
            self._loop.call_soon_threadsafe(self._on_ready)

    def take(self) -> list[can.Message]:
        """Everything that is here. What comes later wakes the loop again."""
        self._is_woken = False
        messages = []
        with contextlib.suppress(IndexError):
            while True:
                messages.append(self._waiting.popleft())
        return messages


class _Intake(Protocol):
    def stop(self) -> None:
        """No frame is delivered afterwards; may block for a moment."""
        ...


class _DescriptorIntake:
    """Receives when the file descriptor of the bus is readable."""

    def __init__(self, link: CanLink, bus: can.BusABC, descriptor: int) -> None:
        self._link, self._bus, self._descriptor = link, bus, descriptor
        self._loop = asyncio.get_running_loop()
        self._malformed = 0
        self._loop.add_reader(descriptor, self._drain)

    def _drain(self) -> None:
        messages: list[can.Message] = []
        try:
            for _ in range(_DRAIN):
                message = self._bus.recv(timeout=0)
                if message is None:
                    break
                messages.append(message)
        except ValueError as exc:  # slcan: a line that is not hexadecimal
            self._malformed += 1
            self._link.malformed += 1
            if self._malformed >= _MALFORMED_LIMIT:
                self._link.lose(exc)
        except (can.CanError, OSError) as exc:
            self._link.deliver(messages)
            self._link.lose(exc)
            return
        if messages:
            self._malformed = 0
            self._link.deliver(messages)

    def stop(self) -> None:
        self._loop.remove_reader(self._descriptor)


class _QueueIntake:
    """Receives from python-can's in-process bus, which has neither descriptor nor need of a thread."""

    def __init__(self, link: CanLink, bus: VirtualBus) -> None:
        self._link = link
        self._is_stopped = False
        self._queue = _WakingQueue(asyncio.get_running_loop(), self._drain)
        # The bus offers no hook for arrivals: its queue, a public attribute, is exchanged in the channel's list.
        peers = bus.channel
        peers[next(at for at, peer in enumerate(peers) if peer is bus.queue)] = self._queue
        bus.queue = self._queue

    def _drain(self) -> None:
        messages = self._queue.take()
        self._link.dropped = self._queue.dropped
        if messages and not self._is_stopped:
            self._link.deliver(messages)

    def stop(self) -> None:
        self._is_stopped = True


class _ThreadIntake:
    """Receives in a thread, for drivers that can only block; hands over in batches."""

    def __init__(self, link: CanLink, bus: can.BusABC) -> None:
        self._link, self._bus = link, bus
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[can.Message] = deque(maxlen=CAPACITY)
        self._lock = threading.Lock()
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name=f"can {link.info.channel}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._is_stopped:
                message = self._bus.recv(timeout=_POLL_S)
                if message is not None:
                    self._hand_over(message)
        except Exception as exc:  # noqa: BLE001 - top of a thread: drivers raise anything, and the owner must see it
            if not self._is_stopped:
                self._loop.call_soon_threadsafe(self._link.lose, exc)

    def _hand_over(self, message: can.Message) -> None:
        with self._lock:
            is_first = not self._waiting
            if len(self._waiting) == self._waiting.maxlen:
                self._link.dropped += 1
            self._waiting.append(message)
        if is_first and not self._is_stopped:
            self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        with self._lock:
            messages = list(self._waiting)
            self._waiting.clear()
        if not self._is_stopped:
            self._link.deliver(messages)

    def stop(self) -> None:
        self._is_stopped = True
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=5 * _POLL_S)


class CanLink:
    """A :class:`FrameLink` over an open python-can bus; the link owns the bus and shuts it down.

    To be made on the running event loop; usually by :func:`open_can`.

    Attributes:
        info: what the link goes through.
        dropped: frames lost before any reader saw them, because this machine was too busy.
        malformed: lines of a serial adapter that were no frames.
        outages: how often the adapter went away and was waited for.
    """

    def __init__(
        self,
        bus: can.BusABC,
        *,
        info: LinkInfo,
        guard: TransmitGuard | None = None,
        claim: PortClaim | None = None,
        comeback: Comeback | None = None,
    ) -> None:
        self.info = info
        self._claim = claim
        self.dropped = 0
        self.malformed = 0
        self.outages = 0
        self._comeback = comeback
        self._returning: asyncio.Task[None] | None = None
        self._is_released = False
        self._bus = bus
        self._guard = guard if guard is not None else TransmitGuard()
        self._subscriptions: tuple[weakref.ref[FrameSubscription], ...] = ()
        self._lost: LinkLost | None = None
        self._is_closed = False
        self._clock_offset_ns: int | None = None
        self._intake, self._pool = self._choose()

    def _choose(self) -> tuple[_Intake, ThreadPoolExecutor | None]:
        """How to receive, and whether sending may block and so needs a thread of its own."""
        if isinstance(self._bus, VirtualBus):
            return _QueueIntake(self, self._bus), None
        try:
            descriptor = self._bus.fileno()
        except (NotImplementedError, can.CanError):
            descriptor = -1
        can_poll = descriptor >= 0 and sys.platform != "win32"  # whose event loop watches no descriptors
        intake = _DescriptorIntake(self, self._bus, descriptor) if can_poll else _ThreadIntake(self, self._bus)
        is_socket = self.info.interface in {"socketcan", "udp_multicast"}
        return intake, None if is_socket else ThreadPoolExecutor(1, thread_name_prefix="can send")

    @property
    def guard(self) -> TransmitGuard:
        """Who decides what leaves through this link."""
        return self._guard

    @property
    def is_away(self) -> bool:
        """The adapter was unplugged, and is waited for."""
        return self._returning is not None

    def frames(
        self,
        *,
        accept: Callable[[Frame], bool] | None = None,
        capacity: int = CAPACITY,
        is_sent_wanted: bool = False,
    ) -> FrameSubscription:
        """A new, independent subscription to what arrives from now on; see :class:`FrameLink`."""
        subscription = FrameSubscription(capacity=capacity, accept=accept, is_sent_wanted=is_sent_wanted)
        if self._is_closed or self._lost is not None:
            subscription.close(self._lost)
        else:
            self._subscriptions = (*self._living(), weakref.ref(subscription))
        return subscription

    def _living(self) -> Iterable[weakref.ref[FrameSubscription]]:
        return (ref for ref in self._subscriptions if (peer := ref()) is not None and not peer.is_closed)

    def deliver(self, messages: list[can.Message]) -> None:
        """Hands received messages to every reader; called on the event loop."""
        for message in messages:
            self._publish(self._frame_from_message(message))

    def _publish(self, frame: Frame) -> None:
        if not frame.tx:
            self._guard.observe(frame.can_id, frame.data, extended=frame.extended)
        for ref in self._subscriptions:
            subscription = ref()
            if subscription is not None:
                subscription.push(frame)

    def _frame_from_message(self, message: can.Message) -> Frame:
        if self._clock_offset_ns is None:
            now = time.time()
            is_utc = abs(message.timestamp - now) < _CLOCK_TOLERANCE_S
            self._clock_offset_ns = 0 if is_utc else int((now - message.timestamp) * 1e9)
        return Frame(
            message.arbitration_id,
            bytes(message.data),
            round(message.timestamp * 1e6) * 1000 + self._clock_offset_ns,
            message.is_extended_id,
            message.is_fd,
            message.is_remote_frame,
            message.is_error_frame,
            self.info.channel,
        )

    async def send(self, frame: Frame) -> None:
        """Sends one frame, if the guard lets it; see :class:`FrameLink`."""
        if self._lost is not None:
            raise self._lost
        if self._is_closed:
            raise LinkLost(self.info.channel, Text("it was closed", "已关闭"))
        risk = self._guard.check_frame(
            frame.can_id, frame.data, extended=frame.extended, is_plain=not (frame.remote or frame.error)
        )
        message = can.Message(
            arbitration_id=frame.can_id,
            is_extended_id=frame.extended,
            data=frame.data,
            is_fd=frame.fd,
            bitrate_switch=frame.fd,
        )
        try:
            await self._returned(risk)
            await self._transmit(message)
        except LinkLost:
            self._guard.note_failure(frame.can_id, frame.data, risk)
            raise
        except (can.CanError, OSError, ValueError) as exc:
            self.lose(exc)
            try:
                await self._returned(risk)
                await self._transmit(message)  # the same frame: it had not left
            except (LinkLost, can.CanError, OSError, ValueError):
                self._guard.note_failure(frame.can_id, frame.data, risk)
                raise LinkLost(self.info.channel, reason_of(exc)) from exc
        self._publish(_sent(frame, self.info.channel))

    async def _transmit(self, message: can.Message) -> None:
        if self._pool is not None:
            await asyncio.get_running_loop().run_in_executor(self._pool, self._bus.send, message, _SEND_PATIENCE_S)
            return
        patience_ends = time.monotonic() + _SEND_PATIENCE_S
        while True:
            try:
                self._bus.send(message, timeout=0)
            except can.CanOperationError as exc:
                is_full = exc.error_code == errno.ENOBUFS or "buffer full" in str(exc)
                if not is_full or time.monotonic() > patience_ends:
                    raise
            else:
                return
            await asyncio.sleep(0.001)

    async def _returned(self, risk: Risk) -> None:
        """Waits while the adapter is away; only reading waits, because a car may be another one or moving by then.

        Raises:
            LinkLost: it does not come back, or the frame is of a request that is not for reading.
        """
        if self._returning is not None:
            if risk is not Risk.READ:
                raise LinkLost(self.info.channel, Text("it was unplugged", "设备已拔出"))
            await asyncio.wait({self._returning})
        if self._lost is not None:
            raise self._lost

    def lose(self, exc: Exception) -> None:
        """The driver reports an error: waits for the adapter, or ends every subscription with LinkLost.

        To be called on the event loop.
        """
        if self._lost is not None or self._is_closed or self._returning is not None:
            return
        _LOG.warning("link lost on %s: %s", self.info.channel, exc)
        if isinstance(self._intake, _DescriptorIntake):
            self._intake.stop()
        if self._comeback is None:
            self._give_up(exc)
        else:
            self.outages += 1
            coming = self._come_back(self._comeback, exc)
            self._returning = asyncio.get_running_loop().create_task(coming, name="replug")

    def _give_up(self, exc: Exception) -> None:
        self._lost = LinkLost(self.info.channel, reason_of(exc))
        self._lost.__cause__ = exc
        for ref in self._subscriptions:
            subscription = ref()
            if subscription is not None:
                subscription.close(self._lost)

    async def _come_back(self, comeback: Comeback, exc: Exception) -> None:
        """Tries to open the adapter again until it is there; readers keep their subscriptions."""
        loop = asyncio.get_running_loop()
        channel, why = self.info.channel, reason_of(exc)
        comeback.notice(
            Text(
                f"{channel} is gone ({why.en}): plug it in again, it goes on by itself ({comeback.patience_s:.0f} s)",
                f"{channel} 已断开（{why.zh}）：请重新插上，将自动继续（等待 {comeback.patience_s:.0f} 秒）",
            )
        )
        await self._release()
        end = loop.time() + comeback.patience_s
        while loop.time() < end:
            await asyncio.sleep(_REPLUG_POLL_S)
            try:
                bus, claim = await open_bus(comeback.wanted)
            except NoAdapter:
                continue
            self._bus, self._claim, self._clock_offset_ns = bus, claim, None
            self._intake, self._pool = self._choose()
            self._returning, self._is_released = None, False
            comeback.notice(Text(f"{channel} is back", f"{channel} 已恢复"))
            return
        self._returning = None
        self._give_up(exc)

    async def _release(self) -> None:
        """Stops receiving and gives bus and port back; a second time does nothing."""
        if self._is_released:
            return
        self._is_released = True
        if isinstance(self._intake, _ThreadIntake):
            await asyncio.to_thread(self._intake.stop)
        else:
            self._intake.stop()
        if self._pool is None:
            shut_down(self._bus)
        else:
            await asyncio.get_running_loop().run_in_executor(self._pool, shut_down, self._bus)
            self._pool.shutdown(wait=False)
        if self._claim is not None:
            self._claim.release()

    async def close(self) -> None:
        """Stops receiving, ends every subscription and shuts the bus down; may be called twice."""
        if self._is_closed:
            return
        self._is_closed = True
        for ref in self._subscriptions:
            subscription = ref()
            if subscription is not None:
                subscription.close()
        if self._returning is not None:
            self._returning.cancel()
            await asyncio.gather(self._returning, return_exceptions=True)
        await self._release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _sent(frame: Frame, channel: str) -> Frame:
    return Frame(frame.can_id, frame.data, time.time_ns(), frame.extended, frame.fd, channel=channel, tx=True)


def _say_nothing(_: Text) -> None:
    """Nobody wants to know."""


async def open_can(
    interface: str,
    channel: str,
    bitrate: int | None = None,
    *,
    fd: bool = False,
    data_bitrate: int | None = None,
    guard: TransmitGuard | None = None,
    simulated: bool | None = None,
    replug_s: float = 0.0,
    notice: Callable[[Text], None] = _say_nothing,
    **options: Any,
) -> CanLink:
    """Opens a bus as python-can names it; the event loop runs on while the driver starts.

    Args:
        interface: python-can's name of the kind of adapter.
        channel: which one, as that interface names it.
        bitrate: bit/s of the arbitration phase; None leaves what is configured.
        fd: CAN FD.
        data_bitrate: bit/s of the data phase, with ``fd``.
        guard: decides what may be sent; left out, only reading.
        simulated: whether a simulated car is at the other end; left out, it follows from interface and channel.
        replug_s: how long to wait for an adapter that was unplugged; readers wait with it, requests go on afterwards.
        notice: told when the adapter goes and when it is back.
        options: for the driver. Multicast packets stay on this machine unless ``hop_limit`` says otherwise.

    Raises:
        NoAdapter: no such interface or channel, no driver, no permission, or in use.
    """
    wanted = bus_options(interface, channel, bitrate, data_bitrate, fd=fd) | options
    bus, claim = await open_bus(wanted)
    known = is_simulation(interface, channel) if simulated is None else simulated
    info = LinkInfo(interface, channel, bitrate, known)
    comeback = Comeback(wanted, replug_s, notice) if replug_s > 0 else None
    return CanLink(bus, info=info, guard=guard, claim=claim, comeback=comeback)
