"""The combustion engine of a hybrid: speed, load, air, coolant."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from virtualbus.design import Engine

__all__ = ["Combustion"]

_IDLE_RPM: Final = 1250.0
_EFFICIENCY: Final = 0.34
_FUEL_J_KG: Final = 43e6
_AIR_PER_FUEL: Final = 14.6
_OPENS_C: Final = 88.0
_HEAT_J_K: Final = 62_000.0


class Combustion:
    """State of the engine.

    Attributes:
        rpm, torque_nm, load: crankshaft speed, torque, 0..1.
        coolant_c: degrees Celsius.
        air_g_s: what the engine really breathes.
        misfires: strokes without ignition since the beginning.
    """

    def __init__(self, flaws: Engine, ambient_c: float) -> None:
        self._flaws = flaws
        self.rpm = 0.0
        self.torque_nm = 0.0
        self.load = 0.0
        self.coolant_c = ambient_c
        self.air_g_s = 0.0
        self.strokes = 0.0
        self.misfires = 0.0

    def step(self, power_w: float, dt_s: float, ambient_c: float, speed_kmh: float, *, running: bool) -> None:
        """Lets ``dt_s`` seconds pass with ``power_w`` at the crankshaft."""
        wanted_rpm = _IDLE_RPM + 1900.0 * min(1.0, power_w / 60_000.0) if running else 0.0
        self.rpm += (wanted_rpm - self.rpm) * (1 - math.exp(-dt_s / 0.7))
        if not running and self.rpm < 20:
            self.rpm = 0.0
        omega = self.rpm * math.tau / 60
        self.torque_nm = power_w / omega if running and omega > 50 else 0.0
        fuel_w = (power_w / _EFFICIENCY + 9000.0) if running else 0.0
        self.air_g_s = fuel_w / _FUEL_J_KG * 1000 * _AIR_PER_FUEL
        self.load = min(1.0, fuel_w / 190_000.0)
        strokes = self.rpm / 60 * 2 * dt_s
        self.strokes += strokes
        self.misfires += strokes / 4 * self._flaws.misfire
        heat_w = fuel_w * 0.28
        opened = min(1.0, max(0.0, (self.coolant_c - _OPENS_C) / 6.0))
        through = max(opened, 1.0 - self._flaws.thermostat)
        w_k = 22.0 + through * (260.0 + 9.0 * speed_kmh)
        settled = ambient_c + heat_w / w_k
        self.coolant_c = settled + (self.coolant_c - settled) * math.exp(-dt_s * w_k / _HEAT_J_K)
