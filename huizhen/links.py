"""How a command reaches a car: the link options of the contract, and what they open.

The order is flag, environment (``HUIZHEN_INTERFACE`` …), the configuration file, python-can's own configuration, the
adapter of last time, the only adapter that is plugged in. ``--demo`` starts the simulated car in process; everything it
says is marked as simulated.
"""

from __future__ import annotations

import argparse
import os
import shlex
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from huizhen.errors import BadUsage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from dbc.database import Database
    from diag.adapters import Candidate
    from diag.direct import DirectLink
    from diag.facts import Text
    from diag.frames import FrameLink
    from diag.guard import Risk, TransmitGuard
    from huizhen.console import Console
    from huizhen.language import Translator

__all__ = ["OpenVehicle", "add_link_options", "link_words", "open_vehicle", "seconds"]

_LONGEST_S: Final = 3600.0
_REPLUG_S: Final = 15.0
_USUAL_BITRATE: Final = 500_000
_LISTEN_S: Final = 0.3
_USUAL_CHANNELS: Final = {"udp_multicast": "239.74.163.2"}
"""Channels that need not be named: python-can's IPv4 group."""


class _Once(argparse.Action):
    """An option that may be given once: a second one is not silently taken for the first."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 - argparse's signature
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,  # noqa: ARG002 - argparse's signature
    ) -> None:
        if getattr(namespace, self.dest, None) is not None:
            raise argparse.ArgumentError(self, "given twice; one bus at a time")
        setattr(namespace, self.dest, values)


def seconds(text: str) -> float:
    """An option's time in seconds: a number above 0, at most an hour.

    Raises:
        ValueError: it is none.
    """
    value = float(text)
    if not 0 < value <= _LONGEST_S:
        raise ValueError(text)
    return value


def add_link_options(parser: argparse.ArgumentParser, tr: Translator, *, needs_frames: bool = True) -> None:
    """Adds the link options that every command shares; ``--adapter`` where requests and answers are enough."""
    group = parser.add_argument_group(tr("link.title"))
    group.add_argument("-i", "--interface", help=tr("link.interface"))
    group.add_argument("-c", "--channel", action=_Once, help=tr("link.channel"))
    group.add_argument("-b", "--bitrate", type=int, help=tr("link.bitrate"))
    group.add_argument("--fd", action="store_true", help=tr("link.fd"))
    group.add_argument("--data-bitrate", type=int, help=tr("link.data_bitrate"))
    if not needs_frames:
        group.add_argument("--adapter", action=_Once, metavar="KIND:WHERE", help=tr("link.adapter"))
    else:  # taken to say why not
        group.add_argument("--adapter", dest="unfit_adapter", metavar="KIND:WHERE", help=argparse.SUPPRESS)
    group.add_argument("--demo", action="store_true", help=tr("link.demo"))
    group.add_argument("--scenario", metavar="NAME|FILE", help=tr("link.scenario"))
    group.add_argument("--dbc", action="append", default=[], metavar="FILE", help=tr("link.dbc"))
    group.add_argument("--replug", type=float, default=_REPLUG_S, metavar="S", help=tr("link.replug"))
    group.add_argument("--timeout", type=seconds, metavar="S", help=tr("link.timeout"))


def link_words(args: argparse.Namespace) -> str:
    """The link options as they were given, to be typed again in another command."""
    words = [word for word, given in (("--demo", args.demo), ("--fd", args.fd)) if given]
    for option, value in (
        ("-i", args.interface),
        ("-c", args.channel),
        ("-b", args.bitrate),
        ("--data-bitrate", args.data_bitrate),
        ("--adapter", getattr(args, "adapter", None)),
        ("--scenario", args.scenario),
    ):
        words += [option, shlex.quote(str(value))] if value is not None else []
    for path in args.dbc:
        words += ["--dbc", shlex.quote(path)]
    return " ".join(words)


@dataclass(slots=True)
class OpenVehicle:
    """A car within reach.

    Args:
        databases: those named by ``--dbc``, first match wins; empty = pick a bundled one by what is on the bus.
        timeout_s: how long to wait for each answer, None = the protocol's own times.
    """

    link: FrameLink | DirectLink
    guard: TransmitGuard
    databases: tuple[Database, ...]
    simulated: bool
    timeout_s: float | None
    adapter: str | None = None

    def remember(self) -> None:
        """A car answered through this link: next time it is the first guess. A simulated car in process is not."""
        from diag.direct import DirectLink
        from huizhen.settings import Remembered, remember

        info = self.link.info
        if info.interface == "virtual":
            return
        if isinstance(self.link, DirectLink):
            remember(Remembered(adapter=self.adapter, protocol=getattr(self.link, "protocol", "")))
        else:
            remember(Remembered(info.interface, info.channel, info.bitrate))


def _unfit_adapter() -> str | None:
    """The adapter of the settings, or of last time, that would be taken where requests and answers are enough."""
    from huizhen.settings import load_settings, recall

    kept = recall()
    named = load_settings().get("adapter") or (kept.adapter if kept is not None else None)
    return str(named) if named else None


def _needs_frames(adapter: str, console: Console) -> BadUsage:
    return BadUsage(console.tr("link.needs_frames", value=adapter))


def _setting(args: argparse.Namespace, name: str) -> str | None:
    value = getattr(args, name, None)
    return value if value is not None else os.environ.get(f"HUIZHEN_{name.upper()}")


def _unnamed(args: argparse.Namespace, console: Console, *, may_be_direct: bool) -> str | None:
    """Fills in what neither options nor environment name.

    Returns:
        An adapter as ``--adapter`` takes it; None where an interface is named now, or nothing was found.
    """
    from huizhen.settings import load_settings, recall

    settings = load_settings()
    if settings.get("adapter") and may_be_direct:
        return str(settings["adapter"])
    if settings.get("interface"):
        for name in ("interface", "channel", "bitrate"):
            if getattr(args, name, None) is None and settings.get(name) is not None:
                setattr(args, name, settings[name])
        return None
    if _is_can_configured():
        return None
    kept = recall()
    if kept is not None and (may_be_direct or not kept.adapter):
        console.note(console.tr("link.as_last_time", words=kept.words()))
        args.interface, args.channel, args.bitrate = kept.interface, kept.channel, kept.bitrate
        return kept.adapter
    return _plugged_in(args, console, may_be_direct=may_be_direct)


def _is_can_configured() -> bool:
    from diag.pythoncan import can

    with suppress(can.CanError):
        config = can.util.load_config()
        return bool(config.get("interface")) and config.get("channel") is not None
    return False


def _plugged_in(args: argparse.Namespace, console: Console, *, may_be_direct: bool) -> str | None:
    """The one adapter that is plugged in; of several none, because the wrong one may hang on another car."""
    from diag.adapters import find_adapters

    usable = [one for one in find_adapters() if one.is_usable and (may_be_direct or one.kind != "elm327")]
    if len(usable) > 1:
        raise BadUsage(console.tr("link.several", choices="; ".join(" ".join(one.options) for one in usable)))
    if not usable:
        return None
    console.note(console.tr("link.only_one", name=usable[0].name, words=" ".join(usable[0].options)))
    options = dict(zip(usable[0].options[::2], usable[0].options[1::2], strict=False))
    if "--adapter" in options:
        return options["--adapter"]
    args.interface, args.channel = options.get("-i"), options.get("-c")
    if args.bitrate is None:
        args.bitrate = int(options["-b"]) if options.get("-b") else _heard_bitrate(usable[0], console)
    return None


def _heard_bitrate(adapter: Candidate, console: Console) -> int | None:
    """The bus's speed by listening only; the usual one where nothing is heard, None where it is not ours to set."""
    if adapter.kind != "slcan":
        return None
    from diag.adapters import listen_to

    console.stage(console.tr("link.finding_speed"))
    try:
        heard = listen_to(adapter, (_USUAL_BITRATE, 250_000, 1_000_000, 125_000), _LISTEN_S)
    except OSError:
        return _USUAL_BITRATE
    finally:
        console.stage_done()
    return heard.bitrate if heard.frames and heard.bitrate else _USUAL_BITRATE


