"""Trouble on the way to the ECUs: what a tester sees of it."""

from __future__ import annotations

import pytest

from virtualbus.car import Car
from virtualbus.errors import Phrase
from virtualbus.scenario import Scenario
from virtualbus.transport import Frame
from virtualbus.wire import TRANSPORT_KINDS, TransportFault

MS = 1_000_000


def car_with(kind: str, ecu: str | None = "BMS", **figures: float) -> Car:
    all_of_them = {name: default for name, (_, _, default) in TRANSPORT_KINDS[kind].items()} | figures
    fault = TransportFault(kind, ecu, all_of_them)
    return Car(Scenario("t", Phrase("t", "t"), "ev400", transport=(fault,)), 1)


def talk(car: Car, request: str, *, to: int = 0x7E4, seconds: float = 3.0, start_ms: int = 0) -> list[tuple[int, str]]:
    """Answers with their time in ms after the request; flow control is sent at once."""
    car.receive(Frame(to, bytes.fromhex(request)), start_ms * MS)
    out = []
    for at in range(start_ms, start_ms + round(seconds * 1000)):
        for frame in car.answers(at * MS):
            out.append((at - start_ms, frame.data.hex()))
            if frame.data[0] >> 4 == 1:
                car.receive(Frame(to, bytes.fromhex("300000")), at * MS)
    return out


def test_delay_moves_every_answer_and_other_ecus_are_left_alone():
    car = car_with("delay", ms=300)
    assert [at for at, _ in talk(car, "023e00")] == [600], "there and back"
    assert [at for at, _ in talk(car, "023e00", to=0x7E0)] == [0]


def test_jitter_never_reorders():
    car = car_with("jitter", ms=200)
    answer = talk(car, "0322f190")
    assert [data[:2] for _, data in answer] == ["10", "21", "22"]
    assert len({at for at, _ in answer}) > 1


def test_loss_and_doubles_at_their_rate():
    lost = sum(not talk(car_with("loss", share=1.0), "023e00", seconds=0.1) for _ in range(1))
    assert lost == 1
    car = car_with("loss", share=0.2)
    heard = sum(bool(talk(car, "023e00", seconds=0.02, start_ms=at * 50)) for at in range(200))
    assert 0.5 * 200 < heard < 0.78 * 200, "both ways lose a fifth"
    doubled = car_with("duplicate", share=1.0)
    assert len(talk(doubled, "023e00", seconds=0.1)) == 4, "the request came twice, each answer too"


def test_storm_of_response_pending_ends_with_the_answer():
    answer = talk(car_with("pending-storm", count=5, gap_ms=100), "0322f189")
    assert [data[:8] for _, data in answer[:-1]] == ["037f2278"] * 5
    assert answer[-1][1].startswith("0662f189")
    assert answer[-1][0] >= 500


def test_sleeping_ecu_misses_the_first_requests():
    car = car_with("asleep", wake_ms=500)
    assert talk(car, "023e00", seconds=0.3) == []
    assert talk(car, "023e00", seconds=0.1, start_ms=600) != []


def test_bus_off_comes_and_goes():
    car = car_with("bus-off", every_s=2.0, lasts_s=1.0)
    heard = [bool(talk(car, "023e00", seconds=0.05, start_ms=at)) for at in range(0, 6000, 250)]
    assert heard[0]
    assert 0.3 < sum(heard) / len(heard) < 0.7


def test_gateway_hides_broadcast_or_one_ecu():
    hidden = car_with("gateway-filter", ecu=None)
    assert not [frame for _ in range(100) for frame in hidden.tick()]
    assert talk(hidden, "023e00")
    one = car_with("gateway-filter")
    assert talk(one, "023e00") == []
    assert talk(one, "023e00", to=0x7E0)
    assert [frame for _ in range(10) for frame in one.tick()]


def test_late_flow_control_delays_only_that():
    car = car_with("late-flow-control", ms=400)
    first = talk(car, "100a22f187f189f1", seconds=1.0)
    assert [at for at, data in first if data.startswith("30")] == [400]


def test_security_locks_after_three_wrong_keys_and_opens_again():
    car = car_with("security-lock", seconds=5)
    assert talk(car, "021003", seconds=0.1)[0][1].startswith("065003")
    assert talk(car, "022701", seconds=0.1, start_ms=200)[0][1].startswith("037f2737"), "locked from the beginning"

    def keep(at_ms: int) -> None:
        talk(car, "023e00", seconds=0.01, start_ms=at_ms)

    for at in range(2000, 6001, 2000):
        keep(at)
    for number, refusal in enumerate(("35", "35", "36")):
        at = 6100 + 200 * number
        assert talk(car, "022701", seconds=0.05, start_ms=at)[0][1].startswith("066701")
        assert talk(car, "06270200000000", seconds=0.05, start_ms=at + 100)[0][1].startswith(f"037f27{refusal}")
    assert talk(car, "022701", seconds=0.05, start_ms=6900)[0][1].startswith("037f2737")


def test_the_same_seed_meets_the_same_trouble():
    def run() -> list[tuple[int, str]]:
        car = car_with("loss", share=0.3)
        return [item for at in range(0, 2000, 50) for item in talk(car, "023e00", seconds=0.04, start_ms=at)]

    assert run() == run()


@pytest.mark.parametrize("kind", TRANSPORT_KINDS)
def test_a_car_with_any_trouble_ticks_on(kind):
    car = car_with(kind, ecu=None)
    for _ in range(20):
        car.tick()
    talk(car, "023e00", seconds=0.2)
