"""An adapter that is unplugged and plugged in again: a pseudo-terminal behind a link that moves to another one."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time

import pytest

from diag.addressing import Target
from diag.answers import ask
from diag.canbus import open_can
from diag.errors import LinkLost
from diag.guard import Risk, TransmitGuard, VehicleState
from diag.request import IsoTpLink

BMS = Target.physical(0x7E4)


class Adapter:
    """The simulated car behind slcan, reached by a name that stays while the device changes."""

    def __init__(self, place) -> None:
        self.path = place / "adapter"
        self.process = None

    def plug(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "huizhen", "sim", "run", "--front", "slcan", "--scenario", "healthy", "-q"],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        channel = json.loads(self.process.stdout.readline())["channel"]
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(channel)

    def unplug(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None
            self.path.unlink(missing_ok=True)


@pytest.fixture
def adapter(tmp_path):
    one = Adapter(tmp_path)
    one.plug()
    yield one
    one.unplug()


async def test_requests_and_readers_go_on_when_it_is_back(adapter):
    said = []
    async with (
        await open_can("slcan", str(adapter.path), 500_000, replug_s=60, notice=said.append) as link,
        IsoTpLink(link) as requests,
    ):
        heard = link.frames(accept=lambda frame: frame.can_id < 0x700)
        assert (await ask(requests, BMS, b"\x22\xf1\x90")).nrc is None
        await asyncio.to_thread(adapter.unplug)
        asked = asyncio.create_task(ask(requests, BMS, b"\x22\xf1\x8c", timeout_s=1.0))
        await asyncio.sleep(1.5)
        assert not asked.done(), "it waits"
        await asyncio.to_thread(adapter.plug)
        async with asyncio.timeout(120):
            answer = await asked
        assert answer.payload.startswith(b"\x62\xf1\x8c")
        async with asyncio.timeout(120):
            while (await anext(heard)).t_ns < time.time_ns() - 2_000_000_000:
                pass
    assert link.outages == 1
    assert [("gone" in text.en, "back" in text.en) for text in said] == [(True, False), (False, True)]
    assert "重新插上" in said[0].zh


async def test_an_adapter_that_stays_away_ends_the_link(adapter):
    async with await open_can("slcan", str(adapter.path), 500_000, replug_s=1.0) as link, IsoTpLink(link) as requests:
        await asyncio.to_thread(adapter.unplug)
        begun = time.monotonic()
        with pytest.raises(LinkLost):
            await ask(requests, BMS, b"\x22\xf1\x90", timeout_s=5.0)
        assert time.monotonic() - begun < 4.0
        with pytest.raises(LinkLost):
            await ask(requests, BMS, b"\x22\xf1\x90")


async def test_closing_while_it_is_away_does_not_hang(adapter):
    link = await open_can("slcan", str(adapter.path), 500_000, replug_s=60)
    await asyncio.to_thread(adapter.unplug)
    async with asyncio.timeout(120):
        while not link.outages:  # noqa: ASYNC110 - the driver notices by itself
            await asyncio.sleep(0.05)
        await link.close()


async def test_what_changes_the_car_does_not_wait_for_the_adapter(adapter):
    guard = TransmitGuard(
        frozenset({Risk.READ, Risk.ASK_EACH_TIME}), state=VehicleState(speed_kmh=0.0, is_charging=False, supply_v=12.8)
    )
    clear = b"\x14\xff\xff\xff"
    async with (
        await open_can("slcan", str(adapter.path), 500_000, guard=guard, replug_s=60) as link,
        IsoTpLink(link) as requests,
    ):
        await asyncio.to_thread(adapter.unplug)
        async with asyncio.timeout(120):
            while not link.outages:  # noqa: ASYNC110 - the driver notices by itself
                await asyncio.sleep(0.05)
        guard.confirm(clear, BMS)
        sent = guard.sent
        begun = time.monotonic()
        with pytest.raises(LinkLost):
            await ask(requests, BMS, clear)
        assert time.monotonic() - begun < 2.0
        assert guard.sent == sent
