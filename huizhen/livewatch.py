"""A car under watch: the last value of every signal, the battery judged over the whole time, notices as they come.

Frames go onto a board; so do answers, where each value must be asked for. Once a second the board becomes a row. The
battery of the moment is judged from the last rows, what only time and load show from all of them (half an hour at
most).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from diag.alerts import AlertBook
from diag.asked import AskedStream
from diag.battery import battery_from_series
from diag.batterydoctor import study_battery, with_study
from diag.batterynames import find_battery_signals
from diag.broadcast import choose_database
from diag.carscan import scan
from diag.causes import causes_of
from diag.direct import DirectLink
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
from huizhen.commands.scan import own_signal_set

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

    from numpy.typing import NDArray

    from dbc.database import Database
    from diag.addressing import Target
    from diag.alerts import Notice
    from diag.answers import RequestLink
    from diag.batterydoctor import BatteryStudy
    from diag.facts import BatteryState, Cause, Dtc, DtcChange, Finding, Text
    from diag.frames import Frame, FrameLink
    from diag.vehiclereport import Ecu, VehicleReport
    from huizhen.console import Console
    from huizhen.links import OpenVehicle

__all__ = [
    "FirstFrames",
    "Watch",
    "find_code_targets",
    "follow",
    "keep_asking",
    "poll_codes",
    "requests_through",
    "until_one_ends",
]

_ROWS: Final = 1800
_MOMENT_ROWS: Final = 4
_STUDY_EACH: Final = 10
_STEADY_ROWS: Final = 8
_STEADY_A: Final = 10.0
"""A change of so many amperes moves a cell of one milliohm by ten millivolts: less than what is told apart."""
_CHOOSE_FRAMES: Final = 2000
_CHOOSE_S: Final = 2.0
_MOST_MISSES: Final = 3
_TICK_S: Final = 1.0
_ASK_S: Final = 0.1
_SILENT_S: Final = 3.0
"""How long a bus may be silent, before the values are asked for."""
_LOOK_S: Final = 0.1


@dataclass(slots=True)
class FirstFrames:
    """What is heard of a bus until a database is recognised by it.

    Args:
        looked_s: when they were looked at last, seconds of a steady clock.
        heard: since then, or more where that was too little to tell.
    """

    looked_s: float
    heard: list[Frame] = field(default_factory=list)
    _misses: int = 0

    def take(self, frames: Sequence[Frame], now_s: float) -> bool:
        """More of them; returns whether to look now."""
        self.heard += frames
        is_time = len(self.heard) >= _CHOOSE_FRAMES or now_s - self.looked_s >= _CHOOSE_S
        return bool(self.heard) and is_time

    def miss(self, now_s: float) -> bool:
        """No database knows them; returns whether that is sure, or more may still tell."""
        self.looked_s = now_s
        self._misses += 1
        is_enough = len(self.heard) >= _CHOOSE_FRAMES
        if is_enough:
            self.heard = []
        return is_enough or self._misses >= _MOST_MISSES


@dataclass(slots=True)
class _Table:
    """The signals that can be heard or asked for, and their values second by second."""

    board: SignalBoard | AskedStream
    times: deque[int] = field(default_factory=lambda: deque(maxlen=_ROWS))
    rows: deque[tuple[NDArray[np.float32], NDArray[np.bool_]]] = field(default_factory=lambda: deque(maxlen=_ROWS))


@dataclass(slots=True)
class Watch:
    """What is known of the car now.

    Args:
        databases: of the broadcast frames; empty = one is chosen by the first two seconds.
        ecus: who answers, where that was found out.
        frames: heard so far.
        is_unrecognised: frames were heard, and no database knows them.
    """

    databases: tuple[Database, ...] = ()
    ecus: tuple[Ecu, ...] = ()
    frames: int = 0
    is_unrecognised: bool = False
    battery: BatteryState | None = None
    study: BatteryStudy | None = None
    causes: tuple[Cause, ...] = ()
    alerts: AlertBook = field(default_factory=AlertBook)
    dtcs: dict[str, tuple[Dtc, ...]] = field(default_factory=dict)
    changes: list[DtcChange] = field(default_factory=list)
    _history: DtcHistory = field(default_factory=DtcHistory)
    _table: _Table | None = None
    _first: FirstFrames = field(default_factory=lambda: FirstFrames(time.monotonic()))
    _ticks: int = 0

    def take(self, frames: Sequence[Frame]) -> None:
        """Frames as they come."""
        self.frames += len(frames)
        if not isinstance(self.board, SignalBoard):
            self._choose(frames)
        board = self.board
        now_ns = time.monotonic_ns()
        for frame in frames:
            if isinstance(board, SignalBoard) and not frame.tx:
                board.take(frame, now_ns)

    def ask(self, stream: AskedStream) -> None:
        """From now on the values are those of a car that must be asked for each, until its frames tell something."""
        self._table = _Table(stream)

    @property
    def answers(self) -> int:
        """Values that the car gave when it was asked."""
        board = self.board
        return board.taken if isinstance(board, AskedStream) else 0

    @property
    def is_heard(self) -> bool:
        """Whether the car has said anything at all."""
        return bool(self.frames or self.answers or self.dtcs)

    def _choose(self, frames: Sequence[Frame]) -> None:
        if not self.databases:
            if not self._first.take(frames, time.monotonic()):
                return
            choice = choose_database(self._first.heard)
            if choice is None:
                self.is_unrecognised |= self._first.miss(time.monotonic())
                return
            self.databases = (choice.database,)
        self._table = _Table(SignalBoard(self.databases))

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
        if self._table is not None:
            block = self._table.board.block(time.monotonic_ns(), t_ns)
            self._table.times.append(t_ns)
            self._table.rows.append((block.values, block.valid))
        return t_ns

    def judge(self) -> tuple[Finding, ...]:
        """The findings of now; may run in a thread of its own while frames are taken, not while a row is sampled."""
        self._judge_battery()
        dtcs = [dtc for codes in tuple(self.dtcs.values()) for dtc in codes]
        studied = (*(self.study.findings if self.study is not None else ()), *find_flags(self.series(_STUDY_EACH)))
        findings = findings_from_facts(dtcs=dtcs, battery=self.battery, ecus=self.ecus, studied=studied)
        self.causes = causes_of(dtcs, findings, self.ecus, self.battery, self.study)
        return findings

    def _judge_battery(self) -> None:
        moment = self.series(_MOMENT_ROWS)
        if isinstance(self.board, AskedStream):
            # Cells that were asked one after the other are those of one moment only while the load does not change; and
            # what only time and load show cannot be told from them.
            if self._is_steady():
                self.battery = battery_from_series(moment, source="live") if moment else None
            return
        self.battery = battery_from_series(moment, source="live") if moment else None
        if self.battery is not None and self._ticks % _STUDY_EACH == 0:
            self.study = study_battery(self.series(), state=self.battery)
        self._ticks += 1
        self.battery = with_study(self.battery, self.study) if self.battery is not None else None

    def _is_steady(self) -> bool:
        """Whether the pack's current hardly changed since the cells were asked; without it, whether the car stood."""
        if self._table is None or len(self._table.rows) < _STEADY_ROWS:
            return False
        last = self.series(_STEADY_ROWS)
        names = find_battery_signals({name: one.unit for name, one in last.items()})
        current = last.get(names.current) if names is not None and names.current else None
        if current is not None:
            return float(np.ptp(current.values)) <= _STEADY_A
        speed = last.get("vehicleSpeed")
        return speed is None or not speed.values.any()

    def series(self, rows: int = _ROWS) -> dict[str, Series]:
        """The last rows as series; a signal that was never valid in them is left out."""
        table = self._table  # another may take its place while this is judged in a thread
        if table is None or not table.rows:
            return {}
        kept = list(table.rows)[-rows:]
        t_ns = np.array(list(table.times)[-rows:], dtype=np.int64)
        values = np.array([row for row, _ in kept], dtype=np.float64)
        valid = np.array([good for _, good in kept])
        found: dict[str, Series] = {}
        for at, info in enumerate(table.board.schema.signals):
            good = valid[:, at]
            if good.any() and info.name not in found:
                sure = np.ones(int(good.sum()), dtype=np.bool_)
                # float32 keeps seven digits: what it adds behind them is no reading.
                column = np.round(values[good, at], 4)
                found[info.name] = Series(info.name, info.unit, t_ns[good], column, sure)
        return found

    @property
    def board(self) -> SignalBoard | AskedStream | None:
        """The last value of every signal; None until it is known which there are."""
        return self._table.board if self._table is not None else None

    @property
    def names(self) -> tuple[str, ...]:
        """All signals of the databases, or all that can be asked for."""
        return tuple(dict.fromkeys(info.name for info in self.board.schema.signals)) if self.board else ()


