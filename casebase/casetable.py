"""The cases of a library's file, and what they teach."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from casebase.catalogue import Scope
from casebase.errors import FixUnknown, JobUnknown, SimulatedOutcome
from casebase.jobclasses import NOTICE
from casebase.prepared import COLUMNS, SMALLEST, columns_of
from casebase.query import Query
from casebase.record import Case, car_key_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from casebase.prepared import Prepared
    from casebase.store import FixRow, Store

__all__ = ["CaseTable", "Taken", "mark_shared"]

_KEY: Final = "car_key"
_SHARED: Final = "shared_version"
"""There from the first document of another site on."""
_AT_ONCE: Final = 500
_INSERT: Final = (
    f"INSERT INTO cases (id, fix_id, {', '.join(COLUMNS)})"  # noqa: S608 - names that stand in the code
    f" VALUES (?, ?, {', '.join('?' * len(COLUMNS))})"
)
_SMALLEST: Final = SMALLEST


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of some cases.

    Args:
        new: how many were not there before.
        taught: the fix that each stands behind from now on, None for those that teach nothing.
        unknown: index and the name of the fix that the library does not have.
    """

    new: int
    taught: tuple[str | None, ...]
    unknown: tuple[tuple[int, str], ...]


class CaseTable:
    """Cases and who stands behind which fix; everything that writes does so inside the caller's transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._fix_ids: dict[str, str] = {}
        self._learnt_fixes: set[str] = set()
        self._sent: dict[str, FixRow] = {}

    def forget(self) -> None:
        """Drops what was remembered of the file: a transaction that did not come to its end made nothing."""
        self._fix_ids.clear()
        self._learnt_fixes.clear()
        self._sent.clear()

    @property
    def key(self) -> bytes:
        """What only this library has; made at its first use."""
        key = self._store.meta(_KEY)
        if key is None:
            key = secrets.token_hex(32)
            self._store.db.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (_KEY, key))
            key = self._store.meta(_KEY) or key
        return bytes.fromhex(key)

    @property
    def knows_cars(self) -> bool:
        """Whether any car was ever taken by its VIN."""
        return self._store.meta(_KEY) is not None

    def car_key(self, vin: str) -> str:
        """The keyed hash under which a car is found again."""
        return car_key_of(self.key, vin)

    def put(self, prepared: Prepared, *, strict: bool = False) -> Taken:
        """Adds cases that are not there yet.

        Args:
            prepared: any number of them.
            strict: a name of a fix that the library does not have is an error; otherwise such cases are left out.

        Raises:
            FixUnknown: see ``strict``; nothing of the batch was written.
        """
        self._sent.update(prepared.fixes)
        known = self._known(prepared.uids)
        number = int(self._store.value("SELECT coalesce(max(id), 0) FROM cases") or 0)
        rows: list[tuple[object, ...]] = []
        learnt: list[tuple[int, str]] = []
        taught: list[str | None] = [None] * len(prepared)
        unknown: list[tuple[int, str]] = []
        for at, columns in enumerate(prepared.columns):
            fix_id, name = prepared.fix_ids[at], prepared.fix_names[at]
            if name is not None:
                try:
                    fix_id = self._fix_id(name)
                except FixUnknown:
                    if strict:
                        raise
                    unknown.append((at, name))
                    continue
            uid = str(columns[0])
            if uid in known:
                continue
            known.add(uid)
            if fix_id is not None and fix_id in self._sent:
                self._put_learnt(self._sent.pop(fix_id))
            number += 1
            rows.append((number, fix_id, *columns))
            if fix_id is not None and prepared.teaches[at]:
                learnt.append((number, fix_id))
                taught[at] = fix_id
        many = self._store.db.conn.executemany
        many(_INSERT, rows)
        many("INSERT INTO learnt (case_id, fix_id, weight) VALUES (?, ?, 1)", learnt)
        if self._store.meta(_SHARED) is not None:
            self._adopt(sorted({fix_id for _, fix_id in learnt}))
        return Taken(len(rows), tuple(taught), tuple(unknown))

    def open_job(
        self,
        query: Query,
        verdict: str,
        opened_ns: int,
        car_key: str | None,
        *,
        first: str | None = None,
        answered_ms: int | None = None,
    ) -> int:
        """A case that somebody works on now and what was told; returns its number.

        Args:
            query: what was asked.
            verdict: of the answer.
            opened_ns: UTC nanoseconds.
            car_key: keyed hash of the VIN.
            first: identity of the first match, a fix or a notice.
            answered_ms: milliseconds until the answer.
        """  # fmt: skip
        case = Case(
            "", query, opened_ns=opened_ns, car_key=car_key, origin="own", evidence=query.evidence_json(),
            answered_ms=answered_ms,
        )  # fmt: skip
        cursor = self._store.db.conn.execute(_INSERT, (None, None, None, *columns_of(case)[1:]))
        number = int(cursor.lastrowid or 0)
        self._store.db.execute("UPDATE cases SET verdict = ? WHERE id = ?", (verdict, number))
        self._store.db.execute(
            "UPDATE cases SET evidence_class = ? WHERE id = ? AND EXISTS (SELECT 1 FROM notices WHERE case_id = ?)",
            (NOTICE, number, first),
        )
        return number

    def outcomes_of(self, fix_id: str, most: int) -> tuple[list[bool], int, int]:
        """Ends of the real jobs in which a fix was tried: whether it cured, the oldest first; how many it did, and not.

        Args:
            fix_id: its identity.
            most: how many of the latest are listed; the counts are of all.
        """
        rows = self._store.rows(
            "SELECT outcome FROM cases WHERE fix_id = ? AND simulated = 0 AND outcome IN ('fixed', 'not-fixed')"
            " ORDER BY coalesce(closed_ns, opened_ns) DESC, id DESC LIMIT ?",
            (fix_id, most),
        )
        ends = [row[0] == "fixed" for row in reversed(rows)]
        if len(ends) < most:
            return ends, sum(ends), len(ends) - sum(ends)
        told = self._store.rows(
            "SELECT outcome, count(*) FROM cases WHERE fix_id = ? AND simulated = 0 GROUP BY outcome", (fix_id,)
        )
        counts = dict(told)
        return ends, counts.get("fixed", 0), counts.get("not-fixed", 0)

    def fixes_of_cars(self, least: int) -> list[str]:
        """Bodies of the fixes that were tried on so many different cars in real, closed jobs; retired ones are none.

        Where no car is named each case counts as a car of its own.
        """
        rows = self._store.rows(
            "SELECT body FROM fixes WHERE retired = 0 AND id IN (SELECT fix_id FROM cases WHERE simulated = 0"
            " AND outcome IN ('fixed', 'not-fixed') AND fix_id IS NOT NULL GROUP BY fix_id"
            " HAVING count(DISTINCT coalesce(car_key, '#' || id)) >= ?) ORDER BY id",
            (least,),
        )
        return [row[0] for row in rows]

    def ends_of(self, fix_id: str) -> Iterator[list[tuple[str, bool, Query]]]:
        """The real, closed jobs of a fix, a thousand at a time: the car, whether it was cured, and what was seen."""
        after = -(1 << 63), 0
        while rows := self._store.rows(
            "SELECT coalesce(closed_ns, opened_ns), id, coalesce(car_key, '#' || id), outcome, symptom, evidence"
            " FROM cases WHERE fix_id = ? AND simulated = 0 AND outcome IN ('fixed', 'not-fixed')"
            " AND (coalesce(closed_ns, opened_ns), id) > (?, ?) ORDER BY coalesce(closed_ns, opened_ns), id LIMIT 1000",
            (fix_id, *after),
        ):
            after = rows[-1][:2]
            yield [(row[2], row[3] == "fixed", _query(row[4], row[5])) for row in rows]

    def _adopt(self, fix_ids: Sequence[str]) -> None:
        """Fixes that only others told of are ours, too, from the first car that they cure here."""
        changed = self._store.db.execute(
            "UPDATE fixes SET origin = 'learnt', retired = 0 WHERE origin = 'shared'"
            " AND id IN (SELECT value FROM json_each(?))",
            (json.dumps(fix_ids),),
        )
        if changed.rowcount:
            mark_shared(self._store)

    def _known(self, uids: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for at in range(0, len(uids), _AT_ONCE):
            some = uids[at : at + _AT_ONCE]
            sql = "SELECT uid FROM cases WHERE uid IN (SELECT value FROM json_each(?))"
            found.update(row[0] for row in self._store.rows(sql, (json.dumps(some),)))
        return found

    def _fix_id(self, name: str) -> str:
        if name not in self._fix_ids:
            self._fix_ids[name] = self._store.find_fix(name).fix_id
        return self._fix_ids[name]

    def _put_learnt(self, row: FixRow) -> None:
        """A fix that cases know, where the library does not have it."""
        if row.fix_id not in self._learnt_fixes:
            if not self._store.value("SELECT count(*) FROM fixes WHERE id = ?", (row.fix_id,)):
                self._store.put_fix(row, "learnt", {})
            self._learnt_fixes.add(row.fix_id)

    def learnt_after(self, seq: int, most: int) -> list[tuple[int, str, Query, float]]:
        """``(number, fix, what was seen, 1 or -1)`` of what was learnt since, in order."""
        rows = self._store.rows(
            "SELECT seq, learnt.fix_id, weight, symptom, evidence FROM learnt JOIN cases ON cases.id = case_id"
            " JOIN fixes ON fixes.id = learnt.fix_id WHERE seq > ? ORDER BY seq LIMIT ?",
            (seq, most),
        )
        return [(row[0], row[1], _query(row[3], row[4]), float(row[2])) for row in rows]

    def learnt_since(self, seq: int) -> tuple[int, int]:
        """Number of the last thing learnt, and how many there are beyond one."""
        row = self._store.rows("SELECT coalesce(max(seq), 0), sum(seq > ?) FROM learnt", (seq,))[0]
        return int(row[0]), int(row[1] or 0)

    @property
    def last_learnt(self) -> int:
        """Number of the last thing learnt."""
        return int(self._store.value("SELECT coalesce(max(seq), 0) FROM learnt") or 0)

    def scopes(self) -> dict[str, Scope]:
        """Vehicles of all fixes, retired ones too."""
        rows = self._store.rows(
            "SELECT fixes.id, make, model, year_from, year_to FROM fixes JOIN scopes ON scopes.id = scope_id"
        )
        return {
            row[0]: Scope(row[1] or None, row[2] or None, row[3] or None, None if row[4] == 9999 else row[4])
            for row in rows
        }

    def close(self, case_id: int, outcome: str, fix_id: str | None, closed_ns: int, note: str) -> None:
        """What a case turned out to be; an earlier answer is taken back.

        Raises:
            SimulatedOutcome: it was a job on the simulated car.
            JobUnknown: there is no such case.
        """
        row = self._store.rows("SELECT simulated FROM cases WHERE id = ?", (case_id,))
        if not row:
            raise JobUnknown(case_id)
        if row[0][0]:
            raise SimulatedOutcome(case_id)
        db = self._store.db
        before = self._store.rows(
            "SELECT fix_id, sum(weight) FROM learnt WHERE case_id = ? GROUP BY fix_id", (case_id,)
        )
        for known, weight in before:
            if weight > _SMALLEST:
                db.execute("INSERT INTO learnt (case_id, fix_id, weight) VALUES (?, ?, -1)", (case_id, known))
        # A recall that cured the car teaches nothing of what its cars look like: its words are its own.
        is_fix = bool(self._store.value("SELECT count(*) FROM fixes WHERE id = ?", (fix_id,)))
        if outcome == "fixed" and is_fix:
            db.execute("INSERT INTO learnt (case_id, fix_id, weight) VALUES (?, ?, 1)", (case_id, fix_id))
            self._adopt(str(fix_id))
        db.execute(
            "UPDATE cases SET outcome = ?, fix_id = ?, closed_ns = ?, note = CASE WHEN ? = '' THEN note ELSE ? END"
            " WHERE id = ?",
            (outcome, fix_id, closed_ns, note, note, case_id),
        )
        db.execute("UPDATE outcome_log SET outcome = NULL WHERE case_id = ?", (case_id,))
        if fix_id is not None:
            db.execute(
                "UPDATE outcome_log SET outcome = ? WHERE case_id = ? AND fix_id = ?", (outcome, case_id, fix_id)
            )

    def of_car(self, vin: str) -> list[dict[str, Any]]:
        """Earlier cases of a car, the latest first."""
        key = self._store.meta(_KEY)
        if key is None:
            return []
        rows = self._store.rows(
            "SELECT id, opened_ns, closed_ns, symptom, outcome, fix_id, mileage_km, note, simulated FROM cases"
            " WHERE car_key = ? ORDER BY coalesce(closed_ns, opened_ns) DESC, id DESC",
            (self.car_key(vin),),
        )
        names = ("case", "opened_ns", "closed_ns", "symptom", "outcome", "fix_id", "mileage_km", "note", "simulated")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def all(self) -> Iterator[dict[str, Any]]:
        """Every case, as the JSON that :func:`casebase.record.case_from_json` reads; the car's hash stays here."""
        after = 0
        while rows := self._store.rows(
            "SELECT cases.id, uid, opened_ns, closed_ns, symptom, vehicle, simulated, outcome, mileage_km, evidence,"
            " note, cases.component, body, fixes.origin, slug FROM cases LEFT JOIN fixes ON fixes.id = cases.fix_id"
            " WHERE cases.id > ? ORDER BY cases.id LIMIT 1000",
            (after,),
        ):
            after = rows[-1][0]
            yield from map(_exported, rows)


