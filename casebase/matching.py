"""Which known fix fits the evidence: the posterior over all fixes and "none of these".

``ln score(p) = 0.5·ln n_p + Σ seen w·ln(P(t|p)/P(t)) + w_absent · Σ read and absent ln(1 − P(t|p))`` with
``P(t|p) = (n_tp + a·P(t)) / (n_p + a)``. Absence counts only for ECUs that were really read and figures that were
really measured. A code counts on the most specific level that the fix knows: with failure type, without, in any ECU.
Evidence that a fix lists never counts against it, so that more matching evidence never lowers its score; evidence that
it does not list costs a bounded amount, because a car may have two faults. Pure: no clock, no file.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from casebase.catalogue import FeatureScale
    from casebase.meaning import Meaning
    from casebase.postings import Postings
    from casebase.query import DtcSeen, Query
    from casebase.words import Vocabulary

__all__ = [
    "MOST_CANDIDATES",
    "MOST_CAUSES",
    "NEUTRAL_FINDINGS",
    "SPOKEN",
    "Absent",
    "Posterior",
    "Seen",
    "Weights",
    "evidence_of",
    "has_fault_evidence",
    "posterior",
]

NEUTRAL_FINDINGS: Final = frozenset({"dtc.confirmed", "data.vin-mismatch", "data.codes-cleared"})
"""Findings that only repeat a code, or speak of the car's papers."""

SPOKEN: Final = frozenset({"symptom", "sentence", "meaning"})
"""Kinds of evidence that somebody said; all others were measured."""

MOST_CANDIDATES: Final = 256
"""How many fixes are looked at closely."""
MOST_CAUSES: Final = 3
"""How many faults at once are told apart."""

_NO_MASS: Final = -1e6

MEASURED_BY: Final = {
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
        cause: of a cause that the readings rank, times its odds; those under ``least_odds`` say nothing.
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
    cause: float = 0.8
    least_odds: float = 0.1
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
    """The result over the candidates: the fixes for this vehicle that something speaks for.

    Args:
        rows: int32 ``(candidates,)``: their rows in the postings, rising.
        p: float64 ``(candidates,)``; with ``p_unknown`` they sum to 1.
        score: float64 ``(candidates,)``: log evidence with the prior; minus infinity where too little speaks for it.
        parts: float64 ``(evidence, candidates)``: what each piece contributes.
        allowed: bool ``(fixes,)``: which were looked at.
        is_own: bool ``(candidates,)``: for this very vehicle, and not known from another one.
        said: kind of vote and column of a candidate -> the sentence of the fix that the complaint reads like.
    """

    rows: NDArray[np.int32]
    p: NDArray[np.float64]
    p_unknown: float
    score: NDArray[np.float64]
    seen: tuple[Seen, ...]
    absent: tuple[Absent, ...]
    parts: NDArray[np.float64]
    allowed: NDArray[np.bool_]
    is_own: NDArray[np.bool_]
    said: Mapping[tuple[str, int], str] = field(default_factory=dict)

    @property
    def is_answer(self) -> bool:
        """Whether a fix is likelier than none of them."""
        return bool(self.p.size) and self.p_unknown <= max(0.5, float(self.p.max()))


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
    seen += [
        Seen("cause", name, ((f"c|{name}", 1.0),), weights.cause * odds, weights.miss_finding)
        for name, (odds, _) in sorted(query.causes.items())
        if odds >= weights.least_odds
    ]
    absent: list[Absent] = []
    for name in sorted(set(query.features) & set(scales)):
        value = query.features[name]
        found = scales[name].bin_of(value)
        term = f"f|{name}|{found.name}"
        miss = weights.miss_feature if found.fault else 0.0
        if found.name != "good":  # a healthy figure is what most cars have: it speaks against faults, and for none
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
        measured = {code for code, name in MEASURED_BY.items() if name in query.features}
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
    wording: Sequence[Meaning] = (),
) -> Posterior:
    """Scores the fixes for this vehicle and normalises with "none of these".

    Where none of them is likelier than "none of these", the cars around it are asked: the same model in other years,
    those of its platform, its make, all. The first circle that has an answer gives it; without any the narrowest does.

    Where the best fix leaves confirmed codes over that another one explains, the car has two faults: the probability is
    shared between the causes by how much evidence speaks for each, so that the second is not lost beside the first.
    """
    weights = weights or Weights()
    seen, absent = evidence_of(query, scales, words, weights)
    vehicle = query.vehicle
    own: Posterior | None = None
    for allowed in postings.gates(vehicle.make, vehicle.model, vehicle.model_year):
        found = _within(allowed, postings, seen, absent, weights, wording)
        own = own or found
        if found.is_answer:
            return replace(found, is_own=own.allowed[found.rows])
    return own or _within(np.zeros(len(postings), dtype=np.bool_), postings, seen, absent, weights, wording)


