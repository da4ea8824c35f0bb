"""``huizhen db``: which databases there are, what is in them, what is wrong with them.

Each action is one pair in :data:`_ACTIONS`: a function that names its options, and one that does it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from huizhen.databaseview import database_json, entry_json, issue_json, show_database, show_lint, show_message
from huizhen.exits import Exit

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from dbc.catalogue import Entry
    from dbc.database import Database
    from dbc.signals import Message
    from huizhen.cli import Commands
    from huizhen.console import Console
    from huizhen.language import Translator

__all__ = ["add_parser", "lint_json", "run"]


def add_parser(commands: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    """Names the actions and their options."""
    parser = commands.add_parser(
        "db", parents=[common], help=tr("db.help"), description=tr("db.description"), epilog=tr("db.epilog")
    )
    actions = parser.add_subparsers(dest="action", metavar=tr("cli.command"), title=tr("db.actions"))
    for add, _ in _ACTIONS.values():
        add(actions, common, tr)


def run(args: argparse.Namespace, console: Console) -> int:
    """Does one action; returns the exit code."""
    if args.action in _ACTIONS:
        return _ACTIONS[args.action][1](args, console)
    from huizhen.errors import BadUsage

    raise BadUsage(console.tr("db.no_action"))


def _wants_json(args: argparse.Namespace) -> bool:
    return getattr(args, "json", False) or getattr(args, "jsonl", False)


def _find(named: str, console: Console) -> tuple[Path, Entry | None]:
    """The file that was named: a path, else an entry of the catalogue.

    Raises:
        FileMissing: neither.
    """
    from difflib import get_close_matches

    from dbc.catalogue import entries, find_entry
    from dbc.errors import FileMissing, Phrase

    entry = find_entry(named)
    if Path(named).exists():
        return Path(named), entry if entry and entry.path.resolve() == Path(named).resolve() else None
    if entry is not None:
        return entry.path, entry
    close = ", ".join(get_close_matches(named, [found.name for found in entries()], n=3, cutoff=0.5))
    console.stage_done()
    reason = Phrase("no such file, and no database of that name", "没有这个文件，也没有这个名称的数据库")
    if close:
        reason = Phrase(f"{reason.en} (perhaps {close})", f"{reason.zh}（是否指 {close}）")
    raise FileMissing(named, reason)


# --- list ------------------------------------------------------------------------------------------------------------


def _add_list(actions: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    parser = actions.add_parser(
        "list",
        parents=[common],
        help=tr("db.list.help"),
        description=tr("db.list.description"),
        epilog=tr("db.list.epilog"),
    )
    parser.add_argument("--make", metavar="MAKE", help=tr("db.list.make"))
    parser.add_argument("--vin", metavar="VIN", help=tr("db.list.vin"))


def _asked_make(args: argparse.Namespace, console: Console) -> str | None:
    """The make that was asked for, by name or by VIN.

    Raises:
        BadUsage: the VIN's manufacturer is not known.
    """
    if args.vin is None:
        return args.make if args.make is None else str(args.make)
    from diag.vin import clean_vin, find_make
    from huizhen.errors import BadUsage

    make = find_make(clean_vin(args.vin))
    if make is None:
        raise BadUsage(console.tr("db.list.unknown_vin", vin=args.vin))
    return make


def _is_of_make(entry: Entry, make: str) -> bool:
    words = {word.casefold() for word in entry.make.replace("/", " ").split()} | {entry.make.casefold()}
    return bool(entry.make) and (make.casefold() in words or make.casefold().split()[0] in words)


def _list(args: argparse.Namespace, console: Console) -> int:
    from dbc.catalogue import entries, user_folder

    tr = console.tr
    make = _asked_make(args, console)
    found = [entry for entry in entries() if make is None or _is_of_make(entry, make)]
    if _wants_json(args):
        listed = [entry_json(entry) for entry in found]
        console.json({"schema": "huizhen.databases/1", "databases": listed, "user_folder": str(user_folder())})
        return Exit.DONE
    rows = [
        (
            entry.name,
            entry.make or "-",
            getattr(entry.source, tr.lang),
            entry.licence or "-",
            tr("db.list.fragment") if entry.is_fragment else "",
        )
        for entry in found
        if console.verbose or not entry.is_fragment
    ]
    if rows:
        console.table(rows, (tr("db.name"), tr("db.make"), tr("db.source"), tr("db.licence"), ""))
    fragments = sum(entry.is_fragment for entry in found)
    console.line(tr("db.list.counts", n=len(found) - fragments, fragments=fragments))
    console.note(tr("db.list.folder", path=str(user_folder())))
    if not any(entry.origin == "opendbc" for entry in entries()):
        console.note(tr("db.list.no_opendbc"))
    return Exit.DONE


# --- show ------------------------------------------------------------------------------------------------------------


def _add_show(actions: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    parser = actions.add_parser(
        "show",
        parents=[common],
        help=tr("db.show.help"),
        description=tr("db.show.description"),
        epilog=tr("db.show.epilog"),
    )
    parser.add_argument("file", metavar="FILE|NAME", help=tr("db.show.file"))
    parser.add_argument("message", metavar="MESSAGE", nargs="?", help=tr("db.show.message"))


def _show(args: argparse.Namespace, console: Console) -> int:
    from dbc.database import load

    path, entry = _find(args.file, console)
    database = load(path)
    chosen: Sequence[Message] = database.messages
    if args.message is not None:
        chosen = _chosen(database, args.message, console)
    if _wants_json(args):
        console.json(database_json(database, entry, chosen))
        return Exit.DONE
    if args.message is not None:
        for message in chosen:
            show_message(message, console)
        return Exit.DONE
    show_database(database, entry, console)
    return Exit.DONE


def _chosen(database: Database, asked: str, console: Console) -> list[Message]:
    """The messages of a name or identifier.

    Raises:
        BadUsage: there is none.
    """
    from difflib import get_close_matches

    from huizhen.errors import BadUsage

    wanted = asked.casefold()
    try:
        number = int(asked, 0)
    except ValueError:
        number = -1
    found = [m for m in database.messages if m.name.casefold() == wanted or m.can_id == number]
    if not found:
        names = ", ".join(get_close_matches(asked, [m.name for m in database.messages], n=3, cutoff=0.4)) or "-"
        raise BadUsage(console.tr("db.show.no_message", message=asked, names=names))
    return found


# --- lint ------------------------------------------------------------------------------------------------------------


def _add_lint(actions: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    parser = actions.add_parser(
        "lint",
        parents=[common],
        help=tr("db.lint.help"),
        description=tr("db.lint.description"),
        epilog=tr("db.lint.epilog"),
    )
    parser.add_argument("files", metavar="FILE", nargs="+", help=tr("db.lint.files"))


def lint_json(named: str, path: Path) -> dict[str, Any]:
    """``huizhen.lint/1``: what is wrong with one file; a file that is refused has its reason as the only issue."""
    from dbc.database import load
    from dbc.errors import DbcError
    from huizhen.language import Translator

    facts: dict[str, Any] = {"schema": "huizhen.lint/1", "file": named, "loaded": False, "encoding": None}
    try:
        database = load(path)
    except DbcError as error:
        line = getattr(error, "line", None)
        text = {lang: Translator(lang).error(error) for lang in ("en", "zh")}
        issue = {"line": line if isinstance(line, int) else None, "code": error.code, "text": text, "repaired": False}
        return {**facts, "format": None, "messages": 0, "signals": 0, "imports": [], "issues": [issue]}
    return {
        **facts,
        "loaded": True,
        "encoding": database.encoding,
        "format": database.format,
        "messages": len(database.messages) or len(database.dids),
        "signals": sum(len(message.signals) + len(message.unreadable) for message in database.messages)
        + sum(len(did.signals) for did in database.dids),
        "imports": list(database.imports),
        "issues": [issue_json(issue) for issue in database.issues],
    }


def _files(named: Sequence[str], console: Console) -> list[tuple[str, Path]]:
    """The files to look at: those named, and all databases of folders that were named."""
    from dbc.catalogue import ENDINGS, find_entry

    found: list[tuple[str, Path]] = []
    for name in named:
        path = Path(name)
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in ENDINGS and file.is_file())
            found += [(str(file), file) for file in inside]
            if not inside:
                console.note(console.tr("db.lint.empty", path=name))
        elif not path.exists() and (entry := find_entry(name)) is not None:
            found.append((str(entry.path), entry.path))
        else:
            found.append((name, path))
    return found


def _lint(args: argparse.Namespace, console: Console) -> int:
    tr = console.tr
    loaded = total = 0
    for named, path in _files(args.files, console):
        console.stage(tr("db.lint.reading", path=named))
        facts = lint_json(named, path)
        console.stage_done()
        total += 1
        loaded += facts["loaded"]
        if _wants_json(args):
            console.json(facts)
        else:
            show_lint(facts, console)
    if not _wants_json(args) and total != 1:
        console.line(tr("db.lint.total", total=total, loaded=loaded))
    return Exit.DONE if loaded == total else Exit.USAGE


# --- match -----------------------------------------------------------------------------------------------------------


def _add_match(actions: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    parser = actions.add_parser(
        "match",
        parents=[common],
        help=tr("db.match.help"),
        description=tr("db.match.description"),
        epilog=tr("db.match.epilog"),
    )
    parser.add_argument("recording", metavar="LOG", help=tr("log.file"))
    parser.add_argument("databases", metavar="DB", nargs="*", help=tr("db.match.databases"))


def _match(args: argparse.Namespace, console: Console) -> int:
    from dbc.fit import match_databases
    from huizhen.databasematch import first_frames, load_candidates, match_json, show_match

    named = [(name, _find(name, console)[0]) for name in args.databases]
    table = first_frames(args.recording, console)
    databases, failed = load_candidates(table, named, console)
    match = match_databases(table, databases)
    if _wants_json(args):
        console.json(match_json(match, table, failed))
    else:
        show_match(match, failed, console)
    return Exit.DONE


_ACTIONS = {
    "list": (_add_list, _list),
    "show": (_add_show, _show),
    "lint": (_add_lint, _lint),
    "match": (_add_match, _match),
}
