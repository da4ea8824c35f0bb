"""Where backups are kept: a folder that many share, or one tar file; plain, or sealed with a passphrase.

::

    backup.json                       {"schema": "huizhen.backup-store/1", "seal": null | {"kdf": "scrypt", …}}
    objects/AB/NAME                   the content of a file, named by its SHA-256: what has not changed is kept once
    manifests/20261130T101500Z.json   one backup: which file had which content, signed

A tar file holds the same members. In a sealed store the objects' names are HMACs and everything but ``backup.json``
is encrypted: a key from the passphrase by scrypt, from that one key per object by HKDF and a random salt; pieces of
1 MiB under ChaCha20-Poly1305 with the piece's number and a mark for the last one as nonce, so that none can be left
out, moved or cut off.

Standard: RFC 7914 (scrypt), RFC 5869 (HKDF), RFC 8439 (ChaCha20-Poly1305).
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import io
import json
import os
import secrets
import tarfile
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from consult.operatingerrors import BackupBroken, BackupFailed, PassphraseWrong
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "PIECE",
    "BackupReader",
    "BackupWriter",
    "Bytes",
    "Seal",
    "is_manifest",
    "open_reader",
    "opened_writer",
    "sync_folder",
]

PIECE: Final = 1 << 20
_HEAD: Final = "backup.json"
_SCHEMA: Final = "huizhen.backup-store/1"
_MAGIC: Final = b"HZO1"
_MOST_DIRTY: Final = 8 << 20
_SALT: Final = 16
_TAG: Final = 16
_SCRYPT_N: Final = 1 << 16
_MOST_SCRYPT_N: Final = 1 << 20
_MAX_MANIFEST: Final = 256 << 20
_NO_BACKUP: Final = Text("it is no backup of a room service", "不是会诊服务的备份")
_DAMAGED: Final = Text("it is damaged, or was changed", "已损坏或被改动")


class Bytes(Protocol):
    """Something that is read once, from its beginning to its end."""

    def read(self, most: int, /) -> bytes:
        """The next bytes; none at the end."""
        ...


class Sink(Protocol):
    """Something that is written to."""

    def write(self, data: bytes, /) -> object:
        """The next bytes."""
        ...


class _Gently:
    """Brings a file to the disk bit by bit: one great flush at its end would make the rooms' own writes wait for it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._dirty = file, 0

    def write(self, data: bytes, /) -> None:
        self._file.write(data)
        self._dirty += len(data)
        if self._dirty >= _MOST_DIRTY:
            self._file.flush()
            getattr(os, "fdatasync", os.fsync)(self._file.fileno())
            self._dirty = 0


class Seal:
    """Encrypts and decrypts what is in one store. ``key``: 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def from_passphrase(cls, passphrase: bytes, words: dict[str, Any]) -> Seal:
        """The seal that ``backup.json`` describes.

        Raises:
            ValueError: it describes none.
        """
        salt, n = bytes.fromhex(str(words["salt"])), int(words["n"])
        if words.get("kdf") != "scrypt" or len(salt) != _SALT or not 2 <= n <= _MOST_SCRYPT_N:
            raise ValueError(words)
        return cls(Scrypt(salt, 32, n, 8, 1).derive(passphrase))

    @property
    def check(self) -> str:
        """Tells a wrong passphrase before anything is read: 16 hexadecimal digits."""
        return hmac.new(self._key, b"huizhen.backup/1 check", hashlib.sha256).hexdigest()[:16]

    def name(self, sha256: str) -> str:
        """The object's name for a content."""
        return hmac.new(self._key, sha256.encode(), hashlib.sha256).hexdigest()

    def _cipher(self, salt: bytes) -> ChaCha20Poly1305:
        return ChaCha20Poly1305(HKDF(SHA256(), 32, salt, b"huizhen.backup/1 object").derive(self._key))

    def encrypt(self, source: Bytes, target: Sink) -> None:
        """All of ``source``, sealed."""
        salt = secrets.token_bytes(_SALT)
        cipher = self._cipher(salt)
        target.write(_MAGIC + salt)
        number, piece = 0, source.read(PIECE)
        while True:
            following = source.read(PIECE)
            target.write(cipher.encrypt(_nonce(number, is_last=not following), piece, None))
            if not following:
                return
            number, piece = number + 1, following

    def decrypt(self, source: IO[bytes]) -> Iterator[bytes]:
        """The pieces of what was sealed.

        Raises:
            InvalidTag: it was changed, cut off, or sealed with another key.
        """
        head = source.read(len(_MAGIC) + _SALT)
        if len(head) != len(_MAGIC) + _SALT or not head.startswith(_MAGIC):
            raise InvalidTag
        cipher = self._cipher(head[len(_MAGIC) :])
        number, piece = 0, source.read(PIECE + _TAG)
        while True:
            following = source.read(PIECE + _TAG)
            yield cipher.decrypt(_nonce(number, is_last=not following), piece, None)
            if not following:
                return
            number, piece = number + 1, following


