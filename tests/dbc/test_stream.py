"""Recordings piece by piece: frames, facts and errors are those of the whole, for every dialect and every packing."""

from __future__ import annotations

import gzip
import os
import random
import sqlite3
import threading
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dbc.errors import DbcError, FileMissing, NotARecording, RecordingTooLarge
from dbc.recording import linestream, open_recording, stream
from dbc.recording.ordering import in_order, merged_by_time
from dbc.recording.stream import stream_recording
from dbc.recording.writers import write_recording
from dbc.table import FrameRow, FrameTable

if TYPE_CHECKING:
    from pathlib import Path

    from dbc.recording.facts import Facts

DATA = "FE 36 12 FE 69 05 07 AD"
TEXTS = {
    "candump": "".join(f"(1700000000.{n:06d}) can{n % 3} {n % 5:03X}#{n:016X}\n" for n in range(90))
    + "noise\n(1700000001.0) vcan0 123##1112233\n(1699999000.5) can0 00000123#R\n",
    "gvret": "Time Stamp,ID,Extended,Bus,LEN,D1,D2\n"
    + "".join(f"{166064000 + 7000 * n},0000021A,false,{n % 3},2,FE,{n % 256:02X},\n" for n in range(90))
    + "noise\n-5,18DAF110,true,1,1,FE,\n",
    "gvret-ms": "Time Stamp,ID,Extended,Bus,LEN,D1,D2,D3,D4,D5,D6,D7,D8\n"
    + "".join(f"{1000 + n},0000021A,false,0,8,1,2,3,4,5,6,7,{n % 10}\n" for n in range(80)),
    "busmaster": "***BUSMASTER***\n***HEX***\n***SYSTEM MODE***\n"
    + "".join(f"23:59:5{n % 10}:{n:04d} Rx 0 0x21A s 8 {DATA} \n" for n in range(8, 10))
    + "".join(f"00:00:0{n}:0000 Rx 0 0x21A s 8 {DATA} \n" for n in range(9)),
    "busmaster-relative": "***BUSMASTER***\n***HEX***\n***RELATIVE MODE***\n"
    + "".join(f"0:0:0:{n + 1:04d} Rx 0 0x21A s 8 {DATA} \n" for n in range(70)),
    "asc": "date Tue Nov 14 10:13:20 2023\nbase hex  timestamps absolute\n"
    + "".join(f" {n / 100:.4f} {n % 2 + 1} 21Ax Rx d 8 {DATA}  Length = 1\n" for n in range(80))
    + " 9.1 1 what is this\n 9.2 CANFD 1 Rx 123 1 0 9 12 0 1 2 3 4 5 6 7 8 9 a b 1 1 3000 0 0 0 0 0\n"
    + " 9.3 1 ErrorFrame\n",
    "asc-relative": "base hex  timestamps relative\n" + f" 0.25 1 21A Rx d 8 {DATA}\n" * 60,
    "microchip": "//--\nMicrochip Technology\n" + "".join(f"{n * 9};RX;0x21A;2;0xFE;0x36;\n" for n in range(60)),
    "crtd": "".join(f"1632509059.{n:06d} 2R11 280 {DATA}\n" for n in range(60)) + "1632509059.6 1CEV x\n",
    "pcan-trc": ";$FILEVERSION=2.1\n;$STARTTIME=41207.5\n;$COLUMNS=N,O,T,B,I,d,R,L,D\n"
    + "".join(f"  {n + 1}  {1000 + n * 3}.900 DT 1  0300 Rx -  2    00 {n:02X}\n" for n in range(60)),
    "canhacker": "@ TEXT @ 3 @ 64 @ 0 @\r"
    + "".join(f"{n},64\t1\t00000004\t112\t8\t{DATA}\t0\tabc\r" for n in range(59)),
    "plain": "hello\n" + "".join(f"{(65000 + 100 * n) % 65536}  51E  8  0 0 0 0 C 0 0 {n % 10}\n" for n in range(60)),
    "id-data-csv": "ID,Data Bytes\n" + f"0000021A,{DATA} \n100000,01\n" * 30,
    "usb-can-gbk": "序号 方向 时间\n"
    + "0  \0Receive \00021:11:45:171  \0Data frame  \0Standard frame  \0000001d4  \0002  \0a0 6d\n" * 40,
    "busmaster-tab": "".join(
        f"1\t0\t709\tRX\t{(4_294_000_000 + 100_000 * n) % (1 << 32)}\t\t0x000006ac\t2\t0xf0 1e \tDefault Parser\n"
        for n in range(40)
    ),
    "pp2can": "PP2CAN log file\nCAN speed 1: 500k\n"
    + "".join(
        f">\t{n}\t   17:18:39.{n:03d}:4446.00\tSt\t0x197\t0\t4\t64\tE0\t9E\tC0\t \t \t \t \tp:1\n" for n in range(40)
    )
    + ">\t2\tcut",
    "esp32": "=~=~=~=~=~= PuTTY log 2023.05.01 10:00:00 =~=~=~=~=~=\n\0\0ets Jun  8 2016 00:22:57\n"
    + "".join(f"({684 + n}.76) RX0 7E0 [8] 03 22 F4 40 00 00 00 {n:02X}\n" for n in range(40))
    + "(800.9) RX1 7E8 [8] 03 2",
    "frames-csv": "# huizhen frames; time 0 in ns since 1970 UTC: 0\nt_s,bus,id,width,dir,kind,length,data\n"
    + "".join(f"1700000000.{n:09d},can {n % 2},0x123,11,rx,data,2,01 {n:02X}\n" for n in range(40))
    + "noise\n",
    "console": "".join(f" (1700000000.{n:06d})  can0  1DB   [8]  {DATA}\n" for n in range(40)),
    "console-none": f" can0  1DB   [8]  {DATA}\n can1  1DB   [1]  00\n" * 20,
    "console-steps": "".join(f" (000.0{n % 7}0000)  can0  1DB   [8]  {DATA}\n" for n in range(40)),
    "console-late": f" (000.000000)  can0  1DB   [8]  {DATA}\n" * 30
    + "".join(f" (000.0{n % 7}0000)  can0  1DB   [8]  {DATA}\n" for n in range(40)),
    "console-dated": f" (2023-11-14 10:13:20.5)  can0  1DB   [8]  {DATA}\n" * 20,
    "elm327": ">22 01 05\r7EC 10 3E 62 01 05 FF FF FF\r7EC 21 01 02 03 04 05 06 07\r\r>\r" * 9,
    "scan-answers": "7e0[7e8]:0102 00\n7e0[7e8]:0103 " + "00 11 22 33 " * 5 + "\nnoise\n" + "7e0[7e8]:0104 01\n" * 9,
    "python-can-csv": "timestamp,arbitration_id,extended,remote,error,dlc,data\n"
    + "1700000000.5,0x123,0,0,0,2,ESI=\n1700000001.5,0x123,1,1,0,2,\n" * 20,
}
ROWS = [
    FrameRow(
        1_700_000_000_000_000_000 + n * 1_000_000,
        0x100 + n % 7,
        bytes([n % 256] * (n % 9)),
        1 if n % 5 == 0 else 0,
        n % 2,
    )
    for n in range(3000)
]


