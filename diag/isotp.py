"""ISO-TP as two state machines, one per direction: bytes and the time in, events out. No bus, no clock, no waiting.

A :class:`Receiver` puts the frames of one sender together; a :class:`Sender` cuts one message up and keeps to the flow
control it gets. What each state does with each kind of frame stands in two literal tables. Whatever arrives, only the
events declared here come out: a message that was cut keeps the bytes that did come.

Standard: ISO 15765-2:2016 §9.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, cast

from dbc.errors import BadPci
from dbc.pci import (
    ConsecutiveFrame,
    FirstFrame,
    FlowControl,
    FlowStatus,
    IsoTpFrame,
    SingleFrame,
    pad,
    parse_pci,
    segment,
)
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "Event",
    "IsoTpSettings",
    "PayloadCut",
    "PayloadReceived",
    "PayloadSent",
    "Receiver",
    "SendFrame",
    "Sender",
    "TransferFailed",
]


@dataclass(frozen=True, slots=True)
class SendFrame:
    """This frame is to be sent now, padded already."""

    data: bytes


@dataclass(frozen=True, slots=True)
class PayloadReceived:
    """A whole message arrived."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class PayloadCut:
    """A message began and will not be completed.

    Args:
        partial: the bytes that came, from the first on, without a gap.
        missing: how many more were announced.
        is_replaced: the peer began another message instead, which may be the same one anew.
    """

    partial: bytes
    missing: int
    reason: Text
    is_replaced: bool = False


@dataclass(frozen=True, slots=True)
class PayloadSent:
    """The last frame of the message was handed out."""


@dataclass(frozen=True, slots=True)
class TransferFailed:
    """The message cannot be sent to its end."""

    reason: Text


Event = SendFrame | PayloadReceived | PayloadCut | PayloadSent | TransferFailed


@dataclass(frozen=True, slots=True)
class IsoTpSettings:
    """The parameters of one connection.

    Args:
        block_size: consecutive frames the peer may send until the next flow control; 0 is no limit.
        stmin: separation time byte we ask of the peer.
        can_dl: largest frame in bytes: 8, or a CAN FD length.
        fill: padding byte; None sends short frames as short as they are (FD: the next possible length).
        n_bs_ns: how long to wait for the peer's flow control.
        n_cr_ns: how long to wait for the peer's next consecutive frame.
        wait_limit: flow controls WAIT in a row that are borne (N_WFTmax).
        max_length: longest message taken; a longer one is answered with OVERFLOW.
        message_ns: how long a message may take from its first frame to its last; a peer that uses up nearly all of
            ``n_cr_ns`` before each frame would otherwise hold a request for many minutes.

    Standard: ISO 15765-2:2016 §9.8 (times); ISO 15765-4:2021 has shorter ones for emissions, which gateways break.
    """

    block_size: int = 0
    stmin: int = 0
    can_dl: int = 8
    fill: int | None = 0xCC
    n_bs_ns: int = 1_000_000_000
    n_cr_ns: int = 1_000_000_000
    wait_limit: int = 10
    max_length: int = 1 << 16
    message_ns: int = 20_000_000_000

    def padded(self, frame: IsoTpFrame) -> bytes:
        """The bytes of a frame as they go onto the bus."""
        data = frame.encode()
        if self.fill is None:
            return pad(data, can_dl=0, fill=0xCC)
        return pad(data, can_dl=8, fill=self.fill)


_DEFAULT: Final = IsoTpSettings()

_SEQUENCE: Final = Text("a frame was lost or came twice", "丢帧或重复帧")
_SILENCE: Final = Text("the next part did not come in time", "后续帧超时")
_TOO_SLOW: Final = Text("the message took too long as a whole", "整条报文耗时过长")
_SHORT: Final = Text("a frame in the middle was not full", "中间帧未填满")
_RESTARTED: Final = Text("another message began before the end", "未收完又开始新报文")
_OVERLONG: Final = Text("longer than this side takes", "超过本端可接收的长度")


_RESERVED: Final = Text("flow control with a reserved status", "流控帧状态为保留值")


class _Rx(Enum):
    IDLE = auto()
    RECEIVING = auto()


