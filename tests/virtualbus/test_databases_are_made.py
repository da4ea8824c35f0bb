"""The bundled databases are what their generator writes, so that nobody edits one by hand and loses it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "tools" / "make_databases.py"


def test_files_are_as_the_generator_writes_them():
    done = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
