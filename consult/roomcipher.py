"""The encryption of a room's content at rest: AES-256-GCM, a key per room. No I/O and no clock.

A *run* is the time from one opening of a journal to the next: its number is that of the chain's entry ``begin`` or
``resume``, whose detail has 16 random bytes as ``salt``. Each run has a key of its own::

    key_run = HKDF-SHA-256(room key, salt, "huizhen.room-cipher/1" ‖ room)
    stored  = nonce ‖ AES-256-GCM(key_run, nonce, content, AAD = place)
    nonce   = u32 number of the run ‖ u64 counter, little-endian

The counter only grows within a process and is never taken back, also where a transaction is; another process is a
run of its own with another key. So no nonce comes twice under one key: after a kill, a power cut that loses the last
commits, or a journal that goes on from a copy. The place (table and key columns) is authenticated, so that no row can
stand where another was written. Texts are padded with spaces to whole 256 bytes, for their length says something.

Files: ``HZF1``, then pieces ``u32 length ‖ 12 random bytes ‖ ciphertext``, each bound to its offset in the file,
under a key per file; named by a keyed hash of their SHA-256, for whoever has a file must not learn where it was shown.

Standard: FIPS 197, NIST SP 800-38D (GCM), RFC 5869 (HKDF).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

__all__ = [
    "CIPHER",
    "FILE_MAGIC",
    "KEY_BYTES",
    "OVERHEAD",
    "FileCipher",
    "RoomCipher",
    "RoomKey",
    "Wrong",
    "block_place",
    "document_place",
    "event_place",
    "padded",
]

CIPHER: Final = "huizhen.room-cipher/1"
"""As the chain's first entry names it."""

KEY_BYTES: Final = 32
OVERHEAD: Final = 28
"""Bytes that a row has more than its content: nonce and tag."""

FILE_MAGIC: Final = b"HZF1"
_PAD: Final = 256
_NONCE: Final = struct.Struct("<IQ")
_TAG_BYTES: Final = 16
_BLOCK: Final = struct.Struct("<5sqqqq")
_EVENT: Final = struct.Struct("<5sqq")
_HEAD_OF_PIECE: Final = struct.Struct("<I12s")


class Wrong(Exception):
    """Bytes that are not what was encrypted at this place with this key. Told onward with the place's name."""


@dataclass(frozen=True, slots=True)
class RoomKey:
    """A room's key. ``room``: its name; ``secret``: 32 random bytes."""

    room: str
    secret: bytes = field(repr=False)

    @classmethod
    def generate(cls, room: str) -> RoomKey:
        """A new one."""
        return cls(room, secrets.token_bytes(KEY_BYTES))

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that name the key and tell nothing of it."""
        return hashlib.sha256(b"huizhen.room-key/1" + self.secret).hexdigest()[:16]


def block_place(stream: int, epoch: int, seq: int, t_us: int) -> bytes:
    """Where a block stands."""
    return _BLOCK.pack(b"block", stream, epoch, seq, t_us)


def event_place(n: int, t_us: int) -> bytes:
    """Where an event stands."""
    return _EVENT.pack(b"event", n, t_us)


def document_place(ident: int, name: str, t_us: int) -> bytes:
    """Where a version of a document stands."""
    return _EVENT.pack(b"docum", ident, t_us) + name.encode()


def padded(text: str) -> bytes:
    """A JSON text as bytes, with spaces behind it up to a multiple of 256."""
    data = text.encode()
    return data + b" " * (-len(data) % _PAD)


def _derived(secret: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, salt, info).derive(secret)


class RoomCipher:
    """Encrypts and decrypts one room's content; not for several threads at once."""

    def __init__(self, key: RoomKey) -> None:
        self.key = key
        self._runs: dict[int, AESGCM] = {}
        self._run = 0
        self._counter = count()

    def know(self, run: int, salt: bytes) -> None:
        """A run that the chain has."""
        info = CIPHER.encode() + b"\0" + self.key.room.encode()
        self._runs[run] = AESGCM(_derived(self.key.secret, salt, info))

    def begin(self, run: int, salt: bytes) -> None:
        """From now on this run is written. ``salt`` is new and random."""
        self.know(run, salt)
        self._run, self._counter = run, count()

    @property
    def can_write(self) -> bool:
        """Whether a run has begun."""
        return self._run > 0

    def seal(self, content: bytes, place: bytes) -> bytes:
        """The content as it is stored at a place."""
        nonce = _NONCE.pack(self._run, next(self._counter))
        return nonce + self._runs[self._run].encrypt(nonce, content, place)

    def open(self, stored: bytes, place: bytes) -> bytes:
        """What was stored at a place.

        Raises:
            Wrong: it was not, or not with this key, or it was changed.
        """
        if len(stored) < OVERHEAD:
            raise Wrong
        nonce = stored[: _NONCE.size]
        try:
            return self._runs[_NONCE.unpack(nonce)[0]].decrypt(nonce, stored[_NONCE.size :], place)
        except (KeyError, InvalidTag) as error:
            raise Wrong from error


class FileCipher:
    """Encrypts the files of one room."""

    def __init__(self, key: RoomKey) -> None:
        self._key = key
        self._names = _derived(key.secret, b"", b"huizhen.room-file-name/1\0" + key.room.encode())

    def name(self, sha256: str) -> str:
        """Under which name a file stands, 64 hexadecimal digits."""
        return hmac.new(self._names, sha256.encode(), hashlib.sha256).hexdigest()

    def _cipher(self, sha256: str) -> AESGCM:
        info = b"huizhen.room-file/1\0" + self._key.room.encode() + b"\0" + sha256.encode()
        return AESGCM(_derived(self._key.secret, b"", info))

    def seal(self, sha256: str, offset: int, content: bytes) -> bytes:
        """A piece of a file with its head."""
        nonce = secrets.token_bytes(12)
        sealed = self._cipher(sha256).encrypt(nonce, content, struct.pack("<Q", offset))
        return _HEAD_OF_PIECE.pack(len(sealed), nonce) + sealed

    def open(self, sha256: str, offset: int, nonce: bytes, sealed: bytes) -> bytes:
        """A piece's content.

        Raises:
            Wrong: it is not what was encrypted at this offset of this file.
        """
        try:
            return self._cipher(sha256).decrypt(nonce, sealed, struct.pack("<Q", offset))
        except InvalidTag as error:
            raise Wrong from error

    @staticmethod
    def parse_head(data: bytes) -> tuple[int, bytes] | None:
        """Length of a piece's ciphertext and its nonce; None where the head is not whole or makes no sense."""
        if len(data) != _HEAD_OF_PIECE.size:
            return None
        length, nonce = _HEAD_OF_PIECE.unpack(data)
        return (length, nonce) if _TAG_BYTES < length <= _TAG_BYTES + (1 << 22) else None

    HEAD_BYTES: Final = _HEAD_OF_PIECE.size
    TAG_BYTES: Final = _TAG_BYTES
