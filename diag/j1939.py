"""J1939: what the control units of a bus, truck or machine tell by themselves. Nothing is sent for it.

Every unit broadcasts its active codes (DM1) once a second, and its NAME when it claims its address. A unit that is
silent on DM1 is not known to be healthy; it is not known at all.

Standard: SAE J1939-73 (DM1, DM6, DM12, DM23, DM28), SAE J1939-81 (NAME, address claim); clauses unverified.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from diag.dtc import parse_j1939_dtcs
from diag.dtclines import CanLine, collect_j1939
from diag.dtcmerge import merge_dtcs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dbc.database import Database
    from diag.facts import Dtc
    from diag.frames import Frame

__all__ = ["J1939Node", "Name", "address_text", "node_names", "nodes_from_frames", "parse_name"]

_GROUPS: Final = frozenset({0xFECA, 0xFECB, 0xFECF, 0xFED4, 0xFDB5, 0xFD80})
_TRANSPORT: Final = frozenset({0xEC, 0xEB})
_CLAIM: Final = 0xEEFF
_PRIORITY: Final = 6
_TRANSPORT_PRIORITY: Final = 7
"""The standard's defaults. Standard: SAE J1939-21, J1939-73; a unit may be set to others and is then not seen here."""

_NO_ADDRESS: Final = (0xFE, 0xFF)
"""Not the address of anybody: "cannot claim one" and "everybody"."""


@dataclass(frozen=True, slots=True)
class Name:
    """The NAME of a control unit. Standard: SAE J1939-81; identity number 21 bits, manufacturer code 11 bits."""

    raw: bytes
    identity: int
    manufacturer: int
    function: int
    function_instance: int
    vehicle_system: int
    industry_group: int
    is_arbitrary: bool


def parse_name(data: bytes) -> Name | None:
    """The NAME of an address claim, eight bytes; None for another length."""
    if len(data) != 8:
        return None
    value = int.from_bytes(data, "little")
    return Name(
        raw=data,
        identity=value & 0x1F_FFFF,
        manufacturer=value >> 21 & 0x7FF,
        function=value >> 40 & 0xFF,
        function_instance=value >> 35 & 0x1F,
        vehicle_system=value >> 49 & 0x7F,
        industry_group=value >> 60 & 7,
        is_arbitrary=bool(value >> 63),
    )


@dataclass(frozen=True, slots=True)
class J1939Node:
    """One control unit that was heard to tell its codes or to claim its address.

    Args:
        address: source address, 0 to 253.
        name: None where it claimed nothing while it was listened to.
        dtcs: codes that it told, each once.
        is_heard: at least one of its lists of codes came whole; else nothing is known of its codes.
        missing: codes of the worst list that were announced and did not come.
    """

    address: int
    name: Name | None = None
    dtcs: tuple[Dtc, ...] = ()
    is_heard: bool = False
    missing: int = 0


def address_text(address: int) -> str:
    """A source address as people write it, ``0x27``."""
    return f"0x{address:02X}"


def nodes_from_frames(frames: Iterable[Frame]) -> tuple[J1939Node, ...]:
    """The control units of a J1939 bus by what they broadcast, in the order of their addresses."""
    lines: list[CanLine] = []
    names: dict[int, Name] = {}
    for frame in frames:
        if not frame.extended or frame.error or frame.remote or frame.can_id >> 24 & 3 or frame.fd:
            continue
        group, source = frame.can_id >> 8 & 0xFFFF, frame.can_id & 0xFF
        is_transport = group >> 8 in _TRANSPORT
        if source in _NO_ADDRESS or frame.can_id >> 26 != (_TRANSPORT_PRIORITY if is_transport else _PRIORITY):
            continue  # other cars have 29-bit identifiers too, in which these bits mean something else
        if group == _CLAIM and (name := parse_name(frame.data)) is not None:
            names[source] = name
        elif is_transport or (group in _GROUPS and len(frame.data) == 8):
            lines.append(CanLine(frame.can_id, frame.data))
    dtcs: dict[int, list[Dtc]] = {}
    heard: set[int] = set()
    missing: dict[int, int] = {}
    for message in collect_j1939(lines):
        if message.can_id is None:
            continue
        source = message.can_id & 0xFF
        answer = parse_j1939_dtcs(
            message.payload, ecu=address_text(source), declared_length=message.declared_length, kind=message.kind
        )
        dtcs.setdefault(source, []).extend(answer.dtcs)
        if answer.complete:
            heard.add(source)
        else:
            missing[source] = max(missing.get(source, 0), answer.missing)
    if not dtcs:
        return ()  # no list of codes: what looked like claims of addresses proves no J1939 bus
    return tuple(
        J1939Node(
            address=source,
            name=names.get(source),
            dtcs=merge_dtcs(dtcs.get(source, ())),
            is_heard=source in heard,
            missing=0 if source in heard else missing.get(source, 0),
        )
        for source in sorted(names.keys() | dtcs.keys())
    )


def node_names(databases: Iterable[Database]) -> Mapping[int, str]:
    """Source address -> the one unit that a database lets send from it."""
    found: dict[int, set[str]] = {}
    for database in databases:
        for message in database.messages:
            if message.extended:
                found.setdefault(message.can_id & 0xFF, set()).update(message.senders)
    return {address: next(iter(senders)) for address, senders in found.items() if len(senders) == 1}
