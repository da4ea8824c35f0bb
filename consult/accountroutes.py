"""What experts with an account of the service can ask of it.

``POST /login``, ``/logout``  sign in with name and password, and out; the sign-in is a cookie
``GET  /api/me``              who is signed in
``POST /api/duty``            on duty, or no longer
``GET  /api/rooms``           the open rooms that this account may enter
``POST /r/ROOM/enter``        into one of them, without an invite
``GET  /api/audit``           what was done on the service, for auditors and administrators
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from consult.accountaccess import ACCOUNT_COOKIE, account_of
from consult.accounts import LOGIN_LIFE_S, MAX_PASSWORD_CHARS, Account, AccountRole
from consult.errors import LoginRefused, MessageBroken, RoleRefused, RoomClosed, TooMuch
from consult.gate import BODY, json_body
from consult.invites import digest_of_secret, make_secret
from consult.routes import ROOM_PATH, is_secure, set_room_cookie
from diag.facts import Text

if TYPE_CHECKING:
    from consult.room import Room
    from consult.service import Service

__all__ = ["ACCOUNT_COOKIE", "AccountRoutes", "admit", "may_enter"]

_MAX_NAME_CHARS: Final = 100


class AccountRoutes:
    """The handlers around one service."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def table(self) -> list[web.RouteDef]:
        """Every route for accounts."""
        return [
            web.post("/login", self.login),
            web.post("/logout", self.logout),
            web.get("/api/me", self.me),
            web.post("/api/duty", self.duty),
            web.get("/api/rooms", self.rooms),
            web.get("/api/audit", self.audit),
            web.post(f"{ROOM_PATH}/enter", self.enter),
        ]

    async def login(self, request: web.Request) -> web.Response:
        """``POST /login``: the same answer, after the same time, for an unknown name and for a wrong password."""
        service = self.service
        gate, now_s, address = service.gate, service.config.clock_s(), service.gate.address(request)
        body = await self._body(request)
        name, password = body.get("name"), body.get("password")
        if not isinstance(name, str) or not isinstance(password, str):
            raise MessageBroken(Text("fields name and password", "字段 name 和 password"))
        if len(name) > _MAX_NAME_CHARS or len(password) > MAX_PASSWORD_CHARS:
            raise LoginRefused
        name = name.strip().lower()
        limit = f"{service.config.limits.logins}/min"
        if not gate.logins_by_address.take(address, now_s) or not gate.logins_by_account.take(name, now_s):
            raise TooMuch(Text("attempts to sign in", "登录尝试"), limit)
        account = await asyncio.to_thread(service.state.find_account, name)
        if not await service.passwords.fits(account, password) or account is None:
            service.metrics.logins_refused += 1
            # A name that nobody has may be a password in the wrong field: it is not written down.
            who = account.name if account is not None else ""
            await asyncio.to_thread(service.state.note, service.audit("login-refused", who, detail=address))
            raise LoginRefused
        token = make_secret()
        now_s = service.utc_s
        await asyncio.to_thread(
            service.state.open_login,
            digest_of_secret(token),
            account.name,
            now_s + LOGIN_LIFE_S,
            now_s,
            (service.audit("login", account.name, detail=address),),
        )
        service.metrics.logins += 1
        response = web.json_response(account.to_json())
        self._set_cookie(request, response, token, LOGIN_LIFE_S)
        return response

    async def logout(self, request: web.Request) -> web.Response:
        """``POST /logout``: the sign-in ends here and in the database. Rooms that were entered stay entered."""
        account = await self._account(request)
        await self._body(request)
        digest = digest_of_secret(request.cookies[ACCOUNT_COOKIE])
        note = (self.service.audit("logout", account.name),)
        await asyncio.to_thread(self.service.state.close_login, digest, note)
        response = web.json_response({})
        self._set_cookie(request, response, "", 0)
        return response

    async def me(self, request: web.Request) -> web.Response:
        """``GET /api/me``."""
        return web.json_response((await self._account(request)).to_json())

    async def duty(self, request: web.Request) -> web.Response:
        """``POST /api/duty``."""
        account = await self._account(request)
        on_duty = (await self._body(request)).get("on_duty")
        if not isinstance(on_duty, bool):
            raise MessageBroken(Text("field on_duty", "字段 on_duty"))
        changed = replace(account, on_duty=on_duty)
        note = self.service.audit("duty", account.name, detail="on" if on_duty else "off")
        await asyncio.to_thread(self.service.state.put_account, changed, (note,))
        return web.json_response(changed.to_json())

    async def rooms(self, request: web.Request) -> web.Response:
        """``GET /api/rooms``: those whose technician lets experts in; the rest are not hinted at."""
        account = await self._account(request)
        service = self.service
        found = [
            _room_json(room)
            for ident, room in service.rooms.items()
            if room.closed_code is None and may_enter(service, account, ident)
            if not service.gate.hides(request, ident, account)
        ]
        return web.json_response({"rooms": sorted(found, key=lambda room: room["opened_us"], reverse=True)})

    async def enter(self, request: web.Request) -> web.Response:
        """``POST /r/ROOM/enter``: a room that this account may not enter answers as one that does not exist."""
        account = await self._account(request)
        request[BODY] = await self._body(request)
        if account.role.in_room is None:
            raise RoleRefused(account.role.value)
        if not may_enter(self.service, account, self.service.room(request.match_info["room"]).ident):
            raise RoomClosed
        await self.service.gate.admit(request, request.match_info["room"], account.role.in_room, account)
        return await admit(self.service, request, account)

    async def audit(self, request: web.Request) -> web.Response:
        """``GET /api/audit?after=N``: up to a thousand entries behind a number, oldest first."""
        account = await self._account(request)
        if account.role not in (AccountRole.AUDITOR, AccountRole.ADMIN):
            raise RoleRefused(account.role.value)
        after = request.query.get("after", "0")
        if not (after.isascii() and after.isdecimal() and len(after) < 16):
            raise MessageBroken(Text("field after", "字段 after"))
        entries = await asyncio.to_thread(lambda: self.service.state.audit(after=int(after)))
        return web.json_response({"entries": [{"n": n, **entry.to_json()} for n, entry in entries]})

    async def _account(self, request: web.Request) -> Account:
        return await account_of(self.service, request)

    async def _body(self, request: web.Request) -> dict[str, Any]:
        return await json_body(request, self.service.config.limits.request_s)

    def _set_cookie(self, request: web.Request, response: web.Response, token: str, life_s: int) -> None:
        secure = is_secure(self.service, request)
        response.set_cookie(
            ACCOUNT_COOKIE, token, path="/", max_age=life_s, httponly=True, samesite="Strict", secure=secure
        )


