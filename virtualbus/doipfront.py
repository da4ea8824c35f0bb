"""The DoIP gateway on loopback: UDP for finding, TCP for asking; behind it the ECUs on their CAN bus.

Requests go to the ECUs as ISO-TP frames like those of any tester (can-isotp), so that the gateway adds the delay of a
gateway and nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import threading
import time
import zlib
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import isotp

from virtualbus.doip import ENTITY, FUNCTIONAL, Connection, Entity, Request
from virtualbus.errors import FrontBroken, Phrase
from virtualbus.transport import FUNCTIONAL_ID, Frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from virtualbus.car import Car
    from virtualbus.ecu import Ecu
    from virtualbus.farm import Farm, NamedEcu
    from virtualbus.fronts import Front

__all__ = ["DEFAULT_PORT", "DoipFront"]

DEFAULT_PORT: Final = 13400
_HOST: Final = "127.0.0.1"
_BROADCAST: Final = "127.255.255.255"
_ANNOUNCEMENTS: Final = 3
_ANNOUNCE_S: Final = 0.5
_BUSY_S: Final = 0.002
_ANSWER_S: Final = 0.5
_PENDING_S: Final = 5.0
"""How long an ECU is left alone with a request, and with one that it answered with "pending" (0x78)."""
_IDLE_S: Final = 0.25
_READ_BYTES: Final = 65_536
_MAX_PENDING: Final = 1 << 20
_LOG: Final = logging.getLogger(__name__)


class _Route:
    """ISO-TP between the gateway and one ECU."""

    def __init__(self, address: int, request_id: int, response_id: int, give: Callable[[Frame], None]) -> None:
        self.address = address
        self.tester: int | None = None
        self.waiting: deque[Request] = deque()
        self._answering_until = 0.0
        self._arrived: deque[Any] = deque(maxlen=4096)
        self._give = give
        pair = isotp.Address(isotp.AddressingMode.Normal_11bits, txid=request_id, rxid=response_id)
        params = {"tx_padding": 0x00, "blocksize": 0, "stmin": 0, "max_frame_size": 4095}
        self.layer = isotp.TransportLayerLogic(self._take, self._put, pair, _tell, params)

    def _take(self, timeout: float) -> Any:  # noqa: ARG002 - can-isotp's signature; nothing here blocks
        return self._arrived.popleft() if self._arrived else None

    def _put(self, sent: Any) -> None:
        self._give(Frame(sent.arbitration_id, bytes(sent.data)))

    def heard(self, frame: Frame) -> None:
        """A frame with this ECU's response identifier."""
        self._arrived.append(isotp.CanMessage(arbitration_id=frame.can_id, dlc=len(frame.data), data=frame.data))

    @property
    def is_busy(self) -> bool:
        """Whether something waits to be moved on."""
        return bool(self._arrived or self.waiting or self.layer.transmitting())

    def move(self) -> list[bytes]:
        """Sends what waits, takes what came; whole answers."""
        now = time.monotonic()
        # Another tester waits until the ECU has answered: it can listen to one request at a time, and the answer names
        # nobody. The same one knows what it does.
        free = bool(self.waiting) and (self.waiting[0].source == self.tester or now >= self._answering_until)
        if free and not self.layer.transmitting():
            request = self.waiting.popleft()
            self.tester = request.source
            self._answering_until = now + _ANSWER_S
            self.layer.send(request.payload)
        self.layer.process()
        out = []
        while self.layer.available():
            out.append(bytes(self.layer.recv() or b""))
            is_pending = out[-1][:1] == b"\x7f" and out[-1][2:3] == b"\x78"
            self._answering_until = now + _PENDING_S if is_pending else 0.0
        return out


def _tell(error: Exception) -> None:
    _LOG.debug("ISO-TP: %s", error)


