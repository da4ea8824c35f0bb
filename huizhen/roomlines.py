"""What ``huizhen consult open`` brings from the laptop into the room: streams, fault codes, and a spool on disk."""

from __future__ import annotations

import contextlib
import math
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from consult.agent import Agent
    from consult.serviceconfig import ServiceConfig
    from consult.spool import Spool
    from consult.spoolfolder import RoomIdentity
    from dbc.database import Database
    from diag.answers import RequestLink
    from diag.asked import AskedStream
    from diag.frames import Frame, FrameLink
    from diag.live import LiveStream
    from diag.samples import SampleBlock, StreamSchema
    from diag.tape import Tape
    from diag.vehiclereport import VehicleReport
    from huizhen.console import Console
    from huizhen.language import Translator
    from huizhen.roomprivacy import PlacelessStream, RoomPrivacy

    MoreStreams = list[tuple[StreamSchema, AsyncIterator[SampleBlock | tuple[Frame, ...]]]]

__all__ = [
    "LeftRoom",
    "RoomStreams",
    "add_line_options",
    "embedded_config",
    "note_unfinished",
    "open_spool_for",
    "settle",
    "take_up",
    "with_reason",
]

_STREAMS = ("signals", "cells")
_CELLS_PERIOD_S = 0.5
_RAW_PERIOD_S = 0.05
_FASTEST_HZ = 100.0
_SERVED_BY = ("host", "tls", "tls_cert", "tls_key", "public_url")


def add_line_options(parser: argparse._ActionsContainer, tr: Translator) -> None:
    """``--resume --streams --signals --rate --raw --dtc-every``."""
    parser.add_argument("--resume", nargs="?", const="", metavar="ROOM", help=tr("roomlines.option.resume"))
    parser.add_argument(
        "--streams", type=_streams(tr), default=_STREAMS, metavar="LIST", help=tr("roomlines.option.streams")
    )
    parser.add_argument("--signals", type=_names, metavar="LIST", help=tr("roomlines.option.signals"))
    parser.add_argument("--rate", type=_rate(tr), default=20.0, metavar="HZ", help=tr("roomlines.option.rate"))
    parser.add_argument("--raw", action="store_true", help=tr("roomlines.option.raw"))
    parser.add_argument(
        "--dtc-every", type=_seconds_or_none(tr), default=10.0, metavar="S", help=tr("roomlines.option.dtc_every")
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for part in text.split(",") if (name := part.strip()))


def _streams(tr: Translator) -> Callable[[str], tuple[str, ...]]:
    def streams(text: str) -> tuple[str, ...]:
        import argparse

        found = _names(text)
        if not found or set(found) - set(_STREAMS):
            raise argparse.ArgumentTypeError(tr("roomlines.option.bad_streams"))
        return found

    return streams


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _rate(tr: Translator) -> Callable[[str], float]:
    def rate(text: str) -> float:
        import argparse

        value = _number(text)
        if not 0.1 <= value <= _FASTEST_HZ:
            raise argparse.ArgumentTypeError(tr("roomlines.option.bad_rate"))
        return value

    return rate


def _seconds_or_none(tr: Translator) -> Callable[[str], float]:
    def seconds(text: str) -> float:
        import argparse

        value = _number(text)
        if value != 0 and not 1 <= value < math.inf:
            raise argparse.ArgumentTypeError(tr("roomlines.option.bad_dtc_every"))
        return value

    return seconds


