"""The call of a room without any media: who is in, which way, consent, signals, stills."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consult.calldesk import CALM_US, CallDesk
from consult.callerrors import CallFull, NoMediaEngine, NotInCall
from consult.callmessages import Call, Consent, Record, Sfu, Signal, Still, Stroke, Unstroke
from consult.callpeers import CallLimits, take_call_message
from consult.callsignals import candidate_fields, clean_candidate, clean_sdp, clean_signal, sends_media
from consult.callstills import MAX_STROKES, StillBoard
from consult.errors import ConsultError, FileUnknown, MessageBroken, RoleRefused, TooMuch
from consult.granterrors import RequestUnknown
from consult.invites import Role
from consult.journal import Journal
from consult.member import Member
from consult.room import Room

PHOTO = "ab" * 32
LOG = "cd" * 32
HOST = "candidate:1 1 udp 2122260223 192.168.7.31 54321 typ host generation 0 ufrag abcd network-cost 999"
MDNS = "candidate:2 1 udp 2122260223 2f0a5c1e-0b3c-4f2d-9d53-1f8d2a6a7c11.local 54321 typ host"
SRFLX = "candidate:3 1 udp 1686052607 203.0.113.9 61000 typ srflx raddr 192.168.7.31 rport 54321"
RELAY = "candidate:4 1 udp 41885439 198.51.100.20 49200 typ relay raddr 203.0.113.9 rport 61000 generation 0"


class Engine:
    """A desk's engine that only notes what it is told."""

    def __init__(self):
        self.is_ready = True
        self.session = 1
        self.heeded = 0
        self.asked = []

    def ask(self, person, message, say):
        self.asked.append((person, message, say))

    def heed(self):
        self.heeded += 1


class Talk:
    """A desk with what came of it."""

    def __init__(self, engine=None):
        self.events = []
        self.told = 0
        self.now_us = 1_000
        self.desk = CallDesk(self._happen, self._tell)
        self.desk.engine = engine

    def _happen(self, kind, who, now_us, *, ident="", text="", body=None):
        self.events.append((kind, who["id"], body))

    def _tell(self, _now_us):
        self.told += 1

    def join(self, person, role=Role.EXPERT, *, audio=True, video=False):
        self.desk.take_call(Call(True, audio, video), who(person, role), role, self.now_us)

    def record(self, on, person, role=Role.TECHNICIAN):
        self.desk.take_record(Record(on), who(person, role), role, self.now_us)

    def consent(self, given, person):
        self.desk.take_consent(Consent(given), who(person), self.now_us)

    def kinds(self, kind):
        return [(person, body) for name, person, body in self.events if name == kind]


def who(person, role=Role.EXPERT):
    return {"id": person, "role": role.value, "name": f"P{person}"}


def test_three_experts_go_browser_to_browser_and_a_fourth_needs_an_engine():
    talk = Talk()
    talk.join(1, Role.TECHNICIAN, video=True)
    for person in (2, 3, 4):
        talk.join(person)
    assert talk.desk.mode == "mesh"
    with pytest.raises(CallFull, match="media engine"):
        talk.join(5)
    assert set(talk.desk.people) == {1, 2, 3, 4}
    talk.desk.engine = Engine()
    talk.join(5)
    assert talk.desk.mode == "sfu"


def test_a_phone_beside_the_laptop_counts_as_no_expert_and_an_observer_does():
    talk = Talk()
    for person, role in enumerate((Role.TECHNICIAN, Role.TECHNICIAN, Role.LEAD, Role.EXPERT), 1):
        talk.join(person, role)
    talk.join(9, Role.OBSERVER, audio=False)
    with pytest.raises(CallFull):
        talk.join(10, Role.OBSERVER, audio=False)
    with pytest.raises(CallFull):
        talk.join(11, Role.TECHNICIAN)
    assert talk.desk.mode == "mesh"


def test_observers_send_nothing():
    talk = Talk()
    for sent in ({"audio": True}, {"audio": False, "video": True}):
        with pytest.raises(RoleRefused):
            talk.join(1, Role.OBSERVER, **sent)
    assert not talk.desk.people
    talk.join(1, Role.OBSERVER, audio=False)
    assert talk.desk.people[1].to_json() == {"id": 1, "audio": False, "video": False, "level": "video", "visit": 1}


