"""What can go wrong around the queue.

::

    ConsultError
    └── AccessError
        ├── OfferGone     the car is not offered to this account (any more) (409)
        └── HandsFull     this account holds as many cars as it may (409)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from consult.errors import AccessError

__all__ = ["HandsFull", "OfferGone"]


class OfferGone(AccessError):
    """The car was offered to this account, and has gone on to somebody else."""

    code: ClassVar[str] = "consult.offer-gone"
    template: ClassVar[str] = "this car is not offered to you any more; look at the lobby for others"
    status: ClassVar[int] = 409


@dataclass(eq=False)
class HandsFull(AccessError):
    """The account holds as many open cases as it may."""

    load: int
    code: ClassVar[str] = "consult.hands-full"
    template: ClassVar[str] = "you hold {load} open cases, and no more are allowed at once; finish or pass on one first"
    status: ClassVar[int] = 409
