import csv
import itertools
import re
from pathlib import Path

import pytest

import diag
from diag.dtctext import (
    find_code_text,
    find_failure_type,
    find_fmi_severity,
    find_fmi_text,
    find_reason,
    find_severity,
    find_text,
    load_codes,
    load_failure_types,
    load_reasons,
    ranges,
    status_bit_text,
)
from diag.facts import STATUS_BITS, EcuRole, Severity, Text

TEXTS = Path(diag.__file__).parent / "texts"
CJK = re.compile(r"[\u4e00-\u9fff]")


def table(name):
    with (TEXTS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("name", sorted(path.name for path in TEXTS.glob("*.csv")))
def test_tables_are_rectangular_and_keys_unique(name):
    rows = table(name)
    assert {len(row) for row in rows} == {len(rows[0])}
    assert len({row[0] for row in rows}) == len(rows)
    assert all(cell == cell.strip() for row in rows for cell in row)


@pytest.mark.parametrize("name", ["codes.csv", "failure_types.csv", "fmi.csv", "reasons.csv", "status_bits.csv"])
def test_both_languages_everywhere(name):
    for row in table(name)[1:]:
        en, zh = row[-2:]
        assert en
        assert not CJK.search(en), row
        assert CJK.search(zh), row


def test_every_code_is_a_standard_one_with_a_reason():
    codes = load_codes()
    assert len(codes) >= 600
    for code, entry in codes.items():
        assert re.fullmatch(r"[PCBU][0-3][0-9A-F]{3}", code)
        assert entry.reason in load_reasons()
        text, source = find_text(code)
        assert (text, source) == (entry.text, "generic")


def test_every_reason_is_used():
    assert {entry.reason for entry in load_codes().values()} == set(load_reasons())


def test_no_two_codes_read_the_same():
    for lang in ("en", "zh"):
        texts = [entry.text.in_language(lang) for entry in load_codes().values()]
        assert len(set(texts)) == len(texts), sorted(text for text in set(texts) if texts.count(text) > 1)


def test_codes_of_the_standards_table(shared):
    section = (shared / "standards/dtc.md").read_text(encoding="utf-8").split("## 6.")[1]
    codes = re.findall(r"^\| ([PCBU][0-9A-F]{4}) \|", section, re.MULTILINE)
    assert len(codes) == 218
    assert [code for code in codes if find_code_text(code) is None] == []


def test_failure_types_of_the_standards_table(shared):
    section = (shared / "standards/dtc.md").read_text(encoding="utf-8").split("## 3.")[1].split("## 4.")[0]
    named = set()
    for row in re.findall(r"^\| \*?([0-9A-F /-]+?)\*? \|", section, re.MULTILINE):
        for part in row.split(" / "):
            first, _, last = part.strip().partition("-")
            named |= {f"{n:02X}" for n in range(int(first, 16), int(last or first, 16) + 1)}
    assert len(named) > 80
    assert named <= set(load_failure_types())


def test_no_code_of_ours_lies_outside_the_public_list(shared):
    with (shared / "data/dtc/generic.csv").open(encoding="utf-8", newline="") as file:
        public = {row["code"]: row["public_name"].lower() for row in csv.DictReader(file)}
    for code, entry in load_codes().items():
        assert code in public, code
        words = entry.text.en.lower().split()
        for word in ("intermittent", "stuck"):
            if word in words:
                assert word in public[code], (code, entry.text.en, public[code])


@pytest.mark.parametrize(
    "code", ["P1000", "P1FFF", "P3000", "P33FF", "B1234", "B2000", "C1000", "C2FFF", "U1000", "U2FFF"]
)
def test_makers_ranges_get_no_meaning(code):
    assert find_text(code, "16") == (Text("manufacturer specific", "厂家自定义"), "maker-range")
    assert find_text(code, ecu_role=EcuRole.BMS)[0].zh == "厂家自定义（电池管理系统）"
    assert find_severity(code) is Severity.SOON


@pytest.mark.parametrize("code", ["P0F00", "B3000", "C3000", "P3A00", "U0000"])
def test_reserved_codes_have_no_text(code):
    assert find_text(code) == (None, "none")
    assert "no text" in find_reason(code).en


def test_a_standard_code_without_text_gets_its_range_and_says_so():
    text, source = find_text("P0307", "00")
    assert source == "range"
    assert text == Text("ignition or misfire (range only)", "点火或失火（仅知范围）")


def test_ranges_do_not_overlap_and_hold_every_code():
    blocks = sorted(ranges(), key=lambda block: block.first)
    for one, other in itertools.pairwise(blocks):
        assert one.first <= one.last < other.first


def test_failure_type_tells_how():
    text, _ = find_text("P0AA6", "1A")
    assert text.en == "Isolation loss between HV system and chassis: resistance below threshold"
    assert text.zh == "高压系统对车身绝缘故障：电阻低于阈值"
    assert find_text("P0AA6", "00")[0] == find_text("P0AA6")[0]
    assert find_failure_type("F3").en == "manufacturer specific"
    assert find_failure_type("C7") is None
    assert find_text("P0AA6", "C7")[0] == find_text("P0AA6")[0]


@pytest.mark.parametrize(
    "code", ["P0AA6", "P0A0A", "P0AA1", "P0DE7", "P0A7E", "P0D08", "P0E74", "P0B37", "P0A3C", "U0111", "P0A1D"]
)
def test_what_can_hurt_or_strand_is_stop(code):
    assert find_severity(code) is Severity.STOP


def test_overheating_makes_a_code_urgent_and_says_why():
    assert find_severity("P0A00") is Severity.SOON
    assert find_severity("P0A00", "4B") is Severity.STOP
    assert find_reason("P0A00", "4B") == load_reasons()["heat"]
    assert find_reason("P0A1F", "4B") == load_reasons()["fire"]
    assert find_reason("P0A00") == load_reasons()["cooling"]


def test_fmi():
    assert find_fmi_text(3).zh == "电压高于正常值或对高电平短路"
    assert find_fmi_text(25) is None
    assert find_fmi_severity(0) is Severity.STOP
    assert find_fmi_severity(25) is Severity.SOON
    assert "legacy" in find_fmi_text(3, legacy=True).en
    assert [fmi for fmi in range(32) if find_fmi_text(fmi) is None] == list(range(22, 31))


def test_status_bits_have_names():
    assert len({status_bit_text(name).zh for name in STATUS_BITS}) == 8
    with pytest.raises(KeyError):
        status_bit_text("testPassed")
