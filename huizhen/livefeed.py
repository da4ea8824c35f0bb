"""What the dashboard shows, kept up to date: the link with its losses, frames, signals, codes, findings, recording.

A link that is lost is opened again until it is there; nothing is judged meanwhile, because a car that cannot be heard
has not become healthy.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from diag.broadcast import choose_database
from diag.canbus import CanLink
from diag.direct import DirectLink
from diag.errors import DiagError, LinkLost, NoAdapter
from diag.limits import limits_for
from diag.reviving import RevivingLink
from huizhen.busload import BusLoad
from huizhen.errors import BadUsage
from huizhen.heatmap import CellBoard, Pack
from huizhen.links import open_vehicle
from huizhen.liverecord import LiveRecorder
from huizhen.livewatch import (
    FirstFrames,
    Watch,
    find_code_targets,
    keep_asking,
    poll_codes,
    requests_through,
    until_one_ends,
)
from huizhen.panelrows import cut
from huizhen.stripchart import RATE_HZ, SignalHistory

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from diag.addressing import Target
    from diag.alerts import Notice
    from diag.asked import AskedStream
    from diag.facts import Dtc, Finding, Text
    from diag.frames import Frame, FrameLink
    from diag.live import SignalBoard
    from diag.samples import SignalInfo
    from diag.vehiclereport import VehicleReport
    from huizhen.console import Console
    from huizhen.links import OpenVehicle

__all__ = ["Clock", "LiveFeed"]

_RETRY_S: Final = 1.0
_SILENT_S: Final = 2.0
"""Without a frame for so long the link counts as lost: any car that is awake says something every 100 ms."""
_NO_ANSWER_S: Final = 10.0
"""The same where each value is asked for: an ELM327 takes a second and more for a round, and codes are read between."""
_ROUNDS: Final = 3
_FIRST_ROUND_S: Final = 60.0
"""What can be asked for is learnt in the first round, which asks for everything."""
_SETTLE_S: Final = 3.0
"""After a loss nothing is judged until the signals are there again."""
_BREATH_S: Final = 0.025
_TICK_S: Final = 1.0
_ASK_AGAIN_S: Final = 20.0
_KEPT_NOTICES: Final = 200
_LONGEST_PLACE: Final = 16
_MOST_LATE: Final = 20
"""Samples that are made up for when the screen was late: two seconds."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds of a steady clock, and UTC in nanoseconds."""

    steady_s: Callable[[], float] = time.monotonic
    utc_ns: Callable[[], int] = time.time_ns


class _Notes(io.StringIO):
    """What a link says on standard error, for the dashboard's last line."""

    def __init__(self, feed: LiveFeed) -> None:
        super().__init__()
        self._feed = feed

    def write(self, text: str) -> int:
        """Takes a whole note."""
        if text.strip():
            self._feed.say(text.strip())
        return len(text)


