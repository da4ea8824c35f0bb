"""One notice per change of state."""

from __future__ import annotations

import pytest

from diag.alerts import AlertBook, Change
from diag.facts import Evidence, Finding, Severity, Text

S = 1_000_000_000


def finding(severity=Severity.SOON, code="battery.spread", ref="x", kind="signal"):
    return Finding(code, severity, Text(f"t {ref}", f"题 {ref}"), (Evidence(kind, ref, Text("e", "证")),))


def told(book, times, findings):
    return [(round(n.t_ns / S), n.change) for t in times for n in book.update(findings(t), t * S)]


def test_a_finding_that_stays_is_told_once():
    book = AlertBook()
    assert told(book, range(100), lambda _: [finding()]) == [(0, Change.BEGAN)]
    assert [one.code for one in book.standing] == ["battery.spread"]


def test_danger_is_told_at_once_and_first():
    book = AlertBook()
    book.update([finding()], 0)
    notices = book.update([finding(), finding(Severity.STOP, "insulation.low")], 2 * S)
    assert [notice.finding.code for notice in notices] == ["insulation.low", "battery.spread"]
    assert [notice.is_fast_lane for notice in notices] == [True, False]


def test_what_flickers_about_its_limit_is_not_told_again_and_again():
    book = AlertBook()
    flicker = told(book, range(200), lambda t: [finding()] if t < 3 or t % 7 < 3 else [])
    assert flicker == [(0, Change.BEGAN)]


def test_a_short_appearance_is_nothing():
    book = AlertBook()
    assert told(book, range(60), lambda t: [finding(Severity.MONITOR)] if t < 5 else []) == []


def test_its_end_is_told_after_a_while_with_the_time_it_was_last_seen():
    book = AlertBook()
    assert told(book, range(100), lambda t: [finding()] if t <= 10 else []) == [(0, Change.BEGAN), (10, Change.ENDED)]
    assert book.standing == ()


@pytest.mark.parametrize(
    ("first", "then", "change", "at"),
    [(Severity.SOON, Severity.STOP, Change.ROSE, 20), (Severity.STOP, Severity.SOON, Change.FELL, 20)],
)
def test_urgency_rises_at_once_and_falls_slowly(first, then, change, at):
    book = AlertBook()
    out = told(book, range(120), lambda t: [finding(first if t < 20 else then)])
    assert out == [(0, Change.BEGAN), (at, change)]


def test_urgency_that_flickers_does_not_fall():
    book = AlertBook()
    out = told(book, range(200), lambda t: [finding(Severity.STOP if t % 20 == 0 else Severity.SOON)])
    assert out == [(0, Change.BEGAN)]


def test_two_ecus_with_one_fault_are_two():
    book = AlertBook()
    both = [finding(Severity.STOP, "dtc.confirmed", ref, "dtc") for ref in ("0x7E8 P0AA6", "0x7EC P0AA6")]
    assert len(book.update(both, 0)) == 2


def test_a_cell_whose_figure_changes_is_one():
    book = AlertBook()
    out = told(book, range(50), lambda t: [finding(ref="CellVoltage 31" if t % 2 else "CellVoltage 32")])
    assert out == [(0, Change.BEGAN)]


def test_a_code_that_joins_a_measured_finding_is_the_same_finding():
    book = AlertBook()
    measured = finding(Severity.STOP, "insulation.low")
    stored = finding(Severity.STOP, "insulation.low", "0x7EC P0AA6-1A", "dtc")
    assert told(book, range(20), lambda t: [measured if t < 9 else stored]) == [(0, Change.BEGAN)]


def test_notices_travel_as_json():
    (notice,) = AlertBook().update([finding(Severity.STOP, "insulation.low")], 5)
    value = notice.to_json()
    assert value["t_ns"] == 5
    assert value["change"] == "began"
    assert value["finding"]["fast_lane"] is True
