"""The fleet view on fleets that it has not seen: does ``case trends`` ring, does ``case cohort`` tell, and only then.

Some cars of every kind of fault are made and scanned; a fleet draws its cars, visits, programs and faults anew from its
own seed, and each gets the report of the scanned car that is most like it, with its own day, program and batch. The
reports are imported as scans, with the cars on the road, into a fresh library. What was planted is compared afterwards.

    .venv/bin/python benchmarks/fleet_view.py --seeds 10
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casebase.exacttests import normal_tail
from casebase.intervals import wilson
from casebase.library import Library
from casebase.population import week_of
from casebase.record import time_of
from huizhen.fleet import scan_cars
from virtualbus.fleet import FleetPlan, Rise, cars_on_the_road, draw_fleet

if TYPE_CHECKING:
    from huizhen.fleet import ScannedCar
    from virtualbus.fleet import FleetCar

VEHICLE = "ev400"
RISEN = ("tyre-leak", "sampling-line", "isolation", "wheel-sensor", "inlet-hot", "tyre-sensor")
WEEKS, ONSET = 104, 61
POOL_SEED = 990_001
OUTCOMES = ("spread_mv", "P0DE6")
CHANCES = {"home-ac": 0.25, "mixed": 0.45, "dc": 0.7}


def kinds_of(car: FleetCar) -> tuple[str, ...]:
    return tuple(fault.kind.name for fault in car.scenario.faults)


def scan_pool(each: int, sound: int) -> dict[str, list[tuple[float, dict[str, Any]]]]:
    """Kind of fault -> (severity, report) of scanned cars; ``""`` -> (kilometres, report) of sound ones."""
    wanted: dict[str, int] = defaultdict(lambda: each, {"": sound, "weak-cell": 4 * each})
    chosen: list[FleetCar] = []
    taken: dict[str, int] = defaultdict(int)
    for car in draw_fleet(6000, POOL_SEED, plan=FleetPlan(VEHICLE)):
        kinds = kinds_of(car)
        name = kinds[0] if kinds else ""
        if len(kinds) < 2 and taken[name] < wanted[name] and name != "software-mismatch":
            taken[name] += 1
            chosen.append(car)
    parts = [chosen[at : at + 28] for at in range(0, len(chosen), 28)]
    pool: dict[str, list[tuple[float, dict[str, Any]]]] = defaultdict(list)
    with ProcessPoolExecutor(2, get_context("spawn")) as workers:
        scanned: list[ScannedCar] = [one for part in workers.map(scan_cars, parts) for one in part]
    for car, one in zip(chosen, scanned, strict=True):
        kinds = kinds_of(car)
        place = car.scenario.faults[0].severity if kinds else float(car.known["odometer_km"])
        pool[kinds[0] if kinds else ""].append((place, one.report))
    return pool


def report_for(car: FleetCar, pool: dict[str, list[tuple[float, dict[str, Any]]]]) -> dict[str, Any]:
    """The report of the most similar scanned car, as if it were this one's."""
    places = [(f.kind.name, f.severity) for f in car.scenario.faults if f.kind.name in pool]
    places = places or [("", float(car.known["odometer_km"]))]
    reports = [min(pool[kind], key=lambda one, at=at: abs(one[0] - at))[1] for kind, at in places]
    first = reports[0]
    programs = {
        ecu["role"]: ecu["identification"].get("vehicleManufacturerECUSoftwareVersionNumber")
        for ecu in first["ecus"]
        if ecu["role"]
    }
    programs["bms"] = car.scenario.history.bms_version
    return {
        "schema": "huizhen.scan/1", "simulated": True, "started": car.known.get("visited") or first["started"],
        "vehicle": {
            "vin": f"LHZEV4D0{car.seed % 10**9:09d}", "model": VEHICLE, "batch": car.known["batch"],
            "software": programs,
        },
        "ecus": first["ecus"], "battery": first["battery"], "features": (first["battery"] or {}).get("features"),
        "dtcs": [dtc for report in reports for dtc in report["dtcs"]], "read": first["read"],
        "findings": first["findings"], "unanswered": first["unanswered"],
        "mileage_km": car.known["odometer_km"],
        "context": {"climate": car.known["region"], "charging": car.known["charging"]},
    }  # fmt: skip


