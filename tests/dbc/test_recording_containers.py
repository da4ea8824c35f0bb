"""Compressed recordings, binary logs, clocks that wrap, captures glued together."""

from __future__ import annotations

import gzip
import io
import shutil
import sqlite3
import struct
import subprocess
import zipfile
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from dbc.errors import NotARecording, RecordingBroken, RecordingTooLarge
from dbc.recording import open_recording, recording_from_bytes
from dbc.recording.writers import write_recording
from dbc.table import BITRATE_SWITCH, ERROR, ERROR_STATE, EXTENDED, FD, REMOTE, TX, FrameRow

if TYPE_CHECKING:
    from pathlib import Path

S = 1_000_000_000
LOG = b"(1700000000.100000) can0 123#0102\n(1700000000.200000) can1 18DAF110#FF\n"
LATER = b"(1700000009.000000) can1 00000124#0102\nhalf a li"
RELATIVE = b"Time Stamp,ID,Extended,Bus,LEN,D1,D2,D3,D4,D5,D6,D7,D8\n1000000,7E8,false,0,1,AA,\n"


def archive(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in files.items():
            out.writestr(name.replace("_", "."), content)
    return buffer.getvalue()


def test_gzip_with_a_wrong_ending_in_several_parts_and_cut() -> None:
    packed = gzip.compress(LOG) + gzip.compress(LATER)
    recording = recording_from_bytes(packed, "x.blf")
    assert (recording.format, len(recording.table), recording.bad_line_count) == ("candump", 3, 1)
    cut = recording_from_bytes(gzip.compress(LOG * 200)[:-12], "x.gz")
    assert len(cut.table) > 100
    assert "cut" in cut.notes[-1].en
    with pytest.raises(RecordingBroken, match="compressed data is damaged"):
        recording_from_bytes(b"\x1f\x8b\x08" + b"\xff" * 40, "x.gz")
    with pytest.raises(NotARecording, match="twice"):
        recording_from_bytes(gzip.compress(packed), "x.gz")


def test_what_inflates_is_bounded() -> None:
    bomb = b"(1.0) can0 001#\n" * 100_000
    for packed in (gzip.compress(bomb), archive(a_log=bomb), archive(a_log=bomb[:800_000], b_log=bomb[:800_000])):
        with pytest.raises(RecordingTooLarge):
            recording_from_bytes(packed, "x", max_bytes=1_000_000)


def test_an_archive_with_one_recording_is_that_recording() -> None:
    recording = recording_from_bytes(archive(a_log=LOG), "x.zip")
    assert (recording.format, recording.path, recording.notes) == ("candump", "x.zip", ())


def test_an_archive_with_several_recordings_and_other_files() -> None:
    packed = archive(b_log=LATER, a_log=LOG, readme_txt=b"hello")
    recording = recording_from_bytes(packed, "x.zip")
    assert recording.format == "candump"
    assert recording.channels == ("can0", "can1")
    assert [(row.can_id, row.channel) for row in recording.table.rows()] == [(0x123, 0), (0x18DAF110, 1), (0x124, 1)]
    assert recording.segments == (2,)
    assert [(line.line, line.reason.en[:6]) for line in recording.bad_lines] == [(2, "b.log:")]
    assert "2 recordings" in recording.notes[0].en
    assert any(note.en.startswith("readme.txt: ") for note in recording.notes)


def test_an_archive_of_different_clocks_names_no_common_start() -> None:
    recording = recording_from_bytes(archive(a_log=LOG, b_csv=RELATIVE), "x.zip")
    assert recording.format == "candump+gvret"
    assert recording.start_ns is None
    assert recording.segments == (2,)


def test_archives_that_cannot_be_used() -> None:
    with pytest.raises(NotARecording, match="no known dialect"):
        recording_from_bytes(archive(readme_txt=b"hello"), "x.zip")
    with pytest.raises(NotARecording, match="empty archive"):
        recording_from_bytes(archive(), "x.zip")
    with pytest.raises(NotARecording, match="inside an archive"):
        recording_from_bytes(archive(a_zip=archive(a_log=LOG)), "x.zip")
    with pytest.raises(NotARecording, match="decoded values of Car Scanner"):
        recording_from_bytes(archive(a_csv=b'"SECONDS";"PID";"VALUE";"UNITS";\n"1";"Speed";"0";"km/h";\n'), "x.zip")
    with pytest.raises(RecordingBroken, match="damaged"):
        recording_from_bytes(archive(a_log=LOG)[:60], "x.zip")
    secret = bytearray(archive(a_log=LOG))
    secret[6] |= 1
    secret[secret.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(RecordingBroken, match="password"):
        recording_from_bytes(bytes(secret), "x.zip")


@pytest.mark.parametrize("text", [LOG.decode().replace("\n", "\r\n"), LOG.decode().replace("\n", "\r", 1)])
def test_line_ends_of_every_kind_and_utf_16(text: str) -> None:
    for content in (text.encode(), text.encode("utf-16"), b"\xef\xbb\xbf" + text.encode(), text.encode() + b"\0"):
        recording = recording_from_bytes(content, "x")
        assert (len(recording.table), recording.bad_line_count) == (2, 0)


def test_two_captures_glued_together() -> None:
    text = b"(100.0) can0 001#\n(101.0) can0 002#\n(100.9) can0 003#\n(5.0) can0 004#\n(6.0) can0 005#\n"
    recording = recording_from_bytes(text, "x")
    assert recording.segments == (3,)
    assert "several captures" in recording.notes[0].en
    assert recording.table.t_ns.tolist() == [100 * S, 101 * S, 100_900_000_000, 5 * S, 6 * S]


def test_the_headers_of_glued_captures_are_no_bad_lines() -> None:
    for text, count in (
        ("Time Stamp,ID,Extended,Bus,LEN,D1\n9000000,1,false,0,1,AA\n", 2),
        (";$FILEVERSION=1.1\n;$STARTTIME=41207.5\n     1)      9059.9  Rx     0300  1  00\n", 2),
        ("date Tue Nov 14 10:13:20 2023\nbase hex  timestamps absolute\n 9.1 1 21A Rx d 1 00\n", 2),
        ("***BUSMASTER***\n***HEX***\n00:01:01:0000 Rx 1 0x1 s 0\n", 2),
    ):
        recording = recording_from_bytes((text + text.replace("9", "3", 1 if text[0] != "T" else 0)).encode(), "x")
        assert (len(recording.table), recording.bad_line_count) == (count, 0)


def csv(*stamps: int) -> bytes:
    head = "Time Stamp,ID,Extended,Bus,LEN,D1,D2,D3,D4,D5,D6,D7,D8\n"
    return (head + "".join(f"{t},00000700,false,0,8,1,2,3,4,5,6,7,8\n" for t in stamps)).encode()


def test_a_32_bit_clock_that_wraps_is_carried_on_signed_or_not() -> None:
    unsigned = recording_from_bytes(csv(4_294_900_000, 4_294_960_000, 10_000), "x")
    assert unsigned.table.t_ns.tolist() == [4_294_900_000_000, 4_294_960_000_000, 4_294_977_296_000]
    signed = recording_from_bytes(csv(2_147_480_000, -2_147_480_000), "x")
    assert int(signed.table.t_ns[1] - signed.table.t_ns[0]) == 7_296_000
    assert signed.segments == unsigned.segments == ()
    assert "started again 1 times" in unsigned.notes[0].en


def test_a_changed_identifier_is_seen_among_others_of_its_length() -> None:
    plain = recording_from_bytes(b"ID,Data Bytes\n000000,01\n100000,01\n00018A,01\n", "x")
    assert plain.table.can_id.tolist() == [0, 0x1E5, 0x18A]
    head = "Time Stamp,ID,Extended,Bus,LEN,D1\n"
    text = head + "5,00018A,false,0,1,AA\n6,100000,false,0,1,AA\n7,00018B,false,0,1,AA\n"
    assert recording_from_bytes(text.encode(), "x").table.can_id.tolist() == [0x18A, 0x1E5, 0x18B]


def test_negative_stamps_stay_as_they_are() -> None:
    recording = recording_from_bytes(csv(-1_688_467_643_373_880, -1_688_467_643_373_000), "x")
    assert recording.table.t_ns.tolist() == [-1_688_467_643_373_880_000, -1_688_467_643_373_000_000]


def test_stamps_in_milliseconds_show_by_what_a_bus_can_carry() -> None:
    slow = recording_from_bytes(csv(*range(0, 300, 10)), "x")
    assert slow.table.t_ns.tolist() == [t * 1_000_000 for t in range(0, 300, 10)]
    assert "milliseconds" in slow.notes[0].en
    quick = recording_from_bytes(csv(*range(0, 30_000, 500)), "x")
    assert quick.table.t_ns.tolist() == [t * 1000 for t in range(0, 30_000, 500)]
    assert quick.notes == ()


def test_a_spreadsheets_identifiers_are_turned_back() -> None:
    head = "Time Stamp,ID,Extended,Bus,LEN,D1\n"
    text = head + "5,100000,false,0,1,AA\n6,1.00E+05,false,0,1,AA\n7,100000,true,0,1,AA\n8,1E5,false,0,1,AA\n"
    recording = recording_from_bytes(text.encode(), "x")
    assert recording.table.key.tolist() == [0x1E5, 0x1E5, 0x8010_0000, 0x1E5]
    assert "2 identifiers that a spreadsheet" in recording.notes[0].en


FRAMES = [
    FrameRow(1_700_000_000_123_456_000, 0x123, b"\1\2"),
    FrameRow(1_700_000_000_123_457_000, 0x18DAF110, bytes(range(8)), EXTENDED),
    FrameRow(1_700_000_000_123_458_000, 0x7FF, b"", REMOTE, 0, 4),
    FrameRow(1_700_000_000_123_459_000, 0x7FF, bytes(range(12)), FD | BITRATE_SWITCH),
    FrameRow(1_700_000_000_123_460_000, 0x1FF, b"\7", FD | ERROR_STATE),
    FrameRow(1_700_000_000_123_461_000, 0x80, b"\0\0\0\0\0\0\0\0", ERROR | EXTENDED),
]


def socketcan(row: FrameRow) -> bytes:
    word = row.can_id | (1 << 31 if row.flags & EXTENDED and not row.flags & ERROR else 0)
    word |= (1 << 30 if row.flags & REMOTE else 0) | (1 << 29 if row.flags & ERROR else 0)
    if row.flags & FD:
        marks = 4 | (1 if row.flags & BITRATE_SWITCH else 0) | (2 if row.flags & ERROR_STATE else 0)
        return struct.pack(">LBBxx", word, len(row.data), marks) + row.data.ljust(64, b"\0")
    return struct.pack(">LBxxx", word, row.requested or len(row.data)) + row.data.ljust(8, b"\0")


def pcap(rows: list[FrameRow], *, order: str = "<", link: int = 227, nano: bool = False) -> bytes:
    out = struct.pack(f"{order}LHHLLLL", 0xA1B23C4D if nano else 0xA1B2C3D4, 2, 4, 0, 0, 65535, link)
    for row in rows:
        data = socketcan(row)
        if link == 113:
            kind = 4 if row.flags & TX else 0
            word = data[:4] if order == ">" else data[3::-1]
            data = struct.pack(">HHHQH", kind, 280, 0, 0, 0x0D if row.flags & FD else 0x0C) + word + data[4:]
        part = row.t_ns % S // (1 if nano else 1000)
        out += struct.pack(f"{order}LLLL", row.t_ns // S, part, len(data), len(data)) + data
    return out


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nano", [False, True])
def test_pcap(order: str, nano: bool) -> None:
    recording = recording_from_bytes(pcap(FRAMES, order=order, nano=nano), "x.pcap")
    assert (recording.format, recording.start_ns) == ("pcap", 0)
    assert list(recording.table.rows()) == FRAMES


def test_cooked_pcap_knows_the_direction() -> None:
    rows = [FRAMES[0]._replace(flags=TX), FRAMES[3]]
    assert list(recording_from_bytes(pcap(rows, link=113), "x").table.rows()) == rows


def test_a_cut_pcap_and_one_without_can() -> None:
    recording = recording_from_bytes(pcap(FRAMES)[:-3], "x")
    assert (len(recording.table), recording.bad_line_count) == (5, 1)
    assert "cut" in recording.bad_lines[0].reason.en
    with pytest.raises(NotARecording, match="without CAN frames"):
        recording_from_bytes(pcap(FRAMES, link=1), "x")
    short = pcap([]) + struct.pack("<LLLL", 1, 0, 16, 16) + struct.pack(">LBxxx", 1, 9) + bytes(8)
    with pytest.raises(RecordingBroken, match="8 bytes where 9"):
        recording_from_bytes(short, "x")


needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")


@needs_tshark
@pytest.mark.parametrize("form", ["pcap", "pcapng", "nsecpcap"])
@pytest.mark.parametrize("link", [227, 113])
def test_tshark_sees_the_same_frames(tmp_path: Path, form: str, link: int) -> None:
    rows = [row for row in FRAMES if not row.flags & ERROR]
    source, path = tmp_path / "in.pcap", tmp_path / "x.log"
    source.write_bytes(pcap(rows, link=link))
    subprocess.run(["editcap", "-F", form, source, path], check=True, capture_output=True)
    fields = ["frame.time_epoch", "can.id", "can.flags.xtd", "can.flags.rtr", "can.len"]
    wanted = [arg for field in fields for arg in ("-e", field)]
    command = ["tshark", "-r", path, "-T", "fields", *wanted, "-E", "separator=,"]
    seen = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    recording = open_recording(path)
    assert (recording.format, list(recording.table.rows())) == ("pcap", rows)
    assert len(seen) == len(rows)
    for line, row in zip(seen, rows, strict=True):
        stamp, can_id, extended, remote, length = line.split(",")
        whole, _, part = stamp.partition(".")
        assert int(whole) * S + int(part.ljust(9, "0")) == row.t_ns
        assert int(can_id, 0) == row.can_id
        assert extended in ({"1", "True"} if row.flags & EXTENDED else {"0", "False", ""})
        assert remote in ({"1", "True"} if row.flags & REMOTE else {"0", "False", ""})
        assert int(length) == (row.requested or len(row.data))


def test_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path)) as store, store:
        store.execute("CREATE TABLE messages (ts REAL, arbitration_id INTEGER, extended INTEGER, remote INTEGER,"
                      " error INTEGER, dlc INTEGER, data BLOB)")  # fmt: skip
        store.executemany(
            "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (1_700_000_000.25, 0x123, 0, 0, 0, 1, b"\xaa"),
                (1.5, -1, 0, 0, 0, 0, b""),
                (None, 1, 0, 0, 0, 0, b""),
                (1_700_000_001.5, 0x18DAF110, 1, 1, 0, 8, None),
                (1_700_000_001.5, 1, 1, 0, 0, 8, b"\1"),
            ],
        )
    recording = open_recording(path)
    assert list(recording.table.rows()) == [
        FrameRow(1_700_000_000_250_000_000, 0x123, b"\xaa"),
        FrameRow(1_700_000_001_500_000_000, 0x18DAF110, b"", EXTENDED | REMOTE, 0, 8),
    ]
    assert [line.line for line in recording.bad_lines] == [2, 3, 5]
    content = path.read_bytes()
    with pytest.raises(RecordingBroken):
        recording_from_bytes(content[:2000], "x")
    with pytest.raises(NotARecording, match="table of messages"):
        recording_from_bytes(content.replace(b"messages", b"massages"), "x")


def test_a_blf_that_was_cut_gives_what_is_there(shared: Path, tmp_path: Path) -> None:
    whole = open_recording(shared / "data/savvycan/GVRET_Log.csv")
    write_recording(whole, tmp_path / "x.blf")
    content = (tmp_path / "x.blf").read_bytes()
    for part in (0.3, 0.7, 0.99):
        cut = recording_from_bytes(content[: int(len(content) * part)], "x")
        n = len(cut.table)
        assert 0 < n < len(whole.table)
        assert (cut.table.data == whole.table.data[:n]).all()
        assert cut.bad_line_count
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 0xFF
    recording = recording_from_bytes(bytes(damaged), "x")
    assert recording.bad_line_count
    assert len(recording.table) > 1000


def test_a_blf_whose_payload_holds_the_mark_of_an_object(tmp_path: Path) -> None:
    log = b"".join(b"(%d.5) can0 123#4C4F424A4C4F424A\n(%d.6) can0 124#00\n" % (n, n) for n in range(50))
    before = recording_from_bytes(log, "x")
    write_recording(before, tmp_path / "x.blf")
    after = open_recording(tmp_path / "x.blf")
    assert after.bad_line_count == 0
    assert list(after.table.rows()) == list(before.table.rows())
