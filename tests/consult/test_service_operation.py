"""Health, metrics, and where a visitor comes from when a proxy stands between."""

import asyncio
import dataclasses
import ipaddress
import json
import logging
import shutil
import signal

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request
from prometheus_client.parser import text_string_to_metric_families
from servicekit import ServeProcess, browser_like, redeem

from consult.gate import client_address
from consult.metrics import Histogram
from consult.service import ServiceConfig, running_service
from consult.serviceconfig import Limits


@pytest.fixture
async def http():
    async with browser_like() as session:
        yield session


@pytest.fixture
def config(tmp_path):
    return ServiceConfig(data=tmp_path / "rooms", state=tmp_path / "rooms" / "service.db")


async def figures(http, service, **more):
    async with http.get(f"{service.url}/metrics", **more) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        text = await answer.text()
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families)
    assert all(family.documentation for family in families)
    return {(one.name, *sorted(one.labels.values())): one.value for family in families for one in family.samples}, text


async def test_metrics_count_what_happens(http, service, car, report, in_room, eventually):
    car.count = 40
    async with in_room(service, car, report) as agent:
        status, body, _ = await redeem(http, service.url, (await agent.invite("expert")).code, name="Li Secret")
        assert status == 200
        assert (await redeem(http, service.url, "wrong"))[0] == 403
        async with http.post(f"{service.url}/login", json={"name": "x", "password": "y"}) as answer:
            assert answer.status == 401
        async with http.ws_connect(f"{service.url}{body['path']}/watch") as channel:
            await channel.receive()
            await eventually(lambda: service.room(agent.room).blocks_in == 40)
            await eventually(lambda: not len(agent.spool))
            found, text = await figures(http, service)
    assert found[("huizhen_rooms",)] == 1
    assert found[("huizhen_rooms_with_car",)] == 1
    assert found[("huizhen_members",)] == 1
    assert found[("huizhen_sockets",)] == 2
    assert found[("huizhen_blocks_in_total",)] == 40
    assert found[("huizhen_bytes_in_total",)] > 40 * 400
    assert found[("huizhen_journal_lag_blocks",)] == 0
    assert found[("huizhen_invites_redeemed_total",)] == 2
    assert found[("huizhen_logins_refused_total",)] == 1
    assert found[("huizhen_refused_total", "consult.invite-unknown")] == 1
    assert found[("huizhen_requests_total", "403")] == 1
    assert (
        found[("huizhen_journal_write_seconds_bucket", "+Inf")] == found[("huizhen_journal_write_seconds_count",)] > 0
    )
    for private in ("Li Secret", agent.room, report["vehicle"]["vin"]):
        assert private not in text
    await eventually(lambda: not service.rooms)
    assert (await figures(http, service))[0][("huizhen_blocks_in_total",)] == 40, "a counter never falls"


def test_a_histogram_counts_each_value_in_every_bucket_above_it():
    histogram = Histogram(bounds=(0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        histogram.observe(value)
    assert list(histogram.lines("x")) == [
        'x_bucket{le="0.1"} 2', 'x_bucket{le="1.0"} 3', 'x_bucket{le="+Inf"} 4', "x_sum 7.65", "x_count 4",
    ]  # fmt: skip


async def test_metrics_are_for_this_machine_or_for_who_has_the_token(http, config):
    async with running_service(config) as service:
        for headers in ({"X-Forwarded-For": "203.0.113.9"}, {"Forwarded": "for=203.0.113.9"}):
            async with http.get(f"{service.url}/metrics", headers=headers) as answer:
                assert answer.status == 404, "what a proxy here passes on is not of this machine"
    token = "0123456789abcdef"
    async with running_service(dataclasses.replace(config, metrics_token=token)) as service:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": token}, {"Authorization": "Bearer ÿ"}):
            async with http.get(f"{service.url}/metrics", headers=headers) as answer:
                assert answer.status == 404
        assert await figures(http, service, headers={"Authorization": f"Bearer {token}"})


async def test_health_says_what_is_wrong(http, config, eventually):
    async with running_service(config) as service:
        await eventually(lambda: service.keeper.kept_at_s is not None)
        async with http.get(f"{service.url}/health") as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "ok", "reasons": []})
        moved = config.data.with_name("elsewhere")
        config.data.rename(moved)
        async with http.get(f"{service.url}/health") as answer:
            assert (answer.status, await answer.json()) == (
                503,
                {"status": "failing", "reasons": ["data-not-writable"]},
            )
        moved.rename(config.data)


async def test_a_restart_is_asked_for_only_where_it_may_mend_something(http, config, eventually):
    async with running_service(config) as service:
        await eventually(lambda: service.keeper.kept_at_s is not None)
        service.parts[0].troubles = lambda: ["media-engine-down"]
        for path, status, reasons in (("/health", 503, ["media-engine-down"]), ("/health/live", 200, [])):
            async with http.get(f"{service.url}{path}") as answer:
                assert (answer.status, (await answer.json())["reasons"]) == (status, reasons)
        moved = config.data.with_name("elsewhere")
        config.data.rename(moved)
        async with http.get(f"{service.url}/health/live") as answer:
            assert (answer.status, (await answer.json())["reasons"]) == (503, ["data-not-writable"])
        moved.rename(config.data)


