"""Gateways and adapters over TCP that go away and come back at the same address."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from diag.addressing import Target
from diag.answers import ask
from diag.doip import open_doip
from diag.elm327 import open_elm327
from diag.errors import LinkLost
from diag.guard import Risk, TransmitGuard, VehicleState
from diag.reviving import RevivingLink
from virtualbus.car import Car
from virtualbus.fronts import open_front, parse_front
from virtualbus.runner import CarRunner
from virtualbus.scenario import find_scenario

if TYPE_CHECKING:
    from diag.direct import DirectLink


class Plug:
    """The simulated car behind one port, which can be pulled and put in again."""

    def __init__(self, kind: str) -> None:
        self.kind, self.port, self.runner = kind, 0, None

    def put_in(self) -> None:
        front = open_front(parse_front(f"{self.kind}:{self.port}"))
        self.runner = CarRunner(Car(find_scenario("healthy"), 3), [front])
        self.runner.start()
        self.port = int(str(front.description["port"]))

    def pull(self) -> None:
        if self.runner is not None:
            self.runner.stop()
            self.runner = None


@pytest.fixture(params=["doip", "elm327"])
def plug(request):
    if request.param == "elm327":
        pytest.importorskip("obd", reason="python-OBD is optional")
    one = Plug(request.param)
    one.put_in()
    yield one
    one.pull()


async def opened(plug: Plug, guard: TransmitGuard) -> DirectLink:
    if plug.kind == "doip":
        return await open_doip("127.0.0.1", plug.port, guard=guard)
    return await open_elm327(f"socket://127.0.0.1:{plug.port}", "38400", "6", guard=guard)


async def test_reading_goes_on_when_it_is_back(plug):
    said: list[str] = []
    guard = TransmitGuard()
    bms = Target.at_logical(0x1003) if plug.kind == "doip" else Target.physical(0x7E4)
    first = await opened(plug, guard)
    async with RevivingLink(first, lambda: opened(plug, guard), 60, lambda text: said.append(text.en)) as link:
        assert (await ask(link, bms, b"\x22\xf1\x8c")).nrc is None
        await asyncio.to_thread(plug.pull)
        asked = [asyncio.create_task(ask(link, bms, b"\x22" + did)) for did in (b"\xf1\x8c", b"\xf1\x90")]
        await asyncio.sleep(1.0)
        assert not any(task.done() for task in asked)
        await asyncio.to_thread(plug.put_in)
        async with asyncio.timeout(120):
            answers = await asyncio.gather(*asked)
        assert [answer.payload[:3].hex() for answer in answers] == ["62f18c", "62f190"]
        assert link.outages == 1
    assert ["gone" in text or "back" in text for text in said] == [True, True]


async def test_what_changes_the_car_is_never_repeated(plug):
    guard = TransmitGuard(
        frozenset({Risk.READ, Risk.ASK_EACH_TIME}), state=VehicleState(speed_kmh=0.0, is_charging=False, supply_v=12.8)
    )
    bms = Target.at_logical(0x1003) if plug.kind == "doip" else Target.physical(0x7E4)
    link = RevivingLink(await opened(plug, guard), lambda: opened(plug, guard), 0.1, lambda _: None)
    async with link:
        await asyncio.to_thread(plug.pull)
        guard.confirm(b"\x14\xff\xff\xff", bms)
        with pytest.raises(LinkLost):
            await ask(link, bms, b"\x14\xff\xff\xff")
        sent = [entry for entry in guard.log if entry.stage == "frame" and entry.data == b"\x14\xff\xff\xff"]
        assert len(sent) <= 1
        with pytest.raises(LinkLost):
            await ask(link, bms, b"\x22\xf1\x90")
