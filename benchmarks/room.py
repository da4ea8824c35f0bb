"""The expert room as a whole: delays, share of a core, and what cuts, loss, kills and thin lines cost.

Service, agent and Python viewers are processes of their own; the service's share of a core is that of its process
alone. Beside it stands a plain broadcast of the same blocks over aiohttp websockets: no acknowledgement, no journal, no
catching up. Delays go from the moment of measurement to the viewer's hands, on one clock.

TCP lines are cut, thinned and made lossy by a relay in user space (``thinline.py``), where loss shows as what TCP makes
of it: waiting. The data channel's packets are really dropped, by a UDP relay in user space.

    python benchmarks/room.py [PART…] [--viewers 50] [--signals 200] [--hz 50] [--seconds 10] [--minutes 1]

Parts: fan, stall, cuts, loss, kills, thin, join, soak; all by default. A goal that is missed is told and ends
nothing; a part that did not finish ends it with 1.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from roomprocesses import (
    SEEN,
    Child,
    plain_source,
    run_agent,
    serve_plain,
    serve_rooms,
)
from roomviewers import view, view_plain
from thinline import LineModel, ThinLine

from consult.recording import Recording

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass
class Figure:
    """One line of the result."""

    what: str
    value: float | str
    unit: str = ""
    goal: str = ""
    is_good: bool | None = None

    def __str__(self) -> str:
        value = f"{self.value:.2f}" if isinstance(self.value, float) else str(self.value)
        mark = "" if self.is_good is None else ("ok" if self.is_good else "MISSED")
        return f"  {self.what:<74} {value:>10} {self.unit:<5} {self.goal:<8} {mark}"


def _p(values: list[float], percent: float) -> float:
    return float(np.percentile(values, percent)) if values else float("nan")


class Bench:
    """All parts and what they share."""

    def __init__(self, args: argparse.Namespace, folder: Path) -> None:
        self.args, self.folder = args, folder
        self.figures: list[Figure] = []
        self._rooms = 0

    def tell(
        self, what: str, value: float | str, unit: str = "", goal: float | None = None, *, lower: bool = True
    ) -> None:
        good = None if goal is None or isinstance(value, str) else (value <= goal if lower else value >= goal)
        sign = "<=" if lower else ">="
        figure = Figure(what, value, unit, "" if goal is None else f"{sign} {goal:g}", good)
        self.figures.append(figure)
        print(figure, flush=True)

    @contextlib.asynccontextmanager
    async def room(self, *, webrtc: bool = True, line: LineModel | None = None) -> AsyncIterator[RoomParts]:
        """A service, an agent in a room of its own, both processes; the agent's line may be a bad one."""
        self._rooms += 1
        folder = self.folder / str(self._rooms)
        folder.mkdir()
        server = Child(serve_rooms, str(folder / "data"), 0, webrtc)
        url = await server.ask()
        async with contextlib.AsyncExitStack() as stack:
            thin = None
            reach = url
            if line is not None:
                thin = await stack.enter_async_context(ThinLine(int(url.rpartition(":")[2]), line))
                reach = f"http://127.0.0.1:{thin.port}"
            code = await server.ask("technician")
            agent = Child(run_agent, reach, code, str(folder), self.args.signals, self.args.hz)
            ident = await agent.ask()
            parts = RoomParts(self, folder, url, reach, ident, server, agent, thin, webrtc)
            try:
                yield parts
            finally:
                for child in (*parts.viewers, parts.agent, parts.server):
                    child.kill()

    async def lost(self, parts: RoomParts) -> tuple[int, int]:
        """(ticks that the agent measured and the journal has not, blocks in the journal), once all has arrived."""
        async with asyncio.timeout(self.args.patience):
            while (await parts.agent.ask("left"))[0] > self.args.hz:  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.2)
        measured = (parts.folder / "ticks").stat().st_size // SEEN.size - int(self.args.hz) - 2
        await asyncio.sleep(0.5)
        state = await parts.server.ask("state", parts.ident)
        kept: set[int] = set()
        count = 0
        # Read beside the service that writes it: not as a Journal, which would go on with its chain.
        with Recording(state["file"]) as journal:
            for span in journal.spans():
                for _, _, data in journal.blocks_of(span) if span.stream == 0 else ():
                    kept.add(int(np.frombuffer(data, dtype="<f4", count=1, offset=24)[0]))
                    count += 1
        if count != len(kept):
            raise RuntimeError(f"{count - len(kept)} ticks stand in the journal twice")
        return len(set(range(measured)) - kept), count


