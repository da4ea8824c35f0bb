"""The ELM327 on a TCP port (as Wi-Fi adapters) or on a pseudo-terminal (as USB and Bluetooth ones)."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from typing import TYPE_CHECKING, Final

from virtualbus.elm327 import Elm327
from virtualbus.elm327chips import CHIPS
from virtualbus.errors import FrontBroken, Phrase
from virtualbus.pseudoterminal import open_terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from virtualbus.car import Car
    from virtualbus.farm import Farm
    from virtualbus.fronts import Front
    from virtualbus.transport import Frame

__all__ = ["DEFAULT_PORT", "Elm327Front"]

DEFAULT_PORT: Final = 35000
_HOST: Final = "127.0.0.1"
_READ_BYTES: Final = 4096
_POLL_S: Final = 0.25
_MAX_PENDING: Final = 65_536


class Elm327Front:
    """One adapter with one host at a time; a second TCP client waits, as at a Wi-Fi adapter.

    Args:
        port: TCP port, 0 takes a free one; None puts the adapter on a pseudo-terminal.
        chip: a name of :data:`~virtualbus.elm327chips.CHIPS`.

    Raises:
        FrontBroken: the port is taken, or the system has no pseudo-terminals.
    """

    def __init__(self, port: int | None, chip: str = "v2.2") -> None:
        self._chip = CHIPS[chip]
        self._volts: Callable[[], float] = lambda: 12.6
        self._server: socket.socket | None = None
        self._client: socket.socket | None = None
        self._master = self._slave = -1
        self.path = ""
        try:
            if port is None:
                self._master, self._slave, self.path = open_terminal("elm327:pty")
            else:
                self._server = socket.create_server((_HOST, port), backlog=1)
        except (OSError, OverflowError) as exc:
            reason = getattr(exc, "strerror", None) or str(exc)
            raise FrontBroken(f"elm327:{port}", Phrase(reason, reason)) from exc
        self._bus = (11, 500)
        self._adapter = Elm327(self._chip, self._read_volts, self._bus)
        self._pending = bytearray()
        self._lock = threading.Lock()
        self._wake_in, self._wake_out = socket.socketpair()  # not a pipe: Windows selects sockets only
        self._wake_out.setblocking(False)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._sink: Callable[[Front, Frame], None] | None = None

    def _read_volts(self) -> float:
        return self._volts()

    def attach(self, car: Car | Farm) -> None:
        """Pin 16 of the plug: the car's 12 V supply."""
        self._volts = lambda: car.plant.low.volts
        vehicle = car.vehicle
        self._bus = (29 if vehicle.speaks == "j1939" else 11, vehicle.bitrate // 1000)
        self._adapter = Elm327(self._chip, self._read_volts, self._bus)

    @property
    def port(self) -> int:
        """The TCP port, 0 on a pseudo-terminal."""
        return int(self._server.getsockname()[1]) if self._server is not None else 0

    @property
    def description(self) -> dict[str, str | int]:
        """Where to connect, as pyserial and python-OBD spell it."""
        chip = self._chip.name
        if self._server is None:
            return {"front": "elm327", "chip": chip, "channel": self.path}
        port = self.port
        return {"front": "elm327", "chip": chip, "host": _HOST, "port": port, "channel": f"socket://{_HOST}:{port}"}

    def start(self, sink: Callable[[Front, Frame], None]) -> None:
        """Serves in a thread of its own."""
        self._sink = sink
        self._thread = threading.Thread(target=self._run, name="front elm327", daemon=True)
        self._thread.start()

    def send(self, frame: Frame) -> None:
        """A frame on the car's bus."""
        if frame.channel:
            return
        with self._lock:
            self._adapter.hear(frame, time.monotonic_ns())
        with contextlib.suppress(BlockingIOError, OSError):
            self._wake_out.send(b"x")

    def stop(self) -> None:
        """Ends the thread, closes everything."""
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._wake_out.send(b"x")
        if self._thread is not None:
            self._thread.join(2.0)
        self._hang_up()
        if self._server is not None:
            self._server.close()
        self._wake_in.close()
        self._wake_out.close()
        for number in (self._master, self._slave):
            if number >= 0:
                os.close(number)

    # -- the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._move()

    def _move(self) -> None:
        with self._lock:
            due = self._adapter.next_ns()
        wait_s = _POLL_S if due is None else min(_POLL_S, max(0.0, (due - time.monotonic_ns()) / 1e9))
        reading: list[socket.socket | int] = [self._wake_in]
        line = self._line
        if line is not None:
            reading.append(line)
        elif self._server is not None:
            reading.append(self._server)
        writing = [line] if line is not None and self._pending else []
        ready, writable, _ = select.select(reading, writing, [], wait_s)
        if self._wake_in in ready:
            self._wake_in.recv(_READ_BYTES)
        if self._server is not None and self._server in ready:
            self._accept()
        elif line is not None and line in ready:
            self._read()
        with self._lock:
            self._adapter.poll(time.monotonic_ns())
            out, frames = self._adapter.take()
        if self._line is not None:
            self._pending += out
            del self._pending[_MAX_PENDING:]
        if self._pending and (writable or out):
            self._write()
        sink = self._sink
        for frame in frames:
            if sink is not None:
                sink(self, frame)

    @property
    def _line(self) -> socket.socket | int | None:
        return self._master if self._master >= 0 else self._client

    def _accept(self) -> None:
        if self._server is None:
            return
        self._client, _ = self._server.accept()
        self._client.setblocking(False)
        self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._adapter = Elm327(self._chip, self._read_volts, self._bus)

    def _hang_up(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
        self._pending.clear()

    def _read(self) -> None:
        try:
            data = os.read(self._master, _READ_BYTES) if self._client is None else self._client.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._hang_up()
            return
        with self._lock:
            self._adapter.feed(data, time.monotonic_ns())

    def _write(self) -> None:
        try:
            client = self._client
            sent = os.write(self._master, self._pending) if client is None else client.send(self._pending)
        except BlockingIOError:
            return
        except OSError:
            self._hang_up()
            return
        del self._pending[:sent]
