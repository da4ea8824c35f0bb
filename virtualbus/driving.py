"""The road: how fast the driver wants to go, and the power that takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from virtualbus.chemistry import Floats

__all__ = ["Body", "Trip"]

_G: Final = 9.81
_AIR_KG_M3: Final = 1.2


@dataclass(frozen=True, slots=True)
class Body:
    """What must be moved.

    Args:
        wheel_rpm_per_kmh, ratio: from speed to motor speed.
        regen_w: what the inverter gives back at most, watts.
    """

    mass_kg: float = 1780.0
    drag_m2: float = 0.60
    rolling: float = 0.0095
    driving_efficiency: float = 0.88
    braking_efficiency: float = 0.66
    regen_w: float = 45_000.0
    drive_w: float = 140_000.0
    motor_rpm_per_kmh: float = 82.0

    def wheel_w(self, speed_ms: float, acceleration_ms2: float) -> float:
        """Watts at the wheels, negative when braking."""
        if speed_ms <= 0:
            return 0.0
        drag_n = 0.5 * _AIR_KG_M3 * self.drag_m2 * speed_ms * speed_ms
        return (self.mass_kg * acceleration_ms2 + drag_n + self.mass_kg * _G * self.rolling) * speed_ms

    def electric_w(self, wheel_w: float) -> float:
        """Watts that the inverter takes from the pack, negative when it gives back."""
        if wheel_w >= 0:
            return min(self.drive_w, wheel_w / self.driving_efficiency)
        return max(-self.regen_w, wheel_w * self.braking_efficiency)


class Trip:
    """A drive of some minutes through town and country: the speed that the driver wants at each second.

    Args:
        seconds: length of the whole trip; the car stands for the last 60 s.
    """

    def __init__(self, seconds: int, rng: np.random.Generator) -> None:
        self.seconds = seconds
        self.wanted_kmh: Floats = np.zeros(seconds + 1)
        at = 8
        while at < seconds - 120:
            target = float(rng.choice((30.0, 50.0, 50.0, 60.0, 80.0, 100.0))) + float(rng.uniform(-4, 4))
            length = int(rng.integers(25, 110))
            end = min(at + length, seconds - 90)
            self.wanted_kmh[at:end] = target
            at = end + (int(rng.integers(10, 25)) if rng.random() < 0.45 else 0)

    def speed_kmh(self, t_s: float) -> float:
        """Wanted speed, km/h; 0 before and after the trip."""
        return float(self.wanted_kmh[int(t_s)]) if 0 <= t_s < self.seconds else 0.0
