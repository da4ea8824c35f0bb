"""Who gets in, and what a stranger, a wrong page or a broken client gets instead."""

import asyncio
import dataclasses
import json
import socket
from contextlib import AsyncExitStack

import aiohttp
import pytest

from consult.errors import CannotListen, CertificateBroken, PageMissing
from consult.gate import RateLimit, is_own_host
from consult.invites import INVITE_LIFE_S, Role
from consult.messages import Hello, encode_message
from consult.outbox import MAX_LIVE
from consult.service import ServiceConfig, running_service
from consult.wire import parse_head


@pytest.fixture
async def http():
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as session:
        yield session


@pytest.fixture
def clock():
    class Clock:
        now = 1_800_000_000.0

        def __call__(self):
            return self.now

        def us(self):
            return int(self.now * 1_000_000)

    return Clock()


@pytest.fixture
def config(tmp_path, clock):
    return ServiceConfig(data=tmp_path / "rooms", clock_s=clock, now_us=clock.us)


async def redeem(http, service, code, **more):
    async with http.post(f"{service.url}/redeem", json={"invite": code, **more}) as answer:
        return answer.status, await answer.json(), answer.cookies


async def open_room(http, service):
    """A technician's bearer token and the room's path."""
    _, body, _ = await redeem(http, service, service.invite_technician().code, agent=True, name="Wang")
    return body["token"], body["path"]


async def expert_in(http, service, role="expert"):
    token, path = await open_room(http, service)
    headers = {"Authorization": f"Bearer {token}"}
    async with http.post(f"{service.url}{path}/invites", json={"role": role}, headers=headers) as answer:
        code = (await answer.json())["invite"]
    status, _, cookies = await redeem(http, service, code, name="Li")
    assert status == 200
    return path, cookies, code, headers


async def test_an_invite_is_redeemed_once_and_only_by_post(http, service):
    _, path = await open_room(http, service)
    code = service.invite(path[3:], Role.EXPERT).code
    for address in ("/join", f"/join?{code}", f"/redeem?invite={code}"):
        async with http.get(f"{service.url}{address}") as answer:
            assert answer.status in (200, 405), "a chat's preview fetches the link and uses nothing up"
    status, body, cookies = await redeem(http, service, code)
    assert (status, body["role"], body["path"]) == (200, "expert", path)
    cookie = cookies["huizhen_session"]
    assert cookie["httponly"] is True
    assert cookie["samesite"] == "Strict"
    assert cookie["path"] == path
    assert "token" not in body, "a page never sees its token"
    status, body, _ = await redeem(http, service, code)
    assert (status, body["error"]) == (410, "consult.invite-used")


async def test_wrong_and_expired_invites(http, service, clock):
    code = service.invite_technician().code
    assert (await redeem(http, service, "x" * 43))[:2][0] == 403
    clock.now += INVITE_LIFE_S
    status, body, _ = await redeem(http, service, code)
    assert (status, body["error"]) == (410, "consult.invite-expired")


async def test_an_expert_s_invite_opens_no_room(http, service):
    status, body, _ = await redeem(http, service, service.invite("0" * 12, Role.EXPERT).code)
    assert (status, body["error"]) == (410, "consult.room-closed")


async def test_guessing_is_slowed_down(http, service):
    for _ in range(service.config.limits.joins):
        assert (await redeem(http, service, "guess"))[0] == 403
    assert (await redeem(http, service, "guess"))[0] == 429


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
    ],
    ids=["other-site", "sandbox", "rebound-name"],
)
async def test_other_sites_get_nothing(http, service, headers):
    code = service.invite_technician().code
    async with http.post(f"{service.url}/redeem", json={"invite": code}, headers=headers) as answer:
        assert answer.status == 403
    assert (await redeem(http, service, code))[0] == 200, "and used nothing up"


async def test_a_form_of_another_site_is_no_json(http, service):
    async with http.post(f"{service.url}/redeem", data={"invite": "x"}) as answer:
        assert answer.status == 400


async def test_websockets_check_the_origin_too(http, service):
    path, *_ = await expert_in(http, service)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.ws_connect(f"{service.url}{path}/watch", headers={"Origin": "https://evil.example"})
    assert refused.value.status == 403
    async with http.ws_connect(f"{service.url}{path}/watch", headers={"Origin": service.url}) as channel:
        assert json.loads((await channel.receive()).data)["type"] == "welcome"