async def test_health_sees_a_keeper_that_is_stuck(http, config, eventually):
    class Clock:
        now = 1000.0

        def __call__(self):
            return self.now

    clock = Clock()
    async with running_service(dataclasses.replace(config, clock_s=clock)) as service:
        await eventually(lambda: service.keeper.kept_at_s is not None)
        stuck = asyncio.Event()

        async def wait(*_):
            await stuck.wait()

        service.keeper._tend = wait
        clock.now += 1
        await asyncio.sleep(0.3)  # the keeper comes by and stays
        clock.now += 60
        async with http.get(f"{service.url}/health") as answer:
            assert (answer.status, (await answer.json())["reasons"]) == (503, ["keeper-late"])
        stuck.set()


@pytest.mark.parametrize(
    ("peer", "told", "address"),
    [
        ("203.0.113.5", None, "203.0.113.5"),
        ("203.0.113.5", "198.51.100.1", "203.0.113.5"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.2.3.4, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.2.3.4, 10.0.0.9", "1.2.3.4"),
        ("10.0.0.1", "nonsense", "?"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", None, "2001:db8:1:2::"),
        ("::ffff:203.0.113.5", None, "203.0.113.5"),
    ],
)
def test_an_address_counts_as_far_back_as_trusted_proxies_vouch_for_it(peer, told, address):
    class Transport:
        def get_extra_info(self, name, default=None):
            return (peer, 1) if name == "peername" else default

    headers = {} if told is None else {"X-Forwarded-For": told}
    request = make_mocked_request("GET", "/", headers=headers, transport=Transport())
    assert client_address(request, (ipaddress.ip_network("10.0.0.0/8"),)) == address


async def test_visitors_behind_a_trusted_proxy_are_told_apart(http, config):
    few = Limits(joins=2)
    for trusted, statuses in ((("127.0.0.0/8",), [403, 403, 429, 403]), ((), [403, 403, 429, 429])):
        networks = tuple(map(ipaddress.ip_network, trusted))
        async with running_service(dataclasses.replace(config, trusted_proxies=networks, limits=few)) as service:
            got = []
            for address in ("198.51.100.1",) * 3 + ("198.51.100.2",):
                headers = {"X-Forwarded-For": address}
                async with http.post(f"{service.url}/redeem", json={"invite": "x"}, headers=headers) as answer:
                    got.append(answer.status)
            assert got == statuses


async def test_every_address_has_its_share_of_requests(http, config):
    async with running_service(dataclasses.replace(config, limits=Limits(requests=10))) as service:
        got = []
        for _ in range(12):
            async with http.get(f"{service.url}/health") as answer:
                got.append(answer.status)
        assert got[:10] == [200] * 10
        assert 429 in got[10:]


async def test_one_address_cannot_hold_all_connections(http, config, car, report, in_room):
    async with (
        running_service(dataclasses.replace(config, limits=Limits(sockets=3))) as service,
        in_room(service, car, report) as agent,
    ):
        _, body, _ = await redeem(http, service.url, (await agent.invite("expert")).code)
        first = await http.ws_connect(f"{service.url}{body['path']}/watch")
        second = await http.ws_connect(f"{service.url}{body['path']}/watch")
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(f"{service.url}{body['path']}/watch")
        assert refused.value.status == 429
        await first.close()
        await second.close()


async def test_a_full_disk_is_said_and_opens_nothing(http, config):
    async with running_service(config) as service:
        code = service.invite_technician().code
        shutil.rmtree(config.data)
        config.data.write_text("no folder any more")
        status, body, _ = await redeem(http, service.url, code, agent=True)
        assert status == 507
        assert str(config.data) not in json.dumps(body), "what is wrong inside is for the log"
        assert service.rooms == {}
        config.data.unlink()


async def test_the_log_names_no_person_and_no_secret(http, config, caplog):
    caplog.set_level(logging.DEBUG, logger="consult")
    async with running_service(config) as service:
        code = service.invite_technician().code
        _, body, _ = await redeem(http, service.url, code, agent=True, name="Wang Private")
        async with http.post(f"{service.url}/login", json={"name": "li", "password": "hunter2hunter2"}) as answer:
            assert answer.status == 401
        headers = {"Authorization": f"Bearer {body['token']}"}
        async with http.ws_connect(f"{service.url}{body['path']}/agent", headers=headers) as channel:
            await channel.send_str("nonsense")
            await channel.receive()
    for private in ("Wang Private", "hunter2hunter2", code, body["token"]):
        assert private not in caplog.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_stops_at_once_and_cleanly_though_pages_hang_on(tmp_path, number):
    async with ServeProcess(tmp_path) as service, browser_like() as http:
        _, body, _ = await redeem(http, service.url, service.offer["technician_invite"], name="Wang")
        async with http.ws_connect(f"{service.url}{body['path']}/watch") as channel:
            await channel.receive()
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            code, said = await service.end(number)  # nobody reads the goodbye
            assert (code, said) == (0, "")
            assert loop.time() - began_s < 20, "five seconds on a quiet machine"
