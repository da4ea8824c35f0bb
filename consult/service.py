"""The room service: its rooms, its invites, and their life on one event loop, on aiohttp."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from aiohttp import WSCloseCode, web

from consult.accountroutes import AccountRoutes
from consult.accounts import PasswordCheck
from consult.certificates import load_certificate
from consult.deletion import place_of
from consult.deletionredo import Redone, redo_deletions
from consult.edge import loopback_addresses
from consult.errors import (
    ConsultError,
    RoomClosed,
    StateBroken,
    TooMuch,
)
from consult.fileroutes import FileRoutes
from consult.gate import Gate
from consult.history import HistoryReader
from consult.ice import servers_for
from consult.invites import INVITE_LIFE_S, InviteBook, Role, SessionBook
from consult.journal import Journal
from consult.keeper import Keeper, close_journal
from consult.listening import address_url, listen_on, require_writable, service_url
from consult.messages import Closed, encode_message
from consult.metrics import Metrics
from consult.notices import NoticeBoard
from consult.operationroutes import OperationRoutes
from consult.peers import PeerContext
from consult.room import Room
from consult.roombus import LocalBus
from consult.roomkeys import store_of
from consult.routes import RoomRoutes
from consult.serviceconfig import STATIC, ServiceConfig
from consult.serviceparts import ask_parts, make_parts, tell_parts
from consult.servicestate import AuditEntry, RoomEntry, ServiceState
from consult.sharding import make_door, new_room_name
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from consult.invites import Invite, Session
    from consult.roombus import RoomBus

__all__ = ["STATIC", "IssuedInvite", "Service", "ServiceConfig", "require_writable", "running_service"]

_FLUSH_S: Final = 0.1
_BEAT_S: Final = 0.5
_LAST_WORD_S: Final = 0.05
_RESTARTING: Final = "consult.service-restarting"
"""Agents and pages that hear this come again, and end nothing."""

_LINGER_S: Final = 3.0
_IDLE_ROOM_S: Final = 12 * 3600
_SELDOM_S: Final = 3600
_RENEW_S: Final = 30
"""A laptop that changes its network has a certificate for the new address half a minute later."""


_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IssuedInvite:
    """An invite as it is handed to a person. ``expires_us``: UTC microseconds since the Unix epoch."""

    code: str
    url: str
    room: str
    role: Role
    expires_us: int


class Service:
    """All rooms of one process."""

    def __init__(self, config: ServiceConfig) -> None:
        self.config = config
        self.rooms: dict[str, Room] = {}
        self.entries: dict[str, RoomEntry] = {}
        self.invites = InviteBook()
        self.sessions = SessionBook()
        self.state = ServiceState(config.state)
        self.keys = store_of(config.data, config.privacy)
        self.passwords = PasswordCheck()
        self.histories = HistoryReader(self.keys)
        self.url = self.trust_url = ""
        self.certificate = load_certificate(config)
        self.fingerprint = self.certificate.fingerprint if self.certificate else None
        self.metrics = Metrics()
        self.gate = Gate(config, self.metrics)
        self.context = PeerContext(
            config.clock_s,
            config.now_us,
            webrtc=config.webrtc,
            edge_addresses=loopback_addresses(config.host),
        )
        self.sockets: dict[web.WebSocketResponse, str] = {}
        self._saving = asyncio.Lock()
        self.keeper = Keeper(self)
        self.bus: RoomBus = LocalBus()
        self.notices = NoticeBoard(self.bus)
        self.redone = Redone()
        self.parts = make_parts(self)

    # -- clocks ------------------------------------------------------------------------------------------------------

    @property
    def utc_s(self) -> float:
        """Now, in seconds since the Unix epoch."""
        return self.config.now_us() / 1_000_000

    def audit(self, what: str, who: str = "", room: str = "", detail: str = "") -> AuditEntry:
        """An entry for the audit, of now."""
        return AuditEntry(self.config.now_us(), what, who, room, detail)

    # -- invites and rooms -------------------------------------------------------------------------------------------

    def invite(self, room: str, role: Role, who: str = "") -> IssuedInvite:
        """A new invite for a room that exists, or that its technician's coming will open; written down at once."""
        made = self._issued(room, role)
        changes = self._access_changes()
        self.state.save_access(*changes, (self.audit("invite", who, room, role.value),))
        self._access_saved(*changes[:2])
        return made

    async def invite_soon(self, room: str, role: Role, who: str) -> IssuedInvite:
        """The same while the service runs: another program that writes to the database keeps nobody else waiting."""
        made = self._issued(room, role)
        await self.save_access(self.audit("invite", who, room, role.value))
        return made

    def _issued(self, room: str, role: Role) -> IssuedInvite:
        code = self.invites.issue(room, role, self.utc_s)
        expires_us = self.config.now_us() + INVITE_LIFE_S * 1_000_000
        return IssuedInvite(code, f"{self.url}/join#{code}", room, role, expires_us)

    def invite_technician(self) -> IssuedInvite:
        """An invite that opens a room of its own."""
        return self.invite(new_room_name(self.config.shards), Role.TECHNICIAN)

    async def save_access(self, *audit: AuditEntry) -> None:
        """Writes down what has changed of invites and sessions, before anybody is told of it.

        Raises:
            StateBroken: it cannot be written; it stays on the list for the next time.
        """
        async with self._saving:
            changes = self._access_changes()
            await asyncio.to_thread(self.state.save_access, *changes, audit)
            self._access_saved(*changes[:2])

    def _access_changes(self) -> tuple[dict[bytes, Invite | None], dict[bytes, Session | None], int]:
        return dict(self.invites.changes), dict(self.sessions.changes), self.sessions.persons

    def _access_saved(self, invites: dict[bytes, Invite | None], sessions: dict[bytes, Session | None]) -> None:
        """Takes off the lists what has been written, unless it has changed again meanwhile."""
        for digest, invite in invites.items():
            if self.invites.changes.get(digest) is invite:
                self.invites.changes.pop(digest, None)
        for digest, session in sessions.items():
            if self.sessions.changes.get(digest) is session:
                self.sessions.changes.pop(digest, None)

    def room(self, ident: str) -> Room:
        """A room that is open.

        Raises:
            RoomClosed: it was, or never existed: a stranger learns no difference.
        """
        room = self.rooms.get(ident)
        if room is None or room.closed_code is not None:
            raise RoomClosed
        return room

    def open_room(self, ident: str) -> Room:
        """A new room with a journal of its own.

        Raises:
            TooMuch: there are too many rooms.
            JournalBroken: its file cannot be made.
            StateBroken: it could not be opened again after a restart.
        """
        if len(self.rooms) >= self.config.limits.rooms:
            raise TooMuch(Text("open rooms", "已开设的会诊室"), str(self.config.limits.rooms))
        created_us = self.config.now_us()
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(created_us // 1_000_000))
        entry = RoomEntry(ident, f"{stamp}-{ident}.room", created_us)
        journal = self._journal(entry)
        try:
            self.state.put_room(entry, (self.audit("room-open", room=ident),))
        except BaseException:
            journal.close()
            raise
        self._take_in(Room(ident, journal, created_us=created_us), entry)
        return self.rooms[ident]

    def _take_in(self, room: Room, entry: RoomEntry) -> None:
        """From now on the keeper looks after a room; words are written at once, samples ten times a second."""
        room.relay_only = self.config.relay_only
        room.ice_for = lambda person, now_us: servers_for(self.config.ice, f"{room.ident}-{person}", now_us)
        room.on_event = self.keeper.wake
        room.on_heard = lambda event: tell_parts(self.parts, lambda part: part.room_heard(room, event))
        room.on_car = lambda: tell_parts(self.parts, lambda part: part.room_met_car(room))
        self.rooms[room.ident], self.entries[room.ident] = room, entry
        tell_parts(self.parts, lambda part: part.room_opened(room))

    def let_experts_in(self, ident: str, lets: bool, who: str) -> None:
        """Whether accounts of the service may enter a room without an invite."""
        entry = replace(self.entries[self.room(ident).ident], lets_experts_in=lets)
        self.state.put_room(entry, (self.audit("room-experts", who, ident, "on" if lets else "off"),))
        self.entries[ident] = entry

    def _journal(self, entry: RoomEntry) -> Journal:
        path = self.config.data / entry.file
        return Journal(
            path,
            room=entry.ident,
            signer=self.config.signer,
            keys=self.keys,
            encrypt=self.config.privacy.encrypt,
            now_us=self.config.now_us,
        )

    def resume(self) -> None:
        """Opens every room again that was open when the service ended, with the invites and sessions of then.

        Raises:
            DataInUse: another process serves these rooms.
            StateBroken: the database cannot be read.
        """
        self.state.claim()
        self._redo_deletions()
        undone = self.redone.undone
        self.invites.restore(self.state.load_invites())
        self.sessions.restore(*self.state.load_sessions())
        for entry in self.state.open_rooms():
            if entry.ident in undone:
                continue  # it should be deleted: nobody sees it again
            try:
                self._resume_room(entry)
            except ConsultError as error:
                # One room's broken file keeps no other room closed; it stays on the list for the next start.
                _log.error("room %s: %s", entry.ident, error)
                self.state.note(self.audit("room-broken", room=entry.ident, detail=str(error)))

    def _redo_deletions(self) -> None:
        """Finishes deletions that were broken off, repeats those that a restored backup undid; before rooms open."""
        place = place_of(self)
        if place.folder.is_dir():
            self.redone = redo_deletions(place)
            for error in self.redone.failed.values():
                _log.error("%s", error)
            for ident in self.redone.untrusted:
                _log.error("room %s was deleted by a certificate of another key, and is here", ident)

    def _resume_room(self, entry: RoomEntry) -> None:
        if not (self.config.data / entry.file).is_file():
            self.end_entry(entry, "consult.journal-broken")
            return
        journal = self._journal(entry)
        kept = journal.resume()
        if kept.closed_code is not None:
            journal.close()
            self.end_entry(entry, kept.closed_code)
            return
        room = Room(entry.ident, journal, created_us=entry.created_us)
        room.restore(kept)
        room.idle_since_us = self.config.now_us()
        self._take_in(room, entry)
        self.state.note(self.audit("room-resume", room=entry.ident))

    def end_entry(self, entry: RoomEntry, code: str) -> None:
        """A room has ended for good."""
        self.sessions.close_room(entry.ident)
        ended = replace(entry, closed_us=self.config.now_us(), closed_code=code)
        self.state.put_room(ended, (self.audit("room-close", room=entry.ident, detail=code),))

    # -- life --------------------------------------------------------------------------------------------------------

    def application(self) -> web.Application:
        """The aiohttp application."""
        gate: Any = self.gate.middleware
        app = web.Application(middlewares=[gate, make_door(self)], client_max_size=self.config.limits.body_bytes)
        app[SERVICE] = self
        app.add_routes(RoomRoutes(self).table())
        app.add_routes(AccountRoutes(self).table())
        app.add_routes(FileRoutes(self).table())
        app.add_routes(OperationRoutes(self).table())
        for part in self.parts:
            app.add_routes(part.table())
        app.cleanup_ctx.append(self._life)
        return app

    async def _life(self, app: web.Application) -> AsyncIterator[None]:
        self.keeper.start()
        for part in self.parts:
            await part.start()
        app.on_shutdown.append(self._say_goodbye)
        yield
        await self.keeper.stop()
        await ask_parts(self.parts, lambda part: part.stop())
        await self.save_rest()
        self.histories.close()
        self.state.close()

    def close(self) -> None:
        """Lets go of all files, of a service that never came to run."""
        for room in self.rooms.values():
            close_journal(room)
        self.histories.close()
        self.state.close()

    async def _say_goodbye(self, _: web.Application) -> None:
        """Ends the connections. Where rooms outlive the process, nobody is told that they are over."""
        lasting = self.config.state is not None
        for room in self.rooms.values():
            if lasting:
                room.tell(encode_message(Closed(code=_RESTARTING)))
            else:
                room.close("consult.room-closed")
        await asyncio.sleep(_LAST_WORD_S)
        code = WSCloseCode.SERVICE_RESTART if lasting else WSCloseCode.GOING_AWAY
        closing = [socket_.close(code=code) for socket_ in list(self.sockets)]
        await asyncio.gather(*closing, return_exceptions=True)

    def show_out(self, gone: Collection[tuple[str, int]]) -> None:
        """Ends every connection of these persons, ``(room, person)``, also those that a newer one has replaced."""
        for room in self.rooms.values():
            for person in [one for one in room.members if (room.ident, one) in gone]:
                for member in room.connections_of(person):
                    member.outbox.stop()

    async def save_rest(self) -> None:
        """Writes down changes that nobody waits for: sessions of rooms that ended, invites forgotten."""
        if self.invites.changes or self.sessions.changes:
            try:
                await self.save_access()
            except StateBroken as error:
                _log.error("%s", error)


SERVICE: Final = web.AppKey("service", Service)


@contextlib.asynccontextmanager
async def running_service(config: ServiceConfig) -> AsyncIterator[Service]:
    """The service, listening until the block ends.

    Raises:
        PageMissing: the page was not built.
        CertificateBroken: the TLS files cannot be used.
        CannotListen: the address cannot be bound.
        DataUnusable: the recordings cannot be kept in the folder.
        DataInUse: another service keeps its rooms there.
        StateBroken: the service's database cannot be used.
    """
    require_writable(config.data)
    service = Service(config)
    try:
        application = service.application()
        if config.state is not None:
            await asyncio.to_thread(service.resume)
    except BaseException:
        service.close()
        raise
    # The time limit for an idle connection is also that for a request's head to arrive. No body is unpacked: nobody
    # sends packed ones but who hopes for a bomb.
    runner = web.AppRunner(
        application,
        access_log=None,
        shutdown_timeout=1.0,
        keepalive_timeout=config.limits.request_s,
        lingering_time=1.0,
        auto_decompress=False,
    )
    await runner.setup()
    try:
        context = service.certificate.context if service.certificate else None
        port = await listen_on(runner, config.host, config.port, context)
        service.url = service_url(config, port)
        async with _trust_site(service):
            yield service
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def _trust_site(service: Service) -> AsyncIterator[None]:
    """The authority's page: at the service itself, and without TLS where the configuration names a port for that."""
    config = service.config
    service.trust_url = f"{service.url}/trust"
    if service.certificate is None or service.certificate.authority is None or config.trust_port is None:
        yield
        return
    gate: Any = service.gate.middleware
    app = web.Application(middlewares=[gate])
    app.add_routes(OperationRoutes(service).trust_table())
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, keepalive_timeout=config.limits.request_s)
    await runner.setup()
    try:
        port = await listen_on(runner, config.host, config.trust_port, None)
        service.trust_url = f"{address_url(config, 'http', port)}/trust"
        yield
    finally:
        await runner.cleanup()
