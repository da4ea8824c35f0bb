"""What one workshop did to a car, the next one learns: without a VIN, a person or a free word at the service."""

import asyncio
import dataclasses
import json
from dataclasses import replace

import pytest
from networkkit import VIN, Workshop, command, files_without

from casebase.library import Library
from casebase.query import Query
from casebase.record import case_from_json
from consult.networkerrors import NetworkUnsearched
from consult.service import ServiceConfig, running_service


@pytest.fixture
def config(tmp_path):
    return ServiceConfig(data=tmp_path / "rooms", state=tmp_path / "rooms" / "service.db")


@pytest.fixture
def north(tmp_path):
    return Workshop(tmp_path, "north")


@pytest.fixture
def south(tmp_path):
    return Workshop(tmp_path, "south")


def part_of(service):
    [memory] = [part for part in service.parts if type(part).__name__ == "NetworkMemory"]
    return memory


async def ticket_for(workshop, vin=VIN):
    """A ticket as a scan gets one."""
    from huizhen.carmemory import recall_car

    def ask():
        with Library.open(workshop.path) as library:
            return recall_car(library, vin)

    memory = await asyncio.to_thread(ask)
    assert memory.trouble is None, memory.trouble
    return memory


async def test_a_car_that_goes_to_another_workshop_is_known_there(service, north, south, tmp_path):
    words = "王师傅".encode(), b"13800138000"
    async with files_without(tmp_path, VIN.encode()), files_without(tmp_path / "rooms", VIN[-9:].encode(), *words):
        joined = await north.join(service, region="CN-11")
        assert (joined["site"], joined["region"]) == ("north", "CN-11")
        await south.join(service, region="CN-44")
        first = await ticket_for(north)
        assert first.elsewhere == []
        job, fixes = north.open_job(ticket=first.ticket)
        await north.case("close", job, "--outcome", "not-fixed", "--note", "王师傅 13800138000")
        seen = await south.case("history", VIN)
        assert seen["visits"] == []
        assert seen["network"]["asked"] is True
        [visit] = seen["network"]["visits"]
        assert visit["place"] == "CN-11", "the region and not the name, as the policy says"
        assert (visit["fix"], visit["failed"], visit["outcome"]) == (fixes[0], [fixes[0]], "not-fixed")
        assert "d3|bms|P0AA6|1A" in visit["terms"]
        assert visit["own"] is visit["remote"] is False
        own = await north.case("history", VIN)
        assert [one["case"] for one in own["visits"]] == [job]
        assert own["network"]["visits"] == [], "its own visit is told once"
        text = await command("case", "history", VIN, "--library", south.path, "--lang", "en")
        assert "CN-11" in text
        assert "P0AA6-1A@bms" in text
        assert "not fixed" in text


async def test_what_was_tried_elsewhere_and_failed_is_less_likely_now(service, north, south):
    await north.join(service)
    await south.join(service)
    job, fixes = north.open_job(ticket=(await ticket_for(north)).ticket)
    await north.case("close", job, "--outcome", "not-fixed")
    memory = await ticket_for(south)

    def ask():
        with Library.open(south.path) as library:
            query = Query.from_json({"dtcs": ["P0AA6-1A@bms"], "read": ["bms"]})
            other = Query.from_json({"dtcs": ["P0300@engine"]})
            return library.find(query), library.find(query, earlier=memory.visits), (
                library.find(other), library.find(other, earlier=memory.visits)
            )  # fmt: skip

    before, after, (other, other_after) = await asyncio.to_thread(ask)
    p = {match.case_id: match.p for match in after.matches}
    assert before.matches[0].case_id == fixes[0]
    odds = before.matches[0].p / (1 - before.matches[0].p)
    assert p[fixes[0]] / (1 - p[fixes[0]]) == pytest.approx(odds * 0.15, rel=0.02)
    told = next(match for match in after.matches if match.case_id == fixes[0])
    assert told.against[0].kind == "earlier-visit"
    assert other.to_json() == other_after.to_json(), "another trouble is another story"


