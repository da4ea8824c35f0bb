"""The values that travel: what a scan found, as frozen dataclasses with their JSON.

Nothing here talks to anything. The report that holds them is in :mod:`diag.vehiclereport`, live samples are in
:mod:`diag.samples`. "Not received" and "not available" are ``None``, never 0. Times are integer nanoseconds; UTC (Unix
epoch) where a person or a file sees them. JSON follows the command line's contract (``huizhen.scan/1``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "STATUS_BITS",
    "BatteryState",
    "Dtc",
    "DtcChange",
    "DtcKind",
    "DtcStatus",
    "EcuRole",
    "Evidence",
    "Finding",
    "FreezeFrame",
    "Json",
    "Reading",
    "Rejected",
    "Severity",
    "Text",
    "hex_from_bytes",
    "hex_from_id",
    "iso_from_ns",
]

Json = dict[str, Any]


def iso_from_ns(t_ns: int) -> str:
    """UTC nanoseconds since the Unix epoch as ISO 8601 with milliseconds and ``Z``."""
    stamp = datetime.fromtimestamp(t_ns // 1_000_000_000, tz=UTC)
    return f"{stamp:%Y-%m-%dT%H:%M:%S}.{t_ns // 1_000_000 % 1000:03d}Z"


def hex_from_bytes(data: bytes) -> str:
    """Bytes as upper-case hex without separators."""
    return data.hex().upper()


def hex_from_id(can_id: int) -> str:
    """A CAN identifier as people write it: ``0x7E8``, ``0x18DAF110``."""
    return f"0x{can_id:03X}" if can_id <= 0x7FF else f"0x{can_id:08X}"


class Severity(StrEnum):
    """What the driver or technician has to do about it, most urgent first."""

    STOP = "stop"
    SOON = "soon"
    MONITOR = "monitor"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 for the most urgent."""
        return list(Severity).index(self)


class EcuRole(StrEnum):
    """The job of an ECU, whatever its maker calls it."""

    VCU = "vcu"
    BMS = "bms"
    CHARGER = "charger"
    INVERTER = "inverter"
    ENGINE = "engine"
    TRANSMISSION = "transmission"
    BRAKES = "brakes"
    BODY = "body"
    GATEWAY = "gateway"
    DCDC = "dcdc"
    THERMAL = "thermal"
    STEERING = "steering"
    TYRES = "tyres"
    CLUSTER = "cluster"
    AIRBAG = "airbag"
    TELEMATICS = "telematics"
    UNKNOWN = "unknown"


class DtcKind(StrEnum):
    """In which list of the ECU a code stands."""

    STORED = "stored"
    PENDING = "pending"
    PERMANENT = "permanent"


@dataclass(frozen=True, slots=True)
class Text:
    """One sentence in both languages."""

    en: str
    zh: str

    def __str__(self) -> str:
        return self.en

    def in_language(self, lang: str) -> str:
        """The sentence in ``zh`` or, for any other language, English."""
        return self.zh if lang == "zh" else self.en

    def to_json(self) -> Json:
        """``{"en", "zh"}``."""
        return {"en": self.en, "zh": self.zh}


STATUS_BITS: Final = (
    "testFailed",
    "testFailedThisOperationCycle",
    "pendingDTC",
    "confirmedDTC",
    "testNotCompletedSinceLastClear",
    "testFailedSinceLastClear",
    "testNotCompletedThisOperationCycle",
    "warningIndicatorRequested",
)
"""Bit 0 first. Standard: ISO 14229-1:2020 Annex D.2."""


@dataclass(frozen=True, slots=True)
class DtcStatus:
    """The DTC status byte with the ECU's availability mask.

    Args:
        mask: the status byte as received.
        available: DTCStatusAvailabilityMask; bits that are 0 in it are not implemented by the ECU and read as false.
            A mask of 00 beside a record contradicts itself (the ECU would support no bit of what it reports), so
            the status byte is believed as it came.

    Standard: ISO 14229-1:2020 Annex D.2.
    """

    mask: int
    available: int = 0xFF

    @property
    def effective(self) -> int:
        """The bits that the ECU really supports."""
        return self.mask & (self.available or 0xFF)

    def bit(self, name: str) -> bool:
        """One of :data:`STATUS_BITS` by its name."""
        return bool(self.effective >> STATUS_BITS.index(name) & 1)

    @property
    def failing_now(self) -> bool:
        """testFailed."""
        return self.bit("testFailed")

    @property
    def confirmed(self) -> bool:
        """confirmedDTC."""
        return self.bit("confirmedDTC")

    @property
    def pending(self) -> bool:
        """pendingDTC."""
        return self.bit("pendingDTC")

    @property
    def is_fault(self) -> bool:
        """Failing, pending or confirmed: something beyond "not tested yet" or plain history."""
        return bool(self.effective & 0x0D)

    def to_json(self) -> Json:
        """The mask as received in hex and the eight names of the standard."""
        return {"mask": f"0x{self.mask:02X}", **{name: self.bit(name) for name in STATUS_BITS}}


