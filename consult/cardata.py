"""Everything that is held about a car, gathered for who may ask for it; and all of it deleted.

Rooms are found by the index (:mod:`consult.carindex`); records that stand in no index (of an older program, of a room
that a laptop kept by itself) are opened and looked through. What else the service keeps its parts tell
(:meth:`consult.part.Part.held_about`). Everything here blocks; none of it belongs on an event loop.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from casebase.errors import CaseError
from consult.carindex import hashes_of_vin, index_keys
from consult.deletion import DELETED, certificates, delete_room
from consult.errors import ConsultError
from consult.privacyerrors import HoldSet
from consult.privacystore import PrivacyStore, require_no_hold
from consult.recording import Recording
from consult.redaction import vins_of_report
from consult.roomtraces import held_about_room

if TYPE_CHECKING:
    from pathlib import Path

    from consult.service import Service

__all__ = ["CarRoom", "Forgotten", "Held", "Undone", "forget_car", "held_about_car", "rooms_of_car"]

_AUDIT_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class CarRoom:
    """One record of a car.

    Args:
        ident: the room's name.
        path: its record; None where that is gone.
        is_readable: False where its key is not here.
    """

    ident: str
    path: Path | None
    is_readable: bool = True


@dataclass(frozen=True, slots=True)
class Undone:
    """Something that could not be read, or not be deleted.

    Args:
        what: a room's name, or a part's.
        is_part: which of the two.
    """

    what: str
    error: ConsultError | CaseError
    is_part: bool = False

    def to_json(self) -> dict[str, str]:
        """For scripts and administrators."""
        kind = "part" if self.is_part else "room"
        return {kind: self.what, "error": self.error.code, "text": str(self.error)}


@dataclass(frozen=True, slots=True)
class Held:
    """Everything about a car.

    Args:
        rooms: its own.
        unknown: records of which nobody can say here whose they are.
        documents: the path of each without ending, and what is in it; one with ``rows`` is a list of flat objects.
        unreadable: what is held and could not be read whole.
    """

    rooms: list[CarRoom]
    unknown: list[str]
    documents: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    unreadable: list[Undone] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What became of a wish to forget a car.

    Args:
        certificates: one for each room that was deleted, and what the service's parts say of their own.
        kept: rooms and parts that still hold something, each with the error.
    """

    certificates: list[dict[str, Any]] = field(default_factory=list)
    kept: list[Undone] = field(default_factory=list)


def _vins_in(path: Path, service: Service) -> set[str] | None:
    """The VINs that a record names; None where it cannot be read here."""
    try:
        with Recording(path, service.keys) as recording:
            return {vin for _, report in recording.documents("report") for vin in vins_of_report(report)}
    except ConsultError:
        return None


def rooms_of_car(service: Service, vin: str) -> tuple[list[CarRoom], list[str]]:
    """The car's rooms, oldest first, and the records of which nobody can say here whose they are.

    Raises:
        StateBroken, KeysBroken: the service's own data cannot be read.
    """
    store, folder = PrivacyStore(service.state), service.config.data
    known = {room.ident: room for room in store.kept_rooms()}
    indexed = store.indexed_rooms()
    named = {ident for one in hashes_of_vin(index_keys(service.keys), vin) for ident in store.rooms_of_car(one)}
    found, unknown = [], []
    for path in sorted(folder.glob("*.room")):
        ident = path.stem.rpartition("-")[2]
        if ident in named:
            found.append(CarRoom(ident, path, _vins_in(path, service) is not None))
        elif ident not in indexed and not (ident in known and known[ident].closed_code == DELETED):
            vins = _vins_in(path, service)
            if vins is None:
                unknown.append(path.name)
            elif vin in vins:
                found.append(CarRoom(ident, path))
    there = {room.ident for room in found}
    gone = [CarRoom(ident, None) for ident in sorted(named - there, key=lambda one: (one in known, one))]
    return found + gone, unknown


