"""OBD-II over a request link: supported PIDs, current data, freeze frame, readiness, vehicle information.

Everything is kept per ECU: each has its own map of PIDs, its own monitors, its own part of the truth. Functions named
``parse_*`` turn bytes of one answer into values and touch nothing; the :class:`ObdSession` asks. Trouble codes
(services 03, 07, 0A) come back as raw answers for ``diag.dtc``.

Standard: ISO 15031-5:2015 / SAE J1979; ISO 15765-4:2021 on CAN.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from diag.addressing import OBD_FUNCTIONAL, Target
from diag.dtcanswer import code_from_bytes
from diag.errors import NoAnswer
from diag.obdmonitors import SinceClear, parse_in_use, parse_monitor_results
from diag.pids import PID_LENGTHS, decode_pid
from diag.readiness import parse_readiness
from diag.request import Answer, RequestLink, ask

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from diag.facts import Reading
    from diag.nrc import Negative
    from diag.obdmonitors import InUsePerformance, MonitorResult
    from diag.readiness import Readiness

__all__ = [
    "FrozenMoment",
    "ObdEcu",
    "ObdSession",
    "PidAnswers",
    "VehicleInformation",
    "parse_items",
    "parse_pids",
    "parse_supported",
    "parse_vehicle_information",
]

CURRENT_DATA: Final = 0x01
FREEZE_FRAME: Final = 0x02
MONITOR_RESULTS: Final = 0x06
CONFIRMED: Final = 0x03
PENDING: Final = 0x07
VEHICLE_INFORMATION: Final = 0x09
PERMANENT: Final = 0x0A

_MAPS: Final = range(0x00, 0x100, 0x20)
_MONITOR_PIDS: Final = (0x01, 0x41)
_FREEZE_CODE_PID: Final = 0x02
_SINCE_CLEAR: Final = frozenset({0x30, 0x31, 0x4E})
_AT_ONCE: Final = 6
_PAIRS_AT_ONCE: Final = 3
_ONE_OR_TWO_BYTES: Final = frozenset(range(0x06, 0x0A))
"""Fuel trims: two bytes where the ECU has banks 3 and 4, so nothing behind them in an answer has a sure place."""


def parse_supported(base: int, data: bytes) -> frozenset[int]:
    """The numbers that a bitmap of four bytes names: bit 7 of the first byte is ``base + 1``.

    Standard: ISO 15031-5:2015 Annex A.
    """
    bits = int.from_bytes(data[:4].ljust(4, b"\0"), "big")
    return frozenset(base + at for at in range(1, 33) if bits >> 32 - at & 1)


def parse_items(
    payload: bytes, *, service: int, header: bytes = b"", is_single: bool = False, asked: Collection[int] | None = None
) -> dict[int, bytes]:
    """Cuts an answer with one or several PIDs into their data.

    The order may differ from the request and PIDs may be left out. Reading stops at a PID of unknown length, because
    nothing says where it ends.

    Args:
        payload: from the service byte on.
        service: of the request.
        header: what stands between PID and data: the frame number of service 02.
        is_single: one PID was asked for, so that all the bytes are its own, however long it ought to be.
        asked: what was asked for. A PID of another length than ours shifts all that follows it, so the answer counts
            only when every PID in it is one of these, comes once, and the last one ends where the answer ends;
            otherwise nothing of it does.
    """
    start = 2 + len(header)
    if len(payload) < start or payload[0] != service | 0x40:
        return {}
    if is_single:
        is_mine = payload[2:start] == header and (asked is None or payload[1] in asked)
        return {payload[1]: payload[start:]} if is_mine else {}
    found: dict[int, bytes] = {}
    at = 1
    while at < len(payload):
        number, begin = payload[at], at + 1 + len(header)
        length = PID_LENGTHS.get(number)
        end = len(payload) if length is None else begin + length
        is_odd = length is None or number in found or number not in asked if asked is not None else False
        if end > len(payload) or is_odd or payload[at + 1 : begin] != header:
            return found if asked is None else {}
        found[number] = payload[begin:end]
        at = end
    return found


def parse_pids(payload: bytes, asked: Collection[int]) -> tuple[Reading, ...]:
    """All values of an answer of service 01 to a request for several PIDs, in its order; see :func:`parse_items`."""
    items = parse_items(payload, service=CURRENT_DATA, asked=asked)
    return tuple(
        itertools.chain.from_iterable(decode_pid(number, data) for number, data in items.items() if number not in _MAPS)
    )


def _groups(numbers: Iterable[int], size: int) -> Iterable[list[int]]:
    """What can be asked for at once: PIDs whose length is sure, in groups of this size; none of a single one."""
    sure = [number for number in numbers if number in PID_LENGTHS and number not in _ONE_OR_TWO_BYTES]
    groups = (sure[at : at + size] for at in range(0, len(sure), size))
    return (group for group in groups if len(group) > 1)


@dataclass(frozen=True, slots=True)
class VehicleInformation:
    """What one ECU says of itself with service 09; None or empty where it says nothing.

    Args:
        refused: InfoTypes that it refused.
        raw: data of each InfoType as received, without service and InfoType.
    """

    ecu: str
    vin: str | None = None
    calibration_ids: tuple[str, ...] = ()
    cvns: tuple[str, ...] = ()
    name: str | None = None
    refused: Mapping[int, Negative] = field(default_factory=dict)
    raw: Mapping[int, bytes] = field(default_factory=dict)

    @property
    def in_use(self) -> InUsePerformance | None:
        """How often the monitors ran, where it says."""
        return next((parse_in_use(number, self.raw[number]) for number in _RATIOS if number in self.raw), None)


_PADDING: Final = b"\x00\xff "
"""The only bytes that are stripped from texts: whatever else comes belongs to the text or makes it hexadecimal."""

_VIN: Final = 0x02
_CALIBRATION: Final = 0x04
_CVN: Final = 0x06
_NAME: Final = 0x0A
_RATIOS: Final = (0x08, 0x0B)
_INFO_TYPES: Final = (_VIN, _CALIBRATION, _CVN, _NAME, *_RATIOS)


def _text(raw: bytes) -> str | None:
    """ASCII without padding; hexadecimal where it is none; None where nothing is left."""
    bare = raw.strip(_PADDING)
    if not bare:
        return None
    return bare.decode("ascii") if all(0x20 <= byte < 0x7F for byte in bare) else raw.hex().upper()


def _pieces(data: bytes, size: int) -> tuple[bytes, ...]:
    return tuple(data[at : at + size] for at in range(0, len(data), size))


def parse_vehicle_information(
    ecu: str, raw: Mapping[int, bytes], refused: Mapping[int, Negative] | None = None
) -> VehicleInformation:
    """Texts and numbers from the data of each InfoType: number of items, then the items.

    Standard: ISO 15031-5:2015 Annex G.
    """
    items = {number: data[1:] for number, data in raw.items()}
    name = items.get(_NAME, b"")
    return VehicleInformation(
        ecu,
        _text(items.get(_VIN, b"")),
        tuple(text for piece in _pieces(items.get(_CALIBRATION, b""), 16) if (text := _text(piece))),
        tuple(piece.hex().upper() for piece in _pieces(items.get(_CVN, b""), 4)),
        _text(name[:4].strip(_PADDING) + name[4:].replace(b"\x00", b"")) if name else None,
        dict(refused or {}),
        dict(raw),
    )


@dataclass(frozen=True, slots=True)
class ObdEcu:
    """An ECU that answered the first question of OBD-II, and which PIDs it offers."""

    target: Target
    pids: frozenset[int]

    @property
    def ecu(self) -> str:
        """Its response address, ``0x7E8``."""
        return self.target.address


@dataclass(frozen=True, slots=True)
class PidAnswers:
    """Current data of one ECU.

    Args:
        data: bytes per PID as received.
        refused: PIDs with a negative response.
        silent: PIDs that stayed without answer.
    """

    ecu: str
    data: Mapping[int, bytes]
    refused: Mapping[int, Negative] = field(default_factory=dict)
    silent: tuple[int, ...] = ()

    @property
    def readings(self) -> tuple[Reading, ...]:
        """Every value, by PID."""
        numbers = sorted(set(self.data) - set(_MAPS) - {*_MONITOR_PIDS, _FREEZE_CODE_PID})
        return tuple(itertools.chain.from_iterable(decode_pid(number, self.data[number]) for number in numbers))


@dataclass(frozen=True, slots=True)
class FrozenMoment:
    """A freeze frame of service 02: the code that stored it and the values of that moment."""

    ecu: str
    code: str
    frame: int
    readings: tuple[Reading, ...]
    raw: bytes


class ObdSession:
    """Asks the services of OBD-II.

    Args:
        link: to the vehicle.
        timeout_s: per answer; None is the link's own time.
    """

    def __init__(self, link: RequestLink, *, timeout_s: float | None = None) -> None:
        self._link = link
        self._timeout_s = timeout_s

    async def find_ecus(self, functional: Target = OBD_FUNCTIONAL) -> tuple[ObdEcu, ...]:
        """Asks all ECUs for their PIDs; each then tells the rest of its map by itself.

        Returns:
            Those that answered ``01 00`` positively, by address; empty when none did.
        """
        first = await self._link.request(functional, bytes([CURRENT_DATA, 0]), timeout_s=self._timeout_s)
        found = [(answer, parse_items(answer.payload, service=CURRENT_DATA, is_single=True).get(0)) for answer in first]
        ecus = await asyncio.gather(
            *(self._complete_map(answer.source, CURRENT_DATA, data) for answer, data in found if data is not None)
        )
        return tuple(sorted(ecus, key=lambda ecu: ecu.target.response_id or 0))

    async def read_map(self, target: Target, first: bytes) -> ObdEcu:
        """Which PIDs an ECU offers, from the data of its answer to ``01 00`` on."""
        return await self._complete_map(target, CURRENT_DATA, first)

    async def _complete_map(self, target: Target, service: int, first: bytes, *, frame: bytes = b"") -> ObdEcu:
        """Follows the bitmaps from the first one on, as long as each says that another exists."""
        numbers = set(parse_supported(0, first))
        for base in _MAPS[1:]:
            if base not in numbers:
                break
            data = await self._item(target, service, base, frame)
            if data is None:
                break
            numbers |= parse_supported(base, data)
        return ObdEcu(target, frozenset(numbers - set(_MAPS)))

    async def _answer(self, target: Target, payload: bytes) -> Answer | None:
        """An answer of either sign; None for silence, which OBD-II uses for "not supported"."""
        try:
            return await ask(self._link, target, payload, timeout_s=self._timeout_s)
        except NoAnswer:
            return None

    async def _item(self, target: Target, service: int, number: int, frame: bytes = b"") -> bytes | None:
        answer = await self._answer(target, bytes([service, number]) + frame)
        if answer is None or not answer.complete:
            return None
        return parse_items(answer.payload, service=service, header=frame, is_single=True).get(number)

    async def read_pids(self, ecu: ObdEcu, numbers: Iterable[int] | None = None) -> PidAnswers:
        """Current data of one ECU, up to six PIDs per request; what is missing then is asked one by one.

        Args:
            ecu: whom to ask.
            numbers: PIDs; left out, all that it offers.
        """
        wanted = sorted(ecu.pids if numbers is None else numbers)
        data: dict[int, bytes] = {}
        refused: dict[int, Negative] = {}
        for group in _groups(wanted, _AT_ONCE):
            answer = await self._answer(ecu.target, bytes([CURRENT_DATA, *group]))
            if answer is not None and answer.complete:
                data |= parse_items(answer.payload, service=CURRENT_DATA, asked=group)
        missing = [number for number in wanted if number not in data]
        silent = []
        for number in missing:
            answer = await self._answer(ecu.target, bytes([CURRENT_DATA, number]))
            if answer is None:
                silent.append(number)
            elif answer.negative is not None:
                refused[number] = answer.negative
            else:
                data |= parse_items(answer.payload, service=CURRENT_DATA, is_single=True, asked=(number,))
        return PidAnswers(ecu.ecu, data, refused, tuple(silent))

    async def read_readiness(self, ecu: ObdEcu) -> Readiness | None:
        """Monitor status since codes were cleared; None when the ECU does not offer it."""
        data = await self._item(ecu.target, CURRENT_DATA, _MONITOR_PIDS[0]) if _MONITOR_PIDS[0] in ecu.pids else None
        return None if data is None else parse_readiness(data)

    async def read_since_clear(self, ecu: ObdEcu) -> SinceClear:
        """How long ago codes were cleared: PID 30, 31 and 4E, as far as they are offered."""
        found = {number: await self._item(ecu.target, CURRENT_DATA, number) for number in _SINCE_CLEAR & ecu.pids}
        values = {number: int.from_bytes(data, "big") for number, data in found.items() if data}
        return SinceClear(values.get(0x30), values.get(0x31), values.get(0x4E))

    async def read_monitor_results(self, target: Target) -> tuple[MonitorResult, ...]:
        """Service 06: every test of every monitor that the ECU offers, those that have not run included."""
        first = await self._item(target, MONITOR_RESULTS, 0)
        if first is None:
            return ()
        offered = await self._complete_map(target, MONITOR_RESULTS, first)
        found: list[MonitorResult] = []
        for number in sorted(offered.pids):
            answer = await self._answer(target, bytes([MONITOR_RESULTS, number]))
            if answer is not None and answer.negative is None and answer.complete:
                results, _ = parse_monitor_results(target.address, answer.payload)
                found += [result for result in results if result.monitor == number]
        return tuple(found)

    async def read_freeze_frame(self, ecu: ObdEcu, *, frame: int = 0) -> FrozenMoment | None:
        """The freeze frame with this number; None when no code stored one."""
        header = bytes([frame])
        code = await self._item(ecu.target, FREEZE_FRAME, _FREEZE_CODE_PID, header)
        if code is None or len(code) < 2 or code[:2] == b"\0\0":
            return None
        first = await self._item(ecu.target, FREEZE_FRAME, 0, header)
        if first is None:
            return FrozenMoment(ecu.ecu, code_from_bytes(code[:2]), frame, (), code)
        offered = await self._complete_map(ecu.target, FREEZE_FRAME, first, frame=header)
        wanted = sorted(offered.pids - {_FREEZE_CODE_PID})
        data: dict[int, bytes] = {}
        for group in _groups(wanted, _PAIRS_AT_ONCE):
            pairs = bytes(itertools.chain.from_iterable((number, frame) for number in group))
            answer = await self._answer(ecu.target, bytes([FREEZE_FRAME]) + pairs)
            if answer is not None and answer.complete:
                data |= parse_items(answer.payload, service=FREEZE_FRAME, header=header, asked=group)
        for number in wanted:
            if number not in data and (single := await self._item(ecu.target, FREEZE_FRAME, number, header)):
                data[number] = single
        readings = PidAnswers(ecu.ecu, data).readings
        raw = b"".join(bytes([number, frame]) + data[number] for number in sorted(data))
        return FrozenMoment(ecu.ecu, code_from_bytes(code[:2]), frame, readings, code + raw)

    async def read_codes(self, service: int, target: Target = OBD_FUNCTIONAL) -> tuple[Answer, ...]:
        """Raw answers to service 03, 07 or 0A, for :func:`diag.dtc.parse_obd_dtcs`; silence of all is empty."""
        try:
            return await self._link.request(target, bytes([service]), timeout_s=self._timeout_s)
        except NoAnswer:
            return ()

    async def read_vehicle_information(self, target: Target) -> VehicleInformation:
        """VIN, calibration ids, verification numbers and name of one ECU, as far as its map of service 09 offers them.

        The VIN is asked for even without a map: battery electric cars often leave the map out.
        """
        raw: dict[int, bytes] = {}
        refused: dict[int, Negative] = {}
        first = await self._item(target, VEHICLE_INFORMATION, 0)
        offered = frozenset({_VIN}) if first is None else parse_supported(0, first)
        for number in (number for number in _INFO_TYPES if number in offered):
            answer = await self._answer(target, bytes([VEHICLE_INFORMATION, number]))
            if answer is None:
                continue
            if answer.negative is not None:
                refused[number] = answer.negative
            elif answer.complete and len(answer.payload) > 2:
                raw[number] = answer.payload[2:]
        return parse_vehicle_information(target.address, raw, refused)
