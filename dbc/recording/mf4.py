"""ASAM MDF 4 bus logging: CAN frames out of ``.mf4`` files, as loggers write them.

Sorted and unsorted files, payloads of fixed and of variable length, deflated and transposed blocks, and files that
their logger could not finish (``UnFinMF``: counts and lengths are 0, everything is read to the end).

Standard: ASAM MDF 4.1 and its bus logging annex.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbc.errors import NotARecording, Phrase, RecordingBroken
from dbc.recording import asam
from dbc.recording.framecolumns import FrameColumns
from dbc.recording.lines import BadLine, Read
from dbc.recording.mdf import Beyond, Damaged, File
from dbc.recording.mf4records import Records
from dbc.recording.ordering import merged_by_time
from dbc.recording.unsorted import Walk
from dbc.table import (
    BITRATE_SWITCH,
    CLASSIC_WIDTH,
    ERROR,
    ERROR_STATE,
    EXTENDED,
    FD,
    FD_WIDTH,
    REMOTE,
    TX,
    FrameTable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from mmap import mmap

    from numpy.typing import NDArray

    from dbc.recording.mdf import Block, Channel, Group

__all__ = ["ROOM", "Mf4Source", "is_mf4", "read"]

_START: Final = struct.Struct("<QhhB")
_GROUP_NAMES: Final = (("CAN_DataFrame", 0), ("CAN_RemoteFrame", REMOTE), ("CAN_ErrorFrame", ERROR))
_BITS: Final = (("IDE", EXTENDED), ("EDL", FD), ("BRS", BITRATE_SWITCH), ("ESI", ERROR_STATE), ("Dir", TX))
_FD_BY_DLC: Final = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64], np.int64)
_LARGEST_RECORD: Final = 1 << 16
_LOCAL_TIME: Final = 0x01
_MAXIMUM_LENGTH: Final = 5
_MOST_INFLATED: Final = 64 << 30
"""Bytes that the blocks of a file read piece by piece may inflate to, on disk."""
_FURTHEST: Final = np.uint64(1 << 62)
_BLOCK: Final = 1 << 14
"""Records that are read at once: their columns stay in the cache."""
ROOM: Final = _LARGEST_RECORD + FD_WIDTH
"""Bytes behind a stream that rows may reach into."""
_KEPT: Final = np.array([(1 << 8 * n) - 1 for n in range(CLASSIC_WIDTH + 1)], np.uint64)
"""Keeps the first so many bytes of a word."""


def is_mf4(head: bytes) -> bool:
    """Whether a file begins as MDF, finished or not."""
    return head.startswith((b"MDF     ", b"UnFinMF"))


class _Values:
    """Values of variable length, by the offset that records refer to them with.

    Most often each record has its own value, and both stand in the same order: then nothing is worked out but what the
    records that are read now mean.

    Args:
        content: uint8, with room behind the last value.
        heads: int64 (n,), so many bytes before each value in ``content``, which begins with its length in four bytes.
        shift: how many.
    """

    def __init__(self, content: NDArray[np.uint8], heads: NDArray[np.int64], shift: int) -> None:
        self.content = content
        self._heads = heads
        self._shift = shift
        self._next = (0, 0)
        self._all: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None

    def _sizes(self, heads: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64 (n,): bytes of the values."""
        lengths: NDArray[Any] = np.ndarray(
            (len(self.content) - 3 - self._shift,), "<u4", self.content, self._shift, (1,)
        )
        sizes: NDArray[np.int64] = lengths[heads].astype(np.int64)
        return sizes

    def rows(
        self, offsets: NDArray[np.int64], first: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]:
        """uint8 (n, 8 or 64) payloads, int64 (n,) lengths, and which offsets lead to a value.

        Args:
            offsets: int64 (n,).
            first: number of the first record that these belong to, a guess at which value they mean.
        """
        n = len(offsets)
        if not len(self._heads):
            return np.zeros((n, 8), np.uint8), np.zeros(n, np.int64), np.zeros(n, np.bool_)
        found = self._in_order(offsets, first) if self._next[0] == first else None
        heads, size, known = found or self._looked_up(offsets)
        known &= size <= FD_WIDTH
        size = np.minimum(size, FD_WIDTH)
        width = CLASSIC_WIDTH if int(size.max(initial=0)) <= CLASSIC_WIDTH else FD_WIDTH
        return _first_bytes(_rows(self.content, heads + (self._shift + 4), width), size), size, known

    def _in_order(
        self, offsets: NDArray[np.int64], first: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]] | None:
        """The values that follow those that were read last; None when the offsets mean others."""
        n = len(offsets)
        heads = self._heads[first : first + n]
        if len(heads) < n:
            return None
        sizes = self._sizes(heads)
        ends = np.cumsum(sizes + 4)
        ends += self._next[1]
        if int(offsets[0]) != self._next[1] or not np.array_equal(offsets[1:], ends[:-1]):
            return None
        self._next = (first + n, int(ends[-1]))
        return heads, sizes, np.ones(n, np.bool_)

    def _looked_up(self, offsets: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """The values that offsets in any order mean."""
        if self._all is None:
            sizes = self._sizes(self._heads)
            self._all = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes + 4)[:-1]]), sizes
        all_offsets, sizes = self._all
        which = np.minimum(np.searchsorted(all_offsets, offsets), len(all_offsets) - 1)
        known = all_offsets[which] == offsets
        return self._heads[which], np.where(known, sizes[which], 0), known


