"""``huizhen consult delete|keys``: rooms deleted for good, and the keys that make that possible."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from huizhen.console import wants_json
from huizhen.exits import Exit
from huizhen.roomservice import STATE, data_folder, iso_from_us

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from consult.deletion import DeletionPlace
    from consult.roomkeys import KeyEntry
    from huizhen.cli import Commands
    from huizhen.console import Console
    from huizhen.language import Translator

__all__ = ["ACTIONS", "add_parsers", "check_certificate", "is_certificate", "run"]

ACTIONS: Final = ("delete", "keys")


def add_parsers(actions: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    """Names the actions and their options."""
    delete = actions.add_parser(
        "delete",
        parents=[common],
        help=tr("roomdeletion.delete.help"),
        description=tr("roomdeletion.delete.description"),
        epilog=tr("roomdeletion.delete.epilog"),
    )
    delete.add_argument("room", metavar="ROOM", help=tr("roomdeletion.room"))
    delete.add_argument("--reason", required=True, metavar="TEXT", help=tr("roomdeletion.delete.reason"))
    delete.add_argument("--end", action="store_true", help=tr("roomdeletion.delete.end"))
    delete.add_argument("--keep-ciphertext", action="store_true", help=tr("roomdeletion.delete.keep"))
    _add_place(delete, tr)
    keys = actions.add_parser(
        "keys",
        parents=[common],
        help=tr("roomdeletion.keys.help"),
        description=tr("roomdeletion.keys.description"),
        epilog=tr("roomdeletion.keys.epilog"),
    )
    verbs = keys.add_subparsers(dest="verb", metavar=tr("cli.command"), title=tr("consult.action"), required=True)
    helps = {
        "list": tr("roomdeletion.keys.list"),
        "export": tr("roomdeletion.keys.export"),
        "rotate": tr("roomdeletion.keys.rotate"),
    }
    for verb, said in helps.items():
        one = verbs.add_parser(verb, parents=[common], help=said, description=said)
        if verb == "export":
            one.add_argument("room", metavar="ROOM", help=tr("roomdeletion.room"))
            one.add_argument("-o", "--output", required=True, metavar="FILE", help=tr("roomdeletion.keys.output"))
        _add_place(one, tr)


def _add_place(parser: argparse.ArgumentParser, tr: Translator) -> None:
    parser.add_argument("--data", metavar="DIR", help=tr("consult.option.data"))
    parser.add_argument("--config", metavar="FILE", help=tr("consult.option.config"))


def run(args: argparse.Namespace, console: Console) -> int:
    """Does what the action says; returns the exit code."""
    with _place(args) as place:
        if args.action == "delete":
            _delete(place, args, console)
        else:
            {"list": _list, "export": _export, "rotate": _rotate}[args.verb](place, args, console)
    return Exit.DONE


@contextmanager
def _place(args: argparse.Namespace) -> Iterator[DeletionPlace]:
    """The rooms' folder, as options or the service's configuration name it."""
    from consult.configfile import load_config
    from consult.deletion import DeletionPlace
    from consult.networkconfig import NetworkConfig
    from consult.roomkeys import store_of
    from consult.servicestate import ServiceState
    from huizhen.roomkeychain import with_master_key
    from huizhen.signing import load_signer

    settings = load_config(Path(args.config)) if args.config else {}
    data = Path(args.data) if args.data else settings.get("data") or data_folder(args)
    keys = store_of(data, with_master_key(settings.get("privacy")))
    visit_days = settings.get("network", NetworkConfig()).visit_days
    place = DeletionPlace(data, keys, load_signer(), None, settings.get("audit_days", 365), visit_days)
    if not (data / STATE).exists():
        yield place
        return
    with ServiceState(data / STATE) as state:
        yield replace(place, state=state)


def _who() -> str:
    import getpass

    try:
        return f"cli:{getpass.getuser()}"
    except (OSError, KeyError):
        return "cli:?"


def _now_us() -> int:
    return time.time_ns() // 1000


# -- delete ----------------------------------------------------------------------------------------------------------


def _delete(place: DeletionPlace, args: argparse.Namespace, console: Console) -> None:
    from consult.deletion import delete_room

    told = delete_room(
        place, args.room, args.reason, _who(), _now_us(), keep_ciphertext=args.keep_ciphertext, end=args.end
    )
    if wants_json(args):
        console.json(told)
        return
    tr, key = console.tr, told.get("key")
    if key is None:
        what = tr("roomdeletion.delete.what_plain")
    elif told["method"]["payload"] == "ciphertext-kept":
        what = tr("roomdeletion.delete.what_kept", mark=key["fingerprint"])
    else:
        what = tr("roomdeletion.delete.what_key", mark=key["fingerprint"])
    console.line(console.style(tr("roomdeletion.delete.done", room=told["room"], what=what), "good"))
    console.line(f"  {tr('roomdeletion.delete.certificate', path=place.folder / (told['room'] + '.json'))}")
    if not told["signature"]:
        console.note(tr("roomdeletion.delete.unsigned"))
    console.line(f"  {tr('roomdeletion.delete.remains')}")
    for one in told["remains"]:
        until = f" ({one['until'][:10]})" if "until" in one else ""
        console.wrapped(one["text"][tr.lang] + until, indent="    ", first="  · ")


# -- keys ------------------------------------------------------------------------------------------------------------


def _entry_json(entry: KeyEntry) -> dict[str, Any]:
    exports = [{"at": iso_from_us(one["t_us"]), "by": one["who"]} for one in entry.exports]
    return {"room": entry.room, "fingerprint": entry.fingerprint, "master": entry.master, "exports": exports}


def _list(place: DeletionPlace, args: argparse.Namespace, console: Console) -> None:
    from consult.carindex import INDEX

    entries = place.keys.entries()
    if wants_json(args):
        console.json({"schema": "huizhen.room-keys/1", "keys": [_entry_json(entry) for entry in entries]})
        return
    if not entries:
        console.line(console.tr("roomdeletion.keys.none", folder=place.keys.folder))
    for entry in sorted(entries, key=lambda one: one.room == INDEX):
        if entry.room == INDEX:
            marks = {"mark": entry.fingerprint, "master": entry.master}
            console.line(console.tr("roomdeletion.keys.row_index", index=entry.room, **marks))
            continue
        said = console.tr("roomdeletion.keys.row", room=entry.room, mark=entry.fingerprint, master=entry.master)
        if entry.exports:
            said += f"  {console.tr('roomdeletion.keys.row_exported', n=len(entry.exports))}"
        console.line(said)


def _export(place: DeletionPlace, args: argparse.Namespace, console: Console) -> None:
    from consult.servicestate import AuditEntry
    from huizhen.errors import BadUsage

    entry = next((one for one in place.keys.entries() if one.room == args.room), None)
    key = None if entry is None else place.keys.find(entry.fingerprint)
    if entry is None or key is None:
        raise BadUsage(console.tr("roomdeletion.no_key", room=args.room, folder=place.keys.folder))
    # Noted first: a key of which nobody knows that it was handed out would be the worse mistake.
    place.keys.note_export(entry.fingerprint, _who(), _now_us())
    if place.state is not None:
        place.state.note(AuditEntry(_now_us(), "key-export", _who(), args.room, entry.fingerprint))
    place.keys.export(key, Path(args.output))
    if wants_json(args):
        told = {"schema": "huizhen.room-key-export/1", "room": args.room, "fingerprint": entry.fingerprint}
        console.json({**told, "output": args.output})
        return
    console.line(console.tr("roomdeletion.keys.exported", room=args.room, path=args.output))


def _rotate(place: DeletionPlace, args: argparse.Namespace, console: Console) -> None:
    from consult.servicestate import AuditEntry

    count = place.keys.rotate()
    if place.state is not None:
        place.state.note(AuditEntry(_now_us(), "keys-rotate", _who(), "", str(count)))
    if wants_json(args):
        console.json({"schema": "huizhen.room-keys-rotated/1", "keys": count, "own_master": place.keys.makes_master})
        return
    console.line(console.tr("roomdeletion.keys.rotated", n=count))
    if not place.keys.makes_master:
        console.note(console.tr("roomdeletion.keys.kept_by_owner"))


# -- certificates ----------------------------------------------------------------------------------------------------


def is_certificate(path: str) -> bool:
    """Whether a file is one; a recording is not JSON."""
    from consult.deletioncertificate import load_certificate
    from consult.sealederrors import CertificateUnreadable

    try:
        with Path(path).open("rb") as file:
            if file.read(1) != b"{":
                return False
        load_certificate(Path(path))
    except (OSError, CertificateUnreadable):
        return False
    return True


def check_certificate(args: argparse.Namespace, key: bytes | None, console: Console) -> int:
    """Looks at a deletion certificate; returns the exit code."""
    from consult.deletioncertificate import load_certificate
    from consult.deletioncheck import check_deletion
    from huizhen.roomkeychain import key_source

    told = load_certificate(Path(args.file))
    here = Path(args.file).absolute().parent
    check = check_deletion(
        told,
        keys=key_source(args, args.record or args.file, here.parent),
        trusted=None if key is None else [key],
        record=args.record,
        data=here.parent if here.name == "deletions" else None,
    )
    if wants_json(args):
        console.json(
            {
                "schema": "huizhen.deletion-check/1",
                "file": args.file,
                "room": told["room"],
                "deleted": told["deleted"],
                "good": check.is_good,
                "public_key": told["public_key"] or None,
                "findings": [finding.to_json() for finding in check.findings],
            }
        )
    else:
        tr = console.tr
        good = tr("roomdeletion.certificate.good", room=told["room"], time=told["deleted"])
        bad = tr("roomdeletion.certificate.bad", room=told["room"])
        console.line(console.style(good, "good") if check.is_good else console.style(bad, "stop"))
        console.wrapped(
            tr("roomdeletion.certificate.why", by=told["by"], reason=told["reason"]), indent="    ", first="  "
        )
        for finding in check.findings:
            console.wrapped(
                finding.text.in_language(tr.lang), indent="    ", first="  · " if finding.is_good else "  ! "
            )
    return Exit.DONE if check.is_good else Exit.USAGE
