"""Links whose far side does the transport: whole payloads go out, whole payloads come in.

A DoIP gateway or an interpreter chip cuts messages into frames itself. What remains here is the same for all of them:
the guard, one request in flight per ECU, patience with an ECU that asks for it, repeats for a busy one, late answers
kept away from the requests that they do not belong to.

Standard: ISO 14229-2:2021 §7 (P2, P2*); ISO 15765-4:2021 §6 (a functional request's window is waited out).
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, Self

from diag.answers import Answer, AnswerTimes, is_answer_to, is_silence_wanted
from diag.errors import DiagError, LinkLost, NoAnswer
from diag.facts import Text
from diag.guard import Risk
from diag.lanes import Lanes
from diag.nrc import BUSY, PENDING
from diag.timing import Timing, set_times

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from diag.addressing import Target
    from diag.frames import Frame
    from diag.guard import TransmitGuard
    from diag.vehiclereport import LinkInfo

__all__ = ["DirectLink", "Talk"]

_TIMING: Final = Timing()
_CUT: Final = Text("frames of the answer are missing", "应答缺帧")


class Talk:
    """One request in flight, and what came for it.

    Args:
        target: one ECU, or a group.
        payload: what was asked.
        timing: how long to wait.
        timeout_s: until an answer begins, counted from :meth:`begin`.
        is_owed: the ECU still owes the answer to an earlier request of this service, so that a refusal may be that.
    """

    def __init__(self, target: Target, payload: bytes, timing: Timing, timeout_s: float, *, is_owed: bool) -> None:
        self.target, self.payload = target, payload
        self.error: DiagError | None = None
        self._timing, self._timeout_s, self._is_owed = timing, timeout_s, is_owed
        self._answers: dict[Target, Answer] = {}
        self._fallback: dict[Target, Answer] = {}
        self._pending_since: dict[Target, float] = {}
        self._deadlines: dict[Target, float] = {}
        self._window = 0.0
        self._changed = asyncio.Event()

    def begin(self, now: float) -> None:
        """The request is out."""
        self._window = now + self._timeout_s

    def hear(self, answer: Answer, now: float) -> None:
        """Takes an answer, if it can be one to this request and its ECU has not answered yet."""
        source = answer.source
        if not answer.payload or not is_answer_to(self.payload, answer.payload) or source in self._answers:
            return
        if answer.nrc == PENDING:
            since = self._pending_since.setdefault(source, now)
            self._fallback[source] = answer
            self._deadlines[source] = min(now + self._timing.pending_s, since + self._timing.pending_total_s)
        elif self._is_owed and answer.negative is not None:
            self._is_owed = False
            self._fallback[source] = answer
        else:
            self._answers[source] = answer
        self._changed.set()

    def fail(self, error: DiagError) -> None:
        """Nothing more will come, and why."""
        self.error = error
        self._changed.set()

    def end(self) -> None:
        """Nothing will come, and that is no error: a group that nobody is in."""
        self._window = 0.0
        self._deadlines.clear()
        self._changed.set()

    @property
    def is_waited_for(self) -> bool:
        """Nobody has answered but one at least asks for patience."""
        return bool(self._pending_since) and not self._answers

    @property
    def is_answered(self) -> bool:
        """Somebody said something that is not "wait"."""
        return bool(self._answers)

    def deadline(self) -> float | None:
        """When to stop waiting; None = now."""
        if self.error is not None or (self._answers and not self.target.is_functional):
            return None
        waiting = [end for source, end in self._deadlines.items() if source not in self._answers]
        if waiting and not self.target.is_functional:
            return max(waiting)
        return max([self._window, *waiting])

    def answers(self) -> tuple[Answer, ...]:
        """All that came, the second best of an ECU that never came to an end included."""
        return tuple({**self._fallback, **self._answers}.values())

    async def wait(self) -> None:
        """Until it is over. The clock of asyncio is the monotonic one."""
        loop = asyncio.get_running_loop()
        while (end := self.deadline()) is not None and (left := end - loop.time()) > 0:
            self._changed.clear()
            try:
                async with asyncio.timeout(left):
                    await self._changed.wait()
            except TimeoutError:
                continue


class DirectLink(ABC):
    """A :class:`diag.answers.RequestLink` that is no CAN bus: nothing but requests and answers passes.

    Subclasses give :meth:`_transmit` and :meth:`close`, call :meth:`_hear` with what arrives, and :meth:`_lose` at the
    end.

    Attributes:
        info: through what the car is reached.
        guard: decides what may be sent.
        functional: whom to ask to find everybody.
        usual: single addresses to try besides.
        at_once: how many ECUs are worth asking side by side.
        is_can: addresses are CAN identifiers, so that a database may name more of them.
        remarks: what a person should know about this very adapter.
    """

    at_once: int = 64
    is_can: bool = False
    remarks: tuple[Text, ...] = ()
    functional: tuple[Target, ...] = ()
    usual: tuple[Target, ...] = ()

    def __init__(self, info: LinkInfo, guard: TransmitGuard, *, timing: Timing = _TIMING) -> None:
        self.info, self.guard, self.timing = info, guard, timing
        self._lanes = Lanes()
        self._talks: dict[int | None, Talk] = {}
        self._owed: dict[Target, tuple[int, float]] = {}
        self._times: dict[Target, Timing] = {}
        self._lost: LinkLost | None = None

    def set_times(self, target: Target, times: AnswerTimes | None) -> None:
        """See :meth:`diag.answers.TimedLink.set_times`."""
        set_times(self._times, self.timing, target, times)

    @abstractmethod
    async def _transmit(self, target: Target, payload: bytes) -> None:
        """Gets the payload out."""

    async def listen(self, _seconds: float) -> Sequence[Frame]:
        """What passes on the bus by itself, for so long; nothing where the link shows none of it."""
        return ()

    @abstractmethod
    async def close(self) -> None:
        """Gives the adapter back; may be called twice."""

    async def request(self, target: Target, payload: bytes, *, timeout_s: float | None = None) -> tuple[Answer, ...]:
        """Asks, and waits for whoever answers; see :meth:`diag.answers.RequestLink.request`."""
        answers, risk = await self._converse(target, bytes(payload), timeout_s)
        if risk is not Risk.READ:  # asked for once, so sent once
            return answers
        for _ in range(self.timing.busy_repeats):
            busy = [answer for answer in answers if answer.nrc == BUSY]
            if not busy:
                break
            await asyncio.sleep(self.timing.busy_pause_s)
            again = {answer.source: await self._once_more(answer, timeout_s) for answer in busy}
            answers = tuple(again.get(answer.source, answer) for answer in answers)
        return answers

    async def _once_more(self, answer: Answer, timeout_s: float | None) -> Answer:
        try:
            answers, _ = await self._converse(answer.source, answer.request, timeout_s)
        except NoAnswer:
            return answer
        return answers[0] if answers else answer

    async def _converse(
        self, target: Target, payload: bytes, timeout_s: float | None
    ) -> tuple[tuple[Answer, ...], Risk]:
        timing = self._times.get(target, self.timing)
        if timeout_s is None:
            is_window = target.is_functional or is_silence_wanted(payload)
            timeout_s = timing.window_s if is_window else timing.answer_s
        async with self._lanes.turn(target.response_id):
            if self._lost is not None:
                raise self._lost
            exchange = self.guard.open(payload, target)
            service, ends = self._owed.pop(target, (-1, 0.0))
            is_owed = service == payload[0] and time.monotonic() < ends
            talk = Talk(target, payload, timing, timeout_s, is_owed=is_owed)
            self._talks[target.response_id] = talk
            try:
                self.guard.check_message(exchange)
                talk.begin(asyncio.get_running_loop().time())
                await self._transmit(target, payload)
                await talk.wait()
            finally:
                del self._talks[target.response_id]
                self.guard.close(exchange)
                if exchange.sent and not talk.is_answered and not target.is_functional:
                    self._owed[target] = payload[0], time.monotonic() + self.timing.pending_s
            if talk.error is not None:
                raise talk.error
            answers = talk.answers()
            if not answers and not target.is_functional and not is_silence_wanted(payload):
                raise NoAnswer(target.address, timeout_s)
            return answers, exchange.risk

    def _talk_with(self, source: Target) -> Talk | None:
        return self._talks.get(source.response_id) or self._talks.get(None)

    def _hear(self, source: Target, payload: bytes, missing: int = 0) -> None:
        """A payload from an ECU, as far as it came."""
        talk = self._talk_with(source)
        if talk is not None:
            answer = Answer(
                source,
                talk.payload,
                bytes(payload),
                complete=not missing,
                missing=missing,
                t_ns=time.time_ns(),
                reason=_CUT if missing else None,
            )
            talk.hear(answer, asyncio.get_running_loop().time())

    def _lose(self, error: LinkLost) -> None:
        """The link is gone; whoever waits learns it."""
        if self._lost is None:
            self._lost = error
            for talk in tuple(self._talks.values()):
                talk.fail(error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
