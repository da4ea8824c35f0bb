"""What every HTTP request passes before anything of ours sees it: host, origin, headers, and limits of rate.

A room service often stands on a laptop's loopback address, where any page that the laptop's browser shows can send
requests to it. So a request must name a host that is ours (against DNS rebinding), and one that changes something or
opens a websocket must come from our own page, or from a program that sends no origin at all.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from aiohttp import web

from consult.errors import ConsultError, OriginRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["RateLimit", "error_response", "is_own_host", "make_gate"]

_log = logging.getLogger(__name__)

_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), usb=(), serial=(), bluetooth=()",
}


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
        if len(self._buckets) > 10_000:
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


def is_own_host(host: str, public_url: str | None) -> bool:
    """Whether a ``Host`` header can only mean this service: an address, a name of this machine, the public name."""
    name = urlsplit(f"//{host}").hostname or ""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        machine = socket.gethostname().lower()
        own = {"localhost", machine, f"{machine}.local"}
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


def make_gate(public_url: str | None, *, secure: bool) -> object:
    """The middleware. ``secure``: the service itself speaks TLS."""

    @web.middleware
    async def gate(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        response: web.StreamResponse
        try:
            _check_origin(request, public_url)
            response = await handler(request)
        except ConsultError as error:
            response = error_response(error)
        except web.HTTPException as error:
            response = web.json_response({"error": f"http.{error.status}", "text": error.reason}, status=error.status)
        if not response.prepared:
            response.headers.update(_HEADERS)
            response.headers["Content-Security-Policy"] = _policy(request.host)
            response.headers.setdefault("Cache-Control", "no-store")
            if secure:
                response.headers["Strict-Transport-Security"] = "max-age=86400"
        return response

    return gate


def _check_origin(request: web.Request, public_url: str | None) -> None:
    if not is_own_host(request.host, public_url):
        raise OriginRefused
    changes = request.method not in ("GET", "HEAD") or "upgrade" in request.headers.get("Connection", "").lower()
    origin = request.headers.get("Origin")
    if changes and origin is not None:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or parts.netloc.lower() != request.host.lower():
            raise OriginRefused
