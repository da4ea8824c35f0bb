"""Frames in Parquet, as ``huizhen log convert`` writes them; needs pyarrow.

Columns ``t_ns`` int64, ``can_id`` uint32, ``flags`` ``channel`` ``length`` uint8, ``data`` binary. The names of the
buses and the start stand in the file's metadata.
"""

from __future__ import annotations

import json
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbc.errors import LibraryMissing, NotARecording, Phrase, RecordingBroken
from dbc.recording.lines import Read
from dbc.table import CLASSIC_WIDTH, FD_WIDTH, REMOTE, FrameTable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from mmap import mmap
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["COLUMNS", "METADATA", "ParquetSource", "is_parquet", "read"]

METADATA: Final = b"huizhen.frames/1"
COLUMNS: Final = ("t_ns", "can_id", "flags", "channel", "length", "data")
_TYPES: Final = (np.int64, np.uint32, np.uint8, np.uint8, np.uint8)
_ROWS: Final = 1 << 17
"""Frames that are given at once."""
_LARGEST_ID: Final = 0x1FFF_FFFF


def is_parquet(head: bytes) -> bool:
    """Whether a file begins as Parquet."""
    return head.startswith(b"PAR1")


def _payloads(column: Any, sizes: NDArray[np.int64]) -> NDArray[np.uint8]:
    """uint8 (n, 8 or 64): payloads filled up with zeros."""
    longest = int(sizes.max()) if len(sizes) else 0
    if longest > FD_WIDTH:
        raise ValueError("payloads above 64 bytes")
    data = np.zeros((len(sizes), CLASSIC_WIDTH if longest <= CLASSIC_WIDTH else FD_WIDTH), np.uint8)
    row = 0
    for chunk in column.chunks:
        n = len(chunk)
        _, ends, values = chunk.buffers()
        wanted = sizes[row : row + n]
        if n:
            offsets = np.frombuffer(ends, np.int32)[chunk.offset : chunk.offset + n + 1].astype(np.int64)
            if not (np.diff(offsets) == wanted).all():
                raise ValueError("payloads that are not as long as they should be")
            stored = np.frombuffer(values, np.uint8) if values is not None else np.empty(0, np.uint8)
            inside = np.arange(data.shape[1]) < wanted[:, None]
            data[row : row + n][inside] = stored[offsets[0] : offsets[-1]]
        row += n
    return data


class ParquetSource:
    """The frames of one table.

    Args:
        file: its place, or its bytes.
        path: names it in errors.

    Raises:
        LibraryMissing: pyarrow is not installed.
    """

    name = "frames-parquet"
    wraps = 0
    maps: tuple[mmap, ...] = ()

    def __init__(self, file: Path | BytesIO, path: str) -> None:
        if find_spec("pyarrow") is None:
            raise LibraryMissing(path, "pyarrow", "pip install pyarrow")
        self._file, self._path = file, path
        self._facts: dict[str, Any] = {}

    def tables(self) -> Iterator[FrameTable]:
        """The frames in the table's order.

        Raises:
            NotARecording: a table of something else.
            RecordingBroken: damaged.
        """
        # By name: pyarrow is optional and ships no types.
        pa, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
        try:
            with parquet.ParquetFile(self._file, pre_buffer=False) as file:
                metadata = file.schema_arrow.metadata or {}
                if METADATA not in metadata or any(name not in file.schema_arrow.names for name in COLUMNS):
                    raise NotARecording(
                        self._path, Phrase("a Parquet table that holds no frames", "Parquet 表中没有报文")
                    )
                facts = json.loads(metadata[METADATA])
                if not isinstance(facts["start_ns"], int | None) or not isinstance(facts["timed"], bool):
                    raise TypeError("metadata of another kind")  # noqa: TRY301 - one place translates all
                facts["channels"] = [str(name) for name in facts["channels"]]
                self._facts = facts
                for batch in file.iter_batches(_ROWS, columns=list(COLUMNS)):
                    yield _table(pa, pa.Table.from_batches([batch]))
        # What pyarrow, the metadata's JSON and the checks above raise where a file is damaged.
        except (OSError, ValueError, TypeError, KeyError, NotImplementedError, MemoryError) as exc:
            reason = " ".join(str(exc).split())[:200] or type(exc).__name__
            raise RecordingBroken(self._path, Phrase("as Parquet", "Parquet 文件"), reason) from exc

    def outcome(self) -> Read:
        """What the metadata says."""
        facts = self._facts
        local = facts.get("local_start")
        return Read(
            FrameTable.empty(),
            tuple(facts["channels"]),
            start_ns=facts["start_ns"],
            timed=facts["timed"],
            local_start=str(local) if local else None,
        )


def _table(pa: Any, stored: Any) -> FrameTable:
    """Some rows as frames.

    Raises:
        ValueError: they are none.
        TypeError: columns of other types.
    """
    values = [stored[name].to_numpy() for name in COLUMNS[:-1]]
    fields = [value.astype(dtype, casting="safe") for value, dtype in zip(values, _TYPES, strict=True)]
    sizes = np.where(fields[2] & REMOTE, 0, fields[4]).astype(np.int64)
    if stored["data"].type != pa.binary():
        raise TypeError("payloads of another type")
    data = _payloads(stored["data"], sizes)
    if len(data) and (int(fields[1].max()) > _LARGEST_ID or int(fields[4].max()) > data.shape[1]):
        raise ValueError("an identifier or a length out of range")
    return FrameTable(fields[0], fields[1], fields[2], fields[3], fields[4], data)


def read(content: bytes, path: str) -> Read:
    """Reads a whole file.

    Raises:
        LibraryMissing: pyarrow is not installed.
        NotARecording: a table of something else.
        RecordingBroken: damaged.
    """
    source = ParquetSource(BytesIO(content), path)
    table = FrameTable.concat(list(source.tables()))
    out = source.outcome()
    out.table = table
    return out
