"""What people copy out of terminals: candump's screen, serial lines of ESP32 boards, ELM327 sessions, tables."""
# ruff: noqa: ARG002 - a hook gets what every dialect may need

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from dbc.errors import Phrase
from dbc.recording.lines import Unreadable
from dbc.recording.patterns import PatternDialect, lines_of, number
from dbc.table import BITRATE_SWITCH, ERROR, ERROR_STATE, EXTENDED, FD, FrameRow, FrameTable

if TYPE_CHECKING:
    from dbc.recording.lines import Read

__all__ = ["Console", "Crtd", "ElmSession", "PlainColumns", "ScanAnswers", "SerialBoard"]

_STEPS_BACK: Final = 0.02
_MS_16_BIT_NS: Final = 65_536_000_000
_ERROR_ID: Final = 0x2000_0000
_MAX_T: Final = 1 << 62
_HOUR_NS: Final = 3_600_000_000_000


class Console(PatternDialect):
    """``(1700000000.123456)  can0  1DB   [8]  EE C0 …``: candump without -L; without a stamp there is no time.

    With ``-t d`` the stamps are steps between frames, which shows by their going back again and again.
    """

    name = "candump-console"
    pattern = re.compile(
        r"\s*(?:\((?:(?P<date>\d{4}-\d\d-\d\d)\s+(?P<h>\d\d):(?P<min>\d\d):)?(?P<s>\d{1,11})\.(?P<f>\d{1,9})\)\s+)?"
        r"(?P<bus>[A-Za-z][\w.-]{0,30})\s+(?:(?P<dir>RX|TX)\s+(?P<fd>[B-])\s*(?P<esi>[E-])\s+)?"
        r"(?P<id>[0-9A-Fa-f]{3}|[0-9A-Fa-f]{8})\s+\[(?P<dlc>\d{1,2})\]\s*"
        r"(?P<data>(?:\s+[0-9A-Fa-f]{2})*)(?P<rtr>\s*remote request)?(?P<error>\s*ERRORFRAME)?"
        r"(?P<skip_text>\s+'.{0,64}')?\s*"
    )

    def __init__(self) -> None:
        super().__init__()
        self._dated = 0
        self.stamps = ConsoleStamps()
        self.is_judged = False

    def _time_ns(self, found: re.Match[str]) -> int:
        total = super()._time_ns(found)
        if found["date"]:
            self._dated += 1
            try:
                days = np.datetime64(found["date"], "D").astype(np.int64)
            except ValueError:
                raise Unreadable("a date that does not exist", "日期不存在") from None
            total += int(days) * 86_400_000_000_000
            if abs(total) >= _MAX_T:
                raise Unreadable("a time out of range", "时间超出范围")
        return total

    def has_layout(self, found: re.Match[str]) -> bool:
        """Lines with a date or an error go one by one."""
        return not found["date"] and not found["error"]

    def is_extended(self, found: re.Match[str]) -> bool:
        """Eight digits say it."""
        return len(found["id"]) == 8

    def extra_flags(self, found: re.Match[str]) -> int:
        """CAN FD has two digits of length; ``-x`` shows its two flags."""
        flags = FD if len(found["dlc"]) == 2 else 0
        flags |= BITRATE_SWITCH if found["fd"] == "B" else 0
        flags |= ERROR_STATE if found["esi"] == "E" else 0
        return flags | (ERROR if found["error"] else 0)

    def row(self, found: re.Match[str]) -> FrameRow:
        """Error frames have bit 29 of the identifier set."""
        if found["error"]:
            can_id = number(found["id"], 16, "identifier", "标识符") & 0x1FFF_FFFF
            data = bytes.fromhex(found["data"])
            return FrameRow(self._time_ns(found), can_id, data[:8], ERROR | EXTENDED, self._channel(self.bus(found)))
        return super().row(found)

    def finished(self, table: FrameTable, read: Read) -> FrameTable:
        """Says what the stamps are: none, steps, or times."""
        if not self.is_judged:
            self.judge(table)
            if self.sums_up():
                table.t_ns[:] = np.cumsum(table.t_ns)
        read.timed = self.stamps.any or not len(table)
        if self.sums_up():
            read.notes.append(Phrase("its times are steps between frames; summed up", "时间为帧间隔，已累加"))
        if len(table) and int(table.t_ns[0]) >= 946_684_800_000_000_000:
            if self._dated:
                read.notes.append(Phrase("dates by a clock without a zone, taken as UTC", "日期无时区，按 UTC 处理"))
            self.start_ns = 0
        return table

    def judge(self, table: FrameTable) -> None:
        """Looks at the stamps of some frames; those of all of them tell what stamps mean."""
        self.stamps.add(table, dated=bool(self._dated))

    def sums_up(self) -> bool:
        """Whether the stamps are steps."""
        return self.stamps.are_steps


