"""Getting through: attempts that overlap, so that one which hangs on a dead path does not delay the next."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from consult.errors import OriginRefused, RoomClosed, SessionRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from consult.errors import ConsultError

__all__ = ["SILENCE_S", "first_of", "first_to_open", "given_up", "open_socket", "refusal_of"]

SILENCE_S: Final = 2.0
"""The service beats twice a second; nothing for this long means that the connection is dead, whatever TCP thinks."""

_SLEPT_S: Final = 3.0

_EVERY_S: Final = 1.0
_MOST: Final = 5
_TIMEOUT_S: Final = 10.0
_GOODBYE_S: Final = 0.5


async def first_to_open(
    open_socket: Callable[[], Awaitable[aiohttp.ClientWebSocketResponse]],
) -> aiohttp.ClientWebSocketResponse:
    """The websocket of whichever attempt gets through first; a new one begins each second while the others hang.

    Raises:
        Exception: what the last attempt raised, when all have failed.
    """
    attempts: set[asyncio.Future[aiohttp.ClientWebSocketResponse]] = set()
    try:
        while True:
            attempts.add(asyncio.ensure_future(open_socket()))
            wait_s = _EVERY_S if len(attempts) < _MOST else None
            done, attempts = await asyncio.wait(attempts, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
            opened = [one for one in done if one.exception() is None]
            for late in opened[1:]:
                await late.result().close()
            if opened:
                return opened[0].result()
            if done and not attempts:
                return done.pop().result()
    finally:
        for attempt in attempts:
            attempt.cancel()
        for late_one in await asyncio.gather(*attempts, return_exceptions=True):
            if isinstance(late_one, aiohttp.ClientWebSocketResponse):
                await late_one.close()


async def open_socket(http: aiohttp.ClientSession, url: str, token: str) -> aiohttp.ClientWebSocketResponse:
    """One attempt at the agent's websocket; pings of either side are left to who hears.

    Raises:
        TimeoutError: nobody answered in time.
        aiohttp.ClientError: nobody could be reached, or what answered is no websocket.
    """
    async with asyncio.timeout(_TIMEOUT_S):
        return await http.ws_connect(
            url,
            headers={"Authorization": f"Bearer {token}"},
            compress=0,
            autoping=False,
            max_msg_size=1 << 20,
            timeout=aiohttp.ClientWSTimeout(ws_close=_GOODBYE_S),
        )


def first_of(group: BaseExceptionGroup[Any]) -> BaseException:
    """The first single error in a group."""
    first = group.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first


async def given_up(heard_s: Callable[[], float], rtt_s: Callable[[], float | None]) -> str:
    """Waits until a connection is to be given up and says why: silence, or a sleep of this machine.

    Args:
        heard_s: when something was last heard, by the monotonic clock.
        rtt_s: how long the line's last echo took, where it is known.
    """
    wall_s = time.time()
    while True:
        await asyncio.sleep(SILENCE_S / 8)
        # On a line with long echoes, a lost packet's repetition takes several of them.
        limit_s = SILENCE_S + 3 * min(1.0, max(0.0, (rtt_s() or 0.0) - 0.1))
        if time.monotonic() - heard_s() > limit_s:
            return f"silent for {limit_s:.1f} s"
        if time.time() - wall_s > SILENCE_S / 8 + _SLEPT_S:
            return "this machine slept"  # the other side has given up too
        wall_s = time.time()


def refusal_of(status: int) -> type[ConsultError] | None:
    """What an HTTP answer instead of a websocket means where it is an answer for good; None where it is none."""
    found: dict[int, type[ConsultError]] = {401: SessionRefused, 403: OriginRefused, 410: RoomClosed}
    return found.get(status)
