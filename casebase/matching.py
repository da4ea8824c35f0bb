"""Which known fix fits the evidence: the posterior over all fixes and "none of these".

``ln score(p) = 0.5·ln n_p + Σ seen w·ln(P(t|p)/P(t)) + w_absent · Σ read and absent ln(1 − P(t|p))`` with
``P(t|p) = (n_tp + a·P(t)) / (n_p + a)``. Absence counts only for ECUs that were really read and figures that were
really measured. A code counts on the most specific level that the fix knows: with failure type, without, in any ECU.
Evidence that a fix lists never counts against it, so that more matching evidence never lowers its score; evidence that
it does not list costs a bounded amount, because a car may have two faults. Pure: no clock, no file.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from casebase.catalogue import FeatureScale
    from casebase.postings import Postings
    from casebase.query import DtcSeen, Query
    from casebase.words import Vocabulary

__all__ = [
    "MOST_CAUSES",
    "NEUTRAL_FINDINGS",
    "Absent",
    "Posterior",
    "Seen",
    "Weights",
    "evidence_of",
    "has_fault_evidence",
    "posterior",
]

NEUTRAL_FINDINGS: Final = frozenset({"dtc.confirmed", "data.vin-mismatch"})
"""Findings that only repeat a code, or speak of the car's papers."""

MOST_CAUSES: Final = 3
"""How many faults at once are told apart."""

