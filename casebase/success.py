"""How well a fix has worked: its outcomes, the recent ones more than the old, and whether it stopped working.

The share of jobs that a fix cures is Beta distributed: a prior by what the fix rests on, plus each outcome with a
weight that halves every 60 cases. What other workshops told counts half, like a prior that never weighs more than the
jobs of this one can. Fixes are ranked by the lower 20 % quantile beside that of the prior, so that nothing
known changes nothing. A CUSUM over the outcomes (Page, 1954; for proportions) rings when failures come as if only every
second job were cured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.facts import Json

__all__ = ["RECENT", "Success", "beta_quantile", "success_of"]

_HALF_LIFE: Final = 60.0
RECENT: Final = 600
"""Outcomes that count: the next older one has the thousandth part of the latest one's weight."""
_PRIORS: Final = {
    "standard": (8.0, 2.0), "public-notice": (8.0, 2.0), "physics": (6.0, 2.0), "judgement": (3.0, 1.5),
    "cases": (3.0, 1.5),
}  # fmt: skip
_ELSEWHERE: Final = 0.5
"""What a job elsewhere counts as: its number is noised, and so are the ways of another workshop."""
_MOST_ELSEWHERE: Final = _HALF_LIFE / math.log(2.0)
"""Jobs: the weight of endlessly many of our own."""
_QUANTILE: Final = 0.2
_MOST_UP: Final = math.log(1.5)
_IN_CONTROL, _OUT_OF_CONTROL = 0.85, 0.5
_RINGS: Final = 2.5
"""Three failures in a row ring (3 x 1.2 nats), two do not."""
_STOPPED: Final = math.log(0.25)
_GRID: Final = np.linspace(0.0005, 0.9995, 1000)


@lru_cache(maxsize=4096)
def beta_quantile(a: float, b: float, q: float) -> float:
    """The quantile of a Beta distribution, on a grid of thousandths."""
    density = (a - 1.0) * np.log(_GRID) + (b - 1.0) * np.log1p(-_GRID)
    mass = np.cumsum(np.exp(density - density.max()))
    return float(np.interp(q, mass / mass[-1], _GRID))


@dataclass(frozen=True, slots=True)
class Success:
    """What became of a fix.

    Args:
        worked, failed: how many jobs.
        failed_last: how many failed in a row at the end.
        lower: lower 20 % quantile of the share that it cures.
        stopped: the CUSUM rings: it worked, and does so no more.
        factor: log of what ranking does with its probability.
        elsewhere: on how many cars it worked and failed at other sites, noised; None where they told nothing.
    """

    worked: int
    failed: int
    failed_last: int
    lower: float
    stopped: bool
    factor: float
    elsewhere: tuple[int, int] | None = None

    def to_json(self) -> Json:
        """``outcomes`` of a match."""
        elsewhere = self.elsewhere
        return {
            "worked": self.worked, "failed": self.failed, "failed_last": self.failed_last,
            "lower": round(self.lower, 4), "stopped": self.stopped,
            "elsewhere": None if elsewhere is None else {"worked": elsewhere[0], "failed": elsewhere[1]},
        }  # fmt: skip

    @property
    def told(self) -> Text:
        """``37 of 44 worked, the last 3 failed, and 31 of 40 elsewhere``."""
        if self.elsewhere is None:
            return self._told_here
        worked, n = self.elsewhere[0], sum(self.elsewhere)
        if not self.worked + self.failed:
            return Text(f"{worked} of {n} worked elsewhere", f"其他门店 {n} 次中 {worked} 次有效")
        here = self._told_here
        return Text(f"{here.en}, and {worked} of {n} elsewhere", f"{here.zh}；其他门店 {n} 次中 {worked} 次有效")

    @property
    def _told_here(self) -> Text:
        n = self.worked + self.failed
        if self.failed_last >= 2:
            return Text(
                f"{self.worked} of {n} worked, the last {self.failed_last} failed",
                f"{n} 次中 {self.worked} 次有效，最近 {self.failed_last} 次均无效",
            )
        return Text(f"{self.worked} of {n} worked", f"{n} 次中 {self.worked} 次有效")


def success_of(outcomes: Sequence[bool], source: str, elsewhere: tuple[int, int] = (0, 0)) -> Success | None:
    """The success of a fix; None where nobody knows.

    Args:
        outcomes: whether each job was cured, the oldest first.
        source: what the fix rests on; see :data:`casebase.catalogue.SOURCES`.
        elsewhere: on how many cars it worked and failed at other sites.
    """
    told = sum(elsewhere)
    if not outcomes and not told:
        return None
    a, b = _PRIORS[source]
    usual = beta_quantile(a, b, _QUANTILE)
    if told:
        share = min(_ELSEWHERE, _MOST_ELSEWHERE / told)
        a, b = a + share * elsewhere[0], b + share * elsewhere[1]
    ages = np.arange(len(outcomes) - 1, -1, -1)
    weights = 0.5 ** (ages / _HALF_LIFE)
    cured = np.array(outcomes, dtype=bool)
    worked, failed = float(weights[cured].sum()), float(weights[~cured].sum())
    lower = beta_quantile(round(a + worked, 3), round(b + failed, 3), _QUANTILE)
    in_a_row = next((i for i, good in enumerate(reversed(outcomes)) if good), len(outcomes))
    stopped = _cusum(outcomes) > _RINGS
    factor = min(_MOST_UP, math.log(lower / usual))
    return Success(
        int(cured.sum()), int((~cured).sum()), in_a_row, lower, stopped, factor + (_STOPPED if stopped else 0.0),
        elsewhere if told else None,
    )  # fmt: skip


def _cusum(outcomes: Sequence[bool]) -> float:
    """Where the sum stands at the end."""
    failure = math.log((1.0 - _OUT_OF_CONTROL) / (1.0 - _IN_CONTROL))
    cure = math.log(_OUT_OF_CONTROL / _IN_CONTROL)
    total = 0.0
    for good in outcomes:
        total = max(0.0, total + (cure if good else failure))
    return total
