"""A room on the laptop's disk: who we are in it, and the spool beside, so that a killed program can go on."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from consult.errors import SpoolBroken
from consult.spool import Spool
from consult.spoolfiles import MAX_SPOOL_BYTES, SegmentFiles
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RoomIdentity", "find_unfinished", "open_spool", "resume_spool"]

_SCHEMA: Final = "huizhen.room-identity/1"
_FILE: Final = "room.json"
_SOUND: Final = "sound"
_LOCK: Final = "lock"
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


def _boot() -> str:
    """What this machine calls the time since it was switched on; empty where it does not say."""
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""


@dataclass(slots=True)
class RoomIdentity:
    """Who this laptop is in a room, kept in the room's folder for its owner's eyes alone.

    Args:
        eras: ``(epoch, schemas)``, oldest first, of which blocks may be left.
        may_go_on: no block can have been sent that is not in the spool, so its numbers may be counted on: the program
            was killed, but neither did the machine go off nor its disk refuse anything.
        extra: what the application wants to find again: the embedded service's port, a certificate.
    """

    folder: Path
    server: str
    room: str
    token: str
    name: str = ""
    eras: list[tuple[int, list[dict[str, Any]]]] = field(default_factory=list)
    may_go_on: bool = True
    extra: dict[str, Any] = field(default_factory=dict)
    _lock: int | None = None

    def keep(self, *, token: str, eras: list[tuple[int, list[dict[str, Any]]]]) -> None:
        """Writes itself down; a disk that refuses costs the resumption, not the room."""
        self.token, self.eras = token, eras
        body = {
            "schema": _SCHEMA,
            "server": self.server,
            "room": self.room,
            "token": self.token,
            "name": self.name,
            "boot": _boot(),
            "eras": [{"epoch": epoch, "schemas": schemas} for epoch, schemas in eras],
            "extra": self.extra,
        }
        path = self.folder / _FILE
        fresh = path.with_suffix(".new")
        with contextlib.suppress(OSError):
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123 - a mode that no umask widens
                json.dump(body, file, ensure_ascii=False)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)

    def note_trouble(self) -> None:
        """From now on there are blocks that are in no file. Deleting works on a full disk too."""
        with contextlib.suppress(OSError):
            (self.folder / _SOUND).unlink(missing_ok=True)

    def discard(self) -> None:
        """The room is over and everything arrived: nothing is left to resume."""
        self.release()
        shutil.rmtree(self.folder, ignore_errors=True)

    def release(self) -> None:
        """Another process may resume this room."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def take_lock(self) -> None:
        """Makes sure that no other process is in this room.

        Raises:
            SpoolBroken: one is.
        """
        try:
            import fcntl
        except ImportError:
            return  # Windows lets nobody open a segment that another process writes
        lock = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            reason = Text("another program is in this room", "另一个程序正在使用此会诊室")
            raise SpoolBroken(str(self.folder), reason) from error
        self._lock = lock


def _spool(identity: RoomIdentity, on_trouble: Callable[[str | None], None], max_bytes: int) -> Spool:
    def told(reason: str | None) -> None:
        if reason is not None:
            identity.note_trouble()
        on_trouble(reason)

    try:
        return Spool(SegmentFiles(identity.folder, max_bytes=max_bytes), on_trouble=told)
    except OSError as error:
        raise SpoolBroken(str(identity.folder), error.strerror or str(error)) from error


def open_spool(
    base: Path,
    server: str,
    room: str,
    token: str,
    *,
    name: str = "",
    extra: dict[str, Any] | None = None,
    on_trouble: Callable[[str | None], None] = lambda _: None,
    max_bytes: int = MAX_SPOOL_BYTES,
) -> tuple[Spool, RoomIdentity]:
    """A fresh room's folder below ``base``. Where it cannot be made, ``on_trouble`` is told and memory has to do."""
    identity = RoomIdentity(base / room, server, room, token, name, extra=extra or {})
    try:
        identity.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        identity.take_lock()
        (identity.folder / _SOUND).touch(mode=0o600)
        return _spool(identity, on_trouble, max_bytes), identity
    except (OSError, SpoolBroken) as error:
        on_trouble(str(error))
        return Spool(), identity


def find_unfinished(base: Path) -> list[str]:
    """The rooms below ``base`` that can be resumed, the latest last."""
    found = [path for path in base.glob(f"*/{_FILE}") if path.is_file()]
    return [path.parent.name for path in sorted(found, key=lambda path: path.stat().st_mtime)]


def resume_spool(
    base: Path,
    room: str,
    *,
    on_trouble: Callable[[str | None], None] = lambda _: None,
    max_bytes: int = MAX_SPOOL_BYTES,
) -> tuple[Spool, RoomIdentity]:
    """What a killed program left of a room.

    Raises:
        SpoolBroken: there is no such room, its files cannot be read, or another process is in it.
    """
    folder = base / room
    path = folder / _FILE
    if Path(room).name != room:
        raise SpoolBroken(str(folder), Text("no room's name", "不是会诊室名称"))
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        identity = RoomIdentity(
            folder,
            str(body["server"]),
            str(body["room"]),
            str(body["token"]),
            str(body["name"]),
            [(int(era["epoch"]), list(era["schemas"])) for era in body["eras"]],
            extra=dict(body["extra"]),
        )
        is_ours = body["schema"] == _SCHEMA
    except OSError as error:
        raise SpoolBroken(str(folder), error.strerror or str(error)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise SpoolBroken(str(path), Text("not written by this program", "不是本程序写入的文件")) from error
    if not is_ours:
        raise SpoolBroken(str(path), Text("written by another version", "由其他版本写入"))
    identity.take_lock()
    is_same_boot = bool(_boot()) and body.get("boot") == _boot()
    identity.may_go_on = is_same_boot and (folder / _SOUND).exists()
    (folder / _SOUND).touch(mode=0o600)
    return _spool(identity, on_trouble, max_bytes), identity
