"""Loading databases: what is read, and how each way to be broken is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbc.database import load, text_from_bytes
from dbc.errors import DatabaseBroken, DatabaseError, FileMissing, NotADatabase
from dbc.files import bundled

if TYPE_CHECKING:
    from pathlib import Path

HEAD = 'VERSION ""\n\nBU_: VCU BMS\n\n'
GOOD = (
    HEAD + 'BO_ 256 Pack: 8 BMS\n SG_ Voltage : 0|16@1+ (0.1,0) [0|1000] "V" VCU\n'
    ' SG_ Current : 16|16@1- (0.1,0) [0|0] "A" VCU\n'
)
ATTRIBUTES = (
    'BA_DEF_ BU_ "DiagRequestId" INT 0 2047;\nBA_DEF_ BU_ "DiagResponseId" INT 0 2047;\n'
    'BA_DEF_ BO_ "GenMsgCycleTime" INT 0 65535;\nBA_DEF_ BO_ "E2EDataId" INT -1 65535;\n'
    'BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","J1939PG";\nBA_DEF_ "ProtocolType" STRING;\n'
    'BA_DEF_DEF_ "DiagRequestId" 0;\nBA_DEF_DEF_ "DiagResponseId" 0;\nBA_DEF_DEF_ "GenMsgCycleTime" 0;\n'
    'BA_DEF_DEF_ "E2EDataId" -1;\nBA_DEF_DEF_ "VFrameFormat" "StandardCAN";\nBA_DEF_DEF_ "ProtocolType" "";\n'
)


def write(folder: Path, text: str | bytes, name: str = "car.dbc") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_attributes_reach_messages_and_nodes(tmp_path: Path) -> None:
    text = (
        GOOD + ATTRIBUTES + 'BA_ "DiagRequestId" BU_ BMS 2020;\nBA_ "DiagResponseId" BU_ BMS 2028;\n'
        'BA_ "GenMsgCycleTime" BO_ 256 20;\nBA_ "E2EDataId" BO_ 256 7;\n'
    )
    database = load(write(tmp_path, text))
    bms, vcu = database.find_node("BMS"), database.find_node("VCU")
    assert bms is not None
    assert vcu is not None
    assert (bms.diag_request_id, bms.diag_response_id) == (0x7E4, 0x7EC)
    assert vcu.diag_request_id is None
    pack = database.find_message(0x100, extended=False)
    assert pack is not None
    assert (pack.name, pack.cycle_time_ms, pack.attributes["E2EDataId"]) == ("Pack", 20, 7)
    assert pack.senders == ("BMS",)
    assert database.find_message(0x100, extended=True) is None
    assert database.name == "car"


def test_bundled_databases_load() -> None:
    assert bundled()
    for path in bundled():
        database = load(path)
        assert database.messages
        assert not database.duplicates


@pytest.mark.parametrize("how", ["default", "explicit", "network"])
def test_j1939_is_recognised(tmp_path: Path, how: str) -> None:
    attributes = ATTRIBUTES
    text = HEAD + 'BO_ 2364540158 EEC1: 8 BMS\n SG_ Speed : 24|16@1+ (0.125,0) [0|0] "rpm" VCU\n'
    if how == "default":
        attributes = ATTRIBUTES.replace('"VFrameFormat" "StandardCAN"', '"VFrameFormat" "J1939PG"')
    text += attributes
    if how == "explicit":
        text += 'BA_ "VFrameFormat" BO_ 2364540158 2;\n'
    if how == "network":
        text += 'BA_ "ProtocolType" "J1939";\n'
    database = load(write(tmp_path, text))
    assert database.messages[0].is_j1939
    found = database.decode_frame(0x0CF00417, True, bytes.fromhex("00000068130000FF"))
    assert found is not None
    assert found.values["Speed"].value == 621.0
    assert found.source_address == 0x17
    assert database.decode_frame(0x18DA0417, True, bytes(8)) is None


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("电池包总电压 °", "utf-8"),
        ("电池包总电压,单体电压", "gb18030"),
        ("Temperatur in °C, größer", "cp1252"),
        ("plain", "utf-8"),
    ],
)
def test_encodings_are_told_apart(tmp_path: Path, text: str, encoding: str) -> None:
    content = (GOOD + f'CM_ SG_ 256 Voltage "{text}";\n').encode(encoding)
    database = load(write(tmp_path, content))
    assert database.encoding == encoding
    assert database.messages[0].by_name["Voltage"].comment == text


def test_byte_order_mark_is_no_text() -> None:
    assert text_from_bytes(b"\xef\xbb\xbfVERSION") == ("VERSION\n", "utf-8")


def test_later_message_hides_the_earlier_one(tmp_path: Path) -> None:
    text = GOOD + 'BO_ 256 Other: 8 BMS\n SG_ A : 0|8@1+ (1,0) [0|0] "" VCU\n'
    database = load(write(tmp_path, text))
    assert database.duplicates == ("Pack",)
    found = database.find_message(256, extended=False)
    assert found is not None
    assert found.name == "Other"


def test_wide_signals_are_named_and_left_out(tmp_path: Path) -> None:
    text = HEAD + 'BO_ 1 M: 64 BMS\n SG_ Wide : 0|70@1+ (1,0) [0|0] "" VCU\n SG_ Fine : 80|64@1+ (1,0) [0|0] "" VCU\n'
    message = load(write(tmp_path, text)).messages[0]
    assert message.unreadable == ("Wide",)
    assert list(message.by_name) == ["Fine"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (GOOD.replace("[0|1000]", "[0|1000"), 6),
        (GOOD.replace("(0.1,0) [0|1000]", "(0,1,0) [0|1000]"), 6),
        (GOOD + "BO_ Pack2 257: 8 BMS\n", 8),
        (GOOD + "SIG_VALTYPE_ 256 Voltage;\n", 8),
        (GOOD.replace("(0.1,0) [0|0]", "(1" + "0" * 400 + ",0) [0|0]"), None),
    ],
)
def test_broken_lines_are_located(tmp_path: Path, text: str, line: int | None) -> None:
    path = write(tmp_path, text)
    with pytest.raises(DatabaseBroken) as caught:
        load(path)
    assert str(path) in str(caught.value)
    if line is not None:
        assert caught.value.line == line


@pytest.mark.parametrize(
    "content", [b"", b"hello\n", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", bytes(range(256)) * 4, b"BO_ \0"]
)
def test_other_files_are_no_databases(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(NotADatabase):
        load(write(tmp_path, content))


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(FileMissing, match="No such file"):
        load(tmp_path / "no.dbc")
    with pytest.raises(FileMissing):
        load(tmp_path)
    with pytest.raises(FileMissing):
        load("\0")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_any_damage_ends_in_a_declared_error(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray((GOOD + ATTRIBUTES + 'VAL_ 256 Voltage 65535 "SNA" ;\n').encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        what = data.draw(st.sampled_from(["replace", "cut", "insert"]))
        if what == "replace":
            content[at] = data.draw(st.integers(0, 255))
        elif what == "cut":
            del content[at : at + data.draw(st.integers(1, 40))]
        else:
            content[at:at] = data.draw(st.binary(max_size=6))
        if not content:
            content = bytearray(b" ")
    try:
        database = load(write(tmp_path, bytes(content)))
    except DatabaseError:
        return
    for message in database.messages:
        message.decode(bytes(max(8, message.length)))


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_end_in_a_declared_error(tmp_path: Path, content: bytes) -> None:
    try:
        load(write(tmp_path, content))
    except DatabaseError:
        return
