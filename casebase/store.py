"""The library's file: SQLite through sqlite-utils; SQL stands here and in the tables beside.

A library is made by named migrations, each in one transaction with its own record, and can therefore be opened by a
later version; one with a migration that this version does not know is refused. Opening checks the file's pages.
Whatever SQLite or the system says is translated into :class:`casebase.errors.LibraryError`.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sqlite_utils

from casebase.errors import (
    FixUnknown,
    LibraryDamaged,
    LibraryFull,
    LibraryLocked,
    LibraryMissing,
    LibraryNewer,
    LibraryReadOnly,
    LibraryUnreadable,
    NotALibrary,
)
from casebase.schema import MIGRATIONS, OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["APPLICATION_ID", "OUTCOMES", "FixRow", "ShownRow", "Store"]

APPLICATION_ID: Final = 0x485A4342
"""``HZCB`` in the file's header: what kind of SQLite file this is."""
_BUSY_S: Final = 5.0
_SMALL: Final = 64_000_000
"""Bytes of a file that is read through whenever it is opened."""
_LARGE: Final = frozenset(
    ("cases", "learnt", "outcome_log", "notices", "notice_vehicles", "notice_texts", "shared_counts", "shared_terms")
)
_PAGE: Final = 1 << 16
_NO_LAST_YEAR: Final = 9999


@dataclass(frozen=True, slots=True)
class FixRow:
    """One fix as it stands in the file; ``body`` is its JSON, ``n`` the cases behind it."""

    fix_id: str
    slug: str
    component: str
    failure_mode: str
    action: str
    source: str
    safety: str
    n: float
    make: str | None
    model: str | None
    year_from: int | None
    year_to: int | None
    body: str
    origin: str = "bundled"


@dataclass(frozen=True, slots=True)
class ShownRow:
    """One match that a person was shown: with the probability told, and that before the log corrected it."""

    fix_id: str
    rank: int
    p: float
    p_raw: float
    verdict: str


def _has_room(path: str) -> bool:
    """Whether a page more would find a place; SQLite calls some full disks an input/output error."""
    try:
        return path == ":memory:" or shutil.disk_usage(Path(path).parent).free >= _PAGE
    except OSError:
        return True


