"""Whatever the bytes: every reader ends in frames or in a declared error, and what it counts it locates.

``HUIZHEN_FUZZ=2000`` tries so many files per reader instead of a few.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbc.errors import DbcError, RecordingError
from dbc.recording import Recording, recording_from_bytes
from dbc.recording.dialects import DIALECTS
from dbc.recording.lines import KEPT_BAD_LINES
from dbc.recording.writers import ENDINGS, write_recording
from dbc.table import EXTENDED, FD, FrameRow, FrameTable

TRIES = int(os.environ.get("HUIZHEN_FUZZ", "25"))
DATA = "FE 36 12 FE 69 05 07 AD"
TEXTS = {
    "candump": "(1700000000.12) can0 1DB#EEC0C3EA\n(1700000000.13) can1 18DAF110##3FF00\n(1.0) can0 7FF#R8\n",
    "gvret": "Time Stamp,ID,Extended,Bus,LEN,D1,D2\n166064000,0000021A,false,0,2,FE,36,\n-5,18DAF110,true,1,1,FE,\n",
    "candump-console": f" (1.5)  can0  1DB   [8]  {DATA}\n (1.6)  can0  123   [4]  remote request\n",
    "esp32": f"=~=~ PuTTY log 2023.05.01 10:00:00\nboot\n(684.76) RX0 7E0 [8] {DATA}\n(684.77) TX1 7E0 [1] 03\n",
    "busmaster": f"***BUSMASTER***\n***HEX***\n***SYSTEM MODE***\n22:20:14:992 Rx 0 0x21A s 8 {DATA} \n"
    "1:1:1:1 Tx 1 1 xr 8\n",
    "busmaster-tab": f"1\t0\t709\tRX\t1493397862\t\t0x000006ac\t8\t0x{DATA} \tDefault Parser\n" * 2,
    "microchip": "//--\nMicrochip Technology\n1234;RX;0x21A;2;0xFE;0x36;\n1235;TX;18;1;17\n",
    "crtd": f"1632509059.542761 2R11 280 {DATA}\n1632509059.6 1CEV x\n1632509060 T29 18DAF110 01\n",
    "pcan-trc": ";$FILEVERSION=2.1\n;$STARTTIME=41207.5\n;$COLUMNS=N,O,T,B,I,d,R,L,D\n"
    "  1  1059.900 DT 1  0300 Rx -  2    00 01\n"
    "  2  1283.231 FB 2  00000400 Tx -  9    00 00 00 00 00 00 00 00 00 00 00 07\n",
    "canhacker": f"@ TEXT @ 3 @ 64 @ 0 @\r26,641405\t1\t00000004\t112\t8\t{DATA}\t00000000\tabc\r"
    "26,7\t1\t0004\t112\t0\t\t0\t\r",
    "pp2can": "PP2CAN log file\n>\t0\t   17:18:39.303:4446.00\tSt\t0x197\t0\t4\t64\tE0\t9E\tC0\t \t \tp:1\n",
    "usb-can": "NO Direction Time\n0  \0Receive \00021:11:45:171  \0Data frame  "
    "\0Standard frame  \0000001d4  \0002  \0a0 6d\n",
    "plain": "hello\n176487  51E  8  0 0 0 0 C 0 0 0\n176490  7E8  2  A 1\n",
    "elm327": ">22 01 05\r7EC 10 3E 62 01 05 FF FF FF\r7EC 21 01 02 03\rNO DATA\r0:6218\r>",
    "scan-answers": "7e0[7e8]:0102 00\n7e4[7ec]:F190 4C 53 47 41 41 41 41 41\n",
    "id-data-csv": f"ID,Data Bytes\n0000021A,{DATA} \n100000,01\n",
    "python-can-csv": "timestamp,arbitration_id,extended,remote,error,dlc,data\n"
    "1.5,0x1,0,0,0,6,WzQyLCA5\n2e-5,0x1,1,1,0,4,\n",
    "frames-csv": "",
    "asc": f"date Tue Nov 14 10:13:20 2023\nbase hex  timestamps absolute\n 0.1 1 21Ax Rx d 8 {DATA}  Length = 1\n"
    " 0.2 CANFD 1 Rx 123 1 0 9 12 0 1 2 3 4 5 6 7 8 9 a b 1 1 3000 0 0 0 0 0\n 0.3 1 ErrorFrame\n",
}
ROWS = [
    FrameRow(1_700_000_000_123_456_000 + at, 0x100 + at % 7, bytes(range(at % 9)), 0, at % 2) for at in range(60)
] + [FrameRow(1_700_000_001_000_000_000, 0x18DAF110, bytes(range(64)), EXTENDED | FD)]


def written(name: str) -> bytes:
    ending = next(ending for ending, form in ENDINGS.items() if form == name)
    recording = Recording("x", "test", ("can0", "can1"), start_ns=0, table=FrameTable.from_rows(ROWS))
    with TemporaryDirectory() as folder:
        write_recording(recording, Path(folder, f"x{ending}"))
        return Path(folder, f"x{ending}").read_bytes()


def database() -> bytes:
    with closing(sqlite3.connect(":memory:")) as store:
        store.execute("CREATE TABLE messages (ts, arbitration_id, extended, remote, error, dlc, data)")
        rows = [(1.5 + n, n, 0, 0, 0, 3, b"abc") for n in range(40)]
        store.executemany("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        store.commit()
        return store.serialize()


def capture(*, new: bool) -> bytes:
    packets = [struct.pack(">LBxxx", 0x100 + n, 8) + bytes(8) for n in range(5)]
    if not new:
        head = struct.pack("<LHHLLLL", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 227)
        return head + b"".join(struct.pack("<LLLL", 1, n, 16, 16) + packet for n, packet in enumerate(packets))
    blocks = [struct.pack("<LLLHHqL", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)]
    blocks.append(struct.pack("<LLHHLHH4sHHLL", 1, 36, 227, 0, 0, 9, 1, b"\x09\0\0\0", 0, 0, 0, 36))
    blocks[1] = blocks[1][:4] + struct.pack("<L", len(blocks[1])) + blocks[1][8:-4] + struct.pack("<L", len(blocks[1]))
    blocks += [
        struct.pack("<LLLLLLL", 6, 48, 0, 0, n, 16, 16) + p + struct.pack("<L", 48) for n, p in enumerate(packets)
    ]
    return b"".join(blocks)


def samples() -> dict[str, bytes]:
    found = {name: text.encode() for name, text in TEXTS.items()}
    return found | {
        "frames-csv": written("csv"),
        "blf": written("blf"),
        "mf4": written("mf4"),
        "frames-parquet": written("parquet"),
        "python-can-sqlite": database(),
        "pcap": capture(new=False),
        "pcapng": capture(new=True),
    }


SAMPLES = samples()


def checked(content: bytes) -> Recording | None:
    """Reads it: frames that fit together, or a declared error."""
    try:
        recording = recording_from_bytes(content, "x", max_bytes=1 << 22)
    except DbcError:
        return None
    table = recording.table
    assert len(recording.bad_lines) == min(recording.bad_line_count, KEPT_BAD_LINES) or recording.format in {
        "mf4",
        "blf",
    }
    assert not len(table) or int(table.channel.max()) < max(len(recording.channels), 1)
    unused = np.arange(table.width) >= np.where(table.flags & 0x10, 0, table.length)[:, None]
    assert not (table.data * unused).any()
    assert all(0 < row < len(table) for row in recording.segments)
    return recording


def test_every_reader_has_a_sample() -> None:
    assert {dialect.name for dialect in DIALECTS} <= set(SAMPLES)


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_the_sample_itself_reads(name: str) -> None:
    recording = checked(SAMPLES[name])
    assert recording is not None
    assert recording.format == ("pcap" if name == "pcapng" else name)
    assert len(recording.table) > 0


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_every_shorter_file(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dbc.recording.asam.find_spec", lambda library: None)
    content = SAMPLES[name]
    for end in range(0, len(content), max(1, len(content) // 60)):
        checked(content[:end])


@pytest.mark.parametrize("name", sorted(SAMPLES))
@settings(max_examples=TRIES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files(name: str, data: st.DataObject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dbc.recording.asam.find_spec", lambda library: None)
    content = bytearray(SAMPLES[name])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content)))
        noise = data.draw(st.one_of(st.binary(max_size=6), st.sampled_from(NOISE)))
        gone = data.draw(st.sampled_from([0, 0, len(noise), 1, 7, 1000]))
        content[at : at + gone] = noise
    checked(bytes(content))


NOISE = [
    b"\0", b"\n", b"\r", b"\xff" * 8, b"99999999999999999999", b"-", b"1E5", b"#", b"\t", b",", b" 0x", b"9" * 5000,
    "²٣Ⅷ".encode(), b"\xff\xfe", b"LOBJ", b"##", b"\x00\x00\x00\x80", b"\xff\xff\xff\x7f",
]  # fmt: skip


@settings(max_examples=4 * TRIES, deadline=None)
@given(st.sampled_from(sorted(SAMPLES)), st.sampled_from(sorted(SAMPLES)), st.integers(0, 400), st.binary(max_size=200))
def test_one_format_inside_another(first: str, second: str, at: int, noise: bytes) -> None:
    if "mf4" in {first, second}:
        return
    checked(SAMPLES[first][:at] + noise + SAMPLES[second])
    checked(noise + SAMPLES[first])


NOISY_LINES = "§§§\n" * 40
LINE = st.text(alphabet="0123456789ABCDEFabcdefxsdRTrt ,;:.()[]#-\t@*$ ²\0", max_size=80)


@settings(max_examples=4 * TRIES, deadline=None)
@given(st.sampled_from(sorted(TEXTS)), st.lists(LINE, max_size=12))
def test_lines_of_any_characters(name: str, lines: list[str]) -> None:
    checked(SAMPLES[name] + "\n".join(lines).encode())


@settings(max_examples=4 * TRIES, deadline=None)
@given(st.sampled_from(sorted(set(TEXTS) - {"scan-answers", "elm327", "plain"})), st.data())
def test_columns_agree_with_single_lines(name: str, data: st.DataObject) -> None:
    text = SAMPLES[name].decode().replace("\r", "\n")
    lines = [line for line in text.split("\n") if line]
    chosen = [list(line) for line in data.draw(st.lists(st.sampled_from(lines), min_size=2, max_size=10))]
    for line in chosen:
        for _ in range(data.draw(st.integers(0, 2))):
            line[data.draw(st.integers(0, len(line) - 1))] = data.draw(st.sampled_from("0129afAFRrTx .,\t"))
    body = "\n".join(map("".join, chosen))
    try:
        together = recording_from_bytes(f"{text}\n{body}\n".encode(), "x")
        # Behind so many broken lines all others are read one by one.
        apart = recording_from_bytes(f"{text}\n{NOISY_LINES}{body}\n".encode(), "x")
    except RecordingError:
        return
    if together.format != apart.format:
        return
    assert list(apart.table.rows()) == list(together.table.rows())
    assert apart.bad_line_count == together.bad_line_count + 40
