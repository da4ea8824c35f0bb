import asyncio
import json

import aiohttp
import numpy as np
import pytest

from consult.errors import RecordingBroken
from consult.invites import Role
from consult.journal import Journal
from consult.messages import Chat, Mark, Play, Want, encode_message
from consult.recording import Recording
from consult.replay import Playback
from consult.replayservice import ReplayConfig, running_replay
from consult.wire import encode_samples, parse_head

T0 = 1_700_000_000_000_000
VIN = "LHZEV4001N0001234"
SECOND = 1_000_000


def block(seq, *, stream=1, epoch=7, t_us=None, count=2):
    data = encode_samples(
        stream=stream, epoch=epoch, seq=seq, t_us=T0 + seq * 20_000 if t_us is None else t_us,
        values=np.full(count, seq, np.float32), valid=np.ones(count, np.bool_),
    )  # fmt: skip
    return parse_head(data), data


def schema(stream, *names, kind="signals"):
    return {"stream": stream, "kind": kind, "signals": [{"name": name, "unit": "V"} for name in names]}


def event(n, kind, t_us, *, who=2, role="expert", text="", body=None):
    who = {"id": who, "role": role, "name": f"p{who}"}
    return {
        "type": "event", "n": n, "t_us": t_us, "kind": kind, "who": who, "id": f"e{n}", "text": text, "body": body or {}
    }  # fmt: skip


@pytest.fixture
def record(tmp_path):
    """Five minutes of one epoch, one of another; people come and go; the report changes once."""
    path = tmp_path / "20231114-221320-0123456789ab.room"
    report = {"schema": "huizhen.scan/1", "vehicle": {"vin": VIN, "make": "HZ"}}
    clock = [T0 + 300 * SECOND]
    with Journal(path, room="0123456789ab", now_us=lambda: clock[0]) as journal:
        journal.write(
            documents=[
                ("schemas", T0 - 5_000, {"epoch": 7, "schemas": [schema(1, "a", "b"), schema(2, "raw", kind="raw")]}),
                ("report", T0 - 5_000, report),
            ],
            events=[event(1, "online", T0 + 1_000, who=1, role="technician"), event(2, "join", T0 + 2 * SECOND)],
            blocks=[block(n) for n in range(15_000)] + [block(n, stream=2, count=1) for n in range(0, 15_000, 100)],
        )
        journal.write(
            documents=[("report", T0 + 200 * SECOND, {**report, "complete": True})],
            events=[
                event(3, "chat", T0 + 250 * SECOND, text=f"看 {VIN}"),
                event(4, "offline", T0 + 300 * SECOND, who=1, role="technician"),
                event(5, "leave", T0 + 301 * SECOND),
            ],
        )
        again = T0 + 310 * SECOND
        clock[0] = T0 + 370 * SECOND
        journal.write(
            documents=[("schemas", again + 900, {"epoch": 8, "schemas": [schema(1, "a", "b", "c")]})],
            events=[event(6, "online", again + 1_000, who=1, role="technician")],
            blocks=[block(n, epoch=8, t_us=again + n * 20_000, count=3) for n in range(3_000)],
        )
        journal.end("consult.room-closed")
    return path


class Page:
    """What a page would have after what it heard."""

    def __init__(self):
        self.cars, self.events, self.blocks, self.clocks, self.beats, self.people, self.other = (
            [],
            [],
            [],
            [],
            [],
            [],
            [],
        )

    def hear(self, items):
        for item in items:
            if isinstance(item, bytes):
                self.blocks.append(parse_head(item))
                continue
            message = json.loads(item)
            kind = message["type"]
            if kind == "clock" and message["reset"]:
                self.blocks, self.events, self.cars = [], [], []
            if kind == "welcome":
                self.events += message["events"]
            places = {"car": self.cars, "event": self.events, "clock": self.clocks, "beat": self.beats}
            places.get(kind, self.people if kind == "people" else self.other).append(message)

    def names(self):
        return [(head.epoch, head.stream, head.seq) for head in self.blocks]


@pytest.fixture
def recording(record):
    with Recording(record) as opened:
        yield opened


def playback(recording, *, role=Role.TECHNICIAN, speed=1.0):
    return Playback(recording, room="0123456789ab", role=role, person=1, name="王", speed=speed, now_s=0.0)


def run(play, page, now_s, until_s, tick_s=0.05):
    while now_s < until_s:
        now_s += tick_s
        page.hear(play.step(now_s))
    return now_s