class Receiver:
    """Puts the messages of one peer together.

    Args:
        settings: of this connection.
    """

    def __init__(self, settings: IsoTpSettings = _DEFAULT) -> None:
        self.deadline_ns: int | None = None
        self._settings = settings
        self._state = _Rx.IDLE
        self._buffer = bytearray()
        self._length = 0
        self._sequence = 0
        self._left_in_block = 0
        self._part_size = 0
        self._ends_ns = 0

    @property
    def is_receiving(self) -> bool:
        """A message has begun and is not complete."""
        return self._state is _Rx.RECEIVING

    def receive(self, data: bytes, now_ns: int) -> tuple[Event, ...]:
        """Takes one frame of the peer. Frames that are no ISO-TP, and flow control, are ignored as the standard asks.

        Args:
            data: the frame's payload.
            now_ns: time in nanoseconds, any clock that never goes back.
        """
        late = self.poll(now_ns)
        try:
            frame = parse_pci(data)
        except BadPci:
            return late
        if isinstance(frame, FirstFrame):
            self._part_size = len(data) - 1
        action = _RECEIVER_TABLE[self._state].get(type(frame))
        return late if action is None else late + action(self, frame, now_ns)

    def poll(self, now_ns: int) -> tuple[Event, ...]:
        """Lets time pass: a message whose next part is overdue is cut."""
        if self.deadline_ns is None or now_ns < self.deadline_ns:
            return ()
        return self._cut(_TOO_SLOW if now_ns >= self._ends_ns else _SILENCE)

    def abort(self, reason: Text) -> tuple[Event, ...]:
        """Gives up a running message for a reason of the caller."""
        return self._cut(reason) if self.is_receiving else ()

    def _single(self, frame: IsoTpFrame, _now_ns: int) -> tuple[Event, ...]:
        return (PayloadReceived(cast(SingleFrame, frame).data),)

    def _single_instead(self, frame: IsoTpFrame, now_ns: int) -> tuple[Event, ...]:
        return (*self._cut(_RESTARTED), *self._single(frame, now_ns))

    def _first(self, frame: IsoTpFrame, now_ns: int) -> tuple[Event, ...]:
        first = cast(FirstFrame, frame)
        if first.length > self._settings.max_length:
            overflow = FlowControl(FlowStatus.OVERFLOW)
            cut = PayloadCut(first.data, first.length - len(first.data), _OVERLONG)
            return SendFrame(self._settings.padded(overflow)), cut
        self._state = _Rx.RECEIVING
        self._buffer = bytearray(first.data)
        self._length, self._sequence = first.length, 1
        self._ends_ns = now_ns + self._settings.message_ns
        return self._continue(now_ns)

    def _first_instead(self, frame: IsoTpFrame, now_ns: int) -> tuple[Event, ...]:
        return (*self._cut(_RESTARTED), *self._first(frame, now_ns))

    def _consecutive(self, frame: IsoTpFrame, now_ns: int) -> tuple[Event, ...]:
        part = cast(ConsecutiveFrame, frame)
        if part.sequence != self._sequence:
            return self._cut(_SEQUENCE)
        if len(part.data) < min(self._part_size, self._length - len(self._buffer)):
            return self._cut(_SHORT)  # nobody can say where its bytes belong
        self._buffer += part.data[: self._length - len(self._buffer)]
        self._sequence = (self._sequence + 1) & 0x0F
        if len(self._buffer) == self._length:
            payload = bytes(self._buffer)
            self._rest()
            return (PayloadReceived(payload),)
        self._await_part(now_ns)
        if self._settings.block_size == 0:
            return ()
        self._left_in_block -= 1
        return () if self._left_in_block else self._continue(now_ns)

    def _continue(self, now_ns: int) -> tuple[Event, ...]:
        self._left_in_block = self._settings.block_size
        self._await_part(now_ns)
        flow = FlowControl(FlowStatus.CONTINUE_TO_SEND, self._settings.block_size, self._settings.stmin)
        return (SendFrame(self._settings.padded(flow)),)

    def _await_part(self, now_ns: int) -> None:
        self.deadline_ns = min(now_ns + self._settings.n_cr_ns, self._ends_ns)

    def _cut(self, reason: Text) -> tuple[Event, ...]:
        missing = self._length - len(self._buffer)
        cut = PayloadCut(bytes(self._buffer), missing, reason, is_replaced=reason is _RESTARTED)
        self._rest()
        return (cut,)

    def _rest(self) -> None:
        self._state, self.deadline_ns = _Rx.IDLE, None
        self._buffer = bytearray()


_RECEIVER_TABLE: Final[
    Mapping[_Rx, Mapping[type[IsoTpFrame], Callable[[Receiver, IsoTpFrame, int], tuple[Event, ...]]]]
] = {
    _Rx.IDLE: {
        SingleFrame: Receiver._single,  # noqa: SLF001 - the table is part of the class
        FirstFrame: Receiver._first,  # noqa: SLF001
    },
    _Rx.RECEIVING: {
        SingleFrame: Receiver._single_instead,  # noqa: SLF001
        FirstFrame: Receiver._first_instead,  # noqa: SLF001
        ConsecutiveFrame: Receiver._consecutive,  # noqa: SLF001
    },
}
"""A kind of frame that is not there is ignored. Standard: ISO 15765-2:2016 §9.8.3, Table 23."""


