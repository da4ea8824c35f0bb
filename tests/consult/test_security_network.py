"""Who is no workshop of the network, and what a workshop may not do."""

import asyncio
import dataclasses
import io
import json
import secrets
import stat

import aiohttp
import pytest
from networkkit import VIN, Workshop, command

from casebase.library import Library
from casebase.sharing import CountsDocument, new_site_key, signed, site_of
from casebase.visits import Visit
from consult.networkconfig import NetworkConfig
from consult.networkerrors import SiteRefused
from consult.networkkeys import load_keys
from consult.networksigning import signed_headers
from consult.service import ServiceConfig, running_service
from huizhen.carmemory import with_client


class Clock:
    def __init__(self):
        self.now = 1_800_000_000.0

    def us(self):
        return int(self.now * 1_000_000)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def config(tmp_path, clock):
    network = NetworkConfig(lookups_hour=5, lookups_day=8)
    return ServiceConfig(
        data=tmp_path / "rooms", state=tmp_path / "rooms" / "service.db", now_us=clock.us, network=network
    )


class Caller:
    """Signs requests as one pleases."""

    def __init__(self, service, clock, private=None):
        self.service, self.clock, self.private = service, clock, private or new_site_key()
        self.names = load_keys(service.config.state.parent, service.config.now_us)

    async def join(self, name):
        from consult.invites import digest_of_secret
        from consult.networkstore import NetworkStore

        code = secrets.token_urlsafe(32)
        store = NetworkStore(self.service.state)
        store.add_site(name, "CN", digest_of_secret(code), self.clock.now + 60, self.clock.us())
        status, _ = await self.ask("/api/network/join", {"code": code}, service="")
        assert status == 200
        return self

    def headers(self, method, path, data, **changed):
        told = {"service": self.names.service_name, "t_s": int(self.clock.now), "nonce": secrets.token_urlsafe(16)}
        return signed_headers(self.private, method=method, path=path, body=data, **{**told, **changed})

    async def ask(self, path, body, *, method="POST", headers=None, sent=None, **changed):
        data = b"" if body is None else json.dumps(body).encode()
        headers = headers or self.headers(method, path, data, **changed)
        async with (
            aiohttp.ClientSession() as http,
            http.request(
                method, f"{self.service.url}{path}", data=io.BytesIO(data if sent is None else sent),
                headers={**headers, "Content-Type": "application/json"},
            ) as answer,
        ):  # fmt: skip
            return answer.status, await answer.json()

    async def look(self, vin=VIN, **changed):
        return await self.ask("/api/network/look", {"vin": vin}, **changed)


@pytest.fixture
async def site(service, clock):
    return await Caller(service, clock).join("north")


ROUTES = (
    ("POST", "/api/network/look", {"vin": VIN}),
    ("POST", "/api/network/visits", {"vin": VIN, "visit": Visit("0" * 32, "2026-11-01").to_json()}),
    ("POST", "/api/network/counts", {}),
    ("GET", "/api/network/counts", None),
)


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
async def test_a_stranger_learns_nothing_of_the_network(service, clock, site, method, path, body):
    stranger = Caller(service, clock)
    assert (await stranger.ask(path, body, method=method))[1]["error"] == "consult.site-refused"
    data = b"" if body is None else json.dumps(body).encode()
    good = site.headers(method, path, data)
    mine = stranger.headers(method, path, data)
    wrong = [
        {},
        {**good, "Huizhen-Signature": mine["Huizhen-Signature"]},
        {**mine, "Huizhen-Site": good["Huizhen-Site"]},
        {**good, "Huizhen-Nonce": mine["Huizhen-Nonce"]},
        {**good, "Huizhen-Body": "0" * 64},
        {**good, "Huizhen-Time": str(int(clock.now) + 1)},
        {**good, "Huizhen-Signature": "x"},
        site.headers(method, "/api/network/join", data),
        site.headers("PUT", path, data),
        site.headers(method, path, data, service="another service"),
    ]
    for headers in wrong:
        status, told = await site.ask(path, body, method=method, headers=headers or {"X": "y"})
        assert (status, told["error"]) == (401, "consult.site-refused"), headers


