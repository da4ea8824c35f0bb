"""Bits out of many payloads at once, and physical values out of the bits.

Integers become floats without a conversion instruction: a number below 2**52 laid into the mantissa of 2**52 *is* the
float ``2**52 + number``, so one subtraction gives its exact value; the sign of two's complement goes with the same
subtraction. Work goes in blocks that stay in the cache, into memory that is taken once for many signals.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dbc.signals import Signal

__all__ = ["Arena", "Payloads", "raw_from_bits", "read_values"]

_WORD: Final = 8
_BLOCK: Final = 16_384
_ARENA: Final = 2 << 20
_MANTISSA_BITS: Final = 52
_IN_MANTISSA: Final = 0x4330_0000_0000_0000
"""The bits of the float 2**52."""

_FLOATS: Final[dict[int, np.dtype[np.floating]]] = {16: np.dtype("<f2"), 32: np.dtype("<f4"), 64: np.dtype("<f8")}
_CARRIERS: Final[dict[int, np.dtype[np.unsignedinteger]]] = {
    16: np.dtype("<u2"),
    32: np.dtype("<u4"),
    64: np.dtype("<u8"),
}


class Arena:
    """Memory for columns, taken in large pieces: pages that are touched the first time cost more than the decoding."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = np.empty(0, np.float64)

    def floats(self, n: int) -> NDArray[np.float64]:
        """float64 (n,), not initialised."""
        if n > len(self._left):
            if n > _ARENA // 4:
                return np.empty(n, np.float64)
            self._left = np.empty(_ARENA, np.float64)
        out, self._left = self._left[:n], self._left[n:]
        return out


class Payloads:
    """Payloads of one message, as 64-bit words that are made when first asked for.

    Args:
        data: uint8 (n, width), rows filled up with zeros; width at least 8.
        length: integer (n,), bytes that are really there.
    """

    __slots__ = ("_words", "data", "length")

    def __init__(self, data: NDArray[np.uint8], length: NDArray[np.integer]) -> None:
        if data.shape[1] < _WORD:
            data = np.pad(data, ((0, 0), (0, _WORD - data.shape[1])))
        self.data = np.ascontiguousarray(data)
        self.length = length
        self._words: dict[tuple[int, bool], NDArray[np.uint64]] = {}

    def __len__(self) -> int:
        return len(self.data)

    def take(self, rows: NDArray[np.intp]) -> Payloads:
        """Some of the payloads."""
        if self.data.shape[1] == _WORD:
            words: NDArray[np.uint64] = self.data.view(np.uint64)[:, 0].take(rows)
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
            if little:
                word = np.ascontiguousarray(self.data[:, at : at + _WORD]).view(np.dtype("<u8"))[:, 0]
            else:
                word = self.word(at, little=True).byteswap()
            self._words[at, little] = word
        return word

    def place(self, signal: Signal) -> tuple[int, int]:
        """Where a signal lies in the words: the word's first byte, and how far to shift it right.

        The shift is negative when the signal runs on into a ninth byte.
        """
        at = min(signal.first_bit // 8, self.data.shape[1] - _WORD)
        first = signal.first_bit - 8 * at
        over = first + signal.length - 64
        if over > 0:
            return at, -over
        return at, first if signal.little_endian else -over

    def bits(self, signal: Signal) -> NDArray[np.uint64]:
        """uint64 (n,): the signal's bits as unsigned numbers, whatever the payload's true length."""
        at, shift = self.place(signal)
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


def _missing_codes(signal: Signal) -> list[int]:
    """The raw codes for "not available" as bits."""
    mask = (1 << signal.length) - 1
    return [code & mask for code in signal.not_available if -(mask + 1) < code <= mask]


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
    for code in _missing_codes(signal):
        valid &= bits != np.uint64(code)
    return values, valid


class _Plan:
    """How one signal is read from words of one place: constants and outputs, ready for the blocks."""

    __slots__ = ("codes", "flip", "mask", "offset", "scale", "shift", "subtract", "valid", "values", "word")

    def __init__(self, signal: Signal, payloads: Payloads, arena: Arena) -> None:
        n = len(payloads)
        at, shift = payloads.place(signal)
        sign = 1 << signal.length - 1 if signal.signed else 0
        self.word = payloads.word(at, little=signal.little_endian)
        self.shift = np.uint64(shift) if shift else None
        self.mask = np.uint64((1 << signal.length) - 1) if shift + signal.length < 64 else None
        self.flip = np.uint64(_IN_MANTISSA | sign)
        self.subtract = float((1 << _MANTISSA_BITS) + sign)
        self.scale = float(signal.scale) if signal.scale != 1 else None
        self.offset = float(signal.offset) if signal.offset != 0 else None
        self.codes = [np.uint64(code ^ (_IN_MANTISSA | sign)) for code in _missing_codes(signal)]
        self.values = arena.floats(n)
        self.valid = np.empty(n, np.bool_) if self.codes else None

    def run(self, begin: int, end: int, scratch: NDArray[np.uint64], as_float: NDArray[np.float64]) -> None:
        """Reads the rows of one block; ``scratch`` and ``as_float`` are the same memory."""
        source = self.word[begin:end]
        if self.shift is not None:
            source = np.right_shift(source, self.shift, scratch)
        if self.mask is not None:
            source = np.bitwise_and(source, self.mask, scratch)
        np.bitwise_xor(source, self.flip, scratch)
        out = self.values[begin:end]
        np.subtract(as_float, self.subtract, out)
        if self.scale is not None:
            np.multiply(out, self.scale, out)
        if self.offset is not None:
            np.add(out, self.offset, out)
        if self.valid is not None:
            valid = self.valid[begin:end]
            np.not_equal(scratch, self.codes[0], valid)
            for code in self.codes[1:]:
                valid &= scratch != code


def _is_plain(signal: Signal, payloads: Payloads) -> bool:
    """Whether a signal fits the mantissa, lies in one word, and cannot leave the numbers by its scale."""
    if signal.is_float or signal.exact_integer or signal.length > _MANTISSA_BITS or payloads.place(signal)[1] < 0:
        return False
    return math.isfinite(abs(signal.scale) * (1 << signal.length) + abs(signal.offset))


def read_values(
    signals: Sequence[Signal], payloads: Payloads, arena: Arena
) -> list[tuple[NDArray[np.float64], NDArray[np.bool_] | None]]:
    """Physical values of signals that are there in all of some payloads, and which of them are values at all.

    Returns:
        for each signal float64 (n,) with NaN where there is no value, and bool (n,); None instead of the mask when
        all are values.
    """
    n = len(payloads)
    plans = [_Plan(signal, payloads, arena) if _is_plain(signal, payloads) else None for signal in signals]
    scratch = np.empty(min(n, _BLOCK), np.uint64)
    ready = [plan for plan in plans if plan is not None]
    for begin in range(0, n, _BLOCK):
        end = min(begin + _BLOCK, n)
        part = scratch[: end - begin]
        as_float = part.view(np.float64)
        for plan in ready:
            plan.run(begin, end, part, as_float)
    out: list[tuple[NDArray[np.float64], NDArray[np.bool_] | None]] = []
    for signal, chosen in zip(signals, plans, strict=True):
        values: NDArray[np.float64]
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
            else:
                np.copyto(values, np.nan, where=~valid)
        out.append((values, valid))
    return out
