"""The transmit guard: nothing leaves for the vehicle that it did not allow.

It stands twice on the tester's side. Where a request is made, it parses service, sub-function, identifier and length
and opens an :class:`Exchange`; where a frame is sent, it lets through only the very bytes of an open exchange and the
flow control that an answer to one needs. Whatever the table below does not name is refused. What was sent and what
was refused is kept.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NoReturn

from dbc.errors import BadPci
from dbc.pci import FirstFrame, FlowControl, FlowStatus, SingleFrame, parse_pci
from diag.addressing import FUNCTIONAL_11, FUNCTIONAL_29, LOGICAL_GROUPS
from diag.errors import RefusedByPolicy
from diag.facts import Text, hex_from_bytes, hex_from_id
from diag.guardrules import FORBIDDEN_ROUTINES, ROUTINES, RULES, Risk, Rule, release_of
from diag.j1939gate import CLEARING, GLOBAL, TESTERS, J1939Exchange, named

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dbc.pci import IsoTpFrame
    from diag.addressing import Target

__all__ = ["RULES", "Exchange", "LogEntry", "Risk", "Rule", "TransmitGuard", "VehicleState", "judge", "named_routines"]


_DIAGNOSTIC_11: Final = range(0x700, 0x800)
_TESTER_29: Final = 0x18DA_00F1
_LOGICAL_ECUS: Final = frozenset((*range(0x0001, 0x0E00), *range(0x1000, 0x8000)))
_FILLS: Final = frozenset({0x00, 0x55, 0xAA, 0xCC, 0xFF})
"""What may follow the message in a frame: one of the usual padding bytes, and only one kind."""

_ANSWERS_PER_EXCHANGE: Final = 16
"""Long answers that one ECU may begin within one exchange; more is a storm."""

_WAITS_PER_ANSWER: Final = 10

_PART: Final = Text("part of a request", "请求的一部分")
_NOT_LEFT: Final = Text("the driver did not send it", "驱动未能发送")
_NO_CLAIM: Final = Text("claim of an address that is no tester's", "声明非诊断仪地址")
_UNKNOWN: Final = Text("an unknown request", "未知请求")
_UNKNOWN_GROUP: Final = Text("an unknown parameter group", "未知参数组")
_STRAY: Final = Text("a frame outside of any request", "不属于任何请求的帧")


@dataclass(frozen=True, slots=True)
class VehicleState:
    """What must be known before anything beyond reading. None is unknown, and unknown is not met.

    Args:
        supply_v: the 12 V supply, in volts.
    """

    speed_kmh: float | None = None
    is_charging: bool | None = None
    supply_v: float | None = None

    def unmet(self) -> Text | None:
        """The first condition that is not met; None when all are."""
        if self.speed_kmh != 0:
            return Text("the car is not known to stand still", "未确认车辆静止")
        if self.is_charging is not False:
            return Text("the car is not known not to charge", "未确认车辆未充电")
        if self.supply_v is None or self.supply_v < 12.0:
            return Text("12 V supply is unknown or low", "12 V 电源未知或偏低")
        return None


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One decision.

    ``stage`` is ``request`` or ``frame``, or ``failure`` for an allowed frame that the driver did not get out;
    ``t_ns`` is UTC.
    """

    t_ns: int
    is_allowed: bool
    stage: str
    address: str
    data: bytes
    risk: Risk
    what: Text


@dataclass(slots=True, eq=False)
class Exchange:
    """One allowed request on its way, until the guard is told that it is over.

    Args:
        sent: bytes of the payload that have left.
        sequence: number of the next consecutive frame.
        is_cleared: the ECU's flow control let the consecutive frames go.
        flows: request id of an answering ECU to the flow control frames it may still get.
        begun: long answers seen per response id.
    """

    target: Target
    payload: bytes
    risk: Risk
    sent: int = 0
    sequence: int = 1
    is_cleared: bool = False
    flows: dict[int, int] = field(default_factory=dict)
    begun: dict[int, int] = field(default_factory=dict)


