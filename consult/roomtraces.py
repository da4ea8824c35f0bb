"""What the service's database says of single rooms beside their records, and of the people in it: shown, and taken out.

Each table that names a room stands here, or in ``REMAINS`` of ``tests/consult/test_room_traces.py`` with the reason why
a deletion leaves it. SQL alone; everything here blocks.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from consult.servicestate import ServiceState

__all__ = ["forget_rooms_with", "held_about_account", "held_about_room", "kept_of_room"]

_FORGET: Final = (
    "DELETE FROM session WHERE room {which}",
    "DELETE FROM invite WHERE room {which}",
    "DELETE FROM room_car WHERE room {which}",
    "DELETE FROM room_privacy WHERE room {which}",
    # That somebody agreed stays as proof, until the audit's days are over; who it was does not.
    "UPDATE consent SET name = '', account = '' WHERE room {which} AND (name <> '' OR account <> '')",
    "DELETE FROM research_room WHERE room {which}",
    # Nothing can be learnt from it any more.
    "DELETE FROM review_room WHERE room {which}",
    "DELETE FROM notice WHERE json_extract(body, '$.room') {which}",
    # How long somebody waited, what was tried and what is proposed stay without the room.
    "UPDATE network_visit SET room = '' WHERE room {which}",
    "UPDATE review_draft SET room = '' WHERE room {which}",
    (
        "UPDATE waiting SET room = '', ended_us = coalesce(ended_us, accepted_us, queued_us),"
        " ending = CASE WHEN ended_us IS NULL THEN 'closed' ELSE ending END WHERE room {which}"
    ),
)
_ONE: Final = "= ?"
_CLOSED: Final = "IN (SELECT ident FROM room WHERE closed_code = ?)"


def forget_rooms_with(db: sqlite3.Connection, *, ident: str = "", code: str = "") -> None:
    """Within a transaction: nothing leads any more from a room, or from all closed with a code, to car and people."""
    which, value = (_ONE, ident) if ident else (_CLOSED, code)
    for statement in _FORGET:
        db.execute(statement.format(which=which), (value,))


_KEPT: Final = {
    "network-visit": "SELECT 1 FROM network_visit WHERE room = ?",
    "case-draft": "SELECT 1 FROM review_draft WHERE room = ?",
    "waiting": "SELECT 1 FROM waiting WHERE room = ?",
    "consent": "SELECT 1 FROM consent WHERE room = ?",
}


def kept_of_room(state: ServiceState, ident: str) -> set[str]:
    """What :func:`forget_rooms_with` would leave of a room, without its name: words for the deletion's certificate."""
    return {code for code, query in _KEPT.items() if state.rows(f"{query} LIMIT 1", (ident,))}


_OF_ROOM: Final = {
    "waiting": (
        "n severity queued_us accepted_us finding_us ended_us ending holder body",
        "waiting WHERE room = ? ORDER BY n",
    ),
    "notices": ("t_us body", "notice WHERE json_extract(body, '$.room') = ? ORDER BY n"),
    "research": ("item day codes", "research_room WHERE room = ? ORDER BY item"),
    "reviews": (
        "number author state reviewer reason proposal pattern opened_us changed_us",
        "review_draft WHERE room = ? ORDER BY number",
    ),
    "privacy": (
        "retention_days hold due_us lifted_until_us lift_reason lift_technician_us lift_admin_us",
        "room_privacy WHERE room = ?",
    ),
}
_OF_ACCOUNT: Final = {
    "logins": ("expires_s", "login WHERE account = ?1 ORDER BY expires_s"),
    "waiting": (
        "n room severity queued_us accepted_us finding_us ended_us ending holder body",
        (
            "waiting WHERE holder = ?1 OR EXISTS (SELECT 1 FROM json_each(body, '$.offers')"
            " WHERE json_extract(value, '$.name') = ?1)"
            " OR EXISTS (SELECT 1 FROM json_each(body, '$.asked') WHERE value = ?1) ORDER BY n"
        ),
    ),
    "reviews": (
        "number room author state reviewer reason opened_us changed_us",
        "review_draft WHERE author = ?1 OR reviewer = ?1 ORDER BY number",
    ),
    "research": (
        "id what model state who note_en note_zh opened_us changed_us", "research_item WHERE who = ?1 ORDER BY id"
    ),
    "notices": (
        "t_us body",
        "notice WHERE EXISTS (SELECT 1 FROM json_each(body, '$.to') WHERE value = ?1) ORDER BY n",
    ),
}  # fmt: skip
_JSON: Final = frozenset({"body", "codes", "proposal", "pattern"})


def _found(
    state: ServiceState, tables: dict[str, tuple[str, str]], value: str
) -> Iterable[tuple[str, list[dict[str, Any]]]]:
    for name, (columns, where) in tables.items():
        names = columns.split()
        rows = state.rows(f"SELECT {', '.join(names)} FROM {where}", (value,))  # noqa: S608 - texts of this module
        told = [dict(zip(names, row, strict=True)) for row in rows]
        if told:
            yield name, [{key: json.loads(one) if key in _JSON else one for key, one in row.items()} for row in told]


def held_about_room(state: ServiceState, ident: str) -> list[tuple[str, dict[str, Any]]]:
    """Documents about one room: waiting times, notices, what research and reviewers have of it, what was decided."""
    return [(f"rooms/{ident}/{name}", {"rows": rows}) for name, rows in _found(state, _OF_ROOM, ident)]


def held_about_account(state: ServiceState, name: str) -> list[tuple[str, dict[str, Any]]]:
    """Documents about somebody with an account, beside account, sessions, consents and the audit.

    Of a car's wait only the offers to this account are shown: the others are other people's.
    """
    told = []
    for what, rows in _found(state, _OF_ACCOUNT, name):
        for row in rows:
            if what == "waiting":
                body = row.pop("body")
                row["offers"] = [one for one in body["offers"] if one["name"] == name]
                row["was_asked"] = name in body["asked"]
                row["holder"] = row["holder"] if row["holder"] == name else ""
            elif what == "reviews":
                row |= {key: row[key] if row[key] == name else "" for key in ("author", "reviewer")}
            elif what == "notices":
                row["body"] = row["body"] | {"to": [name]}
        told.append((what, {"rows": rows}))
    return told
