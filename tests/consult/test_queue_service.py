"""The queue in a real service: consent and verdict bring a car in, experts take it, clocks run over restarts."""

import asyncio
import contextlib
import dataclasses
import json
import signal

import pytest
from queuekit import VIN, Clock, hire, queue_of, sick_report, signed_in, staff, technician, waiting_car
from servicekit import ServeProcess

from consult.needs import need_of_report
from consult.service import ServiceConfig, running_service


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


# -- what a report asks for --------------------------------------------------------------------------------------------

REPORTS = [
    (sick_report(), "high", ("battery",), ()),
    (sick_report(codes=(("P0AA6", "0x7EC", "stop"),)), "danger", ("isolation",), ("isolation",)),
    (sick_report(codes=(("P0A7E", "0x7EC", "stop"), ("U0111", "0x7ED", "stop"))), "danger",
     ("battery", "drive", "thermal"), ("thermal", "drive")),
    (sick_report(codes=(("P0D24", "0x7ED", "monitor"),)), "normal", ("thermal",), ()),
    (sick_report(codes=(("P1A00", "0x7ED", "soon"),)), "high", ("charging",), ()),
    (sick_report(codes=(), findings=("thermal.runaway",), severity="stop"), "danger",
     ("battery", "thermal"), ("thermal",)),
    (sick_report(codes=(("P0562", "0x7EC", "monitor"), ("P0DE6", "0x7EC", "soon"))), "high", ("battery",), ()),
    ({}, "normal", (), ()),
    ({"dtcs": [7, {"code": None}], "findings": "x", "ecus": {}, "vehicle": [], "cases": 3}, "normal", (), ()),
]  # fmt: skip


@pytest.mark.parametrize(("report", "severity", "skills", "dangers"), REPORTS)
def test_need_is_read_from_the_report(report, severity, skills, dangers):
    need = need_of_report(report, language="zh", region="CN")
    assert (need.severity, set(need.skills), need.dangers) == (severity, set(skills), dangers)
    assert VIN not in repr(need)


def test_a_stopping_code_of_the_past_is_no_danger_now():
    report = sick_report(codes=(("P0AA6", "0x7EC", "stop"),))
    report["dtcs"][0]["status"]["testFailed"] = False
    assert need_of_report(report).severity == "high"


# -- into the line -----------------------------------------------------------------------------------------------------


async def test_an_escalation_is_offered_to_the_right_expert_who_takes_it(service, notices, clock):
    async with waiting_car(service, language="zh", region="CN") as laptop, signed_in(service.url, "li") as li:
        place = await laptop.place()
        assert (place["state"], place["place"], place["on_duty"]) == ("offered", 1, 3)
        queue = await li.queue()
        offer = queue["offers"][0]
        assert offer["room"] == laptop.ident
        assert offer["because"] == ["skill:battery", "language:zh", "load:0/2", "region:CN"]
        assert offer["until_us"] == clock.us() + 60_000_000
        async with signed_in(service.url, "mo") as mo:
            assert (await mo.queue())["offers"] == []
        assert (await li.post(f"/r/{laptop.ident}/accept"))[0] == 200
        async with li.http.ws_connect(f"{service.url}/r/{laptop.ident}/watch") as channel:
            welcome = json.loads((await channel.receive()).data)
        assert welcome["you"]["role"] == "expert"
        assert [event["body"]["step"] for event in welcome["events"] if event["kind"] == "queue"] == [
            "queued",
            "accepted",
        ]
        place = await laptop.place()
        assert (place["state"], place["expert"], place["place"]) == ("accepted", "李工", None)
        assert [one["room"] for one in (await li.queue())["mine"]] == [laptop.ident]
    assert [(one.kind, one.to) for one in notices] == [("queued", ("li",)), ("accepted", ("li",))]
    assert notices[0].title.en == "A car waits for an expert (Huizhen · battery)"
    assert VIN not in repr(notices)


@pytest.mark.parametrize(
    ("verdict", "waits"), [("expert", True), ("unknown", True), ("direct", False), ("none", False)]
)
async def test_consent_and_verdict_bring_a_car_in_by_themselves(service, verdict, waits):
    async with technician(service.url, service.invite_technician().code) as laptop:
        await laptop.tell(sick_report(verdict))
        await queue_of(service).tend()
        assert (await laptop.place())["state"] == "none", "nobody has agreed to anything"
        await laptop.post("experts", {"allowed": True})
        await queue_of(service).tend()
        assert ((await laptop.place())["state"] != "none") == waits
        await laptop.post("experts", {"allowed": False})
        await queue_of(service).tend()
        assert (await laptop.place())["state"] == "none"
        await laptop.post("experts", {"allowed": True})
        await queue_of(service).tend()
        assert ((await laptop.place())["state"] != "none") == waits


