"""The queue as JSON: for an account, and for the people of a room whose car waits. Reads, changes nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from consult.accounts import AccountRole
from consult.waitclocks import CLOCKS, clock_faces
from consult.waitingline import STAGES
from consult.waitstatistics import clock_statistics, durations_s, handling_s, hourly_staffing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consult.accounts import Account
    from consult.routing import Expert
    from consult.waitclocks import QueueConfig
    from consult.waitingline import Entry
    from consult.waitpart import QueuePart

__all__ = ["QueueFigures", "estimate_s", "figures_json", "line_json", "local_hour", "place_json", "queue_json"]

_SEES_ALL: Final = (AccountRole.LEAD, AccountRole.AUDITOR, AccountRole.ADMIN)


def local_hour(t_us: int) -> int:
    """The hour of the day where the service runs."""
    return time.localtime(t_us / 1e6).tm_hour


@dataclass(frozen=True, slots=True)
class QueueFigures:
    """What the entries of a window say.

    Args:
        now_us: when they were counted.
        answer_s: mean seconds until cars were accepted; None without one.
        handling_s: mean seconds from accepted to ended; likewise.
        told: ``since_us stats targets_s staffing``, as accounts read it.
    """

    now_us: int
    answer_s: float | None
    handling_s: float | None
    told: dict[str, Any]

    @classmethod
    def of(cls, entries: Sequence[Entry], config: QueueConfig, since_us: int, now_us: int) -> Self:
        """Counts; takes a while for many entries."""
        waits = durations_s(entries, "accept")
        answer = sum(waits) / len(waits) if waits else None
        return cls(now_us, answer, handling_s(entries), figures_json(entries, config, since_us, now_us))


def estimate_s(place: int, on_duty: Sequence[Expert], figures: QueueFigures) -> float | None:
    """About how long the car at a place (from 1) waits still; None where nothing is known that it could be told from.

    Where as many cases can be taken as stand before it, that is as long as experts took to accept of late; else one
    case after the other has to end, by all hands that there are.
    """
    hands = sum(one.at_once for one in on_duty)
    free = sum(max(0, one.at_once - one.load) for one in on_duty)
    if not hands:
        return None
    if place <= free:
        return figures.answer_s
    return None if figures.handling_s is None else (place - free) * figures.handling_s / hands


def place_json(part: QueuePart, ident: str, figures: QueueFigures) -> dict[str, Any]:
    """Where a car is: what its technician's terminal and page show. Clocks as in :func:`_clocks`."""
    entry = part.line.entries.get(ident)
    told: dict[str, Any] = {
        "state": "none",
        "can_escalate": bool(part.accounts),
        "place": None,
        "estimate_s": None,
        "on_duty": len(part.on_duty()),
        "severity": None,
        "expert": "",
        "clocks": {},
        "now_us": part.service.config.now_us(),
    }
    room = part.service.entries.get(ident)
    if entry is None or room is None or not room.lets_experts_in:  # taken back; the line hears of it with the next beat
        return told
    told |= {"state": entry.state, "severity": entry.need.severity, "clocks": _clocks(entry, part.service.config.queue)}
    if entry.is_waiting:
        place = [one.room for one in part.line.waiting()].index(ident) + 1
        estimate = estimate_s(place, part.line.with_load(part.on_duty()), figures)
        told |= {"place": place, "estimate_s": None if estimate is None else round(estimate, 1)}
    elif holder := part.accounts.get(entry.holder):
        told["expert"] = holder.shown_name
    return told


def queue_json(
    part: QueuePart, account: Account, figures: QueueFigures, may_know: Callable[[str], bool] = lambda _: True
) -> dict[str, Any]:
    """The queue as an account may see it.

    Whoever is asked in turn sees what is offered to them and what is open to everybody; of the other cars that these
    wait, not which rooms they are. Leads, auditors and administrators see the whole line. A car for whose room
    ``may_know`` is false is in no list; it keeps its place in the count.
    """
    line = part.line
    waiting = [(place, one) for place, one in enumerate(line.waiting(), 1) if may_know(one.room)]
    taken = [one for one in line.entries.values() if not one.is_waiting and may_know(one.room)]
    return {
        "now_us": part.service.config.now_us(),
        "on_duty": len(part.on_duty()),
        "offers": [_offer_json(part, entry, account) for _, entry in waiting if _is_for(entry, account)],
        "waiting": [_seen(part, entry, account, place) for place, entry in waiting],
        "taken": [_seen(part, entry, account) for entry in taken if account.role in _SEES_ALL],
        "mine": [_seen(part, entry, account) for entry in line.held_by(account.name) if may_know(entry.room)],
        **figures.told,
    }


