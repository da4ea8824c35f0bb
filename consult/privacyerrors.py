"""What privacy refuses; part of the tree of :mod:`consult.errors`.

::

    AccessError
    ├── RegionRefused    not from this region or network (403)
    ├── NoticeMissing    the privacy notice was not shown, or has changed since (409)
    └── HoldSet          a legal hold keeps the record (409)
    ServiceError
    └── CarUnknown       what is asked for is no VIN (400)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from consult.errors import AccessError, ServiceError

__all__ = ["CarUnknown", "HoldSet", "NoticeMissing", "RegionRefused"]


class RegionRefused(AccessError):
    """The room may be watched from certain regions only."""

    code: ClassVar[str] = "consult.region-refused"
    template: ClassVar[str] = (
        "this room may not be watched from your region or network; connect from an allowed one, or ask the technician"
    )
    status: ClassVar[int] = 403


class NoticeMissing(AccessError):
    """Who comes in has not seen the privacy notice as it is now."""

    code: ClassVar[str] = "consult.notice-missing"
    template: ClassVar[str] = "the privacy notice has changed or was not shown; reload the page and read it"
    status: ClassVar[int] = 409


@dataclass(eq=False)
class HoldSet(AccessError):
    """A legal hold keeps a room's record; only an administrator lifts it."""

    room: str
    code: ClassVar[str] = "consult.hold-set"
    template: ClassVar[str] = "room {room} is under a legal hold; an administrator has to lift it first"
    status: ClassVar[int] = 409


@dataclass(eq=False)
class CarUnknown(ServiceError):
    """No vehicle identification number."""

    reason: str
    code: ClassVar[str] = "consult.car-unknown"
    template: ClassVar[str] = "'{reason}' is no VIN; give its 17 letters and digits (no I, O, Q)"
    status: ClassVar[int] = 400
