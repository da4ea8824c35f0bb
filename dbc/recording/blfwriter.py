"""Frames written as Vector BLF: objects in deflated containers, times in ns since a start in whole ms."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np

from dbc.table import BITRATE_SWITCH, ERROR, ERROR_STATE, EXTENDED, FD, REMOTE, TX

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from dbc.table import FrameTable

__all__ = ["BlfSpan", "write_blf"]

_FILE: Final = struct.Struct("<4sLBBBBBBBBQQLL8H8H")
_HEADER_SIZE: Final = 144
_CONTAINER: Final = struct.Struct("<4sHHLLH6xL4x")
_CONTAINER_SIZE: Final = 128 * 1024
_CONTAINER_KIND, _DEFLATED = 10, 2
_UTC_WRITER, _OTHER_WRITER = 5, 0
_ROWS: Final = 1 << 17
_LEVEL: Final = 3
"""Of deflation: a third of the time of the usual 6 for a few percent more bytes."""
_EXTENDED_BIT: Final = np.uint32(1 << 31)
_FD_LENGTHS: Final = np.array([*range(9), 12, 16, 20, 24, 32, 48, 64])

_HEAD: Final = [
    ("mark", "S4"),
    ("head_size", "<u2"),
    ("head_version", "<u2"),
    ("size", "<u4"),
    ("kind", "<u4"),
    ("unit", "<u4"),
    ("client", "<u2"),
    ("version", "<u2"),
    ("stamp", "<u8"),
]
_CLASSIC: Final = np.dtype(
    [*_HEAD, ("channel", "<u2"), ("flags", "u1"), ("dlc", "u1"), ("id", "<u4"), ("data", "u1", (8,))]
)
_FD: Final = np.dtype(
    [
        *_HEAD,
        ("channel", "<u2"),
        ("flags", "u1"),
        ("dlc", "u1"),
        ("id", "<u4"),
        ("duration", "<u4"),
        ("bits", "u1"),
        ("fd", "u1"),
        ("valid", "u1"),
        ("pad", "u1", (5,)),
        ("data", "u1", (64,)),
    ]
)
_ERROR: Final = np.dtype(
    [
        *_HEAD,
        ("channel", "<u2"),
        ("length", "<u2"),
        ("flags", "<u4"),
        ("ecc", "u1"),
        ("position", "u1"),
        ("dlc", "u1"),
        ("pad", "u1"),
        ("duration", "<u4"),
        ("id", "<u4"),
        ("more", "<u2"),
        ("pad2", "<u2"),
        ("data", "u1", (8,)),
    ]
)


def _filled(kind: np.dtype[Any], number: int, table: FrameTable, channels: NDArray[Any], shift_ns: int) -> NDArray[Any]:
    """Objects of one kind with what all kinds share."""
    out = np.zeros(len(table), kind)
    out["mark"], out["head_size"], out["head_version"] = b"LOBJ", 32, 1
    out["size"], out["kind"], out["unit"] = kind.itemsize, number, 2
    out["stamp"] = (table.t_ns + shift_ns).astype(np.uint64)
    out["channel"] = channels[table.channel]
    extended = (table.flags & EXTENDED).astype(np.uint32) * _EXTENDED_BIT
    out["id"] = table.can_id | extended
    return out


def _objects(table: FrameTable, channels: NDArray[Any], shift_ns: int) -> bytes:
    """The objects of some frames in their order."""
    error, fd = (table.flags & ERROR) != 0, (table.flags & FD) != 0
    kinds = np.where(error, 2, np.where(fd, 1, 0))
    sizes = np.array([_CLASSIC.itemsize, _FD.itemsize, _ERROR.itemsize])[kinds]
    begins = np.cumsum(sizes) - sizes
    out = np.zeros(int(sizes.sum()), np.uint8)
    for kind, (layout, number) in enumerate(((_CLASSIC, 1), (_FD, 100), (_ERROR, 73))):
        which = np.flatnonzero(kinds == kind)
        if not len(which):
            continue
        part = table[which]
        objects = _filled(layout, number, part, channels, shift_ns)
        marks = np.where(part.flags & TX, 1, 0) | np.where(part.flags & REMOTE, 0x80, 0)
        if layout is _FD:
            objects["flags"], objects["valid"] = marks, part.length
            objects["dlc"] = np.searchsorted(_FD_LENGTHS, part.length)
            switched, passive = part.flags & BITRATE_SWITCH != 0, part.flags & ERROR_STATE != 0
            objects["fd"] = 1 | switched * 2 | passive * 4
            objects["data"][:, : part.width] = part.data
        else:
            objects["dlc"] = part.length
            objects["data"] = part.data[:, :8]
            if layout is _CLASSIC:
                objects["flags"] = marks
        flat = objects.view(np.uint8).reshape(len(part), layout.itemsize)
        out[begins[which][:, None] + np.arange(layout.itemsize)] = flat
    return out.tobytes()


def _system_time(start: datetime | None) -> tuple[int, ...]:
    if start is None:
        return (0,) * 8
    date = (start.year, start.month, start.isoweekday() % 7, start.day)
    return (*date, start.hour, start.minute, start.second, start.microsecond // 1000)


@dataclass(frozen=True, slots=True)
class BlfSpan:
    """When a file begins and ends.

    Args:
        start_ns: UTC of time 0, whole ms.
        local: time 0 by a clock without a zone, where UTC is not known.
        last_ns: of the newest frame since time 0.
    """

    start_ns: int | None
    local: datetime | None
    last_ns: int


def write_blf(
    out: BinaryIO, pieces: Iterable[FrameTable], numbers: Sequence[int], shift_ns: int, span: BlfSpan
) -> None:
    """Writes a whole file.

    Args:
        out: to write to; must seek.
        pieces: the frames.
        numbers: of the channels, from 1.
        shift_ns: what to add to the frames' times, after which none is negative.
        span: when it begins and ends.
    """
    start = span.local
    if span.start_ns is not None:
        start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=span.start_ns // 1000)
    last = start + timedelta(microseconds=span.last_ns // 1000) if start else start
    channels = np.array([*numbers, *([1] * (256 - len(numbers)))], np.uint16)
    out.write(bytes(_HEADER_SIZE))
    containers = _Containers(out)
    frames = 0
    for piece in pieces:
        for at in range(0, len(piece), _ROWS):
            containers.add(_objects(piece[at : at + _ROWS], channels, shift_ns))
        frames += len(piece)
    containers.finish()
    writer = _OTHER_WRITER if span.start_ns is None and span.local is not None else _UTC_WRITER
    facts = (b"LOGG", _HEADER_SIZE, writer, 0, 0, 0, 2, 6, 8, 1, containers.written, containers.inflated, frames, 0)
    out.seek(0)
    out.write(_FILE.pack(*facts, *_system_time(start), *_system_time(last)))


class _Containers:
    """Objects put into deflated containers of one size."""

    def __init__(self, out: BinaryIO) -> None:
        self.inflated = self.written = _HEADER_SIZE
        self._out = out
        self._waiting = b""

    def add(self, objects: bytes) -> None:
        """Takes objects; writes what fills containers."""
        waiting = memoryview(self._waiting + objects)
        while len(waiting) >= _CONTAINER_SIZE:
            self._write(waiting[:_CONTAINER_SIZE])
            waiting = waiting[_CONTAINER_SIZE:]
        self._waiting = bytes(waiting)

    def finish(self) -> None:
        """Writes what is left."""
        if self._waiting:
            self._write(memoryview(self._waiting))

    def _write(self, piece: memoryview) -> None:
        body = zlib.compress(piece, _LEVEL)
        size = _CONTAINER.size + len(body)
        # The readers pad by the size's rest of 4, not to a multiple of 4.
        padding = bytes(size % 4)
        head = _CONTAINER.pack(b"LOBJ", 16, 1, size, _CONTAINER_KIND, _DEFLATED, len(piece))
        self._out.write(head + body + padding)
        self.written += size + len(padding)
        self.inflated += _CONTAINER.size + len(piece)