async def test_a_request_counts_once_also_over_a_restart(config, clock):
    async with running_service(config) as service:
        site = await Caller(service, clock).join("north")
        data = json.dumps({"vin": VIN}).encode()
        headers = site.headers("POST", "/api/network/look", data)
        assert (await site.look(headers=headers))[0] == 200
        status, told = await site.look(headers=headers)
        assert (status, told["error"]) == (409, "consult.request-replayed")
    async with running_service(config) as service:
        again = Caller(service, clock, site.private)
        assert (await again.look(headers=headers))[1]["error"] == "consult.request-replayed"
        clock.now += 700
        assert (await again.look(headers=headers))[1]["error"] == "consult.clock-wrong", "and later it is too old"


@pytest.mark.parametrize("off_s", [-301, 301])
async def test_a_request_of_another_time_is_refused(site, clock, off_s):
    status, told = await site.look(t_s=int(clock.now) + off_s)
    assert (status, told["error"]) == (401, "consult.clock-wrong")


async def test_a_body_that_was_not_signed_is_refused(site):
    status, told = await site.ask("/api/network/look", {"vin": VIN}, sent=b'{"vin": "LRW3E7EK0NC000043"}')
    assert (status, told["error"]) == (401, "consult.site-refused")


async def test_a_workshop_cannot_try_vins_one_after_the_other(config, clock):
    async with running_service(config) as service:
        site = await Caller(service, clock).join("north")
        other = await Caller(service, clock).join("south")
        answers = [await site.look(f"LRW3E7EK0NC{number:06d}") for number in range(6)]
        assert [status for status, _ in answers] == [200] * 5 + [429]
        assert (await other.look())[0] == 200, "nobody else is held up"
    async with running_service(config) as service:
        site = Caller(service, clock, site.private)
        assert (await site.look())[0] == 429, "a restart forgives nothing"
        for _ in range(3):
            clock.now += 3601
            status, _ = await site.look()
        assert status == 200
        clock.now += 3601
        assert (await site.look())[0] == 429, "eight a day"
        entries = [one for _, one in service.state.audit() if one.what.startswith("network-look")]
    assert {one.who for one in entries} == {"north", "south"}
    assert any(one.what == "network-look-refused" for one in entries)
    assert VIN not in str(entries)


async def test_an_answer_tells_not_whether_a_car_is_known_by_its_shape(site):
    _, told = await site.look()
    assert set(told) == {"ticket", "ticket_until_us", "visits"}
    visit = Visit("0" * 32, "2027-01-10", fix="0" * 16, outcome="fixed").to_json()
    assert (await site.ask("/api/network/visits", {"ticket": told["ticket"], "visit": visit}))[0] == 200
    assert set((await site.look())[1]) == {"ticket", "ticket_until_us", "visits"}


async def test_a_ticket_is_good_for_its_workshop_and_its_time(service, clock, site):
    other = await Caller(service, clock).join("south")
    ticket = (await site.look())[1]["ticket"]
    body = {"ticket": ticket, "visit": Visit("0" * 32, "2027-01-10").to_json()}
    assert (await other.ask("/api/network/visits", body))[1]["error"] == "consult.visit-refused"
    clock.now += 181 * 86_400
    assert (await site.ask("/api/network/visits", body))[1]["error"] == "consult.visit-refused"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("terms", ["w|rattles"]),
        ("terms", ["Mr. Li was here"]),
        ("terms", ["d1|P0AA6"] * 301),
        ("fix", "replace the pump"),
        ("failed", ["x"]),
        ("day", "2026-11-01T10:00:00"),
        ("day", "2026-13-01"),
        ("mileage_km", "77123"),
        ("verdict", "call 13800138000"),
        ("outcome", "call me"),
        ("read", ["王师傅"]),
        ("id", "geheimnis"),
        ("vehicle", {"make": "LRW3E7EK0NC000042", "model": None, "model_year": None}),
        ("vehicle", {"make": "BYD", "model": "粤B12345", "model_year": None}),
        ("vehicle", {"make": "BYD", "model": None, "model_year": None, "vin": VIN}),
        ("note", "a word"),
    ],
)
async def test_a_visit_says_only_what_it_may(service, site, key, value):
    visit = {**Visit("0" * 32, "2026-11-01").to_json(), key: value}
    status, told = await site.ask("/api/network/visits", {"vin": VIN, "visit": visit})
    assert (status, told["error"]) == (400, "consult.visit-refused")
    assert service.state.rows("SELECT * FROM network_visit") == []


