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
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NoReturn

from dbc.errors import BadPci
from dbc.pci import FirstFrame, FlowControl, FlowStatus, SingleFrame, parse_pci
from diag.addressing import FUNCTIONAL_11, FUNCTIONAL_29, LOGICAL_GROUPS
from diag.errors import RefusedByPolicy
from diag.facts import Text, hex_from_bytes, hex_from_id

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from dbc.pci import IsoTpFrame
    from diag.addressing import Target

__all__ = ["RULES", "Exchange", "LogEntry", "Risk", "Rule", "TransmitGuard", "VehicleState"]


class Risk(StrEnum):
    """What a request can do to car and people."""

    READ = "A"
    ASK_EACH_TIME = "B"
    ACTUATE = "C"
    ALTER = "D"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Rule:
    """One service, or one of its sub-functions.

    Args:
        lengths: whole request in bytes, service id included.
        subs: by sub-function without the suppress bit; a sub-function that is not there is refused.
        is_functional: whether it may go to all ECUs at once.
    """

    risk: Risk
    name: Text
    lengths: Collection[int] = ()
    subs: Mapping[int, Rule] = field(default_factory=dict)
    is_functional: bool = False


def _rule(risk: Risk, en: str, zh: str, lengths: Collection[int], *, functional: bool = False) -> Rule:
    return Rule(risk, Text(en, zh), lengths, is_functional=functional)


def _by_sub(
    en: str, zh: str, subs: Mapping[int, tuple[Risk, Collection[int]]], *, functional: Collection[int] = ()
) -> Rule:
    """A service whose risk depends on its sub-function: ``{sub: (risk, lengths)}``; ``functional`` names subs."""
    name = Text(en, zh)
    rules = {sub: Rule(risk, name, lengths, is_functional=sub in functional) for sub, (risk, lengths) in subs.items()}
    return Rule(Risk.REFUSED, name, subs=rules)


_A, _B, _C, _D, _NO = Risk.READ, Risk.ASK_EACH_TIME, Risk.ACTUATE, Risk.ALTER, Risk.REFUSED
_LONGEST: Final = 4095
_TO_THE_END: Final = range(3, _LONGEST + 1)

RULES: Final[Mapping[int, Rule]] = {
    0x01: _rule(_A, "current data", "读当前数据", range(2, 8), functional=True),
    0x02: _rule(_A, "freeze frame", "读冻结帧", (3, 5, 7), functional=True),
    0x03: _rule(_A, "confirmed codes", "读已确认故障码", (1,), functional=True),
    0x04: _rule(_B, "clear emission-related codes", "清除排放相关故障码", (1,), functional=True),
    0x06: _rule(_A, "monitor results", "读监测结果", range(2, 8), functional=True),
    0x07: _rule(_A, "pending codes", "读待定故障码", (1,), functional=True),
    0x08: _rule(_NO, "control of an on-board system", "控制车载系统", ()),
    0x09: _rule(_A, "vehicle information", "读车辆信息", range(2, 8), functional=True),
    0x0A: _rule(_A, "permanent codes", "读永久故障码", (1,), functional=True),
    0x10: _by_sub(
        "change of session", "切换会话", {0x01: (_A, (2,)), 0x02: (_D, (2,)), 0x03: (_B, (2,))}, functional=(1, 3)
    ),
    0x11: _by_sub("ECU reset", "ECU 复位", dict.fromkeys(range(1, 6), (_C, (2,)))),
    0x14: _rule(_B, "clear codes", "清除故障码", (4, 5), functional=True),
    0x19: _by_sub(
        "read codes",
        "读故障码",
        {
            **dict.fromkeys((1, 2, 15, 17, 18, 19), (_A, (3,))),
            **dict.fromkeys((3, 10, 11, 12, 13, 14, 20, 21), (_A, (2,))),
            **dict.fromkeys((4, 6, 16), (_A, (6,))),
            **dict.fromkeys((5, 22, 26, 85), (_A, (3,))),
            **dict.fromkeys((7, 8, 23, 86), (_A, (4,))),
            **dict.fromkeys((24, 25), (_A, (7,))),
            0x09: (_A, (5,)),
            0x42: (_A, (5,)),
        },
        functional=range(0x80),
    ),
    0x22: _rule(_A, "read data by identifier", "按标识符读数据", range(3, 2 * 32 + 2, 2), functional=True),
    0x23: _rule(_B, "read memory", "读内存", range(4, 34)),
    0x24: _rule(_A, "read scaling", "读标度数据", (3,)),
    0x27: _by_sub(
        "security access", "安全访问", {sub: (_D, range(2, 258)) for sub in (*range(0x01, 0x43), *range(0x61, 0x7F))}
    ),
    0x28: _by_sub(
        "communication control",
        "通信控制",
        {**dict.fromkeys(range(4), (_B, (3,))), **dict.fromkeys((4, 5), (_B, (5,)))},
    ),
    0x29: _by_sub("authentication", "身份认证", {sub: (_D, range(2, _LONGEST + 1)) for sub in range(9)}),
    0x2A: _by_sub("periodic data", "周期数据", {sub: (_B, range(2, 258)) for sub in range(1, 5)}),
    0x2C: _by_sub("dynamic identifiers", "动态定义标识符", {sub: (_B, range(2, 258)) for sub in range(1, 4)}),
    0x2E: _rule(_D, "write data by identifier", "按标识符写数据", range(4, _LONGEST + 1)),
    0x2F: _rule(_C, "control of an input or output", "输入输出控制", range(4, 258)),
    0x31: Rule(_NO, Text("routine", "例程")),
    0x34: _rule(_D, "download", "下载", _TO_THE_END),
    0x35: _rule(_D, "upload", "上传", _TO_THE_END),
    0x36: _rule(_D, "transfer of data", "传输数据", range(2, _LONGEST + 1)),
    0x37: _rule(_D, "end of transfer", "结束传输", range(1, _LONGEST + 1)),
    0x38: _rule(_D, "file transfer", "文件传输", _TO_THE_END),
    0x3D: _rule(_D, "write memory", "写内存", _TO_THE_END),
    0x3E: _by_sub("tester present", "诊断仪在线", {0x00: (_A, (2,))}, functional=(0,)),
    0x85: _by_sub("control of code setting", "故障码设置控制", {sub: (_B, range(2, 258)) for sub in (1, 2)}),
}
"""Every request that is known, by service id. Not there means refused: 83, 84, 86, 87 and all that makers invent.

27 5F and 60 (pyrotechnics) are left out of the sub-functions of 27 on purpose, and 31 names none: a routine is
allowed by :data:`ROUTINES` alone.
"""

