"""Torque's equations: arithmetic over the bytes of an answer, ``((SIGNED(K)*256)+L)/10``.

A, B, … Z, AA, AB, … are the bytes after service and parameter; ``{A:3}`` is one bit. An equation is compiled once, into
nested functions; nothing of it is ever run as Python.
"""

from __future__ import annotations

import math
import operator
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dbc.errors import Phrase
from dbc.signalset.model import Sample

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BadEquationError", "Equation", "parse_equation"]

Value = float | int

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<bit>\{\s*([A-Z]{1,2})\s*:\s*(\d)\s*\})|(?P<number>0X[0-9A-F]+|\d+\.?\d*|\.\d+)"
    r"|(?P<name>[A-Z]+\d*)|(?P<sign><<|>>|[-+*/%&|^(),:]))",
    re.IGNORECASE,
)
_LONGEST: Final = 400
_DEEPEST: Final = 50
_LARGEST_SHIFT: Final = 64


class BadEquationError(ValueError):
    """An equation that is not understood, with the reason for people."""

    def __init__(self, en: str, zh: str) -> None:
        super().__init__(en)
        self.text = Phrase(en, zh)


def _index(letters: str) -> int:
    """A is 0, Z is 25, AA is 26."""
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1


def _shift_left(left: Value, right: Value) -> Value:
    return int(left) << min(max(int(right), 0), _LARGEST_SHIFT)


def _shift_right(left: Value, right: Value) -> Value:
    return int(left) >> min(max(int(right), 0), _LARGEST_SHIFT)


_BINARY: Final[tuple[dict[str, Callable[[Value, Value], Value]], ...]] = (
    {"|": lambda left, right: int(left) | int(right)},
    {"^": lambda left, right: int(left) ^ int(right)},
    {"&": lambda left, right: int(left) & int(right)},
    {"<<": _shift_left, ">>": _shift_right},
    {"+": operator.add, "-": operator.sub},
    {"*": operator.mul, "/": operator.truediv, "%": math.fmod},
)
"""Operators by precedence, the weakest first."""


@dataclass(frozen=True, slots=True)
class Equation:
    """A compiled equation.

    Args:
        text: as published.
        first: and ``last``: the bytes that it touches; the raw bytes are everything between them.
    """

    text: str
    evaluate: Callable[[bytes], Value]
    first: int
    last: int

    @property
    def span(self) -> range:
        """The bytes that it needs."""
        return range(self.first, self.last + 1)

    def decode(self, data: bytes) -> Sample:
        """The result; None where a byte is missing or the equation has no result for these bytes."""
        raw = data[self.first : self.last + 1]
        if len(data) <= self.last:
            return Sample(None, raw)
        try:
            value = self.evaluate(data)
            return Sample(value if math.isfinite(value) else None, raw)
        except (ArithmeticError, ValueError):
            return Sample(None, raw)


def parse_equation(text: str) -> Equation:
    """Compiles an equation.

    Raises:
        BadEquationError: it is too long, uses a function that we do not know, or has no byte in it.
    """
    parser = _Parser(text)
    node = parser.expression(0)
    parser.end()
    if not parser.used:
        raise BadEquationError("no byte of the answer is in it", "其中没有应答的字节")
    return Equation(text, node, min(parser.used), max(parser.used))


