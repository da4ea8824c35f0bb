"""``huizhen case``: known fixes for what was seen on a car."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any, Final

from huizhen.console import wants_json
from huizhen.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from casebase.cases import Cases, Safety
    from casebase.catalogue import Fix
    from casebase.library import Library
    from casebase.notices import Notice
    from casebase.query import Query
    from huizhen.cli import Commands
    from huizhen.console import Console
    from huizhen.language import Translator

__all__ = ["add_parser", "answer_line", "run", "scan_of"]

_LONGEST_LINE: Final = 1 << 20
_LARGEST_SCAN: Final = 64 << 20


def add_parser(commands: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    """Names the options of ``case find``, ``show`` and ``stats``."""
    parser = commands.add_parser(
        "case", parents=[common], help=tr("case.help"), description=tr("case.description"), epilog=tr("case.epilog")
    )
    actions = parser.add_subparsers(dest="action", metavar=tr("cli.command"), title=tr("case.actions"))
    find = actions.add_parser(
        "find",
        parents=[common],
        help=tr("case.find.help"),
        description=tr("case.find.description"),
        epilog=tr("case.find.epilog"),
    )
    find.add_argument("scan", nargs="?", metavar="SCAN.json", help=tr("case.find.scan"))
    find.add_argument("--symptom", metavar="TEXT", default="", help=tr("case.find.symptom"))
    find.add_argument("--dtc", metavar="CODE[@ROLE]", action="append", default=[], help=tr("case.find.dtc"))
    find.add_argument("--read", metavar="ROLE", action="append", default=[], help=tr("case.find.read"))
    find.add_argument("--make", metavar="MAKE", help=tr("case.find.make"))
    find.add_argument("--model", metavar="MODEL", help=tr("case.find.model"))
    find.add_argument("--year", metavar="YEAR", help=tr("case.find.year"))
    find.add_argument("--dense", action=argparse.BooleanOptionalAction, default=None, help=tr("case.find.dense"))
    show = actions.add_parser(
        "show",
        parents=[common],
        help=tr("case.show.help"),
        description=tr("case.show.description"),
        epilog=tr("case.show.epilog"),
    )
    show.add_argument("name", metavar="ID", help=tr("case.show.name"))
    stats = actions.add_parser(
        "stats",
        parents=[common],
        help=tr("case.stats.help"),
        description=tr("case.stats.description"),
        epilog=tr("case.stats.epilog"),
    )
    from huizhen.commands import casefleet, caselib, casenetwork

    more = [part for made in (caselib, casefleet, casenetwork) for part in made.add_actions(actions, common, tr)]
    stats.add_argument("--check", action="store_true", help=tr("case.stats.check"))
    for action in (find, show, stats, *more):
        action.add_argument("--library", metavar="FILE", help=tr("case.library"))


def run(args: argparse.Namespace, console: Console) -> int:
    """Finds, shows or counts; returns the exit code."""
    if args.action is None:
        from huizhen.errors import BadUsage

        raise BadUsage(console.tr("case.no_action"))
    from casebase.library import Library
    from huizhen.commands import casefleet, caselib, casenetwork

    with Library.open(args.library, create=args.action in {*caselib.MAKE_NEW, "join"}) as library:
        if library.note is not None:
            console.note(library.note.in_language(console.tr.lang))
        library.tell_catching_up(lambda done, of: _catching_up(done, of, console))
        if args.action in caselib.ACTIONS:
            return caselib.run(args, console, library)
        if args.action in casefleet.ACTIONS:
            return casefleet.ACTIONS[args.action](args, console, library)
        if args.action in casenetwork.ACTIONS:
            return casenetwork.ACTIONS[args.action](args, console, library)
        if args.action == "find":
            return _find(args, console, library)
        return _show(args, console, library) if args.action == "show" else _stats(args, console, library)


def _catching_up(done: int, of: int, console: Console) -> None:
    console.stage(console.tr("case.catching_up", done=f"{done:,}", of=f"{of:,}"))
    if done >= of:
        console.stage_done()


def _find(args: argparse.Namespace, console: Console, library: Library) -> int:
    _prepare_dense(args, console, library)
    asked = args.scan or args.dtc or args.symptom
    if getattr(args, "jsonl", False) and not asked:
        for number, line in enumerate(_lines(), start=1):
            console.json(answer_line(line, number, library, console.tr, dense=args.dense))
        _tell_without(library, console)
        return Exit.DONE
    if not asked:
        from huizhen.errors import BadUsage

        raise BadUsage(console.tr("case.find.no_question"))
    from huizhen.carmemory import earlier_of_scan
    from huizhen.commands.casenetwork import add_notes, show_notes

    scan = scan_of(args.scan, console.tr) if args.scan else {}
    query = _query(args, console.tr, scan)
    cases = library.find(query, dense=args.dense, earlier=earlier_of_scan(scan))
    _tell_without(library, console)
    model = f"{query.vehicle.make or ''} {query.vehicle.model or ''}".strip()
    told = add_notes(cases.to_json(), library, model)
    if wants_json(args):
        console.json(told)
    else:
        _show_cases(cases, console, library)
        show_notes(told, console)
    return Exit.DONE


def _prepare_dense(args: argparse.Namespace, console: Console, library: Library) -> None:
    """Whoever asks for the vote by name is told at once when it is not there; the first one says why it takes long.

    Raises:
        DenseMissing: its extra is not installed.
    """
    from casebase.dense import is_installed
    from casebase.errors import DenseMissing

    if args.dense and not is_installed():
        raise DenseMissing

    def told(done: int, total: int) -> None:
        if not done and total:
            console.note(console.tr("case.find.dense_first", n=total))

    library.wording.progress = told


def _tell_without(library: Library, console: Console) -> None:
    if library.wording.note is not None:
        console.note(library.wording.note.in_language(console.tr.lang))


def _query(args: argparse.Namespace, tr: Translator, saved: dict[str, Any]) -> Query:
    """The question of the command line: the scan's evidence and what the options add."""
    from casebase.query import Query

    scan = dict(saved)
    named = {"make": args.make, "model": args.model, "model_year": args.year}
    given = {key: value for key, value in named.items() if value is not None}
    if given:
        scan["vehicle"] = {**(scan.get("vehicle") or {}), **given}
    for code in args.dtc:
        _check_role(code, tr)
    if args.dtc:
        scan["dtcs"] = [*(scan.get("dtcs") or []), *args.dtc]
    if args.read:
        scan["read"] = args.read
    return Query.from_json(scan, symptom=args.symptom)


