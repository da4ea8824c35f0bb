"""Keeps a room within its regions: every request about it passes here, and so does everybody who comes in.

``GET  /r/ROOM/region``  the rules, who was turned away, whether the lock is lifted: for the technician and the lead
``POST /r/ROOM/region``  ``{"lift": true, "reason": …}``: the technician and an administrator lift it together
``GET  /api/regions``    open rooms that are locked, for administrators: which of them ask to be lifted

An address changes with the network: it is looked at for each request, each connection, each renewed session. The
accounts' regions and the lift are looked at again every few seconds for those who are in.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from consult.accountaccess import require_role, room_session, signed_in
from consult.accounts import AccountRole
from consult.errors import MessageBroken, RoleRefused, RoomClosed, SessionRefused
from consult.gate import json_body
from consult.invites import Role
from consult.messages import clean_name
from consult.notices import Notice
from consult.part import Part
from consult.privacyerrors import RegionRefused
from consult.privacystore import PrivacyStore, RoomPrivacy
from consult.regions import Visitor, demanded_regions
from consult.routes import ROOM_PATH
from diag.facts import Text

if TYPE_CHECKING:
    from consult.accounts import Account
    from consult.invites import Session
    from consult.regions import Address
    from consult.room import Room
    from consult.service import Service

__all__ = ["RegionLock"]

_ROOM: Final = re.compile(r"/r/([0-9a-f]{12})/(.+)")
_EXPORTS: Final = "/api/cars/"
_LOOK_AGAIN_S: Final = 3.0
_TELL_AGAIN_S: Final = 60.0
_LIFT_S: Final = 4 * 3600
_TOGETHER_S: Final = 3600
"""Both words for a lift within this time."""

_REMEMBERED: Final = 50
_LONGEST_REASON: Final = 300
_BY_DOOR: Final = frozenset({"enter"})
"""Asked at the door, where the account is known."""

_log = logging.getLogger(__name__)


class RegionLock(Part):
    """The lock on all rooms of one service."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._rules = service.config.privacy.regions
        self._store = PrivacyStore(service.state)
        self._kept: dict[str, RoomPrivacy] = {}
        self._seen: dict[tuple[str, int], tuple[Session, Address | None]] = {}
        self._refused: dict[str, deque[dict[str, Any]]] = {}
        self._told_s: dict[str, float] = {}
        self._look_again_s = 0.0
        self._deciding = asyncio.Lock()
        service.gate.guards.append(self._guard)
        service.gate.doors.append(self._door)
        service.gate.hiders.append(self._hides)

    def table(self) -> list[web.RouteDef]:
        """The routes."""
        return [
            web.get(f"{ROOM_PATH}/region", self.show, allow_head=False),
            web.post(f"{ROOM_PATH}/region", self.lift),
            web.get("/api/regions", self.listed, allow_head=False),
        ]

    def room_opened(self, room: Room) -> None:
        """What was decided about it before a restart still counts."""
        self._kept[room.ident] = self._store.room(room.ident)

    def room_met_car(self, room: Room) -> None:  # noqa: ARG002 - which one does not matter
        """The laptop may demand a region from now on: who is in already is looked at again."""
        self._look_again_s = 0.0

    def privacy_changed(self, room: Room) -> None:
        """A lift was taken back, perhaps."""
        self._kept[room.ident] = self._store.room(room.ident)
        self._look_again_s = 0.0

    def room_closed(self, room: Room, code: str) -> None:  # noqa: ARG002 - why does not matter
        """Forgets it."""
        for known in (self._kept, self._refused, self._told_s):
            known.pop(room.ident, None)
        for key in [key for key in self._seen if key[0] == room.ident]:
            del self._seen[key]

    # -- the question ------------------------------------------------------------------------------------------------

    def is_locked(self, ident: str) -> bool:
        """Whether it matters from where this room is watched."""
        return bool(self._rules.allowed) or self._demanded(ident) is not None

    def _demanded(self, ident: str) -> frozenset[str] | None:
        room = self.service.rooms.get(ident)
        return demanded_regions(room.desk.allows) if room is not None else None

    def _is_lifted(self, ident: str) -> bool:
        return self._kept.get(ident, RoomPrivacy()).lifted_until_us > self.service.config.now_us()

    def refusal(self, ident: str, visitor: Visitor) -> str | None:
        """What speaks against a visitor of a room, as :meth:`consult.regions.RegionRules.refusal` says it."""
        return self._rules.refusal(visitor, self._demanded(ident), lifted=self._is_lifted(ident))

    def may_be_asked(self, account: Account, ident: str) -> bool:
        """A room is offered to accounts of a region that may see it; from where they then come is asked at the door."""
        demanded = self._demanded(ident)
        if self._rules.allowed and not self._is_lifted(ident) and account.region not in self._rules.allowed:
            return False
        return demanded is None or account.region in demanded

    async def _region_of(self, account: str) -> str | None:
        if not account:
            return None
        found = await asyncio.to_thread(self.service.state.find_account, account)
        return found.region if found is not None else ""

    async def _door(self, request: web.Request, ident: str, role: Role, account: Account | None) -> None:
        """Somebody is about to become a person of a room."""
        if not self.is_locked(ident):
            return
        visitor = Visitor(role, self.service.gate.visitor(request), account.region if account is not None else None)
        why = self.refusal(ident, visitor)
        if why is not None:
            await self._turn_away(request, ident, why, account.name if account is not None else "")
            raise RegionRefused

    def _hides(self, request: web.Request, ident: str, account: Account) -> bool:
        role = account.role.in_room or Role.OBSERVER
        visitor = Visitor(role, self.service.gate.visitor(request), account.region)
        return self.is_locked(ident) and self.refusal(ident, visitor) is not None

    async def _guard(self, request: web.Request) -> None:
        """Every request about a room, whatever its route: one that is added later is kept too."""
        if self._rules.allowed and request.path.startswith(_EXPORTS):
            await self._guard_export(request)
        found = _ROOM.fullmatch(request.path)
        if found is None or found.group(2) in _BY_DOOR or not self.is_locked(found.group(1)):
            return
        ident = found.group(1)
        try:
            session = room_session(self.service, request)
        except SessionRefused:
            return  # the handler says so itself; administrators come without a session
        address = self.service.gate.visitor(request)
        why = self.refusal(ident, Visitor(session.role, address, await self._region_of(session.account)))
        if why is None:
            self._seen[ident, session.person] = (session, address)
            return
        await self._turn_away(request, ident, why, session.account or session.name)
        # Whoever holds this token now is outside; a connection that was opened inside ends with it.
        self.service.show_out({(ident, session.person)})
        raise RegionRefused

    async def _guard_export(self, request: web.Request) -> None:
        """What is held about a car goes to nobody to whom its rooms would be closed."""
        account = await signed_in(self.service, request)
        if account is None:
            return  # the handler says so itself
        visitor = Visitor(Role.OBSERVER, self.service.gate.visitor(request), account.region)
        why = self._rules.refusal(visitor)
        if why is not None:
            note = self.service.audit("region-refused", account.name, detail=f"{why} {request.path}")
            await asyncio.to_thread(self.service.state.note, note)
            raise RegionRefused

    async def _turn_away(self, request: web.Request, ident: str, why: str, who: str) -> None:
        """Remembers it, and lets the room know, once a minute."""
        now_us, now_s = self.service.config.now_us(), self.service.config.clock_s()
        told = {"t_us": now_us, "why": why, "who": who, "address": self.service.gate.address(request)}
        self._refused.setdefault(ident, deque(maxlen=_REMEMBERED)).append(told)
        self.service.metrics.count_refused(f"region-{why}")
        note = self.service.audit("region-refused", who, ident, f"{why} {told['address']}")
        room = self.service.rooms.get(ident)
        if now_s - self._told_s.get(ident, -_TELL_AGAIN_S) < _TELL_AGAIN_S:
            return  # one entry a minute: who knocks all day fills no disk
        self._told_s[ident] = now_s
        await asyncio.to_thread(self.service.state.note, note)
        if room is not None and room.closed_code is None:
            owner = {"id": room.agent_person, "role": "technician", "name": room.agent_name}
            room.happen("region", owner, now_us, body={"refused": why})

    async def tend(self) -> None:
        """Those who are in are looked at again: an account may have moved, a lift may be over."""
        if self.service.config.clock_s() < self._look_again_s:
            return
        self._look_again_s = self.service.config.clock_s() + _LOOK_AGAIN_S
        watching = [
            (room, person)
            for room in self.service.rooms.values()
            if self.is_locked(room.ident)
            for person in room.members
        ]
        if not watching:
            return
        accounts = await asyncio.to_thread(self.service.state.accounts)
        regions = {account.name: account.region for account in accounts}
        gone = set()
        for room, person in watching:
            session, address = self._seen.get((room.ident, person), (None, None))
            member = room.members.get(person)
            if member is None:
                continue
            account = session.account if session is not None else ""
            region = regions.get(account, "") if account else None
            if session is None or self.refusal(room.ident, Visitor(member.role, address, region)) is not None:
                # Somebody of whom nothing is known came before the room was locked; they may come again.
                gone.add((room.ident, person))
        self.service.show_out(gone)

    # -- routes ------------------------------------------------------------------------------------------------------

    async def show(self, request: web.Request) -> web.Response:
        """``GET /r/ROOM/region``."""
        session = room_session(self.service, request)
        if not session.role.may_invite:
            raise RoleRefused(session.role.value)
        return web.json_response(self._state(session.room))

    async def listed(self, request: web.Request) -> web.Response:
        """``GET /api/regions``: no car and no person; those whose technician asks come first."""
        await require_role(self.service, request, AccountRole.ADMIN)
        found = [
            {"room": room.ident, "opened_us": room.created_us, "reason": self._asks_because(room.ident)}
            | {key: value for key, value in self._state(room.ident).items() if key != "refused"}
            | {"refused": len(self._refused.get(room.ident, ()))}
            for room in self.service.rooms.values()
            if room.closed_code is None and self.is_locked(room.ident)
        ]
        return web.json_response({"rooms": sorted(found, key=lambda one: (not one["asked_by"], -one["opened_us"]))})

    def _asks_because(self, ident: str) -> str:
        return self._kept.get(ident, RoomPrivacy()).lift_reason

    async def lift(self, request: web.Request) -> web.Response:
        """``POST /r/ROOM/region``: lifted once the technician and an administrator have both said so, with a reason."""
        ident = request.match_info["room"]
        is_admin, who = await self._who_lifts(request, ident)
        body = await json_body(request, self.service.config.limits.request_s)
        wanted, reason = body.get("lift"), clean_reason(body.get("reason"))
        if not isinstance(wanted, bool) or not isinstance(body.get("reason", ""), str):
            raise MessageBroken(Text("fields lift and reason", "字段 lift 和 reason"))
        if wanted and not reason:
            raise MessageBroken(Text("field reason", "字段 reason"))
        async with self._deciding:  # the two who say it together are not to undo each other's word
            await self._decide(ident, wanted=wanted, reason=reason, is_admin=is_admin, who=who)
        return web.json_response(self._state(ident))

    async def _decide(self, ident: str, *, wanted: bool, reason: str, is_admin: bool, who: str) -> None:
        self.service.room(ident)
        now_us = self.service.config.now_us()
        kept = await asyncio.to_thread(self._store.room, ident)
        if not wanted:
            changed = replace(kept, lifted_until_us=0, lift_technician_us=0, lift_admin_us=0, lift_reason="")
        else:
            changed = replace(
                kept,
                lift_reason=reason,
                lift_admin_us=now_us if is_admin else kept.lift_admin_us,
                lift_technician_us=kept.lift_technician_us if is_admin else now_us,
            )
            if min(changed.lift_admin_us, changed.lift_technician_us) > now_us - _TOGETHER_S * 1_000_000:
                changed = replace(changed, lifted_until_us=now_us + _LIFT_S * 1_000_000)
        what = "region-lift" if wanted else "region-lock"
        by = "admin" if is_admin else "technician"
        note = self.service.audit(what, who, ident, f"{by}: {reason}" if wanted else by)
        lift = {
            "lifted_until_us": changed.lifted_until_us,
            "lift_reason": changed.lift_reason,
            "lift_technician_us": changed.lift_technician_us,
            "lift_admin_us": changed.lift_admin_us,
        }
        await asyncio.to_thread(self._store.change, ident, (note,), **lift)
        self._kept[ident] = changed
        self._look_again_s = 0.0
        asked_us = now_us - _TOGETHER_S * 1_000_000
        is_first = kept.lift_technician_us <= asked_us < changed.lift_technician_us
        if wanted and is_first and changed.lifted_until_us <= now_us:
            self.service.notices.publish(_asks_notice(now_us))
        room = self.service.room(ident)
        owner = {"id": room.agent_person, "role": "technician", "name": room.agent_name}
        room.happen(
            "region", owner, now_us, body={"lifted": self._is_lifted(ident), "by": by, "wanted": wanted}, text=reason
        )

    async def _who_lifts(self, request: web.Request, ident: str) -> tuple[bool, str]:
        account = await signed_in(self.service, request)
        if account is not None and account.role is AccountRole.ADMIN:
            if ident not in self.service.rooms:
                raise RoomClosed
            return True, account.name
        session = room_session(self.service, request)
        if session.role is not Role.TECHNICIAN:
            raise RoleRefused(session.role.value)
        return False, session.name

    def _state(self, ident: str) -> dict[str, Any]:
        kept, demanded = self._kept.get(ident, RoomPrivacy()), self._demanded(ident)
        return {
            "allowed": sorted(self._rules.allowed),
            "demanded": sorted(demanded) if demanded is not None else None,
            "accounts_only": self._rules.accounts_only,
            "lifted_until_us": kept.lifted_until_us if self._is_lifted(ident) else 0,
            "asked_by": [
                by
                for by, at_us in (("technician", kept.lift_technician_us), ("admin", kept.lift_admin_us))
                if at_us > self.service.config.now_us() - _TOGETHER_S * 1_000_000
            ],
            "refused": list(self._refused.get(ident, ())),
        }


def _asks_notice(now_us: int) -> Notice:
    """For administrators, once; which room it is, and why, stands in the lobby."""
    return Notice(
        "service",
        "high",
        Text("A technician asks to lift a room's region lock", "技师申请解除会诊室的地区限制"),
        Text("Decide in the lobby within the hour.", "请在一小时内到大厅页面决定。"),
        now_us,
    )


def clean_reason(value: object) -> str:
    """A reason as it stands in the audit: one printable line; empty when there is none."""
    if not isinstance(value, str):
        return ""
    words = (clean_name(word) for word in value[:_LONGEST_REASON].split())
    return " ".join(word for word in words if word)
