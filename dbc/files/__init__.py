"""The databases that we wrote ourselves, as paths.

This module reads nothing: the simulated car encodes with these files and the reader decodes with them, each with a
library of its own. ``tools/make_databases.py`` writes them.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["EBUS", "EV400", "EV800", "LFP104", "PHEV", "SIGNALS", "ZEV", "bundled"]

_FOLDER = Path(__file__).parent

EBUS = _FOLDER / "huizhen_ebus.dbc"
"""The electric city bus (J1939)."""

EV400 = _FOLDER / "huizhen_ev400.dbc"
"""The 400 V sedan with 96 cells."""

EV800 = tuple(_FOLDER / f"huizhen_ev800{bus}.dbc" for bus in ("", "_battery", "_chassis"))
"""The 800 V car with 198 cells: powertrain (diagnostic), battery and chassis bus."""

LFP104 = _FOLDER / "huizhen_lfp104.dbc"
"""The compact car with 104 LFP cells."""

ZEV = _FOLDER / "huizhen_zev.dbc"
"""The car that speaks OBDonUDS only."""

SIGNALS = _FOLDER / "huizhen_sim.json"
"""What the simulated cars' BMS tells when it is asked (``tools/make_signal_set.py`` writes it)."""

PHEV = _FOLDER / "huizhen_phev.dbc"
"""The plug-in hybrid."""


def bundled() -> tuple[Path, ...]:
    """All databases that come with Huizhen, sorted by name."""
    return tuple(sorted(_FOLDER.glob("*.dbc")))
