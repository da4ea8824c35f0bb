"""The service is killed and comes back: nothing is lost, nothing counts twice, everybody is who they were."""

import asyncio
import contextlib
import json
import signal
import sqlite3

import aiohttp
import pytest
from servicekit import ServeProcess, browser_like, keys_of, redeem

from consult.errors import DataInUse
from consult.invites import Role
from consult.joining import joined_room
from consult.journal import Journal
from consult.recordcheck import check_record
from consult.service import ServiceConfig, running_service
from consult.wire import SAMPLES, kind_of, parse_head, parse_samples


class Watcher:
    """A page in Python: stays in the room by coming back, and asks for no block twice."""

    def __init__(self, http, url, path):
        self.http = http
        self.address = f"{url}{path}/watch"
        self.blocks = []
        self.events = []
        self.welcomes = []
        self.closed = None
        self.goodbyes = []
        self.close_codes = []

    async def run(self):
        while self.closed is None:
            try:
                async with self.http.ws_connect(self.address, compress=0) as channel:
                    async for message in channel:
                        self.take(message)
                        if self.closed is not None:
                            break
                    self.close_codes.append(channel.close_code)
            except (aiohttp.ClientError, OSError):
                pass
            await asyncio.sleep(0.05)

    def take(self, message):
        if message.type is aiohttp.WSMsgType.BINARY:
            if kind_of(message.data) == SAMPLES:  # else an envelope of what is still to come
                self.blocks.append(parse_head(message.data).seq)
            return
        body = json.loads(message.data)
        if body["type"] == "welcome":
            self.welcomes.append(body)
            self.events += [event for event in body["events"] if event not in self.events]
        elif body["type"] == "event":
            self.events.append(body)
        elif body["type"] == "closed":
            self.goodbyes.append(body["code"])
            if body["code"] != "consult.service-restarting":
                self.closed = body["code"]


@contextlib.asynccontextmanager
async def consultation(service, car, report):
    """Technician's agent and one expert in a room of a service process."""
    code = service.offer["technician_invite"]
    async with browser_like() as http, joined_room(service.url, code, name="Wang") as agent:
        run = asyncio.create_task(agent.run(report, car.schema, car.blocks()))
        invite = await agent.invite("expert")
        status, body, _ = await redeem(http, service.url, invite.code, name="Li")
        assert status == 200
        watcher = Watcher(http, service.url, body["path"])
        watching = asyncio.create_task(watcher.run())
        try:
            yield agent, watcher, http, invite
            car.count = len(car.sent) + 5
            async with asyncio.timeout(120):
                while len(car.sent) < car.count or len(agent.spool):  # noqa: ASYNC110 - a list grows, no event tells
                    await asyncio.sleep(0.05)
                agent.leave()
                await run
                await watching
        finally:
            run.cancel()
            watching.cancel()
            await asyncio.gather(run, watching, return_exceptions=True)


def record_of(folder, room):
    (path,) = folder.glob(f"*-{room}.room")
    return path


async def test_a_killed_service_comes_back_with_its_rooms(tmp_path, car, report, eventually):
    async with ServeProcess(tmp_path) as service:
        async with consultation(service, car, report) as (agent, watcher, http, invite):
            await eventually(lambda: len(watcher.blocks) > 20)
            agent.say("before")
            await eventually(lambda: any(event["text"] == "before" for event in watcher.events))
            await asyncio.sleep(0.3)  # the line is in the journal, as the room promises after a moment
            for round_ in (1, 2):
                await service.end(signal.SIGKILL)
                seen = len(watcher.blocks)
                await service.start()
                await eventually(lambda: len(watcher.blocks) > seen + 20)  # noqa: B023 - awaited in this round
                assert len(watcher.welcomes) == 1 + round_
            assert {welcome["you"]["id"] for welcome in watcher.welcomes} == {watcher.welcomes[0]["you"]["id"]}
            assert "before" in [event["text"] for event in watcher.welcomes[-1]["events"]]
            agent.say("after")
            await eventually(lambda: any(event["text"] == "after" for event in watcher.events))
            status, body, _ = await redeem(http, service.url, invite.code)
            assert (status, body["error"]) == (410, "consult.invite-used"), "used before the kill, used after it"
        assert watcher.closed == "consult.room-closed"
        assert (await service.end(signal.SIGTERM))[0] == 0
        check = check_record(record_of(tmp_path, agent.room), keys=keys_of(tmp_path))
        assert (check.verdict, check.closed, check.faults) == ("intact", "consult.room-closed", ())
        with Journal(record_of(tmp_path, agent.room), keys=keys_of(tmp_path)) as journal:
            kept = journal.blocks(1, agent.epoch, 0, 1 << 31)
            numbers = [event["n"] for event in journal.events()]
        assert [seq for seq, _ in kept] == list(range(len(car.sent))), "every block, once"
        for (_, data), block in zip(kept, car.sent, strict=True):
            frame = parse_samples(data)
            assert frame.head.t_us == block.t_ns // 1000
            assert (frame.valid == block.valid).all()
            assert (frame.values[frame.valid] == block.values[block.valid]).all()
        assert numbers == sorted(set(numbers))
        assert len({event["n"] for event in watcher.events}) == len(watcher.events), "no number means two things"


