"""Answers about diagnostic trouble codes, turned into records: OBD-II, UDS and J1939.

Pure functions: one answer's payload in, one :class:`DtcAnswer` out. A cut answer keeps every code that is whole and
says how many are missing; a negative response is :attr:`DtcAnswer.negative`, never a code. What an answer does not
carry (a status, a failure type, the length of a snapshot's data) stays None or raw and is not guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from diag.dtcanswer import DtcAnswer, FaultCounter, Lamp, StoredRecord, code_from_bytes, split_code
from diag.dtctext import find_fmi_severity, find_fmi_text, find_severity, find_text
from diag.errors import RemoteProtocolError
from diag.facts import Dtc, DtcKind, DtcStatus, EcuRole, Text
from diag.nrc import NEGATIVE_SID, parse_negative

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["find_unknown_did", "parse_j1939_dtcs", "parse_obd_dtcs", "parse_uds_dtcs"]


def _refuse(ecu: str | None, en: str, zh: str, payload: bytes) -> RemoteProtocolError:
    return RemoteProtocolError(ecu or "?", Text(en, zh), payload)


def _negative_answer(payload: bytes) -> DtcAnswer:
    """``7F service nrc``; one that was cut says nothing and stays in ``rest``."""
    negative = parse_negative(payload)
    return DtcAnswer(complete=negative is not None, negative=negative, rest=b"" if negative else payload)


def _is_padding(rest: bytes) -> bool:
    """Left-over bytes that fill a frame and say nothing."""
    return not rest.strip(b"\x00") or not rest.strip(b"\xff")


def _kinds(status: DtcStatus | None, *, permanent: bool) -> tuple[DtcKind, ...]:
    found = []
    if status and status.confirmed:
        found.append(DtcKind.STORED)
    if status and status.pending:
        found.append(DtcKind.PENDING)
    if permanent:
        found.append(DtcKind.PERMANENT)
    return tuple(found)


_OBD_KINDS: Final[Mapping[int, DtcKind]] = {
    0x43: DtcKind.STORED,
    0x47: DtcKind.PENDING,
    0x4A: DtcKind.PERMANENT,
}


def parse_obd_dtcs(
    payload: bytes,
    *,
    ecu: str | None = None,
    can: bool = True,
    role: EcuRole | None = None,
    declared_length: int | None = None,
) -> DtcAnswer:
    """An answer to OBD service 03, 07 or 0A.

    Args:
        payload: the reassembled answer from its service byte on, ``43 02 0A A6 01 96``.
        ecu: response address for the records.
        can: with the count byte that ISO 15765-4 has; False for K-line and J1850, where three codes fill a line.
        role: the ECU's job, for maker's texts.
        declared_length: bytes that the ECU announced. Some leave the count byte out on CAN too: a whole answer that
            no count byte explains is read without one.

    Raises:
        RemoteProtocolError: the payload is no answer to one of these services.

    Standard: SAE J1979 (ISO 15031-5:2015), services $03 $07 $0A; clauses unverified.
    """
    if payload[:1] == bytes([NEGATIVE_SID]):
        return _negative_answer(payload)
    kind = _OBD_KINDS.get(payload[0]) if payload else None
    if kind is None:
        raise _refuse(ecu, "not an answer to OBD service 03, 07 or 0A", "不是 OBD 服务 03、07、0A 的应答", payload)
    if can and len(payload) < 2:
        return DtcAnswer(complete=False)
    if can and len(payload) == declared_length and len(payload) % 2:
        end = 2 + 2 * payload[1]
        can = end <= len(payload) and _is_padding(payload[end:])
    count = payload[1] if can else None
    body = payload[2 if can else 1 :]
    present = len(body) // 2 if count is None else min(len(body) // 2, count)
    found = []
    for at in range(0, 2 * present, 2):
        raw = body[at : at + 2]
        if raw != b"\x00\x00":
            found.append(_j2012_dtc(raw, raw, ecu=ecu, status=None, kind=(kind,), role=role))
    rest = body[2 * present :]
    cut = (count or 0) - present if can else 0 if _is_padding(rest) else 1
    return DtcAnswer(
        dtcs=tuple(found),
        complete=cut == 0,
        missing=cut,
        count=count,
        rest=b"" if _is_padding(rest) or cut else rest,
    )


def _j2012_dtc(
    raw: bytes,
    code_bytes: bytes,
    *,
    ecu: str | None,
    status: DtcStatus | None,
    kind: tuple[DtcKind, ...],
    role: EcuRole | None,
) -> Dtc:
    """A record whose code is in J2012 notation, two or three bytes."""
    code = code_from_bytes(code_bytes[:2])
    failure_type = f"{code_bytes[2]:02X}" if len(code_bytes) == 3 else None
    text, source = find_text(code, failure_type, role)
    return Dtc(
        code=code,
        raw=raw,
        ecu=ecu,
        failure_type=failure_type,
        status=status,
        kind=kind,
        text=text,
        text_source=source,
        severity=find_severity(code, failure_type),
    )


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where things stand in an answer to one sub-function of service 19; offsets in bytes, -1 = not there.

    ``header`` is the number of bytes before the first record, service and sub-function included; ``size`` is that of
    one record, within which ``code`` and ``status`` are offsets.
    """

    header: int
    mask: int = -1
    size: int = 4
    code: int = 0
    status: int = 3
    form: int = -1
    permanent: bool = False


