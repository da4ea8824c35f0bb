"""``huizhen log record``: a bus into a file, or into a flight recorder that watches the car while it records."""

from __future__ import annotations

import asyncio
import json
import signal
import tempfile
import threading
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dbc.errors import DbcError
from diag.alerts import AlertBook, Change
from diag.battery import battery_from_series
from diag.broadcast import choose_database, choose_for_recording, decode_broadcast, decode_recorded
from diag.dtchistory import DtcHistory
from diag.errors import DiagError, LinkLost
from diag.facts import Text
from diag.findings import findings_from_facts
from diag.firstmoved import what_moved_first
from diag.flightrecorder import FlightRecorder, candump_line
from huizhen.errors import BadUsage, CannotWrite
from huizhen.exits import Exit
from huizhen.files import check_writable
from huizhen.links import OpenVehicle, open_vehicle
from huizhen.livewatch import find_code_targets, poll_codes, requests_through, until_one_ends
from huizhen.quantities import with_unit
from huizhen.scanview import show_finding

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from dbc.database import Database
    from diag.addressing import Target
    from diag.facts import Dtc, DtcChange
    from diag.firstmoved import Moved
    from diag.flightrecorder import KeptEvent
    from diag.frames import Frame, FrameLink
    from huizhen.console import Console

__all__ = ["record"]

_JUDGE_S: Final = 2.0
_JUDGED_S: Final = 4.0
_USUAL_S: Final = 300.0
"""Before an event, to know what is usual."""
_SHOWN_MOVED: Final = 5
_MOST_JUDGED: Final = 60_000


def record(args: argparse.Namespace, console: Console) -> int:
    """Records until the time is over, Ctrl-C, or the adapter goes away; returns the exit code."""
    if bool(args.output) == bool(args.ring):
        raise BadUsage(console.tr("log.record.file_or_ring"))
    if args.ring_mb < 1:
        raise BadUsage(console.tr("log.record.ring_too_small"))
    try:
        with _ends_by_signal():
            return _to_file(args, console) if args.output else _to_ring(args, console)
    except OSError as error:
        raise CannotWrite(args.output or args.ring, error.strerror or str(error)) from error


