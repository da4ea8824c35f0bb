"""Which signal is which, where a person says it: names that mislead, or that say nothing.

A role is told one signal (``pack-current=BattI2``), cells and probes a pattern with the number in parentheses
(``cell=U_Z([0-9]+)``). What is told counts; what else looks like it is left out.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from diag.batterynames import find_battery_signals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diag.batterynames import BatterySignals
    from diag.samples import Series

__all__ = ["ROLES", "with_told_names"]

_SINGLE: Final = {
    "pack-voltage": ("PackVoltage", ("V", "mV")),
    "pack-current": ("PackCurrent", ("A", "mA")),
    "soc": ("StateOfCharge", ("%",)),
    "insulation": ("InsulationResistance", ("kOhm", "Ohm", "MOhm")),
}
_MANY: Final = {"cell": ("CellVoltage_{:03d}", "V"), "probe": ("CellTemp_{:02d}", "degC")}
ROLES: Final = (*_SINGLE, *_MANY)
"""What can be told."""


def with_told_names(series: Mapping[str, Series], told: Mapping[str, str]) -> dict[str, Series]:
    """The series under the names that the battery model knows.

    Args:
        series: signal name -> series, as the database names them.
        told: role -> signal, or pattern with one group for ``cell`` and ``probe``.

    Raises:
        KeyError: no such role, or no such signal in the series (the argument says which).
        ValueError: a pattern that is none, has no group, or gives a number twice.
    """
    out = dict(series)
    for role in told:
        if role not in ROLES:
            raise KeyError(role)
    found = find_battery_signals({name: item.unit for name, item in series.items()})
    guessed = {role: _guessed(found, role) for role in told}
    named: dict[str, Series] = {}
    for role, what in told.items():
        for name in guessed[role]:
            out.pop(name, None)
        named |= _cells(series, role, what) if role in _MANY else _one(series, role, what)
    used = {item.name for item in named.values()}
    kept = {name: item for name, item in out.items() if name not in used and name not in named}
    return {**kept, **{name: replace(item, name=name) for name, item in named.items()}}


def _guessed(found: BatterySignals | None, role: str) -> tuple[str, ...]:
    """Signals that would have been taken for this role."""
    if found is None:
        return ()
    if role == "cell":
        return tuple(name for name, _ in found.cells.values())
    if role == "probe":
        return tuple(found.temperatures.values())
    single = {
        "pack-voltage": found.pack_v[0] if found.pack_v else None,
        "pack-current": found.current,
        "soc": found.soc,
        "insulation": found.insulation[0] if found.insulation else None,
    }[role]
    return () if single is None else (single,)


def _one(series: Mapping[str, Series], role: str, name: str) -> dict[str, Series]:
    if name not in series:
        raise KeyError(name)
    item = series[name]
    known, units = _SINGLE[role]
    factor = 0.001 if item.unit in ("mV", "mA") else 1.0
    unit = units[0] if factor != 1.0 or item.unit not in units else item.unit
    return {known: replace(item, unit=unit, values=item.values * factor)}


def _cells(series: Mapping[str, Series], role: str, text: str) -> dict[str, Series]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise ValueError(f"{text}: {error}") from error
    if pattern.groups != 1:
        raise ValueError(f"{text}: ( )")
    names, unit = _MANY[role]
    found: dict[str, Series] = {}
    numbers: set[int] = set()
    for name, item in series.items():
        match = pattern.fullmatch(name)
        if match is None or not match[1].isdigit():
            continue
        number = int(match[1])
        if number in numbers:
            raise ValueError(f"{text}: {number}")
        numbers.add(number)
        factor = 0.001 if item.unit.lower() in ("mv", "millivolt", "millivolts") else 1.0
        found[names.format(number)] = replace(item, unit=unit, values=item.values * factor)
    if not found:
        raise KeyError(text)
    return found
