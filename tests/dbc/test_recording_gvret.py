"""SavvyCAN and GVRET CSV in all their columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbc.errors import RecordingError
from dbc.recording import open_recording, recording_from_bytes
from dbc.table import EXTENDED, FD, REMOTE, TX, FrameRow

if TYPE_CHECKING:
    from pathlib import Path

OLD = "Time Stamp,ID,Extended,Bus,LEN,D1,D2,D3,D4,D5,D6,D7,D8\n"
NEW = "Time Stamp,ID,Extended,Dir,Bus,LEN,D1,D2,D3,D4,D5,D6,D7,D8\n"
DLC = "Time Stamp,ID,Extended,Dir,Bus,DLC,D1,D2,D3,D4,D5,D6,D7,D8\n"


def rows(text: str | bytes) -> list[FrameRow]:
    recording = recording_from_bytes(text.encode() if isinstance(text, str) else text, "x.csv")
    assert recording.format == "gvret"
    assert recording.bad_line_count == 0, recording.bad_lines
    return list(recording.table.rows())


@pytest.mark.parametrize(
    ("text", "row"),
    [
        (
            OLD + "166064000,0000021A,false,0,8,FE,36,12,FE,69,05,07,AD,",
            FrameRow(166064000000, 0x21A, bytes.fromhex("FE3612FE690507AD")),
        ),
        (
            NEW + "-1688467643373880,00000700,false,Rx,0,2,01,02,,,,,,,",
            FrameRow(-1688467643373880000, 0x700, b"\x01\x02"),
        ),
        (NEW + "5,18DAF110,true,Tx,1,1,AA,", FrameRow(5000, 0x18DAF110, b"\xaa", EXTENDED | TX, 1)),
        (DLC + "5,75A,0,Rx,0,3,3,A,FF", FrameRow(5000, 0x75A, b"\x03\x0a\xff")),
        (OLD + "5,00000001,TRUE,0,1,3,", FrameRow(5000, 1, b"\x03", EXTENDED)),
        ("\ufeff" + OLD + "5,1,1,0,0,", FrameRow(5000, 1, b"", EXTENDED)),
        (OLD + "5,7E0,false,0,8", FrameRow(5000, 0x7E0, b"", REMOTE, 0, 8)),
        (OLD.replace(",", ";") + "5;7E0;false;0;1;AB;", FrameRow(5000, 0x7E0, b"\xab")),
        (NEW.upper().replace("D8", "D8,") + '"5","7E0","false","Rx","0","1","AB"', FrameRow(5000, 0x7E0, b"\xab")),
        (NEW + "5.0,7E0,false,Rx,0,1,AB", FrameRow(5000, 0x7E0, b"\xab")),
        (NEW + "5,7E0,false,Rx,0,12," + "01," * 12, FrameRow(5000, 0x7E0, b"\x01" * 12, FD)),
    ],
)
def test_variants(text: str, row: FrameRow) -> None:
    assert rows(text + "\n") == [row]
    assert rows(text.replace("\n", "\r\n")) == [row]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("x,7E0,false,Rx,0,1,AB", "time stamp is no number"),
        ("5,XYZ,false,Rx,0,1,AB", "identifier is no number"),
        ("5,3FFFFFFFF,false,Rx,0,1,AB", "above 29 bits"),
        ("5,7E0,maybe,Rx,0,1,AB", "neither true nor false"),
        ("5,7E0,false,Rx,0,2,AB", "1 bytes where 2 are announced"),
        ("5,7E0,false,Rx,0,1,1AB", "above FF"),
        ("5,7E0,false,Rx,0,65,AB", "out of range"),
        ("5,7E0,false,Rx,999,1,AB", "out of range"),
        ("5,7E0", "too few columns"),
        ("9999999999999999999,7E0,false,Rx,0,1,AB", "time out of range"),
        ("5,7_0,false,Rx,0,1,AB", "identifier is no number"),
    ],
)
def test_bad_lines_are_located_with_their_reason(line: str, reason: str) -> None:
    recording = recording_from_bytes((NEW + "5,1,false,Rx,0,0,\n" + line + "\n6,2,false,Rx,0,0,\n").encode(), "x.csv")
    assert [bad.line for bad in recording.bad_lines] == [3]
    assert reason in str(recording.bad_lines[0].reason)
    assert recording.table.can_id.tolist() == [1, 2]


@st.composite
def csv_lines(draw: st.DrawFn) -> str:
    stamp = draw(st.sampled_from([str(draw(st.integers(-(10**16), 10**16))), "1700000000000000", "12", "x"]))
    can_id = draw(st.sampled_from(["000007E8", "7E8", "18DAF110", "00000123", "20000001", "800", "XYZ"]))
    extended = draw(st.sampled_from(["false", "false", "true", "TRUE", "1", "0", "maybe"]))
    direction = draw(st.sampled_from(["Rx", "Rx", "Tx"]))
    data = draw(st.binary(max_size=8))
    length = draw(st.sampled_from([len(data), len(data), len(data), 8, 65]))
    form = draw(st.sampled_from(["%02X", "%02x", "%X"]))
    texts = [form % byte for byte in data]
    tail = draw(st.sampled_from(["", ",", ",,,", " ", "\r", "\0"]))
    return ",".join([stamp, can_id, extended, direction, draw(st.sampled_from("01")), str(length), *texts]) + tail


@settings(deadline=None)
@given(st.lists(csv_lines(), max_size=25))
def test_columns_agree_with_single_lines(lines: list[str]) -> None:
    together = recording_from_bytes((NEW + "\n".join(lines)).encode(), "x.csv")
    wanted: list[FrameRow] = []
    bad: list[int] = []
    for number, line in enumerate(lines, start=2):
        alone = recording_from_bytes((NEW + "noise\n" * 30 + line).encode(), "x.csv")
        wanted += alone.table.rows()
        if alone.bad_line_count == 31:
            bad.append(number)
    assert list(together.table.rows()) == wanted
    assert [line.line for line in together.bad_lines] == bad


def test_the_same_drive_in_two_dialects(shared: Path) -> None:
    log = open_recording(shared / "data/savvycan/candump.log")
    csv = open_recording(shared / "data/savvycan/GVRET_Log.csv")
    assert (log.format, csv.format) == ("candump", "gvret")
    assert len(log.table) == len(csv.table) == 12_974
    assert (log.table.key == csv.table.key).all()
    assert (log.table.length == csv.table.length).all()
    assert (log.table.data == csv.table.data).all()
    assert log.whole_seconds
    assert not csv.whole_seconds
    assert abs(log.table.t_ns - csv.table.t_ns).max() < 1_000_000_000
    assert (log.bad_line_count, csv.bad_line_count) == (0, 0)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([OLD, NEW, DLC]), st.text(alphabet='0123456789ABCDEFabcdef,;.-truefalsRxT"\r\n\0 _é', max_size=200)
)
def test_any_lines_end_in_frames_or_bad_lines(head: str, text: str) -> None:
    try:
        recording = recording_from_bytes((head + text).encode(), "x.csv")
    except RecordingError:
        return
    assert recording.format == "gvret"
