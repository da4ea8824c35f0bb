"""On-board monitors: scaling, limits, counters; and what is told of them and of cleared codes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import virtualbus
from diag.canbus import open_can
from diag.carscan import scan
from diag.facts import Severity
from diag.findings import findings_from_facts
from diag.obd import ObdSession
from diag.obdmonitors import SCALINGS, SinceClear, parse_in_use, parse_monitor_results
from diag.request import IsoTpLink, Target

ECM = Target.physical(0x7E2)


def one(record: str):
    (result,), rest = parse_monitor_results("0x7E8", bytes.fromhex("46" + record))
    assert rest == 0
    return result


@pytest.mark.parametrize(
    ("record", "value", "low", "high", "unit", "passed"),
    [
        ("01 01 0A 0E0B 0BB8 FFFF", 438.59, 366.0, 7995.27, "mV", True),  # 3595 x 0.122 mV
        ("A2 0C 24 0003 0000 0002", 3.0, 0.0, 2.0, "count", False),
        ("21 80 84 FFFE FF9C 0064", -0.002, -0.1, 0.1, "", True),
        ("21 80 04 FFFE FF9C FFFF", 65.534, 65.436, 65.535, "", True),  # the same bytes without a sign
        ("3D 80 FE FE00 FC00 0000", -128.0, -256.0, 0.0, "Pa", True),
        ("05 80 16 01F4 0000 0FA0", 10.0, -40.0, 360.0, "degC", True),
        ("05 80 79 0001 0000 0002", None, None, None, "", True),
        ("05 80 F9 FFFF 0000 0002", None, None, None, "", False),
        ("31 80 01 0000 0000 0000", 0.0, 0.0, 0.0, "", None),  # it has not run
    ],
)
def test_values_and_limits_are_scaled_and_compared_as_sent(record, value, low, high, unit, passed):
    result = one(record)
    assert (result.value, result.minimum, result.maximum, result.unit, result.is_passed) == (
        pytest.approx(value) if value is not None else None,
        pytest.approx(low) if low is not None else None,
        pytest.approx(high) if high is not None else None,
        unit,
        passed,
    )


def test_scalings_have_the_units_of_the_table():
    assert len(SCALINGS) == 65 + 27
    assert SCALINGS[0x39].offset == -327.68
    assert all(known.is_signed == (number >= 0x80) for number, known in SCALINGS.items())


def test_identifier_form_has_records_with_or_without_the_monitor():
    plain, _ = parse_monitor_results("x", bytes.fromhex("62F6A1 0C24 0001 0000 0002"))
    repeated, _ = parse_monitor_results("x", bytes.fromhex("62F6A1 A10C24 0001 0000 0002"))
    assert [(r.monitor, r.test, r.value) for r in plain] == [(r.monitor, r.test, r.value) for r in repeated]
    cut, rest = parse_monitor_results("x", bytes.fromhex("62F6A1 0C24 0001 0000 0002 0B24 00"))
    assert (len(cut), rest) == (1, 3)


@given(st.binary(max_size=60), st.sampled_from([b"\x46", b"\x62\xf6", b"\x62\xf6\xa1", b""]))
def test_any_bytes_give_results_or_none(data, head):
    results, rest = parse_monitor_results("x", head + data)
    assert 0 <= rest <= len(head + data)
    assert all(len(result.raw) == 6 for result in results)
    for number in (0x08, 0x0B):
        parse_in_use(number, data)


def test_in_use_counters_of_both_kinds_of_ignition():
    data = bytes([20]) + b"".join(n.to_bytes(2, "big") for n in range(100, 120))
    spark = parse_in_use(0x08, data)
    assert (spark.conditions, spark.ignitions, len(spark.monitors)) == (100, 101, 9)
    assert (spark.monitors[0][0], *spark.monitors[0][2:]) == ("catalystB1", 102, 103)
    diesel = parse_in_use(0x0B, bytes([18]) + data[1:37])
    assert diesel.monitors[0][0] == "nmhcCatalyst"
    assert parse_in_use(0x08, data[1:]).ignitions == 101, "without the number of items"
    assert parse_in_use(0x08, data[:21]) is None, "cut"


async def test_results_of_the_simulated_engine_fail_where_it_misfires():
    with virtualbus.running("misfire", seed=2) as car:
        async with await open_can(car.interface, car.channel) as link, IsoTpLink(link) as requests:
            results = {result.monitor: result for result in await ObdSession(requests).read_monitor_results(ECM)}
            information = await ObdSession(requests).read_vehicle_information(ECM)
    assert set(results) == {0x81, 0xA1}
    assert results[0xA1].is_passed is False
    assert results[0x81].is_passed is True
    assert 0 < information.in_use.conditions <= information.in_use.ignitions


async def test_a_scan_says_that_codes_were_cleared_shortly_before():
    with virtualbus.running("healthy", seed=2) as car:
        async with await open_can(car.interface, car.channel) as link:
            before = await scan(link)
            car.car.ecus["VCU"].clear()
            after = await scan(link)
    assert not before.findings
    (cleared,) = after.findings
    assert (cleared.code, cleared.severity) == ("data.codes-cleared", Severity.LOW)
    assert after.readiness["0x7E8"]["since_clear"]["distance_km"] == 0


@pytest.mark.parametrize(
    ("since", "is_told"),
    [
        (SinceClear(), False),
        (SinceClear(warm_ups=0), True),
        (SinceClear(warm_ups=0, distance_km=5000), False),  # an electric car never warms up
        (SinceClear(warm_ups=200, distance_km=3), True),
        (SinceClear(minutes=4), False),
    ],
)
def test_distance_counts_more_than_warm_ups(since, is_told):
    found = findings_from_facts(dtcs=(), battery=None, since_clear={"0x7E8": since})
    assert [finding.code for finding in found] == (["data.codes-cleared"] if is_told else [])
