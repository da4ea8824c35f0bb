"""``huizhen charge`` from a recording and by listening."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import can
import pytest

import virtualbus
from huizhen.cli import main
from huizhen.exits import Exit
from virtualbus.car import Car
from virtualbus.errors import Phrase
from virtualbus.faults import make_fault
from virtualbus.scenario import Scenario

if TYPE_CHECKING:
    from pathlib import Path

SCENARIO = Scenario("dc", Phrase("dc", "dc"), "ev400", (make_fault("dc-timeout", after_s=12.0),), now="charge-dc")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("charge") / "charge.log"
    car = Car(SCENARIO, 1)
    lines = [
        f"({tick / 100:.6f}) can{frame.channel} "
        f"{frame.can_id:0{8 if frame.extended else 3}X}#{frame.data.hex().upper()}"
        for tick in range(3000)
        for frame in car.tick()
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_recording_tells_who_fell_silent(recording: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["charge", "--from", str(recording), "--lang", "en"]) == Exit.DONE
    out = capfd.readouterr().out
    assert "did not end normally" in out
    assert "the car gave up: CCS had been silent" in out
    assert main(["charge", "--from", str(recording), "--lang", "zh"]) == Exit.DONE
    assert "车辆超时中止" in capfd.readouterr().out
    assert main(["charge", "--from", str(recording), "--json"]) == Exit.DONE
    told = json.loads(capfd.readouterr().out)
    assert told["schema"] == "huizhen.charge/1"
    (session,) = told["sessions"]
    assert session["facts"]["vin"]["value"] == Car(SCENARIO, 1).vin
    assert [phase["name"] for phase in session["phases"]][:4] == [
        "handshake", "recognition", "configuration", "charging",
    ]  # fmt: skip


def test_a_recorded_simulation_has_the_charging_bus(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    scenario, out = tmp_path / "dc.toml", tmp_path / "dc.blf"
    scenario.write_text('vehicle = "ev800"\nnow = "charge-dc"\n')
    assert main(["sim", "record", "--scenario", str(scenario), "--duration", "15", "-o", str(out)]) == Exit.DONE
    capfd.readouterr()
    assert main(["charge", "--from", str(out), "--json"]) == Exit.DONE
    (session,) = json.loads(capfd.readouterr().out)["sessions"]
    assert session["reached"] == "charging"
    assert session["messages"]["BCL"] > 10


def test_the_cells_that_the_charger_was_told_are_judged(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    scenario = tmp_path / "charging.toml"
    scenario.write_text(
        'vehicle = "ev400"\nnow = "charge-dc"\n[title]\nen = "charging"\nzh = "充电"\n'
        '[[faults]]\nkind = "weak-cell"\ncell = 20\nseverity = 1.0\n',
        "utf-8",
    )
    path = tmp_path / "charging.log"
    words = ["sim", "record", "--scenario", str(scenario), "--duration", "120", "-o", str(path)]
    assert main(words) == Exit.DONE
    capfd.readouterr()
    assert main(["charge", "--from", str(path), "--json"]) == Exit.DONE
    told = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert told["battery"]["cells"] == 96
    (finding,) = told["battery"]["findings"]
    assert finding["code"] == "battery.spread"  # a resistive cell stands above the others while it is charged
    assert "CellVoltage 20" in [item["ref"] for item in finding["evidence"]]
    for lang, word in (("en", "cell 20: 4.1"), ("zh", "第 20 号单体：4.1")):
        assert main(["charge", "--from", str(path), "--lang", lang]) == Exit.DONE
        assert word in capfd.readouterr().out


def test_a_bus_is_listened_to(capfd: pytest.CaptureFixture[str]) -> None:
    with virtualbus.running(SCENARIO, seed=1) as car:
        channel = car.channels[-1]
        with can.Bus(interface=car.interface, channel=channel) as bus:
            assert bus.recv(5) is not None
        words = ["charge", "-i", car.interface, "-c", channel, "--duration", "3", "--json"]
        code = main(words)
    told = json.loads(capfd.readouterr().out)
    assert code == Exit.DONE
    assert told["sessions"][0]["messages"]


def test_a_recording_without_charging_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "drive.log"
    path.write_text("(1.000000) can0 18FECA00#00FF00000000FFFF\n")
    assert main(["charge", "--from", str(path), "--lang", "en"]) == Exit.USAGE
    assert "no charging session" in capfd.readouterr().err
    assert main(["charge", "--from", str(tmp_path / "no.log")]) == Exit.USAGE
    assert main(["charge", "--from", str(path), "--demo"]) == Exit.USAGE