async def follow(
    vehicle: OpenVehicle,
    watch: Watch,
    console: Console,
    show: Callable[[tuple[Notice, ...]], None],
    *,
    report: VehicleReport | None,
    targets: Sequence[Target] = (),
    poll_s: float = 5.0,
    duration_s: float | None = None,
) -> None:
    """Watches until the time is over or the link is lost.

    Args:
        vehicle: the car.
        watch: is kept up to date.
        console: for what a person should know.
        show: called each second with what is new.
        report: of the scan before; without one a car that must be asked for each value is not asked for any.
        targets: whose codes are read again and again.
        poll_s: pause between two rounds.
        duration_s: None = without end.

    Raises:
        LinkLost: the adapter went away.
    """
    async with requests_through(vehicle.link) as requests:
        work: list[Coroutine[Any, Any, None]] = [_tick(watch, show)]
        if not isinstance(vehicle.link, DirectLink):
            work.append(_take(vehicle.link, watch))
        if report is not None:
            work.append(keep_asking(requests, vehicle.timeout_s, report, watch, console))
        if targets:
            work.append(poll_codes(requests, targets, poll_s, vehicle.timeout_s, watch.codes))
        await until_one_ends(work, duration_s)


async def keep_asking(
    requests: RequestLink,
    timeout_s: float | None,
    report: VehicleReport,
    watch: Watch,
    console: Console,
    hear: Callable[[AskedStream], None] = lambda _: None,
) -> None:
    """Asks for every value that the car gives, round by round, as long as no frame tells any; never ends by itself.

    On a bus it begins when what is heard there is in no database, or nothing is heard.

    Args:
        requests: to the car.
        timeout_s: per answer.
        report: who is there.
        watch: gets the values.
        console: for what a person should know.
        hear: called after each round.

    Raises:
        LinkLost: the adapter went away.
    """
    if not isinstance(requests, DirectLink):
        silent_from = time.monotonic()
        while not watch.databases and not watch.is_unrecognised:
            if not watch.frames and time.monotonic() - silent_from > _SILENT_S:
                break
            await asyncio.sleep(_LOOK_S)
    if not watch.databases:
        await _ask_in_rounds(requests, timeout_s, report, watch, console, hear)
    await asyncio.Event().wait()


