"""The whole line against the simulated car: for each fault the right statement, for a healthy car none."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

import virtualbus
from casebase.library import Library
from casebase.query import Query
from diag.canbus import open_can
from diag.carscan import scan
from diag.errors import NoAnswer
from diag.facts import Severity
from diag.guard import TransmitGuard

if TYPE_CHECKING:
    from pathlib import Path

    from diag.vehiclereport import VehicleReport

READING_SERVICES = {0x01, 0x02, 0x03, 0x06, 0x07, 0x09, 0x0A, 0x10, 0x19, 0x22, 0x24, 0x3E}


async def scan_car(scenario: str, seed: int) -> tuple[VehicleReport, TransmitGuard]:
    guard = TransmitGuard()
    with virtualbus.running(scenario, seed=seed) as car:
        async with await open_can(car.interface, car.channel, guard=guard) as link:
            return await scan(link), guard


FAULTS = {
    "weak-cell": ("battery.cell-weak", Severity.SOON, {"P0DE6-16"}, "weak-cell"),
    "sampling-line": ("battery.sampling-line", Severity.SOON, {"P0B3C-64"}, "sampling-line"),
    "isolation": ("insulation.low", Severity.STOP, {"P0AA6-1A"}, "isolation-coolant-water"),
    "lost-bms": ("network.ecu-silent", Severity.STOP, {"U0111-87"}, "bms-communication-lost"),
    "software-mismatch": ("software.incompatible", Severity.SOON, {"U0312-57"}, "bms-software-mismatch"),
}


@pytest.mark.parametrize("seed", [1, 20261123])
@pytest.mark.parametrize("scenario", FAULTS)
async def test_each_fault_is_named_and_its_fix_comes_first(scenario: str, seed: int, tmp_path: Path) -> None:
    finding, severity, codes, fix = FAULTS[scenario]
    report, _ = await scan_car(scenario, seed)
    assert report.complete
    assert report.simulated
    assert [(item.code, item.severity) for item in report.findings] == [(finding, severity)]
    assert codes <= {dtc.display for dtc in report.dtcs}
    with Library.open(tmp_path / "cases.db", create=True) as library:
        cases = library.find(Query.from_report(report))
    assert cases.matches[0].source_id == fix
    because = " ".join(reason.text.en for reason in cases.matches[0].because)
    assert any(code in because for code in codes)
    for code in codes:
        assert any(frame.code == code and frame.readings for frame in report.freeze_frames)


@pytest.mark.parametrize("seed", range(1, 5))
async def test_a_healthy_car_is_left_alone(seed: int, tmp_path: Path) -> None:
    report, guard = await scan_car("healthy", seed)
    assert report.findings == ()
    assert [dtc for dtc in report.dtcs if dtc.status and dtc.status.is_fault] == []
    assert report.unanswered == ()
    assert len(report.ecus) == 12
    assert report.vehicle.vin_valid
    assert report.battery is not None
    assert all(volts is not None for volts in report.battery.cell_v)
    with Library.open(tmp_path / "cases.db", create=True) as library:
        cases = library.find(Query.from_report(report))
    assert cases.verdict.value == "none"
    assert cases.matches == ()
    sent = {entry.data[0] for entry in guard.log if entry.is_allowed and entry.stage == "request"}
    assert sent
    assert sent <= READING_SERVICES


async def test_a_silent_bus_is_no_healthy_car() -> None:
    async with await open_can("virtual", "scan-silent", guard=TransmitGuard()) as link:
        with pytest.raises(NoAnswer):
            await scan(link, listen_s=0.1, timeout_s=0.05)


async def test_an_interrupted_scan_keeps_what_it_has() -> None:
    with virtualbus.running("isolation", seed=3) as car:
        async with await open_can(car.interface, car.channel, guard=TransmitGuard()) as link:
            kept: list[VehicleReport] = []
            task = asyncio.create_task(scan(link, listen_s=30.0, keep=kept.append))
            await asyncio.sleep(4.0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    (report,) = kept
    assert not report.complete
    assert {ecu.address for ecu in report.ecus} >= {"0x7E8", "0x7E9", "0x7EC", "0x7ED"}
    assert report.findings[0].code == "insulation.low"
    assert json.loads(json.dumps(report.to_json()))["complete"] is False