@dataclass(frozen=True, slots=True)
class Dtc:
    """One diagnostic trouble code, whichever standard it came in.

    Args:
        code: ``P0AA6``, or ``SPN 5464 FMI 3`` for J1939.
        raw: the bytes of this record as received (code, and failure type and status where they came).
        ecu: the ECU's response address, ``0x7EC``; None when decoded without a link.
        failure_type: the failure type byte as two hex digits (ISO 15031-6 / J2012-DA), None when the format has none.
        text_source: where the text is from (``generic``, ``maker:…``, ``none``).
    """

    code: str
    raw: bytes
    ecu: str | None = None
    failure_type: str | None = None
    status: DtcStatus | None = None
    kind: tuple[DtcKind, ...] = ()
    spn: int | None = None
    fmi: int | None = None
    occurrences: int | None = None
    text: Text | None = None
    text_source: str = "none"
    severity: Severity = Severity.SOON

    @property
    def display(self) -> str:
        """``P0AA6-1A``; without the failure type where there is none."""
        return self.code if self.failure_type in (None, "00") else f"{self.code}-{self.failure_type}"

    @property
    def is_fault(self) -> bool:
        """The ECU holds it against the car: by its status, or because an OBD list (03, 07, 0A) names it.

        History that only the status tells ("failed since last clear") is none; a record without status is one.
        """
        return self.status is None or self.status.is_fault or bool(self.kind)

    def to_json(self) -> Json:
        """DTC of the command line's contract."""
        return {
            "code": self.code,
            "failure_type": self.failure_type,
            "display": self.display,
            "ecu": self.ecu,
            "status": self.status.to_json() if self.status else None,
            "kind": [kind.value for kind in self.kind],
            "spn": self.spn,
            "fmi": self.fmi,
            "occurrences": self.occurrences,
            "text": self.text.to_json() if self.text else None,
            "text_source": self.text_source,
            "severity": self.severity.value,
            "raw": hex_from_bytes(self.raw),
        }


@dataclass(frozen=True, slots=True)
class DtcChange:
    """A code that came, went, or changed its status during a session; ``before`` or ``after`` None = it was not there.

    ``t_ns`` is UTC, when the change was seen.
    """

    t_ns: int
    ecu: str
    code: str
    before: DtcStatus | None
    after: DtcStatus | None

    @property
    def bits(self) -> dict[str, bool]:
        """Names of the bits that changed, with what they are now."""
        old = self.before.effective if self.before else 0
        new = self.after.effective if self.after else 0
        return {name: bool(new >> at & 1) for at, name in enumerate(STATUS_BITS) if (old ^ new) >> at & 1}

    def to_json(self) -> Json:
        """One entry of ``dtc_changes``."""
        return {
            "t": iso_from_ns(self.t_ns),
            "ecu": self.ecu,
            "code": self.code,
            "before": f"0x{self.before.mask:02X}" if self.before else None,
            "after": f"0x{self.after.mask:02X}" if self.after else None,
            "bits": self.bits,
        }


@dataclass(frozen=True, slots=True)
class Reading:
    """One physical value with its raw bytes; ``value`` is None when the ECU gave none."""

    name: str
    value: float | int | str | None
    unit: str = ""
    raw: bytes = b""
    text: Text | None = None

    def to_json(self) -> Json:
        """Name, value, unit, raw hex, and the text where there is one."""
        out: Json = {"name": self.name, "value": self.value, "unit": self.unit, "raw": hex_from_bytes(self.raw)}
        if self.text:
            out["text"] = self.text.to_json()
        return out


@dataclass(frozen=True, slots=True)
class FreezeFrame:
    """What the ECU kept of the moment a code was set: a snapshot or extended data record.

    ``readings`` are the parts that could be decoded; ``raw`` is the whole record.
    """

    ecu: str
    code: str
    record: int
    raw: bytes
    readings: tuple[Reading, ...] = ()
    source: str = "uds-snapshot"

    def to_json(self) -> Json:
        """One entry of ``freeze_frames``."""
        return {
            "ecu": self.ecu,
            "code": self.code,
            "record": self.record,
            "source": self.source,
            "readings": [reading.to_json() for reading in self.readings],
            "raw": hex_from_bytes(self.raw),
        }


@dataclass(frozen=True, slots=True)
class Rejected:
    """A signal whose readings were not believed, and how many."""

    signal: str
    why: Text
    n: int

    def to_json(self) -> Json:
        """One entry of ``rejected``."""
        return {"signal": self.signal, "why": self.why.to_json(), "n": self.n}