def test_a_call_that_calms_down_stays_with_the_engine_for_half_a_minute():
    talk = Talk(Engine())
    for person in (1, 2, 3, 4):
        talk.join(person)
    talk.desk.leave(4, talk.now_us)
    assert talk.desk.mode == "sfu"
    talk.desk.poll(talk.now_us + CALM_US - 1)
    assert talk.desk.mode == "sfu"
    told = talk.told
    talk.desk.poll(talk.now_us + CALM_US)
    assert (talk.desk.mode, talk.told) == ("mesh", told + 1)
    # Somebody who comes meanwhile begins the wait anew.
    talk.join(4)
    talk.desk.leave(4, talk.now_us)
    talk.join(4)
    talk.desk.poll(talk.now_us + 2 * CALM_US)
    assert talk.desk.mode == "sfu"
    for person in (1, 2, 3, 4):
        talk.desk.leave(person, talk.now_us)
    assert talk.desk.mode == "none"


def test_an_engine_that_dies_leaves_few_people_talking_and_many_waiting():
    engine = Engine()
    talk = Talk(engine)
    for person in (1, 2, 3, 4):
        talk.join(person)
    engine.is_ready = False
    talk.desk.take_engine_state(talk.now_us)
    assert (talk.desk.mode, talk.desk.to_json()["engine"]["ready"]) == ("sfu", False)
    talk.desk.leave(4, talk.now_us)
    assert talk.desk.mode == "mesh", "three need no engine, and waiting helps nobody"


def test_a_change_is_no_second_joining_and_a_return_is_another_visit():
    talk = Talk()
    talk.join(1)
    talk.desk.take_call(Call(True, False, True, "voice"), who(1), Role.EXPERT, 2)
    assert talk.desk.people[1].to_json() == {"id": 1, "audio": False, "video": True, "level": "voice", "visit": 1}
    assert len(talk.kinds("call")) == 1
    talk.desk.leave(1, 3)
    talk.desk.leave(1, 3)
    talk.join(1)
    assert talk.desk.people[1].visit == 2
    assert [body["joined"] for _, body in talk.kinds("call")] == [True, False, True]


# -- consent ---------------------------------------------------------------------------------------------------------


def recorded(engine=None):
    talk = Talk(engine or Engine())
    talk.join(1, Role.TECHNICIAN)
    talk.join(2, Role.LEAD)
    talk.record(True, 1)
    return talk


def states(talk):
    return [body["state"] for _, body in talk.kinds("recording")]


def test_who_wants_a_recording_has_not_consented_by_that():
    talk = recorded()
    assert talk.desk.to_json()["recording"] == {"wanted": True, "running": False, "since_us": 0, "waiting": [1, 2]}
    assert not talk.desk.may_record
    assert talk.desk.mode == "mesh"


def test_recording_runs_when_all_have_consented_and_the_engine_says_so():
    talk = recorded()
    talk.consent(True, 1)
    talk.desk.take_recording(True, 5)
    assert not talk.desk.recording_since_us, "an engine alone begins nothing"
    talk.consent(True, 2)
    assert (talk.desk.may_record, talk.desk.mode) == (True, "sfu")
    assert not talk.desk.to_json()["recording"]["running"]
    talk.desk.take_recording(True, 7)
    assert talk.desk.to_json()["recording"] == {"wanted": True, "running": True, "since_us": 7, "waiting": []}
    assert states(talk) == ["asked", "on"]


def test_somebody_who_comes_suspends_it_until_they_consent():
    talk = recorded()
    talk.consent(True, 1)
    talk.consent(True, 2)
    talk.desk.take_recording(True, 7)
    talk.join(3, Role.OBSERVER, audio=False)
    assert not talk.desk.may_record
    assert talk.desk.to_json()["recording"] == {"wanted": True, "running": False, "since_us": 0, "waiting": [3]}
    talk.desk.take_recording(False, 8)
    talk.consent(True, 3)
    assert talk.desk.may_record
    talk.desk.take_recording(True, 9)
    assert states(talk) == ["asked", "on", "suspended", "on"]


@pytest.mark.parametrize("is_running", [False, True])
def test_anybody_s_no_ends_it_and_every_consent_with_it(is_running):
    talk = recorded()
    talk.consent(True, 1)
    if is_running:
        talk.consent(True, 2)
        talk.desk.take_recording(True, 7)
    talk.consent(False, 2)
    assert not talk.desk.is_recording_wanted
    assert not any(caller.has_consented for caller in talk.desk.people.values())
    assert states(talk)[-1] == "off"
    with pytest.raises(RequestUnknown):
        talk.consent(True, 1)
    talk.record(True, 1)
    assert not talk.desk.may_record, "an old yes is no yes to a new recording"


def test_a_consent_goes_with_who_gave_it():
    talk = recorded()
    talk.consent(True, 1)
    talk.consent(True, 2)
    talk.desk.leave(2, talk.now_us)
    assert talk.desk.may_record
    talk.join(2, Role.LEAD)
    assert not talk.desk.may_record


