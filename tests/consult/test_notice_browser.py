"""Notices and the board in a real browser."""

import asyncio
import contextlib
import dataclasses
import math
import time

import pytest
from conftest import CHROMIUM, FLAGS
from noticekit import Clock, JsonReceiver, hook_for, make_notice
from roomwalls import PASSWORD, hashed_once
from servicekit import browser_like, redeem

from consult.accounts import Account, AccountRole
from consult.boardfigures import MINUTES, History
from consult.noticefeed import _CHECK_S
from consult.service import ServiceConfig, running_service
from consult.servicestate import ServiceState
from consult.troubles import TROUBLES

pytestmark = pytest.mark.browser
PATIENCE_MS = 120_000

WRAPPED = """
window.shown = [];
const Real = window.Notification;
window.Notification = class extends Real {
  constructor(title, options) {
    super(title, options);
    if (Real.permission === 'granted') window.shown.push({title, ...options, real: this});
  }
};
Object.defineProperty(document, 'hidden', { configurable: true, get: () => window.away === true });
"""
SHOWN = "() => window.shown.map(({title, body, tag, requireInteraction}) => ({title, body, tag, requireInteraction}))"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def config(tmp_path, clock):
    return ServiceConfig(data=tmp_path / "rooms", state=tmp_path / "rooms" / "service.db", now_us=clock.now_us)


async def sign_in(service, page, role=AccountRole.EXPERT, name="li", display="李工"):
    service.state.put_account(Account(name, display=display, role=role, password=hashed_once(), on_duty=True))
    await page.goto(f"{service.url}/login")
    await fill_in(page, name)
    await page.wait_for_selector(".notices", timeout=PATIENCE_MS)


async def fill_in(page, name="li"):
    """The form."""
    await page.fill("#account", name)
    await page.fill("#password", PASSWORD)
    await page.click("button.primary")


async def look(page, shots, name):
    if shots is not None:
        await page.screenshot(path=shots / f"{name}.png", full_page=True)


async def test_notifications_in_the_lobby(service, browser, shots, eventually):
    page = browser.pages[0]
    await browser.add_init_script(WRAPPED)
    await sign_in(service, page)
    button = page.locator(".notices-tell")
    assert await button.inner_text() == "开启通知"
    assert await page.evaluate("Notification.permission") == "default", "nobody was asked before they wanted it"
    await browser.grant_permissions(["notifications"], origin=service.url)
    await button.click()
    await page.wait_for_selector("text=通知已开启", timeout=PATIENCE_MS)
    await eventually(lambda: service.sockets)

    other = await browser.new_page()
    await other.goto(f"{service.url}/rooms")
    await other.wait_for_selector(".notices", timeout=PATIENCE_MS)
    service.notices.publish(make_notice(1, severity="danger", path="/login"))
    service.notices.publish(make_notice(2, to=("wang",)))
    service.notices.publish(make_notice(3))
    for one in (page, other):
        await one.wait_for_selector("text=车辆等待会诊 3", timeout=PATIENCE_MS)
    assert len(service.sockets) == 1, "one connection for all tabs"
    shown = await page.evaluate(SHOWN) + await other.evaluate(SHOWN)
    assert [(one["title"], one["requireInteraction"]) for one in shown] == [
        ("危险 · 车辆等待会诊 1", True),
        ("车辆等待会诊 3", False),
    ], "each once, whatever the number of tabs; somebody else's never"
    assert len({one["tag"] for one in shown}) == 2
    await look(page, shots, "lobby-notices-zh-desktop")

    await page.evaluate("window.away = true")
    service.notices.publish(make_notice(4, severity="high"))
    await page.wait_for_selector("text=车辆等待会诊 4", timeout=PATIENCE_MS)
    assert (await page.title()).startswith("(1) ")
    await page.evaluate("window.away = false; document.dispatchEvent(new Event('visibilitychange'))")
    assert not (await page.title()).startswith("(")

    await page.close()  # the tab that listened is gone: another takes over, and nothing is told twice
    service.notices.publish(make_notice(5))
    await other.wait_for_selector("text=车辆等待会诊 5", timeout=PATIENCE_MS)
    assert [one["title"] for one in await other.evaluate(SHOWN)] == ["车辆等待会诊 5"]
    await other.evaluate("window.shown[0].real.dispatchEvent(new Event('click'))")
    await other.wait_for_url(f"{service.url}/rooms", timeout=PATIENCE_MS)
    await other.set_viewport_size({"width": 390, "height": 844})
    await other.wait_for_selector(".notices", timeout=PATIENCE_MS)
    service.notices.publish(make_notice(6, severity="danger"))
    await other.wait_for_selector("text=车辆等待会诊 6", timeout=PATIENCE_MS)
    await look(other, shots, "lobby-notices-zh-phone")

    await other.click("text=退出登录")
    await other.wait_for_selector("#password", timeout=PATIENCE_MS)
    await eventually(lambda: not service.sockets)