async def test_another_room_s_data_is_out_of_reach(http, service):
    _path, cookies, _, headers = await expert_in(http, service)
    _, other = await open_room(http, service)
    token = cookies["huizhen_session"].value
    for attempt in (
        {"headers": {"Cookie": f"huizhen_session={token}"}},
        {"headers": {"Authorization": f"Bearer {token}"}},
        {"headers": headers},
        {},
    ):
        for end in ("watch", "agent"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(f"{service.url}{other}/{end}", **attempt)
            assert refused.value.status == 401
        async with http.post(f"{service.url}{other}/invites", json={"role": "expert"}, **attempt) as answer:
            assert answer.status == 401


async def test_an_expert_is_no_technician(http, service):
    path, *_ = await expert_in(http, service)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.ws_connect(f"{service.url}{path}/agent")
    assert refused.value.status == 403
    async with http.post(f"{service.url}{path}/invites", json={"role": "expert"}) as answer:
        assert (answer.status, (await answer.json())["error"]) == (403, "consult.role-refused")


async def test_the_technician_alone_invites_their_own_page_which_is_no_second_laptop(http, service):
    token, path = await open_room(http, service)
    headers = {"Authorization": f"Bearer {token}"}
    codes = {}
    for role in ("technician", "lead"):
        async with http.post(f"{service.url}{path}/invites", json={"role": role}, headers=headers) as answer:
            codes[role] = (await answer.json())["invite"]
    async with http.post(f"{service.url}/redeem", json={"invite": codes["technician"], "agent": True}) as answer:
        assert (answer.status, (await answer.json())["error"]) == (403, "consult.role-refused")
    async with http.post(f"{service.url}/redeem", json={"invite": codes["lead"]}) as answer:
        assert answer.status == 200
    async with http.post(f"{service.url}{path}/invites", json={"role": "technician"}) as answer:
        assert answer.status == 400


async def test_a_lead_brings_in_observers_alone_so_that_nobody_is_their_own_second_person(http, service):
    path, *_ = await expert_in(http, service, "lead")
    for role, status in (("expert", 403), ("lead", 403), ("observer", 200)):
        async with http.post(f"{service.url}{path}/invites", json={"role": role}) as answer:
            assert answer.status == status, await answer.text()


async def test_no_invites_for_roles_that_do_not_exist(http, service):
    token, path = await open_room(http, service)
    headers = {"Authorization": f"Bearer {token}"}
    for role in ("owner", None, 3):
        async with http.post(f"{service.url}{path}/invites", json={"role": role}, headers=headers) as answer:
            assert answer.status == 400


async def test_a_session_ends_and_can_be_renewed_before(http, service, clock):
    path, *_ = await expert_in(http, service)
    clock.now += 3000
    async with http.post(f"{service.url}{path}/renew", json={}) as answer:
        assert answer.status == 200
    clock.now += 3000
    async with http.ws_connect(f"{service.url}{path}/watch") as channel:
        assert json.loads((await channel.receive()).data)["type"] == "welcome"
    clock.now += 3600
    async with http.post(f"{service.url}{path}/renew", json={}) as answer:
        assert answer.status == 401


async def test_every_answer_carries_a_strict_policy(http, service):
    for address in ("/join", "/", "/nothing", "/r/000000000000", "/../pyproject.toml", "/assets/../index.html"):
        async with http.get(f"{service.url}{address}") as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "no-referrer"


async def test_the_page_has_nothing_inline_and_nothing_from_elsewhere(http, service):
    async with http.get(f"{service.url}/join") as answer:
        text = await answer.text()
    assert "<style" not in text
    assert "<script>" not in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text


@pytest.mark.parametrize(
    ("frame", "close_code"),
    [
        ("no json", 1008),
        ('{"type":"hello"}', 1008),
        ('{"type":"want","stream":1,"epoch":1,"first":-1,"last":2}', 1008),
        ('{"type":"chat","id":"1","text":"%s"}' % ("x" * 3000), 1008),
        (b"\x01\x10", 1008),
        ("x" * 100_000, 1009),
        (b"x" * 100_000, 1009),
    ],
    ids=["no-json", "agent-s-word", "negative", "long-chat", "samples", "oversize-text", "oversize-bytes"],
)
async def test_a_viewer_that_breaks_the_rules_is_shown_out(http, service, frame, close_code):
    path, *_ = await expert_in(http, service)
    async with http.ws_connect(f"{service.url}{path}/watch") as channel:
        await (channel.send_str(frame) if isinstance(frame, str) else channel.send_bytes(frame))
        while not channel.closed:
            await channel.receive()
        assert channel.close_code == close_code
    async with http.ws_connect(f"{service.url}{path}/watch") as channel:
        assert json.loads((await channel.receive()).data)["type"] == "welcome", "the room stands"


@pytest.mark.parametrize("frame", [b"", b"\x01" * 30, b"x" * 17_000, "{}"], ids=["empty", "short", "long", "object"])
async def test_an_agent_that_sends_rubbish_is_shown_out(http, service, frame):
    token, path = await open_room(http, service)
    hello = Hello(1, 5, {}, [{"stream": 0, "signals": []}], 0)
    async with http.ws_connect(f"{service.url}{path}/agent", headers={"Authorization": f"Bearer {token}"}) as channel:
        await channel.send_str(encode_message(hello))
        await (channel.send_str(frame) if isinstance(frame, str) else channel.send_bytes(frame))
        while not channel.closed:
            await channel.receive()
        assert channel.close_code == 1008


def narrow_socket(address):
    """A socket that takes in little before its sender has to wait."""
    family, kind, protocol = address[:3]
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return made


async def test_a_viewer_who_stops_reading_stops_nobody_else(service, wide_car, report, in_room):
    async with AsyncExitStack() as stack:
        agent = await stack.enter_async_context(in_room(service, wide_car, report))
        room = service.room(agent.room)
        sockets = []
        for _ in ("stuck", "quick"):
            connector = aiohttp.TCPConnector(socket_factory=narrow_socket)
            jar = aiohttp.CookieJar(unsafe=True)
            client = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=jar, connector=connector))
            status, body, _ = await redeem(client, service, (await agent.invite("expert")).code)
            assert status == 200
            timeout = aiohttp.ClientWSTimeout(ws_close=0.2)
            sockets.append(await client.ws_connect(f"{service.url}{body['path']}/watch", compress=0, timeout=timeout))
        stuck, quick = (room.members[person].outbox for person in sorted(room.members))
        # The first one never reads: its connection fills up, its outbox drops, and the room goes on.
        seen = set()
        async with asyncio.timeout(120):
            while len(seen) < 300 or stuck.dropped < 20:
                message = await sockets[1].receive()
                if message.type is aiohttp.WSMsgType.BINARY:
                    seen.add(parse_head(message.data).seq)
        assert quick.dropped == 0
        assert seen == set(range(min(seen), max(seen) + 1)), "the quick one misses nothing"
        assert len(stuck._live) <= MAX_LIVE


