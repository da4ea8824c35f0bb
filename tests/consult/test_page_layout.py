"""The page as people hold it: nothing runs over the edge, nothing is too small to hit, everything has a key."""

import pytest
from test_consult_browser import page_of
from test_page_curves import until, wait_for_window

pytestmark = pytest.mark.browser

OVER_THE_EDGE = """() => {
  const wide = document.documentElement.scrollWidth - window.innerWidth;
  const out = [...document.querySelectorAll("header *, .toolbar *, .side *, .faults .card, .battery *, nav *")]
    .filter((one) => one.getClientRects().length > 0 && !one.closest("[hidden], #signal-list, .counts, .spoken"))
    .filter((one) => one.getBoundingClientRect().right > window.innerWidth + 1)
    .map((one) => one.outerHTML.slice(0, 80));
  return wide > 0 ? [`${wide} px too wide`, ...out] : out;
}"""

TOO_SMALL = """() => [...document.querySelectorAll("button, input, select, textarea, summary")]
  .filter((one) => one.checkVisibility() && !one.matches(".cell, [type=radio], [type=checkbox], [type=range]"))
  .filter((one) => !one.closest(".popup, .counts"))
  .map((one) => [one, one.getBoundingClientRect()])
  .filter(([, box]) => box.width > 0 && (box.width < 22 || box.height < 22))
  .map(([one, box]) => `${Math.round(box.width)} x ${Math.round(box.height)}: ${one.outerHTML.slice(0, 90)}`)"""

NAMELESS = """() => [...document.querySelectorAll("button, input, select, textarea")]
  .filter((one) => one.checkVisibility())
  .filter((one) => !(one.textContent.trim() || one.ariaLabel || one.title || one.labels?.length))
  .map((one) => one.outerHTML.slice(0, 90))"""


@pytest.mark.parametrize("size", [(1280, 800), (390, 844)], ids=["laptop", "phone"])
async def test_nothing_overflows_is_tiny_or_has_no_name(service, car, report, in_room, browser, size):
    async with in_room(service, car, report) as agent, page_of(browser, (await agent.invite("lead")).url) as page:
        await page.set_viewport_size({"width": size[0], "height": size[1]})
        await page.wait_for_selector("#battery [data-extreme=low]")
        await page.wait_for_selector(".people .line-bars", state="attached")
        for _ in ("zh", "en"):
            for tab in ("faults", "live", "requests", "talk") if size[0] < 760 else ("live",):
                if size[0] < 760:
                    await page.locator(f"nav [data-tab={tab}]").click()
                assert await page.evaluate(OVER_THE_EDGE) == []
                assert await page.evaluate(TOO_SMALL) == []
                assert await page.evaluate(NAMELESS) == []
            if size[0] < 760:
                await page.locator("nav [data-tab=live]").click()
            await page.locator(
                "header button.quiet[aria-label*='Switch'], header button.quiet[aria-label*='切换']"
            ).click()


async def test_everything_has_a_key(service, car, report, in_room, browser):
    async with in_room(service, car, report) as agent, page_of(browser, (await agent.invite()).url) as page:
        await wait_for_window(page, "w.to - w.from >= 9")
        await page.keyboard.press("?")
        assert await page.locator(".popup kbd").count() >= 12
        await page.keyboard.press("Escape")
        assert await page.locator(".popup").count() == 0
        for _ in range(4):
            await page.keyboard.press("+")
        await wait_for_window(page, "w.live && w.to - w.from < 4")
        await page.keyboard.press(" ")
        await wait_for_window(page, "!w.live")
        await page.keyboard.press("ArrowLeft")
        await page.keyboard.press("Shift+ArrowLeft")
        await page.wait_for_selector("output.past")
        await page.keyboard.press("l")
        await wait_for_window(page, "w.live")
        await page.keyboard.press("f")
        await page.wait_for_selector("#lead[aria-pressed=true]")
        await page.keyboard.press("r")
        await page.wait_for_selector(".side[data-side=requests]")
        assert await page.evaluate("document.activeElement.id") == "ask"
        await page.keyboard.press("c")
        await page.keyboard.type("l m ?")
        assert await page.locator(".say textarea").input_value() == "l m ?", "in a field a key is a letter"
        await page.locator(".overview").focus()
        await page.keyboard.press("Home")
        await wait_for_window(page, "!w.live")
        await page.keyboard.press("End")
        await wait_for_window(page, "w.live")


async def test_who_wants_no_motion_gets_curves_in_calm_steps(service, car, report, in_room, browser):
    async with in_room(service, car, report) as agent, page_of(browser, (await agent.invite()).url) as page:
        await page.emulate_media(reduced_motion="reduce")
        await wait_for_window(page, "w.to - w.from >= 9")
        await page.evaluate("window.huizhen.clearFrames()")
        await until(page, "window.huizhen.frames().draws.length >= 12")
        gaps = sorted(await page.evaluate("window.huizhen.frames().draws"))
        assert gaps[len(gaps) // 2] > 300, "some follow a change at once; those that time alone brings are calm"
