"""The car without its name: reports as an expert may see them.

The vehicle identification number leads to a person, so an expert sees its maker's part and its last four characters.
It hides in more places than one: ECUs give it as identification, and raw answers hold it as hex.
"""

from __future__ import annotations

import re
from typing import Any, Final, cast

__all__ = ["pseudonym_from_vin", "redact_report", "vins_of_report"]

_VIN: Final = re.compile(r"[A-HJ-NPR-Z0-9]{17}", re.IGNORECASE)


def pseudonym_from_vin(vin: str) -> str:
    """``LHZ…1234``: who built it and which of the cars at hand it is, and no more."""
    return f"{vin[:3]}…{vin[-4:]}"


def vins_of_report(report: dict[str, Any]) -> tuple[str, ...]:
    """Every VIN that a ``huizhen.scan/1`` object names: the car's own, and those its ECUs claim."""
    found: set[str] = set()
    vehicle = report.get("vehicle")
    if isinstance(vehicle, dict) and isinstance(vehicle.get("vin"), str) and vehicle["vin"]:
        found.add(vehicle["vin"])
    ecus = report.get("ecus")
    for ecu in ecus if isinstance(ecus, list) else []:
        fields = ecu.get("identification") if isinstance(ecu, dict) else None
        for key, value in fields.items() if isinstance(fields, dict) else []:
            if isinstance(value, str) and "vin" in key.lower() and _VIN.fullmatch(value):
                found.add(value)
    return tuple(sorted(found, key=len, reverse=True))


def redact_report(report: dict[str, Any]) -> dict[str, Any]:
    """A copy in which no VIN stands, neither as text nor as the hex of its characters."""
    patterns: list[tuple[re.Pattern[str], str]] = []
    for vin in vins_of_report(report):
        patterns.append((re.compile(re.escape(vin), re.IGNORECASE), pseudonym_from_vin(vin)))
        patterns.append((re.compile(vin.encode().hex(), re.IGNORECASE), "…"))

    def walk(value: Any) -> Any:
        if isinstance(value, str):
            for pattern, instead in patterns:
                value = pattern.sub(instead, value)
            return value
        if isinstance(value, dict):
            return {walk(key): walk(child) for key, child in value.items()}
        if isinstance(value, list):
            return [walk(child) for child in value]
        return value

    return cast("dict[str, Any]", walk(report))
