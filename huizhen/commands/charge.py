"""``huizhen charge``: a DC charging session of GB/T 27930, from a recording or by listening."""

from __future__ import annotations

from typing import TYPE_CHECKING

from huizhen.exits import Exit
from huizhen.links import add_link_options, seconds
from huizhen.quantities import with_unit

if TYPE_CHECKING:
    import argparse

    from diag.batteryreport import BatteryReport
    from diag.chargesession import ChargeSession
    from huizhen.cli import Commands
    from huizhen.console import Console
    from huizhen.language import Translator

__all__ = ["add_parser", "run"]

_MOST_FRAMES = 20_000_000


def add_parser(commands: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    """Names the options of ``charge``."""
    parser = commands.add_parser(
        "charge",
        parents=[common],
        help=tr("charge.help"),
        description=tr("charge.description"),
        epilog=tr("charge.epilog"),
    )
    parser.add_argument("--from", dest="source", metavar="FILE", help=tr("charge.source"))
    parser.add_argument("--duration", type=seconds, default=60.0, metavar="S", help=tr("charge.duration"))
    add_link_options(parser, tr)


def run(args: argparse.Namespace, console: Console) -> int:
    """Reads or listens, prints; returns the exit code."""
    from diag.chargebattery import battery_from_charge
    from diag.chargesession import sessions_from_messages
    from diag.gbt27930 import hear_messages
    from huizhen.errors import BadUsage

    if args.source and (args.interface or args.channel or args.demo):
        raise BadUsage(console.tr("charge.source_and_link"))
    frames = _recorded(args.source, console) if args.source else _listened(args, console)
    messages = hear_messages(frames)
    sessions = sessions_from_messages(messages)
    battery = battery_from_charge(messages)
    if getattr(args, "json", False) or getattr(args, "jsonl", False):
        told = [session.to_json() for session in sessions]
        console.json(
            {"schema": "huizhen.charge/1", "sessions": told, "battery": battery.to_json() if battery else None}
        )
    else:
        for session in sessions:
            _show(session, console)
        if battery is not None:
            _show_battery(battery, console)
    if not sessions:
        console.note(console.tr("charge.none", frames=len(frames)))
        return Exit.USAGE if args.source else Exit.NO_ANSWER
    return Exit.DONE


def _recorded(path: str, console: Console) -> list[tuple[int, int, bytes]]:
    from dbc.recording import open_recording
    from dbc.table import EXTENDED

    console.stage(console.tr("log.reading", path=path))
    table = open_recording(path).table
    console.stage_done()
    rows = (table.flags & EXTENDED) != 0
    part = table[rows]
    columns = zip(part.t_ns.tolist(), part.can_id.tolist(), part.length.tolist(), part.data, strict=True)
    return [(t_ns, can_id, row[:length].tobytes()) for t_ns, can_id, length, row in columns]


def _listened(args: argparse.Namespace, console: Console) -> list[tuple[int, int, bytes]]:
    """The frames until both sides have summed up, the time is over, or Ctrl-C."""
    import asyncio

    heard: list[tuple[int, int, bytes]] = []
    try:
        asyncio.run(_listen(args, console, heard))
    except KeyboardInterrupt:
        console.stage_done()
    return heard


async def _listen(args: argparse.Namespace, console: Console, heard: list[tuple[int, int, bytes]]) -> None:
    import asyncio

    from diag.direct import DirectLink
    from huizhen.errors import BadUsage
    from huizhen.links import open_vehicle

    async with open_vehicle(args, console) as vehicle:
        if isinstance(vehicle.link, DirectLink):
            raise BadUsage(console.tr("charge.needs_bus"))
        console.stage(console.tr("charge.listening", channel=vehicle.link.info.channel))
        with vehicle.link.frames(accept=lambda frame: frame.extended and not frame.error) as subscription:
            try:
                async with asyncio.timeout(args.duration):
                    async for frame in subscription:
                        heard.append((frame.t_ns, frame.can_id, frame.data))
                        if len(heard) >= _MOST_FRAMES:
                            break
            except TimeoutError:
                pass
        console.stage_done()


def _show_battery(report: BatteryReport, console: Console) -> None:
    """What the battery told the charger of its cells."""
    from huizhen.scanview import show_finding

    tr, state = console.tr, report.state
    console.line()
    console.line(console.style(tr("charge.battery", cells=len(state.cell_v)), "title"))
    if not report.findings:
        console.line("  " + console.style(tr("charge.battery_quiet"), "good"))
    for finding in report.findings:
        show_finding(finding, console)


def _show(session: ChargeSession, console: Console) -> None:
    tr = console.tr
    begun = session.begun_ns
    length = (session.ended_ns - begun) / 1e9
    how = {True: tr("charge.normal"), False: tr("charge.abnormal"), None: tr("charge.going_on")}[session.is_normal]
    console.line(console.style(tr("charge.title", length=f"{length:.1f}", how=how), "title"))
    for verdict in session.verdicts:
        console.wrapped(verdict.in_language(tr.lang), indent="    ", first="  · ")
    phases = {
        "handshake": tr("charge.phase_handshake"),
        "recognition": tr("charge.phase_recognition"),
        "configuration": tr("charge.phase_configuration"),
        "charging": tr("charge.phase_charging"),
        "end": tr("charge.phase_end"),
    }
    console.table([(f"{(t_ns - begun) / 1e9:8.2f} s", phases[name]) for name, t_ns in session.phases])
    facts = [
        (item.name, with_unit(f"{item.value:g}", item.unit) if isinstance(item.value, float) else str(item.value))
        for item in session.facts
    ]
    if facts:
        console.table(facts)
