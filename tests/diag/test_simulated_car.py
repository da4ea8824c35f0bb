"""The services against the simulated car, whose ECUs and ISO-TP are not ours: can-isotp and cantools built it."""

from __future__ import annotations

import pytest

import virtualbus
from diag.addressing import Target
from diag.canbus import open_can
from diag.dtc import parse_obd_dtcs, parse_uds_dtcs
from diag.errors import NoAnswer
from diag.obd import ObdSession
from diag.request import IsoTpLink, Timing
from diag.uds import UdsSession, parse_freeze_frames, read_identifications

ECUS = {"0x7E8": 0x7E0, "0x7E9": 0x7E1, "0x7EC": 0x7E4, "0x7ED": 0x7E5, "0x7EE": 0x7E6, "0x7EF": 0x7E7}
BMS = Target.physical(0x7E4)


@pytest.fixture
async def weak_car():
    with virtualbus.running("weak-cell", seed=7) as car:
        async with await open_can(car.interface, car.channel) as link, IsoTpLink(link) as requests:
            yield requests


async def test_every_ecu_answers_and_offers_its_own_pids(weak_car):
    session = ObdSession(weak_car)
    found = {ecu.ecu: ecu for ecu in await session.find_ecus()}
    assert set(found) == set(ECUS)
    values = {r.name: r.value for r in (await session.read_pids(found["0x7EC"])).readings}
    assert 300 < values["tractionBatteryVoltage"] < 450
    assert 0 < values["tractionBatteryCharge"] < 100
    assert values["fuelType"] == 8
    readiness = await session.read_readiness(found["0x7E8"])
    assert readiness.is_applicable is False
    information = await session.read_vehicle_information(found["0x7E8"].target)
    assert len(information.vin) == 17
    assert weak_car.link.guard.refused == 0


async def test_obd_and_uds_tell_the_same_codes(weak_car):
    session = ObdSession(weak_car)
    (answer,) = [answer for answer in await session.read_codes(0x03) if answer.ecu == "0x7EC"]
    obd = {dtc.code for dtc in parse_obd_dtcs(answer.payload).dtcs}
    uds_session = UdsSession(weak_car, BMS)
    times = await uds_session.start_default_session()
    assert times.p2_s <= 0.1
    uds = parse_uds_dtcs((await uds_session.read_codes(0x08)).whole().payload)
    assert obd == {dtc.code for dtc in uds.dtcs}
    assert "P0DE6" in obd
    assert (await uds_session.count_codes(0x08)).count == len(uds.dtcs)


async def test_the_snapshot_of_a_code_is_decoded_and_agrees_with_the_freeze_frame(weak_car):
    uds_session = UdsSession(weak_car, BMS)
    codes = parse_uds_dtcs((await uds_session.read_codes(0x08)).whole().payload).dtcs
    cell = next(dtc for dtc in codes if dtc.code == "P0DE6")
    first, *_ = parse_freeze_frames((await uds_session.read_snapshots(cell.raw[:3])).whole())
    assert first.code == cell.display
    snapshot = {reading.name: reading.value for reading in first.readings}
    session = ObdSession(weak_car)
    (bms,) = [ecu for ecu in await session.find_ecus() if ecu.ecu == "0x7EC"]
    frozen = await session.read_freeze_frame(bms)
    frame = {reading.name: reading.value for reading in frozen.readings}
    assert frozen.code in {dtc.code for dtc in codes}
    if frozen.code == cell.code:
        assert frame["tractionBatteryVoltage"] == snapshot["tractionBatteryVoltage"]
    extended = (await uds_session.read_extended(cell.raw[:3])).whole()
    assert all(item.source == "uds-extended" for item in parse_freeze_frames(extended))


async def test_identification_of_all_ecus_side_by_side(weak_car):
    found = await read_identifications(weak_car, [Target.physical(request_id) for request_id in ECUS.values()])
    assert [item.ecu for item in found] == list(ECUS)
    assert len({item.texts["vehicleManufacturerECUSoftwareVersionNumber"] for item in found}) > 1
    assert {item.vin for item in found} - {None} == {found[0].vin}
    for item in found:
        assert item.silent == ()
        assert {negative.nrc for negative in item.refused.values()} <= {0x31}


async def test_a_silent_bms_is_silent_to_every_question():
    timing = Timing(answer_s=0.1, window_s=0.2)
    with virtualbus.running("lost-bms", seed=7) as car:
        async with await open_can(car.interface, car.channel) as link, IsoTpLink(link, timing=timing) as requests:
            assert {ecu.ecu for ecu in await ObdSession(requests).find_ecus()} == set(ECUS) - {"0x7EC"}
            with pytest.raises(NoAnswer, match="0x7EC"):
                await UdsSession(requests, BMS).start_default_session()
