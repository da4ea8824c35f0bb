"""Status bytes before and after, and what they prove. Standard: ISO 14229-1:2020 Annex D.2."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from diag.facts import Severity, Text
from diag.repairproof import CodeState, Outcome, RepairVisit, prove_repair

START = datetime(2026, 1, 1, tzinfo=UTC)
KEY = ("0x7EC", "P0AA6-1A")


def code(mask, *kinds):
    return {KEY: CodeState(KEY[1], KEY[0], mask, kinds)}


def visit(codes=None, **more):
    return RepairVisit("VIN", START, True, codes or {}, read=frozenset({"0x7EC"}), **more)


def later(**changes):
    return replace(visit(), started=START + timedelta(hours=1), **changes)


@pytest.mark.parametrize(
    ("after", "outcome"),
    [
        ({"states": {KEY: 0x00}}, Outcome.FIXED),
        ({"states": {KEY: 0x40}}, Outcome.FIXED),
        ({"states": {KEY: 0x50}}, Outcome.CLEARED),
        ({"states": {KEY: 0x10}}, Outcome.CLEARED),
        ({"states": {KEY: 0x20}}, Outcome.INTERMITTENT),
        ({}, Outcome.CLEARED),
        ({"read": frozenset()}, Outcome.CLEARED),
        ({"codes": code(0x2F)}, Outcome.NOT_FIXED),
        ({"codes": code(0x09)}, Outcome.NOT_FIXED),
        ({"codes": code(0x28)}, Outcome.INTERMITTENT),
        ({"codes": code(0x24)}, Outcome.INTERMITTENT),
        ({"codes": code(0x68)}, Outcome.INTERMITTENT),
        ({"codes": code(None, "permanent")}, Outcome.CLEARED),
        ({"codes": code(None, "pending")}, Outcome.INTERMITTENT),
        ({"codes": code(None, "stored")}, Outcome.NOT_FIXED),
    ],
)
def test_what_a_status_proves(after, outcome):
    proof = prove_repair(visit(code(0x2F)), later(**after))
    assert proof.outcome is outcome
    (item,) = proof.items
    assert item.because.zh
    assert item.because.en
    assert (item.needed is None) == (outcome in (Outcome.FIXED, Outcome.NOT_FIXED))


def test_a_permanent_code_that_is_gone_proves_its_test_where_all_monitors_have_run():
    before = visit(code(None, "stored", "permanent"))
    assert prove_repair(before, later(ready={"0x7EC": True}, warm_ups={"0x7EC": 4})).outcome is Outcome.FIXED
    assert prove_repair(before, later(ready={"0x7EC": False})).outcome is Outcome.CLEARED
    assert prove_repair(before, later(ready={"0x7EC": True}, warm_ups={"0x7EC": 0})).outcome is Outcome.CLEARED
    only_stored = visit(code(None, "stored"))
    assert prove_repair(only_stored, later(ready={"0x7EC": True})).outcome is Outcome.CLEARED


def test_a_code_that_did_not_fail_before_and_fails_now_is_worse():
    assert prove_repair(visit(code(0x28)), later(codes=code(0x2F))).outcome is Outcome.WORSE


TITLE = Text("cell", "单体")


def test_a_battery_finding_needs_to_be_seen_again():
    figures = {"cell_resistance_excess": 1.4}
    before = visit(findings={"battery.module-joint": (Severity.SOON, TITLE, 3.0)}, has_battery=True, figures=figures)
    assert prove_repair(before, later()).outcome is Outcome.CLEARED
    unloaded = later(has_battery=True, figures={"cell_resistance_excess": None})
    assert prove_repair(before, unloaded).outcome is Outcome.CLEARED
    driven = later(has_battery=True, figures={"cell_resistance_excess": 0.03})
    proof = prove_repair(before, driven)
    assert proof.outcome is Outcome.FIXED
    assert proof.figures["cell_resistance_excess"] == (1.4, 0.03)
    same = {"battery.module-joint": (Severity.SOON, TITLE, 3.1)}
    assert prove_repair(before, later(has_battery=True, findings=same)).outcome is Outcome.NOT_FIXED
    grown = {"battery.module-joint": (Severity.SOON, TITLE, 4.5)}
    assert prove_repair(before, later(has_battery=True, findings=grown)).outcome is Outcome.WORSE


def test_a_test_result_that_was_outside():
    key = ("0x7E8", "A1", "80")
    before = visit(tests={key: False})
    assert prove_repair(before, later(tests={key: True})).outcome is Outcome.FIXED
    assert prove_repair(before, later(tests={key: False})).outcome is Outcome.NOT_FIXED
    assert prove_repair(before, later()).outcome is Outcome.CLEARED


def test_the_worst_comes_first_and_decides():
    other = ("0x7E8", "P0562-16")
    codes = {**code(0x2F), other: CodeState(other[1], other[0], 0x2F)}
    proof = prove_repair(
        visit(
            codes,
        ),
        later(codes={other: CodeState(other[1], other[0], 0x2F)}, states={KEY: 0x00}),
    )
    assert [item.outcome for item in proof.items] == [Outcome.NOT_FIXED, Outcome.FIXED]
    assert proof.to_json()["verdict"] == "not-fixed"


def test_two_cars_or_the_wrong_order():
    with pytest.raises(ValueError, match="vin"):
        prove_repair(visit(), replace(later(), vin="OTHER"))
    with pytest.raises(ValueError, match="time"):
        prove_repair(later(), visit())
    assert prove_repair(visit(), later()).outcome is None


def test_a_permanent_code_without_its_failure_type_is_the_same_code_and_no_new_one():
    typed = {("0x7EC", "P0AA6-1A"): CodeState("P0AA6-1A", "0x7EC", 0x2F, ("stored",))}
    bare = {("0x7EC", "P0AA6"): CodeState("P0AA6", "0x7EC", None, ("permanent",))}
    proof = prove_repair(visit(typed), later(codes=bare, states={("0x7EC", "P0AA6-1A"): 0x50}))
    assert [(item.ref, item.outcome) for item in proof.items] == [("0x7EC P0AA6-1A", Outcome.CLEARED)]
    assert [item.outcome for item in prove_repair(visit(bare), later(codes=typed)).items] == [Outcome.NOT_FIXED]
    other = {("0x7EC", "P0AA6-1B"): CodeState("P0AA6-1B", "0x7EC", 0x2F)}
    assert {item.outcome for item in prove_repair(visit(typed), later(codes=other)).items} == {
        Outcome.WORSE,
        Outcome.CLEARED,
    }
    elsewhere = {("0x7E8", "P0AA6"): CodeState("P0AA6", "0x7E8", None, ("permanent",))}
    assert Outcome.WORSE in {item.outcome for item in prove_repair(visit(typed), later(codes=elsewhere)).items}
