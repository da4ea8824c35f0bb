"""OBDb's signal sets, version 3: JSON with one entry per request.

A faulty entry is left out and listed as an issue; the rest of the set is used. Service 01 is the standard's: its
numbers get the formulas of :mod:`dbc.j1979`, because the published ones are wrong in places.

Standard: none; the format is the OBDb project's own (signal set schema, version 3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dbc.errors import NotASignalSet, Phrase
from dbc.j1979 import find_field
from dbc.signalset.model import (
    Address,
    Command,
    DatasheetValue,
    Enumeration,
    Scaling,
    SetIssue,
    Signal,
    SignalSet,
    YearFilter,
    printable,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbc.signalset.model import Decoder

__all__ = ["UNITS", "parse_obdb"]

UNITS: Final = {
    "ampereHours": "Ah", "amps": "A", "bars": "bar", "celsius": "degC", "centimeters": "cm", "coulombs": "C",
    "degrees": "deg", "fahrenheit": "degF", "feet": "ft", "gallons": "gal", "gallonsPerHour": "gal/h",
    "gigahertz": "GHz", "gramsPerLiter": "g/L", "gramsPerSecond": "g/s", "gravity": "g", "hertz": "Hz", "hours": "h",
    "inches": "in", "joules": "J", "kelvin": "K", "kiloampereHours": "kAh", "kiloamps": "kA",
    "kilogramsPerHour": "kg/h", "kilohertz": "kHz", "kilojoules": "kJ", "kilometers": "km",
    "kilometersPerHour": "km/h", "kiloohms": "kOhm", "kilopascal": "kPa", "kilovolts": "kV", "kilowattHours": "kWh",
    "kilowattHoursPer100Kilometers": "kWh/100km", "kilowattHoursPer100Miles": "kWh/100mi", "kilowatts": "kW",
    "liters": "L", "litersPerHour": "L/h", "megahertz": "MHz", "megaohms": "MOhm", "meters": "m",
    "metersPerSecond": "m/s", "metersPerSecondSquared": "m/s2", "microohms": "uOhm", "miles": "mi",
    "milesPerHour": "mph", "milesPerKilowattHour": "mi/kWh", "milliampereHours": "mAh", "milliamps": "mA",
    "milligramsPerStroke": "mg/stroke", "millimeters": "mm", "milliohms": "mOhm", "milliseconds": "ms",
    "millivolts": "mV", "milliwatts": "mW", "minutes": "min", "newtonMeters": "N·m", "ohms": "Ohm", "percent": "%",
    "poundFoot": "lb·ft", "psi": "psi", "radians": "rad", "rpm": "rpm", "seconds": "s", "volts": "V", "watts": "W",
    "yards": "yd",
}  # fmt: skip
"""How people write the units that the format names; the others are counts and states without unit."""

_FACTORS: Final = {("Pa", "kPa"): 0.001}
_MOST_BITS: Final = 4095 * 8
_MOST_BITS_OF_A_NUMBER: Final = 512
_MOST_DIGITS: Final = 200
_LARGEST: Final = 1e30
_SERVICES: Final = ("01", "21", "22")


class _EntryFaultyError(ValueError):
    """An entry of the set that cannot be used, with the reason for people."""

    def __init__(self, en: str, zh: str) -> None:
        super().__init__(en)
        self.text = Phrase(en, zh)


def parse_obdb(document: object, *, name: str, path: str) -> SignalSet:
    """The set that a JSON document holds.

    Args:
        document: as the JSON parser gave it.
        name: how the set is called.
        path: where it is from, for errors.

    Raises:
        NotASignalSet: the document has no list of commands.
    """
    entries = document.get("commands") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(entries, list):
        raise NotASignalSet(path, Phrase("it has no list of commands", "没有 commands 列表"))
    commands: list[Command] = []
    issues: list[SetIssue] = []
    for number, entry in enumerate(entries, start=1):
        try:
            commands.append(_command(entry, issues, f"commands[{number}]"))
        except _EntryFaultyError as fault:
            issues.append(SetIssue(f"commands[{number}]", fault.text))
    groups = {
        group["suggestedMetricGroup"]: group["matchingRegex"]
        for group in _list(document.get("signalGroups"))
        if isinstance(group, dict)
        and isinstance(group.get("suggestedMetricGroup"), str)
        and isinstance(group.get("matchingRegex"), str)
    }
    return SignalSet(name, path, tuple(commands), groups, tuple(issues))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _digits(entry: dict[str, Any], key: str, lengths: Iterable[int]) -> str | None:
    value = entry.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) not in lengths or set(value) - set("0123456789abcdefABCDEF"):
        raise _EntryFaultyError(f"{key} {value!r} is no hex address", f"{key} {value!r} 不是十六进制地址")
    return value.upper()


def _byte(entry: dict[str, Any], key: str) -> int | None:
    digits = _digits(entry, key, (1, 2))
    return None if digits is None else int(digits, 16)


def _request(entry: dict[str, Any]) -> bytes:
    asked = entry.get("cmd")
    if isinstance(asked, dict) and len(asked) == 1:
        service, parameter = next(iter(asked.items()))
        if service in _SERVICES and isinstance(parameter, str):
            try:
                return bytes.fromhex(service + parameter.zfill(4 if service == "22" else 2))
            except ValueError:
                pass
    raise _EntryFaultyError(
        f"cmd {asked!r} is no request of service 01, 21 or 22", f"cmd {asked!r} 不是 01、21、22 服务的请求"
    )


def _years(value: object) -> YearFilter:
    if not isinstance(value, dict):
        return YearFilter()
    first, last = (value.get(key) if isinstance(value.get(key), int) else None for key in ("from", "to"))
    return YearFilter(first, last, frozenset(year for year in _list(value.get("years")) if isinstance(year, int)))


def _command(entry: object, issues: list[SetIssue], place: str) -> Command:
    if not isinstance(entry, dict):
        raise _EntryFaultyError("it is no object", "不是对象")
    header = _digits(entry, "hdr", (3, 4, 6, 8))
    if header is None:
        raise _EntryFaultyError("hdr is missing", "缺少 hdr")
    receive = _digits(entry, "rax", (2, 3, 4, 6, 8))
    address = Address(header, receive, _byte(entry, "eax"), _byte(entry, "tst"), _byte(entry, "pri"))
    request = _request(entry)
    signals: dict[str, Signal] = {}
    for item in _list(entry.get("signals")):
        try:
            signal = _signal(item, request)
        except _EntryFaultyError as fault:
            shown = item.get("id") if isinstance(item, dict) else None
            issues.append(SetIssue(f"{place} {shown or '?'}", fault.text))
            continue
        if signal.name in signals:
            issues.append(SetIssue(f"{place} {signal.name}", Phrase("it comes twice", "重复出现")))
        signals.setdefault(signal.name, signal)
    text = ".".join(part for part in (header, receive, request.hex().upper()) if part)
    years = _years(entry.get("filter"))
    return Command(text, address, request, tuple(signals.values()), years, _byte(entry, "din"))


def _signal(item: object, request: bytes) -> Signal:
    fmt = item.get("fmt") if isinstance(item, dict) else None
    if not isinstance(item, dict) or not isinstance(fmt, dict) or not isinstance(item.get("id"), str):
        raise _EntryFaultyError("id or fmt is missing", "缺少 id 或 fmt")
    unit = UNITS.get(fmt.get("unit", ""), "") if isinstance(fmt.get("unit"), str) else ""
    return Signal(
        printable(item["id"]),
        printable(str(item.get("name", ""))),
        unit,
        _decoder(fmt, request, unit),
        str(item.get("suggestedMetric", "")),
        str(item.get("path", "")),
    )


def _whole(fmt: dict[str, Any], key: str, default: int | None = None) -> int:
    value = fmt.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST_BITS:
        raise _EntryFaultyError(f"{key} {value!r} is no number of bits", f"{key} {value!r} 不是位数")
    return value


def _number(fmt: dict[str, Any], key: str) -> float | int | None:
    value = fmt.get(key)
    if value is None:
        return None
    # Written so that NaN fails too.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= _LARGEST:
        raise _EntryFaultyError(f"{key} {value!r} is no number", f"{key} {value!r} 不是数字")
    return value


def _decoder(fmt: dict[str, Any], request: bytes, unit: str) -> Decoder:
    first_bit, bits = _whole(fmt, "bix", 0), _whole(fmt, "len")
    if bits == 0:
        raise _EntryFaultyError("len is 0", "len 为 0")
    words = fmt.get("map")
    if words is not None:
        return Enumeration(first_bit, bits, _words(words))
    mul, div = _number(fmt, "mul"), _number(fmt, "div")
    if div is not None and abs(div) < 1 / _LARGEST:
        raise _EntryFaultyError("div is 0", "div 为 0")
    if bits > _MOST_BITS_OF_A_NUMBER:
        raise _EntryFaultyError(f"a number of {bits} bits", f"数值长达 {bits} 位")
    published = Scaling(
        first_bit,
        bits,
        little_endian=fmt.get("blsb") is True,
        signed=fmt.get("sign") is True,
        mul=1 if mul is None else mul,
        div=1 if div is None else div,
        add=_number(fmt, "add") or 0,
        minimum=_number(fmt, "min") or 0,
        maximum=_number(fmt, "max"),
        null_min=_number(fmt, "nullmin"),
        null_max=_number(fmt, "nullmax"),
    )
    known = find_field(request[1], first_bit, bits) if request[0] == 0x01 else None
    if known is None or known.states:
        return published
    return DatasheetValue(known, published, _FACTORS.get((known.unit, unit), 1))


def _words(words: object) -> dict[int, str]:
    if not isinstance(words, dict):
        raise _EntryFaultyError("map is no table", "map 不是表")
    found: dict[int, str] = {}
    for raw, meaning in words.items():
        word = meaning.get("value") if isinstance(meaning, dict) else meaning
        if not (raw.isascii() and raw.isdecimal() and len(raw) < _MOST_DIGITS) or word is None:
            raise _EntryFaultyError(f"map has the entry {raw!r}", f"map 含有条目 {raw!r}")
        found[int(raw)] = printable(str(word))
    return found
