"""``huizhen case join|share|sync``: a workshop's library in its network, and what other case commands ask of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from huizhen.carmemory import network_is_off, network_of, with_client
from huizhen.console import wants_json
from huizhen.exits import Exit

if TYPE_CHECKING:
    import argparse

    from casebase.library import Library
    from consult.networkclient import NetworkClient
    from huizhen.console import Console
    from huizhen.language import Translator

__all__ = ["ACTIONS", "add_actions", "add_notes", "show_notes", "tell_after_close"]


def add_actions(actions: Any, common: argparse.ArgumentParser, tr: Translator) -> list[argparse.ArgumentParser]:
    """Names their options; returns their parsers."""
    texts = {
        "join": (tr("casenetwork.join.help"), tr("casenetwork.join.description"), tr("casenetwork.join.epilog")),
        "share": (tr("casenetwork.share.help"), tr("casenetwork.share.description"), tr("casenetwork.share.epilog")),
        "sync": (tr("casenetwork.sync.help"), tr("casenetwork.sync.description"), tr("casenetwork.sync.epilog")),
    }
    made = {
        name: actions.add_parser(name, parents=[common], help=help_, description=description, epilog=epilog)
        for name, (help_, description, epilog) in texts.items()
    }
    made["join"].add_argument("--server", metavar="URL", required=True, help=tr("casenetwork.server"))
    made["join"].add_argument("--code", metavar="CODE", required=True, help=tr("casenetwork.code"))
    made["join"].add_argument("--ca", metavar="FILE", help=tr("casenetwork.ca"))
    made["share"].add_argument("job", metavar="JOB", nargs="?", type=int, help=tr("casenetwork.job"))
    made["share"].add_argument("--vin", metavar="VIN", help=tr("casenetwork.vin"))
    for name in ("share", "sync"):
        made[name].add_argument("--server", metavar="URL", help=tr("casenetwork.server_of"))
    return list(made.values())


def _join(args: argparse.Namespace, console: Console, library: Library) -> int:
    import asyncio
    from pathlib import Path

    from casebase.networktable import JoinedNetwork
    from casebase.sharing import fingerprint, site_of
    from huizhen.errors import BadUsage

    server = args.server.rstrip("/")
    if not server.lower().startswith(("http://", "https://")):
        raise BadUsage(console.tr("consult.server_scheme", url=args.server))
    ca = str(Path(args.ca).resolve()) if args.ca else ""
    private = library.network.site_key()
    asked = JoinedNetwork(server, "", "", ca)
    told = asyncio.run(with_client(asked, private, lambda client: client.join(args.code)))
    library.network.join(JoinedNetwork(server, str(told["service"]), str(told["reviewed"]), ca))
    mark = fingerprint(site_of(private))
    if wants_json(args):
        console.json(
            {
                "schema": "huizhen.joined/1",
                "server": server,
                "site": told["site"],
                "region": told["region"],
                "key": mark,
            }
        )
    else:
        console.line(console.tr("casenetwork.joined", site=told["site"], server=server, mark=mark))
    return Exit.DONE


def _share(args: argparse.Namespace, console: Console, library: Library) -> int:
    import asyncio

    from huizhen.errors import BadUsage

    tr, joined = console.tr, network_of(library, args.server)
    if args.vin and args.job is None:
        raise BadUsage(tr("casenetwork.vin_of_job"))
    if args.job is None:
        jobs = [(job, ticket, "") for job, ticket in library.network.waiting()]
    else:
        ticket, state = library.network.ticket_of(args.job) or ("", "")
        if state == "refused":
            raise BadUsage(tr("casenetwork.refused", job=args.job))
        if not ticket and not args.vin:
            raise BadUsage(tr("casenetwork.needs_vin", job=args.job))
        jobs = [(args.job, ticket, args.vin or "")]
    private = library.network.site_key()
    told = asyncio.run(with_client(joined, private, lambda client: _tell(client, jobs, library)))
    if wants_json(args):
        console.json({"schema": "huizhen.shared/1", "server": joined.server, "jobs": told})
    else:
        console.line(tr("casenetwork.shared", n=len(told), server=joined.server))
    return Exit.DONE


async def _tell(client: NetworkClient, jobs: list[tuple[int, str, str]], library: Library) -> list[int]:
    """Tells of jobs one after the other; each that is told is marked at once."""
    told = []
    for job, ticket, vin in jobs:
        await client.tell_visit(library.network.visit(job), ticket=ticket, vin=vin)
        library.network.mark_sent(job)
        told.append(job)
    return told


def _sync(args: argparse.Namespace, console: Console, library: Library) -> int:
    import asyncio

    from casebase.sharing import encoded
    from diag.facts import Text

    tr, joined = console.tr, network_of(library, args.server)
    private = library.network.site_key()
    document, signed = library.exchange.export()

    async def exchange(client: NetworkClient) -> tuple[int, dict[str, Any]]:
        jobs = [(job, ticket, "") for job, ticket in library.network.waiting()]
        told = await _tell(client, jobs, library)
        await client.tell_counts(signed)
        return len(told), await client.get_counts()

    shared, network = asyncio.run(with_client(joined, private, exchange))
    new = patterns = 0
    for name, trust, least in (("merged", joined.service, 5), ("reviewed", joined.reviewed, 1)):
        data = json.dumps(network[name], ensure_ascii=False).encode()
        taken, fresh = library.exchange.take_bytes(data, f"{joined.server} ({name})", trust=trust, least=least)
        patterns += len(taken.patterns)
        new += fresh or 0
    notes = library.network.put_notes(
        (str(note["what"]), str(note["model"]), Text(str(note["note"]["en"]), str(note["note"]["zh"])))
        for note in network["notes"]
    )
    if wants_json(args):
        console.json(
            {
                "schema": "huizhen.sync/1",
                "server": joined.server,
                "site": encoded(document.site),
                "told": len(document.patterns),
                "visits": shared,
                "sites": network["sites"],
                "patterns": patterns,
                "new": new,
                "notes": notes,
            }
        )
        return Exit.DONE
    console.line(tr("casenetwork.told", patterns=f"{len(document.patterns):,}", visits=f"{shared:,}"))
    console.line(tr("casenetwork.heard", patterns=f"{patterns:,}", new=f"{new:,}", sites=network["sites"], notes=notes))
    return Exit.DONE


ACTIONS: Final = {"join": _join, "share": _share, "sync": _sync}


def tell_after_close(args: argparse.Namespace, console: Console, library: Library) -> None:
    """Tells the network what became of a job, where its scan was given a ticket; offline it waits for the next sync."""
    import asyncio

    from casebase.errors import LibraryError
    from consult.errors import ConsultError

    job, joined = args.job, library.network.joined
    if getattr(args, "no_network", False):
        library.network.remember_job(job, "", refused=True)
        return
    ticket, state = library.network.ticket_of(job) or ("", "")
    if joined is None or not ticket or state == "refused" or network_is_off():
        return
    library.network.mark_waiting(job)
    try:
        private = library.network.site_key()
        asyncio.run(with_client(joined, private, lambda client: _tell(client, [(job, ticket, "")], library)))
    except (ConsultError, LibraryError) as error:
        console.note(console.tr("casenetwork.told_later", reason=console.tr.error(error)))
        return
    if not wants_json(args):
        console.note(console.tr("casenetwork.told_now", server=joined.server))


def add_notes(cases: dict[str, Any], library: Library, model: str) -> dict[str, Any]:
    """CASES with what research says of its fixes and codes on this model, under ``notes``."""
    asked = [*(str(match["case_id"]) for match in cases["matches"]), *cases["unexplained"]]
    notes = [{"what": what, "note": note.to_json()} for what, note in library.network.notes_for(asked, model)]
    return {**cases, "notes": notes} if notes else cases


def show_notes(cases: dict[str, Any], console: Console) -> None:
    """Prints them."""
    for one in cases.get("notes", ()):
        console.wrapped(
            console.tr("casenetwork.note", text=one["note"][console.tr.lang]), indent="     ", first="   ! "
        )
