"""``huizhen consult``: open an expert room for the car at hand, or run the room service for others."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

from huizhen.exits import Exit
from huizhen.links import add_link_options

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from consult.agent import Agent
    from consult.messages import Event
    from consult.service import IssuedInvite, ServiceConfig
    from diag.facts import SampleBlock
    from diag.frames import FrameLink
    from diag.live import LiveStream
    from huizhen.cli import Commands
    from huizhen.console import Console
    from huizhen.language import Translator
    from huizhen.links import OpenVehicle

__all__ = ["add_parser", "run"]

_DEFAULT_PORT = 8443
_GOODBYE_S = 5.0
_LISTEN_S = 1.0


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
    add_link_options(opening, tr)
    opening.add_argument("--symptom", default="", metavar="TEXT", help=tr("scan.symptom"))
    opening.add_argument("--listen", type=float, default=2.0, metavar="S", help=tr("scan.listen"))
    opening.add_argument("--library", metavar="FILE", help=tr("scan.library"))
    opening.add_argument("--name", default="", metavar="NAME", help=tr("consult.option.name"))
    remote = opening.add_argument_group(tr("consult.option.remote"))
    remote.add_argument("--server", metavar="URL", help=tr("consult.option.server"))
    remote.add_argument("--invite", metavar="CODE", help=tr("consult.option.invite"))
    remote.add_argument("--ca", metavar="FILE", help=tr("consult.option.ca"))
    _add_service_options(opening.add_argument_group(tr("consult.option.embedded")), tr, port=0)
    opening.add_argument("--duration", type=_seconds(tr), metavar="S", help=tr("consult.option.duration"))
    serving = actions.add_parser(
        "serve",
        parents=[common],
        help=tr("consult.serve.help"),
        description=tr("consult.serve.description"),
        epilog=tr("consult.serve.epilog"),
    )
    _add_service_options(serving, tr, port=_DEFAULT_PORT)
    serving.add_argument("--duration", type=_seconds(tr), metavar="S", help=tr("consult.option.duration"))


def _add_service_options(group: argparse._ActionsContainer, tr: Translator, *, port: int) -> None:
    group.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help=tr("consult.option.host"))
    group.add_argument("--port", type=_port(tr), default=port, metavar="N", help=tr("consult.option.port"))
    group.add_argument("--public-url", metavar="URL", help=tr("consult.option.public_url"))
    group.add_argument("--tls-cert", metavar="FILE", help=tr("consult.option.tls_cert"))
    group.add_argument("--tls-key", metavar="FILE", help=tr("consult.option.tls_key"))
    group.add_argument("--data", metavar="DIR", help=tr("consult.option.data"))


def _seconds(tr: Translator) -> Callable[[str], float]:
    def seconds(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(tr("consult.option.bad_duration"))
        return value

    return seconds


def _port(tr: Translator) -> Callable[[str], int]:
    def port(text: str) -> int:
        if not text.isdecimal() or int(text) > 65_535:
            raise argparse.ArgumentTypeError(tr("consult.option.bad_port"))
        return int(text)

    return port


def run(args: argparse.Namespace, console: Console) -> int:
    """Opens a room or serves rooms; returns the exit code."""
    import asyncio

    actions = {"open": _open, "serve": _serve}
    asyncio.run(actions[args.action](args, console))
    return Exit.DONE


def _wants_json(args: argparse.Namespace) -> bool:
    return getattr(args, "json", False) or getattr(args, "jsonl", False)


def _data_folder(args: argparse.Namespace) -> Path:
    """``--data``, else the rooms' folder among the user's data."""
    import os
    from pathlib import Path

    if args.data:
        return Path(args.data)
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "huizhen" / "rooms"


def _service_config(args: argparse.Namespace) -> ServiceConfig:
    from pathlib import Path

    from consult.service import ServiceConfig

    return ServiceConfig(
        data=_data_folder(args),
        host=args.host,
        port=args.port,
        tls_cert=Path(args.tls_cert) if args.tls_cert else None,
        tls_key=Path(args.tls_key) if args.tls_key else None,
        public_url=args.public_url,
    )


def _iso(t_us: int) -> str:
    from diag.facts import iso_from_ns

    return iso_from_ns(t_us * 1000)


def _clock(t_us: int) -> str:
    """The time of day here, as a person reads it."""
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(t_us / 1e6, tz=UTC).astimezone():%H:%M}"


def _until_stopped(duration_s: float | None) -> asyncio.Event:
    """An event that Ctrl-C, SIGTERM or the end of ``--duration`` sets: the ordinary ends, none of them a failure."""
    import asyncio
    import signal

    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stopped.set)
        except (NotImplementedError, RuntimeError):
            continue  # not the main thread, or an event loop without signals: Ctrl-C then cancels the program
    if duration_s is not None:
        loop.call_later(duration_s, stopped.set)
    return stopped


# -- serve -----------------------------------------------------------------------------------------------------------


async def _serve(args: argparse.Namespace, console: Console) -> None:
    """Serves rooms, with one good technician's invite at hand all the time."""
    import asyncio
    import contextlib

    from consult.service import running_service

    async with running_service(_service_config(args)) as service:
        stopped = _until_stopped(args.duration)
        _warn_if_open(args, console)
        if not _wants_json(args):
            console.line(console.tr("consult.serve.listening", url=service.url, data=str(service.config.data)))
        while not stopped.is_set():
            invite = service.invite_technician()
            _show_technician_invite(invite, service.url, args, console)
            while (
                not stopped.is_set()
                and invite.room not in service.rooms
                and invite.expires_us > service.config.now_us()
            ):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        await stopped.wait()


