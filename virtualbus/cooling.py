"""Coolant: one loop through the battery, one through motor, inverter, charger and converter."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from virtualbus.design import Cooling
    from virtualbus.highvoltage import Switches

__all__ = ["FULL_RPM", "Loops"]

FULL_RPM: Final = 5200.0
"""A pump at full duty."""

_BATTERY_J_K: Final = 22_000.0
_CHILLER_W: Final = 5_000.0
_BATTERY_LOSS_W_K: Final = 14.0
_DRIVE_J_K: Final = 28_000.0
_DRIVE_STILL_W_K: Final = 14.0
_DRIVE_FAN_W_K: Final = 260.0
_DRIVE_WIND_W_K: Final = 5.0


@dataclass(slots=True)
class Loops:
    """State of both loops.

    Args:
        flaws: shares of the designed performance.
        battery_c: coolant at the battery's inlet, degrees Celsius.
        battery_out_c: behind it.
        drive_c: coolant of the power electronics.
    """

    flaws: Cooling
    battery_c: float
    drive_c: float
    battery_out_c: float = 20.0
    flow: float = 0.0
    drive_flow: float = 0.0

    def settle(self, switches: Switches) -> None:
        """Flows that the commanded pumps give, 0..1."""
        self.flow = switches.battery_pump * self.flaws.pump
        self.drive_flow = switches.drive_pump * self.flaws.drive_pump

    @property
    def pump_rpm(self) -> float:
        """Speed of the battery's pump at full duty; a stalled one stands."""
        return FULL_RPM * self.flaws.impeller

    def step(
        self, switches: Switches, taken_w: float, drive_loss_w: float, speed_kmh: float, dt_s: float, ambient_c: float
    ) -> None:
        """Lets ``dt_s`` seconds pass; ``taken_w`` came from the battery, ``drive_loss_w`` from the electronics."""
        cooling_w = _CHILLER_W * switches.chiller * self.flaws.chiller * min(1.0, 3.0 * self.flow)
        power_w = taken_w + switches.heater_w - cooling_w
        settled = ambient_c + power_w / _BATTERY_LOSS_W_K
        rest = math.exp(-dt_s * _BATTERY_LOSS_W_K / _BATTERY_J_K)
        self.battery_c = min(90.0, max(-40.0, settled + (self.battery_c - settled) * rest))
        self.battery_out_c = self.battery_c + (taken_w / (900.0 * self.flow) if self.flow > 0.05 else 0.0)
        w_k = (
            _DRIVE_STILL_W_K + _DRIVE_FAN_W_K * switches.fan * self.flaws.fan + _DRIVE_WIND_W_K * speed_kmh
        ) * max(0.04, min(1.0, 1.5 * self.drive_flow))  # fmt: skip
        settled = ambient_c + drive_loss_w / w_k
        rest = math.exp(-dt_s * w_k / _DRIVE_J_K)
        self.drive_c = min(140.0, settled + (self.drive_c - settled) * rest)
