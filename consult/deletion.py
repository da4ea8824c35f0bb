"""Deletion of a room that can be proved: its key is destroyed, its files go, a signed certificate says so.

The steps, each on disk before the next; a program that is killed in between leaves ``deletions/ROOM.pending``, from
which the deletion goes on, at the service's next start or when it is asked for again:

1. what the certificate will say is gathered and written down,
2. the room's key is overwritten and removed,
3. its files go (of a record that was not encrypted they are overwritten first),
4. the service's database forgets what led from the room to its car and its people, and notes who deleted the room,
5. the signed certificate ``deletions/ROOM.json`` takes the place of the pending one.

Everything here blocks; none of it belongs on an event loop.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from consult.deletioncertificate import load_certificate, remains, signed_certificate
from consult.errors import ConsultError, DataInUse, JournalBroken, RecordingBroken, StateBroken
from consult.journal import Journal
from consult.privacystore import require_no_hold
from consult.recording import Recording
from consult.roomcipher import CIPHER, FILE_MAGIC
from consult.roomkeys import GivenKeys, alone_in, shred, write_whole
from consult.roomtraces import forget_rooms_with, kept_of_room
from consult.sealederrors import (
    CertificateUnreadable,
    DeletionFailed,
    DeletionRefused,
    DeletionUnknown,
    KeysBroken,
)
from consult.servicestate import AuditEntry, ServiceState
from diag.facts import Text, iso_from_ns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from consult.roomkeys import KeyStore
    from consult.serviceconfig import ServiceConfig
    from diag.bundle import Signer

__all__ = [
    "DELETED",
    "DeletionPlace",
    "certificates",
    "delete_room",
    "finish_deletion",
    "is_back",
    "place_of",
    "put_certificate",
    "repeat_deletion",
    "traces_of",
]

FOLDER: Final = "deletions"
DELETED: Final = "consult.room-deleted"
"""Why a room is closed, in the service's database, once it was deleted."""

_IDENT: Final = re.compile(r"[0-9a-f]{12}")
_VIN: Final = re.compile(r"[A-HJ-NPR-Z0-9]{17}", re.IGNORECASE)
_MOST_REASON: Final = 500
_DAY_US: Final = 86_400_000_000


class DeletionHost(Protocol):
    """What a :class:`consult.service.Service` has that a deletion needs."""

    config: ServiceConfig
    state: ServiceState
    keys: KeyStore
    rooms: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DeletionPlace:
    """Where rooms are deleted.

    Args:
        data: the folder of the records.
        keys: of the rooms.
        signer: signs the certificates.
        state: the service's database; None for a folder of rooms without one.
        audit_days: how long its audit is kept.
        visit_days: how long the network remembers a visit.
        is_open: whether a room is open in this program.
    """

    data: Path
    keys: KeyStore
    signer: Signer | None
    state: ServiceState | None = None
    audit_days: int = 365
    visit_days: int = 1095
    is_open: Callable[[str], bool] = lambda _: False

    @property
    def folder(self) -> Path:
        """Of the certificates."""
        return self.data / FOLDER


def place_of(service: DeletionHost) -> DeletionPlace:
    """The place that a service keeps its rooms in."""
    config = service.config
    return DeletionPlace(
        config.data,
        service.keys,
        config.signer,
        service.state,
        config.audit_days,
        config.network.visit_days,
        lambda ident: ident in service.rooms,
    )


def certificates(data: Path) -> list[dict[str, Any]]:
    """All certificates of a data folder, by the names of the rooms; what is none is left out."""
    found = []
    for path in sorted((data / FOLDER).glob("*.json")):
        try:
            found.append(load_certificate(path))
        except CertificateUnreadable:
            continue
    return found


def traces_of(data: Path, ident: str) -> list[Path]:
    """Files and folders of a room in a data folder: record, logs, files, and what the laptop had not sent yet."""
    found = [*data.glob(f"*-{ident}.*"), *data.glob(f".*-{ident}.*"), data / "spool" / ident]
    return sorted(path for path in found if path.exists())


