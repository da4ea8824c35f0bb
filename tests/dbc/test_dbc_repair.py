"""Broken databases: what is mended, which line is named, what is refused, and that nothing is loaded wrongly."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from time import process_time

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from dbc.database import Database, load
from dbc.encoding import decode_text
from dbc.errors import DatabaseBroken, DatabaseError
from dbc.issues import KINDS

HEAD = 'VERSION ""\n\nBU_: VCU BMS\n\n'
PACK = (
    'BO_ 256 Pack: 8 BMS\n SG_ Voltage : 0|16@1+ (0.1,0) [0|1000] "V" VCU\n'
    ' SG_ Current : 16|16@1- (0.1,0) [0|0] "A" VCU\n'
)
GOOD = HEAD + PACK
"""The message stands in line 5, its signals in 6 and 7; what is added begins in line 8."""


def write(folder: Path, text: str | bytes, name: str = "car.dbc") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def found(database: Database) -> list[tuple[int, str]]:
    return [(issue.line, issue.code) for issue in database.issues]


def test_a_good_file_has_no_issue(tmp_path: Path) -> None:
    for text in (GOOD, GOOD.replace("\n", "\r\n"), GOOD + "BS_:\nNS_ :\n\tNS_DESC_\n\tCM_\n\nBS_: 500000 : 1,2\n"):
        assert load(write(tmp_path, text)).issues == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD + 'VAL_ 999 Ghost 0 "a" ;\n', (8, "undefined-message")),
        (GOOD + 'VAL_ 256 Ghost 0 "a" ;\n', (8, "undefined-signal")),
        (GOOD + 'CM_ BO_ 999 "x";\n', (8, "undefined-message")),
        (GOOD + 'CM_ SG_ 256 Ghost "x";\n', (8, "undefined-signal")),
        (GOOD + 'CM_ BU_ Ghost "x";\n', (8, "undefined-node")),
        (GOOD + 'BA_ "Nothing" BO_ 256 1;\n', (8, "undefined-attribute")),
        (GOOD + 'BA_DEF_ BO_ "A" INT 0 9;\nBA_ "A" BO_ 999 1;\n', (9, "undefined-message")),
        (GOOD + 'BA_DEF_ BO_ "A" INT 0 9;\nBA_ "A" BO_ 256 "x";\n', (9, "attribute-value")),
        (GOOD + 'BA_DEF_ BO_ "A" ENUM "x","y";\nBA_ "A" BO_ 256 7;\n', (9, "attribute-value")),
        (GOOD + 'BA_DEF_ BU_ "A" INT 0 9;\nBA_ "A" BU_ Ghost 1;\n', (9, "undefined-node")),
        (GOOD + "SIG_VALTYPE_ 999 Voltage : 1;\n", (8, "undefined-message")),
        (GOOD + "SIG_VALTYPE_ 256 Ghost : 1;\n", (8, "undefined-signal")),
        (GOOD + "SG_MUL_VAL_ 256 Voltage Ghost 1-1;\n", (8, "undefined-signal")),
        (GOOD.replace("BO_ 256", "BO_ 419385573"), (5, "extended-id")),
        (GOOD.replace("BO_ 256", "BO_ 1075054137"), (5, "impossible-id")),
        (GOOD.replace("Pack:", "2017_5:"), (5, "name")),
        (GOOD.replace("Voltage", "Spannung_größer"), (6, "name")),
        (GOOD.replace("Voltage", "总电压"), (6, "name")),
        (GOOD.replace("Voltage", "0_COUNTER"), (6, "name")),
        (GOOD.replace("Voltage", "FILTER"), (6, "name")),
        (GOOD.replace("BU_: VCU BMS", "BU_: VCU BMS-1"), (3, "name")),
        (GOOD.replace("BU_: VCU BMS", "BU_ VCU BMS"), (3, "bu-block")),
        (GOOD.replace("BU_: VCU BMS", "BU_: VCU,BMS"), (3, "bu-block")),
        (GOOD.replace("BU_: VCU BMS", "BU_: VCU BMS VCU"), (3, "duplicate-node")),
        (HEAD.replace("BU_", "NS_\n\tCM_\n\tBA_\n\nBU_") + PACK, (3, "ns-block")),
        ("NS_ :\n\tCM_\n\n" + PACK, (1, "ns-block")),
        (HEAD.replace("BU_", "BS_\n\nBU_") + PACK, (3, "bs-block")),
        (GOOD.replace('VERSION ""', "VERSION 1.0"), (1, "version")),
        (GOOD.replace("16|16@1-", "8|16@1-"), (7, "overlap")),
        (GOOD + PACK.replace("Pack", "Other"), (5, "duplicate-message")),
        (GOOD + PACK.replace("256", "257"), (8, "duplicate-name")),
        (GOOD.replace("Current", "Voltage"), (7, "duplicate-signal")),
        (GOOD.replace(" SG_ Current", 'CM_ "between";\n SG_ Current'), (8, "moved-signal")),
        (GOOD.replace("Pack: 8", "Pack: 3"), (7, "signal-outside")),
        (GOOD.replace("0|16@1+", "0|70@1+"), (6, "signal-length")),
        (GOOD.replace("0|16@1+", "0|12@1+") + "SIG_VALTYPE_ 256 Voltage : 1;\n", (6, "signal-length")),
        (GOOD.replace("Current :", "Current m1 :"), (7, "no-selector")),
        (GOOD.replace("Voltage :", "Voltage m :"), (6, "selector-mark")),
        (GOOD.replace("(0.1,0) [0|1000]", "(.1,0) [0|1000]"), (6, "number")),
        (GOOD.replace("[0|1000]", "[0|1.#INF]"), (6, "range")),
        (GOOD.replace('"V" VCU', "VCU"), (6, "no-unit")),
        (GOOD.replace('"V" VCU', '"V"'), (6, "no-receiver")),
        (GOOD.replace("Pack: 8 BMS", "Pack: 8"), (5, "no-sender")),
        (GOOD.replace("Pack: 8 BMS", "Pack: 8 BMS;"), (5, "stray-semicolon")),
        (GOOD + 'CM_ "no semicolon"\n' + PACK.replace("256 Pack", "257 More"), (8, "missing-semicolon")),
        (GOOD + 'CM_ SG_ 256 "no signal";\n', (8, "comment-target")),
        (GOOD + 'CM_ 256 "no signal";\n', (8, "comment-target")),
        (GOOD + 'CM_ BO_ 256 "not closed;\nVAL_ 256 Voltage 1 "a";\n', (8, "unclosed-string")),
        (GOOD + 'VAL_ 256 Voltage 1.5 "a" 2 "b";\n', (8, "value-entry")),
        (GOOD + 'BA_DEF_ BO_ "A" INT 0 9;\nBA_ "A" BO_ 1;\n', (9, "unreadable")),
        (GOOD + f'VAL_ {"9" * 5000} Voltage 0 "a";\n', (8, "unreadable")),
        (GOOD + "what is this\n", (8, "unreadable")),
        (GOOD + 'BA_DEF_ BO_ "A" SOMETHING;\n', (8, "unreadable")),
        (GOOD.rstrip("\n"), (7, "no-final-newline")),
        (GOOD.replace("\n", "\r"), (1, "line-ends")),
        (GOOD.replace("V", "V", 1).replace("\n\n", "\r\n\n"), (2, "line-ends")),
        ("\ufeff" + GOOD, (1, "byte-order-mark")),
        (GOOD.replace("BO_ 256", "BO_\x0b256"), (5, "control-character")),
        (GOOD + 'CM_ "IMPORT nothing.dbc";\n', (8, "missing-import")),
        (GOOD + 'CM_ "IMPORT /etc/passwd";\n', (8, "refused-import")),
        (GOOD + 'CM_ "IMPORT ../car.dbc";\n', (8, "refused-import")),
        (GOOD + 'CM_ "IMPORT car.dbc";\n', (8, "import-cycle")),
        (
            GOOD + 'BO_ 3221225472 VECTOR__INDEPENDENT_SIG_MSG: 0 Vector__XXX\n SG_ Free : 0|8@1+ (1,0) [0|0] "" VCU\n',
            (8, "independent-signals"),
        ),
    ],
)
def test_each_fault_is_one_issue_with_its_line(tmp_path: Path, text: str, expected: tuple[int, str]) -> None:
    database = load(write(tmp_path, text))
    assert found(database) == [expected]
    for issue in database.issues:
        assert issue.text.en
        assert issue.text.zh
        assert issue.text.en != issue.text.zh
        assert issue.repaired is KINDS[issue.code].repaired
    assert database.messages


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (GOOD.replace("[0|1000]", "[0|1000"), 6),
        (GOOD.replace("(0.1,0) [0|1000]", "(0,1,0) [0|1000]"), 6),
        (GOOD.replace("(0.1,0) [0|1000]", "(ten,0) [0|1000]"), 6),
        (GOOD.replace("0|16@1+", "0|16@7+"), 6),
        (GOOD.replace("BO_ 256 Pack: 8", "BO_ 256 Pack 8"), 5),
        (GOOD + "SG_MUL_VAL_ 256 Voltage Current x;\n", 8),
        (GOOD.replace("BO_ 256", f"BO_ {'9' * 5000}"), 5),
        ('VERSION ""\n SG_ A : 0|8@1+ (1,0) [0|0] "" X\n' + PACK, 2),
        # the same with repairs before the line, so that the count of lines must not slip
        ("NS_\n\tCM_\n" + GOOD.replace("BU_:", "BU_").replace("[0|1000]", "[0|1000"), 8),
    ],
)
def test_what_cannot_be_mended_is_refused_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    with pytest.raises(DatabaseBroken) as caught:
        load(write(tmp_path, text))
    assert caught.value.line == line


def test_names_and_texts_stay_those_of_the_file(tmp_path: Path) -> None:
    text = GOOD.replace("Pack:", "2017_5:").replace("Voltage", "总电压").replace("BU_: VCU BMS", "BU_: VCU BMS-1")
    text = text.replace(": 8 BMS", ": 8 BMS-1") + 'VAL_ 256 总电压 65535 "SNA" 0 "零";\nCM_ SG_ 256 总电压 "注释";\n'
    database = load(write(tmp_path, text))
    message = database.messages[0]
    assert message.name == "2017_5"
    assert message.senders == ("BMS-1",)
    assert [node.name for node in database.nodes] == ["VCU", "BMS-1"]
    signal = message.by_name["总电压"]
    assert signal.labels == {65535: "SNA", 0: "零"}
    assert signal.comment == "注释"
    assert message.decode(b"\xff\xff\0\0\0\0\0\0")["总电压"].value is None


def test_references_follow_an_identifier_that_gets_its_bit(tmp_path: Path) -> None:
    text = GOOD.replace("BO_ 256", "BO_ 419385573") + (
        'VAL_ 419385573 Voltage 1 "one";\nCM_ BO_ 2566869221 "with the bit";\n'
    )
    database = load(write(tmp_path, text))
    message = database.find_message(419385573, extended=True)
    assert message is not None
    assert message.by_name["Voltage"].labels == {1: "one"}
    assert message.comment == "with the bit"
    assert [code for _, code in found(database)] == ["extended-id"]


def test_duplicates_are_kept_and_the_winner_is_whole(tmp_path: Path) -> None:
    text = GOOD + PACK.replace("Pack", "Other").replace("0.1", "0.5") + 'VAL_ 256 Voltage 1 "one";\n'
    database = load(write(tmp_path, text))
    assert [message.name for message in database.messages] == ["Pack", "Other"]
    assert [message.can_id for message in database.messages] == [256, 256]
    assert all(message.by_name["Voltage"].labels == {1: "one"} for message in database.messages)
    decoded = database.decode_frame(256, False, b"\x02\0\0\0\0\0\0\0")
    assert decoded is not None
    assert decoded.message.name == "Other"
    assert decoded.values["Voltage"].value == 1.0
    assert "Other" in database.issues[0].text.en


def test_a_message_that_no_frame_can_carry_decodes_nothing(tmp_path: Path) -> None:
    database = load(write(tmp_path, GOOD.replace("BO_ 256", "BO_ 1075054137")))
    assert len(database.messages) == 1
    for number in (1075054137 & 0x1FFFFFFF, 1075054137 & 0x7FF):
        assert database.find_message(number, extended=True) is None
        assert database.find_message(number & 0x7FF, extended=False) is None


def test_both_of_two_overlapping_signals_are_decoded(tmp_path: Path) -> None:
    database = load(write(tmp_path, GOOD.replace("16|16@1-", "8|16@1-")))
    values = database.messages[0].decode(bytes([0x01, 0x02, 0x03, 0, 0, 0, 0, 0]))
    assert (values["Voltage"].raw, values["Current"].raw) == (0x0201, 0x0302)


def test_signals_of_different_branches_do_not_overlap(tmp_path: Path) -> None:
    text = HEAD + (
        'BO_ 1 M: 8 BMS\n SG_ Mux M : 0|8@1+ (1,0) [0|0] "" VCU\n'
        ' SG_ A m0 : 8|8@1+ (1,0) [0|0] "" VCU\n SG_ B m1 : 15|8@0+ (1,0) [0|0] "" VCU\n'
    )
    assert load(write(tmp_path, text)).issues == ()
    both = load(write(tmp_path, text.replace("B m1", "B m0")))
    assert found(both) == [(8, "overlap")]


def test_a_selector_range_as_wide_as_a_number_is_not_spelled_out(tmp_path: Path) -> None:
    text = HEAD + (
        'BO_ 1 M: 8 BMS\n SG_ Mux M : 0|32@1+ (1,0) [0|0] "" VCU\n SG_ A m0 : 32|8@1+ (1,0) [0|0] "" VCU\n'
        "SG_MUL_VAL_ 1 A Mux 5-4294967295;\n"
    )
    signal = load(write(tmp_path, text)).messages[0].by_name["A"]
    assert signal.conditions[0].ranges == ((5, 4294967295),)


def test_every_kind_of_fault_is_explained() -> None:
    told = (Path(__file__).parents[2] / "docs" / "databases.md").read_text("utf-8")
    assert [code for code in KINDS if f"| `{code}` |" not in told] == []


# --- encodings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "codec", "encoding"),
    [
        ("电池包总电压,单体电压最高值", "gb18030", "gb18030"),
        ("温度(℃)", "gb18030", "gb18030"),
        ("绝缘电阻 kΩ", "gb18030", "gb18030"),
        ("电", "gb18030", "gb18030"),
        ("セル電圧の最大値", "cp932", "shift-jis"),
        ("車速", "cp932", "shift-jis"),
        ("ｾﾙ電圧 ﾊﾞｯﾃﾘ温度", "cp932", "shift-jis"),
        ("Größe der Spannung", "cp1252", "cp1252"),
        ("Température de l’eau à l'arrêt", "cp1252", "cp1252"),
        ("µm² ± 3 °C", "cp1252", "cp1252"),
        ("电池 セル größer °C", "utf-8", "utf-8"),
        ("电池 °C", "utf-16", "utf-16-le"),
    ],
)
def test_comments_and_units_are_read_as_they_were_meant(tmp_path: Path, text: str, codec: str, encoding: str) -> None:
    content = (GOOD.replace('"V"', f'"{text[-2:]}"') + f'CM_ SG_ 256 Voltage "{text}";\n').encode(codec)
    database = load(write(tmp_path, content))
    assert database.encoding == encoding
    signal = database.messages[0].by_name["Voltage"]
    assert (signal.comment, signal.unit) == (text, text[-2:])


COMMON = [
    bytes([high, low]).decode("gb2312") for high in range(0xB0, 0xD7) for low in range(0xA1, 0xFF)
]  # the first level of GB 2312
HANZI = st.sampled_from(COMMON)


@settings(max_examples=60)
@given(st.text(HANZI, min_size=3, max_size=40))
def test_common_chinese_is_never_taken_for_something_else(text: str) -> None:
    content = f'CM_ "{text}";\n'.encode("gb18030")
    with suppress(UnicodeDecodeError):
        content.decode("utf-8")
        assume(False)  # a few words are good UTF-8 too
    assert decode_text(content).text == f'CM_ "{text}";\n'


def test_chinese_that_happens_to_be_utf_8_is_chinese() -> None:
    assert decode_text('CM_ "一一";\n'.encode("gb18030")).encoding == "gb18030"
    for text in ("Ω", "Привет", "é", "Łódź", "电"):
        assert decode_text(f'CM_ "{text}";\n'.encode()).encoding == "utf-8"


@settings(max_examples=60)
@given(st.text(st.sampled_from("abcdefghij äöüß ÄÖÜ °éèà"), min_size=1, max_size=40))
def test_western_text_is_read(text: str) -> None:
    padded = f'CM_ "Länge Größe für {text} Wärme kühl";\n'
    assert decode_text(padded.encode("cp1252")).text == padded


def test_a_line_in_another_encoding_is_located(tmp_path: Path) -> None:
    text = (GOOD + 'CM_ SG_ 256 Voltage "总电压 °C";\n').encode() + 'CM_ SG_ 256 Current "Größe";\n'.encode("cp1252")
    text += 'CM_ BO_ 256 "电池";\n'.encode()
    database = load(write(tmp_path, text))
    assert found(database) == [(9, "mixed-encodings")]
    assert database.messages[0].by_name["Current"].comment == "Größe"
    assert database.messages[0].comment == "电池"


# --- imports --------------------------------------------------------------------------------------------------------


def test_imports_are_followed_and_their_messages_can_be_named(tmp_path: Path) -> None:
    write(tmp_path, PACK, "_common.dbc")
    write(tmp_path, 'CM_ "IMPORT _common.dbc";\nBO_ 300 Mid: 8 X\n SG_ A : 0|8@1+ (1,0) [0|0] "" X\n', "_mid.dbc")
    top = 'CM_ "IMPORT _mid.dbc";\nCM_ "IMPORT _common.dbc";\nVAL_ 256 Voltage 1 "one";\nVAL_ 300 B 1 "x";\n'
    database = load(write(tmp_path, top))
    assert [message.name for message in database.messages] == ["Pack", "Mid"]
    assert database.messages[0].by_name["Voltage"].labels == {1: "one"}
    assert database.imports == ("_common.dbc", "_mid.dbc")
    assert found(database) == [(4, "undefined-signal")]


def test_a_fault_of_an_imported_file_names_that_file(tmp_path: Path) -> None:
    write(tmp_path, PACK.replace("[0|1000]", "[0|1.#INF]"), "_common.dbc")
    database = load(write(tmp_path, 'CM_ "IMPORT _common.dbc";\n'))
    assert [(issue.file, issue.line, issue.code) for issue in database.issues] == [("_common.dbc", 2, "range")]
    write(tmp_path, PACK.replace("[0|1000]", "[0|"), "_common.dbc")
    with pytest.raises(DatabaseBroken) as caught:
        load(tmp_path / "car.dbc")
    assert caught.value.path.endswith("_common.dbc")
    assert caught.value.line == 2


def test_files_that_take_in_each_other_end(tmp_path: Path) -> None:
    write(tmp_path, 'CM_ "IMPORT b.dbc";\n' + PACK, "a.dbc")
    write(tmp_path, 'CM_ "IMPORT a.dbc";\n' + PACK.replace("256 Pack", "257 Other"), "b.dbc")
    database = load(tmp_path / "a.dbc")
    assert sorted(message.name for message in database.messages) == ["Other", "Pack"]
    assert [(issue.file, issue.line, issue.code) for issue in database.issues] == [("b.dbc", 1, "import-cycle")]


# --- the files that people have -------------------------------------------------------------------------------------


def files_of(path: Path) -> list[Path]:
    """A file and its imports, found independently."""
    out, waiting = [], [path]
    while waiting:
        here = waiting.pop()
        if here in out or not here.is_file():
            continue
        out.append(here)
        waiting += [
            here.parent / name for name in re.findall(r'^CM_ "IMPORT (.*?)";', here.read_text("utf-8"), re.MULTILINE)
        ]
    return out


def counted(path: Path) -> tuple[int, int]:
    """Messages and signals by counting lines, without those of Vector's message for unassigned signals."""
    messages = signals = 0
    for file in files_of(path):
        text = file.read_text("utf-8", errors="replace")
        independent = re.search(r"^BO_ \d+ VECTOR__INDEPENDENT_SIG_MSG.*\n((?:[ \t]+SG_ .*\n)*)", text, re.MULTILINE)
        messages += len(re.findall(r"^\s*BO_ \d", text, re.MULTILINE)) - bool(independent)
        signals += len(re.findall(r"^\s*SG_ ", text, re.MULTILINE)) - (
            independent[1].count("SG_ ") if independent else 0
        )
    return messages, signals


