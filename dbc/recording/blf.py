"""Vector BLF: binary logs of objects in deflated containers.

Frames of classic CAN and CAN FD and error frames are read, all of one kind at once; objects of other kinds are passed
over. Times are ns or tens of µs since the start that the header names. A file that was cut gives what is there.

The format is not published; the layouts were taken from what Vector's tools and python-can write.
"""

from __future__ import annotations

import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from mmap import mmap
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from dbc.errors import Phrase, RecordingBroken, RecordingTooLarge
from dbc.recording.containers import inflated_block
from dbc.recording.framecolumns import FrameColumns
from dbc.recording.lines import BadLine, Read
from dbc.recording.source import forget_pages
from dbc.table import BITRATE_SWITCH, CLASSIC_WIDTH, ERROR, ERROR_STATE, EXTENDED, FD, FD_WIDTH, REMOTE, TX, FrameTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "Part",
    "bad_objects",
    "first_part",
    "frames_of",
    "index_of",
    "is_blf",
    "narrowed",
    "objects_in",
    "parts_of",
    "read",
    "start_of",
    "stream_of",
    "unbroken",
]

_FILE: Final = struct.Struct("<4sLBBBBBBBBQQLL8H8H")
_BASE: Final = struct.Struct("<4sHHLL")
_CONTAINER: Final = struct.Struct("<H6xL4x")
_STORED, _DEFLATED = 0, 2
_CONTAINER_KIND: Final = 10
_MAX_INFLATED: Final = 4 << 30
_SLACK: Final = 8
_LIKELY_OBJECT: Final = 1 << 20
"""Of an object that is longer, what is not there yet is not waited for: no frame is."""
_FORGET_EVERY: Final = 256
_PYTHON_CAN: Final = 5
"""Application number under which python-can and we write; they give the start in UTC."""
_TENS_OF_US: Final = 1

_CLASSIC: Final = (1, 86)
_FD_KIND: Final = 100
_FD_64_KIND: Final = 101
_ERROR_KIND, _FD_ERROR_KIND = 73, 104
_NEEDS: Final = {1: 16, 86: 16, 2: 4, 73: 32, 104: 40, 100: 20, 101: 40}
_NEEDED: Final = np.array([_NEEDS.get(kind, 0) for kind in range(max(_NEEDS) + 2)], np.uint32)
_NARROW: Final = (101, 104)
"""Kinds whose channel is a byte."""
_HEAD_BYTES: Final = 32
_PADDING: Final = 128
_INFLATERS: Final = 2
"""Containers that are inflated at once."""
_BLOCK: Final = 1 << 14
"""Objects that are read at once: their columns stay in the cache."""
_MARK: Final = int.from_bytes(b"LOBJ", "little")
_U16, _U32, _U64 = np.dtype("<u2"), np.dtype("<u4"), np.dtype("<u8")


def is_blf(head: bytes) -> bool:
    """Whether a file begins as BLF."""
    return head.startswith(b"LOGG")


class Part(NamedTuple):
    """Some bytes of the file that hold objects, deflated or as they are.

    Args:
        begin: where they begin.
        end: behind them.
        inflated: bytes that they become; -1 for those that stand as they are.
        follows: what is before them in the stream of objects is before them in the file.
    """

    begin: int
    end: int
    inflated: int
    follows: bool = True


