"""What a parameter of OBD-II is made of: values inside bytes, with their formulas.

Standard: SAE J1979-DA:2022 (values), ISO 15031-5:2015 §8.1 (layout).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Final, NamedTuple

from dbc.errors import Phrase

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LAMBDA", "PERCENT", "TRIM", "Field", "FieldValue", "Pid", "one", "row"]


class FieldValue(NamedTuple):
    """One decoded value: None where the ECU gives none; the bytes it stood in; its name, with the state it means."""

    value: float | int | None
    raw: bytes
    text: Phrase


@dataclass(frozen=True, slots=True)
class Field:
    """One value inside the bytes of a PID: ``raw * scale + offset``, big endian.

    Args:
        start: index of its first byte, A is 0.
        size: bytes.
        support: bit of byte A that says whether the value is there; None where it always is.
        absent: raw value that means "not used", beside a support bit of 0.
        states: meaning of each raw value, for enumerations.
        wide: bit of byte A that says that the scale is four times as wide.
        shift: lowest bit, where the value is part of a byte; ``bits`` is then its width.
    """

    name: str
    text: Phrase
    unit: str = ""
    start: int = 0
    size: int = 1
    scale: Fraction = Fraction(1)
    offset: int = 0
    is_signed: bool = False
    support: int | None = None
    absent: int | None = None
    states: Mapping[int, Phrase] = field(default_factory=dict)
    shift: int = 0
    bits: int = 0
    wide: int | None = None

    def decode(self, data: bytes) -> FieldValue:
        """The value with its raw bytes; None where it is cut off, not supported or marked as not used."""
        raw = data[self.start : self.start + self.size]
        value: float | int | None = None
        text = self.text
        is_there = len(raw) == self.size and (self.support is None or data[0] >> self.support & 1 == 1)
        if is_there:
            number = int.from_bytes(raw, "big", signed=self.is_signed)
            if self.bits:
                number = number >> self.shift & (1 << self.bits) - 1
            if number != self.absent:
                is_wide = self.wide is not None and data[0] >> self.wide & 1
                value = self._scaled(4 * number if is_wide else number)
                state = self.states.get(number)
                text = Phrase(f"{text.en}: {state.en}", f"{text.zh}：{state.zh}") if state else text
        return FieldValue(value, raw, text)

    def _scaled(self, number: int) -> float | int:
        if self.scale.denominator == 1:
            return number * self.scale.numerator + self.offset
        return number * self.scale.numerator / self.scale.denominator + self.offset


@dataclass(frozen=True, slots=True)
class Pid:
    """One parameter of service 01 or 02: its number, the length of its data in bytes, and the values in it."""

    number: int
    length: int
    fields: tuple[Field, ...]


PERCENT: Final = Fraction(100, 255)
TRIM: Final = Fraction(100, 128)
LAMBDA: Final = Fraction(2, 65536)


def one(
    number: int,
    length: int,
    name: str,
    text: tuple[str, str],
    unit: str = "",
    scale: Fraction | int = 1,
    offset: int = 0,
    *,
    is_signed: bool = False,
    states: Mapping[int, Phrase] | None = None,
) -> Pid:
    """A PID that is one value."""
    value = Field(
        name, Phrase(*text), unit, 0, length, Fraction(scale), offset, is_signed=is_signed, states=states or {}
    )
    return Pid(number, length, (value,))


def row(
    number: int,
    length: int,
    unit: str,
    *values: tuple[str, str, str, int, int],
    scale: Fraction | int = 1,
    offset: int = 0,
    has_support: bool = True,
) -> Pid:
    """A PID of several values of one kind: ``(name, en, zh, start, size)``; the n-th has support bit n of byte A."""
    fields = tuple(
        Field(name, Phrase(en, zh), unit, start, size, Fraction(scale), offset, support=bit if has_support else None)
        for bit, (name, en, zh, start, size) in enumerate(values)
    )
    return Pid(number, length, fields)
