"""An ELM327 that does not exist: the adapter's firmware, and three of the clones that are sold as one.

Characters and frames go in and out as values, time is an argument; the socket and the terminal stand in
:mod:`virtualbus.elm327front`.

Standard: ELM327 data sheet, as its firmware and common clones behave (``AT`` set, answers, error texts).
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Final

from virtualbus.transport import Frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from virtualbus.elm327chips import Chip

__all__ = ["Elm327"]

_MS: Final = 1_000_000
_RESET_NS: Final = 350 * _MS
_WARM_NS: Final = 60 * _MS
_SEARCH_NS: Final = 200 * _MS
_AFTER_ANSWER_NS: Final = 55 * _MS
_AFTER_FAST_NS: Final = 30 * _MS
_PENDING_NS: Final = 5_000 * _MS
_MAX_COMMAND: Final = 64
_CAN: Final = {"6": (11, 500), "7": (29, 500), "8": (11, 250), "9": (29, 250), "A": (29, 250)}
_NAMES: Final = {
    "0": "AUTO",
    "1": "SAE J1850 PWM",
    "2": "SAE J1850 VPW",
    "3": "ISO 9141-2",
    "4": "ISO 14230-4 (KWP 5BAUD)",
    "5": "ISO 14230-4 (KWP FAST)",
    "6": "ISO 15765-4 (CAN 11/500)",
    "7": "ISO 15765-4 (CAN 29/500)",
    "8": "ISO 15765-4 (CAN 11/250)",
    "9": "ISO 15765-4 (CAN 29/250)",
    "A": "SAE J1939 (CAN 29/250)",
    "B": "USER1 (CAN 11/125)",
    "C": "USER2 (CAN 11/50)",
}


class Elm327:
    """State of the adapter.

    Args:
        chip: how it behaves.
        volts: reads pin 16.
        bus: identifier bits and kbit/s of the car's bus.
    """

    def __init__(self, chip: Chip, volts: Callable[[], float], bus: tuple[int, int] = (11, 500)) -> None:
        self.chip = chip
        self._volts = volts
        self._bus = bus
        self._line = bytearray()
        self._last = ""
        self._was_reset = not chip.eats_first_reset
        self._out = bytearray()
        self._frames: list[Frame] = []
        self._busy_until: int | None = None
        self._then = b""
        self._waiting = False
        self._deadline = 0
        self._monitoring = False
        self._budget = 0.0
        self._budget_ns = 0
        self._search: deque[str] = deque()
        self._request = b""
        self._wanted = 0
        self._got = 0
        self._lines = 0
        self._assembly: dict[int, int] = {}
        self.known = False
        self._defaults()

    def _defaults(self) -> None:
        self.echo = True
        self.linefeed = True
        self.spaces = True
        self.headers = False
        self.formatting = True
        self.flow_control = True
        self.responses = True
        self.show_length = False
        self.variable = False
        self.adaptive = 1
        self.timeout_ns = 200 * _MS
        self.protocol = "0"
        self.auto = True
        self.header = 0x7DF if self._bus[0] == 11 else 0x18DB33F1
        self.priority = 0x18
        self.filter: tuple[int, int] | None = None
        self.code = self.mask = -1
        self.fc_mode = 0
        self.fc_header = 0x7E0
        self.fc_data = b"\x30\x00\x00"
        self.known = False

    # -- characters ---------------------------------------------------------------------------------------------

    def feed(self, data: bytes, now_ns: int) -> None:
        """Takes what the host wrote."""
        for byte in data:
            if byte == 0:
                continue
            if self._is_busy:
                self._interrupt()
                continue
            if self.echo and byte != 0x0A:
                self._out.append(byte)
                if byte == 0x0D and self.linefeed:
                    self._out.append(0x0A)
            if byte == 0x0D:
                text = re.sub(r"\s", "", self._line.decode("latin-1")).upper()
                overlong = len(self._line) > _MAX_COMMAND
                self._line.clear()
                self._command("?" if overlong else text or self._last, now_ns)
            elif byte != 0x0A:
                self._line.append(byte)

    @property
    def _is_busy(self) -> bool:
        return self._waiting or self._monitoring or self._busy_until is not None

    def _interrupt(self) -> None:
        """Any byte stops what is under way."""
        if self._busy_until is not None:
            return  # resetting: characters are lost
        self._monitoring = False
        self._finish("STOPPED")

    def take(self) -> tuple[bytes, list[Frame]]:
        """What leaves to the host and to the bus."""
        out, frames = bytes(self._out), self._frames
        self._out, self._frames = bytearray(), []
        return out, frames

    def next_ns(self) -> int | None:
        """When :meth:`poll` has something to do."""
        if self._busy_until is not None:
            return self._busy_until
        return self._deadline if self._waiting else None

    def poll(self, now_ns: int) -> None:
        """Lets time pass."""
        if self._busy_until is not None and now_ns >= self._busy_until:
            self._busy_until = None
            self._out += self._then
        if self._waiting and now_ns >= self._deadline:
            self._timed_out(now_ns)

    def _say(self, text: str) -> None:
        self._out += text.encode("latin-1") + self._end

    @property
    def _end(self) -> bytes:
        return b"\r\n" if self.linefeed else b"\r"

    def _prompt(self) -> None:
        self._out += self._end + b">"

    def _finish(self, text: str = "") -> None:
        self._waiting = False
        self._search.clear()
        if text:
            self._say(text)
        self._prompt()

    # -- commands -----------------------------------------------------------------------------------------------

    def _command(self, text: str, now_ns: int) -> None:
        self._last = text
        if text.startswith("AT"):
            self._manage(text[2:], now_ns)
        elif re.fullmatch(r"[0-9A-F]+", text):
            self._transmit(text, now_ns)
        else:
            self._finish("?")

    def _manage(self, text: str, now_ns: int) -> None:
        if text in ("Z", "WS"):
            self._reset(cold=text == "Z", now_ns=now_ns)
            return
        word = next(
            (word for word in sorted(self.chip.lacks | self.chip.ignores, key=len) if text.startswith(word)), ""
        )
        if word and word in self.chip.lacks:
            self._finish("?")
            return
        if word and word in self.chip.ignores:
            self._finish("OK")
            return
        if text == "MA":
            self._monitoring = True
            self._budget, self._budget_ns = 512.0, now_ns
            return
        answer = self._switch(text) or self._told(text) or self._addressing(text)
        self._finish(answer or "?")

    def _reset(self, *, cold: bool, now_ns: int) -> None:
        self._defaults()
        self._monitoring = self._waiting = False
        if not self._was_reset:
            self._was_reset = True
            return  # this one is eaten
        self._busy_until = now_ns + (_RESET_NS if cold else _WARM_NS)
        self._then = self._end + self._end + self.chip.identity.encode() + self._end + self._end + b">"

    def _switch(self, text: str) -> str:
        """Commands that set one thing."""
        flags = {
            "E": "echo", "L": "linefeed", "S": "spaces", "H": "headers", "CAF": "formatting", "CFC": "flow_control",
            "R": "responses", "D": "show_length", "V": "variable",
        }  # fmt: skip
        if found := re.fullmatch(r"(E|L|S|H|CAF|CFC|R|D|V)([01])", text):
            setattr(self, flags[found[1]], found[2] == "1")
            return "OK"
        if found := re.fullmatch(r"AT([012])", text):
            self.adaptive = int(found[1])
            return "OK"
        if found := re.fullmatch(r"ST([0-9A-F]{2})", text):
            self.timeout_ns = (int(found[1], 16) or 0x32) * 4 * _MS
            return "OK"
        if found := re.fullmatch(r"(S|T)P(A?)([0-9A-C])", text):
            self.protocol, self.auto = found[3], bool(found[2]) or found[3] == "0"
            self.known = False
            return "OK"
        if text == "D":
            self._defaults()
            return "OK"
        ignored = (
            r"M[01]|AL|NL|PC|AR|CSM[01]|KW[01]|IB(10|48|96)|SW[0-9A-F]{2}|WM[0-9A-F]+|TA[0-9A-F]{2}|BI|SS|FE|CTM[15]"
        )
        return "OK" if re.fullmatch(ignored, text) else ""

    def _told(self, text: str) -> str:
        """Commands that answer with a text."""
        if text == "I":
            return self.chip.identity
        if text == "@1":
            return "OBDII to RS232 Interpreter"
        if text == "RV":
            return f"{self._volts() + self.chip.volts:.1f}V"
        if text == "IGN":
            return "ON"
        if text == "DPN":
            return ("A" if self.auto else "") + self.protocol
        if text == "DP":
            return ("AUTO, " if self.auto and self.protocol != "0" else "") + _NAMES[self.protocol]
        if text == "PPS":
            return "00:FF F  01:FF F  02:FF F  03:32 F"
        if text == "CS":
            return "T:00 R:00"
        if text == "LP":
            return "OK"
        return ""

    def _addressing(self, text: str) -> str:
        """Headers, filters, flow control."""
        if found := re.fullmatch(r"SH([0-9A-F]{3})", text):
            self.header = int(found[1], 16)
        elif found := re.fullmatch(r"SH([0-9A-F]{6})", text):
            self.header = self.priority << 24 | int(found[1], 16)
        elif (found := re.fullmatch(r"SH([0-9A-F]{8})", text)) and "CRA" not in self.chip.lacks:
            self.header = int(found[1], 16)
        elif found := re.fullmatch(r"CP([0-9A-F]{2})", text):
            self.priority = int(found[1], 16) & 0x1F
            self.header = self.priority << 24 | self.header & 0xFFFFFF
        elif text == "CRA":
            self.filter = None
        elif found := re.fullmatch(r"CRA([0-9A-FX]{3}|[0-9A-FX]{8})", text):
            mask = int(re.sub(r"[0-9A-F]", "F", found[1]).replace("X", "0"), 16)
            self.filter = (int(found[1].replace("X", "0"), 16), mask)
        elif found := re.fullmatch(r"CF([0-9A-F]{3}|[0-9A-F]{8})", text):
            self.code = int(found[1], 16)
        elif found := re.fullmatch(r"CM([0-9A-F]{3}|[0-9A-F]{8})", text):
            self.mask = int(found[1], 16)
        elif found := re.fullmatch(r"SR([0-9A-F]{2,3})", text):
            self.filter = (int(found[1], 16) | (0x700 if len(found[1]) == 2 else 0), 0x7FF)
        elif found := re.fullmatch(r"FCSH([0-9A-F]{3}|[0-9A-F]{8})", text):
            self.fc_header = int(found[1], 16)
        elif found := re.fullmatch(r"FCSD((?:[0-9A-F]{2}){1,5})", text):
            self.fc_data = bytes.fromhex(found[1])
        elif found := re.fullmatch(r"FCSM([012])", text):
            self.fc_mode = int(found[1])
        elif not re.fullmatch(r"CEA([0-9A-F]{2})?", text):
            return ""
        return "OK"

    # -- the bus ------------------------------------------------------------------------------------------------

    def _transmit(self, text: str, now_ns: int) -> None:
        wanted = 0
        if len(text) % 2:
            text, wanted = text[:-1], int(text[-1], 16)
        data = bytes.fromhex(text)
        if not 1 <= len(data) <= (7 if self.formatting else 8):
            self._finish("?")
            return
        if self.formatting:
            data = bytes([len(data)]) + data
            if not self.variable:
                data = data.ljust(8, b"\0")
        self._request, self._wanted = data, wanted
        self._got = self._lines = 0
        self._assembly.clear()
        if self.protocol not in _CAN and self.protocol != "0":
            self._waiting, self._deadline = True, now_ns + 2 * _SEARCH_NS
            self._search.clear()
            return
        if self.protocol == "A":
            self._wanted = 0
        if self.auto and not self.known:
            first = [self.protocol] if self.protocol != "0" else []
            self._search = deque(dict.fromkeys((*first, "6", "8", "7", "9")))
            self._out += b"SEARCHING..."
            self.protocol = self._search.popleft()
        self._send_request(now_ns)

    def _send_request(self, now_ns: int) -> None:
        self._waiting = True
        bits, speed = _CAN[self.protocol]
        if speed != self._bus[1]:
            # Nobody acknowledges at a wrong bit rate; while searching the chip tries the next one.
            self._deadline = now_ns + 60 * _MS
            return
        extended = bits == 29
        header = self.header
        if extended and header <= 0x7FF:
            header = 0x18DB33F1
        elif not extended and header > 0x7FF:
            header = 0x7DF
        self._frames.append(Frame(header, self._request, extended))
        if not self.responses:
            self._finish()
            return
        self._deadline = now_ns + (_SEARCH_NS if self._search else self.timeout_ns)

    def _timed_out(self, now_ns: int) -> None:
        if self._got:
            self.known = True
            self._finish()
        elif self._search:
            self.protocol = self._search.popleft()
            self._send_request(now_ns)
        elif self.auto and not self.known:
            self.protocol = "0"
            self._out += self._end
            self._finish("UNABLE TO CONNECT")
        elif self.protocol not in _CAN:
            self._finish("BUS INIT: ...ERROR" if self.protocol in "345" else "UNABLE TO CONNECT")
        elif _CAN[self.protocol][1] != self._bus[1]:
            self._finish("CAN ERROR")
        else:
            self._finish("NO DATA")

    def _is_accepted(self, frame: Frame) -> bool:
        if self.filter is not None:
            return frame.can_id & self.filter[1] == self.filter[0] & self.filter[1]
        if self.code >= 0:
            mask = self.mask if self.mask >= 0 else 0x7FF
            return frame.can_id & mask == self.code & mask
        if frame.extended:
            return frame.can_id & 0x1FFFFF00 == 0x18DAF100
        return 0x7E8 <= frame.can_id <= 0x7EF

    def hear(self, frame: Frame, now_ns: int) -> None:
        """Takes a frame that is on the bus."""
        if frame.fd or not (self._monitoring or self._waiting):
            return
        protocol = self.protocol if self.protocol in _CAN else "6"
        bits, speed = _CAN[protocol]
        if speed != self._bus[1]:
            return
        if self._monitoring:
            self._monitor(frame, now_ns)
            return
        if frame.extended != (bits == 29) or not self._is_accepted(frame) or not frame.data:
            return
        self._answer(frame, now_ns)

    def _monitor(self, frame: Frame, now_ns: int) -> None:
        if self.filter is not None and not self._is_accepted(frame):
            return
        text = self._with_header(frame) if self.headers else self._hex(frame.data)
        self._budget = min(512.0, self._budget + (now_ns - self._budget_ns) / 1e9 * self.chip.characters_s)
        self._budget_ns = now_ns
        self._budget -= len(text) + 2
        if self._budget < 0:
            self._monitoring = False
            self._finish("BUFFER FULL")
            return
        self._say(text)

    def _hex(self, data: bytes) -> str:
        return "".join(f"{byte:02X} " if self.spaces else f"{byte:02X}" for byte in data)

    def _with_header(self, frame: Frame) -> str:
        if frame.extended:
            header = self._hex(frame.can_id.to_bytes(4, "big"))
        else:
            header = f"{frame.can_id:03X}" + (" " if self.spaces else "")
        if self.show_length:
            header += f"{len(frame.data):X}" + (" " if self.spaces else "")
        return header + self._hex(frame.data)

    def _answer(self, frame: Frame, now_ns: int) -> None:
        kind = frame.data[0] >> 4
        if self.formatting and kind > 2:
            return
        if kind == 1 and self.flow_control:
            self._grant(frame)
        if not self._got and not self.known and self.auto:
            self._out += self._end  # the line on which SEARCHING... stands ends
        if not self.chip.lines or self._lines < self.chip.lines:
            self._say(self._formatted(frame, kind))
        self._lines += 1
        self._count(frame, kind)
        pending = kind == 0 and frame.data[1:2] == b"\x7f" and frame.data[3:4] == b"\x78"
        if pending and self.chip.has_pending:
            self._deadline = now_ns + _PENDING_NS
            return
        quick = {0: self.timeout_ns, 1: _AFTER_ANSWER_NS, 2: _AFTER_FAST_NS}[self.adaptive]
        open_ones = any(left > 0 for left in self._assembly.values())
        self._deadline = now_ns + (self.timeout_ns if open_ones else min(self.timeout_ns, quick))
        self.known = self.known or self._got > 0
        self._search.clear()
        if self._wanted and self._got >= self._wanted and not open_ones:
            self._finish()

    def _count(self, frame: Frame, kind: int) -> None:
        """How many answers are whole, and what is missing of the others."""
        if kind == 1 and len(frame.data) > 1:
            self._assembly[frame.can_id] = ((frame.data[0] & 0x0F) << 8 | frame.data[1]) - 6
            self._got += 1
        elif kind == 2 and frame.can_id in self._assembly:
            self._assembly[frame.can_id] -= 7
        else:
            self._got += 1

    def _grant(self, frame: Frame) -> None:
        auto = frame.can_id - 8
        if frame.extended:
            auto = 0x18DA00F1 | (frame.can_id & 0xFF) << 8
        header = self.fc_header if self.fc_mode == 1 else auto
        data = self.fc_data if self.fc_mode else b"\x30\x00\x00"
        self._frames.append(Frame(header, data.ljust(8, b"\0"), frame.extended))

    def _formatted(self, frame: Frame, kind: int) -> str:
        if self.headers or not self.formatting:
            return self._with_header(frame) if self.headers else self._hex(frame.data)
        data = frame.data
        if kind == 0:
            return self._hex(data[1 : 1 + (data[0] & 0x0F)])
        if kind == 1:
            length = (data[0] & 0x0F) << 8 | data[1]
            return f"{length:03X}" + self._end.decode() + "0:" + (" " if self.spaces else "") + self._hex(data[2:])
        return f"{data[0] & 0x0F:X}:" + (" " if self.spaces else "") + self._hex(data[1:])
