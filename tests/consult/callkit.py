"""Peers of a call without a page: aiortc for media, the room's own websocket for what is said."""

import asyncio
import contextlib
import json
import shutil
import socket

import aiohttp
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from aiortc.rtcconfiguration import RTCIceTransportPolicy
from servicekit import redeem

JANUS = shutil.which("janus")
WAIT_S = 60


def own_address():
    """An address of this machine that is not loopback, which Janus does not use; None without one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.200", 9))
        found = probe.getsockname()[0]
        return None if found.startswith("127.") else found
    return None


class Caller:
    """Somebody with a page in the room, as far as the call goes.

    Args:
        words: everything heard, as JSON. calls: how the call stood, the newest last.
    """

    def __init__(self, http, url, room):
        self.http = http
        self.url = url
        self.room = room
        self.socket = None
        self.person = 0
        self.words = []
        self.call = {}
        self.frames = {}
        self.kinds = {}
        self._peers = []
        self._tasks = []
        self._numbers = 0

    async def enter(self):
        self.socket = await self.http.ws_connect(f"{self.url}/r/{self.room}/watch")
        self._tasks.append(asyncio.create_task(self._hear()))
        await self.until(lambda: self.person)
        return self

    async def _hear(self):
        async for message in self.socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                told = json.loads(message.data)
                if told["type"] == "welcome":
                    self.person = told["you"]["id"]
                if told["type"] == "call":
                    self.call = told
                self.words.append(told)

    async def until(self, condition, timeout_s=WAIT_S):
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110 - what is waited for comes from other tasks
                await asyncio.sleep(0.02)

    async def say(self, kind, **body):
        await self.socket.send_json({"type": kind, **body})

    async def join(self, *, audio=True, video=True):
        await self.say("call", join=True, audio=audio, video=video, level="video")
        await self.until(lambda: any(one["id"] == self.person for one in self.call.get("people", ())))

    def heard(self, kind, **more):
        """Words of a kind whose fields are these."""
        return [word for word in self.words if word["type"] == kind and more.items() <= word.items()]

    def events(self, kind):
        return [word for word in self.words if word["type"] == "event" and word["kind"] == kind]

    async def ask(self, op, **body):
        """A word to the engine; its answer, or its error."""
        self._numbers += 1
        ident = f"q{self._numbers}"
        await self.say("sfu", id=ident, op=op, body=body)
        await self.until(lambda: self.heard("sfu", id=ident))
        told = self.heard("sfu", id=ident)[0]
        return told.get("body", told.get("error"))

    def peer(self, *, relay_only=False):
        servers = [RTCIceServer(**server) for server in self.call.get("ice", ())]
        policy = RTCIceTransportPolicy.RELAY if relay_only else RTCIceTransportPolicy.ALL
        peer = RTCPeerConnection(RTCConfiguration(iceServers=servers, iceTransportPolicy=policy))
        self._peers.append(peer)
        return peer

    async def publish(self, *, audio=True, video=True):
        peer = self.peer(relay_only=self.call["relay_only"])
        if audio:
            peer.addTrack(AudioStreamTrack())
        if video:
            peer.addTrack(VideoStreamTrack())
        await peer.setLocalDescription(await peer.createOffer())
        answer = await self.ask("publish", sdp=peer.localDescription.sdp)
        if isinstance(answer, str):
            return answer
        await peer.setRemoteDescription(RTCSessionDescription(sdp=answer["sdp"], type="answer"))
        return peer

    async def watch(self, people, peer=None):
        """Takes the engine's offer and answers it; gives the connection and what it carries."""
        answer = await self.ask("watch", people=list(people))
        if isinstance(answer, str) or not answer["sdp"]:
            return peer, answer
        if answer["fresh"] or peer is None:
            peer = self.peer(relay_only=self.call["relay_only"])
            peer.on("track", lambda track: self._tasks.append(asyncio.create_task(self._count(track))))
        await peer.setRemoteDescription(RTCSessionDescription(sdp=answer["sdp"], type="offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        assert await self.ask("watching", sdp=peer.localDescription.sdp) == {}
        return peer, answer

    async def watch_all(self, people, kinds=("video",), peer=None):
        """Watches again until there is a feed of everybody; gives the connection."""
        wanted = {(person, kind) for person in people for kind in kinds}
        async with asyncio.timeout(WAIT_S):
            while True:
                peer, answer = await self.watch(people, peer)
                feeds = [] if isinstance(answer, str) else answer["feeds"]
                if wanted <= {(feed["person"], feed["kind"]) for feed in feeds}:
                    return peer
                await asyncio.sleep(0.1)

    async def _count(self, track):
        with contextlib.suppress(Exception):
            while True:
                frame = await track.recv()
                self.frames[track.id] = self.frames.get(track.id, 0) + 1
                self.kinds[track.id] = track.kind
                del frame

    def count(self, kind):
        return [n for ident, n in self.frames.items() if self.kinds[ident] == kind]

    async def leave(self):
        for task in self._tasks:
            task.cancel()
        for peer in self._peers:
            await peer.close()
        if self.socket is not None:
            await self.socket.close()


@contextlib.asynccontextmanager
async def callers(service, roles, agent):
    """People of these roles in the agent's room, each with a websocket; all leave at the end."""
    found = []
    async with contextlib.AsyncExitStack() as stack:
        for role in roles:
            jar = aiohttp.CookieJar(unsafe=True)
            http = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=jar))
            invite = await agent.invite(role)
            status, _, _ = await redeem(http, service.url, invite.url.partition("#")[2], name=role)
            assert status == 200
            found.append(await Caller(http, service.url, agent.room).enter())
        try:
            yield found
        finally:
            for caller in found:
                await caller.leave()


async def connect_mesh(one, other, *, track=None, relay_only=False):
    """Two callers connect by signals alone, as two pages would; gives both connections."""
    peers = {}
    for mine in (one, other):
        peer = peers[mine] = mine.peer(relay_only=relay_only)
        peer.on("track", lambda got, mine=mine: mine._tasks.append(asyncio.create_task(mine._count(got))))
    first, second = peers[one], peers[other]
    first.addTrack(track or VideoStreamTrack())
    await first.setLocalDescription(await first.createOffer())
    await one.say("signal", to=other.person, body={"kind": "offer", "sdp": first.localDescription.sdp, "call": 1})
    await other.until(lambda: other.heard("signal"))
    offer = other.heard("signal")[-1]["body"]
    await second.setRemoteDescription(RTCSessionDescription(sdp=offer["sdp"], type="offer"))
    await second.setLocalDescription(await second.createAnswer())
    await other.say("signal", to=one.person, body={"kind": "answer", "sdp": second.localDescription.sdp, "call": 1})
    await one.until(lambda: one.heard("signal"))
    answer = one.heard("signal")[-1]["body"]
    await first.setRemoteDescription(RTCSessionDescription(sdp=answer["sdp"], type="answer"))
    return first, second