@dataclass
class RoomParts:
    """The processes of one room."""

    bench: Bench
    folder: Path
    url: str
    reach: str
    ident: str
    server: Child
    agent: Child
    thin: ThinLine | None
    webrtc: bool
    viewers: list[Child] = field(default_factory=list)

    async def watch(self, count: int, *, rtc: bool = False, loss: float = 0.0, server: str = "") -> Child:
        codes = [await self.server.ask("expert", self.ident) for _ in range(count)]
        viewers = Child(view, server or self.url, codes, rtc, loss)
        self.viewers.append(viewers)
        await viewers.ask()
        return viewers

    async def settle(self, viewers: Child, *, edges: int = 0, timeout_s: float = 60) -> None:
        """Everybody is in and sees something."""
        async with asyncio.timeout(timeout_s):
            while (await self.server.ask("state", self.ident))["edges"] < edges:  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0.2)
            while not (await viewers.ask("shown", 0))[0]:  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0.1)
        await asyncio.sleep(1.5)

    async def run_of(self, viewers: Child, seconds: float, *which: list[int]) -> tuple[list[float], float]:
        """Delays and the server's share of a core over some seconds."""
        await viewers.ask("clear")
        before, began = self.server.cpu_s(), time.monotonic()
        await asyncio.sleep(seconds)
        share = (self.server.cpu_s() - before) / (time.monotonic() - began)
        return await viewers.ask("delays", *which), share

    async def restart_server(self) -> None:
        self.server = Child(serve_rooms, str(self.folder / "data"), int(self.url.rpartition(":")[2]), self.webrtc)
        await self.server.ask()

    async def restart_agent(self) -> None:
        args = self.bench.args
        self.agent = Child(run_agent, self.reach, "", str(self.folder), args.signals, args.hz)
        await self.agent.ask()


async def fan(bench: Bench) -> None:
    """Many viewers on good lines, beside the plain broadcast."""
    args = bench.args
    print(f"fan: {args.viewers} viewers, {args.hz:g} Hz x {args.signals} signals, loopback, no bad line")
    plain = Child(serve_plain)
    url = await plain.ask()
    source = Child(plain_source, url, args.signals, args.hz, str(bench.folder / "plain-ticks"))
    await source.ask()
    lookers = Child(view_plain, url, args.viewers)
    await lookers.ask()
    await asyncio.sleep(3)
    await lookers.ask("clear")
    before, began = plain.cpu_s(), time.monotonic()
    await asyncio.sleep(args.seconds)
    base_share = (plain.cpu_s() - before) / (time.monotonic() - began)
    base = await lookers.ask("delays")
    for child in (lookers, source, plain):
        child.kill()
    base_p99 = _p(base, 99)
    bench.tell("plain broadcast: p50", _p(base, 50), "ms")
    bench.tell("plain broadcast: p99", base_p99, "ms")
    bench.tell("plain broadcast: share of a core", 100 * base_share, "%")
    async with bench.room() as parts:
        viewers = await parts.watch(args.viewers)
        await parts.settle(viewers)
        delays, share = await parts.run_of(viewers, args.seconds)
        bench.tell("wss: p50", _p(delays, 50), "ms")
        bench.tell("wss: p99", _p(delays, 99), "ms", 15)
        bench.tell("wss: p99 against the plain broadcast", _p(delays, 99) / base_p99, "x")
        bench.tell("wss: share of a core (journal, acks and ring included)", 100 * share, "%")
        bench.tell("wss: that against the plain broadcast", share / base_share, "x")
        bench.tell(
            "wss: blocks that reached a viewer live", 100 * len(delays) / (args.viewers * args.hz * args.seconds), "%"
        )
    async with bench.room() as parts:
        viewers = await parts.watch(args.viewers, rtc=True)
        await parts.settle(viewers, edges=args.viewers, timeout_s=120)
        delays, share = await parts.run_of(viewers, args.seconds)
        state = await parts.server.ask("state", parts.ident)
        await asyncio.sleep(3)
        missing = await viewers.ask("missing", 0, state["next"][0] - int(args.hz))
        bench.tell("data channel, truth behind it: p50", _p(delays, 50), "ms")
        bench.tell("data channel, truth behind it: p99", _p(delays, 99), "ms", 20)
        bench.tell("data channel, truth behind it: share of a core", 100 * share, "%", 60)
        bench.tell("data channel: blocks skipped by the gate, then asked for", state["skipped"], "")
        bench.tell("data channel: blocks that a viewer lacks in the end", len(missing), "", 0)


