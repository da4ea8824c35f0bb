"""The UDS server of one ECU: sessions, security, codes, data — and the OBD services behind the same address.

Bytes and time in, bytes out: no bus here. Sessions fall back after S3; an answer that takes longer than P2 is
announced with "response pending".

Standard: ISO 14229-1:2020 (sub-functions and negative responses; clauses unverified), ISO 14229-2 (P2, S3).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from virtualbus.obd_services import OBD_SERVICES, answer_obd
from virtualbus.uds_dtc import MORE_KINDS
from virtualbus.uds_programming import Changing, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from virtualbus.ecu import Ecu
    from virtualbus.trouble import Did, TroubleCode

__all__ = ["P2_NS", "S3_NS", "Reply", "UdsServer"]

P2_NS: Final = 50_000_000
P2_STAR_NS: Final = 5_000_000_000
S3_NS: Final = 5_000_000_000
LOCK_NS: Final = 10_000_000_000
MOST_TRIES: Final = 3

DEFAULT: Final = 0x01
PROGRAMMING: Final = 0x02
EXTENDED: Final = 0x03

SERVICE_NOT_SUPPORTED: Final = 0x11
SUB_FUNCTION_NOT_SUPPORTED: Final = 0x12
WRONG_LENGTH: Final = 0x13
CONDITIONS: Final = 0x22
SEQUENCE: Final = 0x24
OUT_OF_RANGE: Final = 0x31
INVALID_KEY: Final = 0x35
EXCEEDED_TRIES: Final = 0x36
DELAY_NOT_EXPIRED: Final = 0x37
PENDING: Final = 0x78
SUB_FUNCTION_NOT_IN_SESSION: Final = 0x7E
SERVICE_NOT_IN_SESSION: Final = 0x7F

_SILENT_WHEN_FUNCTIONAL: Final = frozenset(
    {
        SERVICE_NOT_SUPPORTED,
        SUB_FUNCTION_NOT_SUPPORTED,
        OUT_OF_RANGE,
        SUB_FUNCTION_NOT_IN_SESSION,
        SERVICE_NOT_IN_SESSION,
    }
)
_SUPPRESS: Final = 0x80
_RESET_DONE: Final = 0x51
_FORMAT_ISO_14229: Final = 0x01
_FORMAT_J2012_04: Final = 0x04
_EMISSIONS, _VOBD = 0x33, 0xFE
_ALL_SEVERITIES: Final = 0xFF
_ALL: Final = 0xFF
_MAX_DIDS: Final = 8
_GROUPS: Final = {0xFFFFFF: None, 0xFFFF33: "legislated", 0x100000: 0, 0x400000: 1, 0x800000: 2, 0xC00000: 3}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that leaves after ``delay_ns`` nanoseconds."""

    payload: bytes
    delay_ns: int = 0


