"""A gateway that lets only diagnostics through: the scan says so instead of showing an empty battery."""

from __future__ import annotations

from typing import TYPE_CHECKING

import can

import virtualbus
from dbc.catalogue import user_folder
from dbc.files import EV400
from diag.broadcast import find_database, is_diagnostic_id, load_bundled, load_likely
from diag.canbus import open_can
from diag.carscan import scan
from diag.frames import Frame
from diag.guard import TransmitGuard

if TYPE_CHECKING:
    from diag.vehiclereport import VehicleReport


class Gateway:
    """Two buses and a filter between them, as in a car: only diagnostic identifiers pass."""

    def __init__(self, inside: tuple[str, str], outside: str) -> None:
        self._inside = can.Bus(interface=inside[0], channel=inside[1])
        self._outside = can.Bus(interface="virtual", channel=outside)
        self._notifier = can.Notifier(self._inside, [self._out], timeout=0.01)
        self._back = can.Notifier(self._outside, [self._in], timeout=0.01)

    def _out(self, message: can.Message) -> None:
        if is_diagnostic_id(message.arbitration_id, extended=message.is_extended_id):
            self._outside.send(message)

    def _in(self, message: can.Message) -> None:
        self._inside.send(message)

    def close(self) -> None:
        for notifier in (self._notifier, self._back):
            notifier.stop()
        for bus in (self._inside, self._outside):
            bus.shutdown()


async def scan_behind_gateway() -> VehicleReport:
    with virtualbus.running("isolation", seed=2) as car:
        gateway = Gateway((car.interface, car.channel), "behind-the-gateway")
        try:
            async with await open_can("virtual", "behind-the-gateway", guard=TransmitGuard()) as link:
                return await scan(link, listen_s=0.5)
        finally:
            gateway.close()


async def test_a_gateway_is_named_and_codes_still_speak() -> None:
    report = await scan_behind_gateway()
    assert report.battery is None
    assert any("gateway" in note.en and "网关" in note.zh for note in report.notes)
    assert [finding.code for finding in report.findings] == ["insulation.low"]
    assert report.unanswered == ()


def test_frames_of_another_car_fit_no_bundled_database() -> None:
    foreign = [Frame(can_id, bytes(8), t_ns=i) for i, can_id in enumerate((0x100, 0x110, 0x120, 0x180, 0x200) * 20)]
    assert find_database(foreign, load_bundled()) is None
    assert find_database([], load_bundled()) is None


def test_a_bundled_database_is_found_by_its_own_frames() -> None:
    with (
        virtualbus.running("healthy", seed=2) as car,
        can.Bus(interface=car.interface, channel=car.channel) as bus,
    ):
        frames = [Frame(m.arbitration_id, bytes(m.data), t_ns=i) for i in range(300) if (m := bus.recv(1.0))]
    found = find_database(frames, load_bundled())
    assert found is not None
    assert found.path == str(EV400)


def test_a_database_in_the_users_folder_is_used_without_being_told() -> None:
    folder = user_folder()
    folder.mkdir(parents=True, exist_ok=True)
    own = folder / "own.dbc"
    own.write_text(
        'BO_ 291 One: 8 X\n SG_ A : 0|8@1+ (1,0) [0|0] "" X\nBO_ 292 Two: 4 X\n SG_ B : 0|8@1+ (1,0) [0|0] "" X\n'
    )
    broken = folder / "broken.dbc"
    broken.write_text("BO_ 291 One: 8 X\nBO_ 292 Two: 4 X\n SG_ nothing\n")
    try:
        frames = [Frame(291, bytes(8), t_ns=i) for i in range(9)] + [Frame(292, bytes(4), t_ns=9)]
        found = find_database(frames, load_likely(frames))
        assert found is not None
        assert found.path == str(own)
        others = [Frame(can_id, bytes(8), t_ns=can_id) for can_id in range(300, 320)]
        assert find_database(others, load_likely(others)) is None
    finally:
        own.unlink()
        broken.unlink()
