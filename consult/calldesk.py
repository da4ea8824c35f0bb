"""The call of one room: who is in it, browser to browser or by an engine, and whether it may be recorded.

No I/O, no clock. The desk decides; the media engine, if there is one, is told through :class:`CallEngine` and says
what it has done. Recording runs only while everybody in the call has consented: somebody who comes suspends it, and a
"no" of anybody ends it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from consult.callerrors import CallFull, NoMediaEngine, NotInCall
from consult.callstills import StillBoard
from consult.errors import RoleRefused
from consult.granterrors import RequestUnknown
from consult.invites import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from consult.callmessages import Call, Consent, Record, Sfu

__all__ = ["CALM_US", "MESH_EXPERTS", "MESH_TECHNICIANS", "CallDesk", "CallEngine", "Caller"]

MESH_EXPERTS: Final = 3
"""Beyond the technicians so many go browser to browser: each more costs the phone another copy of its picture."""

MESH_TECHNICIANS: Final = 2
CALM_US: Final = 30_000_000
"""A call stays with the engine for so long after it could do without: no changing to and fro."""

_SERVICE: Final = {"id": 0, "role": "service", "name": ""}


class CallEngine(Protocol):
    """What the desk knows of a media engine."""

    @property
    def is_ready(self) -> bool:
        """Whether it runs and serves this room."""
        ...

    @property
    def session(self) -> int:
        """Another number after every loss of what pages had at the engine: they begin anew."""
        ...

    def ask(self, person: int, message: Sfu, say: Callable[[dict[str, Any]], None]) -> None:
        """Passes a page's word on; the answer goes to ``say`` some time."""
        ...

    def heed(self) -> None:
        """The desk has changed: people, mode, or whether it is to be recorded."""
        ...


@dataclass(slots=True)
class Caller:
    """Somebody in the call."""

    who: dict[str, Any]
    role: Role
    visit: int
    """Another number each time that they join: who missed them leave learns from it that it is a new page."""
    audio: bool = False
    video: bool = False
    level: str = "video"
    has_consented: bool = False

    def to_json(self) -> dict[str, Any]:
        """As pages see them."""
        told = {"id": self.who["id"], "audio": self.audio, "video": self.video, "level": self.level}
        return {**told, "visit": self.visit}


