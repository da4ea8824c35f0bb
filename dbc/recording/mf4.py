"""ASAM MDF 4 bus logging: CAN frames out of ``.mf4`` files, as loggers write them.

Sorted and unsorted files, payloads of fixed and of variable length, deflated and transposed blocks, and files that
their logger could not finish (``UnFinMF``: counts and lengths are 0, everything is read to the end).

Standard: ASAM MDF 4.1 and its bus logging annex.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from dbc.errors import NotARecording, Phrase, RecordingBroken
from dbc.recording import asam
from dbc.recording.framecolumns import FrameColumns
from dbc.recording.lines import BadLine, Read
from dbc.recording.mdf import Beyond, Damaged, File
from dbc.recording.mf4records import Records
from dbc.recording.mf4values import Values, first_bytes, value_places
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
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dbc.recording.mdf import Block, Channel, Group
    from dbc.recording.mf4values import PayloadsOf

__all__ = [
    "BLOCK",
    "ROOM",
    "DataGroup",
    "Wanted",
    "frames_of",
    "groups_of",
    "is_mf4",
    "offsets_of",
    "read",
    "read_of",
]

_START: Final = struct.Struct("<QhhB")
_GROUP_NAMES: Final = (("CAN_DataFrame", 0), ("CAN_RemoteFrame", REMOTE), ("CAN_ErrorFrame", ERROR))
_BITS: Final = (("IDE", EXTENDED), ("EDL", FD), ("BRS", BITRATE_SWITCH), ("ESI", ERROR_STATE), ("Dir", TX))
_FD_BY_DLC: Final = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64], np.int64)
_LARGEST_RECORD: Final = 1 << 16
_LOCAL_TIME: Final = 0x01
_MAXIMUM_LENGTH: Final = 5
_FURTHEST: Final = np.uint64(1 << 62)
BLOCK: Final = 1 << 14
"""Records that are read at once: their columns stay in the cache."""
ROOM: Final = _LARGEST_RECORD + FD_WIDTH
"""Bytes behind a stream that rows may reach into."""


def is_mf4(head: bytes) -> bool:
    """Whether a file begins as MDF, finished or not."""
    return head.startswith((b"MDF     ", b"UnFinMF"))


class Wanted(NamedTuple):
    """A group of frames.

    Args:
        name: what its channels' names begin with.
        flag: what its frames are: 0, REMOTE, ERROR.
    """

    group: Group
    name: str
    flag: int

    @property
    def payload(self) -> Channel | None:
        """The channel of its payloads."""
        return self.group.channels.get(f"{self.name}.DataBytes")


class DataGroup(NamedTuple):
    """A data group with frames.

    Args:
        link: to its records.
        id_size: bytes of the number in front of each record, 0 where all are of one group.
        groups: all of its groups.
        wanted: those of frames.
    """

    link: int
    id_size: int
    groups: Sequence[Group]
    wanted: Sequence[Wanted]


class _Sorted:
    """The records of one data group, sorted out by their group."""

    def __init__(self, file: File, data: DataGroup) -> None:
        self.file = file
        self.content = file.stream(data.link, room=ROOM)
        length = len(self.content) - ROOM
        self.fixed: dict[int, tuple[NDArray[np.int64], int]] = {}
        self._values: dict[int, Values] = {}
        self.rest = 0
        if data.id_size == 0:
            group = data.groups[0]
            count = length // group.size if group.size else 0
            if not file.unfinished:
                count = min(count, group.cycles)
            self.fixed[group.address] = np.arange(count, dtype=np.int64) * group.size, 0
        else:
            self._sort_out(length, data.id_size, data.groups)

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
                self._values[group.address] = Values(self.content, starts, shift)
            else:
                self.fixed[group.address] = starts, shift

    def places(self, group: Group) -> tuple[NDArray[np.int64], int]:
        """int64 (n,): places, each so many bytes before one of the group's records."""
        found = self.fixed.get(group.address)
        if found is None:
            raise Damaged("a group of frames without records of fixed length", "报文组没有定长记录")
        return found

    def payloads(self, address: int) -> Values:
        """The values that a channel's link leads to: those of a group, or of a stream of their own."""
        values = self._values.get(address)
        if values is None:
            content = self.file.stream(address, room=ROOM)
            values = self._values[address] = Values(content, value_places(content, len(content) - ROOM)[0], 0)
        return values


def _frames(records: _Sorted, wanted: Wanted) -> tuple[FrameTable, NDArray[np.int64], int]:
    """The frames of one group, int64 (n,) where their records stand, and how many records led nowhere."""
    starts, shift = records.places(wanted.group)
    columns, known = FrameColumns(len(starts)), np.ones(len(starts), np.bool_)
    for first in range(0, len(starts), BLOCK):
        some = Records(records.content, starts[first : first + BLOCK] + shift, wanted.group.size)
        rows = slice(first, first + len(some))
        table, known[rows] = frames_of(records, wanted, some, first)
        columns.put(rows, table)
    table = columns.table()
    if known.all():
        return table, starts, 0
    return table[known], starts[known], len(known) - int(np.count_nonzero(known))


