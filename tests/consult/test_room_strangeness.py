"""Words and blocks that no honest peer sends: what they may cost is their own connection, never a room."""

from __future__ import annotations

import json

import aiohttp
import numpy as np
import pytest

from consult.errors import BlockBroken, JournalBroken, MessageBroken
from consult.invites import Role
from consult.journal import Journal
from consult.member import Member
from consult.messages import FROM_VIEWER, Hello, encode_message, parse_message
from consult.room import Room
from consult.wire import encode_samples, parse_head

SCHEMA = {"stream": 1, "signals": [{"name": "a", "unit": "V"}]}
HALF = '"\\ud800"'


def block(seq, t_us):
    values = np.zeros(1, np.float32)
    return encode_samples(stream=1, epoch=9, seq=seq, t_us=t_us, values=values, valid=np.ones(1, np.bool_))


@pytest.fixture
def room(tmp_path):
    with Journal(tmp_path / "a.room") as journal:
        room = Room("a", journal, created_us=0)
        room.take_hello(Hello(1, 9, {}, [SCHEMA], 0), 1, "Wang", 0)
        yield room


@pytest.mark.parametrize(
    "text",
    [
        f'{{"type":"chat","id":"1","text":{HALF}}}',
        f'{{"type":"unmark","id":{HALF}}}',
        f'{{"type":"finish","body":{{"note":[{HALF}]}}}}',
        f'{{"type":"view","t_us":1,"t2_us":2,"signals":[{HALF}]}}',
        '{"type":"chat","id":"1","text":"\\uDFFF back"}',
    ],
)
def test_half_a_character_is_no_message(text):
    with pytest.raises(MessageBroken):
        parse_message(text, FROM_VIEWER)


def test_whole_characters_are_taken_however_they_are_written(room):
    member = Member(2, Role.EXPERT, "Li")
    room.enter(member, 0)
    said = parse_message('{"type":"chat","id":"1","text":"\\ud83d\\ude97 \\\\ud800"}', FROM_VIEWER)
    assert said.text == "\U0001f697 \\ud800"
    room.say(said, member.to_json(), Role.EXPERT, 5)
    room.write_batch(room.take_batch())
    assert room.journal.events()[-1]["text"] == said.text
    assert json.loads(encode_message(said))["text"] == said.text


async def test_half_a_character_in_a_request_is_refused(service):
    body = f'{{"invite":{HALF},"name":{HALF},"password":"x"}}'
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession() as http:
        for path in ("/redeem", "/login"):
            async with http.post(f"{service.url}{path}", data=body, headers=headers) as answer:
                assert answer.status == 400, await answer.text()


def test_a_time_that_the_journal_cannot_hold_is_no_block():
    assert parse_head(block(0, (1 << 63) - 1)).t_us == (1 << 63) - 1
    with pytest.raises(BlockBroken):
        parse_head(block(0, 1 << 63))


def test_what_a_journal_cannot_hold_is_its_own_room_s_trouble(tmp_path):
    with Journal(tmp_path / "a.room") as journal:
        with pytest.raises(JournalBroken):
            journal.write(events=[{"n": 1, "t_us": 1 << 63}])
        with pytest.raises(JournalBroken):
            journal.write(documents=[("report", 1, {"vin": "\ud800"})])
        journal.write(events=[{"n": 1, "t_us": 1}])
        assert len(journal.events()) == 1
