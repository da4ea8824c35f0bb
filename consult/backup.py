"""A backup of a service's data while it runs: its database, the rooms' records, files, keys and certificates.

The service's database is copied first, then every record that it knows or that was there before: so no room of the copy
lacks its record, and everything that was acknowledged before the backup began is in it. Databases are copied by
SQLite's backup in one piece, which is one moment of each and keeps no writer waiting; what is not a database is copied
as it is. Of a call that is being recorded nothing is kept: its packets stand in the clear until the record has them.
The manifest names every file with its SHA-256, of each record the newest entry of its chain, and is signed.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import tempfile
import time
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from consult.backupstore import PIECE, BackupReader, BackupWriter, open_reader, opened_writer
from consult.layout import copy_database
from consult.operatingerrors import BackupBroken, BackupFailed
from consult.roomkeys import FOLDER, alone_in, masters_in, wrapped_by
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from diag.bundle import Signer

__all__ = [
    "MASTER",
    "SCHEMA",
    "SECRETS",
    "SETTINGS",
    "STATE",
    "Backup",
    "KeptFile",
    "SignedManifest",
    "make_backup",
    "read_manifest",
]

SCHEMA: Final = "huizhen.backup/1"
STATE: Final = "service.db"
SETTINGS: Final = ".settings"
"""Where a backup has the keys that stand among the settings; no file of the data folder has such a name."""

SECRETS: Final = ("keys/master.key", "network.keys", "tls/ca.key", "tls/server.key")
"""What ``--without-keys`` leaves out, besides the keys among the settings: with them a stolen backup can be read, and
vouch for others in the network."""

MASTER: Final = "master-key:"
"""Before the fingerprint of a master key that a backup has not."""

_STAMP: Final = re.compile(r"\d{8}T\d{6}Z(?:-\d+)?")
_SIDE: Final = ("-wal", "-shm", "-journal")
_LEFT: Final = re.compile(r"(?:^|/)(?:\.[^/]*|[^/]*\.part|service\.lock)$|^service\.db\.before-|(?:^|/)\.[^/]*/")
_MEDIA: Final = re.compile(r"^([^/]+\.media/)")
_SQLITE: Final = b"SQLite format 3\0"
_RESERVE: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class KeptFile:
    """One file of a backup.

    Args:
        path: below the data folder, with slashes.
        sha256, bytes: of the content as it was copied.
        object: its name in the store.
        kind: ``state``, ``record``, ``database`` or ``file``.
        seen: size and time of change (ns) when it was copied; a later backup need not read it again.
        head: number and hash of the newest entry of a record's chain; None for others.
    """

    path: str
    sha256: str
    bytes: int
    object: str
    kind: str
    seen: tuple[int, int]
    head: tuple[int, str] | None = None

    @classmethod
    def from_json(cls, words: dict[str, Any]) -> KeptFile:
        """As a manifest has it.

        Raises:
            KeyError, TypeError, ValueError: it has something else.
        """
        path, head, seen = str(words["path"]), words["head"], words["seen"]
        parts = path.split("/")
        if any(part in ("", ".", "..") or "\0" in part or "\\" in part for part in parts) or len(path) > 1000:
            raise ValueError(path)
        if not re.fullmatch("[0-9a-f]{64}", words["sha256"]) or not re.fullmatch("[0-9a-f]{64}", words["object"]):
            raise ValueError(path)
        return cls(
            path,
            words["sha256"],
            int(words["bytes"]),
            words["object"],
            str(words["kind"]),
            (int(seen[0]), int(seen[1])),
            (int(head[0]), str(head[1])) if head else None,
        )


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup as its manifest says it.

    Args:
        name: ``20261130T101500Z``. made_us: when it began, UTC microseconds.
        program: version that made it. layout: changes that the service's database had.
        left_out: what is not in it: keys, on demand; folders of calls that were being recorded (``NAME.media/``);
            master keys that are kept elsewhere (``master-key:FINGERPRINT``).
        open_rooms, records: how many.
        files: all of them.
        added, added_bytes: files whose content was not in the store before.
        unreadable: older manifests that cannot be read, so that nothing older was deleted.
    """

    name: str
    made_us: int
    program: str
    layout: tuple[str, ...]
    left_out: tuple[str, ...]
    open_rooms: int
    records: int
    files: tuple[KeptFile, ...]
    added: int = 0
    added_bytes: int = 0
    unreadable: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(file.bytes for file in self.files)

    def to_json(self) -> dict[str, Any]:
        """The manifest."""
        words = asdict(self)
        del words["added"], words["added_bytes"], words["unreadable"]
        return {"schema": SCHEMA, **words}


