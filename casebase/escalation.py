"""What goes to research and development: problems that stay unsolved, by two rules that are both shown.

*Three in a row*: the last three jobs with the same answer on the same model were not cured by it. *Failing*: more of a
fix's jobs failed than its own kind usually has (15 %), exact one-sided p at most 5 %, of five jobs at least. *Unknown*:
three jobs of a model whose same code no fix explained, none of them cured since.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from casebase.exacttests import binomial_tail
from casebase.population import is_cured, model_name
from casebase.query import parse_dtc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from casebase.store import Store
    from diag.facts import Json

__all__ = ["Escalation", "escalations_of", "rules_of"]

_IN_A_ROW: Final = 3
_USUAL_FAILURES: Final = 0.15
_P: Final = 0.05
_LEAST_JOBS: Final = 5
_MOST_CASES: Final = 20


@dataclass(frozen=True, slots=True)
class Escalation:
    """One problem for research and development.

    Args:
        what: identity of a fix, or a code that nothing explains.
        model: ``make model``.
        rules: ``three-in-a-row``, ``failing``, ``unknown``.
        failed, jobs: how many, of how many.
        p: exact, that a usual fix fails so often; None for unknown codes.
        cases: numbers of the latest jobs.
    """

    what: str
    model: str
    rules: tuple[str, ...]
    failed: int
    jobs: int
    p: float | None
    cases: tuple[int, ...]

    def to_json(self) -> Json:
        """One entry of ``huizhen.escalations/1``."""
        return {
            "what": self.what, "model": self.model, "rules": list(self.rules), "failed": self.failed,
            "jobs": self.jobs, "p": None if self.p is None else float(f"{self.p:.3g}"), "cases": list(self.cases),
        }  # fmt: skip


def rules_of(ends: Sequence[bool]) -> tuple[tuple[str, ...], float]:
    """The rules that jobs with the same answer on the same model fulfil, and p.

    Args:
        ends: whether each was cured, the oldest first.
    """
    p = binomial_tail(sum(not cured for cured in ends), len(ends), _USUAL_FAILURES)
    in_a_row = len(ends) >= _IN_A_ROW and not any(ends[-_IN_A_ROW:])
    is_failing = len(ends) >= _LEAST_JOBS and p <= _P
    named = (("three-in-a-row", in_a_row), ("failing", is_failing))
    return tuple(name for name, holds in named if holds), p


def escalations_of(store: Store) -> list[Escalation]:
    """Real jobs only, the clearest first."""
    ends: dict[tuple[str, str], list[tuple[int, bool]]] = defaultdict(list)
    rows = store.rows(
        "SELECT cases.id, make, model, coalesce(cases.fix_id, (SELECT fix_id FROM outcome_log WHERE case_id = cases.id"
        " ORDER BY rank LIMIT 1)), outcome FROM cases WHERE simulated = 0 AND outcome IS NOT NULL"
        " ORDER BY coalesce(closed_ns, opened_ns), cases.id"
    )
    for number, make, model, fix_id, outcome in rows:
        if fix_id is not None:
            ends[fix_id, model_name(make, model)].append((number, outcome == "fixed"))
    out = []
    for (fix_id, model), jobs in ends.items():
        failed = sum(not cured for _, cured in jobs)
        rules, p = rules_of([cured for _, cured in jobs])
        if rules:
            latest = tuple(number for number, cured in reversed(jobs) if not cured)[:_MOST_CASES]
            out.append(Escalation(fix_id, model, rules, failed, len(jobs), p, latest))
    out += _unknown(store)
    return sorted(out, key=lambda one: (-len(one.rules), one.p if one.p is not None else 1.0, one.what, one.model))


def _unknown(store: Store) -> list[Escalation]:
    """Codes that the library could not explain, on the same model again and again."""
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    rows = store.rows(
        "SELECT id, make, model, evidence, outcome FROM cases WHERE simulated = 0 AND verdict = 'unknown' ORDER BY id"
    )
    for number, make, model, evidence, outcome in rows:
        if is_cured(outcome):
            continue
        for item in json.loads(evidence).get("dtcs") or []:
            dtc = parse_dtc(item)
            if dtc is not None and dtc.state in ("active", "confirmed"):
                found[dtc.display, model_name(make, model)].append(number)
    return [
        Escalation(code, model, ("unknown",), len(set(numbers)), len(set(numbers)), None, tuple(numbers[-_MOST_CASES:]))
        for (code, model), numbers in found.items()
        if len(set(numbers)) >= _IN_A_ROW
    ]
