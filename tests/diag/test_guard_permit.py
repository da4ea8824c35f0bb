"""What a person granted from afar: one request, once, and what lets go of it."""

from __future__ import annotations

import pytest

from diag.addressing import OBD_FUNCTIONAL, Target
from diag.errors import RefusedByPolicy
from diag.facts import Text
from diag.guard import Risk, TransmitGuard, VehicleState

BMS = Target.physical(0x7E4, 0x7EC)
FIT = VehicleState(0.0, is_charging=False, supply_v=13.0)
CLEAR, SESSION, PUMP, LET_GO = (bytes.fromhex(text) for text in ("14FFFFFF", "1003", "2F01610346", "2F016100"))


class Clock:
    now = 0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def guard(clock):
    return TransmitGuard(state=FIT, monotonic=clock)


@pytest.mark.parametrize("data", [CLEAR, SESSION, PUMP, bytes.fromhex("2EF19800"), b"\x11\x01"])
def test_a_permit_is_for_one_sending_of_these_bytes_to_this_ecu(guard, data):
    with pytest.raises(RefusedByPolicy):
        guard.open(data, BMS)
    guard.permit(data, BMS)
    for other, target in ((data + b"\0", BMS), (data, Target.physical(0x7E0, 0x7E8))):
        with pytest.raises(RefusedByPolicy):
            guard.open(other, target)
    guard.close(guard.open(data, BMS))
    with pytest.raises(RefusedByPolicy):
        guard.open(data, BMS)


def test_a_permit_ends_and_is_used_up_by_a_refusal(guard, clock):
    guard.permit(CLEAR, BMS, life_s=10)
    clock.now = 10_000_000_000
    with pytest.raises(RefusedByPolicy):
        guard.open(CLEAR, BMS)
    guard.permit(CLEAR, BMS)
    guard.state = VehicleState(3.0, is_charging=False, supply_v=13.0)
    with pytest.raises(RefusedByPolicy, match="stand still"):
        guard.open(CLEAR, BMS)
    guard.state = FIT
    with pytest.raises(RefusedByPolicy):
        guard.open(CLEAR, BMS)


@pytest.mark.parametrize(
    "state",
    [
        VehicleState(),
        VehicleState(0.0, is_charging=None, supply_v=13.0),
        VehicleState(0.0, is_charging=True, supply_v=13.0),
        VehicleState(0.0, is_charging=False),
        VehicleState(0.0, is_charging=False, supply_v=11.9),
    ],
)
def test_a_permit_does_not_stand_for_the_state_of_the_car(guard, state):
    guard.state = state
    guard.permit(PUMP, BMS)
    with pytest.raises(RefusedByPolicy):
        guard.open(PUMP, BMS)


@pytest.mark.parametrize("data", ["3101E200", "275F", "2760", "0801", "31010203", "BA00", "1902", ""])
def test_what_is_refused_always_stays_so(guard, data):
    guard.permit(bytes.fromhex(data), BMS)
    with pytest.raises(RefusedByPolicy):
        guard.open(bytes.fromhex(data), BMS)


def test_actuators_never_go_to_all_at_once(guard):
    guard.permit(PUMP, OBD_FUNCTIONAL)
    with pytest.raises(RefusedByPolicy):
        guard.open(PUMP, OBD_FUNCTIONAL)


def test_what_lets_go_may_leave_whatever_the_car_does(guard):
    guard.state = VehicleState(30.0)
    assert guard.permit_release(PUMP, BMS) == LET_GO
    guard.close(guard.open(LET_GO, BMS))
    with pytest.raises(RefusedByPolicy):
        guard.open(LET_GO, BMS)
    for data in (CLEAR, SESSION, LET_GO, b"\x11\x01"):
        with pytest.raises(ValueError):
            guard.permit_release(data, BMS)


def test_a_routine_of_the_policy_is_stopped_by_its_own_stop(clock):
    name = Text("bleed", "排气")
    guard = TransmitGuard(state=FIT, monotonic=clock, routines={0x0203: (Risk.ACTUATE, name)})
    assert guard.permit_release(bytes.fromhex("31010203AA"), BMS) == bytes.fromhex("31020203")
    guard.state = VehicleState()
    guard.close(guard.open(bytes.fromhex("31020203"), BMS))
    guard.permit_release(bytes.fromhex("31010204"), BMS)
    with pytest.raises(RefusedByPolicy):
        guard.open(bytes.fromhex("31020204"), BMS)
