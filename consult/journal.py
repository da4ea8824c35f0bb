"""The room's journal on disk: every block and every event, the truth that the carriers only carry.

One SQLite file per room; it is the recording. Written from worker threads in batches; a block counts as kept when its
batch is committed. In the same transaction each batch is sealed by the hash chain of :mod:`consult.chain`, whose head
the service's key signs every ten seconds while something is written, at each restart, and at the end.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import sqlite3
import struct
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from consult.chain import (
    GENESIS,
    canonical,
    digest_blocks,
    digest_documents,
    digest_events,
    digest_found,
    digest_of,
    next_entry,
    runs_of_blocks,
    signed_head,
)
from consult.errors import JournalBroken, RecordingBroken, ServiceError
from consult.recordcontent import Content, content_of, sealed_by
from consult.roomcipher import CIPHER, RoomCipher, block_place, document_place, event_place, padded
from consult.sealederrors import KeyMissing
from consult.wire import MAX_BLOCK_BYTES, RAW, SAMPLES, parse_any_head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from types import TracebackType

    from consult.chain import BlockRow
    from consult.roomcipher import FileCipher
    from consult.roomkeys import KeyStore
    from consult.wire import BlockHead
    from diag.bundle import Signer

__all__ = ["MIGRATIONS", "SIGN_EVERY_US", "ChainHead", "Journal", "ResumedRoom"]

SIGN_EVERY_US: Final = 10_000_000
_RESUME_US: Final = 120_000_000
_SALT_BYTES: Final = 16

MIGRATIONS: Final = (
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
    (
        "0002-chain",
        (
            "ALTER TABLE document RENAME TO document_before",
            """CREATE TABLE document (
                id INTEGER PRIMARY KEY, name TEXT NOT NULL, t_us INTEGER NOT NULL, body TEXT NOT NULL)""",
            "INSERT INTO document SELECT rowid, name, t_us, body FROM document_before",
            "DROP TABLE document_before",
            """CREATE TABLE chain (
                n INTEGER PRIMARY KEY, kind TEXT NOT NULL, t_us INTEGER NOT NULL,
                digest BLOB NOT NULL, detail TEXT NOT NULL, hash BLOB NOT NULL)""",
            """CREATE TABLE signature (
                n INTEGER PRIMARY KEY, t_us INTEGER NOT NULL, public_key BLOB NOT NULL, signature BLOB NOT NULL)""",
            "CREATE INDEX block_time ON block (t_us)",
        ),
    ),
)
"""Name and statements of each change of the file's layout, in order."""


class ChainHead(NamedTuple):
    """The newest entry of the chain: its number and its hash (32 bytes)."""

    n: int
    hash: bytes

    def to_json(self) -> dict[str, Any]:
        """As people see it in the room: the number, and the first 16 hexadecimal digits."""
        return {"n": self.n, "hash": self.hash.hex()[:16]}


@dataclass(frozen=True, slots=True)
class ResumedRoom:
    """What a service needs to open a room again after its process was killed.

    Args:
        epoch: the newest one that an agent announced; 0 where none did.
        schemas: the streams of that epoch, as announced.
        report: the newest ``huizhen.scan/1``; empty where there is none.
        events: all events in order, as told to the room.
        next: stream -> the number behind the last block kept, of the newest epoch.
        blocks: those of the newest epoch from the two minutes before the last one, by stream and number.
        closed_code: why the room ended; None where it had not.
        last_us: the service's time when something was written last; 0 for an empty file.
    """

    epoch: int
    schemas: tuple[dict[str, Any], ...]
    report: dict[str, Any]
    events: tuple[dict[str, Any], ...]
    next: dict[int, int]
    blocks: tuple[tuple[BlockHead, bytes], ...]
    closed_code: str | None
    last_us: int