async def _ask_in_rounds(
    requests: RequestLink,
    timeout_s: float | None,
    report: VehicleReport,
    watch: Watch,
    console: Console,
    hear: Callable[[AskedStream], None],
) -> None:
    signal_set = own_signal_set(report.vehicle, console)
    stream = await AskedStream.of_car(requests, report, signal_set, period_s=_ASK_S, timeout_s=timeout_s)
    if not stream.schema.signals:
        console.note(console.tr("live.nothing_to_ask"))
        return
    if watch.databases:  # meanwhile its frames did tell
        return
    watch.ask(stream)
    async for _ in stream.blocks():
        if watch.board is not stream:
            return
        hear(stream)


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


@contextlib.asynccontextmanager
async def requests_through(link: FrameLink | DirectLink) -> AsyncIterator[RequestLink]:
    """The one link by which a car's ECUs are asked, for all who ask at the same time."""
    if isinstance(link, DirectLink):
        yield link
    else:
        async with IsoTpLink(link) as requests:
            yield requests


async def poll_codes(
    requests: RequestLink,
    targets: Sequence[Target],
    every_s: float,
    timeout_s: float | None,
    keep: Callable[[str, tuple[Dtc, ...]], None],
) -> None:
    """Reads every ECU's codes again and again; one that does not answer is asked the next time.

    Raises:
        LinkLost: the adapter went away.
    """
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
