"""The rarer parameters of OBD-II, from ``j1979more.csv``: after-treatment, turbochargers, counters, single bits.

Support bits, scales and places follow public signal sets; where the sources leave a scale open the value is the raw
number, and says so.

Standard: SAE J1979-DA:2022; confidence medium from 70 on, low from A3 on.
"""

from __future__ import annotations

import csv
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dbc.errors import Phrase
from dbc.j1979fields import Field, Pid

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MORE"]

_TABLE: Final = Path(__file__).with_suffix(".csv")

_STATES: Final[Mapping[str, Mapping[int, Phrase]]] = {
    "": {},
    "no_yes": {0: Phrase("no", "否"), 1: Phrase("yes", "是")},
    "off_on": {0: Phrase("off", "关"), 1: Phrase("on", "开")},
    "loop": {1: Phrase("open loop", "开环"), 2: Phrase("closed loop", "闭环"), 3: Phrase("fault", "故障")},
    "open_closed": {0: Phrase("open", "开环"), 1: Phrase("closed", "闭环")},
    "air": {
        1: Phrase("upstream", "上游"),
        2: Phrase("downstream of the catalyst", "催化器下游"),
        4: Phrase("from outside or off", "外界或关闭"),
        8: Phrase("on for diagnostics", "诊断开启"),
    },
    "emission": {
        number: Phrase(name, name)
        for number, name in {0x0E: "EURO IV", 0x0F: "EURO V", 0x10: "EURO EEV", 0x11: "EURO VI"}.items()
    },
}


def _number(text: str) -> int | None:
    return int(text) if text else None


def _field(row: Mapping[str, str]) -> Field:
    return Field(
        row["name"],
        Phrase(row["en"], row["zh"]),
        row["unit"],
        int(row["start"]),
        int(row["size"]),
        Fraction(row["scale"]),
        int(row["offset"]),
        row["signed"] == "1",
        _number(row["support"]),
        states=_STATES[row["states"]],
        shift=_number(row["shift"]) or 0,
        bits=_number(row["bits"]) or 0,
        wide=_number(row["wide"]),
    )


def _load() -> tuple[Pid, ...]:
    found: dict[int, tuple[int, list[Field]]] = {}
    with _TABLE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(int(row["pid"], 16), (int(row["length"]), []))[1].append(_field(row))
    return tuple(Pid(number, length, tuple(fields)) for number, (length, fields) in found.items())


MORE: Final = _load()
