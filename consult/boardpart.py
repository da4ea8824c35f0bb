"""The board: how the service is, for leads, auditors and administrators.

``GET /board``      the page
``GET /api/board``  what it shows
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from consult.accountaccess import require_role, rooms_known_to
from consult.accounts import AccountRole
from consult.boardfigures import FIGURES, MINUTE_US, History, RoomRates, memory_mb, percentile, room_json, service_json
from consult.errors import StateBroken
from consult.metrics import journal_lag
from consult.pagefiles import load_page
from consult.part import Part
from consult.troubles import troubles_of
from consult.webhookpart import NoticePart

if TYPE_CHECKING:
    from collections.abc import Callable

    from consult.accounts import Account
    from consult.room import Room
    from consult.service import Service

__all__ = ["BoardPart"]

_log = logging.getLogger(__name__)

_TICK_S: Final = 0.25
_RATE_S: Final = 2.0
_MAY_LOOK: Final = (AccountRole.LEAD, AccountRole.AUDITOR, AccountRole.ADMIN)


class BoardPart(Part):
    """Counts as the service runs; keeps one point a minute."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self.history = History(service.state)
        self.rates = RoomRates()
        self.loop_ms: float | None = None
        """The longest delay of the event loop in the minute that runs."""
        self._last_loop_ms: float | None = None
        self._page = load_page(service.config.static)["index.html"]
        self._watching: asyncio.Task[None] | None = None
        self._rates_again_s = 0.0
        self._minute_us = 0

    def table(self) -> list[web.RouteDef]:
        """The page and its figures."""
        return [web.get("/board", self.page), web.get("/api/board", self.board)]

    async def start(self) -> None:
        """Takes up the last day; begins to watch the event loop."""
        now_us = self.service.config.now_us()
        self._minute_us = now_us + MINUTE_US
        try:
            await asyncio.to_thread(self.history.load, now_us)
        except StateBroken as error:
            _log.error("%s", error)
        self._watching = asyncio.create_task(self._watch_loop(), name="loop delay")

    async def _watch_loop(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + _TICK_S
            await asyncio.sleep(_TICK_S)
            late_ms = round(max(0.0, loop.time() - due_s) * 1000, 1)
            self.loop_ms = late_ms if self.loop_ms is None else max(self.loop_ms, late_ms)

    async def tend(self) -> None:
        """Rates every two seconds, a point every minute."""
        now_s, now_us = self.service.config.clock_s(), self.service.config.now_us()
        if now_s >= self._rates_again_s:
            self._rates_again_s = now_s + _RATE_S
            self.rates.look(self.service.rooms.values(), now_s)
        if now_us >= self._minute_us:
            self._minute_us = now_us + MINUTE_US
            figures = self.figures()
            self._last_loop_ms, self.loop_ms = self.loop_ms, None
            await asyncio.to_thread(self.history.add, now_us, figures)

    def figures(self) -> dict[str, float | None]:
        """One point of :data:`consult.boardfigures.FIGURES`."""
        rooms = list(self.service.rooms.values())
        members = [member for room in rooms for member in room.members.values()]
        blocks_s, bytes_s = self.rates.total()
        values = (
            sum(part.cars_waiting() for part in self.service.parts),
            len(rooms),
            len(members),
            round(blocks_s, 1),
            round(bytes_s),
            percentile((one.line["rtt_ms"] for one in members if one.line is not None), 0.95),
            self.loop_ms,
            memory_mb(),
            max((journal_lag(room) for room in rooms), default=0),
            sum(part.waiting for part in self.service.parts if isinstance(part, NoticePart)),
        )
        return dict(zip(FIGURES, values, strict=True))

    async def stop(self) -> None:
        """Watches no longer."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])

    async def page(self, _: web.Request) -> web.Response:
        """``GET /board``: the page is the same for everybody, it has nothing in it."""
        body, content_type = self._page
        return web.Response(
            body=body, content_type=content_type, charset="utf-8", headers={"Cache-Control": "no-cache"}
        )

    async def board(self, request: web.Request) -> web.Response:
        """``GET /api/board``."""
        account = await require_role(self.service, request, *_MAY_LOOK)
        return web.json_response(await self.to_json(account, rooms_known_to(self.service, request, account)))

    async def to_json(self, account: Account, may_know: Callable[[str], bool]) -> dict[str, Any]:
        """Everything as this account may see it: no VIN, no car; which room and who only where it may know."""
        service = self.service
        rooms = sorted(service.rooms.values(), key=lambda room: room.created_us)
        notices = next((part for part in service.parts if isinstance(part, NoticePart)), None)
        loop_ms = max((one for one in (self.loop_ms, self._last_loop_ms) if one is not None), default=None)
        return {
            "schema": "huizhen.board/1",
            "now_us": service.config.now_us(),
            "rooms": [
                room_json(
                    room,
                    self.rates.by_room.get(room.ident),
                    number=number,
                    is_open=self._may_know(account, room, may_know),
                )
                for number, room in enumerate(rooms, 1)
            ],
            "webhooks": await notices.to_json() if notices is not None else {"hooks": [], "dead": []},
            "service": await service_json(service, loop_ms),
            "troubles": await troubles_of(service),
            "history": self.history.columns(),
        }

    def _may_know(self, account: Account, room: Room, may_know: Callable[[str], bool]) -> bool:
        """Auditors and administrators read in the audit which rooms there are; a lead knows those that let them in."""
        if account.role in (AccountRole.AUDITOR, AccountRole.ADMIN):
            return True
        entry = self.service.entries.get(room.ident)
        return entry is not None and entry.lets_experts_in and may_know(room.ident)
