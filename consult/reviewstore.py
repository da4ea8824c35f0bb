"""Drafts under review and the queue for research, in the service's database. SQL stands here alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consult.servicestate import ServiceState

__all__ = ["STATES", "OwedRoom", "ResearchItem", "ReviewRow", "ReviewStore"]

STATES: Final = ("open", "taken", "answered", "closed")
"""Of a problem in the queue for research."""


@dataclass(frozen=True, slots=True)
class ReviewRow:
    """What became of a draft so far.

    Args:
        number: in the service's library. author: account of who wrote it, empty for a guest or a technician.
        state: ``waiting``, ``accepted``, ``rejected``. proposal: as it was changed; empty for as it was written.
        pattern: what the workshops get of it; empty for nothing.
    """

    number: int
    room: str
    author: str
    state: str
    reviewer: str
    reason: str
    proposal: dict[str, Any]
    pattern: dict[str, Any]
    opened_us: int
    changed_us: int


@dataclass(frozen=True, slots=True)
class ResearchItem:
    """One problem that stays unsolved.

    Args:
        what: identity of a fix, or a code that nothing explains. model: ``make model``.
        rules: ``room``, ``three-in-a-row``, ``failing``: why it is here.
        failed, jobs, p: as of :class:`casebase.escalation.Escalation`.
        note: what research answers. rooms: room, day and codes of those that ended without repair.
    """

    number: int
    what: str
    model: str
    title: Text
    rules: tuple[str, ...]
    failed: int
    jobs: int
    p: float | None
    state: str
    who: str
    note: Text
    opened_us: int
    changed_us: int
    rooms: tuple[tuple[str, str, tuple[str, ...]], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """One entry of ``huizhen.research/1``."""
        return {
            "number": self.number, "what": self.what, "model": self.model, "title": self.title.to_json(),
            "rules": list(self.rules), "failed": self.failed, "jobs": self.jobs,
            "p": None if self.p is None else float(f"{self.p:.3g}"), "state": self.state, "who": self.who,
            "note": self.note.to_json(), "opened_us": self.opened_us, "changed_us": self.changed_us,
            "rooms": [{"room": room, "day": day, "codes": list(codes)} for room, day, codes in self.rooms],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class OwedRoom:
    """A room that has ended, and whose account has finished its job; ``file``: its record, in the data folder."""

    ident: str
    file: str
    created_us: int
    closed_us: int
    author: str


class ReviewStore:
    """The tables ``review_draft``, ``review_room`` and ``research_*``; methods block, so they run in threads."""

    def __init__(self, state: ServiceState) -> None:
        self.state = state

    # -- rooms -------------------------------------------------------------------------------------------------------

    def put_author(self, room: str, author: str) -> None:
        """Whose account has finished a room's job; kept until what the room tells is taken."""
        with self.state.transaction() as db:
            db.execute(
                "INSERT INTO review_room (room, author) VALUES (?, ?) ON CONFLICT (room) DO UPDATE SET"
                " author = excluded.author",
                (room, author),
            )

    def put_taken(self, room: str, now_us: int) -> None:
        """What a room tells is taken, or there is nothing to take."""
        with self.state.transaction() as db:
            db.execute(
                "INSERT INTO review_room (room, author, taken_us) VALUES (?, '', ?) ON CONFLICT (room) DO UPDATE SET"
                " author = '', taken_us = excluded.taken_us",
                (room, now_us),
            )

    def owed(self) -> list[OwedRoom]:
        """Rooms that have ended, and what they tell was not taken."""
        rows = self.state.rows(
            "SELECT ident, file, created_us, closed_us, coalesce(author, '') FROM room LEFT JOIN review_room ON"
            " room.ident = review_room.room WHERE closed_us IS NOT NULL AND taken_us IS NULL ORDER BY closed_us"
        )
        return [OwedRoom(*row) for row in rows]

    # -- drafts ------------------------------------------------------------------------------------------------------

    def open_draft(self, number: int, room: str, author: str, now_us: int) -> bool:
        """A draft waits for a review; False where it is known."""
        with self.state.transaction() as db:
            made = db.execute(
                "INSERT OR IGNORE INTO review_draft VALUES (?, ?, ?, 'waiting', '', '', '{}', '{}', ?, ?)",
                (number, room, author, now_us, now_us),
            )
        return made.rowcount > 0

    def drafts(self, state: str | None = None) -> list[ReviewRow]:
        """Those of a state, or all; the oldest first."""
        where, values = ("", ()) if state is None else (" WHERE state = ?", (state,))
        return [_row(row) for row in self.state.rows(f"{_DRAFTS}{where} ORDER BY number", values)]

    def draft(self, number: int) -> ReviewRow | None:
        """One of them."""
        rows = self.state.rows(f"{_DRAFTS} WHERE number = ?", (number,))
        return _row(rows[0]) if rows else None

    def put_draft(self, row: ReviewRow) -> None:
        """What has become of one."""
        with self.state.transaction() as db:
            db.execute(
                "UPDATE review_draft SET state = ?, reviewer = ?, reason = ?, proposal = ?, pattern = ?, changed_us = ?"
                " WHERE number = ?",
                (
                    row.state, row.reviewer, row.reason, json.dumps(row.proposal, ensure_ascii=False),
                    json.dumps(row.pattern, ensure_ascii=False), row.changed_us, row.number,
                ),
            )  # fmt: skip

    def patterns(self) -> tuple[list[dict[str, Any]], int]:
        """What workshops get of accepted drafts, and when that changed last."""
        rows = self.state.rows("SELECT pattern, changed_us FROM review_draft WHERE state = 'accepted' ORDER BY number")
        told = [json.loads(body) for body, _ in rows if body != "{}"]
        return told, max((us for _, us in rows), default=0)

    def withdraw_pattern(self, room: str, now_us: int) -> int:
        """What workshops got of a room's draft they get no longer; returns how many that were."""
        with self.state.transaction() as db:
            return db.execute(
                "UPDATE review_draft SET pattern = '{}', changed_us = ? WHERE room = ? AND pattern <> '{}'",
                (now_us, room),
            ).rowcount

    # -- research ----------------------------------------------------------------------------------------------------

    def raise_item(
        self,
        what: str,
        model: str,
        title: Text,
        rules: Sequence[str],
        now_us: int,
        *,
        failed: int = 0,
        jobs: int = 0,
        p: float | None = None,
        room: tuple[str, str, tuple[str, ...]] | None = None,
    ) -> tuple[int, bool]:
        """A problem goes into the queue, or more is known of it. Returns its number, and whether it is news.

        It is news when it is new, or was closed and has got worse since.
        """
        with self.state.transaction() as db:
            known = db.execute(
                "SELECT id, rules, failed, state FROM research_item WHERE what = ? AND model = ?", (what, model)
            ).fetchone()
            if known is None:
                cursor = db.execute(
                    "INSERT INTO research_item (what, model, title_en, title_zh, rules, failed, jobs, p, state, who,"
                    " note_en, note_zh, opened_us, changed_us)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'open', '', '', '', ?, ?)",
                    (what, model, title.en, title.zh, json.dumps(sorted(rules)), failed, jobs, p, now_us, now_us),
                )
                number, is_news = int(cursor.lastrowid or 0), True
            else:
                number, before = int(known[0]), json.loads(known[1])
                seen = (
                    room is not None
                    and db.execute(
                        "SELECT 1 FROM research_room WHERE item = ? AND room = ?", (number, room[0])
                    ).fetchone()
                )
                worse = failed > known[2] or bool(set(rules) - set(before)) or (room is not None and not seen)
                is_news = known[3] == "closed" and worse
                db.execute(
                    "UPDATE research_item SET rules = ?, failed = max(failed, ?), jobs = max(jobs, ?),"
                    " p = coalesce(?, p), state = ? WHERE id = ?",
                    (
                        json.dumps(sorted({*before, *rules})), failed, jobs, p, "open" if is_news else known[3], number,
                    ),
                )  # fmt: skip
            if room is not None:
                db.execute(
                    "INSERT OR REPLACE INTO research_room VALUES (?, ?, ?, ?)",
                    (number, room[0], room[1], json.dumps(room[2])),
                )
        return number, is_news

    def items(self, state: str | None = None) -> list[ResearchItem]:
        """Those of a state, or all; the latest first."""
        where, values = ("", ()) if state is None else (" WHERE state = ?", (state,))
        rooms: dict[int, list[tuple[str, str, tuple[str, ...]]]] = {}
        for item, room, day, codes in self.state.rows("SELECT item, room, day, codes FROM research_room ORDER BY day"):
            rooms.setdefault(item, []).append((room, day, tuple(json.loads(codes))))
        found = self.state.rows(f"{_ITEMS}{where} ORDER BY changed_us DESC, id DESC", values)
        return [_item(row, tuple(rooms.get(row[0], ()))) for row in found]

    def put_item(self, number: int, state: str, who: str, note: Text, now_us: int) -> bool:
        """What somebody makes of a problem; False where there is none of that number."""
        with self.state.transaction() as db:
            return bool(
                db.execute(
                    "UPDATE research_item SET state = ?, who = ?, note_en = ?, note_zh = ?, changed_us = ?"
                    " WHERE id = ?",
                    (state, who, note.en, note.zh, now_us, number),
                ).rowcount
            )


_DRAFTS: Final = (
    "SELECT number, room, author, state, reviewer, reason, proposal, pattern, opened_us, changed_us FROM review_draft"
)
_ITEMS: Final = (
    "SELECT id, what, model, title_en, title_zh, rules, failed, jobs, p, state, who, note_en, note_zh, opened_us,"
    " changed_us FROM research_item"
)


def _row(row: tuple[Any, ...]) -> ReviewRow:
    number, room, author, state, reviewer, reason, proposal, pattern, opened_us, changed_us = row
    return ReviewRow(
        number, room, author, state, reviewer, reason, json.loads(proposal), json.loads(pattern), opened_us, changed_us
    )


def _item(row: tuple[Any, ...], rooms: tuple[tuple[str, str, tuple[str, ...]], ...]) -> ResearchItem:
    number, what, model, en, zh, rules, failed, jobs, p, state, who, note_en, note_zh, opened, changed = row
    return ResearchItem(
        number, what, model, Text(en, zh), tuple(json.loads(rules)), failed, jobs, p, state, who,
        Text(note_en, note_zh), opened, changed, rooms,
    )  # fmt: skip