ROUTINES: Final[Mapping[int, Rule]] = {}
"""Routine identifier to rule. Empty: no routine has been shown harmless on any car yet; a workshop's policy names those
of its maker to :class:`TransmitGuard`. Those that move contactors or end high voltage, and E200 to E2FF (safety
system), never belong here."""

_FORBIDDEN_ROUTINES: Final = range(0xE200, 0xE300)

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
        for rid, (risk, _) in (routines or {}).items():
            if rid in _FORBIDDEN_ROUTINES or risk not in {Risk.ACTUATE, Risk.ALTER} or not 0 <= rid <= 0xFFFF:
                raise ValueError(f"routine {rid:04X}, class {risk}")
        named = {rid: Rule(risk, name, range(4, 258)) for rid, (risk, name) in (routines or {}).items()}
        self._routines: Mapping[int, Rule] = {**named, **ROUTINES}
        self.granted = granted - {Risk.REFUSED}
        self.state = state if state is not None else VehicleState()
        self.sent = 0
        self.refused = 0
        self._log: deque[LogEntry] = deque(maxlen=capacity)
        self._clock = clock
        self._confirmation_ns = int(confirmation_s * 1e9)
        self._monotonic = monotonic
        self._open: list[Exchange] = []
        self._confirmed: dict[tuple[bytes, Target], int] = {}

    @property
    def log(self) -> tuple[LogEntry, ...]:
        """The latest decisions, oldest first."""
        return tuple(self._log)

    def check_request(self, payload: bytes, target: Target) -> Risk:
        """Judges a request without sending it, and says which class it is of.

        Raises:
            RefusedByPolicy: not granted, malformed, unknown, or to an identifier that is not for diagnostics.
        """
        risk, what, complaint = _judge(payload, target, self._routines)
        if complaint is None and risk not in self.granted:
            complaint = what
        if complaint is None and risk is not Risk.READ and (unmet := self.state.unmet()) is not None:
            complaint = Text(f"{what.en} ({unmet.en})", f"{what.zh}（{unmet.zh}）")
        if complaint is None and risk is Risk.ASK_EACH_TIME and not self._is_confirmed(payload, target):
            complaint = Text(f"{what.en} (not confirmed this time)", f"{what.zh}（本次未确认）")
        if complaint is not None:
            self._refuse("request", target.address, payload, risk, complaint)
        return risk

    def confirm(self, payload: bytes, target: Target) -> None:
        """A person said yes to this very request.

        It holds for one :meth:`open`, whatever comes of it, for a limited time, and only for class B.
        """
        now = self._monotonic()
        self._confirmed = {key: ends for key, ends in self._confirmed.items() if now < ends}
        self._confirmed[bytes(payload), target] = now + self._confirmation_ns

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


def _judge(payload: bytes, target: Target, routines: Mapping[int, Rule]) -> tuple[Risk, Text, Text | None]:
    """Class, name, and why it is refused whatever was granted (None when it is not)."""
    unknown = Text("an unknown request", "未知请求")
    if not payload or payload[0] not in RULES:
        return Risk.REFUSED, unknown, unknown
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
    return None if rid in _FORBIDDEN_ROUTINES else routines.get(rid)


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
