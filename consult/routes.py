"""What can be asked of the room service by HTTP about rooms.

``POST /redeem``            an invite becomes a session: a cookie for a page, a bearer token for an agent
``POST /r/ROOM/invites``    the technician asks for an invite for somebody else
``POST /r/ROOM/experts``    the technician lets experts with an account in without an invite, or no longer
``POST /r/ROOM/renew``      a session gets a fresh token
``GET  /r/ROOM/agent``      websocket of the technician's agent
``GET  /r/ROOM/watch``      websocket of a page
``GET  /r/ROOM/history``    the past of some signals, see :mod:`consult.history`
``GET  /r/ROOM/catalogue``  ready requests for the car's ECUs
``GET  /join``, ``/r/ROOM`` the page itself, and its assets
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from consult.catalogue import catalogue_for
from consult.errors import MessageBroken, RoleRefused, RoomClosed, TooMuch
from consult.gate import BODY, json_body
from consult.history import parse_history_query
from consult.invites import SESSION_LIFE_S, Role, Session
from consult.messages import clean_name
from consult.pagefiles import load_page
from consult.peers import MAX_VIEWER_TEXT_BYTES, serve_agent, serve_viewer
from diag.facts import Text

if TYPE_CHECKING:
    from consult.service import Service

__all__ = ["COOKIE", "ROOM_PATH", "RoomRoutes", "is_secure", "set_room_cookie"]

COOKIE: Final = "huizhen_session"
ROOM_PATH: Final = "/r/{room:[0-9a-f]{12}}"


class RoomRoutes:
    """The handlers around one service."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._files = load_page(service.config.static)

    def table(self) -> list[web.RouteDef]:
        """Every route of the service."""
        room = ROOM_PATH
        return [
            web.post("/redeem", self.redeem),
            web.post(f"{room}/invites", self.issue),
            web.post(f"{room}/experts", self.let_experts_in),
            web.post(f"{room}/renew", self.renew),
            web.get(f"{room}/agent", self.agent),
            web.get(f"{room}/watch", self.watch),
            web.get(f"{room}/history", self.history),
            web.get(f"{room}/catalogue", self.catalogue),
            web.get(room, self.home),
            *(web.get(path, self.home) for path in ("/", "/join", "/login", "/rooms")),
            *(web.get(f"/{name}", self.page) for name in self._files),
        ]

    async def redeem(self, request: web.Request) -> web.Response:
        """``POST /redeem``: an invite becomes a session, once."""
        service = self.service
        if not service.gate.joins.take(service.gate.address(request), service.config.clock_s()):
            raise TooMuch(Text("attempts to join", "加入尝试"), f"{service.config.limits.joins}/min")
        body = request[BODY] = await self._body(request)
        code, as_agent = body.get("invite"), body.get("agent") is True
        if not isinstance(code, str) or len(code) > 200:
            raise MessageBroken(Text("field invite", "字段 invite"))
        # Before the invite is used up: who is turned away may come again from elsewhere.
        await service.gate.admit(request, *service.invites.look(code, service.utc_s), None)
        ident, role = service.invites.redeem(code, service.utc_s)
        if ident in service.rooms:
            service.room(ident)
            if as_agent and role is Role.TECHNICIAN:  # an invite into an open room is for a page, never a second laptop
                raise RoleRefused(role.value)
        elif role is Role.TECHNICIAN and not service.state.knows_room(ident):
            service.open_room(ident)
        else:
            raise RoomClosed
        token, session = service.sessions.open(ident, role, clean_name(body.get("name")), service.utc_s)
        # On disk before it is told: an invite that was used stays used, whatever happens now.
        await service.save_access(service.audit("redeem", session.name, ident, role.value))
        await service.gate.welcome(request, session)
        service.metrics.invites_redeemed += 1
        answer = {"room": ident, "role": role.value, "path": f"/r/{ident}"}
        if as_agent and role is Role.TECHNICIAN:
            return web.json_response({**answer, "token": token})
        response = web.json_response(answer)
        set_room_cookie(self.service, request, response, session, token)
        return response

    async def issue(self, request: web.Request) -> web.Response:
        """``POST /r/ROOM/invites``: an invite for somebody else."""
        session = self._session(request)
        if not session.role.may_invite:
            raise RoleRefused(session.role.value)
        if not self.service.gate.invites.take(session.room, self.service.config.clock_s()):
            raise TooMuch(Text("invites", "邀请"), "12/min")
        role = (await self._body(request)).get("role")
        invited = [Role.EXPERT, Role.OBSERVER, Role.LEAD]
        if session.role is Role.TECHNICIAN:
            invited.append(Role.TECHNICIAN)  # their own phone
        if not isinstance(role, str) or role not in invited:
            raise MessageBroken(Text("field role", "字段 role"))
        if session.role is not Role.TECHNICIAN and role != Role.OBSERVER:
            # Who may ask and confirm comes by the technician or by an account: nobody is their own second person.
            raise RoleRefused(session.role.value)
        made = await self.service.invite_soon(self.service.room(session.room).ident, Role(role), session.name)
        return web.json_response(
            {
                "invite": made.code,
                "path": f"/join#{made.code}",
                "url": made.url,
                "role": role,
                "expires_us": made.expires_us,
            }
        )

    async def renew(self, request: web.Request) -> web.Response:
        """``POST /r/ROOM/renew``: the same person, a fresh token."""
        session, old = self._session(request), self._token(request)
        await self._body(request)
        fresh = self.service.sessions.renew(old or "", session.room, self.service.utc_s)
        await self.service.save_access()
        if "Authorization" in request.headers:
            return web.json_response({"token": fresh})
        response = web.json_response({})
        set_room_cookie(self.service, request, response, session, fresh)
        return response

    async def let_experts_in(self, request: web.Request) -> web.Response:
        """``POST /r/ROOM/experts``: whether accounts may enter without an invite; at first, and when it ends, not."""
        session = self._session(request)
        if session.role is not Role.TECHNICIAN:
            raise RoleRefused(session.role.value)
        allowed = (await self._body(request)).get("allowed")
        if not isinstance(allowed, bool):
            raise MessageBroken(Text("field allowed", "字段 allowed"))
        self.service.room(session.room)
        await asyncio.to_thread(self.service.let_experts_in, session.room, allowed, session.name)
        if not allowed:
            self.service.show_out(self.service.sessions.close_room_accounts(session.room))
            await self.service.save_access()
        return web.json_response({"allowed": allowed})

    async def agent(self, request: web.Request) -> web.StreamResponse:
        """``GET /r/ROOM/agent``."""
        session = self._session(request)
        if session.role is not Role.TECHNICIAN:
            raise RoleRefused(session.role.value)
        room = self.service.room(session.room)
        socket_ = await self._upgrade(request, max_bytes=8 << 20)
        try:
            await serve_agent(socket_, room, session, self.service.context)
        finally:
            self.service.sockets.pop(socket_, None)
        return socket_

    async def watch(self, request: web.Request) -> web.StreamResponse:
        """``GET /r/ROOM/watch``."""
        session = self._session(request)
        room = self.service.room(session.room)
        socket_ = await self._upgrade(request, max_bytes=MAX_VIEWER_TEXT_BYTES)
        try:
            await serve_viewer(socket_, room, session, self.service.context)
        finally:
            self.service.sockets.pop(socket_, None)
        return socket_

    async def history(self, request: web.Request) -> web.Response:
        """``GET /r/ROOM/history``."""
        session = self._session(request)
        room = self.service.room(session.room)
        if not self.service.gate.looks.take(session.person, self.service.config.clock_s()):
            raise TooMuch(Text("looks into the past", "历史查询"), "10/s")
        query = parse_history_query(request.query)
        body = await self.service.histories.read(session.person, room.journal.path, query)
        return web.Response(body=body, content_type="application/octet-stream")

    async def catalogue(self, request: web.Request) -> web.Response:
        """``GET /r/ROOM/catalogue``: ready requests for the ECUs of the report."""
        room = self.service.room(self._session(request).room)
        return web.json_response(catalogue_for(room.report, room.desk.allows), headers={"Cache-Control": "no-store"})

    async def page(self, request: web.Request) -> web.Response:
        """``GET /join``, ``/r/ROOM`` and the assets: files of the built page, each with a route of its own."""
        name = request.path.removeprefix("/")
        body, content_type = self._files.get(name, self._files["index.html"])
        # Vite puts a hash of the content into the names of assets.
        cache = "public, max-age=31536000, immutable" if name.startswith("assets/") else "no-cache"
        return web.Response(body=body, content_type=content_type, charset="utf-8", headers={"Cache-Control": cache})

    async def home(self, request: web.Request) -> web.Response:
        """``GET /``: there is nothing to see without an invite."""
        return await self.page(request)

    def _token(self, request: web.Request) -> str | None:
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        return bearer if scheme.lower() == "bearer" else request.cookies.get(COOKIE)

    async def _body(self, request: web.Request) -> dict[str, Any]:
        return await json_body(request, self.service.config.limits.request_s)

    def _session(self, request: web.Request) -> Session:
        room = request.match_info["room"]
        return self.service.sessions.find(self._token(request), room, self.service.utc_s)

    async def _upgrade(self, request: web.Request, *, max_bytes: int) -> web.WebSocketResponse:
        service = self.service
        address, limit = service.gate.address(request), service.config.limits.sockets
        if list(service.sockets.values()).count(address) >= limit:
            raise TooMuch(Text("connections", "连接"), str(limit))
        # Compression costs a core on binary blocks and saves nothing.
        socket_ = web.WebSocketResponse(
            compress=False, autoping=False, max_msg_size=max_bytes, timeout=1.0, heartbeat=10.0
        )
        service.sockets[socket_] = address
        try:
            await socket_.prepare(request)
        except ConnectionError as error:  # who dials several times at once hangs up on the later ones
            service.sockets.pop(socket_, None)
            raise web.HTTPBadRequest from error
        except BaseException:
            service.sockets.pop(socket_, None)
            raise
        return socket_


def is_secure(service: Service, request: web.Request) -> bool:
    """Whether the visitor reaches the service by TLS, its own or a proxy's."""
    return request.secure or (service.config.public_url or "").startswith("https:")


def set_room_cookie(
    service: Service, request: web.Request, response: web.Response, session: Session, token: str
) -> None:
    """Hands a page its session. The path keeps two rooms in one browser apart: neither's cookie goes to the other."""
    response.set_cookie(
        COOKIE,
        token,
        path=f"/r/{session.room}",
        max_age=SESSION_LIFE_S,
        httponly=True,
        samesite="Strict",
        secure=is_secure(service, request),
    )
