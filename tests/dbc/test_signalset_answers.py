"""What adapters print: every format to the same bytes, and nothing guessed."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dbc.errors import NothingUsable, Refused, SignalSetError, UnknownCommand
from dbc.signalset.adaptertext import read_adapter_text
from dbc.signalset.decoding import AnswerDecoder
from dbc.signalset.loading import parse_signal_set
from dbc.signalset.model import YearFilter, parse_command_id


def signal(name, first_bit, bits, **fmt):
    return {"id": name, "name": name, "fmt": {"bix": first_bit, "len": bits, "max": 65535, "unit": "scalar", **fmt}}


DOCUMENT = {
    "commands": [
        {"hdr": "7E4", "rax": "7EC", "cmd": {"22": "0105"}, "freq": 1, "signals": [
            signal("A", 0, 8), signal("LAST", 72, 16), signal("LE", 8, 16, blsb=True, sign=True, min=-40000),
            signal("BITS", 20, 3), signal("TENTH", 0, 8, div=10, add=-40, min=-40, max=-20),
            signal("NULLED", 8, 8, nullmax=2), {"id": "WORD", "name": "", "fmt": {
                "bix": 0, "len": 8, "map": {"1": {"value": "ON"}, "2": "OFF"}}},
        ]},
        {"hdr": "7E4", "rax": "7EC", "cmd": {"22": "0106"}, "freq": 1, "filter": {"from": 2025, "to": 2020},
         "signals": [signal("OR", 0, 8)]},
        {"hdr": "6F1", "rax": "612", "eax": "12", "cmd": {"22": "4300"}, "freq": 1, "signals": [signal("BMW", 0, 8)]},
        {"hdr": "FC00", "rax": "FE007B", "tst": "7B", "pri": "17", "cmd": {"22": "028C"}, "freq": 1,
         "signals": [signal("LONG", 0, 8)]},
        {"hdr": "743", "cmd": {"22": "0207"}, "freq": 1, "signals": [signal("ANY", 0, 8)]},
        {"hdr": "7E0", "rax": "7E8", "cmd": {"01": "0D"}, "freq": 1, "signals": [signal("VSS", 0, 8)]},
    ]
}  # fmt: skip
SET = parse_signal_set(json.dumps(DOCUMENT).encode(), name="made", path="made.json")
DECODER = AnswerDecoder([SET])
FRAMES = ["7EC100E620105010203", "7EC2104050607080912", "7EC2234AAAAAAAAAAAA"]
PAYLOAD = bytes.fromhex("6201050102030405060708091234")[:14]


def spaced(line, digits=3):
    return " ".join([line[:digits], *(line[at : at + 2] for at in range(digits, len(line), 2))])


FORMATS = {
    "plain": "\n".join(FRAMES),
    "carriage returns, blank lines and the prompt": "\r\r".join(FRAMES) + "\r\r>",
    "spaces": " \r\n".join(spaced(line) for line in FRAMES),
    "lower case": "\n".join(FRAMES).lower(),
    "echo": "220105\r" + "\r".join(FRAMES),
    "echo with the number of answers": "2201051\r" + "\r".join(FRAMES),
    "echo with spaces behind a prompt": ">22 01 05\n" + "\n".join(FRAMES),
    "searching": "SEARCHING...\r" + "\r".join(FRAMES) + "\rOK",
    "searching on the same line": "SEARCHING..." + "\n".join(FRAMES),
    "data length digit": "\n".join(f"{line[:3]} 8 {spaced(line)[4:]}" for line in FRAMES),
    "data length digit without spaces": "\n".join(f"{line[:3]}8{line[3:]}" for line in FRAMES),
    "headers off": "00E\r0:620105010203\r1:04050607080912\r2:34AAAAAAAAAAAA\r\r>",
    "headers off with spaces": "00E \r\n0: 62 01 05 01 02 03 \r\n1: 04 05 06 07 08 09 12 \r\n2: 34 AA AA AA AA AA AA",
    "headers off on one line": PAYLOAD.hex(),
    "a stale tail first": "7EC25AAAAAAAAAAAAAA\n" + "\n".join(FRAMES),
    "a frame twice": "\n".join([FRAMES[0], FRAMES[1], FRAMES[1], FRAMES[2]]),
    "another ECU between": "\n".join([FRAMES[0], "7E8037F2231", FRAMES[1], "7E80462010599", FRAMES[2]]),
    "pending first": "7EC037F2278\n" + "\n".join(FRAMES),
    "an adapter's error behind": "\n".join(FRAMES) + "\n\nERR91",
    "a flow control between": "\n".join([FRAMES[0], "7EC300000", *FRAMES[1:]]),
}


@pytest.mark.parametrize("text", FORMATS.values(), ids=FORMATS)
def test_every_format_holds_the_same_answer(text):
    decoded = DECODER.decode("7E4.7EC.220105", text)
    assert decoded.error is None
    assert decoded.ecu == "0x7EC"
    values = {name: sample.value for name, sample in decoded.samples.items()}
    assert values == {
        "A": 1, "LAST": 0x1234, "LE": 0x0302, "BITS": 1, "TENTH": -39.9, "NULLED": None, "WORD": "ON",
    }  # fmt: skip
    assert {name: sample.raw.hex() for name, sample in decoded.samples.items()} == {
        "A": "01", "LAST": "1234", "LE": "0203", "BITS": "03", "TENTH": "01", "NULLED": "02", "WORD": "01",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("command", "text", "name", "ecu"),
    [
        ("6F1.612.224300|e=12,fc=1", "612F10462430055", "BMW", "0x612"),
        ("6F1.612.224300", "612 F1 04 62 43 00 55 AA", "BMW", "0x612"),
        ("FC00.FE007B.22028C|ta=7B,c=17", "17FE007B0462028C55AAAAAA", "LONG", "0x17FE007B"),
        ("FC00.FE007B.22028C|ta=7B,c=17", "17 FE 00 7B 04 62 02 8C 55", "LONG", "0x17FE007B"),
        ("743.220207", "7630462020755", "ANY", "0x763"),
        ("DB33.010D", "18DAF11003410D55", "VSS", "0x18DAF110"),
        ("7E0.010D", "7E803410D55", "VSS", "0x7E8"),
        ("7DF.010D", "410D55", "VSS", None),
    ],
)
def test_addresses_of_every_kind(command, text, name, ecu):
    decoded = DECODER.decode(command, text)
    assert decoded.samples[name].value == 0x55
    assert decoded.ecu == ecu


def test_several_ecus_answer_a_command_without_receiver():
    decoded = DECODER.decode("7E0.010D", "7E803410D01\n7E903410D02\n7EA037F0112\n7E803410D03\n7EB03410D04")
    assert (decoded.ecu, decoded.samples["VSS"].value) == ("0x7EB", 4)
    assert [(other.ecu, other.samples["VSS"].value) for other in decoded.others] == [("0x7E9", 2), ("0x7E8", 3)]


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("7EC037F2231", Refused, "0x7EC refuses service 0x22 with response code 0x31"),
        ("7EC037F2278\r7EC037F2222", Refused, "0x22"),
        ("7F2233", Refused, "0x33"),
        ("7EC037F2278", Refused, "0x78"),
        ("SEARCHING...\rUNABLE TO CONNECT\r>", NothingUsable, "no connection"),
        ("NO DATA", NothingUsable, "no ECU answered"),
        ("?", NothingUsable, "did not understand"),
        ("STOPPED", NothingUsable, "interrupted"),
        ("CAN ERROR", NothingUsable, "faulty or silent"),
        ("<RX ERROR", NothingUsable, "damaged"),
        ("", NothingUsable, "no answer in the text"),
        ("220105", NothingUsable, "no answer in the text"),
        ("hello", NothingUsable, "no answer in the text"),
        ("7E80462010501", NothingUsable, "only 0x7E8 answered"),
        ("7EC0462010601", NothingUsable, "to another request"),
    ],
)
def test_no_answer_is_an_error_and_never_a_value(text, kind, words):
    with pytest.raises(kind, match=words):
        DECODER.decode("7E4.7EC.220105", text)


def test_a_cut_answer_gives_what_came():
    decoded = DECODER.decode("7E4.7EC.220105", "\n".join(FRAMES[:2]))
    assert decoded.samples["A"].value == 1
    assert decoded.samples["LAST"].value is None
    assert str(decoded.error).startswith("0x7EC: 1 bytes of the answer are missing")


def test_a_missing_frame_ends_the_answer():
    decoded = DECODER.decode("7E4.7EC.220105", "\n".join([FRAMES[0], FRAMES[2]]))
    assert decoded.samples["A"].value == 1
    assert decoded.samples["LAST"].value is None
    assert decoded.error is not None


def test_characters_lost_between_two_frames_cost_only_themselves():
    damaged = f"{FRAMES[0]}\n{FRAMES[1][:-5]}{FRAMES[2]}"
    decoded = DECODER.decode("7E4.7EC.220105", damaged)
    assert decoded.samples["LE"].value == 0x0302
    assert decoded.samples["LAST"].value is None
    assert decoded.error.missing == 3


@pytest.mark.parametrize(
    ("years", "admitted", "refused"),
    [
        (YearFilter(2014), {2014, 2030, None}, {2013}),
        (YearFilter(None, 2024), {2024, 1999}, {2025}),
        (YearFilter(2014, 2018), {2014, 2018}, {2013, 2019}),
        (YearFilter(2025, 2020), {2025, 2026, 2020, 2001}, {2021, 2024}),
        (YearFilter(2022, 2010, frozenset({2012})), {2012, 2022, 2010}, {2011, 2013, 2021}),
        (YearFilter(years=frozenset({2019})), {2019}, {2018}),
        (YearFilter(), {1990, 2050, None}, set()),
    ],
)
def test_model_years(years, admitted, refused):
    assert all(years.admits(year) for year in admitted)
    assert not any(years.admits(year) for year in refused)


def test_a_command_of_another_year_is_none_of_this_car_s():
    assert DECODER.decode("7E4.7EC.220106", "7EC0462010601", 2026).samples["OR"].value == 1
    with pytest.raises(UnknownCommand, match="not for model year 2022"):
        DECODER.decode("7E4.7EC.220106", "7EC0462010601", 2022)


def test_the_car_s_own_set_wins_per_command():
    own = {"commands": [{**DOCUMENT["commands"][0], "signals": [signal("OWN", 0, 8)]}]}
    decoder = AnswerDecoder([parse_signal_set(json.dumps(own).encode(), name="own", path="own"), SET])
    assert set(decoder.decode("7E4.7EC.220105", "7EC0462010501").samples) == {"OWN"}
    assert set(decoder.decode("743.220207", "7630462020701").samples) == {"ANY"}


def test_options_of_a_command_s_name():
    command = parse_command_id("6F1.660.22D10D|e=60,fc=1,f=2014-;-2010;2012,din=03")
    assert (command.address.extended, command.session) == (0x60, 3)
    assert command.years == YearFilter(2014, 2010, frozenset({2012}))
    assert parse_command_id("FC00.FE007B.22028C|ta=7B,c=17").address.request_id == 0x17FC007B


PRINTED = st.text(alphabet="0123456789ABCDEFabcdef \r\n>:?.SERCHINGNODATA<", max_size=200)


@settings(max_examples=300, deadline=None)
@given(
    text=st.one_of(PRINTED, st.text(max_size=80)),
    command=st.sampled_from(["7E4.7EC.220105", "DB33.010D", "6F1.612.224300"]),
)
@example(text="7EC", command="7E4.7EC.220105")
@example(text="612", command="6F1.612.224300")
@example(text="612F1", command="6F1.612.224300")
def test_any_text_gives_values_or_a_declared_error(text, command):
    try:
        decoded = DECODER.decode(command, text)
    except SignalSetError:
        return
    assert decoded.samples


@settings(max_examples=200, deadline=None)
@given(command=st.one_of(st.text(max_size=40), st.from_regex(r"[0-9A-F]{3,8}\.[0-9A-F]{2,6}(\|[a-z]=[0-9A-F-]{1,4})?")))
def test_any_command_name_is_known_or_refused(command):
    with pytest.raises(SignalSetError):
        DECODER.decode(command, "7EC0462010501")


@given(payload=st.binary(min_size=1, max_size=60))
def test_what_is_cut_into_frames_comes_back_whole(payload):
    from dbc.pci import pad, segment

    command = parse_command_id("7E4.7EC.220105")
    text = "\r".join(f"7EC{pad(frame.encode()).hex()}" for frame in segment(b"\x62" + payload))
    heard = read_adapter_text(text, command)
    assert [answer.payload for answer in heard.answers] == [b"\x62" + payload]
    assert heard.unread == 0


@pytest.mark.parametrize(
    "text",
    [
        "NO" + " " * 500_000,
        "<" + " " * 500_000,
        "0:00\r" * 100_000,
        "7EC2100\r" * 60_000,
        "AT" * 250_000,
        "BUS INIT: ." * 50_000,
    ],
    ids=["spaces", "spaces behind a bracket", "numbered lines", "frames", "settings", "words"],
)
def test_long_texts_take_time_in_proportion(text):
    """Half a megabyte; anything quadratic would take minutes here."""
    with pytest.raises(NothingUsable):
        DECODER.decode("7E4.7EC.220105", text)
