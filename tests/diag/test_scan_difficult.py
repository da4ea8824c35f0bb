"""Cars that make a scan difficult: what could not be read is said, and never taken for health."""

from __future__ import annotations

import asyncio
import itertools
import os
import pty
import tty
from typing import TYPE_CHECKING

import pytest
from scripted_ecu import Rig, ScriptedEcu, answers_from_table

from diag.canbus import open_can
from diag.carscan import scan
from diag.errors import LinkLost, NoAnswer
from diag.facts import Severity
from diag.guard import TransmitGuard

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diag.vehiclereport import VehicleReport

_channels = itertools.count()
VIN = "LHZEV4D07RA775411"
F190 = "62F190" + VIN.encode().hex().upper()
ISOLATION = "5902FF0AA61A2F"


def ecu(request_id: int, table: Mapping[str, str | list[str]], *, default: str | None = "11") -> ScriptedEcu:
    """An ECU by table; ``default`` is the NRC for everything else, None = silence."""
    known = answers_from_table(table)

    def script(request: bytes) -> list[bytes]:
        if request.hex().upper() in table:
            return known(request)
        return [] if default is None else [bytes([0x7F, request[0], int(default, 16)])]

    response = request_id + 8 if request_id < 0x800 else 0x18DAF100 | request_id >> 8 & 0xFF
    return ScriptedEcu(request_id, response, script)


async def scan_ecus(*ecus: ScriptedEcu, timeout_s: float | None = None) -> VehicleReport:
    channel = f"difficult-{next(_channels)}"
    with Rig(channel, *ecus):
        async with await open_can("virtual", channel, guard=TransmitGuard()) as link:
            return await scan(link, listen_s=0.1, timeout_s=timeout_s)


async def test_codes_are_asked_of_an_ecu_that_knows_no_identification() -> None:
    report = await scan_ecus(ecu(0x7E4, {"3E00": "7E00", "1902AF": ISOLATION, "22F190": F190}, default=None))
    assert [dtc.display for dtc in report.dtcs] == ["P0AA6-1A"]
    assert report.vehicle.vin == VIN
    assert [finding.code for finding in report.findings] == ["insulation.low"]
    assert report.complete


@pytest.mark.parametrize("refusal", ["7F1922", "7F1978"])
async def test_a_refusal_of_the_codes_is_said_and_proves_no_health(refusal: str) -> None:
    table = {"3E00": "7E00", "1902AF": refusal, "22F197": "62F197424D53"}
    report = await scan_ecus(ecu(0x7E4, table), timeout_s=0.2)
    assert not report.complete
    assert report.findings == ()
    assert {item.address for item in report.unanswered} == {"0x7EC"}
    assert all("fault codes" in item.why.en and "故障码" in item.why.zh for item in report.unanswered)
    assert report.read == ()


async def test_an_ecu_that_dies_after_the_greeting_is_no_healthy_ecu() -> None:
    report = await scan_ecus(ecu(0x7E0, {"0100": "410080000001", "3E00": "7E00"}, default=None), timeout_s=0.1)
    assert not report.complete
    assert any("could not be read" in item.why.en for item in report.unanswered)
    assert [entry.codes_read for entry in report.ecus] == [False]


async def test_an_ecu_deaf_to_functional_requests_is_asked_obd_as_well() -> None:
    table = {"3E00": "7E00", "0100": "410080000000", "03": "43010AA6", "07": "4700", "0A": "4A00"}
    deaf = ecu(0x7E3, table)
    feed = deaf.feed
    deaf.feed = lambda message: None if message.arbitration_id == 0x7DF else feed(message)  # type: ignore[method-assign]
    report = await scan_ecus(deaf)
    assert [(dtc.code, dtc.ecu) for dtc in report.dtcs] == [("P0AA6", "0x7EB")]
    assert [finding.code for finding in report.findings] == ["insulation.low"]
    assert [entry.protocol for entry in report.ecus] == ["obd2"]


async def test_a_car_with_29_bits_is_searched_beyond_its_functional_answers() -> None:
    engine = ecu(0x18DA10F1, {"0100": "410080000000", "03": "4300", "07": "4700", "0A": "4A00"})
    bms = ecu(0x18DA58F1, {"3E00": "7E00", "1902AF": ISOLATION, "22F190": F190})
    feed = bms.feed
    bms.feed = lambda message: None if message.arbitration_id == 0x18DB33F1 else feed(message)  # type: ignore[method-assign]
    report = await scan_ecus(engine, bms)
    assert {entry.address for entry in report.ecus} == {"0x18DAF110", "0x18DAF158"}
    assert [dtc.display for dtc in report.dtcs] == ["P0AA6-1A"]
    assert report.vehicle.vin == VIN


async def test_a_slow_gateway_gets_a_second_chance() -> None:
    quick = answers_from_table({"3E00": "7E00", "1902AF": ISOLATION})
    slow = ScriptedEcu(0x7E4, 0x7EC, lambda request: [(0.4, reply) for reply in quick(request)])  # type: ignore[misc]
    slow_only_functional = await scan_ecus(slow)
    assert [dtc.display for dtc in slow_only_functional.dtcs] == ["P0AA6-1A"]


