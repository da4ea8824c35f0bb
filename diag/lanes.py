"""Who may ask now: one request per ECU at a time, a functional one alone on the bus, first come first served."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

__all__ = ["Lanes"]


class Lanes:
    """The queue before the bus. A key names an ECU; None is all of them.

    Whoever waits blocks those behind who are in its way, so that a request to all ECUs gets its turn however busy the
    single ones are kept.
    """

    def __init__(self) -> None:
        self._running: set[int | None] = set()
        self._queue: deque[tuple[int | None, asyncio.Future[None]]] = deque()

    @property
    def is_idle(self) -> bool:
        """Nobody asks and nobody waits."""
        return not self._running and not self._queue

    @asynccontextmanager
    async def turn(self, key: int | None) -> AsyncIterator[None]:
        """Waits for its turn and holds it."""
        ticket = key, asyncio.get_running_loop().create_future()
        self._queue.append(ticket)
        self._admit()
        try:
            await ticket[1]
        except asyncio.CancelledError:
            if ticket in self._queue:
                self._queue.remove(ticket)
            else:
                self._running.discard(key)
            self._admit()
            raise
        try:
            yield
        finally:
            self._running.discard(key)
            self._admit()

    def _admit(self) -> None:
        """Lets everybody go who is in the way of nobody running or waiting longer."""
        ahead: set[int | None] = set()
        for ticket in tuple(self._queue):
            key, gate = ticket
            if _are_in_the_way(self._running, key) or _are_in_the_way(ahead, key):
                ahead.add(key)
                continue
            self._queue.remove(ticket)
            self._running.add(key)
            if not gate.done():
                gate.set_result(None)


def _are_in_the_way(others: Collection[int | None], key: int | None) -> bool:
    return bool(others) if key is None else key in others or None in others
