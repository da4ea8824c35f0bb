"""Who may enter: invites that work once, and the short sessions they turn into.

No I/O; the clock is an argument: UTC seconds since the Unix epoch, because invites and sessions outlive the process.
Codes and tokens are 256 random bits; only their SHA-256 is kept, so that whoever reads the memory or the disk can enter
nowhere. What has changed since it was last written down is listed by ``changes``.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from consult.errors import InviteExpired, InviteUnknown, InviteUsed, SessionRefused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "INVITE_LIFE_S",
    "SESSION_LIFE_S",
    "Invite",
    "InviteBook",
    "Role",
    "Session",
    "SessionBook",
    "digest_of_secret",
    "make_secret",
]

INVITE_LIFE_S: Final = 15 * 60
SESSION_LIFE_S: Final = 60 * 60
"""A session is renewed, with a new token, while its owner is there; left alone it ends after an hour."""

_REMEMBER_S: Final = 24 * 3600
"""How long a dead invite is remembered, so that its visitor learns whether it was used or too old."""

_GRACE_S: Final = 60
"""How long a renewed session's old token still works: a request may be under way with it."""


class Role(StrEnum):
    """What somebody is in a room."""

    TECHNICIAN = "technician"
    LEAD = "lead"
    EXPERT = "expert"
    OBSERVER = "observer"

    @property
    def may_see_vin(self) -> bool:
        """Whether the whole vehicle identification number is shown."""
        return self in (Role.TECHNICIAN, Role.LEAD)

    @property
    def may_invite(self) -> bool:
        """Whether this role brings other people in."""
        return self in (Role.TECHNICIAN, Role.LEAD)

    @property
    def may_ask(self) -> bool:
        """Whether this role asks for requests to the car, and may be a second person."""
        return self in (Role.LEAD, Role.EXPERT)

    @property
    def may_speak(self) -> bool:
        """Whether this role writes into the chat."""
        return self is not Role.OBSERVER


