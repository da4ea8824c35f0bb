"""Signals and messages of a database, each with its plan for reading made once.

A signal knows where its bits lie, when it is there (multiplexing, length of the frame) and which raw codes mean "not
available". Reading one frame is here; reading columns of frames with the same plan is :mod:`dbc.decoding`.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from dbc.plans import native_plan, read_plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbc.plans import NativePlan, ReadPlan

__all__ = ["NOT_AVAILABLE_NAMES", "Condition", "DecodedFrame", "Message", "Signal", "SignalValue"]

NOT_AVAILABLE_NAMES: Final = frozenset(
    {"sna", "notavailable", "signalnotavailable", "datanotavailable", "不可用", "无效", "无效值"}
)
"""Entries of a value table that stand for "no value", lower case without anything but letters."""

_FLOAT_FORMATS: Final = {16: "<e", 32: "<f", 64: "<d"}
_EXACT: Final = 1 << 53
_J1939_WHOLE_BYTES: Final = frozenset({8, 16, 24, 32})
_J1939_STATUS_BITS: Final = 2
_J1939_FIRST_RESERVED: Final = 0xFB
_NO_VALUE_WORDS: Final = ("error", "notavailable", "reserved", "unavailable", "sna", "dontcare", "takenoaction")
_LISTED: Final = 256
"""A multiplexed signal with up to so many selector values is listed under each of them."""


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
        is_j1939: its highest raw codes mean "error" or "not available" as SAE J1939-71 has it.

    Attributes:
        invalid_from: raw codes from here on are no values; None where there is no such range.
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
    is_j1939: bool = False
    first_bit: int = field(init=False)
    needs_bytes: int = field(init=False)
    not_available: tuple[int, ...] = field(init=False)
    exact_integer: bool = field(init=False)
    mask: int = field(init=False, repr=False, compare=False)
    sign: int = field(init=False, repr=False, compare=False)
    is_linear: bool = field(init=False, repr=False, compare=False)
    invalid_from: int | None = field(init=False, repr=False, compare=False)
    _plans: list[tuple[ReadPlan | None, NativePlan | None]] = field(init=False, repr=False, compare=False)

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
        whole = float(self.scale).is_integer() and (isinstance(self.scale, int) or float(self.offset).is_integer())
        identity = self.scale == 1 and self.offset == 0
        object.__setattr__(self, "first_bit", first)
        object.__setattr__(self, "needs_bytes", (first + self.length + 7) // 8)
        object.__setattr__(self, "not_available", missing)
        object.__setattr__(self, "mask", (1 << self.length) - 1)
        object.__setattr__(self, "sign", 1 << self.length - 1 if self.signed and not self.is_float else 0)
        long = whole and not identity and not self.is_float and _EXACT < largest < math.inf
        object.__setattr__(self, "exact_integer", long)
        # The short way from raw to physical: no float, no long integer, nothing that could leave the numbers.
        linear = not self.is_float and not self.exact_integer and math.isfinite(largest)
        object.__setattr__(self, "is_linear", linear)
        object.__setattr__(self, "invalid_from", self._invalid_from() if self.is_j1939 else None)
        object.__setattr__(self, "_plans", [])

    def _says_a_value(self, raw: int) -> bool:
        """Whether the value table names a raw code and means something that is a value."""
        text = "".join(filter(str.isalpha, self.labels.get(raw, "error"))).lower()
        return not any(word in text for word in _NO_VALUE_WORDS)

    def _invalid_from(self) -> int | None:
        """The first raw code of J1939's ranges "error" and "not available" that the database does not use itself.

        Two bits: 2 and 3. Whole bytes: the highest byte from 0xFB on; where the database's own range reaches into
        those codes only the ones with 0xFF.

        Standard: SAE J1939-71, clause unverified.
        """
        if self.signed or self.is_float:
            return None
        if self.length == _J1939_STATUS_BITS:
            if self._says_a_value(3):
                return None
            return 3 if self._says_a_value(2) else 2
        if self.length not in _J1939_WHOLE_BYTES:
            return None
        shift = self.length - 8
        first = _J1939_FIRST_RESERVED << shift
        used = self.maximum is not None and self.maximum >= first * self.scale + self.offset > self.offset
        first = 0xFF << shift if used else first
        named = [raw for raw in self.labels if raw >= first and self._says_a_value(raw)]
        return first if not named else max(named) + 1 if max(named) < self.mask else None

    @property
    def read_plan(self) -> ReadPlan | None:
        """How columns of it are read as float64; None when that takes the long way."""
        if not self._plans:
            self._plans.append((read_plan(self), native_plan(self)))
        return self._plans[0][0]

    @property
    def native_plan(self) -> NativePlan | None:
        """How columns of it are read as small integers; None where its values are none."""
        if not self._plans:
            self._plans.append((read_plan(self), native_plan(self)))
        return self._plans[0][1]

    def bits_of(self, data: bytes) -> int:
        """The signal's bits as an unsigned number; ``data`` has at least :attr:`needs_bytes` bytes."""
        if self.little_endian:
            return int.from_bytes(data, "little") >> self.first_bit & self.mask
        return int.from_bytes(data, "big") >> 8 * len(data) - self.first_bit - self.length & self.mask

    def raw_from_bits(self, bits: int) -> int:
        """The raw number: sign applied where there is one; the bit pattern of a float stays as it is."""
        return (bits ^ self.sign) - self.sign

    def exact_value(self, raw: int) -> float:
        """The physical value by whole numbers as far as they go, for those that a float would round on the way."""
        product = raw * int(self.scale)
        return float(product + (int(self.offset) if float(self.offset).is_integer() else self.offset))

    def value_from_bits(self, bits: int) -> float | None:
        """The physical value; None for "not available" and for a float that is no number."""
        raw: float = (bits ^ self.sign) - self.sign
        if self.invalid_from is not None and bits >= self.invalid_from:
            return None
        if self.is_linear:
            return None if raw in self.not_available else float(raw * self.scale + self.offset)
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
            return self.exact_value(int(raw))
        value = raw * self.scale + self.offset
        return float(value) if math.isfinite(value) else None


