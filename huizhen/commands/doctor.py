"""``huizhen doctor``: what is plugged in, what cannot be used and why, what is heard on the bus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from huizhen.exits import Exit
from huizhen.links import seconds

if TYPE_CHECKING:
    import argparse

    from diag.adapters import Candidate, Heard
    from diag.doipdiscovery import DoipGateway
    from huizhen.cli import Commands
    from huizhen.console import Console
    from huizhen.language import Translator
    from huizhen.prerequisites import Prerequisite

__all__ = ["add_parser", "run"]

_BITRATES: Final = (500_000, 250_000, 1_000_000, 125_000)
_HEARTBEATS: Final = 2
"""Identifiers that a gateway may let through although it hides the rest."""


def add_parser(commands: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    """Names the options of ``doctor``."""
    parser = commands.add_parser(
        "doctor",
        parents=[common],
        help=tr("doctor.help"),
        description=tr("doctor.description"),
        epilog=tr("doctor.epilog"),
    )
    parser.add_argument("ports", nargs="*", metavar="PORT", help=tr("doctor.ports"))
    parser.add_argument("--no-listen", action="store_true", help=tr("doctor.no_listen"))
    parser.add_argument("--network", action="store_true", help=tr("doctor.network"))
    parser.add_argument("--service", action="store_true", help=tr("doctor.service"))
    parser.add_argument("--listen", type=seconds, default=0.5, metavar="S", help=tr("doctor.listen"))


def run(args: argparse.Namespace, console: Console) -> int:
    """Looks, listens, prints; returns the exit code."""
    from diag.adapters import find_adapters
    from huizhen.prerequisites import prerequisites

    console.stage(console.tr("doctor.looking"))
    found = find_adapters(args.ports)
    gateways = _gateways(console) if args.network else ()
    console.stage_done()
    is_json = getattr(args, "json", False) or getattr(args, "jsonl", False)
    usable = [one for one in found if one.is_usable]
    if not is_json:
        _show(found, console)
        _show_gateways(gateways, console, is_asked=args.network)
    heard: dict[str, Heard | OSError] = {}
    for one in usable:
        if args.no_listen or one.kind not in ("slcan", "socketcan"):
            continue
        heard[one.channel] = _listen(one, args.listen, console)
        if not is_json:
            _show_bus(one, heard[one.channel], console)
    if is_json:
        gateway_list = [one.to_json() for one in gateways]
        needs = [one.to_json() for one in prerequisites()]
        console.json(
            _to_json(found, heard) | {"gateways": gateway_list, "remembered": _remembered(), "prerequisites": needs}
        )
    else:
        _show_prerequisites(prerequisites(), console, for_service=args.service)
        if usable:
            _show_next(usable, heard, console)
    return Exit.DONE if usable or gateways else Exit.NO_ADAPTER


def _gateways(console: Console) -> tuple[DoipGateway, ...]:
    """Cars with an Ethernet plug on this machine's networks."""
    import asyncio

    from diag.doipdiscovery import find_gateways

    try:
        return asyncio.run(find_gateways())
    except OSError as error:
        console.note(console.tr("doctor.no_network", reason=error.strerror or str(error)))
        return ()


def _show_gateways(gateways: tuple[DoipGateway, ...], console: Console, *, is_asked: bool) -> None:
    if not is_asked:
        return
    console.line()
    console.line(console.style(console.tr("doctor.gateways"), "title"))
    if gateways:
        console.table([(f"--adapter {one.adapter}", one.vin or "", f"0x{one.logical_address:04X}") for one in gateways])
    else:
        console.line("  " + console.tr("doctor.no_gateway"))


def _remembered() -> str | None:
    from huizhen.settings import recall

    kept = recall()
    return kept.words() if kept else None


def _listen(adapter: Candidate, each_s: float, console: Console) -> Heard | OSError:
    from diag.adapters import listen_to

    console.stage(console.tr("doctor.listening", channel=adapter.channel))
    try:
        return listen_to(adapter, _BITRATES, each_s)
    except OSError as error:
        return error
    finally:
        console.stage_done()


def _show(found: tuple[Candidate, ...], console: Console) -> None:
    from huizhen.console import program_name

    tr, program = console.tr, program_name()
    usable = [one for one in found if one.is_usable]
    rejected = [one for one in found if not one.is_usable]
    console.line(console.style(tr("doctor.adapters"), "title"))
    if usable:
        console.table([(one.channel, one.name, " ".join(one.options)) for one in usable])
    else:
        console.wrapped(tr("doctor.none"), indent="  ")
        for way in (
            tr("doctor.none_slcan"),
            tr("doctor.none_elm327", program=program),
            tr("doctor.none_doip", program=program),
            tr("doctor.none_demo", program=program),
        ):
            console.wrapped(way, indent="    ", first="  - ")
    if rejected:
        console.line()
        console.line(console.style(tr("doctor.rejected"), "title"))
        for one in rejected:
            why = one.why.in_language(tr.lang) if one.why else ""
            console.wrapped(tr("doctor.because", channel=one.channel, name=one.name, why=why), indent="  ")
            if one.fix:
                console.line("    " + one.fix.in_language(tr.lang))


