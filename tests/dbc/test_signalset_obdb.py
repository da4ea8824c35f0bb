"""OBDb's JSON: what is faulty in it is listed and left out."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbc.j1979 import PIDS, find_field
from dbc.signalset.loading import parse_signal_set
from dbc.signalset.model import DatasheetValue

GOOD = {"id": "S", "name": "s", "fmt": {"len": 8, "max": 255, "unit": "volts"}}


def load(*commands):
    return parse_signal_set(json.dumps({"commands": list(commands)}).encode(), name="x", path="x")


def command(**changes):
    return {"hdr": "7E4", "rax": "7EC", "cmd": {"22": "0101"}, "freq": 1, "signals": [GOOD], **changes}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (command(hdr="XYZ"), "no hex address"), (command(hdr=None), "hdr is missing"),
        (command(cmd={"31": "0101"}), "no request of service"), (command(cmd={}), "no request of service"),
        ([], "no object"),
    ],
)  # fmt: skip
def test_a_faulty_command_is_listed(entry, words):
    found = load(entry, command())
    assert len(found.commands) == 1
    assert words in found.issues[0].text.en
    assert found.issues[0].place == "commands[1]"


@pytest.mark.parametrize(
    ("fmt", "words"),
    [
        ({"len": 0}, "len is 0"), ({"len": "8"}, "no number of bits"), ({"len": 8, "bix": -1}, "no number of bits"),
        ({"len": 8, "div": 0}, "div is 0"), ({"len": 8, "mul": "2"}, "no number"), ({"len": 8, "map": []}, "no table"),
        ({"len": 8, "map": {"x": "y"}}, "has the entry"), ({"len": 1024}, "1024 bits"),
        ({"len": 8, "add": float("nan")}, "no number"),
    ],
)  # fmt: skip
def test_a_faulty_signal_is_listed(fmt, words):
    found = load(command(signals=[{"id": "F", "name": "", "fmt": fmt}, GOOD]))
    assert [signal.name for signal in found.commands[0].signals] == ["S"]
    assert words in found.issues[0].text.en
    assert found.issues[0].place == "commands[1] F"


JSON_VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(["", "7E4", "22", "0101", "volts"])
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["hdr", "rax", "cmd", "22", "signals", "id", "fmt", "len", "map", "1", "filter", "from", "value"]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(entry=st.one_of(JSON_VALUES, JSON_VALUES.map(lambda value: command(signals=[value, GOOD], filter=value))))
def test_any_entry_is_used_or_listed(entry):
    found = load(entry)
    assert len(found.commands) + len(found.issues) >= 1
    for made in found.commands:
        for signal in made.signals:
            signal.decoder.decode(bytes(range(40)))


def test_service_01_numbers_come_from_the_datasheet(shared):
    found = parse_signal_set((shared / "data/obdb/SAEJ1979/default.json").read_bytes(), name="x", path="x")
    ours = sum(isinstance(signal.decoder, DatasheetValue) for made in found.commands for signal in made.signals)
    assert ours > 90
    assert found.issues == ()


def test_a_field_is_found_by_its_bits():
    for pid in PIDS.values():
        for field in pid.fields:
            width = field.bits or field.size * 8
            first = (field.start + field.size) * 8 - field.shift - width
            assert find_field(pid.number, first, width) is field
    assert find_field(0x0C, 0, 8) is None
    assert find_field(0xE7, 0, 8) is None
