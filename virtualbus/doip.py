"""A DoIP entity that does not exist: header, routing activation, alive checks, and the way to the ECUs behind it.

Bytes go in and out as values; the sockets stand in :mod:`virtualbus.doipfront`.

Standard: ISO 13400-2:2019.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ENTITY", "FUNCTIONAL", "Connection", "Entity", "Request", "message"]

VERSION: Final = 0x03
ENTITY: Final = 0x1000
"""Logical address of the gateway itself; the ECUs follow it."""
FUNCTIONAL: Final = 0xE400
MAX_DATA: Final = 0x1000
_HEADER: Final = struct.Struct(">BBHI")
_MAX_SOCKETS: Final = 8

NEGATIVE, IDENTIFY, IDENTIFY_EID, IDENTIFY_VIN, ANNOUNCEMENT = 0x0000, 0x0001, 0x0002, 0x0003, 0x0004
ACTIVATION, ACTIVATED, ALIVE, ALIVE_ANSWER = 0x0005, 0x0006, 0x0007, 0x0008
STATUS, STATUS_ANSWER, POWER, POWER_ANSWER = 0x4001, 0x4002, 0x4003, 0x4004
DIAGNOSTIC, ACCEPTED, REFUSED = 0x8001, 0x8002, 0x8003
_UDP: Final = frozenset((IDENTIFY, IDENTIFY_EID, IDENTIFY_VIN, STATUS, POWER))
_TCP: Final = frozenset((ACTIVATION, ALIVE, ALIVE_ANSWER, DIAGNOSTIC))
_FIXED: Final = {
    IDENTIFY: (0,), IDENTIFY_EID: (6,), IDENTIFY_VIN: (17,), STATUS: (0,), POWER: (0,), ACTIVATION: (7, 11),
    ALIVE: (0,), ALIVE_ANSWER: (2,),
}  # fmt: skip
_BAD_PATTERN, _UNKNOWN_TYPE, _TOO_LARGE, _BAD_LENGTH = 0x00, 0x01, 0x02, 0x04
_OK, _UNKNOWN_SOURCE, _NO_SOCKET, _OTHER_SOURCE, _IN_USE, _BAD_TYPE = 0x10, 0x00, 0x01, 0x02, 0x03, 0x06


def message(kind: int, payload: bytes) -> bytes:
    """A DoIP message of one payload type."""
    return _HEADER.pack(VERSION, VERSION ^ 0xFF, kind, len(payload)) + payload


@dataclass(frozen=True, slots=True)
class Request:
    """A UDS request that a tester sent.

    Args:
        source, target: logical addresses.
    """

    source: int
    target: int
    payload: bytes


@dataclass(slots=True)
class Connection:
    """One tester's TCP connection.

    Attributes:
        tester: its logical address once routing is activated, else None.
        is_over: the entity closes the connection.
    """

    tester: int | None = None
    is_over: bool = False
    buffer: bytearray = field(default_factory=bytearray)


class Entity:
    """The gateway.

    Args:
        vin: 17 characters.
        eid: six bytes, as a MAC address.
        targets: logical address -> name of an ECU.
    """

    def __init__(self, vin: str, eid: bytes, targets: Mapping[int, str]) -> None:
        self.vin = vin.encode("ascii")
        self.eid = eid
        self.targets = dict(targets)
        self.connections: list[Connection] = []

    def announcement(self) -> bytes:
        """Vehicle announcement, also the answer to an identification request."""
        return message(ANNOUNCEMENT, self.vin + ENTITY.to_bytes(2, "big") + self.eid + self.eid + b"\x00\x00")

    # -- UDP ----------------------------------------------------------------------------------------------------

    def datagram(self, data: bytes) -> bytes | None:
        """The answer to one datagram; None for silence."""
        if len(data) < _HEADER.size:
            return None
        kind, length, problem = self._header(data)
        if problem is not None:
            return message(NEGATIVE, bytes([problem]))
        payload = data[_HEADER.size :]
        if kind not in _UDP or len(payload) != length:
            return message(NEGATIVE, bytes([_UNKNOWN_TYPE if kind not in _UDP else _BAD_LENGTH]))
        if kind == STATUS:
            busy = sum(connection.tester is not None for connection in self.connections)
            return message(STATUS_ANSWER, bytes([0x00, _MAX_SOCKETS, busy]) + MAX_DATA.to_bytes(4, "big"))
        if kind == POWER:
            return message(POWER_ANSWER, b"\x01")
        if (kind == IDENTIFY_EID and payload != self.eid) or (kind == IDENTIFY_VIN and payload != self.vin):
            return None
        return self.announcement()

    @staticmethod
    def _header(data: bytes | bytearray) -> tuple[int, int, int | None]:
        version, inverse, kind, length = _HEADER.unpack_from(data)
        identification = kind in (IDENTIFY, IDENTIFY_EID, IDENTIFY_VIN)
        known = version in (0x01, 0x02, 0x03, 0x04) or (version == 0xFF and identification)
        if not known or inverse != version ^ 0xFF:
            return kind, length, _BAD_PATTERN
        if kind not in _UDP | _TCP:
            return kind, length, _UNKNOWN_TYPE
        if length > MAX_DATA + 4:
            return kind, length, _TOO_LARGE
        if kind in _FIXED and length not in _FIXED[kind]:
            return kind, length, _BAD_LENGTH
        return kind, length, None

    # -- TCP ----------------------------------------------------------------------------------------------------

    def opened(self) -> Connection | None:
        """A tester has connected; None when there are too many."""
        if len(self.connections) >= _MAX_SOCKETS:
            return None
        connection = Connection()
        self.connections.append(connection)
        return connection

    def closed(self, connection: Connection) -> None:
        """A tester has gone."""
        if connection in self.connections:
            self.connections.remove(connection)

    def feed(self, connection: Connection, data: bytes) -> tuple[bytes, list[Request]]:
        """Takes what a tester wrote; the answers, and the requests that go on to the ECUs."""
        connection.buffer += data
        out, requests = bytearray(), []
        while len(connection.buffer) >= _HEADER.size and not connection.is_over:
            kind, length, problem = self._header(connection.buffer)
            if problem is None and kind not in _TCP:
                problem = _UNKNOWN_TYPE
            if problem is not None:
                out += message(NEGATIVE, bytes([problem]))
                if problem in (_BAD_PATTERN, _BAD_LENGTH, _TOO_LARGE):
                    connection.is_over = True
                    break
            if len(connection.buffer) < _HEADER.size + length:
                break
            payload = bytes(connection.buffer[_HEADER.size : _HEADER.size + length])
            del connection.buffer[: _HEADER.size + length]
            if problem is not None:
                continue
            answer, request = self._take(connection, kind, payload)
            out += answer
            if request is not None:
                requests.append(request)
        return bytes(out), requests

    def _take(self, connection: Connection, kind: int, payload: bytes) -> tuple[bytes, Request | None]:
        if kind == ACTIVATION:
            return self._activate(connection, payload), None
        if kind == ALIVE:
            return message(ALIVE_ANSWER, ENTITY.to_bytes(2, "big")), None
        if kind == ALIVE_ANSWER:
            return b"", None
        return self._diagnose(connection, payload)

    def _activate(self, connection: Connection, payload: bytes) -> bytes:
        source, kind = int.from_bytes(payload[:2], "big"), payload[2]
        code = _OK
        if not 0x0E00 <= source <= 0x0EFF:
            code = _UNKNOWN_SOURCE
        elif kind not in (0x00, 0x01):
            code = _BAD_TYPE
        elif connection.tester not in (None, source):
            code = _OTHER_SOURCE
        elif any(other.tester == source and other is not connection for other in self.connections):
            code = _IN_USE
        if code == _OK:
            connection.tester = source
        else:
            connection.is_over = True
        body = source.to_bytes(2, "big") + ENTITY.to_bytes(2, "big") + bytes([code]) + bytes(4)
        return message(ACTIVATED, body)

    def _diagnose(self, connection: Connection, payload: bytes) -> tuple[bytes, Request | None]:
        if len(payload) < 5:
            connection.is_over = True
            return message(NEGATIVE, bytes([_BAD_LENGTH])), None
        source, target, data = int.from_bytes(payload[:2], "big"), int.from_bytes(payload[2:4], "big"), payload[4:]
        back = payload[2:4] + payload[:2]
        if connection.tester != source:
            connection.is_over = True
            return message(REFUSED, back + b"\x02" + data[:8]), None
        if target not in self.targets and target != FUNCTIONAL:
            return message(REFUSED, back + b"\x03" + data[:8]), None
        if len(data) > MAX_DATA - 1:
            return message(REFUSED, back + b"\x04" + data[:8]), None
        return message(ACCEPTED, back + b"\x00" + data[:8]), Request(source, target, data)

    @staticmethod
    def answer(source: int, tester: int, payload: bytes) -> bytes:
        """An ECU's answer on its way to a tester."""
        return message(DIAGNOSTIC, source.to_bytes(2, "big") + tester.to_bytes(2, "big") + payload)

    def connection_of(self, tester: int) -> Connection | None:
        """Where a tester is connected."""
        return next((one for one in self.connections if one.tester == tester), None)
