"""``huizhen live``: a car under watch; signals, battery, codes and findings as they change."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

from huizhen.exits import Exit
from huizhen.links import add_link_options, seconds

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from diag.addressing import Target
    from diag.alerts import Notice
    from diag.facts import DtcChange
    from diag.samples import Series
    from diag.vehiclereport import VehicleReport
    from huizhen.cli import Commands
    from huizhen.console import Console
    from huizhen.language import Translator
    from huizhen.links import OpenVehicle
    from huizhen.livewatch import Watch

__all__ = ["add_parser", "run"]

_DUMB: Final = frozenset({"", "dumb", "unknown"})
_LONGEST_S: Final = 86_400.0


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= _LONGEST_S:
        raise ValueError(text)
    return value


def add_parser(commands: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    """Names the options of ``live``."""
    parser = commands.add_parser(
        "live",
        parents=[common],
        help=tr("live.help"),
        description=tr("live.description"),
        epilog=tr("live.epilog"),
    )
    parser.add_argument("signals", nargs="*", metavar="SIGNAL", help=tr("live.signals"))
    parser.add_argument("--duration", type=_seconds, metavar="S", help=tr("live.duration"))
    parser.add_argument("--poll", type=seconds, default=5.0, metavar="S", help=tr("live.poll"))
    parser.add_argument("--no-codes", action="store_true", help=tr("live.no_codes"))
    parser.add_argument("--plain", action="store_true", help=tr("live.plain"))
    parser.add_argument("--recordings", metavar="FOLDER", help=tr("live.recordings"))
    parser.add_argument("--vss", action="store_true", help=tr("live.vss"))
    add_link_options(parser, tr, needs_frames=False)


def run(args: argparse.Namespace, console: Console) -> int:
    """Watches until the person leaves or ``--duration`` is over; returns the exit code."""
    return _run_dashboard(args, console) if _is_for_dashboard(args, console) else _run_lines(args, console)


def _is_for_dashboard(args: argparse.Namespace, console: Console) -> bool:
    """A dashboard needs a terminal at both ends, one that takes colours and moves its cursor."""
    from huizhen.console import wants_json

    if wants_json(args) or args.plain or "NO_COLOR" in os.environ:
        return False
    if os.environ.get("TERM", "" if os.name == "posix" else "windows") in _DUMB:
        return False
    return all(stream.isatty() for stream in (sys.stdin, console.out, console.err))


def _run_dashboard(args: argparse.Namespace, console: Console) -> int:
    import asyncio

    from huizhen.dashboard import show_dashboard

    feed = asyncio.run(show_dashboard(args, console))
    recorder = feed.recorder
    if recorder.path is not None:
        console.note(console.tr("dashboard.recording.done", path=recorder.path, n=recorder.frames))
    for finding in feed.standing:
        console.line(f"{console.style('●', finding.severity.value)} {finding.title.in_language(console.tr.lang)}")
    if not feed.watch.is_heard:
        console.error(console.tr("live.nothing"))
        return Exit.NO_ANSWER
    return Exit.DONE


def _run_lines(args: argparse.Namespace, console: Console) -> int:
    import asyncio

    from diag.errors import LinkLost
    from huizhen.livewatch import Watch

    watch = Watch()
    view = _View(args, console, watch)
    lost: LinkLost | None = None
    try:
        asyncio.run(_live(args, console, watch, view))
    except KeyboardInterrupt:
        pass
    except LinkLost as error:
        lost = error
    console.stage_done()
    if lost is not None:
        raise lost
    if not watch.is_heard:
        console.error(console.tr("live.nothing"))
        return Exit.NO_ANSWER
    return Exit.DONE


async def _live(args: argparse.Namespace, console: Console, watch: Watch, view: _View) -> None:
    from diag.direct import DirectLink
    from huizhen.console import wants_json
    from huizhen.links import open_vehicle
    from huizhen.livewatch import follow
    from huizhen.scanview import show_simulated

    async with open_vehicle(args, console) as vehicle:
        if vehicle.simulated and not wants_json(args):
            show_simulated(console)
        watch.databases = vehicle.databases
        report: VehicleReport | None = None
        targets: list[Target] = []
        if not args.no_codes or isinstance(vehicle.link, DirectLink):
            report, targets = await _who_answers(vehicle, watch, console)
        await follow(
            vehicle,
            watch,
            console,
            view.show,
            report=report,
            targets=[] if args.no_codes else targets,
            poll_s=args.poll,
            duration_s=args.duration,
        )


async def _who_answers(
    vehicle: OpenVehicle, watch: Watch, console: Console
) -> tuple[VehicleReport | None, list[Target]]:
    """By one ordinary scan; without an answer the broadcast frames are watched all the same, where there are any.

    Raises:
        DiagError: nobody answers, and this link carries no broadcast frames.
    """
    from diag.direct import DirectLink
    from diag.errors import DiagError, LinkLost
    from huizhen.livewatch import find_code_targets

    try:
        report, targets = await find_code_targets(
            vehicle, lambda stage: console.stage(stage.in_language(console.tr.lang))
        )
        watch.ecus = report.ecus
    except LinkLost:
        raise
    except DiagError:
        if isinstance(vehicle.link, DirectLink):
            raise
        console.note(console.tr("live.no_answers"))
        return None, []
    finally:
        console.stage_done()
    return report, targets


class _View:
    """Lines, or JSON lines where asked for."""

    def __init__(self, args: argparse.Namespace, console: Console, watch: Watch) -> None:
        self._args, self._console, self._watch = args, console, watch
        self._is_json = bool(getattr(args, "json", False) or getattr(args, "jsonl", False))
        self._changes = 0
        self._checked = self._has_listed = False

    def show(self, notices: Sequence[Notice]) -> None:
        """Once a second."""
        self._check_names()
        changes = self._watch.changes[self._changes :]
        self._changes = len(self._watch.changes)
        if self._is_json:
            self._json(notices, changes)
        else:
            for notice in notices:
                self._console.line(self._notice(notice))
            for change in changes:
                self._console.line(self._change(change))
            if self._watch.dtcs and not self._has_listed:
                self._has_listed = True
                self._codes_line()
            self._values_line()
            self._console.out.flush()

    def _check_names(self) -> None:
        if self._checked or not self._watch.names:
            return
        self._checked = True
        unknown = [name for name in self._args.signals if name not in self._watch.names]
        if unknown:
            self._console.note(self._console.tr("live.unknown", names=self._console.tr.listed(unknown)))

    def _notice(self, notice: Notice) -> str:
        from diag.alerts import Change

        tr, finding = self._console.tr, notice.finding
        word = {
            Change.BEGAN: tr("live.began"),
            Change.ROSE: tr("live.rose"),
            Change.FELL: tr("live.fell"),
            Change.ENDED: tr("live.ended"),
        }[notice.change]
        style = "dim" if notice.change is Change.ENDED else finding.severity.value
        badge = self._console.style(f"[{word}]", style)
        return f"{_clock(notice.t_ns)} {badge} {finding.title.in_language(tr.lang)}"

    def _change(self, change: DtcChange) -> str:
        before = "–" if change.before is None else f"{change.before.mask:02X}"
        after = "–" if change.after is None else f"{change.after.mask:02X}"
        return f"{_clock(change.t_ns)} {change.ecu} {change.code} {before} → {after}"

    def _codes_line(self) -> None:
        tr = self._console.tr
        codes = [f"{dtc.display} {dtc.ecu}" for dtcs in self._watch.dtcs.values() for dtc in dtcs if dtc.is_fault]
        if codes:
            self._console.wrapped(tr("live.codes", codes=tr.listed(codes)))

    def _values_line(self) -> None:
        series = self._watch.series(1)
        words = [f"{name} {_value(series.get(name))}" for name in self._args.signals]
        if words:
            self._console.line("  ".join(words))

    def _json(self, notices: Sequence[Notice], changes: Sequence[DtcChange]) -> None:
        import time

        from diag.facts import iso_from_ns

        series = self._watch.series(1)
        self._console.json(
            {
                "schema": "huizhen.live/1",
                "t": iso_from_ns(time.time_ns()),
                "frames": self._watch.frames,
                "answers": self._watch.answers,
                "values": {
                    name: (float(series[name].values[-1]) if name in series else None) for name in self._args.signals
                },
                "notices": [notice.to_json() for notice in notices],
                "changes": [change.to_json() for change in changes],
                "standing": [finding.code for finding in self._watch.alerts.standing],
                **({"vss": _vss(self._watch, series)} if self._args.vss else {}),
            }
        )


def _vss(watch: Watch, series: Mapping[str, Series]) -> dict[str, Any]:
    """What is known now, by the names of the Vehicle Signal Specification."""
    from diag.vss import vss_from_battery, vss_from_series

    battery = vss_from_battery(watch.battery) if watch.battery is not None else {}
    return battery | vss_from_series(watch.databases, series)


def _clock(t_ns: int) -> str:
    from datetime import datetime

    return datetime.fromtimestamp(t_ns / 1e9).astimezone().strftime("%H:%M:%S")


def _value(item: Series | None) -> str:
    return "–" if item is None else f"{float(item.values[-1]):g} {item.unit}".rstrip()