class _Parser:
    """Recursive descent over the tokens of one equation."""

    def __init__(self, text: str) -> None:
        if len(text) > _LONGEST:
            raise BadEquationError(f"longer than {_LONGEST} characters", f"超过 {_LONGEST} 个字符")
        self.used: set[int] = set()
        self._tokens: list[re.Match[str]] = []
        self._at = 0
        self._depth = 0
        place, text = 0, text.strip()
        while place < len(text):
            token = _TOKEN.match(text, place)
            if token is None:
                raise BadEquationError(
                    f"{text[place : place + 8]!r} is not understood", f"无法理解 {text[place : place + 8]!r}"
                )
            self._tokens.append(token)
            place = token.end()

    def _sign(self) -> str | None:
        return self._tokens[self._at]["sign"] if self._at < len(self._tokens) else None

    def _take(self, sign: str) -> None:
        if self._sign() != sign:
            raise BadEquationError(f"{sign!r} is missing", f"缺少 {sign!r}")
        self._at += 1

    def end(self) -> None:
        """Nothing may be left."""
        if self._at < len(self._tokens):
            rest = self._tokens[self._at][0].strip()
            raise BadEquationError(f"{rest!r} is too much", f"多余的 {rest!r}")

    def expression(self, level: int) -> Callable[[bytes], Value]:
        """Everything of one precedence and above."""
        if level == len(_BINARY):
            return self._unary()
        left = self.expression(level + 1)
        while (sign := self._sign()) in _BINARY[level]:
            self._at += 1
            left = _combine(_BINARY[level][sign or ""], left, self.expression(level + 1))
        return left

    def _unary(self) -> Callable[[bytes], Value]:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise BadEquationError("nested too deeply", "嵌套过深")
        try:
            if self._sign() in {"-", "+"}:
                negative = self._sign() == "-"
                self._at += 1
                inner = self._unary()
                return (lambda data: -inner(data)) if negative else inner
            return self._operand()
        finally:
            self._depth -= 1

    def _operand(self) -> Callable[[bytes], Value]:
        if self._at >= len(self._tokens):
            raise BadEquationError("it ends too early", "表达式不完整")
        token = self._tokens[self._at]
        if token["sign"] == "(":
            self._at += 1
            inner = self.expression(0)
            self._take(")")
            return inner
        self._at += 1
        if token["bit"]:
            return self._bit(token[2].upper(), int(token[3]))
        if number := token["number"]:
            constant: Value = int(number, 16) if number.upper().startswith("0X") else float(number)
            return lambda _: constant
        name = (token["name"] or "").upper()
        if self._sign() == "(" and name in _FUNCTIONS:
            return self._call(name)
        if name.isalpha() and len(name) <= 2:
            return self._byte(name)
        raise BadEquationError(f"{token[0].strip()!r} is not understood", f"无法理解 {token[0].strip()!r}")

    def _byte(self, letters: str) -> Callable[[bytes], Value]:
        at = _index(letters)
        self.used.add(at)
        return lambda data: data[at]

    def _bit(self, letters: str, bit: int) -> Callable[[bytes], Value]:
        if bit > 7:
            raise BadEquationError(f"a byte has no bit {bit}", f"字节没有第 {bit} 位")
        at = _index(letters)
        self.used.add(at)
        return lambda data: data[at] >> bit & 1

    def _call(self, name: str) -> Callable[[bytes], Value]:
        count, function = _FUNCTIONS[name]
        self._take("(")
        arguments = [self.expression(0)]
        while self._sign() in {",", ":"}:
            self._at += 1
            arguments.append(self.expression(0))
        self._take(")")
        if count is not None and len(arguments) != count:
            raise BadEquationError(f"{name} takes {count} values", f"{name} 需要 {count} 个值")
        return lambda data: function(*(argument(data) for argument in arguments))


def _combine(
    function: Callable[[Value, Value], Value], left: Callable[[bytes], Value], right: Callable[[bytes], Value]
) -> Callable[[bytes], Value]:
    return lambda data: function(left(data), right(data))


def _whole(values: tuple[Value, ...]) -> bytes:
    return bytes(int(value) & 0xFF for value in values)


def _integer(*values: Value) -> Value:
    return int.from_bytes(_whole(values), "big")


def _signed(*values: Value) -> Value:
    """Two's complement: of one byte, or of a number below 65536 that an inner call put together."""
    number = int(values[0]) if len(values) == 1 else int(_integer(*values))
    bits = 8 * len(values) if len(values) > 1 or number <= 0xFF else 16
    return number - (1 << bits) if number >> (bits - 1) & 1 else number


def _float32(*values: Value) -> Value:
    return float(struct.unpack(">f", _whole(values))[0])


_FUNCTIONS: Final[dict[str, tuple[int | None, Callable[..., Value]]]] = {
    "SIGNED": (None, _signed),
    "INT16": (2, _integer),
    "INT24": (3, _integer),
    "INT32": (4, _integer),
    "FLOAT32": (4, _float32),
    "ABS": (1, abs),
    "MIN": (None, lambda *values: min(values)),
    "MAX": (None, lambda *values: max(values)),
}
