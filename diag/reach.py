"""What a visit has of a car: requests, frames, a search, a J1939 bus; each of it goes on the visit's tape.

:class:`LiveCar` is the one at the plug; :mod:`diag.replay` has one that is made of a tape.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

from diag.direct import DirectLink
from diag.ecusearch import search_ecus
from diag.errors import DiagError
from diag.j1939requests import J1939Tester, read_bus
from diag.request import IsoTpLink
from diag.tape import CANCELLED, Entry, Hearing, LinkTraits, Tape

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence

    from diag.addressing import Target
    from diag.answers import Answer, RequestLink
    from diag.facts import Text
    from diag.frames import FrameLink
    from diag.j1939requests import J1939Answer, UnitReading

__all__ = ["LiveCar", "Reach"]

T = TypeVar("T")

_UDS, _J1939, _CLAIM, _SEARCH = "uds", "j1939", "claim", "search"


class Reach(Protocol):
    """A car within reach of a visit; also a :class:`diag.answers.RequestLink`.

    Attributes:
        traits: of the link.
        hearing: the frames that passed.
        tape: of this visit.
    """

    traits: LinkTraits
    hearing: Hearing
    tape: Tape

    async def request(self, target: Target, payload: bytes, *, timeout_s: float | None = None) -> tuple[Answer, ...]:
        """See :meth:`diag.answers.RequestLink.request`."""
        ...

    async def collect(self) -> None:
        """Keeps the frames that pass until cancelled.

        Raises:
            LinkLost: the adapter went away.
        """
        ...

    async def listen(self, seconds: float) -> None:
        """Keeps what passes in so long, where the link has to be told to listen."""
        ...

    async def search(self, known: Collection[int], progress: Callable[[Text], None]) -> tuple[Target, ...]:
        """See :func:`diag.ecusearch.search_ecus`; nothing where no frames pass."""
        ...

    async def read_bus(
        self, addresses: Sequence[int], units: dict[int, UnitReading], progress: Callable[[Text], None]
    ) -> None:
        """See :func:`diag.j1939requests.read_bus`."""
        ...


class LiveCar:
    """A car at the plug.

    Args:
        link: an open bus, or a link that carries requests only.
        requests: over it.
        tape: takes everything.
    """

    def __init__(self, link: FrameLink | DirectLink, requests: RequestLink, tape: Tape) -> None:
        self._link, self._requests, self.tape = link, requests, tape
        self.hearing = Hearing()
        tape.frames, tape.marks = self.hearing.frames, self.hearing.marks
        if isinstance(link, DirectLink):
            self.traits = LinkTraits(
                link.info,
                has_frames=False,
                is_can=link.is_can,
                at_once=link.at_once,
                functional=link.functional,
                usual=link.usual,
                remarks=link.remarks,
            )
        else:
            self.traits = LinkTraits(link.info, has_frames=True)
        tape.traits = self.traits

    @classmethod
    @asynccontextmanager
    async def at(cls, link: FrameLink | DirectLink, tape: Tape) -> AsyncIterator[LiveCar]:
        """A link that is open, with requests over it."""
        async with AsyncExitStack() as stack:
            requests = link if isinstance(link, DirectLink) else await stack.enter_async_context(IsoTpLink(link))
            yield cls(link, requests, tape)

    async def request(self, target: Target, payload: bytes, *, timeout_s: float | None = None) -> tuple[Answer, ...]:
        """See :meth:`diag.answers.RequestLink.request`."""

        def entry(answers: tuple[Answer, ...] | None, error: DiagError | str | None) -> Entry:
            return Entry(_UDS, time.time_ns(), target, bytes(payload), answers=answers or (), error=error)

        return await self._taped(self._requests.request(target, payload, timeout_s=timeout_s), entry)

    async def _taped(self, work: Awaitable[T], entry: Callable[[T | None, DiagError | str | None], Entry]) -> T:
        """Does something and notes what came of it, also when it failed or was given up."""
        came: T | None = None
        error: DiagError | str | None = None
        try:
            came = await work
        except DiagError as caught:
            error = caught
            raise
        except asyncio.CancelledError:
            error = CANCELLED
            raise
        finally:
            self.tape.note(entry(came, error))
        return came

    async def collect(self) -> None:
        """See :meth:`Reach.collect`."""
        if isinstance(self._link, DirectLink):
            return
        with self._link.frames(is_sent_wanted=True) as subscription:
            while frames := await subscription.batch():
                self.hearing.hear(frames)

    async def listen(self, seconds: float) -> None:
        """See :meth:`Reach.listen`."""
        if isinstance(self._link, DirectLink):
            self.hearing.hear(await self._link.listen(seconds))

    async def search(self, known: Collection[int], progress: Callable[[Text], None]) -> tuple[Target, ...]:
        """See :meth:`Reach.search`."""
        if isinstance(self._link, DirectLink) or not isinstance(self._requests, IsoTpLink):
            return ()

        def entry(found: tuple[Target, ...] | None, error: DiagError | str | None) -> Entry:
            return Entry(_SEARCH, time.time_ns(), found=found or (), error=error)

        return await self._taped(search_ecus(self._link, self._requests, known=known, progress=progress), entry)

    async def read_bus(
        self, addresses: Sequence[int], units: dict[int, UnitReading], progress: Callable[[Text], None]
    ) -> None:
        """See :meth:`Reach.read_bus`."""
        if isinstance(self._link, DirectLink):
            return
        tester = J1939Tester(self._link)
        await self._taped(tester.claim(), lambda _, error: Entry(_CLAIM, time.time_ns(), error=error))

        async def ask(pgn: int, destination: int) -> tuple[J1939Answer, ...]:
            def entry(groups: tuple[J1939Answer, ...] | None, error: DiagError | str | None) -> Entry:
                return Entry(_J1939, time.time_ns(), pgn=pgn, destination=destination, groups=groups or (), error=error)

            return await self._taped(tester.request(pgn, destination), entry)

        await read_bus(ask, addresses, units, progress)
