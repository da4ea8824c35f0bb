"""Cases made ready for the library's file: the rows of its tables and the terms they teach, in a form that travels.

Reading a case and finding its words is most of the work of an import and needs nothing of the library but its key, so
that it can be done elsewhere; what is left for the library is to write.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from casebase.evidence import Evidence
from casebase.fixjson import body_from
from casebase.jobclasses import evidence_of, language_of
from casebase.store import FixRow
from casebase.vehicles import make_key, model_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from casebase.catalogue import FeatureScale, Fix
    from casebase.record import Case, Pattern
    from casebase.tokens import Tokenizer

__all__ = ["COLUMNS", "SMALLEST", "Prepared", "columns_of", "learnt_row", "prepare"]

SMALLEST: Final = 1e-9
COLUMNS: Final = (
    "uid", "origin", "opened_ns", "closed_ns", "symptom", "vehicle", "simulated", "outcome", "make", "model",
    "model_year", "batch", "mileage_km", "car_key", "component", "evidence", "note",
    "language", "evidence_class", "answered_ms",
)  # fmt: skip
"""Of the table of cases, in the order of :func:`columns_of`."""
_ENCODE: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


@dataclass(frozen=True, slots=True)
class Prepared:
    """Some cases.

    Args:
        columns: see :data:`COLUMNS`, of each.
        fix_ids: identity of the fix that a case named by its pattern, else None.
        fix_names: name or identity of a fix that the library has to know, else None.
        teaches: whether the case stands behind its fix.
        evidence: what they showed.
        fixes: those that only cases know, by identity.
    """

    columns: tuple[tuple[object, ...], ...]
    fix_ids: tuple[str | None, ...]
    fix_names: tuple[str | None, ...]
    teaches: tuple[bool, ...]
    evidence: Evidence
    fixes: Mapping[str, FixRow]

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def uids(self) -> list[str]:
        """Their identities."""
        return [str(row[0]) for row in self.columns]


def prepare(cases: Sequence[Case], tokenizer: Tokenizer, scales: Mapping[str, FeatureScale]) -> Prepared:
    """Makes cases ready.

    Args:
        cases: any number.
        tokenizer: of the library's vocabulary.
        scales: of its figures.
    """
    fixes: dict[str, FixRow] = {}
    ids: list[str | None] = []
    for case in cases:
        if case.fix is None or isinstance(case.fix, str):
            ids.append(None)
        else:
            row = row_of_pattern(case.fix)
            fixes[row.fix_id] = row
            ids.append(row.fix_id)
    return Prepared(
        tuple(columns_of(case) for case in cases),
        tuple(ids),
        tuple(case.fix if isinstance(case.fix, str) else None for case in cases),
        tuple(case.outcome == "fixed" and not case.query.simulated for case in cases),
        Evidence.of([case.query for case in cases], tokenizer, scales),
        fixes,
    )


@lru_cache(maxsize=1 << 16)
def row_of_pattern(pattern: Pattern) -> FixRow:
    """The fix of a pattern for the file."""
    return learnt_row(pattern.as_fix())


def learnt_row(fix: Fix) -> FixRow:
    """A learnt fix for the file; what stands behind it is counted from its cases alone."""
    scope = fix.scope
    return FixRow(
        fix.fix_id, fix.slug, fix.component, fix.failure_mode, fix.action, fix.source, fix.safety.value, SMALLEST,
        scope.make, scope.model, scope.year_from, scope.year_to, body_from(fix), "learnt",
    )  # fmt: skip


def columns_of(case: Case) -> tuple[object, ...]:
    """A case for the file, in the order of :data:`COLUMNS`."""
    query = case.query
    vehicle = query.vehicle
    return (
        case.uid, case.origin, case.opened_ns, case.closed_ns, query.symptom, _ENCODE(vehicle.to_json()),
        int(query.simulated), case.outcome, make_key(vehicle.make), model_key(vehicle.model), vehicle.model_year or 0,
        vehicle.batch or "", case.mileage_km, case.car_key, case.component,
        _ENCODE(case.evidence) if case.evidence else "{}", case.note, language_of(query.symptom), evidence_of(query),
        case.answered_ms,
    )  # fmt: skip
