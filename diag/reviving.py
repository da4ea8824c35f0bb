"""A link that comes back: an adapter or gateway that went away is waited for, and what was being read is asked again.

It stands before a :class:`diag.direct.DirectLink` and opens a new one when that is lost. Only reading is ever repeated.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from diag.direct import DirectLink
from diag.errors import DiagError, LinkLost, NoAdapter, NoAnswer
from diag.facts import Text
from diag.guard import Risk

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from diag.addressing import Target
    from diag.answers import Answer, AnswerTimes
    from diag.frames import Frame

__all__ = ["RevivingLink"]

_POLL_S: Final = 0.5


class RevivingLink(DirectLink):
    """Requests through whichever link is there now.

    Args:
        link: opened already.
        reopen: opens another one, with the same guard.
        patience_s: how long it is waited for.
        notice: told when the adapter goes and when it is back.

    Attributes:
        outages: how often it went away.
    """

    def __init__(
        self,
        link: DirectLink,
        reopen: Callable[[], Awaitable[DirectLink]],
        patience_s: float,
        notice: Callable[[Text], None],
    ) -> None:
        super().__init__(link.info, link.guard, timing=link.timing)
        self.inner = link
        self.outages = 0
        self.at_once, self.is_can, self.remarks = link.at_once, link.is_can, link.remarks
        self.functional, self.usual = link.functional, link.usual
        self._reopen, self._patience_s, self._notice = reopen, patience_s, notice
        self._reviving = asyncio.Lock()
        self._kept: dict[Target, AnswerTimes] = {}

    @property
    def protocol(self) -> str:
        """Of the bus behind an ELM327; empty for others."""
        return str(getattr(self.inner, "protocol", ""))

    @property
    def is_away(self) -> bool:
        """The adapter went away and is waited for."""
        return self._reviving.locked()

    async def _transmit(self, target: Target, payload: bytes) -> None:
        raise NotImplementedError  # requests go whole through the link that is there

    def set_times(self, target: Target, times: AnswerTimes | None) -> None:
        """See :meth:`diag.answers.TimedLink.set_times`; kept for the next link too."""
        self._kept.pop(target, None)
        if times is not None:
            self._kept[target] = times
        self.inner.set_times(target, times)

    async def request(self, target: Target, payload: bytes, *, timeout_s: float | None = None) -> tuple[Answer, ...]:
        """See :meth:`diag.answers.RequestLink.request`; a reading request that falls into a gap is asked again."""
        while True:
            link = self.inner
            try:
                return await link.request(target, payload, timeout_s=timeout_s)
            except LinkLost as lost:
                if self.guard.class_of(payload, target) is not Risk.READ:
                    raise  # the next reading request waits; this one is for a person to decide on again
                await self._revive(link, lost)

    async def listen(self, seconds: float) -> Sequence[Frame]:
        """What passes on the bus by itself; begun again after a gap."""
        while True:
            link = self.inner
            try:
                return await link.listen(seconds)
            except LinkLost as lost:
                await self._revive(link, lost)

    async def _revive(self, link: DirectLink, lost: LinkLost) -> None:
        """Waits until a link is there again; whoever comes second finds it done.

        Raises:
            LinkLost: it does not come back, or this link was closed.
        """
        async with self._reviving:
            if self.inner is not link:
                return
            if self._lost is not None or self._patience_s <= 0:
                raise self._lost or lost
            self.outages += 1
            channel, reason = self.info.channel, lost.reason
            why = reason if isinstance(reason, Text) else Text(str(reason), str(reason))
            self._notice(
                Text(
                    f"{channel} is gone ({why.en}): connect it again, it goes on by itself ({self._patience_s:.0f} s)",
                    f"{channel} 已断开（{why.zh}）：请重新连接，将自动继续（等待 {self._patience_s:.0f} 秒）",
                )
            )
            await link.close()
            loop = asyncio.get_running_loop()
            end = loop.time() + self._patience_s
            while loop.time() < end:
                await asyncio.sleep(_POLL_S)
                try:
                    self.inner = await self._reopen()
                except (NoAdapter, LinkLost, NoAnswer):
                    continue
                for target, times in self._kept.items():
                    self.inner.set_times(target, times)
                self._notice(Text(f"{channel} is back", f"{channel} 已恢复"))
                return
            self._lose(lost)
            raise lost

    async def close(self) -> None:
        """Gives the adapter back; may be called twice."""
        self._lose(LinkLost(self.info.channel, Text("it was closed", "已关闭")))
        try:
            await self.inner.close()
        except DiagError:
            return
