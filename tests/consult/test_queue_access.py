"""Who sees and takes what of the line."""

import contextlib
import json

import pytest
from queuekit import VIN, Clock, hire, queue_of, signed_in, staff, waiting_car
from servicekit import browser_like, redeem

from consult.invites import Role
from consult.service import ServiceConfig


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def config(tmp_path, clock):
    config = ServiceConfig(data=tmp_path, state=tmp_path / "service.db", clock_s=clock, now_us=clock.us)
    hire(config.state, staff())
    return config


@pytest.fixture
def notices(service):
    heard = []
    service.notices.listen(heard.append)
    return heard


async def test_security_an_account_sees_and_takes_only_what_is_offered_to_it(service, clock):
    async with waiting_car(service) as laptop, signed_in(service.url, "mo") as mo:
        queue = await mo.queue()
        assert queue["offers"] == []
        assert [(one["room"], one["holder"], one["place"]) for one in queue["waiting"]] == [(None, "", 1)]
        assert laptop.ident not in json.dumps(queue)
        assert (await mo.get("/api/rooms"))[1]["rooms"] == []
        missing = "0" * 12
        for what in ("accept", "pass", "enter"):
            known, unknown = await mo.post(f"/r/{laptop.ident}/{what}"), await mo.post(f"/r/{missing}/{what}")
            assert known == unknown, "a stolen room number tells nothing"
            assert known[0] == 410
        for name, status in (("eye", 200), ("boss", 200)):
            async with signed_in(service.url, name) as other:
                assert (await other.queue())["waiting"][0]["room"] == laptop.ident
                assert (await other.post(f"/r/{laptop.ident}/accept"))[0] == 403
                assert (await other.get("/api/queue"))[0] == status
        async with signed_in(service.url, "li") as li:
            assert (await li.post(f"/r/{laptop.ident}/enter"))[0] == 410, "an offer is accepted, not walked around"
            assert (await li.post(f"/r/{laptop.ident}/accept"))[0] == 200
            assert (await mo.post(f"/r/{laptop.ident}/pass"))[0] == 410, "nobody hands back another one's case"
            assert (await li.post(f"/r/{laptop.ident}/enter"))[0] == 200
            assert (await mo.post(f"/r/{laptop.ident}/enter"))[0] == 410, "the technician agreed to the one who took it"
            assert (await mo.get("/api/rooms"))[1]["rooms"] == []
            async with signed_in(service.url, "wu") as wu:
                assert (await wu.post(f"/r/{laptop.ident}/enter"))[0] == 200, "a lead may look"
            clock.now += 1
            service.room(laptop.ident).happen(
                "finish", {"id": 1, "role": "technician", "name": "W"}, clock.us(), body={}
            )
            await queue_of(service).tend()
            assert queue_of(service).line.entries == {}
            assert (await mo.post(f"/r/{laptop.ident}/enter"))[0] == 410, "nor when the job is done"
            assert (await li.post(f"/r/{laptop.ident}/enter"))[0] == 200


async def test_security_consent_that_is_taken_back_shows_accounts_out(service, eventually):
    async with (
        waiting_car(service) as laptop,
        signed_in(service.url, "li") as li,
        signed_in(service.url, "wu") as wu,
        browser_like() as guest,
    ):
        room, watch = service.room(laptop.ident), f"{service.url}/r/{laptop.ident}/watch"
        invite = service.invite(laptop.ident, Role.EXPERT)
        await redeem(guest, service.url, invite.code, name="Guest")
        await li.post(f"/r/{laptop.ident}/accept")
        await wu.post(f"/r/{laptop.ident}/enter")
        async with li.http.ws_connect(watch) as one, wu.http.ws_connect(watch) as two, guest.ws_connect(watch) as three:
            for channel in (one, two, three):
                await channel.receive()
            assert len(room.members) == 3
            assert (await laptop.post("experts", {"allowed": False}))[0] == 200
            await eventually(lambda: [one.name for one in room.members.values()] == ["Guest"])
        for person in (li, wu):
            assert (await person.post(f"/r/{laptop.ident}/renew"))[0] == 401
            assert (await person.post(f"/r/{laptop.ident}/enter"))[0] == 410
        async with guest.post(f"{service.url}/r/{laptop.ident}/renew", json={}) as answer:
            assert answer.status == 200, "who was invited was not let in by that consent"
        assert service.state.rows("SELECT count(*) FROM session WHERE account != ''") == [(0,)]


async def test_security_who_hands_a_case_back_is_shown_out(service, eventually):
    async with waiting_car(service) as laptop, signed_in(service.url, "li") as li:
        room = service.room(laptop.ident)
        await li.post(f"/r/{laptop.ident}/accept")
        async with li.http.ws_connect(f"{service.url}/r/{laptop.ident}/watch") as channel:
            await channel.receive()
            assert (await li.post(f"/r/{laptop.ident}/pass"))[0] == 200
            await eventually(lambda: not room.members)
        assert (await li.post(f"/r/{laptop.ident}/renew"))[0] == 401
        assert (await li.post(f"/r/{laptop.ident}/enter"))[0] == 410


async def test_security_the_queue_tells_no_vin_and_strangers_nothing(service):
    async with waiting_car(service) as laptop, signed_in(service.url, "wu") as wu:
        told = json.dumps([await wu.queue(), await laptop.place()])
        assert "Huizhen" in told
        assert VIN not in told
        assert VIN not in repr(service.state.rows("SELECT * FROM waiting"))
        assert VIN not in repr([entry for _, entry in service.state.audit()])
        from aiohttp import ClientSession

        async with ClientSession() as stranger:
            for method, path in (("GET", "/api/queue"), ("GET", f"/r/{laptop.ident}/queue"),
                                 ("POST", f"/r/{laptop.ident}/accept"), ("POST", f"/r/{laptop.ident}/pass"),
                                 ("POST", f"/r/{laptop.ident}/escalate")):  # fmt: skip
                async with stranger.request(
                    method, service.url + path, json={} if method == "POST" else None
                ) as answer:
                    assert answer.status == 401, path


async def test_security_who_is_off_duty_or_has_enough_takes_nothing_more(service, clock):
    async with contextlib.AsyncExitStack() as stack:
        li = await stack.enter_async_context(signed_in(service.url, "li"))
        cars = [await stack.enter_async_context(waiting_car(service)) for _ in range(3)]
        clock.now += 301
        await queue_of(service).tend()
        for car, status in zip(cars, (200, 200, 409), strict=True):
            found, body = await li.post(f"/r/{car.ident}/accept")
            assert found == status
        assert body["error"] == "consult.hands-full"
        await li.post("/api/duty", {"on_duty": False})
        await li.post(f"/r/{cars[0].ident}/pass")
        found, body = await li.post(f"/r/{cars[2].ident}/accept")
        assert (found, body["error"]) == (409, "consult.offer-gone")
