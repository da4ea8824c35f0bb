"""The battery itself: cells in series, what current does to them.

Per cell an open-circuit voltage with hysteresis, an ohmic resistance and one RC pair, all resistances following the
temperature (Arrhenius); charge by counting coulombs; a leak inside each cell that never stops, and a resistor that
balancing puts beside it. The cells of a module share one temperature; coolant and surroundings take their heat. No
clock and no I/O: every step is given its length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from virtualbus.chemistry import CellType, Floats

__all__ = ["BLEED_OHM", "CellSpread", "Pack"]

BLEED_OHM: Final = 100.0
"""The resistor that balancing puts beside a cell."""

_GAS_J_MOL_K: Final = 8.314
_REFERENCE_K: Final = 298.15
_HEAT_J_KG_K: Final = 950.0
_AMBIENT_W_K: Final = 0.10
_COOLANT_W_K: Final = 1.60
_BUSBAR_OHM: Final = 0.012
_HYSTERESIS_SHARE: Final = 0.04
_FOLLOW_K: Final = 0.1


@dataclass(slots=True)
class CellSpread:
    """How the cells differ from their type: one entry per cell (float64, shape ``(n,)``).

    Args:
        capacity: share of the rated capacity.
        resistance: share of the type's resistances.
        leak_ohm: the resistor that empties the cell from inside, ohms.
        soc: state of charge 0..1 to begin with.
        joint_ohm: the joint between this cell and the one below, within its pair of sense wires, ohms.
    """

    capacity: Floats
    resistance: Floats
    leak_ohm: Floats
    soc: Floats
    joint_ohm: Floats

    @classmethod
    def even(cls, cells: int, soc: float) -> CellSpread:
        """Cells without any difference or leak."""
        return cls(np.ones(cells), np.ones(cells), np.full(cells, 1e9), np.full(cells, soc), np.zeros(cells))

    @classmethod
    def grown(cls, rng: np.random.Generator, soc: float, cells: int) -> CellSpread:
        """Cells of one production lot, balanced at ``soc``: about 1 % apart in capacity and resistance."""
        return cls(
            capacity=0.985 + 0.008 * rng.standard_normal(cells).clip(-2.5, 2.5),
            resistance=1.04 + 0.012 * rng.standard_normal(cells).clip(-2.5, 2.5),
            leak_ohm=1100.0 * (1 + 0.12 * rng.standard_normal(cells).clip(-2.5, 2.5)),
            soc=soc + 0.001 * rng.standard_normal(cells).clip(-2.5, 2.5),
            joint_ohm=np.zeros(cells),
        )


class Pack:
    """State of the cells and modules.

    Args:
        cell: their type.
        spread: how each differs from it. The arrays stay the owner's: what is changed there counts after
            :meth:`refit`.
        per_module: cells that share a temperature.
        temperature_c: of everything in the beginning.

    Attributes:
        cells, modules: their numbers.
        soc: state of charge 0..1 per cell.
        terminal_v: volts per cell between the points where its sense wires sit.
        temperature_c: degrees Celsius per module.
        bleeding: cells beside which balancing has put its resistor (bool).
        coolant_share: how well each module's coolant plate works, 1 = as designed.
        current_a: amperes of the last step, positive = discharge.
        voltage_v: volts between the pack's terminals.
        heat_j, drawn_j: joules turned into heat by the current and delivered at the terminals since the beginning.
        to_coolant_w: watts that the coolant took in the last step.
    """

    def __init__(self, cell: CellType, spread: CellSpread, per_module: int, temperature_c: float) -> None:
        self.cell = cell
        self.cells = len(spread.soc)
        self.per_module = per_module
        self.modules = self.cells // per_module
        self._spread = spread
        self.soc = spread.soc.copy()
        self.bleeding = np.zeros(self.cells, dtype=bool)
        self._any_bleeding = False
        self._polarisation_v = np.zeros(self.cells)
        self._hysteresis = np.zeros(self.cells)
        self.temperature_c = np.full(self.modules, temperature_c)
        self.coolant_share = np.ones(self.modules)
        self.current_a = 0.0
        self.heat_j = 0.0
        self.drawn_j = 0.0
        self.to_coolant_w = 0.0
        self._capacity_j_k = _HEAT_J_KG_K * cell.mass_kg * per_module
        self._followed_c = np.full(self.modules, -300.0)
        self.refit()
        self._ocv = cell.ocv_from_soc(self.soc)
        self.terminal_v: Floats = self._ocv.copy()
        self.voltage_v = float(self.terminal_v.sum())

    def refit(self) -> None:
        """Takes over what was changed in the cells' capacities, resistances, leaks and joints."""
        spread = self._spread
        self.capacity_ah = self.cell.capacity_ah * spread.capacity
        self._leak_siemens = 1.0 / spread.leak_ohm
        self._followed_c = self._followed_c - 300.0
        self._follow_temperature()

    def bleed(self, cells: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> None:
        """Puts the balancing resistor beside these cells and takes it from the others."""
        self.bleeding = cells
        self._any_bleeding = bool(cells.any())

    def _follow_temperature(self) -> None:
        """Resistances at the present temperatures; changes below a tenth of a kelvin are left."""
        if np.abs(self.temperature_c - self._followed_c).max() < _FOLLOW_K:
            return
        self._followed_c = self.temperature_c.copy()
        kelvin = self.temperature_c + 273.15
        module = np.exp(self.cell.activation_j_mol / _GAS_J_MOL_K * (1 / kelvin - 1 / _REFERENCE_K))
        factor = np.repeat(module, self.per_module) * self._spread.resistance
        self._ohmic = self.cell.ohmic_ohm * factor + self._spread.joint_ohm
        self._polarisation_ohm = self.cell.polarisation_ohm * factor
        self._ohmic_sum = float(self._ohmic.sum()) + _BUSBAR_OHM

    @property
    def ohmic_ohm(self) -> Floats:
        """Ohmic resistance per cell at its present temperature, with its joint."""
        return self._ohmic

    @property
    def source_v(self) -> float:
        """Volts that the pack would show without current and without waiting."""
        return float(self._ocv.sum() - self._polarisation_v.sum())

    def current_from_power(self, power_w: float) -> float:
        """Amperes that deliver ``power_w`` at the pack's terminals, as far as the pack can."""
        source_v = self.source_v
        inside = source_v * source_v - 4 * self._ohmic_sum * power_w
        return (source_v - math.sqrt(max(0.0, inside))) / (2 * self._ohmic_sum)

    def step(self, current_a: float, dt_s: float, ambient_c: float, coolant_c: float = 20.0, flow: float = 0.0) -> None:
        """Carries ``current_a`` amperes (positive = discharge) for ``dt_s`` seconds.

        Around the pack it is ``ambient_c``; coolant comes in with ``coolant_c``, ``flow`` is its share of full flow.
        """
        cell = self.cell
        decay = math.exp(-dt_s / cell.polarisation_s)
        self._polarisation_v = self._polarisation_v * decay + self._polarisation_ohm * (current_a * (1 - decay))
        drain_a = self.terminal_v * self._leak_siemens
        leak_w = self.terminal_v * drain_a
        if self._any_bleeding:
            drain_a = drain_a + self.terminal_v * self.bleeding / BLEED_OHM
        self.soc = self.soc - (current_a + drain_a) * (dt_s / 3600) / self.capacity_ah
        if self.soc.min() < 0.0 or self.soc.max() > 1.0:
            self.soc = self.soc.clip(0.0, 1.0)
        self._ocv = cell.ocv_from_soc(self.soc)
        if cell.hysteresis_v:
            moved = abs(current_a) * dt_s / 3600 / (cell.capacity_ah * _HYSTERESIS_SHARE)
            towards = -1.0 if current_a > 0 else 1.0
            self._hysteresis += (towards - self._hysteresis) * (1 - math.exp(-moved))
            self._ocv = self._ocv + cell.hysteresis_v * self._hysteresis
        self.terminal_v = self._ocv - self._polarisation_v - self._ohmic * current_a
        self.current_a = current_a
        self.voltage_v = float(self.terminal_v.sum()) - _BUSBAR_OHM * current_a
        self._warm(current_a, leak_w, dt_s, ambient_c, coolant_c, flow)
        self.drawn_j += self.voltage_v * current_a * dt_s

    def _warm(
        self, current_a: float, leak_w: Floats, dt_s: float, ambient_c: float, coolant_c: float, flow: float
    ) -> None:
        heat_w = current_a * (self._polarisation_v + self._ohmic * current_a)
        self.heat_j += float(heat_w.sum()) * dt_s
        module_w = (heat_w + leak_w).reshape(self.modules, self.per_module).sum(axis=1)
        to_ambient = _AMBIENT_W_K * self.per_module
        to_coolant = self.coolant_share * (_COOLANT_W_K * self.per_module * flow)
        both = to_ambient + to_coolant
        # The cooling is solved exactly, so that steps of an hour in a parked car stay stable.
        settled = (to_ambient * ambient_c + to_coolant * coolant_c + module_w) / both
        rest = np.exp(both * (-dt_s / self._capacity_j_k))
        self.temperature_c = settled + (self.temperature_c - settled) * rest
        self.to_coolant_w = float((to_coolant * (self.temperature_c - coolant_c)).sum())
        self._follow_temperature()
