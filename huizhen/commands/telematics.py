"""``huizhen telematics``: what a car's terminal reports to a platform (GB/T 32960)."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from huizhen.exits import Exit
from huizhen.quantities import with_unit

if TYPE_CHECKING:
    import argparse

    from diag.gbt32960 import Junk, TelematicsMessage
    from huizhen.cli import Commands
    from huizhen.console import Console
    from huizhen.language import Translator

__all__ = ["add_parser", "run"]

_HEX = re.compile(r"(?:0x)?[0-9A-Fa-f\s:,]+")
_STARTS = (b"##", b"$$")
_SHOWN_ITEMS = 8


def add_parser(commands: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    """Names the options of ``telematics decode``."""
    parser = commands.add_parser(
        "telematics",
        parents=[common],
        help=tr("telematics.help"),
        description=tr("telematics.description"),
        epilog=tr("telematics.epilog"),
    )
    actions = parser.add_subparsers(dest="action", metavar=tr("cli.command"), title=tr("telematics.actions"))
    decode = actions.add_parser(
        "decode",
        parents=[common],
        help=tr("telematics.decode.help"),
        description=tr("telematics.decode.description"),
        epilog=tr("telematics.epilog"),
    )
    decode.add_argument("--battery", action="store_true", help=tr("telematics.decode.battery"))
    decode.add_argument("what", nargs="+", metavar="HEX|FILE", help=tr("telematics.decode.what"))


def run(args: argparse.Namespace, console: Console) -> int:
    """Decodes; returns the exit code."""
    from diag.gbt32960 import Junk, decode_stream
    from huizhen.errors import BadUsage

    if args.action != "decode":
        raise BadUsage(console.tr("telematics.which"))
    data = _bytes(args.what, console)
    found = list(decode_stream(data))
    messages = [one for one in found if not isinstance(one, Junk)]
    is_json = getattr(args, "json", False) or getattr(args, "jsonl", False)
    if not messages:
        raise BadUsage(console.tr("telematics.none", why=_reasons(found, console)))
    if args.battery:
        return _battery(messages, console, is_json=is_json)
    if is_json and not getattr(args, "jsonl", False) and len(found) == 1:
        console.json(messages[0].to_json())
        return Exit.DONE
    for one in found:
        if is_json:
            console.json(_junk_json(one) if isinstance(one, Junk) else one.to_json())
        elif isinstance(one, Junk):
            console.line(
                console.tr(
                    "telematics.junk", n=len(one.raw), offset=one.offset, why=one.why.in_language(console.tr.lang)
                )
            )
        else:
            _show(one, console)
    return Exit.DONE


def _battery(messages: list[TelematicsMessage], console: Console, *, is_json: bool) -> int:
    """Each car's battery over its reports, judged like one that was read."""
    from diag.telematicsbattery import batteries_from_telematics
    from huizhen.batteryview import show_outlook
    from huizhen.scanview import show_battery, show_finding

    cars = batteries_from_telematics(messages)
    if is_json:
        console.json({"schema": "huizhen.telematics-battery/1", "cars": [car.to_json() for car in cars]})
        return Exit.DONE
    for car in cars:
        console.line(console.style(f"VIN {car.vin}", "title") + "  " + console.tr("telematics.reports", n=car.reports))
        if car.battery is None:
            console.line("  " + console.tr("telematics.no_battery"))
        for finding in car.findings:
            show_finding(finding, console)
        show_battery(car.battery, console)
        show_outlook(car.outlook, 0, console)
    return Exit.DONE


def _reasons(found: list[TelematicsMessage | Junk], console: Console) -> str:
    from diag.gbt32960 import Junk

    told = [one.why.in_language(console.tr.lang) for one in found if isinstance(one, Junk)]
    return console.tr.listed(dict.fromkeys(told))


def _junk_json(junk: Junk) -> dict[str, object]:
    return {
        "schema": "huizhen.telematics/1",
        "error": junk.why.to_json(),
        "offset": junk.offset,
        "raw": junk.raw.hex().upper(),
    }


def _bytes(words: list[str], console: Console) -> bytes:
    """Bytes of the files or the hex text that the words are; a file holds either."""
    from huizhen.errors import BadUsage

    text = " ".join(words)
    if len(words) == 1 and words[0] == "-":
        return _from_text(sys.stdin.buffer.read(), console)
    if len(words) == 1 and (Path(words[0]).exists() or not _HEX.fullmatch(words[0])):
        try:
            return _from_text(Path(words[0]).read_bytes(), console)
        except OSError as error:
            raise BadUsage(
                console.tr("telematics.unreadable", path=words[0], reason=error.strerror or str(error))
            ) from error
    return _from_text(text.encode(), console)


def _from_text(content: bytes, console: Console) -> bytes:
    from huizhen.errors import BadUsage

    if any(start in content for start in _STARTS):
        return content
    text = content.decode("ascii", "replace")
    digits = re.sub(r"0x|[\s:,]", "", text)
    if not digits or len(digits) % 2 or not re.fullmatch(r"[0-9A-Fa-f]+", digits):
        raise BadUsage(console.tr("telematics.neither"))
    return bytes.fromhex(digits)


def _show(message: TelematicsMessage, console: Console) -> None:
    from diag.gbt32960 import COMMANDS

    tr = console.tr
    command = COMMANDS.get(message.command)
    name = command.in_language(tr.lang) if command else f"0x{message.command:02X}"
    time = message.time.isoformat(sep=" ") if message.time else tr("telematics.no_time")
    console.line(console.style(f"{name}  VIN {message.vin}  {time}  GB/T 32960-{message.edition}", "title"))
    rows = []
    for unit in message.units:
        for item in unit.fields:
            if isinstance(item.value, tuple):
                shown = ", ".join("–" if value is None else f"{value:g}" for value in item.value[:_SHOWN_ITEMS])
                more = len(item.value) - _SHOWN_ITEMS
                value = shown + (f" … (+{more})" if more > 0 else "")
            elif item.value is None:
                value = tr("telematics.abnormal") if item.quality == "abnormal" else tr("telematics.invalid")
            else:
                value = f"{item.value:g}" if isinstance(item.value, float) else item.value or "–"
            rows.append((unit.name, item.name, with_unit(str(value), item.unit)))
    if rows:
        console.table(rows)
    for problem in message.problems:
        console.wrapped(console.style(problem.in_language(tr.lang), "soon"), indent="  ")
    if message.rest:
        console.wrapped(tr("telematics.rest", n=len(message.rest), raw=message.rest[:32].hex().upper()), indent="  ")
