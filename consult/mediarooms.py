"""The media engine as a part of the service: started, watched, told what each call needs; recordings brought in."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from typing import TYPE_CHECKING, Any, Final

from consult.callerrors import MediaEngineBroken, NoMediaEngine, NotInCall
from consult.errors import ConsultError, TooMuch
from consult.janus import JanusEngine
from consult.notices import Notice
from consult.part import Part
from consult.recordedfiles import clear_recorded, keep_recorded, recorded_files, recorded_so_far
from consult.roomfiles import RoomFiles
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from consult.callmessages import Sfu
    from consult.mediaengine import MediaEngine, MediaRoom
    from consult.privacystore import Consent
    from consult.room import Room
    from consult.service import Service
    from consult.serviceconfig import ServiceConfig
    from consult.troubles import Trouble

    Say = Callable[[dict[str, Any]], None]

__all__ = ["MediaPart", "RoomMedia", "make_engine"]

_BACKOFF_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_STEADY_S: Final = 60.0
"""An engine that ran for so long had no trouble with starting."""

_MAX_ASKED: Final = 500
_UNWRITTEN_S: Final = 0.05
_SIZE_EACH: Final = 10
"""How large recordings have become is looked at every so many tendings."""

_UNPROVEN_S: Final = 10.0
"""Somebody publishes and is recorded for so long, and no file is there: the engine writes where nobody finds it."""

_SERVICE: Final = {"id": 0, "role": "service", "name": ""}

_log = logging.getLogger(__name__)


def make_engine(config: ServiceConfig) -> MediaEngine | None:
    """The engine that the configuration names; another one is made here too."""
    if config.media.engine == "janus":
        return JanusEngine(config.media, config.media.interface or _own_address(config.host))
    return None


def _own_address(host: str) -> str:
    """The address to take media at: that of the service, where it is one that an engine can use."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ""
    return "" if address.is_loopback or address.is_unspecified else host


