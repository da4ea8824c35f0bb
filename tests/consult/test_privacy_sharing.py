"""Whether the network of workshops may remember a car: asked, kept, withdrawn, heeded."""

import argparse

import pytest
from networkkit import Person, Workshop, people_signing_in
from servicekit import browser_like
from test_review import PASSWORD, PROPOSAL, VIN, caught_up, finished_room, part_of, real, statement

from consult.accounts import Account, AccountRole, PasswordCheck
from consult.consenttexts import KINDS
from consult.deletion import delete_room
from consult.networkconfig import NetworkConfig
from consult.privacystore import PrivacyStore
from consult.service import ServiceConfig, running_service
from huizhen.console import standard
from huizhen.language import Translator
from huizhen.roomclosing import ask_statement, finish_room
from huizhen.roomconsents import RoomConsents


@pytest.fixture
def config(tmp_path):
    return ServiceConfig(data=tmp_path / "rooms", state=tmp_path / "rooms" / "service.db")


@pytest.fixture(scope="module")
def hashed():
    return PasswordCheck.hash("li", PASSWORD)


@pytest.fixture
async def sign_in(service, hashed):
    for name, role in (("li", AccountRole.LEAD), ("wu", AccountRole.EXPERT), ("boss", AccountRole.ADMIN)):
        service.state.put_account(Account(name, role=role, password=hashed))
    async with people_signing_in(service, PASSWORD) as enter:
        yield enter


def visits(service):
    return [room for (room,) in service.state.rows("SELECT room FROM network_visit")]


def words(service, room):
    return [one.is_given for one in PrivacyStore(service.state).consents(room=room) if one.kind == "sharing"]


@pytest.mark.parametrize(
    ("share", "said_before", "is_kept"),
    [(None, False, False), (False, False, False), (True, False, True), (False, True, False), (None, True, True)],
)
async def test_security_no_car_is_remembered_for_the_network_without_consent(
    share, said_before, is_kept, service, car, report, in_room, eventually
):
    body = statement() if share is None else statement(share=share)
    room = await finished_room(service, car, real(report), in_room, eventually, body=body, shares=said_before)
    assert visits(service) == ([room] if is_kept else [])
    assert words(service, room) == [True] * said_before + [share] * (share is not None)
    assert part_of(service).desk.store.owed() == [], "and it is not tried again"
    [draft] = part_of(service).desk.store.drafts("waiting")
    assert draft.room == room, "the service's own library learns all the same"


async def test_a_room_that_was_left_shares_nothing_and_a_lead_does_not_say_it_for_the_technician(
    service, car, report, in_room, eventually, sign_in
):
    li = await sign_in("li")
    left = await finished_room(service, car, real(report), in_room, eventually, shares=False)
    body = statement(share=True)
    led = await finished_room(service, car, real(report), in_room, eventually, body=body, finisher=li, shares=False)
    assert visits(service) == words(service, left) == words(service, led) == []


async def test_a_draft_goes_to_the_workshops_only_where_the_technician_agreed(
    service, car, report, in_room, eventually, sign_in, tmp_path
):
    wu, north = await sign_in("wu"), Workshop(tmp_path, "north")
    await north.join(service)
    for shares in (False, True):
        await finished_room(service, car, real(report), in_room, eventually, body=statement(), shares=shares)
        [draft] = (await wu.get("/api/drafts?state=waiting"))[1]["drafts"]
        accepted = await wu.post(f"/api/drafts/{draft['number']}/accept", {"proposal": PROPOSAL})
        assert accepted == (200, {"number": draft["number"], "shared": shares})
        assert (await north.case("sync"))["patterns"] == int(shares)


async def test_security_a_withdrawal_after_the_end_deletes_the_visit(
    service, car, report, in_room, eventually, sign_in, tmp_path
):
    wu, boss, north = await sign_in("wu"), await sign_in("boss"), Workshop(tmp_path, "north")
    await north.join(service)
    rooms = [await finished_room(service, car, real(report), in_room, eventually, body=statement()) for _ in range(2)]
    drafts = (await wu.get("/api/drafts?state=waiting"))[1]["drafts"]
    number = next(draft["number"] for draft in drafts if draft["room"] == rooms[0])
    assert (await wu.post(f"/api/drafts/{number}/accept", {"proposal": PROPOSAL}))[1]["shared"] is True
    assert (await north.case("sync"))["patterns"] == 1
    assert len((await north.case("history", VIN))["network"]["visits"]) == 2
    withdraws = {"kind": "sharing", "given": False}
    assert (await boss.post(f"/r/{rooms[0]}/consent", withdraws))[0] == 200
    assert visits(service) == [rooms[1]]
    assert (await north.case("sync"))["patterns"] == 0, "the fix of that car goes out no longer, and back in no library"
    delete_room(service, rooms[1], "asked for", "boss", service.config.now_us())
    assert visits(service) == [""], "the deletion's certificate says so"
    assert (await boss.post(f"/r/{rooms[1]}/consent", withdraws))[0] == 200, "it is found by the room's number"
    assert visits(service) == []
    assert (await north.case("history", VIN))["network"]["visits"] == []
    assert [one.who for _, one in service.state.audit() if one.what == "consent-withdrawn"] == ["boss", "boss"]
    assert words(service, rooms[0]) == [True, False]