def parts_of(content: bytes | mmap, at: int, path: str, limit: int = _MAX_INFLATED) -> tuple[list[Part], bool]:
    """Where the objects are from a place on, and whether something is cut or damaged.

    Raises:
        RecordingTooLarge: they inflate to more than ``limit``.
    """
    parts: list[Part] = []
    total, cut, size = 0, False, len(content)
    follows, in_containers = True, False
    while at + _BASE.size <= size:
        mark, _, _, length, kind = _BASE.unpack_from(content, at)
        if mark != b"LOBJ" or length < _BASE.size:
            at = content.find(b"LOBJ", at + 1)
            cut, follows = True, False
            if at < 0:
                break
            continue
        end = at + length
        if end > size:
            cut = True
            # What claims to go beyond the file ends where something else begins.
            found = content.find(b"LOBJ", at + _BASE.size)
            end = found if found >= 0 else size
        if kind == _CONTAINER_KIND and at + _BASE.size + _CONTAINER.size <= size:
            method, inflated = _CONTAINER.unpack_from(content, at + _BASE.size)
            if total + inflated > limit:
                raise RecordingTooLarge(path, total + inflated, limit)
            begin = at + _BASE.size + _CONTAINER.size
            if method in {_DEFLATED, _STORED}:
                parts.append(Part(begin, end, inflated if method == _DEFLATED else -1, follows))
                total += inflated if method == _DEFLATED else 0
                follows = in_containers = True
            else:
                cut, follows = True, False
        elif kind != _CONTAINER_KIND:
            # An object beside containers: none of theirs goes on in it.
            parts.append(Part(at, end, -1, follows and not in_containers))
            follows = not in_containers
        at = end
        gap = content.find(b"LOBJ", at, at + _SLACK)
        at = gap if gap >= 0 else at
        if not len(parts) % _FORGET_EVERY and isinstance(content, mmap):
            forget_pages([content])
    return parts, cut


def stream_of(
    content: bytes | mmap, parts: Sequence[Part], before: NDArray[np.uint8] | None = None
) -> tuple[NDArray[np.uint8], int, list[int], bool]:
    """The objects of some parts, with some zeros behind them, and how many bytes they are.

    Then where objects cannot go on, and whether a part is cut or damaged.

    Args:
        content: the file.
        parts: of it.
        before: bytes that stand in front.
    """
    whole = memoryview(content)

    def inflated(part: Part) -> bytes | memoryview:
        if part.inflated < 0:
            return whole[part.begin : part.end]
        try:
            return inflated_block(whole[part.begin : part.end], part.inflated, may_be_cut=part.end == len(whole))
        except zlib.error:
            return b""

    end = 0 if before is None else len(before)
    breaks: list[int] = []
    cut = False
    out = np.zeros(end + sum(max(part.inflated, part.end - part.begin) for part in parts) + _PADDING, np.uint8)
    if before is not None:
        out[:end] = before
    # zlib lets others run meanwhile: two at once are nearly twice as fast.
    with ThreadPoolExecutor(_INFLATERS) as pool:
        for part, body in zip(parts, pool.map(inflated, parts), strict=True):
            if not part.follows:
                breaks.append(end)
            out[end : end + len(body)] = np.frombuffer(body, np.uint8)
            end += len(body)
            if len(body) != (part.end - part.begin if part.inflated < 0 else part.inflated):
                breaks.append(end)
                cut = True
    return out[: end + _PADDING], end, breaks, cut


def unbroken(raw: NDArray[np.uint8], at: NDArray[np.int64], breaks: Sequence[int]) -> NDArray[np.int64]:
    """Those of some objects that do not go on where they cannot."""
    if not len(breaks) or not len(at):
        return at
    ends = at + _numbers(raw, at, 8, _U32)
    places = np.unique(np.array(breaks, np.int64))
    inside = np.searchsorted(places, at, "right") < np.searchsorted(places, ends, "left")
    kept: NDArray[np.int64] = at[~inside]
    return kept


def _marks_in(raw: NDArray[np.uint8], offset: int) -> NDArray[np.int64]:
    """int64 (n,): where the mark of an object stands, so many bytes behind a multiple of 4."""
    words = raw[offset : offset + (len(raw) - offset) // 4 * 4].view(_U32)
    return np.flatnonzero(words == _MARK) * 4 + offset


def _numbers(raw: NDArray[np.uint8], at: NDArray[np.int64], offset: int, kind: np.dtype[Any]) -> NDArray[Any]:
    """(n,): one little-endian number so many bytes behind each place."""
    every: NDArray[Any] = np.ndarray((len(raw) - offset - kind.itemsize + 1,), kind, raw, offset, (1,))
    return every[at]


def _in_chain(raw: NDArray[np.uint8], at: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], bool] | None:
    """The objects at some marks and whether the last is cut; None unless each ends where the next begins."""
    at = at[at + _HEAD_BYTES <= size]
    if not len(at) or at[0] != 0:
        return None
    ends = at + _numbers(raw, at, 8, _U32)
    gaps = at[1:] - ends[:-1]
    if not bool(((gaps >= 0) & (gaps < _SLACK)).all()):
        return None
    whole = ends <= size
    if not whole.all():
        # What is cut goes to the end; where other objects begin inside, its length lies.
        is_end = raw[int(at[whole.argmin()]) + 4 : size].tobytes().find(b"LOBJ") < 0
        return (at[whole], True) if is_end else None
    # Objects may follow that do not begin at these places.
    return (at, False) if size - int(ends[-1]) < _HEAD_BYTES else None


