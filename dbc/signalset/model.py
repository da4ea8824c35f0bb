"""Requests with decoders: whom to ask, what to ask, and where each value stands in the answer.

A :class:`SignalSet` holds commands whatever format they were published in. Values are decoded from the bytes after
the service and its parameter. The raw bytes stay beside every value; a value that was cut off, marked as "no value" or
not in the enumeration is None, never 0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from dbc.errors import Phrase, UnknownCommand

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dbc.j1979 import Field

__all__ = [
    "Address",
    "Command",
    "DatasheetValue",
    "Decoder",
    "Enumeration",
    "Number",
    "Sample",
    "Scaling",
    "SetIssue",
    "Signal",
    "SignalSet",
    "YearFilter",
    "find_command",
    "parse_command_id",
    "printable",
]

Number = float | int

_PARAMETER_BYTES: Final = {0x01: 1, 0x02: 2, 0x09: 1, 0x21: 1, 0x22: 2}
"""Bytes of the parameter that the answer repeats after its service byte."""

_TESTER: Final = 0xF1
_NORMAL_FIXED: Final = 0x18
_COMMAND: Final = re.compile(r"([0-9A-F]{3,8})(?:\.([0-9A-F]{2,8}))?\.([0-9A-F]{4,16})", re.IGNORECASE)
_RANGE: Final = re.compile(r"(\d{4})?-(\d{4})?")


@dataclass(frozen=True, slots=True)
class YearFilter:
    """The model years that a command is for.

    Args:
        first: from this year on; None = no such bound.
        last: up to this year. With ``first`` after ``last`` the years between them are left out: a year from
            ``first`` on *or* up to ``last`` is admitted.
        years: single years besides.
    """

    first: int | None = None
    last: int | None = None
    years: frozenset[int] = frozenset()

    def admits(self, year: int | None) -> bool:
        """Whether a car of this year has the command; an unknown year is not held against it."""
        if year is None or (self.first is None and self.last is None and not self.years):
            return True
        if year in self.years:
            return True
        if self.first is not None and self.last is not None:
            if self.first <= self.last:
                return self.first <= year <= self.last
            return year >= self.first or year <= self.last
        if self.first is not None:
            return year >= self.first
        return self.last is not None and year <= self.last


@dataclass(frozen=True, slots=True)
class Address:
    """Whom a command asks and who answers, as published: hexadecimal digits of which a part may be left out.

    Args:
        header: the request's identifier: ``7E4``, or of 29 bits the middle (``DB33``, ``FC00``) or all of it.
        receive: the answer's: ``7EC``, ``FE007B``, the ECU's own byte, or None where any ECU's answer will do.
        extended: target address in front of every frame's payload (extended addressing), ``e=``.
        tester: our own address in an identifier of 29 bits, ``ta=``.
        priority: the identifier's first byte, ``c=``.
    """

    header: str
    receive: str | None = None
    extended: int | None = None
    tester: int | None = None
    priority: int | None = None

    @property
    def is_29bit(self) -> bool:
        """Identifiers of 29 bits."""
        return len(self.header) > 3

    @property
    def request_id(self) -> int:
        """The CAN identifier to send to."""
        return self._identifier(self.header)

    @property
    def response_id(self) -> int | None:
        """The CAN identifier that answers; None where the set names none."""
        if self.receive is None:
            return None
        if self.is_29bit and len(self.receive) == 2:
            return (self._priority << 24) | 0xDA0000 | (self.tester or _TESTER) << 8 | int(self.receive, 16)
        return self._identifier(self.receive)

    @property
    def _priority(self) -> int:
        return _NORMAL_FIXED if self.priority is None else self.priority

    def _identifier(self, digits: str) -> int:
        number = int(digits, 16)
        if not self.is_29bit or len(digits) > 6:
            return number & 0x1FFF_FFFF
        if len(digits) <= 4:
            number = number << 8 | (_TESTER if self.tester is None else self.tester)
        return self._priority << 24 | number

    def covers(self, asked: Address) -> bool:
        """Whether this is the address that somebody names, as far as both name it."""
        return (
            self.header == asked.header
            and (self.receive is None or asked.receive is None or self.receive == asked.receive)
            and (self.extended is None or asked.extended is None or self.extended == asked.extended)
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """One decoded value.

    Args:
        value: None where there is none.
        raw: the bytes that it stands in; empty when the answer ends before it.
        unclamped: the true number, where the limits of the set changed it.
    """

    value: Number | str | None
    raw: bytes
    unclamped: Number | None = None


class Decoder(Protocol):
    """What turns the bytes of an answer into one value."""

    @property
    def span(self) -> range:
        """The bytes that it needs."""
        ...

    def decode(self, data: bytes) -> Sample:
        """One value of ``data``: the answer without service and parameter."""
        ...


@dataclass(frozen=True, slots=True)
class _Place:
    """A run of bits. Bit 0 is the highest of the first byte. ``little_endian`` turns its bytes around first."""

    first_bit: int
    bits: int
    little_endian: bool = False

    @property
    def span(self) -> range:
        """The bytes that it touches."""
        return range(self.first_bit // 8, (self.first_bit + self.bits + 7) // 8)

    def read(self, data: bytes) -> tuple[bytes, int | None]:
        """The bytes that it touches, and the unsigned number; None where it is not all there."""
        start, end = self.span.start, self.span.stop
        raw = data[start:end]
        if len(raw) < end - start:
            return raw, None
        ordered = raw
        if self.little_endian and self.bits > 8:
            count = (self.bits + 7) // 8
            ordered = raw[:count][::-1] + raw[count:]
        number = int.from_bytes(ordered, "big") >> (len(raw) * 8 - (self.first_bit - start * 8) - self.bits)
        return raw, number & (1 << self.bits) - 1

    def read_signed(self, data: bytes) -> tuple[bytes, int | None]:
        """The same as two's complement."""
        raw, number = self.read(data)
        if number is not None and number >> (self.bits - 1):
            number -= 1 << self.bits
        return raw, number


