"""The review page in a real browser: an expert reads a draft, mends it, accepts it; takes and answers a problem.

With ``HUIZHEN_SHOTS`` set to a folder the page is photographed, at a desk and on a telephone, in both languages.
"""

import asyncio
import json

import pytest
from test_review import PASSWORD, PROPOSAL, service_desk, take_draft

from consult.accounts import Account, AccountRole, PasswordCheck
from consult.privacystore import Consent, PrivacyStore
from consult.reviewdesk import draft_notice, research_notice
from consult.service import ServiceConfig
from diag.facts import Text

pytestmark = pytest.mark.browser

DESK = {"width": 1280, "height": 800}
TELEPHONE = {"width": 390, "height": 844}


@pytest.fixture
def config(tmp_path):
    return ServiceConfig(data=tmp_path / "rooms", state=tmp_path / "rooms" / "service.db")


async def fill_queue(service, report):
    """A draft that waits, and a problem that stays unsolved."""
    number = await asyncio.to_thread(take_draft, service, report)
    desk = service_desk(service)
    now_us = service.config.now_us()
    desk.store.open_draft(number, "0" * 12, "", now_us)
    agreed = Consent(now_us, "0" * 12, 1, "王师傅", "", "sharing", True, "0" * 16, "zh")
    PrivacyStore(service.state).put_consent(agreed)
    room = ("3f2a9c0d1e4b", "2026-11-28", ("P0DE6-16@bms", "P0BBD-85@bms"))
    title = Text("Replace the module with the weak cell", "更换偏弱单体所在模组")
    rules = ("room", "three-in-a-row")
    desk.store.raise_item("0" * 16, "huizhen ev400", title, rules, now_us, failed=3, jobs=4, p=0.0121, room=room)
    return number


async def fill_in(page):
    """The form at the door."""
    await page.locator("#account").fill("wu")
    await page.locator("#password").fill(PASSWORD)
    await page.locator("form button.primary").click()


async def photograph(page, shots, name):
    """Both sizes and languages of what is shown."""
    if shots is None:
        return
    shots.mkdir(parents=True, exist_ok=True)
    for lang in ("zh", "en"):
        if (await page.locator("html").get_attribute("lang")) != lang:
            await page.locator("header button.quiet").click()
            await page.locator(f"html[lang={lang}] .review-form").wait_for()
        for size, box in (("desk", DESK), ("phone", TELEPHONE)):
            await page.set_viewport_size(box)
            await page.screenshot(path=shots / f"review-{name}-{size}-{lang}.png", full_page=True)
    await page.set_viewport_size(DESK)


async def test_an_expert_reviews_a_draft_and_answers_a_problem(service, report, browser, shots):
    hashed = await asyncio.to_thread(PasswordCheck.hash, "wu", PASSWORD)
    service.state.put_account(Account("wu", "吴工", AccountRole.EXPERT, password=hashed))
    number = await fill_queue(service, report)
    page = await browser.new_page()
    page.set_default_timeout(120_000)
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
    await page.goto(f"{service.url}/review#draft-{number}")
    await fill_in(page)
    await page.locator(".review-form").wait_for()
    problems.clear()  # the browser says that nobody was signed in
    assert page.url.endswith(f"/review#draft-{number}"), "one is where one wanted to go"
    said = await page.locator(".review-detail").inner_text()
    assert "P0DE6-16" in said
    assert "1234" not in said
    assert "13800138000" not in said
    await photograph(page, shots, "draft")
    await page.locator("[data-do=accept]").click()
    await page.locator(".review-form .problem:not(:empty)").wait_for()
    problems.clear()  # the refusal is an answer, which the browser calls an error
    fields = page.locator(".review-words input, .review-words textarea")
    texts = [
        PROPOSAL["component"], PROPOSAL["failure_mode"], PROPOSAL["action"], PROPOSAL["title"]["zh"],
        PROPOSAL["title"]["en"], PROPOSAL["text"]["zh"], PROPOSAL["text"]["en"],
    ]  # fmt: skip
    for at, text in enumerate(texts):
        await fields.nth(at).fill(text)
    await page.locator("[data-do=accept]").click()
    await page.locator(".review-none").wait_for()
    row = service_desk(service).store.draft(number)
    assert (row.state, row.reviewer, row.proposal["title"]) == ("accepted", "wu", PROPOSAL["title"])
    assert row.pattern["title"] == PROPOSAL["title"]
    await page.locator("[data-tab=research]").click()
    await page.locator(".review-list [data-number]").click()
    await page.locator("[data-do=answered]").wait_for()
    await photograph(page, shots, "research")
    areas = page.locator(".review-form textarea")
    await areas.nth(0).fill("先检查 3 号模组母排")
    await areas.nth(1).fill("Check the busbar of module 3 first")
    await page.locator("[data-do=answered]").click()
    await page.locator(".review-none").wait_for()
    [item] = service_desk(service).store.items()
    assert (item.state, item.who, item.note.zh) == ("answered", "wu", "先检查 3 号模组母排")
    assert problems == [], json.dumps(problems, ensure_ascii=False)


async def test_everything_on_a_telephone_can_be_touched(service, report, browser):
    hashed = await asyncio.to_thread(PasswordCheck.hash, "wu", PASSWORD)
    service.state.put_account(Account("wu", "吴工", AccountRole.EXPERT, password=hashed))
    number = await fill_queue(service, report)
    page = await browser.new_page()
    page.set_default_timeout(120_000)
    await page.set_viewport_size(TELEPHONE)
    await page.goto(f"{service.url}/review#draft-{number}")
    await fill_in(page)
    await page.locator(".review-form").wait_for()
    small = await page.evaluate(
        "[...document.querySelectorAll('.review button, .review a, .review select, .review input, .review textarea')]"
        ".filter((e) => e.offsetParent && e.getBoundingClientRect().height < 39.5).map((e) => e.outerHTML)"
    )
    assert small == []
    assert await page.evaluate("document.documentElement.scrollWidth") <= TELEPHONE["width"]
    await page.locator(".review-back").click()
    await page.locator(f".review-list [data-number='{number}']").wait_for()


async def test_a_notice_leads_to_its_draft_on_a_review_page_that_is_open(service, report, browser):
    """Only what stands behind the # changes then: the browser loads nothing."""
    hashed = await asyncio.to_thread(PasswordCheck.hash, "wu", PASSWORD)
    service.state.put_account(Account("wu", "吴工", AccountRole.EXPERT, password=hashed))
    number = await fill_queue(service, report)
    page = await browser.new_page()
    page.set_default_timeout(120_000)
    await page.goto(f"{service.url}/review#draft")
    await fill_in(page)
    await page.locator(f".review-list [data-number='{number}']").wait_for()
    assert await page.locator(".review-form").count() == 0
    await page.evaluate("window.same = true")
    await page.evaluate("(path) => location.assign(path)", draft_notice(number, 1).path)
    await page.locator("[data-do=accept]").wait_for()
    await page.evaluate("(path) => location.assign(path)", research_notice(1, Text("a", "a"), 1).path)
    await page.locator("[data-tab=research][aria-pressed=true]").wait_for()
    await page.locator("[data-do=answered]").wait_for()
    await page.go_back()
    await page.locator("[data-do=accept]").wait_for()
    assert await page.evaluate("window.same"), "it is the same page all the time"
