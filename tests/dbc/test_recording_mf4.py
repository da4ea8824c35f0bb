"""MF4 bus logging: asammdf says what must come out, of real files and of every way to store them."""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING, Any

import asammdf
import can
import numpy as np
import pytest
from can.io import MF4Writer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbc.errors import LibraryMissing, NotARecording, RecordingBroken, RecordingError
from dbc.recording import open_recording, recording_from_bytes
from dbc.table import BITRATE_SWITCH, ERROR, EXTENDED, FD, REMOTE, TX

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:asammdf", "ignore::ResourceWarning")

REAL = ("kona_uds", "j1939_truck", "j1939_tp")


def from_asammdf(path: Path) -> Any:
    with asammdf.MDF(path) as mdf:
        group = next(
            number
            for number, found in enumerate(mdf.groups)
            if any(channel.name == "CAN_DataFrame" for channel in found.channels)
        )
        return mdf.get("CAN_DataFrame", group=group)


@pytest.mark.parametrize("name", REAL)
def test_real_recordings_equal_asammdf(shared: Path, name: str) -> None:
    path = shared / "data/css" / f"{name}.mf4"
    wanted = from_asammdf(path)
    recording = open_recording(path)
    table = recording.table
    assert recording.format == "mf4"
    assert recording.bad_line_count == 0
    assert len(table) == len(wanted.samples) > 1000
    assert np.array_equal(table.can_id, wanted.samples["CAN_DataFrame.ID"])
    assert np.array_equal((table.flags & EXTENDED) != 0, wanted.samples["CAN_DataFrame.IDE"] != 0)
    assert np.array_equal(table.length, wanted.samples["CAN_DataFrame.DataLength"])
    assert np.array_equal(table.channel, wanted.samples["CAN_DataFrame.BusChannel"])
    stored = wanted.samples["CAN_DataFrame.DataBytes"]
    assert np.array_equal(table.data[:, : stored.shape[1]], stored)
    assert np.abs(table.t_ns - wanted.timestamps * 1e9).max() < 1000
    assert table.is_sorted


@pytest.mark.parametrize("version", ["4.00", "4.10", "4.20", "4.30"])
@pytest.mark.parametrize("compression", [0, 1, 2])
def test_every_way_to_store_gives_the_same(shared: Path, tmp_path: Path, version: str, compression: int) -> None:
    path = shared / "data/css/kona_uds.mf4"
    copy = tmp_path / "copy.mf4"
    with asammdf.MDF(path) as mdf, mdf.convert(version) as converted:
        converted.save(copy, compression=compression, overwrite=True)
    same(open_recording(copy).table, open_recording(path).table)


