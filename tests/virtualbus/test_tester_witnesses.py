"""udsoncan and can-isotp as the tester, over python-can's virtual bus: the car answers as the standards say."""

from __future__ import annotations

import time

import can
import isotp
import pytest
import udsoncan
from udsoncan.client import Client
from udsoncan.connections import PythonIsoTpConnection
from udsoncan.exceptions import NegativeResponseException

import virtualbus
from virtualbus.identity import check_digit

BMS, VCU, INV, OBC = 0x7E4, 0x7E0, 0x7E1, 0x7E5


class Text(udsoncan.DidCodec):
    def encode(self, value):
        return value.encode()

    def decode(self, payload):
        return payload.decode("ascii")

    def __len__(self):
        raise udsoncan.DidCodec.ReadAllRemainingData


@pytest.fixture(scope="module")
def car():
    with virtualbus.running("isolation", seed=5) as running:
        yield running


@pytest.fixture
def bus(car):
    with can.Bus(interface=car.interface, channel=car.channel) as opened:
        yield opened


def client_for(bus: can.BusABC, request_id: int, **config):
    notifier = can.Notifier(bus, [], timeout=0.05)
    address = isotp.Address(isotp.AddressingMode.Normal_11bits, rxid=request_id + 8, txid=request_id)
    stack = isotp.NotifierBasedCanStack(bus, notifier, address=address, params={"tx_padding": 0x55, "blocksize": 4})
    settings = dict(udsoncan.configs.default_client_config)
    settings.update(request_timeout=4, data_identifiers={"default": Text, 0xF186: "B"}, extended_data_size=1, **config)
    return Client(PythonIsoTpConnection(stack), config=settings), notifier


@pytest.fixture
def bms(bus):
    client, notifier = client_for(bus, BMS)
    with client:
        yield client
    notifier.stop()


@pytest.fixture
def vcu(bus):
    client, notifier = client_for(bus, VCU)
    with client:
        yield client
    notifier.stop()


def test_sessions_and_their_timing(bms):
    answer = bms.change_session(3)
    assert answer.service_data.p2_server_max == pytest.approx(0.05)
    assert answer.service_data.p2_star_server_max == pytest.approx(5.0)
    assert bms.read_data_by_identifier_first(0xF186) == (3,)
    bms.tester_present()
    bms.change_session(1)
    assert bms.read_data_by_identifier_first(0xF186) == (1,)


def test_vin_over_several_frames(vcu, car):
    vin = vcu.read_data_by_identifier_first(0xF190)
    assert vin == car.car.vin
    assert len(vin) == 17
    assert vin[8] == check_digit(vin)
    assert vin[9] == "R"


def test_dtc_with_its_status(bms):
    answer = bms.get_dtc_by_status_mask(0x08)
    (dtc,) = answer.service_data.dtcs
    assert dtc.id == 0x0AA61A
    assert dtc.status.get_byte_as_int() == 0x2F
    assert answer.service_data.status_availability.get_byte_as_int() == 0x7F
    assert bms.get_number_of_dtc_by_status_mask(0x08).service_data.dtc_count == 1


def test_supported_dtcs_are_more_than_the_set_ones(bms):
    assert bms.get_supported_dtc().service_data.dtc_count == 22


def test_snapshot_has_the_moment_of_the_fault(bms):
    sizes = {0xF49A: 6, 0xF45B: 1, 0xF40D: 1, 0xF4A6: 4, 0xF446: 1, 0xF442: 2, 0x0110: 6, 0x0111: 2, 0x0112: 2}

    class Raw(udsoncan.DidCodec):
        def __init__(self, size):
            self.size = size

        def decode(self, payload):
            return bytes(payload)

        def __len__(self):
            return self.size

    bms.set_config("data_identifiers", {did: Raw(size) for did, size in sizes.items()})
    answer = bms.get_dtc_snapshot_by_dtc_number(0x0AA61A)
    records = answer.service_data.dtcs[0].snapshots
    first = {snapshot.did: snapshot.data for snapshot in records if snapshot.record_number == 1}
    assert set(first) == set(sizes)
    volts = int.from_bytes(first[0xF49A][2:4], "big") / 64
    assert 300 < volts < 400
    assert int.from_bytes(first[0x0111], "big") * 1000 < 100 * volts


