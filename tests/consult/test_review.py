"""What rooms leave behind: drafts that somebody else reviews, fixes that go out, problems that stay for research."""

import asyncio
import json

import pytest
from networkkit import Person, Workshop, command, files_without, people_signing_in
from servicekit import browser_like

from casebase.library import Library
from consult.accounts import Account, AccountRole, PasswordCheck
from consult.closing import check_statement, consultation
from consult.errors import StateBroken
from consult.networkkeys import load_keys
from consult.reviewdesk import ReviewDesk, library_path
from consult.roomtold import what_room_tells
from consult.service import ServiceConfig, running_service
from consult.servicestate import ServiceState

PASSWORD = "correct horse battery"
VIN = "LHZEV4001N0001234"
PROPOSAL = {
    "fix": "", "component": "cell module", "failure_mode": "weak cell", "action": "replace module 3",
    "title": {"en": "Weak cell in module 3", "zh": "3 号模组单体偏弱"},
    "text": {"en": "Replace module 3, then balance", "zh": "更换 3 号模组后均衡"}, "outcome": "fixed",
}  # fmt: skip


@pytest.fixture(scope="module")
def hashed():
    return PasswordCheck.hash("li", PASSWORD)


@pytest.fixture
def config(tmp_path):
    return ServiceConfig(data=tmp_path / "rooms", state=tmp_path / "rooms" / "service.db")


@pytest.fixture
def accounts(service, hashed):
    for name, role in (
        ("li", AccountRole.LEAD),
        ("wu", AccountRole.EXPERT),
        ("eye", AccountRole.AUDITOR),
        ("boss", AccountRole.ADMIN),
    ):
        service.state.put_account(Account(name, role=role, password=hashed))


@pytest.fixture
def notices(service):
    heard = []
    service.notices.listen(heard.append)
    return heard


@pytest.fixture
async def sign_in(service, accounts):
    async with people_signing_in(service, PASSWORD) as enter:
        yield enter


def statement(**more):
    return {
        "lang": "zh", "component": "电池模组", "failure_mode": "单体偏弱", "action": "更换模组", "outcome": "fixed",
        "note": "王师傅 13800138000", "tried": [{"what": "均衡", "result": "无效"}], **more,
    }  # fmt: skip


async def finished_room(service, car, report, in_room, eventually, *, body=None, finisher=None, shares=True):
    """A room whose job is finished by the technician, or by an expert; what it left is there when this ends."""
    async with in_room(service, car, report) as agent:
        await eventually(lambda: service.rooms[agent.room].report)
        room = agent.room
        if shares:
            version = (await agent.privacy())["consents"]["sharing"]["version"]
            await agent.ask("POST", "consent", {"kind": "sharing", "given": True, "version": version})
        if finisher is not None:
            await agent.let_experts_in()
            assert (await finisher.post(f"/r/{room}/enter", {}))[0] == 200
            async with finisher.http.ws_connect(f"{service.url}/r/{room}/watch") as channel:
                await channel.send_json({"type": "finish", "id": "f1", "body": body or statement()})
                await eventually(lambda: service.rooms[room].ending.document is not None)
        elif body is not None:
            agent.finish(body)
            await eventually(lambda: service.rooms.get(room) is None or service.rooms[room].ending.document)
    await eventually(lambda: room not in service.rooms)
    [part] = [part for part in service.parts if type(part).__name__ == "ReviewPart"]
    await eventually(lambda: not part._taking)
    return room


def real(report, **more):
    return {**report, "simulated": False, **more}


