"""What those who run the service, and devices that shall trust it, can ask of it.

``GET /health``            200 while all is well, else 503 with the reasons
``GET /health/live``       likewise, of those reasons that a restart may mend: for who restarts
``GET /metrics``           figures for Prometheus: for this machine only, or by a bearer token
``GET /trust``             how a device learns to trust the local authority; ``/trust/ca.crt`` is its certificate
``GET /api/openapi.json``  this interface, described
"""

from __future__ import annotations

import hmac
import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiohttp import web

from consult.metrics import CONTENT_TYPE
from consult.troubles import own_troubles, troubles_of
from consult.trustpage import TRUST_STYLE, trust_page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consult.service import Service
    from consult.troubles import Trouble

__all__ = ["OPENAPI", "OperationRoutes"]

OPENAPI: Final = Path(__file__).with_name("openapi.json")


class OperationRoutes:
    """The handlers around one service."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._openapi = OPENAPI.read_bytes()

    def table(self) -> list[web.RouteDef]:
        """Every route for operation and trust."""
        return [
            web.get("/health", self.health),
            web.get("/health/live", self.live),
            web.get("/metrics", self.metrics),
            web.get("/api/openapi.json", self.openapi),
            *self.trust_table(),
        ]

    def trust_table(self) -> list[web.RouteDef]:
        """The routes that are served without TLS too, for devices that do not trust the service yet."""
        return [
            web.get("/trust", self.trust),
            web.get("/trust/ca.crt", self.authority),
            web.get("/trust/style.css", self.style),
        ]

    async def health(self, _: web.Request) -> web.Response:
        """``GET /health``: the reasons are words without names, paths or numbers."""
        return _health(await troubles_of(self.service))

    async def live(self, _: web.Request) -> web.Response:
        """``GET /health/live``: a chat group's server or a media engine that is away ends no rooms."""
        return _health(await own_troubles(self.service))

    async def metrics(self, request: web.Request) -> web.Response:
        """``GET /metrics``: to strangers it does not exist."""
        if not self._may_measure(request):
            raise web.HTTPNotFound
        service = self.service
        accounts = service.state.accounts()
        text = service.metrics.text(
            service.rooms.values(),
            sockets=len(service.sockets),
            accounts=len(accounts),
            on_duty=sum(account.on_duty for account in accounts),
        )
        text += "".join(part.metrics() for part in service.parts)
        return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})

    def _may_measure(self, request: web.Request) -> bool:
        token = self.service.config.metrics_token
        if token is not None:
            scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
            return scheme.lower() == "bearer" and hmac.compare_digest(bearer.encode(), token.encode())
        try:
            direct = ipaddress.ip_address((request.remote or "").partition("%")[0]).is_loopback
        except ValueError:
            return False
        # What a proxy on this machine passes on is not of this machine.
        return direct and not {"X-Forwarded-For", "Forwarded"} & set(request.headers)

    async def openapi(self, _: web.Request) -> web.Response:
        """``GET /api/openapi.json``."""
        return web.Response(body=self._openapi, content_type="application/json", charset="utf-8")

    async def trust(self, request: web.Request) -> web.Response:
        """``GET /trust``: in the visitor's language, or the one asked for by ``?lang=``."""
        certificate = self.service.certificate
        if certificate is None or certificate.authority is None:
            raise web.HTTPNotFound
        lang = request.query.get("lang", request.headers.get("Accept-Language", ""))
        page = trust_page(
            "zh" if lang.lower().startswith("zh") else "en",
            fingerprint=certificate.authority.fingerprint,
            trust_url=self.service.trust_url,
            service_url=self.service.url,
        )
        return web.Response(text=page, content_type="text/html")

    async def style(self, _: web.Request) -> web.Response:
        """``GET /trust/style.css``."""
        return web.Response(text=TRUST_STYLE, content_type="text/css")

    async def authority(self, _: web.Request) -> web.Response:
        """``GET /trust/ca.crt``: the type makes phones offer to install it."""
        certificate = self.service.certificate
        if certificate is None or certificate.authority is None:
            raise web.HTTPNotFound
        return web.Response(
            body=certificate.authority.pem,
            headers={
                "Content-Type": "application/x-x509-ca-cert",
                "Content-Disposition": 'attachment; filename="huizhen-ca.crt"',
            },
        )


def _health(reasons: Sequence[Trouble]) -> web.Response:
    body = {"status": "failing" if reasons else "ok", "reasons": list(reasons)}
    return web.json_response(body, status=503 if reasons else 200)