@dataclass(slots=True)
class ConsoleStamps:
    """What the stamps of a candump screen are like.

    Args:
        any: one is not 0.
        dated: one has a date.
        count: how many.
        back: how many are smaller than the one before.
        largest: in ns.
        last: the newest, None before the first.
    """

    any: bool = False
    dated: bool = False
    count: int = 0
    back: int = 0
    largest: int = 0
    last: int | None = None

    def add(self, table: FrameTable, *, dated: bool) -> None:
        """Looks at those of some frames, which follow those before."""
        if not len(table):
            return
        t_ns = table.t_ns
        self.dated = self.dated or dated
        self.any = self.any or bool(t_ns.any())
        self.back += int(np.count_nonzero(np.diff(t_ns) < 0)) + (self.last is not None and int(t_ns[0]) < self.last)
        self.largest = max(self.largest, int(t_ns.max()))
        self.count += len(t_ns)
        self.last = int(t_ns[-1])

    @property
    def are_steps(self) -> bool:
        """Whether they are steps between frames."""
        share = self.back / (self.count - 1) if self.count > 1 else 0.0
        return self.any and not self.dated and share > _STEPS_BACK and self.largest < _HOUR_NS


class SerialBoard(PatternDialect):
    """``(684.76) RX0 7E0 [8] 03 22 …`` between the noise of a booting ESP32; seconds with two decimals."""

    name = "esp32"
    pattern = re.compile(
        r".{0,200}?\((?P<s>\d{1,11})\.(?P<f>\d{1,9})\)\s*(?P<bus>(?P<dir>RX|TX)\d{0,2})\s+(?P<id>[0-9A-Fa-f]{1,8})\s+"
        r"\[(?P<dlc>\d{1,2})\](?P<data>(?:\s+[0-9A-Fa-f]{1,2})*)(?P<rtr>\s*(?:RTR|remote request))?\s*",
        re.IGNORECASE,
    )

    def bus(self, found: re.Match[str]) -> str:
        """``RX0`` and ``TX0`` are the same bus."""
        return found["bus"][2:] or "0"

    def other(self, text: str) -> FrameRow | None:
        """The heading that PuTTY writes."""
        if text.startswith("=~=~"):
            clock = re.search(r"(\d{4})\.(\d\d)\.(\d\d) (\d\d:\d\d:\d\d)", text)
            if clock and not self.local_start:
                self.local_start = f"{clock[1]}-{clock[2]}-{clock[3]} {clock[4]}"
            return None
        return super().other(text)

    def finished(self, table: FrameTable, read: Read) -> FrameTable:
        """Times count from the board's start, not from that of the terminal."""
        if self.local_start:
            opened = f"the terminal was opened {self.local_start}; times count from the board's start"
            read.notes.append(Phrase(opened, f"终端打开于 {self.local_start}；时间从电路板上电起算"))
            self.local_start = None
        return table


class Crtd(PatternDialect):
    """OVMS CRTD: ``1632509059.542761 2R11 280 03 00 …``; C lines are comments and events."""

    name = "crtd"
    pattern = re.compile(
        r"\s*(?P<s>\d{1,11})(?:\.(?P<f>\d{1,9}))?\s+(?P<bus>\d{0,2})(?P<dir>[RT])(?P<kind>11|29)\s+"
        r"(?P<id>[0-9A-Fa-f]{1,8})(?P<data>(?:\s+[0-9A-Fa-f]{1,2})*)\s*"
    )
    _EVENT: ClassVar[re.Pattern[str]] = re.compile(r"\d+(?:\.\d+)?\s+\d{0,2}C(?:XX|EV|VR|ER|ST|BP|[A-Z]{2}).*")

    def is_extended(self, found: re.Match[str]) -> bool:
        """``R29`` says it."""
        return found["kind"] == "29"

    def other(self, text: str) -> FrameRow | None:
        """Comments, events, statistics."""
        return None if self._EVENT.fullmatch(text) else super().other(text)

    def finished(self, table: FrameTable, read: Read) -> FrameTable:
        """Large stamps are UTC."""
        if len(table) and int(table.t_ns[0]) >= 946_684_800_000_000_000:
            self.start_ns = 0
        return table