def _within(
    allowed: NDArray[np.bool_],
    postings: Postings,
    seen: tuple[Seen, ...],
    absent: tuple[Absent, ...],
    weights: Weights,
    wording: Sequence[Meaning],
) -> Posterior:
    """The posterior over some of the fixes."""
    levels = [_Level.all_of(postings, item, allowed) for item in seen]
    some = _Candidates.of(postings, seen, levels, allowed, wording)
    parts = np.array([_contribution(some, *both) for both in zip(seen, levels, strict=True)])
    parts = parts.reshape(len(seen), some.rows.size)
    _discount_repeats(parts, seen, weights.repeat)
    measured = any(item.kind not in SPOKEN for item in seen)
    said: dict[tuple[str, int], str] = {}
    votes = [meaning for meaning in wording if meaning.rows.size]
    for meaning in votes:
        at, there = some.columns(meaning.rows)
        gain = np.zeros(some.rows.size)
        gain[at] = meaning.gain[there] * (meaning.beside if measured else 1.0)
        said |= {(meaning.kind, int(c)): meaning.said[i] for c, i in zip(at, np.flatnonzero(there), strict=True)}
        seen = (*seen, Seen(meaning.kind, "", (), meaning.most, 0.0))
        parts = np.vstack([parts, gain])
    missing = np.zeros(some.rows.size)
    for group in absent:
        missing += weights.absent * group.weight * _absence(postings, some, group)
    cases = postings.n[some.rows]
    prior = 0.5 * np.log(np.maximum(cases, 1.0))
    none = math.log(weights.unknown / (1.0 - weights.unknown) * max(1.0, float(np.sqrt(postings.n[allowed]).sum())))
    support = np.maximum(parts, 0.0).sum(axis=0)
    score = np.where(support < weights.least_support, -np.inf, prior + parts.sum(axis=0) + missing)
    if votes:
        voted = parts[len(seen) - len(votes) :].sum(axis=0)
        before = np.where(support - voted < weights.least_support, -np.inf, score - voted)
        none += min(sum(meaning.none for meaning in votes), _log_mass(score) - _log_mass(before))
    p, p_unknown = _normalise(score, none, cases)
    causes = [int(p.argmax())] if p.size else []
    while causes and len(causes) < MOST_CAUSES:
        left = _left_over(parts, seen, causes)
        rest = np.maximum(parts[left], 0.0).sum(axis=0)
        rest[causes] = 0.0
        if not left or rest.max() < weights.least_support:
            break
        further = np.where(rest < weights.least_support, -np.inf, prior + parts[left].sum(axis=0) + missing)
        p_further, unknown_further = _normalise(further, none, cases)
        causes.append(int(p_further.argmax()))
        share = float(rest[causes[-1]] / (support[causes[:-1]].sum() + rest[causes[-1]]))
        p = (1.0 - share) * p + share * p_further
        p_unknown = (1.0 - share) * p_unknown + share * unknown_further
    own = np.ones(some.rows.size, dtype=np.bool_)
    return Posterior(some.rows, p, p_unknown, score, seen, absent, parts, allowed, own, said)


@dataclass(frozen=True, slots=True)
class _Level:
    """One term of a piece of evidence as the library has it.

    Args:
        rows: int32: fixes that list the term.
        ratio: float64, same shape: ``ln(P(t|p)/P(t))``.
        shown: bool, same shape: seen with the fix at least sometimes.
        share: of the evidence's weight that this level carries.
    """

    rows: NDArray[np.int32]
    ratio: NDArray[np.float64]
    shown: NDArray[np.bool_]
    share: float

    @classmethod
    def all_of(cls, postings: Postings, item: Seen, allowed: NDArray[np.bool_]) -> tuple[_Level, ...]:
        """The levels that the library knows, from the most specific to the least, of the fixes that are allowed."""
        out = []
        for term, share in item.levels:
            rows, counts, chance, rate = postings.posting(term, allowed)
            if rate:
                out.append(cls(rows, np.log(chance / rate), counts > 0, share))
        return tuple(out)


