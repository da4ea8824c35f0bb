"""Keeps the rooms of a service: writes journals, sends beats, ends rooms that nobody uses, looks after the rest."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Final

from consult.errors import CertificateBroken, JournalBroken, ServiceError, StateBroken
from consult.serviceparts import ask_parts, tell_parts
from consult.wire import encode_beat

if TYPE_CHECKING:
    from consult.room import Room
    from consult.service import Service

__all__ = ["Keeper", "close_journal"]

_FLUSH_S: Final = 0.1
_BEAT_S: Final = 0.5
_WRITERS: Final = 4
"""Rooms that are written at the same time: SQLite lets go of the interpreter while it writes, and other threads of the
pool stay free for who waits for an answer."""

_LINGER_S: Final = 3.0
_IDLE_ROOM_S: Final = 12 * 3600
_SELDOM_S: Final = 3600
_RENEW_S: Final = 30
"""A laptop that changes its network has a certificate for the new address half a minute later."""

_log = logging.getLogger(__name__)


class Keeper:
    """The task that looks after every room of one service until the service ends."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.kept_at_s: float | None = None
        """When all rooms were written last, by the service's own clock; None before the first time."""
        self._stopping = False
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._tend_again_s = self._renew_again_s = 0.0
        self._writing = asyncio.Semaphore(_WRITERS)
        self._closed_at_s: dict[str, float] = {}

    def start(self) -> None:
        """Begins, in a task of its own."""
        self._task = asyncio.create_task(self._keep(), name="room keeper")

    def wake(self) -> None:
        """Something is to be written now."""
        self._wake.set()

    async def stop(self) -> None:
        """Writes what is left and closes every room's file."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            # Not cancelled: a batch that is being written would be lost for the rooms' records.
            with contextlib.suppress(Exception):
                await self._task
        for room in list(self.service.rooms.values()):
            await self._flush(room)
            if room.closed_code is not None:
                self._forget(room)
            else:
                close_journal(room)

    async def _keep(self) -> None:
        """Keeps the rooms until the end. Should that fail, no room may go on as if it were recorded."""
        try:
            await self._keep_rooms()
        except Exception:
            _log.exception("the rooms' keeper failed")
            for room in self.service.rooms.values():
                room.close(ServiceError.code)
            raise

    async def _keep_rooms(self) -> None:
        """Writes journals, sends beats, ends rooms that nobody uses."""
        beat_at_s = 0.0
        while not self._stopping:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FLUSH_S):
                    await self._wake.wait()
            self._wake.clear()
            now_s, now_us = self.service.config.clock_s(), self.service.config.now_us()
            rooms = list(self.service.rooms.values())
            for room in rooms:
                room.desk.poll(now_us)
            await asyncio.gather(*map(self._flush, rooms))
            for room in rooms:
                if now_s >= beat_at_s:
                    self._beat(room, now_us)
                if room.closed_code is not None:
                    self._end_room(room, now_s)
            if now_s >= beat_at_s:
                beat_at_s = now_s + _BEAT_S
                await self._tend()
            self.kept_at_s = now_s

    async def _tend(self) -> None:
        """What is looked after now and then: accounts changed elsewhere, certificates, old entries of the audit."""
        state = self.service.state
        if await asyncio.to_thread(state.changed_elsewhere):
            known = {account.name: account.role.in_room for account in await asyncio.to_thread(state.accounts)}
            self.service.show_out(self.service.sessions.close_accounts(known))
        await self.service.save_rest()
        await ask_parts(self.service.parts, lambda part: part.tend())
        if self.service.certificate is not None and self.service.utc_s >= self._renew_again_s:
            self._renew_again_s = self.service.utc_s + _RENEW_S
            try:
                await asyncio.to_thread(self.service.certificate.renew_if_due)
            except CertificateBroken as error:
                _log.error("%s", error)
        if self.service.utc_s >= self._tend_again_s:
            self._tend_again_s = self.service.utc_s + _SELDOM_S
            await asyncio.to_thread(
                state.forget_audit,
                self.service.config.now_us() - self.service.config.audit_days * 86_400_000_000,
            )

    def _beat(self, room: Room, now_us: int) -> None:
        room.ending.end_if_due(now_us)
        heads = {role: room.heads(now_us, role) for role in {member.role for member in room.members.values()}}
        for member in room.members.values():
            member.outbox.say(heads[member.role])
            if member.edge is not None:
                member.edge.offer_beat(encode_beat(now_us))
        if room.agent is not None:
            room.agent.say('{"type":"beat"}')
        if room.agent is not None or room.members:
            room.idle_since_us = now_us
        elif now_us - room.idle_since_us > _IDLE_ROOM_S * 1_000_000:
            room.close("consult.room-closed")

    def _end_room(self, room: Room, now_s: float) -> None:
        """Forgets a closed room once everybody has gone; who does not go by themselves is shown out."""
        if room.agent is None and not (room.members or room.has_unwritten or room.is_held()):
            self._forget(room)
        elif now_s - self._closed_at_s.setdefault(room.ident, now_s) > _LINGER_S:
            for outbox in (room.agent, *(member.outbox for member in room.members.values())):
                if outbox is not None:
                    outbox.stop()

    def _forget(self, room: Room) -> None:
        self._closed_at_s.pop(room.ident, None)
        del self.service.rooms[room.ident]
        self.service.metrics.room_ended(room)
        code = room.closed_code or "consult.room-closed"
        tell_parts(self.service.parts, lambda part: part.room_closed(room, code))
        close_journal(room)
        try:
            self.service.end_entry(self.service.entries.pop(room.ident), code)
        except StateBroken as error:
            _log.error("room %s: %s", room.ident, error)

    async def _flush(self, room: Room) -> None:
        batch = room.take_batch()
        if not batch and not room.journal.must_sign:
            return
        try:
            async with self._writing:
                began_s = time.perf_counter()
                await asyncio.to_thread(room.write_batch, batch)
        except JournalBroken as error:
            _log.error("room %s: %s", room.ident, error)
            self.service.metrics.journal_failures += 1
            room.close(error.code)
        else:
            self.service.metrics.journal_write_s.observe(time.perf_counter() - began_s)
            room.acknowledge(batch)


def close_journal(room: Room) -> None:
    """Ends a room's record, for good where the room has ended. A full disk here harms no other room."""
    try:
        try:
            if room.closed_code is not None:
                room.journal.end(room.closed_code)
                room.ending.write_file()
        finally:
            room.journal.close()
    except JournalBroken as error:
        _log.error("room %s: %s", room.ident, error)