def _clamp(value: Number, minimum: Number, maximum: Number | None) -> Number:
    if maximum is None or maximum <= minimum:
        return value
    return min(max(value, minimum), maximum)


@dataclass(frozen=True, slots=True)
class Scaling:
    """``raw * mul / div + add``, then the set's limits.

    Args:
        first_bit: 0 is the highest bit of the first byte.
        minimum: and ``maximum``: limits of the published value; none where they are not in order.
        null_min: at this value and below there is no value; ``null_max`` at this and above.
    """

    first_bit: int
    bits: int
    little_endian: bool = False
    signed: bool = False
    mul: Number = 1
    div: Number = 1
    add: Number = 0
    minimum: Number = 0
    maximum: Number | None = None
    null_min: Number | None = None
    null_max: Number | None = None

    @property
    def span(self) -> range:
        """The bytes that it needs."""
        return _Place(self.first_bit, self.bits).span

    def decode(self, data: bytes) -> Sample:
        """The number that the bits stand for."""
        place = _Place(self.first_bit, self.bits, self.little_endian)
        raw, number = place.read_signed(data) if self.signed else place.read(data)
        if number is None:
            return Sample(None, raw)
        scaled = number * self.mul
        value = (scaled if self.div == 1 else scaled / self.div) + self.add
        return self.limit(value, raw)

    def limit(self, value: Number, raw: bytes) -> Sample:
        """The value within the limits of the set."""
        if (self.null_min is not None and value <= self.null_min) or (
            self.null_max is not None and value >= self.null_max
        ):
            return Sample(None, raw)
        clamped = _clamp(value, self.minimum, self.maximum)
        return Sample(clamped, raw, value if clamped != value else None)


@dataclass(frozen=True, slots=True)
class DatasheetValue:
    """A value of service 01: the name is the set's, the formula is that of :mod:`dbc.j1979`.

    Args:
        field: the entry of the datasheet.
        factor: from the datasheet's unit to the set's.
        published: what the set says; its limits hold, its formula does not.
    """

    field: Field
    published: Scaling
    factor: Number = 1

    @property
    def span(self) -> range:
        """The bytes that it needs; from byte A on, where that says whether the value is supported."""
        start = self.field.start if self.field.support is None else 0
        return range(start, self.field.start + self.field.size)

    def decode(self, data: bytes) -> Sample:
        """The number; None where the ECU marks it as not supported."""
        value, raw, _ = self.field.decode(data)
        if value is None:
            return Sample(None, raw)
        return self.published.limit(value if self.factor == 1 else value * self.factor, raw)


@dataclass(frozen=True, slots=True)
class Enumeration:
    """A number that stands for a word; one that the set does not list is None."""

    first_bit: int
    bits: int
    words: Mapping[int, str]

    @property
    def span(self) -> range:
        """The bytes that it needs."""
        return _Place(self.first_bit, self.bits).span

    def decode(self, data: bytes) -> Sample:
        """The word."""
        raw, number = _Place(self.first_bit, self.bits).read(data)
        return Sample(None if number is None else self.words.get(number), raw)