def may_enter(service: Service, account: Account, ident: str) -> bool:
    """Whether an account may enter a room: its technician lets experts in, and no part of the service minds."""
    entry = service.entries.get(ident)
    if entry is None or not entry.lets_experts_in or account.role.in_room is None:
        return False
    return all(part.may_enter(account, ident) for part in service.parts)


async def admit(service: Service, request: web.Request, account: Account) -> web.Response:
    """Lets an account whom all doors let pass into the room of a request: its session, as a cookie for the page.

    Raises:
        RoleRefused: it enters no rooms.
        RoomClosed: the room is over.
    """
    ident, role = service.room(request.match_info["room"]).ident, account.role.in_room
    if role is None:
        raise RoleRefused(account.role.value)
    token, session = service.sessions.open(ident, role, account.shown_name, service.utc_s, account.name)
    await service.save_access(service.audit("enter", account.name, ident, role.value))
    await service.gate.welcome(request, session)
    response = web.json_response({"room": ident, "role": role.value, "path": f"/r/{ident}"})
    set_room_cookie(service, request, response, session, token)
    return response


def _room_json(room: Room) -> dict[str, Any]:
    """A room as a list shows it: the kind of car, and nothing that leads to its owner."""
    vehicle = room.report.get("vehicle")
    vehicle = vehicle if isinstance(vehicle, dict) else {}
    return {
        "room": room.ident,
        "path": f"/r/{room.ident}",
        "opened_us": room.created_us,
        "online": room.agent is not None,
        "people": len(room.members),
        "simulated": room.report.get("simulated") is True,
        "vehicle": {key: _short(vehicle.get(key)) for key in ("make", "model", "model_year")},
    }


def _short(value: object) -> str | int | None:
    if isinstance(value, str):
        return value[:60]
    return value if isinstance(value, int) else None