class TransmitGuard:
    """Decides what may be sent, and remembers what it decided.

    Args:
        granted: classes that may be sent; reading alone unless more is given. Class B is asked for each time: besides
            the grant, every single request needs a :meth:`confirm`.
        state: of the vehicle; anything beyond reading needs it known.
        capacity: decisions kept, the oldest go first.
        clock: UTC nanoseconds, for the log.
        confirmation_s: how long a confirmation waits for its request.
        monotonic: nanoseconds of a clock that never goes back, for the confirmations.
        routines: what a workshop's policy allows beyond :data:`ROUTINES`: routine identifier to class (C or D) and
            name. Those of the safety system are refused whatever it says.

    Raises:
        ValueError: the policy names a routine of the safety system, or one of a class that is not C or D.
    """

    def __init__(
        self,
        granted: frozenset[Risk] = frozenset({Risk.READ}),
        *,
        state: VehicleState | None = None,
        capacity: int = 10_000,
        clock: Callable[[], int] = time.time_ns,
        confirmation_s: float = 60.0,
        monotonic: Callable[[], int] = time.monotonic_ns,
        routines: Mapping[int, tuple[Risk, Text]] | None = None,
    ) -> None:
        self._routines = named_routines(routines)
        self.granted = granted - {Risk.REFUSED}
        self.state = state if state is not None else VehicleState()
        self.sent = 0
        self.refused = 0
        self._log: deque[LogEntry] = deque(maxlen=capacity)
        self._clock = clock
        self._confirmation_ns = int(confirmation_s * 1e9)
        self._monotonic = monotonic
        self._open: list[Exchange] = []
        self._confirmed: dict[tuple[bytes, Target | int], int] = {}
        self._permits: dict[tuple[bytes, Target], tuple[int, bool]] = {}
        self._open_j1939: list[J1939Exchange] = []

    @property
    def log(self) -> tuple[LogEntry, ...]:
        """The latest decisions, oldest first."""
        return tuple(self._log)

    def check_request(self, payload: bytes, target: Target) -> Risk:
        """Judges a request without sending it, and says which class it is of.

        Raises:
            RefusedByPolicy: not granted, malformed, unknown, or to an identifier that is not for diagnostics.
        """
        risk, what, complaint = judge(payload, target, self._routines)
        ends_ns, is_release = self._permits.get((bytes(payload), target), (0, False))
        is_permitted = self._monotonic() < ends_ns
        if complaint is None and risk not in self.granted and not is_permitted:
            complaint = what
        needs_state = risk is not Risk.READ and not (is_permitted and is_release)
        if complaint is None and needs_state and (unmet := self.state.unmet()) is not None:
            complaint = Text(f"{what.en} ({unmet.en})", f"{what.zh}（{unmet.zh}）")
        is_asked = is_permitted or risk is not Risk.ASK_EACH_TIME or self._is_confirmed(payload, target)
        if complaint is None and not is_asked:
            complaint = Text(f"{what.en} (not confirmed this time)", f"{what.zh}（本次未确认）")
        if complaint is not None:
            self._refuse("request", target.address, payload, risk, complaint)
        return risk

    def class_of(self, payload: bytes, target: Target) -> Risk:
        """Of which class a request is, whatever is granted; nothing is logged."""
        return judge(payload, target, self._routines)[0]

    def permit(self, payload: bytes, target: Target, *, life_s: float = 10.0) -> None:
        """Lets this very request out once, whatever classes are granted: a person granted it and nothing else.

        It holds for one :meth:`open`, whatever comes of it, for a limited time. The state of the vehicle counts as
        ever, and what is refused always stays refused.
        """
        self._permits[bytes(payload), target] = self._monotonic() + int(life_s * 1e9), False

    def permit_release(self, started: bytes, target: Target, *, life_s: float = 10.0) -> bytes:
        """Lets the request out once that ends what ``started`` began, and returns it.

        It may leave whatever the car does meanwhile: an actuator that cannot be let go is worse than a wrong state.

        Raises:
            ValueError: nothing ends a request of this kind.
        """
        release = release_of(started)
        if release is None:
            raise ValueError(hex_from_bytes(started))
        self._permits[release, target] = self._monotonic() + int(life_s * 1e9), True
        return release

    def revoke(self, payload: bytes, target: Target) -> None:
        """Takes a :meth:`permit` back. What has begun to leave goes on; what only waits for the adapter is refused."""
        self._permits.pop((bytes(payload), target), None)
        for exchange in [one for one in self._open if (one.target, one.payload) == (target, payload) and not one.sent]:
            self.close(exchange)

    def confirm(self, payload: bytes, target: Target) -> None:
        """A person said yes to this very request.

        It holds for one :meth:`open`, whatever comes of it, for a limited time, and only for class B.
        """
        now = self._monotonic()
        self._confirmed = {key: ends for key, ends in self._confirmed.items() if now < ends}
        self._confirmed[bytes(payload), target] = now + self._confirmation_ns

    def confirm_j1939(self, pgn: int, destination: int) -> None:
        """The same for a request that clears codes of one J1939 unit."""
        now = self._monotonic()
        self._confirmed[pgn.to_bytes(3, "little"), destination] = now + self._confirmation_ns

    def open_claim(self, name: bytes, address: int) -> J1939Exchange:
        """Allows one claim of a tester's address.

        Raises:
            RefusedByPolicy: an address that is none of a tester's.
        """
        if address not in TESTERS or len(name) != 8 or Risk.READ not in self.granted:
            self._refuse("request", f"0x{address:02X}", name, Risk.REFUSED, _NO_CLAIM)
        exchange = J1939Exchange(None, GLOBAL, address, bytes(name))
        self._open_j1939.append(exchange)
        return exchange

    def open_j1939(self, pgn: int, destination: int, source: int) -> J1939Exchange:
        """Allows one request for a parameter group; :meth:`close_j1939` it afterwards.

        Raises:
            RefusedByPolicy: a group that the table does not name, one that clears for all units at once or without
                grant, state and confirmation, or a source that is no tester's.
        """
        payload, address = pgn.to_bytes(3, "little") if 0 <= pgn <= 0x3FFFF else b"", f"0x{destination:02X}"
        what = named(pgn)
        risk = Risk.ASK_EACH_TIME if pgn in CLEARING else Risk.READ
        if what is None or source not in TESTERS or not 0 <= destination <= 0xFF:
            self._refuse("request", address, payload, Risk.REFUSED, what or _UNKNOWN_GROUP)
        complaint = what if risk not in self.granted else None
        if complaint is None and risk is not Risk.READ:
            unmet = self.state.unmet()
            is_confirmed = self._monotonic() < self._confirmed.pop((payload, destination), 0)
            if destination == GLOBAL:
                complaint = Text(f"{what.en}, of all units at once", f"{what.zh}，面向所有控制器")
            elif unmet is not None:
                complaint = Text(f"{what.en} ({unmet.en})", f"{what.zh}（{unmet.zh}）")
            elif not is_confirmed:
                complaint = Text(f"{what.en} (not confirmed this time)", f"{what.zh}（本次未确认）")
        if complaint is not None:
            self._refuse("request", address, payload, risk, complaint)
        exchange = J1939Exchange(pgn, destination, source)
        self._open_j1939.append(exchange)
        self._note("request", address, payload, risk, what, is_allowed=True)
        return exchange

    def close_j1939(self, exchange: J1939Exchange) -> None:
        """Ends it: no frame of it leaves any more."""
        if exchange in self._open_j1939:
            self._open_j1939.remove(exchange)

    def _is_confirmed(self, payload: bytes, target: Target) -> bool:
        return self._monotonic() < self._confirmed.get((bytes(payload), target), 0)

    def open(self, payload: bytes, target: Target) -> Exchange:
        """Allows one request to be sent once, and its answer to be taken; :meth:`close` it afterwards.

        Raises:
            RefusedByPolicy: see :meth:`check_request`.
        """
        try:
            risk = self.check_request(payload, target)
        finally:
            self._confirmed.pop((bytes(payload), target), None)
            self._permits.pop((bytes(payload), target), None)
        exchange = Exchange(target, bytes(payload), risk)
        self._open.append(exchange)
        self._note("request", target.address, payload, risk, RULES[payload[0]].name, is_allowed=True)
        return exchange

    def close(self, exchange: Exchange) -> None:
        """Ends an exchange: no frame of it leaves any more. Closing twice does nothing."""
        if exchange in self._open:
            self._open.remove(exchange)

    def observe(self, can_id: int, data: bytes, *, extended: bool) -> None:
        """Sees a received frame: what it entitles this side to send next.

        A first frame that answers an open exchange earns its ECU flow control; a flow control releases the
        consecutive frames of a long request.
        """
        if extended:
            for one in self._open_j1939:
                one.sees(can_id, data)
        if not self._open or not data or data[0] >> 4 not in {1, 3}:
            return
        frame = _parse(data)
        for exchange in self._open:
            if not exchange.target.is_answered_by(can_id, extended=extended):
                continue
            if isinstance(frame, FlowControl):
                exchange.is_cleared |= exchange.sent > 0 and frame.status is FlowStatus.CONTINUE_TO_SEND
            elif isinstance(frame, FirstFrame) and frame.data[0] == exchange.payload[0] | 0x40:
                begun = exchange.begun.get(can_id, 0) + 1
                exchange.begun[can_id] = begun
                if begun <= _ANSWERS_PER_EXCHANGE and exchange.sent:
                    frames = (frame.length - len(frame.data)) // (len(data) - 1) + 1
                    exchange.flows[exchange.target.ecu(can_id).request_id] = frames + _WAITS_PER_ANSWER

    def check_frame(self, can_id: int, data: bytes, *, extended: bool = False, is_plain: bool = True) -> Risk:
        """Judges one frame about to leave, counts it as sent, and says of which class its request is.

        Args:
            can_id: where it would go.
            data: all of it.
            extended: a 29-bit identifier.
            is_plain: neither a remote nor an error frame.

        Raises:
            RefusedByPolicy: it is no part of an open exchange.
        """
        if extended and is_plain:
            group = next((one for one in self._open_j1939 if one.takes(can_id, data)), None)
            if group is not None:
                risk = Risk.ASK_EACH_TIME if group.pgn in CLEARING else Risk.READ
                self.sent += 1
                self._note("frame", hex_from_id(can_id), data, risk, _PART, is_allowed=True)
                return risk
        frame = _parse(data) if is_plain else None
        exchange = None if frame is None else self._advance(can_id, frame, data, extended=extended)
        if exchange is None:
            self._refuse("frame", hex_from_id(can_id), data, Risk.REFUSED, _STRAY)
        self.sent += 1
        self._note("frame", hex_from_id(can_id), data, exchange.risk, _PART, is_allowed=True)
        return exchange.risk

    def check_message(self, exchange: Exchange) -> None:
        """Judges a whole payload about to leave through a link that cuts it into frames itself; counts it as sent.

        Raises:
            RefusedByPolicy: its exchange is over, or its request has left already.
        """
        if exchange not in self._open or exchange.sent:
            self._refuse("frame", exchange.target.address, exchange.payload, Risk.REFUSED, _STRAY)
        exchange.sent = len(exchange.payload)
        self.sent += 1
        self._note("frame", exchange.target.address, exchange.payload, exchange.risk, _PART, is_allowed=True)

    def note_link(self, address: str, data: bytes, what: Text) -> None:
        """The link itself said something to the adapter or gateway that no ECU hears: kept in the log."""
        self._note("link", address, data, Risk.READ, what, is_allowed=True)

    def note_failure(self, can_id: int, data: bytes, risk: Risk) -> None:
        """A frame that :meth:`check_frame` had counted did not leave after all: the driver failed."""
        self.sent -= 1
        self._note("failure", hex_from_id(can_id), data, risk, _NOT_LEFT, is_allowed=True)

    def _advance(self, can_id: int, frame: IsoTpFrame, data: bytes, *, extended: bool) -> Exchange | None:
        """The open exchange of which this frame is the next one, moved on by it; None when there is none."""
        return next(
            (
                exchange
                for exchange in self._open
                if exchange.target.extended == extended and _advance(exchange, can_id, frame, data)
            ),
            None,
        )

    def _refuse(self, stage: str, address: str, data: bytes, risk: Risk, what: Text) -> NoReturn:
        self.refused += 1
        self._note(stage, address, data, risk, what, is_allowed=False)
        shown = hex_from_bytes(data[:8]) + ("…" if len(data) > 8 else "")
        named = Text(f"{shown} to {address} ({what.en})", f"发往 {address} 的 {shown}（{what.zh}）")
        raise RefusedByPolicy(named, risk.value)

    def _note(self, stage: str, address: str, data: bytes, risk: Risk, what: Text, *, is_allowed: bool) -> None:
        self._log.append(LogEntry(self._clock(), is_allowed, stage, address, bytes(data), risk, what))


