"""``huizhen log record``: a bus into a file, and the flight recorder on a car that breaks while it watches."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

import virtualbus
from dbc.recording import open_recording
from huizhen.cli import main
from huizhen.exits import Exit
from virtualbus.errors import Phrase
from virtualbus.scenario import Phase, Scenario

if TYPE_CHECKING:
    from pathlib import Path

SOUND = Scenario("sound", Phrase("sound", "sound"), "ev400", (), cycle=(Phase("park", 1.0),))


@pytest.mark.parametrize("name", ["drive.log", "drive.blf", "行驶.csv"])
def test_a_bus_into_a_file_of_any_format(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / name
    with virtualbus.running(SOUND) as car:
        words = ["log", "record", "-i", "virtual", "-c", car.channel, "-o", str(place), "--duration", "2"]
        assert main([*words, "--lang", "en"]) == Exit.DONE
    frames = len(open_recording(str(place)).table)
    assert frames > 200
    assert f"{frames} frames" in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [name]


FLIGHT = """
import sys
from dataclasses import replace
import virtualbus
from huizhen.cli import main
from virtualbus.car import Car
from virtualbus.errors import Phrase
from virtualbus.faults import make_fault
from virtualbus.scenario import Phase, Scenario

sound = Scenario("sound", Phrase("sound", "sound"), "ev400", (), cycle=(Phase("park", 1.0),))
begins_s = Car(sound, 7).plant.t_s + 14.0
breaking = replace(sound, faults=(make_fault("isolation", from_s=begins_s, leak_ohm=2500.0),))
with virtualbus.running(breaking, seed=7) as car:
    words = ["log", "record", "-i", "virtual", "-c", car.channel, "--ring", sys.argv[1]]
    sys.exit(main([*words, "--around", "6", "--poll", "2", "--duration", "120", "--jsonl"]))
"""
"""A car whose isolation fails after some seconds, and its flight recorder."""


def test_the_flight_recorder_keeps_what_surrounds_a_fault(tmp_path: Path) -> None:
    ring = tmp_path / "flight"
    events: list[dict[str, Any]] = []
    reasons: list[str] = []
    with subprocess.Popen([sys.executable, "-c", FLIGHT, str(ring)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:  # a busy machine may read the code after the first event is over
            events.append(json.loads(line))
            reasons += [reason["text"]["en"] for reason in events[-1]["reasons"]]
            if all(any(word in reason for reason in reasons) for word in ("Isolation", "P0AA6-1A")):
                break
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
    assert process.returncode == Exit.DONE
    assert any("Isolation" in reason for reason in reasons), "the loss of isolation is an event"
    assert any("P0AA6-1A" in reason for reason in reasons)
    assert {event["schema"] for event in events} == {"huizhen.event/1"}
    event = events[0]
    assert "InsulationResistance" in [item["signal"] for item in event["moved"][:3]]
    table = open_recording(str(ring / event["frames_file"])).table
    assert len(table) == event["frames"]
    assert table.t_ns[-1] - table.t_ns[0] == pytest.approx((event["to_s"] - event["from_s"]) * 1e9, rel=0.01)
    assert json.loads((ring / event["frames_file"]).with_suffix(".json").read_text(encoding="utf-8")) == event


def test_a_sound_car_makes_no_event(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with virtualbus.running(SOUND, seed=8) as car:
        words = ["log", "record", "-i", "virtual", "-c", car.channel, "--ring", str(tmp_path), "--poll", "0"]
        assert main([*words, "--duration", "8", "--lang", "zh"]) == Exit.DONE
    captured = capfd.readouterr()
    assert "保留 0 个事件" in captured.err
    assert captured.out == ""
    assert list(tmp_path.glob("ring-*.log"))


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ([], Exit.USAGE, "--ring"),
        (["-o", "a.log", "--ring", "b"], Exit.USAGE, "--ring"),
        (["-o", "a.unknown"], Exit.USAGE, ".blf"),
        (["-o", "/nowhere/a.log"], Exit.USAGE, "/nowhere"),
        (["--ring", "/proc/flight"], Exit.USAGE, "/proc/flight"),
        (["--ring", "b", "--ring-mb", "-5"], Exit.USAGE, "--ring-mb"),
    ],
)
def test_mistakes_are_told_in_one_line(
    words: list[str], code: Exit, told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["log", "record", "--demo", "--duration", "1", *words, "--lang", "en"]) == code
    err = capfd.readouterr().err
    assert told in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_what_was_heard_is_written_when_it_is_told_to_end(sign: signal.Signals, tmp_path: Path) -> None:
    place = tmp_path / "drive.blf"
    words = [sys.executable, "-m", "huizhen", "log", "record", "--demo", "-o", str(place), "--lang", "en"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not any(path.stat().st_size > 20_000 for path in tmp_path.rglob("frames.log")):
            assert time.monotonic() < deadline, "nothing is being recorded"
            time.sleep(0.1)
        process.send_signal(sign)
        _, told = process.communicate(timeout=120)
    assert process.returncode == Exit.DONE, told
    assert len(open_recording(str(place)).table) > 300
    assert [path.name for path in tmp_path.iterdir()] == ["drive.blf"]


def test_a_full_disk_keeps_what_reached_it(small_disk: Path, capfd: pytest.CaptureFixture[str]) -> None:
    place = small_disk / "drive.log"
    with virtualbus.running(SOUND) as car:
        words = ["log", "record", "-i", "virtual", "-c", car.channel, "-o", str(place), "--duration", "40"]
        assert main([*words, "--lang", "en"]) == Exit.USAGE
    err = capfd.readouterr().err
    assert "drive.log.part.log" in err
    assert "No space left" in err
    assert len(open_recording(str(small_disk / "drive.log.part.log")).table) > 3000


def test_a_silent_bus_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["log", "record", "-i", "virtual", "-c", "nobody-here", "--duration", "1", "--lang", "en"]
    assert main([*words, "-o", str(tmp_path / "a.log")]) == Exit.NO_ANSWER
    assert "nothing was heard" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []
