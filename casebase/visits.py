"""One visit of a car as workshops of a network tell each other of it: no VIN, no person, no word that somebody wrote.

``{"schema": "huizhen.visit/1", "id", "day", "vehicle": {"make", "model", "model_year"}, "mileage_km", "terms", "read",
"verdict", "fix", "failed", "outcome"}``

``terms`` are those that may be shared (:func:`casebase.sharing.is_term`), ``fix`` and ``failed`` identities of fixes.
The day is all that is told of the time, thousands of kilometres all that is told of the mileage. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Final

from casebase.cases import Verdict
from casebase.errors import BadEvidence
from casebase.evidence import terms_of_query
from casebase.query import ROLE_WORDS
from casebase.schema import OUTCOMES
from casebase.sharing import is_clean, is_term
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from casebase.catalogue import FeatureScale
    from casebase.query import Query
    from diag.facts import Json

__all__ = ["SCHEMA", "Visit", "codes_of_terms", "failed_before", "parse_visit", "visit_of"]

SCHEMA: Final = "huizhen.visit/1"
_KEYS: Final = frozenset(
    {"schema", "id", "day", "vehicle", "mileage_km", "terms", "read", "verdict", "fix", "failed", "outcome"}
)
_VEHICLE: Final = frozenset({"make", "model", "model_year"})
_UID: Final = re.compile(r"[0-9a-f]{32}")
_FIX: Final = re.compile(r"[0-9a-f]{16}")
_DAY: Final = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}")
_MOST_TERMS: Final = 300
_MOST_FAILED: Final = 20
_LONGEST_NAME: Final = 60
_MOST_KM: Final = 5_000_000
_ROUGH_KM: Final = 1000
_VERDICTS: Final = frozenset(verdict.value for verdict in Verdict)


@dataclass(frozen=True, slots=True)
class Visit:
    """What is told of one visit.

    Args:
        uid: identity, 32 hex digits.
        day: when it ended, ISO 8601.
        make, model, model_year: of the car.
        mileage_km: in whole thousands.
        terms: what was seen.
        read: roles of the ECUs that were read completely: what is not among the terms was not there.
        verdict: of the library then; empty where none was asked.
        fix: identity of what was done.
        failed: identities of what was done and did not cure.
        outcome: one of :data:`casebase.schema.OUTCOMES`; None where nobody knows.
    """

    uid: str
    day: str
    make: str | None = None
    model: str | None = None
    model_year: int | None = None
    mileage_km: int | None = None
    terms: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    verdict: str = ""
    fix: str | None = None
    failed: tuple[str, ...] = ()
    outcome: str | None = None

    @property
    def is_repaired(self) -> bool:
        """Whether the car left cured."""
        return self.outcome == "fixed"

    @property
    def model_name(self) -> str:
        """``make model``, as escalations name it."""
        return f"{self.make or ''} {self.model or ''}".strip()

    def to_json(self) -> Json:
        """As it goes over the line."""
        return {
            "schema": SCHEMA, "id": self.uid, "day": self.day,
            "vehicle": {"make": self.make, "model": self.model, "model_year": self.model_year},
            "mileage_km": self.mileage_km, "terms": list(self.terms), "read": list(self.read),
            "verdict": self.verdict, "fix": self.fix, "failed": list(self.failed), "outcome": self.outcome,
        }  # fmt: skip


def codes_of_terms(terms: Iterable[str]) -> list[str]:
    """The fault codes among terms, each once and as exactly as it was read: ``P0DE6-16@bms``."""
    found: dict[str, tuple[int, str]] = {}
    for term in terms:
        kind, _, rest = term.partition("|")
        parts = rest.split("|")
        if kind == "d1":
            told = 1, "", parts[0]
        elif kind == "d2":
            told = 2, parts[0], f"{parts[1]}@{parts[0]}"
        elif kind == "d3":
            told = 3, parts[0], f"{parts[1]}-{parts[2]}@{parts[0]}"
        else:
            continue
        code = parts[0] if kind == "d1" else parts[1]
        if told[0] > found.get(code, (0, ""))[0]:
            found[code] = told[0], told[2]
    return sorted(shown for _, shown in found.values())


def visit_of(
    query: Query,
    scales: Mapping[str, FeatureScale],
    *,
    uid: str,
    day: str,
    mileage_km: float | None = None,
    verdict: str = "",
    fix: str | None = None,
    outcome: str | None = None,
) -> Visit:
    """What may be told of a case; whatever is not of a closed set stays here."""
    names = [name if name and is_clean([name]) and len(name) <= _LONGEST_NAME else None
             for name in (query.vehicle.make, query.vehicle.model)]  # fmt: skip
    terms = sorted(term for term in terms_of_query(query, scales) if is_term(term))[:_MOST_TERMS]
    km = None if mileage_km is None else min(_MOST_KM, round(mileage_km / _ROUGH_KM) * _ROUGH_KM)
    known = fix if fix and _FIX.fullmatch(fix) else None
    return Visit(
        uid, day, names[0], names[1], query.vehicle.model_year, km, tuple(terms),
        tuple(sorted(set(query.read) & set(ROLE_WORDS))), verdict, known,
        (known,) if known and outcome == "not-fixed" else (), outcome,
    )  # fmt: skip


def parse_visit(told: object) -> Visit:
    """The visit of its JSON, every part of it checked.

    Raises:
        BadEvidence: a part is missing, unknown, or not what it must be.
    """
    if not isinstance(told, Mapping) or told.get("schema") != SCHEMA or set(told) != _KEYS:
        raise BadEvidence("visit", Text(f"must be {SCHEMA} with exactly its keys", f"必须为 {SCHEMA}，且键须完全一致"))
    vehicle, day = told["vehicle"], told["day"]
    if not isinstance(vehicle, Mapping) or set(vehicle) != _VEHICLE:
        raise _wrong("vehicle")
    for key in ("make", "model"):
        if vehicle[key] is not None and not (
            isinstance(vehicle[key], str) and len(vehicle[key]) <= _LONGEST_NAME and is_clean([vehicle[key]])
        ):
            raise _wrong(f"vehicle.{key}")
    if not isinstance(day, str) or not _DAY.fullmatch(day):
        raise _wrong("day")
    try:
        date.fromisoformat(day)
    except ValueError:
        raise _wrong("day") from None
    if not isinstance(told["verdict"], str) or told["verdict"] not in {"", *_VERDICTS}:
        raise _wrong("verdict")
    if told["outcome"] is not None and told["outcome"] not in OUTCOMES:
        raise _wrong("outcome")
    return Visit(
        _matching(told["id"], _UID, "id"), day, vehicle["make"], vehicle["model"],
        _whole(vehicle["model_year"], 1900, 2100, "vehicle.model_year"),
        _whole(told["mileage_km"], 0, _MOST_KM, "mileage_km"),
        tuple(_listed(told["terms"], _MOST_TERMS, is_term, "terms")),
        tuple(_listed(told["read"], len(ROLE_WORDS), lambda role: role in ROLE_WORDS, "read")), told["verdict"],
        None if told["fix"] is None else _matching(told["fix"], _FIX, "fix"),
        tuple(_listed(told["failed"], _MOST_FAILED, lambda fix: _FIX.fullmatch(fix) is not None, "failed")),
        told["outcome"],
    )  # fmt: skip


def _wrong(key: str) -> BadEvidence:
    return BadEvidence(f"visit.{key}", Text("not what it must be", "不符合要求"))


def _matching(value: object, pattern: re.Pattern[str], key: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise _wrong(key)
    return value


def _whole(value: object, low: int, high: int, key: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _wrong(key)
    return value


def _listed(value: object, most: int, allowed: Any, key: str) -> list[str]:
    if not isinstance(value, list) or len(value) > most:
        raise _wrong(key)
    for item in value:
        if not isinstance(item, str) or not allowed(item):
            raise _wrong(key)
    return value


def failed_before(visits: Iterable[Visit], query: Query) -> dict[str, tuple[str, ...]]:
    """What was done on this very car for the trouble it has now, and did not cure it: identity -> the days.

    It is the same trouble where a code is the same, or where neither visit has any.
    """
    now = {dtc.code for dtc in query.dtcs}
    found: dict[str, list[str]] = {}
    for visit in visits:
        then = {term.rpartition("|")[2] for term in visit.terms if term.startswith("d1|")}
        if (now & then) or not (now or then):
            for fix in visit.failed:
                found.setdefault(fix, []).append(visit.day)
    return {fix: tuple(sorted(days)) for fix, days in found.items()}
