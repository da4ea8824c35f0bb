"""The car's bus over TCP: the protocol of socketcand, for clients in raw and in broadcast-manager mode.

Each client has a session of its own, which does no I/O (:class:`Session`). What one client sends, the others see, as on
a wire. Only the loopback interface is served.

Standard: the protocol description of socketcand (Linux CAN project), as python-can's ``socketcand`` speaks it.
"""

from __future__ import annotations

import contextlib
import re
import selectors
import socket
import threading
import time
from typing import TYPE_CHECKING, Final

from virtualbus.errors import FrontBroken, Phrase
from virtualbus.transport import Frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from virtualbus.car import Car
    from virtualbus.farm import Farm
    from virtualbus.fronts import Front

__all__ = ["BUS", "DEFAULT_PORT", "Session", "SocketcandFront"]

BUS: Final = "can0"
DEFAULT_PORT: Final = 29536
_HOST: Final = "127.0.0.1"
_HELLO: Final = "< hi >"
_DONE: Final = "< ok >"
_UNKNOWN: Final = "< error unknown command >"
_MOST_BYTES: Final = 4096
"""A command is not longer."""
_MOST_PENDING: Final = 1 << 20
_READ_BYTES: Final = 65_536
_POLL_S: Final = 0.25
_QUIET_NS: Final = 100_000_000
"""No frames so long after a mode was chosen: python-can takes what it reads then for the answer alone."""
_MOST_CLIENTS: Final = 32
_COMMAND: Final = re.compile(r"<\s*([^<>]*?)\s*>")
_ID: Final = re.compile(r"[0-7]?[0-9A-F]{1,2}|[01][0-9A-F]{7}", re.IGNORECASE)
_BYTE: Final = re.compile(r"[0-9A-F]{1,2}", re.IGNORECASE)


class Session:
    """What one client is told, and what it says.

    Attributes:
        mode: ``none`` before a bus is open, then ``bcm``, or ``raw`` when asked for.
        is_over: the client did something after which the server hangs up.
    """

    def __init__(self) -> None:
        self.mode = "none"
        self.is_over = False
        self._wanted: set[int] = set()
        self._cyclic: dict[int, tuple[Frame, int, int]] = {}
        self._text = ""

    def greeting(self) -> str:
        """The server speaks first."""
        return _HELLO

    def feed(self, data: bytes, now_ns: int) -> tuple[str, list[Frame]]:
        """Takes what the client wrote; gives the answers and the frames for the bus."""
        self._text += data.decode("ascii", "replace")
        answers: list[str] = []
        frames: list[Frame] = []
        while (found := _COMMAND.search(self._text)) is not None and not self.is_over:
            self._text = self._text[found.end() :]
            answer, frame = self._command(found[1].split(), now_ns)
            answers.append(answer)
            frames += [frame] if frame is not None else []
        if len(self._text) > _MOST_BYTES:
            self.is_over = True
        return "".join(answers), frames

    def text_from_frame(self, frame: Frame, now_s: float) -> str:
        """What the client is told of a frame on the bus; in broadcast-manager mode only what it subscribed to."""
        if frame.fd or frame.channel:
            return ""
        if self.mode == "raw" or (self.mode == "bcm" and frame.can_id in self._wanted):
            can_id = f"{frame.can_id:08X}" if frame.extended else f"{frame.can_id:03X}"
            return f"< frame {can_id} {now_s:.6f} {frame.data.hex().upper()} >"
        return ""

    def due(self, now_ns: int) -> list[Frame]:
        """The frames that the client wants to be sent again and again, as far as it is time for them."""
        out: list[Frame] = []
        for can_id, (frame, step, at) in self._cyclic.items():
            if at <= now_ns:
                out.append(frame)
                self._cyclic[can_id] = frame, step, max(at + step, now_ns)
        return out

    def _command(self, words: list[str], now_ns: int) -> tuple[str, Frame | None]:
        name, rest = (words[0], words[1:]) if words else ("", [])
        if name == "echo" and not rest:
            return "< echo >", None
        if self.mode == "none":
            return self._open(name, rest), None
        if name in {"rawmode", "bcmmode"} and not rest:
            self.mode = name.removesuffix("mode")
            self._wanted.clear()
            self._cyclic.clear()
            return _DONE, None
        if name == "send":
            frame = _frame(rest)
            return ("", frame) if frame is not None else (_UNKNOWN, None)
        if self.mode == "bcm":
            return self._manage(name, rest, now_ns), None
        return _UNKNOWN, None

    def _open(self, name: str, rest: list[str]) -> str:
        if name != "open" or len(rest) != 1:
            return _UNKNOWN
        if rest[0] != BUS:
            self.is_over = True
            return "< error could not open bus >"
        self.mode = "bcm"
        return _DONE

    def _manage(self, name: str, rest: list[str], now_ns: int) -> str:
        """Subscriptions and frames that are sent again and again."""
        if name == "subscribe" and len(rest) == 3 and _ID.fullmatch(rest[2]):
            self._wanted.add(int(rest[2], 16))
        elif name == "unsubscribe" and len(rest) == 1 and _ID.fullmatch(rest[0]):
            self._wanted.discard(int(rest[0], 16))
        elif name == "add" and len(rest) >= 4 and rest[0].isdecimal() and rest[1].isdecimal():
            frame, step = _frame(rest[2:]), int(rest[0][:9]) * 10**9 + int(rest[1][:9]) * 1000
            if frame is None or step <= 0:
                return _UNKNOWN
            self._cyclic[frame.can_id] = frame, step, now_ns
        elif name == "update":
            frame = _frame(rest)
            if frame is None or frame.can_id not in self._cyclic:
                return _UNKNOWN
            _, step, at = self._cyclic[frame.can_id]
            self._cyclic[frame.can_id] = frame, step, at
        elif name == "delete" and len(rest) == 1 and _ID.fullmatch(rest[0]):
            self._cyclic.pop(int(rest[0], 16), None)
        else:
            return _UNKNOWN
        return ""


