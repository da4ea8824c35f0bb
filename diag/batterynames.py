"""Which signal of a database is which figure of the traction battery, told by its name and unit.

A name is taken apart into words (``HVBatt_Voltage``, ``RdHVltBatPckCrnt``, ``cellvoltage12``); words that mean another
battery, a limit or a statistic rule it out. Where a name does not say whether it means the traction battery or the 12 V
one, the readings decide later.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BatterySignals", "find_battery_signals", "words_from_name"]

_CELL: Final = frozenset({"cell", "cells"})
_GROUP: Final = frozenset({"module", "mod", "block", "pack", "pck", "string", "slave", "cmu", "bmu", "group"})
_HV: Final = frozenset({"pack", "pck", "hv", "hvlt", "traction", "trac", "total", "hvb", "rechargeable"})
_BATTERY: Final = frozenset({"battery", "batt", "bat", "btry", "bms"})
_VOLTAGE: Final = frozenset({"voltage", "voltages", "volt", "volts", "vlt", "v", "u"})
_CURRENT: Final = frozenset({"current", "curr", "cur", "crnt", "amps", "amp", "i"})
_TEMPERATURE: Final = frozenset({"temperature", "temp", "temps", "tmp"})
_RESISTANCE: Final = frozenset({"resistance", "resist", "res", "r"})
_INSULATION: Final = frozenset({"insulation", "isolation", "insul", "iso"})
_DENIED: Final = frozenset(
    (
        "aux",
        "auxiliary",
        "lv",
        "lead",
        "starter",
        "max",
        "maximum",
        "min",
        "minimum",
        "avg",
        "average",
        "mean",
        "limit",
        "lim",
        "target",
        "request",
        "requested",
        "req",
        "avail",
        "available",
        "allowed",
        "igbt",
        "inv",
        "inverter",
        "obc",
        "dcdc",
        "ambient",
        "coolant",
        "charger",
        "motor",
        "link",
        "highest",
        "lowest",
        "delta",
        "diff",
        "spread",
        "threshold",
        "setpoint",
        "set",
        "desired",
        "fault",
        "error",
        "err",
        "status",
        "state",
        "crc",
        "checksum",
        "counter",
        "number",
        "id",
        "index",
        "supply",
        "water",
        "inlet",
        "outlet",
        "heater",
        "nominal",
        "rated",
        "cutoff",
        "estimated",
        "est",
        "predicted",
        "peak",
    )
)
_STATE_OF_CHARGE: Final = frozenset({"state", "of", "charge"})

_VOLTS: Final = {"v": 1.0, "volt": 1.0, "volts": 1.0, "vdc": 1.0, "mv": 1e-3, "millivolt": 1e-3, "millivolts": 1e-3}
_AMPERES: Final = frozenset({"a", "amp", "amps", "ampere", "amperes", "amper", "adc"})
_PERCENT: Final = frozenset({"%", "percent", "pct", "perc"})
_KOHMS: Final = {
    **dict.fromkeys(("kohm", "kohms", "kω", "kiloohm", "kiloohms"), 1.0),
    **dict.fromkeys(("ohm", "ohms", "ω"), 1e-3),
    **dict.fromkeys(("mohm", "mohms", "mω", "megaohm", "megohm"), 1e3),
}
_CELSIUS: Final = frozenset(
    {"degc", "°c", "c", "℃", "ºc", "˚c", "celsius", "degcelsius", "degreec", "degreesc", "degreecelsius", "degrecelsi"}
)
_HIGHEST_NUMBER: Final = 999

_CAMEL: Final = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_GLUE: Final = sorted(
    (_CELL | _GROUP | _HV | _BATTERY | _VOLTAGE | _CURRENT | _TEMPERATURE | _INSULATION | _RESISTANCE | _DENIED)
    - {"v", "u", "i", "r", "id", "mod", "set", "est"}
    | {"soc", "stateofcharge", "state", "of", "charge", "riso"},
    key=len,
    reverse=True,
)
_GLUED: Final = re.compile(f"(?:{'|'.join(_GLUE)})")
_ALL_GLUED: Final = re.compile(f"(?:{'|'.join(_GLUE)})+")


@dataclass(frozen=True, slots=True)
class BatterySignals:
    """Which signal is what; ``scale`` turns each into V, A, °C, % or kΩ.

    Args:
        cells: cell in pack order, counted from 1 -> signal and scale; numbers without a signal are not in it.
        labels: the same cell -> the number that the car's own documents use (``0`` … or module and cell, ``2-3``).
        count: cells in the pack as far as the numbering shows.
    """

    cells: Mapping[int, tuple[str, float]]
    temperatures: Mapping[int, str]
    pack_v: tuple[str, float] | None = None
    current: str | None = None
    soc: str | None = None
    insulation: tuple[str, float] | None = None
    labels: Mapping[int, str] | None = None
    count: int = 0


@cache
def words_from_name(name: str) -> tuple[str, ...]:
    """The words and numbers of a signal's name in lower case, in order."""
    words: list[str] = []
    for part in _CAMEL.findall(name):
        word = part.lower()
        words.extend(_GLUED.findall(word) if _ALL_GLUED.fullmatch(word) else (word,))
    return tuple(words)


def _split_numbers(name: str) -> tuple[frozenset[str], tuple[str, ...], tuple[int, ...]]:
    """The words of a name, the family of names it belongs to, and its numbers."""
    words = words_from_name(name)
    plain = tuple(word for word in words if not word.isdigit())
    return (
        frozenset(plain),
        (*plain, str(len(words) - len(plain))),
        tuple(int(word) for word in words if word.isdigit()),
    )


