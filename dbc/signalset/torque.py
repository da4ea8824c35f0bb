"""Torque's CSV of own parameters: one row per value, with an equation over the bytes of the answer.

Rows that ask the same become one command. A row that cannot be used is left out and listed as an issue. The columns
"Min Value" and "Max Value" are the range of a gauge and no limits of the value: nothing is clamped.

Standard: none; the format is the Torque app's own.
"""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Final

from dbc.errors import NotASignalSet, Phrase
from dbc.signalset.equation import BadEquationError, parse_equation
from dbc.signalset.model import Address, Command, SetIssue, Signal, SignalSet

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["COLUMNS", "is_torque", "parse_torque"]

COLUMNS: Final = ("name", "shortname", "modeandpid", "equation", "min value", "max value", "units", "header")

_UNITS: Final = {
    "c": "degC",
    "°c": "degC",
    "℃": "degC",
    "f": "degF",
    "°f": "degF",
    "volts": "V",
    "amps": "A",
    "kph": "km/h",
}
_MOST_ROWS: Final = 20_000


def is_torque(text: str) -> bool:
    """Whether a text begins with Torque's column names."""
    line = next((line for line in text.lstrip("\ufeff").splitlines() if line.strip()), "")
    if len(line) > 1000:
        return False
    names = {name.strip().strip('"').lower() for name in line.split(",")}
    return {"name", "modeandpid", "equation"} <= names


def parse_torque(text: str, *, name: str, path: str) -> SignalSet:
    """The set that a CSV text holds.

    Raises:
        NotASignalSet: the columns are others.
    """
    if not is_torque(text):
        raise NotASignalSet(path, Phrase("the columns are not Torque's", "列名不是 Torque 的格式"))
    rows = csv.reader(io.StringIO(text.lstrip("\ufeff").replace("\0", "")), skipinitialspace=True)
    commands: dict[tuple[str, bytes], list[Signal]] = {}
    taken: set[str] = set()
    issues: list[SetIssue] = []
    head: list[str] = []
    try:
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            if not head:
                head = [cell.strip().lower() for cell in row]
                continue
            place = f"line {rows.line_num}"
            if rows.line_num > _MOST_ROWS:
                issues.append(SetIssue(place, Phrase(f"more than {_MOST_ROWS} lines", f"超过 {_MOST_ROWS} 行")))
                break
            entry = dict(zip(head, (cell.strip() for cell in row), strict=False))
            try:
                header, request, signal = _row(entry, taken)
            except BadEquationError as fault:
                issues.append(SetIssue(f"{place} {entry.get('name', '')}".strip(), fault.text))
                continue
            taken.add(signal.name)
            commands.setdefault((header, request), []).append(signal)
    except csv.Error as error:
        reason = Phrase(f"line {rows.line_num}: {error}", f"第 {rows.line_num} 行：{error}")
        raise NotASignalSet(path, reason) from error
    made = tuple(
        Command(f"{header}.{request.hex().upper()}", _address(header), request, tuple(signals))
        for (header, request), signals in commands.items()
    )
    return SignalSet(name, path, made, issues=tuple(issues))


def _address(header: str) -> Address:
    """Whom a header asks. ECUs of the legislated identifiers answer where the standard says."""
    number = int(header, 16)
    if len(header) == 3 and 0x7E0 <= number <= 0x7E7:
        return Address(header, f"{number + 8:03X}")
    return Address(header)


def _row(entry: Mapping[str, str], taken: set[str]) -> tuple[str, bytes, Signal]:
    """Header, request and value of one row.

    Raises:
        BadEquationError: a column cannot be used.
    """
    asked = re.sub(r"^0x|\s", "", entry.get("modeandpid", ""), flags=re.IGNORECASE)
    if not re.fullmatch(r"(?:[0-9A-Fa-f]{2}){2,8}", asked):
        raise BadEquationError(f"ModeAndPID {asked!r} is no request", f"ModeAndPID {asked!r} 不是请求")
    header = re.sub(r"^0x|\s", "", entry.get("header", ""), flags=re.IGNORECASE).upper() or "7DF"
    if header == "AUTO":
        header = "7DF"
    if not re.fullmatch(r"[0-9A-F]{3}|[0-9A-F]{6}|[0-9A-F]{8}", header):
        raise BadEquationError(f"Header {header!r} is no address", f"Header {header!r} 不是地址")
    title = entry.get("name", "") or entry.get("shortname", "")
    if not title:
        raise BadEquationError("it has no name", "没有名称")
    number, unique = 2, title
    while unique in taken:
        unique, number = f"{title} ({number})", number + 1
    unit = entry.get("units", "")
    signal = Signal(
        unique,
        entry.get("shortname", "") or title,
        _UNITS.get(unit.lower(), unit),
        parse_equation(entry.get("equation", "")),
    )
    return header, bytes.fromhex(asked), signal
