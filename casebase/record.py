"""One case: what was seen on a car, what it turned out to be, and whether that cured it.

A case belongs to a *pattern*: component, failure mode and action on certain vehicles, the same tuple that names a fix
of ours. Patterns that only cases know become fixes with their numbers and nothing else. As JSON a case is a line of
``case find --jsonl`` with its end:

``{"symptom", "vehicle", "dtcs", "features", "findings", "silent", "read", "id", "closed", "outcome", "mileage_km",
"vin", "note", "simulated", "fix": "name" | {"component", "failure_mode", "action", "title", "fix"}}``

A VIN is turned into a keyed hash on the way in and never kept.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from casebase.cases import Safety
from casebase.catalogue import Fix, Scope
from casebase.errors import BadEvidence
from casebase.folding import fold
from casebase.query import Query
from casebase.schema import OUTCOMES
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CASES", "Case", "Pattern", "car_key_of", "case_from_json", "time_of"]

CASES: Final = "cases"
"""Source of a fix that rests on closed cases alone."""
_EVIDENCE: Final = ("dtcs", "features", "findings", "silent", "read", "causes", "context")
_TOLD: Final = (*_EVIDENCE, "symptom", "vehicle", "fix", "outcome", "closed")
_LONGEST: Final = 400
_LONGEST_SCAN_S: Final = 1e6
_DAY: Final = re.compile(r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?(.*)", re.DOTALL)
_LEARNT_NOTE: Final = Text("Counted from closed cases of this library.", "由本库已结案例统计得出。")


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a case turned out to be, where no fix of ours says it.

    Args:
        component, failure_mode, action: as short as people write them, folded.
        title, fix: for reading.
        scope: the vehicles that it was seen on.
    """

    component: str
    failure_mode: str
    action: str
    title: Text
    fix: Text
    scope: Scope = field(default_factory=Scope)

    @property
    def key(self) -> tuple[object, ...]:
        """What makes two patterns the same."""
        return self.component, self.failure_mode, self.action, self.scope

    def as_fix(self) -> Fix:
        """A fix with nothing but its words; its evidence is counted from the cases."""
        made = Fix(
            "-", self.component, self.failure_mode, self.action, self.title, self.fix, CASES, _LEARNT_NOTE, Safety.NONE,
            "hour", (), (), (), (), (), (), (), (), (), self.fix, scope=self.scope,
        )  # fmt: skip
        return _named(made)


def _named(fix: Fix) -> Fix:
    return replace(fix, slug=f"learnt-{fix.fix_id[:12]}")


@dataclass(frozen=True, slots=True)
class Case:
    """One case.

    Args:
        uid: identity: what its source calls it, else the hash of what it says.
        query: vehicle, complaint and evidence.
        fix: name or identity of a known fix, or a pattern of its own; None for a case without a known end.
        outcome: one of :data:`casebase.schema.OUTCOMES`, None where nobody knows.
        closed_ns: UTC nanoseconds; None when not closed.
        evidence: the JSON that the query was made of, without complaint and vehicle.
        car_key: keyed hash of the VIN.
        component: where the fault was, for those without a pattern.
        answered_ms: milliseconds from opening the job to the answer, None where nobody knows.
    """

    uid: str
    query: Query
    fix: str | Pattern | None = None
    outcome: str | None = None
    opened_ns: int = 0
    closed_ns: int | None = None
    mileage_km: float | None = None
    car_key: str | None = None
    component: str = ""
    note: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    origin: str = "import"
    answered_ms: int | None = None


def car_key_of(key: bytes, vin: str) -> str:
    """The hash under which a car is found again: HMAC-SHA-256 by a key that only one library has."""
    folded = "".join(vin.split()).upper()
    return hmac.new(key, folded.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:32]