def figures_json(recent: Sequence[Entry], config: QueueConfig, since_us: int, now_us: int) -> dict[str, Any]:
    """``stats`` per clock, and the ``staffing`` that Erlang C asks for: now, and per hour of the day.

    ``staffing`` is None as long as no case has ended.
    """
    handling = handling_s(recent)
    staffing: dict[str, Any] | None = None
    if handling is not None:
        first_us = min((one.queued_us for one in recent), default=now_us)
        try:
            hours = hourly_staffing(recent, max(since_us, first_us), now_us, handling, config, hour_of=local_hour)
        except ValueError:
            hours = []  # more cars than anybody can staff for: test data, or a clock that jumped
        if hours:
            staffing = {**hours[local_hour(now_us)].to_json(), "by_hour": [one.agents for one in hours]}
    return {
        "since_us": since_us,
        "stats": clock_statistics(recent, config),
        "targets_s": {clock: config.target_s(clock, "normal") for clock in CLOCKS}
        | {"danger_accept": config.danger_accept_s},
        "staffing": staffing,
    }


def _is_for(entry: Entry, account: Account) -> bool:
    if account.role not in (AccountRole.EXPERT, AccountRole.LEAD):
        return False
    if entry.offer_to(account.name) is not None:
        return True
    return entry.stage == STAGES[-1] and account.on_duty and account.name not in entry.asked


def _clocks(entry: Entry, config: QueueConfig) -> dict[str, Any]:
    """``{clock: {"begin_us", "end_us", "target_s"}}`` of those that have begun."""
    return {
        face.clock: {"begin_us": face.begin_us, "end_us": face.end_us, "target_s": face.target_s}
        for face in clock_faces(entry, config)
    }


def _need_json(entry: Entry, config: QueueConfig) -> dict[str, Any]:
    return {
        "severity": entry.need.severity,
        "dangers": list(entry.need.dangers),
        "skills": list(entry.need.skills),
        "make": entry.need.make,
        "model": entry.need.model,
        "language": entry.need.language,
        "region": entry.need.region,
        "verdict": entry.need.verdict,
        "since_us": entry.queued_us,
        "state": entry.state,
        "clocks": _clocks(entry, config),
    }


def _offer_json(part: QueuePart, entry: Entry, account: Account) -> dict[str, Any]:
    offer = entry.offer_to(account.name)
    room = part.service.rooms.get(entry.room)
    return {
        "room": entry.room,
        "path": f"/r/{entry.room}",
        **_need_json(entry, part.service.config.queue),
        "simulated": room is not None and room.report.get("simulated") is True,
        "until_us": offer.until_us if offer is not None else 0,
        "because": list(offer.because) if offer is not None else [],
    }


def line_json(
    entry: Entry, config: QueueConfig, *, place: int | None = None, holder: str = "", shows_room: bool = True
) -> dict[str, Any]:
    """One car of the line. ``place``: from 1; None when somebody has it, whom ``holder`` names as others read it."""
    told = _need_json(entry, config)
    return {"room": entry.room if shows_room else None, **told, "place": place, "holder": holder}


def _seen(part: QueuePart, entry: Entry, account: Account, place: int | None = None) -> dict[str, Any]:
    may_know = account.role in _SEES_ALL or entry.holder == account.name or _is_for(entry, account)
    holder = part.accounts.get(entry.holder)
    name = (holder.shown_name if holder else entry.holder) if may_know else ""
    return line_json(entry, part.service.config.queue, place=place, holder=name, shows_room=may_know)