def mark_shared(store: Store) -> None:
    """Tells every process that has the library open that what others told counts otherwise now."""
    store.db.execute("INSERT INTO meta VALUES (?, '1') ON CONFLICT (key) DO UPDATE SET value = value + 1", (_SHARED,))


def _query(symptom: str, evidence: str) -> Query:
    return replace(Query.from_json(json.loads(evidence)), symptom=symptom)


def _exported(row: tuple[Any, ...]) -> dict[str, Any]:
    from datetime import UTC, datetime

    def moment(ns: int | None) -> str | None:
        return None if not ns else datetime.fromtimestamp(ns / 1e9, UTC).isoformat(timespec="seconds")

    (
        _,
        uid,
        opened,
        closed,
        symptom,
        vehicle,
        simulated,
        outcome,
        mileage,
        evidence,
        note,
        component,
        body,
        origin,
        slug,
    ) = row
    told: dict[str, Any] = {
        "id": uid, "symptom": symptom, "vehicle": json.loads(vehicle), **json.loads(evidence), "opened": moment(opened),
        "closed": moment(closed), "outcome": outcome, "mileage_km": mileage, "note": note, "component": component,
    }  # fmt: skip
    if simulated:
        told["simulated"] = True
    if origin in ("learnt", "shared"):
        fix = json.loads(body)
        told["fix"] = {key: fix[key] for key in ("component", "failure_mode", "action", "title", "fix")}
    elif slug:
        told["fix"] = slug
    return {key: value for key, value in told.items() if value not in (None, "", {}, [])}
