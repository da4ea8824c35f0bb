"""The keys of the rooms: a small file each, wrapped by the service's master key. Made, found, handed out, destroyed.

``keys/FINGERPRINT.key`` is JSON, ``huizhen.room-key/1``: the room's name, the key's fingerprint, and the key encrypted
with AES-256-GCM under the master key (12 random bytes as nonce, name and fingerprint authenticated). A file per key
and no database: a database copies pages into logs and free lists, a file can be overwritten where it stands.

The master key is a text file with 64 hexadecimal digits on a line. Where it has several lines the first one wraps and
all of them unwrap, so that it can be changed without a moment in which something cannot be read.

Standard: NIST SP 800-38D (GCM).
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sqlite3
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from consult.chain import canonical
from consult.roomcipher import KEY_BYTES, RoomKey
from consult.sealederrors import KeysBroken
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from consult.privacyconfig import PrivacyConfig

__all__ = [
    "FOLDER",
    "GivenKeys",
    "KeyEntry",
    "KeyRing",
    "KeySource",
    "KeyStore",
    "alone_in",
    "load_key_file",
    "shred",
    "store_of",
    "write_whole",
]

FOLDER: Final = "keys"
"""In the data folder."""

_MASTER: Final = "master.key"
_SCHEMA: Final = "huizhen.room-key/1"
_WAIT_S: Final = 30.0
_AT_ONCE: Final = 50
_PART: Final = ".key-part-"
_NO_MASTER: Final = Text("the master key is not there", "缺少主密钥")


class KeySource(Protocol):
    """Where a record's key may be found."""

    def find(self, fingerprint: str) -> RoomKey | None:
        """The key with this fingerprint; None where it is not, or no longer."""
        ...


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """A key as its file tells of it, without the key.

    Args:
        room: whose it is. fingerprint: of the key. master: fingerprint of the master key that wraps it.
        exports: ``{"t_us", "who"}`` of each time that it was handed out.
    """

    room: str
    fingerprint: str
    master: str
    exports: tuple[dict[str, Any], ...] = ()


class GivenKeys:
    """Keys that somebody has at hand."""

    def __init__(self, keys: Iterable[RoomKey]) -> None:
        self._keys = {key.fingerprint: key for key in keys}

    def find(self, fingerprint: str) -> RoomKey | None:
        """See :class:`KeySource`."""
        return self._keys.get(fingerprint)


class KeyRing:
    """Several sources, asked one after the other; one that cannot be used is told only where no other has the key."""

    def __init__(self, sources: Iterable[KeySource]) -> None:
        self._sources = tuple(sources)

    def find(self, fingerprint: str) -> RoomKey | None:
        """See :class:`KeySource`.

        Raises:
            KeysBroken: no source has it, and one could not be asked.
        """
        broken: KeysBroken | None = None
        for source in self._sources:
            try:
                key = source.find(fingerprint)
            except KeysBroken as error:
                broken = error
                continue
            if key is not None:
                return key
        if broken is not None:
            raise broken
        return None


def _sync_folder(folder: Path) -> None:
    """What stands in a folder is on disk; where the system knows no such thing, nothing is done."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def shred(path: Path) -> bool:
    """Overwrites a file where it stands, waits until that is on disk, and takes it away; False where there is none.

    What a drive of flash memory, a copying file system or a snapshot still has is out of reach.

    Raises:
        OSError: it cannot be done.
    """
    try:
        with path.open("r+b") as file:
            left = file.seek(0, os.SEEK_END)
            file.seek(0)
            while left > 0:
                left -= file.write(secrets.token_bytes(min(left, 1 << 20)))
            file.flush()
            os.fsync(file.fileno())
    except FileNotFoundError:
        return False
    path.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return True


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """No other thread or program is in such a block for the same folder, which is made where it is not there.

    Raises:
        OSError, sqlite3.Error: it cannot be made, or somebody is in it for half a minute.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = sqlite3.connect(folder / "lock", isolation_level=None, timeout=_WAIT_S)
    try:
        lock.execute("BEGIN EXCLUSIVE")
        yield
    finally:
        lock.close()


