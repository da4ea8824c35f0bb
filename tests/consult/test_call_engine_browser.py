"""Calls of real pages beyond the mesh: by a real Janus, recorded after consent, and through a real coturn."""

import asyncio
import contextlib
import dataclasses
import os
import signal

import pytest
from callkit import JANUS, own_address
from callpages import PATIENCE_MS, PATIENCE_S, PHONE, advances, chromes, join, rows_of, unless_starved, until
from test_call_browser import draws, grows, hears, told, wait_for
from test_lines_turn import ice, relay, running_relay

from consult.mediaconfig import MediaConfig
from consult.mediarooms import MediaPart
from consult.service import running_service

__all__ = ["relay"]

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("whole_machine")]
NEEDS_JANUS = pytest.mark.skipif(
    JANUS is None or own_address() is None,
    reason="Janus is not installed (Debian: apt install janus), or this machine has no address but loopback",
)


@pytest.fixture
async def thin_relay(tmp_path):
    """A coturn that lets 12 kB a second through for each who uses it."""
    async with running_relay(tmp_path, "127.0.0.1", "--max-bps", "12000") as port:
        yield port


def engine_of(service):
    (part,) = [part for part in service.parts if isinstance(part, MediaPart)]
    return part


@contextlib.asynccontextmanager
async def with_engine(config):
    media = MediaConfig(engine="janus", interface=own_address(), ports=(42_500, 42_900))
    async with running_service(dataclasses.replace(config, media=media)) as service:
        await wait_for(lambda: engine_of(service).is_up)
        yield service


@NEEDS_JANUS
async def test_a_phone_and_four_experts_by_the_engine_while_the_charts_go_on(config, car, report, in_room):
    async with (
        unless_starved(240),
        with_engine(config) as service,
        in_room(service, car, report) as agent,
        chromes(service, agent.room) as browsers,
    ):
        phone = await browsers.enter("technician", "王师傅", **PHONE)
        lead = await browsers.enter("lead", "李工")
        # On phones too: where the call is looked at no charts are drawn, and two processors draw them for few.
        experts = [await browsers.enter("expert", name, lang="en-GB", **PHONE) for name in ("Anna", "Ben", "Cleo")]
        room = service.room(agent.room)
        await join(phone)
        await join(lead)
        await advances(lead, phone.person)
        assert room.calls.mode == "mesh"
        track = await phone.evaluate("window.huizhen.call().camera.video.id")
        for page in experts:
            await join(page, "voice")
        await until(phone, "window.huizhen.call().status.mode === 'sfu'")
        assert await phone.evaluate("window.huizhen.call().camera.video.id") == track, "nobody is asked again"
        for page in (lead, *experts):
            await advances(page, phone.person)
        await advances(phone, lead.person)
        await hears(phone, 4)
        await hears(experts[0], 4)
        for page in (lead, *experts):
            await grows(page)
        await draws(lead)
        assert await phone.evaluate("window.huizhen.call().connections().length") == 2

        os.kill(engine_of(service).engine.pid, signal.SIGKILL)
        await lead.wait_for_selector(".call-note:has-text('音视频中断')", timeout=PATIENCE_MS)
        await wait_for(lambda: engine_of(service).is_up)
        await advances(lead, phone.person)
        await advances(experts[2], phone.person)
        await hears(experts[1], 4)

        # A thin line of one fetches no pictures, and hears on.
        await experts[0].evaluate(
            "{ const { ladder } = window.huizhen.call(); ladder.at = 3; ladder.take = () => true; }"
        )
        await lead.wait_for_selector(
            f".tile[data-person='{experts[0].person}']:has-text('仅语音')", timeout=PATIENCE_MS
        )
        await hears(experts[0], 4)
        assert not await pictures_come(experts[0])
        await experts[0].evaluate("{ const { ladder } = window.huizhen.call(); ladder.at = 0; }")
        await advances(experts[0], phone.person)