def _show_technician_invite(invite: IssuedInvite, url: str, args: argparse.Namespace, console: Console) -> None:
    if _wants_json(args):
        console.json(
            {
                "schema": "huizhen.service/1",
                "url": url,
                "technician_invite": invite.code,
                "invite_expires": _iso(invite.expires_us),
            }
        )
        return
    console.line(console.tr("consult.serve.invite", expires=_clock(invite.expires_us)))
    console.line(f"  huizhen consult open --server {url} --invite {invite.code} --demo")
    console.note(console.tr("consult.serve.paste"))
    console.out.flush()


# -- open ------------------------------------------------------------------------------------------------------------


async def _open(args: argparse.Namespace, console: Console) -> None:
    """Scans the car, opens the room, streams until told to stop."""
    from contextlib import AsyncExitStack
    from pathlib import Path

    from consult.agent import joined_room
    from consult.service import require_writable, running_service
    from diag.direct import DirectLink
    from huizhen.errors import BadUsage
    from huizhen.links import open_vehicle
    from huizhen.roomview import show_findings

    if bool(args.server) != bool(args.invite):
        raise BadUsage(console.tr("consult.server_and_invite"))
    if args.server and not args.server.lower().startswith(("http://", "https://")):
        raise BadUsage(console.tr("consult.server_scheme", url=args.server))
    if not args.server:
        require_writable(_data_folder(args))
    async with AsyncExitStack() as stack:
        console.stage(console.tr("scan.stage.opening"))
        vehicle = await stack.enter_async_context(open_vehicle(args, console))
        if isinstance(vehicle.link, DirectLink):
            raise BadUsage(console.tr("link.consult_needs_bus"))
        try:
            report, stream = await _examine(vehicle, vehicle.link, args, console)
        finally:
            console.stage_done()
        server, invite, fingerprint = args.server, args.invite, None
        if server is None:
            service = await stack.enter_async_context(running_service(_service_config(args)))
            server, invite, fingerprint = service.url, service.invite_technician().code, service.fingerprint
            _warn_if_open(args, console)
        agent = await stack.enter_async_context(
            joined_room(
                server,
                invite,
                name=args.name,
                ca=Path(args.ca) if args.ca else None,
                fingerprint=fingerprint,
                on_event=lambda event: _tell(event, args, console),
                on_link=_LinkTeller(console),
            )
        )
        if not _wants_json(args):
            show_findings(report, console)
        await _hold_room(agent, report, stream, args, console)
        if not _wants_json(args):
            _say_closed(agent.room, args, console)