async def test_counts_are_one_s_own_noised_enough_and_newer(service, clock, site):
    from datetime import UTC, datetime, timedelta

    day = datetime.fromtimestamp(clock.now, UTC)
    mine = site_of(site.private)

    async def tell(document, private=site.private):
        return await site.ask("/api/network/counts", signed(document, private))

    assert (await tell(CountsDocument(mine, day, 1.0, 5, ())))[0] == 200
    assert (await tell(CountsDocument(mine, day, 1.0, 5, ())))[0] == 200, "the very same is no harm"
    other = new_site_key()
    refused = [
        await tell(CountsDocument(site_of(other), day, 1.0, 5, ()), other),
        await tell(CountsDocument(mine, day + timedelta(seconds=1), 2.0, 5, ())),
        await tell(CountsDocument(mine, day + timedelta(seconds=1), 1.0, 1, ())),
        await tell(CountsDocument(mine, day - timedelta(seconds=1), 1.0, 5, ())),
        await tell(CountsDocument(mine, day + timedelta(seconds=1), 1.0, 5, ()), other),
    ]
    assert [(status, told["error"]) for status, told in refused] == [(400, "consult.counts-refused")] * 5
    assert (await tell(CountsDocument(mine, day + timedelta(days=1), 1.0, 5, ())))[0] == 401, "of the future"


async def test_a_stranger_s_body_is_not_read(service, clock):
    stranger = Caller(service, clock)
    headers = stranger.headers("POST", "/api/network/counts", b"x" * 100)

    async def endless():
        yield b"x"
        await asyncio.sleep(3600)

    async with aiohttp.ClientSession() as http:
        async with asyncio.timeout(120):
            async with http.post(
                f"{service.url}/api/network/counts",
                data=endless(),
                headers={**headers, "Content-Type": "application/json"},
            ) as answer:
                assert answer.status == 401


async def test_a_known_workshop_s_body_has_its_limit(tmp_path, clock):
    config = ServiceConfig(
        data=tmp_path / "r", state=tmp_path / "r" / "service.db", now_us=clock.us, network=NetworkConfig(counts_mb=1)
    )
    async with running_service(config) as service:
        site = await Caller(service, clock).join("north")
        status, told = await site.ask("/api/network/counts", {"x": "y" * (1 << 20)})
        assert (status, told["error"]) == (429, "consult.too-much")


async def test_the_key_stays_at_the_service_and_is_its_owner_s_alone(service, site, config):
    path = config.state.parent / "network.keys"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    told = json.loads(path.read_text())
    ours = [told["service"], told["reviewed"], *(key["key"] for key in told["vin_keys"])]
    assert all(len(bytes.fromhex(secret)) == 32 for secret in ours)
    _, answer = await site.look()
    said = json.dumps([answer, [one.to_json() for _, one in service.state.audit()]])
    database = b"".join(each.read_bytes() for each in config.state.parent.glob("service.db*"))
    for secret in ours:
        assert secret not in said
        assert secret.encode() not in database
        assert bytes.fromhex(secret) not in database
    assert not any(secret[:8] in repr(load_keys(config.state.parent, config.now_us)) for secret in ours)
    await command("consult", "site", "rotate", "--data", config.data)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_service_that_changes_what_others_told_is_noticed(service, tmp_path, monkeypatch):
    north = Workshop(tmp_path, "north")
    monkeypatch.setattr("casebase.exchange.time.time_ns", lambda: service.config.now_us() * 1000)
    monkeypatch.setattr("consult.networkclient.time.time", lambda: service.config.now_us() / 1e6)
    await north.join(service)
    await north.case("sync")
    with Library.open(north.path) as library:
        joined = library.network.joined
        private = library.network.site_key()
    wrong = dataclasses.replace(joined, service=joined.reviewed)

    async def ask(client):
        return await client.get_counts()

    with pytest.raises(SiteRefused):
        await with_client(wrong, private, ask)
