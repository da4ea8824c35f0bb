"""Recordings of CAN traffic, opened by their content and not by their name.

::

    open_recording(path)  ->  Recording(format, table, channels, bad_lines)
       candump.py    the log format of can-utils (candump -L, -l)
       gvret.py      CSV of SavvyCAN and GVRET
       mf4.py        ASAM MDF 4 bus logging

What cannot be read in a text log is counted and located line by line; the rest is read. A file of which nothing can
be read is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dbc.errors import FileMissing, NotARecording, Phrase, RecordingTooLarge
from dbc.recording import candump, gvret, mf4
from dbc.recording.lines import BadLine

if TYPE_CHECKING:
    from dbc.recording.lines import Read
    from dbc.table import FrameTable

__all__ = ["MAX_BYTES", "BadLine", "Recording", "open_recording", "recording_from_bytes"]

MAX_BYTES: Final = 2 << 30
"""The largest recording that is read at once."""

_HEAD: Final = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """The frames of one file.

    Args:
        path: as given.
        format: ``candump``, ``gvret`` or ``mf4``.
        table: the frames in the file's order.
        channels: names of the buses by the table's channel index.
        bad_lines: the first lines that could not be read, with the reason.
        bad_line_count: how many there are.
        start_ns: UTC in ns since the Unix epoch of the table's time 0, 0 when the stamps are UTC themselves; None
            when the recording does not say.
        whole_seconds: the stamps have no fraction.
    """

    path: str
    format: str
    table: FrameTable
    channels: tuple[str, ...]
    bad_lines: tuple[BadLine, ...] = ()
    bad_line_count: int = 0
    start_ns: int | None = None
    whole_seconds: bool = False


def recording_from_bytes(content: bytes, path: str) -> Recording:
    """Reads a recording that is already in memory; ``path`` only names it in errors.

    Raises:
        NotARecording: no dialect recognised.
        RecordingBroken: recognised, but unreadable.
        LibraryMissing: recognised, but it needs a library that is not installed.
    """
    head = content[:_HEAD]
    read: Read
    if mf4.is_mf4(head):
        name, read = "mf4", mf4.read(content, path)
    elif gvret.is_gvret(head):
        name, read = "gvret", gvret.read(content, path)
    elif candump.is_candump(head):
        name, read = "candump", candump.read(content, path)
    elif not content:
        raise NotARecording(path, Phrase("the file is empty", "文件是空的"))
    else:
        raise NotARecording(path, Phrase("no known dialect in it", "无法识别其格式"))
    whole = bool(len(read.table)) and name != "mf4" and not (read.table.t_ns % 1_000_000_000).any()
    return Recording(
        path, name, read.table, read.channels, tuple(read.bad_lines), read.bad_line_count, read.start_ns, whole
    )


def open_recording(path: str | Path, *, max_bytes: int = MAX_BYTES) -> Recording:
    """Reads a recording of any dialect we know.

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
        content = where.read_bytes()
    except (OSError, ValueError) as exc:
        raise FileMissing(str(path), getattr(exc, "strerror", None) or str(exc)) from exc
    return recording_from_bytes(content, str(path))
