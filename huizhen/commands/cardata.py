"""``huizhen consult car|forget|retention``: what is held about a car, all of it deleted, and what goes when."""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from huizhen.console import wants_json
from huizhen.exits import Exit
from huizhen.roomservice import STATE, data_folder, iso_from_us

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from consult.cardata import Forgotten
    from consult.retention import RoomTerm
    from consult.service import Service
    from consult.servicestate import AuditEntry
    from huizhen.cli import Commands
    from huizhen.console import Console
    from huizhen.language import Translator

__all__ = ["ACTIONS", "add_parsers", "open_service", "run"]

ACTIONS: Final = ("car", "forget", "retention")
_OF_A_RUNNING_ONE: Final = ("tls_auto", "tls_cert", "tls_key", "trust_port")


def add_parsers(actions: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    """Names the actions and their options."""
    car = actions.add_parser(
        "car",
        parents=[common],
        help=tr("privacy.car.help"),
        description=tr("privacy.car.description"),
        epilog=tr("privacy.car.epilog"),
    )
    forget = actions.add_parser(
        "forget",
        parents=[common],
        help=tr("privacy.forget.help"),
        description=tr("privacy.forget.description"),
        epilog=tr("privacy.forget.epilog"),
    )
    retention = actions.add_parser(
        "retention",
        parents=[common],
        help=tr("privacy.retention.help"),
        description=tr("privacy.retention.description"),
        epilog=tr("privacy.retention.epilog"),
    )
    for one in (car, forget):
        one.add_argument("vin", metavar="VIN", help=tr("privacy.vin"))
    car.add_argument("-o", "--output", required=True, metavar="DIR", help=tr("privacy.car.output"))
    forget.add_argument("--reason", metavar="TEXT", help=tr("privacy.forget.reason"))
    forget.add_argument("--dry-run", action="store_true", help=tr("privacy.forget.dry_run"))
    retention.add_argument("--dry-run", action="store_true", help=tr("privacy.retention.dry_run"))
    retention.add_argument("--hold", metavar="ROOM", help=tr("privacy.retention.hold"))
    retention.add_argument("--release", metavar="ROOM", help=tr("privacy.retention.release"))
    retention.add_argument("--reason", metavar="TEXT", help=tr("privacy.retention.reason"))
    retention.add_argument("--trust-clock", action="store_true", help=tr("privacy.retention.trust_clock"))
    for one in (car, forget, retention):
        one.add_argument("--data", metavar="DIR", help=tr("consult.option.data"))
        one.add_argument("--config", metavar="FILE", help=tr("consult.option.config"))


def run(args: argparse.Namespace, console: Console) -> int:
    """Does what the action says; returns the exit code."""
    with open_service(args) as service:
        return {"car": _car, "forget": _forget, "retention": _retention}[args.action](service, args, console)


@contextmanager
def open_service(args: argparse.Namespace) -> Iterator[Service]:
    """The service's data, as options or its configuration name them; it does not run here, and may elsewhere.

    Raises:
        ConfigBroken, StateBroken: they cannot be used.
    """
    from consult.configfile import load_config
    from consult.service import Service, ServiceConfig
    from huizhen.roomkeychain import with_master_key
    from huizhen.signing import load_signer

    settings = load_config(Path(args.config)) if args.config else {}
    settings = {name: value for name, value in settings.items() if name not in _OF_A_RUNNING_ONE}
    settings["data"] = Path(args.data) if args.data else settings.get("data") or data_folder(args)
    settings["privacy"] = with_master_key(settings.get("privacy"))
    state = settings["data"] / STATE
    service = Service(ServiceConfig(state=state if state.exists() else None, signer=load_signer(), **settings))
    try:
        yield service
    finally:
        service.close()


def _who() -> str:
    import getpass

    try:
        return f"cli:{getpass.getuser()}"
    except (OSError, KeyError):
        return "cli:?"


def _entry(what: str, room: str = "", detail: str = "") -> AuditEntry:
    from consult.servicestate import AuditEntry

    return AuditEntry(_now_us(), what, _who(), room, detail)


def _note(service: Service, what: str, room: str = "", detail: str = "") -> None:
    if service.config.state is not None:
        service.state.note(_entry(what, room, detail))


def _now_us() -> int:
    return time.time_ns() // 1000


# -- car -------------------------------------------------------------------------------------------------------------


def _car(service: Service, args: argparse.Namespace, console: Console) -> int:
    from consult.cardata import held_about_car
    from consult.carexport import export_car
    from consult.carindex import checked_vin

    vin = checked_vin(args.vin)
    held = held_about_car(service, vin)
    index = export_car(Path(args.output), vin, held, service.keys, _now_us())
    _note(service, "car-held", detail=f"{len(held.rooms)} rooms")
    left = Exit.REFUSED if index["missing"] else Exit.DONE
    if wants_json(args):
        console.json(index)
        return left
    console.line(console.tr("privacy.car.done", rooms=len(held.rooms), files=len(index["files"]), path=args.output))
    if not held.rooms:
        console.note(console.tr("privacy.car.no_room"))
    for one in held.unreadable:
        console.error(console.tr("privacy.car.unreadable", what=one.what, reason=console.tr.error(one.error)))
    if index["missing"]:
        console.note(console.tr("privacy.car.missing", n=len(index["missing"])))
    if held.unknown:
        console.note(console.tr("privacy.car.unknown", n=len(held.unknown)))
    return left


# -- forget ----------------------------------------------------------------------------------------------------------


def _forget(service: Service, args: argparse.Namespace, console: Console) -> int:
    from consult.cardata import Forgotten, forget_car, rooms_of_car
    from consult.carindex import checked_vin
    from huizhen.errors import BadUsage

    vin = checked_vin(args.vin)
    rooms, unknown = rooms_of_car(service, vin)
    if args.dry_run:
        done = Forgotten()
    elif not args.reason or not args.reason.strip():
        raise BadUsage(console.tr("privacy.forget.needs_reason"))
    else:
        done = forget_car(service, vin, args.reason, _who(), _now_us())
        _note(service, "car-forget", detail=f"{len(done.certificates)} deleted, {len(done.kept)} kept")
    left = Exit.REFUSED if done.kept else Exit.DONE
    if wants_json(args):
        console.json(
            {
                "schema": "huizhen.car-forgotten/1",
                "vin": vin,
                "dry_run": args.dry_run,
                "rooms": [room.ident for room in rooms if room.path is not None],
                "certificates": done.certificates,
                "kept": [one.to_json() for one in done.kept],
                "unknown": unknown,
            }
        )
        return left
    if args.dry_run:
        console.line(console.tr("privacy.forget.would", n=sum(room.path is not None for room in rooms)))
        for room in rooms:
            console.line(f"  {room.ident}")
        if not rooms:
            console.note(console.tr("privacy.car.no_room"))
    else:
        _tell_forgotten(service, done, console)
    if unknown:
        console.note(console.tr("privacy.car.unknown", n=len(unknown)))
    return left


def _tell_forgotten(service: Service, done: Forgotten, console: Console) -> None:
    console.line(console.tr("privacy.forget.done", n=len(done.certificates)))
    for certificate in done.certificates:
        if "room" in certificate:
            console.line(f"  {service.config.data / 'deletions' / (certificate['room'] + '.json')}")
    for one in done.kept:
        reason = console.tr.error(one.error)
        if one.is_part:
            console.error(console.tr("privacy.forget.kept_part", part=one.what, reason=reason))
        else:
            console.error(console.tr("privacy.forget.kept", room=one.what, reason=reason))


# -- retention -------------------------------------------------------------------------------------------------------


def _retention(service: Service, args: argparse.Namespace, console: Console) -> int:
    from consult.privacystore import PrivacyStore
    from consult.retention import terms_of
    from huizhen.errors import BadUsage

    tr, store = console.tr, PrivacyStore(service.state)
    if args.hold and args.release:
        raise BadUsage(tr("privacy.retention.both"))
    if args.dry_run and (args.hold or args.release or args.trust_clock):
        raise BadUsage(tr("privacy.retention.dry_run_alone"))
    if args.hold or args.release:
        ident = args.hold or args.release
        if not service.state.knows_room(ident):
            raise BadUsage(tr("privacy.retention.no_room", room=ident))
        reason = " ".join((args.reason or "").split())
        if args.hold and not reason:
            raise BadUsage(tr("privacy.retention.needs_reason"))
        note = _entry("hold" if args.hold else "hold-end", ident, reason)
        store.change(ident, (note,), hold=reason if args.hold else "", due_us=0)
    clock = store.clock()
    if args.trust_clock and clock is not None:
        store.put_clock(clock[1], None)
        _note(service, "clock-trusted")
        clock = store.clock()
    now_us, folder = _now_us(), service.config.data
    terms = terms_of(
        store.kept_rooms(),
        service.config.privacy,
        now_us,
        clock[0] if clock is not None else now_us,
        is_there=lambda room: (folder / room.file).is_file(),
    )
    known = {term.room.file for term in terms}
    others = sorted(path.name for path in folder.glob("*.room") if path.name not in known)
    leapt = clock is not None and clock[2] is not None
    if wants_json(args):
        told = [term.to_json() | {"until": _iso(term.until_us), "closed": _iso(term.room.closed_us)} for term in terms]
        console.json(
            {
                "schema": "huizhen.retention/1",
                "rooms": told,
                "others": others,
                "clock_leapt": leapt,
                "configured": bool(args.config),
            }
        )
        return Exit.DONE
    _show_terms(terms, console)
    if not args.config:
        console.note(tr("privacy.retention.unconfigured", days=service.config.privacy.retention_days))
    if others:
        console.note(tr("privacy.retention.others", n=len(others), folder=str(folder)))
    if leapt:
        console.error(tr("privacy.retention.leapt"))
    return Exit.DONE


def _iso(t_us: int | None) -> str | None:
    return iso_from_us(t_us) if t_us is not None else None


def _show_terms(terms: list[RoomTerm], console: Console) -> None:
    tr = console.tr
    if not terms:
        console.line(tr("privacy.retention.none"))
        return
    words: dict[str, Any] = {
        "open": tr("privacy.retention.open"),
        "hold": tr("privacy.retention.held"),
        "kept": tr("privacy.retention.kept"),
        "due": tr("privacy.retention.due"),
    }
    rows = [
        (
            term.room.ident,
            words[term.state],
            str(term.days or "–"),
            (_iso(term.until_us) or "–")[:10],
            term.room.privacy.hold,
        )
        for term in terms
    ]
    head = (
        tr("privacy.retention.head_room"),
        tr("privacy.retention.head_state"),
        tr("privacy.retention.head_days"),
        tr("privacy.retention.head_until"),
        tr("privacy.retention.head_hold"),
    )
    console.table(rows, head)
