"""The record in Chromium: the page plays it again and holds the very samples that it held in the room."""

import asyncio
import hashlib
import struct

import numpy as np
import pytest

from consult.recordcheck import check_record
from consult.recording import Recording
from consult.replayservice import ReplayConfig, running_replay
from consult.samplecolumns import read_columns

pytestmark = pytest.mark.browser

SIGNALS = ["CellVoltage_017", "PackCurrent", "ChargerTemp"]


async def enter(page, url, name="李工"):
    await page.goto(url)
    await page.get_by_role("textbox").fill(name)
    await page.locator(".door-card button.primary").click()
    await page.wait_for_url("**/r/*")


async def digest(page, from_us, to_us):
    """The page's own digest; empty while it has not heard of the stream."""
    return await page.evaluate(
        "([names, from, to]) => window.huizhen.digest(1, names, from, to).catch(() => '')", [SIGNALS, from_us, to_us]
    )


def digest_of_record(path, from_us, to_us):
    """What the page computes, from the file alone: u32 seq, u64 t_us, a float32 per signal, no value as quiet NaN."""
    content = hashlib.sha256()
    with Recording(path) as recording:
        (span,) = recording.spans()
        places = [span.signals.index(name) for name in SIGNALS]
        for part in read_columns(recording, span, places, from_us, to_us + 1):
            for seq, t_us, values, valid in zip(part.seq, part.t_us, part.values, part.valid, strict=True):
                content.update(struct.pack("<IQ", seq, t_us))
                content.update(np.where(valid, values, np.float32(np.nan)).astype("<f4").tobytes())
    return content.hexdigest()


async def until(condition, timeout_s=120):
    async with asyncio.timeout(timeout_s):
        while not await condition():  # noqa: ASYNC110 - what is waited for happens in the browser
            await asyncio.sleep(0.05)


async def test_the_replay_holds_the_very_samples_of_the_room_and_seeks(
    service, car, report, in_room, browser, shots, eventually
):
    car.count = 160
    async with in_room(service, car, report) as agent:
        invite = await agent.invite("expert")
        live = await browser.new_page()
        await enter(live, invite.url)
        room = service.rooms[agent.room]
        await live.wait_for_function("window.huizhen !== undefined")
        await live.wait_for_selector("[data-code='P0DE6-16']")
        await eventually(lambda: len(car.sent) == 160)
        first, last = car.sent[40].t_ns // 1000, car.sent[150].t_ns // 1000
        await eventually(lambda: bool(room.journal.blocks(1, room.epoch, 150, 150)))
        expected = digest_of_record(room.journal.path, first, last)

        async def is_same():
            return await digest(live, first, last) == expected

        await until(is_same)
        await live.close()
    path = room.journal.path
    assert check_record(path).faults == ()
    assert digest_of_record(path, first, last) == expected

    async with running_replay(ReplayConfig(path, speed=50.0)) as replay:
        page = await browser.new_page()
        complaints = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await enter(page, replay.invite_url())
        await page.wait_for_selector("#replay-play")
        await page.wait_for_selector("[data-code='P0DE6-16']")

        async def is_played():
            return await digest(page, first, last) == expected

        await until(is_played)
        if shots:
            await page.screenshot(path=shots / "replay.png")
        seek = page.locator("#replay-seek")
        await seek.fill("250")
        await seek.dispatch_event("change")
        middle = replay.from_us + (replay.to_us - replay.from_us) // 4

        async def went_back():
            newest = await page.evaluate("Number(document.querySelector('#replay-seek').value)")
            return newest <= 300 and not await is_played()

        await until(went_back)
        assert middle < last
        await page.locator("#replay-speed").select_option("50")
        await page.locator("#replay-play").click()
        await until(is_played)
        assert complaints == []