async def test_a_draft_is_reviewed_by_somebody_else_and_goes_out(
    service, car, report, in_room, eventually, sign_in, notices, tmp_path
):
    li, wu = await sign_in("li"), await sign_in("wu")
    room = await finished_room(service, car, real(report), in_room, eventually, body=statement(), finisher=li)
    [draft] = (await li.get("/api/drafts?state=waiting"))[1]["drafts"]
    assert (draft["room"], draft["own"]) == (room, True)
    number = draft["number"]
    assert (await li.post(f"/api/drafts/{number}/accept", {"proposal": PROPOSAL}))[1]["error"] == "consult.own-draft"
    assert (await li.post(f"/api/drafts/{number}/change", {"proposal": PROPOSAL}))[0] == 403
    assert (await li.post(f"/api/drafts/{number}/reject", {"reason": "x"}))[0] == 403
    [draft] = (await wu.get("/api/drafts"))[1]["drafts"]
    assert draft["own"] is False
    said = json.dumps(draft, ensure_ascii=False)
    assert VIN not in said
    assert "13800138000" not in said
    assert draft["car"] == {
        "make": "huizhen", "model": "ev400", "model_year": 2022, "mileage_km": None, "simulated": False,
    }  # fmt: skip
    assert {dtc["code"] for dtc in draft["seen"]["dtcs"]} == {"P0DE6-16", "P0BBD-85"}
    assert draft["said"]["tried"] == [{"what": "均衡", "result": "无效"}]
    status, told = await wu.post(f"/api/drafts/{number}/accept", {})
    assert (status, told["error"]) == (400, "consult.review-incomplete"), "the other language is missing"
    assert (await wu.post(f"/api/drafts/{number}/change", {"proposal": PROPOSAL, "reason": "clearer"}))[0] == 200
    [draft] = (await wu.get("/api/drafts?state=waiting"))[1]["drafts"]
    assert (draft["proposal"], draft["reviewer"], draft["reason"]) == (PROPOSAL, "wu", "clearer")
    assert (await wu.post(f"/api/drafts/{number}/accept", {}))[1] == {"number": number, "shared": True}
    assert (await wu.post(f"/api/drafts/{number}/accept", {}))[1]["error"] == "consult.draft-over"
    [draft] = (await wu.get("/api/drafts?state=accepted"))[1]["drafts"]
    assert (draft["reviewer"], draft["shared"]) == ("wu", True)
    assert [notice.kind for notice in notices if notice.kind == "draft"] == ["draft"]

    with Library.open(library_path(service.config)) as library:
        [case] = list(library.cases.all())
        assert case["outcome"] == "fixed"
    async with files_without(tmp_path / "rooms", b"13800138000", VIN.encode(), names="*.db*"):
        shop = Workshop(tmp_path, "north")
        await shop.join(service)
        heard = await shop.case("sync")
        assert (heard["patterns"], heard["new"]) == (1, 1)
        found = await shop.case("find", "--dtc", "P0DE6-16@bms", "--make", "huizhen", "--model", "ev400")
        assert "3 号模组单体偏弱" in {match["title"]["zh"] for match in found["matches"]}
    [listed] = (await command("consult", "drafts", "--data", service.config.data, "--json"))["drafts"]
    assert listed["state"] == "accepted"
    audit = [one for _, one in service.state.audit() if one.what.startswith("draft-")]
    assert [(one.what, one.who) for one in audit] == [("draft-change", "wu"), ("draft-accept", "wu")]


async def test_a_draft_that_a_killed_service_left_in_its_library_is_listed(
    service, car, report, in_room, eventually, sign_in
):
    li = await sign_in("li")
    room = await finished_room(service, car, real(report), in_room, eventually, body=statement())
    with service.state.transaction() as db:
        db.execute("DELETE FROM review_draft")
    [draft] = (await li.get("/api/drafts?state=waiting"))[1]["drafts"]
    assert (draft["room"], draft["own"]) == (room, False)
    assert (await li.post(f"/api/drafts/{draft['number']}/accept", {"proposal": PROPOSAL}))[0] == 200


def part_of(service):
    [part] = [part for part in service.parts if type(part).__name__ == "ReviewPart"]
    return part


async def caught_up(service, eventually):
    """As after an hour, or at the next start."""
    part_of(service)._again_s = 0.0
    await eventually(lambda: part_of(service)._again_s and not part_of(service)._taking)