def _frame(words: list[str]) -> Frame | None:
    """Identifier, length, bytes; None for what is no frame."""
    if len(words) < 2 or not _ID.fullmatch(words[0]) or not re.fullmatch(r"[0-8]", words[1]):
        return None
    if len(words) != 2 + int(words[1]) or not all(_BYTE.fullmatch(word) for word in words[2:]):
        return None
    number = int(words[0], 16)
    return Frame(number, bytes(int(word, 16) for word in words[2:]), extended=len(words[0]) > 3 or number > 0x7FF)


class _Client:
    """One connection."""

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self.session = Session()
        self.pending = bytearray(self.session.greeting().encode())
        self.quiet_until_ns = 0


class SocketcandFront:
    """The server, on the loopback interface.

    Args:
        port: TCP port; 0 takes a free one.

    Raises:
        FrontBroken: the port is taken.
    """

    def __init__(self, port: int = DEFAULT_PORT) -> None:
        try:
            self._server = socket.create_server((_HOST, port), backlog=_MOST_CLIENTS)
        except (OSError, OverflowError) as exc:
            reason = getattr(exc, "strerror", None) or str(exc)
            raise FrontBroken(f"socketcand:{port}", Phrase(reason, reason)) from exc
        self._server.setblocking(False)
        self.port: int = self._server.getsockname()[1]
        self._clients: dict[socket.socket, _Client] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def description(self) -> dict[str, str | int]:
        """Interface, channel, host and port as python-can spells them."""
        return {"front": "socketcand", "interface": "socketcand", "channel": BUS, "host": _HOST, "port": self.port}

    def attach(self, car: Car | Farm) -> None:
        """An adapter needs nothing of the car but its frames."""

    def start(self, sink: Callable[[Front, Frame], None]) -> None:
        """Serves in a thread of its own."""
        self._thread = threading.Thread(target=self._serve, args=(sink,), name="front socketcand", daemon=True)
        self._thread.start()

    def _serve(self, sink: Callable[[Front, Frame], None]) -> None:
        while not self._stopping.is_set():
            ready = self._selector.select(self._pause_s())
            for key, _ in ready:
                link = key.fileobj
                if link is self._server:
                    self._accept()
                elif isinstance(link, socket.socket) and link in self._clients:
                    self._read(self._clients[link], sink)
            now_ns = time.monotonic_ns()
            for client in list(self._clients.values()):
                for frame in client.session.due(now_ns):
                    self._pass_on(client, frame, sink)
                with self._lock:
                    self._write(client)

    def _pause_s(self) -> float:
        return 0.005 if any(client.session.mode == "bcm" for client in self._clients.values()) else _POLL_S

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            link, _ = self._server.accept()
            if len(self._clients) == _MOST_CLIENTS:
                link.close()
                return
            link.setblocking(False)
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                client = self._clients[link] = _Client(link)
                self._selector.register(link, selectors.EVENT_READ)
                self._write(client)

    def _read(self, client: _Client, sink: Callable[[Front, Frame], None]) -> None:
        try:
            data = client.link.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._hang_up(client)
            return
        with self._lock:
            mode = client.session.mode
            answers, frames = client.session.feed(data, time.monotonic_ns())
            if client.session.mode != mode:
                client.quiet_until_ns = time.monotonic_ns() + _QUIET_NS
            client.pending += answers.encode()
            self._write(client)
        for frame in frames:
            self._pass_on(client, frame, sink)
        if client.session.is_over:
            self._hang_up(client)

    def _pass_on(self, sender: _Client, frame: Frame, sink: Callable[[Front, Frame], None]) -> None:
        """A client's frame: to the car, and to the other clients."""
        sink(self, frame)
        self._tell(frame, besides=sender)

    def _tell(self, frame: Frame, besides: _Client | None = None) -> None:
        now_s, now_ns = time.time(), time.monotonic_ns()
        with self._lock:
            for client in self._clients.values():
                if client is besides or now_ns < client.quiet_until_ns:
                    continue
                text = client.session.text_from_frame(frame, now_s)
                # A client that does not read misses frames, as one with a full receive buffer does.
                if text and len(client.pending) < _MOST_PENDING:
                    client.pending += text.encode()
                    self._write(client)

    def _write(self, client: _Client) -> None:
        """Writes what the connection takes; the rest follows. An end is noticed when reading."""
        if client.pending:
            with contextlib.suppress(OSError):
                del client.pending[: client.link.send(client.pending)]

    def _hang_up(self, client: _Client) -> None:
        with self._lock:
            self._clients.pop(client.link, None)
            self._selector.unregister(client.link)
            client.link.close()

    def send(self, frame: Frame) -> None:
        """Tells all clients of a frame on the bus."""
        self._tell(frame)

    def stop(self) -> None:
        """Ends the thread, hangs up."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(2.0)
        for client in list(self._clients.values()):
            self._hang_up(client)
        self._selector.close()
        self._server.close()
