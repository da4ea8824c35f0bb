"""One file per dialect, each with what makes it odd; broken lines are located."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dbc.errors import NotARecording, RecordingBroken
from dbc.recording import Recording, open_recording, recording_from_bytes
from dbc.table import BITRATE_SWITCH, ERROR, ERROR_STATE, EXTENDED, FD, REMOTE, TX, FrameRow

if TYPE_CHECKING:
    from pathlib import Path

S = 1_000_000_000
MS = 1_000_000


def opened(text: str | bytes, name: str) -> Recording:
    recording = recording_from_bytes(text.encode() if isinstance(text, str) else text, "x.txt")
    assert recording.format == name
    return recording


def rows(text: str | bytes, name: str) -> list[FrameRow]:
    recording = opened(text, name)
    assert recording.bad_line_count == 0, recording.bad_lines
    return list(recording.table.rows())


D8 = bytes.fromhex("EEC0C3EA00F7619B")


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("  can0  1DB   [8]  EE C0 C3 EA 00 F7 61 9B", FrameRow(0, 0x1DB, D8)),
        (" (1700000000.123456)  can0  1DB   [1]  EE", FrameRow(1_700_000_000_123_456_000, 0x1DB, b"\xee")),
        (" (2023-11-14 22:13:20.5)  can0  1DB   [1]  EE", FrameRow(1_700_000_000_500_000_000, 0x1DB, b"\xee")),
        (" (000.5)  can0  TX - -  00000123   [0] ", FrameRow(S // 2, 0x123, b"", EXTENDED | TX)),
        (
            " (000.5)  can0  RX B E  123   [02]  0A 0B",
            FrameRow(S // 2, 0x123, b"\n\v", FD | BITRATE_SWITCH | ERROR_STATE),
        ),
        (" (000.5)  can0  123   [4]  remote request", FrameRow(S // 2, 0x123, b"", REMOTE, 0, 4)),
        (" (000.5)  can0  123   [2]  41 42   'AB'", FrameRow(S // 2, 0x123, b"AB")),
        (
            " (000.5)  can0  20000004   [8]  00 01 00 00 00 00 00 00   ERRORFRAME",
            FrameRow(S // 2, 4, b"\0\1\0\0\0\0\0\0", ERROR | EXTENDED),
        ),
    ],
)
def test_candump_on_the_screen(text: str, row: FrameRow) -> None:
    assert rows(text + "\n", "candump-console") == [row]


def test_candump_without_stamps_keeps_the_order_and_says_so() -> None:
    recording = opened("  can0  2   [0]\n  can0  001   [1]  EE\n  can0  003   [0]\n", "candump-console")
    assert not recording.timed
    assert [line.line for line in recording.bad_lines] == [1]
    assert recording.table.can_id.tolist() == [1, 3]
    assert "no times" in recording.notes[0].en


def test_candump_with_steps_is_summed_up() -> None:
    text = "".join(f" (000.{step}00000)  can0  001   [0] \n" for step in (0, 2, 1, 3, 1))
    recording = opened(text, "candump-console")
    assert recording.table.t_ns.tolist() == [0, 200 * MS, 300 * MS, 600 * MS, 700 * MS]
    assert "steps" in recording.notes[0].en


def test_an_esp32_board_between_its_boot_noise() -> None:
    text = (
        b"=~=~=~=~=~= PuTTY log 2023.05.01 10:00:00 =~=~=~=~=~=\r\n"
        b"\0\0ets Jun  8 2016 00:22:57\r\n\xff\xfe junk\r\n"
        b"(684.76) RX0 7E0 [8] 03 22 F4 40 00 00 00 00\r\n(684.80) TX0 18DAF110 [2] 01 02\r\n(684.9) RX1 7E8 [8] 03 2"
    )
    recording = opened(text, "esp32")
    assert list(recording.table.rows()) == [
        FrameRow(684_760 * MS, 0x7E0, bytes.fromhex("0322F44000000000")),
        FrameRow(684_800 * MS, 0x18DAF110, b"\x01\x02", EXTENDED | TX),
    ]
    assert recording.channels == ("0",)
    assert [line.line for line in recording.bad_lines] == [2, 3, 6]
    assert "8 are announced" in recording.bad_lines[-1].reason.en or "2 bytes" in recording.bad_lines[-1].reason.en


def test_busmaster_absolute_decimal_and_relative() -> None:
    head = "***BUSMASTER Ver 2.4.0***\n***START DATE AND TIME 23:9:2015 22:17:28:928***\n"
    system = opened(head + "***HEX***\n***SYSTEM MODE***\n22:17:28:9280 Rx 1 0x21A s 2 FE 36 \n", "busmaster")
    assert list(system.table.rows()) == [FrameRow(((22 * 60 + 17) * 60 + 28) * S + 928 * MS, 0x21A, b"\xfe\x36")]
    assert system.local_start == "2015-09-23 00:00:00"
    text = head + "***DEC***\n***RELATIVE MODE***\n"
    text += "00:00:00:0100 Tx 1 538 x 2 254 54\n00:00:01:0000 Rx 1 538 sr 4\n"
    relative = opened(text, "busmaster")
    assert list(relative.table.rows()) == [
        FrameRow(10 * MS, 538, b"\xfe\x36", EXTENDED | TX),
        FrameRow(1010 * MS, 538, b"", REMOTE, 0, 4),
    ]
    assert relative.local_start == "2015-09-23 22:17:28.928"


def test_busmaster_past_midnight() -> None:
    text = "***BUSMASTER***\n***HEX***\n23:59:59:0000 Rx 1 0x1 s 0\n00:00:01:0000 Rx 1 0x1 s 0\n"
    recording = opened(text, "busmaster")
    assert (recording.table.t_ns[1] - recording.table.t_ns[0]) == 2 * S
    assert recording.segments == ()
    assert "started again" in recording.notes[0].en


def test_tab_rows() -> None:
    line = "1\t0\t709\tRX\t1493397862\t\t0x000006ac\t8\t0xf0 1e 0a 01 ff ff ff ff \tDefault Parser\n"
    want = FrameRow(1_493_397_862_000, 0x6AC, bytes.fromhex("f01e0a01ffffffff"))
    assert rows(line * 3, "busmaster-tab") == [want] * 3
    assert opened(line, "busmaster-tab").channels == ("1",)


def test_tab_rows_wrap_their_32_bits() -> None:
    line = "1\t0\t709\tRX\t{}\t\t0x000006ac\t0\t\tDefault Parser\n"
    recording = opened(line.format(4_294_000_000) + line.format(1_000_000), "busmaster-tab")
    assert int(recording.table.t_ns[1] - recording.table.t_ns[0]) == ((1 << 32) - 4_293_000_000) * 1000
    assert recording.segments == ()


def test_microchip() -> None:
    head = "//---\nMicrochip Technology Inc.\nCAN BUS Analyzer\nLogging Started: 23/9/2015 22:17:43\n//---\n"
    recording = opened(
        head + "1234;RX;0x21A;2;0xFE;0x36;;;;;;;\n1235;TX;0x18DAF110;0;\n1236;RX;538;1;17\n", "microchip"
    )
    assert list(recording.table.rows()) == [
        FrameRow(1234 * MS, 0x21A, b"\xfe\x36"),
        FrameRow(1235 * MS, 0x18DAF110, b"", EXTENDED | TX),
        FrameRow(1236 * MS, 538, b"\x11"),
    ]
    assert recording.local_start == "2015-09-23 22:17:43"


def test_crtd() -> None:
    text = (
        "1632509059.542761 CXX Info Type:crtd; Version:'1'\n1632509059.542761 2R11 280 03 00\n"
        "1632509060.000 1CEV vehicle.on\n1632509061 T29 18DAF110 \n1632509061 R11 280 XX\n"
    )
    recording = opened(text, "crtd")
    assert list(recording.table.rows()) == [
        FrameRow(1_632_509_059_542_761_000, 0x280, b"\x03\0"),
        FrameRow(1_632_509_061 * S, 0x18DAF110, b"", EXTENDED | TX, 1),
    ]
    assert recording.channels == ("2", "0")
    assert [line.line for line in recording.bad_lines] == [5]
    assert recording.start_ns == 0


PCAN_1_0 = (
    ";##########\n;   C:\\x.trc\n;---+-\n     1)      1841 0001  8 00 00 00 00 00 00 00 00\n"
    "     2)  1843 18DAF110  1 FF\n"
)
PCAN_1_1 = (
    ";$FILEVERSION=1.1\n;$STARTTIME=41207.5\n;\n     1)      1059.9  Rx     0300  7  00 00 00 00 04 00 00\n"
    "     2)      1283.2  Warng  FFFFFFFF  4  00 00 00 08  BUSLIGHT\n     3)      1298.9  Tx         0400  2  RTR\n"
)
PCAN_1_3 = ";$FILEVERSION=1.3\n;$STARTTIME=41207.5\n     1)     1059.900 1  Rx        0300 -  2    00 01\n"
PCAN_2_0 = (
    ";$FILEVERSION=2.0\n;$STARTTIME=41207.5\n;$COLUMNS=N,O,T,I,d,l,D\n"
    "      1      1059.900 DT     0300 Rx 2  00 01\n"
    "      2      1283.231 FB     0400 Tx 12 00 00 00 00 00 00 00 00 00 00 00 07\n"
    "      3      1298.945 RR     0500 Tx 3\n      4      1298.945 ST          Rx    00 00 00 08\n"
)
PCAN_2_1 = (
    ";$FILEVERSION=2.1\n;$STARTTIME=41207.5\n;$COLUMNS=N,O,T,B,I,d,R,L,D\n"
    "      1      1059.900 DT 1      0300 Rx -  2    00 01\n"
    "      2      1283.231 FE 2  00000400 Tx -  9    00 00 00 00 00 00 00 00 00 00 00 07\n"
)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (PCAN_1_0, [FrameRow(1841 * MS, 1, bytes(8)), FrameRow(1843 * MS, 0x18DAF110, b"\xff", EXTENDED)]),
        (
            PCAN_1_1,
            [
                FrameRow(1_059_900_000, 0x300, bytes.fromhex("00000000040000")),
                FrameRow(1_298_900_000, 0x400, b"", REMOTE | TX, 0, 2),
            ],
        ),
        (PCAN_1_3, [FrameRow(1_059_900_000, 0x300, b"\0\1")]),
        (
            PCAN_2_0,
            [
                FrameRow(1_059_900_000, 0x300, b"\0\1"),
                FrameRow(1_283_231_000, 0x400, bytes(11) + b"\7", FD | BITRATE_SWITCH | TX),
                FrameRow(1_298_945_000, 0x500, b"", REMOTE | TX, 0, 3),
            ],
        ),
        (
            PCAN_2_1,
            [
                FrameRow(1_059_900_000, 0x300, b"\0\1"),
                FrameRow(1_283_231_000, 0x400, bytes(11) + b"\7", FD | BITRATE_SWITCH | ERROR_STATE | TX | EXTENDED, 1),
            ],
        ),
    ],
)
def test_pcan_in_every_version(text: str, want: list[FrameRow]) -> None:
    assert rows(text, "pcan-trc") == want
    assert rows(text.replace("\n", "\r\n"), "pcan-trc") == want
    if "STARTTIME" in text:
        assert opened(text, "pcan-trc").local_start == "2012-10-25 12:00:00.000"


def test_pcan_with_columns_of_no_frame_is_broken() -> None:
    with pytest.raises(RecordingBroken, match="make no frame"):
        recording_from_bytes(b";$FILEVERSION=2.1\n;$COLUMNS=N,Q\n 1 2\n", "x.trc")


def test_canhacker_with_its_lone_cr_and_decimal_comma() -> None:
    text = (
        "@ TEXT @ 3 @ 64 @ 0 @ 1149 @ 7459 @ 00:00:07.459 @\r# $LocalTime=2019-01-02 03:04:05\r"
        "26,641405\t1\t00000004\t112\t8\t00 20 00 00 00 00 00 01\t00000000\t.  A\r"
        "26,7\t2\t00000006\t18DAF110\t1\tFF\t00000000\t \r27,1\t1\t00000004\t112\t8\t00 2"
    )
    recording = opened(text, "canhacker")
    assert list(recording.table.rows()) == [
        FrameRow(26_641_405_000, 0x112, bytes.fromhex("0020000000000001")),
        FrameRow(26_700 * MS, 0x18DAF110, b"\xff", EXTENDED, 1),
    ]
    assert [line.line for line in recording.bad_lines] == [5]
    assert recording.local_start == "2019-01-02 03:04:05"


def test_pp2can() -> None:
    text = (
        "PP2CAN log file\nCAN speed 1: 500k\n"
        ">\t0\t   17:18:39.303:4446.00\tSt\t0x197\t0\t4\t64\tE0\t9E\tC0\t \t \t \t \tp:1\n"
        ">\t1\t   17:18:39.304:4447.00\tEx\t0x18DAF110\t0\t1\tFF\t \t \t \t \t \t \t \tp:2\n>\t2\tcut"
    )
    recording = opened(text, "pp2can")
    at = ((17 * 60 + 18) * 60 + 39) * S
    assert list(recording.table.rows()) == [
        FrameRow(at + 303 * MS, 0x197, bytes.fromhex("64E09EC0")),
        FrameRow(at + 304 * MS, 0x18DAF110, b"\xff", EXTENDED, 1),
    ]
    assert [line.line for line in recording.bad_lines] == [5]


@pytest.mark.parametrize("coding", ["utf-8", "gb18030"])
def test_usb_can_boxes_with_nul_bytes_in_english_and_chinese(coding: str) -> None:
    english = (
        "NO    Direction  Time Scale   Frame Type   Frame Format   Frame ID  Length  Data\n"
        "0     \0Receive     \00021:11:45:171     \0Data frame     "
        "\0Standard frame     \000000001d4     \0002     \0a0 6d\n"
    )
    chinese = "序号  传输方向  时间标识  帧类型  帧格式  帧ID  数据长度  数据\n"
    chinese += "1  发送  21:11:45.171  数据帧  扩展帧  0x18daf110  1  ff\n"
    at = ((21 * 60 + 11) * 60 + 45) * S + 171 * MS
    assert rows(english, "usb-can") == [FrameRow(at, 0x1D4, b"\xa0\x6d")]
    assert rows(chinese.encode(coding), "usb-can") == [FrameRow(at, 0x18DAF110, b"\xff", EXTENDED | TX)]


def test_plain_columns_below_free_text() -> None:
    text = "my car, cold start\n\n176487  51E  8  0 0 0 0 C 0 0 0\n176490  7E8  2  A 1\n176491  7E8  8  A 1\n"
    recording = opened(text, "plain")
    assert list(recording.table.rows()) == [
        FrameRow(176_487 * MS, 0x51E, b"\0\0\0\0\x0c\0\0\0"),
        FrameRow(176_490 * MS, 0x7E8, b"\x0a\x01"),
    ]
    assert [line.line for line in recording.bad_lines] == [5]


def test_plain_columns_with_a_16_bit_clock() -> None:
    text = "65000  51E  1  0\n65500  51E  1  0\n10  51E  1  1\n500  51E  1  1\n"
    recording = opened(text, "plain")
    assert recording.table.t_ns.tolist() == [65_000 * MS, 65_500 * MS, 65_546 * MS, 66_036 * MS]
    assert recording.segments == ()


def test_elm327_sessions() -> None:
    text = (
        "ELM327 v1.5\r\r>ATH1\rOK\r>22 01 05\rSEARCHING...\r7EC 10 3E 62 01 05 FF FF FF\r7EC 21 01 02 03 04 05 06 07\r"
        ">0100\r18 DA F1 10 06 41 00 BE 3F A8 13\r7E8064100BE3FA813\rNO DATA\r00A\r0:62180202499A\r>"
    )
    recording = opened(text, "elm327")
    assert [(row.can_id, row.data.hex()) for row in recording.table.rows()] == [
        (0x7EC, "103e620105ffffff"),
        (0x7EC, "2101020304050607"),
        (0x18DAF110, "064100be3fa813"),
        (0x7E8, "064100be3fa813"),
    ]
    assert not recording.timed
    assert [(line.line, line.reason.en[:24]) for line in recording.bad_lines] == [(14, "an answer without header")]


def test_answers_of_a_scan_tool_become_their_frames() -> None:
    recording = opened("7e0[7e8]:0102 00\n7e4[7ec]:F190 4C 53 47 41 41\n7e4[7ec]:zz\n", "scan-answers")
    assert [(row.can_id, row.data.hex()) for row in recording.table.rows()] == [
        (0x7E8, "0462010200"),
        (0x7EC, "100862f1904c5347"),
        (0x7EC, "214141"),
    ]
    assert [line.line for line in recording.bad_lines] == [3]
    assert "built again" in recording.notes[0].en


def test_decoded_values_are_refused_with_the_reason() -> None:
    text = '"SECONDS";"PID";"VALUE";"UNITS";\n"46211.651503";"Vehicle speed";"0";"km/h";\n'
    with pytest.raises(NotARecording, match="decoded values of Car Scanner"):
        recording_from_bytes(text.encode(), "x.csv")


def test_identifiers_and_data_only() -> None:
    text = "ID,Data Bytes\n0000021A,FE 36 \n18DAF110,\n75A,3\n1E5,01\n100000,02\n1.00E+05,03\n100,04\n"
    recording = opened(text, "id-data-csv")
    assert not recording.timed
    assert recording.table.can_id.tolist() == [0x21A, 0x18DAF110, 0x75A, 0x1E5, 0x1E5, 0x1E5, 0x100]
    assert "2 identifiers that a spreadsheet" in recording.notes[0].en


def test_python_can_csv() -> None:
    text = (
        "timestamp,arbitration_id,extended,remote,error,dlc,data\n1483389946.197,0xdadada,1,0,0,6,WzQyLCA5\n"
        "1483389946.2,0x1,0,1,0,4,\n1483389946.2,0x1,0,0,0,4,!!\n"
    )
    recording = opened(text, "python-can-csv")
    assert list(recording.table.rows()) == [
        FrameRow(1_483_389_946_197_000_000, 0xDADADA, b"[42, 9", EXTENDED),
        FrameRow(1_483_389_946_200_000_000, 1, b"", REMOTE, 0, 4),
    ]
    assert [line.line for line in recording.bad_lines] == [4]


ASC_HEAD = "date Tue Nov 14 10:13:20.250 pm 2023\nbase hex  timestamps absolute\nno internal events logged\n"


def test_asc() -> None:
    text = ASC_HEAD + (
        "Begin Triggerblock Tue Nov 14 10:13:20.250 pm 2023\n   0.000000 Start of measurement\n"
        "   0.015991 1  123             Rx   d 2 0A 0B  Length = 230000 BitCount = 118 ID = 291\n"
        "   0.015992 CAN 1 Status:chip status error active\n"
        "   2.501000 2  18DAF110x       Tx   d 0\n   2.6 1  200 Rx   r 8\n   2.7 1  ErrorFrame\n"
        "   3.0 CANFD   1 Rx        123   EngineData                     1 0 9 12 "
        "0 1 2 3 4 5 6 7 8 9 a b 130000 130 3000 0 0 0 0 0\n"
        "   3.1 CANFD   2 Tx        7ff                                   0 0 1  1 aa 0 0 0 0 0 0 0 0\n"
        "   3.2 1  Statistic: D 0 R 0\n   3.3 1  123 Rx   d 8 0A\nEnd TriggerBlock\n"
    )
    recording = opened(text, "asc")
    assert list(recording.table.rows()) == [
        FrameRow(15_991_000, 0x123, b"\x0a\x0b"),
        FrameRow(2_501 * MS, 0x18DAF110, b"", EXTENDED | TX, 1),
        FrameRow(2_600 * MS, 0x200, b"", REMOTE, 0, 8),
        FrameRow(2_700 * MS, 0, b"", ERROR | EXTENDED),
        FrameRow(3_000 * MS, 0x123, bytes(range(12)), FD | BITRATE_SWITCH),
        FrameRow(3_100 * MS, 0x7FF, b"\xaa", TX, 1),
    ]
    assert recording.local_start == "2023-11-14 22:13:20.250"
    assert [line.line for line in recording.bad_lines] == [14]


def test_asc_decimal_and_relative() -> None:
    text = "date Die Mär 5 10:13:20 2024\nbase dec  timestamps relative\n 0.5 1 291 Rx d 2 10 255\n 0.5 1 291x Rx d 0\n"
    recording = opened(text, "asc")
    assert list(recording.table.rows()) == [
        FrameRow(S // 2, 291, b"\x0a\xff"),
        FrameRow(S, 291, b"", EXTENDED),
    ]
    assert recording.local_start == "2024-03-05 10:13:20"


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("BusMasterLog.log", "busmaster"),
        ("CRTD_Log.txt", "crtd"),
        ("GVRET_Log.csv", "gvret"),
        ("GenericID_Log.csv", "id-data-csv"),
        ("MicrochipLog.log", "microchip"),
    ],
)
def test_the_same_drive_in_six_dialects(shared: Path, name: str, form: str) -> None:
    log = open_recording(shared / "data/savvycan/candump.log")
    other = open_recording(shared / "data/savvycan" / name)
    assert (other.format, len(other.table), other.bad_line_count) == (form, 12_974, 0)
    assert (log.table.key == other.table.key).all()
    assert (log.table.length == other.table.length).all()
    assert (log.table.data == other.table.data).all()
    if other.timed:
        offset = other.table.t_ns - log.table.t_ns
        assert int(offset.max() - offset.min()) < S


def test_a_real_trace_with_cr_ends(shared: Path) -> None:
    recording = open_recording(shared / "data/savvycan/CarBusAnalyzer.trc")
    assert (recording.format, len(recording.table), recording.bad_line_count) == ("canhacker", 55, 0)
    assert int(recording.table.t_ns[-1] - recording.table.t_ns[0]) == 10_078 * MS
