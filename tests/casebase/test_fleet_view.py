"""The fleet view on a simulated fleet: trends ring for the planted rise only, cohorts tell mismatch and use apart."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from casebase.cohort import CohortCar
from casebase.exacttests import predicted_quantile
from casebase.nextcars import outlook_of
from casebase.overlap import overlap_of
from casebase.trends import Counted, trends_of
from huizhen.cli import main
from huizhen.exits import Exit
from virtualbus.fleet import FleetPlan, Rise, cars_on_the_road, draw_fleet

if TYPE_CHECKING:
    from pathlib import Path

PLANTED = ("--vehicle", "ev400", "--batches", "2", "--weeks", "30", "--rise", "tyre-leak:25:22", "--mismatch", "1",
           "--confounded", "2")  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One fleet of 104 cars, made and scanned by the command."""
    made = tmp_path_factory.mktemp("fleet")
    words = ["sim", "fleet", "--count", "104", "--seed", "9", "-o", str(made / "reports"), *PLANTED]
    assert main([*words, "--truth", str(made / "truth.jsonl")]) == Exit.DONE
    return made


def told(capfd: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capfd.readouterr()
    assert main(["case", *words, "--json"]) == Exit.DONE
    return json.loads(capfd.readouterr().out)


def test_rises_and_cohorts_of_a_simulated_fleet(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    reports, library = folder / "reports", str(folder / "cases.db")
    assert told(capfd, "import", "scans", str(reports), "--library", library)["new"] == 104
    assert told(capfd, "import", "exposure", str(reports / "exposure.csv"), "--library", library)["bad"] == []

    trends = told(capfd, "trends", "--simulated", "--library", library)
    rising = [one for one in trends["trends"] if one["state"] == "rising"]
    assert [one["fault"] for one in rising] == ["C0077-84@tyres"]
    assert len(trends["trends"]) >= 2, "others were looked at, and are silent"
    assert trends["exposure_from_jobs"] == []
    assert rising[0]["lower_95"] > 1.1
    assert rising[0]["stock"]["level"] > rising[0]["stock"]["before"]
    assert rising[0]["parts"], "what to order"
    assert told(capfd, "trends", "--library", library)["trends"] == [], "simulated cars are no real ones"

    cohort = told(capfd, "cohort", "--outcome", "P0DE6", "--simulated", "--library", library)
    bms = {(card["batch"][-2:], card["version"]): card for card in cohort["cards"] if card["ecu"] == "bms"}
    worse = bms["01", "3.3"]
    assert worse["state"] == "worse"
    assert worse["interval"][0] > 0.0
    assert {bms["02", version]["state"] for version in ("3.3", "3.4")} <= {"confounded", "same", "few"}
    assert bms["02", "3.3"]["confounder"] == "mileage_km"

    # A comparison without matching blames the program of the second batch.
    counts = {}
    for row in map(json.loads, (reports / "fleet.jsonl").read_text("utf-8").splitlines()):
        report = json.loads((reports / row["report"]).read_text("utf-8"))
        programs = {ecu["role"]: ecu["identification"] for ecu in report["ecus"]}
        version = programs["bms"]["vehicleManufacturerECUSoftwareVersionNumber"]
        counts.setdefault((row["batch"][-2:], version), []).append("P0DE6" in json.dumps(report["dtcs"]))
        assert not {"faults", "planted"} & set(row), "truth stands in --truth only"
        assert report["started"] == row["visited"]
    old, new = (float(np.mean(counts["02", version])) for version in ("3.3", "3.4"))
    assert old > 2 * new

    ahead = worse["next"]
    assert ahead["having"] == sum(counts["01", "3.3"])
    assert ahead["remaining"] == len(ahead["cars"]) == len(counts["01", "3.3"]) - ahead["having"]
    low, high = ahead["interval"]
    assert low <= ahead["expected"] <= high <= ahead["remaining"]
    times = [car["times"] for car in ahead["cars"]]
    assert times == sorted(times, reverse=True)
    assert all(len(car["car"]) == 8 and car["case"] > 0 for car in ahead["cars"])
    assert "LHZ" not in json.dumps(cohort), "no VIN"
    for lang, word in (("en", "expected to get it"), ("zh", "预计")):
        words = ["--lang", lang, "case", "cohort", "--outcome", "P0DE6", "--simulated", "--library", library]
        assert main(words) == Exit.DONE
        assert word in capfd.readouterr().out
    assert main(["case", "cohort", "--weeks", "0", "--library", library]) == Exit.USAGE


@pytest.mark.parametrize(
    "words",
    [
        ["--vehicle", "ebus"],
        ["--rise", "tyre-leak:3:4"],
        ["--weeks", "20", "--rise", "tyre-leak:3:21"],
        ["--weeks", "20", "--rise", "tyre-leak:0.5:3"],
        ["--weeks", "20", "--rise", "no-such-fault:2:3"],
        ["--weeks", "20", "--rise", "misfire:2:3", "--vehicle", "ev400"],
        ["--weeks", "521"],
        ["--batches", "4", "--mismatch", "5"],
        ["--mismatch", "2", "--confounded", "2"],
    ],
)
def test_a_plan_that_cannot_be_is_refused(words: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", "fleet", "--count", "2", "-o", str(tmp_path / "fleet"), *words]) == Exit.USAGE
    assert len(capfd.readouterr().err.strip().splitlines()) <= 3
    assert not (tmp_path / "fleet").exists()


def test_a_rise_is_what_the_plan_says() -> None:
    plan = FleetPlan("ev400", 6, 100, Rise("isolation", 4.0, 51))
    halves = [0, 0]
    for car in draw_fleet(12_000, 3, plan=plan):
        if any(fault.kind.name == "isolation" for fault in car.scenario.faults):
            halves[car.known["visited"] >= "2025-08-18"] += 1
    road = [cars for _, _, cars in cars_on_the_road(12_000, plan)]
    ratio = halves[1] / sum(road[50:]) / (halves[0] / sum(road[:50]))
    assert ratio == pytest.approx(4.0, rel=0.3)
    assert halves[0] > 40


def test_a_plan_changes_only_what_it_says() -> None:
    usual, planned = draw_fleet(60, 5), draw_fleet(60, 5, plan=FleetPlan(weeks=10))
    for one, other in zip(usual, planned, strict=True):
        assert one.scenario.faults == () or one.scenario.faults[0].kind == other.scenario.faults[0].kind
        assert {**one.known, "visited": other.known["visited"]} == dict(other.known)


def test_codes_of_one_fault_are_one_trend_and_old_ones_do_not_count_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = []
    for week in range(30):
        for number in range(2 if week < 22 else 12):
            day = f"2025-{1 + (week * 7) // 28:02d}-{1 + (week * 7) % 28:02d}"
            case = {"id": f"{week} {number}", "dtcs": ["U0111-87@inverter", "U0293-87@bms"], "opened": day}
            rows.append({**case, "vin": f"LHZEV4D0{week:04d}{number:05d}", "vehicle": {"make": "A", "model": "B"}})
        # The same car again and again: it still has what it had.
        rows.append({"id": f"again {week}", "dtcs": ["P0AA6-1A@bms"], "opened": day, "vin": "LHZEV4D0XRA000001",
                     "vehicle": {"make": "A", "model": "B"}})  # fmt: skip
    (tmp_path / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    weeks = [f"2025-{1 + (w * 7) // 28:02d}-{1 + (w * 7) % 28:02d},A,B,1000\n" for w in range(30)]
    (tmp_path / "cars.csv").write_text("week,make,model,cars\n" + "".join(weeks), "utf-8")
    library = str(tmp_path / "cases.db")
    told(capfd, "import", "jsonl", str(tmp_path / "cases.jsonl"), "--library", library)
    told(capfd, "import", "exposure", str(tmp_path / "cars.csv"), "--library", library)
    found = told(capfd, "trends", "--library", library)["trends"]
    assert [(one["fault"], one["together"], one["state"]) for one in found] == [
        ("U0111-87@inverter", ["U0293-87@bms"], "rising")
    ], "the car that comes again counts once, which is too few to be looked at"


def test_chance_rings_less_than_once_a_year_and_a_slow_rise_is_found() -> None:
    rng = np.random.default_rng(8)
    exposure = {("m", week): 1000.0 for week in range(104)}
    false, years, found = 0, 0.0, 0
    for _ in range(6):
        rates = np.exp(rng.normal(-1.0, 0.8, 30))
        weekly = np.repeat(rates[:, None], 104, axis=1)
        weekly[0] = 0.6
        weekly[0, 60:] *= 3.0
        cases = rng.poisson(weekly)
        counted = [Counted(f"f{i}", "m", w, int(cases[i, w])) for i in range(30) for w in range(104) if cases[i, w]]
        ringing: set[str] = set()
        for week in range(16, 104, 2):
            now = {one.fault for one in trends_of(counted, exposure, last_week=week) if one.state == "rising"}
            false += len(now - ringing - {"f0"})
            ringing = now
        found += "f0" in ringing
        years += 88 / 52
    assert false <= 4, f"{false} in {years:.1f} years"
    assert found >= 5


def test_the_stock_lasts_as_often_as_it_says() -> None:
    # P(X <= 20) = 0.951, P(X <= 19) = 0.928 of a negative binomial with shape 24.5 and share 2/3, by its recursion
    assert predicted_quantile(24, 8.0, 4.0, 0.95) == 20
    assert predicted_quantile(5, 8.0, 0.0, 0.95) == 0
    rng = np.random.default_rng(2)
    seen, needed = rng.poisson(10.0, 4000), rng.poisson(5.0, 4000)
    levels = np.array([predicted_quantile(n, 8.0, 4.0, 0.95) for n in range(40)])
    assert 0.94 <= float((needed <= levels[seen]).mean()) <= 0.985


def cell(rng: np.random.Generator, hazard: float, weeks: int) -> tuple[list[CohortCar], list[int | None]]:
    """Cars of one cell that come when they get it, and every 13 weeks; and when each gets it."""
    cars, since = [], []
    for number in range(60):
        times = 2.0 if number % 2 else 0.5
        got = int(rng.geometric(1 - np.exp(-hazard * times)))
        visits = [(week, 0.0) for week in range(number % 13, weeks, 13) if week < got]
        visits += [(got, 1.0)] if got < weeks else []
        traits = {"charging": "dc" if number % 2 else "ac"}
        cars.append(CohortCar("m", "b", {"bms": "1"}, visits[-1][1], 30_000.0, traits, number + 1, tuple(visits)))
        since.append(got)
    return cars, since


def test_who_is_next_and_how_many() -> None:
    rng = np.random.default_rng(6)
    inside, ahead, first, last, expected, came = 0, 0, 0, 0, 0.0, 0
    for _ in range(150):
        cars, since = cell(rng, 0.008, 40)
        told_ = outlook_of(cars, [CohortCar("m", "b", {}, 0.0)] * 30, weeks=8)
        left = [week for week in since if week is not None and week >= 40]
        new = sum(week < 48 for week in left)
        assert told_.interval is not None
        assert told_.expected is not None
        inside += told_.interval[0] <= new <= told_.interval[1]
        expected, came = expected + told_.expected, came + new
        half = len(told_.cars) // 2
        first += sum(since[car.case - 1] < 48 for car in told_.cars[:half])
        last += sum(since[car.case - 1] < 48 for car in told_.cars[-half:])
        ahead += told_.limit is None
    assert ahead == 150
    assert inside >= 0.9 * 150
    assert expected == pytest.approx(came, rel=0.15)
    assert first > 1.5 * last


def test_without_days_nobody_knows_when() -> None:
    cars = [CohortCar("m", "b", {}, 30.0 + i % 7, case=i + 1) for i in range(20)]
    found = outlook_of([*cars, CohortCar("m", "b", {}, 90.0, case=21)], cars, weeks=8)
    assert (found.having, found.expected, found.interval) == (1, None, None)
    assert found.limit == pytest.approx(36.0)
    assert all(car.chance is None for car in found.cars)


def test_cars_without_a_counterpart_are_seen() -> None:
    rng = np.random.default_rng(3)

    def some(low: float, high: float) -> list[CohortCar]:
        return [CohortCar("m", "b", {}, 0.0, float(km), {}) for km in rng.uniform(low, high, 50)]

    assert overlap_of(some(10_000, 90_000), some(10_000, 90_000)).treated.mean() > 0.95
    assert overlap_of(some(60_000, 90_000), some(10_000, 50_000)).treated.mean() < 0.3
    assert overlap_of(some(10_000, 90_000), []).treated.sum() == 0
