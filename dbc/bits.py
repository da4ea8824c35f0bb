"""Bits out of many payloads at once, and physical values out of the bits.

Each signal's way is laid down in its plan (:mod:`dbc.plans`). Work goes in blocks that stay in the cache, into memory
that is taken once for many signals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbc.plans import UnitPlace, missing_codes, place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dbc.plans import NativePlan, ReadPlan, Unsigned
    from dbc.signals import Signal

__all__ = ["Arena", "Payloads", "raw_from_bits", "read_values"]


_WORD: Final = 8
_ALIGNED: Final = 64
_BLOCK: Final = 16_384
_ARENA: Final = 16 << 20

_FLOATS: Final[dict[int, np.dtype[np.floating]]] = {16: np.dtype("<f2"), 32: np.dtype("<f4"), 64: np.dtype("<f8")}
_CARRIERS: Final[dict[int, np.dtype[np.unsignedinteger]]] = {
    16: np.dtype("<u2"),
    32: np.dtype("<u4"),
    64: np.dtype("<u8"),
}


class Arena:
    """Memory for columns, taken in large pieces: pages that are touched the first time cost more than the decoding.

    Args:
        native: whole numbers go into the smallest integer type that holds the signal's range, instead of float64.
    """

    __slots__ = ("_left", "native")

    def __init__(self, *, native: bool = False) -> None:
        self.native = native
        self._left = np.empty(0, np.uint8)

    def bytes(self, size: int) -> NDArray[np.uint8]:
        """uint8 (size,), not initialised, at a place that any type may begin at."""
        taken = -(-size // _ALIGNED) * _ALIGNED
        if taken > len(self._left):
            if taken > _ARENA // 4:
                return np.empty(size, np.uint8)
            self._left = np.empty(_ARENA, np.uint8)
        out, self._left = self._left[:size], self._left[taken:]
        return out

    def floats(self, n: int) -> NDArray[np.float64]:
        """float64 (n,), not initialised."""
        return self.bytes(8 * n).view(np.float64)


class Payloads:
    """Payloads of one message, as 64-bit words that are made when first asked for.

    Args:
        data: uint8 (n, width), rows filled up with zeros; they are widened to a multiple of 8.
        length: integer (n,), bytes that are really there.
    """

    __slots__ = ("_words", "data", "length")

    def __init__(self, data: NDArray[np.uint8], length: NDArray[np.integer]) -> None:
        lacking = max(_WORD - data.shape[1], -data.shape[1] % _WORD)
        if lacking:
            data = np.pad(data, ((0, 0), (0, lacking)))
        self.data = np.ascontiguousarray(data)
        self.length = length
        self._words: dict[tuple[int, bool], NDArray[np.uint64]] = {}

    def __len__(self) -> int:
        return len(self.data)

    def take(self, rows: NDArray[np.intp]) -> Payloads:
        """Some of the payloads."""
        if self.data.shape[1] == _WORD:
            words: NDArray[np.uint64] = self.data.view(np.uint64)[:, 0].take(rows, mode="clip")
            return Payloads(words.view(np.uint8).reshape(-1, _WORD), self.length[rows])
        return Payloads(self.data[rows], self.length[rows])

    def part(self, begin: int, end: int) -> Payloads:
        """Payloads from one row to before another, without copying."""
        return Payloads(self.data[begin:end], self.length[begin:end])

    def widened(self, width: int) -> Payloads:
        """The same payloads in at least ``width`` bytes."""
        have = self.data.shape[1]
        if have >= width:
            return self
        return Payloads(np.pad(self.data, ((0, 0), (0, width - have))), self.length)

    def word(self, at: int, *, little: bool) -> NDArray[np.uint64]:
        """uint64 (n,): the eight bytes from ``at`` on, read in one byte order."""
        word = self._words.get((at, little))
        if word is None:
            word = self.unit(UnitPlace(at, _WORD, little)).astype(np.uint64, copy=False)
            self._words[at, little] = word
        return word

    def unit(self, place: UnitPlace) -> NDArray[np.unsignedinteger]:
        """The numbers at one place (n,), in the byte order that they have in the payload; nothing is copied."""
        stop = place.start + place.size
        if self.data.shape[1] < stop:
            return self.widened(stop).unit(place)
        return self.data[:, place.start : stop].view(place.dtype)[:, 0]

    def bits(self, signal: Signal) -> NDArray[np.uint64]:
        """uint64 (n,): the signal's bits as unsigned numbers, whatever the payload's true length."""
        at, shift = place(signal)
        word = self.word(at, little=signal.little_endian)
        if shift >= 0:
            out = word >> np.uint64(shift) if shift else word
        else:
            over, first = -shift, signal.first_bit - 8 * at
            ninth = self.data[:, at + _WORD].astype(np.uint64)
            if signal.little_endian:
                out = word >> np.uint64(first) | ninth << np.uint64(64 - first)
            else:
                out = word << np.uint64(over) | ninth >> np.uint64(8 - over)
        return out & np.uint64((1 << signal.length) - 1) if signal.length < 64 else out


def raw_from_bits(signal: Signal, bits: NDArray[np.uint64]) -> NDArray[np.uint64] | NDArray[np.int64]:
    """The raw numbers: int64 for signed signals, else uint64 (for a float its bit pattern)."""
    if not signal.signed or signal.is_float:
        return bits
    sign = np.int64(1 << signal.length - 1) if signal.length < 64 else np.int64(0)
    return (bits.view(np.int64) ^ sign) - sign


def _read_floats(signal: Signal, payloads: Payloads) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    carrier: NDArray[np.unsignedinteger] = payloads.bits(signal).astype(_CARRIERS[signal.length])
    with np.errstate(invalid="ignore"):  # signalling NaNs are what they are: no number
        raw: NDArray[np.float64] = carrier.view(_FLOATS[signal.length]).astype(np.float64)
    valid = np.isfinite(raw)
    for missing in signal.not_available:
        valid &= np.trunc(raw) != missing
    with np.errstate(over="ignore", invalid="ignore"):
        values = raw * float(signal.scale) + float(signal.offset)
    valid &= np.isfinite(values)
    return values, valid


def _read_wide(signal: Signal, payloads: Payloads) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Integers that the mantissa does not hold, or that run over nine bytes."""
    bits = payloads.bits(signal)
    numbers = raw_from_bits(signal, bits)
    if signal.exact_integer:
        values = np.array([signal.exact_value(number) for number in numbers.tolist()], np.float64)
    else:
        values = numbers.astype(np.float64) * float(signal.scale) + float(signal.offset)
    valid = np.isfinite(values)
    for code in missing_codes(signal):
        valid &= bits != np.uint64(code)
    if signal.invalid_from is not None:
        valid &= bits < np.uint64(signal.invalid_from)
    return values, valid


