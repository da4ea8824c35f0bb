"""From the posterior to the answer: the ten best matches with reasons, one verdict, the next test."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from casebase.cases import Cases, Match, Safety, Verdict
from casebase.explanation import reasons
from casebase.matching import has_fault_evidence, posterior
from casebase.nexttest import LEADING, best_test

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from casebase.catalogue import FeatureScale, Fix, TellingTest
    from casebase.matching import Posterior, Weights
    from casebase.postings import Postings
    from casebase.query import Query
    from casebase.words import Vocabulary

__all__ = ["MOST_MATCHES", "STAY_OFF_FINDINGS", "answer", "wilson"]

MOST_MATCHES: Final = 10
STAY_OFF_FINDINGS: Final = frozenset({"insulation.low", "thermal.hot"})
"""While one of these is open nobody drives, charges or switches on the car to learn about something else."""
_DIRECT_P: Final = 0.8
_DIRECT_MEASURED: Final = 1.0
_CASES_OF_SOURCE: Final = {"standard": 12.0, "public-notice": 12.0, "physics": 10.0, "judgement": 5.0}
"""How many cases a statement of ours is worth, for the interval, until real ones are counted."""
_Z80: Final = 1.2816


def wilson(p: float, n: float, z: float = _Z80) -> tuple[float, float]:
    """Wilson's interval of a proportion; 80 % by default."""
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, min(p, middle - half)), min(1.0, max(p, middle + half))


def answer(
    query: Query,
    postings: Postings,
    fix_of: Callable[[str], Fix],
    scales: Mapping[str, FeatureScale],
    tests: Sequence[TellingTest],
    words: Vocabulary,
    weights: Weights | None = None,
) -> Cases:
    """The library's whole answer to one question."""
    faulty = has_fault_evidence(query, scales, words)
    if not faulty and not query.dtcs:
        return Cases(Verdict.NONE, simulated=query.simulated)
    result = posterior(postings, query, scales, words, weights)
    found = np.flatnonzero(np.isfinite(result.score))
    best = found[np.lexsort((found, -result.score[found], -result.p[found]))][:LEADING]
    leading = [(fix_of(postings.fix_ids[result.rows[column]]), int(column)) for column in best]
    shown = _one_per_source(leading)
    matches = tuple(_match(fix, column, result, postings, scales, query) for fix, column in shown)
    unexplained = _unexplained(query, postings, [int(result.rows[column]) for _, column in shown])
    if not faulty:
        return Cases(Verdict.NONE, matches, None, result.p_unknown, (), query.simulated)
    allowed = _tests_that_may_be_done(query, [fix for fix, _ in leading], tests)
    step = best_test([(fix, float(result.p[column])) for fix, column in leading], result.p_unknown, allowed)
    verdict = _verdict(shown, matches, result, unexplained, query, postings, testable=step is not None)
    return Cases(verdict, matches, step, result.p_unknown, unexplained, query.simulated)


def _tests_that_may_be_done(
    query: Query, leading: Sequence[Fix], tests: Sequence[TellingTest]
) -> Sequence[TellingTest]:
    """All tests; while the car must stay off, only those that belong to that very danger.

    A test that drives, charges or switches on the car would be taken for the next step otherwise.
    """
    dangers = STAY_OFF_FINDINGS & set(query.findings)
    if not dangers:
        return tests
    belonging = {
        check.test for fix in leading if any(usual.name in dangers for usual in fix.findings) for check in fix.checks
    }
    return [test for test in tests if test.test_id in belonging]


def _one_per_source(leading: list[tuple[Fix, int]]) -> list[tuple[Fix, int]]:
    seen: dict[str, tuple[Fix, int]] = {}
    for fix, column in leading:
        seen.setdefault(fix.slug, (fix, column))
    return list(seen.values())[:MOST_MATCHES]


def _match(
    fix: Fix, column: int, result: Posterior, postings: Postings, scales: Mapping[str, FeatureScale], query: Query
) -> Match:
    because, against = reasons(column, result, postings, scales, query)
    p = float(result.p[column])
    interval = wilson(p, _CASES_OF_SOURCE[fix.source])
    return Match(
        fix.fix_id, fix.slug, fix.title, p, interval, because, against, fix.fix, fix.safety, fix.source,
        float(result.score[column]),
    )  # fmt: skip


def _unexplained(query: Query, postings: Postings, rows: Sequence[int]) -> tuple[str, ...]:
    """Confirmed codes that no shown match lists, in any ECU."""
    shown = set(rows)
    return tuple(
        sorted(
            {
                dtc.display
                for dtc in query.dtcs
                if dtc.state in ("active", "confirmed") and not shown & set(postings.seen(f"d1|{dtc.code}").tolist())
            }
        )
    )


def _verdict(
    shown: list[tuple[Fix, int]],
    matches: tuple[Match, ...],
    result: Posterior,
    unexplained: tuple[str, ...],
    query: Query,
    postings: Postings,
    *,
    testable: bool,
) -> Verdict:
    """One word for the whole answer. Codes left unexplained make it ``unknown``, whatever the probability."""
    if not matches or unexplained or result.p_unknown > max(0.5, matches[0].p):
        return Verdict.UNKNOWN
    fix, column = shown[0]
    measured = sum(
        float(result.parts[i, column])
        for i, item in enumerate(result.seen)
        if item.kind != "symptom" and result.parts[i, column] > 0 and item.weight > 0
    )
    covers_all = not _unexplained(query, postings, [int(result.rows[column])])
    only_judged = fix.source == "judgement" and fix.safety is Safety.HV_WORK
    if matches[0].p >= _DIRECT_P and measured >= _DIRECT_MEASURED and covers_all and not only_judged:
        return Verdict.DIRECT
    return Verdict.TEST if testable else Verdict.EXPERT
