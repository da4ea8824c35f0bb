"""The ring on disk and what it keeps, and which signals moved first."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dbc.recording import open_recording
from diag.facts import Text
from diag.firstmoved import what_moved_first
from diag.flightrecorder import FlightRecorder
from diag.frames import Frame
from diag.samples import Series

S = 1_000_000_000
T0 = 1_767_225_600 * S
WHY = Text("P0AA6 began to fail", "P0AA6 开始失败")


def frames(start_s, end_s, hz=20, **more):
    return [
        Frame(0x123, row.to_bytes(4, "big"), T0 + round(row * S / hz), channel="can0", **more)
        for row in range(round(start_s * hz), round(end_s * hz))
    ]


def numbers(path):
    table = open_recording(str(path)).table
    return [int.from_bytes(row[:4].tobytes(), "big") for row in table.data]


def test_the_half_minutes_around_an_event_are_kept_at_full_rate(tmp_path):
    recorder = FlightRecorder(tmp_path)
    assert recorder.take(frames(0, 60)) == ()
    recorder.trigger(T0 + 60 * S, WHY)
    assert recorder.take(frames(60, 80)) == ()
    (event,) = recorder.take(frames(80, 100))
    assert event.is_whole
    assert numbers(event.path) == list(range(30 * 20, 90 * 20 + 1))
    told = json.loads(event.path.with_suffix(".json").read_text(encoding="utf-8"))
    assert told["schema"] == "huizhen.event/1"
    assert told["reasons"][0]["text"]["zh"] == WHY.zh
    assert (told["from_s"], told["to_s"], told["whole"]) == (-30.0, 30.0, True)
    assert recorder.close() == ()


@pytest.fixture
def recorder(tmp_path):
    with FlightRecorder(tmp_path) as made:
        yield made


def test_events_that_follow_each_other_become_one(recorder):
    recorder.take(frames(0, 60))
    recorder.trigger(T0 + 60 * S, WHY)
    recorder.take(frames(60, 70))
    recorder.trigger(T0 + 70 * S, WHY)
    (event,) = recorder.take(frames(70, 120))
    assert len(event.reasons) == 2
    assert numbers(event.path)[-1] == 100 * 20


def test_an_early_end_keeps_what_there_is_and_says_so(tmp_path):
    recorder = FlightRecorder(tmp_path)
    recorder.take(frames(0, 10))
    recorder.trigger(T0 + 9 * S, WHY)
    (event,) = recorder.close()
    assert not event.is_whole
    assert numbers(event.path) == list(range(200))


def test_the_ring_forgets_the_oldest_but_nothing_that_an_event_needs(tmp_path, recorder):
    recorder.limit_bytes = 40_000
    for start in range(0, 300, 10):
        recorder.take(frames(start, start + 10))
    ring = sorted(tmp_path.glob("ring-*.log"))
    assert sum(path.stat().st_size for path in ring) < 60_000
    recorder.trigger(T0 + 300 * S, WHY)
    events = [event for start in range(300, 400, 10) for event in recorder.take(frames(start, start + 10))]
    assert len(events) == 1
    assert numbers(events[0].path)[-1] == 330 * 20


def test_a_ring_that_a_crash_left_is_gone_on_with(tmp_path):
    crashed = FlightRecorder(tmp_path)
    crashed.take(frames(0, 25))
    crashed.close()
    last = max(tmp_path.glob("ring-*.log"))
    with last.open("a") as file:
        file.write("(1767225625.000")  # the machine died in the middle of a line
    again = FlightRecorder(tmp_path)
    again.take(frames(26, 30))
    again.trigger(T0 + 28 * S, WHY)
    (event,) = again.close()
    assert numbers(event.path) == [*range(25 * 20), *range(26 * 20, 30 * 20)]


def test_a_clock_that_goes_back_loses_no_frame(tmp_path):
    recorder = FlightRecorder(tmp_path)
    recorder.take(frames(20, 30))
    recorder.take(frames(5, 10))
    recorder.trigger(T0 + 9 * S, WHY)
    (event,) = recorder.close()
    assert set(numbers(event.path)) >= set(range(5 * 20, 10 * 20))


def test_kinds_of_frames_come_back_as_they_were(tmp_path):
    recorder = FlightRecorder(tmp_path)
    sent = [
        Frame(0x18DAF110, b"\x01\x02", T0, extended=True, channel="can0"),
        Frame(0x7FF, bytes(range(12)), T0 + 1000, fd=True, channel="can0"),
        Frame(0x100, b"", T0 + 2000, remote=True, channel="can0"),
    ]
    recorder.take(sent)
    recorder.trigger(T0, WHY)
    (event,) = recorder.close()
    table = open_recording(str(event.path)).table
    assert table.can_id.tolist() == [0x18DAF110, 0x7FF, 0x100]
    assert table.length.tolist()[:2] == [2, 12]


def test_a_full_disk_is_an_error_and_what_was_written_stays(small_disk):
    recorder = FlightRecorder(small_disk / "ring")
    many = frames(0, 2000)
    with pytest.raises(OSError, match="space"):
        recorder.take(many)
    assert list((small_disk / "ring").glob("ring-*.log"))


# -- what moved first -----------------------------------------------------------------------------------------------


def series(name, values, hz=10.0, unit="V", valid=None):
    values = np.asarray(values, dtype=np.float64)
    t_ns = T0 + (np.arange(len(values)) / hz * S).astype(np.int64)
    return Series(name, unit, t_ns, values, np.ones(len(values), dtype=np.bool_) if valid is None else valid)


def ranked(*items, event_s=60.0, end_s=90.0):
    found = what_moved_first({item.name: item for item in items}, T0, T0 + int(event_s * S), T0 + int(end_s * S))
    return [moved.signal for moved in found]


RNG = np.random.default_rng(3)
TIME = np.arange(900) / 10.0
NOISE = RNG.standard_normal(900)


def test_the_cause_comes_before_its_consequence():
    cause = series("Pump", np.where(TIME < 52, 3000.0, 0.0), unit="rpm")
    effect = series("Coolant", np.round(20 + np.clip(TIME - 56, 0, None) * 0.9, 1), unit="degC")
    busy = series("Current", np.round(60 * np.sin(TIME) + 5 * NOISE, 1), unit="A")
    assert ranked(effect, busy, cause) == ["Pump", "Coolant"]


def test_what_falls_silent_has_moved():
    gone = series("Voltage", np.round(400 + NOISE, 1)[:550])
    assert ranked(gone, series("Speed", 50 + NOISE)) == ["Voltage"]


def test_a_slow_message_does_not_come_after_what_it_caused():
    slow = series("Probe", np.where(np.arange(90) < 58, 17.5, -40.0), hz=1.0, unit="degC")
    fast = series("Limit", np.where(TIME < 57.9, 100.0, 10.0) + 0.1 * NOISE, unit="kW")
    assert ranked(fast, slow)[0] == "Probe"


def test_drifting_by_single_steps_is_no_event():
    drift = series("CellTemp_01", np.round((17 + TIME / 100) * 2) / 2, unit="degC")
    other = series("CellTemp_02", np.round((17.2 + TIME / 80) * 2) / 2, unit="degC")
    assert ranked(drift, other) == []


def test_what_runs_steadily_goes_on_running():
    assert ranked(series("Odometer", np.round(TIME * 0.02, 2), unit="km")) == []


def test_one_wild_reading_is_no_event():
    values = 3.7 + 0.001 * np.round(NOISE)
    values[580] = 0.0
    assert ranked(series("CellVoltage_01", values)) == []


def test_a_state_that_changes_has_moved_and_one_that_toggles_has_not():
    once = series("Contactor", np.where(TIME < 58, 2, 4), unit="")
    often = series("Blinker", (TIME.astype(int) % 2), unit="")
    assert ranked(once, often) == ["Contactor"]


def test_driving_a_little_harder_comes_after_what_really_moved():
    harder = series("Pedal", np.where((TIME > 45) & (TIME < 55), 64.0, 40 + 5 * np.clip(NOISE, -2, 2)), unit="%")
    fault = series("Isolation", np.where(TIME < 59, 900.0, 40.0) + NOISE, unit="kOhm")
    assert ranked(harder, fault)[0] == "Isolation"


def test_a_cell_that_sags_is_seen_although_all_cells_follow_the_current():
    load = 0.2 * np.sin(TIME / 3)
    cells = [
        series(f"CellVoltage_{n:02d}", np.round(3.7 + load + 0.001 * RNG.standard_normal(900), 3)) for n in range(8)
    ]
    sags = np.round(3.7 + load - 0.03 * np.clip(TIME - 58, 0, 1) + 0.001 * NOISE, 3)
    assert ranked(*cells, series("CellVoltage_99", sags)) == ["CellVoltage_99"]
    assert ranked(*cells) == []
