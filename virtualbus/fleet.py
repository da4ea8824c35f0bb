"""Fleets: thousands of cars with batches, mileage, climate, charging habits, programs and faults, drawn from one seed.

What a workshop knows of a car (batch, region, mileage, day of the visit) is apart from what is wrong with it. What a
:class:`FleetPlan` plants is a cause, not a result: more cars of a kind of fault from a week on, a program under which
the cells of one batch wear, or a program that merely sits on the cars with many kilometres.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from virtualbus.errors import Phrase
from virtualbus.faults import FAULTS, Fault
from virtualbus.scenario import Environment, History, Phase, Scenario
from virtualbus.vehicles import VEHICLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from virtualbus.car import Car

__all__ = [
    "FLEET_VEHICLES",
    "MOST_WEEKS",
    "FleetCar",
    "FleetPlan",
    "Rise",
    "cars_on_the_road",
    "draw_fleet",
    "label_of",
]

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
MOST_WEEKS: Final = 520
_FIRST_DAY: Final = datetime(2024, 9, 2, tzinfo=UTC)
"""A Monday: the first day of visits."""
_GROWTH: Final = 0.003
"""Of the cars on the road, by week."""
_MONTHLY_KM: Final = 7.1
"""Natural logarithm of what half of the cars drive less than in a month."""
_WORN_BY_PROGRAM: Final = {"home-ac": 0.25, "mixed": 0.45, "dc": 0.7}
"""Chance that a program which does not suit the cells has worn one, by how the car is charged."""
_WORN_BY_KM: Final = (0.25, 2.0, 0.9)
"""Chance that kilometres have worn a cell: at the batch's median, exponent, at most."""


@dataclass(frozen=True, slots=True)
class Rise:
    """One kind of fault that becomes more frequent.

    Args:
        kind: of :data:`~virtualbus.faults.FAULTS`.
        factor: how many times as many cars get it, at least 1.
        week: from which week on, the first is 1.
    """

    kind: str
    factor: float
    week: int


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """What a fleet is made of, and what is planted in it.

    Args:
        vehicle: the only kind of car, None for several.
        batches: how many.
        weeks: over which the cars come to the workshop; 0 leaves the days open.
        rise: a fault that becomes more frequent; needs ``weeks``.
        mismatch: number of the batch whose cells wear under the older of two programs.
        confounded: number of the batch in which the older program sits on the cars with many kilometres, and the
            kilometres alone wear the cells.
    """

    vehicle: str | None = None
    batches: int = BATCHES
    weeks: int = 0
    rise: Rise | None = None
    mismatch: int | None = None
    confounded: int | None = None

    @property
    def has_two_programs(self) -> bool:
        """Whether about half of the cars of every batch have got a newer program since."""
        return self.mismatch is not None or self.confounded is not None

    @property
    def vehicles(self) -> tuple[str, ...]:
        """The kinds of car."""
        return (self.vehicle,) if self.vehicle is not None else FLEET_VEHICLES[: self.batches]


@dataclass(frozen=True, slots=True)
class FleetCar:
    """One car of a fleet.

    Args:
        number: from 1.
        known: what a workshop knows: batch, region, habit, odometer, age.
        scenario: how the car is made.
        seed: makes it.
        planted: what of the plan is wrong with it: ``rise``, ``mismatch``, ``kilometres``; None = nothing.
    """

    number: int
    known: Mapping[str, Any]
    scenario: Scenario
    seed: int
    planted: str | None = None


@dataclass(frozen=True, slots=True)
class _Batch:
    number: int
    name: str
    vehicle: str
    bms_version: str
    age_months: int
    defect: str | None
    share: float


def _draw_batches(rng: np.random.Generator, plan: FleetPlan) -> list[_Batch]:
    out = []
    for number in range(plan.batches):
        vehicle = plan.vehicles[number % len(plan.vehicles)]
        newest = VEHICLES[vehicle].versions["BMS"]
        major, _, minor = newest.partition(".")
        age_months = int(rng.integers(2, 70))
        version = f"{major}.{max(0, int(minor) - min(2, age_months // 24))}"
        defect = str(rng.choice(_BATCH_DEFECTS)) if rng.random() < BATCH_DEFECT_SHARE else None
        share = float(rng.uniform(0.15, 0.5))
        if number + 1 in (plan.mismatch, plan.confounded):
            defect = None
        name = f"{vehicle.upper()}-{number + 1:02d}"
        out.append(_Batch(number + 1, name, vehicle, version, age_months, defect, share))
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


def _road(weeks: int) -> NDArray[np.float64]:
    """Cars on the road in each week, in units of the first."""
    return np.linspace(1.0, 1.0 + _GROWTH * max(0, weeks - 1), weeks)


def cars_on_the_road(count: int, plan: FleetPlan) -> Iterator[tuple[str, str, int]]:
    """``(Monday, vehicle, cars)`` of each week: a car comes about once a year.

    Args:
        count: of the cars that come in all weeks together.
        plan: with ``weeks``.
    """
    numbers = [plan.vehicles[number % len(plan.vehicles)] for number in range(plan.batches)]
    road = _road(plan.weeks)
    for week in range(plan.weeks):
        monday = (_FIRST_DAY + timedelta(weeks=week)).date().isoformat()
        for vehicle in plan.vehicles:
            share = numbers.count(vehicle) / len(numbers)
            yield monday, vehicle, max(1, round(count * 52 / road.sum() * road[week] * share))