async def test_without_the_network_the_workshop_s_own_visits_are_there_and_it_says_so(config, north):
    async with running_service(config) as service:
        await north.join(service)
        memory = await ticket_for(north)
    job, _ = north.open_job(ticket=memory.ticket)
    closed = await command("case", "close", job, "--outcome", "fixed", "--library", north.path, "--lang", "en")
    assert "case sync" in closed
    seen = await north.case("history", VIN)
    assert [visit["case"] for visit in seen["visits"]] == [job]
    assert seen["network"]["asked"] is False
    assert seen["network"]["error"]
    said = await command("case", "history", VIN, "--library", north.path, "--lang", "en")
    assert "was not asked" in said
    zh = await command("case", "history", VIN, "--library", north.path, "--lang", "zh")
    assert "未能查询" in zh


async def test_what_waits_is_told_with_the_next_sync(config, north, south):
    async with running_service(config) as service:
        await north.join(service)
        await south.join(service)
        url, memory = service.url, await ticket_for(north)
    job, _ = north.open_job(ticket=memory.ticket)
    await north.case("close", job, "--outcome", "fixed")
    port = int(url.rpartition(":")[2])
    async with running_service(dataclasses.replace(config, port=port)) as service:
        assert (await north.case("sync"))["visits"] == 1
        assert (await north.case("sync"))["visits"] == 0, "once"
        [visit] = (await south.case("history", VIN))["network"]["visits"]
        assert visit["outcome"] == "fixed"


async def test_a_job_scanned_offline_is_told_by_its_vin(service, north, south):
    await north.join(service)
    await south.join(service)
    job, _ = north.open_job()
    await north.case("close", job, "--outcome", "fixed")
    await north.case("share", job, expect=2)
    assert (await north.case("share", job, "--vin", VIN))["jobs"] == [job]
    assert len((await south.case("history", VIN))["network"]["visits"]) == 1
    await north.case("share", job, "--vin", VIN)
    assert len((await south.case("history", VIN))["network"]["visits"]) == 1, "told again it is the same"


async def test_who_wants_nothing_told_is_heard(service, north, south, monkeypatch):
    await north.join(service)
    await south.join(service)
    job, _ = north.open_job(ticket=(await ticket_for(north)).ticket)
    await north.case("close", job, "--outcome", "fixed", "--no-network")
    await north.case("share", job, "--vin", VIN, expect=2)
    assert (await north.case("sync"))["visits"] == 0
    assert (await south.case("history", VIN))["network"]["visits"] == []
    quiet = await south.case("history", VIN, "--no-network")
    assert quiet["network"] == {"server": None, "asked": False, "error": None, "visits": []}
    asked = len([one for _, one in service.state.audit() if one.what == "network-look"])
    monkeypatch.setenv("HUIZHEN_NETWORK", "off")
    await south.case("history", VIN)
    assert len([one for _, one in service.state.audit() if one.what == "network-look"]) == asked


async def test_a_new_key_finds_what_a_former_one_hashed_until_it_ends(service, config, north, south):
    await north.join(service)
    await south.join(service)
    job, _ = north.open_job(ticket=(await ticket_for(north)).ticket)
    await north.case("close", job, "--outcome", "fixed")
    before = service.state.rows("SELECT key, car FROM network_visit")
    await command("consult", "site", "rotate", "--data", config.data, "--json")
    assert len((await south.case("history", VIN))["network"]["visits"]) == 1
    after = service.state.rows("SELECT key, car FROM network_visit")
    assert after[0][0] == before[0][0] + 1, "and a car that was asked for has moved to the new one"
    assert after[0][1] != before[0][1]
    other = "LRW3E7EK0NC000043"
    job, _ = north.open_job(vin=other, ticket=(await ticket_for(north, other)).ticket)
    await north.case("close", job, "--outcome", "fixed")
    await command("consult", "site", "rotate", "--keep-days", "0", "--data", config.data)
    assert (await south.case("history", other))["network"]["visits"] == [], "a key that has ended finds nothing"


