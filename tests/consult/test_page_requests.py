"""Requests on the page in Chromium: an expert asks, the technician's page grants, the simulated car answers."""

import asyncio
import contextlib

import pytest
from grantparts import BMS, TMS, VCU, car_and_witness, laptop_in_room
from test_consult_browser import page_of
from test_page_curves import until

from consult.invites import Role
from consult.requestproof import text_from_secret
from consult.service import running_service

pytestmark = pytest.mark.browser

STATUS = {
    "testFailed": False,
    "testFailedThisOperationCycle": False,
    "pendingDTC": False,
    "confirmedDTC": False,
    "testNotCompletedSinceLastClear": False,
    "testFailedSinceLastClear": False,
    "testNotCompletedThisOperationCycle": False,
    "warningIndicatorRequested": False,
}


def dtc(display, mask, *, set_bits, severity="soon"):
    code, _, failure = display.partition("-")
    return {
        "code": code,
        "failure_type": failure,
        "display": display,
        "ecu": BMS,
        "status": {"mask": mask, **STATUS, **dict.fromkeys(set_bits, True)},
        "kind": ["stored"],
        "text": {"en": f"text of {display}", "zh": f"{display} 的说明"},
        "severity": severity,
        "raw": "0AA61A2F",
    }


REPORT = {
    "schema": "huizhen.scan/1",
    "simulated": True,
    "complete": True,
    "ecus": [
        {"address": VCU, "request_address": "0x7E0", "name": "VCU", "protocol": "obd2+uds", "identification": {}},
        {"address": BMS, "request_address": "0x7E4", "name": "BMS", "protocol": "obd2+uds", "identification": {}},
        {"address": TMS, "request_address": "0x7E7", "name": "TMS", "protocol": "uds", "identification": {}},
    ],
    "dtcs": [
        dtc("P0BBD-85", "0x28", set_bits=["confirmedDTC", "testFailedSinceLastClear"], severity="stop"),
        dtc("P0DE6-16", "0x09", set_bits=["testFailed", "confirmedDTC"], severity="monitor"),
    ],
    "findings": [],
    "cases": {
        "verdict": "test",
        "matches": [
            {"case_id": "iso-1", "title": {"en": "Dry the plug", "zh": "干燥插头"}, "p": 0.6, "fix": None},
        ],
    },
}


@pytest.fixture(scope="module")
def standing():
    with car_and_witness("isolation") as found:
        yield found


@contextlib.asynccontextmanager
async def room_with_pages(service, browser, car):
    """A laptop on the car's bus, an expert's page, and the technician's own, which came with the secret."""
    async with laptop_in_room(service, car, REPORT) as laptop:
        room = laptop.agent.room
        expert = service.invite(room, Role.EXPERT)
        phone = service.invite(room, Role.TECHNICIAN)
        link = f"{phone.url}.{text_from_secret(laptop.secret)}"
        async with page_of(browser, expert.url) as page, page_of(browser, link) as own:
            await page.wait_for_selector("#dtcs [data-code]")
            yield laptop, page, own


async def ask(page, words, why="需要确认当前故障"):
    """The expert finds a ready request and says why."""
    await page.bring_to_front()
    await page.locator(".side-tabs [data-side=requests]").click()
    await page.locator("#ask").click()
    await page.get_by_placeholder("搜索请求").fill(words)
    await page.locator(".ready button:not([disabled])").first.click()
    await page.get_by_placeholder("为什么需要").fill(why)
    await page.get_by_role("button", name="发送请求").click()


