"""What the book of grants says is to be done, as values.

See :mod:`consult.grants` for who decides, :mod:`consult.approver` for who obeys.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from diag.guardrules import Risk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from consult.errors import ConsultError
    from consult.messages import Decide
    from diag.addressing import Target
    from diag.facts import Text

__all__ = ["Action", "Asked", "Drop", "Gone", "Halt", "Post", "Reject", "Run", "Show", "Why"]


class Why(StrEnum):
    """Why what was held has ended."""

    RELEASED = "released"
    STOP = "stop"
    LIMIT = "limit"
    CAR = "car"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as this laptop understands it.

    Args:
        who: the expert, as the service names them.
        why: their reason.
        name: of the service, from the guard's table.
        expires_ns: by this laptop's clock.
    """

    ident: str
    who: Mapping[str, Any]
    why: str
    ecu: str
    target: Target
    data: bytes
    risk: Risk
    name: Text
    hold: bool
    digest: str
    expires_ns: int

    @property
    def needs_state(self) -> bool:
        """The car must be known to stand still, not to charge, and to have 12 V."""
        return self.risk is not Risk.READ

    @property
    def needs_second(self) -> bool:
        """A second person of the room besides the technician."""
        return self.risk is Risk.ALTER


@dataclass(frozen=True, slots=True)
class Show:
    """The technician is asked."""

    asked: Asked


@dataclass(frozen=True, slots=True)
class Run:
    """It is granted: do it now. ``unplugged``: the technician says that no charging cable is plugged in."""

    asked: Asked
    unplugged: bool


@dataclass(frozen=True, slots=True)
class Halt:
    """What runs must stop now."""

    ident: str
    why: Why


@dataclass(frozen=True, slots=True)
class Drop:
    """It will not be done; the room is told. ``outcome`` is ``refused`` or ``expired``."""

    ident: str
    error: ConsultError
    outcome: str = "refused"


@dataclass(frozen=True, slots=True)
class Reject:
    """A decision that does not count; the request stands as it was."""

    ident: str
    error: ConsultError


@dataclass(frozen=True, slots=True)
class Gone:
    """The technician need not answer it any more; the room knows."""

    ident: str


@dataclass(frozen=True, slots=True)
class Post:
    """This laptop's own decision, for the room's record."""

    decide: Decide


Action = Show | Run | Halt | Drop | Reject | Gone | Post
