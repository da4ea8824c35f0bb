"""Serves the room's page on a recording: read only, one playback for each page.

``POST /redeem``             the printed invite becomes a session, once
``POST /r/ROOM/renew``       a session gets a fresh token
``GET  /r/ROOM/watch``       websocket of a page, see :mod:`consult.replay`
``GET  /r/ROOM/history``     the past of some signals, see :mod:`consult.history`
``GET  /r/ROOM/files/SHA``   a file that people brought, where it stands beside the recording
``GET  /join``, ``/r/ROOM``  the page itself, and its assets
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import ClientConnectionError, WSCloseCode, WSMsgType, web

from consult.errors import CannotListen, ConsultError, MessageBroken, RoomClosed, TooMuch
from consult.fileroutes import file_response
from consult.gate import Gate, json_body
from consult.history import parse_history_query, read_history
from consult.invites import SESSION_LIFE_S, InviteBook, Role, Session, SessionBook
from consult.messages import FROM_VIEWER, clean_name, parse_message
from consult.metrics import Metrics
from consult.pagefiles import load_page
from consult.recording import Recording
from consult.replay import Playback
from consult.roomfiles import RoomFiles
from consult.routes import COOKIE
from consult.serviceconfig import STATIC, ServiceConfig
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from consult.roomkeys import KeySource

__all__ = ["ReplayConfig", "ReplayService", "running_replay"]

_TICK_S: Final = 0.05
_INVITE_LIFE_S: Final = 24 * 3600
_MAX_TEXT_BYTES: Final = 64 << 10
_MAX_PAGES: Final = 20
_ROOM: Final = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class ReplayConfig:
    """How a recording is shown.

    Args:
        path: the recording.
        speed: recorded seconds per second, at the beginning.
        redacted: without the VIN and without raw frames, as an expert saw it.
        keys: where its key may be, should it be encrypted; None looks beside it.
        clock_s: seconds that only grow.
    """

    path: Path
    host: str = "127.0.0.1"
    port: int = 0
    speed: float = 1.0
    redacted: bool = False
    static: Path = STATIC
    keys: KeySource | None = None
    clock_s: Callable[[], float] = time.monotonic


class ReplayService:
    """One recording and the pages that look at it.

    Raises:
        PageMissing: the page was not built.
        RecordingBroken: the file cannot be read.
    """

    def __init__(self, config: ReplayConfig) -> None:
        self.config = config
        self.url = ""
        with Recording(config.path, config.keys) as recording:
            named = recording.room
            self.from_us, self.to_us = recording.bounds()
            events = recording.events()
            self.events = len(events)
            self._told = {event["id"]: event["body"] for event in events if event["kind"] == "file"}
            self._cipher = recording.content.files
            self.blocks = recording.count_blocks()
        self.room = named if _ROOM.fullmatch(named) else hashlib.sha256(str(config.path).encode()).hexdigest()[:12]
        self.role = Role.EXPERT if config.redacted else Role.TECHNICIAN
        self._invites = InviteBook()
        self._sessions = SessionBook()
        self._files = load_page(config.static)
        self._served = ServiceConfig(
            config.path.parent, host=config.host, port=config.port, static=config.static, clock_s=config.clock_s
        )
        self._gate = Gate(self._served, Metrics())
        self._sockets: set[web.WebSocketResponse] = set()

    def invite_url(self) -> str:
        """The address that opens the page, once, within a day."""
        code = self._invites.issue(self.room, self.role, self.config.clock_s(), _INVITE_LIFE_S)
        return f"{self.url}/join#{code}"

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(middlewares=[self._gate.middleware], client_max_size=self._served.limits.body_bytes)
        room = "/r/{room:[0-9a-f]{12}}"
        app.add_routes(
            [
                web.post("/redeem", self.redeem),
                web.post(f"{room}/renew", self.renew),
                web.get(f"{room}/watch", self.watch),
                web.get(f"{room}/history", self.history),
                web.get(f"{room}/files/{{sha256:[0-9a-f]{{64}}}}", self.file, allow_head=False),
                web.get(room, self.page),
                web.get("/join", self.page),
                web.get("/", self.page),
                web.get("/{name:(?:assets/)?[A-Za-z0-9._-]+}", self.page),
            ]
        )
        app.on_shutdown.append(self._say_goodbye)
        return app

    async def _say_goodbye(self, _: web.Application) -> None:
        for socket in set(self._sockets):
            with contextlib.suppress(ClientConnectionError, ConnectionError):
                await socket.send_str(f'{{"type":"closed","code":"{RoomClosed.code}"}}')
        closing = [socket.close(code=WSCloseCode.GOING_AWAY) for socket in set(self._sockets)]
        await asyncio.gather(*closing, return_exceptions=True)

    # -- handlers ----------------------------------------------------------------------------------------------------

    async def redeem(self, request: web.Request) -> web.Response:
        """``POST /redeem``: the invite becomes a session."""
        now_s = self.config.clock_s()
        if not self._gate.joins.take(request.remote, now_s):
            raise TooMuch(Text("attempts to join", "加入尝试"), f"{self._served.limits.joins}/min")
        body = await json_body(request, self._served.limits.request_s)
        code = body.get("invite")
        if not isinstance(code, str) or len(code) > 200:
            raise MessageBroken(Text("field invite", "字段 invite"))
        ident, role = self._invites.redeem(code, now_s)
        token, _ = self._sessions.open(ident, role, clean_name(body.get("name")), now_s)
        response = web.json_response({"room": ident, "role": role.value, "path": f"/r/{ident}"})
        self._set_cookie(response, token)
        return response

    async def renew(self, request: web.Request) -> web.Response:
        """``POST /r/ROOM/renew``: a fresh token."""
        self._session(request)
        fresh = self._sessions.renew(request.cookies.get(COOKIE, ""), self.room, self.config.clock_s())
        response = web.json_response({})
        self._set_cookie(response, fresh)
        return response

    async def history(self, request: web.Request) -> web.Response:
        """``GET /r/ROOM/history``."""
        session = self._session(request)
        if not self._gate.looks.take(session.person, self.config.clock_s()):
            raise TooMuch(Text("looks into the past", "历史查询"), "10/s")
        query = parse_history_query(request.query)
        body = await asyncio.to_thread(read_history, self.config.path, query, self.config.keys)
        return web.Response(body=body, content_type="application/octet-stream")

    async def file(self, request: web.Request) -> web.StreamResponse:
        """``GET /r/ROOM/files/SHA256``: frozen pictures above all."""
        session = self._session(request)
        sha256 = request.match_info["sha256"]
        files = RoomFiles(self.config.path.with_suffix(".files"), self._cipher)
        told = self._told.get(sha256)
        # Where the VIN is hidden a file is called by its hash: its name may hold one.
        name = str(told["name"]) if told is not None and session.role.may_see_vin else sha256
        return await file_response(files, sha256, told, session.role, name)

    async def page(self, request: web.Request) -> web.Response:
        """The page and its assets."""
        name = request.match_info.get("name", "index.html")
        found = self._files.get(name)
        if found is None:
            raise web.HTTPNotFound
        body, content_type = found
        return web.Response(
            body=body, content_type=content_type, charset="utf-8", headers={"Cache-Control": "no-cache"}
        )

    async def watch(self, request: web.Request) -> web.StreamResponse:
        """``GET /r/ROOM/watch``: a page and a playback of its own."""
        session = self._session(request)
        if len(self._sockets) >= _MAX_PAGES:
            raise TooMuch(Text("open pages", "已打开的页面"), str(_MAX_PAGES))
        socket = web.WebSocketResponse(compress=False, max_msg_size=_MAX_TEXT_BYTES, timeout=1.0)
        await socket.prepare(request)
        self._sockets.add(socket)
        try:
            with await asyncio.to_thread(Recording, self.config.path, self.config.keys) as recording:
                await self._play(socket, recording, session)
        except ConsultError as error:
            await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=error.code.encode())
        except (ClientConnectionError, ConnectionError):
            pass  # the page went away while something was sent to it
        finally:
            self._sockets.discard(socket)
        return socket

    async def _play(self, socket: web.WebSocketResponse, recording: Recording, session: Session) -> None:
        """Tells the page what is due and takes what it says, until it closes."""
        clock_s = self.config.clock_s
        playback = await asyncio.to_thread(
            lambda: Playback(
                recording,
                room=self.room,
                role=session.role,
                person=session.person,
                name=session.name,
                speed=self.config.speed,
                now_s=clock_s(),
            )
        )
        await _send(socket, await asyncio.to_thread(playback.begin, clock_s()))
        while not socket.closed:
            await _send(socket, await asyncio.to_thread(playback.step, clock_s()))
            try:
                heard = await socket.receive(timeout=_TICK_S)
            except TimeoutError:
                continue
            if heard.type is not WSMsgType.TEXT:
                return
            message = parse_message(heard.data, FROM_VIEWER)
            await _send(socket, await asyncio.to_thread(playback.take, message, clock_s()))

    def _session(self, request: web.Request) -> Session:
        return self._sessions.find(request.cookies.get(COOKIE), request.match_info["room"], self.config.clock_s())

    def _set_cookie(self, response: web.Response, token: str) -> None:
        response.set_cookie(
            COOKIE, token, path=f"/r/{self.room}", max_age=SESSION_LIFE_S, httponly=True, samesite="Strict"
        )


async def _send(socket: web.WebSocketResponse, items: list[str | bytes]) -> None:
    for item in items:
        if isinstance(item, str):
            await socket.send_str(item)
        else:
            await socket.send_bytes(item)


@contextlib.asynccontextmanager
async def running_replay(config: ReplayConfig) -> AsyncIterator[ReplayService]:
    """The page on a recording, served until the block ends.

    Raises:
        PageMissing: the page was not built.
        RecordingBroken: the file cannot be read.
        CannotListen: the address cannot be bound.
    """
    service = ReplayService(config)
    runner = web.AppRunner(service.application(), access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, config.host, config.port)
        try:
            await site.start()
        except OSError as error:
            raise CannotListen(f"{config.host}:{config.port}", error.strerror or str(error)) from error
        port = int(runner.addresses[0][1])
        service.url = f"http://{f'[{config.host}]' if ':' in config.host else config.host}:{port}"
        yield service
    finally:
        await runner.cleanup()
