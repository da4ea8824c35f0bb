"""What a library knows of its network: the service that it has joined, which jobs were told, notes of research."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from casebase.errors import JobUnknown
from casebase.query import Query
from casebase.visits import Visit, visit_of
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from casebase.casetable import CaseTable
    from casebase.catalogue import FeatureScale
    from casebase.sharedtable import SharedTable
    from casebase.store import Store

__all__ = ["JoinedNetwork", "NetworkTable"]

REFUSED: Final = "refused"
WAITING: Final = "waiting"
SENT: Final = "sent"


@dataclass(frozen=True, slots=True)
class JoinedNetwork:
    """The service whose network this library belongs to.

    Args:
        server: its address.
        service, reviewed: public keys under which it signs merged counts, and fixes that experts have reviewed.
        ca: file with the authority of its certificate; empty for the system's own.
    """

    server: str
    service: str
    reviewed: str
    ca: str = ""


class NetworkTable:
    """The network's side of a library's file.

    Args:
        store, cases, shared: of the library.
        scales: its figures.
    """

    def __init__(self, store: Store, cases: CaseTable, shared: SharedTable, scales: Mapping[str, FeatureScale]) -> None:
        self._store, self._cases, self._shared, self._scales = store, cases, shared, scales

    @property
    def joined(self) -> JoinedNetwork | None:
        """None for a library on its own."""
        rows = self._store.rows("SELECT server, service, reviewed, ca FROM networks")
        return JoinedNetwork(*rows[0]) if rows else None

    def join(self, network: JoinedNetwork) -> None:
        """From now on this library belongs to a network, instead of a former one."""
        with self._store.transaction():
            self._store.db.execute("DELETE FROM networks")
            self._store.db.execute(
                "INSERT INTO networks (server, service, reviewed, ca) VALUES (?, ?, ?, ?)",
                (network.server, network.service, network.reviewed, network.ca),
            )

    def site_key(self) -> bytes:
        """The private key by which this library signs, the same as for counts; made at first use."""
        keys = self._shared.keys
        if keys is None:
            with self._store.transaction():
                self._shared.make_keys()
            keys = self._shared.keys
        if keys is None:  # only a file that somebody else changes meanwhile
            raise JobUnknown(0)
        return keys[0]

    # -- jobs --------------------------------------------------------------------------------------------------------

    def remember_job(self, job: int, ticket: str, *, refused: bool = False) -> None:
        """Keeps by which ticket a job may be told later, or that its customer wants it told to nobody."""
        with self._store.transaction():
            self._store.db.execute(
                "INSERT OR REPLACE INTO network_jobs (case_id, ticket, state) VALUES (?, ?, ?)",
                (job, "" if refused else ticket, REFUSED if refused else WAITING),
            )

    def ticket_of(self, job: int) -> tuple[str, str] | None:
        """Ticket and state (``waiting``, ``sent``, ``refused``) of a job; None where nothing was noted."""
        rows = self._store.rows("SELECT ticket, state FROM network_jobs WHERE case_id = ?", (job,))
        return (rows[0][0], rows[0][1]) if rows else None

    def mark_sent(self, job: int) -> None:
        """The network knows of it; its ticket stays, for what becomes of it later."""
        with self._store.transaction():
            self._store.db.execute("UPDATE network_jobs SET state = ? WHERE case_id = ?", (SENT, job))

    def mark_waiting(self, job: int) -> None:
        """What became of a job has changed: it is to be told again."""
        with self._store.transaction():
            self._store.db.execute(
                "UPDATE network_jobs SET state = ? WHERE case_id = ? AND state = ?", (WAITING, job, SENT)
            )

    def waiting(self) -> list[tuple[int, str]]:
        """Closed jobs that are still to be told, with their tickets."""
        rows = self._store.rows(
            "SELECT case_id, ticket FROM network_jobs JOIN cases ON cases.id = case_id"
            " WHERE state = ? AND ticket <> '' AND outcome IS NOT NULL AND simulated = 0 ORDER BY case_id",
            (WAITING,),
        )
        return [(int(job), ticket) for job, ticket in rows]

    # -- visits ------------------------------------------------------------------------------------------------------

    def visit(self, job: int) -> Visit:
        """What may be told of a job.

        Raises:
            JobUnknown: there is no such real job.
        """
        rows = self._store.rows(
            "SELECT id, opened_ns, closed_ns, vehicle, evidence, mileage_km, verdict, fix_id, outcome FROM cases"
            " WHERE id = ? AND simulated = 0",
            (job,),
        )
        if not rows:
            raise JobUnknown(job)
        return self._visit(rows[0])

    def visit_from(
        self, query: Query, *, uid: str, day: str, mileage_km: float | None, verdict: str, fix: str | None,
        outcome: str | None,
    ) -> Visit:  # fmt: skip
        """What may be told of a case that is none of this library's jobs; see :func:`casebase.visits.visit_of`."""
        return visit_of(
            query, self._scales, uid=uid, day=day, mileage_km=mileage_km, verdict=verdict, fix=fix, outcome=outcome
        )

    def visits_of_car(self, vin: str) -> list[Visit]:
        """The real, closed visits of a car to this workshop, the latest first."""
        if not self._cases.knows_cars:
            return []
        rows = self._store.rows(
            "SELECT id, opened_ns, closed_ns, vehicle, evidence, mileage_km, verdict, fix_id, outcome FROM cases"
            " WHERE car_key = ? AND simulated = 0 AND outcome IS NOT NULL"
            " ORDER BY coalesce(closed_ns, opened_ns) DESC, id DESC",
            (self._cases.car_key(vin),),
        )
        return [self._visit(row) for row in rows]

    def _visit(self, row: tuple[object, ...]) -> Visit:
        number, opened, closed, vehicle, evidence, mileage_km, verdict, fix_id, outcome = row
        told = {**json.loads(str(evidence)), "vehicle": json.loads(str(vehicle))}
        when = int(str(closed or opened or 0))
        name = f"{self._store.identity}\n{number}"
        return visit_of(
            Query.from_json(told), self._scales, uid=hashlib.sha256(name.encode()).hexdigest()[:32],
            day=datetime.fromtimestamp(when / 1e9, UTC).strftime("%Y-%m-%d"),
            mileage_km=None if mileage_km is None else float(str(mileage_km)), verdict=str(verdict or ""),
            fix=None if fix_id is None else str(fix_id), outcome=None if outcome is None else str(outcome),
        )  # fmt: skip

    def unlink_car(self, vin: str) -> int:
        """From now on no case and no draft leads to this car; drafts of it that wait are gone. Returns how many."""
        if not self._cases.knows_cars:
            return 0
        key = self._cases.car_key(vin)
        with self._store.transaction():
            db = self._store.db
            drafts = db.execute(
                "UPDATE drafts SET state = 'dropped', body = '{}', car_key = NULL WHERE car_key = ?", (key,)
            ).rowcount
            return drafts + db.execute("UPDATE cases SET car_key = NULL WHERE car_key = ?", (key,)).rowcount

    # -- notes of research -------------------------------------------------------------------------------------------

    def put_notes(self, notes: Iterable[tuple[str, str, Text]]) -> int:
        """Takes the answers of research and development instead of the former ones: ``(what, model, note)``."""
        kept = list(notes)
        with self._store.transaction():
            self._store.db.execute("DELETE FROM network_notes")
            self._store.db.conn.executemany(
                "INSERT OR REPLACE INTO network_notes (what, model, en, zh) VALUES (?, ?, ?, ?)",
                [(what, model, note.en, note.zh) for what, model, note in kept],
            )
        return len(kept)

    def notes_for(self, what: Iterable[str], model: str) -> list[tuple[str, Text]]:
        """What research says of fixes or codes on a model, in the order asked."""
        out = []
        for name in dict.fromkeys(what):
            rows = self._store.rows(
                "SELECT en, zh FROM network_notes WHERE what = ? AND model IN (?, '')", (name, model)
            )
            out += [(name, Text(en, zh)) for en, zh in rows]
        return out
