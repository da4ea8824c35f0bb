"""A room is watched from its regions and from nowhere else."""

import asyncio
import contextlib
import dataclasses
import ipaddress

import aiohttp
import pytest
from aiohttp import WSMsgType
from privacykit import (
    ABROAD,
    CITY,
    HOME,
    NOWHERE,
    RULES,
    MovedClock,
    add_account,
    from_,
    get,
    hello,
    invited,
    networks,
    post,
    privacy_config,
    report_of,
    sign_in,
    technician,
    visitor,
)

from consult.accounts import AccountRole
from consult.invites import Role
from consult.notices import Notice
from consult.regions import Region, RegionRules, Visitor, demanded_regions
from consult.service import running_service
from consult.waitpart import QueuePart
from diag.facts import Text

ip = ipaddress.ip_address


@pytest.fixture
def clock():
    return MovedClock()


@pytest.fixture
async def service(tmp_path, clock):
    async with running_service(privacy_config(tmp_path, clock, region="CN", regions=RULES)) as running:
        yield running


# -- the rules -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "region"),
    [
        (HOME, "CN"),
        (CITY, "HK"),
        (ABROAD, "EU"),
        (NOWHERE, ""),
        ("::ffff:36.110.1.7", "CN"),
        ("::ffff:36.110.200.9", "HK"),
        ("240e:1::5", "CN"),
        ("2001:db8::1", "EU"),
        ("2002:246e:107::1", ""),
        ("64:ff9b::246e:107", ""),
        ("100.64.0.1", ""),
        ("127.0.0.1", ""),
    ],
)
def test_an_address_is_where_the_narrowest_list_says(address, region):
    assert RULES.region_of(ip(address)) == region


def test_an_unknown_address_is_nowhere():
    assert RULES.region_of(None) == ""
    assert RULES.refusal(Visitor(Role.EXPERT, None, "CN")) == "network"


@pytest.mark.parametrize(
    ("role", "address", "account", "why"),
    [
        (Role.EXPERT, HOME, "CN", None),
        (Role.EXPERT, HOME, None, None),
        (Role.EXPERT, HOME, "EU", "account"),
        (Role.EXPERT, HOME, "", "account"),
        (Role.EXPERT, ABROAD, "CN", "network"),
        (Role.EXPERT, CITY, "CN", "network"),
        (Role.OBSERVER, NOWHERE, None, "network"),
        (Role.LEAD, ABROAD, "EU", "account"),
        (Role.TECHNICIAN, HOME, None, None),
        (Role.TECHNICIAN, ABROAD, None, "network"),
    ],
)
def test_account_and_network_both_have_to_be_of_the_region(role, address, account, why):
    assert RULES.refusal(Visitor(role, ip(address), account)) == why


def test_without_rules_everybody_watches_from_everywhere():
    assert RegionRules().refusal(Visitor(Role.OBSERVER, None, None)) is None


def test_where_accounts_are_demanded_guests_stay_out_and_the_technician_is_none():
    rules = RegionRules(RULES.allowed, RULES.places, accounts_only=True)
    assert rules.refusal(Visitor(Role.OBSERVER, ip(HOME), None)) == "guest"
    assert rules.refusal(Visitor(Role.TECHNICIAN, ip(HOME), None)) is None
    assert rules.refusal(Visitor(Role.EXPERT, ip(HOME), "CN")) is None


def test_what_the_laptop_demands_narrows_and_nothing_widens_it():
    wide = RegionRules(frozenset({"CN", "EU"}), RULES.places)
    from_eu, from_cn = Visitor(Role.EXPERT, ip(ABROAD), "EU"), Visitor(Role.EXPERT, ip(HOME), "CN")
    assert wide.refusal(from_eu) is None
    assert wide.refusal(from_eu, frozenset({"CN"})) == "account"
    assert wide.refusal(from_eu, frozenset({"CN"}), lifted=True) == "account"
    assert RULES.refusal(from_eu, lifted=True) is None
    assert RULES.refusal(Visitor(Role.EXPERT, ip(ABROAD), None), lifted=True) == "network", "a lift is for accounts"
    assert wide.refusal(from_cn, frozenset({"CN"})) is None
    assert wide.refusal(from_cn, frozenset()) == "account", "a demand that makes no sense lets nobody watch"
    assert RegionRules().refusal(from_cn, frozenset({"CN"})) == "network", "no list says where anybody is"
    assert wide.refusal(Visitor(Role.TECHNICIAN, ip(ABROAD), None), frozenset({"CN"})) is None


