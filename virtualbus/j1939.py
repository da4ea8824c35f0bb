"""J1939 of one ECU: address claim, DM1 every second, answers to requests, and the transport protocol for long ones.

Standard: SAE J1939-21 (transport), J1939-73 (diagnostic messages), J1939-81 (address claim).
"""

from __future__ import annotations

import zlib
from collections import deque
from typing import TYPE_CHECKING, Final

from virtualbus.transport import Frame
from virtualbus.trouble import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from virtualbus.ecu import Ecu
    from virtualbus.trouble import TroubleCode

__all__ = ["J1939Node", "spn_from_dtc"]

_MS: Final = 1_000_000
_DM1_NS: Final = 1_000 * _MS
_BAM_GAP_NS: Final = 50 * _MS
_T3_NS: Final = 1_250 * _MS
_ALL: Final = 0xFF
_REQUEST, _ACK, _TP_CM, _TP_DT, _CLAIM = 0xEA00, 0xE800, 0xEC00, 0xEB00, 0xEE00
_VIN, _COMPONENT, _SOFTWARE, _ECU_ID = 0xFEEC, 0xFEEB, 0xFEDA, 0xFDC5
_DM1, _DM2, _DM3, _DM5, _DM6, _DM11 = 0xFECA, 0xFECB, 0xFECC, 0xFECE, 0xFECF, 0xFED3
_MAKER_SPN: Final = 520_192
_SOURCE_SPN: Final = 2_000
_SPNS: Final = {
    "P0562": 168, "P0A7D": 5921, "P0ABB": 5919, "P0AC0": 5920, "C0031": 905, "C0034": 906, "C0037": 907, "C003A": 908,
    "C0041": 597, "C0077": 241, "P0A3C": 1636, "U0073": 639, "U0001": 1231, "U3003": 158,
}  # fmt: skip
_FMIS: Final = {
    "16": 4, "17": 3, "1A": 4, "1B": 3, "1C": 2, "13": 5, "14": 5, "4B": 0, "57": 13, "62": 2, "63": 7, "64": 2,
    "71": 7, "72": 7, "73": 7, "84": 18, "85": 16, "87": 9, "88": 19, "92": 14, "93": 7, "31": 9, "00": 31,
}  # fmt: skip
_LOST: Final = {
    "U0111": 0xF3, "U0110": 0xEF, "U0293": 0x27, "U019B": 0x49, "U0298": 0x1E, "U0164": 0x19, "U0121": 0x0B,
    "U0131": 0x13, "U0140": 0x21, "U0155": 0x17, "U0146": 0x25,
}  # fmt: skip


def spn_from_dtc(dtc: str) -> tuple[int, int]:
    """Suspect parameter number and failure mode under which a bus reports one of our codes.

    What has a number of its own gets that one; a silent partner is SPN 2000 + its address, FMI 9; the rest lies in the
    makers' range.
    """
    code, _, failure = dtc.partition("-")
    if code in _LOST:
        return _SOURCE_SPN + _LOST[code], 9
    own = _SPNS.get(code, _MAKER_SPN + zlib.crc32(code.encode()) % 4_000)
    return own, _FMIS.get(failure, 31)