def named_routines(routines: Mapping[int, tuple[Risk, Text]] | None) -> Mapping[int, Rule]:
    """The routines of a workshop's policy as rules, beside :data:`ROUTINES`.

    Raises:
        ValueError: one of the safety system, or of a class that is not C or D.
    """
    for rid, (risk, _) in (routines or {}).items():
        if rid in FORBIDDEN_ROUTINES or risk not in {Risk.ACTUATE, Risk.ALTER} or not 0 <= rid <= 0xFFFF:
            raise ValueError(f"routine {rid:04X}, class {risk}")
    return {**{rid: Rule(risk, name, range(4, 258)) for rid, (risk, name) in (routines or {}).items()}, **ROUTINES}


def judge(payload: bytes, target: Target, routines: Mapping[int, Rule] = ROUTINES) -> tuple[Risk, Text, Text | None]:
    """Class, name, and why it is refused whatever was granted (None when it is not). Nothing is logged."""
    if not payload or payload[0] not in RULES:
        return Risk.REFUSED, _UNKNOWN, _UNKNOWN
    rule = RULES[payload[0]]
    if payload[0] == 0x31:
        rule = _routine(payload, routines) or rule
    elif rule.subs:
        if len(payload) < 2 or payload[1] & 0x7F not in rule.subs:
            return Risk.REFUSED, rule.name, Text(f"{rule.name.en}, unknown kind", f"{rule.name.zh}，未知子功能")
        rule = rule.subs[payload[1] & 0x7F]
    if rule.risk is Risk.REFUSED:
        return rule.risk, rule.name, rule.name
    if len(payload) not in rule.lengths:
        return Risk.REFUSED, rule.name, Text(f"{rule.name.en}, wrong length", f"{rule.name.zh}，长度错误")
    place = _place_complaint(target, rule)
    return (rule.risk if place is None else Risk.REFUSED), rule.name, place


