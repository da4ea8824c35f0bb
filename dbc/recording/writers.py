"""Recordings written to files, and what each format cannot hold.

========= ============================================================================
format    cannot hold
========= ============================================================================
candump   negative times, a start without zone, names of buses with blanks
asc       names of buses, negative times, identifier and data of error frames
blf       names of buses, negative times without a start, direction of error frames
mf4       names of buses, negative times without a start, a start without zone, an order that is not that of time
csv       a start without zone, that there were no times
parquet   (nothing is lost)
========= ============================================================================

What a given recording would lose is found out before it is written (:func:`losses_from_recording`).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from dbc.errors import LibraryMissing, OutputError, Phrase
from dbc.output import whole_file
from dbc.recording.blfwriter import write_blf
from dbc.recording.columns import METADATA
from dbc.recording.mf4writer import write_mf4
from dbc.recording.textwriters import asc_head, asc_text, candump_text, csv_head, csv_text
from dbc.table import ERROR, NO_MESSAGE, REMOTE, TX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from dbc.recording import Recording
    from dbc.table import FrameTable

__all__ = ["ENDINGS", "FORMATS", "check_target", "losses_from_recording", "write_recording"]

ENDINGS: Final = {
    ".log": "candump",
    ".candump": "candump",
    ".asc": "asc",
    ".blf": "blf",
    ".mf4": "mf4",
    ".csv": "csv",
    ".parquet": "parquet",
}
"""The format that a file's ending asks for."""

FORMATS: Final = tuple(dict.fromkeys(ENDINGS.values()))

_MILLI_NS: Final = 1_000_000
_ROWS: Final = 1 << 16
_BUS: Final = re.compile(r"[^\s#()]{1,64}")
_YEAR_2000_NS: Final = 946_684_800_000_000_000


@dataclass(frozen=True, slots=True)
class _Clock:
    """How a recording's times become those of a file.

    Args:
        shift_ns: to add to each time, after which none is negative.
        start_ns: UTC of the new time 0.
        local: the new time 0 by a clock without a zone.
        moved: whether the times no longer mean what they did.
    """

    shift_ns: int
    start_ns: int | None
    local: datetime | None
    moved: bool


def _local(recording: Recording) -> datetime | None:
    try:
        found = datetime.fromisoformat(recording.local_start or "")
    except ValueError:
        return None
    return found.replace(tzinfo=None)


def _clock(recording: Recording) -> _Clock:
    """Times since a start in whole ms, none of them negative."""
    table = recording.table
    first = int(table.t_ns.min()) if len(table) else 0
    start = recording.start_ns
    if start is not None and (start or first >= _YEAR_2000_NS):
        begin = (start + first) // _MILLI_NS * _MILLI_NS if start + first >= 0 else 0
        if start % _MILLI_NS == 0 and first >= 0 and start >= _YEAR_2000_NS:
            begin = start
        return _Clock(start - begin, begin, None, moved=start + first < 0)
    return _Clock(max(-first, 0), None, _local(recording), moved=first < 0)


def _numbers(recording: Recording) -> list[int]:
    """Numbers of the channels from 1: their names, where those are such numbers."""
    names = recording.channels
    if all(re.fullmatch(r"[1-9]\d{0,2}", name) and int(name) < 256 for name in names) and len(set(names)) == len(names):
        return [int(name) for name in names] or [1]
    return [at + 1 for at in range(max(len(names), _buses(recording.table)))]


def _buses(table: FrameTable) -> int:
    return int(table.channel.max()) + 1 if len(table) else 1


def _names(recording: Recording) -> list[str]:
    """A name for each bus."""
    names = list(recording.channels)
    return names + [str(at) for at in range(len(names), _buses(recording.table))]


def _candump_names(recording: Recording) -> list[str]:
    """The names of the buses as candump can write them: without blanks, none twice."""
    out: list[str] = []
    for at, name in enumerate(_names(recording)):
        out.append(name if _BUS.fullmatch(name) and name not in out else f"bus{at}")
    return out


def _loses_names(recording: Recording, name: str) -> bool:
    used = np.unique(recording.table.channel).tolist()
    names = _names(recording)
    if name == "candump":
        return any(_candump_names(recording)[at] != names[at] for at in used)
    if name in {"asc", "blf"}:
        numbers = _numbers(recording)
        return any(names[at] != str(numbers[at]) for at in used)
    return name == "mf4" and any(names[at] != str(at) for at in used)


def losses_from_recording(recording: Recording, name: str) -> tuple[Phrase, ...]:
    """What of a recording a format cannot hold; empty where it comes back the same.

    Args:
        recording: to be written.
        name: one of :data:`FORMATS`.
    """
    table, clock = recording.table, _clock(recording)
    error = (table.flags & ERROR) != 0
    relative = name in {"asc", "blf", "mf4"}
    start = recording.start_ns or 0
    below = bool(len(table)) and int(table.t_ns.min()) + start < 0
    known = (
        (
            _loses_names(recording, name),
            "names of buses become numbers" if name != "candump" else "names of buses change",
            "总线名称将改为编号" if name != "candump" else "总线名称将改变",
        ),
        (
            (relative and clock.moved) or (name == "candump" and below),
            "times are moved, for none may be negative",
            "时间不能为负，将整体平移",
        ),
        (
            bool(recording.local_start)
            and (name in {"candump", "mf4", "csv"} or (relative and _local(recording) is None)),
            "the start by a clock without a zone is not kept",
            "不保留无时区的起始时间",
        ),
        (
            name == "asc" and bool((error & ((table.length > 0) | (table.can_id > 0))).any()),
            "error frames lose identifier and data",
            "错误帧将丢失标识符和数据",
        ),
        (
            name == "blf" and bool((error & ((table.flags & TX) != 0)).any()),
            "error frames lose their direction",
            "错误帧将丢失方向",
        ),
        (
            name == "mf4" and not _in_order(table),
            "the order becomes that of time, by kinds of frames",
            "报文将按时间和类型排序",
        ),
        (name == "mf4" and clock.start_ns == 0, "a start at 1970 is not kept", "不保留 1970 年的起始时间"),
        (
            not recording.timed and name != "parquet",
            "that there are no times is not kept: all are 0",
            "无时间信息，时间全部写为 0",
        ),
    )
    return tuple(Phrase(en, zh) for lost, en, zh in known if lost)


