"""End-to-end protection of broadcast messages: does the counter count, does the checksum fit?

A message is protected when its attribute ``E2EDataId`` is not negative. Its signals ``<Message>_Counter`` and
``<Message>_Checksum`` then carry a cyclic counter, from 0 to the counter signal's maximum, and CRC-8/SAE-J1850 over
the identifier of the data (two bytes, low one first) and the payload without the checksum byte.

Standard: SAE J1850 for the polynomial; the layout is this database's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dbc.decode import MessageColumns
    from dbc.signals import Message, Signal

__all__ = ["Protection", "Verdicts", "crc8_j1850", "find_protection"]

_POLYNOMIAL: Final = 0x1D
_START: Final = 0xFF
_FINAL_XOR: Final = 0xFF


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc << 1 ^ _POLYNOMIAL if crc & 0x80 else crc << 1) & 0xFF
        table.append(crc)
    return tuple(table)


_TABLE: Final = _crc_table()
_TABLE_ARRAY: Final = np.array(_TABLE, np.uint8)


def crc8_j1850(data: bytes) -> int:
    """CRC-8/SAE-J1850 of ``data``; of ``123456789`` it is 0x4B."""
    crc = _START
    for byte in data:
        crc = _TABLE[crc ^ byte]
    return crc ^ _FINAL_XOR


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """What the protection says about each frame of a message.

    Args:
        checksum_ok: bool (n,); false too for a frame that ends before its checksum.
        counter: int64 (n,), -1 where the frame ends before it.
        step: int64 (n,), how far the counter moved since the frame before on the same bus: 1 is right, 0 a repeated
            or frozen frame, more means lost ones; -1 for the first frame and where a counter is missing or outside
            its range.
    """

    t_ns: NDArray[np.int64]
    checksum_ok: NDArray[np.bool_]
    counter: NDArray[np.int64]
    step: NDArray[np.int64]

    @property
    def checksum_errors(self) -> int:
        """Frames whose checksum does not fit."""
        return int(np.count_nonzero(~self.checksum_ok))

    @property
    def lost(self) -> int:
        """Frames that the counter says are missing."""
        return int(np.maximum(self.step - 1, 0).sum())

    @property
    def frozen(self) -> int:
        """Frames whose counter did not move."""
        return int(np.count_nonzero(self.step == 0))

    @property
    def valid(self) -> NDArray[np.bool_]:
        """bool (n,): frames that may be trusted: right checksum, and a counter that moved or is the first."""
        trusted: NDArray[np.bool_] = self.checksum_ok & (self.step != 0) & (self.counter >= 0)
        return trusted


@dataclass(frozen=True, slots=True)
class Protection:
    """The protection of one message.

    Args:
        data_id: goes into the checksum and not over the bus.
        modulus: the counter runs from 0 to ``modulus - 1``.
        checksum_byte: where in the payload the checksum stands.
    """

    message: Message
    data_id: int
    counter: Signal
    modulus: int
    checksum_byte: int

    def checksum_of(self, data: bytes) -> int:
        """The checksum that a payload should have."""
        at = self.checksum_byte
        return crc8_j1850(self.data_id.to_bytes(2, "little") + data[:at] + data[at + 1 :])

    def holds(self, data: bytes) -> bool:
        """Whether one payload is whole and its checksum fits."""
        return len(data) >= self.message.length and self.checksum_of(data) == data[self.checksum_byte]

    def check(self, columns: MessageColumns) -> Verdicts:
        """Judges all frames of the message."""
        payloads = columns.payloads
        n = len(payloads)
        data, length = payloads.data, payloads.length.astype(np.int64)
        crc = np.full(n, crc8_j1850(self.data_id.to_bytes(2, "little")) ^ _FINAL_XOR, np.uint8)
        for at in range(int(length.max()) if n else 0):
            if at != self.checksum_byte:
                crc = np.where(at < length, _TABLE_ARRAY[crc ^ data[:, at]], crc)
        whole = length >= self.message.length
        fits = whole & ((crc ^ np.uint8(_FINAL_XOR)) == data[:, self.checksum_byte])
        counter = payloads.bits(self.counter).astype(np.int64)
        counter[(length < self.counter.needs_bytes) | (counter >= self.modulus)] = -1
        step = np.full(n, -1, np.int64)
        for channel in np.unique(columns.channel):
            rows = np.flatnonzero(columns.channel == channel)
            now, before = counter[rows[1:]], counter[rows[:-1]]
            step[rows[1:]] = np.where((now >= 0) & (before >= 0), (now - before) % self.modulus, -1)
        return Verdicts(columns.t_ns, fits, counter, step)


def find_protection(message: Message) -> Protection | None:
    """The protection of a message; None when it has none, or one whose signals are not as described above."""
    data_id = message.attributes.get("E2EDataId", -1)
    counter = message.by_name.get(f"{message.name}_Counter")
    checksum = message.by_name.get(f"{message.name}_Checksum")
    if not isinstance(data_id, int) or not 0 <= data_id <= 0xFFFF or counter is None or checksum is None:
        return None
    if checksum.length != 8 or checksum.first_bit % 8 or checksum.needs_bytes > message.length:
        return None
    top = 1 << counter.length
    declared = counter.maximum
    modulus = int(declared) + 1 if declared is not None and 0 < declared < top else top
    return Protection(message, data_id, counter, modulus, checksum.first_bit // 8)
