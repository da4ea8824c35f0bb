"""The main job: who is there, what is stored, how is the battery, what is wrong.

While the broadcast frames are collected, every ECU is found and read, all at the same time. One ECU that falls silent
half-way costs only its own part; everything that failed is listed. Interrupted, the visit ends with what there is.
Only reading services of the default session are used.

Standard: ISO 15765-4:2021 §6 (who is asked), ISO 14229-1:2020 §12.3 (19 02, 19 04, 19 06), SAE J1979 (03, 07, 0A, 09).
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from diag.errors import LinkLost, NoAnswer
from diag.facts import Text
from diag.limits import own_limits
from diag.polling import poll_battery
from diag.reach import LiveCar
from diag.scanner import IDENTIFIERS_ASKED, PATIENCE_S, Scanner
from diag.tape import Tape
from diag.visit import (
    Visit,
    battery_from_visit,
    decode_visit,
    report_from_visit,
    the_battery_ecu,
    vehicle_from_visit,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dbc.database import Database
    from dbc.signalset.model import SignalSet
    from diag.direct import DirectLink
    from diag.facts import Dtc
    from diag.frames import FrameLink
    from diag.reach import Reach
    from diag.vehiclereport import Vehicle, VehicleReport

__all__ = ["scan", "scan_car"]

_TELLING_S: Final = 2.0
"""Seconds of broadcast frames that mostly tell which database is the car's."""

_STAGE_LISTENING: Final = Text("listening to the bus", "正在监听总线")
_STAGE_ASKING: Final = Text("asking for the battery's values", "正在请求电池数据")
_STAGE_JUDGING: Final = Text("judging", "正在分析")


def _ignore(_: object) -> None:
    """Nobody wants to know."""


async def scan(
    link: FrameLink | DirectLink,
    *,
    databases: Sequence[Database] = (),
    signal_set: SignalSet | None = None,
    find_signal_set: Callable[[Vehicle], SignalSet | None] = lambda _: None,
    simulated: bool = False,
    listen_s: float = 2.0,
    search: bool = False,
    timeout_s: float | None = None,
    identifiers: Sequence[int] = IDENTIFIERS_ASKED,
    describe: Callable[[Dtc], Dtc] | None = None,
    progress: Callable[[Text], None] = _ignore,
    keep: Callable[[VehicleReport], None] = _ignore,
    tape: Tape | None = None,
) -> VehicleReport:
    """Reads a whole car and says what is wrong with it.

    Args:
        link: an open bus, or a link that carries requests only; its guard decides what may be sent.
        databases: of the broadcast frames, first match wins; empty = a bundled one where it fits.
        signal_set: what to ask where the broadcast frames do not show the battery.
        find_signal_set: asked for one, once the car is known, when ``signal_set`` is None; None = do not ask.
        simulated: the caller knows that the car is not real.
        listen_s: seconds of broadcast frames to collect at least.
        search: ask every 11-bit diagnostic identifier as well, with a twentieth of the bus's capacity.
        timeout_s: per answer; None = the protocol's own times.
        identifiers: identification data identifiers that each ECU is asked for.
        describe: gives a code its text where a maker's description has one.
        progress: told each stage, for people.
        keep: given the report as soon as there is one, also when the visit ends early by cancellation or a lost link;
            what is raised after that costs nothing that was read.
        tape: takes all that is asked and heard, so that the visit can be judged again; see :mod:`diag.replay`.

    Raises:
        NoAnswer: neither an answer nor a single broadcast frame.
        LinkLost: the adapter went away; ``keep`` got what was found until then.
        RefusedByPolicy: the link's guard allows less than reading.
    """
    tape = Tape() if tape is None else tape
    tape.settings |= {"listen_s": listen_s, "search": search, "timeout_s": timeout_s, "own_limits": own_limits()}
    tape.simulated = simulated
    async with LiveCar.at(link, tape) as car:
        return await scan_car(
            car,
            databases=databases,
            signal_set=signal_set,
            find_signal_set=find_signal_set,
            simulated=simulated,
            listen_s=listen_s,
            search=search,
            timeout_s=timeout_s,
            identifiers=identifiers,
            describe=describe,
            progress=progress,
            keep=keep,
        )


