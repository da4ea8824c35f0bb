import asyncio
import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consult.errors import BlockBroken, ConsultError, JournalBroken, MessageBroken, RoleRefused
from consult.invites import Role
from consult.journal import Journal
from consult.member import Member
from consult.messages import (
    FROM_AGENT,
    FROM_SERVER,
    FROM_VIEWER,
    Chat,
    Hello,
    Want,
    clean_name,
    encode_message,
    parse_message,
)
from consult.outbox import MAX_LIVE, Outbox
from consult.redaction import pseudonym_from_vin, redact_report
from consult.ring import RING_US
from consult.room import Room
from consult.wire import encode_samples

SCHEMA = {"stream": 1, "signals": [{"name": "a", "unit": "V"}]}


def block(seq, *, epoch=9, stream=1, t_us=None, count=1):
    values = np.full(count, seq, dtype=np.float32)
    t_us = 1_000_000 + seq * 50_000 if t_us is None else t_us
    return encode_samples(stream=stream, epoch=epoch, seq=seq, t_us=t_us, values=values, valid=np.ones(count, np.bool_))


@pytest.fixture
def room(tmp_path):
    with Journal(tmp_path / "a.room") as journal:
        room = Room("a", journal, created_us=0)
        room.take_hello(Hello(1, 9, {"vehicle": {"vin": "LHZEV4001N0001234"}}, [SCHEMA], 0), 1, "Wang", 0)
        yield room


def written(room):
    batch = room.take_batch()
    room.write_batch(batch)
    room.acknowledge(batch)


def words(outbox):
    """Everything queued as JSON, taken out."""
    outbox.stop()

    async def take():
        found = []
        while (item := await outbox.take()) is not None:
            found.append(json.loads(item))
        return found

    return asyncio.run(take())


def test_blocks_are_kept_passed_on_and_acknowledged_after_the_journal_has_them(room):
    room.agent = Outbox()
    member = Member(2, Role.EXPERT, "Li")
    room.enter(member, 0)
    for seq in range(3):
        room.accept(block(seq))
    assert room.acks() == []
    written(room)
    assert [json.loads(ack)["next"] for ack in room.acks()] == [3]
    assert [seq for seq, _ in room.journal.blocks(1, 9, 0, 99)] == [0, 1, 2]
    assert len(member.outbox._live) == 3


def test_a_block_that_comes_twice_is_one_block(room):
    for seq in (0, 1, 0, 1, 2, 2):
        room.accept(block(seq))
    written(room)
    assert [seq for seq, _ in room.journal.blocks(1, 9, 0, 99)] == [0, 1, 2]


@pytest.mark.parametrize(
    "wrong", [block(0, epoch=8), block(0, stream=2), block(0, count=2), b"", b"x" * 20_000], ids=range(5)
)
def test_blocks_that_were_not_announced_are_refused(room, wrong):
    with pytest.raises(BlockBroken):
        room.accept(wrong)


def test_the_ring_holds_two_minutes_and_the_journal_the_rest(room):
    for seq in range(400):
        room.accept(block(seq, t_us=seq * 1_000_000))
    written(room)
    ring = room.rings[1]
    assert ring.next == 400
    assert ring.first == 399 - RING_US // 1_000_000
    found, missing = room.blocks_in_ring(Want(1, 9, 270, 500))
    assert len(found) == 400 - ring.first
    assert missing == list(range(270, ring.first))
    assert len(room.journal.blocks(1, 9, missing[0], missing[-1])) == len(missing)


def test_a_want_of_another_epoch_finds_nothing(room):
    room.accept(block(0))
    assert room.blocks_in_ring(Want(1, 8, 0, 3)) == ([], [0, 1, 2, 3])


def test_the_same_stream_may_not_change_within_an_epoch(room):
    with pytest.raises(MessageBroken):
        room.take_hello(Hello(1, 9, {}, [{"stream": 2, "signals": []}], 0), 1, "Wang", 0)
    assert room.take_hello(Hello(1, 10, {}, [{"stream": 2, "signals": []}], 0), 1, "Wang", 0) == {"2": 0}


def test_a_slow_viewer_loses_its_oldest_blocks_and_harms_nobody(room):
    slow, quick = Member(2, Role.EXPERT, "slow"), Member(3, Role.EXPERT, "quick")
    room.enter(slow, 0)
    room.enter(quick, 0)
    for seq in range(MAX_LIVE * 3):
        room.accept(block(seq))
        quick.outbox.drop_live()
    assert slow.outbox.dropped == MAX_LIVE * 2
    assert quick.outbox.dropped == 0
    assert len(slow.outbox._live) == MAX_LIVE
    assert len(room.blocks_in_ring(Want(1, 9, 0, MAX_LIVE * 3))[0]) == MAX_LIVE * 3, "and can ask for them"


def test_a_peer_that_reads_no_words_is_given_up():
    outbox = Outbox()
    for _ in range(9):
        outbox.say("x" * 1_000_000)
    assert outbox.overrun