def _check_role(code: str, tr: Translator) -> None:
    """A person who names an ECU that there is not wants to know, not to be answered as if nothing were named.

    Raises:
        BadUsage: behind the @ stands neither a role nor an address.
    """
    from casebase.query import ROLE_WORDS, parse_dtc
    from huizhen.errors import BadUsage

    dtc = parse_dtc(code)
    if dtc is None or dtc.ecu is None or dtc.role is not None:
        return
    try:
        int(dtc.ecu, 16)
    except ValueError:
        raise BadUsage(tr("case.find.no_role", role=dtc.ecu, roles=tr.listed(ROLE_WORDS))) from None


def scan_of(path: str, tr: Translator) -> dict[str, Any]:
    """A saved scan or the one of a bundle.

    Raises:
        BadUsage: it is none.
    """
    from huizhen.errors import BadUsage
    from huizhen.sessionbundle import saved_bytes

    try:
        data = saved_bytes(path, _LARGEST_SCAN)
    except OSError as error:
        raise BadUsage(tr("case.find.unreadable", path=path, reason=error.strerror or str(error))) from error
    if len(data) > _LARGEST_SCAN:
        reason = tr("case.find.too_long", limit=_LARGEST_SCAN)
        raise BadUsage(tr("case.find.unreadable", path=path, reason=reason))
    try:
        scan = _parsed(data)
    except (ValueError, RecursionError) as error:
        raise BadUsage(tr("case.find.not_json", path=path)) from error
    if not isinstance(scan, dict):
        raise BadUsage(tr("case.find.not_json", path=path))
    if not str(scan.get("schema") or "").startswith("huizhen.scan/"):
        raise BadUsage(tr("case.find.not_a_scan", path=path))
    return scan