def _show_prerequisites(found: tuple[Prerequisite, ...], console: Console, *, for_service: bool) -> None:
    """What is missing and how to get it; with ``-v`` also what is there, and what few people need."""
    tr, lang = console.tr, console.tr.lang
    areas = ("car", "report", *(("work",) if console.verbose else ()), *(("service",) if for_service else ()))
    chosen = [one for one in found if one.area in areas]
    missing = [one for one in chosen if not one.is_there]
    console.line()
    console.line(console.style(tr("doctor.missing"), "title"))
    if not missing:
        console.line("  " + console.style(tr("doctor.nothing_missing"), "good"))
    by_fix: dict[str, list[Prerequisite]] = {}
    for one in missing:
        by_fix.setdefault(one.fix.in_language(lang), []).append(one)
    for fix, group in by_fix.items():
        names = tr.listed(one.name for one in group)
        purposes = tr.listed(dict.fromkeys(one.purpose.in_language(lang) for one in group))
        console.wrapped(tr("doctor.needed_for", name=names, purpose=purposes), indent="    ", first="  ")
        console.wrapped(fix, indent="      ", first="    → ")
    if console.verbose:
        console.line()
        console.line(console.style(tr("doctor.there"), "title"))
        console.table([(one.name, one.purpose.in_language(lang)) for one in chosen if one.is_there])
    else:
        optional = [one.name for one in found if one.area == "work" and not one.is_there]
        if optional:
            console.wrapped(tr("doctor.optional", names=tr.listed(optional)), indent="  ", first="  ")


def _has(module: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(module) is not None


def _verdict(heard: Heard | OSError) -> str:
    """One word for what is on the bus."""
    if isinstance(heard, OSError):
        return "unreadable"
    if heard.frames and heard.identifiers <= _HEARTBEATS:
        return "gateway"
    if heard.frames:
        return "traffic"
    return "wrong-bitrate" if heard.errors else "silent"


def _show_bus(adapter: Candidate, heard: Heard | OSError, console: Console) -> None:
    tr = console.tr
    console.line()
    console.line(console.style(tr("doctor.bus", channel=adapter.channel), "title"))
    if isinstance(heard, OSError):
        console.wrapped(tr("doctor.unreadable", reason=heard.strerror or str(heard)), indent="  ")
        return
    if heard.frames:
        bitrate = f"{heard.bitrate // 1000} kbit/s" if heard.bitrate else tr("doctor.unknown_bitrate")
        console.line(
            "  " + tr("doctor.heard", bitrate=bitrate, rate=f"{heard.frames:.0f}", identifiers=heard.identifiers)
        )
    tried = tr.listed(str(rate // 1000) for rate in heard.tried)
    said = {
        "traffic": tr("doctor.verdict_traffic"),
        "gateway": tr("doctor.verdict_gateway"),
        "silent": tr("doctor.verdict_silent", tried=tried),
        "wrong-bitrate": tr("doctor.verdict_wrong_bitrate", errors=heard.errors, tried=tried),
    }
    console.wrapped(said[_verdict(heard)], indent="  ")


def _show_next(usable: list[Candidate], heard: dict[str, Heard | OSError], console: Console) -> None:
    from huizhen.console import program_name

    best = max(usable, key=lambda one: _has_frames(heard.get(one.channel)))
    words = list(best.options)
    told = heard.get(best.channel)
    if best.kind == "slcan":
        bitrate = told.bitrate if _has_frames(told) and not isinstance(told, OSError) and told else None
        words += ["-b", str(bitrate or _BITRATES[0])]
    console.line()
    console.line(console.tr("doctor.next", command=f"{program_name()} scan {' '.join(words)}"))


def _has_frames(heard: Heard | OSError | None) -> bool:
    return heard is not None and not isinstance(heard, OSError) and heard.frames > 0


def _to_json(found: tuple[Candidate, ...], heard: dict[str, Heard | OSError]) -> dict[str, Any]:
    def told(one: Candidate) -> dict[str, Any]:
        return {
            "kind": one.kind,
            "channel": one.channel,
            "name": one.name,
            "options": list(one.options),
            "bitrate": one.bitrate,
            "why": one.why.to_json() if one.why else None,
            "fix": one.fix.to_json() if one.fix else None,
        }

    def bus(one: Heard | OSError) -> dict[str, Any]:
        if isinstance(one, OSError):
            return {"verdict": "unreadable", "reason": one.strerror or str(one)}
        return {
            "verdict": _verdict(one),
            "bitrate": one.bitrate,
            "frames_per_s": round(one.frames, 1),
            "identifiers": one.identifiers,
            "error_frames": one.errors,
            "tried": one.tried,
        }

    return {
        "schema": "huizhen.doctor/1",
        "adapters": [told(one) for one in found if one.is_usable],
        "rejected": [told(one) for one in found if not one.is_usable],
        "buses": {channel: bus(one) for channel, one in heard.items()},
        "drivers": {"elm327": _has("obd"), "doip": True, "slcan": True},
    }