class SignalValue(NamedTuple):
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
        contained: of a container's frame, what is inside it; messages that the database does not know are left out.
    """

    message: Message
    values: dict[str, SignalValue]
    short: bool = False
    source_address: int | None = None
    contained: tuple[DecodedFrame, ...] = ()


_Step = tuple[str, "Signal", bool, int, int, int, float, float, "tuple[int, ...] | None", int]
"""How a signal is read from a whole payload: name, signal, byte order, shift, mask, sign, scale, offset, the codes that
are no values, and from which bits on there are none. The codes are None where the long way must be taken."""


def _step(signal: Signal, length: int) -> _Step:
    shift = signal.first_bit if signal.little_endian else 8 * length - signal.first_bit - signal.length
    largest = float((signal.mask + 1) * abs(signal.scale) + abs(signal.offset))
    quick = signal.is_linear and max(largest, signal.mask) < _EXACT
    return (
        signal.name,
        signal,
        signal.little_endian,
        shift,
        signal.mask,
        signal.sign,
        float(signal.scale),
        float(signal.offset),
        signal.not_available if quick else None,
        signal.mask + 1 if signal.invalid_from is None else signal.invalid_from,
    )


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
        contained: of a container the messages that may be inside it, by the number in their header.
        little_headers: the byte order of those numbers.
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
    contained: Mapping[int, Message] = field(default_factory=dict)
    little_headers: bool = False
    by_name: Mapping[str, Signal] = field(init=False, repr=False, compare=False)
    _fixed: tuple[Signal, ...] = field(init=False, repr=False, compare=False)
    _branches: tuple[tuple[Signal, Mapping[int, tuple[Signal, ...]]], ...] = field(
        init=False, repr=False, compare=False
    )
    _nested: tuple[Signal, ...] = field(init=False, repr=False, compare=False)
    _steps: Mapping[str, _Step] = field(init=False, repr=False, compare=False)
    _fixed_steps: tuple[_Step, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.is_j1939:
            object.__setattr__(self, "signals", tuple(map(self._by_j1939, self.signals)))
        by_name = {signal.name: signal for signal in self.signals}
        branches: dict[str, dict[int, tuple[Signal, ...]]] = {}
        nested: list[Signal] = []
        for signal in self.signals:
            if not signal.conditions:
                continue
            condition = signal.conditions[0]
            count = sum(high - low + 1 for low, high in condition.ranges)
            if len(signal.conditions) > 1 or condition.selector not in by_name or count > _LISTED:
                nested.append(signal)
                continue
            branch = branches.setdefault(condition.selector, {})
            for low, high in condition.ranges:
                for value in range(low, high + 1):
                    branch[value] = (*branch.get(value, ()), signal)
        object.__setattr__(self, "by_name", by_name)
        object.__setattr__(self, "_fixed", tuple(signal for signal in self.signals if not signal.conditions))
        object.__setattr__(self, "_branches", tuple((by_name[name], branch) for name, branch in branches.items()))
        object.__setattr__(self, "_nested", tuple(nested))
        inside = [signal for signal in self.signals if signal.needs_bytes <= self.length]
        steps = {signal.name: _step(signal, self.length) for signal in inside}
        object.__setattr__(self, "_steps", steps)
        object.__setattr__(self, "_fixed_steps", tuple(steps[s.name] for s in inside if not s.conditions))

    def _by_j1939(self, signal: Signal) -> Signal:
        """A signal whose highest codes are no values; one that selects others is no measurement."""
        selects = any(condition.selector == signal.name for other in self.signals for condition in other.conditions)
        return signal if selects or signal.is_j1939 else replace(signal, is_j1939=True)

    @property
    def is_multiplexed(self) -> bool:
        """Whether some signals are there only at times."""
        return any(signal.conditions for signal in self.signals)

    def decode(self, data: bytes) -> dict[str, SignalValue]:
        """Reads one payload: the signals that are there, by name."""
        if len(data) == self.length:
            return self._decode_whole(data)
        little, big = int.from_bytes(data, "little"), int.from_bytes(data, "big")
        size, end = len(data), 8 * len(data)
        present = self._fixed
        for selector, branch in self._branches:
            if selector.needs_bytes <= size:
                present += branch.get(selector.bits_of(data), ())
        if self._nested:
            present += tuple(signal for signal in self._nested if self._is_chosen(signal, data))
        out: dict[str, SignalValue] = {}
        for signal in present:
            if signal.needs_bytes <= size:
                whole = (
                    little >> signal.first_bit
                    if signal.little_endian
                    else big >> end - signal.first_bit - signal.length
                )
                bits = whole & signal.mask
                out[signal.name] = SignalValue(signal, signal.value_from_bits(bits), (bits ^ signal.sign) - signal.sign)
        return out

    def values(self, data: bytes) -> dict[str, float | None]:
        """The physical values of one payload's signals that are there, by name; None for "not available"."""
        if len(data) != self.length:
            return {name: found.value for name, found in self.decode(data).items()}
        little, big = int.from_bytes(data, "little"), int.from_bytes(data, "big")
        out: dict[str, float | None] = {}
        for name, signal, is_little, shift, mask, sign, scale, offset, codes, none_from in self._there(data):
            bits = (little if is_little else big) >> shift & mask
            if codes is None:
                out[name] = signal.value_from_bits(bits)
            elif bits >= none_from:
                out[name] = None
            else:
                raw = (bits ^ sign) - sign if sign else bits
                out[name] = None if codes and raw in codes else raw * scale + offset
        return out

    def _there(self, data: bytes) -> tuple[_Step, ...]:
        """The signals that are there in a payload of the message's own length."""
        steps = self._fixed_steps
        if not self._branches and not self._nested:
            return steps
        known = self._steps
        for selector, branch in self._branches:
            if selector.name in known:
                chosen = branch.get(selector.bits_of(data), ())
                steps += tuple(known[signal.name] for signal in chosen if signal.name in known)
        for signal in self._nested:
            if signal.name in known and self._is_chosen(signal, data):
                steps += (known[signal.name],)
        return steps

    def _decode_whole(self, data: bytes) -> dict[str, SignalValue]:
        """Reads a payload of the message's own length, by steps that were worked out before."""
        little, big = int.from_bytes(data, "little"), int.from_bytes(data, "big")
        out: dict[str, SignalValue] = {}
        new = tuple.__new__
        for name, signal, is_little, shift, mask, sign, scale, offset, codes, none_from in self._there(data):
            bits = (little if is_little else big) >> shift & mask
            raw = (bits ^ sign) - sign
            value: float | None
            if codes is None:
                value = signal.value_from_bits(bits)
            elif bits >= none_from or (codes and raw in codes):
                value = None
            else:
                value = raw * scale + offset
            out[name] = new(SignalValue, (signal, value, raw))
        return out

    def _is_chosen(self, signal: Signal, data: bytes) -> bool:
        """Whether all selectors of a signal choose it."""
        for condition in signal.conditions:
            selector = self.by_name.get(condition.selector)
            if selector is None or selector.needs_bytes > len(data) or not condition.holds(selector.bits_of(data)):
                return False
        return True
