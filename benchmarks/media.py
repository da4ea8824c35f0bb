"""Sound and picture: what the media engine costs, and how soon a picture is there.

``engine``: one camera of 640x480 at 25 pictures a second goes to six experts, through Janus as the service runs it,
and in the same run through a relay made with aiortc, which decodes once and encodes for each viewer (its
``MediaRelay``). What is measured is the processor time of the relaying process alone, from /proc; beside it stands how
many pictures each viewer got, because a starved machine relays less and looks cheap. Camera and viewers are processes
of their own: the camera sends pictures that were encoded before, the viewers count whole pictures without decoding.

``first``: from joining the call with a camera to the first decoded picture at an expert who is in it: with the room
service, by signals as two pages send them, with aiortc at both ends; browser to browser, and by the engine.

``pages``: the same with real pages (``mediapages.py``): from the tap on the phone to the picture at the expert.

    python benchmarks/media.py [engine] [first] [pages] [--viewers 6] [--seconds 10] [--times 5]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fractions
import io
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import aiortc.rtcrtpreceiver
import av
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaRelay
from aiortc.mediastreams import VideoStreamTrack
from roomprocesses import Child, questions

from consult.invites import Role
from consult.janus import JanusEngine
from consult.mediaconfig import MediaConfig
from consult.mediarooms import MediaPart
from consult.service import ServiceConfig, running_service

if TYPE_CHECKING:
    import queue
    from collections.abc import AsyncIterator
    from multiprocessing.connection import Connection

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "consult"))

_TICKS = os.sysconf("SC_CLK_TCK")
_WIDTH, _HEIGHT, _FPS, _KBPS = 640, 480, 25, 800
_SETTLE_S = 3.0
_WAIT_S = 60.0
_JANUS_TARGET, _FIRST_TARGET_S = 0.15, 1.5


# -- pictures --------------------------------------------------------------------------------------------------------


def encoded_pictures(seconds: int = 4) -> list[bytes]:
    """Pictures of a moving pattern as VP8, a key frame each second."""
    out = io.BytesIO()
    found: list[av.Packet] = []
    with av.open(out, "w", format="ivf") as container:
        stream = container.add_stream("libvpx", rate=_FPS)
        stream.width, stream.height, stream.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
        stream.bit_rate = _KBPS * 1000
        stream.codec_context.gop_size = _FPS
        stream.options = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
        noise = np.random.default_rng(9).integers(0, 60, (_HEIGHT, _WIDTH, 3), dtype=np.uint8)
        across = np.linspace(0, 180, _WIDTH).astype(np.uint8)[None, :, None]
        for n in range(seconds * _FPS):
            pixels = np.roll(noise + across, 5 * n, axis=1)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            found += stream.encode(frame)
        found += stream.encode()
    return [bytes(packet) for packet in found]


class Camera(MediaStreamTrack):
    """Sends encoded pictures in a loop, in real time."""

    kind = "video"

    def __init__(self, pictures: list[bytes]) -> None:
        super().__init__()
        self._pictures = pictures
        self._sent = 0
        self._began_s: float | None = None

    async def recv(self) -> av.Packet:
        if self._began_s is None:
            self._began_s = time.monotonic()
        await asyncio.sleep(max(0.0, self._began_s + self._sent / _FPS - time.monotonic()))
        data = self._pictures[self._sent % len(self._pictures)]
        packet = av.Packet(data)
        packet.time_base = fractions.Fraction(1, 90_000)
        packet.pts = packet.dts = self._sent * (90_000 // _FPS)
        self._sent += 1
        return packet


def _count_only(_loop: Any, input_q: queue.Queue[Any], *_: Any) -> None:
    """In the place of aiortc's decoder: whole pictures are counted, not decoded."""
    while input_q.get() is not None:
        _counted.append(1)


_counted: list[int] = []


# -- processes -------------------------------------------------------------------------------------------------------


def _peer() -> RTCPeerConnection:
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))