def _can_settings(args: argparse.Namespace, console: Console) -> tuple[str, str, int | None]:
    """Interface, channel and bit rate by flag, environment, python-can's configuration, in this order."""
    interface, channel = _setting(args, "interface"), _setting(args, "channel")
    bitrate_text = _setting(args, "bitrate")
    if interface is None or channel is None:
        from diag.pythoncan import can

        with suppress(can.CanError):
            config = can.util.load_config()
            interface = interface or config.get("interface")
            channel = channel or config.get("channel")
            bitrate_text = bitrate_text or config.get("bitrate")
    channel = channel or _USUAL_CHANNELS.get(interface or "")
    if not interface or channel is None:
        is_half_named = interface or channel is not None
        raise BadUsage(console.tr("link.none_given") if is_half_named else console.tr("link.nothing_there"))
    try:
        return interface, str(channel), int(bitrate_text) if bitrate_text else None
    except ValueError as error:
        raise BadUsage(console.tr("link.bad_bitrate", value=bitrate_text)) from error


async def _open_adapter(text: str, guard: TransmitGuard, console: Console) -> DirectLink:
    """The link that ``--adapter`` names."""
    kind, _, where = text.partition(":")
    if kind == "doip":
        from diag.doip import open_doip, parse_doip_address

        try:
            host, port = parse_doip_address(where)
        except ValueError:
            raise BadUsage(console.tr("link.bad_adapter", value=text)) from None
        return await open_doip(host, port, guard=guard)
    if kind == "elm327":
        from diag.elm327 import open_elm327, parse_elm327_port

        try:
            name, baud = parse_elm327_port(where)
        except ValueError:
            raise BadUsage(console.tr("link.bad_adapter", value=text)) from None
        from huizhen.settings import recall

        kept = recall()
        protocol = kept.protocol if kept is not None and kept.adapter == text else ""
        return await open_elm327(name, baud, protocol, guard=guard)
    raise BadUsage(console.tr("link.bad_adapter", value=text))


