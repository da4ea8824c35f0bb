"""Whether a room's recording is as it was written: every row against the chain, the chain against its signatures.

An edit of a row, of the chain or of a signature, a row too many or too few, another order, another layout of the file:
each is named. What follows the last signature is chained and signed by nobody; it is counted. Whose the keys are, no
file can say: they are told by their fingerprints.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from consult.chain import (
    GENESIS,
    KINDS,
    canonical,
    digest_blocks,
    digest_documents,
    digest_events,
    digest_found,
    digest_of,
    next_entry,
    signed_head,
)
from consult.contentcheck import ContentCheck
from consult.journal import MIGRATIONS
from consult.recording import opened_database, require_tables
from diag.bundle import fingerprint
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from consult.chain import BlockRow, DocumentRow, EventRow
    from consult.roomkeys import KeySource

__all__ = ["Fault", "RecordCheck", "SignedBy", "check_record"]

_MOST_FAULTS: Final = 100
_COLUMNS: Final = {
    "block": ("stream integer", "epoch integer", "seq integer", "t_us integer", "data blob"),
    "event": ("n integer", "t_us integer", "body text"),
    "document": ("id integer", "name text", "t_us integer", "body text"),
    "chain": ("n integer", "kind text", "t_us integer", "digest blob", "detail text", "hash blob"),
    "signature": ("n integer", "t_us integer", "public_key blob", "signature blob"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it was written.

    Args:
        code: ``layout``, ``row``, ``chain``, ``content``, ``missing``, ``extra``, ``signature``, ``key``, ``laptop``,
            ``file`` or ``head``.
        text: what, in both languages.
        entry: the chain's entry that it was found at; 0 for none.
    """

    code: str
    text: Text
    entry: int = 0

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {"code": self.code, "entry": self.entry or None, "text": self.text.to_json()}


@dataclass(frozen=True, slots=True)
class SignedBy:
    """A key that signed, and how often.

    Args:
        public_key: 32 bytes.
        count: good signatures.
    """

    public_key: bytes
    count: int

    @property
    def fingerprint(self) -> str:
        """As people compare it."""
        return fingerprint(self.public_key)


@dataclass(frozen=True, slots=True)
class RecordCheck:
    """What the check found.

    Args:
        path: of the file.
        room: its name, as the chain's first entry has it.
        is_chained: False for a file that an older program wrote.
        faults: empty where nothing was changed.
        entries: how many the chain has.
        head: the last one's hash, hexadecimal.
        closed: why the room ended; None where the record has no end, and something may have followed.
        signed_n, signed_us: the last entry under a good signature and its time, 0 for none.
        unsigned: what was written behind that entry: ``blocks``, ``events``, ``documents`` -> how many.
        unchained: the same of what an older program wrote before there was a chain; sealed as it was found.
        keys: who signed the chain.
        laptop: who signed approvals and results.
        laptop_unsigned: decisions and results without a signature of the laptop's.
        files: files of the room that stand beside it as they were brought.
        files_missing: those that do not stand there; the record has their SHA-256 all the same.
        key: the fingerprint of the key that it is encrypted with; empty where it is not.
        is_readable: its content is not encrypted, or the key was there and opens every row at its place. Without the
            key neither the laptop's signatures nor the files are looked at.
    """

    path: str
    room: str
    is_chained: bool
    faults: tuple[Fault, ...]
    entries: int = 0
    head: str = ""
    closed: str | None = None
    signed_n: int = 0
    signed_us: int = 0
    unsigned: dict[str, int] = field(default_factory=dict)
    unchained: dict[str, int] = field(default_factory=dict)
    keys: tuple[SignedBy, ...] = ()
    laptop: tuple[SignedBy, ...] = ()
    laptop_unsigned: int = 0
    files: int = 0
    files_missing: int = 0
    key: str = ""
    is_readable: bool = True

    @property
    def verdict(self) -> str:
        """``changed``, ``not-chained``, ``unsigned``, ``unsigned-tail`` or ``intact``."""
        if self.faults:
            return "changed"
        if not self.is_chained:
            return "not-chained"
        if not self.keys:
            return "unsigned"
        return "unsigned-tail" if any(self.unsigned.values()) else "intact"


def check_record(
    path: str | Path,
    *,
    key: bytes | None = None,
    head: tuple[int, str] | None = None,
    keys: KeySource | None = None,
) -> RecordCheck:
    """Reads the whole file and checks it.

    Args:
        path: the recording.
        key: the only public key (32 bytes) that may have signed the chain; None takes any.
        head: number and first digits of the hash of an entry that somebody noted down, which must be in the chain.
        keys: where the key of an encrypted record may be; None looks beside it. It is checked without it, too.

    Raises:
        RecordingBroken: it cannot be read, or is no recording of a room.
    """
    with opened_database(path) as database:
        database.text_factory = bytes
        return _Check(database, str(path), key, head, keys).run()


