"""What keeps accounts, rooms, invites and sessions: the seam behind which SQLite, or PostgreSQL, stands.

:class:`consult.servicestate.ServiceState` is the implementation with one SQLite file. Parts of the service keep tables
of their own by SQL in one module each (``*store.py``): those modules are their seam.
``tests/consult/test_state_store.py`` is the suite that another implementation must pass; docs/scaling.md says what it
has to hold besides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from consult.accounts import Account
    from consult.invites import Invite, Session
    from consult.servicestate import AuditEntry, RoomEntry

__all__ = ["StateStore"]


class StateStore(Protocol):
    """What a service must still know after its process was killed. Safe to use from several threads.

    Each write is one transaction, on disk before the call returns.

    Raises:
        StateBroken: by every method, when it cannot be used.
    """

    def claim(self) -> None:
        """Makes this process the one that serves these rooms; its end frees the claim, however it ends.

        Raises:
            DataInUse: another process holds it.
        """
        ...

    def changed_elsewhere(self) -> bool:
        """Whether another program has written since this was asked last."""
        ...

    def save_access(
        self,
        invites: Mapping[bytes, Invite | None],
        sessions: Mapping[bytes, Session | None],
        persons: int,
        audit: Iterable[AuditEntry] = (),
    ) -> None:
        """Writes what has changed of invites and sessions, and what is to be remembered of it; None is forgotten."""
        ...

    def load_invites(self) -> list[Invite]:
        """All invites that are remembered."""
        ...

    def load_sessions(self) -> tuple[dict[bytes, Session], int]:
        """All sessions by the hash of their token, and the highest person's number ever given out."""
        ...

    def put_room(self, room: RoomEntry, audit: Iterable[AuditEntry] = ()) -> None:
        """Remembers a room, or what has become of it."""
        ...

    def knows_room(self, ident: str) -> bool:
        """Whether there is or was a room of this name."""
        ...

    def open_rooms(self) -> list[RoomEntry]:
        """The rooms that were not closed, oldest first."""
        ...

    def put_account(self, account: Account, audit: Iterable[AuditEntry] = (), *, sign_out: bool = False) -> None:
        """Keeps an account, new or changed. ``sign_out``: whoever is signed in with it is no longer."""
        ...

    def remove_account(self, name: str, audit: Iterable[AuditEntry] = ()) -> bool:
        """Forgets an account and whoever is signed in with it; False where there is none."""
        ...

    def accounts(self) -> list[Account]:
        """All accounts by name."""
        ...

    def find_account(self, name: str) -> Account | None:
        """An account by its name."""
        ...

    def open_login(
        self, digest: bytes, account: str, expires_s: float, now_s: float, audit: Iterable[AuditEntry] = ()
    ) -> None:
        """Somebody has signed in."""
        ...

    def find_login(self, digest: bytes, now_s: float) -> Account | None:
        """Whose sign-in a token's hash stands for."""
        ...

    def close_login(self, digest: bytes, audit: Iterable[AuditEntry] = ()) -> None:
        """Somebody has signed out."""
        ...

    def note(self, *entries: AuditEntry) -> None:
        """Remembers what was done."""
        ...

    def audit(self, *, after: int = 0, limit: int = 1000) -> list[tuple[int, AuditEntry]]:
        """Numbered entries behind a number, oldest first."""
        ...

    def forget_audit(self, before_us: int) -> int:
        """Forgets entries older than a time; returns how many."""
        ...

    def close(self) -> None:
        """Ends all use and frees the claim."""
        ...