def test_only_technician_and_lead_in_the_call_ask_for_it_and_only_of_an_engine():
    talk = recorded()
    for role in (Role.EXPERT, Role.OBSERVER):
        with pytest.raises(RoleRefused):
            talk.record(True, 3, role)
        with pytest.raises(RoleRefused):
            talk.record(False, 3, role)
    assert talk.desk.is_recording_wanted
    talk.record(False, 1)
    with pytest.raises(NotInCall):
        talk.record(True, 9, Role.LEAD)
    with pytest.raises(NotInCall):
        talk.consent(True, 9)
    talk.desk.engine = None
    with pytest.raises(NoMediaEngine):
        talk.record(True, 1)


def test_recording_ends_with_the_call_and_when_the_service_says_so():
    talk = recorded()
    talk.desk.leave(1, 5)
    talk.desk.leave(2, 5)
    assert talk.kinds("recording")[-1] == (2, {"state": "off", "why": "empty"})
    talk = recorded()
    talk.desk.break_off_recording("full", 5)
    assert talk.kinds("recording")[-1] == (0, {"state": "off", "why": "full"})


actions = st.lists(
    st.one_of(
        st.tuples(st.just("join"), st.integers(1, 6)),
        st.tuples(st.just("leave"), st.integers(1, 6)),
        st.tuples(st.just("yes"), st.integers(1, 6)),
        st.tuples(st.just("no"), st.integers(1, 6)),
        st.tuples(st.sampled_from(["record", "end", "engine", "runs", "stopped", "time"]), st.integers(1, 2)),
    ),
    max_size=40,
)


@given(actions)
def test_whatever_happens_nobody_is_recorded_without_consent(steps):
    """The one rule of the desk, tried with anything in any order."""
    engine = Engine()
    talk = Talk(engine)
    desk = talk.desk
    yes = set()
    for (what, person), now_us in zip(steps, itertools.count(1_000_000, 10_000_000), strict=False):
        talk.now_us = now_us
        try:
            match what:
                case "join":
                    talk.join(person, Role.TECHNICIAN if person == 1 else Role.EXPERT)
                case "leave":
                    desk.leave(person, now_us)
                    yes.discard(person)
                case "yes":
                    talk.consent(True, person)
                    yes.add(person)
                case "no":
                    talk.consent(False, person)
                case "record":
                    talk.record(True, 1)
                case "end":
                    talk.record(False, 1)
                case "engine":
                    engine.is_ready = not engine.is_ready
                    desk.take_engine_state(now_us)
                case "runs" | "stopped":
                    desk.take_recording(what == "runs", now_us)
                case "time":
                    desk.poll(now_us)
        except ConsultError:
            pass
        if not desk.is_recording_wanted:
            yes.clear()
        if desk.may_record or desk.recording_since_us:
            assert set(desk.people) <= yes
            assert desk.is_recording_wanted
            assert desk.mode == "sfu"
        crowd = sum(caller.role is not Role.TECHNICIAN for caller in desk.people.values())
        assert desk.mode != "mesh" or crowd <= 3
        assert (desk.mode == "none") == (not desk.people)


# -- signals ---------------------------------------------------------------------------------------------------------


def sdp(*lines, direction="sendrecv"):
    head = ("v=0", "o=- 46117 2 IN IP4 192.168.7.31", "s=-", "t=0 0", "m=audio 54321 UDP/TLS/RTP/SAVPF 111")
    return (
        "\r\n".join((*head, "c=IN IP4 192.168.7.31", "a=rtcp:9 IN IP4 192.168.7.31", f"a={direction}", *lines)) + "\r\n"
    )


def test_names_that_only_one_machine_resolves_are_always_taken_out():
    assert clean_candidate(MDNS, relay_only=False) is None
    assert clean_candidate(HOST, relay_only=False) == HOST
    assert clean_candidate("", relay_only=True) == ""
    found = clean_sdp(sdp(f"a={MDNS}", f"a={HOST}"), relay_only=False)
    assert ".local" not in found
    assert f"a={HOST}" in found


def test_where_relays_only_are_used_no_address_of_anybody_passes():
    offer = clean_sdp(sdp(*(f"a={line}" for line in (HOST, MDNS, SRFLX, RELAY))), relay_only=True)
    assert "192.168.7.31" not in offer
    assert "203.0.113.9" not in offer
    assert "198.51.100.20 49200 typ relay raddr 0.0.0.0 rport 0" in offer
    for line in (HOST, MDNS, SRFLX):
        assert clean_signal({"kind": "candidate", "candidate": line}, relay_only=True, may_send=True) is None
    told = clean_signal({"kind": "candidate", "candidate": RELAY, "sdpMid": "0"}, relay_only=True, may_send=True)
    assert "203.0.113.9" not in json.dumps(told)
    assert told["sdpMid"] == "0"


