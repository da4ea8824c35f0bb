"""What every HTTP request passes before anything of ours sees it: host, origin, rate, headers, errors.

A room service often stands on a laptop's loopback address, where any page that the laptop's browser shows can send
requests to it. So a request must name a host that is ours (against DNS rebinding), and one that changes something or
opens a websocket must come from our own page, or from a program that sends no origin at all.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from aiohttp import web

from consult.errors import ConsultError, MessageBroken, OriginRefused, ServiceError, TooMuch
from consult.messages import parse_json
from consult.servicelog import log_request
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from consult.accounts import Account
    from consult.invites import Role, Session
    from consult.metrics import Metrics
    from consult.serviceconfig import ServiceConfig

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
    Network = ipaddress.IPv4Network | ipaddress.IPv6Network
    Guard = Callable[[web.Request], Awaitable[None]]
    Hider = Callable[[web.Request, str, Account], bool]
    Welcome = Callable[[web.Request, Session], Awaitable[None]]
    Door = Callable[[web.Request, str, Role, Account | None], Awaitable[None]]

__all__ = [
    "BODY",
    "Gate",
    "RateLimit",
    "client_address",
    "error_response",
    "is_own_host",
    "json_body",
    "per_minute",
    "visitor_address",
]

_log = logging.getLogger(__name__)

_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=(), usb=(), serial=()",
}
BODY: Final = web.RequestKey("body", dict[str, Any])
"""The JSON of a request by which somebody becomes a person of a room."""

_MAX_KEYS: Final = 10_000
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


def _policy(host: str) -> str:
    """Content security policy. Safari does not count websockets as 'self', so they are named."""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        f"connect-src 'self' ws://{host} wss://{host}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'"
    )


@dataclass(slots=True)
class RateLimit:
    """A bucket of tokens per key: ``burst`` at once, then ``per_s`` each second."""

    burst: float
    per_s: float
    _buckets: dict[object, tuple[float, float]] = field(default_factory=dict)

    def take(self, key: object, now_s: float) -> bool:
        """Whether one more is allowed now."""
        if len(self._buckets) > _MAX_KEYS:
            self._buckets = {
                k: (left, at)
                for k, (left, at) in self._buckets.items()
                if left + (now_s - at) * self.per_s < self.burst
            }
        left, at = self._buckets.get(key, (self.burst, now_s))
        left = min(self.burst, left + (now_s - at) * self.per_s)
        if left < 1:
            self._buckets[key] = (left, now_s)
            return False
        self._buckets[key] = (left - 1, now_s)
        return True


def per_minute(count: int) -> RateLimit:
    """As many as ``count`` a minute, all at once if need be."""
    return RateLimit(burst=count, per_s=count / 60)


def visitor_address(
    request: web.Request, trusted: Sequence[Network]
) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Where a request comes from; None is unknown. ``X-Forwarded-For`` counts as far back as trusted proxies vouch."""
    address = request.remote or ""
    told = [part.strip() for part in ",".join(request.headers.getall("X-Forwarded-For", [])).split(",") if part.strip()]
    while told and _is_in(address, trusted):
        address = told.pop()
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, ipaddress.IPv6Address) else found


def client_address(request: web.Request, trusted: Sequence[Network]) -> str:
    """The same as a key for limits: an IPv6 address stands for its /64, all of which one visitor has."""
    found = visitor_address(request, trusted)
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, 64), strict=False).network_address)
    return str(found) if found is not None else "?"


def _is_in(address: str, networks: Sequence[Network]) -> bool:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return any(found in network for network in networks)


def is_own_host(host: str, public_url: str | None) -> bool:
    """Whether a ``Host`` header can only mean this service: an address, a name of this machine, the public name."""
    if not _HOST.fullmatch(host):
        return False
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        machine = socket.gethostname().lower()
        own = {"localhost", machine, f"{machine.partition('.')[0]}.local"}
        if public_url:
            own.add(urlsplit(public_url).hostname or "")
        return name in own
    return True


def error_response(error: ConsultError) -> web.Response:
    """An error as JSON; the page says it in its own language by the code.

    What is wrong inside the service is for its log: the sentence may name places on this machine.
    """
    if error.status >= 500:
        _log.error("%s", error)
        return web.json_response({"error": error.code, "text": "the service has a problem"}, status=error.status)
    return web.json_response({"error": error.code, "text": str(error)}, status=error.status)


