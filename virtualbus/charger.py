"""The on-board charger with the inlet and the control pilot; it also speaks to charging stations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from virtualbus.ecu import Ecu, Value, u8, u16
from virtualbus.trouble import MonitorTest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from virtualbus.plant import Plant

__all__ = ["Charger"]

HOT_C: Final = 90.0
DERATE_C: Final = 78.0
INLET_HOT_C: Final = 85.0
COOLED_BADLY_C: Final = 79.0
MAINS_LOW_V: Final = 190.0
PILOT_LOW_V, PILOT_HIGH_V = 5.3, 6.7
"""State C of the control pilot. Standard: IEC 61851-1:2017 Annex A."""
STATION_SILENT_S: Final = 1.0
"""Standard: GB/T 27930-2015, the car's time-out for CCS (from captures)."""
OUTPUT_SHARE: Final = 0.7
_CLOSED: Final = 2
_FULL_PERCENT: Final = 98.0


class Charger(Ecu):
    """Needs the BMS's frames to charge by; tests that belong to charging stay uncompleted without a plug."""

    name = "OBC"
    tests = (
        MonitorTest("P0D24-4B", 3.0, 10.0),
        MonitorTest("P0D8F-92", 120.0, 60.0),
        MonitorTest("P0D27-16", 3.0, 10.0),
        MonitorTest("P0CF3-13", 2.0, 4.0),
        MonitorTest("P0CF5-16", 2.0, 4.0),
        MonitorTest("P0E5F-4B", 3.0, 20.0),
        MonitorTest("P0D22-92", 15.0, 15.0),
        MonitorTest("P0D94-92", 2.0, 2.0, legislated=False),
        MonitorTest("U057D-87", 0.3, 5.0, legislated=False),
    )
    watches = (
        ("U0111-87", "BMS_Pack", 1.0, 2.0, 4.0, False),
        ("U0293-87", "VCU_Status", 1.0, 2.0, 4.0, False),
    )

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.temperature_c = 20.0
        self.inlet_c = 20.0
        self.plug = "none"
        self.pilot_v: float | None = None
        self.duty: float | None = None
        self.mains_v: float | None = None
        self.mains_a = 0.0
        self.output_a: float | None = None
        self.asked_w = 0.0
        self.station_silent_s = 0.0
        self.lock_share = 1.0
        self.state = 0
        self._stopped = False

    def measure(self, plant: Plant, dt_s: float) -> None:
        """Plug, pilot, mains, currents, temperatures."""
        super().measure(plant, dt_s)
        port = plant.port
        self.temperature_c = plant.charger_c
        self.inlet_c = port.inlet_c
        if port.plug != self.plug:
            self._stopped = False
        self.plug = port.plug
        self.pilot_v = port.pilot_v
        self.duty = port.duty if port.pilot_v is not None else None
        self.mains_v = port.mains_v
        self.mains_a = port.mains_a
        self.output_a = max(0.0, port.mains_a * (port.mains_v or 0.0) * 0.93 / max(200.0, plant.pack.voltage_v))
        self.station_silent_s = port.station_heard_s if port.plug == "dc" else 0.0
        self.lock_share = self.design.inlet.lock_share
        if port.plug == "none":
            self.output_a = None

    def control(self, plant: Plant) -> None:
        """Takes from the mains what pilot, battery and its own temperature allow."""
        closed = self.signal("ContactorState", "BMS_Status", 1.0) == _CLOSED
        soc = self.signal("StateOfCharge", "BMS_Pack", 1.0)
        limit_kw = self.signal("ChargePowerLimit", "BMS_Limits", 1.0)
        pilot_ok = self.pilot_v is not None and PILOT_LOW_V <= self.pilot_v <= PILOT_HIGH_V
        self.asked_w = 0.0
        if self.inlet_c > INLET_HOT_C + 12.0 or (self.plug == "dc" and self.station_silent_s > STATION_SILENT_S + 1.0):
            self._stopped = True
        wants = closed and soc is not None and soc < _FULL_PERCENT and not self._stopped and self.lock_share > 0.8
        if self.plug == "ac" and wants and pilot_ok:
            hot = min(1.0, max(0.0, (HOT_C + 6.0 - self.temperature_c) / (HOT_C + 6.0 - DERATE_C)))
            warm = min(1.0, max(0.4, (INLET_HOT_C + 14.0 - self.inlet_c) / 12.0))
            self.asked_w = min(self.design.vehicle.ac_w, (limit_kw or 0.0) * 1000) * hot * warm
        plant.switches.ac_w = self.asked_w
        if self._stopped or (self.plug == "dc" and not wants):
            plant.switches.dc_a = 0.0
        charging = self.asked_w > 0 or plant.switches.dc_a > 0
        full = soc is not None and soc >= _FULL_PERCENT
        if self.plug == "none":
            self.state = 0
        else:
            self.state = 4 if self._stopped else 2 if charging else 3 if full else 1

    def signals(self) -> Mapping[str, Callable[[], Value]]:
        """OBC_Status, OBC_Plug; mains and current do not exist without a plug."""
        return {
            "ChargerState": lambda: self.state,
            "PlugState": lambda: 0 if self.plug == "none" else 2 if self.lock_share > 0.8 else 1,
            "MainsVoltage": lambda: self.mains_v,
            "ChargerCurrent": lambda: self.output_a,
            "ChargerTemp": lambda: self.temperature_c,
            "PilotDuty": lambda: self.duty,
            "PilotVoltage": lambda: self.pilot_v,
            "InletTemp": lambda: self.inlet_c,
            "MainsCurrent": lambda: None if self.mains_v is None else self.mains_a,
            "ChargeSession": lambda: {"none": 0, "ac": 1, "dc": 2}[self.plug],
        }

    def judge(self, dt_s: float) -> None:
        """Temperatures, pilot, output, lock, station; what belongs to a plug cannot be judged without one."""
        self.report("P0D24-4B", self.temperature_c > HOT_C, dt_s)
        self.report("P0D8F-92", self.temperature_c > COOLED_BADLY_C if self.asked_w > 0 else None, dt_s)
        self.report("P0D27-16", None if self.mains_v is None else self.mains_v < MAINS_LOW_V, dt_s)
        pilot_v = self.pilot_v
        self.report("P0CF3-13", None if pilot_v is None else pilot_v < 1.5, dt_s)
        self.report("P0CF5-16", None if pilot_v is None else 1.5 <= pilot_v < PILOT_LOW_V, dt_s)
        self.report("P0E5F-4B", self.inlet_c > INLET_HOT_C if self.plug != "none" else None, dt_s)
        judged = self.asked_w > 2000.0 and self.mains_v is not None
        got_w = self.mains_a * (self.mains_v or 0.0)
        self.report("P0D22-92", got_w < OUTPUT_SHARE * self.asked_w if judged else None, dt_s)
        self.report("P0D94-92", None if self.plug == "none" else self.lock_share <= 0.8, dt_s)
        self.report("U057D-87", self.station_silent_s > STATION_SILENT_S if self.plug == "dc" else None, dt_s)

    def snapshot_dids(self) -> tuple[int, ...]:
        """Speed, distance, supply, own temperature, inlet."""
        return (0xF40D, 0xF4A6, 0xF442, 0x0130, 0x0131)

    def own_data(self) -> Mapping[int, Callable[[], bytes]]:
        """0130 charger temperature (°C, -40), plug; 0131 inlet (°C, -40), pilot (0.1 V, FF = none), asked W."""
        return {
            0x0130: lambda: u8(self.temperature_c + 40) + u8(self.plug != "none"),
            0x0131: lambda: (
                u8(self.inlet_c + 40) + (b"\xff" if self.pilot_v is None else u8(self.pilot_v * 10)) + u16(self.asked_w)
            ),
        }

    def parameters(self) -> Mapping[int, Callable[[], bytes | None]]:
        """Speed and distance as received."""
        return {**super().parameters(), 0x0D: self._speed, 0xA6: self._odometer}
