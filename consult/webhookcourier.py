"""Serves one webhook: takes what waits for it, at its pace, until the service ends."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Final

from consult.errors import StateBroken
from consult.webhookpace import LIMITS, Pace, wait_after
from consult.webhooksender import make_sender
from consult.webhookshapes import MOST_AT_ONCE, Outcome, how_many_fit

if TYPE_CHECKING:
    from collections.abc import Callable

    from consult.noticesettings import Hook
    from consult.webhooksender import Sender
    from consult.webhookshapes import KeptNotice, Verdict
    from consult.webhookstore import NoticeStore

__all__ = ["Courier"]

_log = logging.getLogger(__name__)

_TICK_S: Final = 0.5
"""How often a courier that waits for a time looks at the clock, which may be moved."""

_TROUBLE_S: Final = 5.0


class Courier:
    """One webhook's task.

    Args:
        hook: whom it serves. store: where its work is written down.
        base_url: the service's address as people reach it, asked each time.
        now_us: UTC microseconds.
    """

    def __init__(
        self,
        hook: Hook,
        store: NoticeStore,
        *,
        base_url: Callable[[], str],
        now_us: Callable[[], int],
        sender: Sender | None = None,
    ) -> None:
        self.hook = hook
        self.pace = Pace(LIMITS.get(hook.kind))
        self.sent = self.messages = self.failures = 0
        self.reason = ""
        """Why the last message was not taken; empty while all is well."""
        self._store = store
        self._base_url = base_url
        self._now_us = now_us
        self._sender = sender or make_sender(hook)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._told = ""

    def start(self) -> None:
        """Begins, in a task of its own."""
        self._task = asyncio.create_task(self._run(), name=f"webhook {self.hook.name}")

    def wake(self) -> None:
        """Something waits."""
        self._wake.set()

    async def stop(self) -> None:
        """Ends; what was under way is sent again after the next start."""
        if self._task is not None:
            self._task.cancel()
        await self._sender.close()
        if self._task is not None:
            await asyncio.wait([self._task])

    @property
    def failing_s(self) -> float:
        """For how long nothing has been taken; 0 while all is well."""
        since_s = self.pace.failing_since_s
        return 0.0 if since_s is None else max(0.0, self._now_s() - since_s)

    def _now_s(self) -> float:
        return self._now_us() / 1e6

    async def _run(self) -> None:
        since_us = self._now_us() - 61_000_000
        while True:
            try:
                times = await asyncio.to_thread(self._store.tried_since, self.hook.name, since_us)
                self.pace.remember(at_us / 1e6 for at_us in times)
                while True:
                    self._wake.clear()
                    wait_s = await self._serve()
                    if wait_s is None or wait_s > 0:
                        await self._rest(wait_s)
            except StateBroken as error:
                _log.error("%s", error)
            except Exception:  # noqa: BLE001 - the top of the task: the other webhooks and this one go on
                _log.exception("webhook %s failed", self.hook.name)
            await asyncio.sleep(_TROUBLE_S)

    async def _rest(self, wait_s: float | None) -> None:
        """Waits to be woken, or until its time has come by the service's clock."""
        until_s = None if wait_s is None else self._now_s() + wait_s
        while not self._wake.is_set() and (until_s is None or self._now_s() < until_s):
            try:
                async with asyncio.timeout(_TICK_S if until_s is None else min(_TICK_S, until_s - self._now_s())):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _serve(self) -> float | None:
        """Sends one message, if there is one and its time has come; how long to wait, None for no limit."""
        now_us, name = self._now_us(), self.hook.name
        due = await asyncio.to_thread(self._store.due, name, now_us, MOST_AT_ONCE)
        if not due:
            next_us = await asyncio.to_thread(self._store.next_us, name)
            return None if next_us is None else max(0.05, (next_us - now_us) / 1e6)
        is_danger = due[0][0].notice.severity == "danger"
        wait_s = self.pace.wait_s(now_us / 1e6, is_danger=is_danger)
        if wait_s > 0:
            return wait_s
        batch = self._batch(due)
        numbers = [one.n for one in batch]
        await asyncio.to_thread(self._store.note_try, name, numbers, now_us)
        self.pace.note_try(now_us / 1e6)
        verdict = await self._sender.send(batch, self._base_url(), now_us)
        await self._take(verdict, numbers)
        return 0.0

    def _batch(self, due: list[tuple[KeptNotice, bool]]) -> list[KeptNotice]:
        """What goes together: danger by itself, and alone what was refused in company."""
        first, is_alone = due[0]
        if is_alone:
            return [first]
        grave = first.notice.severity == "danger"
        some = [one for one, alone in due if not alone and (one.notice.severity == "danger") == grave]
        return some[: how_many_fit(self.hook, some, self._base_url())]

    async def _take(self, verdict: Verdict, numbers: list[int]) -> None:
        """Writes down what became of a message."""
        name, now_us = self.hook.name, self._now_us()
        self.messages += 1
        if verdict.outcome == Outcome.SENT:
            self.sent += len(numbers)
            self.pace.note_sent()
            self.reason = ""
            await asyncio.to_thread(self._store.note_sent, name, numbers, now_us)
            if self._told:
                _log.warning("webhook %s takes notices again", name)
            self._told = ""
            return
        self.failures += 1
        self.reason = verdict.reason
        if verdict.outcome == Outcome.LATER:
            self.pace.note_later(now_us / 1e6, verdict.wait_s)
            await asyncio.to_thread(self._store.note_later, name, numbers, verdict.reason)
        else:
            self.pace.note_refused(now_us / 1e6)
            await asyncio.to_thread(self._refuse, numbers, verdict.reason, now_us)
        if self._told != verdict.reason:
            self._told = verdict.reason
            _log.warning("webhook %s: not taken (%s); tried again for a day", name, verdict.reason)

    def _refuse(self, numbers: list[int], reason: str, now_us: int) -> None:
        if len(numbers) > 1:  # one of them may be at fault: each alone, at once
            waits = [(n, now_us) for n in numbers]
        else:
            tried = self._store.attempts(self.hook.name, numbers)
            chance = random.random()  # noqa: S311 - spreads attempts, keeps no secret
            waits = [(n, now_us + int(wait_after(tried.get(n, 1), chance) * 1e6)) for n in numbers]
        self._store.note_refused(self.hook.name, waits, reason)
