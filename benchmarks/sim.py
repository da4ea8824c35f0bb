"""The simulated cars against the clock: live on a bus, offline, without frames, a drive at 100 Hz, a fleet.

Each figure stands beside its goal. Where there is a peer for the work it runs in the same run: cantools' encoder for
the frames. ``--fleet N`` sets the number of cars (1000 takes two minutes on two cores, 0 leaves it out).
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import TYPE_CHECKING

import can
import cantools
import numpy as np

import virtualbus
from huizhen.fleet import scan_fleet
from virtualbus.car import TICK_NS, Car
from virtualbus.pack import CellSpread, Pack
from virtualbus.scenario import find_scenario
from virtualbus.vehicles import VEHICLES

if TYPE_CHECKING:
    from collections.abc import Callable

REPEATS = 5


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def median(work: Callable[[], object]) -> float:
    return statistics.median(seconds(work) for _ in range(REPEATS))


def line(what: str, got: str, goal: str) -> None:
    print(f"{what:58s} {got:>16s}   goal {goal}")


def live() -> None:
    """The 198-cell car in real time on python-can's bus, one receiver on each of its three buses."""
    for readers in (True, False):
        with virtualbus.running("ev800", seed=1) as car:
            buses = [can.Bus(interface="virtual", channel=channel) for channel in car.channels] if readers else []
            time.sleep(1.0)
            for bus in buses:
                while bus.recv(0):
                    pass
            count, cpu, start = 0, time.process_time(), time.perf_counter()
            while time.perf_counter() - start < 5.0:
                time.sleep(0.05)
                for bus in buses:
                    while bus.recv(0):
                        count += 1
            passed = time.perf_counter() - start
            share = (time.process_time() - cpu) / passed
            for bus in buses:
                bus.shutdown()
        if readers:
            line("198 cells live, with receivers: frames per second", f"{count / passed:.0f}", "8000")
        line(f"198 cells live, {'with' if readers else 'without'} receivers: of a core", f"{100 * share:.0f} %", "25 %")


def offline() -> None:
    car = Car(find_scenario("ev800"), 1)
    for _ in car.blocks(200):
        pass
    frames = 0

    def run() -> None:
        nonlocal frames
        frames = sum(len(part.length) for part in car.blocks(1000))

    taken = median(run)
    line("198 cells offline, all frames encoded: x real time", f"{1000 * TICK_NS / 1e9 / taken:.0f}", "50")
    line("  frames per second", f"{frames / taken:.0f}", "-")


def encoder() -> None:
    """Our encoder against cantools' over the frames of ten ticks of the 400 V car."""
    vehicle = VEHICLES["ev400"]
    car = Car(find_scenario("healthy"), 1)
    due = tuple((row, message.index, 0) for row in range(10) for message in car.catalogue.messages)
    rows = np.repeat(car.buses.values[None, :], 10, axis=0)
    counts = np.arange(len(due))
    database = cantools.database.load_file(vehicle.databases[0])
    values = []
    for message in car.catalogue.messages:
        theirs = database.get_message_by_name(message.name)
        given = {
            signal.name: 0 for signal in theirs.signals if not signal.multiplexer_ids or 0 in signal.multiplexer_ids
        }
        values.append((theirs, given))
    ours = median(lambda: [car.catalogue.encode(rows, due, counts) for _ in range(20)])
    peer = median(lambda: [m.encode(v, strict=False) for _ in range(200) for m, v in values])
    line("encoder against cantools: times as fast", f"{peer / ours:.0f}", "-")


def past() -> None:
    scenario = find_scenario("healthy")
    Car(scenario, 1)
    taken = median(lambda: Car(scenario, 1))
    line("a 24-minute trip with all ECUs, no frames: x real time", f"{1440 / taken:.0f}", "300")


def drive() -> None:
    """Thirty minutes of the 198-cell pack at 100 Hz."""
    vehicle = VEHICLES["ev800"]
    rng = np.random.default_rng(1)
    amperes = 80 * np.sin(np.arange(180_000) / 900) + 30 * rng.standard_normal(180_000)

    def run() -> None:
        pack = Pack(vehicle.cell, CellSpread.grown(rng, 0.8, vehicle.cells), vehicle.per_module, 20.0)
        for current in amperes.tolist():
            pack.step(current, 0.01, 20.0, 20.0, 0.5)

    line("30 minutes of 198 cells at 100 Hz: seconds", f"{seconds(run):.1f}", "20")


def fleet(count: int) -> None:
    jobs = os.cpu_count() or 1
    seen = 0

    def run() -> None:
        nonlocal seen
        seen = sum(bool(car.report["dtcs"]) for car in scan_fleet(count, 1, jobs=jobs))

    taken = seconds(run)
    line(f"{count} cars made and scanned, {jobs} processes: seconds", f"{taken:.0f}", f"{0.12 * count:.0f}")
    print(f"  {seen} of them with codes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fleet", type=int, default=1000, metavar="N")
    chosen = parser.parse_args()
    live()
    offline()
    encoder()
    past()
    drive()
    if chosen.fleet:
        fleet(chosen.fleet)


if __name__ == "__main__":
    main()
