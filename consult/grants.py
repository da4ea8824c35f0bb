"""The laptop's own word on what experts ask for: nothing is done to the car that the technician did not grant.

:class:`GrantBook` takes the room's events and the technician's words and says what to do. It believes the service
nothing: class and digest are derived again from the bytes, the policy is this laptop's own, the minute runs by this
laptop's clock, and a decision from a page counts only with the proof that needs the secret of the QR code. No I/O and
no clock: times are arguments, in nanoseconds of a clock that never goes back.

==========  =====================================================================  =====================
state       what may come                                                          then
==========  =====================================================================  =====================
open        approve, session, deny, second, withdraw, stop, end of the minute      approved, over
approved    second, stop; for what is held: hold, 15 s without one                 running, over
running     hold, a second without one, the longest time, stop, the result         ending, over
ending      the result                                                             over
over        nothing                                                                –
==========  =====================================================================  =====================
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from consult.errors import MessageBroken, RoleRefused, TooMuch
from consult.grantactions import Action, Asked, Drop, Gone, Halt, Post, Reject, Run, Show, Why
from consult.granterrors import (
    AlreadyDecided,
    DigestWrong,
    EcuUnknown,
    GrantError,
    GrantsStopped,
    HoldMissing,
    NeverGranted,
    PolicyForbids,
    ProofWrong,
    RequestExpired,
    RequestUnknown,
    SecondRefused,
)
from consult.messages import Decide
from consult.remotepolicy import RemotePolicy, needs_hold
from consult.requestnames import name_of_request
from consult.requestproof import is_decision_proof, is_hold_proof, request_digest, signed_bytes
from diag.facts import Text
from diag.guard import judge
from diag.guardrules import Risk

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from consult.errors import ConsultError
    from consult.messages import Event, Hold
    from diag.addressing import Target

__all__ = ["HOLD_EVERY_NS", "HOLD_NS", "REQUEST_LIFE_NS", "GrantBook", "signed_bytes"]

REQUEST_LIFE_NS: Final = 60_000_000_000
HOLD_NS: Final = 800_000_000
"""Without a sign of the hand for this long the stopping request goes out: on the bus well within a second."""

HOLD_EVERY_NS: Final = 250_000_000
"""A page counts one for each of these while its button is pressed, however many signs it gets to send."""

_DRIFT: Final = 32
"""By a part in so many may a phone's clock go slower."""

_HOLD_BEGINS_NS: Final = 15_000_000_000
_MAX_OPEN: Final = 8
_MAX_REMEMBERED: Final = 5_000
_ASKS: Final = ("lead", "expert")


class _State(StrEnum):
    OPEN = "open"
    APPROVED = "approved"
    RUNNING = "running"
    ENDING = "ending"
    OVER = "over"


@dataclass(slots=True)
class _Entry:
    asked: Asked
    state: _State = _State.OPEN
    unplugged: bool = False
    second: int | None = None
    count: int = 0
    held_until_ns: int = 0
    heard_ns: int = 0
    late_ns: int = 0
    """How far the signs of the hand have fallen behind since the first one."""
    ends_ns: int = 0