# -- streams ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RoomStreams:
    """What of the car is live.

    Args:
        signals: stream 0, decoded signals; may have none.
        more: the battery's cells, and the bus itself where that was asked for.
        report: what the scan found; its codes are read again.
        tape: all that the scan asked and heard.
    """

    signals: LiveStream | AskedStream | PlacelessStream
    more: MoreStreams
    report: VehicleReport
    tape: Tape

    @classmethod
    def of(
        cls,
        link: FrameLink,
        databases: tuple[Database, ...],
        report: VehicleReport,
        tape: Tape,
        privacy: RoomPrivacy,
        args: argparse.Namespace,
        console: Console,
    ) -> Self:
        """What ``--streams``, ``--signals``, ``--rate`` and ``--raw`` say.

        Raises:
            BadUsage: ``--signals`` names one that no database has.
        """
        from diag.live import LiveStream, raw_frames
        from diag.samples import StreamSchema
        from huizhen.errors import BadUsage

        wanted = args.signals if "signals" in args.streams else ()
        signals = LiveStream(link, databases, period_s=1 / args.rate, signals=wanted, stream=0, name="signals")
        known = {signal.name for signal in signals.schema.signals}
        if unknown := [name for name in wanted or () if name not in known]:
            raise BadUsage(console.tr("roomlines.unknown_signal", names=", ".join(unknown)))
        more: MoreStreams = []
        cells = _cell_names(databases) if "cells" in args.streams else []
        if cells:
            period_s = max(_CELLS_PERIOD_S, 1 / args.rate)
            stream = LiveStream(link, databases, period_s=period_s, signals=cells, stream=1, name="cells", kind="cells")
            more.append((stream.schema, _until_lost(stream.blocks())))
        if args.raw:
            more.append(
                (
                    StreamSchema(2, (), "raw", "raw", 1 / _RAW_PERIOD_S),
                    privacy.frames(raw_frames(link, period_s=_RAW_PERIOD_S), databases),
                )
            )
        return cls(privacy.stream(signals), more, report, privacy.tape(tape, databases))

    @classmethod
    async def asked(
        cls,
        requests: RequestLink,
        report: VehicleReport,
        tape: Tape,
        timeout_s: float | None,
        privacy: RoomPrivacy,
        args: argparse.Namespace,
        console: Console,
    ) -> Self:
        """The same where no broadcast frame tells anything: what the ECUs give when they are asked, again and again.

        Raises:
            BadUsage: ``--signals`` names one that no ECU gives.
            LinkLost: the adapter went away.
        """
        from diag.asked import AskedStream
        from huizhen.commands.scan import own_signal_set
        from huizhen.errors import BadUsage

        signal_set = tape.signal_set or own_signal_set(report.vehicle, console)
        with_data = "signals" in args.streams
        wanted = args.signals if with_data else None
        stream = await AskedStream.of_car(
            requests,
            report,
            signal_set if "cells" in args.streams else None,
            signals=wanted,
            with_data=with_data,
            period_s=1 / args.rate,
            timeout_s=timeout_s,
        )
        known = {signal.name for signal in stream.schema.signals}
        if unknown := [name for name in wanted or () if name not in known]:
            raise BadUsage(console.tr("roomlines.unknown_signal", names=", ".join(unknown)))
        return cls(privacy.stream(stream), [], report, privacy.tape(tape, ()))

    @contextlib.asynccontextmanager
    async def beside(
        self,
        agent: Agent,
        requests: RequestLink,
        told: dict[str, Any],
        timeout_s: float | None,
        args: argparse.Namespace,
        console: Console,
    ) -> AsyncIterator[None]:
        """While inside, the room gets the scan as a session bundle, and the fault codes whenever they changed.

        Args:
            agent: in the room.
            requests: to the car.
            told: the report as the room has it.
            timeout_s: per answer.
            args: ``--dtc-every``.
            console: where trouble is told.
        """
        import asyncio

        tasks = (
            asyncio.create_task(
                _watch_codes(agent, requests, self.report, args.dtc_every, timeout_s=timeout_s, console=console)
            ),
            asyncio.create_task(_bring_bundle(agent, self.tape, told, args, console)),
        )
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _until_lost(
    source: AsyncIterator[SampleBlock] | AsyncIterator[tuple[Frame, ...]],
) -> AsyncIterator[SampleBlock | tuple[Frame, ...]]:
    """What a stream gives until the car goes away; that is told with the signals, and the room stays."""
    from diag.errors import DiagError

    with contextlib.suppress(DiagError):
        async for measured in source:
            yield measured


def with_reason(cases: dict[str, Any]) -> dict[str, Any]:
    """``CASES`` with ``why``: why what the library thinks was not enough, in both languages; None where it was."""
    verdict, matches = cases.get("verdict"), cases.get("matches") or []
    best = round(100 * float(matches[0]["p"])) if matches else 0
    why: dict[str, str] | None = None
    if verdict == "test" and matches:
        why = {
            "en": f"the best known fix has {best} %; a test has to tell it from the others",
            "zh": f"最可能的解决办法概率为 {best} %；需要再做检查与其他可能区分",
        }
    elif verdict == "expert" and matches:
        why = {
            "en": f"no known fix is likely enough: the best has {best} %",
            "zh": f"没有足够可能的解决办法：最高仅 {best} %",
        }
    elif verdict in ("expert", "unknown"):
        why = {"en": "no known case is like this one", "zh": "案例库中没有类似案例"}
    return {**cases, "why": why}


async def _bring_bundle(
    agent: Agent, tape: Tape, told: dict[str, Any], args: argparse.Namespace, console: Console
) -> None:
    """The scan with all that was asked and heard, for the technician and the lead expert to replay."""
    import asyncio
    import tempfile
    from pathlib import Path

    from consult.errors import ConsultError
    from diag.errors import DiagError
    from huizhen.errors import HuizhenError
    from huizhen.sessionbundle import save_session, sources_of
    from huizhen.signing import load_signer

    def packed() -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "scan.hzb"
            sources = sources_of(tape, named=args.dbc, signals=None, odx=None)
            save_session(str(path), tape, told, load_signer(), sources=sources)
            return path.read_bytes()

    try:
        await agent.bring_file("scan.hzb", await asyncio.to_thread(packed))
    except (ConsultError, DiagError, HuizhenError, OSError) as error:
        console.note(console.tr("roomlines.no_bundle", reason=console.tr.error(error)))


def _cell_names(databases: tuple[Database, ...]) -> list[str]:
    """The signals of the battery's cells in pack order."""
    from diag.batterynames import find_battery_signals
    from diag.live import SignalBoard

    units = {signal.name: signal.unit for signal in SignalBoard(databases).schema.signals}
    battery = find_battery_signals(units)
    return [name for _, (name, _) in sorted(battery.cells.items())] if battery else []


