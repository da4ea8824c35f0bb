"""What can be wrong with a service, each by its code.

``/health`` and the board name them, ``docs/operations.md`` says what to do; the board's words are ``troublewords.ts``.
"""

from __future__ import annotations

import asyncio
import tempfile
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from consult.errors import StateBroken

if TYPE_CHECKING:
    from consult.service import Service

__all__ = ["OWN_TROUBLES", "TROUBLES", "OwnTrouble", "Trouble", "own_troubles", "troubles_of"]

_KEEPER_LATE_S: Final = 10.0

OwnTrouble: TypeAlias = Literal["data-not-writable", "state-not-readable", "keeper-late"]
"""Of the service itself: a restart may mend them."""

PartTrouble: TypeAlias = Literal[
    "media-engine-down",
    "deletion-unfinished",
    "deleted-room-back",
    "car-index-not-written",
    "clock-leapt",
    "retention-failed",
    "notices-waiting",
    "notices-lost",
]
"""Of its parts, or of what they work with."""

Trouble: TypeAlias = OwnTrouble | PartTrouble

OWN_TROUBLES: Final[tuple[OwnTrouble, ...]] = get_args(OwnTrouble)
TROUBLES: Final[tuple[Trouble, ...]] = (*OWN_TROUBLES, *get_args(PartTrouble))
"""Every code that there is; the type checker knows of any other."""


async def own_troubles(service: Service) -> list[Trouble]:
    """What is wrong with the service itself."""
    found = await asyncio.to_thread(_on_disk, service)
    kept_at_s = service.keeper.kept_at_s
    if kept_at_s is not None and service.config.clock_s() - kept_at_s > _KEEPER_LATE_S:
        found.append("keeper-late")
    return found


async def troubles_of(service: Service) -> list[Trouble]:
    """The same and what its parts say."""
    found = await own_troubles(service)
    for part in service.parts:
        found += part.troubles()
    return found


def _on_disk(service: Service) -> list[Trouble]:
    found: list[Trouble] = []
    try:
        with tempfile.TemporaryFile(dir=service.config.data) as file:
            file.write(b"\0" * 4096)
            file.flush()
    except OSError:
        found.append("data-not-writable")
    try:
        service.state.accounts()
    except StateBroken:
        found.append("state-not-readable")
    return found
