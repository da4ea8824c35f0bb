"""UDS over a request link: default session, identification, and the reading of trouble codes.

Only what reads is here. What an ECU refuses stays apart from what it says; what it says stays beside its raw bytes.
Answers with trouble codes come back raw, for ``diag.dtc``.

Standard: ISO 14229-1:2020.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from diag.dtc import parse_uds_dtcs
from diag.errors import NoAnswer, RemoteProtocolError
from diag.facts import FreezeFrame, Reading, Text
from diag.pids import PID_LENGTHS, decode_pid
from diag.request import Answer, RequestLink, Target, ask

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from diag.nrc import Negative

__all__ = [
    "DID_LENGTHS",
    "IDENTIFIERS",
    "DidName",
    "DtcCount",
    "Identification",
    "SessionTimes",
    "UdsSession",
    "decode_did",
    "parse_data",
    "parse_dtc_count",
    "parse_freeze_frames",
    "parse_session_times",
    "read_identifications",
    "text_from_bytes",
]

_SESSION: Final = 0x10
_READ_CODES: Final = 0x19
_READ_DATA: Final = 0x22
_TESTER_PRESENT: Final = 0x3E
_DEFAULT: Final = 0x01
_SUPPRESSED: Final = 0x80

_ALL_RECORDS: Final = 0xFF
_EVERY_TESTED: Final = 0xAF
"""All status bits but the two "test not completed", which would list every code the ECU knows."""


@dataclass(frozen=True, slots=True)
class DidName:
    """What a data identifier holds. ``length`` in bytes where the standard fixes it."""

    did: int
    name: str
    text: Text
    length: int | None = None


def _did(did: int, name: str, en: str, zh: str, length: int | None = None) -> DidName:
    return DidName(did, name, Text(en, zh), length)


IDENTIFIERS: Final[Mapping[int, DidName]] = {
    item.did: item
    for item in (
        _did(0xF180, "bootSoftwareIdentification", "boot software", "引导软件标识"),
        _did(0xF181, "applicationSoftwareIdentification", "application software", "应用软件标识"),
        _did(0xF182, "applicationDataIdentification", "application data", "应用数据标识"),
        _did(0xF183, "bootSoftwareFingerprint", "boot software fingerprint", "引导软件指纹"),
        _did(0xF184, "applicationSoftwareFingerprint", "application software fingerprint", "应用软件指纹"),
        _did(0xF185, "applicationDataFingerprint", "application data fingerprint", "应用数据指纹"),
        _did(0xF186, "activeDiagnosticSession", "active session", "当前诊断会话", 1),
        _did(0xF187, "vehicleManufacturerSparePartNumber", "spare part number", "整车厂零件号"),
        _did(0xF188, "vehicleManufacturerECUSoftwareNumber", "software number", "整车厂软件号"),
        _did(0xF189, "vehicleManufacturerECUSoftwareVersionNumber", "software version", "整车厂软件版本号"),
        _did(0xF18A, "systemSupplierIdentifier", "supplier", "供应商代码"),
        _did(0xF18B, "ECUManufacturingDate", "manufacturing date", "ECU 生产日期"),
        _did(0xF18C, "ECUSerialNumber", "serial number", "ECU 序列号"),
        _did(0xF18D, "supportedFunctionalUnits", "functional units", "支持的功能单元"),
        _did(0xF18E, "vehicleManufacturerKitAssemblyPartNumber", "kit part number", "整车厂总成零件号"),
        _did(0xF18F, "regulationXSoftwareIdentificationNumbers", "RXSWIN", "法规软件识别码（RXSWIN）"),
        _did(0xF190, "VIN", "VIN", "车架号（VIN）", 17),
        _did(0xF191, "vehicleManufacturerECUHardwareNumber", "hardware number", "整车厂硬件号"),
        _did(0xF192, "systemSupplierECUHardwareNumber", "supplier's hardware number", "供应商硬件号"),
        _did(0xF193, "systemSupplierECUHardwareVersionNumber", "supplier's hardware version", "供应商硬件版本号"),
        _did(0xF194, "systemSupplierECUSoftwareNumber", "supplier's software number", "供应商软件号"),
        _did(0xF195, "systemSupplierECUSoftwareVersionNumber", "supplier's software version", "供应商软件版本号"),
        _did(0xF196, "exhaustRegulationOrTypeApprovalNumber", "type approval number", "排放法规或型式批准号"),
        _did(0xF197, "systemNameOrEngineType", "system name", "系统名称"),
        _did(0xF198, "repairShopCodeOrTesterSerialNumber", "repair shop or tester", "维修厂代码或诊断仪序列号"),
        _did(0xF199, "programmingDate", "programming date", "编程日期"),
        _did(0xF19A, "calibrationRepairShopCodeOrCalibrationEquipmentSerialNumber", "calibration shop", "标定店代码"),
        _did(0xF19B, "calibrationDate", "calibration date", "标定日期"),
        _did(0xF19C, "calibrationEquipmentSoftwareNumber", "calibration equipment", "标定设备软件号"),
        _did(0xF19D, "ECUInstallationDate", "installation date", "ECU 安装日期"),
        _did(0xF19E, "ODXFile", "ODX file", "ODX 文件"),
        _did(0xF19F, "Entity", "entity", "实体"),
    )
}
"""Identification data. Standard: ISO 14229-1:2020 Annex C.1."""

_DATES: Final = frozenset({0xF18B, 0xF199, 0xF19B, 0xF19D})
_OBD_DATA: Final = range(0xF400, 0xF500)

DID_LENGTHS: Final[Mapping[int, int]] = {
    **{item.did: item.length for item in IDENTIFIERS.values() if item.length is not None},
    **{0xF400 + number: length for number, length in PID_LENGTHS.items()},
}
"""Data bytes of the identifiers whose length a standard fixes; needed to cut snapshots and answers up."""


_PADDING: Final = b"\x00\xff "


def text_from_bytes(raw: bytes) -> str | None:
    """ASCII without padding (00, FF, spaces); hexadecimal where it is none; None where nothing is left."""
    bare = raw.strip(_PADDING)
    if not bare:
        return None
    return bare.decode("ascii") if all(0x20 <= byte < 0x7F for byte in bare) else raw.hex().upper()


def _date_from_bcd(raw: bytes) -> str | None:
    """``20 24 03 15`` or ``24 03 15`` as 2024-03-15; None where the digits are no date."""
    digits = raw.hex()
    if len(raw) == 3:
        digits = "20" + digits
    if len(digits) != 8 or not digits.isdecimal() or not 1 <= int(digits[4:6]) <= 12 or not 1 <= int(digits[6:]) <= 31:
        return None
    return f"{digits[:4]}-{digits[4:6]}-{digits[6:]}"


def decode_did(did: int, raw: bytes) -> tuple[Reading, ...]:
    """The values of one identifier, as far as a standard says what they mean; the raw bytes in any case."""
    if did in _OBD_DATA:
        return decode_pid(did & 0xFF, raw)
    known = IDENTIFIERS.get(did)
    if known is None:
        return (Reading(f"did{did:04X}", None, "", raw),)
    value: str | int | None
    if known.length == 1:
        value = raw[0] if raw else None
    else:
        value = (_date_from_bcd(raw) if did in _DATES else None) or text_from_bytes(raw)
    return (Reading(known.name, value, "", raw, known.text),)


def parse_data(payload: bytes, asked: Iterable[int], lengths: Mapping[int, int] | None = None) -> dict[int, bytes]:
    """The data of each identifier in an answer to service 22.

    One identifier alone has all the bytes. Of several, those whose length is known are cut off in the order asked; the
    first of unknown length gets the rest when it is the last, and otherwise reading stops there.

    Standard: ISO 14229-1:2020 §11.2.
    """
    known = DID_LENGTHS if lengths is None else {**DID_LENGTHS, **lengths}
    wanted = list(asked)
    found: dict[int, bytes] = {}
    at = 1
    while wanted and at + 2 <= len(payload):
        did = payload[at] << 8 | payload[at + 1]
        if did not in wanted:
            break
        wanted.remove(did)
        length = known.get(did) if wanted else None
        if wanted and length is None:
            break
        end = len(payload) if length is None else at + 2 + length
        if end > len(payload):
            break
        found[did] = payload[at + 2 : end]
        at = end
    return found


@dataclass(frozen=True, slots=True)
class SessionTimes:
    """The ECU's own times. Standard: ISO 14229-1:2020 §10.2.3, ISO 14229-2:2021 §7.2."""

    p2_s: float
    p2_star_s: float