@contextmanager
def _ends_by_signal() -> Iterator[None]:
    """Ends as by Ctrl-C also in the background of a script, and when it is told to: what was heard is written."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _frame_link(vehicle: OpenVehicle, console: Console) -> FrameLink:
    from diag.direct import DirectLink

    if isinstance(vehicle.link, DirectLink):
        raise BadUsage(console.tr("log.record.needs_bus"))
    return vehicle.link


# -- into a file ----------------------------------------------------------------------------------------------------


def _to_file(args: argparse.Namespace, console: Console) -> int:
    """Candump lines beside the place, then whatever its ending wants: a long recording needs no memory."""
    from dbc.recording.stream import stream_recording
    from dbc.recording.writers import check_target, write_frames

    chosen = check_target(args.output, None)
    check_writable(args.output)
    count = 0
    trouble: BaseException | None = None
    place = Path(args.output).resolve()
    with tempfile.TemporaryDirectory(prefix=f".{place.name}.", dir=place.parent) as folder:
        part = Path(folder) / "frames.log"
        try:
            try:
                count = asyncio.run(_write(args, console, part))
            except (KeyboardInterrupt, LinkLost) as error:
                trouble = error
            console.stage_done()
            if part.exists() and part.stat().st_size:
                with stream_recording(part) as stream:
                    count = stream.facts.tally.frames
                    lost = write_frames(stream.facts, stream.pieces, args.output, chosen)
                console.note(console.tr("log.record.done", path=args.output, n=count))
                for loss in lost:
                    console.note(console.tr("log.convert.loss", loss=getattr(loss, console.tr.lang)))
        except (OSError, DbcError):
            # A full disk: the lines that reached it are all there is, and stay.
            console.stage_done()
            if part.exists() and part.stat().st_size:
                kept = part.replace(place.with_name(f"{place.name}.part.log"))
                console.note(console.tr("log.record.part", path=kept))
            raise
    if isinstance(trouble, LinkLost):
        raise trouble
    if not count:
        console.error(console.tr("log.record.nothing"))
        return Exit.NO_ANSWER
    return Exit.DONE


async def _write(args: argparse.Namespace, console: Console, path: Path) -> int:
    count = 0
    async with open_vehicle(args, console) as vehicle:
        link = _frame_link(vehicle, console)
        with (
            path.open("w", encoding="ascii") as out,
            link.frames(is_sent_wanted=True) as subscription,
            suppress(TimeoutError),
        ):
            async with asyncio.timeout(args.duration):
                while frames := await subscription.batch():
                    out.writelines(map(candump_line, frames))
                    out.flush()
                    count += len(frames)
                    console.stage(console.tr("log.record.running", n=count))
        if subscription.dropped:
            console.note(console.tr("log.record.dropped", n=subscription.dropped))
    return count


# -- the flight recorder --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Flight:
    """One flight: what the loops share."""

    recorder: FlightRecorder
    console: Console
    databases: tuple[Database, ...]
    is_json: bool
    recent: deque[Frame] = field(default_factory=lambda: deque(maxlen=_MOST_JUDGED))
    alerts: AlertBook = field(default_factory=AlertBook)
    history: DtcHistory = field(default_factory=DtcHistory)
    dtcs: dict[str, tuple[Dtc, ...]] = field(default_factory=dict)
    frames: int = 0
    events: int = 0

    def event(self, event: KeptEvent) -> None:
        """Says what was kept and what moved first, and writes that beside it."""
        self.events += 1
        moved = self._moved(event)
        value = {**event.to_json(), "moved": [item.to_json(event.t_ns) for item in moved]}
        path = event.path.with_suffix(".json")
        path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        console = self.console
        if self.is_json:
            console.json(value)
            return
        console.line(console.style(console.tr("log.record.kept", path=event.path, n=event.frames), "title"))
        for at, reason in event.reasons:
            console.wrapped(
                f"{(at - event.t_ns) / 1e9:+.1f} s  {reason.in_language(console.tr.lang)}", "      ", "    · "
            )
        if moved:
            console.line("    " + console.tr("log.record.moved"))
        for item in moved[:_SHOWN_MOVED]:
            after = console.tr("log.record.silent") if item.after is None else with_unit(f"{item.after:g}", item.unit)
            seconds = (item.t_ns - event.t_ns) / 1e9
            before = with_unit(f"{item.before:g}", item.unit)
            console.line(f"      {seconds:+7.2f} s  {item.signal}: {before} → {after}")

    def _moved(self, event: KeptEvent) -> tuple[Moved, ...]:
        from dbc.recording import open_recording

        start_ns = event.t_ns - int(_USUAL_S * 1e9)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "around.log"
            if not self.recorder.copy(start_ns, event.end_ns, path):
                return ()
            table = open_recording(path).table
        databases = self.databases
        if not databases and (choice := choose_for_recording(table)) is not None:
            databases = (choice.database,)
        if not len(table) or not databases:
            return ()
        series = decode_recorded(table, databases).series
        first_ns = max(start_ns, int(table.t_ns.min()))
        return what_moved_first(_without_plumbing(series), first_ns, event.t_ns, event.end_ns)

    def judge(self) -> None:
        """The last seconds of broadcast frames and the codes as they stand."""
        now_ns = self.recorder.newest_ns
        frames = [frame for frame in self.recent if frame.t_ns > now_ns - int(_JUDGED_S * 1e9)]
        if not frames:
            return
        if not self.databases and (choice := choose_database(frames)) is not None:
            self.databases = (choice.database,)
        battery = None
        if self.databases:
            broadcast = decode_broadcast(frames, self.databases)
            battery = battery_from_series(broadcast.series, source=broadcast.source)
        dtcs = [dtc for codes in self.dtcs.values() for dtc in codes]
        findings = findings_from_facts(dtcs=dtcs, battery=battery)
        for notice in self.alerts.update(findings, now_ns):
            if not self.is_json:
                mark = self.console.tr("log.record.ended") if notice.change is Change.ENDED else ""
                if mark:
                    title = notice.finding.title.in_language(self.console.tr.lang)
                    self.console.line("  " + self.console.style(f"{mark}: {title}", "dim"))
                else:
                    show_finding(notice.finding, self.console)
            if notice.change in (Change.BEGAN, Change.ROSE):
                self.recorder.trigger(notice.t_ns, notice.finding.title)

    def codes(self, ecu: str, dtcs: tuple[Dtc, ...]) -> None:
        """A fresh list of one ECU's codes."""
        self.dtcs[ecu] = dtcs
        for change in self.history.observe(self.recorder.newest_ns, ecu, dtcs):
            text = _change_text(change)
            if not self.is_json:
                self.console.line(f"  {text.in_language(self.console.tr.lang)}")
            self.recorder.trigger(change.t_ns or self.recorder.newest_ns, text)


