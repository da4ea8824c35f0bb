"""Accounts of experts: who they are, and that a password is theirs.

Standard: RFC 9106 (Argon2id, its second recommended option).
"""

from __future__ import annotations

import asyncio
import re
import secrets
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from consult.errors import AccountBroken
from consult.invites import Role
from consult.messages import clean_name
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["LOGIN_LIFE_S", "MAX_PASSWORD_CHARS", "MIN_PASSWORD_CHARS", "Account", "AccountRole", "PasswordCheck"]

LOGIN_LIFE_S: Final = 12 * 3600
"""A working day: then the expert signs in again."""

MIN_PASSWORD_CHARS: Final = 10
MAX_PASSWORD_CHARS: Final = 256
MOST_AT_ONCE: Final = 20
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
_WORD: Final = re.compile(r"[\w .+/-]{1,40}")
_MOST_WORDS: Final = 20
_AT_ONCE: Final = 2
"""A check takes 64 MB for a moment; more of them wait."""


class AccountRole(StrEnum):
    """What an account is for."""

    EXPERT = "expert"
    LEAD = "lead"
    ADMIN = "admin"
    AUDITOR = "auditor"

    @property
    def in_room(self) -> Role | None:
        """As what they enter a room; None for those who look after the service and not after cars."""
        return {
            AccountRole.EXPERT: Role.EXPERT,
            AccountRole.LEAD: Role.LEAD,
            AccountRole.AUDITOR: Role.OBSERVER,
        }.get(self)


@dataclass(frozen=True, slots=True)
class Account:
    """One person's account.

    Args:
        name: what they sign in with: a-z, 0-9, dot, dash, underscore.
        display: as others read it in a room.
        skills: words such as ``battery`` or ``bms``; languages: such as ``zh``; region: such as ``CN``.
        makes: of cars that they know; at_once: cases of the queue that they may hold at the same time.
        created_us: UTC microseconds since the Unix epoch.
        password: the Argon2 hash, never the password.
    """

    name: str
    display: str = ""
    role: AccountRole = AccountRole.EXPERT
    skills: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    region: str = ""
    on_duty: bool = False
    created_us: int = 0
    password: str = field(default="", repr=False)
    makes: tuple[str, ...] = ()
    at_once: int = 2

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise AccountBroken(
                self.name[:40], Text("a name is 1–32 of a-z 0-9 . _ -", "账号名由 1–32 个 a-z 0-9 . _ - 组成")
            )
        if self.display != clean_name(self.display):
            raise AccountBroken(self.name, Text("the shown name is not printable", "显示名称含不可打印字符"))
        if not 1 <= self.at_once <= MOST_AT_ONCE:
            raise AccountBroken(
                self.name,
                Text(f"cases at once: from 1 to {MOST_AT_ONCE}", f"同时处理的会诊数应为 1 到 {MOST_AT_ONCE}"),
            )
        for words in (self.skills, self.languages, self.makes, (self.region,) if self.region else ()):
            _check_words(self.name, words)

    @property
    def shown_name(self) -> str:
        """What a room shows."""
        return self.display or self.name

    def to_json(self) -> dict[str, Any]:
        """Everything but the password's hash."""
        return {
            part.name: list(value) if isinstance(value, tuple) else value
            for part in fields(self)
            if part.name not in ("password", "created_us")
            for value in (getattr(self, part.name),)
        }


def _check_words(name: str, words: Iterable[str]) -> None:
    words = tuple(words)
    if len(words) > _MOST_WORDS or not all(_WORD.fullmatch(word) for word in words):
        raise AccountBroken(
            name,
            Text(f"at most {_MOST_WORDS} words of up to 40 letters", f"最多 {_MOST_WORDS} 个词，每个不超过 40 个字符"),
        )


class PasswordCheck:
    """Makes and checks hashes of passwords; slow on purpose, so in threads, a few at a time."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._nobody = ""

    @staticmethod
    def hash(name: str, password: str) -> str:
        """The hash to keep.

        Raises:
            AccountBroken: the password is too short or too long.
        """
        if not MIN_PASSWORD_CHARS <= len(password) <= MAX_PASSWORD_CHARS:
            raise AccountBroken(
                name,
                Text(
                    f"a password has {MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS} characters",
                    f"密码长度应为 {MIN_PASSWORD_CHARS} 到 {MAX_PASSWORD_CHARS} 个字符",
                ),
            )
        return PasswordHasher().hash(password.encode("utf-8", "surrogatepass"))

    async def fits(self, account: Account | None, password: str) -> bool:
        """Whether the password is the account's; False, and no sooner, for an account that does not exist."""
        async with self._turns:
            if not self._nobody:
                # Somebody unknown is checked against this one, so that the answer takes as long as for somebody known.
                self._nobody = await asyncio.to_thread(self._hasher.hash, secrets.token_hex(16))
            kept = account.password if account is not None else self._nobody
            return await asyncio.to_thread(self._verify, kept, password) and account is not None

    def _verify(self, kept: str, password: str) -> bool:
        try:
            return self._hasher.verify(kept, password.encode("utf-8", "surrogatepass"))
        except (VerificationError, InvalidHashError):
            return False
