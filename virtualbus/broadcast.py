"""Values to frames, as the DBC says: cantools encodes, counter and checksum are added.

Standard: SAE J1850 CRC-8 (poly 0x1D, init 0xFF, final XOR 0xFF).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import cantools

from dbc.files import EV400

if TYPE_CHECKING:
    from virtualbus.ecu import Values

__all__ = ["Broadcast", "Network", "Node", "crc8"]

_POLYNOMIAL: Final = 0x1D
_COUNTER_VALUES: Final = 16


def _crc_table() -> bytes:
    out = bytearray()
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value << 1 ^ _POLYNOMIAL) & 0xFF if value & 0x80 else value << 1
        out.append(value)
    return bytes(out)


_TABLE: Final = _crc_table()


def crc8(data: bytes) -> int:
    """CRC-8/SAE-J1850 of ``data``; 0x4B for ``b"123456789"``."""
    value = 0xFF
    for byte in data:
        value = _TABLE[value ^ byte]
    return value ^ 0xFF


@dataclass(frozen=True, slots=True)
class Node:
    """One ECU of the database with its diagnostic addresses."""

    name: str
    request_id: int
    response_id: int


class Broadcast:
    """One cyclic message.

    Attributes:
        name, can_id, sender: as the database says.
        cycle_ns: nanoseconds between two frames.
        groups: number of multiplexed groups, 1 without any.
    """

    def __init__(self, message: Any) -> None:
        self._message = message
        self.name: str = message.name
        self.can_id: int = message.frame_id
        self.sender: str = message.senders[0]
        self.cycle_ns: int = int(message.cycle_time) * 1_000_000
        attributes = message.dbc.attributes
        data_id = attributes["E2EDataId"].value if "E2EDataId" in attributes else -1
        self._data_id: bytes | None = data_id.to_bytes(2, "little") if data_id >= 0 else None
        self._counter_name = f"{self.name}_Counter"
        self._checksum_name = f"{self.name}_Checksum"
        multiplexers = [signal for signal in message.signals if signal.is_multiplexer]
        self.groups = 1 + max((max(s.multiplexer_ids) for s in message.signals if s.multiplexer_ids), default=0)
        self.group_name: str | None = multiplexers[0].name if multiplexers else None
        self._sna = {
            signal.name: next(code for code, text in signal.choices.items() if str(text) == "SNA")
            for signal in message.signals
            if signal.choices and "SNA" in map(str, signal.choices.values())
        }
        self._range = {signal.name: (signal.minimum, signal.maximum) for signal in message.signals}
        self._counter = 0

    def encode(self, values: Values) -> bytes:
        """One frame's data; values outside of their range and those that are None become "not available"."""
        # Ranges are held here, so cantools need not look again: half of the time of an encoding.
        physical: dict[str, Any] = {}
        for name, value in values.items():
            low, high = self._range[name]
            if value is None or ((low is not None and value < low) or (high is not None and value > high)):
                physical[name] = self._not_available(name, value)
            else:
                physical[name] = value
        if self._data_id is None:
            return bytes(self._message.encode(physical, strict=False))
        physical[self._counter_name] = self._counter
        physical[self._checksum_name] = 0
        self._counter = (self._counter + 1) % _COUNTER_VALUES
        # The checksum stands in the last byte of every protected message, whatever its byte order.
        data = bytes(self._message.encode(physical, strict=False))
        return data[:-1] + bytes([crc8(self._data_id + data[:-1])])

    def _not_available(self, name: str, value: float | None) -> Any:
        if name in self._sna:
            return "SNA"
        low, high = self._range[name]
        return low if value is None else min(max(value, low), high)


class Network:
    """Nodes and messages of the car's bus, from the database."""

    def __init__(self) -> None:
        database: Any = cantools.database.load_file(EV400, strict=True)
        self.messages = [Broadcast(message) for message in database.messages]
        self.nodes = {
            node.name: Node(
                node.name,
                node.dbc.attributes["DiagRequestId"].value,
                node.dbc.attributes["DiagResponseId"].value,
            )
            for node in database.nodes
        }
