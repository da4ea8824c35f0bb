"""ASAM MDF 4 bus logging: CAN frames out of ``.mf4`` files, as loggers write them.

Sorted and unsorted files, payloads of fixed and of variable length, deflated and transposed blocks, and files that
their logger could not finish (``UnFinMF``: counts and lengths are 0, everything is read to the end).

Standard: ASAM MDF 4.1 and its bus logging annex.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import numpy as np

from dbc.errors import NotARecording, Phrase, RecordingBroken
from dbc.recording import asam
from dbc.recording.lines import BadLine, Read
from dbc.recording.mdf import Beyond, Damaged, File
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

    from dbc.recording.mdf import Channel, Group

__all__ = ["is_mf4", "read"]

_START: Final = struct.Struct("<QhhB")
_GROUP_NAMES: Final = (("CAN_DataFrame", 0), ("CAN_RemoteFrame", REMOTE), ("CAN_ErrorFrame", ERROR))
_BITS: Final = (("IDE", EXTENDED), ("EDL", FD), ("BRS", BITRATE_SWITCH), ("ESI", ERROR_STATE), ("Dir", TX))
_FD_BY_DLC: Final = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64], np.int64)
_LARGEST_RECORD: Final = 1 << 16
_INTEGERS: Final = frozenset({0, 1, 2, 3})
_FLOATS: Final = {(4, 32): "<f4", (4, 64): "<f8", (5, 32): ">f4", (5, 64): ">f8"}
_LOCAL_TIME: Final = 0x01
_MAXIMUM_LENGTH: Final = 5
_FIRST_LOOK: Final = 64
_RUN_WORTH_IT: Final = 16
_RUN_PATIENCE: Final = 64
"""Records to go one by one after a run that was not worth it."""


def is_mf4(head: bytes) -> bool:
    """Whether a file begins as MDF, finished or not."""
    return head.startswith((b"MDF     ", b"UnFinMF"))


class _Values:
    """Values of variable length, by the offset that records refer to them with."""

    def __init__(self, content: NDArray[np.uint8], starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> None:
        self.content = content
        self.starts = starts
        self.sizes = sizes
        self.offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes + 4)[:-1]]) if len(sizes) else starts

    def rows(self, offsets: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]:
        """uint8 (n, 8 or 64) payloads, int64 (n,) lengths, and which offsets lead to a value."""
        if not len(self.offsets):
            return np.zeros((len(offsets), 8), np.uint8), np.zeros(len(offsets), np.int64), np.zeros(len(offsets), bool)
        which = np.searchsorted(self.offsets, offsets)
        which = np.minimum(which, len(self.offsets) - 1)
        known = self.offsets[which] == offsets
        size = np.where(known, self.sizes[which], 0)
        known &= size <= FD_WIDTH
        size = np.minimum(size, FD_WIDTH)
        width = CLASSIC_WIDTH if not len(size) or int(size.max()) <= CLASSIC_WIDTH else FD_WIDTH
        columns = np.arange(width)
        at = self.starts[which, None] + columns
        inside = columns < size[:, None]
        data = np.where(inside, self.content[np.where(inside, at, 0)], 0).astype(np.uint8)
        return data, size, known


def _values_from_stream(stream: bytes) -> _Values:
    """Values of an SD block: each with its length in four bytes before it."""
    content = np.frombuffer(stream, np.uint8)
    # Most often all values are equally long.
    size = int.from_bytes(stream[:4], "little")
    step = size + 4
    if len(stream) >= 4 and len(stream) % step == 0:
        heads = np.ascontiguousarray(content.reshape(-1, step)[:, :4]).view(np.dtype("<u4"))[:, 0]
        if (heads == size).all():
            starts = np.arange(4, len(stream) + 4, step, dtype=np.int64)[: len(heads)]
            return _Values(content, starts, np.full(len(heads), size, np.int64))
    places: list[int] = []
    sizes: list[int] = []
    at = 0
    while at + 4 <= len(stream):
        size = int.from_bytes(stream[at : at + 4], "little")
        if at + 4 + size > len(stream):
            break
        places.append(at + 4)
        sizes.append(size)
        at += 4 + size
    return _Values(content, np.array(places, np.int64), np.array(sizes, np.int64))


class _Walk:
    """Finds the records of an unsorted data group.

    Where one record ends only the record itself says, so this goes record by record; but a bus that repeats itself
    makes the same two records again and again, and a run of them is taken at once.
    """

    def __init__(self, stream: bytes, content: NDArray[np.uint8], id_size: int, groups: Sequence[Group]) -> None:
        self.stream = stream
        self.content = content
        self.id_size = id_size
        self.at = 0
        self.sizes = {group.record_id: -1 if group.variable else group.size for group in groups}
        self._found: dict[int, tuple[list[int], list[int]]] = {group.record_id: ([], []) for group in groups}
        self._runs: dict[int, list[tuple[NDArray[np.int64], NDArray[np.int64]]]] = {g.record_id: [] for g in groups}

    def _record(self, at: int) -> tuple[int, int, int] | None:
        """Number, beginning and size of the record at a place; None when it is not whole."""
        begin = at + self.id_size
        if begin > len(self.stream):
            return None
        number = int.from_bytes(self.stream[at:begin], "little")
        size = self.sizes.get(number)
        if size is None:
            return number, begin, -1
        if size < 0:
            size = int.from_bytes(self.stream[begin : begin + 4], "little")
            begin += 4
        return (number, begin, size) if begin + size <= len(self.stream) else None

    def run(self) -> int | None:
        """Walks to the end, or to a record number that no group has, which is returned."""
        wait = 0
        while self.at < len(self.stream):
            wait -= 1
            if wait < 0:
                taken = self._repeat()
                wait = 0 if taken >= _RUN_WORTH_IT else _RUN_PATIENCE
                if taken:
                    continue
            record = self._record(self.at)
            if record is None:
                break
            number, begin, size = record
            if size < 0:
                return number
            starts, sizes = self._found[number]
            starts.append(begin)
            sizes.append(size)
            self.at = begin + size
        return None

    def _repeat(self) -> int:
        """Takes all repetitions of the next two records; says how many there were."""
        first = self._record(self.at)
        if first is None or first[2] < 0:
            return 0
        second = self._record(first[1] + first[2])
        if second is None or second[2] < 0:
            return 0
        period = second[1] + second[2] - self.at
        if period <= 0:
            return 0
        middle = first[1] + first[2] - self.at
        heads = [*range(first[1] - self.at), *range(middle, second[1] - self.at)]
        most = (len(self.stream) - self.at) // period
        rows = self.content[self.at : self.at + most * period].reshape(most, period)
        count, step = 1, _FIRST_LOOK
        while count < most:
            ahead = rows[count : count + step, heads]
            same = (ahead == rows[0, heads]).all(axis=1)
            if not same.all():
                count += int(np.argmin(same))
                break
            count += len(same)
            step *= 2
        steps = np.arange(count, dtype=np.int64) * period
        for number, begin, size in (first, second):
            self._flush(number)
            self._runs[number].append((begin + steps, np.full(count, size, np.int64)))
        self.at += count * period
        return count

    def _flush(self, number: int) -> None:
        starts, sizes = self._found[number]
        if starts:
            self._runs[number].append((np.array(starts, np.int64), np.array(sizes, np.int64)))
            starts.clear()
            sizes.clear()

    def records(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """int64 (n,) beginnings and int64 (n,) sizes of a group's records, in the file's order."""
        self._flush(number)
        runs = self._runs[number]
        if not runs:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        starts = np.concatenate([part for part, _ in runs])
        order = np.argsort(starts, kind="stable")
        return starts[order], np.concatenate([part for _, part in runs])[order]


class _Records:
    """The records of one data group, sorted out by their group."""

    def __init__(self, file: File, stream: bytes, id_size: int, groups: Sequence[Group]) -> None:
        self.file = file
        self.content = np.frombuffer(stream, np.uint8)
        self.fixed: dict[int, NDArray[np.int64]] = {}
        self.values: dict[int, _Values] = {}
        self.rest = 0
        if id_size == 0:
            group = groups[0]
            count = len(stream) // group.size if group.size else 0
            if not file.unfinished:
                count = min(count, group.cycles)
            self.fixed[group.address] = np.arange(count, dtype=np.int64) * group.size
        else:
            self._sort_out(stream, id_size, groups)

    def _sort_out(self, stream: bytes, id_size: int, groups: Sequence[Group]) -> None:
        """Walks through records that carry the number of their group."""
        walk = _Walk(stream, self.content, id_size, groups)
        unknown = walk.run()
        if unknown is not None and not self.file.unfinished:
            raise self.file.broken(walk.at, f"unknown record number {unknown}", f"未知的记录号 {unknown}")
        self.rest = len(stream) - walk.at
        for group in groups:
            starts, sizes = walk.records(group.record_id)
            if group.variable:
                self.values[group.address] = _Values(self.content, starts, sizes)
            else:
                self.fixed[group.address] = starts

    def matrix(self, group: Group) -> NDArray[np.uint8]:
        """uint8 (n, size + 8): the group's records, with room behind for reading words."""
        starts = self.fixed.get(group.address)
        if starts is None:
            raise Damaged("a group of frames without records of fixed length", "报文组没有定长记录")
        out = np.zeros((len(starts), group.size + 8), np.uint8)
        if len(starts) and len(self.content) >= group.size:
            windows = np.lib.stride_tricks.sliding_window_view(self.content, group.size)
            out[:, : group.size] = windows[starts]
        return out


