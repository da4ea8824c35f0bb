"""Who was told what, and who agreed to what: shown at the door, kept with its wording, withdrawn at any time.

``GET  /api/privacy``        the notice of now, its version, and the wordings of all consents
``GET  /privacy``            the whole privacy page, see :mod:`consult.privacypage`
``GET  /r/ROOM/consent``     one's own consents; the technician and the lead see everybody's
``POST /r/ROOM/consent``     ``{"kind", "given", "version"}``: agrees, or withdraws; an administrator withdraws for
                             the car's owner, also when the room has ended
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from casebase.record import time_of
from consult.accountaccess import room_session, signed_in
from consult.accounts import AccountRole
from consult.consenttexts import KINDS, NOTICE, SHARING, text_of, version_of
from consult.errors import MessageBroken, RoleRefused, RoomClosed, SessionRefused, StateBroken
from consult.gate import BODY, json_body
from consult.invites import Role
from consult.part import Part
from consult.positions import mode_of
from consult.privacyerrors import NoticeMissing
from consult.privacypage import PRIVACY_STYLE, privacy_page
from consult.privacystore import Consent, PrivacyStore
from consult.routes import ROOM_PATH
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from consult.accounts import Account
    from consult.invites import Session
    from consult.room import Room
    from consult.service import Service

__all__ = ["ConsentDesk"]

_LANGS: Final = ("zh", "en")
_ONLY_TECHNICIAN: Final = frozenset({"position", "export-abroad", SHARING})
"""These are about the car, and for its technician to say."""


def _require_text(body: dict[str, Any], *names: str) -> None:
    """Raises :class:`MessageBroken` where a field that may be left out is no text."""
    for name in names:
        if not isinstance(body.get(name, ""), str):
            raise MessageBroken(Text(f"field {name}", f"字段 {name}"))


class ConsentDesk(Part):
    """The consents of one service."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._store = PrivacyStore(service.state)
        privacy, days = service.config.privacy, service.config.visit_days
        self._texts = {kind: text_of(kind, privacy, days) for kind in KINDS}
        self._versions = {kind: version_of(kind, text) for kind, text in self._texts.items()}
        self._waiting: list[Consent] = []
        self._writing = asyncio.Lock()
        service.gate.doors.append(self._door)
        service.gate.welcomes.append(self._welcome)

    def table(self) -> list[web.RouteDef]:
        """The routes."""
        consent = f"{ROOM_PATH}/consent"
        return [
            web.get("/api/privacy", self.notice),
            web.get("/privacy", self.page),
            web.get("/privacy/style.css", self.style),
            web.get(consent, self.show, allow_head=False),
            web.post(consent, self.change),
        ]

    async def start(self) -> None:
        """Keeps the wordings of this start: what was agreed to must be readable years later."""
        await asyncio.to_thread(self._keep_texts)

    def _keep_texts(self) -> None:
        now_us = self.service.config.now_us()
        for kind, version in self._versions.items():
            text = self._texts[kind]
            self._store.put_text(version, kind, text.en, text.zh, now_us)

    # -- the door ----------------------------------------------------------------------------------------------------

    async def _door(self, request: web.Request, *_: object) -> None:
        """Who saw another notice than that of now sees the new one first; where that is asked, a page must show one."""
        body = request.get(BODY, {})
        seen, is_agent = body.get("notice"), body.get("agent") is True
        _require_text(body, "notice", "lang")
        if seen is None and (is_agent or not self.service.config.privacy.notice_required):
            return
        if seen != self._versions[NOTICE]:
            raise NoticeMissing

    async def _welcome(self, request: web.Request, session: Session) -> None:
        """Somebody has come in: what they were shown is kept."""
        body = request.get(BODY, {})
        if body.get("notice") == self._versions[NOTICE]:
            lang = body.get("lang")
            await self._keep(session, NOTICE, True, lang if lang in _LANGS else "")

    # -- what is said in the room ------------------------------------------------------------------------------------

    def room_opened(self, room: Room) -> None:
        """What was withdrawn before a restart stays withdrawn."""
        said = self._said(room, "position")
        room.withdraw_positions(len(said) > 1 and not said[-1])

    def _said(self, room: Room, kind: str) -> list[bool]:
        waiting = [one for one in self._waiting if one.room == room.ident]
        return [one.is_given for one in (*self._store.consents(room=room.ident), *waiting) if one.kind == kind]

    def room_met_car(self, room: Room) -> None:
        """What the laptop's owner has set about positions is a consent, or its absence."""
        is_wanted, said = mode_of(room.desk.allows) != "off", self._said(room, "position")
        if not room.positions.is_withdrawn and is_wanted != bool(said and said[-1]):
            self._note(room, room.agent_person, room.agent_name, "position", is_wanted)

    def room_heard(self, room: Room, event: dict[str, Any]) -> None:
        """Whether a call may be recorded, whether somebody abroad may watch, whether what was found may be counted."""
        body, who, kind = event["body"], event["who"], event["kind"]
        found: tuple[str, object] | None = None
        if kind == "consent":
            found = ("media", body.get("given"))
        elif kind == "region" and body.get("by") == "technician":
            found = ("export-abroad", body.get("wanted"))
        elif kind == "finish" and who.get("role") == "technician":
            found = (SHARING, body.get("share"))
        if found is not None and isinstance(found[1], bool):
            lang = body.get("lang")
            said = lang if lang in _LANGS else ""
            self._note(room, int(who.get("id") or 0), str(who.get("name") or ""), found[0], found[1], said)

    def _note(self, room: Room, person: int, name: str, kind: str, is_given: bool, lang: str = "") -> None:
        account = self.service.sessions.account_of(room.ident, person)
        now_us = self.service.config.now_us()
        self._waiting.append(
            Consent(now_us, room.ident, person, name, account, kind, is_given, self._versions[kind], lang)
        )

    async def may_share(self, ident: str, document: Mapping[str, Any]) -> bool:
        """Whether the network of workshops may remember the car of a room: the technician's last word about it.

        Args:
            ident: the room.
            document: ``huizhen.consultation/1``. What the technician said in it, and a service that was killed did not
                write down, is written down now.

        Raises:
            StateBroken: the database cannot be used; it may be asked again.
        """
        await self._write()
        statement = document.get("statement")
        word = statement.get("share") if isinstance(statement, dict) else None
        if isinstance(word, bool):
            said_us = (time_of(document.get("closed"), "closed") or 0) // 1000
            said = await asyncio.to_thread(self._store.consents, room=ident)
            if not any(one.kind == SHARING and one.t_us >= said_us for one in said):
                await self._write(Consent(said_us, ident, 0, "", "", SHARING, word, self._versions[SHARING], ""))
        return await asyncio.to_thread(self._store.has_agreed, ident, SHARING)

    async def tend(self) -> None:
        """Writes what was said in the rooms."""
        if self._waiting:
            await self._write()

    async def _write(self, *more: Consent) -> None:
        """In the order in which it was said: the last word of somebody counts."""
        async with self._writing:
            waiting, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(self._store.put_consent, *waiting, *more)
            except StateBroken:
                self._waiting = waiting + self._waiting
                raise

    async def stop(self) -> None:
        """Likewise."""
        await self.tend()

    async def _keep(self, session: Session, kind: str, is_given: bool, lang: str) -> Consent:
        now_us, version = self.service.config.now_us(), self._versions[kind]
        one = Consent(
            now_us, session.room, session.person, session.name, session.account, kind, is_given, version, lang
        )
        await self._write(one)
        return one

    # -- routes ------------------------------------------------------------------------------------------------------

    async def notice(self, _: web.Request) -> web.Response:
        """``GET /api/privacy``: for everybody, before they say who they are."""
        privacy, text = self.service.config.privacy, self._texts[NOTICE]
        return web.json_response(
            {
                "version": self._versions[NOTICE],
                "notice": text.to_json(),
                "operator": privacy.operator,
                "contact": privacy.contact,
                "retention_days": privacy.retention_days,
                "visit_days": self.service.config.visit_days,
                "region": privacy.region,
                "consents": {
                    kind: {"version": self._versions[kind], "text": self._texts[kind].to_json()}
                    for kind in KINDS
                    if kind != NOTICE
                },
            }
        )

    async def page(self, request: web.Request) -> web.Response:
        """``GET /privacy``: in the visitor's language, or the one asked for by ``?lang=``."""
        lang = request.query.get("lang", request.headers.get("Accept-Language", ""))
        config = self.service.config
        page = privacy_page(
            "zh" if lang.lower().startswith("zh") else "en",
            config.privacy,
            audit_days=config.audit_days,
            visit_days=config.visit_days,
            waiting_days=max(config.queue.days, config.audit_days) if config.state is not None else 0,
            version=self._versions[NOTICE],
        )
        return web.Response(text=page, content_type="text/html")

    async def style(self, _: web.Request) -> web.Response:
        """``GET /privacy/style.css``."""
        return web.Response(text=PRIVACY_STYLE, content_type="text/css")

    async def show(self, request: web.Request) -> web.Response:
        """``GET /r/ROOM/consent``."""
        session = room_session(self.service, request)
        found = await asyncio.to_thread(self._store.consents, room=session.room)
        if not session.role.may_invite:
            found = [one for one in found if one.person == session.person]
        room = self.service.room(session.room)
        position = {"mode": mode_of(room.desk.allows), "withdrawn": room.positions.is_withdrawn}
        return web.json_response({"consents": [one.to_json() for one in found], "position": position})

    async def change(self, request: web.Request) -> web.Response:
        """``POST /r/ROOM/consent``: to the wording of now and to no other; withdrawing needs none."""
        try:
            session = room_session(self.service, request)
        except SessionRefused:
            account = await signed_in(self.service, request)
            if account is None or account.role is not AccountRole.ADMIN:
                raise
            return await self._withdraw_for_owner(request, account)
        kind, is_given, version, lang = await self._said_in(request)
        if kind in _ONLY_TECHNICIAN and session.role is not Role.TECHNICIAN:
            raise RoleRefused(session.role.value)
        if is_given and version != self._versions[kind]:
            raise NoticeMissing
        room = self.service.room(session.room)
        consent = await self._keep(session, kind, is_given, lang)
        if kind == "position":
            who = {"id": session.person, "role": session.role.value, "name": session.name}
            self._withdraw_positions(room, not is_given, who)
        if not is_given:
            await self._withdrawn(consent)
        return web.json_response({"kind": kind, "given": is_given, "version": self._versions[kind]})

    async def _withdraw_for_owner(self, request: web.Request, account: Account) -> web.Response:
        """The car's owner turns to who runs the service; the technician has no session once the room has ended."""
        ident = request.match_info["room"]
        kind, is_given, _, lang = await self._said_in(request)
        if is_given or kind not in _ONLY_TECHNICIAN:
            raise RoleRefused(account.role.value)
        if not await asyncio.to_thread(self.service.state.knows_room, ident):
            raise RoomClosed
        now_us, version = self.service.config.now_us(), self._versions[kind]
        consent = Consent(now_us, ident, 0, account.shown_name, account.name, kind, False, version, lang)
        await self._write(consent)
        note = self.service.audit("consent-withdrawn", account.name, ident, kind)
        await asyncio.to_thread(self.service.state.note, note)
        if kind == "position" and (room := self.service.rooms.get(ident)) is not None:
            self._withdraw_positions(room, True, {"id": 0, "role": "service", "name": ""})
        await self._withdrawn(consent)
        return web.json_response({"kind": kind, "given": False, "version": version})

    def _withdraw_positions(self, room: Room, withdrawn: bool, who: dict[str, Any]) -> None:
        """Here at once; the laptop hears of it as everybody does, and sends none any more either."""
        is_news = room.positions.is_withdrawn != withdrawn
        room.withdraw_positions(withdrawn)
        if is_news and room.closed_code is None:
            room.happen("position", who, self.service.config.now_us(), body={"withdrawn": withdrawn})

    async def _said_in(self, request: web.Request) -> tuple[str, bool, object, str]:
        """Kind, whether it is given, version and language of a request."""
        body = await json_body(request, self.service.config.limits.request_s)
        kind, is_given, lang = body.get("kind"), body.get("given"), body.get("lang")
        _require_text(body, "lang", "version")
        if not isinstance(kind, str) or kind not in KINDS or not isinstance(is_given, bool):
            raise MessageBroken(Text("fields kind and given", "字段 kind 和 given"))
        return kind, is_given, body.get("version"), str(lang) if lang in _LANGS else ""

    async def _withdrawn(self, consent: Consent) -> None:
        """What was done by a consent ends."""
        if consent.kind == "export-abroad":
            await asyncio.to_thread(self._store.change, consent.room, lifted_until_us=0, lift_technician_us=0)
            if (room := self.service.rooms.get(consent.room)) is not None:
                for part in self.service.parts:
                    part.privacy_changed(room)
        for part in self.service.parts:
            await part.consent_withdrawn(consent)
