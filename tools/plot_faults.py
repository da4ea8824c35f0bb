#!/usr/bin/env python3
"""Draws docs/images/virtual-cars-faults.png: for every kind of fault, a sound car and a broken one, and what differs.

Needs the extra ``docs`` (matplotlib). Takes two minutes: each picture is two simulated cars of the same seed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from virtualbus.car import Car
from virtualbus.errors import Phrase
from virtualbus.faults import FAULTS, make_fault
from virtualbus.scenario import DEFAULT_CYCLE, Environment, Phase, Scenario

TARGET = Path(__file__).resolve().parent.parent / "docs" / "images" / "virtual-cars-faults.png"
AC = (Phase("drive", 24), Phase("charge-ac", 90))
DC = (Phase("drive", 24), Phase("charge-dc", 20))
HOT_DC = (Phase("drive", 40, "motorway"), Phase("charge-dc", 30))
TWO = (Phase("drive", 24, "motorway"), Phase("park", 45), Phase("drive", 24, "motorway"))
MOTORWAY = (Phase("drive", 40, "motorway"),)


def low_cell(car):
    """Lowest cell below the median, mV, at the cells' own terminals."""
    volts = car.plant.pack.terminal_v
    return 1000 * float(np.median(volts) - volts.min())


def seen_cell(car):
    volts = car.bms.cells_v
    return 1000 * float(np.median(volts) - volts.min())


def hottest(car):
    return float(car.plant.pack.temperature_c.max() - np.median(car.plant.pack.temperature_c))


SHOWN = {
    "weak-cell": ("lowest cell below median, mV", low_cell),
    "low-capacity-cell": ("lowest cell below median, mV", low_cell),
    "self-discharge": ("lowest cell below median, mV", low_cell),
    "resistive-cell": ("lowest cell below median, mV", low_cell),
    "shorted-cell": ("hottest module over median, K", hottest),
    "ageing": ("state of charge, %", lambda car: 100 * float(car.plant.pack.soc.mean())),
    "module-joint": ("lowest cell below median, mV", low_cell),
    "sampling-line": ("lowest reading below median, mV", seen_cell),
    "sampling-line-open": ("lowest reading below median, mV", seen_cell),
    "probe-stuck": ("highest probe, °C", lambda car: float(car.bms.temperatures_c.max())),
    "probe-offset": ("lowest probe, °C", lambda car: float(car.bms.temperatures_c.min())),
    "probe-open": ("lowest probe, °C", lambda car: float(car.bms.temperatures_c.min())),
    "current-offset": ("BMS charge less true charge, %", lambda car: 100 * (car.bms.soc - float(car.plant.pack.soc.mean()))),
    "current-gain": ("BMS charge less true charge, %", lambda car: 100 * (car.bms.soc - float(car.plant.pack.soc.mean()))),
    "balancing-dead": ("cells bleeding", lambda car: float(car.plant.pack.bleeding.sum())),
    "balancing-stuck": ("cells bleeding", lambda car: float(car.plant.pack.bleeding.sum())),
    "soc-jump": ("BMS charge less true charge, %", lambda car: 100 * (car.bms.soc - float(car.plant.pack.soc.mean()))),
    "software-mismatch": ("BMS charge less true charge, %", lambda car: 100 * (car.bms.soc - float(car.plant.pack.soc.mean()))),
    "isolation": ("insulation, log10 Ω", lambda car: float(np.log10(car.plant.insulation_ohm))),
    "isolation-intermittent": ("insulation, log10 Ω", lambda car: float(np.log10(car.plant.insulation_ohm))),
    "isolation-wet": ("insulation, log10 Ω", lambda car: float(np.log10(car.plant.insulation_ohm))),
    "contactor-welded": ("link, V", lambda car: car.plant.link.volts),
    "contactor-negative-welded": ("link, V", lambda car: car.plant.link.volts),
    "contactor-stuck": ("link, V", lambda car: car.plant.link.volts),
    "contactor-worn": ("pack less link, V", lambda car: car.plant.pack.voltage_v - car.plant.link.volts if car.plant.link.is_connected else 0.0),
    "precharge-resistor": ("link, V", lambda car: car.plant.link.volts),
    "interlock-open": ("link, V", lambda car: car.plant.link.volts),
    "interlock-intermittent": ("interlock closed", lambda car: float(car.plant.is_interlock_closed)),
    "coolant-pump": ("flow, share", lambda car: car.plant.loops.flow),
    "coolant-pump-worn": ("flow, share", lambda car: car.plant.loops.flow),
    "coolant-blocked": ("hottest module over median, K", hottest),
    "chiller": ("coolant at the pack, °C", lambda car: car.plant.loops.battery_c),
    "drive-pump": ("drive coolant, °C", lambda car: car.plant.loops.drive_c),
    "radiator-fan": ("charger, °C", lambda car: car.plant.charger_c),
    "charger-derating": ("from the mains, A", lambda car: car.plant.port.mains_a),
    "inlet-hot": ("inlet, °C", lambda car: car.plant.port.inlet_c),
    "control-pilot": ("pilot, V", lambda car: car.plant.port.pilot_v or 0.0),
    "inlet-lock": ("from the mains, A", lambda car: car.plant.port.mains_a),
    "dc-timeout": ("from the station, A", lambda car: car.plant.port.station_a),
    "low-battery": ("12 V side, V", lambda car: car.plant.low.volts),
    "converter": ("12 V side, V", lambda car: car.plant.low.volts),
    "drain": ("12 V side, V", lambda car: car.plant.low.volts),
    "body-ground": ("supply at the body computer, V", lambda car: car.ecus["BCM"].low_v),
    "lost-bms": ("speed, km/h", lambda car: car.plant.speed_kmh),
    "lost-ecu": ("ECUs heard by the gateway", lambda car: float(car.buses.value("EcusHeard") or 0)),
    "bus-errors": ("ECUs bus-off", lambda car: float(sum(ecu.is_bus_off for ecu in car.ecus.values()))),
    "inverter-hot": ("inverter, °C", lambda car: car.plant.inverter_c),
    "resolver": ("phase current, A", lambda car: float(car.plant.phase_a.max())),
    "winding": ("phases apart, A", lambda car: float(np.ptp(car.plant.phase_a))),
    "motor-probe": ("motor as read, °C", lambda car: car.ecus["INV"].motor_c),
    "motor-bearing": ("motor, °C", lambda car: car.plant.motor_c),
    "brake-switch": ("contacts agree", lambda car: float(car.ecus["ESC"].contact_a == car.ecus["ESC"].contact_b)),
    "brake-drag": ("pack current, A", lambda car: car.plant.pack.current_a),
    "wheel-sensor": ("wheel speeds apart, km/h", lambda car: max(car.ecus["ESC"].wheels_kmh) - min(car.ecus["ESC"].wheels_kmh)),
    "tyre-leak": ("softest tyre, kPa", lambda car: float(car.plant.tyre_kpa.min())),
    "tyre-sensor": ("tyre sensors heard", lambda car: float(sum(kpa is not None for kpa in car.ecus["TPM"].kpa))),
    "misfire": ("misfire rate seen, %", lambda car: 100 * car.ecus["ECM"].misfire),
    "thermostat": ("engine coolant, °C", lambda car: car.plant.combustion.coolant_c),
    "intake-leak": ("fuel trim, %", lambda car: car.ecus["ECM"].trim),
}  # fmt: skip
CIRCUMSTANCES = {
    "charger-derating": (AC, None), "inlet-hot": (AC, None), "control-pilot": (AC, None), "inlet-lock": (AC, None),
    "balancing-dead": (AC, None), "balancing-stuck": (AC, None), "radiator-fan": (AC, 38.0), "dc-timeout": (DC, None),
    "coolant-blocked": (HOT_DC, 30.0), "chiller": (HOT_DC, 38.0), "misfire": (TWO, None), "thermostat": (TWO, None),
    "intake-leak": (TWO, None), "inverter-hot": (MOTORWAY, 38.0), "motor-bearing": (MOTORWAY, None),
    "low-battery": ((Phase("drive", 24), Phase("park", 2880)), None),
    "drain": ((Phase("drive", 24), Phase("park", 6000)), None),
}  # fmt: skip
WAKING = frozenset(
    (
        "contactor-welded",
        "contactor-negative-welded",
        "contactor-stuck",
        "precharge-resistor",
        "interlock-open",
        "sampling-line",
        "low-battery",
        "drain",
    )
)
"""What shows in the minute after waking, for whoever plugs in."""
GIVEN = {"lost-ecu": {"ecu": "ESC"}, "balancing-dead": {"cell": 40}, "balancing-stuck": {"cell": 40}}


