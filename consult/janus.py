"""Janus as the media engine: its API over one websocket, its videoroom plugin for calls.

Standard: the Janus WebSockets API (subprotocol ``janus-protocol``) and the VideoRoom plugin of Janus 1.x, where one
subscription carries the media of several publishers. Measured: a feed can be subscribed to only after its DTLS is up
(``webrtcup``), an ``update`` before the last offer's answer is put off (``updating``), and with loopback as its only
address Janus silently takes all others.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import re
import secrets
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from consult.callerrors import MediaEngineBroken, MediaEngineFailed
from consult.janusprocess import JanusProcess
from consult.mediaengine import Feed, Offer
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from consult.mediaconfig import MediaConfig

__all__ = ["JanusEngine", "JanusRoom"]

_ANSWER_S: Final = 10.0
_KEEPALIVE_S: Final = 5.0
_PLUGIN: Final = "janus.plugin.videoroom"
_MOST_PUBLISHERS: Final = 60
_FINGERPRINT: Final = re.compile(r"^a=fingerprint:(.+)$", re.MULTILINE)
_FEEDS_OF_PERSON: Final = 10_000
"""A feed's number is the person's times this, and how often they have published: an old one may still be going."""

_log = logging.getLogger(__name__)


class _Line:
    """The websocket: questions with their answers, and what comes unasked."""

    def __init__(self, url: str, secret: str) -> None:
        self._url = url
        self._secret = secret
        self._http: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._numbers = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._unheard: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._session = 0
        self.lost = asyncio.Event()
        self.listeners: dict[int, Callable[[dict[str, Any]], None]] = {}

    async def open(self) -> None:
        self._http = aiohttp.ClientSession()
        try:
            self._socket = await self._http.ws_connect(
                self._url, protocols=("janus-protocol",), max_msg_size=4 << 20, compress=0
            )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            await self._http.close()
            raise MediaEngineBroken(Text("nobody answers at its address", "其地址无应答")) from error
        self._tasks = [asyncio.create_task(self._hear(self._socket), name="janus")]
        try:
            self._session = int((await self._ask({"janus": "create"}))["data"]["id"])
        except MediaEngineFailed as error:
            await self.close()
            raise MediaEngineBroken(error.reason) from error
        self._tasks.append(asyncio.create_task(self._keep_alive(), name="janus keepalive"))

    async def _hear(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        try:
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    continue
                told = message.json()
                number, is_ack = str(told.get("transaction", "")), told.get("janus") == "ack"
                waiting = (self._unheard if is_ack else self._waiting).get(number)
                if waiting is not None and not waiting.done():
                    waiting.set_result(told)
                elif is_ack:
                    continue
                elif told.get("janus") == "timeout":
                    break
                elif (listener := self.listeners.get(told.get("sender", 0))) is not None:
                    listener(told)
        finally:
            self.lost.set()
            for future in (*self._waiting.values(), *self._unheard.values()):
                if not future.done():
                    future.set_exception(MediaEngineFailed(Text("the engine is gone", "媒体服务已断开")))

    async def _keep_alive(self) -> None:
        """Tells Janus that we are there, and learns whether it is: one that hangs is lost, like one that died."""
        while True:
            await asyncio.sleep(_KEEPALIVE_S)
            try:
                await self._ask({"janus": "keepalive", "session_id": self._session}, takes_ack=True)
            except MediaEngineFailed:
                self.lost.set()
                return

    async def _send(self, body: dict[str, Any], number: str | None = None) -> None:
        if self._socket is None or self._socket.closed or self.lost.is_set():
            raise MediaEngineFailed(Text("the engine is gone", "媒体服务已断开"))
        told = {**body, "transaction": number or str(next(self._numbers)), "apisecret": self._secret}
        try:
            await self._socket.send_json(told)
        except (aiohttp.ClientError, ConnectionError) as error:
            raise MediaEngineFailed(Text("the engine is gone", "媒体服务已断开")) from error

    async def _ask(self, body: dict[str, Any], *, takes_ack: bool = False) -> dict[str, Any]:
        """Janus' answer. ``takes_ack``: that it has heard, which comes first where the answer takes its time."""
        number = str(next(self._numbers))
        future = asyncio.get_running_loop().create_future()
        (self._unheard if takes_ack else self._waiting)[number] = future
        try:
            await self._send(body, number)
            async with asyncio.timeout(_ANSWER_S):
                told: dict[str, Any] = await future
        except TimeoutError:
            raise MediaEngineFailed(Text("the engine does not answer", "媒体服务无应答")) from None
        finally:
            self._waiting.pop(number, None)
            self._unheard.pop(number, None)
            if future.done() and not future.cancelled():
                future.exception()
        if told.get("janus") == "error":
            raise MediaEngineFailed(str(told.get("error", {}).get("reason", "")))
        data = told.get("plugindata", {}).get("data", {})
        if "error_code" in data:
            raise MediaEngineFailed(str(data.get("error", data["error_code"])))
        return told

    async def attach(self) -> int:
        told = await self._ask({"janus": "attach", "session_id": self._session, "plugin": _PLUGIN})
        return int(told["data"]["id"])

    async def detach(self, handle: int) -> None:
        self.listeners.pop(handle, None)
        with contextlib.suppress(MediaEngineFailed):
            await self._ask({"janus": "detach", "session_id": self._session, "handle_id": handle})

    async def message(self, handle: int, body: dict[str, Any], jsep: dict[str, str] | None = None) -> dict[str, Any]:
        asked = {"janus": "message", "session_id": self._session, "handle_id": handle, "body": body}
        return await self._ask(asked if jsep is None else {**asked, "jsep": jsep})

    async def trickle(self, handle: int, candidate: dict[str, Any]) -> None:
        await self._send({"janus": "trickle", "session_id": self._session, "handle_id": handle, "candidate": candidate})

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._socket is not None:
            await self._socket.close()
        if self._http is not None:
            await self._http.close()
        self.lost.set()


