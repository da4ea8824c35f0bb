"""From the posterior to the answer: the ten best matches with reasons, one verdict, the next test."""

from __future__ import annotations

import math
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from casebase.cases import Cases, Match, Reason, Safety, Verdict
from casebase.catalogue import NOTICE_TEST
from casebase.explanation import reasons
from casebase.intervals import wilson
from casebase.jobclasses import NOTICE, evidence_of, language_of
from casebase.matching import SPOKEN, has_fault_evidence, posterior
from casebase.nexttest import LEADING, Lead, best_test, the_test
from casebase.noticeside import NOTHING_TOLD
from casebase.recalibration import UNCORRECTED, corrected
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from casebase.catalogue import FeatureScale, Fix, TellingTest
    from casebase.matching import Posterior, Weights
    from casebase.meaning import Meaning
    from casebase.noticeside import NoticeSide, NoticesTold
    from casebase.postings import Postings
    from casebase.query import Query
    from casebase.recalibration import Recalibration
    from casebase.success import Success
    from casebase.words import Vocabulary

__all__ = ["MOST_MATCHES", "STAY_OFF_FINDINGS", "answer"]

MOST_MATCHES: Final = 10
STAY_OFF_FINDINGS: Final = frozenset({"insulation.low", "thermal.hot"})
"""While one of these is open nobody drives, charges or switches on the car to learn about something else."""
STILL_RIGHT: Final = 0.15
"""How often the right fix does not cure: as many of a usual fix's jobs fail."""
_LEAST_P: Final = 1e-4
"""Below this a fix is no matter for tests, and whether it has worked is none for its place."""
_DIRECT_P: Final = 0.8
_DIRECT_MEASURED: Final = 1.0
_CASES_OF_SOURCE: Final = {"standard": 12.0, "public-notice": 12.0, "physics": 10.0, "judgement": 5.0}
"""How many cases a statement of ours is worth, for the interval, until real ones are counted."""


def answer(
    query: Query,
    postings: Postings,
    fix_of: Callable[[str], Fix],
    scales: Mapping[str, FeatureScale],
    tests: Sequence[TellingTest],
    words: Vocabulary,
    weights: Weights | None = None,
    notices: NoticeSide | None = None,
    success_of_fix: Callable[[Fix], Success | None] = lambda _: None,
    recalibration: Recalibration = UNCORRECTED,
    wording: Callable[[], Sequence[Meaning]] = tuple,
    failed_before: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Cases:
    """The library's whole answer to one question.

    The fixes and the notices are two families. How probable it is that the story belongs to a notice follows from its
    words and loses to what was measured on the car and only a fix explains; within each family its own model decides.
    ``failed_before`` are the days on which a fix was done on this very car and did not cure the trouble it has now.
    What comes of it is corrected by the log of closed jobs (:mod:`casebase.recalibration`) before anything is decided.
    """
    faulty = has_fault_evidence(query, scales, words)
    if not faulty and not query.dtcs:
        return Cases(Verdict.NONE, simulated=query.simulated)
    result = posterior(postings, query, scales, words, weights, wording() if faulty else ())
    found = np.flatnonzero(np.isfinite(result.score))
    best = found[np.lexsort((found, -result.score[found], -result.p[found]))][:LEADING]
    best = best[(np.arange(best.size) < MOST_MATCHES) | (result.p[best] >= _LEAST_P)]
    leading = [(fix_of(postings.fix_ids[result.rows[column]]), int(column)) for column in best]
    asked = [fix for fix, column in leading if result.p[column] >= _LEAST_P]
    tried = {fix.fix_id: success for fix in asked if (success := success_of_fix(fix)) is not None}
    odds, p_unknown = _weighed(leading, tried, result, failed_before)
    leading.sort(key=lambda entry: -odds[entry[0].fix_id])
    measured = _measured(result, leading[0][1] if leading else None)
    told = notices.tell(query, measured) if notices and faulty else NOTHING_TOLD
    rest = 1.0 - told.p
    raw = [*(rest * odds[fix.fix_id] for fix, _ in leading), *(match.p for match in told.matches)]
    p, p_unknown = _corrected(query, raw, rest * p_unknown, told, recalibration)
    p_of = {fix.fix_id: (raw[i], p[i]) for i, (fix, _) in enumerate(leading)}
    told = told.corrected(p[len(leading) :]) if told.matches else told
    shown = _one_per_source(leading)
    fixes = [
        _failed_here(
            _match(fix, column, result, postings, scales, query, *p_of[fix.fix_id], tried.get(fix.fix_id)),
            failed_before.get(fix.fix_id, ()),
        )
        for fix, column in shown
    ]
    # By the uncorrected ones: corrected they may be equal, and none may pass the first.
    matches = tuple(sorted([*fixes, *told.matches], key=lambda m: -m.uncorrected)[:MOST_MATCHES])
    unexplained = _unexplained(query, postings, [int(result.rows[column]) for _, column in shown], told)
    if not faulty:
        return Cases(Verdict.NONE, matches, None, p_unknown, (), query.simulated)
    allowed = _tests_that_may_be_done(query, [fix for fix, _ in leading], tests)
    leads = [Lead(fix.slug, fix.checks, p_of[fix.fix_id][1]) for fix, _ in leading]
    leads = sorted([*leads, *told.leads], key=lambda lead: -lead.p)
    step = best_test(leads, p_unknown, allowed)
    if matches and matches[0].case_id in told.ids:
        step = step or the_test(NOTICE_TEST, leads, tests)
        unknown = unexplained or p_unknown > max(0.5, matches[0].p)
        verdict = Verdict.UNKNOWN if unknown else Verdict.TEST
    else:
        verdict = _verdict(shown, matches, result, unexplained, query, postings, p_unknown, testable=step is not None)
    return Cases(verdict, matches, step, p_unknown, unexplained, query.simulated, told.campaigns, told.campaigns_total)


def _measured(result: Posterior, column: int | None) -> float:
    """What codes, figures and findings say for the leading fix, in nats."""
    if column is None:
        return 0.0
    return sum(
        max(0.0, float(result.parts[i, column])) for i, item in enumerate(result.seen) if item.kind not in SPOKEN
    )


def _weighed(
    leading: list[tuple[Fix, int]], tried: Mapping[str, Success], result: Posterior, failed: Mapping[str, Sequence[str]]
) -> tuple[dict[str, float], float]:
    """Probabilities with what became of the fixes; what failing ones lose goes to the others and to none of them."""
    factor = {fix_id: math.exp(success.factor) for fix_id, success in tried.items()}
    for fix_id, days in failed.items():
        factor[fix_id] = factor.get(fix_id, 1.0) * STILL_RIGHT ** len(days)
    odds = {fix.fix_id: float(result.p[column]) * factor.get(fix.fix_id, 1.0) for fix, column in leading}
    before = sum(float(result.p[column]) for _, column in leading)
    total = sum(odds.values()) + (1.0 - before)
    if total <= 0.0:
        return odds, result.p_unknown
    return {fix_id: p / total for fix_id, p in odds.items()}, result.p_unknown / total


def _corrected(
    query: Query, raw: Sequence[float], p_unknown: float, told: NoticesTold, recalibration: Recalibration
) -> tuple[list[float], float]:
    """The probabilities of fixes and notices, and that of none of them, by what the log says of answers like this."""
    if not raw:
        return [], p_unknown
    first = max(range(len(raw)), key=raw.__getitem__)
    is_notice = first >= len(raw) - len(told.matches)
    curve = recalibration.curve(language_of(query.symptom), NOTICE if is_notice else evidence_of(query))
    if curve.is_identity:
        return list(raw), p_unknown
    rest = max(0.0, 1.0 - sum(raw))  # those that are not shown, too
    p, left = corrected(curve, raw, rest)
    # What nobody may take is as unknown as what was unknown before.
    return p, left * min(1.0, p_unknown / rest) if rest > 0.0 else left


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
    fix: Fix,
    column: int,
    result: Posterior,
    postings: Postings,
    scales: Mapping[str, FeatureScale],
    query: Query,
    p_raw: float,
    p: float,
    success: Success | None,
) -> Match:
    because, against = reasons(column, result, postings, scales, query)
    if not result.is_own[column]:
        against = (_from_elsewhere(fix), *against)
    if success is not None:
        reason = Reason("outcome", fix.slug, success.told, success.factor)
        if success.factor < 0.0:
            against = (reason, *against)
        else:
            because = (*because, reason)
    cases = _CASES_OF_SOURCE.get(fix.source) or max(1.0, float(postings.n[result.rows[column]]))
    return Match(
        fix.fix_id, fix.slug, fix.title, p, wilson(p, cases), because, against, fix.fix, fix.safety, fix.source,
        float(result.score[column]), success, p_raw,
    )  # fmt: skip


