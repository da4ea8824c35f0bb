"""The queue in the service's database: every car that waits or waited, with its offers and clocks."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from consult.needs import Need
from consult.waitingline import Entry, Offer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consult.servicestate import AuditEntry, ServiceState

__all__ = ["WaitStore"]

_SELECT: Final = "SELECT n, room, queued_us, accepted_us, finding_us, ended_us, ending, holder, body FROM waiting"
_BODY: Final = ("need", "since_us", "stage", "offers", "asked", "because", "told", "again_us")


class WaitStore:
    """The table ``waiting``.

    Raises:
        StateBroken: by every method, when the database cannot be used.
    """

    def __init__(self, state: ServiceState) -> None:
        self._state = state

    def save(self, entries: Iterable[Entry], audit: Iterable[AuditEntry] = ()) -> None:
        """Entries as they are now and what is to be remembered of how they came to be so, in one transaction."""
        with self._state.transaction() as db:
            for entry in entries:
                whole = asdict(entry)
                body = json.dumps({key: whole[key] for key in _BODY}, ensure_ascii=False, separators=(",", ":"))
                db.execute(
                    "INSERT OR REPLACE INTO waiting"
                    " (n, room, severity, queued_us, accepted_us, finding_us, ended_us, ending, holder, body)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        entry.n,
                        entry.room,
                        entry.need.severity,
                        entry.queued_us,
                        entry.accepted_us,
                        entry.finding_us,
                        entry.ended_us,
                        entry.ending,
                        entry.holder,
                        body,
                    ),
                )
            self._state.note_with(db, audit)

    def open_entries(self) -> list[Entry]:
        """Cars that have not ended, oldest first."""
        return [_entry(row) for row in self._state.rows(f"{_SELECT} WHERE ended_us IS NULL ORDER BY n")]

    def since(self, t_us: int) -> list[Entry]:
        """All that began to wait at a time or later, oldest first."""
        return [_entry(row) for row in self._state.rows(f"{_SELECT} WHERE queued_us >= ? ORDER BY n", (t_us,))]

    def next_n(self) -> int:
        """The next entry's number."""
        return int(self._state.rows("SELECT coalesce(max(n), 0) + 1 FROM waiting")[0][0])

    def busy_us(self) -> dict[str, int]:
        """When each account has taken or ended a case last."""
        rows = self._state.rows(
            "SELECT holder, max(coalesce(ended_us, accepted_us)) FROM waiting WHERE holder != '' GROUP BY holder"
        )
        return {holder: t_us for holder, t_us in rows if t_us is not None}

    def forget(self, before_us: int) -> int:
        """Forgets cars that ended before a time; returns how many."""
        with self._state.transaction() as db:
            return db.execute("DELETE FROM waiting WHERE ended_us < ?", (before_us,)).rowcount


def _entry(row: tuple[Any, ...]) -> Entry:
    n, room, queued_us, accepted_us, finding_us, ended_us, ending, holder, text = row
    body = json.loads(text)
    need = body["need"]
    return Entry(
        n,
        room,
        Need(**need | {"skills": tuple(need["skills"]), "dangers": tuple(need["dangers"])}),
        queued_us,
        body["since_us"],
        body["stage"],
        tuple(Offer(**one | {"because": tuple(one["because"])}) for one in body["offers"]),
        tuple(body["asked"]),
        holder,
        tuple(body["because"]),
        tuple(body["told"]),
        accepted_us,
        finding_us,
        ended_us,
        ending,
        body.get("again_us", 0),
    )