def frames_of(values: PayloadsOf, frames: Wanted, some: Records, first: int) -> tuple[FrameTable, NDArray[np.bool_]]:
    """The frames of some records of a group, and which of these led to a payload.

    Args:
        values: where payloads of variable length are.
        frames: the group.
        some: the records.
        first: number of the first of them.
    """
    group, name, flag = frames
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
    data, stored, known = _payload(values, some, frames.payload, first, most)
    if wanted is None:
        wanted = stored
    if flag & REMOTE:
        wanted = np.minimum(wanted, 8)
        known[:] = True
        data = np.zeros((n, CLASSIC_WIDTH), np.uint8)
    else:
        wanted = np.minimum(wanted, stored)
        data = first_bytes(data, wanted)
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
    values: PayloadsOf, some: Records, channel: Channel | None, first: int, most: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]:
    """uint8 (n, 8 or 64) payloads, int64 (n,) stored lengths, and which records have one.

    Args:
        values: where payloads of variable length are.
        some: the records.
        channel: the payload's.
        first: number of the first of them.
        most: bytes of the longest frame among them; of a payload of fixed length no more is read.
    """
    n = len(some)
    if channel is None:
        return np.zeros((n, CLASSIC_WIDTH), np.uint8), np.zeros(n, np.int64), np.ones(n, np.bool_)
    if channel.kind == 1:
        return values.payloads(channel.data).rows(offsets_of(some, channel), first)
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


def offsets_of(some: Records, channel: Channel) -> NDArray[np.int64]:
    """int64 (n,): where the values of a channel of variable length stand among its values."""
    return np.minimum(some.integers(replace(channel, data_type=0)), _FURTHEST).astype(np.int64)


def groups_of(file: File) -> tuple[int, list[DataGroup]]:
    """UTC in ns of time 0, and the data groups with frames that have records.

    Raises:
        NotARecording: there is no group of frames.
    """
    header = file.block(64, "HD")
    found: list[DataGroup] = []
    can_groups = 0
    for _, data_group in file.chain(file.link(header, 0), "DG"):
        groups = file.groups(data_group)
        wanted = [
            Wanted(g, name, flag)
            for g in groups
            for name, flag in _GROUP_NAMES
            if f"{name}.BusChannel" in g.channels or name in g.channels
        ]
        can_groups += len(wanted)
        link = file.link(data_group, 2)
        if not wanted or not link:
            continue
        id_size = file.content[data_group.start] if data_group.start < data_group.end else 0
        if id_size not in {0, 1, 2, 4, 8} or any(group.size > _LARGEST_RECORD for group in groups):
            raise Damaged("records of an impossible size", "记录长度不可能")
        if not id_size and (wanted[0].group is not groups[0] or groups[0].variable):
            raise Damaged("a group of frames without records of fixed length", "报文组没有定长记录")
        found.append(DataGroup(link, id_size, groups, wanted))
    if not can_groups:
        raise NotARecording(file.path, Phrase("an MDF file without CAN frames", "MDF 文件中没有 CAN 报文"))
    return _start_ns(file, header), found


def read_of(table: FrameTable, most_channel: int, start_ns: int, cut: Sequence[int], lost: int) -> Read:
    """What is known of a file.

    Args:
        table: its frames.
        most_channel: highest number of a bus, -1 without frames.
        start_ns: UTC of time 0.
        cut: numbers of records that are cut.
        lost: records without payload.
    """
    bad = [BadLine(number, Phrase("the last record is cut", "最后一条记录不完整")) for number in cut]
    if lost:
        bad.append(BadLine(0, Phrase(f"{lost} records without their payload", f"{lost} 条记录缺少数据")))
    names = tuple(str(number) for number in range(most_channel + 1))
    return Read(table, names, bad, lost + len(cut), start_ns=start_ns)


def _read(file: File) -> Read:
    start_ns, found = groups_of(file)
    tables: list[FrameTable] = []
    cut: list[int] = []
    lost = 0
    for data in found:
        records = _Sorted(file, data)
        table, without = _in_order(records, data)
        lost += without
        tables.append(table)
        if records.rest:
            cut.append(sum(len(starts) for starts, _ in records.fixed.values()) + 1)
    tables = [table for table in tables if len(table)] or [FrameTable.empty()]
    table = FrameTable.concat(tables).by_time() if len(tables) != 1 else tables[0]
    return read_of(table, int(table.channel.max(initial=0)) if len(table) else -1, start_ns, cut, lost)


def _in_order(records: _Sorted, data: DataGroup) -> tuple[FrameTable, int]:
    """The frames of all groups in the order of their records, and how many records led nowhere."""
    each = [_frames(records, wanted) for wanted in data.wanted]
    lost = sum(without for _, _, without in each)
    filled = [(table, starts) for table, starts, _ in each if len(table)]
    if len(filled) < 2:
        return (filled[0][0] if filled else FrameTable.empty()), lost
    order = np.argsort(np.concatenate([starts for _, starts in filled]), kind="stable")
    return FrameTable.concat([table for table, _ in filled])[order], lost


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
