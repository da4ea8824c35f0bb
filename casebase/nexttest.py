"""Which test to do next: the most information for its minutes, safety first, remote ones before hands on the car."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from casebase.cases import NextTest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from casebase.catalogue import Check, TellingTest

__all__ = ["LEADING", "Lead", "best_test", "information_gain", "the_test"]

LEADING: Final = 30
"""How many fixes a test has to tell apart."""
_SETUP_MIN: Final = 5.0
_HANDS_ON_MIN: Final = 15.0
"""What going to the car costs beside the test's own minutes."""
_LEAST_BITS: Final = 0.05
_WORTH: Final = 0.35
"""A safer test is taken when it has at least this share of the best one's information."""


def information_gain(p: NDArray[np.float64], yes: NDArray[np.float64]) -> float:
    """Expected fall of the entropy in bits.

    Args:
        p: float64 ``(hypotheses,)``, sums to 1.
        yes: float64, same shape: probability of a positive result under each.
    """
    gain = _entropy(p)
    for outcome in (yes, 1.0 - yes):
        joint = p * outcome
        total = float(joint.sum())
        if total > 0.0:
            gain -= total * _entropy(joint / total)
    return max(0.0, gain)


def _entropy(p: NDArray[np.float64]) -> float:
    some = p[p > 0.0]
    return float(-(some * np.log2(some)).sum())


@dataclass(frozen=True, slots=True)
class Lead:
    """One of the leading answers: its name, what tests show when it is right, its probability."""

    slug: str
    checks: tuple[Check, ...]
    p: float


def best_test(leading: Sequence[Lead], p_unknown: float, tests: Sequence[TellingTest]) -> NextTest | None:
    """The next test for the leading answers; None when no test tells anything."""
    leading = leading[:LEADING]
    if not leading:
        return None
    weights = np.array([lead.p for lead in leading] + [p_unknown])
    weights = weights / weights.sum()
    said: dict[str, dict[int, float]] = {}
    for at, lead in enumerate(leading):
        for check in lead.checks:
            said.setdefault(check.test, {}).setdefault(at, check.positive)
    rated: list[tuple[float, TellingTest]] = []
    for test in tests:
        if test.test_id in said:
            yes = np.full(weights.size, test.other)
            yes[list(said[test.test_id])] = list(said[test.test_id].values())
            rated.append((information_gain(weights, yes), test))
    most = max((gain for gain, _ in rated), default=0.0)
    if most < _LEAST_BITS:
        return None
    useful = [(gain, test) for gain, test in rated if gain >= max(_LEAST_BITS, _WORTH * most)]
    gain, test = min(useful, key=lambda entry: (entry[1].safety.rank, -entry[0] / _cost(entry[1]), entry[1].test_id))
    return _step(test, leading, gain)


def the_test(name: str, leading: Sequence[Lead], tests: Sequence[TellingTest]) -> NextTest | None:
    """A certain test for the leading answers, whatever it tells; None when it is none of ``tests``."""
    return next((_step(test, leading, 0.0) for test in tests if test.test_id == name), None)


def _step(test: TellingTest, leading: Sequence[Lead], gain: float) -> NextTest:
    named = [(lead, check) for lead in leading for check in lead.checks if check.test == test.test_id]
    return NextTest(
        test.test_id, test.title, test.how, test.yes, named[0][1].expect, test.minutes, test.remote, test.safety, gain,
        tuple(lead.slug for lead, _ in named[:5]),
    )  # fmt: skip


def _cost(test: TellingTest) -> float:
    return test.minutes + _SETUP_MIN + (0.0 if test.remote else _HANDS_ON_MIN)
