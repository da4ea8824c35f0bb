"""The fault codes of a car again and again, after a scan has told who is there.

Only reading services, on a link that others use too. An ECU that does not answer keeps what it said before.
Standard: ISO 14229-1:2020 §12.3 (19 02), SAE J1979 (03, 07, 0A).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from diag.answers import ask
from diag.dtc import parse_obd_dtcs, parse_uds_dtcs
from diag.dtcmerge import merge_dtcs
from diag.errors import DiagError, LinkLost
from diag.scanparts import target_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from diag.addressing import Target
    from diag.answers import RequestLink
    from diag.facts import Dtc
    from diag.vehiclereport import Ecu, VehicleReport

__all__ = ["CodeWatch"]

_CODES_UDS: Final = bytes([0x19, 0x02, 0xAF])
_CODES_OBD: Final = (b"\x03", b"\x07", b"\x0a")


class CodeWatch:
    """The codes of the ECUs that a report could read.

    Args:
        requests: to the vehicle; one after the other is asked of each ECU.
        report: who is there and what they had.
        describe: gives a code its text where a maker's description has one.
    """

    def __init__(
        self,
        requests: RequestLink,
        report: VehicleReport,
        *,
        timeout_s: float | None = None,
        describe: Callable[[Dtc], Dtc] | None = None,
    ) -> None:
        self._requests = requests
        self._timeout_s = timeout_s
        self._describe = describe
        self._ecus = tuple(
            (ecu, target_of(ecu, requests)) for ecu in report.ecus if ecu.request_address and ecu.codes_read
        )
        watched = {ecu.address for ecu, _ in self._ecus}
        self._others = tuple(dtc for dtc in report.dtcs if dtc.ecu not in watched)
        self._had = {ecu.address: tuple(dtc for dtc in report.dtcs if dtc.ecu == ecu.address) for ecu, _ in self._ecus}

    @property
    def is_empty(self) -> bool:
        """There is nobody to ask."""
        return not self._ecus

    async def read(self) -> tuple[Dtc, ...]:
        """All codes as they are now, as a report tells them.

        Raises:
            LinkLost: the adapter went away.
            RefusedByPolicy: the guard lets nothing out.
        """
        found = await asyncio.gather(*(self._read(ecu, target) for ecu, target in self._ecus))
        for (ecu, _), dtcs in zip(self._ecus, found, strict=True):
            if dtcs is not None:
                self._had[ecu.address] = dtcs
        dtcs = merge_dtcs((*self._others, *(dtc for had in self._had.values() for dtc in had)))
        return dtcs if self._describe is None else tuple(map(self._describe, dtcs))

    async def _read(self, ecu: Ecu, target: Target) -> tuple[Dtc, ...] | None:
        spoken = ecu.protocol.split("+")
        services = (_CODES_UDS,) * ("uds" in spoken) + _CODES_OBD * ("obd2" in spoken)
        dtcs: list[Dtc] = []
        for service in services:
            try:
                answer = await ask(self._requests, target, service, timeout_s=self._timeout_s)
            except LinkLost:
                raise
            except DiagError as error:
                if getattr(error, "code", "") == "diag.refused":
                    raise
                if service in _CODES_OBD[1:]:
                    continue  # many ECUs know 03 and neither 07 nor 0A
                return None
            parse = parse_uds_dtcs if service == _CODES_UDS else parse_obd_dtcs
            parsed = parse(answer.payload, ecu=target.address, declared_length=answer.declared_length)
            if parsed.negative is not None and service in _CODES_OBD[1:]:
                continue
            if parsed.negative is not None or parsed.missing:
                return None
            dtcs += parsed.dtcs
        return tuple(dtcs) if services else None
