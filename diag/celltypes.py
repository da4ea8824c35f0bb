"""Kinds of lithium cells: voltage window and open-circuit voltage over state of charge, and which one a pack has.

The tables are typical ones at 25 °C; a car's own table, where it is known, is better. They serve to turn millivolts
into charge; how much a table can be wrong is part of every interval that is derived from it.

Standard: none; practice as collected in ``docs/standards.md`` (battery).
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["CellType", "ChargeFit", "Chemistry", "cell_types", "chemistries", "fit_cell_type"]

_FILE: Final = Path(__file__).parent / "rules" / "cells.toml"


@dataclass(frozen=True, slots=True)
class Chemistry:
    """What holds for every cell of a chemistry; all of it settings in ``rules/cells.toml``.

    Args:
        window_v: lowest and highest voltage in use.
        rest_s: seconds without current after which the voltage tells the charge.
        watch_mv: a rested spread from which a pack is watched.
        soon_mv: from which it needs work.
    """

    name: str
    title: Text
    window_v: tuple[float, float]
    rest_s: float
    watch_mv: float
    soon_mv: float


@dataclass(frozen=True, slots=True)
class CellType:
    """A chemistry with an open-circuit voltage table.

    Args:
        soc: state of charge 0..1, rising.
        ocv_v: volts at those.
        error: 1 sigma of what the table may be off, state of charge 0..1, where the curve is steep.
    """

    name: str
    chemistry: Chemistry
    soc: tuple[float, ...]
    ocv_v: tuple[float, ...]
    error: float

    def ocv(self, soc: Floats) -> Floats:
        """Open-circuit volts, any shape; held constant outside 0..1."""
        return np.interp(soc, self.soc, self.ocv_v)

    def slope(self, soc: Floats, width: float = 0.02) -> Floats:
        """Volts per unit of state of charge, over ``width`` around it."""
        middle = np.clip(soc, width / 2, 1.0 - width / 2)
        return (self.ocv(middle + width / 2) - self.ocv(middle - width / 2)) / width

    def soc_from_ocv(self, volts: Floats) -> Floats:
        """State of charge 0..1 at which a rested cell shows these volts."""
        return np.interp(volts, self.ocv_v, self.soc)

    def soc_error(self, soc: float, millivolts: float) -> float:
        """1 sigma of a state of charge that is read from a rested voltage known to ``millivolts``."""
        slope = float(self.slope(np.array([soc]), 0.04)[0])
        return float(np.hypot(self.error, millivolts / 1000 / max(slope, 1e-6)))


@cache
def _file() -> dict[str, Any]:
    return tomllib.loads(_FILE.read_text(encoding="utf-8"))


@cache
def chemistries() -> dict[str, Chemistry]:
    """Chemistries by name."""
    return {
        name: Chemistry(
            name,
            Text(**item["title"]),
            tuple(item["window_v"]),
            item["rest_s"],
            item["watch_mv"],
            item["soon_mv"],
        )
        for name, item in _file()["chemistry"].items()
    }


@cache
def cell_types() -> dict[str, CellType]:
    """Cell types by name."""
    data = _file()
    return {
        name: CellType(
            name,
            chemistries()[item["chemistry"]],
            tuple(value / 100 for value in data["soc_percent"]),
            tuple(item["ocv_v"]),
            item["error_percent"] / 100,
        )
        for name, item in data["cell"].items()
    }


@dataclass(frozen=True, slots=True)
class ChargeFit:
    """A cell type laid over what a pack's median cell did.

    Args:
        soc: state of charge 0..1 per row.
        per_ah: state of charge that one ampere-hour takes.
        misfit_v: scatter of the voltages about the table.
    """

    kind: CellType
    soc: Floats
    per_ah: float
    misfit_v: float


def fit_cell_type(
    ocv_v: Floats, taken_ah: Floats, told: Floats, kinds: Iterable[CellType] | None = None
) -> ChargeFit | None:
    """The cell type whose table follows best what was seen, and the charge that it tells.

    Args:
        ocv_v: rested volts of the median cell, finite.
        taken_ah: charge taken out at the same times.
        told: state of charge 0..1 as the car tells it, NaN where it does not.
        kinds: among these; None = all.

    Returns:
        None when no table comes within 60 mV.
    """
    if not len(ocv_v):
        return None
    fits = [_lay(kind, ocv_v, taken_ah, told) for kind in kinds or cell_types().values()]
    cost, best = min(fits, key=lambda pair: pair[0])
    return best if best.misfit_v < _FAR_V and np.isfinite(cost) else None


def _lay(kind: CellType, ocv_v: Floats, taken_ah: Floats, told: Floats) -> tuple[float, ChargeFit]:
    """Charge at the beginning and charge per Ah by Gauss-Newton; the car's own word counts as a reading of 2.5 %."""
    middle = taken_ah - taken_ah.mean()
    span = float(np.ptp(taken_ah))
    heard = np.isfinite(told)
    level = float(np.median(told[heard])) if heard.any() else float(kind.soc_from_ocv(np.array([np.median(ocv_v)]))[0])
    per_ah = 0.0
    if span > 0 and heard.any():
        rough = float(np.polyfit(taken_ah[heard], told[heard], 1)[0]) if float(np.ptp(told[heard])) > 0 else 0.0
        per_ah = max(0.0, -rough)
    told_level, told_per_ah = level, per_ah
    for _ in range(_ROUNDS):
        soc = level - per_ah * middle
        rest = ocv_v - kind.ocv(soc)
        slope = kind.slope(soc)
        rows = np.column_stack([slope, -slope * middle]) / _READ_V / np.sqrt(len(ocv_v))
        aim = rest / _READ_V / np.sqrt(len(ocv_v))
        prior = np.array([[1 / _TOLD, 0.0], [0.0, span / _TOLD_SWING]])
        pull = np.array([(told_level - level) / _TOLD, (told_per_ah - per_ah) * span / _TOLD_SWING])
        if not heard.any():
            prior[0, 0], pull[0] = 1 / _UNTOLD, 0.0
            prior[1, 1], pull[1] = span / _UNTOLD, 0.0
        step, *_ = np.linalg.lstsq(np.vstack([rows, prior]), np.concatenate([aim, pull]), rcond=None)
        level += float(np.clip(step[0], -0.1, 0.1))
        per_ah = max(0.0, per_ah + float(step[1]))
    soc = np.clip(level - per_ah * middle, 0.0, 1.0)
    misfit = float(np.sqrt(np.mean((ocv_v - kind.ocv(soc)) ** 2)))
    away = ((level - told_level) / _TOLD) ** 2 if heard.any() else 0.0
    moved = ((per_ah - told_per_ah) * span / _TOLD_SWING) ** 2 if heard.any() else 0.0
    return (misfit / _READ_V) ** 2 + away + moved, ChargeFit(kind, soc, per_ah, misfit)


_FAR_V: Final = 0.06
_READ_V: Final = 0.004
_TOLD: Final = 0.025
_TOLD_SWING: Final = 0.02
_UNTOLD: Final = 0.3
_ROUNDS: Final = 8
