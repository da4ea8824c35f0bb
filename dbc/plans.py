"""How a signal is read from columns of payloads: constants worked out once, when a signal is first read.

A number below 2**52 laid into the mantissa of a float *is* that float's value above its power of two, so integers
become floats without a conversion instruction, and one subtraction gives the exact value. The bits need not be moved
for that: an exponent that is smaller by the signal's place gives them the right weight where they stand, and a scale
that is a power of two goes into the exponent as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from dbc.signals import Signal

__all__ = ["NativePlan", "ReadPlan", "UnitPlace", "Unsigned", "native_plan", "read_plan"]

Unsigned = np.uint8 | np.uint16 | np.uint32 | np.uint64

_WORD_BITS: Final = 64
_MANTISSA_BITS: Final = 52
_EXPONENT_BIAS: Final = 1023
_SANE_EXPONENT: Final = 200
_INTEGER_TYPES: Final = (
    np.dtype(np.uint8),
    np.dtype(np.int8),
    np.dtype(np.uint16),
    np.dtype(np.int16),
    np.dtype(np.uint32),
    np.dtype(np.int32),
    np.dtype(np.uint64),
    np.dtype(np.int64),
)
_UNIT_SIZES: Final = (1, 2, 4, 8)
_CARRIERS: Final[dict[int, type[Unsigned]]] = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def place(signal: Signal) -> tuple[int, int]:
    """Where a signal lies in words that begin at every eighth byte, or where that is not enough at any byte.

    Returns:
        the word's first byte, and how far to shift it right; negative when the signal runs on into a ninth byte.
    """
    at = signal.first_bit // _WORD_BITS * 8
    if signal.first_bit + signal.length > 8 * at + _WORD_BITS:
        at = signal.first_bit // 8
    first = signal.first_bit - 8 * at
    over = first + signal.length - _WORD_BITS
    if over > 0:
        return at, -over
    return at, first if signal.little_endian else -over


class UnitPlace(NamedTuple):
    """Some bytes of a payload that are read as one unsigned number: 1, 2, 4 or 8 of them, at any byte."""

    start: int
    size: int
    little: bool

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """The number's type as it lies in the payload."""
        return np.dtype(f"{'<' if self.little else '>'}u{self.size}")


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """From a word to float64, in two to five steps; a step that is None is left out.

    Args:
        place: where the word stands.
        shift: to the right.
        mask: keeps the signal's bits.
        flip: lays them into a mantissa, and turns the sign bit over.
        subtract: the power of two that they stand on, less an offset.
        codes: words after ``flip`` that say "not available".
        valid_below: words after ``flip`` from here on are no values.
    """

    place: UnitPlace
    shift: np.uint64 | None
    mask: np.uint64 | None
    flip: np.uint64
    subtract: float
    scale: float | None
    offset: float | None
    codes: tuple[np.uint64, ...]
    valid_below: np.uint64 | None


@dataclass(frozen=True, slots=True)
class NativePlan:
    """From a unit of the payload to the smallest integer type that holds all values of a signal.

    Args:
        place: the smallest unit that holds the whole signal.
        shift: to the right within it; None where there is nothing to shift.
        narrows: the unit is larger than ``carrier``.
        result: type of the values.
        carrier: unsigned type of the same width, in which the steps after the shift are made.
        mask: keeps the signal's bits.
        codes: raw bits that say "not available".
        valid_below: raw bits from here on are no values.
    """

    place: UnitPlace
    shift: Unsigned | None
    narrows: bool
    result: np.dtype[np.integer]
    carrier: type[Unsigned]
    mask: Unsigned | None
    sign: Unsigned | None
    scale: Unsigned | None
    offset: Unsigned | None
    codes: tuple[int, ...]
    valid_below: int | None


def missing_codes(signal: Signal) -> tuple[int, ...]:
    """The raw codes for "not available" as bits."""
    return tuple(code & signal.mask for code in signal.not_available if -(signal.mask + 1) < code <= signal.mask)