def find_battery_signals(units: Mapping[str, str]) -> BatterySignals | None:
    """Recognises a battery's signals by name and unit.

    Args:
        units: signal name -> unit as the database spells it.

    Returns:
        None when there is neither a cell voltage nor a pack voltage among them.
    """
    cells: dict[tuple[str, ...], dict[tuple[int, ...], list[tuple[str, float]]]] = {}
    probes: dict[tuple[str, ...], dict[tuple[int, ...], list[tuple[str, float]]]] = {}
    single: dict[str, tuple[int, str, float]] = {}

    def offer(figure: str, rank: int, name: str, scale: float = 1.0) -> None:
        if figure not in single or rank > single[figure][0]:
            single[figure] = (rank, name, scale)

    for name, unit_text in units.items():
        unit = re.sub(r"[\s._]", "", unit_text.lower()).removeprefix("unit")
        words, shape, numbers = _split_numbers(name)
        is_soc = "soc" in words or "stateofcharge" in words or words >= _STATE_OF_CHARGE
        denied = words & _DENIED - (_STATE_OF_CHARGE if is_soc else frozenset())
        if denied or any(number > _HIGHEST_NUMBER for number in numbers):
            continue
        if words & _CELL and unit in _VOLTS and 1 <= len(numbers) <= 2:
            cells.setdefault(shape, {}).setdefault(numbers, []).append((name, _VOLTS[unit]))
        elif words & _TEMPERATURE and words & (_CELL | _GROUP | _BATTERY) and unit in _CELSIUS and numbers:
            probes.setdefault(shape, {}).setdefault(numbers, []).append((name, 1.0))
        elif words & _CELL or {12, 24, 48} & set(numbers):
            continue
        else:
            rank = 4 * bool(words & _HV) + 2 * bool(words & _BATTERY) - len(numbers)
            if unit in _VOLTS and words & _VOLTAGE and words & (_HV | _BATTERY):
                offer("pack_v", rank, name, _VOLTS[unit])
            elif unit in _AMPERES and words & _CURRENT and words & (_HV | _BATTERY):
                offer("current", rank, name)
            elif unit in _PERCENT and is_soc:
                offer("soc", rank - len(words), name)
            elif unit in _KOHMS and ("riso" in words or (words & _INSULATION and words & _RESISTANCE)):
                offer("insulation", rank, name, _KOHMS[unit])
    numbered = _choose_numbering(cells)
    if not numbered and "pack_v" not in single:
        return None
    positions, count = _positions(numbered)
    labels = _labels(positions, count)
    temperatures = _choose_numbering(probes)
    return BatterySignals(
        cells={at: numbered[key] for key, at in positions.items()},
        temperatures={at: temperatures[key][0] for at, key in enumerate(sorted(temperatures), start=1)},
        pack_v=single["pack_v"][1:] if "pack_v" in single else None,
        current=single["current"][1] if "current" in single else None,
        soc=single["soc"][1] if "soc" in single else None,
        insulation=single["insulation"][1:] if "insulation" in single else None,
        labels=labels,
        count=count,
    )


def _choose_numbering(
    shapes: Mapping[tuple[str, ...], Mapping[tuple[int, ...], list[tuple[str, float]]]],
) -> dict[tuple[int, ...], tuple[str, float]]:
    """Number -> signal from the largest family of names; a number that two names claim belongs to neither.

    Two families of the same size that claim the same numbers cannot be told apart: none of them is used.
    """
    families = [{key: found[0] for key, found in numbers.items() if len(found) == 1} for numbers in shapes.values()]
    families.sort(key=len, reverse=True)
    if not families:
        return {}
    chosen = families[0]
    for family in families[1:]:
        if len(family) == len(chosen) and family.keys() & chosen.keys():
            return {}
    return chosen


def _positions(numbered: Mapping[tuple[int, ...], object]) -> tuple[dict[tuple[int, ...], int], int]:
    """Number -> place in the pack counted from 1, and the number of places; holes in the numbering keep theirs."""
    if not numbered:
        return {}, 0
    first = min(*(key[-1] for key in numbered), 1)
    by_group: dict[tuple[int, ...], list[int]] = {}
    for key in sorted(numbered):
        by_group.setdefault(key[:-1], []).append(key[-1])
    usual = Counter(max(cells) - first + 1 for cells in by_group.values()).most_common(1)[0][0]
    places: dict[tuple[int, ...], int] = {}
    start, previous = 0, None
    for group, cells in by_group.items():
        if group and previous is not None:
            start += usual * (group[0] - previous - 1)
        for cell in cells:
            places[(*group, cell)] = start + cell - first + 1
        start += max(cells) - first + 1
        previous = group[0] if group else None
    return places, start


def _labels(places: Mapping[tuple[int, ...], int], count: int) -> dict[int, str]:
    """Every place -> its own number; one without a signal counts on from the place before it."""
    own = {place: key for key, place in places.items()}
    labels: dict[int, str] = {}
    for place in range(1, count + 1):
        if place in own:
            labels[place] = "-".join(map(str, own[place]))
        elif after := next((at for at in range(place + 1, count + 1) if at in own), None):
            *group, number = own[after]
            labels[place] = "-".join(map(str, (*group, number - (after - place))))
            if group and number - (after - place) < 0:
                labels[place] = "?"
    return labels
