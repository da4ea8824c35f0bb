"""A recorded room played again for one page: what it hears at which moment. No sockets and no clock here.

The page hears what it heard in the room: the car, events, blocks, beats, in the order of their times, at any speed,
from any time on. ``docs/room-record.md`` describes the messages that only a replay has.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Any, Final

from consult.errors import ReplayOnly
from consult.messages import Ping, Play, Pong, Refused, Want, encode_message
from consult.redaction import pseudonym_from_vin, redact_event, redact_report, vins_of_report

if TYPE_CHECKING:
    from consult.invites import Role
    from consult.messages import Message
    from consult.recording import Recording

__all__ = ["MAX_SPEED", "MIN_SPEED", "Playback"]

MIN_SPEED: Final = 0.1
MAX_SPEED: Final = 100.0
_BEFORE_US: Final = 120_000_000
"""A page that jumps gets the two minutes before, as one that comes late into a room."""

_STEP_BLOCKS: Final = 400
_BEAT_S: Final = 0.5
_MAX_WANT: Final = 1_024


class Playback:
    """One page's way through a recording.

    Args:
        recording: stays open as long as this is used.
        room: the room's name in the page's address.
        role: of the page's session; one that may not see the VIN sees neither it nor raw frames.
        person, name: of the session.
        speed: recorded seconds per second.
        now_s: seconds that only grow, as in every method.

    Raises:
        RecordingBroken: by every method, when the file cannot be read.
    """

    def __init__(
        self, recording: Recording, *, room: str, role: Role, person: int, name: str, speed: float, now_s: float
    ) -> None:
        self._recording = recording
        self._room = room
        self._role = role
        self._you = {"id": person, "role": role.value, "name": name}
        self._spans = {(span.stream, span.epoch): span for span in recording.spans()}
        shift = recording.event_shift_us()
        self._reports = [(t_us - shift, body) for t_us, body in recording.documents("report")]
        self._epochs = self._starts_of_epochs(shift)
        self._events = [{"body": {}, **event} for event in recording.events()]
        if not role.may_see_vin:
            vins = {vin for _, report in self._reports for vin in vins_of_report(report)}
            self._events = [redact_event(event, vins) for event in self._events]
        # An event is due when those before it are: the order of the room, even where a clock was set back.
        self._due = list(accumulate((event["t_us"] - shift for event in self._events), max))
        self._chain = {"n": recording.head[0], "hash": recording.head[1].hex()[:16]}
        self.from_us, self.to_us = recording.bounds()
        self._changes = sorted({at for at, _ in self._epochs} | {at for at, _ in self._reports})
        self._speed = speed
        self._base_us, self._base_s = self.from_us, now_s
        self._told_us = self.from_us - 1
        self._ready_us = self.from_us
        self._events_told = self._changes_told = 0
        self._next: dict[int, int] = {}
        self._beat_s = now_s

    def _starts_of_epochs(self, shift: int) -> list[tuple[int, int]]:
        """``(t_us, epoch)``: by the laptop's clock where there are blocks, else by the service's."""
        announced = {body["epoch"]: t_us - shift for t_us, body in self._recording.documents("schemas")}
        for span in self._spans.values():
            if not span.is_empty:
                first = min(one.from_us for one in self._spans.values() if one.epoch == span.epoch and not one.is_empty)
                announced[span.epoch] = first
        return sorted((t_us, epoch) for epoch, t_us in announced.items())

    # -- what the page hears -----------------------------------------------------------------------------------------

    def begin(self, now_s: float) -> list[str | bytes]:
        """The first words to a page."""
        self._base_s = now_s
        self._events_told = bisect_right(self._due, self.from_us)
        welcome = {
            "type": "welcome",
            "you": self._you,
            "room": self._room,
            "now_us": self.from_us,
            "events": self._events[: self._events_told],
            "replay": {
                "from_us": self.from_us,
                "to_us": self.to_us,
                "at_us": self.from_us,
                "speed": self._speed,
            },
        }
        return [_json(welcome), self._car(self.from_us), self._people()]

    def take(self, message: Message, now_s: float) -> list[str | bytes]:
        """The answer to something that the page said."""
        match message:
            case Play(speed=speed, t_us=t_us):
                return self._play(speed, t_us, now_s)
            case Want() as want:
                return self._fill(want, now_s)
            case Ping(t_us=t_us):
                return [encode_message(Pong(t_us=t_us, now_us=self.at_us(now_s)))]
            case _ if message.type in ("line", "view", "live", "rtc"):
                return []  # of interest to others in a room only, and there are none
            case _:
                return [encode_message(Refused(code=ReplayOnly.code, id=getattr(message, "id", "")))]

    def step(self, now_s: float) -> list[str | bytes]:
        """What is due now and was not told yet; at most some hundred blocks, so that time waits for a slow page."""
        out: list[str | bytes] = []
        preparing = self._told_us < self._ready_us
        goal = self._ready_us if preparing else self.at_us(now_s)
        out += self._advance(goal)
        if self._told_us < goal or preparing:
            self._rebase(self._ready_us if preparing else self._told_us, now_s)
        if preparing and self._told_us >= self._ready_us:
            out.append(self._clock(now_s))
        if self._told_us >= self.to_us and self._speed:
            self._speed = 0.0
            self._rebase(self.to_us, now_s)
            out.append(self._clock(now_s))
        if now_s >= self._beat_s:
            self._beat_s = now_s + _BEAT_S
            out += [self._beat(now_s), *([self._clock(now_s)] if self._speed else [])]
        return out

    def at_us(self, now_s: float) -> int:
        """The recording's time."""
        return min(self._base_us + round((now_s - self._base_s) * self._speed * 1e6), self.to_us)

    # -- how it moves ------------------------------------------------------------------------------------------------

    def _rebase(self, at_us: int, now_s: float) -> None:
        self._base_us, self._base_s = at_us, now_s

    def _play(self, speed: float, t_us: int, now_s: float) -> list[str | bytes]:
        at_us = self.at_us(now_s)
        self._speed = min(max(speed, MIN_SPEED), MAX_SPEED) if speed else 0.0
        if not t_us:
            self._rebase(at_us, now_s)
            return [self._clock(now_s)]
        at_us = min(max(t_us, self.from_us), self.to_us)
        self._rebase(at_us, now_s)
        start_us = max(self.from_us, at_us - _BEFORE_US)
        self._told_us, self._ready_us = start_us - 1, at_us
        self._events_told = bisect_right(self._due, at_us)
        told = [_json(event) for event in self._events[: self._events_told]]
        return [self._clock(now_s, reset=True), self._car(start_us), *told, self._people()]

    def _advance(self, goal_us: int) -> list[str | bytes]:
        """Blocks, events and changes of the car behind what was told, up to a time or some hundred blocks."""
        out: list[str | bytes] = []
        left = _STEP_BLOCKS
        while self._told_us < goal_us and left > 0:
            place = bisect_right(self._changes, self._told_us + 1)
            if place != self._changes_told:
                out.append(self._car(self._told_us + 1))
            stop_us = min(goal_us, self._changes[place] - 1 if place < len(self._changes) else goal_us)
            blocks, until_us = self._recording.blocks_after(self._told_us, stop_us, left)
            for stream, epoch, seq, _, data in blocks:
                if self._may_see(stream, epoch):
                    out.append(data)
                    self._next[stream] = max(self._next.get(stream, 0), seq + 1)
            left -= len(blocks)
            self._told_us = until_us
            out += self._events_until(until_us)
        return out

    def _events_until(self, t_us: int) -> list[str | bytes]:
        due = bisect_right(self._due, t_us)
        fresh = self._events[self._events_told : due]
        self._events_told = max(self._events_told, due)
        people = [self._people()] if any(event["kind"] in _COMING_AND_GOING for event in fresh) else []
        return [*map(_json, fresh), *people]

    def _fill(self, want: Want, now_s: float) -> list[str | bytes]:
        numbers = range(want.first, min(want.last, want.first + _MAX_WANT - 1) + 1)
        found: list[tuple[int, bytes]] = []
        if numbers and self._may_see(want.stream, want.epoch):
            until_us = max(self._told_us, self.at_us(now_s))
            found = self._recording.blocks_numbered(want.stream, want.epoch, numbers[0], numbers[-1], until_us)
        there = {seq for seq, _ in found}
        missing = [seq for seq in numbers if seq not in there]
        out: list[str | bytes] = [data for _, data in found]
        if missing:
            runs = [list(run) for _, run in groupby(enumerate(missing), key=lambda pair: pair[1] - pair[0])]
            ranges = [[run[0][1], run[-1][1]] for run in runs]
            out.append(_json({"type": "gone", "stream": want.stream, "epoch": want.epoch, "ranges": ranges}))
        return out

    # -- its words ---------------------------------------------------------------------------------------------------

    def _may_see(self, stream: int, epoch: int) -> bool:
        span = self._spans.get((stream, epoch))
        return span is not None and (span.kind != "raw" or self._role.may_see_vin)

    def _epoch_at(self, t_us: int) -> int | None:
        """The epoch of a time; the first one before all, so that a page has its columns from the beginning."""
        place = bisect_right([at for at, _ in self._epochs], t_us)
        return self._epochs[max(0, place - 1)][1] if self._epochs else None

    def _car(self, t_us: int) -> str:
        """The car as it was known at a time."""
        place = bisect_right([at for at, _ in self._reports], t_us)
        report = self._reports[max(0, place - 1)][1] if self._reports else {}
        epoch = self._epoch_at(t_us)
        self._changes_told = bisect_right(self._changes, t_us)
        self._next = {}
        streams = []
        for (stream, of), span in sorted(self._spans.items()):
            if of == epoch and self._may_see(stream, of):
                self._next[stream] = first = self._recording.number_at(span, t_us)
                streams.append({**span.schema, "epoch": of, "first": first, "next": first})
        vin = report.get("vehicle", {}).get("vin") if isinstance(report.get("vehicle"), dict) else None
        sees = self._role.may_see_vin
        label = "" if not vin or not vins_of_report(report) else (vin if sees else pseudonym_from_vin(vin))
        shown = report if sees else redact_report(report)
        return _json({"type": "car", "report": shown, "streams": streams, "vin": label})

    def _people(self) -> str:
        here: dict[int, dict[str, Any]] = {}
        for event in self._events[: self._events_told]:
            if event["kind"] in ("join", "online"):
                here[event["who"]["id"]] = {**event["who"], "line": None}
            elif event["kind"] in ("leave", "offline"):
                here.pop(event["who"]["id"], None)
        return _json({"type": "people", "people": list(here.values())})

    def _beat(self, now_s: float) -> str:
        comings = [one["kind"] for one in self._events[: self._events_told] if one["kind"] in ("online", "offline")]
        epoch = self._epoch_at(self._told_us)
        return _json(
            {
                "type": "beat",
                "now_us": self.at_us(now_s),
                "agent": comings[-1:] == ["online"],
                "chain": self._chain,
                "heads": [{"stream": stream, "epoch": epoch, "next": seq} for stream, seq in self._next.items()],
            }
        )

    def _clock(self, now_s: float, *, reset: bool = False) -> str:
        return _json({"type": "clock", "at_us": self.at_us(now_s), "speed": self._speed, "reset": reset})


_COMING_AND_GOING: Final = frozenset({"join", "leave", "online", "offline"})


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
