"""``huizhen log``: what a recording holds, its frames in another format or as physical values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from huizhen.exits import Exit
from huizhen.links import add_link_options, seconds

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from dbc.database import Database
    from dbc.output import Aliases
    from dbc.recording.facts import Facts
    from huizhen.cli import Commands
    from huizhen.console import Console
    from huizhen.language import Translator

__all__ = ["add_parser", "info_json", "run"]

_FORMATS = ("candump", "asc", "blf", "mf4", "csv", "parquet")
_SHOWN_BAD_LINES = 10
_SHOWN_IDS = 40


def add_parser(commands: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    """Names the options of ``log info``, ``log convert``, ``log decode`` and ``log record``."""
    parser = commands.add_parser(
        "log", parents=[common], help=tr("log.help"), description=tr("log.description"), epilog=tr("log.epilog")
    )
    actions = parser.add_subparsers(dest="action", metavar=tr("cli.command"), title=tr("log.actions"))
    info = actions.add_parser(
        "info",
        parents=[common],
        help=tr("log.info.help"),
        description=tr("log.info.description"),
        epilog=tr("log.info.epilog"),
    )
    info.add_argument("file", metavar="FILE", help=tr("log.file"))
    convert = actions.add_parser(
        "convert",
        parents=[common],
        help=tr("log.convert.help"),
        description=tr("log.convert.description"),
        epilog=tr("log.convert.epilog"),
    )
    convert.add_argument("file", metavar="IN", help=tr("log.file"))
    convert.add_argument("output", metavar="OUT", help=tr("log.convert.output"))
    convert.add_argument("--to", metavar="FORMAT", choices=_FORMATS, help=tr("log.convert.to"))
    decode = actions.add_parser(
        "decode",
        parents=[common],
        help=tr("log.decode.help"),
        description=tr("log.decode.description"),
        epilog=tr("log.decode.epilog"),
    )
    decode.add_argument("file", metavar="FILE", nargs="?", help=tr("log.file"))
    decode.add_argument("--dbc", metavar="DB", nargs="+", action="extend", default=[], help=tr("log.decode.dbc"))
    decode.add_argument("-o", "--output", metavar="OUT", help=tr("log.decode.output"))
    decode.add_argument("--signals", metavar="A,B", action="append", default=[], help=tr("log.decode.signals"))
    decode.add_argument("--summary", action="store_true", help=tr("log.decode.summary"))
    decode.add_argument("--vss", action="store_true", help=tr("log.decode.vss"))
    recorder = actions.add_parser(
        "record",
        parents=[common],
        help=tr("log.record.help"),
        description=tr("log.record.description"),
        epilog=tr("log.record.epilog"),
    )
    recorder.add_argument("-o", "--output", metavar="FILE", help=tr("log.record.output"))
    recorder.add_argument("--ring", metavar="FOLDER", help=tr("log.record.ring"))
    recorder.add_argument("--ring-mb", type=int, default=500, metavar="MB", help=tr("log.record.ring_mb"))
    recorder.add_argument("--around", type=seconds, default=30.0, metavar="S", help=tr("log.record.around"))
    recorder.add_argument("--poll", type=_poll_seconds, default=10.0, metavar="S", help=tr("log.record.poll"))
    recorder.add_argument("--duration", type=seconds, metavar="S", help=tr("log.record.duration"))
    add_link_options(recorder, tr)


def _poll_seconds(text: str) -> float:
    """Seconds, 0 for never."""
    return 0.0 if text == "0" else seconds(text)


_poll_seconds.__name__ = "seconds"


def run(args: argparse.Namespace, console: Console) -> int:
    """Reads the recording and shows, converts, summarises or writes it; returns the exit code."""
    if args.action == "info":
        return _info(args, console)
    if args.action == "convert":
        return _convert(args, console)
    if args.action == "decode":
        return _decode(args, console)
    if args.action == "record":
        from huizhen.logrecord import record

        return record(args, console)
    from huizhen.errors import BadUsage

    raise BadUsage(console.tr("log.no_action"))


def _note_bad_lines(recording: Facts, console: Console) -> None:
    """The lines that could not be read, on standard error."""
    tr = console.tr
    if not recording.bad_line_count:
        return
    console.note(tr("log.bad_lines", n=recording.bad_line_count))
    shown = recording.bad_lines[:_SHOWN_BAD_LINES]
    for bad in shown:
        console.note("  " + tr("log.bad_line", line=bad.line, reason=getattr(bad.reason, tr.lang)))
    if recording.bad_line_count > len(shown):
        console.note("  " + tr("log.bad_more", n=recording.bad_line_count - len(shown)))


def _note_content(recording: Facts, console: Console) -> None:
    """What a person should know about the content, on standard error."""
    for note in recording.notes:
        console.note(getattr(note, console.tr.lang))


def info_json(facts: Facts) -> dict[str, Any]:
    """``huizhen.log/1``: what a recording holds. Seconds count from ``start``, or from the recorder's own zero."""
    from diag.facts import iso_from_ns

    tally = facts.tally
    keys = sorted(tally.keys)
    has_times = bool(tally.frames) and facts.timed
    return {
        "schema": "huizhen.log/1",
        "format": facts.format,
        "frames": tally.frames,
        "first_s": tally.first_ns / 1e9 if has_times else None,
        "last_s": tally.last_ns / 1e9 if has_times else None,
        "ids": len(keys),
        "channels": len(tally.buses),
        "bad_lines": facts.bad_line_count,
        "start": iso_from_ns(facts.start_ns) if facts.start_ns is not None else None,
        "local_start": facts.local_start,
        "timed": facts.timed,
        "whole_seconds": facts.whole_seconds,
        "segments": list(facts.segments),
        "notes": [{"en": note.en, "zh": note.zh} for note in facts.notes],
        "id_list": [f"0x{key & 0x1FFFFFFF:08X}" if key >> 31 else f"0x{key:03X}" for key in keys],
        "channel_names": list(facts.channels),
        "bad": [{"line": bad.line, "reason": {"en": bad.reason.en, "zh": bad.reason.zh}} for bad in facts.bad_lines],
    }