class Journal:
    """One room's file. Safe to use from several threads; each call is one transaction.

    Args:
        path: made, with its folder, where it is not there.
        room: the room's name, for the chain's first entry.
        signer: signs the chain's head; without one the record is chained and not signed.
        keys: a new record is encrypted with a key that is made there; without it a new one is not encrypted. One that
            is there goes on as it was begun.
        encrypt: False leaves a new record as it is.
        now_us: the service's clock, UTC microseconds.

    Raises:
        JournalBroken: by every method, when the file cannot be used.
    """

    def __init__(
        self,
        path: Path,
        *,
        room: str = "",
        signer: Signer | None = None,
        keys: KeyStore | None = None,
        encrypt: bool = True,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self.path = path
        self.head = self._tip = ChainHead(0, GENESIS)
        """The newest entry that is committed."""
        self._room = room
        self._signer = signer
        self._now_us = now_us
        self._signed_n = 0
        self._signed_us = 0
        self._lock = threading.Lock()
        self._closed = False
        self._keys, self._encrypts = keys, encrypt
        self._content = Content(path)
        is_new = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            is_new = not path.exists()
            path.touch(mode=0o600)
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            try:
                self._migrate()
                self._begin_chain()
            except BaseException:
                self._db.close()
                raise
        except (sqlite3.Error, OSError, ServiceError) as error:
            if is_new:
                for end in ("", "-wal", "-shm"):
                    path.with_name(path.name + end).unlink(missing_ok=True)
                if keys is not None and self._cipher is not None:
                    keys.destroy(self._cipher.key.fingerprint)
            raise JournalBroken(str(path), str(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- opening -----------------------------------------------------------------------------------------------------

    def _migrate(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("CREATE TABLE IF NOT EXISTS migration (name TEXT PRIMARY KEY)")
        done = {name for (name,) in self._db.execute("SELECT name FROM migration")}
        for name, script in MIGRATIONS:
            if name not in done:
                self._db.execute("BEGIN")
                for statement in script:
                    self._db.execute(statement)
                self._db.execute("INSERT INTO migration VALUES (?)", (name,))
                self._db.execute("COMMIT")

    def _begin_chain(self) -> None:
        """Begins the chain, or goes on with it; what an older program left unchained is sealed as found."""
        last = self._db.execute("SELECT n, hash FROM chain ORDER BY n DESC LIMIT 1").fetchone()
        salt = secrets.token_bytes(_SALT_BYTES)
        if last is None:
            self._begin_cipher(salt)
        else:
            self._find_cipher()
        with self._transaction():
            if last is None:
                words = {"room": self._room, "nonce": secrets.token_hex(16), "record": "huizhen.room-record/1"}
                if self._cipher is not None:
                    words |= {"cipher": CIPHER, "key": self._cipher.key.fingerprint, "salt": salt.hex()}
                self._seal("begin", digest_of("begin"), words)
                self._seal_found()
            else:
                self._tip = ChainHead(*last)
                self._signed_n = self._db.execute(
                    "SELECT coalesce(max(n), 0) FROM chain WHERE kind = 'signature'"
                ).fetchone()[0]
                if not self._db.execute("SELECT 1 FROM chain WHERE kind = 'close'").fetchone():
                    self._seal("resume", digest_of("resume"), {} if self._cipher is None else {"salt": salt.hex()})
                    if self._cipher is not None:
                        self._cipher.begin(self._tip.n, salt)
                    self._sign()

    def _begin_cipher(self, salt: bytes) -> None:
        """A key for a new record, on disk before the record names it. What an older program began stays as it is."""
        before = "SELECT 1 FROM block UNION ALL SELECT 1 FROM event UNION ALL SELECT 1 FROM document LIMIT 1"
        if self._keys is None or not self._encrypts or self._db.execute(before).fetchone():
            return
        cipher = RoomCipher(self._keys.create(self._room))
        cipher.begin(1, salt)
        self._content = Content(self.path, cipher)

    def _find_cipher(self) -> None:
        """The key that the record was begun with."""
        try:
            content = content_of(self.path, sealed_by(self._db, str(self.path)), self._keys)
        except RecordingBroken as error:
            raise JournalBroken(str(self.path), str(error.reason)) from error
        if content.missing:
            raise KeyMissing(str(self.path), content.missing)
        self._content = content

    @property
    def _cipher(self) -> RoomCipher | None:
        return self._content.cipher

    @property
    def files(self) -> FileCipher | None:
        """What the room's files are encrypted with; None where they are not."""
        return self._content.files

    @property
    def is_encrypted(self) -> bool:
        """Whether the record's content is encrypted."""
        return self._cipher is not None

    def _seal_found(self) -> None:
        names = self._db.execute("SELECT stream, epoch, seq FROM block ORDER BY stream, epoch, seq").fetchall()
        events = [(n, t_us, body.encode()) for n, t_us, body in self._db.execute("SELECT * FROM event ORDER BY n")]
        documents = [
            (ident, name, t_us, body.encode())
            for ident, name, t_us, body in self._db.execute("SELECT * FROM document ORDER BY id")
        ]
        if not (names or events or documents):
            return
        rows: Iterator[BlockRow] = iter(
            self._db.execute("SELECT stream, epoch, seq, t_us, data FROM block ORDER BY stream, epoch, seq")
        )
        detail = {
            "blocks": runs_of_blocks(names),
            "events": [row[0] for row in events],
            "documents": [row[0] for row in documents],
        }
        self._seal("found", digest_found(rows, events, documents), detail)

    # -- writing -----------------------------------------------------------------------------------------------------

    def append(self, blocks: Iterable[tuple[BlockHead, bytes]], events: Iterable[dict[str, Any]] = ()) -> None:
        """Keeps blocks and events; those that are there already stay as they are."""
        self.write(blocks=blocks, events=events)

    def keep_document(self, name: str, t_us: int, body: dict[str, Any]) -> None:
        """Keeps a version of a named document: the report, a stream's schema."""
        self.write(documents=[(name, t_us, body)])

    def write(
        self,
        *,
        documents: Iterable[tuple[str, int, dict[str, Any]]] = (),
        blocks: Iterable[tuple[BlockHead, bytes]] = (),
        events: Iterable[dict[str, Any]] = (),
    ) -> None:
        """Keeps documents, blocks and events in one transaction, sealed; what is there already is left as it is."""
        with self._locked(), self._transaction():
            if self._cipher is not None and not self._cipher.can_write:
                raise JournalBroken(str(self.path), "the room has ended")
            for name, t_us, body in documents:
                self._put_document(name, t_us, body)
            self._put_blocks(blocks)
            for event in events:
                self._put_event(event)
            if self._is_sign_due:
                self._sign()

    def _put_document(self, name: str, t_us: int, body: dict[str, Any]) -> None:
        text = json.dumps(body, ensure_ascii=False)
        ident = self._db.execute("SELECT coalesce(max(id), 0) + 1 FROM document").fetchone()[0]
        stored = self._stored(text, document_place, ident, name, t_us)
        self._db.execute("INSERT INTO document VALUES (?, ?, ?, ?)", (ident, name, t_us, stored))
        self._seal("document", digest_documents([(ident, name, t_us, _bytes(stored))]), {"documents": [ident]})

    def _stored(self, text: str, place: Callable[..., bytes], *names: Any) -> str | bytes:
        """A JSON text as its row has it: itself, or its ciphertext."""
        return text if self._cipher is None else self._cipher.seal(padded(text), place(*names))

    def _put_blocks(self, blocks: Iterable[tuple[BlockHead, bytes]]) -> None:
        fresh: list[BlockRow] = []
        for head, data in blocks:
            stored = data
            if self._cipher is not None:
                stored = self._cipher.seal(data, block_place(head.stream, head.epoch, head.seq, head.t_us))
            row = (head.stream, head.epoch, head.seq, head.t_us, stored)
            if self._db.execute("INSERT OR IGNORE INTO block VALUES (?, ?, ?, ?, ?)", row).rowcount:
                fresh.append(row)
        if fresh:
            fresh.sort(key=lambda row: row[:3])
            self._seal("blocks", digest_blocks(fresh), {"blocks": runs_of_blocks([row[:3] for row in fresh])})

    def _put_event(self, event: dict[str, Any]) -> None:
        n, t_us = event["n"], event["t_us"]
        stored = self._stored(json.dumps(event, ensure_ascii=False), event_place, n, t_us)
        if self._db.execute("INSERT OR IGNORE INTO event VALUES (?, ?, ?)", (n, t_us, stored)).rowcount:
            self._seal("event", digest_events([(n, t_us, _bytes(stored))]), {"events": [n]})

    def _seal(self, kind: str, digest: bytes, detail: dict[str, Any]) -> None:
        entry = next_entry(self._tip.n + 1, self._tip.hash, kind, self._now_us(), digest, canonical(detail))
        self._db.execute(
            "INSERT INTO chain VALUES (?, ?, ?, ?, ?, ?)",
            (entry.n, entry.kind, entry.t_us, entry.digest, entry.detail, entry.hash),
        )
        self._tip = ChainHead(entry.n, entry.hash)

    def _sign(self) -> None:
        """Signs the head, and seals the signature. Does nothing without a key, or when nothing was written since."""
        now_us = self._now_us()
        if self._signer is None or self._tip.n <= self._signed_n:
            return
        n, key = self._tip.n, self._signer.public_key
        signature = self._signer.sign(signed_head(n, self._tip.hash, now_us))
        self._db.execute("INSERT INTO signature VALUES (?, ?, ?, ?)", (n, now_us, key, signature))
        self._seal("signature", digest_of("signature", key, signature), {"signature": n, "t_us": now_us})
        self._signed_n, self._signed_us = self._tip.n, now_us

    @property
    def must_sign(self) -> bool:
        """Whether something was written and not signed within ten seconds."""
        return self._signer is not None and self.head.n > self._signed_n and self._is_sign_due

    @property
    def _is_sign_due(self) -> bool:
        """A clock that was set back makes it due: nobody knows how long ago the last one was."""
        return not 0 <= self._now_us() - self._signed_us < SIGN_EVERY_US

    def sign(self) -> None:
        """Signs the chain's head now."""
        with self._locked(), self._transaction():
            self._sign()

    def end(self, code: str) -> None:
        """The room has ended for good: the last entry, and a signature over it. ``code`` names the reason."""
        with self._locked(), self._transaction():
            if self._db.execute("SELECT 1 FROM chain WHERE kind = 'close'").fetchone():
                return
            counts = {
                table: self._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - three literals
                for table in ("block", "event", "document")
            }
            self._seal("close", digest_of("close"), {"code": code, **counts})
            self._sign()

    # -- reading -----------------------------------------------------------------------------------------------------

    def blocks(self, stream: int, epoch: int, first: int, last: int) -> list[tuple[int, bytes]]:
        """``(seq, bytes)`` of the blocks kept between two numbers, both included, in order."""
        rows = self._read(
            "SELECT seq, t_us, data FROM block WHERE stream = ? AND epoch = ? AND seq BETWEEN ? AND ? ORDER BY seq",
            (stream, epoch, first, last),
        )
        return [(seq, self._content.block(stream, epoch, seq, t_us, data)) for seq, t_us, data in rows]

    def events(self) -> list[dict[str, Any]]:
        """All events in order."""
        rows = self._read("SELECT n, t_us, body FROM event ORDER BY n")
        return [json.loads(self._content.event(*row)) for row in rows]

    def documents(self, name: str) -> list[tuple[int, dict[str, Any]]]:
        """``(t_us, body)`` of all versions of a document, oldest first."""
        rows = self._read("SELECT id, name, t_us, body FROM document WHERE name = ? ORDER BY id", (name,))
        return [(row[2], json.loads(self._content.document(*row))) for row in rows]

    def resume(self) -> ResumedRoom:
        """Everything that a service needs to go on with the room."""
        schemas, reports = self.documents("schemas"), self.documents("report")
        newest: dict[str, Any] = schemas[-1][1] if schemas else {"epoch": 0, "schemas": []}
        epoch = newest["epoch"]
        streams = [entry["stream"] for entry in newest["schemas"]]
        following = {
            stream: self._read("SELECT max(seq) + 1 FROM block WHERE stream = ? AND epoch = ?", (stream, epoch))[0][0]
            for stream in streams
        }
        last = self._read("SELECT t_us FROM block WHERE epoch = ? ORDER BY t_us DESC LIMIT 1", (epoch,))
        rows = self._read(
            "SELECT stream, epoch, seq, t_us, data FROM block WHERE +epoch = ? AND t_us >= ? ORDER BY t_us",
            (epoch, last[0][0] - _RESUME_US if last else 0),
        )
        kept = [(stream, seq, self._content.block(stream, of, seq, t_us, data)) for stream, of, seq, t_us, data in rows]
        ends = self._read("SELECT detail FROM chain WHERE kind = 'close' ORDER BY n DESC LIMIT 1")
        times = self._read("SELECT max(t_us) FROM chain WHERE kind NOT IN ('begin', 'resume', 'signature')")
        return ResumedRoom(
            epoch=epoch,
            schemas=tuple(newest["schemas"]),
            report=reports[-1][1] if reports else {},
            events=tuple(self.events()),
            next={stream: following[stream] or 0 for stream in streams},
            blocks=tuple(
                (parse_any_head(data, (SAMPLES, RAW), most=MAX_BLOCK_BYTES), data) for _, _, data in sorted(kept)
            ),
            closed_code=json.loads(ends[0][0])["code"] if ends else None,
            last_us=times[0][0] or 0,
        )

    def _read(self, sql: str, values: tuple[Any, ...] = ()) -> list[Any]:
        with self._locked():
            return self._db.execute(sql, values).fetchall()

    # -- what it stands on -------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except (sqlite3.Error, struct.error, OverflowError, UnicodeEncodeError) as error:
                # Also what SQLite cannot hold: one room's strange value must not end the others' keeper.
                raise JournalBroken(str(self.path), str(error)) from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of it or nothing; the head that others see moves with the commit."""
        before = self._signed_n, self._signed_us
        self._db.execute("BEGIN")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self._tip, (self._signed_n, self._signed_us) = self.head, before
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self.head = self._tip

    def close(self) -> None:
        """Signs what is not signed yet, and ends all use of the file. Closing twice does nothing more."""
        try:
            if not self._closed:
                self.sign()
        finally:
            self._closed = True
            with self._lock:
                self._db.close()


def _bytes(stored: str | bytes) -> bytes:
    return stored.encode() if isinstance(stored, str) else stored
