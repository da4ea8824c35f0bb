"""BLF piece by piece: what the whole gives, wherever pieces end; damaged files too."""

from __future__ import annotations

import random
import struct
import zlib
from typing import TYPE_CHECKING

import can
import numpy as np
import pytest

from dbc.errors import DbcError, NotARecording
from dbc.recording import blfstream, open_recording
from dbc.recording.blf import first_part, parts_of, stream_of
from dbc.recording.stream import stream_recording
from dbc.recording.writers import write_recording
from dbc.table import FrameTable

if TYPE_CHECKING:
    from pathlib import Path


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


def same(table: FrameTable, whole: FrameTable) -> None:
    assert len(table) == len(whole)
    for column in ("t_ns", "can_id", "flags", "channel", "length"):
        assert np.array_equal(getattr(table, column), getattr(whole, column)), column
    assert np.array_equal(table.widened().data, whole.widened().data)


def agrees(path: Path) -> int:
    """Piece by piece and whole; says how many bad objects there are."""
    try:
        whole = open_recording(path)
    except DbcError as exc:
        with pytest.raises(type(exc)), stream_recording(path) as stream:
            list(stream.pieces())
        return 1
    with stream_recording(path) as stream:
        same(FrameTable.concat(list(stream.pieces(100))), whole.table)
        facts = stream.facts
    assert (facts.channels, facts.start_ns, facts.local_start) == (whole.channels, whole.start_ns, whole.local_start)
    assert (facts.bad_line_count, facts.bad_lines) == (whole.bad_line_count, whole.bad_lines)
    return facts.bad_line_count


@pytest.mark.parametrize("group", [1, 20_000, 16 << 20])
@pytest.mark.parametrize("container", [500, 7_001, 131_072])
def test_pieces_give_what_the_whole_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: int, container: int
) -> None:
    monkeypatch.setattr(blfstream, "_GROUP", group)
    path = tmp_path / "a.blf"
    written(path, container=container)
    assert agrees(path) == 0
    assert len(open_recording(path).table) == 3000


def test_what_we_write_streams_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "a.blf")
    write_recording(open_recording(tmp_path / "a.blf"), tmp_path / "b.blf", "blf")
    monkeypatch.setattr(blfstream, "_GROUP", 5_000)
    assert agrees(tmp_path / "b.blf") == 0


@pytest.mark.parametrize("group", [1, 6_000, 16 << 20])
def test_damaged_files_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: int) -> None:
    monkeypatch.setattr(blfstream, "_GROUP", group)
    path, chance = tmp_path / "a.blf", random.Random(1)
    written(path, 400, container=2_000)
    content = path.read_bytes()
    broken = 0
    for _ in range(150):
        spoiled = bytearray(content)
        if chance.random() < 0.5:
            spoiled = spoiled[: chance.randrange(4, len(spoiled))]
        for _ in range(chance.choice([0, 1, 4])):
            spoiled[chance.randrange(len(spoiled))] = chance.randrange(256)
        path.write_bytes(spoiled)
        try:
            broken += agrees(path) > 0
        except NotARecording:
            continue
    assert broken > 80


def test_damage_inside_containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects whose lengths lie, marks in payloads, bytes that are nothing: in containers that inflate well."""
    monkeypatch.setattr(blfstream, "_GROUP", 1)
    path, chance = tmp_path / "a.blf", random.Random(4)
    written(path, 300, container=1_500)
    head, objects = path.read_bytes()[:144], bytearray(inflated(path))
    for _ in range(120):
        spoiled = bytearray(objects)
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(spoiled))
            kind = chance.random()
            if kind < 0.4:
                spoiled[at] = chance.randrange(256)
            elif kind < 0.7:
                spoiled[at : at + 4] = b"LOBJ"
            elif kind < 0.85:
                del spoiled[at : at + chance.randrange(1, 90)]
            else:
                spoiled[at:at] = chance.randbytes(chance.randrange(1, 90))
        size = chance.choice([400, 1_500, 10**6])
        path.write_bytes(head + b"".join(packed(spoiled[at : at + size]) for at in range(0, len(spoiled), size)))
        agrees(path)


def test_a_flipped_bit_gives_no_frame_that_was_never_there(tmp_path: Path) -> None:
    path, chance = tmp_path / "a.blf", random.Random(6)
    written(path, 2000, container=6_000)
    content = path.read_bytes()
    there = set(open_recording(path).table.rows())
    parts, _ = parts_of(content, first_part(content, "x"), "x")
    for _ in range(150):
        spoiled = bytearray(content)
        part = chance.choice(parts)
        spoiled[chance.randrange(part.begin - 32, part.end)] ^= 1 << chance.randrange(8)
        path.write_bytes(spoiled)
        recording = open_recording(path)
        assert recording.bad_line_count > 0 or len(recording.table) == 2000
        assert recording.channels == ("1", "4", "10")
        assert {row for row in recording.table.rows() if row not in there} == set()
        assert len(recording.table) > 1700


def packed(piece: bytes) -> bytes:
    body = zlib.compress(piece)
    size = 32 + len(body)
    return struct.pack("<4sHHLLH6xL4x", b"LOBJ", 16, 1, size, 10, 2, len(piece)) + body + bytes(size % 4)


def inflated(path: Path) -> bytes:
    content = path.read_bytes()
    parts, _ = parts_of(content, first_part(content, "x"), "x")
    raw, size, *_ = stream_of(content, parts)
    return raw[:size].tobytes()
