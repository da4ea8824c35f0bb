"""DC/DC converter and thermal management."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from virtualbus.cooling import FULL_RPM
from virtualbus.ecu import Ecu, Value, u8, u16
from virtualbus.trouble import MonitorTest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from virtualbus.plant import Plant

__all__ = ["Dcdc", "Thermal"]

OUTPUT_LOW_V: Final = 13.0
CONVERTER_HOT_C: Final = 95.0
STALLED_SHARE: Final = 0.1
SLOW_SHARE: Final = 0.6
FLOW_K: Final = 7.0
CHILLER_S: Final = 240.0
CHILLER_ABOVE_C: Final = 28.0
HEATER_BELOW_C: Final = 3.0
PUMP_DUTY: Final = 0x0161
FAN_FROM_C: Final = 45.0


class Dcdc(Ecu):
    """The converter's controller: measures its output and its temperature."""

    name = "DCDC"
    is_leisurely = True
    tests = (MonitorTest("P0A94-92", 10.0, 10.0), MonitorTest("P0D32-4B", 5.0, 20.0))
    watches = (("U0293-87", "VCU_Status", 1.0, 2.0, 4.0, False),)

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.output_a = 0.0
        self.temperature_c = 20.0
        self.is_on = False
        self._on_s = 0.0

    def measure(self, plant: Plant, dt_s: float) -> None:
        """Output and temperature."""
        super().measure(plant, dt_s)
        self.output_a = plant.low.converter_a
        self.temperature_c = plant.low.converter_c
        self.is_on = plant.switches.dcdc and plant.link.volts > 200.0
        self._on_s = self._on_s + dt_s if self.is_on else 0.0

    def signals(self) -> Mapping[str, Callable[[], Value]]:
        """DCDC_Status."""
        return {
            "DcdcOutputVoltage": lambda: self.low_v,
            "DcdcOutputCurrent": lambda: self.output_a,
            "DcdcTemp": lambda: self.temperature_c,
            "DcdcState": lambda: int(self.is_on),
        }

    def judge(self, dt_s: float) -> None:
        """Whether the converter holds the supply, and its temperature."""
        self.report("P0A94-92", self.low_v < OUTPUT_LOW_V if self._on_s > 5.0 else None, dt_s)
        self.report("P0D32-4B", self.temperature_c > CONVERTER_HOT_C, dt_s)

    def snapshot_dids(self) -> tuple[int, ...]:
        """Speed, distance, supply, output."""
        return (0xF40D, 0xF4A6, 0xF442, 0x0150)

    def own_data(self) -> Mapping[int, Callable[[], bytes]]:
        """0150: output (0.1 A), temperature (°C, -40)."""
        return {0x0150: lambda: u16(self.output_a * 10) + u8(self.temperature_c + 40)}

    def parameters(self) -> Mapping[int, Callable[[], bytes | None]]:
        """Speed and distance as received."""
        return {**super().parameters(), 0x0D: self._speed, 0xA6: self._odometer}


