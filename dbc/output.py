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
from typing import TYPE_CHECKING, Any, Final, TextIO

import numpy as np

from dbc.errors import LibraryMissing, OutputError, Phrase
from dbc.protection import find_protection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dbc.decode import Decoded, MessageColumns, SignalColumn

__all__ = ["FORMATS", "check_output", "summary_from_decoded", "whole_file", "write_decoded"]

FORMATS: Final = (".csv", ".jsonl", ".parquet")
"""Endings of the files that can be written."""

_CSV_HEAD: Final = ("t_s", "channel", "id", "message", "signal", "value", "unit", "raw", "text")


def _hex_id(key: int) -> str:
    return f"0x{key & 0x1FFF_FFFF:08X}" if key >> 31 else f"0x{key:03X}"


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


class _Cells:
    """One signal's samples by the row of its message, as text-ready Python values."""

    def __init__(self, column: SignalColumn) -> None:
        self.signal = column.signal
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


def _in_time(decoded: Decoded) -> Iterator[tuple[int, MessageColumns, int]]:
    """All decoded frames, oldest first: time, message and row."""
    messages = list(decoded.messages.values())
    if not messages:
        return
    times = np.concatenate([columns.t_ns for columns in messages])
    owners = np.repeat(np.arange(len(messages)), [len(columns) for columns in messages])
    rows = np.concatenate([np.arange(len(columns)) for columns in messages])
    order = np.argsort(times, kind="stable")
    for t_ns, owner, row in zip(times[order].tolist(), owners[order].tolist(), rows[order].tolist(), strict=True):
        yield t_ns, messages[owner], row


def _key(columns: MessageColumns, row: int) -> int:
    """The identifier of a frame; for J1939 with the source address that it came from."""
    key = columns.message.can_id | columns.message.extended << 31
    if columns.source_address is not None:
        key = key & ~0xFF | int(columns.source_address[row])
    return key


def _write_csv(decoded: Decoded, out: TextIO) -> None:
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_CSV_HEAD)
    cells = {id(m): [_Cells(column) for column in m.columns.values()] for m in decoded.messages.values()}
    for t_ns, columns, row in _in_time(decoded):
        stamp, name = _seconds(t_ns), columns.name
        frame_id, channel = _hex_id(_key(columns, row)), int(columns.channel[row])
        for signal in cells[id(columns)]:
            cell = signal.cell(row)
            if cell is not None:
                value, raw, label = cell
                shown = "" if value is None else repr(value)
                unit = signal.signal.unit
                writer.writerow((stamp, channel, frame_id, name, signal.signal.name, shown, unit, raw, label))


def _write_jsonl(decoded: Decoded, out: TextIO) -> None:
    cells = {id(m): [_Cells(column) for column in m.columns.values()] for m in decoded.messages.values()}
    for t_ns, columns, row in _in_time(decoded):
        values: dict[str, Any] = {}
        for signal in cells[id(columns)]:
            cell = signal.cell(row)
            if cell is not None:
                value, raw, label = cell
                values[signal.signal.name] = {"value": value, "unit": signal.signal.unit, "raw": raw}
                if label:
                    values[signal.signal.name]["text"] = label
        data = columns.payloads.data[row, : int(columns.payloads.length[row])].tobytes()
        line = {
            "schema": "huizhen.frame/1",
            "t_s": t_ns / 1e9,
            "t_ns": t_ns,
            "channel": int(columns.channel[row]),
            "id": _hex_id(_key(columns, row)),
            "message": columns.name,
            "source": columns.source,
            "raw": data.hex().upper(),
            "signals": values,
        }
        out.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")


def _write_parquet(decoded: Decoded, part: Path) -> None:
    """One row per sample, dictionary-encoded names; needs pyarrow."""
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
    )
    with parquet.ParquetWriter(part, schema, compression="zstd") as writer:
        for columns in decoded.messages.values():
            for column in columns.columns.values():
                n = len(column)

                def same(text: str, n: int = n) -> Any:
                    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), [text])

                arrays = [
                    pa.array(column.t_ns),
                    same(columns.name),
                    same(column.signal.name),
                    pa.array(column.values, mask=~np.asarray(column.valid)),
                    same(column.signal.unit),
                ]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


_TEXT: Final[dict[str, Callable[[Decoded, TextIO], None]]] = {".csv": _write_csv, ".jsonl": _write_jsonl}


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


def write_decoded(decoded: Decoded, path: str | Path) -> None:
    """Writes all samples; the form is chosen by the name's ending.

    Raises:
        OutputError: the file cannot be written; nothing is left behind.
        LibraryMissing: Parquet without pyarrow.
    """
    check_output(path)
    where = Path(path)
    with whole_file(where) as part:
        if where.suffix.lower() == ".parquet":
            _write_parquet(decoded, part)
        else:
            with part.open("w", encoding="utf-8", newline="") as out:
                _TEXT[where.suffix.lower()](decoded, out)


def _statistics(column: SignalColumn) -> dict[str, Any]:
    values = column.values if column.valid.all() else column.values[column.valid]
    n = len(values)
    first, last = column.earliest, column.latest
    return {
        "n": n,
        "min": float(values.min()) if n else None,
        "max": float(values.max()) if n else None,
        "mean": float(values.mean()) if n else None,
        "first": first[1] if first else None,
        "last": last[1] if last else None,
        "unit": column.signal.unit,
        "invalid": column.not_available,
        "out_of_range": int(np.count_nonzero(column.out_of_range)),
    }


def _parts(columns: MessageColumns) -> dict[str, int]:
    """Header numbers in a container that no message has, with how often."""
    return {f"0x{number:06X}": n for number, n in sorted(columns.unknown_parts.items())}


def _protection_json(columns: MessageColumns) -> dict[str, Any]:
    """What counter and checksum say, where the message has them and it is known how they are made."""
    protection = find_protection(columns.message, columns.database)
    if protection is None or not len(columns):
        return {}
    verdicts = protection.check(columns)
    known = protection.checksum is not None and bool((protection.trusted(verdicts) == verdicts.checksum_ok).all())
    facts: dict[str, Any] = {"scheme": protection.scheme.name if protection.scheme and known else None}
    facts["checksum_errors"] = verdicts.checksum_errors if known else None
    facts |= {"lost": verdicts.lost, "frozen": verdicts.frozen} if protection.counter is not None else {}
    return {"protection": facts}


def summary_from_decoded(decoded: Decoded) -> dict[str, Any]:
    """``huizhen.decode/1`` of the command line's contract: counts, and each signal's range."""
    return {
        "schema": "huizhen.decode/1",
        "frames": decoded.frames,
        "decoded_frames": decoded.decoded_frames,
        "unknown_ids": [_hex_id(key) for key in decoded.unknown_ids],
        "short_frames": decoded.short_frames,
        "messages": {
            columns.name: {
                "frames": len(columns),
                "source": columns.source,
                "short": columns.short,
                **({"unknown_parts": _parts(columns)} if columns.unknown_parts else {}),
                **_protection_json(columns),
                "signals": {name: _statistics(column) for name, column in columns.columns.items()},
            }
            for columns in decoded.messages.values()
        },
    }