def test_extended_data_comes_after_response_pending(bms, car):
    with can.Bus(interface=car.interface, channel=car.channel) as witness:
        answer = bms.get_dtc_extended_data_by_dtc_number(0x0AA61A, record_number=0xFF, data_size=1)
        frames = []
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            message = witness.recv(0.05)
            if message is not None and message.arbitration_id == BMS + 8:
                frames.append(bytes(message.data))
    records = {record.record_number: record.raw_data for record in answer.service_data.dtcs[0].extended_data}
    assert records[1][0] >= 1
    assert records[2] == b"\x00"
    assert frames[0][:4] == b"\x03\x7f\x19\x78"


def test_no_snapshot_of_an_unknown_code(bms):
    with pytest.raises(NegativeResponseException) as refused:
        bms.get_dtc_snapshot_by_dtc_number(0x123456)
    assert refused.value.response.code == 0x31


@pytest.mark.parametrize(
    ("request_hex", "nrc"),
    [
        ("1101", 0x7F),
        ("2e f190 00", 0x7F),
        ("2701", 0x7F),
        ("1905 07", 0x31),
        ("1917 01 01", 0x12),
        ("1900", 0x12),
        ("3e01", 0x12),
        ("22f1", 0x13),
        ("1902", 0x13),
        ("1902 ff 00", 0x13),
        ("22ffff", 0x31),
        ("14123456", 0x31),
        ("1002", 0x7E),
        ("8502", 0x7F),
    ],
)
def test_negative_responses(bms, request_hex, nrc):
    payload = bytes.fromhex(request_hex)
    bms.conn.empty_rxqueue()
    bms.conn.send(payload)
    assert bms.conn.wait_frame(timeout=2) == bytes([0x7F, payload[0], nrc])


def ask(bus: can.BusABC, can_id: int, payload: bytes, wait_s: float = 0.4) -> dict[int, bytes]:
    """Single-frame request, answers of single frames by id."""
    data = bytes([len(payload)]) + payload
    bus.send(can.Message(arbitration_id=can_id, data=data.ljust(8, b"\0"), is_extended_id=False))
    answers: dict[int, bytes] = {}
    end = time.monotonic() + wait_s
    while time.monotonic() < end:
        message = bus.recv(0.05)
        if message is not None and 0x7E8 <= message.arbitration_id <= 0x7EF and message.data[0] < 8:
            answers[message.arbitration_id] = bytes(message.data[1 : 1 + message.data[0]])
    return answers


def test_functional_obd_request_is_answered_by_every_ecu(bus):
    answers = ask(bus, 0x7DF, b"\x01\x00")
    assert set(answers) == {0x7E8, 0x7E9, 0x7EC, 0x7ED, 0x7EE, 0x7EF}
    assert all(answer[:2] == b"\x41\x00" for answer in answers.values())


def test_obd_codes_lamp_and_freeze_frame_agree(bus):
    stored, pending, permanent = (ask(bus, 0x7DF, bytes([sid])) for sid in (0x03, 0x07, 0x0A))
    for answers, sid in ((stored, 0x43), (pending, 0x47), (permanent, 0x4A)):
        assert answers[0x7EC] == bytes([sid, 1, 0x0A, 0xA6])
        assert answers[0x7E8] == bytes([sid, 0])
    status = ask(bus, 0x7DF, b"\x01\x01")
    assert status[0x7EC] == b"\x41\x01\x81\x00\x00\x00"
    assert status[0x7E8] == b"\x41\x01\x00\x00\x00\x00"
    assert ask(bus, BMS, b"\x02\x02\x00")[0x7EC] == b"\x42\x02\x00\x0a\xa6"
    assert ask(bus, BMS, b"\x02\x0d\x00")[0x7EC][:3] == b"\x42\x0d\x00"


