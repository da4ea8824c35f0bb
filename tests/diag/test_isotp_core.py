"""The ISO-TP state machines by themselves, and against can-isotp in both directions. Virtual time throughout."""

from __future__ import annotations

import itertools
from collections import deque

import isotp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diag.isotp import (
    IsoTpSettings,
    PayloadCut,
    PayloadReceived,
    PayloadSent,
    Receiver,
    Sender,
    SendFrame,
    TransferFailed,
)

MS = 1_000_000
CLASSIC = IsoTpSettings()
EVENTS = (SendFrame, PayloadReceived, PayloadCut, PayloadSent, TransferFailed)


def transfer(payload: bytes, tx: IsoTpSettings, rx: IsoTpSettings) -> tuple[list[object], list[int], int]:
    """Runs a sender and a receiver against each other; events, times of consecutive frames, flow controls."""
    sender, receiver = Sender(tx), Receiver(rx)
    now, events, times, flows = 0, [], [], 0
    out = deque(sender.start(payload, now))
    while out:
        event = out.popleft()
        events.append(event)
        if isinstance(event, SendFrame):
            if event.data[0] >> 4 == 2:
                times.append(now)
            for reply in receiver.receive(event.data, now):
                if isinstance(reply, SendFrame):
                    flows += 1
                    out.extend(sender.receive(reply.data, now))
                else:
                    events.append(reply)
        if not out and sender.is_sending:
            now = sender.deadline_ns
            out.extend(sender.poll(now))
    return events, times, flows


SETTINGS = st.builds(
    IsoTpSettings,
    block_size=st.integers(0, 5),
    stmin=st.sampled_from([0, 1, 10, 0xF1, 0xF9]),
    can_dl=st.sampled_from([8, 12, 24, 64]),
    fill=st.sampled_from([None, 0x00, 0x55, 0xAA, 0xCC]),
)


@given(payload=st.binary(min_size=1, max_size=4200), tx=SETTINGS, rx=SETTINGS)
@settings(max_examples=150, deadline=None)
def test_what_is_split_is_joined_again(payload, tx, rx):
    events, _times, _flows = transfer(payload, tx, rx)
    assert [event.payload for event in events if isinstance(event, PayloadReceived)] == [payload]
    assert sum(isinstance(event, PayloadSent) for event in events) == 1
    assert not any(isinstance(event, (PayloadCut, TransferFailed)) for event in events)


@given(
    frames=st.lists(
        st.tuples(
            st.one_of(
                st.binary(max_size=64),
                st.builds(lambda n, rest: bytes([n]) + rest, st.integers(0, 0x3F), st.binary(max_size=7)),
            ),
            st.integers(0, 2_000 * MS),
        ),
        max_size=40,
    ),
    payload=st.binary(min_size=1, max_size=60),
)
@settings(max_examples=300, deadline=None)
def test_any_bytes_bring_declared_events_only(frames, payload):
    receiver, sender, now = Receiver(IsoTpSettings(block_size=2)), Sender(), 0
    events = list(sender.start(payload, now))
    for data, gap in frames:
        now += gap
        events += receiver.receive(data, now)
        events += sender.receive(data, now)
    events += receiver.poll(now + 10**12) + sender.poll(now + 10**12)
    assert all(isinstance(event, EVENTS) for event in events)
    for event in events:
        if isinstance(event, PayloadCut):
            assert event.missing > 0
        if isinstance(event, SendFrame):
            assert len(event.data) in {8, 12, 16, 20, 24, 32, 48, 64}


def test_block_size_and_separation_time_are_kept():
    payload = bytes(range(6 + 7 * 10))
    _events, times, flows = transfer(payload, CLASSIC, IsoTpSettings(block_size=4, stmin=20))
    assert flows == 3  # after the first frame, the 4th and the 8th consecutive frame
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert all(gap >= 20 * MS for at, gap in enumerate(gaps, 1) if at % 4)


@pytest.mark.parametrize("raw", [0x80, 0xF0, 0xFA, 0xFF])
def test_a_reserved_separation_time_means_127_ms(raw):
    sender = Sender()
    sender.start(bytes(20), 0)
    first = sender.receive(bytes([0x30, 0, raw]), 0)
    assert len(first) == 1
    assert sender.deadline_ns == 127 * MS
    assert sender.poll(126 * MS) == ()
    assert isinstance(sender.poll(127 * MS)[0], SendFrame)


