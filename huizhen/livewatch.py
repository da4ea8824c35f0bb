"""A car under watch: the last value of every signal, the battery judged over the whole time, notices as they come.

Frames go onto a board; once a second the board becomes a row. The battery of the moment is judged from the last rows,
what only time and load show from all of them (half an hour at most).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from diag.alerts import AlertBook
from diag.battery import battery_from_series
from diag.batterydoctor import study_battery, with_study
from diag.broadcast import choose_database
from diag.carscan import scan
from diag.causes import causes_of
from diag.dtc import parse_uds_dtcs
from diag.dtchistory import DtcHistory
from diag.errors import DiagError, LinkLost
from diag.findings import findings_from_facts
from diag.live import SignalBoard
from diag.ownflags import find_flags
from diag.request import IsoTpLink
from diag.samples import Series
from diag.scanparts import target_of
from diag.uds import UdsSession

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from numpy.typing import NDArray

    from dbc.database import Database
    from diag.addressing import Target
    from diag.alerts import Notice
    from diag.batterydoctor import BatteryStudy
    from diag.facts import BatteryState, Cause, Dtc, DtcChange, Finding, Text
    from diag.frames import Frame, FrameLink
    from diag.vehiclereport import Ecu, VehicleReport
    from huizhen.links import OpenVehicle

__all__ = ["Watch", "find_code_targets", "follow", "poll_codes", "until_one_ends"]

_ROWS: Final = 1800
_MOMENT_ROWS: Final = 4
_STUDY_EACH: Final = 10
_CHOOSE_FRAMES: Final = 2000
_CHOOSE_S: Final = 2.0
_TICK_S: Final = 1.0


@dataclass(slots=True)
class Watch:
    """What is known of the car now.

    Args:
        databases: of the broadcast frames; empty = one is chosen by the first two seconds.
        ecus: who answers, where that was found out.
    """

    databases: tuple[Database, ...] = ()
    ecus: tuple[Ecu, ...] = ()
    frames: int = 0
    battery: BatteryState | None = None
    study: BatteryStudy | None = None
    causes: tuple[Cause, ...] = ()
    alerts: AlertBook = field(default_factory=AlertBook)
    dtcs: dict[str, tuple[Dtc, ...]] = field(default_factory=dict)
    changes: list[DtcChange] = field(default_factory=list)
    _history: DtcHistory = field(default_factory=DtcHistory)
    _board: SignalBoard | None = None
    _first: list[Frame] = field(default_factory=list)
    _started: float = field(default_factory=time.monotonic)
    _times: deque[int] = field(default_factory=lambda: deque(maxlen=_ROWS))
    _rows: deque[tuple[NDArray[np.float32], NDArray[np.bool_]]] = field(default_factory=lambda: deque(maxlen=_ROWS))
    _ticks: int = 0

    def take(self, frames: Sequence[Frame]) -> None:
        """Frames as they come."""
        self.frames += len(frames)
        if self._board is None and not self._choose(frames):
            return
        now_ns = time.monotonic_ns()
        for frame in frames:
            if self._board is not None and not frame.tx:
                self._board.take(frame, now_ns)

    def _choose(self, frames: Sequence[Frame]) -> bool:
        if not self.databases:
            self._first += frames
            if len(self._first) < _CHOOSE_FRAMES and time.monotonic() - self._started < _CHOOSE_S:
                return False
            choice = choose_database(self._first)
            self._first, self._started = [], time.monotonic()
            if choice is None:
                return False
            self.databases = (choice.database,)
        self._board = SignalBoard(self.databases)
        return True

    def codes(self, ecu: str, dtcs: tuple[Dtc, ...]) -> None:
        """A fresh list of one ECU's codes."""
        self.dtcs[ecu] = dtcs
        self.changes += self._history.observe(time.time_ns(), ecu, dtcs)

    def tick(self) -> tuple[Notice, ...]:
        """One second is over: what has to be told now."""
        t_ns = self.sample()
        return self.alerts.update(self.judge(), t_ns)

    def sample(self) -> int:
        """The board becomes a row; returns its time, UTC nanoseconds."""
        t_ns = time.time_ns()
        if self._board is not None:
            block = self._board.block(time.monotonic_ns(), t_ns)
            self._times.append(t_ns)
            self._rows.append((block.values, block.valid))
        return t_ns

    def judge(self) -> tuple[Finding, ...]:
        """The findings of now; may run in a thread of its own while frames are taken, not while a row is sampled."""
        moment = self.series(_MOMENT_ROWS)
        self.battery = battery_from_series(moment, source="live") if moment else None
        if self.battery is not None and self._ticks % _STUDY_EACH == 0:
            self.study = study_battery(self.series(), state=self.battery)
        self._ticks += 1
        self.battery = with_study(self.battery, self.study) if self.battery is not None else None
        dtcs = [dtc for codes in tuple(self.dtcs.values()) for dtc in codes]
        studied = (*(self.study.findings if self.study is not None else ()), *find_flags(self.series(_STUDY_EACH)))
        findings = findings_from_facts(dtcs=dtcs, battery=self.battery, ecus=self.ecus, studied=studied)
        self.causes = causes_of(dtcs, findings, self.ecus, self.battery, self.study)
        return findings

    def series(self, rows: int = _ROWS) -> dict[str, Series]:
        """The last rows as series; a signal that was never valid in them is left out."""
        if self._board is None or not self._rows:
            return {}
        kept = list(self._rows)[-rows:]
        t_ns = np.array(list(self._times)[-rows:], dtype=np.int64)
        values = np.array([row for row, _ in kept], dtype=np.float64)
        valid = np.array([good for _, good in kept])
        found: dict[str, Series] = {}
        for at, info in enumerate(self._board.schema.signals):
            good = valid[:, at]
            if good.any() and info.name not in found:
                sure = np.ones(int(good.sum()), dtype=np.bool_)
                # float32 keeps seven digits: what it adds behind them is no reading.
                column = np.round(values[good, at], 4)
                found[info.name] = Series(info.name, info.unit, t_ns[good], column, sure)
        return found

    @property
    def board(self) -> SignalBoard | None:
        """The last value of every signal; None until a database is known."""
        return self._board

    @property
    def names(self) -> tuple[str, ...]:
        """All signals of the databases."""
        return tuple(dict.fromkeys(info.name for info in self._board.schema.signals)) if self._board else ()