async def scan_car(
    car: Reach,
    *,
    databases: Sequence[Database],
    signal_set: SignalSet | None,
    find_signal_set: Callable[[Vehicle], SignalSet | None],
    simulated: bool,
    listen_s: float,
    search: bool,
    timeout_s: float | None,
    identifiers: Sequence[int] = IDENTIFIERS_ASKED,
    describe: Callable[[Dtc], Dtc] | None = None,
    progress: Callable[[Text], None] = _ignore,
    keep: Callable[[VehicleReport], None] = _ignore,
    recorded: Tape | None = None,
) -> VehicleReport:
    """As :func:`scan`, with a car that may be ``recorded``: then the times are those of its tape."""
    traits, tape = car.traits, car.tape
    visit = Visit(time.time_ns(), time.monotonic(), hearing=car.hearing, remarks=traits.remarks, describe=describe)
    if recorded is not None:
        visit.started_ns, visit.duration_s = recorded.started_ns, recorded.duration_s
    tape.started_ns = visit.started_ns

    def judge() -> VehicleReport:
        report = report_from_visit(visit, traits.info, databases, simulated=simulated)
        tape.dropped = car.hearing.dropped
        tape.databases = decode_visit(visit, databases).databases
        tape.duration_s = report.duration_s
        tape.ending = "finished" if visit.finished else "interrupted" if visit.lost is None else "lost"
        keep(report)
        return report

    progress(_STAGE_LISTENING)
    scanner = Scanner(car, visit, databases, timeout_s, progress, identifiers)
    collector = asyncio.create_task(scanner.collect())
    try:
        try:
            await scanner.find_ecus()
            if search and traits.has_frames:
                await scanner.search()
            await scanner.read_ecus()
            progress(_STAGE_LISTENING)
            broadcast = scanner.look()
            if not traits.has_frames:
                await car.listen(listen_s)
                broadcast = scanner.look()
                await scanner.find_more(broadcast.databases)
            for until_s in dict.fromkeys((min(_TELLING_S, listen_s), listen_s)) if traits.has_frames else ():
                left_s = visit.started_monotonic + until_s - time.monotonic()
                await asyncio.wait({collector}, timeout=max(0.0, left_s))
                if visit.lost is not None:
                    raise visit.lost
                broadcast = scanner.look()
                await scanner.find_more(broadcast.databases)
            bms = None if traits.is_can else the_battery_ecu(visit)
            if (traits.is_can or bms is not None) and battery_from_visit(visit, broadcast) is None:
                vehicle = vehicle_from_visit(visit)
                wanted = signal_set or find_signal_set(vehicle)
                if wanted is not None:
                    tape.signal_set = wanted
                    progress(_STAGE_ASKING)
                    collector.cancel()  # answers on the maker's own identifiers are no broadcast frames
                    year = vehicle.model_year
                    visit.polled = await poll_battery(car, wanted, year=year, timeout_s=timeout_s, instead=bms)
            if traits.has_frames:
                await scanner.ask_j1939()
            await scanner.read_again()
            visit.finished = True
        finally:
            collector.cancel()
            await asyncio.gather(collector, return_exceptions=True)
    except (asyncio.CancelledError, LinkLost) as error:
        tape.ended_ns = time.time_ns()  # before judging, which takes its time
        visit.lost = visit.lost or (error if isinstance(error, LinkLost) else None)
        if visit.ecus or visit.hearing.has_broadcast:
            judge()
        raise
    tape.ended_ns = time.time_ns()
    if not visit.ecus and not visit.hearing.has_broadcast:
        raise NoAnswer(Text("the vehicle", "车辆"), timeout_s or PATIENCE_S)
    progress(_STAGE_JUDGING)
    return judge()
