"""``huizhen consult``: open an expert room for the car at hand, serve rooms for others, look at recorded ones."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING, Any

from huizhen.commands import cardata, roombackup, roomdeletion, roomrecord
from huizhen.console import wants_json
from huizhen.exits import Exit
from huizhen.links import add_link_options
from huizhen.roomaccounts import add_user_parser, user
from huizhen.roomlines import RoomStreams, add_line_options
from huizhen.roomnetwork import ACTIONS as NETWORK_ACTIONS
from huizhen.roomnetwork import add_network_parsers
from huizhen.roomnotices import add_notify_parser, notify
from huizhen.roomqueue import add_queue_parser, show_queue
from huizhen.roomservice import (
    add_serve_parser,
    add_service_options,
    data_folder,
    iso_from_us,
    seconds_option,
    serve,
    show_trust,
    time_of_day,
    until_stopped,
    warn_if_open,
)
from huizhen.roomwaiting import RoomWaiting
from huizhen.servicefolder import require_service_of

if TYPE_CHECKING:
    import argparse
    import asyncio
    from collections.abc import AsyncIterator
    from contextlib import AsyncExitStack

    from consult.agent import Agent
    from consult.messages import Event
    from diag.answers import RequestLink
    from diag.asked import AskedStream
    from diag.frames import FrameLink
    from diag.live import LiveStream
    from diag.samples import SampleBlock
    from huizhen.cli import Commands
    from huizhen.console import Console
    from huizhen.language import Translator
    from huizhen.links import OpenVehicle
    from huizhen.roomgrants import RoomGrants
    from huizhen.roomprivacy import PlacelessStream, PositionGate, RoomPrivacy
    from huizhen.roomrequests import RoomRequests

__all__ = ["add_parser", "run"]

_DEFAULT_PORT = 8443
_GOODBYE_S = 5.0
_LISTEN_S = 1.0
_GUESTS = ("expert", "lead", "observer")


def add_parser(commands: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    """Names the actions and their options."""
    parser = commands.add_parser(
        "consult",
        parents=[common],
        help=tr("consult.help"),
        description=tr("consult.description"),
        epilog=tr("consult.epilog"),
    )
    actions = parser.add_subparsers(dest="action", metavar=tr("cli.command"), title=tr("consult.action"), required=True)
    opening = actions.add_parser(
        "open",
        parents=[common],
        help=tr("consult.open.help"),
        description=tr("consult.open.description"),
        epilog=tr("consult.open.epilog"),
    )
    add_link_options(opening, tr, needs_frames=False)
    opening.add_argument("--symptom", default="", metavar="TEXT", help=tr("scan.symptom"))
    opening.add_argument("--listen", type=float, default=2.0, metavar="S", help=tr("scan.listen"))
    opening.add_argument("--library", metavar="FILE", help=tr("scan.library"))
    opening.add_argument("--name", default="", metavar="NAME", help=tr("consult.option.name"))
    add_line_options(opening, tr)
    remote = opening.add_argument_group(tr("consult.option.remote"))
    remote.add_argument("--server", metavar="URL", help=tr("consult.option.server"))
    remote.add_argument("--invite", metavar="CODE", help=tr("consult.option.invite"))
    remote.add_argument("--ca", metavar="FILE", help=tr("consult.option.ca"))
    remote.add_argument("--let-experts-in", action="store_true", help=tr("consult.option.let_experts_in"))
    add_service_options(opening.add_argument_group(tr("consult.option.embedded")), tr, port=0)
    opening.add_argument("--duration", type=seconds_option(tr), metavar="S", help=tr("consult.option.duration"))
    add_serve_parser(actions, common, tr)
    add_user_parser(actions, common, tr)
    add_queue_parser(actions, common, tr)
    add_notify_parser(actions, common, tr)
    add_network_parsers(actions, common, tr)
    roomrecord.add_parsers(actions, common, tr)
    roomdeletion.add_parsers(actions, common, tr)
    cardata.add_parsers(actions, common, tr)
    roombackup.add_parsers(actions, common, tr)


def run(args: argparse.Namespace, console: Console) -> int:
    """Opens a room or serves rooms; returns the exit code."""
    import asyncio

    require_service_of(args)
    if args.action in roomrecord.ACTIONS:
        return roomrecord.run(args, console)
    if args.action == "notify":
        return asyncio.run(notify(args, console))
    if args.action in cardata.ACTIONS:
        return cardata.run(args, console)
    if args.action in roomdeletion.ACTIONS:
        return roomdeletion.run(args, console)
    if args.action in roombackup.ACTIONS:
        return roombackup.run(args, console)
    actions = {"open": _open, "serve": serve, "user": user, "queue": show_queue, **NETWORK_ACTIONS}
    asyncio.run(actions[args.action](args, console))
    return Exit.DONE


# -- open ------------------------------------------------------------------------------------------------------------


def _check_usage(args: argparse.Namespace, console: Console) -> None:
    """Refuses options that contradict each other.

    Raises:
        BadUsage: they do.
    """
    from huizhen.errors import BadUsage

    if args.resume is not None and args.server:
        raise BadUsage(console.tr("roomlines.resume_alone"))
    if bool(args.server) != bool(args.invite):
        raise BadUsage(console.tr("consult.server_and_invite"))
    if args.let_experts_in and not args.server:
        raise BadUsage(console.tr("consult.experts_of_server"))
    if args.server and not args.server.lower().startswith(("http://", "https://")):
        raise BadUsage(console.tr("consult.server_scheme", url=args.server))


async def _open(args: argparse.Namespace, console: Console) -> None:
    """Scans the car, opens the room, streams until told to stop."""
    from contextlib import AsyncExitStack
    from pathlib import Path

    from consult.joining import joined_room
    from consult.resuming import resumed_room
    from consult.service import require_writable, running_service
    from diag.direct import DirectLink
    from huizhen.errors import BadUsage
    from huizhen.links import open_vehicle
    from huizhen.remoterules import load_remote_policy
    from huizhen.roomclosing import draft_case
    from huizhen.roomgrants import room_grants
    from huizhen.roomlines import embedded_config, note_unfinished, open_spool_for, settle, take_up
    from huizhen.roomprivacy import load_room_privacy
    from huizhen.roomview import show_findings

    _check_usage(args, console)
    policy, privacy = load_remote_policy(), load_room_privacy()
    if not args.server:
        require_writable(data_folder(args))
    async with AsyncExitStack() as stack:
        left = None if args.resume is None else take_up(args, console)
        if left is None:
            note_unfinished(args, console)
        console.stage(console.tr("scan.stage.opening"))
        vehicle = await stack.enter_async_context(open_vehicle(args, console, routines=policy.routines))
        if args.raw and isinstance(vehicle.link, DirectLink):
            raise BadUsage(console.tr("roomlines.raw_needs_bus"))
        try:
            report, streams, requests = await _examine(vehicle, stack, privacy, args, console)
        finally:
            console.stage_done()
        server, invite, fingerprint = args.server, args.invite, None
        if left is not None:
            left.restore(args)
            server = args.server
        if server is None:
            service = await stack.enter_async_context(running_service(embedded_config(args)))
            server, fingerprint = service.url, service.fingerprint
            invite = None if left is not None else service.invite_technician().code
            warn_if_open(args, console)
            if not wants_json(args):
                show_trust(service, console)
        reach: dict[str, Any] = {
            "ca": Path(args.ca) if args.ca else None,
            "fingerprint": fingerprint,
            "on_event": lambda event: _tell(event, report["cases"], args, console),
            "on_link": _LinkTeller(console),
        }
        if left is not None:
            agent = await stack.enter_async_context(resumed_room(left.identity, left.spool, **reach))
        else:
            open_spool = open_spool_for(args, console)
            joining = joined_room(server, invite or "", name=args.name, open_spool=open_spool, **reach)
            agent = await stack.enter_async_context(joining)
        waiting = RoomWaiting(agent, report, console)
        if args.let_experts_in:
            await waiting.let_experts_in()
        elif left is not None and args.server:
            waiting.resume()
        if not wants_json(args):
            show_findings(report, console)
        grants = await stack.enter_async_context(
            room_grants(agent, requests, vehicle, report, policy, privacy, args, console)
        )
        await stack.enter_async_context(streams.beside(agent, requests, report, vehicle.timeout_s, args, console))
        opened_us = time.time_ns() // 1_000
        with settle(agent, console):
            await _hold_room(agent, report, streams, grants, waiting, privacy.gate, args, console)
        if not wants_json(args):
            _say_closed(agent, args, console)
        if agent.finished is not None:
            draft_case(agent.finished, report, agent.room, opened_us, args, console)


def _say_closed(agent: Agent, args: argparse.Namespace, console: Console) -> None:
    """Says that the room has ended, who keeps its recording, and which entry of it was the last one heard of."""
    file = "FILE"
    if args.server:
        console.line(console.tr("consult.open.closed_there", url=args.server))
    else:
        folder = data_folder(args)
        file = str(next(folder.glob(f"*-{agent.room}.room"), folder))
        console.line(console.tr("consult.open.closed", path=file))
    if agent.record_head:
        head = "{n}:{hash}".format(**agent.record_head)
        command = shlex.join(["huizhen", "consult", "verify", file, "--head", head])
        console.line(console.tr("roomclosing.head", command=command, **agent.record_head))


async def _examine(
    vehicle: OpenVehicle, stack: AsyncExitStack, privacy: RoomPrivacy, args: argparse.Namespace, console: Console
) -> tuple[dict[str, Any], RoomStreams, RequestLink]:
    """What the scan says, with ranked cases, what of the car is live, and by what it is asked."""
    from casebase.errors import CaseError
    from diag.carscan import scan
    from diag.direct import DirectLink
    from diag.request import IsoTpLink
    from diag.tape import Tape
    from huizhen.carmemory import network_wish
    from huizhen.commands.scan import own_signal_set, rank_cases
    from huizhen.roomlines import RoomStreams, with_reason

    tape, link = Tape(), vehicle.link
    report = await scan(
        link,
        databases=vehicle.databases,
        find_signal_set=lambda car: own_signal_set(car, console),
        simulated=vehicle.simulated,
        listen_s=args.listen,
        timeout_s=vehicle.timeout_s,
        progress=lambda stage: console.stage(stage.in_language(console.tr.lang)),
        tape=tape,
    )
    console.stage(console.tr("scan.stage.matching"))
    cases: dict[str, Any] | None = None
    try:
        cases = with_reason(rank_cases(report, args.symptom, args.library).to_json())
    except CaseError as error:
        console.note(console.tr("consult.without_cases", reason=console.tr.error(error)))
    told = privacy.report({**report.to_json(), "cases": cases, "symptom": args.symptom, **network_wish()})
    if isinstance(link, DirectLink):
        requests: RequestLink = link
        databases = vehicle.databases
    else:
        requests = await stack.enter_async_context(IsoTpLink(link))
        databases = vehicle.databases or await _fitting_databases(link, report.vehicle.make, console)
        vehicle.databases = databases
    if isinstance(link, DirectLink) or not databases:
        # No broadcast frame says anything: what is live has to be asked for.
        console.stage(console.tr("roomlines.asking"))
        streams = await RoomStreams.asked(requests, report, tape, vehicle.timeout_s, privacy, args, console)
        return told, streams, requests
    return told, RoomStreams.of(link, databases, report, tape, privacy, args, console), requests


async def _fitting_databases(link: FrameLink, make: str | None, console: Console) -> tuple[Any, ...]:
    """The database that fits what is on the bus, or is likely; none when none is or a gateway hides the frames."""
    import asyncio

    from diag.broadcast import choose_database

    heard: list[Any] = []
    with link.frames() as subscription:
        try:
            async with asyncio.timeout(_LISTEN_S):
                while frames := await subscription.batch():
                    heard.extend(frames)
        except TimeoutError:
            pass
    choice = choose_database(heard, make=make)
    if choice is not None and choice.is_guess:
        console.note(getattr(choice.note, console.tr.lang))
    return (choice.database,) if choice else ()


async def _hold_room(
    agent: Agent,
    report: dict[str, Any],
    streams: RoomStreams,
    grants: RoomGrants,
    waiting: RoomWaiting,
    gate: PositionGate,
    args: argparse.Namespace,
    console: Console,
) -> None:
    """Streams, invites, chats, grants, until the technician, the clock or the service ends it."""
    import asyncio

    stopped = until_stopped(args.duration, halts=grants.halts)
    source = _Samples(streams.signals, console)
    blocks = source.blocks()
    running = asyncio.create_task(agent.run(report, streams.signals.schema, blocks, more=streams.more))
    try:
        await _show_invite(agent, "expert", args, console)
        typing = asyncio.create_task(_chat(agent, stopped, grants.words, waiting, gate, report["cases"], args, console))
        stopping = asyncio.create_task(stopped.wait())
        place = asyncio.create_task(waiting.watch())
        try:
            await asyncio.wait({running, stopping, grants.deciding}, return_when=asyncio.FIRST_COMPLETED)
            if grants.deciding.done():
                grants.deciding.result()  # it never ends by itself: who grants has failed, so the room ends
        finally:
            for task in (typing, stopping, place):
                task.cancel()
            await asyncio.gather(typing, stopping, place, return_exceptions=True)
        await grants.end()
        agent.leave()
        await asyncio.wait({running}, timeout=_GOODBYE_S)
        if running.done():
            running.result()
        else:
            console.note(console.tr("consult.unsent", n=len(agent.spool)))
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    if source.error is not None:
        raise source.error


class _Samples:
    """The live blocks. When the car goes away the room stays, for people still talk; the error is told at the end."""

    def __init__(self, stream: LiveStream | AskedStream | PlacelessStream, console: Console) -> None:
        self.error: Exception | None = None
        self._stream = stream
        self._console = console

    async def blocks(self) -> AsyncIterator[SampleBlock]:
        """Blocks until the link ends; none at all where no signal is known, instead of empty ones."""
        from diag.errors import DiagError

        if not self._stream.schema.signals:
            self._console.note(self._console.tr("consult.open.no_signals"))
            return
        try:
            async for block in self._stream.blocks():
                yield block
        except DiagError as error:
            self.error = error
            self._console.error(self._console.tr.error(error))
            self._console.note(self._console.tr("consult.open.car_gone"))


async def _show_invite(agent: Agent, role: str, args: argparse.Namespace, console: Console) -> None:
    """Asks for somebody's invite and shows link and QR code."""
    from huizhen.roomview import qr_lines

    invite = await agent.invite(role)
    if wants_json(args):
        console.json(
            {
                "schema": "huizhen.room/1",
                "url": invite.url,
                "invite_expires": iso_from_us(invite.expires_us),
                "room": agent.room,
                "role": invite.role,
            }
        )
        return
    sentences = {
        "expert": console.tr("consult.open.link", expires=time_of_day(invite.expires_us)),
        "lead": console.tr("consult.open.link_lead", expires=time_of_day(invite.expires_us)),
        "observer": console.tr("consult.open.link_observer", expires=time_of_day(invite.expires_us)),
    }
    console.line(sentences[role])
    console.line(f"  {console.style(invite.url, 'title')}")
    if not console.quiet:
        for line in qr_lines(invite.url, coloured=console.colour):
            console.line(f"  {line}")
        if not args.server and ("//127.0.0.1" in invite.url or "//localhost" in invite.url):
            console.note(console.tr("consult.open.only_here"))
        console.note(console.tr("consult.open.typing"))
    console.out.flush()


