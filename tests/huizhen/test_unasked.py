"""What python-can and sqlite-utils would take along stays out; who asks for it gets it; and both work without."""

from __future__ import annotations

import subprocess
import sys

import pytest

BEGIN = "import sys\nfrom huizhen.unasked import leave_out_unasked\nleave_out_unasked()\nleave_out_unasked()\n"


def printed(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", BEGIN + code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_they_stay_out() -> None:
    pytest.importorskip("asammdf")
    told = printed(
        "import can, sqlite_utils, cantools\nprint('asammdf' in sys.modules, 'pandas' in sys.modules)\n"
        "import asammdf, pandas\nprint('asammdf' in sys.modules, 'pandas' in sys.modules)"
    )
    assert told.splitlines() == ["False False", "True True"]


def test_without_us_they_would_come() -> None:
    """When this fails the libraries have mended it, and `huizhen.unasked` can go."""
    pytest.importorskip("asammdf")
    code = "import sys, can\nprint('asammdf' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_a_library_works_without() -> None:
    told = printed(
        "import sqlite_utils\n"
        "db = sqlite_utils.Database(memory=True)\ndb['t'].insert({'a': 1})\nprint(list(db['t'].rows))\n"
        "import can\nprint(can.Message(arbitration_id=1).arbitration_id)"
    )
    assert told.splitlines() == ["[{'a': 1}]", "1"]
