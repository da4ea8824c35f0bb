"""Rooms over several services: which one a room belongs to, told from its name alone.

Rendezvous hashing: each shard has a score for each room, the highest wins. Whoever knows the list of shards finds the
same one; a shard that is added takes its share from all others and moves nothing between them. Every shard is a whole
service with a folder and a public address of its own, and opens only rooms that belong to it; invites and links name
its address. Who comes to another shard's door with a room's link is sent on.

Standard: Thaler and Ravishankar, Using Name-Based Mappings to Increase Hit Rates, IEEE/ACM ToN 6(1), 1998.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from consult.service import Service

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

__all__ = ["Shards", "make_door", "new_room_name", "ranked_shards"]

_ROOM_PATH: Final = re.compile(r"/r/([0-9a-f]{12})(?:/|$)")
_ROOM_BYTES: Final = 6


def ranked_shards(room: str, names: Iterable[str]) -> list[str]:
    """All shards, the room's own first, then who would have it without that one."""
    return sorted(names, key=lambda name: (hashlib.sha256(f"{name}\0{room}".encode()).digest(), name), reverse=True)


@dataclass(frozen=True, slots=True)
class Shards:
    """The shards that a service knows.

    Args:
        own: its own name; empty for a service that stands alone.
        urls: name -> public address of each, its own among them.
    """

    own: str = ""
    urls: Mapping[str, str] = field(default_factory=dict)

    def owner(self, room: str) -> str:
        """Whose a room is; one's own name where there is only this one."""
        return ranked_shards(room, self.urls)[0] if self.urls else self.own


def new_room_name(shards: Shards) -> str:
    """A name for a new room, 12 hexadecimal digits, that belongs to this shard."""
    while True:
        name = secrets.token_hex(_ROOM_BYTES)
        if shards.owner(name) == shards.own:
            return name


def make_door(service: Service) -> Any:
    """The middleware that sends visitors on who look for another shard's room. A room that is here is never sent on."""

    @web.middleware
    async def door(request: web.Request, handler: Handler) -> web.StreamResponse:
        shards = service.config.shards
        found = _ROOM_PATH.match(request.path)
        if found is None or not shards.urls or request.method not in ("GET", "HEAD"):
            return await handler(request)
        room, is_websocket = found.group(1), "upgrade" in request.headers.get("Connection", "").lower()
        owner = shards.owner(room)
        # A browser follows no redirect of a websocket; and a room from before the last shard came is still here.
        if owner == shards.own or is_websocket or room in service.rooms or service.state.knows_room(room):
            return await handler(request)
        return web.Response(status=307, headers={"Location": f"{shards.urls[owner]}{request.path_qs}"})

    return door