def test_a_lost_frame_keeps_what_came():
    receiver = Receiver()
    receiver.receive(bytes.fromhex("101462F190414243"), 0)
    receiver.receive(bytes.fromhex("2144454647484950"), 10)
    (cut,) = receiver.receive(bytes.fromhex("2344454647484950"), 20)
    assert cut == PayloadCut(bytes.fromhex("62F19041424344454647484950"), 7, cut.reason)
    assert "lost" in cut.reason.en
    assert receiver.receive(bytes.fromhex("2444454647484950"), 30) == ()


@pytest.mark.parametrize(
    ("frames", "kept"),
    [
        (["10135902FF0AA61A", "212F0DE6", "22162F0BBD162FCC"], "5902FF0AA61A"),
        (["10135902FF0AA61A", "212F0DE6162F0B", "22BD162F0AA7112F"], "5902FF0AA61A"),
        (["100A62F190414243", "214445"], "62F190414243"),  # the last one, too, has what was announced
    ],
)
def test_a_short_frame_in_the_middle_shifts_nothing(frames, kept):
    receiver = Receiver()
    events = [event for at, text in enumerate(frames) for event in receiver.receive(bytes.fromhex(text), at)]
    (cut,) = (event for event in events if not isinstance(event, SendFrame))
    assert cut.partial.hex().upper() == kept
    assert "not full" in cut.reason.en


def test_a_short_last_frame_is_fine_when_it_has_what_is_missing():
    receiver = Receiver()
    receiver.receive(bytes.fromhex("100A62F190414243"), 0)
    assert receiver.receive(bytes.fromhex("2144454647"), 1) == (PayloadReceived(b"\x62\xf1\x90ABCDEFG"),)


def test_a_message_that_drips_has_an_end():
    receiver = Receiver(IsoTpSettings(n_cr_ns=1000 * MS, message_ns=20_000 * MS))
    receiver.receive(bytes.fromhex("1FFF62F190414243"), 0)
    now = 0
    for number in range(1, 586):
        now += 990 * MS
        if events := receiver.receive(bytes([0x20 | number & 15]) + bytes(7), now):
            break
    (cut,) = events
    assert 20_000 * MS <= now < 21_000 * MS
    assert "as a whole" in cut.reason.en
    assert len(cut.partial) == 6 + 20 * 7


def test_silence_cuts_after_n_cr():
    receiver = Receiver(IsoTpSettings(n_cr_ns=150 * MS))
    receiver.receive(bytes.fromhex("101462F190414243"), 0)
    assert receiver.deadline_ns == 150 * MS
    assert receiver.poll(149 * MS) == ()
    (cut,) = receiver.poll(150 * MS)
    assert (cut.partial.hex(), cut.missing) == ("62f190414243", 14)
    assert receiver.deadline_ns is None


@pytest.mark.parametrize(
    ("frame", "kinds"),
    [("0241000000000000", [PayloadCut, PayloadReceived]), ("101462F190414243", [PayloadCut, SendFrame])],
)
def test_a_new_message_ends_the_running_one(frame, kinds):
    receiver = Receiver()
    receiver.receive(bytes.fromhex("101462F190414243"), 0)
    events = receiver.receive(bytes.fromhex(frame), 1)
    assert [type(event) for event in events] == kinds
    assert events[0].is_replaced


def test_waiting_is_borne_and_has_an_end():
    sender = Sender(IsoTpSettings(wait_limit=3))
    sender.start(bytes(20), 0)
    for at in range(1, 4):
        assert sender.receive(b"\x31\x00\x00", at) == ()
    (failed,) = sender.receive(b"\x31\x00\x00", 4)
    assert isinstance(failed, TransferFailed)
    assert not sender.is_sending


def test_waiting_prolongs_n_bs():
    sender = Sender(IsoTpSettings(n_bs_ns=75 * MS))
    sender.start(bytes(20), 0)
    sender.receive(b"\x31\x00\x00", 70 * MS)
    assert sender.poll(144 * MS) == ()
    assert isinstance(sender.poll(145 * MS)[0], TransferFailed)


