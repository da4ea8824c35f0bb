"""What a call needs of a media engine, whichever it is: rooms in which people publish and watch, and recordings.

Another engine takes Janus' place by another module with these two classes, and a line in
:func:`consult.mediarooms.make_engine`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

__all__ = ["Feed", "MediaEngine", "MediaRoom", "Offer"]


@dataclass(frozen=True, slots=True)
class Feed:
    """One media section of an offer: whose sound (``audio``) or picture (``video``) it carries; 0 is nobody's now."""

    mid: str
    person: int
    kind: str

    def to_json(self) -> dict[str, Any]:
        """As the page gets it."""
        return {"mid": self.mid, "person": self.person, "kind": self.kind}


@dataclass(frozen=True, slots=True)
class Offer:
    """The engine's offer to somebody who watches.

    Args:
        sdp: empty where nothing has changed, or there is nothing to watch.
        feeds: all sections of it.
        is_fresh: it begins a connection anew; an older one of this person is gone.
    """

    sdp: str = ""
    feeds: tuple[Feed, ...] = field(default=())
    is_fresh: bool = False


class MediaRoom(Protocol):
    """One call at an engine. All errors are :class:`consult.callerrors.MediaEngineFailed`."""

    on_change: Callable[[], None]
    """Called when somebody's media can be watched, or no longer."""

    @property
    def publishers(self) -> Collection[int]:
        """Whose media can be watched now."""
        ...

    @property
    def watchers(self) -> Collection[int]:
        """Who watches."""
        ...

    async def publish(self, person: int, sdp: str) -> str:
        """The answer to somebody's offer; a further offer of the same connection changes it."""
        ...

    async def unpublish(self, person: int) -> None:
        """Ends what somebody publishes."""
        ...

    async def watch(self, person: int, people: Collection[int], *, fresh: bool = False) -> Offer:
        """Somebody wants to see and hear these people, of those who publish now, and nobody else.

        ``fresh``: they have no connection (any more), so the offer begins one.
        """
        ...

    async def take_answer(self, person: int, sdp: str) -> None:
        """Somebody's answer to the last offer of :meth:`watch`."""
        ...

    async def take_candidate(self, person: int, of: str, candidate: dict[str, Any]) -> None:
        """A candidate for somebody's ``publish`` or ``watch`` connection."""
        ...

    async def leave(self, person: int) -> None:
        """Somebody is gone with everything."""
        ...

    async def start_recording(self, folder: Path) -> None:
        """From now on everything published is kept in a folder, in files of the engine's own form."""
        ...

    async def stop_recording(self) -> None:
        """Nothing more is kept; the files are whole when this returns."""
        ...

    async def close(self) -> None:
        """Ends the call at the engine."""
        ...


class MediaEngine(Protocol):
    """An engine that runs, or can be started."""

    async def start(self) -> None:
        """Starts or reaches it; returns when it can take rooms.

        Raises:
            MediaEngineBroken: it cannot be started or reached.
        """
        ...

    async def open_room(self) -> MediaRoom:
        """A new call.

        Raises:
            MediaEngineFailed: it refused.
        """
        ...

    async def wait_lost(self) -> None:
        """Waits until it is lost, with all its rooms."""
        ...

    async def close(self) -> None:
        """Ends it, where it is ours, and all connections to it."""
        ...

    @property
    def pid(self) -> int | None:
        """The process, where it is ours."""
        ...

    def person_of_file(self, name: str) -> int | None:
        """Whose media a file of a recording holds; None where the name tells none."""
        ...
