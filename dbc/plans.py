"""How a signal is read from columns of 64-bit words: constants worked out once, when a signal is first read.

A number below 2**52 laid into the mantissa of a float *is* that float's value above its power of two, so integers
become floats without a conversion instruction, and one subtraction gives the exact value. The bits need not be moved
for that: an exponent that is smaller by the signal's place gives them the right weight where they stand, and a scale
that is a power of two goes into the exponent as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from dbc.signals import Signal

__all__ = ["NativePlan", "ReadPlan", "Unsigned", "native_plan", "read_plan"]

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


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """From a word to float64, in two to five steps; a step that is None is left out.

    Args:
        at: first byte of the word.
        little: the word's byte order.
        shift: to the right.
        mask: keeps the signal's bits.
        flip: lays them into a mantissa, and turns the sign bit over.
        subtract: the power of two that they stand on, less an offset.
        codes: words after ``flip`` that say "not available".
        valid_below: words after ``flip`` from here on are no values.
    """

    at: int
    little: bool
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
    """From a word to the smallest integer type that holds all values of a signal.

    Args:
        result: type of the values.
        carrier: unsigned type of the same width, in which the steps are made.
        unit: which part of the word, counted in carriers, holds the whole signal; None when none does.
        shift: to the right, within the unit or within the word.
        codes: raw bits that say "not available".
        valid_below: raw bits from here on are no values.
    """

    at: int
    little: bool
    result: np.dtype[np.integer]
    carrier: type[Unsigned]
    unit: int | None
    shift: int
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
        at,
        signal.little_endian,
        np.uint64(moved) if moved else None,
        mask,
        np.uint64(flip),
        float(exact) if folds else base,
        None if power is not None else scale,
        None if folds or offset == 0 else offset,
        tuple(np.uint64(flip ^ code << stays) for code in missing_codes(signal)),
        None if limit is None else np.uint64(flip | limit << stays),
    )


def native_plan(signal: Signal) -> NativePlan | None:
    """The plan of a signal whose scale and offset are whole numbers; None where no integer type holds its values."""
    at, shift = place(signal)
    if signal.is_float or shift < 0 or not (float(signal.scale).is_integer() and float(signal.offset).is_integer()):
        return None
    scale, offset = int(signal.scale), int(signal.offset)
    ends = [raw * scale + offset for raw in (-signal.sign, signal.mask - signal.sign)]
    fitting = [kind for kind in _INTEGER_TYPES if np.iinfo(kind).min <= min(ends) and max(ends) <= np.iinfo(kind).max]
    if not fitting or scale == 0:
        return None
    result = fitting[0]
    carrier: type[Unsigned] = _CARRIERS[result.itemsize]
    bits = 8 * result.itemsize
    modulus = 1 << bits
    unit = shift // bits if shift // bits == (shift + signal.length - 1) // bits else None
    inner = shift if unit is None else shift % bits
    whole = signal.length == bits or (unit is not None and inner + signal.length == bits)
    return NativePlan(
        at,
        signal.little_endian,
        result,
        carrier,
        unit,
        inner,
        None if whole else carrier(signal.mask),
        carrier(signal.sign) if signal.sign else None,
        carrier(scale % modulus) if scale != 1 else None,
        carrier(offset % modulus) if offset else None,
        missing_codes(signal),
        signal.invalid_from,
    )
