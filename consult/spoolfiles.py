"""The spool's files: what was measured, on the laptop's disk before it goes out, so that no power cut loses it.

A folder holds segments ``00000001.seg``, ``00000002.seg`` …: eight bytes of magic, then records of ``u32 length``,
``u32 crc32`` and one block as it goes over the wire, which names its stream, epoch and number itself. A record cut
short at the end of a segment is what a killed program leaves; it is dropped. A segment goes when all of it is
acknowledged.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from typing import TYPE_CHECKING, Final

from consult.errors import BlockBroken
from consult.rawframes import parse_raw_head
from consult.wire import MAX_BLOCK_BYTES, RAW, kind_of, parse_head

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from consult.wire import BlockHead

__all__ = ["MAX_SPOOL_BYTES", "SegmentFiles"]

MAX_SPOOL_BYTES: Final = 2_000_000_000
_SEGMENT_BYTES: Final = 4_000_000
_MAGIC: Final = b"HZSPOOL1"
_RECORD: Final = struct.Struct("<II")
_RETRY_BYTES: Final = 1_000_000
"""After the disk refused, this much goes by before it is tried again."""


class SegmentFiles:
    """Blocks on disk by place (segment number and offset in one integer, never 0).

    Args:
        folder: made if absent.
        max_bytes: :attr:`is_overfull` beyond it.

    Raises:
        OSError: the folder cannot be made or read.
    """

    def __init__(self, folder: Path, *, max_bytes: int = MAX_SPOOL_BYTES, segment_bytes: int = _SEGMENT_BYTES) -> None:
        self.folder = folder
        self.damaged = 0
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._sizes: dict[int, int] = {}
        self._newest = 0
        self._writer: int | None = None
        self._readers: dict[int, int] = {}
        self._refused_bytes = 0
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def load(self) -> Iterator[tuple[int, BlockHead, int]]:
        """``(place, head, size)`` of everything that is there, oldest first. Once, before anything is appended."""
        for path in sorted(self.folder.glob("*.seg")):
            if not path.stem.isdecimal():
                continue
            number = int(path.stem)
            data = path.read_bytes()
            at = len(_MAGIC)
            if not data.startswith(_MAGIC):
                self.damaged += 1
                at = len(data)
            while at + _RECORD.size <= len(data):
                length, crc = _RECORD.unpack_from(data, at)
                block = data[at + _RECORD.size : at + _RECORD.size + length]
                head = _head_of(block) if length <= MAX_BLOCK_BYTES else None
                if len(block) != length or zlib.crc32(block) != crc or head is None:
                    break
                yield number << 32 | at, head, length
                at += _RECORD.size + length
            self.damaged += at < len(data)
            self._sizes[number] = len(data)
            self._newest = max(self._newest, number)

    @property
    def total_bytes(self) -> int:
        """What all segments take."""
        return sum(self._sizes.values())

    @property
    def is_overfull(self) -> bool:
        """More than allowed; the oldest segment has to go."""
        return self.total_bytes > self._max_bytes and len(self._sizes) > 1

    @property
    def segments(self) -> list[int]:
        """Their numbers, oldest first."""
        return sorted(self._sizes)

    def append(self, block: bytes) -> int:
        """Writes a block and returns its place; it survives the program, and after :meth:`sync` the machine too.

        Raises:
            OSError: the disk is full or gone. Nothing half-written stays, and the next megabyte is refused untried.
        """
        if self._refused_bytes > 0:
            self._refused_bytes -= len(block)
            raise OSError("the disk refused just now")
        try:
            return self._append(block)
        except OSError:
            self._refused_bytes = _RETRY_BYTES
            self._close_writer()
            raise

    def _append(self, block: bytes) -> int:
        if self._writer is None or self._sizes[self._newest] > self._segment_bytes:
            self._close_writer()
            number = self._newest + 1
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_BINARY", 0)
            self._writer = os.open(self._path(number), flags, 0o600)
            self._newest, self._sizes[number] = number, 0
            self._write(_MAGIC)
        at = self._sizes[self._newest]
        self._write(_RECORD.pack(len(block), zlib.crc32(block)) + block)
        return self._newest << 32 | at

    def _write(self, data: bytes) -> None:
        if self._writer is None:
            raise OSError("no segment is open")
        before = self._sizes[self._newest]
        written = 0
        try:
            while written < len(data):
                written += os.write(self._writer, data[written:])
        except OSError:
            if written:
                os.ftruncate(self._writer, before)
            raise
        self._sizes[self._newest] = before + len(data)

    def read(self, place: int) -> bytes | None:
        """The block at a place; None when it is not there any more or was damaged."""
        number, at = place >> 32, place & 0xFFFFFFFF
        try:
            reader = self._readers.get(number)
            if reader is None:
                if len(self._readers) > 4:
                    os.close(self._readers.pop(next(iter(self._readers))))
                reader = self._readers[number] = os.open(self._path(number), os.O_RDONLY | getattr(os, "O_BINARY", 0))
            os.lseek(reader, at, os.SEEK_SET)
            length, crc = _RECORD.unpack(os.read(reader, _RECORD.size))
            block = os.read(reader, length)
        except (OSError, struct.error):
            return None
        return block if len(block) == length and zlib.crc32(block) == crc else None

    def drop(self, number: int) -> None:
        """Deletes a segment."""
        if number == self._newest:
            self._close_writer()
        if (reader := self._readers.pop(number, None)) is not None:
            os.close(reader)
        self._sizes.pop(number, None)
        with contextlib.suppress(OSError):
            self._path(number).unlink()

    def sync(self) -> None:
        """Waits until what was written is on the disk itself; may run in a thread.

        Raises:
            OSError: the disk says that it is not.
        """
        writer = self._writer
        if writer is None:
            return
        copy = os.dup(writer)
        try:
            os.fsync(copy)
        finally:
            os.close(copy)

    def close(self) -> None:
        """Closes all files."""
        self._close_writer()
        for reader in self._readers.values():
            os.close(reader)
        self._readers.clear()

    def _close_writer(self) -> None:
        if self._writer is not None:
            os.close(self._writer)
            self._writer = None

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08}.seg"


def _head_of(block: bytes) -> BlockHead | None:
    try:
        return parse_raw_head(block) if kind_of(block) == RAW else parse_head(block)
    except BlockBroken:
        return None
