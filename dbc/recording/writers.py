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

What a given recording would lose is found out before it is written (:func:`losses_of`).
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
from dbc.recording.blfwriter import BlfSpan, write_blf
from dbc.recording.columns import METADATA
from dbc.recording.mf4writer import write_mf4
from dbc.recording.ordering import in_order
from dbc.recording.textwriters import asc_head, asc_text, candump_text, csv_head, csv_text
from dbc.table import REMOTE, FrameTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from dbc.recording import Recording
    from dbc.recording.facts import Facts

__all__ = ["ENDINGS", "FORMATS", "check_target", "losses_of", "write_frames", "write_recording"]

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


def _local(facts: Facts) -> datetime | None:
    try:
        found = datetime.fromisoformat(facts.local_start or "")
    except ValueError:
        return None
    return found.replace(tzinfo=None)


def _clock(facts: Facts) -> _Clock:
    """Times since a start in whole ms, none of them negative."""
    first, start = facts.tally.first_ns, facts.start_ns
    if start is not None and (start or first >= _YEAR_2000_NS):
        begin = (start + first) // _MILLI_NS * _MILLI_NS if start + first >= 0 else 0
        if start % _MILLI_NS == 0 and first >= 0 and start >= _YEAR_2000_NS:
            begin = start
        return _Clock(start - begin, begin, None, moved=start + first < 0)
    return _Clock(max(-first, 0), None, _local(facts), moved=first < 0)


def _buses(facts: Facts) -> int:
    return max(facts.tally.buses, default=0) + 1


def _numbers(facts: Facts) -> list[int]:
    """Numbers of the channels from 1: their names, where those are such numbers."""
    names = facts.channels
    if all(re.fullmatch(r"[1-9]\d{0,2}", name) and int(name) < 256 for name in names) and len(set(names)) == len(names):
        return [int(name) for name in names] or [1]
    return [at + 1 for at in range(max(len(names), _buses(facts)))]


def _names(facts: Facts) -> list[str]:
    """A name for each bus."""
    names = list(facts.channels)
    return names + [str(at) for at in range(len(names), _buses(facts))]


def _candump_names(facts: Facts) -> list[str]:
    """The names of the buses as candump can write them: without blanks, none twice."""
    out: list[str] = []
    for at, name in enumerate(_names(facts)):
        out.append(name if _BUS.fullmatch(name) and name not in out else f"bus{at}")
    return out


def _loses_names(facts: Facts, name: str) -> bool:
    used = sorted(facts.tally.buses)
    names = _names(facts)
    if name == "candump":
        written = _candump_names(facts)
        return any(written[at] != names[at] for at in used)
    if name in {"asc", "blf"}:
        numbers = _numbers(facts)
        return any(names[at] != str(numbers[at]) for at in used)
    return name == "mf4" and any(names[at] != str(at) for at in used)


def losses_of(facts: Facts, name: str) -> tuple[Phrase, ...]:
    """What of a recording a format cannot hold; empty where it comes back the same.

    Args:
        facts: of what is to be written.
        name: one of :data:`FORMATS`.
    """
    tally, clock = facts.tally, _clock(facts)
    relative = name in {"asc", "blf", "mf4"}
    below = bool(tally.frames) and tally.first_ns + (facts.start_ns or 0) < 0
    known = (
        (
            _loses_names(facts, name),
            "names of buses become numbers" if name != "candump" else "names of buses change",
            "总线名称将改为编号" if name != "candump" else "总线名称将改变",
        ),
        (
            (relative and clock.moved) or (name == "candump" and below),
            "times are moved, for none may be negative",
            "时间不能为负，将整体平移",
        ),
        (
            bool(facts.local_start) and (name in {"candump", "mf4", "csv"} or (relative and _local(facts) is None)),
            "the start by a clock without a zone is not kept",
            "不保留无时区的起始时间",
        ),
        (
            name == "asc" and tally.has_error_content,
            "error frames lose identifier and data",
            "错误帧将丢失标识符和数据",
        ),
        (
            name == "blf" and tally.has_sent_errors,
            "error frames lose their direction",
            "错误帧将丢失方向",
        ),
        (
            name == "mf4" and not (tally.in_time and tally.in_kinds),
            "the order becomes that of time, by kinds of frames",
            "报文将按时间和类型排序",
        ),
        (name == "mf4" and clock.start_ns == 0, "a start at 1970 is not kept", "不保留 1970 年的起始时间"),
        (
            not facts.timed and name != "parquet",
            "that there are no times is not kept: all are 0",
            "无时间信息，时间全部写为 0",
        ),
    )
    return tuple(Phrase(en, zh) for lost, en, zh in known if lost)