async def test_a_lobby_without_leave_to_notify_still_lists_notices(config, browser, eventually):
    async with running_service(config) as service:
        page = browser.pages[0]
        await sign_in(service, page)
        await eventually(lambda: service.sockets)
        service.notices.publish(make_notice(1, path="//evil.example/x"))
        await page.wait_for_selector("text=车辆等待会诊 1", timeout=PATIENCE_MS)
        assert await page.get_attribute(".notices-list a", "href") == "/rooms"
    await page.wait_for_selector("text=与服务的连接已断开", timeout=PATIENCE_MS)


async def test_notices_follow_who_is_signed_in(service, browser, shots, eventually):
    """One after the other on the same page: neither sees what came for the one before."""
    page = browser.pages[0]
    await sign_in(service, page, name="wang", display="王工")
    await page.click("text=退出登录")
    await page.wait_for_selector("#password", timeout=PATIENCE_MS)
    await sign_in(service, page)
    await eventually(lambda: service.sockets)
    service.notices.publish(make_notice(1, to=("li",)))
    await page.wait_for_selector("text=车辆等待会诊 1", timeout=PATIENCE_MS)
    await page.click("text=退出登录")
    await page.wait_for_selector("#password", timeout=PATIENCE_MS)
    await eventually(lambda: not service.sockets, _CHECK_S / 2)
    await fill_in(page, "wang")
    await page.wait_for_selector(".lobby-head:has-text('王工')", timeout=PATIENCE_MS)
    assert await page.locator(".notices-list li").count() == 0
    service.notices.publish(make_notice(2, to=("li",)))
    service.notices.publish(make_notice(3, to=("wang",)))
    await page.wait_for_selector("text=车辆等待会诊 3", timeout=PATIENCE_MS)
    assert await page.locator(".notices-list li").count() == 1


SIGN_IN_BEHIND = """async ([name, password]) => {
  const headers = { "Content-Type": "application/json" };
  return (await fetch("/login", { method: "POST", headers, body: JSON.stringify({ name, password }) })).status;
}"""


async def test_a_tab_becomes_that_of_who_has_signed_in_meanwhile(service, browser, monkeypatch, eventually):
    """A cookie is of all tabs; where the service ends a tab's line with 4401 it looks who is there now."""
    import consult.noticefeed

    monkeypatch.setattr(consult.noticefeed, "_CHECK_S", 0.2)
    for name in ("wang", "mo"):
        service.state.put_account(Account(name, display=f"{name}!", password=hashed_once(), on_duty=True))
    first = browser.pages[0]
    await sign_in(service, first)
    await eventually(lambda: service.sockets)
    assert await first.evaluate(SIGN_IN_BEHIND, ["wang", PASSWORD]) == 200
    second = await browser.new_page()
    await second.goto(f"{service.url}/rooms")
    for one in (first, second):
        await one.wait_for_selector(".lobby-head:has-text('wang!')", timeout=PATIENCE_MS)
    service.notices.publish(make_notice(1, to=("li",)))
    service.notices.publish(make_notice(2, to=("wang",)))
    for one in (first, second):
        await one.wait_for_selector("text=车辆等待会诊 2", timeout=PATIENCE_MS)
        assert await one.locator(".notices-list li").count() == 1
    await eventually(lambda: len(service.sockets) == 1)

    await second.close()
    await eventually(lambda: len(service.sockets) == 1)
    assert await first.evaluate(SIGN_IN_BEHIND, ["mo", PASSWORD]) == 200
    service.state.remove_account("wang")
    await first.wait_for_selector(".lobby-head:has-text('mo!')", timeout=PATIENCE_MS)
    service.notices.publish(make_notice(3, to=("mo",)))
    await first.wait_for_selector("text=车辆等待会诊 3", timeout=PATIENCE_MS)
    assert await first.locator(".notices-list li").count() == 1


