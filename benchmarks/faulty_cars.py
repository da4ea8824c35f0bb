"""Cars with one fault each, as a workshop meets them: a trip or a charge behind them, a visit, a twenty-minute drive.

What the reader gets is what stood on the bus: every signal as its database codes it, once a second of the drive, and
the answers of a scan. What is wrong with the car stays in the scenario. Who breaks in heat, wet or after a long stop is
driven in heat, wet or after a long stop.
"""

from __future__ import annotations

import asyncio
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

import dbc
from diag.battery import battery_from_series
from diag.batterydoctor import study_battery, with_study
from diag.carscan import scan
from diag.causes import causes_of
from diag.facts import EcuRole
from diag.findings import findings_from_facts
from diag.samples import Series
from huizhen.simlink import CarLink
from virtualbus.car import Car
from virtualbus.driving import Trip
from virtualbus.errors import Phrase
from virtualbus.faults import FAULTS, Fault
from virtualbus.scenario import Environment, Phase, Scenario
from virtualbus.vehicles import VEHICLES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diag.facts import Cause, Finding
    from diag.vehiclereport import VehicleReport

DRIVE_S = 1200
SEVERITY = 0.7
IDENTIFIERS = (0xF190, 0xF189, 0xF187, 0xF195)
AC = frozenset({"charger-derating", "inlet-hot", "control-pilot", "inlet-lock", "radiator-fan", "balancing-stuck"})
HOT = frozenset(
    ("coolant-pump", "coolant-pump-worn", "coolant-blocked", "chiller", "radiator-fan", "inverter-hot", "drive-pump")
)
LONG_STOP = frozenset({"low-battery", "drain"})
DC = frozenset({"dc-timeout", "coolant-blocked", "chiller"})


@cache
def databases(vehicle: str) -> tuple[Any, ...]:
    return tuple(dbc.load(path) for path in VEHICLES[vehicle].databases)


def scenario_of(kind: str | None, vehicle: str) -> Scenario:
    """A car with a fault, or a sound one; what begins while driving begins in its first minutes."""
    cycle: tuple[Phase, ...] = (Phase("drive", 5.0), Phase("park", 45.0))
    faults: tuple[Fault, ...] = ()
    if kind is not None:
        chosen = FAULTS[kind]
        faults = (Fault(chosen, {}, SEVERITY, None if chosen.from_s is None else 120.0),)
        if kind in AC:
            cycle = (Phase("drive", 5.0), Phase("charge-ac", 60.0))
        elif kind in DC:
            cycle = (Phase("drive", 5.0), Phase("charge-dc", 20.0))
        elif chosen.needs:
            cycle = (Phase("drive", 12.0, "motorway"), Phase("park", 20.0), Phase("drive", 12.0, "motorway"))
    weather = Environment(35.0 if kind in HOT else None, kind == "isolation-wet")
    if kind in LONG_STOP:
        cycle = (*cycle, Phase("park", 3 * 24 * 60.0))
    name = kind or "sound"
    return Scenario(name, Phrase(name, name), vehicle, faults, None, weather, cycle, "drive")


def drive(car: Car, seconds: int = DRIVE_S) -> dict[str, Series]:
    """Every signal of the car's buses, once a second, as it stands on the wire."""
    catalogue, buses = car.catalogue, car.buses
    names = list(catalogue.slots)
    slots = np.array([catalogue.slots[name] for name in names])
    rows = np.empty((seconds, len(slots)))
    heard = np.zeros((seconds, len(slots)), dtype=np.bool_)
    index = np.array([next(m.index for m in catalogue.messages if name in m.slots) for name in names])
    t_ns = np.empty(seconds, dtype=np.int64)
    start_s = car.plant.t_s
    for second in range(seconds):
        car.unseen_step(1.0)
        buses.latch_all()
        rows[second] = buses.values[slots]
        t_s = car.plant.t_s
        t_ns[second] = round((t_s - start_s) * 1e9)
        heard[second] = (t_s - np.array(buses.sent_s))[index] < 5.0
    coded = catalogue.as_coded(rows, slots)
    valid = heard & ~np.isnan(rows)
    units = {
        signal.name: signal.unit
        for database in databases(car.vehicle.name)
        for message in database.messages
        for signal in message.signals
    }
    out = {}
    for at, name in enumerate(names):
        good = valid[:, at]
        if good.any():
            sure = np.ones(int(good.sum()), dtype=np.bool_)
            out[name] = Series(name, units.get(name, ""), t_ns[good], coded[good, at], sure)
    return out


async def _scanned(car: Car) -> VehicleReport:
    own = databases(car.vehicle.name)
    async with CarLink(car) as link:
        return await scan(link, databases=own, simulated=True, listen_s=0.0, identifiers=IDENTIFIERS)


def visit(kind: str | None, vehicle: str, seed: int) -> tuple[VehicleReport, Mapping[str, Series]]:
    """A scan at the workshop after a drive with the recorder running, and what the recorder kept."""
    car = Car(scenario_of(kind, vehicle), seed)
    if kind in HOT:
        car.plant.trip = Trip(2 * DRIVE_S, np.random.default_rng(seed), "motorway", car.plant.t_s)
    series = drive(car)
    return asyncio.run(_scanned(car)), series


def judged(report: VehicleReport, series: Mapping[str, Series]) -> tuple[tuple[Finding, ...], tuple[Cause, ...]]:
    """What is said of a scan and a recording together, as ``scan --listen 1200`` says it."""
    battery = battery_from_series(series, source="recorded")
    study = study_battery(series, state=battery) if battery is not None else None
    battery = with_study(battery, study) if battery is not None else None
    findings = findings_from_facts(
        dtcs=report.dtcs,
        battery=battery,
        ecus=report.ecus,
        unanswered=[item for item in report.unanswered if item.role is not EcuRole.UNKNOWN],
        studied=study.findings if study is not None else (),
    )
    return findings, causes_of(report.dtcs, findings, report.ecus, battery, study)
