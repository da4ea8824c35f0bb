"""Recordings of any size to Parquet: read and decoded piece by piece, written message by message.

Memory does not grow with the recording: what is decoded is held until a number of bytes is reached and then goes to
the files, a row group for each message. Frames that belong to longer payloads (ISO-TP, J1939-TP) are set aside and put
together at the end, so that no piece's border cuts them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self

import numpy as np

from dbc.decode import decode_table
from dbc.errors import FileMissing, LibraryMissing, OutputError, Phrase
from dbc.j1939tp import transport_rows
from dbc.recording import open_recording
from dbc.recording.blfstream import opened_blf
from dbc.recording.candump import CandumpLines, is_candump, read_stream
from dbc.recording.linestream import opened_stream
from dbc.table import CLASSIC_WIDTH, FD, FrameTable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from numpy.typing import NDArray

    from dbc.database import Database
    from dbc.decode import Decoded, MessageColumns
    from dbc.recording.lines import BadLine

__all__ = ["FLUSH_BYTES", "ParquetFolder", "Streamed", "decode_to_folder"]

FLUSH_BYTES: Final = 96 << 20
"""Decoded bytes, of all messages together, that are held before they are written."""

_FRAMES: Final = 200_000
_HEAD: Final = 1 << 16
_UNSAFE: Final = str.maketrans(dict.fromkeys('/\\:*?"<>|\x00', "_"))


@dataclass(frozen=True, slots=True)
class Streamed:
    """What became of a recording.

    Args:
        frames: CAN frames in it.
        decoded_frames: those that belong to a message of a database.
        unknown_ids: keys (identifier, with bit 31 for 29 bits) that no database knows, sorted.
        files: the file of each message, by its name.
        bad_lines: the first lines that could not be read.
        bad_line_count: how many there are.
    """

    frames: int
    decoded_frames: int
    unknown_ids: tuple[int, ...]
    files: dict[str, Path]
    bad_lines: tuple[BadLine, ...]
    bad_line_count: int


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


def _pieces(tables: Iterator[FrameTable]) -> Iterator[FrameTable]:
    """Tables of a size that is worth decoding."""
    waiting: list[FrameTable] = []
    frames = 0
    for table in tables:
        waiting.append(table)
        frames += len(table)
        if frames >= _FRAMES:
            yield FrameTable.concat(waiting)
            waiting, frames = [], 0
    if frames:
        yield FrameTable.concat(waiting)


def _parts_of_longer(table: FrameTable, long_keys: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """bool (n,): frames that carry parts of longer payloads."""
    mask: NDArray[np.bool_] = np.isin(table.key, long_keys) & ((table.flags & np.uint8(FD)) == 0)
    mask[transport_rows(table)] = True
    return mask


def _decode(
    pieces: Iterator[FrameTable],
    databases: Sequence[Database],
    folder: str | Path,
    signals: Collection[str] | None,
    flush_bytes: int,
) -> Streamed:
    """Decodes pieces of one recording, in its order, into a folder."""
    long_keys = np.array(
        [key for database in databases for key, m in database.by_key.items() if m.length > CLASSIC_WIDTH], np.uint32
    )
    aside: list[FrameTable] = []
    frames = decoded_frames = 0
    unknown: set[int] = set()
    with ParquetFolder(folder, flush_bytes=flush_bytes) as out:
        for piece in pieces:
            frames += len(piece)
            mask = _parts_of_longer(piece, long_keys)
            table = piece
            if mask.any():
                aside.append(piece[mask])
                table = piece[~mask]
            decoded = decode_table(table, databases, signals=signals, native=True)
            decoded_frames += decoded.decoded_frames
            unknown.update(decoded.unknown_ids)
            out.add(decoded)
        if aside:
            decoded = decode_table(FrameTable.concat(aside), databases, signals=signals, native=True)
            decoded_frames += decoded.decoded_frames
            unknown.update(decoded.unknown_ids)
            out.add(decoded)
        files = out.close()
    return Streamed(frames, decoded_frames, tuple(sorted(unknown)), files, (), 0)


def _decode_candump(
    file: BinaryIO,
    databases: Sequence[Database],
    folder: str | Path,
    signals: Collection[str] | None,
    flush_bytes: int,
) -> Streamed:
    """Decodes a candump log of any size."""
    reader = CandumpLines()
    result = _decode(_pieces(read_stream(file, reader)), databases, folder, signals, flush_bytes)
    return replace(result, bad_lines=tuple(sorted(reader.bad)), bad_line_count=reader.bad_count)


def decode_to_folder(
    path: str | Path,
    databases: Sequence[Database],
    folder: str | Path,
    *,
    signals: Collection[str] | None = None,
    flush_bytes: int = FLUSH_BYTES,
) -> Streamed:
    """Decodes a recording of any dialect into a folder of Parquet files; text logs and BLF may be of any size.

    Other binary ones, archives, and a few dialects are read whole (23 bytes of memory a frame, 79 where there may be
    CAN FD) and decoded piece by piece.

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
    try:
        file = Path(path).open("rb")  # noqa: SIM115 - closed by the with below; only its opening is translated
    except (OSError, ValueError) as exc:
        raise FileMissing(str(path), getattr(exc, "strerror", None) or str(exc)) from exc
    with file:
        if is_candump(file.read(_HEAD)):
            file.seek(0)
            return _decode_candump(file, databases, folder, signals, flush_bytes)
    with opened_stream(path) as stream:
        if stream is not None:
            result = _decode(_pieces(stream.tables()), databases, folder, signals, flush_bytes)
            return replace(result, bad_lines=tuple(stream.bad), bad_line_count=stream.bad_count)
    with opened_blf(path) as blf:
        if blf is not None:
            return _decode(_pieces(blf.tables()), databases, folder, signals, flush_bytes)
    recording = open_recording(path)
    table = recording.table
    pieces = (table[begin : begin + _FRAMES] for begin in range(0, len(table), _FRAMES))
    result = _decode(pieces, databases, folder, signals, flush_bytes)
    return replace(result, bad_lines=recording.bad_lines, bad_line_count=recording.bad_line_count)
