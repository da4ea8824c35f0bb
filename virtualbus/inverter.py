"""The drive inverter: DC link, motor, torque."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from virtualbus.ecu import Ecu, Values, u8, u16
from virtualbus.trouble import MonitorTest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from virtualbus.plant import Plant

__all__ = ["Inverter"]

MISMATCH_V: Final = 20.0
HOT_C: Final = 105.0
MOTOR_HOT_C: Final = 150.0
_READY: Final = 2
_CLOSED: Final = 2


class Inverter(Ecu):
    """Gives torque when the VCU is ready and the DC link stands."""

    name = "INV"
    tests = (
        MonitorTest("U0111-87", 1.0, 2.0),
        MonitorTest("U0293-87", 1.0, 2.0),
        MonitorTest("P0DA8-62", 2.0, 2.0),
        MonitorTest("P0A3C-4B", 3.0, 10.0),
        MonitorTest("P0A2F-4B", 3.0, 10.0),
    )

    def __init__(
        self, request_id: int, response_id: int, identification: Mapping[int, bytes], rng: np.random.Generator
    ) -> None:
        super().__init__(request_id, response_id, identification, rng)
        self._link_gain = 1 + 0.002 * float(rng.standard_normal())
        self._rng = rng
        self.link_v = 0.0
        self.rpm = 0.0
        self.torque_nm = 0.0
        self.inverter_c = 20.0
        self.motor_c = 20.0
        self.state = 0

    def measure(self, plant: Plant, dt_s: float) -> None:
        """DC link, resolver, phase currents, temperatures."""
        super().measure(plant, dt_s)
        self.link_v = max(0.0, plant.link_v * self._link_gain + 0.2 * float(self._rng.standard_normal()))
        self.rpm = plant.motor_rpm
        self.torque_nm = plant.motor_nm
        self.inverter_c = plant.inverter_c
        self.motor_c = plant.motor_c

    def control(self, plant: Plant) -> None:
        """Torque only with a ready VCU and a standing DC link."""
        ready = self.signal("ReadyState", "VCU_Status") == _READY and self.link_v > 200
        plant.switches.torque = ready
        self.state = (3 if self.rpm > 0 else 2) if ready else (1 if self.link_v > 60 else 0)

    def values(self, message: str) -> Values:
        """Signals of INV_Status and INV_Temperature."""
        if message == "INV_Status":
            return {
                "MotorSpeed": self.rpm,
                "MotorTorque": self.torque_nm,
                "DcLinkVoltage": self.link_v,
                "InverterState": self.state,
            }
        return {"InverterTemp": self.inverter_c, "MotorTemp": self.motor_c}

    def judge(self, dt_s: float) -> None:
        """Lost partners, DC link against pack voltage, temperatures."""
        self.report("U0111-87", self.is_lost("BMS_Pack", 0.2), dt_s)
        self.report("U0293-87", self.is_lost("VCU_Status", 0.2), dt_s)
        pack_v = self.signal("PackVoltage", "BMS_Pack", 0.1)
        closed = self.signal("ContactorState", "BMS_Status", 0.2) == _CLOSED
        comparable = pack_v is not None and closed
        self.report("P0DA8-62", abs((pack_v or 0.0) - self.link_v) > MISMATCH_V if comparable else None, dt_s)
        self.report("P0A3C-4B", self.inverter_c > HOT_C, dt_s)
        self.report("P0A2F-4B", self.motor_c > MOTOR_HOT_C, dt_s)

    def snapshot_dids(self) -> tuple[int, ...]:
        """Speed, distance and supply, then the motor's own."""
        return (0xF40D, 0xF4A6, 0xF442, 0x0120, 0x0121)

    def own_data(self) -> Mapping[int, Callable[[], bytes]]:
        """0120 motor speed (rpm), torque (0.1 Nm), both signed, DC link (0.1 V); 0121 inverter, motor (°C, -40)."""
        return {0x0120: self._motor, 0x0121: lambda: u8(self.inverter_c + 40) + u8(self.motor_c + 40)}

    def _motor(self) -> bytes:
        speed = round(self.rpm).to_bytes(2, "big", signed=True)
        torque = round(self.torque_nm * 10).to_bytes(2, "big", signed=True)
        return speed + torque + u16(self.link_v * 10)

    def parameters(self) -> Mapping[int, Callable[[], bytes | None]]:
        """Speed and distance as received."""
        return {**super().parameters(), 0x0D: self._speed, 0xA6: self._odometer}
