"""How many rooms and viewers one machine carries: the load is raised until something gives, and what gives is named.

Service, agents and viewers are processes of their own. The agents are real (``consult.agent``), each with 50 Hz × 200
signals; a viewer is a websocket that reads as fast as it can, and counts. Each step (rooms × viewers in
each) is measured for some seconds. A step *holds* while the 99th percentile from measurement to viewer stays within
100 ms and 99 % of the blocks arrive; the knee is the last step that held before the first that did not.

What gave is told by: share of a core of each process, how late the service's event loop is, how long journal writes
take, collections of garbage, and samples of the service's main thread by what it was doing. Beside it stands a plain
broadcast of the same blocks over aiohttp websockets (no acknowledgement, no journal, no catching up), raised likewise.

    python benchmarks/room_load.py [--long] [--seconds S] [--json FILE]

Rooms are doubled until a step gives, and the gap is then halved. Short: some minutes on a quiet machine. Long: more
numbers of viewers, longer steps, a narrower gap.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import numpy as np
from roomprocesses import (
    HEAD,
    Child,
    answer_of,
    measured_blocks,
    plain_source,
    questions,
    room_config,
    serve_plain,
    signals_of,
)
from roomviewers import redeem

from consult.joining import joined_room
from consult.service import running_service
from consult.wire import BATCH, SAMPLES
from diag.samples import StreamSchema

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from multiprocessing.connection import Connection

    from consult.service import Service

_SIGNALS = 200
_HZ = 50.0
_P99_MS = 100.0
_LEAST = 0.99
_BUSY = 0.8
_SETTLE_S = 2.0
_VIEWERS = {"short": (6, 48), "long": (1, 3, 6, 20, 48)}  # in each room; a room takes 50 people
_FIRST = {"rooms": 4, "viewers": 128}
_MOST = 8192
_HALVINGS = {"short": 1, "long": 3}
_KINDS = (
    ("sending by websocket", ("aiohttp/http_websocket", "aiohttp/_websocket", "web_ws.py", "asyncio/selector_events")),
    ("JSON", ("json/",)),
    ("taking blocks in", ("consult/room.py", "consult/ring.py", "consult/batches.py", "consult/wire.py", "routes.py")),
    ("queues of viewers", ("consult/outbox.py", "consult/outflow.py", "consult/peers.py", "consult/rates.py")),
    ("journal", ("consult/journal.py", "consult/chain.py", "consult/keeper.py")),
    ("event loop", ("asyncio/", "selectors.py", "uvloop")),
)


# -- the service, watched from inside --------------------------------------------------------------------------------


class Watch:
    """What a service's process tells of itself."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._late_s: list[float] = []
        self._gc_s, self._gc_began = 0.0, 0.0
        self._samples: Counter[str] = Counter()
        self._main = threading.get_ident()
        self._sampling = threading.Event()
        gc.callbacks.append(self._collected)
        self._task = asyncio.create_task(self._tick())
        threading.Thread(target=self._sample, daemon=True).start()

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + 0.02
            await asyncio.sleep(0.02)
            self._late_s.append(loop.time() - due)

    def _collected(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._gc_began = time.perf_counter()
        else:
            self._gc_s += time.perf_counter() - self._gc_began

    def _sample(self) -> None:
        while True:
            self._sampling.wait()
            time.sleep(0.01)
            frame: Any = sys._current_frames().get(self._main)  # noqa: SLF001 - there is no public way
            place = "?"
            while frame is not None:
                name = frame.f_code.co_filename
                if frame.f_code.co_name == "select":
                    place = "waiting"
                    break
                found = next((kind for kind, parts in _KINDS if any(part in name for part in parts)), None)
                if found is not None:
                    place = found
                    break
                frame = frame.f_back
            self._samples[place] += 1

    def begin(self) -> None:
        self._late_s.clear()
        self._samples.clear()
        self._gc_s = 0.0
        self._writes = self._written()
        self._sampling.set()

    def _written(self) -> tuple[float, int]:
        found = self._service.metrics.journal_write_s
        return found.total, sum(found.counts)

    def end(self) -> dict[str, Any]:
        self._sampling.clear()
        total, count = (now - then for now, then in zip(self._written(), self._writes, strict=True))
        samples = sum(self._samples.values()) or 1
        return {
            "loop_late_p99_ms": _percentile([late * 1e3 for late in self._late_s], 99),
            "journal_write_ms": round(total / count * 1e3, 2) if count else None,
            "journal_writes_s": count,
            "gc_s": round(self._gc_s, 3),
            "doing": {kind: round(n / samples, 2) for kind, n in self._samples.most_common(6)},
            "rooms": len(self._service.rooms),
            "members": sum(len(room.members) for room in self._service.rooms.values()),
            "dropped": sum(m.outbox.dropped for room in self._service.rooms.values() for m in room.members.values()),
            "thin": sum(m.outbox.clock.is_thin for room in self._service.rooms.values() for m in room.members.values()),
        }


async def _service(pipe: Connection, folder: str) -> None:
    async with running_service(room_config(Path(folder), 0, webrtc=False)) as service:
        watch = Watch(service)
        pipe.send(service.url)
        async for question in questions(pipe):
            match question:
                case ("begin",):
                    pipe.send(watch.begin())
                case ("measured",):
                    pipe.send(watch.end())
                case _:
                    pipe.send(answer_of(service, question))


# -- load ------------------------------------------------------------------------------------------------------------


async def _agents(pipe: Connection, server: str, codes: list[str], folder: str) -> None:
    """Many laptops in one process; sends the names of their rooms."""
    schema = StreamSchema(0, signals_of(_SIGNALS), "signals", "signals", _HZ)
    async with contextlib.AsyncExitStack() as stack:
        running, rooms = [], []
        for n, code in enumerate(codes):
            agent = await stack.enter_async_context(joined_room(server, code))
            blocks = measured_blocks(_SIGNALS, _HZ, Path(folder) / f"ticks-{n}")
            running.append(asyncio.create_task(agent.run({}, schema, blocks)))
            rooms.append(agent.room)
        pipe.send(rooms)
        async for _ in questions(pipe):
            break
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


class Counted:
    """What many viewers saw of the measured time."""

    def __init__(self) -> None:
        self.on = False
        self.delays: list[float] = []
        self.blocks = 0

    def take(self, data: bytes) -> None:
        kind, _, _, _, t_us = HEAD.unpack_from(data)
        if self.on and kind in (SAMPLES, BATCH):
            self.blocks += 1
            self.delays.append(time.time() * 1e3 - t_us / 1e3)


async def _viewers(pipe: Connection, server: str, addresses: list[tuple[str, str]]) -> None:
    """Many viewers in one process: ``(path, invite)`` each; without an invite the path is a websocket's own."""
    counted = Counted()

    async def read(one: aiohttp.ClientWebSocketResponse) -> None:
        async for message in one:
            if message.type is aiohttp.WSMsgType.BINARY:
                counted.take(message.data)

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), connector=connector) as http:
        tasks = []
        for path, code in addresses:
            where, headers = path, {}
            if code:
                where, cookie = await redeem(http, server, code)
                where, headers = f"{where}/watch", {"Cookie": cookie}
            one = await http.ws_connect(f"{server}{where}", compress=0, headers=headers, max_msg_size=0)
            tasks.append(asyncio.create_task(read(one)))
        pipe.send("on")
        async for question in questions(pipe):
            if question[0] == "begin":
                counted.delays.clear()
                counted.blocks, counted.on = 0, True
                pipe.send(None)
            else:
                counted.on = False
                pipe.send((counted.blocks, counted.delays, sum(task.done() for task in tasks)))
        for task in tasks:
            task.cancel()


