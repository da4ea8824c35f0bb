"""The databases that we wrote ourselves, as paths.

This module reads nothing: the simulated car encodes with these files and the reader decodes with them, each with a
library of its own.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["EV400", "bundled"]

_FOLDER = Path(__file__).parent

EV400 = _FOLDER / "huizhen_ev400.dbc"
"""The 400 V sedan with 96 cells."""


def bundled() -> tuple[Path, ...]:
    """All databases that come with Huizhen, sorted by name."""
    return tuple(sorted(_FOLDER.glob("*.dbc")))
