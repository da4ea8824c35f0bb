"""Curves on the page in Chromium: charts, marks that all see, who leads and who follows, the past, the cells."""

import asyncio
import dataclasses
import time

import numpy as np
import pytest
from test_consult_browser import page_of

from consult.service import running_service
from diag.samples import SampleBlock, SignalInfo, StreamSchema

pytestmark = pytest.mark.browser


async def window_of(page):
    """What the charts show: from and to in seconds, and whether that moves."""
    return await page.evaluate("window.huizhen.window()")


async def until(page, condition, timeout_s=120):
    """Waits for something in the page. Playwright's own waiting needs eval, which the page's policy forbids."""
    async with asyncio.timeout(timeout_s):
        while not await page.evaluate(condition):  # noqa: ASYNC110 - it happens in the browser
            await asyncio.sleep(0.05)


async def wait_for_window(page, condition):
    drawn = "w.to > 1e9"  # before the first sample there is nothing to look at
    await until(page, f"(() => {{ const w = window.huizhen.window(); return {drawn} && ({condition}); }})()")


async def drag(page, box, start, end):
    """The pointer pressed at one share of a box's width and let go at another."""
    y = box["y"] + box["height"] / 2
    await page.mouse.move(box["x"] + box["width"] * start, y)
    await page.mouse.down()
    for step in range(1, 6):
        await page.mouse.move(box["x"] + box["width"] * (start + (end - start) * step / 5), y)
    await page.mouse.up()


async def test_a_signal_gets_a_chart_of_its_own_and_charts_fold(service, car, report, in_room, browser):
    async with in_room(service, car, report) as agent, page_of(browser, (await agent.invite()).url) as page:
        await page.wait_for_selector("output[data-signal=CellVoltage_001]")
        before = await page.locator(".chart").count()
        await page.get_by_role("button", name="更多 CellVoltage_001").click()
        await page.get_by_role("button", name="移到单独的图表").click()
        assert await page.locator(".chart").count() == before + 1
        own = page.locator(".chart", has=page.locator("output[data-signal=CellVoltage_001]"))
        assert await own.locator("output").count() == 1
        await own.get_by_role("button", name="折叠图表").click()
        await page.wait_for_selector(".chart.collapsed output[data-signal=CellVoltage_001]")
        assert await page.locator(".chart.collapsed .uplot").count() == 0
        await page.get_by_role("button", name="更多 CellVoltage_001").click()
        await page.locator(".popup.menu").get_by_role("button", name="移到图表： CellVoltage_017").click()
        assert await page.locator(".chart").count() == before
        await page.get_by_role("button", name="新增空图表").click()
        assert await page.locator(".chart").count() == before + 1
        await page.get_by_role("button", name="移除此图表").click()
        assert await page.locator(".chart").count() == before


async def test_a_mark_is_seen_by_the_other_and_found_again(service, car, report, in_room, browser):
    async with (
        in_room(service, car, report) as agent,
        page_of(browser, (await agent.invite()).url) as first,
        page_of(browser, (await agent.invite()).url) as second,
    ):
        await wait_for_window(first, "w.to - w.from >= 9")
        await first.bring_to_front()
        await first.keyboard.press("m")
        await first.wait_for_selector(".popup.dialog")
        await first.keyboard.type("压差突变")
        await first.keyboard.press("Enter")
        await second.locator(".side-tabs [data-side=marks]").click()
        await second.wait_for_selector("#marks li:has-text('压差突变')")
        [event] = [one for one in service.room(agent.room).events_after(0) if one["kind"] == "mark"]
        assert event["text"] == "压差突变"
        assert event["body"]["stream"] == 1
        assert await second.locator("#marks .close").count() == 0, "only who set it takes it away"

        await second.bring_to_front()
        await second.locator("#marks .mark-go").click()
        await wait_for_window(second, f"!w.live && w.from <= {event['body']['t_us'] / 1e6} && w.to >= w.from")
        assert await second.locator(f"output[data-signal='{event['body']['signal']}']").count() == 1
        await first.bring_to_front()
        await first.locator(".side-tabs [data-side=marks]").click()
        await first.locator("#marks .close").click()
        await second.wait_for_selector("#marks li", state="detached")