@contextlib.asynccontextmanager
async def chromium(tmp_path, *flags, **look):
    """A Chromium with switches of its own."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    playwright = pytest.importorskip("playwright.async_api")
    async with playwright.async_playwright() as driver:
        context = await driver.chromium.launch_persistent_context(
            str(tmp_path / "own-profile"), executable_path=CHROMIUM, headless=True, args=[*FLAGS, *flags],
            **{"locale": "zh-CN", "viewport": {"width": 390, "height": 844}, **look},
        )  # fmt: skip
        try:
            yield context
        finally:
            await context.close()


@pytest.mark.parametrize("has_leave", [False, True])
async def test_where_pages_show_no_notifications_the_lobby_says_so(has_leave, service, tmp_path, shots):
    """Chromium without the constructor, as it is on Android."""
    agent = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140 Mobile"
    switch = "--disable-blink-features=NotificationConstructor"
    async with chromium(tmp_path, switch, user_agent=agent) as context:
        if has_leave:
            await context.grant_permissions(["notifications"], origin=service.url)
        page = context.pages[0]
        await sign_in(service, page)
        assert await page.evaluate("() => { try { new Notification('x'); return ''; } catch (e) { return e.name; } }")
        assert await page.evaluate("Notification.permission") == ("granted" if has_leave else "default")
        await page.wait_for_selector(".notices-state:has-text('不支持本页面的系统通知')", timeout=PATIENCE_MS)
        assert await page.locator(".notices-tell").is_hidden(), "nobody is asked for what does not work"
        assert await page.locator("text=通知已开启").count() == 0
        service.notices.publish(make_notice(1, severity="danger"))
        await page.wait_for_selector("text=车辆等待会诊 1", timeout=PATIENCE_MS)
        await look(page, shots, f"lobby-android-zh-phone-{has_leave}")


HEARD = """
window.contexts = [];
const Plain = window.AudioContext;
window.tones = 0;
window.AudioContext = class extends Plain {
  constructor() { super(); window.contexts.push(this); }
  createOscillator() { window.tones += 1; return super.createOscillator(); }
};
"""


async def test_sound_waits_for_a_press_and_says_so(service, tmp_path, shots, eventually):
    async with chromium(tmp_path, "--autoplay-policy=document-user-activation-required") as context:
        page = context.pages[0]
        await page.add_init_script(HEARD)
        await sign_in(service, page)
        await page.check(".notices-sound input")
        inside = await context.new_cdp_session(page)
        await until(inside, "window.contexts.some((one) => one.state === 'running') && window.tones === 1")
        await page.reload()
        hint = "document.querySelector('.notices-mute')?.textContent"
        await until(inside, f"{hint}?.includes('请点按页面任意位置')")
        await eventually(lambda: service.sockets)
        service.notices.publish(make_notice(1, severity="danger"))
        await until(inside, "document.body.textContent.includes('车辆等待会诊 1')")
        assert await peek(inside, "window.tones") == 0, "nothing of it comes out later, all at once"
        await page.mouse.click(5, 400)
        await until(inside, "window.contexts.some((one) => one.state === 'running')")
        assert await peek(inside, hint) == ""
        service.notices.publish(make_notice(2, severity="danger"))
        await until(inside, "window.tones === 4")


async def peek(inside, expression):
    """Evaluates in the page by its own inspector: Playwright's way of it counts as a person's press."""
    answer = await inside.send("Runtime.evaluate", {"expression": expression, "returnByValue": True})
    return answer["result"].get("value")


async def until(inside, expression):
    async with asyncio.timeout(120):
        while not await peek(inside, expression):  # noqa: ASYNC110 - it happens in the browser
            await asyncio.sleep(0.1)


def fill_history(config, now_us):
    """A day with a hole in the night."""
    with ServiceState(config.state) as state:
        history = History(state)
        for n in range(MINUTES):
            if not 300 < n < 420:
                day = math.sin(n / MINUTES * math.pi)
                history.add(
                    now_us - (MINUTES - n) * 60_000_000,
                    {
                        "waiting": 5 if 700 < n < 760 else 0,
                        "rooms": round(12 * day), "people": round(31 * day), "blocks_s": round(600 * day, 1),
                        "bytes_s": round(490_000 * day), "rtt_ms": 38 + 20 * math.sin(n / 9), "loop_ms": 3 + n % 7,
                        "memory_mb": 90 + n / 60, "lag_blocks": n % 3, "notices": 4 if 900 < n < 960 else 0,
                    },
                )  # fmt: skip


async def test_the_board_shows_how_the_service_is(config, clock, browser, shots, car, report, in_room, eventually):
    fill_history(config, clock.now_us())
    gone = await JsonReceiver(clock).start()
    await gone.stop()
    async with JsonReceiver(clock) as robot:
        hooked = dataclasses.replace(config, webhooks=(hook_for(robot, "duty-group"), hook_for(gone, "crm")))
        async with running_service(hooked) as service, browser_like() as guest, in_room(service, car, report) as agent:
            service.notices.publish(make_notice(1, severity="high"))
            _, body, _ = await redeem(guest, service.url, (await agent.invite("expert")).code, name="Dr Ring")
            async with guest.ws_connect(f"{service.url}{body['path']}/watch") as channel:
                await channel.send_json({"type": "line", "rtt_ms": 642, "missing": 3, "fps": 22, "over": "wss"})
                service.let_experts_in(agent.room, True, "T")
                page = browser.pages[0]
                await sign_in(service, page, AccountRole.LEAD)
                await page.goto(f"{service.url}/board")
                await page.wait_for_selector(f"[data-room='{agent.room}']", timeout=PATIENCE_MS)
                await page.wait_for_selector("text=642 ms", timeout=PATIENCE_MS)
                await page.wait_for_selector("text=未送达已持续", timeout=PATIENCE_MS)
                said = await page.inner_text("main")
                for word in ("duty-group", "Dr Ring", "线路慢", "车辆已连接", "近 24 小时"):
                    assert word in said
                assert report["vehicle"]["vin"] not in await page.content()
                paths = await page.locator(".spark-line").evaluate_all("all => all.map(one => one.getAttribute('d'))")
                assert len(paths) == 10
                assert paths[1].count("M") == 2, "the night's hole is a hole"
                assert await wide(page) <= 0
                await look(page, shots, "board-zh-desktop")
                await page.emulate_media(color_scheme="dark")
                await look(page, shots, "board-zh-desktop-dark")
                await page.set_viewport_size({"width": 390, "height": 844})
                assert await wide(page) <= 0, "nothing sticks out on a phone"
                await look(page, shots, "board-zh-phone-dark")
                await page.emulate_media(color_scheme="light")
                await page.click("text=English")
                await page.wait_for_selector("text=Last 24 hours", timeout=PATIENCE_MS)
                assert "此服务" not in await page.inner_text("main")
                await look(page, shots, "board-en-phone")
                await page.set_viewport_size({"width": 1280, "height": 800})
                await look(page, shots, "board-en-desktop")
        await page.wait_for_selector("text=no answer from the service", timeout=PATIENCE_MS)


async def test_the_board_shows_the_queue_where_there_is_one(service, browser, shots):
    """As the queue's own route tells it."""
    now_us = time.time_ns() // 1000
    queue = {
        "now_us": now_us, "on_duty": 3,
        "waiting": [
            {"room": "0123456789ab", "severity": "normal", "since_us": now_us - 400_000_000, "skills": ["charging"],
             "make": "Huizhen", "language": "zh", "state": "offered"},
            {"room": None, "severity": "danger", "since_us": now_us - 65_000_000, "skills": ["battery", "isolation"],
             "make": "Huizhen", "language": "en", "state": "offered"},
        ],
        "stats": {
            "accept": {"n": 41, "mean_s": 74.2, "p95_s": 240.0, "within": 0.93},
            "finding": {"n": 0, "mean_s": None, "p95_s": None, "within": None},
        },
        "staffing": {"agents": 4},
    }  # fmt: skip
    page = browser.pages[0]
    await sign_in(service, page, AccountRole.LEAD)
    await page.route("**/api/queue", lambda route: route.fulfill(json=queue))
    await page.goto(f"{service.url}/board")
    await page.wait_for_selector("text=接单用时", timeout=PATIENCE_MS)
    rows = await page.locator(".board-card").first.locator("tbody tr").all_inner_texts()
    assert "危险" in rows[0]
    assert "1 min" in rows[0]
    assert "一般" in rows[1]
    assert "93 %" in rows[2]
    assert "在岗 3 人 · 所需 4 人（Erlang C）" in await page.inner_text("main")
    await look(page, shots, "board-queue-zh-desktop")