class _Publisher:
    def __init__(self, handle: int, feed: int, fingerprint: str) -> None:
        self.handle, self.feed, self.fingerprint = handle, feed, fingerprint
        self.is_up = False


class _Watcher:
    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.feeds: set[int] = set()
        self.told: tuple[Feed, ...] = ()
        self.is_answered = True


class JanusRoom:
    """One call as a room of the videoroom plugin."""

    def __init__(self, line: _Line, handle: int, number: int, secret: str) -> None:
        self._line = line
        self._handle = handle
        self._number = number
        self._secret = secret
        self._publishers: dict[int, _Publisher] = {}
        self._watchers: dict[int, _Watcher] = {}
        self._published = itertools.count(1)
        self.on_change: Callable[[], None] = lambda: None

    @property
    def publishers(self) -> Collection[int]:
        """Whose media can be watched now."""
        return [person for person, one in self._publishers.items() if one.is_up]

    @property
    def watchers(self) -> Collection[int]:
        """Who watches."""
        return list(self._watchers)

    def _room(self, request: str, **more: Any) -> dict[str, Any]:
        return {"request": request, "room": self._number, **more}

    async def create(self, *, bitrate: int, admin_key: str) -> None:
        """Makes the room at Janus; ``bitrate`` in bit/s."""
        body = self._room(
            "create",
            secret=self._secret,
            pin=self._secret,
            is_private=True,
            publishers=_MOST_PUBLISHERS,
            bitrate=bitrate,
            bitrate_cap=True,
            fir_freq=10,
            audiocodec="opus",
            videocodec="vp8",
            lock_record=True,
            notify_joining=False,
        )
        await self._line.message(self._handle, body | ({"admin_key": admin_key} if admin_key else {}))

    async def publish(self, person: int, sdp: str) -> str:
        """As in :class:`consult.mediaengine.MediaRoom`; the fingerprint tells an offer of the same connection."""
        found = _FINGERPRINT.search(sdp.replace("\r", ""))
        fingerprint = found.group(1) if found else ""
        jsep = {"type": "offer", "sdp": sdp}
        old = self._publishers.get(person)
        if old is not None and old.fingerprint == fingerprint:
            told = await self._line.message(old.handle, {"request": "configure"}, jsep)
            return _sdp_of(told)
        await self.unpublish(person)
        handle = await self._line.attach()
        feed = person * _FEEDS_OF_PERSON + next(self._published)
        publisher = self._publishers[person] = _Publisher(handle, feed, fingerprint)
        self._line.listeners[handle] = lambda told: self._hear_publisher(person, publisher, told)
        try:
            body = self._room("joinandconfigure", ptype="publisher", id=feed, pin=self._secret)
            return _sdp_of(await self._line.message(handle, body, jsep))
        except BaseException:
            self._publishers.pop(person, None)
            await self._line.detach(handle)
            raise

    def _hear_publisher(self, person: int, publisher: _Publisher, told: dict[str, Any]) -> None:
        is_up = {"webrtcup": True, "hangup": False, "detached": False}.get(told.get("janus", ""))
        if is_up is None or is_up == publisher.is_up or self._publishers.get(person) is not publisher:
            return
        publisher.is_up = is_up
        self.on_change()

    async def unpublish(self, person: int) -> None:
        """Ends what somebody publishes."""
        publisher = self._publishers.pop(person, None)
        if publisher is not None:
            await self._line.detach(publisher.handle)
            if publisher.is_up:
                self.on_change()

    def _wanted(self, person: int, people: Collection[int]) -> set[int]:
        return {
            one.feed for other, one in self._publishers.items() if one.is_up and other != person and other in people
        }

    async def watch(self, person: int, people: Collection[int], *, fresh: bool = False) -> Offer:
        """As in :class:`consult.mediaengine.MediaRoom`."""
        wanted = self._wanted(person, people)
        watcher = self._watchers.get(person)
        if watcher is not None and (fresh or not watcher.is_answered):
            # Its page gave up half-way; the next offer would wait for an answer that never comes.
            await self._drop_watcher(person)
            watcher = None
        if watcher is None:
            return await self._watch_anew(person, wanted)
        more, less = wanted - watcher.feeds, watcher.feeds - wanted
        if not more and not less:
            return Offer(feeds=watcher.told)
        body: dict[str, Any] = {"request": "update"}
        if more:
            body["subscribe"] = [{"feed": feed} for feed in sorted(more)]
        if less:
            body["unsubscribe"] = [{"feed": feed} for feed in sorted(less)]
        told = await self._line.message(watcher.handle, body)
        watcher.feeds = wanted
        return self._offer(watcher, told, is_fresh=False)

    async def _watch_anew(self, person: int, wanted: set[int]) -> Offer:
        if not wanted:
            return Offer()
        handle = await self._line.attach()
        watcher = _Watcher(handle)
        try:
            streams = [{"feed": feed} for feed in sorted(wanted)]
            body = self._room("join", ptype="subscriber", pin=self._secret, autoupdate=False, streams=streams)
            told = await self._line.message(handle, body)
        except BaseException:
            await self._line.detach(handle)
            raise
        self._watchers[person] = watcher
        watcher.feeds = wanted
        self._line.listeners[handle] = lambda said: self._hear_watcher(person, watcher, said)
        return self._offer(watcher, told, is_fresh=True)

    def _hear_watcher(self, person: int, watcher: _Watcher, told: dict[str, Any]) -> None:
        if told.get("janus") in ("hangup", "detached") and self._watchers.get(person) is watcher:
            watcher.is_answered = False  # the next watch begins anew
            self.on_change()

    def _offer(self, watcher: _Watcher, told: dict[str, Any], *, is_fresh: bool) -> Offer:
        streams = told.get("plugindata", {}).get("data", {}).get("streams")
        if streams is not None:
            watcher.told = tuple(
                Feed(
                    str(stream.get("mid", "")),
                    int(stream.get("feed_id") or 0) // _FEEDS_OF_PERSON if stream.get("active") else 0,
                    str(stream.get("type", "")),
                )
                for stream in streams
            )
        sdp = str(told.get("jsep", {}).get("sdp", ""))
        watcher.is_answered = not sdp
        return Offer(sdp, watcher.told, is_fresh)

    async def take_answer(self, person: int, sdp: str) -> None:
        """Somebody's answer to the last offer."""
        watcher = self._watchers.get(person)
        if watcher is None:
            raise MediaEngineFailed(Text("there was no offer", "没有对应的请求"))
        await self._line.message(watcher.handle, {"request": "start"}, {"type": "answer", "sdp": sdp})
        watcher.is_answered = True

    async def take_candidate(self, person: int, of: str, candidate: dict[str, Any]) -> None:
        """A candidate for somebody's connection; an empty one was the last."""
        peer = self._publishers.get(person) if of == "publish" else self._watchers.get(person)
        if peer is None:
            return  # it came after its connection was given up
        if not candidate.get("candidate"):
            await self._line.trickle(peer.handle, {"completed": True})
            return
        told = {
            "candidate": candidate["candidate"],
            "sdpMid": candidate.get("sdpMid") or "0",
            "sdpMLineIndex": candidate.get("sdpMLineIndex") or 0,
        }
        await self._line.trickle(peer.handle, told)

    async def _drop_watcher(self, person: int) -> None:
        watcher = self._watchers.pop(person, None)
        if watcher is not None:
            await self._line.detach(watcher.handle)

    async def leave(self, person: int) -> None:
        """Somebody is gone with everything."""
        await self._drop_watcher(person)
        await self.unpublish(person)

    async def start_recording(self, folder: Path) -> None:
        """Keeps everything published as ``.mjr`` files: RTP packets as they came."""
        body = self._room("edit", secret=self._secret, new_rec_dir=str(folder))
        await self._line.message(self._handle, body)
        await self._line.message(self._handle, self._room("enable_recording", secret=self._secret, record=True))

    async def stop_recording(self) -> None:
        """Keeps nothing more; the files are closed when Janus answers."""
        await self._line.message(self._handle, self._room("enable_recording", secret=self._secret, record=False))

    async def close(self) -> None:
        """Ends the call at Janus."""
        for person in {*self._publishers, *self._watchers}:
            await self.leave(person)
        with contextlib.suppress(MediaEngineFailed):
            await self._line.message(self._handle, self._room("destroy", secret=self._secret))
        await self._line.detach(self._handle)


