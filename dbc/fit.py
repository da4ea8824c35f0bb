"""Which database is it? A probability over databases, with reasons, and the right to say none.

The evidence of :mod:`dbc.evidence` is weighed by a conditional logit: each database has the sum of its log odds, kind
by kind, times the kind's weight; "none" has 0. The weights were fitted on made-up traffic of half of opendbc's files
(``benchmarks/match.py --fit``); docs/database-match.md has the confusion table, and what it can and cannot show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from dbc.errors import Phrase
from dbc.evidence import KINDS, Evidence, Reason, Sample, evidence_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dbc.database import Database
    from dbc.table import FrameTable

__all__ = ["CERTAIN", "Candidate", "Match", "match_databases", "weighed"]

WEIGHTS: Final[Mapping[str, float]] = {
    "identifiers": 1.3,
    "lengths": 0.65,
    "counters": 0.25,
    "checksums": 0.22,
    "selectors": 0.2,
    "ranges": 0.58,
    "smoothness": 1.1,
    "cycles": 0.45,
}
"""How much a kind of evidence counts."""
BIAS: Final = -7.73
"""Log odds of any database before anything was seen."""
CERTAIN: Final = 0.5
"""A database together with its relatives must be likelier than this to be the best."""
_LEAST_KNOWN: Final = 2
_SHOWN: Final = 0.15
_MAKE_ODDS: Final = 1.5


@dataclass(frozen=True, slots=True)
class Candidate:
    """One database and how likely it is.

    Args:
        because: what speaks for it, strongest first.
        against: what speaks against it.
        same: relatives: databases that say the same of most of what was seen.
    """

    name: str
    probability: float
    because: tuple[Reason, ...]
    against: tuple[Reason, ...]
    same: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Match:
    """What a recording says of some databases.

    Args:
        candidates: most likely first.
        none: probability that it is none of them.
        best: the most likely one, where it is likelier than not that it or one of its relatives is right.
        certainty: how likely that is.
        notes: why nothing could be said.
    """

    candidates: tuple[Candidate, ...]
    none: float
    best: str | None
    certainty: float
    notes: tuple[Phrase, ...] = ()


def weighed(evidence: Evidence) -> float:
    """The log odds of one database against none."""
    if evidence.known < _LEAST_KNOWN:
        return -20.0
    return BIAS + sum(WEIGHTS[kind] * odds for kind, odds in zip(KINDS, evidence.odds, strict=True))


def match_databases(table: FrameTable, databases: Sequence[Database], *, likely: frozenset[str] = frozenset()) -> Match:
    """How likely each of some databases is the one that a recording's frames are of.

    Args:
        table: the recording, in the order of its times.
        databases: the candidates.
        likely: names of those that fit what is known of the car besides (its make by VIN).
    """
    sample = Sample(table)
    if not sample.frames:
        return Match((), 1.0, None, 0.0, (Phrase("no broadcast frames in it", "没有广播报文"),))
    found = [evidence_for(database, sample) for database in databases]
    scores = np.array(
        [weighed(one) + _MAKE_ODDS * (base.name in likely) for one, base in zip(found, databases, strict=True)] + [0.0]
    )
    chances = np.exp(scores - scores.max())
    chances /= chances.sum()
    candidates = []
    for number, (database, evidence) in enumerate(zip(databases, found, strict=True)):
        if evidence.known < _LEAST_KNOWN:
            continue
        same = tuple(
            other.name
            for at, (other, its) in enumerate(zip(databases, found, strict=True))
            if at != number and evidence.agrees_with(its)
        )
        weights = [(reason, reason.weight * WEIGHTS[reason.kind]) for reason in evidence.reasons]
        ranked = sorted(weights, key=lambda pair: -abs(pair[1]))
        candidates.append(
            Candidate(
                database.name,
                float(chances[number]),
                tuple(reason for reason, weight in ranked if weight > _SHOWN),
                tuple(reason for reason, weight in ranked if weight < -_SHOWN),
                same,
            )
        )
    candidates.sort(key=lambda one: -one.probability)
    certainty = 0.0
    if candidates:
        family = {candidates[0].name, *candidates[0].same}
        certainty = sum(one.probability for one in candidates if one.name in family)
    best = candidates[0].name if certainty > CERTAIN else None
    return Match(tuple(candidates), float(chances[-1]), best, certainty)
