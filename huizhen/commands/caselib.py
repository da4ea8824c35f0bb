"""``huizhen case import|export|add|close|history|calibration|backup|restore``: what goes into the library and out."""

from __future__ import annotations

import csv
import io
import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from huizhen.commands.casenetwork import tell_after_close
from huizhen.commands.casesharing import COUNTS, export_counts, import_counts
from huizhen.console import wants_json
from huizhen.exits import Exit

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator

    from casebase.imports.run import ImportResult
    from casebase.library import Library
    from huizhen.carmemory import CarMemory
    from huizhen.console import Console
    from huizhen.language import Translator

__all__ = ["ACTIONS", "MAKE_NEW", "add_actions", "run"]

_KINDS: Final = ("nhtsa-recalls", "nhtsa-flat", "samr", "jsonl", "scans", "sheet", "exposure", COUNTS)
_OUTCOMES: Final = ("fixed", "not-fixed", "something-else")
_FIELDS: Final = (
    "id", "opened", "closed", "make", "model", "model_year", "batch", "mileage_km", "symptom", "dtcs", "component",
    "failure_mode", "action", "fix", "outcome", "note",
)  # fmt: skip
_SHOWN_BAD: Final = 10
MAKE_NEW: Final = frozenset({"import", "add", "restore"})
"""Actions that make the library when it is not there."""


def add_actions(actions: Any, common: argparse.ArgumentParser, tr: Translator) -> list[argparse.ArgumentParser]:
    """Names their options; returns their parsers."""
    from huizhen.commands import casedrafts

    texts = {
        "import": (tr("caselib.import.help"), tr("caselib.import.description"), tr("caselib.import.epilog")),
        "export": (tr("caselib.export.help"), tr("caselib.export.description"), tr("caselib.export.epilog")),
        "add": (tr("caselib.add.help"), tr("caselib.add.description"), tr("caselib.add.epilog")),
        "close": (tr("caselib.close.help"), tr("caselib.close.description"), tr("caselib.close.epilog")),
        "history": (tr("caselib.history.help"), tr("caselib.history.description"), tr("caselib.history.epilog")),
        "calibration": (
            tr("caselib.calibration.help"), tr("caselib.calibration.description"), tr("caselib.calibration.epilog")
        ),
        "backup": (tr("caselib.backup.help"), tr("caselib.backup.description"), tr("caselib.backup.epilog")),
        "restore": (tr("caselib.restore.help"), tr("caselib.restore.description"), tr("caselib.restore.epilog")),
    }  # fmt: skip
    made = {
        name: actions.add_parser(name, parents=[common], help=help_, description=description, epilog=epilog)
        for name, (help_, description, epilog) in texts.items()
    }
    made["import"].add_argument("kind", metavar="KIND", choices=_KINDS, help=tr("caselib.import.kind"))
    made["import"].add_argument("file", metavar="FILE", help=tr("caselib.import.file"))
    made["import"].add_argument("--columns", metavar="MAP.toml", help=tr("caselib.import.columns"))
    made["import"].add_argument("--trust", metavar="KEY", help=tr("caselib.import.trust"))
    made["export"].add_argument("--counts", action="store_true", help=tr("caselib.export.counts"))
    made["export"].add_argument("file", metavar="FILE", help=tr("caselib.export.file"))
    made["add"].add_argument("scan", nargs="?", metavar="SCAN.json", help=tr("case.find.scan"))
    made["add"].add_argument("--symptom", metavar="TEXT", default="", help=tr("case.find.symptom"))
    made["add"].add_argument("--dtc", metavar="CODE[@ROLE]", action="append", default=[], help=tr("case.find.dtc"))
    made["add"].add_argument("--make", metavar="MAKE", help=tr("case.find.make"))
    made["add"].add_argument("--model", metavar="MODEL", help=tr("case.find.model"))
    made["add"].add_argument("--year", metavar="YEAR", help=tr("case.find.year"))
    for name in ("add", "close"):
        made[name].add_argument("--fix", metavar="ID", help=tr("caselib.close.fix"))
        made[name].add_argument("--outcome", choices=_OUTCOMES, help=tr("caselib.close.outcome"))
        made[name].add_argument("--note", metavar="TEXT", default="", help=tr("caselib.close.note"))
    made["add"].add_argument("--component", metavar="TEXT", default="", help=tr("caselib.add.component"))
    made["add"].add_argument("--cause", metavar="TEXT", default="", help=tr("caselib.add.cause"))
    made["add"].add_argument("--action", dest="did", metavar="TEXT", default="", help=tr("caselib.add.action"))
    casedrafts.add_options(made["add"], tr)
    made["close"].add_argument("job", metavar="JOB", type=int, help=tr("caselib.close.job"))
    made["history"].add_argument("vin", metavar="VIN", help=tr("caselib.history.vin"))
    made["history"].add_argument("--server", metavar="URL", help=tr("casenetwork.server_of"))
    for name in ("close", "history"):
        made[name].add_argument("--no-network", action="store_true", help=tr("casenetwork.no_network"))
    made["backup"].add_argument("file", metavar="FILE", help=tr("caselib.backup.file"))
    made["restore"].add_argument("file", metavar="FILE", help=tr("caselib.restore.file"))
    return list(made.values())


