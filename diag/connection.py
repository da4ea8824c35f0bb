"""The short way to a car for programs and notebooks: connect, scan, read, listen.

::

    async with diag.connect("socketcan", "can0") as car:
        report = await diag.scan(car)
        speed = await diag.read(car, "0D")
        frames = await diag.listen(car, 10)

The guard stands here as everywhere: what is connected like this only reads.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Protocol, TypeAlias, overload

from diag.addressing import OBD_FUNCTIONAL, OBD_FUNCTIONAL_29
from diag.broadcast import table_from_frames
from diag.canbus import CanLink, open_can
from diag.direct import DirectLink
from diag.errors import BadInput, NoAnswer
from diag.facts import Text
from diag.frames import FrameLink
from diag.readings import ReadOut, parse_ecu, parse_wanted, read_values
from diag.request import IsoTpLink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from dbc.table import FrameTable
    from diag.addressing import Target
    from diag.answers import RequestLink
    from diag.frames import Frame
    from diag.guard import TransmitGuard
    from diag.readings import Wanted

__all__ = ["Link", "Place", "connect", "find_targets", "listen", "read", "read_wanted"]

Link: TypeAlias = FrameLink | DirectLink
"""A car within reach: a bus whose frames are seen, or requests and answers alone."""

_PRESENT = (b"\x01\x00", b"\x3e\x00")


class Place(Protocol):
    """Where a car can be met, as python-can spells it; the simulated car's :func:`virtualbus.running` gives one."""

    @property
    def interface(self) -> str:
        """python-can's name of the kind of adapter."""
        ...

    @property
    def channel(self) -> str:
        """Which one of them."""
        ...


@overload
def connect(
    where: Place,
    *,
    fd: bool = ...,
    data_bitrate: int | None = ...,
    guard: TransmitGuard | None = ...,
    replug_s: float = ...,
) -> AbstractAsyncContextManager[CanLink]: ...


@overload
def connect(
    where: str,
    channel: str,
    bitrate: int | None = ...,
    *,
    fd: bool = ...,
    data_bitrate: int | None = ...,
    guard: TransmitGuard | None = ...,
    replug_s: float = ...,
) -> AbstractAsyncContextManager[CanLink]: ...


@overload
def connect(where: str, *, guard: TransmitGuard | None = ...) -> AbstractAsyncContextManager[DirectLink]: ...


def connect(
    where: str | Place,
    channel: str | None = None,
    bitrate: int | None = None,
    *,
    fd: bool = False,
    data_bitrate: int | None = None,
    guard: TransmitGuard | None = None,
    replug_s: float = 0.0,
) -> AbstractAsyncContextManager[CanLink] | AbstractAsyncContextManager[DirectLink]:
    """A car, opened by ``async with`` and closed at its end.

    ::

        diag.connect("slcan", "/dev/ttyACM0", 500_000)   # any interface of python-can
        diag.connect("elm327:/dev/ttyUSB0")              # an interpreter chip; also elm327:192.168.0.10:35000
        diag.connect("doip:169.254.31.22")               # a DoIP gateway
        diag.connect(simulated)                          # anything with .interface and .channel

    Args:
        where: the interface; or with nothing else ``elm327:PORT`` or ``doip:HOST[:PORT]``; or a place.
        channel: which adapter of that interface.
        bitrate: bit/s of the arbitration phase; None leaves what is configured.
        fd: CAN FD.
        data_bitrate: bit/s of the data phase, with ``fd``.
        guard: decides what may be sent; left out, only reading.
        replug_s: how long to wait for an adapter that was unplugged.

    Raises:
        BadInput: ``where`` alone names no car.
        NoAdapter: when it is entered: it cannot be opened.
    """
    if isinstance(where, str):
        interface = where
    else:
        interface, channel = where.interface, where.channel
    if channel is None:
        return _direct(interface, guard)
    return _bus(interface, channel, bitrate, fd=fd, data_bitrate=data_bitrate, guard=guard, replug_s=replug_s)


@asynccontextmanager
async def _bus(
    interface: str,
    channel: str,
    bitrate: int | None,
    *,
    fd: bool,
    data_bitrate: int | None,
    guard: TransmitGuard | None,
    replug_s: float,
) -> AsyncIterator[CanLink]:
    link = await open_can(interface, channel, bitrate, fd=fd, data_bitrate=data_bitrate, guard=guard, replug_s=replug_s)
    async with link:
        yield link


