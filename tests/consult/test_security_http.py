"""What strangers, other sites' pages and broken clients try by HTTP, on every route that the router has."""

import asyncio
import dataclasses
import json

import aiohttp
import pytest
from roomwalls import Walls, body_of, routes_of

from consult.invites import SESSION_LIFE_S, Role
from consult.service import ServiceConfig, running_service
from consult.serviceconfig import Limits


@pytest.fixture
def config(tmp_path):
    plenty = Limits(requests=1_000_000, joins=10_000, logins=10_000, request_s=1.0)
    return ServiceConfig(data=tmp_path / "rooms", state=tmp_path / "rooms" / "service.db", limits=plenty)


@pytest.fixture
async def bare():
    """A client that keeps no cookies: each request says what it carries."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        yield http


def facts(walls):
    """What another site's page would like to change."""
    service = walls.service
    return (
        set(service.invites._invites),
        set(service.sessions._sessions),
        [dataclasses.astuple(entry) for entry in service.entries.values()],
        service.state.accounts(),
        service.state.rows("SELECT * FROM login"),
    )


FOREIGN = (
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "http://["},
)


async def test_no_page_of_another_site_changes_anything(service, bare):
    """Every route that changes something, with the cookies of somebody who may, from a page of another origin."""
    async with Walls(service) as walls:
        before = facts(walls)
        changing = [(method, path) for method, path, _, _ in routes_of(service) if method not in ("GET", "HEAD")]
        assert len(changing) >= 8
        for method, path in changing:
            for role in ("technician", "account"):
                url = service.url + path.replace("{room}", walls.mine)
                for foreign in FOREIGN:
                    headers = walls.headers(role) | foreign
                    async with bare.request(method, url, json=body_of(path), headers=headers) as answer:
                        said = await answer.json()
                        assert (answer.status, said["error"]) == (403, "consult.origin-refused"), (path, foreign)
        assert facts(walls) == before


async def test_no_form_changes_anything(service, bare):
    """A form may be sent to any site, by old browsers without an origin; but it is never JSON by its type."""
    async with Walls(service) as walls:
        before = facts(walls)
        for method, path, _, _ in routes_of(service):
            if method != "POST":
                continue
            for role in ("technician", "account"):
                url = service.url + path.replace("{room}", walls.mine)
                for sent in (
                    {"data": body_of(path)},
                    {"data": json.dumps(body_of(path)), "headers": {"Content-Type": "text/plain"}},
                ):
                    headers = walls.headers(role) | sent.pop("headers", {})
                    async with bare.post(url, headers=headers, **sent) as answer:
                        assert answer.status in (400, 401, 403), path
        assert facts(walls) == before


async def test_every_websocket_checks_its_origin(service, bare):
    async with Walls(service) as walls:
        sockets = [path for _, path, _, is_socket in routes_of(service) if is_socket]
        assert len(set(sockets)) >= 3
        for path in sockets:
            url = service.url + path.replace("{room}", walls.mine)
            for foreign in FOREIGN:
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await bare.ws_connect(url, headers=walls.headers("technician") | foreign)
                assert refused.value.status == 403


async def test_a_rebound_name_gets_nothing_from_any_route(service, bare):
    """DNS rebinding: the browser believes that evil.example is this address, and its origin is even the same."""
    async with Walls(service) as walls:
        for method, path, _, _ in routes_of(service):
            url = service.url + path.replace("{room}", walls.mine)
            for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "127.0.0.1;x", "127.0.0.1:1 x"):
                headers = walls.headers("technician") | {"Host": host, "Origin": f"http://{host}"}
                async with bare.request(method, url, json=body_of(path), headers=headers) as answer:
                    assert answer.status == 403, (path, host)
                    assert "evil" not in answer.headers["Content-Security-Policy"]


async def test_every_answer_has_its_guard_of_headers(service, bare):
    async with Walls(service) as walls:
        for method, path, _, is_socket in routes_of(service):
            for headers in ({}, walls.headers("technician")):
                url = service.url + path.replace("{room}", walls.mine)
                if is_socket and headers:
                    continue
                async with bare.request(method, url, json=body_of(path), headers=headers) as answer:
                    policy = answer.headers["Content-Security-Policy"]
                    assert "default-src 'none'" in policy
                    assert "unsafe" not in policy
                    assert "*" not in policy
                    assert answer.headers["X-Content-Type-Options"] == "nosniff"
                    assert answer.headers["X-Frame-Options"] == "DENY"
                    assert not any(name.startswith("Access-Control") for name in answer.headers)