def test_everything_comes_once_in_order_with_the_car_of_its_time(recording):
    play, page = playback(recording, speed=100.0), Page()
    page.hear(play.begin(0.0))
    run(play, page, 0.0, 5.0)
    assert page.events == recording.events()
    assert len(page.names()) == len(set(page.names())) == 15_000 + 150 + 3_000
    assert [head.t_us for head in page.blocks] == sorted(head.t_us for head in page.blocks)
    assert [[stream["epoch"] for stream in car["streams"]] for car in page.cars] == [[7, 7], [7, 7], [8]]
    assert page.cars[1]["report"]["complete"] is True
    assert page.clocks[-1] == {"type": "clock", "at_us": play.to_us, "speed": 0.0, "reset": False}
    assert {beat["agent"] for beat in page.beats} == {True, False}
    assert page.people[-1]["people"] == [{"id": 1, "role": "technician", "name": "p1", "line": None}]


def test_nothing_comes_before_its_time_at_any_speed(recording):
    for speed in (0.1, 1.0, 10.0):
        play, page = playback(recording, speed=speed), Page()
        page.hear(play.begin(0.0))
        run(play, page, 0.0, 2.0)
        latest = max(head.t_us for head in page.blocks)
        expected = play.from_us + 2.0 * speed * SECOND
        assert expected - 25_000 - 0.06 * speed * SECOND <= latest <= expected + 0.06 * speed * SECOND
        assert all(one["t_us"] <= expected + 0.06 * speed * SECOND for one in page.events)


def test_a_jump_gives_the_state_of_that_time_and_the_two_minutes_before(recording):
    play, page = playback(recording), Page()
    page.hear(play.begin(0.0))
    now_s = run(play, page, 0.0, 1.0)
    for target_s in (260, 130, 330):
        at_us = T0 + target_s * SECOND
        page.hear(play.take(Play(speed=0.0, t_us=at_us), now_s))
        now_s = run(play, page, now_s, now_s + 3)
        assert page.clocks[-1]["at_us"] == at_us, "paused"
        assert [one["n"] for one in page.events] == [one["n"] for one in recording.events() if one["t_us"] <= at_us]
        times = [head.t_us for head in page.blocks]
        assert min(times) == at_us - 120 * SECOND
        assert max(times) in (at_us, at_us - 10_000)
        assert page.cars[0]["streams"][0]["first"] == page.blocks[0].seq
    assert [car["streams"][0]["epoch"] for car in page.cars] == [7, 8], "a jump over the restart shows both epochs"
    page.hear(play.take(Play(speed=2.0), now_s))
    before = len(page.blocks)
    run(play, page, now_s, now_s + 1)
    assert 90 <= len(page.blocks) - before <= 110


def test_a_page_that_cannot_keep_up_makes_time_wait_and_loses_nothing(recording):
    play, page = playback(recording, speed=100.0), Page()
    page.hear(play.begin(0.0))
    run(play, page, 0.0, 60.0, tick_s=1.0)
    assert len(page.names()) == len(set(page.names())) == 18_150


def test_speed_is_kept_within_what_a_replay_can_do(recording):
    play = playback(recording)
    for asked, got in ((0.0, 0.0), (0.001, 0.1), (1_000.0, 100.0), (5, 5)):
        (clock,) = map(json.loads, play.take(Play(speed=asked), 1.0))
        assert clock["speed"] == got
    clock, *_ = map(json.loads, play.take(Play(speed=1.0, t_us=5), 1.0))
    assert (clock["at_us"], clock["reset"]) == (play.from_us, True)
    clock, *_ = map(json.loads, play.take(Play(speed=1.0, t_us=1 << 52), 1.0))
    assert clock["at_us"] == play.to_us


def test_holes_are_filled_up_to_now_and_the_future_is_not_there_yet(recording):
    play, page = playback(recording), Page()
    page.hear(play.begin(0.0))
    now_s = run(play, page, 0.0, 2.0)
    page = Page()
    page.hear(play.take(Want(1, 7, 10, 200), now_s))
    have = [head.seq for head in page.blocks]
    assert have[0] == 10
    assert 95 <= have[-1] <= 105
    assert page.other == [{"type": "gone", "stream": 1, "epoch": 7, "ranges": [[have[-1] + 1, 200]]}]


def test_who_may_not_see_the_vin_sees_it_nowhere_and_no_raw_frames(recording):
    play, page = playback(recording, role=Role.EXPERT, speed=100.0), Page()
    said = play.begin(0.0)
    page.hear(said)
    for tick in range(200):
        items = play.step(tick * 0.05)
        said += items
        page.hear(items)
    assert not any(VIN in item for item in said if isinstance(item, str))
    assert {head.stream for head in page.blocks} == {1}
    assert page.cars[0]["vin"] == "LHZ…1234"
    page.hear(play.take(Want(2, 7, 0, 10), 11.0))
    assert page.other[-1]["type"] == "gone"
    seen = Page()
    seen.hear(playback(recording).begin(0.0))
    assert seen.cars[0]["vin"] == VIN