def test_a_demand_is_read_strictly():
    assert demanded_regions({}) is None
    assert demanded_regions({"regions": ["CN", "HK"]}) == {"CN", "HK"}
    for broken in ("CN", None, {"CN": 1}, ["cn; drop"], [7], ["CN"] * 17):
        assert demanded_regions({"regions": broken}) in (frozenset(), {"CN"} if broken == ["CN"] else frozenset())


def test_a_lock_without_networks_is_seen():
    assert RegionRules(frozenset({"CN", "JP"}), RULES.places).missing_networks() == ("JP",)
    assert RegionRules(frozenset({"CN"}), (Region("CN", ()),)).missing_networks() == ("CN",)


# -- the service -----------------------------------------------------------------------------------------------------


async def watch(session, service, path):
    """Whether a page's websocket opens; its first word then."""
    try:
        async with session.ws_connect(f"{service.url}{path}/watch") as socket_:
            message = await socket_.receive(timeout=120)
            return message.json()["type"] if message.type is WSMsgType.TEXT else message.type.name
    except aiohttp.WSServerHandshakeError as error:
        return error.status


async def test_every_way_in_is_closed_from_another_region(service):
    async with visitor() as laptop, visitor(ABROAD) as abroad:
        token, path = await technician(laptop, service)
        code = service.invite(path[3:], Role.EXPERT).code
        status, body = await post(abroad, service.url, "/redeem", {"invite": code, "name": "Li"})
        assert (status, body["error"]) == (403, "consult.region-refused")
        from_(abroad, HOME)
        status, body = await post(abroad, service.url, "/redeem", {"invite": code, "name": "Li"})
        assert status == 200, "an invite that was turned away is not used up"
        assert await watch(abroad, service, path) == "welcome"
        for elsewhere in (ABROAD, CITY, NOWHERE, "not an address"):
            from_(abroad, elsewhere)
            assert await watch(abroad, service, path) == 403
            for method, where in (("GET", "history?"), ("GET", "catalogue"), ("POST", "renew"), ("GET", "consent")):
                async with abroad.request(method, f"{service.url}{path}/{where}", json={}) as answer:
                    assert (answer.status, (await answer.json())["error"]) == (403, "consult.region-refused"), where
        from_(abroad, HOME)
        assert (await post(abroad, service.url, f"{path}/renew"))[0] == 200
        status, told = await get(laptop, service.url, f"{path}/region", token)
        assert status == 200
        assert {one["why"] for one in told["refused"]} == {"network"}
        assert told["refused"][0]["address"] == ABROAD
        assert (await get(abroad, service.url, f"{path}/region"))[0] == 403, "that is not for every expert"


async def test_no_route_about_a_room_forgets_the_lock(service):
    """Routes are taken from the program itself: one that is added later is locked too, or fails here."""
    from roomwalls import body_of, routes_of

    async with visitor() as laptop, visitor() as guest:
        _, path = await technician(laptop, service)
        assert (await invited(guest, service, path, "lead"))[0] == 200
        from_(guest, ABROAD)
        tried = 0
        for method, route, is_room, is_socket in routes_of(service):
            if not is_room or not route.startswith("/r/{room}/") or method == "HEAD":
                continue
            where = route.replace("{room}", path[3:])
            if is_socket:
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await guest.ws_connect(f"{service.url}{where}")
                assert refused.value.status == 403
            elif route.endswith("/enter"):
                continue  # by account: see below
            else:
                async with guest.request(method, f"{service.url}{where}", json=body_of(where)) as answer:
                    assert (await answer.json())["error"] == "consult.region-refused", (method, route)
            tried += 1
        assert tried > 8


async def test_an_account_of_another_region_enters_no_room(service):
    for name, region in (("zhang", "CN"), ("muller", "EU"), ("nobody", "")):
        add_account(service, name, region=region)
    async with visitor() as laptop:
        token, path = await technician(laptop, service)
        assert (await post(laptop, service.url, f"{path}/experts", {"allowed": True}, token))[0] == 200
        for name, address, wanted in (
            ("zhang", HOME, 200),
            ("zhang", ABROAD, 403),
            ("muller", HOME, 403),
            ("muller", ABROAD, 403),
            ("nobody", HOME, 403),
        ):
            async with visitor(address) as one:
                await sign_in(one, service, name)
                status, _ = await post(one, service.url, f"{path}/enter")
                assert status == wanted, (name, address)
                status, listed = await get(one, service.url, "/api/rooms")
                assert bool(listed["rooms"]) == (wanted == 200), "what may not be entered is not hinted at"