async def stall(bench: Bench) -> None:
    """One viewer stops reading."""
    print("stall: 20 viewers, one of them stops reading its socket")
    async with bench.room() as parts:
        viewers = await parts.watch(20)
        await parts.settle(viewers)
        others = list(range(1, 20))
        free: list[float] = []
        stalled: list[float] = []
        # In turns, so that what else this machine does falls on both; the median of the turns counts.
        for _ in range(5):
            delays, _ = await parts.run_of(viewers, bench.args.seconds / 2, others)
            free.append(_p(delays, 99))
            await viewers.ask("stall", 0)
            await asyncio.sleep(2)
            delays, _ = await parts.run_of(viewers, bench.args.seconds / 2, others)
            stalled.append(_p(delays, 99))
            await viewers.ask("flow", 0)
            await asyncio.sleep(2)
        bench.tell("others' p99 while all read, median of five turns", _p(free, 50), "ms")
        bench.tell("others' p99 while one is stalled, median of five turns", _p(stalled, 50), "ms")
        bench.tell("change of the others' p99", 100 * (_p(stalled, 50) / _p(free, 50) - 1), "%", 20)


async def _live_again(viewers: Child, number: int, since_s: float, patience_s: float = 60) -> float:
    """Seconds from a moment until something younger than a second is shown."""
    async with asyncio.timeout(patience_s):
        while True:
            shown, *_ = await viewers.ask("shown", number)
            for now, age in shown:
                if now >= since_s and age < 1.0:
                    return now - since_s
            await asyncio.sleep(0.02)


async def cuts(bench: Bench) -> None:
    """The laptop's line, then a viewer's, is dead for a while; old connections are forgotten, as by a NAT."""
    for dead_s in bench.args.cuts:
        print(f"cuts: {dead_s:g} s without the line (user-space TCP relay; new connections hang meanwhile)")
        async with bench.room(webrtc=False, line=LineModel(rtt_s=0.04)) as parts:
            thin = parts.thin
            viewers = await parts.watch(2)
            await parts.settle(viewers)
            assert thin is not None  # noqa: S101 - bench.room made it
            thin.cut()
            await asyncio.sleep(dead_s)
            mended = time.time()
            thin.mend()
            live = await _live_again(viewers, 0, mended)
            bench.tell(f"agent cut {dead_s:g} s: live again after", live, "s", 2)
            gone, kept = await bench.lost(parts)
            bench.tell(f"agent cut {dead_s:g} s: samples lost in the journal (of {kept})", gone, "", 0)
            port = int(parts.url.rpartition(":")[2])
            async with ThinLine(port, LineModel(rtt_s=0.04)) as far:
                away = await parts.watch(1, server=f"http://127.0.0.1:{far.port}")
                await parts.settle(away)
                far.cut()
                await asyncio.sleep(dead_s)
                mended = time.time()
                far.mend()
                live = await _live_again(away, 0, mended)
                bench.tell(f"viewer cut {dead_s:g} s: live again after", live, "s", 2)
                await asyncio.sleep(4)
                state = await parts.server.ask("state", parts.ident)
                await asyncio.sleep(2)
                missing = await away.ask("missing", 0, state["next"][0] - int(bench.args.hz))
                bench.tell(f"viewer cut {dead_s:g} s: blocks that it lacks in the end", len(missing), "", 0)


