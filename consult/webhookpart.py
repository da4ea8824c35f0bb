"""Notices leave the service: each is written down, then carried to every webhook that takes it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from consult.errors import StateBroken
from consult.noticefeed import NoticeFeed
from consult.notices import KINDS, SEVERITIES
from consult.part import Part
from consult.webhookcourier import Courier
from consult.webhookstore import NoticeStore

if TYPE_CHECKING:
    from aiohttp import web

    from consult.notices import Notice
    from consult.noticesettings import Hook
    from consult.service import Service
    from consult.troubles import Trouble

__all__ = ["NoticePart"]

_log = logging.getLogger(__name__)

_MOST_UNWRITTEN: Final = 1000
_FAILING_S: Final = 600.0
_LOST_US: Final = 3_600_000_000
_LOOK_US: Final = 60_000_000


class NoticePart(Part):
    """Keeps notices, hands them to webhooks and to the pages of who is signed in."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        config = service.config
        self.hooks: tuple[Hook, ...] = (*config.webhooks, *((config.mail,) if config.mail else ()))
        self.store = NoticeStore(service.state)
        self.feed = NoticeFeed(service, self.store)
        self.couriers: tuple[Courier, ...] = ()
        self._unwritten: list[Notice] = []
        self._writing: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._counts: dict[str, dict[str, int]] = {}
        self._lost = 0
        self._look_again_us = 0
        service.notices.listen(self._hear)

    def table(self) -> list[web.RouteDef]:
        """``/api/notices`` and its websocket."""
        return self.feed.table()

    def _hear(self, notice: Notice) -> None:
        if notice.kind not in KINDS or notice.severity not in SEVERITIES:
            raise ValueError(f"a notice of kind {notice.kind!r}, severity {notice.severity!r}")
        if len(self._unwritten) >= _MOST_UNWRITTEN:
            _log.error("too many notices wait for the disk: the oldest is lost")
            del self._unwritten[0]
        self._unwritten.append(notice)
        self._wake.set()

    async def start(self) -> None:
        """Carries on with what an earlier process has left."""
        config = self.service.config
        await self.feed.start()
        self.couriers = tuple(
            Courier(hook, self.store, base_url=lambda: self.service.url, now_us=config.now_us) for hook in self.hooks
        )
        await self._look()
        for courier in self.couriers:
            courier.start()
        self._writing = asyncio.create_task(self._write_on(), name="notices")

    async def _write_on(self) -> None:
        """Writes notices as they come, and wakes who carries them on."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._write()
            except StateBroken as error:
                _log.error("%s", error)
                await asyncio.sleep(1.0)
                self._wake.set()

    async def _write(self) -> None:
        if not self._unwritten:
            return
        some = list(self._unwritten)
        kept = await asyncio.to_thread(self.store.put, some, self.hooks)
        del self._unwritten[: len(some)]
        self.feed.take(kept)
        for courier in self.couriers:
            if any(courier.hook.takes(notice) for notice in some):
                courier.wake()

    async def tend(self) -> None:
        """Once a minute: gives up what has waited for a day, counts."""
        now_us = self.service.config.now_us()
        if now_us >= self._look_again_us:
            self._look_again_us = now_us + _LOOK_US
            await self._look()

    async def _look(self) -> None:
        now_us = self.service.config.now_us()
        names = [hook.name for hook in self.hooks]
        if lost := await asyncio.to_thread(self.store.give_up, names, now_us):
            _log.error("%d notices were given up: no webhook took them in a day", lost)
        self._counts = await asyncio.to_thread(self.store.counts)
        self._lost = await asyncio.to_thread(self.store.dead_since, now_us - _LOST_US)

    async def stop(self) -> None:
        """What was told last is written; who carries it ends."""
        for courier in self.couriers:
            await courier.stop()
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.wait([self._writing])
        await self._write()

    # -- what others see ---------------------------------------------------------------------------------------------

    def troubles(self) -> list[Trouble]:
        """A webhook has taken nothing for ten minutes; notices were given up in the last hour."""
        failing = any(courier.failing_s > _FAILING_S for courier in self.couriers)
        said: list[Trouble] = ["notices-waiting"] if failing else []
        return [*said, "notices-lost"] if self._lost else said

    @property
    def waiting(self) -> int:
        """Notices that wait for a webhook, as counted last."""
        return sum(states.get("waiting", 0) for states in self._counts.values())

    async def to_json(self) -> dict[str, Any]:
        """How the webhooks are, for the board: names, kinds and figures; no address, no key."""
        counts = await asyncio.to_thread(self.store.counts)
        dead = await asyncio.to_thread(self.store.dead)
        return {
            "hooks": [
                {
                    "name": courier.hook.name,
                    "kind": courier.hook.kind,
                    "sent": counts.get(courier.hook.name, {}).get("sent", 0),
                    "waiting": counts.get(courier.hook.name, {}).get("waiting", 0),
                    "dead": counts.get(courier.hook.name, {}).get("dead", 0),
                    "failing_s": round(courier.failing_s, 1),
                    "reason": courier.reason,
                }
                for courier in self.couriers
            ],
            "dead": dead,
        }

    def metrics(self) -> str:
        """By webhook: taken, waiting, given up."""
        lines = [
            "# HELP huizhen_webhook_messages_total Messages tried, by webhook",
            "# TYPE huizhen_webhook_messages_total counter",
            *(f'huizhen_webhook_messages_total{{hook="{one.hook.name}"}} {one.messages}' for one in self.couriers),
            "# HELP huizhen_webhook_failures_total Messages not taken, by webhook",
            "# TYPE huizhen_webhook_failures_total counter",
            *(f'huizhen_webhook_failures_total{{hook="{one.hook.name}"}} {one.failures}' for one in self.couriers),
            "# HELP huizhen_webhook_notices Notices of the last seven days, by webhook and state",
            "# TYPE huizhen_webhook_notices gauge",
        ]
        for one in self.couriers:
            counts = self._counts.get(one.hook.name, {})
            lines += [
                f'huizhen_webhook_notices{{hook="{one.hook.name}",state="{state}"}} {counts.get(state, 0)}'
                for state in ("waiting", "sent", "dead")
            ]
        return "\n".join(lines) + "\n"
