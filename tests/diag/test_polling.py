"""The battery by asking: a published signal set, real answers of a real car, an ECU that gives them."""

from __future__ import annotations

import itertools
import json

import pytest
from scripted_ecu import Rig, ScriptedEcu, answers_from_table

import virtualbus
from dbc.signalset.adaptertext import read_adapter_text
from dbc.signalset.loading import load_signal_set, parse_signal_set
from dbc.signalset.model import parse_command_id
from diag.battery import battery_from_series
from diag.canbus import open_can
from diag.carscan import scan
from diag.guard import TransmitGuard
from diag.polling import find_battery_questions, poll_battery
from diag.request import IsoTpLink, Timing

CHANNELS = (f"polling{n}" for n in itertools.count())
QUICK = Timing(answer_s=0.3, window_s=0.1)


def answers_of(shared, car: str, year: int) -> dict[str, str]:
    """Request -> the first whole answer of a car of this year, as hex."""
    table: dict[str, str] = {}
    for line in (shared / "data/obdb" / car / "cases.jsonl").read_text(encoding="utf-8").splitlines():
        if '"7E4.' not in line or f'"year": {year}' not in line:
            continue
        case = json.loads(line)
        command = parse_command_id(case["command"])
        for answer in read_adapter_text(case["response"], command).answers:
            if not answer.missing and answer.payload.startswith(command.answer_start):
                table.setdefault(command.request.hex().upper(), answer.payload.hex())
    return table


def signal_set_of(shared, car: str):
    return load_signal_set(shared / "data/obdb" / car / "default.json")


@pytest.fixture
def ioniq(shared):
    return signal_set_of(shared, "Hyundai-IONIQ-5")


async def test_a_real_battery_is_read_by_asking(shared, ioniq):
    table = answers_of(shared, "Hyundai-IONIQ-5", 2025)
    ecu = ScriptedEcu(0x7E4, 0x7EC, answers_from_table(table))
    channel, guard = next(CHANNELS), TransmitGuard()
    with Rig(channel, ecu):
        async with await open_can("virtual", channel, guard=guard) as link, IsoTpLink(link, timing=QUICK) as requests:
            polled = await poll_battery(requests, ioniq, year=2025)
    battery = battery_from_series(polled.series, source=polled.source)
    assert battery is not None
    assert battery.source == "polled:Hyundai-IONIQ-5"
    seen = [volts for volts in battery.cell_v if volts is not None]
    assert len(seen) > 100
    assert all(2.5 < volts < 4.3 for volts in seen)
    assert battery.soc_percent is not None
    assert battery.insulation_kohm is not None
    assert battery.insulation_kohm > 500
    readings = {reading.name: reading for reading in polled.readings}
    voltage = readings["IONIQ5_BATTERY_DC_VOLTAGE"]
    assert voltage.value == int.from_bytes(voltage.raw, "big"), "the number before the set's limits"
    assert battery.pack_v is None, "the set lacks a divisor: no battery has that many volts"
    assert "PackVoltage" in {rejected.signal for rejected in battery.rejected}
    assert any(text.startswith("744.74C.22E003") and why.en == "no answer" for text, why in polled.failures)
    assert {entry.data[0] for entry in guard.log if entry.stage == "request"} == {0x22}
    assert all(entry.is_allowed for entry in guard.log)
    assert polled.answered == len(table.keys() & {request.hex().upper() for request in ecu.requests})


async def test_refusals_and_silence_are_listed_and_cost_only_themselves(shared, ioniq):
    table = answers_of(shared, "Hyundai-IONIQ-5", 2025)
    only = {"220101": table["220101"]}
    channel = next(CHANNELS)
    with Rig(channel, ScriptedEcu(0x7E4, 0x7EC, answers_from_table(only))):
        async with (
            await open_can("virtual", channel, guard=TransmitGuard()) as link,
            IsoTpLink(link, timing=QUICK) as requests,
        ):
            polled = await poll_battery(requests, ioniq, year=2025)
    assert polled.answered == 1
    assert polled.asked == 9
    assert sum(why.en == "refused: serviceNotSupported" for _, why in polled.failures) == 7
    assert "StateOfCharge" in polled.series


