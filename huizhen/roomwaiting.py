"""A technician's car in the service's queue, as the terminal of ``huizhen consult open`` tells of it."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from consult.agent import Agent
    from huizhen.console import Console

__all__ = ["RoomWaiting", "region_from_environment"]

_AGAIN_S = 5.0


def region_from_environment() -> str:
    """Where this computer is set up for: the country in ``LC_ALL`` or ``LANG``, such as ``CN``; empty for none."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        found = re.match(r"[a-z]{2,3}_([A-Z]{2})\b", os.environ.get(name, ""))
        if found:
            return found.group(1)
    return ""


class RoomWaiting:
    """Puts the car into the queue, and says where it is whenever that changes.

    Args:
        agent: in a room of a service.
        report: as the room has it, with the cases.
        console: where it is said.
    """

    def __init__(self, agent: Agent, report: dict[str, Any], console: Console) -> None:
        self._agent = agent
        self.report = report
        self._console = console
        self._said = ""
        import asyncio

        self._watching = asyncio.Event()

    async def let_experts_in(self) -> None:
        """Lets experts in; where the case library calls for one, the car waits for them too.

        Raises:
            ConsultError: what the service, or the way to it, refused.
        """
        from consult.needs import ESCALATING, verdict_of_report

        if verdict_of_report(self.report) not in ESCALATING:
            await self._agent.let_experts_in()
            await self._say_why_not()
        # Escalating lets them in, in one go: else somebody might be asked before it is known what language is spoken.
        elif not await self.escalate():
            await self._agent.let_experts_in()
        self._watching.set()

    async def _say_why_not(self) -> None:
        """Experts may come in, and the car does not wait for one."""
        place = await self._asked(self._agent.place())
        if place is not None:
            tr = self._console.tr
            self._console.note(
                tr("queue.open.not_needed") if place.get("can_escalate") else tr("queue.open.no_accounts")
            )

    def resume(self) -> None:
        """The room was left and is taken up again: its car may wait already."""
        self._watching.set()

    async def escalate(self) -> bool:
        """Asks for an expert; says why not where that is refused, and returns False."""
        console = self._console
        asking = self._agent.escalate(language=console.tr.lang, region=region_from_environment())
        place = await self._asked(asking)
        if place is None:
            return False
        if not place.get("can_escalate"):
            console.note(console.tr("queue.open.no_accounts"))
            return True
        console.note(console.tr("queue.open.consent"))
        self._tell(place)
        self._watching.set()
        return True

    async def _asked(self, asking: Awaitable[dict[str, Any]]) -> dict[str, Any] | None:
        """What the service says of the queue; None where it refuses, which is said."""
        from consult.errors import ConsultError, ServerRefused

        console = self._console
        try:
            return await asking
        except ServerRefused as error:
            # A service of an earlier version has rooms and no queue.
            console.note(console.tr("queue.open.none") if error.status_code == 404 else console.tr.error(error))
        except ConsultError as error:
            console.note(console.tr.error(error))
        return None

    async def watch(self) -> None:
        """Looks again every few seconds, once the car waits, until the end."""
        import asyncio

        from consult.errors import ConsultError

        await self._watching.wait()
        while True:
            # The link tells of itself; a service without a queue has nothing to tell.
            with contextlib.suppress(ConsultError):
                self._tell(await self._agent.place())
            await asyncio.sleep(_AGAIN_S)

    def _tell(self, place: dict[str, Any]) -> None:
        said = self._sentence(place)
        if said and said != self._said:
            self._said = said
            self._console.note(said)

    def _sentence(self, place: dict[str, Any]) -> str:
        from consult.waitnotices import place_text

        tr, number, estimate = self._console.tr, place.get("place"), place.get("estimate_s")
        if place.get("state") == "accepted":
            return tr("queue.open.accepted", who=place.get("expert") or tr("consult.role.expert"))
        if not isinstance(number, int):
            return ""
        where = place_text(number, estimate if isinstance(estimate, (int, float)) else None)
        if not place.get("on_duty"):
            return tr("queue.open.nobody", place=getattr(where, tr.lang))
        return tr("queue.open.place", place=getattr(where, tr.lang))
