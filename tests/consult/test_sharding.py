"""Rooms over several services: each finds its own, and one's end is no other's."""

import asyncio
import contextlib
import shutil
import signal
from collections import Counter

import aiohttp
import pytest
from servicekit import ServeProcess, browser_like, free_port, redeem
from test_service_restart import Watcher, record_of

from consult.configfile import load_config
from consult.errors import ConfigBroken
from consult.joining import joined_room
from consult.recordcheck import check_record
from consult.service import ServiceConfig, running_service
from consult.sharding import Shards, new_room_name, ranked_shards

ROOMS = [f"{n:012x}" for n in range(9_000)]
NAMES = ("a", "b", "c")


def test_every_shard_has_its_share():
    shares = Counter(ranked_shards(room, NAMES)[0] for room in ROOMS)
    # 3000 ± 45 by the binomial distribution; six of those
    assert set(shares) == set(NAMES)
    assert all(abs(count - 3_000) < 270 for count in shares.values()), shares


def test_a_shard_more_takes_rooms_and_moves_none_between_the_others():
    moved = Counter()
    for room in ROOMS:
        before, after = ranked_shards(room, NAMES)[0], ranked_shards(room, (*NAMES, "d"))[0]
        assert after in (before, "d")
        moved[after == "d"] += 1
    assert abs(moved[True] - len(ROOMS) / 4) < 250


def test_without_a_shard_its_rooms_go_to_the_next_of_each():
    for room in ROOMS[:500]:
        first, second, _ = ranked_shards(room, NAMES)
        assert ranked_shards(room, [name for name in NAMES if name != first])[0] == second
        assert ranked_shards(room, reversed(NAMES))[0] == first, "the list's order tells nothing"


def test_where_a_room_stands_is_the_same_in_every_version():
    """Known by heart: a change of the hash would take rooms from their records."""
    assert [ranked_shards(f"{n:012x}", NAMES)[0] for n in range(12)] == list("aaaabcbaaabc")


def test_a_new_room_belongs_to_who_opens_it():
    shards = Shards("b", dict.fromkeys(NAMES, "https://x"))
    assert {shards.owner(new_room_name(shards)) for _ in range(50)} == {"b"}
    assert len({new_room_name(Shards()) for _ in range(50)}) == 50


def test_the_configuration_names_the_shards(tmp_path):
    path = tmp_path / "huizhen.toml"
    good = '[cluster]\nown = "a"\nshards = {a = "https://a.example.com", b = "https://b.example.com/"}\n'
    path.write_text(good)
    found = load_config(path)
    assert found["shards"] == Shards("a", {"a": "https://a.example.com", "b": "https://b.example.com"})
    assert found["public_url"] == "https://a.example.com"
    for wrong in (
        good.replace('own = "a"', 'own = "c"'),
        good.replace('own = "a"\n', ""),
        good.replace("shards", "shard"),
        good.replace("https://b.example.com/", "b.example.com"),
        good.replace("{a", "{A B"),
        '[cluster]\nown = "a"\nshards = {}\n',
    ):
        path.write_text(wrong)
        with pytest.raises(ConfigBroken, match=r"line \d"):
            load_config(path)


async def test_who_knocks_at_the_wrong_door_is_sent_on_and_nobody_else(tmp_path):
    urls = {"a": "http://127.0.0.1:1", "b": "http://127.0.0.1:2"}
    config = ServiceConfig(data=tmp_path, state=tmp_path / "service.db", shards=Shards("a", urls))
    mine = next(room for room in ROOMS if config.shards.owner(room) == "a")
    other = next(room for room in ROOMS if config.shards.owner(room) == "b")
    async with running_service(config) as service, browser_like() as http:

        async def ask(method, path, **more):
            async with http.request(method, service.url + path, allow_redirects=False, **more) as answer:
                return answer.status, answer.headers.get("Location")

        assert await ask("GET", f"/r/{other}?x=1") == (307, f"http://127.0.0.1:2/r/{other}?x=1")
        assert await ask("HEAD", f"/r/{other}/history") == (307, f"http://127.0.0.1:2/r/{other}/history")
        assert (await ask("GET", f"/r/{mine}"))[0] == 200
        assert (await ask("POST", f"/r/{other}/invites", json={}))[0] == 401
        assert (await ask("GET", f"/r/{other}/watch", headers={"Connection": "Upgrade"}))[1] is None
        assert (await ask("GET", f"/rooms?next=/r/{other}"))[0] == 200
        service.open_room(other)  # of the time before there was a second shard
        assert (await ask("GET", f"/r/{other}"))[0] == 200