def _in_order(table: FrameTable) -> bool:
    """Whether frames come back in this order from groups by kind, sorted by time."""
    kind = (table.flags & NO_MESSAGE).astype(np.int64)
    rank = np.where(kind & ERROR, 2, np.where(kind & REMOTE, 1, 0))
    same = table.t_ns[1:] == table.t_ns[:-1]
    return table.is_sorted and not bool((same & (rank[1:] < rank[:-1])).any())


def _pieces(table: FrameTable) -> Iterator[FrameTable]:
    for at in range(0, len(table), _ROWS):
        yield table[at : at + _ROWS]


def _write_text(recording: Recording, name: str, path: Path) -> None:
    table, clock = recording.table, _clock(recording)
    with path.open("w", encoding="utf-8", newline="") as out:
        if name == "csv":
            out.write(csv_head(recording.start_ns))
            for piece in _pieces(table):
                out.write(csv_text(piece, _names(recording)))
        elif name == "asc":
            out.write(asc_head(clock.start_ns, clock.local))
            numbers = _numbers(recording)
            for piece in _pieces(table):
                out.write(asc_text(piece, numbers, clock.shift_ns))
            out.write("End TriggerBlock\n")
        else:
            start = recording.start_ns or 0
            shift = max(-int(table.t_ns.min()), start) if len(table) else 0
            directed = bool((table.flags & TX).any())
            names = _candump_names(recording)
            for piece in _pieces(table):
                out.write(candump_text(piece, names, shift, directed=directed))


def _write_parquet(recording: Recording, path: Path) -> None:
    # By name: pyarrow is optional and ships no types.
    pa, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    facts = {
        "channels": list(recording.channels),
        "start_ns": recording.start_ns,
        "local_start": recording.local_start,
        "timed": recording.timed,
    }
    fields = [("t_ns", pa.int64()), ("can_id", pa.uint32()), ("flags", pa.uint8()), ("channel", pa.uint8())]
    schema = pa.schema([*fields, ("length", pa.uint8()), ("data", pa.binary())], {METADATA: json.dumps(facts).encode()})
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for piece in _pieces(recording.table):
            sizes = np.where(piece.flags & REMOTE, 0, piece.length).astype(np.int32)
            offsets: NDArray[np.int32] = np.concatenate([np.zeros(1, np.int32), np.cumsum(sizes, dtype=np.int32)])
            values = piece.data[np.arange(piece.width) < sizes[:, None]]
            buffers = [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(values.tobytes())]
            data = pa.Array.from_buffers(pa.binary(), len(piece), buffers)
            columns = [pa.array(getattr(piece, name)) for name in schema.names[:-1]]
            writer.write_table(pa.Table.from_arrays([*columns, data], schema=schema))


def check_target(path: str | Path, name: str | None = None) -> str:
    """The format for a file; says early that it cannot be written.

    Raises:
        OutputError: an ending that names no format, or no such folder.
        LibraryMissing: Parquet without pyarrow.
    """
    where = Path(path)
    chosen = name or ENDINGS.get(where.suffix.lower())
    if chosen not in FORMATS:
        endings = ", ".join(ENDINGS)
        raise OutputError(str(path), Phrase(f"its name must end in one of {endings}", f"文件名须以 {endings} 之一结尾"))
    if chosen == "parquet" and find_spec("pyarrow") is None:
        raise LibraryMissing(str(path), "pyarrow", "pip install pyarrow")
    if not where.parent.is_dir():
        raise OutputError(str(path), Phrase(f"there is no folder {where.parent}", f"没有文件夹 {where.parent}"))
    return chosen


def write_recording(recording: Recording, path: str | Path, name: str | None = None) -> tuple[Phrase, ...]:
    """Writes a recording; the ending chooses the format unless ``name`` does.

    Returns:
        what was lost.

    Raises:
        OutputError: it cannot be written; nothing is left behind.
        LibraryMissing: Parquet without pyarrow.
    """
    chosen = check_target(path, name)
    lost = losses_from_recording(recording, chosen)
    with whole_file(Path(path)) as part:
        if chosen == "parquet":
            _write_parquet(recording, part)
        elif chosen in {"blf", "mf4"}:
            clock = _clock(recording)
            with part.open("wb") as out:
                if chosen == "blf":
                    numbers = _numbers(recording)
                    write_blf(out, recording.table, numbers, clock.shift_ns, clock.start_ns, clock.local)
                else:
                    write_mf4(out, recording.table.by_time(), clock.shift_ns, clock.start_ns or 0)
        else:
            _write_text(recording, chosen, part)
    return lost
