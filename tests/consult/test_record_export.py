import csv
import json
import math
import os

import numpy as np
import pytest

from consult import export
from consult.errors import RecordingBroken
from consult.export import check_export, export_recording
from consult.journal import Journal
from consult.rawframes import encode_raw, parse_raw_head
from consult.wire import encode_samples, parse_head, parse_samples
from dbc.errors import LibraryMissing, OutputError
from diag.frames import Frame

T0 = 1_700_000_000_123_457


@pytest.fixture
def samples():
    """Two streams, two epochs, values that are not there, a block that is missing."""
    random = np.random.default_rng(7)
    found = []
    for epoch, start_us in ((7, T0), (4_000_000_000, T0 + 90_000_000)):
        for stream, width, every in ((1, 11, 1), (2, 3, 4)):
            for seq in range(0, 200, every):
                if seq == 48:
                    continue
                values = random.normal(3.7, 1e3, width).astype(np.float32)
                valid = random.random(width) > 0.2
                data = encode_samples(
                    stream=stream, epoch=epoch, seq=seq, t_us=start_us + seq * 20_000, values=values, valid=valid
                )
                found.append((parse_head(data), data))
    return found


def schema(stream, width, **more):
    return {"stream": stream, "signals": [{"name": f'信号 {n},"{stream}', "unit": "°C"} for n in range(width)], **more}


@pytest.fixture
def record(tmp_path, samples):
    path = tmp_path / "a.room"
    streams = [schema(1, 11, name="signals"), schema(2, 3)]
    event = {
        "type": "event",
        "n": 1,
        "t_us": T0 + 5,
        "kind": "chat",
        "who": {"id": 1},
        "id": "c",
        "text": "看",
        "body": {},
    }
    with Journal(path, room="0123456789ab") as journal:
        for epoch in (7, 4_000_000_000):
            journal.write(documents=[("schemas", T0, {"epoch": epoch, "schemas": streams})])
        journal.write(documents=[("report", T0, {"vehicle": {"make": "惠"}})], blocks=samples, events=[event])
    return path


def expected(samples):
    """(t_us, stream, epoch, seq, signal) -> float32 or None"""
    names = {1: "signals", 2: "2"}
    found = {}
    for head, data in samples:
        frame = parse_samples(data)
        for n, (value, good) in enumerate(zip(frame.values, frame.valid, strict=True)):
            place = head.t_us, names[head.stream], head.epoch, head.seq, f'信号 {n},"{head.stream}'
            found[place] = float(value) if good else None
    return found


