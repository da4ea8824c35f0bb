"""``huizhen dtc clear``: everything is read and saved first; then one ECU after the other is cleared and read again."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from huizhen.errors import BadUsage
from huizhen.exits import Exit
from huizhen.links import open_vehicle

if TYPE_CHECKING:
    import argparse

    from diag.clearing import Cleared, StateReading
    from diag.facts import Text
    from diag.vehiclereport import Ecu, VehicleReport
    from huizhen.console import Console
    from huizhen.links import OpenVehicle

__all__ = ["clear"]


@dataclass(slots=True)
class _Work:
    """What was done so far; shown also when it ends early."""

    report: VehicleReport | None = None
    state: StateReading | None = None
    saved: str = ""
    results: list[Cleared] = field(default_factory=list)
    unmet: Text | None = None


def clear(args: argparse.Namespace, console: Console) -> int:
    """Clears; returns the exit code: 5 when an ECU did not clear, 7 when nothing may be sent."""
    import asyncio

    from diag.errors import LinkLost
    from huizhen.files import check_writable

    path = args.output or f"before-clear-{time.strftime('%Y%m%d-%H%M%S')}.json"
    check_writable(path)
    work = _Work()
    trouble: BaseException | None = None
    try:
        asyncio.run(_clear(args, console, path, work))
    except (KeyboardInterrupt, LinkLost) as error:
        if not work.results:
            raise
        trouble = error
    finally:
        console.stage_done()
    if getattr(args, "json", False) or getattr(args, "jsonl", False):
        console.json(_to_json(work, trouble))
    else:
        _show(work, console)
    if trouble is not None:
        raise trouble
    if not args.confirm:
        console.error(console.tr("dtc.clear.unconfirmed"))
        return Exit.REFUSED
    if work.unmet is not None:
        console.error(console.tr("dtc.clear.unmet", why=work.unmet.in_language(console.tr.lang)))
        return Exit.REFUSED
    return Exit.DONE if all(result.is_cleared for result in work.results) else Exit.PROTOCOL


async def _clear(args: argparse.Namespace, console: Console, path: str, work: _Work) -> None:
    from diag.guard import Risk

    tr = console.tr
    console.stage(tr("scan.stage.opening"))
    granted = frozenset({Risk.READ, Risk.ASK_EACH_TIME}) if args.confirm else frozenset({Risk.READ})
    async with open_vehicle(args, console, granted=granted) as vehicle:
        report = work.report = await _scan(vehicle, console)
        ecus = _chosen(args.ecu, report, console)
        await _one_by_one(args, console, vehicle, report, ecus, work, path)


async def _scan(vehicle: OpenVehicle, console: Console) -> VehicleReport:
    from diag.carscan import scan

    return await scan(
        vehicle.link,
        databases=vehicle.databases,
        simulated=vehicle.simulated,
        listen_s=1.0,
        timeout_s=vehicle.timeout_s,
        progress=lambda stage: console.stage(stage.in_language(console.tr.lang)),
    )


def _chosen(words: list[str], report: VehicleReport, console: Console) -> list[Ecu]:
    """The ECUs that are named; with ``all`` every one whose codes were read, so that nothing unread is cleared."""
    if not report.ecus:
        from diag.errors import NoAnswer
        from diag.facts import Text

        raise NoAnswer(Text("the vehicle", "车辆"), 1.0)
    if words == ["all"]:
        return [ecu for ecu in report.ecus if ecu.codes_read and ecu.protocol != "j1939"]
    known = {int(ecu.address, 16): ecu for ecu in report.ecus if ecu.protocol != "j1939"}
    known |= {int(ecu.request_address, 16): ecu for ecu in known.values()}
    chosen = []
    for word in words:
        try:
            ecu = known[int(word, 16)]
        except (ValueError, KeyError):
            there = ", ".join(sorted({ecu.address for ecu in known.values()}))
            raise BadUsage(console.tr("dtc.clear.no_such_ecu", ecu=word, there=there)) from None
        if not ecu.codes_read:
            raise BadUsage(console.tr("dtc.clear.unread", ecu=ecu.address))
        chosen.append(ecu)
    return chosen


async def _one_by_one(
    args: argparse.Namespace,
    console: Console,
    vehicle: OpenVehicle,
    report: VehicleReport,
    ecus: list[Ecu],
    work: _Work,
    path: str,
) -> None:
    from contextlib import AsyncExitStack

    from diag.clearing import Cleared, clear_ecu, clear_request_for, read_state
    from diag.direct import DirectLink
    from diag.request import IsoTpLink
    from diag.scanparts import target_of
    from huizhen.files import write_json

    link = vehicle.link
    targets = {ecu.address: target_of(ecu, link) for ecu in ecus}
    async with AsyncExitStack() as stack:
        requests = link if isinstance(link, DirectLink) else await stack.enter_async_context(IsoTpLink(link))
        work.state = await read_state(requests, list(targets.values()), timeout_s=vehicle.timeout_s)
        vehicle.guard.state = work.state.with_word(
            stands=args.standing, is_unplugged=args.unplugged, supply_v=args.supply
        )
        if args.confirm:
            work.unmet = vehicle.guard.state.unmet()
            if work.unmet is not None:
                return
            write_json(path, report.to_json())
            work.saved = path
        for ecu in ecus:
            before = tuple(dtc for dtc in report.dtcs if dtc.ecu == ecu.address and dtc.is_fault)
            if not args.confirm:
                request = clear_request_for(ecu.protocol)
                work.results.append(Cleared(ecu.address, request, False, None, before, None))
                continue
            console.stage(console.tr("dtc.clear.stage", ecu=ecu.address))
            work.results.append(
                await clear_ecu(
                    requests, vehicle.guard, targets[ecu.address], ecu.protocol, before, timeout_s=vehicle.timeout_s
                )
            )


def _to_json(work: _Work, trouble: BaseException | None) -> dict[str, Any]:
    report = work.report
    return {
        "schema": "huizhen.clear/1",
        "simulated": bool(report and report.simulated),
        "complete": trouble is None,
        "saved": work.saved or None,
        "unmet": work.unmet.to_json() if work.unmet else None,
        "state": work.state.to_json() if work.state else None,
        "ecus": [result.to_json() for result in work.results],
    }


def _show(work: _Work, console: Console) -> None:
    tr = console.tr
    if work.report is not None and work.report.simulated:
        console.line(console.style(tr("scan.simulated"), "monitor"))
    if not work.results:
        return
    if work.saved:
        console.line(tr("scan.saved", path=work.saved))
    rows = []
    for result in work.results:
        before = ", ".join(dtc.display for dtc in result.before) or "-"
        after = tr("dtc.clear.not_read") if result.after is None else ", ".join(d.display for d in result.after) or "-"
        if result.is_cleared:
            outcome = tr("dtc.clear.came_back") if result.after else tr("dtc.clear.cleared")
        elif result.why is not None:
            outcome = tr("dtc.clear.refused", why=result.why.in_language(tr.lang))
        else:
            outcome, after = tr("dtc.clear.would", request=result.request.hex(" ").upper()), ""
        rows.append([result.ecu, before, after, outcome])
    head = ["ECU", tr("dtc.clear.head.before"), tr("dtc.clear.head.after"), tr("dtc.clear.head.outcome")]
    console.table(rows, head=head)
    if any(result.after for result in work.results if result.is_cleared):
        console.wrapped(tr("dtc.clear.still_there"), indent="  ")
