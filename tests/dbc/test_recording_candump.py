"""candump logs: the fast reading of many lines says the same as the reading of each one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import can
import numpy as np
import pytest
from can.io import CanutilsLogWriter
from hypothesis import given, settings
from hypothesis import strategies as st

from dbc.recording import open_recording, recording_from_bytes
from dbc.recording.candump import parse_line
from dbc.recording.lines import Unreadable
from dbc.table import BITRATE_SWITCH, ERROR, EXTENDED, FD, REMOTE, TX, FrameRow

if TYPE_CHECKING:
    from pathlib import Path

S = 1_000_000_000


@pytest.mark.parametrize(
    ("line", "row", "bus"),
    [
        ("(1.5) can0 1DB#EEC0", FrameRow(3 * S // 2, 0x1DB, b"\xee\xc0"), "can0"),
        ("(1700000000.123456) can0 1DB#", FrameRow(1700000000123456000, 0x1DB, b""), "can0"),
        ("(0.000000001) vcan1 18DAF110#01", FrameRow(1, 0x18DAF110, b"\x01", EXTENDED), "vcan1"),
        ("(1.0) can0 00000001#01", FrameRow(S, 1, b"\x01", EXTENDED), "can0"),
        ("(1.0) can0 123##3112233", FrameRow(S, 0x123, b"\x11\x22\x33", FD | BITRATE_SWITCH | 0x08), "can0"),
        ("(1.0) can0 123##0", FrameRow(S, 0x123, b"", FD), "can0"),
        ("(1.0) can0 123#R", FrameRow(S, 0x123, b"", REMOTE), "can0"),
        ("(1.0) can0 123#R8", FrameRow(S, 0x123, b"", REMOTE, 0, 8), "can0"),
        ("(1.0) can0 123#11 T", FrameRow(S, 0x123, b"\x11", TX), "can0"),
        ("(1.0) can0 123#1122334455667788_9", FrameRow(S, 0x123, bytes.fromhex("1122334455667788")), "can0"),
        ("(1.0) can0 123#11.22", FrameRow(S, 0x123, b"\x11\x22"), "can0"),
        ("(1.0) can0 20000080#0000000000000000", FrameRow(S, 0x80, bytes(8), ERROR | EXTENDED), "can0"),
    ],
)
def test_lines(line: str, row: FrameRow, bus: str) -> None:
    assert parse_line(line) == (row, bus)
    recording = recording_from_bytes(b"(1.0) can0 001#\n" + line.encode() + b"\n", "x.log")
    assert list(recording.table.rows())[1]._replace(channel=0) == row
    assert recording.format == "candump"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("(1.0) can0 123#1", "half a byte"),
        ("(1.0) can0 123#112233445566778899", "more than 8 bytes"),
        ("(1.0) can0 123##1" + "00" * 65, "more than 64 bytes"),
        ("(1.0) can0 123##", "without its flags"),
        ("(1.0) can0 FFFFFFFF#", None),
        ("(1.0) can0 40000000#", "above 29 bits"),
        ("(99999999999.0) can0 123#", "time out of range"),
        ("(1.0) can0 12G#00", "not a candump line"),
        ("(1.0 can0 123#00", "not a candump line"),
        ("can0 123#00", "not a candump line"),
        ("# comment", "not a candump line"),
    ],
)
def test_bad_lines_are_located_with_their_reason(line: str, reason: str | None) -> None:
    content = f"(1.0) can0 001#\r\n\r\n{line}\r\n(2.0) can0 002#\r\n".encode()
    recording = recording_from_bytes(content, "x.log")
    if reason is None:
        assert recording.bad_line_count == 0
        return
    assert [bad.line for bad in recording.bad_lines] == [3]
    assert reason in str(recording.bad_lines[0].reason)
    assert recording.bad_line_count == 1
    assert recording.table.can_id.tolist() == [1, 2]
    with pytest.raises(Unreadable):
        parse_line(line)


def test_a_cut_last_line_is_bad_and_the_rest_is_there() -> None:
    recording = recording_from_bytes(b"(1.0) can0 001#0011\n(2.0) can0 002#00112", "x.log")
    assert len(recording.table) == 1
    assert recording.bad_lines[0].line == 2
    whole = recording_from_bytes(b"(1.0) can0 001#0011\n(2.0) can0 002#001122", "x.log")
    assert len(whole.table) == 2


def test_null_bytes_are_passed_over() -> None:
    recording = recording_from_bytes(b"\0\0(1.0) can0 001#0011\0\n\0\n(2.0) can0 002#00\n", "x.log")
    assert len(recording.table) == 2
    assert recording.bad_line_count == 0


@st.composite
def lines(draw: st.DrawFn) -> str:
    seconds = draw(st.integers(0, 9_999_999_999))
    digits = draw(st.sampled_from([1, 3, 6, 6, 6, 9]))
    fraction = "".join(draw(st.lists(st.sampled_from("0123456789"), min_size=digits, max_size=digits)))
    bus = draw(st.sampled_from(["can0", "can1", "vcan0", "any"]))
    can_id = draw(st.sampled_from(["7E8", "123", "00000123", "18DAF110", "1FFFFFFF", "fff", "20000001"]))
    data = draw(st.binary(max_size=8)).hex()
    data = draw(st.sampled_from([data, data.upper(), data + "1", "R", "#1" + data, data + "_9", "xy"]))
    end = draw(st.sampled_from(["", "", "", " R", " T", " ", "\r"]))
    junk = draw(st.sampled_from(["", "", "", "", "\0", "x", "("]))
    return f"{junk}({seconds}.{fraction}) {bus} {can_id}#{data}{end}"


@settings(deadline=None)
@given(st.lists(lines(), max_size=30), st.booleans())
def test_columns_agree_with_single_lines(texts: list[str], ends: bool) -> None:
    texts = ["(1.0) can0 001#", *texts]
    recording = recording_from_bytes(("\n".join(texts) + "\n" * ends).encode(), "x.log")
    wanted: list[FrameRow] = []
    bad: list[int] = []
    buses: list[str] = []
    for number, text in enumerate(texts, start=1):
        try:
            row, bus = parse_line(text.replace("\0", "").strip())
        except Unreadable:
            bad.append(number)
            continue
        wanted.append(row)
        buses.append(bus)
    assert [row._replace(channel=0) for row in recording.table.rows()] == wanted
    assert [recording.channels[channel] for channel in recording.table.channel.tolist()] == buses
    assert [line.line for line in recording.bad_lines] == bad


def test_chunks_do_not_show() -> None:
    text = b"".join(b"(%d.%06d) can%d %03X#%s\n" % (n, n, n % 2, n % 2048, b"AB" * (n % 9)) for n in range(120_000))
    assert len(text) > 2 << 20
    recording = recording_from_bytes(text, "x.log")
    assert recording.bad_line_count == 0
    assert np.array_equal(recording.table.t_ns, np.arange(120_000) * (S + 1000))
    assert np.array_equal(recording.table.channel, np.arange(120_000) % 2)
    assert np.array_equal(recording.table.length, np.arange(120_000) % 9)


def test_python_can_writes_what_we_read(tmp_path: Path) -> None:
    path = tmp_path / "written.log"
    messages = [
        can.Message(
            timestamp=1_700_000_000 + n * 0.01,
            arbitration_id=0x123 + n,
            is_extended_id=n % 2 == 0,
            data=bytes(range(n % 9)),
            is_rx=n % 3 > 0,
            channel="can0",
        )
        for n in range(20)
    ]
    fd = can.Message(timestamp=1_700_000_001, arbitration_id=0x77, is_extended_id=False, is_fd=True, data=bytes(32))
    remote = can.Message(timestamp=1_700_000_002, arbitration_id=0x78, is_extended_id=False, is_remote_frame=True)
    with CanutilsLogWriter(path) as writer:
        for message in [*messages, fd, remote]:
            writer.on_message_received(message)
    recording = open_recording(path)
    assert recording.bad_line_count == 0
    assert recording.start_ns == 0
    rows = list(recording.table.rows())
    assert [row.data for row in rows] == [bytes(message.data) for message in [*messages, fd, remote]]
    assert [bool(row.flags & EXTENDED) for row in rows[:20]] == [n % 2 == 0 for n in range(20)]
    assert [bool(row.flags & TX) for row in rows[:20]] == [n % 3 == 0 for n in range(20)]
    assert rows[20].flags & FD
    assert rows[21].flags & REMOTE
