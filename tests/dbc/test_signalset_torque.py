"""Torque's CSV and its equations."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbc.errors import NotASignalSet
from dbc.signalset.decoding import AnswerDecoder
from dbc.signalset.equation import BadEquationError, parse_equation
from dbc.signalset.loading import load_signal_set, parse_signal_set

CSV = """Name,ShortName,ModeAndPID,Equation,Min Value,Max Value,Units,Header
"State of Charge BMS","SOC BMS",0x220101,"e/2",0,100,"%",7E4
"Battery Current","Batt I",0x220101,"((Signed(K)*256)+L)/10",-230,230,"A",7E4
"Charging","Chg",220101,{J:7},0,1,"",0x7E4
"Charging","Chg",220101,{J:6},0,1,"",0x7E4
Cell 33,C33,220103,INT16(E:F)/1000,0,5,V,18DA10F1
Nothing,No,220101,val{other}*2,0,1,V,7E4
No request,No,xyz,A,0,1,V,7E4
"""


def load(text: str, name: str = "torque"):
    return parse_signal_set(text.encode(), name=name, path=f"{name}.csv")


def test_rows_become_requests_with_decoders():
    torque = load(CSV)
    assert [(command.text, len(command.signals)) for command in torque.commands] == [
        ("7E4.220101", 4), ("18DA10F1.220103", 1),
    ]  # fmt: skip
    assert [issue.place for issue in torque.issues] == ["line 7 Nothing", "line 8 No request"]
    data = bytes([0, 0, 0, 0, 90, 0, 0, 0, 0, 0x80, 0xFC, 0xBA])
    decoded = AnswerDecoder([torque]).decode("7E4.7EC.220101", (b"\x62\x01\x01" + data).hex())
    assert {name: sample.value for name, sample in decoded.samples.items()} == {
        "State of Charge BMS": 45, "Battery Current": -83.8, "Charging": 1, "Charging (2)": 0,
    }  # fmt: skip
    assert decoded.samples["Battery Current"].raw == bytes.fromhex("FCBA")
    assert decoded.ecu == "0x7EC"
    assert decoded.command.signals[1].unit == "A"


@pytest.mark.parametrize(
    ("equation", "data", "value"),
    [
        ("A", "05", 5), ("a*256+b", "0102", 258), ("(A-40)", "00", -40), ("A/2+B%3", "0305", 3.5), ("-A", "02", -2),
        ("SIGNED(A)", "FF", -1), ("signed(A*256+B)", "FF9C", -100), ("INT16(A:B)", "0100", 256),
        ("INT32(A,B,C,D)", "00000102", 258), ("FLOAT32(A:B:C:D)", "3FC00000", 1.5), ("{A:7}", "80", 1),
        ("A&0x0F", "AB", 11), ("A>>4", "AB", 10), ("A<<1|1", "02", 5), ("MAX(A,B)-MIN(A,B)", "0207", 5),
        ("ABS(A-10)", "02", 8), ("AA", "00" * 26 + "07", 7), ("2+3*A", "04", 14), ("A^B", "0503", 6),
    ],
)  # fmt: skip
def test_an_equation(equation, data, value):
    assert parse_equation(equation).decode(bytes.fromhex(data)).value == value


@pytest.mark.parametrize(
    "equation",
    ["", "A+", "(A", "A)", "3*4", "val{x}", "LOOKUP(A)", "__import__('os')", "A;B", "{A:9}", "INT16(A)", "(" * 90 + "A",
     "A" + "+A" * 300],
)  # fmt: skip
def test_a_bad_equation_is_refused(equation):
    with pytest.raises(BadEquationError):
        parse_equation(equation)


def test_no_result_is_no_value():
    assert parse_equation("A/B").decode(b"\x01\x00").value is None
    assert parse_equation("A+D").decode(b"\x01\x00").value is None


@settings(max_examples=200, deadline=None)
@given(text=st.text(alphabet="AB0123456789+-*/%&|^(){}:,<> SIGNEDMAXINT.", max_size=60), data=st.binary(max_size=8))
def test_any_equation_is_compiled_or_refused(text, data):
    try:
        equation = parse_equation(text)
    except BadEquationError:
        return
    value = equation.decode(data).value
    assert value is None or isinstance(value, (int, float))


@settings(max_examples=100, deadline=None)
@given(content=st.one_of(st.binary(max_size=200), st.binary(max_size=100).map(lambda rest: CSV.encode() + rest)))
def test_any_file_is_a_set_or_refused(content):
    try:
        found = parse_signal_set(content, name="x", path="x")
    except NotASignalSet:
        return
    assert found.name == "x"


def test_a_file_that_is_none_is_refused(tmp_path):
    for name, content in {"a.json": b'{"commands": 3}', "b.csv": b"a,b\n1,2\n", "c.json": b"{"}.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(NotASignalSet, match=name):
            load_signal_set(path)