def objects_in(
    raw: NDArray[np.uint8], size: int, *, ahead: int = 0, is_first: bool = True
) -> tuple[NDArray[np.int64], int, bool]:
    """The objects of some bytes of a stream.

    Args:
        raw: the bytes, with some zeros behind them.
        size: how many they are.
        ahead: bytes of the stream that follow; an object that goes on in them is left for when they have come.
        is_first: no bytes were before.

    Returns:
        int64 (n,), where they begin; where what is left begins, behind ``size`` when so much of what follows belongs
        to the last object; whether something between them was no object.
    """
    if size + ahead < _HEAD_BYTES and is_first:
        return np.empty(0, np.int64), size, bool(size)
    gap = 0 if is_first else raw[: _SLACK + 3].tobytes().find(b"LOBJ")
    if 0 <= gap < _SLACK and size - gap >= _HEAD_BYTES:
        part, length = raw[gap:], size - gap
        # Most writers begin every object at a multiple of 4.
        found = _in_chain(part, _marks_in(part, 0), length)
        if found is None:
            found = _in_chain(part, np.sort(np.concatenate([_marks_in(part, at) for at in range(4)])), length)
        if found is not None:
            at, is_open = found
            end = int(at[-1] + _numbers(part, at[-1:], 8, _U32)[0]) if len(at) else 0
            return at + gap, end + gap, is_open and not ahead
    return _one_by_one(raw[:size].tobytes(), ahead, is_first=is_first)


def _one_by_one(stream: bytes, ahead: int, *, is_first: bool) -> tuple[NDArray[np.int64], int, bool]:
    """The same where objects are damaged, or the mark stands inside some payload too: from one to the next."""
    places: list[int] = []
    size, total = len(stream), len(stream) + ahead
    last = total - _HEAD_BYTES
    here, broken, is_behind = 0, False, True
    while True:
        if is_behind and here <= last:
            reach = here + (4 if is_first and not here else _SLACK + 4)
            if reach > size and ahead:
                break
            broken = broken or stream.find(b"LOBJ", here, reach) < 0
        is_behind = False
        found = stream.find(b"LOBJ", here)
        if found < 0:
            # The mark itself may be cut.
            here = max(here, size - 3) if ahead else size
            break
        here = found
        if here > last or (here + _HEAD_BYTES > size and ahead):
            break
        length = int.from_bytes(stream[here + 8 : here + 12], "little")
        if length < _BASE.size or here + length > total:
            broken = True
            here += 4
            continue
        if here + length > size and length <= _LIKELY_OBJECT:
            break
        places.append(here)
        here += length
        if here > size:
            break
        is_behind = True
    return np.array(places, np.int64), here, broken or not (ahead or places or not is_first)