def _nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])


def is_manifest(name: str) -> bool:
    """Whether a member of a store is a manifest."""
    return name.startswith("manifests/") and name.endswith(".json") and name.count("/") == 1


def _object(name: str) -> str:
    return f"objects/{name[:2]}/{name}"


# -- reading ---------------------------------------------------------------------------------------------------------


class _Members(Protocol):
    def names(self) -> list[str]: ...

    def open(self, name: str) -> IO[bytes]: ...

    def close(self) -> None: ...


class _Folder:
    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        return [str(one.relative_to(self.path)) for one in self.path.rglob("*") if one.is_file()]

    def open(self, name: str) -> IO[bytes]:
        return (self.path / name).open("rb")

    def close(self) -> None:
        pass


class _Tar:
    def __init__(self, path: Path) -> None:
        self._tar = tarfile.open(path, "r:")  # noqa: SIM115 - close() closes it
        self._members = {member.name: member for member in self._tar if member.isreg()}

    def names(self) -> list[str]:
        return list(self._members)

    def open(self, name: str) -> IO[bytes]:
        found = self._tar.extractfile(self._members[name]) if name in self._members else None
        if found is None:
            raise FileNotFoundError(name)
        return found

    def close(self) -> None:
        self._tar.close()


class BackupReader:
    """A store, for reading.

    Raises:
        BackupBroken: by every method, when something is missing or not as it was written.
        PassphraseWrong: by the constructor, also where none was given for a sealed store.
    """

    def __init__(self, path: Path, passphrase: bytes | None) -> None:
        self.path = path
        try:
            self._members: _Members = _Folder(path) if path.is_dir() else _Tar(path)
        except (OSError, tarfile.TarError) as error:
            raise self._broken(error) from error
        try:
            self.seal = self._sealed_with(passphrase)
        except (ValueError, KeyError, TypeError) as error:
            self.close()
            raise BackupBroken(str(path), _NO_BACKUP) from error
        except BaseException:
            self.close()
            raise

    def _sealed_with(self, passphrase: bytes | None) -> Seal | None:
        words = self._head()
        if words is None:
            return None
        seal = Seal.from_passphrase(passphrase, words) if passphrase else None
        if seal is None or seal.check != words.get("check"):
            raise PassphraseWrong(str(self.path))
        return seal

    def _broken(self, error: Exception) -> BackupBroken:
        said = isinstance(error, OSError) and error.strerror
        return BackupBroken(str(self.path), str(said) if said else _NO_BACKUP)

    def _head(self) -> dict[str, Any] | None:
        try:
            with self._members.open(_HEAD) as file:
                head = json.loads(file.read(1 << 16))
        except (OSError, KeyError, ValueError, tarfile.TarError) as error:
            raise BackupBroken(str(self.path), _NO_BACKUP) from error
        if head["schema"] != _SCHEMA:
            raise BackupBroken(str(self.path), _NO_BACKUP)
        seal = head["seal"]
        return seal if seal is None else dict(seal)

    def manifests(self) -> list[str]:
        """Names of the backups in the store, oldest first, as people name them: ``20261130T101500Z``."""
        return sorted(name[len("manifests/") : -len(".json")] for name in self._members.names() if is_manifest(name))

    def manifest(self, name: str) -> bytes:
        """The content of one manifest."""
        return b"".join(self._pieces(f"manifests/{name}.json", most=_MAX_MANIFEST))

    def content(self, name: str) -> Iterator[bytes]:
        """The content of an object in pieces."""
        return self._pieces(_object(name), most=None)

    def has(self, name: str) -> bool:
        """Whether there is an object."""
        try:
            with self._members.open(_object(name)):
                return True
        except (OSError, KeyError):
            return False

    def _pieces(self, member: str, most: int | None) -> Iterator[bytes]:
        try:
            with self._members.open(member) as file:
                told = 0
                for piece in self.seal.decrypt(file) if self.seal else iter(lambda: file.read(PIECE), b""):
                    told += len(piece)
                    if most is not None and told > most:
                        raise BackupBroken(str(self.path), _DAMAGED)
                    yield piece
        except (OSError, KeyError, InvalidTag, tarfile.TarError) as error:
            raise BackupBroken(str(self.path), _DAMAGED) from error

    def close(self) -> None:
        """Ends all use of it."""
        self._members.close()


def open_reader(path: Path, passphrase: bytes | None = None) -> BackupReader:
    """A store that is there. See :class:`BackupReader`."""
    return BackupReader(path, passphrase)


# -- writing ---------------------------------------------------------------------------------------------------------