async def _chat(
    agent: Agent,
    stopped: asyncio.Event,
    requests: RoomRequests,
    waiting: RoomWaiting,
    gate: PositionGate,
    cases: dict[str, Any] | None,
    args: argparse.Namespace,
    console: Console,
) -> None:
    """Says what is typed. ``/invite [ROLE]`` makes another link, ``/close`` finishes the job, ``/quit`` ends the room.

    ``/escalate`` asks the service for an expert.

    Requests take their own words.
    """
    from consult.errors import ConsultError
    from huizhen.roomclosing import finish_room
    from huizhen.roomconsents import RoomConsents
    from huizhen.roomview import command_from_typed, is_command, typed_lines

    consents = RoomConsents(agent, waiting.report, console, gate, is_json=wants_json(args))
    lines = _stop_at_once(typed_lines(), requests)
    async for line in lines:
        words = command_from_typed(line.strip())
        if words == "/quit":
            stopped.set()
        elif await finish_room(words, lines, agent, cases, args, console, consents) or await consents.take(words):
            continue
        elif words == "/escalate":
            await waiting.escalate()
        elif words.split(" ")[0] == "/invite":
            role = words.removeprefix("/invite").strip() or "expert"
            if role not in _GUESTS:
                console.error(console.tr("consult.open.invite_role", roles=", ".join(_GUESTS)))
                continue
            try:
                await _show_invite(agent, role, args, console)
            except ConsultError as error:
                console.error(console.tr.error(error))
        elif await requests.take(words) or not words:
            continue
        elif is_command(words):
            console.error(console.tr("consult.open.no_command", command=words.split(" ")[0]))
        else:
            agent.say(words)


async def _stop_at_once(typed: AsyncIterator[str], requests: RoomRequests) -> AsyncIterator[str]:
    """What is typed. The kill switch is heard at once, also where the answer to a question is waited for."""
    import asyncio

    heard: asyncio.Queue[str | None] = asyncio.Queue()

    async def hear() -> None:
        try:
            async for line in typed:
                if requests.is_stop(line):
                    await requests.take(line)
                else:
                    heard.put_nowait(line)
        finally:
            heard.put_nowait(None)

    hearing = asyncio.create_task(hear())
    try:
        while (line := await heard.get()) is not None:
            yield line
    finally:
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)


def _tell(event: Event, cases: dict[str, Any] | None, args: argparse.Namespace, console: Console) -> None:
    from huizhen.roomview import event_json, show_event

    if wants_json(args):
        console.json(event_json(event))
    else:
        show_event(event, console, cases)


class _LinkTeller:
    """Says when the service is lost and found again; the first time it is found is no news."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lost = False

    def __call__(self, reached: bool) -> None:
        if reached and self._lost:
            self._console.note(self._console.tr("consult.event.back"))
        elif not reached and not self._lost:
            self._console.note(self._console.tr("consult.event.lost"))
        self._lost = not reached