class MediaPart(Part):
    """The engine's life, and every room's connection to it."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self.engine: MediaEngine | None = None
        self.is_up = False
        self.sessions = 0
        """How often an engine came up: what pages had at an earlier one is gone."""
        self.losses = 0
        self.trouble = ""
        self.rooms: dict[str, RoomMedia] = {}
        self._reader = make_engine(service.config)
        """Never started: it only knows whose the files are that its like has recorded."""
        self._task: asyncio.Task[None] | None = None
        self._tended = 0

    @property
    def is_wanted(self) -> bool:
        """Whether the configuration names an engine."""
        return bool(self.service.config.media.engine)

    async def start(self) -> None:
        """Begins to start the engine; rooms do without until it is up."""
        if self.is_wanted:
            self._task = asyncio.create_task(self._keep_engine(), name="media engine")
        for media in self.rooms.values():
            media.collect_old()

    async def _keep_engine(self) -> None:
        """Starts the engine again whenever it is lost, ever more slowly where it does not hold."""
        failed = 0
        while True:
            engine = make_engine(self.service.config)
            if engine is None:
                return
            began_s = self.service.config.clock_s()
            try:
                await engine.start()
                self._change(engine)
                await engine.wait_lost()
                self.losses += 1
                _log.error("the media engine is lost; it is started again")
                self._warn()
            except MediaEngineBroken as error:
                if str(error) != self.trouble:
                    _log.error("%s", error)
                    self._warn()
                self.trouble = str(error)
            except Exception:  # noqa: BLE001 - the top of this task; logged, /health tells, and it is tried again
                _log.exception("the media engine failed")
            finally:
                self._change(None)
                await engine.close()
            failed = 0 if self.service.config.clock_s() - began_s > _STEADY_S else failed + 1
            await asyncio.sleep(_BACKOFF_S[min(failed, len(_BACKOFF_S)) - 1 if failed else 0])

    def _change(self, engine: MediaEngine | None) -> None:
        self.engine, self.is_up = engine, engine is not None
        if engine is not None:
            self.sessions += 1
            self.trouble = ""
        for media in list(self.rooms.values()):
            media.engine_changed()

    async def tend(self) -> None:
        """What time brings about in calls, and the size of recordings."""
        self._tended += 1
        now_us = self.service.config.now_us()
        for media in list(self.rooms.values()):
            media.room.calls.poll(now_us)
            media.tend()
            if self._tended % _SIZE_EACH == 0:
                await media.check_recording()

    async def stop(self) -> None:
        """Ends the engine. Recordings that run are taken up at the next start: the rooms' records are closed."""
        for media in list(self.rooms.values()):
            await media.stop()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def room_opened(self, room: Room) -> None:
        """The room's call may use the engine."""
        media = self.rooms[room.ident] = RoomMedia(self, room)
        room.is_held = lambda: media.is_busy
        if self.is_wanted:
            room.calls.engine = media

    async def consent_withdrawn(self, consent: Consent) -> None:
        """Who withdraws outside the call's own channel ends the recording like who does it there."""
        media = self.rooms.get(consent.room)
        if consent.kind == "media" and media is not None:
            media.room.calls.withdraw_consent(consent.person, self.service.config.now_us())

    def room_closed(self, room: Room, _code: str) -> None:
        """The call is over."""
        media = self.rooms.pop(room.ident, None)
        if media is not None:
            media.end()

    def person_of_file(self, name: str) -> int:
        """Whose media a recorded file holds; 0 where that is not known."""
        return (self._reader.person_of_file(name) if self._reader is not None else None) or 0

    def _warn(self) -> None:
        """Those who run the service learn that large calls and recordings do not go."""
        title = Text("The media engine has failed", "媒体服务发生故障")
        text = Text(
            "Calls of more than three experts and recordings wait until it is back.",
            "超过三名专家的通话和录制须等其恢复。",
        )
        self.service.notices.publish(Notice("service", "high", title, text, self.service.config.now_us()))

    def warn_unrecorded(self, ident: str) -> None:
        """They learn that a call was not recorded though everybody had agreed."""
        title = Text("A call could not be recorded", "有通话未能录制")
        text = Text(
            "The media engine refused, or writes to a disk that this service does not see; its log says more.",
            "媒体服务拒绝录制，或其写入的磁盘对本服务不可见；详见媒体服务日志。",
        )
        self.service.notices.publish(Notice("service", "high", title, text, self.service.config.now_us(), room=ident))

    def troubles(self) -> list[Trouble]:
        """``media-engine-down``: it is wanted and not there."""
        return ["media-engine-down"] if self.is_wanted and not self.is_up else []

    def metrics(self) -> str:
        """Calls and the engine."""
        desks = [media.room.calls for media in self.rooms.values()]
        figures: Sequence[tuple[str, str, str, int]] = (
            ("huizhen_calls", "gauge", "Rooms with a call", sum(desk.mode != "none" for desk in desks)),
            ("huizhen_calls_sfu", "gauge", "Calls by the engine", sum(desk.mode == "sfu" for desk in desks)),
            ("huizhen_callers", "gauge", "People in calls", sum(len(desk.people) for desk in desks)),
            ("huizhen_calls_recording", "gauge", "Calls recorded", sum(bool(one.recording_since_us) for one in desks)),
            ("huizhen_media_engine_up", "gauge", "Whether the media engine runs", int(self.is_up)),
            ("huizhen_media_engine_losses_total", "counter", "How often it was lost", self.losses),
        )
        return "".join(
            f"# HELP {name} {what}\n# TYPE {name} {kind}\n{name} {value}\n" for name, kind, what, value in figures
        )