def opendbc_files() -> list[Path]:
    opendbc = pytest.importorskip("opendbc", reason="opendbc (huizhen[cars]) is not installed")
    return sorted(Path(opendbc.__path__[0]).rglob("*.dbc"))


def check_whole(path: Path) -> None:
    database = load(path)
    loaded = len(database.messages), sum(len(m.signals) + len(m.unreadable) for m in database.messages)
    assert loaded == counted(path), path


def test_every_small_opendbc_file_loads_whole() -> None:
    """All but the largest; ``benchmarks/lint_opendbc.py`` looks at those too."""
    files = [path for path in opendbc_files() if path.stat().st_size < 60_000]
    assert len(files) > 80
    for path in files:
        check_whole(path)


def test_savvycan_s_files_load_whole(shared: Path) -> None:
    files = sorted((shared / "data/savvycan").glob("*.dbc"))
    assert len(files) == 3
    for path in files:
        check_whole(path)


def test_opendbc_s_fragments_become_one_database() -> None:
    path = next(path for path in opendbc_files() if path.name == "honda_civic_touring_2016_can.dbc")
    database = load(path)
    assert len(database.imports) == 7
    assert not any(issue.code == "missing-import" for issue in database.issues)


@pytest.mark.parametrize(
    "tail",
    [
        " SG_ a" + " " * 30_000 + "x",
        "BO_ 2 a" + " " * 30_000 + "x",
        "BO_ 2 " + "a " * 30_000,
        'BA_DEF_ BO_ "a" ENUM' + " " * 30_000,
        "BU_:" + "\n a" * 30_000,
        "VAL_ 256 Voltage" + ' 1 "x"' * 30_000 + "!",
        "BO_TX_BU_ 256 : " + "a " * 30_000 + '"',
        '"' * 60_000,
        'CM_ "' + '\\"' * 50_000,
        "zz\n" * 30_000,
    ],
)
def test_no_line_takes_long(tmp_path: Path, tail: str) -> None:
    """A pattern that tries every split of a long run would need hours here; the bound is generous."""
    path = write(tmp_path, GOOD + tail)
    before = process_time()
    with suppress(DatabaseError):
        load(path)
    assert process_time() - before < 10


