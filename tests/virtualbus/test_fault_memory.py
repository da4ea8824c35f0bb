"""Status bytes over operation cycles. Standard: ISO 14229-1:2020 Annex D."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from virtualbus.trouble import AGING_CYCLES, FaultMemory, MonitorTest, Status, dtc_from_text

DTC = "P0AA6-1A"


def memory(**kwargs) -> FaultMemory:
    made = FaultMemory([MonitorTest(DTC, fail_s=1.0, pass_s=1.0, **kwargs)], 0xFF)
    made.begin_cycle()
    return made


def report(made: FaultMemory, failed: bool | None, seconds: float = 1.0) -> int:
    taken = []

    def snapshot():
        taken.append(1)
        return ((0xF40D, b"\x00"),)

    for _ in range(round(seconds / 0.1)):
        made.report(DTC, failed, 0.1, snapshot)
    return made.codes[DTC].status


def test_codes_in_numbers():
    assert dtc_from_text("P0AA6-1A") == 0x0AA61A
    assert dtc_from_text("U0111-87") == 0xC11187
    assert dtc_from_text("C0123-00") == 0x412300
    assert dtc_from_text("B1234-11") == 0x923411
    assert dtc_from_text("U3006-13") == 0xF00613


def test_untested_then_passed_then_failed():
    made = memory()
    assert made.codes[DTC].status == 0x50
    assert report(made, failed=False, seconds=0.5) == 0x50
    assert report(made, failed=False, seconds=0.6) == 0x00
    assert report(made, failed=True, seconds=0.5) == 0x00
    assert report(made, failed=True, seconds=0.6) == 0xAF
    assert made.codes[DTC].counter == 127
    assert report(made, failed=False, seconds=1.1) == 0xAE
    assert made.codes[DTC].counter == -128


def test_nothing_is_judged_without_conditions_nor_while_recording_is_off():
    made = memory()
    assert report(made, failed=None, seconds=9) == 0x50
    made.recording = False
    assert report(made, failed=True, seconds=9) == 0x50


def test_a_short_disturbance_is_debounced():
    made = memory()
    report(made, failed=False, seconds=1.1)
    for _ in range(20):
        report(made, failed=True, seconds=0.5)
        report(made, failed=False, seconds=0.1)
    assert made.codes[DTC].status == 0x00


def test_pending_first_confirmed_in_the_second_cycle():
    made = memory(confirm_cycles=2)
    assert report(made, failed=True, seconds=1.1) == 0x27
    made.end_cycle()
    made.begin_cycle()
    assert made.codes[DTC].status == 0x64
    assert report(made, failed=True, seconds=1.1) == 0xAF


def test_pending_ends_with_a_cycle_that_passed():
    made = memory(confirm_cycles=2)
    report(made, failed=True, seconds=1.1)
    made.end_cycle()
    made.begin_cycle()
    report(made, failed=False, seconds=1.1)
    made.end_cycle()
    assert made.codes[DTC].status == 0x20


def test_confirmed_ages_away():
    made = memory()
    report(made, failed=True, seconds=1.1)
    made.end_cycle()
    for cycle in range(AGING_CYCLES):
        assert made.codes[DTC].status & Status.CONFIRMED, cycle
        made.begin_cycle()
        report(made, failed=False, seconds=1.1)
        made.end_cycle()
    assert made.codes[DTC].status == 0x20
    assert made.codes[DTC].snapshots == {}
    assert not made.codes[DTC].permanent


def test_first_and_latest_snapshots_are_kept():
    made = memory()
    numbers = iter(range(10))

    def snapshot():
        return ((0xF40D, bytes([next(numbers)])),)

    for failed in (True, False, True, False, True):
        for _ in range(11):
            made.report(DTC, failed, 0.1, snapshot)
    code = made.codes[DTC]
    assert code.occurrences == 3
    assert code.snapshots == {1: ((0xF40D, b"\x00"),), 2: ((0xF40D, b"\x02"),)}


def test_clearing_forgets_all_but_the_permanent_mark():
    made = memory()
    report(made, failed=True, seconds=1.1)
    made.clear(made.codes.values())
    code = made.codes[DTC]
    assert (code.status, code.occurrences, code.snapshots) == (0x50, 0, {})
    assert code.permanent
    assert made.first_legislated is None
    assert report(made, failed=True, seconds=1.1) == 0xAF


def test_unsupported_bits_are_not_shown():
    made = memory()
    made.available = 0x7F
    report(made, failed=True, seconds=1.1)
    assert made.status_of(made.codes[DTC]) == 0x2F
    assert made.matching(0x80) == []


@settings(max_examples=200, deadline=None)
@given(events=st.lists(st.sampled_from(["fail", "pass", "none", "cycle", "clear"]), max_size=60))
def test_status_invariants_over_any_history(events):
    made = memory(confirm_cycles=2)
    code = made.codes[DTC]
    for event in events:
        if event == "cycle":
            made.end_cycle()
            made.begin_cycle()
        elif event == "clear":
            made.clear([code])
        else:
            report(made, {"fail": True, "pass": False, "none": None}[event], 0.7)
        status = code.status
        assert 0 <= status <= 0xFF
        assert -128 <= code.counter <= 127
        if status & Status.TEST_FAILED:
            assert status & Status.FAILED_THIS_CYCLE
            assert status & Status.PENDING
        if status & Status.FAILED_THIS_CYCLE:
            assert status & Status.FAILED_SINCE_CLEAR
            assert not status & Status.NOT_COMPLETED_THIS_CYCLE
        if status & (Status.CONFIRMED | Status.FAILED_SINCE_CLEAR):
            assert not status & Status.NOT_COMPLETED_SINCE_CLEAR
        if code.snapshots:
            assert code.occurrences > 0


@pytest.mark.parametrize("text", ["P0AA6-1A", "P0DE6-16", "U0293-87", "P3FFF-FF"])
def test_codes_keep_their_letter(text):
    assert "PCBU"[dtc_from_text(text) >> 22] == text[0]
