"""A simulated day by Erlang's assumptions, driven through the queue itself with a clock that is moved by hand.

Cars come independently of each other (Poisson), handling times are exponential, every expert can do everything and
accepts at once. The day begins in the steady state, drawn from its distribution: so each car's wait has exactly the
distribution of the formula, with no warm-up to cut off.
"""

import heapq
import math
import random
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager  # noqa: TC003 - named beside what it is made of
from dataclasses import dataclass
from pathlib import Path

from consult.accounts import Account
from consult.needs import Need
from consult.service import Service, ServiceConfig, running_service
from consult.servicestate import ServiceState
from consult.staffing import erlang_c, mean_wait_s
from consult.waitclocks import QueueConfig
from consult.waitingline import WaitingLine
from consult.waitpart import QueuePart, expert_from_account, find_queue
from consult.waitstore import WaitStore

T_99 = {7: 3.499, 9: 3.250, 11: 3.106, 15: 2.947, 19: 2.861, 23: 2.807, 29: 2.756}
"""Student's t for a two-sided interval of 99 %, by degrees of freedom."""

_START_US = 1_800_000_000_000_000
_ANY = Need("normal")


class Clock:
    """The time, moved by the day."""

    def __init__(self) -> None:
        self.us = _START_US

    def __call__(self) -> int:
        return self.us

    def seconds(self) -> float:
        return self.us / 1e6


def staff(count: int) -> list[Account]:
    return [Account(f"expert{n:02d}", on_duty=True, at_once=1) for n in range(count)]


class LostCars(Exception):
    """A restart has lost or changed a car."""


class LineDriver:
    """The line and its table, without the service around them."""

    def __init__(self, path: Path | None, experts: int, clock: Clock) -> None:
        self.path = path
        self.clock = clock
        self.experts = [expert_from_account(one) for one in staff(experts)]
        self._open()

    def _open(self) -> None:
        self.state = ServiceState(self.path)
        self.store = WaitStore(self.state)
        self.line = WaitingLine(QueueConfig(), self.store.open_entries(), next_n=self.store.next_n())
        self.line.busy_us.update(self.store.busy_us())

    def _save(self) -> None:
        self.store.save(self.line.changed.values())
        self.line.changed.clear()

    async def queue(self, room: str) -> None:
        self.line.queue(room, _ANY, self.clock())
        self._save()

    async def end(self, room: str) -> None:
        self.line.end(room, "resolved", self.clock())
        self._save()

    async def pass_time(self) -> None:
        self.line.tick(self.clock(), self.experts)
        self._save()

    async def accept(self, room: str, name: str) -> None:
        expert = next(one for one in self.experts if one.name == name)
        self.line.accept(room, expert, self.clock())
        self.line.find(room, self.clock())
        self._save()

    async def restart(self) -> int:
        before = dict(self.line.entries)
        self.state.close()
        self._open()
        if self.line.entries != before:
            raise LostCars
        return len(before)

    async def close(self) -> None:
        self.state.close()


class ServiceDriver:
    """A whole service, listening: rooms with journals, the audit, notices; stopped and started again in the middle."""

    def __init__(self, folder: Path, experts: int, clock: Clock) -> None:
        self.clock = clock
        self.config = ServiceConfig(data=folder, state=folder / "service.db", clock_s=clock.seconds, now_us=clock)
        with ServiceState(self.config.state) as state:
            for account in staff(experts):
                state.put_account(account)
        self.running: AbstractAsyncContextManager[Service] = running_service(self.config)
        self.service: Service
        self.part: QueuePart

    async def open(self) -> "ServiceDriver":
        self.running = running_service(self.config)
        self.service = await self.running.__aenter__()
        self.part = find_queue(self.service.parts)
        return self

    @property
    def line(self) -> WaitingLine:
        return self.part.line

    async def queue(self, room: str) -> None:
        opened = self.service.open_room(room)
        opened.report = {"vehicle": {}, "cases": {"verdict": "expert"}}
        self.service.let_experts_in(room, True, "technician")
        async with self.part.change() as steps:
            steps.extend(self.part.queue_room(opened))

    async def end(self, room: str) -> None:
        self.service.rooms[room].close("consult.room-closed")
        async with self.part.change() as steps:
            steps.extend(self.part.line.end(room, "resolved", self.clock()))

    async def pass_time(self) -> None:
        await self.part.tend()

    async def accept(self, room: str, name: str) -> None:
        async with self.part.change() as steps:
            await self.part.refresh()
            expert = next(one for one in self.part.on_duty() if one.name == name)
            steps.extend(self.part.line.accept(room, expert, self.clock()))
            # Who accepts points at something at once: a holder who is not there loses the case after a while.
            steps.extend(self.part.line.find(room, self.clock()))

    async def restart(self) -> int:
        before = dict(self.line.entries)
        await self.close()
        await self.open()
        if self.line.entries != before:
            raise LostCars
        return len(before)

    async def close(self) -> None:
        await self.running.__aexit__(None, None, None)