def parse_session_times(payload: bytes) -> SessionTimes | None:
    """P2 in units of 1 ms and P2* in units of 10 ms from ``50 session P2 P2*``; None where the ECU gives none."""
    if len(payload) < 6 or payload[0] != _SESSION | 0x40:
        return None
    p2, p2_star = int.from_bytes(payload[2:4], "big"), int.from_bytes(payload[4:6], "big")
    return SessionTimes(p2 / 1000, p2_star / 100)


@dataclass(frozen=True, slots=True)
class DtcCount:
    """How many codes match a status mask, which status bits the ECU implements, and its code format."""

    count: int
    available: int
    format: int


def parse_dtc_count(payload: bytes) -> DtcCount | None:
    """From ``59 01 available format count``; None for anything else. Standard: ISO 14229-1:2020 §12.3."""
    if len(payload) < 6 or payload[:2] != bytes([_READ_CODES | 0x40, 0x01]):
        return None
    return DtcCount(int.from_bytes(payload[4:6], "big"), payload[2], payload[3])


def parse_freeze_frames(answer: Answer, lengths: Mapping[int, int] | None = None) -> tuple[FreezeFrame, ...]:
    """Snapshots and extended data records of one code, from an answer to 19 04 or 19 06.

    Args:
        answer: as it came; a negative one has no records, a cut one those that came.
        lengths: data bytes of the maker's identifiers; the standard's own are known. Where a length is missing the
            record stays raw from there on.

    Raises:
        RemoteProtocolError: the payload is no answer to service 19.
    """
    known = {**DID_LENGTHS, **(lengths or {})}
    parsed = parse_uds_dtcs(answer.payload, ecu=answer.ecu, declared_length=answer.declared_length, did_lengths=known)
    frames = []
    for source, records in (("uds-snapshot", parsed.snapshots), ("uds-extended", parsed.extended)):
        for record in records:
            code = record.code if record.failure_type is None else f"{record.code}-{record.failure_type}"
            readings = tuple(reading for did, raw in record.values for reading in decode_did(did, raw))
            frames.append(FreezeFrame(answer.ecu, code, record.record, record.raw, readings, source))
    return tuple(frames)


