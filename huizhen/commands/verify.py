"""``huizhen verify``: proof of repair. Two saved scans, or a saved one and the car as it is now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from huizhen.exits import Exit
from huizhen.links import add_link_options

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from diag.repairproof import Proof, RepairVisit
    from huizhen.cli import Commands
    from huizhen.console import Console
    from huizhen.language import Translator

__all__ = ["add_parser", "not_comparable", "run"]

_MOST_BYTES = 200_000_000


def add_parser(commands: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    """Names the options of ``verify``."""
    parser = commands.add_parser(
        "verify",
        parents=[common],
        help=tr("verify.help"),
        description=tr("verify.description"),
        epilog=tr("verify.epilog"),
    )
    parser.add_argument("before", metavar="BEFORE", help=tr("verify.before"))
    parser.add_argument("after", nargs="?", metavar="AFTER", help=tr("verify.after"))
    parser.add_argument("-o", "--output", metavar="FILE", help=tr("verify.output"))
    add_link_options(parser, tr, needs_frames=False)


def run(args: argparse.Namespace, console: Console) -> int:
    """Compares, prints; returns the exit code."""
    from diag.repairproof import prove_repair
    from huizhen.errors import BadUsage
    from huizhen.files import check_writable, write_json
    from huizhen.scanview import show_simulated

    adapter = getattr(args, "adapter", None)
    if args.after and (args.interface or args.channel or args.demo or adapter or args.output):
        raise BadUsage(console.tr("verify.after_and_link"))
    before = _saved(args.before, console)
    if args.output:
        check_writable(args.output)
    if args.after:
        after = _saved(args.after, console)
    else:
        value, trouble = _scanned(args, before, console)
        if args.output:
            write_json(args.output, value)
            console.note(console.tr("scan.saved", path=args.output))
        if trouble is not None:
            raise trouble
        after = _visit(value, "", console)
    try:
        proof = prove_repair(before, after)
    except ValueError as error:
        raise BadUsage(not_comparable(error, before, after, console.tr)) from None
    if getattr(args, "json", False) or getattr(args, "jsonl", False):
        console.json(proof.to_json())
    else:
        if args.after and proof.simulated:  # else it was said before the car was read
            show_simulated(console)
        _show(proof, before, after, console)
    return Exit.DONE


def not_comparable(error: ValueError, before: RepairVisit, after: RepairVisit, tr: Translator) -> str:
    """Why two visits prove nothing, in a person's words."""
    match str(error):
        case "vin":
            return tr("verify.other_car", before=before.vin, after=after.vin)
        case "simulated":
            return tr("verify.other_kind")
        case _:
            return tr("verify.other_order")


def _saved(path: str, console: Console) -> RepairVisit:
    """A scan that was saved with ``-o``.

    Raises:
        BadUsage: it cannot be read, or is no scan.
    """
    import json

    from huizhen.errors import BadUsage
    from huizhen.sessionbundle import saved_bytes

    try:
        content = saved_bytes(path, _MOST_BYTES)
        if len(content) > _MOST_BYTES:
            raise BadUsage(console.tr("verify.no_scan", path=path, why=console.tr("verify.too_large")))
        value = json.loads(content)
    except OSError as error:
        raise BadUsage(console.tr("verify.unreadable", path=path, why=error.strerror or str(error))) from error
    except (ValueError, RecursionError) as error:
        raise BadUsage(console.tr("verify.no_scan", path=path, why=console.tr("verify.no_json"))) from error
    return _visit(value, path, console)


def _visit(value: Any, path: str, console: Console) -> RepairVisit:
    from diag.repairproof import RepairVisit
    from huizhen.errors import BadUsage

    try:
        return RepairVisit.from_json(value)
    except ValueError as error:
        raise BadUsage(console.tr("verify.no_scan", path=path, why=str(error))) from error


