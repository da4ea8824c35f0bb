"""What the library's file remembers of its own answers: what was shown for each job, and what the job was."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from casebase.errors import BadEvidence
from casebase.jobclasses import NOTICE, evidence_of, language_of
from casebase.query import Query

if TYPE_CHECKING:
    from casebase.store import Store

__all__ = ["LATEST", "ClosedJob", "Shown", "closed_jobs", "first_matches", "log_version", "shown_jobs"]

LATEST: Final = 5000
"""How many of the latest closed jobs the odds are corrected by: older ones were answered by an older library."""
_KEPT: Final = "cases.simulated = 0 AND cases.outcome IS NOT NULL AND cases.verdict NOT IN ('', 'none')"
_CLASS: Final = (
    "cases.language, cases.evidence_class,"
    " CASE WHEN cases.language IS NULL THEN cases.symptom END,"
    " CASE WHEN cases.language IS NULL THEN cases.evidence END"
)


@dataclass(frozen=True, slots=True)
class Shown:
    """One match that a person was shown.

    Args:
        p: what was told.
        p_raw: what it was before the log corrected it.
    """

    fix_id: str
    p: float
    p_raw: float


@dataclass(frozen=True, slots=True)
class ClosedJob:
    """One real job with a known end and its answer.

    Args:
        case_id: its number.
        cure: the fix that was tried last, None where the library does not know it.
        language, evidence: see :mod:`casebase.jobclasses`.
        answered_ms: milliseconds from opening the job to the answer, None where nobody knows.
        shown: the first matches, best first; at most three.
    """

    case_id: int
    verdict: str
    outcome: str
    cure: str | None
    language: str
    evidence: str
    answered_ms: int | None
    shown: tuple[Shown, ...] = field(default=())

    def is_cured_by(self, shown: Shown) -> bool:
        """The job was cured by this very fix."""
        return self.outcome == "fixed" and shown.fix_id == self.cure


def log_version(store: Store) -> tuple[str, str]:
    """Another one means that jobs were closed, or that this is another file."""
    return store.identity, store.meta("log_version") or ""


def shown_jobs(store: Store) -> dict[tuple[str, str], int]:
    """How many real jobs had an answer, by class."""
    rows = store.rows(
        f"SELECT {_CLASS}, EXISTS (SELECT 1 FROM outcome_log JOIN notices ON notices.case_id = fix_id"  # noqa: S608 - a constant of this module
        " WHERE outcome_log.case_id = cases.id AND rank = 1 AND cases.language IS NULL) FROM cases"
        " WHERE simulated = 0 AND verdict <> '' AND verdict <> 'none'"
    )
    out: dict[tuple[str, str], int] = {}
    for row in rows:
        name = _class_of(row[:4], is_notice=bool(row[4]))
        out[name] = out.get(name, 0) + 1
    return out


def closed_jobs(store: Store) -> list[ClosedJob]:
    """All closed jobs that had an answer, the earliest first."""
    rows = store.rows(
        f"SELECT cases.id, cases.verdict, cases.outcome, cases.fix_id, answered_ms, {_CLASS},"  # noqa: S608 - a constant of this module
        " outcome_log.fix_id, p, coalesce(p_raw, p),"
        " cases.language IS NULL AND EXISTS (SELECT 1 FROM notices WHERE notices.case_id = outcome_log.fix_id)"
        f" FROM cases LEFT JOIN outcome_log ON outcome_log.case_id = cases.id AND rank <= 3 WHERE {_KEPT}"
        " ORDER BY cases.id, rank"
    )
    out: list[ClosedJob] = []
    for number, verdict, outcome, cure, answered, *told in rows:
        shown = () if told[4] is None else (Shown(*told[4:7]),)
        if out and out[-1].case_id == number:
            last = out[-1]
            out[-1] = ClosedJob(
                number, verdict, outcome, cure, last.language, last.evidence, answered, last.shown + shown
            )
        else:
            language, evidence = _class_of(told[:4], is_notice=bool(told[7]))
            out.append(ClosedJob(number, verdict, outcome, cure, language, evidence, answered, shown))
    return out


def first_matches(store: Store, most: int = LATEST) -> list[tuple[str, str, float, bool]]:
    """``(language, evidence, uncorrected probability, whether it was the cure)`` of the latest closed jobs' first."""
    rows = store.rows(
        # In this order the index of the first matches is followed, and not every case that was ever imported.
        f"SELECT {_CLASS}, coalesce(p_raw, p), cases.outcome = 'fixed' AND cases.fix_id IS outcome_log.fix_id,"  # noqa: S608 - a constant of this module
        " cases.language IS NULL AND EXISTS (SELECT 1 FROM notices WHERE notices.case_id = outcome_log.fix_id)"
        " FROM outcome_log CROSS JOIN cases ON cases.id = outcome_log.case_id"
        f" WHERE rank = 1 AND {_KEPT} ORDER BY outcome_log.case_id DESC LIMIT ?",
        (most,),
    )
    return [(*_class_of(row[:4], is_notice=bool(row[6])), row[4], bool(row[5])) for row in rows]


def _class_of(told: tuple[str | None, ...] | list[str | None], *, is_notice: bool) -> tuple[str, str]:
    """Language and evidence as they were kept; of older jobs, from what was seen."""
    language, evidence, symptom, seen = told
    if language is not None and evidence is not None:
        return language, evidence
    try:
        query = Query.from_json(json.loads(seen or "{}"))
    except (BadEvidence, ValueError):
        query = Query()
    return language_of(symptom or ""), NOTICE if is_notice else evidence_of(query)