class J1939Node:
    """One ECU on a J1939 bus.

    Args:
        address: its source address.
        number: identity number in its NAME.
    """

    def __init__(self, ecu: Ecu, address: int, number: int) -> None:
        self._ecu = ecu
        self.address = address
        name = number & 0x1FFFFF | 0x3B2 << 21 | 0x1E << 40 | 1 << 60 | 1 << 63
        self._name = name.to_bytes(8, "little")
        self._out: deque[tuple[int, Frame]] = deque()
        self._next_dm1: int | None = None
        self._session: tuple[int, int, bytes, int] | None = None
        self._give_up = 0
        self._answers: dict[int, Callable[[], bytes]] = {
            _VIN: lambda: self._ecu.identification.get(0xF190, b"") + b"*",
            _COMPONENT: self._component,
            _SOFTWARE: self._software,
            _ECU_ID: self._ecu_id,
            _DM1: lambda: self._codes(Status.TEST_FAILED),
            _DM2: self._previous,
            _DM5: self._readiness,
            _DM6: lambda: self._codes(Status.PENDING),
            _CLAIM: lambda: self._name,
        }

    @property
    def response_id(self) -> int:
        """The identifier of its address claims."""
        return self._id(_CLAIM, _ALL, 6)

    def _id(self, pgn: int, to: int, priority: int) -> int:
        group = pgn | to if pgn < 0xF000 else pgn
        return priority << 26 | group << 8 | self.address

    # -- the bus ------------------------------------------------------------------------------------------------

    def is_idle(self) -> bool:
        """Never: it says every second what is wrong."""
        return False

    def wants(self, frame: Frame) -> bool:
        """Whether a frame is for this ECU: a request, or a part of a transport session."""
        if not frame.extended:
            return False
        pf, to = frame.can_id >> 16 & 0xFF, frame.can_id >> 8 & 0xFF
        return pf in (0xEA, 0xEC) and to in (self.address, _ALL)

    def receive(self, frame: Frame, now_ns: int) -> None:
        """Takes a frame that :meth:`wants`."""
        source = frame.can_id & 0xFF
        if frame.can_id >> 16 & 0xFF == 0xEA and len(frame.data) >= 3:
            everybody = frame.can_id >> 8 & 0xFF == _ALL
            self._asked(int.from_bytes(frame.data[:3], "little"), source, everybody=everybody, now_ns=now_ns)
        elif frame.can_id >> 16 & 0xFF == 0xEC and len(frame.data) == 8:
            self._controlled(frame.data, source, now_ns)

    def poll(self, now_ns: int) -> list[Frame]:
        """Frames that are due."""
        if self._next_dm1 is None:
            # The ECU has just appeared: it claims its address, then says every second what is wrong.
            self._put(now_ns, Frame(self.response_id, self._name, extended=True))
            self._next_dm1 = now_ns + (self.address * 3 % 97) * 10 * _MS
        if now_ns >= self._next_dm1:
            self._next_dm1 += _DM1_NS
            if self._next_dm1 < now_ns:
                self._next_dm1 = now_ns + _DM1_NS
            self._say(_DM1, self._codes(Status.TEST_FAILED), _ALL, now_ns)
        if self._session is not None and now_ns > self._give_up:
            self._session = None
        out = []
        while self._out and self._out[0][0] <= now_ns:
            out.append(self._out.popleft()[1])
        return out

    def next_ns(self, now_ns: int) -> int | None:
        """When :meth:`poll` has something to do again."""
        first = self._out[0][0] if self._out else None
        if self._next_dm1 is None:
            return now_ns
        return self._next_dm1 if first is None else min(first, self._next_dm1)

    def _put(self, at_ns: int, frame: Frame) -> None:
        self._out.append((at_ns, frame))

    # -- requests -----------------------------------------------------------------------------------------------

    def _asked(self, pgn: int, source: int, *, everybody: bool, now_ns: int) -> None:
        if pgn in (_DM3, _DM11):
            self._clear(pgn, source, now_ns)
            return
        answer = self._answers.get(pgn)
        if answer is None or (pgn == _VIN and 0xF190 not in self._ecu.identification):
            if not everybody:
                self._acknowledge(1, pgn, source, now_ns)
            return
        self._say(pgn, answer(), _ALL if everybody or (pgn >= 0xF000 and len(answer()) <= 8) else source, now_ns)

    def _clear(self, pgn: int, source: int, now_ns: int) -> None:
        """DM3 clears previously active codes, DM11 active ones; the answer is an acknowledgement."""
        if not self._ecu.may_clear():
            self._acknowledge(3, pgn, source, now_ns)
            return
        active = pgn == _DM11
        memory = self._ecu.memory
        memory.clear(code for code in memory.codes.values() if bool(code.status & Status.TEST_FAILED) == active)
        self._acknowledge(0, pgn, source, now_ns)

    def _acknowledge(self, control: int, pgn: int, source: int, now_ns: int) -> None:
        data = bytes([control, 0xFF, 0xFF, 0xFF, source]) + pgn.to_bytes(3, "little")
        self._put(now_ns, Frame(self._id(_ACK, _ALL, 6), data, extended=True))

    def _say(self, pgn: int, payload: bytes, to: int, now_ns: int) -> None:
        if len(payload) <= 8:
            data = payload.ljust(8, b"\xff")
            self._put(now_ns, Frame(self._id(pgn, to, 6), data, extended=True))
            return
        packets = -(-len(payload) // 7)
        size = len(payload).to_bytes(2, "little") + bytes([packets])
        group = pgn.to_bytes(3, "little")
        if to == _ALL:
            self._put(now_ns, Frame(self._id(_TP_CM, _ALL, 7), b"\x20" + size + b"\xff" + group, extended=True))
            start = max(now_ns, self._out[-1][0])
            for number, frame in enumerate(self._packets(payload, _ALL, 1, packets), start=1):
                self._put(start + number * _BAM_GAP_NS, frame)
            return
        self._session = (to, pgn, payload, packets)
        self._give_up = now_ns + _T3_NS
        self._put(now_ns, Frame(self._id(_TP_CM, to, 7), b"\x10" + size + b"\xff" + group, extended=True))

    def _packets(self, payload: bytes, to: int, first: int, count: int) -> Iterable[Frame]:
        for number in range(first, first + count):
            part = payload[7 * (number - 1) : 7 * number].ljust(7, b"\xff")
            yield Frame(self._id(_TP_DT, to, 7), bytes([number]) + part, extended=True)

    def _controlled(self, data: bytes, source: int, now_ns: int) -> None:
        """CTS, end of message or abort of a session that this ECU has opened."""
        if self._session is None or source != self._session[0]:
            return
        to, pgn, payload, packets = self._session
        if int.from_bytes(data[5:8], "little") != pgn:
            return
        if data[0] == 0x11:
            self._give_up = now_ns + _T3_NS
            count = min(data[1], packets - data[2] + 1)
            for frame in self._packets(payload, to, data[2], count):
                self._put(now_ns, frame)
        elif data[0] in (0x13, 0xFF):
            self._session = None

    # -- contents -----------------------------------------------------------------------------------------------

    def _lamps(self, codes: list[TroubleCode]) -> bytes:
        """Protect, amber, red stop and MIL: two bits each; the flash byte says "do not flash"."""
        mil = any(code.status & Status.WARNING for code in codes)
        stop = any(code.test.severity & 0x80 for code in codes)
        return bytes([mil << 6 | stop << 4 | bool(codes) << 2, 0xFF])

    def _codes(self, mask: int) -> bytes:
        codes = [code for code in self._ecu.memory.codes.values() if code.status & mask]
        return self._listed(codes)

    def _listed(self, codes: list[TroubleCode]) -> bytes:
        if not codes:
            return b"\x00\xff\x00\x00\x00\x00"
        out = bytearray(self._lamps(codes))
        for code in codes:
            spn, fmi = spn_from_dtc(code.test.dtc)
            out += (spn & 0xFFFF).to_bytes(2, "little") + bytes([spn >> 16 << 5 | fmi, min(126, code.occurrences)])
        return bytes(out)

    def _previous(self) -> bytes:
        return self._listed(
            [
                code
                for code in self._ecu.memory.codes.values()
                if code.status & Status.CONFIRMED and not code.status & Status.TEST_FAILED
            ]
        )

    def _readiness(self) -> bytes:
        codes = self._ecu.memory.codes.values()
        active = sum(bool(code.status & Status.TEST_FAILED) for code in codes)
        before = sum(bool(c.status & Status.CONFIRMED and not c.status & Status.TEST_FAILED) for c in codes)
        return bytes([active, before, 27, 0, 0, 0, 0, 0])

    def _component(self) -> bytes:
        ids = self._ecu.identification
        return b"HZSIM*" + ids[0xF187] + b"*" + ids[0xF18C] + b"**"

    def _software(self) -> bytes:
        ids = self._ecu.identification
        return b"\x02" + ids[0xF188] + b"*" + ids[0xF195] + b"*"

    def _ecu_id(self) -> bytes:
        ids = self._ecu.identification
        return ids[0xF187] + b"*" + ids[0xF18C] + b"**" + ids[0xF197] + b"*HZSIM*"
