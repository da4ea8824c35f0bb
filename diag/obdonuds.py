"""Legislated diagnostics through UDS: cars that answer services 01 to 0A no more (OBDonUDS), electric ones (ZEVonUDS).

Parameters are data identifiers F4xx and F5xx, monitor results F6xx, vehicle information F8xx; codes have three bytes
and come by functional group (19 42, 19 55, 19 56, cleared by 14). Which of it an ECU has is found by asking; what the
public sources leave open is taken either way and written down in ``docs/obd-on-uds.md``.

Standard: SAE J1979-2:2021 (OBDonUDS), SAE J1979-3:2023 (ZEVonUDS); ISO 14229-1:2020 §12.3, Annex D.5 (clauses
unverified).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from diag.dtc import parse_uds_dtcs
from diag.errors import NoAnswer
from diag.obd import VehicleInformation, parse_supported
from diag.obdmonitors import SinceClear, parse_in_use, parse_monitor_results
from diag.pids import decode_pid
from diag.readiness import parse_readiness
from diag.request import ask
from diag.uds import parse_data, text_from_bytes
from diag.udsrequests import dtc_request

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diag.addressing import Target
    from diag.answers import Answer, RequestLink
    from diag.facts import Dtc, Reading
    from diag.obdmonitors import InUsePerformance, MonitorResult
    from diag.readiness import Readiness

__all__ = ["GROUPS", "PARAMETERS", "ObdOnUdsEcu", "ObdOnUdsSession", "RegulatedCodes"]

PARAMETERS: Final = 0xF400
"""Data identifier of PID 00; that of PID xx is F4xx."""
MORE_PARAMETERS: Final = 0xF500
MONITORS: Final = 0xF600
INFORMATION: Final = 0xF800
GROUPS: Final = (0x33, 0xFE)
"""Functional groups of codes, in the order in which they are tried: emissions, then VOBD."""

_VIN, _CALIBRATION, _CVN, _NAME = 0x02, 0x04, 0x06, 0x0A
_RATIOS: Final = (0x08, 0x0B)
_STEP: Final = 0x20
_STORED: Final = 0x0C
_EVERY_STATUS: Final = 0xFF
_EVERY_SEVERITY: Final = 0xFF


@dataclass(frozen=True, slots=True)
class ObdOnUdsEcu:
    """An ECU with legislated diagnostics through UDS, and what it offers.

    Args:
        parameters: PIDs by F4xx.
        more: numbers by F5xx.
        monitors: MIDs by F6xx.
        information: InfoTypes by F8xx.
        group: functional group under which it lists codes; None when it lists none.
    """

    target: Target
    parameters: frozenset[int]
    more: frozenset[int] = frozenset()
    monitors: frozenset[int] = frozenset()
    information: frozenset[int] = frozenset()
    group: int | None = None

    @property
    def ecu(self) -> str:
        """Its response address."""
        return self.target.address


@dataclass(frozen=True, slots=True)
class RegulatedCodes:
    """The codes of a functional group.

    Args:
        dtcs: pending, confirmed and permanent ones.
        untested: codes whose test has not run since codes were cleared: readiness, code by code.
        tested: how many have run.
        missing: codes that an answer announced and that did not come.
    """

    dtcs: tuple[Dtc, ...] = ()
    untested: tuple[str, ...] = ()
    tested: int = 0
    missing: int = 0

    @property
    def is_ready(self) -> bool | None:
        """Every test has run; None where the ECU lists none."""
        return None if not (self.tested or self.untested) else not self.untested


class ObdOnUdsSession:
    """Asks one ECU after the other.

    Args:
        link: to the vehicle.
        timeout_s: per answer; None is the link's own time.
    """

    def __init__(self, link: RequestLink, *, timeout_s: float | None = None) -> None:
        self._link, self._timeout_s = link, timeout_s

    async def _answer(self, target: Target, payload: bytes) -> Answer | None:
        try:
            return await ask(self._link, target, payload, timeout_s=self._timeout_s)
        except NoAnswer:
            return None

    async def _data(self, target: Target, did: int) -> bytes | None:
        answer = await self._answer(target, b"\x22" + did.to_bytes(2, "big"))
        if answer is None or answer.negative is not None or not answer.complete:
            return None
        return parse_data(answer.payload, [did]).get(did)

    async def _map(self, target: Target, first: int) -> frozenset[int] | None:
        """What a row of identifiers offers; None when it has no map at all."""
        numbers: set[int] = set()
        for base in range(0, 0x100, _STEP):
            if base and base not in numbers:
                break
            data = await self._data(target, first + base)
            if data is None or len(data) < 4:
                if not base:
                    return None
                break
            numbers |= parse_supported(base, data)
        return frozenset(number for number in numbers if number % _STEP)

    async def detect(self, target: Target) -> ObdOnUdsEcu | None:
        """Whether this ECU has legislated diagnostics through UDS, and which; None when it has no parameters so."""
        parameters = await self._map(target, PARAMETERS)
        if parameters is None:
            return None
        more, monitors, information = [
            await self._map(target, first) or frozenset() for first in (MORE_PARAMETERS, MONITORS, INFORMATION)
        ]
        return ObdOnUdsEcu(target, parameters, more, monitors, information, await self._group(target))

    async def _group(self, target: Target) -> int | None:
        for group in GROUPS:
            answer = await self._answer(target, dtc_request(0x42, group, _STORED, _EVERY_SEVERITY))
            if answer is not None and answer.negative is None:
                return group
        return None

    async def read_parameters(self, ecu: ObdOnUdsEcu, numbers: Iterable[int] | None = None) -> tuple[Reading, ...]:
        """Current data: those that it offers, or some of them."""
        readings: list[Reading] = []
        for number in sorted(ecu.parameters if numbers is None else numbers):
            data = await self._data(ecu.target, PARAMETERS + number)
            if data is not None:
                readings += decode_pid(number, data)
        return tuple(readings)

    async def read_readiness(self, ecu: ObdOnUdsEcu) -> Readiness | None:
        """Monitor status as F401, where it is offered."""
        data = await self._data(ecu.target, PARAMETERS + 1) if 1 in ecu.parameters else None
        return None if data is None else parse_readiness(data)

    async def read_since_clear(self, ecu: ObdOnUdsEcu) -> SinceClear:
        """How long ago codes were cleared, as F430, F431 and F44E say."""
        offered = [number for number in (0x30, 0x31, 0x4E) if number in ecu.parameters]
        found = {number: await self._data(ecu.target, PARAMETERS + number) for number in offered}
        values = {number: int.from_bytes(data, "big") for number, data in found.items() if data}
        return SinceClear(values.get(0x30), values.get(0x31), values.get(0x4E))

    async def read_monitor_results(self, ecu: ObdOnUdsEcu) -> tuple[MonitorResult, ...]:
        """Test results as F6xx."""
        found: list[MonitorResult] = []
        for number in sorted(ecu.monitors):
            did = MONITORS + number
            answer = await self._answer(ecu.target, b"\x22" + did.to_bytes(2, "big"))
            if answer is not None and answer.negative is None and answer.complete:
                found += parse_monitor_results(ecu.ecu, answer.payload)[0]
        return tuple(found)

    async def read_information(self, ecu: ObdOnUdsEcu) -> VehicleInformation:
        """VIN, calibration, verification numbers and name as F8xx; the VIN is asked for even without a map."""
        raw: dict[int, bytes] = {}
        for number in (_VIN, _CALIBRATION, _CVN, _NAME):
            if number in ecu.information or number == _VIN:
                data = await self._data(ecu.target, INFORMATION + number)
                if data is not None:
                    raw[number] = data
        return VehicleInformation(
            ecu.ecu,
            vin=_text(raw.get(_VIN), 17),
            calibration_ids=tuple(filter(None, map(text_from_bytes, _items(raw.get(_CALIBRATION), 16)))),
            cvns=tuple(piece.hex().upper() for piece in _items(raw.get(_CVN), 4)),
            name=_name(raw.get(_NAME)),
            raw=raw,
        )

    async def read_in_use(self, ecu: ObdOnUdsEcu) -> InUsePerformance | None:
        """How often monitors ran, as F808 or F80B."""
        for number in _RATIOS:
            data = await self._data(ecu.target, INFORMATION + number) if number in ecu.information else None
            if data is not None:
                return parse_in_use(number, data)
        return None

    async def read_codes(self, ecu: ObdOnUdsEcu) -> RegulatedCodes:
        """19 42 with every status (codes and readiness at once), then 19 55 for the permanent ones."""
        if ecu.group is None:
            return RegulatedCodes()
        dtcs: list[Dtc] = []
        untested: list[str] = []
        tested = missing = 0
        listed = await self._answer(ecu.target, dtc_request(0x42, ecu.group, _EVERY_STATUS, _EVERY_SEVERITY))
        if listed is not None and listed.negative is None:
            parsed = parse_uds_dtcs(listed.payload, ecu=ecu.ecu, declared_length=listed.declared_length)
            missing += parsed.missing
            for dtc in parsed.dtcs:
                if dtc.status is not None and dtc.status.bit("testNotCompletedSinceLastClear"):
                    untested.append(dtc.display)
                else:
                    tested += 1
                if dtc.status is not None and dtc.status.is_fault:
                    dtcs.append(dtc)
        permanent = await self._answer(ecu.target, dtc_request(0x55, ecu.group))
        if permanent is not None and permanent.negative is None:
            parsed = parse_uds_dtcs(permanent.payload, ecu=ecu.ecu, declared_length=permanent.declared_length)
            missing += parsed.missing
            dtcs += parsed.dtcs
        return RegulatedCodes(tuple(dtcs), tuple(untested), tested, missing)


def _items(data: bytes | None, size: int) -> tuple[bytes, ...]:
    """Pieces of this size; the number of items that service 09 has in front may be there or not."""
    if not data:
        return ()
    body = data[1:] if len(data) % size == 1 and data[0] == len(data) // size else data
    return tuple(body[at : at + size] for at in range(0, len(body), size))


def _text(data: bytes | None, size: int) -> str | None:
    return next((text_from_bytes(piece) for piece in _items(data, size)), None)


def _name(data: bytes | None) -> str | None:
    if not data:
        return None
    body = data[1:] if len(data) == 21 else data
    return text_from_bytes(body[:4].strip(b"\0") + body[4:].replace(b"\0", b""))