@pytest.mark.parametrize("is_finished", [True, False])
async def test_what_could_not_be_kept_when_a_room_ended_is_kept_later(
    is_finished, service, car, report, in_room, eventually, sign_in, monkeypatch
):
    li, wu = await sign_in("li"), await sign_in("wu")
    seen = real(report, cases={"verdict": "expert", "matches": [{"case_id": "x"}]})

    def broken(*_, **__):
        raise StateBroken("service.db", "database is locked")

    with monkeypatch.context() as patched:
        patched.setattr(type(part_of(service).desk), "take_room", broken)
        words = {"body": statement(), "finisher": li} if is_finished else {}
        room = await finished_room(service, car, seen, in_room, eventually, **words)
        assert service.state.rows("SELECT room FROM network_visit") == []
        assert [owed.ident for owed in part_of(service).desk.store.owed()] == [room]
    await caught_up(service, eventually)
    assert service.state.rows("SELECT room FROM network_visit") == [(room,)]
    drafts = (await li.get("/api/drafts?state=waiting"))[1]["drafts"]
    assert [(draft["room"], draft["own"]) for draft in drafts] == ([(room, True)] if is_finished else [])
    assert [draft["own"] for draft in (await wu.get("/api/drafts"))[1]["drafts"]] == ([False] if is_finished else [])
    await caught_up(service, eventually)
    assert part_of(service).desk.store.owed() == []
    assert len(service.state.rows("SELECT room FROM network_visit")) == 1


async def test_a_room_that_a_killed_service_ended_tells_it_at_the_next_start(
    config, hashed, car, report, in_room, eventually
):
    async with running_service(config) as service:
        room = await finished_room(service, car, real(report), in_room, eventually, body=statement())
        with service.state.transaction() as db:  # as it stood when the record was closed and nothing else was done
            db.execute("UPDATE room SET closed_us = NULL, closed_code = NULL")
            db.execute("DELETE FROM review_room")
            db.execute("DELETE FROM review_draft")
            db.execute("DELETE FROM network_visit")
        library_path(config).unlink()
    async with running_service(config) as service:
        await eventually(lambda: service.state.rows("SELECT room FROM network_visit") == [(room,)])
        assert [row.room for row in part_of(service).desk.store.drafts("waiting")] == [room]


async def test_a_record_that_is_gone_is_not_waited_for(service, car, report, in_room, eventually):
    room = await finished_room(service, car, real(report), in_room, eventually, body=statement())
    with service.state.transaction() as db:
        db.execute("DELETE FROM review_room")
    for path in service.config.data.glob(f"*{room}*"):
        path.unlink() if path.is_file() else None
    await caught_up(service, eventually)
    assert part_of(service).desk.store.owed() == []


async def test_a_room_that_tells_of_no_fault_is_no_failure(service, car, report, in_room, eventually, caplog):
    caplog.set_level("INFO", logger="consult")
    healthy = real(
        {**report, "dtcs": [], "findings": [], "battery": None, "features": {}}, cases={"verdict": "unknown"}
    )
    await finished_room(service, car, healthy, in_room, eventually)
    assert part_of(service).desk.store.owed() == []
    said = [record for record in caplog.records if record.name == "consult.reviewroutes"]
    assert [(record.levelname, "tells of no fault" in record.getMessage()) for record in said] == [("INFO", True)]


def test_a_room_of_figures_alone_keeps_its_name_and_no_vin_is_no_car(config, report):
    ident = "096013424127"
    seen = real(report, vehicle={**report["vehicle"], "vin": "unknown"}, cases={"verdict": "brand-new"})
    said = check_statement(statement(outcome="not-fixed"))
    document = consultation(ident, seen, said, opened_us=1, closed_us=2)
    told = what_room_tells(ident, seen, document, "li", opened_us=1, closed_us=2)
    assert told.verdict == "", "one that nobody here knows"
    with ServiceState(config.state) as state:
        desk, keys = ReviewDesk(config, state), load_keys(config.state.parent, config.now_us)
        desk.take_room(told.document, verdict="", first="", author="li", keys=keys, is_finished=True, is_shared=True)
        assert state.rows("SELECT room, key, car FROM network_visit") == [(ident, None, None)]
        assert state.rows("SELECT room, author FROM review_draft") == [(ident, "li")]
        assert state.rows("SELECT room FROM research_room") == [(ident,)]