@dataclass(frozen=True, slots=True)
class BatteryState:
    """The traction battery as its broadcast frames (or readings) describe it.

    Args:
        cell_v: volts per cell in pack order, None where unseen or invalid.
        temperatures_c: degrees Celsius per probe.
        cell_signals: the signal of each cell, empty where no signal carries that number.
        cell_labels: each cell's number in the car's own counting (``0`` …, module and cell ``2-3``).
        features: named figures for the case library (``spread_mv``, ``weakest_z`` …), None = not measurable.
        weakest_cell: the lowest cell, None when none stands out of the usual scatter.
        source: ``broadcast:<database>`` or ``none``.
        soh: state of health as ``{"percent", "interval", "method"}``, None where it is not known.
    """

    cell_v: tuple[float | None, ...]
    temperatures_c: tuple[float | None, ...] = ()
    pack_v: float | None = None
    current_a: float | None = None
    soc_percent: float | None = None
    insulation_kohm: float | None = None
    weakest_cell: int | None = None
    weakest_why: Text | None = None
    features: Mapping[str, float | None] = field(default_factory=dict)
    rejected: tuple[Rejected, ...] = ()
    source: str = "none"
    cell_signals: tuple[str, ...] = ()
    cell_labels: tuple[str, ...] = ()
    soh: Mapping[str, Any] | None = None

    def cell_label(self, cell: int) -> str:
        """How the car itself counts cell ``cell`` (counted from 1 in pack order)."""
        return self.cell_labels[cell - 1] if cell <= len(self.cell_labels) else str(cell)

    @property
    def spread_mv(self) -> float | None:
        """Highest minus lowest valid cell voltage in millivolts."""
        seen = [volts for volts in self.cell_v if volts is not None]
        return round((max(seen) - min(seen)) * 1000, 3) if len(seen) > 1 else None

    def to_json(self) -> Json:
        """``battery`` of a scan. Cells count from 1."""
        return {
            "source": self.source,
            "cells": len(self.cell_v),
            "cell_v": list(self.cell_v),
            "cell_labels": list(self.cell_labels),
            "temperatures_c": list(self.temperatures_c),
            "pack_v": self.pack_v,
            "current_a": self.current_a,
            "weakest": None
            if self.weakest_cell is None
            else {"cell": self.weakest_cell, "why": self.weakest_why.to_json() if self.weakest_why else None},
            "spread_mv": self.spread_mv,
            "soc": self.soc_percent,
            "soh": dict(self.soh) if self.soh else None,
            "insulation_kohm": self.insulation_kohm,
            "features": dict(self.features),
            "rejected": [rejected.to_json() for rejected in self.rejected],
        }


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a finding rests on: a code, a signal, an identification field.

    Args:
        kind: ``dtc``, ``signal``, ``identification``, ``silence``.
        ref: what to look at (``0x7EC P0AA6-1A``, ``CellVoltage_017``).
        text: the observation in words.
    """

    kind: str
    ref: str
    text: Text
    value: float | None = None
    unit: str = ""

    def to_json(self) -> Json:
        """One entry of a finding's ``evidence``."""
        return {
            "kind": self.kind,
            "ref": self.ref,
            "text": self.text.to_json(),
            "value": self.value,
            "unit": self.unit,
        }


@dataclass(frozen=True, slots=True)
class Finding:
    """A statement about the car that a technician can act on and an expert can check.

    ``safety`` holds the high-voltage steps where a person could be hurt, in order.
    """

    code: str
    severity: Severity
    title: Text
    evidence: tuple[Evidence, ...]
    safety: tuple[Text, ...] = ()

    @property
    def is_fast_lane(self) -> bool:
        """Dangerous (heat, isolation, loss of drive): it goes before everything else, in rooms and queues too."""
        return self.severity is Severity.STOP

    def to_json(self) -> Json:
        """One entry of ``findings``."""
        return {
            "code": self.code,
            "severity": self.severity.value,
            "title": self.title.to_json(),
            "evidence": [item.to_json() for item in self.evidence],
            "safety": [step.to_json() for step in self.safety],
            "fast_lane": self.is_fast_lane,
        }


@dataclass(frozen=True, slots=True)
class Cause:
    """What may be broken, behind the findings of a visit.

    Args:
        code: of the table of causes.
        trouble: causes of one trouble are rivals and explain the same; those of another may be true besides.
        odds: 0..1 against its rivals; an order, no calibrated probability.
        is_likely: it stands clearly before the others.
        because: codes and findings that speak for it.
    """

    code: str
    title: Text
    trouble: int
    odds: float
    is_likely: bool
    because: tuple[Evidence, ...]

    def to_json(self) -> Json:
        """One entry of ``causes``."""
        return {
            "code": self.code,
            "title": self.title.to_json(),
            "trouble": self.trouble,
            "odds": round(self.odds, 3),
            "likely": self.is_likely,
            "because": [item.to_json() for item in self.because],
        }