@dataclass(slots=True)
class GrantBook:
    """Every request of one room that this laptop has heard of.

    Args:
        room: its name.
        targets: the ECUs of the report, by address.
        policy: this laptop's own.
        secret: what only the QR code of the technician's page carries.
        sign: the laptop's Ed25519 signature.
    """

    room: str
    targets: Mapping[str, Target]
    policy: RemotePolicy
    secret: bytes
    sign: Callable[[bytes], bytes]
    is_stopped: bool = False
    _entries: dict[str, _Entry] = field(default_factory=dict)
    _session: set[tuple[str, int]] = field(default_factory=set)

    # -- what is there -----------------------------------------------------------------------------------------------

    @property
    def open(self) -> tuple[Asked, ...]:
        """What waits for the technician, the oldest first."""
        return tuple(entry.asked for entry in self._entries.values() if entry.state is _State.OPEN)

    @property
    def held(self) -> Asked | None:
        """What waits for the technician's hand, or runs under it."""
        for entry in self._entries.values():
            if entry.asked.hold and entry.state in (_State.APPROVED, _State.RUNNING):
                return entry.asked
        return None

    def count_of(self, ident: str) -> int:
        """The highest count of a hand's sign so far."""
        entry = self._entries.get(ident)
        return 0 if entry is None else entry.count

    def is_granted(self, ident: str) -> bool:
        """Whether the technician said yes and it is not over."""
        entry = self._entries.get(ident)
        return entry is not None and entry.state in (_State.APPROVED, _State.RUNNING)

    def may_last(self, asked: Asked) -> bool:
        """Whether its like may be granted until the end of the session."""
        return self.policy.session and asked.risk is Risk.READ

    @property
    def has_grants(self) -> bool:
        """Whether anything runs, waits or is granted until the end: something that a stop would end."""
        busy = (_State.OPEN, _State.APPROVED, _State.RUNNING, _State.ENDING)
        return bool(self._session) or any(entry.state in busy for entry in self._entries.values())

    # -- the room ----------------------------------------------------------------------------------------------------

    def take(self, event: Event, now_ns: int) -> tuple[Action, ...]:
        """What an event of the room means for the car."""
        match event.kind:
            case "request":
                return self._take_request(event, now_ns)
            case "decision":
                return self._take_decision(event, now_ns)
            case "withdraw" | "result":
                return self._take_end(event)
            case "stop" if event.body.get("stopped") is True:
                return self.stop()
        return ()

    def _take_request(self, event: Event, now_ns: int) -> tuple[Action, ...]:
        if event.id in self._entries:
            return (Reject(event.id, AlreadyDecided()),)
        if len(self._entries) >= _MAX_REMEMBERED:
            return (Drop(event.id, TooMuch(Text("requests in one room", "同一会诊室的请求"), str(_MAX_REMEMBERED))),)
        try:
            asked = self._understood(event, now_ns)
        except GrantError as error:
            return (Drop(event.id, error),)
        except (MessageBroken, RoleRefused, TooMuch) as error:
            return (Drop(event.id, error),)
        entry = self._entries[asked.ident] = _Entry(asked)
        if (asked.ecu, asked.data[0]) in self._session and asked.risk is Risk.READ:
            return (*self._post(asked, "session", unplugged=False), *self._approve(entry, now_ns, unplugged=False))
        return (Show(asked),)

    def _understood(self, event: Event, now_ns: int) -> Asked:
        """The request, derived anew from its bytes.

        Raises:
            ConsultError: it is none, or nobody here may grant it.
        """
        body = event.body
        ecu, claimed = body.get("ecu"), body.get("digest")
        try:
            data = bytes.fromhex(body.get("data", ""))
        except (ValueError, TypeError):
            data = b""
        if not event.id or not isinstance(ecu, str) or not isinstance(claimed, str) or not data:
            raise MessageBroken(Text("a request to the car", "对车辆的请求"))
        if event.who.get("role") not in _ASKS:
            raise RoleRefused(str(event.who.get("role")))
        if self.is_stopped:
            raise GrantsStopped
        target = self.targets.get(ecu)
        if target is None:
            raise EcuUnknown(ecu)
        risk, name, complaint = judge(data, target, self.policy.rules)
        if complaint is not None:
            raise NeverGranted(complaint)
        if not self.policy.allows(ecu, data, risk):
            raise PolicyForbids(name, risk.value)
        hold = needs_hold(data, risk)
        digest = request_digest(self.room, event.id, ecu, data, hold=hold, risk=risk.value)
        if digest != claimed:
            raise DigestWrong
        if len(self.open) >= _MAX_OPEN:
            raise TooMuch(Text("requests that wait", "待处理的请求"), str(_MAX_OPEN))
        return Asked(
            event.id,
            event.who,
            event.text,
            ecu,
            target,
            data,
            risk,
            name_of_request(data, name),
            hold,
            digest,
            now_ns + REQUEST_LIFE_NS,
        )

    def _take_decision(self, event: Event, now_ns: int) -> tuple[Action, ...]:
        body = event.body
        decision, entry = body.get("decision"), self._entries.get(event.id)
        if body.get("by") != "page":
            # This laptop's own, said already. Of a request still open here it is that of an earlier run of this
            # program, which may or may not have done it: nothing is done on its word.
            return self._close(entry) if entry is not None and entry.state is _State.OPEN else ()
        if entry is None:
            return (Reject(event.id, RequestUnknown()),)
        if decision == "second":
            return self._take_second(entry, event, now_ns)
        asked, unplugged = entry.asked, body.get("unplugged") is True
        if decision == "deny":
            return self._deny(entry) if entry.state is _State.OPEN else (Reject(event.id, AlreadyDecided()),)
        problem = self._problem(entry, body.get("digest"), decision, now_ns)
        if problem is None and not is_decision_proof(
            str(body.get("proof")),
            self.secret,
            digest=asked.digest,
            ident=asked.ident,
            decision=str(decision),
            unplugged=unplugged,
        ):
            problem = ProofWrong()
        if problem is not None:
            return (Reject(event.id, problem),)
        return self._granted(entry, str(decision), now_ns, unplugged=unplugged)

    def _take_second(self, entry: _Entry, event: Event, now_ns: int) -> tuple[Action, ...]:
        asked, person = entry.asked, event.who.get("id")
        is_other = event.who.get("role") in _ASKS and isinstance(person, int) and person != asked.who.get("id")
        if not asked.needs_second or not is_other:
            return (Reject(event.id, SecondRefused()),)
        if event.body.get("digest") != asked.digest:
            return (Reject(event.id, DigestWrong()),)
        if entry.state not in (_State.OPEN, _State.APPROVED) or entry.second is not None:
            return (Reject(event.id, AlreadyDecided()),)
        if now_ns >= asked.expires_ns:
            return (Reject(event.id, RequestExpired()),)
        entry.second = person
        if asked.hold and entry.state is _State.APPROVED:
            entry.ends_ns = now_ns + _HOLD_BEGINS_NS
        return self._go(entry) if entry.state is _State.APPROVED else ()

    def _take_end(self, event: Event) -> tuple[Action, ...]:
        """The room closed it: withdrawn, or expired there. What was granted here goes on."""
        entry = self._entries.get(event.id)
        if entry is None or entry.state is not _State.OPEN:
            return ()
        entry.state = _State.OVER
        return (Gone(event.id),)

    # -- the technician ----------------------------------------------------------------------------------------------

    def decide(
        self, ident: str, digest: str, decision: str, now_ns: int, *, unplugged: bool = False
    ) -> tuple[Action, ...]:
        """The technician decides in the terminal, on the request with this digest, as it was shown.

        Args:
            ident: the request's id.
            digest: of what was shown.
            decision: ``approve``, ``session`` or ``deny``.
            now_ns: the laptop's clock.
            unplugged: they looked, and no charging cable is plugged in.
        """
        entry = self._entries.get(ident)
        if entry is None:
            return (Reject(ident, RequestUnknown()),)
        problem = self._problem(entry, digest, decision, now_ns)
        if problem is not None:
            return (Reject(ident, problem),)
        posted = self._post(entry.asked, decision, unplugged=unplugged)
        if decision == "deny":
            return (*posted, *self._deny(entry))
        return (*posted, *self._granted(entry, decision, now_ns, unplugged=unplugged))

    def hold(self, message: Hold, now_ns: int, *, is_local: bool) -> tuple[Action, ...]:
        """A sign that the technician's hand is on what runs; from a page it needs its proof."""
        entry = self._entries.get(message.id)
        if entry is None or not entry.asked.hold or entry.state not in (_State.APPROVED, _State.RUNNING):
            return (Reject(message.id, RequestUnknown()),)
        asked = entry.asked
        if message.count <= entry.count:
            return (Reject(message.id, AlreadyDecided()),)
        if not is_local and not is_hold_proof(
            message.proof, self.secret, digest=asked.digest, ident=asked.ident, count=message.count
        ):
            return (Reject(message.id, ProofWrong()),)
        if entry.state is _State.RUNNING and now_ns >= entry.held_until_ns:
            return ()  # too late: poll() lets it go
        if asked.needs_second and entry.second is None:
            return ()
        if entry.state is _State.RUNNING and not is_local:
            # Signs that somebody kept back and lets out one by one are no hand: they fall behind what they count.
            passed_ns = now_ns - entry.heard_ns
            told_ns = (message.count - entry.count) * HOLD_EVERY_NS
            entry.late_ns = max(0, entry.late_ns + passed_ns - passed_ns // _DRIFT - told_ns)
        entry.count, entry.heard_ns = message.count, now_ns
        if entry.late_ns >= HOLD_NS:
            return ()  # poll() lets it go
        entry.held_until_ns = now_ns + HOLD_NS
        if entry.state is _State.RUNNING:
            return ()
        entry.state = _State.RUNNING
        entry.ends_ns = now_ns + int(self.policy.longest_hold_s * 1e9)
        return (Run(asked, entry.unplugged),)

    def stop(self) -> tuple[Action, ...]:
        """The kill switch: what waits is refused, what runs is stopped, and nothing is granted until resumed."""
        self.is_stopped = True
        self._session.clear()
        actions: list[Action] = []
        for entry in self._entries.values():
            if entry.state in (_State.OPEN, _State.APPROVED):
                entry.state = _State.OVER
                actions.append(Drop(entry.asked.ident, GrantsStopped()))
            elif entry.state is _State.RUNNING:
                entry.state = _State.ENDING
                actions.append(Halt(entry.asked.ident, Why.STOP))
        return tuple(actions)

    def resume(self) -> None:
        """Requests may be granted again. Only the terminal says this."""
        self.is_stopped = False

    def poll(self, now_ns: int) -> tuple[Action, ...]:
        """Lets time pass: minutes end, hands let go."""
        actions: list[Action] = []
        for entry in self._entries.values():
            asked = entry.asked
            if entry.state is _State.OPEN and now_ns >= asked.expires_ns:
                entry.state = _State.OVER
                actions.append(Drop(asked.ident, RequestExpired(), "expired"))
            elif entry.state is _State.APPROVED and now_ns >= entry.ends_ns:
                entry.state = _State.OVER
                error = HoldMissing() if asked.hold else RequestExpired()
                actions.append(Drop(asked.ident, error, "expired"))
            elif entry.state is _State.RUNNING and asked.hold and now_ns >= min(entry.held_until_ns, entry.ends_ns):
                entry.state = _State.ENDING
                is_limit = entry.ends_ns <= entry.held_until_ns
                actions.append(Halt(asked.ident, Why.LIMIT if is_limit else Why.RELEASED))
        return tuple(actions)

    def finish(self, ident: str) -> None:
        """It was done, or could not be."""
        entry = self._entries.get(ident)
        if entry is not None:
            entry.state = _State.OVER

    # -- within ------------------------------------------------------------------------------------------------------

    def _problem(self, entry: _Entry, digest: object, decision: object, now_ns: int) -> ConsultError | None:
        """Why a decision does not count; None when it does."""
        if entry.state is not _State.OPEN:
            return AlreadyDecided()
        if now_ns >= entry.asked.expires_ns:
            return RequestExpired()
        if digest != entry.asked.digest:
            return DigestWrong()
        if decision == "session" and not self.may_last(entry.asked):
            return PolicyForbids(Text("until the end of the session", "本次会诊内一直允许"), entry.asked.risk.value)
        if decision not in ("approve", "session", "deny"):
            return MessageBroken(Text("a decision", "决定"))
        return GrantsStopped() if self.is_stopped and decision != "deny" else None

    def _granted(self, entry: _Entry, decision: str, now_ns: int, *, unplugged: bool) -> tuple[Action, ...]:
        if decision == "session":
            self._session.add((entry.asked.ecu, entry.asked.data[0]))
        return self._approve(entry, now_ns, unplugged=unplugged)

    def _approve(self, entry: _Entry, now_ns: int, *, unplugged: bool) -> tuple[Action, ...]:
        entry.state, entry.unplugged = _State.APPROVED, unplugged
        entry.ends_ns = now_ns + _HOLD_BEGINS_NS if entry.asked.hold else entry.asked.expires_ns
        if entry.asked.needs_second and entry.second is None:
            entry.ends_ns = max(entry.ends_ns, entry.asked.expires_ns)
            return (Gone(entry.asked.ident),)
        return (Gone(entry.asked.ident), *self._go(entry))

    def _go(self, entry: _Entry) -> tuple[Action, ...]:
        """Everybody who must has said yes: what is held waits for the hand, the rest is done."""
        if entry.asked.hold:
            return ()
        entry.state = _State.RUNNING
        return (Run(entry.asked, entry.unplugged),)

    def _close(self, entry: _Entry) -> tuple[Action, ...]:
        entry.state = _State.OVER
        return (Drop(entry.asked.ident, RequestExpired(), "expired"),)

    def _deny(self, entry: _Entry) -> tuple[Action, ...]:
        entry.state = _State.OVER
        return (Gone(entry.asked.ident),)

    def _post(self, asked: Asked, decision: str, *, unplugged: bool) -> tuple[Action, ...]:
        """The decision with this laptop's signature, as the room records it."""
        body = {"decision": decision, "digest": asked.digest, "unplugged": unplugged, "by": "terminal"}
        signature = self.sign(signed_bytes("decision", body)).hex()
        return (Post(Decide(asked.ident, asked.digest, decision, signature, unplugged)),)