def _rows(content: NDArray[np.uint8], at: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
    """uint8 (n, width): the bytes from each place on."""
    every: NDArray[Any] = np.ndarray((len(content) - width + 1,), f"V{width}", content, 0, (1,))
    rows: NDArray[np.uint8] = every[at].view(np.uint8).reshape(-1, width)
    return rows


def _first_bytes(data: NDArray[np.uint8], size: NDArray[np.integer]) -> NDArray[np.uint8]:
    """The rows of ``data`` with zeros behind their first so many bytes."""
    if data.shape[1] != CLASSIC_WIDTH:
        return np.where(np.arange(data.shape[1]) < size[:, None], data, 0).astype(np.uint8)
    if (size >= CLASSIC_WIDTH).all():
        return data
    words = np.ascontiguousarray(data).view(np.dtype("<u8"))[:, 0] & _KEPT[np.minimum(size, CLASSIC_WIDTH)]
    kept: NDArray[np.uint8] = words.astype("<u8").view(np.uint8).reshape(-1, CLASSIC_WIDTH)
    return kept


def _values_from_stream(content: NDArray[np.uint8]) -> _Values:
    """Values of an SD block: each with its length in four bytes before it; the block with room behind it."""
    stream = content.data[: len(content) - ROOM]
    # Most often all values are equally long.
    size = int.from_bytes(stream[:4], "little")
    step = size + 4
    if len(stream) >= 4 and len(stream) % step == 0:
        heads = np.ascontiguousarray(content[: len(stream)].reshape(-1, step)[:, :4]).view(np.dtype("<u4"))[:, 0]
        if (heads == size).all():
            return _Values(content, np.arange(len(heads), dtype=np.int64) * step, 0)
    places: list[int] = []
    at = 0
    while at + 4 <= len(stream):
        size = int.from_bytes(stream[at : at + 4], "little")
        if at + 4 + size > len(stream):
            break
        places.append(at)
        at += 4 + size
    return _Values(content, np.array(places, np.int64), 0)


class _Even:
    """Places at equal distances, which need no memory."""

    def __init__(self, count: int, step: int) -> None:
        self._count, self._step = count, step

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, rows: slice) -> NDArray[np.int64]:
        begin, end, _ = rows.indices(self._count)
        return np.arange(begin, end, dtype=np.int64) * self._step