@pytest.mark.parametrize(
    "line",
    [
        f"{HOST}\r\na={SRFLX}",
        HOST.replace("host", "relay x\na=candidate:1 1 udp 1 10.0.0.1 1 typ host"),
        "candidate:1 1 udp 1 10.0.0.1 1 typ relay typ host",
        "candidate:",
        "x" * 2000,
        f" {HOST}",
        HOST.replace("typ host", "typ other"),
    ],
    ids=range(7),
)
def test_a_candidate_that_is_none_or_hides_another_is_refused(line):
    try:
        told = candidate_fields({"candidate": line}, relay_only=True)
    except MessageBroken:
        return
    assert told is None or "10.0.0.1 1 typ host" not in told["candidate"].replace("typ relay typ host", "")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"kind": "bye"},
        {"kind": "offer"},
        {"kind": "offer", "sdp": "x"},
        {"kind": "offer", "sdp": "v=0" + "x" * 20_000},
        {"kind": "answer", "sdp": sdp(), "call": -1},
        {"kind": "answer", "sdp": sdp(), "call": True},
        {"kind": "candidate", "candidate": 7},
        {"kind": "candidate", "candidate": HOST, "sdpMid": "0" * 300},
        {"kind": "candidate", "candidate": HOST, "sdpMLineIndex": "0"},
    ],
    ids=range(10),
)
def test_signals_that_are_none_are_refused(body):
    with pytest.raises(MessageBroken):
        clean_signal(body, relay_only=False, may_send=True)


def test_what_a_signal_says_beyond_its_fields_stays_behind():
    told = clean_signal({"kind": "offer", "sdp": sdp(), "call": 3, "more": {"x": 1}}, relay_only=False, may_send=True)
    assert told == {"kind": "offer", "sdp": sdp(), "call": 3}


def test_an_observer_s_page_can_offer_to_receive_only():
    for direction, sends in (("recvonly", False), ("inactive", False), ("sendonly", True), ("sendrecv", True)):
        assert sends_media(sdp(direction=direction)) is sends
    assert sends_media(sdp(direction="x")), "no direction is sendrecv"
    assert sends_media(sdp("m=video 9 UDP/TLS/RTP/SAVPF 96", direction="recvonly"))
    with pytest.raises(RoleRefused):
        clean_signal({"kind": "answer", "sdp": sdp()}, relay_only=False, may_send=False)


@given(st.text(), st.booleans())
def test_any_text_is_cleaned_or_refused(text, relay_only):
    for clean in (clean_sdp, clean_candidate):
        try:
            found = clean(text, relay_only=relay_only)
        except MessageBroken:
            continue
        assert found is None or ".local " not in found


# -- in a room -------------------------------------------------------------------------------------------------------


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


def test_who_withdraws_by_another_way_ends_the_recording_too():
    talk = Talk(Engine())
    talk.join(1, Role.TECHNICIAN)
    talk.join(2)
    talk.desk.withdraw_consent(2, talk.now_us)
    assert talk.kinds("recording") == [], "nobody wanted one"
    talk.record(True, 1)
    for person in (1, 2):
        talk.consent(True, person)
    assert talk.desk.may_record
    talk.desk.withdraw_consent(9, talk.now_us)
    assert talk.desk.may_record, "somebody who is not in the call"
    talk.desk.withdraw_consent(2, talk.now_us)
    assert not talk.desk.may_record
    assert talk.kinds("recording")[-1] == (2, {"state": "off", "why": "withdrawn"})
    assert len(talk.kinds("consent")) == 2, "that it was withdrawn is written down where it was said"
    talk.record(True, 1)
    talk.desk.withdraw_consent(2, talk.now_us)
    assert talk.kinds("recording")[-1] == (2, {"state": "off", "why": "refused"}), "they had not agreed to this one"


def test_why_a_recording_ended_tells_a_no_from_a_withdrawal():
    talk = Talk(Engine())
    talk.join(1, Role.TECHNICIAN)
    talk.join(2)
    talk.record(True, 1)
    talk.consent(True, 1)
    talk.consent(False, 2)
    assert talk.kinds("recording")[-1] == (2, {"state": "off", "why": "refused"})
    talk.record(True, 1)
    talk.consent(True, 2)
    talk.consent(False, 2)
    assert talk.kinds("recording")[-1] == (2, {"state": "off", "why": "withdrawn"})
