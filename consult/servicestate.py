"""What the service knows and must still know after its process was killed: one SQLite file.

Accounts, sign-ins, rooms, invites, sessions (of secrets only their hashes), and the audit: who did what when on the
service. Each write is one transaction, on disk before it counts. The command line may write to it while the service
runs (``huizhen consult user``); a second service on the same file is refused.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from consult.accounts import Account, AccountRole
from consult.errors import ConsultError, DataInUse, StateBroken
from consult.invites import Invite, Role, Session
from consult.layout import migrate
from consult.operatingerrors import MigrationUnsafe
from consult.statemigrations import MIGRATIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

__all__ = ["AuditEntry", "RoomEntry", "ServiceState"]

_WAIT_S: Final = 5.0
_GLANCE_S: Final = 0.05
_ACCOUNTS: Final = (
    "SELECT name, display, role, skills, languages, region, on_duty, created_us, password, makes, at_once FROM account"
)


@dataclass(frozen=True, slots=True)
class RoomEntry:
    """A room as the service remembers it. ``file``: its journal's name in the data folder; times are UTC."""

    ident: str
    file: str
    created_us: int
    lets_experts_in: bool = False
    closed_us: int | None = None
    closed_code: str | None = None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Something done on the service. ``who``: an account, a person's name, or where a stranger came from."""

    t_us: int
    what: str
    who: str = ""
    room: str = ""
    detail: str = ""

    def to_json(self) -> dict[str, Any]:
        """As auditors read it."""
        return {"t_us": self.t_us, "what": self.what, "who": self.who, "room": self.room, "detail": self.detail}


