"""Bits out of many payloads at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dbc.signals import Signal

__all__ = ["Payloads", "values_from_bits"]

_WORD: Final = 8
_FLOATS: Final[dict[int, np.dtype[np.floating]]] = {16: np.dtype("<f2"), 32: np.dtype("<f4"), 64: np.dtype("<f8")}
_CARRIERS: Final[dict[int, np.dtype[np.unsignedinteger]]] = {
    16: np.dtype("<u2"),
    32: np.dtype("<u4"),
    64: np.dtype("<u8"),
}


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
        return Payloads(self.data[rows], self.length[rows])

    def widened(self, width: int) -> Payloads:
        """The same payloads in at least ``width`` bytes."""
        have = self.data.shape[1]
        if have >= width:
            return self
        return Payloads(np.pad(self.data, ((0, 0), (0, width - have))), self.length)

    def _word(self, at: int, *, little: bool) -> NDArray[np.uint64]:
        """uint64 (n,): the eight bytes from ``at`` on, read in one byte order."""
        word = self._words.get((at, little))
        if word is None:
            if little:
                word = np.ascontiguousarray(self.data[:, at : at + _WORD]).view(np.dtype("<u8"))[:, 0]
            else:
                word = self._word(at, little=True).byteswap()
            self._words[at, little] = word
        return word

    def bits(self, signal: Signal) -> NDArray[np.uint64]:
        """uint64 (n,): the signal's bits as unsigned numbers, whatever the payload's true length."""
        at = min(signal.first_bit // 8, self.data.shape[1] - _WORD)
        first = signal.first_bit - 8 * at
        over = first + signal.length - 64
        word = self._word(at, little=signal.little_endian)
        mask = np.uint64((1 << signal.length) - 1)
        if over <= 0:
            shift = first if signal.little_endian else -over
            out = word >> np.uint64(shift) if shift else word
        else:
            ninth = self.data[:, at + _WORD].astype(np.uint64)
            if signal.little_endian:
                out = word >> np.uint64(first) | ninth << np.uint64(64 - first)
            else:
                out = word << np.uint64(over) | ninth >> np.uint64(8 - over)
        return out & mask if signal.length < 64 else out


def raw_from_bits(signal: Signal, bits: NDArray[np.uint64]) -> NDArray[np.uint64] | NDArray[np.int64]:
    """The raw numbers: int64 for signed signals, else uint64 (for a float its bit pattern)."""
    if not signal.signed or signal.is_float:
        return bits
    sign = np.int64(1 << signal.length - 1) if signal.length < 64 else np.int64(0)
    return (bits.view(np.int64) ^ sign) - sign


def values_from_bits(signal: Signal, bits: NDArray[np.uint64]) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
    """Physical values, and which of them are values at all.

    Returns:
        float64 (n,) with NaN where there is none, and bool (n,); None instead of the mask when all are.
    """
    if signal.is_float:
        carrier: NDArray[np.unsignedinteger] = bits.astype(_CARRIERS[signal.length])
        raw: NDArray[np.float64] = carrier.view(_FLOATS[signal.length]).astype(np.float64)
        valid = np.isfinite(raw)
        for missing in signal.not_available:
            valid &= np.trunc(raw) != missing
        with np.errstate(over="ignore", invalid="ignore"):
            values = raw * signal.scale + signal.offset
        valid &= np.isfinite(values)
    else:
        numbers = raw_from_bits(signal, bits)
        if signal.exact_integer:
            scale, offset = int(signal.scale), int(signal.offset)
            values = np.array([float(number * scale + offset) for number in numbers.tolist()], np.float64)
        else:
            values = numbers.astype(np.float64)
            if signal.scale != 1:
                values *= signal.scale
            if signal.offset != 0:
                values += signal.offset
        mask = (1 << signal.length) - 1
        codes = [missing & mask for missing in signal.not_available if -(mask + 1) < missing <= mask]
        if not codes:
            return values, None
        valid = bits != np.uint64(codes[0])
        for code in codes[1:]:
            valid &= bits != np.uint64(code)
    if valid.all():
        return values, None
    values[~valid] = np.nan
    return values, valid