@dataclass(frozen=True, slots=True)
class SignedManifest:
    """A manifest and who signed it. ``public_key``: 32 bytes; whose it is no file can say."""

    backup: Backup
    public_key: bytes


def _signed(text: str) -> bytes:
    return SCHEMA.encode() + b"\0" + text.encode()


def read_manifest(reader: BackupReader, name: str) -> SignedManifest:
    """One backup of a store.

    Raises:
        BackupBroken: it is not there, or not as it was signed.
    """
    broken = BackupBroken(str(reader.path), Text(f"manifest {name} is not as it was signed", f"清单 {name} 与签名不符"))
    try:
        envelope = json.loads(reader.manifest(name))
        text, key = envelope["manifest"], bytes.fromhex(envelope["public_key"])
        Ed25519PublicKey.from_public_bytes(key).verify(bytes.fromhex(envelope["signature"]), _signed(text))
        words = json.loads(text)
        if words.pop("schema") != SCHEMA or words["name"] != name:
            raise broken
        files = tuple(KeptFile.from_json(one) for one in words.pop("files"))
        if len({file.path for file in files}) != len(files):
            raise broken
        words |= {name: tuple(words[name]) for name in ("layout", "left_out")}
        return SignedManifest(Backup(**words, files=files), key)
    except (ValueError, KeyError, TypeError, AttributeError, InvalidSignature) as error:
        raise broken from error