# -- steps -----------------------------------------------------------------------------------------------------------


def _percentile(values: list[float], percent: float) -> float | None:
    return round(float(np.percentile(values, percent)), 2) if values else None


async def _measure(parts: dict[str, Child], seconds: float, *, is_plain: bool) -> dict[str, Any]:
    """One step: what came, how late, and what each process took."""
    await asyncio.sleep(_SETTLE_S)
    if not is_plain:
        await parts["service"].ask("begin")
    await parts["viewers"].ask("begin")
    began, before = time.monotonic(), {name: part.cpu_s() for name, part in parts.items()}
    await asyncio.sleep(seconds)
    lasted = time.monotonic() - began
    cores = {name: round((part.cpu_s() - before[name]) / lasted, 2) for name, part in parts.items()}
    blocks, delays, gone = await parts["viewers"].ask("measured")
    told = {} if is_plain else await parts["service"].ask("measured")
    return {
        "blocks_s": round(blocks / lasted),
        "p50_ms": _percentile(delays, 50),
        "p99_ms": _percentile(delays, 99),
        "gone": gone,
        "cores": cores,
        "machine": round(sum(cores.values()) / (os.cpu_count() or 1), 2),
        **told,
    }


def _judge(step: dict[str, Any], expected_s: float) -> dict[str, Any]:
    share = step["blocks_s"] / expected_s
    late = step["p99_ms"] is None or step["p99_ms"] > _P99_MS
    step |= {"arrived": round(min(share, 1.0), 3), "held": not late and share >= _LEAST and not step["gone"]}
    return step


def _bottleneck(step: dict[str, Any]) -> str:
    """What gave, by what the processes told."""
    cores = step["cores"]
    service, others = cores["service"], {name: share for name, share in cores.items() if name != "service"}
    busiest = max(others, key=lambda name: others[name])
    if service >= _BUSY:
        doing = ", ".join(f"{kind} {share:.0%}" for kind, share in list(step.get("doing", {}).items())[:4])
        return f"the service's one thread: {service:.0%} of a core ({doing})"
    if others[busiest] >= _BUSY:
        return f"the load's own process ({busiest}, {others[busiest]:.0%} of a core), not the service ({service:.0%})"
    if step["machine"] >= _BUSY:
        whole = f"all processes of this run take {step['machine']:.0%} of it, the service {service:.0%} of a core"
        return f"the machine: {whole}"
    if (step.get("journal_write_ms") or 0) > _P99_MS:
        return f"the disk: a journal write takes {step['journal_write_ms']} ms"
    return f"something else on this machine: this run takes {step['machine']:.0%} of it, load {os.getloadavg()[0]:.1f}"