class _Sorted:
    """The records of one data group, sorted out by their group."""

    def __init__(
        self, file: File, content: NDArray[np.uint8], id_size: int, groups: Sequence[Group], *, room: int = ROOM
    ) -> None:
        self.file = file
        self.content = content
        self._has_room = room > 0
        length = len(content) - room
        self.fixed: dict[int, tuple[NDArray[np.int64] | _Even, int]] = {}
        self.values: dict[int, _Values] = {}
        self.rest = 0
        if id_size == 0:
            group = groups[0]
            count = length // group.size if group.size else 0
            if not file.unfinished:
                count = min(count, group.cycles)
            self.fixed[group.address] = _Even(count, group.size), 0
        else:
            self._sort_out(length, id_size, groups)

    def _sort_out(self, length: int, id_size: int, groups: Sequence[Group]) -> None:
        """Walks through records that carry the number of their group."""
        sizes = {group.record_id: None if group.variable else group.size for group in groups}
        walk = Walk(self.content, length, id_size, sizes)
        if walk.unknown is not None and not self.file.unfinished:
            unknown = walk.unknown
            raise self.file.broken(walk.end, f"unknown record number {unknown}", f"未知的记录号 {unknown}")
        self.rest = length - walk.end
        for group in groups:
            starts, shift = walk.found(group.record_id)
            if group.variable:
                self.values[group.address] = _Values(self.content, starts, shift)
            else:
                self.fixed[group.address] = starts, shift

    def places(self, group: Group) -> tuple[NDArray[np.int64] | _Even, int]:
        """int64 (n,) or as good as it: places, each so many bytes before one of the group's records."""
        found = self.fixed.get(group.address)
        if found is None:
            raise Damaged("a group of frames without records of fixed length", "报文组没有定长记录")
        return found

    def records(self, group: Group, starts: NDArray[np.int64]) -> Records:
        """Some of the group's records."""
        if self._has_room or not len(starts):
            return Records(self.content, starts, group.size)
        # Where nothing may be read behind the last record, they are copied to where it may.
        begin, end = int(starts[0]), int(starts[-1]) + group.size
        copied = np.zeros(end - begin + ROOM, np.uint8)
        copied[: end - begin] = self.content[begin:end]
        return Records(copied, starts - begin, group.size)


def _frames(file: File, records: _Sorted, group: Group, name: str, flag: int) -> tuple[FrameTable, int]:
    """The frames of one group, and how many records led nowhere."""
    starts, shift = records.places(group)
    columns, known = FrameColumns(len(starts)), np.ones(len(starts), np.bool_)
    for first in range(0, len(starts), _BLOCK):
        some = records.records(group, starts[first : first + _BLOCK] + shift)
        rows = slice(first, first + len(some))
        table, known[rows] = _some_frames(file, records, (group, name, flag), some, first)
        columns.put(rows, table)
    table = columns.table()
    return (table if known.all() else table[known]), len(known) - int(np.count_nonzero(known))


def _some_frames(
    file: File, records: _Sorted, wanted_group: tuple[Group, str, int], some: Records, first: int
) -> tuple[FrameTable, NDArray[np.bool_]]:
    """The frames of some records of a group, and which of these led to a payload."""
    group, name, flag = wanted_group
    channels = group.channels
    time = next((channel for channel in channels.values() if channel.kind == 2), None)
    if time is None:
        raise Damaged("a group without time", "通道组没有时间")

    def optional(part: str) -> NDArray[np.uint64] | None:
        channel = channels.get(f"{name}.{part}")
        return None if channel is None or channel.kind != 0 else some.integers(channel)

    n = len(some)
    flags = np.full(n, flag, np.uint8)
    for part, bit in _BITS:
        column = optional(part)
        if column is not None:
            flags |= (column != 0).view(np.uint8) * np.uint8(bit)
    ids = optional("ID")
    if ids is None:
        ids = np.zeros(n, np.uint64)
    can_id = ids.astype(np.uint32)
    flags |= (can_id >> np.uint32(31)).astype(np.uint8) * np.uint8(EXTENDED)
    can_id &= np.uint32(0x1FFF_FFFF)
    flags |= (can_id > 0x7FF).view(np.uint8) * np.uint8(EXTENDED)
    wanted = _announced(optional("DataLength"), optional("DLC"), flags, is_remote=bool(flag & REMOTE))
    most = FD_WIDTH if wanted is None else int(wanted.max(initial=0))
    data, stored, known = _payload(file, records, some, channels.get(f"{name}.DataBytes"), first, most)
    if wanted is None:
        wanted = stored
    if flag & REMOTE:
        wanted = np.minimum(wanted, 8)
        known[:] = True
        data = np.zeros((n, CLASSIC_WIDTH), np.uint8)
    else:
        wanted = np.minimum(wanted, stored)
        data = _first_bytes(data, wanted)
    bus = optional("BusChannel")
    channel = np.zeros(n, np.uint8) if bus is None else np.minimum(bus, np.uint64(255)).astype(np.uint8)
    return FrameTable(some.times(time), can_id, flags, channel, wanted.astype(np.uint8), data), known


