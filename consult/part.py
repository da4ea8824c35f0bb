"""What a service does besides keeping rooms: each such thing is a part, told of what happens in every room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from aiohttp import web

    from consult.accounts import Account
    from consult.privacystore import Consent
    from consult.room import Room
    from consult.service import Service
    from consult.troubles import Trouble

__all__ = ["Part"]


class Part:
    """One part of a service. Every method may be left as it is; all of them run on the service's event loop.

    What a part remembers is its own tables in ``service.state``. A method that fails is logged and harms neither the
    rooms nor the other parts.

    Attributes:
        name: one word by which people are told which part it is.
    """

    name: ClassVar[str] = "service"

    def __init__(self, service: Service) -> None:
        self.service = service

    def table(self) -> list[web.RouteDef]:
        """Its routes; each stands in ``openapi.json`` too."""
        return []

    async def start(self) -> None:
        """The service begins to listen; rooms that outlived a restart are open already."""

    async def tend(self) -> None:
        """Twice a second; must be quick, the rooms wait for it."""

    async def stop(self) -> None:
        """The service ends; its database is still open."""

    def room_opened(self, room: Room) -> None:
        """A room is open, new or again after a restart; it may have no car yet."""

    def room_heard(self, room: Room, event: dict[str, Any]) -> None:
        """Something happened in a room: an event as in :class:`consult.messages.Event`, whole, with the VIN in it."""

    def room_met_car(self, room: Room) -> None:
        """The technician's laptop has told the room its report, first or again."""

    def room_closed(self, room: Room, code: str) -> None:
        """A room has ended for good; its journal is closed next."""

    def cars_waiting(self) -> int:
        """How many cars wait for an expert, for the board's history."""
        return 0

    def may_enter(self, account: Account, ident: str) -> bool:  # noqa: ARG002 - for those who override it
        """Whether an account may see and enter a room whose technician lets experts in; every part has to agree."""
        return True

    def may_be_asked(self, account: Account, ident: str) -> bool:  # noqa: ARG002 - likewise
        """Whether a room may be offered to an account that has not come in; every part has to agree."""
        return True

    def privacy_changed(self, room: Room) -> None:
        """What was decided about a room's privacy has changed in the database."""

    async def consent_withdrawn(self, consent: Consent) -> None:
        """Somebody no longer agrees to something; it is written down already, and the room may be over.

        What fails is told to who withdraws.
        """

    def held_about(self, vin: str) -> list[tuple[str, dict[str, Any]]]:  # noqa: ARG002 - parts that keep nothing
        """What this part keeps about a car: names of documents (``network-visits``), and each as JSON.

        May run in any thread, also where the service is not running. What is there and cannot be searched raises a
        ConsultError or CaseError. A document may hold ``"rows"``, a list of flat
        objects, which is written as CSV too.
        """
        return []

    def forget(self, vin: str, who: str, now_us: int) -> list[dict[str, Any]]:  # noqa: ARG002 - likewise
        """Deletes what this part keeps about a car; a certificate or a plain account of it for each thing deleted.

        Runs like :meth:`held_about`. Must be repeatable: what is gone already is no error.
        """
        return []

    def troubles(self) -> list[Trouble]:
        """Why ``/health`` should fail: codes of :data:`consult.troubles.TROUBLES`."""
        return []

    def metrics(self) -> str:
        """Lines for ``/metrics``, each metric with its HELP and TYPE."""
        return ""
