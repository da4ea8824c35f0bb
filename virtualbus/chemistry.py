"""Cell types: open-circuit voltage over state of charge, capacity, resistance.

The voltage tables are those of published NMC parameter sets, and the typical rested voltages of LFP cells, at 25 °C,
interpolated linearly. LFP keeps the memory of the last direction of current (hysteresis). A battery management
system carries such a table too; it need not be the one of the cells that are really built in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["CELL_TYPES", "LFP135", "LFP280", "NMC532", "NMC532S", "NMC811", "NMC811L", "CellType", "Floats"]

Floats = NDArray[np.float64]

_SOC: Final = (0, 5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 100)
# fmt: off
_NMC811: Final = (
    2.50, 3.109, 3.296, 3.434, 3.485, 3.581, 3.667, 3.751, 3.841, 3.948, 4.042, 4.097, 4.124, 4.164, 4.200,
)
_NMC532: Final = (
    2.80, 3.462, 3.511, 3.540, 3.585, 3.639, 3.671, 3.716, 3.797, 3.880, 3.971, 4.077, 4.136, 4.174, 4.200,
)
_LFP: Final = (
    2.70, 3.050, 3.190, 3.220, 3.245, 3.280, 3.291, 3.295, 3.300, 3.323, 3.333, 3.335, 3.338, 3.350, 3.430,
)
# fmt: on


@dataclass(frozen=True, slots=True)
class CellType:
    """One kind of cell.

    Args:
        dataset: the number under which a BMS carries this cell's data.
        capacity_ah: rated capacity, ampere-hours.
        ohmic_ohm: resistance that answers at once, ohms at 25 °C.
        polarisation_ohm: resistance of the RC pair, ohms at 25 °C.
        polarisation_s: time constant of the RC pair, seconds.
        activation_j_mol: activation energy of both resistances, joules per mole.
        mass_kg: mass of one cell.
        low_v, high_v: the window in which the cell may be used.
        hysteresis_v: half of the gap between the rested voltage after charging and after discharging.
        ocv_v: open-circuit volts at 0, 5, 10, 15, 20, 30 … 90, 95, 98 and 100 % state of charge.
    """

    name: str
    dataset: int
    capacity_ah: float
    ohmic_ohm: float
    polarisation_ohm: float
    polarisation_s: float
    activation_j_mol: float
    mass_kg: float
    ocv_v: tuple[float, ...]
    low_v: float = 2.8
    high_v: float = 4.25
    hysteresis_v: float = 0.0
    _soc: Floats = field(init=False, repr=False, compare=False)
    _ocv: Floats = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_soc", np.array(_SOC, dtype=np.float64) / 100)
        object.__setattr__(self, "_ocv", np.array(self.ocv_v, dtype=np.float64))

    def ocv_from_soc(self, soc: Floats) -> Floats:
        """Open-circuit volts for states of charge 0..1, any shape; held constant outside."""
        return np.interp(soc, self._soc, self._ocv)

    def soc_from_ocv(self, volts: float) -> float:
        """State of charge 0..1 at which this cell rests at ``volts``."""
        return float(np.interp(volts, self._ocv, self._soc))


NMC811: Final = CellType("NMC811", 1, 150.0, 0.00070, 0.00045, 28.0, 25_000.0, 2.35, _NMC811)
NMC532: Final = CellType("NMC532", 2, 118.0, 0.00085, 0.00050, 25.0, 24_000.0, 2.20, _NMC532)
LFP135: Final = CellType("LFP135", 3, 135.0, 0.00055, 0.00040, 35.0, 30_000.0, 2.60, _LFP, 2.5, 3.70, 0.008)
LFP280: Final = CellType("LFP280", 4, 280.0, 0.00028, 0.00020, 40.0, 30_000.0, 5.30, _LFP, 2.5, 3.70, 0.008)
NMC532S: Final = CellType("NMC532S", 5, 37.0, 0.00190, 0.00110, 22.0, 24_000.0, 0.85, _NMC532)
NMC811L: Final = CellType("NMC811L", 6, 126.0, 0.00078, 0.00050, 28.0, 25_000.0, 1.95, _NMC811)

CELL_TYPES: Final = {cell.name: cell for cell in (NMC811, NMC532, LFP135, LFP280, NMC532S, NMC811L)}