_LISTS: Final[Mapping[int, _Layout]] = {
    0x02: _Layout(header=3, mask=2),
    0x08: _Layout(header=3, mask=2, size=6, code=2, status=5),
    0x09: _Layout(header=3, mask=2, size=6, code=2, status=5),
    0x0A: _Layout(header=3, mask=2),
    0x0B: _Layout(header=3, mask=2),
    0x0C: _Layout(header=3, mask=2),
    0x0D: _Layout(header=3, mask=2),
    0x0E: _Layout(header=3, mask=2),
    0x0F: _Layout(header=3, mask=2),
    0x13: _Layout(header=3, mask=2),
    0x14: _Layout(header=2, status=-1),
    0x15: _Layout(header=3, mask=2, permanent=True),
    0x17: _Layout(header=4, mask=3),
    0x1A: _Layout(header=4, mask=2),
    0x42: _Layout(header=6, mask=3, size=5, code=1, status=4, form=5),
    0x55: _Layout(header=5, mask=3, form=4, permanent=True),
    0x56: _Layout(header=6, mask=3, form=4),
}
"""Answers that list codes. Standard: ISO 14229-1:2020 §12.3 (0F and 13: 2013 edition)."""

_WWH_PERMANENT_WITH_SEVERITY: Final = _Layout(header=5, mask=3, size=5, code=1, status=4, form=4, permanent=True)
_COUNTS: Final = (0x01, 0x07, 0x11, 0x12)
_RECORDS_OF_ONE_CODE: Final[Mapping[int, tuple[int, bool]]] = {
    0x04: (2, True),
    0x18: (3, True),
    0x06: (2, False),
    0x10: (2, False),
    0x19: (3, False),
}
"""Sub-function -> offset of the code, and whether the records are snapshots (else extended data)."""

_FORMAT_J1939: Final = 0x02


