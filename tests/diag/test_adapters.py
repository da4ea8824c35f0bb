"""What is plugged in: a made-up /sys, and simulated adapters on pseudo-terminals that are really asked."""

from __future__ import annotations

import os
import time
import tty
from typing import TYPE_CHECKING

import pytest

from diag.adapters import Candidate, find_adapters, listen_to
from diag.serialport import claim_port
from virtualbus.car import Car
from virtualbus.fronts import open_front, parse_front
from virtualbus.runner import CarRunner
from virtualbus.scenario import find_scenario

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RATES = (500_000, 250_000, 1_000_000, 125_000)


@pytest.fixture
def no_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """No serial port but those that the test names."""
    monkeypatch.setattr("serial.tools.list_ports.comports", list)


@pytest.fixture
def adapters(request: pytest.FixtureRequest, no_ports: None) -> Iterator[list[str]]:
    scenario, *kinds = request.param
    fronts = [open_front(parse_front(kind)) for kind in kinds]
    runner = CarRunner(Car(find_scenario(scenario)), fronts)
    runner.start()
    try:
        yield [str(front.description["channel"]) for front in fronts]
    finally:
        runner.stop()


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


@pytest.mark.parametrize(
    "adapters", [("isolation", "slcan", "elm327:pty", "elm327:pty:clone-1.5")], indirect=True, ids=["three"]
)
def test_adapters_are_asked_who_they_are(adapters: list[str], tmp_path: Path) -> None:
    started = time.monotonic()
    found = {one.channel: one for one in find_adapters(adapters, root=tmp_path)}
    assert time.monotonic() - started < 10
    slcan, chip, clone = (found[channel] for channel in adapters)
    assert slcan.options == ("-i", "slcan", "-c", adapters[0])
    assert chip.options == ("--adapter", f"elm327:{adapters[1]}")
    assert chip.name == "ELM327 v2.2"
    assert clone.kind == "elm327"
    assert all(one.is_usable for one in found.values())


@pytest.mark.parametrize(
    ("adapters", "bitrate"), [(("isolation", "slcan"), 500_000), (("ebus", "slcan"), 250_000)], indirect=["adapters"]
)
def test_the_speed_is_found_by_listening(adapters: list[str], bitrate: int, tmp_path: Path) -> None:
    (adapter,) = find_adapters(adapters, root=tmp_path)
    heard = listen_to(adapter, RATES, 0.5)
    assert heard.bitrate == bitrate
    assert heard.frames > 50
    assert heard.identifiers > 10
    assert heard.tried == list(RATES[: RATES.index(bitrate) + 1])


@pytest.mark.parametrize("adapters", [("isolation", "slcan")], indirect=True)
def test_a_bus_at_none_of_the_speeds_is_silent(adapters: list[str], tmp_path: Path) -> None:
    (adapter,) = find_adapters(adapters, root=tmp_path)
    heard = listen_to(adapter, (125_000,), 0.3)
    assert (heard.bitrate, heard.frames, heard.tried) == (None, 0, [125_000])


def test_something_that_is_no_adapter(no_ports: None, tmp_path: Path) -> None:
    leader, follower = os.openpty()
    tty.setraw(follower)
    try:
        (one,) = find_adapters([os.ttyname(follower)], root=tmp_path)
    finally:
        os.close(leader)
        os.close(follower)
    assert not one.is_usable
    assert one.why is not None
    assert "neither as slcan nor as ELM327" in one.why.en


def test_a_port_that_another_program_has(no_ports: None, tmp_path: Path) -> None:
    leader, follower = os.openpty()
    claim = claim_port(os.ttyname(follower))
    try:
        (one,) = find_adapters([os.ttyname(follower)], root=tmp_path)
    finally:
        claim.release()
        os.close(leader)
        os.close(follower)
    assert one.why is not None
    assert one.fix is not None
    assert one.why.en == "another program has it"
    assert "fuser" in one.fix.en


def test_a_port_that_is_not_there(no_ports: None, tmp_path: Path) -> None:
    (one,) = find_adapters([str(tmp_path / "ttyUSB7")], root=tmp_path)
    assert one.why is not None
    assert one.why.en == "No such file or directory"


def test_interfaces_of_the_kernel(no_ports: None, tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "sys/class/net/can7/type": "280",
            "sys/class/net/can7/flags": "0x40080",
            "sys/class/net/can8/type": "280",
            "sys/class/net/can8/flags": "0x400c1",
            "sys/class/net/eth9/type": "1",
            "sys/class/net/eth9/flags": "0x1003",
        },
    )
    up, down = find_adapters(root=root)
    assert up == Candidate("socketcan", "can8", "SocketCAN", ("-i", "socketcan", "-c", "can8"))
    assert down.fix is not None
    assert down.fix.en == "sudo ip link set can7 up type can bitrate 500000"
    assert not down.is_usable


def test_a_usb_adapter_without_its_driver(no_ports: None, tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "sys/bus/usb/devices/1-1/idVendor": "1d50",
            "sys/bus/usb/devices/1-1/idProduct": "606f",
            "sys/bus/usb/devices/1-2/idVendor": "0c72",
            "sys/bus/usb/devices/1-2/idProduct": "000c",
            "sys/bus/usb/devices/1-2/1-2:1.0/net/can0/type": "280",
            "sys/bus/usb/devices/1-3/idVendor": "046d",
            "sys/bus/usb/devices/1-3/idProduct": "c52b",
        },
    )
    (one,) = find_adapters(root=root)
    assert one.name == "candleLight"
    assert one.fix is not None
    assert "modprobe gs_usb" in one.fix.en


def test_chips_that_no_adapter_has_are_not_spoken_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Port:
        device, vid, pid = "/dev/ttyACM9", 0x1234, 0x5678

    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: [Port()])
    (one,) = find_adapters(root=tmp_path)
    assert not one.is_usable
    assert one.why is not None
    assert "not spoken to" in one.why.en