def _lines() -> Iterator[bytes]:
    """Lines of standard input; of one that is too long only the beginning is kept."""
    source = sys.stdin.buffer
    while line := source.readline(_LONGEST_LINE + 1):
        whole = line.endswith(b"\n") or len(line) <= _LONGEST_LINE
        rest = line
        while not whole and rest and not rest.endswith(b"\n"):
            rest = source.readline(_LONGEST_LINE)
        yield line


def _parsed(data: bytes) -> Any:
    """JSON whose strings can be written again: half a surrogate pair, which escapes can smuggle in, becomes ``?``."""
    value = json.loads(data)
    return json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))


def answer_line(
    line: bytes, number: int, library: Library, tr: Translator, *, dense: bool | None = None
) -> dict[str, Any]:
    """CASES for one line of ``case find --jsonl``; a bad line gives an answer too, with its error."""
    from casebase.cases import SCHEMA
    from casebase.errors import CaseError
    from casebase.query import Query

    problem, code = "", "casebase.bad-evidence"
    if len(line) > _LONGEST_LINE:
        problem = tr("case.find.too_long", limit=_LONGEST_LINE)
    else:
        try:
            return {**library.find(Query.from_json(_parsed(line)), dense=dense).to_json(), "error": None}
        except (ValueError, RecursionError):
            problem = tr("case.find.line_not_json")
        except CaseError as error:
            problem, code = tr.error(error), type(error).code
    return {
        "schema": SCHEMA,
        "verdict": None,
        "matches": [],
        "next_test": None,
        "error": {"code": code, "line": number, "text": problem},
    }


def _percent(value: float) -> str:
    return f"{value * 100:.0f}"


def _show_cases(cases: Cases, console: Console, library: Library) -> None:
    tr = console.tr
    verdicts = {
        "direct": tr("case.verdict.direct"),
        "test": tr("case.verdict.test"),
        "expert": tr("case.verdict.expert"),
        "unknown": tr("case.verdict.unknown"),
        "none": tr("case.verdict.none"),
    }
    console.wrapped(console.style(verdicts[cases.verdict.value], "title"))
    if cases.simulated:
        console.line(console.style(tr("case.find.simulated"), "dim"))
    shown = cases.matches if console.verbose else cases.matches[:3]
    for rank, match in enumerate(shown, start=1):
        low, high = match.interval
        console.line()
        title = console.style(match.title.in_language(tr.lang), "title")
        console.line(f"{rank}. {_percent(match.p):>3} %  {title}")
        between = tr("case.view.interval", low=_percent(low), high=_percent(high))
        console.line(console.style(f"   {between} · {match.source_id} · {match.case_id}", "dim"))
        for reason in match.because:
            console.wrapped(reason.text.in_language(tr.lang), indent="     ", first="   + ")
        for reason in match.against[: None if console.verbose else 3]:
            console.wrapped(reason.text.in_language(tr.lang), indent="     ", first="   − ")
        if rank == 1:
            _safety_box(match.safety, console, library)
        console.wrapped(match.fix.in_language(tr.lang), indent="     ", first="   → ")
    if len(shown) < len(cases.matches):
        console.line(console.style(tr("case.view.first_ten", n=len(cases.matches)), "dim"))
    if cases.matches:
        console.line()
        console.line(tr("case.view.none_of_these", percent=_percent(cases.p_unknown)))
    _show_campaigns(cases, console)
    if cases.unexplained:
        console.wrapped(tr("case.view.unexplained", codes=tr.listed(cases.unexplained)))
    if test := cases.next_test:
        console.line()
        title = tr("case.view.next_test", title=test.title.in_language(tr.lang), minutes=f"{test.minutes:g}")
        console.wrapped(console.style(title, "title"))
        _safety_box(test.safety, console, library)
        console.wrapped(test.how.in_language(tr.lang), indent="   ")
        console.wrapped(tr("case.view.yes_means", text=test.yes.in_language(tr.lang)), indent="   ")
        console.wrapped(tr("case.view.expect", text=test.expect.in_language(tr.lang)), indent="   ")
    if cases.matches:
        console.line(tr("case.view.details", command=f"huizhen case show {cases.matches[0].source_id}"))


