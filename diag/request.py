"""Requests and their answers, to one ECU or to all, over one event loop.

A :class:`RequestLink` takes a payload and gives back what came, ECU by ECU. :class:`IsoTpLink` is the one over CAN:
one reader takes the frames of every ECU apart, one request is in flight per ECU, requests to different ECUs run side by
side. A negative answer is an answer; silence of one ECU is an error, silence of all after a functional request is not.

Standard: ISO 15765-4:2021 §6 (who answers, how long to wait); ISO 14229-2:2021 §7 (P2, P2*).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Self

from diag.addressing import OBD_FUNCTIONAL, OBD_FUNCTIONAL_29, Target
from diag.answers import Answer, AnswerTimes, RequestLink, ask, is_answer_to, is_silence_wanted
from diag.canbus import Frame
from diag.errors import LinkLost, NoAnswer, RefusedByPolicy, RemoteProtocolError
from diag.facts import Text
from diag.guard import Risk
from diag.isotp import IsoTpSettings, PayloadCut, PayloadReceived, Receiver, Sender, SendFrame, TransferFailed
from diag.lanes import Lanes
from diag.nrc import BUSY, PENDING
from diag.timing import Timing, set_times

if TYPE_CHECKING:
    from types import TracebackType

    from diag.canbus import FrameLink, FrameSubscription
    from diag.isotp import Event

__all__ = [
    "OBD_FUNCTIONAL",
    "OBD_FUNCTIONAL_29",
    "Answer",
    "IsoTpLink",
    "RequestLink",
    "Target",
    "Timing",
    "ask",
    "is_answer_to",
]

_LOG = logging.getLogger(__name__)

_NS: Final = 1_000_000_000


_SETTINGS: Final = IsoTpSettings()
_TIMING: Final = Timing()
_FIRST: Final = 1
_FLOW_CONTROL: Final = 3
_TRUSTED_AFTER: Final = 8
_TWO: Final = Text("two different answers with one identifier", "同一标识符出现两个不同的应答")


@dataclass(slots=True)
class _Peer:
    """One ECU within a conversation: its reassembly, and until when its answer may come.

    Attributes:
        first: the first frame of the running answer.
        replaced: the beginning of an answer that was given up for another.
        fallback: what counts as its answer when nothing better comes: a cut message, the last "pending", or a refusal
            that may belong to an earlier request.
    """

    source: Target
    receiver: Receiver
    pending_since_ns: int | None = None
    deadline_ns: int = 0
    first: bytes = b""
    replaced: bytes = b""
    fallback: Answer | None = None
    is_done: bool = False


class _Conversation:
    """One request in flight: what arrives for it, and when it is over.

    Args:
        is_owed: the ECU still owes the answer to an earlier request of this service. A refusal names no identifier,
            so the first one that comes may be the late answer to that.
        second_s: how long to listen on after the answer of one ECU.

    Attributes:
        outgoing: request id and data of the frames to send for what came.
    """

    def __init__(
        self,
        target: Target,
        payload: bytes,
        settings: IsoTpSettings,
        timing: Timing,
        *,
        is_owed: bool = False,
        second_s: float = 0.0,
    ) -> None:
        self.target, self.payload = target, payload
        self.answers: list[Answer] = []
        self.sender = Sender(settings)
        self.sending_error: Text | None = None
        self.outgoing: deque[tuple[int, bytes]] = deque()
        self.lost: LinkLost | None = None
        self._settings, self._timing = settings, timing
        self._is_owed, self._second_ns = is_owed, int(second_s * _NS)
        self._doubted: Answer | None = None
        self._hold_ns = 0
        self._ends_ns: int | None = None
        self._peers: dict[int, _Peer] = {}
        self._window_ns = 0
        self._waiter: asyncio.Future[None] | None = None

    def start(self, now_ns: int) -> list[bytes]:
        """The first frames to send."""
        return [event.data for event in self.sender.start(self.payload, now_ns) if isinstance(event, SendFrame)]

    def open_window(self, now_ns: int, timeout_s: float) -> None:
        """The request is out: from now the ECUs have this long to begin."""
        self._window_ns = now_ns + int(timeout_s * _NS)
        self._hold_ns = 2 * int(timeout_s * _NS)

    @property
    def is_doubtful(self) -> bool:
        """All that came is a refusal that may be the answer to an earlier request."""
        return self._doubted is not None and self._doubted in self.answers

    @property
    def is_answered(self) -> bool:
        """The ECU owes nothing more: it said something that is not "wait"."""
        return any(answer.nrc != PENDING for answer in self.answers)

    def take(self, frame: Frame, now_ns: int) -> None:
        """Takes a frame of an answering ECU; what has to be sent for it is in :attr:`outgoing`."""
        out = self._take(frame, now_ns)
        if out:
            self.outgoing += out
            self._wake()

    def _take(self, frame: Frame, now_ns: int) -> list[tuple[int, bytes]]:
        peer = self._peers.get(frame.can_id)
        if peer is None:
            peer = self._peers[frame.can_id] = _Peer(self.target.ecu(frame.can_id), Receiver(self._settings))
        kind = frame.data[0] >> 4 if frame.data else -1
        if kind == _FLOW_CONTROL:
            return self._act(peer, self.sender.receive(frame.data, now_ns), frame.t_ns, now_ns)
        if kind == _FIRST:
            start = _start(frame.data)
            if not start or not is_answer_to(self.payload, start):
                return []  # a late answer to another request gets no flow control
            if peer.is_done:
                self._compare(peer, start, is_whole=False)
                return []
            if peer.receiver.is_receiving and frame.data != peer.first:
                return self._act(peer, peer.receiver.abort(_TWO), frame.t_ns, now_ns)
            peer.first = frame.data
        return self._act(peer, peer.receiver.receive(frame.data, now_ns), frame.t_ns, now_ns)

    def poll(self, now_ns: int) -> list[tuple[int, bytes]]:
        """Lets time pass in every state machine."""
        out = [(self.target.request_id, data) for data in self._send_on(self.sender.poll(now_ns))]
        for peer in self._peers.values():
            out += self._act(peer, peer.receiver.poll(now_ns), time.time_ns(), now_ns)
        return out

    def abort(self, request_id: int, reason: Text) -> None:
        """Gives up the running answer of one ECU."""
        for peer in self._peers.values():
            if peer.source.request_id == request_id:
                self._act(peer, peer.receiver.abort(reason), time.time_ns(), time.monotonic_ns())

    def lose(self, error: LinkLost) -> None:
        """The link is gone; whoever waits learns it."""
        self.lost = error
        self._wake()

    def _send_on(self, events: tuple[Event, ...]) -> list[bytes]:
        for event in events:
            if isinstance(event, TransferFailed):
                self.sending_error = event.reason
        if events:
            self._wake()
        return [event.data for event in events if isinstance(event, SendFrame)]

    def _act(self, peer: _Peer, events: tuple[Event, ...], t_ns: int, now_ns: int) -> list[tuple[int, bytes]]:
        for event in events:
            if isinstance(event, PayloadReceived):
                self._hear(peer, Answer(peer.source, self.payload, event.payload, t_ns=t_ns), now_ns)
            elif isinstance(event, PayloadCut):
                answer = Answer(
                    peer.source,
                    self.payload,
                    event.partial,
                    complete=False,
                    missing=event.missing,
                    t_ns=t_ns,
                    reason=event.reason,
                )
                self._hear_cut(peer, answer, is_replaced=event.is_replaced)
        return [(peer.source.request_id, data) for data in self._send_on(events)]

    def _hear(self, peer: _Peer, answer: Answer, now_ns: int) -> None:
        if not is_answer_to(self.payload, answer.payload):
            return
        if answer.nrc == PENDING:
            if not peer.is_done:
                self._extend(peer, answer, now_ns)
        elif peer.is_done:
            self._compare(peer, answer.payload, is_whole=True)
        elif self._is_owed and answer.negative is not None:
            self._is_owed, self._doubted, peer.fallback = False, answer, answer
            peer.deadline_ns = now_ns + self._hold_ns
        elif answer.payload.startswith(peer.replaced):
            self._conclude(peer, answer)
        else:
            self._conclude(peer, replace(answer, complete=False, reason=_TWO))

    def _extend(self, peer: _Peer, answer: Answer, now_ns: int) -> None:
        """The ECU asks for patience."""
        peer.fallback = answer
        if peer.pending_since_ns is None:
            peer.pending_since_ns = now_ns
        cap_ns = peer.pending_since_ns + int(self._timing.pending_total_s * _NS)
        peer.deadline_ns = min(now_ns + int(self._timing.pending_s * _NS), cap_ns)

    def _compare(self, peer: _Peer, start: bytes, *, is_whole: bool) -> None:
        """Something more came after the answer: when it is not the same again, nobody knows whose which is."""
        for at, answer in enumerate(self.answers):
            is_same = answer.payload == start if is_whole else answer.payload.startswith(start)
            if answer.source == peer.source and answer.complete and not is_same:
                self.answers[at] = replace(answer, complete=False, reason=_TWO)

    def _hear_cut(self, peer: _Peer, answer: Answer, *, is_replaced: bool) -> None:
        if peer.is_done or not answer.payload or not is_answer_to(self.payload, answer.payload):
            return
        if is_replaced:
            peer.fallback, peer.replaced = answer, answer.payload
        else:
            self._conclude(peer, answer)

    def _conclude(self, peer: _Peer, answer: Answer) -> None:
        peer.is_done = True
        self.answers.append(answer)

    def next_deadline_ns(self, now_ns: int) -> int | None:
        """When to look again if nothing comes; None when the conversation is over."""
        if self.sending_error is not None or self.lost is not None:
            return None
        if self.answers and not self.target.is_functional:
            self._ends_ns = now_ns + self._second_ns if self._ends_ns is None else self._ends_ns
            return self._ends_ns if self._ends_ns > now_ns else None
        if self.sender.is_sending:
            return self.sender.deadline_ns
        ends = [self._window_ns]
        for peer in self._peers.values():
            if not peer.is_done:
                ends += [peer.deadline_ns, peer.receiver.deadline_ns or 0]
        return min((end for end in ends if end > now_ns), default=None)

    def close(self) -> tuple[Answer, ...]:
        """Every answer, with the second best of the ECUs that never came to an end."""
        for peer in self._peers.values():
            if not peer.is_done and peer.fallback is not None:
                self._conclude(peer, peer.fallback)
        return tuple(self.answers)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, deadline_ns: int) -> None:
        """Until something happened, or the time is up. The clock of asyncio is the monotonic one."""
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_at(deadline_ns / _NS, self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None


def _start(data: bytes) -> bytes:
    """The beginning of the message that a first frame carries."""
    return data[6:] if data[1:2] == b"\0" and data[0] & 0x0F == 0 else data[2:]


class IsoTpLink:
    """A :class:`RequestLink` over CAN frames. It reads a frame link without owning it.

    Args:
        link: frames in and out; its guard judges every request.
        settings: padding, flow control and times of ISO-TP.
        timing: how long to wait for answers.
    """

    def __init__(self, link: FrameLink, *, settings: IsoTpSettings = _SETTINGS, timing: Timing = _TIMING) -> None:
        self.link = link
        self.settings = settings
        self.timing = timing
        self._routes: dict[tuple[int, bool], _Conversation] = {}
        self._functional: _Conversation | None = None
        self._lanes = Lanes()
        self._owed: dict[Target, tuple[int, int]] = {}
        self._alone: Counter[Target] = Counter()
        self._times: dict[Target, Timing] = {}
        self._reader: asyncio.Task[None] | None = None
        self._lost: LinkLost | None = None

    def set_times(self, target: Target, times: AnswerTimes | None) -> None:
        """See :meth:`diag.answers.TimedLink.set_times`."""
        set_times(self._times, self.timing, target, times)

    async def request(self, target: Target, payload: bytes, *, timeout_s: float | None = None) -> tuple[Answer, ...]:
        """Asks, and waits for whoever answers; see :meth:`RequestLink.request`.

        Requests go in the order of asking as far as they are in each other's way; each of them has an end, and
        ``timeout_s`` runs from when this one is on the bus.
        """
        answers, risk, is_doubtful = await self._converse(target, payload, timeout_s)
        if risk is not Risk.READ:  # asked for once, so sent once
            return answers
        if is_doubtful:
            answers, _, _ = await self._converse(target, payload, timeout_s)
        for _ in range(self.timing.busy_repeats):
            busy = [answer for answer in answers if answer.nrc == BUSY]
            if not busy:
                break
            await asyncio.sleep(self.timing.busy_pause_s)
            again = await asyncio.gather(*(self._once_more(answer, timeout_s) for answer in busy))
            better = {answer.ecu: answer for answer in again}
            answers = tuple(better.get(answer.ecu, answer) for answer in answers)
        return answers

    async def _once_more(self, answer: Answer, timeout_s: float | None) -> Answer:
        """Asks a busy ECU again; when it now stays silent, its "busy" remains its answer."""
        try:
            answers, _, _ = await self._converse(answer.source, answer.request, timeout_s)
        except NoAnswer:
            return answer
        return answers[0] if answers else answer

    async def _converse(
        self, target: Target, payload: bytes, timeout_s: float | None
    ) -> tuple[tuple[Answer, ...], Risk, bool]:
        """One request without repeats: its answers, its class, and whether they are one of doubtful origin."""
        outages = self._outages()
        try:
            answers, risk, is_doubtful = await self._converse_once(target, payload, timeout_s)
        except NoAnswer:
            if self._outages() == outages or self.link.guard.class_of(payload, target) is not Risk.READ:
                raise
        else:
            if answers or risk is not Risk.READ or self._outages() == outages:
                return answers, risk, is_doubtful
        return await self._converse_once(target, payload, timeout_s)  # the adapter was unplugged meanwhile

    def _outages(self) -> int:
        return int(getattr(self.link, "outages", 0))

    async def _converse_once(
        self, target: Target, payload: bytes, timeout_s: float | None
    ) -> tuple[tuple[Answer, ...], Risk, bool]:
        async with self._lanes.turn(target.response_id):
            if self._lost is not None:
                raise self._lost
            exchange = self.link.guard.open(payload, target)
            conversation = _Conversation(
                target,
                bytes(payload),
                self.settings,
                self._times.get(target, self.timing),
                is_owed=self._take_debt(target) == payload[0],
                second_s=self.timing.second_s if self._alone[target] < _TRUSTED_AFTER else 0.0,
            )
            try:
                self._route(target, conversation)
                answers = await self._run(conversation, self._timeout(target, payload, timeout_s))
            finally:
                self._unroute(target)
                self.link.guard.close(exchange)
                if exchange.sent:
                    self._settle(conversation)
            return answers, exchange.risk, conversation.is_doubtful

    def _take_debt(self, target: Target) -> int | None:
        """The service to which this ECU may still answer, if any."""
        service, ends_ns = self._owed.pop(target, (-1, 0))
        return service if time.monotonic_ns() < ends_ns else None

    def _settle(self, conversation: _Conversation) -> None:
        """Remembers what the ECU still owes, and whether it answers alone with its identifier."""
        target, payload = conversation.target, conversation.payload
        if target.is_functional:
            return
        if not conversation.is_answered and not is_silence_wanted(payload):
            self._owed[target] = payload[0], time.monotonic_ns() + int(self.timing.pending_s * _NS)
        self._alone[target] += any(answer.complete for answer in conversation.answers)

    def _timeout(self, target: Target, payload: bytes, timeout_s: float | None) -> float:
        if timeout_s is not None:
            return timeout_s
        is_window = target.is_functional or is_silence_wanted(payload)
        return self.timing.window_s if is_window else self._times.get(target, self.timing).answer_s

    async def _run(self, conversation: _Conversation, timeout_s: float) -> tuple[Answer, ...]:
        target = conversation.target
        conversation.open_window(time.monotonic_ns(), timeout_s)
        for data in conversation.start(time.monotonic_ns()):
            await self._send(target.request_id, data, target)
        is_out = not conversation.sender.is_sending
        conversation.open_window(time.monotonic_ns(), timeout_s)
        while True:
            await self._send_flow(conversation)
            deadline_ns = conversation.next_deadline_ns(time.monotonic_ns())
            if deadline_ns is None:
                break
            await conversation.wait(deadline_ns)
            await self._send_flow(conversation)
            for request_id, data in conversation.poll(time.monotonic_ns()):
                await self._send(request_id, data, target)
            if not is_out and not conversation.sender.is_sending:
                is_out = True
                conversation.open_window(time.monotonic_ns(), timeout_s)
        if conversation.lost is not None:
            raise conversation.lost
        if conversation.sending_error is not None:
            raise RemoteProtocolError(target.address, conversation.sending_error, b"")
        answers = conversation.close()
        if not answers and not target.is_functional and not is_silence_wanted(conversation.payload):
            raise NoAnswer(target.address, timeout_s)
        return answers

    async def _send_flow(self, conversation: _Conversation) -> None:
        """Sends what the frames that came ask for: flow control, and the next part of a long request."""
        while conversation.outgoing:
            request_id, data = conversation.outgoing.popleft()
            try:
                await self._send(request_id, data, conversation.target)
            except RefusedByPolicy as refusal:
                _LOG.debug("%s", refusal)
                conversation.abort(request_id, Text("the guard refused flow control", "流控帧被拒绝发送"))

    async def _send(self, request_id: int, data: bytes, target: Target) -> None:
        is_fd = self.settings.can_dl > 8
        await self.link.send(Frame(request_id, data, extended=target.extended, fd=is_fd))

    def _route(self, target: Target, conversation: _Conversation) -> None:
        if target.response_id is None:
            self._functional = conversation
        else:
            self._routes[target.response_id, target.extended] = conversation
        if self._reader is None:
            subscription = self.link.frames(accept=self._take)
            self._reader = asyncio.get_running_loop().create_task(self._watch(subscription), name="isotp link")

    def _unroute(self, target: Target) -> None:
        if target.response_id is None:
            self._functional = None
        else:
            self._routes.pop((target.response_id, target.extended), None)

    def _conversation_of(self, frame: Frame) -> _Conversation | None:
        found = self._routes.get((frame.can_id, frame.extended))
        if found is None and self._functional is not None:
            is_answer = self._functional.target.is_answered_by(frame.can_id, extended=frame.extended)
            return self._functional if is_answer else None
        return found

    def _take(self, frame: Frame) -> bool:
        """Gives a frame to its conversation as it arrives; none is queued, and no other task has to wake for it."""
        conversation = None if frame.remote or frame.error else self._conversation_of(frame)
        if conversation is not None:
            try:
                conversation.take(frame, time.monotonic_ns())
            except Exception:  # noqa: BLE001 - called by the link: logged here, and every conversation is told
                _LOG.exception("reading answers on %s", self.link.info.channel)
                self._end(LinkLost(self.link.info.channel, Text("internal error while reading", "读取时发生内部错误")))
        return False

    async def _watch(self, subscription: FrameSubscription) -> None:
        """Waits until the link ends, and tells every conversation."""
        lost = LinkLost(self.link.info.channel, Text("it was closed", "已关闭"))
        try:
            with subscription:
                await subscription.batch()
        except LinkLost as error:
            lost = error
        finally:
            self._end(lost)

    def _end(self, lost: LinkLost) -> None:
        if self._lost is None:
            self._lost = lost
        for conversation in (*self._routes.values(), *([self._functional] if self._functional else [])):
            conversation.lose(lost)

    async def close(self) -> None:
        """Stops reading; the frame link stays open."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
