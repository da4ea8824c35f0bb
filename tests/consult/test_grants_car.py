"""Requests end to end: service, laptop, guard, the simulated car, and a listener on its bus that trusts nobody."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time

import aiohttp
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from grantparts import BMS, REPORT, TMS, car_and_witness, laptop_in_room, page_in, silent_bus
from test_agent_resume import Relay

import dbc
from consult.grants import signed_bytes
from consult.invites import Role
from consult.recordcheck import check_record
from consult.remotepolicy import parse_policy
from consult.requestproof import decision_proof, hold_proof, request_digest
from consult.service import running_service
from dbc.files import EV400
from virtualbus.driving import Trip
from virtualbus.scenario import find_scenario


@pytest.fixture
async def http():
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


@pytest.fixture(scope="module")
def standing():
    """A car that stands, ready, with a code in its battery controller; and the listener."""
    with car_and_witness("isolation") as found:
        yield found


def verified(laptop, event):
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(laptop.agent.key))
    key.verify(bytes.fromhex(event["body"]["sig"]), signed_bytes(event["kind"], event["body"]))
    return True


async def test_what_is_granted_is_sent_to_the_byte_and_the_rest_never(service, http, standing, eventually):
    car, witness = standing
    witness.frames.clear()
    async with laptop_in_room(service, car, REPORT) as laptop:
        room = laptop.agent.room
        async with page_in(http, service, room) as expert:
            await eventually(lambda: service.room(room).agent is not None)
            await expert.ask("read-1", "1902FF")
            await eventually(lambda: laptop.shown("read-1"))
            assert witness.payloads(0x7E4) == [], "nothing is sent to the ECU before it is granted"
            asked = laptop.shown("read-1").asked
            assert expert.digest("read-1") == asked.digest == expert.event("request", "read-1")["body"]["digest"]
            laptop.approver.decide("read-1", asked.digest, "approve")
            await eventually(lambda: expert.event("result", "read-1"))
            result = expert.event("result", "read-1")
            assert result["body"]["outcome"] == "done"
            assert result["body"]["answers"][0]["data"].startswith("5902")
            assert "P0AA6-1A" in result["body"]["text"]["en"]
            assert verified(laptop, result)
            assert verified(laptop, expert.event("decision", "read-1"))
            assert witness.payloads(0x7E4) == [bytes.fromhex("1902FF")]
            log = result["body"]["guard"]
            assert [(e["stage"], e["allowed"]) for e in log][:2] == [("request", True), ("frame", True)]
            assert log[1]["data"].startswith("031902FF")

            await expert.ask("clear-1", "14FFFFFF")
            await eventually(lambda: laptop.shown("clear-1"))
            assert laptop.shown("clear-1").state.speed_kmh == 0
            laptop.approver.decide("clear-1", laptop.shown("clear-1").asked.digest, "approve", unplugged=True)
            await eventually(lambda: expert.event("result", "clear-1"))
            assert expert.event("result", "clear-1")["body"]["answers"][0]["data"] == "54"
            assert witness.payloads(0x7E4).count(bytes.fromhex("14FFFFFF")) == 1

            await expert.ask("clear-2", "14FFFFFF")
            await eventually(lambda: laptop.shown("clear-2"))
            laptop.approver.decide("clear-2", laptop.shown("clear-2").asked.digest, "deny")
            await eventually(lambda: expert.event("decision", "clear-2"))
            assert expert.event("decision", "clear-2")["body"]["decision"] == "deny"
            assert witness.payloads(0x7E4).count(bytes.fromhex("14FFFFFF")) == 1


async def granted(laptop, expert, eventually, ident, data, *, ecu=BMS, unplugged=True):
    """Asked, granted in the terminal, and its result."""
    await expert.ask(ident, data, ecu=ecu)
    await eventually(lambda: laptop.shown(ident))
    laptop.approver.decide(ident, laptop.shown(ident).asked.digest, "approve", unplugged=unplugged)
    await eventually(lambda: expert.event("result", ident))
    return expert.event("result", ident)["body"]


def drive_off(car):
    """From now on the simulated car is in the middle of a drive."""
    plant = car.car.plant
    plant.trip = Trip(3600, np.random.default_rng(1), "motorway", plant.t_s - 300)


PUMP = "2F01610346"
LET_GO = bytes.fromhex("2F016100")


async def test_an_actuator_runs_only_while_the_page_s_hand_is_on_it(service, http, standing, eventually):
    car, witness = standing
    witness.frames.clear()
    async with laptop_in_room(service, car, REPORT) as laptop:
        room = laptop.agent.room
        async with (
            page_in(http, service, room) as expert,
            page_in(http, service, room, Role.TECHNICIAN, "手机") as phone,
        ):
            assert (await granted(laptop, expert, eventually, "session", "1003", ecu=TMS))["outcome"] == "done"
            await expert.ask("pump", PUMP, ecu=TMS)
            await eventually(lambda: phone.event("seen", "pump"))
            digest = phone.digest("pump")
            assert phone.event("request", "pump")["body"]["hold"] is True
            assert phone.event("seen", "pump")["body"]["digest"] == digest
            proof = decision_proof(laptop.secret, digest=digest, ident="pump", decision="approve", unplugged=True)
            await phone.decide("pump", digest, "approve", proof, unplugged=True)
            await eventually(lambda: any(n.kind == "hold" for n in laptop.notices))
            assert bytes.fromhex(PUMP) not in witness.payloads(0x7E7), "granted, but nobody holds it yet"
            count = 0
            while not witness.times(bytes.fromhex(PUMP)) or count < 8:
                count += 1
                await phone.hold("pump", count, hold_proof(laptop.secret, digest=digest, ident="pump", count=count))
                await asyncio.sleep(0.15)
            last_s = time.monotonic()
            assert LET_GO not in witness.payloads(0x7E7)
            await eventually(lambda: witness.times(LET_GO))
            let_go_s = witness.times(LET_GO)[0] - last_s
            assert let_go_s < 3, "well within a second on an idle machine"
            await eventually(lambda: expert.event("result", "pump"))
            body = expert.event("result", "pump")["body"]
            assert (body["outcome"], body["ended"]) == ("stopped", "released")
            assert [one["data"][:6] for one in body["answers"]] == ["6F0161", "6F0161"]
            assert verified(laptop, expert.event("result", "pump"))
            assert witness.payloads(0x7E7).count(bytes.fromhex(PUMP)) == 1
            print(f"let go on the bus {let_go_s:.2f} s after the last hold")
    assert b"\x10\x01" in witness.payloads(0x7E7), "the room ends in the default session"


async def test_anybody_s_stop_ends_what_runs_and_only_the_terminal_resumes(service, http, standing, eventually):
    car, witness = standing
    witness.frames.clear()
    async with laptop_in_room(service, car, REPORT) as laptop:
        room = laptop.agent.room
        async with (
            page_in(http, service, room) as expert,
            page_in(http, service, room, Role.OBSERVER, "旁观") as observer,
        ):
            await granted(laptop, expert, eventually, "session", "1003", ecu=TMS)
            await expert.ask("pump", PUMP, ecu=TMS)
            await eventually(lambda: laptop.shown("pump"))
            laptop.approver.decide("pump", laptop.shown("pump").asked.digest, "approve", unplugged=True)
            holding = asyncio.create_task(hold_on(laptop, "pump"))
            await eventually(lambda: witness.times(bytes.fromhex(PUMP)))
            await expert.ask("waits", "1902FF")
            await eventually(lambda: laptop.shown("waits"))
            await observer.stop("smoke")
            await eventually(lambda: witness.times(LET_GO))
            await eventually(lambda: expert.event("result", "pump") and expert.event("result", "waits"))
            holding.cancel()
            body = expert.event("result", "pump")["body"]
            assert body["ended"] == "stop", body
            assert expert.event("result", "waits")["body"]["code"] == "consult.grants-stopped"
            await expert.stop(resume=True)
            await eventually(lambda: expert.refusal("") == "consult.role-refused")
            await expert.ask("later", "1902FF")
            await eventually(lambda: expert.event("result", "later"))
            assert expert.event("result", "later")["body"]["code"] == "consult.grants-stopped"
            laptop.approver.resume()
            await eventually(lambda: [e for e in expert.events("stop") if e["body"]["stopped"] is False])
            assert (await granted(laptop, expert, eventually, "again", "1902FF"))["outcome"] == "done"


async def hold_on(laptop, ident):
    while True:
        laptop.approver.hold(ident)
        await asyncio.sleep(0.1)


async def test_the_kill_switch_works_when_the_service_is_out_of_reach(service, http, standing, eventually):
    car, witness = standing
    witness.frames.clear()
    async with (
        Relay(int(service.url.rpartition(":")[2])) as relay,
        laptop_in_room(service, car, REPORT, server=f"http://127.0.0.1:{relay.port}") as laptop,
        page_in(http, service, laptop.agent.room) as expert,
    ):
        await granted(laptop, expert, eventually, "session", "1003", ecu=TMS)
        await expert.ask("pump", PUMP, ecu=TMS)
        await eventually(lambda: laptop.shown("pump"))
        laptop.approver.decide("pump", laptop.shown("pump").asked.digest, "approve", unplugged=True)
        holding = asyncio.create_task(hold_on(laptop, "pump"))
        await eventually(lambda: witness.times(bytes.fromhex(PUMP)))
        relay.silent = True
        relay.hang_up()
        await eventually(lambda: not laptop.agent.is_reached)
        assert LET_GO not in witness.payloads(0x7E7), "the technician still holds it"
        laptop.approver.stop("no network")
        await eventually(lambda: witness.times(LET_GO))
        await eventually(lambda: laptop.ended("pump"))
        holding.cancel()
        assert laptop.ended("pump").body["ended"] == "stop"
        assert laptop.book.is_stopped
        relay.silent = False
        await eventually(lambda: expert.event("result", "pump"))
        await eventually(lambda: [e for e in expert.events("stop") if e["text"] == "no network"])


async def test_a_dead_line_lets_go_of_what_the_page_held(service, http, standing, eventually):
    car, witness = standing
    witness.frames.clear()
    async with (
        Relay(int(service.url.rpartition(":")[2])) as relay,
        laptop_in_room(service, car, REPORT, server=f"http://127.0.0.1:{relay.port}") as laptop,
        page_in(http, service, laptop.agent.room) as expert,
        page_in(http, service, laptop.agent.room, Role.TECHNICIAN) as phone,
    ):
        await granted(laptop, expert, eventually, "session", "1003", ecu=TMS)
        await expert.ask("pump", PUMP, ecu=TMS)
        await eventually(lambda: phone.event("seen", "pump"))
        digest, secret = phone.digest("pump"), laptop.secret
        proof = decision_proof(secret, digest=digest, ident="pump", decision="approve", unplugged=True)
        await phone.decide("pump", digest, "approve", proof, unplugged=True)

        async def press():
            for count in range(1, 1000):
                await phone.hold("pump", count, hold_proof(secret, digest=digest, ident="pump", count=count))
                await asyncio.sleep(0.2)

        pressing = asyncio.create_task(press())
        await eventually(lambda: witness.times(bytes.fromhex(PUMP)))
        await asyncio.sleep(1.5)
        assert LET_GO not in witness.payloads(0x7E7)
        relay.silent = True
        await eventually(lambda: witness.times(LET_GO))
        pressing.cancel()
        relay.hang_up()
        relay.silent = False
        await eventually(lambda: expert.event("result", "pump"))
        assert expert.event("result", "pump")["body"]["ended"] == "released"


async def test_nothing_beyond_reading_without_the_word_that_no_cable_is_plugged_in(service, http, standing, eventually):
    car, witness = standing
    witness.frames.clear()
    async with laptop_in_room(service, car, REPORT) as laptop, page_in(http, service, laptop.agent.room) as expert:
        body = await granted(laptop, expert, eventually, "one", "14FFFFFF", unplugged=False)
        assert (body["outcome"], body["code"]) == ("refused", "consult.state-unmet")
        assert "charge" in body["text"]["en"]
        assert verified(laptop, expert.event("result", "one"))
    assert bytes.fromhex("14FFFFFF") not in witness.payloads()


@pytest.mark.parametrize("now", ["drive", "nobody"])
async def test_nothing_beyond_reading_in_a_moving_car_or_one_of_unknown_speed(service, http, eventually, now):
    with car_and_witness("healthy") if now == "drive" else silent_bus() as (car, witness):
        async with laptop_in_room(service, car, REPORT) as laptop, page_in(http, service, laptop.agent.room) as expert:
            if now == "drive":
                drive_off(car)
                await eventually(lambda: car.car.plant.speed_kmh > 1)
            for ident, data in (("clear", "14FFFFFF"), ("session", "1003"))[: 2 if now == "drive" else 1]:
                body = await granted(laptop, expert, eventually, ident, data)
                assert (body["outcome"], body["code"]) == ("refused", "consult.state-unmet"), data
                assert "stand still" in body["text"]["en"]
        assert not {bytes.fromhex("14FFFFFF"), b"\x10\x03"} & set(witness.payloads())


async def test_a_service_that_lies_gets_nothing_onto_the_bus(service, http, standing, eventually):
    """The service itself is the attacker here: it makes any event it likes."""
    car, witness = standing
    witness.frames.clear()
    async with laptop_in_room(service, car, REPORT) as laptop:
        room = service.room(laptop.agent.room)
        await eventually(lambda: room.agent is not None)
        asker = {"id": 9, "role": "expert", "name": "?"}
        technician = {"id": room.agent_person, "role": "technician", "name": "?"}

        def request(ident, data, *, digest=None, risk="A", where=room.ident, **more):
            raw = bytes.fromhex(data)
            right = request_digest(where, ident, BMS, raw, hold=False, risk=risk)
            body = {"ecu": BMS, "data": data, "risk": risk, "hold": False, "digest": digest or right, **more}
            room.happen("request", asker, 1, ident=ident, text="x", body=body)
            return right

        request("wrong class", "14FFFFFF")
        request("other room", "1902FF", where="0" * 12)
        request("other bytes", "1902FF", digest="0" * 64)
        request("never", "2F01610346FF", risk="A")
        request("pyrotechnics", "3101E200", risk="C")
        request("obd 08", "0801", risk="A")
        request("alter", "2EF19800", risk="D")
        digest = request("good", "14FFFFFF", risk="B")
        await eventually(lambda: laptop.shown("good"))
        for proof in ("", "0" * 64, decision_proof(bytes(32), digest=digest, ident="good", decision="approve",
                                                   unplugged=True)):  # fmt: skip
            body = {"decision": "approve", "digest": digest, "unplugged": True, "by": "page", "proof": proof}
            room.happen("decision", technician, 2, ident="good", body=body)
        body = {"decision": "approve", "digest": digest, "unplugged": True, "by": "terminal", "sig": "00" * 64}
        room.happen("decision", technician, 2, ident="good", body=body)
        await eventually(lambda: laptop.ended("good"))
        await eventually(lambda: sum(n.kind == "rejected" for n in laptop.notices) == 3)
        refused = {n.ident: n.error.code for n in laptop.notices if n.kind == "dropped"}
        assert refused == {
            "wrong class": "consult.digest-wrong",
            "other room": "consult.digest-wrong",
            "other bytes": "consult.digest-wrong",
            "never": "consult.digest-wrong",
            "pyrotechnics": "consult.never-granted",
            "obd 08": "consult.never-granted",
            "alter": "consult.policy-forbids",
            "good": "consult.request-expired",
        }
        assert witness.payloads(0x7E4) == []


async def test_the_vin_is_told_by_role_and_kept_whole(service, http, standing, eventually):
    car, _ = standing
    async with laptop_in_room(service, car, REPORT) as laptop:
        room = laptop.agent.room
        async with page_in(http, service, room) as expert, page_in(http, service, room, Role.LEAD) as lead:
            await granted(laptop, expert, eventually, "vin", "22F190")
            await eventually(lambda: lead.event("result", "vin"))
            whole, less = lead.event("result", "vin"), expert.event("result", "vin")
            vin = bytes.fromhex(whole["body"]["answers"][0]["data"])[3:].decode()
            assert len(vin) == 17
            assert vin in whole["body"]["text"]["en"]
            assert verified(laptop, whole)
            assert vin not in json.dumps(less)
            assert vin.encode().hex().upper() not in json.dumps(less).upper()
            assert less["body"]["outcome"] == "done"
            await eventually(lambda: not service.room(room)._unwritten_events)
            await asyncio.to_thread(lambda: None)
            journaled = [e for e in service.room(room).journal.events() if e["kind"] == "result"]
            assert journaled
            assert journaled[0]["body"] == whole["body"]


async def test_where_the_car_says_that_a_cable_is_plugged_in_the_car_counts(service, http, eventually):
    scenario = dataclasses.replace(find_scenario("healthy"), now="charge-ac")
    databases = [dbc.load(EV400)]
    with car_and_witness(scenario) as (car, witness):
        async with (
            laptop_in_room(service, car, REPORT, databases=databases) as laptop,
            page_in(http, service, laptop.agent.room) as expert,
        ):
            body = await granted(laptop, expert, eventually, "clear", "14FFFFFF", unplugged=True)
            assert (body["outcome"], body["code"]) == ("refused", "consult.state-unmet")
            assert "PlugState = " in body["text"]["en"] or "ChargerState = " in body["text"]["en"]
            assert laptop.shown("clear").unmet is not None
    assert bytes.fromhex("14FFFFFF") not in witness.payloads()


async def test_where_it_says_that_none_is_plugged_in_the_word_is_still_needed(service, http, standing, eventually):
    car, witness = standing
    witness.frames.clear()
    databases = [dbc.load(EV400)]
    async with (
        laptop_in_room(service, car, REPORT, databases=databases) as laptop,
        page_in(http, service, laptop.agent.room) as expert,
    ):
        body = await granted(laptop, expert, eventually, "no", "14FFFFFF", unplugged=False)
        assert (body["outcome"], body["code"]) == ("refused", "consult.state-unmet")
        assert (await granted(laptop, expert, eventually, "yes", "14FFFFFF", unplugged=True))["outcome"] == "done"


async def test_what_is_held_is_let_go_when_the_car_begins_to_move(service, http, eventually):
    with car_and_witness("healthy") as (car, witness):
        async with laptop_in_room(service, car, REPORT) as laptop, page_in(http, service, laptop.agent.room) as expert:
            await granted(laptop, expert, eventually, "session", "1003", ecu=TMS)
            await expert.ask("pump", PUMP, ecu=TMS)
            await eventually(lambda: laptop.shown("pump"))
            laptop.approver.decide("pump", laptop.shown("pump").asked.digest, "approve", unplugged=True)
            holding = asyncio.create_task(hold_on(laptop, "pump"))
            await eventually(lambda: witness.times(bytes.fromhex(PUMP)))
            drive_off(car)
            await eventually(lambda: witness.times(LET_GO))
            assert car.car.plant.speed_kmh > 0
            await eventually(lambda: expert.event("result", "pump"))
            holding.cancel()
            assert expert.event("result", "pump")["body"]["ended"] == "car"


async def test_altering_an_ecu_waits_for_the_second_person(service, http, standing, eventually):
    car, witness = standing
    witness.frames.clear()
    policy = parse_policy('[classes]\nD = true\n[[alter]]\necu = "0x7EC"\nrequest = "2E F1 98"')
    async with (
        laptop_in_room(service, car, REPORT, policy=policy) as laptop,
        page_in(http, service, laptop.agent.room) as expert,
        page_in(http, service, laptop.agent.room, Role.LEAD, "Dr Chen") as other,
    ):
        await expert.ask("alter", "2EF19801")
        await eventually(lambda: laptop.shown("alter"))
        digest = expert.digest("alter")
        laptop.approver.decide("alter", digest, "approve", unplugged=True)
        await eventually(lambda: expert.event("decision", "alter"))
        await expert.decide("alter", digest, "second")
        await eventually(lambda: expert.refusal("alter"))
        assert expert.refusal("alter") == "consult.second-refused"
        assert bytes.fromhex("2EF19801") not in witness.payloads()
        await other.decide("alter", digest, "second")
        await eventually(lambda: expert.event("result", "alter"))
        body = expert.event("result", "alter")["body"]
        assert (body["outcome"], body["negative"]["nrc"]) == ("failed", "0x7F"), "not in the default session"
        assert witness.payloads().count(bytes.fromhex("2EF19801")) == 1


async def test_too_many_requests_are_refused(service, http, standing, eventually):
    car, _ = standing
    async with laptop_in_room(service, car, REPORT) as laptop, page_in(http, service, laptop.agent.room) as expert:
        await eventually(lambda: service.room(laptop.agent.room).agent is not None)
        for number in range(12):
            await expert.ask(f"r{number}", "1902FF")
        await eventually(lambda: expert.refusal("r11"))
        assert len(expert.events("request")) == 3, "one person has three that wait"
        assert expert.refusal("r3") == expert.refusal("r11") == "consult.too-much"


async def test_who_only_watches_asks_nothing_and_other_rooms_requests_are_unknown(service, http, standing, eventually):
    car, _ = standing
    async with (
        laptop_in_room(service, car, REPORT) as laptop,
        laptop_in_room(service, car, REPORT) as other,
        page_in(http, service, laptop.agent.room) as expert,
        page_in(http, service, laptop.agent.room, Role.OBSERVER) as observer,
        page_in(http, service, other.agent.room, Role.TECHNICIAN) as stranger,
        page_in(http, service, other.agent.room, Role.LEAD) as lead,
    ):
        await eventually(lambda: service.room(laptop.agent.room).agent is not None)
        await observer.ask("o", "1902FF")
        await eventually(lambda: observer.refusal("o"))
        assert observer.refusal("o") == "consult.role-refused"
        await expert.ask("r", "1902FF")
        await eventually(lambda: laptop.shown("r"))
        digest = expert.digest("r")
        proof = decision_proof(laptop.secret, digest=digest, ident="r", decision="approve", unplugged=False)
        await stranger.decide("r", digest, "approve", proof)
        await eventually(lambda: stranger.refusal("r"))
        await lead.withdraw("r")
        await eventually(lambda: lead.refusal("r"))
        assert stranger.refusal("r") == lead.refusal("r") == "consult.request-unknown"
        await expert.decide("r", digest, "approve", proof)
        await eventually(lambda: expert.refusal("r"))
        assert expert.refusal("r") == "consult.role-refused"
        await expert.hold("r", 1, "")
        assert laptop.shown("r").asked in laptop.book.open
        assert other.notices == []


async def test_a_session_is_kept_alive_while_somebody_works_and_left_with_the_stop(
    service, http, standing, eventually, monkeypatch
):
    car, witness = standing
    monkeypatch.setattr("consult.sessionkeeper._EVERY_S", 0.1)
    witness.frames.clear()
    async with laptop_in_room(service, car, REPORT) as laptop, page_in(http, service, laptop.agent.room) as expert:
        await granted(laptop, expert, eventually, "session", "1003", ecu=TMS)
        await eventually(lambda: witness.payloads(0x7E7).count(b"\x3e\x80") >= 3)
        body = await granted(laptop, expert, eventually, "which", "22F186", ecu=TMS)
        assert body["answers"][0]["data"] == "62F18603"
        assert laptop.approver.has_grants
        laptop.approver.stop()
        await eventually(lambda: b"\x10\x01" in witness.payloads(0x7E7))
        await asyncio.sleep(0.3)
        assert witness.payloads(0x7E7)[-1] == b"\x10\x01", "nothing keeps it any more"
        assert not laptop.approver.has_grants


async def test_the_record_of_a_room_shows_the_laptop_s_own_signatures(config, http, standing, eventually):
    car, _ = standing
    async with (
        running_service(config) as service,
        laptop_in_room(service, car, REPORT) as laptop,
        page_in(http, service, laptop.agent.room) as expert,
    ):
        path = service.room(laptop.agent.room).journal.path
        await granted(laptop, expert, eventually, "read", "1902FF")
        await granted(laptop, expert, eventually, "clear", "14FFFFFF")
    found = check_record(path)
    assert found.faults == ()
    assert [(one.public_key.hex(), one.count) for one in found.laptop] == [(laptop.agent.key, 4)]


async def test_a_decision_said_while_the_line_is_cut_arrives_later(service, http, standing, eventually):
    car, witness = standing
    witness.frames.clear()
    async with Relay(int(service.url.rpartition(":")[2])) as relay:
        server = f"http://127.0.0.1:{relay.port}"
        async with (
            laptop_in_room(service, car, REPORT, server=server) as laptop,
            page_in(http, service, laptop.agent.room) as expert,
        ):
            await eventually(lambda: service.room(laptop.agent.room).agent is not None)
            await expert.ask("cut", "1902FF")
            await eventually(lambda: laptop.shown("cut"))
            relay.silent = True
            laptop.approver.decide("cut", laptop.shown("cut").asked.digest, "approve")
            await eventually(lambda: laptop.ended("cut"))
            assert witness.payloads(0x7E4) == [bytes.fromhex("1902FF")]
            assert expert.event("result", "cut") is None
            relay.hang_up()
            relay.silent = False
            await eventually(lambda: expert.event("result", "cut"))
            assert [e["body"]["by"] for e in expert.events("decision", "cut")] == ["terminal"]
            assert len(expert.events("result", "cut")) == 1
            assert witness.payloads(0x7E4) == [bytes.fromhex("1902FF")]
