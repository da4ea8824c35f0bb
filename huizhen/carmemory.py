"""What is known of a car from its earlier visits, here and at other workshops of the network."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from casebase.library import Library
    from casebase.networktable import JoinedNetwork
    from casebase.visits import Visit
    from consult.networkclient import NetworkClient
    from huizhen.console import Console

__all__ = [
    "CarMemory",
    "earlier_of_scan",
    "network_is_off",
    "network_of",
    "network_wish",
    "recall_car",
    "show_earlier",
    "with_client",
]

_OFF: Final = "HUIZHEN_NETWORK"
_OWN: Final = ("place", "remote", "own")


@dataclass(slots=True)
class CarMemory:
    """Earlier visits of one car.

    Attributes:
        local: those to this workshop. elsewhere: those to others, as ``huizhen.visit/1`` with ``place`` and ``remote``.
        ticket: by which this visit may be told later; empty where the network was not asked.
        server: that was to be asked; empty for none. trouble: why it did not answer.
    """

    local: list[Visit] = field(default_factory=list)
    elsewhere: list[dict[str, Any]] = field(default_factory=list)
    ticket: str = ""
    server: str = ""
    trouble: Exception | None = None

    @property
    def visits(self) -> list[Visit]:
        """All of them, for the ranking."""
        return [*self.local, *earlier_of_scan({"earlier": self.elsewhere})]

    def to_json(self) -> list[dict[str, Any]]:
        """As a saved scan keeps them, the latest first."""
        here = [{**visit.to_json(), "place": "", "remote": False, "own": True} for visit in self.local]
        return sorted([*here, *self.elsewhere], key=lambda visit: str(visit["day"]), reverse=True)


def network_is_off() -> bool:
    """Whether ``HUIZHEN_NETWORK=off`` forbids to ask and to tell."""
    return os.environ.get(_OFF, "").lower() in {"off", "0", "no"}


def network_wish() -> dict[str, Any]:
    """What a room's report says where the customer wants nothing remembered of the car: its service heeds it."""
    return {"network": False} if network_is_off() else {}


def network_of(library: Library, server: str | None) -> JoinedNetwork:
    """The network that the library belongs to.

    Raises:
        NotJoined: none, or another one than the one asked for.
    """
    from consult.networkerrors import NotJoined

    joined = library.network.joined
    if joined is None or (server and server.rstrip("/") != joined.server):
        raise NotJoined
    return joined


async def with_client(joined: JoinedNetwork, private: bytes, act: Any) -> Any:
    """What ``act`` makes of a client of the network.

    Raises:
        ConsultError: what the service said, or why it could not be asked.
    """
    from pathlib import Path

    from consult.enrolment import http_to
    from consult.networkclient import NetworkClient

    async with http_to(Path(joined.ca) if joined.ca else None, None) as http:
        client: NetworkClient = NetworkClient(http, joined.server, private, joined.service)
        return await act(client)


def recall_car(library: Library, vin: str, *, asks: bool = True, server: str | None = None) -> CarMemory:
    """Earlier visits of a car. A network that does not answer is no failure: ``trouble`` says why.

    Args:
        library: this workshop's.
        vin: of the car.
        asks: whether the network may be asked.
        server: that must be the network's; None for whichever was joined.

    Raises:
        NotJoined: ``server`` is not that of the network.
    """
    import asyncio

    from casebase.errors import CaseError
    from consult.errors import ConsultError

    memory = CarMemory(library.network.visits_of_car(vin))
    if server:
        network_of(library, server)
    joined = library.network.joined
    if joined is None or not asks or network_is_off():
        return memory
    memory.server = joined.server
    try:
        private = library.network.site_key()
        told = asyncio.run(with_client(joined, private, lambda client: client.look(vin)))
    except (ConsultError, CaseError) as error:
        memory.trouble = error
        return memory
    known = {visit.uid for visit in memory.local}
    memory.ticket = str(told.get("ticket") or "")
    memory.elsewhere = [visit for visit in told.get("visits") or [] if _is_sound(visit) and visit["id"] not in known]
    return memory


def _is_sound(told: Any) -> bool:
    return bool(earlier_of_scan({"earlier": [told]}))


def earlier_of_scan(scan: Mapping[str, Any]) -> list[Visit]:
    """The earlier visits that a saved scan tells of; what is none is left out."""
    from casebase.errors import BadEvidence
    from casebase.visits import parse_visit

    found = []
    listed = scan.get("earlier")
    for told in listed if isinstance(listed, list) else []:
        if isinstance(told, dict):
            try:
                found.append(parse_visit({key: value for key, value in told.items() if key not in _OWN}))
            except BadEvidence:
                continue
    return found


def show_earlier(earlier: Sequence[Mapping[str, Any]], library: Library, console: Console) -> None:
    """Prints earlier visits: day, where, mileage, codes, what was done, and whether it cured."""
    tr = console.tr
    outcomes = {
        "fixed": tr("caselib.outcome.fixed"),
        "not-fixed": tr("caselib.outcome.not_fixed"),
        "something-else": tr("caselib.outcome.something_else"),
        None: tr("caselib.outcome.open"),
    }
    for visit in earlier:
        place = visit.get("place") or tr(
            "casenetwork.here"
            if visit.get("own")
            else "casenetwork.remote"
            if visit.get("remote")
            else "casenetwork.elsewhere"
        )
        km = visit.get("mileage_km")
        head = [str(visit["day"]), str(place), "" if km is None else f"{km:,} km", outcomes[visit.get("outcome")]]
        console.line("  " + console.style(" · ".join(part for part in head if part), "title"))
        said = _codes(visit)
        if said:
            console.wrapped(tr("casenetwork.codes", codes=tr.listed(said)), indent="    ")
        if visit.get("fix"):
            console.wrapped(tr("casenetwork.done", title=_title(str(visit["fix"]), library, console)), indent="    ")


def _codes(visit: Mapping[str, Any]) -> Iterable[str]:
    from casebase.visits import codes_of_terms

    return codes_of_terms(visit.get("terms") or ())


def _title(fix: str, library: Library, console: Console) -> str:
    from casebase.errors import FixUnknown

    try:
        return library.title_of(fix).in_language(console.tr.lang)
    except FixUnknown:
        return console.tr("casenetwork.unknown_fix", fix=fix)