async def test_security_the_queue_its_notices_and_the_board_tell_no_other_region_of_a_room(service, clock, eventually):
    for name, role, region in (
        ("zhang", AccountRole.EXPERT, "CN"),
        ("chen", AccountRole.LEAD, "CN"),
        ("muller", AccountRole.EXPERT, "EU"),
        ("meier", AccountRole.LEAD, "EU"),
    ):
        add_account(service, name, role, region)
        service.state.put_account(dataclasses.replace(service.state.find_account(name), on_duty=True))
    heard = []
    service.notices.listen(heard.append)
    queue = next(part for part in service.parts if isinstance(part, QueuePart))
    async with contextlib.AsyncExitStack() as stack:
        laptop, *people = [await stack.enter_async_context(visitor()) for _ in range(5)]
        zhang, chen, muller, meier = people
        for session, name in zip(people, ("zhang", "chen", "muller", "meier"), strict=True):
            await sign_in(session, service, name)
        watch = await muller.ws_connect(f"{service.url}/api/notices/watch?after=0")
        token, path = await technician(laptop, service)
        agent = await stack.enter_async_context(
            laptop.ws_connect(f"{service.url}{path}/agent", headers={"Authorization": f"Bearer {token}"})
        )
        await agent.send_str(hello(report_of()))
        await agent.receive(timeout=120)
        assert (await post(laptop, service.url, f"{path}/escalate", {}, token))[0] == 200
        assert (await post(zhang, service.url, f"{path}/pass"))[0] == 200
        assert [one.to for one in heard if one.title.en.startswith("Gone on: no expert")] == [("chen",)]
        assert (await post(chen, service.url, f"{path}/pass"))[0] == 200
        assert queue.line.entries[path[3:]].stage == "everybody"
        await eventually(lambda: _kept(service) == len(heard))
        for session, sees in ((zhang, True), (chen, True), (muller, False), (meier, False)):
            found = (await get(session, service.url, "/api/queue"))[1]
            assert bool(found["waiting"]) == sees
            assert (path[3:] in str(found)) == sees
            notices = (await get(session, service.url, "/api/notices?after=0"))[1]["notices"]
            assert (path[3:] in str(notices)) == sees
            assert bool(notices) == sees
        assert path[3:] in str((await get(chen, service.url, "/api/board"))[1]["rooms"])
        assert path[3:] not in str((await get(meier, service.url, "/api/board"))[1]["rooms"])
        service.notices.publish(Notice("queued", "normal", Text("all", "all"), Text("", ""), clock.us()))
        told = [await watch.receive_json(timeout=60)]
        while not told[-1]["notices"]:
            told.append(await watch.receive_json(timeout=60))
        assert path[3:] not in str(told)
        assert [one["title"]["en"] for one in told[-1]["notices"]] == ["all"]
        await watch.close()


def _kept(service):
    return service.state.rows("SELECT count(*) FROM notice")[0][0]


async def test_who_is_in_goes_when_the_account_moves(service, clock, eventually):
    add_account(service, "zhang", region="CN")
    async with visitor() as laptop, visitor() as expert:
        token, path = await technician(laptop, service)
        await post(laptop, service.url, f"{path}/experts", {"allowed": True}, token)
        await sign_in(expert, service, "zhang")
        assert (await post(expert, service.url, f"{path}/enter"))[0] == 200
        async with expert.ws_connect(f"{service.url}{path}/watch") as socket_:
            assert (await socket_.receive(timeout=120)).json()["type"] == "welcome"
            add_account(service, "zhang", region="EU")
            clock.go(30)
            await eventually(lambda: not service.rooms[path[3:]].members)


async def test_a_session_seen_from_abroad_ends_the_connection_that_was_opened_at_home(service, eventually):
    async with visitor() as laptop, visitor() as expert:
        _, path = await technician(laptop, service)
        assert (await invited(expert, service, path))[0] == 200
        async with expert.ws_connect(f"{service.url}{path}/watch") as socket_:
            assert (await socket_.receive(timeout=120)).json()["type"] == "welcome"
            from_(expert, ABROAD)
            assert (await post(expert, service.url, f"{path}/renew"))[0] == 403
            await eventually(lambda: not service.rooms[path[3:]].members)


