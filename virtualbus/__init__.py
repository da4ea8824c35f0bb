"""The car that is not there: ECUs, battery physics, faults, adapter front ends.

with virtualbus.running("weak-cell") as car:
    bus = can.Bus(interface=car.interface, channel=car.channel)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from virtualbus.runner import RunningCar
    from virtualbus.scenario import Scenario

__all__ = ["running", "scenarios"]


def running(
    scenario: str | Path | Scenario = "healthy", *, seed: int | None = None
) -> AbstractContextManager[RunningCar]:
    """A simulated car on a python-can ``virtual`` bus; see :func:`virtualbus.runner.running`."""
    from virtualbus.runner import running as start

    return start(scenario, seed=seed)


def scenarios() -> tuple[str, ...]:
    """Names of the built-in scenarios, the sound car first."""
    from virtualbus.scenario import scenario_names

    return scenario_names()