@dataclass
class Day:
    """What a day showed: waits in seconds of those who came in it, and what a restart carried over."""

    waits_s: list[float]
    carried: int

    @property
    def mean_s(self) -> float:
        return sum(self.waits_s) / len(self.waits_s)

    @property
    def waited(self) -> float:
        return sum(wait > 0 for wait in self.waits_s) / len(self.waits_s)


def stationary(rng: random.Random, experts: int, load: float) -> int:
    """How many cars are in the system at a moment: the distribution of M/M/n."""
    below = [load**k / math.factorial(k) for k in range(experts)]
    tail = load**experts / math.factorial(experts) / (1 - load / experts)
    u = rng.random() * (sum(below) + tail)
    for k, weight in enumerate(below):
        if u < weight:
            return k
        u -= weight
    return experts + int(math.log(1 - rng.random()) / math.log(load / experts))


async def run_day(
    driver: LineDriver | ServiceDriver,
    clock: Clock,
    *,
    seed: int,
    cars: int,
    experts: int,
    per_hour: float,
    handling_s: float,
    restart_at: int | None = None,
) -> Day:
    """One day of ``cars`` that come; returns when all of them have been taken."""
    rng = random.Random(seed)
    load = per_hour / 3600 * handling_s
    events: list[tuple[int, int, int | str]] = []
    waits: dict[str, tuple[int, bool]] = {}
    ident = carried = 0
    began_us = clock()

    async def come() -> str:
        nonlocal ident
        ident += 1
        room = f"{seed:04x}{ident:08x}"
        await driver.queue(room)
        return room

    async def serve() -> None:
        """Whoever is asked accepts at once, until nobody is asked any more."""
        while True:
            await driver.pass_time()
            asked = next((one for one in driver.line.waiting() if one.offers), None)
            if asked is None:
                return
            await driver.accept(asked.room, asked.offers[0].name)
            if asked.room in waits:
                waits[asked.room] = (clock() - waits[asked.room][0], True)
            heapq.heappush(events, (clock() + round(rng.expovariate(1 / handling_s) * 1e6), 1, asked.room))

    for _ in range(stationary(rng, experts, load)):
        await come()
    await serve()
    t_us = float(began_us)
    for n in range(cars):
        t_us += rng.expovariate(per_hour / 3600) * 1e6
        heapq.heappush(events, (round(t_us), 0, n))
    while not (len(waits) == cars and all(done for _, done in waits.values())):
        clock.us, kind, what = heapq.heappop(events)
        if kind == 1:
            await driver.end(str(what))
        else:
            if what == restart_at:
                await driver.pass_time()  # else what the clock brings just now would look like a change
                carried = await driver.restart()
            room = await come()
            waits[room] = (clock(), False)
        await serve()
    return Day([us / 1e6 for us, _ in waits.values()], carried)


def plain_day(*, seed: int, cars: int, experts: int, per_hour: float, handling_s: float) -> list[float]:
    """The waits of the same day, in seconds, by nothing but the rule: first come, first served.

    Shares no code with the queue; it draws the same random numbers in the same order.
    """
    rng = random.Random(seed)
    here = stationary(rng, experts, per_hour / 3600 * handling_s)
    served = min(here, experts)
    free = [rng.expovariate(1 / handling_s) for _ in range(served)] + [0.0] * (experts - served)
    heapq.heapify(free)
    arrivals, t = [], 0.0
    for _ in range(cars):
        t += rng.expovariate(per_hour / 3600)
        arrivals.append(t)
    waits = []
    for t in [0.0] * (here - served) + arrivals:
        begins = max(heapq.heappop(free), t)
        waits.append(begins - t)
        heapq.heappush(free, begins + rng.expovariate(1 / handling_s))
    return waits[here - served :]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean of independent days, and half the width of its interval of 99 %."""
    n = len(values)
    mean = sum(values) / n
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
    return mean, T_99[n - 1] * spread / math.sqrt(n)


def formula(experts: int, per_hour: float, handling_s: float) -> tuple[float, float]:
    """Erlang C: mean wait in seconds, share that waits."""
    load = per_hour / 3600 * handling_s
    return mean_wait_s(experts, load, handling_s), erlang_c(experts, load)