def same(table: FrameTable, whole: FrameTable) -> None:
    assert len(table) == len(whole) > 0
    for column in ("t_ns", "can_id", "flags", "channel", "length"):
        assert np.array_equal(getattr(table, column), getattr(whole, column)), column
    assert np.array_equal(table.widened().data, whole.widened().data)


def agrees(path: Path) -> Facts:
    """Piece by piece and whole, twice."""
    whole = open_recording(path)
    with stream_recording(path) as recording:
        for _ in range(2):
            same(FrameTable.concat(list(recording.pieces(100))), whole.table)
        facts = recording.facts
    for name in (
        "format",
        "channels",
        "bad_line_count",
        "start_ns",
        "whole_seconds",
        "timed",
        "local_start",
        "segments",
    ):
        assert getattr(facts, name) == getattr(whole, name), name
    assert [line.line for line in facts.bad_lines] == [line.line for line in whole.bad_lines]
    assert {note.en for note in facts.notes} == {note.en for note in whole.notes}
    assert facts.tally.frames == len(whole.table)
    assert facts.tally.keys == set(np.unique(whole.table.key).tolist())
    assert (facts.tally.first_ns, facts.tally.last_ns) == (int(whole.table.t_ns.min()), int(whole.table.t_ns.max()))
    return facts


