"""In a real Chromium: experts sign in and enter, and what others write stays text."""

import re

import pytest

from consult.accounts import Account, AccountRole, PasswordCheck
from consult.service import ServiceConfig

PASSWORD = "correct horse battery"
NASTY = (
    "<img src=x onerror=\"document.title='owned'\">",
    "<script>document.title='owned'</script>",
    "<a href=\"javascript:document.title='owned'\">x</a>",
    "{{constructor.constructor('document.title=1')()}}",
    "</textarea><svg/onload=document.title='owned'>",
)

pytestmark = pytest.mark.browser


@pytest.fixture
def config(tmp_path):
    return ServiceConfig(data=tmp_path / "rooms", state=tmp_path / "rooms" / "service.db")


def nasty_report(report):
    """The report of a car whose every word is an attack."""
    mark = NASTY[0]
    report["vehicle"] |= {"make": mark, "model": NASTY[1]}
    for finding in report["findings"]:
        finding["title"] = {"en": mark, "zh": mark}
    for dtc in report["dtcs"]:
        dtc["text"] = {"en": mark, "zh": mark}
    for ecu in report["ecus"]:
        ecu["name"] = NASTY[4]
    return report


async def watch_console(page, seen):
    page.on("console", lambda message: seen.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: seen.append(str(error)))


async def test_what_others_write_is_shown_and_never_run(browser, service, car, report, in_room, shots, eventually):
    seen = []
    async with in_room(service, car, nasty_report(report), name=NASTY[0]) as agent:
        page = browser.pages[0]
        await watch_console(page, seen)
        await page.goto((await agent.invite("expert")).url)
        await page.locator("#name").fill(NASTY[2][:40])
        await page.locator("button.primary").click()
        await page.locator(".room").wait_for()
        for text in NASTY:
            agent.say(text)
        for text in NASTY:
            await page.get_by_text(text, exact=False).first.wait_for(state="attached")
        assert await page.locator("img[src=x], svg[onload], script:not([src]), a[href^=javascript]").count() == 0
        assert await page.title() != "owned"
        assert not any("Content Security Policy" in text for text in seen), "nothing even tried"
        # The policy stands behind it: markup that came in some other way would not run either.
        ran = await page.evaluate(
            """async () => {
                try { document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="window.owned=1">'); }
                catch (error) { return String(error); }
                return 'inserted';
            }"""
        )
        assert "TrustedHTML" in ran


async def test_an_expert_signs_in_sees_the_rooms_and_enters(browser, service, car, report, in_room, shots, eventually):
    hashed = PasswordCheck.hash("li", PASSWORD)
    service.state.put_account(Account("li", "李工", AccountRole.EXPERT, password=hashed))
    page = browser.pages[0]
    seen = []
    await watch_console(page, seen)
    await page.goto(f"{service.url}/login")
    await page.locator("#account").fill("li")
    await page.locator("#password").fill("wrong password")
    await page.locator("button.primary").click()
    await page.get_by_text(re.compile("账号或密码错误")).wait_for()
    await page.locator("#password").fill(PASSWORD)
    if shots:
        await page.screenshot(path=shots / "login-zh.png")
    await page.locator("button.primary").click()
    await page.get_by_text("目前没有允许专家进入的会诊室").wait_for()
    assert page.url == f"{service.url}/rooms"
    async with in_room(service, car, report) as agent:
        service.let_experts_in(agent.room, True, "Wang")
        room = page.locator(f"li[data-room='{agent.room}']")
        await room.wait_for()
        assert "EV400" in await room.inner_text()
        assert "模拟" in await room.inner_text()
        assert report["vehicle"]["vin"] not in await page.content()
        await page.locator(".lobby-duty input").check()
        await eventually(lambda: service.state.find_account("li").on_duty)
        if shots:
            await page.screenshot(path=shots / "lobby-zh.png")
            await page.get_by_role("button", name="English").click()
            await page.get_by_text("Open rooms").wait_for()
            await room.wait_for()
            await page.screenshot(path=shots / "lobby-en.png")
        await room.locator("button").click()
        await page.locator(".room").wait_for()
        await eventually(lambda: bool(service.room(agent.room).members))
        (member,) = service.room(agent.room).members.values()
        assert (member.name, member.role.value) == ("李工", "expert")
        await page.goto(f"{service.url}/rooms")
        await page.get_by_role("button", name=re.compile("退出登录|Sign out")).click()
        await page.locator("#password").wait_for()
    assert not [text for text in seen if "401" not in text and "410" not in text]


async def test_a_page_of_another_site_in_the_same_browser_gets_nothing(browser, service, tmp_path, unused_tcp_port):
    """The expert is signed in, and looks at an evil page on another origin of this very machine."""
    import asyncio

    hashed = PasswordCheck.hash("li", PASSWORD)
    service.state.put_account(Account("li", role=AccountRole.EXPERT, password=hashed))
    page = browser.pages[0]
    await page.goto(f"{service.url}/login")
    await page.locator("#account").fill("li")
    await page.locator("#password").fill(PASSWORD)
    await page.locator("button.primary").click()
    await page.locator(".lobby-rooms").last.wait_for()

    async def evil(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<p>evil</p>")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(evil, "127.0.0.1", unused_tcp_port)
    async with server:
        await page.goto(f"http://127.0.0.1:{unused_tcp_port}/")
        tried = await page.evaluate(
            """async (url) => {
                const body = JSON.stringify({ on_duty: true });
                const tries = {
                    read: () => fetch(url + '/api/me', { credentials: 'include' }).then((r) => r.text()),
                    change: () => fetch(url + '/api/duty', { method: 'POST', credentials: 'include', body,
                        headers: { 'Content-Type': 'application/json' } }).then((r) => r.text()),
                    simple: () => fetch(url + '/api/duty', { method: 'POST', credentials: 'include', mode: 'no-cors',
                        body }).then((r) => r.type),
                    frame: () => new Promise((resolve) => {
                        const frame = document.createElement('iframe');
                        frame.src = url + '/rooms';
                        frame.onload = () => {
                            try { resolve(frame.contentDocument ? 'blank' : 'blocked'); } catch { resolve('blocked'); }
                        };
                        document.body.append(frame);
                    }),
                };
                const found = {};
                for (const [name, one] of Object.entries(tries)) {
                    found[name] = await one().catch((error) => 'failed ' + error);
                }
                return found;
            }""",
            service.url,
        )
    assert tried["read"].startswith("failed")
    assert tried["change"].startswith("failed")
    assert tried["simple"].startswith("failed"), "it went out, with the cookie even; its answer may not be read"
    assert tried["frame"] in ("blank", "blocked")
    assert service.state.find_account("li").on_duty is False, "and nothing was changed"
