"""The room service: rooms, invites and the two websockets, on aiohttp.

``POST /redeem``            an invite becomes a session: a cookie for a page, a bearer token for an agent
``POST /r/ROOM/invites``    the technician asks for an invite for somebody else
``POST /r/ROOM/renew``      a session gets a fresh token
``GET  /r/ROOM/agent``      websocket of the technician's agent
``GET  /r/ROOM/watch``      websocket of a page
``GET  /join``, ``/r/ROOM`` the page itself, and its assets
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import re
import secrets
import socket
import ssl
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aiohttp import WSCloseCode, web

from consult.edge import loopback_addresses
from consult.errors import (
    CannotListen,
    CertificateBroken,
    DataUnusable,
    JournalBroken,
    MessageBroken,
    PageMissing,
    RoleRefused,
    RoomClosed,
    ServiceError,
    TooMuch,
)
from consult.gate import RateLimit, make_gate
from consult.invites import INVITE_LIFE_S, SESSION_LIFE_S, InviteBook, Role, Session, SessionBook
from consult.journal import Journal
from consult.messages import clean_name
from consult.peers import MAX_VIEWER_TEXT_BYTES, PeerContext, serve_agent, serve_viewer
from consult.room import Room
from consult.wire import encode_beat
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

__all__ = ["STATIC", "IssuedInvite", "Service", "ServiceConfig", "require_writable", "running_service"]

STATIC: Final = Path(__file__).with_name("static")
COOKIE: Final = "huizhen_session"
_FLUSH_S: Final = 0.1
_BEAT_S: Final = 0.5
_LAST_WORD_S: Final = 0.05
_IDLE_ROOM_S: Final = 12 * 3600
_MAX_ROOMS: Final = 200
_TYPES: Final = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".json": "application/json",
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """How the service runs.

    Args:
        data: folder for the rooms' journals.
        port: 0 lets the system choose.
        public_url: how people outside reach it, where a proxy stands in front; else it is derived.
        webrtc: False leaves out the live edge; everything then goes by websocket.
        clock_s: seconds that only grow. now_us: UTC microseconds since the Unix epoch.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = 0
    tls_cert: Path | None = None
    tls_key: Path | None = None
    public_url: str | None = None
    static: Path = STATIC
    webrtc: bool = True
    clock_s: Callable[[], float] = time.monotonic
    now_us: Callable[[], int] = field(default=lambda: time.time_ns() // 1000)


@dataclass(frozen=True, slots=True)
class IssuedInvite:
    """An invite as it is handed to a person. ``expires_us``: UTC microseconds since the Unix epoch."""

    code: str
    url: str
    room: str
    role: Role
    expires_us: int


class Service:
    """All rooms of one process."""

    def __init__(self, config: ServiceConfig) -> None:
        self.config = config
        self.rooms: dict[str, Room] = {}
        self.invites = InviteBook()
        self.sessions = SessionBook()
        self.url = ""
        self.fingerprint = _fingerprint(config.tls_cert) if config.tls_cert else None
        self.redeem_limit = RateLimit(burst=20, per_s=0.5)
        self.invite_limit = RateLimit(burst=20, per_s=0.2)
        self.context = PeerContext(
            config.clock_s, config.now_us, webrtc=config.webrtc, edge_addresses=loopback_addresses(config.host)
        )
        self._files = _load_static(config.static)
        self._sockets: set[web.WebSocketResponse] = set()

    # -- invites and rooms -------------------------------------------------------------------------------------------

    def invite(self, room: str, role: Role) -> IssuedInvite:
        """A new invite for a room that exists, or that its technician's coming will open."""
        code = self.invites.issue(room, role, self.config.clock_s())
        expires_us = self.config.now_us() + INVITE_LIFE_S * 1_000_000
        return IssuedInvite(code, f"{self.url}/join#{code}", room, role, expires_us)

    def invite_technician(self) -> IssuedInvite:
        """An invite that opens a room of its own."""
        return self.invite(secrets.token_hex(6), Role.TECHNICIAN)

    def room(self, ident: str) -> Room:
        """A room that is open.

        Raises:
            RoomClosed: it was, or never existed: a stranger learns no difference.
        """
        room = self.rooms.get(ident)
        if room is None or room.closed_code is not None:
            raise RoomClosed
        return room

    def _open_room(self, ident: str) -> Room:
        if len(self.rooms) >= _MAX_ROOMS:
            raise TooMuch(Text("open rooms", "已开设的会诊室"), str(_MAX_ROOMS))
        created_us = self.config.now_us()
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(created_us // 1_000_000))
        room = Room(ident, Journal(self.config.data / f"{stamp}-{ident}.room"), created_us=created_us)
        self.rooms[ident] = room
        return room

    # -- handlers ----------------------------------------------------------------------------------------------------

    async def redeem(self, request: web.Request) -> web.Response:
        """``POST /redeem``: an invite becomes a session, once."""
        now_s = self.config.clock_s()
        if not self.redeem_limit.take(request.remote, now_s):
            raise TooMuch(Text("attempts to join", "加入尝试"), "30/min")
        body = await _json_body(request)
        code, as_agent = body.get("invite"), body.get("agent") is True
        if not isinstance(code, str) or len(code) > 200:
            raise MessageBroken(Text("field invite", "字段 invite"))
        ident, role = self.invites.redeem(code, now_s)
        if ident in self.rooms:
            self.room(ident)
        elif role is Role.TECHNICIAN:
            self._open_room(ident)
        else:
            raise RoomClosed
        token, session = self.sessions.open(ident, role, clean_name(body.get("name")), now_s)
        answer = {"room": ident, "role": role.value, "path": f"/r/{ident}"}
        if as_agent and role is Role.TECHNICIAN:
            return web.json_response({**answer, "token": token})
        response = web.json_response(answer)
        self._set_cookie(request, response, session, token)
        return response

    async def issue(self, request: web.Request) -> web.Response:
        """``POST /r/ROOM/invites``: an invite for somebody else."""
        session = self._session(request)
        if not session.role.may_invite:
            raise RoleRefused(session.role.value)
        if not self.invite_limit.take(session.room, self.config.clock_s()):
            raise TooMuch(Text("invites", "邀请"), "12/min")
        role = (await _json_body(request)).get("role")
        if role not in (Role.EXPERT, Role.OBSERVER, Role.LEAD):
            raise MessageBroken(Text("field role", "字段 role"))
        made = self.invite(self.room(session.room).ident, Role(role))
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
        fresh = self.sessions.renew(old or "", session.room, self.config.clock_s())
        if "Authorization" in request.headers:
            return web.json_response({"token": fresh})
        response = web.json_response({})
        self._set_cookie(request, response, session, fresh)
        return response

    async def agent(self, request: web.Request) -> web.StreamResponse:
        """``GET /r/ROOM/agent``."""
        session = self._session(request)
        if session.role is not Role.TECHNICIAN:
            raise RoleRefused(session.role.value)
        room = self.room(session.room)
        socket_ = await self._upgrade(request, max_bytes=8 << 20)
        try:
            await serve_agent(socket_, room, session, self.context)
        finally:
            self._sockets.discard(socket_)
        return socket_

    async def watch(self, request: web.Request) -> web.StreamResponse:
        """``GET /r/ROOM/watch``."""
        session = self._session(request)
        room = self.room(session.room)
        socket_ = await self._upgrade(request, max_bytes=MAX_VIEWER_TEXT_BYTES)
        try:
            await serve_viewer(socket_, room, session, self.context)
        finally:
            self._sockets.discard(socket_)
        return socket_

    async def page(self, request: web.Request) -> web.Response:
        """``GET /join``, ``/r/ROOM`` and the assets: files of the built page, all held in memory."""
        name = request.match_info.get("name", "index.html")
        found = self._files.get(name)
        if found is None:
            raise web.HTTPNotFound
        body, content_type = found
        # Vite puts a hash of the content into the names of assets.
        cache = "public, max-age=31536000, immutable" if name.startswith("assets/") else "no-cache"
        return web.Response(body=body, content_type=content_type, charset="utf-8", headers={"Cache-Control": cache})

    async def home(self, request: web.Request) -> web.Response:
        """``GET /``: there is nothing to see without an invite."""
        return await self.page(request)

    # -- what the handlers stand on ----------------------------------------------------------------------------------

    def _token(self, request: web.Request) -> str | None:
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        return bearer if scheme.lower() == "bearer" else request.cookies.get(COOKIE)

    def _session(self, request: web.Request) -> Session:
        return self.sessions.find(self._token(request), request.match_info["room"], self.config.clock_s())

    def _set_cookie(self, request: web.Request, response: web.Response, session: Session, token: str) -> None:
        # The path keeps two rooms in one browser apart: neither's cookie is ever sent to the other.
        secure = request.secure or (self.config.public_url or "").startswith("https:")
        path = f"/r/{session.room}"
        response.set_cookie(
            COOKIE, token, path=path, max_age=SESSION_LIFE_S, httponly=True, samesite="Strict", secure=secure
        )

    async def _upgrade(self, request: web.Request, *, max_bytes: int) -> web.WebSocketResponse:
        # Compression costs a core on binary blocks and saves nothing.
        socket_ = web.WebSocketResponse(compress=False, max_msg_size=max_bytes, timeout=1.0, heartbeat=10.0)
        await socket_.prepare(request)
        self._sockets.add(socket_)
        return socket_

    # -- life --------------------------------------------------------------------------------------------------------

    def application(self) -> web.Application:
        """The aiohttp application."""
        gate: Any = make_gate(self.config.public_url, secure=self.config.tls_cert is not None)
        app = web.Application(middlewares=[gate], client_max_size=64 << 10)
        app[SERVICE] = self
        app.add_routes(
            [
                web.post("/redeem", self.redeem),
                web.post("/r/{room:[0-9a-f]{12}}/invites", self.issue),
                web.post("/r/{room:[0-9a-f]{12}}/renew", self.renew),
                web.get("/r/{room:[0-9a-f]{12}}/agent", self.agent),
                web.get("/r/{room:[0-9a-f]{12}}/watch", self.watch),
                web.get("/r/{room:[0-9a-f]{12}}", self.home),
                web.get("/join", self.home),
                web.get("/", self.home),
                web.get("/{name:(?:assets/)?[A-Za-z0-9._-]+}", self.page),
            ]
        )
        app.cleanup_ctx.append(self._life)
        return app

    async def _life(self, app: web.Application) -> AsyncIterator[None]:
        keeper = asyncio.create_task(self._keep(), name="room keeper")
        app.on_shutdown.append(self._say_goodbye)
        yield
        keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeper
        for room in self.rooms.values():
            await self._flush(room)
            room.journal.close()

    async def _say_goodbye(self, _: web.Application) -> None:
        for room in self.rooms.values():
            room.close("consult.room-closed")
        await asyncio.sleep(_LAST_WORD_S)
        closing = [socket_.close(code=WSCloseCode.GOING_AWAY) for socket_ in set(self._sockets)]
        await asyncio.gather(*closing, return_exceptions=True)

    async def _keep(self) -> None:
        """Keeps the rooms until cancelled. Should that fail, no room may go on as if it were recorded."""
        try:
            await self._keep_rooms()
        except Exception:
            _log.exception("the rooms' keeper failed")
            for room in self.rooms.values():
                room.close(ServiceError.code)
            raise

    async def _keep_rooms(self) -> None:
        """Writes journals, sends beats, ends rooms that nobody uses."""
        beat_at_s = 0.0
        while True:
            await asyncio.sleep(_FLUSH_S)
            now_s, now_us = self.config.clock_s(), self.config.now_us()
            for room in list(self.rooms.values()):
                await self._flush(room)
                if now_s >= beat_at_s:
                    self._beat(room, now_us)
                if room.closed_code is not None and room.agent is None and not room.members:
                    self._forget(room)
            if now_s >= beat_at_s:
                beat_at_s = now_s + _BEAT_S

    def _beat(self, room: Room, now_us: int) -> None:
        heads = room.heads(now_us)
        for member in room.members.values():
            member.outbox.say(heads)
            if member.edge is not None:
                member.edge.offer_beat(encode_beat(now_us))
        if room.agent is not None:
            room.agent.say('{"type":"beat"}')
        if room.agent is not None or room.members:
            room.idle_since_us = now_us
        elif now_us - room.idle_since_us > _IDLE_ROOM_S * 1_000_000:
            room.close("consult.room-closed")

    def _forget(self, room: Room) -> None:
        self.sessions.close_room(room.ident)
        del self.rooms[room.ident]
        room.journal.close()

    async def _flush(self, room: Room) -> None:
        batch = room.take_batch()
        if not batch:
            return
        try:
            await asyncio.to_thread(room.write_batch, batch)
        except JournalBroken as error:
            _log.error("room %s: %s", room.ident, error)
            room.close(error.code)
        else:
            room.acknowledge(batch)


SERVICE: Final = web.AppKey("service", Service)


async def _json_body(request: web.Request) -> dict[str, Any]:
    """The request's JSON object. Its content type is checked: a plain form could be sent by any site."""
    if request.content_type != "application/json":
        raise MessageBroken(Text("not JSON", "不是 JSON"))
    try:
        body = await request.json()
    except (ValueError, RecursionError) as error:
        raise MessageBroken(Text("not JSON", "不是 JSON")) from error
    if not isinstance(body, dict):
        raise MessageBroken(Text("not an object", "不是对象"))
    return body


def _load_static(folder: Path) -> dict[str, tuple[bytes, str]]:
    """The built page's files by their names in addresses.

    Raises:
        PageMissing: it was not built.
    """
    if not (folder / "index.html").is_file():
        raise PageMissing(str(folder / "index.html"))
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), _TYPES[path.suffix])
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in _TYPES
    }