def test_what_is_beyond_us_goes_through_asammdf(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shared / "data/css/kona_uds.mf4"
    copy = tmp_path / "copy.mf4"
    with asammdf.MDF(path) as mdf, mdf.convert("4.30") as converted:
        converted.save(copy, compression=3, overwrite=True)
    same(open_recording(copy).table, open_recording(path).table)
    monkeypatch.setitem(sys.modules, "asammdf", None)
    monkeypatch.setattr("dbc.recording.asam.find_spec", lambda name: None)
    with pytest.raises(LibraryMissing, match=r"needs asammdf \(compression method 2\), which is not installed"):
        open_recording(copy)


def same(one: Any, other: Any) -> None:
    assert np.array_equal(one.key, other.key)
    assert np.array_equal(one.data, other.data)
    assert np.array_equal(one.length, other.length)
    assert np.abs(one.t_ns - other.t_ns).max() < 1000


def test_python_can_writes_what_we_read(tmp_path: Path) -> None:
    path = tmp_path / "written.mf4"
    messages = [
        can.Message(
            timestamp=1_700_000_000 + n * 0.01,
            arbitration_id=0x123 + n,
            is_extended_id=n % 2 == 0,
            data=bytes(range(n % 9)),
            is_rx=n % 3 > 0,
        )
        for n in range(20)
    ]
    messages += [
        can.Message(
            timestamp=1_700_000_001,
            arbitration_id=0x77,
            is_extended_id=False,
            is_fd=True,
            bitrate_switch=True,
            data=bytes(range(32)),
        ),
        can.Message(timestamp=1_700_000_002, arbitration_id=0x78, is_extended_id=False, is_remote_frame=True, dlc=4),
        can.Message(timestamp=1_700_000_003, is_error_frame=True),
    ]
    with MF4Writer(path) as writer:
        for message in messages:
            writer.on_message_received(message)
    rows = list(open_recording(path).table.rows())
    assert len(rows) == len(messages)
    for row, message in zip(rows[:21], messages, strict=False):
        assert row.can_id == message.arbitration_id
        assert row.data == bytes(message.data)
        assert bool(row.flags & EXTENDED) == message.is_extended_id
        assert bool(row.flags & TX) != message.is_rx
    assert rows[20].flags & (FD | BITRATE_SWITCH) == FD | BITRATE_SWITCH
    assert rows[21].flags & REMOTE
    assert rows[21].requested == 4
    assert rows[22].flags & ERROR


def test_a_cut_recording_gives_its_whole_records(shared: Path) -> None:
    content = (shared / "data/css/kona_uds.mf4").read_bytes()
    recording = recording_from_bytes(content[:-500], "x.mf4")
    assert 1900 < len(recording.table) < 2010
    assert recording.bad_line_count >= 1


def test_a_finished_file_that_was_cut_is_broken(shared: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.mf4"
    with asammdf.MDF(shared / "data/css/kona_uds.mf4") as mdf:
        mdf.save(copy, overwrite=True)
    content = copy.read_bytes()
    with pytest.raises(RecordingBroken, match="byte"):
        recording_from_bytes(content[: len(content) // 2], "x.mf4")


def test_a_chain_that_goes_round_ends(shared: Path) -> None:
    content = bytearray((shared / "data/css/kona_uds.mf4").read_bytes())
    struct.pack_into("<Q", content, 0xFC8 + 24, 0xFC8)
    with pytest.raises(RecordingBroken, match="goes round"):
        recording_from_bytes(bytes(content), "x.mf4")


def test_what_inflates_without_end_is_refused(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "copy.mf4"
    with asammdf.MDF(shared / "data/css/kona_uds.mf4") as mdf:
        mdf.save(copy, compression=1, overwrite=True)
    assert len(open_recording(copy).table) == 2010
    monkeypatch.setattr("dbc.recording.mdf._MAX_INFLATED", 10_000)
    with pytest.raises(RecordingBroken, match="inflated size out of range"):
        open_recording(copy)


def test_measurements_without_can_frames_are_no_recording(tmp_path: Path) -> None:
    path = tmp_path / "plain.mf4"
    with asammdf.MDF() as mdf:
        mdf.append([asammdf.Signal(np.arange(5.0), np.arange(5.0), name="Voltage")])
        mdf.save(path, overwrite=True)
    with pytest.raises(NotARecording, match="without CAN frames"):
        open_recording(path)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_any_damage_ends_in_a_declared_error(shared: Path, data: st.DataObject) -> None:
    content = bytearray((shared / "data/css/kona_uds.mf4").read_bytes()[:12_000])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.one_of(st.integers(0, 0x1D20), st.integers(0, len(content) - 9)))
        if data.draw(st.booleans()):
            content[at] = data.draw(st.integers(0, 255))
        else:
            struct.pack_into("<Q", content, at, data.draw(st.sampled_from([0, 1, 64, 0xFC8, 0x1D20, 2**63, 2**64 - 1])))
    try:
        recording_from_bytes(bytes(content), "x.mf4")
    except (RecordingError, LibraryMissing):
        return


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([b"MDF     4.10    ", b"UnFinMF 4.11    ", b""]), st.binary(max_size=300))
def test_any_bytes_end_in_a_declared_error(head: bytes, content: bytes) -> None:
    with pytest.raises((RecordingError, LibraryMissing)):
        recording_from_bytes(head + content, "x.mf4")
