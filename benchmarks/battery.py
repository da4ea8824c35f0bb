"""The battery doctor on packs whose truth is known, under the fixed conditions of ``battery_cars.py``.

Beside every figure stands what a simple baseline gets on the same readings: one threshold on the greatest difference
between two cells (50 mV), and the lowest cell named. ``--cars N`` sets the size of the healthy fleet (500 takes four
minutes), ``--seed S`` the first seed; the seeds used while this was written are below 1000.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from battery_cars import recorded

from diag.batterydoctor import BatteryStudy, study_battery
from virtualbus.chemistry import CELL_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from diag.samples import Series
    from virtualbus.pack import CellSpread

BASELINE_MV = 50.0
CELL = 31
DRIVE = (("drive", 20.0),)
DOWN_AND_UP = (("rest", 40.0), ("drive", 240.0), ("rest", 40.0))


def baseline(series: dict[str, Series]) -> int | None:
    """The lowest cell when the spread of the cells' medians exceeds a threshold."""
    volts = np.array([np.median(item.values) for name, item in series.items() if name.startswith("CellVoltage")])
    return int(volts.argmin()) + 1 if 1000 * float(np.ptp(volts)) > BASELINE_MV else None


def half_milliohm(spread: CellSpread) -> None:
    spread.joint_ohm[CELL - 1] = 0.0005


def higher_resistance(cell: str) -> Callable[[CellSpread], None]:
    kind = CELL_TYPES[cell]

    def change(spread: CellSpread) -> None:
        spread.resistance[CELL - 1] *= 1 + 0.0005 / (kind.ohmic_ohm + kind.polarisation_ohm)

    return change


def less_capacity(share: float) -> Callable[[CellSpread], None]:
    """Less capacity in a pack that was balanced when full."""

    def change(spread: CellSpread) -> None:
        used = 1 - spread.soc[CELL - 1]
        spread.capacity[CELL - 1] *= 1 - share
        spread.soc[CELL - 1] = max(0.02, 1 - used / (1 - share))

    return change


def study_of(series: dict[str, Series], rated_ah: float | None = None) -> BatteryStudy:
    study = study_battery(series, rated_ah=rated_ah)
    if study is None:
        raise RuntimeError("no battery in the readings")
    return study


def one_case(job: tuple[str, str, int]) -> tuple[str, bool, bool, bool, bool]:
    """Whether the broken cell was found, with the right cause first, whether "not visible" was said, the baseline."""
    what, cell, seed = job
    rng = np.random.default_rng(seed)
    parts, soc, change, wanted = {
        "joint +0.5 mOhm, 20 min": (DRIVE, 0.6, half_milliohm, {"battery.module-joint"}),
        "cell +0.5 mOhm, 20 min": (DRIVE, 0.6, higher_resistance(cell), {"battery.cell-resistive"}),
        "capacity -10 %, 20 min": (
            DRIVE,
            0.6,
            less_capacity(0.10),
            {"battery.cell-capacity", "battery.cell-charge-low"},
        ),
        "capacity -5 %, swing 60 %": ((("charge:60", 105.0),), 0.2, less_capacity(0.05), {"battery.cell-capacity"}),
        "capacity -10 %, across a knee": (
            (("charge:-60", 100.0),),
            0.85,
            less_capacity(0.10),
            {"battery.cell-capacity"},
        ),
    }[what]
    series, _ = recorded(cell, rng, parts=parts, soc=soc, change=change)
    study = study_of(series)
    found = any(cause.cell == CELL for cause in study.causes)
    first = study.findings[0].code if study.findings else ""
    return (
        what,
        found,
        found and first in wanted,
        any(item.what == "capacity" for item in study.unseen),
        baseline(series) == CELL,
    )


def one_healthy(job: tuple[str, int]) -> tuple[str, list[str], bool]:
    """Codes of the findings of a sound pack, and whether the baseline raised an alarm."""
    cell, seed = job
    rng = np.random.default_rng(seed)
    parts = (("drive", float(rng.uniform(20, 60))), ("rest", 20.0))
    series, _ = recorded(cell, rng, parts=parts, soc=float(rng.uniform(0.35, 0.9)))
    return cell, [finding.code for finding in study_of(series).findings], baseline(series) is not None


