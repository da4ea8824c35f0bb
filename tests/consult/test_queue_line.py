"""The line itself: who is asked, in which order, and what the clock brings. No service, no real time."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from consult.needs import Need
from consult.routing import Expert, fits, rank
from consult.waitclocks import QueueConfig, clock_faces
from consult.waiterrors import HandsFull, OfferGone
from consult.waitingline import STAGES, WaitingLine

S = 1_000_000
CONFIG = QueueConfig()
NEED = Need("high", ("battery", "isolation"), (), "Huizhen", "EV400", "zh", "CN", "expert")
ROOM = "a" * 12


def kinds(steps):
    return [(step.kind, step.who or step.detail) for step in steps]


# -- the order of experts ----------------------------------------------------------------------------------------------

BETTER_FIRST = [
    ("skill", {"skills": ("bms",)}, {"makes": ("Huizhen",), "languages": ("zh",), "region": "CN"}),
    ("the skill needed most", {"skills": ("电池",)}, {"skills": ("isolation",), "makes": ("Huizhen",)}),
    ("make", {"makes": ("huizhen",)}, {"languages": ("zh",), "region": "CN"}),
    ("a generalist before another make's", {}, {"makes": ("Other",), "languages": ("zh",)}),
    ("language", {"languages": ("en", "zh-CN")}, {"region": "CN"}),
    ("load", {"load": 0}, {"load": 1, "region": "CN"}),
    ("load by what one may hold", {"load": 1, "at_once": 4}, {"load": 1, "at_once": 2}),
    ("region", {"region": "CN"}, {"region": "DE"}),
    ("longest idle", {"idle_since_us": 5}, {"idle_since_us": 6}),
]


@pytest.mark.parametrize(("why", "better", "worse"), BETTER_FIRST, ids=[one[0] for one in BETTER_FIRST])
def test_the_better_expert_comes_first(why, better, worse):
    del why
    for names in (("a", "b"), ("b", "a")):
        good, bad = Expert(names[0], **better), Expert(names[1], **worse)
        assert [choice.name for choice in rank((bad, good), NEED)] == [names[0], names[1]]


def test_each_choice_says_why():
    expert = Expert("li", skills=("BMS", "charging"), languages=("zh",), makes=("Huizhen",), region="CN")
    assert rank((expert,), NEED)[0].because == (
        "skill:battery", "make:Huizhen", "language:zh", "load:0/2", "region:CN",
    )  # fmt: skip
    assert rank((Expert("mo", load=1),), NEED)[0].because == ("load:1/2",)


# -- offers ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def experts():
    return [
        Expert("li", skills=("battery",)),
        Expert("mo"),
        Expert("ni"),
        Expert("ou"),
        Expert("wu", is_lead=True),
        Expert("xu", is_lead=True),
    ]


@pytest.fixture
def line():
    line = WaitingLine(CONFIG)
    assert kinds(line.queue(ROOM, NEED, 0)) == [("queued", "")]
    return line


def test_one_after_the_other_then_the_leads_then_everybody(line, experts):
    assert kinds(line.tick(0, experts)) == [("offered", "li")]
    assert kinds(line.tick(60 * S - 1, experts)) == []
    assert kinds(line.tick(60 * S, experts)) == [("lapsed", "li"), ("offered", "mo")]
    assert kinds(line.pass_on(ROOM, "mo", 70 * S)) == [("passed", "mo")]
    assert kinds(line.tick(70 * S, experts)) == [("offered", "ni")]
    assert kinds(line.tick(130 * S, experts)) == [
        ("lapsed", "ni"), ("escalated", "leads"), ("offered", "wu"), ("offered", "xu"),
    ]  # fmt: skip
    with pytest.raises(OfferGone):
        line.accept(ROOM, experts[0], 131 * S)
    assert line.entries[ROOM].state == "offered"
    steps = kinds(line.tick(190 * S, experts))
    assert steps[:3] == [("lapsed", "wu"), ("lapsed", "xu"), ("escalated", "everybody")]
    assert {who for kind, who in steps[3:]} == {"li", "mo", "ni", "ou", "wu", "xu"}
    assert line.entries[ROOM].state == "open"
    assert kinds(line.accept(ROOM, experts[3], 200 * S)) == [("accepted", "ou")]
    with pytest.raises(OfferGone):
        line.accept(ROOM, experts[0], 200 * S)


def test_an_offer_ends_at_its_very_second(line, experts):
    line.tick(0, experts)
    with pytest.raises(OfferGone):
        line.accept(ROOM, experts[1], 1 * S)
    with pytest.raises(OfferGone):
        line.accept(ROOM, experts[0], 60 * S)
    line.accept(ROOM, experts[0], 60 * S - 1)
    assert line.entries[ROOM].because == ("skill:battery", "load:0/2")


def test_danger_is_offered_to_several_at_once(experts):
    line = WaitingLine(CONFIG)
    line.queue(ROOM, replace(NEED, severity="danger"), 0)
    assert kinds(line.tick(0, experts)) == [("offered", "li"), ("offered", "mo"), ("offered", "ni")]
    steps = kinds(line.tick(60 * S, experts))
    assert ("escalated", "accept100") in steps, "a minute is over"
    assert line.entries[ROOM].stage == "everybody"


def test_danger_comes_before_what_waits_longer_and_takes_who_is_asked_for_less():
    line, only = WaitingLine(CONFIG), [Expert("li", at_once=1)]
    line.queue("0" * 12, replace(NEED, severity="normal"), 0)
    line.tick(0, only)
    line.queue("1" * 12, replace(NEED, severity="normal"), 1 * S)
    line.queue("2" * 12, replace(NEED, severity="danger"), 2 * S)
    assert [entry.room[0] for entry in line.waiting()] == ["2", "0", "1"]
    assert kinds(line.tick(2 * S, only)) == [("offered", "li")], "the danger, besides what is offered already"
    assert kinds(line.accept("2" * 12, only[0], 3 * S)) == [("accepted", "li"), ("revoked", "li")]
    assert line.entries["0" * 12].asked == (), "who was taken away by danger has not declined"
    with pytest.raises(OfferGone):
        line.accept("0" * 12, only[0], 3 * S)


def test_busy_experts_are_waited_for_and_nobody_holds_more_than_they_may():
    line, only = WaitingLine(CONFIG), [Expert("li", at_once=1)]
    for n in range(2):
        line.queue(str(n) * 12, NEED, n)
    line.tick(1, only)
    line.accept("0" * 12, only[0], 1)
    assert kinds(line.tick(2, only)) == []
    line.end("0" * 12, "resolved", 100 * S)
    assert kinds(line.tick(100 * S, only)) == [("offered", "li")]
    line.queue("2" * 12, NEED, 100 * S)
    line.accept("1" * 12, only[0], 101 * S)
    line.tick(500 * S, only)
    assert line.entries["2" * 12].stage == "everybody"
    with pytest.raises(HandsFull) as refused:
        line.accept("2" * 12, only[0], 501 * S)
    assert refused.value.load == 1


def test_who_goes_off_duty_is_asked_no_longer(line, experts):
    line.tick(0, experts)
    assert kinds(line.tick(5 * S, experts[1:])) == [("revoked", "li"), ("offered", "mo")]


def test_nobody_on_duty_opens_it_to_whoever_comes(line, experts):
    assert kinds(line.tick(0, [])) == [("escalated", "everybody")]
    assert kinds(line.tick(10 * S, experts[:1])) == [("offered", "li")]


def test_a_case_that_turned_dangerous_is_offered_anew(line, experts):
    line.tick(0, experts)
    line.tick(60 * S, experts)
    line.queue(ROOM, replace(NEED, severity="danger"), 61 * S)
    assert kinds(line.tick(61 * S, experts))[0] == ("offered", "li") or line.entries[ROOM].stage == "everybody"
    assert line.entries[ROOM].need.severity == "danger"


def test_a_car_of_which_nothing_is_known_yet_is_not_offered(line, experts):
    assert line.tick(0, experts, is_ready=lambda entry: False) == []
    assert kinds(line.tick(0, experts, may_take=lambda name, room: name != "li")) == [("offered", "mo")]


def test_who_declined_what_is_open_to_everybody_is_asked_again_and_again(experts):
    line, few = WaitingLine(CONFIG), experts[:2]
    line.queue(ROOM, replace(NEED, severity="danger"), 0)
    line.tick(0, few)
    line.tick(60 * S, few)
    assert line.entries[ROOM].stage == "everybody"
    for again in (120, 180, 240):
        for name in ("li", "mo"):
            line.pass_on(ROOM, name, (again - 50) * S)
        assert kinds(line.tick((again - 1) * S, few)) == []
        assert kinds(line.tick(again * S, few)) == [
            ("escalated", "accept100"), ("offered", "li"), ("offered", "mo"),
        ]  # fmt: skip
    line.accept(ROOM, few[1], 241 * S)
    assert kinds(line.tick(400 * S, few)) == []


def test_one_who_does_not_look_keeps_a_car_from_nobody_who_declined_it(line, experts):
    line.tick(0, [])
    line.tick(1 * S, experts[:2])
    line.pass_on(ROOM, "li", 2 * S)
    assert ("offered", "li") not in kinds(line.tick(299 * S, experts[:2]))
    assert ("offered", "li") in kinds(line.tick(301 * S, experts[:2]))
    assert line.entries[ROOM].offer_to("mo").until_us == 0


@pytest.mark.parametrize(("severity", "asks_lead"), [("high", True), ("normal", False)])
def test_what_cannot_wait_long_goes_to_a_lead_when_all_experts_are_busy(severity, asks_lead):
    line, busy, lead = WaitingLine(CONFIG), Expert("li", at_once=1), Expert("wu", is_lead=True)
    line.queue("0" * 12, NEED, 0)
    line.tick(0, [busy])
    line.accept("0" * 12, busy, 1 * S)
    line.queue(ROOM, replace(NEED, severity=severity), 2 * S)
    assert kinds(line.tick(62 * S - 1, [busy, lead])) == []
    assert kinds(line.tick(62 * S, [busy])) == [], "no lead is there either: it keeps its place"
    assert line.entries[ROOM].stage == "experts"
    assert kinds(line.tick(63 * S, [busy, lead])) == ([("escalated", "leads"), ("offered", "wu")] if asks_lead else [])


# -- clocks ------------------------------------------------------------------------------------------------------------


def test_every_clock_warns_once_and_escalates_once(line, experts):
    only = experts[:1]
    line.tick(0, only)
    line.accept(ROOM, only[0], 10 * S)
    seen = []
    for t in range(10, 10_000, 10):
        seen += [(t, *one) for one in kinds(line.tick(t * S, only))]
    assert seen == [
        (10 + 720, "warning", "li"), (10 + 900, "escalated", "li"),
        (10 + 5760, "warning", "li"), (10 + 7200, "escalated", "li"),
    ]  # fmt: skip
    assert kinds(line.find(ROOM, 20 * S)) == [("first-finding", "li")]
    assert line.find(ROOM, 30 * S) == []


def test_a_clock_that_has_stopped_says_nothing(line, experts):
    only = experts[:1]
    line.tick(0, only)
    line.accept(ROOM, only[0], 10 * S)
    line.find(ROOM, 20 * S)
    assert kinds(line.tick(6000 * S, only)) == [("warning", "li")], "only that the whole takes long"
    line.end(ROOM, "resolved", 6001 * S)
    assert line.tick(9000 * S, only) == []
    assert [(face.clock, face.end_us) for face in clock_faces(line.changed[1], CONFIG)] == [
        ("accept", 10 * S), ("finding", 20 * S), ("resolve", 6001 * S),
    ]  # fmt: skip


def test_a_holder_who_is_gone_loses_the_case_to_the_next(line, experts):
    line.tick(0, experts)
    line.accept(ROOM, experts[0], 10 * S)
    steps = kinds(line.tick(911 * S, experts, is_there=lambda entry: False))
    assert ("handed-back", "li") in steps
    assert steps[-1] == ("offered", "mo")
    entry = line.entries[ROOM]
    assert (entry.queued_us, entry.since_us, entry.accepted_us) == (0, 911 * S, None)


def test_a_holder_who_goes_without_a_finding_after_its_time_loses_the_case_too(line, experts):
    line.tick(0, experts)
    line.accept(ROOM, experts[0], 10 * S)
    assert ("escalated", "li") in kinds(line.tick(910 * S, experts))
    assert kinds(line.tick(911 * S, experts, is_there=lambda entry: False)) == []
    assert kinds(line.tick(950 * S, experts)) == [], "back in time: a connection breaks now and then"
    assert kinds(line.tick(960 * S, experts, is_there=lambda entry: False)) == []
    assert kinds(line.tick(1019 * S, experts, is_there=lambda entry: False)) == []
    assert kinds(line.tick(1020 * S, experts, is_there=lambda entry: False)) == [
        ("handed-back", "li"), ("offered", "mo"),
    ]  # fmt: skip


def test_a_holder_who_has_found_something_may_go(line, experts):
    line.tick(0, experts)
    line.accept(ROOM, experts[0], 10 * S)
    line.tick(910 * S, experts)
    line.find(ROOM, 911 * S)
    for t_s in (912, 1200, 1500):
        assert kinds(line.tick(t_s * S, experts, is_there=lambda entry: False)) == []


def test_a_case_is_handed_back_by_its_holder_alone(line, experts):
    line.tick(0, experts)
    line.accept(ROOM, experts[0], 10 * S)
    with pytest.raises(OfferGone):
        line.pass_on(ROOM, "mo", 11 * S)
    assert kinds(line.pass_on(ROOM, "li", 12 * S)) == [("handed-back", "li")]
    assert kinds(line.tick(12 * S, experts)) == [("offered", "mo")]


# -- whatever happens --------------------------------------------------------------------------------------------------

NAMES = ("li", "mo", "ni", "wu")
SKILLS = st.sampled_from(["battery", "charging", "drive"])


class AnyQueue(RuleBasedStateMachine):
    """Cars come, experts take, decline, finish, go and come; time passes in leaps."""

    def __init__(self):
        super().__init__()
        self.line = WaitingLine(QueueConfig(accept_s=120, danger_accept_s=30))
        self.t_us = 0
        self.count = 0
        self.duty = {}
        self.steps = []

    def experts(self):
        return list(self.duty.values())

    @rule(severity=st.sampled_from(["danger", "high", "normal"]), skills=st.sets(SKILLS, max_size=2))
    def comes(self, severity, skills):
        self.count += 1
        self.steps += self.line.queue(f"{self.count:012x}", Need(severity, tuple(sorted(skills))), self.t_us)

    @rule(name=st.sampled_from(NAMES), skills=st.sets(SKILLS), at_once=st.integers(1, 3))
    def on_duty(self, name, skills, at_once):
        self.duty[name] = Expert(
            name, name == "wu", tuple(sorted(skills)), at_once=max(at_once, self.line.loads()[name])
        )

    @rule(name=st.sampled_from(NAMES))
    def off_duty(self, name):
        self.duty.pop(name, None)

    @rule(seconds=st.integers(0, 400))
    def time_passes(self, seconds):
        self.t_us += seconds * S
        before = {entry.room: entry for entry in self.line.waiting()}
        steps = self.line.tick(self.t_us, self.experts())
        self.steps += steps
        loads = self.line.loads()
        asked = {step.who for step in steps if step.kind == "offered" and step.entry.need.severity != "danger"}
        for entry in self.line.waiting():
            if entry.need.severity != "danger" or entry.offers:
                continue
            for name in asked:
                expert = self.duty[name]
                is_new = entry.room in before and name not in entry.asked
                assert not (is_new and fits(expert, entry.need) and loads[name] < expert.at_once), (
                    "somebody was asked for a lesser case while danger waits that they could take"
                )

    @precondition(lambda self: self.line.waiting() and self.duty)
    @rule(data=st.data())
    def accepts(self, data):
        entry = data.draw(st.sampled_from(self.line.waiting()))
        expert = data.draw(st.sampled_from(self.experts()))
        may = entry.stage == STAGES[-1] or (
            entry.offer_to(expert.name) is not None and entry.offer_to(expert.name).until_us > self.t_us
        )
        try:
            self.steps += self.line.accept(entry.room, expert, self.t_us)
        except OfferGone:
            assert not may
        except HandsFull:
            assert self.line.loads()[expert.name] >= expert.at_once
        else:
            assert may

    @precondition(lambda self: any(entry.offers for entry in self.line.waiting()))
    @rule(data=st.data())
    def declines(self, data):
        entry = data.draw(st.sampled_from([one for one in self.line.waiting() if one.offers]))
        self.steps += self.line.pass_on(entry.room, data.draw(st.sampled_from(entry.offers)).name, self.t_us)

    @precondition(lambda self: any(not one.is_waiting for one in self.line.entries.values()))
    @rule(data=st.data(), ending=st.sampled_from(["resolved", "closed"]))
    def ends(self, data, ending):
        held = [one.room for one in self.line.entries.values() if not one.is_waiting]
        self.steps += self.line.end(data.draw(st.sampled_from(held)), ending, self.t_us)

    @invariant()
    def nobody_holds_too_much(self):
        for name, load in self.line.loads().items():
            assert name not in self.duty or load <= self.duty[name].at_once

    @invariant()
    def every_car_is_somewhere(self):
        ended = {step.entry.room for step in self.steps if step.kind in ("resolved", "closed")}
        assert len(ended) + len(self.line.entries) == self.count
        for entry in self.line.entries.values():
            assert entry.is_waiting == (not entry.holder)
            assert entry.is_waiting or not entry.offers
            assert len({offer.name for offer in entry.offers}) == len(entry.offers)

    def teardown(self):
        """Once somebody who may take many comes on duty, every car is taken in the end."""
        self.duty = {"zu": Expert("zu", at_once=10_000)}
        for _ in range(4):
            self.t_us += 130 * S
            self.line.tick(self.t_us, self.experts())
        for entry in self.line.waiting():
            self.line.accept(entry.room, self.duty["zu"], self.t_us)
        assert self.line.waiting() == []


AnyQueue.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnyQueue = AnyQueue.TestCase


@given(st.lists(st.sampled_from(["danger", "high", "normal"]), min_size=1, max_size=20))
def test_the_line_is_in_order(severities):
    line = WaitingLine(CONFIG)
    for n, severity in enumerate(severities):
        line.queue(f"{n:012x}", replace(NEED, severity=severity), n * S)
    order = [(entry.need.severity, entry.queued_us) for entry in line.waiting()]
    assert order == sorted(order, key=lambda one: (("danger", "high", "normal").index(one[0]), one[1]))
