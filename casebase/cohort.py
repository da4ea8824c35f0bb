"""Whether a production batch with one software fares worse than matched cars: the card for batch x software.

Treated are the cars of a batch with one version of one ECU's software, controls those of the same batch with other
versions; where a batch has one version only, the other batches of the model with that software. Cars are matched by how
likely a car of their mileage, climate and charging has the software (:mod:`casebase.overlap`), in strata of that, and
what their use still does inside a stratum is taken off by regression. The effect is the mean difference weighted by the
treated cars of each stratum; its p-value comes from permutations within the strata. Over all cards the false discovery
rate is 5 %. Where too few treated cars have a counterpart, the software cannot be told apart from what it goes with
(old software sits on cars with many kilometres), and nothing is claimed.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from casebase.exacttests import discoveries
from casebase.nextcars import outlook_of
from casebase.overlap import overlap_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from casebase.nextcars import Outlook
    from diag.facts import Json

__all__ = ["Card", "CohortCar", "cohort_cards"]

_LEAST_ARM: Final = 8
_LEAST_MATCHED: Final = 0.6
_APART: Final = 0.5
"""Standardised difference from which on a property goes with the software."""
_PERMUTATIONS: Final = 4000
_FDR: Final = 0.05
_POWER: Final = 1.959964 + 0.841621
"""Two-sided 5 %, power 80 %."""


@dataclass(frozen=True, slots=True)
class CohortCar:
    """One car with its outcome.

    Args:
        model: ``make model``.
        batch: of the battery or the car.
        software: ECU -> version.
        outcome: a figure, or 1.0 and 0.0 for whether something is there.
        mileage_km: None where unknown.
        traits: climate, charging and the like: name -> what it is.
        case: number of the last visit.
        visits: week and outcome of each visit; empty where the days are not known.
        name: beginning of the car's keyed hash.
    """

    model: str
    batch: str
    software: Mapping[str, str]
    outcome: float
    mileage_km: float | None = None
    traits: Mapping[str, str] | None = None
    case: int = 0
    visits: tuple[tuple[int, float], ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """What one batch with one software shows.

    Args:
        ecu, version: empty where the cars do not differ in any program, and the batch stands alone.
        kind: ``software`` within a batch, or ``batch`` among those with that software.
        treated, controls: matched cars; ``cars`` all of the batch with that software.
        effect: difference of the outcome, treated less controls; None where nothing could be matched.
        interval: 95 %.
        detectable: the smallest effect that so many cars show in four of five cases.
        p: by permutation; q: adjusted over all cards.
        confounder: what goes with the software so closely that the two cannot be told apart; None where nothing does.
        state: ``worse``, ``better``, ``same``, ``confounded`` or ``few``.
        next: of a worse one the cars that will get it next.
    """

    model: str
    batch: str
    ecu: str
    version: str
    kind: str
    cars: int
    treated: int
    controls: int
    effect: float | None
    interval: tuple[float, float] | None
    detectable: float | None
    p: float | None
    q: float | None
    confounder: str | None
    state: str
    next: Outlook | None = None

    def to_json(self) -> Json:
        """One entry of ``huizhen.cohort/1``."""

        def short(value: float | None) -> float | None:
            return None if value is None else float(f"{value:.6g}")

        return {
            "model": self.model, "batch": self.batch, "ecu": self.ecu, "version": self.version, "compared": self.kind,
            "state": self.state, "cars": self.cars, "treated": self.treated, "controls": self.controls,
            "effect": short(self.effect),
            "interval": None if self.interval is None else [short(self.interval[0]), short(self.interval[1])],
            "detectable": short(self.detectable), "p": short(self.p), "q": short(self.q),
            "confounder": self.confounder, "next": None if self.next is None else self.next.to_json(),
        }  # fmt: skip


def cohort_cards(cars: Iterable[CohortCar], seed: int = 1, *, weeks: int = 8) -> list[Card]:
    """All cards, the worst first.

    Args:
        cars: each once.
        seed: of the permutations.
        weeks: to look ahead for the cars that will get it next.
    """
    by_batch: dict[tuple[str, str], list[CohortCar]] = defaultdict(list)
    by_model: dict[str, list[CohortCar]] = defaultdict(list)
    for car in cars:
        by_batch[car.model, car.batch].append(car)
        by_model[car.model].append(car)
    rng = np.random.default_rng(seed)
    made: list[tuple[Card, list[CohortCar], list[CohortCar]]] = []
    for (model, batch), members in sorted(by_batch.items()):
        alone: dict[tuple[frozenset[int], frozenset[int]], tuple[list[str], list[CohortCar], list[CohortCar]]] = {}
        for ecu in sorted({ecu for car in members for ecu in car.software}):
            versions = sorted({car.software[ecu] for car in members if ecu in car.software})
            for version in versions:
                treated = [car for car in members if car.software.get(ecu) == version]
                if len(versions) > 1:
                    others = [car for car in members if car.software.get(ecu, version) != version]
                    blank = _blank(model, batch, ecu, version, "software", len(treated))
                    made.append((_compared(blank, treated, others, rng), treated, others))
                    continue
                others = [c for c in by_model[model] if c.batch != batch and c.software.get(ecu) == version]
                same = frozenset(map(id, treated)), frozenset(map(id, others))
                alone.setdefault(same, ([], treated, others))[0].append(ecu)
        for ecus, treated, others in alone.values():
            # Several ECUs whose programs set the same cars beside the same others are one comparison, and none's fault.
            ecu, version = (ecus[0], treated[0].software[ecus[0]]) if len(ecus) == 1 else ("", "")
            blank = _blank(model, batch, ecu, version, "batch", len(treated))
            made.append((_compared(blank, treated, others, rng), treated, others))
    tested = [card.p for card, _, _ in made if card.p is not None]
    adjusted = iter(discoveries(tested) if tested else [])
    judged = []
    for card, treated, others in made:
        known = _judged(card, next(adjusted)) if card.p is not None else card
        judged.append(replace(known, next=outlook_of(treated, others, weeks)) if known.state == "worse" else known)
    order = {"worse": 0, "better": 1, "confounded": 2, "same": 3, "few": 4}
    return sorted(judged, key=lambda c: (order[c.state], c.q or 1.0, c.model, c.batch, c.ecu, c.version))


def _blank(model: str, batch: str, ecu: str, version: str, kind: str, cars: int) -> Card:
    return Card(model, batch, ecu, version, kind, cars, 0, 0, None, None, None, None, None, None, "few")


def _judged(card: Card, q: float) -> Card:
    low, high = card.interval or (0.0, 0.0)
    state = "same"
    if q <= _FDR and low > 0.0:
        state = "worse"
    elif q <= _FDR and high < 0.0:
        state = "better"
    return replace(card, q=q, state=state)


def _compared(blank: Card, treated: Sequence[CohortCar], others: Sequence[CohortCar], rng: np.random.Generator) -> Card:
    if len(treated) < _LEAST_ARM or len(others) < _LEAST_ARM:
        return blank
    both = _matched(treated, others)
    matched, controls = (sum(part[i].size for part in both) for i in (0, 1))
    counted = replace(blank, treated=matched, controls=controls)
    if matched < _LEAST_MATCHED * len(treated):
        return replace(counted, confounder=_apart(treated, others), state="confounded")
    if matched < _LEAST_ARM or controls < _LEAST_ARM:
        return counted
    effect, error = _difference(both)
    p = _permuted(both, effect, rng)
    interval = (effect - 1.959964 * error, effect + 1.959964 * error)
    return replace(counted, effect=effect, interval=interval, detectable=_POWER * error, p=p)


def _matched(
    treated: Sequence[CohortCar], others: Sequence[CohortCar]
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Outcomes of both arms by stratum, less what the cars' use still does inside, as if the arms were alike."""
    found = overlap_of(treated, others)
    kept = np.concatenate([found.treated, found.controls])
    outcome = np.array([car.outcome for car in (*treated, *others)])[kept]
    strata, use = found.strata[kept], found.use[kept]
    has = (np.arange(kept.size) < len(treated))[kept]
    names = [name for name in np.unique(strata) if 0 < has[strata == name].sum() < (strata == name).sum()]
    inside = np.isin(strata, names)
    outcome, strata, use, has = outcome[inside], strata[inside], use[inside], has[inside]
    rest, own = use.copy(), outcome.copy()
    for name in names:
        rest[strata == name] -= use[strata == name].mean(axis=0)
        own[strata == name] -= outcome[strata == name].mean()
    if outcome.size >= _LEAST_ARM + use.shape[1]:
        gram = rest.T @ rest + 1e-6 * max(1, outcome.size) * np.eye(use.shape[1])
        outcome = outcome - rest @ np.linalg.solve(gram, rest.T @ own)
    return [(outcome[(strata == name) & has], outcome[(strata == name) & ~has]) for name in names]