class PlainColumns(PatternDialect):
    """``176487  51E  8  0 0 0 0 C 0 0 0``: ms, identifier, length, bytes without leading zeros; text above."""

    name = "plain"
    moduli_ns = (_MS_16_BIT_NS, (1 << 32) * 1_000_000)
    pattern = re.compile(
        r"\s*(?P<ms>\d{1,13})[\s,]+(?P<id>(?:0x)?[0-9A-Fa-f]{1,8})[\s,]+(?P<dlc>[0-8])"
        r"(?P<data>(?:[\s,]+(?:0x)?[0-9A-Fa-f]{1,2}){0,8})[\s,]*"
    )
    _ENOUGH: ClassVar[int] = 2

    @classmethod
    def recognises(cls, head: str) -> bool:
        """Whether most of the lines that could be frames are, for the pattern is a weak one."""
        lines = list(lines_of(head))
        dialect = cls()
        good = 0
        for line in lines:
            found = cls.pattern.fullmatch(line)
            if found is not None:
                try:
                    dialect.row(found)
                except Unreadable:
                    continue
                good += 1
        return good >= cls._ENOUGH and good >= len(lines) // 3

    def other(self, text: str) -> FrameRow | None:
        """Free text may stand above the first frame only."""
        if not self.buses:
            return None
        return super().other(text)


class ElmSession(PatternDialect):
    """A copied ELM327 session with headers on: ``7EC 10 3E 62 01 05 …`` after the request ``22 01 05``."""

    name = "elm327"
    timed = False
    pattern = re.compile(
        r"\s*(?:>\s*)?(?P<id>[0-9A-Fa-f]{3}|[0-9A-Fa-f]{8}|[0-9A-Fa-f]{2}(?: [0-9A-Fa-f]{2}){3})"
        r"(?P<data>(?:\s*[0-9A-Fa-f]{2}){1,8})\s*>?\s*"
    )
    _TALK: ClassVar[re.Pattern[str]] = re.compile(
        r">?\s*(?:AT.*|ST[A-Z0-9 ]+|SEARCHING\.*|NO DATA|OK|STOPPED|\?|UNABLE TO CONNECT|CAN ERROR|BUS (?:BUSY|ERROR)|"
        r"BUFFER FULL|BUS INIT.*|ELM327.*|LV RESET|ACT ALERT|[0-9A-F]{3}|>|(?:[0-9A-F]{2}\s*){1,7}[0-9A-F]?|"
        r"\d+\.\dV)\s*>?",
        re.IGNORECASE,
    )
    _FRAME: ClassVar[re.Pattern[str]] = re.compile(
        # With blanks: 7EC 03 41 0C, 18DAF110 03 …, 18 DA F1 10 03 …; without: an odd number of digits, or 18DA….
        r">?\s*(?:(?P<id>[0-9A-F]{3}|[0-9A-F]{8}|1[0-9A-F] [0-9A-F]{2} [0-9A-F]{2} [0-9A-F]{2}|"
        r"[0-9A-F]{3}(?=(?:[0-9A-F]{2}){2,8}\s*>?$)|18[0-9A-F]{6}(?=(?:[0-9A-F]{2}){2,8}\s*>?$))"
        r"(?P<data>(?: ?[0-9A-F]{2}){1,8}))\s*>?",
        re.IGNORECASE,
    )
    _HEADERLESS: ClassVar[re.Pattern[str]] = re.compile(r"[0-9A-F]\s*:\s*(?:[0-9A-F]{2}\s*)+", re.IGNORECASE)
    _TYPICAL: ClassVar[re.Pattern[str]] = re.compile(
        r">?\s*(?:7[0-9A-F]{2}|18DA[0-9A-F]{4})\s*(?:[0-3][0-9A-F]\s*)(?:[0-9A-F]{2}\s*){1,7}>?", re.IGNORECASE
    )

    @classmethod
    def recognises(cls, head: str) -> bool:
        """Whether answers of ECUs stand there, or those without headers."""
        lines = list(lines_of(head))
        answers = sum(cls._TYPICAL.fullmatch(line) is not None for line in lines)
        short = sum(cls._HEADERLESS.fullmatch(line) is not None for line in lines)
        talk = sum(cls._TALK.fullmatch(line) is not None for line in lines)
        return answers + short > 0 and answers + short + talk > len(lines) // 2

    def single(self, text: str) -> FrameRow | None:
        """One line; requests are no frames, for nothing says to whom they went."""
        found = self._FRAME.fullmatch(text)
        if found is None:
            return self.other(text)
        digits = found["id"].replace(" ", "")
        can_id = int(digits, 16)
        if can_id > 0x1FFF_FFFF:
            return self.other(text)
        flags = EXTENDED if len(digits) == 8 else 0
        return FrameRow(0, can_id, bytes.fromhex("".join(found["data"].split())), flags, self._channel("0"))

    def shaped(self, sheet: object, left: object) -> None:
        """Sessions are short; line by line is quick enough."""

    def other(self, text: str) -> FrameRow | None:
        """Requests and the adapter's own words; an answer without header is lost."""
        if self._HEADERLESS.fullmatch(text):
            raise Unreadable("an answer without header; switch headers on with ATH1", "应答没有报文头；请用 ATH1 打开")
        return None if self._TALK.fullmatch(text) else super().other(text)


