"""What stands between the battery and the ECU that judges it: sense wires, converters, insulation.

Every reading of the BMS comes through here. A bad contact changes a resistance in this module and nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from virtualbus.pack import CELLS, MODULES, Pack

if TYPE_CHECKING:
    from virtualbus.chemistry import Floats

__all__ = ["CellSampler", "Insulation", "InsulationMeter", "PackSensors"]

_INPUT_A: Final = 1.1e-6
_NOISE_V: Final = 0.0007
_QUANTUM_V: Final = 0.001


class CellSampler:
    """97 sense wires, one on each boundary between cells, and the converter behind them.

    The converter's input draws a little current through each wire. In a sound wire (a few ohms) that is nothing; in a
    corroded one (tens of kiloohms) the boundary seems to lie lower, so that the cell below reads low and the cell
    above reads high by the same amount: the sum stays.

    Args:
        wire_ohm: resistance of each wire with its contacts, shape ``(97,)``; wire 0 is the pack's negative end.
    """

    def __init__(self, wire_ohm: Floats, rng: np.random.Generator) -> None:
        self.wire_ohm = wire_ohm
        self._rng = rng
        self._input_a = _INPUT_A * (1 + 0.05 * rng.standard_normal(CELLS + 1).clip(-2, 2))
        self._gain = 1 + 0.0002 * rng.standard_normal(CELLS).clip(-2, 2)

    def sample(self, terminal_v: Floats) -> Floats:
        """One reading of all cells in volts, in steps of 1 mV, with noise."""
        shift = self.wire_ohm * self._input_a
        seen = terminal_v * self._gain + (shift[:-1] - shift[1:])
        seen += _NOISE_V * self._rng.standard_normal(CELLS)
        return np.rint(seen / _QUANTUM_V).clip(0, 5000) * _QUANTUM_V


class PackSensors:
    """Pack voltage divider, current shunt, 16 temperature probes."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._voltage_gain = 1 + 0.0008 * float(rng.standard_normal())
        self._current_offset_a = 0.06 * float(rng.standard_normal())
        self._current_gain = 1 + 0.002 * float(rng.standard_normal())
        self._probe_offset_c = 0.25 * rng.standard_normal(MODULES).clip(-2, 2)

    def voltage_v(self, pack: Pack) -> float:
        """Volts between the pack's terminals as measured."""
        return pack.voltage_v * self._voltage_gain + 0.04 * float(self._rng.standard_normal())

    def current_a(self, pack: Pack) -> float:
        """Amperes as measured, positive = discharge."""
        noise = 0.03 * float(self._rng.standard_normal())
        return pack.current_a * self._current_gain + self._current_offset_a + noise

    def temperatures_c(self, pack: Pack) -> Floats:
        """Degrees Celsius per probe in steps of 0.5."""
        return np.rint((pack.temperature_c + self._probe_offset_c) * 2) / 2


@dataclass(slots=True)
class Insulation:
    """Resistance between the high-voltage system and the body.

    Args:
        positive_ohm, negative_ohm: what a dry, sound car has on either pole.
        leak_ohm: a resistance beside one pole, None without a fault.
        leak_from_s: car time in seconds from which the leak exists.
        leak_grows_s: time constant with which it grows after that.
    """

    positive_ohm: float
    negative_ohm: float
    leak_ohm: float | None = None
    leak_from_s: float = 0.0
    leak_grows_s: float = 30.0

    def resistance_ohm(self, t_s: float) -> float:
        """The lower of both poles' resistances at a car time. Standard: ISO 6469-3:2021 (clause unverified)."""
        negative = self.negative_ohm
        if self.leak_ohm is not None and t_s > self.leak_from_s:
            grown = 1 - math.exp(-(t_s - self.leak_from_s) / self.leak_grows_s)
            negative = 1 / (1 / negative + grown / self.leak_ohm)
        return min(self.positive_ohm, negative)


class InsulationMeter:
    """The BMS's switched measuring bridge: slow, noisy, and blind above 20 MΩ."""

    LIMIT_OHM: Final = 20e6
    _TAU_S: Final = 4.0

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._conductance: float | None = None

    def restart(self) -> None:
        """Forgets what was measured: the bridge starts anew when the ECU wakes."""
        self._conductance = None

    def measure_ohm(self, true_ohm: float, dt_s: float) -> float:
        """Measured ohms after ``dt_s`` more seconds."""
        seen = (1 + 0.01 * float(self._rng.standard_normal())) / true_ohm
        if self._conductance is None:
            self._conductance = seen
        self._conductance += (seen - self._conductance) * (1 - math.exp(-dt_s / self._TAU_S))
        return min(self.LIMIT_OHM, 1 / max(self._conductance, 1e-12))
