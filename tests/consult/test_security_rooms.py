"""A second room's data is never reachable: every role, every route of the router, every message of the protocol."""

import asyncio
import contextlib
import json

import aiohttp
import pytest
from roomwalls import AGENT_MESSAGES, ROLES, VIEWER_MESSAGES, Walls, body_of, routes_of, traces

from consult.errors import MessageBroken
from consult.messages import FROM_AGENT, FROM_VIEWER, parse_message
from consult.service import ServiceConfig
from consult.serviceconfig import Limits


@pytest.fixture
def config(tmp_path):
    plenty = Limits(requests=1_000_000, joins=10_000, logins=10_000)
    return ServiceConfig(data=tmp_path / "rooms", state=tmp_path / "rooms" / "service.db", limits=plenty)


def seen(room, *texts):
    """Which traces of the second room stand in some texts."""
    return [trace for trace in traces(room) for text in texts if trace in text]


async def ask(http, url, method, headers, body):
    async with http.request(method, url, json=body if method == "POST" else None, headers=headers) as answer:
        return answer.status, await answer.read(), str(answer.headers).encode()


async def test_no_route_of_another_room_answers(service):
    async with Walls(service) as walls, aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        before = len(service.room(walls.other).events_after(0)), len(service.invites._invites)
        for role in ROLES:
            tried = await try_routes(walls, http, walls.headers(role))
            assert tried >= 10, role
        assert before[0] == len(service.room(walls.other).events_after(0)), "and nothing happened there"
        assert before[1] == len(service.invites._invites)


async def try_routes(walls, http, headers):
    """Every route, with the second room's name in it and everything that a role of the first room has."""
    tried = 0
    for method, path, about_room, is_socket in routes_of(walls.service):
        url = walls.service.url + path.replace("{room}", walls.other)
        if is_socket and about_room:
            for address in (url, f"{url}?room={walls.mine}"):
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await http.ws_connect(address, headers=headers)
                assert refused.value.status == 401, path
        status, said, head = await ask(http, url, method, headers, body_of(path))
        # The page itself is the same for everybody; all else of another room is refused.
        refusals = (401, 403, 410) if path.startswith("/api/") else (401, 410)  # 403 before the room is looked for
        assert not about_room or path == "/r/{room}" or status in refusals, (method, path, status)
        assert not seen(walls.other, said), (method, path)
        assert not seen(walls.other, head), (method, path)
        tried += about_room
    return tried


async def test_the_walls_are_there_to_be_seen(service):
    """The same traces are all visible inside the second room: else the tests here would prove nothing."""
    async with Walls(service) as walls:
        heard, asked = b"", False
        async with asyncio.timeout(120):
            while len(seen(walls.other, heard)) < len(traces(walls.other)):
                message = await walls.other_expert.receive()
                heard += message.data.encode() if isinstance(message.data, str) else message.data
                if not asked and b'"type":"car"' in heard:
                    asked = True
                    want = {"type": "want", "stream": 7, "epoch": 77, "first": 0, "last": 4}
                    await walls.other_expert.send_json(want)


async def test_no_message_brings_anything_of_another_room(service):
    async with Walls(service) as walls:
        other = service.room(walls.other)
        before = other.events_after(0)
        for role in ("technician", "lead", "expert", "observer", "account"):
            heard = await say_everything(walls, walls.clients[role])
            # What this role itself says into its own room may come back: the name of a signal that it guessed.
            told = [text for text in heard if b'"type":"view"' not in text]
            assert not seen(walls.other, *told), role
        assert other.events_after(0) == before


async def say_everything(walls, client):
    """Every message of a page, with the second room's streams, marks and requests named in it; all that comes back."""
    heard = []
    channel = None
    for message in VIEWER_MESSAGES:
        if channel is None or channel.closed:
            channel = await client.ws_connect(f"{walls.service.url}/r/{walls.mine}/watch")
        try:
            await channel.send_json(message)
            await channel.send_json({"type": "ping", "t_us": 424242})
            async with asyncio.timeout(120):
                async for said in channel:
                    heard.append(said.data.encode() if isinstance(said.data, str) else said.data)
                    if b'"t_us":424242' in heard[-1]:
                        break
        except aiohttp.ClientError:
            continue  # this message ended the connection; the next one takes a new one
    await channel.close()
    assert len(heard) > len(VIEWER_MESSAGES)
    return heard


async def test_no_word_of_an_agent_reaches_another_room(service):
    async with Walls(service) as walls:
        other = service.room(walls.other)
        before = other.events_after(0), other.rings[7].next, dict(other.report)
        for message in AGENT_MESSAGES:
            with contextlib.suppress(MessageBroken):
                parse_message(json.dumps(message), FROM_AGENT)
            await walls.my_agent.send_json(message)
            if walls.my_agent.closed:
                break
        await asyncio.sleep(0.3)
        assert (other.events_after(0), other.rings[7].next, dict(other.report)) == before


def test_every_message_has_a_sensible_form_here():
    """A new message or field has to be added to the kit, and is then tried on every wall."""
    for catalogue, messages in ((FROM_VIEWER, VIEWER_MESSAGES), (FROM_AGENT, AGENT_MESSAGES)):
        good = set()
        for message in messages:
            with contextlib.suppress(MessageBroken):
                good.add(type(parse_message(json.dumps(message), catalogue)).type)
        assert good == set(catalogue) - {"hello", "bye"}


async def test_a_cookie_goes_to_its_own_room_only(service):
    async with Walls(service) as walls:
        for role in ("lead", "expert", "observer", "account"):
            for cookie in walls.clients[role].cookie_jar:
                if cookie.key == "huizhen_session":
                    assert cookie["path"] == f"/r/{walls.mine}"
