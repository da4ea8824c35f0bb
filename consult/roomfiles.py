"""Files that people bring into a room: photos, logs, a bundle. Named by their SHA-256, bounded, typed by content.

They stand in a folder beside the room's journal. An upload that was cut leaves ``SHA256.part`` and goes on at its end.
Where the room is encrypted they are, too, piece by piece as they came, under names that need the room's key: see
:mod:`consult.roomcipher`.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from consult.errors import TooMuch, UploadBroken
from consult.roomcipher import FILE_MAGIC, FileCipher, Wrong
from consult.roomkeys import shred
from consult.sealederrors import ContentBroken
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

__all__ = ["MAX_FILE_BYTES", "FileKind", "RoomFiles", "SealedFile", "kind_of_file"]

MAX_FILE_BYTES: Final = 64_000_000
MAX_ROOM_BYTES: Final = 512_000_000
MAX_ROOM_FILES: Final = 200
_PIECE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class FileKind:
    """What a file is.

    Args:
        media_type: as HTTP says it; never one that a browser would run.
        is_open: everybody in the room may have it; else only who may see the VIN, which logs and bundles hold.
    """

    media_type: str
    endings: tuple[str, ...]
    is_open: bool


_PNG: Final = FileKind("image/png", (".png",), is_open=True)
_JPEG: Final = FileKind("image/jpeg", (".jpg", ".jpeg"), is_open=True)
_BUNDLE: Final = FileKind("application/octet-stream", (".hzb",), is_open=False)
_LOG: Final = FileKind("text/plain", (".log", ".txt", ".csv", ".asc", ".trc"), is_open=False)


def kind_of_file(file: BinaryIO, name: str) -> FileKind:
    """What a file is, by its content; its name's ending has to fit.

    Raises:
        UploadBroken: it is none of the kinds that a room takes, or another than it is called.
    """
    file.seek(0)
    first = file.read(_PIECE)
    if first.startswith(b"\x89PNG\r\n\x1a\n"):
        kind = _PNG
    elif first.startswith(b"\xff\xd8\xff"):
        kind = _JPEG
    elif zipfile.is_zipfile(file):
        kind = _BUNDLE
    elif b"\0" not in first and _is_text(first):
        kind = _LOG
    else:
        raise UploadBroken(Text("no picture, log or bundle", "不是图片、日志或会话包"))
    if not name.lower().endswith(kind.endings):
        raise UploadBroken(Text("its name says that it is something else", "文件名与内容不符"))
    return kind


def _is_text(data: bytes) -> bool:
    for encoding in ("utf-8", "gb18030"):
        try:
            data[: len(data) - 4 if len(data) == _PIECE else None].decode(encoding)
        except UnicodeDecodeError:
            continue
        return True
    return False


def _check_hash(file: BinaryIO, sha256: str) -> None:
    digest = hashlib.sha256()
    file.seek(0)
    while piece := file.read(_PIECE):
        digest.update(piece)
    if digest.hexdigest() != sha256:
        raise UploadBroken(Text("its content has another hash", "内容与哈希值不符"))


class SealedFile(io.RawIOBase):
    """An encrypted file as its content, from any place on. What a killed service left half written is not counted.

    Raises:
        ContentBroken: by reading, where a piece is not what was encrypted there.
    """

    def __init__(self, path: Path, cipher: FileCipher, sha256: str) -> None:
        self._path = path
        self._cipher = cipher
        self._sha256 = sha256
        self._file = path.open("rb")
        self._starts: list[int] = []
        self._pieces: list[tuple[int, int, bytes]] = []
        self._at = 0
        self.bytes, self.whole_to = self._index()
        """Of the content, and of the stored file up to the last whole piece."""
        self._piece: tuple[int, bytes] = (-1, b"")

    def _index(self) -> tuple[int, int]:
        end = self._file.seek(0, io.SEEK_END)
        self._file.seek(0)
        if self._file.read(len(FILE_MAGIC)) != FILE_MAGIC:
            return 0, 0
        content, at = 0, len(FILE_MAGIC)
        while head := FileCipher.parse_head(self._file.read(FileCipher.HEAD_BYTES)):
            length, nonce = head
            at += FileCipher.HEAD_BYTES
            if at + length > end:
                return content, at - FileCipher.HEAD_BYTES
            self._starts.append(content)
            self._pieces.append((at, length, nonce))
            content += length - FileCipher.TAG_BYTES
            at = self._file.seek(length, io.SEEK_CUR)
        return content, at

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """To a place in the content."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.bytes}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """The place in the content."""
        return self._at

    def readinto(self, buffer: memoryview | bytearray) -> int:  # type: ignore[override]  # io calls it so
        """The next bytes, at most to the end of a piece."""
        if self._at >= self.bytes:
            return 0
        number = bisect_right(self._starts, self._at) - 1
        if self._piece[0] != number:
            self._piece = (number, self._opened(number))
        data = self._piece[1][self._at - self._starts[number] :][: len(buffer)]
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _opened(self, number: int) -> bytes:
        at, length, nonce = self._pieces[number]
        self._file.seek(at)
        try:
            return self._cipher.open(self._sha256, self._starts[number], nonce, self._file.read(length))
        except Wrong as error:
            raise ContentBroken(str(self._path), f"byte {self._starts[number]}") from error

    def close(self) -> None:
        """Ends the use of the file."""
        if not self.closed:
            self._file.close()
        super().close()


class RoomFiles:
    """One room's folder. Every method may run in a thread; the caller lets only one at a time.

    Args:
        folder: made with the first file.
        cipher: of an encrypted room.
    """

    def __init__(self, folder: Path, cipher: FileCipher | None = None) -> None:
        self._folder = folder
        self._cipher = cipher
        self._have: dict[str, int] = {}
        """Bytes of the uploads that this object has looked at; it is made anew for every request."""

    def _name(self, sha256: str) -> str:
        return sha256 if self._cipher is None else self._cipher.name(sha256)

    def _part(self, sha256: str) -> Path:
        return self._folder / f"{self._name(sha256)}.part"

    def find(self, sha256: str) -> Path | None:
        """A whole file, as it is stored."""
        path = self._folder / self._name(sha256)
        return path if path.is_file() else None

    def open(self, sha256: str) -> BinaryIO | None:
        """A whole file's content; its size is where its end is. None where there is no such file.

        Raises:
            UploadBroken: the disk refuses.
        """
        path = self.find(sha256)
        try:
            return None if path is None else self._opened(path, sha256)
        except OSError as error:
            raise UploadBroken(error.strerror or str(error)) from error

    def _opened(self, path: Path, sha256: str) -> BinaryIO:
        if self._cipher is None:
            return path.open("rb")
        return cast("BinaryIO", io.BufferedReader(SealedFile(path, self._cipher, sha256), _PIECE))

    def take_in(self, path: Path, sha256: str) -> Path:
        """Takes a file that the service itself made, a recording of a call, whose hash is known; moves it here.

        Raises:
            OSError: the disk refuses.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        target = self._folder / self._name(sha256)
        if self._cipher is None:
            return path.replace(target)
        self._have.pop(sha256, None)
        self._part(sha256).unlink(missing_ok=True)
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                self.append(sha256, piece)
        self._part(sha256).replace(target)
        shred(path)
        return target

    def offset(self, sha256: str) -> int:
        """How much of an upload is here; half a piece that a killed service left is taken away.

        Raises:
            UploadBroken: the disk refuses.
        """
        part = self._part(sha256)
        try:
            if not part.is_file():
                return 0
            if self._cipher is None:
                return part.stat().st_size
            with SealedFile(part, self._cipher, sha256) as sealed:
                content, whole_to = sealed.bytes, sealed.whole_to
            if whole_to < part.stat().st_size:
                with part.open("r+b") as file:
                    file.truncate(whole_to)
        except OSError as error:
            raise UploadBroken(error.strerror or str(error)) from error
        return content

    def take_back(self, sha256: str) -> int:
        """How much of an upload is here, after making one again of a file that is whole.

        Raises:
            UploadBroken: the disk refuses.
        """
        whole = self.find(sha256)
        if whole is not None:
            try:
                whole.replace(self._part(sha256))
            except OSError as error:
                raise UploadBroken(error.strerror or str(error)) from error
        return self.offset(sha256)

    def begin(self, sha256: str, size: int, apart: Collection[str] = ()) -> None:
        """Makes room for a file. ``apart``: files that the service made, which do not count.

        Raises:
            TooMuch: it, or all files of the room together, would be too large or too many.
            UploadBroken: the disk refuses.
        """
        if not 0 < size <= MAX_FILE_BYTES:
            raise TooMuch(Text("bytes of a file", "文件字节数"), f"{MAX_FILE_BYTES // 1_000_000} MB")
        own, uncounted = self._name(sha256), {self._name(one) for one in apart}
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            others = [
                path.stat().st_size
                for path in self._folder.iterdir()
                if not path.name.startswith(own) and path.name not in uncounted
            ]
        except OSError as error:
            raise UploadBroken(error.strerror or str(error)) from error
        if len(others) >= MAX_ROOM_FILES or sum(others) + size > MAX_ROOM_BYTES:
            raise TooMuch(Text("files in the room", "会诊室文件"), f"{MAX_ROOM_BYTES // 1_000_000} MB")

    def append(self, sha256: str, data: bytes) -> None:
        """The next bytes of an upload.

        Raises:
            UploadBroken: the disk refuses.
        """
        stored = data
        try:
            part = self._part(sha256)
            have = self._have.pop(sha256, None) if self._cipher is not None else 0
            if have is None:
                have = self.offset(sha256)
            if self._cipher is not None:
                begin = b"" if part.is_file() and part.stat().st_size else FILE_MAGIC
                stored = begin + self._cipher.seal(sha256, have, data)
            part.touch(mode=0o600)
            with part.open("ab") as file:
                file.write(stored)
            self._have[sha256] = have + len(data)
        except OSError as error:
            raise UploadBroken(error.strerror or str(error)) from error

    def finish(self, sha256: str, name: str) -> tuple[Path, FileKind]:
        """The upload is whole: it becomes a file.

        Raises:
            UploadBroken: its content has another hash, or is nothing that a room takes. It is deleted.
        """
        part = self._part(sha256)
        self._have.pop(sha256, None)
        try:
            with self._opened(part, sha256) as file:
                _check_hash(file, sha256)
                kind = kind_of_file(file, name)
            return part.replace(self._folder / self._name(sha256)), kind
        except (UploadBroken, ContentBroken):
            part.unlink(missing_ok=True)
            raise
        except OSError as error:
            raise UploadBroken(error.strerror or str(error)) from error