@dataclass(frozen=True, slots=True)
class Identification:
    """What one ECU says of itself.

    Args:
        readings: by identifier; the value is text, a date, or hexadecimal.
        refused: identifiers with a negative response.
        silent: identifiers that stayed without answer.
        cut: answers of which a part is missing, as far as they came.
    """

    ecu: str
    readings: Mapping[int, Reading] = field(default_factory=dict)
    refused: Mapping[int, Negative] = field(default_factory=dict)
    silent: tuple[int, ...] = ()
    cut: tuple[Answer, ...] = ()

    @property
    def texts(self) -> dict[str, str]:
        """The standard's name of each field with its text, without the empty ones."""
        return {reading.name: str(reading.value) for reading in self.readings.values() if reading.value is not None}

    @property
    def vin(self) -> str | None:
        """The VIN that this ECU has stored."""
        return self.texts.get("VIN")


_LONG_P2_S: Final = 0.3
_NETWORK_S: Final = 0.2
"""Way through gateways and adapters, on top of an ECU's own P2."""


_MOST_SILENCE: Final = 3
"""Unanswered requests in a row after which the rest is not asked: the ECU does not know the service, or has gone."""


class UdsSession:
    """Asks one ECU the reading services of UDS.

    Args:
        link: to the vehicle.
        target: the ECU, physical.
        timeout_s: per answer; None is the link's own time.

    Attributes:
        times: the ECU's own times, once :meth:`start_default_session` has been answered with them.
    """

    def __init__(self, link: RequestLink, target: Target, *, timeout_s: float | None = None) -> None:
        self.target = target
        self.times: SessionTimes | None = None
        self._link = link
        self._timeout_s = timeout_s

    async def ask(self, payload: bytes) -> Answer:
        """One request as it is; the answer may be negative.

        Raises:
            NoAnswer: the ECU stayed silent.
            RefusedByPolicy: the guard let nothing out.
        """
        return await ask(self._link, self.target, payload, timeout_s=self._patience())

    def _patience(self) -> float | None:
        """The caller's time; else the link's own, or longer where the ECU says that it needs longer."""
        if self._timeout_s is None and self.times is not None and self.times.p2_s > _LONG_P2_S:
            return self.times.p2_s + _NETWORK_S
        return self._timeout_s

    async def start_default_session(self) -> SessionTimes | None:
        """10 01. Keeps and returns the ECU's times; None where it gives none.

        Raises:
            NegativeResponse: the ECU refused.
            NoAnswer: it stayed silent.
        """
        answer = (await self.ask(bytes([_SESSION, _DEFAULT]))).whole()
        self.times = parse_session_times(answer.payload)
        return self.times

    async def tester_present(self, *, is_answer_wanted: bool = True) -> bool:
        """3E 00, or 3E 80 without answer. True when the ECU answered positively, or was not to answer and did not.

        Raises:
            NoAnswer: it should have answered and stayed silent.
        """
        payload = bytes([_TESTER_PRESENT, 0 if is_answer_wanted else _SUPPRESSED])
        answers = await self._link.request(self.target, payload, timeout_s=self._timeout_s)
        return all(answer.negative is None for answer in answers)

    async def read_data(self, *dids: int) -> Answer:
        """22 with one or several identifiers; the answer may be negative. Cut it up with :func:`parse_data`."""
        return await self.ask(bytes([_READ_DATA]) + b"".join(did.to_bytes(2, "big") for did in dids))

    async def read_identification(self, dids: Iterable[int] = tuple(IDENTIFIERS)) -> Identification:
        """22 for each identifier in turn, because asking several at once is optional for ECUs."""
        readings: dict[int, Reading] = {}
        refused: dict[int, Negative] = {}
        silent: list[int] = []
        cut: list[Answer] = []
        in_a_row = 0
        for did in dids:
            if in_a_row >= _MOST_SILENCE:
                silent.append(did)
                continue
            try:
                answer = await self.read_data(did)
            except NoAnswer:
                silent.append(did)
                in_a_row += 1
                continue
            in_a_row = 0
            if answer.negative is not None:
                refused[did] = answer.negative
            elif not answer.complete:
                cut.append(answer)
            else:
                readings[did] = decode_did(did, parse_data(answer.payload, [did]).get(did, b""))[0]
        return Identification(self.target.address, readings, refused, tuple(silent), tuple(cut))

    async def count_codes(self, mask: int = _EVERY_TESTED) -> DtcCount:
        """19 01: how many codes match the mask.

        Raises:
            NegativeResponse: the ECU refused.
            RemoteProtocolError: the answer is too short.
            NoAnswer: it stayed silent.
        """
        answer = (await self.ask(bytes([_READ_CODES, 0x01, mask]))).whole()
        count = parse_dtc_count(answer.payload)
        if count is None:
            raise RemoteProtocolError(answer.ecu, Text("the count is cut", "计数不完整"), answer.payload)
        return count

    async def read_codes(self, mask: int = _EVERY_TESTED) -> Answer:
        """19 02: the codes that match the mask, raw. May be negative, and may be cut: both are answers."""
        return await self.ask(bytes([_READ_CODES, 0x02, mask]))

    async def read_snapshots(self, code: bytes, record: int = _ALL_RECORDS) -> Answer:
        """19 04: what the ECU kept of the moment a code was set, raw. ``code`` is three bytes."""
        return await self.ask(bytes([_READ_CODES, 0x04]) + code + bytes([record]))

    async def read_extended(self, code: bytes, record: int = _ALL_RECORDS) -> Answer:
        """19 06: counters and other extended data of a code, raw. ``code`` is three bytes."""
        return await self.ask(bytes([_READ_CODES, 0x06]) + code + bytes([record]))


async def read_identifications(
    link: RequestLink, targets: Iterable[Target], dids: Iterable[int] = tuple(IDENTIFIERS)
) -> tuple[Identification, ...]:
    """The identification of several ECUs, side by side, in the order given."""
    wanted = tuple(dids)
    sessions = [UdsSession(link, target) for target in targets]
    return tuple(await asyncio.gather(*(session.read_identification(wanted) for session in sessions)))
