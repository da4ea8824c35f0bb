"""Going on in a room that a killed program left."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from consult.agent import Agent
from consult.enrolment import http_to

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from consult.messages import Event
    from consult.spool import Spool
    from consult.spoolfolder import RoomIdentity

__all__ = ["resumed_room"]


@contextlib.asynccontextmanager
async def resumed_room(
    identity: RoomIdentity,
    spool: Spool,
    *,
    ca: Path | None = None,
    fingerprint: bytes | None = None,
    on_event: Callable[[Event], None] = lambda _: None,
    on_link: Callable[[bool], None] = lambda _: None,
) -> AsyncIterator[Agent]:
    """The agent of a room that was not ended, as :func:`joined_room` gave it.

    Raises:
        CertificateBroken: ``ca`` cannot be used.
    """
    async with http_to(ca, fingerprint) as http:
        agent = Agent(
            http,
            identity.server,
            identity.room,
            identity.token,
            on_event=on_event,
            on_link=on_link,
            spool=spool,
            identity=identity,
        )
        with contextlib.closing(agent.spool):
            yield agent
