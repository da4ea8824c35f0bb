"""A serial CAN adapter that does not exist: the LAWICEL (slcan) protocol on a pseudo-terminal.

Other programs open its path as they would open a USB adapter's. The adapter sits on a 500 kbit/s bus: set to another
speed it hears nothing, as on a wire. The protocol itself (:class:`Lawicel`) does no I/O.

Standard: LAWICEL CAN232 / CANUSB command set, as CANable's firmware and python-can's ``slcan`` speak it.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import threading
import time
from typing import TYPE_CHECKING, Final

from virtualbus.pseudoterminal import open_terminal
from virtualbus.transport import Frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from virtualbus.car import Car
    from virtualbus.farm import Farm
    from virtualbus.fronts import Front

__all__ = ["Lawicel", "SlcanFront"]

OK: Final = b"\r"
BELL: Final = b"\a"
BUS_SPEED: Final = "6"
"""S6 is 500 kbit/s."""

_MAX_LINE: Final = 32
_MAX_PENDING: Final = 4096
_READ_BYTES: Final = 4096
_POLL_S: Final = 0.25
_MINUTE_MS: Final = 60_000
_OVERRUN: Final = 0x08
_BUS_ERROR: Final = 0x80
_SHORT: Final = re.compile(r"t([0-7][0-9A-F]{2})([0-8])((?:[0-9A-F]{2})*)", re.IGNORECASE)
_OTHER: Final = re.compile(
    r"T([01][0-9A-F]{7})([0-8])((?:[0-9A-F]{2})*)|r[0-7][0-9A-F]{2}[0-8]|R[01][0-9A-F]{7}[0-8]", re.IGNORECASE
)


class Lawicel:
    """The adapter's firmware: characters in, characters and frames out.

    Attributes:
        is_open, is_listening: channel state; a listening adapter refuses to send.
    """

    def __init__(self) -> None:
        self.is_open = False
        self.is_listening = False
        self._speed = self.bus_speed = BUS_SPEED
        self._stamps = False
        self._errors = 0
        self._line = bytearray()
        self._overlong = False

    def feed(self, data: bytes) -> tuple[bytes, list[Frame]]:
        """Takes what the host wrote; gives the answers and the frames for the bus."""
        answers, frames = bytearray(), []
        for byte in data:
            if byte == OK[0]:
                answer, frame = self._command()
                answers += answer
                if frame is not None:
                    frames.append(frame)
                self._line.clear()
                self._overlong = False
            elif len(self._line) < _MAX_LINE:
                self._line.append(byte)
            else:
                self._overlong = True
        return bytes(answers), frames

    def line_from_frame(self, frame: Frame, now_ns: int) -> bytes:
        """What the adapter writes for a frame on the bus; nothing while closed or at a wrong speed."""
        if not self.is_open or frame.channel:
            return b""
        if self._speed != self.bus_speed or frame.fd:
            self._errors |= _BUS_ERROR
            return b""
        stamp = f"{now_ns // 1_000_000 % _MINUTE_MS:04X}" if self._stamps else ""
        head = f"T{frame.can_id:08X}" if frame.extended else f"t{frame.can_id:03X}"
        return f"{head}{len(frame.data)}{frame.data.hex().upper()}{stamp}\r".encode("ascii")

    def overrun(self) -> None:
        """The host did not read in time and a frame was dropped."""
        self._errors |= _OVERRUN

    def _command(self) -> tuple[bytes, Frame | None]:
        try:
            text = self._line.decode("ascii")
        except UnicodeDecodeError:
            return BELL, None
        if self._overlong:
            return BELL, None
        if not text:
            return OK, None
        if text[0] in "tTrR":
            return self._transmit(text)
        return self._manage(text), None

    def _manage(self, text: str) -> bytes:
        if text == "V":
            return b"V1013\r"
        if text == "N":
            return b"NHZ40\r"
        if text in {"O", "L"}:
            if self.is_open:
                return BELL
            self.is_open, self.is_listening, self._errors = True, text == "L", 0
            return OK
        if text == "C":
            self.is_open = False
            return OK
        if text == "F":
            if not self.is_open:
                return BELL
            flags, self._errors = self._errors, 0
            return f"F{flags:02X}\r".encode("ascii")
        return self._configure(text)

    def _configure(self, text: str) -> bytes:
        if self.is_open:
            return BELL
        if re.fullmatch(r"S[0-8]", text):
            self._speed = text[1]
        elif re.fullmatch(r"Z[01]", text):
            self._stamps = text == "Z1"
        elif text != "X1":
            return BELL
        return OK

    def _transmit(self, text: str) -> tuple[bytes, Frame | None]:
        if not self.is_open or self.is_listening:
            return BELL, None
        done = (b"Z" if text[0] in "TR" else b"z") + OK
        if short := _SHORT.fullmatch(text):
            data = bytes.fromhex(short[3])
            if len(data) != int(short[2]):
                return BELL, None
            if self._speed != self.bus_speed:
                self._errors |= _BUS_ERROR
                return done, None
            return done, Frame(int(short[1], 16), data)
        other = _OTHER.fullmatch(text)
        if other and other[1] is None:
            return done, None  # a remote frame is sound on the wire; no ECU listens to any
        if other and len(other[3]) == 2 * int(other[2]):
            right = self._speed == self.bus_speed
            self._errors |= 0 if right else _BUS_ERROR
            return done, Frame(int(other[1], 16), bytes.fromhex(other[3]), extended=True) if right else None
        return BELL, None


class SlcanFront:
    """The adapter on a pseudo-terminal.

    Raises:
        FrontBroken: the system has no pseudo-terminals.
    """

    def __init__(self) -> None:
        self._master, self._slave, self.path = open_terminal("slcan")
        self._firmware = Lawicel()
        self._pending = bytearray()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def description(self) -> dict[str, str]:
        """The path to open."""
        return {"front": "slcan", "channel": self.path}

    def attach(self, car: Car | Farm) -> None:
        """The adapter sits on the car's bus: it hears nothing at another speed."""
        with self._lock:
            self._firmware.bus_speed = {250_000: "5", 500_000: "6"}[car.vehicle.bitrate]

    def start(self, sink: Callable[[Front, Frame], None]) -> None:
        """Reads in a thread of its own."""
        self._thread = threading.Thread(target=self._read, args=(sink,), name="front slcan", daemon=True)
        self._thread.start()

    def _read(self, sink: Callable[[Front, Frame], None]) -> None:
        while not self._stopping.is_set():
            ready, _, _ = select.select([self._master], [], [], _POLL_S)
            if not ready:
                continue
            try:
                data = os.read(self._master, _READ_BYTES)
            except BlockingIOError:
                continue
            with self._lock:
                was_open = self._firmware.is_open
                answers, frames = self._firmware.feed(data)
                if self._firmware.is_open != was_open:
                    self._pending.clear()
                self._write(answers)
            for frame in frames:
                sink(self, frame)

    def _write(self, data: bytes) -> None:
        """Writes what the terminal takes; the rest follows with the next write."""
        self._pending += data
        with contextlib.suppress(BlockingIOError):
            del self._pending[: os.write(self._master, self._pending)]

    def send(self, frame: Frame) -> None:
        """Writes a line when the channel is open; drops it when the host does not read."""
        with self._lock:
            line = self._firmware.line_from_frame(frame, time.monotonic_ns())
            if not line:
                return
            if len(self._pending) > _MAX_PENDING:
                self._firmware.overrun()
                line = b""
            self._write(line)

    def stop(self) -> None:
        """Ends the thread, closes the terminal."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(2.0)
        with self._lock:
            os.close(self._master)
            os.close(self._slave)
