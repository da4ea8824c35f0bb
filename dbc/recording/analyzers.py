"""Text logs of bus analysers: BUSMASTER, Microchip, PP2CAN, USB-CAN boxes.

Where a dialect's header says when the recording began, it is by a clock without a zone.
"""
# ruff: noqa: ARG002 - a hook gets what every dialect may need

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from dbc.errors import Phrase
from dbc.recording.patterns import PatternDialect, lines_of
from dbc.table import REMOTE

if TYPE_CHECKING:
    from dbc.recording.lines import Read
    from dbc.table import FrameRow, FrameTable

__all__ = ["BusMaster", "BusMasterTab", "Microchip", "Pp2Can", "UsbCan"]

_DAY_NS: Final = 86_400_000_000_000


def _date(day: str, month: str, year: str) -> str:
    return f"{int(year):04d}-{int(month):02d}-{int(day):02d}"


class BusMaster(PatternDialect):
    """``22:20:14:992 Rx 0 0000021A s 8 FE 36 …``; the header says the base and what times count from."""

    name = "busmaster"
    moduli_ns = (_DAY_NS,)
    pattern = re.compile(
        r"\s*(?P<h>\d{1,3}):(?P<min>\d{1,2}):(?P<s>\d{1,2})[:.](?P<f>\d{1,4})\s+(?P<dir>Rx|Tx|R|T)\s+"
        r"(?:(?P<bus>\d{1,3})\s+)?(?P<id>(?:0x)?[0-9A-Fa-f]{1,10})\s+(?P<kind>[sxSX])(?P<rtr>r?)\s+(?P<dlc>\d{1,2})"
        r"(?P<data>(?:\s+[0-9A-Fa-f]{1,3})*)\s*"
    )
    _START: ClassVar[re.Pattern[str]] = re.compile(
        r"\*+START DATE AND TIME (\d{1,2}):(\d{1,2}):(\d{4}) (\d{1,2}):(\d{1,2}):(\d{1,2}):(\d{1,4}).*", re.IGNORECASE
    )

    def __init__(self) -> None:
        super().__init__()
        self._relative = False
        self._system = True

    @classmethod
    def recognises(cls, head: str) -> bool:
        """Whether its header stands there, or lines of its own."""
        return "***BUSMASTER" in head.upper() or super().recognises(head)

    def is_extended(self, found: re.Match[str]) -> bool:
        """The type column says it."""
        return found["kind"] in "xX"

    def other(self, text: str) -> FrameRow | None:
        """Header lines between asterisks."""
        if not text.startswith("***"):
            return super().other(text)
        word = text.strip("*").strip("[]").upper()
        if word in {"HEX", "DEC"}:
            self.base = 16 if word == "HEX" else 10
        elif word.endswith("MODE"):
            self._relative, self._system = "RELATIVE" in word, "SYSTEM" in word
        elif found := self._START.fullmatch(text):
            clock = ":".join(part.zfill(2) for part in found.groups()[3:6])
            self.local_start = self.local_start or f"{_date(*found.groups()[:3])} {clock}.{found[7]}"
        return None

    def sums_up(self) -> bool:
        """The header says it."""
        return self._relative

    def finished(self, table: FrameTable, read: Read) -> FrameTable:
        """Relative times are steps from frame to frame; times of day have their date in the header."""
        if self._relative:
            table.t_ns[:] = np.cumsum(table.t_ns)
            read.notes.append(Phrase("its times are steps between frames; summed up", "时间为帧间隔，已累加"))
        elif self._system and self.local_start:
            self.local_start = f"{self.local_start[:10]} 00:00:00"
        return table


class BusMasterTab(PatternDialect):
    """Rows between tabs: bus, row, direction, µs, identifier, length, data, parser."""

    name = "busmaster-tab"
    moduli_ns = ((1 << 32) * 1000,)
    pattern = re.compile(
        r"(?P<bus>\d{1,3})\t\s*\d*\t(?P<skipn>\d+)\t(?P<dir>[RT]X)\t(?P<us>\d{1,17})\t[^\t]*\t"
        r"(?P<id>0x[0-9A-Fa-f]{1,8})\t(?P<dlc>\d{1,2})\t(?:0x)?(?P<data>(?:[0-9A-Fa-f]{1,2}(?:\s+|(?=\t)|$))*)"
        r"(?:\t[^\t]*)*",
        re.IGNORECASE,
    )

    def is_extended(self, found: re.Match[str]) -> bool:
        """Identifiers always have eight digits."""
        return False