class JanusEngine:
    """A Janus, our own or another's.

    Args:
        interface: addresses or interfaces for media of a Janus of our own; empty takes all.
    """

    def __init__(self, config: MediaConfig, interface: str = "") -> None:
        self._config = config
        self._interface = interface
        self._process: JanusProcess | None = None
        self._line: _Line | None = None

    @property
    def pid(self) -> int | None:
        """Our Janus' process."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Starts Janus where it is ours, and opens a session with it."""
        url, secret = self._config.url, self._config.secret
        if not url:
            self._process = JanusProcess(self._config, self._interface)
            await self._process.start()
            url, secret = self._process.url, self._process.secret
        self._line = _Line(url, secret)
        await self._line.open()

    async def open_room(self) -> JanusRoom:
        """A new room with a random number and secret."""
        if self._line is None:
            raise MediaEngineFailed(Text("the engine is gone", "媒体服务已断开"))
        handle = await self._line.attach()
        room = JanusRoom(self._line, handle, secrets.randbelow(1 << 52) + 1, secrets.token_hex(16))
        admin_key = self._process.secret if self._process is not None else ""
        try:
            await room.create(bitrate=self._config.bitrate_kbps * 1000, admin_key=admin_key)
        except BaseException:
            await self._line.detach(handle)
            raise
        return room

    async def wait_lost(self) -> None:
        """Waits until Janus or the line to it is gone."""
        if self._line is not None:
            await self._line.lost.wait()

    async def close(self) -> None:
        """Ends the session, and Janus where it is ours."""
        if self._line is not None:
            await self._line.close()
        if self._process is not None:
            await self._process.stop()

    def person_of_file(self, name: str) -> int | None:
        """Whose media a recorded file holds, by its name."""
        found = re.fullmatch(r"videoroom-\d+-user-(\d+)-\d+-(?:audio|video)-\d+\.mjr", name)
        return int(found.group(1)) // _FEEDS_OF_PERSON if found else None


def _sdp_of(told: dict[str, Any]) -> str:
    sdp = told.get("jsep", {}).get("sdp")
    if not isinstance(sdp, str):
        raise MediaEngineFailed(Text("the engine gave no answer", "媒体服务未给出应答"))
    return sdp
