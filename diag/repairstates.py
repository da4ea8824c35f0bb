"""The state of every code that an ECU can test, whether it failed or not: what proves that a test has run.

Standard: ISO 14229-1:2020 §12.3 (19 0A, reportSupportedDTC).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.dtc import parse_uds_dtcs
from diag.errors import DiagError, LinkLost
from diag.request import ask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.addressing import Target
    from diag.answers import RequestLink
    from diag.facts import Json

__all__ = ["read_states"]

_SUPPORTED = b"\x19\x0a"


async def read_states(link: RequestLink, targets: Sequence[Target], *, timeout_s: float | None = None) -> list[Json]:
    """``dtc_status`` of a report: ECU, code and status byte; ECUs that do not answer the question are left out.

    Raises:
        LinkLost: the adapter went away.
    """
    found: list[Json] = []
    for target in targets:
        try:
            answer = await ask(link, target, _SUPPORTED, timeout_s=timeout_s)
        except LinkLost:
            raise
        except DiagError:
            continue
        if answer.negative is not None:
            continue
        parsed = parse_uds_dtcs(answer.payload, ecu=target.address, declared_length=answer.declared_length)
        found += [
            {"ecu": target.address, "display": dtc.display, "mask": f"0x{dtc.status.mask:02X}"}
            for dtc in parsed.dtcs
            if dtc.status is not None
        ]
    return found
