"""``huizhen bundle``: session bundles looked at, checked, and made fit to be passed on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from huizhen.exits import Exit

if TYPE_CHECKING:
    import argparse

    from diag.bundle import Bundle
    from diag.facts import Json
    from diag.tape import Tape
    from diag.vehiclereport import VehicleReport
    from huizhen.cli import Commands
    from huizhen.console import Console
    from huizhen.language import Translator
    from huizhen.sessionbundle import Session

__all__ = ["add_parser", "run"]

_DIGITS: Final = 12


def add_parser(commands: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    """Names the options of ``bundle``."""
    parser = commands.add_parser(
        "bundle",
        parents=[common],
        help=tr("bundle.help"),
        description=tr("bundle.description"),
        epilog=tr("bundle.epilog"),
    )
    actions = parser.add_subparsers(dest="action", metavar=tr("cli.command"), title=tr("bundle.actions"))
    info = actions.add_parser("info", parents=[common], help=tr("bundle.info.help"))
    verify = actions.add_parser("verify", parents=[common], help=tr("bundle.verify.help"))
    redact = actions.add_parser("redact", parents=[common], help=tr("bundle.redact.help"))
    for action in (info, verify, redact):
        action.add_argument("file", metavar="FILE", help=tr("bundle.file"))
    verify.add_argument("--trust", metavar="NAME", help=tr("bundle.verify.trust"))
    redact.add_argument("-o", "--output", metavar="FILE", required=True, help=tr("bundle.redact.output"))


def run(args: argparse.Namespace, console: Console) -> int:
    """Does what the action says; returns the exit code."""
    if args.action is None:
        from huizhen.errors import BadUsage

        raise BadUsage(console.tr("bundle.no_action"))
    return {"info": _info, "verify": _verify, "redact": _redact}[args.action](args, console)


def _is_json(args: argparse.Namespace) -> bool:
    return bool(getattr(args, "json", False) or getattr(args, "jsonl", False))


def _whose(bundle: Bundle) -> tuple[str, str]:
    """``own``, ``known``, ``unknown`` or ``none``, and the name of a known one."""
    from huizhen.signing import known_keys, own_public_key

    if bundle.signature is None:
        return "none", ""
    key = bundle.signature.public_key
    if key == own_public_key():
        return "own", ""
    name = known_keys().get(key)
    return ("unknown", "") if name is None else ("known", name)


def _signed_by(bundle: Bundle, console: Console) -> str:
    whose, name = _whose(bundle)
    mark = bundle.signature.fingerprint if bundle.signature is not None else ""
    if whose == "own":
        return console.tr("bundle.signed_own", mark=mark)
    if whose == "known":
        return console.tr("bundle.signed_known", name=name, mark=mark)
    return console.tr("bundle.signed_unknown", mark=mark)


def _checks(bundle: Bundle) -> Json:
    whose, name = _whose(bundle)
    signature = bundle.signature
    return {
        "intact": bundle.is_intact,
        "faults": [fault.to_json() for fault in bundle.faults],
        "signature": None
        if signature is None
        else {"good": signature.is_good, "fingerprint": signature.fingerprint, "by": whose, "name": name or None},
        "sha256": bundle.digest,
    }


def _info(args: argparse.Namespace, console: Console) -> int:
    from huizhen.sessionbundle import load_session

    session = load_session(args.file)
    if _is_json(args):
        console.json(
            {
                **session.bundle.manifest,
                "schema": "huizhen.bundle-info/1",
                **_checks(session.bundle),
                "vehicle": session.report.get("vehicle"),
                "started": session.report.get("started"),
                "complete": session.report.get("complete"),
                "requests": len(session.tape.entries),
                "frames": len(session.tape.frames),
                "read_with": [source.to_json() for source in session.sources],
                "notes": session.texts("notes"),
                "consents": session.texts("consents"),
            }
        )
        return Exit.DONE
    _show_info(session, console)
    return Exit.DONE


def _show_info(session: Session, console: Console) -> None:
    tr, bundle, report = console.tr, session.bundle, session.report
    manifest, tape = bundle.manifest, session.tape
    counts = {
        "requests": len(tape.entries),
        "frames": len(tape.frames),
        "seconds": f"{tape.duration_s:.1f}",
    }
    is_whole = tape.ending == "finished"
    rows = [
        (tr("bundle.info.car"), _car(report, tr)),
        (
            tr("bundle.info.made"),
            tr("bundle.info.made_by", created=manifest.get("created", ""), by=manifest.get("made_by", "")),
        ),
        (
            tr("bundle.info.visit"),
            tr("bundle.info.counts", **counts) if is_whole else tr("bundle.info.counts_ended", **counts),
        ),
        (
            tr("bundle.info.found"),
            tr(
                "bundle.info.found_counts",
                dtcs=len(report.get("dtcs") or ()),
                findings=len(report.get("findings") or ()),
            ),
        ),
    ]
    if tape.traits is not None:
        rows.append((tr("bundle.info.link"), f"{tape.traits.info.interface} {tape.traits.info.channel}"))
    for source in session.sources:
        inside = f" ({tr('bundle.info.inside')})" if source.member else ""
        rows.append((tr("bundle.info.read_with"), f"{source.name}  SHA-256 {source.sha256[:_DIGITS]}…{inside}"))
    rows.append((tr("bundle.info.signature"), _signed_by(bundle, console)))
    if isinstance(origin := manifest.get("origin"), dict):
        rows.append((tr("bundle.info.origin"), _origin(origin, tr)))
    rows += [(tr("bundle.info.note"), _stamped(item)) for item in session.texts("notes")]
    rows += [(tr("bundle.info.consent"), _stamped(item)) for item in session.texts("consents")]
    console.table(rows)
    console.line()
    members = manifest["members"]
    console.line(console.style(tr("bundle.info.members"), "title"))
    console.table([(name, f"{told['size']:,}", f"{told['sha256'][:_DIGITS]}…") for name, told in members.items()])


def _car(report: Json, tr: Translator) -> str:
    vehicle = report.get("vehicle")
    told = vehicle if isinstance(vehicle, dict) else {}
    words = [told.get("vin") or tr("scan.no_vin"), told.get("make"), told.get("model"), told.get("model_year")]
    return " ".join(str(word) for word in words if word)


def _origin(origin: Json, tr: Translator) -> str:
    sha = str(origin.get("sha256", ""))[:_DIGITS]
    taken = origin.get("redacted")
    if isinstance(taken, dict):
        vins, serials, frames = (taken.get(name, 0) for name in ("vins", "serials", "position_frames"))
        return tr("bundle.info.redacted", sha=sha, vins=vins, serials=serials, frames=frames)
    return tr("bundle.info.again", sha=sha)


def _stamped(item: Json) -> str:
    return f"{item.get('t', '')}  {item.get('text', '')}"


def _verify(args: argparse.Namespace, console: Console) -> int:
    from diag.bundle import read_bundle
    from huizhen.errors import BadUsage
    from huizhen.signing import trust

    bundle = read_bundle(args.file)
    if args.trust:
        if not bundle.is_intact or bundle.signature is None:
            raise BadUsage(console.tr("bundle.verify.not_trusted"))
        trust(bundle.signature.public_key, args.trust)
    if _is_json(args):
        console.json({"schema": "huizhen.bundle-verify/1", "file": args.file, **_checks(bundle)})
        return Exit.DONE if bundle.is_intact else Exit.USAGE
    if bundle.is_intact:
        console.line(console.style(console.tr("bundle.verify.good", path=args.file, n=len(bundle.members)), "good"))
    else:
        console.line(console.style(console.tr("bundle.verify.bad", path=args.file), "stop"))
        for fault in bundle.faults:
            console.wrapped(fault.in_language(console.tr.lang), indent="    ", first="  · ")
    if bundle.signature is not None and bundle.signature.is_good:
        console.wrapped(_signed_by(bundle, console), indent="  ", first="  ")
    if args.trust and bundle.signature is not None:
        console.note(console.tr("bundle.trusted", mark=bundle.signature.fingerprint, name=args.trust))
    return Exit.DONE if bundle.is_intact else Exit.USAGE


def _redact(args: argparse.Namespace, console: Console) -> int:
    from pathlib import Path

    from diag.redaction import Redaction, names_on_tape, position_ids, pseudonyms, redact_tape, redact_value
    from huizhen.errors import BadUsage
    from huizhen.files import check_writable
    from huizhen.sessionbundle import load_session, save_session
    from huizhen.signing import load_signer

    if Path(args.output).resolve() == Path(args.file).resolve():
        raise BadUsage(console.tr("bundle.redact.same"))
    check_writable(args.output)
    session = load_session(args.file)
    vins, serials = names_on_tape(session.tape, _told_vins(session.report))
    plan = Redaction(pseudonyms(vins, year=_year(session.tape)), serials)
    databases = _databases_of(session)
    tape, plan = redact_tape(session.tape, plan, position_ids(databases))
    report: Json = redact_value(session.report, plan)
    made, why = _remade(session, tape, console)
    if made is not None:
        report = {**made.to_json(), "cases": report.get("cases")}
    else:
        console.note(console.tr("bundle.redact.not_remade", why=why))
    taken = {"vins": len(plan.vins), "serials": len(plan.serials), "position_frames": plan.positions}
    texts = {name: [redact_value(item, plan) for item in session.texts(name)] for name in ("notes", "consents")}
    save_session(
        args.output,
        tape,
        report,
        load_signer(),
        sources=session.sources,
        before=session.bundle,
        texts=texts,
        origin={"sha256": session.bundle.digest, "redacted": taken},
    )
    if _is_json(args):
        console.json({"schema": "huizhen.bundle-redact/1", "output": args.output, **taken})
        return Exit.DONE
    counts = {"vins": taken["vins"], "serials": taken["serials"], "frames": taken["position_frames"]}
    console.line(console.tr("bundle.redact.done", path=args.output, **counts))
    if texts["notes"] or texts["consents"]:
        console.note(console.tr("bundle.redact.read_notes"))
    return Exit.DONE


def _year(tape: Tape) -> int:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(tape.started_ns / 1e9, UTC).year


def _told_vins(report: Json) -> list[str]:
    """VINs that stand in a report: the car's, and those that ECUs give as theirs."""
    found: list[Any] = []
    vehicle = report.get("vehicle")
    if isinstance(vehicle, dict):
        found.append(vehicle.get("vin"))
    for ecu in report.get("ecus") or ():
        told = ecu.get("identification") if isinstance(ecu, dict) else None
        found += [value for name, value in told.items() if "vin" in name.lower()] if isinstance(told, dict) else []
    return [vin for vin in found if isinstance(vin, str)]


def _databases_of(session: Session) -> list[Any]:
    """The databases of the visit that are at hand, which tell where a position stands."""
    from dataclasses import replace

    from dbc.errors import DbcError
    from diag.errors import BundleBroken

    found: list[Any] = []
    for source in session.sources:
        if source.use == "dbc":
            alone = replace(session, sources=(replace(source, is_named=True),))
            try:
                found += alone.databases(())
            except (BundleBroken, DbcError):
                continue
    return found


def _remade(session: Session, tape: Tape, console: Console) -> tuple[VehicleReport | None, str]:
    """The report of the copy, from the copy's own bytes; None, and why, where that cannot be."""
    from dbc.errors import DbcError
    from diag.errors import DiagError
    from huizhen.sessionbundle import replay_session

    try:
        return replay_session(session, tape)[0], ""
    except (DiagError, DbcError) as error:
        return None, console.tr.error(error)