class _Floats:
    """A plan for float64 with its outputs, ready for the blocks."""

    __slots__ = ("plan", "valid", "values")

    def __init__(self, plan: ReadPlan, n: int, arena: Arena) -> None:
        self.plan = plan
        self.values: NDArray[np.number] = arena.floats(n)
        self.valid = arena.bytes(n).view(np.bool_) if plan.codes or plan.valid_below is not None else None

    def run(self, unit: NDArray[Any], rows: slice, scratch: NDArray[np.uint64]) -> None:
        """Reads one block of words into the rows of the outputs."""
        plan = self.plan
        if plan.shift is not None:
            unit = np.right_shift(unit, plan.shift, scratch)
        if plan.mask is not None:
            unit = np.bitwise_and(unit, plan.mask, scratch)
        np.bitwise_xor(unit, plan.flip, scratch)
        out = self.values[rows]
        np.subtract(scratch.view(np.float64), plan.subtract, out)
        if plan.scale is not None:
            np.multiply(out, plan.scale, out)
        if plan.offset is not None:
            np.add(out, plan.offset, out)
        if self.valid is not None:
            _judge(scratch, plan.codes, plan.valid_below, self.valid[rows])


class _Integers:
    """A plan for small integers with its outputs, ready for the blocks."""

    __slots__ = ("carried", "plan", "valid", "values")

    def __init__(self, plan: NativePlan, n: int, arena: Arena) -> None:
        self.plan = plan
        self.carried: NDArray[Unsigned] = arena.bytes(plan.result.itemsize * n).view(plan.carrier)
        self.values: NDArray[np.number] = self.carried.view(plan.result)
        self.valid = arena.bytes(n).view(np.bool_) if plan.codes or plan.valid_below is not None else None

    def run(self, unit: NDArray[Any], rows: slice, scratch: NDArray[np.uint64]) -> None:
        """Reads one block of units into the rows of the outputs."""
        plan = self.plan
        out = self.carried[rows]
        if plan.narrows:
            if plan.shift is not None:
                unit = np.right_shift(unit, plan.shift, scratch.view(unit.dtype)[: len(unit)])
            np.copyto(out, unit, casting="unsafe")
            if plan.mask is not None:
                np.bitwise_and(out, plan.mask, out)
        elif plan.shift is not None:
            np.right_shift(unit, plan.shift, out)
            if plan.mask is not None:
                np.bitwise_and(out, plan.mask, out)
        elif plan.mask is not None:
            np.bitwise_and(unit, plan.mask, out)
        else:
            np.copyto(out, unit)
        if self.valid is not None:
            _judge(out, plan.codes, plan.valid_below, self.valid[rows])
        if plan.sign is not None:
            np.bitwise_xor(out, plan.sign, out)
            np.subtract(out, plan.sign, out)
        if plan.scale is not None:
            np.multiply(out, plan.scale, out)
        if plan.offset is not None:
            np.add(out, plan.offset, out)


