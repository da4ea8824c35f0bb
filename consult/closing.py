"""The end of a job: what was found and what cured it, and the consultation that the case library takes as a draft.

``finish`` has the body ``{"lang", "fix" | "component", "failure_mode", "action", "outcome", "note", "tried"}``, as
:mod:`casebase.drafts` knows it: ``fix`` names a known one; component, failure mode and action say it in words. And
``share``, where the technician was asked: whether the network of workshops may remember the car's visit.
The document is a ``huizhen.consultation/1``. No I/O but for :func:`write_consultation`.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from casebase.drafts import SCHEMA
from casebase.schema import OUTCOMES
from consult.errors import JournalBroken, MessageBroken, RoleRefused, RoomClosed, RoomFinished
from consult.invites import Role
from diag.facts import Text, iso_from_ns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from consult.messages import Finish
    from consult.room import Room

__all__ = ["UNKNOWN", "Ending", "check_statement", "consultation", "write_consultation"]

UNKNOWN: Final = "unknown"
_WORDS: Final = {"fix": 400, "component": 400, "failure_mode": 400, "action": 400, "note": 2_000}
_MOST_TRIED: Final = 50
_LONGEST_TRIED: Final = 4_000
_AGENT_GONE_US: Final = 10_000_000
_LONGEST_END_US: Final = 600_000_000
_ALLOWED: Final = frozenset({"lang", "outcome", "tried", "share", *_WORDS})


def check_statement(body: Mapping[str, Any]) -> dict[str, Any]:
    """A statement with all its parts, when each is what it should be and it says something.

    Raises:
        MessageBroken: a part that is unknown, of another kind or too long; a statement without a fix, a finding, an
            outcome or a note.
    """
    for name in body:
        if name not in _ALLOWED:
            raise _wrong(name)
    lang, outcome = body.get("lang", "en"), body.get("outcome", UNKNOWN)
    if lang not in ("en", "zh"):
        raise _wrong("lang")
    if outcome not in (*OUTCOMES, UNKNOWN):
        raise _wrong("outcome")
    said: dict[str, Any] = {"lang": lang, "outcome": outcome}
    for name, most in _WORDS.items():
        value = body.get(name, "")
        if not isinstance(value, str) or len(value) > most:
            raise _wrong(name)
        said[name] = " ".join(value.split())
    said["tried"] = _tried(body.get("tried", []))
    if "share" in body:
        if not isinstance(body["share"], bool):
            raise _wrong("share")
        said["share"] = body["share"]
    if outcome == UNKNOWN and not any(said[name] for name in _WORDS):
        raise MessageBroken(Text("a finish that says nothing", "结束说明没有内容"))
    return said


def _wrong(name: str) -> MessageBroken:
    return MessageBroken(Text(f"field {name[:40]} of finish", f"finish 的字段 {name[:40]}"))


def _tried(value: Any) -> list[dict[str, str]]:
    if not isinstance(value, list) or len(value) > _MOST_TRIED:
        raise _wrong("tried")
    told = []
    for item in value:
        parts = item if isinstance(item, dict) else {"what": item}
        what, result = parts.get("what"), parts.get("result", "")
        if not isinstance(what, str) or not isinstance(result, str) or not parts.keys() <= {"what", "result"}:
            raise _wrong("tried")
        if not what.strip() or max(len(what), len(result)) > _LONGEST_TRIED:
            raise _wrong("tried")
        told.append({"what": " ".join(what.split()), "result": " ".join(result.split())})
    return told


def consultation(
    room: str, report: Mapping[str, Any], statement: Mapping[str, Any], *, opened_us: int, closed_us: int
) -> dict[str, Any]:
    """The room as a ``huizhen.consultation/1``.

    Args:
        room: its name.
        report: the newest ``huizhen.scan/1``; a simulated car stays marked as one.
        statement: as :func:`check_statement` gives it.
        opened_us: UTC microseconds.
        closed_us: likewise.
    """
    vehicle = report.get("vehicle")
    scan = {key: value for key, value in report.items() if key not in ("cases", "symptom")}
    said = {key: value for key, value in statement.items() if key != "tried"}
    symptom = report.get("symptom")
    return {
        "schema": SCHEMA,
        "id": room,
        "opened": iso_from_ns(opened_us * 1_000),
        "closed": iso_from_ns(closed_us * 1_000),
        "vin": vehicle.get("vin") if isinstance(vehicle, dict) else None,
        "scan": scan if str(scan.get("schema", "")).startswith("huizhen.scan/") else None,
        "symptom": symptom if isinstance(symptom, str) else "",
        "simulated": report.get("simulated") is True,
        "statement": said,
        "tried": list(statement.get("tried", [])),
    }


class Ending:
    """How a room comes to its end. Once the job is finished the agent brings what it still has, then the room closes.

    Attributes:
        document: the consultation, once there is one.
    """

    def __init__(self, room: Room) -> None:
        self.document: dict[str, Any] | None = None
        self._room = room
        self._finished_us = 0
        self._agent_seen_us = 0

    @property
    def code(self) -> str:
        """Why the room closes, when its technician leaves it."""
        return RoomClosed.code if self.document is None else RoomFinished.code

    def finish(self, message: Finish, who: dict[str, Any], role: Role, now_us: int) -> None:
        """The job is done. Said again it is the same.

        Raises:
            RoleRefused: the role is neither technician nor lead expert.
            MessageBroken: as :func:`check_statement`.
        """
        if not role.may_invite:
            raise RoleRefused(role.value)
        statement = check_statement(message.body)
        if role is not Role.TECHNICIAN:
            statement.pop("share", None)  # about the car, and for its technician to say
        if self.document is not None:
            return
        room = self._room
        room.happen("finish", who, now_us, ident=message.id, body=statement)
        self.document = consultation(room.ident, room.report, statement, opened_us=room.created_us, closed_us=now_us)
        room.keep_document("consultation", now_us, self.document)
        self._finished_us = self._agent_seen_us = now_us
        if room.agent is None:
            room.close(self.code)

    def restore(self) -> None:
        """Takes up where the journal ends: a job that was finished stays so, and its agent has time to come back."""
        kept = self._room.journal.documents("consultation")
        if kept:
            self.document = kept[-1][1]

    def end_if_due(self, now_us: int) -> None:
        """Closes a room whose job is finished and whose agent does not come back, or does not come to an end."""
        if self.document is None or self._room.closed_code is not None:
            return
        self._finished_us = self._finished_us or now_us
        if self._room.agent is not None or not self._agent_seen_us:
            self._agent_seen_us = now_us
        if now_us - self._agent_seen_us > _AGENT_GONE_US or now_us - self._finished_us > _LONGEST_END_US:
            self._room.close(self.code)

    def write_file(self) -> None:
        """Puts the consultation, where there is one, beside a record that is not encrypted.

        Raises:
            JournalBroken: the place cannot be written.
        """
        if self.document is not None and not self._room.journal.is_encrypted:
            path = self._room.journal.path.with_suffix(".consultation.json")
            try:
                write_consultation(path, self.document)
            except OSError as error:
                raise JournalBroken(str(path), error.strerror or str(error)) from error


def write_consultation(path: Path, document: Mapping[str, Any]) -> None:
    """Writes it for this user alone, whole or not at all.

    Raises:
        OSError: the place cannot be written.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    part = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(document, file, ensure_ascii=False, indent=1)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