class ScanAnswers(PatternDialect):
    """``7e0[7e8]:0102 00``: request, reply, data identifier and data, as some scan tools save them.

    They are payloads; the frames of their answers are built again, as ISO-TP would send them.
    """

    name = "scan-answers"
    timed = False
    pattern = re.compile(
        r"\s*(?P<request>[0-9A-Fa-f]{3,8})\[(?P<id>[0-9A-Fa-f]{3,8})\]:\s*(?P<did>[0-9A-Fa-f]{4})\s+"
        r"(?P<data>(?:[0-9A-Fa-f]{2}\s*)+)\s*"
    )
    _LONGEST: ClassVar[int] = 4095

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[FrameRow] = []

    def shaped(self, sheet: object, left: object) -> None:
        """Answers become several frames each."""

    def single(self, text: str) -> FrameRow | None:
        """Keeps the frames of one answer for the end."""
        found = self.pattern.fullmatch(text)
        if found is None:
            return self.other(text)
        can_id = number(found["id"], 16, "identifier", "标识符")
        if can_id > 0x1FFF_FFFF:
            raise Unreadable("an identifier above 29 bits", "标识符超过 29 位")
        payload = b"\x62" + bytes.fromhex(found["did"] + "".join(found["data"].split()))
        if len(payload) > self._LONGEST:
            raise Unreadable("an answer above 4095 bytes", "应答超过 4095 字节")
        flags = EXTENDED if can_id > 0x7FF else 0
        channel = self._channel("0")
        if len(payload) <= 7:
            pieces = [bytes([len(payload)]) + payload]
        else:
            pieces = [(0x1000 | len(payload)).to_bytes(2, "big") + payload[:6]]
            rest = payload[6:]
            pieces += [bytes([0x20 | (n + 1) & 15]) + rest[7 * n : 7 * n + 7] for n in range((len(rest) + 6) // 7)]
        self.rows += [FrameRow(0, can_id, piece, flags, channel) for piece in pieces]
        return None

    def finished(self, table: FrameTable, read: Read) -> FrameTable:
        """The frames of all answers."""
        text = "payloads of a scan tool; their ISO-TP frames were built again"
        read.notes.append(Phrase(text, "扫描工具只存了应答数据；ISO-TP 帧由本程序重建"))
        return FrameTable.concat([table, self.drained(FrameTable.empty())])

    def drained(self, table: FrameTable) -> FrameTable:
        """The frames of the answers since the last time; ``table`` is empty, for no line is a frame itself."""
        rows, self.rows = self.rows, []
        return FrameTable.from_rows(rows) if rows else table
