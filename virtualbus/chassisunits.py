"""Brakes and stability, steering, tyre pressures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from virtualbus.design import WHEELS
from virtualbus.ecu import Ecu, Value, u8, u16
from virtualbus.trouble import MonitorTest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from virtualbus.plant import Plant

__all__ = ["Brakes", "Steering", "Tyres"]

WHEEL_CODES: Final = ("C0031-64", "C0034-64", "C0037-64", "C003A-64")
TYRE_CODES: Final = ("C1750-31", "C1751-31", "C1752-31", "C1753-31")
WHEEL_APART: Final = 0.12
WHEEL_KMH: Final = 12.0
TYRE_LOW_KPA: Final = 190.0
PRESSED_BAR: Final = 4.0


class Brakes(Ecu):
    """Four wheel sensors, brake pressure, both contacts of the brake switch."""

    name = "ESC"
    is_leisurely = True
    tests = (*(MonitorTest(code, 3.0, 6.0, legislated=False) for code in WHEEL_CODES),
             MonitorTest("C0041-64", 3.0, 6.0, legislated=False))  # fmt: skip
    watches = (
        ("U0293-87", "VCU_Status", 0.3, 1.0, 2.0, False),
        ("U0131-87", "EPS_Status", 0.3, 1.0, 2.0, False),
    )

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        rng: np.random.Generator = parts[-1]
        self._gain = 1 + 0.002 * rng.standard_normal(4).clip(-2, 2)
        self.wheels_kmh = [0.0] * 4
        self.pressure_bar = 0.0
        self.contact_a = 0
        self.contact_b = 1
        self.yaw_deg_s = 0.0
        self.along_ms2 = 0.0
        self.speed_kmh = 0.0
        self._fast_s = 0.0

    def measure(self, plant: Plant, dt_s: float) -> None:
        """Pressure and contacts beside the wheels."""
        super().measure(plant, dt_s)
        self.measure_fast(plant)

    def measure_fast(self, plant: Plant) -> None:
        """Wheel speeds as the sensors' teeth tell them."""
        seen = self.design.chassis.wheel_sensor
        self.wheels_kmh = [plant.wheel_kmh(wheel) * float(self._gain[at] * seen[at]) for at, wheel in enumerate(WHEELS)]
        self.pressure_bar = plant.brake_bar
        pressed = plant.brake_bar > 2.0
        self.contact_a = int(pressed)
        if not self.design.chassis.brake_contact_stuck:
            self.contact_b = int(not pressed)
        self.yaw_deg_s = plant.speed_kmh * plant.steering_deg * 0.003
        passed_s = plant.t_s - self._fast_s
        if passed_s > 0:
            self.along_ms2 = max(-15.0, min(15.0, (plant.speed_kmh - self.speed_kmh) / 3.6 / passed_s))
        self.speed_kmh, self._fast_s = plant.speed_kmh, plant.t_s

    def signals(self) -> Mapping[str, Callable[[], Value]]:
        """ESC_Wheels, ESC_Status."""
        return {
            "WheelSpeed_FL": lambda: self.wheels_kmh[0],
            "WheelSpeed_FR": lambda: self.wheels_kmh[1],
            "WheelSpeed_RL": lambda: self.wheels_kmh[2],
            "WheelSpeed_RR": lambda: self.wheels_kmh[3],
            "BrakePressure": lambda: self.pressure_bar,
            "BrakeContactA": lambda: self.contact_a,
            "BrakeContactB": lambda: self.contact_b,
            "EscIntervention": lambda: 0,
            "YawRate": lambda: self.yaw_deg_s,
            "FrontAxleSpeed": lambda: (self.wheels_kmh[0] + self.wheels_kmh[1]) / 2,
            "AccelerationX": lambda: self.along_ms2,
            "AccelerationY": lambda: self.yaw_deg_s * 0.01745 * self.speed_kmh / 3.6,
            "RoadSlope": lambda: 0.0,
            **dict.fromkeys((f"WheelPressure_{wheel}" for wheel in WHEELS), lambda: self.pressure_bar),
            "WheelSlip_FL": lambda: self._slip(0),
            "WheelSlip_FR": lambda: self._slip(1),
            "WheelSlip_RL": lambda: self._slip(2),
            "WheelSlip_RR": lambda: self._slip(3),
        }

    def _slip(self, at: int) -> Value:
        return (self.wheels_kmh[at] / self.speed_kmh - 1) * 100 if self.speed_kmh > 5 else 0.0

    def judge(self, dt_s: float) -> None:
        """One wheel against the others; the two contacts, one of which opens when the other closes."""
        ordered = sorted(self.wheels_kmh)
        median = (ordered[1] + ordered[2]) / 2
        for code, speed in zip(WHEEL_CODES, self.wheels_kmh, strict=True):
            self.report(code, abs(speed - median) > WHEEL_APART * median if median > WHEEL_KMH else None, dt_s)
        self.report("C0041-64", self.contact_a == self.contact_b, dt_s)

    def snapshot_dids(self) -> tuple[int, ...]:
        """Supply, wheels, brake."""
        return (0x0170, 0x0171)

    def own_data(self) -> Mapping[int, Callable[[], bytes]]:
        """0170: wheel speeds FL FR RL RR (0.01 km/h); 0171: pressure (0.1 bar), contacts A and B, supply (0.1 V)."""
        return {
            0x0170: lambda: b"".join(u16(speed * 100) for speed in self.wheels_kmh),
            0x0171: lambda: u16(self.pressure_bar * 10) + u8(self.contact_a) + u8(self.contact_b) + u8(self.low_v * 10),
        }