async def loss(bench: Bench) -> None:
    """Packets are lost: dropped on the data channel, waited for on TCP."""
    for share in (0.03, 0.08):
        print(f"loss: {share:.0%} each way (data channel: UDP relay that drops; wss: TCP relay that waits, rtt 40 ms)")
        async with bench.room() as parts:
            viewers = await parts.watch(5, rtc=True, loss=share)
            await parts.settle(viewers, edges=5, timeout_s=90)
            delays, _ = await parts.run_of(viewers, bench.args.seconds)
            state = await parts.server.ask("state", parts.ident)
            await asyncio.sleep(4)
            missing = sum(
                [len(await viewers.ask("missing", n, state["next"][0] - int(bench.args.hz))) for n in range(5)]
            )
            bench.tell(f"data channel at {share:.0%}: p99 of live blocks", _p(delays, 99), "ms")
            whole = 5 * bench.args.hz * bench.args.seconds
            bench.tell(f"data channel at {share:.0%}: blocks that came live", 100 * len(delays) / whole, "%")
            bench.tell(f"data channel at {share:.0%}: blocks lacking in the end", missing, "", 0)
            port = int(parts.url.rpartition(":")[2])
            async with ThinLine(port, LineModel(rtt_s=0.04, loss=share)) as far:
                by_tcp = await parts.watch(5, server=f"http://127.0.0.1:{far.port}")
                await parts.settle(by_tcp)
                delays, _ = await parts.run_of(by_tcp, bench.args.seconds)
                bench.tell(f"wss at {share:.0%}, rtt 40 ms: p99 of live blocks", _p(delays, 99), "ms")
        async with bench.room(webrtc=False, line=LineModel(rtt_s=0.04, loss=share)) as parts:
            viewers = await parts.watch(1)
            await parts.settle(viewers)
            await asyncio.sleep(bench.args.seconds)
            gone, kept = await bench.lost(parts)
            bench.tell(f"agent at {share:.0%}: samples lost in the journal (of {kept})", gone, "", 0)


async def kills(bench: Bench) -> None:
    """kill -9 of the service, then of the agent, and another start of each."""
    print("kills: kill -9 and restart")
    async with bench.room(webrtc=False) as parts:
        viewers = await parts.watch(2)
        await parts.settle(viewers)
        parts.server.kill()
        await asyncio.sleep(3)
        await parts.restart_server()
        live = await _live_again(viewers, 0, time.time())
        bench.tell("service killed: live again after it listens", live, "s", 2)
        gone, kept = await bench.lost(parts)
        bench.tell(f"service killed: samples lost in the journal (of {kept})", gone, "", 0)
        parts.agent.kill()
        await asyncio.sleep(2)
        await parts.restart_agent()
        live = await _live_again(viewers, 0, time.time())
        bench.tell("agent killed: live again after its new start", live, "s", 2)
        gone, kept = await bench.lost(parts)
        bench.tell(f"agent killed: samples lost in the journal (of {kept})", gone, "", 0)


async def thin(bench: Bench) -> None:
    """128 kbit/s, 400 ms, 5 % loss: less than half of what the blocks need."""
    model = LineModel(bits_s=128_000, rtt_s=0.4, loss=0.05)
    need = 8 * bench.args.hz * (25 + 4 * bench.args.signals + bench.args.signals / 8) / 1e3
    print(f"thin: 128 kbit/s, 400 ms, 5 % loss (user-space TCP relay); the blocks as they are need {need:.0f} kbit/s")
    seconds = max(20.0, 2 * bench.args.seconds)

    async def ages(viewers: Child) -> tuple[float, float, float]:
        await asyncio.sleep(10)
        await viewers.ask("clear")
        await asyncio.sleep(seconds)
        shown, *_ = await viewers.ask("shown", 0)
        # Between two arrivals the picture grows older: its age just before the next one counts.
        worst = [after[0] - before[0] + before[1] for before, after in itertools.pairwise(shown)]
        old = sum(
            min(after[0] - before[0], max(0.0, after[0] - before[0] + before[1] - 2.0))
            for before, after in itertools.pairwise(shown)
        )
        spent = shown[-1][0] - shown[0][0] if len(shown) > 1 else 1.0
        return _p([age for _, age in shown], 50), max(worst, default=float("inf")), 100 * old / spent

    async with bench.room(webrtc=False, line=model) as parts:
        viewers = await parts.watch(1)
        await parts.settle(viewers)
        median, worst, old = await ages(viewers)
        bench.tell("agent on the thin line: age of the picture, median", median, "s")
        bench.tell("agent on the thin line: age of the picture, worst", worst, "s")
        bench.tell("agent on the thin line: share of the time that it is older than 2 s", old, "%", 1)
        left, dropped, _, envelopes = await parts.agent.ask("left")
        bench.tell(f"agent on the thin line: blocks still to come (envelopes {envelopes})", left, "")
        if parts.thin is not None:
            parts.thin.model = LineModel(rtt_s=0.05)
        gone, kept = await bench.lost(parts)
        bench.tell(f"agent on the thin line: samples lost in the end (of {kept})", gone + dropped, "", 0)
    async with bench.room(webrtc=False) as parts, ThinLine(int(parts.url.rpartition(":")[2]), model) as far:
        viewers = await parts.watch(1, server=f"http://127.0.0.1:{far.port}")
        await parts.settle(viewers)
        median, worst, old = await ages(viewers)
        bench.tell("viewer on the thin line: age of the picture, median", median, "s")
        bench.tell("viewer on the thin line: age of the picture, worst", worst, "s")
        bench.tell("viewer on the thin line: share of the time that it is older than 2 s", old, "%", 1)
        far.model = LineModel(rtt_s=0.05)
        state = await parts.server.ask("state", parts.ident)
        async with asyncio.timeout(bench.args.patience):
            until = state["next"][0] - int(bench.args.hz)
            while missing := len(await viewers.ask("missing", 0, until)):  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.5)
        bench.tell("viewer on the thin line: blocks lacking in the end", missing, "", 0)


