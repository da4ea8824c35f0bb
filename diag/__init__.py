"""Talks to the vehicle and judges it: links, transports, protocols, scan, battery, findings.

::

    async with diag.connect("socketcan", "can0") as car:
        report = await diag.scan(car)

The names below are loaded when they are first used, so that ``import diag`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from diag.adapters import Candidate, find_adapters
    from diag.carscan import scan
    from diag.connection import Link, Place, connect, listen, read
    from diag.errors import BadInput, DiagError, LinkLost, NoAdapter, NoAnswer, RefusedByPolicy
    from diag.facts import BatteryState, Dtc, Finding, Severity, Text
    from diag.readings import ReadOut
    from diag.vehiclereport import VehicleReport
    from diag.vss import vss_from_report

__all__ = [
    "BadInput",
    "BatteryState",
    "Candidate",
    "DiagError",
    "Dtc",
    "Finding",
    "Link",
    "LinkLost",
    "NoAdapter",
    "NoAnswer",
    "Place",
    "ReadOut",
    "RefusedByPolicy",
    "Severity",
    "Text",
    "VehicleReport",
    "connect",
    "find_adapters",
    "listen",
    "read",
    "scan",
    "vss_from_report",
]

_HOME: Final = {
    **dict.fromkeys(("Candidate", "find_adapters"), "diag.adapters"),
    "scan": "diag.carscan",
    **dict.fromkeys(("Link", "Place", "connect", "listen", "read"), "diag.connection"),
    **dict.fromkeys(("BadInput", "DiagError", "LinkLost", "NoAdapter", "NoAnswer", "RefusedByPolicy"), "diag.errors"),
    **dict.fromkeys(("BatteryState", "Dtc", "Finding", "Severity", "Text"), "diag.facts"),
    "ReadOut": "diag.readings",
    "VehicleReport": "diag.vehiclereport",
    "vss_from_report": "diag.vss",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'diag' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
