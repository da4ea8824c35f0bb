"""``huizhen report``: a scan as a page to print, to send or to check; for the workshop or for the customer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from huizhen.exits import Exit

if TYPE_CHECKING:
    import argparse

    from diag.facts import Json
    from diag.repairproof import Proof, RepairVisit
    from huizhen.cli import Commands
    from huizhen.console import Console
    from huizhen.language import Translator
    from huizhen.reports.source import ReportSource

__all__ = ["add_parser", "run"]

_MOST_BYTES: Final = 200_000_000
_KINDS: Final = ("intake", "interim", "post", "battery")


def add_parser(commands: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    """Names the options of ``report``."""
    parser = commands.add_parser(
        "report",
        parents=[common],
        help=tr("report.help"),
        description=tr("report.description"),
        epilog=tr("report.epilog"),
    )
    parser.add_argument("scan", metavar="SCAN", help=tr("report.scan"))
    parser.add_argument("-o", "--output", metavar="FILE", help=tr("report.output"))
    parser.add_argument("--kind", choices=_KINDS, default="intake", help=tr("report.kind"))
    parser.add_argument(
        "--for", dest="audience", choices=("workshop", "customer"), default="workshop", help=tr("report.audience")
    )
    parser.add_argument("--before", metavar="FILE", help=tr("report.before"))
    parser.add_argument("--event", action="append", default=[], metavar="FILE", help=tr("report.event"))
    parser.add_argument("--dbc", action="append", default=[], metavar="FILE", help=tr("report.dbc"))
    parser.add_argument("--check", action="store_true", help=tr("report.check"))


def run(args: argparse.Namespace, console: Console) -> int:
    """Makes a report, or checks one; returns the exit code."""
    from huizhen.console import wants_json
    from huizhen.reports.seal import signed_report
    from huizhen.reports.source import load_source
    from huizhen.reports.writing import write_report
    from huizhen.signing import load_signer

    if args.check:
        return _check(args, console)
    form = _format(args, console)
    source = load_source(args.scan)
    _check_kind(args, source, console)
    report = _report(args, source, console)
    signer = load_signer()
    signed = signed_report(report, signer)
    if args.output:
        write_report(args.output, form, signed, signer, console)
    if wants_json(args):
        console.json(signed)
    if args.output:
        console.note(console.tr("report.saved", path=args.output, mark=signer.fingerprint))
    return Exit.DONE


def _format(args: argparse.Namespace, console: Console) -> str:
    """What to write, checked before anything is read.

    Raises:
        BadUsage: it cannot be told, or would overwrite what the report is made of.
    """
    from huizhen.console import wants_json
    from huizhen.errors import BadUsage
    from huizhen.files import check_writable
    from huizhen.reports.writing import format_of

    if not args.output:
        if wants_json(args):
            return "json"
        raise BadUsage(console.tr("report.needs_output"))
    form = format_of(args.output)
    if form is None:
        raise BadUsage(console.tr("report.which_format", path=args.output))
    target = Path(args.output)
    for path in (args.scan, args.before, *args.event):
        if path and target.exists() and Path(path).exists() and target.samefile(path):
            raise BadUsage(console.tr("report.same_file", path=args.output))
    check_writable(args.output)
    return form


def _check_kind(args: argparse.Namespace, source: ReportSource, console: Console) -> None:
    """Whether this kind of report can be made of that.

    Raises:
        BadUsage: says what is missing.
    """
    from huizhen.errors import BadUsage

    if not source.is_scan and args.kind != "battery":
        raise BadUsage(console.tr("report.needs_scan", path=args.scan))
    if args.kind == "post" and not args.before:
        raise BadUsage(console.tr("report.needs_before"))
    if args.kind != "post" and args.before:
        raise BadUsage(console.tr("report.only_post"))
    if args.kind == "battery" and source.battery is None:
        raise BadUsage(console.tr("report.no_battery", path=args.scan))


def _report(args: argparse.Namespace, source: ReportSource, console: Console) -> Json:
    from huizhen.reports.cells import study_of_broadcast
    from huizhen.reports.content import content_of, report_now
    from huizhen.reports.moments import broadcast_of_session, moment_of_event, moment_of_visit
    from huizhen.reports.source import load_event, load_source

    console.stage(console.tr("log.reading", path=args.scan))
    before = load_source(args.before) if args.before else None
    proof = _proof(before, source, args, console) if before is not None else None
    broadcast = broadcast_of_session(source, args.dbc)
    study, moments = None, []
    if broadcast is not None:
        study = study_of_broadcast(broadcast, source.value["vehicle"]["vin"])
        moment = moment_of_visit(source.value, broadcast)
        if moment is not None:
            moments.append(moment)
    for path in args.event:
        import dbc

        event, frames = load_event(path)
        moments.insert(0, moment_of_event(event, frames, [dbc.load(one) for one in args.dbc]))
    content = content_of(
        source, kind=args.kind, audience=args.audience, proof=proof, before=before, study=study, moments=moments
    )
    console.stage_done()
    return report_now(source, content, kind=args.kind, audience=args.audience)


def _proof(before: ReportSource, after: ReportSource, args: argparse.Namespace, console: Console) -> Proof:
    """The two visits compared.

    Raises:
        BadUsage: they are of two cars, or in the wrong order.
        ReportInput: one is no scan.
    """
    from diag.repairproof import prove_repair
    from huizhen.commands.verify import not_comparable
    from huizhen.errors import BadUsage

    first, second = _visit(before, args.before), _visit(after, args.scan)
    try:
        return prove_repair(first, second)
    except ValueError as error:
        raise BadUsage(not_comparable(error, first, second, console.tr)) from None


def _visit(source: ReportSource, path: str) -> RepairVisit:
    from diag.repairproof import RepairVisit
    from huizhen.reporterrors import ReportInput

    try:
        return RepairVisit.from_json(source.value)
    except ValueError as error:
        raise ReportInput(path, str(error)) from error


def _check(args: argparse.Namespace, console: Console) -> int:
    """Whose a report is; exit code 2 for one that is not as it was made.

    Raises:
        ReportChanged: it is none, or was changed.
        ReportInput: it cannot be read.
    """
    from huizhen.console import wants_json
    from huizhen.reporterrors import ReportInput
    from huizhen.reports.seal import check_report
    from huizhen.signing import known_keys, own_public_key

    try:
        with Path(args.scan).open("rb") as file:
            content = file.read(_MOST_BYTES)
    except OSError as error:
        raise ReportInput(args.scan, error.strerror or str(error)) from error
    seal = check_report(content, args.scan)
    tr, mark = console.tr, seal.fingerprint
    name = known_keys().get(seal.public_key)
    if seal.public_key == own_public_key():
        whose, text = "own", tr("report.checked_own", path=args.scan, mark=mark)
    elif name is not None:
        whose, text = "known", tr("report.checked_known", path=args.scan, name=name, mark=mark)
    else:
        whose, text = "unknown", tr("report.checked_unknown", path=args.scan, mark=mark)
    if wants_json(args):
        told = {"format": seal.form, "fingerprint": mark, "by": whose, "name": name}
        console.json({"schema": "huizhen.report-check/1", "intact": True, **told})
    else:
        console.line(text)
    return Exit.DONE
