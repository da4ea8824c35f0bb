"""The ECUs of a report, as targets: the only ones that may be asked for from afar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from diag.addressing import Target

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ecus_from_report", "names_from_report", "targets_from_report"]


def ecus_from_report(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Its entries, as far as they are such."""
    entries = report.get("ecus")
    return [one for one in entries if isinstance(one, dict)] if isinstance(entries, list) else []


def targets_from_report(report: Mapping[str, Any]) -> dict[str, Target]:
    """Address as the report writes it -> where it is asked, for the ECUs on CAN that speak OBD or UDS.

    What makes no sense in the report is left out: it comes from another machine.
    """
    found: dict[str, Target] = {}
    for ecu in ecus_from_report(report):
        protocols = str(ecu.get("protocol") or "uds").split("+")
        if not {"obd2", "uds"} & set(protocols):
            continue
        try:
            request_id, response_id = int(str(ecu["request_address"]), 16), int(str(ecu["address"]), 16)
            target = Target.physical(request_id, response_id)
        except (KeyError, ValueError):
            continue
        if target.address == ecu["address"]:
            found[target.address] = target
    return found


def names_from_report(report: Mapping[str, Any]) -> dict[str, str]:
    """Address -> name of the ECU, where it has one."""
    return {str(ecu.get("address")): str(ecu.get("name") or "") for ecu in ecus_from_report(report)}
