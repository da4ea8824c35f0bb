"""Which parts a service has, and how it tells them what happens."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from consult.boardpart import BoardPart
from consult.carindex import CarIndex
from consult.carroutes import CarRoutes
from consult.consentdesk import ConsentDesk
from consult.deletionroutes import DeletionRoutes
from consult.logpart import LogPart
from consult.mediarooms import MediaPart
from consult.networkroutes import NetworkMemory
from consult.regionlock import RegionLock
from consult.retention import Retention
from consult.reviewroutes import ReviewPart
from consult.upkeep import Upkeep
from consult.waitpart import QueuePart
from consult.webhookpart import NoticePart

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from consult.part import Part
    from consult.service import Service

__all__ = ["PARTS", "ask_parts", "make_parts", "tell_parts"]

PARTS: Final[tuple[type[Part], ...]] = (
    MediaPart,
    LogPart,
    RegionLock,
    ConsentDesk,
    QueuePart,
    CarIndex,
    CarRoutes,
    Retention,
    DeletionRoutes,
    NetworkMemory,
    ReviewPart,
    Upkeep,
    BoardPart,
    NoticePart,  # last, so that it still writes down what the others tell as they end
)

_log = logging.getLogger(__name__)


def make_parts(service: Service) -> tuple[Part, ...]:
    """All parts of a service, in the order in which they are told things."""
    return tuple(part(service) for part in PARTS)


def tell_parts(parts: tuple[Part, ...], tell: Callable[[Part], None]) -> None:
    """Tells every part something; one that fails is logged, and the others are told all the same."""
    for part in parts:
        try:
            tell(part)
        except Exception:  # noqa: BLE001 - whatever it is, rooms and other parts go on, and the log tells
            _log.exception("%s failed", type(part).__name__)


async def ask_parts(parts: tuple[Part, ...], ask: Callable[[Part], Awaitable[None]]) -> None:
    """The same for what takes a while, one part after the other."""
    for part in parts:
        try:
            await ask(part)
        except Exception:  # noqa: BLE001 - as above
            _log.exception("%s failed", type(part).__name__)
