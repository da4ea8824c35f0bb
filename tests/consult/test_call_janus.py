"""Calls by a real Janus: publishing, watching, recording, and a Janus that is killed."""

import asyncio
import contextlib
import dataclasses
import hashlib
import io
import os
import signal
from pathlib import Path

import aiohttp
import av
import pytest
from callkit import JANUS, callers, own_address
from servicekit import ServeProcess
from test_call_recordings import mjr_of_pictures

from consult import mediarooms
from consult.callerrors import MediaEngineBroken
from consult.janus import JanusEngine, JanusRoom
from consult.janusprocess import janus_files
from consult.mediaconfig import MediaConfig
from consult.mediarooms import MediaPart
from consult.recordcheck import check_record
from consult.roomfiles import RoomFiles
from consult.service import running_service

pytestmark = [
    pytest.mark.usefixtures("whole_machine"),
    pytest.mark.skipif(JANUS is None, reason="Janus is not installed (Debian: apt install janus)"),
    pytest.mark.skipif(own_address() is None, reason="Janus does not use loopback, and this machine has nothing else"),
]
WAIT_S = 60
NO_RECORDING = {"wanted": False, "running": False, "since_us": 0, "waiting": []}


@pytest.fixture
def media():
    return MediaConfig(engine="janus", interface=own_address(), ports=(42_000, 42_400))


@pytest.fixture
async def service(config, media, eventually):
    async with running_service(dataclasses.replace(config, media=media)) as running:
        await eventually(lambda: part_of(running).is_up, WAIT_S)
        yield running


def part_of(service):
    (part,) = [part for part in service.parts if isinstance(part, MediaPart)]
    return part


def at_least(frames, count, tracks):
    return len(frames) >= tracks and all(n >= count for n in frames)


async def all_join(people):
    for person in people:
        await person.join()
    await people[0].until(lambda: len(people[0].call.get("people", ())) == len(people))


async def test_four_experts_see_and_hear_the_technician_by_the_engine(service, car, report, in_room):
    async with (
        in_room(service, car, report) as agent,
        callers(service, ("technician", "lead", "expert", "expert", "expert"), agent) as people,
    ):
        technician, *experts = people
        await all_join(people[:4])
        assert technician.call["mode"] == "mesh", "three experts go browser to browser"
        await all_join(people)
        assert technician.call["mode"] == "sfu"
        await technician.publish()
        lines = [await expert.watch_all([technician.person], ("video", "audio")) for expert in experts]
        for expert in experts:
            await expert.until(lambda expert=expert: at_least(expert.count("video"), 10, 1), WAIT_S)
            await expert.until(lambda expert=expert: at_least(expert.count("audio"), 10, 1), WAIT_S)
        # A second publisher comes into connections that are there.
        changes = len(experts[1].heard("sfu", id=""))
        lead = await experts[0].publish(audio=False)
        await experts[1].until(lambda: len(experts[1].heard("sfu", id="")) > changes, WAIT_S)
        both = [technician.person, experts[0].person]
        for expert, line in zip(experts[1:], lines[1:], strict=True):
            assert await expert.watch_all(both, ("video",), line) is line, "the same connection goes on"
            await expert.until(lambda expert=expert: at_least(expert.count("video"), 5, 2), WAIT_S)
        # One of them goes; the other is still seen.
        await lead.close()
        await experts[0].ask("unpublish")
        _, answer = await experts[1].watch([technician.person], lines[1])
        assert {feed["person"] for feed in answer["feeds"]} == {technician.person}
        seen = sum(experts[1].count("video"))
        await experts[1].until(lambda: sum(experts[1].count("video")) > seen + 10, WAIT_S)


async def test_who_leaves_is_gone_at_the_engine_and_a_calm_call_goes_browser_to_browser(
    config, media, car, report, in_room, eventually
):
    later_us = 0
    now_us = config.now_us
    moved = dataclasses.replace(config, media=media, now_us=lambda: now_us() + later_us)
    async with running_service(moved) as service:
        part = part_of(service)
        await eventually(lambda: part.is_up, WAIT_S)
        async with (
            in_room(service, car, report) as agent,
            callers(service, ("technician", "lead", "expert", "expert", "expert"), agent) as people,
        ):
            await all_join(people)
            await people[0].publish()
            room_media = part.rooms[agent.room]
            await eventually(lambda: room_media._media and room_media._media.publishers, WAIT_S)
            await people[4].leave()
            await eventually(lambda: len(people[0].call["people"]) == 4, WAIT_S)
            assert people[0].call["mode"] == "sfu"
            later_us = 31_000_000
            await eventually(lambda: people[0].call["mode"] == "mesh", WAIT_S)
            await eventually(lambda: room_media._media is None, WAIT_S)
            assert await people[0].ask("publish", sdp="v=0\r\n") == "consult.no-media-engine"


