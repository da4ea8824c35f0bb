"""A TCP line between two programs as a bad network makes it, in user space: thin, long, lossy, cut.

Each direction is a pipe with a rate, a delay, and stalls. TCP hides loss from who uses it and shows waiting instead, so
a lost packet is modelled as what TCP makes of it: everything behind it waits for one more round trip, longer when the
repetition is lost too. The queue in front of the bottleneck is bounded, as a router's is; the sender is not read while
it is full. A cut line swallows bytes and says nothing, as a dead radio link does; connections made meanwhile hang.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["LineModel", "ThinLine"]

_PACKET: Final = 1_400
_KERNEL_BYTES: Final = 16_384
"""Of this machine's own buffers in front of the line, which no real line has."""

_GOODBYE_S: Final = 5.0
_SHORTEST_REPEAT_S: Final = 0.2
"""Of TCP's timeouts (RFC 6298 says one second; Linux takes 200 ms)."""


@dataclass(frozen=True, slots=True)
class LineModel:
    """How a line is.

    Args:
        bits_s: rate of each direction; 0 = as fast as it goes.
        rtt_s: round trip of an empty line.
        loss: share of packets that have to be repeated.
        queue_bytes: what the bottleneck holds.
    """

    bits_s: float = 0.0
    rtt_s: float = 0.0
    loss: float = 0.0
    queue_bytes: int = 32_000


class _Pipe:
    """One direction of one connection."""

    def __init__(self, line: ThinLine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._line, self._reader, self._writer = line, reader, writer
        self._queue: deque[tuple[float, bytes]] = deque()
        self._queued = 0
        self._changed = asyncio.Event()
        self._is_over = False

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._fill())
            tasks.create_task(self._drain())

    async def _fill(self) -> None:
        """Packets into the queue, with the time at which each leaves the line."""
        loop = asyncio.get_running_loop()
        free_s = stalled_s = 0.0
        with contextlib.suppress(OSError):
            while data := await self._reader.read(_PACKET):
                while self._line.is_cut:
                    await self._line.mended()
                model = self._line.model
                now_s = loop.time()
                free_s = max(free_s, now_s) + (8 * len(data) / model.bits_s if model.bits_s else 0.0)
                due_s = free_s + model.rtt_s / 2
                repeats = 0
                while model.loss and self._line.random.random() < model.loss:
                    due_s += max(_SHORTEST_REPEAT_S, 1.2 * model.rtt_s) * 2**repeats
                    repeats += 1
                stalled_s = max(stalled_s, due_s)  # in order: what is behind a lost packet waits for it
                self._queue.append((stalled_s, data))
                self._queued += len(data)
                self._changed.set()
                while self._queued > max(model.queue_bytes, _PACKET) or free_s - loop.time() > 1.0:  # noqa: ASYNC110 - time
                    await asyncio.sleep(0.005)
        self._is_over = True
        self._changed.set()

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while True:
                while not self._queue:
                    if self._is_over:
                        self._writer.close()
                        return
                    self._changed.clear()
                    await self._changed.wait()
                due_s, data = self._queue[0]
                if (wait_s := due_s - loop.time()) > 0:
                    await asyncio.sleep(wait_s)
                while self._line.is_cut:
                    await self._line.mended()
                self._queue.popleft()
                self._queued -= len(data)
                self._writer.write(data)
                await self._writer.drain()


class ThinLine:
    """Listens on a loopback port and passes on to another, as ``model`` says; :attr:`is_cut` may change at any time.

    Args:
        port: where the service listens.
        seed: of the losses.
    """

    def __init__(self, port: int, model: LineModel = LineModel(), *, seed: int = 1) -> None:
        self.model = model
        self.port = 0
        self.random = random.Random(seed)
        self.connections = 0
        self._target = port
        self._is_cut = False
        self._mended = asyncio.Event()
        self._mended.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def is_cut(self) -> bool:
        """Nothing gets through, and nobody is told."""
        return self._is_cut

    def cut(self) -> None:
        """From now on. What is under way is lost with its connection."""
        self._is_cut = True
        self._mended.clear()

    def mend(self, *, forget: bool = True) -> None:
        """The path is back. ``forget``: the other ends of the old connections are gone (a NAT forgot them)."""
        self._is_cut = False
        if forget:
            self.hang_up()
        self._mended.set()

    def hang_up(self) -> None:
        """Ends every connection at once."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def mended(self) -> None:
        """Waits until the path is back."""
        await self._mended.wait()

    async def __aenter__(self) -> Self:
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_BYTES)
        self._server = await asyncio.start_server(self._serve, sock=listening, limit=_PACKET)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        self.mend()
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=_GOODBYE_S)
            for task in left:
                task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        self._writers.add(writer)
        up_writer: asyncio.StreamWriter | None = None
        try:
            while self.is_cut:
                await self.mended()
            upward = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            upward.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_BYTES)
            upward.setblocking(False)
            await asyncio.get_running_loop().sock_connect(upward, ("127.0.0.1", self._target))
            up_reader, up_writer = await asyncio.open_connection(sock=upward, limit=_PACKET)
            self._writers.add(up_writer)
            self.connections += 1
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_Pipe(self, reader, up_writer).run())
                tasks.create_task(_Pipe(self, up_reader, writer).run())
        except OSError:
            pass
        finally:
            if task is not None:
                self._tasks.discard(task)
            for end in (writer, up_writer):
                if end is not None:
                    self._writers.discard(end)
                    end.close()
