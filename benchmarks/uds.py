"""Requests per second over ISO-TP: ours against udsoncan on can-isotp, on the same in-process bus.

Both ask the same ECU the same two questions: one answered in a single frame (3E 00), one in three (22 F190). It is a
few lines of its own on a python-can bus, so that it favours nobody. Two arrangements: the ECU in a thread, as the
blocking tester needs it, and for ours also inside the event loop, as the simulated car is best attached. Then many
ECUs at once, each answering after 20 ms: ours side by side on one loop, theirs in a thread per ECU. Every round times
all arrangements in turn; the figure is the median of the rounds' ratios.

    python benchmarks/uds.py [--requests 300] [--rounds 5] [--ecus 24] [--reads 12]
    python benchmarks/uds.py --memory 1000000
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import itertools
import logging
import os
import platform
import queue
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

import can
import isotp
import udsoncan
from udsoncan.client import Client
from udsoncan.connections import PythonIsoTpConnection

from diag.addressing import Target
from diag.answers import ask
from diag.canbus import open_can
from diag.request import IsoTpLink

if TYPE_CHECKING:
    from collections.abc import Callable

WARM = 16
"""Requests before the clock runs: after each of an ECU's first eight answers ours listens for 5 ms whether a second ECU
answers with the same identifier. In the run with many ECUs that time counts."""
CHANNELS = (f"benchmark{n}" for n in itertools.count())
VIN = b"LHZEV400XP0000001"
SINGLE = bytes.fromhex("023E00")
ANSWERS = {
    SINGLE: [bytes.fromhex("027E00AAAAAAAAAA")],
    bytes.fromhex("0322F190"): [b"\x10\x14\x62\xf1\x90" + VIN[:3], b"\x21" + VIN[3:10], b"\x22" + VIN[10:]],
}


class Ecu:
    """Knows two requests. ``delay_s`` passes before each answer begins."""

    def __init__(self, bus: can.BusABC, request_id: int, delay_s: float = 0.0) -> None:
        self.request_id, self.response_id, self.delay_s = request_id, request_id + 8, delay_s
        self._bus, self._rest = bus, []

    def take(self, data: bytes) -> list[bytes]:
        """Frames to send now, for a frame that came."""
        if data[0] == 0x30:
            frames, self._rest = self._rest, []
            return frames
        first, *self._rest = ANSWERS[data[: 1 + data[0]]]
        return [first]

    def send(self, frames: list[bytes]) -> None:
        for frame in frames:
            self._bus.send(can.Message(arbitration_id=self.response_id, data=frame, is_extended_id=False))


class EcuThread:
    """All ECUs of a bus in one thread."""

    def __init__(self, channel: str, request_ids: list[int], delay_s: float = 0.0) -> None:
        self.bus = can.Bus(interface="virtual", channel=channel)
        self.ecus = {request_id: Ecu(self.bus, request_id, delay_s) for request_id in request_ids}
        self.delay_s, self._due, self._is_on = delay_s, [], True
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while self._is_on:
            wait = max(0.0, self._due[0][0] - time.monotonic()) if self._due else 0.1
            message = self.bus.recv(timeout=wait)
            while self._due and self._due[0][0] <= time.monotonic():
                _, request_id, frames = heapq.heappop(self._due)
                self.ecus[request_id].send(frames)
            ecu = self.ecus.get(message.arbitration_id) if message else None
            if ecu is None:
                continue
            frames = ecu.take(bytes(message.data))
            if self.delay_s and message.data[0] != 0x30:
                heapq.heappush(self._due, (time.monotonic() + self.delay_s, ecu.request_id, frames))
            else:
                ecu.send(frames)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_on = False
        self._thread.join()
        self.bus.shutdown()


class _LoopQueue(queue.Queue[can.Message]):
    """Hands every frame to an ECU on the event loop instead of keeping it."""

    def __init__(self, ecu: Ecu) -> None:
        super().__init__()
        self._ecu, self._loop = ecu, asyncio.get_running_loop()

    def put(self, item: can.Message, block: bool = True, timeout: float | None = None) -> None:  # noqa: ARG002
        if item.arbitration_id == self._ecu.request_id:
            self._loop.call_soon(self._answer, bytes(item.data))

    def _answer(self, data: bytes) -> None:
        self._ecu.send(self._ecu.take(data))


LATENCIES: dict[str, list[float]] = {"ours": [], "theirs": []}


async def _ask(link: IsoTpLink, requests: int, name: str = "") -> float:
    target, questions = Target.physical(0x7E0), (b"\x3e\x00", b"\x22\xf1\x90")
    for n in range(WARM):
        await ask(link, target, questions[n & 1])
    begun = time.perf_counter()
    for n in range(requests):
        sent = time.perf_counter()
        answer = await ask(link, target, questions[n & 1])
        if name:
            LATENCIES[name].append(time.perf_counter() - sent)
        if answer.nrc is not None:
            raise SystemExit("the ECU refused")
    return requests / (time.perf_counter() - begun)


async def ours(channel: str, requests: int, *, is_in_loop: bool) -> float:
    async with await open_can("virtual", channel) as frames, IsoTpLink(frames) as link:
        if not is_in_loop:
            return await _ask(link, requests, "ours")
        with can.Bus(interface="virtual", channel=channel) as bus:
            peers: Any = bus
            peers.channel[peers.channel.index(peers.queue)] = peers.queue = _LoopQueue(Ecu(bus, 0x7E0))
            return await _ask(link, requests)


def _client(bus: can.BusABC, notifier: can.Notifier, request_id: int) -> Client:
    address = isotp.Address(isotp.AddressingMode.Normal_11bits, txid=request_id, rxid=request_id + 8)
    stack = isotp.NotifierBasedCanStack(bus, notifier, address=address, params={"tx_padding": 0xCC})
    config = {**udsoncan.configs.default_client_config, "data_identifiers": {0xF190: udsoncan.AsciiCodec(17)}}
    return Client(PythonIsoTpConnection(stack), config=config)


def theirs(channel: str, requests: int) -> float:
    with can.Bus(interface="virtual", channel=channel) as bus:
        notifier = can.Notifier(bus, [], timeout=0.01)
        with _client(bus, notifier, 0x7E0) as client:
            ask_them = (client.tester_present, lambda: client.read_data_by_identifier(0xF190))
            for n in range(WARM):
                ask_them[n & 1]()
            begun = time.perf_counter()
            for n in range(requests):
                sent = time.perf_counter()
                ask_them[n & 1]()
                LATENCIES["theirs"].append(time.perf_counter() - sent)
            rate = requests / (time.perf_counter() - begun)
        notifier.stop()
    return rate


async def ours_many(channel: str, request_ids: list[int], reads: int) -> float:
    async with await open_can("virtual", channel) as frames, IsoTpLink(frames) as link:

        async def read(request_id: int) -> None:
            for _ in range(reads):
                await ask(link, Target.physical(request_id, request_id + 8), b"\x22\xf1\x90")

        begun = time.perf_counter()
        await asyncio.gather(*(read(request_id) for request_id in request_ids))
        return time.perf_counter() - begun


def theirs_many(channel: str, request_ids: list[int], reads: int) -> float:
    with can.Bus(interface="virtual", channel=channel) as bus, ThreadPoolExecutor(len(request_ids)) as pool:
        notifier = can.Notifier(bus, [], timeout=0.01)
        clients = [_client(bus, notifier, request_id) for request_id in request_ids]

        def read(client: Client) -> None:
            for _ in range(reads):
                client.read_data_by_identifier(0xF190)

        for client in clients:
            client.open()
        begun = time.perf_counter()
        list(pool.map(read, clients))
        duration = time.perf_counter() - begun
        for client in clients:
            client.close()
        notifier.stop()
    return duration


def with_ecus(run: Callable[[str], float], request_ids: list[int], delay_s: float = 0.0) -> float:
    with EcuThread(channel := next(CHANNELS), request_ids, delay_s):
        return run(channel)


async def memory(requests: int) -> None:
    """Resident memory after a tenth of the requests and after all of them."""
    channel = next(CHANNELS)
    async with await open_can("virtual", channel) as frames, IsoTpLink(frames) as link:
        with can.Bus(interface="virtual", channel=channel) as bus:
            peers: Any = bus
            peers.channel[peers.channel.index(peers.queue)] = peers.queue = _LoopQueue(Ecu(bus, 0x7E0))
            await _ask(link, requests // 10)
            early = _resident_kb()
            await _ask(link, requests - requests // 10)
    late = _resident_kb()
    print(f"memory: {early / 1024:.1f} MB after {requests // 10} requests, {late / 1024:.1f} MB after {requests}")


def _resident_kb() -> int:
    with open("/proc/self/status", encoding="ascii") as file:  # noqa: PTH123
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def main() -> int:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ecus", type=int, default=24)
    parser.add_argument("--reads", type=int, default=12)
    parser.add_argument("--memory", type=int, metavar="N", help="only memory, over N requests")
    args = parser.parse_args()
    logging.disable(logging.ERROR)
    if args.memory:
        asyncio.run(memory(args.memory))
        return 0
    print(f"# {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    rates: dict[str, list[float]] = {"thread": [], "loop": [], "theirs": []}
    for _ in range(args.rounds):
        rates["theirs"].append(with_ecus(lambda c: theirs(c, args.requests), [0x7E0]))
        rates["thread"].append(with_ecus(lambda c: asyncio.run(ours(c, args.requests, is_in_loop=False)), [0x7E0]))
        rates["loop"].append(asyncio.run(ours(next(CHANNELS), 5 * args.requests, is_in_loop=True)))
    for name in ("thread", "loop"):
        ratio = statistics.median(a / b for a, b in zip(rates[name], rates["theirs"], strict=True))
        print(
            f"one ECU, in the {name}: ours {statistics.median(rates[name]):.0f} requests/s, "
            f"udsoncan + can-isotp {statistics.median(rates['theirs']):.0f} (thread): {ratio:.1f}x"
        )
    p99 = {name: statistics.quantiles(took, n=100)[98] * 1000 for name, took in LATENCIES.items()}
    print(f"p99 with the ECU in a thread: ours {p99['ours']:.2f} ms, theirs {p99['theirs']:.2f} ms")
    ids = [0x700 + n % 8 + n // 8 * 0x10 for n in range(args.ecus)]
    many, theirs_too = [], []
    for _ in range(args.rounds):
        theirs_too.append(with_ecus(lambda c: theirs_many(c, ids, args.reads), ids, 0.02))
        many.append(with_ecus(lambda c: asyncio.run(ours_many(c, ids, args.reads)), ids, 0.02))
    ratio = statistics.median(b / a for a, b in zip(many, theirs_too, strict=True))
    print(
        f"{args.ecus} ECUs x {args.reads} reads, 20 ms each: ours {statistics.median(many):.3f} s (floor "
        f"{args.reads * 0.02:.2f}), threads {statistics.median(theirs_too):.3f} s: {ratio:.1f}x"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