async def test_nobody_is_asked_before_the_car_is_known_unless_that_takes_too_long(service, clock):
    async with technician(service.url, service.invite_technician().code) as laptop, signed_in(service.url, "mo") as mo:
        assert (await laptop.post("escalate", {}))[1]["state"] == "waiting"
        await laptop.tell(sick_report(codes=(("P1A00", "0x7ED", "soon"),)))
        await queue_of(service).tend()
        assert (await mo.queue())["offers"][0]["because"][0] == "skill:charging"
    async with technician(service.url, service.invite_technician().code) as silent:
        await silent.post("escalate", {})
        clock.now += 11
        await queue_of(service).tend()
        assert (await silent.place())["state"] == "offered"


async def test_only_the_technician_escalates(service):
    async with waiting_car(service) as laptop, signed_in(service.url, "li") as li:
        await li.post(f"/r/{laptop.ident}/accept")
        assert (await li.post(f"/r/{laptop.ident}/escalate"))[0] == 403
        for wrong in ({"language": 7}, {"region": "C N"}, {"language": "x" * 17}):
            assert (await laptop.post("escalate", wrong))[0] == 400


# -- clocks ------------------------------------------------------------------------------------------------------------


async def test_an_offer_goes_on_to_the_next_and_every_step_is_in_the_audit(service, clock, notices):
    async with waiting_car(service) as laptop, signed_in(service.url, "li") as li, signed_in(service.url, "mo") as mo:
        clock.now += 61
        await queue_of(service).tend()
        status, body = await li.post(f"/r/{laptop.ident}/accept")
        assert (status, body["error"]) == (409, "consult.offer-gone")
        assert (await mo.post(f"/r/{laptop.ident}/pass"))[0] == 200
        async with signed_in(service.url, "wu") as wu:
            assert (await wu.post(f"/r/{laptop.ident}/accept"))[0] == 200
    said = [
        (entry.what, entry.who, entry.detail) for _, entry in service.state.audit() if entry.what.startswith("queue-")
    ]
    assert said == [
        ("queue-queued", "", "high skill:battery make:Huizhen verdict:expert"),
        ("queue-offered", "li", "experts skill:battery load:0/2"),
        ("queue-lapsed", "li", "skill:battery load:0/2"),
        ("queue-offered", "mo", "experts make:Huizhen load:0/2"),
        ("queue-passed", "mo", "make:Huizhen load:0/2"),
        ("queue-escalated", "", "leads"),
        ("queue-offered", "wu", "leads skill:battery load:0/2"),
        ("queue-accepted", "wu", "skill:battery load:0/2"),
    ]
    assert [(one.kind, *one.to) for one in notices] == [
        ("queued", "li"), ("escalated", "mo"), ("escalated", "wu"), ("escalated", "wu"), ("accepted", "wu"),
    ]  # fmt: skip


async def test_the_first_thing_that_an_expert_says_is_a_finding_and_the_finish_ends_all(
    service, clock, notices, eventually
):
    async with waiting_car(service) as laptop, signed_in(service.url, "li") as li:
        clock.now += 10
        await li.post(f"/r/{laptop.ident}/accept")
        room = service.room(laptop.ident)
        clock.now += 20
        await laptop.channel.send_json({"type": "chat", "id": "t", "text": "The technician speaks."})
        await eventually(lambda: any(event["kind"] == "chat" for event in room.events_after(0)))
        await queue_of(service).tend()
        assert "finding" not in [one.kind for one in notices]
        async with li.http.ws_connect(f"{service.url}/r/{laptop.ident}/watch") as channel:
            clock.now += 30
            await channel.send_json({"type": "chat", "id": "a", "text": "Look at cell 17."})
            await eventually(lambda: sum(event["kind"] == "chat" for event in room.events_after(0)) == 2)
            clock.now += 7
            await queue_of(service).tend()
            entry = queue_of(service).line.entries[laptop.ident]
            assert (entry.finding_us - entry.accepted_us) / 1e6 == 50, "when it was said, not when it was noticed"
            clock.now += 40
            body = {"component": "cell 17", "outcome": "fixed"}
            await laptop.channel.send_json({"type": "finish", "id": "f", "body": body})
            await eventually(lambda: any(event["kind"] == "finish" for event in room.events_after(0)))
        await queue_of(service).tend()
        figures = (await li.queue())["stats"]
    assert [one.kind for one in notices] == ["queued", "accepted", "first-finding", "resolved"]
    assert {clock: one["mean_s"] for clock, one in figures.items()} == {
        "accept": 10.0,
        "finding": 50.0,
        "resolve": 97.0,
    }