def test_hosts_that_can_only_mean_this_service():
    assert is_own_host("127.0.0.1:8443", None)
    assert is_own_host("[::1]:8443", None)
    assert is_own_host("localhost", None)
    assert is_own_host("192.168.1.20:8443", None)
    assert is_own_host("room.example.com", "https://room.example.com")
    assert not is_own_host("room.example.com.evil.example", "https://room.example.com")
    assert not is_own_host("evil.example", None)
    assert not is_own_host("", None)


def test_a_rate_limit_gives_a_burst_and_then_its_rate():
    limit = RateLimit(burst=3, per_s=2)
    assert [limit.take("a", 0.0) for _ in range(4)] == [True, True, True, False]
    assert limit.take("b", 0.0)
    assert limit.take("a", 0.5)
    assert not limit.take("a", 0.5)


async def test_a_service_that_cannot_run_says_why(tmp_path, config):
    async with running_service(config) as service:
        port = int(service.url.rpartition(":")[2])
        with pytest.raises(CannotListen, match=str(port)):
            async with running_service(dataclasses.replace(config, port=port)):
                pass
    with pytest.raises(PageMissing, match=r"index\.html"):
        async with running_service(dataclasses.replace(config, static=tmp_path / "none")):
            pass
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    with pytest.raises(CertificateBroken, match=r"wrong\.pem"):
        async with running_service(dataclasses.replace(config, tls_cert=wrong)):
            pass
