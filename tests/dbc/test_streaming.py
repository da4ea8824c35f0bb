"""A log of any size to Parquet, piece by piece: the same values as all at once, in memory that does not grow."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from dbc import streaming
from dbc.database import Database, load
from dbc.decode import decode_table
from dbc.errors import FileMissing, NotARecording, OutputError
from dbc.files import EV400
from dbc.recording import open_recording
from dbc.signals import Message, Signal
from dbc.streaming import decode_to_folder

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