class RoomMedia:
    """One room's call at the engine. What pages and the desk say is done in order, one after the other."""

    def __init__(self, part: MediaPart, room: Room) -> None:
        self.room = room
        self._part = part
        self._folder = room.journal.path.with_suffix(".media").absolute()  # Janus runs in a folder of its own
        self._asked: asyncio.Queue[tuple[int, Sfu, Say] | None] = asyncio.Queue()
        self._worker: asyncio.Task[None] | None = None
        self._collectors: set[asyncio.Task[None]] = set()
        self._media: MediaRoom | None = None
        self._present: set[int] = set()
        self._recording: Path | None = None
        self._unproven_since_s: float | None = None
        self._is_ended = False

    # -- what the desk knows of us -----------------------------------------------------------------------------------

    @property
    def is_ready(self) -> bool:
        """Whether the engine is up."""
        return self._part.is_up

    @property
    def is_busy(self) -> bool:
        """Whether recordings may still come into the room's record."""
        works = self._worker is not None and not self._worker.done()
        return self._recording is not None or works or bool(self._collectors)

    @property
    def session(self) -> int:
        """Which run of the engine this is."""
        return self._part.sessions

    def ask(self, person: int, message: Sfu, say: Say) -> None:
        """A page's word, behind those that came before."""
        if self._asked.qsize() >= _MAX_ASKED:
            say({"error": TooMuch.code})
            return
        self._asked.put_nowait((person, message, say))
        self._work()

    def heed(self) -> None:
        """The desk has changed."""
        if self._media is not None or self._recording is not None or self.room.calls.mode == "sfu":
            self._asked.put_nowait(None)
            self._work()

    def _work(self) -> None:
        if (self._worker is None or self._worker.done()) and not self._is_ended:
            self._worker = asyncio.create_task(self._serve(), name="media of a room")

    # -- the work ----------------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        while not self._asked.empty():
            asked = self._asked.get_nowait()
            error: ConsultError | None = None
            try:
                await (self._settle() if asked is None else self._answer(*asked))
            except ConsultError as failed:
                error = failed
                _log.info("room %s: %s", self.room.ident, failed)
            except Exception:  # noqa: BLE001 - the top of this task; logged, and the page is told
                _log.exception("media of a room failed")
                error = NoMediaEngine()
            if error is not None and asked is not None:
                asked[2]({"error": error.code})

    async def _settle(self) -> None:
        """Brings the engine to what the desk wants: a room or none, without those who left, recording or not."""
        desk, engine = self.room.calls, self._part.engine
        if engine is None:
            return
        if desk.mode != "sfu":
            await self._stop_recording()
            await self._close_media()
            return
        if self._media is None:
            self._media = await engine.open_room()
            self._media.on_change = self._tell_change
            self._present.clear()
        if not desk.may_record:
            await self._stop_recording()
        for person in self._present - set(desk.people):
            self._present.discard(person)
            await self._media.leave(person)
        if desk.may_record and self._recording is None:
            await self._start_recording()

    async def _answer(self, person: int, message: Sfu, say: Say) -> None:
        desk = self.room.calls
        if person not in desk.people:
            raise NotInCall
        if self._media is None or self._present - set(desk.people):
            await self._settle()
        media = self._media
        if media is None:
            raise NoMediaEngine
        self._present.add(person)
        body = message.body
        match message.op:
            case "publish":
                say({"body": {"sdp": await media.publish(person, body["sdp"])}})
            case "watch":
                offer = await media.watch(person, body["people"], fresh=body["fresh"])
                feeds = [feed.to_json() for feed in offer.feeds if feed.person]
                say({"body": {"sdp": offer.sdp, "feeds": feeds, "fresh": offer.is_fresh}})
            case "watching":
                await media.take_answer(person, body["sdp"])
                say({"body": {}})
            case "candidate":
                await media.take_candidate(person, body["of"], body)
            case "unpublish":
                await media.unpublish(person)
                say({"body": {}})

    def _tell_change(self) -> None:
        """Who watches has to ask again: other people's media are there now."""
        for person in self.room.calls.people:
            member = self.room.members.get(person)
            if member is not None:
                member.outbox.say('{"type":"sfu","id":"","body":{"changed":true}}')

    async def _close_media(self) -> None:
        media, self._media = self._media, None
        self._present.clear()
        if media is not None:
            await media.close()

    def engine_changed(self) -> None:
        """The engine came up, or was lost with everything in it."""
        if not self._part.is_up:
            self._media = None
            self._present.clear()
            if self._recording is not None:
                self._recording = None
                self.room.calls.take_recording(False, self._part.service.config.now_us())
                self.collect_old()
        self.room.calls.take_engine_state(self._part.service.config.now_us())

    def tend(self) -> None:
        """Tries again what the engine refused."""
        if self._part.is_up and self._media is None and self.room.calls.mode == "sfu":
            self.heed()

    # -- recordings --------------------------------------------------------------------------------------------------

    async def _start_recording(self) -> None:
        now_us = self._part.service.config.now_us()
        if self._kept_bytes() > self._most_bytes:
            self.room.calls.break_off_recording("full", now_us)
            return
        folder = self._folder / str(now_us)
        try:
            await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True, mode=0o700)
            if self._media is None or not self.room.calls.may_record:
                return
            self._recording, self._unproven_since_s = folder, None
            await self._media.start_recording(folder)
        except (ConsultError, OSError) as error:
            # The folder stays ours: whatever the engine has begun all the same is stopped next.
            _log.error("room %s: no recording: %s", self.room.ident, error)
            self._give_up()
        except BaseException:
            self._recording = None
            raise
        else:
            self.room.calls.take_recording(True, now_us)

    def _give_up(self) -> None:
        """Nobody shall believe that they are recorded: it is over, for everybody to see."""
        self.room.calls.break_off_recording("failed", self._part.service.config.now_us())
        self._part.warn_unrecorded(self.room.ident)

    async def _stop_recording(self) -> None:
        folder, self._recording = self._recording, None
        if folder is None:
            return
        try:
            if self._media is not None:
                await self._media.stop_recording()
        except ConsultError:
            # Not known to have stopped: the call itself is ended at the engine, which stops it for certain.
            await self._close_media()
            raise
        finally:
            self.room.calls.take_recording(False, self._part.service.config.now_us())
            self._collect(folder)

    @property
    def _most_bytes(self) -> int:
        return self._part.service.config.media.record_mb * 1_000_000

    def _kept_bytes(self) -> int:
        """Of the room's recordings that its record has."""
        return sum(int(body.get("bytes") or 0) for body in self.room.files.values() if "recording" in body)

    async def check_recording(self) -> None:
        """Ends a recording with which the room's become too large, and one of which nothing is to be found."""
        folder = self._recording
        if folder is None:
            return
        size, is_there = await asyncio.to_thread(recorded_so_far, folder)
        if folder != self._recording:
            return
        if self._kept_bytes() + size > self._most_bytes:
            self.room.calls.break_off_recording("full", self._part.service.config.now_us())
        now_s = self._part.service.config.clock_s()
        if is_there or self._media is None or not self._media.publishers:
            self._unproven_since_s = None
        elif self._unproven_since_s is None:
            self._unproven_since_s = now_s
        elif now_s - self._unproven_since_s >= _UNPROVEN_S:
            _log.error("room %s: nothing of its recording is to be found", self.room.ident)
            self._give_up()

    def collect_old(self) -> None:
        """Takes up recordings that an engine or a service which was killed left behind."""
        if self._folder.is_dir():
            for folder in sorted(self._folder.iterdir()):
                if folder.is_dir() and folder != self._recording:
                    self._collect(folder)

    def _collect(self, folder: Path) -> None:
        """Brings recorded files into the room's record, which waits for them."""
        if not self._is_ended:
            task = asyncio.create_task(self._bring_in(folder), name="recordings of a room")
            self._collectors.add(task)
            task.add_done_callback(self._collectors.discard)

    async def _bring_in(self, folder: Path) -> None:
        """What the engine wrote goes only when the record has it: whoever is killed before does it again."""
        room, now_us = self.room, self._part.service.config.now_us
        files = RoomFiles(room.journal.path.with_suffix(".files"), room.journal.files)
        try:
            for path in await asyncio.to_thread(recorded_files, folder):
                body = await asyncio.to_thread(keep_recorded, files, path, self._part.person_of_file(path.name))
                if body is not None and body["sha256"] not in room.files:
                    room.happen("file", _SERVICE, now_us(), ident=body["sha256"], text=body["name"], body=body)
            while room.has_unwritten:  # noqa: ASYNC110 - the keeper writes ten times a second and tells nobody
                await asyncio.sleep(_UNWRITTEN_S)
            await asyncio.to_thread(clear_recorded, folder, is_secret=room.journal.files is not None)
            with contextlib.suppress(OSError):
                self._folder.rmdir()
        except (OSError, ConsultError) as error:
            _log.error("a recording was not brought into the record of room %s: %s", room.ident, error)
        except Exception:  # noqa: BLE001 - the top of this task; the files stay for the next start
            _log.exception("a recording was not brought into the record")

    # -- the end -----------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """The room is closed."""
        self._is_ended = True
        if self._worker is not None:
            self._worker.cancel()
        media, self._media = self._media, None
        if media is not None and self._part.is_up:
            task = asyncio.create_task(media.close())
            self._collectors.add(task)
            task.add_done_callback(self._collectors.discard)

    async def stop(self) -> None:
        """The service ends."""
        self._is_ended = True
        tasks = [task for task in (self._worker, *self._collectors) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
