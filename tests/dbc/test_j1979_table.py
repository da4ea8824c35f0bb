"""Every parameter of the datasheet's public table: there, as long as it says, and by its formula."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbc.j1979 import PID_LENGTHS, PIDS
from diag.pids import decode_pid


def rows(shared):
    """PID numbers and lengths of the table; where it names two lengths, the newer one stands first."""
    section = (shared / "standards/obd2.md").read_text(encoding="utf-8").split("## 5.")[1].split("## 6.")[0]
    for names, length in re.findall(r"^\| \*{0,2}([0-9A-F][0-9A-F ,/-]*?)\*{0,2} \| ([0-9,]+)", section, re.MULTILINE):
        numbers: list[int] = []
        for part in re.split(r"[ ,/]+", names.strip()):
            first, _, last = part.partition("-")
            numbers += range(int(first, 16), int(last or first, 16) + 1)
        lengths = [int(one) for one in length.split(",")]
        yield from zip(numbers, lengths if len(lengths) == len(numbers) else lengths * len(numbers), strict=False)


def test_all_of_them_are_decoded(shared):
    table = dict(rows(shared))
    assert len(table) > 165
    own_code = {0x02, 0x41}
    assert {f"{number:02X}" for number in table if number not in PIDS} == {f"{number:02X}" for number in own_code}
    wrong = {f"{n:02X}": (PID_LENGTHS[n], length) for n, length in table.items() if PID_LENGTHS[n] != length}
    assert set(wrong) <= {"92"}, wrong


def test_no_value_lies_outside_its_parameter_and_no_name_comes_twice():
    names = [field.name for pid in PIDS.values() for field in pid.fields]
    assert len(set(names)) == len(names)
    for pid in PIDS.values():
        assert all(field.start + field.size <= pid.length for field in pid.fields), hex(pid.number)
        assert all(field.text.en and re.search("[\u4e00-\u9fff]|^[A-Z]", field.text.zh) for field in pid.fields)


@pytest.mark.parametrize(
    ("number", "data", "expected"),
    [
        (0x13, "33", {"oxygenSensorB1S1Present": 1, "oxygenSensorB1S3Present": 0, "oxygenSensorB2S2Present": 1}),
        (0x50, "7A000000", {"maximumAirFlow": 1220}),
        (0x55, "8090", {"shortTermSecondaryTrimBank1": 0.0, "shortTermSecondaryTrimBank3": 12.5}),
        (0x65, "1F51", {"ptoStatus": 1, "recommendedGear": 5, "glowLamp": 0}),
        (0x65, "0051", {"ptoStatus": None, "recommendedGear": None}),
        (0x69, "07FF80C0000000", {"egrCommandedA": 100.0, "egrErrorA": 50.0, "egrErrorB": None}),
        (0x6B, "1132003200", {"egrTemperature1": 160, "egrTemperature2": None}),
        (0x70, "070C8006400000000001", {"boostCommandedA": 100.0, "boostActualA": 50.0, "boostStatusA": 1}),
        (0x74, "0130390000", {"turboSpeedA": 123450, "turboSpeedB": None}),
        (0x7A, "07FF38006403E8", {"dpfDeltaPressureB1": -2.0, "dpfInletPressureB1": 1.0, "dpfOutletPressureB1": 10.0}),
        (0x83, "0100FA000000000000", {"noxB1S1": 250, "noxB1S2": None}),
        (0x8C, "11FFFF000000000000" + "2000" + 6 * "00", {"oxygenConcentrationB1S1": 100.0, "exhaustLambdaB1S1": 1.0}),
        (0xA4, "035004D2", {"actualGear": 5, "gearRatio": 1.234}),
    ],
)  # fmt: skip
def test_formulas_by_hand(number, data, expected):
    """Standard: SAE J1979-DA; worked by hand from the formulas of the table."""
    found = {reading.name: reading.value for reading in decode_pid(number, bytes.fromhex(data))}
    assert {name: found[name] for name in expected} == {
        name: pytest.approx(value) if isinstance(value, float) else value for name, value in expected.items()
    }


@given(st.sampled_from(sorted(PIDS)), st.binary(max_size=45))
def test_any_bytes_give_values_or_none(number, data):
    for reading in decode_pid(number, data):
        assert reading.value is None or len(reading.raw) > 0