def filled(folder: Path, cars: list[FleetCar], plan: FleetPlan, pool: dict[str, Any]) -> Library:
    """A fresh library with a fleet's scans."""
    visits = folder / "visits.jsonl"
    with visits.open("w", encoding="utf-8") as file:
        for car in cars:
            file.write(json.dumps(report_for(car, pool)) + "\n")
    library = Library.open(folder / "cases.db", create=True)
    done = library.import_file("scans", visits)
    if done.new != len(cars):
        raise SystemExit(f"{done.new} of {len(cars)} scans taken: {done.bad[:3]}")
    if plan.weeks:
        rows = [f"{week},,{model},{n}\n" for week, model, n in cars_on_the_road(len(cars), plan)]
        exposure = folder / "exposure.csv"
        exposure.write_text("week,make,model,cars\n" + "".join(rows), "utf-8")
        library.import_file("exposure", exposure)
    return library


def codes_of(report: dict[str, Any]) -> set[str]:
    return {dtc["display"] for dtc in report["dtcs"]}


def look_at_trends(seed: int, count: int, times: float, pool: dict[str, Any]) -> dict[str, Any]:
    """Rings week by week, as somebody would see them who asks every Monday."""
    kind = RISEN[seed % len(RISEN)]
    plan = FleetPlan(VEHICLE, 6, WEEKS, Rise(kind, times, ONSET) if times > 1 else None)
    cars = list(draw_fleet(count, seed, plan=plan))
    planted = set.union(*(codes_of(report) for _, report in pool[kind]))
    first = min(week_of(time_of(week, "week") or 0) for week, _, _ in cars_on_the_road(count, plan))
    out: dict[str, Any] = {"delay": None, "false": 0, "naive": None, "naive_false": 0, "codes": 0}
    with tempfile.TemporaryDirectory() as name, filled(Path(name), cars, plan, pool) as library:
        ringing: set[str] = set()
        for week in range(16, WEEKS + 1):
            trends, _ = library.trends(simulated=True, last_week=first + week - 1)
            now = {(trend.fault, *trend.together) for trend in trends if trend.state == "rising"}
            out["codes"] = len(trends)
            rung = {code for codes in ringing for code in codes}
            for codes in now:
                if codes[0] in rung:
                    continue
                is_planted = any(code.partition("@")[0] in planted for code in codes) and week >= ONSET and times > 1
                if is_planted and out["delay"] is None:
                    out["delay"] = week - ONSET + 1
                out["false"] += not is_planted
            ringing = now
    by_code: dict[str, list[int]] = defaultdict(lambda: [0] * (WEEKS + 1))
    for car in cars:
        week = week_of(time_of(car.known["visited"], "visited") or 0) - first + 1
        for code in codes_of(report_for(car, pool)):
            by_code[code][week] += 1
    for code, weekly in by_code.items():
        for week in range(16, WEEKS + 1):
            if weekly[week - 1] and weekly[week] >= 1.1 * weekly[week - 1]:
                if code in planted and week >= ONSET and times > 1:
                    out["naive"] = min(out["naive"] or WEEKS, week - ONSET + 1)
                else:
                    out["naive_false"] += 1
    return out


def naive_p(one: list[bool], two: list[bool]) -> float:
    """Two proportions side by side, whoever the cars are."""
    if not one or not two:
        return 1.0
    share = (sum(one) + sum(two)) / (len(one) + len(two))
    spread = math.sqrt(share * (1 - share) * (1 / len(one) + 1 / len(two)))
    return 1.0 if not spread else normal_tail((sum(one) / len(one) - sum(two) / len(two)) / spread)