@pytest.mark.parametrize(
    "payload", [b"\x11\x01", b"\x22\xff\xff", b"\x19\x05\x01", b"\x10\x02", b"\x85\x02", b"\x01\x05"]
)
def test_functional_requests_that_nobody_can_answer_stay_unanswered(bus, payload):
    assert ask(bus, 0x7DF, payload, 0.25) == {}


def test_wrong_length_is_answered_even_when_functional(bus):
    answers = ask(bus, 0x7DF, b"\x19\x02")
    assert set(answers.values()) == {b"\x7f\x19\x13"}


def test_suppressed_positive_answer_stays_away_and_negative_ones_come(bus):
    assert ask(bus, VCU, b"\x3e\x80", 0.2) == {}
    assert ask(bus, VCU, b"\x3e\x81") == {0x7E8: b"\x7f\x3e\x12"}


def test_vehicle_information_comes_from_whom_it_should(bus):
    assert set(ask(bus, 0x7DF, b"\x09\x00")) == {0x7E8, 0x7E9, 0x7EC, 0x7ED, 0x7EE, 0x7EF}
    assert ask(bus, BMS, b"\x09\x02") == {0x7EC: b"\x7f\x09\x12"}


def test_many_requests_to_all_ecus_at_once(bus):
    for _ in range(5):
        for request_id in (VCU, INV, BMS, OBC):
            bus.send(can.Message(arbitration_id=request_id, data=b"\x02\x3e\x00", is_extended_id=False))
    seen: list[int] = []
    end = time.monotonic() + 2
    while time.monotonic() < end and len(seen) < 20:
        message = bus.recv(0.1)
        if message is not None and message.data[:3] == b"\x02\x7e\x00":
            seen.append(message.arbitration_id)
    assert sorted(seen) == sorted([0x7E8, 0x7E9, 0x7EC, 0x7ED] * 5)


def test_clear_forgets_and_the_fault_comes_back(car):
    with virtualbus.running("isolation", seed=6) as own, can.Bus(interface="virtual", channel=own.channel) as bus:
        assert ask(bus, BMS, b"\x03", 0.2)[0x7EC] == b"\x43\x01\x0a\xa6"
        assert ask(bus, 0x7DF, b"\x04", 0.2)[0x7EC] == b"\x44"
        assert ask(bus, BMS, b"\x03", 0.2)[0x7EC] == b"\x43\x00"
        assert ask(bus, BMS, b"\x0a", 0.2)[0x7EC] == b"\x4a\x01\x0a\xa6", "permanent codes survive a clear"
        end = time.monotonic() + 20
        while time.monotonic() < end and ask(bus, BMS, b"\x03", 0.3).get(0x7EC) != b"\x43\x01\x0a\xa6":
            pass
        assert ask(bus, BMS, b"\x03", 0.3)[0x7EC] == b"\x43\x01\x0a\xa6"


def test_lost_bms_answers_nobody():
    with virtualbus.running("lost-bms") as own, can.Bus(interface="virtual", channel=own.channel) as bus:
        assert set(ask(bus, 0x7DF, b"\x01\x00")) == {0x7E8, 0x7E9, 0x7ED, 0x7EE, 0x7EF}
        assert ask(bus, BMS, b"\x3e\x00") == {}


def test_two_cars_do_not_hear_each_other():
    with virtualbus.running() as one, virtualbus.running() as other:
        assert one.channel != other.channel
        with can.Bus(interface="virtual", channel=one.channel) as bus:
            assert ask(bus, 0x7DF, b"\x3e\x00", 0.3).keys() == {0x7E8, 0x7E9, 0x7EC, 0x7ED, 0x7EE, 0x7EF}
