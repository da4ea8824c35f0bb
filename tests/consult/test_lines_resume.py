"""A laptop that dies in the middle: the program is killed for good, and another one goes on in the same room."""

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import sys
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from test_agent_resume import Relay, port_of

from consult.errors import RoomClosed, SpoolBroken
from consult.journal import Journal
from consult.resuming import resumed_room
from consult.roomkeys import FOLDER, KeyStore
from consult.spoolfolder import find_unfinished, open_spool, resume_spool
from consult.wire import parse_samples
from huizhen.cli import main
from huizhen.exits import Exit
from huizhen.settings import config_folder

DEMO = ("--demo", "--scenario", "weak-cell", "--listen", "1")


@contextlib.asynccontextmanager
async def opened(*words, home):
    """``huizhen consult open`` in a process of its own."""
    environment = {**os.environ, "XDG_DATA_HOME": str(home), "PYTHONUNBUFFERED": "1", "HUIZHEN_LANG": "en"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "huizhen", "consult", "open", *DEMO, "--json", *words),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        out, err = await process.communicate()
        process.said = out.decode(), err.decode()


async def room_line(process):
    async with asyncio.timeout(120):
        while line := await process.stdout.readline():
            found = json.loads(line)
            if found["schema"] == "huizhen.room/1":
                return found
    raise AssertionError((await process.stderr.read()).decode())


def kept(room, stream):
    return [parse_samples(data) for _, data in room.journal.blocks(stream, room.epoch, 0, 1 << 31)]


async def test_killed_while_the_line_was_cut_and_taken_up_again(service, tmp_path, eventually):
    """Blocks that never left the dead program reach the journal, first; then come those of the new one."""
    async with Relay(port_of(service)) as relay:
        code = service.invite_technician().code
        there = ("--server", f"http://127.0.0.1:{relay.port}", "--invite", code)
        async with opened(*there, home=tmp_path) as first:
            ident = (await room_line(first))["room"]
            room = service.rooms[ident]
            await eventually(lambda: room.rings and room.rings[0].next > 30)
            epoch = room.epoch
            relay.silent = True
            await asyncio.sleep(1.5)  # measured, not delivered
            arrived = room.rings[0].next
            first.send_signal(signal.SIGKILL)
            await first.wait()
        assert find_unfinished(tmp_path / "huizhen" / "rooms" / "spool") == [ident]
        relay.silent = False
        relay.hang_up()
        async with opened("--resume", home=tmp_path) as second:
            assert (await room_line(second))["room"] == ident
            await eventually(lambda: room.rings[0].next > arrived + 60)
            assert room.epoch == epoch, "the same counting goes on"
            streams = {stream: kept(room, stream) for stream in (0, 1)}
            second.stdin.write(b"/quit\n")
            async with asyncio.timeout(120):
                await second.wait()
        assert second.returncode == Exit.DONE, second.said
        assert "going on" in second.said[1].lower()
    for frames in streams.values():
        assert [frame.head.seq for frame in frames] == list(range(len(frames))), "each once, none missing"
        times = [frame.head.t_us for frame in frames]
        assert times == sorted(times)
    signals = streams[0]
    gaps = np.diff([frame.head.t_us for frame in signals])
    assert (gaps > 1_000_000).sum() == 1, "one pause, while no program measured: nothing was made up for it"
    unsent = [frame for frame in signals if frame.head.seq >= arrived][:20]
    assert np.diff([frame.head.t_us for frame in unsent]).max() < 500_000, "measured while the line was dead"
    assert not [event for event in room.events_after(0) if event["kind"] == "gap"]
    assert find_unfinished(tmp_path / "huizhen" / "rooms" / "spool") == []


async def test_a_laptop_that_serves_its_own_room_comes_back_with_it(tmp_path, eventually):
    """No service elsewhere: the killed program was the service too. The expert's session is still good."""
    async with opened(home=tmp_path) as first, aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        room = await room_line(first)
        server, _, code = room["url"].partition("/join#")
        async with http.post(f"{server}/redeem", json={"invite": code, "name": "Li"}) as answer:
            path = (await answer.json())["path"]
        socket = await http.ws_connect(f"{server}{path}/watch")

        async def head(beats):
            async with asyncio.timeout(120):
                while True:
                    message = await socket.receive()
                    assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), message
                    if message.type is aiohttp.WSMsgType.TEXT:
                        said = json.loads(message.data)
                        if said["type"] == "beat" and said["heads"] and said["heads"][0]["next"] > beats:
                            return said["heads"][0]

        before = await head(20)
        first.send_signal(signal.SIGKILL)
        await first.wait()
        await socket.close()
        async with opened("--resume", home=tmp_path) as second:
            again = await room_line(second)
            assert again["room"] == room["room"]
            assert again["url"].startswith(server), "where the expert's page looks for it"
            socket = await http.ws_connect(f"{server}{path}/watch")
            after = await head(before["next"] + 20)
            assert after["epoch"] == before["epoch"]
            second.stdin.write(b"/quit\n")
            async with asyncio.timeout(120):
                await second.wait()
            await socket.close()
        assert second.returncode == Exit.DONE, second.said
    (file,) = (tmp_path / "huizhen" / "rooms").glob("*.room")
    keys = KeyStore(file.parent / FOLDER, master_file=config_folder() / "room-master.key")
    with Journal(file, keys=keys) as journal:
        numbers = [seq for seq, _ in journal.blocks(0, after["epoch"], 0, 1 << 31)]
    assert numbers == list(range(len(numbers)))
    assert list((tmp_path / "huizhen" / "rooms" / "embedded").iterdir()) == []


