"""Decoded values written to files: CSV with one value per line, JSON lines with one frame per line, Parquet.

A file appears whole or not at all: it is written under another name beside its place and renamed at the end.
"""

from __future__ import annotations

import csv
import json
import math
import os
import tempfile
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TextIO, TypeAlias

import numpy as np

from dbc.errors import LibraryMissing, OutputError, Phrase
from dbc.summary import hex_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from dbc.decoding import Decoded, MessageColumns, SignalColumn

__all__ = [
    "FORMATS",
    "Alias",
    "Aliases",
    "Row",
    "check_output",
    "rows_in_time",
    "whole_file",
    "write_decoded",
    "write_rows",
    "write_samples",
]

FORMATS: Final = (".csv", ".jsonl", ".parquet")
"""Endings of the files that can be written."""

FLUSH_BYTES: Final = 96 << 20
"""Decoded bytes that are held before they are written."""
_FRAME_SOURCES: Final = frozenset({"frame", "j1939", "container"})
_ALIAS_HEAD: Final = ("vss", "vss_value")
_CSV_HEAD: Final = ("t_s", "channel", "id", "message", "signal", "value", "unit", "raw", "text")


def _seconds(t_ns: int) -> str:
    """Exact decimal seconds; floats would lose the last digits of a time since 1970."""
    sign, t_ns = ("-", -t_ns) if t_ns < 0 else ("", t_ns)
    return f"{sign}{t_ns // 1_000_000_000}.{t_ns % 1_000_000_000:09d}"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name to write to; what stands there at the end takes the place of ``path``."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
    except OSError as exc:
        raise OutputError(str(path), exc.strerror or str(exc)) from exc
    part = Path(name)
    try:
        yield part
        umask = os.umask(0)
        os.umask(umask)
        part.chmod(0o666 & ~umask)
        part.replace(path)
    except OSError as exc:
        raise OutputError(str(path), exc.strerror or str(exc)) from exc
    finally:
        part.unlink(missing_ok=True)


class Alias(Protocol):
    """What another naming calls a signal, with its own unit and sign."""

    @property
    def path(self) -> str:
        """The other name."""
        ...

    def value(self, ours: float) -> float:
        """A value in the other naming's unit."""
        ...


Aliases: TypeAlias = "Mapping[tuple[str, str], Alias]"
"""(database, ``Message.Signal``) -> its other name; a signal that has none is not in it."""


class Row(NamedTuple):
    """One frame of a message.

    Args:
        t_ns: its time.
        columns: all frames of the message.
        row: which of them.
    """

    t_ns: int
    columns: MessageColumns
    row: int


class _Known:
    """The cells of messages; those of frames are forgotten when their batch is over, those of long payloads kept."""

    def __init__(self, aliases: Aliases | None) -> None:
        self._aliases = aliases or {}
        self._frames: dict[int, tuple[MessageColumns, list[_Cells]]] = {}
        self._long: dict[int, tuple[MessageColumns, list[_Cells]]] = {}

    def of(self, columns: MessageColumns) -> list[_Cells]:
        """The cells of all signals of a message."""
        cells = self._frames if columns.source in _FRAME_SOURCES else self._long
        found = cells.get(id(columns))
        if found is None:
            prefix = columns.message.name
            found = cells[id(columns)] = (
                columns,
                [
                    _Cells(column, self._aliases.get((columns.database, f"{prefix}.{column.signal.name}")))
                    for column in columns.columns.values()
                ],
            )
        return found[1]

    def forget(self) -> None:
        """Ends a batch."""
        self._frames.clear()


class _Cells:
    """One signal's samples by the row of its message, as text-ready Python values."""

    def __init__(self, column: SignalColumn, alias: Alias | None) -> None:
        self.signal = column.signal
        self.alias = alias
        self.at = dict(zip(column.rows.tolist(), range(len(column)), strict=True))
        self.values = column.values.tolist()
        self.raw = column.raw.tolist()
        self.labels = column.signal.labels

    def cell(self, row: int) -> tuple[float | None, int, str] | None:
        """Value (None for "not available"), raw number and label; None when the signal is not in that frame."""
        at = self.at.get(row)
        if at is None:
            return None
        value = self.values[at]
        return (None if math.isnan(value) else value), self.raw[at], self.labels.get(self.raw[at], "")


