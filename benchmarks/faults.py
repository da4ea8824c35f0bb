"""Right cause first? Cars with one fault each, a scan and a twenty-minute drive, against a threshold on the cells.

For each kind of fault and seed: the causes that ``diag`` ranks behind all codes and findings. "Answered" is where one
cause stands clearly before the others; "first" and "among three" are shares of those answered. Kinds that one repair
mends count as one cause (a corroded and a broken sense wire). The baseline is what a simple tool does: cells apart by
more than 50 mV, then the lowest cell is named; it is right where the fault is that cell's. ``--seeds N`` (25),
``--seed S`` the first one, ``--kinds a,b``.
"""

from __future__ import annotations

import argparse
import os
import random
from concurrent.futures import ProcessPoolExecutor

from faulty_cars import judged, visit

from diag.battery import battery_from_series
from virtualbus.faults import FAULTS
from virtualbus.vehicles import VEHICLES

CARS = ("ev400", "lfp104", "zev", "phev", "ev800")
RIGHT = {
    "weak-cell": ("cell-worn",),
    "low-capacity-cell": ("cell-capacity",),
    "self-discharge": ("self-discharge",),
    "resistive-cell": ("cell-resistive",),
    "shorted-cell": ("cell-short",),
    "ageing": ("ageing",),
    "module-joint": ("module-joint",),
    "sampling-line": ("sense-wire",),
    "sampling-line-open": ("sense-wire",),
    "probe-stuck": ("probe",),
    "probe-offset": ("probe",),
    "probe-open": ("probe",),
    "current-offset": ("current-sensor",),
    "current-gain": ("current-sensor",),
    "balancing-dead": ("balancing-dead",),
    "balancing-stuck": ("balancing-stuck",),
    "soc-jump": ("bms-restart",),
    "software-mismatch": ("software-mismatch",),
    "low-battery": ("twelve-volt-battery",),
    "converter": ("converter",),
    "drain": ("twelve-volt-drain",),
    "body-ground": ("unit-supply",),
    "lost-bms": ("ecu-lost",),
    "lost-ecu": ("ecu-lost",),
    "bus-errors": ("bus-disturbed",),
    "isolation": ("isolation",),
    "isolation-intermittent": ("isolation-at-times",),
    "isolation-wet": ("isolation-at-times", "isolation"),
    "contactor-welded": ("contactor-welded",),
    "contactor-negative-welded": ("contactor-welded",),
    "contactor-stuck": ("contactor-open",),
    "contactor-worn": ("contactor-worn",),
    "precharge-resistor": ("precharge",),
    "interlock-open": ("interlock",),
    "interlock-intermittent": ("interlock",),
    "coolant-pump": ("battery-pump",),
    "coolant-pump-worn": ("battery-pump",),
    "coolant-blocked": ("coolant-blocked",),
    "chiller": ("chiller",),
    "drive-pump": ("drive-pump",),
    "radiator-fan": ("radiator-fan",),
    "inverter-hot": ("inverter-cooling",),
    "charger-derating": ("charger",),
    "inlet-hot": ("inlet-hot",),
    "control-pilot": ("control-pilot",),
    "inlet-lock": ("inlet-lock",),
    "dc-timeout": ("station-silent",),
}
OF_A_CELL = ("weak-cell", "low-capacity-cell", "self-discharge", "resistive-cell", "shorted-cell", "balancing-stuck")
APART_MV = 50.0


def one(job: tuple[str, int]) -> tuple[str, int, bool, int, bool, list[str]]:
    """Kind, seed, answered, place of the right cause (0 = not there), baseline right, and the causes."""
    kind, seed = job
    cars = [name for name in CARS if kind == "sound" or FAULTS[kind].fits(VEHICLES[name])]
    vehicle = random.Random(f"{kind} {seed}").choice(cars)
    report, series = visit(None if kind == "sound" else kind, vehicle, seed)
    _, causes = judged(report, series)
    names = [cause.code.removeprefix("cause.") for cause in causes]
    place = next((at for at, name in enumerate(names, start=1) if name in RIGHT.get(kind, ())), 0)
    battery = battery_from_series(series, source="recorded")
    apart = battery is not None and (battery.spread_mv or 0.0) > APART_MV
    return kind, seed, bool(causes and causes[0].is_likely), place, apart and kind in OF_A_CELL, [vehicle, *names]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=25)
    parser.add_argument("--seed", type=int, default=90_000)
    parser.add_argument("--kinds", default=",".join(RIGHT))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("-v", action="store_true")
    args = parser.parse_args()
    kinds = args.kinds.split(",")
    jobs = [(kind, args.seed + number) for kind in kinds for number in range(args.seeds)]
    rows: dict[str, list[tuple[bool, int, bool]]] = {kind: [] for kind in kinds}
    with ProcessPoolExecutor(args.jobs) as pool:
        for kind, seed, answered, place, baseline, names in pool.map(one, jobs, chunksize=4):
            rows[kind].append((answered, place, baseline))
            if args.v and (place != 1 or not answered):
                print(f"  {kind} {seed} answered={answered} place {place}: {', '.join(names)}", flush=True)
    print(f"{'kind':28s} answered  first  three   all cars: first  three  baseline")
    total: list[tuple[bool, int, bool]] = []
    for kind, found in rows.items():
        total += found
        print(f"{kind:28s} {_shares(found)}")
    print(f"{'all ' + str(len(rows)) + ' kinds':28s} {_shares(total)}")
    print("goal: first 85 %, among three 95 % of those answered; answered 70 %")


def _shares(found: list[tuple[bool, int, bool]]) -> str:
    told = [place for answered, place, _ in found if answered]
    every = [place for _, place, _ in found]

    def share(places: list[int], most: int) -> str:
        return f"{100 * sum(1 <= place <= most for place in places) / len(places):4.0f} %" if places else "    – "

    baseline = 100 * sum(right for _, _, right in found) / len(found)
    head = f"{100 * len(told) / len(found):6.0f} %  {share(told, 1)} {share(told, 3)}"
    return f"{head}            {share(every, 1)} {share(every, 3)}   {baseline:5.0f} %"


if __name__ == "__main__":
    main()