class Thermal(Ecu):
    """Pumps, fan, refrigerant and heater, with the pumps' speed as they report it."""

    name = "TMS"
    is_leisurely = True
    tests = (
        MonitorTest("P0CFF-71", 3.0, 6.0),
        MonitorTest("P0C4A-92", 30.0, 40.0),
        MonitorTest("P0A05-13", 3.0, 6.0),
        MonitorTest("P0C32-92", 60.0, 60.0, legislated=False),
    )
    watches = (
        ("U0111-87", "BMS_Pack", 1.0, 2.0, 4.0, False),
        ("U0293-87", "VCU_Status", 1.0, 2.0, 4.0, False),
    )

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.duty = 0.0
        self.drive_duty = 0.0
        self.fan = 0.0
        self.chiller = False
        self.heater_w = 0.0
        self.pump_rpm = 0.0
        self.drive_rpm = 0.0
        self.in_c = self.out_c = self.drive_c = 20.0
        self._chilled_s = 0.0
        self._chilled_from_c = 20.0
        self._adjusted: float | None = None

    def measure(self, plant: Plant, dt_s: float) -> None:
        """Coolant temperatures, pump speeds."""
        super().measure(plant, dt_s)
        loops = plant.loops
        self.in_c, self.out_c, self.drive_c = loops.battery_c, loops.battery_out_c, loops.drive_c
        self.pump_rpm = self.duty * FULL_RPM * loops.flaws.impeller
        self.drive_rpm = self.drive_duty * FULL_RPM * loops.flaws.drive_impeller
        if self.chiller:
            self._chilled_s += dt_s
        else:
            self._chilled_s, self._chilled_from_c = 0.0, self.in_c

    def control(self, plant: Plant) -> None:
        """As much coolant as the BMS asks for; the drive's loop by its own temperature."""
        wanted = self.signal("CoolingRequest", "BMS_Switches", 1.0)
        coldest = self.signal("BmsCoolantTemp", "BMS_Limits", 1.0)
        self.duty = 0.4 if wanted is None else wanted / 100
        if self._adjusted is not None:
            self.duty = self._adjusted
        self.chiller = self.duty > 0.6 and self.in_c > CHILLER_ABOVE_C - (3.0 if self.chiller else 0.0)
        cold = coldest is not None and coldest < HEATER_BELOW_C and self.duty > 0
        self.heater_w = 3500.0 if cold else 0.0
        powered = plant.link.volts > 200.0
        self.drive_duty = min(1.0, max(0.4, (self.drive_c - 25.0) / 30.0)) if powered else 0.0
        self.fan = min(1.0, max(0.0, (self.drive_c - FAN_FROM_C) / 12.0))
        switches = plant.switches
        switches.battery_pump, switches.drive_pump, switches.fan = self.duty, self.drive_duty, self.fan
        switches.chiller = float(self.chiller and powered)
        switches.heater_w = self.heater_w if powered else 0.0

    def signals(self) -> Mapping[str, Callable[[], Value]]:
        """TMS_Battery, TMS_Drive."""
        return {
            "BatteryPumpDuty": lambda: self.duty * 100,
            "BatteryPumpSpeed": lambda: self.pump_rpm,
            "CoolantInTemp": lambda: self.in_c,
            "CoolantOutTemp": lambda: self.out_c,
            "ChillerState": lambda: int(self.chiller),
            "HeaterPower": lambda: self.heater_w / 1000,
            "DrivePumpDuty": lambda: self.drive_duty * 100,
            "DrivePumpSpeed": lambda: self.drive_rpm,
            "DriveCoolantTemp": lambda: self.drive_c,
            "RadiatorFan": lambda: self.fan * 100,
            "CabinTemp": lambda: 21.0,
        }

    def judge(self, dt_s: float) -> None:
        """Pumps that do not turn, coolant that does not flow, refrigerant that does not cool."""
        turning = self.duty > 0.2
        share = self.pump_rpm / (self.duty * FULL_RPM) if turning else 1.0
        self.report("P0CFF-71", share < STALLED_SHARE if turning else None, dt_s)
        risen = self.out_c - self.in_c
        self.report("P0C4A-92", (STALLED_SHARE <= share < SLOW_SHARE or risen > FLOW_K) if turning else None, dt_s)
        turning = self.drive_duty > 0.2
        share = self.drive_rpm / (self.drive_duty * FULL_RPM) if turning else 1.0
        self.report("P0A05-13", share < STALLED_SHARE if turning else None, dt_s)
        useless = self.in_c > self._chilled_from_c - 0.5 and self.in_c > CHILLER_ABOVE_C
        self.report("P0C32-92", useless if self._chilled_s > CHILLER_S else None, dt_s)

    def snapshot_dids(self) -> tuple[int, ...]:
        """Speed, distance, supply, coolant."""
        return (0xF40D, 0xF4A6, 0xF442, 0x0160)

    def own_data(self) -> Mapping[int, Callable[[], bytes]]:
        """0160: coolant in, out, drive (°C, -40), both pumps' duty (%), speed (rpm); 0161: duty of the battery's."""
        return {
            0x0160: lambda: (
                u8(self.in_c + 40) + u8(self.out_c + 40) + u8(self.drive_c + 40) + u8(self.duty * 100)
                + u16(self.pump_rpm) + u8(self.drive_duty * 100) + u16(self.drive_rpm)
            ),
            PUMP_DUTY: lambda: u8(self.duty * 100),
        }  # fmt: skip

    def outputs(self) -> Mapping[int, Callable[[bytes | None], bool]]:
        """0161: duty of the battery's coolant pump (%)."""
        return {PUMP_DUTY: self._adjust}

    def _adjust(self, state: bytes | None) -> bool:
        if state is not None and (len(state) != 1 or state[0] > 100):
            return False
        self._adjusted = None if state is None else state[0] / 100
        if self._adjusted is not None:
            self.duty = self._adjusted
        return True

    def parameters(self) -> Mapping[int, Callable[[], bytes | None]]:
        """Speed and distance as received."""
        return {**super().parameters(), 0x0D: self._speed, 0xA6: self._odometer}
