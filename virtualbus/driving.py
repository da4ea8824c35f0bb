"""The road: how fast the driver wants to go, and the power that takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from virtualbus.chemistry import Floats

__all__ = ["PROFILES", "Body", "Trip"]

_G: Final = 9.81
_AIR_KG_M3: Final = 1.2


@dataclass(frozen=True, slots=True)
class Body:
    """What must be moved.

    Args:
        mass_kg, drag_m2, rolling: mass, drag area (cd x A), rolling resistance.
        driving_efficiency, braking_efficiency: from the pack to the wheels and back.
        regen_w, drive_w: what the inverter gives back and takes at most, watts.
        motor_rpm_per_kmh: from speed to motor speed.
        wheel_m: radius of a wheel.
        top_kmh: the car goes no faster.
    """

    mass_kg: float = 1780.0
    drag_m2: float = 0.60
    rolling: float = 0.0095
    driving_efficiency: float = 0.88
    braking_efficiency: float = 0.66
    regen_w: float = 45_000.0
    drive_w: float = 140_000.0
    motor_rpm_per_kmh: float = 82.0
    wheel_m: float = 0.33
    top_kmh: float = 170.0

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


@dataclass(frozen=True, slots=True)
class _Profile:
    """Speeds that a driver goes at, how long at each, how often he stops in between."""

    speeds_kmh: tuple[float, ...]
    shortest_s: int
    longest_s: int
    stops: float


PROFILES: Final = {
    "mixed": _Profile((30.0, 50.0, 50.0, 60.0, 80.0, 100.0), 25, 110, 0.45),
    "town": _Profile((20.0, 30.0, 40.0, 50.0, 50.0), 15, 60, 0.8),
    "country": _Profile((50.0, 70.0, 80.0, 90.0, 100.0), 40, 150, 0.15),
    "motorway": _Profile((100.0, 110.0, 120.0, 130.0), 90, 300, 0.0),
    "wltp": _Profile((), 0, 0, 0.0),
}

_WLTP_LIKE: Final = (
    (589, (20, 35, 0, 45, 56, 30, 0, 40, 48, 25, 0, 35)),
    (433, (30, 50, 60, 45, 0, 55, 76, 60, 35)),
    (455, (45, 70, 85, 60, 75, 97, 80, 0, 65, 80)),
    (323, (75, 100, 120, 131, 125, 110, 120)),
)
"""Four parts with the durations and top speeds of the WLTC class 3, at speeds of our own: (seconds, km/h in turn).

Standard: UN GTR 15 (durations 589, 433, 455, 323 s; 56.5, 76.6, 97.4, 131.3 km/h); the trace between is not its.
"""


class Trip:
    """A drive of some minutes: the speed that the driver wants at each second.

    Args:
        seconds: length of the whole trip; the car stands for the last 60 s.
        profile: of :data:`PROFILES`.
        start_s: car time at which it begins.
    """

    def __init__(self, seconds: int, rng: np.random.Generator, profile: str = "mixed", start_s: float = 0.0) -> None:
        self.seconds = seconds
        self.start_s = start_s
        self.wanted_kmh: Floats = np.zeros(seconds + 1)
        if profile == "wltp":
            self._repeat_wltp(seconds - 90)
            return
        kind = PROFILES[profile]
        at = 8
        while at < seconds - 120:
            target = float(rng.choice(kind.speeds_kmh)) + float(rng.uniform(-4, 4))
            length = int(rng.integers(kind.shortest_s, kind.longest_s))
            end = min(at + length, seconds - 90)
            self.wanted_kmh[at:end] = target
            at = end + (int(rng.integers(10, 25)) if rng.random() < kind.stops else 0)

    def _repeat_wltp(self, until: int) -> None:
        """The cycle of 30 minutes, again and again, the same for every car."""
        at = 11
        while at < until:
            for length, speeds in _WLTP_LIKE:
                each = length // (len(speeds) + 1)
                for number, speed in enumerate(speeds):
                    start = at + number * each
                    self.wanted_kmh[start : min(until, start + each)] = speed
                at += length

    def speed_kmh(self, t_s: float) -> float:
        """Wanted speed, km/h; 0 before and after the trip."""
        since = t_s - self.start_s
        return float(self.wanted_kmh[int(since)]) if 0 <= since < self.seconds else 0.0