def delete_room(
    service: DeletionHost | DeletionPlace,
    ident: str,
    reason: str,
    who: str,
    now_us: int,
    *,
    keep_ciphertext: bool = False,
    end: bool = False,
) -> dict[str, Any]:
    """Deletes a room and returns the certificate; a room that was deleted before gives the certificate of then.

    Args:
        service: the service, or a place without one.
        ident: the room's name.
        reason: why; one line, without personal data.
        who: who wants it: an account, ``cli:USER``, or a job of the service.
        now_us: UTC microseconds.
        keep_ciphertext: the encrypted record and files stay, so that their hash chain can still be checked.
        end: a room that was left without an end is ended.

    Raises:
        DeletionUnknown: there is no such room.
        DeletionRefused: it is open, was left open and ``end`` is not said, is not encrypted and shall be kept, or the
            reason is none.
        DeletionFailed: a step could not be done; those before it are, and the next try goes on.
        HoldSet: a legal hold keeps it.
    """
    place = service if isinstance(service, DeletionPlace) else place_of(service)
    if _IDENT.fullmatch(ident) is None:
        raise DeletionUnknown(ident[:40], str(place.data))
    said = " ".join(reason.split())
    if not 0 < len(said) <= _MOST_REASON or _VIN.search(said):
        need = Text("a reason of 1 to 500 characters without a VIN is needed", "需要 1 至 500 个字符、不含车架号的原因")
        raise DeletionRefused(ident, need)
    if place.is_open(ident):
        raise DeletionRefused(ident, Text("it is open; end it first", "会诊室仍开放，请先结束"))
    try:
        with alone_in(place.folder):
            done = place.folder / f"{ident}.json"
            if done.exists() and not (place.folder / f"{ident}.pending").exists():
                told = load_certificate(done)
                if not is_back(place, told):  # else a restored backup has brought it back
                    return told
            pending = _pending(place, ident)
            if pending is None:
                pending = _begun(place, ident, said, who, now_us, keep_ciphertext=keep_ciphertext, end=end)
            return _carried_out(place, pending)
    except (OSError, sqlite3.Error, StateBroken, KeysBroken, JournalBroken, RecordingBroken) as error:
        raise DeletionFailed(ident, str(error)) from error


def finish_deletion(place: DeletionPlace, ident: str) -> None:
    """Goes on with a deletion that was left half done; nothing where there is none, or no longer.

    Raises:
        DeletionFailed: it cannot be finished now.
    """
    with _failing(ident), alone_in(place.folder):
        pending = _pending(place, ident)
        if pending is not None:
            _carried_out(place, pending)


def repeat_deletion(place: DeletionPlace, certificate: dict[str, Any]) -> bool:
    """Deletes again what a certificate says was deleted, and puts it into the folder; whether there was anything.

    Raises:
        DeletionFailed: it cannot be done now.
    """
    with _failing(certificate["room"]), alone_in(place.folder):
        found = _erase(place, certificate)
        _note(place, certificate)
        put_certificate(place, certificate)
    return found


def put_certificate(place: DeletionPlace, certificate: dict[str, Any]) -> None:
    """A certificate stands in the folder.

    Raises:
        OSError: it cannot be written.
    """
    path, text = place.folder / f"{certificate['room']}.json", _text(certificate)
    if not path.is_file() or path.read_bytes() != text.encode():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(path, text)


def is_back(place: DeletionPlace, certificate: dict[str, Any]) -> bool:
    """Whether something of a room is here that its certificate says was deleted."""
    ident, name = certificate["room"], certificate["record"].get("file")
    keeps = certificate["method"].get("payload") == "ciphertext-kept" and isinstance(name, str) and bool(name)
    if any(entry.room == ident for entry in place.keys.entries()):
        return True
    for path in traces_of(place.data, ident):
        if not keeps or not (path.suffix == ".files" or path.name.startswith(name)):
            return True
        if path.is_dir() and any(one.is_file() and not _is_ciphertext(one) for one in path.iterdir()):
            return True
    return False


