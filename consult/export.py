"""A room's recording in the forms that other tools read: CSV, Parquet, MCAP; its consultation as JSON.

Every sample that the journal has, and none that it has not: a signal without a value is empty or null, a block that is
missing is missing. The file appears whole or not at all.

Standard: RFC 4180 (CSV), Apache Parquet, MCAP (mcap.dev/spec).
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from consult.errors import BlockBroken, RecordingBroken
from consult.rawframes import parse_raw
from consult.recording import Recording
from consult.samplecolumns import read_columns
from dbc.errors import LibraryMissing, OutputError, Phrase
from dbc.output import whole_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from consult.recording import Span
    from consult.roomkeys import KeySource
    from consult.samplecolumns import SampleColumns

__all__ = ["FORMATS", "Exported", "check_export", "export_recording"]

FORMATS: Final = (".mcap", ".csv", ".parquet", ".json")
"""Endings of the files that can be written."""

_LIBRARIES: Final = {".parquet": ("pyarrow", "pip install pyarrow"), ".mcap": ("mcap", "pip install 'huizhen[mcap]'")}
_CSV_HEAD: Final = ("t_s", "stream", "epoch", "seq", "signal", "value", "unit")
_EVENT_SCHEMA: Final = {
    "type": "object",
    "title": "huizhen.room-event",
    "properties": {
        "n": {"type": "integer"},
        "t_us": {"type": "integer", "description": "UTC microseconds by the service's clock"},
        "kind": {"type": "string"},
        "who": {"type": "object"},
        "id": {"type": "string"},
        "text": {"type": "string"},
        "body": {"type": "object"},
    },
}
_FRAME_SCHEMA: Final = {
    "type": "object",
    "title": "huizhen.can-frame",
    "properties": {
        "id": {"type": "integer"},
        "extended": {"type": "boolean"},
        "data": {"type": "string", "description": "hexadecimal"},
        "fd": {"type": "boolean"},
        "remote": {"type": "boolean"},
        "error": {"type": "boolean"},
        "tx": {"type": "boolean", "description": "sent by the technician's laptop"},
    },
}


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Args:
        blocks: ticks of streams.
        samples: values in them, those without a value not counted.
        events: of the room; only MCAP has a place for them.
        frames: raw CAN frames; likewise.
        left_out: blocks of raw frames in a form that has no place for them.
    """

    blocks: int
    samples: int
    events: int
    frames: int
    left_out: int


def check_export(path: str | Path) -> None:
    """Says early that a file cannot be written.

    Raises:
        OutputError: an ending that is none of :data:`FORMATS`, or no such folder.
        LibraryMissing: what writes it is not installed.
    """
    where = Path(path)
    suffix = where.suffix.lower()
    if suffix not in FORMATS:
        raise OutputError(
            str(path), Phrase(f"its name must end in {', '.join(FORMATS)}", f"文件名须以 {'、'.join(FORMATS)} 结尾")
        )
    if suffix in _LIBRARIES and find_spec(_LIBRARIES[suffix][0]) is None:
        raise LibraryMissing(str(path), *_LIBRARIES[suffix])
    if not where.parent.is_dir():
        raise OutputError(str(path), Phrase(f"there is no folder {where.parent}", f"没有文件夹 {where.parent}"))


def export_recording(recording_path: str | Path, path: str | Path, keys: KeySource | None = None) -> Exported:
    """Writes a recording in the form that the ending of ``path`` names.

    Raises:
        RecordingBroken: the recording cannot be read.
        KeyMissing: it is encrypted, and ``keys`` (or the folder beside it) do not have its key.
        OutputError, LibraryMissing: as :func:`check_export`, or the disk is full; nothing is left behind.
    """
    check_export(path)
    writers: dict[str, Callable[[Recording, Path], Exported]] = {
        ".csv": _write_csv,
        ".parquet": _write_parquet,
        ".mcap": _write_mcap,
        ".json": _write_consultation,
    }
    with Recording(recording_path, keys) as recording, whole_file(Path(path)) as part:
        return writers[Path(path).suffix.lower()](recording, part)


def _sample_spans(recording: Recording) -> list[Span]:
    return [span for span in recording.spans() if span.signals and span.kind != "raw"]


def _name(span: Span) -> str:
    return str(span.schema.get("name") or span.stream)


class _Counter:
    def __init__(self, recording: Recording) -> None:
        self.there = recording.count_blocks()
        self.blocks = 0
        self.samples = 0
        self.frames = 0

    def add(self, part: SampleColumns) -> None:
        self.blocks += len(part.seq)
        self.samples += int(part.valid.sum())

    def total(self, events: int = 0) -> Exported:
        return Exported(self.blocks, self.samples, events, self.frames, self.there - self.blocks)


def _parts(recording: Recording, span: Span, count: _Counter) -> Any:
    for part in read_columns(recording, span, range(len(span.signals))):
        count.add(part)
        yield part


def _write_csv(recording: Recording, path: Path) -> Exported:
    """One value per line, the time in exact decimal seconds, the value as short as float32 allows."""
    count = _Counter(recording)
    with path.open("w", encoding="utf-8", newline="") as out:
        lines = csv.writer(out)
        lines.writerow(_CSV_HEAD)
        for span in _sample_spans(recording):
            name, signals, units = _name(span), span.signals, [str(one["unit"]) for one in span.schema["signals"]]
            for part in _parts(recording, span, count):
                texts = np.where(part.valid, part.values.astype(str), "").tolist()
                for seq, t_us, row in zip(part.seq.tolist(), part.t_us.tolist(), texts, strict=True):
                    at = f"{t_us // 1_000_000}.{t_us % 1_000_000:06d}"
                    lines.writerows(
                        (at, name, span.epoch, seq, signal, value, unit)
                        for signal, value, unit in zip(signals, row, units, strict=True)
                    )
    return count.total()


