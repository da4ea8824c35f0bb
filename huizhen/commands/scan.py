"""``huizhen scan``: the main job. Every ECU, codes, freeze frames, readiness, battery, findings, ranked cases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from huizhen.exits import Exit
from huizhen.files import is_bundle_name
from huizhen.links import add_link_options, link_words, seconds

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from casebase.cases import Cases
    from casebase.errors import CaseError
    from dbc.signalset.model import SignalSet
    from diag.bundle import Bundle
    from diag.tape import Tape
    from diag.vehiclereport import Vehicle, VehicleReport
    from huizhen.carmemory import CarMemory
    from huizhen.cli import Commands
    from huizhen.console import Console
    from huizhen.language import Translator
    from huizhen.sessionbundle import Session

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
    parser.add_argument("--from", dest="source", metavar="FILE", help=tr("scan.source"))
    parser.add_argument("--symptom", default="", metavar="TEXT", help=tr("scan.symptom"))
    parser.add_argument("--listen", type=seconds, default=2.0, metavar="S", help=tr("scan.listen"))
    parser.add_argument("--search", action="store_true", help=tr("scan.search"))
    parser.add_argument("--signals", metavar="SET", help=tr("scan.signals"))
    parser.add_argument("--odx", metavar="FILE", help=tr("scan.odx"))
    parser.add_argument("--library", metavar="FILE", help=tr("scan.library"))
    parser.add_argument("--no-network", action="store_true", help=tr("casenetwork.no_network"))
    parser.add_argument("--fail-on", choices=("stop", "soon", "monitor", "low"), help=tr("scan.fail_on"))
    parser.add_argument("-o", "--output", metavar="FILE", help=tr("scan.output"))
    parser.add_argument("--note", action="append", default=[], metavar="TEXT", help=tr("scan.note"))
    parser.add_argument("--consent", action="append", default=[], metavar="TEXT", help=tr("scan.consent"))
    parser.add_argument("--embed", action="store_true", help=tr("scan.embed"))
    parser.add_argument("--vss", action="store_true", help=tr("scan.vss"))


async def scan_vehicle(
    args: argparse.Namespace, console: Console, keep: Callable[[VehicleReport], None], tape: Tape | None = None
) -> VehicleReport:
    """Opens the car that the options name and scans it; ``keep`` gets what there is when it ends early."""
    from diag.carscan import scan
    from huizhen.console import wants_json
    from huizhen.links import open_vehicle
    from huizhen.scanview import show_simulated

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
        if args.demo and not wants_json(args):  # it always answers; of others nothing is said before they do
            show_simulated(console)
        try:
            report = await scan(
                vehicle.link,
                databases=vehicle.databases,
                signal_set=signal_set,
                find_signal_set=lambda car: own_signal_set(car, console),
                simulated=vehicle.simulated,
                listen_s=args.listen,
                search=getattr(args, "search", False),
                timeout_s=vehicle.timeout_s,
                describe=describe,
                progress=lambda stage: console.stage(stage.in_language(console.tr.lang)),
                keep=keep,
                tape=tape,
            )
            vehicle.remember()
            return report
        finally:
            console.stage_done()


def own_signal_set(vehicle: Vehicle, console: Console) -> SignalSet | None:
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


@dataclass(slots=True)
class _Outcome:
    """What a scan gave, now or then.

    Attributes:
        trouble: why it is not the whole one: interrupted, or the adapter went away.
        session: the bundle that it comes from.
        unknown: questions that were not asked then.
    """

    report: VehicleReport
    tape: Tape
    trouble: BaseException | None = None
    session: Session | None = None
    unknown: int = 0


def _scan(args: argparse.Namespace, console: Console) -> _Outcome:
    """The car at the plug."""
    import asyncio

    from diag.errors import LinkLost
    from diag.tape import Tape

    partial: list[VehicleReport] = []
    tape = Tape()
    try:
        return _Outcome(asyncio.run(scan_vehicle(args, console, partial.append, tape)), tape)
    except (KeyboardInterrupt, LinkLost) as error:
        if not partial:
            raise
        return _Outcome(partial[-1], tape, error)


def _replayed(args: argparse.Namespace, console: Console) -> _Outcome:
    """A visit out of a bundle, or what a recording shows of one."""
    from diag.bundle import is_bundle
    from huizhen.sessionbundle import load_session, replay_session

    console.stage(console.tr("log.reading", path=args.source))
    if not is_bundle(args.source):
        return _from_recording(args)
    session = load_session(args.source)
    _say_whose(session.bundle, console)
    report, unknown = replay_session(session, session.tape, dbc=args.dbc, signals=args.signals, odx=args.odx)
    return _Outcome(report, session.tape, session=session, unknown=unknown)


def _from_recording(args: argparse.Namespace) -> _Outcome:
    import asyncio
    from pathlib import Path

    import dbc
    from dbc.recording import open_recording
    from diag.replay import replay
    from diag.sniffed import tape_from_recording

    recording = open_recording(args.source)
    start_ns = recording.start_ns
    if start_ns is None:  # its times count from nowhere: when the file was written is the best guess
        start_ns = Path(args.source).stat().st_mtime_ns
    tape = tape_from_recording(recording.table, start_ns=start_ns, name=args.source)
    signal_set = describe = None
    if args.signals:
        from dbc.signalset.loading import load_signal_set

        signal_set = load_signal_set(args.signals)
    if args.odx:
        from diag.odx import load_odx

        describe = load_odx(args.odx).with_text
    databases = tuple(dbc.load(path) for path in args.dbc)
    report, _ = asyncio.run(replay(tape, databases=databases, signal_set=signal_set, describe=describe))
    return _Outcome(report, tape)


def _say_whose(bundle: Bundle, console: Console) -> None:
    """A signature of a key that nobody here knows is said."""
    from huizhen.signing import known_keys, own_public_key

    key = bundle.signature.public_key if bundle.signature is not None else b""
    if key not in known_keys() and key != own_public_key():
        mark = bundle.signature.fingerprint if bundle.signature is not None else ""
        console.note(console.tr("bundle.signed_unknown", mark=mark))


def rank_cases(report: VehicleReport, symptom: str, library: str | None) -> Cases:
    """Known fixes for this report, best first."""
    from huizhen.carmemory import CarMemory

    return _ranked(report, symptom, library, CarMemory(), remember=False)[0]


def _ranked(
    report: VehicleReport,
    symptom: str,
    library: str | None,
    memory: CarMemory,
    *,
    remember: bool,
    asks: bool = True,
    began_ns: int | None = None,
) -> tuple[Cases, int | CaseError | None, dict[str, Any]]:
    """Known fixes, and the number under which the library keeps what it answered, or why it cannot; and their JSON.

    Args:
        report: of the scan.
        symptom: the customer's words.
        library: its file.
        memory: of the car; what is known of its earlier visits comes into it, where the job is remembered.
        remember: whether it is a job.
        asks: False where the customer wants nothing asked of other workshops nor told to them.
        began_ns: when the scan was started, by the monotonic clock: how long the answer took is kept.
    """
    import time

    from casebase.errors import LibraryError
    from casebase.library import Library
    from casebase.query import Query
    from huizhen.carmemory import recall_car
    from huizhen.commands.casenetwork import add_notes

    with Library.open(library) as cases:
        query = Query.from_report(report, symptom=symptom)
        vin = report.vehicle.vin
        if remember and vin and not report.simulated:
            told = recall_car(cases, vin, asks=asks)
            memory.local, memory.elsewhere, memory.ticket = told.local, told.elsewhere, told.ticket
            memory.server, memory.trouble = told.server, told.trouble
        found = cases.find(query, earlier=memory.visits)
        model = f"{query.vehicle.make or ''} {query.vehicle.model or ''}".strip()
        value = add_notes(found.to_json(), cases, model)
        if not remember or found.verdict.value == "none":
            return found, None, value
        try:
            took_ms = None if began_ns is None else (time.monotonic_ns() - began_ns) // 1_000_000
            job = cases.remember(query, found, vin=vin, answered_ms=took_ms)
            if memory.ticket or not asks:
                cases.network.remember_job(job, memory.ticket, refused=not asks)
        except LibraryError as error:
            return found, error, value  # a library that cannot be written still answers
        return found, job, value


def run(args: argparse.Namespace, console: Console) -> int:
    """Scans, prints, saves; returns the exit code.

    What was read is printed and saved whatever fails besides: the adapter, the case library, Ctrl-C.
    """
    import time

    from casebase.errors import CaseError
    from huizhen.errors import BadUsage, HuizhenError
    from huizhen.files import check_writable

    began_ns = time.monotonic_ns()
    console.stage(console.tr("scan.stage.opening") if not args.source else console.tr("log.reading", path=args.source))
    if args.source and (named := link_words(args)) and not named.startswith("--dbc"):
        raise BadUsage(console.tr("scan.source_and_link"))
    if args.output:
        check_writable(args.output)
    if (args.note or args.consent or args.embed) and not is_bundle_name(args.output or ""):
        raise BadUsage(console.tr("scan.needs_bundle"))
    outcome = _replayed(args, console) if args.source else _scan(args, console)
    report, trouble = outcome.report, outcome.trouble
    symptom = args.symptom or str(outcome.tape.settings.get("symptom", ""))
    outcome.tape.settings["symptom"] = symptom
    console.stage(console.tr("scan.stage.matching"))
    cases: dict[str, Any] | None = None
    job: int | CaseError | None = None
    memory = _memory_then(outcome)
    try:
        _, job, cases = _ranked(
            report, symptom, args.library, memory, remember=not args.source, asks=not args.no_network, began_ns=began_ns
        )
    except (CaseError, KeyboardInterrupt) as error:
        trouble = trouble or error
    console.stage_done()
    value: dict[str, Any] = {**report.to_json(), "cases": cases}
    if earlier := memory.to_json():
        value["earlier"] = earlier
    if args.vss:
        from diag.vss import vss_from_report

        value["vss"] = vss_from_report(report)
    is_saved = False
    if args.output:  # first: whoever reads the output may leave in the middle of it
        try:
            _save(args, value, outcome)
            is_saved = True
        except (HuizhenError, KeyboardInterrupt) as error:
            trouble = trouble or error
    _print(report, value, args, console)
    _print_memory(memory, args, console)
    _say_same(outcome, value, console)
    if is_saved:
        console.note(console.tr("scan.saved", path=args.output))
    if isinstance(job, CaseError):
        console.note(console.tr("scan.no_job", reason=console.tr.error(job)))
    elif job is not None and not report.simulated:
        console.note(console.tr("scan.job", job=job))
    if trouble is not None:
        raise trouble
    return _exit_for(report, args.fail_on)


def _save(args: argparse.Namespace, value: dict[str, Any], outcome: _Outcome) -> None:
    """As a session bundle where the name ends so, else as JSON."""
    from huizhen.files import write_json

    if not is_bundle_name(args.output):
        write_json(args.output, value)
        return
    from huizhen.sessionbundle import save_session, sources_of
    from huizhen.signing import load_signer

    session = outcome.session
    sources = (
        sources_of(outcome.tape, named=args.dbc, signals=args.signals, odx=args.odx)
        if session is None
        else session.sources
    )
    save_session(
        args.output,
        outcome.tape,
        value,
        load_signer(),
        sources=sources,
        is_embedding=args.embed,
        notes=args.note,
        consents=args.consent,
        before=session.bundle if session is not None else None,
        origin={"sha256": session.bundle.digest, "judged_again": True} if session is not None else None,
    )


def _say_same(outcome: _Outcome, value: dict[str, Any], console: Console) -> None:
    """Whether a visit is judged now as it was judged then, and where not."""
    if outcome.session is None:
        return
    then = outcome.session.report
    differing = [key for key in dict.fromkeys((*then, *value)) if then.get(key) != value.get(key)]
    if not differing:
        console.note(console.tr("scan.same_as_then"))
    else:
        console.note(console.tr("scan.other_than_then", parts=console.tr.listed(differing)))
    if outcome.unknown:
        console.note(console.tr("scan.not_asked_then", n=outcome.unknown))


def _print(report: VehicleReport, value: dict[str, Any], args: argparse.Namespace, console: Console) -> None:
    from huizhen.console import wants_json
    from huizhen.scanview import show_report

    if wants_json(args):
        console.json(value)
        return
    words = None if args.source else link_words(args)
    show_report(report, value["cases"], console, link_words=words, is_marked=args.demo)


def _memory_then(outcome: _Outcome) -> CarMemory:
    """What was known of the car's earlier visits when a saved visit was made: it is judged by that, and by no more."""
    from huizhen.carmemory import CarMemory

    told = outcome.session.report.get("earlier") if outcome.session is not None else None
    return CarMemory(elsewhere=[one for one in told if isinstance(one, dict)] if isinstance(told, list) else [])


def _print_memory(memory: CarMemory, args: argparse.Namespace, console: Console) -> None:
    """Earlier visits, so that nobody looks for what is known; and that a network could not be asked."""
    from casebase.library import Library
    from huizhen.carmemory import show_earlier
    from huizhen.console import wants_json

    tr = console.tr
    if memory.trouble is not None:
        console.note(tr("casenetwork.not_asked", server=memory.server, reason=tr.error(memory.trouble)))
    earlier = memory.to_json()
    if not earlier or wants_json(args):
        return
    console.line()
    console.line(console.style(tr("casenetwork.seen_before"), "title"))
    with Library.open(args.library) as library:
        show_earlier(earlier, library, console)


def _exit_for(report: VehicleReport, fail_on: str | None) -> int:
    from diag.facts import Severity

    if fail_on and any(finding.severity.rank <= Severity(fail_on).rank for finding in report.findings):
        return Exit.FINDINGS
    return Exit.DONE
