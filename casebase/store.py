"""The library's file: SQLite through sqlite-utils, and the only place with SQL.

A library is made by named migrations, each in one transaction with its own record, and can therefore be opened by a
later version; one with a migration that this version does not know is refused. Opening checks the file's pages.
Whatever SQLite or the system says is translated into :class:`casebase.errors.LibraryError`.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
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
    SimulatedOutcome,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

__all__ = ["APPLICATION_ID", "MIGRATIONS", "OUTCOMES", "FixRow", "ShownRow", "Store"]

APPLICATION_ID: Final = 0x485A4342
"""``HZCB`` in the file's header: what kind of SQLite file this is."""
OUTCOMES: Final = ("fixed", "not-fixed", "something-else")
_BUSY_S: Final = 5.0
_NO_LAST_YEAR: Final = 9999

Migration = tuple[str, "Callable[[sqlite_utils.Database], None]"]


def _fixes_and_terms(db: sqlite_utils.Database) -> None:
    db.execute(
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    )
    db.execute(
        "CREATE TABLE scopes (id INTEGER PRIMARY KEY, make TEXT NOT NULL DEFAULT '', model TEXT NOT NULL DEFAULT '',"
        " year_from INTEGER NOT NULL DEFAULT 0, year_to INTEGER NOT NULL DEFAULT 9999,"
        " UNIQUE (make, model, year_from, year_to))"
    )
    db.execute(
        "CREATE TABLE fixes (id TEXT PRIMARY KEY, slug TEXT NOT NULL UNIQUE, component TEXT NOT NULL,"
        " failure_mode TEXT NOT NULL, action TEXT NOT NULL, scope_id INTEGER NOT NULL REFERENCES scopes (id),"
        " source TEXT NOT NULL, safety TEXT NOT NULL, origin TEXT NOT NULL, n REAL NOT NULL CHECK (n > 0),"
        " retired INTEGER NOT NULL DEFAULT 0, body TEXT NOT NULL)"
    )
    db.execute(
        "CREATE TABLE terms (fix_id TEXT NOT NULL REFERENCES fixes (id), term TEXT NOT NULL,"
        " n REAL NOT NULL CHECK (n >= 0), PRIMARY KEY (fix_id, term)) WITHOUT ROWID"
    )
    db.execute("CREATE TABLE tests (id TEXT PRIMARY KEY, position INTEGER NOT NULL, body TEXT NOT NULL)")
    db.execute("CREATE TABLE scales (name TEXT PRIMARY KEY, position INTEGER NOT NULL, body TEXT NOT NULL)")


def _cases_and_outcomes(db: sqlite_utils.Database) -> None:
    db.execute(
        "CREATE TABLE cases (id INTEGER PRIMARY KEY, opened_ns INTEGER NOT NULL, closed_ns INTEGER,"
        " symptom TEXT NOT NULL DEFAULT '', vehicle TEXT NOT NULL DEFAULT '{}',"
        " simulated INTEGER NOT NULL CHECK (simulated IN (0, 1)))"
    )
    db.execute(
        "CREATE TABLE outcome_log (id INTEGER PRIMARY KEY, case_id INTEGER NOT NULL REFERENCES cases (id),"
        " fix_id TEXT NOT NULL REFERENCES fixes (id), rank INTEGER NOT NULL, p REAL NOT NULL, verdict TEXT NOT NULL,"
        " simulated INTEGER NOT NULL CHECK (simulated IN (0, 1)), outcome TEXT CHECK (outcome IN ('fixed', 'not-fixed',"
        " 'something-else')), CHECK (simulated = 0 OR outcome IS NULL))"
    )
    db.execute("CREATE INDEX outcome_log_fix ON outcome_log (fix_id, outcome)")


MIGRATIONS: Final[tuple[Migration, ...]] = (
    ("001-fixes-and-terms", _fixes_and_terms),
    ("002-cases-and-outcomes", _cases_and_outcomes),
)


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


@dataclass(frozen=True, slots=True)
class ShownRow:
    """One match that a person was shown."""

    fix_id: str
    rank: int
    p: float
    verdict: str


@contextmanager
def _translated(path: str) -> Iterator[None]:
    """Turns what SQLite says into what it means for the library."""
    try:
        yield
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
        if code == sqlite3.SQLITE_FULL:
            raise LibraryFull(path) from exc
        raise LibraryUnreadable(path, str(exc)) from exc
    except OSError as exc:
        raise LibraryUnreadable(path, exc.strerror or str(exc)) from exc


