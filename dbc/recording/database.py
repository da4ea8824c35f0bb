"""The SQLite database that python-can logs to: one table ``messages``. Times are UTC."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any, Final

from dbc.errors import NotARecording, Phrase, RecordingBroken
from dbc.recording.lines import KEPT_BAD_LINES, BadLine, Read, Unreadable
from dbc.table import ERROR, EXTENDED, FD, REMOTE, FrameRow, FrameTable

__all__ = ["is_sqlite", "read"]

_MAGIC: Final = b"SQLite format 3\0"
_WAL_FLAGS: Final = slice(18, 20)
_SMALL_S: Final = 1_000_000
_YEAR_2000_NS: Final = 946_684_800_000_000_000


def is_sqlite(head: bytes) -> bool:
    """Whether a file begins as an SQLite database."""
    return head.startswith(_MAGIC)


def _frame(row: tuple[Any, ...]) -> FrameRow:
    stamp, can_id, extended, remote, error, dlc, data = row
    if not isinstance(stamp, float | int) or not abs(stamp) < 4e9:
        raise Unreadable("a time out of range", "时间超出范围")
    if not isinstance(can_id, int) or not 0 <= can_id <= 0x1FFF_FFFF:
        raise Unreadable("an identifier out of range", "标识符超出范围")
    if not isinstance(dlc, int) or not 0 <= dlc <= 64:
        raise Unreadable("a length out of range", "长度超出范围")
    # A double holds a time of today to a quarter of a µs, a small one to a ns.
    t_ns = round(stamp * 1e9) if abs(stamp) < _SMALL_S else round(stamp * 1_000_000) * 1000
    flags = (EXTENDED if extended or can_id > 0x7FF else 0) | (ERROR if error else 0)
    if remote:
        return FrameRow(t_ns, can_id, b"", flags | REMOTE, 0, min(dlc, 8))
    payload = bytes(data) if isinstance(data, bytes) else b""
    if len(payload) != dlc:
        raise Unreadable(f"{len(payload)} bytes where {dlc} are announced", f"声明 {dlc} 字节，实有 {len(payload)}")
    return FrameRow(t_ns, can_id, payload, flags | (FD if dlc > 8 else 0))


def read(content: bytes, path: str) -> Read:
    """Reads a whole database.

    Raises:
        NotARecording: without such a table.
        RecordingBroken: damaged.
    """
    # The journal beside the file is not here: what stands in the file itself is read.
    image = bytearray(content)
    image[_WAL_FLAGS] = b"\x01\x01"
    rows: list[FrameRow] = []
    bad: list[BadLine] = []
    failed = 0
    try:
        with closing(sqlite3.connect(":memory:")) as store:
            store.text_factory = bytes
            store.deserialize(bytes(image))
            store.execute("PRAGMA trusted_schema = OFF")
            found = store.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'messages'").fetchone()
            if found is None:
                raise NotARecording(path, Phrase("a database without a table of messages", "数据库中没有 messages 表"))
            query = "SELECT ts, arbitration_id, extended, remote, error, dlc, data FROM messages ORDER BY rowid"
            for number, row in enumerate(store.execute(query), start=1):
                try:
                    rows.append(_frame(row))
                except Unreadable as exc:
                    failed += 1
                    if len(bad) < KEPT_BAD_LINES:
                        bad.append(BadLine(number, exc.reason))
    except (sqlite3.Error, ValueError, OverflowError, MemoryError) as exc:
        if not rows:
            raise RecordingBroken(path, Phrase("as SQLite", "SQLite 数据库"), str(exc)) from exc
        failed += 1
        bad.append(BadLine(len(rows) + 1, Phrase(f"the database is damaged here ({exc})", f"数据库此处损坏（{exc}）")))
    table = FrameTable.from_rows(rows)
    absolute = bool(len(table)) and int(table.t_ns[0]) >= _YEAR_2000_NS
    return Read(table, ("0",) if rows else (), bad, failed, start_ns=0 if absolute else None)