def digest_of_secret(secret: str) -> bytes:
    """What is kept of a code or token."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def make_secret() -> str:
    """256 random bits as text; a leading ``-`` would read as a flag on a command line, so it begins otherwise."""
    while (text := secrets.token_urlsafe(32))[0] in "-_":
        pass
    return text


@dataclass(frozen=True, slots=True)
class Invite:
    """One invite. ``digest``: SHA-256 of its code. ``expires_s``: UTC."""

    digest: bytes
    room: str
    role: Role
    expires_s: float
    used: bool = False


@dataclass(slots=True)
class InviteBook:
    """All invites given out and not yet forgotten."""

    _invites: dict[bytes, Invite] = field(default_factory=dict)
    changes: dict[bytes, Invite | None] = field(default_factory=dict)

    def issue(self, room: str, role: Role, now_s: float, life_s: float = INVITE_LIFE_S) -> str:
        """A new code for one person in one role of one room."""
        self._forget(now_s)
        code = make_secret()
        self._put(Invite(digest_of_secret(code), room, role, now_s + life_s))
        return code

    def look(self, code: str, now_s: float) -> tuple[str, Role]:
        """Room and role of a code that could be redeemed now.

        Raises:
            InviteUnknown: never given out, or forgotten.
            InviteUsed: somebody redeemed it before.
            InviteExpired: older than its life.
        """
        digest = digest_of_secret(code)
        # The table is keyed by digest: what its timing could tell is the hash of a guess, not a code.
        invite = self._invites.get(digest)
        if invite is None or not hmac.compare_digest(invite.digest, digest):
            raise InviteUnknown
        if invite.used:
            raise InviteUsed
        if now_s >= invite.expires_s:
            raise InviteExpired
        return invite.room, invite.role

    def redeem(self, code: str, now_s: float) -> tuple[str, Role]:
        """The same, and the code is used up by this.

        Raises:
            InviteError: as :meth:`look`.
        """
        found = self.look(code, now_s)
        digest = digest_of_secret(code)
        self._put(replace(self._invites[digest], used=True))
        return found

    def restore(self, invites: Iterable[Invite]) -> None:
        """Takes up what was written down before a restart."""
        self._invites.update({invite.digest: invite for invite in invites})

    def _put(self, invite: Invite) -> None:
        self._invites[invite.digest] = self.changes[invite.digest] = invite

    def _forget(self, now_s: float) -> None:
        for digest in [key for key, invite in self._invites.items() if now_s > invite.expires_s + _REMEMBER_S]:
            del self._invites[digest]
            self.changes[digest] = None


@dataclass(frozen=True, slots=True)
class Session:
    """One person (or agent) in one room, for a while.

    Args:
        person: number of the person in the room; the same for as long as they stay, however often the token is renewed.
        expires_s: UTC.
        account: whose account let them in; empty for a guest.
    """

    person: int
    room: str
    role: Role
    name: str
    expires_s: float
    account: str = ""


@dataclass(slots=True)
class SessionBook:
    """All sessions by the hash of their token."""

    _sessions: dict[bytes, Session] = field(default_factory=dict)
    _persons: int = 0
    changes: dict[bytes, Session | None] = field(default_factory=dict)

    def open(self, room: str, role: Role, name: str, now_s: float, account: str = "") -> tuple[str, Session]:
        """A new person and the token that stands for them; an account is one person per room."""
        self._forget(now_s)
        person = self.person_of(room, account)
        if person is None:
            self._persons += 1
            person = self._persons
        session = Session(person, room, role, name, now_s + SESSION_LIFE_S, account)
        token = make_secret()
        self._put(digest_of_secret(token), session)
        return token, session

    def find(self, token: str | None, room: str, now_s: float) -> Session:
        """The session of a token in this room.

        Raises:
            SessionRefused: no token, an unknown or ended one, or one of another room.
        """
        session = self._sessions.get(digest_of_secret(token)) if token else None
        if session is None or session.room != room or now_s >= session.expires_s:
            raise SessionRefused
        return session

    def account_of(self, room: str, person: int) -> str:
        """Whose account a person in a room is; empty for guests, and once nothing is known of them any more."""
        found = (one.account for one in self._sessions.values() if one.room == room and one.person == person)
        return next(found, "")

    def renew(self, token: str, room: str, now_s: float) -> str:
        """A fresh token for the same person; the old one dies within a minute.

        Raises:
            SessionRefused: as :meth:`find`.
        """
        old = self.find(token, room, now_s)
        fresh = make_secret()
        self._put(digest_of_secret(fresh), replace(old, expires_s=now_s + SESSION_LIFE_S))
        self._put(digest_of_secret(token), replace(old, expires_s=min(old.expires_s, now_s + _GRACE_S)))
        return fresh

    def names(self) -> set[str]:
        """The names of everybody who has a session."""
        return {session.name for session in list(self._sessions.values()) if session.name}

    def close_room(self, room: str) -> None:
        """Ends every session of a room."""
        self._drop([key for key, session in self._sessions.items() if session.room == room])

    def close_room_accounts(self, room: str, account: str = "") -> set[tuple[str, int]]:
        """Ends the sessions in a room of everybody who came by an account, or of one account.

        Returns:
            ``(room, person)`` of those.
        """
        gone = {
            key: one
            for key, one in self._sessions.items()
            if one.room == room and one.account and account in ("", one.account)
        }
        self._drop(list(gone))
        return {(session.room, session.person) for session in gone.values()}

    def close_accounts(self, known: Mapping[str, Role | None]) -> set[tuple[str, int]]:
        """Ends the sessions of accounts that are none any more, or enter rooms as something else.

        Args:
            known: the accounts by name, and as what they enter a room.

        Returns:
            ``(room, person)`` of those.
        """
        gone = {
            key: one for key, one in self._sessions.items() if one.account and known.get(one.account) is not one.role
        }
        self._drop(list(gone))
        return {(session.room, session.person) for session in gone.values()}

    def restore(self, sessions: Mapping[bytes, Session], persons: int) -> None:
        """Takes up what was written down before a restart. ``persons``: the highest number ever given out."""
        self._sessions.update(sessions)
        self._persons = max(self._persons, persons)

    @property
    def persons(self) -> int:
        """The highest person's number given out so far."""
        return self._persons

    def person_of(self, room: str, account: str) -> int | None:
        """Which person an account is in a room; None where it never came in."""
        if not account:
            return None
        found = (one.person for one in self._sessions.values() if one.room == room and one.account == account)
        return next(found, None)

    def _put(self, digest: bytes, session: Session) -> None:
        self._sessions[digest] = self.changes[digest] = session

    def _drop(self, digests: list[bytes]) -> None:
        for digest in digests:
            del self._sessions[digest]
            self.changes[digest] = None

    def _forget(self, now_s: float) -> None:
        self._drop([key for key, session in self._sessions.items() if now_s >= session.expires_s])