class Microchip(PatternDialect):
    """``166064;RX;0x0000021A;8;0xFE;0x36;…;``: stamps in ms; identifiers always have eight digits."""

    name = "microchip"
    moduli_ns = ((1 << 32) * 1_000_000,)
    pattern = re.compile(
        r"\s*(?P<ms>\d{1,16})(?:[.,](?P<skip_part>\d*))?;\s*(?P<dir>RX|TX)\s*;\s*(?P<id>(?:0x)?[0-9A-F]{1,10})\s*;"
        r"\s*(?P<dlc>\d{1,2})\s*(?P<data>(?:;\s*(?:0x)?[0-9A-F]{1,3}\s*)*)[;\s]*",
        re.IGNORECASE,
    )
    _HEADER: ClassVar[re.Pattern[str]] = re.compile(
        r"//.*|Microchip Technology.*|CAN BUS Analyzer.*|SavvyCAN.*|Logging Started:.*|.*;ID;.*", re.IGNORECASE
    )
    _START: ClassVar[re.Pattern[str]] = re.compile(
        r"Logging Started:\s*(\d{1,2})/(\d{1,2})/(\d{4})\s+(\d{1,2}):(\d{1,2}):(\d{1,2}).*", re.IGNORECASE
    )

    def is_extended(self, found: re.Match[str]) -> bool:
        """Nothing but the number tells."""
        return False

    def has_layout(self, found: re.Match[str]) -> bool:
        """Only hexadecimal numbers are read in columns."""
        return found["id"].startswith("0x")

    def row(self, found: re.Match[str]) -> FrameRow:
        """Without ``0x`` the numbers are decimal."""
        self.base = 16 if found["id"][:2] in {"0x", "0X"} else 10
        return super().row(found)

    def other(self, text: str) -> FrameRow | None:
        """Its header."""
        if self._HEADER.fullmatch(text) is None:
            return super().other(text)
        if found := self._START.fullmatch(text):
            clock = ":".join(part.zfill(2) for part in found.groups()[3:6])
            self.local_start = self.local_start or f"{_date(*found.groups()[:3])} {clock}"
        return None


class Pp2Can(PatternDialect):
    """``>⇥0⇥ 17:18:39.303:4446.00⇥St⇥0x197⇥0⇥4⇥64⇥E0⇥…⇥p:1``; the time of day starts again with each section."""

    name = "pp2can"
    moduli_ns = (_DAY_NS,)
    pattern = re.compile(
        r"(?P<mark>[<>])\t(?P<skipn>\d+)\t\s*(?P<h>\d{1,2}):(?P<min>\d{1,2}):(?P<s>\d{1,2})\.(?P<ms>\d{1,3})"
        r"(?::(?P<skip_us>[\d.]+))?\t(?P<kind>St|Ex)\t(?P<id>0x[0-9A-Fa-f]{1,8})\t(?P<rtr>[1-9]?)0?\t(?P<dlc>\d{1,2})"
        r"(?P<data>(?:\t(?:[0-9A-Fa-f]{1,2}|\s))*)\t?(?:p:(?P<bus>\d{1,2}))?\s*"
    )

    _HEADING: ClassVar[re.Pattern[str]] = re.compile(r"PP2CAN|CAN speed|Date|Time|Start|Stop|[-=*]{3}", re.IGNORECASE)

    @classmethod
    def recognises(cls, head: str) -> bool:
        """Whether its first line stands there, or lines of its own."""
        return "PP2CAN" in head or super().recognises(head)

    def is_extended(self, found: re.Match[str]) -> bool:
        """``Ex`` says it."""
        return found["kind"] == "Ex"

    def other(self, text: str) -> FrameRow | None:
        """Headings: above the first frame anything, later those of another section."""
        if not text.startswith((">\t", "<\t")) and (not self.buses or self._HEADING.match(text)):
            return None
        return super().other(text)


class UsbCan(PatternDialect):
    """The text that the programs of Chinese USB-CAN boxes save: columns with a NUL before each, or blanks.

    The words are English or Chinese; the header may be GBK.
    """

    name = "usb-can"
    moduli_ns = (_DAY_NS,)
    pattern = re.compile(
        r"\s*(?P<skipn>\d+)[\s,]+(?P<dir>Receive|Send|Transmit|Rx|Tx|接收|发送)[\s,]+"
        r"(?:(?P<h>\d{1,2}):(?P<min>\d{1,2}):(?P<s>\d{1,2})[:.](?P<f>\d{1,6})|0x(?P<skip_hex>[0-9A-F]+))[\s,]+"
        r"(?P<kind>Data|Remote|数据|远程)\s*(?:frame|帧)?[\s,]+(?P<format>Standard|Extended|Stand|Extend|标准|扩展)"
        r"\s*(?:frame|帧)?[\s,]+(?P<id>(?:0x)?[0-9A-F]{1,8})[\s,]+(?:0x)?(?P<dlc>\d{1,2})"
        r"(?P<data>(?:[\s,]+[0-9A-F]{1,2})*)[\s,]*",
        re.IGNORECASE,
    )
    _HEADER: ClassVar[re.Pattern[str]] = re.compile(
        r"(?:NO\b|No\.|Index|序号|帧序号).*(?:Dir|Time|ID|方向|传输|时间).*", re.IGNORECASE
    )

    @classmethod
    def recognises(cls, head: str) -> bool:
        """Whether its heading stands there, or lines of its own."""
        first = next(lines_of(head), "")
        return cls._HEADER.fullmatch(first) is not None or super().recognises(head)

    def is_extended(self, found: re.Match[str]) -> bool:
        """The frame's format says it; identifiers always have eight digits."""
        return found["format"].lower().startswith(("ext", "扩"))

    def extra_flags(self, found: re.Match[str]) -> int:
        """Remote requests by their kind."""
        return REMOTE if found["kind"].lower() in {"remote", "远程"} else 0

    def other(self, text: str) -> FrameRow | None:
        """Its heading."""
        return None if self._HEADER.fullmatch(text) else super().other(text)
