"""``huizhen consult backup|restore|migrate``: what those who run a room service do with its data."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from huizhen.console import wants_json
from huizhen.exits import Exit
from huizhen.roomaccounts import service_folder
from huizhen.roomservice import STATE, iso_from_us

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from pathlib import Path

    from consult.deletionredo import Redone
    from consult.restore import Restored
    from huizhen.cli import Commands
    from huizhen.console import Console
    from huizhen.language import Translator

__all__ = ["ACTIONS", "add_parsers", "run"]

ACTIONS: Final = ("backup", "restore", "migrate")
SETTINGS_KEYS: Final = ("room-master.key", "signing-key.pem")
"""Without the first no encrypted record of a restored service can be read, without the second it signs as another."""

_MEGABYTE: Final = 1_000_000


def add_parsers(actions: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    """Names the three actions and their options."""
    backup = actions.add_parser(
        "backup",
        parents=[common],
        help=tr("roombackup.backup.help"),
        description=tr("roombackup.backup.description"),
        epilog=tr("roombackup.backup.epilog"),
    )
    backup.add_argument("-o", "--output", required=True, metavar="DIR|FILE.tar", help=tr("roombackup.backup.output"))
    backup.add_argument("--passphrase-file", metavar="FILE", help=tr("roombackup.passphrase"))
    backup.add_argument("--without-keys", action="store_true", help=tr("roombackup.backup.without_keys"))
    backup.add_argument("--keep-days", type=_days(tr), metavar="N", help=tr("roombackup.backup.keep_days"))
    restore = actions.add_parser(
        "restore",
        parents=[common],
        help=tr("roombackup.restore.help"),
        description=tr("roombackup.restore.description"),
        epilog=tr("roombackup.restore.epilog"),
    )
    restore.add_argument("source", metavar="DIR|FILE.tar", help=tr("roombackup.restore.source"))
    restore.add_argument("--at", metavar="TIME", help=tr("roombackup.restore.at"))
    restore.add_argument("--deletions", metavar="DIR", help=tr("roombackup.restore.deletions"))
    restore.add_argument("--dry-run", action="store_true", help=tr("roombackup.restore.dry_run"))
    restore.add_argument("--passphrase-file", metavar="FILE", help=tr("roombackup.passphrase"))
    restore.add_argument("--key", metavar="HEX|FILE", help=tr("roombackup.restore.key"))
    restore.add_argument("--sign-out", action="store_true", help=tr("roombackup.restore.sign_out"))
    migrate = actions.add_parser(
        "migrate",
        parents=[common],
        help=tr("roombackup.migrate.help"),
        description=tr("roombackup.migrate.description"),
        epilog=tr("roombackup.migrate.epilog"),
    )
    which = migrate.add_mutually_exclusive_group(required=True)
    which.add_argument("--check", action="store_true", help=tr("roombackup.migrate.check"))
    which.add_argument("--apply", action="store_true", help=tr("roombackup.migrate.apply"))
    for action in (backup, restore, migrate):
        action.add_argument("--data", metavar="DIR", help=tr("consult.option.data"))
        action.add_argument("--config", metavar="FILE", help=tr("consult.option.config"))


def _days(tr: Translator) -> Callable[[str], int]:
    import argparse

    def days(text: str) -> int:
        if not text.isdecimal() or not 1 <= int(text) <= 36_500:
            raise argparse.ArgumentTypeError(tr("roombackup.backup.bad_days"))
        return int(text)

    return days


def run(args: argparse.Namespace, console: Console) -> int:
    """Does what the action says; returns the exit code."""
    actions: dict[str, Callable[[argparse.Namespace, Console], Exit]]
    actions = {"backup": _backup, "restore": _restore, "migrate": _migrate}
    return actions[args.action](args, console)


def _passphrase(args: argparse.Namespace, console: Console) -> bytes | None:
    """The first line of the file.

    Raises:
        BadUsage: it cannot be read, or is shorter than 12 bytes.
    """
    from pathlib import Path

    from huizhen.errors import BadUsage

    if not args.passphrase_file:
        return None
    try:
        words = Path(args.passphrase_file).read_bytes().split(b"\n", 1)[0].rstrip(b"\r")
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadUsage(console.tr("roombackup.no_passphrase", path=args.passphrase_file, reason=reason)) from error
    if len(words) < 12:
        raise BadUsage(console.tr("roombackup.short_passphrase", path=args.passphrase_file))
    return words


# -- backup ----------------------------------------------------------------------------------------------------------


def _backup(args: argparse.Namespace, console: Console) -> Exit:
    from pathlib import Path

    from consult.backup import make_backup
    from diag.bundle import fingerprint
    from huizhen import __version__
    from huizhen.settings import config_folder
    from huizhen.signing import load_signer

    passphrase, signer = _passphrase(args, console), load_signer()
    began_s = time.monotonic()
    try:
        made = make_backup(
            service_folder(args),
            Path(args.output),
            signer,
            program=__version__,
            now_us=time.time_ns() // 1000,
            passphrase=passphrase,
            with_keys=not args.without_keys,
            keys=[config_folder() / name for name in SETTINGS_KEYS],
            keep_days=args.keep_days,
            progress=lambda path: console.stage(console.tr("roombackup.stage", path=path)),
        )
    finally:
        console.stage_done()
    if wants_json(args):
        console.json(
            {
                "schema": "huizhen.backup-made/1",
                "name": made.name,
                "made": iso_from_us(made.made_us),
                "path": args.output,
                "files": len(made.files),
                "bytes": made.bytes,
                "added": made.added,
                "added_bytes": made.added_bytes,
                "records": made.records,
                "open_rooms": made.open_rooms,
                "left_out": list(made.left_out),
                "unreadable": list(made.unreadable),
                "encrypted": passphrase is not None,
                "key": signer.public_key.hex(),
                "duration_s": round(time.monotonic() - began_s, 3),
            }
        )
        return Exit.REFUSED if made.unreadable else Exit.DONE
    console.line(console.tr("roombackup.backup.made", name=made.name, path=args.output))
    console.line(
        console.tr(
            "roombackup.backup.content",
            records=made.records,
            open=made.open_rooms,
            files=len(made.files),
            size=_megabytes(made.bytes),
            added=_megabytes(made.added_bytes),
        )
    )
    console.line(console.tr("roombackup.signed", mark=fingerprint(signer.public_key)))
    calls = [name for name in made.left_out if name.endswith("/")]
    keys = [name for name in made.left_out if not name.endswith("/")]
    if calls:
        console.note(console.tr("roombackup.backup.calls", names=console.tr.listed(calls)))
    if keys:
        console.note(console.tr("roombackup.backup.left_out", names=console.tr.listed(keys)))
    elif passphrase is None:
        console.note(console.tr("roombackup.backup.bare"))
    if not made.unreadable:
        return Exit.DONE
    console.note(console.tr("roombackup.backup.unreadable", names=console.tr.listed(made.unreadable)))
    return Exit.REFUSED


def _megabytes(count: int) -> str:
    return f"{count / _MEGABYTE:.1f} MB"


# -- restore ---------------------------------------------------------------------------------------------------------


def _restore(args: argparse.Namespace, console: Console) -> Exit:
    import getpass
    from pathlib import Path

    from consult.backup import SETTINGS
    from consult.deletionredo import Redone
    from consult.restore import restore
    from diag.bundle import fingerprint
    from huizhen.commands.roomrecord import public_key
    from huizhen.settings import config_folder

    try:
        who = f"cli:{getpass.getuser()}"
    except (OSError, KeyError):
        who = "cli:?"
    data = service_folder(args)
    try:
        found = restore(
            Path(args.source),
            data,
            now_us=time.time_ns() // 1000,
            who=who,
            name=args.at,
            passphrase=_passphrase(args, console),
            key=public_key(args.key, console) if args.key else None,
            dry_run=args.dry_run,
            sign_out=args.sign_out,
            settings=config_folder(),
            masters=_masters_here(args, data),
            progress=lambda path: console.stage(console.tr("roombackup.stage", path=path)),
        )
    finally:
        console.stage_done()
    redone = Redone() if args.dry_run else _delete_again(args, data, found.public_key)
    done = Exit.REFUSED if redone.undone else Exit.DONE
    if wants_json(args):
        failed = {ident: str(error) for ident, error in sorted(redone.failed.items())}
        deletions = {"deleted_again": redone.rooms, "not_deleted": failed, "untrusted": redone.untrusted}
        console.json({**_restored_json(found, args, str(data)), **deletions})
        return done
    backup = found.backup
    if args.dry_run:
        console.line(console.tr("roombackup.restore.sound", name=backup.name, path=args.source))
    else:
        console.line(console.tr("roombackup.restore.done", name=backup.name, path=str(data)))
    console.line(
        console.tr(
            "roombackup.restore.content",
            records=backup.records,
            open=backup.open_rooms,
            files=len(backup.files),
            size=_megabytes(backup.bytes),
        )
    )
    console.line(console.tr("roombackup.signed", mark=fingerprint(found.public_key)))
    for path in found.changed:
        console.note(console.tr("roombackup.restore.changed", path=path))
    for room in redone.rooms:
        console.note(console.tr("roombackup.restore.deleted", room=room))
    for error in redone.failed.values():
        console.note(console.tr.error(error))
    for room in redone.untrusted:
        console.note(console.tr("roombackup.restore.untrusted", room=room))
    if found.other_keys:
        folder, names = str(data / SETTINGS), console.tr.listed(found.other_keys)
        console.note(console.tr("roombackup.restore.other_keys", names=names, folder=folder))
    if found.missing:
        console.note(console.tr("roombackup.restore.missing", names=console.tr.listed(found.missing)))
    return done


def _masters_here(args: argparse.Namespace, data: Path) -> set[str]:
    """Fingerprints of the master keys that the service will have here."""
    from pathlib import Path

    from consult.configfile import load_config
    from consult.roomkeys import store_of
    from consult.sealederrors import KeysBroken
    from huizhen.roomkeychain import with_master_key

    privacy = load_config(Path(args.config)).get("privacy") if args.config else None
    try:
        return store_of(data, with_master_key(privacy)).master_fingerprints()
    except KeysBroken:
        return set()


def _restored_json(found: Restored, args: argparse.Namespace, data: str) -> dict[str, Any]:
    return {
        "schema": "huizhen.restore/1",
        "name": found.backup.name,
        "made": iso_from_us(found.backup.made_us),
        "data": data,
        "dry_run": args.dry_run,
        "files": len(found.backup.files),
        "bytes": found.backup.bytes,
        "records": found.records,
        "changed": list(found.changed),
        "open_rooms": found.backup.open_rooms,
        "missing": list(found.missing),
        "other_keys": list(found.other_keys),
        "key": found.public_key.hex(),
    }


def _delete_again(args: argparse.Namespace, data: Path, signed_by: bytes) -> Redone:
    """Rooms that were deleted after the backup, by certificates of this machine's key or the backup's, are deleted.

    Raises:
        CertificateUnreadable: a file of ``--deletions`` is no certificate.
    """
    from pathlib import Path

    from consult.deletion import DeletionPlace
    from consult.deletioncertificate import load_certificate
    from consult.deletionredo import redo_deletions
    from consult.roomkeys import store_of
    from consult.servicestate import ServiceState
    from huizhen.roomkeychain import with_master_key
    from huizhen.signing import load_signer

    more = [load_certificate(path) for path in sorted(Path(args.deletions).glob("*.json"))] if args.deletions else []
    with ServiceState(data / STATE) as state:
        place = DeletionPlace(data, store_of(data, with_master_key()), load_signer(), state)
        return redo_deletions(place, more, trusted=[signed_by])


# -- migrate ---------------------------------------------------------------------------------------------------------


def _migrate(args: argparse.Namespace, console: Console) -> Exit:
    import sqlite3

    from consult.errors import StateBroken
    from consult.layout import contractions, read_layout
    from consult.operatingerrors import StateNewer
    from consult.servicestate import ServiceState
    from consult.statemigrations import MIGRATIONS

    path = service_folder(args) / STATE
    try:
        layout = read_layout(path, MIGRATIONS)
    except sqlite3.Error as error:
        raise StateBroken(str(path), str(error)) from error
    if layout.unknown:
        raise StateNewer(str(path), ", ".join(layout.unknown))
    unsafe = contractions(layout.pending, MIGRATIONS)
    if args.apply:
        ServiceState(path).close()
    if wants_json(args):
        console.json(
            {
                "schema": "huizhen.migrate/1",
                "path": str(path),
                "had": list(layout.applied),
                "pending": [] if args.apply else list(layout.pending),
                "applied": list(layout.pending) if args.apply else [],
                "needs_stop": list(unsafe),
            }
        )
        return Exit.DONE
    if not layout.pending:
        console.line(console.tr("roombackup.migrate.current", path=str(path)))
        return Exit.DONE
    if args.apply:
        console.line(console.tr("roombackup.migrate.done", path=str(path), names=console.tr.listed(layout.pending)))
        console.note(console.tr("roombackup.migrate.copy", path=f"{path}.before-{layout.pending[0]}"))
        return Exit.DONE
    console.line(console.tr("roombackup.migrate.pending", path=str(path), names=console.tr.listed(layout.pending)))
    if unsafe:
        console.note(console.tr("roombackup.migrate.unsafe", names=console.tr.listed(unsafe)))
    else:
        console.note(console.tr("roombackup.migrate.safe"))
    return Exit.DONE
