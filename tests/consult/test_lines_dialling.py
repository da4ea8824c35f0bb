"""Getting through a path that was dead, noticing one that is, and a viewer who reads no more."""

import asyncio
import time

import aiohttp
import pytest
from test_agent_resume import Relay, port_of

from consult import dialling
from consult.dialling import first_to_open, given_up
from consult.invites import Role


class Line:
    """What an attempt gives when it gets through."""

    def __init__(self):
        self.closed = False

    async def close(self):
        self.closed = True


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(dialling, "_EVERY_S", 0.05)


async def test_an_attempt_that_hangs_does_not_delay_the_next(quick):
    begun = []

    async def attempt():
        begun.append(None)
        if len(begun) < 3:
            await asyncio.Event().wait()
        return len(begun)

    async with asyncio.timeout(120):
        assert await first_to_open(attempt) == 3


async def test_no_more_than_five_hang_at_a_time(quick, eventually):
    begun, made, hanging = [], [], asyncio.Event()

    async def attempt():
        begun.append(None)
        await hanging.wait()
        made.append(Line())
        return made[-1]

    opening = asyncio.create_task(first_to_open(attempt))
    await eventually(lambda: len(begun) == 5)
    await asyncio.sleep(0.2)
    assert len(begun) == 5
    hanging.set()
    through = await opening
    assert not through.closed
    assert [line.closed for line in made].count(False) == 1, "the others are hung up"


async def test_when_all_have_failed_the_last_reason_is_told(quick):
    async def attempt():
        raise aiohttp.ClientConnectionError("nobody there")

    with pytest.raises(aiohttp.ClientConnectionError, match="nobody there"):
        await first_to_open(attempt)


async def test_one_that_is_given_up_leaves_no_attempt_behind(quick, eventually):
    running = []

    async def attempt():
        running.append(None)
        try:
            await asyncio.Event().wait()
        finally:
            running.pop()

    opening = asyncio.create_task(first_to_open(attempt))
    await eventually(lambda: len(running) > 1)
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    assert running == []


async def test_silence_is_noticed_and_a_long_line_gets_longer():
    heard = time.monotonic()
    assert "silent for 2.0 s" in await given_up(lambda: heard - 2.1, lambda: None)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.6):
            await given_up(lambda: time.monotonic() - 2.5, lambda: 0.5)


async def test_a_laptop_that_slept_does_not_wait_for_the_silence(monkeypatch):
    """The monotonic clock stands still while a laptop sleeps; the clock on the wall does not."""
    slept = [0.0]
    real = time.time

    class Clock:
        monotonic = staticmethod(time.monotonic)

        @staticmethod
        def time():
            return real() + slept[0]

    monkeypatch.setattr(dialling, "time", Clock)
    waiting = asyncio.create_task(given_up(time.monotonic, lambda: None))
    await asyncio.sleep(0.6)
    assert not waiting.done()
    slept[0] = 60.0
    async with asyncio.timeout(120):
        assert await waiting == "this machine slept"


async def test_the_path_comes_back_while_attempts_hang(service, car, report, in_room, eventually):
    """A relay that takes connections and passes nothing on: the agent is there soon after it does again."""
    car.period_s = 0.02
    async with (
        Relay(port_of(service)) as relay,
        in_room(service, car, report, server=f"http://127.0.0.1:{relay.port}") as agent,
    ):
        room = service.room(agent.room)
        await eventually(lambda: room.rings and room.rings[1].next > 20)
        relay.silent = True
        relay.hang_up()
        await asyncio.sleep(3)
        before = room.rings[1].next
        relay.silent = False
        await eventually(lambda: room.rings[1].next > before + 50)
        car.count = 0
        await eventually(lambda: not len(agent.spool))
        assert [seq for seq, _ in room.journal.blocks(1, room.epoch, 0, 1 << 31)] == list(range(len(car.sent)))


async def test_a_viewer_who_reads_no_more_holds_nobody_up(service, wide_car, report, in_room, eventually):
    """Sixteen kilobytes five hundred times a second; the others get on, and what waits for the one is bounded."""
    async with (
        in_room(service, wide_car, report) as agent,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
    ):
        await eventually(lambda: agent.connections)
        sockets = []
        for _ in range(2):
            code = service.invite(agent.room, Role.EXPERT).code
            async with http.post(f"{service.url}/redeem", json={"invite": code}) as answer:
                cookie = answer.cookies["huizhen_session"].value
            headers = {"Cookie": f"huizhen_session={cookie}"}
            sockets.append(
                await http.ws_connect(f"{service.url}/r/{agent.room}/watch", headers=headers, max_msg_size=0)
            )
        room = service.rooms[agent.room]
        await eventually(lambda: len(room.members) == 2)
        deaf, reader = room.members.values()
        got = 0
        async with asyncio.timeout(120):
            while not deaf.outbox.clock.is_thin or got < 500:
                message = await sockets[1].receive()
                got += message.type is aiohttp.WSMsgType.BINARY
        assert deaf.outbox.pacer.under_way < 400_000, "what a dead line has under way is bounded"
        assert not deaf.outbox.overrun
        assert reader.outbox.pacer.rtt_s is not None
        assert len(deaf.outbox._live) <= 100
        for socket in sockets:
            await socket.close()
