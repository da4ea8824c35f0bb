"""The on-board charger, at rest while the car drives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from virtualbus.ecu import Ecu, Values, u8
from virtualbus.trouble import MonitorTest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from virtualbus.plant import Plant

__all__ = ["Charger"]

HOT_C: Final = 90.0


class Charger(Ecu):
    """Needs the BMS's frames to charge by; tests that belong to charging stay uncompleted without a plug."""

    name = "OBC"
    tests = (
        MonitorTest("U0111-87", 2.0, 4.0, legislated=False),
        MonitorTest("U0293-87", 2.0, 4.0, legislated=False),
        MonitorTest("P0D24-4B", 3.0, 10.0),
        MonitorTest("P0D27-16", 3.0, 10.0),
    )

    def __init__(
        self, request_id: int, response_id: int, identification: Mapping[int, bytes], rng: np.random.Generator
    ) -> None:
        super().__init__(request_id, response_id, identification, rng)
        self.temperature_c = 20.0
        self.plugged = False

    def measure(self, plant: Plant, dt_s: float) -> None:
        """Its own temperature; no mains without a plug."""
        super().measure(plant, dt_s)
        self.temperature_c = plant.charger_c

    def values(self, message: str) -> Values:  # noqa: ARG002 - it has one message only
        """Signals of OBC_Status; mains and current do not exist without a plug."""
        return {
            "ChargerState": 0,
            "PlugState": int(self.plugged),
            "MainsVoltage": None,
            "ChargerCurrent": None,
            "ChargerTemp": self.temperature_c,
        }

    def judge(self, dt_s: float) -> None:
        """Lost partners, temperature; the mains cannot be judged while there are none."""
        self.report("U0111-87", self.is_lost("BMS_Pack", 1.0), dt_s)
        self.report("U0293-87", self.is_lost("VCU_Status", 1.0), dt_s)
        self.report("P0D24-4B", self.temperature_c > HOT_C, dt_s)
        self.report("P0D27-16", None, dt_s)

    def snapshot_dids(self) -> tuple[int, ...]:
        """Speed, distance, supply, own temperature."""
        return (0xF40D, 0xF4A6, 0xF442, 0x0130)

    def own_data(self) -> Mapping[int, Callable[[], bytes]]:
        """0130: charger temperature (°C, -40), plug."""
        return {0x0130: lambda: u8(self.temperature_c + 40) + u8(self.plugged)}

    def parameters(self) -> Mapping[int, Callable[[], bytes | None]]:
        """Speed and distance as received."""
        return {**super().parameters(), 0x0D: self._speed, 0xA6: self._odometer}