def _direct(where: str, guard: TransmitGuard | None) -> AbstractAsyncContextManager[DirectLink]:
    """A link that carries requests only; its name is judged at once, it opens when it is entered."""
    kind, _, rest = where.partition(":")
    try:
        if kind == "doip":
            from diag.doip import parse_doip_address

            host, port = parse_doip_address(rest)
            return _doip(host, port, guard)
        if kind == "elm327":
            from diag.elm327 import parse_elm327_port

            name, baud = parse_elm327_port(rest)
            return _elm327(name, baud, guard)
    except ValueError:
        pass
    raise BadInput(
        repr(where),
        Text(
            "name interface and channel, or elm327:PORT, or doip:HOST",
            "请给出接口和通道，或 elm327:端口，或 doip:主机",
        ),
    )


@asynccontextmanager
async def _doip(host: str, port: int, guard: TransmitGuard | None) -> AsyncIterator[DirectLink]:
    from diag.doip import open_doip

    async with await open_doip(host, port, guard=guard) as link:
        yield link


@asynccontextmanager
async def _elm327(name: str, baud: str, guard: TransmitGuard | None) -> AsyncIterator[DirectLink]:
    from diag.elm327 import open_elm327

    async with await open_elm327(name, baud, guard=guard) as link:
        yield link


async def find_targets(requests: RequestLink, timeout_s: float | None = None) -> Sequence[Target]:
    """Every ECU that answers a functional request, by address.

    Raises:
        NoAnswer: none does.
    """
    functional = requests.functional if isinstance(requests, DirectLink) else (OBD_FUNCTIONAL, OBD_FUNCTIONAL_29)
    found: dict[str, Target] = {}
    for target in functional:
        for request in _PRESENT:
            for answer in await requests.request(target, request, timeout_s=timeout_s):
                found.setdefault(answer.ecu, answer.source)
    if not found:
        raise NoAnswer(Text("the vehicle", "车辆"), timeout_s or 1.0)
    return [found[address] for address in sorted(found)]


async def read(
    car: Link, *ids: str, ecu: str | Sequence[str] = (), timeout_s: float | None = None
) -> tuple[ReadOut, ...]:
    """Single readings, as ``huizhen read`` takes them.

    ::

        for one in await diag.read(car, "0C", "F190"):
            print(one.ecu, one.readings)

    Args:
        car: connected.
        ids: ``0C`` or ``01:0C`` (parameter), ``F190`` (data identifier), ``06:A1`` (monitor), ``09:02`` (InfoType).
        ecu: addresses as a scan shows them; none = every ECU that answers is asked.
        timeout_s: per answer; None = the protocol's own times.

    Returns:
        One entry per question and ECU. Where all were asked, those without such a thing are left out.

    Raises:
        BadInput: an id or an address that is none.
        NoAnswer: no ECU was named, and none answers.
        LinkLost: the adapter went away.
    """
    return await read_wanted(
        car, [parse_wanted(text) for text in ids], [ecu] if isinstance(ecu, str) else ecu, timeout_s=timeout_s
    )


async def read_wanted(
    car: Link, wanted: Sequence[Wanted], ecus: Sequence[str] = (), *, timeout_s: float | None = None
) -> tuple[ReadOut, ...]:
    """As :func:`read`, with the questions taken apart already."""
    async with AsyncExitStack() as stack:
        requests = car if isinstance(car, DirectLink) else await stack.enter_async_context(IsoTpLink(car))
        is_logical = isinstance(car, DirectLink) and not car.is_can
        targets: Sequence[Target] = [parse_ecu(text, is_logical=is_logical) for text in ecus]
        if not ecus:
            targets = await find_targets(requests, timeout_s)
        found = list(await read_values(requests, wanted, targets, timeout_s=timeout_s))
    if not ecus:  # an ECU that has no such thing is no news when all were asked
        telling = [one for one in found if not one.is_silent and one.negative is None]
        kept = {one.wanted for one in telling}
        found = [*telling, *(one for one in found if one.wanted not in kept)]
        found.sort(key=lambda one: wanted.index(one.wanted))
    return tuple(found)


async def listen(car: Link, seconds: float) -> FrameTable:
    """The frames that pass on the bus by themselves, in so many seconds; nothing is sent.

    Their times are UTC in nanoseconds: ``dbc.decode(frames, database, start_ns=0)`` says so to what comes of them.
    Through an ELM327 they are some of the frames, and through DoIP none.

    Raises:
        LinkLost: the adapter went away.
    """
    if isinstance(car, DirectLink):
        return table_from_frames(await car.listen(seconds))
    heard: list[Frame] = []
    with car.frames(accept=lambda frame: not frame.error) as subscription:
        try:
            async with asyncio.timeout(seconds):
                while frames := await subscription.batch():
                    heard.extend(frames)
        except TimeoutError:
            pass
    return table_from_frames(heard)
