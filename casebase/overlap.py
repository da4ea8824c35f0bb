"""Which cars have a counterpart: alike in mileage, climate and charging, as far as these tell who has which software.

Exact cells of three properties are more than the cars of a batch. What matters is one figure of them: how likely a car
of such a use is to have the software (the propensity score, Rosenbaum and Rubin 1983), estimated by a logistic
regression with a ridge. Cars of equal score can be compared whatever their properties are; where no car of the other
arm has a similar score, software and use cannot be told apart.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from casebase.cohort import CohortCar

__all__ = ["Overlap", "overlap_of"]

_RIDGE: Final = 1.0
_STEPS: Final = 25
_CALIPER: Final = 0.2
"""Of the score's standard deviation (Austin 2011)."""
_LEAST_CALIPER: Final = 0.35
"""In logits: odds that differ by less than 1.4 are the same."""
_STRATUM: Final = 8
"""Cars of the smaller arm for each stratum."""
_MOST_STRATA: Final = 5


class Overlap:
    """Two arms with the cars that have a counterpart.

    Args:
        treated, controls: bool, one for each car: whether it has one.
        strata: int, treated then controls: 0 to 4, by the score.
        use: float64 (cars, columns), treated then controls: the use of each, standardised.
    """

    def __init__(
        self,
        treated: NDArray[np.bool_],
        controls: NDArray[np.bool_],
        strata: NDArray[np.int64],
        use: NDArray[np.float64],
    ) -> None:
        self.treated, self.controls, self.strata, self.use = treated, controls, strata, use


def overlap_of(treated: Sequence[CohortCar], controls: Sequence[CohortCar]) -> Overlap:
    """Scores all cars and finds the counterparts.

    Args:
        treated: with the software.
        controls: without it.
    """
    use = _use((*treated, *controls))
    has = np.arange(len(use)) < len(treated)
    score = _score(use, has.astype(np.float64))
    caliper = max(_CALIPER * float(score.std()), _LEAST_CALIPER)
    one, two = score[has], score[~has]
    kept_one, kept_two = _near(one, two, caliper), _near(two, one, caliper)
    inside = one[kept_one]
    count = int(min(_MOST_STRATA, max(1, min(kept_one.sum(), kept_two.sum()) // _STRATUM)))
    limits = np.quantile(inside, np.arange(1, count) / count) if inside.size and count > 1 else np.empty(0)
    return Overlap(kept_one, kept_two, np.searchsorted(limits, score, side="right"), use)


def _use(cars: Sequence[CohortCar]) -> NDArray[np.float64]:
    """Kilometres (logarithm and its square) and one column for each value of each trait, standardised."""
    km = np.array([math.nan if car.mileage_km is None else math.log1p(car.mileage_km) for car in cars])
    unknown = np.isnan(km)
    middle = float(km[~unknown].mean()) if not unknown.all() else 0.0
    logs = np.where(unknown, middle, km) - middle
    columns = [logs, logs**2, unknown.astype(np.float64)]
    names = sorted({each for car in cars for each in (car.traits or {}).items()})
    columns += [np.array([float((car.traits or {}).get(name) == value) for car in cars]) for name, value in names]
    found = [(column - column.mean()) / column.std() for column in columns if column.std() > 1e-9]
    return np.column_stack(found) if found else np.zeros((len(cars), 0))


def _score(use: NDArray[np.float64], has: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logit of having the software, by Newton's method."""
    columns = np.column_stack([np.ones(len(use)), use])
    ridge = np.diag([1e-6, *[_RIDGE] * use.shape[1]])
    weights = np.zeros(columns.shape[1])
    for _ in range(_STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(columns @ weights, -30.0, 30.0)))
        slope = columns.T @ (has - p) - ridge @ weights
        bend = (columns * (p * (1.0 - p))[:, None]).T @ columns + ridge
        step = np.linalg.solve(bend, slope)
        weights += step
        if float(np.abs(step).max()) < 1e-8:
            break
    return np.asarray(columns @ weights, dtype=np.float64)


def _near(cars: NDArray[np.float64], others: NDArray[np.float64], caliper: float) -> NDArray[np.bool_]:
    """Which have another one within the caliper."""
    if not others.size:
        return np.zeros(cars.size, dtype=np.bool_)
    rising = np.sort(others)
    at = np.searchsorted(rising, cars)
    below = np.abs(cars - rising[np.maximum(at - 1, 0)])
    above = np.abs(cars - rising[np.minimum(at, rising.size - 1)])
    return np.asarray(np.minimum(below, above) <= caliper, dtype=np.bool_)
