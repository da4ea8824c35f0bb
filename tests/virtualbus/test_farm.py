"""A real car in, a simulated car out: OBDb's cases and the Kona's recording answer again."""

from __future__ import annotations

import json
import time

import can
import isotp
import pytest

from huizhen.commands.sim import _farm
from virtualbus.errors import FarmBroken
from virtualbus.farm import Exchange, Farm, exchanges_from_cases, exchanges_from_frames
from virtualbus.fronts import open_front, parse_front
from virtualbus.runner import CarRunner
from virtualbus.transport import Frame


@pytest.fixture(scope="module")
def bolt(shared):
    return shared / "data" / "obdb" / "Chevrolet-Bolt-EV" / "cases.jsonl"


def ask(farm: Farm, request_id: int, payload: bytes, *, extended: bool = False) -> list[tuple[int, bytes]]:
    """The answers as can-isotp's client side would put them together, flow control included."""
    farm.receive(Frame(request_id, bytes([len(payload)]) + payload, extended), 0)
    frames: list[Frame] = []
    for _ in range(50):
        for frame in farm.answers(0):
            frames.append(frame)
            if frame.data[0] >> 4 == 1:
                back = frame.can_id - 8 if not extended else request_id
                farm.receive(Frame(back, b"\x30\x00\x00", extended), 0)
    out: dict[int, bytearray] = {}
    whole = []
    lengths: dict[int, int] = {}
    for frame in frames:
        if frame.data[0] >> 4 == 0:
            whole.append((frame.can_id, frame.data[1 : 1 + frame.data[0]]))
        elif frame.data[0] >> 4 == 1:
            lengths[frame.can_id] = (frame.data[0] & 15) << 8 | frame.data[1]
            out[frame.can_id] = bytearray(frame.data[2:])
        else:
            out[frame.can_id] += frame.data[1:]
            if len(out[frame.can_id]) >= lengths[frame.can_id]:
                whole.append((frame.can_id, bytes(out[frame.can_id][: lengths[frame.can_id]])))
    return whole


def test_every_case_of_a_car_answers_what_it_answered(bolt):
    exchanges = exchanges_from_cases(bolt)
    farm = Farm("bolt", exchanges)
    first: dict[tuple[int, bytes], Exchange] = {}
    for exchange in exchanges:
        first.setdefault((exchange.request_id, exchange.request), exchange)
    assert len(first) > 10
    for (request_id, request), exchange in first.items():
        if len(request) <= 7:
            assert set(exchange.answers) <= set(ask(farm, request_id, request)), request.hex()


def test_values_follow_the_time_and_begin_anew():
    rows = [
        Exchange(n * 1_000_000_000, 0x7E0, False, b"\x01\x0d", ((0x7E8, bytes([0x41, 0x0D, n])),)) for n in range(3)
    ]
    farm = Farm("speed", rows)
    seen = []
    for _ in range(4):
        seen.append(ask(farm, 0x7E0, b"\x01\x0d")[0][1][2])
        for _ in range(100):
            farm.tick()
    assert seen == [0, 1, 2, 0]
    assert ask(farm, 0x7DF, b"\x01\x0d"), "a functional request reaches it too"
    assert ask(farm, 0x7E0, b"\x01\x0c") == [], "what was not asked is not known"


def test_pairs_of_a_recording_with_response_pending_several_ecus_and_broadcast():
    ms = 1_000_000
    frames = [
        (0, 0x100, False, b"\x01\x02"),
        (10 * ms, 0x7DF, False, bytes.fromhex("020100aaaaaaaaaa")),
        (12 * ms, 0x7E8, False, bytes.fromhex("064100be1fa813aa")),
        (13 * ms, 0x7EC, False, bytes.fromhex("064100800000ffaa")),
        (50 * ms, 0x7E4, False, bytes.fromhex("0322f190aaaaaaaa")),
        (52 * ms, 0x7EC, False, bytes.fromhex("037f2278aaaaaaaa")),
        (90 * ms, 0x7EC, False, bytes.fromhex("101462f1904c485a")),
        (91 * ms, 0x7E4, False, bytes.fromhex("300000aaaaaaaaaa")),
        (92 * ms, 0x7EC, False, bytes.fromhex("2145563444303752")),
        (93 * ms, 0x7EC, False, bytes.fromhex("2241373735343131")),
        (200 * ms, 0x100, False, b"\x03\x04"),
    ]
    exchanges, broadcast = exchanges_from_frames(frames)
    assert [(e.request.hex(), len(e.answers)) for e in exchanges] == [("0100", 2), ("22f190", 2)]
    assert [(at // ms, frame.can_id) for at, frame in broadcast] == [(0, 0x100), (200, 0x100)]
    farm = Farm("visit", exchanges, broadcast)
    assert farm.vin == "LHZEV4D07RA775411"
    answers = ask(farm, 0x7E4, b"\x22\xf1\x90")
    assert [payload.hex()[:6] for _, payload in answers] == ["7f2278", "62f190"]
    assert [len(farm.tick()) for _ in range(25)].count(1) == 2


def test_the_kona_answers_again_as_on_its_recording(shared):
    """The real car's recording, on which only the answers stand, becomes a car that can be asked for them."""
    farm = _farm(str(shared / "data" / "css" / "kona_uds.mf4"))
    first = ask(farm, 0x7E4, bytes.fromhex("220101"))
    assert first[0][0] == 0x7EC
    assert first[0][1].hex().startswith("620101fff7e7ff64"), "the first frames of the recording"
    assert len(first[0][1]) == 62
    for _ in range(1500):
        farm.tick()
    later = ask(farm, 0x7E4, bytes.fromhex("220101"))
    assert later[0][1] != first[0][1], "fifteen seconds later the car said something else"
    assert ask(farm, 0x7B3, bytes.fromhex("220100"))[0][0] == 0x7BB


def test_over_a_python_can_bus_with_can_isotp_as_tester(bolt):
    farm = Farm("bolt", exchanges_from_cases(bolt))
    front = open_front(parse_front("can:virtual:farm-test"))
    runner = CarRunner(farm, [front])
    runner.start()
    try:
        with can.Bus(interface="virtual", channel="farm-test") as bus:
            pair = isotp.Address(isotp.AddressingMode.Normal_11bits, txid=0x7E0, rxid=0x7E8)
            stack = isotp.CanStack(bus, address=pair)
            stack.send(bytes.fromhex("015b"))
            end = time.monotonic() + 3
            while time.monotonic() < end and not stack.available():
                stack.process()
                time.sleep(0.002)
            assert stack.recv()[:2] == b"\x41\x5b"
    finally:
        runner.stop()


@pytest.mark.parametrize(
    "text", ["", "{}\n", "nonsense\n", json.dumps({"command": "7E0.01", "response": "xyz"}) + "\n"]
)
def test_a_file_without_exchanges_is_refused_with_its_line(tmp_path, text):
    path = tmp_path / "cases.jsonl"
    path.write_text(text)
    with pytest.raises(FarmBroken, match="line 1"):
        exchanges_from_cases(path)


def test_a_recording_without_anything_is_refused():
    with pytest.raises(FarmBroken):
        Farm("empty", [])