def _write_parquet(recording: Recording, path: Path) -> Exported:
    """One row per value; null where the signal had none."""
    # By name: pyarrow is optional and ships no types.
    pa, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    words = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema(
        [
            ("t_ns", pa.int64()),
            ("stream", words),
            ("epoch", pa.int64()),
            ("seq", pa.int64()),
            ("signal", words),
            ("value", pa.float32()),
            ("unit", words),
        ]
    )
    count = _Counter(recording)
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for span in _sample_spans(recording):
            signals, units = span.signals, [str(one["unit"]) for one in span.schema["signals"]]
            for part in _parts(recording, span, count):
                n, width = part.values.shape
                places = pa.array(np.tile(np.arange(width, dtype=np.int32), n))
                table = pa.Table.from_arrays(
                    [
                        pa.array(np.repeat(part.t_us * 1_000, width)),
                        pa.DictionaryArray.from_arrays(pa.array(np.zeros(n * width, np.int32)), [_name(span)]),
                        pa.array(np.full(n * width, span.epoch, np.int64)),
                        pa.array(np.repeat(part.seq, width)),
                        pa.DictionaryArray.from_arrays(places, pa.array(signals, pa.string())),
                        pa.array(part.values.ravel(), mask=~part.valid.ravel()),
                        pa.DictionaryArray.from_arrays(places, pa.array(units, pa.string())),
                    ],
                    schema=schema,
                )
                writer.write_table(table)
    return count.total()


def _write_mcap(recording: Recording, path: Path) -> Exported:
    """A channel per stream and epoch, one message per tick; events as a channel; documents as metadata."""
    writing = import_module("mcap.writer")
    count = _Counter(recording)
    events = recording.events()
    with path.open("wb") as out:
        writer = writing.Writer(out)
        writer.start(profile="", library="huizhen")
        channel = _channel(writer, "huizhen.room-event", "/events", _EVENT_SCHEMA, {})
        for event in events:
            at_ns = event["t_us"] * 1_000
            data = json.dumps(event, ensure_ascii=False).encode()
            writer.add_message(channel, at_ns, data, at_ns, event["n"])
        for span in _sample_spans(recording):
            _write_span(writer, recording, span, count)
        for span in recording.spans():
            if span.kind == "raw":
                _write_frames(writer, recording, span, count)
        for name in recording.document_names():
            for t_us, body in recording.documents(name):
                writer.add_metadata(name, {"t_us": str(t_us), "body": json.dumps(body, ensure_ascii=False)})
        writer.add_metadata("room", {"room": recording.room})
        writer.finish()
    return count.total(len(events))


def _write_consultation(recording: Recording, path: Path) -> Exported:
    """What was found and what cured it, as the case library takes it."""
    found = recording.documents("consultation")
    if not found:
        raise OutputError(
            str(path), Phrase("the room's job was not finished: no consultation", "会诊尚无结论，没有会诊文档")
        )
    path.write_text(json.dumps(found[-1][1], ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return Exported(0, 0, 0, 0, 0)


def _channel(writer: Any, name: str, topic: str, schema: dict[str, Any], facts: dict[str, str]) -> Any:
    data = json.dumps(schema, ensure_ascii=False).encode()
    ident = writer.register_schema(name, "jsonschema", data)
    return writer.register_channel(topic, "json", ident, facts)


def _write_span(writer: Any, recording: Recording, span: Span, count: _Counter) -> None:
    schema = {
        "type": "object",
        "title": f"huizhen.stream.{_name(span)}",
        "properties": {
            signal["name"]: {"type": ["number", "null"], "description": signal["unit"]}
            for signal in span.schema["signals"]
        },
    }
    facts = {"stream": str(span.stream), "epoch": str(span.epoch)}
    channel = _channel(writer, f"huizhen.stream.{_name(span)}", f"/streams/{_name(span)}", schema, facts)
    for part in _parts(recording, span, count):
        for seq, t_us, values, valid in zip(
            part.seq.tolist(), part.t_us.tolist(), part.values.tolist(), part.valid.tolist(), strict=True
        ):
            told = {
                name: value if good else None for name, value, good in zip(span.signals, values, valid, strict=True)
            }
            writer.add_message(channel, t_us * 1_000, json.dumps(told).encode(), t_us * 1_000, seq)


def _write_frames(writer: Any, recording: Recording, span: Span, count: _Counter) -> None:
    facts = {"stream": str(span.stream), "epoch": str(span.epoch)}
    channel = _channel(writer, "huizhen.can-frame", f"/frames/{_name(span)}", _FRAME_SCHEMA, facts)
    for seq, _, data in recording.blocks_of(span):
        try:
            _, frames = parse_raw(data)
        except BlockBroken as error:
            raise RecordingBroken(recording.path, error.reason) from error
        count.blocks += 1
        count.frames += len(frames)
        for frame in frames:
            told = {
                "id": frame.can_id,
                "extended": frame.extended,
                "data": frame.data.hex().upper(),
                "fd": frame.fd,
                "remote": frame.remote,
                "error": frame.error,
                "tx": frame.tx,
            }
            writer.add_message(channel, frame.t_ns, json.dumps(told).encode(), frame.t_ns, seq)