async def test_a_click_on_a_curve_marks_it_and_one_beside_does_not(service, car, report, in_room, browser):
    async with in_room(service, car, report) as agent, page_of(browser, (await agent.invite()).url) as page:
        await wait_for_window(page, "w.to - w.from >= 9")
        await page.keyboard.press(" ")
        await wait_for_window(page, "!w.live")
        over = page.locator(".chart", has=page.locator("output[data-signal=StateOfCharge]")).locator(".u-over")
        await over.scroll_into_view_if_needed()
        box = await over.bounding_box()
        await page.mouse.click(box["x"] + box["width"] * 0.97, box["y"] + 3)
        assert await page.locator(".popup").count() == 0
        found = False
        for share in np.linspace(0.2, 0.8, 13):
            await page.mouse.click(box["x"] + box["width"] * 0.97, box["y"] + box["height"] * share)
            if found := await page.locator(".popup.dialog").count() > 0:
                break
        assert found, "somewhere on its height there is the curve"
        assert "StateOfCharge" in await page.locator(".popup.dialog").text_content()
        await page.keyboard.press("Escape")
        assert await page.locator(".popup").count() == 0


async def test_who_follows_sees_what_the_other_looks_at_until_they_touch_a_chart(
    service, car, report, in_room, browser
):
    async with (
        in_room(service, car, report) as agent,
        page_of(browser, (await agent.invite()).url) as leader,
        page_of(browser, (await agent.invite()).url) as follower,
    ):
        await wait_for_window(leader, "w.to - w.from >= 9")
        assert await follower.locator("button.follow").count() == 0, "nobody leads yet"
        await leader.bring_to_front()
        await leader.locator("#lead").click()
        await follower.locator("button.follow").click()
        await follower.wait_for_selector(".follow-bar:has-text('李工')")

        await leader.bring_to_front()
        await leader.locator("input[type=search]").first.fill("VehicleSpeed")
        await leader.keyboard.press("Enter")
        await leader.keyboard.press("Escape")
        await follower.wait_for_selector("output[data-signal=VehicleSpeed]")
        box = await leader.locator(".u-over").first.bounding_box()
        await drag(leader, box, 0.3, 0.6)
        await wait_for_window(leader, "!w.live")
        shown = await window_of(leader)
        await follower.bring_to_front()
        await wait_for_window(follower, f"!w.live && Math.abs(w.from - {shown['from']}) < 0.01")

        await follower.keyboard.press("+")
        await follower.wait_for_selector(".follow-bar", state="hidden")
        await leader.bring_to_front()
        await leader.keyboard.press("l")
        await wait_for_window(leader, "w.live")
        await asyncio.sleep(0.6)
        assert not (await window_of(follower))["live"], "its own hand is on the time now"


