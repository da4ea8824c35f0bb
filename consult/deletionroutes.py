"""Deletion of rooms by who looks after the service.

``POST /api/rooms/ROOM/delete``  deletes a room for good and answers with the certificate; administrators
``GET  /api/deletions``          the certificates, for administrators and auditors
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from consult.accountaccess import require_role
from consult.accounts import AccountRole
from consult.deletion import DELETED, certificates, delete_room, place_of
from consult.deletionredo import has_pending, redo_deletions
from consult.errors import MessageBroken
from consult.gate import json_body
from consult.part import Part
from consult.sealederrors import DeletionFailed, DeletionRefused
from diag.facts import Text

__all__ = ["DeletionRoutes", "delete_in_service"]

if TYPE_CHECKING:
    from consult.service import Service
    from consult.troubles import Trouble

_log = logging.getLogger(__name__)
_END_S: Final = 30.0
_AGAIN_S: Final = 60.0
_POLL_S: Final = 0.05
_FLAGS: Final = ("end", "keep_ciphertext")


async def delete_in_service(
    service: Service, ident: str, reason: str, who: str, *, keep_ciphertext: bool = False, end: bool = False
) -> dict[str, Any]:
    """As :func:`consult.deletion.delete_room`, while the service runs; a room that is open is ended first.

    Args:
        service: where the room is.
        ident: its name.
        reason: why.
        who: who wants it.
        keep_ciphertext: see there.
        end: a room that is open may be ended.

    Raises:
        DeletionError: as there; also where everybody in the room could not be shown out in half a minute.
    """
    room = service.rooms.get(ident)
    if room is not None:
        if not end:
            raise DeletionRefused(ident, Text("it is open; end it first", "会诊室仍开放，请先结束"))
        room.close(DELETED)
        service.keeper.wake()
        try:
            async with asyncio.timeout(_END_S):
                while ident in service.rooms:  # noqa: ASYNC110 - the keeper lets go of it in one of its rounds
                    await asyncio.sleep(_POLL_S)
        except TimeoutError as error:
            raise DeletionFailed(ident, Text("it did not come to its end", "会诊室未能结束")) from error
    now_us = service.config.now_us()
    return await asyncio.to_thread(
        delete_room, service, ident, reason, who, now_us, keep_ciphertext=keep_ciphertext, end=end
    )


class DeletionRoutes(Part):
    """Deletes rooms; says which should be deleted and are not, and tries those again."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._next_s = 0.0
        self._task: asyncio.Task[None] | None = None

    def table(self) -> list[web.RouteDef]:
        """See :class:`consult.part.Part`."""
        return [
            web.post("/api/rooms/{room:[0-9a-f]{12}}/delete", self.delete),
            web.get("/api/deletions", self.list),
        ]

    async def start(self) -> None:
        """See :class:`consult.part.Part`."""
        self._next_s = self.service.config.clock_s() + _AGAIN_S

    async def tend(self) -> None:
        """Tries again, now and then, what could not be deleted; the rooms do not wait for it."""
        if self.service.config.clock_s() < self._next_s or (self._task is not None and not self._task.done()):
            return
        self._next_s = self.service.config.clock_s() + _AGAIN_S
        self._task = asyncio.create_task(self._try_again(), name="deletions")

    async def stop(self) -> None:
        """Waits for the room that is being deleted."""
        if self._task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _try_again(self) -> None:
        service, place = self.service, place_of(self.service)
        try:
            if not service.redone.undone and not await asyncio.to_thread(has_pending, place):
                return
            service.redone = await asyncio.to_thread(redo_deletions, place)
        except Exception:  # noqa: BLE001 - the top of a task: logged, and tried again in a minute
            _log.exception("deletions failed")
            return
        for ident in service.redone.rooms:
            service.sessions.close_room(ident)

    def troubles(self) -> list[Trouble]:
        """See :class:`consult.part.Part`."""
        redone = self.service.redone
        said: list[Trouble] = ["deletion-unfinished"] if redone.failed else []
        return [*said, "deleted-room-back"] if redone.untrusted else said

    async def delete(self, request: web.Request) -> web.Response:
        """``POST /api/rooms/ROOM/delete`` with ``{"reason", "end", "keep_ciphertext"}``."""
        account = await require_role(self.service, request, AccountRole.ADMIN)
        body = await json_body(request, self.service.config.limits.request_s)
        reason = body.get("reason")
        if not isinstance(reason, str):
            raise MessageBroken(Text("field reason", "字段 reason"))
        flags = {name: body.get(name, False) for name in _FLAGS}
        for name, value in flags.items():
            if not isinstance(value, bool):
                raise MessageBroken(Text(f"field {name}", f"字段 {name}"))
        ident = request.match_info["room"]
        certificate = await delete_in_service(self.service, ident, reason, account.name, **flags)
        return web.json_response(certificate)

    async def list(self, request: web.Request) -> web.Response:
        """``GET /api/deletions``."""
        await require_role(self.service, request, AccountRole.ADMIN, AccountRole.AUDITOR)
        found = await asyncio.to_thread(certificates, self.service.config.data)
        return web.json_response({"deletions": found})