async def _watch_codes(
    agent: Agent,
    requests: RequestLink,
    report: VehicleReport,
    every_s: float,
    *,
    timeout_s: float | None,
    console: Console,
) -> None:
    import asyncio

    from consult.dtcwords import changed_codes
    from diag.codewatch import CodeWatch
    from diag.errors import DiagError

    watch = CodeWatch(requests, report, timeout_s=timeout_s)
    told = [dtc.to_json() for dtc in report.dtcs]
    while every_s and not watch.is_empty:
        await asyncio.sleep(every_s)
        try:
            now = [dtc.to_json() for dtc in await watch.read()]
        except DiagError as error:
            console.note(console.tr("roomlines.codes_unwatched", reason=console.tr.error(error)))
            return
        changed = changed_codes(told, now)
        if changed:
            told = now
            agent.tell_dtcs({"dtcs": now, "changed": changed})


# -- the spool -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LeftRoom:
    """A room that a killed program left."""

    spool: Spool
    identity: RoomIdentity

    def restore(self, args: argparse.Namespace) -> None:
        """The options by which the room was served, so that the experts' pages find it where it was."""
        kept = self.identity.extra
        if not kept.get("embedded"):
            args.server = self.identity.server
            return
        args.port = urlsplit(self.identity.server).port
        for name in _SERVED_BY:
            setattr(args, name, kept.get(name))
        args.state = kept.get("state")


def _folder(args: argparse.Namespace) -> Path:
    """Where the rooms' spools stand, beside their recordings."""
    from huizhen.roomservice import data_folder

    return data_folder(args) / "spool"


def embedded_config(args: argparse.Namespace) -> ServiceConfig:
    """The service in this program. Its own database lets the room be served again, should the program be killed."""
    from huizhen.roomservice import service_config

    config = service_config(args)
    if getattr(args, "state", None) is None:
        args.state = f"{secrets.token_hex(6)}.db"
    folder = config.data / "embedded"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return replace(config, state=folder / args.state)


def open_spool_for(args: argparse.Namespace, console: Console) -> Callable[[str, str, str], tuple[Spool, RoomIdentity]]:
    """What opens a fresh room's spool; a disk that refuses is told, and the room goes on in memory."""
    from consult.spoolfolder import open_spool

    def opened(address: str, room: str, token: str) -> tuple[Spool, RoomIdentity]:
        extra: dict[str, Any] = {"embedded": args.server is None}
        if args.server is None:
            extra |= {name: getattr(args, name) for name in _SERVED_BY} | {"state": args.state}
        tell = _trouble_teller(console)
        return open_spool(_folder(args), address, room, token, name=args.name, extra=extra, on_trouble=tell)

    return opened


def _trouble_teller(console: Console) -> Callable[[str | None], None]:
    def tell(reason: str | None) -> None:
        if reason is None:
            console.note(console.tr("roomlines.disk_again"))
        else:
            console.note(console.tr("roomlines.disk_trouble", reason=reason))

    return tell


def note_unfinished(args: argparse.Namespace, console: Console) -> None:
    """Says that a room was not ended and how it goes on."""
    from consult.spoolfolder import find_unfinished

    if found := find_unfinished(_folder(args)):
        console.note(console.tr("roomlines.unfinished", room=found[-1], n=len(found)))


def take_up(args: argparse.Namespace, console: Console) -> LeftRoom:
    """The room of ``--resume``, or the last one that was not ended.

    Raises:
        BadUsage: there is none.
        SpoolBroken: it cannot be used.
    """
    from consult.spoolfolder import find_unfinished, resume_spool
    from huizhen.errors import BadUsage

    base = _folder(args)
    room = args.resume or next(reversed(find_unfinished(base)), "")
    if not room:
        raise BadUsage(console.tr("roomlines.nothing_unfinished", folder=str(base)))
    spool, identity = resume_spool(base, room, on_trouble=_trouble_teller(console))
    console.note(console.tr("roomlines.resumed", room=room, n=len(spool)))
    return LeftRoom(spool, identity)


@contextlib.contextmanager
def settle(agent: Agent, console: Console) -> Iterator[None]:
    """Around a room's life: what arrived leaves nothing behind, and what did not can be resumed."""
    from consult.errors import RoomClosed

    identity = agent.identity
    try:
        yield
    except RoomClosed:
        if identity is not None:
            identity.discard()  # ended by others: there is nothing to come back to
            _forget_state(identity)
        raise
    finally:
        if identity is not None and identity.folder.exists():
            if agent.has_ended and not len(agent.spool):
                identity.discard()
                _forget_state(identity)
            else:
                identity.release()
                console.note(console.tr("roomlines.kept", room=agent.room))


def _forget_state(identity: RoomIdentity) -> None:
    """Deletes the embedded service's database: its one room has ended."""
    name = identity.extra.get("state")
    if not isinstance(name, str):
        return
    base = identity.folder.parent.parent / "embedded"
    database = base / name
    for file in (database, *(base / f"{name}{end}" for end in ("-wal", "-shm")), database.with_suffix(".lock")):
        with contextlib.suppress(OSError):
            file.unlink()
