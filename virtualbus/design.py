"""What a particular car is made of: everything that a fault may change.

A fault is an alteration of these figures and of nothing else, before the car is put together or while it runs. No
part of the running car knows that there is one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from virtualbus.pack import CellSpread
from virtualbus.wiring import Insulation

if TYPE_CHECKING:
    from virtualbus.chemistry import CellType, Floats
    from virtualbus.vehicles import Vehicle

__all__ = [
    "WHEELS",
    "BmsSoftware",
    "Chassis",
    "Contactors",
    "Cooling",
    "Design",
    "Engine",
    "Inlet",
    "Interlock",
    "Motor",
    "Relay",
    "Sensors",
    "Supply",
    "Wires",
]

WHEELS = ("FL", "FR", "RL", "RR")


@dataclass(frozen=True, slots=True)
class BmsSoftware:
    """The program in the BMS with the cell data it was built for."""

    major: int
    minor: int
    cell: CellType

    @property
    def version(self) -> str:
        """As the identification says it: ``3.4``."""
        return f"{self.major}.{self.minor}"


@dataclass(slots=True)
class Relay:
    """One contactor.

    Args:
        welded: its contacts do not part any more.
        stuck_open: its contacts do not meet any more.
        contact_ohm: between closed contacts.
    """

    welded: bool = False
    stuck_open: bool = False
    contact_ohm: float = 0.0002


@dataclass(slots=True)
class Contactors:
    """The pack's switches, and the resistor through which the link is charged."""

    positive: Relay = field(default_factory=Relay)
    negative: Relay = field(default_factory=Relay)
    precharge: Relay = field(default_factory=Relay)
    precharge_ohm: float = 45.0


@dataclass(slots=True)
class Interlock:
    """The loop through the high-voltage connectors: open for good, or open for a share of the time while it shakes."""

    is_open: bool = False
    shaken: float = 0.0


@dataclass(slots=True)
class Sensors:
    """What is wrong with the sensors of the battery and the motor.

    Args:
        current_offset_a, current_gain: of the pack's shunt.
        probe_offset_c: added to each probe, shape ``(modules,)``.
        probe_stuck_c: what a probe reads whatever the temperature, NaN = it works.
        motor_probe_stuck_c: the same for the motor's probe.
    """

    probe_offset_c: Floats
    probe_stuck_c: Floats
    current_offset_a: float = 0.0
    current_gain: float = 1.0
    motor_probe_stuck_c: float = math.nan


@dataclass(slots=True)
class Cooling:
    """Shares of the designed performance, 1 = sound.

    Args:
        pump, drive_pump: flow that the pumps give at a duty.
        impeller, drive_impeller: speed at which they turn at a duty.
        fan, chiller: of the radiator and the refrigerant.
        plates: of each module's coolant plate, shape ``(modules,)``.
    """

    plates: Floats
    pump: float = 1.0
    impeller: float = 1.0
    drive_pump: float = 1.0
    drive_impeller: float = 1.0
    fan: float = 1.0
    chiller: float = 1.0


@dataclass(slots=True)
class Inlet:
    """The charging side.

    Args:
        power: share of the on-board charger's power stages that work.
        contact_ohm: of the inlet's power contacts.
        pilot_ohm: in series with the control pilot.
        lock_share: how far the lock of the plug moves, 1 = home.
        station_silent_s: after how many seconds of charging the station's messages stop, infinite = never.
    """

    power: float = 1.0
    contact_ohm: float = 0.0005
    pilot_ohm: float = 0.0
    lock_share: float = 1.0
    station_silent_s: float = math.inf


@dataclass(slots=True)
class Supply:
    """The 12 V side.

    Args:
        capacity: share of the 12 V battery's capacity that is left.
        resistance_ohm: of the 12 V battery.
        drain_a: what flows while the car sleeps, beyond the usual 0.03 A.
        converter: share of the DC/DC converter's current that it still gives.
        ground_ohm: between the body computer and the body.
    """

    capacity: float = 1.0
    resistance_ohm: float = 0.008
    drain_a: float = 0.0
    converter: float = 1.0
    ground_ohm: float = 0.0


