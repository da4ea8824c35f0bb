"""``.trc`` traces: PCAN's in all versions, and those of CANHacker and its relatives.

They share the ending and nothing else.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Final

from dbc.recording.lines import Unreadable
from dbc.recording.patterns import PatternDialect, lines_of
from dbc.table import BITRATE_SWITCH, ERROR_STATE, FD, REMOTE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbc.table import FrameRow

__all__ = ["CanHacker", "Pcan"]

_FD_LENGTHS: Final[tuple[int, ...]] = (*range(9), 12, 16, 20, 24, 32, 48, 64)
_STAMP: Final = r"(?P<neg>-?)(?P<ms>\d{1,13})(?:[.,](?P<part>\d{1,6}))?"
_BYTES: Final = r"(?:(?P<rtr>RTR)|(?P<data>(?:[0-9A-Fa-f]{2}(?:\s+|$))*))\s*"
_ID: Final = r"(?P<id>[0-9A-Fa-f]{3,8})"
_DIR: Final = r"(?P<dir>Rx|Tx)"
_FIXED: Final = {
    "1.0": re.compile(rf"\s*(?P<skipn>\d+)\)\s+{_STAMP}\s+(?!FFFFFFFF){_ID}\s+(?P<dlc>\d)(?:\s+{_BYTES}|\s*)"),
    "1.1": re.compile(rf"\s*(?P<skipn>\d+)\)\s+{_STAMP}\s+{_DIR}\s+(?!FFFFFFFF){_ID}\s+(?P<dlc>\d)(?:\s+{_BYTES}|\s*)"),
    "1.2": re.compile(
        rf"\s*(?P<skipn>\d+)\)\s+{_STAMP}\s+(?P<bus>\d{{1,2}})\s+{_DIR}\s+(?!FFFFFFFF){_ID}\s+(?P<dlc>\d)"
        rf"(?:\s+{_BYTES}|\s*)"
    ),
    "1.3": re.compile(
        rf"\s*(?P<skipn>\d+)\)\s+{_STAMP}\s+(?P<bus>\d{{1,2}})\s+{_DIR}\s+(?!FFFFFFFF){_ID}\s+\S+\s+(?P<dlc>\d)"
        rf"(?:\s+{_BYTES}|\s*)"
    ),
}
"""Versions with columns that do not change."""
_COLUMN: Final = {
    "N": r"(?P<skipn>\d+)\)?",
    "O": _STAMP,
    "T": r"(?P<kind>DT|FD|FB|FE|BI|RR)",
    "B": r"(?P<bus>\d{1,2})",
    "I": _ID,
    "d": _DIR,
    "R": r"(?:-|[0-9A-Fa-f]+)",
    "L": r"(?P<dlc>\d{1,2})",
    "l": r"(?P<dlc>\d{1,2})",
    "D": r"(?P<data>(?:[0-9A-Fa-f]{2}(?:\s+|$))*)",
}


def _pattern_from_columns(letters: Sequence[str]) -> re.Pattern[str]:
    """Lines of version 2, whose header names the columns.

    Raises:
        Unreadable: columns that lack what a frame needs, or are unknown.
    """
    known = [letter for letter in dict.fromkeys(letters) if letter in _COLUMN and letter != "D"]
    if (
        not {"O", "I"} <= set(known)
        or len({"L", "l"} & set(known)) != 1
        or len(known) + ("D" in letters) != len(letters)
    ):
        text = ",".join(letters)
        raise Unreadable(f"columns {text} make no frame", f"列 {text} 不能组成报文")
    return re.compile(r"\s*" + r"\s+".join(_COLUMN[letter] for letter in known) + rf"(?:\s+{_COLUMN['D']})?\s*")


class CanHacker(PatternDialect):
    """Tab rows below ``@ TEXT @ 3 @ 64 …``: seconds with a decimal comma, bus, flags, identifier, length, bytes.

    Line ends are a lone CR; the last row is often cut.
    """

    name = "canhacker"
    moduli_ns = (60_000_000_000, 65_536_000_000)
    pattern = re.compile(
        r"(?P<s>\d{1,8})[,.](?P<f>\d{1,9})\t(?P<bus>\d{1,3})\t(?P<kind>[0-9A-Fa-f]{4,8})\t(?P<id>[0-9A-Fa-f]{1,8})\t"
        r"(?P<dlc>\d{1,2})\t(?P<data>(?:[0-9A-Fa-f]{2}\s?)*)(?P<rtr>RTR|rtr)?\t?(?P<skip_rest>.*)"
    )
    _LOCAL: ClassVar[re.Pattern[str]] = re.compile(r"#\s*\$?LocalTime\s*=\s*(.{1,40})")

    @classmethod
    def recognises(cls, head: str) -> bool:
        """Whether its first line stands there, or rows of its own."""
        return head.lstrip().startswith("@ TEXT @") or super().recognises(head)

    def is_extended(self, found: re.Match[str]) -> bool:
        """Bit 1 of the flags, or an identifier of more than four digits."""
        return bool(int(found["kind"], 16) & 2) or len(found["id"]) > 4

    def other(self, text: str) -> FrameRow | None:
        """Its heading and remarks."""
        if found := self._LOCAL.match(text):
            self.local_start = self.local_start or found[1].strip()
        return None if text[0] in "@#" else super().other(text)


class Pcan(PatternDialect):
    """PCAN-View and PCAN-Trace, versions 1.0 to 2.1; which columns there are the header says."""

    name = "pcan-trc"
    _VERSION: ClassVar[re.Pattern[str]] = re.compile(r"^;\s*\$FILEVERSION\s*=\s*(\d\.\d)", re.IGNORECASE | re.MULTILINE)
    _START: ClassVar[re.Pattern[str]] = re.compile(r";\s*\$STARTTIME\s*=\s*(\d{1,6})(?:\.(\d{1,15}))?", re.IGNORECASE)
    _COLUMNS: ClassVar[re.Pattern[str]] = re.compile(r"^;\s*\$COLUMNS\s*=\s*([\w,]+)", re.IGNORECASE | re.MULTILINE)
    _KINDS: ClassVar[dict[str, int]] = {
        "DT": 0,
        "FD": FD,
        "FB": FD | BITRATE_SWITCH,
        "FE": FD | BITRATE_SWITCH | ERROR_STATE,
        "BI": FD | ERROR_STATE,
        "RR": REMOTE,
    }
    _EVENTS: ClassVar[re.Pattern[str]] = re.compile(
        r"\s*\d+\)?\s+-?[\d.,]+\s+(?:\d+\s+)?(?:Warng|Error|Event|ST|ER|EC|EV|Rx\s+FFFFFFFF|FFFFFFFF)\b.*",
        re.IGNORECASE,
    )

    def __init__(self, version: str = "1.0", columns: str = "") -> None:
        super().__init__()
        self._coded_length = False
        if columns:
            letters = columns.split(",")
            self._coded_length = "L" in letters
            self.pattern = _pattern_from_columns(letters)
        else:
            self.pattern = _FIXED.get(version, _FIXED["1.0"])

    @classmethod
    def recognises(cls, head: str) -> bool:
        """Whether its version stands there, or lines of version 1 below remarks."""
        if cls._VERSION.search(head):
            return True
        return head.lstrip().startswith(";") and any(
            pattern.fullmatch(line) for line in lines_of(head) for pattern in _FIXED.values()
        )

    @classmethod
    def opened(cls, head: str) -> Pcan:
        """The dialect of a file, by its header; a file without one shows its version by its lines."""
        version, columns = cls._VERSION.search(head), cls._COLUMNS.search(head)
        if columns is not None:
            return cls(columns=columns[1])
        if version is not None:
            return cls(version[1])
        found = next((v for line in lines_of(head) for v, p in _FIXED.items() if p.fullmatch(line)), "1.0")
        return cls(found)

    def is_extended(self, found: re.Match[str]) -> bool:
        """Standard identifiers have four digits, extended ones eight."""
        return len(found["id"]) > 4

    def extra_flags(self, found: re.Match[str]) -> int:
        """The type column of version 2."""
        return self._KINDS[found["kind"]] if "kind" in self.pattern.groupindex else 0

    def length(self, found: re.Match[str]) -> int | None:
        """A length in bytes, or the DLC of CAN FD."""
        announced = super().length(found)
        if announced is None or not self._coded_length or not self.extra_flags(found) & FD:
            return announced
        if announced >= len(_FD_LENGTHS):
            raise Unreadable(f"a DLC of {announced}", f"DLC 为 {announced}")
        return _FD_LENGTHS[announced]

    def other(self, text: str) -> FrameRow | None:
        """Remarks and bus events."""
        if text.startswith(";"):
            if found := self._START.match(text):
                self._begin(found)
            return None
        return None if self._EVENTS.fullmatch(text) else super().other(text)

    def _begin(self, found: re.Match[str]) -> None:
        """The start: days since 1899-12-30 and a fraction of a day, by the computer's clock."""
        fraction = found[2] or "0"
        microseconds = int(fraction) * 86_400_000_000 // 10 ** len(fraction)
        try:
            start = datetime(1899, 12, 30) + timedelta(days=int(found[1]), microseconds=microseconds)  # noqa: DTZ001 - the file names no zone
        except OverflowError:
            return
        self.local_start = self.local_start or start.isoformat(sep=" ", timespec="milliseconds")