async def test_a_draft_is_rejected_for_a_reason_and_goes_nowhere(
    service, car, report, in_room, eventually, sign_in, tmp_path
):
    wu = await sign_in("wu")
    await finished_room(service, car, real(report), in_room, eventually, body=statement())
    [draft] = (await wu.get("/api/drafts"))[1]["drafts"]
    path = f"/api/drafts/{draft['number']}/reject"
    assert (await wu.post(path, {"reason": " "}))[1]["error"] == "consult.review-incomplete"
    assert (await wu.post(path, {"reason": "not what cured it"}))[0] == 200
    [draft] = (await wu.get("/api/drafts"))[1]["drafts"]
    assert (draft["state"], draft["reason"], draft["car"]) == ("rejected", "not what cured it", None)
    with Library.open(library_path(service.config)) as library:
        assert list(library.cases.all()) == []


@pytest.mark.parametrize(
    ("proposal", "error"),
    [
        ({**PROPOSAL, "title": {"en": "x", "zh": ""}}, "consult.review-incomplete"),
        ({**PROPOSAL, "action": ""}, "consult.review-incomplete"),
        ({**PROPOSAL, "action": "call 13800138000"}, "consult.review-incomplete"),
        ({**PROPOSAL, "title": {"en": VIN, "zh": "x"}}, "consult.review-incomplete"),
        ({**PROPOSAL, "outcome": "maybe"}, "consult.review-incomplete"),
        ({**PROPOSAL, "fix": "no-such-fix"}, "consult.review-incomplete"),
        ({**PROPOSAL, "more": "x"}, "consult.review-incomplete"),
        ("x", "consult.review-incomplete"),
    ],
)
async def test_what_makes_no_sense_is_not_accepted(service, car, report, in_room, eventually, sign_in, proposal, error):
    wu = await sign_in("wu")
    service_desk(service).store.open_draft(take_draft(service, report), "0" * 12, "", 1)
    [draft] = (await wu.get("/api/drafts"))[1]["drafts"]
    status, told = await wu.post(f"/api/drafts/{draft['number']}/accept", {"proposal": proposal})
    assert (status, told["error"]) == (400, error)
    assert (await wu.get("/api/drafts"))[1]["drafts"][0]["state"] == "waiting"


def service_desk(service):
    [part] = [part for part in service.parts if type(part).__name__ == "ReviewPart"]
    return part.desk


def take_draft(service, report):
    """A draft as a room leaves one, without the room."""
    from consult.closing import consultation

    told = consultation(
        "0" * 12, real(report), statement(), opened_us=1_760_000_000_000_000, closed_us=1_760_000_100_000_000
    )
    with Library.open(library_path(service.config), create=True) as library:
        return library.drafts.take(told)[0]


async def test_who_only_looks_decides_nothing(service, report, sign_in):
    number = await asyncio.to_thread(take_draft, service, report)
    service_desk(service).store.open_draft(number, "0" * 12, "", 1)
    for name in ("eye", "boss"):
        person = await sign_in(name)
        assert (await person.get("/api/drafts"))[1]["may_decide"] is False
        for what in ("accept", "change", "reject"):
            status, told = await person.post(f"/api/drafts/{number}/{what}", {"proposal": PROPOSAL, "reason": "x"})
            assert (status, told["error"]) == (403, "consult.role-refused")
        assert (await person.post("/api/research/1", {"state": "closed"}))[0] == 403
    async with browser_like() as http:
        stranger = Person(http, service)
        assert (await stranger.get("/api/drafts"))[0] == (await stranger.get("/api/research"))[0] == 401


