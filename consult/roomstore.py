"""What keeps one room's record: the seam behind which a file, or a server of databases, stands.

:class:`consult.journal.Journal` is the implementation with a SQLite file per room; docs/scaling.md says what another
one has to keep, and ``tests/consult/test_room_store.py`` is the suite that it must pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from consult.journal import ChainHead, ResumedRoom
    from consult.roomcipher import FileCipher
    from consult.wire import BlockHead

__all__ = ["Batch", "RoomStore"]


class RoomStore(Protocol):
    """One room's record, open for writing by one process. Safe to use from several threads.

    Raises:
        JournalBroken: by every method, when it cannot be kept or read; nothing of that call is then kept.
    """

    head: ChainHead
    """The newest entry that is committed."""

    @property
    def path(self) -> Path:
        """Where the record is read as a file: by history, replay, export and check. Another store would offer one."""
        ...

    @property
    def is_encrypted(self) -> bool:
        """Whether the record's content is encrypted at rest."""
        ...

    @property
    def files(self) -> FileCipher | None:
        """What the room's files are encrypted with; None where they are not."""
        ...

    @property
    def must_sign(self) -> bool:
        """Whether something was written and not signed within ten seconds."""
        ...

    def write(
        self,
        *,
        documents: Iterable[tuple[str, int, dict[str, Any]]] = (),
        blocks: Iterable[tuple[BlockHead, bytes]] = (),
        events: Iterable[dict[str, Any]] = (),
    ) -> None:
        """Keeps all of it or nothing, sealed in the chain; a block or an event that is there stays as it is."""
        ...

    def end(self, code: str) -> None:
        """The last entry of the chain, and a signature over it. Ending twice does nothing more."""
        ...

    def blocks(self, stream: int, epoch: int, first: int, last: int) -> list[tuple[int, bytes]]:
        """``(seq, bytes)`` of the blocks kept between two numbers, both included, in order."""
        ...

    def events(self) -> list[dict[str, Any]]:
        """All events in order."""
        ...

    def documents(self, name: str) -> list[tuple[int, dict[str, Any]]]:
        """``(t_us, body)`` of all versions of a document, oldest first."""
        ...

    def resume(self) -> ResumedRoom:
        """Everything that a service needs to go on with the room."""
        ...

    def close(self) -> None:
        """Signs what is not signed yet, and ends all use. Closing twice does nothing more."""
        ...


@dataclass(frozen=True, slots=True)
class Batch:
    """What is written at once; ``epoch`` is that of the streams when it was taken out."""

    blocks: list[tuple[BlockHead, bytes]]
    events: list[dict[str, Any]]
    documents: list[tuple[str, int, dict[str, Any]]]
    epoch: int

    def __bool__(self) -> bool:
        return bool(self.blocks or self.events or self.documents)
