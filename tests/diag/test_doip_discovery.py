"""Finding gateways over UDP: the simulated one, doipclient's view of the same message, and noise."""

from __future__ import annotations

import pytest
from doipclient import messages
from hypothesis import given
from hypothesis import strategies as st

from diag.doipdiscovery import find_gateways, parse_announcement
from virtualbus.car import Car
from virtualbus.fronts import open_front, parse_front
from virtualbus.runner import CarRunner
from virtualbus.scenario import find_scenario


async def test_the_simulated_gateway_announces_itself() -> None:
    front = open_front(parse_front("doip:0"))
    car = Car(find_scenario("healthy"), 3)
    runner = CarRunner(car, [front])
    runner.start()
    try:
        (gateway,) = await find_gateways("127.0.0.1", int(str(front.description["port"])))
    finally:
        runner.stop()
    assert (gateway.vin, gateway.logical_address, gateway.further_action) == (car.vin, 0x1000, 0)
    assert gateway.adapter == f"doip:127.0.0.1:{front.description['port']}"


@pytest.mark.parametrize("sync", [b"", b"\x00"])
def test_the_message_of_doipclient_is_read(sync: bytes) -> None:
    vin, eid, gid = b"LHZEV4D07RA775411", bytes(range(6)), bytes(range(6, 12))
    payload = vin + b"\x10\x00" + eid + gid + b"\x10" + sync
    theirs = messages.VehicleIdentificationResponse.unpack(payload, len(payload))
    header = b"\x02\xfd\x00\x04" + len(payload).to_bytes(4, "big")
    ours = parse_announcement(header + payload, "192.0.2.1", 13400)
    assert ours is not None
    assert (ours.vin, ours.logical_address, ours.eid, ours.gid) == (
        theirs.vin,
        theirs.logical_address,
        theirs.eid,
        theirs.gid,
    )
    assert ours.adapter == "doip:192.0.2.1"


@given(st.binary(max_size=60))
def test_noise_is_nobody(data: bytes) -> None:
    assert parse_announcement(data, "::1", 1) is None or data[2:4] == b"\x00\x04"


async def test_nobody_there_is_an_empty_list() -> None:
    assert await find_gateways("127.0.0.1", 9, seconds=0.05) == ()
