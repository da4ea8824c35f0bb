"""The 12 V side: a lead-acid battery, its loads, and the DC/DC converter that fills it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from virtualbus.design import Supply

__all__ = ["LowVoltage"]

_CAPACITY_AH: Final = 45.0
_CONVERTER_A: Final = 150.0
_CONVERTER_V: Final = 14.1
_ASLEEP_A: Final = 0.03
_TAU_S: Final = 0.8


class LowVoltage:
    """State of the 12 V battery.

    Attributes:
        volts: at its terminals.
        converter_a: what the DC/DC converter gives.
        converter_c: its temperature, degrees Celsius.
        battery_a: into (+) or out of (-) the battery.
    """

    def __init__(self, supply: Supply, ambient_c: float) -> None:
        self._supply = supply
        self._charge_ah = 0.92 * _CAPACITY_AH
        self.volts = 12.6
        self.converter_a = 0.0
        self.converter_c = ambient_c
        self.battery_a = 0.0

    @property
    def _share(self) -> float:
        capacity_ah = _CAPACITY_AH * self._supply.capacity
        return min(1.0, self._charge_ah / capacity_ah)

    def _open_v(self) -> float:
        """Volts of the battery without current: falls away below a tenth of its charge."""
        share = self._share
        return 11.4 + 1.35 * share - 3.0 * max(0.0, 0.12 - share) / 0.12

    def step(self, load_a: float, dt_s: float, ambient_c: float, *, asleep: bool, converter: bool) -> None:
        """Lets ``dt_s`` seconds pass with ``load_a`` amperes of consumers."""
        supply = self._supply
        load_a = _ASLEEP_A + supply.drain_a if asleep else load_a
        open_v = self._open_v()
        if converter:
            # It holds its voltage as long as its current suffices for the consumers and the battery.
            wanted_a = load_a + max(0.0, (_CONVERTER_V - open_v) / (supply.resistance_ohm + 0.05))
            self.converter_a = min(wanted_a, _CONVERTER_A * supply.converter)
        else:
            self.converter_a = 0.0
        self.battery_a = self.converter_a - load_a
        held_v = converter and self.battery_a > 0
        wanted_v = min(_CONVERTER_V, open_v + self.battery_a * (supply.resistance_ohm + 0.05)) if held_v else (
            open_v + self.battery_a * supply.resistance_ohm
        )  # fmt: skip
        capacity_ah = _CAPACITY_AH * supply.capacity
        self._charge_ah = min(capacity_ah, max(0.0, self._charge_ah + self.battery_a * dt_s / 3600))
        self.volts += (wanted_v - self.volts) * (1 - math.exp(-dt_s / _TAU_S))
        settled_c = ambient_c + 8.0 + self.converter_a * 0.22
        self.converter_c += (settled_c - self.converter_c) * (1 - math.exp(-dt_s / 200.0))
