"""The hands on the car's bus, with an adapter that keeps them waiting and an ECU that falls silent."""

from __future__ import annotations

import asyncio

import pytest

from consult.execution import CarHands
from consult.grantactions import Asked, Run, Why
from consult.remotepolicy import needs_hold
from diag.addressing import Target
from diag.answers import Answer
from diag.errors import NoAnswer, RefusedByPolicy
from diag.facts import Text
from diag.guard import TransmitGuard, judge
from huizhen.roomrequests import in_both_languages

TMS = Target.physical(0x7E7, 0x7EF)
CLEAR, PUMP, LET_GO, READ = (bytes.fromhex(one) for one in ("14FFFFFF", "2F01610346", "2F016100", "22F40D"))
STATE = {b"\x01\x0d": "410D00", b"\x01\x42": "414236B0"}


class Adapter:
    """One request at a time, as the serial ones: the guard is asked first, the bytes leave when it is free."""

    def __init__(self, guard):
        self.guard = guard
        self.free = asyncio.Event()
        self.free.set()
        self.left = []
        self.silent_to = ()

    async def request(self, target, payload, *, timeout_s=None):
        exchange = self.guard.open(payload, target)
        try:
            if payload not in STATE:
                await self.free.wait()
            self.guard.check_message(exchange)
            self.left.append(payload)
            if payload in self.silent_to:
                raise NoAnswer(target.address, timeout_s or 0.1)
            data = bytes.fromhex(STATE[payload]) if payload in STATE else bytes([payload[0] + 0x40]) + payload[1:4]
            return (Answer(TMS, payload, data),)
        finally:
            self.guard.close(exchange)


def asked(data):
    risk, name, complaint = judge(data, TMS)
    assert complaint is None
    return Asked("r", {"id": 7}, "why", "0x7EF", TMS, data, risk, name, needs_hold(data, risk), "0" * 64, 10**18)


@pytest.fixture
async def adapter():
    return Adapter(TransmitGuard())


@pytest.fixture
def hands(adapter):
    return CarHands(adapter, adapter.guard, sign=lambda _: b"\0" * 64, say=in_both_languages)


async def test_a_stop_keeps_back_what_was_granted_and_still_waits_for_the_adapter(adapter, hands, eventually):
    adapter.free.clear()
    halted = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(hands.run(Run(asked(CLEAR), unplugged=True), halted))
    await eventually(lambda: any(one.payload == CLEAR for one in adapter.guard._open))
    halted.set_result(Why.STOP)
    await asyncio.sleep(0.01)
    adapter.free.set()
    outcome = await running
    assert CLEAR not in adapter.left
    assert (outcome.outcome, outcome.body["code"]) == ("refused", RefusedByPolicy.code)


@pytest.mark.parametrize("data", [CLEAR, READ])
async def test_what_was_stopped_before_it_began_never_leaves(adapter, hands, data):
    halted = asyncio.get_running_loop().create_future()
    halted.set_result(Why.STOP)
    outcome = await hands.run(Run(asked(data), unplugged=True), halted)
    assert data not in adapter.left
    assert (outcome.outcome, outcome.body["code"]) == ("refused", "consult.grants-stopped")


async def test_without_a_stop_it_is_done(adapter, hands):
    halted = asyncio.get_running_loop().create_future()
    assert (await hands.run(Run(asked(CLEAR), unplugged=True), halted)).outcome == "done"
    assert adapter.left[-1] == CLEAR


@pytest.mark.parametrize(("silent_to", "let_go"), [((), True), ((LET_GO,), False), ((PUMP, LET_GO), False)])
async def test_an_actuator_that_never_confirmed_its_end_is_not_called_stopped(
    adapter, hands, silent_to, let_go, eventually
):
    adapter.silent_to = silent_to
    halted = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(hands.run(Run(asked(PUMP), unplugged=True), halted))
    await eventually(lambda: PUMP in adapter.left)
    if not halted.done():
        halted.set_result(Why.RELEASED)
    outcome = await running
    assert LET_GO in adapter.left
    if let_go:
        assert outcome.outcome == "stopped"
        assert "let_go" not in outcome.body
    else:
        assert (outcome.outcome, outcome.body["let_go"]) == ("failed", False)
        text = Text(outcome.body["text"]["en"], outcome.body["text"]["zh"])
        assert "may still be running" in text.en
        assert "可能仍在动作" in text.zh
