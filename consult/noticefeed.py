"""Notices for the pages of who is signed in.

``GET /api/notices``        those behind a number that concern the account
``GET /api/notices/watch``  websocket: the same as they come
"""

from __future__ import annotations

import asyncio
import functools
import json
from typing import TYPE_CHECKING, Any, Final

from aiohttp import WSCloseCode, WSMsgType, web

from consult.accountaccess import account_of, rooms_known_to, signed_in
from consult.accounts import AccountRole
from consult.errors import MessageBroken, TooMuch
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consult.accounts import Account
    from consult.service import Service
    from consult.webhookshapes import KeptNotice
    from consult.webhookstore import NoticeStore

__all__ = ["NoticeFeed", "concerns"]

_CHECK_S: Final = 10.0
"""How often it is looked at whether somebody is still signed in, and on duty."""

_MOST: Final = 200
_SIGNED_OUT: Final = 4401
_MAX_BYTES: Final = 1024


def concerns(kept: KeptNotice, account: Account) -> bool:
    """Whether a notice is for an account: it is named, or on duty when it is for everybody on duty.

    Troubles of the service are for its administrators, whether on duty or not.
    """
    notice = kept.notice
    if notice.to:
        return account.name in notice.to
    if notice.kind == "service" and account.role is AccountRole.ADMIN:
        return True
    return account.on_duty and account.role in (AccountRole.EXPERT, AccountRole.LEAD)


class NoticeFeed:
    """The handlers, and the websockets that are open."""

    def __init__(self, service: Service, store: NoticeStore) -> None:
        self._service = service
        self._store = store
        self._head = 0
        self._news = asyncio.Condition()
        self._recent: list[KeptNotice] = []

    def table(self) -> list[web.RouteDef]:
        """Every route of this."""
        return [web.get("/api/notices", self.notices), web.get("/api/notices/watch", self.watch)]

    async def start(self) -> None:
        """Counts on where an earlier process ended."""
        self._head = await asyncio.to_thread(self._store.head)

    def take(self, kept: Sequence[KeptNotice]) -> None:
        """Notices that are written down: whoever watches gets them."""
        self._recent = [*self._recent, *kept][-_MOST:]
        self._head = kept[-1].n
        self._told = asyncio.create_task(self._tell(), name="notices told")

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def notices(self, request: web.Request) -> web.Response:
        """``GET /api/notices?after=N``: without a number only where the counting stands."""
        account = await account_of(self._service, request)
        after = _after(request)
        head = self._head
        kept = [] if after is None else await asyncio.to_thread(self._store.after, after, _MOST)
        return web.json_response(_told(kept, head, account, rooms_known_to(self._service, request, account)))

    async def watch(self, request: web.Request) -> web.StreamResponse:
        """``GET /api/notices/watch?after=N``: one message with what was missed, then one for each that comes."""
        service = self._service
        account = await account_of(service, request)
        after = _after(request)
        address, limit = service.gate.address(request), service.config.limits.sockets
        if list(service.sockets.values()).count(address) >= limit:
            raise TooMuch(Text("connections", "连接"), str(limit))
        socket = web.WebSocketResponse(compress=False, max_msg_size=_MAX_BYTES, timeout=1.0, heartbeat=20.0)
        if not socket.can_prepare(request):
            raise web.HTTPBadRequest
        service.sockets[socket] = address
        try:
            await socket.prepare(request)
            await self._serve(socket, request, account, after)
        finally:
            service.sockets.pop(socket, None)
        return socket

    async def _serve(
        self, socket: web.WebSocketResponse, request: web.Request, account: Account, after: int | None
    ) -> None:
        hearing = asyncio.create_task(_hear(socket), name="notices heard")
        telling = asyncio.create_task(self._tell_all(socket, request, account, after), name="notices sent")
        try:
            await asyncio.wait([hearing, telling], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (hearing, telling):
                task.cancel()
            await asyncio.gather(hearing, telling, return_exceptions=True)

    async def _tell_all(
        self, socket: web.WebSocketResponse, request: web.Request, account: Account, after: int | None
    ) -> None:
        head = self._head
        missed = [] if after is None or after > head else await asyncio.to_thread(self._store.after, after, _MOST)
        # One that came while the disk was read is among those that were missed: it is not told again.
        seen = max([head, *(one.n for one in missed)])
        may_know = rooms_known_to(self._service, request, account)
        await socket.send_str(json.dumps(_told(missed, seen, account, may_know), ensure_ascii=False))
        while not socket.closed:
            try:
                async with asyncio.timeout(_CHECK_S), self._news:
                    await self._news.wait_for(functools.partial(self._is_behind, seen))
            except TimeoutError:
                pass
            now = await signed_in(self._service, request)
            if now is None:
                await socket.close(code=_SIGNED_OUT)
                return
            fresh = [one for one in self._recent if one.n > seen]
            seen = max(seen, self._head)
            told = _told(fresh, seen, now, rooms_known_to(self._service, request, now))
            if told["notices"]:
                await socket.send_str(json.dumps(told, ensure_ascii=False))

    def _is_behind(self, seen: int) -> bool:
        return self._head > seen


async def _hear(socket: web.WebSocketResponse) -> None:
    """A page says nothing here; this ends when it goes."""
    async for message in socket:
        if message.type is not WSMsgType.PONG:
            await socket.close(code=WSCloseCode.POLICY_VIOLATION)


def _after(request: web.Request) -> int | None:
    after = request.query.get("after")
    if after is None:
        return None
    if not (after.isascii() and after.isdecimal() and len(after) < 16):
        raise MessageBroken(Text("field after", "字段 after"))
    return int(after)


def _told(kept: Sequence[KeptNotice], head: int, account: Account, may_know: Callable[[str], bool]) -> dict[str, Any]:
    """As the page gets it: to whom else it goes is nobody's business, nor what happens in rooms hidden from them."""
    return {
        "head": head,
        "notices": [
            {"n": one.n, "id": one.ident, **{k: v for k, v in one.notice.to_json().items() if k != "to"}}
            for one in kept
            if concerns(one, account) and (not one.notice.room or may_know(one.notice.room))
        ],
    }
