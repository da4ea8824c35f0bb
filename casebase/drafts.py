"""A closed consultation as a draft of a case, schema ``huizhen.consultation/1``.

``{"schema", "id", "opened", "closed", "vin", "vehicle", "mileage_km", "scan", "symptom", "simulated",
"statement": {"lang", "fix" | "component", "failure_mode", "action", "outcome", "note"},
"tried": [{"what", "result"} | "…"]}``

Only ``schema`` and ``id`` must be there. ``scan`` is a ``huizhen.scan/1``; ``outcome`` is ``fixed``, ``not-fixed``,
``something-else`` or ``unknown``. What comes in leaves its names at the door: the VIN becomes a keyed hash, of the scan
only the evidence is kept, and the words go through :mod:`diag.personal`. A draft is no case: it is not matched and not
counted until a person confirms it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from casebase.errors import BadEvidence
from casebase.query import MAX_TEXT, Query
from casebase.record import case_from_json, time_of
from casebase.schema import OUTCOMES
from diag.facts import Text
from diag.personal import without_names, without_names_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from casebase.record import Case

__all__ = ["SCHEMA", "Draft", "Statement", "case_from_draft", "draft_from_json", "draft_uid"]

SCHEMA: Final = "huizhen.consultation/1"
_UNKNOWN: Final = "unknown"
_LANGUAGES: Final = ("en", "zh")
_LONGEST: Final = 400
_MOST_TRIED: Final = 50


@dataclass(frozen=True, slots=True)
class Statement:
    """What the experts said at the end.

    Args:
        lang: ``en`` or ``zh``.
        fix: name or identity of a known fix, empty where they named none.
        component, failure_mode, action: in their own words.
        outcome: one of :data:`casebase.schema.OUTCOMES`, None where nobody knows.
        note: whatever else.
    """

    lang: str = "en"
    fix: str = ""
    component: str = ""
    failure_mode: str = ""
    action: str = ""
    outcome: str | None = None
    note: str = ""

    @property
    def words(self) -> str:
        """All of it, for finding a known fix that says the same."""
        return "\n".join(part for part in (self.component, self.failure_mode, self.action, self.note) if part)


@dataclass(frozen=True, slots=True)
class Draft:
    """A consultation without the names in it.

    Args:
        uid: identity, from the room's or job's own.
        room: as its source calls it.
        question: the evidence, as the JSON that :meth:`casebase.query.Query.from_json` reads, and what a case adds.
        statement: see there.
        tried: what was done in order, and what came of it.
        car_key: keyed hash of the VIN.
        number: in the library; 0 before it is there.
        received_ns: UTC nanoseconds.
    """

    uid: str
    room: str
    question: Mapping[str, Any]
    statement: Statement
    tried: tuple[tuple[str, str], ...] = ()
    car_key: str | None = None
    number: int = 0
    received_ns: int = 0

    @property
    def simulated(self) -> bool:
        """Whether the car was."""
        return self.question.get("simulated") is True

    def to_json(self) -> dict[str, Any]:
        """As it stands in the library."""
        said = self.statement
        return {
            "schema": SCHEMA, "id": self.room, "question": dict(self.question),
            "statement": {
                "lang": said.lang, "fix": said.fix, "component": said.component, "failure_mode": said.failure_mode,
                "action": said.action, "outcome": said.outcome or _UNKNOWN, "note": said.note,
            },
            "tried": [{"what": what, "result": result} for what, result in self.tried],
        }  # fmt: skip

    @classmethod
    def from_stored(cls, body: Mapping[str, Any], uid: str, key: str | None, number: int, received_ns: int) -> Draft:
        """What :meth:`to_json` made."""
        said, tried = _statement(body["statement"]), _tried(body["tried"])
        return cls(uid, str(body["id"]), body["question"], said, tried, key, number, received_ns)


def draft_uid(room: str) -> str:
    """The identity of a room's or job's draft."""
    return hashlib.sha256(f"consultation\n{room.strip()}".encode("utf-8", "replace")).hexdigest()[:32]


def draft_from_json(document: object, car_key: Callable[[str], str]) -> Draft:
    """A draft from a consultation.

    Args:
        document: see the module.
        car_key: makes the keyed hash of a VIN.

    Raises:
        BadEvidence: it, or a key of it, has the wrong shape.
    """
    if not isinstance(document, Mapping) or document.get("schema") != SCHEMA:
        raise BadEvidence("schema", Text(f"must be {SCHEMA}", f"必须为 {SCHEMA}"))
    room = document.get("id")
    if not isinstance(room, str) or not room.strip():
        raise BadEvidence("id", Text("must name the room or the job", "必须为会诊室或工单编号"))
    scan = document.get("scan")
    if scan is not None and not (isinstance(scan, Mapping) and str(scan.get("schema", "")).startswith("huizhen.scan/")):
        raise BadEvidence("scan", Text("must be a saved scan", "必须为保存的扫描结果"))
    told = {**(scan or {})}
    for key in ("vehicle", "symptom", "mileage_km", "simulated"):
        if document.get(key) is not None:
            told[key] = document[key]
    if isinstance(told.get("vehicle"), Mapping) and scan is not None and isinstance(scan.get("vehicle"), Mapping):
        told["vehicle"] = {**scan["vehicle"], **told["vehicle"]}
    if isinstance(document.get("simulated"), bool) and scan is not None:
        told["simulated"] = document["simulated"] or scan.get("simulated") is True
    query = Query.from_json(told)
    vehicle = told.get("vehicle")
    vin = document.get("vin") or (vehicle.get("vin") if isinstance(vehicle, Mapping) else None)
    vins = (vin,) if isinstance(vin, str) and vin.strip() else ()
    statement, tried = _statement(document.get("statement"), vins), _tried(document.get("tried"), vins)
    if not (query.symptom or query.dtcs or query.findings or query.features or statement.words or statement.fix):
        raise BadEvidence("line", Text("says nothing of a fault", "未提及任何故障"))
    seen = {**query.evidence_json(), "vehicle": query.vehicle.to_json(), "symptom": query.symptom}
    question: dict[str, Any] = without_names_in(seen, vins=vins)
    for key in ("opened", "closed"):
        if time_of(document.get(key), key) is not None:
            question[key] = document[key]
    if document.get("mileage_km") is not None:
        question["mileage_km"] = document["mileage_km"]
    if query.simulated:
        question["simulated"] = True
    uid = draft_uid(room)
    case_from_json({**question, "id": uid, "symptom": question["symptom"] or "-"}, car_key)  # whether it can become one
    hashed = car_key(vins[0]) if vins and not query.simulated else None
    return Draft(uid, _words(room, _LONGEST, vins), question, statement, tried, hashed)


def _statement(told: object, vins: tuple[str, ...] = ()) -> Statement:
    if told is None:
        return Statement()
    if not isinstance(told, Mapping):
        raise BadEvidence("statement", Text("must be an object", "必须是对象"))
    words = {}
    for key in ("fix", "component", "failure_mode", "action", "note"):
        value = told.get(key)
        if value is not None and not isinstance(value, str):
            raise BadEvidence(f"statement.{key}", Text("must be text", "必须是文本"))
        words[key] = _words(value or "", MAX_TEXT if key == "note" else _LONGEST, vins)
    lang = told.get("lang") or "en"
    if lang not in _LANGUAGES:
        raise BadEvidence("statement.lang", Text("must be en or zh", "必须为 en 或 zh"))
    outcome = told.get("outcome") or _UNKNOWN
    if outcome not in (*OUTCOMES, _UNKNOWN):
        listed = (*OUTCOMES, _UNKNOWN)
        reason = Text(f"must be one of {', '.join(listed)}", f"必须为 {'、'.join(listed)}")
        raise BadEvidence("statement.outcome", reason)
    return Statement(
        lang, words["fix"], words["component"], words["failure_mode"], words["action"],
        None if outcome == _UNKNOWN else str(outcome), words["note"],
    )  # fmt: skip


def _words(value: str, most: int, vins: tuple[str, ...]) -> str:
    """One line without names: they are taken out before it is cut, so that no half of one stays."""
    return without_names(" ".join(value.split()), vins=vins)[:most]


def _tried(told: object, vins: tuple[str, ...] = ()) -> tuple[tuple[str, str], ...]:
    if told is None:
        return ()
    if not isinstance(told, list) or len(told) > _MOST_TRIED:
        most = _MOST_TRIED
        raise BadEvidence("tried", Text(f"must be a list of at most {most}", f"必须是不超过 {most} 项的列表"))
    out = []
    for item in told:
        what, result = (item.get("what"), item.get("result") or "") if isinstance(item, Mapping) else (item, "")
        if not isinstance(what, str) or not isinstance(result, str) or not what.strip():
            raise BadEvidence("tried", Text("needs what was done, as text", "需要用文本说明做了什么"))
        out.append((_words(what, _LONGEST, vins), _words(result, _LONGEST, vins)))
    return tuple(out)


def case_from_draft(draft: Draft, fix: str | Mapping[str, str] | None, outcome: str | None, note: str) -> Case:
    """The case that a person confirms.

    Args:
        draft: see there.
        fix: a known one's name, or component, failure_mode and action; None for what the statement says.
        outcome: None for what the statement says.
        note: of the person; what was tried stands behind it.

    Raises:
        BadEvidence: words without an action.
    """
    said = draft.statement
    chosen: str | Mapping[str, str] | None = fix or said.fix or None
    if chosen is None and (said.action or said.failure_mode):
        action = said.action or said.failure_mode
        chosen = {"component": said.component, "failure_mode": said.failure_mode, "action": action}
    tried = "; ".join(" → ".join(part for part in each if part) for each in draft.tried)
    line: dict[str, Any] = {
        **draft.question, "id": draft.uid, "fix": chosen, "outcome": outcome or said.outcome,
        "note": " | ".join(part for part in (note, said.note, tried) if part), "component": said.component,
    }  # fmt: skip

    def no_key(_: str) -> str:
        raise BadEvidence("vin", Text("no draft has one", "草稿中不含车架号"))

    return replace(case_from_json(line, no_key, "consultation"), car_key=draft.car_key, origin="consultation")
