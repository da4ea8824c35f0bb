"""Files of a room by HTTP.

``PUT /r/ROOM/files/SHA256?offset=&size=&name=``  the bytes from an offset on; 409 says at which offset to go on
``GET /r/ROOM/files/SHA256``                       the file, for whose role may have it
"""

from __future__ import annotations

import asyncio
import io
import re
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from urllib.parse import quote

from aiohttp import web

from consult.errors import FileUnknown, MessageBroken, RoleRefused, TooMuch
from consult.gate import RateLimit
from consult.messages import clean_name
from consult.roomfiles import MAX_FILE_BYTES, RoomFiles
from consult.routes import COOKIE, ROOM_PATH
from diag.facts import Text

if TYPE_CHECKING:
    from consult.invites import Role, Session
    from consult.room import Room
    from consult.service import Service

__all__ = ["FileRoutes", "file_response"]

_PIECE: Final = 1 << 16
MAX_PUT_BYTES: Final = 2_000_000
"""Of one request: what a cut costs, and what one request may hold up."""


class FileRoutes:
    """The handlers around one service."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._alone: dict[str, asyncio.Lock] = {}
        self._puts = RateLimit(burst=200, per_s=20)

    def table(self) -> list[web.RouteDef]:
        """The routes."""
        path = f"{ROOM_PATH}/files/{{sha256:[0-9a-f]{{64}}}}"
        return [web.put(path, self.put), web.get(path, self.get, allow_head=False)]

    def _whose(self, request: web.Request) -> tuple[Session, Room, RoomFiles]:
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        token = bearer if scheme.lower() == "bearer" else request.cookies.get(COOKIE)
        session = self.service.sessions.find(token, request.match_info["room"], self.service.utc_s)
        room = self.service.room(session.room)
        return session, room, RoomFiles(room.journal.path.with_suffix(".files"), room.journal.files)

    async def put(self, request: web.Request) -> web.Response:
        """``PUT``: more of a file. What is there already is answered as if it had just come."""
        session, room, files = self._whose(request)
        if not session.role.may_speak:
            raise RoleRefused(session.role.value)
        if not self._puts.take(session.person, self.service.config.clock_s()):
            raise TooMuch(Text("uploads", "上传"), "20/s")
        sha256 = request.match_info["sha256"]
        offset, size = _whole(request, "offset"), _whole(request, "size")
        name = clean_name(request.query.get("name"))
        if not name or "/" in name or "\\" in name:
            raise MessageBroken(Text("parameter name", "参数 name"))
        async with self._alone.setdefault(room.ident, asyncio.Lock()):
            if sha256 in room.files and await asyncio.to_thread(files.find, sha256) is not None:
                return web.json_response({"offset": size, "complete": True})
            made = {ident for ident, told in room.files.items() if "recording" in told}
            await asyncio.to_thread(files.begin, sha256, size, made)
            # One that is whole, and was never told of: the service was killed in between.
            have = await asyncio.to_thread(files.take_back, sha256)
            if offset != have and have < size:
                return web.json_response({"error": "consult.upload-offset", "offset": have}, status=409)
            have += await self._take(request, files, sha256, size - have) if have < size else 0
            if have < size:
                return web.json_response({"offset": have, "complete": False})
            _, kind = await asyncio.to_thread(files.finish, sha256, name)
            who = {"id": session.person, "role": session.role.value, "name": session.name}
            body: dict[str, Any] = {"sha256": sha256, "name": name, "bytes": size, "type": kind.media_type}
            body["open"] = kind.is_open
            room.happen("file", who, self.service.config.now_us(), ident=sha256, text=name, body=body)
            return web.json_response({"offset": size, "complete": True})

    async def _take(self, request: web.Request, files: RoomFiles, sha256: str, most: int) -> int:
        """Takes the request's bytes; what came before a cut is kept."""
        taken = 0
        async with asyncio.timeout(self.service.config.limits.request_s):
            async for piece in request.content.iter_chunked(_PIECE):
                if taken + len(piece) > min(most, MAX_PUT_BYTES):
                    raise TooMuch(Text("bytes of an upload", "上传字节数"), f"{MAX_PUT_BYTES // 1_000_000} MB")
                await asyncio.to_thread(files.append, sha256, piece)
                taken += len(piece)
        return taken

    async def get(self, request: web.Request) -> web.StreamResponse:
        """``GET``: a whole file, never shown as a page."""
        session, room, files = self._whose(request)
        sha256 = request.match_info["sha256"]
        told = room.files.get(sha256)
        name = room.file_name(session.role, told) if told is not None else ""
        return await file_response(files, sha256, told, session.role, name)


async def file_response(
    files: RoomFiles, sha256: str, told: dict[str, Any] | None, role: Role, name: str
) -> web.StreamResponse:
    """A whole file as its event tells of it, called ``name``.

    Raises:
        FileUnknown: nobody told of it, or it is not there.
        RoleRefused: it may hold a VIN, which this role does not see.
    """
    if told is None or await asyncio.to_thread(files.find, sha256) is None:
        raise FileUnknown
    if not (told.get("open") is True or role.may_see_vin):
        raise RoleRefused(role.value)
    response = _WholeFile(files, sha256)
    response.content_length = await asyncio.to_thread(response.measure)
    response.content_type = told["type"]
    response.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(name)}"
    return response


class _WholeFile(web.StreamResponse):
    """A file of the room, piece by piece, decrypted on its way out. Its head is sent after the gate has seen it."""

    def __init__(self, files: RoomFiles, sha256: str) -> None:
        super().__init__()
        self._files = files
        self._sha256 = sha256

    def measure(self) -> int:
        """How long the content is."""
        with self._open() as file:
            return file.seek(0, io.SEEK_END)

    def _open(self) -> BinaryIO:
        file = self._files.open(self._sha256)
        if file is None:
            raise FileUnknown
        return file

    async def write_eof(self, data: bytes = b"") -> None:
        """The content, and the end."""
        if not self.prepared or self.body_length:
            await super().write_eof(data)
            return
        with await asyncio.to_thread(self._open) as file:
            while piece := await asyncio.to_thread(file.read, _PIECE):
                await self.write(piece)
        await super().write_eof(data)


def _whole(request: web.Request, name: str) -> int:
    text = request.query.get(name, "")
    if re.fullmatch(r"[0-9]{1,9}", text) is None or int(text) > MAX_FILE_BYTES:
        raise MessageBroken(Text(f"parameter {name}", f"参数 {name}"))
    return int(text)