async def test_one_foreign_ecu_does_not_outvote_two() -> None:
    def with_vin(request_id: int, vin: str, *, also_obd: bool = False) -> ScriptedEcu:
        table = {"3E00": "7E00", "1902AF": "5902FF", "22F190": "62F190" + vin.encode().hex().upper()}
        if also_obd:
            table |= {
                "0100": "410080000000", "03": "4300", "07": "4700", "0A": "4A00", "0900": "490040000000",
                "0902": "490201" + vin.encode().hex().upper(),
            }  # fmt: skip
        return ecu(request_id, table)

    foreign = "LHZEV4D05RA000001"
    report = await scan_ecus(with_vin(0x7E0, foreign, also_obd=True), with_vin(0x7E4, VIN), with_vin(0x7E5, VIN))
    assert report.vehicle.vin == VIN
    assert [finding.code for finding in report.findings] == ["data.vin-mismatch"]


async def test_an_unprogrammed_vin_is_neither_the_car_nor_a_mismatch() -> None:
    dashes = {"3E00": "7E00", "1902AF": "5902FF", "22F190": "62F190" + (b"-" * 17).hex().upper()}
    good = {"3E00": "7E00", "1902AF": "5902FF", "22F190": F190}
    report = await scan_ecus(ecu(0x7E0, dashes), ecu(0x7E4, good))
    assert report.vehicle.vin == VIN
    assert report.findings == ()


async def test_error_frames_alone_are_no_answer() -> None:
    channel = f"difficult-{next(_channels)}"
    with Rig(channel) as rig:
        async with await open_can("virtual", channel, guard=TransmitGuard()) as link:
            task = asyncio.create_task(scan(link, listen_s=0.1, timeout_s=0.1))
            await asyncio.sleep(0.05)
            import can

            rig.bus.send(can.Message(is_error_frame=True))
            with pytest.raises(NoAnswer):
                await task


async def test_a_snapshot_shorter_than_the_live_value_is_not_cut_wrongly() -> None:
    table = {
        "3E00": "7E00",
        "1902AF": ISOLATION,
        "19040AA61AFF": "59040AA61A2F0102D000AABBD00155",
        "22D000": "62D00011223344",
        "22D001": "62D00155",
    }
    report = await scan_ecus(ecu(0x7E4, table))
    frames = [frame for frame in report.freeze_frames if frame.source == "uds-snapshot"]
    assert [frame.readings for frame in frames] == [()]
    assert frames[0].raw.hex().upper() == "0102D000AABBD00155"


async def test_an_adapter_that_goes_away_ends_the_scan_with_what_there_was() -> None:
    master, slave = pty.openpty()
    tty.setraw(master)
    kept: list[VehicleReport] = []
    try:
        async with await open_can("slcan", os.ttyname(slave), bitrate=500_000, guard=TransmitGuard()) as link:
            task = asyncio.create_task(scan(link, listen_s=30.0, timeout_s=0.1, keep=kept.append))
            await asyncio.sleep(0.1)
            os.write(master, b"t1008000000000000FFFF\r" * 3)
            await asyncio.sleep(0.3)
            os.close(slave)
            os.close(master)
            async with asyncio.timeout(120):
                with pytest.raises(LinkLost):
                    await task
    finally:
        for descriptor in (master, slave):
            try:
                os.close(descriptor)
            except OSError:
                continue
    assert [report.complete for report in kept] == [False]
    assert any("adapter went away" in note.en for note in kept[0].notes)


async def test_a_dangerous_code_stays_dangerous_whoever_reports_it() -> None:
    report = await scan_ecus(ecu(0x7E4, {"3E00": "7E00", "1902AF": "5902FF0AA6002F"}))
    assert [(finding.code, finding.severity) for finding in report.findings] == [("insulation.low", Severity.STOP)]


@pytest.mark.parametrize("misses", [1, 2])
async def test_one_lost_frame_costs_nothing_and_two_are_told(misses: int) -> None:
    """Each request is missed so often; what comes after is answered."""
    table = {"3E00": "7E00", "1902AF": ISOLATION, "22F190": F190, "22F195": "62F195312E32"}
    table |= {"19040AA61AFF": "59040AA61A2F" + "01" + "01" + "F190" + VIN.encode().hex().upper()}
    table |= {"19060AA61AFF": "59060AA61A2F0103"}
    known, missed = answers_from_table(table), dict.fromkeys(["1902AF", "19040AA61AFF", "22F195"], misses)
    if misses > 1:  # the codes themselves would make the car unread
        del missed["1902AF"]

    def script(request: bytes) -> list[bytes]:
        key = request.hex().upper()
        if missed.get(key, 0):
            missed[key] -= 1
            return []
        return known(request)

    report = await scan_ecus(ScriptedEcu(0x7E4, 0x7EC, script))
    assert [dtc.display for dtc in report.dtcs] == ["P0AA6-1A"]
    (battery,) = report.ecus
    told = " ".join(item.why.en for item in report.unanswered)
    assert {frame.source for frame in report.freeze_frames} >= {"uds-extended"}
    if misses == 1:
        assert battery.identification["systemSupplierECUSoftwareVersionNumber"] == "1.2"
        assert "uds-snapshot" in {frame.source for frame in report.freeze_frames}
        assert "no answer" not in told
    else:
        assert "freeze frames: no answer (19 04, P0AA6-1A)" in told
        assert "identification: no answer to F195" in told
