"""Erlang's formula against published values and against its definition in exact fractions; the figures of the queue."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consult.needs import Need
from consult.staffing import agents_needed, erlang_c, mean_wait_s, service_level, staffing_for
from consult.waitclocks import QueueConfig
from consult.waitingline import Entry
from consult.waitstatistics import clock_statistics, handling_s, hourly_staffing, percentile

S = 1_000_000


def erlang_c_exact(agents, load):
    """The formula as it is written: the sum over all states, no recursion, no rounding."""
    a = Fraction(load)
    below = sum((a**k / math.factorial(k) for k in range(agents)), Fraction(0))
    top = a**agents / math.factorial(agents) * Fraction(agents) / (agents - a)
    return top / (below + top)


# M/M/1 waits with probability a; M/M/2 with a²/(2+a); the others by hand from the sum:
# C(3, 2) = 4/9, C(4, 3) = 27/53, C(2, 1) = 1/3.
@pytest.mark.parametrize(
    ("agents", "load", "wanted"),
    [(1, 0.5, 0.5), (1, 0.9, 0.9), (2, 1, 1 / 3), (2, 1.5, 2.25 / 3.5), (3, 2, 4 / 9), (4, 3, 27 / 53)],
)
def test_values_that_everybody_can_check(agents, load, wanted):
    assert erlang_c(agents, load) == pytest.approx(wanted, rel=1e-12)


def test_a_call_centre_of_the_tables():
    """One call a minute, five minutes each, seven agents: tables of the second formula give 0.3241."""
    load = 5.0
    assert erlang_c(7, load) == pytest.approx(0.3241, abs=5e-5)
    assert mean_wait_s(7, load, 300) == pytest.approx(0.3241 * 300 / 2, abs=0.02)
    assert service_level(7, load, 300, 20) == pytest.approx(1 - 0.3241 * math.exp(-2 * 20 / 300), abs=5e-5)


@given(st.integers(1, 60), st.fractions(0, 1).filter(lambda share: share < 1))
def test_the_recursion_is_the_formula(agents, share):
    load = share * agents
    assert erlang_c(agents, float(load)) == pytest.approx(float(erlang_c_exact(agents, load)), rel=1e-9, abs=1e-300)


def test_large_centres_neither_overflow_nor_lose_digits():
    assert 0 < erlang_c(5_000, 4_900.0) < 1
    assert erlang_c(2_000, 1_900.0) == pytest.approx(float(erlang_c_exact(2_000, 1_900)), rel=1e-9)


def test_too_much_load_waits_for_ever():
    assert erlang_c(3, 3.0) == 1.0
    assert mean_wait_s(3, 3.0, 60) == math.inf
    assert service_level(3, 4.0, 60, 10) == 0.0
    for wrong in ((0, 1.0), (1, -1.0), (1, math.inf)):
        with pytest.raises(ValueError, match=r"\d"):
            erlang_c(*wrong)


@given(st.floats(0.01, 200), st.floats(30, 7200), st.floats(0.5, 0.99), st.floats(0, 900))
def test_the_staffing_reaches_the_target_and_one_fewer_does_not(load, handling, share, within):
    agents = agents_needed(load, handling, share=share, within_s=within)
    assert service_level(agents, load, handling, within) >= share
    assert agents == 1 or service_level(agents - 1, load, handling, within) < share


def test_no_cars_need_nobody():
    assert staffing_for(0, 1200).agents == 0
    assert staffing_for(12, 1200).to_json()["agents"] == 6
    with pytest.raises(ValueError, match=r"\d"):
        staffing_for(1e9, 3600)


# -- figures -----------------------------------------------------------------------------------------------------------


def entry(n, queued_s, accepted_s=None, finding_s=None, ended_s=None, severity="normal"):
    at = [None if one is None else one * S for one in (accepted_s, finding_s, ended_s)]
    return Entry(
        n, f"{n:012x}", Need(severity), queued_s * S, queued_s * S,
        accepted_us=at[0], finding_us=at[1], ended_us=at[2], holder="li" if accepted_s is not None else "",
    )  # fmt: skip


def test_the_figures_count_what_has_ended():
    entries = [
        entry(1, 0, 10, 20, 110),
        entry(2, 0, 400, None, 1400),
        entry(3, 5),
        entry(4, 5, None, None, 50),  # withdrawn: nobody accepted it
        entry(5, 0, 61, 62, None, "danger"),
    ]
    figures = clock_statistics(entries, QueueConfig())
    accept = figures["accept"]
    assert (accept["n"], accept["mean_s"], accept["p95_s"]) == (3, 157.0, 400.0)
    assert accept["within"] == pytest.approx(1 / 3, abs=1e-4), "400 s is late, and so are 61 s where there is danger"
    assert accept["by_severity"]["danger"] == {"n": 1, "mean_s": 61.0, "p95_s": 61.0, "within": 0.0}
    assert accept["by_severity"]["high"] == {"n": 0, "mean_s": None, "p95_s": None, "within": None}
    assert figures["finding"]["n"] == 2
    assert (figures["resolve"]["n"], figures["resolve"]["mean_s"]) == (2, 550.0)
    assert handling_s(entries) == 550.0
    assert handling_s([]) is None


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_the_percentile_is_a_value_that_was_measured(values):
    found = percentile(values, 0.95)
    assert found in values
    assert sum(value <= found for value in values) >= 0.95 * len(values)


def test_the_staffing_by_the_hour_of_the_day():
    day = 86_400
    config = QueueConfig(accept_s=300, share=0.8)
    # Three days; twelve cars an hour from nine to ten, one each at night.
    entries = [entry(n, d * day + 9 * 3600 + k * 300) for d in range(3) for n, k in enumerate(range(12))]
    entries += [entry(1, d * day + 2 * 3600) for d in range(3)]
    hours = hourly_staffing(entries, 0, 3 * day * S, 1200, config)
    assert [hour.agents for hour in hours] == [0, 0, 2, 0, 0, 0, 0, 0, 0, 6, *[0] * 14]
    assert hours[9].arrivals_per_hour == pytest.approx(12)
    half = hourly_staffing(entries[:12], 9 * 3600 * S, 10 * 3600 * S, 1200, config)
    assert half[9].agents == 6, "an hour that was seen once is not spread over days"
