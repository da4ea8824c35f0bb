"""Pages in a call: a Chromium with a fake camera and microphone, each person in a profile of their own."""

import asyncio
import contextlib
from pathlib import Path

import pytest
from conftest import CHROMIUM, FLAGS

from consult.invites import Role

FAKE_CAMERA = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream=fps=10")
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
LAPTOP = {"viewport": {"width": 1280, "height": 800}}
PATIENCE_S = 180
PATIENCE_MS = PATIENCE_S * 1000

FRAMES = """(person) => {
  const video = document.querySelector(`.tile[data-person="${person}"] video`);
  return video && video.videoWidth > 0 ? video.getVideoPlaybackQuality().totalVideoFrames : 0;
}"""
"""How many frames of somebody this page has shown."""

STATS = """async () => {
  const rows = [];
  for (const connection of window.huizhen.call().connections())
    for (const row of (await connection.getStats()).values()) rows.push(row);
  return rows;
}"""

STAND_ON = """(at) => {
  const { ladder } = window.huizhen.call();
  ladder.at = at;
  ladder.take = () => true;
}"""
"""What stands on the ladder's rungs: whole, smaller, smallest, voice, letters."""

STAY = "window.huizhen.call().ladder.take = () => false"
"""Stands on the first rung whatever is measured: several browsers on a slow machine are a thin line indeed."""


STARVED = 0.05


def _processor_times():
    """Jiffies of all processors: idle, and all."""
    times = [int(word) for word in Path("/proc/stat").read_text(encoding="ascii").split()[1:9]]
    return times[3], sum(times)


@contextlib.asynccontextmanager
async def unless_starved(limit_s):
    """Within so long; skips, with the figure, where it takes longer and the processors were busy all the time.

    Five browsers in a call need two whole processors: where pictures are taken faster than all together can show them,
    nothing is learnt of the engine. Where they wait for something that does not come, processors idle: that fails.
    """
    playwright = pytest.importorskip("playwright.async_api")
    idle, every = _processor_times()
    try:
        async with asyncio.timeout(limit_s):
            yield
    except (TimeoutError, playwright.TimeoutError):
        now_idle, now_every = _processor_times()
        share = (now_idle - idle) / (now_every - every)
        if share > STARVED:
            raise
        pytest.skip(f"too slow a machine for five browsers in a call: processors idled {share:.1%} of {limit_s} s")


class Chromes:
    """One browser process; ``enter`` opens a page of a new person in a room."""

    def __init__(self, chromium, service, room):
        self.chromium = chromium
        self.service = service
        self.room = room
        self.complaints = []

    async def enter(self, role, name, *, lang="zh-CN", **look):
        """A page that has joined the room: its own cookies, its own number as ``page.person``."""
        return await self.open(self.service.invite(self.room, Role(role)).url, name, lang=lang, **look)

    async def open(self, url, name, *, lang="zh-CN", **look):
        """The same by an invite's address."""
        context = await self.chromium.new_context(locale=lang, **(look or LAPTOP))
        context.set_default_timeout(PATIENCE_MS)
        page = await context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(f"{name}: {error}"))
        await page.goto(url)
        await page.get_by_role("textbox").fill(name)
        await page.locator("form button.primary").click()
        await page.wait_for_url("**/r/*")
        await page.wait_for_selector("#connection[data-kind=good], #connection[data-kind=fair]", timeout=PATIENCE_MS)
        page.person = await page.evaluate("window.huizhen.you()")
        return page


@contextlib.asynccontextmanager
async def chromes(service, room, *more):
    """A Chromium whose camera and microphone are made up."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    playwright = pytest.importorskip("playwright.async_api")
    async with playwright.async_playwright() as driver:
        chromium = await driver.chromium.launch(
            executable_path=CHROMIUM, headless=True, args=[*FLAGS, *FAKE_CAMERA, *more]
        )
        try:
            yield (found := Chromes(chromium, service, room))
        finally:
            await chromium.close()
        assert found.complaints == []


async def join(page, kind="video", *, steps=False):
    """Joins the call as a person does: by the head's button, on a phone by the big one.

    ``steps``: pictures get smaller and go where the line is too thin, as they do for people.
    """
    if page.viewport_size["width"] < 760:
        await page.locator("nav [data-tab=call]").click()
        await page.locator(f".call-start [data-join={kind}]").click()
    else:
        await page.locator("#call-open").click()
        await page.locator(f"[data-join-menu={kind}]").click()
    await page.wait_for_selector(".call.in-call", timeout=PATIENCE_MS)
    if not steps:
        await page.evaluate(STAY)


async def until(page, expression, argument=None):
    """Waits for something in the page, whose policy lets Playwright's own waiting evaluate nothing."""
    async with asyncio.timeout(PATIENCE_S):
        while not await page.evaluate(expression, argument):  # noqa: ASYNC110 - it happens in the browser
            await asyncio.sleep(0.1)


async def advances(page, person):
    """Waits until frames of somebody are decoded here, one after the other."""
    async with asyncio.timeout(PATIENCE_S):
        first = 0
        while not first:
            first = await page.evaluate(FRAMES, person)
            await asyncio.sleep(0.1)
        while await page.evaluate(FRAMES, person) < first + 5:  # noqa: ASYNC110 - it happens in the browser
            await asyncio.sleep(0.1)


async def rows_of(page, what, /, **fields):
    """The rows of one type in the statistics of the page's connections."""
    rows = await page.evaluate(STATS)
    return [row for row in rows if row["type"] == what and all(row.get(name) == want for name, want in fields.items())]