def run(args: argparse.Namespace, console: Console, library: Library) -> int:
    """Does one of them; returns the exit code."""
    return ACTIONS[args.action](args, console, library)


def _import(args: argparse.Namespace, console: Console, library: Library) -> int:
    tr = console.tr
    if args.kind == COUNTS:
        return import_counts(args, console, library)
    if args.trust is not None:
        from huizhen.errors import BadUsage

        raise BadUsage(tr("casesharing.only_counts"))
    from casebase.errors import LibraryError

    last: list[ImportResult] = []

    def progress(result: ImportResult) -> None:
        last[:] = [result]
        console.stage(tr("caselib.import.stage", rows=f"{result.resumed + result.rows:,}"))

    try:
        result = library.import_file(args.kind, args.file, mapping=args.columns, progress=progress)
    except (KeyboardInterrupt, LibraryError):
        console.stage_done()
        if last:
            console.note(tr("caselib.import.interrupted", rows=f"{last[0].resumed + last[0].rows:,}"))
        raise
    console.stage_done()
    if wants_json(args):
        console.json(
            {
                "schema": "huizhen.import/1",
                "kind": args.kind,
                "file": args.file,
                "rows": result.rows,
                "kept": result.kept,
                "new": result.new,
                "left_out": result.bad_rows,
                "resumed": result.resumed,
                "was_done": result.was_done,
                "bad": [{"row": row, "why": why.to_json()} for row, why in result.bad],
            }
        )
        return Exit.DONE
    if result.was_done:
        console.line(tr("caselib.import.was_done", path=args.file))
        return Exit.DONE
    if result.resumed:
        console.line(tr("caselib.import.resumed", rows=f"{result.resumed:,}"))
    console.line(tr("caselib.import.done", rows=f"{result.rows:,}", kept=f"{result.kept:,}", new=f"{result.new:,}"))
    if result.bad_rows:
        console.line(tr("caselib.import.left_out", rows=f"{result.bad_rows:,}"))
        shown = result.bad if console.verbose else result.bad[:_SHOWN_BAD]
        for row, why in shown:
            console.wrapped(tr("caselib.import.bad_row", row=row, why=why.in_language(tr.lang)), "    ", "  ")
        if len(shown) < result.bad_rows:
            console.line(tr("caselib.import.more_bad", rows=f"{result.bad_rows - len(shown):,}"))
    return Exit.DONE


def _export(args: argparse.Namespace, console: Console, library: Library) -> int:
    if args.counts:
        return export_counts(args, console, library, _written)
    count = 0
    is_table = args.file.lower().endswith(".csv")
    with _written(args.file, console.tr) as write:
        if is_table:
            write("\ufeff" + _row(_FIELDS))  # the mark tells spreadsheets that it is UTF-8
        for case in library.cases.all():
            write(_row(_cells(case)) if is_table else json.dumps(case, ensure_ascii=False) + "\n")
            count += 1
    if args.file != "-":
        console.note(console.tr("caselib.export.done", n=f"{count:,}", path=args.file))
    return Exit.DONE


