"""What the network's memory keeps: workshops, visits by the hash of the car, tickets, counts. SQL stands here alone."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from casebase.visits import Visit, parse_visit
from consult.networkerrors import SiteBroken
from consult.networksigning import CLOCKS_S
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from consult.networkkeys import NetworkKeys
    from consult.servicestate import AuditEntry, ServiceState

__all__ = ["HERE", "KeptVisit", "NetworkStore", "Site", "visit_uid"]

HERE: Final = 0
"""Number of the service itself among the sites: visits of its own rooms."""
CODE_LIFE_S: Final = 48 * 3600
_HOUR_US: Final = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Site:
    """A workshop of the network. ``key``: public, base64url; None before it has joined."""

    number: int
    name: str
    region: str
    key: str | None
    created_us: int
    joined_us: int | None = None
    seen_us: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As the owner of the service sees it."""
        return {"name": self.name, "region": self.region, "key": self.key, "joined": self.key is not None}


@dataclass(frozen=True, slots=True)
class KeptVisit:
    """A visit and where it was. ``room``: the service's own room, empty for a workshop's visit."""

    site: int
    room: str
    visit: Visit


class NetworkStore:
    """The tables ``network_*`` of the service's database; methods block, so they run in threads."""

    def __init__(self, state: ServiceState) -> None:
        self.state = state

    # -- workshops ---------------------------------------------------------------------------------------------------

    def add_site(
        self, name: str, region: str, code: bytes, until_s: float, now_us: int, audit: Iterable[AuditEntry] = ()
    ) -> None:
        """A workshop that may join by a code, of which the hash is kept; again: by a new one.

        Raises:
            SiteBroken: it has joined already.
        """
        with self.state.transaction() as db:
            found = db.execute("SELECT key FROM network_site WHERE name = ?", (name,)).fetchone()
            if found is not None and found[0] is not None:
                raise SiteBroken(name, Text("it has joined already", "该门店已加入"))
            db.execute(
                "INSERT INTO network_site (name, region, code, code_until_s, created_us) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (name) DO UPDATE SET region = excluded.region, code = excluded.code,"
                " code_until_s = excluded.code_until_s",
                (name, region, code, until_s, now_us),
            )
        self.state.note(*audit)

    def remove_site(self, name: str, now_us: int, audit: Iterable[AuditEntry] = (), *, forget: bool = False) -> bool:
        """Its key opens nothing any more and its counts are gone; with ``forget`` its visits, too. False: unknown."""
        with self.state.transaction() as db:
            found = db.execute("SELECT id FROM network_site WHERE name = ?", (name,)).fetchone()
            if found is None:
                return False
            number = found[0]
            for table in ("network_counts", "network_nonce", "network_ask", "network_ticket"):
                db.execute(f"DELETE FROM {table} WHERE site = ?", (number,))  # noqa: S608 - names of this line
            if forget:
                db.execute("DELETE FROM network_visit WHERE site = ?", (number,))
            # Its visits keep its number; nobody else ever gets it.
            db.execute(
                "UPDATE network_site SET name = name || '#' || id, key = NULL, code = NULL WHERE id = ?", (number,)
            )
            _touch(db, now_us)
        self.state.note(*audit)
        return True

    def join(self, code: bytes, key: str, now_s: float) -> Site | None:
        """The workshop of a code takes its key, once; None where the code opens nothing."""
        with self.state.transaction() as db:
            found = db.execute(
                "SELECT id FROM network_site WHERE code = ? AND key IS NULL AND code_until_s > ?", (code, now_s)
            ).fetchone()
            if found is None or db.execute("SELECT 1 FROM network_site WHERE key = ?", (key,)).fetchone():
                return None
            db.execute(
                "UPDATE network_site SET key = ?, code = NULL, joined_us = ? WHERE id = ?",
                (key, int(now_s * 1e6), found[0]),
            )
        return self.find_site(key)

    def find_site(self, key: str) -> Site | None:
        """By its public key."""
        rows = self.state.rows(f"{_SITES} WHERE key = ?", (key,))
        return Site(*rows[0]) if rows else None

    def sites(self) -> list[Site]:
        """All that were not removed, by name."""
        return [Site(*row) for row in self.state.rows(f"{_SITES} WHERE name NOT LIKE '%#%' ORDER BY name")]

    def places(self) -> dict[int, tuple[str, str]]:
        """Number -> name and region, removed ones too."""
        rows = self.state.rows("SELECT id, name, region FROM network_site")
        return {number: (name.partition("#")[0], region) for number, name, region in rows}

    def use_nonce(self, site: int, nonce: str, t_s: int, now_s: float) -> bool:
        """Whether a site's request is new. It is remembered as long as its time would count, also over restarts."""
        with self.state.transaction() as db:
            db.execute("DELETE FROM network_nonce WHERE t_s < ?", (int(now_s) - 2 * CLOCKS_S,))
            new = db.execute("INSERT OR IGNORE INTO network_nonce VALUES (?, ?, ?)", (site, nonce, t_s)).rowcount
            db.execute("UPDATE network_site SET seen_us = ? WHERE id = ?", (int(now_s * 1e6), site))
        return bool(new)

    def knows_cars(self) -> bool:
        """Whether any car can be found here by its hash."""
        return bool(
            self.state.rows(
                "SELECT 1 WHERE EXISTS (SELECT 1 FROM network_visit WHERE car IS NOT NULL)"
                " OR EXISTS (SELECT 1 FROM network_ticket)"
            )
        )

    # -- cars --------------------------------------------------------------------------------------------------------

    def may_ask(self, site: int, now_us: int, per_hour: int, per_day: int) -> bool:
        """Whether a site may ask for one more car; counted in the database, so that a restart forgives nothing."""
        with self.state.transaction() as db:
            db.execute("DELETE FROM network_ask WHERE t_us < ?", (now_us - 24 * _HOUR_US,))
            day, hour = db.execute(
                "SELECT count(*), coalesce(sum(t_us > ?), 0) FROM network_ask WHERE site = ?",
                (now_us - _HOUR_US, site),
            ).fetchone()
            if day >= per_day or hour >= per_hour:
                return False
            db.execute("INSERT INTO network_ask (site, t_us) VALUES (?, ?)", (site, now_us))
        return True

    def visits(self, hashes: Sequence[tuple[int, bytes]]) -> list[KeptVisit]:
        """All visits of a car, the latest first. Those under a former key move to the one in use.

        Args:
            hashes: key number and hash of the car, the key in use first.
        """
        newest, car = hashes[0]
        with self.state.transaction() as db:
            for key, old in hashes[1:]:
                db.execute(
                    "UPDATE network_visit SET key = ?, car = ? WHERE key = ? AND car = ?", (newest, car, key, old)
                )
            rows = db.execute(
                "SELECT site, room, body FROM network_visit WHERE key = ? AND car = ? ORDER BY day DESC, id DESC",
                (newest, car),
            ).fetchall()
        return [_kept(row) for row in rows]

    def visits_under(self, hashes: Sequence[tuple[int, bytes]]) -> list[KeptVisit]:
        """All visits of a car under any of its hashes, the latest first; nothing moves."""
        rows: list[tuple[Any, ...]] = []
        for key, car in hashes:
            rows += self.state.rows(
                "SELECT site, room, body, day, id FROM network_visit WHERE key = ? AND car = ?", (key, car)
            )
        return [_kept(row) for row in sorted(rows, key=lambda row: row[3:], reverse=True)]

    def put_visit(
        self, site: int, visit: Visit, car: tuple[int, bytes] | None, what: str | None, now_us: int, room: str = ""
    ) -> bool:
        """Keeps a visit instead of what was told of it before; whether it is new.

        Args:
            site: whose.
            visit: without the car.
            car: key number and hash; None for a car whose VIN nobody knew.
            what: the fix that was tried, or the code that nothing explained; for research.
            now_us: UTC microseconds.
            room: where it was, for those of the service itself.
        """
        row = (
            site, visit.uid, *(car or (None, None)), room, now_us, visit.day, what, visit.model_name, visit.outcome,
            json.dumps(visit.to_json(), ensure_ascii=False),
        )  # fmt: skip
        with self.state.transaction() as db:
            known = db.execute("SELECT 1 FROM network_visit WHERE site = ? AND uid = ?", (site, visit.uid)).fetchone()
            db.execute("DELETE FROM network_visit WHERE site = ? AND uid = ?", (site, visit.uid))
            db.execute(
                "INSERT INTO network_visit (site, uid, key, car, room, received_us, day, what, model, outcome, body)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            )
        return known is None

    def put_ticket(self, digest: bytes, site: int, car: tuple[int, bytes], until_us: int) -> None:
        """By the secret of this hash the site may tell what becomes of the car, without its VIN."""
        with self.state.transaction() as db:
            db.execute("INSERT INTO network_ticket VALUES (?, ?, ?, ?, ?)", (digest, site, *car, until_us))

    def car_of_ticket(self, digest: bytes, site: int, now_us: int) -> tuple[int, bytes] | None:
        """The car; None for another site's ticket, or one that has ended."""
        rows = self.state.rows(
            "SELECT key, car FROM network_ticket WHERE digest = ? AND site = ? AND until_us > ?", (digest, site, now_us)
        )
        return (rows[0][0], rows[0][1]) if rows else None

    def forget_car(self, hashes: Sequence[tuple[int, bytes]]) -> int:
        """Forgets all visits and tickets of a car; returns how many visits."""
        gone = 0
        with self.state.transaction() as db:
            for key, car in hashes:
                gone += db.execute("DELETE FROM network_visit WHERE key = ? AND car = ?", (key, car)).rowcount
                db.execute("DELETE FROM network_ticket WHERE key = ? AND car = ?", (key, car))
        return gone

    def forget_room(self, room: str) -> int:
        """Forgets the visit of one of the service's own rooms, also where the room was deleted; returns how many."""
        with self.state.transaction() as db:
            return db.execute(
                "DELETE FROM network_visit WHERE site = ? AND (room = ? OR uid = ?)", (HERE, room, visit_uid(room))
            ).rowcount

    def forget_unagreed(self) -> int:
        """Forgets visits to the service's own rooms to which nobody agrees; returns how many.

        That is what was remembered before anybody was asked, and what a withdrawal could not delete at once.
        """
        with self.state.transaction() as db:
            return db.execute(
                "DELETE FROM network_visit WHERE site = ? AND car IS NOT NULL AND room <> '' AND coalesce((SELECT given"
                " FROM consent WHERE consent.room = network_visit.room AND kind = 'sharing' ORDER BY n DESC LIMIT 1),"
                " 0) = 0",
                (HERE,),
            ).rowcount

    def forget_old(self, now_us: int, visit_days: int, day: str) -> int:
        """Forgets visits older than their days (``day`` is the first that stays) and tickets that ended."""
        with self.state.transaction() as db:
            db.execute("DELETE FROM network_ticket WHERE until_us <= ?", (now_us,))
            return db.execute(
                "DELETE FROM network_visit WHERE day < ? AND received_us < ?",
                (day, now_us - visit_days * 24 * _HOUR_US),
            ).rowcount

    def unlink_ended(self, left: Callable[[], NetworkKeys | None]) -> int:
        """Visits under keys that are no more lead to no car and to no other visit of it; returns how many.

        Args:
            left: forgets the keys that have ended and returns the others; the database is held meanwhile.
        """
        with self.state.transaction() as db:
            keys = left()
            if keys is None:
                return 0
            known = json.dumps([key.number for key in keys.vin_keys])
            db.execute("DELETE FROM network_ticket WHERE key NOT IN (SELECT value FROM json_each(?))", (known,))
            return db.execute(
                "UPDATE network_visit SET key = NULL, car = NULL, room = '' WHERE key IS NOT NULL"
                " AND key NOT IN (SELECT value FROM json_each(?))",
                (known,),
            ).rowcount

    # -- what research asks ------------------------------------------------------------------------------------------

    def ends_of(self, what: str, model: str) -> list[KeptVisit]:
        """The visits of a model at which one thing was tried, in order, with an end that somebody knows."""
        rows = self.state.rows(
            "SELECT site, room, body FROM network_visit WHERE what = ? AND model = ? AND outcome IS NOT NULL"
            " ORDER BY day, id",
            (what, model),
        )
        return [_kept(row) for row in rows]

    # -- counts ------------------------------------------------------------------------------------------------------

    def put_counts(self, site: int, made: str, patterns: int, body: str, now_us: int) -> bool:
        """A site's counts instead of its former ones; False where those are newer."""
        with self.state.transaction() as db:
            last = db.execute("SELECT made, body FROM network_counts WHERE site = ?", (site,)).fetchone()
            if last is not None and last[1] == body:
                return True
            if last is not None and made <= last[0]:
                return False
            db.execute("INSERT OR REPLACE INTO network_counts VALUES (?, ?, ?, ?)", (site, made, patterns, body))
            _touch(db, now_us)
        return True

    def counts_of_sites(self) -> dict[int, str]:
        """When each site's document was made."""
        return dict(self.state.rows("SELECT site, made FROM network_counts ORDER BY site"))

    def counts(self, site: int) -> str | None:
        """The document of one site."""
        rows = self.state.rows("SELECT body FROM network_counts WHERE site = ?", (site,))
        return rows[0][0] if rows else None

    @property
    def counts_changed_us(self) -> int:
        """When any counts changed last."""
        rows = self.state.rows("SELECT value FROM counter WHERE name = 'network_counts'")
        return int(rows[0][0]) if rows else 0


def visit_uid(room: str) -> str:
    """The identity of the visit of one of the service's own rooms."""
    return hashlib.sha256(f"room\n{room}".encode()).hexdigest()[:32]


_SITES: Final = "SELECT id, name, region, key, created_us, joined_us, seen_us FROM network_site"


def _touch(db: Any, now_us: int) -> None:
    """Notes that counts have changed; the time only grows."""
    db.execute(
        "INSERT INTO counter VALUES ('network_counts', ?) ON CONFLICT (name) DO UPDATE SET"
        " value = max(value + 1, excluded.value)",
        (now_us,),
    )


def _kept(row: tuple[Any, ...]) -> KeptVisit:
    return KeptVisit(row[0], row[1], parse_visit(json.loads(row[2])))
