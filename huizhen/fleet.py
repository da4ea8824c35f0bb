"""Many simulated cars, each scanned through ``diag``: reports for trends, cohorts and evaluation.

Cars are shared out over processes; within one, some scans overlap, because a scan mostly waits for silence.
"""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from virtualbus.car import Car
    from virtualbus.fleet import FleetCar

__all__ = ["ScannedCar", "scan_fleet"]

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
    """

    number: int
    known: dict[str, Any]
    report: dict[str, Any]
    truth: list[dict[str, Any]]


async def _scan_one(item: FleetCar, car: Car, gate: asyncio.Semaphore) -> ScannedCar:
    from diag.scan import scan
    from huizhen.simlink import CarLink
    from virtualbus.fleet import label_of

    async with gate, CarLink(car) as link:
        report = await scan(
            link, databases=_databases(car.vehicle.name), simulated=True, listen_s=0.0, identifiers=_IDENTIFIERS
        )
    known = {"number": item.number, "vin": car.vin, **item.known}
    return ScannedCar(item.number, known, report.to_json(), label_of(car))


_LOADED: dict[str, Any] = {}


def _databases(vehicle: str) -> tuple[Any, ...]:
    """The databases of a kind of car, read once per process."""
    import dbc
    from virtualbus.vehicles import VEHICLES

    if vehicle not in _LOADED:
        _LOADED[vehicle] = tuple(dbc.load(path) for path in VEHICLES[vehicle].databases)
    found: tuple[Any, ...] = _LOADED[vehicle]
    return found


def _scan_some(items: Sequence[FleetCar]) -> list[ScannedCar]:
    from virtualbus.car import Car

    # All are made before the first is asked: what keeps the loop from turning would eat the testers' time-outs.
    cars = [Car(item.scenario, item.seed, step_s=_STEP_S) for item in items]

    async def work() -> list[ScannedCar]:
        gate = asyncio.Semaphore(_CARS_AT_ONCE)
        return list(await asyncio.gather(*(_scan_one(*pair, gate) for pair in zip(items, cars, strict=True))))

    return asyncio.run(work())


def _scan_numbers(seed: int, first: int, last: int) -> list[str]:
    """What a process is told: which cars of which fleet; answers travel as JSON."""
    from virtualbus.fleet import draw_fleet

    items = list(draw_fleet(last, seed, first=first))
    return [json.dumps([one.number, one.known, one.report, one.truth], ensure_ascii=False) for one in _scan_some(items)]


def scan_fleet(count: int, seed: int, *, jobs: int) -> Iterator[ScannedCar]:
    """Makes and scans ``count`` cars in ``jobs`` processes; yields them in the order of their numbers."""
    import multiprocessing

    parts = [(first, min(count, first + _CARS_PER_TASK - 1)) for first in range(1, count + 1, _CARS_PER_TASK)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        waiting = [pool.submit(_scan_numbers, seed, first, last) for first, last in parts]
        try:
            for part in waiting:
                for line in part.result():
                    yield ScannedCar(*json.loads(line))
        finally:
            for part in waiting:
                part.cancel()
