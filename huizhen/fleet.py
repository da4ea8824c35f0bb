"""Many simulated cars, each scanned through ``diag``: reports for trends, cohorts and evaluation.

Cars are shared out over processes; within one, some scans overlap, because a scan mostly waits for silence.
"""

from __future__ import annotations

import asyncio
import json
import logging
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from virtualbus.car import Car
    from virtualbus.fleet import FleetCar, FleetPlan

__all__ = ["ScannedCar", "scan_cars", "scan_fleet"]

_CARS_AT_ONCE: Final = 28
_CARS_PER_TASK: Final = 56
_STEP_S: Final = 2.0
_IDENTIFIERS: Final = (0xF190, 0xF189, 0xF187, 0xF195)
"""VIN, software, part number: what trends and cohorts are made of."""


@dataclass(frozen=True, slots=True)
class ScannedCar:
    """One car of a fleet after its scan.

    Args:
        known: what a workshop knows of it, with its VIN.
        report: ``huizhen.scan/1``.
        truth: what really is wrong.
        planted: what of the fleet's plan is wrong with it, None for nothing.
    """

    number: int
    known: dict[str, Any]
    report: dict[str, Any]
    truth: list[dict[str, Any]]
    planted: str | None = None


async def _scan_one(item: FleetCar, car: Car, gate: asyncio.Semaphore) -> ScannedCar:
    from diag.carscan import scan
    from huizhen.simlink import CarLink
    from virtualbus.fleet import label_of

    async with gate, CarLink(car) as link:
        report = await scan(
            link, databases=_databases(car.vehicle.name), simulated=True, listen_s=0.0, identifiers=_IDENTIFIERS
        )
    known = {"number": item.number, "vin": car.vin, **item.known}
    told = report.to_json()
    if "visited" in item.known:
        told["started"] = item.known["visited"]  # the day of the fleet's own calendar
    return ScannedCar(item.number, known, told, label_of(car), item.planted)


_LOADED: dict[str, Any] = {}


def _databases(vehicle: str) -> tuple[Any, ...]:
    """The databases of a kind of car, read once per process."""
    import dbc
    from virtualbus.vehicles import VEHICLES

    if vehicle not in _LOADED:
        _LOADED[vehicle] = tuple(dbc.load(path) for path in VEHICLES[vehicle].databases)
    found: tuple[Any, ...] = _LOADED[vehicle]
    return found


def scan_cars(items: Sequence[FleetCar]) -> list[ScannedCar]:
    """Makes and scans these cars in this process."""
    from virtualbus.car import Car

    # All are made before the first is asked: what keeps the loop from turning would eat the testers' time-outs.
    cars = [Car(item.scenario, item.seed, step_s=_STEP_S) for item in items]

    async def work() -> list[ScannedCar]:
        gate = asyncio.Semaphore(_CARS_AT_ONCE)
        return list(await asyncio.gather(*(_scan_one(*pair, gate) for pair in zip(items, cars, strict=True))))

    return asyncio.run(work())


def _scan_numbers(seed: int, first: int, last: int, plan: FleetPlan | None) -> list[str]:
    """What a process is told: which cars of which fleet; answers travel as JSON."""
    from virtualbus.fleet import draw_fleet

    items = list(draw_fleet(last, seed, first=first, plan=plan))
    return [
        json.dumps([one.number, one.known, one.report, one.truth, one.planted], ensure_ascii=False)
        for one in scan_cars(items)
    ]


def _keep_quiet() -> None:
    """What libraries log is for ``--debug``, in a process of its own as well."""
    logging.getLogger().addHandler(logging.NullHandler())


def scan_fleet(count: int, seed: int, *, jobs: int, plan: FleetPlan | None = None) -> Iterator[ScannedCar]:
    """Makes and scans ``count`` cars in ``jobs`` processes; yields them in the order of their numbers."""
    import multiprocessing

    size = min(_CARS_PER_TASK, max(1, -(-count // jobs)))
    parts = [(first, min(count, first + size - 1)) for first in range(1, count + 1, size)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_keep_quiet) as pool:
        waiting = [pool.submit(_scan_numbers, seed, first, last, plan) for first, last in parts]
        try:
            for part in waiting:
                for line in part.result():
                    yield ScannedCar(*json.loads(line))
        finally:
            for part in waiting:
                part.cancel()