def parse_uds_dtcs(
    payload: bytes,
    *,
    ecu: str | None = None,
    declared_length: int | None = None,
    did_lengths: Mapping[int, int] | None = None,
    extended_lengths: Mapping[int, int] | None = None,
    role: EcuRole | None = None,
) -> DtcAnswer:
    """An answer to UDS service 19, any of its sub-functions.

    Args:
        payload: the reassembled answer from its service byte on, ``59 02 FF 0A A6 1A 2F``.
        ecu: response address for the records.
        declared_length: bytes that the transport's first frame announced; more than ``payload`` when it was cut.
        did_lengths: data identifier -> bytes; without it the values of a snapshot stay together as raw bytes.
        extended_lengths: extended data record number -> bytes; likewise.
        role: the ECU's job, for maker's texts.

    Raises:
        RemoteProtocolError: the payload is no answer to service 19, or of a sub-function that no standard describes.

    Standard: ISO 14229-1:2020 §12.3; sub-functions 42, 55, 56 also ISO 27145-3.
    """
    if payload[:1] == bytes([NEGATIVE_SID]):
        return _negative_answer(payload)
    if payload[:1] != b"\x59":
        raise _refuse(ecu, "not an answer to UDS service 19", "不是 UDS 服务 19 的应答", payload)
    if len(payload) < 2:
        return DtcAnswer(complete=False)
    announced = max(declared_length or 0, len(payload))
    sub = payload[1]
    if sub in _COUNTS:
        return _parse_count(payload)
    if sub == 0x03:
        return _parse_snapshot_list(payload, announced, ecu)
    if sub == 0x05:
        return _parse_stored_data(payload, announced, ecu, did_lengths or {}, role)
    if sub == 0x16:
        return _parse_extended_by_number(payload, announced, ecu, extended_lengths or {}, role)
    if sub in _RECORDS_OF_ONE_CODE:
        lengths = did_lengths if _RECORDS_OF_ONE_CODE[sub][1] else extended_lengths
        return _parse_records_of_one_code(payload, announced, ecu, lengths or {}, role)
    if sub in _LISTS:
        return _parse_list(payload, announced, ecu, role)
    raise _refuse(ecu, f"service 19 has no sub-function {sub:02X}", f"服务 19 没有子功能 {sub:02X}", payload)


def _header_of(payload: bytes, mask_at: int) -> int | None:
    return payload[mask_at] if 0 <= mask_at < len(payload) else None


def _parse_count(payload: bytes) -> DtcAnswer:
    """``59 01 mask format count count``."""
    whole = len(payload) >= 6
    return DtcAnswer(
        complete=whole,
        count=int.from_bytes(payload[4:6], "big") if whole else None,
        available=_header_of(payload, 2),
    )


