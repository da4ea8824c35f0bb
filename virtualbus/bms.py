"""The battery management system: samples the cells, counts the charge, switches the contactors, cools and balances.

What it judges stands in :mod:`virtualbus.bmstests`.
"""

from __future__ import annotations

import math
from enum import IntEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from virtualbus.bmstests import BMS_TESTS, BmsTests
from virtualbus.chemistry import CELL_TYPES
from virtualbus.design import BmsSoftware
from virtualbus.ecu import Ecu, Value, hybrid_data, s16, u8, u16
from virtualbus.wiring import CellSampler, InsulationMeter, PackSensors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from virtualbus.chemistry import Floats
    from virtualbus.plant import Plant

__all__ = ["Bms", "Contactors"]

PRECHARGE_SHARE: Final = 0.95
PRECHARGE_LIMIT_S: Final = 3.0
PROBE_S: Final = 0.12
"""How long each contactor is closed alone, to see that none of the others is welded."""
WELDED_V: Final = 25.0
OPEN_BELOW_A: Final = 10.0
COIL_V: Final = 8.5
REST_FOR_OCV_S: Final = 1800.0
BALANCE_ABOVE_V: Final = 0.006
BALANCE_SOC: Final = 0.55
FULL_SOC: Final = 0.98
_BLOCK: Final = 32
_REQUEST_CLOSE: Final = 1
_DC: Final = 2


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
    tests = BMS_TESTS
    watches = (("U0293-87", "VCU_Status", 0.2, 1.0, 2.0, False),)
    slow_s = {b"\x19\x06": 0.18, b"\x22\xf1\x95": 0.12}  # noqa: RUF012 - the base class says ClassVar

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        rng: np.random.Generator = parts[-1]
        design = self.design
        self.software = design.bms_software
        vehicle = design.vehicle
        self._sampler = CellSampler(design.wire_ohm, rng)
        self._sensors = PackSensors(vehicle.modules, design.sensors, rng)
        self._insulation = InsulationMeter(rng)
        self.cells_v = np.zeros(vehicle.cells)
        self.temperatures_c = np.zeros(vehicle.modules)
        self.bleeding_cells = np.zeros(vehicle.modules)
        self.pack_v = 0.0
        self.link_v = 0.0
        self._link_gain = 1 + 0.001 * float(rng.standard_normal())
        self.current_a = 0.0
        self.insulation_ohm = 0.0
        self.soc = 0.5
        self._learned_soh = float(design.spread.capacity.min()) + 0.008 * float(rng.standard_normal())
        self._soc_error = 0.008 * float(rng.standard_normal())
        self.interlock_closed = True
        self.contactors = Contactors.OPEN
        self.stage = ""
        self.welded = ""
        self._state_s = 0.0
        self._slept_s: float | None = None
        self.rested_s = math.inf
        self._counted_s = 0.0
        self._started_s = 0.0
        self._needs_soc = True
        self.is_balancing = False
        self.bleed_test: bool | None = None
        self._bleed_step = 0
        self._before_bleed = self.cells_v
        self._gave_way = np.zeros(vehicle.cells, dtype=bool)
        self._empty_v = 0.0
        self.coolant_c = 20.0
        self.cooling_percent = 0.0
        self._judge = BmsTests(self)

    # -- the cycle ----------------------------------------------------------------------------------------------

    def wake(self, t_s: float) -> None:
        """After a long rest the cells' voltage tells the charge."""
        super().wake(t_s)
        self._insulation.restart()
        self._counted_s = t_s
        self.rested_s = math.inf if self._slept_s is None else t_s - self._slept_s
        self._needs_soc = self.rested_s >= REST_FOR_OCV_S
        self._started_s = t_s
        self._judge.restart()
        self._bleed_step, self.bleed_test = 0, None
        self.is_balancing = False
        self.welded = ""
        self._enter(Contactors.OPEN)

    def sleep(self) -> None:
        """Remembers when the rest began."""
        super().sleep()
        self._slept_s = self.t_s
        self._enter(Contactors.OPEN)

    def measure(self, plant: Plant, dt_s: float) -> None:
        """Samples cells, pack, temperatures, insulation and interlock."""
        super().measure(plant, dt_s)
        self.measure_fast(plant)
        # Balancing pauses for each reading; only a switch that does not open disturbs it.
        self.cells_v = self._sampler.sample(plant.pack, self.design.bleed_stuck if self.is_balancing else None)
        self.temperatures_c = self._sensors.temperatures_c(plant.pack)
        self.insulation_ohm = self._insulation.measure_ohm(plant.insulation_ohm, dt_s)
        self.interlock_closed = plant.is_interlock_closed
        self.bleeding_cells = plant.pack.bleeding.reshape(plant.pack.modules, -1).sum(axis=1).astype(np.float64)
        self.coolant_c = plant.loops.battery_c
        forgotten = plant.t_s - self._started_s >= self.design.bms_restarts_s
        if self._needs_soc or forgotten:
            self._started_s = plant.t_s
            self._soc_from_voltage(plant, forgotten=forgotten)

    def _soc_from_voltage(self, plant: Plant, *, forgotten: bool) -> None:
        """Takes the charge from the voltage, rested or not; on a flat curve a count is believed more."""
        cell = self.software.cell
        median_v = float(np.sort(self.cells_v)[len(self.cells_v) // 2])
        found = cell.soc_from_ocv(median_v)
        first = math.isinf(self.rested_s)
        if cell.hysteresis_v and not forgotten:
            # The days before were counted, not simulated: the count carries an error of a percent or so.
            counted = float(plant.pack.soc.mean()) + self._soc_error if first else self.soc
            found = found if counted < 0.25 else counted
        self.soc = found
        self._needs_soc = False

    def measure_fast(self, plant: Plant) -> None:
        """The fast part: pack voltage, current, and the charge that went by since the last time."""
        dt_s = plant.t_s - self._counted_s
        self._counted_s = plant.t_s
        self.t_s = plant.t_s
        self.pack_v = self._sensors.voltage_v(plant.pack)
        self.link_v = plant.link.volts * self._link_gain
        self.current_a = self._sensors.current_a(plant.pack)
        spent = self.current_a * dt_s / 3600 / self.software.cell.capacity_ah
        self.soc = min(1.0, max(0.0, self.soc - spent))

    def control(self, plant: Plant) -> None:
        """Contactors, balancing, cooling, and what a station is asked for."""
        self._switch(plant)
        self._balance(plant)
        hottest, coldest = float(self.temperatures_c.max()), float(self.temperatures_c.min())
        wanted = (hottest - 30.0) * 12.0
        self.cooling_percent = min(100.0, max(25.0, wanted)) if self.contactors is Contactors.CLOSED else 0.0
        switches = plant.switches
        session = self.signal("ChargeSession", "OBC_Plug", 1.0)
        closed = self.contactors is Contactors.CLOSED
        limit_w = self.charge_limit_kw * 1000
        asks = closed and session == _DC and self.soc < FULL_SOC and coldest > 0.0
        switches.dc_a = min(self.design.vehicle.dc_a, limit_w / max(200.0, self.pack_v)) if asks else 0.0

    # -- contactors ---------------------------------------------------------------------------------------------

    def _switch(self, plant: Plant) -> None:
        """Tries each contactor alone, precharges, closes; opens when asked or when nobody is heard any more."""
        wanted = self.signal("ContactorRequest", "VCU_Status", 1.0) == _REQUEST_CLOSE
        since_s = self.t_s - self._state_s
        switches = plant.switches
        state = self.contactors
        moving = (self.signal("VehicleSpeed", "VCU_Status") or 0.0) > 3.0
        if state is Contactors.OPEN:
            if wanted and self.interlock_closed and self.low_v > COIL_V and self.bleed_test is not None:
                self.stage = "precharge alone"
                self._enter(Contactors.PRECHARGE)
        elif state is Contactors.PRECHARGE:
            if not wanted:
                self._enter(Contactors.OPEN)
            else:
                self._precharge(since_s)
        elif state is Contactors.CLOSED:
            if (not wanted and abs(self.current_a) < OPEN_BELOW_A) or (not self.interlock_closed and not moving):
                self._enter(Contactors.OPEN)
        elif state is Contactors.FAULT and not wanted:
            self._enter(Contactors.OPEN)
        state, stage = self.contactors, self.stage
        closed = state is Contactors.CLOSED
        trying = state is Contactors.PRECHARGE
        switches.precharge = trying and stage in ("precharge alone", "charge")
        switches.negative = closed or (trying and stage in ("negative alone", "charge"))
        switches.positive = closed

    def _precharge(self, since_s: float) -> None:
        if self.stage == "precharge alone":
            if since_s >= PROBE_S:
                # The link must stay empty: only a welded negative contactor closes this circuit.
                self._next_stage("negative alone", "negative")
        elif self.stage == "negative alone":
            if since_s >= PROBE_S:
                self._next_stage("charge", "positive")
        elif self.link_v >= PRECHARGE_SHARE * self.pack_v and since_s >= 0.2:
            self._enter(Contactors.CLOSED)
        elif since_s > PRECHARGE_LIMIT_S:
            self._enter(Contactors.FAULT)

    def _next_stage(self, stage: str, suspect: str) -> None:
        if self.link_v - self._empty_v > WELDED_V:
            self.welded = suspect
            self._enter(Contactors.FAULT)
            return
        self.stage = stage
        self._state_s = self.t_s
        self._empty_v = self.link_v

    def _enter(self, state: Contactors) -> None:
        self.contactors = state
        self._state_s = self.t_s
        self._empty_v = self.link_v
        if state is not Contactors.PRECHARGE:
            self.stage = ""

    @property
    def since_s(self) -> float:
        """Seconds in the present state of the contactors."""
        return self.t_s - self._state_s

    # -- balancing ----------------------------------------------------------------------------------------------

    def _balance(self, plant: Plant) -> None:
        if self.bleed_test is None:
            self._try_bleeding(plant)
            return
        resting = abs(self.current_a) < 3.0 and self.contactors is Contactors.CLOSED
        wants = resting and self.soc > BALANCE_SOC
        self.is_balancing = wants
        if not wants:
            plant.command_bleed(None)
            return
        above = self.cells_v > float(self.cells_v.min()) + BALANCE_ABOVE_V
        above[1:] &= ~above[:-1]  # two neighbours at once would heat their common wire
        plant.command_bleed(above)

    def _try_bleeding(self, plant: Plant) -> None:
        """After waking: every second cell's resistor on, then the others', and whether each reading gives way."""
        odd = np.arange(len(self.cells_v)) % 2 == 1
        if self._bleed_step == 0:
            self._before_bleed = self.cells_v
            plant.command_bleed(odd)
        elif self._bleed_step == 1:
            self._gave_way = (self._before_bleed - self.cells_v > 0.02) & odd
            plant.command_bleed(~odd)
        else:
            self._gave_way |= (self._before_bleed - self.cells_v > 0.02) & ~odd
            plant.command_bleed(None)
            self.bleed_test = bool(self._gave_way.all())
        self._bleed_step += 1

    # -- what the pack can do -----------------------------------------------------------------------------------

    @property
    def discharge_limit_kw(self) -> float:
        """Less for an empty cell, a cold or a hot pack."""
        cell = self.software.cell
        low = (float(self.cells_v.min()) - cell.low_v - 0.05) / 0.35
        coldest, hottest = float(self.temperatures_c.min()), float(self.temperatures_c.max())
        warm = min(1.0, max(0.15, (coldest + 25.0) / 30.0)) * min(1.0, max(0.0, (60.0 - hottest) / 8.0))
        return min(400.0, 3.0 * cell.capacity_ah * self.pack_v / 1000) * min(1.0, max(0.03, low)) * warm

    @property
    def charge_limit_kw(self) -> float:
        """Nothing when full, little when cold, less for a full cell or a hot pack."""
        cell = self.software.cell
        room = min(1.0, max(0.0, (cell.high_v - 0.05 - float(self.cells_v.max())) / 0.12))
        coldest, hottest = float(self.temperatures_c.min()), float(self.temperatures_c.max())
        warm = min(1.0, max(0.05, coldest / 18.0)) * min(1.0, max(0.0, (56.0 - hottest) / 8.0))
        full = min(1.0, max(0.0, (1.0 - self.soc) / 0.2)) if self.soc < FULL_SOC else 0.0
        return min(400.0, 1.6 * cell.capacity_ah * self.pack_v / 1000) * room * warm * full

    # -- the bus ------------------------------------------------------------------------------------------------

    def judge(self, dt_s: float) -> None:
        """The tests on what was just sampled."""
        self._judge.run(dt_s)

    def signals(self) -> Mapping[str, Callable[[], Value]]:
        """All BMS messages but the numbered signals."""
        return {
            "PackVoltage": lambda: self.pack_v,
            "PackCurrent": lambda: self.current_a,
            "StateOfCharge": lambda: self.soc * 100,
            "InsulationResistance": lambda: min(65_000.0, self.insulation_ohm / 1000),
            "ContactorState": lambda: int(self.contactors),
            "HvilState": lambda: int(self.interlock_closed),
            "BalancingState": lambda: int(self.is_balancing),
            "BmsSoftwareMajor": lambda: self.software.major,
            "BmsSoftwareMinor": lambda: self.software.minor,
            "BmsDataset": lambda: self.software.cell.dataset,
            "CellVoltageMin": lambda: float(self.cells_v.min()),
            "CellVoltageMax": lambda: float(self.cells_v.max()),
            "CellNumberMin": lambda: int(self.cells_v.argmin()) + 1,
            "CellNumberMax": lambda: int(self.cells_v.argmax()) + 1,
            "DischargePowerLimit": lambda: self.discharge_limit_kw,
            "ChargePowerLimit": lambda: self.charge_limit_kw,
            "StateOfHealth": lambda: self._learned_soh * 100,
            "BmsCoolantTemp": lambda: self.coolant_c,
            "HvLinkTap": lambda: self.link_v,
            "MainPositive": lambda: int(self.contactors is Contactors.CLOSED),
            "MainNegative": lambda: int(self.contactors is Contactors.CLOSED or self.stage == "charge"),
            "PrechargeRelay": lambda: int(self.stage == "charge"),
            "CoolingRequest": lambda: self.cooling_percent,
            "HottestProbe": lambda: float(self.temperatures_c.max()),
            "ColdestProbe": lambda: float(self.temperatures_c.min()),
            "MeanProbe": lambda: float(self.temperatures_c.mean()),
            "PackPower": lambda: self.pack_v * self.current_a / 1000,
            "EnergyLeft": lambda: self.soc * self.software.cell.capacity_ah * self.pack_v / 1000,
            "DischargeCurrentLimit": lambda: self.discharge_limit_kw * 1000 / max(200.0, self.pack_v),
            "ChargeCurrentLimit": lambda: self.charge_limit_kw * 1000 / max(200.0, self.pack_v),
        }

    def arrays(self) -> Mapping[str, Callable[[], Floats]]:
        """Cells and probes of the last sample."""
        return {
            "CellVoltage": lambda: self.cells_v,
            "CellTemp": lambda: self.temperatures_c,
            "CmuBleed": lambda: self.bleeding_cells,
            "CmuSupply": lambda: np.full(len(self.temperatures_c), self.low_v),
        }

    # -- diagnostics --------------------------------------------------------------------------------------------

    @property
    def learned_soh(self) -> float:
        """Capacity of the weakest cell, 0..1, as learned over the years."""
        return self._learned_soh

    def snapshot_dids(self) -> tuple[int, ...]:
        """Standard parameters first, the maker's own after them."""
        return (0xF49A, 0xF45B, 0xF40D, 0xF4A6, 0xF446, 0xF442, 0x0110, 0x0111, 0x0112)

    def takes(self, cell: str) -> bool:
        """A program is built for cells of one type."""
        return cell in CELL_TYPES

    def install(self, version: str, cell: str) -> None:
        """Another program with the data of its own cells."""
        major, _, minor = version.partition(".")
        self.software = BmsSoftware(int(major), int(minor), CELL_TYPES[cell])
        super().install(version, cell)
        self.identification[0xF188] += f"-D{self.software.cell.dataset}".encode()
        self.identification[0xF194] = b"S" + self.identification[0xF188]

    def own_data(self) -> Mapping[int, Callable[[], bytes]]:
        """0110 extreme cells (mV, number, mV, number), 0111 insulation (kΩ), 0112 warmest and coldest (0.5 °C, -40).

        0113 pack (0.1 V, 0.1 A, 0.1 %), 0120 and on 32 cells each (mV), 0130 and on 32 probes each (°C, -40).
        """
        return {
            0x0110: self._extremes,
            0x0111: lambda: u16(self.insulation_ohm / 1000),
            0x0112: self._warmth,
            0x0113: lambda: u16(self.pack_v * 10) + s16(self.current_a * 10) + u16(self.soc * 1000),
            **{0x0120 + block: partial(self._cells, block) for block in range(-(-len(self.cells_v) // _BLOCK))},
            **{0x0130 + block: partial(self._probes, block) for block in range(-(-len(self.temperatures_c) // _BLOCK))},
        }

    def _cells(self, block: int) -> bytes:
        return b"".join(u16(float(volts) * 1000) for volts in self.cells_v[block * _BLOCK : (block + 1) * _BLOCK])

    def _probes(self, block: int) -> bytes:
        return b"".join(u8(float(c) + 40) for c in self.temperatures_c[block * _BLOCK : (block + 1) * _BLOCK])

    def _extremes(self) -> bytes:
        low, high = int(self.cells_v.argmin()), int(self.cells_v.argmax())
        return u16(float(self.cells_v[low]) * 1000) + u8(low + 1) + u16(float(self.cells_v[high]) * 1000) + u8(high + 1)

    def _warmth(self) -> bytes:
        return u8((float(self.temperatures_c.max()) + 40) * 2) + u8((float(self.temperatures_c.min()) + 40) * 2)

    def parameters(self) -> Mapping[int, Callable[[], bytes | None]]:
        """State of charge and health and pack data beside the common ones."""
        return {
            **super().parameters(),
            0x0D: self._speed,
            0x46: self._ambient,
            0x5B: lambda: u8(self.soc * 255),
            0x9A: lambda: hybrid_data(self.pack_v, self.current_a),
            0xA6: self._odometer,
            0xB2: lambda: u8(self._learned_soh * 255),
        }