def test_csv_has_every_sample_and_nothing_else(record, samples, tmp_path):
    told = export_recording(record, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {
        (int(row["t_s"].replace(".", "")), row["stream"], int(row["epoch"]), int(row["seq"]), row["signal"]):
            float(np.float32(row["value"])) if row["value"] else None
        for row in rows
    }  # fmt: skip
    assert len(rows) == len(found)
    assert found == expected(samples)
    assert {row["unit"] for row in rows} == {"°C"}
    assert (told.blocks, told.left_out) == (len(samples), 0)
    assert told.samples == sum(value is not None for value in found.values())


def test_parquet_has_every_sample_and_nothing_else(record, samples, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    export_recording(record, tmp_path / "a.parquet")
    rows = parquet.read_table(tmp_path / "a.parquet").to_pylist()
    found = {
        (row["t_ns"] // 1000, row["stream"], row["epoch"], row["seq"], row["signal"]): row["value"] for row in rows
    }
    assert len(rows) == len(found)
    assert found == expected(samples)
    assert {row["unit"] for row in rows} == {"°C"}
    assert not any(isinstance(value, float) and math.isnan(value) for value in found.values())


def test_mcap_has_every_sample_and_event_and_document_by_its_own_reader(record, samples, tmp_path):
    reader = pytest.importorskip("mcap.reader")
    told = export_recording(record, tmp_path / "a.mcap")
    with (tmp_path / "a.mcap").open("rb") as file:
        messages = list(reader.make_reader(file, validate_crcs=True).iter_messages())
        file.seek(0)
        metadata = list(reader.make_reader(file).iter_metadata())
    assert [message.log_time for _, _, message in messages] == sorted(message.log_time for _, _, message in messages)
    found, events = {}, []
    for described, channel, message in messages:
        body = json.loads(message.data)
        assert described.encoding == "jsonschema"
        assert channel.message_encoding == "json"
        assert set(body) <= set(json.loads(described.data)["properties"]) | {"type"}
        if channel.topic == "/events":
            events.append(body)
            continue
        name, epoch = channel.topic.removeprefix("/streams/"), int(channel.metadata["epoch"])
        for signal, value in body.items():
            place = message.log_time // 1000, name, epoch, message.sequence, signal
            found[place] = None if value is None else float(np.float32(value))
    assert found == expected(samples)
    assert [event["text"] for event in events] == ["看"]
    assert told.events == 1
    assert {one.name for one in metadata} == {"schemas", "report", "room"}
    (report,) = (one for one in metadata if one.name == "report")
    assert json.loads(report.metadata["body"]) == {"vehicle": {"make": "惠"}}


def test_raw_frames_are_in_mcap_and_counted_where_they_have_no_place(tmp_path):
    reader = pytest.importorskip("mcap.reader")
    frames = (
        Frame(0x7E4, bytes.fromhex("021902"), t_ns=T0 * 1000, tx=True),
        Frame(0x18DAF110, bytes(range(64)), t_ns=T0 * 1000 + 5_000, extended=True, fd=True),
    )
    data = encode_raw(frames, stream=5, epoch=7, seq=3)
    with Journal(tmp_path / "a.room") as journal:
        journal.write(
            documents=[("schemas", T0, {"epoch": 7, "schemas": [schema(5, 0, kind="raw")]})],
            blocks=[(parse_raw_head(data), data)],
        )
    told = export_recording(tmp_path / "a.room", tmp_path / "a.csv")
    assert (told.blocks, told.samples, told.frames, told.left_out) == (0, 0, 0, 1)
    told = export_recording(tmp_path / "a.room", tmp_path / "a.mcap")
    assert (told.blocks, told.frames, told.left_out) == (1, 2, 0)
    with (tmp_path / "a.mcap").open("rb") as file:
        found = [
            (message.log_time, json.loads(message.data)) for _, _, message in reader.make_reader(file).iter_messages()
        ]
    assert [t_ns for t_ns, _ in found] == [frame.t_ns for frame in frames]
    assert [(one["id"], bytes.fromhex(one["data"]), one["extended"], one["fd"], one["tx"]) for _, one in found] == [
        (frame.can_id, frame.data, frame.extended, frame.fd, frame.tx) for frame in frames
    ]


@pytest.mark.parametrize("name", ["a.xlsx", "a", "missing/a.csv"])
def test_a_place_that_cannot_be_written_is_refused_early(tmp_path, name):
    with pytest.raises(OutputError):
        check_export(tmp_path / name)


def test_a_missing_library_is_named_with_what_to_type(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "find_spec", lambda _: None)
    with pytest.raises(LibraryMissing, match=r"huizhen\[mcap\]"):
        check_export(tmp_path / "a.mcap")
    with pytest.raises(LibraryMissing, match="pyarrow"):
        check_export(tmp_path / "a.parquet")


def test_a_damaged_recording_leaves_no_half_file(record, tmp_path):
    content = bytearray(record.read_bytes())
    content[4096 * 3 : 4096 * 12] = os.urandom(4096 * 9)
    (tmp_path / "bad.room").write_bytes(content)
    with pytest.raises(RecordingBroken):
        export_recording(tmp_path / "bad.room", tmp_path / "b.csv")
    assert not list(tmp_path.glob("*b.csv*"))
