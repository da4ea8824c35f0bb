"""Small parts of a scan that need no state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.addressing import Target
from diag.answers import ask
from diag.direct import DirectLink
from diag.errors import DiagError, NegativeResponse, NoAnswer
from diag.facts import FreezeFrame, Text
from diag.nrc import nrc_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbc.database import Database
    from diag.answers import Answer, RequestLink
    from diag.obd import FrozenMoment
    from diag.vehiclereport import Ecu

__all__ = ["SecondChance", "answer_or_none", "freeze_frame_from_obd", "target_of", "targets_of", "why_of"]


def targets_of(databases: Iterable[Database]) -> dict[int, Target]:
    """Request identifier -> target for every node whose diagnostic addresses a database gives."""
    return {
        node.diag_request_id: Target(node.diag_request_id, node.diag_response_id, node.diag_request_id > 0x7FF)
        for database in databases
        for node in database.nodes
        if node.diag_request_id is not None and node.diag_response_id is not None
    }


def target_of(ecu: Ecu, link: object) -> Target:
    """Where an ECU of a report is asked again through the link that the report was made with."""
    request_id = int(ecu.request_address, 16)
    if isinstance(link, DirectLink) and not link.is_can:
        return Target.at_logical(request_id)
    return Target.physical(request_id, int(ecu.address, 16))


class SecondChance:
    """A link on which a silent ECU is asked again, once: one lost frame shall not cost what it would have told.

    For reading, of ECUs that are known to be there.

    Args:
        link: to the car.
    """

    def __init__(self, link: RequestLink) -> None:
        self._link = link

    async def request(self, target: Target, payload: bytes, *, timeout_s: float | None = None) -> tuple[Answer, ...]:
        """See :meth:`diag.answers.RequestLink.request`."""
        try:
            return await self._link.request(target, payload, timeout_s=timeout_s)
        except NoAnswer:
            return await self._link.request(target, payload, timeout_s=timeout_s)


async def answer_or_none(link: RequestLink, target: Target, payload: bytes, timeout_s: float | None) -> Answer | None:
    """What one ECU says; None for silence."""
    try:
        return await ask(link, target, payload, timeout_s=timeout_s)
    except NoAnswer:
        return None


def why_of(error: DiagError) -> Text:
    """An error of one ECU in few words; what to do about the whole car is said elsewhere."""
    if isinstance(error, NoAnswer):
        return Text("no answer", "无应答")
    if isinstance(error, NegativeResponse):
        return nrc_text(error.nrc)
    reason = getattr(error, "reason", None) or getattr(error, "what", None)
    return reason if isinstance(reason, Text) else Text(str(reason or error), str(reason or error))


def freeze_frame_from_obd(frozen: FrozenMoment) -> FreezeFrame:
    """A freeze frame of service 02 as a report has it."""
    return FreezeFrame(frozen.ecu, frozen.code, frozen.frame, frozen.raw, frozen.readings, "obd-freeze-frame")