def _integers(records: NDArray[np.uint8], channel: Channel) -> NDArray[np.uint64]:
    """uint64 (n,): an integer channel of up to 57 bits and any offset, or of 64 at a byte's start."""
    at = channel.byte_offset
    if channel.data_type not in _INTEGERS or channel.bit_offset + channel.bit_count > 64 or channel.bit_offset > 7:
        raise Damaged(f"{channel.name[:40]} is no integer", f"{channel.name[:40]} 不是整数通道")
    size = (channel.bit_offset + channel.bit_count + 7) // 8
    if at + size > records.shape[1] - 8:
        raise Damaged(f"{channel.name[:40]} lies outside its record", f"{channel.name[:40]} 超出记录")
    if channel.data_type & 1:
        padded = np.zeros((len(records), 8), np.uint8)
        padded[:, 8 - size :] = records[:, at : at + size]
        word = padded.view(np.dtype(">u8"))[:, 0].astype(np.uint64)
    else:
        word = np.ascontiguousarray(records[:, at : at + 8]).view(np.dtype("<u8"))[:, 0]
    out = word >> np.uint64(channel.bit_offset)
    return out & np.uint64((1 << channel.bit_count) - 1) if channel.bit_count < 64 else out


def _times(records: NDArray[np.uint8], channel: Channel) -> NDArray[np.int64]:
    """int64 (n,): ns since the file's start."""
    form = _FLOATS.get((channel.data_type, channel.bit_count))
    if form is None:
        raw = _integers(records, channel)
        if channel.factor == 1e-9 and channel.offset == 0:
            return raw.astype(np.int64)
        number = raw.astype(np.float64)
    else:
        size = channel.bit_count // 8
        if channel.byte_offset + size > records.shape[1] - 8:
            raise Damaged("the time lies outside its record", "时间超出记录")
        part = np.ascontiguousarray(records[:, channel.byte_offset : channel.byte_offset + size])
        number = part.view(np.dtype(form))[:, 0].astype(np.float64)
        if channel.factor == 1e-9 and channel.offset == 0:
            return _whole(number)
    with np.errstate(over="ignore", invalid="ignore"):
        nanoseconds = (number * channel.factor + channel.offset) * 1e9
    return _whole(nanoseconds)


