"""Compressed recordings: gzip, and zip archives with one or several files. Everything that inflates is bounded."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple

from dbc.errors import Phrase, RecordingBroken, RecordingTooLarge

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "DAMAGED_ZIP",
    "GzipReader",
    "Inflated",
    "entries",
    "inflated",
    "inflated_block",
    "is_gzip",
    "is_zip",
    "members",
]

_PIECE: Final = 1 << 20
_MOST_MEMBERS: Final = 1000
_GZIP_WINDOW: Final = 31
_ENCRYPTED: Final = 0x1
DAMAGED_ZIP: Final = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    OSError,
    EOFError,
    NotImplementedError,  # a compression that zipfile does not know
    ValueError,
)
"""What reading a damaged archive may raise."""


class Inflated(NamedTuple):
    """What came out of a compressed file, and whether its end was missing."""

    content: bytes
    cut: bool


def is_gzip(head: bytes) -> bool:
    """Whether a file begins as gzip."""
    return head.startswith(b"\x1f\x8b\x08")


def is_zip(head: bytes) -> bool:
    """Whether a file begins as a zip archive."""
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def inflated(content: bytes, path: str, max_bytes: int) -> Inflated:
    """A gzip file's content, of all its parts; a cut one gives what is there.

    Raises:
        RecordingBroken: nothing of it can be inflated.
        RecordingTooLarge: above ``max_bytes``.
    """
    parts: list[bytes] = []
    total = 0
    rest = content
    while is_gzip(rest):
        stream = zlib.decompressobj(_GZIP_WINDOW)
        while not stream.eof:
            try:
                piece = stream.decompress(rest, _PIECE)
            except zlib.error as exc:
                if not parts:
                    reason = Phrase(f"compressed data is damaged ({exc})", f"压缩数据已损坏（{exc}）")
                    raise RecordingBroken(path, Phrase("as gzip", "gzip 解压"), reason) from exc
                return Inflated(b"".join(parts), cut=True)
            rest = stream.unconsumed_tail
            total += len(piece)
            if total > max_bytes:
                raise RecordingTooLarge(path, total, max_bytes)
            if piece:
                parts.append(piece)
            elif not rest and not stream.eof:
                return Inflated(b"".join(parts), cut=True)
        rest = stream.unused_data.lstrip(b"\0")
    return Inflated(b"".join(parts), cut=False)


def inflated_block(content: bytes | memoryview, size: int, *, may_be_cut: bool = False) -> bytes:
    """What a deflated block becomes, its checksum verified.

    Args:
        content: the block.
        size: bytes that it must become.
        may_be_cut: the file ends in it; then what there is counts.

    Raises:
        zlib.error: damaged, or of another size.
    """
    inflater = zlib.decompressobj()
    # A limit of 0 would mean none at all.
    out = inflater.decompress(content, max(size, 1))
    # The checksum stands behind the last byte, and is not looked at before.
    more = b"" if inflater.eof else inflater.decompress(inflater.unconsumed_tail, 1)
    if more or len(out) > size or (inflater.eof and len(out) != size):
        raise zlib.error("another size than announced")
    if not inflater.eof and not may_be_cut:
        raise zlib.error("its end is missing")
    return out


class GzipReader:
    """The content of a gzip file, of all its parts, as it is asked for; of a cut or damaged one what is there.

    Args:
        file: to read from; must seek.
        path: names it in errors.
    """

    def __init__(self, file: BinaryIO, path: str) -> None:
        self.is_cut = False
        self._file, self._path = file, path
        self._at = 0
        self._start()

    def _start(self) -> None:
        self._file.seek(0)
        self._stream: Any = zlib.decompressobj(_GZIP_WINDOW)
        self._raw = b""
        self._ended = False
        self._at = 0

    def seek(self, at: int, /) -> int:
        """Goes to a place of the content, back only by inflating from the beginning."""
        if at < self._at:
            self._start()
        while self._at < at and self.read(min(at - self._at, _PIECE)):
            pass
        return self._at

    def read(self, size: int, /) -> bytes:
        """So many bytes, fewer at the end.

        Raises:
            RecordingBroken: nothing at all can be inflated.
        """
        parts: list[bytes] = []
        left = size
        while left > 0 and not self._ended:
            piece = self._some(left)
            parts.append(piece)
            left -= len(piece)
        out = b"".join(parts)
        self._at += len(out)
        return out

    def _some(self, size: int) -> bytes:
        if self._stream.eof:
            rest = (self._stream.unused_data or self._file.read(_PIECE)).lstrip(b"\0")
            if not is_gzip(rest + self._file.read(4 - len(rest)) if 0 < len(rest) < 4 else rest):
                self._ended = True
                return b""
            self._stream, self._raw = zlib.decompressobj(_GZIP_WINDOW), rest
        if not self._raw:
            self._raw = self._file.read(_PIECE)
        try:
            out: bytes = self._stream.decompress(self._raw, size)
        except zlib.error as exc:
            if not self._at:
                reason = Phrase(f"compressed data is damaged ({exc})", f"压缩数据已损坏（{exc}）")
                raise RecordingBroken(self._path, Phrase("as gzip", "gzip 解压"), reason) from exc
            self.is_cut = self._ended = True
            return b""
        if not out and not self._raw and not self._stream.eof:
            self.is_cut = self._ended = True
        self._raw = self._stream.unconsumed_tail
        return out


_FRAMES: Final = "frames.log"
_OF_A_BUNDLE: Final = frozenset({"manifest.json", "signature.json", _FRAMES})


def entries(archive: zipfile.ZipFile, path: str) -> list[zipfile.ZipInfo]:
    """The files of an archive by name; folders and macOS's shadows left out.

    Raises:
        RecordingBroken: encrypted, or too many.
    """
    place = Phrase("as zip", "zip 解压")
    infos = [info for info in archive.infolist() if not info.is_dir()]
    infos = [info for info in infos if not info.filename.startswith("__MACOSX/")]
    names = {info.filename for info in infos}
    if names >= _OF_A_BUNDLE:  # a session bundle: the rest is no recording and does not claim to be one
        infos = [info for info in infos if info.filename == _FRAMES]
    if len(infos) > _MOST_MEMBERS:
        reason = Phrase(f"{len(infos)} files in it", f"包含 {len(infos)} 个文件")
        raise RecordingBroken(path, place, reason)
    for info in infos:
        if info.flag_bits & _ENCRYPTED:
            reason = Phrase(f"{info.filename} needs a password", f"{info.filename} 需要密码")
            raise RecordingBroken(path, place, reason)
    return sorted(infos, key=lambda info: info.filename)


def members(content: bytes, path: str, max_bytes: int) -> Iterator[tuple[str, bytes]]:
    """The files of a zip archive by name, in the order of their names; folders and macOS's shadows left out.

    Raises:
        RecordingBroken: damaged or encrypted.
        RecordingTooLarge: more than ``max_bytes`` in all.
    """
    place = Phrase("as zip", "zip 解压")
    total = 0
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            for info in entries(archive, path):
                with archive.open(info) as file:
                    data = file.read(max_bytes - total + 1)
                total += len(data)
                if total > max_bytes:
                    raise RecordingTooLarge(path, total, max_bytes)
                yield info.filename, data
    except DAMAGED_ZIP as exc:
        reason = Phrase(f"damaged ({exc})", f"已损坏（{exc}）")
        raise RecordingBroken(path, place, reason) from exc
