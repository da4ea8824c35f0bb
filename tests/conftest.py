"""Fixtures for every test: the shared data, and an honest count of what was skipped without it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import tomllib
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import IO, TYPE_CHECKING

import can  # noqa: F401 - before diag does, which leaves out python-can's own MF4: tests of our writers want it
import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

REPOSITORY = Path(__file__).resolve().parent.parent
_ABSENT = "shared data is absent"
DURATIONS = Path(__file__).with_name("durations.toml")
LONGEST_NAMED_BYTES = 24


def shared_folder() -> Path:
    """Where the shared test data should be: ``HUIZHEN_SHARED``, else ``shared`` beside the repository."""
    named = os.environ.get("HUIZHEN_SHARED")
    return Path(named) if named else REPOSITORY.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data; skips, naming the folder, when it is not there."""
    folder = shared_folder()
    if not folder.is_dir():
        pytest.skip(f"{_ABSENT}: no folder {folder} (set HUIZHEN_SHARED)")
    return folder


@pytest.fixture(autouse=True)
def _own_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test touches the user's own case library or settings, or waits for the dense extra's model."""
    folder = tmp_path_factory.getbasetemp() / "home"
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
    monkeypatch.setenv("HUIZHEN_DENSE", "off")  # with or without the extra, tests see the same answers
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    (folder / "config" / "huizhen" / "adapter.json").unlink(missing_ok=True)  # one car's adapter is nothing to the next


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names long bytes after their argument: what they hold may follow a clock, and then no two processes agree."""
    return argname if isinstance(val, bytes | bytearray) and len(val) > LONGEST_NAMED_BYTES else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest begin, so that none of them is left to one process when the others are done."""
    named = tomllib.loads(DURATIONS.read_text(encoding="utf-8"))
    place = {DURATIONS.parent / name: number for number, name in enumerate(named)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


@contextmanager
def _disk(folder: Path, size: str) -> Generator[Path]:
    """A file system of its own; skips where this user may not mount one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path]:
    """A file system of 320 KiB."""
    with _disk(tmp_path / "small", "320k") as folder:
        yield folder


@pytest.fixture
def library_disk(tmp_path: Path) -> Generator[Path]:
    """A file system of 8 MiB: room for a case library and little more."""
    with _disk(tmp_path / "little", "8m") as folder:
        yield folder


class _Machine:
    """Which test process may use the machine: all of them, or one alone. Whoever wants it alone is next in line."""

    def __init__(self, door: IO[str], room: IO[str]) -> None:
        self._door, self._room = door, room

    @contextmanager
    def taken(self, how: int) -> Generator[None]:
        """With the others (LOCK_SH), or alone (LOCK_EX)."""
        fcntl.flock(self._door, fcntl.LOCK_EX)
        fcntl.flock(self._room, how)
        fcntl.flock(self._door, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(self._room, fcntl.LOCK_UN)


@pytest.fixture(scope="session")
def _machine(tmp_path_factory: pytest.TempPathFactory) -> Generator[_Machine]:
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with (folder / "door").open("w") as door, (folder / "room").open("w") as room:
        yield _Machine(door, room)


@pytest.fixture(scope="module")
def whole_machine(_machine: _Machine) -> Generator[None]:
    """A file of tests beside which no other test runs.

    Several browsers in a call keep real time and take all processors: beside others they keep none, nor do those.
    """
    with _machine.taken(fcntl.LOCK_EX):
        yield


@pytest.fixture(autouse=True)
def _share_of_the_machine(request: pytest.FixtureRequest, _machine: _Machine) -> Generator[None]:
    """Every other test."""
    if "whole_machine" in request.fixturenames:
        yield
    else:
        with _machine.taken(fcntl.LOCK_SH):
            yield


COUNTED = ("passed", "skipped", "xfailed", "rerun")


def _tell_outcome(reporter: pytest.TerminalReporter, path: Path) -> None:
    stats = reporter.stats
    failed = {report.nodeid for kind in ("failed", "error") for report in stats.get(kind, ())}
    counts = {kind: len(stats.get(kind, ())) for kind in COUNTED}
    path.write_text(json.dumps({"failed": sorted(failed), "counts": counts}), encoding="utf-8")


def _count_earlier(reporter: pytest.TerminalReporter, path: Path) -> None:
    """The summary's last line is of both runs; each test is in it once, as what it was in the end."""
    outcome = json.loads(path.read_text(encoding="utf-8"))
    again = outcome["counts"]["rerun"] + len(outcome["failed"])
    for kind, number in {**outcome["counts"], "rerun": again}.items():
        reporter.stats.setdefault(kind, []).extend([SimpleNamespace(count_towards_summary=True)] * number)
    reporter.write_line(f"alone: {', '.join(outcome['failed'])}; the counts are of both runs")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None]:
    """Counts the tests that could not run without the shared data, after every other section of the summary.

    Tells tools/run_tests.py what failed; when that runs those once more, counts what it ran before.
    """
    told, earlier = os.environ.get("HUIZHEN_OUTCOME"), os.environ.get("HUIZHEN_EARLIER")
    if told is not None:
        _tell_outcome(terminalreporter, Path(told))
    yield
    skipped = [
        report
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple) and _ABSENT in report.longrepr[2]
    ]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} tests skipped: {_ABSENT} ({shared_folder()})", yellow=True)
    if earlier is not None:
        _count_earlier(terminalreporter, Path(earlier))