async def _camera(pipe: Connection) -> None:
    """One person with a camera."""
    peer = _peer()
    track = Camera(encoded_pictures())
    async for question in questions(pipe):
        match question:
            case ("offer",):
                peer.addTrack(track)
                await peer.setLocalDescription(await peer.createOffer())
                pipe.send(peer.localDescription.sdp)
            case ("answer", sdp):
                await peer.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="answer"))
                pipe.send(None)


async def _viewers(pipe: Connection) -> None:
    """All who look on."""
    aiortc.rtcrtpreceiver.decoder_worker = _count_only
    peers: list[RTCPeerConnection] = []
    async for question in questions(pipe):
        match question:
            case ("offer", sdp):
                peer = _peer()
                peers.append(peer)
                await peer.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="offer"))
                await peer.setLocalDescription(await peer.createAnswer())
                pipe.send(peer.localDescription.sdp)
            case ("pictures",):
                pipe.send(len(_counted))


async def _aiortc_relay(pipe: Connection) -> None:
    """The baseline: what a service would be that relays media itself with aiortc."""
    relay, camera = MediaRelay(), _peer()
    tracks: list[MediaStreamTrack] = []
    peers: list[RTCPeerConnection] = []
    camera.on("track", tracks.append)
    async for question in questions(pipe):
        match question:
            case ("publish", sdp):
                await camera.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="offer"))
                await camera.setLocalDescription(await camera.createAnswer())
                pipe.send(camera.localDescription.sdp)
            case ("watch",):
                peer = _peer()
                peers.append(peer)
                peer.addTrack(relay.subscribe(tracks[0]))
                await peer.setLocalDescription(await peer.createOffer())
                pipe.send(peer.localDescription.sdp)
            case ("watching", sdp):
                await peers[-1].setRemoteDescription(RTCSessionDescription(sdp=sdp, type="answer"))
                pipe.send(None)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


async def _measured(name: str, pid: int, viewers: Child, count: int, seconds: float) -> tuple[float, float]:
    """Prints what a relaying process costs; returns its share of a core, and milliseconds for each picture sent."""
    async with asyncio.timeout(_WAIT_S):
        while await viewers.ask("pictures") < count:  # noqa: ASYNC110 - it happens in another process
            await asyncio.sleep(0.1)
    await asyncio.sleep(_SETTLE_S)
    pictures, cpu_s, began_s = await viewers.ask("pictures"), _cpu_s(pid), time.monotonic()
    await asyncio.sleep(seconds)
    took_s = time.monotonic() - began_s
    share = (_cpu_s(pid) - cpu_s) / took_s
    rate = (await viewers.ask("pictures") - pictures) / took_s / count
    each_ms = 1000 * share / max(rate * count, 1e-6)
    print(
        f"  {name:<16} {100 * share:6.1f} % of a core   {rate:5.1f} pictures/s at each of {count} viewers"
        f"   {each_ms:.2f} ms for each picture sent"
    )
    return share, each_ms


async def engine_part(viewer_count: int, seconds: float) -> bool:
    """Janus beside aiortc; whether Janus is within its figure."""
    from callkit import own_address

    print(f"engine: one camera {_WIDTH}x{_HEIGHT} at {_FPS}/s, {_KBPS} kbit/s, to {viewer_count} viewers")
    engine = JanusEngine(MediaConfig(engine="janus", ports=(43_000, 43_400)), own_address() or "")
    await engine.start()
    camera, viewers = Child(_camera), Child(_viewers)
    try:
        room = await engine.open_room()
        await camera.ask("answer", await room.publish(1, await camera.ask("offer")))
        async with asyncio.timeout(_WAIT_S):
            while not room.publishers:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)
        for person in range(2, viewer_count + 2):
            offer = await room.watch(person, [1])
            await room.take_answer(person, await viewers.ask("offer", offer.sdp))
        janus, janus_ms = await _measured("Janus", engine.pid or 0, viewers, viewer_count, seconds)
    finally:
        camera.kill()
        viewers.kill()
        await engine.close()
    camera, viewers, relay = Child(_camera), Child(_viewers), Child(_aiortc_relay)
    try:
        await camera.ask("answer", await relay.ask("publish", await camera.ask("offer")))
        for _ in range(viewer_count):
            await relay.ask("watching", await viewers.ask("offer", await relay.ask("watch")))
        _, aiortc_ms = await _measured("aiortc relay", relay.process.pid or 0, viewers, viewer_count, seconds)
    finally:
        for child in (camera, viewers, relay):
            child.kill()
    good = janus <= _JANUS_TARGET
    print(f"  a picture costs Janus 1/{aiortc_ms / max(janus_ms, 1e-6):.0f} of that")
    print(f"  wanted: at most {100 * _JANUS_TARGET:.0f} % {'met' if good else 'MISSED'}")
    return good


