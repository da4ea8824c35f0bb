"""What one visit found out: the car, the way to it, the ECUs that answered and those that did not, and the report.

JSON follows the command line's contract (``huizhen.scan/1``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from diag.facts import EcuRole, iso_from_ns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diag.facts import BatteryState, Cause, Dtc, DtcChange, Finding, FreezeFrame, Json, Severity, Text

__all__ = ["Ecu", "LinkInfo", "Unanswered", "Vehicle", "VehicleReport"]


@dataclass(frozen=True, slots=True)
class Ecu:
    """One ECU that answered.

    Args:
        address: response address as text, ``0x7EC``.
        request_address: where to ask it physically.
        protocol: ``obd2``, ``uds`` or ``obd2+uds``.
        identification: field's standard term -> text, e.g. ``systemName``, ``vehicleManufacturerECUSoftwareVersion``.
        codes_read: its fault codes were asked and it answered; without that its silence is no evidence of health.
    """

    address: str
    request_address: str
    name: str = ""
    role: EcuRole = EcuRole.UNKNOWN
    protocol: str = ""
    identification: Mapping[str, str] = field(default_factory=dict)
    codes_read: bool = True

    def to_json(self) -> Json:
        """One entry of ``ecus``."""
        return {
            "address": self.address,
            "request_address": self.request_address,
            "name": self.name,
            "role": self.role.value,
            "protocol": self.protocol,
            "identification": dict(self.identification),
            "answered": True,
            "codes_read": self.codes_read,
        }


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Something that was asked, or expected, and stayed silent."""

    address: str
    why: Text
    role: EcuRole = EcuRole.UNKNOWN

    def to_json(self) -> Json:
        """One entry of ``unanswered``."""
        return {"address": self.address, "why": self.why.to_json(), "role": self.role.value}


@dataclass(frozen=True, slots=True)
class Vehicle:
    """Which car this is. ``vin_valid`` is None without a VIN, else syntax and check digit; it never refuses a car."""

    vin: str | None = None
    vin_valid: bool | None = None
    make: str | None = None
    model: str | None = None
    model_year: int | None = None
    note: Text | None = None

    def to_json(self) -> Json:
        """``vehicle``."""
        return {
            "vin": self.vin,
            "vin_valid": self.vin_valid,
            "make": self.make,
            "model": self.model,
            "model_year": self.model_year,
            "note": self.note.to_json() if self.note else None,
        }


@dataclass(frozen=True, slots=True)
class LinkInfo:
    """Through what the car was reached."""

    interface: str
    channel: str
    bitrate: int | None = None
    simulated: bool = False

    def to_json(self) -> Json:
        """``link``."""
        return {
            "interface": self.interface,
            "channel": self.channel,
            "bitrate": self.bitrate,
            "simulated": self.simulated,
        }


@dataclass(frozen=True, slots=True)
class VehicleReport:
    """Everything one visit found out.

    Args:
        started_ns: UTC nanoseconds since the Unix epoch.
        complete: False when the visit was cut short, or the codes of an ECU that is there could not be read.
        dtc_changes: codes that came, went or changed their status while the car was read.
        notes: what a person should know about this reading (e.g. that a gateway hides the broadcast frames).
    """

    started_ns: int
    duration_s: float
    complete: bool
    simulated: bool
    link: LinkInfo
    vehicle: Vehicle
    ecus: tuple[Ecu, ...] = ()
    dtcs: tuple[Dtc, ...] = ()
    freeze_frames: tuple[FreezeFrame, ...] = ()
    readiness: Mapping[str, Any] = field(default_factory=dict)
    battery: BatteryState | None = None
    findings: tuple[Finding, ...] = ()
    causes: tuple[Cause, ...] = ()
    unanswered: tuple[Unanswered, ...] = ()
    notes: tuple[Text, ...] = ()
    dtc_changes: tuple[DtcChange, ...] = ()

    @property
    def read(self) -> tuple[str, ...]:
        """Roles of the ECUs whose codes were read, sorted, without ``unknown``."""
        return tuple(sorted({ecu.role.value for ecu in self.ecus if ecu.codes_read} - {EcuRole.UNKNOWN.value}))

    def _repr_html_(self) -> str:
        """What a notebook shows of it: findings, then codes that stand, most urgent first, in both languages."""
        from html import escape

        told: list[tuple[Severity, str, Text | None]] = [(one.severity, one.code, one.title) for one in self.findings]
        codes = [(one.severity, f"{one.display} {one.ecu or ''}", one.text) for one in self.dtcs if one.is_fault]
        lines = [row for listed in (told, codes) for row in sorted(listed, key=lambda row: row[0].rank)]
        rows = "".join(
            f"<tr><td>{severity}</td><td>{escape(code)}</td>"
            f"<td>{escape(f'{text.en} · {text.zh}' if text else '')}</td></tr>"
            for severity, code, text in lines
        )
        car = escape(" ".join(str(part) for part in (self.vehicle.make, self.vehicle.model_year) if part) or "?")
        marks = ", ".join(
            word for word, is_so in (("simulated", self.simulated), ("incomplete", not self.complete)) if is_so
        )
        return f"<p>{car}, {len(self.ecus)} ECU{f', {marks}' if marks else ''}</p><table>{rows}</table>"

    def to_json(self) -> Json:
        """``huizhen.scan/1`` without ``cases``, which the application adds."""
        return {
            "schema": "huizhen.scan/1",
            "started": iso_from_ns(self.started_ns),
            "duration_s": round(self.duration_s, 3),
            "complete": self.complete,
            "simulated": self.simulated,
            "link": self.link.to_json(),
            "vehicle": self.vehicle.to_json(),
            "ecus": [ecu.to_json() for ecu in self.ecus],
            "dtcs": [dtc.to_json() for dtc in self.dtcs],
            "freeze_frames": [frame.to_json() for frame in self.freeze_frames],
            "readiness": dict(self.readiness),
            "battery": self.battery.to_json() if self.battery else None,
            "findings": [finding.to_json() for finding in self.findings],
            "causes": [cause.to_json() for cause in self.causes],
            "unanswered": [item.to_json() for item in self.unanswered],
            "notes": [note.to_json() for note in self.notes],
            "read": list(self.read),
            "dtc_changes": [change.to_json() for change in self.dtc_changes],
        }