class _Tx(Enum):
    IDLE = auto()
    WAITING = auto()
    SENDING = auto()


class Sender:
    """Sends one message at a time to one peer.

    Args:
        settings: of this connection.
    """

    def __init__(self, settings: IsoTpSettings = _DEFAULT) -> None:
        self.deadline_ns: int | None = None
        self._settings = settings
        self._state = _Tx.IDLE
        self._frames: deque[IsoTpFrame] = deque()
        self._waits = 0
        self._left_in_block = 0
        self._stmin_ns = 0

    @property
    def is_sending(self) -> bool:
        """A message has begun and has not left completely."""
        return self._state is not _Tx.IDLE

    def start(self, payload: bytes, now_ns: int) -> tuple[Event, ...]:
        """Begins a message; one that was running fails.

        Raises:
            ValueError: an empty payload.
        """
        running = self._fail(_RESTARTED) if self.is_sending else ()
        first, *rest = segment(payload, can_dl=self._settings.can_dl)
        out = SendFrame(self._settings.padded(first))
        if not rest:
            return (*running, out, PayloadSent())
        self._frames = deque(rest)
        self._waits = 0
        self._await_flow(now_ns)
        return (*running, out)

    def receive(self, data: bytes, now_ns: int) -> tuple[Event, ...]:
        """Takes one frame of the peer; everything but flow control that was waited for is ignored."""
        late = self.poll(now_ns)
        try:
            frame = parse_pci(data)
        except BadPci:
            is_reserved = self._state is _Tx.WAITING and len(data) > 2 and data[0] >> 4 == 3
            return late + self._fail(_RESERVED) if is_reserved else late
        if not isinstance(frame, FlowControl):
            return late
        action = _SENDER_TABLE[self._state].get(frame.status)
        return late if action is None else late + action(self, frame, now_ns)

    def poll(self, now_ns: int) -> tuple[Event, ...]:
        """Lets time pass: the next frame when the separation time is over, or failure without flow control."""
        if self.deadline_ns is None or now_ns < self.deadline_ns:
            return ()
        if self._state is _Tx.WAITING:
            return self._fail(Text("no flow control came", "未收到流控帧"))
        return self._next(now_ns)

    def _go(self, flow: FlowControl, now_ns: int) -> tuple[Event, ...]:
        self._state, self._waits = _Tx.SENDING, 0
        self._left_in_block = flow.block_size or len(self._frames)
        self._stmin_ns = flow.stmin_us * 1000
        return self._next(now_ns)

    def _wait(self, _flow: FlowControl, now_ns: int) -> tuple[Event, ...]:
        self._waits += 1
        if self._waits > self._settings.wait_limit:
            return self._fail(Text("asked to wait too often", "要求等待次数过多"))
        self._await_flow(now_ns)
        return ()

    def _overflow(self, _flow: FlowControl, _now_ns: int) -> tuple[Event, ...]:
        return self._fail(Text("too long for the ECU", "超过 ECU 可接收的长度"))

    def _next(self, now_ns: int) -> tuple[Event, ...]:
        """The consecutive frames that may go now: one, or without separation time the whole block."""
        out: list[Event] = []
        while self._frames and self._left_in_block:
            out.append(SendFrame(self._settings.padded(self._frames.popleft())))
            self._left_in_block -= 1
            if self._stmin_ns:
                break
        if not self._frames:
            self._state, self.deadline_ns = _Tx.IDLE, None
            out.append(PayloadSent())
        elif self._left_in_block:
            self.deadline_ns = now_ns + self._stmin_ns
        else:
            self._await_flow(now_ns)
        return tuple(out)

    def _await_flow(self, now_ns: int) -> None:
        self._state, self.deadline_ns = _Tx.WAITING, now_ns + self._settings.n_bs_ns

    def _fail(self, reason: Text) -> tuple[Event, ...]:
        self._state, self.deadline_ns = _Tx.IDLE, None
        self._frames.clear()
        return (TransferFailed(reason),)


_SENDER_TABLE: Final[Mapping[_Tx, Mapping[FlowStatus, Callable[[Sender, FlowControl, int], tuple[Event, ...]]]]] = {
    _Tx.IDLE: {},
    _Tx.WAITING: {
        FlowStatus.CONTINUE_TO_SEND: Sender._go,  # noqa: SLF001 - the table is part of the class
        FlowStatus.WAIT: Sender._wait,  # noqa: SLF001
        FlowStatus.OVERFLOW: Sender._overflow,  # noqa: SLF001
    },
    _Tx.SENDING: {},
}
"""Flow control that nobody waited for is ignored. Standard: ISO 15765-2:2016 §9.8.3, Table 24."""
