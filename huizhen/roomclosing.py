"""The end of a job in the terminal: the questions of ``/close``, and the draft in the technician's case library."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Mapping

    from consult.agent import Agent
    from consult.messages import Event
    from huizhen.console import Console
    from huizhen.roomconsents import RoomConsents

__all__ = ["ask_statement", "draft_case", "finish_room", "statement_from_line"]

_OUTCOMES: Final = ("fixed", "not-fixed", "something-else", "unknown")
_MOST_CASES: Final = 5
_CANCEL: Final = "/cancel"


class _Cancelled(Exception):
    """The technician does not want to end the job yet."""


async def finish_room(
    words: str,
    lines: AsyncIterator[str],
    agent: Agent,
    cases: Mapping[str, Any] | None,
    args: argparse.Namespace,
    console: Console,
    consents: RoomConsents,
) -> bool:
    """Takes ``/close``, or a script's line of JSON, and finishes the job; False for any other words."""
    from consult.errors import ConsultError
    from huizhen.console import wants_json

    if wants_json(args):
        body = statement_from_line(words)
        if body is None:
            return False
    elif words == "/close":
        body = await ask_statement(lines, cases, console, sharing=await consents.sharing_text())
    else:
        return False
    if body is not None:
        try:
            agent.finish(body)
        except ConsultError as error:
            console.error(console.tr.error(error))
    return True


async def ask_statement(
    lines: AsyncIterator[str], cases: Mapping[str, Any] | None, console: Console, *, sharing: str = ""
) -> dict[str, Any] | None:
    """Asks what was found and what cured it, one question after the other; None when the technician thinks better.

    Args:
        lines: what is typed.
        cases: the ranked fixes of the report, to choose from.
        console: where it is asked.
        sharing: what the network of workshops would remember; empty where that is not asked.
    """
    tr = console.tr
    console.line(console.style(tr("roomclosing.begin"), "title"))
    said: dict[str, Any] = {"lang": tr.lang, "tried": []}
    try:
        fix = await _ask_fix(lines, cases, console)
        if fix:
            said["fix"] = fix
        else:
            said["component"] = await _ask(lines, tr("roomclosing.component"), console)
            said["failure_mode"] = await _ask(lines, tr("roomclosing.failure_mode"), console)
            said["action"] = await _ask(lines, tr("roomclosing.action"), console)
        while what := await _ask(lines, tr("roomclosing.tried"), console):
            said["tried"].append({"what": what, "result": await _ask(lines, tr("roomclosing.result"), console)})
        said["outcome"] = await _ask_outcome(lines, console)
        said["note"] = await _ask(lines, tr("roomclosing.note"), console)
        if sharing:
            said["share"] = await _ask_share(lines, sharing, console)
    except _Cancelled:
        console.note(tr("roomclosing.cancelled"))
        return None
    return said


async def _ask(lines: AsyncIterator[str], question: str, console: Console) -> str:
    console.line(question)
    console.out.flush()
    try:
        answer = (await anext(lines)).strip()
    except StopAsyncIteration:
        raise _Cancelled from None
    if answer == _CANCEL:
        raise _Cancelled
    return answer


async def _ask_fix(lines: AsyncIterator[str], cases: Mapping[str, Any] | None, console: Console) -> str:
    """The known fix that it was, by its number; empty for another one."""
    matches = list((cases or {}).get("matches") or [])[:_MOST_CASES]
    if not matches:
        return ""
    for number, match in enumerate(matches, start=1):
        title = match.get("fix") or match.get("title") or {}
        console.line(f"  {number}  {title.get(console.tr.lang) or match.get('case_id')}")
    while True:
        answer = await _ask(lines, console.tr("roomclosing.which", most=len(matches)), console)
        if not answer or answer == "0":
            return ""
        if answer.isascii() and answer.isdigit() and int(answer) <= len(matches):
            return str(matches[int(answer) - 1]["case_id"])
        console.note(console.tr("roomclosing.number", most=len(matches)))


async def _ask_outcome(lines: AsyncIterator[str], console: Console) -> str:
    words = {
        "fixed": console.tr("caselib.outcome.fixed"),
        "not-fixed": console.tr("caselib.outcome.not_fixed"),
        "something-else": console.tr("caselib.outcome.something_else"),
        "unknown": console.tr("casedrafts.outcome_unknown"),
    }
    for number, outcome in enumerate(_OUTCOMES, start=1):
        console.line(f"  {number}  {words[outcome]}")
    while True:
        answer = await _ask(lines, console.tr("roomclosing.outcome"), console)
        if not answer:
            return "unknown"
        if answer in ("1", "2", "3", "4"):
            return _OUTCOMES[int(answer) - 1]
        console.note(console.tr("roomclosing.number", most=len(_OUTCOMES)))


async def _ask_share(lines: AsyncIterator[str], text: str, console: Console) -> bool:
    """Whether the technician agrees; nothing typed is no."""
    console.line(text)
    while True:
        answer = (await _ask(lines, console.tr("roomconsents.ask"), console)).lower()
        if answer in ("y", "yes", "是", "同意"):
            return True
        if answer in ("", "n", "no", "否", "不同意"):
            return False
        console.note(console.tr("roomconsents.yes_or_no"))


def statement_from_line(line: str) -> dict[str, Any] | None:
    """What a script says instead: ``{"finish": {…}}`` as one line of JSON; None for any other line."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return None
    body = told.get("finish") if isinstance(told, dict) else None
    return body if isinstance(body, dict) else None


def draft_case(
    finish: Event, report: Mapping[str, Any], room: str, opened_us: int, args: argparse.Namespace, console: Console
) -> None:
    """Takes the finished job into the technician's own case library as a draft, and says so.

    A library that cannot be used is told, and is no failure: the record has the consultation too.
    """
    from casebase.errors import CaseError
    from casebase.library import Library
    from consult.closing import consultation
    from huizhen.console import wants_json

    document = consultation(room, report, finish.body, opened_us=opened_us, closed_us=finish.t_us)
    try:
        with Library.open(args.library, create=True) as library:
            number, _ = library.drafts.take(document)
    except CaseError as error:
        console.error(console.tr.error(error))
        console.note(console.tr("roomclosing.no_draft"))
        return
    simulated = document["simulated"]
    if wants_json(args):
        told = {"schema": "huizhen.draft/1", "draft": number, "new": True, "state": "waiting", "simulated": simulated}
        console.json(told)
        return
    console.line(console.tr("roomclosing.draft", number=number))
    if simulated:
        console.note(console.tr("roomclosing.simulated"))