def _draw_visit(rng: np.random.Generator, plan: FleetPlan, vehicle: str) -> tuple[str, bool]:
    """Day of the visit, and whether the car comes for the fault that has risen.

    Visits are a Poisson process: by the cars on the road, and from the week of a rise on with so many more cars with
    its fault as its factor says.
    """
    road = _road(plan.weeks)
    more = np.zeros(plan.weeks)
    if plan.rise is not None:
        kinds = [kind for kind in FAULTS.values() if kind.fits(VEHICLES[vehicle])]
        weights = {kind.name: _WEIGHTS.get(kind.name, 1.0) for kind in kinds}
        usual = FAULT_SHARE * (1.0 + SECOND_SHARE) * weights.get(plan.rise.kind, 0.0) / sum(weights.values())
        more[plan.rise.week - 1 :] = (plan.rise.factor - 1.0) * usual * road[plan.rise.week - 1 :]
    is_more = bool(rng.random() < more.sum() / (road.sum() + more.sum()))
    chances = more if is_more else road
    week = int(rng.choice(plan.weeks, p=chances / chances.sum()))
    moment = _FIRST_DAY + timedelta(weeks=week, days=int(rng.integers(6)), minutes=int(rng.integers(8 * 60, 18 * 60)))
    return moment.isoformat(timespec="seconds"), is_more


def _draw_program(
    rng: np.random.Generator, plan: FleetPlan, batch: _Batch, habit: str, km: float
) -> tuple[str, str | None]:
    """Version of the BMS's program, and what wore a cell of this car: ``mismatch``, ``kilometres`` or nothing."""
    major, _, minor = VEHICLES[batch.vehicle].versions["BMS"].partition(".")
    is_old = bool(rng.random() < 0.5)
    worn = None
    if batch.number == plan.confounded:
        times = km / (batch.age_months * float(np.exp(_MONTHLY_KM)))
        is_old = times * rng.lognormal(0.0, 0.06) > 1.0  # who drives much has not come for the new program
        chance, power, most = _WORN_BY_KM
        worn = "kilometres" if rng.random() < min(most, chance * times**power) else None
    elif batch.number == plan.mismatch:
        worn = "mismatch" if is_old and rng.random() < _WORN_BY_PROGRAM[habit] else None
    return (f"{major}.{max(0, int(minor) - 1)}" if is_old else f"{major}.{minor}"), worn


def draw_fleet(count: int, seed: int, *, first: int = 1, plan: FleetPlan | None = None) -> Iterator[FleetCar]:
    """Cars ``first`` to ``count``; the same seed draws the same fleet, and a longer one begins with the same cars."""
    plan = plan or FleetPlan()
    root = np.random.SeedSequence(seed)
    batches = _draw_batches(np.random.default_rng(root.spawn(1)[0]), plan)
    for number in range(first, count + 1):
        own = np.random.SeedSequence((seed, number))
        rng = np.random.default_rng(own)
        planned = np.random.default_rng((seed, number, 1))
        batch = batches[int(rng.integers(len(batches)))]
        region = str(rng.choice(list(_REGIONS)))
        habit = str(rng.choice(list(_HABITS)))
        low_c, high_c = _REGIONS[region]
        age_months = max(1, batch.age_months + int(rng.integers(-1, 2)))
        km = float(np.round(age_months * rng.lognormal(_MONTHLY_KM, 0.45)))
        hot = 1.35 if region == "hot" else 1.0
        lost = min(0.28, (0.0009 * age_months + km * 3.2e-7) * _HABITS[habit] * hot + float(rng.uniform(0, 0.01)))
        faults = _draw_faults(rng, batch)
        known: dict[str, Any] = {
            "batch": batch.name, "vehicle": batch.vehicle, "region": region, "charging": habit,
            "age_months": age_months, "odometer_km": km,
        }  # fmt: skip
        version, planted = batch.bms_version, None
        if plan.has_two_programs:
            version, planted = _draw_program(planned, plan, batch, habit, km)
            if planted is not None:
                faults = (_draw_fault(planned, batch.vehicle, "weak-cell"),)
        if plan.weeks:
            known["visited"], is_more = _draw_visit(planned, plan, batch.vehicle)
            if is_more and plan.rise is not None:
                planted, faults = "rise", (_draw_fault(planned, batch.vehicle, plan.rise.kind),)
        name = f"fleet-{number:05d}"
        scenario = Scenario(
            name, Phrase(name, name), batch.vehicle, faults, None,
            Environment(float(np.round(rng.uniform(low_c, high_c))), region == "wet"),
            _cycle(faults), "ready", History(km, 1.0 - lost, version),
        )  # fmt: skip
        yield FleetCar(number, known, scenario, int(own.generate_state(1)[0]), planted)


def _draw_faults(rng: np.random.Generator, batch: _Batch) -> tuple[Fault, ...]:
    if batch.defect is not None and rng.random() < batch.share:
        return (_draw_fault(rng, batch.vehicle, batch.defect),)
    if rng.random() >= FAULT_SHARE:
        return ()
    faults = (_draw_fault(rng, batch.vehicle),)
    return (*faults, _draw_fault(rng, batch.vehicle)) if rng.random() < SECOND_SHARE else faults


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
