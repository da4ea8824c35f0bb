"""What a page says of the call, taken to the room's desk: checked for role, rate and size; who may not is told so."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from consult.callerrors import NoMediaEngine, NotInCall
from consult.callmessages import Call, CallMessage, Consent, Record, Sfu, Signal, Still, Stroke, Unstroke
from consult.callsignals import MAX_ENGINE_SDP_CHARS, candidate_fields, clean_sdp, clean_signal
from consult.errors import ConsultError, MessageBroken, RoleRefused, TooMuch
from consult.gate import RateLimit
from consult.messages import Refused, encode_message
from diag.facts import Text

if TYPE_CHECKING:
    from consult.member import Member
    from consult.room import Room

__all__ = ["CallLimits", "take_call_message"]


@dataclass(frozen=True, slots=True)
class CallLimits:
    """How much one person may say of a call."""

    call: RateLimit = field(default_factory=lambda: RateLimit(burst=30, per_s=2))
    signal: RateLimit = field(default_factory=lambda: RateLimit(burst=400, per_s=40))
    sfu: RateLimit = field(default_factory=lambda: RateLimit(burst=200, per_s=20))
    still: RateLimit = field(default_factory=lambda: RateLimit(burst=5, per_s=0.5))
    stroke: RateLimit = field(default_factory=lambda: RateLimit(burst=40, per_s=8))


def take_call_message(
    message: CallMessage, room: Room, member: Member, limits: CallLimits, *, now_us: int, clock_s: float
) -> None:
    """One word of a page on the call; what is refused is told to it, and it stays."""
    ident = getattr(message, "id", "")
    try:
        _check_rate(message, member.person, limits, clock_s)
        _take(message, room, member, now_us)
    except ConsultError as error:
        if isinstance(message, Sfu):
            told = {"type": "sfu", "id": message.id, "error": error.code}
            member.outbox.say(json.dumps(told, separators=(",", ":")))
        else:
            member.outbox.say(encode_message(Refused(code=error.code, id=ident or message.type)))


def _check_rate(message: CallMessage, person: int, limits: CallLimits, clock_s: float) -> None:
    match message:
        case Signal():
            limit, what, most = limits.signal, Text("call signals", "通话信令"), "40/s"
        case Sfu():
            limit, what, most = limits.sfu, Text("media requests", "媒体请求"), "20/s"
        case Still():
            limit, what, most = limits.still, Text("stills", "静态画面"), "30/min"
        case Stroke() | Unstroke():
            limit, what, most = limits.stroke, Text("strokes", "笔画"), "8/s"
        case _:
            limit, what, most = limits.call, Text("call messages", "通话消息"), "2/s"
    if not limit.take(person, clock_s):
        raise TooMuch(what, most)


def _take(message: CallMessage, room: Room, member: Member, now_us: int) -> None:
    desk, who, role = room.calls, member.to_json(), member.role
    match message:
        case Call():
            desk.take_call(message, who, role, now_us)
        case Signal():
            _pass_signal(message, room, member)
        case Sfu():
            _ask_engine(message, room, member)
        case Record():
            desk.take_record(message, who, role, now_us)
        case Consent():
            desk.take_consent(message, who, now_us)
        case Still() | Stroke() | Unstroke():
            _draw(message, room, member, now_us)


def _pass_signal(message: Signal, room: Room, member: Member) -> None:
    """Hands a signal on to one other page in the same call."""
    desk = room.calls
    caller = desk.require(member.person)
    desk.require(message.to)
    other = room.members.get(message.to)
    if desk.mode != "mesh" or message.to == member.person or other is None:
        raise NotInCall
    body = clean_signal(message.body, relay_only=room.relay_only, may_send=caller.role.may_speak)
    if body is not None:
        told = {"type": "signal", "from": member.person, "body": body}
        other.outbox.say(json.dumps(told, separators=(",", ":")))


def _ask_engine(message: Sfu, room: Room, member: Member) -> None:
    """Hands a page's word on to the engine; the answer goes to the page alone."""
    desk = room.calls
    caller = desk.require(member.person)
    if message.op == "publish" and not caller.role.may_speak:
        raise RoleRefused(caller.role.value)
    if desk.engine is None or not desk.engine.is_ready or desk.mode != "sfu":
        raise NoMediaEngine
    checked = Sfu(message.id, message.op, _engine_body(message, relay_only=room.relay_only))
    if checked.op == "candidate" and not checked.body:
        return

    def say(told: dict[str, Any]) -> None:
        member.outbox.say(json.dumps({"type": "sfu", "id": message.id, **told}, separators=(",", ":")))

    desk.engine.ask(member.person, checked, say)


def _engine_body(message: Sfu, *, relay_only: bool) -> dict[str, Any]:
    body = message.body
    if message.op in ("publish", "watching"):
        sdp = body.get("sdp")
        if not isinstance(sdp, str):
            raise MessageBroken(Text("field sdp of sfu", "sfu 的字段 sdp"))
        return {"sdp": clean_sdp(sdp, relay_only=relay_only, most=MAX_ENGINE_SDP_CHARS)}
    if message.op == "watch":
        people = body.get("people")
        most = 64
        if not isinstance(people, list) or len(people) > most or not all(type(one) is int for one in people):
            raise MessageBroken(Text("field people of sfu", "sfu 的字段 people"))
        return {"people": people, "fresh": body.get("fresh") is True}
    if message.op == "candidate":
        if body.get("of") not in ("publish", "watch"):
            raise MessageBroken(Text("field of of sfu", "sfu 的字段 of"))
        candidate = body.get("candidate")
        # A browser's event gives an object; null, or an empty one, ends the candidates.
        inner = candidate if isinstance(candidate, dict) else {**body, "candidate": candidate or ""}
        told = candidate_fields(inner, relay_only=relay_only)
        return {} if told is None else {"of": body["of"], **told}
    return {}


def _draw(message: Still | Stroke | Unstroke, room: Room, member: Member, now_us: int) -> None:
    """A still, or a line on it, for everybody and the journal. One needs not be in the call."""
    stills, who, role = room.calls.stills, member.to_json(), member.role
    if not role.may_speak:
        raise RoleRefused(role.value)
    match message:
        case Still():
            body = stills.put(message, room.files)
            if body is not None:
                room.happen("still", who, now_us, ident=message.id, text=message.text.strip(), body=body)
        case Stroke():
            body = stills.draw(message, member.person)
            if body is not None:
                room.happen("stroke", who, now_us, ident=message.id, body=body)
        case Unstroke():
            if stills.take_away(message.id, member.person, may_all=role.may_invite):
                room.happen("unstroke", who, now_us, ident=message.id)
