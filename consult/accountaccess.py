"""Who sends a request: a person of a room by their session, one of the service's accounts by its sign-in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from consult.errors import LoginRefused, RoleRefused
from consult.invites import digest_of_secret
from consult.routes import COOKIE

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from consult.accounts import Account, AccountRole
    from consult.invites import Session
    from consult.service import Service

__all__ = ["ACCOUNT_COOKIE", "account_of", "require_role", "room_session", "rooms_known_to", "signed_in"]

ACCOUNT_COOKIE: Final = "huizhen_account"


async def signed_in(service: Service, request: web.Request) -> Account | None:
    """The account, or None where nobody is signed in."""
    token = request.cookies.get(ACCOUNT_COOKIE)
    if not token:
        return None
    return await asyncio.to_thread(service.state.find_login, digest_of_secret(token), service.utc_s)


async def account_of(service: Service, request: web.Request) -> Account:
    """The account.

    Raises:
        LoginRefused: nobody is signed in.
    """
    account = await signed_in(service, request)
    if account is None:
        raise LoginRefused
    return account


async def require_role(service: Service, request: web.Request, *roles: AccountRole) -> Account:
    """The account, if it is one of ``roles``.

    Raises:
        LoginRefused: nobody is signed in.
        RoleRefused: it is another one.
    """
    account = await account_of(service, request)
    if account.role not in roles:
        raise RoleRefused(account.role.value)
    return account


def room_session(service: Service, request: web.Request) -> Session:
    """The session that a request about a room carries.

    Raises:
        SessionRefused: none, or one that has ended.
    """
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    token = bearer if scheme.lower() == "bearer" else request.cookies.get(COOKIE)
    return service.sessions.find(token, request.match_info["room"], service.utc_s)


def rooms_known_to(service: Service, request: web.Request, account: Account) -> Callable[[str], bool]:
    """Whether an account may learn from where it is that a room is there at all, by the room's name."""
    return lambda ident: (
        not service.gate.hides(request, ident, account)
        and all(part.may_be_asked(account, ident) for part in service.parts)
    )