def _scanned(
    args: argparse.Namespace, before: RepairVisit, console: Console
) -> tuple[dict[str, Any], BaseException | None]:
    """The car as it is now, with the state of every code that its ECUs can test; and what cut the reading short."""
    import asyncio

    from diag.errors import LinkLost

    found: list[dict[str, Any]] = []
    try:
        asyncio.run(_scan(args, before, console, found.append))
    except (KeyboardInterrupt, LinkLost) as error:
        console.stage_done()
        if not found:
            raise
        return found[-1], error
    return found[-1], None


async def _scan(
    args: argparse.Namespace, before: RepairVisit, console: Console, keep: Callable[[dict[str, Any]], None]
) -> None:
    from contextlib import AsyncExitStack

    from diag.carscan import scan
    from diag.direct import DirectLink
    from diag.repairstates import read_states
    from diag.request import IsoTpLink
    from diag.scanparts import target_of
    from huizhen.console import wants_json
    from huizhen.links import open_vehicle
    from huizhen.scanview import show_simulated

    async with open_vehicle(args, console) as vehicle:
        if vehicle.simulated and not wants_json(args):
            show_simulated(console)
        report = await scan(
            vehicle.link,
            databases=vehicle.databases,
            simulated=vehicle.simulated,
            timeout_s=vehicle.timeout_s,
            progress=lambda stage: console.stage(stage.in_language(console.tr.lang)),
            keep=lambda part: keep({**part.to_json(), "cases": None, "dtc_status": []}),
        )
        vehicle.remember()
        wanted = {ecu for ecu, _ in before.codes}
        targets = [
            target_of(ecu, vehicle.link)
            for ecu in report.ecus
            if ecu.address in wanted and ecu.request_address and ecu.protocol != "j1939"
        ]
        async with AsyncExitStack() as stack:
            link = vehicle.link
            requests = link if isinstance(link, DirectLink) else await stack.enter_async_context(IsoTpLink(link))
            states = await read_states(requests, targets, timeout_s=vehicle.timeout_s)
        console.stage_done()
    keep({**report.to_json(), "cases": None, "dtc_status": states})


def _show(proof: Proof, before: RepairVisit, after: RepairVisit, console: Console) -> None:
    from diag.repairproof import Outcome

    tr = console.tr
    words = {
        Outcome.FIXED: tr("verify.fixed"),
        Outcome.CLEARED: tr("verify.cleared"),
        Outcome.INTERMITTENT: tr("verify.intermittent"),
        Outcome.NOT_FIXED: tr("verify.not_fixed"),
        Outcome.WORSE: tr("verify.worse"),
    }
    styles = {
        Outcome.FIXED: "good",
        Outcome.CLEARED: "monitor",
        Outcome.INTERMITTENT: "monitor",
        Outcome.NOT_FIXED: "soon",
        Outcome.WORSE: "stop",
    }
    console.line(console.style(tr("verify.title", vin=after.vin or before.vin or tr("scan.no_vin")), "title"))
    if proof.outcome is None:
        console.line("  " + tr("verify.nothing"))
    else:
        console.line("  " + console.style(tr("verify.verdict", verdict=words[proof.outcome]), styles[proof.outcome]))
    if not (before.complete and after.complete):
        console.wrapped(console.style(tr("verify.incomplete"), "monitor"), indent="  ", first="  ")
    console.line()
    for item in proof.items:
        badge = console.style(f"[{words[item.outcome]}]", styles[item.outcome])
        console.line(f"  {badge} {console.style(item.title.in_language(tr.lang), 'title')}")
        console.wrapped(item.because.in_language(tr.lang), indent="      ", first="    · ")
        if item.needed is not None:
            console.wrapped(item.needed.in_language(tr.lang), indent="      ", first="    → ")
    rows = [
        (name, *("–" if value is None else f"{value:g}" for value in pair))
        for name, pair in proof.figures.items()
        if pair[0] != pair[1]
    ]
    if rows:
        console.line()
        console.table(rows, head=(tr("verify.figure"), tr("verify.head_before"), tr("verify.head_after")))