def look_at_cohorts(seed: int, count: int, pool: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Cards for a planted mismatch (batch 1), a confounded program (batch 2) and four batches with neither."""
    plan = FleetPlan(VEHICLE, 6, 52, None, 1, 2)
    cars = list(draw_fleet(count, seed, plan=plan))
    habit = {f"LHZEV4D0{car.seed % 10**9:09d}": car.known["charging"] for car in cars}
    out: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name, filled(Path(name), cars, plan, pool) as library:
        charged = {library.cases.of_car(vin)[0]["case"]: each for vin, each in habit.items()}
        for outcome in OUTCOMES:
            cards = library.cohort(outcome, simulated=True)
            software = [card for card in cards if card.kind == "software" and card.ecu == "bms"]
            old = min(card.version for card in software)
            telling = [card for card in software if card.state in ("worse", "better")]
            found = [c for c in telling if c.batch.endswith("-01") and c.version == old and c.state == "worse"]
            out[outcome] = {
                "found": bool(found),
                "claimed": any(card.batch.endswith("-02") for card in telling),
                "confounded": any(card.batch.endswith("-02") and card.state == "confounded" for card in software),
                "false": sum(card.batch[-2:] not in ("01", "02") for card in telling),
                "null": sum(card.batch[-2:] not in ("01", "02") for card in software),
            }
            if found and found[0].next is not None:
                chances = [CHANCES[charged[car.case]] for car in found[0].next.cars]
                third = max(1, len(chances) // 3)
                out[outcome]["next"] = (sum(chances[:third]) / third, sum(chances) / max(1, len(chances)))
    naive = {"found": False, "claimed": False, "false": 0, "null": 0}
    for batch in sorted({car.known["batch"] for car in cars}):
        arms: dict[str, list[bool]] = defaultdict(list)
        for car in cars:
            if car.known["batch"] == batch:
                has = any(code.startswith("P0DE6") for code in codes_of(report_for(car, pool)))
                arms[str(car.scenario.history.bms_version)].append(has)
        rings = len(arms) == 2 and naive_p(*arms.values()) <= 0.05
        if batch.endswith("-01"):
            naive["found"] = rings
        elif batch.endswith("-02"):
            naive["claimed"] = rings
        else:
            naive["false"] += 2 * rings
            naive["null"] += 2
    out["naive z (P0DE6)"] = naive
    return out


def rate(hits: int, n: int) -> str:
    low, high = wilson(hits / n, n, 1.959964)
    return f"{100 * hits / n:.0f} % ({hits}/{n}, {100 * low:.0f} … {100 * high:.0f} %)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=4001, help="the first seed")
    parser.add_argument("--visits", type=int, default=5000, help="visits in two years, for trends")
    parser.add_argument("--cars", type=int, default=600, help="cars in six batches, for cohorts")
    parser.add_argument("--times", type=float, default=3.0, help="how many times as frequent the risen fault is")
    args = parser.parse_args()
    begun = time.monotonic()
    pool = scan_pool(3, 40)
    print(f"{sum(map(len, pool.values()))} cars scanned in {time.monotonic() - begun:.0f} s")
    seeds = range(args.first, args.first + args.seeds)
    trends = [look_at_trends(seed, args.visits, args.times, pool) for seed in seeds]
    n, years = len(trends), len(trends) * (WEEKS - 16) / 52
    print(
        f"\ncase trends: {n} fleets, {args.visits} visits in {WEEKS} weeks, a fault × {args.times:g} from week {ONSET}"
    )
    for name, key, wrong in (("huizhen", "delay", "false"), ("week on week +10 %", "naive", "naive_false")):
        delays = sorted(one[key] for one in trends if one[key] is not None)
        middle = f"{delays[len(delays) // 2]} weeks (at most {delays[-1]})" if delays else "-"
        false = sum(one[wrong] for one in trends)
        print(f"  {name:20} rang {rate(len(delays), n)}, median delay {middle}; false rings {false / years:.2f} a year")
    cohorts = [look_at_cohorts(seed, args.cars, pool) for seed in seeds]
    print(f"\ncase cohort: {n} fleets of {args.cars} cars in six batches, two programs each")
    for name in cohorts[0]:
        rows = [one[name] for one in cohorts]
        false, null = sum(row["false"] for row in rows), sum(row["null"] for row in rows)
        print(
            f"  {name:16} mismatch found {rate(sum(row['found'] for row in rows), n)};"
            f" silent on the confounded {rate(sum(not row['claimed'] for row in rows), n)};"
            f" false cards {false / n:.2f} a fleet ({false}/{null})"
        )
        ahead = [row["next"] for row in rows if "next" in row]
        if ahead:
            top, all_ = (sum(pair[i] for pair in ahead) / len(ahead) for i in (0, 1))
            print(f"  {'':16} next: true chance of the first third {top:.2f}, of all listed {all_:.2f}")
    print(f"\n{time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
