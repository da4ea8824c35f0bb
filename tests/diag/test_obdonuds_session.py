"""Legislated diagnostics through UDS, from the simulated car that has no others, and from odd ECUs."""

from __future__ import annotations

import itertools

import pytest
from scripted_ecu import Rig, ScriptedEcu, answers_from_table

import virtualbus
from diag.addressing import Target
from diag.canbus import open_can
from diag.carscan import scan
from diag.obdonuds import ObdOnUdsSession
from diag.request import IsoTpLink, Timing

CHANNELS = (f"obdonuds{n}" for n in itertools.count())
VCU, BMS = Target.physical(0x7E0), Target.physical(0x7E4)
QUICK = Timing(answer_s=0.05, window_s=0.05)


async def test_a_car_without_services_01_to_0a_is_read_whole():
    with virtualbus.running("zev", seed=4) as car:
        async with await open_can(car.interface, car.channel) as link, IsoTpLink(link) as requests:
            session = ObdOnUdsSession(requests)
            vcu, bms = await session.detect(VCU), await session.detect(BMS)
            assert {0x01, 0x0D, 0x30, 0x31} <= vcu.parameters
            assert (vcu.group, 0x02 in vcu.information) == (0x33, True)
            assert (await session.read_information(vcu)).vin == car.car.vin
            values = {reading.name: reading.value for reading in await session.read_parameters(bms)}
            assert 300 < values["tractionBatteryVoltage"] < 450
            codes = await session.read_codes(bms)
            assert codes.is_ready is True
            assert codes.tested >= 3
            assert (await session.read_since_clear(vcu)).distance_km > 1000
            report = await scan(link)
    assert {ecu.protocol for ecu in report.ecus if ecu.address >= "0x7E8"} == {"obd-on-uds+uds"}
    assert report.readiness["0x7EC"]["ready_by_code"] is True
    assert report.vehicle.vin == car.car.vin


async def test_permanent_codes_stay_after_clearing_and_readiness_is_by_code():
    with virtualbus.running("zev", seed=4) as car:
        bms = car.car.ecus["BMS"]
        code = next(code for code in bms.memory.codes.values() if code.test.legislated)
        code.status, code.permanent = 0x50, True
        async with await open_can(car.interface, car.channel) as link, IsoTpLink(link) as requests:
            session = ObdOnUdsSession(requests)
            codes = await session.read_codes(await session.detect(BMS))
    assert [kind.value for dtc in codes.dtcs for kind in dtc.kind] == ["permanent"]
    assert codes.is_ready is False
    assert codes.untested == (code.test.dtc,)


async def test_an_obd_car_is_not_taken_for_one():
    with virtualbus.running("healthy", seed=4) as car:
        async with await open_can(car.interface, car.channel) as link, IsoTpLink(link) as requests:
            assert await ObdOnUdsSession(requests).detect(BMS) is None


VIN = b"LHZZU6D07RA775411"


@pytest.mark.parametrize("counted", [b"", b"\x01"])
async def test_the_number_of_items_may_be_there_or_not(counted):
    table = {"22F400": "62F40000000000", "22F800": "62F80040000000", "22F802": "62F802" + (counted + VIN).hex()}
    channel = next(CHANNELS)
    with Rig(channel, ScriptedEcu(0x7E0, 0x7E8, answers_from_table(table))):
        async with await open_can("virtual", channel) as link, IsoTpLink(link, timing=QUICK) as requests:
            session = ObdOnUdsSession(requests)
            assert (await session.read_information(await session.detect(VCU))).vin == VIN.decode()


async def test_the_other_functional_group_is_tried_and_none_is_no_reading():
    table = {
        "22F400": "62F40000000000",
        "1942FE0CFF": "5942FE7FFF04",
        "1942FEFFFF": "5942FE7FFF04" + "40" + "0AA61A" + "2F",
        "1955FE": "7F1931",
    }
    channel = next(CHANNELS)
    with Rig(channel, ScriptedEcu(0x7E0, 0x7E8, answers_from_table(table))):
        async with await open_can("virtual", channel) as link, IsoTpLink(link, timing=QUICK) as requests:
            session = ObdOnUdsSession(requests)
            found = await session.detect(VCU)
            assert found.group == 0xFE
            assert [dtc.display for dtc in (await session.read_codes(found)).dtcs] == ["P0AA6-1A"]
    table.pop("1942FE0CFF")
    channel = next(CHANNELS)
    with Rig(channel, ScriptedEcu(0x7E0, 0x7E8, answers_from_table(table))):
        async with await open_can("virtual", channel) as link, IsoTpLink(link, timing=QUICK) as requests:
            found = await ObdOnUdsSession(requests).detect(VCU)
            assert found.group is None
            codes = await ObdOnUdsSession(requests).read_codes(found)
            assert (codes.dtcs, codes.is_ready) == ((), None)
