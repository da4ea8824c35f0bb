"""Days of 200 escalations through the real queue, beside Erlang's formula: do cars wait as long as it says?

    python benchmarks/escalations.py [--days 20] [--cars 200] [--experts 4] [--handling-min 20] [--line]

Each day is driven through a running service (rooms, journals, audit, notices, service.db) with a moved clock, and the
service is stopped and started again in the middle. ``--line`` leaves the service out and keeps line and table.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from queueday import T_99, Clock, Day, LineDriver, ServiceDriver, formula, interval, plain_day, run_day


async def one_day(args: argparse.Namespace, seed: int, folder: Path) -> Day:
    clock = Clock()
    driver: LineDriver | ServiceDriver
    if args.line:
        driver = LineDriver(folder / "service.db", args.experts, clock)
    else:
        driver = await ServiceDriver(folder, args.experts, clock).open()
    try:
        return await run_day(
            driver, clock, seed=seed, cars=args.cars, experts=args.experts, per_hour=args.cars / 24,
            handling_s=args.handling_min * 60, restart_at=args.cars // 2,
        )  # fmt: skip
    finally:
        await driver.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=20, choices=[n + 1 for n in T_99])
    parser.add_argument("--cars", type=int, default=200)
    parser.add_argument("--experts", type=int, default=4)
    parser.add_argument("--handling-min", type=float, default=20.0)
    parser.add_argument("--line", action="store_true")
    args = parser.parse_args()
    began = time.perf_counter()
    days, furthest = [], 0.0
    for seed in range(1, args.days + 1):
        with tempfile.TemporaryDirectory() as folder:
            days.append(asyncio.run(one_day(args, seed, Path(folder))))
        day = days[-1]
        plain = plain_day(
            seed=seed, cars=args.cars, experts=args.experts, per_hour=args.cars / 24, handling_s=args.handling_min * 60
        )
        furthest = max(furthest, *(abs(one - other) for one, other in zip(day.waits_s, plain, strict=True)))
        print(f"day {seed:2}: mean wait {day.mean_s:6.1f} s, waited {day.waited:5.1%}, carried over {day.carried}")
    wait, waited = formula(args.experts, args.cars / 24, args.handling_min * 60)
    for name, values, wanted, unit in (
        ("mean wait", [day.mean_s for day in days], wait, "s"),
        ("P(wait)", [100 * day.waited for day in days], 100 * waited, "%"),
    ):
        mean, half = interval(values)
        verdict = "inside" if abs(mean - wanted) <= half else "OUTSIDE"
        print(
            f"{name}: {mean:.1f} ± {half:.1f} {unit} (99 %, {len(days)} days); Erlang C {wanted:.1f} {unit}: {verdict}"
        )
    print(f"car by car beside a simulation that shares no code with the queue: at most {1000 * furthest:.3f} ms apart")
    print(f"{len(days) * args.cars} cars in {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
