"""There and back: what a format can hold comes back the same, what it cannot is said; other programs read it too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import can
import numpy as np
import pytest
from asammdf import MDF
from hypothesis import given, settings
from hypothesis import strategies as st

from dbc.errors import LibraryMissing, OutputError
from dbc.recording import Recording, open_recording
from dbc.recording.writers import ENDINGS, FORMATS, losses_of, write_recording
from dbc.table import BITRATE_SWITCH, ERROR, ERROR_STATE, EXTENDED, FD, REMOTE, TX, FrameRow, FrameTable

T0 = 1_700_000_000_123_000_000
FD_SIZES = (0, 1, 7, 8, 12, 16, 20, 24, 32, 48, 64)
SUFFIX = {name: ending for ending, name in reversed(ENDINGS.items())}


def recording(rows: list[FrameRow], **facts: object) -> Recording:
    channels = facts.pop("channels", ("can0", "can1"))
    return Recording("x", "test", channels, table=FrameTable.from_rows(rows), **facts)  # type: ignore[arg-type]


ROWS = [
    FrameRow(T0, 0x123, b"\1\2\3"),
    FrameRow(T0 + 1_000, 0x123, b"", EXTENDED | TX, 1),
    FrameRow(T0 + 2_001, 0x18DAF110, bytes(range(8)), EXTENDED),
    FrameRow(T0 + 3_000, 0x7FF, bytes(range(64)), FD | BITRATE_SWITCH),
    FrameRow(T0 + 3_000, 0x7FF, b"\5", FD | ERROR_STATE | TX),
    FrameRow(T0 + 4_000, 0x55, b"", REMOTE, 0, 8),
    FrameRow(T0 + 4_000, 0x55, b"", REMOTE | EXTENDED, 1, 0),
    FrameRow(T0 + 5_000, 0x84, b"\0\1\0\0\0\0\0\0", ERROR | EXTENDED),
]


@st.composite
def frames(draw: st.DrawFn) -> FrameRow:
    t_ns = draw(st.integers(0, 10_000_000_000))
    extended = draw(st.booleans())
    can_id = draw(st.integers(0, 0x1FFF_FFFF if extended else 0x7FF))
    flags = (EXTENDED if extended else 0) | draw(st.sampled_from([0, TX]))
    channel = draw(st.integers(0, 1))
    kind = draw(st.sampled_from(["data", "data", "fd", "remote", "error"]))
    if kind == "remote":
        return FrameRow(t_ns, can_id, b"", flags | REMOTE, channel, draw(st.integers(0, 8)))
    if kind == "error":
        return FrameRow(t_ns, can_id, draw(st.binary(max_size=8)), flags | ERROR | EXTENDED, channel)
    if kind == "fd":
        flags |= FD | draw(st.sampled_from([0, BITRATE_SWITCH, ERROR_STATE, BITRATE_SWITCH | ERROR_STATE]))
        return FrameRow(
            t_ns,
            can_id,
            draw(st.sampled_from(FD_SIZES).flatmap(lambda n: st.binary(min_size=n, max_size=n))),
            flags,
            channel,
        )
    return FrameRow(t_ns, can_id, draw(st.binary(max_size=8)), flags, channel)


@st.composite
def recordings(draw: st.DrawFn) -> Recording:
    rows = draw(st.lists(frames(), min_size=1, max_size=12))
    absolute = draw(st.sampled_from([None, 0, T0, T0 + 1, 1_600_000_000_000_000_000]))
    shift = T0 if absolute == 0 else draw(st.sampled_from([0, 0, -5_000_000_001]))
    rows = [row._replace(t_ns=row.t_ns + shift) for row in rows]
    if draw(st.booleans()):
        rows.sort(key=lambda row: row.t_ns)
    names = draw(st.sampled_from([("can0", "can1"), ("0", "1"), ("1", "2"), ("RX 0", "a,b"), ("7", "3")]))
    local = draw(st.sampled_from([None, "2023-11-14 22:13:20.250"])) if absolute is None else None
    return recording(rows, channels=names, start_ns=absolute, local_start=local, timed=True)


def absolute_ns(found: Recording) -> list[int]:
    return (found.table.t_ns + (found.start_ns or 0)).tolist()


def buses(found: Recording) -> list[str]:
    return [found.channels[at] for at in found.table.channel.tolist()]


@settings(max_examples=60, deadline=None)
@given(recordings(), st.sampled_from(FORMATS))
def test_there_and_back_loses_nothing_but_what_is_said(before: Recording, name: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "x" + SUFFIX[name])
        lost = {phrase.en for phrase in write_recording(before, path)}
        after = open_recording(path)
        assert {entry.name for entry in Path(folder).iterdir()} == {path.name}
    assert (len(after.table), after.bad_line_count) == (len(before.table), 0)
    known = {
        "names of buses become numbers": "bus",
        "names of buses change": "bus",
        "times are moved, for none may be negative": "time",
        "the start by a clock without a zone is not kept": "local",
        "error frames lose identifier and data": "error",
        "error frames lose their direction": "direction",
        "the order becomes that of time, by kinds of frames": "order",
    }
    gone = {known[text] for text in lost}
    wanted, got = before.table, after.table
    times, wanted_buses = absolute_ns(before), buses(before)
    if "order" in gone:
        rank = np.where(wanted.flags & ERROR, 2, np.where(wanted.flags & REMOTE, 1, 0))
        order = np.lexsort((rank, wanted.t_ns))
        wanted, times = wanted[order], [times[at] for at in order.tolist()]
        wanted_buses = [wanted_buses[at] for at in order.tolist()]
    rows, back = list(wanted.rows()), list(got.rows())
    if "direction" in gone or "error" in gone:
        rows = [row._replace(flags=row.flags & ~TX) if row.flags & ERROR else row for row in rows]
        back = [row._replace(flags=row.flags & ~TX) if row.flags & ERROR else row for row in back]
    if "error" in gone:
        rows = [row._replace(can_id=0, data=b"") if row.flags & ERROR else row for row in rows]
    plain = [row._replace(t_ns=0, channel=0) for row in rows]
    assert [row._replace(t_ns=0, channel=0) for row in back] == plain
    if "time" in gone:
        assert np.diff(absolute_ns(after)).tolist() == np.diff(times).tolist()
    else:
        assert absolute_ns(after) == times
        if before.start_ns is not None:
            assert after.start_ns is not None
    if "bus" in gone:
        assert len(set(buses(after))) == len(set(wanted_buses))
    else:
        assert buses(after) == wanted_buses
    if "local" not in gone and before.local_start:
        assert (after.local_start or "").rstrip("0") == before.local_start.rstrip("0")


@pytest.mark.parametrize("name", FORMATS)
def test_every_kind_of_frame(tmp_path: Path, name: str) -> None:
    before = recording(ROWS, start_ns=0)
    path = tmp_path / f"x{SUFFIX[name]}"
    write_recording(before, path)
    after = open_recording(path)
    assert absolute_ns(after) == absolute_ns(before)
    if name != "asc":
        assert (after.table.data == before.table.data).all()
        assert (after.table.flags == before.table.flags).all()


def message(row: FrameRow) -> tuple[object, ...]:
    error = bool(row.flags & ERROR)
    return (
        None if error else row.can_id,
        bool(row.flags & EXTENDED) or error,
        bool(row.flags & FD),
        bool(row.flags & BITRATE_SWITCH),
        bool(row.flags & REMOTE),
        error,
        b"" if error else row.data,
    )


@pytest.mark.parametrize("name", ["candump", "asc", "blf"])
def test_python_can_reads_what_we_write(tmp_path: Path, name: str) -> None:
    rows = ROWS
    path = tmp_path / f"x{SUFFIX[name]}"
    write_recording(recording(rows, start_ns=0), path)
    with can.LogReader(path) as reader:
        found = list(reader)
    got = [
        (
            None if m.is_error_frame else m.arbitration_id,
            m.is_extended_id or m.is_error_frame,
            m.is_fd,
            m.bitrate_switch,
            m.is_remote_frame,
            m.is_error_frame,
            b"" if m.is_error_frame else bytes(m.data),
        )
        for m in found
    ]
    assert got == [message(row) for row in rows]
    first = found[0].timestamp
    assert [round((m.timestamp - first) * 1e6) for m in found] == [(row.t_ns - T0) // 1000 for row in rows]
    if name != "asc":
        assert abs(first - T0 / 1e9) < 1e-6


def test_asammdf_reads_what_we_write(tmp_path: Path) -> None:
    path = tmp_path / "x.mf4"
    write_recording(recording(ROWS, start_ns=0), path)
    data = [row for row in ROWS if not row.flags & (REMOTE | ERROR)]
    with MDF(path) as mdf:
        ids = mdf.get("CAN_DataFrame.ID")
        assert ids.samples.tolist() == [row.can_id for row in data]
        assert np.rint(ids.timestamps * 1e9).astype(int).tolist() == [row.t_ns - T0 for row in data]
        assert mdf.get("CAN_DataFrame.DataLength").samples.tolist() == [len(row.data) for row in data]
        assert mdf.get("CAN_DataFrame.IDE").samples.tolist() == [row.flags & EXTENDED for row in data]
        payloads = mdf.get("CAN_DataFrame.DataBytes").samples
        assert [bytes(p[: len(row.data)]) for p, row in zip(payloads, data, strict=True)] == [row.data for row in data]
        assert round(mdf.start_time.timestamp() * 1000) == T0 // 1_000_000
        assert mdf.get("CAN_RemoteFrame.ID").samples.tolist() == [0x55, 0x55]


MESSAGES = [
    can.Message(timestamp=1700000000.5, arbitration_id=0x123, is_extended_id=False, data=b"\1\2", channel=0),
    can.Message(timestamp=1700000000.75, arbitration_id=0x18DAF110, data=bytes(8), channel=0, is_rx=False),
    can.Message(
        timestamp=1700000001.0, arbitration_id=0x5, is_extended_id=False, is_remote_frame=True, dlc=4, channel=0
    ),
    can.Message(
        timestamp=1700000001.25, arbitration_id=0x7FF, is_extended_id=False, is_fd=True, bitrate_switch=True,
        data=bytes(range(12)), channel=0,
    ),
    can.Message(timestamp=1700000001.5, is_error_frame=True, channel=0),
]  # fmt: skip


@pytest.mark.parametrize(
    ("suffix", "form", "left_out"),
    [
        (".log", "candump", ()),
        (".asc", "asc", ()),
        (".blf", "blf", ()),
        (".csv", "python-can-csv", (3,)),
        (".db", "python-can-sqlite", (3,)),
        (".trc", "pcan-trc", (2, 3, 4)),
    ],
)
def test_we_read_what_python_can_writes(tmp_path: Path, suffix: str, form: str, left_out: tuple[int, ...]) -> None:
    written = [m for at, m in enumerate(MESSAGES) if at not in left_out]
    with can.Logger(tmp_path / f"x{suffix}") as logger:
        for m in written:
            logger.on_message_received(m)
    found = open_recording(tmp_path / f"x{suffix}")
    assert (found.format, found.bad_line_count) == (form, 0)
    assert [message(row) for row in found.table.rows()] == [
        (
            None if m.is_error_frame else m.arbitration_id,
            m.is_extended_id or m.is_error_frame,
            m.is_fd,
            m.bitrate_switch,
            m.is_remote_frame,
            m.is_error_frame,
            b"" if m.is_error_frame else bytes(m.data),
        )
        for m in written
    ]
    times = found.table.t_ns - found.table.t_ns[0]
    assert times.tolist() == [round((m.timestamp - written[0].timestamp) * 1e9) for m in written]
    if suffix in {".log", ".blf", ".csv", ".db"}:
        assert absolute_ns(found)[0] == 1_700_000_000_500_000_000


def test_nothing_half_written_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "x.log"
    target.write_text("before")

    def full_disk(*_: object, **__: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dbc.recording.writers.candump_text", full_disk)
    with pytest.raises(OutputError, match="No space left"):
        write_recording(recording(ROWS), target)
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


def test_bad_places_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutputError, match="must end in one of"):
        write_recording(recording(ROWS), tmp_path / "x.xls")
    with pytest.raises(OutputError, match="no folder"):
        write_recording(recording(ROWS), tmp_path / "no" / "x.log")
    monkeypatch.setattr("dbc.recording.writers.find_spec", lambda name: None)
    with pytest.raises(LibraryMissing, match="pip install pyarrow"):
        write_recording(recording(ROWS), tmp_path / "x.parquet")


def test_without_times_only_parquet_loses_nothing(tmp_path: Path) -> None:
    before = replace(recording([FrameRow(0, 1, b"\1"), FrameRow(0, 2, b"\2")]), timed=False)
    assert losses_of(before.facts, "parquet") == ()
    assert any("no times" in loss.en for loss in losses_of(before.facts, "blf"))
    write_recording(before, tmp_path / "x.parquet")
    assert not open_recording(tmp_path / "x.parquet").timed


def test_an_empty_recording_in_every_format(tmp_path: Path) -> None:
    for name in FORMATS:
        write_recording(recording([]), tmp_path / f"x{SUFFIX[name]}")
    assert len(open_recording(tmp_path / "x.blf").table) == 0
    assert len(open_recording(tmp_path / "x.mf4").table) == 0
