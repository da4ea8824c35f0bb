"""MF4 piece by piece: what the whole gives, wherever pieces end and values stand."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import asammdf
import numpy as np
import pytest

from dbc.errors import DbcError
from dbc.recording import Recording, mf4stream, open_recording
from dbc.recording.mdf import File
from dbc.recording.stream import stream_recording
from dbc.recording.unsorted import Walk
from dbc.recording.writers import write_recording
from dbc.table import ERROR, EXTENDED, FD, REMOTE, FrameRow, FrameTable

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("j1939_truck.mf4", "kona_uds.mf4", "j1939_tp.mf4")


def agrees(path: Path) -> int:
    whole = open_recording(path)
    with stream_recording(path) as stream:
        table = FrameTable.concat(list(stream.pieces(50)))
        facts = stream.facts
    assert len(table) == len(whole.table) > 0
    for column in ("t_ns", "can_id", "flags", "channel", "length"):
        assert np.array_equal(getattr(table, column), getattr(whole.table, column)), column
    assert np.array_equal(table.widened().data, whole.table.widened().data)
    assert (facts.bad_line_count, facts.bad_lines) == (whole.bad_line_count, whole.bad_lines)
    assert (facts.channels, facts.start_ns) == (whole.channels, whole.start_ns)
    return len(table)


@pytest.fixture(params=[3000, 1 << 20])
def piece(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(mf4stream, "_PIECE", request.param)
    monkeypatch.setattr(mf4stream, "_SLACK", 10)
    return int(request.param)


@pytest.mark.usefixtures("piece")
@pytest.mark.parametrize("name", NAMES)
def test_real_files_and_cut_ones(shared: Path, tmp_path: Path, name: str) -> None:
    content = (shared / "data/css" / name).read_bytes()
    agrees(shared / "data/css" / name)
    for cut in (1, 7, 500):
        (tmp_path / "cut.mf4").write_bytes(content[:-cut])
        try:
            open_recording(tmp_path / "cut.mf4")
        except DbcError as exc:
            with pytest.raises(type(exc)), stream_recording(tmp_path / "cut.mf4") as stream:
                list(stream.pieces())
        else:
            agrees(tmp_path / "cut.mf4")


@pytest.mark.usefixtures("piece")
@pytest.mark.parametrize("compression", [0, 1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_as_asammdf_saves_them(shared: Path, tmp_path: Path, name: str, compression: int) -> None:
    path = tmp_path / "saved.mf4"
    with asammdf.MDF(shared / "data/css" / name) as mdf:
        mdf.save(path, compression=compression, overwrite=True)
    agrees(path)


@pytest.mark.usefixtures("piece")
def test_as_we_write_them(tmp_path: Path) -> None:
    chance = random.Random(2)
    rows = []
    for n in range(2000):
        kind = chance.choice([0, 0, 0, FD, REMOTE, ERROR])
        data = b"" if kind in {REMOTE, ERROR} else chance.randbytes(chance.choice([12, 64]) if kind == FD else 5)
        rows.append(FrameRow(n * 1_000_000 + chance.randrange(2) * 500_000, n % 900, data, kind | EXTENDED, n % 3))
    recording = Recording("made", "made", ("0", "1", "2"), start_ns=0, table=FrameTable.from_rows(rows))
    write_recording(recording, tmp_path / "x.mf4")
    assert agrees(tmp_path / "x.mf4") == 2000


def rearranged(shared: Path, path: Path, far: int) -> int:
    """The truck's unsorted records, each value so many records behind its own; all at the end where that is many."""
    content = (shared / "data/css/j1939_truck.mf4").read_bytes()
    file = File(content, "truck")
    data_group = next(block for _, block in file.chain(file.link(file.block(64, "HD"), 0), "DG"))
    groups = {group.record_id: group for group in file.groups(data_group)}
    begin = file.block(file.link(data_group, 2)).start
    stream = content[begin:]
    sizes = {number: None if group.variable else group.size for number, group in groups.items()}
    walk = Walk(np.frombuffer(stream + bytes(64), np.uint8), len(stream), 1, sizes)
    variable = {number for number, group in groups.items() if group.variable}
    starts = sorted(int(at) - 1 for number in groups for at in walk.places(number))
    records, values = [], []
    for at, end in zip(starts, [*starts[1:], walk.end], strict=True):
        (values if stream[at] in variable else records).append(stream[at:end])
    records, values = records[:2000], values[:2000]
    out = []
    for n, record in enumerate(records):
        out.append(record)
        out += values[n - far : n - far + 1] if n >= far else []
    out += values[max(len(records) - far, 0) :]
    path.write_bytes(content[:begin] + b"".join(out))
    return len(records)


@pytest.mark.parametrize("piece_size", [100, 5000, 1 << 20])
@pytest.mark.parametrize("far", [0, 1, 7, 500, 10**9])
@pytest.mark.parametrize("largest", [3000, 1 << 26])
def test_values_far_from_their_records(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, far: int, largest: int, piece_size: int
) -> None:
    monkeypatch.setattr(mf4stream, "_PIECE", piece_size)
    monkeypatch.setattr(mf4stream, "_SLACK", 10)
    monkeypatch.setattr(mf4stream, "_LARGEST_PIECE", largest)
    path = tmp_path / "far.mf4"
    records = rearranged(shared, path, far)
    assert agrees(path) == records


def test_what_is_far_ahead_is_read_whole(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mf4stream, "_PIECE", 2000)
    monkeypatch.setattr(mf4stream, "_LARGEST_PIECE", 3000)
    read: list[str] = []
    whole = mf4stream.mf4.read
    monkeypatch.setattr(mf4stream.mf4, "read", lambda *args: read.append(args[1]) or whole(*args))
    for far, count in ((1, 0), (10**9, 1)):
        rearranged(shared, tmp_path / "far.mf4", far)
        with stream_recording(tmp_path / "far.mf4") as stream:
            assert sum(len(piece) for piece in stream.pieces()) > 1000
        assert len(read) == count