NGINX = """
daemon off; worker_processes 1; error_log stderr; pid {folder}/nginx.pid;
events {{ worker_connections 256; }}
http {{ {temporary}
{site}
}}
"""
SHARDS = """
    access_log off;
    map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
    map $server_port $shard {{ {map} }}
    server {{
        {listen}
        location / {{
            proxy_pass http://$shard;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_read_timeout 1h;
        }}
    }}
"""


@contextlib.asynccontextmanager
async def proxy_process(folder, site, doors):
    """nginx with a site's configuration, once it listens on all its doors."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, temporary=temporary, site=site), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        "nginx", "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf"), stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(120):
            for door in doors:
                while True:
                    if process.returncode is not None:
                        raise AssertionError((await process.stderr.read()).decode())
                    try:
                        _, writer = await asyncio.open_connection("127.0.0.1", door)
                    except OSError:
                        await asyncio.sleep(0.05)
                    else:
                        writer.close()
                        break
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.communicate()


def shard_doors(doors):
    """nginx's site with one door per shard: port of the door -> port of the shard."""
    return SHARDS.format(
        map=" ".join(f"{door} 127.0.0.1:{shard};" for door, shard in doors.items()),
        listen=" ".join(f"listen 127.0.0.1:{door};" for door in doors),
    )


@pytest.mark.skipif(shutil.which("nginx") is None, reason="tools/setup test installs nginx")
async def test_rooms_on_two_shards_behind_nginx_survive_the_restart_of_one(tmp_path, report, car, eventually):
    names = ("a", "b")
    doors, ports = {name: free_port() for name in names}, {name: free_port() for name in names}
    urls = {name: f"http://127.0.0.1:{doors[name]}" for name in names}
    (tmp_path / "proxy").mkdir()
    async with contextlib.AsyncExitStack() as stack:
        site = shard_doors({doors[name]: ports[name] for name in names})
        await stack.enter_async_context(proxy_process(tmp_path / "proxy", site, doors.values()))
        services, agents, watchers, tasks = {}, {}, {}, []
        for name in names:
            shards = ", ".join(f'{one} = "{url}"' for one, url in urls.items())
            config = tmp_path / f"{name}.toml"
            config.write_text(
                f'trusted_proxies = ["127.0.0.1"]\n[cluster]\nown = "{name}"\nshards = {{{shards}}}\n', "utf-8"
            )
            service = ServeProcess(tmp_path / name, ports[name], ("--config", str(config)))
            services[name] = await stack.enter_async_context(service)
            assert service.offer["url"] == urls[name]
        for name in names:
            http = await stack.enter_async_context(browser_like())
            code = services[name].offer["technician_invite"]
            agent = await stack.enter_async_context(joined_room(urls[name], code, name="Wang"))
            tasks.append(asyncio.create_task(agent.run(report, car.schema, car.blocks())))
            invite = await agent.invite("expert")
            assert invite.url.startswith(urls[name])
            status, body, _ = await redeem(http, urls[name], invite.code, name="Li")
            assert status == 200
            agents[name], watchers[name] = agent, Watcher(http, urls[name], body["path"])
            tasks.append(asyncio.create_task(watchers[name].run()))
        try:
            for name in names:
                await eventually(lambda: len(watchers[name].blocks) > 20)  # noqa: B023 - awaited in this round
                assert Shards("", urls).owner(agents[name].room) == name
            wrong = f"{urls['b']}/r/{agents['a'].room}"
            async with aiohttp.ClientSession() as http, http.get(wrong) as answer:
                assert (answer.status, str(answer.url)) == (200, f"{urls['a']}/r/{agents['a'].room}")
            seen = {name: len(watchers[name].blocks) for name in names}
            await services["a"].end(signal.SIGKILL)
            await eventually(lambda: len(watchers["b"].blocks) > seen["b"] + 20)
            assert len(watchers["b"].welcomes) == 1, "the other shard's people notice nothing"
            await services["a"].start()
            await eventually(lambda: len(watchers["a"].blocks) > seen["a"] + 20)
            assert len(watchers["a"].welcomes) == 2
            for name in names:
                agents[name].leave()
                await eventually(lambda: watchers[name].closed is not None)  # noqa: B023 - as above
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for name in names:
            assert (await services[name].end(signal.SIGTERM))[0] == 0
            check = check_record(record_of(tmp_path / name, agents[name].room))
            assert (check.verdict, check.closed) == ("intact", "consult.room-closed")
