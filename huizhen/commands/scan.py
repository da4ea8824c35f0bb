"""``huizhen scan``: the main job. Every ECU, codes, freeze frames, readiness, battery, findings, ranked cases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from huizhen.exits import Exit
from huizhen.links import add_link_options, link_words, seconds

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from casebase.cases import Cases
    from dbc.signalset.model import SignalSet
    from diag.facts import Vehicle, VehicleReport
    from huizhen.cli import Commands
    from huizhen.console import Console
    from huizhen.language import Translator

__all__ = ["add_parser", "rank_cases", "run", "scan_vehicle"]


def add_parser(commands: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    """Names the options of ``scan``."""
    parser = commands.add_parser(
        "scan",
        parents=[common],
        help=tr("scan.help"),
        description=tr("scan.description"),
        epilog=tr("scan.epilog"),
    )
    add_link_options(parser, tr, needs_frames=False)
    parser.add_argument("--symptom", default="", metavar="TEXT", help=tr("scan.symptom"))
    parser.add_argument("--listen", type=seconds, default=2.0, metavar="S", help=tr("scan.listen"))
    parser.add_argument("--search", action="store_true", help=tr("scan.search"))
    parser.add_argument("--signals", metavar="SET", help=tr("scan.signals"))
    parser.add_argument("--odx", metavar="FILE", help=tr("scan.odx"))
    parser.add_argument("--library", metavar="FILE", help=tr("scan.library"))
    parser.add_argument("--fail-on", choices=("stop", "soon", "monitor", "low"), help=tr("scan.fail_on"))
    parser.add_argument("-o", "--output", metavar="FILE", help=tr("scan.output"))


async def scan_vehicle(
    args: argparse.Namespace, console: Console, keep: Callable[[VehicleReport], None]
) -> VehicleReport:
    """Opens the car that the options name and scans it; ``keep`` gets what there is when it ends early."""
    from diag.scan import scan
    from huizhen.links import open_vehicle

    signal_set = None
    if args.signals:
        from dbc.signalset.loading import load_signal_set

        signal_set = load_signal_set(args.signals)
    describe = None
    if getattr(args, "odx", None):
        from diag.odx import load_odx

        describe = load_odx(args.odx).with_text
    console.stage(console.tr("scan.stage.opening"))
    async with open_vehicle(args, console) as vehicle:
        try:
            report = await scan(
                vehicle.link,
                databases=vehicle.databases,
                signal_set=signal_set,
                find_signal_set=lambda car: _own_signal_set(car, console),
                simulated=vehicle.simulated,
                listen_s=args.listen,
                search=getattr(args, "search", False),
                timeout_s=vehicle.timeout_s,
                describe=describe,
                progress=lambda stage: console.stage(stage.in_language(console.tr.lang)),
                keep=keep,
            )
            vehicle.remember()
            return report
        finally:
            console.stage_done()


def _own_signal_set(vehicle: Vehicle, console: Console) -> SignalSet | None:
    """The one signal set of the user's folder that is of the car's make; says when there are several."""
    from dbc.errors import DbcError
    from dbc.signalset.folder import bundled_set_of, signal_sets_of
    from dbc.signalset.loading import load_signal_set

    found = signal_sets_of(vehicle.make) if vehicle.make else ()
    if len(found) > 1:
        names = console.tr.listed(str(path) for path in found)
        console.note(console.tr("scan.several_signal_sets", make=vehicle.make, names=names))
    place = found[0] if len(found) == 1 else bundled_set_of(vehicle.vin) if not found else None
    if place is None:
        return None
    try:
        return load_signal_set(place)
    except DbcError as error:
        console.note(console.tr.error(error))
        return None


def _scan(args: argparse.Namespace, console: Console) -> tuple[VehicleReport, BaseException | None]:
    """The report, and why it is not the whole one: interrupted, or the adapter went away."""
    import asyncio

    from diag.errors import LinkLost

    partial: list[VehicleReport] = []
    try:
        return asyncio.run(scan_vehicle(args, console, partial.append)), None
    except (KeyboardInterrupt, LinkLost) as error:
        if not partial:
            raise
        return partial[-1], error


def rank_cases(report: VehicleReport, symptom: str, library: str | None) -> Cases:
    """Known fixes for this report, best first."""
    from casebase.library import Library
    from casebase.query import Query

    with Library.open(library) as cases:
        return cases.find(Query.from_report(report, symptom=symptom))


def run(args: argparse.Namespace, console: Console) -> int:
    """Scans, prints, saves; returns the exit code.

    What was read is printed and saved whatever fails besides: the adapter, the case library, Ctrl-C.
    """
    from casebase.errors import CaseError
    from huizhen.errors import CannotWrite
    from huizhen.files import check_writable, write_json

    if args.output:
        check_writable(args.output)
    report, trouble = _scan(args, console)
    console.stage(console.tr("scan.stage.matching"))
    cases: dict[str, Any] | None = None
    try:
        cases = rank_cases(report, args.symptom, args.library).to_json()
    except (CaseError, KeyboardInterrupt) as error:
        trouble = trouble or error
    console.stage_done()
    value: dict[str, Any] = {**report.to_json(), "cases": cases}
    is_saved = False
    if args.output:  # first: whoever reads the output may leave in the middle of it
        try:
            write_json(args.output, value)
            is_saved = True
        except (CannotWrite, KeyboardInterrupt) as error:
            trouble = trouble or error
    _print(report, value, args, console)
    if is_saved:
        console.note(console.tr("scan.saved", path=args.output))
    if trouble is not None:
        raise trouble
    return _exit_for(report, args.fail_on)


def _print(report: VehicleReport, value: dict[str, Any], args: argparse.Namespace, console: Console) -> None:
    from huizhen.scanview import show_report

    if getattr(args, "json", False) or getattr(args, "jsonl", False):
        console.json(value)
    else:
        show_report(report, value["cases"], console, link_words=link_words(args))


def _exit_for(report: VehicleReport, fail_on: str | None) -> int:
    from diag.facts import Severity

    if fail_on and any(finding.severity.rank <= Severity(fail_on).rank for finding in report.findings):
        return Exit.FINDINGS
    return Exit.DONE
