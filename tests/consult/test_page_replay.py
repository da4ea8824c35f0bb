"""A recorded room on the page in Chromium: it plays, stands and jumps, and shows the very samples that were live."""

import asyncio

import pytest
from test_consult_browser import count, page_of
from test_page_curves import until, wait_for_window

from consult.replayservice import ReplayConfig, running_replay

pytestmark = pytest.mark.browser

NAMES = ["CellVoltage_017", "PackCurrent", "ChargerTemp"]


async def digest(page, from_us, to_us):
    return await page.evaluate(
        "([names, from, to]) => window.huizhen.digest(1, names, from, to)", [NAMES, from_us, to_us]
    )


async def test_a_replay_shows_the_same_curves_as_the_live_page(service, car, report, in_room, browser, eventually):
    car.period_s = 0.02
    async with in_room(service, car, report) as agent:
        room = service.room(agent.room)
        async with page_of(browser, (await agent.invite()).url) as live:
            await wait_for_window(live, "w.to - w.from >= 9")
            await live.keyboard.press("m")
            await live.wait_for_selector(".popup.dialog input")
            await live.keyboard.type("看这里")
            await live.keyboard.press("Enter")
            await live.locator(".say textarea").fill("你好")
            await live.keyboard.press("Enter")
            await live.wait_for_selector(".said.own")
            await until(live, "window.huizhen.window().to - window.huizhen.window().from >= 12")
            shown = await live.evaluate("window.huizhen.window()")
            until_us = int(shown["to"] * 1e6)
            from_us = until_us - 8_000_000
            async with asyncio.timeout(120):
                while await count(live, "missing"):  # noqa: ASYNC110 - it happens in the browser
                    await asyncio.sleep(0.1)
            seen = await digest(live, from_us, until_us)
            [mark] = [one for one in room.events_after(0) if one["kind"] == "mark"]
        path = room.journal.path
    await eventually(lambda: service.rooms == {})

    async with (
        running_replay(ReplayConfig(path, speed=50.0)) as replay,
        page_of(browser, replay.invite_url()) as page,
    ):
        await page.wait_for_selector(".replay-bar:not([hidden])")
        await until(page, "document.querySelector('#replay-speed').value === '50'")
        await wait_for_window(page, f"w.to * 1e6 >= {until_us}")
        assert await digest(page, from_us, until_us) == seen, "the record shows what the live page showed"
        await page.wait_for_selector(".said:has-text('你好')")
        assert await page.locator(".say textarea").count() == 0, "nobody talks in a replay"
        assert await page.locator("#stop").is_hidden()
        assert await page.locator("#ask").count() == 0
        await page.locator(".side-tabs [data-side=marks]").click()
        await page.wait_for_selector("#marks li:has-text('看这里')")
        assert await page.locator(".ticks .mark").count() == 1

        await page.locator("#replay-play").click()
        await page.locator("#replay-seek").evaluate(
            "(slider) => { slider.value = '0'; slider.dispatchEvent(new Event('change')); }"
        )
        await page.wait_for_selector("#marks .hint")
        await until(page, "document.querySelectorAll('.said').length === 0")
        await page.locator("#replay-speed").select_option("10")
        await page.locator("#replay-play").click()
        await page.wait_for_selector("#marks li:has-text('看这里')")
        await wait_for_window(page, f"w.to * 1e6 >= {mark['body']['t_us']}")
        await wait_for_window(page, f"w.to * 1e6 >= {until_us}")
        assert await digest(page, from_us, until_us) == seen, "and again after a jump"