@contextmanager
def _failing(ident: str) -> Iterator[None]:
    """What goes wrong is a deletion that failed: also where what was written down is not what it should be."""
    try:
        yield
    except (OSError, sqlite3.Error, ConsultError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DeletionFailed(ident, str(error)) from error


# -- the steps -------------------------------------------------------------------------------------------------------


def _text(told: dict[str, Any]) -> str:
    return json.dumps(told, ensure_ascii=False, indent=1) + "\n"


def _pending(place: DeletionPlace, ident: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads((place.folder / f"{ident}.pending").read_bytes())
    except FileNotFoundError:
        return None
    return found


def _begun(
    place: DeletionPlace, ident: str, reason: str, who: str, now_us: int, *, keep_ciphertext: bool, end: bool
) -> dict[str, Any]:
    """Step 1: what the certificate will say."""
    records = [path for path in traces_of(place.data, ident) if path.suffix == ".room"]
    if not records:
        raise DeletionUnknown(ident, str(place.data))
    record = records[-1]
    if place.state is not None:
        require_no_hold(place.state, ident)
    _require_end(place, ident, record, end=end, now_us=now_us)
    facts = _facts(record)
    key = facts.pop("key")
    entry = place.keys.entry(key) if key else None
    if entry is not None and entry.room != ident:
        raise DeletionRefused(ident, Text("its record names another room's key", "其记录指向另一个会诊室的密钥"))
    if key is None and keep_ciphertext:
        raise DeletionRefused(
            ident, Text("it is not encrypted, so that nothing of it can be kept", "该记录未加密，不能保留密文")
        )
    audit_us = now_us + place.audit_days * _DAY_US
    pending = {
        "room": ident,
        "deleted": iso_from_ns(now_us * 1000),
        "deleted_us": now_us,
        "reason": reason,
        "by": who,
        "record": facts,
        "files": _stored_files(record.with_suffix(".files")),
        "key": None if key is None else {"fingerprint": key, "cipher": CIPHER},
        "method": {
            "key": "none" if key is None else "overwritten-and-removed",
            "payload": "ciphertext-kept" if keep_ciphertext else "removed" if key else "overwritten-and-removed",
        },
        "remains": remains(
            audit_until=None if place.state is None else iso_from_ns(audit_us * 1000),
            kept=kept_of_room(place.state, ident) if place.state is not None else (),
            visits_until=iso_from_ns((now_us + place.visit_days * _DAY_US) * 1000),
            exports=[
                {"at": iso_from_ns(one["t_us"] * 1000), "by": one["who"]} for one in (entry.exports if entry else ())
            ],
            keeps_ciphertext=keep_ciphertext,
            was_encrypted=key is not None,
        ),
    }
    write_whole(place.folder / f"{ident}.pending", _text(pending))
    return pending


def _require_end(place: DeletionPlace, ident: str, record: Path, *, end: bool, now_us: int) -> None:
    """Refuses a room that may go on; ends it where that is wished."""
    if place.state is not None:
        _end_in(place.state, ident, end=end, now_us=now_us)
    for path in sorted((place.data / "embedded").glob("*.db")):  # of single rooms on a laptop
        with ServiceState(path) as state:
            _end_in(state, ident, end=end, now_us=now_us)
    if end:
        try:
            with closing(Journal(record, signer=place.signer, keys=place.keys, now_us=lambda: now_us)) as journal:
                journal.end(DELETED)
        except JournalBroken:
            pass  # its key is gone already, or it is damaged: deleted all the same


def _end_in(state: ServiceState, ident: str, *, end: bool, now_us: int) -> None:
    for entry in state.open_rooms():
        if entry.ident != ident:
            continue
        if not end:
            reason = Text(
                "it has no end and may be taken up again; --end ends it", "尚未结束，可能会恢复；可用 --end 结束"
            )
            raise DeletionRefused(ident, reason)
        try:
            state.claim()
        except DataInUse as error:
            reason = Text(
                "a program that runs has it open; end it there first", "正在运行的程序仍打开该会诊室，请先在那里结束"
            )
            raise DeletionRefused(ident, reason) from error
        state.put_room(replace(entry, closed_us=now_us, closed_code=DELETED))


def _facts(record: Path) -> dict[str, Any]:
    """Which record it is: the head of its chain and how much there was."""
    try:
        with Recording(record, GivenKeys(())) as recording:
            n, sealed = recording.head
            return {
                "file": record.name,
                "head": {"n": n, "hash": sealed.hex()},
                "rows": recording.count_rows(),
                "key": recording.sealed.key if recording.sealed else None,
            }
    except RecordingBroken:
        # Damaged: what is left of it goes all the same, and the certificate says that nothing is known of it.
        return {"file": record.name, "head": None, "rows": None, "key": None}


def _stored_files(folder: Path) -> list[dict[str, Any]]:
    told = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.is_file():
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            told.append({"name": path.name, "bytes": path.stat().st_size, "sha256": digest})
    return told


def _carried_out(place: DeletionPlace, pending: dict[str, Any]) -> dict[str, Any]:
    """Steps 2 to 5."""
    _erase(place, pending)
    _note(place, pending)
    certificate = signed_certificate(pending, place.signer)
    write_whole(place.folder / f"{pending['room']}.json", _text(certificate))
    (place.folder / f"{pending['room']}.pending").unlink(missing_ok=True)
    return certificate


def _erase(place: DeletionPlace, told: dict[str, Any]) -> bool:
    """Steps 2 and 3; whether there was anything to destroy."""
    ident, key = told["room"], told.get("key")
    found = False
    if key is not None:
        found |= place.keys.destroy(str(key["fingerprint"]))
    else:  # a damaged record does not name its key
        for entry in place.keys.entries():
            if entry.room == ident:
                found |= place.keys.destroy(entry.fingerprint)
    keeps = told["method"]["payload"] == "ciphertext-kept"
    for path in traces_of(place.data, ident):
        if keeps and (path.suffix == ".files" or path.name.startswith(told["record"]["file"])):
            found |= _shred_plain(path)
            continue
        found = True
        _remove(path, is_encrypted=key is not None)
    return found


def _remove(path: Path, *, is_encrypted: bool) -> None:
    """Takes a file or folder away. What stands in the clear is overwritten first."""
    if path.is_dir():
        for one in sorted(path.rglob("*")):
            if one.is_file():
                _remove(one, is_encrypted=is_encrypted)
        shutil.rmtree(path)
    elif is_encrypted and _is_ciphertext(path):
        path.unlink(missing_ok=True)
    else:
        shred(path)


def _is_ciphertext(path: Path) -> bool:
    """Whether a file of an encrypted room is its record, or one that people brought."""
    if path.name.endswith((".room", ".room-wal", ".room-shm")):
        return True
    with path.open("rb") as file:
        return file.read(len(FILE_MAGIC)) == FILE_MAGIC


def _shred_plain(path: Path) -> bool:
    """In a folder of files whose ciphertext is kept: those that are none."""
    found = False
    for one in sorted(path.iterdir()) if path.is_dir() else []:
        if one.is_file() and not _is_ciphertext(one):
            found |= shred(one)
    return found


def _note(place: DeletionPlace, told: dict[str, Any]) -> None:
    """Step 4: the databases."""
    if place.state is not None:
        _note_in(place.state, told)
    for path in sorted((place.data / "embedded").glob("*.db")):
        with ServiceState(path) as state:
            if state.knows_room(told["room"]):
                _note_in(state, told)


def _note_in(state: ServiceState, told: dict[str, Any]) -> None:
    ident = told["room"]
    entry = AuditEntry(told["deleted_us"], "room-delete", told["by"], ident, told["reason"])
    with state.transaction() as db:
        db.execute("PRAGMA secure_delete = ON")
        forget_rooms_with(db, ident=ident)
        row = (told["deleted_us"], DELETED, ident)
        db.execute("UPDATE room SET closed_us = coalesce(closed_us, ?), closed_code = ? WHERE ident = ?", row)
        known = (entry.t_us, entry.what, entry.room)
        if not db.execute("SELECT 1 FROM audit WHERE t_us = ? AND what = ? AND room = ?", known).fetchone():
            db.execute(
                "INSERT INTO audit (t_us, what, who, room, detail) VALUES (?, ?, ?, ?, ?)",
                (entry.t_us, entry.what, entry.who, entry.room, entry.detail),
            )
    state.rows("PRAGMA wal_checkpoint(TRUNCATE)")