def require_writable(folder: Path) -> None:
    """Makes the folder and a file in it, so that a full room is never the first to find out.

    Raises:
        DataUnusable: one of the two fails.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DataUnusable(str(folder), error.strerror or str(error)) from error


def _tls_context(cert: Path, key: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise CertificateBroken(str(cert), str(error)) from error
    return context


def _fingerprint(cert: Path) -> bytes:
    """SHA-256 of the service's own certificate, by which an agent in this process knows it."""
    try:
        first, found, _ = cert.read_text(encoding="ascii").partition("-----END CERTIFICATE-----")
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first[first.index("-----BEGIN") :] + found + "\n")).digest()
    except (OSError, ValueError) as error:
        raise CertificateBroken(str(cert), str(error)) from error


def _outward_address() -> str:
    """The address by which this machine would talk to the rest of the network; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def _derive_url(config: ServiceConfig, port: int) -> str:
    if config.public_url:
        return config.public_url.rstrip("/")
    host = _outward_address() if config.host in ("0.0.0.0", "::", "") else config.host  # noqa: S104 - compared, not bound
    scheme = "https" if config.tls_cert else "http"
    return f"{scheme}://{f'[{host}]' if re.search(':', host) else host}:{port}"


@contextlib.asynccontextmanager
async def running_service(config: ServiceConfig) -> AsyncIterator[Service]:
    """The service, listening until the block ends.

    Raises:
        PageMissing: the page was not built.
        CertificateBroken: the TLS files cannot be used.
        CannotListen: the address cannot be bound.
        DataUnusable: the recordings cannot be kept in the folder.
    """
    require_writable(config.data)
    service = Service(config)
    context = _tls_context(config.tls_cert, config.tls_key) if config.tls_cert else None
    runner = web.AppRunner(service.application(), access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, config.host, config.port, ssl_context=context)
        try:
            await site.start()
        except OSError as error:
            raise CannotListen(f"{config.host}:{config.port}", error.strerror or str(error)) from error
        service.url = _derive_url(config, int(runner.addresses[0][1]))
        yield service
    finally:
        await runner.cleanup()