def _whole(number: NDArray[np.float64]) -> NDArray[np.int64]:
    """Nearest int64; what is no time at all becomes 0."""
    with np.errstate(invalid="ignore"):
        sane = np.isfinite(number) & (np.abs(number) < 2.0**62)
    return np.rint(np.where(sane, number, 0.0)).astype(np.int64)


def _frames(file: File, records: _Records, group: Group, name: str, flag: int) -> tuple[FrameTable, set[int], int]:
    """The frames of one group, the numbers of their buses, and how many records led nowhere."""
    matrix = records.matrix(group)
    channels = group.channels
    time = next((channel for channel in channels.values() if channel.kind == 2), None)
    if time is None:
        raise Damaged("a group without time", "通道组没有时间")

    def optional(part: str) -> NDArray[np.uint64] | None:
        channel = channels.get(f"{name}.{part}")
        return None if channel is None or channel.kind != 0 else _integers(matrix, channel)

    n = len(matrix)
    flags = np.full(n, flag, np.uint8)
    for part, bit in _BITS:
        column = optional(part)
        if column is not None:
            flags |= np.where(column != 0, np.uint8(bit), np.uint8(0))
    ids = optional("ID")
    if ids is None:
        ids = np.zeros(n, np.uint64)
    flags |= np.where(ids >> np.uint64(31) & np.uint64(1), np.uint8(EXTENDED), np.uint8(0))
    can_id = (ids & np.uint64(0x1FFF_FFFF)).astype(np.uint32)
    flags |= np.where(can_id > 0x7FF, np.uint8(EXTENDED), np.uint8(0))
    data, stored, known = _payload(file, records, matrix, channels.get(f"{name}.DataBytes"))
    length = optional("DataLength")
    dlc = optional("DLC")
    if flag & REMOTE and dlc is not None:
        wanted = np.minimum(dlc, np.uint64(CLASSIC_WIDTH)).astype(np.int64)
    elif length is not None:
        wanted = np.minimum(length, np.uint64(FD_WIDTH)).astype(np.int64)
    elif dlc is not None:
        classic = np.minimum(dlc, np.uint64(8)).astype(np.int64)
        wanted = np.where(flags & FD, _FD_BY_DLC[(dlc & np.uint64(15)).astype(np.intp)], classic)
    else:
        wanted = stored
    if flag & (REMOTE | ERROR):
        wanted = np.minimum(wanted, 8)
        known[:] = True
        data = np.zeros((n, CLASSIC_WIDTH), np.uint8)
    else:
        wanted = np.minimum(wanted, stored)
        data = np.where(np.arange(data.shape[1]) < wanted[:, None], data, 0).astype(np.uint8)
    bus = optional("BusChannel")
    channel = np.zeros(n, np.uint8) if bus is None else np.minimum(bus, np.uint64(255)).astype(np.uint8)
    table = FrameTable(_times(matrix, time), can_id, flags, channel, wanted.astype(np.uint8), data)
    return table[known], set(np.unique(channel).tolist()), int(n - np.count_nonzero(known))