async def test_a_service_that_is_stopped_says_goodbye_and_not_the_end(tmp_path, car, report, eventually):
    async with ServeProcess(tmp_path) as service:
        async with consultation(service, car, report) as (agent, watcher, _http, _invite):
            await eventually(lambda: len(watcher.blocks) > 10)
            code, said = await service.end(signal.SIGTERM)
            assert (code, said) == (0, "")
            assert watcher.closed is None
            await eventually(lambda: aiohttp.WSCloseCode.SERVICE_RESTART in watcher.close_codes)
            assert watcher.goodbyes == ["consult.service-restarting"]
            seen = len(watcher.blocks)
            await service.start()
            await eventually(lambda: len(watcher.blocks) > seen + 10)
        assert (await service.end(signal.SIGINT))[0] == 0
        with Journal(record_of(tmp_path, agent.room), keys=keys_of(tmp_path)) as journal:
            kept = journal.blocks(1, agent.epoch, 0, 1 << 31)
        assert [seq for seq, _ in kept] == list(range(len(car.sent)))


async def test_a_closed_room_stays_closed(tmp_path, car, report, in_room):
    config = ServiceConfig(data=tmp_path, state=tmp_path / "service.db")
    async with running_service(config) as service, in_room(service, car, report) as agent:
        ident = agent.room
    async with running_service(config) as service:
        assert service.rooms == {}
    with sqlite3.connect(tmp_path / "service.db") as db:
        assert db.execute("SELECT ident, closed_code FROM room").fetchall() == [(ident, "consult.room-closed")]
        assert db.execute("SELECT count(*) FROM session").fetchone() == (0,)
        said = [what for (what,) in db.execute("SELECT what FROM audit ORDER BY n")]
    assert said == ["invite", "room-open", "redeem", "room-close"]
    db.close()


async def test_secrets_are_not_in_the_database(tmp_path):
    config = ServiceConfig(data=tmp_path, state=tmp_path / "service.db")
    async with running_service(config) as service, browser_like() as http:
        code = service.invite_technician().code
        _, body, _ = await redeem(http, service.url, code, agent=True)
    found = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.name.startswith("service"))
    assert body["room"].encode() in found
    assert code.encode() not in found
    assert body["token"].encode() not in found
    assert (tmp_path / "service.db").stat().st_mode & 0o077 == 0


async def test_two_services_on_one_folder_are_one_too_many(tmp_path):
    config = ServiceConfig(data=tmp_path, state=tmp_path / "service.db")
    async with running_service(config):
        with pytest.raises(DataInUse, match="another room service"):
            async with running_service(config):
                pass
    async with running_service(config) as service:
        assert service.invite("0" * 12, Role.EXPERT).code


async def test_a_room_whose_record_is_gone_or_broken_keeps_no_other_closed(tmp_path, car, report):
    config = ServiceConfig(data=tmp_path, state=tmp_path / "service.db")
    async with running_service(config) as service, browser_like() as http:
        rooms = [
            (await redeem(http, service.url, service.invite_technician().code, agent=True))[1]["room"] for _ in range(3)
        ]
    path = record_of(tmp_path, rooms[0])
    for end in ("", "-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    record_of(tmp_path, rooms[1]).write_bytes(b"no database" * 100)
    async with running_service(config) as service:
        assert list(service.rooms) == [rooms[2]]
        said = [(entry.what, entry.room) for _, entry in service.state.audit()]
    assert ("room-close", rooms[0]) in said
    assert ("room-broken", rooms[1]) in said
    assert ("room-resume", rooms[2]) in said


async def test_what_goes_wrong_inside_is_said_on_standard_error(tmp_path):
    async with ServeProcess(tmp_path) as service, browser_like() as http:
        _, body, _ = await redeem(http, service.url, service.offer["technician_invite"], agent=True)
        await service.end(signal.SIGKILL)
        path = record_of(tmp_path, body["room"])
        path.write_bytes(b"no database" * 100)
        for end in ("-wal", "-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)
        await service.start()
        code, said = await service.end(signal.SIGTERM)
        assert code == 0
        assert f"ERROR room {body['room']}" in said
        assert "Traceback" not in said


@pytest.mark.browser
async def test_chromium_goes_on_after_the_service_was_killed(tmp_path, car, report, browser, eventually):
    async with (
        ServeProcess(tmp_path) as service,
        consultation(service, car, report) as (agent, watcher, _http, _invite),
    ):
        page = browser.pages[0]
        await page.goto((await agent.invite("expert")).url)
        await page.locator("#name").fill("李工")
        await page.locator("button.primary").click()
        await page.wait_for_selector("#connection[data-kind=good]")
        before = await page.evaluate("performance.timeOrigin")
        await service.end(signal.SIGKILL)
        await page.wait_for_selector("#connection[data-kind=bad]")
        await service.start()
        await page.wait_for_selector("#connection[data-kind=good]")
        seen = len(watcher.blocks)
        await eventually(lambda: len(watcher.blocks) > seen + 20)
        figures = page.locator("[data-count=missing], [data-count=gone], [data-count=broken]")
        async with asyncio.timeout(120):
            while set(await figures.all_text_contents()) != {"0"}:  # noqa: ASYNC110 - what fills the holes is there
                await asyncio.sleep(0.2)
        assert await page.evaluate("performance.timeOrigin") == before, "the page was not even loaded again"
