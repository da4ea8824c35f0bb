"""Somebody who is in a room now, by one connection or by several at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from consult.outbox import Outbox

if TYPE_CHECKING:
    from consult.invites import Role

__all__ = ["BlockCarrier", "Member", "connections", "still_here"]


class BlockCarrier(Protocol):
    """The live edge as the room sees it."""

    def offer_block(self, data: bytes) -> bool:
        """Sends now, or not at all."""
        ...

    def offer_beat(self, data: bytes) -> bool:
        """A sign of life, likewise."""
        ...


@dataclass(slots=True, eq=False)
class Member:
    """Somebody who is in the room now. ``edge`` is set while the live blocks go over a data channel."""

    person: int
    role: Role
    name: str
    outbox: Outbox = field(default_factory=Outbox)
    edge: BlockCarrier | None = None
    line: dict[str, Any] | None = None
    """How good their line is, as their page said last."""
    shadowed: Member | None = None
    """Their older connection, which comes back into use should this one end first."""
    has_left: bool = False
    told: int = 0
    """The last event they were told before a newer connection took their place."""

    def to_json(self) -> dict[str, Any]:
        """As others see them."""
        return {"id": self.person, "role": self.role.value, "name": self.name}


def still_here(member: Member | None) -> Member | None:
    """The newest of somebody's connections that has not ended; the others are let go of."""
    while member is not None and member.has_left:
        member = member.shadowed
    one = member
    while one is not None:
        while one.shadowed is not None and one.shadowed.has_left:
            one.shadowed = one.shadowed.shadowed
        one = one.shadowed
    return member


def connections(newest: Member | None) -> list[Member]:
    """All connections of somebody that have not ended, the newest first."""
    found, member = [], still_here(newest)
    while member is not None:
        found.append(member)
        member = member.shadowed
    return found