async def test_danger_is_told_to_several_and_to_everybody_within_a_minute(service, clock, notices):
    async with waiting_car(service, sick_report(codes=(("P0AA6", "0x7EC", "stop"),))) as laptop:
        assert (notices[0].severity, set(notices[0].to)) == ("danger", {"li", "mo"})
        assert notices[0].title.zh.startswith("危险：有车辆等待专家（Huizhen · 绝缘")
        clock.now += 48
        await queue_of(service).tend()
        assert notices[-1].kind == "warning"
        clock.now += 12
        await queue_of(service).tend()
        assert (await laptop.place())["state"] == "open"
        assert [(one.kind, one.to) for one in notices][2:][0] == ("escalated", ())


async def test_a_clock_goes_on_over_a_restart(config, clock):
    async with running_service(config) as service, technician(service.url, service.invite_technician().code) as laptop:
        await laptop.tell(sick_report())
        await laptop.post("escalate", {"language": "zh"})
        before = queue_of(service).line.entries[laptop.ident]
    clock.now += 45
    async with running_service(config) as service:
        queue = queue_of(service)
        assert queue.line.entries[laptop.ident] == before
        clock.now += 14.9
        await queue.tend()
        assert queue.line.entries[laptop.ident].offer_to("li") is not None
        clock.now += 0.2
        await queue.tend()
        assert queue.line.entries[laptop.ident].offer_to("mo") is not None
    clock.now += 600
    async with running_service(config) as service:
        assert queue_of(service).line.entries[laptop.ident].stage == "everybody", "what came due while it was away"


async def test_what_happened_in_the_last_moment_is_read_from_the_record(config, clock, eventually, monkeypatch):
    """The service ends between an expert's word and the queue's next look: nothing is lost."""
    async with (
        running_service(config) as service,
        technician(service.url, service.invite_technician().code) as laptop,
        signed_in(service.url, "li") as li,
    ):
        await laptop.tell(sick_report())
        await laptop.post("escalate", {})
        await li.post(f"/r/{laptop.ident}/accept")
        queue, room = queue_of(service), service.room(laptop.ident)
        monkeypatch.setattr(queue, "tend", _nothing)
        async with li.http.ws_connect(f"{service.url}/r/{laptop.ident}/watch") as channel:
            clock.now += 5
            await channel.send_json({"type": "chat", "id": "a", "text": "Look here."})
            await eventually(lambda: any(event["kind"] == "chat" for event in room.events_after(0)))
        assert queue.line.entries[laptop.ident].finding_us is None
    async with running_service(config) as service:
        entry = queue_of(service).line.entries[laptop.ident]
        assert entry.finding_us - entry.accepted_us == 5_000_000


async def _nothing():
    return None


async def test_a_room_that_ended_meanwhile_leaves_the_line(config, clock):
    async with running_service(config) as service, technician(service.url, service.invite_technician().code) as laptop:
        await laptop.tell(sick_report())
        await laptop.post("escalate", {})
        entry = service.entries[laptop.ident]
    (config.data / entry.file).unlink()
    clock.now += 100
    async with running_service(config) as service:
        assert queue_of(service).line.entries == {}
        rows = service.state.rows("SELECT ending, ended_us FROM waiting")
        assert rows == [("closed", clock.us())]


async def test_a_change_that_cannot_be_written_has_not_happened(service, notices, monkeypatch):
    from consult.errors import StateBroken

    async with waiting_car(service) as laptop, signed_in(service.url, "li") as li:
        queue = queue_of(service)
        before = dict(queue.line.entries)

        def broken(*_):
            raise StateBroken("service.db", "disk full")

        with monkeypatch.context() as patch:
            patch.setattr(queue.store, "save", broken)
            assert (await li.post(f"/r/{laptop.ident}/accept"))[0] >= 500
            assert queue.line.entries == before
        assert [one.kind for one in notices] == ["queued"]
        assert (await li.post(f"/r/{laptop.ident}/accept"))[0] == 200


async def test_what_rooms_said_outlives_a_database_that_cannot_be_written(service, clock, monkeypatch, eventually):
    """A finding, a finish and a room that closes while the disk is full: all counted once it can be written."""
    from consult.errors import StateBroken

    async with contextlib.AsyncExitStack() as stack:
        cars = [await stack.enter_async_context(waiting_car(service)) for _ in range(3)]
        queue, names = queue_of(service), ("li", "mo", "wu")
        async with queue.change() as steps:
            for car, name in zip(cars, names, strict=True):
                queue.line.put(dataclasses.replace(queue.line.entries[car.ident], stage="everybody", offers=()))
                expert = next(one for one in queue.on_duty() if one.name == name)
                steps.extend(queue.line.accept(car.ident, expert, clock.us()))
        found, finished, closed = (service.room(car.ident) for car in cars)

        def broken(*_):
            raise StateBroken("service.db", "disk full")

        with monkeypatch.context() as patch:
            patch.setattr(queue.store, "save", broken)
            found.happen("chat", {"id": 9, "role": "expert", "name": "li"}, clock.us(), text="Look")
            finished.happen("finish", {"id": 9, "role": "technician", "name": "Wang"}, clock.us(), body={})
            closed.close("consult.room-closed")
            await eventually(lambda: closed.ident not in service.rooms)
            for _ in range(2):
                with pytest.raises(StateBroken):
                    await queue.tend()
            assert len(queue.line.entries) == 3
        await queue.tend()
        assert list(queue.line.entries) == [found.ident]
        assert queue.line.entries[found.ident].finding_us is not None
        assert sorted(service.state.rows("SELECT ending FROM waiting")) == [("",), ("closed",), ("resolved",)]
        await queue.tend()
        assert list(queue.line.entries) == [found.ident], "what is done is not queued again"


