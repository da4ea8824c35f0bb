"""Several streams of one car: who gets which, what a hole says, and fault codes that change while people watch."""

import asyncio
import json
import time

import aiohttp
import pytest

from consult.dtcwords import changed_codes, check_dtcs
from consult.errors import BlockBroken, MessageBroken
from consult.invites import Role
from consult.joining import joined_room
from consult.rawframes import encode_raw, parse_raw
from consult.wire import RAW, encode_samples, kind_of, parse_any_head
from diag.frames import Frame
from diag.samples import SignalInfo, StreamSchema

VIN_FRAME = Frame(0x7E8, b"LHZEV400", t_ns=1_760_000_000_000_000_000)


class Viewer:
    """A page's websocket without its page."""

    def __init__(self):
        self.said, self.blocks = [], []

    async def run(self, socket):
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                self.said.append(json.loads(message.data))
            elif message.type is aiohttp.WSMsgType.BINARY:
                self.blocks.append(message.data)

    def of(self, kind):
        return [message for message in self.said if message["type"] == kind]


@pytest.fixture
async def watch(service):
    """Joins a room in a role; gives the viewer and its socket."""
    http, tasks = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()), []

    async def join(room, role):
        code = service.invite(room, role).code
        async with http.post(f"{service.url}/redeem", json={"invite": code}) as answer:
            cookie = answer.cookies["huizhen_session"].value
        headers = {"Cookie": f"huizhen_session={cookie}"}
        socket = await http.ws_connect(f"{service.url}/r/{room}/watch", headers=headers)
        viewer = Viewer()
        tasks.append(asyncio.create_task(viewer.run(socket)))
        return viewer, socket

    yield join
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await http.close()


async def raw_frames():
    for number in range(10_000):
        stamp = time.time_ns()
        yield (Frame(0x7E8, b"LHZEV400", t_ns=stamp), Frame(0x100, bytes([number % 256]), t_ns=stamp + 1000))
        await asyncio.sleep(0.02)


@pytest.fixture
async def three_streams(service, car, report):
    """Signals as stream 1, cells as stream 2, the bus as stream 3."""
    cells = type(car)()
    cells.schema = StreamSchema(2, cells.schema.signals, "cells", "cells", 20.0)
    raw = StreamSchema(3, (), "raw", "raw", 50.0)
    async with joined_room(service.url, service.invite_technician().code) as agent:
        more = [(cells.schema, cells.blocks()), (raw, raw_frames())]
        run = asyncio.create_task(agent.run(report, car.schema, car.blocks(), more=more))
        yield agent
        agent.leave()
        async with asyncio.timeout(120):
            await run


def streams_of(viewer):
    return {parse_any_head(block, (1, 3), most=20_000).stream for block in viewer.blocks}


async def test_raw_frames_go_to_who_may_see_the_vin_and_to_nobody_else(service, watch, three_streams, eventually):
    agent = three_streams
    await eventually(lambda: agent.room in service.rooms and service.rooms[agent.room].rings)
    lead, _ = await watch(agent.room, Role.LEAD)
    others = [await watch(agent.room, role) for role in (Role.EXPERT, Role.OBSERVER)]
    await eventually(lambda: streams_of(lead) == {1, 2, 3})
    await eventually(lambda: all(streams_of(viewer) == {1, 2} for viewer, _ in others))
    head, frames = parse_raw(next(block for block in lead.blocks if kind_of(block) == RAW))
    assert (head.stream, frames[0].data) == (3, b"LHZEV400")
    schemas = {stream["stream"]: (stream["name"], stream["kind"]) for stream in lead.of("car")[0]["streams"]}
    assert schemas == {1: ("", "signals"), 2: ("cells", "cells"), 3: ("raw", "raw")}
    epoch = service.rooms[agent.room].epoch
    for viewer, socket in others:
        assert {stream["stream"] for stream in viewer.of("car")[0]["streams"]} == {1, 2}
        await socket.send_json({"type": "want", "stream": 3, "epoch": epoch, "first": 0, "last": 5})
        await eventually(lambda viewer=viewer: viewer.of("refused") and viewer.of("beat"))
        assert viewer.of("refused")[0]["code"] == "consult.role-refused"
        assert {head["stream"] for beat in viewer.of("beat") for head in beat["heads"]} == {1, 2}
        assert streams_of(viewer) == {1, 2}
    kept = service.rooms[agent.room].journal.blocks(3, epoch, 0, 10)
    assert [parse_raw(data)[0].seq for _, data in kept[:3]] == [0, 1, 2]


