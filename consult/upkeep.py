"""What the service does for those who operate it: speaks to systemd, and clears old copies of its database away."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from consult.layout import COPY_MARK
from consult.part import Part
from consult.systemdnotify import SystemdNotify

if TYPE_CHECKING:
    from pathlib import Path

    from consult.service import Service

__all__ = ["COPY_DAYS", "Upkeep", "forget_copies"]

COPY_DAYS: Final = 14
"""As long one may go back to the program before; longer the copy would only be a place where deleted data survive."""

_SELDOM_S: Final = 3600.0
_PINGS_PER_WATCH: Final = 3


class Upkeep(Part):
    """Tells systemd that the service is ready, alive and ending.

    It is told from :meth:`tend`, which the keeper calls when all rooms are written: a service that listens and keeps no
    room any more is silent, and is started again.
    """

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self.notify = SystemdNotify()
        self._is_ready = False
        self._ping_again_s = self._clear_again_s = 0.0

    async def tend(self) -> None:
        """Tells systemd what is to be told, and once an hour clears away."""
        now_s = self.service.config.clock_s()
        if self.service.url and not self._is_ready:
            self._is_ready = True
            self.notify.ready(self._status)
        if self._is_ready and self.notify.watchdog_s is not None and now_s >= self._ping_again_s:
            self._ping_again_s = now_s + self.notify.watchdog_s / _PINGS_PER_WATCH
            self.notify.alive(self._status)
        path = self.service.config.state
        if path is not None and now_s >= self._clear_again_s:
            self._clear_again_s = now_s + _SELDOM_S
            await asyncio.to_thread(forget_copies, path, self.service.utc_s)

    async def stop(self) -> None:
        """Tells systemd that this end was meant."""
        self.notify.stopping()

    @property
    def _status(self) -> str:
        people = sum(len(room.members) for room in self.service.rooms.values())
        return f"{len(self.service.rooms)} rooms, {people} people"


def forget_copies(path: Path, now_s: float) -> list[str]:
    """Deletes copies of a database that were kept before a change and are older than :data:`COPY_DAYS`; their names."""
    gone = []
    for copy in path.parent.glob(f"{path.name}{COPY_MARK}*"):
        with contextlib.suppress(OSError):
            if now_s - copy.stat().st_mtime > COPY_DAYS * 86_400:
                copy.unlink()
                gone.append(copy.name)
    return gone
