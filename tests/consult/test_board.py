"""The board: who may look, what is counted, what is never on it."""

import asyncio
import json

import pytest
from noticekit import Clock, JsonReceiver, hook_for, make_notice
from roomwalls import PASSWORD, hashed_once
from servicekit import browser_like, redeem

from consult.accounts import Account, AccountRole
from consult.boardfigures import FIGURES, MINUTES, History, percentile
from consult.boardpart import BoardPart
from consult.service import ServiceConfig, running_service
from consult.servicestate import ServiceState


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def config(tmp_path, clock):
    return ServiceConfig(data=tmp_path / "rooms", state=tmp_path / "rooms" / "service.db", now_us=clock.now_us)


@pytest.fixture
async def http():
    async with browser_like() as session:
        yield session


async def sign_in(service, http, role):
    service.state.put_account(Account("li", display="李工", role=role, password=hashed_once(), on_duty=True))
    async with http.post(f"{service.url}/login", json={"name": "li", "password": PASSWORD}) as answer:
        assert answer.status == 200


async def board(service, http):
    async with http.get(f"{service.url}/api/board") as answer:
        assert answer.status == 200
        return await answer.json()


def part_of(service):
    return next(part for part in service.parts if isinstance(part, BoardPart))


@pytest.mark.parametrize(
    ("role", "status"),
    [
        (None, 401),
        (AccountRole.EXPERT, 403),
        (AccountRole.LEAD, 200),
        (AccountRole.AUDITOR, 200),
        (AccountRole.ADMIN, 200),
    ],
)
async def test_security_the_board_is_for_leads_auditors_and_administrators(role, status, service, http):
    if role is not None:
        await sign_in(service, http, role)
    async with http.get(f"{service.url}/api/board") as answer:
        assert answer.status == status
    async with http.get(f"{service.url}/board") as answer:
        assert answer.status == 200, "the page itself has nothing in it"


async def test_rooms_with_their_lines_and_rates(service, http, car, report, in_room, eventually):
    await sign_in(service, http, AccountRole.AUDITOR)
    async with browser_like() as guest, in_room(service, car, report) as agent:
        _, body, _ = await redeem(guest, service.url, (await agent.invite("expert")).code, name="Dr Ring")
        async with guest.ws_connect(f"{service.url}{body['path']}/watch") as channel:
            await channel.send_json({"type": "line", "rtt_ms": 42, "missing": 3, "fps": 58, "over": "wss"})
            room = service.room(agent.room)
            await eventually(lambda: any(one.line for one in room.members.values()))
            await eventually(lambda: part_of(service).rates.by_room.get(agent.room, (0, 0))[0] > 0)
            told = await board(service, http)
            (shown,) = told["rooms"]
            assert (shown["room"], shown["online"]) == (agent.room, True)
            assert shown["blocks_s"] > 0
            (person,) = shown["people"]
            assert person == {
                "role": "expert", "name": "Dr Ring", "carrier": "wss", "rtt_ms": 42, "missing": 3, "fps": 58,
                "lags": False, "dropped": person["dropped"],
            }  # fmt: skip
            text = json.dumps(told, ensure_ascii=False)
            assert report["vehicle"]["vin"] not in text
            assert told["service"]["memory_mb"] > 10
            assert told["service"]["disk_free_gb"] > 0
            assert told["service"]["versions"]["huizhen"]


async def test_security_a_lead_sees_neither_which_room_nor_who_where_no_expert_is_let_in(
    service, http, car, report, in_room
):
    await sign_in(service, http, AccountRole.LEAD)
    async with browser_like() as guest, in_room(service, car, report) as agent:
        _, body, _ = await redeem(guest, service.url, (await agent.invite("expert")).code, name="Dr Ring")
        async with guest.ws_connect(f"{service.url}{body['path']}/watch") as channel:
            await channel.receive()
            told = await board(service, http)
            assert [(one["room"], one["number"]) for one in told["rooms"]] == [("", 1)]
            text = json.dumps(told, ensure_ascii=False)
            assert agent.room not in text
            assert "Dr Ring" not in text
            service.let_experts_in(agent.room, True, "T")
            told = await board(service, http)
            assert [one["room"] for one in told["rooms"]] == [agent.room]
            assert [one["name"] for one in told["rooms"][0]["people"]] == ["Dr Ring"]


async def test_webhooks_stand_on_the_board_without_their_addresses(config, clock, http, eventually):
    import dataclasses

    robot = await JsonReceiver(clock).start()
    await robot.stop()
    hooked = dataclasses.replace(config, webhooks=(hook_for(robot, "box"),))
    async with running_service(hooked) as service:
        await sign_in(service, http, AccountRole.ADMIN)
        service.notices.publish(make_notice(1))
        told = {"webhooks": {"hooks": [{"reason": ""}]}}
        async with asyncio.timeout(120):
            while told["webhooks"]["hooks"][0]["reason"] != "unreachable":
                told = await board(service, http)
        (hook,) = told["webhooks"]["hooks"]
        assert (hook["name"], hook["kind"], hook["waiting"]) == ("box", "json", 1)
        assert str(robot.port) not in json.dumps(told)
        clock.moved_s += 90_000
        await eventually(lambda: any("notices-lost" in part.troubles() for part in service.parts))
        await sign_in(service, http, AccountRole.ADMIN)  # a day later
        told = await board(service, http)
        assert told["webhooks"]["dead"][0]["title"]["zh"] == "车辆等待会诊 1"
        assert "notices-lost" in told["troubles"]
        async with http.get(f"{service.url}/health") as answer:
            assert answer.status == 503
            assert "notices-lost" in (await answer.json())["reasons"]


async def test_the_board_says_of_the_service_itself_what_health_says(service, config, http):
    await sign_in(service, http, AccountRole.LEAD)
    assert (await board(service, http))["troubles"] == []
    moved = config.data.with_name("elsewhere")
    config.data.rename(moved)
    told = (await board(service, http))["troubles"]
    async with http.get(f"{service.url}/health") as answer:
        assert told == (await answer.json())["reasons"] == ["data-not-writable"]
    moved.rename(config.data)


async def test_a_point_a_minute_outlives_a_restart(config, clock, http, eventually):
    async with running_service(config) as service:
        await eventually(lambda: part_of(service).loop_ms is not None)
        for n in range(3):
            clock.moved_s += 61
            await eventually(lambda n=n: len(part_of(service).history.columns()["t_us"]) == n + 1)
    async with running_service(config) as service:
        await sign_in(service, http, AccountRole.LEAD)
        history = (await board(service, http))["history"]
        assert set(history) == {"t_us", *FIGURES}
        assert len(history["t_us"]) == 3
        assert history["rooms"] == [0, 0, 0]
        assert all(one > 10 for one in history["memory_mb"])
        assert history["loop_ms"][0] >= 0


def test_a_day_is_kept_and_no_more(tmp_path):
    start_us = 1_700_000_000_000_000
    with ServiceState(tmp_path / "x.db") as state:
        history = History(state)
        for n in range(MINUTES + 30):
            history.add(start_us + n * 60_000_000, {"rooms": n})
        again = History(state)
        again.load(start_us + (MINUTES + 30) * 60_000_000)
    for one in (history, again):
        rooms = one.columns()["rooms"]
        assert MINUTES - 1 <= len(rooms) <= MINUTES
        assert rooms[-1] == MINUTES + 29


def test_percentile_is_a_value_that_was_seen():
    assert percentile([], 0.95) is None
    assert percentile([7], 0.95) == 7
    assert percentile(range(1, 101), 0.95) == 95
    assert percentile(range(1, 21), 0.95) == 19