async def test_raw_frames_never_take_the_live_edge_of_who_may_not(service, three_streams, eventually):
    """The data channel is a path of its own: the room decides there too."""
    from consult.member import Member

    class Edge:
        def __init__(self):
            self.taken = []

        def offer_block(self, data):
            self.taken.append(data)
            return True

        offer_beat = offer_block

    agent = three_streams
    await eventually(lambda: agent.room in service.rooms and service.rooms[agent.room].rings)
    room = service.rooms[agent.room]
    members = [Member(900, Role.EXPERT, "x", edge=Edge()), Member(901, Role.LEAD, "y", edge=Edge())]
    for member in members:
        room.enter(member, 0)
    before = room.rings[3].next
    await eventually(lambda: room.rings[3].next > before + 20 and len(members[0].edge.taken) > 10)
    for member in members:
        room.leave(member, 0)
    assert RAW not in map(kind_of, members[0].edge.taken)


def hello_to(room, **more):
    from consult.messages import FROM_AGENT, Hello, encode_message, parse_message

    schemas = [
        StreamSchema(0, (SignalInfo("a", "V"),), "signals").to_json(),
        StreamSchema(1, (), "raw", "raw").to_json(),
    ]
    hello = Hello(1, 5, {}, schemas, 0, **more)
    return room.take_hello(parse_message(encode_message(hello), FROM_AGENT), 1, "王", 10)


@pytest.fixture
def room(tmp_path):
    from consult.journal import Journal
    from consult.room import Room

    with Journal(tmp_path / "a.room") as journal:
        yield Room("abc", journal, created_us=0)


def sample(seq, stream=0):
    import numpy as np

    one = np.ones(1, dtype=np.float32)
    return encode_samples(stream=stream, epoch=5, seq=seq, t_us=seq, values=one, valid=one == 1)


def test_a_block_of_the_wrong_kind_is_refused(room):
    hello_to(room)
    with pytest.raises(BlockBroken, match="kind 3"):
        room.accept(encode_raw([VIN_FRAME], stream=0, epoch=5, seq=0))
    with pytest.raises(BlockBroken, match="kind 1"):
        room.accept(sample(0, stream=1))


def test_numbers_that_were_left_out_are_told_to_all_and_kept(room):
    hello_to(room)
    for seq in (0, 1, 5, 6):
        room.accept(sample(seq), now_us=99)
    (gap,) = [event for event in room.events_after(0) if event["kind"] == "gap"]
    assert gap["body"] == {"stream": 0, "epoch": 5, "first": 2, "last": 4}
    assert (gap["t_us"], gap["who"]["name"]) == (99, "王")


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "video"},
        {"kind": "raw"},
        {"name": 7},
        {"name": "x" * 81},
        {"rate_hz": -1},
        {"rate_hz": "20"},
        {"rate_hz": True},
        {"signals": None},
        {"stream": 70_000},
    ],
)
def test_a_schema_that_is_none_is_refused(change):
    from consult.streamschema import checked_schema

    with pytest.raises(MessageBroken):
        checked_schema({**StreamSchema(0, (SignalInfo("a", "V"),)).to_json(), **change})


def dtc(display, mask="0x2F", ecu="0x7EC", kind=("stored",)):
    return {
        "code": display[:5],
        "display": display,
        "ecu": ecu,
        "raw": "00",
        "kind": list(kind),
        "status": {"mask": mask},
    }


