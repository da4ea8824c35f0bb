"""Clearing fault codes: only after everything was read and kept, in a car that is known to stand still.

Standard: ISO 14229-1:2020 §12.2 (14), SAE J1979 (04).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from diag.addressing import OBD_FUNCTIONAL, OBD_FUNCTIONAL_29
from diag.dtc import parse_obd_dtcs, parse_uds_dtcs
from diag.errors import DiagError, LinkLost, NegativeResponse
from diag.facts import Dtc, Json, Text
from diag.guard import VehicleState
from diag.nrc import nrc_text
from diag.pids import decode_pid
from diag.request import ask
from diag.udsrequests import clear_request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.addressing import Target
    from diag.answers import RequestLink
    from diag.guard import TransmitGuard

__all__ = ["Cleared", "StateReading", "clear_ecu", "clear_request_for", "read_state"]

_SPEED: Final = b"\x01\x0d"
_SUPPLY: Final = b"\x01\x42"
_SPEED_DID: Final = b"\x22\xf4\x0d"
_SUPPLY_DID: Final = b"\x22\xf4\x42"
_MASK_FAULTS: Final = 0xAF


@dataclass(frozen=True, slots=True)
class StateReading:
    """What the car itself says of its state: the fastest speed and the lowest supply that any ECU reports."""

    speed_kmh: float | None = None
    supply_v: float | None = None

    def with_word(self, *, stands: bool, is_unplugged: bool, supply_v: float | None) -> VehicleState:
        """Together with what a person says that looked; where the car says otherwise, the car counts.

        Charging is not read from any standard parameter: a person has to say that no charging cable is plugged in.
        """
        speed = self.speed_kmh if self.speed_kmh is not None else (0.0 if stands else None)
        volts = self.supply_v if self.supply_v is not None else supply_v
        return VehicleState(speed, False if is_unplugged else None, volts)

    def to_json(self) -> Json:
        """``state``."""
        return {"speed_kmh": self.speed_kmh, "supply_v": self.supply_v}


async def read_state(link: RequestLink, targets: Sequence[Target], *, timeout_s: float | None = None) -> StateReading:
    """Speed and supply, asked of everybody by PID and of these ECUs by identifier.

    Raises:
        LinkLost: the adapter went away.
    """
    speeds: list[float] = []
    volts: list[float] = []
    for request, found in ((_SPEED, speeds), (_SUPPLY, volts)):
        for functional in (OBD_FUNCTIONAL, OBD_FUNCTIONAL_29):
            if any(target.logical or target.extended != functional.extended for target in targets[:1]):
                continue
            for answer in await link.request(functional, request, timeout_s=timeout_s):
                if answer.negative is None and answer.complete:
                    found.extend(_numbers(answer.payload[1], answer.payload[2:]))
    for target in targets:
        for request, found in ((_SPEED_DID, speeds), (_SUPPLY_DID, volts)):
            if found:
                continue
            try:
                answer = await ask(link, target, request, timeout_s=timeout_s)
            except LinkLost:
                raise
            except DiagError:
                continue
            if answer.negative is None and answer.complete:
                found.extend(_numbers(answer.payload[2], answer.payload[3:]))
    return StateReading(max(speeds, default=None), min(volts, default=None))


def _numbers(number: int, data: bytes) -> list[float]:
    return [float(reading.value) for reading in decode_pid(number, data) if isinstance(reading.value, (int, float))]


@dataclass(frozen=True, slots=True)
class Cleared:
    """What became of one ECU's codes.

    Args:
        request: what was sent.
        is_cleared: the ECU said that it has.
        why: why it has not.
        before: the codes that it had, as a scan tells them.
        after: those that it has now; None where they could not be read again.
    """

    ecu: str
    request: bytes
    is_cleared: bool
    why: Text | None
    before: tuple[Dtc, ...]
    after: tuple[Dtc, ...] | None

    def to_json(self) -> Json:
        """One entry of ``ecus``."""
        return {
            "address": self.ecu,
            "request": self.request.hex().upper(),
            "cleared": self.is_cleared,
            "why": self.why.to_json() if self.why else None,
            "before": [dtc.to_json() for dtc in self.before],
            "after": None if self.after is None else [dtc.to_json() for dtc in self.after],
        }


def clear_request_for(protocol: str) -> bytes:
    """What clears an ECU that speaks these protocols: 14 FFFFFF where it knows UDS, else 04."""
    return clear_request() if "uds" in protocol.split("+") else b"\x04"


async def clear_ecu(
    link: RequestLink,
    guard: TransmitGuard,
    target: Target,
    protocol: str,
    before: tuple[Dtc, ...],
    *,
    timeout_s: float | None = None,
) -> Cleared:
    """Clears one ECU and reads again what it has. A person has confirmed this very ECU.

    Args:
        link: to the vehicle.
        guard: of the link; class B must be granted to it, and the state of the vehicle known.
        target: the ECU.
        protocol: what a scan said that it speaks.
        before: its codes; they are gone afterwards.
        timeout_s: per answer.

    Raises:
        LinkLost: the adapter went away.
        RefusedByPolicy: the guard let nothing out.
    """
    request = clear_request_for(protocol)
    guard.confirm(request, target)
    result = Cleared(target.address, request, is_cleared=False, why=None, before=before, after=None)
    try:
        (await ask(link, target, request, timeout_s=timeout_s or 5.0)).whole()
        result = replace(result, is_cleared=True)
    except NegativeResponse as refusal:
        result = replace(result, why=nrc_text(refusal.nrc))
    except LinkLost:
        raise
    except DiagError as error:
        result = replace(result, why=Text(str(error), str(error)))
        if getattr(error, "code", "") == "diag.refused":
            raise
    return replace(result, after=await _codes_now(link, target, protocol, timeout_s))


async def _codes_now(
    link: RequestLink, target: Target, protocol: str, timeout_s: float | None
) -> tuple[Dtc, ...] | None:
    """Faults that the ECU has; codes that are merely untested are none."""
    try:
        if "uds" in protocol.split("+"):
            answer = (await ask(link, target, bytes([0x19, 0x02, _MASK_FAULTS]), timeout_s=timeout_s)).whole()
            found = parse_uds_dtcs(answer.payload, ecu=target.address).dtcs
        else:
            answer = (await ask(link, target, b"\x03", timeout_s=timeout_s)).whole()
            found = parse_obd_dtcs(answer.payload, ecu=target.address, declared_length=len(answer.payload)).dtcs
    except LinkLost:
        raise
    except DiagError:
        return None
    return tuple(dtc for dtc in found if dtc.is_fault)
