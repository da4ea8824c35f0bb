"""A call in a room: who hears what, signals that pass, stills and strokes."""

import json

import pytest
from test_call_desk import Engine, who
from test_call_signals import sdp

from consult.callmessages import Call, Consent, Record, Sfu, Signal, Still, Stroke, Unstroke
from consult.callpeers import CallLimits, take_call_message
from consult.callstills import MAX_STROKES, StillBoard
from consult.errors import FileUnknown, TooMuch
from consult.invites import Role
from consult.journal import Journal
from consult.member import Member
from consult.room import Room

PHOTO = "ab" * 32
LOG = "cd" * 32
HOST = "candidate:1 1 udp 2122260223 192.168.7.31 54321 typ host generation 0 ufrag abcd network-cost 999"
RELAY = "candidate:4 1 udp 41885439 198.51.100.20 49200 typ relay raddr 203.0.113.9 rport 61000 generation 0"


@pytest.fixture
def room(tmp_path):
    with Journal(tmp_path / "a.room") as journal:
        room = Room("a", journal, created_us=0)
        room.ice_for = lambda person, _now_us: [{"urls": ["turn:x"], "username": f"u{person}"}]
        for person, role in ((1, Role.TECHNICIAN), (2, Role.LEAD), (3, Role.EXPERT), (4, Role.OBSERVER)):
            room.enter(Member(person, role, role.value), 0)
        yield room


def heard(room, person):
    """What somebody was told since the last time, as JSON."""
    outbox = room.members[person].outbox
    found = [json.loads(item) for item in outbox._words]
    outbox._words.clear()
    return found


LIMITS = CallLimits()


def say(room, person, message, *, limits=LIMITS, clock_s=0.0):
    limits = CallLimits() if limits is LIMITS else limits
    take_call_message(message, room, room.members[person], limits, now_us=5, clock_s=clock_s)


def join_all(room):
    for person in (1, 2, 3):
        say(room, person, Call(True, True, True))
    say(room, 4, Call(True))
    for person in room.members:
        heard(room, person)


def test_everybody_learns_of_a_call_with_credentials_of_their_own(room):
    join_all(room)
    say(room, 1, Call(True, False, True))
    for person in (1, 2, 3, 4):
        (told,) = heard(room, person)
        assert (told["type"], told["mode"], told["relay_only"]) == ("call", "mesh", False)
        assert told["ice"][0]["username"] == f"u{person}"
        assert [one["id"] for one in told["people"]] == [1, 2, 3, 4]
        assert told["people"][0]["audio"] is False
    late = Member(9, Role.EXPERT, "late")
    room.enter(late, 6)
    assert [word["type"] for word in heard(room, 9)][:3] == ["welcome", "car", "call"]


def test_a_signal_goes_to_one_page_and_is_not_kept(room):
    join_all(room)
    before = len(room.events_after(0))
    say(room, 2, Signal(3, {"kind": "offer", "sdp": sdp(), "call": 1}))
    (told,) = heard(room, 3)
    assert told == {"type": "signal", "from": 2, "body": {"kind": "offer", "sdp": sdp(), "call": 1}}
    assert [heard(room, person) for person in (1, 2, 4)] == [[], [], []]
    assert len(room.events_after(0)) == before


def test_security_signals_reach_nobody_outside_the_call(room):
    say(room, 1, Call(True))
    say(room, 2, Call(True))
    for person in room.members:
        heard(room, person)
    offer = {"kind": "offer", "sdp": sdp()}
    for sender, to in ((3, 1), (1, 3), (1, 1), (1, 77)):
        say(room, sender, Signal(to, offer))
        (told,) = heard(room, sender)
        assert (told["type"], told["code"], told["id"]) == ("refused", "consult.not-in-call", "signal")
    assert [heard(room, person) for person in (1, 2, 3, 4)] == [[], [], [], []]


def test_security_an_observer_s_signal_that_would_send_is_refused(room):
    join_all(room)
    say(room, 4, Signal(1, {"kind": "answer", "sdp": sdp()}))
    assert heard(room, 4)[0]["code"] == "consult.role-refused"
    assert heard(room, 1) == []
    say(room, 4, Signal(1, {"kind": "answer", "sdp": sdp(direction="recvonly")}))
    assert heard(room, 1)[0]["type"] == "signal"
    room.calls.engine = Engine()
    say(room, 4, Sfu("q", "publish", {"sdp": sdp()}))
    assert heard(room, 4) == [{"type": "sfu", "id": "q", "error": "consult.role-refused"}]


def test_security_a_flood_of_signals_is_stopped(room):
    join_all(room)
    limits = CallLimits()
    for _ in range(600):
        say(room, 2, Signal(3, {"kind": "candidate", "candidate": HOST}), limits=limits)
    codes = {told["code"] for told in heard(room, 2)}
    assert codes == {"consult.too-much"}
    assert len(heard(room, 3)) == 400


