"""The battery as it tells a DC charger, judged like one that was read from the car.

Cells come in steps of 10 mV, so that small differences are not seen; the current flows into the pack all the time.

Standard: GB/T 27930-2015 (BCS, BMV, BMT, BSM); clauses unverified.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from diag.batteryreport import battery_report
from diag.samples import Series

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from diag.batteryreport import BatteryReport
    from diag.gbt27930 import ChargeMessage

__all__ = ["battery_from_charge", "series_from_charge"]

_NAMES: Final[Mapping[tuple[str, str], tuple[str, str]]] = {
    ("BCS", "voltage"): ("PackVoltage", "V"),
    ("BCS", "current"): ("PackCurrent", "A"),
    ("BCS", "soc"): ("StateOfCharge", "%"),
}
_NUMBERED: Final = re.compile(r"(cell|probe)_(\d+)")
_SERIES: Final = {"cell": ("CellVoltage_{:03d}", "V"), "probe": ("CellTemp_{:02d}", "degC")}


def series_from_charge(messages: Iterable[ChargeMessage]) -> dict[str, Series]:
    """Signals under the names of the battery model; the current is that into the pack, counted as positive."""
    samples: dict[str, tuple[str, list[tuple[int, float | None]]]] = {}
    for message in messages:
        for item in message.values:
            if not isinstance(item.value, (int, float, type(None))):
                continue
            known = _NAMES.get((message.name, item.name))
            numbered = _NUMBERED.fullmatch(item.name) if message.name in ("BMV", "BMT") else None
            if numbered is not None:
                pattern, unit = _SERIES[numbered[1]]
                known = pattern.format(int(numbered[2])), unit
            if known is not None:
                value = abs(item.value) if known[0] == "PackCurrent" and item.value is not None else item.value
                samples.setdefault(known[0], (known[1], []))[1].append((message.t_ns, value))
    return {
        name: Series(
            name,
            unit,
            np.array([t_ns for t_ns, _ in told], dtype=np.int64),
            np.array([np.nan if value is None else value for _, value in told], dtype=np.float64),
            np.array([value is not None for _, value in told]),
        )
        for name, (unit, told) in samples.items()
    }


def battery_from_charge(messages: Iterable[ChargeMessage]) -> BatteryReport | None:
    """The battery's report; None where the car told the charger no cells (BMV is optional)."""
    series = series_from_charge(messages)
    if not any(name.startswith("CellVoltage_") for name in series):
        return None
    return battery_report(series, source="charging:gbt27930", is_flipped=True)
