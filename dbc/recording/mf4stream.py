"""MF4 bus logging of any size: some megabytes of records at a time.

Records refer to values of variable length by an offset. Loggers write a value beside its record: values are kept while
records that follow may still mean them. Where one means a value that is long past or far ahead, the file is read whole,
and goes on behind what was given.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from dbc.errors import Phrase, RecordingBroken
from dbc.recording import asam, mf4
from dbc.recording.lines import Read
from dbc.recording.mdf import Beyond, Damaged, File
from dbc.recording.mf4 import BLOCK, ROOM, frames_of, groups_of, offsets_of, read_of
from dbc.recording.mf4records import Records
from dbc.recording.mf4values import value_places, value_rows
from dbc.recording.ordering import merged_by_time
from dbc.recording.unsorted import Walk
from dbc.table import FD_WIDTH, FrameTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from mmap import mmap

    from numpy.typing import NDArray

    from dbc.recording.mf4 import DataGroup
    from dbc.recording.mf4values import Payloads

__all__ = ["Mf4Source"]

_PIECE: Final = 8 << 20
"""Bytes of records that are looked at together."""
_LARGEST_PIECE: Final = 64 << 20
_SLACK: Final = 100_000
"""Values that are kept behind the last one that was meant."""
_MOST_INFLATED: Final = 64 << 30


class _Scattered(Exception):
    """A value is not near its record."""


class _Window:
    """Values of variable length, as far as they are at hand: those of some offsets."""

    def __init__(self) -> None:
        self._offsets = np.empty(0, np.int64)
        self._sizes = np.empty(0, np.int64)
        self._data = np.empty((0, 8), np.uint8)
        self.end = 0

    def add(self, content: NDArray[np.uint8], heads: NDArray[np.int64]) -> None:
        """Takes the values whose lengths stand at some places of a stream with room behind it."""
        if not len(heads):
            return
        data, sizes = value_rows(content, heads)
        ends = self.end + np.cumsum(sizes + 4)
        offsets = np.concatenate([np.array([self.end]), ends[:-1]])
        width = max(data.shape[1], self._data.shape[1])
        self._data = np.concatenate([_widened(self._data, width), _widened(data, width)])
        self._sizes = np.concatenate([self._sizes, sizes])
        self._offsets = np.concatenate([self._offsets, offsets])
        self.end = int(ends[-1])

    def take_back(self, count: int) -> None:
        """Forgets the last so many values: they will come again."""
        if count:
            self.end = int(self._offsets[-count])
            self._offsets, self._sizes = self._offsets[:-count], self._sizes[:-count]
            self._data = self._data[:-count]

    def forget_before(self, offset: int) -> None:
        """Gives back the values well before an offset."""
        at = int(np.searchsorted(self._offsets, offset)) - _SLACK
        if at > _SLACK:
            self._offsets, self._sizes, self._data = self._offsets[at:], self._sizes[at:], self._data[at:].copy()

    def rows(
        self,
        offsets: NDArray[np.int64],
        first: int,  # noqa: ARG002 - where they are is found by the offsets alone
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]:
        """uint8 (n, 8 or 64) payloads, int64 (n,) lengths, and which offsets lead to a value.

        Raises:
            _Scattered: one means a value that was given back.
        """
        n = len(offsets)
        if not len(self._offsets):
            return np.zeros((n, 8), np.uint8), np.zeros(n, np.int64), np.zeros(n, np.bool_)
        if int(offsets.min()) < int(self._offsets[0]):
            raise _Scattered
        which = np.minimum(np.searchsorted(self._offsets, offsets), len(self._offsets) - 1)
        known = (self._offsets[which] == offsets) & (self._sizes[which] <= FD_WIDTH)
        sizes = np.where(known, self._sizes[which], 0)
        return np.where(np.arange(self._data.shape[1]) < sizes[:, None], self._data[which], 0), sizes, known


def _widened(data: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    if data.shape[1] == width:
        return data
    out = np.zeros((len(data), width), np.uint8)
    out[:, : data.shape[1]] = data
    return out


class _Stored:
    """Values that stand in a stream of their own, got as they are asked for."""

    def __init__(self, pieces: Iterator[NDArray[np.uint8]]) -> None:
        self._pieces = pieces
        self._rest = np.empty(0, np.uint8)
        self._window = _Window()

    def rows(
        self, offsets: NDArray[np.int64], first: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]:
        """As :meth:`_Window.rows`."""
        furthest = int(offsets.max())
        while self._window.end <= furthest and (piece := next(self._pieces, None)) is not None:
            content = np.concatenate([self._rest, piece, np.zeros(ROOM, np.uint8)])
            heads, end = value_places(content, len(content) - ROOM)
            self._window.add(content, heads)
            self._rest = content[end : len(content) - ROOM].copy()
            self._window.forget_before(int(offsets.min()))
            if len(self._rest) > _LARGEST_PIECE:
                raise _Scattered
        return self._window.rows(offsets, first)


class _DataGroupStream:
    """The frames of one data group, in the order of its records.

    Attributes:
        lost: records whose payload is not there.
        cut: number of the record that is cut at the end, 0 where none is.
    """

    def __init__(self, file: File, data: DataGroup) -> None:
        self.lost = self.cut = 0
        self._file, self._data = file, data
        self._windows = {group.address: _Window() for group in data.groups if group.variable}
        self._payloads: dict[int, Payloads] = dict(self._windows)
        for wanted in data.wanted:
            channel = wanted.payload
            if channel is not None and channel.kind == 1 and channel.data not in self._payloads:
                self._payloads[channel.data] = _Stored(file.pieces(channel.data, _PIECE))
        self._records = 0
        self._needed: dict[int, int] = {}

    def payloads(self, address: int) -> Payloads:
        """The values that a channel's link leads to."""
        return self._payloads[address]

    def tables(self) -> Iterator[FrameTable]:
        """Some frames after the others.

        Raises:
            _Scattered: values are not near their records.
        """
        pieces = self._file.pieces(self._data.link, _PIECE)
        rest = np.empty(0, np.uint8)
        piece = next(pieces, None)
        while piece is not None:
            following = next(pieces, None)
            content = np.concatenate([rest, piece, np.zeros(ROOM, np.uint8)])
            length = len(content) - ROOM
            table, end = self._read(content, length, is_last=following is None)
            if len(table):
                yield table
            rest = content[end:length].copy()
            if len(rest) > _LARGEST_PIECE and following is not None:
                raise _Scattered
            piece = following
        if len(rest) and self._data.id_size:
            self.cut = self._records + 1

    def _read(self, content: NDArray[np.uint8], length: int, *, is_last: bool) -> tuple[FrameTable, int]:
        """The frames of a piece, and how much of it is done with."""
        places, end = self._places(content, length)
        added: dict[int, NDArray[np.int64]] = {}
        for group in self._data.groups:
            if group.variable:
                added[group.address] = places[group.address]
                self._windows[group.address].add(content, places[group.address])
        stop = end if is_last else min(end, self._first_open(content, places, end))
        tables: list[FrameTable] = []
        rows: list[NDArray[np.int64]] = []
        for wanted in self._data.wanted:
            starts = places[wanted.group.address]
            starts = starts[starts - self._data.id_size < stop]
            for first in range(0, len(starts), BLOCK):
                some = starts[first : first + BLOCK]
                table, known = frames_of(self, wanted, Records(content, some, wanted.group.size), first)
                if not known.all():
                    self.lost += len(known) - int(np.count_nonzero(known))
                    table, some = table[known], some[known]
                tables.append(table)
                rows.append(some)
        for address, heads in added.items():
            done = int(np.searchsorted(heads - self._data.id_size, stop))
            self._windows[address].take_back(len(heads) - done)
            self._windows[address].forget_before(self._needed.get(address, 0))
        fixed = [group for group in self._data.groups if not group.variable]
        self._records += sum(int(np.searchsorted(places[g.address] - self._data.id_size, stop)) for g in fixed)
        table = FrameTable.concat(tables)
        if len(self._data.wanted) > 1 and len(table):
            table = table[np.argsort(np.concatenate(rows), kind="stable")]
        return table, stop

    def _places(self, content: NDArray[np.uint8], length: int) -> tuple[dict[int, NDArray[np.int64]], int]:
        """int64 (n,) by group: where its records begin behind their numbers; and where the last one ends."""
        groups, id_size = self._data.groups, self._data.id_size
        if not id_size:
            group = groups[0]
            count = length // group.size if group.size else 0
            end = count * group.size
            if not self._file.unfinished:
                count = min(count, max(group.cycles - self._records, 0))
            return {g.address: np.arange(count if g is group else 0) * group.size for g in groups}, end or length
        sizes = {group.record_id: None if group.variable else group.size for group in groups}
        walk = Walk(content, length, id_size, sizes)
        if walk.unknown is not None and not self._file.unfinished:
            number = walk.unknown
            raise self._file.broken(walk.end, f"unknown record number {number}", f"未知的记录号 {number}")
        return {group.address: walk.places(group.record_id) for group in groups}, walk.end

    def _first_open(self, content: NDArray[np.uint8], places: dict[int, NDArray[np.int64]], end: int) -> int:
        """Where the first record stands whose value is still to come; ``end`` where none does."""
        for wanted in self._data.wanted:
            channel = wanted.payload
            window = self._windows.get(channel.data) if channel is not None and channel.kind == 1 else None
            starts = places[wanted.group.address]
            if channel is None or window is None or not len(starts):
                continue
            offsets = offsets_of(Records(content, starts, wanted.group.size), channel)
            ahead = np.flatnonzero(offsets >= window.end)
            if len(ahead):
                end = min(end, int(starts[ahead[0]]) - self._data.id_size)
            self._needed[channel.data] = int(offsets.min())
        return end


