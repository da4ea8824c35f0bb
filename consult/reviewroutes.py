"""Reviews and the queue for research, for experts with an account.

``GET  /api/drafts``                     drafts of cases, ``?state=waiting|accepted|rejected``
``POST /api/drafts/N/accept``            it becomes a case, with ``proposal`` where something was changed
``POST /api/drafts/N/change``            another proposal, kept for now
``POST /api/drafts/N/reject``            it becomes none, for a ``reason``
``GET  /api/research``                   problems that stay unsolved, ``?state=open|taken|answered|closed``
``POST /api/research/N``                 ``state`` and the answer in both languages
``GET  /review``                         the page
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from casebase.errors import BadEvidence, CaseError
from consult.accountaccess import account_of
from consult.accounts import Account, AccountRole
from consult.consentdesk import ConsentDesk
from consult.errors import ConsultError, MessageBroken, RoleRefused, StateBroken
from consult.gate import json_body
from consult.networkerrors import NetworkOff, ResearchUnknown, ReviewIncomplete
from consult.networkkeys import load_keys
from consult.pagefiles import load_page
from consult.part import Part
from consult.recording import Recording
from consult.reviewdesk import ReviewDesk, draft_notice, research_notice
from consult.reviewstore import STATES
from consult.roomtold import what_room_tells
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from consult.networkconfig import NetworkConfig
    from consult.privacystore import Consent
    from consult.reviewstore import OwedRoom
    from consult.room import Room
    from consult.roomtold import RoomTold
    from consult.service import Service

__all__ = ["ReviewPart"]

_REVIEWERS: Final = frozenset({AccountRole.EXPERT, AccountRole.LEAD})
_DRAFT_STATES: Final = ("waiting", "accepted", "rejected")
_NUMBER: Final = "{number:[0-9]{1,9}}"
_LONGEST_NOTE: Final = 2000
_SELDOM_S: Final = 3600
_GIVE_UP_US: Final = 7 * 86_400_000_000
"""What could not be kept for so long will never be."""

_log = logging.getLogger(__name__)


class ReviewPart(Part):
    """The part of a service that learns from rooms that have ended, with experts in between."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self.desk = ReviewDesk(service.config, service.state)
        self._page = load_page(service.config.static)["index.html"]
        self._taking: set[asyncio.Task[None]] = set()
        self._again_s = 0.0

    @property
    def _settings(self) -> NetworkConfig:
        return self.service.config.network

    def table(self) -> list[web.RouteDef]:
        """Its routes."""
        return [
            web.get("/api/drafts", self.drafts),
            web.post(f"/api/drafts/{_NUMBER}/accept", self.accept),
            web.post(f"/api/drafts/{_NUMBER}/change", self.change),
            web.post(f"/api/drafts/{_NUMBER}/reject", self.reject),
            web.get("/api/research", self.research),
            web.post(f"/api/research/{_NUMBER}", self.answer),
            web.get("/review", self.page),
        ]

    # -- rooms -------------------------------------------------------------------------------------------------------

    def room_heard(self, room: Room, event: dict[str, Any]) -> None:
        """Whose account it was that finished the job is known as long as they are in the room, and so kept at once."""
        if event["kind"] == "finish" and self.service.config.state is not None:
            author = self.service.sessions.account_of(room.ident, event["who"]["id"])
            if author:
                self._do(asyncio.to_thread(self.desk.store.put_author, room.ident, author), room.ident + " author")

    def room_closed(self, room: Room, code: str) -> None:  # noqa: ARG002 - the part's method
        """What the room tells is kept in a thread; the room's end waits for nobody."""
        if self.service.config.state is None:
            return
        finishes = [event for event in room.events_after(0) if event["kind"] == "finish"]
        author = self.service.sessions.account_of(room.ident, finishes[0]["who"]["id"]) if finishes else ""
        told = None
        if self._settings.on:
            told = what_room_tells(
                room.ident, room.report, room.ending.document, author,
                opened_us=room.created_us, closed_us=self.service.config.now_us(),
            )  # fmt: skip
        self._do(self._take(room.ident, told), room.ident)

    async def _take(self, ident: str, told: RoomTold | None) -> None:
        """Keeps it, says what is news, and notes that it is done; None: there is nothing to keep."""
        state, now_us = self.service.config.state, self.service.config.now_us
        if told is not None and state is not None:
            is_shared = await self._consents.may_share(ident, told.document)
            keys = await asyncio.to_thread(load_keys, state.parent, now_us)
            try:
                number, news = await asyncio.to_thread(
                    lambda: self.desk.take_room(
                        told.document, verdict=told.verdict, first=told.first, author=told.author, keys=keys,
                        is_finished=told.is_finished, is_shared=is_shared,
                    )
                )  # fmt: skip
            except BadEvidence as error:
                if error.key != "line":
                    raise
                _log.info("room %s tells of no fault: nothing of it is kept for the network", ident)
                number, news = 0, []
            if number:
                self.service.notices.publish(draft_notice(number, now_us()))
            for item, title in news:
                self.service.notices.publish(research_notice(item, title, now_us()))
        await asyncio.to_thread(self.desk.store.put_taken, ident, now_us())

    @property
    def _consents(self) -> ConsentDesk:
        return next(part for part in self.service.parts if isinstance(part, ConsentDesk))

    async def consent_withdrawn(self, consent: Consent) -> None:
        """Who no longer wants the car remembered by other workshops is heard, also long after the room has ended."""
        if consent.kind != "sharing" or self.service.config.state is None:
            return
        taking = [task for task in self._taking if task.get_name() in ("", consent.room)]
        await asyncio.gather(*taking, return_exceptions=True)  # what they keep now is found below
        gone = await asyncio.to_thread(self.desk.unshare, consent.room)
        note = self.service.audit("network-unshare", consent.account or consent.name, consent.room, str(gone))
        await asyncio.to_thread(self.service.state.note, note)

    async def tend(self) -> None:
        """At the start and once an hour: what was not kept when its room ended is kept now."""
        if self.service.config.state is None or not self._settings.on or self.service.utc_s < self._again_s:
            return
        self._again_s = self.service.utc_s + _SELDOM_S
        self._do(self._catch_up(), "")

    async def _catch_up(self) -> None:
        for room in await asyncio.to_thread(self.desk.store.owed):
            if room.ident in self._busy:
                continue
            try:
                await self._take(room.ident, await asyncio.to_thread(self._told_by_record, room))
            except (CaseError, ConsultError) as error:
                _log.error("room %s: its memory was not kept: %s", room.ident, error)
                if isinstance(error, BadEvidence) or self.service.config.now_us() - room.closed_us > _GIVE_UP_US:
                    await asyncio.to_thread(self.desk.store.put_taken, room.ident, self.service.config.now_us())

    def _told_by_record(self, room: OwedRoom) -> RoomTold | None:
        """What a room tells, from its record; None for nothing, also where the record is gone."""
        path = self.service.config.data / room.file
        if not path.is_file():
            return None
        with Recording(path, self.service.keys) as recording:
            reports, documents = recording.documents("report"), recording.documents("consultation")
        report, document = (found[-1][1] if found else None for found in (reports, documents))
        return what_room_tells(
            room.ident, report or {}, document, room.author, opened_us=room.created_us, closed_us=room.closed_us
        )

    def _do(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._taking.add(task)
        task.add_done_callback(self._taken)

    @property
    def _busy(self) -> set[str]:
        return {task.get_name() for task in self._taking}

    def _taken(self, task: asyncio.Task[None]) -> None:
        self._taking.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            known = isinstance(error, (CaseError, ConsultError))
            _log.error("a room's memory was not kept: %s", error if known else repr(error), exc_info=None)

    async def stop(self) -> None:
        """Waits for what rooms tell."""
        await asyncio.gather(*self._taking, return_exceptions=True)

    # -- who asks ----------------------------------------------------------------------------------------------------

    async def _account(self, request: web.Request, *, decides: bool = False) -> Account:
        """Who is signed in.

        Raises:
            LoginRefused: nobody. RoleRefused: they only look.
        """
        account = await account_of(self.service, request)
        if decides and account.role not in _REVIEWERS:
            raise RoleRefused(account.role.value)
        return account

    def _require_on(self) -> None:
        """Nothing is reviewed at a service that keeps nothing.

        Raises:
            NetworkOff: it is one.
        """
        if self.service.config.state is None or not self._settings.on:
            raise NetworkOff

    async def _body(self, request: web.Request) -> dict[str, Any]:
        return await json_body(request, self.service.config.limits.request_s)

    def _state_of(self, request: web.Request, known: tuple[str, ...]) -> str | None:
        state = request.query.get("state")
        if state is not None and state not in known:
            raise MessageBroken(Text("field state", "字段 state"))
        return state

    # -- drafts ------------------------------------------------------------------------------------------------------

    async def drafts(self, request: web.Request) -> web.Response:
        """``GET /api/drafts``."""
        account = await self._account(request)
        state = self._state_of(request, _DRAFT_STATES)
        self._require_on()
        found = await self._in_library(lambda: self.desk.listed(account, state))
        return web.json_response({"drafts": found, "may_decide": account.role in _REVIEWERS})

    async def accept(self, request: web.Request) -> web.Response:
        """``POST /api/drafts/N/accept``."""
        account, number, body, reason = await self._decision(request)
        shared = await self._in_library(lambda: self.desk.accept(number, body.get("proposal"), reason, account))
        return await self._noted("draft-accept", account, number, shared=bool(shared))

    async def change(self, request: web.Request) -> web.Response:
        """``POST /api/drafts/N/change``."""
        account, number, body, reason = await self._decision(request)
        await self._in_library(lambda: self.desk.change(number, body.get("proposal"), reason, account))
        return await self._noted("draft-change", account, number)

    async def reject(self, request: web.Request) -> web.Response:
        """``POST /api/drafts/N/reject``."""
        account, number, _, reason = await self._decision(request)
        await self._in_library(lambda: self.desk.reject(number, reason, account))
        return await self._noted("draft-reject", account, number)

    async def _decision(self, request: web.Request) -> tuple[Account, int, dict[str, Any], str]:
        account = await self._account(request, decides=True)
        body = await self._body(request)
        self._require_on()
        reason = body.get("reason", "")
        if not isinstance(reason, str) or len(reason) > _LONGEST_NOTE:
            raise MessageBroken(Text("field reason", "字段 reason"))
        return account, int(request.match_info["number"]), body, reason

    async def _noted(self, what: str, account: Account, number: int, **told: bool) -> web.Response:
        note = self.service.audit(what, account.name, detail=str(number))
        await asyncio.to_thread(self.service.state.note, note)
        return web.json_response({"number": number, **told})

    async def _in_library(self, act: Any) -> Any:
        """Runs in a thread what opens the service's library.

        Raises:
            StateBroken: the library cannot be used.
        """
        try:
            return await asyncio.to_thread(act)
        except CaseError as error:
            raise StateBroken(str(self.service.config.network.library), str(error)) from error

    # -- research ----------------------------------------------------------------------------------------------------

    async def research(self, request: web.Request) -> web.Response:
        """``GET /api/research``."""
        account = await self._account(request)
        state = self._state_of(request, STATES)
        self._require_on()
        items = await asyncio.to_thread(self.desk.store.items, state)
        return web.json_response(
            {"items": [item.to_json() for item in items], "may_decide": account.role in _REVIEWERS}
        )

    async def answer(self, request: web.Request) -> web.Response:
        """``POST /api/research/N``: an answer is given in both languages, because workshops of both get it."""
        account = await self._account(request, decides=True)
        body, number = await self._body(request), int(request.match_info["number"])
        self._require_on()
        state, note = body.get("state"), body.get("note", {"en": "", "zh": ""})
        if state not in STATES:
            raise MessageBroken(Text("field state", "字段 state"))
        if not isinstance(note, dict) or set(note) != {"en", "zh"}:
            raise MessageBroken(Text("field note", "字段 note"))
        if not all(isinstance(text, str) and len(text) <= _LONGEST_NOTE for text in note.values()):
            raise MessageBroken(Text("field note", "字段 note"))
        said = Text(" ".join(note["en"].split()), " ".join(note["zh"].split()))
        if state == "answered" and not (said.en and said.zh):
            raise ReviewIncomplete(Text("an answer in both languages", "请填写中英文答复"))
        now_us = self.service.config.now_us()
        if not await asyncio.to_thread(self.desk.store.put_item, number, state, account.name, said, now_us):
            raise ResearchUnknown(number)
        return await self._noted(f"research-{state}", account, number)

    async def page(self, _: web.Request) -> web.Response:
        """``GET /review``."""
        body, content_type = self._page
        return web.Response(body=body, content_type=content_type, charset="utf-8")
