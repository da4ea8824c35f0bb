"""Figures of the service for Prometheus.

Standard: Prometheus text exposition format 0.0.4.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consult.room import Room

__all__ = ["CONTENT_TYPE", "Histogram", "Metrics", "journal_lag"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_BOUNDS_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(slots=True)
class Histogram:
    """Counts of values up to each bound, and beyond."""

    bounds: tuple[float, ...] = _BOUNDS_S
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """One more value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def lines(self, name: str) -> Iterable[str]:
        """The series of this histogram."""
        below = 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            below += count
            yield f'{name}_bucket{{le="{bound}"}} {below}'
        yield f"{name}_sum {self.total!r}"
        yield f"{name}_count {below}"


@dataclass(slots=True)
class Metrics:
    """What the service counts of itself. Names of people, rooms or cars are never among the labels."""

    requests: dict[int, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    logins: int = 0
    logins_refused: int = 0
    invites_redeemed: int = 0
    journal_failures: int = 0
    ended_dropped: int = 0
    ended_blocks: int = 0
    ended_bytes: int = 0
    journal_write_s: Histogram = field(default_factory=Histogram)

    def count_request(self, status: int) -> None:
        """An HTTP request was answered."""
        self.requests[status] = self.requests.get(status, 0) + 1

    def count_refused(self, code: str) -> None:
        """Something was refused with an error's code."""
        self.refused[code] = self.refused.get(code, 0) + 1

    def text(self, rooms: Iterable[Room], *, sockets: int, accounts: int, on_duty: int) -> str:
        """Everything, as a scraper reads it."""
        rooms = list(rooms)
        members = [member for room in rooms for member in room.members.values()]
        lag = max((journal_lag(room) for room in rooms), default=0)
        gauges = (
            ("huizhen_rooms", "Rooms that are open", len(rooms)),
            (
                "huizhen_rooms_with_car",
                "Rooms with their laptop",
                sum(room.agent is not None for room in rooms),
            ),
            ("huizhen_members", "People in rooms", len(members)),
            (
                "huizhen_members_rtc",
                "People served live over WebRTC",
                sum(one.edge is not None for one in members),
            ),
            ("huizhen_sockets", "Open websockets", sockets),
            ("huizhen_accounts", "Accounts", accounts),
            ("huizhen_accounts_on_duty", "Accounts on duty", on_duty),
            ("huizhen_journal_lag_blocks", "Blocks that wait for the journal, in the room with most", lag),
        )
        counters = (
            (
                "huizhen_blocks_in_total",
                "Blocks taken in",
                sum(room.blocks_in for room in rooms) + self.ended_blocks,
            ),
            ("huizhen_bytes_in_total", "Bytes of them", sum(room.bytes_in for room in rooms) + self.ended_bytes),
            (
                "huizhen_blocks_dropped_total",
                "Live blocks not sent to viewers who lag; they fill them later",
                sum(one.outbox.dropped for one in members)
                + sum(room.blocks_dropped for room in rooms)
                + self.ended_dropped,
            ),
            ("huizhen_logins_total", "Sign-ins with an account", self.logins),
            ("huizhen_logins_refused_total", "Sign-ins refused", self.logins_refused),
            ("huizhen_invites_redeemed_total", "Invites that became sessions", self.invites_redeemed),
            ("huizhen_journal_failures_total", "Batches that a journal did not take", self.journal_failures),
        )
        lines: list[str] = []
        for kind, figures in (("gauge", gauges), ("counter", counters)):
            for name, what, value in figures:
                lines += [f"# HELP {name} {what}", f"# TYPE {name} {kind}", f"{name} {value}"]
        lines += ["# HELP huizhen_requests_total HTTP requests by status", "# TYPE huizhen_requests_total counter"]
        lines += [f'huizhen_requests_total{{status="{status}"}} {n}' for status, n in sorted(self.requests.items())]
        lines += ["# HELP huizhen_refused_total Requests refused, by error", "# TYPE huizhen_refused_total counter"]
        lines += [f'huizhen_refused_total{{code="{code}"}} {n}' for code, n in sorted(self.refused.items())]
        name = "huizhen_journal_write_seconds"
        lines += [f"# HELP {name} Time to commit a batch to a room's journal", f"# TYPE {name} histogram"]
        lines += self.journal_write_s.lines(name)
        return "\n".join(lines) + "\n"

    def room_ended(self, room: Room) -> None:
        """A room is forgotten; its figures stay in the totals."""
        self.ended_blocks += room.blocks_in
        self.ended_bytes += room.bytes_in
        self.ended_dropped += room.blocks_dropped


def journal_lag(room: Room) -> int:
    """Blocks taken in and not yet in the journal, of the stream with most."""
    return max((ring.next - room.durable.get(stream, 0) for stream, ring in room.rings.items()), default=0)
