"""``huizhen battery``: the traction battery in full, from a recording or by listening."""

from __future__ import annotations

from typing import TYPE_CHECKING

from huizhen.exits import Exit
from huizhen.links import add_link_options, seconds

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from dbc.database import Database
    from dbc.table import FrameTable
    from diag.batteryreport import BatteryReport
    from diag.broadcast import Broadcast
    from diag.celltypes import CellType
    from diag.facts import Json
    from diag.frames import Frame
    from diag.outlook import Outlook
    from huizhen.cli import Commands
    from huizhen.console import Console
    from huizhen.language import Translator

__all__ = ["add_parser", "run"]

_MOST_FRAMES = 20_000_000
_MOST_BYTES = 64 << 20
_MOST_MOHM = 100.0


def _ampere_hours(text: str) -> float:
    value = float(text)
    if not 0 < value < 5000:
        raise ValueError(text)
    return value


_ampere_hours.__name__ = "Ah"


def _milliohms(text: str) -> float:
    value = float(text)
    if not 0 < value <= _MOST_MOHM:
        raise ValueError(text)
    return value


def add_parser(commands: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    """Names the options of ``battery``."""
    parser = commands.add_parser(
        "battery",
        parents=[common],
        help=tr("battery.help"),
        description=tr("battery.description"),
        epilog=tr("battery.epilog"),
    )
    parser.add_argument("--from", dest="source", metavar="FILE", help=tr("battery.source"))
    parser.add_argument("--duration", type=seconds, default=10.0, metavar="S", help=tr("battery.duration"))
    parser.add_argument("--signal", action="append", default=[], metavar="ROLE=NAME", help=tr("battery.signal"))
    parser.add_argument("--rated-ah", type=_ampere_hours, metavar="AH", help=tr("battery.rated_ah"))
    parser.add_argument("--rated-mohm", type=_milliohms, metavar="MOHM", help=tr("battery.rated_mohm"))
    parser.add_argument("--cells", dest="cell_type", metavar="TYPE", help=tr("battery.cell_type"))
    parser.add_argument("--history", nargs="+", default=[], metavar="FILE", help=tr("battery.history"))
    parser.add_argument("--fail-on", choices=("stop", "soon", "monitor", "low"), help=tr("battery.fail_on"))
    parser.add_argument("-o", "--output", metavar="FILE", help=tr("battery.output"))
    add_link_options(parser, tr)


def run(args: argparse.Namespace, console: Console) -> int:
    """Reads or listens, judges, prints, saves; returns the exit code."""
    from diag.batteryreport import battery_report, find_misfit
    from diag.facts import Severity
    from diag.limits import limits_for
    from huizhen.batteryview import show_battery_report, show_outlook
    from huizhen.errors import BadUsage

    if args.source and (args.interface or args.channel or args.demo):
        raise BadUsage(console.tr("battery.source_and_link"))
    kind = _cell_type(args.cell_type, console)
    if args.output:
        _check_output(args.output, console)
    history = [_visit(path, console) for path in args.history]
    if len({vin for vin, _, _ in history if vin}) > 1:
        raise BadUsage(console.tr("battery.history_of_several"))
    broadcast, simulated = _recorded(args, console) if args.source else _listened(args, console)
    broadcast = _with_told(broadcast, args.signal, console)
    if (why := find_misfit(broadcast.series)) is not None:
        text = why.in_language(console.tr.lang)
        raise BadUsage(console.tr("battery.misfit", database=_names(broadcast, console), why=text))
    limits = limits_for(next((vin for vin, _, _ in history if vin), None))
    report = battery_report(
        broadcast.series,
        source=broadcast.source,
        limits=limits,
        kind=kind,
        rated_ah=args.rated_ah,
        rated_mohm=args.rated_mohm,
    )
    if report is None:
        console.error(console.tr("battery.none", frames=broadcast.frames, database=_names(broadcast, console)))
        return Exit.USAGE if args.source else Exit.NO_ANSWER
    outlook = _outlook(history, report)
    value = {**report.to_json(), "simulated": simulated, "outlook": [item.to_json() for item in outlook]}
    if getattr(args, "json", False) or getattr(args, "jsonl", False):
        console.json(value)
    else:
        show_battery_report(report, broadcast, console, simulated=simulated)
        show_outlook(outlook, len(history), console)
    if args.output:
        _save(args.output, value, console)
    worst = min((finding.severity.rank for finding in report.findings), default=None)
    if args.fail_on and worst is not None and worst <= Severity(args.fail_on).rank:
        return Exit.FINDINGS
    return Exit.DONE


def _visit(path: str, console: Console) -> tuple[str | None, int, dict[str, float | None]]:
    """VIN, time and figures of a saved visit.

    Raises:
        BadUsage: it cannot be read, or is none.
    """
    import json

    from diag.outlook import point_from_json
    from huizhen.errors import BadUsage
    from huizhen.sessionbundle import saved_bytes

    try:
        return point_from_json(json.loads(saved_bytes(path, _MOST_BYTES)))
    except OSError as error:
        raise BadUsage(console.tr("battery.history_unreadable", path=path, why=error.strerror or str(error))) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        why = console.tr("verify.no_json") if isinstance(error, (UnicodeDecodeError, RecursionError)) else str(error)
        raise BadUsage(console.tr("battery.no_history", path=path, why=why)) from error


def _outlook(
    history: Sequence[tuple[str | None, int, dict[str, float | None]]], report: BatteryReport
) -> tuple[Outlook, ...]:
    from diag.outlook import look_ahead

    points = [(t_ns, figures) for _, t_ns, figures in history]
    if history and report.started_ns is not None and report.started_ns > max(t_ns for t_ns, _ in points):
        points.append((report.started_ns, report.figures))
    return look_ahead(points)


def _with_told(broadcast: Broadcast, words: Sequence[str], console: Console) -> Broadcast:
    """The series under the roles that ``--signal`` names."""
    from dataclasses import replace

    from diag.toldnames import ROLES, with_told_names
    from huizhen.errors import BadUsage

    if not words:
        return broadcast
    told = {}
    for word in words:
        role, mark, name = word.partition("=")
        if not mark or not name or role not in ROLES:
            raise BadUsage(console.tr("battery.bad_signal", word=word, roles=", ".join(ROLES)))
        told[role] = name
    try:
        return replace(broadcast, series=with_told_names(broadcast.series, told))
    except KeyError as error:
        raise BadUsage(console.tr("battery.no_such_signal", name=error.args[0])) from error
    except ValueError as error:
        raise BadUsage(console.tr("battery.bad_pattern", why=str(error))) from error


def _names(broadcast: Broadcast, console: Console) -> str:
    return ", ".join(database.name for database in broadcast.databases) or console.tr("battery.no_database")


def _cell_type(name: str | None, console: Console) -> CellType | None:
    from diag.celltypes import cell_types
    from huizhen.errors import BadUsage

    if name is None:
        return None
    found = cell_types().get(name.lower())
    if found is None:
        raise BadUsage(console.tr("battery.unknown_cells", name=name, known=", ".join(cell_types())))
    return found


def _check_output(path: str, console: Console) -> None:
    """Whether the file can be written, before anything is read.

    Raises:
        BadUsage: it cannot be told what to write.
        CannotWrite: not there.
    """
    from huizhen.errors import BadUsage
    from huizhen.files import check_writable
    from huizhen.reports.writing import format_of

    if format_of(path) is None:
        raise BadUsage(console.tr("report.which_format", path=path))
    check_writable(path)


def _save(path: str, value: Json, console: Console) -> None:
    """The figures as JSON, for programs and ``--history``; else the certificate that ``report --kind battery`` makes.

    Raises:
        CannotWrite: the place cannot be written.
        ReportError: no PDF could be made.
    """
    from huizhen.files import write_json
    from huizhen.reports.content import content_of, report_now
    from huizhen.reports.seal import signed_report
    from huizhen.reports.source import source_of
    from huizhen.reports.writing import format_of, write_report
    from huizhen.signing import load_signer

    form = format_of(path)
    if form is None or form == "json":
        write_json(path, value)
        console.note(console.tr("battery.saved", path=path))
        return
    source, signer = source_of(value, path), load_signer()
    content = content_of(source, kind="battery", audience="workshop")
    report = report_now(source, content, kind="battery", audience="workshop")
    write_report(path, form, signed_report(report, signer), signer, console)
    console.note(console.tr("report.saved", path=path, mark=signer.fingerprint))


def _recorded(args: argparse.Namespace, console: Console) -> tuple[Broadcast, bool]:
    import dbc
    from dbc.recording import open_recording
    from diag.broadcast import choose_for_recording, decode_recorded

    console.stage(console.tr("log.reading", path=args.source))
    table: FrameTable = open_recording(args.source).table
    databases = [dbc.load(path) for path in args.dbc]
    if not databases and (choice := choose_for_recording(table)) is not None:
        databases = [choice.database]
        if choice.is_guess:
            console.note(choice.note.in_language(console.tr.lang))
    broadcast = decode_recorded(table, databases)
    console.stage_done()
    return broadcast, any(database.name.startswith("huizhen_") for database in databases)


def _listened(args: argparse.Namespace, console: Console) -> tuple[Broadcast, bool]:
    """Listens for the time given, or until Ctrl-C; what was heard until then is judged."""
    import asyncio

    from diag.broadcast import choose_database, decode_broadcast

    heard: list[Frame] = []
    databases: list[Database] = []
    simulated = False

    async def listen() -> None:
        from diag.direct import DirectLink
        from huizhen.errors import BadUsage
        from huizhen.links import open_vehicle

        async with open_vehicle(args, console) as vehicle:
            nonlocal databases, simulated
            databases, simulated = list(vehicle.databases), vehicle.simulated
            if isinstance(vehicle.link, DirectLink):
                raise BadUsage(console.tr("battery.needs_bus"))
            console.stage(console.tr("battery.listening", seconds=f"{args.duration:g}"))
            with vehicle.link.frames(accept=lambda frame: not frame.error) as subscription:
                try:
                    async with asyncio.timeout(args.duration):
                        while (frames := await subscription.batch()) and len(heard) < _MOST_FRAMES:
                            heard.extend(frames)
                except TimeoutError:
                    pass
            console.stage_done()

    try:
        asyncio.run(listen())
    except KeyboardInterrupt:
        console.stage_done()
    if not databases and (choice := choose_database(heard)) is not None:
        databases = [choice.database]
        if choice.is_guess:
            console.note(choice.note.in_language(console.tr.lang))
    return decode_broadcast(heard, databases), simulated
