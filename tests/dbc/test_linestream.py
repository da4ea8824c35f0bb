"""Text logs piece by piece: the same frames, times, bad lines as read whole, wherever the pieces end."""

from __future__ import annotations

import gzip
import random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dbc.errors import FileMissing, RecordingTooLarge
from dbc.recording import linestream, open_recording
from dbc.recording.linestream import opened_stream
from dbc.table import FrameTable

if TYPE_CHECKING:
    from pathlib import Path

DATA = "FE 36 12 FE 69 05 07 AD"
TEXTS = {
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
}


def streamed(path: Path, chunk: int) -> tuple[FrameTable, list[int], int]:
    with opened_stream(path) as stream:
        assert stream is not None
        table = FrameTable.concat(list(stream.tables(chunk)))
        return table, [line.line for line in stream.bad], stream.bad_count


@pytest.mark.parametrize("chunk", [1, 64, 300, 1 << 20])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("name", TEXTS)
def test_pieces_give_what_the_whole_gives(tmp_path: Path, name: str, ends: str, chunk: int) -> None:
    path = tmp_path / "a.txt"
    text = TEXTS[name].replace("\n", ends)
    path.write_bytes(text.encode("gb18030" if name.endswith("gbk") else "utf-8"))
    whole = open_recording(path)
    table, bad, count = streamed(path, chunk)
    same(table, whole.table)
    assert bad == [line.line for line in whole.bad_lines]
    assert count == whole.bad_line_count


def same(table: FrameTable, whole: FrameTable) -> None:
    assert len(table) == len(whole) > 0
    for column in ("t_ns", "can_id", "flags", "channel", "length"):
        assert np.array_equal(getattr(table, column), getattr(whole, column)), column
    assert np.array_equal(table.widened().data, whole.widened().data)


@pytest.mark.parametrize(
    "name", ["BusMasterLog.log", "CRTD_Log.txt", "GVRET_Log.csv", "GenericID_Log.csv", "MicrochipLog.log"]
)
def test_a_real_drive(shared: Path, tmp_path: Path, name: str) -> None:
    path = shared / "data/savvycan" / name
    whole = open_recording(path)
    table, bad, count = streamed(path, 100_000)
    same(table, whole.table)
    assert (bad, count) == ([], 0)
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    table, _, _ = streamed(packed, 100_000)
    same(table, whole.table)
    packed.write_bytes(gzip.compress(path.read_bytes())[:-2000])
    table, bad, count = streamed(packed, 100_000)
    assert 0 < len(table) < len(whole.table)
    assert count >= 1


def test_what_has_to_be_read_whole_is_not_streamed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for content in (
        b"",
        b"hello\n",
        f" can0  1DB   [8]  {DATA}\n".encode() * 9,
        b">22 01 05\r7EC 10 3E 62 01 05 FF FF FF\r",
        TEXTS["asc"].encode("utf-16"),
        random.Random(1).randbytes(3000),
        gzip.compress(b"hello\n")[:-6],
    ):
        path.write_bytes(content)
        with opened_stream(path) as stream:
            assert stream is None
    with pytest.raises(FileMissing), opened_stream(tmp_path / "nothing"):
        pass


def test_a_compressed_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linestream, "_MAX_INFLATED", 4000)
    path = tmp_path / "a.gz"
    content = TEXTS["asc"].encode() + b"\0" * 100_000
    path.write_bytes(gzip.compress(content))
    with pytest.raises(RecordingTooLarge):
        streamed(path, 1000)
    path.write_bytes(content)
    assert len(streamed(path, 1000)[0]) > 80, "a plain file is as long as it is"