def test_nothing_in_a_recording_can_be_changed(recording):
    play = playback(recording)
    for message in (Chat("c1", "hello"), Mark("m1", 1, "a", T0)):
        (answer,) = map(json.loads, play.take(message, 1.0))
        assert answer == {"type": "refused", "code": "consult.replay-only", "id": message.id}


async def entered(service, http):
    code = service.invite_url().split("#")[1]
    async with http.post(f"{service.url}/redeem", json={"invite": code, "name": "王"}) as answer:
        assert answer.status == 200
        return (await answer.json())["path"]


async def test_the_page_is_served_on_a_file_and_plays_it(record):
    async with (
        running_replay(ReplayConfig(record, speed=100.0)) as service,
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http,
    ):
        async with http.get(f"{service.url}/r/{service.room}/watch") as refused:
            assert refused.status == 401
        path = await entered(service, http)
        async with http.get(f"{service.url}{path}") as page:
            assert "<script" in await page.text()
        heard = Page()
        async with http.ws_connect(f"{service.url}{path}/watch") as socket, asyncio.timeout(120):
            while not (heard.clocks and heard.clocks[-1]["speed"] == 0):
                heard.hear([(await socket.receive()).data])
            assert len(heard.names()) == len(set(heard.names())) == 18_150
            await socket.send_str(encode_message(Play(speed=1, t_us=T0 + 10 * SECOND)))
            while len(heard.blocks) != 506:
                heard.hear([(await socket.receive()).data])
            await socket.send_str('{"type":"chat","id":"c","text":"x"}')
            while not any(one["type"] == "refused" for one in heard.other):
                heard.hear([(await socket.receive()).data])
        question = {"stream": "1", "signal": "a", "from_us": str(T0), "to_us": str(T0 + 370 * SECOND), "points": "10"}
        async with http.get(f"{service.url}{path}/history", params=question) as answer:
            assert (answer.status, len(await answer.read())) == (200, 32 + 2 * 10 * 4)
        async with http.post(f"{service.url}{path}/renew", json={}) as answer:
            assert answer.status == 200


async def test_a_second_page_has_a_playback_of_its_own(record):
    async with running_replay(ReplayConfig(record)) as service:
        seen = []
        for _ in range(2):
            async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
                path = await entered(service, http)
                async with http.ws_connect(f"{service.url}{path}/watch") as socket, asyncio.timeout(120):
                    seen.append(json.loads((await socket.receive()).data)["replay"]["at_us"])
        assert seen == [service.from_us, service.from_us]


async def test_what_is_no_recording_is_refused(tmp_path):
    (tmp_path / "a.room").write_text("nothing")
    with pytest.raises(RecordingBroken, match=r"a\.room"):
        async with running_replay(ReplayConfig(tmp_path / "a.room")):
            pass


def test_an_empty_room_can_be_replayed(tmp_path):
    with Journal(tmp_path / "a.room", room="0123456789ab"):
        pass
    with Recording(tmp_path / "a.room") as recording:
        play, page = playback(recording), Page()
        page.hear(play.begin(0.0))
        run(play, page, 0.0, 1.0)
    assert page.cars[0]["streams"] == []
    assert page.clocks[-1]["speed"] == 0


async def test_a_reading_of_a_file_that_is_being_written_works(record):
    with Journal(record), Recording(record) as recording:
        assert recording.room == "0123456789ab"
        assert recording.bounds()[0] == T0


@pytest.mark.parametrize("ahead_s", [-3600, 0, 7200])
def test_events_stand_beside_their_samples_though_the_two_clocks_differ(tmp_path, ahead_s):
    """A laptop's clock that is wrong by hours: what was said at a sample is said there in the replay."""
    clock = [T0 + ahead_s * SECOND]
    with Journal(tmp_path / "a.room", room="0123456789ab", now_us=lambda: clock[0]) as journal:
        journal.write(documents=[("schemas", clock[0], {"epoch": 7, "schemas": [schema(1, "a", "b")]})])
        for second in range(10):
            clock[0] = T0 + (second + ahead_s) * SECOND + 150_000
            journal.write(
                blocks=[block(n) for n in range(second * 50, second * 50 + 5)],
                events=[event(second + 1, "chat", clock[0], text=str(second))],
            )
    with Recording(tmp_path / "a.room") as recording:
        play, page = playback(recording), Page()
        assert play.to_us - play.from_us < 10 * SECOND
        page.hear(play.begin(0.0))
        now_s = run(play, page, 0.0, 4.5)
        assert [one["text"] for one in page.events] == ["0", "1", "2", "3", "4"]
        assert page.events[0]["t_us"] == T0 + ahead_s * SECOND + 150_000, "told as it was"
        page.hear(play.take(Play(speed=0.0, t_us=T0 + 7 * SECOND + 500_000), now_s))
        assert len(page.events) == 8
