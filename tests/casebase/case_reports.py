"""Hand-built reports of the five simulated faults, as the scan of the EV400 should bring them."""

from __future__ import annotations

from diag.facts import BatteryState, Dtc, DtcStatus, EcuRole, Finding, Severity, Text
from diag.vehiclereport import Ecu, LinkInfo, Unanswered, Vehicle, VehicleReport

ADDRESSES = {"vcu": "0x7E8", "inverter": "0x7E9", "bms": "0x7EC", "charger": "0x7ED"}
HEALTHY = {
    "spread_mv": 14.0,
    "cell_low_mv": 7.0,
    "cell_low_z": 2.2,
    "cell_high_mv": 6.0,
    "neighbour_opposition_mv": 5.0,
    "insulation_ohm_per_v": 5200.0,
    "temp_max_c": 28.0,
    "temp_spread_k": 2.0,
    "sum_mismatch_v": 0.2,
}
WEAK = {"spread_mv": 190.0, "cell_low_mv": 175.0, "cell_low_z": 21.0}
CROSSED = {
    "spread_mv": 420.0,
    "cell_low_mv": 210.0,
    "cell_high_mv": 208.0,
    "neighbour_opposition_mv": 208.0,
    "cell_low_z": 30.0,
}


def code(display: str, role: str, mask: int = 0x2F) -> Dtc:
    name, _, failure = display.partition("-")
    return Dtc(name, b"", ADDRESSES[role], failure or None, DtcStatus(mask))


def finding(name: str) -> Finding:
    return Finding(name, Severity.SOON, Text(f"{name} found", f"发现 {name}"), ())


def report(
    *dtcs: Dtc,
    features: dict[str, float | None] | None = None,
    findings: tuple[str, ...] = (),
    silent: tuple[str, ...] = (),
    simulated: bool = True,
    vehicle: Vehicle | None = None,
) -> VehicleReport:
    """A report of the four ECUs; ``features`` None means that no battery frames were seen."""
    return VehicleReport(
        started_ns=1_790_000_000_000_000_000,
        duration_s=3.0,
        complete=not silent,
        simulated=simulated,
        link=LinkInfo("virtual", "demo", 500_000, simulated),
        vehicle=vehicle or Vehicle(),
        ecus=tuple(
            Ecu(address, "0x7E0", role.upper(), EcuRole(role))
            for role, address in ADDRESSES.items()
            if role not in silent
        ),
        dtcs=dtcs,
        battery=None if features is None else BatteryState((), features={**HEALTHY, **features}),
        findings=tuple(finding(name) for name in findings),
        unanswered=tuple(Unanswered(ADDRESSES[role], Text("no answer", "无应答"), EcuRole(role)) for role in silent),
    )


def healthy() -> VehicleReport:
    return report(code("P0AA6-1A", "bms", 0x50), features={})


def weak_cell() -> VehicleReport:
    return report(
        code("P0DE6-16", "bms"),
        code("P0BBD-85", "bms"),
        features=WEAK,
        findings=("battery.cell-weak", "battery.spread", "dtc.confirmed"),
    )


def sampling_line() -> VehicleReport:
    return report(
        code("P0B3C-64", "bms"),
        code("P0BBD-85", "bms"),
        features=CROSSED,
        findings=("battery.sampling-line", "battery.spread", "dtc.confirmed"),
    )


def isolation() -> VehicleReport:
    return report(
        code("P0AA6-1A", "bms"), features={"insulation_ohm_per_v": 62.0}, findings=("insulation.low", "dtc.confirmed")
    )


def lost_bms() -> VehicleReport:
    return report(
        code("U0111-87", "vcu"),
        code("U0111-87", "inverter"),
        code("U0111-87", "charger"),
        findings=("network.ecu-silent", "dtc.confirmed"),
        silent=("bms",),
    )


def software_mismatch() -> VehicleReport:
    return report(code("U0312-57", "vcu"), features={}, findings=("software.incompatible", "dtc.confirmed"))