def _routine(payload: bytes, routines: Mapping[int, Rule]) -> Rule | None:
    if len(payload) < 4 or payload[1] & 0x7F not in {1, 2, 3}:
        return None
    rid = payload[2] << 8 | payload[3]
    return None if rid in FORBIDDEN_ROUTINES else routines.get(rid)


def _place_complaint(target: Target, rule: Rule) -> Text | None:
    """Why nothing of this kind may go to this identifier; None when it may."""
    if target.logical:
        is_known = target.request_id in _LOGICAL_ECUS or target.request_id in LOGICAL_GROUPS
    elif target.extended:
        is_known = target.request_id & ~0xFF00 == _TESTER_29 or target.request_id == FUNCTIONAL_29
    else:
        is_known = target.request_id in _DIAGNOSTIC_11
    is_echo = target.request_id == target.response_id and not target.logical
    if not is_known or not target.is_consistent or is_echo:
        return Text("an identifier that is not for diagnostics", "非诊断用标识符")
    if not target.extended and not target.logical and 0x7E8 <= target.request_id <= 0x7EF:
        return Text("an identifier on which ECUs answer", "ECU 应答用标识符")
    if target.is_functional and not rule.is_functional:
        return Text(f"{rule.name.en}, to all ECUs at once", f"{rule.name.zh}，面向所有 ECU")
    return None


