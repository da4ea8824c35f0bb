"""The clocks of a car that waits: how long each step may take, and when somebody has to be told. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consult.waitingline import Entry

__all__ = ["CLOCKS", "WARN_AT", "ClockFace", "QueueConfig", "clock_faces"]

CLOCKS: Final = ("accept", "finding", "resolve")
"""Queued to accepted · accepted to the expert's first finding · accepted to the end."""

WARN_AT: Final = 0.8


@dataclass(frozen=True, slots=True)
class QueueConfig:
    """Targets in seconds, and how experts are asked.

    Args:
        accept_s: queued to accepted; danger_accept_s: the same where there is danger.
        finding_s: accepted to the first finding. resolve_s: accepted to resolved.
        offer_s: how long one expert is asked before the next.
        asked: experts who are asked one after the other before the leads are.
        danger_asked: experts who are asked at the same time where there is danger.
        share: of the cars that should be accepted within ``accept_s``, for the staffing.
        days: of the statistics.
    """

    accept_s: int = 300
    danger_accept_s: int = 60
    finding_s: int = 900
    resolve_s: int = 7200
    offer_s: int = 60
    asked: int = 3
    danger_asked: int = 3
    share: float = 0.8
    days: int = 30

    def target_s(self, clock: str, severity: str) -> int:
        """What a clock of :data:`CLOCKS` may take."""
        if clock == "accept":
            return self.danger_accept_s if severity == "danger" else self.accept_s
        return self.finding_s if clock == "finding" else self.resolve_s


@dataclass(frozen=True, slots=True)
class ClockFace:
    """One clock of one car. ``end_us``: when it stopped; None while it runs."""

    clock: str
    begin_us: int
    end_us: int | None
    target_s: int

    @property
    def warn_us(self) -> int:
        """When it has run through four fifths of its time."""
        return self.begin_us + round(self.target_s * WARN_AT * 1_000_000)

    @property
    def due_us(self) -> int:
        """When its time is over."""
        return self.begin_us + self.target_s * 1_000_000


def clock_faces(entry: Entry, config: QueueConfig) -> Iterator[ClockFace]:
    """The clocks of a car that have begun."""
    severity = entry.need.severity
    yield ClockFace("accept", entry.since_us, entry.accepted_us or entry.ended_us, config.target_s("accept", severity))
    if entry.accepted_us is not None:
        end_us = entry.finding_us or entry.ended_us
        yield ClockFace("finding", entry.accepted_us, end_us, config.target_s("finding", severity))
        yield ClockFace("resolve", entry.accepted_us, entry.ended_us, config.target_s("resolve", severity))
