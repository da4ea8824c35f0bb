"""How smoothly the expert's page draws: 20 curves of 50 samples a second over 60 seconds, in a headless Chromium.

The room is the real one: agent, service, websocket and data channel. Its first minute is sent at once, with the times
it would have had, so that the window is full when the measuring begins; a second person is in the room and the pointer
stands on a chart, as it does where people work. Prints frames per second as ``requestAnimationFrame`` counts them,
drawings per second, and what a drawing costs the page's thread. `--curves`, `--charts` and `--seconds` change the task.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from consult.joining import joined_room
from consult.service import ServiceConfig, running_service
from diag.samples import SampleBlock, SignalInfo, StreamSchema

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RATE_HZ = 50
WINDOW_S = 60
GOAL_FPS = 30
REPORT = {"schema": "huizhen.scan/1", "simulated": True, "complete": True, "dtcs": [], "findings": [], "ecus": []}
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--allow-loopback-in-peer-connection",
)


def schema_of(curves: int, charts: int) -> StreamSchema:
    """As many signals as curves, of as many units as charts."""
    return StreamSchema(1, tuple(SignalInfo(f"Signal{chr(97 + i)}", f"u{i % charts}", "Bench") for i in range(curves)))


def values_at(tick: int, curves: int) -> np.ndarray:
    """Slow and fast waves with noise: nothing that a line of few points would draw."""
    t_s = tick / RATE_HZ
    which = np.arange(curves)
    noise = np.random.default_rng(tick).normal(0, 0.05, curves)
    return (np.sin(t_s * 0.7 + which) + 0.3 * np.sin(t_s * 9.1 + 2 * which) + noise + which * 0.3).astype(np.float32)


async def stream(curves: int) -> AsyncIterator[SampleBlock]:
    """A minute of the past at once, then the present in real time."""
    valid = np.ones(curves, dtype=np.bool_)
    began_ns, loop = time.time_ns(), asyncio.get_running_loop()
    began_s, before = loop.time(), WINDOW_S * RATE_HZ
    for tick in range(before):
        t_ns = began_ns - (before - tick) * 1_000_000_000 // RATE_HZ
        yield SampleBlock(t_ns, values_at(tick, curves), valid)
        if tick % 100 == 0:
            await asyncio.sleep(0)
    tick = before
    while True:
        await asyncio.sleep(max(0.0, began_s + (tick - before) / RATE_HZ - loop.time()))
        yield SampleBlock(time.time_ns(), values_at(tick, curves), valid)
        tick += 1


async def measure(curves: int, charts: int, seconds: float) -> dict[str, list[float]]:
    """Runs the room and the page; returns what the page counted."""
    from playwright.async_api import async_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("Chromium is not installed")
    schema = schema_of(curves, charts)
    with tempfile.TemporaryDirectory() as folder:
        async with (
            running_service(ServiceConfig(data=Path(folder) / "rooms")) as service,
            joined_room(service.url, service.invite_technician().code, name="bench") as agent,
            async_playwright() as driver,
        ):
            run = asyncio.create_task(agent.run(REPORT, schema, stream(curves)))
            context = await driver.chromium.launch_persistent_context(
                str(Path(folder) / "profile"),
                executable_path=chromium,
                headless=True,
                args=list(FLAGS),
                viewport={"width": 1280, "height": 800},
                locale="en-GB",
            )
            try:
                page = await context.new_page()
                await page.goto((await agent.invite("expert")).url)
                await page.locator(".door-card button.primary").click()
                await page.wait_for_selector("output[data-signal=Signala]")
                for index in range(curves):
                    name = f"Signal{chr(97 + index)}"
                    if await page.locator(f"output[data-signal={name}]").count() == 0:
                        await page.locator("input[type=search]").first.fill(name)
                        await page.keyboard.press("Enter")
                await page.keyboard.press("Escape")
                full = "window.huizhen.window().to - window.huizhen.window().from > 59"
                while not await page.evaluate(full):  # noqa: ASYNC110 - it happens in the browser
                    await asyncio.sleep(0.1)
                await page.locator(".u-over").first.hover()
                await asyncio.sleep(2)
                await page.evaluate("window.huizhen.clearFrames()")
                cpu_s = await asyncio.to_thread(cpu_of_browser, Path(folder) / "profile")
                await asyncio.sleep(seconds)
                found = await page.evaluate("window.huizhen.frames()")
                found["cpu"] = [await asyncio.to_thread(cpu_of_browser, Path(folder) / "profile") - cpu_s]
                if folder_of_shots := os.environ.get("HUIZHEN_SHOTS"):
                    await page.screenshot(path=Path(folder_of_shots) / f"fps-{curves}-{charts}.png")
                return found
            finally:
                await context.close()
                agent.leave()
                run.cancel()


def cpu_of_browser(profile: Path) -> float:
    """Seconds of processor time of all the browser's processes so far (Linux; elsewhere 0)."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if str(profile).encode() in (folder / "cmdline").read_bytes():
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                total += int(fields[11]) + int(fields[12])
        except OSError:
            continue
    return total / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--curves", type=int, default=20)
    parser.add_argument("--charts", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=10.0)
    chosen = parser.parse_args()
    found = asyncio.run(measure(chosen.curves, chosen.charts, chosen.seconds))
    frames, draws, costs = (np.array(found[name]) for name in ("frames", "draws", "costs"))
    task = f"{chosen.curves} curves x {RATE_HZ} Hz x {WINDOW_S} s in {chosen.charts} charts"
    print(f"{task}, 1280 x 800, {os.cpu_count()} cores")
    for what, gaps in (("frames", frames), ("drawings", draws)):
        late = f"p95 {np.percentile(gaps, 95):5.1f} ms   worst {gaps.max():6.1f} ms"
        print(f"{what:8} {1000 / gaps.mean():6.1f} per s   {late}")
    print(f"cost of a drawing: median {np.median(costs):5.2f} ms   p95 {np.percentile(costs, 95):5.2f} ms")
    print(f"the browser's processes: {100 * found['cpu'][0] / chosen.seconds:5.1f} % of a core")
    print(f"goal {GOAL_FPS} drawings per s: {'reached' if 1000 / draws.mean() >= GOAL_FPS else 'MISSED'}")


if __name__ == "__main__":
    main()
