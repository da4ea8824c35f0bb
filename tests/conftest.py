"""Fixtures for every test: the shared data, and an honest count of what was skipped without it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

REPOSITORY = Path(__file__).resolve().parent.parent
_ABSENT = "shared data is absent"


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
    """No test touches the user's own case library or settings."""
    folder = tmp_path_factory.getbasetemp() / "home"
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What runs in a machine of its own, and takes all of this one for it, comes last."""
    items.sort(key=lambda item: "socketcan/" in item.nodeid)


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path]:
    """A file system of 320 KiB of its own; skips where this user may not mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=320k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None]:
    """Counts the tests that could not run without the shared data, after every other section of the summary."""
    yield
    skipped = [
        report
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple) and _ABSENT in report.longrepr[2]
    ]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} tests skipped: {_ABSENT} ({shared_folder()})", yellow=True)
