"""A backup becomes a data folder again: everything is checked before anything stands at its place.

The folder is put together beside its place and renamed at the end; one that is there already is never touched. Rooms
that were open at the backup are open again at the next start, with the sessions of then: agents and pages come back by
themselves. What was written after the backup is not in it; records go on behind the gap.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from consult.backup import MASTER, SETTINGS, STATE, Backup, KeptFile, read_manifest
from consult.backupstore import BackupReader, open_reader, sync_folder
from consult.errors import ConsultError, DataInUse
from consult.layout import read_layout
from consult.operatingerrors import BackupBroken, RestoreRefused, StateNewer
from consult.recordcheck import check_record
from consult.roomkeys import FOLDER, masters_in, wrapped_by
from consult.servicestate import AuditEntry, ServiceState
from consult.statemigrations import MIGRATIONS
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

__all__ = ["Restored", "restore"]

_RESERVE: Final = 64 << 20
MASTER_FILES: Final = ("master.key", "room-master.key")


@dataclass(frozen=True, slots=True)
class Restored:
    """What has come back.

    Args:
        backup: the one that was taken. public_key: who signed it, 32 bytes.
        records: verdict of :func:`consult.recordcheck.check_record` -> how many records.
        changed: records that were not as they were written already when they were copied.
        missing: keys that the backup was made without; the service needs them in their place. A master key that is
            kept elsewhere is named by its fingerprint (``master-key:…``), where it is not here.
        other_keys: keys of the backup that are in ``.settings`` of the data folder, because among the settings here
            there are others of their names.
    """

    backup: Backup
    public_key: bytes
    records: dict[str, int]
    changed: tuple[str, ...]
    missing: tuple[str, ...]
    other_keys: tuple[str, ...] = ()


def restore(
    source: Path,
    data: Path,
    *,
    now_us: int,
    who: str,
    name: str | None = None,
    passphrase: bytes | None = None,
    key: bytes | None = None,
    dry_run: bool = False,
    sign_out: bool = False,
    settings: Path | None = None,
    masters: Collection[str] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> Restored:
    """Puts a backup into a new data folder.

    Args:
        source: a folder of backups, or a tar file.
        data: must not exist, or be empty.
        now_us: UTC microseconds, for the audit.
        who: does it, for the audit.
        name: which one, or its beginning; the newest without.
        passphrase: opens a sealed one.
        key: the public key that must have signed it.
        dry_run: checks everything, and leaves nothing behind.
        sign_out: forgets all sign-ins, sessions and invites of then: who was shut out since stays out.
        settings: where keys of the backup go that stood among the settings, unless there are others.
        masters: fingerprints of master keys that are here in some other way.
        progress: told the name of each file.

    Raises:
        BackupBroken: something is missing, was changed, or was signed by somebody else.
        PassphraseWrong: the passphrase does not open it.
        StateNewer: a newer program made it.
        RestoreRefused: the folder holds something, or there is no space.
        DataInUse: a service runs on it.
    """
    _require_empty(data)
    with contextlib.closing(open_reader(source, passphrase)) as reader:
        signed = read_manifest(reader, _chosen(reader, name))
        if key is not None and key != signed.public_key:
            raise BackupBroken(str(source), Text("it was signed with another key", "签名密钥不符"))
        backup = signed.backup
        parent = _existing(data.absolute().parent)
        if shutil.disk_usage(parent).free < backup.bytes + _RESERVE:
            raise RestoreRefused(str(data), Text("no space for it", "磁盘空间不足"))
        # A dry run leaves nothing behind: not even the folder's parents.
        data.absolute().parent.mkdir(parents=True, exist_ok=True, mode=0o700) if not dry_run else None
        other_keys: tuple[str, ...] = ()
        lacking: tuple[str, ...] = ()
        staging = Path(tempfile.mkdtemp(dir=parent if dry_run else data.absolute().parent, prefix=".restore-"))
        try:
            verdicts = _filled(reader, backup, staging, progress)
            lacking = _lacking(backup, staging, settings, masters)
            if not dry_run:
                _finish(staging, backup, now_us, who, sign_out=sign_out)
                other_keys = _settle_keys(staging / SETTINGS, settings)
                _put_in_place(staging, data)
        except OSError as error:
            raise RestoreRefused(str(data), error.strerror or str(error)) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    counts: dict[str, int] = {}
    for verdict in verdicts.values():
        counts[verdict] = counts.get(verdict, 0) + 1
    changed = tuple(path for path, verdict in verdicts.items() if verdict == "changed")
    return Restored(backup, signed.public_key, counts, changed, lacking, other_keys)


def _lacking(backup: Backup, staging: Path, settings: Path | None, masters: Collection[str]) -> tuple[str, ...]:
    """What the service needs and the backup has not, master keys among it that are not here either."""
    named = tuple(name for name in backup.left_out if not name.endswith("/") and not name.startswith(MASTER))
    if any(name.rpartition("/")[2] in MASTER_FILES for name in named):
        return named
    found = (wrapped_by(path.read_bytes()) for path in (staging / FOLDER).glob("*.key"))
    wrapped = {one for one in found if one is not None}
    folders = [staging / FOLDER, staging / SETTINGS, *([settings] if settings is not None else [])]
    there = {path for folder in folders for name in MASTER_FILES if (path := folder / name).is_file()}
    known = set(masters).union(*(masters_in(path.read_bytes()) for path in there))
    return (*named, *(f"{MASTER}{one}" for one in sorted(wrapped - known)))


def _require_empty(data: Path) -> None:
    lock = data / "service.lock"
    if lock.exists():
        with closing(sqlite3.connect(lock, isolation_level=None, timeout=0.2)) as db:
            try:
                db.execute("BEGIN EXCLUSIVE")
            except sqlite3.Error as error:
                raise DataInUse(str(data)) from error
    if data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise RestoreRefused(
            str(data), Text("something is there already; move it away first", "目录中已有内容，请先移走")
        )


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder


def _chosen(reader: BackupReader, name: str | None) -> str:
    found = [one for one in reader.manifests() if one.startswith(name or "")]
    if not found:
        raise BackupBroken(str(reader.path), Text("there is no such backup in it", "其中没有这个备份"))
    return found[-1]


def _filled(reader: BackupReader, backup: Backup, staging: Path, progress: Callable[[str], None]) -> dict[str, str]:
    """Every file at its place below ``staging``, checked; of each record the verdict on it."""
    for file in backup.files:
        progress(file.path)
        _write(reader, file, staging)
    _check_state(reader, staging / STATE)
    verdicts = {}
    for file in backup.files:
        # What is no readable record was none when it was copied either: its bytes are those of then.
        if file.path.endswith(".room"):
            progress(file.path)
            verdicts[file.path] = _verdict(reader, file, staging / file.path)
    return verdicts


def _write(reader: BackupReader, file: KeptFile, staging: Path) -> None:
    target = staging / file.path
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    digest, size = hashlib.sha256(), 0
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        for piece in reader.content(file.object):
            size += len(piece)
            if size > file.bytes:
                break
            digest.update(piece)
            out.write(piece)
        out.flush()
        os.fsync(out.fileno())
    if size != file.bytes or digest.hexdigest() != file.sha256:
        raise BackupBroken(str(reader.path), Text(f"{file.path} is not as it was kept", f"{file.path} 与备份时不一致"))


def _check_state(reader: BackupReader, path: Path) -> None:
    try:
        layout = read_layout(path, MIGRATIONS)
        with closing(sqlite3.connect(path)) as db:
            sound = db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    except sqlite3.Error as error:
        raise BackupBroken(str(reader.path), f"{STATE}: {error}") from error
    if not sound:
        raise BackupBroken(str(reader.path), Text(f"{STATE} is damaged", f"{STATE} 已损坏"))
    if layout.unknown:
        raise StateNewer(str(reader.path), ", ".join(layout.unknown))


def _verdict(reader: BackupReader, file: KeptFile, path: Path) -> str:
    try:
        check = check_record(path, head=(file.head[0], file.head[1]) if file.head else None)
    except ConsultError:
        if file.kind == "record":
            raise BackupBroken(str(reader.path), Text(f"{file.path} cannot be read", f"{file.path} 无法读取")) from None
        return "changed"
    return check.verdict


def _finish(staging: Path, backup: Backup, now_us: int, who: str, *, sign_out: bool) -> None:
    with ServiceState(staging / STATE) as state, state.transaction() as db:
        if sign_out:
            for table in ("login", "session", "invite"):
                db.execute(f"DELETE FROM {table}")  # noqa: S608 - three literals
    with ServiceState(staging / STATE) as state:
        state.note(AuditEntry(now_us, "restore", who, "", backup.name))


def _settle_keys(folder: Path, settings: Path | None) -> tuple[str, ...]:
    """Keys go where there are none; the names of those that stay in the folder."""
    left = []
    for path in sorted(folder.glob("*")):
        target = settings / path.name if settings is not None else None
        if target is not None and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            shutil.copyfile(path, fresh := target.with_name(f".{target.name}.part"), follow_symlinks=False)
            fresh.chmod(0o600)
            fresh.rename(target)
            path.unlink()
        elif target is not None and target.read_bytes() == path.read_bytes():
            path.unlink()
        else:
            left.append(path.name)
    if folder.exists() and not left:
        folder.rmdir()
    return tuple(left)


def _put_in_place(staging: Path, data: Path) -> None:
    for path in (staging, *(one for one in staging.rglob("*") if one.is_dir())):
        sync_folder(path)
    if data.exists():
        data.rmdir()  # it is empty; if it no longer is, this fails
    staging.rename(data)
    sync_folder(data.absolute().parent)
