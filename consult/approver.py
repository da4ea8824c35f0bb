"""What stands between the room and the bus on the technician's laptop: the book of grants, and the hands that do.

The loop around :class:`consult.grants.GrantBook` and :class:`consult.execution.CarHands`. It works as well while the
service is out of reach: what the technician says in the terminal counts at once, and the room hears of it later.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from consult.grantactions import Drop, Gone, Halt, Post, Reject, Run, Show, Why
from consult.messages import Hold, Result, Seen, Stop
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from consult.errors import ConsultError
    from consult.execution import CarHands
    from consult.grantactions import Action, Asked
    from consult.grants import GrantBook
    from consult.messages import Event, Message
    from diag.clearing import StateReading

__all__ = ["Approver", "Notice"]

_LOG = logging.getLogger(__name__)

_POLL_S: Final = 0.05
_SETTLE_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Notice:
    """Something for the technician to know.

    Args:
        kind: ``shown`` (asked, with its state), ``hold`` (granted, waits for the hand), ``running``, ``over`` (done,
            with its result), ``dropped`` (not done), ``rejected`` (a decision that does not count), ``gone`` (nobody
            need answer any more), ``stopped``, ``resumed``.
        ident: the request's id.
    """

    kind: str
    ident: str = ""
    asked: Asked | None = None
    state: StateReading | None = None
    unmet: Text | None = None
    outcome: str = ""
    body: dict[str, Any] = field(default_factory=dict)
    error: ConsultError | None = None


class Approver:
    """Takes the room's events and the technician's words, and lets the hands do what was granted.

    Args:
        book: of grants.
        hands: on the car's bus.
        post: brings a message to the room, again after a cut until it was heard.
        notify: tells the technician.
    """

    def __init__(
        self,
        book: GrantBook,
        hands: CarHands,
        *,
        post: Callable[[Message], None],
        notify: Callable[[Notice], None],
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.book = book
        self._hands, self._post, self._notify, self._now_ns = hands, post, notify, now_ns
        self._asked: dict[str, Asked] = {}
        self._running: dict[str, asyncio.Future[Why]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._counts: dict[str, int] = {}

    @property
    def has_grants(self) -> bool:
        """Whether a stop would end anything."""
        return self.book.has_grants or bool(self._running) or bool(self._hands.sessions.kept)

    # -- the room ----------------------------------------------------------------------------------------------------

    def take(self, event: Event) -> None:
        """An event of the room."""
        was_stopped = self.book.is_stopped
        self._act(self.book.take(event, self._now_ns()))
        if self.book.is_stopped and not was_stopped:
            self._stopped()

    def take_hold(self, hold: Hold) -> None:
        """A sign of the hand on the technician's page."""
        self._hold(hold, is_local=False)

    # -- the technician ----------------------------------------------------------------------------------------------

    def decide(self, ident: str, digest: str, decision: str, *, unplugged: bool = False) -> None:
        """What the technician says in the terminal; see :meth:`GrantBook.decide`."""
        self._act(self.book.decide(ident, digest, decision, self._now_ns(), unplugged=unplugged))

    def hold(self, ident: str) -> None:
        """The technician's hand in the terminal."""
        count = self._counts[ident] = max(self._counts.get(ident, 0), self.book.count_of(ident)) + 1
        self._hold(Hold(ident, count), is_local=True)

    def _hold(self, hold: Hold, *, is_local: bool) -> None:
        actions = self.book.hold(hold, self._now_ns(), is_local=is_local)
        for action in actions:
            if isinstance(action, Reject):  # a hand stays on the button for a moment after the end: no news
                _LOG.info("hold of %s: %s", action.ident, action.error)
        self._act(action for action in actions if not isinstance(action, Reject))

    def stop(self, text: str = "") -> None:
        """The kill switch. It works at once, whatever the network does; the room is told when it can be."""
        self._act(self.book.stop())
        self._post(Stop(text))
        self._stopped()

    def resume(self) -> None:
        """Requests may be granted again."""
        self.book.resume()
        self._post(Stop(resume=True))
        self._notify(Notice("resumed"))

    # -- the loop ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Lets time pass until cancelled; then everything that runs is stopped and its end awaited."""
        try:
            while True:
                self._act(self.book.poll(self._now_ns()))
                await asyncio.sleep(_POLL_S)
        finally:
            self._act(self.book.stop())
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._hands.sessions.leave_all()

    def _stopped(self) -> None:
        self._notify(Notice("stopped"))
        self._start(self._hands.sessions.leave_all(), "leave sessions")

    def _act(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Show(asked):
                    self._asked[asked.ident] = asked
                    self._start(self._look(asked), "look at the car")
                case Run(asked):
                    self._asked[asked.ident] = asked
                    self._running[asked.ident] = asyncio.get_running_loop().create_future()
                    self._notify(Notice("running", asked.ident, asked))
                    self._start(self._run(action), "granted request")
                case Halt(ident, why):
                    halted = self._running.get(ident)
                    if halted is not None and not halted.done():
                        halted.set_result(why)
                case Drop(ident, error, outcome):
                    self._drop(ident, error, outcome)
                case Reject(ident, error):
                    _LOG.warning("request %s: %s", ident, error)
                    self._notify(Notice("rejected", ident, self._asked.get(ident), error=error))
                case Gone(ident):
                    self._gone(ident)
                case Post(decide):
                    self._post(decide)

    def _gone(self, ident: str) -> None:
        held = self.book.held
        kind = "hold" if held is not None and held.ident == ident else "gone"
        self._notify(Notice(kind, ident, self._asked.get(ident)))

    def _drop(self, ident: str, error: ConsultError, outcome: str) -> None:
        asked = self._asked.get(ident)
        body = self._hands.refused(ident, asked, error, outcome)
        self._post(Result(ident, outcome, body))
        self._notify(Notice("dropped", ident, asked, outcome=outcome, body=body, error=error))

    async def _look(self, asked: Asked) -> None:
        await asyncio.sleep(_SETTLE_S)
        if asked not in self.book.open:
            return  # history, told again after a restart: over by now
        reading, unmet = await self._hands.look(asked)
        self._notify(Notice("shown", asked.ident, asked, reading, unmet))
        body = {
            "digest": asked.digest,
            "risk": asked.risk.value,
            "session": self.book.may_last(asked),
            "unplugged": asked.needs_state,
            "state": None if reading is None else reading.to_json(),
            "unmet": None if unmet is None else unmet.to_json(),
        }
        self._post(Seen(asked.ident, body))

    async def _run(self, run: Run) -> None:
        ident, halted = run.asked.ident, self._running[run.asked.ident]
        try:
            outcome = await self._hands.run(run, halted)
        except Exception:  # noqa: BLE001 - the top of a task: logged, and room and technician are told
            _LOG.exception("request %s", ident)
            text = Text("internal error on the laptop; look at its log", "技师电脑内部错误；请查看日志")
            outcome = self._hands.failed(run.asked, text)
        finally:
            self.book.finish(ident)
            self._running.pop(ident, None)
        self._post(Result(ident, outcome.outcome, outcome.body))
        self._notify(Notice("over", ident, run.asked, outcome=outcome.outcome, body=outcome.body))

    def _start(self, work: Any, name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
