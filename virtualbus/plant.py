"""The car without its computers: pack, contactors, motor, 12 V, road. ECUs measure it and switch it.

One step does all of it; the caller gives its length. The same seed gives the same car, byte for byte.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from virtualbus.driving import Body, Trip
from virtualbus.pack import Pack

if TYPE_CHECKING:
    import numpy as np

    from virtualbus.design import Design

__all__ = ["Plant", "Switches"]

_LINK_DECAY_S: Final = 0.6
_PRECHARGE_S: Final = 0.12
_CABLE_OHM: Final = 0.004
_LOW_CAPACITY_AH: Final = 45.0


@dataclass(slots=True)
class Switches:
    """What the ECUs command: the only way in which they act on the car."""

    key_on: bool = False
    precharge: bool = False
    main_contactors: bool = False
    torque: bool = False
    dcdc: bool = False


class Plant:
    """Everything that has a voltage, a temperature or a speed.

    Attributes:
        t_s: car time in seconds; 0 is the beginning of the last trip.
        speed_kmh, odometer_km, motor_nm, motor_rpm: motion.
        link_v: volts in the inverter's DC link.
        low_v: volts of the 12 V supply.
    """

    def __init__(self, design: Design, trip: Trip, rng: np.random.Generator, ambient_c: float) -> None:
        self.design = design
        self.trip = trip
        self.ambient_c = ambient_c
        self.body = Body()
        self.pack = Pack(design.cell, design.spread, ambient_c)
        self.insulation = design.insulation
        self.switches = Switches()
        self.odometer_km = float(rng.uniform(8_000, 60_000))
        self.speed_kmh = 0.0
        self.motor_nm = 0.0
        self.pedal_percent = 0.0
        self.link_v = 0.0
        self.low_v = 12.6
        self._low_charge_ah = 0.92 * _LOW_CAPACITY_AH
        self.inverter_c = ambient_c
        self.motor_c = ambient_c
        self.charger_c = ambient_c
        self.interlock_closed = True
        self.t_s = 0.0
        self._heater_phase_s = float(rng.uniform(0, 40))

    @property
    def motor_rpm(self) -> float:
        """Revolutions per minute of the motor."""
        return self.speed_kmh * self.body.motor_rpm_per_kmh

    def is_connected(self, ecu: str) -> bool:
        """Whether an ECU's bus connector is closed now."""
        return self.t_s < self.design.off_the_bus_s.get(ecu, math.inf)

    def rest(self, hours: float, step_s: float = 3600.0) -> None:
        """The car stands switched off; nothing but the cells' own leaks and the cooling goes on."""
        for _ in range(max(1, round(hours * 3600 / step_s))):
            self.pack.step(0.0, step_s, self.ambient_c)
        self.t_s += hours * 3600
        self.link_v = 0.0
        self.inverter_c = self.motor_c = self.charger_c = self.ambient_c

    def use(self, share: float, current_a: float = 30.0, step_s: float = 60.0) -> None:
        """Earlier driving, coarsely: draws ``share`` of the rated capacity at a mean current."""
        seconds = share * self.design.cell.capacity_ah * 3600 / current_a
        for _ in range(round(seconds / step_s)):
            self.pack.step(current_a, step_s, self.ambient_c)

    def step(self, dt_s: float) -> None:
        """Lets ``dt_s`` seconds pass."""
        self.t_s += dt_s
        drive_w = self._drive(dt_s)
        power_w = drive_w + self._accessory_w() if self.switches.main_contactors else 0.0
        current_a = self.pack.current_from_power(power_w) if power_w else 0.0
        self.pack.step(current_a, dt_s, self.ambient_c)
        self._link(dt_s)
        self._low_voltage(dt_s)
        self._warm(drive_w, dt_s)

    def _drive(self, dt_s: float) -> float:
        can_drive = self.switches.torque and self.switches.main_contactors
        wanted_kmh = self.trip.speed_kmh(self.t_s)
        now_ms = self.speed_kmh / 3.6
        if can_drive:
            acceleration = min(1.9, max(-2.4, (wanted_kmh / 3.6 - now_ms) / max(dt_s, 1.0)))
        else:
            acceleration = -0.9 if now_ms > 0 else 0.0
        next_ms = max(0.0, now_ms + acceleration * dt_s)
        middle_ms = (now_ms + next_ms) / 2
        self.odometer_km += middle_ms * dt_s / 1000
        self.speed_kmh = next_ms * 3.6
        if not can_drive or middle_ms == 0:
            self.motor_nm = self.pedal_percent = 0.0
            return 0.0
        electric_w = self.body.electric_w(self.body.wheel_w(middle_ms, (next_ms - now_ms) / dt_s))
        omega = max(20.0, middle_ms * 3.6 * self.body.motor_rpm_per_kmh * math.tau / 60)
        self.motor_nm = max(-320.0, min(320.0, electric_w * 0.93 / omega))
        self.pedal_percent = min(100.0, max(0.0, electric_w / self.body.drive_w * 100))
        return electric_w

    def _accessory_w(self) -> float:
        """Pumps, displays, cooling: a base load with pulses of the heater and the compressor."""
        phase = (self.t_s + self._heater_phase_s) % 41.0
        return 430.0 + (2300.0 if phase < 9.0 else 0.0) + 160.0 * math.sin(self.t_s * 0.7)

    def _link(self, dt_s: float) -> None:
        pack_v = self.pack.voltage_v - _CABLE_OHM * self.pack.current_a
        if self.switches.main_contactors:
            self.link_v = pack_v
        elif self.switches.precharge:
            self.link_v += (pack_v - self.link_v) * (1 - math.exp(-dt_s / _PRECHARGE_S))
        else:
            self.link_v *= math.exp(-dt_s / _LINK_DECAY_S)

    def _low_voltage(self, dt_s: float) -> None:
        if self.switches.dcdc and self.switches.main_contactors:
            self._low_charge_ah = min(_LOW_CAPACITY_AH, self._low_charge_ah + 8.0 * dt_s / 3600)
            wanted_v = 14.1
        else:
            load_a = 7.0 if self.switches.key_on else 0.03
            self._low_charge_ah = max(0.0, self._low_charge_ah - load_a * dt_s / 3600)
            share = self._low_charge_ah / _LOW_CAPACITY_AH
            wanted_v = 11.4 + 1.35 * share - (0.12 if self.switches.key_on else 0.0)
        self.low_v += (wanted_v - self.low_v) * (1 - math.exp(-dt_s / 0.8))

    def _warm(self, drive_w: float, dt_s: float) -> None:
        loss_w = abs(drive_w)
        share = 1 - math.exp(-dt_s / 140.0)
        self.inverter_c += (self.ambient_c + 6 + loss_w * 0.0006 - self.inverter_c) * share
        self.motor_c += (self.ambient_c + 8 + loss_w * 0.0009 - self.motor_c) * share * 0.4
        self.charger_c += (self.ambient_c + 3 - self.charger_c) * share