def _announced(
    length: NDArray[np.uint64] | None, dlc: NDArray[np.uint64] | None, flags: NDArray[np.uint8], *, is_remote: bool
) -> NDArray[np.int64] | None:
    """int64 (n,): how many bytes the records say that their frames have; None where they say nothing."""
    if is_remote and dlc is not None:
        return np.minimum(dlc, np.uint64(CLASSIC_WIDTH)).astype(np.int64)
    if length is not None:
        return np.minimum(length, np.uint64(FD_WIDTH)).astype(np.int64)
    if dlc is None:
        return None
    classic = np.minimum(dlc, np.uint64(8)).astype(np.int64)
    return np.where(flags & FD, _FD_BY_DLC[(dlc & np.uint64(15)).astype(np.intp)], classic)


def _payload(
    file: File, records: _Sorted, some: Records, channel: Channel | None, first: int, most: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]:
    """uint8 (n, 8 or 64) payloads, int64 (n,) stored lengths, and which records have one.

    Args:
        file: the file.
        records: all of the group.
        some: those that are read now.
        channel: the payload's.
        first: number of the first of them.
        most: bytes of the longest frame among them; of a payload of fixed length no more is read.
    """
    n = len(some)
    if channel is None:
        return np.zeros((n, CLASSIC_WIDTH), np.uint8), np.zeros(n, np.int64), np.ones(n, np.bool_)
    if channel.kind == 1:
        values = records.values.get(channel.data)
        if values is None:
            values = records.values[channel.data] = _values_from_stream(file.stream(channel.data, room=ROOM))
        return values.rows(np.minimum(some.integers(replace(channel, data_type=0)), _FURTHEST).astype(np.int64), first)
    if channel.kind == _MAXIMUM_LENGTH:
        raise Beyond("payloads of maximum length")
    if channel.kind != 0 or channel.bit_offset:
        raise Damaged(f"a payload of kind {channel.kind}", f"数据通道类型 {channel.kind}")
    size = min(channel.bit_count // 8, FD_WIDTH)
    read = min(size, most)
    data = some.bytes(channel.byte_offset, read, CLASSIC_WIDTH if read <= CLASSIC_WIDTH else FD_WIDTH)
    return data, np.full(n, size, np.int64), np.ones(n, np.bool_)


def _start_ns(file: File, header: Block) -> int:
    """UTC in ns of time 0."""
    start_ns, zone_min, summer_min, time_flags = file.unpack(_START, header)
    return start_ns - (zone_min + summer_min) * 60_000_000_000 if time_flags & _LOCAL_TIME else start_ns


class _FrameGroups:
    """The groups of frames of a file, and what was amiss with them.

    Args:
        file: the file.
        copies_less: looks into blocks where they stand, at the cost of a copy of each few records.

    Raises:
        NotARecording: there are none.
    """

    def __init__(self, file: File, *, copies_less: bool = False) -> None:
        header = file.block(64, "HD")
        self.start_ns = _start_ns(file, header)
        self.found: list[tuple[_Sorted, tuple[Group, str, int]]] = []
        self.lost = 0
        self._cut: list[BadLine] = []
        can_groups = 0
        for _, data_group in file.chain(file.link(header, 0), "DG"):
            groups = file.groups(data_group)
            wanted = [
                (g, name, flag)
                for g in groups
                for name, flag in _GROUP_NAMES
                if f"{name}.BusChannel" in g.channels or name in g.channels
            ]
            can_groups += len(wanted)
            if not wanted or not file.link(data_group, 2):
                continue
            id_size = file.content[data_group.start] if data_group.start < data_group.end else 0
            if id_size not in {0, 1, 2, 4, 8} or any(group.size > _LARGEST_RECORD for group in groups):
                raise Damaged("records of an impossible size", "记录长度不可能")
            link = file.link(data_group, 2)
            plain = file.plain(link) if copies_less and not id_size else None
            if plain is not None:
                records = _Sorted(file, plain, id_size, groups, room=0)
            else:
                records = _Sorted(file, file.stream(link, room=ROOM), id_size, groups)
            self.found += [(records, each) for each in wanted]
            if records.rest:
                total = sum(len(starts) for starts, _ in records.fixed.values())
                self._cut.append(BadLine(total + 1, Phrase("the last record is cut", "最后一条记录不完整")))
        if not can_groups:
            raise NotARecording(file.path, Phrase("an MDF file without CAN frames", "MDF 文件中没有 CAN 报文"))

    def outcome(self, table: FrameTable, most_channel: int) -> Read:
        """What is known of the file, with these frames."""
        bad = self._cut.copy()
        if self.lost:
            text = Phrase(f"{self.lost} records without their payload", f"{self.lost} 条记录缺少数据")
            bad.append(BadLine(0, text))
        names = tuple(str(number) for number in range(most_channel + 1))
        return Read(table, names, bad, self.lost + len(self._cut), start_ns=self.start_ns)


def _read(file: File) -> Read:
    groups = _FrameGroups(file)
    tables: list[FrameTable] = []
    for records, wanted in groups.found:
        table, without = _frames(file, records, *wanted)
        groups.lost += without
        tables.append(table)
    tables = [table for table in tables if len(table)] or [FrameTable.empty()]
    table = FrameTable.concat(tables).by_time() if len(tables) != 1 else tables[0]
    return groups.outcome(table, int(table.channel.max(initial=0)) if len(table) else -1)


class Mf4Source:
    """The frames of one file, block by block; those of several groups by time.

    Args:
        content: the whole file.
        path: names it in errors.
    """

    name = "mf4"
    wraps = 0

    def __init__(self, content: mmap, path: str) -> None:
        self._map, self._path = content, path
        self._content = memoryview(content)
        self.maps: Sequence[mmap] = [content]
        self._read = Read(FrameTable.empty(), ())

    def tables(self) -> Iterator[FrameTable]:
        """The frames of a single group in its order, of several by time.

        Raises:
            RecordingBroken: damaged.
            NotARecording: sound, but without CAN frames.
            LibraryMissing: it uses parts of the standard that are left to asammdf, which is not installed.
        """
        try:
            yield from self._tables()
        except Damaged as exc:
            raise RecordingBroken(self._path, Phrase("in its layout", "记录布局"), exc.reason) from exc
        except Beyond as exc:
            self._read = asam.read(bytes(self._content), self._path, str(exc))
            yield self._read.table

    def _tables(self) -> Iterator[FrameTable]:
        file = File(self._content, self._path, most=_MOST_INFLATED)
        file.maps.append(self._map)
        self.maps = file.maps
        groups = _FrameGroups(file, copies_less=True)
        filled = [found for found in groups.found if len(found[0].places(found[1][0])[0])]
        streams = [_blocks(file, groups, *found) for found in filled]
        most_channel = -1
        for table in streams[0] if len(streams) == 1 else merged_by_time(streams):
            most_channel = max(most_channel, int(table.channel.max(initial=0)))
            yield table
        self._read = groups.outcome(FrameTable.empty(), most_channel)

    def outcome(self) -> Read:
        """Start, buses, and what was cut."""
        return replace(self._read, table=FrameTable.empty())


def _blocks(file: File, groups: _FrameGroups, records: _Sorted, wanted: tuple[Group, str, int]) -> Iterator[FrameTable]:
    """The frames of one group, some at a time."""
    starts, shift = records.places(wanted[0])
    for first in range(0, len(starts), _BLOCK):
        some = records.records(wanted[0], starts[first : first + _BLOCK] + shift)
        table, known = _some_frames(file, records, wanted, some, first)
        if not known.all():
            groups.lost += len(known) - int(np.count_nonzero(known))
            table = table[known]
        if len(table):
            yield table


def read(content: bytes | memoryview, path: str, *, room: int = 0) -> Read:
    """Reads a whole file.

    Args:
        content: the file's bytes; with :data:`ROOM` more behind them a long file is not copied.
        path: names it in errors.
        room: how many bytes at the end of ``content`` are no part of the file.

    Raises:
        RecordingBroken: damaged.
        NotARecording: sound, but without CAN frames.
        LibraryMissing: it uses parts of the standard that are left to asammdf, which is not installed.
    """
    try:
        return _read(File(content, path, room=room))
    except Damaged as exc:
        raise RecordingBroken(path, Phrase("in its layout", "记录布局"), exc.reason) from exc
    except Beyond as exc:
        return asam.read(bytes(content[: len(content) - room]), path, str(exc))
