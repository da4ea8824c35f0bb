"""The technician's own page in Chromium: what it proves, the laptop does; real bytes on the simulated car's bus."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from grantparts import REPORT, TMS, car_and_witness, laptop_in_room, page_in
from test_consult_browser import enter

from consult.requestproof import new_secret, text_from_secret

pytestmark = pytest.mark.browser

PUMP, LET_GO = bytes.fromhex("2F01610346"), bytes.fromhex("2F016100")


@pytest.fixture
async def http():
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


async def test_the_technician_grants_holds_and_stops_from_their_own_page(service, http, browser, eventually, shots):
    with car_and_witness("isolation") as (car, witness):
        async with laptop_in_room(service, car, REPORT) as laptop, page_in(http, service, laptop.agent.room) as expert:
            invite = await laptop.agent.invite("technician")
            phone, sent = await browser.new_page(), []
            phone.on("request", lambda request: sent.append(f"{request.url} {request.post_data or ''}"))
            phone.on("websocket", lambda ws: ws.on("framesent", lambda data: sent.append(str(data))))
            secret = text_from_secret(laptop.secret)
            await enter(phone, f"{invite.url}.{secret}", "王师傅")

            await expert.ask("session", "1003", ecu=TMS)
            card = phone.locator("article[data-request=session]")
            approve = card.locator("button.primary")
            await approve.wait_for()
            assert await approve.is_disabled()
            await card.get_by_role("checkbox").wait_for()
            assert await approve.is_disabled(), "first the word that no charging cable is plugged in"
            assert "0 km/h" in await card.text_content()
            if shots:
                await phone.screenshot(path=shots / "grants-request.png")
            await card.get_by_role("checkbox").check()
            await approve.click()
            await eventually(lambda: expert.event("result", "session"))
            assert expert.event("result", "session")["body"]["outcome"] == "done"

            await expert.ask("pump", PUMP.hex(), ecu=TMS)
            card = phone.locator("article[data-request=pump]")
            await card.get_by_role("checkbox").check()
            await card.locator("button.primary").click()
            button = phone.locator("[data-hold=pump]")
            await button.wait_for()
            box = await button.bounding_box()
            assert PUMP not in witness.payloads(0x7E7)
            await phone.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            await phone.mouse.down()
            await eventually(lambda: witness.times(PUMP))
            await asyncio.sleep(1.5)
            assert LET_GO not in witness.payloads(0x7E7), "it runs for as long as the button is pressed"
            await phone.mouse.up()
            await eventually(lambda: witness.times(LET_GO))
            await eventually(lambda: expert.event("result", "pump"))
            assert expert.event("result", "pump")["body"]["ended"] == "released"

            await phone.locator("#stop").click()
            await eventually(lambda: laptop.book.is_stopped)
            assert not [one for one in sent if secret in one], "the secret never leaves the page"


async def test_a_page_with_another_secret_grants_nothing(service, http, browser, eventually):
    with car_and_witness("isolation") as (car, witness):
        async with laptop_in_room(service, car, REPORT) as laptop, page_in(http, service, laptop.agent.room) as expert:
            invite = await laptop.agent.invite("technician")
            phone = await browser.new_page()
            await enter(phone, f"{invite.url}.{text_from_secret(new_secret())}", "?")
            await expert.ask("read", "1902FF", ecu=TMS)
            await phone.locator("article[data-request=read] button.primary").click()
            await eventually(lambda: laptop.rejected("read"))
            assert laptop.rejected("read").code == "consult.proof-wrong"
            assert bytes.fromhex("1902FF") not in witness.payloads(0x7E7)


async def test_the_door_says_to_the_technician_that_it_is_their_own(service, browser, shots):
    said = []
    for fragment in ("code", f"code.{text_from_secret(new_secret())}"):
        page = await browser.new_page()
        await page.set_viewport_size({"width": 390, "height": 844})
        await page.goto(f"{service.url}/join#{fragment}")
        said.append(await page.locator("h1").text_content())
        if shots:
            await page.screenshot(path=shots / f"door-{len(said)}.png")
    words = {"en": ["You are invited to look at a car", "Your own page for this car"]}
    words["zh"] = ["邀请您参加车辆会诊", "您在这次会诊中的页面"]
    assert said == words[(await page.locator("html").get_attribute("lang"))[:2]]