async def test_a_simulated_car_teaches_nothing(service, car, report, in_room, eventually, sign_in):
    wu = await sign_in("wu")
    await finished_room(service, car, report, in_room, eventually, body=statement(outcome="not-fixed"))
    [draft] = (await wu.get("/api/drafts"))[1]["drafts"]
    assert draft["car"]["simulated"] is True
    told = await wu.post(f"/api/drafts/{draft['number']}/accept", {"proposal": PROPOSAL})
    assert told[1] == {"number": draft["number"], "shared": False}
    assert service.state.rows("SELECT * FROM network_visit") == []
    assert (await wu.get("/api/research"))[1]["items"] == []


async def test_what_ends_without_repair_goes_to_research_and_the_answer_comes_back(
    service, car, report, in_room, eventually, sign_in, notices, tmp_path
):
    wu = await sign_in("wu")
    body = statement(fix="weak-cell", component="", failure_mode="", action="", outcome="not-fixed")
    rooms = [await finished_room(service, car, real(report), in_room, eventually, body=body) for _ in range(3)]
    [item] = (await wu.get("/api/research?state=open"))[1]["items"]
    assert item["rules"] == ["room", "three-in-a-row"]
    assert (item["failed"], item["jobs"]) == (3, 3)
    assert {each["room"] for each in item["rooms"]} == set(rooms)
    assert [notice.kind for notice in notices if notice.kind == "research"] == ["research"], "once, not thrice"
    [told] = (await command("consult", "research", "--data", service.config.data, "--json"))["items"]
    assert told["evidence"]["d3|bms|P0DE6|16"] == 3
    assert all(each["record"].endswith(f"{each['room']}.room") for each in told["rooms"])
    number = item["number"]
    note = {"en": "Check the busbar of module 3 first", "zh": "先检查 3 号模组母排"}
    assert (await wu.post(f"/api/research/{number}", {"state": "taken"}))[0] == 200
    status, _ = await wu.post(f"/api/research/{number}", {"state": "answered", "note": {"en": "x", "zh": ""}})
    assert status == 400
    assert (await wu.post(f"/api/research/{number}", {"state": "answered", "note": note}))[0] == 200
    assert (await wu.post("/api/research/999", {"state": "closed"}))[1]["error"] == "consult.research-unknown"
    shop = Workshop(tmp_path, "north")
    await shop.join(service)
    assert (await shop.case("sync"))["notes"] == 1
    question = ("find", "--dtc", "P0DE6-16@bms", "--make", "huizhen", "--model", "ev400")
    found = await shop.case(*question)
    assert [each["note"] for each in found["notes"]] == [note]
    text = await command("case", *question, "--library", shop.path, "--lang", "zh")
    assert "研发答复：先检查 3 号模组母排" in text


async def test_a_room_that_is_left_without_a_word_is_unsolved(service, car, report, in_room, eventually, sign_in):
    wu = await sign_in("wu")
    room = await finished_room(service, car, real(report), in_room, eventually)
    assert (await wu.get("/api/drafts"))[1]["drafts"] == []
    [item] = (await wu.get("/api/research"))[1]["items"]
    assert (item["rules"], [each["room"] for each in item["rooms"]]) == (["room"], [room])


async def test_a_customer_who_wants_nothing_remembered_is_heard(service, car, report, in_room, eventually, sign_in):
    wu = await sign_in("wu")
    await finished_room(service, car, real(report, network=False), in_room, eventually, body=statement())
    assert (await wu.get("/api/drafts"))[1]["drafts"] == []
    assert (await wu.get("/api/research"))[1]["items"] == []
    assert service.state.rows("SELECT * FROM network_visit") == []


async def test_a_room_s_visit_is_known_to_workshops(service, car, report, in_room, eventually, tmp_path):
    await finished_room(service, car, real(report), in_room, eventually, body=statement())
    shop = Workshop(tmp_path, "north")
    await shop.join(service)
    [visit] = (await shop.case("history", VIN))["network"]["visits"]
    assert (visit["remote"], visit["outcome"]) == (True, "fixed")
    assert "更换模组" not in json.dumps(visit, ensure_ascii=False)
