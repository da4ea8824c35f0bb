"""Viewers of the room's benchmarks: they count, wait, and know what they missed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
from roomprocesses import HEAD, questions

from consult.batches import parse_batch
from consult.wire import BATCH, ENVELOPE, SAMPLES

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


@dataclass
class Seen:
    """What one viewer has seen.

    Args:
        delays: milliseconds from measurement to here, of blocks that came live.
        ages: (now, age of the newest that is shown) in seconds, at each arrival.
    """

    delays: list[float] = field(default_factory=list)
    shown: list[tuple[float, float]] = field(default_factory=list)
    have: set[int] = field(default_factory=set)
    newest_us: int = 0
    filled: int = 0
    carrier: str = "wss"

    def take(self, data: bytes) -> None:
        kind, _, _, seq, t_us = HEAD.unpack_from(data)
        now = time.time()
        if kind == BATCH:
            for head, _ in parse_batch(data):
                self.have.add(head.seq)
                self.filled += 1
        elif kind == SAMPLES:
            if seq in self.have:
                return
            self.have.add(seq)
            if t_us > self.newest_us:
                self.delays.append(now * 1e3 - t_us / 1e3)
            else:
                self.filled += 1
        elif kind != ENVELOPE:
            return
        if t_us > self.newest_us:
            self.newest_us = t_us
            self.shown.append((now, now - t_us / 1e6))

    def gaps(self, beats: list[int]) -> list[tuple[int, int]]:
        """Runs of numbers that should be here by now, newest first."""
        if not self.have or not beats:
            return []
        first, due = min(self.have), beats[0]
        missing = [seq for seq in range(max(first, due - 8000), due) if seq not in self.have]
        runs: list[tuple[int, int]] = []
        for seq in missing:
            if runs and runs[-1][1] == seq - 1 and seq - runs[-1][0] < 500:
                runs[-1] = (runs[-1][0], seq)
            else:
                runs.append((seq, seq))
        return runs[::-1][:4]


class Viewer:
    """A page without its page: watches, asks for what is missing, comes back after a cut."""

    def __init__(self, server: str, path: str, cookie: str, *, rtc: bool, loss: float = 0.0) -> None:
        self.seen = Seen()
        self.connections = 0
        self.stalled = asyncio.Event()
        self.stalled.set()
        self._url, self._headers = f"{server}{path}/watch", {"Cookie": cookie}
        self._rtc, self._loss = rtc, loss
        self._heard_s = 0.0
        self._epoch = 0
        self._peer: Any = None
        self._relay: LossyDatagrams | None = None

    async def run(self, http: aiohttp.ClientSession) -> None:
        try:
            while True:
                with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                    await self._connection(http)
                await asyncio.sleep(0.1)
        finally:
            await self._drop()

    async def _connection(self, http: aiohttp.ClientSession) -> None:
        async with asyncio.timeout(2.5):
            one = await http.ws_connect(self._url, compress=0, headers=self._headers, max_msg_size=0)
        self.connections += 1
        self._heard_s = time.monotonic()
        beats: list[int] = []
        watching = asyncio.create_task(self._watch(one))
        try:
            if self._rtc:
                await self._offer(one)
            async for message in one:
                await self.stalled.wait()
                self._heard_s = time.monotonic()
                if message.type is aiohttp.WSMsgType.BINARY:
                    self.seen.take(message.data)
                elif message.type is aiohttp.WSMsgType.TEXT:
                    await self._hear(one, json.loads(message.data), beats)
        finally:
            watching.cancel()
            await one.close()
            await self._drop()

    async def _watch(self, one: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            await asyncio.sleep(0.2)
            if time.monotonic() - self._heard_s > 2.0 and self.stalled.is_set():
                transport = one._conn and one._conn.transport  # noqa: SLF001 - a dead line is given up, not said goodbye
                if transport is not None:
                    transport.abort()
                return

    async def _hear(self, one: aiohttp.ClientWebSocketResponse, said: dict[str, Any], beats: list[int]) -> None:
        if said["type"] == "beat" and said["heads"]:
            head = said["heads"][0]
            beats.append(head["next"])
            del beats[:-2]
            for first, last in self.seen.gaps(beats):
                await one.send_json(
                    {"type": "want", "stream": head["stream"], "epoch": head["epoch"], "first": first, "last": last}
                )
        elif said["type"] == "rtc":
            await self._answer(said["sdp"])
        elif said["type"] == "live":
            self.seen.carrier = said["over"]

    async def _offer(self, one: aiohttp.ClientWebSocketResponse) -> None:
        from aiortc import RTCConfiguration, RTCPeerConnection

        await self._drop()
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        channel = self._peer.createDataChannel("live", ordered=False, maxPacketLifeTime=200)
        channel.on("message", self.seen.take)
        await self._peer.setLocalDescription(await self._peer.createOffer())
        await one.send_json({"type": "rtc", "attempt": 1, "sdp": self._peer.localDescription.sdp})

    async def _answer(self, sdp: str) -> None:
        from aiortc import RTCSessionDescription

        if self._loss:
            sdp = await self._through_loss(sdp)
        if self._peer is not None:
            await self._peer.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="answer"))

    async def _through_loss(self, sdp: str) -> str:
        """The answer with a lossy relay's port in place of the service's own."""
        port = re.search(r"^a=candidate:\S+ 1 udp \d+ 127\.0\.0\.1 (\d+) typ host", sdp, re.MULTILINE)
        if port is None:
            raise RuntimeError("no loopback candidate in the answer")
        self._relay = await LossyDatagrams.opened(int(port[1]), self._loss)
        kept = [line for line in sdp.splitlines() if not line.startswith("a=candidate")]
        line = f"a=candidate:1 1 udp 2130706431 127.0.0.1 {self._relay.port} typ host"
        at = next(number for number, text in enumerate(kept) if text.startswith("a=ice-ufrag"))
        return "\r\n".join([*kept[:at], line, *kept[at:]]) + "\r\n"

    async def _drop(self) -> None:
        if self._peer is not None:
            peer, self._peer = self._peer, None
            await peer.close()
        if self._relay is not None:
            self._relay.close()
            self._relay = None


class LossyDatagrams(asyncio.DatagramProtocol):
    """Passes datagrams on between one client and a port of this machine, and drops some, each way."""

    def __init__(self, target: int, loss: float) -> None:
        self.dropped = self.passed = 0
        self._target, self._loss = ("127.0.0.1", target), loss
        self._client: tuple[str, int] | None = None
        self._random = random.Random(target)
        self._transport: asyncio.DatagramTransport | None = None

    @classmethod
    async def opened(cls, target: int, loss: float) -> LossyDatagrams:
        loop = asyncio.get_running_loop()
        _, made = await loop.create_datagram_endpoint(lambda: cls(target, loss), local_addr=("127.0.0.1", 0))
        return made

    @property
    def port(self) -> int:
        return self._transport.get_extra_info("sockname")[1] if self._transport else 0

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]  # it is one
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        from_service = addr == self._target
        if not from_service:
            self._client = addr
        to = self._client if from_service else self._target
        if self._random.random() < self._loss or to is None or self._transport is None:
            self.dropped += 1
            return
        self.passed += 1
        self._transport.sendto(data, to)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def redeem(http: aiohttp.ClientSession, server: str, code: str) -> tuple[str, str]:
    async with http.post(f"{server}/redeem", json={"invite": code}) as answer:
        body = await answer.json()
        return body["path"], f"huizhen_session={answer.cookies['huizhen_session'].value}"


async def view(pipe: Connection, server: str, codes: list[str], rtc: bool, loss: float) -> None:
    """Many viewers in one process."""
    async with aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(), connector=aiohttp.TCPConnector(limit=0)
    ) as http:
        viewers, tasks = [], []
        for code in codes:
            path, cookie = await redeem(http, server, code)
            viewer = Viewer(server, path, cookie, rtc=rtc, loss=loss)
            viewers.append(viewer)
            tasks.append(asyncio.create_task(viewer.run(http)))
            await asyncio.sleep(0.05 if rtc else 0)
        pipe.send("on")
        async for question in questions(pipe):
            match question:
                case ("clear",):
                    for viewer in viewers:
                        viewer.seen.delays.clear()
                        viewer.seen.shown.clear()
                    pipe.send(None)
                case ("delays", *which):
                    some = viewers if not which else [viewers[number] for number in which[0]]
                    pipe.send([delay for viewer in some for delay in viewer.seen.delays])
                case ("shown", number):
                    seen = viewers[number].seen
                    pipe.send((list(seen.shown), seen.carrier, seen.filled, len(seen.have), min(seen.have, default=0)))
                case ("missing", number, until):
                    have = viewers[number].seen.have
                    pipe.send([seq for seq in range(min(have, default=0), until) if seq not in have])
                case ("stall", number):
                    viewers[number].stalled.clear()
                    pipe.send(None)
                case ("flow", number):
                    viewers[number].stalled.set()
                    pipe.send(None)
                case _:
                    break
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        pipe.send(None)


async def view_plain(pipe: Connection, server: str, count: int) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        seen = [Seen() for _ in range(count)]

        async def one(what: Seen) -> None:
            async with http.ws_connect(f"{server}/watch", compress=0) as line:
                async for message in line:
                    what.take(message.data)

        tasks = [asyncio.create_task(one(what)) for what in seen]
        pipe.send("on")
        async for question in questions(pipe):
            if question[0] == "clear":
                for what in seen:
                    what.delays.clear()
                pipe.send(None)
            elif question[0] == "delays":
                pipe.send([delay for what in seen for delay in what.delays])
            else:
                break
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