def _rows(raw: NDArray[np.uint8], at: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
    """uint8 (n, width): the bytes from some places on; ``raw`` is padded so that none ends outside."""
    every: NDArray[Any] = np.ndarray((len(raw) - width + 1,), f"V{width}", raw, 0, (1,))
    rows: NDArray[np.uint8] = every[at].view(np.uint8).reshape(-1, width)
    return rows


def _field(rows: NDArray[np.uint8], at: int, kind: np.dtype[Any]) -> NDArray[Any]:
    """(n,): one little-endian number of each row."""
    return rows[:, at : at + kind.itemsize].view(kind)[:, 0].copy()


def _payload(
    raw: NDArray[np.uint8], at: NDArray[np.int64], length: NDArray[np.int64], limit: NDArray[np.int64], width: int
) -> NDArray[np.uint8]:
    """uint8 (n, width): payloads; bytes outside their object are zero."""
    data = _rows(raw, at, width)
    used = np.minimum(length, limit - at)
    if (used < width).any():
        data[np.arange(width) >= used[:, None]] = 0
    return data


def _table(raw: NDArray[np.uint8], at: NDArray[np.int64], kind: int) -> tuple[FrameTable, NDArray[np.uint16]]:
    """The frames of all objects of one kind, their channel column empty, and their channel numbers."""
    head = _rows(raw, at, _HEAD_BYTES)
    stamp = _field(head, 24, _U64)
    tens = _field(head, 16, _U32) == _TENS_OF_US
    t_ns = np.minimum(stamp, np.uint64(1 << 62)).astype(np.int64)
    if tens.any():
        t_ns = np.where(tens, np.minimum(t_ns, 1 << 48) * 10_000, t_ns)
    body_at = at + _field(head, 4, _U16)
    end = at + _field(head, 8, _U32)
    body = _rows(raw, body_at, _NEEDS[kind])
    n, width = len(at), CLASSIC_WIDTH
    flags: NDArray[np.int64] = np.zeros(n, np.int64)
    ids: NDArray[np.uint32] = np.zeros(n, np.uint32)
    length: NDArray[np.int64] = np.zeros(n, np.int64)
    channel = body[:, 0].astype(np.uint16) if kind in _NARROW else _field(body, 0, _U16)
    if kind in _CLASSIC:
        marks, length, ids, place = body[:, 2], np.minimum(body[:, 3], 8).astype(np.int64), _field(body, 4, _U32), 8
        flags = (marks & 1) * TX | np.where(marks & 0x80, REMOTE, 0)
    elif kind == _FD_KIND:
        marks, fd, ids, place, width = body[:, 2], body[:, 13], _field(body, 4, _U32), 20, FD_WIDTH
        flags = (marks & 1) * TX | np.where(marks & 0x80, REMOTE, 0) | (fd & 1) * FD
        flags |= np.where(fd & 2, BITRATE_SWITCH, 0) | np.where(fd & 4, ERROR_STATE, 0)
        length = np.where(flags & REMOTE, np.minimum(body[:, 3], 8), np.minimum(body[:, 14], FD_WIDTH)).astype(np.int64)
    elif kind == _FD_64_KIND:
        words, ids, place, width = _field(body, 12, _U32), _field(body, 4, _U32), 40, FD_WIDTH
        flags = (body[:, 34] != 0).astype(np.int64) * TX
        flags |= np.where(words & 0x10, REMOTE, 0) | np.where(words & 0x1000, FD, 0)
        flags |= np.where(words & 0x2000, BITRATE_SWITCH, 0) | np.where(words & 0x4000, ERROR_STATE, 0)
        length = np.where(flags & REMOTE, np.minimum(body[:, 1], 8), np.minimum(body[:, 2], FD_WIDTH)).astype(np.int64)
        extra = at + body[:, 35]
        end = np.where((body[:, 35] > 0) & (extra < end), extra, end)
    else:
        flags, place = np.full(n, ERROR), 24
        if kind == _ERROR_KIND:
            length, ids = np.minimum(body[:, 10], 8).astype(np.int64), _field(body, 16, _U32)
    can_id = ids & np.uint32(0x1FFF_FFFF)
    extended = (ids >> np.uint32(31) > 0) | (can_id > 0x7FF)
    flags = flags | np.where(extended, EXTENDED, 0)
    data = _payload(raw, body_at + place, np.where(flags & REMOTE, 0, length), end, width)
    table = FrameTable(t_ns, can_id, flags.astype(np.uint8), np.zeros(n, np.uint8), length.astype(np.uint8), data)
    return table, channel


def frames_of(raw: NDArray[np.uint8], at: NDArray[np.int64]) -> tuple[FrameColumns, NDArray[np.uint16], int]:
    """The frames among the objects, in order, their channel numbers, and how many objects are too short for theirs."""
    kinds, head, size = _numbers(raw, at, 12, _U32), _numbers(raw, at, 4, _U16), _numbers(raw, at, 8, _U32)
    needs = _NEEDED[np.minimum(kinds, len(_NEEDED) - 1)]
    fits = (needs > 0) & (head >= _HEAD_BYTES) & (head + needs <= size)
    n = int(np.count_nonzero(fits))
    row_of = np.cumsum(fits) - 1
    columns, numbers = FrameColumns(n), np.empty(n, np.uint16)
    for kind in _NEEDS:
        which = np.flatnonzero(fits & (kinds == kind))
        for begin in range(0, len(which), _BLOCK):
            some = which[begin : begin + _BLOCK]
            # All of one kind need no scattering.
            rows = slice(begin, begin + len(some)) if len(which) == n else row_of[some]
            table, numbers[rows] = _table(raw, at[some], kind)
            columns.put(rows, table)
    return columns, numbers, int(np.count_nonzero(needs)) - n


def index_of(known: NDArray[np.intp]) -> NDArray[np.uint8]:
    """uint8 (65536,): the index of each bus by its number, in the order of the numbers."""
    index = np.zeros(1 << 16, np.uint8)
    index[known] = np.minimum(np.arange(len(known)), 255)
    return index


def first_part(content: bytes | mmap, path: str) -> int:
    """Where the objects begin, by the file's header.

    Raises:
        RecordingBroken: it is cut.
    """
    if len(content) < _FILE.size:
        raise RecordingBroken(path, Phrase("byte 0", "第 0 字节"), Phrase("the header is cut", "文件头不完整"))
    return max(int(_FILE.unpack_from(content)[1]), _FILE.size)


def narrowed(table: FrameTable) -> FrameTable:
    """The same frames, their payloads no wider than they have to be."""
    if table.width == FD_WIDTH and not (table.length > CLASSIC_WIDTH).any():
        return replace(table, data=np.ascontiguousarray(table.data[:, :CLASSIC_WIDTH]))
    return table


def start_of(content: bytes | mmap) -> tuple[int | None, str | None]:
    """The start: ns in UTC from python-can's writer and ours, a date without zone from others."""
    header = _FILE.unpack_from(content)
    year, month, _, day, hour, minute, second, millisecond = header[14:22]
    try:
        start = datetime(year, month, day, hour, minute, second, millisecond * 1000, tzinfo=UTC)
    except ValueError:
        return None, None
    if header[2] == _PYTHON_CAN:
        return int(start.timestamp()) * 1_000_000_000 + millisecond * 1_000_000, None
    return None, start.replace(tzinfo=None).isoformat(sep=" ", timespec="milliseconds")


def bad_objects(count: int, short: int, *, is_cut: bool, is_broken: bool) -> list[BadLine]:
    """What was amiss with so many objects."""
    return [
        BadLine(count + 1, Phrase(en, zh))
        for wrong, en, zh in (
            (is_cut, "a container is cut or damaged", "数据容器不完整或已损坏"),
            (is_broken, "bytes that are no object", "存在无法识别的字节"),
            (bool(short), f"{short} frames shorter than their kind", f"{short} 个报文对象过短"),
        )
        if wrong
    ]


def read(content: bytes, path: str) -> Read:
    """Reads a whole file.

    Raises:
        RecordingBroken: its header is damaged.
        RecordingTooLarge: its containers inflate to too much.
    """
    parts, damaged = parts_of(content, first_part(content, path), path)
    raw, length, breaks, cut = stream_of(content, parts)
    found, _, broken = objects_in(raw, length)
    at = unbroken(raw, found, breaks)
    cut = cut or damaged or len(at) < len(found)
    columns, numbers, short = frames_of(raw, at)
    start_ns, local = start_of(content)
    bad = bad_objects(len(at), short, is_cut=cut, is_broken=broken)
    count = cut + broken + short
    used = np.zeros(1 << 16, np.bool_)
    used[numbers] = True
    known = np.flatnonzero(used)
    table = columns.table()
    table.channel[:] = index_of(known)[numbers]
    names = tuple(str(number) for number in known[:256].tolist())
    return Read(narrowed(table), names, bad, count, start_ns=start_ns, local_start=local)
