"""The service's desk: who may ask what, how long it waits, and that every word of it becomes an event."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consult.catalogue import catalogue_for
from consult.errors import ConsultError, MessageBroken, RoleRefused, TooMuch
from consult.granterrors import (
    AlreadyDecided,
    CarAway,
    DigestWrong,
    EcuUnknown,
    NeverGranted,
    PolicyForbids,
    RequestExpired,
    RequestUnknown,
    SecondRefused,
)
from consult.invites import Role
from consult.messages import Ask, Decide, Result, Seen, Stop, Withdraw
from consult.redaction import redact_event, redact_report
from consult.remotepolicy import RemotePolicy, needs_hold, parse_policy
from consult.reportecus import targets_from_report
from consult.requestdesk import REQUEST_LIFE_US, RequestDesk
from consult.requestproof import request_digest
from diag.guard import judge
from diag.guardrules import Risk, release_of

ROOM = "0123456789ab"
REPORT = {
    "ecus": [
        {"address": "0x7EC", "request_address": "0x7E4", "name": "BMS", "protocol": "uds"},
        {"address": "0x7E8", "request_address": "0x7E0", "name": "VCU", "protocol": "obd2"},
        {"address": "0xF4", "request_address": "0xF4", "name": "J1939", "protocol": "j1939"},
        {"address": "0x728", "request_address": "0x720", "name": "ESC", "protocol": "uds"},
        {"address": "nonsense", "protocol": "uds"},
        "nonsense",
    ],
    "dtcs": [{"display": "P0AA6-1A", "ecu": "0x7EC"}, {"display": "P0123", "ecu": "0x7EC"}, {"ecu": "0x7EC"}, 3],
}
EXPERT = {"id": 7, "role": "expert", "name": "李工"}
OTHER = {"id": 8, "role": "expert", "name": "Dr Chen"}
TECHNICIAN = {"id": 2, "role": "technician", "name": "手机"}


@pytest.fixture
def told():
    return []


@pytest.fixture
def desk(told):
    def tell(kind, who, now_us, *, ident="", text="", body=None):
        told.append({"kind": kind, "who": who, "t_us": now_us, "id": ident, "text": text, "body": body or {}})

    made = RequestDesk(ROOM, tell)
    made.meet_car(REPORT, RemotePolicy().to_json())
    return made


def ask(desk, ident="r", data="1902FF", *, ecu="0x7EC", who=EXPERT, role=Role.EXPERT, now=0, here=True, **more):
    desk.ask(Ask(ident, ecu, data, **{"text": "why", **more}), who, role, now, is_car_here=here)


def decide(desk, ident="r", decision="approve", *, digest=None, who=TECHNICIAN, role=Role.TECHNICIAN, now=1):
    right = desk._requests[ident].digest if ident in desk._requests else "0" * 64
    desk.decide(Decide(ident, digest or right, decision, "proof"), who, role, now)


def test_a_request_is_told_with_its_class_and_digest(desk, told):
    ask(desk, data="14ffffff", ecu="0x7ec")
    (event,) = told
    digest = request_digest(ROOM, "r", "0x7EC", b"\x14\xff\xff\xff", hold=False, risk="B")
    assert (event["kind"], event["id"], event["text"]) == ("request", "r", "why")
    assert event["body"] == {
        "ecu": "0x7EC",
        "data": "14FFFFFF",
        "risk": "B",
        "name": {"en": "clear codes", "zh": "清除故障码"},
        "hold": False,
        "digest": digest,
        "expires_us": REQUEST_LIFE_US,
        "seconds": 0,
    }
    ask(desk, data="2F01610346", ident="p")
    assert (told[-1]["body"]["hold"], told[-1]["body"]["risk"]) == (True, "C")
    ask(desk, ident="r", data="1902FF")
    assert len(told) == 2, "the same id again is no new request"


@pytest.mark.parametrize(
    ("named", "error"),
    [
        ({"role": Role.OBSERVER}, RoleRefused),
        ({"role": Role.TECHNICIAN}, RoleRefused),
        ({"here": False}, CarAway),
        ({"ecu": "0x7E9"}, EcuUnknown),
        ({"ecu": "0x7DF"}, EcuUnknown),
        ({"ecu": "0xF4"}, EcuUnknown),
        ({"text": "  "}, MessageBroken),
        ({"text": "x" * 501}, MessageBroken),
        ({"ident": ""}, MessageBroken),
        ({"hold": True}, MessageBroken),
        ({"data": "3101E200"}, NeverGranted),
        ({"data": "275F"}, NeverGranted),
        ({"data": "0801"}, NeverGranted),
        ({"data": "31010101"}, NeverGranted),
        ({"data": "BA"}, NeverGranted),
        ({"data": "2EF19800"}, PolicyForbids),
        ({"data": "1002"}, PolicyForbids),
    ],
)
def test_what_nobody_could_grant_is_not_told(desk, told, named, error):
    with pytest.raises(error):
        ask(desk, **named)
    assert told == []


def test_a_laptop_that_says_nothing_of_its_policy_grants_nothing(desk, told):
    for allows in ({}, {"classes": "x"}, {"classes": ["refused"]}, {"classes": ["A"], "alter": 3}, {"classes": None}):
        desk.meet_car(REPORT, allows)
        with pytest.raises(PolicyForbids):
            ask(desk)
    assert told == []


def test_routines_are_classed_as_the_laptop_names_them(desk, told):
    policy = parse_policy('[routines.0203]\nclass = "C"\nen = "bleed"\nzh = "排气"')
    desk.meet_car(REPORT, policy.to_json())
    ask(desk, data="31010203")
    assert (told[-1]["body"]["name"]["zh"], told[-1]["body"]["hold"]) == ("排气", True)
    desk.meet_car(REPORT, {"classes": ["C"], "routines": {"E201": {"class": "C", "en": "x", "zh": "x"}}})
    with pytest.raises((NeverGranted, PolicyForbids)):
        ask(desk, ident="e", data="3101E201")


def test_only_so_many_wait_of_one_person_and_of_all(desk):
    for number in range(3):
        ask(desk, ident=f"a{number}")
    with pytest.raises(TooMuch):
        ask(desk, ident="a3")
    for number in range(3):
        ask(desk, ident=f"b{number}", who=OTHER)
    with pytest.raises(TooMuch):
        ask(desk, ident="c", who={**OTHER, "id": 9})
    desk.poll(REQUEST_LIFE_US)
    ask(desk, ident="later", now=REQUEST_LIFE_US)


def test_another_s_id_is_taken(desk):
    ask(desk)
    with pytest.raises(AlreadyDecided):
        ask(desk, who=OTHER)


def test_what_nobody_decides_on_expires_once(desk, told):
    ask(desk)
    desk.poll(REQUEST_LIFE_US - 1)
    assert len(told) == 1
    desk.poll(REQUEST_LIFE_US)
    desk.poll(2 * REQUEST_LIFE_US)
    assert [(e["kind"], e["body"].get("outcome")) for e in told[1:]] == [("result", "expired")]
    with pytest.raises(RequestExpired):
        decide(desk, now=REQUEST_LIFE_US)


def test_a_decision_after_the_minute_is_refused_before_the_clock_ticks(desk):
    ask(desk)
    with pytest.raises(RequestExpired):
        decide(desk, now=REQUEST_LIFE_US)


def test_who_may_decide_what(desk, told):
    ask(desk)
    for role in (Role.EXPERT, Role.LEAD, Role.OBSERVER):
        with pytest.raises(RoleRefused):
            decide(desk, who=OTHER, role=role)
    with pytest.raises(RequestUnknown):
        decide(desk, ident="of another room")
    with pytest.raises(DigestWrong):
        decide(desk, digest="0" * 64)
    decide(desk, decision="session")
    with pytest.raises(AlreadyDecided):
        decide(desk)
    assert told[-1]["body"]["proof"] == "proof"
    ask(desk, ident="b", data="14FFFFFF")
    with pytest.raises(PolicyForbids):
        decide(desk, ident="b", decision="session")


ALTER = '[classes]\nD = true\n[[alter]]\necu = "0x7EC"\nrequest = "2E F1 98"'


def test_the_second_person_is_another_expert(desk, told):
    desk.meet_car(REPORT, parse_policy(ALTER).to_json())
    ask(desk, data="2EF19800")
    assert told[-1]["body"]["seconds"] == 1
    with pytest.raises(SecondRefused):
        decide(desk, decision="second", who=EXPERT, role=Role.EXPERT)
    for role in (Role.TECHNICIAN, Role.OBSERVER):
        with pytest.raises(RoleRefused):
            decide(desk, decision="second", who=OTHER, role=role)
    with pytest.raises(DigestWrong):
        decide(desk, decision="second", who=OTHER, role=Role.EXPERT, digest="0" * 64)
    decide(desk, decision="second", who=OTHER, role=Role.EXPERT)
    with pytest.raises(AlreadyDecided):
        decide(desk, decision="second", who={**OTHER, "id": 9}, role=Role.LEAD)
    ask(desk, ident="read")
    with pytest.raises(SecondRefused):
        decide(desk, ident="read", decision="second", who=OTHER, role=Role.EXPERT)


def test_withdrawn_by_who_asked_or_the_lead(desk, told):
    for ident, who, role in (("a", EXPERT, Role.EXPERT), ("b", OTHER, Role.LEAD)):
        ask(desk, ident=ident)
        with pytest.raises(RoleRefused):
            desk.withdraw(Withdraw(ident), OTHER, Role.EXPERT, 1)
        desk.withdraw(Withdraw(ident), who, role, 1)
        with pytest.raises(AlreadyDecided):
            decide(desk, ident=ident)
    with pytest.raises(RequestUnknown):
        desk.withdraw(Withdraw("x"), EXPERT, Role.EXPERT, 1)


def test_anybody_stops_and_only_the_laptop_resumes(desk, told):
    ask(desk)
    desk.stop(Stop(), {"id": 5, "role": "observer", "name": ""}, 1, is_laptop=False)
    with pytest.raises(RoleRefused):
        desk.stop(Stop(resume=True), EXPERT, 2, is_laptop=False)
    with pytest.raises(AlreadyDecided):
        decide(desk)
    desk.stop(Stop(resume=True), TECHNICIAN, 3, is_laptop=True)
    assert [e["body"]["stopped"] for e in told if e["kind"] == "stop"] == [True, False]


def test_what_the_laptop_says_is_told_once_and_the_truth_also_after_an_expiry(desk, told):
    ask(desk)
    assert desk.hear_laptop(Seen("r", {"risk": "A"}), TECHNICIAN, 1)
    assert not desk.hear_laptop(Seen("r", {"risk": "A"}), TECHNICIAN, 1)
    desk.poll(REQUEST_LIFE_US)
    assert not desk.hear_laptop(Result("r", "refused", {}), TECHNICIAN, 2)
    assert desk.hear_laptop(Decide("r", "0" * 64, "approve", "sig"), TECHNICIAN, 2)
    assert not desk.hear_laptop(Decide("r", "0" * 64, "approve", "sig"), TECHNICIAN, 2)
    assert desk.hear_laptop(Result("r", "done", {"sig": "x", "outcome": "lie"}), TECHNICIAN, 3)
    assert not desk.hear_laptop(Result("r", "done", {}), TECHNICIAN, 3)
    assert not desk.hear_laptop(Result("unknown", "done", {}), TECHNICIAN, 3)
    assert told[-1]["body"] == {"sig": "x", "outcome": "done"}
    assert [e["body"].get("sig") for e in told if e["kind"] == "decision"] == ["sig"]


def test_what_was_done_at_the_same_moment_as_it_was_denied_or_withdrawn_is_in_the_record(desk, told):
    for ident, end in (("denied", "deny"), ("withdrawn", "withdraw")):
        ask(desk, ident=ident)
        if end == "deny":
            decide(desk, ident=ident, decision="deny")
        else:
            desk.withdraw(Withdraw(ident), EXPERT, Role.EXPERT, 1)
        assert desk.hear_laptop(Decide(ident, "0" * 64, "approve", "sig"), TECHNICIAN, 1)
        assert not desk.hear_laptop(Result(ident, "refused", {}), TECHNICIAN, 2)
        assert desk.hear_laptop(Result(ident, "done", {}), TECHNICIAN, 2)
        assert [e["body"]["outcome"] for e in told if e["kind"] == "result" and e["id"] == ident] == ["done"]


def test_a_restart_goes_on_from_the_journal_s_events(desk, told):
    desk.meet_car(REPORT, parse_policy(ALTER).to_json())
    for number, ident in enumerate(("open", "withdrawn", "denied", "approved", "done", "expired")):
        ask(desk, ident=ident, who={**EXPERT, "id": 20 + number})
    desk.withdraw(Withdraw("withdrawn"), {**EXPERT, "id": 21}, Role.EXPERT, 1)
    decide(desk, ident="denied", decision="deny")
    decide(desk, ident="approved")
    decide(desk, ident="done")
    desk.hear_laptop(Seen("open", {}), TECHNICIAN, 1)
    desk.hear_laptop(Result("done", "done", {}), TECHNICIAN, 1)
    desk._requests["expired"].expires_us = 2
    desk.poll(2)
    later = []
    again = RequestDesk(ROOM, lambda kind, *_, ident="", **__: later.append((kind, ident)))
    again.meet_car(REPORT, desk.allows)
    again.restore(json.loads(json.dumps(told)))
    assert {k: (v.state, v.seen) for k, v in again._requests.items()} == {
        k: (v.state, v.seen) for k, v in desk._requests.items()
    }
    decide(again, ident="open")
    with pytest.raises(AlreadyDecided):
        decide(again, ident="denied")


@given(
    st.lists(st.sampled_from(["ask", "approve", "deny", "withdraw", "expire", "result", "stop", "second"]), max_size=12)
)
def test_whatever_comes_in_whatever_order_each_request_ends_once(steps):
    told = []
    desk = RequestDesk(ROOM, lambda kind, *_, ident="", body=None, **__: told.append((kind, ident, body or {})))
    desk.meet_car(REPORT, RemotePolicy().to_json())
    now = 0
    for step in steps:
        now += 1
        try:
            match step:
                case "ask":
                    ask(desk, now=now)
                case "approve" | "deny":
                    decide(desk, decision=step, now=now)
                case "second":
                    decide(desk, decision="second", who=OTHER, role=Role.EXPERT, now=now)
                case "withdraw":
                    desk.withdraw(Withdraw("r"), EXPERT, Role.EXPERT, now)
                case "expire":
                    now += REQUEST_LIFE_US
                    desk.poll(now)
                case "result":
                    desk.hear_laptop(Result("r", "done", {}), TECHNICIAN, now)
                case "stop":
                    desk.stop(Stop(), OTHER, now, is_laptop=False)
        except ConsultError:
            pass
    kinds = [kind for kind, ident, _ in told if ident == "r"]
    assert kinds.count("request") <= 1
    assert kinds.count("withdraw") <= 1
    assert sum(1 for k, _, b in told if k == "result" and b["outcome"] == "done") <= 1
    assert sum(1 for k, _, b in told if k == "result" and b["outcome"] == "expired") <= 1
    assert sum(1 for k, _, b in told if k == "decision" and b["decision"] != "second") <= 1


# -- the catalogue -----------------------------------------------------------------------------------------------------


def test_every_ready_request_is_one_that_could_be_granted_and_is_named_in_both_languages():
    policy = parse_policy('[[never]]\nrequest = "14"\n[routines.0203]\nclass = "C"\nen = "bleed"\nzh = "排气"')
    found = catalogue_for(REPORT, policy.to_json())
    targets = targets_from_report(REPORT)
    assert [ecu["address"] for ecu in found["ecus"]] == ["0x7EC", "0x7E8", "0x728"]
    for ecu in found["ecus"]:
        assert len({one["data"] for one in ecu["requests"]}) == len(ecu["requests"])
        for one in ecu["requests"]:
            data = bytes.fromhex(one["data"])
            risk, _, complaint = judge(data, targets[ecu["address"]], policy.rules)
            assert complaint is None
            assert one["risk"] == risk
            assert one["hold"] == needs_hold(data, risk)
            assert one["allowed"] == policy.allows(ecu["address"], data, risk)
            assert one["name"]["en"]
            assert one["name"]["zh"]
    bms = {one["data"]: one for one in found["ecus"][0]["requests"]}
    assert {"1902FF", "19040AA61AFF", "19060AA61AFF", "22F190", "1003", "1101", "31010203"} <= set(bms)
    assert bms["14FFFFFF"]["allowed"] is False
    assert bms["31010203"]["hold"] is True
    assert {"03", "07", "0A", "04", "010D", "0902"} <= {one["data"] for one in found["ecus"][1]["requests"]}
    assert catalogue_for({}, {}) == {"schema": "huizhen.catalogue/1", "ecus": []}
    assert all(not one["allowed"] for ecu in catalogue_for(REPORT, {})["ecus"] for one in ecu["requests"])


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["0x7EC", "0x7E4", "uds", "P0AA6-1A"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
some = st.dictionaries(
    st.sampled_from(
        ["address", "request_address", "protocol", "name", "display", "ecu", "classes", "alter", "routines"]
    ),
    anything,
)


@given(report=st.dictionaries(st.sampled_from(["ecus", "dtcs"]), st.lists(some) | anything), allows=some)
def test_whatever_a_laptop_says_of_its_car_and_policy_is_taken_or_left_out(report, allows):
    assert catalogue_for(report, allows)["schema"] == "huizhen.catalogue/1"
    desk = RequestDesk(ROOM, lambda *_, **__: None)
    desk.meet_car(report, allows)
    for ecu in ("0x7EC", "", "x"):
        try:
            ask(desk, ident=f"r{ecu}", ecu=ecu)
        except ConsultError:
            continue


# -- what may be held, and how it ends ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "release"),
    [
        ("2F01610346", "2F016100"),
        ("2F016102", "2F016100"),
        ("2F016100", None),
        ("31010203FF", "31020203"),
        ("31810203", "31020203"),
        ("31020203", None),
        ("31030203", None),
        ("1101", None),
        ("2F0161", None),
        ("", None),
    ],
)
def test_what_ends_what(data, release):
    found = release_of(bytes.fromhex(data))
    assert (found.hex().upper() if found else None) == release
    assert needs_hold(bytes.fromhex(data), Risk.ACTUATE) is (release is not None)
    assert needs_hold(bytes.fromhex(data), Risk.READ) is False


# -- the VIN in what is told -------------------------------------------------------------------------------------------

VIN = "LHZEV4001N0001234"


def result(data, answer, text=""):
    return {
        "kind": "result",
        "body": {
            "request": {"ecu": "0x7EC", "data": data, "digest": "d"},
            "answers": [{"source": "0x7EC", "data": answer}],
            "values": [{"value": text}],
            "text": {"en": text, "zh": text},
            "guard": [{"data": "x"}],
            "outcome": "done",
        },
    }


@pytest.mark.parametrize("data", ["22F190", "22F187F190", "0902", "22F802", "22F190F187"])
@pytest.mark.parametrize("vins", [(), (VIN,)])
def test_an_answer_about_the_vin_is_held_back_also_of_an_unknown_car(data, vins):
    less = redact_event(result(data, "62F190" + VIN.encode().hex(), VIN), vins)
    assert VIN not in json.dumps(less)
    assert VIN.encode().hex() not in json.dumps(less)
    assert less["body"]["outcome"] == "done"
    assert less["body"]["request"]["data"] == data
    assert "VIN" in less["body"]["text"]["en"]


def test_a_known_vin_is_taken_out_of_any_other_answer_and_of_what_is_written():
    less = redact_event(result("22F187", "62F187" + VIN.encode().hex(), f"part {VIN}"), (VIN,))
    assert VIN not in json.dumps(less)
    assert VIN.encode().hex() not in json.dumps(less)
    other = result("22F187", "62F18731", "part 1")
    assert redact_event(other, (VIN,)) == other
    writing = {"kind": "request", "body": {"ecu": "0x7EC", "data": "2EF190" + VIN.encode().hex().upper(), "risk": "D"}}
    assert redact_event(writing, ())["body"]["data"] == "2EF190…"
    assert redact_event(result("2EF190" + VIN.encode().hex(), "6EF190"), ())["body"]["request"]["data"] == "2EF190…"


def test_a_vin_that_nobody_asked_for_and_nobody_knew_is_held_back():
    other = "LSVAA49J132012345"
    for data, answer in (
        ("22F1A0", "62F1A0" + other.encode().hex()),
        ("2300001000", "63" + "00FF" + other.encode().hex() + "00"),
    ):
        whole = result(data, answer, f"says {other}")
        assert other not in str(redact_event(whole, (VIN,)))
        assert other.encode().hex() not in str(redact_event(whole, ())).lower()
    for answer in ("62F187" + b"5QE915590C".hex(), "62F18C" + b"SN-0123456789ABCDEFGH".hex(), "62F187"):
        kept = result("22F187", answer, "part")
        assert redact_event(kept, (VIN,)) == kept


@pytest.mark.parametrize("piece", [VIN[:8], VIN[5:13], VIN[-8:]])
def test_a_piece_of_the_vin_is_no_way_around(piece: str) -> None:
    read = result("22F187", "62F187" + piece.encode().hex(), f"part {piece}")
    assert piece.encode().hex() not in json.dumps(redact_event(read, (VIN,))).lower()
    assert piece not in json.dumps(redact_event(read, (VIN,)))


@pytest.mark.parametrize("data", ["23141000200008", "2C01F200F190010C", "22F200", "2A01F2", "22F187F301"])
def test_what_may_be_anything_is_held_back_whole(data: str) -> None:
    assert redact_event(result(data, "6300112233", "0011"), (VIN,))["body"]["answers"] == []


def test_a_report_whose_vin_is_too_short_to_be_one_is_left_readable() -> None:
    report = {"vehicle": {"vin": "AB1"}, "ecus": [{"name": "BMS"}]}
    assert redact_report(report)["ecus"] == [{"name": "BMS"}]
