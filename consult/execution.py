"""The only thing that touches the bus for an expert: it does what was granted, once, through the guard, and tells all.

Bus timing stays on the laptop. Before anything beyond reading, speed and supply are read afresh; unknown is not met.
What is held is let go when its time is over, whatever else happens.

Standard: ISO 14229-1:2020 §13.2 (2F returnControlToECU), §14.2 (31 stopRoutine).
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from consult.answertext import readings_of, text_of
from consult.grantactions import Why
from consult.granterrors import GrantsStopped, StateUnmet
from consult.requestproof import signed_bytes
from consult.sessionkeeper import SessionKeeper
from diag.answers import ask, is_silence_wanted
from diag.clearing import StateReading, read_state
from diag.errors import DiagError, LinkLost, NoAnswer, RefusedByPolicy
from diag.facts import Text, hex_from_id
from diag.guard import VehicleState
from diag.guardrules import Risk, release_of
from diag.scanparts import why_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consult.errors import ConsultError
    from consult.grantactions import Asked, Run
    from consult.plugsigns import PlugSigns
    from diag.answers import Answer, RequestLink
    from diag.guard import LogEntry, TransmitGuard

__all__ = ["CarHands", "Outcome"]

_LOG = logging.getLogger(__name__)

_LOOK_EVERY_S: Final = 1.0
_RELEASE_TRIES: Final = 5
_RELEASE_TIMEOUT_S: Final = 0.3
_MAX_LOG: Final = 200
_PATIENCE_S: Final = 2.0
_NOT_LET_GO: Final = Text(
    "the ECU did not confirm that it stopped; it may still be running: switch the ignition off",
    "ECU 未确认已停止，可能仍在动作：请关闭点火开关",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request: ``done refused failed stopped expired``, and the body of its result, signed."""

    outcome: str
    body: dict[str, Any]