@dataclass(frozen=True, slots=True)
class _Candidates:
    """The fixes that show at least one piece of the evidence, the most promising of them where they are many.

    Args:
        rows: int32 ``(candidates,)``, rising.
        place: int32 ``(fixes,)``: column of each fix, -1 for those that are no candidate.
    """

    rows: NDArray[np.int32]
    place: NDArray[np.int32]

    @classmethod
    def of(
        cls,
        postings: Postings,
        seen: Sequence[Seen],
        levels: Sequence[tuple[_Level, ...]],
        allowed: NDArray[np.bool_],
        wording: Sequence[Meaning] = (),
    ) -> _Candidates:
        chosen = np.zeros(len(postings), dtype=np.bool_)
        rough = np.zeros(len(postings))
        for item, known in zip(seen, levels, strict=True):
            best = np.zeros(len(postings)) if len(known) > 1 else rough
            for level in known:
                chosen[level.rows[level.shown]] = True
                gain = np.maximum(level.ratio, 0.0) * (level.share * item.weight)
                if len(known) > 1:
                    best[level.rows] = np.maximum(best[level.rows], gain)
                else:
                    rough[level.rows] += gain
            if len(known) > 1:
                rough += best
        for meaning in wording:  # words that no fix lists may still mean what one says
            chosen[meaning.rows] |= allowed[meaning.rows]
            rough[meaning.rows] += meaning.gain
        rows = np.flatnonzero(chosen)
        if rows.size > MOST_CANDIDATES:
            promise = rough[rows] + 0.5 * np.log(np.maximum(postings.n[rows], 1.0))
            rows = np.sort(rows[np.argpartition(-promise, MOST_CANDIDATES)[:MOST_CANDIDATES]])
        place = np.full(len(postings), -1, dtype=np.int32)
        place[rows] = np.arange(rows.size, dtype=np.int32)
        return cls(rows.astype(np.int32), place)

    def columns(self, rows: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Columns of those of ``rows`` that are candidates, and which of them are."""
        at = self.place[rows]
        there = at >= 0
        return at[there], there


def _left_over(parts: NDArray[np.float64], seen: Sequence[Seen], causes: list[int]) -> list[int]:
    """Confirmed codes that the causes found so far do not explain and another fix does."""
    return [
        i
        for i, item in enumerate(seen)
        if item.dtc is not None
        and item.dtc.state in ("active", "confirmed")
        and parts[i, causes].max() <= 0.0 < parts[i].max()
    ]


def _contribution(some: _Candidates, item: Seen, levels: tuple[_Level, ...]) -> NDArray[np.float64]:
    """What one piece of evidence does to every candidate."""
    out = np.full(some.rows.size, -item.miss * item.weight)
    for level in reversed(levels):
        at, there = some.columns(level.rows)
        ratio = level.ratio[there]
        gain = np.maximum(np.maximum(ratio, 0.0) * level.share * item.weight, out[at])
        out[at] = np.where(level.shown[there], gain, ratio)
    return out if levels or item.kind in ("dtc", "silence") else np.zeros(some.rows.size)


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


def _absence(postings: Postings, some: _Candidates, group: Absent) -> NDArray[np.float64]:
    """The sum of ``ln(1 - P(t|p))`` over the group's terms that are not there, for every candidate."""
    total = postings.absent.get(group.group)
    if total is None:
        return np.zeros(some.rows.size)
    out = total[some.rows]
    for term in group.seen:
        rows, lost = postings.absence(term)
        at, there = some.columns(rows)
        out[at] -= lost[there]
        if term.startswith("f|"):
            out[some.columns(postings.seen(term))[0]] = 0.0
    return np.minimum(out, 0.0)


def _log_mass(score: NDArray[np.float64]) -> float:
    """``ln Σ exp``; a large negative number where nothing takes part."""
    peak = float(score.max(initial=_NO_MASS))
    return peak + math.log(max(float(np.exp(score - peak).sum()), 1.0))


def _normalise(
    score: NDArray[np.float64], none: float, cases: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Posterior of the candidates and of "none of these", which evidence neither favours nor penalises.

    However well the evidence fits, a fix with n cases behind it is not surer than (n + 1) / (n + 2), the rule of
    succession; what it loses goes to "none of these".
    """
    if not np.isfinite(score).any():
        return np.zeros_like(score), 1.0
    peak = max(float(score.max()), none)
    mass = np.exp(score - peak)
    p = mass / (float(mass.sum()) + math.exp(none - peak)) * (cases + 1.0) / (cases + 2.0)
    return p, max(0.0, 1.0 - float(p.sum()))