@pytest.mark.parametrize(
    ("flow", "words"), [("320000", "too long"), ("350000", "reserved status"), (None, "no flow control")]
)
def test_a_transfer_fails_with_its_reason(flow, words):
    sender = Sender()
    sender.start(bytes(20), 0)
    (failed,) = sender.poll(10**10) if flow is None else sender.receive(bytes.fromhex(flow), 1)
    assert words in failed.reason.en
    assert failed.reason.zh
    assert sender.receive(b"\x30\x00\x00", 2) == ()


def test_a_message_that_is_too_long_is_declined():
    receiver = Receiver(IsoTpSettings(max_length=100))
    flow, cut = receiver.receive(bytes.fromhex("1FFF62F190414243"), 0)
    assert flow.data[:1] == b"\x32"
    assert (len(cut.partial), cut.missing) == (6, 4089)
    assert not receiver.is_receiving


def test_frames_without_meaning_are_ignored():
    receiver = Receiver()
    for data in ("", "00", "08FFFFFFFFFFFFFF", "30000000", "2141424344454647", "4011", "1003"):
        assert receiver.receive(bytes.fromhex(data), 0) == ()


class Oracle:
    """can-isotp as the other side, on queues."""

    def __init__(self, **params: object) -> None:
        self.to_oracle: deque[isotp.CanMessage] = deque()
        self.from_oracle: deque[bytes] = deque()
        self.logic = isotp.TransportLayerLogic(
            rxfn=lambda _timeout: self.to_oracle.popleft() if self.to_oracle else None,
            txfn=lambda message: self.from_oracle.append(bytes(message.data)),
            address=isotp.Address(isotp.AddressingMode.Normal_11bits, txid=0x7E8, rxid=0x7E0),
            params={"tx_padding": 0xAA, **params},
        )

    def give(self, data: bytes) -> None:
        self.to_oracle.append(isotp.CanMessage(arbitration_id=0x7E0, data=data, is_fd=len(data) > 8))


@pytest.mark.parametrize("length", [1, 6, 7, 8, 13, 20, 62, 63, 200, 4095])
@pytest.mark.parametrize(("can_dl", "block_size"), [(8, 0), (8, 3), (64, 0), (64, 2)])
def test_can_isotp_understands_what_we_send(length, can_dl, block_size):
    payload = bytes(at & 0xFF for at in range(length))
    oracle = Oracle(blocksize=block_size, can_fd=can_dl > 8, tx_data_length=can_dl)
    sender = Sender(IsoTpSettings(can_dl=can_dl))
    out, now = list(sender.start(payload, 0)), 0
    for _ in range(2000):
        for event in out:
            if isinstance(event, SendFrame):
                oracle.give(event.data)
        out = []
        oracle.logic.process()
        while oracle.from_oracle:
            out += sender.receive(oracle.from_oracle.popleft(), now)
        now += MS
        out += sender.poll(now)
        if oracle.logic.available():
            break
    assert bytes(oracle.logic.recv()) == payload


# A separation time above 0 with a short message only: can-isotp keeps it by the wall clock.
@pytest.mark.parametrize(
    ("length", "can_dl", "block_size", "stmin"),
    [(length, *form, 0) for length in (1, 7, 8, 62, 63, 300, 4095) for form in ((8, 0), (8, 5), (64, 0))]
    + [(30, 8, 0, 1), (30, 8, 2, 0xF5)],
)
def test_we_understand_what_can_isotp_sends(length, can_dl, block_size, stmin):
    payload = bytes((at * 7) & 0xFF for at in range(length))
    oracle = Oracle(can_fd=can_dl > 8, tx_data_length=can_dl)
    receiver = Receiver(IsoTpSettings(block_size=block_size, stmin=stmin, can_dl=can_dl))
    oracle.logic.send(bytearray(payload))
    got = []
    for _ in range(200_000):
        oracle.logic.process()
        while oracle.from_oracle:
            for event in receiver.receive(oracle.from_oracle.popleft(), 0):
                if isinstance(event, SendFrame):
                    oracle.give(event.data)
                else:
                    got.append(event)
        if got:
            break
    assert got == [PayloadReceived(payload)]
