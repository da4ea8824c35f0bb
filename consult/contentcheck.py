"""What a check of a record finds in its content: the laptop's signatures, the files, whether the key opens it."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from consult.errors import RecordingBroken
from consult.laptopwords import check_laptop_words
from consult.recordcontent import Content, content_of, sealed_by
from consult.roomfiles import RoomFiles
from consult.sealederrors import ContentBroken, KeysBroken
from diag.facts import Text

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from consult.recordcontent import SealedBy
    from consult.roomkeys import KeySource

__all__ = ["ContentCheck"]

_PIECE = 1 << 20


@dataclass
class ContentCheck:
    """One look at one record's content.

    Args:
        database: open, with bytes for texts.
        path: of the record.
        keys: where its key may be; None looks beside it.

    Attributes:
        faults: ``(code, text)`` as :class:`consult.recordcheck.Fault` has them.
        key: the fingerprint of the key that the content is encrypted with; empty where it is not.
        is_readable: it is not encrypted, or the key is there and opens every row.
        laptop, laptop_unsigned: who signed approvals and results, and how many nobody has.
        files, files_missing: files that stand beside the record as they were brought, or do not stand there.
    """

    database: sqlite3.Connection
    path: str
    keys: KeySource | None
    faults: list[tuple[str, Text]] = field(default_factory=list)
    key: str = ""
    is_readable: bool = True
    laptop: Counter[bytes] = field(default_factory=Counter)
    laptop_unsigned: int = 0
    files: int = 0
    files_missing: int = 0
    content: Content = field(init=False)

    def __post_init__(self) -> None:
        sealed: SealedBy | None = None
        try:
            sealed = sealed_by(self.database, self.path)
        except RecordingBroken as error:
            reason = error.reason if isinstance(error.reason, Text) else Text(error.reason, error.reason)
            self.faults.append(("layout", reason))
            self.is_readable = False
        self.key = sealed.key if sealed else ""
        try:
            self.content = content_of(self.path, sealed, self.keys)
        except KeysBroken:
            self.content = Content(self.path, missing=self.key)
        self.is_readable = self.is_readable and not self.content.missing

    def run(self) -> None:
        """Looks at all of it; at nothing where the key is missing."""
        if not self.is_readable:
            return
        try:
            self._open_blocks()
            documents = list(self._documents("agent"))
            events = list(self._events())
        except ContentBroken as error:
            text = Text(f"{error.place} is not what was encrypted there", f"{error.place} 不是加密时的内容")
            self.faults.append(("content", text))
            self.is_readable = False
            return
        told = check_laptop_words([(body,) for body in documents], events)
        self.faults += [("laptop", text) for text in told.faults]
        self.laptop, self.laptop_unsigned = told.signatures, told.unsigned
        self._check_files(events)

    def _open_blocks(self) -> None:
        if self.content.cipher is not None:
            for row in self.database.execute("SELECT stream, epoch, seq, t_us, data FROM block"):
                self.content.block(*row)

    def _documents(self, wanted: str) -> Iterator[bytes]:
        for ident, name, t_us, body in self.database.execute("SELECT id, name, t_us, body FROM document ORDER BY id"):
            text = self.content.document(ident, name.decode("utf-8", "surrogateescape"), t_us, body)
            if name == wanted.encode():
                yield _bytes(text)

    def _events(self) -> Iterator[tuple[int, bytes]]:
        for n, t_us, body in self.database.execute("SELECT n, t_us, body FROM event ORDER BY n"):
            yield n, _bytes(self.content.event(n, t_us, body))

    def _check_files(self, events: list[tuple[int, bytes]]) -> None:
        """Files that people brought stand in a folder beside the record; the event ``file`` has their SHA-256."""
        files = RoomFiles(Path(self.path).with_suffix(".files"), self.content.files)
        for n, body in events:
            name = _name_of_file(body) if b'"file"' in body else None
            if name is None:
                continue
            is_same = False
            try:
                if files.find(name) is None or (file := files.open(name)) is None:
                    self.files_missing += 1
                    continue
                with file:
                    digest = hashlib.sha256()
                    while piece := file.read(_PIECE):
                        digest.update(piece)
                is_same = digest.hexdigest() == name
            except ContentBroken:
                pass
            except OSError:
                self.files_missing += 1
                continue
            self.files += is_same
            if not is_same:
                text = Text(f"event {n}: the file beside it was changed", f"事件 {n}：旁边的文件已被修改")
                self.faults.append(("file", text))


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _name_of_file(body: bytes) -> str | None:
    """The SHA-256 that an event ``file`` names; None for any other event."""
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        return None
    name = event.get("id") if isinstance(event, dict) and event.get("kind") == "file" else None
    return name if isinstance(name, str) and re.fullmatch(r"[0-9a-f]{64}", name) else None
