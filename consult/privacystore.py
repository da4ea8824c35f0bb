"""What the service remembers for privacy: retention and holds, which room had which car, who agreed to what."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from consult.privacyerrors import HoldSet
from consult.roomtraces import forget_rooms_with

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consult.servicestate import AuditEntry, ServiceState

__all__ = ["Consent", "KeptRoom", "PrivacyStore", "RoomPrivacy", "require_no_hold"]


@dataclass(frozen=True, slots=True)
class RoomPrivacy:
    """What was decided about one room.

    Args:
        retention_days: None for the service's own.
        hold: why its record must not be deleted; empty for no hold.
        due_us: when it was first found to be older than its days, UTC microseconds; 0 for not yet.
        lifted_until_us: until when the region lock is lifted for accounts; 0 for not.
        lift_reason: the words of who asked last.
        lift_technician_us, lift_admin_us: when each of the two asked for that; 0 for not.
    """

    retention_days: int | None = None
    hold: str = ""
    due_us: int = 0
    lifted_until_us: int = 0
    lift_reason: str = ""
    lift_technician_us: int = 0
    lift_admin_us: int = 0


_COLUMNS: Final = {one.name for one in fields(RoomPrivacy)}


@dataclass(frozen=True, slots=True)
class KeptRoom:
    """A room whose record may still be there. Times are UTC microseconds. ``closed_code``: why it has ended."""

    ident: str
    file: str
    created_us: int
    closed_us: int | None
    privacy: RoomPrivacy
    closed_code: str | None = None


@dataclass(frozen=True, slots=True)
class Consent:
    """Somebody agreed to something, or no longer does.

    Args:
        kind: one of :data:`consult.consenttexts.KINDS`.
        is_given: False withdraws.
        version: of the text that was shown.
    """

    t_us: int
    room: str
    person: int
    name: str
    account: str
    kind: str
    is_given: bool
    version: str
    lang: str

    def to_json(self) -> dict[str, Any]:
        """As it is shown and exported."""
        return {
            "t_us": self.t_us,
            "room": self.room,
            "person": self.person,
            "name": self.name,
            "account": self.account,
            "kind": self.kind,
            "given": self.is_given,
            "version": self.version,
            "lang": self.lang,
        }


class PrivacyStore:
    """The tables of migration ``0006-privacy``. Safe to use from several threads.

    Raises:
        StateBroken: by every method, when the database cannot be used.
    """

    def __init__(self, state: ServiceState) -> None:
        self._state = state

    # -- rooms -------------------------------------------------------------------------------------------------------

    def room(self, ident: str) -> RoomPrivacy:
        """What was decided about a room; nothing for most."""
        rows = self._state.rows(
            "SELECT retention_days, hold, due_us, lifted_until_us, lift_reason, lift_technician_us, lift_admin_us"
            " FROM room_privacy WHERE room = ?",
            (ident,),
        )
        return RoomPrivacy(*rows[0]) if rows else RoomPrivacy()

    def change(self, ident: str, audit: Iterable[AuditEntry] = (), **columns: Any) -> None:
        """Remembers some of it, by the names of :class:`RoomPrivacy`, and the audit with it.

        What is not named stays as it stands in the database: several programs and jobs decide about a room, and none
        may undo a legal hold that it has not seen.
        """
        if not columns or not columns.keys() <= _COLUMNS:
            raise ValueError(columns)
        names = ", ".join(columns)
        changed = ", ".join(f"{name} = excluded.{name}" for name in columns)
        with self._state.transaction() as db:
            db.execute(
                f"INSERT INTO room_privacy (room, {names}) VALUES (?{', ?' * len(columns)})"  # noqa: S608 - fields
                f" ON CONFLICT (room) DO UPDATE SET {changed}",
                (ident, *columns.values()),
            )
            self._state.note_with(db, audit)

    def wish_days(self, ident: str, days: int, audit: Iterable[AuditEntry] = ()) -> None:
        """How long a room's record is kept, unless somebody has said so before."""
        with self._state.transaction() as db:
            wished = db.execute(
                "INSERT INTO room_privacy (room, retention_days) VALUES (?, ?) ON CONFLICT (room)"
                " DO UPDATE SET retention_days = excluded.retention_days WHERE retention_days IS NULL",
                (ident, days),
            )
            if wished.rowcount:
                self._state.note_with(db, audit)

    def kept_rooms(self) -> list[KeptRoom]:
        """All rooms that the service remembers, oldest first; whether the record is still there, the folder tells."""
        rows = self._state.rows(
            "SELECT room.ident, file, created_us, closed_us, retention_days, coalesce(hold, ''), coalesce(due_us, 0),"
            " coalesce(lifted_until_us, 0), coalesce(lift_reason, ''), coalesce(lift_technician_us, 0),"
            " coalesce(lift_admin_us, 0), closed_code"
            " FROM room LEFT JOIN room_privacy ON room_privacy.room = room.ident ORDER BY created_us, room.ident"
        )
        return [
            KeptRoom(ident, file, created, closed, RoomPrivacy(*rest), code)
            for ident, file, created, closed, *rest, code in rows
        ]

    # -- cars --------------------------------------------------------------------------------------------------------

    def note_cars(self, room: str, hashes: Iterable[bytes]) -> None:
        """A room has met cars, by their keyed hashes."""
        with self._state.transaction() as db:
            db.executemany("INSERT OR IGNORE INTO room_car VALUES (?, ?)", [(room, one) for one in hashes])

    def rooms_of_car(self, digest: bytes) -> list[str]:
        """The rooms that met a car."""
        rows = self._state.rows("SELECT room FROM room_car WHERE hash = ? ORDER BY room", (digest,))
        return [room for (room,) in rows]

    def indexed_rooms(self) -> set[str]:
        """The rooms whose cars are known."""
        return {room for (room,) in self._state.rows("SELECT DISTINCT room FROM room_car")}

    def forget_room(self, ident: str) -> None:
        """A room's record is gone: what led from it to a car or a person goes too."""
        with self._state.transaction() as db:
            forget_rooms_with(db, ident=ident)

    def forget_deleted(self, code: str) -> None:
        """The same for every room that was closed with ``code``: what was written after it was deleted goes too."""
        with self._state.transaction() as db:
            forget_rooms_with(db, code=code)

    # -- consent -----------------------------------------------------------------------------------------------------

    def put_text(self, version: str, kind: str, en: str, zh: str, now_us: int) -> None:
        """Keeps the wording of a version, once."""
        with self._state.transaction() as db:
            db.execute("INSERT OR IGNORE INTO consent_text VALUES (?, ?, ?, ?, ?)", (version, kind, en, zh, now_us))

    def texts(self) -> dict[str, dict[str, Any]]:
        """Every wording that was ever shown, by its version."""
        rows = self._state.rows("SELECT version, kind, en, zh, first_us FROM consent_text ORDER BY first_us")
        return {
            version: {"kind": kind, "text": {"en": en, "zh": zh}, "first_us": first_us}
            for version, kind, en, zh, first_us in rows
        }

    def put_consent(self, *consents: Consent) -> None:
        """Remembers what somebody said."""
        with self._state.transaction() as db:
            db.executemany(
                "INSERT INTO consent (t_us, room, person, name, account, kind, given, version, lang)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (c.t_us, c.room, c.person, c.name, c.account, c.kind, c.is_given, c.version, c.lang)
                    for c in consents
                ],
            )

    def consents(self, *, room: str | None = None, account: str | None = None) -> list[Consent]:
        """What was said in a room, or by an account; oldest first."""
        rows = self._state.rows(
            "SELECT t_us, room, person, name, account, kind, given, version, lang FROM consent"
            " WHERE (?1 IS NULL OR room = ?1) AND (?2 IS NULL OR account = ?2) ORDER BY n",
            (room, account),
        )
        return [
            Consent(t_us, room_, person, name, account_, kind, bool(given), version, lang)
            for t_us, room_, person, name, account_, kind, given, version, lang in rows
        ]

    def has_agreed(self, room: str, kind: str) -> bool:
        """Whether the last word about something in a room was yes; who never said anything did not agree."""
        rows = self._state.rows(
            "SELECT given FROM consent WHERE room = ? AND kind = ? ORDER BY n DESC LIMIT 1", (room, kind)
        )
        return bool(rows and rows[0][0])

    def forget_consents(self, before_us: int, sharing_before_us: int | None = None) -> int:
        """Forgets what is older than a time, of rooms whose cars are not known any more; returns how many.

        Args:
            before_us: UTC microseconds.
            sharing_before_us: for what the network of workshops remembers, which may last longer; None for the same.
        """
        with self._state.transaction() as db:
            return db.execute(
                "DELETE FROM consent WHERE t_us < CASE kind WHEN 'sharing' THEN ? ELSE ? END"
                " AND room NOT IN (SELECT room FROM room_car)",
                (before_us if sharing_before_us is None else sharing_before_us, before_us),
            ).rowcount

    # -- the clock of retention --------------------------------------------------------------------------------------

    def clock(self) -> tuple[int, int, int | None] | None:
        """``(first_us, seen_us, leap_us)``: the first look ever, and what :mod:`consult.retentionclock` left."""
        rows = self._state.rows("SELECT first_us, seen_us, leap_us FROM retention_clock")
        return (rows[0][0], rows[0][1], rows[0][2]) if rows else None

    def put_clock(self, seen_us: int, leap_us: int | None) -> None:
        """Keeps it."""
        with self._state.transaction() as db:
            db.execute(
                "INSERT INTO retention_clock VALUES (1, ?1, ?1, ?2)"
                " ON CONFLICT (id) DO UPDATE SET seen_us = excluded.seen_us, leap_us = excluded.leap_us",
                (seen_us, leap_us),
            )


def require_no_hold(state: ServiceState, ident: str) -> None:
    """Raises :class:`HoldSet` where a legal hold keeps a room's record, whoever wants it deleted."""
    if PrivacyStore(state).room(ident).hold:
        raise HoldSet(ident)