def entry(header: str, receive: str | None, request: dict[str, str], **more: object) -> dict[str, object]:
    signal = {"id": "V", "name": "HV battery voltage", "fmt": {"len": 16, "max": 1000, "unit": "volts"}}
    return {"hdr": header, "rax": receive, "cmd": request, "freq": 1, "signals": [signal], **more}


def test_only_reading_requests_of_the_default_session_are_asked():
    document = {
        "commands": [
            entry("7E4", "7EC", {"22": "0001"}),
            entry("7E4", "7EC", {"21": "02"}),
            entry("7E4", "7EC", {"22": "0003"}, din="03"),
            entry("6F1", "612", {"22": "0004"}, eax="12"),
            entry("7E4", None, {"22": "0005"}),
            entry("7DF", "7E8", {"22": "0006"}),
            entry("7E4", "7EC", {"22": "0007"}, filter={"from": 2025, "to": 2020}),
            entry("DA10", "10", {"22": "0008"}),
        ]
    }
    made = parse_signal_set(json.dumps(document).encode(), name="made", path="made.json")
    asked = {question.command.request.hex(): question.target for question in find_battery_questions(made, 2022)}
    assert set(asked) == {"220001", "220008"}
    assert (asked["220008"].request_id, asked["220008"].response_id) == (0x18DA10F1, 0x18DAF110)
    assert len(find_battery_questions(made, 2026)) == 3
    assert len(find_battery_questions(made, None)) == 3


@pytest.mark.parametrize(
    ("car", "cells", "others"),
    [
        ("Hyundai-IONIQ-5", 192, {"PackVoltage", "PackCurrent", "StateOfCharge", "InsulationResistance"}),
        ("Hyundai-Kona-Electric", 98, {"PackVoltage", "PackCurrent", "StateOfCharge", "InsulationResistance"}),
        ("Chevrolet-Bolt-EV", 96, {"StateOfCharge"}),
        ("Ford-Mustang-Mach-E", 0, {"PackVoltage", "PackCurrent", "StateOfCharge"}),
        ("Audi", 108, {"PackVoltage", "PackCurrent", "StateOfCharge"}),
    ],
)
def test_what_published_sets_know_of_the_battery(shared, car, cells, others):
    names = {
        name for question in find_battery_questions(signal_set_of(shared, car)) for name in question.names.values()
    }
    assert sum(name.startswith("CellVoltage_") for name in names) == cells
    assert {name for name in names if not name.startswith(("CellVoltage_", "CellTemp_"))} == others


async def test_a_scan_asks_where_a_gateway_hides_the_broadcast_frames(shared, ioniq):
    table = {**answers_of(shared, "Hyundai-IONIQ-5", 2025), "3E00": "7E00", "1902AF": "5902FF"}
    ecu = ScriptedEcu(0x7E4, 0x7EC, answers_from_table(table))
    channel = next(CHANNELS)
    with Rig(channel, ecu):
        async with await open_can("virtual", channel, guard=TransmitGuard()) as link:
            report = await scan(link, signal_set=ioniq, listen_s=0.1, timeout_s=0.2)
            again = await scan(link, find_signal_set=lambda _: ioniq, listen_s=0.1, timeout_s=0.2)
    assert report.battery is not None
    assert report.battery.source == "polled:Hyundai-IONIQ-5"
    assert again.battery is not None
    assert again.battery.source == report.battery.source
    notes = " ".join(note.en for note in report.notes)
    assert "signal set Hyundai-IONIQ-5: 8 of " in notes
    assert "cannot be seen from here" not in notes


async def test_a_scan_that_hears_the_battery_does_not_ask(ioniq):
    with virtualbus.running("healthy", seed=4) as car:
        async with await open_can(car.interface, car.channel, guard=TransmitGuard()) as link:
            report = await scan(link, signal_set=ioniq, listen_s=1.0)
            asked = {entry.data[:3].hex().upper() for entry in link.guard.log if entry.stage == "request"}
    assert report.battery is not None
    assert report.battery.source.startswith("broadcast:")
    assert "220101" not in asked
