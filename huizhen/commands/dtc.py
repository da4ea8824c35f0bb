"""``huizhen dtc``: what fault codes mean, raw answers turned into records, and clearing."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from huizhen.exits import Exit
from huizhen.links import add_link_options

if TYPE_CHECKING:
    import argparse

    from diag.dtcanswer import DtcAnswer, StoredRecord
    from diag.facts import Dtc
    from diag.nrc import Negative
    from huizhen.cli import Commands
    from huizhen.console import Console
    from huizhen.language import Translator

__all__ = ["add_parser", "answer_json", "explain_json", "run"]

_J1939 = re.compile(r"SPN\W*(\d+)\W*(?:FMI\W*(\d+))?", re.IGNORECASE)
_FIRST_BYTES = {0x59: "uds", 0x43: "obd", 0x47: "obd", 0x4A: "obd"}
_STDIN_LIMIT = 64 * 1024 * 1024


def add_parser(commands: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    """Names the options of ``dtc explain``, ``dtc decode`` and ``dtc clear``."""
    parser = commands.add_parser(
        "dtc", parents=[common], help=tr("dtc.help"), description=tr("dtc.description"), epilog=tr("dtc.epilog")
    )
    actions = parser.add_subparsers(dest="action", metavar=tr("cli.command"), title=tr("dtc.actions"))
    explain = actions.add_parser(
        "explain",
        parents=[common],
        help=tr("dtc.explain.help"),
        description=tr("dtc.explain.description"),
        epilog=tr("dtc.explain.epilog"),
    )
    explain.add_argument("codes", nargs="+", metavar="CODE", help=tr("dtc.explain.codes"))
    decode = actions.add_parser(
        "decode",
        parents=[common],
        help=tr("dtc.decode.help"),
        description=tr("dtc.decode.description"),
        epilog=tr("dtc.decode.epilog"),
    )
    decode.add_argument("hex", nargs="+", metavar="HEX", help=tr("dtc.decode.hex"))
    decode.add_argument("--service", choices=("obd", "uds", "j1939"), help=tr("dtc.decode.service"))
    decode.add_argument("--kline", action="store_true", help=tr("dtc.decode.kline"))
    decode.add_argument("--ecu", metavar="ADDR", help=tr("dtc.decode.ecu"))

    clear = actions.add_parser(
        "clear",
        parents=[common],
        help=tr("dtc.clear.help"),
        description=tr("dtc.clear.description"),
        epilog=tr("dtc.clear.epilog"),
    )
    clear.add_argument("--ecu", action="append", required=True, metavar="ADDR|all", help=tr("dtc.clear.ecu"))
    clear.add_argument("--confirm", action="store_true", help=tr("dtc.clear.confirm"))
    clear.add_argument("--unplugged", action="store_true", help=tr("dtc.clear.unplugged"))
    clear.add_argument("--standing", action="store_true", help=tr("dtc.clear.standing"))
    clear.add_argument("--supply", type=float, metavar="V", help=tr("dtc.clear.supply"))
    clear.add_argument("-o", "--output", metavar="FILE", help=tr("dtc.clear.output"))
    add_link_options(clear, tr, needs_frames=False)


def run(args: argparse.Namespace, console: Console) -> int:
    """Explains, decodes or clears; returns the exit code."""
    if args.action == "explain":
        return _explain(args, console)
    if args.action == "decode":
        return _decode(args, console)
    if args.action == "clear":
        from huizhen.dtcclear import clear

        return clear(args, console)
    from huizhen.errors import BadUsage

    raise BadUsage(console.tr("dtc.no_action"))


def _split_words(words: list[str]) -> list[str]:
    """Codes as people type them on a command line: one per word, but ``SPN 5464 FMI 3`` is four words."""
    text = " ".join(words).replace(",", " ")
    marked = _J1939.sub(lambda found: f" SPN_{found[1]}_FMI_{found[2] or ''} ", text)
    return [word.replace("_", " ").strip() for word in marked.split()]


def explain_json(word: str) -> dict[str, Any]:
    """What one code means, for ``dtc explain --json``.

    Raises:
        BadInput: not a code.
    """
    from diag.dtcanswer import bytes_from_code, split_code
    from diag.dtctext import (
        find_failure_type,
        find_fmi_severity,
        find_fmi_text,
        find_reason,
        find_severity,
        find_text,
    )
    from diag.facts import hex_from_bytes

    if found := _J1939.fullmatch(word):
        fmi = int(found[2]) if found[2] else None
        text = None if fmi is None else find_fmi_text(fmi)
        return {
            "code": f"SPN {int(found[1])}" + ("" if fmi is None else f" FMI {fmi}"),
            "failure_type": None,
            "spn": int(found[1]),
            "fmi": fmi,
            "text": text.to_json() if text else None,
            "text_source": "generic" if text else "none",
            "severity": find_fmi_severity(31 if fmi is None else fmi).value,
            "reason": None,
            "failure_type_text": None,
            "raw": None,
        }
    code, failure_type = split_code(word)
    text, source = find_text(code, failure_type)
    how = None if failure_type is None else find_failure_type(failure_type)
    return {
        "code": code,
        "failure_type": failure_type,
        "spn": None,
        "fmi": None,
        "text": text.to_json() if text else None,
        "text_source": source,
        "severity": find_severity(code, failure_type).value,
        "reason": find_reason(code, failure_type).to_json(),
        "failure_type_text": how.to_json() if how else None,
        "raw": hex_from_bytes(bytes_from_code(word)),
    }


def _explain(args: argparse.Namespace, console: Console) -> int:
    tr = console.tr
    entries = [explain_json(word) for word in _split_words(args.codes)]
    if getattr(args, "jsonl", False):
        for entry in entries:
            console.json({"schema": "huizhen.dtc-meaning/1", **entry})
        return Exit.DONE
    if getattr(args, "json", False):
        console.json({"schema": "huizhen.dtc-meanings/1", "codes": entries})
        return Exit.DONE
    for number, entry in enumerate(entries):
        if number:
            console.line()
        failure_type = entry["failure_type"]
        display = entry["code"] if failure_type is None else f"{entry['code']}-{failure_type}"
        text = entry["text"][tr.lang] if entry["text"] else tr("dtc.not_standard")
        console.wrapped(text, indent="    ", first=console.style(display, "title") + "  ")
        severity = console.style(_severity(tr, entry["severity"]), entry["severity"])
        if entry["reason"]:
            console.wrapped(tr("dtc.explain.urgency", severity=severity, why=entry["reason"][tr.lang]), indent="    ")
        else:
            console.line("    " + severity)
        if failure_type is not None:
            how = entry["failure_type_text"]
            said = (
                tr("dtc.explain.failure_type", byte=failure_type, text=how[tr.lang])
                if how
                else tr("dtc.explain.failure_type_unknown", byte=failure_type)
            )
            console.line("    " + said)
        if entry["raw"]:
            console.line("    " + tr("dtc.explain.bytes", hex=entry["raw"]))
    return Exit.DONE


def _severity(tr: Translator, name: str) -> str:
    return {
        "stop": tr("dtc.severity.stop"),
        "soon": tr("dtc.severity.soon"),
        "monitor": tr("dtc.severity.monitor"),
        "low": tr("dtc.severity.low"),
    }[name]


def _bytes_from_words(words: list[str]) -> bytes:
    """The payload on the command line: hex with or without spaces, ``0x``, colons, dashes.

    Raises:
        BadInput: something else, or half a byte.
    """
    from diag.errors import BadInput
    from diag.facts import Text

    text = " ".join(words)
    digits = re.sub(r"0[xX]|[\s:,\-]", "", text)
    shown = repr(text if len(text) <= 40 else text[:40] + "…")
    if wrong := re.search(r"[^0-9A-Fa-f]", digits):
        raise BadInput(shown, Text(f"{wrong[0]!r} is no hex digit", f"{wrong[0]!r} 不是十六进制数字"))
    if not digits:
        raise BadInput(shown, Text("no bytes in it", "没有任何字节"))
    if len(digits) % 2:
        raise BadInput(
            shown,
            Text(f"{len(digits)} hex digits are not whole bytes", f"{len(digits)} 个十六进制数字不是整字节"),
        )
    return bytes.fromhex(digits)


def _seen_service(payload: bytes, shown: str) -> str:
    """The service by the answer's first byte, or by the service that was refused.

    Raises:
        BadInput: neither tells.
    """
    from diag.errors import BadInput
    from diag.facts import Text

    if payload[0] == 0x7F:
        return "uds"
    if payload[0] in _FIRST_BYTES:
        return _FIRST_BYTES[payload[0]]
    raise BadInput(
        shown,
        Text(
            f"it begins with {payload[0]:02X}, not with 59, 43, 47, 4A or 7F; give --service",
            f"首字节为 {payload[0]:02X}，不是 59、43、47、4A 或 7F；请给出 --service",
        ),
    )


def _read_answer(args: argparse.Namespace) -> DtcAnswer:
    from diag.dtclines import decode_payload, parse_dtc_lines
    from diag.errors import BadInput, RemoteProtocolError
    from diag.facts import hex_from_bytes

    if args.hex == ["-"]:
        text = sys.stdin.buffer.read(_STDIN_LIMIT).decode("utf-8", "replace")
        return parse_dtc_lines(text.splitlines(), args.service or "uds")
    payload = _bytes_from_words(args.hex)
    shown = hex_from_bytes(payload[:16]) + ("…" if len(payload) > 16 else "")
    service = args.service or _seen_service(payload, shown)
    try:
        return decode_payload(payload, service, ecu=args.ecu, can=not args.kline)
    except RemoteProtocolError as error:
        raise BadInput(shown, error.reason) from error


def answer_json(answer: DtcAnswer) -> dict[str, Any]:
    """``huizhen.dtcs/1``."""
    negative = answer.negative
    return {
        "schema": "huizhen.dtcs/1",
        "dtcs": [dtc.to_json() for dtc in answer.dtcs],
        "complete": answer.complete,
        "missing": answer.missing,
        "negative": None
        if negative is None
        else {
            "service": f"0x{negative.service:02X}",
            "nrc": f"0x{negative.nrc:02X}",
            "name": negative.name,
            "text": negative.text.to_json(),
        },
        "snapshots": [record.to_json() for record in answer.snapshots],
        "extended": [record.to_json() for record in answer.extended],
        "fault_counters": [counter.to_json() for counter in answer.fault_counters],
        "lamps": [lamp.to_json() for lamp in answer.lamps],
        "count": answer.count,
        "availability_mask": None if answer.available is None else f"0x{answer.available:02X}",
        "rest": answer.rest.hex().upper(),
    }


def _decode(args: argparse.Namespace, console: Console) -> int:
    answer = _read_answer(args)
    if getattr(args, "json", False):
        console.json(answer_json(answer))
    elif getattr(args, "jsonl", False):
        for dtc in answer.dtcs:
            console.json({"schema": "huizhen.dtc/1", **dtc.to_json()})
    else:
        _show_answer(answer, console)
    return Exit.DONE


def _state(tr: Translator, dtc: Dtc) -> str:
    """Status and lists of a code in few words."""
    from diag.facts import DtcKind

    words = []
    if dtc.status and dtc.status.failing_now:
        words.append(tr("dtc.decode.state.active"))
    elif DtcKind.STORED in dtc.kind:
        words.append(tr("dtc.decode.state.stored"))
    if DtcKind.PENDING in dtc.kind and DtcKind.STORED not in dtc.kind:
        words.append(tr("dtc.decode.state.pending"))
    if DtcKind.PERMANENT in dtc.kind:
        words.append(tr("dtc.decode.state.permanent"))
    if not words and dtc.status:
        untested = dtc.status.bit("testNotCompletedSinceLastClear")
        words.append(tr("dtc.decode.state.untested") if untested else tr("dtc.decode.state.none"))
    if dtc.occurrences is not None:
        words.append(tr("dtc.decode.occurrences", n=dtc.occurrences))
    return tr.listed(words)


def _show_answer(answer: DtcAnswer, console: Console) -> None:
    tr = console.tr
    if answer.negative:
        _show_negative(answer.negative, console)
    if answer.dtcs:
        with_ecu = any(dtc.ecu for dtc in answer.dtcs)
        head = [tr("dtc.decode.head.severity"), tr("dtc.decode.head.code"), tr("dtc.decode.head.status")]
        rows = []
        for dtc in answer.dtcs:
            text = dtc.text.in_language(tr.lang) if dtc.text else tr("dtc.not_standard")
            row = [_severity(tr, dtc.severity.value), dtc.display, _state(tr, dtc)]
            rows.append([*row, *([dtc.ecu or ""] if with_ecu else []), text])
        console.line(console.style(tr("dtc.decode.found", n=len(answer.dtcs)), "title"))
        console.table(rows, [*head, *([tr("dtc.decode.head.ecu")] if with_ecu else []), tr("dtc.decode.head.text")])
    elif not (answer.negative or answer.missing or answer.snapshots or answer.count) and answer.complete:
        console.line(tr("dtc.decode.none"))
    _show_rest(answer, console)


def _show_negative(negative: Negative, console: Console) -> None:
    from diag.nrc import PENDING

    nrc = f"0x{negative.nrc:02X}"
    if negative.nrc == PENDING:
        console.line(console.tr("dtc.decode.pending", nrc=nrc))
        return
    why = negative.text.in_language(console.tr.lang)
    service = f"0x{negative.service:02X}"
    console.line(console.tr("dtc.decode.negative", service=service, why=why, name=negative.name, nrc=nrc))


def _display(record: StoredRecord) -> str:
    return record.code if record.failure_type in (None, "00") else f"{record.code}-{record.failure_type}"


def _show_rest(answer: DtcAnswer, console: Console) -> None:
    tr = console.tr
    for record in answer.snapshots:
        if len(record.raw) > 1:
            data = record.raw.hex(" ").upper()
            console.line(tr("dtc.decode.snapshot_data", code=_display(record), record=record.record, data=data))
        else:
            console.line(tr("dtc.decode.snapshot", code=_display(record), record=record.record))
    for record in answer.extended:
        data = record.raw.hex(" ").upper()
        console.line(tr("dtc.decode.extended", code=_display(record), record=record.record, data=data))
    for counter in answer.fault_counters:
        console.line(tr("dtc.decode.counter", code=f"{counter.code}-{counter.failure_type}", n=counter.counter))
    names = {
        "protect": tr("dtc.decode.lamp.protect"),
        "amber-warning": tr("dtc.decode.lamp.amber_warning"),
        "red-stop": tr("dtc.decode.lamp.red_stop"),
        "malfunction-indicator": tr("dtc.decode.lamp.malfunction_indicator"),
    }
    burning = [names[lamp.name] for lamp in answer.lamps if lamp.on]
    if burning:
        console.line(tr("dtc.decode.lamps", names=tr.listed(burning)))
    if answer.count is not None and not answer.dtcs:
        console.line(tr("dtc.decode.count", n=answer.count))
    if answer.missing:
        n = len(answer.dtcs) or len(answer.snapshots)
        console.line(tr("dtc.decode.cut", n=n, total=n + answer.missing, missing=answer.missing))
    elif not answer.complete:
        console.line(tr("dtc.decode.cut_unknown"))
    if answer.rest:
        console.line(tr("dtc.decode.rest", hex=answer.rest.hex(" ").upper()))