async def test_a_reading_is_asked_granted_on_the_phone_and_answered_by_the_car(service, standing, browser):
    car, witness = standing
    witness.frames.clear()
    async with room_with_pages(service, browser, car) as (laptop, page, own):
        assert "." not in await own.evaluate("location.href.split('/').at(-1)"), "the secret is not in the address"
        await ask(page, "BMS 1902")
        await page.wait_for_selector(".request[data-state=waiting] .countdown")
        card = own.locator(".decide[data-request]")
        await card.wait_for()
        words = await card.text_content()
        assert "需要确认当前故障" in words
        assert "19 02" in words
        assert "BMS" in words
        assert witness.payloads(0x7E4) == [], "nothing is sent before it is granted"
        await own.bring_to_front()
        await card.get_by_role("button", name="批准一次").click()
        await page.bring_to_front()
        done = page.locator(".request[data-state=done]")
        await done.wait_for()
        await done.locator("summary").click()
        assert "59 02" in await done.text_content(), "the raw bytes are shown"
        assert "P0AA6-1A" in await done.text_content(), "and what they mean"
        assert len(witness.payloads(0x7E4)) == 1
        await own.wait_for_selector(".decide", state="detached")

        await ask(page, "BMS 1902", why="again")
        await own.bring_to_front()
        await own.locator(".decide").get_by_role("button", name="拒绝").click()
        await page.wait_for_selector(".request[data-state=denied]")
        assert len(witness.payloads(0x7E4)) == 1

        await ask(page, "BMS 1902", why="third")
        await page.locator(".request[data-state=waiting]").get_by_role("button", name="撤回").click()
        await page.wait_for_selector(".request[data-state=withdrawn]")
        await page.bring_to_front()
        await page.locator("#stop").click()
        await own.wait_for_selector(".stopped-note")
        assert laptop.book is not None


PUMP = "2F 01 61 03 46"


async def ask_by_bytes(page, data, *, hold=False):
    """The expert types the bytes; half a byte is none."""
    await page.bring_to_front()
    await page.locator(".side-tabs [data-side=requests]").click()
    await page.locator("#ask").click()
    await page.locator(".free summary").click()
    await page.locator(".free select").select_option(TMS)
    await page.locator(".free input.mono").fill(data[:-1])
    await page.wait_for_selector(".free .problem:has-text('十六进制')")
    await page.locator(".free input.mono").fill(data)
    if hold:
        await page.locator(".free input[type=checkbox]").check()
    await page.get_by_placeholder("为什么需要").fill("听水泵")
    await page.get_by_role("button", name="发送请求").click()


async def test_an_actuator_runs_while_the_button_is_held_and_free_bytes_are_classed(
    service, standing, browser, eventually
):
    car, witness = standing
    async with room_with_pages(service, browser, car) as (laptop, page, own):
        await ask_by_bytes(page, "10 03")
        await eventually(lambda: any(notice.kind == "shown" for notice in laptop.notices))
        [shown] = [notice for notice in laptop.notices if notice.kind == "shown"]
        laptop.approver.decide(shown.ident, shown.asked.digest, "approve", unplugged=True)
        await page.wait_for_selector(".request[data-state=done]")
        await own.wait_for_selector(".decide", state="detached")

        await ask_by_bytes(page, PUMP, hold=True)
        card = own.locator(".decide[data-request]")
        await card.wait_for()
        assert await card.locator(".risk").first.text_content() == "C"
        await own.bring_to_front()
        box = card.locator("input[type=checkbox]")
        approve = card.get_by_role("button", name="批准，然后按住")
        await approve.wait_for()
        await until(own, "document.querySelector('.decide .car-state').textContent.includes('km/h')")
        if await box.count():
            assert await approve.is_disabled()
            await box.check()
        witness.frames.clear()
        await approve.click()
        hold = own.locator(".hold-button")
        await hold.wait_for()
        assert bytes.fromhex(PUMP) not in witness.payloads(0x7E7), "approved, but nobody holds it yet"
        place = await hold.bounding_box()
        await own.mouse.move(place["x"] + 20, place["y"] + 20)
        await own.mouse.down()
        async with asyncio.timeout(120):
            while bytes.fromhex(PUMP) not in witness.payloads(0x7E7):  # noqa: ASYNC110 - it happens on the bus
                await asyncio.sleep(0.05)
        await own.mouse.up()
        async with asyncio.timeout(120):
            while bytes.fromhex("2F016100") not in witness.payloads(0x7E7):  # noqa: ASYNC110 - it happens on the bus
                await asyncio.sleep(0.05)
        await page.wait_for_selector(".request[data-state=done], .request[data-state=stopped]")


