"""``huizhen case add --draft|--drafts|--confirm|--drop``: closed consultations that become cases."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from huizhen.console import wants_json
from huizhen.exits import Exit

if TYPE_CHECKING:
    import argparse

    from casebase.drafts import Draft
    from casebase.library import Library
    from casebase.samewords import SameWords
    from huizhen.console import Console
    from huizhen.language import Translator

__all__ = ["add_options", "is_meant", "run", "show_waiting"]

_LARGEST: Final = 64 << 20


def add_options(add: argparse.ArgumentParser, tr: Translator) -> None:
    """Names the options of ``case add`` that are about drafts."""
    which = add.add_mutually_exclusive_group()
    which.add_argument("--draft", metavar="FILE", help=tr("casedrafts.draft"))
    which.add_argument("--drafts", action="store_true", help=tr("casedrafts.drafts"))
    which.add_argument("--confirm", metavar="N", type=int, help=tr("casedrafts.confirm"))
    which.add_argument("--drop", metavar="N", type=int, help=tr("casedrafts.drop"))


def is_meant(args: argparse.Namespace) -> bool:
    """Whether one of them was given."""
    return bool(args.draft or args.drafts) or args.confirm is not None or args.drop is not None


def run(args: argparse.Namespace, console: Console, library: Library) -> int:
    """Takes over, lists, confirms or drops; returns the exit code."""
    if args.draft:
        return _take(args, console, library)
    if args.drafts:
        return _list(args, console, library)
    if args.confirm is not None:
        return _confirm(args, console, library)
    library.drafts.drop(args.drop)
    if wants_json(args):
        console.json({"schema": "huizhen.draft/1", "draft": args.drop, "state": "dropped"})
    else:
        console.line(console.tr("casedrafts.dropped", number=args.drop))
    return Exit.DONE


def _take(args: argparse.Namespace, console: Console, library: Library) -> int:
    number, is_new = library.drafts.take(_document(args.draft, console.tr))
    draft = next((one for one in library.drafts.waiting() if one.number == number), None)
    found = [] if draft is None else library.drafts.like(draft)
    if wants_json(args):
        told = {"schema": "huizhen.draft/1", "draft": number, "new": is_new, "state": "waiting" if draft else "ended"}
        console.json({**told, "suggestions": [one.to_json() for one in found]})
    elif draft is None:
        console.line(console.tr("casedrafts.ended", number=number))
    else:
        console.line(console.tr("casedrafts.taken" if is_new else "casedrafts.changed", number=number))
        _show_suggestions(draft, found, console)
    return Exit.DONE


def _document(path: str, tr: Translator) -> Any:
    """The JSON of a file.

    Raises:
        BadUsage: it cannot be read, is too large or no JSON.
    """
    from pathlib import Path

    from huizhen.errors import BadUsage

    try:
        with Path(path).open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise BadUsage(tr("case.find.unreadable", path=path, reason=error.strerror or str(error))) from error
    if len(data) > _LARGEST:
        raise BadUsage(tr("case.find.unreadable", path=path, reason=tr("case.find.too_long", limit=_LARGEST)))
    try:
        return json.loads(json.dumps(json.loads(data), ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise BadUsage(tr("case.find.not_json", path=path)) from error


def _list(args: argparse.Namespace, console: Console, library: Library) -> int:
    drafts = library.drafts.waiting()
    if wants_json(args):
        rows = [
            {
                "draft": draft.number, "car": (draft.car_key or "")[:8], "simulated": draft.simulated,
                "consultation": draft.to_json(), "suggestions": [one.to_json() for one in library.drafts.like(draft)],
            }
            for draft in drafts
        ]  # fmt: skip
        console.json({"schema": "huizhen.drafts/1", "drafts": rows})
        return Exit.DONE
    if not drafts:
        console.line(console.tr("casedrafts.none"))
    for draft in drafts:
        _show(draft, console)
        _show_suggestions(draft, library.drafts.like(draft), console)
    return Exit.DONE


def _show(draft: Draft, console: Console) -> None:
    tr = console.tr
    outcomes = {
        "fixed": tr("caselib.outcome.fixed"),
        "not-fixed": tr("caselib.outcome.not_fixed"),
        "something-else": tr("caselib.outcome.something_else"),
        None: tr("casedrafts.outcome_unknown"),
    }
    said = draft.statement
    head = tr("casedrafts.head", number=draft.number, room=draft.room, outcome=outcomes[said.outcome])
    console.line(console.style(head, "title"))
    if draft.simulated:
        console.line("   " + console.style(tr("casedrafts.simulated"), "dim"))
    symptom = " ".join(str(draft.question.get("symptom") or "").split())
    if symptom:
        console.wrapped(tr("casedrafts.customer", text=symptom), indent="   ")
    words = " · ".join(part for part in (said.fix, said.component, said.failure_mode, said.action) if part)
    if words:
        console.wrapped(tr("casedrafts.experts", text=words), indent="   ")
    for at, (what, result) in enumerate(draft.tried, start=1):
        console.wrapped(" → ".join(part for part in (what, result) if part), indent="      ", first=f"   {at}. ")


def _show_suggestions(draft: Draft, found: list[SameWords], console: Console) -> None:
    tr = console.tr
    for at, one in enumerate(found):
        title = one.fix.title.in_language(tr.lang)
        percent = f"{one.likeness * 100:.0f}"
        if at == 0 and one.is_close and draft.statement.fix != one.fix.slug:
            console.wrapped(tr("casedrafts.same", title=title, percent=percent), indent="   ")
            console.line(f"      huizhen case add --confirm {draft.number} --fix {one.fix.slug}")
        else:
            console.wrapped(tr("casedrafts.like", title=title, percent=percent, name=one.fix.slug), indent="   ")


def _confirm(args: argparse.Namespace, console: Console, library: Library) -> int:
    fix: str | dict[str, str] | None = args.fix
    if fix is None and (args.did or args.cause):
        fix = {"component": args.component, "failure_mode": args.cause, "action": args.did or args.cause}
    case = library.drafts.confirm(args.confirm, fix, args.outcome, args.note)
    if wants_json(args):
        console.json({"schema": "huizhen.added/1", "id": case.uid, "new": True, "outcome": case.outcome})
        return Exit.DONE
    console.line(console.tr("casedrafts.confirmed", number=args.confirm))
    if case.query.simulated:
        console.line(console.tr("casedrafts.teaches_nothing"))
    return Exit.DONE


def show_waiting(drafts: list[Draft], console: Console) -> None:
    """That drafts wait, below what else is known of a car."""
    if drafts:
        numbers = console.tr.listed(str(draft.number) for draft in drafts)
        console.wrapped(console.tr("casedrafts.waiting", n=len(drafts), numbers=numbers))