class LongCar:
    """Ten minutes of the past, told at once, then the present; a step of the signal marks where five minutes ago is."""

    def __init__(self):
        self.schema = StreamSchema(1, (SignalInfo("Ramp", "V", "M"), SignalInfo("Other", "A", "M")))
        self.began_us = 0

    async def blocks(self):
        valid, past_s, rate = np.ones(2, np.bool_), 600, 20
        start_ns = time.time_ns() - past_s * 1_000_000_000
        self.began_us = start_ns // 1000
        for tick in range(past_s * rate):
            values = np.array([tick / rate, 5.0 if tick / rate > 300 else -5.0], np.float32)
            yield SampleBlock(start_ns + tick * 1_000_000_000 // rate, values, valid)
            if tick % 200 == 0:
                await asyncio.sleep(0)
        while True:
            yield SampleBlock(time.time_ns(), np.array([600, 5.0], np.float32), valid)
            await asyncio.sleep(0.05)


async def test_the_past_comes_from_the_record_while_live_goes_on(config, report, in_room, browser, eventually):
    car, behind_us = LongCar(), [601_000_000]
    # The room opened ten minutes ago, by its own clock.
    config = dataclasses.replace(config, now_us=lambda: time.time_ns() // 1000 - behind_us[0])
    async with running_service(config) as service, in_room(service, car, report) as agent:
        room = service.room(agent.room)
        await eventually(lambda: room.rings and room.rings[1].next > 12_000)
        behind_us[0] = 0
        asked = []
        async with page_of(browser, (await agent.invite()).url) as page:
            page.on("request", lambda request: asked.append(request.url) if "/history?" in request.url else None)
            await page.wait_for_selector("output[data-signal=Ramp]")
            await wait_for_window(page, "w.live && w.to - w.from > 59")
            newest = (await window_of(page))["to"]
            await page.locator(".overview canvas").scroll_into_view_if_needed()
            box = await page.locator(".overview canvas").bounding_box()
            await page.mouse.click(box["x"] + box["width"] * 0.1, box["y"] + 10)
            await wait_for_window(page, f"!w.live && w.to < {newest - 300}")
            await eventually(lambda: any("signal=Ramp" in url for url in asked))
            shown = await window_of(page)
            middle = (shown["from"] + shown["to"]) / 2
            over = page.locator(".u-over").first
            box = await over.bounding_box()
            await page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            right = middle - car.began_us / 1e6
            script = f"Math.abs(Number(document.querySelector('output[data-signal=Ramp]').textContent) - {right}) < 5"
            await until(page, script)

            await page.get_by_role("button", name="回到实时").click()
            await wait_for_window(page, f"w.live && w.to >= {newest}")
            await page.keyboard.press("0")
            await wait_for_window(page, "!w.live && w.to - w.from > 590")
            await until(page, "document.querySelector('output[data-signal=Other]')")


class PackCar:
    """192 cells in 16 modules, as a stream of their own; cell 3 of module 5 sags."""

    def __init__(self):
        self.schema = StreamSchema(1, (SignalInfo("PackCurrent", "A", "BMS"),))
        names = [f"M{m:02d}C{c:02d}" for m in range(1, 17) for c in range(1, 13)]
        self.cells = StreamSchema(2, tuple(SignalInfo(name, "mV", "Cells") for name in names), "cells", "cells", 5.0)

    async def blocks(self):
        while True:
            yield SampleBlock(time.time_ns(), np.array([10], np.float32), np.ones(1, np.bool_))
            await asyncio.sleep(0.1)

    async def cell_blocks(self):
        tick = 0
        while True:
            values = np.full(192, 3650, np.float32) + np.arange(192, dtype=np.float32) % 3
            values[4 * 12 + 2] = 3650 - min(120, tick)
            valid = np.ones(192, np.bool_)
            valid[191] = False
            yield SampleBlock(time.time_ns(), values, valid)
            tick += 4
            await asyncio.sleep(0.1)


async def test_a_big_pack_is_shown_by_module_and_a_cell_is_drawn(service, report, browser):
    from consult.joining import joined_room

    car = PackCar()
    report["battery"]["cell_labels"] = [f"{m}-{c}" for m in range(1, 17) for c in range(1, 13)]
    async with joined_room(service.url, service.invite_technician().code) as agent:
        run = asyncio.create_task(
            agent.run(report, car.schema, car.blocks(), more=[(car.cells, car.cell_blocks())]),
        )
        try:
            async with page_of(browser, (await agent.invite()).url) as page:
                await until(page, "document.querySelectorAll('#battery .module').length === 16")
                assert await page.locator("#battery .cell").count() == 192
                await page.wait_for_selector("#battery [data-cell='51'][data-extreme=low]")
                script = (
                    "(() => { const label = document.querySelector('[data-cell=\"51\"]').ariaLabel;"
                    " return label.startsWith('5-3：3.') && label.includes('−'); })()"
                )
                await until(page, script)
                assert await page.locator("[data-cell='192']").get_attribute("data-side") == "none", (
                    "unseen is not zero"
                )
                await page.wait_for_selector("#battery figure:not([hidden]) canvas")
                await page.locator("[data-cell='51']").click()
                await page.wait_for_selector("output[data-signal=M05C03]")
                await page.wait_for_selector("#battery [data-cell='51'][aria-pressed=true]")
                await page.locator("[data-cell='51']").focus()
                await page.keyboard.press("ArrowDown")
                assert await page.evaluate("document.activeElement.dataset.cell") == "63"
                assert "6-3" in await page.locator("#battery .pointed").text_content()
        finally:
            agent.leave()
            await run