def test_words_come_before_live_blocks_and_those_before_fills():
    async def order():
        outbox = Outbox()
        outbox.push_fill([b"fill"])
        outbox.push_live(b"live")
        outbox.say("word")
        return [await outbox.take() for _ in range(3)]

    assert asyncio.run(order()) == ["word", b"live", b"fill"]


def test_chat_is_said_once_however_often_it_is_sent(room):
    who = {"id": 2, "role": "expert", "name": "Li"}
    for _ in range(3):
        room.say(Chat("k1", " hello "), who, Role.EXPERT, 5)
    room.say(Chat("k2", "again"), who, Role.EXPERT, 6)
    written(room)
    assert [(event["n"], event["text"]) for event in room.journal.events()] == [(1, "hello"), (2, "again")]
    assert [event["n"] for event in room.events_after(1)] == [2]


def test_observers_do_not_speak_and_nobody_says_nothing(room):
    with pytest.raises(RoleRefused):
        room.say(Chat("k", "hello"), {"id": 4}, Role.OBSERVER, 0)
    with pytest.raises(MessageBroken):
        room.say(Chat("k", " \n "), {"id": 4}, Role.EXPERT, 0)


def test_experts_see_no_vin_and_leads_do(room):
    expert, lead = Member(2, Role.EXPERT, "Li"), Member(3, Role.LEAD, "Wu")
    room.enter(expert, 0)
    room.enter(lead, 0)
    seen = {message["type"]: message for message in words(expert.outbox)}["car"]
    assert seen["vin"] == "LHZ…1234"
    assert "LHZEV4001N0001234" not in json.dumps(seen)
    assert {message["type"]: message for message in words(lead.outbox)}["car"]["vin"] == "LHZEV4001N0001234"


def test_a_vin_is_found_wherever_it_hides():
    vin = "LHZEV4001N0001234"
    other = "WVWZZZ1KZAW000001"
    report = {
        "vehicle": {"vin": vin},
        "ecus": [{"identification": {"vin": other, "systemName": "BMS-VIN"}}],
        "findings": [{"title": {"en": f"BMS says {other.lower()}"}}],
        "freeze_frames": [{"raw": "62F190" + vin.encode().hex().upper() + "00", "code": "P0DE6"}],
        "n": 3,
    }
    text = json.dumps(redact_report(report))
    for hidden in (vin, other, vin.encode().hex(), other.lower()):
        assert hidden.lower() not in text.lower()
    assert pseudonym_from_vin(vin) in json.dumps(redact_report(report), ensure_ascii=False)
    assert redact_report(report)["freeze_frames"][0]["code"] == "P0DE6"
    assert report["vehicle"]["vin"] == vin, "the original stays"


@given(st.text())
def test_any_text_is_a_message_or_a_declared_error(text):
    for catalogue in (FROM_AGENT, FROM_SERVER, FROM_VIEWER):
        with contextlib.suppress(MessageBroken):
            parse_message(text, catalogue)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from([*FROM_AGENT, *FROM_VIEWER, *FROM_SERVER]), st.data())
def test_any_fields_make_a_message_that_encodes_again_or_a_declared_error(kind, data):
    from dataclasses import fields

    catalogue = {**FROM_AGENT, **FROM_VIEWER, **FROM_SERVER}
    body = {field.name: data.draw(json_values) for field in fields(catalogue[kind])}
    try:
        message = parse_message(json.dumps({"type": kind, **body}), catalogue)
    except MessageBroken:
        return
    assert parse_message(encode_message(message), catalogue) == message


@given(json_values)
def test_any_hello_s_schema_is_taken_or_refused(value):
    from consult.streamschema import checked_schema

    with contextlib.suppress(ConsultError):
        checked_schema(value)


def test_names_fit_on_everybody_s_screen():
    assert clean_name("  Dr.\tLi\n\x1b[31m ") == "Dr. Li [31m"
    assert clean_name("字" * 100) == "字" * 40
    assert clean_name(7) == ""


def test_a_journal_is_opened_again_as_it_was_left_and_is_private(tmp_path):
    path = tmp_path / "x" / "a.room"
    with Journal(path) as journal:
        journal.append([], [{"n": 1, "t_us": 2, "text": "你好"}])
        journal.keep_document("report", 3, {"a": 1})
    with Journal(path) as journal:
        assert journal.events() == [{"n": 1, "t_us": 2, "text": "你好"}]
    assert path.stat().st_mode & 0o077 == 0


def test_a_file_that_is_no_journal_says_so(tmp_path):
    path = tmp_path / "a.room"
    path.write_bytes(b"not a database, whatever its name says" * 50)
    with pytest.raises(JournalBroken, match=r"a\.room"):
        Journal(path)
    with pytest.raises(JournalBroken):
        Journal(tmp_path / "a.room" / "below-a-file")
