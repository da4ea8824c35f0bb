"""The diagnostic server on virtual time: sessions that fall back, slow answers, and any bytes at all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from virtualbus.car import Car
from virtualbus.scenario import find_scenario
from virtualbus.transport import FUNCTIONAL_ID, Frame
from virtualbus.uds_services import P2_NS, S3_NS, UdsServer

SECOND = 1_000_000_000
KNOWN = (0x01, 0x02, 0x03, 0x07, 0x09, 0x0A, 0x10, 0x14, 0x19, 0x22, 0x3E, 0x85)


@pytest.fixture(scope="module")
def car():
    made = Car(find_scenario("isolation"), 8)
    for _ in range(20):
        made.tick()
    return made


@pytest.fixture
def server(car):
    return UdsServer(car.bms)


def ask(server: UdsServer, text: str, now_ns: int = 0, *, functional: bool = False) -> list[str]:
    replies = server.answer(bytes.fromhex(text), functional=functional, now_ns=now_ns)
    return [reply.payload.hex() for reply in replies]


def test_session_falls_back_after_s3_and_not_before(server):
    assert ask(server, "1003", 0) == ["5003003201f4"]
    assert ask(server, "22f186", S3_NS - 1) == ["62f18603"]
    assert ask(server, "22f186", 2 * S3_NS - 2) == ["62f18603"]
    assert ask(server, "22f186", 3 * S3_NS) == ["62f18601"]


def test_tester_present_keeps_the_session(server):
    ask(server, "1003", 0)
    for second in range(1, 30):
        assert ask(server, "3e80", second * 2 * SECOND) == []
    assert ask(server, "22f186", 60 * SECOND) == ["62f18603"]


def test_fault_recording_comes_back_with_the_default_session(server, car):
    ask(server, "1003", 0)
    assert ask(server, "8502", SECOND) == ["c502"]
    assert not car.bms.memory.recording
    server.expire(SECOND + S3_NS)
    assert car.bms.memory.recording


def test_slow_answer_is_announced_within_p2(server):
    pending, answer = server.answer(b"\x22\xf1\x95", functional=False, now_ns=0)
    assert pending.payload == b"\x7f\x22\x78"
    assert pending.delay_ns <= P2_NS < answer.delay_ns
    assert answer.payload[:3] == b"\x62\xf1\x95"


def test_several_identifiers_in_one_request(server, car):
    (answer,) = ask(server, "22f197f189")
    assert answer == "62f197" + b"BMS".hex() + "f189" + car.bms.software.version.encode().hex()


def test_programming_is_refused_by_session_and_by_condition(server):
    assert ask(server, "1002") == ["7f107e"]
    ask(server, "1003")
    assert ask(server, "1002") == ["7f1022"]
    assert ask(server, "1060") == ["7f1012"]


def test_fault_counters_of_a_debouncing_test(server, car):
    code = car.bms.memory.codes["P0A7E-4B"]
    before, code.counter = code.counter, 40.0
    try:
        assert ask(server, "1914") == ["59140a7e4b28"]
    finally:
        code.counter = before


def test_codes_are_not_cleared_while_the_speed_is_unknown_or_not_zero():
    car = Car(find_scenario("isolation"), 8)
    server = UdsServer(car.bms)
    status = car.catalogue.by_name["VCU_Status"]

    def hear(speed_kmh: float | None) -> None:
        car.buses.hear(status, {"VehicleSpeed": speed_kmh}, car.plant.t_s)

    hear(30.0)
    assert ask(server, "14ffffff") == ["7f1422"]
    assert ask(server, "04") == ["7f0422"]
    hear(None)
    assert ask(server, "14ffffff") == ["7f1422"]
    assert ask(server, "190208") == ["59027f0aa61a2f"]
    hear(0.0)
    assert ask(server, "14800000") == ["54"], "body codes: there are none"
    assert ask(server, "190208") == ["59027f0aa61a2f"]
    assert ask(server, "140aa61a") == ["54"]
    assert ask(server, "190208") == ["59027f"]


def test_extended_data_of_a_code_that_never_failed_has_no_records(server):
    assert ask(server, "1906 0de616 ff")[1] == "59060de61600"


@settings(max_examples=400, deadline=None)
@given(
    sid=st.one_of(st.sampled_from(KNOWN), st.integers(0, 255)), rest=st.binary(max_size=20), functional=st.booleans()
)
def test_any_request_gets_a_sound_answer_or_silence(car, sid, rest, functional):
    server = UdsServer(car.ecus["INV"])
    if sid in (0x04, 0x14):
        return
    for reply in server.answer(bytes([sid]) + rest, functional=functional, now_ns=0):
        payload = reply.payload
        if payload[0] == 0x7F:
            assert len(payload) == 3
            assert payload[1] == sid
            assert not functional or payload[2] not in (0x11, 0x12, 0x31, 0x7E, 0x7F)
        else:
            assert payload[0] == sid + 0x40
    car.ecus["INV"].memory.recording = True


@settings(max_examples=150, deadline=None)
@given(
    frames=st.lists(
        st.tuples(st.sampled_from([FUNCTIONAL_ID, 0x7E0, 0x7E4, 0x7E5, 0x123]), st.binary(max_size=8)), max_size=12
    )
)
def test_any_frames_leave_the_car_alive(car, frames):
    now = 0
    for can_id, data in frames:
        now += 3_000_000
        car.receive(Frame(can_id, data), now)
        for answer in car.answers(now):
            assert answer.can_id in car.answer_ids
            assert len(answer.data) == 8
    car.next_answer_ns(now)
    car.tick()


def ticks(car):
    """Some steps: the thermal management is a leisurely ECU."""
    for _ in range(10):
        car.tick()


def test_an_output_is_adjusted_in_the_extended_session_only_and_given_back(car):
    thermal = car.ecus["TMS"]
    server = UdsServer(thermal)
    assert ask(server, "2f01610346", 0) == ["7f2f7f"]
    ask(server, "1003", 0)
    assert ask(server, "2f01610346", SECOND) == ["6f01610346"]
    ticks(car)
    assert thermal.duty == 0.7
    assert ask(server, "2f01610365", SECOND) == ["7f2f31"]
    assert ask(server, "2f01600346", SECOND) == ["7f2f31"]
    assert ask(server, "2f01610000", SECOND) == ["7f2f13"]
    assert ask(server, "2f016100", SECOND)[0].startswith("6f016100")
    ticks(car)
    assert thermal.duty != 0.7
    ask(server, "2f01610346", 2 * SECOND)
    server.expire(2 * SECOND + S3_NS)
    ticks(car)
    assert thermal.duty != 0.7
