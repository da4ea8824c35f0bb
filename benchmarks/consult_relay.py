"""The room service's relay: blocks from one real agent to many viewers, by websocket or by data channel.

Prints one JSON line per run: share of one core that agent, service and viewers take together and delays from the
moment of measurement to the viewer. The viewers run in a process of their own, so that their cost is told apart.

    python benchmarks/consult_relay.py [--viewers N] [--signals N] [--hz F] [--seconds S] [--over wss|rtc]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import struct
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import numpy as np

from consult.joining import joined_room
from consult.service import ServiceConfig, running_service
from diag.samples import SampleBlock, SignalInfo, StreamSchema

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from multiprocessing.connection import Connection

_HEAD = struct.Struct("<BBHIQ")


def _note(data: bytes, delays: list[float]) -> None:
    kind, _, _, _, t_us = _HEAD.unpack_from(data)
    if kind == 1:
        delays.append(time.time() * 1e3 - t_us / 1e3)


async def _by_websocket(socket: aiohttp.ClientWebSocketResponse, delays: list[float]) -> None:
    async for message in socket:
        if message.type is aiohttp.WSMsgType.BINARY:
            _note(message.data, delays)


async def _by_channel(socket: aiohttp.ClientWebSocketResponse, delays: list[float]) -> None:
    from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    channel = peer.createDataChannel("live", ordered=False, maxPacketLifeTime=200)
    channel.on("message", lambda data: _note(data, delays))
    await peer.setLocalDescription(await peer.createOffer())
    await socket.send_json({"type": "rtc", "attempt": 1, "sdp": peer.localDescription.sdp})
    try:
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT and '"type": "rtc"' in message.data:
                sdp = json.loads(message.data)["sdp"]
                await peer.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="answer"))
    finally:
        await peer.close()


async def _view(server: str, codes: list[str], over: str, seconds: float) -> dict[str, Any]:
    delays: list[float] = []
    take = _by_websocket if over == "wss" else _by_channel
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        tasks = []
        for code in codes:
            async with http.post(f"{server}/redeem", json={"invite": code}) as answer:
                path, token = (await answer.json())["path"], answer.cookies["huizhen_session"].value
            cookie = {"Cookie": f"huizhen_session={token}"}
            socket = await http.ws_connect(f"{server}{path}/watch", compress=0, headers=cookie)
            tasks.append(asyncio.create_task(take(socket, delays)))
        await asyncio.sleep(3)
        delays.clear()
        await asyncio.sleep(seconds)
        found = np.array(delays)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return {
        "blocks_per_viewer_s": round(len(found) / len(codes) / seconds, 1),
        "p50_ms": round(float(np.percentile(found, 50)), 2) if len(found) else None,
        "p99_ms": round(float(np.percentile(found, 99)), 2) if len(found) else None,
    }


def _viewers(pipe: Connection, over: str, seconds: float) -> None:
    server, codes = pipe.recv()
    pipe.send(asyncio.run(_view(server, codes, over, seconds)))


async def _blocks(signals: int, hz: float) -> AsyncIterator[SampleBlock]:
    valid = np.ones(signals, dtype=np.bool_)
    values = np.linspace(0, 1, signals, dtype=np.float32)
    clock = asyncio.get_running_loop().time
    due = clock()
    while True:
        yield SampleBlock(time.time_ns(), values, valid)
        due += 1 / hz
        await asyncio.sleep(max(0.0, due - clock()))


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _run(args: argparse.Namespace) -> dict[str, Any]:
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_viewers, args=(theirs, args.over, args.seconds))
    process.start()
    schema = StreamSchema(0, tuple(SignalInfo(f"S{n}", "V") for n in range(args.signals)))
    with tempfile.TemporaryDirectory() as folder:
        async with running_service(ServiceConfig(data=Path(folder))) as service:
            service.redeem_limit.burst = service.invite_limit.burst = 1000
            async with joined_room(service.url, service.invite_technician().code) as agent:
                running = asyncio.create_task(agent.run({}, schema, _blocks(args.signals, args.hz)))
                codes = [(await agent.invite()).code for _ in range(args.viewers)]
                ours.send((service.url, codes))
                while not service.rooms[agent.room].members:  # noqa: ASYNC110 - they come from another process
                    await asyncio.sleep(0.05)
                await asyncio.sleep(3 + args.viewers * 0.05)
                before, began = _cpu_s(), time.monotonic()
                await asyncio.sleep(args.seconds * 0.8)
                share = (_cpu_s() - before) / (time.monotonic() - began)
                found = await asyncio.to_thread(ours.recv)
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
    process.join()
    return {"viewers": args.viewers, "over": args.over, "signals": args.signals, "hz": args.hz, "core": share, **found}


def main() -> None:
    """Runs once with the options given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewers", type=int, default=50)
    parser.add_argument("--signals", type=int, default=200)
    parser.add_argument("--hz", type=float, default=50)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--over", choices=("wss", "rtc"), default="wss")
    found = asyncio.run(_run(parser.parse_args()))
    print(json.dumps({"benchmark": "consult_relay", **found, "core": f"{found['core']:.0%}", "cpus": os.cpu_count()}))


if __name__ == "__main__":
    main()
