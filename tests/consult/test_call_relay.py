"""Calls where everything goes by a relay: a real coturn, media that flow, and no address that gets past the service."""

import contextlib
import dataclasses
import json

import pytest
from callkit import JANUS, callers, connect_mesh, own_address
from test_lines_turn import ice, relay, running_relay  # noqa: F401 - a fixture

from consult.mediaconfig import MediaConfig
from consult.mediarooms import MediaPart
from consult.service import running_service

WAIT_S = 60


def pairs(peer):
    """Types of the local and the remote candidates that a connection uses."""
    transports = [one.sender.transport.transport for one in peer.getTransceivers()]
    nominated = [pair for one in transports for pair in one.iceGatherer._connection._nominated.values()]
    return {(pair.local_candidate.type, pair.remote_candidate.type) for pair in nominated}


def remote_types(peer):
    return {
        candidate.type
        for one in peer.getTransceivers()
        for candidate in one.sender.transport.transport.iceGatherer._connection._remote_candidates
    }


@pytest.fixture
async def service(config, relay):  # noqa: F811 - the fixture
    async with running_service(dataclasses.replace(config, ice=ice(relay), relay_only=True)) as running:
        yield running


async def test_media_go_by_the_relay_alone(service, car, report, in_room, tmp_path, eventually):
    async with (
        in_room(service, car, report) as agent,
        callers(service, ("technician", "expert"), agent) as people,
    ):
        technician, expert = people
        for person in people:
            await person.join()
        assert technician.call["relay_only"] is True
        names = {person.call["ice"][0]["username"] for person in people}
        assert len(names) == 2, "each has credentials of their own, which end"
        first, second = await connect_mesh(technician, expert, relay_only=True)
        await expert.until(lambda: max(expert.count("video"), default=0) > 10)
        assert (pairs(first), pairs(second)) == ({("relay", "relay")}, {("relay", "relay")})
        log = tmp_path / "turn.log"
        for name in names:
            made = f"{name.partition(':')[2]}>: incoming packet ALLOCATE processed, success"
            await eventually(lambda made=made: made in log.read_text(), WAIT_S)
        passed = json.dumps([word["body"] for person in people for word in person.heard("signal")])
        assert " typ relay raddr 0.0.0.0 rport 0" in passed
        for kind in ("host", "srflx", "prflx"):
            assert f" typ {kind}" not in passed


async def test_security_a_page_that_names_addresses_is_not_heard_and_learns_none(service, car, report, in_room):
    """A page may be changed to gather everything: what it says of itself ends here, and it is told nothing."""
    async with (
        in_room(service, car, report) as agent,
        callers(service, ("technician", "expert"), agent) as people,
    ):
        cheat, other = people
        for person in people:
            await person.join()
        first, second = await connect_mesh(cheat, other, relay_only=False)
        said = first.localDescription.sdp
        assert " typ host" in said, "it does name addresses of its own"
        heard = json.dumps([word["body"] for person in people for word in person.heard("signal")])
        assert " typ host" not in heard
        assert remote_types(first) <= {"relay", "prflx"}
        assert remote_types(second) <= {"relay", "prflx"}
        own = [line.split()[4] for line in said.splitlines() if " typ host" in line]
        for address in own:
            if not address.startswith("127."):
                assert address not in heard


@pytest.mark.skipif(JANUS is None or own_address() is None, reason="needs Janus and an address besides loopback")
async def test_the_engine_is_reached_by_the_relay_alone(config, car, report, in_room, eventually, tmp_path):
    media = MediaConfig(engine="janus", interface=own_address(), ports=(42_500, 42_900))
    async with contextlib.AsyncExitStack() as stack:
        port = await stack.enter_async_context(running_relay(tmp_path, own_address()))
        moved = dataclasses.replace(config, ice=ice(port), relay_only=True, media=media)
        service = await stack.enter_async_context(running_service(moved))
        (part,) = [part for part in service.parts if isinstance(part, MediaPart)]
        await eventually(lambda: part.is_up, WAIT_S)
        agent = await stack.enter_async_context(in_room(service, car, report))
        roles = ("technician", "lead", "expert", "expert", "expert")
        people = await stack.enter_async_context(callers(service, roles, agent))
        for person in people:
            await person.join()
        await people[0].until(lambda: people[0].call["mode"] == "sfu")
        publisher = await people[0].publish(audio=False)
        watching = await people[1].watch_all([people[0].person])
        await people[1].until(lambda: max(people[1].count("video"), default=0) > 10)
        assert {local for local, _ in pairs(publisher) | pairs(watching)} == {"relay"}