async def test_a_killed_janus_comes_back_and_people_begin_anew(service, car, report, in_room, eventually):
    part = part_of(service)
    async with (
        in_room(service, car, report) as agent,
        callers(service, ("technician", "lead", "expert", "expert", "expert"), agent) as people,
        aiohttp.ClientSession() as http,
    ):
        technician, expert = people[0], people[1]
        await all_join(people)
        await technician.publish(audio=False)
        await expert.watch_all([technician.person])
        await expert.until(lambda: at_least(expert.count("video"), 3, 1), WAIT_S)
        first = technician.call["engine"]["session"]
        os.kill(part.engine.pid, signal.SIGKILL)
        await eventually(lambda: not technician.call["engine"]["ready"], WAIT_S)
        assert technician.call["mode"] == "sfu", "too many for anything else"
        answered = await technician.ask("publish", sdp="v=0\r\n")
        assert answered in ("consult.no-media-engine", "consult.media-failed")
        await eventually(lambda: technician.call["engine"]["ready"], WAIT_S)
        assert technician.call["engine"]["session"] > first
        async with http.get(f"{service.url}/health") as health:
            assert (await health.json())["reasons"] == []
        async with http.get(f"{service.url}/metrics") as metrics:
            assert "huizhen_media_engine_losses_total 1\n" in await metrics.text()
        expert.frames.clear()
        await technician.publish(audio=False)
        await expert.watch_all([technician.person])
        await expert.until(lambda: at_least(expert.count("video"), 3, 1), WAIT_S)


async def test_a_janus_that_hangs_is_started_again(service, eventually):
    part, heard = part_of(service), []
    service.notices.listen(heard.append)
    first = part.engine.pid
    os.kill(first, signal.SIGSTOP)
    await eventually(lambda: part.losses == 1, WAIT_S)
    await eventually(lambda: part.is_up, WAIT_S)
    assert part.engine.pid != first
    assert [notice.kind for notice in heard] == ["service"]
    await eventually(lambda: not Path(f"/proc/{first}").exists(), WAIT_S)


async def test_a_killed_service_leaves_no_engine_behind(tmp_path, eventually):
    config = tmp_path / "service.toml"
    config.write_text(f'[media]\nengine = "janus"\ninterface = "{own_address()}"\nports = "42000-42400"\n')
    async with ServeProcess(tmp_path, words=("--config", str(config))) as serving:
        found = []

        def children():
            path = Path(f"/proc/{serving.process.pid}/task/{serving.process.pid}/children")
            found[:] = [int(pid) for pid in path.read_text().split()]
            return found

        await eventually(children, WAIT_S)
        async with aiohttp.ClientSession() as http:
            async with asyncio.timeout(WAIT_S):
                while True:
                    async with http.get(f"{serving.url}/health") as health:
                        if health.status == 200:
                            break
                    await asyncio.sleep(0.1)
        children()
        await serving.end(signal.SIGKILL)
        await eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in found), WAIT_S)


async def test_health_says_that_the_engine_is_missing_and_rooms_go_on(config, car, report, in_room, eventually):
    media = MediaConfig(engine="janus", janus=config.data / "no-such-janus")
    async with (
        running_service(dataclasses.replace(config, media=media)) as service,
        in_room(service, car, report) as agent,
        callers(service, ("technician", "lead", "expert", "expert", "expert"), agent) as people,
        aiohttp.ClientSession() as http,
    ):
        await eventually(lambda: part_of(service).trouble, WAIT_S)
        async with http.get(f"{service.url}/health") as health:
            assert (health.status, (await health.json())["reasons"]) == (503, ["media-engine-down"])
        await all_join(people[:4])
        await people[4].say("call", join=True, audio=False, video=False, level="voice")
        await people[4].until(lambda: people[4].heard("refused", code="consult.call-full"))
        assert len(people[0].call["people"]) == 4
        await people[0].say("record", on=True)
        await people[0].until(lambda: people[0].heard("refused", code="consult.no-media-engine"))