async def join(bench: Bench) -> None:
    """Two Chromium pages join; how long until the first curve."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("join: left out, Chromium is not installed")
        return
    from playwright.async_api import async_playwright

    print("join: two Chromium pages on loopback, from the press of the button to the first drawn curve")
    flags = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--allow-loopback-in-peer-connection"]
    async with bench.room() as parts, async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=chromium, headless=True, args=flags)
        codes = [await parts.server.ask("expert", parts.ident) for _ in range(3)]
        for number, code in enumerate(codes):
            page = await (await browser.new_context(locale="en")).new_page()
            await page.goto(f"{parts.url}/join#{code}")
            button = page.get_by_role("button", name="Read, and join")
            await button.wait_for()
            began = time.monotonic()
            await button.click()
            await page.wait_for_function(_CURVE_SHOWN, polling=20)
            took = time.monotonic() - began
            # The first page warms the browser up; it is told, and not judged.
            if number:
                bench.tell(f"page {number}: join to first curve", took, "s", 1)
            else:
                bench.tell("a cold browser: join to first curve", took, "s")
        await browser.close()


_CURVE_SHOWN = """() => [...document.querySelectorAll('canvas')].some((canvas) => {
  if (!canvas.width || !canvas.height) return false;
  const store = document.querySelector('output[data-signal]');
  return store !== null && /[0-9]/.test(store.textContent);
})"""


async def soak(bench: Bench) -> None:
    """Ten viewers for a while: does the service grow?"""
    minutes = bench.args.minutes
    print(f"soak: 10 viewers, {minutes:g} min, after two minutes that fill the ring")
    async with bench.room() as parts:
        viewers = await parts.watch(10)
        await parts.settle(viewers)
        await asyncio.sleep(min(125.0, 60 * minutes))
        first = parts.server.rss_mb()
        end = time.monotonic() + 60 * minutes
        while time.monotonic() < end:
            await asyncio.sleep(min(30.0, 60 * minutes))
            await viewers.ask("clear")
        bench.tell(f"soak {minutes:g} min: growth of the service", parts.server.rss_mb() - first, "MB", 20)


PARTS = {part.__name__: part for part in (fan, stall, cuts, loss, kills, thin, join, soak)}


async def _main(args: argparse.Namespace) -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(args, Path(folder))
        load = os.getloadavg()[0]
        print(f"{os.cpu_count()} cores, load {load:.1f} before the run: above 1, delays are not ours alone")
        for name in args.parts or PARTS:
            try:
                await PARTS[name](bench)
            except Exception as error:  # noqa: BLE001 - whatever it was, the other parts' figures stay
                bench.tell(f"{name}: not finished ({type(error).__name__}: {error})", "failed")
                bench.figures[-1].is_good = False
        figures = [vars(figure) for figure in bench.figures]
        print(json.dumps({"benchmark": "room", "load": load, "figures": figures}))
        missed = [figure.what for figure in bench.figures if figure.is_good is False and figure.value != "failed"]
        if missed:
            print(f"missed: {'; '.join(missed)}")
        return int(any(figure.value == "failed" for figure in bench.figures))


def main() -> None:
    """Runs the parts that were named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART")
    parser.add_argument("--viewers", type=int, default=50)
    parser.add_argument("--signals", type=int, default=200)
    parser.add_argument("--hz", type=float, default=50)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--cuts", type=float, nargs="*", default=[10.0, 45.0])
    parser.add_argument("--patience", type=float, default=180, help="seconds to wait for the truth to arrive")
    sys.exit(asyncio.run(_main(parser.parse_args())))


if __name__ == "__main__":
    main()
