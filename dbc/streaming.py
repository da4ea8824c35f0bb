"""Recordings of any size to files: read, decoded and written piece by piece.

Memory does not grow with the recording: what is decoded is held until a number of bytes is reached and then goes to
the files, a row group for each message. Frames that belong to longer payloads (ISO-TP, J1939-TP) are set aside and put
together at the end, so that no piece's border cuts them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from heapq import merge
from importlib import import_module
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from dbc.decoding import decode_table
from dbc.errors import LibraryMissing, OutputError, Phrase
from dbc.j1939tp import transport_rows
from dbc.output import Row, rows_in_time, write_rows, write_samples
from dbc.recording.ordering import in_order
from dbc.recording.stream import RecordingStream, stream_recording
from dbc.summary import Summary
from dbc.table import CLASSIC_WIDTH, FD, FrameTable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from dbc.database import Database
    from dbc.decoding import Decoded, MessageColumns
    from dbc.output import Aliases
    from dbc.recording.facts import Facts

__all__ = ["FLUSH_BYTES", "ParquetFolder", "Streamed", "decode_to_file", "decode_to_folder"]

FLUSH_BYTES: Final = 96 << 20
"""Decoded bytes, of all messages together, that are held before they are written."""

_FRAMES: Final = 200_000
_UNSAFE: Final = str.maketrans(dict.fromkeys('/\\:*?"<>|\x00', "_"))


@dataclass(frozen=True, slots=True)
class Streamed:
    """What became of a recording.

    Args:
        facts: what is known of it.
        decoded_frames: those that belong to a message of a database.
        unknown_ids: keys (identifier, with bit 31 for 29 bits) that no database knows, sorted.
        files: the file of each message, by its name.
    """

    facts: Facts
    decoded_frames: int
    unknown_ids: tuple[int, ...]
    files: dict[str, Path]


class ParquetFolder:
    """One Parquet file per message: a row per frame, a column per signal in its smallest type, null where no value.

    The folder appears whole at :meth:`close` or not at all.

    Args:
        folder: must not be there yet.
        flush_bytes: decoded bytes that are held before they are written.

    Raises:
        OutputError: the folder is there, or cannot be made.
        LibraryMissing: pyarrow is not installed.
    """

    def __init__(self, folder: str | Path, *, flush_bytes: int = FLUSH_BYTES) -> None:
        self.folder = Path(folder)
        if find_spec("pyarrow") is None:
            raise LibraryMissing(str(folder), "pyarrow", "pip install pyarrow")
        if self.folder.exists():
            raise OutputError(str(folder), Phrase("it is there already", "该文件夹已存在"))
        try:
            self._place = Path(tempfile.mkdtemp(prefix=f".{self.folder.name}.", dir=self.folder.parent))
        except OSError as exc:
            raise OutputError(str(folder), exc.strerror or str(exc)) from exc
        # By name: pyarrow is optional and ships no types.
        self._arrow: Any = import_module("pyarrow")
        self._parquet: Any = import_module("pyarrow.parquet")
        self._flush_bytes = flush_bytes
        self._waiting: dict[str, list[Any]] = {}
        self._held = 0
        self._writers: dict[str, Any] = {}
        self._names: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is not None:
            self.discard()

    def add(self, decoded: Decoded) -> None:
        """Takes all samples; writes when enough are held."""
        for columns in decoded.messages.values():
            table = self._table(columns)
            self._waiting.setdefault(columns.name, []).append(table)
            self._held += table.nbytes
        if self._held >= self._flush_bytes:
            self.flush()

    def _column(self, values: NDArray[np.generic], valid: NDArray[np.bool_] | None) -> Any:
        """A column; masks are given only where there is something to mask."""
        mask = None if valid is None or valid.all() else ~valid
        return self._arrow.array(values, mask=mask)

    def _table(self, columns: MessageColumns) -> Any:
        n = len(columns)
        fields: dict[str, Any] = {"t_ns": self._column(columns.t_ns, None)}
        fields["channel"] = self._column(np.ascontiguousarray(columns.channel), None)
        if columns.source_address is not None:
            fields["source_address"] = self._column(columns.source_address, None)
        for name, column in columns.columns.items():
            values, valid = column.values, column.valid
            if len(column) != n:
                values, valid = np.zeros(n, column.values.dtype), np.zeros(n, np.bool_)
                values[column.rows] = column.values
                valid[column.rows] = column.valid
            title = name if name not in fields else f"{name}_"
            fields[title] = self._column(values, valid)
        return self._arrow.table(fields)

    def flush(self) -> None:
        """Writes what is held.

        Raises:
            OutputError: a file cannot be written.
        """
        waiting, self._waiting, self._held = self._waiting, {}, 0
        try:
            for name, tables in waiting.items():
                table = self._arrow.concat_tables(tables)
                writer = self._writers.get(name)
                if writer is None:
                    writer = self._writers[name] = self._parquet.ParquetWriter(
                        self._place / self._file_name(name), table.schema, compression="zstd"
                    )
                writer.write_table(table)
        except OSError as exc:
            raise OutputError(str(self.folder), exc.strerror or str(exc)) from exc

    def _file_name(self, name: str) -> str:
        plain = name.translate(_UNSAFE)
        taken = {other.lower() for other in self._names.values()}
        while f"{plain}.parquet".lower() in taken:
            plain += "_"
        self._names[name] = f"{plain}.parquet"
        return self._names[name]

    def close(self) -> dict[str, Path]:
        """Finishes all files and puts the folder in its place; returns the file of each message.

        Raises:
            OutputError: a file cannot be written; nothing is left behind.
        """
        try:
            self.flush()
            for writer in self._writers.values():
                writer.close()
            umask = os.umask(0)
            os.umask(umask)
            self._place.chmod(0o777 & ~umask)
            self._place.rename(self.folder)
        except OSError as exc:
            self.discard()
            raise OutputError(str(self.folder), exc.strerror or str(exc)) from exc
        return {name: self.folder / file for name, file in self._names.items()}

    def discard(self) -> None:
        """Leaves nothing behind."""
        shutil.rmtree(self._place, ignore_errors=True)


def _parts_of_longer(table: FrameTable, long_keys: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """bool (n,): frames that carry parts of longer payloads."""
    mask: NDArray[np.bool_] = np.isin(table.key, long_keys) & ((table.flags & np.uint8(FD)) == 0)
    mask[transport_rows(table)] = True
    return mask


class _Aside:
    """Sorts out the frames that carry parts of longer payloads."""

    def __init__(self, databases: Sequence[Database]) -> None:
        self._long_keys = np.array(
            [key for database in databases for key, m in database.by_key.items() if m.length > CLASSIC_WIDTH],
            np.uint32,
        )

    def split(self, table: FrameTable) -> tuple[FrameTable, FrameTable | None]:
        """The other frames, and those; None where there are none."""
        mask = _parts_of_longer(table, self._long_keys)
        return (table[~mask], table[mask]) if mask.any() else (table, None)


def decoded_pieces(
    pieces: Iterable[FrameTable],
    databases: Sequence[Database],
    signals: Collection[str] | None = None,
    *,
    native: bool = False,
) -> Iterator[Decoded]:
    """Pieces of one recording, in its order, decoded; longer payloads come last."""
    sorting, aside = _Aside(databases), list[FrameTable]()
    for piece in pieces:
        table, parts = sorting.split(piece)
        if parts is not None:
            aside.append(parts)
        yield decode_table(table, databases, signals=signals, native=native)
    if aside:
        yield decode_table(FrameTable.concat(aside), databases, signals=signals, native=native)


def _captures(pieces: Iterable[FrameTable]) -> Iterator[tuple[FrameTable, int]]:
    """Frames by time, with the number of their capture."""
    number = 0
    for table, begins in in_order(pieces):
        number += begins
        yield table, number


class _Late:
    """The longer payloads of a recording by capture and time."""

    def __init__(self, parts: dict[int, list[FrameTable]], decode: Callable[[FrameTable], Decoded]) -> None:
        self.decoded = {number: decode(FrameTable.concat(tables)) for number, tables in parts.items()}
        self._waiting = {number: rows_in_time(decoded) for number, decoded in self.decoded.items()}
        self._next = {number: next(rows, None) for number, rows in self._waiting.items()}

    def until(self, capture: int, t_ns: int | None) -> Iterator[Row]:
        """Those of a capture up to a time; None is all that are left of it."""
        while (row := self._next.get(capture)) is not None and (t_ns is None or row.t_ns <= t_ns):
            yield row
            self._next[capture] = next(self._waiting[capture], None)


def batches_in_time(
    stream: RecordingStream,
    databases: Sequence[Database],
    signals: Collection[str] | None,
    took: Callable[[Decoded], None],
) -> Iterator[Iterable[Row]]:
    """All decoded frames of a recording by time, capture by capture; what was decoded is told to ``took`` too.

    Where there may be longer payloads the recording is gone through twice: once for these.
    """
    sorting = _Aside(databases)

    def decode(table: FrameTable) -> Decoded:
        return decode_table(table, databases, signals=signals)

    parts: dict[int, list[FrameTable]] = {}
    if any(m.length > CLASSIC_WIDTH or m.is_j1939 for database in databases for m in database.messages):
        for table, number in _captures(stream.pieces()):
            _, long = sorting.split(table)
            if long is not None:
                parts.setdefault(number, []).append(long)
    late = _Late(parts, decode)
    for decoded in late.decoded.values():
        took(decoded)
    capture = 0
    for table, number in _captures(stream.pieces()):
        if number != capture:
            yield late.until(capture, None)
            capture = number
        others, _ = sorting.split(table) if parts else (table, None)
        decoded = decode(others)
        took(decoded)
        yield merge(late.until(number, int(table.t_ns[-1])), rows_in_time(decoded), key=attrgetter("t_ns"))
    yield late.until(capture, None)


def decode_to_folder(
    path: str | Path,
    databases: Sequence[Database],
    folder: str | Path,
    *,
    signals: Collection[str] | None = None,
    flush_bytes: int = FLUSH_BYTES,
) -> Streamed:
    """Decodes a recording of any dialect and size into a folder of Parquet files.

    Args:
        path: of the recording.
        databases: in order of preference.
        folder: must not be there yet.
        signals: only these (``Signal`` or ``Message.Signal``); None is all.
        flush_bytes: decoded bytes that are held before they are written.

    Raises:
        RecordingError: the recording cannot be read.
        FileMissing: it is not there or not readable.
        OutputError: the folder is there, or a file cannot be written; nothing is left behind.
        LibraryMissing: pyarrow is not installed.
    """
    decoded_frames = 0
    unknown: set[int] = set()
    with stream_recording(path) as stream:
        with ParquetFolder(folder, flush_bytes=flush_bytes) as out:
            for decoded in decoded_pieces(stream.pieces(_FRAMES), databases, signals, native=True):
                decoded_frames += decoded.decoded_frames
                unknown.update(decoded.unknown_ids)
                out.add(decoded)
            files = out.close()
        facts = stream.facts
    return Streamed(facts, decoded_frames, tuple(sorted(unknown)), files)


def decode_to_file(
    stream: RecordingStream,
    databases: Sequence[Database],
    path: str | Path | None,
    *,
    signals: Collection[str] | None = None,
    aliases: Aliases | None = None,
) -> Summary:
    """Decodes a recording of any size into one file, by its ending; into none where there is no path.

    Lines of CSV and JSON are in the order of time; where the recording's time jumps back, another capture follows.
    With ``aliases`` the signals' other names and values stand beside their own.

    Returns:
        what the signals did.

    Raises:
        RecordingError: the recording cannot be read.
        OutputError: the file cannot be written; nothing is left behind.
        LibraryMissing: Parquet without pyarrow.
    """
    summary = Summary(databases)
    if path is not None and Path(path).suffix.lower() != ".parquet":
        write_rows(batches_in_time(stream, databases, signals, summary.add), path, aliases)
        return summary

    def pieces() -> Iterator[Decoded]:
        ordered = (table for table, _ in in_order(stream.pieces(_FRAMES)))
        for decoded in decoded_pieces(ordered, databases, signals):
            summary.add(decoded)
            yield decoded

    if path is None:
        for _ in pieces():
            pass
    else:
        write_samples(pieces(), path, aliases)
    return summary