async def consented(people, runs):
    await people[0].until(lambda: people[0].call["recording"]["running"] is runs, WAIT_S)


async def test_a_recording_runs_only_while_all_consent_and_is_kept_as_files_of_the_record(
    service, car, report, in_room, eventually, tmp_path
):
    part = part_of(service)
    async with (
        in_room(service, car, report) as agent,
        callers(service, ("technician", "lead", "expert"), agent) as people,
    ):
        technician, lead, late = people
        room = service.rooms[agent.room]
        await all_join([technician, lead])
        await technician.say("record", on=True)
        await technician.until(lambda: len(technician.call["recording"]["waiting"]) == 2)
        assert technician.call["mode"] == "mesh"
        await technician.say("consent", given=True)
        await technician.until(lambda: technician.call["recording"]["waiting"] == [lead.person])
        assert not technician.call["recording"]["running"]
        await lead.say("consent", given=True)
        await consented(people, True)
        assert technician.call["mode"] == "sfu"
        await technician.publish()
        await lead.watch_all([technician.person], ("video", "audio"))
        await lead.until(lambda: at_least(lead.count("video"), 40, 1), WAIT_S)
        # Somebody comes: nothing is recorded until they have agreed.
        await late.join()
        await consented(people, False)
        folder = room.journal.path.with_suffix(".media")
        await eventually(lambda: not folder.exists() and len(room.files) == 2, WAIT_S)
        await late.publish(audio=False)
        await technician.until(lambda: technician.call["recording"]["waiting"] == [late.person])
        await late.say("consent", given=True)
        await consented(people, True)
        recorded = part.rooms[agent.room]._recording
        await eventually(lambda: any(path.stat().st_size > 5000 for path in recorded.glob("*.mjr")), WAIT_S)
        # Anybody's no ends it.
        await lead.say("consent", given=False)
        await consented(people, False)
        assert technician.call["recording"]["wanted"] is False
        await eventually(lambda: not folder.exists(), WAIT_S)
        states = [event["body"]["state"] for event in technician.events("recording")]
        assert states == ["asked", "on", "suspended", "on", "off"]
        assert [event["body"]["given"] for event in technician.events("consent")] == [True, True, True, False]
        kept = [event for event in technician.events("file") if event["who"]["role"] == "service"]
        whose = {(event["body"]["recording"]["person"], event["body"]["recording"]["kind"]) for event in kept}
        assert whose >= {(technician.person, "video"), (technician.person, "audio"), (late.person, "video")}
        lengths = {}
        for event in kept:
            data = content(room, event["id"])
            assert hashlib.sha256(data).hexdigest() == event["id"]
            assert event["body"]["open"] is False
            lengths[event["id"]] = decoded(data)
        first = [event for event in kept if event["body"]["recording"]["person"] == technician.person]
        assert max(lengths[event["id"]] for event in first) > 30
        # Who may not see the VIN may not have pictures that may show it.
        mine = f"{service.url}/r/{agent.room}/files/{kept[0]['id']}"
        async with late.http.get(mine) as refused, lead.http.get(mine) as given:
            assert (refused.status, given.status) == (403, 200)
            assert given.content_type.endswith("/webm")


def content(room, sha256):
    """A file of the room as it was before it was encrypted."""
    with RoomFiles(room.journal.path.with_suffix(".files"), room.journal.files).open(sha256) as file:
        return file.read()


def decoded(data):
    """How many frames FFmpeg finds in a file."""
    with av.open(io.BytesIO(data), format="matroska") as container:
        return sum(1 for _ in container.decode(container.streams[0]))


