"""Requests on J1939: the simulated bus, can-j1939 as the other end, lost packets, and what the guard lets out."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time

import can
import j1939
import pytest
from hypothesis import given
from hypothesis import strategies as st

import virtualbus
from diag.canbus import open_can
from diag.carscan import scan
from diag.errors import LinkLost, LocalProtocolError, NoAnswer, RefusedByPolicy
from diag.facts import DtcKind
from diag.guard import Risk, TransmitGuard, VehicleState
from diag.j1939gate import READABLE
from diag.j1939requests import (
    NAME,
    J1939Answer,
    J1939Tester,
    UnitReading,
    parse_freeze_frames_dm4,
    parse_identification,
)
from virtualbus.errors import Phrase
from virtualbus.faults import make_fault
from virtualbus.scenario import Scenario

CHANNELS = (f"j1939-{n}" for n in itertools.count())
SAFE = VehicleState(speed_kmh=0.0, is_charging=False, supply_v=26.0)
BUS = Scenario("bus", Phrase("bus", "bus"), "ebus", (make_fault("isolation"),))


async def test_a_unit_of_the_simulated_bus_is_read_whole():
    with virtualbus.running(BUS, seed=3) as car:
        async with await open_can(car.interface, car.channel) as link, J1939Tester(link) as tester:
            bms = await tester.read_unit(0xF3)
            (vin,) = await tester.request(0xFEEC, 0x27)
            with pytest.raises(NoAnswer):
                await tester.request(0xFEEB, 0x55)
            assert link.guard.refused == 0
    assert bms.identification["make"] == "HZSIM"
    assert bms.identification["softwareIdentification"].startswith("2710-SW-")
    assert bms.identification["ecuType"] == "BMS"
    assert vin.payload.decode() == car.car.vin + "*"
    assert 0xFECD in bms.refused, "no freeze frames there: an acknowledgement, no reading"
    assert bms.missing == 0


async def test_a_scan_asks_for_stored_codes_and_identification():
    with virtualbus.running(BUS, seed=3) as car:
        code = car.car.ecus["BMS"].memory.codes["P0AA6-1A"]
        async with await open_can(car.interface, car.channel) as link:
            code.status &= ~0x01  # it was there and is gone
            code.status |= 0x08
            car.car.ecus["BMS"].memory.recording = False
            report = await scan(link)
    assert report.vehicle.vin == car.car.vin
    stored = [dtc for dtc in report.dtcs if dtc.ecu == "0xF3"]
    assert stored
    assert DtcKind.STORED in stored[0].kind
    assert {ecu.identification.get("make") for ecu in report.ecus} == {"HZSIM"}


async def test_codes_are_cleared_only_with_grant_state_and_confirmation_of_one_unit():
    with virtualbus.running(BUS, seed=3) as car:
        guard = TransmitGuard(frozenset({Risk.READ, Risk.ASK_EACH_TIME}), state=SAFE)
        async with await open_can(car.interface, car.channel, guard=guard) as link, J1939Tester(link) as tester:
            with pytest.raises(RefusedByPolicy):
                await tester.clear(0xF3, active=True)
            guard.confirm_j1939(0xFED3, 0xF3)
            assert await tester.clear(0xF3, active=True) == 0
            with pytest.raises(RefusedByPolicy):
                await tester.clear(0xF3, active=True)
            guard.confirm_j1939(0xFED3, 0xFF)
            with pytest.raises(RefusedByPolicy):
                await tester.request(0xFED3)
            guard.state = VehicleState()
            guard.confirm_j1939(0xFECC, 0xF3)
            with pytest.raises(RefusedByPolicy):
                await tester.clear(0xF3, active=False)


class Unit:
    """One unit, its transport by hand, on python-can's in-process bus; ``lose`` names packets lost the first time."""

    def __init__(self, channel: str, payload: bytes, lose: tuple[int, ...] = (), stays_silent_after: int = 999) -> None:
        self.bus = can.Bus(interface="virtual", channel=channel)
        self.payload, self.lose, self.left = payload, set(lose), stays_silent_after
        self.heard: list[bytes] = []
        self._on = True
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self._on = False
        self.thread.join()
        self.bus.shutdown()

    def send(self, kind: int, data: bytes) -> None:
        message = can.Message(arbitration_id=7 << 26 | kind << 16 | 0xF900 | 0x30, data=data, is_extended_id=True)
        self.bus.send(message)

    def _run(self) -> None:
        packets = -(-len(self.payload) // 7)
        while self._on:
            message = self.bus.recv(0.05)
            if message is None or message.arbitration_id & 0xFF != 0xF9:
                continue
            kind = message.arbitration_id >> 16 & 0xFF
            if kind == 0xEA:
                group = bytes(message.data)
                size = len(self.payload).to_bytes(2, "little")
                self.send(0xEC, bytes([0x10, *size, packets, 0xFF]) + group)
            elif kind == 0xEC:
                self.heard.append(bytes(message.data))
                if message.data[0] == 0x11:
                    for number in range(message.data[2], message.data[2] + message.data[1]):
                        if number in self.lose:
                            self.lose.discard(number)
                        elif self.left > 0:
                            self.left -= 1
                            part = self.payload[7 * number - 7 : 7 * number].ljust(7, b"\xff")
                            self.send(0xEB, bytes([number]) + part)


async def test_lost_packets_are_asked_for_again():
    channel, payload = next(CHANNELS), bytes(range(40))
    with Unit(channel, payload, lose=(3, 5)) as unit:
        async with await open_can("virtual", channel) as link, J1939Tester(link) as tester:
            (answer,) = await tester.request(0xFEEB, 0x30)
    assert (answer.payload, answer.missing) == (payload, 0)
    assert [data[0] for data in unit.heard] == [0x11, 0x11, 0x13]
    assert unit.heard[1][1:3] == bytes([4, 3]), "from the first that is missing on"


async def test_what_never_comes_is_said_and_the_session_is_aborted():
    channel, payload = next(CHANNELS), bytes(range(40))
    with Unit(channel, payload, stays_silent_after=2) as unit:
        async with await open_can("virtual", channel) as link, J1939Tester(link) as tester:
            (answer,) = await tester.request(0xFEEB, 0x30)
            await asyncio.sleep(0.1)
    assert (answer.payload, answer.missing) == (payload[:14], 26)
    assert unit.heard[-1][0] == 0xFF


async def test_can_j1939_answers_and_understands(request):
    """An independent implementation as the other end: its answers in one frame, and its view of our requests."""
    channel = next(CHANNELS)
    asked: list[int] = []
    ecu = j1939.ElectronicControlUnit()
    ecu.connect(interface="virtual", channel=channel)
    request.addfinalizer(ecu.disconnect)
    name = j1939.Name(identity_number=7, manufacturer_code=1, function=0x30, arbitrary_address_capable=0)

    class Bms(j1939.ControllerApplication):
        pass

    app = Bms(name, 0x30)
    ecu.add_ca(controller_application=app)

    def on_request(source, destination, pgn):
        asked.append(pgn)
        app.send_pgn(0, pgn >> 8 & 0xFF, pgn & 0xFF, 6, [0x44, 0xFF, 0x5B, 0x0C, 0x03, 0x05, 0xFF, 0xFF])

    app.subscribe_request(on_request)
    app.start()
    await asyncio.sleep(0.5)
    async with await open_can("virtual", channel) as link, J1939Tester(link) as tester:
        (answer,) = await tester.request(0xFECB, 0x30)
    app.stop()
    assert asked == [0xFECB]
    reading = UnitReading(0x30)
    reading.take(answer)
    assert [(dtc.spn, dtc.fmi, dtc.occurrences) for dtc in reading.dtcs] == [(3163, 3, 5)]


async def test_a_taken_address_is_left_to_its_owner():
    channel = next(CHANNELS)
    done = threading.Event()

    def owner(address: int) -> None:
        with can.Bus(interface="virtual", channel=channel) as bus:
            while not done.is_set():
                message = bus.recv(0.05)
                if message is not None and message.arbitration_id == 0x18EEFF00 | address:
                    lower = bytes(7) + b"\x80"
                    bus.send(can.Message(arbitration_id=0x18EEFF00 | address, data=lower, is_extended_id=True))

    threads = [threading.Thread(target=owner, args=(address,)) for address in (0xF9, 0xFA)]
    async with await open_can("virtual", channel) as link:
        tester = J1939Tester(link)
        with pytest.raises(LocalProtocolError):
            await tester.request(0xFECB, 0x30)
        threads[0].start()
        await asyncio.sleep(0.1)
        await tester.claim()
        assert tester.address == 0xFA
        threads[1].start()
        await asyncio.sleep(0.1)
        with pytest.raises(LocalProtocolError):
            await J1939Tester(link).claim()
    done.set()
    for thread in threads:
        thread.join()


@given(st.integers(0, 0x3FFFF), st.integers(-1, 0x100), st.integers(0, 0xFF))
def test_only_named_groups_are_ever_asked_for(pgn, destination, source):
    guard = TransmitGuard(frozenset(Risk), state=SAFE)
    is_fine = pgn in READABLE and 0 <= destination <= 0xFF and source in (0xF9, 0xFA)
    try:
        guard.open_j1939(pgn, destination, source)
    except RefusedByPolicy:
        assert not is_fine
    else:
        assert is_fine
    assert guard.sent == 0


@given(st.integers(0, 0x1FFFFFFF), st.binary(max_size=8))
def test_frames_outside_of_an_exchange_do_not_leave(can_id, data):
    guard = TransmitGuard(frozenset(Risk), state=SAFE)
    exchange = guard.open_j1939(0xFECB, 0x30, 0xF9)
    allowed = (can_id & 0x3FFFFFF == 0xEA30F9, data == b"\xcb\xfe\x00")
    try:
        guard.check_frame(can_id, data, extended=True)
    except RefusedByPolicy:
        assert allowed != (True, True)
    else:
        assert allowed == (True, True)
    guard.close_j1939(exchange)
    with pytest.raises(RefusedByPolicy):
        guard.check_frame(0x18EA30F9, b"\xcb\xfe\x00", extended=True)


def test_replies_need_an_announcement_and_are_counted():
    guard = TransmitGuard()
    cts = b"\x11\x06\x01\xff\xff\xeb\xfe\x00"
    guard.open_j1939(0xFEEB, 0x30, 0xF9)
    guard.check_frame(0x18EA30F9, b"\xeb\xfe\x00", extended=True)
    for bad in (b"\xeb\xfe\x00",):
        with pytest.raises(RefusedByPolicy):
            guard.check_frame(0x18EA30F9, bad, extended=True)
    with pytest.raises(RefusedByPolicy):
        guard.check_frame(0x1CEC30F9, cts, extended=True)
    guard.observe(0x1CECF931, b"\x10\x28\x00\x06\xff\xeb\xfe\x00", extended=True)
    with pytest.raises(RefusedByPolicy):
        guard.check_frame(0x1CEC31F9, cts, extended=True)
    guard.observe(0x1CECF930, b"\x10\x28\x00\x06\xff\xeb\xfe\x00", extended=True)
    guard.check_frame(0x1CEC30F9, cts, extended=True)
    with pytest.raises(RefusedByPolicy):
        guard.check_frame(0x1CEC30F9, cts[:5] + b"\xcb\xfe\x00", extended=True)


@given(st.integers(0, 0x3FFFF), st.binary(max_size=60), st.integers(0, 40))
def test_any_answer_is_taken_without_an_undeclared_error(pgn, payload, missing):
    for group in (pgn, 0xFECB, 0xFEEC, 0xFEEB, 0xFEDA, 0xFDC5, 0xFECE, 0xFECD, 0xC100):
        UnitReading(1).take(J1939Answer(1, group, payload, missing=missing))
    parse_freeze_frames_dm4(payload)


def test_fields_readiness_and_freeze_frames_by_their_layout():
    """Standard: SAE J1939-71 (component identification), J1939-73 (DM4, DM5, DM21)."""
    assert parse_identification(0xFEEB, b"HZSIM*BMS**7*\xff") == {"make": "HZSIM", "model": "BMS", "unitNumber": "7"}
    unit = UnitReading(1)
    unit.take(J1939Answer(1, 0xFECE, bytes([1, 2, 27, 0x07, 0x21, 0, 0x20, 0])))
    assert [m.name for m in unit.readiness.monitors if m.is_supported and not m.is_complete] == ["oxygenSensor"]
    unit.take(J1939Answer(1, 0xC100, bytes([0, 0, 0x2C, 0x01, 0, 0, 0xFF, 0xFF])))
    assert unit.since_clear == (300, None)
    (frame,) = parse_freeze_frames_dm4(b"\x06\x5b\x0c\x03\x05\x01\x02\x00\x00")
    assert frame == ("SPN 3163 FMI 3", bytes.fromhex("5B0C03050102"))
    assert len(NAME) == 8


async def test_a_lost_adapter_ends_the_request():
    channel = next(CHANNELS)
    async with await open_can("virtual", channel) as link, J1939Tester(link) as tester:
        asyncio.get_running_loop().call_later(0.2, link.lose, OSError("gone"))
        begun = time.monotonic()
        with pytest.raises(LinkLost):
            await tester.request(0xFECB, 0x30)
        assert time.monotonic() - begun < 1.0