@contextmanager
def _translated(path: str) -> Iterator[None]:
    """Turns what SQLite says into what it means for the library."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise  # a mistake of ours, and nothing about the file
    except sqlite3.Error as exc:
        code = (getattr(exc, "sqlite_errorcode", None) or 0) & 0xFF
        if code == sqlite3.SQLITE_NOTADB:
            raise NotALibrary(path) from exc
        if code == sqlite3.SQLITE_CORRUPT:
            raise LibraryDamaged(path, str(exc)) from exc
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise LibraryLocked(path) from exc
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
            raise LibraryReadOnly(path) from exc
        if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and not _has_room(path)):
            raise LibraryFull(path) from exc
        raise LibraryUnreadable(path, str(exc)) from exc
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise LibraryFull(path) from exc
        raise LibraryUnreadable(path, exc.strerror or str(exc)) from exc


class Store:
    """An open library file."""

    def __init__(self, db: sqlite_utils.Database, path: str, *, writable: bool) -> None:
        self.db = db
        self.path = path
        self.writable = writable

    @classmethod
    def open(cls, path: Path, *, create: bool = False) -> Store:
        """Opens a library; brings an older one up to date; where it cannot be written, opens it for reading.

        Raises:
            LibraryError: see :mod:`casebase.errors`.
        """
        name = str(path)
        with _translated(name):
            if path.is_dir():
                raise NotALibrary(name)
            if not path.exists():
                if not create:
                    raise LibraryMissing(name)
                path.parent.mkdir(parents=True, exist_ok=True)
            elif not path.stat().st_size and not create:
                raise NotALibrary(name)
            is_new = not path.exists()
            writable = _can_write(path)
            try:
                return cls._opened(path, create=create, writable=writable)
            except BaseException:
                # Another process may have begun to fill the same new file: only an empty one is nobody's.
                if is_new and path.exists() and not path.stat().st_size:
                    path.unlink()
                raise

    @classmethod
    def _opened(cls, path: Path, *, create: bool, writable: bool) -> Store:
        store = cls(sqlite_utils.Database(_connect(path, writable=writable)), str(path), writable=writable)
        try:
            store._check(create=create)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def memory(cls) -> Store:
        """A library that lives as long as the process."""
        conn = sqlite3.connect(":memory:", isolation_level=None)
        conn.execute("PRAGMA foreign_keys = ON")
        store = cls(sqlite_utils.Database(conn), ":memory:", writable=True)
        with _translated(store.path):
            store._check(create=True)
        return store

    def close(self) -> None:
        """Lets the file go."""
        self.db.conn.close()

    def _check(self, *, create: bool) -> None:
        done = self.verify(create=create)
        for name, change in MIGRATIONS:
            if name not in done:
                self._migrate(name, change)

    def verify(self, *, create: bool, whole: bool = False) -> set[str]:
        """Whether this is a library whose pages check; returns the changes that it has seen.

        Args:
            create: an empty file will do.
            whole: check every page, however large the file is.

        Raises:
            LibraryError: it is none, is damaged or newer.
        """
        # In this order: another process makes tables and kind in one step, perhaps just now.
        tables = self.value("SELECT count(*) FROM sqlite_master")
        kind = self.value("PRAGMA application_id")
        empty = create and kind == 0 and not tables
        if not empty and kind != APPLICATION_ID:
            raise NotALibrary(self.path)
        for part in self._parts_to_check(whole=whole):
            state = str(self.value(f"PRAGMA quick_check({part})"))
            if state != "ok":
                raise LibraryDamaged(self.path, state.splitlines()[0])
        done = set() if empty else self._done()
        if beyond := sorted(done - {name for name, _ in MIGRATIONS}):
            raise LibraryNewer(self.path, beyond[0])
        return done

    def _parts_to_check(self, *, whole: bool) -> Sequence[str]:
        """What ``quick_check`` is asked: everything, or of a large file the tables that every question needs.

        A million cases take seconds to read through; a damaged page among them is reported when it is met.
        """
        size = int(self.value("PRAGMA page_count")) * int(self.value("PRAGMA page_size"))
        if whole or size <= _SMALL:
            return ("1",)
        return [f"'{row[0]}'" for row in self.rows("SELECT name FROM sqlite_master WHERE type = 'table'")
                if row[0] not in _LARGE and not row[0].startswith("sqlite_")]  # fmt: skip

    def _done(self) -> set[str]:
        return {str(row[0]) for row in self.db.execute("SELECT name FROM migrations")}

    def _migrate(self, name: str, change: Callable[[sqlite_utils.Database], None]) -> None:
        """One change with its record; nothing, when another process made it meanwhile."""
        with self.transaction():
            if self.value("PRAGMA application_id") == 0:
                self.db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self.db.execute(
                    "CREATE TABLE migrations (name TEXT PRIMARY KEY,"
                    " applied_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')))"
                )
            if name not in self._done():
                change(self.db)
                self.db.table("migrations").insert({"name": name})

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything or nothing; takes the writer's lock at once."""
        with _translated(self.path):
            if not self.writable:
                raise LibraryReadOnly(self.path)
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self.db.conn.in_transaction:
                    self.db.execute("ROLLBACK")
                raise
            self.db.execute("COMMIT")

    def value(self, sql: str, parameters: Sequence[object] = ()) -> Any:
        """The first field of the first row, None without one."""
        with _translated(self.path):
            row = self.db.execute(sql, parameters).fetchone()
        return None if row is None else row[0]

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows of a question."""
        with _translated(self.path):
            return self.db.execute(sql, parameters).fetchall()

    @property
    def state(self) -> tuple[int, int]:
        """Another one means that somebody has written, this process or another."""
        return int(self.value("PRAGMA data_version")), self.db.conn.total_changes

    @property
    def identity(self) -> str:
        """Of this file's contents: copies that go their own way, and restored ones, get another."""
        return self.meta("identity") or ""

    def migrations(self) -> tuple[str, ...]:
        """Names of the changes that this file has seen, in order."""
        with _translated(self.path):
            return tuple(str(row[0]) for row in self.db.execute("SELECT name FROM migrations ORDER BY name"))

    def meta(self, key: str) -> str | None:
        """A remark about the file itself."""
        with _translated(self.path):
            value = self.value("SELECT value FROM meta WHERE key = ?", (key,))
        return None if value is None else str(value)

    def put_bundled(
        self,
        content_hash: str,
        fixes: Iterable[tuple[FixRow, dict[str, float]]],
        tests: Sequence[tuple[str, str]],
        scales: Sequence[tuple[str, str]],
    ) -> None:
        """Takes over the content that comes with the program, in one transaction.

        Fixes that are no longer part of it are retired: they match no more, what was learnt of them stays.
        """
        with self.transaction():
            self.db.execute("UPDATE fixes SET retired = 1, slug = id WHERE origin = 'bundled'")
            for row, terms in fixes:
                self.put_fix(row, "bundled", terms)
            for table, key, rows in (("tests", "id", tests), ("scales", "name", scales)):
                self.db.execute(f"DELETE FROM {table}")  # noqa: S608 - one of two names that stand in the line above
                self.db.table(table).insert_all(
                    {key: name, "position": position, "body": body} for position, (name, body) in enumerate(rows)
                )
            self.db.table("meta").upsert({"key": "content_hash", "value": content_hash}, pk="key")

    def put_fix(self, row: FixRow, origin: str, terms: dict[str, float]) -> None:
        """A fix with its terms, new or instead of the one with the same identity, in the caller's transaction."""
        place = (row.make or "", row.model or "", row.year_from or 0, row.year_to or _NO_LAST_YEAR)
        execute = self.db.conn.execute
        execute("INSERT OR IGNORE INTO scopes (make, model, year_from, year_to) VALUES (?, ?, ?, ?)", place)
        execute(
            "INSERT INTO fixes (id, slug, component, failure_mode, action, scope_id, source, safety, origin, n,"
            " retired, body) SELECT ?, ?, ?, ?, ?, id, ?, ?, ?, ?, 0, ? FROM scopes"
            " WHERE make = ? AND model = ? AND year_from = ? AND year_to = ?"
            " ON CONFLICT (id) DO UPDATE SET slug = excluded.slug, scope_id = excluded.scope_id,"
            " source = excluded.source, safety = excluded.safety, origin = excluded.origin,"
            " n = excluded.n, retired = 0, body = excluded.body",
            (
                row.fix_id, row.slug, row.component, row.failure_mode, row.action, row.source, row.safety, origin,
                row.n, row.body, *place,
            ),
        )  # fmt: skip
        if terms:
            execute("DELETE FROM terms WHERE fix_id = ?", (row.fix_id,))
            self.db.conn.executemany(
                "INSERT INTO terms VALUES (?, ?, ?)", [(row.fix_id, term, n) for term, n in terms.items()]
            )

    def fixes(self, *, own: bool = False) -> list[FixRow]:
        """All fixes that may match, or those of them that come with the program, by slug."""
        which = " AND origin = 'bundled'" if own else ""
        return [_fix_row(row) for row in self.rows(f"{_FIX_SQL} WHERE retired = 0{which} ORDER BY slug")]

    def find_fix(self, name: str) -> FixRow:
        """A fix by its slug, its id, or the beginning of its id that only it has.

        Raises:
            FixUnknown: there is none, or the beginning fits several.
        """
        with _translated(self.path):
            rows = self.db.execute(f"{_FIX_SQL} WHERE fixes.id = ?", (name,)).fetchall()
            rows = rows or self.db.execute(f"{_FIX_SQL} WHERE slug = ?", (name,)).fetchall()
            if not rows and len(name) >= 4 and name.isalnum():
                rows = self.db.execute(f"{_FIX_SQL} WHERE fixes.id LIKE ? || '%'", (name.lower(),)).fetchall()
        if len(rows) != 1:
            raise FixUnknown(name)
        return _fix_row(rows[0])

    def terms(self) -> list[tuple[str, str, float]]:
        """``(fix id, term, count)`` of all fixes that may match, in a fixed order."""
        with _translated(self.path):
            return self.db.execute(
                "SELECT fix_id, term, terms.n FROM terms JOIN fixes ON fixes.id = fix_id WHERE retired = 0"
                " ORDER BY slug, term"
            ).fetchall()

    def bodies(self, table: str) -> list[tuple[str, str]]:
        """Name and JSON of the ``tests`` or ``scales``, in their order."""
        sql = {
            "tests": "SELECT id, body FROM tests ORDER BY position",
            "scales": "SELECT name, body FROM scales ORDER BY position",
        }[table]
        with _translated(self.path):
            return self.db.execute(sql).fetchall()

    def log_shown(self, case_id: int, shown: Sequence[ShownRow], *, simulated: bool) -> None:
        """Keeps what a person was shown for a job, in the caller's transaction."""
        self.db.table("outcome_log").insert_all(
            {
                "case_id": case_id, "fix_id": row.fix_id, "rank": row.rank, "p": row.p, "p_raw": row.p_raw,
                "verdict": row.verdict, "simulated": int(simulated),
            }
            for row in shown
        )  # fmt: skip

    def outcomes(self) -> dict[str, dict[str, int]]:
        """Fix id -> how many real jobs ended how; simulated ones never count."""
        rows = self.rows(
            "SELECT fix_id, outcome, count(*) FROM cases WHERE simulated = 0 AND outcome IS NOT NULL"
            " AND fix_id IS NOT NULL GROUP BY fix_id, outcome ORDER BY fix_id, outcome"
        )
        out: dict[str, dict[str, int]] = {}
        for fix_id, outcome, count in rows:
            out.setdefault(fix_id, dict.fromkeys(OUTCOMES, 0))[outcome] = count
        return out

    def backup(self, path: Path) -> None:
        """A copy of the whole library as it is now, while others read and write.

        Raises:
            LibraryError: it cannot be written there; nothing is left behind.
        """
        made = path.with_name(f".{path.name}.part")
        journal = made.with_name(f"{made.name}-journal")
        try:
            with _translated(str(path)):
                for left in (journal, made):  # by one that was killed
                    left.unlink(missing_ok=True)
                copy = sqlite3.connect(made)
                try:
                    self.db.conn.backup(copy)
                finally:
                    copy.close()
                made.replace(path)
        finally:
            for left in (journal, made):
                with suppress(OSError):
                    left.unlink(missing_ok=True)

    def restore(self, path: Path) -> None:
        """Everything as it is in a backup, which is only read; what this library had is gone.

        Raises:
            LibraryError: the backup is no library, is damaged or newer; nothing was changed.
        """
        if not self.writable:
            raise LibraryReadOnly(self.path)
        name = str(path)
        with _translated(name):
            if not path.exists():
                raise LibraryMissing(name)
            if not path.is_file() or not path.stat().st_size:
                raise NotALibrary(name)
            backup = Store(sqlite_utils.Database(_connect(path, writable=False)), name, writable=False)
        try:
            backup.verify(create=False, whole=True)
            with _translated(self.path):
                backup.db.conn.backup(self.db.conn)
        finally:
            backup.close()
        self._check(create=False)
        with _translated(self.path):
            self.db.execute("UPDATE meta SET value = lower(hex(randomblob(8))) WHERE key = 'identity'")

    def counts(self) -> dict[str, int]:
        """How much of everything the library has."""
        with _translated(self.path):
            return {
                "fixes": self.value("SELECT count(*) FROM fixes WHERE retired = 0 AND origin = 'bundled'"),
                "learnt_fixes": self.value("SELECT count(*) FROM fixes WHERE origin = 'learnt'"),
                "shared_fixes": self.value("SELECT count(*) FROM fixes WHERE retired = 0 AND origin = 'shared'"),
                "notices": self.value("SELECT count(*) FROM notices"),
                "retired": self.value("SELECT count(*) FROM fixes WHERE retired = 1"),
                "terms": self.value("SELECT count(DISTINCT term) FROM terms"),
                "tests": self.value("SELECT count(*) FROM tests"),
                "jobs": self.value("SELECT count(*) FROM cases WHERE simulated = 0"),
                "simulated_jobs": self.value("SELECT count(*) FROM cases WHERE simulated = 1"),
                "drafts": self.value("SELECT count(*) FROM drafts WHERE state = 'waiting'"),
                "outcomes": self.value("SELECT count(*) FROM cases WHERE simulated = 0 AND outcome IS NOT NULL"),
            }