def _show_campaigns(cases: Cases, console: Console) -> None:
    """What was published for this vehicle, before anybody buys a part."""
    if not cases.campaigns:
        return
    tr = console.tr
    console.line()
    console.wrapped(console.style(tr("case.view.campaigns", n=cases.campaigns_total), "title"))
    for campaign in cases.campaigns if console.verbose else cases.campaigns[:3]:
        console.wrapped(campaign.title.in_language(tr.lang), indent="     ", first="   · ")


def _safety_box(safety: Safety, console: Console, library: Library) -> None:
    """The high-voltage steps, before anybody touches anything."""
    steps = library.safety_steps(safety)
    if not steps:
        return
    tr = console.tr
    work = safety.value == "hv-work"
    head = tr("case.view.safety_work") if work else tr("case.view.safety_nearby")
    console.line("   " + console.style(f"⚡ {head}", "stop" if work else "monitor"))
    for number, step in enumerate(steps, start=1):
        console.wrapped(step.in_language(tr.lang), indent="   │    ", first=f"   │ {number}. ")


def _show(args: argparse.Namespace, console: Console, library: Library) -> int:
    from casebase.errors import FixUnknown

    try:
        fix = library.get_fix(args.name)
    except FixUnknown:
        return _show_notice(library.get_notice(args.name), args, console)
    if wants_json(args):
        from casebase.fixjson import json_from_fix

        steps = [step.to_json() for step in library.safety_steps(fix.safety)]
        console.json({"schema": "huizhen.fix/1", **json_from_fix(fix), "safety_steps": steps})
    else:
        _show_fix(fix, console, library)
    return Exit.DONE


def _show_notice(notice: Notice, args: argparse.Namespace, console: Console) -> int:
    tr = console.tr
    if wants_json(args):
        console.json({"schema": "huizhen.notice/1", **notice.to_json()})
        return Exit.DONE
    console.wrapped(console.style(notice.heading.in_language(tr.lang), "title"))
    console.line(console.style(" · ".join(x for x in (notice.case_id, notice.published, notice.url) if x), "dim"))
    console.wrapped(notice.advice.in_language(tr.lang))
    console.line(console.style(tr("case.show.vehicles"), "title"))
    makes: dict[str, set[str]] = {}
    for vehicle in notice.vehicles:
        makes.setdefault(vehicle.make.upper(), set()).add(vehicle.model.upper() or "*")
    console.table([[make, ", ".join(sorted(models))] for make, models in sorted(makes.items())])
    console.line(console.style(tr("case.show.said"), "title"))
    for text in sorted(notice.texts, key=lambda text: (-len(text), text))[: None if console.verbose else 3]:
        console.wrapped(" ".join(text.split()), indent="    ", first="  · ")
    return Exit.DONE