def _row(cells: Iterable[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()


def _cells(case: dict[str, Any]) -> list[str]:
    """A case as a row that ``case import sheet`` reads; figures and findings do not go into a table."""
    fix = case.get("fix", "")
    told = {**case.get("vehicle", {}), **case, **(fix if isinstance(fix, dict) else {"fix": fix})}
    told["fix"] = fix if isinstance(fix, str) else ""
    codes = [
        dtc if isinstance(dtc, str) else "-".join(part for part in (dtc.get("code"), dtc.get("failure_type")) if part)
        for dtc in case.get("dtcs", [])
    ]
    told["dtcs"] = " ".join(code.partition("@")[0] for code in codes)
    return [str(told.get(name) if told.get(name) is not None else "") for name in _FIELDS]


@contextmanager
def _written(path: str, tr: Translator) -> Iterator[Callable[[str], object]]:
    """A text file that is there only when it is whole, or standard output.

    Raises:
        BadUsage: it cannot be written.
    """
    from huizhen.errors import BadUsage

    if path == "-":
        yield sys.stdout.write
        return
    part = Path(f"{path}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            yield file.write
        part.replace(path)
    except OSError as error:
        raise BadUsage(tr("caselib.export.unwritable", path=path, reason=error.strerror or str(error))) from error
    finally:
        part.unlink(missing_ok=True)


def _add(args: argparse.Namespace, console: Console, library: Library) -> int:
    from casebase.record import case_from_json
    from huizhen.commands import casedrafts
    from huizhen.commands.case import scan_of
    from huizhen.errors import BadUsage

    if casedrafts.is_meant(args):
        return casedrafts.run(args, console, library)
    line: dict[str, Any] = scan_of(args.scan, console.tr) if args.scan else {}
    if not (args.scan or args.symptom or args.dtc):
        raise BadUsage(console.tr("caselib.add.nothing"))
    named = {"make": args.make, "model": args.model, "model_year": args.year}
    line["vehicle"] = {**(line.get("vehicle") or {}), **{key: value for key, value in named.items() if value}}
    line["dtcs"] = [*(line.get("dtcs") or []), *args.dtc]
    if args.symptom:
        line["symptom"] = "\n".join(part for part in (line.get("symptom"), args.symptom) if part)
    line |= {"outcome": args.outcome, "note": args.note}
    if args.fix:
        line["fix"] = args.fix
    elif args.did or args.cause:
        line["fix"] = {"component": args.component, "failure_mode": args.cause, "action": args.did or args.cause}
    case = case_from_json(line, library.cases.car_key)
    new = library.add_cases([case])
    if wants_json(args):
        console.json({"schema": "huizhen.added/1", "id": case.uid, "new": bool(new)})
    else:
        console.line(console.tr("caselib.add.done") if new else console.tr("caselib.add.known"))
    return Exit.DONE


def _close(args: argparse.Namespace, console: Console, library: Library) -> int:
    tr = console.tr
    shown = library.shown_for(args.job)
    outcome, fix = args.outcome, args.fix
    if outcome is None:
        outcome, fix = _asked(shown, console, library)
    elif fix is None and outcome != "something-else" and shown:
        fix = shown[0]
    library.close_job(args.job, fix, outcome, note=args.note)
    if wants_json(args):
        console.json({"schema": "huizhen.closed/1", "job": args.job, "outcome": outcome, "fix": fix})
    else:
        console.line(tr("caselib.close.done", job=args.job))
    tell_after_close(args, console, library)
    if wants_json(args):
        return Exit.DONE
    if outcome == "something-else" and fix is None:
        console.wrapped(tr("caselib.close.tell_more"))
    return Exit.DONE


def _asked(shown: list[str], console: Console, library: Library) -> tuple[str, str | None]:
    """The one question that closes a job.

    Raises:
        BadUsage: there is nobody to answer.
    """
    from huizhen.errors import BadUsage

    tr = console.tr
    if not sys.stdin.isatty():
        raise BadUsage(tr("caselib.close.not_asked"))
    names = shown[:3]
    console.line(tr("caselib.close.question"))
    for number, case_id in enumerate(names, start=1):
        console.line(tr("caselib.close.fixed_by", number=number, title=library.title_of(case_id).in_language(tr.lang)))
    first = len(names) + 1
    console.line(tr("caselib.close.not_fixed", number=first))
    console.line(tr("caselib.close.something_else", number=first + 1))
    while True:
        console.out.write("> ")
        console.out.flush()
        said = sys.stdin.readline()
        if not said:
            raise BadUsage(tr("caselib.close.not_asked"))
        if said.strip().isdigit() and 1 <= int(said) <= first + 1:
            break
    choice = int(said)
    if choice < first:
        return "fixed", names[choice - 1]
    return ("not-fixed", names[0] if names else None) if choice == first else ("something-else", None)


def _history(args: argparse.Namespace, console: Console, library: Library) -> int:
    tr = console.tr
    from huizhen.carmemory import recall_car
    from huizhen.commands import casedrafts

    found, drafts = library.cases.of_car(args.vin), library.drafts.of_car(args.vin)
    memory = recall_car(library, args.vin, asks=not args.no_network, server=args.server)
    if wants_json(args):
        network = {
            "server": memory.server or None,
            "asked": bool(memory.server) and memory.trouble is None,
            "error": None if memory.trouble is None else tr.error(memory.trouble),
            "visits": memory.elsewhere,
        }
        told = {"visits": found, "drafts": [draft.number for draft in drafts], "network": network}
        console.json({"schema": "huizhen.history/1", **told})
        return Exit.DONE
    if found:
        _show_visits(found, console, library)
    else:
        console.line(tr("caselib.history.none"))
    _show_elsewhere(memory, console, library)
    casedrafts.show_waiting(drafts, console)
    return Exit.DONE


def _show_elsewhere(memory: CarMemory, console: Console, library: Library) -> None:
    """What other workshops know, told apart from what this one does."""
    from huizhen.carmemory import show_earlier

    tr = console.tr
    if memory.trouble is not None:
        reason = tr.error(memory.trouble)
        console.note(tr("casenetwork.not_asked", server=memory.server, reason=reason))
    elif memory.elsewhere:
        console.line(console.style(memory.server, "title"))
        show_earlier(memory.elsewhere, library, console)
    elif memory.server:
        console.line(tr("casenetwork.none_elsewhere", server=memory.server))


def _show_visits(found: list[dict[str, Any]], console: Console, library: Library) -> None:
    from datetime import UTC, datetime

    tr = console.tr
    outcomes = {
        "fixed": tr("caselib.outcome.fixed"),
        "not-fixed": tr("caselib.outcome.not_fixed"),
        "something-else": tr("caselib.outcome.something_else"),
        None: tr("caselib.outcome.open"),
    }
    rows = []
    for visit in found:
        when = visit["closed_ns"] or visit["opened_ns"]
        day = datetime.fromtimestamp(when / 1e9, UTC).strftime("%Y-%m-%d") if when else "-"
        title = library.title_of(visit["fix_id"]).in_language(tr.lang) if visit["fix_id"] else ""
        said = " ".join((visit["symptom"] or visit["note"] or "").split())
        rows.append([str(visit["case"]), day, outcomes[visit["outcome"]], " · ".join(x for x in (said, title) if x)])
    console.table(rows)


def _calibration(args: argparse.Namespace, console: Console, library: Library) -> int:
    made = library.calibration()
    if wants_json(args):
        console.json(made.to_json())
    else:
        from huizhen.calibrationview import show_calibration

        show_calibration(made, console)
    return Exit.DONE


def _backup(args: argparse.Namespace, console: Console, library: Library) -> int:
    library.backup(args.file)
    console.note(console.tr("caselib.backup.done", path=args.file))
    return Exit.DONE


def _restore(args: argparse.Namespace, console: Console, library: Library) -> int:
    library.restore(args.file)
    console.note(console.tr("caselib.restore.done", path=args.file))
    return Exit.DONE


ACTIONS: Final = {
    "import": _import,
    "export": _export,
    "add": _add,
    "close": _close,
    "history": _history,
    "calibration": _calibration,
    "backup": _backup,
    "restore": _restore,
}
