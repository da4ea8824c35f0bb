"""What happens in rooms, as lines of the service's log; and whose names no line may hold."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

from consult.errors import StateBroken
from consult.part import Part

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consult.room import Room
    from consult.service import Service

__all__ = ["LogPart", "PeopleNames"]

_log = logging.getLogger("consult.rooms")


class LogPart(Part):
    """A line for each room that opens, meets its car or ends, and for each event: its kind, never its words."""

    def room_opened(self, room: Room) -> None:
        """A room is open."""
        _log.info("room %s: opened", room.ident)

    def room_met_car(self, room: Room) -> None:
        """Its laptop has told its report."""
        _log.info("room %s: car, %d streams", room.ident, len(room.schemas))

    def room_heard(self, room: Room, event: dict[str, Any]) -> None:
        """Something happened there."""
        _log.info("room %s: event %d, %s by %s", room.ident, event["n"], event["kind"], event["who"].get("role", "-"))

    def room_closed(self, room: Room, code: str) -> None:
        """It has ended."""
        _log.info("room %s: closed, %s, %d blocks", room.ident, code, room.blocks_in)


class PeopleNames:
    """The names of everybody whom the service knows now: in rooms, by session, by account."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._accounts: set[str] = set()
        self._version = -1

    def __call__(self) -> Iterable[str]:
        """Names as of now; where the database cannot be read, those of accounts as they were last.

        Every line of the log asks: accounts are read only when they may have changed, and wait for nobody who writes.
        """
        service = self._service
        version = service.state.accounts_version
        if version != self._version:
            with contextlib.suppress(StateBroken):
                rows = service.state.rows("SELECT name, display FROM account")
                self._accounts, self._version = {name for row in rows for name in row}, version
        found = set(self._accounts)
        for room in list(service.rooms.values()):
            found.add(room.agent_name)
            found.update(member.name for member in list(room.members.values()))
        found.update(service.sessions.names())
        return found