class CallDesk:
    """One room's call.

    Args:
        happen: numbers and keeps an event, as :meth:`consult.room.Room.happen`.
        tell: tells everybody how the call stands now.
    """

    def __init__(self, happen: Callable[..., None], tell: Callable[[int], None]) -> None:
        self._happen = happen
        self._tell = tell
        self.people: dict[int, Caller] = {}
        self.stills = StillBoard()
        self.engine: CallEngine | None = None
        self.mode = "none"
        self.is_recording_wanted = False
        self.recording_since_us = 0
        """Since when the engine records; 0 while it does not."""
        self._visits = 0
        self._calm_since_us: int | None = None
        self._was_cut_off = False

    # -- who is in it ------------------------------------------------------------------------------------------------

    def take_call(self, message: Call, who: dict[str, Any], role: Role, now_us: int) -> None:
        """Somebody joins, leaves, or sends something else than before.

        Raises:
            RoleRefused: an observer would send something.
            CallFull: without an engine there is no room for one more.
        """
        person = who["id"]
        if not message.join:
            self.leave(person, now_us)
            return
        if not role.may_speak and (message.audio or message.video):
            raise RoleRefused(role.value)
        caller = self.people.get(person)
        if caller is None:
            if self._is_crowded(role) and not self._engine_ready:
                raise CallFull(MESH_EXPERTS)
            self._visits += 1
            caller = self.people[person] = Caller(who, role, self._visits)
            self._happen("call", who, now_us, body={"joined": True, "audio": message.audio, "video": message.video})
        caller.audio, caller.video, caller.level = message.audio, message.video, message.level
        self._settle(now_us)

    def leave(self, person: int, now_us: int) -> None:
        """Somebody is in the call no longer; nothing happens where they never were."""
        caller = self.people.pop(person, None)
        if caller is None:
            return
        self._happen("call", caller.who, now_us, body={"joined": False, "audio": False, "video": False})
        if not self.people:
            self._end_recording(caller.who, now_us, why="empty")
        self._settle(now_us)

    def require(self, person: int) -> Caller:
        """Somebody who is in the call.

        Raises:
            NotInCall: they are not.
        """
        caller = self.people.get(person)
        if caller is None:
            raise NotInCall
        return caller

    # -- browser to browser or by the engine -------------------------------------------------------------------------

    @property
    def _engine_ready(self) -> bool:
        return self.engine is not None and self.engine.is_ready

    def _is_crowded(self, *more: Role) -> bool:
        roles = [caller.role for caller in self.people.values()] + list(more)
        technicians = sum(role is Role.TECHNICIAN for role in roles)
        return technicians > MESH_TECHNICIANS or len(roles) - technicians > MESH_EXPERTS

    @property
    def may_record(self) -> bool:
        """Whether the engine is to record now: somebody wants it, and all who are in the call have consented."""
        everybody = all(caller.has_consented for caller in self.people.values())
        return self.is_recording_wanted and bool(self.people) and everybody and self._engine_ready

    def _settle(self, now_us: int) -> None:
        """Chooses the mode, tells everybody and the engine."""
        self._choose_mode(now_us)
        if self.recording_since_us and not self.may_record:
            self.recording_since_us = 0
            if self.is_recording_wanted:
                self._happen("recording", _SERVICE, now_us, body={"state": "suspended"})
        if self.engine is not None:
            self.engine.heed()
        self._tell(now_us)

    def _choose_mode(self, now_us: int) -> None:
        if not self.people:
            self.mode, self._calm_since_us = "none", None
        elif self._is_crowded() or self.may_record:
            self.mode, self._calm_since_us = "sfu", None
        elif self.mode != "sfu" or not self._engine_ready:
            self.mode, self._calm_since_us = "mesh", None
        elif self._calm_since_us is None:
            self._calm_since_us = now_us
        elif now_us - self._calm_since_us >= CALM_US:
            self.mode, self._calm_since_us = "mesh", None

    def poll(self, now_us: int) -> None:
        """What time brings about."""
        if self._was_cut_off:
            self._was_cut_off = False
            self._happen("recording", _SERVICE, now_us, body={"state": "off", "why": "restart"})
        if self._calm_since_us is not None and now_us - self._calm_since_us >= CALM_US:
            self._settle(now_us)

    def take_engine_state(self, now_us: int) -> None:
        """The engine is ready, or no longer, or has lost what pages had there."""
        if self.people:
            self._settle(now_us)

    # -- recording ---------------------------------------------------------------------------------------------------

    def take_record(self, message: Record, who: dict[str, Any], role: Role, now_us: int) -> None:
        """The technician or the lead wants the call recorded, or no longer.

        Raises:
            RoleRefused: somebody else.
            NotInCall: they are not in it.
            NoMediaEngine: there is nothing that could record.
        """
        if not role.may_invite:
            raise RoleRefused(role.value)
        if not message.on:
            self._end_recording(who, now_us, why="asked")
        elif not self.is_recording_wanted:
            self.require(who["id"])
            if not self._engine_ready:
                raise NoMediaEngine
            self.is_recording_wanted = True
            self._happen("recording", who, now_us, body={"state": "asked"})
        self._settle(now_us)

    def take_consent(self, message: Consent, who: dict[str, Any], now_us: int) -> None:
        """Somebody in the call lets themselves be recorded, or does not, or no longer.

        Raises:
            NotInCall: they are not in it.
            RequestUnknown: nobody wants a recording.
        """
        caller = self.require(who["id"])
        if not self.is_recording_wanted:
            raise RequestUnknown
        if message.given != caller.has_consented or not message.given:
            self._happen("consent", who, now_us, body={"given": message.given})
        if message.given:
            caller.has_consented = True
        else:
            self._end_for(caller, now_us)
        self._settle(now_us)

    def withdraw_consent(self, person: int, now_us: int) -> None:
        """The same by another way than the room's channel, and written down there; nothing where nobody asks."""
        caller = self.people.get(person)
        if caller is None or not self.is_recording_wanted:
            return
        self._end_for(caller, now_us)
        self._settle(now_us)

    def _end_for(self, caller: Caller, now_us: int) -> None:
        """Somebody says no; whether they had said yes before is told."""
        self._end_recording(caller.who, now_us, why="withdrawn" if caller.has_consented else "refused")

    def break_off_recording(self, why: str, now_us: int) -> None:
        """The service ends the recording: ``full``, or ``failed`` where the engine keeps nothing."""
        self._end_recording(_SERVICE, now_us, why=why)
        self._settle(now_us)

    def _end_recording(self, who: dict[str, Any], now_us: int, *, why: str) -> None:
        if not self.is_recording_wanted:
            return
        self.is_recording_wanted = False
        self.recording_since_us = 0
        for caller in self.people.values():
            caller.has_consented = False
        self._happen("recording", who, now_us, body={"state": "off", "why": why})

    def take_recording(self, runs: bool, now_us: int) -> None:
        """The engine has begun to record, or has ended."""
        if runs and self.may_record and not self.recording_since_us:
            self.recording_since_us = now_us
            self._happen("recording", _SERVICE, now_us, body={"state": "on"})
            self._tell(now_us)
        elif not runs and self.recording_since_us:
            self.recording_since_us = 0
            self._happen("recording", _SERVICE, now_us, body={"state": "suspended"})
            self._tell(now_us)

    # -- all of it ---------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """How the call stands, for everybody in the room; without what each alone is told (``ice``)."""
        waiting = [person for person, caller in self.people.items() if not caller.has_consented]
        return {
            "type": "call",
            "mode": self.mode,
            "people": [caller.to_json() for caller in self.people.values()],
            "recording": {
                "wanted": self.is_recording_wanted,
                "running": bool(self.recording_since_us),
                "since_us": self.recording_since_us,
                "waiting": waiting if self.is_recording_wanted else [],
            },
            "engine": {
                "ready": self._engine_ready,
                "session": self.engine.session if self.engine is not None else 0,
            },
        }

    def restore(self, events: Iterable[dict[str, Any]]) -> None:
        """What stands after the events of the journal: the pictures. Nobody is in the call, and nothing records."""
        told = list(events)
        self.stills.restore(told)
        states = [event["body"].get("state") for event in told if event["kind"] == "recording"]
        self._was_cut_off = bool(states) and states[-1] != "off"