def _parse(data: bytes) -> IsoTpFrame | None:
    try:
        return parse_pci(data)
    except BadPci:
        return None


def _is_padding(rest: bytes) -> bool:
    return not rest or (rest[0] in _FILLS and rest.count(rest[0]) == len(rest))


def _advance(exchange: Exchange, can_id: int, frame: IsoTpFrame, data: bytes) -> bool:
    """Whether the frame is the next of this exchange; if it is, the exchange moves on."""
    if isinstance(frame, FlowControl):
        budget = 0 if can_id in {FUNCTIONAL_11, FUNCTIONAL_29} else exchange.flows.get(can_id, 0)
        if not budget or not _is_padding(data[3:]):
            return False
        exchange.flows[can_id] = budget - 1
        return True
    target, payload, sent = exchange.target, exchange.payload, exchange.sent
    if can_id != target.request_id:
        return False
    if isinstance(frame, SingleFrame):
        is_next = sent == 0 and frame.data == payload and _is_padding(data[(1 if data[0] else 2) + len(payload) :])
        exchange.sent = len(payload) if is_next else sent
    elif isinstance(frame, FirstFrame):
        is_next = sent == 0 and not target.is_functional and frame.length == len(payload)
        is_next = is_next and payload.startswith(frame.data)
        exchange.sent = len(frame.data) if is_next else sent
    else:
        part = payload[sent : sent + len(frame.data)]
        is_next = exchange.is_cleared and sent > 0 and bool(part) and frame.sequence == exchange.sequence
        is_next = is_next and frame.data.startswith(part) and _is_padding(frame.data[len(part) :])
        exchange.sent = sent + len(part) if is_next else sent
        exchange.sequence = (exchange.sequence + is_next) & 0x0F
    return is_next
