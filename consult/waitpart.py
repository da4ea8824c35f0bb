"""The queue as a part of the service: cars come in by consent and verdict, clocks run, experts are asked.

Everything that happens is written to the database before anybody is told of it. What rooms say is heard as it happens
and taken up within half a second; after a restart it is read from the rooms' records, so nothing is lost between the
two.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final

from consult.accounts import AccountRole
from consult.needs import ESCALATING, need_of_report, verdict_of_report
from consult.part import Part
from consult.routing import Expert
from consult.waitingline import Entry, Step, WaitingLine
from consult.waitnotices import audit_detail, event_body, notice_of
from consult.waitroutes import queue_routes
from consult.waitstatistics import DAY_US
from consult.waitstore import WaitStore
from consult.waitview import QueueFigures

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from aiohttp import web

    from consult.accounts import Account
    from consult.room import Room
    from consult.service import Service

__all__ = ["QueuePart", "expert_from_account", "find_queue"]

_FINDINGS: Final = frozenset({"mark", "request", "chat", "file", "finish"})
"""What of an expert's doing in a room counts as the first finding."""

_EXPERTS: Final = frozenset({"expert", "lead"})
_READY_US: Final = 10_000_000
"""A car whose report has not come by then is offered as one of which nothing is known."""

_FRESH_US: Final = 60_000_000
_SELDOM_US: Final = 3_600_000_000
_WHO: Final = {"id": 0, "role": "service", "name": ""}

_log = logging.getLogger(__name__)


