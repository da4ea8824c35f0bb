"""``huizhen read``: single readings by PID or data identifier."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from huizhen.exits import Exit
from huizhen.links import add_link_options, open_vehicle
from huizhen.quantities import with_unit

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from diag.odx import OdxDescription
    from diag.readings import ReadOut, Wanted
    from huizhen.cli import Commands
    from huizhen.console import Console
    from huizhen.language import Translator

__all__ = ["add_parser", "run", "shown_value"]

_BY_IDENTIFIER: Final = 0x22


def add_parser(commands: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    """Names the options of ``read``."""
    parser = commands.add_parser(
        "read",
        parents=[common],
        help=tr("read.help"),
        description=tr("read.description"),
        epilog=tr("read.epilog"),
    )
    parser.add_argument("ids", nargs="+", metavar="PID|DID", help=tr("read.ids"))
    parser.add_argument("--ecu", action="append", default=[], metavar="ADDR", help=tr("read.ecu"))
    parser.add_argument("--odx", metavar="FILE", help=tr("read.odx"))
    add_link_options(parser, tr, needs_frames=False)


def run(args: argparse.Namespace, console: Console) -> int:
    """Reads and prints; returns the exit code: 4 when nobody answered, 5 when all answers were refusals."""
    import asyncio

    from diag.readings import parse_wanted

    wanted = [parse_wanted(word) for text in args.ids for word in text.replace(",", " ").split()]
    description = None
    if args.odx:
        from diag.odx import load_odx

        description = load_odx(args.odx)
    found, is_simulated = asyncio.run(_read(args, console, wanted))
    if description is not None:
        found = tuple(_described(one, description) for one in found)
    answered = [one for one in found if not one.is_silent]
    if getattr(args, "json", False):
        readings = [one.to_json() for one in found]
        console.json({"schema": "huizhen.readings/1", "simulated": is_simulated, "readings": readings})
    elif getattr(args, "jsonl", False):
        for one in found:
            console.json({"schema": "huizhen.reading/1", "simulated": is_simulated, **one.to_json()})
    else:
        if is_simulated:
            console.line(console.style(console.tr("scan.simulated"), "monitor"))
        _show(found, console)
    if not answered:
        return Exit.NO_ANSWER
    return Exit.PROTOCOL if all(one.negative is not None for one in answered) else Exit.DONE


def _described(one: ReadOut, description: OdxDescription) -> ReadOut:
    """The same with the values that a maker's description gives it, where it knows the identifier."""
    if one.wanted.service != _BY_IDENTIFIER or not one.raw or one.missing:
        return one
    payload = bytes([_BY_IDENTIFIER | 0x40]) + one.wanted.number.to_bytes(2, "big") + one.raw
    return replace(one, readings=description.decode(one.wanted.number, payload) or one.readings)


async def _read(
    args: argparse.Namespace, console: Console, wanted: Sequence[Wanted]
) -> tuple[tuple[ReadOut, ...], bool]:
    from diag.connection import read_wanted

    async with open_vehicle(args, console) as vehicle:
        found = await read_wanted(vehicle.link, wanted, args.ecu, timeout_s=vehicle.timeout_s)
        return found, vehicle.simulated or vehicle.link.info.simulated


def shown_value(value: float | str | None, unit: str, console: Console) -> str:
    """A value as people read it; what is not available is said."""
    if value is None:
        return console.tr("read.not_available")
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return with_unit(text, unit)


def _show(found: Sequence[ReadOut], console: Console) -> None:
    from diag.nrc import nrc_text

    tr = console.tr
    rows: list[list[str]] = []
    for one in found:
        head = [one.wanted.name, one.ecu]
        if one.is_silent:
            rows.append([*head, "", tr("read.silent"), ""])
        elif one.negative is not None:
            why = nrc_text(one.negative.nrc).in_language(tr.lang)
            rows.append([*head, "", tr("read.refused", why=why), f"7F {one.negative.nrc:02X}"])
        elif one.missing:
            rows.append([*head, "", tr("read.cut", missing=one.missing), one.raw.hex(" ").upper()])
        for reading in one.readings:
            name = reading.text.in_language(tr.lang) if reading.text else reading.name
            raw = (reading.raw or one.raw).hex(" ").upper()
            rows.append([*head, name, shown_value(reading.value, reading.unit, console), raw])
    console.table(
        rows, head=["ID", "ECU", tr("read.head.name"), tr("read.head.value"), tr("read.head.raw")], indent="  "
    )