_MEASURED_BY: Final = {
    "battery.cell-weak": "cell_low_mv",
    "battery.sampling-line": "neighbour_opposition_mv",
    "battery.spread": "spread_mv",
    "insulation.low": "insulation_ohm_per_v",
    "thermal.hot": "temp_max_c",
}
"""The figure that a finding is made of: without it, the missing finding says nothing."""


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each kind of evidence counts. Working values of ours, to be fitted on closed jobs.

    Args:
        absent: of expected and read, but not there.
        finding, feature: less than 1, because they stem from the same frames as the codes.
        repeat: of the same code in a further ECU.
        miss_*: the most that evidence costs a fix that does not list it, natural-log units.
        unknown: prior probability that the cause is none of the known ones.
        least_support: natural-log units that must speak for a fix before it takes part at all.
    """

    absent: float = 0.5
    finding: float = 0.5
    feature: float = 0.5
    silence: float = 1.0
    concept: float = 0.6
    word: float = 0.2
    repeat: float = 0.4
    other_type: float = 0.85
    other_ecu: float = 0.6
    miss_dtc: float = 1.0
    miss_finding: float = 0.5
    miss_feature: float = 0.4
    miss_silence: float = 1.0
    miss_concept: float = 0.2
    unknown: float = 0.2
    least_support: float = 0.3


@dataclass(frozen=True, slots=True)
class Seen:
    """One piece of evidence that is there.

    Args:
        levels: terms from the most specific to the least, each with the share of its weight that it carries.
        weight: of the whole.
        miss: what it costs a fix that does not list it.
    """

    kind: str
    ref: str
    levels: tuple[tuple[str, float], ...]
    weight: float
    miss: float
    dtc: DtcSeen | None = None
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Absent:
    """A group of terms that was read: ``group`` of :func:`casebase.postings.group_of_term`, and what was seen of it."""

    group: str
    seen: tuple[str, ...]
    weight: float


@dataclass(frozen=True, slots=True)
class Posterior:
    """The result over all fixes.

    Args:
        p: float64 ``(fixes,)``; with ``p_unknown`` they sum to 1.
        score: float64 ``(fixes,)``: log evidence with the prior; minus infinity where nothing speaks for the fix
            or it is for other vehicles.
        support: float64 ``(fixes,)``: the part that speaks for the fix.
        parts: float64 ``(evidence, fixes)``: what each piece contributes.
    """

    p: NDArray[np.float64]
    p_unknown: float
    score: NDArray[np.float64]
    support: NDArray[np.float64]
    seen: tuple[Seen, ...]
    absent: tuple[Absent, ...]
    parts: NDArray[np.float64]


def has_fault_evidence(query: Query, scales: Mapping[str, FeatureScale], words: Vocabulary) -> bool:
    """Whether anything at all says that something is wrong: else the verdict is ``none``.

    Plain history, untested codes and figures on watch do not.
    """
    return (
        any(dtc.state != "history" for dtc in query.dtcs)
        or bool(set(query.findings) - NEUTRAL_FINDINGS)
        or bool(query.silent)
        or any(scales[name].bin_of(value).fault for name, value in query.features.items() if name in scales)
        or not words.is_quiet(query.symptom)
    )


def evidence_of(
    query: Query, scales: Mapping[str, FeatureScale], words: Vocabulary, weights: Weights
) -> tuple[tuple[Seen, ...], tuple[Absent, ...]]:
    """The query as terms: what is there, and what was read and is not there. The order of the input does not matter."""
    seen = [_seen_dtc(dtc, weights) for dtc in query.dtcs]
    seen += [
        Seen("finding", code, ((f"g|{code}", 1.0),), weights.finding, weights.miss_finding)
        for code in sorted(set(query.findings) - NEUTRAL_FINDINGS)
    ]
    absent: list[Absent] = []
    for name in sorted(set(query.features) & set(scales)):
        value = query.features[name]
        found = scales[name].bin_of(value)
        term = f"f|{name}|{found.name}"
        miss = weights.miss_feature if found.fault else 0.0
        seen.append(Seen("feature", name, ((term, 1.0),), weights.feature, miss, value=value))
        absent.append(Absent(f"f|{name}", (term,), weights.feature))
    seen += [
        Seen("silence", role, ((f"s|{role}", 1.0),), weights.silence, weights.miss_silence) for role in query.silent
    ]
    for term, said in sorted(words.terms(query.symptom).items()):
        concept = term.startswith("#")
        weight = weights.concept if concept else weights.word
        seen.append(Seen("symptom", said, ((f"w|{term}", 1.0),), weight, weights.miss_concept if concept else 0.0))
    codes = {dtc.code for dtc in query.dtcs}
    for role in query.read:
        absent.append(Absent(f"d|{role}", tuple(f"d2|{role}|{code}" for code in sorted(codes)), 1.0))
        absent.append(Absent(f"s|{role}", (), weights.silence / weights.absent))
    if query.scanned:
        measured = {code for code, name in _MEASURED_BY.items() if name in query.features}
        absent.extend(Absent(f"g|{code}", (), weights.finding) for code in sorted(measured - set(query.findings)))
    return tuple(seen), tuple(absent)


def _seen_dtc(dtc: DtcSeen, weights: Weights) -> Seen:
    levels = []
    if dtc.role and dtc.failure_type:
        levels.append((f"d3|{dtc.role}|{dtc.code}|{dtc.failure_type}", 1.0))
    if dtc.role:
        levels.append((f"d2|{dtc.role}|{dtc.code}", weights.other_type if dtc.failure_type else 1.0))
    levels.append((f"d1|{dtc.code}", weights.other_ecu if dtc.role else weights.other_type))
    return Seen("dtc", dtc.display, tuple(levels), dtc.weight, weights.miss_dtc, dtc)


def posterior(
    postings: Postings,
    query: Query,
    scales: Mapping[str, FeatureScale],
    words: Vocabulary,
    weights: Weights | None = None,
) -> Posterior:
    """Scores every fix and normalises with "none of these".

    Where the best fix leaves confirmed codes over that another one explains, the car has two faults: the probability is
    shared between the causes by how much evidence speaks for each, so that the second is not lost beside the first.
    """
    weights = weights or Weights()
    seen, absent = evidence_of(query, scales, words, weights)
    fixes = len(postings)
    parts = np.zeros((len(seen), fixes))
    for i, item in enumerate(seen):
        parts[i] = _contribution(postings, item)
    _discount_repeats(parts, seen, weights.repeat)
    missing = np.zeros(fixes)
    for group in absent:
        missing += weights.absent * group.weight * absence(postings, group)
    prior = 0.5 * np.log(np.maximum(postings.n, 1.0))
    allowed = postings.allowed(query.vehicle.make, query.vehicle.model, query.vehicle.model_year)
    score = np.where(allowed, prior + parts.sum(axis=0) + missing, -np.inf)
    support = np.where(allowed, np.maximum(parts, 0.0).sum(axis=0), 0.0)
    score[support < weights.least_support] = -np.inf
    prior = np.where(allowed, prior, -np.inf)
    p, p_unknown = _normalise(score, prior, postings.n, weights.unknown)
    causes = [int(p.argmax())] if fixes else []
    while causes and len(causes) < MOST_CAUSES:
        left = _left_over(parts, seen, causes)
        rest = np.where(allowed, np.maximum(parts[left], 0.0).sum(axis=0), 0.0)
        rest[causes] = 0.0
        if not left or rest.max() < weights.least_support:
            break
        further = np.where(rest < weights.least_support, -np.inf, prior + parts[left].sum(axis=0) + missing)
        p_further, unknown_further = _normalise(further, prior, postings.n, weights.unknown)
        causes.append(int(p_further.argmax()))
        share = float(rest[causes[-1]] / (support[causes[:-1]].sum() + rest[causes[-1]]))
        p = (1.0 - share) * p + share * p_further
        p_unknown = (1.0 - share) * p_unknown + share * unknown_further
    return Posterior(p, p_unknown, score, support, seen, absent, parts)


def _left_over(parts: NDArray[np.float64], seen: Sequence[Seen], causes: list[int]) -> list[int]:
    """Confirmed codes that the causes found so far do not explain and another fix does."""
    return [
        i
        for i, item in enumerate(seen)
        if item.dtc is not None
        and item.dtc.state in ("active", "confirmed")
        and parts[i, causes].max() <= 0.0 < parts[i].max()
    ]


def _contribution(postings: Postings, item: Seen) -> NDArray[np.float64]:
    """What one piece of evidence does to every fix."""
    out = np.full(len(postings), -item.miss * item.weight)
    known = False
    for term, share in reversed(item.levels):
        rows, chance, rate = postings.posting(term)
        if rows.size == 0:
            continue
        known = True
        ratio = np.log(chance / rate)
        listed = postings.counts_of(term) > 0
        gain = np.maximum(np.maximum(ratio, 0.0) * share * item.weight, out[rows])
        out[rows] = np.where(listed, gain, ratio)
    return out if known or item.kind in ("dtc", "silence") else np.zeros(len(postings))


def _discount_repeats(parts: NDArray[np.float64], seen: Sequence[Seen], repeat: float) -> None:
    """The same code in several ECUs: the strongest counts fully, the others by ``repeat``; in place."""
    by_code: dict[str, list[int]] = defaultdict(list)
    for i, item in enumerate(seen):
        if item.dtc is not None:
            by_code[item.dtc.code].append(i)
    for group in by_code.values():
        if len(group) > 1:
            block = parts[group]
            strongest = np.abs(block).argmax(axis=0)
            keep = np.arange(len(group))[:, None] == strongest
            parts[group] = np.where(keep, block, block * repeat)


def absence(postings: Postings, group: Absent) -> NDArray[np.float64]:
    """The sum of ``ln(1 - P(t|p))`` over the group's terms that are not there, for every fix."""
    total = postings.absent.get(group.group)
    if total is None:
        return np.zeros(len(postings))
    out = total.copy()
    for term in group.seen:
        rows, lost = postings.absence(term)
        out[rows] -= lost
        if term.startswith("f|"):
            out[postings.seen(term)] = 0.0
    return np.minimum(out, 0.0)


def _normalise(
    score: NDArray[np.float64], prior: NDArray[np.float64], cases: NDArray[np.float64], unknown: float
) -> tuple[NDArray[np.float64], float]:
    """Posterior of the fixes and of "none of these", which evidence neither favours nor penalises.

    However well the evidence fits, a fix with n cases behind it is not surer than (n + 1) / (n + 2), the rule of
    succession; what it loses goes to "none of these".
    """
    if not np.isfinite(score).any():
        return np.zeros_like(score), 1.0
    top = float(prior[np.isfinite(prior)].max())
    none = float(np.log(unknown / (1 - unknown)) + top + np.log(np.exp(prior - top).sum()))
    peak = max(float(score.max()), none)
    mass = np.exp(score - peak)
    rest = float(np.exp(none - peak))
    p = mass / (float(mass.sum()) + rest) * (cases + 1.0) / (cases + 2.0)
    return p, max(0.0, 1.0 - float(p.sum()))