def _payload(
    file: File, records: _Records, matrix: NDArray[np.uint8], channel: Channel | None
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]:
    """uint8 (n, 8 or 64) payloads, int64 (n,) stored lengths, and which records have one."""
    n = len(matrix)
    if channel is None:
        return np.zeros((n, CLASSIC_WIDTH), np.uint8), np.zeros(n, np.int64), np.ones(n, np.bool_)
    if channel.kind == 1:
        values = records.values.get(channel.data)
        if values is None:
            values = _values_from_stream(file.stream(channel.data))
        offset = np.ascontiguousarray(matrix[:, channel.byte_offset : channel.byte_offset + 8])
        if offset.shape[1] < 8 or channel.byte_offset + channel.bit_count // 8 > matrix.shape[1] - 8:
            raise Damaged("the payload lies outside its record", "数据超出记录")
        places = offset.view(np.dtype("<u8"))[:, 0]
        if channel.bit_count < 64:
            places = places & np.uint64((1 << channel.bit_count) - 1)
        return values.rows(np.minimum(places, np.uint64(1 << 62)).astype(np.int64))
    if channel.kind == _MAXIMUM_LENGTH:
        raise Beyond("payloads of maximum length")
    if channel.kind != 0 or channel.bit_offset:
        raise Damaged(f"a payload of kind {channel.kind}", f"数据通道类型 {channel.kind}")
    size = min(channel.bit_count // 8, FD_WIDTH)
    if channel.byte_offset + size > matrix.shape[1] - 8:
        raise Damaged("the payload lies outside its record", "数据超出记录")
    data = np.zeros((n, CLASSIC_WIDTH if size <= CLASSIC_WIDTH else FD_WIDTH), np.uint8)
    data[:, :size] = matrix[:, channel.byte_offset : channel.byte_offset + size]
    return data, np.full(n, size, np.int64), np.ones(n, np.bool_)


def _read(file: File) -> Read:
    header = file.block(64, "HD")
    start_ns, zone_min, summer_min, time_flags = file.unpack(_START, header)
    if time_flags & _LOCAL_TIME:
        start_ns -= (zone_min + summer_min) * 60_000_000_000
    tables: list[FrameTable] = []
    buses: set[int] = set()
    bad: list[BadLine] = []
    lost = 0
    can_groups = 0
    for _, data_group in file.chain(file.link(header, 0), "DG"):
        groups = file.groups(data_group)
        wanted = [
            (g, name, flag)
            for g in groups
            for name, flag in _GROUP_NAMES
            if f"{name}.BusChannel" in g.channels or name in g.channels
        ]
        if not wanted or not file.link(data_group, 2):
            can_groups += len(wanted)
            continue
        can_groups += len(wanted)
        id_size = file.content[data_group.start] if data_group.start < data_group.end else 0
        if id_size not in {0, 1, 2, 4, 8} or any(group.size > _LARGEST_RECORD for group in groups):
            raise Damaged("records of an impossible size", "记录长度不可能")
        records = _Records(file, file.stream(file.link(data_group, 2)), id_size, groups)
        for group, name, flag in wanted:
            table, on, without = _frames(file, records, group, name, flag)
            lost += without
            if len(table):
                tables.append(table)
                buses |= on
        if records.rest:
            total = sum(map(len, records.fixed.values()))
            bad.append(BadLine(total + 1, Phrase("the last record is cut", "最后一条记录不完整")))
    if not can_groups:
        raise NotARecording(file.path, Phrase("an MDF file without CAN frames", "MDF 文件中没有 CAN 报文"))
    if lost:
        bad.append(BadLine(0, Phrase(f"{lost} records without their payload", f"{lost} 条记录缺少数据")))
    table = FrameTable.concat(tables).by_time() if len(tables) != 1 else tables[0]
    names = tuple(str(number) for number in range(max(buses, default=-1) + 1))
    return Read(table, names, bad, lost + sum(line.line > 0 for line in bad), start_ns=start_ns)


def read(content: bytes, path: str) -> Read:
    """Reads a whole file.

    Raises:
        RecordingBroken: damaged.
        NotARecording: sound, but without CAN frames.
        LibraryMissing: it uses parts of the standard that are left to asammdf, which is not installed.
    """
    try:
        return _read(File(content, path))
    except Damaged as exc:
        raise RecordingBroken(path, Phrase("in its layout", "记录布局"), exc.reason) from exc
    except Beyond as exc:
        return asam.read(content, path, str(exc))
