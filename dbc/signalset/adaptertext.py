"""What an ELM327 adapter prints, read back to the payloads of each ECU.

Headers on or off, spaces on or off, echo on or off, the data length digit, several ECUs, several lines, the prompt, and
the adapter's own words between them. Frames of one ECU are put together by ISO-TP; a line that is nothing of all this
is counted, never guessed at.

Standard: ISO 15765-2:2016 §9.6 (frames), §10.3 (extended addressing); the print formats are the ELM327's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dbc.errors import Phrase
from dbc.signalset.assembly import Assembly, EcuAnswer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbc.signalset.model import Command

__all__ = ["Heard", "read_adapter_text"]

_WORDS: Final = (
    (re.compile(r"NO\s*DATA"), Phrase("no ECU answered (NO DATA)", "没有 ECU 应答（NO DATA）")),
    (re.compile(r"UNABLE\s*TO\s*CONNECT"), Phrase("no connection to the vehicle", "无法与车辆建立连接")),
    (
        re.compile(r"CAN\s*ERROR"),
        Phrase("the CAN bus is faulty or silent (CAN ERROR)", "CAN 总线故障或无信号（CAN ERROR）"),
    ),
    (re.compile(r"BUS\s*INIT:?[ .]*ERROR"), Phrase("the bus did not start (BUS INIT)", "总线初始化失败（BUS INIT）")),
    (re.compile(r"BUS\s*(?:ERROR|BUSY)"), Phrase("the bus is faulty or busy", "总线故障或繁忙")),
    (
        re.compile(r"FB\s*ERROR"),
        Phrase("the adapter cannot drive the bus (FB ERROR)", "适配器无法驱动总线（FB ERROR）"),
    ),
    (re.compile(r"BUFFER\s*FULL"), Phrase("the adapter's buffer ran over", "适配器缓冲区溢出")),
    (re.compile(r"<?\s*(?:DATA|RX)\s*ERROR"), Phrase("the adapter received damaged data", "适配器接收到损坏的数据")),
    (re.compile(r"LV\s*RESET|LP\s*ALERT|ACT\s*ALERT"), Phrase("the adapter lost its supply", "适配器供电中断")),
    (re.compile(r"STOPPED"), Phrase("the adapter was interrupted (STOPPED)", "适配器被打断（STOPPED）")),
    (re.compile(r"ERR\s*\d\d"), Phrase("the adapter failed (ERR)", "适配器内部故障（ERR）")),
    (re.compile(r"\?"), Phrase("the adapter did not understand the request (?)", "适配器不理解该请求（?）")),
)
_NOISE: Final = re.compile(
    r"SEARCHING[ .]*|BUS\s*INIT:?[ .]*(?:OK)?|\bOK\b|ELM327[ V.\d]*|\bAT\s?[A-Z]{1,4}[ 0-9A-F]*$"
)
_NUMBERED: Final = re.compile(r"([0-9A-F]):([0-9A-F]*)")
_HEX: Final = re.compile(r"[0-9A-F]+")
_NEGATIVE: Final = 0x7F
_MOST_FRAME_BYTES: Final = 64
_CLASSIC_DIGITS: Final = 16


@dataclass(frozen=True, slots=True)
class Heard:
    """Everything in one text.

    Args:
        answers: in the order in which they ended.
        troubles: the adapter's own words, as people understand them.
        unread: lines that are neither frames nor words.
    """

    answers: tuple[EcuAnswer, ...]
    troubles: tuple[Phrase, ...] = ()
    unread: int = 0


@dataclass(slots=True)
class _Bare:
    """An answer printed without identifiers: a length line, then numbered lines; or one line."""

    length: int | None = None
    data: bytearray = field(default_factory=bytearray)

    def finish(self) -> list[EcuAnswer]:
        if not self.data:
            return []
        length = len(self.data) if self.length is None else self.length
        return [EcuAnswer(None, bytes(self.data[:length]), max(0, length - len(self.data)))]


def read_adapter_text(text: str, command: Command) -> Heard:
    """Reads what an adapter printed after a command.

    Args:
        text: with any line ends; letters in either case.
        command: as asked; decides how long identifiers are, whether frames carry an address byte, and what an echo
            looks like.
    """
    reader = _Reader(command)
    for line in re.split(r"[\r\n>]+", text.upper()):
        reader.take(line)
    return reader.finish()


class _Reader:
    """One text, line by line."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._echo = command.request.hex().upper()
        self._address_bytes = 0 if command.address.extended is None else 1
        self._digits = 8 if command.address.is_29bit else 3
        self._ecus: dict[int, Assembly] = {}
        self._bare = _Bare()
        self._answers: list[EcuAnswer] = []
        self._troubles: list[Phrase] = []
        self._unread = 0

    def take(self, line: str) -> None:
        """Takes one line, without its end."""
        line = " ".join(line.split())
        for pattern, trouble in _WORDS:
            line, count = pattern.subn(" ", line)
            if count:
                self._troubles.append(trouble)
        line = "".join(_NOISE.sub(" ", line).split())
        if not line or self._is_echo(line) or self._is_frame(line) or self._is_bare(line):
            return
        if not self._is_run_together(line):
            self._unread += 1

    def _is_echo(self, line: str) -> bool:
        """The request itself, perhaps with the digit that says how many answers to wait for."""
        return line.startswith(self._echo) and len(line) <= len(self._echo) + 1

    def _is_frame(self, line: str) -> bool:
        """A frame with its identifier in front."""
        if not _HEX.fullmatch(line):
            return False
        widths = (self._digits, 11 - self._digits)
        for digits in widths:
            if len(line) < digits + 2 or (digits == 8 and line[0] not in "01"):
                continue
            data = line[digits:]
            if len(data) % 2 and data[0] in "12345678" and len(data) == 2 * int(data[0]) + 1:
                data = data[1:]
            if len(data) % 2 or len(data) > 2 * _MOST_FRAME_BYTES:
                continue
            if digits == 3 and int(line[:3], 16) > 0x7FF:
                continue
            if digits != self._digits and not self._is_diagnostic(int(line[:digits], 16), digits):
                continue
            return self._take_frame(int(line[:digits], 16), bytes.fromhex(data))
        return False

    @staticmethod
    def _is_diagnostic(can_id: int, digits: int) -> bool:
        """An identifier of the other length than the command's counts only where the standard has it."""
        return can_id >> 16 in {0x18DA, 0x18DB} if digits == 8 else 0x7E8 <= can_id <= 0x7EF

    def _take_frame(self, can_id: int, data: bytes) -> bool:
        data = self._without_address(data)
        ecu = self._ecus.setdefault(can_id, Assembly(can_id, address_bytes=self._address_bytes))
        if not ecu.takes(data):
            return False
        self._answers += ecu.feed(data)
        return True

    def _without_address(self, data: bytes) -> bytes:
        """The payload of a frame behind its address byte; empty where it is addressed to another tester."""
        if not self._address_bytes:
            return data
        return data[1:] if data[:1] == bytes([self._command.address.request_id & 0xFF]) else b""

    def _is_run_together(self, line: str) -> bool:
        """Two frames of one ECU in one line, because characters between them were lost; the second one is whole."""
        if not _HEX.fullmatch(line):
            return False
        name = line[: self._digits]
        at = len(line) - self._digits - _CLASSIC_DIGITS
        if at <= self._digits or line[at : at + self._digits] != name:
            return False
        ecu = self._ecus.get(int(name, 16))
        second = self._without_address(bytes.fromhex(line[at + self._digits :]))
        if ecu is None or not ecu.takes(second):
            return False
        first = line[self._digits : at]
        if not self._is_frame(name + first):
            ecu.feed_damaged(self._without_address(bytes.fromhex(first[: len(first) // 2 * 2])))
        self._answers += ecu.feed(second)
        return True

    def _is_bare(self, line: str) -> bool:
        """A line without identifier: a length, a numbered part, or a whole payload."""
        if len(line) == 3 and _HEX.fullmatch(line):
            self._answers += self._bare.finish()
            self._bare = _Bare(int(line, 16))
            return True
        if (found := _NUMBERED.fullmatch(line)) and len(found[2]) % 2 == 0:
            self._bare.data += bytes.fromhex(found[2])
            return True
        if len(line) % 2 == 0 and _HEX.fullmatch(line):
            payload = bytes.fromhex(line)
            if payload[0] in {_NEGATIVE, self._command.service | 0x40}:
                self._answers.append(EcuAnswer(None, payload))
                return True
        return False

    def finish(self) -> Heard:
        """Everything, with what was begun and not ended."""
        answers: Iterable[EcuAnswer] = self._answers
        left = [answer for ecu in self._ecus.values() for answer in ecu.finish()]
        return Heard((*answers, *left, *self._bare.finish()), tuple(self._troubles), self._unread)
