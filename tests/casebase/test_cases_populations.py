"""Trends and cohorts: planted ones are found, chance and confounding are not, and the numbers are the exact ones."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from casebase.cohort import CohortCar, cohort_cards
from casebase.exacttests import binomial_tail, discoveries, normal_tail, poisson_quantile, rate_ratio_bound
from casebase.library import Library
from casebase.population import week_of
from casebase.query import Query
from casebase.trends import Counted, trends_of
from huizhen.cli import main
from huizhen.exits import Exit

if TYPE_CHECKING:
    from pathlib import Path

# --- the numbers, by hand and by tables ------------------------------------------------------------------------------


def test_exact_binomial_tails() -> None:
    assert binomial_tail(8, 10, 0.5) == pytest.approx(56 / 1024)
    assert binomial_tail(0, 10, 0.5) == 1.0
    assert binomial_tail(11, 10, 0.5) == 0.0
    assert binomial_tail(3, 3, 0.2) == pytest.approx(0.008)


def test_the_bound_of_a_rate_ratio_is_clopper_and_pearsons() -> None:
    # 10 of 10: lower one-sided 95 % limit of the share is 0.05 ** (1 / 10) = 0.7411
    share = 0.05**0.1
    assert rate_ratio_bound(10, 0, 1.0, 1.0) == pytest.approx(share / (1 - share), rel=1e-6)
    assert rate_ratio_bound(0, 10, 1.0, 1.0) == 0.0
    assert rate_ratio_bound(10, 10, 1.0, 2.0) == pytest.approx(2 * rate_ratio_bound(10, 10, 1.0, 1.0))


def test_other_distributions() -> None:
    assert poisson_quantile(3.0, 0.95) == 6  # table: P(X <= 5) = 0.9161, P(X <= 6) = 0.9665
    assert poisson_quantile(0.0, 0.95) == 0
    assert normal_tail(1.959964) == pytest.approx(0.05, abs=1e-6)
    assert discoveries([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.02, 0.04, 0.04, 0.02])


# --- trends ----------------------------------------------------------------------------------------------------------

FIRST = datetime(2025, 1, 6, 12, tzinfo=UTC)


def drawn(seed: int, rise: float) -> tuple[list[Counted], dict[tuple[str, int], float]]:
    rng = np.random.default_rng(seed)
    counted, exposure = [], {}
    for model in ("a x", "b y"):
        for week in range(60):
            exposure[model, week] = 2000.0 + 10 * week
        for fault in range(20):
            rate = 0.001 * (0.4 + 0.1 * fault)
            for week in range(60):
                factor = rise if (model, fault) == ("a x", 15) and week >= 52 else 1.0
                counted.append(
                    Counted(f"f{fault}", model, week, int(rng.poisson(rate * factor * exposure[model, week])))
                )
    return counted, exposure


def test_a_planted_rise_rings_and_chance_does_not() -> None:
    rung, false = 0, 0
    for seed in range(20):
        rising = [t for t in trends_of(*drawn(seed, 2.5)) if t.state == "rising"]
        rung += any((t.fault, t.model) == ("f15", "a x") for t in rising)
        false += sum((t.fault, t.model) != ("f15", "a x") for t in rising)
    assert rung >= 19
    assert false == 0
    assert not [t for seed in range(20) for t in trends_of(*drawn(seed, 1.0)) if t.state == "rising"]


def test_ten_percent_is_no_rise_however_sure() -> None:
    exposure = {("m", week): 1e6 for week in range(40)}
    counted = [Counted("f", "m", week, 1080 if week >= 32 else 1000) for week in range(40)]
    [trend] = trends_of(counted, exposure)
    assert trend.lower < 1.1
    assert trend.state != "rising"
    assert trend.ratio == pytest.approx(1.08)


def test_a_fault_that_was_never_there_before_has_no_ratio_but_a_stock() -> None:
    exposure = {("m", week): 1000.0 for week in range(40)}
    [trend] = trends_of([Counted("f", "m", week, 3) for week in range(32, 40)], exposure)
    assert trend.ratio == math.inf
    assert trend.to_json()["ratio"] is None
    assert trend.state == "rising"
    # 12 expected in four weeks from 24 in eight: negative binomial, P(X <= 19) = 0.928, P(X <= 20) = 0.951
    assert (trend.weeks, trend.stock.level, trend.stock.before) == (8, 20, 1)


def test_weeks_begin_on_monday() -> None:
    def ns(day: str) -> int:
        return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 10**9

    assert week_of(ns("1970-01-05")) == 0
    assert week_of(ns("2026-11-29")) + 1 == week_of(ns("2026-11-30"))


def lines(seed: int, rise: float, *, simulated: bool = False) -> list[dict[str, Any]]:
    """Cases of forty weeks as a workshop has them."""
    rng = np.random.default_rng(seed)
    out = []
    for week in range(40):
        for fix, rate in (("charge-pilot", 3.0), ("weak-cell", 3.0 * (rise if week >= 32 else 1.0)), ("resolver", 1.5)):
            for i in range(int(rng.poisson(rate))):
                day = FIRST + timedelta(weeks=week, hours=int(rng.integers(0, 90)))
                out.append(
                    {
                        "id": f"{fix} {week} {i}", "symptom": "x", "opened": day.isoformat(), "outcome": "fixed",
                        "fix": fix, "vehicle": {"make": "BYD", "model": "Han"}, "simulated": simulated,
                    }
                )  # fmt: skip
    return out


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


@pytest.fixture
def cars(tmp_path: Path) -> str:
    path = tmp_path / "cars.csv"
    rows = [f"{(FIRST + timedelta(weeks=week)).date()},比亚迪,HAN,5000" for week in range(40)]
    path.write_text("week,make,model,cars\n" + "\n".join(rows) + "\nsoon,BYD,Han,1\n", "utf-8")
    return str(path)


def test_trends_of_a_library(tmp_path: Path, cars: str, capsys: pytest.CaptureFixture[str]) -> None:
    library = str(tmp_path / "cases.db")
    assert main(["case", "import", "exposure", cars, "--library", library]) == Exit.DONE
    assert "1 rows left out" in capsys.readouterr().out
    main(["case", "import", "jsonl", write(tmp_path / "real.jsonl", lines(1, 3.0)), "--library", library])
    main(
        ["case", "import", "jsonl", write(tmp_path / "sim.jsonl", lines(2, 1.0, simulated=True)), "--library", library]
    )
    capsys.readouterr()
    assert main(["case", "trends", "--json", "--library", library]) == Exit.DONE
    told = json.loads(capsys.readouterr().out)
    assert (told["trends"][0]["fault"], told["trends"][0]["state"]) == ("weak-cell", "rising")
    assert [t["state"] for t in told["trends"][1:]] == ["steady", "steady"]
    assert told["exposure_from_jobs"] == []
    for lang, word in (("en", "RISING"), ("zh", "上升")):
        assert main(["--lang", lang, "case", "trends", "--library", library]) == Exit.DONE
        assert word in capsys.readouterr().out
    assert main(["--lang", "en", "case", "trends", "--weeks", "0", "--library", library]) == Exit.USAGE


def test_without_car_numbers_jobs_stand_in_and_it_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    library = str(tmp_path / "cases.db")
    main(["case", "import", "jsonl", write(tmp_path / "real.jsonl", lines(3, 4.0)), "--library", library])
    capsys.readouterr()
    assert main(["--lang", "en", "case", "trends", "--library", library]) == Exit.DONE
    out = capsys.readouterr().out
    assert "weak-cell" in out
    assert "share of all jobs" in out


# --- cohorts ---------------------------------------------------------------------------------------------------------


def fleet(seed: int, *, effect: float, confounded: bool = False) -> list[CohortCar]:
    """Six batches of 60 cars; in one of them one software has an effect, or sits on the cars with many kilometres."""
    rng = np.random.default_rng(seed)
    out = []
    for batch in range(6):
        for _ in range(120 if batch == 2 else 60):
            km = float(rng.lognormal(10.6, 0.6))
            version = "2.0" if rng.random() < 0.5 else "2.1"
            if confounded and batch == 2:
                version = "2.0" if km > 50_000 else "2.1"
            worse = effect if batch == 2 and version == "2.0" else 0.0
            figure = 30.0 + 8.0 * rng.standard_normal() + km * 2e-4 + worse
            traits = {"climate": str(rng.choice(["hot", "cold"])), "charging": str(rng.choice(["ac", "dc"]))}
            out.append(CohortCar("byd han", f"B{batch}", {"bms": version}, figure, km, traits))
    return out


def test_the_planted_mismatch_is_found_and_nothing_else() -> None:
    found = false = covered = 0
    for seed in range(20):
        cards = cohort_cards(fleet(seed, effect=10.0))
        [card] = [c for c in cards if (c.batch, c.version) == ("B2", "2.0")]
        found += card.state == "worse"
        covered += card.interval[0] <= 10.0 <= card.interval[1]
        false += any(c.state in ("worse", "better") and c.batch != "B2" for c in cards)
    assert found == 20
    assert covered >= 17
    assert false <= 6


def test_no_effect_is_not_claimed_and_its_size_is_bounded() -> None:
    fleets = [cohort_cards(fleet(seed, effect=0.0)) for seed in range(20)]
    assert sum(any(card.state in ("worse", "better") for card in cards) for cards in fleets) <= 3
    [card] = [c for c in cohort_cards(fleet(1, effect=0.0)) if (c.batch, c.version) == ("B2", "2.0")]
    assert 2.0 < card.detectable < 8.0


def test_what_goes_with_mileage_is_not_blamed_on_the_software() -> None:
    named = 0
    for seed in range(20):
        [card] = [
            c for c in cohort_cards(fleet(seed, effect=0.0, confounded=True)) if (c.batch, c.version) == ("B2", "2.0")
        ]
        assert card.state in ("confounded", "few")
        named += card.confounder == "mileage_km"
    assert named == 20


def test_a_batch_with_one_software_is_set_beside_the_others() -> None:
    rng = np.random.default_rng(4)
    cars = [
        CohortCar("m", f"B{i % 4}", {"bms": "1.0"}, float(rng.normal(60.0 if i % 4 == 3 else 30.0, 8.0)), 30_000.0, {})
        for i in range(240)
    ]
    worse = [card for card in cohort_cards(cars) if card.state == "worse"]
    assert [(card.batch, card.kind) for card in worse] == [("B3", "batch")]


def test_a_cohort_of_a_library(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {
            "id": i, "features": {"spread_mv": car.outcome}, "mileage_km": car.mileage_km,
            "context": dict(car.traits or {}),
            "vehicle": {"make": "BYD", "model": "Han", "batch": car.batch, "software": dict(car.software)},
        }
        for i, car in enumerate(fleet(5, effect=12.0))
    ]  # fmt: skip
    library = str(tmp_path / "cases.db")
    assert main(["case", "import", "jsonl", write(tmp_path / "cars.jsonl", rows), "--library", library]) == Exit.DONE
    capsys.readouterr()
    assert main(["case", "cohort", "--json", "--library", library]) == Exit.DONE
    told = json.loads(capsys.readouterr().out)
    first = told["cards"][0]
    assert (first["state"], first["batch"], first["ecu"], first["version"]) == ("worse", "b2", "bms", "2.0")
    for lang, word in (("en", "WORSE"), ("zh", "较差")):
        assert main(["--lang", lang, "case", "cohort", "--library", library]) == Exit.DONE
        assert word in capsys.readouterr().out
    assert main(["--lang", "en", "case", "cohort", "--outcome", "P0DE6", "--library", library]) == Exit.DONE
    assert "no cars" in capsys.readouterr().out
    with Library.open(library) as opened:
        assert opened.cohort("spread_mv", simulated=True) == []


# --- escalation ------------------------------------------------------------------------------------------------------


def closed(library: Library, make: str, outcomes: list[str], dtc: str = "P0DE6-16@bms") -> None:
    vehicle = {"make": make, "model": "Han"}
    query = Query.from_json({"dtcs": [dtc], "read": ["bms"], "vehicle": vehicle, "symptom": "x"})
    for at, outcome in enumerate(outcomes):
        job = library.remember(query, library.find(query), now_ns=at + 1)
        if outcome:
            library.close_job(job, "weak-cell", outcome, now_ns=at + 1)


def test_what_stays_unsolved_is_escalated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "cases.db")
    with Library.open(path, create=True) as library:
        closed(library, "BYD", ["fixed"] * 20 + ["not-fixed"] * 3)
        closed(library, "NIO", ["not-fixed", "fixed"] * 4)
        closed(library, "Tesla", ["fixed", "not-fixed", "not-fixed"])
        closed(library, "Xpeng", ["", "", ""], "B3ABC-11@body")
        told = library.escalations()
        found = {one.model: one for one in told if one.rules != ("unknown",) or one.model == "xpeng han"}
        fix_id = library.get_fix("weak-cell").fix_id
    assert set(found) == {"byd han", "nio han", "xpeng han"}
    assert (found["byd han"].rules, found["byd han"].what) == (("three-in-a-row",), fix_id)
    assert found["nio han"].rules == ("failing",)
    assert found["nio han"].p == pytest.approx(binomial_tail(4, 8, 0.15))
    assert (found["xpeng han"].what, found["xpeng han"].rules) == ("B3ABC-11", ("unknown",))
    for lang, word in (("en", "three in a row"), ("zh", "连续三次")):
        assert main(["--lang", lang, "case", "escalations", "--library", path]) == Exit.DONE
        assert word in capsys.readouterr().out
    assert main(["case", "escalations", "--json", "--library", path]) == Exit.DONE
    assert len(json.loads(capsys.readouterr().out)["escalations"]) == len(told)


def test_the_cars_of_a_worse_batch_are_listed() -> None:
    cars = [replace(car, case=number) for number, car in enumerate(fleet(5, effect=12.0), start=1)]
    cards = cohort_cards(cars)
    ahead = cards[0].next
    assert cards[0].state == "worse"
    assert ahead is not None
    assert ahead.having + ahead.remaining == cards[0].cars
    assert len(ahead.cars) == ahead.remaining
    assert not any(card.next for card in cards if card.state != "worse")
    outcome = {car.case: car.outcome for car in cars}
    assert ahead.limit is not None
    assert all(outcome[car.case] <= ahead.limit for car in ahead.cars)
