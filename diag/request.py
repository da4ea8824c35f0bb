"""Requests and their answers, to one ECU or to all, over one event loop.

A :class:`RequestLink` takes a payload and gives back what came, ECU by ECU. :class:`IsoTpLink` is the one over CAN:
frames go to the conversation of their ECU as they arrive, one request is in flight per ECU, requests to different ECUs
run side by side. A negative answer is an answer; silence of one ECU is an error, silence of all after a functional
request is not.

Standard: ISO 15765-4:2021 §6 (who answers, how long to wait); ISO 14229-2:2021 §7 (P2, P2*).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Final, Self

from diag.addressing import OBD_FUNCTIONAL, OBD_FUNCTIONAL_29, Target
from diag.answers import Answer, AnswerTimes, RequestLink, ask, is_answer_to, is_silence_wanted
from diag.canbus import Frame
from diag.conversation import Conversation
from diag.errors import LinkLost, NoAnswer, RefusedByPolicy, RemoteProtocolError
from diag.facts import Text
from diag.guard import Risk
from diag.isotp import IsoTpSettings
from diag.lanes import Lanes
from diag.nrc import BUSY
from diag.timing import Timing, set_times

if TYPE_CHECKING:
    from types import TracebackType

    from diag.canbus import FrameLink, FrameSubscription

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
_TRUSTED_AFTER: Final = 8


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
        self._routes: dict[tuple[int, bool], Conversation] = {}
        self._functional: Conversation | None = None
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
            conversation = Conversation(
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

    def _settle(self, conversation: Conversation) -> None:
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

    async def _run(self, conversation: Conversation, timeout_s: float) -> tuple[Answer, ...]:
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

    async def _send_flow(self, conversation: Conversation) -> None:
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

    def _route(self, target: Target, conversation: Conversation) -> None:
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

    def _conversation_of(self, frame: Frame) -> Conversation | None:
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