def _failed_here(match: Match, days: Sequence[str]) -> Match:
    """With the reason against it, where it was done on this car before."""
    if not days:
        return match
    told = Text(
        f"was done on this car on {', '.join(days)} and did not cure it",
        f"该车曾于 {'、'.join(days)} 采用此解决办法，未能修复",
    )
    reason = Reason("earlier-visit", match.source_id, told, len(days) * math.log(STILL_RIGHT))
    return replace(match, against=(reason, *match.against))


def _from_elsewhere(fix: Fix) -> Reason:
    """That a fix is known from another vehicle."""
    scope = fix.scope
    named = " ".join(part for part in (scope.make, scope.model) if part)
    if scope.year_from or scope.year_to:
        named = f"{named} {scope.year_from or ''}–{scope.year_to or ''}"
    return Reason(
        "vehicle", named, Text(f"known from another vehicle: {named}", f"该解决办法来自其他车型：{named}"), -1.0
    )


def _unexplained(
    query: Query, postings: Postings, rows: Sequence[int], told: NoticesTold = NOTHING_TOLD
) -> tuple[str, ...]:
    """Confirmed codes that no shown match lists, in any ECU."""
    shown = np.array(rows, dtype=np.int32)
    return tuple(
        sorted(
            {
                dtc.display
                for dtc in query.dtcs
                if dtc.state in ("active", "confirmed")
                and dtc.code not in told.codes
                and not postings.is_seen(f"d1|{dtc.code}", shown)
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
    p_unknown: float,
    *,
    testable: bool,
) -> Verdict:
    """One word for the whole answer. Codes left unexplained make it ``unknown``, whatever the probability."""
    if not matches or unexplained or p_unknown > max(0.5, matches[0].p):
        return Verdict.UNKNOWN
    fix, column = shown[0]
    measured = sum(
        float(result.parts[i, column])
        for i, item in enumerate(result.seen)
        if item.kind not in SPOKEN and result.parts[i, column] > 0 and item.weight > 0
    )
    covers_all = not _unexplained(query, postings, [int(result.rows[column])])
    only_judged = fix.source == "judgement" and fix.safety is Safety.HV_WORK
    sure = matches[0].p >= _DIRECT_P and measured >= _DIRECT_MEASURED and bool(result.is_own[column])
    if sure and covers_all and not only_judged:
        return Verdict.DIRECT
    return Verdict.TEST if testable else Verdict.EXPERT