def _room_documents(service: Service, room: CarRoom, unreadable: list[Undone]) -> list[tuple[str, dict[str, Any]]]:
    """What a room's record says, in readable form; samples and files are written by who has a folder for them."""
    store, base = PrivacyStore(service.state), f"rooms/{room.ident}"
    kept = next((one for one in store.kept_rooms() if one.ident == room.ident), None)
    facts: dict[str, Any] = {"room": room.ident, "record": room.path.name if room.path else None}
    if kept is not None:
        facts |= {"created_us": kept.created_us, "closed_us": kept.closed_us, "hold": kept.privacy.hold}
        facts["retention_days"] = kept.privacy.retention_days
    out = [(f"{base}/room", facts)]
    out += held_about_room(service.state, room.ident)
    consents = store.consents(room=room.ident)
    if consents:
        out.append((f"{base}/consents", {"rows": [one.to_json() for one in consents]}))
    if room.path is None:
        told = [one for one in certificates(service.config.data) if one["room"] == room.ident]
        return out + [(f"{base}/deletion", one) for one in told]
    try:
        with Recording(room.path, service.keys) as recording:
            for name in recording.document_names():
                versions = [{"t_us": t_us, "body": body} for t_us, body in recording.documents(name)]
                out.append((f"{base}/{name}", {"versions": versions}))
            out.append((f"{base}/events", {"rows": [_flat(event) for event in recording.events()]}))
    except ConsultError as error:
        facts["unreadable"] = str(error)
        unreadable.append(Undone(room.ident, error))
    return out


def _flat(event: dict[str, Any]) -> dict[str, Any]:
    who = event.get("who") or {}
    return {
        "n": event["n"],
        "t_us": event["t_us"],
        "kind": event["kind"],
        "role": who.get("role"),
        "name": who.get("name"),
        "id": event["id"],
        "text": event["text"],
        "body": event["body"],
    }


def held_about_car(service: Service, vin: str) -> Held:
    """Everything about a car. A damaged record or a part that fails does not silence the others: it is named.

    Raises:
        StateBroken, KeysBroken: the service's own data cannot be read.
    """
    held = Held(*rooms_of_car(service, vin))
    documents = held.documents
    for room in held.rooms:
        documents += _room_documents(service, room, held.unreadable)
    idents = {room.ident for room in held.rooms}
    audit, after = [], 0
    while page := service.state.audit(after=after, limit=_AUDIT_PAGE):
        audit += [{"n": n, **entry.to_json()} for n, entry in page if entry.room in idents]
        after = page[-1][0]
    if audit:
        documents.append(("audit", {"rows": audit}))
    texts = PrivacyStore(service.state).texts()
    used = {row["version"] for name, body in documents if name.endswith("/consents") for row in body["rows"]}
    if used & set(texts):
        documents.append(("consent-texts", {version: texts[version] for version in sorted(used & set(texts))}))
    for part in service.parts:
        try:
            documents += [(f"service/{name}", body) for name, body in part.held_about(vin)]
        except (ConsultError, CaseError) as error:
            held.unreadable.append(Undone(part.name, error, is_part=True))
    return held


def forget_car(service: Service, vin: str, reason: str, who: str, now_us: int) -> Forgotten:
    """Deletes every room of a car and what the service's parts keep about it.

    A room that is open, or under a legal hold, is left and named; so is a part that fails. While a hold keeps one of
    the car's rooms, what the parts keep about it stays too, and is named. May be said again: what is gone stays gone.

    Raises:
        StateBroken, KeysBroken: the service's own data cannot be read.
    """
    done = Forgotten()
    store = PrivacyStore(service.state)
    for room in rooms_of_car(service, vin)[0]:
        try:
            require_no_hold(service.state, room.ident)
            if room.path is not None:
                done.certificates.append(delete_room(service, room.ident, reason, who, now_us))
            store.forget_room(room.ident)
        except ConsultError as error:
            done.kept.append(Undone(room.ident, error))
    hold = next((one.error for one in done.kept if isinstance(one.error, HoldSet)), None)
    for part in service.parts:
        try:
            if hold is None:
                done.certificates.extend(part.forget(vin, who, now_us))
            elif part.held_about(vin):
                done.kept.append(Undone(part.name, hold, is_part=True))
        except (ConsultError, CaseError) as error:
            done.kept.append(Undone(part.name, error, is_part=True))
    return done