@pytest.mark.parametrize("chunk", [1, 64, 300, 1 << 20])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("name", TEXTS)
def test_text_in_pieces_is_that_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, ends: str, chunk: int
) -> None:
    monkeypatch.setattr(linestream, "CHUNK", chunk)
    path = tmp_path / "a.txt"
    path.write_bytes(TEXTS[name].replace("\n", ends).encode("gb18030" if name.endswith("gbk") else "utf-8"))
    agrees(path)


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("form", ["utf-16", "utf-16-be", "gz", "zip"])
def test_text_in_other_coats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, form: str) -> None:
    monkeypatch.setattr(linestream, "CHUNK", 500)
    path = tmp_path / "a.txt"
    content = TEXTS[name].encode()
    if form == "gz":
        half = content.find(b"\n", len(content) // 2)
        content = gzip.compress(content[:half]) + gzip.compress(content[half:]) + bytes(100)
    elif form != "zip":
        mark = b"\xfe\xff" if form.endswith("be") else b""
        content = mark + TEXTS[name].encode(form)
    if form == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.txt", content)
    else:
        path.write_bytes(content)
    agrees(path)


def test_real_recordings(shared: Path) -> None:
    paths = [path for path in (shared / "data/savvycan").iterdir() if path.suffix in {".log", ".csv", ".txt", ".trc"}]
    paths += sorted((shared / "data/css").glob("*.mf4"))
    assert len(paths) >= 8
    for path in paths:
        agrees(path)


def write_database(path: Path) -> None:
    store = sqlite3.connect(path)
    store.execute("PRAGMA journal_mode=WAL")
    store.execute("CREATE TABLE messages (ts REAL, arbitration_id, extended, remote, error, dlc, data BLOB)")
    rows = [(row.t_ns / 1e9, row.can_id, row.flags & 1, 0, 0, len(row.data), row.data) for row in ROWS]
    store.executemany("INSERT INTO messages VALUES (?,?,?,?,?,?,?)", [*rows, (1.0, -5, 0, 0, 0, 0, b"")])
    store.commit()
    store.close()


def pcap_from(rows: list[FrameRow]) -> bytes:
    out = [b"\xd4\xc3\xb2\xa1\x02\0\x04\0" + bytes(8) + b"\xff\xff\0\0" + (227).to_bytes(4, "little")]
    for row in rows:
        frame = (row.can_id | (row.flags & 1) << 31).to_bytes(4, "big") + bytes([len(row.data), 0, 0, 0]) + row.data
        seconds, rest = divmod(row.t_ns, 10**9)
        head = (seconds, rest // 1000, len(frame), len(frame))
        out.append(b"".join(value.to_bytes(4, "little") for value in head) + frame)
    return b"".join(out)


@pytest.fixture
def binaries(tmp_path: Path) -> list[Path]:
    (tmp_path / "a.pcap").write_bytes(pcap_from(ROWS))
    (tmp_path / "cut.pcap").write_bytes(pcap_from(ROWS)[:-3])
    write_database(tmp_path / "a.db")
    recording = open_recording(tmp_path / "a.pcap")
    for name in ("blf", "mf4", "parquet"):
        write_recording(recording, tmp_path / f"a.{name}")
    broken = bytearray((tmp_path / "a.blf").read_bytes())
    broken[len(broken) // 2] ^= 0xFF
    (tmp_path / "broken.blf").write_bytes(broken)
    return sorted(path for path in tmp_path.iterdir() if path.suffix != ".db-wal")


def test_binaries(binaries: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("pcap", "database", "columns"):
        monkeypatch.setattr(f"dbc.recording.{module}._ROWS", 700)
    monkeypatch.setattr("dbc.recording.mf4stream.BLOCK", 700)
    monkeypatch.setattr("dbc.recording.mf4stream._PIECE", 5000)
    assert len(binaries) == 7
    for path in binaries:
        facts = agrees(path)
        assert facts.tally.frames > 200
        packed = path.parent / "packed"
        packed.write_bytes(gzip.compress(path.read_bytes()))
        agrees(packed)
        with zipfile.ZipFile(packed, "w") as archive:
            archive.write(path, "inner")
        agrees(packed)


def test_an_archive_of_several(binaries: list[Path], tmp_path: Path) -> None:
    packed = tmp_path / "all.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in binaries:
            archive.write(path, path.name)
        archive.writestr("b.txt", TEXTS["asc"])
        archive.writestr("c.txt", TEXTS["gvret"])
        archive.writestr("notes.txt", "nothing\n")
        archive.writestr("__MACOSX/x", "nothing\n")
    facts = agrees(packed)
    assert "9 recordings in the archive" in facts.notes[0].en


def test_cut_and_damaged_files_end_in_declared_errors(binaries: list[Path], tmp_path: Path) -> None:
    chance = random.Random(5)
    contents = [path.read_bytes() for path in binaries] + [text.encode() for text in TEXTS.values()]
    contents += [gzip.compress(content[:20_000]) for content in contents[:10]]
    path = tmp_path / "x"
    ended = 0
    for content in contents:
        for _ in range(12):
            damaged = bytearray(content[: chance.randint(0, len(content))])
            for _ in range(chance.choice([0, 1, 20])):
                if damaged:
                    damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            path.write_bytes(damaged)
            try:
                with stream_recording(path) as recording:
                    frames = sum(len(piece) for piece in recording.pieces(500))
                    assert recording.facts.tally.frames == frames
            except DbcError:
                ended += 1
    assert ended > 10


def test_nothing_is_left_in_the_temporary_folder(
    binaries: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    packed = tmp_path / "packed.gz"
    packed.write_bytes(gzip.compress(binaries[0].read_bytes()))
    with stream_recording(packed) as recording:
        pieces = recording.pieces(10)
        next(pieces)
        pieces.close()
        assert len(list(recording.pieces())) == 1
    assert not list(folder.iterdir())


def test_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileMissing), stream_recording(tmp_path / "none"):
        pass
    path = tmp_path / "a"
    for content in (b"", b"hello\n", gzip.compress(b""), gzip.compress(gzip.compress(b"hello"))):
        path.write_bytes(content)
        with pytest.raises(NotARecording), stream_recording(path) as recording:
            list(recording.pieces())
    monkeypatch.setattr(linestream, "_MAX_INFLATED", 4000)
    monkeypatch.setattr(stream, "_MAX_UNPACKED", 4000)
    monkeypatch.setattr(linestream, "CHUNK", 1000)
    for content in (gzip.compress(TEXTS["asc"].encode() * 9), gzip.compress(pcap_from(ROWS))):
        path.write_bytes(content)
        with pytest.raises(RecordingTooLarge), stream_recording(path) as recording:
            list(recording.pieces())
    path.write_bytes(TEXTS["asc"].encode() + bytes(100_000))
    with stream_recording(path) as recording:
        assert recording.facts.tally.frames > 80, "a plain file is as long as it is"


def test_a_pipe_is_a_recording_too(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(TEXTS["candump"].encode() * 50,))
    writer.start()
    with stream_recording(path) as recording:
        assert recording.facts.tally.frames == 92 * 50
        assert sum(len(piece) for piece in recording.pieces(10)) == 92 * 50
    writer.join()


def test_files_of_one_name_in_an_archive_are_two(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", TEXTS["candump"])
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a", TEXTS["crtd"])
    with stream_recording(path) as recording:
        assert recording.facts.format == "candump+crtd"


def test_a_file_that_is_gone_meanwhile_is_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text(TEXTS["candump"])
    with stream_recording(path) as recording:
        assert recording.facts.tally.frames == 92
        path.unlink()
        with pytest.raises(FileMissing):
            list(recording.pieces())


def table_of(*t_s: float) -> FrameTable:
    return FrameTable.from_rows(FrameRow(round(t * 1e9), n, b"") for n, t in enumerate(t_s))


def times(table: FrameTable) -> list[float]:
    return [t / 1e9 for t in table.t_ns.tolist()]


def test_streams_are_merged_by_time() -> None:
    merged = list(merged_by_time([iter([table_of(1, 2), table_of(2, 5)]), iter([table_of(0, 2, 3), table_of(9)])]))
    assert times(FrameTable.concat(merged)) == [0, 1, 2, 2, 2, 3, 5, 9]
    assert FrameTable.concat(merged).can_id.tolist()[2:5] == [1, 0, 1], "of one time the first stream's come first"


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_late_frames_are_put_in_order_and_captures_kept_apart(size: int) -> None:
    table = table_of(10, 10.5, 10.2, 12, 11.9, 15, 3, 3.2, 3.1, 9, 8, 2)
    pieces = [table[at : at + size] for at in range(0, len(table), size)]
    captures: list[list[float]] = [[]]
    for piece, begins in in_order(pieces):
        assert piece.is_sorted
        if begins:
            captures.append([])
        captures[-1] += times(piece)
    assert captures == [[10, 10.2, 10.5, 11.9, 12, 15], [3, 3.1, 3.2, 8, 9], [2]]