def make_backup(
    data: Path,
    target: Path,
    signer: Signer,
    *,
    program: str,
    now_us: int,
    passphrase: bytes | None = None,
    with_keys: bool = True,
    keys: Sequence[Path] = (),
    keep_days: int | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Backup:
    """Makes a backup of a data folder, also while a service writes there.

    Args:
        data: the service's folder.
        target: a folder of backups, or a new file that ends in ``.tar``.
        signer: signs the manifest.
        program: this program's version.
        now_us: UTC microseconds.
        passphrase: encrypts the backup; a folder keeps the one that it was begun with.
        with_keys: False leaves :data:`SECRETS` and ``keys`` out.
        keys: files among the settings without which the records cannot be read or signed.
        keep_days: backups in the folder that are older are deleted, and what only they had; None keeps all.
        progress: told the name of each file.

    Raises:
        BackupFailed: there is nothing to back up, or it cannot be written.
        BackupBroken, PassphraseWrong: the folder of backups is no such folder, or is sealed with another passphrase.
    """
    if not (data / STATE).is_file():
        raise BackupFailed(str(target), Text(f"{data} has no {STATE}", f"{data} 中没有 {STATE}"))
    if target.resolve().is_relative_to(data.resolve()):
        raise BackupFailed(str(target), Text("it lies in the folder to be kept", "目标位于被备份的目录内"))
    with opened_writer(target, passphrase) as store:
        # The plain copy of a database must not lie where only the sealed one may: so beside the data themselves.
        with tempfile.TemporaryDirectory(dir=data if store.seal else store.folder, prefix=".backup-") as staging:
            copier = _Copier(data, store, Path(staging), _before(store, passphrase, signer), with_keys=with_keys)
            files = copier.with_their_masters([*copier.all_files(progress), *copier.settings(keys)], keys)
        stamp = _free_stamp(store, now_us)
        backup = Backup(
            name=stamp,
            made_us=now_us,
            program=program,
            layout=copier.layout,
            left_out=tuple(copier.left_out),
            open_rooms=copier.open_rooms,
            records=sum(file.kind == "record" for file in files),
            files=files,
            added=copier.added,
            added_bytes=copier.added_bytes,
        )
        text = json.dumps(backup.to_json(), ensure_ascii=False)
        signature = signer.sign(_signed(text))
        envelope = {"manifest": text, "public_key": signer.public_key.hex(), "signature": signature.hex()}
        store.put_manifest(stamp, json.dumps(envelope).encode())
        if keep_days is not None:
            unreadable = _forget_older(store, passphrase, now_us - keep_days * 86_400_000_000, stamp)
            backup = replace(backup, unreadable=unreadable)
    return backup


def _free_stamp(store: BackupWriter, now_us: int) -> str:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_us // 1_000_000))
    taken = {path.stem for path in store.folder.glob("manifests/*.json")}
    return next(name for name in (stamp, *(f"{stamp}-{n}" for n in range(2, 10_000))) if name not in taken)


def _before(store: BackupWriter, passphrase: bytes | None, signer: Signer) -> dict[str, KeptFile]:
    """Files of the newest backup in the store, by path, where we signed it ourselves."""
    reader = open_reader(store.folder, passphrase)
    for name in reversed(reader.manifests()):
        try:
            found = read_manifest(reader, name)
        except BackupBroken:
            continue
        if found.public_key == signer.public_key:
            return {file.path: file for file in found.backup.files}
    return {}


def _forget_older(store: BackupWriter, passphrase: bytes | None, before_us: int, newest: str) -> tuple[str, ...]:
    """Deletes older backups; those that cannot be read are returned, and keep all: what they need is not known."""
    reader = open_reader(store.folder, passphrase)
    kept, objects, unreadable = set(), set(), []
    for name in reader.manifests():
        try:
            backup = read_manifest(reader, name).backup
        except BackupBroken:
            unreadable.append(name)
            continue
        if backup.made_us >= before_us or name == newest:
            kept.add(name)
            objects |= {file.object for file in backup.files}
    if not unreadable:
        store.forget(kept, objects)
    return tuple(unreadable)


class _Copier:
    """Copies one data folder into a store."""

    def __init__(
        self, data: Path, store: BackupWriter, staging: Path, before: dict[str, KeptFile], *, with_keys: bool
    ) -> None:
        self._data, self._store, self._staging, self._before = data, store, staging, before
        self._with_keys = with_keys
        self.left_out: list[str] = []
        self._masters: dict[str, set[str]] = {}
        self._wrapped: dict[str, str] = {}
        self.layout: tuple[str, ...] = ()
        self.open_rooms = self.added = self.added_bytes = 0

    def all_files(self, progress: Callable[[str], None]) -> Iterator[KeptFile]:
        """The database first, then the records of its rooms and those that stood there already, then the rest."""
        there = {path.name for path in self._data.glob("*.room")}
        progress(STATE)
        yield self._database(STATE, "state")
        known = self._rooms(self._staging / "copy")
        for path in self._paths():
            # A record that is new since: its room is not in the copy, and its key may not be either.
            if path.endswith(".room") and "/" not in path and path not in there | known:
                continue
            if media := _MEDIA.match(path):
                self.left_out += [media[1]] if media[1] not in self.left_out else []
                continue
            if path in SECRETS and not self._with_keys:
                self.left_out.append(path)
                self._note_keys(path, (self._data / path).read_bytes())
                continue
            progress(path)
            try:
                is_key = path.startswith(f"{FOLDER}/") and path.endswith(".key")
                yield self._small(path, self._data / path, "file") if is_key else self._kept(path)
            except FileNotFoundError:
                continue  # it went away meanwhile: a room's file that was taken back, a deleted room

    def settings(self, keys: Iterable[Path]) -> Iterator[KeptFile]:
        """The keys among the settings, as far as they are there."""
        for path in keys:
            name = f"{SETTINGS}/{path.name}"
            if not path.is_file():
                continue
            if self._with_keys:
                yield self._small(name, path, "key")
            else:
                self.left_out.append(path.name)
                self._note_keys(name, path.read_bytes())

    def with_their_masters(self, files: list[KeptFile], keys: Iterable[Path]) -> tuple[KeptFile, ...]:
        """The files, in which each wrapped key has its master key, or that is named as left out.

        Keys and master keys are copied one after the other: where they are wrapped anew meanwhile, some may be wrapped
        by a master key that had not been made when it was copied, or was gone already. Then they are copied again
        while nobody changes them.
        """
        if self._lacking():
            try:
                with alone_in(self._data / FOLDER):
                    files = self._keys_again(files, {f"{SETTINGS}/{path.name}": path for path in keys})
            except (OSError, sqlite3.Error) as error:
                raise BackupFailed(str(self._data / FOLDER), str(error)) from error
        self.left_out += [f"{MASTER}{one}" for one in sorted(self._lacking())]
        return tuple(files)

    def _lacking(self) -> set[str]:
        return set(self._wrapped.values()).difference(*self._masters.values())

    def _keys_again(self, files: list[KeptFile], settings: dict[str, Path]) -> list[KeptFile]:
        again, copied = [], {file.path for file in files}
        for name in [name for name in self._masters if name not in copied]:
            self._note_keys(name, settings.get(name, self._data / name).read_bytes())
        for file in files:
            is_key = file.path in self._wrapped or file.path in self._masters
            try:
                there = settings.get(file.path, self._data / file.path)
                again.append(self._small(file.path, there, file.kind) if is_key else file)
            except FileNotFoundError:
                self._wrapped.pop(file.path, None)  # its room was deleted meanwhile
        return again

    def _small(self, name: str, path: Path, kind: str) -> KeptFile:
        found, content = path.stat(), path.read_bytes()
        self._note_keys(name, content)
        return self._put(name, kind, BytesIO(content), (found.st_size, found.st_mtime_ns))

    def _note_keys(self, name: str, content: bytes) -> None:
        if masters := masters_in(content):
            self._masters[name] = masters
        elif (master := wrapped_by(content)) is not None:
            self._wrapped[name] = master

    def _paths(self) -> Iterable[str]:
        found = []
        for path in self._data.rglob("*"):
            name = path.relative_to(self._data).as_posix()
            if path.is_symlink() or not path.is_file() or _LEFT.search(name) or name == STATE:
                continue
            if not (name.endswith(_SIDE) and Path(str(path).rpartition("-")[0]).is_file()):
                found.append(name)
        return sorted(found)

    def _rooms(self, copy: Path) -> set[str]:
        with closing(sqlite3.connect(copy)) as db:
            self.layout = tuple(name for (name,) in db.execute("SELECT name FROM migration ORDER BY name"))
            (self.open_rooms,) = db.execute("SELECT count(*) FROM room WHERE closed_us IS NULL").fetchone()
            return {file for (file,) in db.execute("SELECT file FROM room")}

    def _kept(self, path: str) -> KeptFile:
        there = self._data / path
        found = there.stat()
        seen, has_log = (found.st_size, found.st_mtime_ns), _has_log(there)
        before = self._before.get(path)
        if before is not None and before.seen == seen and not has_log and self._store.has(before.object):
            return before
        with there.open("rb") as file:
            is_database = file.read(len(_SQLITE)) == _SQLITE
        if is_database:
            try:
                return self._database(path, "record" if path.endswith(".room") else "database")
            except BackupFailed:
                if has_log:
                    raise
                # One that is damaged is kept as it is; who restores it is told.
        with there.open("rb") as file:
            return self._put(path, "file", file, seen, limit=found.st_size)

    def _database(self, path: str, kind: str) -> KeptFile:
        there, copy = self._data / path, self._staging / "copy"
        found = there.stat()
        if _free(self._staging) < found.st_size + _RESERVE:
            raise BackupFailed(str(self._staging.parent), Text(f"no space for {path}", f"空间不足，无法复制 {path}"))
        try:
            copy_database(there, copy)
            head = _head_of(copy) if kind == "record" else None
        except (sqlite3.Error, OSError) as error:
            raise BackupFailed(str(self._store.folder), f"{path}: {error}") from error
        with copy.open("rb") as file:
            return self._put(path, kind, file, (found.st_size, found.st_mtime_ns), head=head)

    def _put(
        self,
        path: str,
        kind: str,
        file: BinaryIO,
        seen: tuple[int, int],
        *,
        head: tuple[int, str] | None = None,
        limit: int | None = None,
    ) -> KeptFile:
        """Hashes, then keeps what is not there yet. A file that grows meanwhile is kept up to ``limit``."""
        digest, size = hashlib.sha256(), 0
        for piece in _pieces(file, limit):
            digest.update(piece)
            size += len(piece)
        name = self._store.name(digest.hexdigest())
        if not self._store.has(name):
            file.seek(0)
            source = _Checked(file, size)
            self._store.put(name, source)
            if source.digest.digest() != digest.digest():
                raise BackupFailed(
                    str(self._store.folder), Text(f"{path} changes while it is read", f"{path} 读取时被改动")
                )
            self.added += 1
            self.added_bytes += size
        return KeptFile(path, digest.hexdigest(), size, name, kind, seen, head)


class _Checked:
    """A file up to a length, hashed as it is read."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left, self.digest = file, size, hashlib.sha256()

    def read(self, most: int) -> bytes:
        piece = self._file.read(min(most, self._left))
        self._left -= len(piece)
        self.digest.update(piece)
        return piece


def _pieces(file: BinaryIO, limit: int | None) -> Iterator[bytes]:
    left = limit
    while piece := file.read(PIECE if left is None else min(PIECE, left)):
        left = None if left is None else left - len(piece)
        yield piece


def _has_log(path: Path) -> bool:
    log = path.with_name(f"{path.name}-wal")
    return log.exists() and log.stat().st_size > 0


def _head_of(path: Path) -> tuple[int, str] | None:
    with closing(sqlite3.connect(path)) as db:
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'chain'").fetchone():
            return None
        row = db.execute("SELECT n, hash FROM chain ORDER BY n DESC LIMIT 1").fetchone()
    return (row[0], row[1].hex()) if row else None


def _free(folder: Path) -> int:
    import shutil

    return shutil.disk_usage(folder).free
