"""Fault flags that units broadcast, by the names of a real database; the frames are made by cantools."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cantools
import numpy as np
import pytest

import dbc
from diag.broadcast import decode_broadcast
from diag.facts import Severity
from diag.frames import Frame
from diag.ownflags import find_flags
from diag.samples import Series

if TYPE_CHECKING:
    from pathlib import Path

    from diag.facts import Finding

MESSAGES = ("BMS_System_Data_1", "BMS_System_Data_2", "BMS_System_Data_3", "BMS_System_Data_4")


def heard(shared: Path, count: int = 20, **flags: int) -> list[Finding]:
    """What is found in the Think City battery's messages with these flags set and all others clear."""
    path = shared / "data" / "savvycan" / "ThinkCity.dbc"
    database = cantools.database.load_file(path, strict=False)
    frames = []
    for name in MESSAGES:
        message = database.get_message_by_name(name)
        values = {signal.name: flags.get(signal.name, 0) for signal in message.signals}
        data = message.encode(values, scaling=False, strict=False)
        frames += [Frame(message.frame_id, data, (at + 1) * 10**8) for at in range(count)]
    return find_flags(decode_broadcast(frames, [dbc.load(path)]).series)


def test_the_fault_flags_of_the_think_city_battery_become_a_finding(shared: Path) -> None:
    (finding,) = heard(shared, sys_intIsoError=1, sys_errGeneral=1)
    assert finding.code == "car.own-flags"
    assert finding.severity is Severity.SOON
    assert finding.safety
    assert {item.ref for item in finding.evidence} == {"sys_intIsoError", "sys_errGeneral"}
    (finding,) = heard(shared, Too_Many_Failed_Cells=1)
    assert "Too_Many_Failed_Cells" in finding.title.en
    assert finding.severity is Severity.SOON
    (finding,) = heard(shared, sys_errGeneral=1)
    assert finding.severity is Severity.MONITOR


def test_clear_flags_counts_and_few_frames_say_nothing(shared: Path) -> None:
    assert heard(shared) == []
    assert heard(shared, sys_highestErrCat=3) == []
    assert heard(shared, count=3, sys_errGeneral=1) == []


@pytest.mark.parametrize(
    ("name", "value", "unit", "is_told"),
    [
        ("InverterFault", 1, "", True),
        ("BMS_FAULTED", 1, "", True),
        ("NoError", 1, "", False),
        ("ErrorCount", 7, "", False),
        ("SteeringFault", 1, "", False),
        ("FaultVoltage", 1, "V", False),
        ("HvFaultLevel", 200, "", False),
        ("PumpFault", 3, "", False),
        ("Default", 1, "", False),
    ],
)
def test_names_and_values_decide(name: str, value: int, unit: str, is_told: bool) -> None:
    values = np.full(10, float(value))
    series = {name: Series(name, unit, np.arange(10, dtype=np.int64), values, np.ones(10, np.bool_))}
    assert bool(find_flags(series)) is is_told


def test_a_flag_that_is_set_now_and_then_is_left_to_the_recorder() -> None:
    values = np.tile([0.0, 1.0], 10)
    series = {"PumpFault": Series("PumpFault", "", np.arange(20, dtype=np.int64), values, np.ones(20, np.bool_))}
    assert find_flags(series) == []
