"""CSV tables of frames: python-can's, SavvyCAN's generic one, and our own, which holds everything."""
# ruff: noqa: ARG002 - a hook gets what every dialect may need

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import unquote

import numpy as np

from dbc.errors import Phrase
from dbc.recording.lines import Unreadable
from dbc.recording.patterns import PatternDialect, lines_of, number
from dbc.table import BITRATE_SWITCH, ERROR, ERROR_STATE, EXTENDED, FD, REMOTE, FrameRow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dbc.recording.lines import Read
    from dbc.recording.sheet import Sheet
    from dbc.table import FrameTable

__all__ = [
    "FRAMES_HEADER",
    "FRAMES_START",
    "KINDS",
    "FramesCsv",
    "GenericId",
    "PythonCan",
    "is_values",
    "note_repaired",
    "perhaps_repaired",
    "repaired_id",
]

FRAMES_START: Final = "# huizhen frames; time 0 in ns since 1970 UTC: "
FRAMES_HEADER: Final = "t_s,bus,id,width,dir,kind,length,data"
KINDS: Final = {
    "data": 0,
    "fd": FD,
    "fd-brs": FD | BITRATE_SWITCH,
    "fd-esi": FD | ERROR_STATE,
    "fd-brs-esi": FD | BITRATE_SWITCH | ERROR_STATE,
    "remote": REMOTE,
    "error": ERROR,
}
"""Words of the column ``kind`` and their flags."""

_EXPONENT: Final = re.compile(r"([1-7])(?:\.0+)?E\+?0*(\d)", re.IGNORECASE)
_ZEROS: Final = re.compile(r"([1-7])(0{3,9})")
_SUSPECTS: Final = np.array([digit << 4 * zeros for digit in range(1, 8) for zeros in range(3, 10)], np.int64)
_VALUES: Final = re.compile(r'^\s*"?SECONDS"?\s*[;,]\s*"?PID"?\s*[;,]\s*"?VALUE"?', re.IGNORECASE)


def is_values(head: str) -> bool:
    """Whether it is the CSV of Car Scanner, which holds decoded values and no frames."""
    return _VALUES.match(next(lines_of(head), "")) is not None


def repaired_id(text: str) -> int | None:
    """An 11-bit identifier out of what a spreadsheet made of it: ``100000`` and ``1.00E+05`` were ``1E5``.

    None for what no spreadsheet made. ``100`` may be 0x100 or 1E2: it stays as it stands.
    """
    clean = text.strip().strip('"')
    if found := _EXPONENT.fullmatch(clean):
        # 1E5 itself is what it should be.
        return int(f"{found[1]}E{found[2]}", 16) if len(clean) > 3 else None
    if found := _ZEROS.fullmatch(clean):
        return int(f"{found[1]}E{len(found[2])}", 16)
    return None


