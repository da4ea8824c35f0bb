"""The notice at the door and the privacy page, in a browser, as people see them."""

import pytest
from privacykit import PASSWORD, RULES, MovedClock, add_account, get, post, privacy_config, technician, visitor

from consult.consenttexts import notice_text, version_of
from consult.invites import Role
from consult.privacyconfig import PrivacyConfig
from consult.service import running_service

PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 800}
OURS = {"operator": "汇诊新能源服务中心", "contact": "privacy@example.com", "retention_days": 90, "region": "CN"}


@pytest.fixture
async def service(tmp_path):
    async with running_service(privacy_config(tmp_path, MovedClock(), **OURS)) as running:
        yield running


async def shot(page, shots, name):
    if shots:
        shots.mkdir(parents=True, exist_ok=True)
        await page.screenshot(path=str(shots / f"{name}.png"), full_page=True)


async def overflow(page):
    return await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


async def test_the_notice_is_shown_before_anybody_joins_and_what_was_shown_is_kept(service, browser, shots):
    async with visitor() as laptop:
        token, path = await technician(laptop, service)
        page = await browser.new_page()
        complaints = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        for size, device in ((PHONE, "phone"), (DESKTOP, "desktop")):
            await page.set_viewport_size(size)
            await page.goto(f"{service.url}/join#{service.invite(path[3:], Role.EXPERT).code}")
            await page.wait_for_selector(".notice p")
            await page.reload()
            await page.wait_for_selector(".notice p")
            assert "90 天" in await page.inner_text(".notice")
            assert await overflow(page) <= 0
            box = await (await page.query_selector(".notice a")).bounding_box()
            assert box["height"] >= 40
            await shot(page, shots, f"door-{device}-zh")
            await page.click("button.quiet")
            await page.wait_for_selector(".notice p:has-text('90 days')")
            await shot(page, shots, f"door-{device}-en")
            await page.click("button.quiet")
            await page.wait_for_selector(".notice p:has-text('90 天')")
        await page.fill("#name", "李工")
        await page.click("button.primary")
        await page.wait_for_url(f"**{path}")
        (one,) = (await get(laptop, service.url, f"{path}/consent", token))[1]["consents"]
        assert (one["name"], one["lang"], one["kind"]) == ("李工", "zh", "notice")
        assert one["version"] == version_of("notice", notice_text(PrivacyConfig(**OURS), service.config.visit_days))
        assert complaints == []


async def test_the_privacy_page_fits_phones_and_desktops_in_both_languages(service, browser, shots):
    page = await browser.new_page()
    refused = []
    page.on("console", lambda said: refused.append(said.text) if said.type == "error" else None)
    for size, device in ((PHONE, "phone"), (DESKTOP, "desktop")):
        await page.set_viewport_size(size)
        for lang, words in (("zh", "您的权利"), ("en", "Your rights")):
            await page.goto(f"{service.url}/privacy?lang={lang}")
            assert words in await page.inner_text("body")
            assert "汇诊新能源服务中心" in await page.inner_text("body")
            assert await overflow(page) <= 0
            await shot(page, shots, f"privacy-{device}-{lang}")
    await page.click("a.lang")
    await page.wait_for_url("**lang=zh")
    assert refused == [], "the page has nothing that its policy forbids"


async def test_a_page_that_may_not_watch_from_here_says_so(tmp_path, browser, shots):
    config = privacy_config(tmp_path, MovedClock(), regions=RULES)
    async with running_service(config) as service, visitor() as laptop:
        token, path = await technician(laptop, service)
        code = service.invite(path[3:], Role.EXPERT).code
        page = await browser.new_page()
        await page.set_viewport_size(PHONE)
        await page.goto(f"{service.url}/join#{code}")
        await page.wait_for_selector(".notice p")
        await page.click("button.primary")
        await page.wait_for_selector(".problem:has-text('地区')")
        await shot(page, shots, "door-refused-phone-zh")
        status, told = await get(laptop, service.url, f"{path}/region", token)
        assert (status, [one["why"] for one in told["refused"]]) == (200, ["network"])
        assert (await post(laptop, service.url, f"{path}/renew", token=token))[0] == 200


async def test_an_account_sees_the_notice_in_the_lobby_and_enters_where_it_is_required(tmp_path, browser, shots):
    config = privacy_config(tmp_path, MovedClock(), notice_required=True, **OURS)
    async with running_service(config) as service, visitor() as laptop:
        add_account(service, "li")
        token, path = await technician(laptop, service)
        assert (await post(laptop, service.url, f"{path}/experts", {"allowed": True}, token))[0] == 200
        page = await browser.new_page()
        await page.set_viewport_size(PHONE)
        await page.goto(f"{service.url}/login")
        await page.fill("#account", "li")
        await page.fill("#password", PASSWORD)
        await page.click("button.primary")
        await page.wait_for_selector(".notice p")
        assert "90 天" in await page.inner_text(".notice")
        await page.wait_for_selector(".lobby-rooms button")
        assert await overflow(page) <= 0
        await shot(page, shots, "lobby-phone-zh")
        await page.click(".lobby-rooms button")
        await page.wait_for_url(f"**{path}")
        (one,) = (await get(laptop, service.url, f"{path}/consent", token))[1]["consents"]
        assert (one["account"], one["kind"], one["lang"]) == ("li", "notice", "zh")
