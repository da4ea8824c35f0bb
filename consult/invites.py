"""Who may enter: invites that work once, and the short sessions they turn into.

No I/O; the clock is an argument (seconds that only grow). Codes and tokens are 256 random bits; only their SHA-256 is
kept, so that whoever reads the memory or a dump of it can enter nowhere.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from consult.errors import InviteExpired, InviteUnknown, InviteUsed, SessionRefused

__all__ = ["INVITE_LIFE_S", "SESSION_LIFE_S", "InviteBook", "Role", "Session", "SessionBook"]

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
    def may_speak(self) -> bool:
        """Whether this role writes into the chat."""
        return self is not Role.OBSERVER


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


@dataclass(slots=True)
class _Invite:
    digest: bytes
    room: str
    role: Role
    expires_s: float
    used: bool = False


def _secret() -> str:
    """256 random bits as text; a leading ``-`` would read as a flag on a command line, so it begins otherwise."""
    while (text := secrets.token_urlsafe(32))[0] in "-_":
        pass
    return text


@dataclass(slots=True)
class InviteBook:
    """All invites given out and not yet forgotten."""

    _invites: dict[bytes, _Invite] = field(default_factory=dict)

    def issue(self, room: str, role: Role, now_s: float, life_s: float = INVITE_LIFE_S) -> str:
        """A new code for one person in one role of one room."""
        self._forget(now_s)
        code = _secret()
        digest = _digest(code)
        self._invites[digest] = _Invite(digest, room, role, now_s + life_s)
        return code

    def redeem(self, code: str, now_s: float) -> tuple[str, Role]:
        """Room and role of a code, which is used up by this.

        Raises:
            InviteUnknown: never given out, or forgotten.
            InviteUsed: somebody redeemed it before.
            InviteExpired: older than its life.
        """
        digest = _digest(code)
        # The table is keyed by digest: what its timing could tell is the hash of a guess, not a code.
        invite = self._invites.get(digest)
        if invite is None or not hmac.compare_digest(invite.digest, digest):
            raise InviteUnknown
        if invite.used:
            raise InviteUsed
        if now_s >= invite.expires_s:
            raise InviteExpired
        invite.used = True
        return invite.room, invite.role

    def _forget(self, now_s: float) -> None:
        for digest in [key for key, invite in self._invites.items() if now_s > invite.expires_s + _REMEMBER_S]:
            del self._invites[digest]


@dataclass(slots=True)
class Session:
    """One person (or agent) in one room, for a while."""

    person: int
    room: str
    role: Role
    name: str
    expires_s: float


@dataclass(slots=True)
class SessionBook:
    """All sessions by the hash of their token."""

    _sessions: dict[bytes, Session] = field(default_factory=dict)
    _persons: int = 0

    def open(self, room: str, role: Role, name: str, now_s: float) -> tuple[str, Session]:
        """A new person and the token that stands for them."""
        self._forget(now_s)
        self._persons += 1
        session = Session(self._persons, room, role, name, now_s + SESSION_LIFE_S)
        token = _secret()
        self._sessions[_digest(token)] = session
        return token, session

    def find(self, token: str | None, room: str, now_s: float) -> Session:
        """The session of a token in this room.

        Raises:
            SessionRefused: no token, an unknown or ended one, or one of another room.
        """
        session = self._sessions.get(_digest(token)) if token else None
        if session is None or session.room != room or now_s >= session.expires_s:
            raise SessionRefused
        return session

    def renew(self, token: str, room: str, now_s: float) -> str:
        """A fresh token for the same person; the old one dies within a minute.

        Raises:
            SessionRefused: as :meth:`find`.
        """
        old = self.find(token, room, now_s)
        fresh = _secret()
        self._sessions[_digest(fresh)] = Session(old.person, old.room, old.role, old.name, now_s + SESSION_LIFE_S)
        old.expires_s = min(old.expires_s, now_s + _GRACE_S)
        return fresh

    def close_room(self, room: str) -> None:
        """Ends every session of a room."""
        for digest in [key for key, session in self._sessions.items() if session.room == room]:
            del self._sessions[digest]

    def _forget(self, now_s: float) -> None:
        for digest in [key for key, session in self._sessions.items() if now_s >= session.expires_s]:
            del self._sessions[digest]
