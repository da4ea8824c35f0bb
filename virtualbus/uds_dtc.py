"""Service 19: the sub-functions beyond the usual ones, read from the same fault memory.

Standard: ISO 14229-1:2020 §12.3 (layouts; clauses unverified).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from virtualbus.trouble import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from virtualbus.ecu import Ecu
    from virtualbus.trouble import FaultMemory, TroubleCode

__all__ = ["MORE_KINDS"]

_FORMAT: Final = 0x01
_FORMAT_J2012_04: Final = 0x04
_NO_UNIT: Final = 0x00
_EVERY_GROUP: Final = (0x33, 0xFE)


def _record(memory: FaultMemory, code: TroubleCode) -> bytes:
    return code.number.to_bytes(3, "big") + bytes([memory.status_of(code)])


def _severe(memory: FaultMemory, request: bytes) -> list[TroubleCode]:
    return [code for code in memory.matching(request[3]) if code.test.severity & request[2]]


def _count_by_severity(ecu: Ecu, request: bytes) -> bytes:
    count = len(_severe(ecu.memory, request))
    return bytes([0x59, 0x07, ecu.memory.available, _FORMAT]) + count.to_bytes(2, "big")


def _with_severity(memory: FaultMemory, codes: list[TroubleCode]) -> bytes:
    return b"".join(bytes([code.test.severity, _NO_UNIT]) + _record(memory, code) for code in codes)


def _by_severity(ecu: Ecu, request: bytes) -> bytes:
    memory = ecu.memory
    return bytes([0x59, 0x08, memory.available]) + _with_severity(memory, _severe(memory, request))


def _severity_of(ecu: Ecu, request: bytes) -> bytes | None:
    number = int.from_bytes(request[2:5], "big")
    codes = [code for code in ecu.memory.codes.values() if code.number == number]
    return bytes([0x59, 0x09, ecu.memory.available]) + _with_severity(ecu.memory, codes) if codes else None


def _first_or_last(sub: int, bit: int, at: int) -> Callable[[Ecu, bytes], bytes]:
    """The ECU keeps the order in which codes were set."""

    def read(ecu: Ecu, request: bytes) -> bytes:  # noqa: ARG001 - these sub-functions have no parameters
        memory = ecu.memory
        found = sorted((code for code in memory.codes.values() if code.order and code.status & bit), key=_order)
        return bytes([0x59, sub, memory.available]) + (_record(memory, found[at]) if found else b"")

    return read


def _order(code: TroubleCode) -> int:
    return code.order


def _permanent(ecu: Ecu, request: bytes) -> bytes:  # noqa: ARG001 - this sub-function has no parameters
    memory = ecu.memory
    found = [code for code in memory.codes.values() if code.permanent]
    return bytes([0x59, 0x15, memory.available]) + b"".join(_record(memory, code) for code in found)


def _stored_by_record(ecu: Ecu, request: bytes) -> bytes | None:
    out = bytearray([0x59, 0x05])
    for code in ecu.memory.codes.values():
        dids = code.snapshots.get(request[2])
        if dids is not None:
            out += bytes([request[2]]) + _record(ecu.memory, code) + bytes([len(dids)])
            out += b"".join(did.to_bytes(2, "big") + content for did, content in dids)
    return bytes(out) if len(out) > 2 else None


_COUNTERS: Final[Mapping[int, Callable[[TroubleCode], int]]] = {
    1: lambda code: code.occurrences,
    2: lambda code: code.aging,
}


def _extended_by_record(ecu: Ecu, request: bytes) -> bytes | None:
    counter = _COUNTERS.get(request[2])
    if counter is None:
        return None
    found = [code for code in ecu.memory.codes.values() if code.occurrences]
    records = b"".join(_record(ecu.memory, code) + bytes([counter(code)]) for code in found)
    return bytes([0x59, 0x16, request[2]]) + records


def _supporting_record(ecu: Ecu, request: bytes) -> bytes | None:
    if request[2] not in _COUNTERS:
        return None
    memory = ecu.memory
    return bytes([0x59, 0x1A, memory.available, request[2]]) + b"".join(
        _record(memory, code) for code in memory.codes.values()
    )


def _by_readiness_group(ecu: Ecu, request: bytes) -> bytes | None:
    if request[2] not in _EVERY_GROUP or not ecu.is_legislated_by_uds:
        return None
    memory = ecu.memory
    found = [code for code in memory.codes.values() if code.test.legislated and request[3] == code.test.readiness_group]
    head = bytes([0x59, 0x56, request[2], memory.available, _FORMAT_J2012_04, request[3]])
    return head + b"".join(_record(memory, code) for code in found)


MORE_KINDS: Final[Mapping[int, tuple[int, Callable[[Ecu, bytes], bytes | None]]]] = {
    0x05: (3, _stored_by_record),
    0x07: (4, _count_by_severity),
    0x08: (4, _by_severity),
    0x09: (5, _severity_of),
    0x0B: (2, _first_or_last(0x0B, Status.FAILED_SINCE_CLEAR, 0)),
    0x0C: (2, _first_or_last(0x0C, Status.CONFIRMED, 0)),
    0x0D: (2, _first_or_last(0x0D, Status.FAILED_SINCE_CLEAR, -1)),
    0x0E: (2, _first_or_last(0x0E, Status.CONFIRMED, -1)),
    0x15: (2, _permanent),
    0x16: (3, _extended_by_record),
    0x1A: (3, _supporting_record),
    0x56: (4, _by_readiness_group),
}
"""Sub-function -> length of the request, and who answers it; None is requestOutOfRange."""
