"""Trends over visits: sure when there is one, silent on a sound car."""

from __future__ import annotations

import numpy as np
import pytest

from diag.facts import Severity
from diag.outlook import look_ahead, watched_figures

DAY = 86_400_000_000_000
FIGURES = {figure.name: figure for figure in watched_figures()}


def visits(name, values, every_days=7.0):
    return [(round(at * every_days * DAY), {name: value}) for at, value in enumerate(values)]


def test_isolation_that_declines_is_told_with_its_date():
    values = 20_000 * np.exp(-0.03 * 7 * np.arange(12)) * np.exp(0.1 * np.random.default_rng(1).standard_normal(12))
    (outlook,) = look_ahead(visits("insulation_ohm_per_v", values))
    truth = (np.log(20_000 / 500) / 0.03) - 77
    assert outlook.interval_days[0] <= truth <= outlook.interval_days[1]
    assert outlook.days == pytest.approx(truth, rel=0.25)
    assert "绝缘电阻" in outlook.text.zh
    assert outlook.to_json()["figure"] == "insulation_ohm_per_v"


def test_a_near_crossing_is_urgent():
    (outlook,) = look_ahead(visits("cell_low_mv", [10, 16, 21, 27, 33, 38, 44]))
    assert outlook.severity is Severity.SOON
    assert outlook.days < 10


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_a_sound_car_is_silent(name):
    figure = FIGURES[name]
    alarms = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        level = figure.limit * (3.0 if figure.falls else 0.4) if figure.is_log else figure.limit * 0.5
        if figure.falls and not figure.is_log:
            level = figure.limit * 1.3
        wander = figure.wander * rng.standard_normal(16)
        values = level * np.exp(wander) if figure.is_log else level + wander
        alarms += bool(look_ahead(visits(name, values)))
    assert alarms <= 3, f"{alarms} of 300"


def test_intervals_hold_the_truth():
    held = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        values = 5 + 0.2 * 7 * np.arange(20) + FIGURES["cell_low_mv"].wander * rng.standard_normal(20)
        truth = (50 - 5) / 0.2 - 19 * 7
        if outlooks := look_ahead(visits("cell_low_mv", values)):
            held.append(outlooks[0].interval_days[0] <= truth <= outlooks[0].interval_days[1])
    assert len(held) >= 285
    assert np.mean(held) >= 0.92


def test_one_bad_reading_does_not_make_a_trend():
    values = [10.0, 11.0, 9.0, 10.0, 10.5, 9.5, 10.0, 49.0]
    assert look_ahead(visits("cell_low_mv", values)) == ()
    assert look_ahead(visits("cell_low_mv", [*values[:3], 400.0, *values[3:7]])) == ()


def test_too_few_or_too_close_or_missing_visits_say_nothing():
    assert look_ahead([]) == ()
    assert look_ahead(visits("cell_low_mv", [10, 20, 30])) == ()
    assert look_ahead(visits("cell_low_mv", [10, 20, 30, 40, 45], every_days=0.01)) == ()
    assert look_ahead(visits("cell_low_mv", [10, None, 20, None, 30])) == ()
    assert look_ahead(visits("insulation_ohm_per_v", [0.0, 0.0, 0.0, 0.0, 0.0])) == ()
    assert look_ahead(visits("cell_low_mv", [10] * 8)) == ()


def test_what_is_beyond_its_limit_already_is_no_outlook():
    assert look_ahead(visits("cell_low_mv", [40, 60, 80, 100, 120, 140])) == ()


def test_improving_is_no_warning():
    assert look_ahead(visits("cell_low_mv", [45, 40, 35, 30, 25, 20, 15])) == ()
