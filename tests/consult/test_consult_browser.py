"""The whole room with real parts: agent, service, and Chromium with its own WebRTC."""

import asyncio
import contextlib
import csv
import dataclasses
import io
from pathlib import Path

import pytest

from consult.service import running_service
from consult.wire import parse_samples

pytestmark = pytest.mark.browser


async def enter(page, url, name="李工"):
    """An expert opens the link and presses the button."""
    await page.goto(url)
    await page.get_by_role("textbox").fill(name)
    await page.locator(".door-card button.primary").click()
    await page.wait_for_url("**/r/*")


async def count(page, name):
    """A figure of the connection's details."""
    text = await page.locator(f"[data-count={name}]").text_content()
    return int(text)


async def exported(page):
    """The samples that the page gives out as CSV: (epoch, seq) -> values by signal name."""
    async with page.expect_download() as download:
        await page.locator("#save-csv").click()
    text = await asyncio.to_thread(Path(await (await download.value).path()).read_text, encoding="utf-8-sig")
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
        await page.wait_for_selector("#connection[data-carrier=rtc][data-kind=good]")
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


async def wait_count(page, name, least, timeout_s=120):
    """Waits until a figure is at least so high."""
    async with asyncio.timeout(timeout_s):
        while await count(page, name) < least:  # noqa: ASYNC110 - it happens in the browser
            await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def page_of(browser, url):
    """A page of an expert who has joined; its complaints are the test's."""
    page, complaints = await browser.new_page(), []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await enter(page, url)
    yield page
    assert complaints == []
    await page.close()


async def test_where_the_service_has_no_live_edge_the_websocket_carries_everything(
    config, car, report, in_room, browser
):
    async with (
        running_service(dataclasses.replace(config, webrtc=False)) as service,
        in_room(service, car, report) as agent,
        page_of(browser, (await agent.invite()).url) as page,
    ):
        await page.wait_for_selector("#connection[data-carrier=wss][data-kind=fair]")
        await wait_count(page, "wss", 40)
        assert "WebSocket" in await page.locator("#connection").text_content()
        assert await count(page, "rtc") == 0
        assert await count(page, "missing") == 0


async def test_where_the_browser_has_no_webrtc_the_websocket_carries_everything(service, car, report, in_room, browser):
    await browser.add_init_script("delete window.RTCPeerConnection")
    async with in_room(service, car, report) as agent, page_of(browser, (await agent.invite()).url) as page:
        await page.wait_for_selector("#connection[data-carrier=wss][data-kind=fair]")
        await wait_count(page, "wss", 40)
        _, shown = await exported(page)
        await asyncio.sleep(0.3)
        kept = journaled(service.room(agent.room))
        assert len(shown) > 30
        for key, values in shown.items():
            assert values[0] == pytest.approx(float(kept[key].values[0]))


async def test_a_data_channel_that_dies_is_replaced_without_a_gap(service, car, report, in_room, browser):
    async with in_room(service, car, report) as agent, page_of(browser, (await agent.invite()).url) as page:
        await page.wait_for_selector("#connection[data-carrier=rtc]")
        await wait_count(page, "rtc", 20)
        [member] = service.room(agent.room).members.values()
        await member.edge.close()
        await page.wait_for_selector("#connection[data-carrier=wss]")
        before = await count(page, "wss")
        await wait_count(page, "wss", before + 3)
        await page.wait_for_selector("#connection[data-carrier=rtc]")
        assert await count(page, "attempts") >= 2
        assert await count(page, "gone") == 0
        await asyncio.sleep(1.5)
        _, shown = await exported(page)
        numbers = sorted(seq for _, seq in shown)
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "no block is missing"


async def test_a_late_joiner_sees_what_was_before(service, car, report, in_room, browser, eventually):
    car.period_s = 0.01
    async with in_room(service, car, report) as agent:
        room = service.room(agent.room)
        await eventually(lambda: room.rings and room.rings[1].next > 400)
        async with page_of(browser, (await agent.invite()).url) as page:
            await wait_count(page, "filled", 400)
            _, shown = await exported(page)
            assert min(seq for _, seq in shown) == 0