def _without_plumbing(series: Any) -> dict[str, Any]:
    """Counters and checksums always move."""
    words = ("counter", "checksum", "crc", "alive")
    return {name: item for name, item in series.items() if not any(word in name.lower() for word in words)}


def _change_text(change: DtcChange) -> Text:
    before = "–" if change.before is None else f"{change.before.mask:02X}"
    after = "–" if change.after is None else f"{change.after.mask:02X}"
    return Text(
        f"{change.ecu} {change.code}: status {before} → {after}", f"{change.ecu} {change.code}：状态 {before} → {after}"
    )


def _to_ring(args: argparse.Namespace, console: Console) -> int:
    is_json = bool(getattr(args, "json", False) or getattr(args, "jsonl", False))
    recorder = FlightRecorder(Path(args.ring), args.ring_mb * 1_000_000, args.around, args.around)
    flight = _Flight(recorder, console, (), is_json)
    trouble: BaseException | None = None
    try:
        asyncio.run(_fly(args, console, flight))
    except (KeyboardInterrupt, LinkLost) as error:
        trouble = error
    console.stage_done()
    for event in recorder.close():
        flight.event(event)
    console.note(console.tr("log.record.flown", folder=args.ring, n=flight.frames, events=flight.events))
    if isinstance(trouble, LinkLost):
        raise trouble
    if not flight.frames:
        console.error(console.tr("log.record.nothing"))
        return Exit.NO_ANSWER
    return Exit.DONE


async def _fly(args: argparse.Namespace, console: Console, flight: _Flight) -> None:
    async with open_vehicle(args, console) as vehicle:
        link = _frame_link(vehicle, console)
        flight.databases = vehicle.databases
        targets = await _targets(vehicle, console) if args.poll else []
        work = [_take(link, flight), _judge(flight)]
        async with requests_through(link) as requests:
            if targets:
                work.append(poll_codes(requests, targets, args.poll, vehicle.timeout_s, flight.codes))
            await until_one_ends(work, args.duration)


async def _targets(vehicle: OpenVehicle, console: Console) -> list[Target]:
    """Whose codes are read again and again; without an answer the frames are recorded all the same."""
    try:
        _, targets = await find_code_targets(vehicle, lambda stage: console.stage(stage.in_language(console.tr.lang)))
    except LinkLost:
        raise
    except DiagError:
        console.note(console.tr("log.record.no_codes"))
        return []
    finally:
        console.stage_done()
    return targets


async def _take(link: FrameLink, flight: _Flight) -> None:
    with link.frames(is_sent_wanted=True) as subscription:
        while frames := await subscription.batch():
            flight.frames += len(frames)
            flight.recent.extend(frames)
            for event in flight.recorder.take(frames):
                flight.event(event)
            flight.console.stage(flight.console.tr("log.record.flying", n=flight.frames, events=flight.events))


async def _judge(flight: _Flight) -> None:
    while True:
        await asyncio.sleep(_JUDGE_S)
        flight.judge()