def test_what_changed_is_what_came_went_or_is_otherwise():
    before = [dtc("P0AA6-1A"), dtc("P0DE6-16"), dtc("U0100-00")]
    after = [dtc("P0DE6-16", "0x28"), dtc("U0100-00"), dtc("P1234-00")]
    assert changed_codes(before, after) == ["P0DE6-16", "P1234-00", "P0AA6-1A"]
    assert changed_codes(before, before[::-1]) == []
    assert changed_codes([dtc("P0AA6")], [dtc("P0AA6", kind=("stored", "pending"))]) == ["P0AA6"]
    assert changed_codes([dtc("P0AA6")], [dtc("P0AA6", ecu="0x7E8")]) == ["P0AA6"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"dtcs": []},
        {"dtcs": {}, "changed": []},
        {"dtcs": [1], "changed": []},
        {"dtcs": [{"code": "P0AA6"}], "changed": []},
        {"dtcs": [], "changed": [7]},
        {"dtcs": [], "changed": ["x" * 65]},
        {"dtcs": [dtc("P0AA6")] * 2001, "changed": []},
    ],
)
def test_fault_codes_that_are_none_are_refused(body):
    with pytest.raises(MessageBroken):
        check_dtcs(body)


async def test_changed_fault_codes_reach_the_viewers_as_an_event_once(service, car, report, in_room, watch, eventually):
    events = []
    async with in_room(service, car, report, on_event=events.append) as agent:
        await eventually(lambda: agent.connections)
        viewer, _ = await watch(agent.room, Role.EXPERT)
        body = {"dtcs": [dtc("P0AA6-1A")], "changed": ["P0AA6-1A"]}
        agent.tell_dtcs(body)
        await eventually(lambda: [event for event in viewer.of("event") if event["kind"] == "dtc"])
        (told,) = [event for event in viewer.of("event") if event["kind"] == "dtc"]
        assert told["body"] == body
        await eventually(lambda: [event for event in events if event.kind == "dtc"])
        for socket in list(service.sockets):
            await socket.close()
        await eventually(lambda: agent.connections == 2)
        agent.say("still here")
        await eventually(lambda: [event for event in events if event.kind == "chat"])
        assert len([event for event in events if event.kind == "dtc"]) == 1, "heard once, not told again"


async def test_codes_that_appear_while_the_car_is_watched_are_seen_at_a_later_reading(eventually):
    """The simulated car: an insulation fault strikes some seconds after the scan; live frames go on meanwhile."""
    import virtualbus
    from diag.canbus import open_can
    from diag.carscan import scan
    from diag.codewatch import CodeWatch
    from diag.guard import TransmitGuard
    from diag.request import IsoTpLink
    from virtualbus.car import Car
    from virtualbus.errors import Phrase
    from virtualbus.faults import make_fault
    from virtualbus.scenario import Phase, Scenario

    cycle = (Phase("drive", 3.0), Phase("park", 5.0))
    story = Scenario("live", Phrase("live", "live"), "ev400", (), cycle=cycle, now="drive")
    strikes_s = Car(story, 3).plant.t_s + 8.0
    broken = Scenario(
        "live", Phrase("live", "live"), "ev400", (make_fault("drive-pump", from_s=strikes_s),), cycle=cycle, now="drive"
    )
    with virtualbus.running(broken, seed=3) as car:
        async with await open_can(car.interface, car.channel, 500_000, guard=TransmitGuard()) as link:
            report = await scan(link, simulated=True, listen_s=0.5)
            told = [found.to_json() for found in report.dtcs]
            assert "P0A05" not in json.dumps(told)
            async with IsoTpLink(link) as requests:
                watch = CodeWatch(requests, report)
                assert not watch.is_empty
                now = [found.to_json() for found in await watch.read()]
                assert changed_codes(told, now) == [], "read again, it is what the scan said"
                async with asyncio.timeout(120):
                    while not (changed := changed_codes(told, now)):
                        await asyncio.sleep(0.5)
                        now = [found.to_json() for found in await watch.read()]
    assert any(display.startswith("P0A05") for display in changed)
    assert check_dtcs({"dtcs": now, "changed": changed})


def test_why_the_library_was_not_enough_is_said_in_both_languages():
    from huizhen.roomlines import with_reason

    match = {"p": 0.234}
    assert with_reason({"verdict": "direct", "matches": [match]})["why"] is None
    assert with_reason({"verdict": "none", "matches": []})["why"] is None
    assert "23 %" in with_reason({"verdict": "test", "matches": [match]})["why"]["en"]
    assert "23 %" in with_reason({"verdict": "expert", "matches": [match]})["why"]["zh"]
    assert "no known case" in with_reason({"verdict": "unknown", "matches": []})["why"]["en"]