@asynccontextmanager
async def open_vehicle(
    args: argparse.Namespace,
    console: Console,
    *,
    granted: frozenset[Risk] | None = None,
    routines: Mapping[int, tuple[Risk, Text]] | None = None,
) -> AsyncIterator[OpenVehicle]:
    """Opens what the options name; closes it at the end.

    Args:
        args: with the link options.
        console: for what a person should know.
        granted: classes of requests that the guard may let out; None = reading alone.
        routines: those of a workshop's policy; the guard knows them then, and grants them no more than others.

    Raises:
        BadUsage: the options contradict each other, or name nothing.
        diag.errors.NoAdapter: it cannot be opened.
        dbc.errors.DbcError: a database cannot be read.
        virtualbus.errors.VirtualBusError: a scenario cannot be used.
    """
    import dbc
    from diag.canbus import open_can
    from diag.guard import TransmitGuard

    databases = tuple(dbc.load(path) for path in args.dbc)
    if args.scenario and not args.demo:
        raise BadUsage(console.tr("link.scenario_without_demo"))
    adapter = getattr(args, "adapter", None)
    if getattr(args, "unfit_adapter", None):
        raise _needs_frames(args.unfit_adapter, console)
    if args.demo and (args.interface or args.channel or adapter):
        raise BadUsage(console.tr("link.demo_and_interface"))
    if adapter and (args.interface or args.channel or args.fd):
        raise BadUsage(console.tr("link.adapter_and_interface"))
    guard = TransmitGuard(routines=routines) if granted is None else TransmitGuard(granted, routines=routines)
    may_be_direct = hasattr(args, "adapter")
    is_named = args.demo or _setting(args, "interface") or _setting(args, "channel")
    if adapter is None and not is_named:
        wished = os.environ.get("HUIZHEN_ADAPTER")
        adapter = (wished if may_be_direct else None) or _unnamed(args, console, may_be_direct=may_be_direct)
        if adapter is None and args.interface is None and not _is_can_configured():
            unfit = wished or _unfit_adapter()
            if unfit:
                raise _needs_frames(unfit, console)
    if adapter is not None:
        from diag.reviving import RevivingLink

        named = adapter

        async def reopen() -> DirectLink:
            return await _open_adapter(named, guard, console)

        def notice(text: Text) -> None:
            console.note(text.in_language(console.tr.lang))

        async with RevivingLink(await reopen(), reopen, args.replug, notice) as direct:
            yield OpenVehicle(direct, guard, databases, direct.info.simulated, args.timeout, adapter)
        return
    async with AsyncExitStack() as stack:
        if args.demo:
            import virtualbus

            car = stack.enter_context(virtualbus.running(args.scenario or "weak-cell"))
            settings: tuple[str, str, int | None] = (car.interface, car.channel, 500_000)
        else:
            settings = _can_settings(args, console)
        link = await open_can(
            *settings,
            fd=args.fd,
            data_bitrate=args.data_bitrate,
            guard=guard,
            replug_s=0.0 if args.demo else args.replug,
            notice=lambda text: console.note(text.in_language(console.tr.lang)),
        )
        await stack.enter_async_context(link)
        yield OpenVehicle(link, guard, databases, link.info.simulated, args.timeout)