def write_whole(path: Path, text: str) -> None:
    """Whole or not at all, for this user only, on disk; what stood there before is overwritten."""
    handle, name = tempfile.mkstemp(prefix=_PART, dir=path.parent)  # mode 0600
    part = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        old = path.with_name(f"{_PART}old-{secrets.token_hex(4)}")
        with contextlib.suppress(OSError):
            os.link(path, old)
        part.replace(path)
        _sync_folder(path.parent)
        shred(old)
    except BaseException:
        with contextlib.suppress(OSError):
            shred(part)
        raise


def _take_away(left: Path) -> None:
    """Removes what a killed program left; where it is another name of a file that is in use, only the name."""
    if left.stat().st_nlink > 1:
        left.unlink(missing_ok=True)
    else:
        shred(left)


def master_fingerprint(secret: bytes) -> str:
    """16 hexadecimal digits that name a master key."""
    return sha256(b"huizhen.master-key/1" + secret).hexdigest()[:16]


def _masters(text: str, where: str) -> list[bytes]:
    found = []
    for word in (line.partition("#")[0].strip() for line in text.replace(",", "\n").splitlines()):
        if not word:
            continue
        try:
            secret = bytes.fromhex(word)
        except ValueError:
            secret = b""
        if len(secret) != KEY_BYTES:
            raise KeysBroken(where, Text("the master key is not 64 hexadecimal digits", "主密钥应为 64 位十六进制数"))
        found.append(secret)
    if not found:
        raise KeysBroken(where, _NO_MASTER)
    return found


def masters_in(content: bytes) -> set[str]:
    """Fingerprints of the master keys in the content of a file of them; none where it is no such file."""
    try:
        return {master_fingerprint(secret) for secret in _masters(content.decode(), "")}
    except (UnicodeDecodeError, KeysBroken):
        return set()


def wrapped_by(content: bytes) -> str | None:
    """Fingerprint of the master key that wraps the key of a file with this content; None where it is no such file."""
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        return None
    master = told.get("master") if isinstance(told, dict) else None
    return master if isinstance(master, str) else None