def test_security_words_to_the_engine_are_checked_before_they_reach_it(room):
    join_all(room)
    engine = room.calls.engine = Engine()
    say(room, 2, Sfu("1", "watch", {"people": [1]}))
    assert heard(room, 2)[0]["error"] == "consult.no-media-engine", "not by the engine now"
    room.calls.mode = "sfu"
    bad = (("publish", {}), ("publish", {"sdp": 7}), ("watch", {"people": "all"}), ("watch", {"people": [1.5]}),
           ("watching", {"sdp": "x"}), ("candidate", {"of": "x", "candidate": HOST}),
           ("candidate", {"of": "watch", "candidate": 5}))  # fmt: skip
    for op, body in bad:
        say(room, 2, Sfu("1", op, body))
    assert {told["error"] for told in heard(room, 2)} == {"consult.message-broken"}
    assert engine.asked == []
    room.relay_only = True
    say(room, 2, Sfu("2", "candidate", {"of": "watch", "candidate": {"candidate": HOST, "sdpMid": "0"}}))
    assert engine.asked == []
    say(room, 2, Sfu("3", "candidate", {"of": "watch", "candidate": {"candidate": RELAY, "sdpMid": "0"}}))
    say(room, 2, Sfu("4", "publish", {"sdp": sdp(f"a={HOST}"), "room": 7, "record": True}))
    assert [message.body.keys() for _, message, _ in engine.asked][1] == {"sdp"}
    assert "192.168.7.31" not in json.dumps([message.body for _, message, _ in engine.asked])
    engine.asked[-1][2]({"body": {"sdp": "v=0"}})
    assert heard(room, 2) == [{"type": "sfu", "id": "4", "body": {"sdp": "v=0"}}]


def test_who_leaves_the_room_leaves_the_call(room):
    join_all(room)
    room.leave(room.members[3], 9)
    assert [one["id"] for one in room.calls.to_json()["people"]] == [1, 2, 4]


# -- stills ----------------------------------------------------------------------------------------------------------


def bring(room, ident, media_type):
    room.happen("file", who(1), 1, ident=ident, body={"type": media_type, "name": "x", "open": True})


def test_a_still_and_its_strokes_are_seen_by_all_and_kept(room):
    bring(room, PHOTO, "image/jpeg")
    for person in room.members:
        heard(room, person)
    say(room, 3, Still("s1", PHOTO, 1, 42, " corroded "))
    say(room, 3, Still("s1", PHOTO, 1, 42))
    say(room, 2, Stroke("k1", "s1", [[0.123456, 0.5], [1, 0]], 3))
    say(room, 2, Stroke("k1", "s1", [[0, 0]], 3))
    say(room, 2, Stroke("k2", "s1", [[0, 0]], 0))
    say(room, 3, Unstroke("k2"))
    say(room, 1, Unstroke("k2"))
    told = [(word["kind"], word["id"], word["body"]) for word in heard(room, 4) if word["type"] == "event"]
    assert told == [
        ("still", "s1", {"file": PHOTO, "of": 1, "t_us": 42}),
        ("stroke", "k1", {"still": "s1", "points": [[0.1235, 0.5], [1, 0]], "colour": 3}),
        ("stroke", "k2", {"still": "s1", "points": [[0, 0]], "colour": 0}),
        ("unstroke", "k2", {}),
    ]
    assert [word["code"] for word in heard(room, 3) if word["type"] == "refused"] == ["consult.role-refused"]
    say(room, 4, Stroke("k9", "s1", [[0, 0]]))
    say(room, 4, Still("s9", PHOTO, 1, 42))
    assert [word["code"] for word in heard(room, 4)] == ["consult.role-refused"] * 2


def test_a_still_needs_a_picture_that_is_here(room):
    bring(room, LOG, "text/plain")
    say(room, 1, Still("s1", PHOTO, 1, 42))
    say(room, 1, Still("s1", LOG, 1, 42))
    say(room, 1, Stroke("k1", "s1", [[0, 0]]))
    refused = [word["code"] for word in heard(room, 1) if word["type"] == "refused"]
    assert refused == ["consult.file-unknown", "consult.message-broken", "consult.message-broken"]


def test_strokes_are_bounded_and_one_taken_away_makes_room():
    board = StillBoard()
    board.put(Still("s", PHOTO, 1, 2), {PHOTO: {"type": "image/png"}})
    for n in range(MAX_STROKES):
        board.draw(Stroke(f"k{n}", "s", [[0, 0]]), 1)
    with pytest.raises(TooMuch):
        board.draw(Stroke("more", "s", [[0, 0]]), 1)
    assert board.take_away("k0", 1, may_all=False)
    assert not board.take_away("k0", 1, may_all=False)
    assert board.draw(Stroke("more", "s", [[0, 0]]), 1)
    with pytest.raises(FileUnknown):
        board.put(Still("t", LOG, 1, 2), {PHOTO: {"type": "image/png"}})


def test_after_a_restart_the_stills_stand_and_a_recording_has_ended(tmp_path):
    path = tmp_path / "a.room"
    with Journal(path) as journal:
        room = Room("a", journal, created_us=0)
        bring(room, PHOTO, "image/png")
        room.enter(Member(1, Role.TECHNICIAN, "T"), 0)
        room.calls.engine = Engine()
        say(room, 1, Still("s1", PHOTO, 1, 42))
        say(room, 1, Stroke("k1", "s1", [[0, 0]]))
        say(room, 1, Call(True, True, True))
        say(room, 1, Record(True))
        say(room, 1, Consent(True))
        room.calls.take_recording(True, 9)
        room.write_batch(room.take_batch())
    with Journal(path) as journal:
        room = Room("a", journal, created_us=0)
        room.restore(journal.resume())
        assert room.calls.to_json()["people"] == []
        room.calls.poll(10)
        room.calls.poll(11)
        last = [event for event in room.events_after(0) if event["kind"] == "recording"]
        assert [event["body"]["state"] for event in last] == ["asked", "on", "off"]
        room.enter(Member(1, Role.TECHNICIAN, "T"), 0)
        heard(room, 1)
        say(room, 1, Stroke("k1", "s1", [[0, 0]]))
        assert heard(room, 1) == [], "it stands already"
        say(room, 1, Unstroke("k1"))
        assert [word["kind"] for word in heard(room, 1)] == ["unstroke"]
