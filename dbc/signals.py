"""Signals and messages of a database, each with its plan for reading made once.

A signal knows where its bits lie, when it is there (multiplexing, length of the frame) and which raw codes mean "not
available". Reading one frame is here; reading columns of frames with the same plan is :mod:`dbc.decode`.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NOT_AVAILABLE_NAMES", "Condition", "DecodedFrame", "Message", "Signal", "SignalValue"]

NOT_AVAILABLE_NAMES: Final = frozenset(
    {"sna", "notavailable", "signalnotavailable", "datanotavailable", "不可用", "无效", "无效值"}
)
"""Entries of a value table that stand for "no value", lower case without anything but letters."""

_FLOAT_FORMATS: Final = {16: "<e", 32: "<f", 64: "<d"}
_EXACT: Final = 1 << 53


@dataclass(frozen=True, slots=True)
class Condition:
    """A multiplexed signal is there while its selector has one of some values.

    Args:
        selector: name of the selecting signal in the same message.
        ranges: inclusive ranges of the selector's raw bits, sorted.
    """

    selector: str
    ranges: tuple[tuple[int, int], ...]

    def holds(self, bits: int) -> bool:
        """Whether the selector's raw bits choose the signal."""
        return any(low <= bits <= high for low, high in self.ranges)


@dataclass(frozen=True, slots=True)
class Signal:
    """One physical quantity inside a message.

    Args:
        name: as the database spells it.
        start: the DBC start bit: of the lowest bit when little-endian, of the highest when big-endian.
        length: bits, 1–64.
        little_endian: byte order.
        signed: two's complement.
        is_float: IEEE 754 of 16, 32 or 64 bits.
        scale: factor from raw to physical.
        offset: physical value of raw 0.
        unit: as the database spells it.
        minimum: lowest physical value that the database allows, None where it says nothing.
        maximum: highest one.
        labels: raw value -> text of the value table.
        conditions: all of them hold while the signal is there; the outermost selector last.
        comment: the database's own words.
    """

    name: str
    start: int
    length: int
    little_endian: bool
    signed: bool = False
    is_float: bool = False
    scale: float = 1
    offset: float = 0
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    labels: Mapping[int, str] = field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()
    comment: str = ""
    first_bit: int = field(init=False)
    needs_bytes: int = field(init=False)
    not_available: tuple[int, ...] = field(init=False)
    exact_integer: bool = field(init=False)

    def __post_init__(self) -> None:
        # Bits counted through the bytes in the order in which the signal runs: from the lowest bit of byte 0 when
        # little-endian, from its highest bit when big-endian.
        first = self.start if self.little_endian else 8 * (self.start // 8) + 7 - self.start % 8
        missing = tuple(
            raw
            for raw, text in self.labels.items()
            if "".join(filter(str.isalpha, text)).lower() in NOT_AVAILABLE_NAMES
        )
        # Out of float's range raises here, at load, and never while decoding.
        largest = float((1 << self.length) * abs(self.scale) + abs(self.offset))
        integers = float(self.scale).is_integer() and float(self.offset).is_integer()
        identity = self.scale == 1 and self.offset == 0
        object.__setattr__(self, "first_bit", first)
        object.__setattr__(self, "needs_bytes", (first + self.length + 7) // 8)
        object.__setattr__(self, "not_available", missing)
        object.__setattr__(
            self, "exact_integer", integers and not identity and not self.is_float and _EXACT < largest < math.inf
        )

    def bits_of(self, data: bytes) -> int:
        """The signal's bits as an unsigned number; ``data`` has at least :attr:`needs_bytes` bytes."""
        if self.little_endian:
            shifted = int.from_bytes(data, "little") >> self.first_bit
        else:
            shifted = int.from_bytes(data, "big") >> 8 * len(data) - self.first_bit - self.length
        return shifted & (1 << self.length) - 1

    def raw_from_bits(self, bits: int) -> int:
        """The raw number: sign applied where there is one; the bit pattern of a float stays as it is."""
        if self.signed and not self.is_float and bits >> self.length - 1:
            return bits - (1 << self.length)
        return bits

    def value_from_bits(self, bits: int) -> float | None:
        """The physical value; None for "not available" and for a float that is no number."""
        raw: float = self.raw_from_bits(bits)
        if self.is_float:
            raw = struct.unpack(_FLOAT_FORMATS[self.length], bits.to_bytes(self.length // 8, "little"))[0]
            if not math.isfinite(raw):
                return None
            missing = int(raw) in self.not_available
        else:
            missing = raw in self.not_available
        if missing:
            return None
        if self.exact_integer:
            return float(int(raw) * int(self.scale) + int(self.offset))
        value = raw * self.scale + self.offset
        return float(value) if math.isfinite(value) else None


@dataclass(frozen=True, slots=True)
class SignalValue:
    """One signal of one frame.

    Args:
        value: in ``signal.unit``; None when the sender says "not available".
        raw: the raw number as it stands in the frame.
    """

    signal: Signal
    value: float | None
    raw: int

    @property
    def name(self) -> str:
        """The signal's name."""
        return self.signal.name

    @property
    def label(self) -> str | None:
        """The value table's text for the raw number."""
        return self.signal.labels.get(self.raw)


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """One frame read with its message.

    Args:
        values: signals that are there, by name: multiplexed ones only when chosen, none beyond the frame's end.
        short: the frame has fewer bytes than the message.
        source_address: of a J1939 frame, else None.
    """

    message: Message
    values: dict[str, SignalValue]
    short: bool = False
    source_address: int | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """A frame's layout.

    Args:
        can_id: identifier without flag bits.
        length: bytes.
        is_j1939: matched by parameter group whatever the source address.
        cycle_time_ms: None where the database says nothing.
        attributes: all attributes of the message, defaults filled in.
        unreadable: signals that no number of 64 bits holds, by name.
    """

    name: str
    can_id: int
    extended: bool
    length: int
    signals: tuple[Signal, ...]
    is_fd: bool = False
    is_j1939: bool = False
    senders: tuple[str, ...] = ()
    cycle_time_ms: int | None = None
    attributes: Mapping[str, int | float | str] = field(default_factory=dict)
    comment: str = ""
    unreadable: tuple[str, ...] = ()
    by_name: Mapping[str, Signal] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {signal.name: signal for signal in self.signals})

    @property
    def is_multiplexed(self) -> bool:
        """Whether some signals are there only at times."""
        return any(signal.conditions for signal in self.signals)

    def decode(self, data: bytes) -> dict[str, SignalValue]:
        """Reads one payload: the signals that are there, by name."""
        bits = {signal.name: signal.bits_of(data) for signal in self.signals if signal.needs_bytes <= len(data)}
        out: dict[str, SignalValue] = {}
        for signal in self.signals:
            if signal.name in bits and all(
                condition.selector in bits and condition.holds(bits[condition.selector])
                for condition in signal.conditions
            ):
                own = bits[signal.name]
                out[signal.name] = SignalValue(signal, signal.value_from_bits(own), signal.raw_from_bits(own))
        return out
