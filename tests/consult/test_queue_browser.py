"""The lobby in real browsers: an offer comes to the right expert and goes on; the technician sees the place."""

import contextlib

import pytest
from conftest import CHROMIUM, FLAGS
from queuekit import PASSWORD, Clock, queue_of, sick_report, staffed, technician
from servicekit import redeem

WAIT_MS = 120_000


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def config(tmp_path, clock):
    return staffed(tmp_path, clock)


@pytest.fixture
async def chromium():
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    playwright = pytest.importorskip("playwright.async_api")
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, headless=True, args=list(FLAGS))
        try:
            yield browser
        finally:
            await browser.close()


@contextlib.asynccontextmanager
async def lobby(chromium, service, name, *, lang="zh", phone=False, dark=False):
    """Somebody's own browser, signed in by the form."""
    size = {"width": 390, "height": 844} if phone else {"width": 1280, "height": 800}
    context = await chromium.new_context(
        locale="zh-CN" if lang == "zh" else "en-GB", viewport=size, color_scheme="dark" if dark else "light",
        has_touch=phone,
    )  # fmt: skip
    context.set_default_timeout(WAIT_MS)
    try:
        page = await context.new_page()
        page.trouble = []
        page.on("pageerror", lambda error: page.trouble.append(str(error)))
        await page.goto(f"{service.url}/login")
        await page.fill("#account", name)
        await page.fill("#password", PASSWORD)
        await page.click("button[type=submit]")
        await page.wait_for_selector(".lobby-queue")
        yield page
    finally:
        await context.close()


async def shoot(page, shots, name):
    if shots is not None:
        shots.mkdir(parents=True, exist_ok=True)
        await page.screenshot(path=shots / f"{name}.png", full_page=True)


async def test_an_offer_comes_to_the_right_expert_and_goes_on_when_their_time_is_over(chromium, service, clock, shots):
    async with (
        lobby(chromium, service, "li") as li,
        lobby(chromium, service, "mo", lang="en", phone=True) as mo,
        technician(service.url, service.invite_technician().code) as laptop,
        technician(service.url, service.invite_technician().code) as other,
    ):
        await laptop.tell(sick_report(codes=(("P0DE6", "0x7EC", "soon"), ("P0BBD", "0x7EC", "monitor"))))
        await laptop.post("escalate", {"language": "zh", "region": "CN"})
        offer = f'.offer[data-room="{laptop.ident}"]'
        await li.wait_for_selector(offer)
        assert "动力电池" in await li.inner_text(offer)
        assert "派给您的原因：动力电池 · 中文" in await li.inner_text(offer)
        assert await mo.query_selector(offer) is None
        await mo.wait_for_selector(".line li[data-severity=high]")
        await shoot(li, shots, "lobby-offer-desktop-zh")
        for button in await li.query_selector_all(f"{offer} button"):
            assert (await button.bounding_box())["height"] >= 40
        await li.wait_for_selector("time.ticking")
        clock.now += 61
        await queue_of(service).tend()
        await mo.wait_for_selector(offer)
        await li.wait_for_selector(offer, state="detached")
        await other.tell(sick_report(codes=(("P0AA6", "0x7EC", "stop"),)))
        await other.post("escalate", {"language": "en"})
        danger = f'.offer[data-room="{other.ident}"]'
        await mo.wait_for_selector(danger)
        first = await mo.get_attribute(".offers .offer >> nth=0", "data-room")
        assert first == other.ident, "danger stands on top, whatever waits longer"
        await shoot(mo, shots, "lobby-offers-phone-en")
        await mo.click(f"{danger} .pass")
        await mo.wait_for_selector(danger, state="detached")
        await mo.click(f"{offer} .accept")
        await mo.wait_for_url(f"**/r/{laptop.ident}")
        await mo.wait_for_selector(".room")
        assert (await laptop.place())["expert"] == "Mo"
        await li.click(f"{danger} .accept")
        await li.wait_for_url(f"**/r/{other.ident}")
        await li.goto(f"{service.url}/rooms")
        await li.wait_for_selector(f'.lobby-mine li[data-room="{other.ident}"]')
        await shoot(li, shots, "lobby-mine-desktop-zh")
        assert li.trouble == []
        assert mo.trouble == []


async def test_duty_is_a_switch_and_a_case_is_handed_back_in_two_steps(chromium, service, clock, shots):
    async with (
        lobby(chromium, service, "li", phone=True, dark=True) as li,
        technician(service.url, service.invite_technician().code) as laptop,
    ):
        await laptop.tell(sick_report())
        await laptop.post("escalate", {})
        await li.wait_for_selector(".offer")
        await li.click(".lobby-duty")
        await li.wait_for_selector(".lobby-off:not([hidden])")
        await li.wait_for_selector(".offer", state="detached")
        assert not service.state.find_account("li").on_duty
        await li.click(".lobby-duty")
        await queue_of(service).tend()
        clock.now += 301
        await li.wait_for_selector(".offer .accept")
        await shoot(li, shots, "lobby-open-phone-zh-dark")
        await li.click(".offer .accept")
        await li.wait_for_url(f"**/r/{laptop.ident}")
        await li.goto(f"{service.url}/rooms")
        await li.click(".lobby-mine button.quiet")
        assert queue_of(service).line.entries[laptop.ident].holder == "li", "one touch gives nothing away"
        await li.click(".lobby-mine button.quiet")
        await li.wait_for_selector(".lobby-mine", state="hidden")
        assert queue_of(service).line.entries[laptop.ident].holder == ""
        assert li.trouble == []


async def test_the_technicians_page_asks_for_an_expert_and_shows_the_place(chromium, service, shots):
    async with technician(service.url, service.invite_technician().code) as laptop:
        await laptop.tell(sick_report("direct"))
        context = await chromium.new_context(locale="zh-CN", viewport={"width": 390, "height": 844}, has_touch=True)
        context.set_default_timeout(WAIT_MS)
        try:
            page = await context.new_page()
            status, invite = await laptop.post("invites", {"role": "technician"})
            assert status == 200
            import aiohttp

            async with aiohttp.ClientSession() as http:
                status, body, cookies = await redeem(http, service.url, invite["invite"], name="Wang")
            assert status == 200
            await context.add_cookies(
                [
                    {"name": one.key, "value": one.value, "url": f"{service.url}{body['path']}"}
                    for one in cookies.values()
                ]
            )
            await page.goto(f"{service.url}{body['path']}")
            await page.wait_for_selector("#ask-expert")
            assert not service.entries[laptop.ident].lets_experts_in
            await shoot(page, shots, "room-ask-phone-zh")
            await page.click("#ask-expert")
            await page.wait_for_selector('.place-bar[data-state="offered"]')
            assert (await page.inner_text(".place-text")) == "排在第 1 位 · 正在询问专家"
            assert service.entries[laptop.ident].lets_experts_in
            await shoot(page, shots, "room-place-phone-zh")
        finally:
            await context.close()
