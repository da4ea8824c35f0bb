"""Vector ASC, as CANoe, CANalyzer and python-can write it.

Times are seconds with a decimal point since the start that the header's ``date`` line names by a clock without a zone.
With ``timestamps relative`` they are steps from line to line. What is no frame (statistics, triggers, comments, other
buses) is passed over.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from dbc.errors import Phrase
from dbc.recording.lines import Read, Unreadable
from dbc.recording.patterns import PatternDialect, number
from dbc.table import BITRATE_SWITCH, ERROR, ERROR_STATE, EXTENDED, FD, REMOTE, TX, FrameRow

if TYPE_CHECKING:
    from dbc.table import FrameTable

__all__ = ["UTC_REMARK", "Asc"]

UTC_REMARK: Final = "// start in UTC: "
"""Begins a comment of our own writer: the start in ns since 1970, which the ``date`` line cannot hold."""

_MAX_NS: Final = 1 << 62
_MONTHS: Final = {
    name: at + 1
    for names in ("jan feb mar apr may jun jul aug sep oct nov dec", "jan feb mär apr mai jun jul aug sep okt nov dez")
    for at, name in enumerate(names.split())
}


class Asc(PatternDialect):
    """Lines of a ``.asc`` file."""

    name = "asc"
    pattern = re.compile(
        r"\s*(?P<s>\d{1,10})[.,](?P<f>\d{1,9})\s+(?P<bus>\d{1,3})\s+(?P<id>[0-9A-Fa-f]{1,10})(?P<ext>x?)\s+"
        r"(?P<dir>Rx|Tx|TxRq)\s+(?:d\s+(?P<dlc>[0-9A-Fa-f]{1,2})(?P<data>(?:\s+[0-9A-Fa-f]{1,3})*)|"
        r"(?P<rtr>r)(?:\s+(?P<asked>[0-9A-Fa-f]{1,2}))?)"
        r"(?P<skip_rest>(?:\s+Length\s*=.*)?)\s*"
    )
    _FD: ClassVar[re.Pattern[str]] = re.compile(
        r"\s*(?P<s>\d{1,10})[.,](?P<f>\d{1,9})\s+CANFD\s+(?P<bus>\d{1,3})\s+(?P<dir>Rx|Tx|TxRq)\s+"
        r"(?P<id>[0-9A-Fa-f]{1,10})(?P<ext>x?)\s+(?:[^\s\d]\S*\s+)?(?P<brs>[01])\s+(?P<esi>[01])\s+"
        r"(?P<code>[0-9A-Fa-f]{1,2})\s+(?P<dlc>\d{1,2})(?P<rest>(?:\s+\S+)*)\s*"
    )
    _ERROR: ClassVar[re.Pattern[str]] = re.compile(
        r"\s*(?P<s>\d{1,10})[.,](?P<f>\d{1,9})\s+(?:CANFD\s+)?(?P<bus>\d{1,3})\s+(?:(?P<dir>Rx|Tx)\s+)?ErrorFrame.*",
        re.IGNORECASE,
    )
    _OTHER: ClassVar[re.Pattern[str]] = re.compile(
        r"date\s.*|base\s.*|(?:no\s+)?internal\s+events.*|//.*|begin\s+trigger.*|end\s+trigger.*|"
        r"-?\d+[.,]\d+\s+(?:start of measurement.*|CAN\s+\d+\s+Status.*|\d+\s+Statistic.*|\d*\s*J1939TP.*|\d+\s+SV:.*|"
        r"(?:LIN|FlexRay|Fr|ETH|ARINC|AFDX|WLAN|MOST|SV|TFS|log|CANFD\s+\d+\s+(?:Statistic|Status)|"
        r"Trigger|\d+\s+OverloadFrame|\d+\s+HSWakeUp|GPS|%|event|Comment|Env).*)",
        re.IGNORECASE,
    )
    _FD_FRAME_FORMAT: ClassVar[int] = 0x1000
    _DATE: ClassVar[re.Pattern[str]] = re.compile(
        r"date\s+\w+\s+(?P<month>\w{3})\w*\.?\s+(?P<day>\d{1,2})\s+(?P<h>\d{1,2}):(?P<min>\d\d):(?P<s>\d\d)(?P<f>\.\d+)?"
        r"(?:\s+(?P<half>[ap]m))?\s+(?P<year>\d{4})",
        re.IGNORECASE,
    )

    def __init__(self) -> None:
        super().__init__()
        self._relative = False

    @classmethod
    def recognises(cls, head: str) -> bool:
        """Whether its header stands there, or lines of its own."""
        return re.search(r"^\s*base\s+(?:hex|dec)\b", head, re.IGNORECASE | re.MULTILINE) is not None or any(
            pattern.search(head) for pattern in cls._LINES
        )

    _LINES: ClassVar[tuple[re.Pattern[str], ...]] = tuple(
        re.compile(rf"^{p.pattern}$", re.MULTILINE) for p in (pattern, _FD)
    )

    def is_extended(self, found: re.Match[str]) -> bool:
        """The letter x behind it says it."""
        return bool(found["ext"])

    def bus(self, found: re.Match[str]) -> str:
        """Channels count from 1."""
        return found["bus"]

    def length(self, found: re.Match[str]) -> int | None:
        """The DLC, in the file's base."""
        text = found["dlc"] or found["asked"] or "0"
        return number(text, self.base, "length", "长度")

    def single(self, text: str) -> FrameRow | None:
        """Reads one line of any kind."""
        found = self.pattern.fullmatch(text)
        if found is not None:
            return self.row(found)
        found = self._FD.fullmatch(text)
        if found is not None:
            return self._fd_row(found)
        found = self._ERROR.fullmatch(text)
        if found is not None:
            sent = TX if found["dir"] == "Tx" else 0
            return FrameRow(self._clock(found), 0, b"", ERROR | EXTENDED | sent, self._channel(self.bus(found)))
        return self.other(text)

    def _clock(self, found: re.Match[str]) -> int:
        return int(found["s"]) * 1_000_000_000 + int(found["f"].ljust(9, "0"))

    def _fd_row(self, found: re.Match[str]) -> FrameRow:
        """A line of CAN FD hardware; flags behind the data say whether the frame itself is CAN FD."""
        can_id = number(found["id"], self.base, "identifier", "标识符")
        length = int(found["dlc"])
        words = found["rest"].split()
        if can_id > 0x1FFF_FFFF or length > 64:
            raise Unreadable("an identifier or a length is out of range", "标识符或长度超出范围")
        if len(words) < length:
            raise Unreadable(
                f"{len(words)} bytes where {length} are announced", f"声明 {length} 字节，实有 {len(words)}"
            )
        values = [number(word, self.base, "data byte", "数据字节") for word in words[:length]]
        if any(not 0 <= value <= 255 for value in values):
            raise Unreadable("a data byte above FF", "数据字节超过 FF")
        rest = words[length:]
        marks = number(rest[2], 16, "flags", "标志") if len(rest) > 2 else self._FD_FRAME_FORMAT
        flags = TX if found["dir"].startswith("Tx") else 0
        flags |= EXTENDED if found["ext"] or can_id > 0x7FF else 0
        channel = self._channel(self.bus(found))
        if marks & 0x10:
            asked = number(found["code"], 16, "length", "长度")
            return FrameRow(self._clock(found), can_id, b"", flags | REMOTE, channel, min(asked, 8))
        if marks & self._FD_FRAME_FORMAT or length > 8:
            flags |= FD | (BITRATE_SWITCH if found["brs"] == "1" else 0) | (ERROR_STATE if found["esi"] == "1" else 0)
        return FrameRow(self._clock(found), can_id, bytes(values), flags, channel)

    def other(self, text: str) -> FrameRow | None:
        """Header, remarks, events of other kinds."""
        words = text.lower().split()
        if words[:1] == ["base"] and len(words) > 1:
            self.base = 10 if words[1] == "dec" else 16
            self._relative = "relative" in words
        elif text.startswith(UTC_REMARK):
            remark = text.removeprefix(UTC_REMARK)
            start = int(remark) if remark.isdecimal() and len(remark) < 20 else _MAX_NS
            self.start_ns = start if start < _MAX_NS else None
        elif words[:1] == ["date"]:
            self._begin(text)
        return None if self._OTHER.fullmatch(text) else super().other(text)

    def _begin(self, text: str) -> None:
        found = self._DATE.match(text)
        if found is None or found["month"].lower() not in _MONTHS or found["year"] == "1970":
            return
        hour = int(found["h"])
        if found["half"]:
            hour = hour % 12 + (12 if found["half"].lower() == "pm" else 0)
        date = f"{found['year']}-{_MONTHS[found['month'].lower()]:02d}-{int(found['day']):02d}"
        self.local_start = self.local_start or f"{date} {hour:02d}:{found['min']}:{found['s']}{found['f'] or ''}"

    def sums_up(self) -> bool:
        """The header says it."""
        return self._relative

    def finished(self, table: FrameTable, read: Read) -> FrameTable:
        """Relative stamps are steps from line to line; ours with a start in UTC keep that."""
        if self._relative:
            table.t_ns[:] = np.cumsum(table.t_ns)
            read.notes.append(Phrase("its times are steps between lines; summed up", "时间为行间隔，已累加"))
        if self.start_ns is not None:
            self.local_start = None
        return table
