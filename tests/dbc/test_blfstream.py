"""BLF piece by piece: the same frames as read whole, wherever pieces end; damaged files are read whole."""

from __future__ import annotations

import gc
import random
from contextlib import contextmanager
from mmap import ACCESS_READ, mmap
from typing import TYPE_CHECKING

import can
import numpy as np
import pytest

from dbc.recording import blfstream, open_recording
from dbc.recording.blfstream import opened_blf
from dbc.recording.writers import write_recording
from dbc.table import FrameTable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dbc.recording.blfstream import BlfSource


def written(path: Path, count: int = 3000, container: int = 7_001) -> None:
    """By python-can's own writer: classic, FD, remote and error frames on several buses, objects across containers."""
    chance = random.Random(7)
    with can.BLFWriter(path, max_container_size=container) as writer:
        for n in range(count):
            kind = chance.random()
            long = kind > 0.8
            writer.on_message_received(
                can.Message(
                    1_700_000_000 + n / 500,
                    chance.randrange(0x7FF),
                    is_extended_id=False,
                    is_fd=long,
                    is_error_frame=kind < 0.02,
                    is_remote_frame=0.02 < kind < 0.05,
                    dlc=3 if 0.02 < kind < 0.05 else None,
                    data=b"" if kind < 0.05 else chance.randbytes(24 if long else chance.randrange(9)),
                    channel=chance.choice([0, 3, 9]),
                )
            )


@contextmanager
def streamed(path: Path) -> Iterator[BlfSource | None]:
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        source = opened_blf(content, str(path))
        yield source
        del source
        gc.collect()


def same(table: FrameTable, whole: FrameTable) -> None:
    assert len(table) == len(whole)
    for column in ("t_ns", "can_id", "flags", "channel", "length"):
        assert np.array_equal(getattr(table, column), getattr(whole, column)), column
    assert np.array_equal(table.widened().data, whole.widened().data)


@pytest.mark.parametrize("group", [1, 20_000, 16 << 20])
@pytest.mark.parametrize("container", [500, 7_001, 131_072])
def test_pieces_give_what_the_whole_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: int, container: int
) -> None:
    monkeypatch.setattr(blfstream, "_GROUP", group)
    path = tmp_path / "a.blf"
    written(path, container=container)
    with streamed(path) as stream:
        assert stream is not None
        whole = open_recording(path).table
        assert len(whole) == 3000
        same(FrameTable.concat(list(stream.tables())), whole)


def test_what_we_write_streams_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "a.blf")
    whole = open_recording(tmp_path / "a.blf")
    write_recording(whole, tmp_path / "b.blf", "blf")
    monkeypatch.setattr(blfstream, "_GROUP", 5_000)
    with streamed(tmp_path / "b.blf") as stream:
        assert stream is not None
        same(FrameTable.concat(list(stream.tables())), open_recording(tmp_path / "b.blf").table)


def test_damaged_files_are_left_to_the_whole_reader(tmp_path: Path) -> None:
    path, chance = tmp_path / "a.blf", random.Random(1)
    written(path, 400)
    content = path.read_bytes()
    broken = 0
    for _ in range(60):
        spoiled = bytearray(content)
        if chance.random() < 0.5:
            spoiled = spoiled[: chance.randrange(4, len(spoiled))]
        else:
            spoiled[chance.randrange(160, len(spoiled))] ^= 0xFF
        path.write_bytes(spoiled)
        with streamed(path) as stream:
            if stream is None:
                broken += 1
            else:
                same(FrameTable.concat(list(stream.tables())), open_recording(path).table)
    assert broken > 50
    for text in (b"LOGG", b"hello"):
        path.write_bytes(text)
        with streamed(path) as stream:
            assert stream is None
