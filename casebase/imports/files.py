"""Rows of the files that people have: plain, gzip or a zip with one file, in UTF-8 or what older systems wrote."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import zipfile
import zlib
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from casebase.errors import ImportUnreadable
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["cells", "decoded", "digest_of", "heading_of", "opened", "raw_lines", "read_csv", "read_lines"]

_LONGEST_FIELD: Final = 1 << 22
_LONGEST_LINE: Final = 1 << 24
_OLDER: Final = ("gb18030", "cp1252")
_LOOKED_AT: Final = 1 << 20


def digest_of(path: Path) -> str:
    """SHA-256 of a file, hex.

    Raises:
        ImportUnreadable: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ImportUnreadable(str(path), error.strerror or str(error)) from error


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, unpacked where it is packed.

    Raises:
        ImportUnreadable: it cannot be read, or is packed badly.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
            file.seek(0)
            if magic[:2] == b"\x1f\x8b":
                with gzip.open(file) as unpacked:
                    yield cast("BinaryIO", unpacked)
            elif magic == b"PK\x03\x04":
                with zipfile.ZipFile(file) as packed:
                    inside = [info for info in packed.infolist() if not info.is_dir()]
                    if len(inside) != 1:
                        raise ImportUnreadable(str(path), Text("it holds several files", "压缩包内有多个文件"))
                    with packed.open(inside[0]) as member:
                        yield cast("BinaryIO", member)
            else:
                yield file
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ImportUnreadable(str(path), getattr(error, "strerror", None) or str(error)) from error


def encoding_of(data: bytes) -> str:
    """UTF-8 where it is; else GB 18030 where that gives Chinese; else Windows-1252.

    Args:
        data: the beginning of a file.
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start >= len(data) - 3:
            return "utf-8-sig"
        try:
            text = data[: error.start + 4096].decode("gb18030", "strict" if len(data) < _LOOKED_AT else "ignore")
        except UnicodeDecodeError:
            return "cp1252"
        han = sum("\u4e00" <= char <= "\u9fff" for char in text)
        return "gb18030" if han >= 2 else "cp1252"
    return "utf-8-sig"


def read_csv(file: BinaryIO, delimiter: str | None = None) -> Iterator[list[str] | Text]:
    """Records of a CSV file, or why one is none; the first is the heading.

    Args:
        file: its bytes.
        delimiter: None takes the one of ``,``, ``;`` and tab that the heading has most of.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    buffered = io.BufferedReader(cast("io.RawIOBase", file), _LOOKED_AT)
    text = io.TextIOWrapper(buffered, encoding=encoding_of(buffered.peek(_LOOKED_AT)), errors="replace", newline="")
    try:
        first = text.readline(_LONGEST_LINE)
        mark = delimiter or max(",;\t", key=first.count)
        records = csv.reader(_again(first, text), delimiter=mark)
        while True:
            try:
                yield next(records)
            except StopIteration:
                return
            except csv.Error as error:
                yield Text(f"not a record: {error}", f"无法解析的行：{error}")
    finally:
        with suppress(ValueError):  # whoever opened the file closes it, and may have done so
            text.detach()
            buffered.detach()


def _again(first: str, rest: io.TextIOWrapper) -> Iterator[str]:
    yield first
    yield from rest


def read_lines(file: BinaryIO) -> Iterator[str]:
    """Lines without their ends, each decoded as UTF-8 or, where it is none, as what older systems wrote."""
    return map(decoded, raw_lines(file))


def raw_lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines as the file has them."""
    while line := file.readline(_LONGEST_LINE):
        yield line


def decoded(line: bytes) -> str:
    """A line's text without its end."""
    cut = line.rstrip(b"\r\n")
    try:
        return cut.decode("utf-8-sig")
    except UnicodeDecodeError:
        return cut.decode("cp1252", "replace")


def heading_of(records: Iterator[list[str] | Text], path: str) -> list[str]:
    """The names of the columns.

    Raises:
        ImportUnreadable: the first record is none.
    """
    first = next(records, [])
    if isinstance(first, Text):
        raise ImportUnreadable(path, first)
    return [name.strip() for name in first]


def cells(record: Sequence[str], count: int) -> list[str]:
    """The first fields of a record without blanks around them, empty ones where it is short."""
    return [*(field.strip() for field in record[:count]), *[""] * (count - len(record))]
