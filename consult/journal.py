"""The room's journal on disk: every block and every event, the truth that the carriers only carry.

One SQLite file per room. Written from worker threads in batches; a block counts as kept when its batch is committed.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from typing import TYPE_CHECKING, Any, Final, Self

from consult.errors import JournalBroken

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

    from consult.wire import BlockHead

__all__ = ["Journal"]

_MIGRATIONS: Final = (
    (
        "0001-blocks-events-documents",
        (
            """CREATE TABLE block (
                stream INTEGER NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
                t_us INTEGER NOT NULL, data BLOB NOT NULL,
                PRIMARY KEY (stream, epoch, seq)) WITHOUT ROWID""",
            "CREATE TABLE event (n INTEGER PRIMARY KEY, t_us INTEGER NOT NULL, body TEXT NOT NULL)",
            "CREATE TABLE document (name TEXT NOT NULL, t_us INTEGER NOT NULL, body TEXT NOT NULL)",
        ),
    ),
)


class Journal:
    """One room's file. Safe to use from several threads; each call is one transaction.

    Raises:
        JournalBroken: by every method, when the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        is_new = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            is_new = not path.exists()
            path.touch(mode=0o600)
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            try:
                self._migrate()
            except BaseException:
                self._db.close()
                raise
        except (sqlite3.Error, OSError) as error:
            if is_new:
                for end in ("", "-wal", "-shm"):
                    path.with_name(path.name + end).unlink(missing_ok=True)
            raise JournalBroken(str(path), str(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _migrate(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("CREATE TABLE IF NOT EXISTS migration (name TEXT PRIMARY KEY)")
        done = {name for (name,) in self._db.execute("SELECT name FROM migration")}
        for name, script in _MIGRATIONS:
            if name not in done:
                self._db.execute("BEGIN")
                for statement in script:
                    self._db.execute(statement)
                self._db.execute("INSERT INTO migration VALUES (?)", (name,))
                self._db.execute("COMMIT")

    def append(self, blocks: Iterable[tuple[BlockHead, bytes]], events: Iterable[dict[str, Any]] = ()) -> None:
        """Keeps blocks and events; those that are there already stay as they are."""
        rows = [(head.stream, head.epoch, head.seq, head.t_us, data) for head, data in blocks]
        said = [(event["n"], event["t_us"], json.dumps(event, ensure_ascii=False)) for event in events]
        self._write(
            ("INSERT OR IGNORE INTO block VALUES (?, ?, ?, ?, ?)", rows),
            ("INSERT OR IGNORE INTO event VALUES (?, ?, ?)", said),
        )

    def keep_document(self, name: str, t_us: int, body: dict[str, Any]) -> None:
        """Keeps a version of a named document: the report, a stream's schema."""
        row = (name, t_us, json.dumps(body, ensure_ascii=False))
        self._write(("INSERT INTO document VALUES (?, ?, ?)", [row]))

    def blocks(self, stream: int, epoch: int, first: int, last: int) -> list[tuple[int, bytes]]:
        """``(seq, bytes)`` of the blocks kept between two numbers, both included, in order."""
        with self._lock:
            try:
                return self._db.execute(
                    "SELECT seq, data FROM block WHERE stream = ? AND epoch = ? AND seq BETWEEN ? AND ? ORDER BY seq",
                    (stream, epoch, first, last),
                ).fetchall()
            except sqlite3.Error as error:
                raise JournalBroken(str(self.path), str(error)) from error

    def events(self) -> list[dict[str, Any]]:
        """All events in order."""
        with self._lock:
            try:
                return [json.loads(body) for (body,) in self._db.execute("SELECT body FROM event ORDER BY n")]
            except sqlite3.Error as error:
                raise JournalBroken(str(self.path), str(error)) from error

    def _write(self, *statements: tuple[str, list[tuple[Any, ...]]]) -> None:
        with self._lock:
            try:
                self._db.execute("BEGIN")
                try:
                    for sql, rows in statements:
                        self._db.executemany(sql, rows)
                except BaseException:
                    self._db.execute("ROLLBACK")
                    raise
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                raise JournalBroken(str(self.path), str(error)) from error

    def close(self) -> None:
        """Ends all use of the file."""
        with self._lock:
            self._db.close()