def _info(args: argparse.Namespace, console: Console) -> int:
    from dbc.recording.stream import stream_recording
    from diag.facts import iso_from_ns

    tr = console.tr
    console.stage(tr("log.reading", path=args.file))
    with stream_recording(args.file) as stream:
        recording = stream.facts
    console.stage_done()
    facts = info_json(recording)
    if getattr(args, "json", False) or getattr(args, "jsonl", False):
        console.json(facts)
        return Exit.DONE
    rows = [(tr("log.info.format"), facts["format"]), (tr("log.info.frames"), str(facts["frames"]))]
    if facts["first_s"] is not None:
        first, last = facts["first_s"], facts["last_s"]
        span = tr("log.info.span_value", first=f"{first:.6f}", last=f"{last:.6f}", length=f"{last - first:.3f}")
        rows.append((tr("log.info.span"), span))
    if facts["start"] and recording.start_ns == 0 and facts["first_s"] is not None:  # times since 1970: of the clock
        rows.append((tr("log.info.begun"), iso_from_ns(recording.tally.first_ns)))
    elif facts["start"]:
        rows.append((tr("log.info.start"), facts["start"]))
    elif facts["local_start"]:
        rows.append((tr("log.info.start"), tr("log.info.local", start=facts["local_start"])))
    shown = " ".join(facts["id_list"][:_SHOWN_IDS]) + (" …" if facts["ids"] > _SHOWN_IDS else "")
    rows.append((tr("log.info.ids"), f"{facts['ids']}  {shown}"))
    rows.append((tr("log.info.channels"), f"{facts['channels']}  {' '.join(recording.channels)}"))
    rows.append((tr("log.info.bad"), str(facts["bad_lines"])))
    console.table(rows)
    if recording.whole_seconds:
        console.note(tr("log.whole_seconds"))
    _note_content(recording, console)
    _note_bad_lines(recording, console)
    return Exit.DONE


def _convert(args: argparse.Namespace, console: Console) -> int:
    """Writes the recording in another format and says what that format could not hold."""
    from dbc.recording.stream import stream_recording
    from dbc.recording.writers import check_target, write_frames

    tr = console.tr
    chosen = check_target(args.output, args.to)
    console.stage(tr("log.reading", path=args.file))
    with stream_recording(args.file) as stream:
        recording = stream.facts
        console.stage(tr("log.convert.writing", path=args.output))
        lost = write_frames(recording, stream.pieces, args.output, chosen)
    console.stage_done()
    if getattr(args, "json", False) or getattr(args, "jsonl", False):
        console.json(
            {
                "schema": "huizhen.convert/1",
                "input": args.file,
                "output": args.output,
                "from": recording.format,
                "to": chosen,
                "frames": recording.tally.frames,
                "bad_lines": recording.bad_line_count,
                "losses": [{"en": loss.en, "zh": loss.zh} for loss in lost],
            }
        )
        return Exit.DONE
    console.line(tr("log.convert.done", path=args.output, n=recording.tally.frames, old=recording.format, new=chosen))
    for loss in lost:
        console.note(tr("log.convert.loss", loss=getattr(loss, tr.lang)))
    _note_content(recording, console)
    _note_bad_lines(recording, console)
    return Exit.DONE


def _wanted_signals(texts: Sequence[str], databases: Sequence[Database]) -> list[str] | None:
    """The signals asked for, each of which some database must have.

    Raises:
        UnknownSignal: no database has it.
    """
    from dbc.dataframes import check_signals

    asked = [name.strip() for text in texts for name in text.split(",") if name.strip()]
    check_signals(asked, databases)
    return asked or None


def _files(args: argparse.Namespace, console: Console) -> tuple[str, list[str]]:
    """The recording and the databases; with ``--dbc A FILE`` argparse takes the recording for a database."""
    from huizhen.errors import BadUsage

    databases = list(args.dbc)
    file = args.file
    if file is None and len(databases) > 1:
        file = databases.pop()
    if file is None:
        raise BadUsage(console.tr("log.decode.no_file"))
    if not databases:
        raise BadUsage(console.tr("log.decode.no_dbc"))
    return file, databases