class QueuePart(Part):
    """The queue of one service.

    Attributes:
        line: the cars, as they stand in the database.
        accounts: by name, as read last.
    """

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self.store = WaitStore(service.state)
        self.line = WaitingLine(service.config.queue)
        self.accounts: dict[str, Account] = {}
        self._lock = asyncio.Lock()
        self._heard: list[tuple[str, str, dict[str, Any], int]] = []
        self._met: set[str] = set()
        self._taken: tuple[list[tuple[str, str, dict[str, Any], int]], set[str]] = ([], set())
        """What the change that runs has taken up of what was heard and met."""
        self._done: dict[str, str] = {}
        """Rooms that let experts in and need none any more, and who held them."""
        self._figures: QueueFigures | None = None
        self._forget_again_us = 0

    def table(self) -> list[web.RouteDef]:
        """See :mod:`consult.waitroutes`."""
        return queue_routes(self)

    # -- life --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Takes up the line where the database has it, with what its rooms tell of the meantime."""
        state = self.service.state
        entries, next_n, busy_us = await asyncio.to_thread(
            lambda: (self.store.open_entries(), self.store.next_n(), self.store.busy_us())
        )
        self.line = WaitingLine(self.service.config.queue, entries, next_n=next_n)
        self.line.busy_us.update(busy_us)
        rows = await asyncio.to_thread(
            state.rows, "SELECT room, holder FROM waiting WHERE ending = 'resolved' ORDER BY n"
        )
        self._done.update((room, holder) for room, holder in rows if room in self.service.rooms)
        async with self.change() as steps:
            for entry in entries:
                room = self.service.rooms.get(entry.room)
                if room is None:
                    continue  # ended below
                for event in room.events_after(0):
                    if entry.accepted_us is not None and event["t_us"] >= entry.accepted_us:
                        self.room_heard(room, event)
            steps.extend(self._take_heard())
            steps.extend(await self._end_without_room())
        await self.tend()

    async def _end_without_room(self) -> list[Step]:
        """Cars whose rooms are over, however that came to be, wait no longer."""
        steps: list[Step] = []
        for ident in [one for one in self.line.entries if one not in self.service.rooms]:
            steps += self.line.end(ident, "closed", await asyncio.to_thread(self._closed_us, ident))
        return steps

    def _closed_us(self, room: str) -> int:
        rows = self.service.state.rows("SELECT closed_us FROM room WHERE ident = ? AND closed_us IS NOT NULL", (room,))
        return int(rows[0][0]) if rows else self.service.config.now_us()

    def room_heard(self, room: Room, event: dict[str, Any]) -> None:
        """Notes what stops a clock."""
        if event["kind"] in _FINDINGS:
            self._heard.append((room.ident, event["kind"], event["who"], event["t_us"]))

    def room_met_car(self, room: Room) -> None:
        """Notes that a report has come."""
        self._met.add(room.ident)

    def room_closed(self, room: Room, code: str) -> None:  # noqa: ARG002 - every end is one
        """Notes the end."""
        self._heard.append((room.ident, "closed", {}, self.service.config.now_us()))

    def cars_waiting(self) -> int:
        """For the board's history."""
        return len(self.line.waiting())

    def may_enter(self, account: Account, ident: str) -> bool:
        """The technician agreed that whoever takes the car sees it: that is one of the experts; leads look."""
        if account.role is not AccountRole.EXPERT:
            return True
        entry = self.line.entries.get(ident)
        return account.name == (entry.holder if entry is not None else self._done.get(ident, account.name))

    async def tend(self) -> None:
        """Takes up what was heard, lets cars in and out of the line, and lets time pass."""
        async with self.change() as steps:
            steps.extend(self._take_heard())
            steps.extend(await self._end_without_room())
            steps.extend(self._let_in_and_out())
            if self.line.entries:
                await self._read_accounts()
                steps.extend(self.pass_time())
        await self._forget()

    async def _forget(self) -> None:
        now_us = self.service.config.now_us()
        if now_us < self._forget_again_us:
            return
        self._forget_again_us = now_us + _SELDOM_US
        days = max(self.service.config.queue.days, self.service.config.audit_days)
        await asyncio.to_thread(self.store.forget, now_us - days * DAY_US)

    async def _read_accounts(self) -> None:
        accounts = await asyncio.to_thread(self.service.state.accounts)
        self.accounts = {account.name: account for account in accounts}

    # -- changes -----------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def change(self) -> AsyncIterator[list[Step]]:
        """One change of the line: what the block adds to the list is written down, then told.

        Raises:
            StateBroken: it cannot be written; the line is then as it was, and what was heard is taken up again.
        """
        async with self._lock:
            line, steps = self.line, list[Step]()
            before = dict(line.entries), dict(line.changed), line.next_n, dict(line.busy_us)
            done, self._taken = dict(self._done), ([], set())
            try:
                yield steps
                if line.changed or steps:
                    audit = [
                        self.service.audit(f"queue-{one.kind}", one.who, one.entry.room, audit_detail(one))
                        for one in steps
                    ]
                    await asyncio.to_thread(self.store.save, list(line.changed.values()), audit)
                    line.changed.clear()
                    self._figures = None
            except BaseException:
                line.entries, line.changed, line.next_n, line.busy_us = before
                self._heard, self._met, self._done = self._taken[0] + self._heard, self._taken[1] | self._met, done
                raise
            self._tell(steps)

    def _tell(self, steps: list[Step]) -> None:
        """Tells people, and the car's room, what stands in the database now."""
        first: dict[str, list[str]] = {step.entry.room: [] for step in steps if step.kind == "queued"}
        newest = {step.entry.room: step.entry for step in steps}
        for step in steps:
            room = self.service.rooms.get(step.entry.room)
            account = self.accounts.get(step.who)
            body = event_body(step, account)
            if body is not None and room is not None and room.closed_code is None:
                room.happen("queue", _WHO, step.t_us, body=body)
            if step.kind == "offered" and step.entry.room in first:
                continue  # the notice that it waits tells whom it is offered to
            if step.kind == "queued":
                first[step.entry.room] = [offer.name for offer in newest[step.entry.room].offers]
            if step.kind == "handed-back":
                self._show_out(step)
            notice = notice_of(step, self._leads(step.entry.room), first.get(step.entry.room, ()))
            if notice is not None:
                self.service.notices.publish(notice)

    def _leads(self, ident: str) -> list[str]:
        """The leads on duty who may learn of a room."""
        on_duty = [one.name for one in self.accounts.values() if one.on_duty and one.role is AccountRole.LEAD]
        return [name for name in on_duty if self._may_take(name, ident)]

    def _show_out(self, step: Step) -> None:
        """An expert whose case it is no longer sees it no longer; the keeper writes that down with the next beat."""
        account = self.accounts.get(step.who)
        if account is None or account.role is AccountRole.EXPERT:
            self.service.show_out(self.service.sessions.close_room_accounts(step.entry.room, step.who))

    def pass_time(self) -> list[Step]:
        """What the clock brings, with the accounts as read last."""
        now_us = self.service.config.now_us()
        return self.line.tick(
            now_us, self.on_duty(), may_take=self._may_take, is_there=self._is_there, is_ready=self._is_ready
        )

    def on_duty(self) -> list[Expert]:
        """Everybody who may be asked."""
        return [
            expert_from_account(one)
            for one in self.accounts.values()
            if one.on_duty and one.role in (AccountRole.EXPERT, AccountRole.LEAD)
        ]

    def _may_take(self, name: str, ident: str) -> bool:
        account = self.accounts[name]
        return all(part.may_be_asked(account, ident) for part in self.service.parts)

    def _is_there(self, entry: Entry) -> bool:
        room = self.service.rooms.get(entry.room)
        person = self.service.sessions.person_of(entry.room, entry.holder)
        return room is not None and person in room.members

    def _is_ready(self, entry: Entry) -> bool:
        """Nobody is asked before it is known what is wrong with the car, unless that takes too long."""
        room = self.service.rooms.get(entry.room)
        waited_us = self.service.config.now_us() - entry.queued_us
        return room is None or bool(room.report) or waited_us >= _READY_US

    # -- rooms -------------------------------------------------------------------------------------------------------

    def _take_heard(self) -> list[Step]:
        heard, self._heard = self._heard, []
        self._taken[0].extend(heard)
        steps: list[Step] = []
        for ident, kind, who, t_us in heard:
            entry = self.line.entries.get(ident)
            if entry is None:
                continue
            if kind == "finish":
                steps += self.line.end(ident, "resolved", t_us)
                self._done[ident] = entry.holder
            elif kind == "closed":
                steps += self.line.end(ident, "closed", t_us)
            elif who.get("role") in _EXPERTS:
                steps += self.line.find(ident, t_us)
        return steps

    def _let_in_and_out(self) -> list[Step]:
        """Rooms whose technician lets experts in, and whose car needs one, wait in the line; others do not."""
        met, self._met = self._met, set()
        self._taken[1].update(met)
        steps: list[Step] = []
        for ident, room in self.service.rooms.items():
            if room.closed_code is not None or ident not in self.service.entries:
                continue
            is_known, lets = ident in self.line.entries, self.service.entries[ident].lets_experts_in
            if not lets:
                self._done.pop(ident, None)
                if is_known:
                    steps += self.line.end(ident, "withdrawn", self.service.config.now_us())
            elif (is_known and ident in met) or (
                not is_known and ident not in self._done and verdict_of_report(room.report) in ESCALATING
            ):
                steps += self.queue_room(room)
        return steps

    def queue_room(self, room: Room, language: str | None = None, region: str | None = None) -> list[Step]:
        """Puts a room into the line, or tells the line what its car needs now.

        Args:
            room: its technician has agreed that experts of the service see it.
            language: what the technician speaks; None leaves it as it was.
            region: where they are; likewise.
        """
        known = self.line.entries.get(room.ident)
        need = need_of_report(
            room.report,
            language=language if language is not None else known.need.language if known else "",
            region=region if region is not None else known.need.region if known else "",
        )
        return self.line.queue(room.ident, need, self.service.config.now_us())

    def forget_done(self, ident: str) -> None:
        """The technician asks again after the job was done."""
        self._done.pop(ident, None)

    @property
    def since_us(self) -> int:
        """When the window of the statistics begins."""
        return self.service.config.now_us() - self.service.config.queue.days * DAY_US

    async def figures(self) -> QueueFigures:
        """How long cars waited; read again when something has happened, or a minute has gone by.

        Raises:
            StateBroken: the database cannot be read.
        """
        now_us, since_us, config = self.service.config.now_us(), self.since_us, self.service.config.queue
        if self._figures is None or not 0 <= now_us - self._figures.now_us < _FRESH_US:
            self._figures = await asyncio.to_thread(
                lambda: QueueFigures.of(self.store.since(since_us), config, since_us, now_us)
            )
        return self._figures

    async def refresh(self) -> None:
        """Reads who is on duty, for a change that follows."""
        await self._read_accounts()

    # -- for those who watch the service -------------------------------------------------------------------------------

    def metrics(self) -> str:
        """How many wait and how many are taken."""
        waiting = self.line.waiting()
        lines = [
            "# HELP huizhen_queue_waiting Cars that wait for an expert.",
            "# TYPE huizhen_queue_waiting gauge",
            *(
                f'huizhen_queue_waiting{{severity="{severity}"}} '
                f"{sum(one.need.severity == severity for one in waiting)}"
                for severity in ("danger", "high", "normal")
            ),
            "# HELP huizhen_queue_accepted Cars that an expert has taken.",
            "# TYPE huizhen_queue_accepted gauge",
            f"huizhen_queue_accepted {len(self.line.entries) - len(waiting)}",
        ]
        return "\n".join(lines) + "\n"


def expert_from_account(account: Account) -> Expert:
    """An account as routing sees it; what it holds is the line's to know."""
    return Expert(
        account.name,
        account.role is AccountRole.LEAD,
        account.skills,
        account.languages,
        account.makes,
        account.region,
        at_once=account.at_once,
    )


def find_queue(parts: Iterable[Part]) -> QueuePart:
    """The queue among a service's parts.

    Raises:
        StopIteration: it has none.
    """
    return next(part for part in parts if isinstance(part, QueuePart))