def _power_of_two(scale: float) -> int | None:
    """The exponent of a scale that is a power of two, positive and not extreme."""
    mantissa, exponent = math.frexp(scale)
    return exponent - 1 if mantissa == 0.5 and abs(exponent) < _SANE_EXPONENT else None


def read_plan(signal: Signal) -> ReadPlan | None:
    """The plan of a signal that fits the mantissa, lies in one word, and cannot leave the numbers by its scale."""
    at, shift = place(signal)
    if not signal.is_linear or signal.length > _MANTISSA_BITS or shift < 0:
        return None
    scale, offset = float(signal.scale), float(signal.offset)
    moved = shift if shift + signal.length > _MANTISSA_BITS else 0
    stays = shift - moved
    mask = None if moved + signal.length == _WORD_BITS else np.uint64(signal.mask << stays)
    power = _power_of_two(scale)
    exponent = _MANTISSA_BITS - stays + (power or 0)
    weight = math.ldexp(1.0, power or 0)
    base = math.ldexp(1.0, exponent) + signal.sign * weight
    exact = Fraction(base) - Fraction(signal.offset)
    folds = power is not None and Fraction(float(exact)) == exact
    flip = exponent + _EXPONENT_BIAS << _MANTISSA_BITS | signal.sign << stays
    limit = signal.invalid_from
    return ReadPlan(
        UnitPlace(at, _WORD_BITS // 8, signal.little_endian),
        np.uint64(moved) if moved else None,
        mask,
        np.uint64(flip),
        float(exact) if folds else base,
        None if power is not None else scale,
        None if folds or offset == 0 else offset,
        tuple(np.uint64(flip ^ code << stays) for code in missing_codes(signal)),
        None if limit is None else np.uint64(flip | limit << stays),
    )


def _smallest_unit(signal: Signal, at_least: int) -> tuple[UnitPlace, int] | None:
    """The smallest unit of so many bytes or more that holds a signal, and how far to shift it right.

    Units begin at a multiple of their size where they can, so that signals share them, and never run beyond a
    multiple of 8 bytes unless the signal does: payloads are filled up to such.
    """
    first, last = signal.first_bit // 8, (signal.first_bit + signal.length - 1) // 8
    for size in _UNIT_SIZES:
        if size < at_least or last - first >= size:
            continue
        start = first - first % size
        if last - start >= size:
            start = first if first // 8 != last // 8 else min(first, first // 8 * 8 + 8 - size)
        inner = signal.first_bit - 8 * start
        shift = inner if signal.little_endian else 8 * size - inner - signal.length
        return UnitPlace(start, size, signal.little_endian), shift
    return None


def native_plan(signal: Signal) -> NativePlan | None:
    """The plan of a signal whose scale and offset are whole numbers; None where no integer type holds its values."""
    if signal.is_float or not (float(signal.scale).is_integer() and float(signal.offset).is_integer()):
        return None
    scale, offset = int(signal.scale), int(signal.offset)
    ends = [raw * scale + offset for raw in (-signal.sign, signal.mask - signal.sign)]
    fitting = [kind for kind in _INTEGER_TYPES if np.iinfo(kind).min <= min(ends) and max(ends) <= np.iinfo(kind).max]
    if not fitting or scale == 0:
        return None
    result = fitting[0]
    found = _smallest_unit(signal, result.itemsize)
    if found is None:
        return None
    unit, shift = found
    carrier: type[Unsigned] = _CARRIERS[result.itemsize]
    modulus = 1 << 8 * result.itemsize
    whole = signal.length == 8 * result.itemsize or shift + signal.length == 8 * unit.size
    return NativePlan(
        unit,
        _CARRIERS[unit.size](shift) if shift else None,
        unit.size != result.itemsize,
        result,
        carrier,
        None if whole else carrier(signal.mask),
        carrier(signal.sign) if signal.sign else None,
        carrier(scale % modulus) if scale != 1 else None,
        carrier(offset % modulus) if offset else None,
        missing_codes(signal),
        signal.invalid_from,
    )