class _Unit:
    """A unit of all payloads, and block by block as numbers of this machine."""

    __slots__ = ("_native", "_source")

    def __init__(self, place: UnitPlace, payloads: Payloads) -> None:
        self._source: NDArray[Any] = payloads.unit(place)
        dtype = place.dtype
        as_is = dtype.isnative and (self._source.strides[0] == place.size)
        self._native = None if as_is else dtype.newbyteorder("=")

    def block(self, rows: slice, held: NDArray[np.uint64]) -> NDArray[Any]:
        """The numbers of one block, in ``held`` unless they already are as this machine likes them."""
        source = self._source[rows]
        if self._native is None:
            return source
        out = held.view(self._native)[: len(source)]
        np.copyto(out, source)
        return out


def _judge(
    bits: NDArray[Unsigned],
    codes: Sequence[int | np.uint64],
    below: int | np.uint64 | None,
    valid: NDArray[np.bool_],
) -> None:
    """Marks the rows that are values: none of the codes, and below the range of codes."""
    if below is None:
        np.not_equal(bits, codes[0], valid)
        codes = codes[1:]
    else:
        np.less(bits, below, valid)
    for code in codes:
        valid &= bits != code


def _ready(signal: Signal, n: int, arena: Arena) -> _Floats | _Integers | None:
    """A signal's plan with its outputs; None where it is read the long way."""
    if arena.native and signal.native_plan is not None:
        return _Integers(signal.native_plan, n, arena)
    return None if signal.read_plan is None else _Floats(signal.read_plan, n, arena)


def read_values(
    signals: Sequence[Signal], payloads: Payloads, arena: Arena
) -> list[tuple[NDArray[np.number], NDArray[np.bool_] | None]]:
    """Physical values of signals that are there in all of some payloads, and which of them are values at all.

    Args:
        signals: of one message.
        payloads: all long enough for the signals.
        arena: where the values go, and in which types.

    Returns:
        for each signal float64 (n,) with NaN where there is no value (or integers, with the code's number there), and
        bool (n,); None instead of the mask when all are values.
    """
    n = len(payloads)
    ready = [_ready(signal, n, arena) for signal in signals]
    by_place: dict[UnitPlace, list[_Floats | _Integers]] = {}
    for one in ready:
        if one is not None:
            by_place.setdefault(one.plan.place, []).append(one)
    units = [(_Unit(place, payloads), members) for place, members in by_place.items()]
    held, scratch = np.empty(min(n, _BLOCK), np.uint64), np.empty(min(n, _BLOCK), np.uint64)
    for begin in range(0, n, _BLOCK):
        rows = slice(begin, min(begin + _BLOCK, n))
        part = scratch[: rows.stop - begin]
        for unit, members in units:
            block = unit.block(rows, held)
            for one in members:
                one.run(block, rows, part)
    out: list[tuple[NDArray[np.number], NDArray[np.bool_] | None]] = []
    for signal, chosen in zip(signals, ready, strict=True):
        values: NDArray[np.number]
        valid: NDArray[np.bool_] | None
        if chosen is not None:
            values, valid = chosen.values, chosen.valid
        elif signal.is_float:
            values, valid = _read_floats(signal, payloads)
        else:
            values, valid = _read_wide(signal, payloads)
        if valid is not None:
            if valid.all():
                valid = None
            elif values.dtype == np.float64:
                np.copyto(values, np.nan, where=~valid)
        out.append((values, valid))
    return out
