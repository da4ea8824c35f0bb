"""The serial adapter: its firmware byte by byte, and python-can's own serial driver on the pseudo-terminal."""

from __future__ import annotations

import os
import time

import can
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from virtualbus.car import Car
from virtualbus.runner import CarRunner
from virtualbus.scenario import find_scenario
from virtualbus.slcan import Lawicel, SlcanFront
from virtualbus.transport import Frame


def opened(*commands: bytes) -> Lawicel:
    made = Lawicel()
    for command in (*commands, b"O"):
        assert made.feed(command + b"\r") == (b"\r", [])
    return made


def test_version_serial_number_and_empty_line():
    made = Lawicel()
    assert made.feed(b"V\r") == (b"V1013\r", [])
    assert made.feed(b"N\r")[0].startswith(b"N")
    assert made.feed(b"\r") == (b"\r", [])


def test_channel_opens_once_and_closes():
    made = opened(b"S6")
    assert made.feed(b"O\r") == (b"\a", [])
    assert made.feed(b"S6\r") == (b"\a", []), "no set-up while open"
    assert made.feed(b"C\r") == (b"\r", [])
    assert made.line_from_frame(Frame(0x123, b"\1"), 0) == b""


def test_frames_to_the_bus():
    made = opened()
    assert made.feed(b"t7DF30201AA\r") == (b"z\r", [Frame(0x7DF, b"\x02\x01\xaa")])
    assert made.feed(b"t1230\r") == (b"z\r", [Frame(0x123, b"")])
    assert made.feed(b"T18DB33F1101\r") == (b"Z\r", [Frame(0x18DB33F1, b"\x01", extended=True)])
    assert made.feed(b"r1232\r") == (b"z\r", [])
    assert made.feed(b"R000001238\r") == (b"Z\r", [])


@pytest.mark.parametrize(
    "line",
    [b"t7DF3020", b"t7DF90102", b"tXYZ0", b"t8001AA", b"t7DF10102", b"T123", b"d7DF101", b"\xff", b"q", b"t" * 99],
)
def test_what_is_wrong_rings_the_bell(line):
    assert opened().feed(line + b"\r") == (b"\a", [])


def test_closed_and_listening_adapters_do_not_send():
    made = Lawicel()
    assert made.feed(b"t7DF10 1\r".replace(b" ", b"")) == (b"\a", [])
    assert made.feed(b"F\r") == (b"\a", [])
    assert made.feed(b"L\r") == (b"\r", [])
    assert made.feed(b"t7DF101\r") == (b"\a", [])
    assert made.line_from_frame(Frame(0x7E8, b"\1\2"), 0) == b"t7E820102\r"


def test_wrong_speed_hears_nothing_and_says_so():
    made = opened(b"S5")
    assert made.line_from_frame(Frame(0x100, b"\0"), 0) == b""
    assert made.feed(b"t7DF101\r") == (b"z\r", [])
    assert made.feed(b"F\r") == (b"F80\r", [])
    assert made.feed(b"F\r") == (b"F00\r", [])


def test_time_stamps_count_a_minute_of_milliseconds():
    made = opened(b"Z1")
    assert made.line_from_frame(Frame(0x100, b"\xab"), 61_234_000_000) == b"t1001AB04D2\r"


@settings(max_examples=300, deadline=None)
@given(chunks=st.lists(st.binary(max_size=80), max_size=8))
def test_any_bytes_give_answers_and_no_errors(chunks):
    made = opened()
    for chunk in chunks:
        answers, frames = made.feed(chunk)
        assert answers.count(b"\r") + answers.count(b"\a") == chunk.count(b"\r")
        assert all(frame.can_id <= 0x7FF and len(frame.data) <= 8 for frame in frames)


@settings(max_examples=100, deadline=None)
@given(can_id=st.integers(0, 0x7FF), data=st.binary(max_size=8))
def test_a_line_read_back_is_the_frame(can_id, data):
    made = opened()
    line = made.line_from_frame(Frame(can_id, data), 0)
    assert made.feed(line) == (b"z\r", [Frame(can_id, data)])


@pytest.fixture
def pty_car():
    front = SlcanFront()
    runner = CarRunner(Car(find_scenario("isolation"), 2), [front])
    runner.start()
    yield front
    runner.stop()


def collect(bus: can.BusABC, seconds: float) -> list[can.Message]:
    seen = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (message := bus.recv(0.05)) is not None:
            seen.append(message)
    return seen


def test_python_cans_serial_driver_talks_to_it(pty_car):
    with can.Bus(
        interface="slcan", channel=pty_car.description["channel"], bitrate=500_000, sleep_after_open=0.05
    ) as bus:
        assert bus.get_version(1.0) == (10, 13)
        broadcast = {message.arbitration_id for message in collect(bus, 0.6)}
        assert {0x100, 0x120, 0x180, 0x184, 0x1A0} <= broadcast
        bus.send(can.Message(arbitration_id=0x7DF, data=bytes([1, 3, 0, 0, 0, 0, 0, 0]), is_extended_id=False))
        answers = {m.arbitration_id: bytes(m.data[:5]) for m in collect(bus, 0.6) if m.arbitration_id >= 0x7E8}
    assert set(answers) == {0x7E8, 0x7E9, 0x7EC, 0x7ED, 0x7EE, 0x7EF}
    assert answers[0x7EC] == b"\x04\x43\x01\x0a\xa6"


def test_programs_may_come_and_go(pty_car):
    for _ in range(2):
        with can.Bus(interface="slcan", channel=pty_car.path, bitrate=500_000, sleep_after_open=0.05) as bus:
            assert len(collect(bus, 0.3)) > 20


def test_a_program_that_does_not_read_does_not_stop_the_car(pty_car):
    host = os.open(pty_car.path, os.O_RDWR | os.O_NOCTTY)
    try:
        os.write(host, b"O\r")
        time.sleep(1.2)
        os.set_blocking(host, False)
        first = os.read(host, 1_000_000)
        assert first.startswith(b"\r")
        time.sleep(0.3)
        assert os.read(host, 1_000_000)
    finally:
        os.close(host)
