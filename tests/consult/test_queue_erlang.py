"""A simulated day through the queue: cars wait as long as Erlang's formula says, and a restart loses none of them."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from queueday import Clock, LineDriver, ServiceDriver, formula, interval, plain_day, run_day

CARS, EXPERTS, PER_HOUR, HANDLING_S = 120, 3, 6.0, 1200.0


async def days_of(count):
    days = []
    for seed in range(1, count + 1):
        clock = Clock()
        driver = LineDriver(None, EXPERTS, clock)
        try:
            days.append(
                await run_day(
                    driver, clock, seed=seed, cars=CARS, experts=EXPERTS, per_hour=PER_HOUR, handling_s=HANDLING_S
                )
            )
        finally:
            await driver.close()
    return days


async def test_cars_wait_as_long_as_erlang_says():
    days = await days_of(24)
    for seed, day in enumerate(days, 1):
        plain = plain_day(seed=seed, cars=CARS, experts=EXPERTS, per_hour=PER_HOUR, handling_s=HANDLING_S)
        assert day.waits_s == pytest.approx(plain, abs=0.01), "the queue serves as the rule says, car by car"
    wait, waited = formula(EXPERTS, PER_HOUR, HANDLING_S)
    assert (round(wait), round(waited, 3)) == (533, 0.444)
    for values, wanted in (([day.mean_s for day in days], wait), ([day.waited for day in days], waited)):
        mean, half = interval(values)
        assert mean == pytest.approx(wanted, abs=half)
    # The interval is narrow enough to tell: with one expert more or 20 % more cars the formula says something else.
    mean, half = interval([day.mean_s for day in days])
    for experts, per_hour in ((EXPERTS + 1, PER_HOUR), (EXPERTS, PER_HOUR * 1.2)):
        assert abs(mean - formula(experts, per_hour, HANDLING_S)[0]) > half


@pytest.mark.parametrize("with_service", [False, True])
async def test_a_restart_in_the_middle_of_the_day_changes_nothing(tmp_path, with_service):
    """The same day with and without a restart: every car is taken at the same moment."""
    found = []
    for name, restart_at in (("plain", None), ("again", 15)):
        clock, folder = Clock(), tmp_path / name
        if with_service:
            driver = await ServiceDriver(folder, 2, clock).open()
        else:
            folder.mkdir()
            driver = LineDriver(folder / "service.db", 2, clock)
        try:
            found.append(
                await run_day(
                    driver, clock, seed=5, cars=30, experts=2, per_hour=5.0, handling_s=1200.0, restart_at=restart_at
                )
            )
        finally:
            await driver.close()
    plain, again = found
    assert again.carried > 2, "some are taken and some wait"
    assert again.waits_s == plain.waits_s
