"""``huizhen live``: lines, JSON lines and a screen; a fault that strikes while it is watched is told once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import virtualbus
from huizhen.cli import main
from huizhen.exits import Exit
from huizhen.livewatch import Watch
from virtualbus.car import Car
from virtualbus.errors import Phrase
from virtualbus.faults import make_fault
from virtualbus.scenario import Phase, Scenario

if TYPE_CHECKING:
    from virtualbus.runner import RunningCar


def link(car: RunningCar) -> list[str]:
    return ["-i", "virtual", "-c", car.channel]


def told(words: list[str], capfd: pytest.CaptureFixture[str]) -> list[dict]:
    capfd.readouterr()
    assert main(["live", *words, "--jsonl"]) == Exit.DONE
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_signals_once_a_second_and_a_weak_cell_told_once(capfd: pytest.CaptureFixture[str]) -> None:
    lines = told(["--demo", "PackCurrent", "NoSuch", "--duration", "12"], capfd)
    assert 4 <= len(lines) <= 13
    assert {line["schema"] for line in lines} == {"huizhen.live/1"}
    assert any(line["values"]["PackCurrent"] is not None for line in lines)
    assert all(line["values"]["NoSuch"] is None for line in lines)
    notices = [notice for line in lines for notice in line["notices"]]
    assert [(notice["change"], notice["finding"]["code"]) for notice in notices] == [("began", "battery.cell-weak")]
    assert lines[-1]["standing"] == ["battery.cell-weak"]


def test_a_fault_that_strikes_while_it_is_watched_is_told_with_its_code(capfd: pytest.CaptureFixture[str]) -> None:
    cycle = (Phase("drive", 3.0), Phase("park", 5.0))
    story = Scenario("live", Phrase("live", "live"), "ev400", (), cycle=cycle, now="drive")
    strikes_s = Car(story, 3).plant.t_s + 5.0
    faults = (make_fault("isolation", from_s=strikes_s), make_fault("drive-pump", from_s=strikes_s))
    broken = Scenario("live", Phrase("live", "live"), "ev400", faults, cycle=cycle, now="drive")
    with virtualbus.running(broken, seed=3) as car:
        lines = told([*link(car), "--poll", "1", "--duration", "25"], capfd)
    notices = [(at, notice["finding"]["code"]) for at, line in enumerate(lines) for notice in line["notices"]]
    assert "insulation.low" in [code for _, code in notices]
    assert [code for _, code in notices].count("insulation.low") <= 2  # new, and perhaps worse: never each second
    assert any("P0A05" in change["code"] for line in lines for change in line["changes"])


@pytest.mark.parametrize(("lang", "word"), [("en", "NEW"), ("zh", "新增")])
def test_lines_where_there_is_no_terminal(lang: str, word: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["live", "--demo", "--no-codes", "--duration", "9", "--lang", lang]) == Exit.DONE
    out = capfd.readouterr().out
    assert f"[{word}]" in out
    assert out.startswith("SIMULATED CAR" if lang == "en" else "模拟车辆"), "at once, and before anything else"


def test_a_silent_bus_and_a_link_without_frames(capfd: pytest.CaptureFixture[str]) -> None:
    words = ["-i", "virtual", "-c", "nobody-live", "--no-codes", "--duration", "1", "--lang", "en"]
    assert main(["live", *words]) == Exit.NO_ANSWER
    assert "nothing was heard" in capfd.readouterr().err


def test_a_watch_without_frames_knows_nothing() -> None:
    watch = Watch()
    assert watch.tick() == ()
    assert watch.series() == {}
    assert watch.names == ()