async def test_what_was_recorded_when_the_engine_died_is_kept_too(service, car, report, in_room, eventually):
    part = part_of(service)
    async with (
        in_room(service, car, report) as agent,
        callers(service, ("technician", "lead"), agent) as people,
    ):
        technician, lead = people
        await all_join(people)
        await technician.say("record", on=True)
        for person in people:
            await person.say("consent", given=True)
        await consented(people, True)
        await technician.publish(audio=False)
        recorded = part.rooms[agent.room]._recording
        await eventually(lambda: any(path.stat().st_size > 9000 for path in recorded.glob("*.mjr")), WAIT_S)
        os.kill(part.engine.pid, signal.SIGKILL)
        await consented(people, False)
        await technician.until(lambda: technician.events("file"), WAIT_S)
        await consented(people, True)
        await lead.say("record", on=False)
        await consented(people, False)
        room = service.rooms[agent.room]
        assert decoded(content(room, technician.events("file")[0]["id"])) > 3


async def all_agree(people):
    await people[0].say("record", on=True)
    for person in people:
        await person.until(lambda one=person: one.call["recording"]["wanted"])
        await person.say("consent", given=True)


async def ended(people, why):
    """The recording is over, everybody sees it, and the record says why."""
    await people[0].until(lambda: [e for e in people[0].events("recording") if e["body"].get("why") == why], WAIT_S)
    for person in people:
        await person.until(lambda one=person: one.call["recording"] == NO_RECORDING, WAIT_S)


@pytest.mark.parametrize("trouble", ["refused", "no folder"])
async def test_a_recording_that_does_not_begin_is_over_for_everybody_to_see(
    trouble, service, car, report, in_room, eventually, monkeypatch
):
    create, notices = JanusRoom.create, []
    service.notices.listen(notices.append)

    async def locked(room, **words):
        await create(room, **words)
        room._secret = "another"

    if trouble == "refused":
        monkeypatch.setattr(JanusRoom, "create", locked)
    async with (
        in_room(service, car, report) as agent,
        callers(service, ("technician", "lead"), agent) as people,
    ):
        media = service.rooms[agent.room].journal.path.with_suffix(".media")
        if trouble == "no folder":
            media.write_text("a file in its place")
        await all_join(people)
        await all_agree(people)
        await ended(people, "failed")
        assert [event["body"]["state"] for event in people[0].events("recording")] == ["asked", "off"]
        assert [notice.kind for notice in notices] == ["service"]
        await eventually(lambda: trouble != "refused" or not media.exists(), WAIT_S)


async def test_a_recording_of_which_nothing_is_to_be_found_ends(service, car, report, in_room, tmp_path, monkeypatch):
    """As with a Janus that sees another disk: it says that it records, and no file comes."""
    start, notices = JanusRoom.start_recording, []
    service.notices.listen(notices.append)
    monkeypatch.setattr(JanusRoom, "start_recording", lambda room, _: start(room, tmp_path / "elsewhere"))
    monkeypatch.setattr(mediarooms, "_SIZE_EACH", 1)
    monkeypatch.setattr(mediarooms, "_UNPROVEN_S", 1.0)
    async with (
        in_room(service, car, report) as agent,
        callers(service, ("technician", "lead"), agent) as people,
    ):
        await all_join(people)
        await all_agree(people)
        await consented(people, True)
        await people[0].publish(audio=False)
        await ended(people, "failed")
        assert [event["body"]["state"] for event in people[0].events("recording")] == ["asked", "on", "off"]
        assert [(notice.kind, notice.room) for notice in notices] == [("service", agent.room)]


async def test_recordings_that_the_record_has_count_too(service, car, report, in_room):
    async with (
        in_room(service, car, report) as agent,
        callers(service, ("technician", "lead"), agent) as people,
    ):
        told = {"sha256": "0" * 64, "name": "recording-1-video-1.webm", "bytes": 2_000_000_001, "recording": {}}
        service.rooms[agent.room].happen("file", mediarooms._SERVICE, 1, ident="0" * 64, text="", body=told)
        await all_join(people)
        await all_agree(people)
        await ended(people, "full")


async def test_a_room_that_ends_while_it_is_recorded_has_the_recording(service, car, report, in_room, eventually):
    part = part_of(service)
    async with contextlib.AsyncExitStack() as stack:
        agent_stack = await stack.enter_async_context(contextlib.AsyncExitStack())
        agent = await agent_stack.enter_async_context(in_room(service, car, report))
        people = await stack.enter_async_context(callers(service, ("technician", "lead"), agent))
        await all_join(people)
        await people[0].say("record", on=True)
        for person in people:
            await person.say("consent", given=True)
        await consented(people, True)
        await people[0].publish(audio=False)
        room = service.rooms[agent.room]
        recorded = part.rooms[agent.room]._recording
        await eventually(lambda: any(path.stat().st_size > 9000 for path in recorded.glob("*.mjr")), WAIT_S)
        await agent_stack.aclose()
        await eventually(lambda: agent.room not in service.rooms, WAIT_S)
    found = check_record(room.journal.path)
    assert found.faults == ()
    (kept,) = [event for event in room.events_after(0) if event["kind"] == "file"]
    assert decoded(content(room, kept["id"])) > 3
    assert not room.journal.path.with_suffix(".media").exists()