async def _ours(viewers: int, rooms: int, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        service = Child(_service, str(folder / "data"))
        parts = {"service": service}
        try:
            server = await service.ask()
            codes = [await service.ask("technician") for _ in range(rooms)]
            parts["agents"] = Child(_agents, server, codes, made)
            names = await parts["agents"].ask()
            addresses = [("", await service.ask("expert", name)) for name in names for _ in range(viewers)]
            parts["viewers"] = Child(_viewers, server, addresses)
            await parts["viewers"].ask()
            found = await _measure(parts, seconds, is_plain=False)
        finally:
            for part in parts.values():
                part.kill()
    return _judge({"rooms": rooms, "viewers": viewers, **found}, rooms * viewers * _HZ)


async def _broadcast(viewers: int, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as made:
        service = Child(serve_plain)
        parts = {"service": service}
        try:
            server = await service.ask()
            parts["agents"] = Child(plain_source, server, _SIGNALS, _HZ, str(Path(made) / "ticks"))
            await parts["agents"].ask()
            parts["viewers"] = Child(_viewers, server, [("/watch", "")] * viewers)
            await parts["viewers"].ask()
            found = await _measure(parts, seconds, is_plain=True)
        finally:
            for part in parts.values():
                part.kill()
    return _judge({"viewers": viewers, **found}, viewers * _HZ)


def _say(name: str, step: dict[str, Any]) -> None:
    cores = " ".join(f"{part} {share:.0%}" for part, share in step["cores"].items())
    late = step.get("loop_late_p99_ms", "–")
    print(
        f"{name:24} {step['blocks_s']:6} blocks/s  p99 {step['p99_ms']} ms  arrived {step['arrived']:.1%}"
        f"  loop late {late} ms  journal {step.get('journal_write_ms', '–')} ms  {cores}"
        f"  {'' if step['held'] else '← gave'}",
        flush=True,
    )


async def _knee(
    what: str, name: str, halvings: int, run: Callable[[int], Awaitable[dict[str, Any]]]
) -> tuple[dict[str, Any] | None, dict[str, Any] | None, list[dict[str, Any]]]:
    """Doubles ``what`` until a step gives, then halves the gap: the last that held, the first that gave, all."""
    held: dict[str, Any] | None = None
    gave: dict[str, Any] | None = None
    taken: list[dict[str, Any]] = []
    least, number, left = 0, _FIRST[what], halvings
    while number > least and left >= 0 and number <= _MOST:
        step = await run(number)
        taken.append(step)
        _say(name.format(number), step)
        if step["held"]:
            held, least = step, number
        else:
            gave = step
        if gave is None:
            number *= 2
        else:
            left -= 1
            number = (least + gave[what]) // 2
    return held, gave, taken


async def _run(args: argparse.Namespace) -> dict[str, Any]:
    grid = "long" if args.long else "short"
    knees: list[dict[str, Any]] = []
    steps: list[dict[str, Any]] = []
    for viewers in _VIEWERS[grid]:
        run = partial(_ours, viewers, seconds=args.seconds)
        held, gave, taken = await _knee("rooms", f"{{}} rooms × {viewers} viewers", _HALVINGS[grid], run)
        steps += taken
        knees.append(
            {
                "viewers": viewers,
                "held": held and held["rooms"],
                "blocks_s": held and held["blocks_s"],
                "service_core": held and held["cores"]["service"],
                "gave": gave and gave["rooms"],
                "because": _bottleneck(gave) if gave else None,
            }
        )
    run = partial(_broadcast, seconds=args.seconds)
    plain, _, _ = await _knee("viewers", "plain, {} viewers", _HALVINGS[grid], run)
    best = max((knee for knee in knees if knee["held"]), key=lambda knee: knee["blocks_s"], default=None)
    each = best and round(best["service_core"] / best["blocks_s"] * 1e6)
    plain_each = plain and round(plain["cores"]["service"] / plain["blocks_s"] * 1e6)
    return {
        "benchmark": "room_load",
        "grid": grid,
        "signals": _SIGNALS,
        "hz": _HZ,
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
        "knees": knees,
        "best_blocks_s": best and best["blocks_s"],
        "service_us_per_block": each,
        "plain_blocks_s": plain and plain["blocks_s"],
        "plain_us_per_block": plain_each,
        "ratio_us": round(each / plain_each, 2) if each and plain_each else None,
        "steps": steps,
    }


def main() -> None:
    """Runs once with the options given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--seconds", type=float, default=None)
    parser.add_argument("--json", metavar="FILE", type=Path)
    args = parser.parse_args()
    args.seconds = args.seconds or (10.0 if args.long else 4.0)
    found = asyncio.run(_run(args))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    found.pop("steps")
    for knee in found["knees"]:
        held, gave = knee["held"], knee["gave"]
        print(f"knee with {knee['viewers']} viewers in each: {held} rooms held, {gave} did not: {knee['because']}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