class Mf4Source:
    """The frames of one file: those of a data group in the order of its records, those of several by time.

    Args:
        content: the whole file.
        path: names it in errors.
    """

    name = "mf4"
    wraps = 0

    def __init__(self, content: mmap, path: str) -> None:
        self._path = path
        self._content = memoryview(content)
        self.maps: Sequence[mmap] = [content]
        self._read = Read(FrameTable.empty(), ())

    def tables(self) -> Iterator[FrameTable]:
        """Some frames after the others.

        Raises:
            RecordingBroken: damaged.
            NotARecording: sound, but without CAN frames.
            LibraryMissing: it uses parts of the standard that are left to asammdf, which is not installed.
        """
        given = 0
        try:
            for table in self._tables():
                yield table
                given += len(table)
        except Damaged as exc:
            raise RecordingBroken(self._path, Phrase("in its layout", "记录布局"), exc.reason) from exc
        except Beyond as exc:
            self._read = asam.read(bytes(self._content), self._path, str(exc))
            yield self._read.table[given:]
        except _Scattered:
            self._read = mf4.read(bytes(self._content), self._path)
            yield self._read.table[given:]

    def _tables(self) -> Iterator[FrameTable]:
        file = File(self._content, self._path, most=_MOST_INFLATED)
        start_ns, found = groups_of(file)
        groups = [_DataGroupStream(file, data) for data in found]
        streams = [group.tables() for group in groups]
        most_channel = -1
        for table in streams[0] if len(streams) == 1 else merged_by_time(streams):
            most_channel = max(most_channel, int(table.channel.max(initial=0)))
            yield table
        lost = sum(group.lost for group in groups)
        self._read = read_of(
            FrameTable.empty(), most_channel, start_ns, [group.cut for group in groups if group.cut], lost
        )

    def outcome(self) -> Read:
        """Start, buses, and what was cut."""
        return replace(self._read, table=FrameTable.empty())