def _decode(args: argparse.Namespace, console: Console) -> int:
    file, paths = _files(args, console)
    from dbc.database import load
    from dbc.output import check_output
    from dbc.recording.stream import stream_recording
    from dbc.streaming import decode_to_file

    tr = console.tr
    is_folder = bool(args.output) and args.output.endswith(("/", "\\"))
    if args.output and not is_folder:
        check_output(args.output)
    databases = [load(path) for path in paths]
    signals = _wanted_signals(args.signals, databases)
    if is_folder and args.vss:
        from huizhen.errors import BadUsage

        raise BadUsage(tr("log.decode.vss_folder"))
    if is_folder:
        return _decode_folder(args, console, file, databases, signals)
    console.stage(tr("log.reading", path=file))
    with stream_recording(file) as stream:
        summary = decode_to_file(
            stream, databases, args.output, signals=signals, aliases=_vss_aliases(databases) if args.vss else None
        )
        recording = stream.facts
    console.stage_done()
    facts = summary.facts()
    facts["bad_lines"] = recording.bad_line_count
    if args.vss:
        _name_signals(facts, databases)
    if getattr(args, "json", False) or getattr(args, "jsonl", False):
        console.json(facts)
        return Exit.DONE
    if args.summary or not args.output:
        _show(facts, console)
    if args.output:
        console.line(tr("log.decode.written", path=args.output))
    counts = tr(
        "log.decode.counts",
        decoded=facts["decoded_frames"],
        frames=facts["frames"],
        unknown=len(facts["unknown_ids"]),
        short=facts["short_frames"],
    )
    console.line(counts)
    if facts["unknown_ids"] and console.verbose:
        console.wrapped(tr("log.decode.unknown", ids=" ".join(facts["unknown_ids"])))
    if not facts["messages"] and signals is None:
        console.note(tr("log.decode.nothing"))
    _note_content(recording, console)
    _note_bad_lines(recording, console)
    return Exit.DONE


def _vss_aliases(databases: Sequence[Database]) -> Aliases:
    """What the Vehicle Signal Specification calls the signals, by database."""
    from diag.vss import vss_names

    return {(database.name, full): name for database in databases for full, name in vss_names(database).items()}


def _name_signals(facts: dict[str, Any], databases: Sequence[Database]) -> None:
    """The same beside the signals of a summary."""
    from diag.vss import vss_names

    paths = {full: name.path for database in reversed(databases) for full, name in vss_names(database).items()}
    for message, found in facts["messages"].items():
        for signal, value in found["signals"].items():
            value["vss"] = paths.get(f"{message.partition('@')[0]}.{signal}")


def _decode_folder(
    args: argparse.Namespace, console: Console, file: str, databases: Sequence[Database], signals: list[str] | None
) -> int:
    """One Parquet file per message."""
    from dbc.streaming import decode_to_folder

    tr = console.tr
    console.stage(tr("log.reading", path=file))
    result = decode_to_folder(file, databases, args.output.rstrip("/\\"), signals=signals)
    console.stage_done()
    if getattr(args, "json", False) or getattr(args, "jsonl", False):
        console.json(
            {
                "schema": "huizhen.decoded-files/1",
                "frames": result.facts.tally.frames,
                "decoded_frames": result.decoded_frames,
                "unknown_ids": [f"0x{k & 0x1FFFFFFF:08X}" if k >> 31 else f"0x{k:03X}" for k in result.unknown_ids],
                "files": {name: str(path) for name, path in result.files.items()},
                "bad_lines": result.facts.bad_line_count,
            }
        )
        return Exit.DONE
    console.line(tr("log.decode.files", path=args.output, n=len(result.files)))
    console.line(
        tr(
            "log.decode.folder_counts",
            decoded=result.decoded_frames,
            frames=result.facts.tally.frames,
            unknown=len(result.unknown_ids),
        )
    )
    if not result.files and signals is None:
        console.note(tr("log.decode.nothing"))
    _note_content(result.facts, console)
    _note_bad_lines(result.facts, console)
    return Exit.DONE


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"


def _show(facts: dict[str, Any], console: Console) -> None:
    """The summary as one table."""
    tr = console.tr
    head = (
        tr("log.decode.message"),
        tr("log.decode.source"),
        tr("log.decode.signal"),
        tr("log.decode.n"),
        tr("log.decode.min"),
        tr("log.decode.max"),
        tr("log.decode.mean"),
        tr("log.decode.last"),
        tr("log.decode.invalid"),
        tr("log.decode.out_of_range"),
        tr("log.decode.unit"),
    )
    rows = [
        (
            name,
            message["source"],
            signal,
            str(value["n"]),
            _number(value["min"]),
            _number(value["max"]),
            _number(value["mean"]),
            _number(value["last"]),
            str(value["invalid"]),
            str(value["out_of_range"]),
            value["unit"],
        )
        for name, message in facts["messages"].items()
        for signal, value in message["signals"].items()
    ]
    if rows:
        console.table(rows, head)
