"""The epochs under which an agent has numbered blocks: the one in use, and those of which something is still here."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from consult.outflow import Era

if TYPE_CHECKING:
    from consult.messages import Ack
    from consult.spool import Spool
    from consult.spoolfolder import RoomIdentity

__all__ = ["Eras"]


class Eras:
    """Oldest first; the last is in use.

    Args:
        spool: holds their blocks.
        identity: what a killed program left, and where ours is kept for the next; None keeps nothing.
    """

    def __init__(self, spool: Spool, identity: RoomIdentity | None) -> None:
        self._spool = spool
        self._identity = identity
        self._eras = [self._era(epoch, schemas) for epoch, schemas in (identity.eras if identity else ())]

    def _era(self, epoch: int, schemas: list[dict[str, Any]]) -> Era:
        return Era(epoch, schemas, {entry["stream"]: self._spool.lane(epoch, entry["stream"]) for entry in schemas})

    @property
    def oldest(self) -> Era:
        """What was measured first arrives first."""
        return self._eras[0]

    @property
    def current(self) -> Era:
        """What is measured now is numbered here."""
        return self._eras[-1]

    def begin(self, schemas: list[dict[str, Any]], token: str) -> Era:
        """Goes on under the last epoch where its streams are the same and no number can have been used unseen."""
        may_go_on = self._identity.may_go_on if self._identity else True
        if not (self._eras and may_go_on and self._eras[-1].schemas == schemas):
            self._eras = [era for era in self._eras if era.waiting]
            self._eras.append(self._era(secrets.randbits(32), schemas))
        self.keep(token)
        return self.current

    def end_oldest(self, token: str) -> bool:
        """Leaves the oldest epoch behind when all of it has arrived and another follows; True when it did."""
        if len(self._eras) < 2 or self._eras[0].waiting:
            return False
        del self._eras[0]
        self.keep(token)
        return True

    def acknowledge(self, ack: Ack) -> None:
        """The service has what an ack says."""
        for era in self._eras:
            lane = era.lanes.get(ack.stream)
            if era.epoch == ack.epoch and lane is not None:
                self._spool.acknowledge(lane, ack.next)

    def keep(self, token: str) -> None:
        """Writes down who we are, for a program that takes the room up again."""
        if self._identity is not None:
            self._identity.keep(token=token, eras=[(era.epoch, era.schemas) for era in self._eras])
