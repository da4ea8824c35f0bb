"""A log of any size to Parquet, piece by piece: the same values as all at once, in memory that does not grow."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from dbc import streaming
from dbc.database import Database, load
from dbc.decoding import decode_table
from dbc.errors import FileMissing, NotARecording, OutputError
from dbc.files import EV400
from dbc.output import write_decoded
from dbc.recording import Recording, open_recording
from dbc.recording.stream import stream_recording
from dbc.recording.writers import FORMATS, write_frames, write_recording
from dbc.signals import Message, Signal
from dbc.streaming import decode_to_file, decode_to_folder
from dbc.summary import summary_from_decoded
from dbc.table import FrameRow, FrameTable

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks/stream.py"


def write_log(path: Path, database: Database, count: int) -> None:
    chance = random.Random(3)
    messages = [message for message in database.by_key.values() if message.length <= 8]
    with path.open("w") as out:
        for number in range(count):
            message = chance.choice(messages)
            name = f"{message.can_id:08X}" if message.extended else f"{message.can_id:03X}"
            data = chance.randbytes(message.length if chance.random() < 0.9 else chance.randint(0, message.length))
            out.write(f"({1700000000 + number // 1000}.{number % 1000:03d}000) can{number % 2} {name}#{data.hex()}\n")
        out.write("no frame\n(1700000999.000000) can0 7FF#00\n")


def test_pieces_give_what_the_whole_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "_FRAMES", 1000)
    monkeypatch.setattr("dbc.recording.linestream.CHUNK", 20_000)
    database = load(EV400)
    path = tmp_path / "drive.log"
    write_log(path, database, 6000)
    result = decode_to_folder(path, [database], tmp_path / "out", flush_bytes=50_000)
    whole = decode_table(open_recording(path).table, [database])
    assert (result.facts.tally.frames, result.decoded_frames) == (whole.frames, whole.decoded_frames) == (6001, 6000)
    assert result.unknown_ids == whole.unknown_ids == (0x7FF,)
    assert result.facts.bad_line_count == 1
    assert result.facts.bad_lines[0].line == 6001
    assert set(result.files) == set(whole.messages)
    for name, columns in whole.messages.items():
        table = pq.read_table(result.files[name])
        assert np.array_equal(table["t_ns"].to_numpy(), columns.t_ns)
        assert np.array_equal(table["channel"].to_numpy(), columns.channel)
        for signal, column in columns.columns.items():
            wanted = np.full(len(columns), np.nan)
            wanted[column.rows] = column.values
            got = np.array([np.nan if v is None else float(v) for v in table[signal].to_pylist()])
            assert np.array_equal(got, wanted, equal_nan=True), (name, signal)


def test_a_payload_is_not_cut_by_a_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "_FRAMES", 2)
    monkeypatch.setattr("dbc.recording.linestream.CHUNK", 40)
    message = Message("VIN", 0x18FEECFE, True, 18, (Signal("Last", 8 * 17, 8, True),), is_j1939=True)
    frames = [
        "1CECFF00#20120003FFECFE00",
        *(f"1CEBFF00#0{n}{'00' * 3 + f'{n * 16:02X}' + '00' * 3}" for n in (1, 2, 3)),
    ]
    path = tmp_path / "tp.log"
    path.write_text("".join(f"(1700000000.{n:06d}) can0 {frame}\n" for n, frame in enumerate(frames)))
    result = decode_to_folder(path, [Database("made", "made.dbc", (message,))], tmp_path / "out")
    table = pq.read_table(result.files["VIN"])
    assert table["Last"].to_pylist() == [0x30]
    assert table["source_address"].to_pylist() == [0]
    assert result.decoded_frames == result.facts.tally.frames == 4


def test_what_cannot_be_done_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    database = load(EV400)
    with pytest.raises(FileMissing):
        decode_to_folder(tmp_path / "none.log", [database], tmp_path / "out")
    (tmp_path / "text.log").write_text("hello\n")
    with pytest.raises(NotARecording):
        decode_to_folder(tmp_path / "text.log", [database], tmp_path / "out")
    write_log(tmp_path / "a.log", database, 10)
    (tmp_path / "there").mkdir()
    with pytest.raises(OutputError, match="already"):
        decode_to_folder(tmp_path / "a.log", [database], tmp_path / "there")
    with pytest.raises(OutputError):
        decode_to_folder(tmp_path / "a.log", [database], tmp_path / "no/folder")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.log", "text.log", "there"]


@pytest.mark.skipif(not os.environ.get("HUIZHEN_LONG"), reason="writes 200 MB; set HUIZHEN_LONG=1")
def test_memory_does_not_grow_with_the_log() -> None:
    ran = subprocess.run(
        [sys.executable, str(BENCHMARK), "--megabytes", "200"], capture_output=True, text=True, check=True
    )
    assert int(ran.stdout.split("peak ")[1].split()[0]) < 512


def frames_of(count: int, seed: int = 5) -> list[FrameRow]:
    """Frames of the car's database, some late, in two captures, with ISO-TP answers and J1939-TP between them."""
    chance = random.Random(seed)
    messages = [message for message in load(EV400).by_key.values() if message.length <= 8]
    rows: list[FrameRow] = []
    for n in range(count):
        t_ns = (1_700_000_000 + (0 if n < count // 2 else -500)) * 10**9 + n * 7_000_000
        message = chance.choice(messages)
        data = chance.randbytes(message.length if chance.random() < 0.9 else chance.randint(0, message.length))
        late = chance.randrange(300_000_000) if chance.random() < 0.2 else 0
        rows.append(FrameRow(t_ns - late, message.can_id, data, int(message.extended), n % 2))
        if n % 40 == 0:
            parts = ["20120003FFECFE00", *(f"0{k}{'00' * 3}{k:02X}{'00' * 3}" for k in (1, 2, 3))]
            ids = [0x1CECFF00, 0x1CEBFF00, 0x1CEBFF00, 0x1CEBFF00]
            rows += [
                FrameRow(t_ns + 1000 + k, can_id, bytes.fromhex(part), 1)
                for k, (can_id, part) in enumerate(zip(ids, parts, strict=True))
            ]
    return rows


TP_DATABASE = Database(
    "made",
    "made.dbc",
    (Message("VIN", 0x18FEECFE, True, 18, (Signal("Last", 8 * 17, 8, True),), is_j1939=True),),
)


@pytest.fixture
def drive(tmp_path: Path) -> Recording:
    table = FrameTable.from_rows(frames_of(3000))
    path = tmp_path / "drive.parquet"
    write_recording(Recording(str(path), "made", ("a", "b"), start_ns=0, table=table), path)
    return open_recording(path)


@pytest.mark.parametrize("pieces", [3, 500, 10**6])
def test_one_file_is_that_of_the_whole(
    drive: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pieces: int
) -> None:
    databases = [load(EV400), TP_DATABASE]
    captures = drive.table[: drive.segments[0]], drive.table[drive.segments[0] :]
    whole = [decode_table(table, databases) for table in captures]
    everything = decode_table(FrameTable.concat([table.by_time() for table in captures]), databases)
    assert "VIN" in everything.messages
    assert len(everything.messages["VIN"]) == 75
    monkeypatch.setattr("dbc.recording.columns._ROWS", pieces)
    monkeypatch.setattr(streaming, "_FRAMES", pieces)
    monkeypatch.setattr("dbc.recording.stream._FRAMES", pieces)
    monkeypatch.setattr("dbc.output.FLUSH_BYTES", 200_000)
    with stream_recording(drive.path) as stream:
        summaries = []
        for suffix in ("csv", "jsonl", "parquet"):
            got = tmp_path / f"got.{suffix}"
            summaries.append(decode_to_file(stream, databases, got).facts())
            for n, decoded in enumerate(whole):
                write_decoded(decoded, tmp_path / f"{n}.{suffix}")
        summaries.append(decode_to_file(stream, databases, None).facts())
    lines = [(tmp_path / f"{n}.csv").read_text().splitlines() for n in (0, 1)]
    assert (tmp_path / "got.csv").read_text().splitlines() == lines[0] + lines[1][1:]
    assert (tmp_path / "got.jsonl").read_text() == "".join((tmp_path / f"{n}.jsonl").read_text() for n in (0, 1))
    rows = [sorted(map(str, pq.read_table(tmp_path / f"{n}.parquet").to_pylist())) for n in ("got", 0, 1)]
    assert rows[0] == sorted(rows[1] + rows[2])
    wanted = summary_from_decoded(everything)
    for summary in summaries:
        assert list(summary["messages"]) == list(wanted["messages"])
        for name, message in wanted["messages"].items():
            found = summary["messages"][name]
            for one, other in zip(found["signals"].values(), message["signals"].values(), strict=True):
                mean = one.pop("mean")
                assert (mean is None) == (other["mean"] is None)
                assert mean is None or mean == pytest.approx(other["mean"], rel=1e-12, abs=1e-12)
            for one, other in zip(found["signals"].values(), message["signals"].values(), strict=True):
                assert one == {key: value for key, value in other.items() if key != "mean"}, name
            assert {k: v for k, v in found.items() if k != "signals"} == {
                k: v for k, v in message.items() if k != "signals"
            }
        assert {k: v for k, v in summary.items() if k != "messages"} == {
            k: v for k, v in wanted.items() if k != "messages"
        }


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("captures", [1, 2])
def test_a_recording_converted_in_pieces_is_that_converted_whole(
    drive: Recording, tmp_path: Path, name: str, captures: int
) -> None:
    table = drive.table if captures == 2 else drive.table[: drive.segments[0]]
    recording = replace(drive, table=table)
    whole = write_recording(recording, tmp_path / "whole", name)
    for size in (1, 700):
        pieces = [table[at : at + size] for at in range(0, len(table), size)]
        assert write_frames(recording.facts, lambda pieces=pieces: iter(pieces), tmp_path / "pieces", name) == whole
        if name != "parquet":  # Row groups are cut elsewhere; what comes back is compared.
            assert (tmp_path / "pieces").read_bytes() == (tmp_path / "whole").read_bytes()
        one, other = (open_recording(tmp_path / part).table for part in ("pieces", "whole"))
        for column in ("t_ns", "can_id", "flags", "channel", "length", "data"):
            assert np.array_equal(getattr(one, column), getattr(other, column)), column


def test_names_do_not_depend_on_what_else_occurs() -> None:
    signal = Signal("S", 0, 8, False)
    first = Database("first", "a.dbc", (Message("Status", 1, False, 1, (signal,)),))
    second = Database("second", "b.dbc", tuple(Message("Status", can_id, False, 1, (signal,)) for can_id in (2, 3, 4)))
    table = FrameTable.from_rows(FrameRow(0, can_id, b"\x07") for can_id in (1, 2, 3, 4))
    together = decode_table(table, [first, second]).messages
    assert list(together) == ["Status", "Status@second", "Status@second_2", "Status@second_3"]
    for row, name in enumerate(together):
        assert list(decode_table(table[row : row + 1], [first, second]).messages) == [name]