class KeyStore:
    """The keys in one folder. Every method may run in any thread, and in several programs at once.

    Args:
        folder: made with the first key.
        master_file: of the master key; None for one in the folder, which is made where there is none.
        makes_master: ``master_file`` is made, too, and changed by :meth:`rotate`; else its owner keeps it.
        master: the master key itself, as its file would have it; comes before the file.

    Raises:
        KeysBroken: by every method, where folder or master key cannot be used.
    """

    def __init__(
        self, folder: Path, *, master_file: Path | None = None, makes_master: bool = False, master: str = ""
    ) -> None:
        self.folder = folder
        self.master_file = master_file or folder / _MASTER
        self.makes_master = not master and (makes_master or master_file is None)
        self._master = master

    # -- keys --------------------------------------------------------------------------------------------------------

    def create(self, room: str) -> RoomKey:
        """A new key, on disk when this returns."""
        key = RoomKey.generate(room)
        with self._alone():
            self._put(key, self._load_masters(make=True)[0])
        return key

    def find(self, fingerprint: str) -> RoomKey | None:
        """The key with this fingerprint; None where it is not, or no longer."""
        for _ in range(2):  # a rotation may end between the reading of the key and that of the master keys
            told = self._read(fingerprint)
            if told is None:
                return None
            for secret in self._load_masters():
                if master_fingerprint(secret) == told["master"]:
                    return self._unwrapped(told, secret)
        raise KeysBroken(str(self.folder), Text("they were wrapped by another master key", "由另一个主密钥加密"))

    def entries(self) -> list[KeyEntry]:
        """All keys, by the names of their rooms. A file that is half destroyed is none."""
        found = []
        for path in self._paths():
            with contextlib.suppress(KeysBroken):
                found.append(self.entry(path.stem))
        return sorted((one for one in found if one is not None), key=lambda entry: (entry.room, entry.fingerprint))

    def entry(self, fingerprint: str) -> KeyEntry | None:
        """What the file of a key tells; None where there is none. Needs no master key."""
        told = self._read(fingerprint)
        if told is None:
            return None
        exports = tuple(one for one in told.get("exports", []) if isinstance(one, dict))
        return KeyEntry(told["room"], told["fingerprint"], told["master"], exports)

    def destroy(self, fingerprint: str) -> bool:
        """Overwrites and removes a key, with what interrupted writes have left; False where there was none."""
        with self._alone():
            return shred(self._path(fingerprint)) if self._has(fingerprint) else False

    def note_export(self, fingerprint: str, who: str, now_us: int) -> None:
        """Remembers beside the key that it was handed out."""
        with self._alone():
            told = self._read(fingerprint)
            if told is not None:
                told["exports"] = [*told.get("exports", []), {"t_us": now_us, "who": who}]
                write_whole(self._path(fingerprint), json.dumps(told, ensure_ascii=False))

    def rotate(self) -> int:
        """Wraps all keys by a new master key, or by the first one in a file that its owner keeps; returns how many.

        May be broken off at any moment and said again: until the end both master keys are there.
        """
        with self._alone():
            masters = self._load_masters(make=True)
            if self.makes_master and len(masters) == 1:
                masters = [secrets.token_bytes(KEY_BYTES), *masters]
                self._write_masters(masters)
        # In parts, for a service that runs meanwhile makes keys: those are wrapped by the new one already.
        paths, count = self._paths(), 0
        for at in range(0, len(paths), _AT_ONCE):
            with self._alone():
                count += sum(self._wrap_anew(path, masters) for path in paths[at : at + _AT_ONCE])
        if self.makes_master:
            with self._alone():
                now = self._load_masters()
                if now[0] == masters[0]:  # else somebody else has begun to change it again
                    self._write_masters(now[:1])
        return count

    def _wrap_anew(self, path: Path, masters: list[bytes]) -> bool:
        told = self._read(path.stem)
        if told is None or told["master"] == master_fingerprint(masters[0]):
            return False
        secret = next((one for one in masters if master_fingerprint(one) == told["master"]), None)
        if secret is None:
            raise KeysBroken(str(path), Text("it was wrapped by another master key", "该文件由另一个主密钥加密"))
        self._put(self._unwrapped(told, secret), masters[0], told.get("exports", []))
        return True

    def export(self, key: RoomKey, path: Path) -> None:
        """Writes a key, unwrapped, for somebody who shall read the record elsewhere."""
        told = {"schema": _SCHEMA, "room": key.room, "fingerprint": key.fingerprint, "key": key.secret.hex()}
        try:
            write_whole(path, json.dumps(told, ensure_ascii=False, indent=1) + "\n")
        except OSError as error:
            raise KeysBroken(str(path), error.strerror or str(error)) from error

    # -- the master key ----------------------------------------------------------------------------------------------

    def master_fingerprints(self) -> set[str]:
        """Of the master keys that are here."""
        return {master_fingerprint(secret) for secret in self._load_masters()}

    def _load_masters(self, *, make: bool = False) -> list[bytes]:
        if self._master:
            return _masters(self._master, "HUIZHEN_MASTER_KEY")
        try:
            return _masters(self.master_file.read_text(encoding="utf-8"), str(self.master_file))
        except FileNotFoundError as error:
            # Never a new one beside keys that an old one wrapped: it is lost, or its disk is not mounted.
            if not (make and self.makes_master) or self._paths():
                raise KeysBroken(str(self.master_file), _NO_MASTER) from error
        except (OSError, UnicodeDecodeError) as error:
            raise KeysBroken(str(self.master_file), str(error)) from error
        made = secrets.token_bytes(KEY_BYTES)
        self._write_masters([made])
        return [made]

    def _write_masters(self, masters: list[bytes]) -> None:
        try:
            self.master_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_whole(self.master_file, "".join(f"{secret.hex()}\n" for secret in masters))
        except OSError as error:
            raise KeysBroken(str(self.master_file), error.strerror or str(error)) from error

    # -- files -------------------------------------------------------------------------------------------------------

    def _path(self, fingerprint: str) -> Path:
        return self.folder / f"{fingerprint}.key"

    def _paths(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*.key") if path.stem != "master")

    def _has(self, fingerprint: str) -> bool:
        return self._path(fingerprint).is_file()

    def _put(self, key: RoomKey, master: bytes, exports: list[Any] | None = None) -> None:
        nonce = secrets.token_bytes(12)
        bound = canonical([_SCHEMA, key.room, key.fingerprint]).encode()
        told = {
            "schema": _SCHEMA,
            "room": key.room,
            "fingerprint": key.fingerprint,
            "master": master_fingerprint(master),
            "nonce": nonce.hex(),
            "wrapped": AESGCM(master).encrypt(nonce, key.secret, bound).hex(),
            "exports": exports or [],
        }
        write_whole(self._path(key.fingerprint), json.dumps(told, ensure_ascii=False))

    def _read(self, fingerprint: str) -> dict[str, Any] | None:
        path = self._path(fingerprint)
        try:
            told = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise KeysBroken(str(path), str(error)) from error
        words = ("room", "fingerprint", "master", "nonce", "wrapped")
        if not isinstance(told, dict) or not all(isinstance(told.get(word), str) for word in words):
            raise KeysBroken(str(path), Text("it is no room key", "不是会诊室密钥文件"))
        if told["fingerprint"] != fingerprint:
            raise KeysBroken(str(path), Text("it was changed", "内容已被改动"))
        return told

    def _unwrapped(self, told: dict[str, Any], master: bytes) -> RoomKey:
        bound = canonical([_SCHEMA, told["room"], told["fingerprint"]]).encode()
        try:
            secret = AESGCM(master).decrypt(bytes.fromhex(told["nonce"]), bytes.fromhex(told["wrapped"]), bound)
        except (InvalidTag, ValueError) as error:
            path = str(self._path(told["fingerprint"]))
            raise KeysBroken(path, Text("it was changed", "内容已被改动")) from error
        key = RoomKey(told["room"], secret)
        if key.fingerprint != told["fingerprint"]:
            raise KeysBroken(str(self._path(told["fingerprint"])), Text("it was changed", "内容已被改动"))
        return key

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other thread or program changes keys meanwhile; what a killed one left half done is taken away."""
        try:
            with alone_in(self.folder):
                for folder in {self.folder, self.master_file.parent}:
                    for left in folder.glob(f"{_PART}*"):
                        _take_away(left)
                yield
        except (OSError, sqlite3.Error) as error:
            raise KeysBroken(str(self.folder), str(error)) from error


def store_of(data: Path, privacy: PrivacyConfig) -> KeyStore:
    """The keys of the rooms in a data folder, as its owner wants them kept."""
    return KeyStore(
        data / FOLDER,
        master_file=privacy.master_key_file,
        makes_master=privacy.makes_master_key,
        master=privacy.master_key,
    )


def load_key_file(path: Path) -> RoomKey:
    """A key that :meth:`KeyStore.export` wrote.

    Raises:
        KeysBroken: the file cannot be read, or is none.
    """
    try:
        told = json.loads(path.read_bytes())
        key = RoomKey(str(told["room"]), bytes.fromhex(told["key"]))
    except OSError as error:
        raise KeysBroken(str(path), error.strerror or str(error)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise KeysBroken(str(path), Text("it is no room key", "不是会诊室密钥文件")) from error
    if len(key.secret) != KEY_BYTES or told.get("fingerprint") != key.fingerprint:
        raise KeysBroken(str(path), Text("it was changed", "内容已被改动"))
    return key
