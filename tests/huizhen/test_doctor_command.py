"""``huizhen doctor`` on a machine without adapters, and with simulated ones."""

from __future__ import annotations

import json

import pytest

from huizhen.cli import main
from huizhen.exits import Exit
from virtualbus.car import Car
from virtualbus.fronts import open_front, parse_front
from virtualbus.runner import CarRunner
from virtualbus.scenario import find_scenario


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serial.tools.list_ports.comports", list)
    monkeypatch.setattr("diag.adapters._kernel_interfaces", lambda _root: ())
    monkeypatch.setattr("diag.adapters._usb_without_driver", lambda _root: ())


@pytest.mark.parametrize(("lang", "word"), [("en", "None is plugged in"), ("zh", "没有可用于扫描的适配器")])
def test_without_adapters_one_helpful_screen(lang: str, word: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--lang", lang]) == Exit.NO_ADAPTER
    out, err = capfd.readouterr()
    assert word in out
    assert "huizhen scan --demo" in out
    assert len(out.splitlines()) <= 24
    assert err == ""


def test_what_is_plugged_in_and_what_to_type_next(capfd: pytest.CaptureFixture[str]) -> None:
    front = open_front(parse_front("slcan"))
    runner = CarRunner(Car(find_scenario("ebus")), [front])
    runner.start()
    channel = str(front.description["channel"])
    try:
        assert main(["doctor", "--lang", "en", channel]) == Exit.DONE
        out = capfd.readouterr().out
        assert main(["doctor", "--json", channel, "/nowhere/tty9"]) == Exit.DONE
        told = json.loads(capfd.readouterr().out)
    finally:
        runner.stop()
    assert "250 kbit/s" in out
    assert f"scan -i slcan -c {channel} -b 250000" in out
    assert told["schema"] == "huizhen.doctor/1"
    assert [one["channel"] for one in told["adapters"]] == [channel]
    assert told["buses"][channel]["verdict"] == "traffic"
    assert told["buses"][channel]["bitrate"] == 250_000
    assert told["rejected"][0]["why"]["en"] == "No such file or directory"


def test_a_silent_bus_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    front = open_front(parse_front("slcan"))
    front.start(lambda *_: None)  # an adapter without a car
    channel = str(front.description["channel"])
    try:
        assert main(["doctor", "--lang", "en", "--listen", "0.1", channel]) == Exit.DONE
    finally:
        front.stop()
    out = capfd.readouterr().out
    assert "Nothing is heard" in out
    assert "ignition off" in out
