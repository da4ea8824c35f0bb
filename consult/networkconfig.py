"""What the owner of a service chooses for its network of workshops: the table ``[network]``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["SHOWN", "NetworkConfig"]

SHOWN: Final = ("name", "region", "none")
"""What one workshop learns of where another visit was."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """How the network's memory works.

    Args:
        on: False: workshops cannot join, and nothing is remembered of cars.
        library: file of the service's own case library; a relative one stands beside the service's database.
        shows: one of :data:`SHOWN`.
        visit_days: how long a visit is remembered. ticket_days: how long a workshop may tell what became of a car.
        lookups_hour, lookups_day: cars that one workshop may ask for.
        counts_mb: largest document of counts.
    """

    on: bool = True
    library: str = "cases.db"
    shows: str = "region"
    visit_days: int = 1095
    ticket_days: int = 180
    lookups_hour: int = 60
    lookups_day: int = 300
    counts_mb: int = 8
