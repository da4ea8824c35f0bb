"""What people reach of a room's privacy on its page, and an administrator in the lobby, in Chromium."""

import asyncio
import contextlib
import ipaddress
from dataclasses import replace

import pytest
from privacykit import PASSWORD, MovedClock, add_account, privacy_config
from test_consult_browser import page_of

from consult.accounts import AccountRole
from consult.invites import Role
from consult.joining import joined_room
from consult.networkconfig import NetworkConfig
from consult.privacystore import PrivacyStore
from consult.regions import Region, RegionRules
from consult.service import ServiceConfig, running_service

pytestmark = pytest.mark.browser

HERE = RegionRules(frozenset({"CN"}), (Region("CN", (ipaddress.ip_network("127.0.0.0/8"),)),))
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 800}


@contextlib.asynccontextmanager
async def laptop_with(service, car, report, allows):
    async with joined_room(service.url, service.invite_technician().code, name="王师傅") as agent:
        agent.allows = allows
        run = asyncio.create_task(agent.run(report, car.schema, car.blocks()))
        try:
            yield agent
        finally:
            agent.leave()
            async with asyncio.timeout(120):
                await run


async def shot(page, shots, name):
    if shots:
        shots.mkdir(parents=True, exist_ok=True)
        await page.screenshot(path=str(shots / f"{name}.png"))


async def other_language(page, lang):
    await page.locator("header button[aria-label]", has_text="English" if lang == "zh" else "中文").click()


async def fits(page):
    """Nothing floats over the edge, and every button can be met by a thumb."""
    found = await page.evaluate("""() => {
        const box = document.querySelector('.popup').getBoundingClientRect();
        const small = [...document.querySelectorAll('.popup button, .popup a, .popup input:not([type=radio])')]
            .filter((one) => one.offsetParent && (one.closest('label') ?? one).getBoundingClientRect().height < 40)
            .map((one) => one.outerHTML.slice(0, 80));
        return {over: box.left < 0 || box.top < 0 || box.right > innerWidth + 1 || box.bottom > innerHeight + 1,
                wide: document.documentElement.scrollWidth > innerWidth, small};
    }""")
    assert (found["over"], found["wide"]) == (False, False), found
    return found["small"]


async def test_the_technician_decides_on_the_page_and_an_administrator_in_the_lobby(
    tmp_path, car, report, browser, shots, eventually
):
    config = privacy_config(tmp_path, MovedClock(), regions=HERE)
    real = {**report, "simulated": False}
    async with running_service(config) as service, laptop_with(service, car, real, {"position": "coarse"}) as agent:
        add_account(service, "wu", region="CN")
        add_account(service, "boss", AccountRole.ADMIN)
        room, store = service.rooms[agent.room], PrivacyStore(service.state)
        await eventually(lambda: room.report)
        await agent.escalate(language="zh")
        said = lambda kind: [one.is_given for one in store.consents(room=agent.room) if one.kind == kind]  # noqa: E731 - read again at each look
        async with page_of(browser, service.invite(agent.room, Role.TECHNICIAN).url) as own:
            row = lambda kind: own.locator(f"[data-consent='{kind}']")  # noqa: E731 - likewise
            for size, device in ((PHONE, "phone"), (DESKTOP, "desktop")):
                await own.set_viewport_size(size)
                for lang in ("zh", "en"):
                    await shot(own, shots, f"room-{device}-{lang}")
                    await own.locator("#privacy").click()
                    await row("sharing").wait_for()
                    assert await fits(own) == []
                    await shot(own, shots, f"privacy-{device}-{lang}")
                    await own.keyboard.press("Escape")
                    await other_language(own, lang)
            await own.locator("#privacy").click()

            await row("position").get_by_role("button", name="关闭").click()
            await row("position").get_by_role("button", name="开启").wait_for()
            assert room.positions.is_withdrawn
            await row("position").get_by_role("button", name="开启").click()
            await row("position").get_by_role("button", name="关闭").wait_for()
            assert not room.positions.is_withdrawn

            assert "未同意" in await row("sharing").inner_text()
            await row("sharing").get_by_role("button", name="同意").click()
            await row("sharing").get_by_role("button", name="撤回").wait_for()
            await row("sharing").get_by_role("button", name="撤回").click()
            await row("sharing").get_by_text("已撤回").wait_for()
            assert said("sharing") == [True, False]

            await own.locator("#keep-days").fill("7")
            await own.locator(".privacy-days button").click()
            await eventually(lambda: store.room(agent.room).retention_days == 7)

            [queue] = [part for part in service.parts if type(part).__name__ == "QueuePart"]
            assert agent.room in queue.line.entries
            await row("experts").get_by_role("button", name="收回").click()
            await eventually(lambda: agent.room not in queue.line.entries)
            await row("experts").wait_for(state="detached")

            await own.locator("#lift-reason").fill("德国同事须查看绝缘数据")
            await own.get_by_role("button", name="申请解除").click()
            await own.get_by_text("您已申请解除").wait_for()
            await own.keyboard.press("Escape")

            desk = await browser.new_page()
            await desk.goto(f"{service.url}/login")
            await desk.fill("#account", "boss")
            await desk.fill("#password", PASSWORD)
            await desk.click("button.primary")
            await desk.get_by_text("德国同事须查看绝缘数据").wait_for()
            for size, device in ((PHONE, "phone"), (DESKTOP, "desktop")):
                await desk.set_viewport_size(size)
                await shot(desk, shots, f"lobby-admin-{device}-zh")
                await desk.locator("button.quiet", has_text="English").click()
                await desk.get_by_text("The technician asks to lift the lock").wait_for()
                assert await desk.evaluate("document.documentElement.scrollWidth <= innerWidth")
                await shot(desk, shots, f"lobby-admin-{device}-en")
                await desk.locator("button.quiet", has_text="中文").click()
                await desk.get_by_text("技师申请解除限制").wait_for()
            entry = desk.locator(f".region-desk [data-room='{agent.room}']")
            await entry.locator("input").fill("紧急：热失控")
            await entry.get_by_role("button", name="解除 4 小时").click()
            await entry.get_by_text("已解除，至").wait_for()
            assert store.room(agent.room).lifted_until_us > service.config.now_us()

            await own.locator("#privacy").click()
            await own.locator(".privacy .lifted").wait_for()
            await row("export-abroad").get_by_role("button", name="撤回").click()
            await row("export-abroad").get_by_text("已撤回").wait_for()
            assert store.room(agent.room).lifted_until_us == 0
            await entry.get_by_text("已解除，至").wait_for(state="detached")


