"""``huizhen`` alone: where to begin with no adapter, with one, several, a recording, with the one of last time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from huizhen.cli import main
from huizhen.console import display_width
from huizhen.exits import Exit
from huizhen.firststeps import recordings_here
from huizhen.settings import Remembered, forget, remember

if TYPE_CHECKING:
    from pathlib import Path

CANABLE = ("CANable", "/dev/ttyACM0")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    forget()
    return tmp_path


def told(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *adapters: tuple[str, str], lang: str = "en"
) -> list[str]:
    """The commands that are proposed, in order, after the screen itself was looked at."""
    monkeypatch.setattr("diag.adapters.plugged_in", lambda: adapters)
    assert main(["--lang", lang]) == Exit.DONE
    out, err = capfd.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert len(lines) <= 16
    assert all(display_width(line) <= 80 for line in lines), out
    return [line[line.index("huizhen ") :] for line in lines if "  huizhen " in line]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_without_anything(lang: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    commands = told(capfd, monkeypatch, lang=lang)
    assert commands[:2] == ["huizhen doctor", "huizhen scan --demo"]
    assert "huizhen consult open --demo" in commands
    assert commands[-1] == "huizhen --help"


def test_with_one_adapter_the_scan_comes_first(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told(capfd, monkeypatch, CANABLE)[:2] == ["huizhen scan", "huizhen doctor"]


def test_with_several_the_doctor_tells_them_apart(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told(capfd, monkeypatch, CANABLE, ("CH340", "/dev/ttyUSB0"))[0] == "huizhen doctor"


def test_with_the_one_of_last_time(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    remember(Remembered("slcan", "/dev/ttyACM0", 500_000))
    commands = told(capfd, monkeypatch)
    assert commands[0] == "huizhen scan"
    assert "huizhen consult open" in commands


def test_with_recordings_the_newest_is_named(
    here: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, name in enumerate(("old.blf", "my drive.asc", "notes.log", "trace.log")):
        (here / name).write_text("(1700000000.000000) can0 123#11\n" if name == "trace.log" else "hello\n")
        os.utime(here / name, (1000 + number, 1000 + number))
    assert [path.name for path in recordings_here(here)] == ["trace.log", "my drive.asc", "old.blf"]
    (here / "trace.log").unlink()
    assert told(capfd, monkeypatch)[0] == "huizhen scan --from 'my drive.asc'"


def test_a_folder_that_cannot_be_read_is_no_trouble(tmp_path: Path) -> None:
    assert recordings_here(tmp_path / "gone") == ()