async def test_an_oversize_body_is_refused_on_every_route(service, bare):
    async with Walls(service) as walls:
        big = {"invite": "x" * (service.config.limits.body_bytes + 1)}
        for method, path, _, _ in routes_of(service):
            if method != "POST":
                continue
            url = service.url + path.replace("{room}", walls.mine)
            own = ("enter", "accept", "pass", "logout", "duty", "login")
            is_account = path.endswith(own) or "/drafts/" in path or "/research/" in path
            role = "account" if is_account else "technician"
            async with bare.post(url, json=big, headers=walls.headers(role)) as answer:
                status = answer.status
            if status != 413:  # of who may not come in at all no body is read: a small one is refused the same way
                async with bare.post(url, json={}, headers=walls.headers(role)) as answer:
                    assert status == answer.status, path
                    assert status in (401, 403, 404), path
                continue
            packed = b"\x1f\x8b" + b"\0" * 100
            headers = walls.headers(role) | {"Content-Encoding": "gzip", "Content-Type": "application/json"}
            async with bare.post(url, data=packed, headers=headers) as answer:
                assert answer.status in (400, 413), path


async def raw(service, *parts, wait_s=10):
    """Sends bytes as they are, and reads until the service closes the connection."""
    host, port = service.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        async with asyncio.timeout(wait_s):
            return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ",
        b"POST /redeem HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 60\r\n\r\n{",
    ],
    ids=["silent", "half-a-head", "half-a-body"],
)
async def test_a_slow_client_is_dropped(service, bare, sent):
    """Slowloris: a connection that sends nearly nothing ends after the limit, 1 s here."""
    await raw(service, sent, wait_s=30)
    async with bare.get(f"{service.url}/health") as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nA: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"".join(b"H%d: x\r\n" % n for n in range(500)) + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n",
        b"POST /redeem HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n",
        b"\0" * 5000,
    ],
    ids=["tls", "long-header", "long-path", "many-headers", "smuggling", "no-host", "version", "negative", "zeros"],
)
async def test_broken_http_ends_the_connection_and_nothing_else(service, bare, sent):
    said = await raw(service, sent, wait_s=30)
    assert b"200 OK" not in said
    assert b"Traceback" not in said
    async with bare.get(f"{service.url}/health") as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/../pyproject.toml", "/assets/../../wire.py", "/%2e%2e/%2e%2e/etc/passwd", "/assets/..%2f..%2fservice.py",
        "//etc/passwd", "/assets/%00", "/..\\..\\service.db", "/service.db", "/assets/", "/r/../metrics",
        "/index.html%00",
        "/r/000000000000/../../../etc/passwd",
    ],
)  # fmt: skip
async def test_no_path_leads_out_of_the_page(service, path):
    said = await raw(service, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    assert said.split(b" ", 2)[1] in (b"400", b"404"), said[:200]


@pytest.mark.parametrize(
    "name", ["a\r\nSet-Cookie: x=1", "a\nb", "\x1b[2J", "<img src=x>", "\u202eevil", "x" * 5000, "a\0b"]
)
async def test_a_name_adds_no_header_and_no_line(service, bare, name):
    async with Walls(service) as walls:
        code = service.invite(walls.mine, Role.EXPERT).code
        async with bare.post(f"{service.url}/redeem", json={"invite": code, "name": name}) as answer:
            assert answer.status == 200
            assert list(answer.cookies) == ["huizhen_session"]
        given = next(session.name for session in reversed(service.sessions._sessions.values()))
        assert given.isprintable()
        assert len(given) <= 40


async def test_a_token_is_worth_nothing_after_it_was_rotated(tmp_path, bare):
    class Clock:
        now = 1_800_000_000.0

        def us(self):
            return int(self.now * 1_000_000)

    clock = Clock()
    config = ServiceConfig(data=tmp_path, state=tmp_path / "service.db", now_us=clock.us)
    async with running_service(config) as service, Walls(service) as walls:
        url = f"{service.url}/r/{walls.mine}/renew"
        old = walls.headers("expert")
        async with bare.post(url, json={}, headers=old) as answer:
            fresh = {"Cookie": f"huizhen_session={answer.cookies['huizhen_session'].value}"}
        async with bare.post(url, json={}, headers=old) as answer:
            assert answer.status == 200, "a request that was under way"
        clock.now += 61
        for headers, status in ((old, 401), (fresh, 200)):
            async with bare.post(url, json={}, headers=headers) as answer:
                assert answer.status == status
        clock.now += SESSION_LIFE_S
        async with bare.post(url, json={}, headers=fresh) as answer:
            assert answer.status == 401


async def test_rooms_cannot_be_counted_or_guessed(service, bare):
    """A room that is there, one that is closed and one that never was give strangers the same answers."""
    async with Walls(service) as walls:
        closed = service.room(walls.mine)
        closed.close("consult.room-closed")
        for method, path, about_room, is_socket in routes_of(service):
            if not about_room or is_socket:
                continue
            for headers in ({}, walls.headers("signed-in")):
                got = set()
                for room in (walls.other, walls.mine, "0" * 12):
                    url = service.url + path.replace("{room}", room)
                    async with bare.request(method, url, json=body_of(path), headers=headers) as answer:
                        got.add((answer.status, await answer.text()))
                assert len(got) == 1, (path, got)
