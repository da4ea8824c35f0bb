"""The car without its computers: pack, contactors, motor, 12 V, coolant, road. ECUs measure it and switch it.

One step does all of it; the caller gives its length. The same seed gives the same car, byte for byte.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from virtualbus.charging import ChargePort
from virtualbus.combustion import Combustion
from virtualbus.cooling import Loops
from virtualbus.design import WHEELS
from virtualbus.highvoltage import Link, Switches
from virtualbus.pack import Pack
from virtualbus.supply import LowVoltage

if TYPE_CHECKING:
    from virtualbus.design import Design
    from virtualbus.driving import Trip

__all__ = ["Plant"]

_TYRE_KPA: Final = 250.0
_TORQUE_NM: Final = 340.0
_BEARING_N: Final = 12.0
_PSI_NM_A: Final = 0.62
"""Torque per effective phase ampere."""


class Plant:
    """Everything that has a voltage, a temperature or a speed.

    Attributes:
        t_s: car time in seconds; 0 is the beginning of the last trip.
        ambient_c, is_wet: the weather.
        speed_kmh, odometer_km, motor_nm, motor_rpm: motion.
        phase_a: effective amperes per motor phase, shape ``(3,)``.
        tyre_kpa: pressure per wheel above the air's.
        link_v, low_v: the inverter's DC link, the 12 V supply.
        inverter_c, motor_c, charger_c: degrees Celsius.
        is_asleep: the car is parked and its computers sleep.
    """

    def __init__(
        self, design: Design, trip: Trip, rng: np.random.Generator, ambient_c: float, *, wet: bool = False
    ) -> None:
        self.design = design
        self.trip = trip
        self.ambient_c = ambient_c
        self.is_wet = wet
        self.body = design.vehicle.body
        self.pack = Pack(design.cell, design.spread, design.vehicle.per_module, ambient_c)
        self.insulation = design.insulation
        self.switches = Switches()
        self.link = Link(design.contactors)
        self.low = LowVoltage(design.supply, ambient_c)
        self.loops = Loops(design.cooling, ambient_c, ambient_c)
        self.port = ChargePort(design.inlet, ambient_c, design.vehicle.dc_a)
        self.combustion = Combustion(design.engine, ambient_c) if design.vehicle.engine else None
        self.odometer_km = float(rng.uniform(8_000, 60_000))
        self.speed_kmh = 0.0
        self.motor_nm = 0.0
        self.wheel_w = 0.0
        self.pedal_percent = 0.0
        self.brake_bar = 0.0
        self.phase_a = np.zeros(3)
        self.steering_deg = 0.0
        self.tyre_kpa = np.full(4, _TYRE_KPA) + rng.uniform(-4, 4, 4)
        self.inverter_c = ambient_c
        self.motor_c = ambient_c
        self.charger_c = ambient_c
        self.interlock_closed = True
        self.is_asleep = True
        self.t_s = 0.0
        self._heater_phase_s = float(rng.uniform(0, 40))
        self._loss_w = 0.0

    # -- what the rest asks for ---------------------------------------------------------------------------------

    @property
    def motor_rpm(self) -> float:
        """Revolutions per minute of the motor."""
        return self.speed_kmh * self.body.motor_rpm_per_kmh

    @property
    def link_v(self) -> float:
        """Volts in the inverter's DC link."""
        return self.link.volts

    @property
    def low_v(self) -> float:
        """Volts of the 12 V supply."""
        return self.low.volts

    @property
    def insulation_ohm(self) -> float:
        """The lower of both poles' resistances to the body."""
        return self.insulation.resistance_ohm(self.t_s, wet=self.is_wet, moving=self.speed_kmh > 3.0)

    @property
    def is_interlock_closed(self) -> bool:
        """Whether the loop through the high-voltage connectors is closed now."""
        loop = self.design.interlock
        if loop.is_open or not self.interlock_closed:
            return False
        if loop.shaken and self.speed_kmh > 3.0:
            return (math.sin(self.t_s * 0.37) + math.sin(self.t_s * 0.113 + 2.0) + 2.0) / 4.0 >= loop.shaken
        return True

    def is_connected(self, ecu: str) -> bool:
        """Whether an ECU's bus connector is closed now."""
        return self.t_s < self.design.wires.off_the_bus_s.get(ecu, math.inf)

    def wheel_kmh(self, wheel: str) -> float:
        """Rim speed of one wheel: a soft tyre is smaller and turns faster."""
        lack = max(0.0, 1 - self.tyre_kpa[WHEELS.index(wheel)] / _TYRE_KPA)
        return self.speed_kmh * (1 + 0.02 * float(lack))

    def refit(self) -> None:
        """Takes over what was changed in the design."""
        self.pack.refit()
        self.pack.coolant_share = self.design.cooling.plates

    # -- time ---------------------------------------------------------------------------------------------------

    def rest(self, hours: float, step_s: float = 7200.0) -> None:
        """The car stands switched off: the cells' own leaks, the cooling, the 12 V side's sleep, the tyres."""
        self.is_asleep = True
        for _ in range(max(1, round(hours * 3600 / step_s))):
            self._bleed(commanded=None)
            self.pack.step(0.0, step_s, self.ambient_c)
            self.low.step(0.0, step_s, self.ambient_c, asleep=True, converter=False)
        self.t_s += hours * 3600
        self._leak_tyres(hours * 3600)
        self.link.volts *= math.exp(-hours * 60)
        rest = math.exp(-hours / 1.2)
        for name in ("inverter_c", "motor_c", "charger_c"):
            setattr(self, name, self.ambient_c + (getattr(self, name) - self.ambient_c) * rest)
        loops = self.loops
        loops.battery_c = self.ambient_c + (loops.battery_c - self.ambient_c) * rest
        loops.drive_c = self.ambient_c + (loops.drive_c - self.ambient_c) * rest
        self.port.inlet_c = self.ambient_c
        if self.combustion is not None:
            self.combustion.coolant_c = self.ambient_c + (self.combustion.coolant_c - self.ambient_c) * rest

    def use(self, share: float, current_a: float = 30.0, step_s: float = 120.0) -> None:
        """Earlier driving, coarsely: draws ``share`` of the rated capacity at a mean current."""
        seconds = share * self.design.cell.capacity_ah * 3600 / current_a
        for _ in range(round(seconds / step_s)):
            self.pack.step(current_a, step_s, self.ambient_c)
        self.low.step(40.0, 3600.0, self.ambient_c, asleep=False, converter=self.design.supply.converter > 0)

    def step(self, dt_s: float) -> None:
        """Lets ``dt_s`` seconds pass."""
        self.is_asleep = False
        self.t_s += dt_s
        switches, link = self.switches, self.link
        link.settle(switches)
        self.loops.settle(switches)
        drive_w = self._drive(dt_s)
        current_a = 0.0
        if link.is_connected:
            into_w = self.port.power_w(switches, self.pack.voltage_v)
            current_a = self.pack.current_from_power(drive_w + self._accessory_w() - into_w)
        else:
            self.port.mains_a = self.port.station_a = 0.0
        loops = self.loops
        self.pack.step(current_a, dt_s, self.ambient_c, loops.battery_c, loops.flow)
        link.step(self.pack.voltage_v, current_a, switches, dt_s)
        converts = switches.dcdc and link.volts > 200.0
        self.low.step(self._load_a(), dt_s, loops.drive_c, asleep=False, converter=converts)
        charger_w = self.port.step(switches, dt_s, self.ambient_c)
        self._warm(drive_w, charger_w, dt_s)
        self._leak_tyres(dt_s)

    def _bleed(self, commanded: np.ndarray[tuple[int], np.dtype[np.bool_]] | None) -> None:
        """Balancing switches as commanded, as far as they follow."""
        design = self.design
        if commanded is None and not design.bleed_stuck.any():
            if self.pack.bleeding.any():
                self.pack.bleed(np.zeros(self.pack.cells, dtype=bool))
            return
        wanted = np.zeros(self.pack.cells, dtype=bool) if commanded is None else commanded & ~design.bleed_dead
        self.pack.bleed(wanted | design.bleed_stuck)

    def command_bleed(self, cells: np.ndarray[tuple[int], np.dtype[np.bool_]] | None) -> None:
        """The BMS switches balancing resistors (None = all off)."""
        self._bleed(cells)

    def _leak_tyres(self, dt_s: float) -> None:
        self.tyre_kpa = np.maximum(0.0, self.tyre_kpa - self.design.chassis.tyre_kpa_h * (dt_s / 3600))

    def _drive(self, dt_s: float) -> float:
        switches = self.switches
        can_drive = switches.torque and self.link.is_connected
        wanted_kmh = min(self.body.top_kmh, self.trip.speed_kmh(self.t_s))
        now_ms = self.speed_kmh / 3.6
        if can_drive:
            acceleration = min(1.9, max(-2.4, (wanted_kmh / 3.6 - now_ms) / max(dt_s, 1.0)))
            drag_nm = self.design.chassis.dragging_nm
            if acceleration > 0 and switches.drive_w < 1e6:
                limit_w = max(0.0, switches.drive_w * self.body.driving_efficiency)
                needs_w = self.body.wheel_w(max(now_ms, 1.0), 0.0) + drag_nm / self.body.wheel_m * now_ms
                spare_w = limit_w - needs_w
                acceleration = min(acceleration, spare_w / (self.body.mass_kg * max(now_ms, 1.0)))
        else:
            acceleration = -0.9 if now_ms > 0 else 0.0
            drag_nm = 0.0
        next_ms = max(0.0, now_ms + acceleration * dt_s)
        middle_ms = (now_ms + next_ms) / 2
        self.odometer_km += middle_ms * dt_s / 1000
        self.speed_kmh = next_ms * 3.6
        self.steering_deg = 9.0 * math.sin(self.t_s * 0.21) * min(1.0, middle_ms)
        braking = acceleration < -0.5
        self.brake_bar = min(120.0, -acceleration * 18.0) if braking else (6.0 if next_ms == 0 else 0.0)
        if not can_drive or middle_ms == 0:
            self.motor_nm = self.pedal_percent = self.wheel_w = 0.0
            self.phase_a = np.zeros(3)
            if self.combustion is not None:
                self._burn(dt_s)
            return 0.0
        wheel_w = self.body.wheel_w(middle_ms, (next_ms - now_ms) / dt_s) + drag_nm / self.body.wheel_m * middle_ms
        self.wheel_w = wheel_w
        if self.combustion is not None:
            wheel_w -= self._burn(dt_s)
        motor = self.design.motor
        wheel_w += _BEARING_N * (motor.bearing - 1.0) * middle_ms
        electric_w = self.body.electric_w(wheel_w)
        electric_w = max(-switches.regen_w, min(switches.drive_w, electric_w))
        omega = max(20.0, middle_ms * 3.6 * self.body.motor_rpm_per_kmh * math.tau / 60)
        self.motor_nm = max(-_TORQUE_NM, min(_TORQUE_NM, electric_w * 0.93 / omega))
        self.pedal_percent = min(100.0, max(0.0, electric_w / self.body.drive_w * 100))
        # A resolver that is off turns part of the current into heat instead of torque.
        angle = math.cos(math.radians(motor.resolver_deg))
        mean_a = abs(self.motor_nm) / _PSI_NM_A / max(0.3, angle)
        conductance = 1.0 / motor.winding
        self.phase_a = mean_a * (1 + 0.35 * (conductance / conductance.mean() - 1))
        return electric_w + 3 * mean_a * mean_a * 0.006 * (1 / max(0.3, angle) ** 2 - 1)

    def _burn(self, dt_s: float) -> float:
        """What the engine gives at the wheels; what they do not need the motor turns into charge."""
        engine = self.combustion
        if engine is None:
            return 0.0
        asked_w = self.switches.engine_w
        power_w = min(65_000.0, asked_w) * (1 - self.design.engine.misfire / 4)
        engine.step(power_w, dt_s, self.ambient_c, self.speed_kmh, running=asked_w > 0)
        return power_w

    def _load_a(self) -> float:
        switches = self.switches
        return 14.0 + 9.0 * switches.battery_pump + 7.0 * switches.drive_pump + 22.0 * switches.fan

    def _accessory_w(self) -> float:
        """Converter, displays, cooling: a base load with pulses of the heater and the compressor."""
        phase = (self.t_s + self._heater_phase_s) % 41.0
        own_w = 130.0 + (2300.0 if phase < 9.0 else 0.0) + 160.0 * math.sin(self.t_s * 0.7)
        cooling_w = 1700.0 * self.switches.chiller * self.design.cooling.chiller
        return own_w + self.low.converter_a * 15.2 + cooling_w + self.switches.heater_w

    def _warm(self, drive_w: float, charger_w: float, dt_s: float) -> None:
        loops, motor = self.loops, self.design.motor
        phase_a = float(self.phase_a.max())
        inverter_w = 60.0 + abs(drive_w) * 0.018 if self.switches.torque else 15.0
        motor_w = abs(drive_w) * 0.035 + 3 * phase_a * phase_a * 0.006 * float(motor.winding.mean())
        motor_w += _BEARING_N * motor.bearing * self.speed_kmh / 3.6
        coolant_c = loops.drive_c
        share = 1 - math.exp(-dt_s / 25.0)
        self.inverter_c += (coolant_c + inverter_w * 0.030 * motor.module_k - self.inverter_c) * share
        share = 1 - math.exp(-dt_s / 320.0)
        self.motor_c += (coolant_c + 4.0 + motor_w * 0.018 - self.motor_c) * share
        share = 1 - math.exp(-dt_s / 240.0)
        lost_w = charger_w / max(0.2, self.design.inlet.power)
        self.charger_c += (coolant_c + lost_w * 0.06 - self.charger_c) * share
        self._loss_w = inverter_w + motor_w + charger_w
        loops.step(self.switches, self.pack.to_coolant_w, self._loss_w, self.speed_kmh, dt_s, self.ambient_c)
