"""Deletes what is kept too long: once an hour, room by room, with a certificate for each.

``GET  /r/ROOM/retention``  how long this room's record is kept
``POST /r/ROOM/retention``  ``{"days": N}`` by technician, lead or administrator; ``{"hold": REASON}`` by the last alone

A record is deleted only after two looks, an hour and more apart, both by a clock that is believed
(:mod:`consult.retentionclock`), have found it older than its days; and never within a week of the first look ever, so
that whoever begins to use retention learns what would go before it goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from consult.accountaccess import room_session, signed_in
from consult.accounts import AccountRole
from consult.deletion import DELETED, delete_room
from consult.errors import ConsultError, MessageBroken, RoleRefused, RoomClosed
from consult.gate import json_body
from consult.notices import Notice
from consult.part import Part
from consult.privacystore import PrivacyStore
from consult.regionlock import clean_reason
from consult.retentionclock import ClockWatch
from consult.routes import ROOM_PATH
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from consult.privacyconfig import PrivacyConfig
    from consult.privacystore import KeptRoom
    from consult.room import Room
    from consult.service import Service
    from consult.troubles import Trouble

__all__ = ["FIRST_WEEK_US", "LOOK_EVERY_S", "Retention", "RoomTerm", "terms_of"]

LOOK_EVERY_S: Final = 3600.0
_SECOND_LOOK_US: Final = 3_600_000_000
_DAY_US: Final = 86_400_000_000
FIRST_WEEK_US: Final = 7 * _DAY_US

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RoomTerm:
    """How long one record is kept.

    Args:
        days: after the room's end; 0: until somebody deletes it.
        until_us: when it goes, at the earliest; None for an open room, no days, or a hold.
        state: ``open``, ``hold``, ``kept`` (its time has not come, or it has none), ``due``.
    """

    room: KeptRoom
    days: int
    until_us: int | None
    state: str

    def to_json(self) -> dict[str, Any]:
        """For scripts and auditors: no car, no person."""
        return {
            "room": self.room.ident,
            "file": self.room.file,
            "closed_us": self.room.closed_us,
            "days": self.days,
            "until_us": self.until_us,
            "state": self.state,
            "hold": self.room.privacy.hold,
        }


def terms_of(
    rooms: Iterable[KeptRoom],
    privacy: PrivacyConfig,
    now_us: int,
    first_us: int,
    *,
    is_there: Callable[[KeptRoom], bool],
) -> list[RoomTerm]:
    """How long each record that is still there is kept, those that go first at the front.

    Args:
        rooms: as the service remembers them.
        privacy: the service's own days.
        now_us: UTC microseconds.
        first_us: when retention was first looked after on this service.
        is_there: whether the record still exists.
    """
    found = []
    for room in rooms:
        # A deleted room whose ciphertext was kept has a record, and nothing more to lose.
        if room.closed_code == DELETED or not is_there(room):
            continue
        own = room.privacy.retention_days
        days = privacy.retention_days if own is None else own
        until_us = None
        if room.closed_us is not None and days and not room.privacy.hold:
            until_us = max(room.closed_us + days * _DAY_US, first_us + FIRST_WEEK_US)
        state = "open" if room.closed_us is None else "hold" if room.privacy.hold else "kept"
        if until_us is not None and until_us <= now_us:
            state = "due"
        found.append(RoomTerm(room, days, until_us, state))
    return sorted(found, key=lambda term: (term.until_us is None, term.until_us or 0, term.room.created_us))


class Retention(Part):
    """The job of one service. One without a database of its own has nothing that outlives it, and no job."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._store = PrivacyStore(service.state)
        self._watch = ClockWatch()
        self._next_s = 0.0
        self._task: asyncio.Task[None] | None = None
        self._has_told_leap = False
        self._failed: set[str] = set()
        self._wished: dict[str, int] = {}
        self._alone = asyncio.Lock()
        self.deleted = 0

    def table(self) -> list[web.RouteDef]:
        """The routes."""
        path = f"{ROOM_PATH}/retention"
        return [web.get(path, self.show, allow_head=False), web.post(path, self.change)]

    def room_met_car(self, room: Room) -> None:
        """The laptop may say how long the record is kept, within the service's bounds, as long as nobody else has."""
        days = room.desk.allows.get("retention_days")
        if isinstance(days, bool) or not isinstance(days, int):
            return
        privacy = self.service.config.privacy
        self._wished[room.ident] = min(max(days, privacy.retention_min_days), privacy.retention_max_days)

    def _take_wishes(self, wished: dict[str, int]) -> None:
        for ident, days in wished.items():
            note = self.service.audit("retention", "technician", ident, str(days))
            self._store.wish_days(ident, days, (note,))

    # -- the job -----------------------------------------------------------------------------------------------------

    async def tend(self) -> None:
        """Begins a look when it is time for one; the rooms do not wait for it."""
        if self._wished:
            wished, self._wished = self._wished, {}
            await asyncio.to_thread(self._take_wishes, wished)
        if self.service.config.state is None or self.service.config.clock_s() < self._next_s:
            return
        if self._task is not None and not self._task.done():
            return
        self._next_s = self.service.config.clock_s() + LOOK_EVERY_S
        self._task = asyncio.create_task(self._look_safely(), name="retention")

    async def stop(self) -> None:
        """Ends a look between two rooms; the next start goes on."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _look_safely(self) -> None:
        try:
            await self.look()
        except Exception:  # noqa: BLE001 - the top of a task: logged, told by /health, tried again in an hour
            _log.exception("retention failed")
            self._failed.add("")

    async def look(self) -> None:
        """One look: marks what is due, deletes what was due at an earlier look too."""
        async with self._alone:
            await self._look()

    async def _look(self) -> None:
        now_us = self.service.config.now_us()
        if not await asyncio.to_thread(self._clock_is_sound, now_us):
            return
        due = await asyncio.to_thread(self._due_now, now_us)
        self._failed = set()
        for term in due:
            await self._delete(term, now_us)
        await asyncio.to_thread(self._store.forget_deleted, DELETED)
        config = self.service.config
        longest = max(config.audit_days, config.network.visit_days)  # as long as what was agreed to
        await asyncio.to_thread(
            self._store.forget_consents, now_us - config.audit_days * _DAY_US, now_us - longest * _DAY_US
        )

    def _clock_is_sound(self, now_us: int) -> bool:
        kept = self._store.clock()
        if kept is not None:
            if self._watch.seen_us is None:
                self._watch = ClockWatch(kept[1], kept[2])
            elif kept[2] is None:
                self._watch.believe()  # somebody has said so on the command line
        is_sound = self._watch.look(now_us, self.service.config.clock_s())
        self._store.put_clock(now_us, self._watch.leap_us)
        if is_sound:
            self._has_told_leap = False
        elif not self._has_told_leap:
            self._has_told_leap = True
            self.service.state.note(self.service.audit("retention-held", detail="clock"))
            self.service.notices.publish(_clock_notice(now_us))
        return is_sound

    def _due_now(self, now_us: int) -> list[RoomTerm]:
        """What was due at an earlier look, and is still; what is due for the first time is marked."""
        clock = self._store.clock()
        first_us = clock[0] if clock is not None else now_us
        folder, privacy = self.service.config.data, self.service.config.privacy
        terms = terms_of(
            self._store.kept_rooms(), privacy, now_us, first_us, is_there=lambda room: (folder / room.file).is_file()
        )
        ripe = []
        for term in terms:
            room = term.room
            if term.state != "due" and room.privacy.due_us:
                self._store.change(room.ident, due_us=0)
            elif term.state == "due" and not room.privacy.due_us:
                self._store.change(room.ident, due_us=now_us)
            elif term.state == "due" and now_us - room.privacy.due_us >= _SECOND_LOOK_US:
                ripe.append(term)
        return ripe

    async def _delete(self, term: RoomTerm, now_us: int) -> None:
        ident = term.room.ident
        try:
            await asyncio.to_thread(
                delete_room, self.service, ident, f"retention: {term.days} days", "retention", now_us
            )
        except ConsultError as error:
            _log.error("retention of room %s: %s", ident, error)
            self._failed.add(ident)
            self.service.notices.publish(_failed_notice(ident, now_us))
            return
        self.deleted += 1

    def troubles(self) -> list[Trouble]:
        """Words for ``/health``."""
        said: list[Trouble] = ["clock-leapt"] if self._watch.leap_us is not None else []
        return [*said, "retention-failed"] if self._failed else said

    def metrics(self) -> str:
        """How many records were deleted."""
        return (
            "# HELP huizhen_retention_deleted_total Records deleted because their days were over.\n"
            "# TYPE huizhen_retention_deleted_total counter\n"
            f"huizhen_retention_deleted_total {self.deleted}\n"
        )

    # -- routes ------------------------------------------------------------------------------------------------------

    async def show(self, request: web.Request) -> web.Response:
        """``GET /r/ROOM/retention``."""
        ident = request.match_info["room"]
        account = await signed_in(self.service, request)
        if account is None or account.role is not AccountRole.ADMIN:
            room_session(self.service, request)
        return web.json_response(await asyncio.to_thread(self._state, ident))

    async def change(self, request: web.Request) -> web.Response:
        """``POST /r/ROOM/retention``."""
        ident, privacy = request.match_info["room"], self.service.config.privacy
        account = await signed_in(self.service, request)
        is_admin = account is not None and account.role is AccountRole.ADMIN
        if is_admin and account is not None:
            who = account.name
        else:
            session = room_session(self.service, request)
            who = session.account or session.name
            if not session.role.may_invite:
                raise RoleRefused(session.role.value)
        body = await json_body(request, self.service.config.limits.request_s)
        days, hold = body.get("days"), body.get("hold")
        if ("days" in body) == ("hold" in body):
            raise MessageBroken(Text("field days or hold", "字段 days 或 hold"))
        low, high = privacy.retention_min_days, privacy.retention_max_days
        if "days" in body and (isinstance(days, bool) or not isinstance(days, int) or not low <= days <= high):
            raise MessageBroken(Text(f"days from {low} to {high}", f"天数应为 {low} 到 {high}"))
        if "hold" in body:
            if not is_admin:
                raise RoleRefused("technician")
            if not isinstance(hold, str) or (hold and not clean_reason(hold)):
                raise MessageBroken(Text("field hold", "字段 hold"))
        if not await asyncio.to_thread(self.service.state.knows_room, ident):
            raise RoomClosed
        changed: dict[str, Any]
        if "days" in body:
            changed, note = {"retention_days": days}, self.service.audit("retention", who, ident, str(days))
        else:
            said = clean_reason(hold)
            changed, note = {"hold": said}, self.service.audit("hold" if said else "hold-end", who, ident, said)
        await asyncio.to_thread(self._store.change, ident, (note,), due_us=0, **changed)
        return web.json_response(await asyncio.to_thread(self._state, ident))

    def _state(self, ident: str) -> dict[str, Any]:
        kept, privacy = self._store.room(ident), self.service.config.privacy
        own = kept.retention_days
        return {
            "days": privacy.retention_days if own is None else own,
            "own": own is not None,
            "min": privacy.retention_min_days,
            "max": privacy.retention_max_days,
            "hold": bool(kept.hold),
        }


def _clock_notice(now_us: int) -> Notice:
    return Notice(
        "service",
        "high",
        Text("The service's clock has leapt: nothing is deleted", "服务端时钟跳变：暂停删除记录"),
        Text(
            "Set the clock; if it is right, say so with: huizhen consult retention --trust-clock",
            "请校正时钟；若时钟正确，请执行：huizhen consult retention --trust-clock",
        ),
        now_us,
    )


def _failed_notice(ident: str, now_us: int) -> Notice:
    return Notice(
        "service",
        "high",
        Text("A record is kept too long: it could not be deleted", "有记录超期未能删除"),
        Text("The service's log says why; it is tried again every hour.", "原因见服务端日志；每小时重试。"),
        now_us,
        room=ident,
    )