def _difference(both: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> tuple[float, float]:
    """The weighted mean difference and its standard error, with one variance for each arm."""
    total = sum(one.size for one, _ in both)
    effect = sum(one.size / total * (one.mean() - two.mean()) for one, two in both)
    left = [np.concatenate([part[arm] - part[arm].mean() for part in both]) for arm in (0, 1)]
    free = [max(1, one.size - len(both)) for one in left]
    pooled = sum(float((one**2).sum()) for one in left) / sum(free)
    # An arm in which nothing happened has no variance of its own: it borrows two cars' worth from both.
    spread = [(float((one**2).sum()) + 2.0 * pooled) / (n + 2) for one, n in zip(left, free, strict=True)]
    error = sum((one.size / total) ** 2 * (spread[0] / one.size + spread[1] / two.size) for one, two in both)
    return float(effect), math.sqrt(error)


def _permuted(
    both: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]], effect: float, rng: np.random.Generator
) -> float:
    """Two-sided, by shuffling who is treated inside each stratum."""
    total = sum(one.size for one, _ in both)
    sums = np.zeros(_PERMUTATIONS)
    for one, two in both:
        values = np.concatenate([one, two])
        order = rng.random((_PERMUTATIONS, values.size)).argsort(axis=1)
        shuffled = values[order]
        difference = shuffled[:, : one.size].mean(axis=1) - shuffled[:, one.size :].mean(axis=1)
        sums += one.size / total * difference
    reached = int((np.abs(sums) >= abs(effect) - 1e-12).sum())
    return (reached + 1) / (_PERMUTATIONS + 1)


def _apart(treated: Sequence[CohortCar], others: Sequence[CohortCar]) -> str | None:
    """The property in which the two differ most."""
    found: dict[str, float] = {}
    km = [[car.mileage_km for car in arm if car.mileage_km is not None] for arm in (treated, others)]
    if all(len(arm) > 1 for arm in km):
        spread = math.sqrt((float(np.var(km[0])) + float(np.var(km[1]))) / 2) or 1.0
        found["mileage_km"] = abs(float(np.mean(km[0])) - float(np.mean(km[1]))) / spread
    names = {name for car in (*treated, *others) for name in (car.traits or {})}
    for name in names:
        for value in {(car.traits or {}).get(name) for car in (*treated, *others)}:
            shares = [
                float(np.mean([(car.traits or {}).get(name) == value for car in arm])) for arm in (treated, others)
            ]
            middle = sum(shares) / 2
            spread = math.sqrt(middle * (1 - middle)) or 1.0
            found[name] = max(found.get(name, 0.0), abs(shares[0] - shares[1]) / spread)
    most = max(found, key=lambda key: (found[key], key), default="")
    return most if found.get(most, 0.0) >= _APART else None
