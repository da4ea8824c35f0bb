"""CSV of SavvyCAN and GVRET in all its variants of columns.

The header line names the columns; their order and number differ between versions (``Bus`` or ``Dir,Bus``, ``LEN`` or
``DLC``, 8 or 64 data columns). Stamps are µs and may be negative; in old files they are milliseconds, which only a
person can tell. Identifiers and bytes may lack their leading zeros.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dbc.errors import Phrase, RecordingBroken
from dbc.recording.lines import KEPT_BAD_LINES, BadLine, Read, Unreadable
from dbc.table import ERROR, EXTENDED, FD, REMOTE, TX, FrameRow, FrameTable

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["is_gvret", "read"]

_BOM: Final = b"\xef\xbb\xbf"
_HEADER: Final = re.compile(
    rb"^(?:\xef\xbb\xbf)?\s*\"?time ?stamp\"?\s*[,;]\s*\"?id\"?\s*[,;][^\n\r]*\"?(?:len|dlc)\"?\s*[,;]?",
    re.IGNORECASE | re.MULTILINE,
)
_TRUE: Final = frozenset({"true", "1", "yes"})
_FALSE: Final = frozenset({"false", "0", "no", ""})
_MAX_T: Final = 1 << 63
_DATA: Final = re.compile(r"d(?:ata)?(\d+)")
_ERROR_ID: Final = 0x2000_0000


def is_gvret(head: bytes) -> bool:
    """Whether the header line stands in a file's beginning."""
    return _HEADER.search(head) is not None


class _Columns:
    """Where each field stands, by the header line."""

    def __init__(self, names: Sequence[str]) -> None:
        plain = [name.strip().strip('"').lower().replace(" ", "") for name in names]
        where = {name: at for at, name in reversed(list(enumerate(plain)))}
        self.time = where["timestamp"]
        self.can_id = where["id"]
        length = where.get("len", where.get("dlc"))
        if length is None:
            raise KeyError("len")
        self.length = length
        self.extended = where.get("extended")
        self.direction = where.get("dir", where.get("direction"))
        self.bus = where.get("bus")
        data = [at for at, name in enumerate(plain) if _DATA.fullmatch(name)]
        self.data = data[0] if data else max(where.values()) + 1
        self.needed = max(self.time, self.can_id, self.length) + 1

    def row(self, fields: Sequence[str]) -> FrameRow:
        """One line as a frame.

        Raises:
            Unreadable: a field that is no number, or fewer bytes than the line says.
        """
        if len(fields) < self.needed:
            raise Unreadable("too few columns", "列数不足")
        t_us = _number(fields[self.time], 10, "time stamp", "时间戳")
        if not -_MAX_T <= t_us * 1000 < _MAX_T:
            raise Unreadable("a time out of range", "时间超出范围")
        can_id = _number(fields[self.can_id], 16, "identifier", "标识符")
        flags = 0
        if can_id & _ERROR_ID and can_id < 1 << 32:
            can_id, flags = can_id & 0x1FFF_FFFF, ERROR
        if not 0 <= can_id <= 0x1FFF_FFFF:
            raise Unreadable("an identifier above 29 bits", "标识符超过 29 位")
        if self._is_extended(fields, can_id):
            flags |= EXTENDED
        if self.direction is not None and len(fields) > self.direction:
            flags |= TX if fields[self.direction].strip().strip('"').lower().startswith("t") else 0
        length = _number(fields[self.length], 10, "length", "长度")
        bus = 0
        if self.bus is not None and len(fields) > self.bus:
            bus = _number(fields[self.bus], 10, "bus", "总线号")
        if not 0 <= length <= 64 or not 0 <= bus <= 255:
            raise Unreadable("a length or bus out of range", "长度或总线号超出范围")
        texts = [text for text in fields[self.data : self.data + length] if text.strip()]
        if length and not texts:
            return FrameRow(t_us * 1000, can_id, b"", flags | REMOTE, bus, min(length, 64))
        if len(texts) < length:
            raise Unreadable(
                f"{len(texts)} bytes where {length} are announced", f"声明 {length} 字节,实有 {len(texts)}"
            )
        data = [_number(text, 16, "data byte", "数据字节") for text in texts]
        if any(not 0 <= byte <= 255 for byte in data):
            raise Unreadable("a data byte above FF", "数据字节超过 FF")
        return FrameRow(t_us * 1000, can_id, bytes(data), flags | (FD if length > 8 else 0), bus)

    def _is_extended(self, fields: Sequence[str], can_id: int) -> bool:
        if can_id > 0x7FF:
            return True
        if self.extended is None or len(fields) <= self.extended:
            return False
        word = fields[self.extended].strip().strip('"').lower()
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
        raise Unreadable(f"{word[:20]!r} is neither true nor false", f"{word[:20]!r} 既不是 true 也不是 false")


def _number(text: str, base: int, en: str, zh: str) -> int:
    clean = text.strip().strip('"')
    if len(clean) > 24 or "_" in clean:
        raise Unreadable(f"the {en} is no number", f"{zh}不是数字")
    try:
        return int(clean, base)
    except ValueError:
        pass
    try:
        whole, _, fraction = clean.partition(".")
        if base == 10 and fraction.strip("0") == "":
            return int(whole)
    except ValueError:
        pass
    raise Unreadable(f"the {en} is no number", f"{zh}不是数字")


def read(content: bytes, path: str) -> Read:
    """Reads a whole file; lines that are no frames are noted and passed over.

    Raises:
        RecordingBroken: the header line lacks a column that is needed.
    """
    text = content.removeprefix(_BOM).replace(b"\0", b"").decode("utf-8", "replace")
    lines = re.split(r"\r\n|\n|\r", text)
    start = next(at for at, line in enumerate(lines) if _HEADER.match(line.encode()))
    separator = ";" if lines[start].count(";") > lines[start].count(",") else ","
    try:
        columns = _Columns(lines[start].split(separator))
    except KeyError as exc:
        place = Phrase(f"line {start + 1}", f"第 {start + 1} 行")
        raise RecordingBroken(path, place, Phrase(f"no column {exc.args[0]}", f"缺少列 {exc.args[0]}")) from exc
    rows: list[FrameRow] = []
    bad: list[BadLine] = []
    count = 0
    for number, line in enumerate(lines[start + 1 :], start=start + 2):
        if not line.strip():
            continue
        try:
            rows.append(columns.row(line.split(separator)))
        except Unreadable as exc:
            count += 1
            if len(bad) < KEPT_BAD_LINES:
                bad.append(BadLine(number, exc.reason))
    names = tuple(str(bus) for bus in range(max((row.channel for row in rows), default=-1) + 1))
    return Read(FrameTable.from_rows(rows), names, bad, count)
