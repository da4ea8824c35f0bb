"""What people are told in a call: why it is not recorded, what the room did not take, and where they stay."""

import pytest
from callpages import LAPTOP, PATIENCE_MS, PHONE, advances, chromes, join, until
from test_call_browser import INKED, draw_line, told, wait_for
from test_call_desk import Engine

import consult.callstills

pytestmark = pytest.mark.browser


async def look(page, shots, name):
    if shots is not None:
        await page.screenshot(path=shots / f"{name}.png")


async def line_of_talk(page, kind, words):
    """The newest line of a kind in the talk, once it says this."""
    line = f".log li[data-kind={kind}]"
    await page.wait_for_selector(f"{line}:has-text('{words}')", state="attached", timeout=PATIENCE_MS)
    return await page.locator(line).last.text_content()


async def test_who_did_not_agree_and_who_withdrew_are_told_apart(service, car, report, in_room, shots):
    """With an engine that never begins to record: what is said in between stands there."""
    async with in_room(service, car, report) as agent, chromes(service, agent.room) as browsers:
        service.room(agent.room).calls.engine = Engine()
        lead = await browsers.enter("lead", "李工", **LAPTOP)
        expert = await browsers.enter("expert", "Anna", lang="en-GB")
        await join(lead, "voice")
        await join(expert, "voice")

        await lead.locator("#call-record").click()
        await expert.locator("#consent-refuse").click()
        assert "Anna 不同意录制" in await line_of_talk(lead, "consent", "Anna")
        assert "并非所有人都同意" in await line_of_talk(lead, "recording", "并非")
        assert "not everybody agrees" in await line_of_talk(expert, "recording", "everybody")

        await lead.locator("#call-record").click()
        await lead.locator("#consent-agree").click()
        await lead.wait_for_selector(".consent-note:has-text('Anna')")
        await expert.locator("#consent-agree").click()
        for page, words in ((lead, "全员已同意"), (expert, "All have agreed")):
            await page.wait_for_selector(f".consent-note:has-text('{words}')", timeout=PATIENCE_MS)
        await look(lead, shots, "call-all-agreed-zh-desktop")
        await expert.locator("#consent-withdraw").click()
        assert "Anna 撤回了对录制的同意" in await line_of_talk(lead, "consent", "撤回了对录制的同意")
        assert "有人撤回了同意" in await line_of_talk(lead, "recording", "有人撤回")
        assert [event["body"]["why"] for event in told(service, agent, "recording") if "why" in event["body"]] == [
            "refused",
            "withdrawn",
        ]
        await look(lead, shots, "call-withdrawn-zh-desktop")

        await lead.locator("#call-record").click()
        await lead.locator("#call-record:has-text('停止录制')").click()
        assert "李工 ended the recording" in await line_of_talk(expert, "recording", "ended the recording")
        await lead.locator("#call-record:not(:has-text('停止'))").click()
        for page in (expert, lead):
            await page.locator("#call-leave").click()
        await line_of_talk(lead, "recording", "通话中已无人")


async def cut_off(service, agent, page):
    """The page's line is gone, at both ends."""
    await page.context.set_offline(True)
    room = service.room(agent.room)
    for member in list(room.members.values()):
        if member.person == page.person:
            room.leave(member, service.config.now_us())
    await until(page, "document.querySelector('#connection').dataset.kind === 'bad'")


async def frozen(phone, others, words):
    """A picture on everybody's stage."""
    await phone.locator("#call-freeze").click()
    await phone.get_by_placeholder("画面说明").fill(words)
    await phone.locator("#still-show").click()
    for page in (phone, *others):
        await page.wait_for_selector(f".still:not([hidden]) img[alt*='{words}']", timeout=PATIENCE_MS)
        await until(page, "document.querySelector('.still img').naturalWidth > 0")


async def test_what_the_room_does_not_take_is_said_where_one_looks(service, car, report, in_room, shots, monkeypatch):
    async with in_room(service, car, report) as agent, chromes(service, agent.room) as browsers:
        phone = await browsers.enter("technician", "王师傅", **PHONE)
        lead = await browsers.enter("lead", "Anna", lang="en-GB")
        await join(phone)
        await join(lead, "voice")
        await advances(lead, phone.person)
        await frozen(phone, [lead], "卡箍")
        with monkeypatch.context() as full:
            full.setattr(consult.callstills, "MAX_STROKES", 0)
            for page, words in ((phone, "标注未被接受。操作"), (lead, "The line was not taken. Too")):
                await draw_line(page, 0.2, 0.8)
                problem = page.locator(f".still .problem:has-text('{words}')")
                await problem.wait_for()
                box, size = await problem.bounding_box(), page.viewport_size
                assert box["y"] + box["height"] <= size["height"], "it is in sight"
                await until(page, f"!({INKED})()")
                assert await page.locator("#still-undo").is_disabled(), "there is nothing to undo"
            await look(phone, shots, "call-stroke-refused-zh-phone")
            await look(lead, shots, "call-stroke-refused-en-desktop")

            # Who looks elsewhere when the answer comes is told above everything.
            await cut_off(service, agent, phone)
            await draw_line(phone, 0.2, 0.8)
            await phone.locator("nav [data-tab=live]").click()
            await phone.context.set_offline(False)
            await phone.wait_for_selector("#refused:has-text('标注未被接受')", timeout=PATIENCE_MS)
            await look(phone, shots, "call-refused-bar-zh-phone")
            await phone.locator("#refused button").click()
            await phone.wait_for_selector("#refused", state="hidden")

            full.setattr(consult.callstills, "MAX_STILLS", 1)
            await phone.locator("nav [data-tab=call]").click()
            await phone.locator("#still-back").click()
            await phone.wait_for_selector(f".tile.big[data-person='{phone.person}'].has-picture")
            await phone.locator("#call-freeze").click()
            await phone.locator("#still-show").click()
            await phone.wait_for_selector(".call > .problem:has-text('画面未能展示给其他人')", timeout=PATIENCE_MS)
            await look(phone, shots, "call-still-refused-zh-phone")
        assert len(told(service, agent, "still")) == 1
        assert told(service, agent, "stroke") == []
        await draw_line_again(phone)


async def draw_line_again(phone):
    """What is taken says no more that something was not."""
    await phone.locator("nav [data-tab=talk]").click()
    await phone.locator("[data-still] img").first.click()
    await phone.wait_for_selector(".still:not([hidden])")
    await until(phone, "document.querySelector('.still img').naturalWidth > 0")
    await draw_line(phone, 0.2, 0.8)
    await until(phone, INKED)
    await phone.wait_for_selector(".still .problem:not(:has-text('标注'))", state="attached")


async def test_a_phone_stays_where_it_is_after_a_change_of_language(service, car, report, in_room):
    async with in_room(service, car, report) as agent, chromes(service, agent.room) as browsers:
        phone = await browsers.enter("technician", "王师傅", **PHONE)
        await phone.wait_for_selector(".room[data-tab=call]")
        await phone.locator("nav [data-tab=faults]").click()
        await phone.locator("header button.quiet[aria-label*='Switch']").click()
        await phone.wait_for_selector("html[lang=en] .room[data-tab=faults]")
        await cut_off(service, agent, phone)
        await phone.context.set_offline(False)
        room = service.room(agent.room)
        await wait_for(lambda: any(member.person == phone.person for member in room.members.values()))
        await browsers.enter("expert", "Anna", lang="en-GB")
        await line_of_talk(phone, "join", "Anna")  # it has heard all that the room says at first
        assert await phone.locator(".room").get_attribute("data-tab") == "faults"
