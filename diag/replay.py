"""A visit once more from its tape: the same questions get the same answers, and the report comes out the same.

The tape's times count, so that even these are the same. A question that was not asked then has no answer: a newer
Huizhen that asks more is told so.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from diag.carscan import scan_car
from diag.errors import DiagError, LinkLost, NoAnswer
from diag.facts import Text
from diag.j1939 import address_text
from diag.j1939gate import GLOBAL
from diag.j1939requests import read_bus
from diag.tape import CANCELLED, Entry, Hearing, Tape

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from dbc.database import Database
    from dbc.signalset.model import SignalSet
    from diag.addressing import Target
    from diag.answers import Answer
    from diag.facts import Dtc
    from diag.frames import Frame
    from diag.j1939requests import J1939Answer, UnitReading
    from diag.vehiclereport import Vehicle, VehicleReport

__all__ = ["RecordedCar", "replay"]

_END_NS: Final = 2_000_000_000
"""Requests that were given up so shortly before the end of a visit, the last of it, were under way when it ended."""
_PATIENCE: Final = 2000
"""Turns of the event loop in which nothing more is asked."""
_OVER: Final = Text("the recorded visit ended here", "记录的检测到此结束")


class _PlayedHearing(Hearing):
    """Frames that come as they came then: at each look those that had come until that look.

    Args:
        tape: of the visit.
        end: called where the visit ended instead of a further look.
    """

    def __init__(self, tape: Tape, end: Callable[[], None]) -> None:
        super().__init__()
        self._tape, self._end = tape, end
        self.dropped = tape.dropped
        self._looks = 0

    @property
    def coming(self) -> Sequence[Frame]:
        """See :attr:`Hearing.coming`."""
        return self._tape.frames[: self._tape.marks[-1] if self._tape.marks else 0]

    def look(self) -> None:
        """See :meth:`Hearing.look`."""
        marks = self._tape.marks
        if self._looks >= len(marks) - 1:
            self._end()
            self._advance(marks[-1] if marks else 0)
            return
        self._advance(marks[self._looks])
        self._looks += 1

    def finish(self) -> None:
        """See :meth:`Hearing.finish`."""
        self._advance(self._tape.marks[-1] if self._tape.marks else 0)

    def _advance(self, end: int) -> None:
        self.frames += self._tape.frames[len(self.frames) : end]
        self.marks.append(len(self.frames))


def _given_up_at_the_end(tape: Tape) -> Iterator[int]:
    """The requests, by identity, that were under way when a visit was interrupted: nothing was answered after them."""
    for entry in reversed(tape.entries):
        if entry.error != CANCELLED or tape.ended_ns - entry.t_ns >= _END_NS:
            return
        yield id(entry)


class RecordedCar:
    """A :class:`diag.reach.Reach` that is made of a tape.

    Attributes:
        unknown: questions that were not asked then.
    """

    def __init__(self, tape: Tape) -> None:
        if tape.traits is None:
            raise ValueError("a tape of nothing")
        self.traits, self.tape = tape.traits, Tape()
        self.hearing: Hearing = _PlayedHearing(tape, self._end_of_frames)
        self.unknown: list[tuple[object, ...]] = []
        self._recorded = tape
        self._queues = tape.queues()
        self._served = 0
        self._is_whole = tape.ending == "finished"
        self._under_way = set() if self._is_whole else set(_given_up_at_the_end(tape))

    def _end_of_frames(self) -> None:
        if not self._is_whole:
            self._raise_end()

    def _raise_end(self) -> None:
        if self._recorded.ending == "lost":
            raise LinkLost(self.traits.info.channel, _OVER)
        raise asyncio.CancelledError

    async def _over(self) -> None:
        """Lets the others come to where they were, then ends the visit as it ended."""
        seen, quiet = self._served, 0
        while quiet < _PATIENCE:
            await asyncio.sleep(0)
            quiet = quiet + 1 if self._served == seen else 0
            seen = self._served
        self._raise_end()

    async def _next(self, wanted: Entry) -> Entry | None:
        """What came then, None for what was not asked then.

        Raises:
            DiagError: what went wrong then.
            TimeoutError: it was given up then.
        """
        await asyncio.sleep(0)
        queue = self._queues.get(wanted.key)
        if not queue:
            if not self._is_whole:
                await self._over()
            self.unknown.append(wanted.key)
            return None
        if id(queue[0]) in self._under_way:
            await self._over()
        entry = queue.popleft()
        self._served += 1
        if isinstance(entry.error, DiagError):
            raise entry.error
        if entry.error is not None:
            raise TimeoutError
        return entry

    async def request(self, target: Target, payload: bytes, *, timeout_s: float | None = None) -> tuple[Answer, ...]:
        """See :meth:`diag.answers.RequestLink.request`."""
        entry = await self._next(Entry("uds", 0, target, bytes(payload)))
        if entry is None:
            if target.is_functional:
                return ()
            raise NoAnswer(target.address, timeout_s or 0.0)
        return entry.answers

    async def collect(self) -> None:
        """Nothing comes by itself: each look brings what it brought then."""

    async def listen(self, seconds: float) -> None:
        """As :meth:`collect`."""

    async def search(self, known: Collection[int], progress: Callable[[Text], None]) -> tuple[Target, ...]:
        """See :meth:`diag.reach.Reach.search`."""
        del known, progress
        entry = await self._next(Entry("search", 0))
        return () if entry is None else entry.found

    async def read_bus(
        self, addresses: Sequence[int], units: dict[int, UnitReading], progress: Callable[[Text], None]
    ) -> None:
        """See :meth:`diag.reach.Reach.read_bus`."""

        async def ask(pgn: int, destination: int) -> tuple[J1939Answer, ...]:
            entry = await self._next(Entry("j1939", 0, pgn=pgn, destination=destination))
            if entry is None and destination != GLOBAL:
                raise NoAnswer(address_text(destination), 0.0)
            return () if entry is None else entry.groups

        if await self._next(Entry("claim", 0)) is not None:
            await read_bus(ask, addresses, units, progress)


async def replay(
    tape: Tape,
    *,
    databases: Sequence[Database] = (),
    signal_set: SignalSet | None = None,
    find_signal_set: Callable[[Vehicle], SignalSet | None] = lambda _: None,
    describe: Callable[[Dtc], Dtc] | None = None,
) -> tuple[VehicleReport, int]:
    """The report of a visit, made again from its tape.

    Args:
        tape: of the visit.
        databases: that the visit was told; see :func:`diag.carscan.scan` for all of these.
        signal_set: that it was told.
        find_signal_set: that it found.
        describe: that it was told.

    Returns:
        the report, and how many questions of it were not asked then.

    Raises:
        NoAnswer: there is neither an answer nor a frame on the tape.
    """
    car = RecordedCar(tape)
    kept: list[VehicleReport] = []
    listen_s, timeout_s = tape.settings.get("listen_s", 0.0), tape.settings.get("timeout_s")
    visit = asyncio.ensure_future(
        scan_car(
            car,
            databases=databases,
            signal_set=signal_set,
            find_signal_set=find_signal_set,
            simulated=tape.simulated,
            listen_s=float(listen_s),
            search=bool(tape.settings.get("search", False)),
            timeout_s=None if timeout_s is None else float(timeout_s),
            describe=describe,
            recorded=tape,
            keep=kept.append,
        )
    )
    try:
        await asyncio.wait({visit})
    finally:
        visit.cancel()
    try:
        report = visit.result()
    except (asyncio.CancelledError, LinkLost):
        if not kept or (current := asyncio.current_task()) is None or current.cancelling():
            raise
        report = kept[-1]
    return report, len(car.unknown)
