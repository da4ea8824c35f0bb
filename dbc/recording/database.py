"""The SQLite database that python-can logs to: one table ``messages``. Times are UTC."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from dbc.errors import NotARecording, Phrase, RecordingBroken
from dbc.recording.lines import KEPT_BAD_LINES, BadLine, Read, Unreadable
from dbc.table import ERROR, EXTENDED, FD, REMOTE, FrameRow, FrameTable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from mmap import mmap
    from pathlib import Path

__all__ = ["SqliteSource", "is_sqlite", "opened", "read"]

_MAGIC: Final = b"SQLite format 3\0"
_WAL_FLAGS: Final = slice(18, 20)
_ROWS: Final = 1 << 15
"""Frames that are given at once."""
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


class SqliteSource:
    """The frames of one database.

    Args:
        store: the open database; closed when the last frame has come.
        path: names it in errors.
    """

    name = "python-can-sqlite"
    wraps = 0
    maps: tuple[mmap, ...] = ()

    def __init__(self, store: sqlite3.Connection, path: str) -> None:
        self._store, self._path = store, path
        self._bad: list[BadLine] = []
        self._failed = 0
        self._count = 0
        self._first_ns: int | None = None

    def tables(self) -> Iterator[FrameTable]:
        """The frames by the numbers of their rows.

        Raises:
            NotARecording: without such a table.
            RecordingBroken: damaged.
        """
        rows: list[FrameRow] = []
        try:
            with closing(self._store) as store:
                for number, row in enumerate(self._rows(store), start=1):
                    try:
                        rows.append(_frame(row))
                    except Unreadable as exc:
                        self._failed += 1
                        if len(self._bad) < KEPT_BAD_LINES:
                            self._bad.append(BadLine(number, exc.reason))
                    if len(rows) >= _ROWS:
                        yield self._taken(rows)
                        rows = []
        except (sqlite3.Error, ValueError, OverflowError, MemoryError) as exc:
            if not rows and not self._count:
                raise RecordingBroken(self._path, Phrase("as SQLite", "SQLite 数据库"), str(exc)) from exc
            self._failed += 1
            damaged = Phrase(f"the database is damaged here ({exc})", f"数据库此处损坏（{exc}）")
            self._bad.append(BadLine(self._count + len(rows) + 1, damaged))
        if rows:
            yield self._taken(rows)

    def _rows(self, store: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
        store.text_factory = bytes
        store.execute("PRAGMA trusted_schema = OFF")
        found = store.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'messages'").fetchone()
        if found is None:
            text = Phrase("a database without a table of messages", "数据库中没有 messages 表")
            raise NotARecording(self._path, text)
        query = "SELECT ts, arbitration_id, extended, remote, error, dlc, data FROM messages ORDER BY rowid"
        yield from store.execute(query)

    def _taken(self, rows: list[FrameRow]) -> FrameTable:
        table = FrameTable.from_rows(rows)
        self._count += len(rows)
        self._first_ns = int(table.t_ns[0]) if self._first_ns is None else self._first_ns
        return table

    def outcome(self) -> Read:
        """Whether the times are UTC, and the rows that could not be read."""
        absolute = self._first_ns is not None and self._first_ns >= _YEAR_2000_NS
        names = ("0",) if self._count else ()
        return Read(FrameTable.empty(), names, self._bad, self._failed, start_ns=0 if absolute else None)


def opened(place: Path, path: str) -> SqliteSource:
    """A database in a file, as it stands there: the journal beside it is not looked at.

    Raises:
        RecordingBroken: it cannot be opened.
    """
    try:
        store = sqlite3.connect(f"{place.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
    except sqlite3.Error as exc:
        raise RecordingBroken(path, Phrase("as SQLite", "SQLite 数据库"), str(exc)) from exc
    return SqliteSource(store, path)


def read(content: bytes, path: str) -> Read:
    """Reads a whole database.

    Raises:
        NotARecording: without such a table.
        RecordingBroken: damaged.
    """
    # The journal beside the file is not here: what stands in the file itself is read.
    image = bytearray(content)
    image[_WAL_FLAGS] = b"\x01\x01"
    store = sqlite3.connect(":memory:")
    try:
        store.deserialize(bytes(image))
    except (sqlite3.Error, ValueError, OverflowError, MemoryError) as exc:
        store.close()
        raise RecordingBroken(path, Phrase("as SQLite", "SQLite 数据库"), str(exc)) from exc
    source = SqliteSource(store, path)
    table = FrameTable.concat(list(source.tables()))
    out = source.outcome()
    out.table = table
    return out