# -- the first picture -----------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _room_with_people(media: MediaConfig, roles: tuple[str, ...]) -> AsyncIterator[list[Any]]:
    """A service with a room, and people whose pages are websockets."""
    from callkit import Caller
    from servicekit import redeem

    with tempfile.TemporaryDirectory() as folder:
        async with contextlib.AsyncExitStack() as stack:
            config = ServiceConfig(data=Path(folder), media=media)
            service = await stack.enter_async_context(running_service(config))
            (part,) = [part for part in service.parts if isinstance(part, MediaPart)]
            async with asyncio.timeout(_WAIT_S):
                while media.engine and not part.is_up:  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.02)
            room = service.open_room("be0c4a5e1234")
            people = []
            for role in roles:
                jar = aiohttp.CookieJar(unsafe=True)
                http = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=jar))
                await redeem(http, service.url, service.invite(room.ident, Role(role)).code, name=role)
                people.append(await Caller(http, service.url, room.ident).enter())
            try:
                yield people
            finally:
                for person in people:
                    await person.leave()


async def _first_by_mesh() -> float:
    from callkit import connect_mesh

    async with _room_with_people(MediaConfig(), ("technician", "expert")) as (phone, expert):
        await expert.join(video=False)
        began_s = time.monotonic()
        await phone.join()
        await connect_mesh(phone, expert, track=VideoStreamTrack())
        await expert.until(lambda: sum(expert.count("video")) > 0)
        return time.monotonic() - began_s


async def _first_by_engine() -> float:
    from callkit import own_address

    media = MediaConfig(engine="janus", interface=own_address() or "", ports=(43_000, 43_400))
    async with _room_with_people(media, ("technician", "lead", "expert", "expert", "expert")) as people:
        phone, *experts = people
        for person in experts:
            await person.join(video=False)
        began_s = time.monotonic()
        await phone.join()
        watching = asyncio.create_task(experts[0].watch_all([phone.person]))
        await phone.publish(audio=False)
        await watching
        await experts[0].until(lambda: sum(experts[0].count("video")) > 0)
        return time.monotonic() - began_s


async def first_part(times: int) -> bool:
    """How soon a picture is there; whether that is soon enough."""
    print("first: from joining with a camera to the first decoded picture at an expert, aiortc at both ends")
    good = True
    for name, measure in (("browser to browser", _first_by_mesh), ("by the engine", _first_by_engine)):
        took_s = [await measure() for _ in range(times)]
        good &= statistics.median(took_s) <= _FIRST_TARGET_S
        print(f"  {name:<20} median {statistics.median(took_s):.2f} s, worst {max(took_s):.2f} s of {times}")
    print(f"  wanted: {_FIRST_TARGET_S} s {'met' if good else 'MISSED'}")
    return good


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="engine, first, pages; all by default")
    parser.add_argument("--viewers", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--times", type=int, default=5)
    args = parser.parse_args()
    good = True
    if not args.parts or "engine" in args.parts:
        good &= await engine_part(args.viewers, args.seconds)
    if not args.parts or "first" in args.parts:
        good &= await first_part(args.times)
    if not args.parts or "pages" in args.parts:
        from mediapages import pages_part

        good &= await pages_part(args.times)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