def _show_fix(fix: Fix, console: Console, library: Library) -> None:
    tr = console.tr
    lang = tr.lang
    how = {
        "usual": tr("case.how.usual"),
        "often": tr("case.how.often"),
        "sometimes": tr("case.how.sometimes"),
        "rare": tr("case.how.rare"),
        "never": tr("case.how.never"),
    }
    times = {
        "minutes": tr("case.time.minutes"),
        "hour": tr("case.time.hour"),
        "half-day": tr("case.time.half-day"),
        "day": tr("case.time.day"),
        "days": tr("case.time.days"),
    }
    sources = {
        "standard": tr("case.source.standard"),
        "public-notice": tr("case.source.public-notice"),
        "physics": tr("case.source.physics"),
        "judgement": tr("case.source.judgement"),
        "cases": tr("case.source.cases"),
    }
    console.wrapped(console.style(fix.title.in_language(lang), "title"))
    console.line(console.style(f"{fix.slug} · {fix.fix_id}", "dim"))
    console.wrapped(fix.fix.in_language(lang))
    _safety_box(fix.safety, console, library)
    console.line(console.style(tr("case.show.codes"), "title"))
    console.table([[code.role.upper(), code.code, ", ".join(code.types), how[code.how]] for code in fix.codes])
    console.line(console.style(tr("case.show.symptoms"), "title"))
    for phrase in fix.symptoms_zh if lang == "zh" else fix.symptoms_en:
        console.wrapped(phrase, indent="    ", first="  · ")
    console.line(console.style(tr("case.show.tests"), "title"))
    for check in fix.checks:
        test = library.get_test(check.test)
        title = tr("case.show.test", title=test.title.in_language(lang), minutes=f"{test.minutes:g}")
        console.wrapped(title, indent="    ", first="  · ")
        console.wrapped(check.expect.in_language(lang), indent="      ", first="    → ")
    console.line(console.style(tr("case.show.steps"), "title"))
    for number, step in enumerate(fix.steps, start=1):
        console.wrapped(step.in_language(lang), indent="     ", first=f"  {number}. ")
    parts = tr.listed(part.in_language(lang) for part in fix.parts) or tr("case.show.no_parts")
    console.table(
        [
            [tr("case.show.verify"), fix.verify.in_language(lang)],
            [tr("case.show.parts"), parts],
            [tr("case.show.time"), times[fix.time]],
            [tr("case.show.source"), f"{sources[fix.source]}: {fix.source_note.in_language(lang)}"],
        ],
        indent="",
    )


def _stats(args: argparse.Namespace, console: Console, library: Library) -> int:
    from huizhen.commands.casesharing import json_from_site, site_row

    if args.check:
        library.check()
    counts, fixes, sites = library.counts(), library.own_fixes(), library.shared.sites()
    if wants_json(args):
        names = [{"case_id": f.fix_id, "source_id": f.slug, "title": f.title.to_json()} for f in fixes]
        shared = [json_from_site(site) for site in sites]
        console.json({"schema": "huizhen.library/1", "path": library.path, **counts, "shared": shared, "list": names})
        return Exit.DONE
    tr = console.tr
    console.table(
        [
            [tr("case.stats.file"), library.path],
            [tr("case.stats.fixes"), str(counts["fixes"])],
            [tr("case.stats.learnt"), str(counts["learnt_fixes"])],
            [tr("casesharing.shared"), str(counts["shared_fixes"])],
            [tr("case.stats.notices"), str(counts["notices"])],
            [tr("case.stats.terms"), str(counts["terms"])],
            [tr("case.stats.tests"), str(counts["tests"])],
            [tr("case.stats.jobs"), str(counts["jobs"])],
            [tr("case.stats.simulated_jobs"), str(counts["simulated_jobs"])],
            [tr("case.stats.outcomes"), str(counts["outcomes"])],
            [tr("case.stats.drafts"), str(counts["drafts"])],
        ],
        indent="",
    )
    if sites:
        console.line()
        console.line(console.style(tr("casesharing.sites"), "title"))
        console.table([site_row(site, tr) for site in sites])
    console.line()
    console.table([[fix.slug, fix.title.in_language(tr.lang)] for fix in fixes])
    return Exit.DONE
