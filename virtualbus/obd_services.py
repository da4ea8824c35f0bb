"""The OBD-II services of one ECU: 01, 02, 03, 04, 06, 07, 09, 0A.

An ECU stays silent to a functional request that it cannot answer; asked by name it says why.

Standard: SAE J1979 (ISO 15031-5), services as on CAN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from virtualbus.trouble import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from virtualbus.ecu import Ecu
    from virtualbus.trouble import TroubleCode

__all__ = ["OBD_SERVICES", "answer_obd"]

SERVICE_NOT_SUPPORTED: Final = 0x11
SUB_FUNCTION_NOT_SUPPORTED: Final = 0x12
WRONG_LENGTH: Final = 0x13
CONDITIONS: Final = 0x22

_MAX_PIDS: Final = 6
_MAX_FRAME_PIDS: Final = 3
_FRAME_PIDS: Final = (0x02, 0x0D, 0x42, 0x46, 0x5B, 0x9A, 0xA6)


def _negative(sid: int, nrc: int) -> bytes:
    return bytes([0x7F, sid, nrc])


def _live(ecu: Ecu, request: bytes) -> bytes:
    pids = request[1:]
    if not 1 <= len(pids) <= _MAX_PIDS:
        return _negative(0x01, WRONG_LENGTH)
    out = bytearray([0x41])
    for pid in pids:
        content = ecu.parameter(pid)
        if content is not None:
            out += bytes([pid]) + content
    return bytes(out) if len(out) > 1 else _negative(0x01, SUB_FUNCTION_NOT_SUPPORTED)


def _freeze(ecu: Ecu, request: bytes) -> bytes:
    pairs = request[1:]
    if not pairs or len(pairs) % 2 or len(pairs) > 2 * _MAX_FRAME_PIDS:
        return _negative(0x02, WRONG_LENGTH)
    out = bytearray([0x42])
    for pid, frame in zip(pairs[::2], pairs[1::2], strict=True):
        content = _frozen(ecu, pid) if frame == 0 else None
        if content is not None:
            out += bytes([pid, frame]) + content
    return bytes(out) if len(out) > 1 else _negative(0x02, SUB_FUNCTION_NOT_SUPPORTED)


def _frozen(ecu: Ecu, pid: int) -> bytes | None:
    code = ecu.memory.first_legislated
    kept = dict(code.snapshots.get(1, ())) if code else {}
    if pid % 0x20 == 0:
        there = [0x02, *(number for number in _FRAME_PIDS if 0xF400 | number in kept)]
        return ecu.support_map(pid, tuple(there))
    if pid == 0x02:
        return (code.number >> 8).to_bytes(2, "big") if code else b"\x00\x00"
    return kept.get(0xF400 | pid)


def _codes(sid: int, chosen: Callable[[TroubleCode], bool]) -> Callable[[Ecu, bytes], bytes]:
    def answer(ecu: Ecu, request: bytes) -> bytes:
        if len(request) != 1:
            return _negative(sid, WRONG_LENGTH)
        numbers = [
            (code.number >> 8).to_bytes(2, "big")
            for code in ecu.memory.codes.values()
            if code.test.legislated and chosen(code)
        ]
        return bytes([sid + 0x40, len(numbers)]) + b"".join(numbers)

    return answer


def _clear(ecu: Ecu, request: bytes) -> bytes:
    if len(request) != 1:
        return _negative(0x04, WRONG_LENGTH)
    if not ecu.may_clear():
        return _negative(0x04, CONDITIONS)
    ecu.clear()
    return b"\x44"


def _monitors(ecu: Ecu, request: bytes) -> bytes:
    if len(request) != 2:
        return _negative(0x06, WRONG_LENGTH)
    number = request[1]
    content = ecu.monitor_results(number)
    if content is None:
        return _negative(0x06, SUB_FUNCTION_NOT_SUPPORTED)
    if number % 0x20 == 0:
        return bytes([0x46, number]) + content
    return b"\x46" + b"".join(bytes([number]) + content[at : at + 8] for at in range(0, len(content), 8))


def _vehicle_info(ecu: Ecu, request: bytes) -> bytes:
    if len(request) != 2:
        return _negative(0x09, WRONG_LENGTH)
    kind = request[1]
    if kind == 0:
        return b"\x49\x00" + (ecu.support_map(0, ecu.info_types()) or b"")
    counted = ecu.ratios().get(kind)
    if counted:
        return bytes([0x49, kind, len(counted)]) + b"".join(number.to_bytes(2, "big") for number in counted)
    content = ecu.vehicle_info.get(kind)
    if content is None:
        return _negative(0x09, SUB_FUNCTION_NOT_SUPPORTED)
    return bytes([0x49, kind, 1]) + content


OBD_SERVICES: Final[dict[int, Callable[[Ecu, bytes], bytes]]] = {
    0x01: _live,
    0x02: _freeze,
    0x03: _codes(0x03, lambda code: bool(code.status & Status.CONFIRMED)),
    0x04: _clear,
    0x06: _monitors,
    0x07: _codes(0x07, lambda code: bool(code.status & Status.PENDING)),
    0x09: _vehicle_info,
    0x0A: _codes(0x0A, lambda code: code.permanent),
}


def answer_obd(ecu: Ecu, request: bytes) -> bytes:
    """The answer of one ECU to a request of a service in :data:`OBD_SERVICES`."""
    return OBD_SERVICES[request[0]](ecu, request)
