"""``import dbc`` costs nothing, and gives what it names."""

from __future__ import annotations

import subprocess
import sys

import pytest

import dbc


def test_importing_dbc_loads_nothing_heavy() -> None:
    code = (
        "import sys, dbc, dbc.files; print([name for name in ('numpy', 'cantools', 'asammdf') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_name_is_there() -> None:
    for name in dbc.__all__:
        assert getattr(dbc, name).__name__ == name
    with pytest.raises(AttributeError, match="nothing_here"):
        _ = dbc.nothing_here
