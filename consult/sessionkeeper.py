"""ECUs that were put into another session stay in it while somebody still works with them.

An ECU falls back to its default session when it hears nothing for S3 (5 s), and a person needs longer than that to
grant the next request. So after a granted change of session the laptop says "tester present" (class A) until the
session is left, everything is stopped, the room is out of reach for ten seconds, or nothing was asked of the ECU for
five minutes. Then it says nothing more, and the ECU falls back by itself.

Standard: ISO 14229-2:2021 §7 (S3), ISO 14229-1:2020 §10.2, §10.6.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from diag.answers import ask
from diag.errors import DiagError

if TYPE_CHECKING:
    from collections.abc import Callable

    from diag.addressing import Target
    from diag.answers import RequestLink

__all__ = ["SessionKeeper"]

_LOG = logging.getLogger(__name__)

_EVERY_S: Final = 2.0
_LONGEST_S: Final = 300.0
_OUT_OF_REACH_S: Final = 10.0
_PRESENT: Final = b"\x3e\x80"
_DEFAULT: Final = b"\x10\x01"
_SESSION, _RESET = 0x10, 0x11


class SessionKeeper:
    """The sessions that are kept.

    Args:
        link: to the vehicle; its guard knows "tester present" and the way back as reading.
        may_keep: asked before each sign of life; False for ten seconds lets the session fall back.
    """

    def __init__(self, link: RequestLink, *, may_keep: Callable[[], bool] = lambda: True) -> None:
        self._link = link
        self._may_keep = may_keep
        self._kept: dict[Target, asyncio.Task[None]] = {}
        self._last_s: dict[Target, float] = {}

    @property
    def kept(self) -> tuple[Target, ...]:
        """The ECUs that are not in their default session, as far as this side knows."""
        return tuple(self._kept)

    def note(self, target: Target, request: bytes, *, is_positive: bool) -> None:
        """A granted request was answered: what it means for the session of this ECU."""
        self._last_s[target] = asyncio.get_running_loop().time()
        if not is_positive:
            return
        if request[0] == _RESET or request[:2] in (_DEFAULT, b"\x10\x81"):
            self._drop(target)
        elif request[0] == _SESSION and target not in self._kept:
            task = asyncio.get_running_loop().create_task(self._keep(target), name="tester present")
            self._kept[target] = task
            task.add_done_callback(lambda _: self._kept.pop(target, None) if self._kept.get(target) is task else None)

    async def leave_all(self) -> None:
        """Back to the default session everywhere; an ECU that does not answer falls back by itself."""
        targets = self.kept
        for target in targets:
            self._drop(target)
        for target in targets:
            try:
                await ask(self._link, target, _DEFAULT)
            except DiagError as error:
                _LOG.info("%s did not confirm its default session: %s", target.address, error)

    def _drop(self, target: Target) -> None:
        task = self._kept.pop(target, None)
        if task is not None:
            task.cancel()

    async def _keep(self, target: Target) -> None:
        clock = asyncio.get_running_loop().time
        reached_s = clock()
        while clock() - self._last_s[target] < _LONGEST_S:
            await asyncio.sleep(_EVERY_S)
            if self._may_keep():
                reached_s = clock()
            elif clock() - reached_s > _OUT_OF_REACH_S:
                return
            try:
                await self._link.request(target, _PRESENT)
            except DiagError as error:
                _LOG.info("session with %s is not kept alive: %s", target.address, error)
                return
