"""The vehicle control unit: the driver's wishes, readiness, 12 V, and the watch over the other ECUs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from virtualbus.ecu import Ecu, Values, hybrid_data, u8, u16
from virtualbus.trouble import MonitorTest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from virtualbus.plant import Plant

__all__ = ["Vcu"]

COMPATIBLE_BMS: Final = frozenset({(3, 2, 1), (3, 3, 1), (3, 4, 1)})
"""BMS software (major, minor, data set) that this program was released with."""

LOW_VOLTAGE_V: Final = 11.0
_CLOSED: Final = 2
_STANDBY: Final = 1
_READY: Final = 2
_PARK, _DRIVE = 0, 3


class Vcu(Ecu):
    """Measures speed and supply, asks the BMS for the contactors, switches the DC/DC converter."""

    name = "VCU"
    status_available = 0xFF
    tests = (
        MonitorTest("U0111-87", 1.0, 2.0),
        MonitorTest("U0110-87", 1.0, 2.0),
        MonitorTest("U019B-87", 2.0, 4.0, legislated=False),
        MonitorTest("U0312-57", 2.0, 2.0),
        MonitorTest("P0A0A-13", 1.0, 2.0),
        MonitorTest("P0562-16", 10.0, 10.0, confirm_cycles=2, legislated=False),
        MonitorTest("P0A7D-84", 10.0, 10.0, confirm_cycles=2, legislated=False),
    )

    def __init__(
        self, request_id: int, response_id: int, identification: Mapping[int, bytes], rng: np.random.Generator
    ) -> None:
        super().__init__(request_id, response_id, identification, rng)
        self.speed_kmh = 0.0
        self.km = 0.0
        self.ambient_c = 20.0
        self.pedal_percent = 0.0
        self.brake = 1
        self.ready = _STANDBY

    def measure(self, plant: Plant, dt_s: float) -> None:
        """Wheel speed, odometer, pedals, outside temperature."""
        self.speed_kmh = plant.speed_kmh
        self.km = plant.odometer_km
        self.ambient_c = plant.ambient_c
        self.pedal_percent = plant.pedal_percent
        self.brake = int(plant.speed_kmh < 0.1)
        super().measure(plant, dt_s)

    def control(self, plant: Plant) -> None:
        """Ready when the BMS says that the contactors are closed; then the DC/DC converter runs."""
        closed = self.signal("ContactorState", "BMS_Status") == _CLOSED
        self.ready = _READY if closed else _STANDBY
        plant.switches.dcdc = closed

    def values(self, message: str) -> Values:
        """Signals of VCU_Status and VCU_Odometer."""
        if message == "VCU_Status":
            return {
                "VehicleSpeed": self.speed_kmh,
                "AcceleratorPedal": self.pedal_percent,
                "GearPosition": _DRIVE if self.speed_kmh > 0 else _PARK,
                "ReadyState": self.ready,
                "BrakeSwitch": self.brake,
                "ContactorRequest": 1,
            }
        return {"Odometer": self.km, "LowVoltage": self.low_v, "AmbientTemp": self.ambient_c}

    def judge(self, dt_s: float) -> None:
        """Who is silent, who runs the wrong program, and the supply."""
        self.report("U0111-87", self.is_lost("BMS_Pack", 0.2), dt_s)
        self.report("U0110-87", self.is_lost("INV_Status", 0.2), dt_s)
        self.report("U019B-87", self.is_lost("OBC_Status", 1.0), dt_s)
        software = tuple(
            self.signal(name, "BMS_Status") for name in ("BmsSoftwareMajor", "BmsSoftwareMinor", "BmsDataset")
        )
        self.report("U0312-57", None if None in software else software not in COMPATIBLE_BMS, dt_s)
        interlock = self.signal("HvilState", "BMS_Status")
        self.report("P0A0A-13", None if interlock is None else interlock == 0, dt_s)
        self.report("P0562-16", self.low_v < LOW_VOLTAGE_V, dt_s)
        soc = self.signal("StateOfCharge", "BMS_Pack")
        self.report("P0A7D-84", None if soc is None else soc < 5.0, dt_s)

    def may_clear(self) -> bool:
        """The VCU measures the speed itself."""
        return self.speed_kmh < 1.0

    def odometer_km(self) -> float | None:
        """The VCU counts the distance itself."""
        return self.km

    def snapshot_dids(self) -> tuple[int, ...]:
        """Standard parameters; what came from the BMS is left out when nothing came."""
        return (0xF40D, 0xF442, 0xF446, 0xF4A6, 0xF45B, 0xF49A, 0x0140)

    def own_data(self) -> Mapping[int, Callable[[], bytes]]:
        """0140: BMS software as received (major, minor, data set; FF = nothing received), ready state."""
        return {0x0140: self._seen_software}

    def _seen_software(self) -> bytes:
        seen = (self.signal(name, "BMS_Status") for name in ("BmsSoftwareMajor", "BmsSoftwareMinor", "BmsDataset"))
        return b"".join(b"\xff" if value is None else u8(value) for value in seen) + u8(self.ready)

    def parameters(self) -> Mapping[int, Callable[[], bytes | None]]:
        """The car's parameters: speed, distances, times, and the pack's as received."""
        return {
            **super().parameters(),
            0x0D: lambda: u8(self.speed_kmh),
            0x1F: lambda: u16(self.t_s - self._woke_s),
            0x21: lambda: u16(self._mil_km),
            0x30: lambda: u8(self.warm_ups),
            0x31: lambda: u16(self.km - (self.km if self.memory.cleared_km is None else self.memory.cleared_km)),
            0x46: lambda: u8(self.ambient_c + 40),
            0x4D: lambda: u16(self._mil_s / 60),
            0x4E: lambda: u16((self.t_s - self.memory.cleared_t_s) / 60),
            0x5B: self._charge,
            0x9A: lambda: hybrid_data(self.signal("PackVoltage", "BMS_Pack"), self.signal("PackCurrent", "BMS_Pack")),
            0xA6: self._odometer,
        }

    def _charge(self) -> bytes | None:
        soc = self.signal("StateOfCharge", "BMS_Pack")
        return None if soc is None else u8(soc * 2.55)
