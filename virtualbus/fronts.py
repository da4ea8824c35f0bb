"""Fronts: the places where other programs meet the car's bus.

A front gives frames to the outside and takes frames from it. Which ones may be opened at all is decided here: a
simulated car must never reach a real one.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import socket
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from virtualbus.errors import FrontBroken, FrontRefused, Phrase
from virtualbus.transport import Frame

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from virtualbus.car import Car
    from virtualbus.farm import Farm

__all__ = ["CanFront", "Front", "FrontAddress", "open_front", "open_fronts", "parse_front"]

_LOG: Final = logging.getLogger(__name__)
_RECV_S: Final = 0.25
_ECHO_S: Final = 2.0
_ECHO_FRAMES: Final = 2000
_RETRY_S: Final = 0.5
_FORMS: Final = Phrase(
    "write slcan, socketcand[:PORT], elm327[:PORT|pty[:CHIP]], doip[:PORT], gbt32960:HOST:PORT[:2025] "
    "or can:INTERFACE:CHANNEL",
    "请写 slcan、socketcand[:PORT]、elm327[:PORT|pty[:CHIP]]、doip[:PORT]、gbt32960:HOST:PORT[:2025] 或 "
    "can:INTERFACE:CHANNEL",
)
_PORT_RANGE: Final = Phrase("a port is a number from 0 to 65535", "端口应为 0～65535 的数字")


@dataclass(frozen=True, slots=True)
class FrontAddress:
    """What a front was asked to be.

    Args:
        kind: ``can``, ``slcan``, ``socketcand``, ``elm327``, ``doip`` or ``gbt32960``.
        interface, channel: as python-can spells them; for ``elm327`` the channel may be ``pty``, for ``gbt32960`` it is
            the platform's host.
        port: TCP port of a server; None is its usual one.
        chip: which ELM327, see :data:`virtualbus.elm327chips.CHIPS`; for ``gbt32960`` the edition.
    """

    kind: str
    interface: str = ""
    channel: str = ""
    port: int | None = None
    chip: str = ""

    def __str__(self) -> str:
        if self.kind == "can":
            return f"can:{self.interface}:{self.channel}"
        if self.kind == "gbt32960":
            return f"gbt32960:{self.channel}:{self.port}"
        where = self.channel or ("" if self.port is None else str(self.port))
        return ":".join(part for part in (self.kind, where, self.chip) if part)

    @property
    def is_simulated(self) -> bool:
        """Whether no real vehicle can be behind it."""
        return (
            self.kind in ("slcan", "socketcand", "elm327", "doip")
            or (self.kind == "gbt32960" and _is_loopback(self.channel))
            or self.interface in ("virtual", "udp_multicast")
            or (self.interface == "socketcan" and self.channel.startswith("vcan"))
        )


class Front(Protocol):
    """One open front."""

    @property
    def description(self) -> Mapping[str, object]:
        """What to connect to: one JSON line of ``huizhen sim run``."""

    def attach(self, car: Car | Farm) -> None:
        """Tells the front which car it belongs to, before it starts."""

    def start(self, sink: Callable[[Front, Frame], None]) -> None:
        """Begins to take frames; ``sink`` is called from another thread."""

    def send(self, frame: Frame) -> None:
        """Gives a frame to whoever listens; drops it when nobody does."""

    def stop(self) -> None:
        """Closes the front."""


def parse_front(text: str) -> FrontAddress:
    """``slcan``, ``socketcand[:PORT]``, ``elm327[:PORT|pty[:CHIP]]``, ``doip[:PORT]`` or ``can:IFACE:CHANNEL``.

    ``can:vcan0`` is short for ``can:socketcan:vcan0``; so are the other names of CAN interfaces in the kernel.

    Raises:
        FrontBroken: none of them.
    """
    kind, separator, rest = text.partition(":")
    if text == "slcan":
        return FrontAddress("slcan")
    if kind in ("socketcand", "doip", "elm327") and not separator:
        return FrontAddress(kind)
    if kind in ("socketcand", "doip"):
        return FrontAddress(kind, port=_port(text, rest))
    if kind == "gbt32960":
        found = re.fullmatch(r"([\w.-]+|\[[0-9a-fA-F:]+\]):(\d{1,5})(?::(2016|2025))?", rest)
        if found is None:
            raise FrontBroken(text, _FORMS)
        return FrontAddress(kind, channel=found[1].strip("[]"), port=_port(text, found[2]), chip=found[3] or "2016")
    if kind == "elm327":
        from virtualbus.elm327chips import CHIPS

        where, _, chip = rest.partition(":")
        if chip and chip not in CHIPS:
            raise FrontBroken(text, Phrase(f"chips are {', '.join(CHIPS)}", f"芯片只能是 {'、'.join(CHIPS)}"))
        if where == "pty":
            return FrontAddress(kind, channel="pty", chip=chip)
        return FrontAddress(kind, port=_port(text, where), chip=chip)
    if kind == "can" and rest:
        interface, colon, channel = rest.partition(":")
        if not colon and re.fullmatch(r"[a-z]*can\d+", interface):
            interface, channel = "socketcan", interface
        if interface and channel:
            return FrontAddress("can", interface, channel)
    raise FrontBroken(text, _FORMS)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _port(text: str, digits: str) -> int:
    if not re.fullmatch(r"\d{1,5}", digits) or int(digits) >= 1 << 16:
        raise FrontBroken(text, _PORT_RANGE)
    return int(digits)


def open_front(address: FrontAddress, *, bench: bool = False) -> Front:
    """Opens a front.

    Args:
        address: what to open.
        bench: allows a bus behind which a real vehicle could be.

    Raises:
        FrontRefused: it could be a real bus, and ``bench`` is not given.
        FrontBroken: it cannot be opened.
    """
    if not address.is_simulated and not bench:
        raise FrontRefused(str(address))
    if address.kind == "slcan":
        from virtualbus.slcan import SlcanFront

        return SlcanFront()
    if address.kind == "socketcand":
        from virtualbus.socketcand import DEFAULT_PORT, SocketcandFront

        return SocketcandFront(DEFAULT_PORT if address.port is None else address.port)
    if address.kind == "gbt32960":
        from virtualbus.gbt32960front import Gbt32960Front

        return Gbt32960Front(address.channel, address.port or 0, address.chip)
    if address.kind == "doip":
        from virtualbus.doipfront import DEFAULT_PORT as DOIP_PORT
        from virtualbus.doipfront import DoipFront

        return DoipFront(DOIP_PORT if address.port is None else address.port)
    if address.kind == "elm327":
        from virtualbus.elm327front import DEFAULT_PORT as ELM327_PORT
        from virtualbus.elm327front import Elm327Front

        port = None if address.channel == "pty" else ELM327_PORT if address.port is None else address.port
        return Elm327Front(port, address.chip or "v2.2")
    if "," in address.channel:
        return CanFronts(address)
    return CanFront(address)


def open_fronts(addresses: Sequence[FrontAddress], *, bench: bool = False) -> list[Front]:
    """Opens all fronts, or none.

    Raises:
        FrontRefused, FrontBroken: as :func:`open_front`; what was opened before is closed again.
    """
    opened: list[Front] = []
    for address in addresses:
        if not address.is_simulated and not bench:
            raise FrontRefused(str(address))
    try:
        for address in addresses:
            opened.append(open_front(address, bench=bench))  # noqa: PERF401 - what is open must be known on failure
    except BaseException:
        for front in opened:
            front.stop()
        raise
    return opened


class CanFronts:
    """Several python-can buses, one for each bus of the car: ``can:virtual:a,b,c``."""

    def __init__(self, address: FrontAddress) -> None:
        self._parts: list[CanFront] = []
        try:
            for bus, channel in enumerate(address.channel.split(",")):
                part = FrontAddress("can", address.interface, channel)
                self._parts.append(CanFront(part, bus))
        except BaseException:
            self.stop()
            raise

    @property
    def description(self) -> dict[str, object]:
        """Interface and channels as python-can spells them, in the order of the car's buses."""
        channels = [part.description["channel"] for part in self._parts]
        return {**self._parts[0].description, "channels": channels}

    def attach(self, car: Car | Farm) -> None:
        """A bus needs nothing of the car but its frames."""

    def start(self, sink: Callable[[Front, Frame], None]) -> None:
        """Reads from all of them."""
        for part in self._parts:
            part.start(lambda _, frame: sink(self, frame))

    def send(self, frame: Frame) -> None:
        """Sends on the frame's own bus."""
        if frame.channel < len(self._parts):
            self._parts[frame.channel].send(frame)

    def stop(self) -> None:
        """Closes all of them."""
        for part in self._parts:
            part.stop()