def rows_in_time(decoded: Decoded) -> Iterator[Row]:
    """All decoded frames, oldest first."""
    messages = list(decoded.messages.values())
    if not messages:
        return
    times = np.concatenate([columns.t_ns for columns in messages])
    owners = np.repeat(np.arange(len(messages)), [len(columns) for columns in messages])
    rows = np.concatenate([np.arange(len(columns)) for columns in messages])
    order = np.argsort(times, kind="stable")
    for t_ns, owner, row in zip(times[order].tolist(), owners[order].tolist(), rows[order].tolist(), strict=True):
        yield Row(t_ns, messages[owner], row)


def _key(columns: MessageColumns, row: int) -> int:
    """The identifier of a frame; for J1939 with the source address that it came from."""
    key = columns.message.can_id | columns.message.extended << 31
    if columns.source_address is not None:
        key = key & ~0xFF | int(columns.source_address[row])
    return key


def _with_cells(
    batches: Iterable[Iterable[Row]], aliases: Aliases | None
) -> Iterator[tuple[int, MessageColumns, int, list[_Cells]]]:
    known = _Known(aliases)
    for batch in batches:
        for t_ns, columns, row in batch:
            yield t_ns, columns, row, known.of(columns)
        known.forget()


def _write_csv(batches: Iterable[Iterable[Row]], out: TextIO, aliases: Aliases | None) -> None:
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_CSV_HEAD if aliases is None else _CSV_HEAD + _ALIAS_HEAD)
    for t_ns, columns, row, cells in _with_cells(batches, aliases):
        stamp, name = _seconds(t_ns), columns.name
        frame_id, channel = hex_id(_key(columns, row)), int(columns.channel[row])
        for signal in cells:
            cell = signal.cell(row)
            if cell is not None:
                value, raw, label = cell
                shown = "" if value is None else repr(value)
                unit = signal.signal.unit
                line = (stamp, channel, frame_id, name, signal.signal.name, shown, unit, raw, label)
                writer.writerow(line if aliases is None else line + _other_name(signal.alias, value))


def _other_name(alias: Alias | None, value: float | None) -> tuple[str, str]:
    """The last two cells of a line."""
    if alias is None:
        return "", ""
    return alias.path, "" if value is None else repr(alias.value(value))


def _write_jsonl(batches: Iterable[Iterable[Row]], out: TextIO, aliases: Aliases | None) -> None:
    for t_ns, columns, row, cells in _with_cells(batches, aliases):
        values: dict[str, Any] = {}
        for signal in cells:
            cell = signal.cell(row)
            if cell is not None:
                value, raw, label = cell
                values[signal.signal.name] = {"value": value, "unit": signal.signal.unit, "raw": raw}
                if label:
                    values[signal.signal.name]["text"] = label
                if signal.alias is not None:
                    other = None if value is None else signal.alias.value(value)
                    values[signal.signal.name] |= {"vss": signal.alias.path, "vss_value": other}
        data = columns.payloads.data[row, : int(columns.payloads.length[row])].tobytes()
        line = {
            "schema": "huizhen.frame/1",
            "t_s": t_ns / 1e9,
            "t_ns": t_ns,
            "channel": int(columns.channel[row]),
            "id": hex_id(_key(columns, row)),
            "message": columns.name,
            "source": columns.source,
            "raw": data.hex().upper(),
            "signals": values,
        }
        out.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")