def _cut_records(payload: bytes, header: int, size: int, announced: int) -> tuple[list[bytes], int, bytes]:
    """The whole records after the header, how many are missing, and what is left over."""
    body = payload[header:]
    present = len(body) // size
    rest = body[present * size :]
    total = -(-max(0, announced - header) // size)
    if announced == len(payload) and _is_padding(rest):
        total, rest = present, b""
    return [body[at : at + size] for at in range(0, present * size, size)], total - present, rest


def _parse_list(payload: bytes, announced: int, ecu: str | None, role: EcuRole | None) -> DtcAnswer:
    layout = _LISTS[payload[1]]
    size = announced - layout.header
    if payload[1] == 0x55 and size % 4 and size % 5 == 0:
        layout = _WWH_PERMANENT_WITH_SEVERITY
    available = _header_of(payload, layout.mask)
    records, missing, rest = _cut_records(payload, layout.header, layout.size, announced)
    j1939 = _header_of(payload, layout.form) == _FORMAT_J1939
    found: list[Dtc] = []
    counters: list[FaultCounter] = []
    for raw in records:
        code = raw[layout.code : layout.code + 3]
        last = raw[-1]
        if code == b"\xff\xff\xff" or (code == b"\x00\x00\x00" and last == 0):
            continue
        status = None if layout.status < 0 else DtcStatus(last, 0xFF if available is None else available)
        kind = _kinds(status, permanent=layout.permanent)
        if j1939:
            dtc = _j1939_dtc(raw, code + b"\x00", ecu=ecu, status=status, kind=kind)
        else:
            dtc = _j2012_dtc(raw, code, ecu=ecu, status=status, kind=kind, role=role)
        found.append(dtc)
        if payload[1] == 0x14:
            counters.append(FaultCounter(dtc.code, dtc.failure_type, int.from_bytes(raw[3:4], "big", signed=True)))
    return DtcAnswer(
        dtcs=tuple(found),
        complete=missing == 0 and len(payload) >= layout.header,
        missing=missing,
        available=available,
        fault_counters=tuple(counters),
        rest=rest,
    )


def _parse_snapshot_list(payload: bytes, announced: int, ecu: str | None) -> DtcAnswer:
    """``59 03 {code recordNumber}*``: which snapshots exist; it carries no status and lists no fault."""
    records, missing, rest = _cut_records(payload, 2, 4, announced)
    found = []
    for raw in records:
        if raw[:3] in (b"\xff\xff\xff", b"\x00\x00\x00"):
            continue
        code, failure_type = split_code(code_from_bytes(raw[:3]))
        found.append(StoredRecord(code, failure_type, raw[3], raw[3:], ecu=ecu))
    return DtcAnswer(complete=missing == 0, missing=missing, snapshots=tuple(found), rest=rest)


def _snapshot_end(body: bytes, at: int, lengths: Mapping[int, int]) -> tuple[tuple[tuple[int, bytes], ...], int | None]:
    """The values from the number of identifiers at ``at`` on, and where the record ends (None = it cannot be told)."""
    if at >= len(body):
        return (), None
    values: list[tuple[int, bytes]] = []
    left, at = body[at] or 0x100, at + 1
    for _ in range(left):
        did = int.from_bytes(body[at : at + 2], "big")
        length = lengths.get(did)
        if len(body) < at + 2 or length is None or len(body) < at + 2 + length:
            return tuple(values), None
        values.append((did, body[at + 2 : at + 2 + length]))
        at += 2 + length
    return tuple(values), at


def find_unknown_did(payload: bytes, lengths: Mapping[int, int]) -> int | None:
    """The first data identifier of a snapshot answer (``59 04 …``) whose length is not among ``lengths``.

    The answer itself does not say where one value ends; whoever learns this identifier's length can cut it further.
    None when all of it can be cut, or when it is no snapshot answer.
    """
    if payload[:2] != b"\x59\x04":
        return None
    at = _RECORDS_OF_ONE_CODE[0x04][0] + 4
    while at + 1 < len(payload):
        values, end = _snapshot_end(payload, at + 1, lengths)
        if end is None:
            at += 2 + sum(2 + len(value) for _, value in values)
            did = int.from_bytes(payload[at : at + 2], "big")
            return did if at + 2 <= len(payload) and did not in lengths else None
        at = end
    return None


def _parse_records_of_one_code(
    payload: bytes, announced: int, ecu: str | None, lengths: Mapping[int, int], role: EcuRole | None
) -> DtcAnswer:
    """``59 04 code status {record count {did data}*}*`` and ``59 06 code status {record data}*``."""
    at, is_snapshot = _RECORDS_OF_ONE_CODE[payload[1]]
    if len(payload) < at + 4:
        return DtcAnswer(complete=False, missing=1, rest=payload[at:])
    dtc = _coded(payload[at : at + 4], payload[at : at + 4], ecu, role)
    found: list[StoredRecord] = []
    at += 4
    while at < len(payload):
        number = payload[at]
        values: tuple[tuple[int, bytes], ...] = ()
        if is_snapshot:
            values, end = _snapshot_end(payload, at + 1, lengths)
        else:
            length = lengths.get(number)
            end = None if length is None or at + 1 + length > len(payload) else at + 1 + length
        found.append(StoredRecord(dtc.code, dtc.failure_type, number, payload[at:end], values, ecu))
        at = len(payload) if end is None else end
    return DtcAnswer(
        dtcs=(dtc,),
        complete=announced == len(payload),
        snapshots=tuple(found) if is_snapshot else (),
        extended=() if is_snapshot else tuple(found),
    )


def _coded(raw: bytes, code_and_status: bytes, ecu: str | None, role: EcuRole | None) -> Dtc:
    """A record of three code bytes and a status byte in an answer that has no availability mask."""
    status = DtcStatus(code_and_status[3])
    kind = _kinds(status, permanent=False)
    return _j2012_dtc(raw, code_and_status[:3], ecu=ecu, status=status, kind=kind, role=role)


def _parse_stored_data(
    payload: bytes, announced: int, ecu: str | None, lengths: Mapping[int, int], role: EcuRole | None
) -> DtcAnswer:
    """``59 05 {record code status count {did data}*}*``; the first record number alone: nothing is stored."""
    found: list[Dtc] = []
    records: list[StoredRecord] = []
    at, missing = 2, 0
    while at + 1 < len(payload):
        if at + 5 > len(payload):
            missing = 1
            break
        dtc = _coded(payload[at + 1 : at + 5], payload[at + 1 : at + 5], ecu, role)
        values, end = _snapshot_end(payload, at + 5, lengths)
        found.append(dtc)
        records.append(StoredRecord(dtc.code, dtc.failure_type, payload[at], payload[at:end], values, ecu))
        at = len(payload) if end is None else end
    return DtcAnswer(
        dtcs=tuple(found),
        complete=not missing and announced == len(payload),
        missing=missing,
        snapshots=tuple(records),
        rest=payload[at:] if missing else b"",
    )


def _parse_extended_by_number(
    payload: bytes, announced: int, ecu: str | None, lengths: Mapping[int, int], role: EcuRole | None
) -> DtcAnswer:
    """``59 16 record {code status data}*``."""
    if len(payload) < 3:
        return DtcAnswer(complete=False)
    number, length = payload[2], lengths.get(payload[2])
    found: list[Dtc] = []
    records: list[StoredRecord] = []
    at, missing = 3, 0
    while at < len(payload) and not missing:
        end = len(payload) if length is None else at + 4 + length
        if at + 4 > len(payload) or end > len(payload):
            missing = 1
            break
        dtc = _coded(payload[at : at + 4], payload[at : at + 4], ecu, role)
        found.append(dtc)
        records.append(StoredRecord(dtc.code, dtc.failure_type, number, payload[at:end], ecu=ecu))
        at = end
    return DtcAnswer(
        dtcs=tuple(found),
        complete=not missing and announced == len(payload),
        missing=missing,
        extended=tuple(records),
        rest=payload[at:] if missing else b"",
    )


_LAMPS: Final = (("protect", 0), ("amber-warning", 2), ("red-stop", 4), ("malfunction-indicator", 6))
_FLASHES: Final[Mapping[int, str]] = {0: "slow", 1: "fast"}
_COUNT_UNKNOWN: Final = 0x7F


def parse_j1939_dtcs(
    payload: bytes,
    *,
    ecu: str | None = None,
    declared_length: int | None = None,
    kind: DtcKind = DtcKind.STORED,
) -> DtcAnswer:
    """A J1939 diagnostic message with the layout of DM1: lamps, then four bytes per code.

    Args:
        payload: the reassembled message, ``44 FF 5B 0C 03 05 FF FF``.
        ecu: source address for the records.
        declared_length: bytes that the transport protocol announced.
        kind: the list that this message is: stored for DM1 and DM2, pending for DM6, permanent for DM28.

    Standard: SAE J1939-73 (DM1, DM2); clauses unverified.
    """
    if len(payload) < 2:
        return DtcAnswer(complete=False)
    lamps = []
    for name, shift in _LAMPS:
        state, flash = payload[0] >> shift & 3, payload[1] >> shift & 3
        lamps.append(Lamp(name, {0: False, 1: True}.get(state), _FLASHES.get(flash) if state == 1 else None))
    records, missing, rest = _cut_records(payload, 2, 4, max(declared_length or 0, len(payload)))
    found = [
        _j1939_dtc(raw, raw, ecu=ecu, status=None, kind=(kind,))
        for raw in records
        if raw not in (b"\x00\x00\x00\x00", b"\xff\xff\xff\xff")
    ]
    return DtcAnswer(dtcs=tuple(found), complete=missing == 0, missing=missing, lamps=tuple(lamps), rest=rest)


def _j1939_dtc(raw: bytes, four: bytes, *, ecu: str | None, status: DtcStatus | None, kind: tuple[DtcKind, ...]) -> Dtc:
    """SPN, FMI, conversion method and occurrence count.

    With conversion method 1 the byte order of the SPN is one of three legacy ones that the message does not tell:
    the SPN stays None and the raw bytes speak.
    """
    fmi, legacy, count = four[2] & 0x1F, bool(four[3] >> 7), four[3] & 0x7F
    spn = None if legacy else four[0] | four[1] << 8 | four[2] >> 5 << 16
    text = find_fmi_text(fmi, legacy=legacy)
    return Dtc(
        code=f"SPN {'?' if spn is None else spn} FMI {fmi}",
        raw=raw,
        ecu=ecu,
        status=status,
        kind=kind,
        spn=spn,
        fmi=fmi,
        occurrences=None if count == _COUNT_UNKNOWN or status else count,
        text=text,
        text_source="generic" if text else "none",
        severity=find_fmi_severity(fmi),
    )
