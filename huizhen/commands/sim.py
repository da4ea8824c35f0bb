"""``huizhen sim``: simulated cars for other programs."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any, Final

from huizhen.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from huizhen.cli import Commands
    from huizhen.console import Console
    from huizhen.language import Translator
    from virtualbus.faults import Fault

__all__ = ["add_parser", "run"]

_MAX_SEED: Final = 2**32 - 1
_LOOK_S: Final = 0.2
_DEFAULT: Final = "healthy"


def add_parser(commands: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    """Names the options of ``sim list``, ``sim show`` and ``sim run``."""
    parser = commands.add_parser(
        "sim", parents=[common], help=tr("sim.help"), description=tr("sim.help"), epilog=tr("sim.example")
    )
    actions = parser.add_subparsers(dest="action", metavar=tr("cli.command"), title=tr("sim.action"), required=True)
    actions.add_parser(
        "list",
        parents=[common],
        help=tr("sim.list.help"),
        description=tr("sim.list.help"),
        epilog="huizhen sim list",
    )
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
    go.add_argument("--scenario", default=_DEFAULT, metavar="NAME|FILE", help=tr("sim.option.name"))
    go.add_argument("--seed", type=_seed(tr), metavar="N", help=tr("sim.option.seed"))
    go.add_argument("--duration", type=_duration(tr), metavar="S", help=tr("sim.option.duration"))
    go.add_argument("--bench", action="store_true", help=tr("sim.option.bench"))


def _seed(tr: Translator) -> Callable[[str], int]:
    def seed(text: str) -> int:
        if not text.isdecimal() or int(text) > _MAX_SEED:
            raise argparse.ArgumentTypeError(tr("sim.option.bad_seed", high=_MAX_SEED))
        return int(text)

    return seed


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
    actions = {"list": _list, "show": _show, "run": _run}
    return actions[args.action](args, console)


def _list(args: argparse.Namespace, console: Console) -> int:
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
            [(item.name, getattr(item.title, console.tr.lang)) for item in found],
            (console.tr("sim.list.scenario"), console.tr("sim.list.what")),
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
                "title": scenario.title._asdict(),
                "faults": [{"kind": fault.kind.name, **_settings(fault)} for fault in scenario.faults],
            }
        )
        return Exit.DONE
    console.line(console.style(getattr(scenario.title, console.tr.lang), "title"))
    if not scenario.faults:
        console.line(console.tr("sim.sound"))
        return Exit.DONE
    drawn, before = console.tr("sim.show.drawn"), console.tr("sim.show.before")
    rows = [
        (fault.kind.name, name, str(value) if value is not None else before if name == "from_s" else drawn)
        for fault in scenario.faults
        for name, value in _settings(fault).items()
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
    scenario = find_scenario(args.scenario)
    fronts = open_fronts(addresses, bench=args.bench)
    ending = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's signature
        ending.set()

    # Ctrl-C is the ordinary end of a server: it stops the car and closes the fronts, and that is no failure.
    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    runner: CarRunner | None = None
    try:
        car = Car(scenario, args.seed)
        runner = CarRunner(car, fronts)
        runner.start()
        for front in fronts:
            console.json(dict(front.description))
        console.note(console.tr("sim.moving", name=scenario.name, vin=car.vin))
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
