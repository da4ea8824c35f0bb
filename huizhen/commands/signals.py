"""``huizhen signals``: request/response answers decoded with signal sets."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from huizhen.exits import Exit

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from dbc.errors import SignalSetError
    from dbc.signalset.decoding import AnswerDecoder, Decoded
    from huizhen.cli import Commands
    from huizhen.console import Console
    from huizhen.language import Translator

__all__ = ["add_parser", "answer_line", "run"]

SCHEMA: Final = "huizhen.signal-values/1"

_LONGEST_LINE: Final = 1024 * 1024
_YEARS: Final = range(1900, 2200)


def add_parser(commands: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    """Names the options of ``signals decode``."""
    parser = commands.add_parser(
        "signals",
        parents=[common],
        help=tr("signals.help"),
        description=tr("signals.description"),
        epilog=tr("signals.epilog"),
    )
    actions = parser.add_subparsers(dest="action", metavar=tr("cli.command"), title=tr("signals.actions"))
    decode = actions.add_parser(
        "decode",
        parents=[common],
        help=tr("signals.decode.help"),
        description=tr("signals.decode.description"),
        epilog=tr("signals.decode.epilog"),
    )
    decode.add_argument("set", metavar="SET", help=tr("signals.decode.set"))
    decode.add_argument("--fallback", action="append", default=[], metavar="SET", help=tr("signals.decode.fallback"))
    decode.add_argument("--year", type=int, metavar="Y", help=tr("signals.decode.year"))


def run(args: argparse.Namespace, console: Console) -> int:
    """Decodes line by line; a line that cannot be decoded is a result with an error, and the exit code stays 0."""
    if args.action != "decode":
        from huizhen.errors import BadUsage

        raise BadUsage(console.tr("signals.no_action"))
    from dbc.signalset.decoding import AnswerDecoder
    from dbc.signalset.loading import load_signal_set

    sets = [load_signal_set(path) for path in (args.set, *args.fallback)]
    for signal_set in sets:
        for issue in signal_set.issues if console.verbose else ():
            why = getattr(issue.text, console.tr.lang)
            console.note(console.tr("signals.decode.issue", set=signal_set.name, place=issue.place, why=why))
        if signal_set.issues and not console.verbose:
            console.note(console.tr("signals.decode.issues", set=signal_set.name, n=len(signal_set.issues)))
    decoder = AnswerDecoder(sets)
    wants_json = getattr(args, "json", False)
    results = (answer_line(line, decoder, args.year) for line in _lines())
    if wants_json:
        console.json({"schema": "huizhen.signal-answers/1", "answers": list(results)})
        return Exit.DONE
    for result in results:
        if getattr(args, "jsonl", False):
            console.json(result)
        else:
            _show(result, console)
    return Exit.DONE


def _lines() -> Iterator[bytes]:
    """Standard input line by line; of a line that is too long only its beginning, so that it is refused."""
    stream = sys.stdin.buffer
    while line := stream.readline(_LONGEST_LINE + 1):
        rest = line
        while len(rest) > _LONGEST_LINE and not rest.endswith(b"\n"):
            rest = stream.readline(_LONGEST_LINE + 1)
        yield line


def _question(line: bytes, year: int | None) -> tuple[str, str, int | None]:
    """Command, response and year of one line.

    Raises:
        BadQuestion: they are not there.
    """
    from dbc.errors import BadQuestion, Phrase

    if len(line) > _LONGEST_LINE:
        raise BadQuestion(Phrase(f"longer than {_LONGEST_LINE} bytes", f"超过 {_LONGEST_LINE} 字节"))
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadQuestion(Phrase("it is no JSON", "不是 JSON")) from error
    if not isinstance(value, dict):
        raise BadQuestion(Phrase("it is no JSON object", "不是 JSON 对象"))
    for key in ("command", "response"):
        if not isinstance(value.get(key), str):
            raise BadQuestion(Phrase(f'"{key}" is missing or no text', f'缺少 "{key}" 或不是文本'))
    given = value.get("year")
    if isinstance(given, str) and given.isascii() and given.isdecimal() and len(given) == 4:
        given = int(given)
    if given is None:
        given = year
    elif isinstance(given, bool) or not isinstance(given, int) or given not in _YEARS:
        raise BadQuestion(Phrase('"year" is no year', '"year" 不是年份'))
    return value["command"], value["response"], given


def answer_line(line: bytes, decoder: AnswerDecoder, year: int | None = None) -> dict[str, Any]:
    """One line out for one line in, whatever is in it.

    Args:
        line: JSON with ``command``, ``response`` and perhaps ``year``.
        decoder: of the car's set and its fallbacks.
        year: for lines that name none.
    """
    from dbc.errors import SignalSetError

    try:
        command, response, at = _question(line, year)
        decoded = decoder.decode(command, response, at)
    except SignalSetError as error:
        empty: dict[str, Any] = {"schema": SCHEMA, "values": {}, "raw": {}, "ecu": None, "unclamped": {}}
        return {**empty, "units": {}, "others": [], "error": _error_json(error)}
    return {"schema": SCHEMA, **_values_json(decoded), "others": [_values_json(other) for other in decoded.others]}


def _values_json(decoded: Decoded) -> dict[str, Any]:
    samples = decoded.samples
    return {
        "values": {name: sample.value for name, sample in samples.items()},
        "raw": {name: sample.raw.hex().upper() for name, sample in samples.items()},
        "ecu": decoded.ecu,
        "unclamped": {name: sample.unclamped for name, sample in samples.items() if sample.unclamped is not None},
        "units": {signal.name: signal.unit for signal in decoded.command.signals if signal.unit},
        "error": None if decoded.error is None else _error_json(decoded.error),
    }


def _error_json(error: SignalSetError) -> dict[str, Any]:
    """Code, both sentences and the fields of an error; a negative response with the name of its code."""
    from dbc.errors import AnswerCut, Refused
    from huizhen.language import Translator

    out: dict[str, Any] = {
        "code": type(error).code,
        "text": {"en": Translator("en").error(error), "zh": Translator("zh").error(error)},
    }
    if isinstance(error, AnswerCut):
        out |= {"ecu": error.ecu, "missing": error.missing}
    if isinstance(error, Refused):
        from diag.nrc import Negative

        negative = Negative(int(error.service, 16), int(error.nrc, 16))
        out |= {"ecu": error.ecu, "service": error.service, "nrc": error.nrc, "name": negative.name}
    return out


def _show(result: dict[str, Any], console: Console) -> None:
    """One answer for people."""
    tr = console.tr
    rows = [
        [name, "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value),
         result["units"].get(name, ""), result["raw"][name],
         tr("signals.decode.true_value", value=result["unclamped"][name]) if name in result["unclamped"] else ""]
        for name, value in result["values"].items()
    ]  # fmt: skip
    if rows:
        console.line(console.style(tr("signals.decode.from_ecu", ecu=result["ecu"] or "?"), "title"))
        head = [tr("signals.decode.head.signal"), tr("signals.decode.head.value"), tr("signals.decode.head.unit")]
        console.table(rows, [*head, tr("signals.decode.head.raw"), ""])
    if result["error"]:
        console.wrapped(result["error"]["text"][tr.lang])
