"""What every bus has to keep, asked of each there is; a second one proves that the suite is not cut for the first."""

import asyncio
import contextlib
import itertools
import json
import logging

import pytest

from consult.notices import Notice, NoticeBoard
from consult.roombus import LocalBus
from diag.facts import Text

NOTICE = Notice("queued", "danger", Text("a car waits", "有车辆等待"), Text("", ""), 5, "0" * 12, "/rooms", ("li",))


class Broker:
    """A server that hands each line of a client to all others, as a real bus' server does."""

    def __init__(self):
        self.writers = set()

    async def serve(self, reader, writer):
        self.writers.add(writer)
        while line := await reader.readline():
            for other in self.writers - {writer}:
                other.write(line)
        self.writers.discard(writer)
        writer.close()


class SocketBus:
    """A bus over a broker. What oneself says is heard at once; a client tells the broker in the order of saying."""

    def __init__(self, reader, writer):
        self.local, self.writer = LocalBus(), writer
        self.task = asyncio.create_task(self.hear(reader))

    async def hear(self, reader):
        while line := await reader.readline():
            self.local.publish(*json.loads(line))

    def publish(self, topic, message):
        self.local.publish(topic, message)
        self.writer.write(json.dumps([topic, message]).encode() + b"\n")

    def listen(self, topic, listener):
        return self.local.listen(topic, listener)


@pytest.fixture(params=["local", "socket"])
async def two_ends(request, tmp_path):
    """Two handles on one bus: the same object, or two processes' clients."""
    if request.param == "local":
        bus = LocalBus()
        yield bus, bus
        return
    broker = Broker()
    server = await asyncio.start_unix_server(broker.serve, tmp_path / "bus")
    ends = [SocketBus(*await asyncio.open_unix_connection(tmp_path / "bus")) for _ in range(2)]
    async with asyncio.timeout(120):
        while len(broker.writers) < 2:  # noqa: ASYNC110 - the server takes them in by itself
            await asyncio.sleep(0.01)
    yield ends
    for end in ends:
        end.writer.close()
        await asyncio.wait_for(end.task, 30)
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("which", [0, 1])
async def test_every_listener_hears_in_order_what_was_said_since(two_ends, which, eventually):
    said, ear = two_ends[0], two_ends[which]
    one, other, elsewhere = [], [], []
    said.publish("topic", {"n": -1})
    for heard in (one, other):
        ear.listen("topic", heard.append)
    ear.listen("another", elsewhere.append)
    for n in range(500):
        said.publish("topic", {"n": n})
    said.publish("another", {"text": "电池", "deep": {"list": [1, None, True, 2.5]}})
    await eventually(lambda: elsewhere)
    numbers = [message["n"] for message in one if message["n"] >= 0]
    assert numbers == list(range(500))
    assert other == one
    assert elsewhere == [{"text": "电池", "deep": {"list": [1, None, True, 2.5]}}]


@pytest.mark.parametrize("which", [0, 1])
async def test_who_leaves_hears_nothing_more_and_who_fails_harms_nobody(two_ends, which, eventually, caplog):
    said, ear = two_ends[0], two_ends[which]
    left, stayed = [], []
    leave = ear.listen("topic", left.append)

    def fails(message):
        message["deep"].clear()
        raise RuntimeError("a listener's own trouble")

    ear.listen("topic", fails)
    ear.listen("topic", stayed.append)
    with caplog.at_level(logging.ERROR):
        said.publish("topic", {"deep": [1]})
        await eventually(lambda: stayed)
        leave()
        leave()
        said.publish("topic", {"deep": [2]})
        await eventually(lambda: len(stayed) == 2)
    assert left == [{"deep": [1]}]
    assert stayed == [{"deep": [1]}, {"deep": [2]}], "what one listener does to its message no other sees"
    assert "a listener's own trouble" in caplog.text


async def test_a_listener_may_listen_and_leave_while_it_is_told(two_ends, eventually):
    bus, heard, leaves = two_ends[0], [], []

    def once(message):
        heard.append(message["n"])
        leaves.pop()()
        bus.listen("topic", lambda later: heard.append(later["n"] * 10))

    leaves.append(bus.listen("topic", once))
    for n in (1, 2):
        bus.publish("topic", {"n": n})
    await eventually(lambda: len(heard) == 2)
    assert heard == [1, 20]


async def test_notices_reach_every_process(two_ends, eventually):
    boards = [NoticeBoard(bus) for bus in two_ends]
    heard = []
    for board in set(boards[:1] if two_ends[0] is two_ends[1] else boards):
        board.listen(heard.append)
    boards[1].publish(NOTICE)
    await eventually(lambda: len(heard) == len({id(bus) for bus in two_ends}))
    assert set(heard) == {NOTICE}


def test_a_notice_is_the_same_after_its_way_through_json():
    assert Notice.from_json(json.loads(json.dumps(NOTICE.to_json()))) == NOTICE
    for missing in NOTICE.to_json():
        words = NOTICE.to_json()
        del words[missing]
        if missing in ("room", "path"):
            continue
        with pytest.raises((KeyError, TypeError)):
            Notice.from_json(words)


def test_each_board_without_a_bus_stands_alone():
    boards, heard = [NoticeBoard(), NoticeBoard()], []
    boards[0].listen(heard.append)
    boards[1].publish(NOTICE)
    assert heard == []
    with contextlib.suppress(StopIteration):
        next(itertools.islice(boards, 0, 1)).publish(NOTICE)
    assert heard == [NOTICE]