_FIX_SQL: Final = (
    "SELECT fixes.id, slug, component, failure_mode, action, source, safety, n, make, model, year_from, year_to, body,"
    " origin"
    " FROM fixes JOIN scopes ON scopes.id = scope_id"
)


def _fix_row(row: Sequence[Any]) -> FixRow:
    fix_id, slug, component, failure_mode, action, source, safety, n, make, model, year_from, year_to, body, origin = (
        row
    )
    last = None if year_to == _NO_LAST_YEAR else year_to
    return FixRow(
        fix_id, slug, component, failure_mode, action, source, safety, n, make or None, model or None,
        year_from or None, last, body, origin,
    )  # fmt: skip


def _can_write(path: Path) -> bool:
    """Whether the file and, for the journal beside it, its folder take writing."""
    return os.access(path.parent, os.W_OK) and (not path.exists() or os.access(path, os.W_OK))


def _connect(path: Path, *, writable: bool) -> sqlite3.Connection:
    try:
        return _connected(path, writable=writable)
    except sqlite3.OperationalError as exc:
        # A full disk has no room for what processes share of the journal: alone, a library can be read all the same.
        if not writable or exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_IOERR:
            raise
        return _connected(path, writable=True, alone=True)


def _connected(path: Path, *, writable: bool, alone: bool = False) -> sqlite3.Connection:
    if writable:
        conn = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
    else:
        # "immutable" reads a file in write-ahead mode without making files beside it.
        uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
        conn = sqlite3.connect(uri, uri=True, timeout=_BUSY_S, isolation_level=None)
    try:
        conn.execute("PRAGMA foreign_keys = ON")
        if alone:
            conn.execute("PRAGMA locking_mode = EXCLUSIVE")
        if writable:
            conn.execute("PRAGMA schema_version")
            conn.execute("PRAGMA journal_mode = WAL")
            conn.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        conn.close()
        raise
    return conn