async def follow(
    link: FrameLink,
    watch: Watch,
    show: Callable[[tuple[Notice, ...]], None],
    *,
    targets: Sequence[Target] = (),
    poll_s: float = 5.0,
    timeout_s: float | None = None,
    duration_s: float | None = None,
) -> None:
    """Watches until the time is over or the link is lost.

    Args:
        link: of the car.
        watch: is kept up to date.
        show: called each second with what is new.
        targets: whose codes are read again and again.
        poll_s: pause between two rounds.
        timeout_s: per answer.
        duration_s: None = without end.

    Raises:
        LinkLost: the adapter went away.
    """
    work = [_take(link, watch), _tick(watch, show)]
    if targets:
        work.append(poll_codes(link, targets, poll_s, timeout_s, watch.codes))
    await until_one_ends(work, duration_s)


async def until_one_ends(work: Sequence[Coroutine[Any, Any, None]], duration_s: float | None = None) -> None:
    """Does all of it at once, until one part ends (its error is raised) or the time is over; the others are ended."""
    tasks = [asyncio.ensure_future(part) for part in work]
    try:
        done, _ = await asyncio.wait(tasks, timeout=duration_s, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _take(link: FrameLink, watch: Watch) -> None:
    with link.frames() as subscription:
        while frames := await subscription.batch():
            watch.take(frames)
            await asyncio.sleep(_BREATH_S)


_BREATH_S: Final = 0.02


async def _tick(watch: Watch, show: Callable[[tuple[Notice, ...]], None]) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        due = max(due + _TICK_S, loop.time())
        await asyncio.sleep(due - loop.time())
        show(watch.tick())


async def find_code_targets(
    vehicle: OpenVehicle, progress: Callable[[Text], None]
) -> tuple[VehicleReport, list[Target]]:
    """What one ordinary scan finds, and whose codes can be read again and again (through UDS).

    Raises:
        LinkLost: the adapter went away.
        DiagError: nobody answers, or nothing may be asked.
    """
    link = vehicle.link
    report = await scan(
        link,
        databases=vehicle.databases,
        simulated=vehicle.simulated,
        listen_s=1.0,
        timeout_s=vehicle.timeout_s,
        progress=progress,
    )
    readable = (ecu for ecu in report.ecus if ecu.request_address and ecu.codes_read and "uds" in ecu.protocol)
    return report, [target_of(ecu, link) for ecu in readable]


async def poll_codes(
    link: FrameLink,
    targets: Sequence[Target],
    every_s: float,
    timeout_s: float | None,
    keep: Callable[[str, tuple[Dtc, ...]], None],
) -> None:
    """Reads every ECU's codes again and again; one that does not answer is asked the next time.

    Raises:
        LinkLost: the adapter went away.
    """
    async with IsoTpLink(link) as requests:
        while True:
            for target in targets:
                try:
                    answer = await UdsSession(requests, target, timeout_s=timeout_s).read_codes()
                except LinkLost:
                    raise
                except DiagError:
                    continue
                parsed = parse_uds_dtcs(answer.payload, ecu=target.address, declared_length=answer.declared_length)
                if parsed.negative is None and not parsed.missing:
                    keep(target.address, parsed.dtcs)
            await asyncio.sleep(every_s)
