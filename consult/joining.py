"""A technician's way into a room: an invite is redeemed, and the agent for its room is there."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from consult.agent import Agent
from consult.enrolment import http_to, post
from consult.errors import MessageBroken, RoleRefused
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from consult.messages import Event
    from consult.spool import Spool
    from consult.spoolfolder import RoomIdentity

__all__ = ["joined_room"]


@contextlib.asynccontextmanager
async def joined_room(
    server: str,
    invite: str,
    *,
    name: str = "",
    ca: Path | None = None,
    fingerprint: bytes | None = None,
    on_event: Callable[[Event], None] = lambda _: None,
    on_link: Callable[[bool], None] = lambda _: None,
    open_spool: Callable[[str, str, str], tuple[Spool, RoomIdentity]] | None = None,
) -> AsyncIterator[Agent]:
    """Redeems a technician's invite and gives the agent for its room.

    Args:
        server: ``http(s)://host:port`` of the service.
        invite: the code alone.
        name: how the technician is called in the room.
        on_event: told every event of the room once, in order.
        on_link: told True when the service is reached, False when it is lost.
        fingerprint: SHA-256 of the one certificate to trust, where it is known from elsewhere.
        ca: the certificate of the authority that signed the service's one, where the system does not know it.
        open_spool: given server, room and token, opens the spool on disk; None keeps everything in memory.

    Raises:
        ConsultError: the invite is not good, or the service cannot be reached or trusted.
    """
    server = server.rstrip("/")
    async with http_to(ca, fingerprint) as http:
        answer = await post(http, server, "/redeem", {"invite": invite, "name": name, "agent": True})
        room, token = answer.get("room"), answer.get("token")
        if not isinstance(room, str):
            raise MessageBroken(Text("an answer without a room", "应答缺少会诊室"))
        if not isinstance(token, str):
            raise RoleRefused(str(answer.get("role")))
        spool, identity = open_spool(server, room, token) if open_spool else (None, None)
        agent = Agent(http, server, room, token, on_event=on_event, on_link=on_link, spool=spool, identity=identity)
        with contextlib.closing(agent.spool):
            yield agent