class _Check:
    """One pass over one file."""

    def __init__(
        self,
        database: sqlite3.Connection,
        path: str,
        key: bytes | None,
        head: tuple[int, str] | None,
        keys: KeySource | None,
    ) -> None:
        self.db = database
        self.path = path
        self.key = key
        self.noted = head
        self.faults: list[Fault] = []
        self.room = ""
        self.closed: str | None = None
        self.sealed: dict[str, list[tuple[int, ...]]] = {"events": [], "documents": []}
        self.runs: list[tuple[int, int, int, int]] = []
        self.counts: dict[str, Counter[str]] = {"unsigned": Counter(), "unchained": Counter()}
        self.hashes: dict[int, bytes] = {}
        self.times: dict[int, int] = {}
        self.signatures: dict[int, tuple[int, bytes, bytes]] = {}
        self.keys: Counter[bytes] = Counter()
        self.room_keys = keys
        self.signed_n = 0
        self.signed_us = 0

    def fault(self, code: str, en: str, zh: str, entry: int = 0) -> None:
        """Notes what is wrong; after a hundred faults it is clear enough."""
        if len(self.faults) < _MOST_FAULTS:
            self.faults.append(Fault(code, Text(en, zh), entry))

    def run(self) -> RecordCheck:
        """The check."""
        self.db.execute("BEGIN")
        names = self.db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        tables = {bytes(name).decode("utf-8", "replace") for (name,) in names}
        require_tables(self.path, tables)
        if not self._has_layout():
            if "chain" not in tables and self._has_layout(migrations=1):
                return RecordCheck(self.path, "", is_chained=False, faults=(), unchained=self._all_rows())
            return RecordCheck(self.path, "", "chain" in tables, tuple(self.faults))
        content = ContentCheck(self.db, self.path, self.room_keys)
        if self._rows_have_types(is_encrypted=bool(content.key)):
            self._read_signatures()
            self._walk()
            self._account()
            content.run()
        for code, text in content.faults:
            self.fault(code, text.en, text.zh)
        return RecordCheck(
            path=self.path,
            room=self.room,
            is_chained=True,
            faults=tuple(self.faults),
            entries=len(self.hashes),
            head=self.hashes[max(self.hashes)].hex() if self.hashes else "",
            closed=self.closed,
            signed_n=self.signed_n,
            signed_us=self.signed_us,
            unsigned={name: self.counts["unsigned"][name] for name in ("blocks", "events", "documents")},
            unchained={name: self.counts["unchained"][name] for name in ("blocks", "events", "documents")},
            keys=tuple(SignedBy(one, count) for one, count in sorted(self.keys.items())),
            laptop=tuple(SignedBy(one, count) for one, count in sorted(content.laptop.items())),
            laptop_unsigned=content.laptop_unsigned,
            files=content.files,
            files_missing=content.files_missing,
            key=content.key,
            is_readable=content.is_readable,
        )

    def _all_rows(self) -> dict[str, int]:
        return {
            f"{table}s": self.db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - three literals
            for table in ("block", "event", "document")
        }

    # -- the file itself ---------------------------------------------------------------------------------------------

    def _has_layout(self, migrations: int = len(MIGRATIONS)) -> bool:
        """Whether the file has exactly the tables that this program makes, and SQLite finds no damage in it."""
        expected = sqlite3.connect(":memory:")
        try:
            expected.execute("CREATE TABLE migration (name TEXT PRIMARY KEY)")
            for name, script in MIGRATIONS[:migrations]:
                for statement in script:
                    expected.execute(statement)
                expected.execute("INSERT INTO migration VALUES (?)", (name,))
            expected.text_factory = bytes
            for what, sql in (
                # The same bytes as a blob are no edit of a word, but sort elsewhere: told as one.
                (
                    "tables",
                    """SELECT type, name, tbl_name, sql, typeof(type), typeof(name), typeof(tbl_name), typeof(sql)
                    FROM sqlite_master ORDER BY type, name""",
                ),
                ("migrations", "SELECT name, typeof(name) FROM migration ORDER BY name"),
            ):
                if self.db.execute(sql).fetchall() != expected.execute(sql).fetchall():
                    if migrations == len(MIGRATIONS):
                        self.fault(
                            "layout", f"the file's {what} are not those of a recording", "文件的表结构与记录格式不符"
                        )
                    return False
        finally:
            expected.close()
        told = [bytes(line).decode("utf-8", "replace") for (line,) in self.db.execute("PRAGMA integrity_check(10)")]
        if told != ["ok"]:
            self.fault("layout", f"the file is damaged: {told[0]}", f"文件已损坏：{told[0]}")
        return told == ["ok"]

    def _rows_have_types(self, *, is_encrypted: bool) -> bool:
        good = True
        for table, names in _COLUMNS.items():
            columns = [name.replace("body text", "body blob") for name in names] if is_encrypted else names
            wrong = " OR ".join(f"typeof({name}) <> '{kind}'" for name, kind in (one.split() for one in columns))
            (count,) = self.db.execute(f"SELECT count(*) FROM {table} WHERE {wrong}").fetchone()  # noqa: S608 - literals
            if count:
                self.fault(
                    "row", f"{count} rows of {table} hold other kinds of values", f"{table} 中有 {count} 行类型不符"
                )
                good = False
        return good

    # -- the chain ---------------------------------------------------------------------------------------------------

    def _read_signatures(self) -> None:
        rows = self.db.execute("SELECT n, t_us, public_key, signature FROM signature").fetchall()
        self.signatures = {n: (t_us, public_key, signature) for n, t_us, public_key, signature in rows}

    def _walk(self) -> None:
        """Every entry in order: its place, its hash, its content."""
        before, expected = GENESIS, 1
        for n, kind, t_us, digest, detail, sealed in self.db.execute("SELECT * FROM chain ORDER BY n"):
            if n != expected:
                self.fault("chain", f"entries {expected} to {n - 1} are missing", f"缺少第 {expected} 至 {n - 1} 项", n)
            expected = n + 1
            name, words = _text(kind), _text(detail)
            if not _follows(n, before, name, t_us, digest, words, sealed):
                self.fault("chain", f"entry {n} does not follow from the one before", f"第 {n} 项与前一项不衔接", n)
            before = self.hashes[n] = sealed
            self.times[n] = t_us
            if self.closed is not None and name != "signature":
                self.fault("chain", f"entry {n} stands behind the room's end", f"第 {n} 项位于会诊结束之后", n)
            self._entry(n, name, digest, words)
        if not self.hashes:
            self.fault("chain", "the chain is empty", "链为空")
        for n in sorted(self.signatures):
            self.fault("signature", f"a signature of entry {n} that the chain does not name", f"第 {n} 项有多余签名", n)
        if self.noted is not None:
            n, digits = self.noted
            if not self.hashes.get(n, b"").hex().startswith(digits.lower()):
                self.fault("head", f"entry {n} does not begin with {digits}", f"第 {n} 项不以 {digits} 开头", n)

    def _entry(self, n: int, kind: str, digest: bytes, words: str) -> None:
        try:
            right = self._content(n, kind, _detail(words))
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
            self.fault("chain", f"entry {n} cannot be understood", f"第 {n} 项无法识别", n)
            return
        if right != digest:
            self.fault("content", f"what entry {n} ({kind}) seals was changed", f"第 {n} 项（{kind}）的内容已被修改", n)

    def _content(self, n: int, kind: str, detail: dict[str, Any]) -> bytes:
        """The digest that the content has now."""
        if kind not in KINDS or (kind == "begin") != (n == 1):
            raise ValueError(kind)
        if kind == "signature":
            if detail["signature"] != n - 1:  # a signature seals what is before it: nothing may slip in between
                raise ValueError(kind)
            return self._signature(int(detail["signature"]), int(detail["t_us"]), n)
        if kind in ("begin", "resume"):
            self.room = str(detail["room"]) if kind == "begin" else self.room
            return digest_of(kind)
        if kind == "close":
            self.closed = str(detail["code"])
            self._check_counts(n, detail)
            return digest_of("close")
        runs = [tuple(map(int, run)) for run in detail.get("blocks", [])]
        events = [int(one) for one in detail.get("events", [])]
        documents = [int(one) for one in detail.get("documents", [])]
        self._note(n, kind, runs, events, documents)
        if kind == "found":
            return digest_found(self._blocks(runs), self._events(events), self._documents(documents))
        if kind == "blocks":
            return digest_blocks(self._blocks(runs))
        if kind == "event":
            return digest_events(self._events(events))
        return digest_documents(self._documents(documents))

    def _note(self, n: int, kind: str, runs: list[Any], events: list[int], documents: list[int]) -> None:
        """Remembers which rows are sealed, and by which entry."""
        for stream, epoch, first, last in runs:
            self.runs.append((stream, epoch, first, last))
        self.sealed["events"] += [(one, n) for one in events]
        self.sealed["documents"] += [(one, n) for one in documents]
        blocks = sum(last - first + 1 for *_, first, last in runs)
        written = Counter({"blocks": blocks, "events": len(events), "documents": len(documents)})
        self.counts["unsigned"] += written
        if kind == "found":
            self.counts["unchained"] += written

    def _check_counts(self, n: int, detail: dict[str, Any]) -> None:
        for name, count in self._all_rows().items():
            if detail[name.removesuffix("s")] != count:
                self.fault("content", f"at the end there were other numbers of {name}", f"结束时 {name} 的数量不同", n)

    def _signature(self, signed: int, at_us: int, n: int) -> bytes:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        found = self.signatures.pop(signed, None)
        if found is None:
            self.fault("signature", f"the signature of entry {signed} is missing", f"缺少第 {signed} 项的签名", n)
            return b""
        t_us, public_key, signature = found
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(
                signature, signed_head(signed, self.hashes.get(signed, b""), t_us)
            )
        except (InvalidSignature, ValueError):
            self.fault("signature", f"the signature of entry {signed} is not good", f"第 {signed} 项的签名无效", n)
        else:
            self._good_signature(signed, t_us, public_key, n)
        if t_us != at_us:
            self.fault("signature", f"the time of signature {signed} was changed", f"第 {signed} 项签名的时间已改", n)
        return digest_of("signature", public_key, signature)

    def _good_signature(self, signed: int, t_us: int, public_key: bytes, n: int) -> None:
        self.keys[public_key] += 1
        if self.key is not None and public_key != self.key:
            mark = fingerprint(public_key)
            self.fault(
                "key", f"entry {signed} is signed by another key: {mark}", f"第 {signed} 项由其他密钥签名：{mark}", n
            )
        self.signed_n, self.signed_us = signed, t_us
        self.counts["unsigned"].clear()

    # -- the rows ----------------------------------------------------------------------------------------------------

    def _blocks(self, runs: list[Any]) -> Iterator[BlockRow]:
        for stream, epoch, first, last in runs:
            yield from self.db.execute(
                "SELECT stream, epoch, seq, t_us, data FROM block "
                "WHERE stream = ? AND epoch = ? AND seq BETWEEN ? AND ? ORDER BY seq",
                (stream, epoch, first, last),
            )

    def _events(self, numbers: list[int]) -> Iterator[EventRow]:
        for n in numbers:
            yield from self.db.execute("SELECT n, t_us, body FROM event WHERE n = ?", (n,))

    def _documents(self, numbers: list[int]) -> Iterator[DocumentRow]:
        for ident in numbers:
            for one, name, t_us, body in self.db.execute("SELECT * FROM document WHERE id = ?", (ident,)):
                yield one, _text(name), t_us, body

    def _account(self) -> None:
        """No row without an entry, and none under two."""
        self.runs.sort()
        total = 0
        for before, (stream, epoch, first, last) in zip([None, *self.runs], self.runs, strict=False):
            total += last - first + 1
            if before is not None and before[:2] == (stream, epoch) and before[3] >= first:
                self.fault("chain", f"block {first} is sealed twice", f"数据块 {first} 被重复封存")
        (count,) = self.db.execute("SELECT count(*) FROM block").fetchone()
        if count > total:
            self.fault("extra", f"{count - total} blocks are in no entry", f"有 {count - total} 个数据块不在链中")
        elif count < total:
            self.fault("missing", f"{total - count} blocks are missing", f"缺少 {total - count} 个数据块")
        for name, column in (("events", "n"), ("documents", "id")):
            table = name.removesuffix("s")
            there = {one for (one,) in self.db.execute(f"SELECT {column} FROM {table}")}  # noqa: S608 - two literals
            numbers = Counter(one for one, _ in self.sealed[name])
            for one in sorted(there - set(numbers)):
                self.fault("extra", f"{table} {one} is in no entry", f"{table} {one} 不在链中")
            for one in sorted(set(numbers) - there):
                self.fault("missing", f"{table} {one} is missing", f"缺少 {table} {one}")
            for one in sorted(one for one, times in numbers.items() if times > 1):
                self.fault("chain", f"{table} {one} is sealed twice", f"{table} {one} 被重复封存")
        last = 0
        for n, entry in self.sealed["events"]:
            if n <= last:
                self.fault("chain", f"event {n} was sealed out of its order", f"事件 {n} 的顺序不对", entry)
            last = n


def _detail(words: str) -> dict[str, Any]:
    """What an entry says it seals; ValueError where that could be read in two ways."""
    detail = json.loads(words)
    if canonical(detail) != words or not isinstance(detail, dict):
        raise ValueError(words)
    return detail


def _follows(n: int, before: bytes, kind: str, t_us: int, digest: bytes, detail: str, sealed: bytes) -> bool:
    try:
        return next_entry(n, before, kind, t_us, digest, detail).hash == sealed
    except UnicodeEncodeError:
        return False


def _text(data: bytes) -> str:
    """Text as it stands; bytes that are no UTF-8 stay distinct, so that an edit of them is seen."""
    return data.decode("utf-8", "surrogateescape")
