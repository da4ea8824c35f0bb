#!/usr/bin/env python3
"""Runs the tests, and those that failed once more, alone, when the machine has nothing else to do.

    .venv/bin/python tools/run_tests.py PYTEST-OPTIONS...

Hundreds of tests keep real time, beside browsers, relays and an emulated machine on two processors. What fails there and
passes alone was short of processor time; what fails alone too is a defect. Both are told by name, nothing is tried a third
time, and more than a few failures are not tried again at all. The runner's summary, printed last, counts both runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOLD = Path(tempfile.gettempdir()) / f"huizhen-outcome-{os.getpid()}.json"
MOST_AGAIN = 20
TESTS_FAILED = 1
"""pytest's exit code."""


def pytest(*words: str, **environment: str) -> int:
    """Its exit code. What came of it is in :data:`TOLD`, see tests/conftest.py."""
    command = [sys.executable, "-m", "pytest", *words]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, check=False).returncode  # noqa: S603 - our own words


def main(words: list[str]) -> int:
    """The exit code of the last run."""
    code = pytest(*words, HUIZHEN_OUTCOME=str(TOLD))
    if code != TESTS_FAILED or not TOLD.is_file():
        return code
    outcome = json.loads(TOLD.read_text(encoding="utf-8"))
    failed = outcome["failed"]
    if not 0 < len(failed) <= MOST_AGAIN:
        return code
    print(f"\n{len(failed)} failed on the busy machine, and are tried alone:", *failed, sep="\n  ", flush=True)
    return pytest("-q", "-rfEs", *failed, HUIZHEN_EARLIER=str(TOLD))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    finally:
        TOLD.unlink(missing_ok=True)
