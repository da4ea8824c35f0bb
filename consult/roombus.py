"""What is said to all processes that serve rooms: the seam behind which one process, or NATS, stands.

Messages are small JSON objects on a topic. A bus promises little, so that any real one can keep it: every listener of a
topic gets each message that was published after it began to listen, at most once, and those of one publisher in their
order. What must not be lost is in a database before it is said here.

``tests/consult/test_room_bus.py`` is the suite that an implementation must pass.
"""

from __future__ import annotations

import copy
import logging
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    Listener = Callable[[dict[str, Any]], None]

__all__ = ["NOTICES", "LocalBus", "RoomBus"]

NOTICES: Final = "notices"
"""The topic of :class:`consult.notices.NoticeBoard`."""

_log = logging.getLogger(__name__)


class RoomBus(Protocol):
    """Publishes and listens; use it on one event loop."""

    def publish(self, topic: str, message: dict[str, Any]) -> None:
        """Tells all listeners, here and elsewhere. Returns at once; a bus that is down is its own log's trouble."""
        ...

    def listen(self, topic: str, listener: Listener) -> Callable[[], None]:
        """From now on ``listener`` is called with each message on the event loop, until what is returned is called.

        A listener must not block; one that fails is logged and harms no other. It may change what it gets.
        """
        ...


class LocalBus:
    """All in one process: a message has arrived when :meth:`publish` returns."""

    def __init__(self) -> None:
        self._listeners: dict[str, list[Listener]] = {}

    def publish(self, topic: str, message: dict[str, Any]) -> None:
        """See :class:`RoomBus`."""
        for listener in tuple(self._listeners.get(topic, ())):
            try:
                listener(copy.deepcopy(message))
            except Exception:  # noqa: BLE001 - whatever it is, the others go on and the log tells
                _log.exception("a message on %s was not taken", topic)

    def listen(self, topic: str, listener: Listener) -> Callable[[], None]:
        """See :class:`RoomBus`."""
        listeners = self._listeners.setdefault(topic, [])
        listeners.append(listener)

        def leave() -> None:
            if listener in listeners:
                listeners.remove(listener)

        return leave