async def test_chat_goes_both_ways_and_presence_is_shown(service, car, report, in_room, browser, eventually):
    heard = []
    async with in_room(service, car, report, on_event=heard.append) as agent:
        async with page_of(browser, (await agent.invite()).url) as page:
            await page.wait_for_selector(".people li:has-text('王师傅')")
            agent.say("请看 17 号单体")
            await page.wait_for_selector(".said:has-text('请看 17 号单体')")
            await page.locator(".say textarea").fill("请做 100 A 带载\n<b>测试</b>")
            await page.keyboard.press("Enter")
            await page.wait_for_selector(".said.own:has-text('<b>测试</b>')")
            await eventually(lambda: any("<b>测试</b>" in event.text for event in heard))
            said = [event for event in heard if event.kind == "chat"]
            assert [(event.who["name"], event.who["role"]) for event in said] == [
                ("王师傅", "technician"),
                ("李工", "expert"),
            ]
            assert await page.locator(".said b").count() == 0, "words are never markup"
        await eventually(lambda: any(event.kind == "leave" for event in heard))


async def test_a_used_invite_is_refused_in_the_visitor_s_language(service, car, report, in_room, browser):
    async with in_room(service, car, report) as agent:
        invite = await agent.invite()
        async with page_of(browser, invite.url):
            late = await browser.new_page()
            await late.goto(invite.url)
            await late.locator(".door-card button.primary").click()
            await late.wait_for_selector("[role=alert]:has-text('已被使用')")
            await late.get_by_role("button", name="Switch to English").click()
            await late.locator(".door-card button.primary").click()
            await late.wait_for_selector("[role=alert]:has-text('used before')")
            await late.goto(f"{service.url}/r/{agent.room[::-1]}")
            await late.wait_for_selector("[role=alert]:has-text('session has ended')")


async def test_the_technician_ends_the_room(service, car, report, in_room, browser):
    page = await browser.new_page()
    async with in_room(service, car, report) as agent:
        await enter(page, (await agent.invite()).url)
        await page.wait_for_selector("#connection[data-carrier=rtc]")
    await page.wait_for_selector("text=技师已关闭会诊室")
    assert service.rooms == {} or next(iter(service.rooms.values())).closed_code


async def test_a_workshop_s_network_without_https(config, car, report, in_room, browser):
    """By an address that is no loopback the browser withholds what it keeps for secure pages."""
    async with running_service(dataclasses.replace(config, host="0.0.0.0")) as service:
        if service.url.startswith("http://127."):
            pytest.skip("this machine has no address but loopback")
        async with in_room(service, car, report) as agent, page_of(browser, (await agent.invite()).url) as page:
            assert not await page.evaluate("isSecureContext")
            await page.wait_for_selector("#connection[data-carrier=rtc][data-kind=good]")
            await page.locator(".say textarea").fill("hello")
            await page.keyboard.press("Enter")
            await page.wait_for_selector(".said.own:has-text('hello')")


async def test_signals_are_found_and_chosen_by_keyboard(service, car, report, in_room, browser):
    async with in_room(service, car, report) as agent, page_of(browser, (await agent.invite()).url) as page:
        await page.wait_for_selector("output[data-signal=PackCurrent]")
        await page.locator("body").press("/")
        await page.keyboard.type("vcu speed")
        await page.wait_for_selector("#signal-list [data-name=VehicleSpeed]")
        assert await page.locator("#signal-list [role=option]").count() == 1
        await page.keyboard.press("Enter")
        await page.keyboard.press("Escape")
        await page.wait_for_selector("output[data-signal=VehicleSpeed]")
        await page.locator("[data-cell='42']").click()
        await page.wait_for_selector("output[data-signal=CellVoltage_042]")
        extreme = "[data-cell='17'][data-extreme=low], [data-cell='17'][data-extreme=high]"
        await page.wait_for_selector(extreme, state="attached")  # drawn four times a second
        await page.get_by_role("button", name="移除 VehicleSpeed").click()
        await page.wait_for_selector("output[data-signal=VehicleSpeed]", state="detached")


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
