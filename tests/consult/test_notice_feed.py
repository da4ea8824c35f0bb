"""Notices for the pages of who is signed in: to whom they come, and to whom they do not."""

import asyncio
import dataclasses

import aiohttp
import pytest
from noticekit import Clock, make_notice
from roomwalls import PASSWORD, hashed_once
from servicekit import browser_like

from consult.accounts import Account, AccountRole
from consult.noticefeed import concerns
from consult.service import ServiceConfig, running_service
from consult.webhookshapes import KeptNotice


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def config(tmp_path, clock):
    return ServiceConfig(data=tmp_path / "rooms", state=tmp_path / "rooms" / "service.db", now_us=clock.now_us)


async def sign_in(service, http, name="li", **more):
    service.state.put_account(Account(name, password=hashed_once(), **{"on_duty": True, **more}))
    async with http.post(f"{service.url}/login", json={"name": name, "password": PASSWORD}) as answer:
        assert answer.status == 200


@pytest.fixture
async def http():
    async with browser_like() as session:
        yield session


async def hear(channel):
    return await asyncio.wait_for(channel.receive_json(), 30)


def test_who_is_concerned():
    def told(account, **more):
        return concerns(KeptNotice(1, "x", make_notice(**more)), account)

    expert = Account("li", on_duty=True)
    assert told(expert)
    assert told(expert, to=("li", "wang"))
    assert not told(expert, to=("wang",))
    away = dataclasses.replace(expert, on_duty=False)
    assert not told(away)
    assert told(away, to=("li",)), "who is named hears of it, on duty or not"
    admin = Account("boss", role=AccountRole.ADMIN)
    assert told(admin, kind="service")
    assert not told(admin, kind="queued")
    assert not told(Account("audit", role=AccountRole.AUDITOR, on_duty=True))


async def test_a_page_hears_what_it_missed_and_what_comes(service, http, eventually):
    await sign_in(service, http)
    async with http.get(f"{service.url}/api/notices") as answer:
        assert await answer.json() == {"head": 0, "notices": []}
    service.notices.publish(make_notice(1))
    service.notices.publish(make_notice(2, to=("wang",)))
    service.notices.publish(make_notice(3, to=("li", "wang")))
    part = next(part for part in service.parts if hasattr(part, "feed"))
    await eventually(lambda: part.feed._head == 3)
    async with http.get(f"{service.url}/api/notices?after=0") as answer:
        told = await answer.json()
    assert [one["n"] for one in told["notices"]] == [1, 3]
    assert "to" not in told["notices"][0]
    async with http.ws_connect(f"{service.url}/api/notices/watch?after=1") as channel:
        first = await hear(channel)
        assert (first["head"], [one["n"] for one in first["notices"]]) == (3, [3])
        service.notices.publish(make_notice(4, severity="danger"))
        told = await hear(channel)
        assert [(one["n"], one["severity"]) for one in told["notices"]] == [(4, "danger")]
        async with http.post(f"{service.url}/api/duty", json={"on_duty": False}) as answer:
            assert answer.status == 200
        service.notices.publish(make_notice(5))
        service.notices.publish(make_notice(6, to=("li",)))
        assert [one["n"] for one in (await hear(channel))["notices"]] == [6], "off duty at once"


async def test_numbers_go_on_after_a_restart(config, http):
    async with running_service(config) as service:
        service.notices.publish(make_notice(1))
    async with running_service(config) as service:
        await sign_in(service, http)
        async with http.ws_connect(f"{service.url}/api/notices/watch?after=0") as channel:
            told = await hear(channel)
            assert [one["title"]["en"] for one in told["notices"]] == ["A car waits 1"]
            service.notices.publish(make_notice(2))
            assert [one["n"] for one in (await hear(channel))["notices"]] == [2]


async def test_security_notices_are_for_who_is_signed_in(service, http, monkeypatch):
    import consult.noticefeed

    for path in ("/api/notices", "/api/notices?after=0", "/api/notices/watch"):
        async with http.get(f"{service.url}{path}") as answer:
            assert answer.status == 401, path
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.ws_connect(f"{service.url}/api/notices/watch")
    assert refused.value.status == 401
    await sign_in(service, http)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.ws_connect(f"{service.url}/api/notices/watch", headers={"Origin": "http://evil.example"})
    assert refused.value.status == 403
    monkeypatch.setattr(consult.noticefeed, "_CHECK_S", 0.2)
    async with http.ws_connect(f"{service.url}/api/notices/watch") as channel:
        await hear(channel)
        async with http.post(f"{service.url}/logout", json={}) as answer:
            assert answer.status == 200
        closing = await asyncio.wait_for(channel.receive(), 30)
        assert (closing.type, closing.data) == (aiohttp.WSMsgType.CLOSE, 4401), "signed out is signed out"


async def test_a_page_that_talks_is_shown_out(service, http, eventually):
    await sign_in(service, http)
    async with http.ws_connect(f"{service.url}/api/notices/watch") as channel:
        await hear(channel)
        await channel.send_str("hello?")
        closing = await asyncio.wait_for(channel.receive(), 30)
        assert closing.type is aiohttp.WSMsgType.CLOSE
    await eventually(lambda: not service.sockets)


@pytest.mark.parametrize("after", ["-1", "x", "1" * 16, "١"])
async def test_a_number_that_is_none_is_refused(after, service, http):
    await sign_in(service, http)
    async with http.get(f"{service.url}/api/notices", params={"after": after}) as answer:
        assert answer.status == 400
