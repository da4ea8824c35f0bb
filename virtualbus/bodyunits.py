"""Body computer, instrument cluster, gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from virtualbus.ecu import Ecu, Value, u8, u16
from virtualbus.trouble import MonitorTest, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from virtualbus.plant import Plant

__all__ = ["Body", "Cluster", "Gateway"]

_ON: Final = 2
ERRORS_MANY: Final = 20


class Body(Ecu):
    """Ignition, doors, lights; measures what the 12 V battery gives and takes."""

    name = "BCM"
    is_leisurely = True
    tests = (MonitorTest("U3003-1C", 5.0, 10.0, legislated=False),)
    watches = (("U0293-87", "VCU_Status", 1.0, 2.0, 4.0, False),)

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.key_on = False
        self.battery_a = 0.0

    def measure(self, plant: Plant, dt_s: float) -> None:
        """Key, battery current; its own ground carries the lamps' current."""
        self.key_on = plant.switches.key_on
        self.battery_a = plant.low.battery_a
        self.ground_v = 12.0 * self.design.supply.ground_ohm
        super().measure(plant, dt_s)

    def signals(self) -> Mapping[str, Callable[[], Value]]:
        """BCM_Status."""
        return {
            "IgnitionState": lambda: _ON if self.key_on else 0,
            "DoorsOpen": lambda: 0,
            "LightState": lambda: 2 if self.key_on else 0,
            "BodySupply": lambda: self.low_v,
            "BodyCurrent": lambda: self.battery_a,
        }

    def judge(self, dt_s: float) -> None:
        """Its own supply against the VCU's: a bad ground shows here only."""
        elsewhere_v = self.signal("LowVoltage", "VCU_Odometer", 2.5)
        self.report("U3003-1C", None if elsewhere_v is None else abs(elsewhere_v - self.low_v) > 0.8, dt_s)

    def own_data(self) -> Mapping[int, Callable[[], bytes]]:
        """01A0: supply (0.1 V), battery current (0.1 A, offset 200)."""
        return {0x01A0: lambda: u8(self.low_v * 10) + u16((self.battery_a + 200) * 10)}

    def snapshot_dids(self) -> tuple[int, ...]:
        """Supply."""
        return (0x01A0,)


class Cluster(Ecu):
    """Shows range and lamps."""

    name = "IC"
    is_leisurely = True
    watches = (
        ("U0111-87", "BMS_Pack", 1.0, 2.0, 4.0, False),
        ("U0293-87", "VCU_Status", 1.0, 2.0, 4.0, False),
        ("U0140-87", "BCM_Status", 1.0, 2.0, 4.0, False),
        ("U0121-87", "ESC_Status", 1.0, 2.0, 4.0, False),
    )

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._km_per_soc = self.design.vehicle.cells * self.design.cell.capacity_ah * 3.7 / 1000 / 0.165 / 100

    def signals(self) -> Mapping[str, Callable[[], Value]]:
        """IC_Status."""
        return {"RangeShown": self._range, "LampHv": self._lamp, "LampLimited": self._limited}

    def _range(self) -> Value:
        soc = self.signal("StateOfCharge", "BMS_Pack", 1.0)
        soh = self.signal("StateOfHealth", "BMS_Limits", 2.0)
        return None if soc is None or soh is None else soc * self._km_per_soc * soh / 100

    def _lamp(self) -> Value:
        state = self.signal("ContactorState", "BMS_Status", 1.0)
        return 1 if state is None else int(state == 4)

    def _limited(self) -> Value:
        limit_kw = self.signal("DischargePowerLimit", "BMS_Limits", 2.0)
        return None if limit_kw is None else int(limit_kw < 25.0)

    def own_data(self) -> Mapping[int, Callable[[], bytes]]:
        """01B0: range shown (km, FFFF = unknown)."""
        return {0x01B0: lambda: b"\xff\xff" if self._range() is None else u16(float(self._range() or 0.0))}

    def snapshot_dids(self) -> tuple[int, ...]:
        """Range."""
        return (0x01B0,)


class Gateway(Ecu):
    """Joins the buses; counts the errors on them and who is heard."""

    name = "GW"
    is_leisurely = True
    tests = (MonitorTest("U0001-88", 0.05, 30.0, legislated=False),)
    watches = (
        ("U0293-87", "VCU_Status", 1.0, 2.0, 4.0, False),
        ("U0155-87", "IC_Status", 2.0, 3.0, 6.0, False),
        ("U0121-87", "ESC_Status", 1.0, 2.0, 4.0, False),
    )
    heard: Final = ("VCU_Status", "INV_Status", "BMS_Pack", "OBC_Status", "DCDC_Status", "TMS_Battery", "ESC_Status",
                    "EPS_Status", "BCM_Status", "IC_Status", "TPM_Pressures")  # fmt: skip

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.errors = 0
        self._errors_before = 0

    def measure(self, plant: Plant, dt_s: float) -> None:
        """Its bus controllers count what they saw broken."""
        super().measure(plant, dt_s)

    def saw_errors(self, count: int) -> None:
        """Error frames on the bus."""
        self.errors = min(65_000, self.errors + count)

    def signals(self) -> Mapping[str, Callable[[], Value]]:
        """GW_Status."""
        return {
            "BusErrorCount": lambda: self.errors,
            "EcusHeard": lambda: sum(self.has(message, 1.2) for message in self.heard),
        }

    def judge(self, dt_s: float) -> None:
        """Many error frames since the last time."""
        grown, self._errors_before = self.errors - self._errors_before, self.errors
        self.report("U0001-88", grown > ERRORS_MANY, dt_s)

    def own_data(self) -> Mapping[int, Callable[[], bytes]]:
        """01C0: error frames counted, number of codes confirmed here."""
        confirmed = sum(bool(code.status & Status.CONFIRMED) for code in self.memory.codes.values())
        return {0x01C0: lambda: u16(self.errors) + u8(confirmed)}

    def snapshot_dids(self) -> tuple[int, ...]:
        """Error count."""
        return (0x01C0,)
