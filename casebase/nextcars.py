"""The cars that will get it next: those of a batch and software that fares worse, without the fault so far.

How many will get it follows from how many got it lately, per car and week at risk; which ones first follows from how
often it befell cars of the same mileage band, climate and way of charging. Both are estimates from few cars: the
number has an interval, and a property counts less the fewer cars it rests on.

A car is taken to have got the fault when it was first seen with it. That is right for faults that bring a car to the
workshop, and late by half the time between two visits for those that do not.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from casebase.exacttests import predicted_quantile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from casebase.cohort import CohortCar
    from diag.facts import Json

__all__ = ["KM", "NextCar", "Outlook", "mileage_band", "outlook_of"]

KM: Final = (20_000.0, 50_000.0, 100_000.0)
"""Limits of the mileage bands."""
_BEYOND: Final = 0.95
"""A figure is a fault where so many of the controls stay below it."""
_WINDOW: Final = 26
"""Weeks whose new faults are counted."""
_LEAST_WEEKS: Final = 8
_PRIOR_CARS: Final = 6.0
"""Cars with the usual share that are added to those of each property."""
_MOST: Final = 200


def mileage_band(km: float | None) -> int:
    """0 to 3 by :data:`KM`, -1 where nobody knows."""
    return -1 if km is None else int(np.searchsorted(KM, km, side="right"))


@dataclass(frozen=True, slots=True)
class NextCar:
    """One car without the fault.

    Args:
        case: number of its last visit.
        car: beginning of the car's keyed hash, empty where the library does not know the car.
        times: its risk, times the average of the list.
        chance: that it gets the fault in the weeks of the outlook; None where nobody can say when.
        traits: ``mileage_km`` (its band, ``50000-100000``), ``climate``, ``charging`` and the like.
    """

    case: int
    car: str
    times: float
    chance: float | None
    traits: Mapping[str, str]

    def to_json(self) -> Json:
        """One entry of ``cars``."""
        chance = None if self.chance is None else round(self.chance, 4)
        return {
            "case": self.case, "car": self.car, "times": round(self.times, 3), "chance": chance,
            "traits": dict(self.traits),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outlook:
    """What becomes of the cars of one card.

    Args:
        weeks: how far it looks.
        having: cars that have the fault, or had it.
        limit: above which a figure is one; None for codes and findings.
        remaining: cars without it.
        cars: the first of them, the most endangered first.
        expected: how many of them get it in those weeks; None where the visits cover too few weeks to say.
        interval: 95 %, of the number itself.
    """

    weeks: int
    having: int
    limit: float | None
    remaining: int
    cars: tuple[NextCar, ...]
    expected: float | None
    interval: tuple[int, int] | None

    def to_json(self) -> Json:
        """``next`` of a card."""
        return {
            "weeks": self.weeks, "having": self.having,
            "limit": None if self.limit is None else float(f"{self.limit:.6g}"), "remaining": self.remaining,
            "expected": None if self.expected is None else round(self.expected, 2),
            "interval": None if self.interval is None else list(self.interval),
            "cars": [car.to_json() for car in self.cars],
        }  # fmt: skip


def outlook_of(treated: Sequence[CohortCar], controls: Sequence[CohortCar], weeks: int = 8) -> Outlook:
    """Who is next.

    Args:
        treated: cars of the batch with the software.
        controls: those beside which it fares worse.
        weeks: to look ahead.
    """
    outcomes = np.array([car.outcome for car in controls])
    told = {value for car in (*treated, *controls) for _, value in _visits(car)}
    limit = None if told <= {0.0, 1.0} else float(np.quantile(outcomes, _BEYOND))
    since = {id(car): _first(car, 0.5 if limit is None else limit) for car in treated}
    left = [car for car in treated if since[id(car)] is None]
    having = len(treated) - len(left)
    times = _risks(treated, {key for key, week in since.items() if week is not None})
    risks = [times[id(car)] for car in left]
    rate = _rate([car for car in treated if car.visits], since, times)
    middle = float(np.mean(risks)) if risks else 1.0
    rows = []
    for car, risk in zip(left, risks, strict=True):
        chance = None if rate is None else -math.expm1(-(rate[0] + 0.5) / rate[1] * risk * weeks)
        rows.append(NextCar(car.case, car.name, risk / middle, chance, _traits(car)))
    rows.sort(key=lambda one: (-one.times, one.case))
    expected = interval = None
    if rate is not None:
        ahead = float(sum(risks) * weeks)
        expected = sum(one.chance or 0.0 for one in rows)
        low, high = (min(len(left), predicted_quantile(rate[0], rate[1], ahead, q)) for q in (0.025, 0.975))
        interval = low, high
    return Outlook(weeks, having, limit, len(left), tuple(rows[:_MOST]), expected, interval)


def _visits(car: CohortCar) -> tuple[tuple[int, float], ...]:
    return car.visits or ((0, car.outcome),)


def _first(car: CohortCar, limit: float) -> int | None:
    """Week in which it was first seen with the fault."""
    return min((week for week, value in _visits(car) if value > limit), default=None)


def _rate(
    cars: Sequence[CohortCar], since: Mapping[int, int | None], times: Mapping[int, float]
) -> tuple[int, float] | None:
    """New faults of the last weeks, and the car-weeks in which cars of usual risk could get them; None for too few.

    The most endangered have it first: those that are left are counted by their own risk, and not by that of all.
    """
    weeks = [week for car in cars for week, _ in car.visits]
    if not weeks:
        return None
    end = max(weeks) + 1
    begin = max(min(weeks), end - _WINDOW)
    if end - begin < _LEAST_WEEKS:
        return None
    events, at_risk = 0, 0.0
    for car in cars:
        week = since[id(car)]
        if week is not None and week < begin:
            continue
        events += week is not None
        at_risk += times[id(car)] * (end - begin if week is None else week - begin + 0.5)
    return (events, at_risk) if at_risk > 0.0 else None


def _properties(car: CohortCar) -> tuple[tuple[str, str], ...]:
    return ("mileage_km", str(mileage_band(car.mileage_km))), *sorted((car.traits or {}).items())


def _risks(treated: Sequence[CohortCar], having: set[int]) -> dict[int, float]:
    """For each car the product of how much more often than usual its properties go with the fault."""
    usual = (len(having) + 0.5) / (len(treated) + 1.0)
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for car in treated:
        for each in _properties(car):
            counts[each][0] += id(car) in having
            counts[each][1] += 1
    times = {
        each: (events + _PRIOR_CARS * usual) / (cars + _PRIOR_CARS) / usual for each, (events, cars) in counts.items()
    }
    return {id(car): math.prod(times[each] for each in _properties(car)) for car in treated}


def _traits(car: CohortCar) -> dict[str, str]:
    band = mileage_band(car.mileage_km)
    told = dict(car.traits or {})
    if band >= 0:
        limits = (0.0, *KM)
        told["mileage_km"] = f"{limits[band]:.0f}-{KM[band]:.0f}" if band < len(KM) else f"{KM[-1]:.0f}-"
    return told