class UdsServer:
    """Diagnostic server of one ECU."""

    def __init__(self, ecu: Ecu) -> None:
        self._ecu = ecu
        self.session = DEFAULT
        self._last_ns = 0
        self.storm: tuple[int, int] | None = None
        self._lock_ns = LOCK_NS
        self._locked_until: int | None = 0
        self._tries = 0
        self._seed = b""
        self._services: dict[int, Callable[[bytes], bytes]] = {
            0x10: self._session_control,
            0x14: self._clear,
            0x19: self._read_dtc,
            0x22: self._read_data,
            0x27: self._security,
            0x3E: self._tester_present,
            0x85: self._control_dtc,
        }
        self._changing = Changing(ecu)
        self._services |= self._changing.services

    @property
    def is_default(self) -> bool:
        """Whether the default session is active."""
        return self.session == DEFAULT

    def expire(self, now_ns: int) -> None:
        """Falls back to the default session when nothing was asked for S3."""
        if self.session != DEFAULT and now_ns - self._last_ns >= S3_NS:
            self._enter(DEFAULT)

    def answer(self, request: bytes, *, functional: bool, now_ns: int) -> list[Reply]:
        """What the ECU sends to one request, in order; empty for silence."""
        self.expire(now_ns)
        self._last_ns = now_ns
        if not request:
            return []
        sid = request[0]
        payload, suppressed = self._outcome(request)
        slow_ns = self._slow_ns(request)
        if payload[0] == 0x7F:
            if functional and payload[2] in _SILENT_WHEN_FUNCTIONAL:
                return []
            return [Reply(payload)]
        if self.storm is not None:
            count, gap_ns = self.storm
            pending = [Reply(bytes([0x7F, sid, PENDING]), number * gap_ns) for number in range(count)]
            return [*pending, Reply(payload, count * gap_ns)]
        if slow_ns > P2_NS:
            # After a "response pending" the positive answer comes even when it was to be suppressed.
            return [Reply(bytes([0x7F, sid, PENDING]), P2_NS * 4 // 5), Reply(payload, slow_ns)]
        return [] if suppressed else [Reply(payload, slow_ns)]

    def _slow_ns(self, request: bytes) -> int:
        for start, seconds in self._ecu.slow_s.items():
            if request.startswith(start):
                return round(seconds * 1e9)
        return 0

    def _outcome(self, request: bytes) -> tuple[bytes, bool]:
        sid = request[0]
        if sid in OBD_SERVICES and self._ecu.speaks_obd:
            return answer_obd(self._ecu, request), False
        service = self._services.get(sid)
        if service is None:
            return bytes([0x7F, sid, SERVICE_NOT_SUPPORTED]), False
        has_sub = sid in (0x10, 0x11, 0x19, 0x27, 0x28, 0x31, 0x3E, 0x85)
        suppressed = has_sub and len(request) > 1 and bool(request[1] & _SUPPRESS)
        if has_sub:
            if len(request) < 2:
                return bytes([0x7F, sid, WRONG_LENGTH]), False
            request = bytes([sid, request[1] & 0x7F]) + request[2:]
        try:
            answer = service(request)
        except Refusal as refusal:
            return bytes([0x7F, sid, refusal.nrc]), False
        if answer[0] == _RESET_DONE:
            self._enter(DEFAULT)
        return answer, suppressed

    def _enter(self, session: int) -> None:
        self.session = session
        if session == DEFAULT:
            self._ecu.memory.recording = True
            self._changing.is_unlocked = False
            self._changing.give_back()
        self._changing.is_default = session == DEFAULT
        self._changing.is_programming = session == PROGRAMMING

    # -- services -----------------------------------------------------------------------------------------------

    def _session_control(self, request: bytes) -> bytes:
        if len(request) != 2:
            raise Refusal(WRONG_LENGTH)
        wanted = request[1]
        if wanted == PROGRAMMING:
            if self.session == DEFAULT:
                raise Refusal(SUB_FUNCTION_NOT_IN_SESSION)
            if not (self._changing.is_unlocked and self._ecu.may_clear()):
                raise Refusal(CONDITIONS)
        elif wanted not in (DEFAULT, EXTENDED):
            raise Refusal(SUB_FUNCTION_NOT_SUPPORTED)
        self._enter(wanted)
        p2, p2_star = P2_NS // 1_000_000, P2_STAR_NS // 10_000_000
        return bytes([0x50, wanted]) + p2.to_bytes(2, "big") + p2_star.to_bytes(2, "big")

    def lock_for(self, lock_ns: int) -> None:
        """Locks security access from the first request on."""
        self._lock_ns, self._locked_until = lock_ns, None

    def _security(self, request: bytes) -> bytes:
        """Seed and key, with the lock after three wrong keys. Nobody outside has the key.

        Standard: ISO 14229-1:2020 §10.4 (clause unverified).
        """
        if self.session == DEFAULT:
            raise Refusal(SERVICE_NOT_IN_SESSION)
        if request[1] not in (0x01, 0x02):
            raise Refusal(SUB_FUNCTION_NOT_SUPPORTED)
        if self._locked_until is None:
            self._locked_until = self._last_ns + self._lock_ns
        if self._last_ns < self._locked_until:
            raise Refusal(DELAY_NOT_EXPIRED)
        if request[1] == 0x01:
            if len(request) != 2:
                raise Refusal(WRONG_LENGTH)
            if self._changing.is_unlocked:
                return b"\x67\x01" + bytes(4)
            self._seed = zlib.crc32(self._ecu.identification[0xF18C] + self._last_ns.to_bytes(8, "big")).to_bytes(
                4, "big"
            )
            return b"\x67\x01" + self._seed
        if not self._seed:
            raise Refusal(SEQUENCE)
        if len(request) != 6:
            raise Refusal(WRONG_LENGTH)
        secret = zlib.crc32(self._seed + self._ecu.identification[0xF18C]).to_bytes(4, "big")
        self._seed = b""
        if request[2:] == secret:
            self._tries = 0
            self._changing.is_unlocked = True
            return b"\x67\x02"
        self._tries += 1
        if self._tries < MOST_TRIES:
            raise Refusal(INVALID_KEY)
        self._tries = 0
        self._locked_until = self._last_ns + self._lock_ns
        raise Refusal(EXCEEDED_TRIES)

    def _tester_present(self, request: bytes) -> bytes:
        if len(request) != 2:
            raise Refusal(WRONG_LENGTH)
        if request[1] != 0:
            raise Refusal(SUB_FUNCTION_NOT_SUPPORTED)
        return b"\x7e\x00"

    def _control_dtc(self, request: bytes) -> bytes:
        if self.session == DEFAULT:
            raise Refusal(SERVICE_NOT_IN_SESSION)
        if request[1] not in (1, 2):
            raise Refusal(SUB_FUNCTION_NOT_SUPPORTED)
        if len(request) != 2:
            raise Refusal(WRONG_LENGTH)
        self._ecu.memory.recording = request[1] == 1
        return bytes([0xC5, request[1]])

    def _clear(self, request: bytes) -> bytes:
        if len(request) != 4:
            raise Refusal(WRONG_LENGTH)
        group = int.from_bytes(request[1:], "big")
        memory = self._ecu.memory
        codes = list(memory.codes.values())
        if group in _GROUPS:
            part = _GROUPS[group]
            if part == "legislated":
                codes = [code for code in codes if code.test.legislated]
            elif part is not None:
                codes = [code for code in codes if code.number >> 22 == part]
        else:
            codes = [code for code in codes if code.number == group]
            if not codes:
                raise Refusal(OUT_OF_RANGE)
        if not self._ecu.may_clear():
            raise Refusal(CONDITIONS)
        if len(codes) == len(memory.codes):
            self._ecu.clear()
        else:
            memory.clear(codes)
        return b"\x54"

    def _read_data(self, request: bytes) -> bytes:
        body = request[1:]
        if not body or len(body) % 2 or len(body) > 2 * _MAX_DIDS:
            raise Refusal(WRONG_LENGTH)
        out = bytearray([0x62])
        for at in range(0, len(body), 2):
            did = int.from_bytes(body[at : at + 2], "big")
            content = bytes([self.session]) if did == 0xF186 else self._ecu.data(did)
            if content is not None:
                out += body[at : at + 2] + content
        if len(out) == 1:
            raise Refusal(OUT_OF_RANGE)
        return bytes(out)

    def _read_dtc(self, request: bytes) -> bytes:
        kinds: dict[int, tuple[int, Callable[[bytes], bytes]]] = {
            0x01: (3, self._count_by_mask),
            0x02: (3, self._by_mask),
            0x03: (2, self._snapshot_list),
            0x04: (6, self._snapshots),
            0x06: (6, self._extended),
            0x0A: (2, self._supported),
            0x14: (2, self._counters),
            0x42: (5, self._regulated_by_mask),
            0x55: (3, self._regulated_permanent),
        }
        more = MORE_KINDS.get(request[1])
        if more is not None:
            if len(request) != more[0]:
                raise Refusal(WRONG_LENGTH)
            answer = more[1](self._ecu, request)
            if answer is None:
                raise Refusal(OUT_OF_RANGE)
            return answer
        kind = kinds.get(request[1])
        if kind is None:
            raise Refusal(SUB_FUNCTION_NOT_SUPPORTED)
        length, read = kind
        if len(request) != length:
            raise Refusal(WRONG_LENGTH)
        return read(request)

    def _records(self, codes: list[TroubleCode]) -> bytes:
        memory = self._ecu.memory
        return b"".join(code.number.to_bytes(3, "big") + bytes([memory.status_of(code)]) for code in codes)

    def _count_by_mask(self, request: bytes) -> bytes:
        memory = self._ecu.memory
        count = len(memory.matching(request[2]))
        kind = _FORMAT_J2012_04 if self._ecu.design.vehicle.speaks == "uds" else _FORMAT_ISO_14229
        return bytes([0x59, 0x01, memory.available, kind]) + count.to_bytes(2, "big")

    def _by_mask(self, request: bytes) -> bytes:
        memory = self._ecu.memory
        return bytes([0x59, 0x02, memory.available]) + self._records(memory.matching(request[2]))

    def _supported(self, request: bytes) -> bytes:  # noqa: ARG002 - this sub-function has no parameters
        memory = self._ecu.memory
        return bytes([0x59, 0x0A, memory.available]) + self._records(list(memory.codes.values()))

    def _regulated(self, group: int) -> list[TroubleCode]:
        """Codes of a functional group: 33 emissions, FE VOBD. Standard: SAE J1979-2, ISO 14229-1:2020 Annex D.5."""
        if not self._ecu.is_legislated_by_uds:
            raise Refusal(SUB_FUNCTION_NOT_SUPPORTED)
        if group not in (_EMISSIONS, _VOBD):
            raise Refusal(OUT_OF_RANGE)
        return [code for code in self._ecu.memory.codes.values() if code.test.legislated]

    def _regulated_by_mask(self, request: bytes) -> bytes:
        memory = self._ecu.memory
        found = [
            code
            for code in self._regulated(request[2])
            if memory.status_of(code) & request[3] and code.test.severity & request[4]
        ]
        head = bytes([0x59, 0x42, request[2], memory.available, _ALL_SEVERITIES, _FORMAT_J2012_04])
        return head + b"".join(bytes([code.test.severity]) + self._records([code]) for code in found)

    def _regulated_permanent(self, request: bytes) -> bytes:
        found = [code for code in self._regulated(request[2]) if code.permanent]
        memory = self._ecu.memory
        return bytes([0x59, 0x55, request[2], memory.available, _FORMAT_J2012_04]) + self._records(found)

    def _counters(self, request: bytes) -> bytes:  # noqa: ARG002 - this sub-function has no parameters
        out = bytearray([0x59, 0x14])
        for code in self._ecu.memory.codes.values():
            if 1 <= code.counter < 127:
                out += code.number.to_bytes(3, "big") + bytes([int(code.counter)])
        return bytes(out)

    def _snapshot_list(self, request: bytes) -> bytes:  # noqa: ARG002 - this sub-function has no parameters
        out = bytearray([0x59, 0x03])
        for code in self._ecu.memory.codes.values():
            for record in sorted(code.snapshots):
                out += code.number.to_bytes(3, "big") + bytes([record])
        return bytes(out)

    def _code(self, request: bytes) -> TroubleCode:
        number = int.from_bytes(request[2:5], "big")
        for code in self._ecu.memory.codes.values():
            if code.number == number:
                return code
        raise Refusal(OUT_OF_RANGE)

    def _head(self, code: TroubleCode, sub: int) -> bytes:
        return bytes([0x59, sub]) + self._records([code])

    def _snapshots(self, request: bytes) -> bytes:
        code, wanted = self._code(request), request[5]
        if wanted not in (1, 2, _ALL):
            raise Refusal(OUT_OF_RANGE)
        out = self._head(code, 0x04)
        for record, dids in sorted(code.snapshots.items()):
            if wanted in (record, _ALL):
                out += bytes([record, len(dids)]) + _did_bytes(dids)
        return out

    def _extended(self, request: bytes) -> bytes:
        code, wanted = self._code(request), request[5]
        records = {1: code.occurrences, 2: code.aging}
        if wanted not in (*records, _ALL):
            raise Refusal(OUT_OF_RANGE)
        out = self._head(code, 0x06)
        if code.occurrences:
            out += b"".join(bytes([number, value]) for number, value in records.items() if wanted in (number, _ALL))
        return out


def _did_bytes(dids: tuple[Did, ...]) -> bytes:
    return b"".join(did.to_bytes(2, "big") + content for did, content in dids)