class Steering(Ecu):
    """Angle, torque, assistance; weaker when the supply is."""

    name = "EPS"
    is_leisurely = True
    watches = (
        ("U0121-87", "ESC_Status", 0.3, 1.0, 2.0, False),
        ("U0293-87", "VCU_Status", 0.3, 1.0, 2.0, False),
    )

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.angle_deg = 0.0
        self.speed_kmh = 0.0

    def measure(self, plant: Plant, dt_s: float) -> None:
        """Steering angle."""
        super().measure(plant, dt_s)
        self.measure_fast(plant)

    def measure_fast(self, plant: Plant) -> None:
        """Steering angle."""
        self.angle_deg = plant.steering_deg
        self.speed_kmh = plant.speed_kmh

    def signals(self) -> Mapping[str, Callable[[], Value]]:
        """EPS_Status."""
        return {
            "SteeringAngle": lambda: self.angle_deg,
            "SteeringTorque": lambda: 0.04 * self.angle_deg,
            "AssistCurrent": lambda: 0.8 * self.angle_deg,
            "AssistSpeed": lambda: 4.0 * self.angle_deg,
            "RackForce": lambda: 90.0 * self.angle_deg,
            "SteeringAssist": lambda: min(100.0, max(0.0, (self.low_v - 9.0) * 40.0)),
        }

    def own_data(self) -> Mapping[int, Callable[[], bytes]]:
        """0180: angle (0.1 degree, offset 800)."""
        return {0x0180: lambda: u16((self.angle_deg + 800) * 10)}

    def snapshot_dids(self) -> tuple[int, ...]:
        """Angle."""
        return (0x0180,)


class Tyres(Ecu):
    """Radio sensors in the wheels: pressure and temperature, one message a minute at best."""

    name = "TPM"
    is_leisurely = True
    tests = (
        MonitorTest("C0077-84", 10.0, 30.0, legislated=False),
        *(MonitorTest(code, 60.0, 30.0, legislated=False) for code in TYRE_CODES),
    )
    watches = (("U0293-87", "VCU_Status", 1.0, 2.0, 4.0, False),)

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        rng: np.random.Generator = parts[-1]
        self._offset_kpa = rng.normal(0, 1.5, 4)
        self.kpa: list[float | None] = [None] * 4
        self.temperature_c = 20.0

    def measure(self, plant: Plant, dt_s: float) -> None:
        """Asks each sensor; a dead one says nothing."""
        super().measure(plant, dt_s)
        dead = self.design.chassis.tyre_sensor_dead
        self.temperature_c = plant.ambient_c + min(18.0, plant.speed_kmh * 0.15)
        warm = 1 + 0.0034 * (self.temperature_c - plant.ambient_c)
        self.kpa = [
            None if dead[at] else max(0.0, float(plant.tyre_kpa[at] + 100) * warm - 100 + float(self._offset_kpa[at]))
            for at in range(4)
        ]

    def signals(self) -> Mapping[str, Callable[[], Value]]:
        """TPM_Pressures."""
        out: dict[str, Callable[[], Value]] = {}
        for at, wheel in enumerate(WHEELS):
            out[f"TyrePressure_{wheel}"] = lambda at=at: self.kpa[at]  # type: ignore[misc]
            out[f"TyreTemp_{wheel}"] = lambda at=at: None if self.kpa[at] is None else self.temperature_c  # type: ignore[misc]
        return out

    def judge(self, dt_s: float) -> None:
        """Low pressure; sensors that are not heard."""
        heard = [kpa for kpa in self.kpa if kpa is not None]
        self.report("C0077-84", min(heard) < TYRE_LOW_KPA if heard else None, dt_s)
        for code, kpa in zip(TYRE_CODES, self.kpa, strict=True):
            self.report(code, kpa is None, dt_s)

    def own_data(self) -> Mapping[int, Callable[[], bytes]]:
        """0190: pressures FL FR RL RR (2 kPa, FF = not heard)."""
        return {0x0190: lambda: b"".join(b"\xff" if kpa is None else u8(kpa / 2) for kpa in self.kpa)}

    def snapshot_dids(self) -> tuple[int, ...]:
        """Pressures."""
        return (0x0190,)