class LiveFeed:
    """One car under watch, for a screen.

    Args:
        args: of ``huizhen live``, with the link options.
        console: for its language; nothing is written to it.
        clock: another than this machine's.

    Attributes:
        watch: signals, battery, codes and findings.
        load: of the bus.
        recorder: of its frames.
        history: of all signals, None until a database is known.
        standing: findings that stand, the most urgent first.
        notices: what began, rose, fell and ended, the oldest first.
        is_judged: the car was judged at least once.
        message: what happened last, and when.
        losses: how often the link was lost.
        round_s: how long one round of asking took, where values are asked for.
    """

    def __init__(self, args: argparse.Namespace, console: Console, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self._args, self.tr = args, console.tr
        self._console = replace(console, err=_Notes(self), quiet=False)
        self.watch = Watch()
        self.load = BusLoad()
        self.recorder = LiveRecorder(Path(getattr(args, "recordings", None) or "."))
        self.history: SignalHistory | None = None
        self.standing: tuple[Finding, ...] = ()
        self.notices: deque[Notice] = deque(maxlen=_KEPT_NOTICES)
        self.is_judged = False
        self.message: tuple[str, float] | None = None
        self.opened = asyncio.Event()
        self.losses = 0
        self.place = ""
        self.is_simulated = False
        self.dropped = 0
        self.round_s = 0.0
        self.stage: str | None = None
        self.codes_read_s: float | None = None
        self._cells: CellBoard | None = None
        self._board: SignalBoard | AskedStream | None = None
        self._link: FrameLink | DirectLink | None = None
        self._report: VehicleReport | None = None
        self._answers = 0
        self._targets: list[Target] = []
        self._why = ""
        self._heard_s = self._opened_s = self.clock.steady_s()
        self._trouble_since: float | None = None
        self._settled_s = 0.0
        self._first_sample_s: float | None = None

    def say(self, text: str) -> None:
        """Something for the last line of the screen."""
        self.message = text, self.clock.steady_s()

    # -- the link ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Watches without end; a lost link is opened again.

        Raises:
            BadUsage: the options name nothing, before anything was open; so do the next two.
            NoAdapter: it cannot be opened.
            LinkLost: it went away at once.
        """
        try:
            while True:
                try:
                    async with open_vehicle(self._args, self._console) as vehicle:
                        await self._follow(vehicle)
                except (LinkLost, NoAdapter, BadUsage) as error:
                    if not self.opened.is_set():
                        raise
                    self._why = self.tr.error(error)
                finally:
                    self._link = None
                await asyncio.sleep(_RETRY_S)
        finally:
            self.recorder.stop()

    async def _follow(self, vehicle: OpenVehicle) -> None:
        link, info = vehicle.link, vehicle.link.info
        speed = f" {info.bitrate // 1000}k" if info.bitrate else ""
        self.place = f"{cut(info.channel.rpartition('/')[2], _LONGEST_PLACE)}{speed}"
        self.is_simulated = vehicle.simulated
        self.load.bitrate, self.load.data_bitrate = info.bitrate, self._args.data_bitrate
        self.watch.databases = self.watch.databases or vehicle.databases
        self._link = link
        self._opened_s = self.clock.steady_s()
        self.opened.set()
        work = [self._judge(), self._ask(vehicle)]
        if not isinstance(link, DirectLink):
            work.append(self._take(link))
        await until_one_ends(work)

    @property
    def is_asked(self) -> bool:
        """Nothing is heard through this link but answers: there is no bus load, and nothing to record."""
        return isinstance(self._link, DirectLink)

    def trouble(self) -> tuple[str, float] | None:
        """Why nothing comes and for how many seconds; None while frames come."""
        now = self.clock.steady_s()
        why = self._trouble_now(now)
        if why is None:
            if self._trouble_since is not None:
                self._trouble_since, self._settled_s = None, now + _SETTLE_S
            return None
        if self._trouble_since is None:
            self.losses += 1
            self._trouble_since = max(self._heard_s, self._opened_s) if self._link is not None else now
        return why, now - self._trouble_since

    def _trouble_now(self, now: float) -> str | None:
        if self._link is None:
            return self._why or (self.tr("dashboard.status.opening") if self.opened.is_set() else None)
        if isinstance(self._link, CanLink | RevivingLink) and self._link.is_away:
            return self.tr("dashboard.status.unplugged")
        if self.is_asked:
            limit_s = max(_NO_ANSWER_S, _ROUNDS * self.round_s) if self.round_s else _FIRST_ROUND_S
            is_patient = self.stage is not None or now - max(self._heard_s, self._opened_s) <= limit_s
            return None if is_patient else self.tr("dashboard.status.no_answer")
        if now - max(self._heard_s, self._opened_s) <= _SILENT_S:
            return None
        return self.tr("dashboard.status.silent") if self.watch.frames else self.tr("dashboard.status.nothing_yet")

    # -- answers -----------------------------------------------------------------------------------------------------

    async def _ask(self, vehicle: OpenVehicle) -> None:
        """Reads all codes again and again, and the values where no frame tells any, of those whom a scan found.

        Where nobody answers, or nobody on a bus tells codes through UDS, it is scanned again.
        """
        if self._args.no_codes and not self.is_asked:
            await asyncio.Event().wait()
        while self._report is None or not (self._targets or self.is_asked):
            self._report = await self._find_ecus(vehicle) or self._report
            if self._report is None or not (self._targets or self.is_asked):
                await asyncio.sleep(_ASK_AGAIN_S)
        async with requests_through(vehicle.link) as requests:
            timeout_s, hear = vehicle.timeout_s, self._hear_answers
            work = [keep_asking(requests, timeout_s, self._report, self.watch, self._console, hear)]
            if self._targets and not self._args.no_codes:
                work.append(poll_codes(requests, self._targets, self._args.poll, timeout_s, self._keep))
            await until_one_ends(work)

    def _hear_answers(self, stream: AskedStream) -> None:
        if self.is_asked and stream.taken != self._answers:
            self._heard_s = self.clock.steady_s()
        self._answers, self.round_s = stream.taken, stream.round_s

    async def _find_ecus(self, vehicle: OpenVehicle) -> VehicleReport | None:
        """An ordinary scan; None where nobody answers.

        Raises:
            LinkLost: the adapter went away.
        """
        try:
            report, self._targets = await find_code_targets(vehicle, self._tell_stage)
        except LinkLost:
            raise
        except DiagError:
            self.say(self.tr("dashboard.status.no_answer") if self.is_asked else self.tr("live.no_answers"))
            return None
        finally:
            self.stage = None
        if self.is_asked:
            self._heard_s = self.clock.steady_s()
            vehicle.remember()
        self._keep_report(report)
        return report

    # -- frames ------------------------------------------------------------------------------------------------------

    async def _take(self, link: FrameLink) -> None:
        first = FirstFrames(self.clock.steady_s())
        with link.frames(is_sent_wanted=True) as subscription:
            while frames := await subscription.batch():
                now = self.clock.steady_s()
                self.load.take(frames, now)
                self._record(frames)
                self.dropped = subscription.dropped
                received = [frame for frame in frames if not frame.tx]
                if received:
                    self._heard_s = now
                if self.watch.databases:
                    self.watch.take(received)
                else:
                    self.watch.frames += len(received)
                    if first.take(received, now):
                        # Loading databases takes a second and more: the screen goes on meanwhile.
                        choice = await asyncio.to_thread(choose_database, first.heard)
                        if choice is None:
                            self.watch.is_unrecognised |= first.miss(self.clock.steady_s())
                        else:
                            self.watch.databases = (choice.database,)
                            if choice.is_guess:
                                self.say(choice.note.in_language(self.tr.lang))
                await asyncio.sleep(_BREATH_S)

    def sample(self) -> None:
        """One sample of every signal, at the rate of the charts; late calls are made up for."""
        board = self.watch.board
        now = self.clock.steady_s()
        if board is None:
            return
        if board is not self._board or self.history is None:
            self._board, self._first_sample_s = board, now
            self.history = SignalHistory(len(board.schema.signals))
            self._cells = CellBoard(board.schema.signals, limits_for(None).cell_possible_v)
        block = board.block(time.monotonic_ns(), time.time_ns())
        due = int((now - (self._first_sample_s or now)) * RATE_HZ) + 1 - self.history.total
        if due > _MOST_LATE:
            nothing = np.zeros(len(block.valid), dtype=np.bool_)
            for _ in range(due - 1):
                self.history.add(block.values, nothing)
            due = 1
        for _ in range(max(0, due)):
            self.history.add(block.values, block.valid)

    def pack(self) -> Pack:
        """The cells of now."""
        if self._board is None or self._cells is None:
            return Pack(np.zeros(0), (), state=self.watch.battery)
        block = self._board.block(time.monotonic_ns(), time.time_ns())
        self._cells.learn(block.valid)
        return self._cells.pack(block.values, block.valid, self.watch.battery)

    @property
    def signals(self) -> Sequence[SignalInfo]:
        """Of all loaded databases; empty until one is known."""
        return self.watch.board.schema.signals if self.watch.board is not None else ()

    def usual_signals(self) -> tuple[str, ...]:
        """What is worth a chart where nobody has chosen: current, voltage and charge of the pack."""
        names = self._cells.names if self._cells is not None else None
        if names is None:
            return ()
        found = (names.current, names.pack_v[0] if names.pack_v else None, names.soc)
        return tuple(name for name in found if name)

    # -- codes and findings ------------------------------------------------------------------------------------------

    @property
    def dtcs(self) -> tuple[Dtc, ...]:
        """All codes as they were read last."""
        return tuple(dtc for codes in self.watch.dtcs.values() for dtc in codes)

    async def _judge(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + _TICK_S, loop.time())
            await asyncio.sleep(due - loop.time())
            if self.trouble() is not None or self.clock.steady_s() < self._settled_s or self.watch.board is None:
                continue
            t_ns = self.watch.sample()
            findings = await asyncio.to_thread(self.watch.judge)
            self.notices.extend(self.watch.alerts.update(findings, t_ns))
            self.standing = self.watch.alerts.standing
            self.is_judged = True

    def _tell_stage(self, stage: Text) -> None:
        self.stage = stage.in_language(self.tr.lang)

    def _keep(self, ecu: str, dtcs: tuple[Dtc, ...]) -> None:
        self.watch.codes(ecu, dtcs)
        self.codes_read_s = self.clock.steady_s()

    def _keep_report(self, report: VehicleReport) -> None:
        """Who answers, and the codes of those who do not tell them through UDS: they are as old as the scan."""
        self.watch.ecus = report.ecus
        often = {target.address for target in self._targets}
        read = [ecu.address for ecu in report.ecus if ecu.codes_read]
        for address in dict.fromkeys((*read, *(dtc.ecu for dtc in report.dtcs))):
            if address and address not in often:
                self._keep(address, tuple(dtc for dtc in report.dtcs if dtc.ecu == address))

    def codes_note(self) -> str:
        """How fresh the codes are, or why there are none."""
        if self._args.no_codes:
            return self.tr("dashboard.codes.off")
        if self.stage is not None:
            return self.stage
        if self.codes_read_s is None:
            return self.tr("dashboard.codes.waiting")
        return self.tr("dashboard.codes.age", seconds=f"{self.clock.steady_s() - self.codes_read_s:.0f}")

    # -- recording ---------------------------------------------------------------------------------------------------

    def toggle_recording(self) -> None:
        """Starts a recording, or ends the one that is on."""
        recorder = self.recorder
        if self.is_asked:
            self.say(self.tr("dashboard.recording.needs_bus"))
            return
        if recorder.is_on:
            recorder.stop()
            self.say(self.tr("dashboard.recording.done", path=recorder.path, n=recorder.frames))
            return
        stamp = datetime.fromtimestamp(self.clock.utc_ns() / 1e9).astimezone().strftime("%Y%m%d-%H%M%S")
        try:
            path = recorder.start(stamp, self.clock.steady_s())
        except OSError as error:
            self.say(self.tr("dashboard.recording.failed", reason=error.strerror or str(error)))
            return
        self.say(self.tr("dashboard.recording.started", path=path))

    def _record(self, frames: Sequence[Frame]) -> None:
        """Writes what came; says it when a recording ends by itself."""
        self.recorder.take(frames)
        if self.recorder.failure is not None:
            self.say(self.tr("dashboard.recording.failed", reason=self.recorder.failure))
            self.recorder.failure = None
