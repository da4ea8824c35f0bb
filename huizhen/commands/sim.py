"""``huizhen sim``: simulated cars for other programs."""

from __future__ import annotations

import argparse
import json
import math
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from huizhen.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from huizhen.cli import Commands
    from huizhen.console import Console
    from huizhen.language import Translator
    from virtualbus.farm import Farm
    from virtualbus.faults import Fault
    from virtualbus.fleet import FleetPlan

__all__ = ["add_parser", "run"]

_MAX_SEED: Final = 2**32 - 1
_MOST_CARS: Final = 1_000_000
_MOST_BATCHES: Final = 1000
_MOST_TIMES: Final = 1000.0
_RISE: Final = re.compile(r"([a-z][a-z-]*):(\d{1,4}(?:\.\d{1,3})?):(\d{1,4})")
_LOOK_S: Final = 0.2
_DEFAULT: Final = "healthy"


def add_parser(commands: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    """Names the options of ``sim list``, ``sim show`` and ``sim run``."""
    parser = commands.add_parser(
        "sim", parents=[common], help=tr("sim.help"), description=tr("sim.help"), epilog=tr("sim.example")
    )
    actions = parser.add_subparsers(dest="action", metavar=tr("cli.command"), title=tr("sim.action"), required=True)
    listing = actions.add_parser(
        "list",
        parents=[common],
        help=tr("sim.list.help"),
        description=tr("sim.list.help"),
        epilog="huizhen sim list --faults",
    )
    which = listing.add_mutually_exclusive_group()
    which.add_argument("--vehicles", action="store_true", help=tr("sim.list.vehicles"))
    which.add_argument("--faults", action="store_true", help=tr("sim.list.faults"))
    show = actions.add_parser(
        "show",
        parents=[common],
        help=tr("sim.show.help"),
        description=tr("sim.show.help"),
        epilog="huizhen sim show weak-cell",
    )
    show.add_argument("scenario", metavar="NAME|FILE", help=tr("sim.option.name"))
    go = actions.add_parser(
        "run", parents=[common], help=tr("sim.run.help"), description=tr("sim.run.help"), epilog=tr("sim.example")
    )
    go.add_argument("--front", action="append", required=True, metavar="FRONT", help=tr("sim.option.front"))
    source = go.add_mutually_exclusive_group()
    source.add_argument("--scenario", default=_DEFAULT, metavar="NAME|FILE", help=tr("sim.option.name"))
    source.add_argument("--from", dest="source", metavar="FILE", help=tr("sim.option.from"))
    go.add_argument("--seed", type=_seed(tr), metavar="N", help=tr("sim.option.seed"))
    go.add_argument("--duration", type=_duration(tr), metavar="S", help=tr("sim.option.duration"))
    go.add_argument("--bench", action="store_true", help=tr("sim.option.bench"))
    go.add_argument("--tap", metavar="FILE.parquet", help=tr("sim.option.tap"))
    record = actions.add_parser(
        "record", parents=[common], help=tr("sim.record.help"), description=tr("sim.record.help"),
        epilog="huizhen sim record --scenario ev800 --duration 60 -o drive.blf",
    )  # fmt: skip
    record.add_argument("--scenario", default=_DEFAULT, metavar="NAME|FILE", help=tr("sim.option.name"))
    record.add_argument("--seed", type=_seed(tr), metavar="N", help=tr("sim.option.seed"))
    record.add_argument("--duration", type=_duration(tr), metavar="S", default=60.0, help=tr("sim.option.duration"))
    record.add_argument("-o", "--output", required=True, metavar="FILE", help=tr("sim.record.output"))
    fleet = actions.add_parser(
        "fleet", parents=[common], help=tr("sim.fleet.help"), description=tr("sim.fleet.help"),
        epilog="huizhen sim fleet --count 100 -o reports/",
    )  # fmt: skip
    fleet.add_argument("--count", type=_number(tr), default=100, metavar="N", help=tr("sim.fleet.count"))
    fleet.add_argument("--seed", type=_seed(tr), default=1, metavar="N", help=tr("sim.option.seed"))
    fleet.add_argument("-o", "--output", required=True, metavar="FOLDER", help=tr("sim.fleet.output"))
    fleet.add_argument("--jobs", type=_number(tr), metavar="N", help=tr("sim.fleet.jobs"))
    fleet.add_argument("--truth", metavar="FILE.jsonl", help=tr("sim.fleet.truth"))
    fleet.add_argument("--vehicle", metavar="NAME", help=tr("sim.fleet.vehicle"))
    fleet.add_argument("--batches", type=_number(tr), metavar="N", help=tr("sim.fleet.batches"))
    fleet.add_argument("--weeks", type=_number(tr), metavar="N", help=tr("sim.fleet.weeks"))
    fleet.add_argument("--rise", metavar="FAULT:TIMES:WEEK", help=tr("sim.fleet.rise"))
    fleet.add_argument("--mismatch", type=_number(tr), metavar="BATCH", help=tr("sim.fleet.mismatch"))
    fleet.add_argument("--confounded", type=_number(tr), metavar="BATCH", help=tr("sim.fleet.confounded"))


def _seed(tr: Translator) -> Callable[[str], int]:
    def seed(text: str) -> int:
        if not text.isdecimal() or int(text) > _MAX_SEED:
            raise argparse.ArgumentTypeError(tr("sim.option.bad_seed", high=_MAX_SEED))
        return int(text)

    return seed


def _number(tr: Translator) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or not 1 <= int(text) <= _MOST_CARS:
            raise argparse.ArgumentTypeError(tr("sim.fleet.bad_number", high=_MOST_CARS))
        return int(text)

    return number


def _duration(tr: Translator) -> Callable[[str], float]:
    def duration(text: str) -> float:
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not 0 < seconds < math.inf:
            raise argparse.ArgumentTypeError(tr("sim.option.bad_duration"))
        return seconds

    return duration


def run(args: argparse.Namespace, console: Console) -> int:
    """Lists, shows or runs; returns the exit code."""
    actions = {"list": _list, "show": _show, "run": _run, "record": _record, "fleet": _fleet}
    return actions[args.action](args, console)


def _list(args: argparse.Namespace, console: Console) -> int:
    if args.vehicles:
        return _list_vehicles(args, console)
    if args.faults:
        return _list_faults(args, console)
    from virtualbus import scenarios
    from virtualbus.scenario import find_scenario

    found = [find_scenario(name) for name in scenarios()]
    rows = [{"name": item.name, "vehicle": item.vehicle, "title": item.title._asdict()} for item in found]
    if getattr(args, "jsonl", False):
        for row in rows:
            console.json({"schema": "huizhen.scenario/1", **row})
    elif getattr(args, "json", False):
        console.json({"schema": "huizhen.scenarios/1", "scenarios": rows})
    else:
        console.table(
            [(item.name, item.vehicle, getattr(item.title, console.tr.lang)) for item in found],
            (console.tr("sim.list.scenario"), console.tr("sim.list.vehicle"), console.tr("sim.list.what")),
        )
    return Exit.DONE


def _print_list(args: argparse.Namespace, console: Console, what: str, rows: list[dict[str, Any]]) -> bool:
    """As JSON where asked for; False when a table is wanted."""
    if getattr(args, "jsonl", False):
        for row in rows:
            console.json({"schema": f"huizhen.{what}/1", **row})
        return True
    if getattr(args, "json", False):
        console.json({"schema": f"huizhen.{what}s/1", f"{what}s": rows})
        return True
    return False


def _list_vehicles(args: argparse.Namespace, console: Console) -> int:
    from virtualbus.vehicles import VEHICLES

    rows = [
        {
            "name": vehicle.name,
            "title": vehicle.title._asdict(),
            "cells": vehicle.cells,
            "ecus": list(vehicle.ecus),
            "speaks": vehicle.speaks,
            "bitrate": vehicle.bitrate,
            "databases": [path.name for path in vehicle.databases],
        }
        for vehicle in VEHICLES.values()
    ]
    if not _print_list(args, console, "vehicle", rows):
        lang = console.tr.lang
        console.table(
            [(vehicle.name, getattr(vehicle.title, lang)) for vehicle in VEHICLES.values()],
            (console.tr("sim.list.vehicle"), console.tr("sim.list.what")),
        )
    return Exit.DONE


def _list_faults(args: argparse.Namespace, console: Console) -> int:
    from virtualbus.faults import FAULTS

    rows = [
        {
            "kind": kind.name,
            "title": kind.title._asdict(),
            "from_s": kind.from_s,
            "settings": {
                name: {"kind": setting.kind, "low": setting.low, "high": setting.high, "mild": setting.mild,
                       "severe": setting.severe}
                for name, setting in kind.settings.items()
            },
        }
        for kind in FAULTS.values()
    ]  # fmt: skip
    if not _print_list(args, console, "fault", rows):
        lang = console.tr.lang
        console.table(
            [(kind.name, getattr(kind.title, lang), " ".join(kind.settings)) for kind in FAULTS.values()],
            (console.tr("sim.show.fault"), console.tr("sim.list.what"), console.tr("sim.list.settings")),
        )
    return Exit.DONE


def _settings(fault: Fault) -> dict[str, Any]:
    """What the scenario says of a fault, and what follows from its severity; None = drawn from the seed."""
    out: dict[str, Any] = {"from_s": fault.from_s, "severity": fault.severity}
    for name, setting in fault.kind.settings.items():
        follows = float(f"{setting.at(fault.severity):.4g}") if setting.kind == "number" else setting.default
        out[name] = fault.given.get(name, follows)
    return out


def _show(args: argparse.Namespace, console: Console) -> int:
    from virtualbus.scenario import find_scenario

    scenario = find_scenario(args.scenario)
    if getattr(args, "json", False) or getattr(args, "jsonl", False):
        console.json(
            {
                "schema": "huizhen.scenario/1",
                "name": scenario.name,
                "vehicle": scenario.vehicle,
                "seed": scenario.seed,
                "now": scenario.now,
                "environment": {"ambient_c": scenario.environment.ambient_c, "wet": scenario.environment.wet},
                "history": asdict(scenario.history),
                "cycle": [asdict(phase) for phase in scenario.cycle],
                "transport": [{"kind": fault.kind, "ecu": fault.ecu, **fault.figures} for fault in scenario.transport],
                "title": scenario.title._asdict(),
                "faults": [{"kind": fault.kind.name, **_settings(fault)} for fault in scenario.faults],
            }
        )
        return Exit.DONE
    console.line(console.style(getattr(scenario.title, console.tr.lang), "title"))
    from virtualbus.vehicles import VEHICLES

    lang = console.tr.lang
    cycle = " → ".join(
        f"{phase.do} {phase.minutes:g} min" + (f" ({phase.profile})" if phase.do == "drive" else "")
        for phase in scenario.cycle
    )
    vehicle = getattr(VEHICLES[scenario.vehicle].title, lang)
    console.wrapped(console.tr("sim.show.story", vehicle=vehicle, cycle=cycle, now=scenario.now))
    if not scenario.faults and not scenario.transport:
        console.line(console.tr("sim.sound"))
        return Exit.DONE
    drawn, before = console.tr("sim.show.drawn"), console.tr("sim.show.before")
    rows = [
        (fault.kind.name, name, str(value) if value is not None else before if name == "from_s" else drawn)
        for fault in scenario.faults
        for name, value in _settings(fault).items()
    ]
    rows += [
        (console.tr("sim.show.trouble", kind=trouble.kind), name, str(value))
        for trouble in scenario.transport
        for name, value in {"ecu": trouble.ecu or "*", **trouble.figures}.items()
    ]
    head = (console.tr("sim.show.fault"), console.tr("sim.show.setting"), console.tr("sim.show.value"))
    console.table(rows, head)
    return Exit.DONE


def _run(args: argparse.Namespace, console: Console) -> int:
    import signal
    import threading
    import time

    from virtualbus.car import Car
    from virtualbus.fronts import open_fronts, parse_front
    from virtualbus.runner import CarRunner
    from virtualbus.scenario import find_scenario

    addresses = [parse_front(text) for text in args.front]
    farm = None if args.source is None else _farm(args.source)
    scenario = find_scenario(args.scenario)
    fronts = open_fronts(addresses, bench=args.bench)
    ending = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's signature
        ending.set()

    # Ctrl-C is the ordinary end of a server: it stops the car and closes the fronts, and that is no failure.
    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    runner: CarRunner | None = None
    try:
        car = farm if farm is not None else Car(scenario, args.seed)
        runner = CarRunner(car, fronts, tap_path=None if args.tap is None else Path(args.tap))
        runner.start()
        for front in fronts:
            console.json(dict(front.description))
        console.note(console.tr("sim.moving", name=args.source or args.scenario, vin=car.vin))
        until = math.inf if args.duration is None else time.monotonic() + args.duration
        while runner.is_moving and time.monotonic() < until:
            if ending.wait(min(_LOOK_S, max(0.0, until - time.monotonic()))):
                break
    finally:
        if runner is not None:
            runner.stop()
        else:
            for front in fronts:
                front.stop()
        for number, handler in before.items():
            signal.signal(number, handler)
    console.note(console.tr("sim.stopped"))
    return Exit.DONE


def _farm(path: str) -> Farm:
    """ECUs that answer as a case file or a recording says.

    Raises:
        dbc.errors.DbcError: the recording cannot be read.
        diag.errors.BundleBroken: the bundle cannot.
        virtualbus.errors.FarmBroken: nothing is asked in it.
    """
    from diag.bundle import is_bundle
    from virtualbus.farm import Farm, exchanges_from_cases, exchanges_from_frames

    if is_bundle(path):
        from huizhen.sessionbundle import load_session
        from huizhen.visitcar import parts_of_visit

        return Farm(Path(path).name, *parts_of_visit(load_session(path).tape))
    if path.endswith(".jsonl"):
        return Farm(Path(path).name, exchanges_from_cases(Path(path)))
    from dbc.recording.stream import stream_recording
    from dbc.table import ERROR, EXTENDED, REMOTE

    frames: list[tuple[int, int, bool, bytes]] = []
    with stream_recording(path) as stream:
        for table in stream.pieces():
            flags = table.flags.tolist()
            columns = zip(
                table.t_ns.tolist(), table.can_id.tolist(), flags, table.length.tolist(), table.data, strict=True
            )
            frames += [
                (t_ns, can_id, bool(flag & EXTENDED), data[:length].tobytes())
                for t_ns, can_id, flag, length, data in columns
                if not flag & (ERROR | REMOTE)
            ]
    exchanges, broadcast = exchanges_from_frames(sorted(frames, key=lambda frame: frame[0]))
    return Farm(Path(path).name, exchanges, broadcast)


def _record(args: argparse.Namespace, console: Console) -> int:
    from huizhen.simrecord import record_car
    from virtualbus.scenario import find_scenario

    scenario = find_scenario(args.scenario)
    frames, lost = record_car(scenario, args.seed, args.duration, args.output)
    if getattr(args, "json", False) or getattr(args, "jsonl", False):
        console.json(
            {
                "schema": "huizhen.sim-record/1",
                "output": args.output,
                "frames": frames,
                "duration_s": args.duration,
                "lost": [text._asdict() for text in lost],
            }
        )
        return Exit.DONE
    console.line(console.tr("sim.record.done", frames=frames, seconds=args.duration, path=args.output))
    for text in lost:
        console.wrapped(getattr(text, console.tr.lang))
    return Exit.DONE


def _plan(args: argparse.Namespace, tr: Translator) -> FleetPlan:
    """What the options plant in a fleet.

    Raises:
        BadUsage: a kind of car or fault that there is not, a batch or a week beyond the last.
    """
    from huizhen.errors import BadUsage
    from virtualbus.faults import FAULTS
    from virtualbus.fleet import BATCHES, FLEET_VEHICLES, MOST_WEEKS, FleetPlan, Rise
    from virtualbus.vehicles import VEHICLES

    if args.vehicle is not None and args.vehicle not in FLEET_VEHICLES:
        raise BadUsage(tr("sim.fleet.no_vehicle", name=args.vehicle, names=tr.listed(FLEET_VEHICLES)))
    batches, weeks = args.batches or BATCHES, args.weeks or 0
    if batches > _MOST_BATCHES or weeks > MOST_WEEKS:
        raise BadUsage(tr("sim.fleet.too_many", batches=_MOST_BATCHES, weeks=MOST_WEEKS))
    for number in (args.mismatch, args.confounded):
        if number is not None and number > batches:
            raise BadUsage(tr("sim.fleet.no_batch", number=number, batches=batches))
    if args.mismatch is not None and args.mismatch == args.confounded:
        raise BadUsage(tr("sim.fleet.same_batch"))
    plan = FleetPlan(args.vehicle, batches, weeks, None, args.mismatch, args.confounded)
    if args.rise is None:
        return plan
    found = _RISE.fullmatch(args.rise)
    if found is None or not weeks or not 1 <= int(found[3]) <= weeks or not 1.0 <= float(found[2]) <= _MOST_TIMES:
        raise BadUsage(tr("sim.fleet.bad_rise", said=args.rise, most=f"{_MOST_TIMES:g}"))
    if found[1] not in FAULTS or not all(FAULTS[found[1]].fits(VEHICLES[name]) for name in plan.vehicles):
        raise BadUsage(tr("sim.fleet.no_fault", name=found[1], vehicles=tr.listed(plan.vehicles)))
    return replace(plan, rise=Rise(found[1], float(found[2]), int(found[3])))


def _fleet(args: argparse.Namespace, console: Console) -> int:
    import os
    from contextlib import ExitStack

    from huizhen.errors import BadUsage
    from huizhen.fleet import scan_fleet
    from virtualbus.fleet import cars_on_the_road

    tr = console.tr
    plan = _plan(args, tr)
    folder = Path(args.output)
    faulty = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise BadUsage(tr("sim.fleet.taken", path=folder))
        with ExitStack() as stack:
            known = stack.enter_context((folder / "fleet.jsonl").open("w", encoding="utf-8"))
            truth = stack.enter_context(Path(args.truth).open("w", encoding="utf-8")) if args.truth else None
            if plan.weeks:
                rows = [f"{week},,{model},{cars}\n" for week, model, cars in cars_on_the_road(args.count, plan)]
                (folder / "exposure.csv").write_text("week,make,model,cars\n" + "".join(rows), "utf-8")
            for car in scan_fleet(args.count, args.seed, jobs=args.jobs or os.cpu_count() or 1, plan=plan):
                console.stage(tr("sim.fleet.stage", number=car.number, count=args.count))
                name = f"{car.number:06d}-{car.known['vin']}.json"
                report = {"schema": "huizhen.scan/1", **car.report}
                (folder / name).write_text(json.dumps(report, ensure_ascii=False), "utf-8")
                known.write(json.dumps({**car.known, "report": name}, ensure_ascii=False) + "\n")
                if truth is not None:
                    told = {"number": car.number, "vin": car.known["vin"], "faults": car.truth}
                    if car.planted is not None:
                        told["planted"] = car.planted
                    truth.write(json.dumps(told, ensure_ascii=False) + "\n")
                faulty += bool(report["dtcs"] or report["findings"])
    except OSError as error:
        raise BadUsage(tr("sim.fleet.cannot", path=error.filename or folder, reason=error.strerror)) from error
    console.stage_done()
    if getattr(args, "json", False) or getattr(args, "jsonl", False):
        console.json(
            {"schema": "huizhen.fleet/1", "cars": args.count, "with_faults_shown": faulty, "folder": str(folder)}
        )
    else:
        console.line(tr("sim.fleet.done", count=args.count, faulty=faulty, path=folder))
    return Exit.DONE