class Store:
    """An open library file."""

    def __init__(self, db: sqlite_utils.Database, path: str, *, writable: bool) -> None:
        self._db = db
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
        self._db.conn.close()

    def _check(self, *, create: bool) -> None:
        kind = self._value("PRAGMA application_id")
        empty = create and kind == 0 and not self._value("SELECT count(*) FROM sqlite_master")
        if not empty and kind != APPLICATION_ID:
            raise NotALibrary(self.path)
        state = str(self._value("PRAGMA quick_check(1)"))
        if state != "ok":
            raise LibraryDamaged(self.path, state.splitlines()[0])
        done = set() if empty else self._done()
        if beyond := sorted(done - {name for name, _ in MIGRATIONS}):
            raise LibraryNewer(self.path, beyond[0])
        for name, change in MIGRATIONS:
            if name not in done:
                self._migrate(name, change)

    def _done(self) -> set[str]:
        return {str(row[0]) for row in self._db.execute("SELECT name FROM migrations")}

    def _migrate(self, name: str, change: Callable[[sqlite_utils.Database], None]) -> None:
        """One change with its record; nothing, when another process made it meanwhile."""
        with self._transaction():
            if self._value("PRAGMA application_id") == 0:
                self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self._db.execute(
                    "CREATE TABLE migrations (name TEXT PRIMARY KEY,"
                    " applied_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')))"
                )
            if name not in self._done():
                change(self._db)
                self._db.table("migrations").insert({"name": name})

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Everything or nothing; takes the writer's lock at once."""
        with _translated(self.path):
            if not self.writable:
                raise LibraryReadOnly(self.path)
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._db.conn.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _value(self, sql: str, parameters: Sequence[object] = ()) -> Any:
        row = self._db.execute(sql, parameters).fetchone()
        return None if row is None else row[0]

    def migrations(self) -> tuple[str, ...]:
        """Names of the changes that this file has seen, in order."""
        with _translated(self.path):
            return tuple(str(row[0]) for row in self._db.execute("SELECT name FROM migrations ORDER BY name"))

    def meta(self, key: str) -> str | None:
        """A remark about the file itself."""
        with _translated(self.path):
            value = self._value("SELECT value FROM meta WHERE key = ?", (key,))
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
        with self._transaction():
            self._db.execute("UPDATE fixes SET retired = 1, slug = id WHERE origin = 'bundled'")
            for row, terms in fixes:
                self._put_fix(row, "bundled", terms)
            for table, key, rows in (("tests", "id", tests), ("scales", "name", scales)):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - one of two names that stand in the line above
                self._db.table(table).insert_all(
                    {key: name, "position": position, "body": body} for position, (name, body) in enumerate(rows)
                )
            self._db.table("meta").upsert({"key": "content_hash", "value": content_hash}, pk="key")

    def _put_fix(self, row: FixRow, origin: str, terms: dict[str, float]) -> None:
        place = (row.make or "", row.model or "", row.year_from or 0, row.year_to or _NO_LAST_YEAR)
        self._db.execute("INSERT OR IGNORE INTO scopes (make, model, year_from, year_to) VALUES (?, ?, ?, ?)", place)
        scope_id = self._value(
            "SELECT id FROM scopes WHERE make = ? AND model = ? AND year_from = ? AND year_to = ?", place
        )
        self._db.table("fixes").upsert(
            {
                "id": row.fix_id, "slug": row.slug, "component": row.component, "failure_mode": row.failure_mode,
                "action": row.action, "scope_id": scope_id, "source": row.source, "safety": row.safety,
                "origin": origin, "n": row.n, "retired": 0, "body": row.body,
            },
            pk="id",
        )  # fmt: skip
        self._db.execute("DELETE FROM terms WHERE fix_id = ?", (row.fix_id,))
        self._db.table("terms").insert_all({"fix_id": row.fix_id, "term": term, "n": n} for term, n in terms.items())

    def fixes(self) -> list[FixRow]:
        """All fixes that may match, by slug."""
        with _translated(self.path):
            rows = self._db.execute(f"{_FIX_SQL} WHERE retired = 0 ORDER BY slug").fetchall()
        return [_fix_row(row) for row in rows]

    def find_fix(self, name: str) -> FixRow:
        """A fix by its slug, its id, or the beginning of its id that only it has.

        Raises:
            FixUnknown: there is none, or the beginning fits several.
        """
        with _translated(self.path):
            rows = self._db.execute(f"{_FIX_SQL} WHERE slug = ? OR fixes.id = ?", (name, name)).fetchall()
            if not rows and len(name) >= 4 and name.isalnum():
                rows = self._db.execute(f"{_FIX_SQL} WHERE fixes.id LIKE ? || '%'", (name.lower(),)).fetchall()
        if len(rows) != 1:
            raise FixUnknown(name)
        return _fix_row(rows[0])

    def terms(self) -> list[tuple[str, str, float]]:
        """``(fix id, term, count)`` of all fixes that may match, in a fixed order."""
        with _translated(self.path):
            return self._db.execute(
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
            return self._db.execute(sql).fetchall()

    def log_shown(
        self, opened_ns: int, symptom: str, vehicle: dict[str, Any], shown: Sequence[ShownRow], *, simulated: bool
    ) -> int:
        """Keeps what a person was shown, marked when the car was simulated; returns the number of the job."""
        with self._transaction():
            self._db.table("cases").insert(
                {
                    "opened_ns": opened_ns, "symptom": symptom, "vehicle": json.dumps(vehicle, ensure_ascii=False),
                    "simulated": int(simulated),
                }
            )  # fmt: skip
            case_id = int(self._value("SELECT last_insert_rowid()"))
            self._db.table("outcome_log").insert_all(
                {
                    "case_id": case_id, "fix_id": row.fix_id, "rank": row.rank, "p": row.p, "verdict": row.verdict,
                    "simulated": int(simulated),
                }
                for row in shown
            )  # fmt: skip
        return case_id

    def close_job(self, case_id: int, fix_id: str, outcome: str, closed_ns: int) -> None:
        """What became of a shown fix.

        Raises:
            SimulatedOutcome: the job was on the simulated car.
            FixUnknown: the job or the fix was not shown.
        """
        with self._transaction():
            row = self._db.execute(
                "SELECT id, simulated FROM outcome_log WHERE case_id = ? AND fix_id = ?", (case_id, fix_id)
            ).fetchone()
            if row is None:
                raise FixUnknown(fix_id)
            if row[1]:
                raise SimulatedOutcome(case_id)
            self._db.table("outcome_log").update(row[0], {"outcome": outcome})
            self._db.table("cases").update(case_id, {"closed_ns": closed_ns})

    def outcomes(self) -> dict[str, dict[str, int]]:
        """Fix id -> how many real jobs ended how; simulated ones never count."""
        with _translated(self.path):
            rows = self._db.execute(
                "SELECT fix_id, outcome, count(*) FROM outcome_log WHERE simulated = 0 AND outcome IS NOT NULL"
                " GROUP BY fix_id, outcome ORDER BY fix_id, outcome"
            ).fetchall()
        out: dict[str, dict[str, int]] = {}
        for fix_id, outcome, count in rows:
            out.setdefault(fix_id, dict.fromkeys(OUTCOMES, 0))[outcome] = count
        return out

    def counts(self) -> dict[str, int]:
        """How much of everything the library has."""
        with _translated(self.path):
            return {
                "fixes": self._value("SELECT count(*) FROM fixes WHERE retired = 0"),
                "retired": self._value("SELECT count(*) FROM fixes WHERE retired = 1"),
                "terms": self._value("SELECT count(DISTINCT term) FROM terms"),
                "tests": self._value("SELECT count(*) FROM tests"),
                "jobs": self._value("SELECT count(*) FROM cases WHERE simulated = 0"),
                "simulated_jobs": self._value("SELECT count(*) FROM cases WHERE simulated = 1"),
                "outcomes": self._value("SELECT count(*) FROM outcome_log WHERE outcome IS NOT NULL"),
            }


_FIX_SQL: Final = (
    "SELECT fixes.id, slug, component, failure_mode, action, source, safety, n, make, model, year_from, year_to, body"
    " FROM fixes JOIN scopes ON scopes.id = scope_id"
)


def _fix_row(row: Sequence[Any]) -> FixRow:
    fix_id, slug, component, failure_mode, action, source, safety, n, make, model, year_from, year_to, body = row
    last = None if year_to == _NO_LAST_YEAR else year_to
    return FixRow(
        fix_id, slug, component, failure_mode, action, source, safety, n, make or None, model or None,
        year_from or None, last, body,
    )  # fmt: skip


def _can_write(path: Path) -> bool:
    """Whether the file and, for the journal beside it, its folder take writing."""
    return os.access(path.parent, os.W_OK) and (not path.exists() or os.access(path, os.W_OK))


def _connect(path: Path, *, writable: bool) -> sqlite3.Connection:
    if writable:
        conn = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
    else:
        # "immutable" reads a file in write-ahead mode without making files beside it.
        uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
        conn = sqlite3.connect(uri, uri=True, timeout=_BUSY_S, isolation_level=None)
    try:
        conn.execute("PRAGMA foreign_keys = ON")
        if writable:
            conn.execute("PRAGMA schema_version")
            conn.execute("PRAGMA journal_mode = WAL")
            conn.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        conn.close()
        raise
    return conn