async def test_a_car_whose_room_is_gone_leaves_the_line_even_if_nobody_said_so(service, eventually):
    async with waiting_car(service) as laptop:
        queue = queue_of(service)
        queue.room_closed = lambda room, code: None
        service.room(laptop.ident).close("consult.room-closed")
        await eventually(lambda: laptop.ident not in service.rooms)
        await queue.tend()
        assert queue.line.entries == {}


async def test_who_cannot_enter_holds_nothing(service, monkeypatch):
    from consult import waitroutes
    from consult.errors import RoomClosed

    async def refuse(*_):
        raise RoomClosed

    async with waiting_car(service) as laptop, signed_in(service.url, "li") as li:
        queue = queue_of(service)
        with monkeypatch.context() as patch:
            patch.setattr(waitroutes, "admit", refuse)
            assert (await li.post(f"/r/{laptop.ident}/accept"))[0] == 410
        entry = queue.line.entries[laptop.ident]
        assert (entry.holder, entry.is_waiting) == ("", True)
        assert [offer.name for offer in entry.offers] == ["mo"], "the next one is asked"


async def test_who_is_on_duty_is_counted_as_it_is_now_with_no_car_in_the_line(service):
    async with (
        technician(service.url, service.invite_technician().code) as laptop,
        signed_in(service.url, "li") as li,
        signed_in(service.url, "wu") as wu,
    ):
        assert (await wu.queue())["on_duty"] == 3
        await li.post("/api/duty", {"on_duty": False})
        assert (await wu.queue())["on_duty"] == 2
        assert (await laptop.place())["on_duty"] == 2
        await li.post("/api/duty", {"on_duty": True})
        assert (await laptop.place())["on_duty"] == 3


async def test_nobody_is_asked_between_the_consent_and_the_technicians_words(service, monkeypatch):
    queue, let_in = queue_of(service), service.let_experts_in
    loop, beats = asyncio.get_running_loop(), []

    def let_in_slowly(*words):
        let_in(*words)
        beats.append(asyncio.run_coroutine_threadsafe(queue.tend(), loop))
        with contextlib.suppress(TimeoutError):
            beats[0].result(timeout=2)

    monkeypatch.setattr(service, "let_experts_in", let_in_slowly)
    async with waiting_car(service, language="zh", region="CN") as laptop:
        await asyncio.wrap_future(beats[0])
        assert queue.line.entries[laptop.ident].need.language == "zh"
        steps = [entry.what for _, entry in service.state.audit() if entry.what.startswith("queue-")]
        assert steps == ["queue-queued", "queue-offered"]


async def test_nothing_is_lost_when_the_process_is_killed(tmp_path, eventually):
    """Cars that wait and one that is taken: kill -9, and everything stands as it was; the offer's end too."""
    hire(tmp_path / "service.db", staff())
    (tmp_path / "room.toml").write_text("[queue]\noffer_s = 600\nasked = 2\n")
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            ServeProcess(tmp_path, words=("--config", str(tmp_path / "room.toml")))
        )
        li, mo = [await stack.enter_async_context(signed_in(server.url, name)) for name in ("li", "mo")]
        cars = []
        for _ in range(3):
            cars.append(await stack.enter_async_context(technician(server.url, server.offer["technician_invite"])))
            await cars[-1].tell(sick_report())
            assert (await cars[-1].post("escalate", {"language": "zh"}))[0] == 200
            opened = await server.process.stdout.readline()
            server.offer = json.loads(opened)
        assert (await li.post(f"/r/{cars[0].ident}/accept"))[0] == 200
        before = [await li.queue(), await mo.queue()]
        await server.end(signal.SIGKILL)
        await server.start()
        after = [await li.queue(), await mo.queue()]
        for old, new in zip(before, after, strict=True):
            for key in ("offers", "waiting", "mine"):
                assert new[key] == old[key]
        assert len(after[0]["mine"]) == 1
        assert [one["room"] for one in after[0]["offers"]] == [cars[1].ident]
        assert (await li.post(f"/r/{cars[1].ident}/accept"))[0] == 200
        assert (await cars[1].place())["state"] == "accepted"
