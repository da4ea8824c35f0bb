"""The lobby in a real browser: the notice that changed meanwhile, cars without a name, clocks that end."""

import asyncio

import pytest
from queuekit import PASSWORD, Clock, sick_report, staffed, technician

pytestmark = pytest.mark.browser
PATIENCE_MS = 120_000

COUNTED = """
window.running = new Set();
const [begin, end] = [window.setInterval.bind(window), window.clearInterval.bind(window)];
window.setInterval = (...words) => { const id = begin(...words); window.running.add(id); return id; };
window.clearInterval = (id) => { window.running.delete(id); end(id); };
"""


@pytest.fixture
def config(tmp_path):
    return staffed(tmp_path, Clock())


@pytest.fixture
async def page(browser, service):
    """Li's lobby."""
    page = browser.pages[0]
    page.set_default_timeout(PATIENCE_MS)
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.add_init_script(COUNTED)
    yield page
    assert complaints == []


async def sign_in(page, service, name="li"):
    await page.goto(f"{service.url}/login")
    await page.fill("#account", name)
    await page.fill("#password", PASSWORD)
    await page.click("button[type=submit]")
    await page.wait_for_selector(".lobby-queue")


async def look(page, shots, name):
    if shots is not None:
        await page.screenshot(path=shots / f"{name}.png", full_page=True)


async def test_a_notice_that_changed_meanwhile_is_shown_anew(page, service, shots):
    async def older(route):
        answer = await route.fetch()
        told = await answer.json()
        await route.fulfill(json={**told, "version": "0000", "notice": {"en": "The old one.", "zh": "旧告知。"}})

    async with technician(service.url, service.invite_technician().code) as laptop:
        await laptop.tell(sick_report())
        await laptop.post("escalate", {"language": "zh"})
        await page.route("**/api/privacy", older)
        await sign_in(page, service)
        await page.wait_for_selector(".notice:has-text('旧告知')")
        await page.unroute("**/api/privacy")
        await page.click(".offer .accept")
        await page.wait_for_selector(".problem:has-text('隐私告知已更新')")
        await page.wait_for_selector(".notice-anew:not(:has-text('旧告知'))")
        await look(page, shots, "lobby-notice-anew-zh-desktop")
        await page.click(".offer .accept")
        await page.wait_for_url(f"**/r/{laptop.ident}")


async def test_why_one_did_not_come_in_stays_over_the_next_look_at_the_rooms(page, service):
    async with technician(service.url, service.invite_technician().code) as laptop:
        await laptop.tell(sick_report("direct"))
        service.let_experts_in(laptop.ident, True, "T")
        await sign_in(page, service)
        room = f".lobby-rooms li[data-room='{laptop.ident}']"
        await page.wait_for_selector(room)
        refused = {"error": "consult.region-refused", "message": "no"}
        await page.route("**/enter", lambda route: route.fulfill(status=403, json=refused))
        await page.click(f"{room} button")
        await page.wait_for_selector(".problem:has-text('不允许从您所在的地区')")
        async with page.expect_response("**/api/rooms"):
            pass
        async with page.expect_response("**/api/rooms"):  # what the first one said has been drawn
            pass
        assert "不允许从您所在的地区" in await page.inner_text(".lobby-card")


async def test_a_car_of_which_only_the_year_is_known_has_no_name(page, service, shots):
    report = sick_report("direct")
    report["vehicle"] = {**report["vehicle"], "make": None, "model": None, "model_year": 2024}
    async with (
        technician(service.url, service.invite_technician().code) as laptop,
        technician(service.url, service.invite_technician().code) as other,
    ):
        await laptop.tell(report)
        await other.tell(sick_report("direct"))
        for one in (laptop, other):
            service.let_experts_in(one.ident, True, "T")
        await sign_in(page, service)
        for one, name in ((laptop, "未知车型 (2024)"), (other, "Huizhen EV400 2022")):
            row = page.locator(f".lobby-rooms li[data-room='{one.ident}'] strong")
            await row.wait_for()
            assert await row.inner_text() == name
        await look(page, shots, "lobby-unnamed-zh-desktop")


async def test_no_clock_goes_on_behind_a_lobby_that_was_left(page, service):
    await sign_in(page, service)
    before = await page.evaluate("window.running.size")
    for words in ("English", "中文", "English"):
        await page.click(f"button.quiet:has-text('{words}')")
        await page.wait_for_selector(".lobby-queue")
    await page.click("button:has-text('Sign out')")
    await page.wait_for_selector("#password")
    async with asyncio.timeout(120):
        while await page.evaluate("window.running.size") >= before:  # noqa: ASYNC110 - it happens in the browser
            await asyncio.sleep(0.1)
