"""Status bits over a session, alone and in a scan of a car whose fault comes and goes."""

from __future__ import annotations

import virtualbus
from diag.canbus import open_can
from diag.carscan import scan
from diag.dtc import parse_uds_dtcs
from diag.dtchistory import DtcHistory


def codes(text: str):
    return parse_uds_dtcs(bytes.fromhex("5902FF" + text)).dtcs


def test_what_changes_is_told_with_its_bits():
    history = DtcHistory()
    assert history.observe(1, "0x7EC", codes("0AA61A2F 0BBD852C")) == ()
    assert history.observe(2, "0x7EC", codes("0AA61A2F 0BBD852C")) == ()
    went, weaker = history.observe(3, "0x7EC", codes("0BBD8528"))
    assert (went.code, went.after) == ("P0AA6-1A", None)
    assert weaker.bits == {"pendingDTC": False}
    (came,) = history.observe(4, "0x7EC", codes("0BBD8528 0DE61609"))
    assert (came.code, came.before) == ("P0DE6-16", None)
    assert came.bits == {"testFailed": True, "confirmedDTC": True}
    assert [change.t_ns for change in history.changes] == [3, 3, 4]
    assert came.to_json()["after"] == "0x09"


def test_bits_that_the_ecu_does_not_have_and_codes_without_status_have_no_history():
    history = DtcHistory()
    history.observe(1, "a", parse_uds_dtcs(bytes.fromhex("5902090AA61A09")).dtcs)
    assert history.observe(2, "a", parse_uds_dtcs(bytes.fromhex("5902090AA61A2F")).dtcs) == ()
    assert history.observe(3, "b", ()) == ()


async def test_a_scan_tells_a_code_that_appears_while_it_runs():
    with virtualbus.running("healthy", seed=4) as car:
        memory = car.car.ecus["BMS"].memory
        code = memory.codes["P0AA6-1A"]
        memory.recording = False
        state = {"stages": 0}

        def progress(stage):
            state["stages"] += 1
            if "judging" not in stage.en and "listening" in stage.en and state["stages"] > 3:
                code.status = 0x2F

        async with await open_can(car.interface, car.channel) as link:
            report = await scan(link, progress=progress)
    (change,) = report.dtc_changes
    assert (change.ecu, change.code, change.before) == ("0x7EC", "P0AA6-1A", None)
    assert "P0AA6-1A" in [dtc.display for dtc in report.dtcs]
    assert report.to_json()["dtc_changes"][0]["bits"]["testFailed"] is True