async def test_what_a_killed_service_recorded_is_brought_in_at_the_next_start(
    config, media, car, report, in_room, eventually, tmp_path
):
    """The service's end itself: the room's record is closed before its recording is whole."""
    lasting = dataclasses.replace(config, media=media, state=config.data / "service.db")
    recorded = mjr_of_pictures(30)
    async with running_service(lasting) as service:
        part = part_of(service)
        await eventually(lambda: part.is_up, WAIT_S)
        ident = service.open_room("0123456789ab").ident
        folder = part.rooms[ident]._folder / "1"
        folder.mkdir(parents=True)
        (folder / "videoroom-5-user-70001-1-video-0.mjr").write_bytes(recorded)
        (folder / "videoroom-5-user-70002-1-video-0.mjr").write_bytes(b"MJR00002")
    for _ in range(2):
        async with running_service(lasting) as service:
            room = service.rooms[ident]
            await eventually(lambda room=room: room.files and not folder.exists(), WAIT_S)
            (told,) = room.files.values()
            assert (told["recording"]["person"], told["type"]) == (7, "video/webm")
            assert decoded(content(room, told["sha256"])) == 30
            folder.mkdir(parents=True)
            (folder / "videoroom-5-user-70001-1-video-0.mjr").write_bytes(recorded)


async def test_the_configuration_loads_one_plugin_and_listens_on_loopback(media, tmp_path):
    files = janus_files(media, tmp_path, port=1234, secret="geheim", interface="10.0.0.5")
    assert 'ws_ip = "127.0.0.1"' in files["janus.transport.websockets.jcfg"]
    assert "admin_ws = false" in files["janus.transport.websockets.jcfg"]
    assert 'api_secret = "geheim"' in files["janus.jcfg"]
    assert 'ice_enforce_list = "10.0.0.5"' in files["janus.jcfg"]
    engine = JanusEngine(media, media.interface)
    await engine.start()
    try:
        async with aiohttp.ClientSession() as http:
            url = engine._process.url
            async with http.ws_connect(url, protocols=("janus-protocol",)) as line:
                await line.send_json({"janus": "create", "transaction": "1"})
                told = await line.receive_json(timeout=WAIT_S)
                assert told["error"]["code"] == 403, "without the secret nothing is done"
                await line.send_json({"janus": "info", "transaction": "2", "apisecret": engine._process.secret})
                told = await line.receive_json(timeout=WAIT_S)
                assert list(told.get("plugins", {})) == ["janus.plugin.videoroom"]
        listening = await asyncio.to_thread(listeners_of, engine.pid)
        assert listening
        assert all(address.startswith("127.0.0.1:") for address in listening)
    finally:
        await engine.close()
    assert engine.pid is None


def listeners_of(pid):
    """Addresses at which a process accepts connections, from /proc."""
    process, inodes, found = Path(f"/proc/{pid}"), set(), []
    for link in (process / "fd").iterdir():
        with contextlib.suppress(OSError):
            inodes.add(str(link.readlink()))
    for table in ("tcp", "tcp6"):
        for line in (process / "net" / table).read_text(encoding="ascii").splitlines()[1:]:
            parts = line.split()
            if parts[3] == "0A" and f"socket:[{parts[9]}]" in inodes:
                address, port = parts[1].split(":")
                quad = ".".join(str(byte) for byte in reversed(bytes.fromhex(address[-8:])))
                found.append(f"{quad}:{int(port, 16)}")
    return found


async def test_another_s_engine_that_is_not_there_is_told(media):
    engine = JanusEngine(dataclasses.replace(media, url="ws://127.0.0.1:9", secret="x" * 16))
    with pytest.raises(MediaEngineBroken, match="nobody answers"):
        await engine.start()
    await engine.close()