async def test_the_room_is_told_of_who_was_turned_away_without_an_address(service, clock):
    async with visitor() as laptop, visitor(ABROAD) as abroad:
        token, path = await technician(laptop, service)
        for _ in range(5):
            assert (await invited(abroad, service, path))[0] == 403
        told = [event for event in service.rooms[path[3:]].events_after(0) if event["kind"] == "region"]
        assert [event["body"] for event in told] == [{"refused": "network"}], "once a minute"
        assert ABROAD not in str(told)
        audit = [entry for _, entry in service.state.audit() if entry.what == "region-refused"]
        assert [entry.detail for entry in audit] == [f"network {ABROAD}"]
        clock.go(61)
        assert (await invited(abroad, service, path))[0] == 403
        assert len([e for e in service.rooms[path[3:]].events_after(0) if e["kind"] == "region"]) == 2
        assert len((await get(laptop, service.url, f"{path}/region", token))[1]["refused"]) == 6


async def test_technician_and_administrator_lift_it_together_for_accounts_and_for_hours(service, clock):
    add_account(service, "muller", region="EU")
    add_account(service, "chief", AccountRole.ADMIN)
    async with visitor() as laptop, visitor() as admin, visitor(ABROAD) as muller, visitor(ABROAD) as guest:
        token, path = await technician(laptop, service)
        await post(laptop, service.url, f"{path}/experts", {"allowed": True}, token)
        await sign_in(admin, service, "chief")
        await sign_in(muller, service, "muller")
        region = f"{path}/region"
        assert (await post(laptop, service.url, region, {"lift": True}, token))[0] == 400, "a reason is needed"
        status, state = await post(laptop, service.url, region, {"lift": True, "reason": "thermal"}, token)
        assert (status, state["lifted_until_us"], state["asked_by"]) == (200, 0, ["technician"])
        assert (await post(muller, service.url, f"{path}/enter"))[0] == 403
        assert (await post(muller, service.url, region, {"lift": True, "reason": "me"}))[0] == 401
        clock.go(1800)
        token = (await post(laptop, service.url, f"{path}/renew", token=token))[1]["token"]
        clock.go(1801)
        status, state = await post(admin, service.url, region, {"lift": True, "reason": "too late"})
        assert state["lifted_until_us"] == 0, "both within an hour"
        status, state = await post(laptop, service.url, region, {"lift": True, "reason": "thermal"}, token)
        assert state["lifted_until_us"] == clock.us() + 4 * 3600 * 1_000_000
        assert (await post(muller, service.url, f"{path}/enter"))[0] == 200
        assert await watch(muller, service, path) == "welcome"
        assert (await invited(guest, service, path))[0] == 403, "a guest without an account stays out"
        notes = [(one.what, one.who, one.detail) for _, one in service.state.audit() if "region-l" in one.what]
        assert ("region-lift", "chief", "admin: too late") in notes
        assert ("region-lift", "Wang", "technician: thermal") in notes
        assert (await post(laptop, service.url, region, {"lift": False}, token))[0] == 200
        assert await watch(muller, service, path) == 403, "one of them takes it back"


async def test_a_lift_ends_by_itself_and_outlives_a_restart(tmp_path, clock):
    config = privacy_config(tmp_path, clock, region="CN", regions=RULES)
    async with visitor() as laptop, visitor() as admin, visitor(ABROAD) as muller:
        async with running_service(config) as service:
            add_account(service, "muller", region="EU")
            add_account(service, "chief", AccountRole.ADMIN)
            token, path = await technician(laptop, service)
            await post(laptop, service.url, f"{path}/experts", {"allowed": True}, token)
            await sign_in(admin, service, "chief")
            for one, key in ((admin, None), (laptop, token)):
                assert (await post(one, service.url, f"{path}/region", {"lift": True, "reason": "x"}, key))[0] == 200
        async with running_service(config) as service:
            await sign_in(muller, service, "muller")
            assert (await post(muller, service.url, f"{path}/enter"))[0] == 200
            clock.go(4 * 3600 + 1)
            assert (await post(muller, service.url, f"{path}/enter"))[0] != 200


