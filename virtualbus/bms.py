"""The battery management system: samples the cells, counts the charge, switches the contactors, judges the pack."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from virtualbus.ecu import Ecu, Values, hybrid_data, u8, u16
from virtualbus.pack import CELLS, MODULES
from virtualbus.trouble import MonitorTest
from virtualbus.wiring import CellSampler, InsulationMeter, PackSensors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from virtualbus.design import Design
    from virtualbus.plant import Plant

__all__ = ["CELL_GROUPS", "TEMP_GROUPS", "Bms", "Contactors"]

CELL_GROUPS: Final = CELLS // 3
TEMP_GROUPS: Final = MODULES // 4

LOW_BELOW_MEDIAN_V: Final = 0.080
LOW_V: Final = 2.80
HIGH_V: Final = 4.25
SPREAD_V: Final = 0.120
OPPOSED_V: Final = 0.040
OPPOSED_SUM_V: Final = 0.025
INSULATION_OHM_PER_V: Final = 100.0
HOT_C: Final = 55.0
SUM_MISMATCH_V: Final = 6.0
OPEN_CURRENT_A: Final = 1.5
PRECHARGE_SHARE: Final = 0.95
PRECHARGE_LIMIT_S: Final = 3.0
OPEN_BELOW_A: Final = 10.0
REST_FOR_OCV_S: Final = 1800.0
_REQUEST_CLOSE: Final = 1


class Contactors(IntEnum):
    """ContactorState of the bus."""

    OPEN = 0
    PRECHARGE = 1
    CLOSED = 2
    OPENING = 3
    FAULT = 4


class Bms(Ecu):
    """Reads the car through its own samplers and sensors only."""

    name = "BMS"
    tests = (
        MonitorTest("P0DE6-16", 4.0, 6.0),
        MonitorTest("P0DE7-17", 2.0, 6.0),
        MonitorTest("P0BBD-85", 4.0, 6.0),
        MonitorTest("P0B3C-64", 3.0, 6.0),
        MonitorTest("P0AA6-1A", 8.0, 12.0),
        MonitorTest("P0A7E-4B", 5.0, 20.0),
        MonitorTest("P0ABB-64", 4.0, 6.0),
        MonitorTest("P0AC0-64", 4.0, 6.0),
        MonitorTest("P0C78-63", 0.2, 0.2),
        MonitorTest("U0293-87", 1.0, 2.0, legislated=False),
    )
    slow_s: ClassVar[Mapping[bytes, float]] = {b"\x19\x06": 0.18, b"\x22\xf1\x95": 0.12}

    def __init__(
        self,
        request_id: int,
        response_id: int,
        identification: Mapping[int, bytes],
        design: Design,
        rng: np.random.Generator,
    ) -> None:
        super().__init__(request_id, response_id, identification, rng)
        self.software = design.bms_software
        self._sampler = CellSampler(design.wire_ohm, rng)
        self._sensors = PackSensors(rng)
        self._insulation = InsulationMeter(rng)
        self.cells_v = np.zeros(CELLS)
        self.temperatures_c = np.zeros(MODULES)
        self.pack_v = 0.0
        self.current_a = 0.0
        self.insulation_ohm = 0.0
        self.soc = 0.5
        self.interlock_closed = True
        self.contactors = Contactors.OPEN
        self._state_s = 0.0
        self._slept_s: float | None = None
        self._counted_s = 0.0
        self._needs_ocv = True
        self.latched_v: NDArray[np.float64] | None = None
        self.latched_c: NDArray[np.float64] | None = None

    # -- the cycle ----------------------------------------------------------------------------------------------

    def wake(self, t_s: float) -> None:
        """After a long rest the cells' voltage tells the charge."""
        super().wake(t_s)
        self._insulation.restart()
        self._counted_s = t_s
        self._needs_ocv = self._slept_s is None or t_s - self._slept_s >= REST_FOR_OCV_S
        self.contactors = Contactors.OPEN

    def sleep(self) -> None:
        """Remembers when the rest began."""
        super().sleep()
        self._slept_s = self.t_s
        self.contactors = Contactors.OPEN

    def measure(self, plant: Plant, dt_s: float) -> None:
        """Samples cells, pack, temperatures, insulation and interlock."""
        super().measure(plant, dt_s)
        self.cells_v = self._sampler.sample(plant.pack.terminal_v)
        self.temperatures_c = self._sensors.temperatures_c(plant.pack)
        self.measure_pack(plant)
        self.insulation_ohm = self._insulation.measure_ohm(plant.insulation.resistance_ohm(plant.t_s), dt_s)
        self.interlock_closed = plant.interlock_closed
        if self._needs_ocv:
            self.soc = self.software.cell.soc_from_ocv(float(np.sort(self.cells_v)[CELLS // 2]))
            self._needs_ocv = False

    def measure_pack(self, plant: Plant) -> None:
        """The fast part: pack voltage, current, and the charge that went by since the last time."""
        dt_s = plant.t_s - self._counted_s
        self._counted_s = plant.t_s
        self.t_s = plant.t_s
        self.pack_v = self._sensors.voltage_v(plant.pack)
        self.current_a = self._sensors.current_a(plant.pack)
        spent = self.current_a * dt_s / 3600 / self.software.cell.capacity_ah
        self.soc = min(1.0, max(0.0, self.soc - spent))

    def control(self, plant: Plant) -> None:
        """Precharges and closes when asked; opens when asked or when nobody is heard any more."""
        wanted = self.signal("ContactorRequest", "VCU_Status", 1.0) == _REQUEST_CLOSE
        since_s = self.t_s - self._state_s
        state = self.contactors
        if state is Contactors.OPEN and wanted and self.interlock_closed:
            self._enter(Contactors.PRECHARGE)
        elif state is Contactors.PRECHARGE:
            link_v = self.signal("DcLinkVoltage", "INV_Status")
            if not wanted:
                self._enter(Contactors.OPEN)
            elif link_v is not None and link_v >= PRECHARGE_SHARE * self.pack_v and since_s >= 0.2:
                self._enter(Contactors.CLOSED)
            elif since_s > PRECHARGE_LIMIT_S:
                self._enter(Contactors.FAULT)
        elif state is Contactors.CLOSED and not wanted and abs(self.current_a) < OPEN_BELOW_A:
            self._enter(Contactors.OPEN)
        plant.switches.precharge = self.contactors in (Contactors.PRECHARGE, Contactors.CLOSED)
        plant.switches.main_contactors = self.contactors is Contactors.CLOSED

    def _enter(self, state: Contactors) -> None:
        self.contactors = state
        self._state_s = self.t_s

    def judge(self, dt_s: float) -> None:
        """The tests on what was just sampled."""
        self._judge_cells(dt_s)
        limit_ohm = INSULATION_OHM_PER_V * self.pack_v
        self.report("P0AA6-1A", self.insulation_ohm < limit_ohm, dt_s)
        self.report("P0A7E-4B", float(self.temperatures_c.max()) > HOT_C, dt_s)
        mismatch_v = abs(self.pack_v - float(self.cells_v.sum()))
        self.report("P0ABB-64", mismatch_v > SUM_MISMATCH_V, dt_s)
        is_open = self.contactors is Contactors.OPEN and self.t_s - self._state_s > 1.0
        self.report("P0AC0-64", abs(self.current_a) > OPEN_CURRENT_A if is_open else None, dt_s)
        state = self.contactors
        failed = {Contactors.FAULT: True, Contactors.CLOSED: False}.get(state)
        self.report("P0C78-63", failed, dt_s)
        self.report("U0293-87", self.is_lost("VCU_Status", 0.2), dt_s)

    def _judge_cells(self, dt_s: float) -> None:
        cells = self.cells_v
        ordered = np.sort(cells)
        away = cells - ordered[CELLS // 2]
        pairs = np.minimum(np.abs(away[:-1]), np.abs(away[1:]))
        opposed = (away[:-1] * away[1:] < 0) & (np.abs(away[:-1] + away[1:]) < OPPOSED_SUM_V) & (pairs > OPPOSED_V)
        implausible = bool(opposed.any())
        self.report("P0B3C-64", implausible, dt_s)
        if implausible:
            # Two readings that cannot be believed say nothing about their cells.
            believed = np.ones(CELLS, dtype=bool)
            believed[:-1] &= ~opposed
            believed[1:] &= ~opposed
            ordered = np.sort(cells[believed])
        low, high = float(ordered[0]), float(ordered[-1])
        median = float(ordered[len(ordered) // 2])
        self.report("P0DE6-16", low < LOW_V or median - low > LOW_BELOW_MEDIAN_V, dt_s)
        self.report("P0DE7-17", high > HIGH_V, dt_s)
        self.report("P0BBD-85", high - low > SPREAD_V, dt_s)

    # -- the bus ------------------------------------------------------------------------------------------------

    def values(self, message: str) -> Values:
        """Signals of the unmultiplexed messages; the grouped ones come from :meth:`cell_group`, :meth:`temp_group`."""
        if message == "BMS_Pack":
            return {"PackVoltage": self.pack_v, "PackCurrent": self.current_a, "StateOfCharge": self.soc * 100}
        if message == "BMS_Status":
            return {
                "InsulationResistance": min(65_000.0, self.insulation_ohm / 1000),
                "ContactorState": int(self.contactors),
                "HvilState": int(self.interlock_closed),
                "BalancingState": 0,
                "BmsSoftwareMajor": self.software.major,
                "BmsSoftwareMinor": self.software.minor,
                "BmsDataset": self.software.cell.dataset,
            }
        low, high = int(self.cells_v.argmin()), int(self.cells_v.argmax())
        return {
            "CellVoltageMin": float(self.cells_v[low]),
            "CellVoltageMax": float(self.cells_v[high]),
            "CellNumberMin": low + 1,
            "CellNumberMax": high + 1,
        }

    def cell_group(self, group: int) -> Values:
        """Three cells of the sample that was latched at group 0, so that all 96 belong together."""
        if group == 0 or self.latched_v is None:
            self.latched_v = self.cells_v
        first = 3 * group
        out: Values = {"CellGroup": group}
        for index in range(first, first + 3):
            out[f"CellVoltage_{index + 1:03d}"] = float(self.latched_v[index])
        return out

    def temp_group(self, group: int) -> Values:
        """Four probes of the sample latched at group 0."""
        if group == 0 or self.latched_c is None:
            self.latched_c = self.temperatures_c
        out: Values = {"TempGroup": group}
        for index in range(4 * group, 4 * group + 4):
            out[f"CellTemp_{index + 1:02d}"] = float(self.latched_c[index])
        return out

    # -- diagnostics --------------------------------------------------------------------------------------------

    def snapshot_dids(self) -> tuple[int, ...]:
        """Standard parameters first, the maker's own after them."""
        return (0xF49A, 0xF45B, 0xF40D, 0xF4A6, 0xF446, 0xF442, 0x0110, 0x0111, 0x0112)

    def own_data(self) -> Mapping[int, Callable[[], bytes]]:
        """0110 extreme cells (mV, number, mV, number), 0111 insulation (kΩ), 0112 warmest and coldest (0.5 °C, -40)."""
        return {0x0110: self._extremes, 0x0111: lambda: u16(self.insulation_ohm / 1000), 0x0112: self._warmth}

    def _extremes(self) -> bytes:
        low, high = int(self.cells_v.argmin()), int(self.cells_v.argmax())
        return u16(float(self.cells_v[low]) * 1000) + u8(low + 1) + u16(float(self.cells_v[high]) * 1000) + u8(high + 1)

    def _warmth(self) -> bytes:
        return u8((float(self.temperatures_c.max()) + 40) * 2) + u8((float(self.temperatures_c.min()) + 40) * 2)

    def parameters(self) -> Mapping[int, Callable[[], bytes | None]]:
        """State of charge and pack data beside the common ones."""
        return {
            **super().parameters(),
            0x0D: self._speed,
            0x46: self._ambient,
            0x5B: lambda: u8(self.soc * 255),
            0x9A: lambda: hybrid_data(self.pack_v, self.current_a),
            0xA6: self._odometer,
        }
