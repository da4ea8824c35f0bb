"""The call of a room without any media: who is in, which way, consent, signals, stills."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consult.calldesk import CALM_US, CallDesk
from consult.callerrors import CallFull, NoMediaEngine, NotInCall
from consult.callmessages import Call, Consent, Record
from consult.errors import ConsultError, RoleRefused
from consult.granterrors import RequestUnknown
from consult.invites import Role


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
