"""Searching for ECUs at addresses that nobody named: every 11-bit diagnostic identifier is asked "are you there?".

Makers choose request identifiers from 0x700 on, and the identifier of the answer is not always eight above. So answers
on any of them are listened for, and whose they are is found by asking again one by one. The requests keep within a
share of the bus's capacity, because the car needs it too.

Standard: ISO 14229-1:2020 §10.6 (3E); ISO 15765-4:2021 §10.3 (identifiers that are legislated).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from diag.addressing import FUNCTIONAL_11, Target
from diag.errors import DiagError, LinkLost
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from diag.frames import Frame, FrameLink
    from diag.request import IsoTpLink

__all__ = ["SEARCHED", "search_ecus"]

_BY_LAW: Final = frozenset({FUNCTIONAL_11, *range(0x7E8, 0x7F0)})
SEARCHED: Final = tuple(number for number in range(0x700, 0x7F8) if number not in _BY_LAW)
_PROBE: Final = b"\x3e\x00"
_FRAME_BITS: Final = 135
"""A frame of eight bytes with stuff bits and the pause after it."""
_ANSWER_S: Final = 0.15
_USUAL_BITRATE: Final = 500_000
_OFFSET: Final = 8
_TOLD_EACH: Final = 20


def _is_answer(frame: Frame) -> bool:
    """A frame that can answer 3E: positive, or refused."""
    data = frame.data
    is_there = data[:3] == b"\x02\x7e\x00" or (data[:1] == b"\x03" and data[1:3] == b"\x7f\x3e")
    return is_there and not (frame.extended or frame.error or frame.remote) and frame.can_id >= 0x700


def _ignore(_: Text) -> None:
    """Nobody wants to know."""


async def search_ecus(
    link: FrameLink,
    requests: IsoTpLink,
    *,
    known: Collection[int] = (),
    budget: float = 0.05,
    progress: Callable[[Text], None] = _ignore,
) -> tuple[Target, ...]:
    """Every ECU that answers, beyond those known.

    Args:
        link: frames of the bus.
        requests: over the same link.
        known: response identifiers of ECUs that were found already.
        budget: share of the bus's capacity that probes and answers may take together, 0 to 1.
        progress: told now and then how far it is.

    Raises:
        LinkLost: the adapter went away.
        RefusedByPolicy: the guard lets nothing out.
    """
    loop = asyncio.get_running_loop()
    step_s = 2 * _FRAME_BITS / (link.info.bitrate or _USUAL_BITRATE) / max(budget, 0.001)
    asked: dict[int, float] = {}
    found: dict[int, Target] = {}
    strangers: dict[int, list[int]] = {}
    with link.frames(accept=_is_answer) as answers:

        async def listen() -> None:
            async for frame in answers:
                if frame.can_id in known:
                    continue
                now = loop.time()
                near = [number for number, at in asked.items() if now - at < _ANSWER_S]
                if frame.can_id - _OFFSET not in near:
                    strangers.setdefault(frame.can_id, near)

        async def probe(number: int) -> None:
            target = Target(number, number + _OFFSET)
            try:
                await requests.request(target, _PROBE, timeout_s=_ANSWER_S)
            except LinkLost:
                raise
            except DiagError:
                return
            found[number + _OFFSET] = target

        listener = asyncio.create_task(listen())
        try:
            running: set[asyncio.Task[None]] = set()
            wanted = [number for number in SEARCHED if number + _OFFSET not in known]
            for at, number in enumerate(wanted, start=1):
                asked[number] = loop.time()
                running.add(asyncio.create_task(probe(number)))
                await asyncio.sleep(step_s)
                if at % _TOLD_EACH == 0:
                    progress(Text(f"searching: {at} of {len(wanted)}", f"正在搜索控制器：{at}/{len(wanted)}"))
            await asyncio.gather(*running)
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)
    for response_id, near in strangers.items():
        owner = await _owner_of(requests, response_id, near)
        if owner is not None:
            found[response_id] = owner
    return tuple(found[response_id] for response_id in sorted(found) if response_id not in known)


async def _owner_of(requests: IsoTpLink, response_id: int, near: list[int]) -> Target | None:
    """Which of the identifiers asked shortly before is answered there."""
    for number in near:
        if number == response_id:
            continue
        target = Target(number, response_id)
        try:
            await requests.request(target, _PROBE, timeout_s=_ANSWER_S)
        except LinkLost:
            raise
        except DiagError:
            continue
        return target
    return None
