"""Fleets: thousands of cars with batches, mileage, climate, charging habits, programs and faults, drawn from one seed.

What a workshop knows of a car (batch, region, mileage) is apart from what is wrong with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from virtualbus.errors import Phrase
from virtualbus.faults import FAULTS, Fault
from virtualbus.scenario import Environment, History, Phase, Scenario
from virtualbus.vehicles import VEHICLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from virtualbus.car import Car

__all__ = ["FleetCar", "draw_fleet", "label_of"]

FLEET_VEHICLES: Final = ("ev400", "lfp104", "zev", "phev")
BATCHES: Final = 24
FAULT_SHARE: Final = 0.3
SECOND_SHARE: Final = 0.08
BATCH_DEFECT_SHARE: Final = 0.12
_REGIONS: Final = {"cold": (-14.0, 6.0), "temperate": (8.0, 24.0), "hot": (26.0, 39.0), "wet": (12.0, 28.0)}
_HABITS: Final = {"home-ac": 0.6, "mixed": 1.0, "dc": 1.7}
_WEIGHTS: Final = {
    "weak-cell": 8.0, "low-battery": 6.0, "tyre-leak": 5.0, "self-discharge": 4.0, "sampling-line": 4.0,
    "isolation-wet": 3.0, "isolation": 3.0, "tyre-sensor": 3.0, "wheel-sensor": 3.0, "inlet-hot": 3.0,
    "software-mismatch": 0.3, "shorted-cell": 0.3, "ageing": 4.0,
}  # fmt: skip
_CHARGING: Final = frozenset(
    ("charger-derating", "inlet-hot", "control-pilot", "inlet-lock", "radiator-fan", "balancing-stuck")
)
_STATION: Final = frozenset(("dc-timeout", "coolant-blocked", "chiller"))
_BATCH_DEFECTS: Final = ("software-mismatch", "weak-cell", "module-joint", "control-pilot", "balancing-dead")
_DRIVE: Final = Phase("drive", 5.0)
_PARK: Final = Phase("park", 45.0)


@dataclass(frozen=True, slots=True)
class FleetCar:
    """One car of a fleet.

    Args:
        number: from 1.
        known: what a workshop knows: batch, region, habit, odometer, age.
        scenario: how the car is made.
        seed: makes it.
    """

    number: int
    known: Mapping[str, Any]
    scenario: Scenario
    seed: int


@dataclass(frozen=True, slots=True)
class _Batch:
    name: str
    vehicle: str
    bms_version: str
    age_months: int
    defect: str | None
    share: float


def _draw_batches(rng: np.random.Generator) -> list[_Batch]:
    out = []
    for number in range(BATCHES):
        vehicle = FLEET_VEHICLES[number % len(FLEET_VEHICLES)]
        newest = VEHICLES[vehicle].versions["BMS"]
        major, _, minor = newest.partition(".")
        age_months = int(rng.integers(2, 70))
        version = f"{major}.{max(0, int(minor) - min(2, age_months // 24))}"
        defect = str(rng.choice(_BATCH_DEFECTS)) if rng.random() < BATCH_DEFECT_SHARE else None
        out.append(_Batch(f"{vehicle.upper()}-{number + 1:02d}", vehicle, version, age_months, defect,
                          float(rng.uniform(0.15, 0.5))))  # fmt: skip
    return out


def _draw_fault(rng: np.random.Generator, vehicle: str, name: str | None = None) -> Fault:
    kinds = [kind for kind in FAULTS.values() if kind.fits(VEHICLES[vehicle])]
    if name is None:
        weights = np.array([_WEIGHTS.get(kind.name, 1.0) for kind in kinds])
        name = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))].name
    kind = FAULTS[name]
    # What begins during a long trip begins during the short one of a fleet, too.
    from_s = None if kind.from_s is None else float(rng.uniform(60.0, 300.0))
    return Fault(kind, {}, float(rng.beta(3.0, 2.0)), from_s)


def _cycle(faults: tuple[Fault, ...]) -> tuple[Phase, ...]:
    names = {fault.kind.name for fault in faults}
    if names & _CHARGING:
        return (_DRIVE, Phase("charge-ac", 60.0))
    if names & _STATION:
        return (_DRIVE, Phase("charge-dc", 20.0))
    if any(fault.kind.needs for fault in faults):
        return (Phase("drive", 12.0, "motorway"), Phase("park", 20.0), Phase("drive", 12.0, "motorway"))
    return (_DRIVE, _PARK)


def draw_fleet(count: int, seed: int, *, first: int = 1) -> Iterator[FleetCar]:
    """Cars ``first`` to ``count``; the same seed draws the same fleet, and a longer one begins with the same cars."""
    root = np.random.SeedSequence(seed)
    batches = _draw_batches(np.random.default_rng(root.spawn(1)[0]))
    for number in range(first, count + 1):
        own = np.random.SeedSequence((seed, number))
        rng = np.random.default_rng(own)
        batch = batches[int(rng.integers(len(batches)))]
        region = str(rng.choice(list(_REGIONS)))
        habit = str(rng.choice(list(_HABITS)))
        low_c, high_c = _REGIONS[region]
        age_months = max(1, batch.age_months + int(rng.integers(-1, 2)))
        km = float(np.round(age_months * rng.lognormal(7.1, 0.45)))
        hot = 1.35 if region == "hot" else 1.0
        lost = min(0.28, (0.0009 * age_months + km * 3.2e-7) * _HABITS[habit] * hot + float(rng.uniform(0, 0.01)))
        faults: tuple[Fault, ...] = ()
        if batch.defect is not None and rng.random() < batch.share:
            faults = (_draw_fault(rng, batch.vehicle, batch.defect),)
        elif rng.random() < FAULT_SHARE:
            faults = (_draw_fault(rng, batch.vehicle),)
            if rng.random() < SECOND_SHARE:
                faults = (*faults, _draw_fault(rng, batch.vehicle))
        name = f"fleet-{number:05d}"
        scenario = Scenario(
            name, Phrase(name, name), batch.vehicle, faults, None,
            Environment(float(np.round(rng.uniform(low_c, high_c))), region == "wet"),
            _cycle(faults), "ready", History(km, 1.0 - lost, batch.bms_version),
        )  # fmt: skip
        known = {
            "batch": batch.name, "vehicle": batch.vehicle, "region": region, "charging": habit,
            "age_months": age_months, "odometer_km": km,
        }  # fmt: skip
        yield FleetCar(number, known, scenario, int(own.generate_state(1)[0]))


def label_of(car: Car) -> list[dict[str, Any]]:
    """What really is wrong with a car: for evaluation, never for the reader."""
    return [
        {
            "kind": fault.kind.name,
            "severity": fault.severity,
            "from_s": fault.from_s,
            "figures": {name: value for name, value in drawn.items() if name != "from_s"},
            "cause": fault.kind.cause._asdict(),
            "fix": fault.kind.fix._asdict(),
            "danger": fault.kind.danger,
        }
        for fault, drawn in zip(car.scenario.faults, car.drawn, strict=True)
    ]