async def test_a_key_that_has_ended_hides_nothing_from_who_deletes(service, config, north):
    await north.join(service)
    memory, vins = part_of(service), (VIN, "LRW3E7EK0NC000043")
    for vin in vins:
        job, _ = north.open_job(vin=vin, ticket=(await ticket_for(north, vin)).ticket)
        await north.case("close", job, "--outcome", "fixed")
    await command("consult", "site", "rotate", "--keep-days", "0", "--data", config.data)
    assert [name for name, _ in memory.held_about(VIN)] == ["network-visits"]
    assert {key for (key,) in service.state.rows("SELECT key FROM network_visit")} == {1}, "to look moves nothing"
    assert memory.forget(VIN, "boss", 1)[0]["visits"] == 1
    memory._forget_old()
    assert [key.number for key in memory.keys().vin_keys] == [2]
    assert service.state.rows("SELECT key, car, room FROM network_visit") == [(None, None, "")]
    assert service.state.rows("SELECT * FROM network_ticket") == []
    assert memory.held_about(vins[1]) == []


async def test_visits_are_forgotten_after_their_days(tmp_path, north):
    now = [1_800_000_000_000_000]
    config = ServiceConfig(data=tmp_path / "rooms", state=tmp_path / "rooms" / "service.db", now_us=lambda: now[0])
    async with running_service(config) as service:
        from casebase.visits import Visit
        from consult.networkstore import NetworkStore

        store = NetworkStore(service.state)
        store.put_visit(1, Visit("0" * 32, "2027-01-14"), (1, b"c" * 32), None, now[0])
        store.put_ticket(b"t", 1, (1, b"c" * 32), now[0] + 1)
        now[0] += 1096 * 86_400_000_000
        part_of(service)._forget_old()
        assert service.state.rows("SELECT * FROM network_visit") == []
        assert service.state.rows("SELECT * FROM network_ticket") == []


async def test_everything_of_a_car_can_be_shown_and_forgotten(service, north):
    await north.join(service)
    job, _ = north.open_job(ticket=(await ticket_for(north)).ticket)
    await north.case("close", job, "--outcome", "fixed")
    memory = part_of(service)
    with Library.open(service.config.state.parent / "cases.db", create=True) as library:
        line = {"id": "1", "vin": VIN, "dtcs": ["P0AA6@bms"], "outcome": "fixed", "fix": {"action": "tighten"}}
        library.add_cases([case_from_json(line, library.cases.car_key)])
    held = dict(memory.held_about(VIN))
    assert json.dumps(held["network-visits"]).count("P0AA6") >= 1
    assert len(held["case-library"]["cases"]) == 1
    [told] = memory.forget(VIN, "boss", 1)
    assert (told["visits"], told["cases"]) == (1, 1)
    assert memory.held_about(VIN) == memory.forget(VIN, "boss", 1) == []
    assert service.state.rows("SELECT * FROM network_ticket") == []


async def test_what_is_remembered_is_found_and_forgotten_also_after_the_network_was_switched_off(service, north):
    await north.join(service)
    job, _ = north.open_job(ticket=(await ticket_for(north)).ticket)
    await north.case("close", job, "--outcome", "fixed")
    [memory] = [part for part in service.parts if type(part).__name__ == "NetworkMemory"]
    service.config = replace(service.config, network=replace(service.config.network, on=False))
    assert "network-visits" in dict(memory.held_about(VIN))
    keys = service.config.state.parent / "network.keys"
    away = keys.rename(keys.with_suffix(".away"))
    for ask in (memory.held_about, lambda vin: memory.forget(vin, "boss", 1)):
        with pytest.raises(NetworkUnsearched, match=r"network\.keys"):
            ask(VIN)
    away.rename(keys)
    memory.review.open_draft(1, "a" * 12, "li", 1)
    with pytest.raises(NetworkUnsearched, match="case library"):
        memory.forget(VIN, "boss", 1)
    assert len(service.state.rows("SELECT 1 FROM network_visit")) == 1, "nothing goes of which nobody would be told"
    with service.state.transaction() as db:
        db.execute("DELETE FROM review_draft")
    assert memory.forget(VIN, "boss", 1)[0]["visits"] == 1


async def test_a_code_is_good_once_and_a_workshop_can_be_taken_out(service, config, north, south):
    made = await command("consult", "site", "add", "north", "--data", config.data, "--json")
    await north.case("join", "--server", service.url, "--code", made["code"])
    await south.case("join", "--server", service.url, "--code", made["code"], expect=8)
    await command("consult", "site", "add", "north", "--data", config.data, expect=2)
    [listed] = (await command("consult", "site", "list", "--data", config.data, "--json"))["sites"]
    assert (listed["name"], listed["joined"]) == ("north", True)
    await command("consult", "site", "remove", "north", "--data", config.data)
    said = await north.case("history", VIN)
    assert "join again" in said["network"]["error"]
    await north.case("sync", expect=8)
    assert (await command("consult", "site", "list", "--data", config.data, "--json"))["sites"] == []