def _say_closed(room: str, args: argparse.Namespace, console: Console) -> None:
    """Says that the room has ended and who keeps its recording."""
    if args.server:
        console.line(console.tr("consult.open.closed_there", url=args.server))
    else:
        console.line(console.tr("consult.open.closed", folder=str(_data_folder(args)), room=room))


async def _examine(
    vehicle: OpenVehicle, link: FrameLink, args: argparse.Namespace, console: Console
) -> tuple[dict[str, Any], LiveStream]:
    """What the scan says, with ranked cases, and the car's live signals."""
    from casebase.errors import CaseError
    from diag.live import LiveStream
    from diag.scan import scan
    from huizhen.commands.scan import rank_cases

    report = await scan(
        link,
        databases=vehicle.databases,
        simulated=vehicle.simulated,
        listen_s=args.listen,
        timeout_s=vehicle.timeout_s,
        progress=lambda stage: console.stage(stage.in_language(console.tr.lang)),
    )
    console.stage(console.tr("scan.stage.matching"))
    cases: dict[str, Any] | None = None
    try:
        cases = rank_cases(report, args.symptom, args.library).to_json()
    except CaseError as error:
        console.note(console.tr("consult.without_cases", reason=console.tr.error(error)))
    databases = vehicle.databases or await _fitting_databases(link, report.vehicle.make, console)
    return {**report.to_json(), "cases": cases}, LiveStream(link, databases)


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
    agent: Agent, report: dict[str, Any], stream: LiveStream, args: argparse.Namespace, console: Console
) -> None:
    """Streams, invites, chats, until the technician, the clock or the service ends it."""
    import asyncio

    stopped = _until_stopped(args.duration)
    source = _Samples(stream, console)
    running = asyncio.create_task(agent.run(report, stream.schema, source.blocks()))
    try:
        await _show_expert_invite(agent, args, console)
        typing = asyncio.create_task(_chat(agent, stopped, args, console))
        waiting = asyncio.create_task(stopped.wait())
        try:
            await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            typing.cancel()
            waiting.cancel()
            await asyncio.gather(typing, waiting, return_exceptions=True)
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

    def __init__(self, stream: LiveStream, console: Console) -> None:
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


def _warn_if_open(args: argparse.Namespace, console: Console) -> None:
    """Says when a service that others can reach is not encrypted."""
    if args.host not in {"127.0.0.1", "::1", "localhost"} and not args.tls_cert and not args.public_url:
        console.note(console.tr("consult.unencrypted"))


async def _show_expert_invite(agent: Agent, args: argparse.Namespace, console: Console) -> None:
    """Asks for an expert's invite and shows link and QR code."""
    from huizhen.roomview import qr_lines

    invite = await agent.invite("expert")
    if _wants_json(args):
        console.json(
            {
                "schema": "huizhen.room/1",
                "url": invite.url,
                "invite_expires": _iso(invite.expires_us),
                "room": agent.room,
                "role": invite.role,
            }
        )
        return
    console.line(console.tr("consult.open.link", expires=_clock(invite.expires_us)))
    console.line(f"  {console.style(invite.url, 'title')}")
    if not console.quiet:
        for line in qr_lines(invite.url, coloured=console.colour):
            console.line(f"  {line}")
        if not args.server and ("//127.0.0.1" in invite.url or "//localhost" in invite.url):
            console.note(console.tr("consult.open.only_here"))
        console.note(console.tr("consult.open.typing"))
    console.out.flush()


async def _chat(agent: Agent, stopped: asyncio.Event, args: argparse.Namespace, console: Console) -> None:
    """Says what is typed. ``/invite`` makes another link, ``/quit`` ends the room."""
    from consult.errors import ConsultError
    from huizhen.roomview import typed_lines

    async for line in typed_lines():
        words = line.strip()
        if words == "/quit":
            stopped.set()
        elif words == "/invite":
            try:
                await _show_expert_invite(agent, args, console)
            except ConsultError as error:
                console.error(console.tr.error(error))
        elif words:
            agent.say(words)


def _tell(event: Event, args: argparse.Namespace, console: Console) -> None:
    from huizhen.roomview import event_json, show_event

    if _wants_json(args):
        console.json(event_json(event))
    else:
        show_event(event, console)


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
