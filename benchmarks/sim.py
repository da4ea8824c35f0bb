"""How much faster than real time the simulated car moves, and what a car costs to make. Medians of five."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from virtualbus.car import TICK_NS, Car
from virtualbus.scenario import find_scenario

if TYPE_CHECKING:
    from collections.abc import Callable

REPEATS = 5
LIVE_TICKS = 2000
PAST_STEPS = 2000


def seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    scenario = find_scenario("healthy")
    car = Car(scenario, 1)

    def make() -> None:
        Car(scenario, 1)

    def live() -> None:
        for _ in range(LIVE_TICKS):
            car.tick()

    def physics() -> None:
        for _ in range(PAST_STEPS):
            car.plant.step(0.02)

    made = [seconds(make) for _ in range(REPEATS)]
    lived = [seconds(live) for _ in range(REPEATS)]
    moved = [seconds(physics) for _ in range(REPEATS)]
    simulated_s = LIVE_TICKS * TICK_NS / 1e9
    print(f"a car with its past (6 days, a 24-minute trip): {statistics.median(made):.2f} s")
    print(f"live, all frames encoded: {simulated_s / statistics.median(lived):.0f} x real time")
    print(f"physics alone, 20 ms steps: {PAST_STEPS * 0.02 / statistics.median(moved):.0f} x real time")


if __name__ == "__main__":
    main()
