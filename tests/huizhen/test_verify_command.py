"""``huizhen verify`` on simulated cars: repaired, only cleared, intermittent, still broken, another car."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import virtualbus
from huizhen.cli import main
from huizhen.exits import Exit
from virtualbus.errors import Phrase
from virtualbus.faults import make_fault
from virtualbus.scenario import Phase, Scenario

if TYPE_CHECKING:
    from pathlib import Path

    from virtualbus.runner import RunningCar

CLEAR = ("dtc", "clear", "--ecu", "all", "--confirm", "--unplugged")
DRIVEN = (Phase("drive", 12.0), Phase("park", 5.0))


def scenario(*faults, cycle=DRIVEN):
    return Scenario("verify", Phrase("verify", "verify"), "ev400", faults, cycle=cycle)


def link(car: RunningCar) -> list[str]:
    return ["-i", "virtual", "-c", car.channel]


def scanned(car: RunningCar, path: Path) -> None:
    assert main(["scan", *link(car), "-q", "-o", str(path), "--lang", "en"]) == Exit.DONE


def verdict(words: list[str], capfd: pytest.CaptureFixture[str]) -> dict:
    capfd.readouterr()
    assert main(["verify", *words, "--json"]) == Exit.DONE
    told = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert told["schema"] == "huizhen.verify/1"
    return told


@pytest.fixture
def before(tmp_path: Path) -> Path:
    return tmp_path / "before.json"


def test_a_repaired_car_is_fixed_and_a_broken_one_is_not(
    before: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = scenario(make_fault("isolation", from_s=60.0))
    with virtualbus.running(broken, seed=4) as car:
        scanned(car, before)
        told = verdict([str(before), *link(car)], capfd)
        assert told["verdict"] == "not-fixed"
    after = tmp_path / "after.json"
    with virtualbus.running(scenario(), seed=4) as car:
        told = verdict([str(before), *link(car), "-o", str(after)], capfd)
    assert told["verdict"] == "fixed"
    assert {item["what"] for item in told["items"]} == {"dtc", "finding"}
    figure = told["figures"]["insulation_ohm_per_v"]
    assert figure["after"] > 50 * figure["before"]
    assert verdict([str(before), str(after)], capfd) == told, "the saved visit says the same"
    assert main(["verify", str(before), str(after), "--lang", "zh"]) == Exit.DONE
    assert "结论：已修复" in capfd.readouterr().out
    assert main(["verify", str(after), str(before), "--lang", "en"]) == Exit.USAGE
    assert "older" in capfd.readouterr().err


def test_a_simulated_car_is_marked_as_one(before: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", "--demo", "-q", "-o", str(before)]) == Exit.DONE
    capfd.readouterr()
    assert main(["verify", str(before), "--demo", "--lang", "en"]) == Exit.DONE
    assert capfd.readouterr().out.startswith("SIMULATED CAR: ")


def test_two_saved_visits_to_a_simulated_car_say_so_and_never_prove_a_real_repair(
    before: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["scan", "--demo", "-q", "-o", str(before)]) == Exit.DONE
    saved = json.loads(before.read_text(encoding="utf-8"))
    capfd.readouterr()
    assert main(["verify", str(before), str(before), "--lang", "en"]) == Exit.DONE
    assert capfd.readouterr().out.startswith("SIMULATED CAR: ")
    assert verdict([str(before), str(before)], capfd)["simulated"] is True
    real = tmp_path / "real.json"
    real.write_text(json.dumps({**saved, "simulated": False}), encoding="utf-8")
    assert main(["verify", str(before), str(real), "--lang", "en"]) == Exit.USAGE
    assert "one of the two scans is of a simulated car" in capfd.readouterr().err


def test_a_code_that_was_only_cleared_is_not_proven(
    before: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # What only a station can show is not tested while the car stands in the workshop.
    cut_off = scenario(make_fault("dc-timeout", after_s=60.0), cycle=(Phase("drive", 8.0), Phase("charge-dc", 8.0)))
    with virtualbus.running(cut_off, seed=4) as car:
        scanned(car, before)
        assert "U057D-87" in before.read_text()
        assert main([*CLEAR, *link(car), "-q", "-o", str(tmp_path / "kept.json")]) == Exit.DONE
        told = verdict([str(before), *link(car)], capfd)
    assert told["verdict"] == "cleared"
    (item,) = told["items"]
    assert "not run since clearing" in item["because"]["en"]
    assert "drive" in item["needed"]["en"]
    assert item["needed"]["zh"]


def test_a_fault_that_comes_and_goes_is_intermittent(before: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shaken = scenario(make_fault("isolation-intermittent", from_s=30.0, leak_ohm=8000.0, shaken=0.5))
    with virtualbus.running(shaken, seed=4) as car:
        scanned(car, before)
        assert "P0AA6-1A" in before.read_text()
        told = verdict([str(before), *link(car)], capfd)
    assert told["verdict"] == "intermittent"
    assert "log record" in told["items"][0]["needed"]["en"]


def test_through_a_doip_gateway_the_states_are_asked_at_its_addresses(
    before: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def gateway(name: str) -> tuple[subprocess.Popen[str], list[str]]:
        words = [sys.executable, "-m", "huizhen", "sim", "run", "--front", "doip:0", "--scenario", name]
        process = subprocess.Popen([*words, "--duration", "90"], stdout=subprocess.PIPE, text=True)
        port = json.loads(process.stdout.readline())["port"]
        return process, ["--adapter", f"doip:127.0.0.1:{port}"]

    process, words = gateway("isolation")
    with process:
        assert main(["scan", *words, "-q", "-o", str(before)]) == Exit.DONE
        process.terminate()
    process, words = gateway("healthy")
    with process:
        told = verdict([str(before), *words], capfd)
        process.terminate()
    item = next(item for item in told["items"] if item["what"] == "dtc")
    assert item["outcome"] == "fixed", item
    assert "passed" in item["because"]["en"]


def test_a_new_code_is_worse(before: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with virtualbus.running(scenario(), seed=4) as car:
        scanned(car, before)
        assert verdict([str(before), *link(car)], capfd)["verdict"] == "nothing-to-prove"
    with virtualbus.running(scenario(make_fault("isolation", from_s=60.0)), seed=4) as car:
        told = verdict([str(before), *link(car)], capfd)
    assert told["verdict"] == "worse"


def test_two_cars_are_refused(before: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with virtualbus.running(scenario(), seed=4) as car:
        scanned(car, before)
    with virtualbus.running(scenario(), seed=5) as car:
        assert main(["verify", str(before), *link(car), "--lang", "en"]) == Exit.USAGE
    assert "two cars" in capfd.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "\x00\x01",
        "[" * 100_000,
        '{"schema": "huizhen.battery/1"}',
        '{"schema": "huizhen.scan/1"}',
        '{"schema": "huizhen.scan/1", "dtcs": [1], "readiness": {}, "battery": null}',
        '{"schema": "huizhen.scan/1", "dtcs": [], "readiness": [], "battery": null, "vehicle": null}',
    ],
)
def test_what_is_no_scan_is_told_in_one_line(text: str, before: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before.write_text(text)
    assert main(["verify", str(before), str(before), "--lang", "en"]) == Exit.USAGE
    err = capfd.readouterr().err
    assert "no saved scan" in err
    assert err.count("\n") == 1


def test_a_missing_file_and_too_many_options(before: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(before), "--demo", "--lang", "zh"]) == Exit.USAGE
    assert "无法读取" in capfd.readouterr().err
    assert main(["verify", str(before), str(before), "--demo", "--lang", "en"]) == Exit.USAGE
    assert "leave out" in capfd.readouterr().err