def _write_parquet(pieces: Iterable[Decoded], part: Path, aliases: Aliases | None) -> None:
    """One row per sample, dictionary-encoded names, in row groups of some megabytes; needs pyarrow."""
    # By name: pyarrow is optional and ships no types.
    pa, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")

    schema = pa.schema(
        [
            ("t_ns", pa.int64()),
            ("message", pa.dictionary(pa.int32(), pa.string())),
            ("signal", pa.dictionary(pa.int32(), pa.string())),
            ("value", pa.float64()),
            ("unit", pa.dictionary(pa.int32(), pa.string())),
        ]
        + ([] if aliases is None else [("vss", pa.dictionary(pa.int32(), pa.string())), ("vss_value", pa.float64())])
    )
    waiting: dict[tuple[str, str], list[Any]] = {}
    held = 0

    def flush(writer: Any) -> None:
        tables = [table for name in sorted(waiting, key=places.__getitem__) for table in waiting[name]]
        if tables:
            writer.write_table(pa.concat_tables(tables).unify_dictionaries().combine_chunks())
        waiting.clear()

    places: dict[tuple[str, str], int] = {}
    with parquet.ParquetWriter(part, schema, compression="zstd") as writer:
        for decoded in pieces:
            for columns in decoded.messages.values():
                for column in columns.columns.values():
                    key = columns.name, column.signal.name
                    places.setdefault(key, len(places))
                    table = _samples(pa, schema, columns, column, aliases)
                    waiting.setdefault(key, []).append(table)
                    held += table.nbytes
            if held >= FLUSH_BYTES:
                flush(writer)
                held = 0
        flush(writer)


def _samples(
    pa: Any,
    schema: Any,
    columns: MessageColumns,
    column: SignalColumn,
    aliases: Aliases | None,
) -> Any:
    """The samples of one signal as rows."""
    n = len(column)

    def same(text: str) -> Any:
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), [text])

    arrays = [
        pa.array(column.t_ns),
        same(columns.name),
        same(column.signal.name),
        pa.array(column.values, mask=~np.asarray(column.valid)),
        same(column.signal.unit),
    ]
    if aliases is not None:
        alias = aliases.get((columns.database, f"{columns.message.name}.{column.signal.name}"))
        if alias is None:
            arrays += [pa.nulls(n, schema.field("vss").type), pa.nulls(n, pa.float64())]
        else:
            others = np.array([alias.value(value) for value in column.values.tolist()], np.float64)
            arrays += [same(alias.path), pa.array(others, mask=~np.asarray(column.valid))]
    return pa.Table.from_arrays(arrays, schema=schema)


_TEXT: Final[dict[str, Callable[[Iterable[Iterable[Row]], TextIO, Aliases | None], None]]] = {
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
}


def check_output(path: str | Path) -> None:
    """Says early that a file cannot be written: by its ending, a missing library or a missing folder.

    Raises:
        OutputError: an ending that is none of :data:`FORMATS`, or no such folder.
        LibraryMissing: Parquet without pyarrow.
    """
    where = Path(path)
    suffix = where.suffix.lower()
    if suffix not in FORMATS:
        raise OutputError(
            str(path),
            Phrase("its name must end in .csv, .jsonl or .parquet", "文件名须以 .csv、.jsonl 或 .parquet 结尾"),
        )
    if suffix == ".parquet" and find_spec("pyarrow") is None:
        raise LibraryMissing(str(path), "pyarrow", "pip install pyarrow")
    if not where.parent.is_dir():
        raise OutputError(str(path), Phrase(f"there is no folder {where.parent}", f"没有文件夹 {where.parent}"))


def write_samples(pieces: Iterable[Decoded], path: str | Path, aliases: Aliases | None = None) -> None:
    """Writes all samples to Parquet, piece by piece; with ``aliases`` also the other names and values.

    Raises:
        OutputError: the file cannot be written; nothing is left behind.
        LibraryMissing: pyarrow is not installed.
    """
    check_output(path)
    with whole_file(Path(path)) as part:
        _write_parquet(pieces, part, aliases)


def write_rows(batches: Iterable[Iterable[Row]], path: str | Path, aliases: Aliases | None = None) -> None:
    """Writes frames to CSV or JSON lines, one after the other; of those before a batch nothing is kept.

    With ``aliases`` the signals' other names and values stand beside.

    Raises:
        OutputError: the file cannot be written; nothing is left behind.
    """
    check_output(path)
    where = Path(path)
    with whole_file(where) as part, part.open("w", encoding="utf-8", newline="") as out:
        _TEXT[where.suffix.lower()](batches, out, aliases)


def write_decoded(decoded: Decoded, path: str | Path) -> None:
    """Writes all samples; the form is chosen by the name's ending.

    Raises:
        OutputError: the file cannot be written; nothing is left behind.
        LibraryMissing: Parquet without pyarrow.
    """
    if Path(path).suffix.lower() == ".parquet":
        write_samples([decoded], path)
    else:
        write_rows([rows_in_time(decoded)], path)
