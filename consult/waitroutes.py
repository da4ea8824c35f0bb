"""What can be asked of the queue by HTTP.

``POST /r/ROOM/escalate``  the technician asks for an expert of the service: that is the consent that one may come in
``GET  /r/ROOM/queue``     where the car is in the line, for the people of its room
``POST /r/ROOM/accept``    an expert takes a car that is offered to them, and enters
``POST /r/ROOM/pass``      an expert declines an offer, or hands a case back
``GET  /api/queue``        the queue as the account may see it, its clocks, figures and staffing
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from consult.accountaccess import account_of, require_role, room_session, rooms_known_to
from consult.accountroutes import admit
from consult.accounts import AccountRole
from consult.errors import MessageBroken, RoleRefused, RoomClosed, StateBroken
from consult.gate import BODY, json_body
from consult.invites import Role
from consult.routes import ROOM_PATH
from consult.waiterrors import OfferGone
from consult.waitingline import STAGES
from consult.waitview import place_json, queue_json
from diag.facts import Text

if TYPE_CHECKING:
    from consult.accounts import Account
    from consult.waitpart import QueuePart

__all__ = ["queue_routes"]


_TAG: Final = re.compile(r"[A-Za-z0-9-]{0,16}")
"""A language (BCP 47) or a region, such as ``zh`` and ``CN``."""


class _QueueRoutes:
    """The handlers around one queue."""

    def __init__(self, part: QueuePart) -> None:
        self.part = part
        self.service = part.service

    async def escalate(self, request: web.Request) -> web.Response:
        """``POST /r/ROOM/escalate``: from now on accounts may see the room, and it waits for one of them."""
        session = room_session(self.service, request)
        if session.role is not Role.TECHNICIAN:
            raise RoleRefused(session.role.value)
        body = await self._body(request)
        words = {}
        for key in ("language", "region"):
            given = body.get(key)
            if given is not None and not (isinstance(given, str) and _TAG.fullmatch(given)):
                raise MessageBroken(Text(f"field {key}", f"字段 {key}"))
            words[key] = given
        room = self.service.room(session.room)
        async with self.part.change() as steps:
            # Within the change: between the two the line would ask somebody without the words of the technician.
            if not self.service.entries[room.ident].lets_experts_in:
                await asyncio.to_thread(self.service.let_experts_in, room.ident, True, session.name)
            self.part.forget_done(room.ident)
            await self.part.refresh()
            steps.extend(self.part.queue_room(room, words["language"], words["region"]))
            steps.extend(self.part.pass_time())
        return web.json_response(await self._place(room.ident))

    async def place(self, request: web.Request) -> web.Response:
        """``GET /r/ROOM/queue``."""
        session = room_session(self.service, request)
        return web.json_response(await self._place(self.service.room(session.room).ident))

    async def _place(self, ident: str) -> dict[str, Any]:
        await self.part.refresh()
        return place_json(self.part, ident, await self.part.figures())

    async def accept(self, request: web.Request) -> web.Response:
        """``POST /r/ROOM/accept``: a room that was never offered to this account answers as one that does not exist."""
        account = await self._expert(request)
        ident = self.service.room(request.match_info["room"]).ident
        request[BODY] = await self._body(request)
        self._must_know(account, ident)
        if (role := account.role.in_room) is not None:
            await self.service.gate.admit(request, ident, role, account)
        async with self.part.change() as steps:
            await self.part.refresh()
            self._must_know(account, ident)
            expert = next((one for one in self.part.on_duty() if one.name == account.name), None)
            if expert is None:
                raise OfferGone
            steps.extend(self.part.line.accept(ident, expert, self.service.config.now_us()))
            steps.extend(self.part.pass_time())
        try:
            return await admit(self.service, request, account)
        except Exception:
            # Nobody holds a car that they never entered; where that cannot be written either, they may still enter it.
            with contextlib.suppress(StateBroken, OfferGone):
                async with self.part.change() as steps:
                    steps.extend(self.part.line.pass_on(ident, account.name, self.service.config.now_us()))
                    steps.extend(self.part.pass_time())
            raise

    async def decline(self, request: web.Request) -> web.Response:
        """``POST /r/ROOM/pass``."""
        account = await self._expert(request)
        ident = self.service.room(request.match_info["room"]).ident
        await self._body(request)
        async with self.part.change() as steps:
            await self.part.refresh()
            self._must_know(account, ident)
            steps.extend(self.part.line.pass_on(ident, account.name, self.service.config.now_us()))
            steps.extend(self.part.pass_time())
        return web.json_response({})

    def _must_know(self, account: Account, ident: str) -> None:
        """Refuses whoever has never heard of the car as if it were not there."""
        entry = self.part.line.entries.get(ident)
        entered = self.service.entries.get(ident)
        if entered is None or not entered.lets_experts_in or entry is None:
            raise RoomClosed
        knows = entry.offer_to(account.name) or account.name in (*entry.asked, entry.holder)
        if not knows and entry.stage != STAGES[-1] and account.role is not AccountRole.LEAD:
            raise RoomClosed

    async def queue(self, request: web.Request) -> web.Response:
        """``GET /api/queue``."""
        account = await account_of(self.service, request)
        await self.part.refresh()
        may_know = rooms_known_to(self.service, request, account)
        return web.json_response(queue_json(self.part, account, await self.part.figures(), may_know))

    async def _expert(self, request: web.Request) -> Account:
        return await require_role(self.service, request, AccountRole.EXPERT, AccountRole.LEAD)

    async def _body(self, request: web.Request) -> dict[str, Any]:
        return await json_body(request, self.service.config.limits.request_s)


def queue_routes(part: QueuePart) -> list[web.RouteDef]:
    """Every route of the queue."""
    routes = _QueueRoutes(part)
    return [
        web.post(f"{ROOM_PATH}/escalate", routes.escalate),
        web.get(f"{ROOM_PATH}/queue", routes.place),
        web.post(f"{ROOM_PATH}/accept", routes.accept),
        web.post(f"{ROOM_PATH}/pass", routes.decline),
        web.get("/api/queue", routes.queue),
    ]