class BackupWriter:
    """A folder of backups, for writing; use :func:`opened_writer`. A tar file is packed from such a folder at the end.

    Raises:
        BackupFailed: by every method, when it cannot be written.
    """

    def __init__(self, folder: Path, seal: Seal | None) -> None:
        self.folder = folder
        self.seal = seal

    def name(self, sha256: str) -> str:
        """The object's name for a content."""
        return self.seal.name(sha256) if self.seal else sha256

    def has(self, name: str) -> bool:
        """Whether an object is there already."""
        return (self.folder / _object(name)).is_file()

    def put(self, name: str, source: Bytes) -> None:
        """Keeps an object."""
        self.write(self.folder / _object(name), source)

    def put_manifest(self, name: str, content: bytes) -> None:
        """Keeps a manifest: from now on there is one more backup."""
        self.write(self.folder / "manifests" / f"{name}.json", io.BytesIO(content))

    def write(self, path: Path, source: Bytes) -> None:
        """A file of the store: whole and on disk, or not there."""
        temporary = ""
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".part-")  # mode 0600
            with os.fdopen(handle, "wb") as file:
                gently = _Gently(file)
                if self.seal:
                    self.seal.encrypt(source, gently)
                else:
                    while piece := source.read(PIECE):
                        gently.write(piece)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
            sync_folder(path.parent)
        except OSError as error:
            raise BackupFailed(str(self.folder), error.strerror or str(error)) from error
        finally:
            Path(temporary).unlink(missing_ok=True) if temporary else None

    def forget(self, manifests: set[str], objects: set[str]) -> int:
        """Deletes every manifest and object that is not named; how many objects."""
        gone = 0
        for path in self.folder.glob("manifests/*.json"):
            if path.stem not in manifests:
                path.unlink()
        for path in self.folder.glob("objects/??/*"):
            if path.name not in objects:
                path.unlink()
                gone += 1
        return gone


def sync_folder(path: Path) -> None:
    """What was made or renamed in a folder is on the disk when this returns; Windows opens no folders for it."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _begin(folder: Path, passphrase: bytes | None) -> Seal | None:
    """The head of a store: read, or made in an empty folder."""
    head = folder / _HEAD
    if head.exists():
        reader = BackupReader(folder, passphrase)
        reader.close()
        if passphrase and reader.seal is None:
            raise BackupFailed(str(folder), Text("the backups in it are not encrypted", "其中的备份未加密"))
        return reader.seal
    if any(folder.iterdir()):
        raise BackupFailed(str(folder), Text("the folder holds something else", "目录中已有其他内容"))
    seal, words = None, None
    if passphrase:
        words = {"kdf": "scrypt", "salt": secrets.token_hex(_SALT), "n": _SCRYPT_N}
        seal = Seal.from_passphrase(passphrase, words)
        words["check"] = seal.check
    BackupWriter(folder, None).write(head, io.BytesIO(json.dumps({"schema": _SCHEMA, "seal": words}).encode()))
    return seal


@contextlib.contextmanager
def opened_writer(path: Path, passphrase: bytes | None = None) -> Iterator[BackupWriter]:
    """A store for one more backup: a folder, or, where the name ends in ``.tar``, a new file that appears at the end.

    Raises:
        BackupFailed: it cannot be written, is in use by another backup, or is there already (a file).
        BackupBroken: the folder holds something that is no backup.
        PassphraseWrong: the folder is sealed with another passphrase.
    """
    try:
        if path.suffix == ".tar":
            _require_new(path)
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=".backup-") as made:
                folder = Path(made)
                yield BackupWriter(folder, _begin(folder, passphrase))
                _pack(folder, path)
            return
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _alone_in(path):
            yield BackupWriter(path, _begin(path, passphrase))
    except OSError as error:
        raise BackupFailed(str(path), error.strerror or str(error)) from error


@contextlib.contextmanager
def _alone_in(path: Path) -> Iterator[None]:
    """No other backup is made in this folder meanwhile; Windows, which has no such locks, does not keep two apart."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BackupFailed(str(path), Text("another backup is being made there", "正在进行另一次备份")) from error
        yield
    finally:
        os.close(handle)


def _require_new(path: Path) -> None:
    if path.exists():
        raise BackupFailed(str(path), Text("the file is there already", "文件已存在"))


def _pack(folder: Path, path: Path) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            with tarfile.open(fileobj=file, mode="w:") as tar:
                for one in (folder / _HEAD, *sorted(folder.glob("manifests/*")), *sorted(folder.glob("objects/??/*"))):
                    info = tar.gettarinfo(one, str(one.relative_to(folder)))
                    info.uid = info.gid = 0
                    info.uname = info.gname = ""
                    with one.open("rb") as content:
                        tar.addfile(info, content)
                    one.unlink() if one.parent.parent.name == "objects" else None
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