async def wide(page):
    """By how many pixels the page is wider than its window."""
    return await page.evaluate("document.documentElement.scrollWidth - window.innerWidth")


@pytest.mark.parametrize("lang", ["zh", "en"])
async def test_the_board_says_in_words_what_is_wrong(lang, service, browser, shots):
    """All that the program can report."""
    page = browser.pages[0]
    await sign_in(service, page, AccountRole.LEAD)
    service.parts[0].troubles = lambda: list(TROUBLES)
    await page.goto(f"{service.url}/board")
    await page.wait_for_selector(".board-troubles", timeout=PATIENCE_MS)
    if lang == "en":
        await page.click("text=English")
        await page.wait_for_selector(".board-troubles li:has-text('media engine')", timeout=PATIENCE_MS)
    lines = page.locator(".board-troubles li")
    said = await lines.evaluate_all("all => all.map(one => [one.dataset.trouble, one.innerText])")
    assert [code for code, _ in said] == list(TROUBLES)
    for code, words in said:
        assert code not in words
        assert words.isascii() == (lang == "en"), words
    await look(page, shots, f"board-troubles-{lang}-desktop")
    await page.set_viewport_size({"width": 390, "height": 844})
    assert await wide(page) <= 0
    await look(page, shots, f"board-troubles-{lang}-phone")


async def test_who_is_not_signed_in_signs_in_and_comes_back_to_the_board(service, browser, shots):
    service.state.put_account(Account("li", role=AccountRole.LEAD, password=hashed_once()))
    page = browser.pages[0]
    page.set_default_timeout(PATIENCE_MS)
    await page.goto(f"{service.url}/board")
    await page.wait_for_selector("#account")
    await look(page, shots, "board-sign-in-zh-desktop")
    await page.click("text=English")
    await page.wait_for_selector("label:has-text('Password')")
    await fill_in(page)
    await page.wait_for_selector(".board")
    assert page.url == f"{service.url}/board"
    await browser.clear_cookies()  # as when the sign-in has run out
    await page.wait_for_selector("#account")
    await fill_in(page)
    await page.wait_for_selector(".board")


async def test_security_the_board_tells_an_expert_nothing(service, browser):
    page = browser.pages[0]
    await sign_in(service, page, AccountRole.EXPERT)
    await page.goto(f"{service.url}/board")
    await page.wait_for_selector("text=看板仅供", timeout=PATIENCE_MS)
    assert await page.locator(".board").count() == 0