# --- fuzz -----------------------------------------------------------------------------------------------------------

EVERYTHING = (
    GOOD
    + 'BO_ 512 Mux: 8 VCU\n SG_ S M : 0|8@1+ (1,0) [0|0] "" VCU\n SG_ A m1 : 8|8@0- (1,0) [0|0] "" BMS\n'
    + 'BA_DEF_ BO_ "A" ENUM "x","y";\nBA_DEF_DEF_ "A" "x";\nBA_ "A" BO_ 256 1;\nCM_ SG_ 256 Voltage "x";\n'
    + 'SG_MUL_VAL_ 512 A S 1-1, 3-4;\nSIG_VALTYPE_ 256 Current : 0;\nVAL_ 256 Voltage 65535 "SNA" ;\n'
    + "BO_TX_BU_ 256 : VCU,BMS;\n"
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_any_damage_is_mended_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    lines = EVERYTHING.split("\n")
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        what = data.draw(st.sampled_from(["drop", "swap", "cut", "word", "double"]))
        if what == "drop" and len(lines) > 1:
            del lines[at]
        elif what == "swap":
            other = data.draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
        elif what == "cut":
            lines[at] = lines[at][: data.draw(st.integers(0, len(lines[at])))]
        elif what == "word":
            words = re.split(r"(\W)", lines[at])
            words[data.draw(st.integers(0, len(words) - 1))] = data.draw(
                st.sampled_from(
                    ["", '"', ";", "BO_", "SG_", "-1", "99999999999", "名", "M", "m2", ":", "1e999", "0x10"]
                )
            )
            lines[at] = "".join(words)
        else:
            lines.insert(at, lines[at])
    text = "\n".join(lines)
    try:
        database = load(write(tmp_path, text))
    except DatabaseError:
        return
    for message in database.messages:
        message.decode(bytes(max(8, message.length)))
    assert all(0 <= issue.line <= text.count("\n") + 1 for issue in database.issues)