async def json_body(request: web.Request, limit_s: float = 20.0) -> dict[str, Any]:
    """The request's JSON object. Its content type is checked: a plain form could be sent by any site.

    Raises:
        MessageBroken: it is none, or takes longer than ``limit_s`` to arrive.
    """
    if request.content_type != "application/json":
        raise MessageBroken(Text("not JSON", "不是 JSON"))
    try:
        async with asyncio.timeout(limit_s):
            body = await request.json(loads=parse_json)
    except TimeoutError as error:
        raise MessageBroken(Text("the request did not arrive in time", "请求未及时到达")) from error
    except (ValueError, RecursionError, LookupError, web.RequestPayloadError) as error:
        raise MessageBroken(Text("not JSON", "不是 JSON")) from error
    if not isinstance(body, dict):
        raise MessageBroken(Text("not an object", "不是对象"))
    return body


class Gate:
    """The middleware around one service, with its limits."""

    def __init__(self, config: ServiceConfig, metrics: Metrics) -> None:
        self._config = config
        self._metrics = metrics
        self._requests = per_minute(config.limits.requests)
        # Not for a local authority: its names would be locked to TLS also on the port where devices learn to trust it.
        self._secure = config.tls_cert is not None
        self.joins = per_minute(config.limits.joins)
        self.logins_by_address = per_minute(config.limits.logins)
        self.logins_by_account = RateLimit(burst=config.limits.logins / 2, per_s=config.limits.logins / 120)
        self.invites = per_minute(12)
        self.looks = RateLimit(burst=30, per_s=10)
        self.guards: list[Guard] = []
        """Asked before every handler; one that raises refuses the request."""
        self.doors: list[Door] = []
        """Asked before somebody becomes a person of a room: ``(request, room, role, account or None)``."""
        self.welcomes: list[Welcome] = []
        """Told once somebody has: ``(request, session)``; the request's JSON is ``request[BODY]``."""
        self.hiders: list[Hider] = []
        """Whether a room is not even hinted at: ``(request, room, account)``."""

        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._pass(request, handler)

        self.middleware = middleware

    def address(self, request: web.Request) -> str:
        """Where a request comes from."""
        return client_address(request, self._config.trusted_proxies)

    def visitor(self, request: web.Request) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The same, to the last bit; None is unknown."""
        return visitor_address(request, self._config.trusted_proxies)

    async def admit(self, request: web.Request, room: str, role: Role, account: Account | None) -> None:
        """Asks all doors before somebody becomes a person of a room.

        Raises:
            AccessError: one of them stays shut.
        """
        for door in self.doors:
            await door(request, room, role, account)

    def hides(self, request: web.Request, room: str, account: Account) -> bool:
        """Whether a room is kept from an account's list."""
        return any(hider(request, room, account) for hider in self.hiders)

    async def welcome(self, request: web.Request, session: Session) -> None:
        """Tells that somebody has become a person of a room, before they are answered."""
        for told in self.welcomes:
            await told(request, session)

    async def _pass(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        response: web.StreamResponse
        began_s = time.perf_counter()
        try:
            self._check(request)
            for guard in self.guards:
                await guard(request)
            response = await handler(request)
        except ConsultError as error:
            self._metrics.count_refused(error.code)
            response = error_response(error)
        except web.HTTPException as error:
            response = web.json_response({"error": f"http.{error.status}", "text": error.reason}, status=error.status)
            if "Allow" in error.headers:
                response.headers["Allow"] = error.headers["Allow"]
        except TimeoutError:
            response = web.json_response({"error": "http.408", "text": "Request Timeout"}, status=408)
        except Exception:  # noqa: BLE001 - the top of a request, logged below
            # Whatever went wrong is for the log, and the visitor gets our headers all the same.
            _log.exception("%s %s", request.method, request.match_info.route.resource)
            response = error_response(ServiceError())
        self._metrics.count_request(response.status)
        log_request(request, response.status, time.perf_counter() - began_s)
        if not response.prepared:
            self._dress(request, response)
        return response

    def _check(self, request: web.Request) -> None:
        if not is_own_host(request.host, self._config.public_url):
            raise OriginRefused
        if not self._requests.take(self.address(request), self._config.clock_s()):
            raise TooMuch(Text("requests", "请求"), f"{self._config.limits.requests}/min")
        changes = request.method not in ("GET", "HEAD") or "upgrade" in request.headers.get("Connection", "").lower()
        origin = request.headers.get("Origin")
        if changes and origin is not None:
            try:
                parts = urlsplit(origin)
            except ValueError:
                raise OriginRefused from None
            if parts.scheme not in ("http", "https") or parts.netloc.lower() != request.host.lower():
                raise OriginRefused

    def _dress(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(_HEADERS)
        host = request.host if is_own_host(request.host, self._config.public_url) else "localhost"
        response.headers["Content-Security-Policy"] = _policy(host)
        response.headers.setdefault("Cache-Control", "no-store")
        if self._secure:
            response.headers["Strict-Transport-Security"] = "max-age=86400"
