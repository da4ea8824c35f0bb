"""Processes of the room's benchmarks: the service, the laptop, and a plain broadcast beside them."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import numpy as np
from aiohttp import web

from consult.collector import calm_collector
from consult.invites import Role
from consult.joining import joined_room
from consult.resuming import resumed_room
from consult.service import Service, ServiceConfig, running_service
from consult.serviceconfig import Limits
from consult.spoolfolder import open_spool, resume_spool
from consult.wire import encode_samples
from diag.samples import SampleBlock, SignalInfo, StreamSchema

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from multiprocessing.connection import Connection

HEAD = struct.Struct("<BBHIQ")
SEEN = struct.Struct("<I")
_SPAWN = multiprocessing.get_context("spawn")
_TICKS = os.sysconf("SC_CLK_TCK")


class Child:
    """A process that answers questions over a pipe."""

    def __init__(self, work: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        self.pipe, theirs = _SPAWN.Pipe()
        self.process = _SPAWN.Process(target=_child, args=(work, theirs, *args), daemon=True)
        self.process.start()
        theirs.close()

    async def ask(self, *question: Any) -> Any:
        if question:
            self.pipe.send(question)
        while not self.pipe.poll():
            if not self.process.is_alive():
                raise RuntimeError("a process of the benchmark has died")
            await asyncio.sleep(0.005)
        return self.pipe.recv()

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def rss_mb(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


def _child(work: Callable[..., Coroutine[Any, Any, None]], pipe: Connection, *args: Any) -> None:
    # As `consult serve` does; and the viewers' own collections are none of the service's delays.
    with calm_collector():
        asyncio.run(work(pipe, *args))


async def questions(pipe: Connection) -> AsyncIterator[tuple[Any, ...]]:
    loop = asyncio.get_running_loop()
    asked: asyncio.Queue[tuple[Any, ...] | None] = asyncio.Queue()

    def ready() -> None:
        try:
            while pipe.poll():
                asked.put_nowait(pipe.recv())
        except (EOFError, OSError):
            loop.remove_reader(pipe.fileno())
            asked.put_nowait(None)

    loop.add_reader(pipe.fileno(), ready)
    while (question := await asked.get()) is not None:
        yield question


def room_config(data: Path, port: int, *, webrtc: bool) -> ServiceConfig:
    wide = Limits(sockets=10_000, requests=1_000_000, joins=100_000)
    return ServiceConfig(data=data, state=data / "service.db", port=port, webrtc=webrtc, limits=wide)


async def serve_rooms(pipe: Connection, data: str, port: int, webrtc: bool) -> None:
    """The room service."""
    async with running_service(room_config(Path(data), port, webrtc=webrtc)) as service:
        pipe.send(service.url)
        async for question in questions(pipe):
            pipe.send(answer_of(service, question))
            if question[0] == "end":
                break


def answer_of(service: Service, question: tuple[Any, ...]) -> Any:
    match question:
        case ("technician",):
            return service.invite_technician().code
        case ("expert", room):
            return service.invite(room, Role.EXPERT).code
        case ("state", room):
            found = service.rooms[room]
            return {
                "next": {stream: ring.next for stream, ring in found.rings.items()},
                "durable": dict(found.durable),
                "epoch": found.epoch,
                "file": str(found.journal.path),
                "members": len(found.members),
                "edges": sum(member.edge is not None for member in found.members.values()),
                "skipped": sum(getattr(member.edge, "skipped", 0) for member in found.members.values()),
            }
        case _:
            return None


def signals_of(count: int) -> tuple[SignalInfo, ...]:
    return tuple(SignalInfo(f"S{n:03d}", "V") for n in range(count))


async def measured_blocks(count: int, hz: float, record: Path) -> AsyncIterator[SampleBlock]:
    """Signals as a bus tells them: steps of a resolution, a fifth of them moving. Every tick is written down beside."""
    rng = np.random.default_rng(1)
    values = np.round(rng.uniform(0, 400, count), 1)
    valid = np.ones(count, dtype=np.bool_)
    clock = asyncio.get_running_loop().time
    written = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    tick = os.fstat(written).st_size // SEEN.size
    due = clock()
    try:
        while True:
            moving = rng.random(count) < 0.2
            values = np.where(moving, np.round(values + rng.choice([-0.1, 0.1], count), 1), values)
            values[0] = tick
            yield SampleBlock(time.time_ns(), values.astype(np.float32), valid)
            os.write(written, SEEN.pack(tick))  # the agent has it now
            tick += 1
            due = max(due + 1 / hz, clock() - 1.0)
            await asyncio.sleep(max(0.0, due - clock()))
    finally:
        os.close(written)


async def run_agent(pipe: Connection, server: str, code: str, folder: str, signals: int, hz: float) -> None:
    """The technician's laptop; with an empty code it goes on in the room that a killed one left."""
    base = Path(folder)
    schema = StreamSchema(0, signals_of(signals), "signals", "signals", hz)
    if code:
        opened = joined_room(server, code, open_spool=lambda *who: open_spool(base / "spool", *who))
    else:
        room = next(path.parent.name for path in (base / "spool").glob("*/room.json"))
        spool, identity = resume_spool(base / "spool", room)
        opened = resumed_room(identity, spool)
    async with opened as agent:
        running = asyncio.create_task(agent.run({}, schema, measured_blocks(signals, hz, base / "ticks")))
        pipe.send(agent.room)
        async for question in questions(pipe):
            if question[0] == "left":
                pipe.send(
                    (len(agent.spool), agent.spool.lost, agent.connections, agent.outflow and agent.outflow.envelopes)
                )
            if question[0] == "end":
                agent.leave()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(10):
                        await running
                pipe.send(len(agent.spool))
                break
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def serve_plain(pipe: Connection) -> None:
    """The baseline: every block to every websocket."""
    sockets: set[web.WebSocketResponse] = set()

    async def watch(request: web.Request) -> web.WebSocketResponse:
        one = web.WebSocketResponse(compress=False)
        await one.prepare(request)
        sockets.add(one)
        async for _ in one:
            pass
        sockets.discard(one)
        return one

    async def source(request: web.Request) -> web.WebSocketResponse:
        one = web.WebSocketResponse(compress=False)
        await one.prepare(request)
        async for message in one:
            for each in list(sockets):
                with contextlib.suppress(ConnectionError):
                    await each.send_bytes(message.data)
        return one

    app = web.Application()
    app.add_routes([web.get("/watch", watch), web.get("/source", source)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    pipe.send(f"http://127.0.0.1:{runner.addresses[0][1]}")
    async for _ in questions(pipe):
        break
    await runner.cleanup()


async def plain_source(pipe: Connection, server: str, signals: int, hz: float, record: str) -> None:
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{server}/source", compress=0) as one:
        seq = 0
        pipe.send("on")
        async for block in measured_blocks(signals, hz, Path(record)):
            data = encode_samples(
                stream=0, epoch=1, seq=seq, t_us=block.t_ns // 1000, values=block.values, valid=block.valid
            )
            await one.send_bytes(data)
            seq += 1