async def test_security_only_technicians_and_administrators_withdraw_for_a_car(
    service, car, report, in_room, eventually, sign_in
):
    li, wu, boss = [await sign_in(name) for name in ("li", "wu", "boss")]
    withdraws = {"kind": "sharing", "given": False}
    async with in_room(service, car, real(report)) as agent:
        path = f"/r/{agent.room}"
        await agent.let_experts_in()
        for person in (li, wu):
            assert (await person.post(f"{path}/enter", {}))[0] == 200
            assert (await person.post(f"{path}/consent", withdraws))[0] == 403
        version = (await agent.privacy())["consents"]["sharing"]["version"]
        given = {"kind": "sharing", "given": True, "version": version}
        assert (await boss.post(f"{path}/consent", given))[0] == 403, "nobody agrees in the owner's place"
        assert (await boss.post(f"{path}/consent", {"kind": "media", "given": False}))[0] == 403
        assert (await boss.post("/r/000000000000/consent", withdraws))[0] == 410
        assert (await boss.post(f"{path}/consent", withdraws))[0] == 200
        room = agent.room
    await eventually(lambda: room not in service.rooms)
    for person in (li, wu):
        assert (await person.post(f"{path}/consent", withdraws))[0] == 401
    async with browser_like() as http:
        assert (await Person(http, service).post(f"{path}/consent", withdraws))[0] == 401


async def test_what_was_said_as_a_job_ended_is_not_lost_with_its_service(config, car, report, in_room, eventually):
    async with running_service(config) as service:
        body = statement(share=True)
        room = await finished_room(service, car, real(report), in_room, eventually, body=body, shares=False)
        with service.state.transaction() as db:  # as a service leaves it that is killed right after the room's end
            db.execute("DELETE FROM review_room")
            db.execute("DELETE FROM review_draft")
            db.execute("DELETE FROM network_visit")
            db.execute("DELETE FROM consent")
        await caught_up(service, eventually)
        assert (visits(service), words(service, room)) == ([room], [True])
        PrivacyStore(service.state).put_consent(PrivacyStore(service.state).consents(room=room)[-1])
        with service.state.transaction() as db:
            db.execute("UPDATE consent SET given = 0 WHERE n = (SELECT max(n) FROM consent)")
            db.execute("DELETE FROM review_room")
            db.execute("DELETE FROM network_visit")
        await caught_up(service, eventually)
        assert visits(service) == [], "what was withdrawn since is not read out of the record again"


async def test_what_was_remembered_before_anybody_was_asked_goes(config, car, report, in_room, eventually):
    async with running_service(config) as service:
        rooms = [await finished_room(service, car, real(report), in_room, eventually, body=statement()) for _ in "ab"]
        assert visits(service) == rooms
        with service.state.transaction() as db:
            db.execute("DELETE FROM consent WHERE room = ?", (rooms[0],))
            db.execute("UPDATE network_visit SET site = 3, uid = 'other' WHERE room = ?", (rooms[0],))
            db.execute("INSERT INTO network_visit SELECT 99, 0, 'old', key, car, room, received_us, day, what, model,"
                       " outcome, body FROM network_visit WHERE uid = 'other'")  # fmt: skip
    async with running_service(config) as service:
        await eventually(lambda: len(visits(service)) == 2)
        kept = service.state.rows("SELECT site, room FROM network_visit ORDER BY id")
        assert kept == [(3, rooms[0]), (0, rooms[1])], "a workshop's own word about its car is its own"


async def test_the_proof_lasts_as_long_as_what_was_agreed_to(service, car, report, in_room, eventually):
    room = await finished_room(service, car, real(report), in_room, eventually, body=statement())
    store, now_us = PrivacyStore(service.state), service.config.now_us()
    delete_room(service, room, "asked for", "boss", now_us)
    store.forget_consents(now_us + 1, 1)
    assert words(service, room) == [True]
    store.forget_consents(now_us + 1, now_us + 1)
    assert words(service, room) == []


async def test_a_service_without_a_network_asks_nothing(tmp_path, car, report, in_room, capsys):
    off = NetworkConfig(on=False)
    for more in ({"state": tmp_path / "service.db", "network": off}, {}):
        config = ServiceConfig(data=tmp_path / "rooms", **more)
        async with running_service(config) as service, in_room(service, car, report) as agent:
            told = await agent.privacy()
            assert (told["visit_days"], set(told["consents"])) == (0, set(KINDS) - {"notice"})
            assert "1095" not in told["notice"]["en"] + told["notice"]["zh"]
            asked = RoomConsents(agent, real(report), standard(Translator("en")))
            assert await asked.sharing_text() == ""
    assert capsys.readouterr().err == ""


