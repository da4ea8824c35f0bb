"""Recordings of CAN traffic, opened by their content and not by their name.

::

    open_recording(path)  ->  Recording(format, table, channels, bad_lines, notes, segments, …)
       containers.py      gzip, zip
       text, line by line (patterns.py, sheet.py read lines of one layout in columns)
         candump.py       the log format of can-utils (candump -L, -l)
         gvret.py         CSV of SavvyCAN and GVRET
         asc.py           Vector ASC
         traces.py        PCAN TRC, CANHacker TRC
         analyzers.py     BUSMASTER, Microchip, PP2CAN, USB-CAN boxes
         terminals.py     candump's screen, ESP32 boards, CRTD, ELM327 sessions, plain columns, scan tools
         tables.py        CSV of python-can, of identifiers and data, our own
       binary
         mf4.py blf.py pcap.py database.py (SQLite) columns.py (our Parquet)
       timeline.py        stamps that wrap, jump back, or mean milliseconds

What cannot be read in a text log is counted and located line by line; the rest is read. A file of which nothing can
be read is an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from dbc.errors import DbcError, FileMissing, NotARecording, Phrase, RecordingBroken, RecordingTooLarge
from dbc.recording import blf, candump, columns, containers, database, gvret, mf4, patterns, pcap, tables
from dbc.recording.dialects import DIALECTS
from dbc.recording.facts import (
    BINARY_FORMATS,
    About,
    Facts,
    Tally,
    common_channels,
    facts_from,
    joined,
    moved,
)
from dbc.recording.lines import BadLine, Read, Unreadable
from dbc.recording.timeline import carried_on, segment_starts
from dbc.table import FrameTable

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import BufferedReader

__all__ = ["MAX_BYTES", "BadLine", "Recording", "open_recording", "recording_from_bytes"]

MAX_BYTES: Final = 2 << 30
"""The largest recording that is read at once, after decompression."""

_HEAD: Final = 1 << 16
_MOST_SEGMENTS: Final = 1000
_SECOND_NS: Final = 1_000_000_000
_BINARY: Final[tuple[tuple[str, Callable[[bytes], bool], Callable[[bytes, str], Read]], ...]] = (
    ("mf4", mf4.is_mf4, mf4.read),
    ("blf", blf.is_blf, blf.read),
    ("pcap", pcap.is_pcap, pcap.read),
    ("python-can-sqlite", database.is_sqlite, database.read),
    ("frames-parquet", columns.is_parquet, columns.read),
)


@dataclass(frozen=True, slots=True, eq=False)
class Recording(About):
    """The frames of one file, and what is known of it.

    Args:
        table: the frames in the file's order.
        segments: rows at which another capture begins, because the time jumps back; without the first row.
    """

    table: FrameTable = field(kw_only=True)
    segments: tuple[int, ...] = ()

    @property
    def facts(self) -> Facts:
        """What is known of it, with what its frames are like."""
        tally = Tally()
        tally.add(self.table)
        return Facts(**self.about(), tally=tally)


def _recording(path: str, name: str, read: Read) -> Recording:
    """A reader's result with its times looked at."""
    table = read.table
    t_ns, wraps = carried_on(table.t_ns, read.moduli_ns)
    if wraps:
        table = replace(table, t_ns=t_ns)
    # Only what is asked of it here: counting everything takes as long as reading.
    starts = segment_starts(table.t_ns) if read.timed else []
    tally = Tally(
        frames=len(table),
        first_ns=int(table.t_ns.min()) if name == "mf4" and len(table) else 0,
        whole_seconds=name not in BINARY_FORMATS and not (table.t_ns % _SECOND_NS).any(),
        segments=starts[:_MOST_SEGMENTS],
        segment_count=len(starts),
    )
    facts = facts_from(path, name, read, tally, wraps)
    return Recording(**facts.about(), table=table, segments=facts.segments)


def _text_recording(content: bytes, path: str) -> Recording:
    """A recording in lines of text."""
    content = patterns.normalised(content)
    head = content[:_HEAD]
    if gvret.is_gvret(head):
        return _recording(path, "gvret", gvret.read(content, path))
    if candump.is_candump(head):
        return _recording(path, "candump", candump.read(content, path))
    text = head.decode("utf-8", "replace").replace("\0", "")
    if tables.is_values(text):
        values = Phrase("decoded values of Car Scanner, not frames", "Car Scanner 的解码数值，不是报文")
        raise NotARecording(path, values)
    for dialect in DIALECTS:
        if dialect.recognises(text):
            try:
                opened = dialect.opened(text)
            except Unreadable as exc:
                raise RecordingBroken(path, Phrase("the header", "文件头"), exc.reason) from exc
            return _recording(path, dialect.name, patterns.read(opened, content, path))
    raise NotARecording(path, Phrase("no known dialect in it", "无法识别其格式"))


