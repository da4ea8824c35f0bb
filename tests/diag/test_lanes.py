"""Who may ask now: order, exclusion, and what a cancelled waiter leaves behind."""

from __future__ import annotations

import asyncio

from diag.lanes import Lanes


class Street:
    """Workers that note when they are let in, and leave when told."""

    def __init__(self):
        self.lanes, self.inside, self.gates = Lanes(), [], {}

    async def work(self, name, key):
        gate = self.gates[name] = asyncio.Event()
        async with self.lanes.turn(key):
            self.inside.append(name)
            await gate.wait()

    async def come(self, name, key):
        task = asyncio.ensure_future(self.work(name, key))
        await self.rest()
        return task

    async def rest(self):
        for _ in range(5):
            await asyncio.sleep(0)


async def test_first_come_first_served_as_far_as_they_are_in_each_others_way():
    street = Street()
    tasks = [await street.come(*who) for who in (("a", 1), ("a2", 1), ("b", 2), ("all", None), ("c", 3), ("b2", 2))]
    assert street.inside == ["a", "b"]
    for name, inside in (("a", "a b a2"), ("b", "a b a2"), ("a2", "a b a2 all"), ("all", "a b a2 all c b2")):
        street.gates[name].set()
        await street.rest()
        assert street.inside == inside.split()
    street.gates["c"].set()
    street.gates["b2"].set()
    await asyncio.gather(*tasks)
    assert street.lanes.is_idle


async def test_a_waiter_that_gives_up_is_in_nobodys_way():
    street = Street()
    first = await street.come("a", 1)
    every = await street.come("all", None)
    later = await street.come("b", 2)
    every.cancel()
    await street.rest()
    assert street.inside == ["a", "b"]
    for name in ("a", "b"):
        street.gates[name].set()
    await asyncio.gather(first, later)
    assert street.lanes.is_idle


async def test_a_waiter_cancelled_in_the_moment_it_is_let_in_frees_the_lane():
    street = Street()
    first, second, third = [await street.come(name, 1) for name in ("a", "b", "c")]
    street.gates["a"].set()
    await asyncio.wait([first])  # the second was let in and has not run yet, or has just begun
    second.cancel()
    street.gates["c"].set()
    await asyncio.wait_for(third, 10)
    assert street.lanes.is_idle