class CarHands:
    """Does what was granted.

    Args:
        link: requests to the car; the same open link that the samples come from.
        guard: of that link. It lets reading out; everything else is let out here, request by request.
        sign: the laptop's Ed25519 signature.
        may_keep: whether sessions may be kept alive now; see :class:`SessionKeeper`.
        plug: how the car says by itself that a charging cable is plugged in, where it does.
        timeout_s: per answer; None is the link's own.
        now_us: UTC microseconds, for the record.
    """

    def __init__(
        self,
        link: RequestLink,
        guard: TransmitGuard,
        *,
        sign: Callable[[bytes], bytes],
        say: Callable[[ConsultError], Text],
        may_keep: Callable[[], bool] = lambda: True,
        plug: PlugSigns | None = None,
        timeout_s: float | None = None,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self.sessions = SessionKeeper(link, may_keep=may_keep)
        self._link, self._guard, self._sign, self._say = link, guard, sign, say
        self._timeout_s, self._now_us = timeout_s, now_us
        self._plug = plug
        self._alone = asyncio.Lock()

    async def look(self, asked: Asked) -> tuple[StateReading | None, Text | None]:
        """The car's state for a request beyond reading, and what of it stands against it, charging left out.

        Returns:
            None for a state that need not be known, or could not be read.
        """
        if asked.risk is Risk.READ:
            return None, None
        try:
            reading, plugged = await self._read_state(asked)
        except DiagError as error:
            return None, why_of(error)
        return reading, _state(reading, unplugged=True).unmet() or plugged

    async def _read_state(self, asked: Asked) -> tuple[StateReading, Text | None]:
        """Speed and supply as the car says them now, and what says that a charging cable is plugged in."""
        reading = await read_state(self._link, [asked.target], timeout_s=self._timeout_s)
        return reading, None if self._plug is None else await self._plug.read()

    async def run(self, run: Run, halted: asyncio.Future[Why]) -> Outcome:
        """Does it.

        Args:
            run: what was granted.
            halted: set when it must stop: the hand let go, somebody stopped, the longest time is over.
        """
        asked = run.asked
        if asked.risk is Risk.READ:
            if halted.done():
                return Outcome("refused", self.refused(asked.ident, asked, GrantsStopped()))
            return await self._run(asked, halted)
        async with self._alone:
            if halted.done():
                return Outcome("refused", self.refused(asked.ident, asked, GrantsStopped()))
            try:
                reading, plugged = await self._read_state(asked)
            except DiagError as error:
                return Outcome("refused", self.refused(asked.ident, asked, StateUnmet(why_of(error))))
            state = _state(reading, unplugged=run.unplugged)
            if (unmet := state.unmet() or plugged) is not None:
                return Outcome("refused", self.refused(asked.ident, asked, StateUnmet(unmet)))
            if halted.done():
                return Outcome("refused", self.refused(asked.ident, asked, GrantsStopped()))
            self._guard.state = state
            try:
                return await self._run(asked, halted)
            finally:
                self._guard.state = VehicleState()

    async def _run(self, asked: Asked, halted: asyncio.Future[Why]) -> Outcome:
        log = self._guard.log
        mark = log[-1] if log else None
        sent_us = self._now_us()
        answers: list[Answer] = []
        error: DiagError | None = None
        ended: Why | None = None
        let_go: list[bool] = []
        if asked.risk is not Risk.READ:
            self._guard.permit(asked.data, asked.target)
        try:
            if asked.hold:
                ended = await self._held(asked, halted, answers, let_go)
            else:
                answers += await self._once(asked, halted)
        except DiagError as caught:
            error = caught
        is_positive = bool(answers) and answers[0].negative is None and error is None
        self.sessions.note(asked.target, asked.data, is_positive=is_positive)
        body = self._body(asked, answers, error, ended, sent_us)
        body["guard"] = [_log_json(entry) for entry in self._log_since(mark, asked)]
        if False in let_go:
            # Whatever else is known of it: it may still be running, and people stand around the car.
            body["let_go"], outcome = False, "failed"
            text = Text(body["text"]["en"], body["text"]["zh"])
            body["text"] = Text(f"{_NOT_LET_GO.en} ({text.en})", f"{_NOT_LET_GO.zh}（{text.zh}）").to_json()
        elif ended is not None:
            outcome = "stopped"
        elif isinstance(error, RefusedByPolicy):
            outcome = "refused"
        else:
            outcome = "done" if is_positive or (not answers and error is None) else "failed"
        return self._signed(outcome, body)

    def _timeout(self, data: bytes) -> float | None:
        """A granted request is sent once and a person waited for it: its answer is waited for patiently."""
        return None if is_silence_wanted(data) else max(self._timeout_s or 0.0, _PATIENCE_S)

    async def _once(self, asked: Asked, halted: asyncio.Future[Why]) -> tuple[Answer, ...]:
        """Sends it and waits for the answers. A stop that comes while it waits for the adapter keeps it from leaving.

        Raises:
            DiagError: it could not be sent, was stopped before it was, or was not answered.
        """
        asking = asyncio.ensure_future(
            self._link.request(asked.target, asked.data, timeout_s=self._timeout(asked.data))
        )
        try:
            await asyncio.wait(_any(asking, halted), return_when=asyncio.FIRST_COMPLETED)
            if not asking.done() and asked.risk is not Risk.READ:
                self._guard.revoke(asked.data, asked.target)
            return await asking
        finally:
            if not asking.done():
                asking.cancel()
                with suppress(asyncio.CancelledError, DiagError):
                    await asking

    async def _held(
        self, asked: Asked, halted: asyncio.Future[Why], answers: list[Answer], let_go: list[bool]
    ) -> Why | None:
        """Starts what is held, waits until it must stop, and stops it. None where the ECU refused to begin.

        ``let_go`` gets whether the ECU said that it stopped, where it was told to.

        Raises:
            DiagError: it could not be started. What may have begun in spite of that was told to stop.
        """
        starting: asyncio.Future[Answer] = asyncio.ensure_future(
            ask(self._link, asked.target, asked.data, timeout_s=self._timeout(asked.data))
        )
        watching: asyncio.Future[Why] | None = None
        try:
            await asyncio.wait(_any(starting, halted), return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                answer = starting.result()
                answers.append(answer)
                if answer.negative is not None:
                    return None
                watching = asyncio.ensure_future(self._watch(asked))
                await asyncio.wait(_any(watching, halted), return_when=asyncio.FIRST_COMPLETED)
            return halted.result() if halted.done() else Why.CAR
        finally:
            for task in (starting, watching):
                if task is not None and not task.done():
                    task.cancel()
                    with suppress(asyncio.CancelledError, DiagError):
                        await task
            if not (answers and answers[0].negative is not None):
                let_go.append(await asyncio.shield(self._release(asked, answers)))

    async def _watch(self, asked: Asked) -> Why:
        """Returns when the car is no more in the state that it must be in; unknown counts as that."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            try:
                reading, plugged = await self._read_state(asked)
            except LinkLost:
                return Why.CAR
            if (_state(reading, unplugged=True).unmet() or plugged) is not None:
                return Why.CAR

    async def _release(self, asked: Asked, answers: list[Answer]) -> bool:
        """Says stop until the ECU has heard it; False where it never said so. Its answers are kept beside the first."""
        for attempt in range(_RELEASE_TRIES):
            release = self._guard.permit_release(asked.data, asked.target)
            try:
                answer = await ask(self._link, asked.target, release, timeout_s=_RELEASE_TIMEOUT_S)
            except NoAnswer:
                _LOG.warning("%s did not answer %s, attempt %d", asked.ecu, release.hex(), attempt + 1)
                continue
            except DiagError as error:
                _LOG.error("%s could not be told to stop: %s", asked.ecu, error)
                return False
            answers.append(answer)
            if answer.negative is None:
                return True
        return False

    # -- what is told ------------------------------------------------------------------------------------------------

    def _body(
        self, asked: Asked, answers: Sequence[Answer], error: DiagError | None, ended: Why | None, sent_us: int
    ) -> dict[str, Any]:
        first = answers[0].negative if answers else None
        text = text_of(asked.data, answers[:1]) if error is None else why_of(error)
        return {
            "request": _request_json(asked),
            "code": None if error is None else error.code,
            "answers": [_answer_json(answer) for answer in answers],
            "negative": None if first is None else {"nrc": f"0x{first.nrc:02X}", "name": first.name},
            "values": [one.to_json() for one in readings_of(asked.data, answers[:1])],
            "text": text.to_json(),
            "ended": None if ended is None else ended.value,
            "sent_us": sent_us,
            "ended_us": self._now_us(),
        }

    def refused(self, ident: str, asked: Asked | None, error: ConsultError, outcome: str = "refused") -> dict[str, Any]:
        """The body of a result for what was not done: nothing of it was sent."""
        return self._nothing(outcome, ident, asked, error.code, self._say(error))

    def failed(self, asked: Asked, text: Text) -> Outcome:
        """What went wrong on this laptop itself."""
        return Outcome("failed", self._nothing("failed", asked.ident, asked, "consult.internal", text))

    def _nothing(self, outcome: str, ident: str, asked: Asked | None, code: str, text: Text) -> dict[str, Any]:
        request = None if asked is None else _request_json(asked)
        body: dict[str, Any] = {"id": ident, "request": request, "code": code, "text": text.to_json()}
        body |= {"answers": [], "guard": []}
        return self._signed(outcome, body).body

    def _signed(self, outcome: str, body: dict[str, Any]) -> Outcome:
        whole = {"outcome": outcome, **body}
        return Outcome(outcome, {**whole, "sig": self._sign(signed_bytes("result", whole)).hex()})

    def _log_since(self, mark: LogEntry | None, asked: Asked) -> list[LogEntry]:
        """The guard's entries about this very request and what ends it, since the one before it."""
        entries = list(self._guard.log)
        start = next((at + 1 for at in range(len(entries) - 1, -1, -1) if entries[at] is mark), 0)
        address, frame_address = asked.target.address, hex_from_id(asked.target.request_id)
        release = release_of(asked.data) if asked.hold else None
        own = (asked.data,) if release is None else (asked.data, release)
        first = next((at for at in range(start, len(entries)) if entries[at].data in own), len(entries))
        wanted = [
            entry
            for entry in entries[first:]
            if (entry.data in own and entry.address == address)
            or (entry.stage in ("frame", "failure") and entry.address == frame_address)
        ]
        return wanted[:_MAX_LOG]


def _state(reading: StateReading, *, unplugged: bool) -> VehicleState:
    """What the car says, and the one thing that only a person can. Nobody's word on speed or supply is taken."""
    return reading.with_word(stands=False, is_unplugged=unplugged, supply_v=None)


def _any(*futures: asyncio.Future[Any]) -> tuple[asyncio.Future[Any], ...]:
    return futures


def _request_json(asked: Asked) -> dict[str, Any]:
    return {"ecu": asked.ecu, "data": asked.data.hex().upper(), "digest": asked.digest}


def _answer_json(answer: Answer) -> dict[str, Any]:
    return {
        "source": answer.ecu,
        "data": answer.payload.hex().upper(),
        "at_us": answer.t_ns // 1000,
        "complete": answer.complete,
    }


def _log_json(entry: LogEntry) -> dict[str, Any]:
    return {
        "t_us": entry.t_ns // 1000,
        "allowed": entry.is_allowed,
        "stage": entry.stage,
        "address": entry.address,
        "data": entry.data.hex().upper(),
        "risk": entry.risk.value,
        "what": entry.what.to_json(),
    }