def case_from_json(line: object, car_key: Callable[[str], str], source: str = "") -> Case:
    """A case from its JSON.

    Args:
        line: see the module.
        car_key: makes the keyed hash of a VIN.
        source: whose identities ``id`` are; part of the identity here.

    Raises:
        BadEvidence: it, or a key of it, has the wrong shape.
    """
    if not isinstance(line, Mapping):
        raise BadEvidence("line", Text("not a JSON object", "不是 JSON 对象"))
    query = Query.from_json(line)
    vin = line.get("vin") or (line["vehicle"].get("vin") if isinstance(line.get("vehicle"), Mapping) else None)
    closed = time_of(line.get("closed"), "closed")
    outcome = line.get("outcome")
    if outcome is not None and outcome not in OUTCOMES:
        raise BadEvidence("outcome", Text(f"must be one of {', '.join(OUTCOMES)}", f"必须为 {'、'.join(OUTCOMES)}"))
    fix = _fix(line.get("fix"), query)
    if fix is None and not (query.symptom or query.dtcs or query.findings or query.scanned or query.features):
        raise BadEvidence("line", Text("says nothing of a fault", "未提及任何故障"))
    named = line.get("id")
    if named is not None and named != "":
        digest = f"{source}\n{named}"
    else:
        told = {key: line[key] for key in _TOLD if line.get(key)}
        digest = json.dumps(told, sort_keys=True, ensure_ascii=False, default=str)
    return Case(
        uid=hashlib.sha256(digest.encode("utf-8", "replace")).hexdigest()[:32],
        query=query,
        fix=fix,
        outcome=outcome if outcome is None else str(outcome),
        opened_ns=time_of(line.get("opened"), "opened") or closed or 0,
        closed_ns=closed,
        mileage_km=_number(line, "mileage_km"),
        car_key=car_key(vin) if isinstance(vin, str) and vin.strip() else None,
        component=str(line.get("component") or "")[:_LONGEST],
        note=str(line.get("note") or "")[:_LONGEST],
        evidence=_evidence(line, query),
        answered_ms=_answered_ms(line),
    )


def _answered_ms(line: Mapping[str, Any]) -> int | None:
    """How long a saved scan took that carries its answer: the ranking itself takes milliseconds."""
    took = line.get("duration_s")
    if not isinstance(line.get("cases"), Mapping) or not isinstance(took, int | float) or isinstance(took, bool):
        return None
    return round(took * 1000) if 0.0 <= took < _LONGEST_SCAN_S else None


def _evidence(line: Mapping[str, Any], query: Query) -> dict[str, Any]:
    """What the question was made of. A scan's codes name addresses; which ECU has which role only the scan knows."""
    if not str(line.get("schema") or "").startswith("huizhen.scan/"):
        return {key: line[key] for key in _EVIDENCE if line.get(key)}
    told = query.evidence_json()
    return {**told, "context": line["context"]} if line.get("context") else told


def _fix(value: object, query: Query) -> str | Pattern | None:
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value[:_LONGEST]
    if not isinstance(value, Mapping):
        raise BadEvidence("fix", Text("must be a name or an object", "必须是名称或对象"))
    told = tuple(_words(value.get(key)) for key in ("component", "failure_mode", "action"))
    if not told[2]:
        raise BadEvidence("fix", Text("needs an action", "需要 action"))
    title = _text(value.get("title"), " · ".join(part for part in told if part))
    return _pattern(told, title, _text(value.get("fix"), told[2]), query.vehicle.make, query.vehicle.model)


@lru_cache(maxsize=1 << 15)
def _pattern(told: tuple[str, ...], title: Text, fix: Text, make: str | None, model: str | None) -> Pattern:
    component, failure_mode, action = (fold(part) or "unknown" for part in told)
    return Pattern(component, failure_mode, action, title, fix, Scope(make, model))


def _words(value: object) -> str:
    return " ".join(str(value).split())[:_LONGEST] if isinstance(value, str | int) else ""


def _text(value: object, fallback: str) -> Text:
    """Both languages where there are both; what people wrote in one stands for the other."""
    if isinstance(value, Mapping):
        en, zh = _words(value.get("en")), _words(value.get("zh"))
        if en or zh:
            return Text(en or zh, zh or en)
    said = _words(value) or fallback
    return Text(said, said)


def _number(line: Mapping[str, Any], key: str) -> float | None:
    value = line.get(key)
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or number < 0:
        raise BadEvidence(key, Text("must be a number from 0", "必须是不小于 0 的数"))
    return number


def time_of(value: object, key: str) -> int | None:
    """UTC nanoseconds of a date (also 2026/1/5, 2026年1月5日) or an ISO 8601 time; without a zone it is UTC.

    Raises:
        BadEvidence: it is no date; ``key`` names it.
    """
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise BadEvidence(key, Text("must be a date", "必须是日期"))
    try:
        day = _DAY.match(value.strip())
        told = f"{day[1]}-{int(day[2]):02d}-{int(day[3]):02d}{day[4]}" if day else value.strip()
        moment = datetime.fromisoformat(told)
    except ValueError:
        raise BadEvidence(key, Text(f"'{value[:30]}' is no date", f"“{value[:30]}”不是日期")) from None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000
