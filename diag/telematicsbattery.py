"""The battery as a car reports it to a platform (GB/T 32960), judged like one that was read from the car.

Standard: GB/T 32960.3-2016 and -2025 (vehicle data, cell voltages, temperatures).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from diag.batteryreport import battery_report
from diag.gbt32960 import merge_cells
from diag.limits import limits_for
from diag.outlook import look_ahead
from diag.samples import Series

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from diag.facts import BatteryState, Finding, Json
    from diag.gbt32960 import TelematicsMessage
    from diag.outlook import Outlook

__all__ = ["ReportedBattery", "batteries_from_telematics"]

_VEHICLE: Final = {
    "voltage": ("PackVoltage", "V"),
    "current": ("PackCurrent", "A"),
    "soc": ("StateOfCharge", "%"),
    "insulation": ("InsulationResistance", "kOhm"),
}


@dataclass(frozen=True, slots=True)
class ReportedBattery:
    """One car's battery over its reports.

    Args:
        reports: messages that told anything of it.
        first_ns: UTC of the first of them.
        last_ns: of the last.
        battery: None where the reports hold no traction battery.
        outlook: what will cross a limit, by its figures day by day.
    """

    vin: str
    reports: int
    first_ns: int
    last_ns: int
    battery: BatteryState | None
    findings: tuple[Finding, ...]
    outlook: tuple[Outlook, ...] = ()

    def to_json(self) -> Json:
        """One entry of ``cars``."""
        return {
            "vin": self.vin,
            "reports": self.reports,
            "battery": self.battery.to_json() if self.battery else None,
            "findings": [finding.to_json() for finding in self.findings],
            "outlook": [item.to_json() for item in self.outlook],
        }


def batteries_from_telematics(messages: Iterable[TelematicsMessage]) -> tuple[ReportedBattery, ...]:
    """The battery of every car in a stream, by VIN; cells of several subsystems count on from one to the next."""
    cars: dict[str, list[TelematicsMessage]] = {}
    for message in messages:
        if message.time is not None and message.units:
            cars.setdefault(message.vin, []).append(message)
    return tuple(_one(vin, cars[vin]) for vin in sorted(cars))


def _one(vin: str, messages: Sequence[TelematicsMessage]) -> ReportedBattery:
    samples: dict[str, tuple[str, list[tuple[int, float | None]]]] = {}

    def add(name: str, unit: str, t_ns: int, value: float | None) -> None:
        samples.setdefault(name, (unit, []))[1].append((t_ns, value))

    times = [_ns(message) for message in messages]
    for message, t_ns in zip(messages, times, strict=True):
        vehicle = message.find("vehicle")
        for item in vehicle.fields if vehicle else ():
            known = _VEHICLE.get(item.name)
            if known is not None:
                add(*known, t_ns, item.value if isinstance(item.value, (int, float)) else None)
        probes = message.find("probes")
        number = 0
        for item in probes.fields if probes else ():
            if item.name.endswith(".probes") and isinstance(item.value, tuple):
                for value in item.value:
                    number += 1
                    add(f"CellTemp_{number:02d}", "degC", t_ns, value)
    merged = merge_cells(messages)
    sizes: dict[int, int] = {}
    for (_, subsystem), cells in merged.items():
        sizes[subsystem] = max(sizes.get(subsystem, 0), len(cells))
    starts = {}
    total = 0
    for subsystem in sorted(sizes):
        starts[subsystem], total = total, total + sizes[subsystem]
    for (time, subsystem), cells in sorted(merged.items(), key=lambda item: item[0]):
        for at, value in enumerate(cells, start=starts[subsystem] + 1):
            add(f"CellVoltage_{at:03d}", "V", int(time.timestamp()) * 1_000_000_000, value)
    series = {name: _series(name, unit, values) for name, (unit, values) in samples.items()}
    report = battery_report(series, source="telematics:gbt32960", limits=limits_for(vin)) if series else None
    battery, findings = (report.state, report.findings) if report is not None else (None, ())
    outlook = look_ahead(_daily(series))
    return ReportedBattery(vin, len(messages), min(times), max(times), battery, findings, outlook)


def _daily(series: Mapping[str, Series]) -> list[tuple[int, dict[str, float | None]]]:
    """The figures of each day (UTC) on which there were reports."""
    days = sorted({int(day) for item in series.values() for day in np.unique(item.t_ns // _DAY_NS)})
    if len(days) < _FEWEST_DAYS:
        return []
    found = []
    for day in days:
        part = {}
        for name, item in series.items():
            rows = item.t_ns // _DAY_NS == day
            if rows.any():
                part[name] = Series(item.name, item.unit, item.t_ns[rows], item.values[rows], item.valid[rows])
        if report := battery_report(part, source="telematics:gbt32960"):
            found.append((day * _DAY_NS + _DAY_NS // 2, report.figures))
    return found


_DAY_NS: Final = 86_400_000_000_000
_FEWEST_DAYS: Final = 4


def _ns(message: TelematicsMessage) -> int:
    return int(message.time.timestamp()) * 1_000_000_000 if message.time else 0


def _series(name: str, unit: str, values: list[tuple[int, float | None]]) -> Series:
    ordered = sorted(values, key=lambda pair: pair[0])
    return Series(
        name,
        unit,
        np.array([t_ns for t_ns, _ in ordered], dtype=np.int64),
        np.array([np.nan if value is None else value for _, value in ordered], dtype=np.float64),
        np.array([value is not None for _, value in ordered]),
    )
