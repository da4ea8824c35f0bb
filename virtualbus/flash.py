"""The program memory of an ECU: erase, download, check, and start of what was written.

An image carries the ECU's name, version and, for a BMS, the cell type it was built for, and a checksum over all of it.
An ECU whose memory was erased and not written again stays in its boot program: it answers diagnostics and does not run.

Standard: ISO 14229-1:2020 §14 (34 to 37) and Annex F (FF00, FF01; clauses unverified).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final

__all__ = ["BASE", "BLOCK", "SIZE", "Flash", "Image", "make_image", "read_image"]

BASE: Final = 0x0800_0000
SIZE: Final = 0x1_0000
BLOCK: Final = 0x0102
"""maxNumberOfBlockLength: 256 bytes of data, service and counter."""

_MAGIC: Final = b"HZSW"
_HEAD: Final = 32


@dataclass(frozen=True, slots=True)
class Image:
    """A program: for whom, which version, built for which cells (empty but for a BMS)."""

    ecu: str
    version: str
    cell: str = ""


def make_image(image: Image, size: int = 2048) -> bytes:
    """The bytes of an image, with its checksum in the last four."""
    head = _MAGIC + image.ecu.encode().ljust(8, b"\0") + image.version.encode().ljust(8, b"\0")
    head += image.cell.encode().ljust(_HEAD - len(head), b"\0")
    body = bytes(7 * number & 0xFF for number in range(size - _HEAD - 4))
    return head + body + zlib.crc32(head + body).to_bytes(4, "big")


def read_image(data: bytes) -> Image | None:
    """What an image says; None when it is none, or damaged."""
    if len(data) < _HEAD + 4 or data[:4] != _MAGIC or zlib.crc32(data[:-4]).to_bytes(4, "big") != data[-4:]:
        return None
    parts = data[4:12], data[12:20], data[20:_HEAD]
    return Image(*(part.rstrip(b"\0").decode("ascii", "replace") for part in parts))


class Flash:
    """Erased bytes read FF and are written once."""

    def __init__(self) -> None:
        self._bytes = bytearray(b"\xff" * SIZE)
        self._written = 0
        self._area: tuple[int, int] | None = None
        self._at = 0
        self._counter = 0
        self._last = b""
        self.is_erased = False

    def erase(self) -> None:
        """Everything goes."""
        self._bytes = bytearray(b"\xff" * SIZE)
        self._written = 0
        self.is_erased = True
        self._area = None

    def begin(self, address: int, size: int) -> bool:
        """A download to this area begins; False when it cannot be taken."""
        start = address - BASE
        if not self.is_erased or start != 0 or not 0 < size <= SIZE:
            return False
        self._area, self._at, self._counter, self._last = (start, start + size), start, 0, b""
        return True

    @property
    def is_taking(self) -> bool:
        """Between the beginning and the end of a download."""
        return self._area is not None

    def take(self, counter: int, data: bytes) -> int | None:
        """One block. Returns None when taken, or the negative response code."""
        if self._area is None:
            return 0x24
        if counter == self._counter and self._last and data == self._last:
            return None  # the same block again: its answer was lost
        if counter != self._counter + 1 & 0xFF:
            return 0x73
        if not data or len(data) > BLOCK - 2:
            return 0x13
        if self._at + len(data) > self._area[1]:
            return 0x71
        self._bytes[self._at : self._at + len(data)] = data
        self._at += len(data)
        self._counter, self._last = counter, data
        return None

    def finish(self) -> bool:
        """The download ends; False when bytes are missing."""
        if self._area is None or self._at != self._area[1]:
            return False
        self._written = self._at
        self._area = None
        return True

    def program(self) -> Image | None:
        """What was written, when it is a program."""
        return read_image(bytes(self._bytes[: self._written]))