def _write_text(facts: Facts, pieces: Iterable[FrameTable], name: str, path: Path) -> None:
    clock = _clock(facts)
    with path.open("w", encoding="utf-8", newline="") as out:
        if name == "csv":
            out.write(csv_head(facts.start_ns))
            names = _names(facts)
            for piece in _small(pieces):
                out.write(csv_text(piece, names))
        elif name == "asc":
            out.write(asc_head(clock.start_ns, clock.local))
            numbers = _numbers(facts)
            for piece in _small(pieces):
                out.write(asc_text(piece, numbers, clock.shift_ns))
            out.write("End TriggerBlock\n")
        else:
            shift = max(-facts.tally.first_ns, facts.start_ns or 0) if facts.tally.frames else 0
            names = _candump_names(facts)
            for piece in _small(pieces):
                out.write(candump_text(piece, names, shift, directed=facts.tally.is_sent))


def _small(pieces: Iterable[FrameTable]) -> Iterator[FrameTable]:
    for piece in pieces:
        for at in range(0, len(piece), _ROWS):
            yield piece[at : at + _ROWS]


def _write_parquet(facts: Facts, pieces: Iterable[FrameTable], path: Path) -> None:
    # By name: pyarrow is optional and ships no types.
    pa, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    metadata = {
        "channels": list(facts.channels),
        "start_ns": facts.start_ns,
        "local_start": facts.local_start,
        "timed": facts.timed,
    }
    fields = [("t_ns", pa.int64()), ("can_id", pa.uint32()), ("flags", pa.uint8()), ("channel", pa.uint8())]
    schema = pa.schema(
        [*fields, ("length", pa.uint8()), ("data", pa.binary())], {METADATA: json.dumps(metadata).encode()}
    )
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for piece in _small(pieces):
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


def _by_time(facts: Facts, pieces: Callable[[], Iterable[FrameTable]]) -> Callable[[], Iterable[FrameTable]]:
    """The frames by time; where captures follow each other whose times overlap, all of them have to be in memory."""
    if facts.tally.in_time:
        return pieces
    if not facts.tally.segment_count:
        return lambda: (piece for piece, _ in in_order(pieces()))
    table = FrameTable.concat(list(pieces())).by_time()
    return lambda: [table]


def write_frames(
    facts: Facts, pieces: Callable[[], Iterable[FrameTable]], path: str | Path, name: str | None = None
) -> tuple[Phrase, ...]:
    """Writes a recording piece by piece; the ending chooses the format unless ``name`` does.

    Args:
        facts: what is known of all its frames.
        pieces: gives all of them, each time it is called.
        path: to write to.
        name: one of :data:`FORMATS`.

    Returns:
        what was lost.

    Raises:
        OutputError: it cannot be written; nothing is left behind.
        LibraryMissing: Parquet without pyarrow.
    """
    chosen = check_target(path, name)
    clock = _clock(facts)
    with whole_file(Path(path)) as part:
        if chosen == "parquet":
            _write_parquet(facts, pieces(), part)
        elif chosen == "blf":
            last_ns = facts.tally.last_ns + clock.shift_ns if facts.tally.frames else 0
            span = BlfSpan(clock.start_ns, clock.local, last_ns)
            with part.open("wb") as out:
                write_blf(out, pieces(), _numbers(facts), clock.shift_ns, span)
        elif chosen == "mf4":
            sorted_pieces = _by_time(facts, pieces)
            with part.open("wb") as out:
                write_mf4(out, sorted_pieces, facts.tally, clock.shift_ns, clock.start_ns or 0)
        else:
            _write_text(facts, pieces(), chosen, part)
    return losses_of(facts, chosen)


def write_recording(recording: Recording, path: str | Path, name: str | None = None) -> tuple[Phrase, ...]:
    """Writes a recording that is in memory; see :func:`write_frames`."""
    return write_frames(recording.facts, lambda: [recording.table], path, name)