class Watched(Car):
    """A car that notes one figure in every step of its past."""

    def __init__(self, scenario: Scenario, look) -> None:
        self._look = look
        self.rows: list[tuple[float, float]] = []
        super().__init__(scenario, 3)

    def unseen_step(self, dt_s: float) -> None:
        super().unseen_step(dt_s)
        self.rows.append((self.plant.t_s / 60, self._look(self)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=TARGET)
    target = parser.parse_args().output
    assert set(SHOWN) == set(FAULTS), set(SHOWN) ^ set(FAULTS)
    columns = 4
    rows = -(-len(FAULTS) // columns)
    plt.rcParams.update({"font.size": 7, "axes.linewidth": 0.6})
    figure, axes = plt.subplots(rows, columns, figsize=(3.1 * columns, 1.75 * rows))
    for axis in axes.flat[len(FAULTS) :]:
        axis.axis("off")
    for axis, (name, (label, look)) in zip(axes.flat, SHOWN.items(), strict=False):
        kind = FAULTS[name]
        cycle, ambient_c = CIRCUMSTANCES.get(name, (DEFAULT_CYCLE, None))
        weather = Environment(ambient_c, wet=name == "isolation-wet")
        vehicle = "phev" if kind.needs else "ev400"
        title = Phrase(name, name)
        for faults, color, width in (
            ((), "#8a8f98", 0.9),
            ((make_fault(name, **GIVEN.get(name, {})),), "#c8382d", 1.0),
        ):
            car = Watched(Scenario(name, title, vehicle, faults, environment=weather, cycle=cycle), look)
            t, y = np.array(car.rows).T
            gaps = np.flatnonzero(np.diff(t) > 2.0)
            shown = np.insert(y, gaps + 1, np.nan)
            axis.plot(np.insert(t, gaps + 1, np.nan), shown, color=color, linewidth=width)
        if name in WAKING:
            end = float(t[-1])
            axis.set_xlim(end - 0.76, end + 0.01)
            axis.set_xlabel("after waking", fontsize=6, labelpad=1)
        axis.set_title(name, fontsize=8, loc="left", fontweight="bold")
        axis.set_ylabel(label, fontsize=6)
        axis.tick_params(length=2, pad=1)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    figure.supxlabel("minutes since the beginning of the cycle · grey: the same car without the fault", fontsize=8)
    figure.tight_layout(pad=0.6, rect=(0, 0.012, 1, 1))
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, metadata={"Software": None}, dpi=80)
    print(f"written: {target.name}, {len(FAULTS)} faults")


if __name__ == "__main__":
    main()
