"""A plain recording taken for a visit: its broadcast frames, and what some tester asked while it ran.

Requests and answers are put together passively and paired by identifier, service and time. An ECU that answered
anything is there; what was not asked has no answer. Where only answers were recorded, a reading request is implied by
them.

Standard: ISO 15765-4:2021 §10.3 (which identifier answers which), ISO 14229-1:2020 §8 (which answer belongs to which
request).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from dbc.reassembly import reassemble
from dbc.table import ERROR, EXTENDED, REMOTE
from diag.addressing import OBD_FUNCTIONAL, OBD_FUNCTIONAL_29, Target
from diag.answers import Answer, is_answer_to
from diag.broadcast import frames_from_table
from diag.nrc import NEGATIVE_SID, PENDING
from diag.tape import Entry, LinkTraits, Tape
from diag.vehiclereport import LinkInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbc.reassembly import Payload
    from dbc.table import FrameTable

__all__ = ["tape_from_recording"]

_WAIT_NS: Final = 2_000_000_000
_PATIENCE_NS: Final = 10_000_000_000
"""After "response pending"."""
_LOOKED_BACK: Final = 64
_TESTERS: Final = range(0x600, 0x7F8)
_OFFSET: Final = 8
_POSITIVE: Final = 0x40
_ALL_CODES, _OUR_CODES = b"\x19\x02\xff", b"\x19\x02\xaf"
"""A tester that asks for the codes with every status bit has asked for those that a scan wants, and more."""
_PRESENT, _IS_PRESENT = b"\x3e\x00", b"\x7e\x00"
_LOOKS: Final = 4
"""How often a scan looks at the frames; in a recording all are there from the beginning."""


@dataclass(slots=True)
class _Asked:
    t_ns: int
    target: Target
    payload: bytes
    answers: dict[Target, Answer] = field(default_factory=dict)
    until_ns: int = 0


def tape_from_recording(table: FrameTable, *, start_ns: int, name: str) -> Tape:
    """A tape with the frames of a recording and the requests in it that were answered.

    Args:
        table: its frames.
        start_ns: UTC of the table's time 0.
        name: of the recording, for the report.
    """
    frames = frames_from_table(table)
    stamps = table.t_ns
    first_ns, last_ns = (int(stamps.min()), int(stamps.max())) if len(stamps) else (0, 0)
    tape = Tape(
        LinkTraits(LinkInfo("recording", name), has_frames=True),
        settings={"listen_s": 2.0, "search": False, "timeout_s": None},
        started_ns=max(0, start_ns + first_ns),
        duration_s=(last_ns - first_ns) / 1e9,
        ending="finished",
        frames=frames,
        marks=[len(frames)] * _LOOKS,
    )
    asked = _conversations(table)
    tape.entries = [entry for one in asked for entry in _entries(one, start_ns)]
    there = {entry.answers[0].source: entry.t_ns for entry in tape.entries}
    known = {entry.target for entry in tape.entries if entry.payload == _PRESENT}
    for target, t_ns in there.items():
        if target not in known:
            answer = Answer(target, _PRESENT, _IS_PRESENT, t_ns=t_ns)
            tape.entries.append(Entry("uds", t_ns, target, _PRESENT, answers=(answer,)))
    return tape


def _conversations(table: FrameTable) -> list[_Asked]:
    """Requests with their answers, in the order of the requests; those without an answer are left out."""
    is_long = (table.flags & EXTENDED) != 0
    kind = table.can_id >> 16
    is_talk = np.where(is_long, (kind == 0x18DA) | (kind == 0x18DB), table.can_id >= _TESTERS.start)
    part = table[is_talk & ((table.flags & (ERROR | REMOTE)) == 0)]
    asked: list[_Asked] = []
    for message in sorted(reassemble(part).payloads, key=lambda one: one.end_ns):
        if not message.data:
            continue
        extended = bool(message.key >> 31)
        target = _target(message.can_id, extended=extended)
        if target is not None and not message.data[0] & _POSITIVE and message.complete:
            asked.append(_Asked(message.end_ns, target, message.data, until_ns=message.end_ns + _WAIT_NS))
        elif not _take(asked, message, extended=extended):
            implied = _implied(message, extended=extended)
            if implied is not None:
                asked.append(implied)
    return [one for one in asked if one.answers]


def _target(can_id: int, *, extended: bool) -> Target | None:
    """Whom a request with this identifier is for; None where testers do not send."""
    for functional in (OBD_FUNCTIONAL, OBD_FUNCTIONAL_29):
        if (can_id, extended) == (functional.request_id, functional.extended):
            return functional
    if extended:
        try:
            return Target.physical(can_id)
        except ValueError:
            return None
    return Target(can_id, can_id + _OFFSET) if can_id in _TESTERS else None


def _take(asked: list[_Asked], message: Payload, *, extended: bool) -> bool:
    """Gives an answer to the latest request that it can belong to."""
    for one in asked[: -_LOOKED_BACK - 1 : -1]:
        if message.t_ns > one.until_ns or not one.target.is_answered_by(message.can_id, extended=extended):
            continue
        if not is_answer_to(one.payload, message.data):
            continue
        source = one.target.ecu(message.can_id)
        one.answers[source] = Answer(
            source, one.payload, message.data, message.complete, message.missing, message.end_ns
        )
        if one.answers[source].nrc == PENDING:
            one.until_ns = message.end_ns + _PATIENCE_NS
        return True
    return False


def _implied(message: Payload, *, extended: bool) -> _Asked | None:
    """What must have been asked where a logger kept the answers only; None where that cannot be told."""
    data = message.data
    if data[0] == NEGATIVE_SID or not data[0] & _POSITIVE:
        return None
    if data[0] == 0x62 and len(data) > 3:
        request = b"\x22" + data[1:3]
    elif data[0] == 0x41 and len(data) > 2:
        request = b"\x01" + data[1:2]
    else:
        return None
    if extended:
        if message.can_id & 0x1FFF_FF00 != 0x18DA_F100:
            return None
        target = OBD_FUNCTIONAL_29.ecu(message.can_id)
    elif message.can_id - _OFFSET in _TESTERS:
        target = Target(message.can_id - _OFFSET, message.can_id)
    else:
        return None
    answer = Answer(target, request, data, message.complete, message.missing, message.end_ns)
    return _Asked(message.t_ns, target, request, {target: answer})


def _entries(one: _Asked, start_ns: int) -> Iterator[Entry]:
    """What a scan may ask that this answers: the same, and of a request to all each ECU's own part."""
    answers = tuple(one.answers.values())
    t_ns = max(0, start_ns + one.t_ns)
    if one.target.is_functional:
        yield Entry("uds", t_ns, one.target, one.payload, answers=_at(answers, start_ns))
    for answer in _at(answers, start_ns):
        yield Entry("uds", t_ns, answer.source, one.payload, answers=(answer,))
        if one.payload == _ALL_CODES:
            yield Entry("uds", t_ns, answer.source, _OUR_CODES, answers=(answer,))


def _at(answers: tuple[Answer, ...], start_ns: int) -> tuple[Answer, ...]:
    return tuple(replace(answer, t_ns=max(0, start_ns + answer.t_ns)) for answer in answers)