async def test_a_page_without_the_secret_can_deny_and_no_more(service, standing, browser):
    car, _ = standing
    async with laptop_in_room(service, car, REPORT) as laptop:
        room = laptop.agent.room
        async with (
            page_of(browser, service.invite(room, Role.EXPERT).url) as page,
            page_of(browser, service.invite(room, Role.TECHNICIAN).url) as own,
        ):
            await page.wait_for_selector("#dtcs [data-code]")
            await ask(page, "BMS 1902")
            card = own.locator(".decide[data-request]")
            await card.wait_for()
            assert "技师专用链接" in await card.text_content()
            assert await card.get_by_role("button").count() == 1
            await card.get_by_role("button", name="拒绝").click()
            await page.wait_for_selector(".request[data-state=denied]")


async def test_what_is_shown_must_be_what_is_hashed(service, standing, browser):
    """A service that shows one thing and lets another be approved is caught by the page."""
    car, _ = standing
    async with room_with_pages(service, browser, car) as (laptop, page, own):
        room = service.room(laptop.agent.room)
        body = {
            "ecu": BMS,
            "data": "1902FF",
            "risk": "A",
            "name": {"en": "Read codes", "zh": "读取故障码"},
            "hold": False,
            "digest": "0" * 64,
            "expires_us": room.created_us + 3_600_000_000,
            "seconds": 0,
        }
        who = {"id": 77, "role": "expert", "name": "forger"}
        room.happen("request", who, room.created_us, ident="forged-request-0001", text="trust me", body=body)
        card = own.locator("[data-request=forged-request-0001]")
        await card.get_by_text("校验值不符").wait_for()
        assert await card.get_by_role("button", name="批准一次").count() == 0
        await page.close()


async def test_codes_change_live_and_what_fails_now_comes_first(service, standing, browser):
    car, _ = standing
    async with room_with_pages(service, browser, car) as (laptop, page, _):
        await page.bring_to_front()
        order = "[...document.querySelectorAll('#dtcs [data-code]')].map((one) => one.dataset.code).join()"
        assert await page.evaluate(order) == "P0DE6-16,P0BBD-85", "what fails now comes before what is worse but past"
        bits = "[...document.querySelectorAll('[data-code=\"P0DE6-16\"] .bit')].map((one) => one.textContent).join('')"
        assert await page.evaluate(bits) == "00001001"
        now = [
            dtc(
                "P0BBD-85", "0x29", set_bits=["testFailed", "confirmedDTC", "testFailedSinceLastClear"], severity="stop"
            ),
        ]
        laptop.agent.tell_dtcs({"dtcs": now, "changed": ["P0BBD-85", "P0DE6-16"]})
        await page.wait_for_selector(".dtc.fresh[data-code='P0BBD-85'] .dtc-changed time")
        assert await page.evaluate(order) == "P0BBD-85"
        assert "P0DE6-16" in await page.locator("#dtcs .cleared").text_content()
        await page.locator("[data-code='P0BBD-85'] .bits").click()
        legend = await page.locator(".popup .legend-bits").text_content()
        assert "当前测试失败" in legend
        assert "请求点亮警告灯" in legend
        await page.keyboard.press("Escape")
        late = service.invite(laptop.agent.room, Role.EXPERT)
        async with page_of(browser, late.url) as other:
            await other.wait_for_selector("[data-code='P0BBD-85']")
            assert await other.locator("[data-code='P0DE6-16']").count() == 0, "who comes later sees the same"


async def test_the_technician_finishes_the_job(config, standing, browser):
    car, _ = standing
    async with running_service(config) as service, laptop_in_room(service, car, REPORT) as laptop:
        room = service.room(laptop.agent.room)
        link = service.invite(laptop.agent.room, Role.TECHNICIAN)
        async with page_of(browser, link.url) as own:
            await own.locator("#finish").click()
            await own.locator("select[name=fix]").select_option("iso-1")
            await own.get_by_label("已修复").check()
            await own.locator("textarea[name=tried]").fill("吹干插头\n测量绝缘")
            await own.locator(".popup").get_by_role("button", name="结案").click()
            await own.wait_for_selector("text=结论和处理措施已记录")
            [event] = [one for one in room.events_after(0) if one["kind"] == "finish"]
            assert event["body"]["fix"] == "iso-1"
            assert event["body"]["outcome"] == "fixed"
            assert [one["what"] for one in event["body"]["tried"]] == ["吹干插头", "测量绝缘"]
