"""A service whose folder is named from where it was started: calls, recordings and the commands on it find it too."""

import asyncio
import json
import signal
from types import SimpleNamespace

import pytest
from callkit import JANUS, WAIT_S, callers, own_address
from servicekit import ServeProcess

from huizhen.cli import main
from huizhen.exits import Exit

CONFIG = '[media]\nengine = "janus"\ninterface = "{}"\nports = "43000-43400"\n'


@pytest.mark.skipif(JANUS is None, reason="Janus is not installed (Debian: apt install janus)")
@pytest.mark.skipif(own_address() is None, reason="Janus does not use loopback, and this machine has nothing else")
async def test_a_call_is_recorded_into_a_relative_folder(
    tmp_path, car, report, in_room, eventually, monkeypatch, capfd
):
    place = tmp_path / "some where"
    place.mkdir()
    (place / "service.toml").write_text(CONFIG.format(own_address()))
    words = ("--data", "rooms", "--config", "service.toml")
    async with ServeProcess(place / "rooms", words=words, cwd=place) as serving:
        invite = SimpleNamespace(code=serving.offer["technician_invite"])
        service = SimpleNamespace(url=serving.url, invite_technician=lambda: invite)
        async with (
            in_room(service, car, report) as agent,
            callers(service, ("technician", "lead"), agent) as people,
        ):
            technician, lead = people
            for person in people:
                await person.join()
            await technician.until(lambda: technician.call["engine"]["ready"], WAIT_S)
            await technician.say("record", on=True)
            for person in people:
                await person.say("consent", given=True)
            await technician.until(lambda: technician.call["recording"]["running"], WAIT_S)
            await technician.publish(audio=False)
            packets = place / "rooms"
            await eventually(lambda: any(one.stat().st_size > 9000 for one in packets.glob("*.media/*/*.mjr")), WAIT_S)
            await lead.say("record", on=False)
            await technician.until(lambda: technician.events("file"), WAIT_S)
            room = agent.room
        await eventually(lambda: not list(packets.glob("*.media")), WAIT_S)
        await serving.end(signal.SIGTERM)
    assert {path.name for path in place.iterdir()} == {"rooms", "service.toml"}, "nothing stands elsewhere"
    (record,) = (place / "rooms").glob(f"*-{room}.room")

    monkeypatch.chdir(place)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(place / "rooms" / "settings"))

    async def told(*words):
        code = await asyncio.to_thread(main, ["consult", *words, "--json"])
        return code, json.loads(capfd.readouterr().out)

    code, check = await told("verify", f"rooms/{record.name}")
    assert (code, check["verdict"]) == (Exit.DONE, "intact")
    assert check["files"] == {"good": 1, "missing": 0}
    assert (await told("keys", "list", "--data", "rooms"))[1]["keys"][0]["room"] == room
    assert (await told("backup", "--data", "rooms", "-o", "copy"))[0] == Exit.DONE
    assert (await told("restore", "copy", "--data", "again"))[0] == Exit.DONE
    code, certificate = await told("delete", room, "--reason", "a test", "--data", "rooms")
    assert (code, certificate["room"]) == (Exit.DONE, room)
    assert (await told("verify", f"rooms/deletions/{room}.json"))[0] == Exit.DONE
    assert not list((place / "rooms").glob("*.room"))