async def pictures_come(page):
    """Whether bytes of any picture arrive within two seconds."""
    before = sum(row["bytesReceived"] for row in await rows_of(page, "inbound-rtp", kind="video"))
    await asyncio.sleep(2)
    return sum(row["bytesReceived"] for row in await rows_of(page, "inbound-rtp", kind="video")) > before


@contextlib.asynccontextmanager
async def phone_and_lead(running, car, report, in_room, kind="video", *, steps=False):
    """A service, a room, a browser, and in the call a phone with its camera and the lead, who sees it if by video."""
    async with (
        running as service,
        in_room(service, car, report) as agent,
        chromes(service, agent.room) as browsers,
    ):
        phone = await browsers.enter("technician", "王师傅", **PHONE)
        lead = await browsers.enter("lead", "李工")
        await join(phone, steps=steps)
        await join(lead, kind, steps=steps)
        if kind == "video":
            await advances(lead, phone.person)
        yield service, agent, browsers, phone, lead


@NEEDS_JANUS
async def test_recording_waits_for_all_shows_a_sign_and_ends_with_a_withdrawal(config, car, report, in_room):
    async with phone_and_lead(with_engine(config), car, report, in_room) as (service, agent, browsers, phone, lead):
        await lead.locator("#call-record").click()
        await phone.wait_for_selector(".consent:has-text('李工'):has-text('录制')")
        await phone.wait_for_selector(".consent:has-text('一同删除')")
        await lead.locator("#consent-agree").click()
        await lead.wait_for_selector(".consent-note:has-text('王师傅')")
        assert not service.room(agent.room).calls.recording_since_us
        await phone.locator("#consent-agree").click()
        for page in (phone, lead):
            await page.wait_for_selector(".recording-sign", timeout=PATIENCE_MS)
        await advances(lead, phone.person)
        guest = await browsers.enter("expert", "Anna", lang="en-GB")
        await join(guest, "voice")
        await guest.wait_for_selector(".consent:has-text('wants to record')")
        await phone.wait_for_selector(".recording-sign", state="detached")
        await guest.locator("#consent-agree").click()
        await guest.wait_for_selector(".recording-sign", timeout=PATIENCE_MS)
        await phone.locator("#consent-withdraw").click()
        for page in (phone, lead, guest):
            await page.wait_for_selector(".recording-sign", state="detached")
        states = [event["body"]["state"] for event in told(service, agent, "recording")]
        assert (states[:3], states[-2:]) == (["asked", "on", "suspended"], ["on", "off"])
        given = [(event["who"]["name"], event["body"]["given"]) for event in told(service, agent, "consent")]
        assert (given[:2], given[-1]) == ([("李工", True), ("王师傅", True)], ("王师傅", False))
        assert ("Anna", True) in given


async def test_relay_only_nobody_s_address_is_seen_and_the_call_works(config, car, report, in_room, relay):
    running = running_service(dataclasses.replace(config, ice=ice(relay), relay_only=True))
    async with phone_and_lead(running, car, report, in_room) as (_, _, _, phone, lead):
        await advances(phone, lead.person)
        for page in (phone, lead):
            local = await rows_of(page, "local-candidate")
            remote = await rows_of(page, "remote-candidate")
            assert {row["candidateType"] for row in local} == {"relay"}
            assert {row["candidateType"] for row in remote} == {"relay"}


async def test_a_line_that_is_thin_indeed_loses_the_picture_and_keeps_the_voice(
    config, car, report, in_room, thin_relay
):
    """The relay lets through what a bad mobile line does; the page measures, decides and says so by itself."""
    running = running_service(dataclasses.replace(config, ice=ice(thin_relay), relay_only=True))
    async with phone_and_lead(running, car, report, in_room, "voice", steps=True) as (_, _, _, phone, lead):
        async with asyncio.timeout(2 * PATIENCE_S):
            while await phone.evaluate("window.huizhen.call().level") == "video":  # noqa: ASYNC110 - in the browser
                await asyncio.sleep(0.5)
        await lead.wait_for_selector(f".tile[data-person='{phone.person}'] .tile-sign:not([hidden])")
        await phone.wait_for_selector(".call-note:not(:empty)")
        await hears(lead)
        await grows(lead)
