"""The whole room with real parts: agent, service, and Chromium with its own WebRTC."""

import asyncio
import csv
import io
from pathlib import Path

import pytest

from consult.wire import parse_samples

pytestmark = pytest.mark.browser


async def enter(page, url, name="李工"):
    """An expert opens the link and presses the button."""
    await page.goto(url)
    await page.get_by_role("textbox").fill(name)
    await page.get_by_role("button", name="加入会诊").click()
    await page.wait_for_url("**/r/*")


async def count(page, name):
    """A figure of the connection's details."""
    text = await page.locator(f"[data-count={name}]").text_content()
    return int(text)


async def exported(page):
    """The samples that the page gives out as CSV: (epoch, seq) -> values by signal name."""
    async with page.expect_download() as download:
        await page.locator("#save-csv").click()
    text = Path(await (await download.value).path()).read_text(encoding="utf-8-sig")
    rows = list(csv.reader(io.StringIO(text)))
    return rows[0][3:], {(int(row[0]), int(row[1])): [float(v) if v else None for v in row[3:]] for row in rows[1:]}


def journaled(room):
    """The same from the room's journal on disk."""
    blocks = room.journal.blocks(1, room.epoch, 0, 1 << 31)
    return {(room.epoch, seq): parse_samples(data) for seq, data in blocks}


async def test_expert_sees_the_car_and_its_curves_over_the_data_channel(service, car, report, in_room, browser, shots):
    async with in_room(service, car, report) as agent:
        invite = await agent.invite("expert")
        page = await browser.new_page()
        complaints = []
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await enter(page, invite.url)
        badge = page.locator("#connection")
        await page.wait_for_selector("#connection[data-carrier=rtc][data-kind=good]", timeout=10_000)
        assert "数据通道" in await badge.text_content()
        assert await page.locator("[data-code='P0DE6-16']").first.is_visible()
        assert "单体电压过低" in await page.locator("#dtcs").text_content()
        assert "模拟车辆" in await page.locator("header").text_content()
        assert "LHZ…1234" in await page.locator("header").text_content()

        first = await page.locator("output[data-signal=PackCurrent]").text_content()
        by_channel = await count(page, "rtc")
        await asyncio.sleep(2.0)
        assert await page.locator("output[data-signal=PackCurrent]").text_content() != first
        assert await count(page, "rtc") - by_channel > 25
        assert await count(page, "missing") == 0
        assert await count(page, "broken") == 0

        names, shown = await exported(page)
        await asyncio.sleep(0.3)
        kept = journaled(service.room(agent.room))
        assert names[0] == "CellVoltage_001 [V]"
        assert len(shown) > 40
        for key, values in shown.items():
            frame = kept[key]
            sent = [float(v) if ok else None for v, ok in zip(frame.values, frame.valid, strict=True)]
            assert values == pytest.approx(sent)
        assert all(values[-1] is None for values in shown.values()), "the charger's temperature is not there, not 0"
        if shots:
            await pictures(page, shots)
        assert complaints == []


async def pictures(page, shots):
    """Both languages, laptop and phone, for a person to look at."""
    await asyncio.sleep(12)
    await page.screenshot(path=shots / "zh-1280.png")
    await page.get_by_role("button", name="Switch").click()
    await asyncio.sleep(1)
    await page.screenshot(path=shots / "en-1280.png")
    await page.emulate_media(color_scheme="dark")
    await page.get_by_role("button", name="切换").click()
    await asyncio.sleep(1)
    await page.screenshot(path=shots / "zh-1280-dark.png")
    await page.emulate_media(color_scheme="light")
    await page.set_viewport_size({"width": 390, "height": 844})
    await asyncio.sleep(1)
    await page.screenshot(path=shots / "zh-phone-live.png")
    await page.get_by_role("button", name="故障", exact=True).click()
    await asyncio.sleep(0.5)
    await page.screenshot(path=shots / "zh-phone-faults.png")
    await page.get_by_role("button", name="交流", exact=True).click()
    await asyncio.sleep(0.5)
    await page.screenshot(path=shots / "zh-phone-talk.png")
    await page.set_viewport_size({"width": 1280, "height": 800})