def perhaps_repaired(ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """bool (n,): identifiers that read 1000, 10000, … in hexadecimal, whose text :func:`repaired_id` must see."""
    return np.isin(ids, _SUSPECTS)


class GenericId(PatternDialect):
    """``0000021A,FE 36 12 …`` below ``ID,Data Bytes``: no time."""

    name = "id-data-csv"
    timed = False
    pattern = re.compile(
        r'"?(?P<id>(?:0x)?[0-9A-Fa-f]{1,8}|\d\.\d+E\+?\d+)"?\s*[,;]\s*"?(?P<data>(?:(?:0x)?[0-9A-Fa-f]{1,2}(?:\s+|,|(?=")|$))*)"?\s*'
    )
    _HEADER: ClassVar[re.Pattern[str]] = re.compile(r'"?(?:CAN )?ID"?\s*[,;]\s*"?Data(?: ?Bytes)?"?.*', re.IGNORECASE)

    def __init__(self) -> None:
        super().__init__()
        self.repaired = 0

    @classmethod
    def recognises(cls, head: str) -> bool:
        """Whether its heading stands there."""
        return any(cls._HEADER.fullmatch(line) for line in lines_of(head, 5))

    def is_extended(self, found: re.Match[str]) -> bool:
        """Nothing but the number tells."""
        return False

    def has_layout(self, found: re.Match[str]) -> bool:
        """Identifiers that a spreadsheet may have changed go one by one."""
        word = found["id"]
        return repaired_id(word) is None and (not word.isdecimal() or word.startswith("0") or len(word) == 3)

    def shaped(self, sheet: Sheet, left: NDArray[np.intp]) -> tuple[NDArray[np.intp], FrameTable] | None:
        """Reads the lines of one layout, without those that a spreadsheet may have changed."""
        read = super().shaped(sheet, left)
        if read is None:
            return None
        sure = ~perhaps_repaired(read[1].can_id.astype(np.int64))
        return read if sure.all() else (read[0][sure], read[1][sure])

    def row(self, found: re.Match[str]) -> FrameRow:
        """One line; what a spreadsheet did to its identifier is undone."""
        can_id = repaired_id(found["id"])
        if can_id is None:
            return super().row(found)
        self.repaired += 1
        return FrameRow(0, can_id, self._data(found), 0, self._channel(self.bus(found)))

    def other(self, text: str) -> FrameRow | None:
        """Its heading."""
        return None if self._HEADER.fullmatch(text) else super().other(text)

    def finished(self, table: FrameTable, read: Read) -> FrameTable:
        """Says what was repaired."""
        note_repaired(read, self.repaired)
        return table


def note_repaired(read: Read, count: int) -> None:
    """Tells of identifiers that a spreadsheet had changed."""
    if count:
        en = f"{count} identifiers that a spreadsheet had turned into numbers (1E5 into 100000) were turned back"
        read.notes.append(Phrase(en, f"{count} 个标识符曾被电子表格改成数字（1E5 变为 100000），已还原"))


class PythonCan(PatternDialect):
    """``timestamp,arbitration_id,extended,remote,error,dlc,data`` with the data in base64, as python-can writes it."""

    name = "python-can-csv"
    pattern = re.compile(
        r"(?P<neg>-?)(?P<s>\d{1,11})(?:\.(?P<f>\d{1,30}))?(?:[eE](?P<exp>[+-]?\d{1,2}))?,(?P<id>0x[0-9a-fA-F]{1,8}),"
        r"(?P<ext>[01]),(?P<rtr>[01]),(?P<error>[01]),(?P<dlc>\d{1,2}),(?P<data>[A-Za-z0-9+/=]*)"
    )
    _HEADER: ClassVar[str] = "timestamp,arbitration_id,extended,remote,error,dlc,data"

    @classmethod
    def recognises(cls, head: str) -> bool:
        """Whether its heading stands there."""
        return next(lines_of(head), "") == cls._HEADER

    def shaped(self, sheet: object, left: object) -> None:
        """Base64 has no layout to read in columns."""

    def single(self, text: str) -> FrameRow | None:
        """One line."""
        found = self.pattern.fullmatch(text)
        if found is None:
            return None if text == self._HEADER else self.other(text)
        can_id = number(found["id"], 16, "identifier", "标识符")
        if found["exp"]:
            t_ns = round(float(text.partition(",")[0]) * 1e9)
        else:
            t_ns = int(found["s"]) * 1_000_000_000 + int((found["f"] or "0")[:9].ljust(9, "0"))
            t_ns = -t_ns if found["neg"] else t_ns
        if can_id > 0x1FFF_FFFF or abs(t_ns) >= 1 << 62:
            raise Unreadable("an identifier or a time out of range", "标识符或时间超出范围")
        length = int(found["dlc"])
        flags = EXTENDED if found["ext"] == "1" or can_id > 0x7FF else 0
        flags |= (REMOTE if found["rtr"] == "1" else 0) | (ERROR if found["error"] == "1" else 0)
        channel = self._channel("0")
        if flags & REMOTE:
            return FrameRow(t_ns, can_id, b"", flags, channel, min(length, 8))
        try:
            data = b64decode(found["data"], validate=True)
        except (binascii.Error, ValueError):
            raise Unreadable("data that is not base64", "数据不是 base64") from None
        if len(data) != length or length > 64:
            raise Unreadable(f"{len(data)} bytes where {length} are announced", f"声明 {length} 字节，实有 {len(data)}")
        return FrameRow(t_ns, can_id, data, flags | (FD if length > 8 else 0), channel)

    def finished(self, table: FrameTable, read: Read) -> FrameTable:
        """Large stamps are UTC."""
        if len(table) and int(table.t_ns[0]) >= 946_684_800_000_000_000:
            self.start_ns = 0
        return table


class FramesCsv(PatternDialect):
    """Our own table of frames, which ``huizhen log convert`` writes."""

    name = "frames-csv"
    pattern = re.compile(
        r"(?P<neg>-?)(?P<s>\d{1,10})\.(?P<f>\d{9}),(?P<bus>[^,]{0,200}),(?P<id>0x[0-9A-F]{3,8}),(?P<width>11|29),"
        r"(?P<dir>rx|tx),(?P<kind>data|fd|fd-brs|fd-esi|fd-brs-esi|remote|error),(?P<dlc>\d{1,2}),"
        r"(?P<data>(?:[0-9A-F]{2}(?: |$))*)"
    )

    @classmethod
    def recognises(cls, head: str) -> bool:
        """Whether its heading stands there."""
        return FRAMES_HEADER in lines_of(head, 5)

    def is_extended(self, found: re.Match[str]) -> bool:
        """The column ``width`` says it."""
        return found["width"] == "29"

    def extra_flags(self, found: re.Match[str]) -> int:
        """The column ``kind`` says them."""
        return KINDS[found["kind"]]

    def bus(self, found: re.Match[str]) -> str:
        """Names are quoted as in addresses of the web."""
        return unquote(found["bus"])

    def other(self, text: str) -> FrameRow | None:
        """Its heading."""
        if text.startswith(FRAMES_START):
            start = text.removeprefix(FRAMES_START)
            self.start_ns = int(start) if re.fullmatch(r"\d{1,18}|[1-8]\d{18}", start) else None
            return None
        return None if text == FRAMES_HEADER else super().other(text)