def one_health(job: tuple[str, int]) -> tuple[str, float, tuple[float, float] | None, str]:
    """True capacity, the best method's interval in Ah, and its name."""
    cell, seed = job
    rng = np.random.default_rng(seed)
    health = float(rng.uniform(0.65, 1.0))

    def aged(spread: CellSpread) -> None:
        spread.capacity *= health

    series, pack = recorded(
        cell,
        rng,
        parts=(("rest", 40.0), ("charge:40", 60.0 * health * 0.62 * CELL_TYPES[cell].capacity_ah / 40), ("rest", 40.0)),
        soc=0.2,
        change=aged,
        step_s=2.0,
        table_error=0.015,
    )
    study = study_of(series, CELL_TYPES[cell].capacity_ah)
    best = study.health.methods[0] if study.health.methods else None
    truth = float(np.median(pack.capacity_ah))
    return cell, truth, best.interval_ah if best else None, best.method if best else "none"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cars", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=25)
    parser.add_argument("--seed", type=int, default=50_000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    with ProcessPoolExecutor(args.jobs) as pool:
        print("one broken cell (found / right cause first / capacity said to be not visible / baseline names the cell)")
        for what, kinds in (
            ("joint +0.5 mOhm, 20 min", ("NMC811", "NMC532")),
            ("cell +0.5 mOhm, 20 min", ("NMC811", "NMC532")),
            ("capacity -10 %, 20 min", ("NMC811", "NMC532")),
            ("capacity -5 %, swing 60 %", ("NMC811", "NMC532", "LFP135")),
            ("capacity -10 %, across a knee", ("LFP135",)),
            ("capacity -10 %, 20 min", ("LFP135",)),
        ):
            for cell in kinds:
                jobs = [(what, cell, args.seed + number) for number in range(args.seeds)]
                got = np.array([row[1:] for row in pool.map(one_case, jobs)]).mean(axis=0) * 100
                print(f"  {what:30s} {cell:7s} {got[0]:4.0f} % {got[1]:4.0f} % {got[2]:4.0f} % {got[3]:4.0f} %")
        alarms: dict[str, list[bool]] = {}
        simple: dict[str, list[bool]] = {}
        codes: dict[str, int] = {}
        kinds = ("NMC811", "NMC532", "LFP135")
        healthy = [(kinds[number % 3], args.seed + 10_000 + number) for number in range(args.cars)]
        for cell, found, plain in pool.map(one_healthy, healthy, chunksize=8):
            alarms.setdefault(cell, []).append(bool(found))
            simple.setdefault(cell, []).append(plain)
            for code in found:
                codes[code] = codes.get(code, 0) + 1
        print(f"false alarms on {args.cars} sound packs (goal <= 1 %), baseline beside it")
        for cell, row in alarms.items():
            print(f"  {cell:7s} {100 * np.mean(row):5.2f} %   baseline {100 * np.mean(simple[cell]):5.2f} %")
        print(f"  {codes or 'none'}")
        print("state of health: intervals of 95 % that hold the truth (goal 90 to 98 %)")
        held: dict[str, list[bool]] = {}
        width: dict[str, list[float]] = {}
        methods: dict[str, int] = {}
        jobs_health = [(("NMC811", "NMC532")[number % 2], args.seed + 20_000 + number) for number in range(args.cars)]
        for cell, truth, interval, method in pool.map(one_health, jobs_health, chunksize=8):
            methods[method] = methods.get(method, 0) + 1
            if interval is not None:
                held.setdefault(cell, []).append(interval[0] <= truth <= interval[1])
                width.setdefault(cell, []).append((interval[1] - interval[0]) / 2 / truth)
        for cell, row in held.items():
            print(f"  {cell:7s} {100 * np.mean(row):5.1f} % of {len(row)}, +- {100 * np.median(width[cell]):.1f} %")
        print(f"  {methods}")


if __name__ == "__main__":
    main()
