"""Faults that become more frequent: rates per exposure, an exact test and a CUSUM, and what to keep in stock.

A week-on-week rise of ten percent comes by chance twenty times a year. So ten percent is the *effect floor*: a fault
rings when the exact 95 % lower bound of its rate ratio, recent weeks beside those before, lies above 1.1, and chance is
ruled out in one of two ways: by the exact test, or by a Poisson CUSUM, each with a threshold that chance alone passes
at most once in two years of weekly looks over all faults together. Below that, a fault is *watched* at a false
discovery rate of 5 %.

How long ago a rise began nobody knows. The exact test therefore looks at half, once, twice and three times the recent
weeks, takes the clearest and pays for it four times (Bonferroni); the CUSUM goes back to whatever week the rise is
likeliest to have begun in.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from casebase.exacttests import binomial_tail, discoveries, predicted_quantile, rate_ratio_bound

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from diag.facts import Json

__all__ = ["Counted", "Stock", "Trend", "trends_of"]

FLOOR: Final = 1.1
_RATIOS: Final = (1.5, 2.0, 3.0)
"""The rises that the CUSUM looks for."""
_WINDOWS: Final = (0.5, 1.0, 2.0, 3.0)
"""Times the recent weeks."""
_WATCHED: Final = 0.05
"""Adjusted p up to which a fault is watched."""
_FALSE_A_YEAR: Final = 0.5
_WEEKS_A_YEAR: Final = 52
_LOOKS_A_YEAR: Final = 26
"""Independent ones among the weekly looks of the exact test, whose windows overlap."""
_LEAST_BEFORE: Final = 8
"""Weeks of experience before anything is said."""
_LEAST_CASES: Final = 4
_SERVICE: Final = 0.95
"""Share of lead times in which the stock lasts."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Cases of one fault on one model in one week.

    Args:
        fault: what they have in common.
        model: ``make model``.
        week: number of the week, any origin.
        cases: how many.
        together: codes that come with it.
    """

    fault: str
    model: str
    week: int
    cases: int
    together: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stock:
    """What to keep of the fix's parts: for the lead time, with 95 % service, the rate being an estimate itself.

    Args:
        weeks: lead time.
        expected: cases in that time.
        level, before: how many sets now, and at the earlier rate.
    """

    weeks: int
    expected: float
    level: int
    before: int

    def to_json(self) -> Json:
        """The numbers."""
        return {
            "weeks": self.weeks, "expected": round(self.expected, 1), "level": self.level, "before": self.before,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trend:
    """How one fault on one model develops.

    Args:
        weeks: how many are the recent ones.
        recent, before: cases of the recent weeks and of those before.
        exposure, exposure_before: car-weeks of them.
        ratio: of the rates; infinite where there were none before.
        lower: exact 95 % lower bound of it.
        p: exact one-sided, for a ratio of :data:`FLOOR`, over all windows.
        q: adjusted over all faults (Benjamini and Hochberg).
        cusum, threshold: in nats; where it stands now.
        state: ``rising``, ``watch`` or ``steady``.
        together: codes that come with it.
    """

    fault: str
    model: str
    weeks: int
    recent: int
    before: int
    exposure: float
    exposure_before: float
    ratio: float
    lower: float
    p: float
    q: float
    cusum: float
    threshold: float
    state: str
    stock: Stock
    together: tuple[str, ...] = ()

    def to_json(self) -> Json:
        """One entry of ``huizhen.trends/1``."""
        return {
            "fault": self.fault,
            "together": list(self.together),
            "model": self.model,
            "state": self.state,
            "weeks": self.weeks,
            "recent": self.recent,
            "before": self.before,
            "car_weeks": round(self.exposure, 1),
            "car_weeks_before": round(self.exposure_before, 1),
            "per_1000_car_weeks": round(1000.0 * self.recent / self.exposure, 3),
            "per_1000_car_weeks_before": round(1000.0 * self.before / self.exposure_before, 3),
            "ratio": round(self.ratio, 3) if math.isfinite(self.ratio) else None,
            "lower_95": round(self.lower, 3),
            "p": self.p,
            "q": self.q,
            "cusum": round(self.cusum, 2),
            "threshold": round(self.threshold, 2),
            "stock": self.stock.to_json(),
        }


def trends_of(
    counted: Iterable[Counted],
    exposure: Mapping[tuple[str, int], float],
    *,
    recent_weeks: int = 8,
    lead_weeks: int = 4,
    last_week: int | None = None,
) -> list[Trend]:
    """All faults with enough cases, the risen ones first.

    Args:
        counted: cases; weeks without any need not be named.
        exposure: cars of a model on the road in a week, by ``(model, week)``.
        recent_weeks: how many weeks are looked at.
        lead_weeks: how long parts take to come.
        last_week: the last whole week; None is the last one with exposure.
    """
    by_week: dict[tuple[str, str], dict[int, int]] = defaultdict(lambda: defaultdict(int))
    together: dict[tuple[str, str], tuple[str, ...]] = {}
    for one in counted:
        by_week[one.fault, one.model][one.week] += one.cases
        together[one.fault, one.model] = one.together
    weeks_of: dict[str, list[int]] = defaultdict(list)
    for (model, week), cars in exposure.items():
        if cars > 0.0 and (last_week is None or week <= last_week):
            weeks_of[model].append(week)
    lengths = sorted({max(1, round(recent_weeks * times)) for times in _WINDOWS})
    found = []
    for (fault, model), cases in sorted(by_week.items()):
        weeks = sorted(weeks_of.get(model, ()))
        parts = [(weeks[-n:], weeks[:-n]) for n in lengths if len(weeks) - n >= _LEAST_BEFORE]
        if not parts or len(weeks) - recent_weeks < _LEAST_BEFORE:
            continue
        if sum(cases.get(week, 0) for week in weeks) >= _LEAST_CASES:
            found.append((fault, model, cases, weeks, parts))
    threshold = math.log(_WEEKS_A_YEAR * max(1, len(found)) / _FALSE_A_YEAR)
    made = []
    for fault, model, cases, weeks, parts in found:
        numbers = [cases.get(week, 0) for week in weeks]
        on_road = [exposure[model, week] for week in weeks]
        windows = [_window(len(recent), numbers, on_road) for recent, _ in parts]
        best = min(windows, key=lambda one: (one.p, abs(one.weeks - recent_weeks)))
        now, then, cars, cars_then = best.now, best.then, best.cars, best.cars_then
        ratio = math.inf if then == 0 else now / cars / (then / cars_then)
        weekly = on_road[-1] * lead_weeks
        stock = Stock(
            lead_weeks, now / cars * weekly, predicted_quantile(now, cars, weekly, _SERVICE),
            predicted_quantile(then, cars_then, weekly, _SERVICE),
        )  # fmt: skip
        lower = rate_ratio_bound(now, then, cars, cars_then)
        p = min(1.0, best.p * len(windows))
        made.append(
            Trend(
                fault, model, best.weeks, now, then, cars, cars_then, ratio, lower, p, 1.0, _cusum(numbers, on_road),
                threshold, "steady", stock, together[fault, model],
            )
        )  # fmt: skip
    adjusted = discoveries([one.p for one in made]) if made else []
    most = _FALSE_A_YEAR / _LOOKS_A_YEAR / max(1, len(made))
    out = [_judged(one, q, most) for one, q in zip(made, adjusted, strict=True)]
    order = {"rising": 0, "watch": 1, "steady": 2}
    return sorted(out, key=lambda one: (order[one.state], one.q, one.p, one.fault, one.model))


@dataclass(frozen=True, slots=True)
class _Window:
    weeks: int
    now: int
    then: int
    cars: float
    cars_then: float
    p: float


def _window(weeks: int, numbers: Sequence[int], on_road: Sequence[float]) -> _Window:
    """The last weeks beside all before."""
    now, then = sum(numbers[-weeks:]), sum(numbers[:-weeks])
    cars, cars_then = sum(on_road[-weeks:]), sum(on_road[:-weeks])
    share = FLOOR * cars / (FLOOR * cars + cars_then)
    return _Window(weeks, now, then, cars, cars_then, binomial_tail(now, now + then, share))


def _cusum(numbers: Sequence[int], on_road: Sequence[float]) -> float:
    """Natural logarithm of how much better "it rose in week j" explains the cases than "it did not", for the best j.

    What is usual is known from the weeks before j only, as a gamma distribution (Jeffreys' prior), and how much it rose
    is one of :data:`_RATIOS`, each as likely. Under a constant rate the expectation of each ratio is 1, so that chance
    passes a threshold of ``ln x`` less than once in x weeks, however few weeks what is usual rests on.
    """
    cases = np.concatenate(([0.0], np.cumsum(numbers)))[:-1]
    cars = np.concatenate(([0.0], np.cumsum(on_road)))[:-1]
    usual, road = cases[_LEAST_BEFORE:] + 0.5, cars[_LEAST_BEFORE:]
    if not road.size:
        return 0.0
    since, ahead = sum(numbers) - cases[_LEAST_BEFORE:], sum(on_road) - road
    ratios = np.array(_RATIOS)[:, None]
    logs = since * np.log(ratios) - (usual + since) * np.log((road + ratios * ahead) / (road + ahead))
    best = logs.max(axis=0)
    return max(0.0, float((best + np.log(np.exp(logs - best).mean(axis=0))).max()))


def _judged(one: Trend, q: float, most: float) -> Trend:
    is_large, is_sure = one.lower > FLOOR, one.p <= most or one.cusum > one.threshold
    is_watched = is_sure or q <= _WATCHED
    return replace(one, q=q, state="rising" if is_large and is_sure else "watch" if is_watched else "steady")