@dataclass(slots=True)
class Motor:
    """Drive motor and inverter.

    Args:
        resolver_deg: by which the resolver's zero is off, electrical degrees.
        winding: resistance of each phase as a share of the designed one, shape ``(3,)``.
        module_k: thermal resistance of the power module as a share of the designed one.
        bearing: friction torque as a share of the designed one.
    """

    winding: Floats
    resolver_deg: float = 0.0
    module_k: float = 1.0
    bearing: float = 1.0


@dataclass(slots=True)
class Chassis:
    """Brakes and tyres; arrays in the order FL, FR, RL, RR.

    Args:
        wheel_sensor: share of the teeth that a wheel's sensor sees.
        brake_contact_stuck: the second contact of the brake switch stays as it is.
        dragging_nm: brake torque that never lets go.
        tyre_kpa_h: pressure that a tyre loses per hour.
        tyre_sensor_dead: its sensor's battery is empty.
    """

    wheel_sensor: Floats
    tyre_kpa_h: Floats
    tyre_sensor_dead: np.ndarray[tuple[int], np.dtype[np.bool_]]
    brake_contact_stuck: bool = False
    dragging_nm: float = 0.0


@dataclass(slots=True)
class Wires:
    """The bus.

    Args:
        off_the_bus_s: ECU -> car time in seconds from which its bus connector is open.
        disturbed: share of the time for which the bus carries nothing but error frames.
    """

    off_the_bus_s: dict[str, float] = field(default_factory=dict)
    disturbed: float = 0.0


@dataclass(slots=True)
class Engine:
    """The combustion engine of a hybrid.

    Args:
        misfire: share of one cylinder's strokes without ignition.
        thermostat: 1 = shut until warm, 0 = always open.
        air_leak: share of the air that the meter does not see.
    """

    misfire: float = 0.0
    thermostat: float = 1.0
    air_leak: float = 0.0


@dataclass(slots=True)
class Design:
    """One car. The arrays are read while it runs: a fault may change them at any time.

    Args:
        spread: how each cell differs from its type.
        wire_ohm: the sense wires, shape ``(cells + 1,)``.
        bleed_dead: cells whose balancing switch stays open, ``bleed_stuck`` those whose switch stays closed.
        bms_restarts_s: seconds after which the BMS restarts and forgets its charge count, infinite = never.
    """

    vehicle: Vehicle
    cell: CellType
    bms_software: BmsSoftware
    spread: CellSpread
    wire_ohm: Floats
    insulation: Insulation
    sensors: Sensors
    cooling: Cooling
    motor: Motor
    chassis: Chassis
    bleed_dead: np.ndarray[tuple[int], np.dtype[np.bool_]]
    bleed_stuck: np.ndarray[tuple[int], np.dtype[np.bool_]]
    contactors: Contactors = field(default_factory=Contactors)
    interlock: Interlock = field(default_factory=Interlock)
    inlet: Inlet = field(default_factory=Inlet)
    supply: Supply = field(default_factory=Supply)
    wires: Wires = field(default_factory=Wires)
    engine: Engine = field(default_factory=Engine)
    bms_restarts_s: float = math.inf

    @property
    def off_the_bus_s(self) -> dict[str, float]:
        """ECU -> car time from which its bus connector is open."""
        return self.wires.off_the_bus_s

    @classmethod
    def grown(cls, vehicle: Vehicle, rng: np.random.Generator) -> Design:
        """A sound car with the tolerances of production."""
        major, _, minor = vehicle.versions["BMS"].partition(".")
        cells, modules = vehicle.cells, vehicle.modules
        return cls(
            vehicle=vehicle,
            cell=vehicle.cell,
            bms_software=BmsSoftware(int(major), int(minor), vehicle.cell),
            spread=CellSpread.grown(rng, 0.97, cells),
            wire_ohm=rng.uniform(1.0, 6.0, cells + 1),
            insulation=Insulation(float(rng.uniform(6e6, 14e6)), float(rng.uniform(6e6, 14e6))),
            sensors=Sensors(np.zeros(modules), np.full(modules, np.nan)),
            cooling=Cooling(np.ones(modules)),
            motor=Motor(np.ones(3)),
            chassis=Chassis(np.ones(4), np.full(4, 0.004), np.zeros(4, dtype=bool)),
            bleed_dead=np.zeros(cells, dtype=bool),
            bleed_stuck=np.zeros(cells, dtype=bool),
        )
