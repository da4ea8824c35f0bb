"""The battery itself: 96 cells in series, what current does to them.

Per cell an open-circuit voltage, an ohmic resistance and one RC pair, all resistances following the temperature
(Arrhenius); charge by counting coulombs; a leak inside each cell that never stops. Modules of six cells share one
temperature. No clock and no I/O: every step is given its length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from virtualbus.chemistry import CellType, Floats

__all__ = ["CELLS", "CELLS_PER_MODULE", "MODULES", "CellSpread", "Pack"]

CELLS: Final = 96
CELLS_PER_MODULE: Final = 6
MODULES: Final = CELLS // CELLS_PER_MODULE

_GAS_J_MOL_K: Final = 8.314
_REFERENCE_K: Final = 298.15
_HEAT_J_KG_K: Final = 950.0
_COOLING_W_K: Final = 2.6
_BUSBAR_OHM: Final = 0.012


@dataclass(slots=True)
class CellSpread:
    """How the cells differ from their type: one entry per cell (float64, shape ``(96,)``).

    Args:
        capacity: share of the rated capacity.
        resistance: share of the type's resistances.
        leak_ohm: the resistor that empties the cell from inside, ohms.
        soc: state of charge 0..1 to begin with.
    """

    capacity: Floats
    resistance: Floats
    leak_ohm: Floats
    soc: Floats

    @classmethod
    def grown(cls, rng: np.random.Generator, soc: float) -> CellSpread:
        """Cells of one production lot, balanced at ``soc``: about 1 % apart in capacity and resistance."""
        return cls(
            capacity=0.985 + 0.008 * rng.standard_normal(CELLS).clip(-2.5, 2.5),
            resistance=1.04 + 0.012 * rng.standard_normal(CELLS).clip(-2.5, 2.5),
            leak_ohm=1100.0 * (1 + 0.12 * rng.standard_normal(CELLS).clip(-2.5, 2.5)),
            soc=soc + 0.001 * rng.standard_normal(CELLS).clip(-2.5, 2.5),
        )


class Pack:
    """State of the cells and modules.

    Attributes:
        soc: state of charge 0..1 per cell.
        terminal_v: volts between each cell's own terminals.
        temperature_c: degrees Celsius per module, shape ``(16,)``.
        current_a: amperes of the last step, positive = discharge.
        voltage_v: volts between the pack's terminals.
        heat_j, drawn_j: joules turned into heat and delivered at the terminals since the beginning.
    """

    def __init__(self, cell: CellType, spread: CellSpread, temperature_c: float) -> None:
        self.cell = cell
        self.capacity_ah = cell.capacity_ah * spread.capacity
        self.leak_ohm = spread.leak_ohm.copy()
        self.soc = spread.soc.copy()
        self._resistance = spread.resistance.copy()
        self._polarisation_v = np.zeros(CELLS)
        self.temperature_c = np.full(MODULES, temperature_c)
        self.current_a = 0.0
        self.heat_j = 0.0
        self.drawn_j = 0.0
        self._ohmic = np.empty(CELLS)
        self._follow_temperature()
        self._ocv = cell.ocv_from_soc(self.soc)
        self.terminal_v: Floats = self._ocv.copy()
        self.voltage_v = float(self.terminal_v.sum())

    def _follow_temperature(self) -> None:
        kelvin = self.temperature_c + 273.15
        module = np.exp(self.cell.activation_j_mol / _GAS_J_MOL_K * (1 / kelvin - 1 / _REFERENCE_K))
        factor = np.repeat(module, CELLS_PER_MODULE) * self._resistance
        self._ohmic = self.cell.ohmic_ohm * factor
        self._polarisation_ohm = self.cell.polarisation_ohm * factor
        self._ohmic_sum = float(self._ohmic.sum()) + _BUSBAR_OHM

    @property
    def ohmic_ohm(self) -> Floats:
        """Ohmic resistance per cell at its present temperature."""
        return self._ohmic

    def current_from_power(self, power_w: float) -> float:
        """Amperes that deliver ``power_w`` at the pack's terminals, as far as the pack can."""
        source_v = float((self._ocv - self._polarisation_v).sum())
        inside = source_v * source_v - 4 * self._ohmic_sum * power_w
        return (source_v - math.sqrt(max(0.0, inside))) / (2 * self._ohmic_sum)

    def step(self, current_a: float, dt_s: float, ambient_c: float) -> None:
        """Carries ``current_a`` for ``dt_s`` seconds (positive = discharge)."""
        decay = math.exp(-dt_s / self.cell.polarisation_s)
        before = self._polarisation_v
        self._polarisation_v = before * decay + self._polarisation_ohm * (current_a * (1 - decay))
        leak_a = self.terminal_v / self.leak_ohm
        self.soc = (self.soc - (current_a + leak_a) * (dt_s / 3600) / self.capacity_ah).clip(0.0, 1.0)
        self._ocv = self.cell.ocv_from_soc(self.soc)
        self.terminal_v = self._ocv - self._polarisation_v - self._ohmic * current_a
        self.current_a = current_a
        self.voltage_v = float(self.terminal_v.sum()) - _BUSBAR_OHM * current_a
        self._warm(current_a, dt_s, ambient_c)
        self.drawn_j += self.voltage_v * current_a * dt_s

    def _warm(self, current_a: float, dt_s: float, ambient_c: float) -> None:
        heat_w = current_a * (self._polarisation_v + self._ohmic * current_a)
        self.heat_j += float(heat_w.sum()) * dt_s
        module_w = heat_w.reshape(MODULES, CELLS_PER_MODULE).sum(axis=1)
        capacity_j_k = _HEAT_J_KG_K * self.cell.mass_kg * CELLS_PER_MODULE
        # The cooling is solved exactly, so that steps of an hour in a parked car stay stable.
        settled = ambient_c + module_w / _COOLING_W_K
        rest = math.exp(-dt_s * _COOLING_W_K / capacity_j_k)
        self.temperature_c = settled + (self.temperature_c - settled) * rest
        self._follow_temperature()
