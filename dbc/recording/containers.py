"""Compressed recordings: gzip, and zip archives with one or several files. Everything that inflates is bounded."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from io import BytesIO
from typing import TYPE_CHECKING, Final, NamedTuple

from dbc.errors import Phrase, RecordingBroken, RecordingTooLarge

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Inflated", "inflated", "is_gzip", "is_zip", "members"]

_PIECE: Final = 1 << 20
_MOST_MEMBERS: Final = 1000
_GZIP_WINDOW: Final = 31
_ENCRYPTED: Final = 0x1


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
            infos = [info for info in archive.infolist() if not info.is_dir()]
            infos = [info for info in infos if not info.filename.startswith("__MACOSX/")]
            if len(infos) > _MOST_MEMBERS:
                reason = Phrase(f"{len(infos)} files in it", f"包含 {len(infos)} 个文件")
                raise RecordingBroken(path, place, reason)
            for info in sorted(infos, key=lambda info: info.filename):
                if info.flag_bits & _ENCRYPTED:
                    reason = Phrase(f"{info.filename} needs a password", f"{info.filename} 需要密码")
                    raise RecordingBroken(path, place, reason)
                with archive.open(info) as file:
                    data = file.read(max_bytes - total + 1)
                total += len(data)
                if total > max_bytes:
                    raise RecordingTooLarge(path, total, max_bytes)
                yield info.filename, data
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, NotImplementedError, ValueError) as exc:
        reason = Phrase(f"damaged ({exc})", f"已损坏（{exc}）")
        raise RecordingBroken(path, place, reason) from exc
