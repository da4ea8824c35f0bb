import pytest
from hypothesis import given
from hypothesis import strategies as st

from diag.vin import check_digit, clean_vin, compare_vins, find_make, parse_vin

ALPHABET = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"
vins = st.text(ALPHABET, min_size=17, max_size=17)


def with_check_digit(vin):
    return vin[:8] + check_digit(vin) + vin[9:]


@pytest.mark.parametrize("vin", ["1M8GDM9AXKP042788", "11111111111111111", "5GZCZ43D13S812715"])
def test_published_examples_pass_the_check_digit(vin):
    read = parse_vin(vin, today_year=2026)
    assert read.check_ok
    assert read.is_valid


def test_wrong_check_digit_is_named_and_does_not_hide_the_rest():
    read = parse_vin("5YJ3E1EA7KF317000", today_year=2026)
    assert read.syntax_ok
    assert not read.is_valid
    assert (read.make, read.model_year) == ("Tesla", 2019)
    assert read.note.en == "check digit is 7, should be 2: check the VIN on the car"
    assert "校验位" in read.note.zh


def test_in_europe_position_nine_is_free():
    read = parse_vin("WVWZZZE1ZMP000001", today_year=2026)
    assert read.check_ok is False
    assert not read.check_required
    assert read.is_valid
    assert read.note is None


def test_china_demands_the_check_digit():
    wrong = parse_vin("LGXCE4CB1L0000001", today_year=2026)
    assert wrong.check_required
    good = parse_vin(with_check_digit("LGXCE4CB0L0000001"), today_year=2026)
    assert good.is_valid
    assert good.make == "BYD"
    assert good.region.en == "Asia"


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        (b"\x00\x00\x001M8GDM9AXKP042788", "1M8GDM9AXKP042788"),
        (b"1M8GDM9AXKP042788\xff\xff", "1M8GDM9AXKP042788"),
        ("  1M8GDM9AXKP042788 \x00", "1M8GDM9AXKP042788"),
        (b"1M8GDM9AX\x00KP042788", "1M8GDM9AX\x00KP042788"),
        (b"1M8GDM9AXKP042788*", "1M8GDM9AXKP042788*"),
        (b"0M8GDM9AXKP042780", "0M8GDM9AXKP042780"),
    ],
    ids=["leading 00", "trailing FF", "spaces", "00 inside stays", "star stays", "digit zero is no padding"],
)
def test_only_padding_at_the_ends_goes(raw, clean):
    assert clean_vin(raw) == clean


@pytest.mark.parametrize("raw", [b"", b"\x00" * 17, b"\xff" * 17, "   "])
def test_padding_alone_is_no_vin(raw):
    assert parse_vin(raw, today_year=2026) is None


@pytest.mark.parametrize(
    ("vin", "says"),
    [
        ("1M8GDM9AXKP04278", "a VIN has 17 characters, this one 16"),
        ("1M8GDM9AXKP0427881", "a VIN has 17 characters, this one 18"),
        ("1M8GDM9AXKPO42788", "characters not allowed in a VIN at 12"),
        ("IM8GDM9AXKPO42788", "characters not allowed in a VIN at 1, 12"),
    ],
)
def test_broken_syntax_says_where(vin, says):
    read = parse_vin(vin, today_year=2026)
    assert not read.is_valid
    assert read.check_ok is None
    assert read.note.en == says
    assert read.make is None
    assert read.to_vehicle().vin_valid is False


@pytest.mark.parametrize(
    ("vin", "today", "year"),
    [
        ("WVWZZZE1ZMP000001", 2026, 2021),
        ("WVWZZZE1ZMP000001", 2019, 1991),
        ("WVWZZZE1ZTP000001", 2025, 2026),
        ("WVWZZZE1Z1P000001", 2026, 2001),
        ("WVWZZZE1Z1P000001", 2032, 2031),
        ("5YJ3E1EA7AF317000", 2026, 2010),
        ("1M8GDM9AXKP042788", 2026, 1989),
        ("1M8GDMAAXKP042788", 2026, 2019),
        ("WVWZZZE1ZZP000001", 2026, None),
        ("WVWZZZE1Z0P000001", 2026, None),
    ],
    ids=[
        "newest not in the future",
        "seen from 2019",
        "next year's model is sold this year",
        "digit",
        "digit, 30 years on",
        "NA letter in 7",
        "NA digit in 7 is before 2010",
        "NA letter in 7 is 2010 or later",
        "Z is no year",
        "0 is no year",
    ],
)
def test_model_year(vin, today, year):
    assert parse_vin(vin, today_year=today).model_year == year


def test_seven_is_usa_but_for_new_zealand():
    assert parse_vin("7SAYGDEE0NF000000", today_year=2026).region.en == "North America"
    assert parse_vin("7A8YGDEE0NF000000", today_year=2026).region.en == "Oceania"


def test_unknown_maker_stays_none():
    assert find_make("QQQ00000000000000") is None


def test_makers_of_the_standard_table(shared):
    text = (shared / "standards/vin.md").read_text(encoding="utf-8")
    cells = [
        cell.strip()
        for line in text.splitlines()
        if line.startswith("| ") and "WMI" not in line
        for cell in line.split("|")[1:-1:2]
    ]
    wmis = [wmi.strip() for cell in cells for wmi in cell.split(",") if len(wmi.strip()) == 3]
    assert len(wmis) > 70
    assert [wmi for wmi in wmis if find_make(wmi) is None] == []


def test_compare_names_the_odd_one():
    found = compare_vins(
        {
            "0x7E8 09 02": "1M8GDM9AXKP042788",
            "0x7E8 F190": "1M8GDM9AXKP042788\x00",
            "0x7EC F190": "1M8GDM9AXKP042789",
            "0x7ED F190": "\xff" * 17,
        }
    )
    assert [(item.source, item.expected, item.positions) for item in found] == [
        ("0x7EC F190", "1M8GDM9AXKP042788", (17,))
    ]
    assert compare_vins({}) == ()
    assert compare_vins({"a": "1M8GDM9AXKP042788", "b": " 1m8gdm9axkp042788"}) == ()


@given(vins)
def test_check_digit_catches_every_single_digit_error(vin):
    good = with_check_digit(vin)
    for at in (0, 7, 16):
        for digit in "0123456789":
            if good[at].isdigit() and digit != good[at]:
                changed = good[:at] + digit + good[at + 1 :]
                assert check_digit(changed) != changed[8]


@given(st.binary(max_size=24))
def test_any_bytes_give_a_vin_or_none(raw):
    read = parse_vin(raw, today_year=2026)
    assert read is None or read.raw == raw
    if read and read.syntax_ok:
        assert read.region is not None
        assert read.to_json()["vin"] == read.text