@pytest.mark.parametrize("case", ["yes", "no", "simulated", "customer", "no-network"])
async def test_finishing_asks_whether_the_network_may_remember_and_no_is_the_default(
    case, tmp_path, car, report, browser, shots, eventually
):
    config = ServiceConfig(data=tmp_path / "rooms", state=tmp_path / "rooms" / "service.db")
    if case == "no-network":
        config = replace(config, network=NetworkConfig(on=False))
    seen = {**report, "simulated": case == "simulated", **({"network": False} if case == "customer" else {})}
    is_asked = case in ("yes", "no")
    async with running_service(config) as service, laptop_with(service, car, seen, {}) as agent:
        room = service.rooms[agent.room]
        await eventually(lambda: room.report)
        async with page_of(browser, service.invite(agent.room, Role.TECHNICIAN).url) as own:
            for size, device in ((PHONE, "phone"), (DESKTOP, "desktop")):
                await own.set_viewport_size(size)
                for lang in ("zh", "en"):
                    await own.locator("#finish").click()
                    await own.locator("input[name=component]").wait_for()
                    assert await own.locator("input[name=share]").count() == int(is_asked)
                    await fits(own)
                    if is_asked:
                        assert not await own.locator("input[name=share]").is_checked()
                        assert "1095" in await own.locator(".share").inner_text()
                    if case == "no":
                        await own.locator(".finish-form button[type=submit]").scroll_into_view_if_needed()
                        await shot(own, shots, f"finish-{device}-{lang}")
                    await own.keyboard.press("Escape")
                    await other_language(own, lang)
            await own.locator("#finish").click()
            await own.locator("input[name=component]").fill("电池模组")
            await own.get_by_label("已修复").check()
            if case == "yes":
                await own.locator("input[name=share]").check()
            await own.locator(".popup").get_by_role("button", name="结案").click()
            await own.wait_for_selector("text=结论和处理措施已记录")
            [event] = [one for one in room.events_after(0) if one["kind"] == "finish"]
            assert event["body"].get("share") == ({"yes": True, "no": False}.get(case))
    await eventually(lambda: agent.room not in service.rooms)


async def test_experts_see_what_they_agreed_to_and_leads_how_long_it_is_kept(
    tmp_path, car, report, browser, shots, eventually
):
    config = privacy_config(tmp_path, MovedClock())
    async with running_service(config) as service, laptop_with(service, car, report, {}) as agent:
        await eventually(lambda: service.rooms[agent.room].report)
        async with page_of(browser, service.invite(agent.room, Role.EXPERT).url) as expert:
            await expert.locator("#privacy").click()
            await expert.get_by_text("没有可撤回的同意").wait_for()
            assert await expert.locator("#keep-days").count() == await expert.locator("[data-consent]").count() == 0
            await shot(expert, shots, "privacy-expert-desktop-zh")
            person = expert.url and max(service.rooms[agent.room].members)
            media = {"kind": "media", "given": True}
            version = (await agent.privacy())["consents"]["media"]["version"]
            status = await expert.evaluate(
                "([path, body]) => fetch(path, {method: 'POST', headers: {'Content-Type': 'application/json'},"
                " body: JSON.stringify(body)}).then((one) => one.status)",
                [f"/r/{agent.room}/consent", {**media, "version": version}],
            )
            assert status == 200
            await expert.keyboard.press("Escape")
            await expert.locator("#privacy").click()
            await expert.locator("[data-consent='media']").get_by_role("button", name="撤回").click()
            await expert.locator("[data-consent='media']").get_by_text("已撤回").wait_for()
            kept = [one for one in PrivacyStore(service.state).consents(room=agent.room) if one.kind == "media"]
            assert [(one.person, one.is_given) for one in kept] == [(person, True), (person, False)]
        async with page_of(browser, service.invite(agent.room, Role.LEAD).url) as lead:
            await lead.locator("#privacy").click()
            await lead.locator("#keep-days").fill("99999")
            await lead.locator(".privacy-days button").click()
            assert await lead.evaluate("document.querySelector('#keep-days').validity.rangeOverflow")
            await lead.locator("#keep-days").fill("30")
            await lead.locator(".privacy-days button").click()
            await eventually(lambda: PrivacyStore(service.state).room(agent.room).retention_days == 30)
            assert await lead.locator("#lift-reason").count() == 0