async def test_the_laptop_s_own_demand_shows_out_who_is_in_already(tmp_path, clock, eventually):
    rules = RegionRules(frozenset(), RULES.places)
    config = privacy_config(tmp_path, clock, regions=rules)
    async with (
        running_service(config) as service,
        visitor() as laptop,
        visitor(ABROAD) as abroad,
        visitor() as home,
    ):
        token, path = await technician(laptop, service)
        assert (await invited(abroad, service, path))[0] == 200, "the service itself has no rule"
        assert (await invited(home, service, path))[0] == 200
        async with (
            abroad.ws_connect(f"{service.url}{path}/watch") as out,
            laptop.ws_connect(f"{service.url}{path}/agent", headers={"Authorization": f"Bearer {token}"}) as agent,
        ):
            assert (await out.receive(timeout=120)).json()["type"] == "welcome"
            await agent.send_str(hello(report_of(), {"regions": ["CN"]}))
            assert (await agent.receive(timeout=120)).json()["type"] == "welcome"
            clock.go(5)
            await eventually(lambda: not service.rooms[path[3:]].members)
            assert await watch(abroad, service, path) == 403
            assert await watch(home, service, path) == "welcome"
            state = (await get(laptop, service.url, f"{path}/region", token))[1]
            assert (state["allowed"], state["demanded"]) == ([], ["CN"])


async def test_a_proxy_that_is_not_trusted_vouches_for_nobody(tmp_path, clock):
    config = dataclasses.replace(privacy_config(tmp_path, clock, regions=RULES), trusted_proxies=networks("10.0.0.0/8"))
    async with running_service(config) as service, visitor(HOME) as liar:
        code = service.invite_technician().code
        status, body = await post(liar, service.url, "/redeem", {"invite": code, "agent": True})
        assert (status, body["error"]) == (403, "consult.region-refused")


async def test_who_knocks_all_day_fills_no_audit(service):
    async with visitor() as laptop, visitor(ABROAD) as abroad:
        _, path = await technician(laptop, service)
        code = service.invite(path[3:], Role.EXPERT).code
        before = len(service.state.audit())
        answers = await asyncio.gather(*(post(abroad, service.url, "/redeem", {"invite": code}) for _ in range(20)))
        assert {status for status, _ in answers} == {403}
        assert len(service.state.audit()) - before == 1


async def test_security_what_is_held_about_a_car_is_not_taken_abroad(service):
    add_account(service, "chief", AccountRole.ADMIN, region="CN")
    add_account(service, "boss", AccountRole.ADMIN, region="EU")
    held = {"vin": "LHZEV4001N0001234"}
    async with visitor() as chief, visitor() as boss:
        await sign_in(chief, service, "chief")
        await sign_in(boss, service, "boss")
        assert (await post(chief, service.url, "/api/cars/held", held))[0] == 200
        assert (await post(boss, service.url, "/api/cars/held", held))[0] == 403
        from_(chief, ABROAD)
        for path in ("/api/cars/held", "/api/cars/forget"):
            status, body = await post(chief, service.url, path, held | {"reason": "x"})
            assert (status, body["error"]) == (403, "consult.region-refused")


async def test_administrators_see_which_rooms_are_locked_and_who_asks(service):
    for name, role in (("chief", AccountRole.ADMIN), ("li", AccountRole.LEAD)):
        add_account(service, name, role, region="CN")
    async with visitor() as laptop, visitor() as other, visitor() as chief, visitor() as li:
        token, path = await technician(laptop, service)
        _, quiet = await technician(other, service)
        heard = []
        service.notices.listen(heard.append)
        assert (await get(chief, service.url, "/api/regions"))[0] == 401
        await sign_in(chief, service, "chief")
        await sign_in(li, service, "li")
        assert (await get(li, service.url, "/api/regions"))[0] == 403
        lift = {"lift": True, "reason": "thermal  runaway"}
        for _ in range(3):
            assert (await post(laptop, service.url, f"{path}/region", lift, token))[0] == 200
        [notice] = heard
        assert (notice.kind, notice.room, "thermal" in str(notice)) == ("service", "", False), "for administrators"
        rooms = (await get(chief, service.url, "/api/regions"))[1]["rooms"]
        assert [(f"/r/{one['room']}", one["asked_by"], one["reason"]) for one in rooms] == [
            (path, ["technician"], "thermal runaway"),
            (quiet, [], ""),
        ]
        assert (await post(chief, service.url, f"{path}/region", lift))[0] == 200
        first = (await get(chief, service.url, "/api/regions"))[1]["rooms"][0]
        assert (first["lifted_until_us"] > 0, first["allowed"], first["refused"]) == (True, ["CN"], 0)
