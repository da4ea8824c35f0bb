"""What stands in a record's rows: as it is, or encrypted at rest and read with the room's key.

The chain's first entry says which: ``"cipher"``, ``"key"`` (the key's fingerprint) and ``"salt"``. A record of an older
program, or of a service that does not encrypt, has none of these.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from consult.errors import RecordingBroken
from consult.roomcipher import CIPHER, FileCipher, RoomCipher, Wrong, block_place, document_place, event_place
from consult.roomkeys import FOLDER, KeyStore
from consult.sealederrors import ContentBroken, KeyMissing
from diag.facts import Text

if TYPE_CHECKING:
    from consult.roomkeys import KeySource

__all__ = ["Content", "SealedBy", "content_of", "sealed_by"]


@dataclass(frozen=True, slots=True)
class SealedBy:
    """How a record is encrypted.

    Args:
        room: its name. key: the key's fingerprint.
        runs: number of a run -> its salt, see :mod:`consult.roomcipher`.
    """

    room: str
    key: str
    runs: dict[int, bytes]


class Content:
    """Turns what is stored in a row into what was written.

    Args:
        path: of the record, for errors.
        cipher: of an encrypted one whose key is there.
        missing: the fingerprint of a key that is not there; then only numbers and times can be read.

    Raises:
        ContentBroken: by every method, for bytes that were changed or moved.
        KeyMissing: by every method, where the key is missing.
    """

    def __init__(self, path: str | Path, cipher: RoomCipher | None = None, missing: str = "") -> None:
        self.cipher = cipher
        self.missing = missing
        self._path = str(path)

    def block(self, stream: int, epoch: int, seq: int, t_us: int, data: bytes) -> bytes:
        """A block's bytes."""
        if self.cipher is None:
            self._require_key()
            return data
        try:
            return self.cipher.open(data, block_place(stream, epoch, seq, t_us))
        except Wrong as error:
            raise ContentBroken(self._path, f"block {stream}/{epoch}/{seq}") from error

    def event(self, n: int, t_us: int, body: str | bytes) -> str | bytes:
        """An event's JSON."""
        return self._text(body, event_place(n, t_us), f"event {n}")

    def document(self, ident: int, name: str, t_us: int, body: str | bytes) -> str | bytes:
        """A document's JSON."""
        return self._text(body, document_place(ident, name, t_us), f"document {ident}")

    @property
    def files(self) -> FileCipher | None:
        """What its files are encrypted with; None where they are not."""
        self._require_key()
        return None if self.cipher is None else FileCipher(self.cipher.key)

    def _text(self, stored: str | bytes, place: bytes, name: str) -> str | bytes:
        if self.cipher is None:
            self._require_key()
            return stored
        try:
            return self.cipher.open(stored if isinstance(stored, bytes) else b"", place)
        except Wrong as error:
            raise ContentBroken(self._path, name) from error

    def _require_key(self) -> None:
        if self.missing:
            raise KeyMissing(self._path, self.missing)


def sealed_by(database: sqlite3.Connection, path: str) -> SealedBy | None:
    """How a record is encrypted; None where it is not.

    Raises:
        RecordingBroken: its chain says nothing that makes sense.
    """
    try:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'chain'").fetchone():
            return None
        rows = database.execute("SELECT n, detail FROM chain WHERE kind IN ('begin', 'resume') ORDER BY n").fetchall()
        details = {n: json.loads(detail) for n, detail in rows}
        first = details.get(1, {})
        if "cipher" not in first:
            return None
        if first["cipher"] != CIPHER:
            raise RecordingBroken(
                path,
                Text("it is encrypted in a way that this program does not know", "加密方式未知，请使用更新的版本"),
            )
        runs = {n: bytes.fromhex(detail["salt"]) for n, detail in details.items()}
        return SealedBy(str(first["room"]), str(first["key"]), runs)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise RecordingBroken(path, str(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RecordingBroken(path, Text("its chain cannot be understood", "其哈希链无法识别")) from error


def content_of(path: str | Path, sealed: SealedBy | None, keys: KeySource | None) -> Content:
    """How to read a record's content; without its key it is unreadable.

    Args:
        path: of the record.
        sealed: how it is encrypted.
        keys: where its key may be; None looks beside the record only.

    Raises:
        KeysBroken: the key is there and cannot be unwrapped.
    """
    if sealed is None:
        return Content(path)
    key = (keys or KeyStore(Path(path).parent / FOLDER)).find(sealed.key)
    if key is None:
        return Content(path, missing=sealed.key)
    cipher = RoomCipher(key)
    for run, salt in sealed.runs.items():
        cipher.know(run, salt)
    return Content(path, cipher)