async def test_a_service_that_ends_with_its_room_keeps_no_network(tmp_path, north):
    async with running_service(ServiceConfig(data=tmp_path / "rooms")) as service:
        await north.case("join", "--server", service.url, "--code", "x" * 43, expect=8)
    assert not list((tmp_path / "rooms").glob("*.keys"))


def real_report(*codes):
    """The scan of a real car with these confirmed codes in its battery's computer."""
    from diag.facts import Dtc, DtcKind, DtcStatus, EcuRole
    from diag.vehiclereport import Ecu, LinkInfo, Vehicle, VehicleReport

    dtcs = tuple(
        Dtc(code, bytes.fromhex("0AA61A09"), "0x7EC", "1A", DtcStatus(0x09), (DtcKind.STORED,)) for code in codes
    )
    return VehicleReport(
        started_ns=1_780_000_000_000_000_000, duration_s=2.0, complete=True, simulated=False,
        link=LinkInfo("slcan", "/dev/ttyACM0", 500_000, False),
        vehicle=Vehicle(vin=VIN, vin_valid=True, make="BYD", model="Song PLUS", model_year=2022),
        ecus=(Ecu("0x7EC", "0x7E4", "BMS", EcuRole.BMS, "uds", {}),), dtcs=dtcs,
    )  # fmt: skip


async def scanned(workshop, *, asks=True):
    """What ``huizhen scan`` makes of that car: the job's number, the cases, what it knows of the car."""
    from huizhen.carmemory import CarMemory
    from huizhen.commands.scan import _ranked

    memory = CarMemory()
    report = real_report("P0AA6")
    _, job, cases = await asyncio.to_thread(
        lambda: _ranked(report, "", str(workshop.path), memory, remember=True, asks=asks)
    )
    return job, cases, memory


async def test_a_scan_asks_by_itself_and_nothing_is_looked_for_twice(service, north, south):
    await north.join(service)
    await south.join(service)
    job, first, memory = await scanned(north)
    assert memory.to_json() == []
    await north.case("close", job, "--outcome", "not-fixed")
    _, then, memory = await scanned(south)
    [visit] = memory.to_json()
    tried = first["matches"][0]["case_id"]
    assert visit["failed"] == [tried]
    p = {match["case_id"]: match["p"] for match in then["matches"]}
    assert p[tried] < first["matches"][0]["p"]
    against = next(match["against"] for match in then["matches"] if match["case_id"] == tried)
    assert against[0]["kind"] == "earlier-visit"
    assert visit["day"] in against[0]["en"]
    _, again, memory = await scanned(north)
    assert [one["own"] for one in memory.to_json()] == [True]
    assert {match["case_id"]: match["p"] for match in again["matches"]}[tried] == pytest.approx(p[tried], abs=0.02)


async def test_a_scan_that_shall_ask_nobody_tells_nobody(service, north):
    await north.join(service)
    job, _, memory = await scanned(north, asks=False)
    assert (memory.server, memory.ticket) == ("", "")
    await north.case("close", job, "--outcome", "fixed")
    await north.case("share", job, "--vin", VIN, expect=2)
    assert service.state.rows("SELECT * FROM network_visit") == []
    assert not [one for _, one in service.state.audit() if one.what == "network-look"]


async def test_a_saved_scan_is_judged_by_what_was_known_then(service, north, south, tmp_path):
    await north.join(service)
    await south.join(service)
    job, _, _ = await scanned(north)
    await north.case("close", job, "--outcome", "not-fixed")
    _, cases, memory = await scanned(south)
    path = tmp_path / "car.json"
    path.write_text(json.dumps({**real_report("P0AA6").to_json(), "cases": None, "earlier": memory.to_json()}), "utf-8")
    found = await south.case("find", path)
    assert [(match["case_id"], match["p"]) for match in found["matches"]] == [
        (match["case_id"], match["p"]) for match in cases["matches"]
    ]