# -- the terminal ------------------------------------------------------------------------------------------------------


async def lines_of(*typed):
    for word in typed:
        yield word


@pytest.mark.parametrize(
    ("typed", "share"), [(["y"], True), (["是"], True), ([""], False), (["n"], False), (["perhaps", "Y"], True)]
)
@pytest.mark.parametrize("lang", ["en", "zh"])
async def test_closing_in_the_terminal_asks_and_nothing_typed_is_no(typed, share, lang, capsys):
    console = standard(Translator(lang))
    answers = lines_of("module", "weak", "replaced", "", "1", "", *typed)
    said = await ask_statement(answers, None, console, sharing="WHAT IS REMEMBERED")
    assert said["share"] is share
    assert "WHAT IS REMEMBERED" in capsys.readouterr().out
    assert "share" not in await ask_statement(lines_of("module", "weak", "replaced", "", "1", ""), None, console)


@pytest.mark.parametrize("answer", ["y", ""])
async def test_what_is_answered_in_the_terminal_is_kept_with_its_wording(
    answer, service, car, report, in_room, eventually
):
    seen = real(report)
    async with in_room(service, car, seen) as agent:
        await eventually(lambda: service.rooms[agent.room].report)
        room, console = agent.room, standard(Translator("zh"))
        typed = lines_of("电池模组", "单体偏弱", "更换模组", "", "1", "", answer)
        asked = RoomConsents(agent, seen, console)
        assert await finish_room("/close", typed, agent, None, argparse.Namespace(json=False), console, asked)
        await eventually(lambda: agent.finished is not None)
    await eventually(lambda: room not in service.rooms and not part_of(service)._taking)
    assert visits(service) == ([room] if answer else [])
    [one] = [one for one in PrivacyStore(service.state).consents(room=room) if one.kind == "sharing"]
    assert (one.is_given, one.name, one.lang) == (bool(answer), "王师傅", "zh")
    assert "1095" in PrivacyStore(service.state).texts()[one.version]["text"]["zh"]


async def test_the_terminal_s_words_reach_the_service(service, car, report, in_room, eventually, sign_in, capsys):
    await sign_in("wu")
    async with in_room(service, car, real(report)) as agent:
        await eventually(lambda: service.rooms[agent.room].report)
        own = RoomConsents(agent, real(report), standard(Translator("en")))

        async def typed(words):
            capsys.readouterr()
            assert await own.take(words)
            out, err = capsys.readouterr()
            return out + err

        assert not await own.take("/invite")
        assert not await own.take("days 3")
        assert "1095 days" in await own.sharing_text()
        assert await RoomConsents(agent, report, standard(Translator("en"))).sharing_text() == "", "a simulated car"
        assert "Nothing was agreed to" in await typed("/withdraw")
        version = (await agent.privacy())["consents"]["sharing"]["version"]
        await agent.ask("POST", "consent", {"kind": "sharing", "given": True, "version": version})
        await agent.escalate(language="en")
        listed = await typed("/withdraw")
        assert "/withdraw sharing" in listed
        assert "/withdraw experts" in listed
        assert "withdrawn: the visit" in await typed("/withdraw sharing")
        assert words(service, agent.room) == [True, False]
        assert "/escalate asks again" in await typed("/withdraw experts")
        await eventually(lambda: agent.room not in queue_of(service))
        assert not service.entries[agent.room].lets_experts_in
        assert "withdraw one of" in await typed("/withdraw everything")
        assert "kept for 90 days" in await typed("/days")
        assert "kept for 7 days" in await typed("/days 7")
        assert PrivacyStore(service.state).room(agent.room).retention_days == 7
        for wrong in ("0", "99999", "x", "７", "1.5"):
            assert "a number from 1 to 3650" in await typed(f"/days {wrong}")
        assert "sends no position at all" in await typed("/position off")
        service.rooms[agent.room].desk.allows = {"position": "coarse"}
        assert "as this laptop sends it" in await typed("/position")
        assert "gets no position" in await typed("/position off")
        assert service.rooms[agent.room].positions.is_withdrawn
        assert "stays in the car" in await typed("/position on"), "what one agrees to is read first"
        assert not service.rooms[agent.room].positions.is_withdrawn
        assert "/position off" in await typed("/position perhaps")


def queue_of(service):
    [part] = [part for part in service.parts if type(part).__name__ == "QueuePart"]
    return part.line.entries


async def test_a_service_that_does_not_say_what_it_keeps_is_told_no(service, car, report, in_room, capsys, monkeypatch):
    async with in_room(service, car, real(report)) as agent:
        own = RoomConsents(agent, real(report), standard(Translator("en")))
        monkeypatch.setattr(agent, "server", "http://127.0.0.1:9")
        assert await own.sharing_text() == ""
        assert "remembers nothing" in capsys.readouterr().err
        assert await own.take("/days")
        assert capsys.readouterr().err
        monkeypatch.undo()
