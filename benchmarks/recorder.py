"""The flight recorder on cars that break while they drive: is the cause among the first three that moved?

A sound car drives for five minutes, then a fault strikes; the event is the moment at which it strikes (the fault codes
follow seconds later). The recorder gets the broadcast frames and nothing else. Which signals show a cause directly is
listed below; whoever moves before or beside it counts against it. Faults that show over minutes only (an internal short
empties a cell by a millivolt in half a minute) are not for the recorder. ``--seeds N`` (5), ``--seed S`` the first.
"""

from __future__ import annotations

import argparse
import os
import re
from concurrent.futures import ProcessPoolExecutor

import dbc
from dbc.table import FrameTable
from diag.broadcast import decode_recorded
from diag.firstmoved import what_moved_first
from huizhen.simrecord import frame_tables
from virtualbus.car import Car
from virtualbus.errors import Phrase
from virtualbus.faults import FAULTS, Fault
from virtualbus.scenario import Phase, Scenario

USUAL_S, AFTER_S = 300.0, 35.0
SEVERITY = 0.7
CAUSES = {
    "isolation": r"InsulationResistance",
    "sampling-line-open": r"CellVoltage(_\d+|Min|Max)",
    "probe-open": r"CellTemp_\d+|ColdestProbe",
    "converter": r"Dcdc(Output|Input)\w+|LowVoltage|BodySupply",
    "lost-bms": r"Pack\w+|Cell\w+|StateOf\w+|Insulation\w+|Cmu\w+|Bms\w+|Contactor\w+|Main\w+|\w+Probe|\w+Limit",
    "coolant-pump": r"BatteryPump\w+|BatteryFlow",
    "drive-pump": r"DrivePump\w+|DriveFlow",
    "motor-probe": r"MotorTemp",
    "interlock-open": r"Hvil\w+",
}


def one(job: tuple[str, int]) -> tuple[str, int, list[str]]:
    """Kind, place of the first signal that shows the cause (0 = not among them), and the first three."""
    kind, seed = job
    sound = Scenario("x", Phrase("x", "x"), "ev400", (), cycle=(Phase("drive", 6.0), Phase("park", 1.0)), now="drive")
    strikes_s = Car(sound, seed).plant.t_s + USUAL_S
    broken = Scenario(
        "x", Phrase("x", "x"), "ev400", (Fault(FAULTS[kind], {}, SEVERITY, strikes_s),), cycle=sound.cycle, now="drive"
    )
    car = Car(broken, seed)
    table = FrameTable.concat(list(frame_tables(car, round((USUAL_S + AFTER_S) * 100))))
    series = decode_recorded(table, [dbc.load(path) for path in car.vehicle.databases]).series
    series = {name: item for name, item in series.items() if not re.search("counter|checksum", name.lower())}
    start_ns, event_ns = int(table.t_ns[0]), round(USUAL_S * 1e9)
    moved = what_moved_first(series, start_ns, event_ns, event_ns + 30_000_000_000)
    names = [item.signal for item in moved]
    place = next((at for at, name in enumerate(names, start=1) if re.fullmatch(CAUSES[kind], name)), 0)
    return kind, place, names[:3]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=70_000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    jobs = [(kind, args.seed + number) for kind in CAUSES for number in range(args.seeds)]
    found: dict[str, list[int]] = {}
    with ProcessPoolExecutor(args.jobs) as pool:
        for kind, place, names in pool.map(one, jobs):
            found.setdefault(kind, []).append(place)
            if not 1 <= place <= 3:
                print(f"  {kind}: place {place or 'none'}; first {', '.join(names) or 'nothing'}")
    for kind, places in found.items():
        first = sum(place == 1 for place in places)
        three = sum(1 <= place <= 3 for place in places)
        print(f"{kind:20s} first {first} of {len(places)}, among three {three} of {len(places)}")
    every = [place for places in found.values() for place in places]
    share = 100 * sum(1 <= place <= 3 for place in every) / len(every)
    print(f"among the first three: {share:.0f} % of {len(every)} (goal 90 %)")


if __name__ == "__main__":
    main()