async def test_after_a_power_cut_old_numbers_are_delivered_and_new_ones_drawn(
    service, car, report, tmp_path, eventually
):
    """The machine was off: what it sent last may not have reached its disk, so counting begins anew."""
    from consult.joining import joined_room

    def spooled(server, room, token):
        return open_spool(tmp_path, server, room, token)

    async with Relay(port_of(service)) as relay:
        server, code = f"http://127.0.0.1:{relay.port}", service.invite_technician().code
        async with joined_room(server, code, open_spool=spooled) as agent:
            run = asyncio.create_task(agent.run(report, car.schema, car.blocks()))
            await eventually(lambda: agent.connections and service.rooms[agent.room].rings[1].next > 10)
            room, old = service.rooms[agent.room], agent.epoch
            relay.silent = True
            before = len(car.sent)
            await eventually(lambda: len(car.sent) > before + 20)
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)
            agent.identity.release()
        path = tmp_path / agent.room / "room.json"
        path.write_text(path.read_text().replace('"boot": "', '"boot": "another'))
        relay.silent = False
        relay.hang_up()
        spool, identity = resume_spool(tmp_path, agent.room)
        other = type(car)(count=30)
        async with resumed_room(identity, spool) as again:
            run = asyncio.create_task(again.run(report, other.schema, other.blocks()))
            await eventually(lambda: len(other.sent) == 30 and not len(again.spool))
            again.leave()
            async with asyncio.timeout(120):
                await run
        assert again.epoch != old
    for epoch, sent in ((old, car.sent), (again.epoch, other.sent)):
        found = [parse_samples(data) for _, data in room.journal.blocks(1, epoch, 0, 1 << 31)]
        assert [frame.head.seq for frame in found] == list(range(len(sent)))
        assert [frame.head.t_us for frame in found] == [block.t_ns // 1000 for block in sent]
    schemas = [body for _, body in room.journal.documents("schemas")]
    assert [document["epoch"] for document in schemas] == [old, again.epoch]


async def test_a_room_that_others_ended_is_not_taken_up_again(service, car, report, tmp_path, eventually):
    from consult.joining import joined_room

    def spooled(server, room, token):
        return open_spool(tmp_path, server, room, token)

    async with joined_room(service.url, service.invite_technician().code, open_spool=spooled) as agent:
        run = asyncio.create_task(agent.run(report, car.schema, car.blocks()))
        await eventually(lambda: agent.connections and len(car.sent) > 5)
        service.rooms[agent.room].close("consult.room-closed")
        with pytest.raises(RoomClosed):
            await run


async def test_a_service_that_restarts_is_waited_for(config, car, report, tmp_path, eventually):
    """It says goodbye, is away, refuses for a while, and is there again: the agent goes on by itself."""
    from aiohttp import web

    from consult.agent import RESTARTING
    from consult.joining import joined_room
    from consult.service import running_service

    port = 0
    async with running_service(config) as service:
        port = port_of(service)
        joining = joined_room(service.url, service.invite_technician().code)
        agent = await joining.__aenter__()
        run = asyncio.create_task(agent.run(report, car.schema, car.blocks()))
        await eventually(lambda: agent.connections == 1 and len(car.sent) > 5)
        room = service.rooms.pop(agent.room)
        room.tell(json.dumps({"type": "closed", "code": RESTARTING}))
        session = next(iter(service.sessions._sessions.values()), None)
        sessions = service.sessions
    refusals = []

    async def refuse(request):
        refusals.append(request.path)
        return web.json_response({"error": "consult.room-closed"}, status=410)

    app = web.Application()
    app.router.add_get("/{rest:.*}", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await eventually(lambda: len(refusals) > 2)
    await runner.cleanup()
    assert not run.done(), "a service without its rooms is asked again"
    assert session is not None
    async with running_service(dataclasses.replace(config, port=port)) as service:
        service.sessions = sessions
        room.journal = type(room.journal)(Path(room.journal.path))
        service.rooms[room.ident] = room
        await eventually(lambda: agent.connections == 2)
        car.count = 0
        await eventually(lambda: not len(agent.spool))
        frames = kept(room, 1)
        assert [frame.head.seq for frame in frames] == list(range(len(car.sent)))
        agent.leave()
        async with asyncio.timeout(120):
            await run
        await joining.__aexit__(None, None, None)


def test_nothing_to_resume_is_one_clear_line(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    for words, code, said in (
        (("--resume",), Exit.USAGE, "no unfinished room"),
        (("--resume", "abc"), Exit.USAGE, "cannot resume the room"),
        (("--resume", "--server", "http://x", "--invite", "y"), Exit.USAGE, "--resume knows its service"),
        (("--signals", "NoSuchSignal"), Exit.USAGE, "NoSuchSignal"),
    ):
        assert main(["--lang", "en", "consult", "open", *DEMO, *words]) == code
        out, err = capsys.readouterr()
        assert said in err
        assert out == ""
        assert "Traceback" not in err


def test_an_unfinished_room_is_pointed_out(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    _, identity = open_spool(tmp_path / "huizhen" / "rooms" / "spool", "http://x", "cafe", "t")
    identity.keep(token="t", eras=[])
    identity.release()
    assert main(["--lang", "en", "consult", "open", *DEMO, "--duration", "1", "--signals", "NoSuch"]) == Exit.USAGE
    assert "'huizhen consult open --resume' goes on in it" in capsys.readouterr().err


def test_another_program_s_room_is_left_to_it(tmp_path):
    _, identity = open_spool(tmp_path, "http://x", "abc", "t")
    identity.keep(token="t", eras=[])
    with pytest.raises(SpoolBroken, match="another program"):
        resume_spool(tmp_path, "abc")
    identity.release()
