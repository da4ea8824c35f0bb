"""What stands between the battery and the ECU that judges it: sense wires, converters, probes, insulation.

Every reading of the BMS comes through here. A bad contact changes a resistance in this module and nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from virtualbus.pack import BLEED_OHM

if TYPE_CHECKING:
    from virtualbus.chemistry import Floats
    from virtualbus.design import Sensors
    from virtualbus.pack import Pack

__all__ = ["CellSampler", "Insulation", "InsulationMeter", "Leak", "PackSensors"]

_INPUT_A: Final = 1.1e-6
_NOISE_V: Final = 0.0007
_QUANTUM_V: Final = 0.001
_NOISE_ROWS: Final = 512


class CellSampler:
    """One sense wire on each boundary between cells, and the converter behind them.

    The converter's input draws a little current through each wire. In a sound wire (a few ohms) that is nothing; in a
    corroded one (tens of kiloohms) the boundary seems to lie lower, so that the cell below reads low and the cell
    above reads high by the same amount: the sum stays. The balancing current of a cell runs through both of its wires.

    Args:
        wire_ohm: resistance of each wire with its contacts, shape ``(n + 1,)``; wire 0 is the pack's negative end.
    """

    def __init__(self, wire_ohm: Floats, rng: np.random.Generator) -> None:
        cells = len(wire_ohm) - 1
        self.wire_ohm = wire_ohm
        self._input_a = _INPUT_A * (1 + 0.05 * rng.standard_normal(cells + 1).clip(-2, 2))
        self._gain = 1 + 0.0002 * rng.standard_normal(cells).clip(-2, 2)
        self._noise = _NOISE_V * rng.standard_normal((_NOISE_ROWS, cells))
        self._row = int(rng.integers(_NOISE_ROWS))

    def sample(self, pack: Pack, bleeding: np.ndarray[tuple[int], np.dtype[np.bool_]] | None = None) -> Floats:
        """One reading of all cells in volts, in steps of 1 mV, with noise.

        ``bleeding`` are the cells whose balancing resistor is on during the reading, those of the pack when None.
        """
        bleeding = pack.bleeding if bleeding is None else bleeding
        shift = self.wire_ohm * self._input_a
        seen = pack.terminal_v * self._gain + (shift[:-1] - shift[1:])
        if bleeding.any():
            wires = self.wire_ohm[:-1] + self.wire_ohm[1:]
            seen = np.where(bleeding, seen * BLEED_OHM / (BLEED_OHM + wires), seen)
        # Drawing noise afresh would be the dearest part of a reading: a long table, entered at a drawn row, serves.
        self._row = (self._row * 5 + 77) % _NOISE_ROWS
        read: Floats = np.rint((seen + self._noise[self._row]) / _QUANTUM_V).clip(0, 5000) * _QUANTUM_V
        return read


class PackSensors:
    """Pack voltage divider, current shunt, a temperature probe in each module.

    Args:
        flaws: what is wrong with them; read anew at each reading.
    """

    def __init__(self, modules: int, flaws: Sensors, rng: np.random.Generator) -> None:
        self._rng = rng
        self._flaws = flaws
        self._voltage_gain = 1 + 0.0008 * float(rng.standard_normal())
        self._current_offset_a = 0.06 * float(rng.standard_normal())
        self._current_gain = 1 + 0.002 * float(rng.standard_normal())
        self._probe_offset_c = 0.25 * rng.standard_normal(modules).clip(-2, 2)
        self._noise = rng.standard_normal(1024)
        self._at = 0

    def _next_noise(self) -> float:
        self._at = (self._at + 1) % 1024
        return float(self._noise[self._at])

    def voltage_v(self, pack: Pack) -> float:
        """Volts between the pack's terminals as measured."""
        return pack.voltage_v * self._voltage_gain + 0.04 * self._next_noise()

    def current_a(self, pack: Pack) -> float:
        """Amperes as measured, positive = discharge."""
        gain = self._current_gain * self._flaws.current_gain
        return pack.current_a * gain + self._current_offset_a + self._flaws.current_offset_a + 0.03 * self._next_noise()

    def temperatures_c(self, pack: Pack) -> Floats:
        """Degrees Celsius per probe in steps of 0.5; an open probe reads -40."""
        flaws = self._flaws
        seen = pack.temperature_c + self._probe_offset_c + flaws.probe_offset_c
        seen = np.where(np.isnan(flaws.probe_stuck_c), seen, flaws.probe_stuck_c)
        read: Floats = np.rint(seen.clip(-40.0, 87.0) * 2) / 2
        return read


@dataclass(slots=True)
class Leak:
    """A path from one pole to the body.

    Args:
        ohm: its resistance when it has grown.
        from_s: car time in seconds from which it exists.
        grows_s: time constant with which it grows after that.
        wet_only: it exists in a wet car only.
        shaken: share of the time for which it exists while the car moves; 1 = always, also at rest.
    """

    ohm: float
    from_s: float = 0.0
    grows_s: float = 30.0
    wet_only: bool = False
    shaken: float = 1.0


@dataclass(slots=True)
class Insulation:
    """Resistance between the high-voltage system and the body.

    Args:
        positive_ohm, negative_ohm: what a dry, sound car has on either pole.
        leaks: paths beside the negative pole.
    """

    positive_ohm: float
    negative_ohm: float
    leaks: list[Leak] = field(default_factory=list)

    def resistance_ohm(self, t_s: float, *, wet: bool = False, moving: bool = False) -> float:
        """The lower of both poles' resistances at a car time. Standard: ISO 6469-3:2021 (clause unverified)."""
        siemens = 1 / self.negative_ohm
        for leak in self.leaks:
            if t_s <= leak.from_s or (leak.wet_only and not wet):
                continue
            if leak.shaken < 1.0 and not (moving and _shaken(t_s) < leak.shaken):
                continue
            siemens += (1 - math.exp(-(t_s - leak.from_s) / leak.grows_s)) / leak.ohm
        return min(self.positive_ohm, 1 / siemens)


def _shaken(t_s: float) -> float:
    """0..1, slowly wandering: where in its swing a loose part is. The same at the same time."""
    return (math.sin(t_s / 17.0) + math.sin(t_s / 7.3 + 1.0) + 2.0) / 4.0


class InsulationMeter:
    """The BMS's switched measuring bridge: slow, noisy, and blind above 20 MΩ."""

    LIMIT_OHM: Final = 20e6
    _TAU_S: Final = 4.0

    def __init__(self, rng: np.random.Generator) -> None:
        self._noise = 1 + 0.01 * rng.standard_normal(257)
        self._at = 0
        self._conductance: float | None = None

    def restart(self) -> None:
        """Forgets what was measured: the bridge starts anew when the ECU wakes."""
        self._conductance = None

    def measure_ohm(self, true_ohm: float, dt_s: float) -> float:
        """Measured ohms after ``dt_s`` more seconds."""
        self._at = (self._at + 1) % 257
        seen = float(self._noise[self._at]) / true_ohm
        if self._conductance is None:
            self._conductance = seen
        self._conductance += (seen - self._conductance) * (1 - math.exp(-dt_s / self._TAU_S))
        return min(self.LIMIT_OHM, 1 / max(self._conductance, 1e-12))
