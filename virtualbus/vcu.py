"""The vehicle control unit: the driver's wishes, readiness, 12 V, and the watch over the other ECUs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from virtualbus.ecu import Ecu, Value, hybrid_data, u8, u16
from virtualbus.trouble import MonitorTest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from virtualbus.plant import Plant

__all__ = ["Vcu"]

LOW_VOLTAGE_V: Final = 11.0
_RELEASED: Final = 3
"""Minor versions back from the newest that this program was released with."""
_CLOSED: Final = 2
_STANDBY: Final = 1
_READY: Final = 2
_PARK, _DRIVE = 0, 3
_SETTLED_S: Final = 0.6
_ENGINE_ON_SOC: Final = 30.0
_ENGINE_ON_W: Final = 22_000.0
_SUSTAIN_W: Final = 7_000.0


class Vcu(Ecu):
    """Measures speed and supply, asks the BMS for the contactors, switches the DC/DC converter."""

    name = "VCU"
    status_available = 0xFF
    tests = (
        MonitorTest("U0312-57", 2.0, 2.0),
        MonitorTest("P0A0A-13", 1.0, 2.0),
        MonitorTest("P0562-16", 10.0, 10.0, confirm_cycles=2, legislated=False),
        MonitorTest("P0A7D-84", 10.0, 10.0, confirm_cycles=2, legislated=False),
    )
    watches = (
        ("U0111-87", "BMS_Pack", 0.2, 1.0, 2.0, True),
        ("U0110-87", "INV_Status", 0.2, 1.0, 2.0, True),
        ("U019B-87", "OBC_Status", 1.0, 2.0, 4.0, False),
        ("U0298-87", "DCDC_Status", 1.0, 2.0, 4.0, False),
        ("U0121-87", "ESC_Status", 0.3, 1.0, 2.0, False),
        ("U0140-87", "BCM_Status", 1.0, 2.0, 4.0, False),
        ("U0164-87", "TMS_Battery", 1.0, 2.0, 4.0, False),
        ("U0100-87", "ECM_Engine", 0.3, 1.0, 2.0, True),
        ("U0101-87", "TCM_Status", 0.5, 1.0, 2.0, True),
        ("U0146-87", "GW_Status", 4.0, 2.0, 4.0, False),
    )

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.speed_kmh = 0.0
        self.km = 0.0
        self.ambient_c = 20.0
        self.pedal_percent = 0.0
        self.wanted_w = 0.0
        self.demand_nm = 0.0
        self.brake = 1
        self.ready = _STANDBY
        self.wants_contactors = 1
        self._software_names = ("BmsSoftwareMajor", "BmsSoftwareMinor", "BmsDataset")
        # What the release notes of this program name: the same major version, the last minor ones, the same cell.
        built = self.design.vehicle
        major, _, minor = built.versions["BMS"].partition(".")
        self._compatible = {
            (int(major), number, built.cell.dataset)
            for number in range(max(0, int(minor) - _RELEASED + 1), int(minor) + 1)
        }

    def measure(self, plant: Plant, dt_s: float) -> None:
        """Wheel speed, odometer, pedals, outside temperature."""
        self.km = plant.odometer_km
        self.ambient_c = plant.ambient_c
        self.measure_fast(plant)
        super().measure(plant, dt_s)

    def measure_fast(self, plant: Plant) -> None:
        """Speed and pedals."""
        self.speed_kmh = plant.speed_kmh
        self.pedal_percent = plant.pedal_percent
        self.wanted_w = plant.wheel_w
        self.demand_nm = plant.motor_nm
        self.brake = int(plant.brake_bar > 2.0)

    def control(self, plant: Plant) -> None:
        """Ready when the BMS says that the contactors are closed; then the DC/DC converter runs."""
        closed = self.signal("ContactorState", "BMS_Status") == _CLOSED
        plug = self.signal("PlugState", "OBC_Status", 1.0)
        charging = plug is not None and plug > 0
        self.wants_contactors = int(self.t_s - self._woke_s >= _SETTLED_S)
        self.ready = _READY if closed and plant.switches.key_on and not charging else _STANDBY
        plant.switches.dcdc = closed
        if plant.combustion is not None:
            soc = self.signal("StateOfCharge", "BMS_Pack")
            low = soc is not None and soc < _ENGINE_ON_SOC
            runs = plant.switches.engine_w > 0
            needed = low or self.wanted_w > _ENGINE_ON_W or (runs and self.wanted_w > 4_000.0)
            runs = self.ready == _READY and plant.speed_kmh > 1.0 and needed
            share_w = max(0.0, self.wanted_w) * (1.0 if low else 0.7)
            plant.switches.engine_w = share_w + (_SUSTAIN_W if low else 100.0) if runs else 0.0

    def signals(self) -> Mapping[str, Callable[[], Value]]:
        """VCU_Status, VCU_Odometer."""
        return {
            "VehicleSpeed": lambda: self.speed_kmh,
            "AcceleratorPedal": lambda: self.pedal_percent,
            "GearPosition": lambda: _DRIVE if self.speed_kmh > 0 else _PARK,
            "ReadyState": lambda: self.ready,
            "BrakeSwitch": lambda: self.brake,
            "ContactorRequest": lambda: self.wants_contactors,
            "ParkingBrake": lambda: int(self.speed_kmh < 0.1),
            "TorqueDemand": lambda: self.demand_nm,
            "RegenShare": lambda: 50.0,
            "DriveMode": lambda: 1,
            "PedalTrackA": lambda: self.pedal_percent,
            "PedalTrackB": lambda: self.pedal_percent / 2,
            "WheelPower": lambda: self.wanted_w / 1000,
            "AxleSplit": lambda: 50.0,
            "Odometer": lambda: self.km,
            "LowVoltage": lambda: self.low_v,
            "AmbientTemp": lambda: self.ambient_c,
        }

    def judge(self, dt_s: float) -> None:
        """Who runs the wrong program, the interlock, the supply, the charge."""
        software = tuple(self.signal(name, "BMS_Status") for name in self._software_names)
        self.report("U0312-57", None if None in software else software not in self._compatible, dt_s)
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
        seen = (self.signal(name, "BMS_Status") for name in self._software_names)
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