class CanFront:
    """A python-can bus.

    Args:
        bus: which of the car's buses it is.

    Multicast loops a program's own datagrams back to it: what was just sent is recognised and not taken for
    somebody else's frame.
    """

    def __init__(self, address: FrontAddress, bus: int = 0) -> None:
        import can

        self._can = can
        self._address = address
        self._channel = bus
        options: dict[str, Any] = {"hop_limit": 0} if address.interface == "udp_multicast" else {}
        if address.interface in ("virtual", "socketcan"):
            options["fd"] = True
        try:
            self._bus = can.Bus(interface=address.interface, channel=address.channel, **options)
        except (can.CanError, OSError, ValueError, TypeError, ImportError) as exc:
            raise FrontBroken(str(address), Phrase(str(exc), str(exc))) from exc
        if address.interface == "udp_multicast" and sys.platform == "linux":
            # Else Linux hands over what any program of this machine has joined on the port: another car's tester.
            with socket.socket(fileno=os.dup(self._bus.fileno())) as own:
                own.setsockopt(*((41, 29) if own.family == socket.AF_INET6 else (0, 49)), 0)  # IP(V6)_MULTICAST_ALL
        self._echoes: deque[tuple[float, Frame]] | None = (
            deque(maxlen=_ECHO_FRAMES) if address.interface == "udp_multicast" else None
        )
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._silent_until = 0.0

    @property
    def description(self) -> dict[str, str]:
        """Interface and channel as python-can spells them."""
        return {"front": "can", "interface": self._address.interface, "channel": self._address.channel}

    def attach(self, car: Car | Farm) -> None:
        """A bus needs nothing of the car but its frames."""

    def start(self, sink: Callable[[Front, Frame], None]) -> None:
        """Reads in a thread of its own."""
        self._thread = threading.Thread(target=self._read, args=(sink,), name=f"front {self._address}", daemon=True)
        self._thread.start()

    def _read(self, sink: Callable[[Front, Frame], None]) -> None:
        while not self._stopping.is_set():
            try:
                message = self._bus.recv(_RECV_S)
            except (self._can.CanError, OSError, ValueError) as exc:
                # A damaged datagram or a bus that went down: the car goes on and tries again.
                if not self._stopping.is_set():
                    _LOG.warning("%s: %s", self._address, exc)
                    self._stopping.wait(_RETRY_S)
                continue
            if message is None or message.is_error_frame or message.is_remote_frame:
                continue
            frame = Frame(
                message.arbitration_id, bytes(message.data), message.is_extended_id, message.is_fd, self._channel
            )
            if not self._is_echo(frame):
                sink(self, frame)

    def _is_echo(self, frame: Frame) -> bool:
        if self._echoes is None:
            return False
        oldest = time.monotonic() - _ECHO_S
        with self._lock:
            while self._echoes and self._echoes[0][0] < oldest:
                self._echoes.popleft()
            for at, (_, sent) in enumerate(self._echoes):
                if sent == frame:
                    del self._echoes[at]
                    return True
        return False

    def send(self, frame: Frame) -> None:
        """Sends at once; a bus that takes nothing is left alone for a moment."""
        now = time.monotonic()
        if now < self._silent_until:
            return
        if self._echoes is not None:
            with self._lock:
                self._echoes.append((now, frame))
        if frame.channel != self._channel:
            return
        message = self._can.Message(
            arbitration_id=frame.can_id, data=frame.data, is_extended_id=frame.extended, is_fd=frame.fd,
            bitrate_switch=frame.fd,
        )  # fmt: skip
        try:
            self._bus.send(message)
        except (self._can.CanError, OSError) as exc:
            _LOG.warning("%s: %s", self._address, exc)
            self._silent_until = now + _RETRY_S

    def stop(self) -> None:
        """Ends the thread, closes the bus."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(2.0)
        self._bus.shutdown()