class ServiceState:
    """The file, open. Safe to use from several threads.

    Args:
        path: None keeps everything in memory only, for a service that ends with its room.

    Raises:
        StateBroken: by every method, when the file cannot be used.
        StateNewer: a newer program has changed the file's layout.
        MigrationUnsafe: it has to be changed in a way that the service which runs on it would not survive.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._read_lock = threading.Lock()
        self._writer = 0
        """The thread that writes now; it sees what it has written."""
        self.accounts_version = 0
        """Another number whenever accounts may have changed; for another program's changes, when they are seen."""
        self._claim_db: sqlite3.Connection | None = None
        is_new = path is not None and not path.exists()
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                path.touch(mode=0o600)
            self._db = sqlite3.connect(
                path or ":memory:", check_same_thread=False, isolation_level=None, timeout=_WAIT_S
            )
            try:
                self._migrate()
            except BaseException:
                self._db.close()
                raise
            # Reads wait for nobody who writes: they have a connection of their own.
            self._read_db = self._db if path is None else self._reader(path)
        except ConsultError:
            self._unclaim()
            raise
        except (sqlite3.Error, OSError) as error:
            if is_new and path is not None:
                with contextlib.suppress(OSError):
                    for end in ("", "-wal", "-shm"):
                        path.with_name(path.name + end).unlink(missing_ok=True)
            raise StateBroken(str(path), str(error)) from error
        self._version = self._data_version()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @staticmethod
    def _reader(path: Path) -> sqlite3.Connection:
        db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=_WAIT_S)
        db.execute("PRAGMA query_only = ON")
        return db

    def _migrate(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        # An invite that was used must stay used, whatever happens to the power.
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")
        migrate(self._db, self.path, MIGRATIONS, self._require_unserved)

    def _require_unserved(self, changes: tuple[str, ...]) -> None:
        try:
            self.claim()
        except DataInUse as error:
            raise MigrationUnsafe(str(self.path), ", ".join(changes)) from error

    def claim(self) -> None:
        """Makes this process the one that serves the rooms; its end frees the claim, however it ends.

        Raises:
            DataInUse: another process holds it.
        """
        if self.path is None or self._claim_db is not None:
            return
        db = sqlite3.connect(self.path.with_suffix(".lock"), check_same_thread=False, isolation_level=None, timeout=0.2)
        try:
            db.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            db.close()
            if "locked" in str(error):
                raise DataInUse(str(self.path.parent)) from error
            raise StateBroken(str(self.path), str(error)) from error
        self._claim_db = db

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One transaction, on disk when the block ends; for the service itself and for its parts' own tables."""
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                self._writer = threading.get_ident()
                try:
                    yield self._db
                except BaseException:
                    self._db.execute("ROLLBACK")
                    raise
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                raise StateBroken(str(self.path), str(error)) from error
            finally:
                self._writer = 0

    def rows(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """What a query finds; a ``SELECT`` waits for no other thread that writes."""
        is_apart = self._read_db is not self._db and sql.startswith("SELECT") and self._writer != threading.get_ident()
        db, lock = (self._read_db, self._read_lock) if is_apart else (self._db, self._lock)
        with lock:
            try:
                return db.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise StateBroken(str(self.path), str(error)) from error

    def _data_version(self) -> int:
        return int(self.rows("PRAGMA data_version")[0][0])

    def changed_elsewhere(self) -> bool:
        """Whether another program has written to the file since this was asked last. May wait for who writes."""
        before, self._version = self._version, self._data_version()
        if before != self._version:
            self.accounts_version += 1
        return before != self._version

    # -- access ------------------------------------------------------------------------------------------------------

    def save_access(
        self,
        invites: Mapping[bytes, Invite | None],
        sessions: Mapping[bytes, Session | None],
        persons: int,
        audit: Iterable[AuditEntry] = (),
    ) -> None:
        """Writes what has changed of invites and sessions, and what is to be remembered of it; None is forgotten."""
        with self.transaction() as db:
            for digest, invite in invites.items():
                if invite is None:
                    db.execute("DELETE FROM invite WHERE digest = ?", (digest,))
                else:
                    row = (digest, invite.room, invite.role.value, invite.expires_s, invite.used)
                    db.execute(
                        "INSERT OR REPLACE INTO invite (digest, room, role, expires_s, used) VALUES (?, ?, ?, ?, ?)",
                        row,
                    )
            for digest, one in sessions.items():
                if one is None:
                    db.execute("DELETE FROM session WHERE digest = ?", (digest,))
                else:
                    kept = (digest, one.person, one.room, one.role.value, one.name, one.expires_s, one.account)
                    db.execute(
                        """INSERT OR REPLACE INTO session (digest, person, room, role, name, expires_s, account)
                        VALUES (?, ?, ?, ?, ?, ?, ?)""",
                        kept,
                    )
            db.execute("INSERT OR REPLACE INTO counter (name, value) VALUES ('persons', ?)", (persons,))
            _note(db, audit)

    def load_invites(self) -> list[Invite]:
        """All invites that are remembered."""
        rows = self.rows("SELECT digest, room, role, expires_s, used FROM invite")
        return [Invite(digest, room, Role(role), expires_s, bool(used)) for digest, room, role, expires_s, used in rows]

    def load_sessions(self) -> tuple[dict[bytes, Session], int]:
        """All sessions by the hash of their token, and the highest person's number ever given out."""
        rows = self.rows("SELECT digest, person, room, role, name, expires_s, account FROM session")
        counted = self.rows("SELECT value FROM counter WHERE name = 'persons'")
        return {
            digest: Session(person, room, Role(role), name, expires_s, account)
            for digest, person, room, role, name, expires_s, account in rows
        }, counted[0][0] if counted else 0

    # -- rooms -------------------------------------------------------------------------------------------------------

    def put_room(self, room: RoomEntry, audit: Iterable[AuditEntry] = ()) -> None:
        """Remembers a room, or what has become of it."""
        with self.transaction() as db:
            row = (room.ident, room.file, room.created_us, room.lets_experts_in, room.closed_us, room.closed_code)
            # Not REPLACE: a column that a newer program added keeps its value.
            db.execute(
                """INSERT INTO room (ident, file, created_us, lets_experts_in, closed_us, closed_code)
                VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (ident) DO UPDATE SET file = excluded.file,
                lets_experts_in = excluded.lets_experts_in, closed_us = excluded.closed_us,
                closed_code = excluded.closed_code""",
                row,
            )
            _note(db, audit)

    def knows_room(self, ident: str) -> bool:
        """Whether there is or was a room of this name: one that ended is never opened again."""
        return bool(self.rows("SELECT 1 FROM room WHERE ident = ?", (ident,)))

    def open_rooms(self) -> list[RoomEntry]:
        """The rooms that were not closed, oldest first."""
        rows = self.rows(
            "SELECT ident, file, created_us, lets_experts_in FROM room WHERE closed_us IS NULL ORDER BY created_us"
        )
        return [RoomEntry(ident, file, created_us, bool(lets)) for ident, file, created_us, lets in rows]

    # -- accounts ----------------------------------------------------------------------------------------------------

    def put_account(self, account: Account, audit: Iterable[AuditEntry] = (), *, sign_out: bool = False) -> None:
        """Keeps an account, new or changed. ``sign_out``: whoever is signed in with it is no longer."""
        with self.transaction() as db:
            db.execute(
                """INSERT INTO account
                (name, display, role, skills, languages, region, on_duty, created_us, password, makes, at_once)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET
                display = excluded.display, role = excluded.role, skills = excluded.skills,
                languages = excluded.languages, region = excluded.region, on_duty = excluded.on_duty,
                password = excluded.password, makes = excluded.makes, at_once = excluded.at_once""",
                (
                    account.name,
                    account.display,
                    account.role.value,
                    json.dumps(account.skills, ensure_ascii=False),
                    json.dumps(account.languages, ensure_ascii=False),
                    account.region,
                    account.on_duty,
                    account.created_us,
                    account.password,
                    json.dumps(account.makes, ensure_ascii=False),
                    account.at_once,
                ),
            )
            if sign_out:
                db.execute("DELETE FROM login WHERE account = ?", (account.name,))
            _note(db, audit)
        self.accounts_version += 1

    def remove_account(self, name: str, audit: Iterable[AuditEntry] = ()) -> bool:
        """Forgets an account and whoever is signed in with it; False where there is none."""
        with self.transaction() as db:
            found = db.execute("DELETE FROM account WHERE name = ?", (name,)).rowcount > 0
            if found:
                _note(db, audit)
        self.accounts_version += 1
        return found

    def accounts(self) -> list[Account]:
        """All accounts by name."""
        return [_account(row) for row in self.rows(f"{_ACCOUNTS} ORDER BY name")]

    def find_account(self, name: str) -> Account | None:
        """An account by its name."""
        rows = self.rows(f"{_ACCOUNTS} WHERE name = ?", (name,))
        return _account(rows[0]) if rows else None

    def open_login(
        self, digest: bytes, account: str, expires_s: float, now_s: float, audit: Iterable[AuditEntry] = ()
    ) -> None:
        """Somebody has signed in."""
        with self.transaction() as db:
            db.execute("DELETE FROM login WHERE expires_s <= ?", (now_s,))
            db.execute(
                "INSERT OR REPLACE INTO login (digest, account, expires_s) VALUES (?, ?, ?)",
                (digest, account, expires_s),
            )
            _note(db, audit)

    def find_login(self, digest: bytes, now_s: float) -> Account | None:
        """Whose sign-in a token's hash stands for."""
        rows = self.rows(
            f"{_ACCOUNTS} JOIN login ON name = login.account WHERE login.digest = ? AND login.expires_s > ?",
            (digest, now_s),
        )
        return _account(rows[0]) if rows else None

    def close_login(self, digest: bytes, audit: Iterable[AuditEntry] = ()) -> None:
        """Somebody has signed out."""
        with self.transaction() as db:
            db.execute("DELETE FROM login WHERE digest = ?", (digest,))
            _note(db, audit)

    # -- audit -------------------------------------------------------------------------------------------------------

    def note(self, *entries: AuditEntry) -> None:
        """Remembers what was done."""
        with self.transaction() as db:
            _note(db, entries)

    @staticmethod
    def note_with(db: sqlite3.Connection, entries: Iterable[AuditEntry]) -> None:
        """The same within a transaction that writes something else: both are on disk or neither."""
        _note(db, entries)

    def audit(self, *, after: int = 0, limit: int = 1000) -> list[tuple[int, AuditEntry]]:
        """Numbered entries behind a number, oldest first."""
        rows = self.rows(
            "SELECT n, t_us, what, who, room, detail FROM audit WHERE n > ? ORDER BY n LIMIT ?", (after, limit)
        )
        return [(n, AuditEntry(*rest)) for n, *rest in rows]

    def forget_audit(self, before_us: int) -> int:
        """Forgets entries older than a time; returns how many."""
        with self.transaction() as db:
            return db.execute("DELETE FROM audit WHERE t_us < ?", (before_us,)).rowcount

    def close(self) -> None:
        """Ends all use of the file and frees the claim."""
        with self._lock, self._read_lock:
            self._read_db.close()
            self._db.close()
            self._unclaim()

    def _unclaim(self) -> None:
        if self._claim_db is not None:
            self._claim_db.close()
            self._claim_db = None


def _note(db: sqlite3.Connection, entries: Iterable[AuditEntry]) -> None:
    db.executemany(
        "INSERT INTO audit (t_us, what, who, room, detail) VALUES (?, ?, ?, ?, ?)",
        [(one.t_us, one.what, one.who, one.room, one.detail) for one in entries],
    )


def _account(row: tuple[Any, ...]) -> Account:
    name, display, role, skills, languages, region, on_duty, created_us, password, makes, at_once = row
    return Account(
        name,
        display,
        AccountRole(role),
        tuple(json.loads(skills)),
        tuple(json.loads(languages)),
        region,
        bool(on_duty),
        created_us,
        password,
        tuple(json.loads(makes)),
        at_once,
    )
