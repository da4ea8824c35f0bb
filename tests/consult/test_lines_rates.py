"""A line's pace and what goes over a thin one, by a clock of the test's own: no sockets, no waiting."""

import asyncio
import dataclasses
import itertools
from collections import deque

import numpy as np
import pytest

from consult.batches import parse_batch
from consult.outbox import Outbox
from consult.outflow import Era, Outflow
from consult.rates import EnvelopeClock, Pacer
from consult.spool import Spool
from consult.wire import BATCH, ENVELOPE, SAMPLES, encode_samples, kind_of, parse_envelope, parse_head, t_us_of


def block(seq, *, t_us=0, signals=200, stream=0):
    values = np.full(signals, seq % 7, dtype=np.float32)
    return encode_samples(stream=stream, epoch=1, seq=seq, t_us=t_us, values=values, valid=values == values)


@dataclasses.dataclass
class Wire:
    """A line with a rate and a delay. What goes in comes out later, in order; pings come back as echoes."""

    bytes_s: float
    delay_s: float
    free_s: float = 0.0
    under_way: deque = dataclasses.field(default_factory=deque)
    echoes: deque = dataclasses.field(default_factory=deque)

    def put(self, message, now_s):
        self.free_s = max(self.free_s, now_s) + len(message) / self.bytes_s
        self.under_way.append((self.free_s + self.delay_s, message))

    def ping(self, token, now_s):
        self.echoes.append((max(self.free_s, now_s) + 2 * self.delay_s, token))

    def take(self, now_s):
        arrived = []
        while self.under_way and self.under_way[0][0] <= now_s:
            arrived.append(self.under_way.popleft()[1])
        return arrived


def run(wire, *, seconds, hz=50, step_s=0.005, cut=None, kinds=("signals",)):
    """An agent's outflow over a wire. Returns (second, message) of all that arrived, and the outflow."""
    spool, pacer = Spool(), Pacer()
    schemas = [{"stream": number, "kind": kind} for number, kind in enumerate(kinds)]
    era = Era(1, schemas, {number: spool.lane(1, number) for number in range(len(kinds))})
    outflow = Outflow(spool, era, {}, pacer)
    arrived, now_s, made = [], 0.0, 0
    while now_s < seconds:
        while made < now_s * hz:
            for lane in era.lanes.values():
                spool.add(lane, block(lane.next, t_us=int(now_s * 1e6), stream=lane.stream))
            made += 1
        if cut is None or not cut[0] <= now_s < cut[1]:
            while (message := outflow.next_message(now_s, int(now_s * 1e6))) is not None:
                wire.put(message, now_s)
                pacer.note_sent(len(message))
                if (token := pacer.next_ping(now_s)) is not None:
                    wire.ping(token, now_s)
            if (token := pacer.next_ping(now_s)) is not None:
                wire.ping(token, now_s)
            while wire.echoes and wire.echoes[0][0] <= now_s:
                pacer.note_echo(wire.echoes.popleft()[1], now_s)
            arrived += [(now_s, message) for message in wire.take(now_s)]
        now_s += step_s
    return arrived, outflow, era


def ages(arrived):
    """At each arrival that shows something newer: how old that was."""
    found, newest = [], -1
    for now_s, message in arrived:
        if kind_of(message) == ENVELOPE:
            head = parse_envelope(message).head
        elif kind_of(message) == BATCH:
            head = parse_batch(message)[-1][0]
        else:
            head = parse_head(message)
        if head.t_us > newest:
            newest = head.t_us
            found.append((now_s, now_s - head.t_us / 1e6))
    return found


def truth(arrived):
    numbers = []
    for _, message in arrived:
        if kind_of(message) == BATCH:
            numbers += [head.seq for head, _ in parse_batch(message)]
        elif kind_of(message) == SAMPLES:
            numbers.append(parse_head(message).seq)
    return numbers


def test_a_good_line_gets_every_block_as_it_is_and_at_once():
    arrived, outflow, _ = run(Wire(10e6, 0.01), seconds=20)
    assert outflow.envelopes == outflow.batches == 0
    assert truth(arrived) == list(range(len(arrived)))
    assert max(age for _, age in ages(arrived)) < 0.05


def test_a_line_of_128_kbit_s_stays_current_and_nothing_is_left_out():
    arrived, outflow, era = run(Wire(16_000, 0.2), seconds=60)
    assert outflow.envelopes > 60
    assert outflow.batches > 10
    shown = ages(arrived)
    late = [age for now_s, age in shown if now_s > 5]
    gaps = [b - a for (a, _), (b, _) in itertools.pairwise(shown) if a > 5]
    assert max(late) + max(gaps) < 2.0, "the picture is never older than this"
    numbers = truth(arrived)
    assert numbers == list(range(len(numbers))), "in order, each once"
    assert len(numbers) > 0.9 * era.lanes[0].next


