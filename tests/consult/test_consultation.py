"""A whole consultation with real parts: the scan says why, two experts look on, the line is cut, a request is granted,
the job is closed, the record is checked, and its replay shows the curves that the experts saw.

Every program is the one that people start; the browsers are two separate Chromiums. With ``HUIZHEN_SHOTS`` set to a
folder the pages are photographed.
"""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_agent_resume import Relay

pytestmark = pytest.mark.browser

SIGNALS = ["PackCurrent", "PackVoltage"]
CUT_S = 4.0
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--allow-loopback-in-peer-connection",
)  # fmt: skip


RUNNING = []


@pytest.fixture(autouse=True)
def nothing_left():
    """Ends what a failure left running."""
    yield
    while RUNNING:
        process = RUNNING.pop().process
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()


class Program:
    """``huizhen …`` with JSON lines out and in."""

    def __init__(self, process):
        self.process = process
        self.lines = []
        self._more = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, env, *words):
        """Starts it; a test that fails leaves none behind."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "huizhen", *words, "--json", "--lang", "en",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=env,
            limit=1 << 24,
        )  # fmt: skip
        made = cls(process)
        RUNNING.append(made)
        return made

    async def _read(self):
        async for line in self.process.stdout:
            self.lines.append(json.loads(line))
            self._more.set()
        self._more.set()

    async def first(self, wanted, timeout_s=120):
        """The first line, so far or to come, that a question says yes to."""
        async with asyncio.timeout(timeout_s):
            while True:
                self._more.clear()
                for line in self.lines:
                    if wanted(line):
                        return line
                if self._reading.done():
                    error = (await self.process.stderr.read()).decode()
                    raise AssertionError(f"ended with {self.process.returncode}: {error}")
                await self._more.wait()

    async def say(self, told):
        """One line in: words, or JSON."""
        line = told if isinstance(told, str) else json.dumps(told)
        self.process.stdin.write(line.encode() + b"\n")
        await self.process.stdin.drain()

    async def end(self):
        """Waits for its own end and gives the exit code; takes it by the collar where it does not come."""
        try:
            async with asyncio.timeout(120):
                code = await self.process.wait()
        except TimeoutError:
            self.process.kill()
            code = await self.process.wait()
        await self._reading
        return code


def schema(name):
    """Whether a line is of a schema."""
    return lambda line: line.get("schema") == f"huizhen.{name}/1"


def request(event):
    """Whether a line tells this of a request to the car."""
    return lambda line: schema("room-request")(line) and line["event"] == event


@contextlib.asynccontextmanager
async def chromium(driver, folder, locale):
    """A browser of its own, as another person has."""
    context = await driver.chromium.launch_persistent_context(
        str(folder), executable_path=CHROMIUM, headless=True, args=list(FLAGS),
        viewport={"width": 1280, "height": 800}, locale=locale,
    )  # fmt: skip
    try:
        yield context
    finally:
        await context.close()


async def enter(context, url, name):
    """Through the door and into the room, until the curves run."""
    page = await context.new_page()
    await page.goto(url)
    await page.get_by_role("textbox").fill(name)
    await page.locator("button[type=submit]").click()
    await page.wait_for_url("**/r/*")
    await page.wait_for_selector("#connection[data-kind=good], #connection[data-kind=fair]")
    await page.wait_for_selector("output[data-signal=PackCurrent]")
    return page


async def digest(page, span):
    """What the page holds of two curves between two times."""
    return await page.evaluate("([names, from, to]) => window.huizhen.digest(0, names, from, to)", [SIGNALS, *span])


async def full(page, span):
    """Waits until no block of a span is missing any more."""
    async with asyncio.timeout(120):
        await page.wait_for_function("() => document.querySelector('[data-count=missing]').textContent === '0'")
    return await digest(page, span)


async def photograph(page, name):
    """For people who look."""
    if folder := os.environ.get("HUIZHEN_SHOTS"):
        await page.screenshot(path=str(Path(folder) / f"{name}.png"))


async def test_from_the_scan_to_the_closed_case(tmp_path):
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    playwright = pytest.importorskip("playwright.async_api")
    env = {
        **os.environ, "XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_DATA_HOME": str(tmp_path / "data"),
        "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    scenario = ["--demo", "--scenario", "weak-cell"]

    # The first look: what the technician sees before anybody is asked.
    scan = await Program.start(env, "scan", *scenario)
    report = await scan.first(schema("scan"))
    assert await scan.end() in (0, 5), "codes were found"
    assert report["cases"]["verdict"] in ("direct", "test", "expert")

    rooms = tmp_path / "rooms"
    serve = await Program.start(env, "consult", "serve", "--port", "0", "--data", str(rooms))
    told = await serve.first(schema("service"))
    line = Relay(int(told["url"].rpartition(":")[2]))
    await line.__aenter__()
    near = f"http://127.0.0.1:{line.port}"
    laptop = await Program.start(
        env, "consult", "open", *scenario, "--server", near, "--invite", told["technician_invite"],
        "--name", "王师傅", "--symptom", "loses power on hills",
    )  # fmt: skip
    room = await laptop.first(schema("room"))
    await laptop.say("/invite lead")
    other = await laptop.first(lambda line: schema("room")(line) and line["role"] == "lead")

    async with (
        playwright.async_playwright() as driver,
        chromium(driver, tmp_path / "one", "zh-CN") as one,
        chromium(driver, tmp_path / "two", "en-GB") as two,
    ):
        expert = await enter(one, room["url"].replace(near, told["url"]), "李工")
        lead = await enter(two, other["url"].replace(near, told["url"]), "Dr. Hahn")
        begun_us = await expert.evaluate("Date.now() * 1000")
        await asyncio.sleep(3)

        # They talk and point.
        await expert.locator(".say textarea").fill("17 号单体看起来偏低 <b>?</b>")
        await expert.keyboard.press("Enter")
        await laptop.first(lambda line: line.get("kind") == "chat" and "17" in line["text"])
        await photograph(expert, "consultation-live-zh")
        await photograph(lead, "consultation-live-en")

        # The cable is cut; what was measured meanwhile comes later, for everybody.
        line.silent = True
        await asyncio.sleep(CUT_S)
        await photograph(lead, "consultation-cut-en")
        line.silent = False
        line.hang_up()
        await laptop.first(lambda line: line.get("kind") == "online" and line["n"] > 3)
        await asyncio.sleep(2)

        # A class B request: another session of the BMS, granted once.
        await lead.locator("[data-side=requests]").click()
        await lead.locator("#ask").click()
        await lead.locator(".ask-form input[type=search]").fill("BatteryEnergy 1003")
        await lead.locator(".ready button").first.click()
        await lead.locator(".ask-form textarea").fill("the session that the actuator test needs")
        await photograph(lead, "consultation-ask-en")
        await lead.locator(".ask-form button[type=submit]").click()
        asked = await laptop.first(request("shown"))
        assert (asked["risk"], asked["data"]) == ("B", "1003")
        await laptop.say({"decide": "approve", "id": asked["id"], "unplugged": True})
        over = await laptop.first(request("over"))
        assert (over["id"], over["outcome"]) == (asked["id"], "done"), over
        await lead.wait_for_selector(".request[data-state=done]")
        await expert.locator("[data-side=requests]").click()
        await expert.wait_for_selector(".request[data-state=done]")
        await photograph(lead, "consultation-granted-en")
        await photograph(expert, "consultation-granted-zh")

        span = (begun_us, await lead.evaluate("Date.now() * 1000") - 1_000_000)
        seen = [await full(page, span) for page in (expert, lead)]
        assert seen[0] == seen[1]

        # The end: what was wrong and what cures it.
        await laptop.say({"finish": {
            "lang": "en", "component": "cell 17 of the traction battery", "failure_mode": "weak",
            "action": "module replaced", "outcome": "fixed",
        }})  # fmt: skip
        assert await laptop.end() == 0
        await expert.wait_for_selector("text=/会诊.*(结束|完成)/")
    serve.process.terminate()
    assert await serve.end() == 0
    await line.__aexit__()
    assert await drafts(env) == ["cell 17 of the traction battery"]

    record = next(rooms.glob("*.room"))
    check = await Program.start(env, "consult", "verify", str(record))
    found = await check.first(schema("record-check"))
    assert (await check.end(), found["verdict"], found["faults"]) == (0, "intact", [])
    assert found["closed"] == "consult.room-finished"
    assert found["laptop"]["keys"][0]["signatures"] >= 2, "the approval and the result"
    async with playwright.async_playwright() as driver, chromium(driver, tmp_path / "three", "en-GB") as three:
        play = await Program.start(env, "consult", "replay", str(record))
        shown = await play.first(schema("replay"))
        page = await enter(three, shown["url"], "Auditor")
        await page.locator("#replay-seek").fill("1000")
        digest_ = 'window.huizhen.digest(0, names, from, to).catch(() => "")'  # until the page has heard of the stream
        same = f"async ([names, from, to, told]) => (await {digest_}) === told"
        await page.wait_for_function(same, arg=[SIGNALS, *span, seen[0]], polling=500)
        await photograph(page, "consultation-replay-en")
        play.process.terminate()
        assert await play.end() == 0


async def drafts(env):
    """The components of the drafts in the technician's library."""
    words = [sys.executable, "-m", "huizhen", "case", "add", "--drafts", "--json"]
    done = await asyncio.to_thread(subprocess.run, words, env=env, capture_output=True, text=True, check=True)
    return [one["consultation"]["statement"]["component"] for one in json.loads(done.stdout)["drafts"]]
