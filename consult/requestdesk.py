"""The service's desk for requests to the car: who may ask what, how long it waits, and what became of it.

It grants nothing. It keeps out what nobody could grant, shows the rest to the technician, and writes down who decided;
the laptop looks at everything again by itself (:mod:`consult.grants`). No I/O and no clock: times are arguments.

==========  ===============================================  ===========================
state       what may come                                    then
==========  ===============================================  ===========================
open        decision, second, withdraw, expiry, result       decided, over
decided     second, result                                   over
over        a result of the car, where it had expired        over
==========  ===============================================  ===========================
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol

from consult.errors import MessageBroken, RoleRefused, TooMuch
from consult.granterrors import (
    AlreadyDecided,
    CarAway,
    DigestWrong,
    EcuUnknown,
    NeverGranted,
    PolicyForbids,
    RequestExpired,
    RequestUnknown,
    SecondRefused,
)
from consult.invites import Role
from consult.messages import Result, Seen
from consult.remotepolicy import RemotePolicy, needs_hold, policy_from_allows
from consult.reportecus import targets_from_report
from consult.requestnames import name_of_request
from consult.requestproof import request_digest
from diag.facts import Text
from diag.guard import judge
from diag.guardrules import Risk

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from consult.messages import Ask, Decide, Stop, Withdraw
    from diag.addressing import Target

__all__ = ["REQUEST_LIFE_US", "SERVICE_PERSON", "RequestDesk", "Teller"]

REQUEST_LIFE_US: Final = 60_000_000
_MAX_REASON_CHARS: Final = 500
_MAX_ID_CHARS: Final = 48
_MAX_OPEN: Final = 6
_MAX_OPEN_EACH: Final = 3
_MAX_REMEMBERED: Final = 2_000
_WAITS_FOR_RESULT_US: Final = 60_000_000
"""A granted request without a result counts as waiting for this long after its minute."""

SERVICE_PERSON: Final[dict[str, Any]] = {"id": 0, "role": "service", "name": ""}


class Teller(Protocol):
    """How something becomes an event of the room; see :meth:`consult.room.Room.happen`."""

    def __call__(
        self,
        kind: str,
        who: dict[str, Any],
        now_us: int,
        *,
        ident: str = "",
        text: str = "",
        body: dict[str, Any] | None = None,
    ) -> None:
        """Numbers, keeps and tells it."""
        ...


class _State(StrEnum):
    OPEN = "open"
    DECIDED = "decided"
    EXPIRED = "expired"
    OVER = "over"


@dataclass(slots=True)
class _Request:
    ident: str
    asker: int
    risk: str
    digest: str
    expires_us: int
    state: _State = _State.OPEN
    seconded: bool = False
    seen: bool = False
    decided_by_laptop: bool = False
    has_result: bool = False


@dataclass(slots=True)
class RequestDesk:
    """The requests of one room.

    Args:
        room: its name.
        tell: makes an event of what happens.
    """

    room: str
    tell: Teller
    allows: Mapping[str, Any] = field(default_factory=dict)
    is_stopped: bool = False
    _targets: dict[str, Target] = field(default_factory=dict)
    _policy: RemotePolicy = field(default_factory=lambda: policy_from_allows({}))
    _requests: dict[str, _Request] = field(default_factory=dict)

    def meet_car(self, report: Mapping[str, Any], allows: Mapping[str, Any]) -> None:
        """The laptop is here: which ECUs its report names, and what its policy may grant."""
        self._targets = targets_from_report(report)
        self.allows, self._policy = allows, policy_from_allows(allows)

    # -- experts -----------------------------------------------------------------------------------------------------

    def ask(self, ask: Ask, who: dict[str, Any], role: Role, now_us: int, *, is_car_here: bool) -> None:
        """Somebody asks. The same ``id`` of the same person again is no new request.

        Raises:
            RoleRefused: only experts ask.
            MessageBroken: no id, no reason, or held what cannot be let go.
            CarAway, EcuUnknown, NeverGranted, PolicyForbids: nobody could grant it.
            TooMuch: too many wait already.
        """
        if not role.may_ask:
            raise RoleRefused(role.value)
        if not 0 < len(ask.id) <= _MAX_ID_CHARS or not ask.text.strip() or len(ask.text) > _MAX_REASON_CHARS:
            raise MessageBroken(Text("a request needs an id and a reason", "请求需要编号和理由"))
        known = self._requests.get(ask.id)
        if known is not None:
            if known.asker == who["id"]:
                return
            raise AlreadyDecided
        if not is_car_here:
            raise CarAway
        ecu = "0x" + ask.ecu[2:].upper() if ask.ecu[:2].lower() == "0x" else ask.ecu
        if ecu not in self._targets:
            raise EcuUnknown(ask.ecu)
        data = bytes.fromhex(ask.data)
        risk, name, complaint = judge(data, self._targets[ecu], self._policy.rules)
        if complaint is not None:
            raise NeverGranted(complaint)
        if not self._policy.allows(ecu, data, risk):
            raise PolicyForbids(name, risk.value)
        hold = needs_hold(data, risk)
        if ask.hold and not hold:
            raise MessageBroken(Text("nothing ends this request, so it cannot be held", "此请求无法结束，不能按住执行"))
        self._make_room(who["id"], now_us)
        digest = request_digest(self.room, ask.id, ecu, data, hold=hold, risk=risk.value)
        request = _Request(ask.id, who["id"], risk.value, digest, now_us + REQUEST_LIFE_US)
        self._requests[ask.id] = request
        body = {
            "ecu": ecu,
            "data": data.hex().upper(),
            "risk": risk.value,
            "name": name_of_request(data, name).to_json(),
            "hold": hold,
            "digest": digest,
            "expires_us": request.expires_us,
            "seconds": int(risk is Risk.ALTER),
        }
        self.tell("request", who, now_us, ident=ask.id, text=ask.text.strip(), body=body)

    def _make_room(self, person: int, now_us: int) -> None:
        waiting = [
            one
            for one in self._requests.values()
            if one.state in (_State.OPEN, _State.DECIDED) and now_us < one.expires_us + _WAITS_FOR_RESULT_US
        ]
        if sum(one.asker == person for one in waiting) >= _MAX_OPEN_EACH:
            raise TooMuch(Text("requests of one person that wait", "同一人待处理的请求"), str(_MAX_OPEN_EACH))
        if len(waiting) >= _MAX_OPEN:
            raise TooMuch(Text("requests that wait", "待处理的请求"), str(_MAX_OPEN))
        if len(self._requests) >= _MAX_REMEMBERED:
            raise TooMuch(Text("requests in one room", "同一会诊室的请求"), str(_MAX_REMEMBERED))

    def withdraw(self, message: Withdraw, who: dict[str, Any], role: Role, now_us: int) -> None:
        """Who asked, or the lead, does not want it any more.

        Raises:
            RequestUnknown, AlreadyDecided: it does not wait.
            RoleRefused: it is somebody else's.
        """
        request = self._find(message.id)
        if request.asker != who["id"] and role is not Role.LEAD:
            raise RoleRefused(role.value)
        if request.state is not _State.OPEN:
            raise AlreadyDecided
        request.state = _State.OVER
        self.tell("withdraw", who, now_us, ident=message.id)

    # -- decisions ---------------------------------------------------------------------------------------------------

    def decide(self, message: Decide, who: dict[str, Any], role: Role, now_us: int) -> None:
        """A page decides: the technician's, or for ``second`` another expert's.

        Raises:
            RoleRefused: the role does not decide.
            RequestUnknown, RequestExpired, AlreadyDecided, DigestWrong, SecondRefused: it does not count.
        """
        request = self._find(message.id)
        if message.decision == "second":
            self._second(request, who, role, message.digest)
        else:
            if role is not Role.TECHNICIAN:
                raise RoleRefused(role.value)
            self._need_open(request, now_us)
            if message.digest != request.digest:
                raise DigestWrong
            if message.decision == "session" and request.risk != Risk.READ:
                raise PolicyForbids(Text("until the end of the session", "本次会诊内一直允许"), request.risk)
            request.state = _State.OVER if message.decision == "deny" else _State.DECIDED
        body = {
            "decision": message.decision,
            "digest": message.digest,
            "unplugged": message.unplugged,
            "by": "page",
            "proof": message.proof,
        }
        self.tell("decision", who, now_us, ident=message.id, body=body)

    def _second(self, request: _Request, who: dict[str, Any], role: Role, digest: str) -> None:
        if not role.may_ask:
            raise RoleRefused(role.value)
        if request.state not in (_State.OPEN, _State.DECIDED):
            raise RequestUnknown
        if request.risk != Risk.ALTER or who["id"] == request.asker:
            raise SecondRefused
        if request.seconded:
            raise AlreadyDecided
        if digest != request.digest:
            raise DigestWrong
        request.seconded = True

    def _need_open(self, request: _Request, now_us: int) -> None:
        if request.state is _State.EXPIRED or (request.state is _State.OPEN and now_us >= request.expires_us):
            raise RequestExpired
        if request.state is not _State.OPEN:
            raise AlreadyDecided

    def may_hold(self, ident: str, role: Role) -> bool:
        """Whether a sign of a held button is to be passed on to the laptop."""
        request = self._requests.get(ident)
        return role is Role.TECHNICIAN and request is not None and request.state is _State.DECIDED

    def stop(self, message: Stop, who: dict[str, Any], now_us: int, *, is_laptop: bool) -> None:
        """Everything stops; the laptop alone lifts it again.

        Raises:
            RoleRefused: somebody else wants to resume.
        """
        if message.resume and not is_laptop:
            raise RoleRefused(str(who.get("role")))
        if not message.resume:
            for request in self._requests.values():
                if request.state is _State.OPEN:
                    request.state = _State.DECIDED  # the laptop's word on it is under way
        self.is_stopped = not message.resume
        body = {"stopped": self.is_stopped}
        self.tell("stop", who, now_us, text=message.text.strip(), body=body)

    # -- the laptop --------------------------------------------------------------------------------------------------

    def hear_laptop(self, message: Decide | Seen | Result, who: dict[str, Any], now_us: int) -> bool:
        """What the laptop says of a request; False where it is not taken, so that it need not be said again."""
        match message:
            case Seen():
                return self._hear_seen(message, who, now_us)
            case Result():
                return self._hear_result(message, who, now_us)
        return self._hear_decision(message, who, now_us)

    def _hear_seen(self, message: Seen, who: dict[str, Any], now_us: int) -> bool:
        """The laptop's own view of a request, once."""
        request = self._requests.get(message.id)
        if request is None or request.seen:
            return False
        request.seen = True
        self.tell("seen", who, now_us, ident=message.id, body=message.body)
        return True

    def _hear_decision(self, message: Decide, who: dict[str, Any], now_us: int) -> bool:
        """The laptop's technician decided in the terminal.

        It is written down once, however late: it counted there and then, whatever the room thought meanwhile.
        """
        request = self._requests.get(message.id)
        if request is None or request.decided_by_laptop or message.decision == "second":
            return False
        request.decided_by_laptop = True
        if request.state is not _State.OVER:
            request.state = _State.OVER if message.decision == "deny" else _State.DECIDED
        body = {
            "decision": message.decision,
            "digest": message.digest,
            "unplugged": message.unplugged,
            "by": "terminal",
            "sig": message.proof,
        }
        self.tell("decision", who, now_us, ident=message.id, body=body)
        return True

    def _hear_result(self, message: Result, who: dict[str, Any], now_us: int) -> bool:
        """What became of a request at the car. What really happened is told also where the room had closed it."""
        request = self._requests.get(message.id)
        is_closed = request is not None and request.state in (_State.OVER, _State.EXPIRED)
        is_real = message.outcome in ("done", "failed", "stopped")
        if request is None or request.has_result or (is_closed and not is_real):
            return False
        request.has_result, request.state = True, _State.OVER
        self.tell("result", who, now_us, ident=message.id, body={**message.body, "outcome": message.outcome})
        return True

    def poll(self, now_us: int) -> None:
        """Lets time pass: what nobody decided on expires."""
        for request in self._requests.values():
            if request.state is _State.OPEN and now_us >= request.expires_us:
                request.state = _State.EXPIRED
                body = {"outcome": "expired", "code": RequestExpired.code}
                self.tell("result", SERVICE_PERSON, now_us, ident=request.ident, body=body)

    def restore(self, events: Iterable[Mapping[str, Any]]) -> None:
        """The requests that stand after some events of the journal."""
        for event in events:
            kind, body, request = event["kind"], event["body"], self._requests.get(event["id"])
            if kind == "request":
                self._requests[event["id"]] = _Request(
                    event["id"], event["who"]["id"], body["risk"], body["digest"], body["expires_us"]
                )
            elif kind == "stop":
                self.is_stopped = bool(body.get("stopped"))
            elif request is None:
                continue
            elif kind == "withdraw":
                request.state = _State.OVER
            elif kind == "seen":
                request.seen = True
            elif kind == "decision" and body["decision"] == "second":
                request.seconded = True
            elif kind == "decision":
                request.decided_by_laptop |= body.get("by") == "terminal"
                if request.state is not _State.OVER:
                    request.state = _State.OVER if body["decision"] == "deny" else _State.DECIDED
            elif kind == "result" and event["who"]["id"] == SERVICE_PERSON["id"]:
                request.state = _State.EXPIRED
            elif kind == "result":
                request.has_result, request.state = True, _State.OVER

    def _find(self, ident: str) -> _Request:
        request = self._requests.get(ident)
        if request is None:
            raise RequestUnknown
        return request
