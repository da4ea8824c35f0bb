"""The laptop's book of grants on a virtual clock: every way in which something must not be done to the car."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consult.errors import MessageBroken, RoleRefused, TooMuch
from consult.grantactions import Drop, Gone, Halt, Post, Reject, Run, Show, Why
from consult.granterrors import (
    AlreadyDecided,
    DigestWrong,
    EcuUnknown,
    GrantsStopped,
    HoldMissing,
    NeverGranted,
    PolicyForbids,
    ProofWrong,
    RequestExpired,
    RequestUnknown,
    SecondRefused,
)
from consult.grants import HOLD_EVERY_NS, HOLD_NS, REQUEST_LIFE_NS, GrantBook
from consult.messages import Event, Hold
from consult.remotepolicy import RemotePolicy, parse_policy
from consult.requestproof import decision_proof, hold_proof, request_digest
from diag.addressing import Target
from diag.guard import judge
from diag.guardrules import Risk

ROOM, SECRET, S = "0123456789ab", bytes(range(32)), 1_000_000_000
BMS, VCU = "0x7EC", "0x7E8"
TARGETS = {BMS: Target.physical(0x7E4, 0x7EC), VCU: Target.physical(0x7E0, 0x7E8)}
EXPERT = {"id": 7, "role": "expert", "name": "李工"}
OTHER = {"id": 8, "role": "lead", "name": "Dr Chen"}
TECHNICIAN = {"id": 2, "role": "technician", "name": "手机"}
PUMP = "2F01610346"


def book(policy=None):
    return GrantBook(ROOM, TARGETS, policy or RemotePolicy(), SECRET, lambda data: data[:64].ljust(64, b"\0"))


def event(kind, ident, body, who=EXPERT, text="why"):
    return Event(n=1, t_us=1, kind=kind, who=who, id=ident, text=text, body=body)


def request(ident, data, *, ecu=BMS, risk="A", hold=False, room=ROOM, who=EXPERT, **changed):
    """As an honest service tells it, but for what is changed."""
    digest = request_digest(room, ident, ecu, bytes.fromhex(data), hold=hold, risk=risk)
    body = {"ecu": ecu, "data": data, "risk": risk, "hold": hold, "digest": digest, **changed}
    return event("request", ident, body, who)


def shown(one, *args, now=0, **named):
    (action,) = one.take(request(*args, **named), now)
    assert isinstance(action, Show), action
    return action.asked


def page_says(asked, decision="approve", *, secret=SECRET, digest=None, unplugged=False, proof=None, who=TECHNICIAN):
    digest = digest or asked.digest
    right = decision_proof(secret, digest=digest, ident=asked.ident, decision=decision, unplugged=unplugged)
    body = {"decision": decision, "digest": digest, "unplugged": unplugged, "by": "page"}
    return event("decision", asked.ident, {**body, "proof": right if proof is None else proof}, who)


def runs(actions):
    return [action.asked.ident for action in actions if isinstance(action, Run)]


def why(actions):
    return [type(action.error) for action in actions if isinstance(action, (Reject, Drop))]


def test_what_the_terminal_grants_is_run_once_and_posted_with_a_signature():
    one = book()
    asked = shown(one, "r", "1902FF")
    actions = one.decide("r", asked.digest, "approve", S)
    assert runs(actions) == ["r"]
    (post,) = [action for action in actions if isinstance(action, Post)]
    assert (post.decide.digest, post.decide.decision, len(bytes.fromhex(post.decide.proof))) == (
        asked.digest,
        "approve",
        64,
    )
    assert why(one.decide("r", asked.digest, "approve", S)) == [AlreadyDecided]


def test_what_the_page_grants_with_its_proof_is_run_once():
    one = book()
    asked = shown(one, "r", "14FFFFFF", risk="B")
    (gone, run) = one.take(page_says(asked, unplugged=True), S)
    assert isinstance(gone, Gone)
    assert run == Run(asked, unplugged=True)
    assert why(one.take(page_says(asked, unplugged=True), S)) == [AlreadyDecided], "a replayed decision"


@pytest.mark.parametrize(
    "forged",
    [
        {"proof": ""},
        {"proof": "0" * 64},
        {"proof": "ключ"},
        {"secret": bytes(32)},
    ],
)
def test_a_forged_proof_grants_nothing(forged):
    one = book()
    asked = shown(one, "r", "14FFFFFF", risk="B")
    assert why(one.take(page_says(asked, **forged), S)) == [ProofWrong]
    assert one.open == (asked,), "it stands as it was"


def test_a_proof_of_another_request_decision_or_word_grants_nothing():
    one = book()
    first, second = shown(one, "a", "14FFFFFF", risk="B"), shown(one, "b", "14FFFFFF", risk="B")
    says = page_says(first, unplugged=True)
    moved = event("decision", "b", {**says.body, "digest": second.digest}, TECHNICIAN)
    assert why(one.take(moved, S)) == [ProofWrong]
    assert why(one.take(event("decision", "b", says.body, TECHNICIAN), S)) == [DigestWrong]
    turned = event("decision", "a", {**page_says(first, "deny").body, "decision": "approve"}, TECHNICIAN)
    assert why(one.take(turned, S)) == [ProofWrong]
    worded = event("decision", "a", {**page_says(first).body, "unplugged": True}, TECHNICIAN)
    assert why(one.take(worded, S)) == [ProofWrong], "nobody else says that no cable is plugged in"


def test_a_decision_of_another_room_s_request_is_none():
    one = book()
    assert why(one.decide("other", "0" * 64, "approve", S)) == [RequestUnknown]
    assert why(one.take(event("decision", "other", {"by": "page", "decision": "approve"}, TECHNICIAN), S)) == [
        RequestUnknown
    ]
    assert why(one.take(request("r", "1902FF", room="f" * 12), 0)) == [DigestWrong]


def test_a_stale_approval_is_none():
    for late in (REQUEST_LIFE_NS, 10 * REQUEST_LIFE_NS):
        one = book()
        asked = shown(one, "r", "1902FF")
        assert why(one.decide("r", asked.digest, "approve", late)) == [RequestExpired]
        assert why(one.take(page_says(asked), late)) == [RequestExpired]
        (drop,) = one.poll(late)
        assert (type(drop.error), drop.outcome) == (RequestExpired, "expired")
        assert why(one.take(page_says(asked), late)) == [AlreadyDecided]
        assert one.poll(late) == ()


def test_an_approval_counts_for_the_bytes_that_were_shown():
    one = book()
    asked = shown(one, "r", "1902FF")
    other = request_digest(ROOM, "r", BMS, bytes.fromhex("14FFFFFF"), hold=False, risk="B")
    assert why(one.decide("r", other, "approve", S)) == [DigestWrong]
    assert why(one.take(page_says(asked, digest=other), S)) == [DigestWrong]


@pytest.mark.parametrize(
    ("args", "named", "error"),
    [
        (("r", "14FFFFFF"), {"risk": "A"}, DigestWrong),  # claimed harmless
        (("r", PUMP), {"risk": "C", "hold": False}, DigestWrong),  # claimed to need no hand
        (("r", PUMP), {"risk": "A", "hold": True}, DigestWrong),
        (("r", "1902FF"), {"digest": "0" * 64}, DigestWrong),
        (("r", "1902FF"), {"digest": None}, MessageBroken),
        (("r", "1902FF"), {"ecu": "0x7E9"}, EcuUnknown),
        (("r", "1902FF"), {"ecu": "0x7DF"}, EcuUnknown),
        (("r", "3101E200"), {"risk": "C"}, NeverGranted),
        (("r", "3101E2FF00"), {"risk": "D"}, NeverGranted),
        (("r", "275F"), {"risk": "D"}, NeverGranted),
        (("r", "2760AABB"), {"risk": "D"}, NeverGranted),
        (("r", "0801"), {"risk": "A"}, NeverGranted),
        (("r", "31010203"), {"risk": "C"}, NeverGranted),  # contactors are routines that no table names
        (("r", "BA00"), {"risk": "A"}, NeverGranted),
        (("r", "1902"), {"risk": "A"}, NeverGranted),
        (("r", "1002"), {"risk": "D"}, PolicyForbids),
        (("r", "2701"), {"risk": "D"}, PolicyForbids),
        (("r", "2EF19800"), {"risk": "D"}, PolicyForbids),
        (("r", "1902FF"), {"who": TECHNICIAN}, RoleRefused),
        (("r", "1902FF"), {"who": {"id": 5, "role": "observer", "name": ""}}, RoleRefused),
        (("", "1902FF"), {}, MessageBroken),
    ],
)
def test_what_is_not_even_shown(args, named, error):
    one = book()
    assert why(one.take(request(*args, **named), 0)) == [error]
    assert one.open == ()
    assert why(one.decide(args[0], request_digest(ROOM, args[0], BMS, b"", hold=False, risk="A"), "approve", 1)) == [
        RequestUnknown
    ]


def test_bytes_that_are_none():
    for data in ("", "1", "xx", None, 3):
        assert why(book().take(event("request", "r", {"ecu": BMS, "data": data, "digest": "0" * 64}), 0)) == [
            MessageBroken
        ]


@pytest.mark.parametrize("classes", ["A = false", "B = false", "C = false"])
def test_the_laptop_s_own_list_counts_whatever_the_service_claims(classes):
    one = book(parse_policy(f"[classes]\n{classes}"))
    ask = {"A": ("1902FF", "A", False), "B": ("14FFFFFF", "B", False), "C": (PUMP, "C", True)}[classes[0]]
    told = request("r", ask[0], risk=ask[1], hold=ask[2], allowed=True, seconds=0)
    assert why(one.take(told, 0)) == [PolicyForbids]


def test_a_named_request_is_never_asked_for():
    one = book(parse_policy('[[never]]\nrequest = "14"\n[[never]]\necu = "0x7EC"\nrequest = "22 F1 90"'))
    assert why(one.take(request("a", "14FFFFFF", risk="B"), 0)) == [PolicyForbids]
    assert why(one.take(request("b", "22F190"), 0)) == [PolicyForbids]
    shown(one, "c", "22F190", ecu=VCU)


def test_a_session_grant_is_for_reading_one_service_of_one_ecu():
    one = book()
    asked = shown(one, "a", "1902FF")
    assert runs(one.decide("a", asked.digest, "session", S)) == ["a"]
    again = one.take(request("b", "1901FF"), 2 * S)
    assert runs(again) == ["b"]
    assert [action.decide.decision for action in again if isinstance(action, Post)] == ["session"]
    shown(one, "c", "1902FF", ecu=VCU)
    shown(one, "d", "22F190")
    clear = shown(one, "e", "14FFFFFF", risk="B")
    assert why(one.decide("e", clear.digest, "session", 2 * S)) == [PolicyForbids]
    assert why(one.take(page_says(clear, "session"), 2 * S)) == [PolicyForbids]
    assert runs(one.decide("e", clear.digest, "approve", 2 * S)) == ["e"], "and then each time"
    shown(one, "f", "14FFFFFF", risk="B")


def test_no_session_grant_where_the_policy_wants_each_one_seen():
    one = book(parse_policy("[session]\nA = false"))
    asked = shown(one, "a", "1902FF")
    assert why(one.decide("a", asked.digest, "session", S)) == [PolicyForbids]


ALTER = '[classes]\nD = true\n[[alter]]\necu = "0x7EC"\nrequest = "2E F1 98"'


def second(asked, who=OTHER, digest=None):
    body = {"decision": "second", "digest": digest or asked.digest, "by": "page", "proof": "", "unplugged": False}
    return event("decision", asked.ident, body, who)


def test_altering_needs_the_policy_s_name_for_it_and_a_second_person():
    one = book(parse_policy(ALTER))
    assert why(one.take(request("x", "2EF19900", risk="D"), 0)) == [PolicyForbids], "another identifier"
    assert why(one.take(request("y", "2EF19800", risk="D", ecu=VCU), 0)) == [PolicyForbids], "another ECU"
    asked = shown(one, "r", "2EF19800", risk="D")
    assert runs(one.decide("r", asked.digest, "approve", S, unplugged=True)) == [], "one person is not enough"
    for who in (EXPERT, TECHNICIAN, {"id": 9, "role": "observer"}, {"id": None, "role": "expert"}):
        assert why(one.take(second(asked, who), S)) == [SecondRefused]
    assert why(one.take(second(asked, digest="0" * 64), S)) == [DigestWrong]
    assert runs(one.take(second(asked), 2 * S)) == ["r"]
    assert why(one.take(second(asked, {"id": 9, "role": "expert"}), 2 * S)) == [AlreadyDecided]


def test_the_second_person_may_come_first_but_not_late_and_not_for_less():
    one = book(parse_policy(ALTER))
    asked = shown(one, "r", "2EF19800", risk="D")
    assert runs(one.take(second(asked), S)) == []
    assert why(one.take(second(asked, {"id": 9, "role": "expert"}), S)) == [AlreadyDecided]
    assert runs(one.decide("r", asked.digest, "approve", S, unplugged=True)) == ["r"]
    late = shown(one, "late", "2EF19800", risk="D", now=2 * S)
    one.decide("late", late.digest, "approve", 3 * S, unplugged=True)
    assert why(one.take(second(late), 2 * S + REQUEST_LIFE_NS)) == [RequestExpired]
    assert why(one.poll(3 * S + REQUEST_LIFE_NS)) == [RequestExpired]
    clear = shown(one, "clear", "14FFFFFF", risk="B")
    assert why(one.take(second(clear), S)) == [SecondRefused]


def held(one, now=0, ident="p"):
    asked = shown(one, ident, PUMP, risk="C", hold=True, now=now)
    assert runs(one.decide(ident, asked.digest, "approve", now, unplugged=True)) == []
    return asked


def press(asked, count, *, secret=SECRET):
    return Hold(asked.ident, count, hold_proof(secret, digest=asked.digest, ident=asked.ident, count=count))


def test_what_is_held_starts_with_the_first_sign_and_ends_without():
    one = book()
    asked = held(one)
    assert runs(one.hold(press(asked, 1), S, is_local=False)) == ["p"]
    for count in range(2, 20):
        now = S + (count - 1) * HOLD_EVERY_NS
        assert one.hold(press(asked, count), now, is_local=False) == ()
        assert one.poll(now) == ()
    last = S + 18 * HOLD_EVERY_NS
    assert one.poll(last + HOLD_NS - 1) == ()
    assert one.poll(last + HOLD_NS) == (Halt("p", Why.RELEASED),)
    assert one.poll(last + HOLD_NS) == ()
    assert why(one.hold(press(asked, 99), last + HOLD_NS, is_local=False)) == [RequestUnknown], "not again"


def test_a_sign_that_is_forged_old_or_late_holds_nothing():
    one = book()
    asked = held(one)
    assert why(one.hold(press(asked, 1, secret=bytes(32)), S, is_local=False)) == [ProofWrong]
    assert why(one.hold(Hold("p", 1), S, is_local=False)) == [ProofWrong]
    assert runs(one.hold(press(asked, 5), S, is_local=False)) == ["p"]
    assert why(one.hold(press(asked, 5), S, is_local=False)) == [AlreadyDecided], "replayed"
    assert why(one.hold(press(asked, 4), S, is_local=False)) == [AlreadyDecided]
    assert one.hold(press(asked, 6), S + HOLD_NS, is_local=False) == ()
    assert one.poll(S + HOLD_NS) == (Halt("p", Why.RELEASED),), "too late to go on"


def test_signs_that_were_kept_back_and_let_out_one_by_one_hold_nothing():
    """The hand was there for ten seconds; a service that lies spreads its forty signs over thirty."""
    one = book()
    asked = held(one)
    assert runs(one.hold(press(asked, 1), 0, is_local=False)) == ["p"]
    ended, count, now = [], 1, 0
    while not ended:
        now += HOLD_EVERY_NS // 10
        if now % (3 * HOLD_EVERY_NS) == 0:
            count += 1
            one.hold(press(asked, count), now, is_local=False)
        ended = [(action, now) for action in one.poll(now)]
    assert ended[0][0] == Halt("p", Why.RELEASED)
    assert ended[0][1] <= 2 * HOLD_NS + count * HOLD_EVERY_NS
    assert count < 5


@pytest.mark.parametrize("every", [HOLD_EVERY_NS, HOLD_EVERY_NS * 103 // 100, HOLD_EVERY_NS * 2 // 3])
def test_a_hand_on_an_honest_line_holds_for_as_long_as_it_may(every):
    one = book()
    asked = held(one)
    one.hold(press(asked, 1), 0, is_local=False)
    late, now = (0, 0, S // 5, 0, S // 4, 0, S // 5, 0), 0  # the line delays some, and the page leaves some out
    for count in range(2, 30 * S // every):
        if count % 7 == 3:
            continue
        now = max(now, (count - 1) * every + late[count % 8])
        one.hold(press(asked, count), now, is_local=False)
        if now < 29 * S:
            assert one.poll(now) == ()


def test_nobody_holds():
    one = book()
    held(one)
    assert one.poll(14 * S) == ()
    (drop,) = one.poll(15 * S)
    assert (type(drop.error), drop.outcome) == (HoldMissing, "expired")


def test_the_longest_time_ends_what_is_still_held():
    one = book(parse_policy("[hold]\nlongest_s = 2"))
    asked = held(one)
    one.hold(press(asked, 1), 0, is_local=True)
    for count in range(2, 11):
        assert one.poll((count - 1) * S // 5) == ()
        one.hold(press(asked, count), (count - 1) * S // 5, is_local=True)
    assert one.poll(2 * S) == (Halt("p", Why.LIMIT),)


def test_what_is_not_held_cannot_be_held():
    one = book()
    asked = shown(one, "r", "1902FF")
    assert why(one.hold(press(asked, 1), 0, is_local=True)) == [RequestUnknown]
    assert one.held is None


def test_stop_ends_everything_and_lets_nothing_in_until_resumed():
    one = book()
    session = shown(one, "s", "1902FF")
    one.decide("s", session.digest, "session", 0)
    one.finish("s")
    running = held(one)
    one.hold(press(running, 1), 0, is_local=True)
    waiting = shown(one, "w", "22F190")
    actions = one.take(event("stop", "", {"stopped": True}, {"id": 3, "role": "observer"}), S)
    assert Halt("p", Why.STOP) in actions
    assert why(actions) == [GrantsStopped]
    assert why(one.take(request("n", "1902FF"), S)) == [GrantsStopped]
    assert why(one.decide("w", waiting.digest, "approve", S)) == [AlreadyDecided]
    assert one.take(event("stop", "", {"stopped": False}, TECHNICIAN), S) == (), "the service cannot resume"
    assert one.is_stopped
    one.resume()
    shown(one, "again", "1902FF")


def test_a_request_id_is_good_once_also_after_it_is_over():
    one = book()
    asked = shown(one, "r", "1902FF")
    one.decide("r", asked.digest, "deny", S)
    assert why(one.take(request("r", "1902FF"), 2 * S)) == [AlreadyDecided]
    assert why(one.take(request("r", "14FFFFFF", risk="B"), 2 * S)) == [AlreadyDecided]
    assert one.open == ()


def test_a_decision_of_an_earlier_run_of_the_program_does_nothing_and_closes_the_request():
    one = book()
    asked = shown(one, "r", "14FFFFFF", risk="B")
    body = {"decision": "approve", "digest": asked.digest, "unplugged": True, "by": "terminal", "sig": "00" * 64}
    (drop,) = one.take(event("decision", "r", body, TECHNICIAN), S)
    assert (type(drop), drop.outcome) == (Drop, "expired")
    assert one.open == ()
    own = shown(one, "own", "1902FF")
    one.decide("own", own.digest, "approve", S)
    assert one.take(event("decision", "own", body, TECHNICIAN), S) == (), "its own, coming back"


def test_withdrawn_and_expired_there_means_gone_here():
    one = book()
    for ident, kind in (("a", "withdraw"), ("b", "result")):
        asked = shown(one, ident, "1902FF")
        assert one.take(event(kind, ident, {"outcome": "expired"}), S) == (Gone(ident),)
        assert why(one.decide(ident, asked.digest, "approve", S)) == [AlreadyDecided]
    asked = held(one)
    one.hold(press(asked, 1), 0, is_local=True)
    assert one.take(event("result", "p", {"outcome": "done"}), S) == (), "the service cannot end the watch over a hand"


def test_only_so_many_wait():
    one = book()
    for number in range(8):
        shown(one, f"r{number}", "1902FF")
    assert why(one.take(request("more", "1902FF"), 0)) == [TooMuch]


@given(
    data=st.binary(min_size=1, max_size=12),
    decision=st.sampled_from(["approve", "session", "deny", "second", "x"]),
    is_right=st.booleans(),
)
def test_nothing_runs_that_the_guard_s_table_and_the_policy_do_not_both_allow(data, decision, is_right):
    """Whatever is asked and however it is decided: what runs is of a class that may, and was granted to the byte."""
    one, target = book(), TARGETS[BMS]
    risk, _, complaint = judge(data, target)
    hold = risk is Risk.ACTUATE and bytes([data[0]]) == b"\x2f" and len(data) > 3 and data[3] != 0
    told = request("r", data.hex().upper(), risk=risk.value, hold=hold)
    actions = list(one.take(told, 0))
    asked = actions[0].asked if isinstance(actions[0], Show) else None
    digest = told.body["digest"] if is_right else "0" * 64
    actions += one.decide("r", digest, decision, 1, unplugged=True)
    if runs(actions):
        assert complaint is None
        assert risk in (Risk.READ, Risk.ASK_EACH_TIME, Risk.ACTUATE)
        assert is_right
        assert decision == "approve" or (decision == "session" and risk is Risk.READ)
        assert asked.data == data
        assert not hold


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["approve", "page", "r", BMS, "A"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
keys = st.sampled_from(["ecu", "data", "digest", "decision", "by", "proof", "unplugged", "stopped", "hold", "risk"])


@given(
    kind=st.sampled_from(["request", "decision", "withdraw", "result", "stop", "chat"]),
    ident=st.sampled_from(["r", "", "x"]),
    body=st.dictionaries(keys, anything, max_size=6),
    who=st.dictionaries(st.sampled_from(["id", "role", "name"]), anything, max_size=3),
)
def test_whatever_a_service_says_nothing_breaks_and_nothing_runs(kind, ident, body, who):
    one = book()
    shown(one, "r", "14FFFFFF", risk="B")
    told = [
        event("request", "x", {**request("x", "1902FF").body, **body}, {**EXPERT, **who}),
        event(kind, ident, body, who),
    ]
    for number, said in enumerate(told):
        assert runs(one.take(said, number)) == []
    assert runs(one.poll(10 * REQUEST_LIFE_NS)) == []