def test_after_a_cut_now_comes_first_and_then_what_was_missed():
    arrived, _, era = run(Wire(100_000, 0.05), seconds=90, cut=(10.0, 55.0))
    back = [entry for entry in arrived if entry[0] >= 55.0 and t_us_of(entry[1]) > 11_000_000]
    assert kind_of(back[0][1]) == ENVELOPE
    assert ages(back)[0][1] < 0.2
    numbers = truth(arrived)
    assert numbers == list(range(len(numbers)))
    assert era.lanes[0].next - numbers[-1] < 20, "caught up"


def test_raw_frames_wait_for_the_signals():
    """A stream of kind raw is sent last, and never as an envelope."""
    spool, pacer = Spool(), Pacer()
    schemas = [{"stream": 0, "kind": "raw"}, {"stream": 3, "kind": "signals"}]
    era = Era(1, schemas, {0: spool.lane(1, 0), 3: spool.lane(1, 3)})
    for lane in era.lanes.values():
        for _ in range(3):
            spool.add(lane, block(lane.next, stream=lane.stream))
    outflow = Outflow(spool, era, {}, pacer)
    order = [parse_head(outflow.next_message(0.0, 0)).stream for _ in range(6)]
    assert order == [3, 3, 3, 0, 0, 0]


def test_the_pacer_opens_up_on_a_wide_line_and_closes_on_a_queue():
    pacer, now_s, token = Pacer(), 0.0, 0
    for _ in range(40):
        while pacer.is_open:
            pacer.note_sent(1000)
            token = pacer.next_ping(now_s) or token
        now_s += 0.02
        pacer.note_echo(token, now_s)
    wide = pacer.window
    assert wide > 500_000
    for _ in range(10):
        while pacer.is_open:
            pacer.note_sent(1000)
            token = pacer.next_ping(now_s) or token
        now_s += 2.0
        pacer.note_echo(token, now_s)
    assert pacer.window < wide / 20
    assert pacer.rtt_s == 2.0


def test_echoes_that_nobody_asked_for_change_nothing():
    pacer = Pacer()
    for token in (0, 1, 99):
        pacer.note_echo(token, 1.0)
    pacer.note_sent(100)
    token = pacer.next_ping(1.0)
    pacer.note_echo(token + 1, 1.1)
    assert pacer.under_way == 100
    pacer.note_echo(token, 1.1)
    pacer.note_echo(token, 9.9)
    assert (pacer.under_way, round(pacer.rtt_s, 3)) == (0, 0.1)


def test_envelopes_leave_room_for_the_truth():
    clock = EnvelopeClock()
    clock.note_wait(0.6)
    assert clock.is_due(10.0)
    clock.note_envelope(1600, 16_000, 10.0)
    assert not clock.is_due(10.19)
    assert clock.is_due(10.21), "1600 bytes are half of what 16 kB/s carry in a fifth of a second"
    clock.note_envelope(1600, 1e9, 20.0)
    assert clock.is_due(20.1), "no more than ten a second"
    clock.note_wait(0.3)
    assert clock.is_thin, "between the two limits it stays as it was"
    clock.note_wait(0.1)
    assert not clock.is_due(99.0)


async def taken(outbox, clock_s):
    try:
        async with asyncio.timeout(0.02):
            return await outbox.take(clock_s)
    except TimeoutError:
        return "nothing"


async def test_a_viewer_whose_line_is_full_gets_now_and_then_what_was_missed():
    outbox, now = Outbox(), [0.0]
    outbox.pacer = Pacer()
    outbox.pacer.note_sent(10_000_000)
    token = outbox.pacer.next_ping(0.0)
    for seq in range(60):
        now[0] = seq * 0.02
        outbox.push_live(block(seq, t_us=int(now[0] * 1e6)))
        assert await taken(outbox, lambda: now[0]) == "nothing", "it has enough under way"
    outbox.pacer.note_echo(token, now[0])
    envelope = parse_envelope(await taken(outbox, lambda: now[0]))
    assert (envelope.first, envelope.head.seq) == (0, 59)
    outbox.push_fill([block(seq) for seq in range(60)])
    outbox.push_fill([block(seq) for seq in range(60)])
    got = []
    while isinstance(message := await taken(outbox, lambda: now[0]), bytes):
        got += [head.seq for head, _ in parse_batch(message)]
    assert got == list(range(60)), "asked for twice, sent once"
    now[0] += 3
    await taken(outbox, lambda: now[0])
    outbox.push_live(block(60))
    assert parse_head(await taken(outbox, lambda: now[0])).seq == 60, (
        "a line that is good again gets blocks as they are"
    )


async def test_words_pass_a_full_line():
    outbox = Outbox()
    outbox.pacer = Pacer()
    outbox.pacer.note_sent(10_000_000)
    outbox.push_live(block(0))
    outbox.say("closed")
    assert await taken(outbox, lambda: 0.0) == "closed"


@pytest.mark.parametrize("queue", [[], ["a"]])
async def test_an_outbox_that_was_stopped_gives_its_last_words(queue):
    outbox = Outbox()
    for text in queue:
        outbox.say(text)
    outbox.push_live(block(0))
    outbox.stop()
    assert [await outbox.take() for _ in range(len(queue) + 1)] == [*queue, None]
