"""The events that somebody who comes is told: bounded in number and size, as they all go into one message. No I/O."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["EventList"]

MAX_EVENTS: Final = 5_000
MAX_CHARS: Final = 4_000_000
"""Half of what may wait for one peer: more, and nobody could come in any more."""

_PASSING: Final = frozenset({"join", "leave", "gap", "call"})
"""Events that anybody can make many of, and nobody reads later; the journal has them all."""


class EventList:
    """The newest events of one room, oldest first.

    Attributes:
        files: what is known of all files that people brought, by SHA-256.
    """

    def __init__(self) -> None:
        self.files: dict[str, dict[str, Any]] = {}
        self._events: list[dict[str, Any]] = []
        self._sizes: dict[int, int] = {}
        self._chars = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._events)

    def after(self, n: int) -> list[dict[str, Any]]:
        """Events with a higher number."""
        return [event for event in self._events if event["n"] > n]

    def restore(self, events: Iterable[dict[str, Any]]) -> None:
        """Those of the journal."""
        for event in events:
            self._put(event, len(json.dumps(event, ensure_ascii=False)))
        self._trim()

    def add(self, event: dict[str, Any], chars: int) -> None:
        """One more, and how long it is as JSON."""
        self._put(event, chars)
        self._trim()

    def _put(self, event: dict[str, Any], chars: int) -> None:
        self._events.append(event)
        self._sizes[event["n"]] = chars
        self._chars += chars
        if event["kind"] == "file":
            self.files[event["id"]] = event["body"]

    def _trim(self) -> None:
        """Of too many the oldest go, those that tell no story first; some more at once, as it looks at all of them."""
        if len(self._events) <= MAX_EVENTS and self._chars <= MAX_CHARS:
            return
        most, most_chars = MAX_EVENTS - MAX_EVENTS // 20, MAX_CHARS - MAX_CHARS // 20
        passing = [event["n"] for event in self._events if event["kind"] in _PASSING]
        dropped = set(passing[: max(len(self._events) - most, MAX_EVENTS // 5)])
        kept = [event for event in self._events if event["n"] not in dropped][-most:]
        chars = sum(self._sizes[event["n"]] for event in kept)
        at = 0
        while at < len(kept) and chars > most_chars:
            chars -= self._sizes[kept[at]["n"]]
            at += 1
        self._events, self._chars = kept[at:], chars
        self._sizes = {event["n"]: self._sizes[event["n"]] for event in self._events}
