"""How many experts a queue needs: Erlang's formula for calls that wait. Pure.

Sources: A. K. Erlang, "Solution of some Problems in the Theory of Probabilities of Significance in Automatic Telephone
Exchanges" (1917), second formula; ITU-D SG 2, Teletraffic Engineering Handbook, chapter 12 (M/M/n). Cars come
independently of each other (Poisson), handling times are exponential, all experts can do everything, nobody gives up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

__all__ = ["MOST_AGENTS", "Staffing", "agents_needed", "erlang_c", "mean_wait_s", "service_level", "staffing_for"]

MOST_AGENTS: Final = 10_000


def erlang_c(agents: int, load: float) -> float:
    """The share of cars that wait at all, P(W > 0).

    By Erlang's B recursion, which neither overflows nor loses digits: ``B(0) = 1``, ``B(n) = a·B / (n + a·B)``, and
    ``C = B / (1 - (a/n)·(1 - B))``.

    Args:
        agents: experts at work, from 1.
        load: offered traffic in erlang: arrivals per second times the mean handling time.

    Returns:
        From 0 to 1; 1 where the load is not less than the agents can bear.

    Raises:
        ValueError: fewer than one agent, or a load that is none.
    """
    if agents < 1 or not 0 <= load < math.inf:
        raise ValueError((agents, load))
    if load >= agents:
        return 1.0
    blocked = 1.0
    for n in range(1, agents + 1):
        blocked = load * blocked / (n + load * blocked)
    return blocked / (1 - load / agents * (1 - blocked))


def mean_wait_s(agents: int, load: float, handling_s: float) -> float:
    """Mean wait of all cars in seconds (average speed of answer): ``C · h / (n - a)``; infinite for too much load."""
    return math.inf if load >= agents else erlang_c(agents, load) * handling_s / (agents - load)


def service_level(agents: int, load: float, handling_s: float, within_s: float) -> float:
    """The share of cars that wait no longer than ``within_s``: ``1 - C · exp(-(n - a)·t/h)``."""
    if load >= agents:
        return 0.0
    return 1 - erlang_c(agents, load) * math.exp(-(agents - load) * within_s / handling_s)


def agents_needed(load: float, handling_s: float, *, share: float, within_s: float) -> int:
    """The fewest experts with whom at least ``share`` of the cars wait no longer than ``within_s``.

    Raises:
        ValueError: more than :data:`MOST_AGENTS` would be needed.
    """
    for agents in range(math.floor(load) + 1, MOST_AGENTS + 1):
        if service_level(agents, load, handling_s, within_s) >= share:
            return agents
    raise ValueError(load)


@dataclass(frozen=True, slots=True)
class Staffing:
    """What Erlang C asks for.

    Args:
        arrivals_per_hour, handling_s: what it is reckoned from.
        load: erlang.
        agents: the fewest that reach the target; 0 where no car comes.
        waits: P(W > 0) with so many. mean_wait_s: of all cars. level: share within the target.
        share, within_s: the target.
    """

    arrivals_per_hour: float
    handling_s: float
    load: float
    agents: int
    waits: float
    mean_wait_s: float
    level: float
    share: float
    within_s: float

    def to_json(self) -> dict[str, float | int]:
        """Rounded as people and pages want it."""
        return {
            "arrivals_per_hour": round(self.arrivals_per_hour, 3),
            "handling_s": round(self.handling_s, 1),
            "load_erlang": round(self.load, 4),
            "agents": self.agents,
            "waits": round(self.waits, 4),
            "mean_wait_s": round(self.mean_wait_s, 1),
            "service_level": round(self.level, 4),
            "target_share": self.share,
            "target_s": self.within_s,
        }


def staffing_for(
    arrivals_per_hour: float, handling_s: float, *, share: float = 0.8, within_s: float = 300.0
) -> Staffing:
    """What is needed for so many cars an hour.

    Raises:
        ValueError: a number below zero, or more than can be staffed.
    """
    if arrivals_per_hour < 0 or handling_s < 0 or not 0 < share < 1 or within_s < 0:
        raise ValueError((arrivals_per_hour, handling_s, share, within_s))
    load = arrivals_per_hour / 3600 * handling_s
    if load == 0:
        return Staffing(arrivals_per_hour, handling_s, 0.0, 0, 0.0, 0.0, 1.0, share, within_s)
    agents = agents_needed(load, handling_s, share=share, within_s=within_s)
    return Staffing(
        arrivals_per_hour,
        handling_s,
        load,
        agents,
        erlang_c(agents, load),
        mean_wait_s(agents, load, handling_s),
        service_level(agents, load, handling_s, within_s),
        share,
        within_s,
    )