def _from_zip(content: bytes, path: str, max_bytes: int) -> Recording:
    """All recordings of an archive, one behind the other; the first error where none of its files is one."""
    found: list[tuple[str, Recording]] = []
    others: list[tuple[str, DbcError]] = []
    for name, data in containers.members(content, path, max_bytes):
        try:
            found.append((name, recording_from_bytes(data, f"{path}:{name}", max_bytes=max_bytes, nested=True)))
        except DbcError as exc:
            others.append((name, exc))
    if not found:
        if others:
            raise others[0][1]
        raise NotARecording(path, Phrase("an empty archive", "空的压缩包"))
    if len(found) == 1 and not others:
        return replace(found[0][1], path=path)
    return _joined(path, found, others)


def _joined(path: str, found: list[tuple[str, Recording]], others: list[tuple[str, DbcError]]) -> Recording:
    """Several recordings as one: buses by name, times by the common start where all of them say theirs."""
    each = [recording for _, recording in found]
    about = joined(path, found, others, common_channels(each))
    segments: list[int] = []
    rows = 0
    for recording in each:
        segments += ([rows] if rows else []) + [rows + at for at in recording.segments]
        rows += len(recording.table)
    table = FrameTable.concat([moved(one.table, one, about.channels, about.start_ns) for one in each])
    return Recording(**about.about(), table=table, segments=tuple(segments[:_MOST_SEGMENTS]))


def recording_from_bytes(content: bytes, path: str, *, max_bytes: int = MAX_BYTES, nested: bool = False) -> Recording:
    """Reads a recording that is already in memory; ``path`` only names it in errors, ``nested`` forbids archives.

    Raises:
        NotARecording: no dialect recognised.
        RecordingBroken: recognised, but unreadable.
        RecordingTooLarge: it inflates to more than ``max_bytes``.
        LibraryMissing: recognised, but it needs a library that is not installed.
    """
    head = content[:_HEAD]
    if not content:
        raise NotARecording(path, Phrase("the file is empty", "文件是空的"))
    if containers.is_gzip(head):
        inner, cut = containers.inflated(content, path, max_bytes)
        if containers.is_gzip(inner[:4]):
            raise NotARecording(path, Phrase("compressed twice", "重复压缩"))
        recording = recording_from_bytes(inner, path, max_bytes=max_bytes, nested=nested)
        note = Phrase("the compressed file is cut; what is there was read", "压缩文件不完整，已读取现有部分")
        return replace(recording, notes=(*recording.notes, note)) if cut else recording
    if containers.is_zip(head):
        if nested:
            raise NotARecording(path, Phrase("an archive inside an archive", "压缩包中套压缩包"))
        return _from_zip(content, path, max_bytes)
    for name, is_one, read in _BINARY:
        if is_one(head):
            return _recording(path, name, read(content, path))
    return _text_recording(content, path)


def _mf4(file: BufferedReader, size: int, path: str) -> Read:
    """An MF4 file from a place on disk: into an array, whose memory comes in large pages, and never copied again."""
    content = np.zeros(size + mf4.ROOM, np.uint8)
    file.seek(0)
    begin = 0
    while begin < size and (n := file.readinto(content.data[begin:size])):
        begin += n
    return mf4.read(content.data[: begin + mf4.ROOM], path, room=mf4.ROOM)


def open_recording(path: str | Path, *, max_bytes: int = MAX_BYTES) -> Recording:
    """Reads a recording of any dialect we know, plain, gzipped or in a zip archive.

    Raises:
        FileMissing: not there or not readable.
        RecordingTooLarge: above ``max_bytes``.
        NotARecording: no dialect recognised.
        RecordingBroken: recognised, but unreadable.
        LibraryMissing: recognised, but it needs a library that is not installed.
    """
    where = Path(path)
    try:
        size = where.stat().st_size
        if size > max_bytes:
            raise RecordingTooLarge(str(path), size, max_bytes)
        with where.open("rb") as file:
            if mf4.is_mf4(file.read(_HEAD)):
                return _recording(str(path), "mf4", _mf4(file, size, str(path)))
            file.seek(0)
            content = file.read()
    except (OSError, ValueError) as exc:
        raise FileMissing(str(path), getattr(exc, "strerror", None) or str(exc)) from exc
    return recording_from_bytes(content, str(path), max_bytes=max_bytes)
