"""``huizhen consult verify|replay|export``: what is done with a room's recording."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from huizhen.commands.roomdeletion import check_certificate, is_certificate
from huizhen.console import wants_json
from huizhen.exits import Exit
from huizhen.roomservice import iso_from_us, seconds_option, until_stopped

if TYPE_CHECKING:
    import argparse

    from consult.recordcheck import RecordCheck, SignedBy
    from consult.replayservice import ReplayService
    from huizhen.cli import Commands
    from huizhen.console import Console
    from huizhen.language import Translator

__all__ = ["ACTIONS", "add_parsers", "public_key", "run"]

ACTIONS: Final = ("verify", "replay", "export")
_KEY_BYTES: Final = 32
_LEAST_SPEED: Final = 0.1
_MOST_SPEED: Final = 100.0
_FEWEST_DIGITS: Final = 8


def add_parsers(actions: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    """Names the three actions and their options."""
    verify = actions.add_parser(
        "verify",
        parents=[common],
        help=tr("roomrecord.verify.help"),
        description=tr("roomrecord.verify.description"),
        epilog=tr("roomrecord.verify.epilog"),
    )
    verify.add_argument("--key", metavar="HEX|FILE", help=tr("roomrecord.verify.key"))
    verify.add_argument("--head", metavar="N:HASH", help=tr("roomrecord.verify.head"))
    verify.add_argument("--record", metavar="FILE", help=tr("roomdeletion.certificate.record"))
    replay = actions.add_parser(
        "replay",
        parents=[common],
        help=tr("roomrecord.replay.help"),
        description=tr("roomrecord.replay.description"),
        epilog=tr("roomrecord.replay.epilog"),
    )
    replay.add_argument("--speed", type=_speed(tr), default=1.0, metavar="X", help=tr("roomrecord.replay.speed"))
    replay.add_argument("--redacted", action="store_true", help=tr("roomrecord.replay.redacted"))
    replay.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help=tr("consult.option.host"))
    replay.add_argument("--port", type=_port(tr), default=0, metavar="N", help=tr("consult.option.port"))
    replay.add_argument("--duration", type=seconds_option(tr), metavar="S", help=tr("consult.option.duration"))
    export = actions.add_parser(
        "export",
        parents=[common],
        help=tr("roomrecord.export.help"),
        description=tr("roomrecord.export.description"),
        epilog=tr("roomrecord.export.epilog"),
    )
    for action in (verify, replay, export):
        action.add_argument("file", metavar="FILE", help=tr("roomrecord.file"))
        action.add_argument("--key-file", metavar="FILE", help=tr("roomdeletion.certificate.key_file"))
    export.add_argument("output", metavar="OUT", help=tr("roomrecord.export.output"))


def _speed(tr: Translator) -> Any:
    import argparse

    def speed(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not _LEAST_SPEED <= value <= _MOST_SPEED:
            raise argparse.ArgumentTypeError(tr("roomrecord.replay.bad_speed"))
        return value

    return speed


def _port(tr: Translator) -> Any:
    import argparse

    def port(text: str) -> int:
        if not text.isdecimal() or int(text) > 65_535:
            raise argparse.ArgumentTypeError(tr("consult.option.bad_port"))
        return int(text)

    return port


def run(args: argparse.Namespace, console: Console) -> int:
    """Does what the action says; returns the exit code."""
    if args.action == "replay":
        import asyncio

        asyncio.run(_replay(args, console))
        return Exit.DONE
    return {"verify": _verify, "export": _export}[args.action](args, console)


# -- verify ----------------------------------------------------------------------------------------------------------


def _verify(args: argparse.Namespace, console: Console) -> int:
    from consult.recordcheck import check_record
    from huizhen.errors import BadUsage
    from huizhen.roomkeychain import key_source

    key = public_key(args.key, console) if args.key else None
    if is_certificate(args.file):
        if args.head:
            raise BadUsage(console.tr("roomdeletion.only_certificate"))
        return check_certificate(args, key, console)
    if args.record:
        raise BadUsage(console.tr("roomdeletion.only_certificate"))
    head = _head(args.head, console) if args.head else None
    check = check_record(args.file, key=key, head=head, keys=key_source(args, args.file))
    if wants_json(args):
        console.json(_check_json(check))
    else:
        _show_check(check, console)
    return Exit.DONE if check.verdict == "intact" else Exit.USAGE


def public_key(text: str, console: Console) -> bytes:
    """A public key as hexadecimal digits, or a PEM file of one.

    Raises:
        BadUsage: it is neither.
    """
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    from huizhen.errors import BadUsage

    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) == _KEY_BYTES:
        return found
    try:
        content = Path(text).read_bytes()
        key = load_pem_public_key(content)
    except (OSError, ValueError) as error:
        raise BadUsage(console.tr("roomrecord.verify.bad_key", text=text)) from error
    if not isinstance(key, Ed25519PublicKey):
        raise BadUsage(console.tr("roomrecord.verify.bad_key", text=text))
    return key.public_bytes_raw()


def _head(text: str, console: Console) -> tuple[int, str]:
    from huizhen.errors import BadUsage

    number, _, digits = text.partition(":")
    is_hash = _FEWEST_DIGITS <= len(digits) <= 2 * _KEY_BYTES and all(one in "0123456789abcdefABCDEF" for one in digits)
    if not (number.isascii() and number.isdigit() and len(number) <= 15 and is_hash):
        raise BadUsage(console.tr("roomrecord.verify.bad_head", head=text))
    return int(number), digits


def _whose(signed: SignedBy) -> tuple[str, str]:
    """``own``, ``known`` or ``unknown``, and the name of a known one."""
    from huizhen.signing import known_keys, own_public_key

    if signed.public_key == own_public_key():
        return "own", ""
    name = known_keys().get(signed.public_key)
    return ("unknown", "") if name is None else ("known", name)


def _keys_json(keys: tuple[SignedBy, ...]) -> list[dict[str, Any]]:
    told = []
    for signed in keys:
        whose, name = _whose(signed)
        told.append(
            {
                "public_key": signed.public_key.hex(),
                "fingerprint": signed.fingerprint,
                "by": whose,
                "name": name or None,
                "signatures": signed.count,
            }
        )
    return told


def _check_json(check: RecordCheck) -> dict[str, Any]:
    return {
        "schema": "huizhen.record-check/1",
        "file": check.path,
        "verdict": check.verdict,
        "room": check.room or None,
        "closed": check.closed,
        "entries": check.entries,
        "head": check.head or None,
        "signed": {
            "entry": check.signed_n or None,
            "until": iso_from_us(check.signed_us) if check.signed_us else None,
            "keys": _keys_json(check.keys),
        },
        "unsigned": check.unsigned,
        "unchained": check.unchained,
        "laptop": {"keys": _keys_json(check.laptop), "unsigned": check.laptop_unsigned},
        "files": {"good": check.files, "missing": check.files_missing},
        "encryption": {"key": check.key, "readable": check.is_readable} if check.key else None,
        "faults": [fault.to_json() for fault in check.faults],
    }


def _verdict(check: RecordCheck, console: Console) -> tuple[str, str]:
    """The verdict as a style and a sentence."""
    tr = console.tr
    return {
        "intact": ("good", tr("roomrecord.verify.intact", path=check.path, n=check.entries)),
        "unsigned-tail": ("soon", tr("roomrecord.verify.tail", path=check.path)),
        "unsigned": ("soon", tr("roomrecord.verify.unsigned", path=check.path)),
        "not-chained": ("soon", tr("roomrecord.verify.not_chained", path=check.path)),
        "changed": ("stop", tr("roomrecord.verify.changed", path=check.path)),
    }[check.verdict]


def _show_check(check: RecordCheck, console: Console) -> None:
    tr = console.tr
    style, sentence = _verdict(check, console)
    console.line(console.style(sentence, style))
    for fault in check.faults:
        console.wrapped(fault.text.in_language(tr.lang), indent="    ", first="  · ")
    if check.signed_us:
        console.line(f"  {tr('roomrecord.verify.signed_until', time=iso_from_us(check.signed_us), n=check.signed_n)}")
    if check.verdict == "unsigned-tail":
        console.line(f"  {tr('roomrecord.verify.behind', **check.unsigned)}")
    if any(check.unchained.values()):
        console.wrapped(tr("roomrecord.verify.unchained", **check.unchained), indent="  ", first="  ")
    if check.key and check.is_readable:
        console.wrapped(tr("roomdeletion.certificate.readable", mark=check.key), indent="  ", first="  ")
    elif check.key:
        console.wrapped(tr("roomdeletion.certificate.unreadable", mark=check.key), indent="  ", first="  ")
    for signed in check.keys:
        console.wrapped(_signed_by(signed, console), indent="  ", first="  ")
    for signed in check.laptop:
        console.line(f"  {tr('roomrecord.verify.laptop', mark=signed.fingerprint, n=signed.count)}")
    if check.files or check.files_missing:
        console.line(f"  {tr('roomrecord.verify.files', n=check.files, missing=check.files_missing)}")
    if check.head:
        console.line(f"  {tr('roomrecord.verify.head_is', n=check.entries, hash=check.head[:16])}")
    if check.is_chained and check.closed is None and not check.faults:
        console.note(tr("roomrecord.verify.no_end"))


def _signed_by(signed: SignedBy, console: Console) -> str:
    whose, name = _whose(signed)
    if whose == "own":
        return console.tr("bundle.signed_own", mark=signed.fingerprint)
    if whose == "known":
        return console.tr("bundle.signed_known", name=name, mark=signed.fingerprint)
    return console.tr("bundle.signed_unknown", mark=signed.fingerprint)


# -- replay ----------------------------------------------------------------------------------------------------------


async def _replay(args: argparse.Namespace, console: Console) -> None:
    """Serves the page on the recording until told to stop, and says so where it is not what was written."""
    import asyncio
    from pathlib import Path

    from consult.recordcheck import check_record
    from consult.replayservice import ReplayConfig, running_replay
    from huizhen.roomkeychain import key_source

    keys = key_source(args, args.file)
    config = ReplayConfig(
        Path(args.file), host=args.host, port=args.port, speed=args.speed, redacted=args.redacted, keys=keys
    )
    async with running_replay(config) as service:
        stopped = until_stopped(args.duration)
        _show_link(service, args, console)
        check = await asyncio.to_thread(check_record, args.file, keys=keys)
        if check.verdict != "intact":
            console.note(_verdict(check, console)[1])
        await stopped.wait()


def _show_link(service: ReplayService, args: argparse.Namespace, console: Console) -> None:
    url = service.invite_url()
    length_s = (service.to_us - service.from_us) / 1e6
    if wants_json(args):
        console.json(
            {
                "schema": "huizhen.replay/1",
                "url": url,
                "room": service.room,
                "from": iso_from_us(service.from_us),
                "to": iso_from_us(service.to_us),
                "duration_s": round(length_s, 3),
                "events": service.events,
                "blocks": service.blocks,
            }
        )
        return
    minutes, seconds = divmod(round(length_s), 60)
    counts = {"length": f"{minutes}:{seconds:02d}", "blocks": service.blocks, "events": service.events}
    console.line(console.tr("roomrecord.replay.what", start=iso_from_us(service.from_us), **counts))
    console.line(console.tr("roomrecord.replay.link"))
    console.line(f"  {console.style(url, 'title')}")
    console.note(console.tr("roomrecord.replay.stop"))
    console.out.flush()


# -- export ----------------------------------------------------------------------------------------------------------


def _export(args: argparse.Namespace, console: Console) -> int:
    from consult.export import check_export, export_recording
    from huizhen.roomkeychain import key_source

    check_export(args.output)
    console.stage(console.tr("roomrecord.export.stage"))
    try:
        told = export_recording(args.file, args.output, key_source(args, args.file))
    finally:
        console.stage_done()
    if wants_json(args):
        console.json(
            {
                "schema": "huizhen.room-export/1",
                "output": args.output,
                "blocks": told.blocks,
                "samples": told.samples,
                "events": told.events,
                "frames": told.frames,
                "left_out": told.left_out,
            }
        )
        return Exit.DONE
    console.line(console.tr("roomrecord.export.done", path=args.output, samples=told.samples, blocks=told.blocks))
    if told.left_out:
        console.note(console.tr("roomrecord.export.left_out", n=told.left_out))
    return Exit.DONE
