"""The drive inverter: DC link, motor, torque."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from virtualbus.ecu import Ecu, Value, s16, u8, u16
from virtualbus.trouble import MonitorTest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from virtualbus.plant import Plant

__all__ = ["Inverter"]

MISMATCH_V: Final = 20.0
HOT_C: Final = 105.0
DERATE_C: Final = 92.0
MOTOR_HOT_C: Final = 150.0
MOTOR_DERATE_C: Final = 138.0
COOLANT_HOT_C: Final = 72.0
ANGLE_DEG: Final = 6.0
ANGLE_RPM: Final = 900.0
PHASE_SHARE: Final = 0.07
PHASE_A: Final = 25.0
_READY: Final = 2
_CLOSED: Final = 2
_PRECHARGE: Final = 1


class Inverter(Ecu):
    """Gives torque when the VCU is ready and the DC link stands."""

    name = "INV"
    tests = (
        MonitorTest("P0DA8-62", 2.0, 2.0),
        MonitorTest("P0A3C-4B", 3.0, 10.0),
        MonitorTest("P0A2F-4B", 3.0, 10.0),
        MonitorTest("P0A2A-13", 2.0, 5.0),
        MonitorTest("P0A40-64", 4.0, 6.0),
        MonitorTest("P0BFD-64", 4.0, 6.0),
        MonitorTest("P0A93-92", 20.0, 30.0),
    )
    watches = (
        ("U0111-87", "BMS_Pack", 0.2, 1.0, 2.0, True),
        ("U0293-87", "VCU_Status", 0.2, 1.0, 2.0, True),
    )

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        rng: np.random.Generator = parts[-1]
        self._link_gain = 1 + 0.002 * float(rng.standard_normal())
        self._angle_zero_deg = 0.8 * float(rng.standard_normal())
        self._phase_gain = 1 + 0.006 * rng.standard_normal(3).clip(-2, 2)
        self._noise = rng.standard_normal(509)
        self._at = 0
        self.link_v = 0.0
        self.rpm = 0.0
        self.torque_nm = 0.0
        self.inverter_c = 20.0
        self.motor_c = 20.0
        self.phase_a = np.zeros(3)
        self.angle_deg = 0.0
        self.mean_a = 0.0
        self.limit_nm = 0.0
        self.state = 0

    def measure(self, plant: Plant, dt_s: float) -> None:
        """DC link, resolver, phase currents, temperatures."""
        super().measure(plant, dt_s)
        self.measure_fast(plant)
        self.inverter_c = plant.inverter_c
        stuck = self.design.sensors.motor_probe_stuck_c
        self.motor_c = plant.motor_c if math.isnan(stuck) else stuck

    def measure_fast(self, plant: Plant) -> None:
        """DC link, resolver, phase currents."""
        self._at = (self._at + 1) % 509
        noise = float(self._noise[self._at])
        self.link_v = max(0.0, plant.link.volts * self._link_gain + 0.2 * noise)
        self.rpm = plant.motor_rpm
        self.torque_nm = plant.motor_nm
        self.phase_a = plant.phase_a * self._phase_gain
        self.mean_a = float(self.phase_a.sum()) / 3
        self.t_s = plant.t_s
        self.limit_nm = min(1500.0, plant.switches.drive_w / max(20.0, self.rpm / 9.55))
        # The motor's own voltage, seen at speed, tells where the rotor really is.
        fast = self.rpm > ANGLE_RPM
        self.angle_deg = self.design.motor.resolver_deg + self._angle_zero_deg + 0.5 * noise if fast else 0.0

    def control(self, plant: Plant) -> None:
        """Torque only with a ready VCU and a standing DC link; less of it when something is hot or the pack weak."""
        ready = self.signal("ReadyState", "VCU_Status") == _READY and self.link_v > 200
        switches = plant.switches
        switches.torque = ready
        contactors = self.signal("ContactorState", "BMS_Status")
        switches.discharge = contactors not in (_PRECHARGE, _CLOSED)
        hot = min(
            _ramp(self.inverter_c, DERATE_C, HOT_C + 6.0), _ramp(self.motor_c, MOTOR_DERATE_C, MOTOR_HOT_C + 10.0)
        )
        limit_kw = self.signal("DischargePowerLimit", "BMS_Limits", 1.0)
        regen_kw = self.signal("ChargePowerLimit", "BMS_Limits", 1.0)
        body = plant.body
        switches.drive_w = max(4_000.0, hot * body.drive_w)
        switches.drive_w = min(switches.drive_w, 30_000.0 if limit_kw is None else max(2_000.0, limit_kw * 1000))
        switches.regen_w = 0.0 if regen_kw is None else min(body.regen_w * hot, regen_kw * 1000)
        self.state = (3 if self.rpm > 0 else 2) if ready else (1 if self.link_v > 60 else 0)

    def signals(self) -> Mapping[str, Callable[[], Value]]:
        """INV_Status, INV_Temperature, INV_Phases."""
        return {
            "MotorSpeed": lambda: self.rpm,
            "MotorTorque": lambda: self.torque_nm,
            "DcLinkVoltage": lambda: self.link_v,
            "InverterState": lambda: self.state,
            "InverterTemp": lambda: self.inverter_c,
            "MotorTemp": lambda: self.motor_c,
            "PhaseCurrent_U": lambda: float(self.phase_a[0]),
            "PhaseCurrent_V": lambda: float(self.phase_a[1]),
            "PhaseCurrent_W": lambda: float(self.phase_a[2]),
            "RotorAngleError": lambda: self.angle_deg,
            "ActualTorque": lambda: self.torque_nm / 3.4,
            "TorqueActual": lambda: self.torque_nm,
            "TorqueLimit": lambda: self.limit_nm,
            "LinkCurrent": lambda: self.torque_nm * self.rpm / 9.55 / max(50.0, self.link_v),
            "CurrentD": lambda: -0.3 * self.mean_a,
            "CurrentQ": lambda: self.mean_a * (1 if self.torque_nm >= 0 else -1),
            "DutyCycle": lambda: min(100.0, self.rpm / 150.0),
            "ElectricAngle": lambda: self.rpm * 6.0 * 4 * self.t_s % 360.0,
            "GateTemp_U": lambda: self.inverter_c + 0.01 * float(self.phase_a[0]),
            "GateTemp_V": lambda: self.inverter_c + 0.01 * float(self.phase_a[1]),
            "GateTemp_W": lambda: self.inverter_c + 0.01 * float(self.phase_a[2]),
            "SwitchingFrequency": lambda: 10.0,
        }

    def judge(self, dt_s: float) -> None:
        """DC link against pack voltage, temperatures, rotor angle, phases, cooling."""
        pack_v = self.signal("PackVoltage", "BMS_Pack", 0.1)
        closed = self.signal("ContactorState", "BMS_Status", 0.2) == _CLOSED
        comparable = pack_v is not None and closed
        self.report("P0DA8-62", abs((pack_v or 0.0) - self.link_v) > MISMATCH_V if comparable else None, dt_s)
        self.report("P0A3C-4B", self.inverter_c > HOT_C, dt_s)
        self.report("P0A2F-4B", self.motor_c > MOTOR_HOT_C, dt_s)
        self.report("P0A2A-13", self.motor_c < -38.0, dt_s)
        self.report("P0A40-64", abs(self.angle_deg) > ANGLE_DEG if self.rpm > ANGLE_RPM else None, dt_s)
        mean_a = float(self.phase_a.mean())
        apart = float(self.phase_a.max() - self.phase_a.min())
        self.report("P0BFD-64", apart > PHASE_SHARE * mean_a if mean_a > PHASE_A else None, dt_s)
        coolant_c = self.signal("DriveCoolantTemp", "TMS_Drive", 1.0)
        self.report("P0A93-92", None if coolant_c is None else coolant_c > COOLANT_HOT_C, dt_s)

    def snapshot_dids(self) -> tuple[int, ...]:
        """Speed, distance and supply, then the motor's own."""
        return (0xF40D, 0xF4A6, 0xF442, 0x0120, 0x0121, 0x0122)

    def own_data(self) -> Mapping[int, Callable[[], bytes]]:
        """0120 motor speed (rpm), torque (0.1 Nm), both signed, DC link (0.1 V); 0121 inverter, motor (°C, -40).

        0122: three phase currents (0.1 A), rotor angle error (0.1 degree, signed).
        """
        return {
            0x0120: lambda: s16(self.rpm) + s16(self.torque_nm * 10) + u16(self.link_v * 10),
            0x0121: lambda: u8(self.inverter_c + 40) + u8(self.motor_c + 40),
            0x0122: lambda: b"".join(u16(float(a) * 10) for a in self.phase_a) + s16(self.angle_deg * 10),
        }

    def parameters(self) -> Mapping[int, Callable[[], bytes | None]]:
        """Speed and distance as received."""
        return {**super().parameters(), 0x0D: self._speed, 0xA6: self._odometer}


def _ramp(value: float, begins: float, ends: float) -> float:
    """1 below ``begins``, 0 above ``ends``."""
    return min(1.0, max(0.0, (ends - value) / (ends - begins)))