class DoipFront:
    """The gateway's sockets.

    Args:
        port: of UDP and TCP, 0 takes a free one.

    Raises:
        FrontBroken: the port is taken.
    """

    def __init__(self, port: int = DEFAULT_PORT) -> None:
        try:
            self._server = socket.create_server((_HOST, port), backlog=8)
            self._port = int(self._server.getsockname()[1])
            self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._udp.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            self._udp.bind((_HOST, self._port))
        except (OSError, OverflowError) as exc:
            reason = getattr(exc, "strerror", None) or str(exc)
            raise FrontBroken(f"doip:{port}", Phrase(reason, reason)) from exc
        self._clients: dict[socket.socket, tuple[Connection, bytearray]] = {}
        self._entity = Entity("0" * 17, bytes(6), {})
        self._routes: dict[int, _Route] = {}
        self._by_response: dict[int, _Route] = {}
        self._obd: list[int] = []
        self._frames: list[Frame] = []
        self._heard: deque[Frame] = deque(maxlen=20_000)
        self._wake_in, self._wake_out = socket.socketpair()  # not a pipe: Windows selects sockets only
        self._wake_out.setblocking(False)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._sink: Callable[[Front, Frame], None] | None = None
        self._announced = 0
        self._next_announcement = 0.0

    def attach(self, car: Car | Farm) -> None:
        """The car's name and its ECUs; each gets a logical address behind the gateway's."""
        targets = {}
        ecus: Iterable[Ecu | NamedEcu] = car.ecus.values()
        for number, ecu in enumerate(ecus, start=1):
            if not ecu.request_id:
                continue
            address = ENTITY + number
            targets[address] = ecu.name
            route = _Route(address, ecu.request_id, ecu.response_id, self._frames.append)
            self._routes[address] = self._by_response[ecu.response_id] = route
            if ecu.hears_functional:
                self._obd.append(address)
        eid = b"\x02HZ" + zlib.crc32(car.vin.encode()).to_bytes(4, "big")[:3]
        self._entity = Entity(car.vin, eid, targets)

    @property
    def description(self) -> dict[str, object]:
        """Where to connect, and the logical address of each ECU."""
        names = {name: f"0x{address:04X}" for address, name in self._entity.targets.items()}
        own = {"entity": f"0x{ENTITY:04X}", "functional": f"0x{FUNCTIONAL:04X}", "ecus": names}
        return {"front": "doip", "host": _HOST, "port": self._port, **own}

    def start(self, sink: Callable[[Front, Frame], None]) -> None:
        """Announces the car, serves in a thread of its own."""
        self._sink = sink
        self._thread = threading.Thread(target=self._run, name="front doip", daemon=True)
        self._thread.start()

    def send(self, frame: Frame) -> None:
        """A frame on the car's bus: of interest only when an ECU answers with it."""
        if frame.can_id in self._by_response and not frame.extended and not frame.channel:
            self._heard.append(frame)
            with contextlib.suppress(BlockingIOError, OSError):
                self._wake_out.send(b"x")

    def stop(self) -> None:
        """Ends the thread, closes everything."""
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._wake_out.send(b"x")
        if self._thread is not None:
            self._thread.join(2.0)
        for client in list(self._clients):
            client.close()
        self._server.close()
        self._udp.close()
        self._wake_in.close()
        self._wake_out.close()

    # -- the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._announce()
            busy = any(route.is_busy for route in self._routes.values())
            wait_s = _BUSY_S if busy else _IDLE_S
            writing = [client for client, (_, pending) in self._clients.items() if pending]
            reading = [self._wake_in, self._server, self._udp, *self._clients]
            ready, writable, _ = select.select(reading, writing, [], wait_s)
            for item in ready:
                if item is self._server:
                    self._accept()
                elif item is self._udp:
                    self._datagram()
                elif item is self._wake_in:
                    item.recv(_READ_BYTES)
                else:
                    self._read(item)
            self._move()
            for client in {*writable, *(c for c, (_, pending) in self._clients.items() if pending)}:
                self._write(client)
            self._close_finished()

    def _announce(self) -> None:
        now = time.monotonic()
        if self._announced < _ANNOUNCEMENTS and now >= self._next_announcement:
            self._announced += 1
            self._next_announcement = now + _ANNOUNCE_S
            with contextlib.suppress(OSError):
                self._udp.sendto(self._entity.announcement(), (_BROADCAST, DEFAULT_PORT))

    def _datagram(self) -> None:
        with contextlib.suppress(OSError):
            data, whence = self._udp.recvfrom(_READ_BYTES)
            answer = self._entity.datagram(data)
            if answer is not None:
                self._udp.sendto(answer, whence)

    def _accept(self) -> None:
        client, _ = self._server.accept()
        connection = self._entity.opened()
        if connection is None:
            client.close()
            return
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._clients[client] = (connection, bytearray())

    def _read(self, client: socket.socket) -> None:
        if client not in self._clients:
            return
        connection, pending = self._clients[client]
        try:
            data = client.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(client)
            return
        answer, requests = self._entity.feed(connection, data)
        pending += answer
        for request in requests:
            if request.target == FUNCTIONAL:
                self._ask_all(request)
            else:
                self._routes[request.target].waiting.append(request)

    def _ask_all(self, request: Request) -> None:
        """A functional request: one frame for everybody who listens to it."""
        if len(request.payload) > 7:
            return
        for address in self._obd:
            self._routes[address].tester = request.source
        data = bytes([len(request.payload)]) + request.payload
        self._frames.append(Frame(FUNCTIONAL_ID, data.ljust(8, b"\0")))

    def _move(self) -> None:
        while self._heard:
            frame = self._heard.popleft()
            self._by_response[frame.can_id].heard(frame)
        for route in self._routes.values():
            if not route.is_busy:
                continue
            for payload in route.move():
                self._deliver(route, payload)
        frames, self._frames[:] = list(self._frames), []
        if self._sink is not None:
            for frame in frames:
                self._sink(self, frame)

    def _deliver(self, route: _Route, payload: bytes) -> None:
        if route.tester is None:
            return
        connection = self._entity.connection_of(route.tester)
        for own, pending in self._clients.values():
            if own is connection and len(pending) < _MAX_PENDING:
                pending.extend(self._entity.answer(route.address, route.tester, payload))

    def _write(self, client: socket.socket) -> None:
        if client not in self._clients:
            return
        _, pending = self._clients[client]
        try:
            sent = client.send(pending)
        except BlockingIOError:
            return
        except OSError:
            self._drop(client)
            return
        del pending[:sent]

    def _close_finished(self) -> None:
        for client, (connection, pending) in list(self._clients.items()):
            if connection.is_over and not pending:
                self._drop(client)

    def _drop(self, client: socket.socket) -> None:
        connection, _ = self._clients.pop(client)
        self._entity.closed(connection)
        client.close()