@dataclass(frozen=True, slots=True)
class Signal:
    """One value of an answer.

    Args:
        unit: as people write it: ``V``, ``degC``, ``km/h``; empty for counts, states and words.
        metric: the set's word for what it is, where it has one: ``stateOfCharge``.
    """

    name: str
    title: str
    unit: str
    decoder: Decoder
    metric: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """One request and the values in its answer.

    Args:
        request: service and parameter as they are sent: ``22 01 05``.
        session: diagnostic session that the ECU must be in; None = the default one.
    """

    text: str
    address: Address
    request: bytes
    signals: tuple[Signal, ...] = ()
    years: YearFilter = field(default_factory=YearFilter)
    session: int | None = None

    @property
    def service(self) -> int:
        """The service identifier."""
        return self.request[0]

    @property
    def answer_start(self) -> bytes:
        """What a positive answer begins with: ``62 01 05``."""
        echoed = _PARAMETER_BYTES.get(self.service, len(self.request) - 1)
        return bytes([self.service | 0x40]) + self.request[1 : 1 + echoed]


@dataclass(frozen=True, slots=True)
class SetIssue:
    """An entry of a set that could not be used."""

    place: str
    text: Phrase


@dataclass(frozen=True, slots=True)
class SignalSet:
    """All commands of one published set.

    Args:
        name: of the file, or of the folder that it stands in.
        groups: names of the set's groups (``batteryModulesVoltage``) -> pattern of the signals in it.
        issues: entries that were left out, with the reason.
    """

    name: str
    path: str
    commands: tuple[Command, ...]
    groups: Mapping[str, str] = field(default_factory=dict)
    issues: tuple[SetIssue, ...] = ()
    by_request: Mapping[bytes, tuple[Command, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Sorts the commands by what they ask."""
        found: dict[bytes, tuple[Command, ...]] = {}
        for command in self.commands:
            found[command.request] = (*found.get(command.request, ()), command)
        object.__setattr__(self, "by_request", found)


def _years_from_text(text: str) -> YearFilter:
    """``2014-``, ``-2024``, ``2014-2018``, ``2019-;-2012;2015``: parts by semicolon."""
    first = last = None
    years = set()
    for part in text.split(";"):
        if found := _RANGE.fullmatch(part):
            first = int(found[1]) if found[1] else first
            last = int(found[2]) if found[2] else last
        elif part.isascii() and part.isdecimal() and len(part) == 4:
            years.add(int(part))
    return YearFilter(first, last, frozenset(years))


def printable(text: str, limit: int = 200) -> str:
    """Text from outside that can be written in any encoding of Unicode: a half surrogate pair cannot."""
    return text[:limit].encode("utf-8", "backslashreplace").decode("utf-8")


def parse_command_id(text: str) -> Command:
    """A command by its published name: ``7E4.7EC.220105|fc=1``, ``FC00.FE007B.22028C|ta=7B,c=17``, ``DB33.0104``.

    Raises:
        UnknownCommand: the text is no such name.
    """
    name, _, options = text.strip().partition("|")
    found = _COMMAND.fullmatch(name)
    if found is None or len(found[3]) % 2:
        raise UnknownCommand(
            printable(text, 80), Phrase("it is not written as header.receiver.request", "写法应为 请求头.接收地址.请求")
        )
    given = dict(option.split("=", 1) for option in options.split(",") if "=" in option)

    def byte(key: str) -> int | None:
        digits = given.get(key, "")
        return int(digits, 16) if re.fullmatch(r"[0-9A-Fa-f]{1,2}", digits) else None

    receive = found[2].upper() if found[2] else None
    address = Address(found[1].upper(), receive, byte("e"), byte("ta"), byte("c"))
    years = _years_from_text(given.get("f", ""))
    return Command(printable(text.strip()), address, bytes.fromhex(found[3]), years=years, session=byte("din"))


def find_command(asked: Command, sets: Sequence[SignalSet], year: int | None = None) -> Command:
    """The command with its decoders: the first set that has it wins.

    A service 01 request is the standard's: it is found whatever address the set names, after an exact match.

    Args:
        asked: from :func:`parse_command_id`.
        sets: the car's own, then its fallbacks.
        year: the car's model year; None when unknown.

    Raises:
        UnknownCommand: no set has it for this year.
    """
    another_year = False
    for signal_set in sets:
        same = signal_set.by_request.get(asked.request, ())
        here = [command for command in same if command.address.covers(asked.address)]
        if not here and asked.service == 0x01:
            here = list(same)
        fitting = [command for command in here if command.years.admits(year)]
        if fitting:
            return min(fitting, key=lambda command: _distance(command, asked))
        another_year = another_year or bool(here)
    raise UnknownCommand(
        asked.text[:80],
        Phrase(f"it is not for model year {year}", f"不适用于 {year} 年款")
        if another_year
        else Phrase("no set has it", "信号集中没有此命令"),
    )


def _distance(command: Command, asked: Command) -> tuple[bool, bool, bool]:
    """How far a command is from the one that was asked for; the least wins, of equals the first."""
    return (
        command.years != asked.years,
        command.address.receive != asked.address.receive,
        command.address.extended != asked.address.extended,
    )
