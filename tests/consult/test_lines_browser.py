"""A real page on bad lines: cut, and thinner than what is measured. The relay in user space is the benchmark's."""

import asyncio
import dataclasses
import importlib.util
import json
import sys
from pathlib import Path

import pytest
from test_agent_resume import port_of
from test_consult_browser import count, enter, exported, journaled

from consult.service import running_service

pytestmark = pytest.mark.browser
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def thinline():
    spec = importlib.util.spec_from_file_location("thinline", BENCHMARKS / "thinline.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["thinline"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
async def wss_only(config):
    """Everything by websocket: what goes by UDP would not take the bad line."""
    async with running_service(dataclasses.replace(config, webrtc=False)) as running:
        yield running


async def settled(condition, timeout_s=120):
    async with asyncio.timeout(timeout_s):
        while not await condition():  # noqa: ASYNC110 - it happens in the browser
            await asyncio.sleep(0.1)


async def test_a_page_comes_back_by_itself_when_the_path_does(wss_only, car, report, in_room, browser, thinline):
    async with in_room(wss_only, car, report) as agent, thinline.ThinLine(port_of(wss_only)) as line:
        invite = await agent.invite("expert")
        page = await browser.new_page()
        await enter(page, invite.url.replace(f":{port_of(wss_only)}/", f":{line.port}/"))
        await page.wait_for_selector("#connection[data-carrier=wss]")

        async def grows():
            before = await count(page, "wss")
            await asyncio.sleep(0.5)
            return await count(page, "wss") > before

        await settled(grows)
        line.cut()
        await page.wait_for_selector("#connection[data-kind=bad], #connection[data-carrier='']")
        dialled = line.connections
        line.mend()
        await settled(grows)
        assert line.connections > dialled

        async def whole():
            return await count(page, "missing") == 0

        await settled(whole)
        assert await count(page, "gone") == 0


async def test_a_page_on_a_thin_line_shows_now_and_has_everything_in_the_end(
    wss_only, car, report, in_room, browser, thinline
):
    """Forty kbit/s for seventy: the curves stay current by envelopes, and no sample lacks once the line is better."""
    model = thinline.LineModel(bits_s=40_000, rtt_s=0.1)
    async with in_room(wss_only, car, report) as agent, thinline.ThinLine(port_of(wss_only)) as line:
        room = wss_only.room(agent.room)
        invite = await agent.invite("expert")
        page = await browser.new_page()
        complaints = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await enter(page, invite.url.replace(f":{port_of(wss_only)}/", f":{line.port}/"))
        await page.wait_for_selector("output[data-signal=PackCurrent]")
        line.model = model
        (member,) = room.members.values()

        async def is_thin():
            return member.outbox.clock.is_thin

        await settled(is_thin)
        shown = set()

        async def moves():
            shown.add(await page.locator("output[data-signal=PackCurrent]").text_content())
            return len(shown) > 8 and next(iter(room.rings.values())).next > 100

        await settled(moves)
        line.model = thinline.LineModel(rtt_s=0.02)

        async def whole():
            return await count(page, "missing") == 0

        await settled(whole, 60)
        assert await count(page, "broken") == 0
        names, rows = await exported(page)
        await asyncio.sleep(0.3)
        kept = journaled(room)
        assert len(rows) > 20, "how many fit into the window depends on how long the thin line took"
        for key, values in rows.items():
            frame = kept[key]
            for value, true, is_valid in zip(values, frame.values, frame.valid, strict=True):
                assert (value is not None) == is_valid
                assert value is None or value == pytest.approx(float(true), rel=1e-6)
        assert len(names) == len(next(iter(rows.values())))
        assert complaints == []


async def test_a_page_does_not_end_because_the_service_restarts(config, car, report, in_room, browser):
    async with running_service(config) as service, in_room(service, car, report) as agent:
        invite = await agent.invite("expert")
        page = await browser.new_page()
        await enter(page, invite.url)
        await page.wait_for_selector("#connection[data-kind=good]")
        room = service.room(agent.room)
        (member,) = room.members.values()
        member.outbox.say(json.dumps({"type": "closed", "code": "consult.service-restarting"}))
        member.outbox.stop()

        async def another():
            return any(one is not member for one in room.members.values())

        await settled(another)
        await page.wait_for_selector("#connection[data-kind=good]")
