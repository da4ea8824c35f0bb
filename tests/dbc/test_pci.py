"""ISO-TP frames: fixed vectors by hand from ISO 15765-2, round trips, and can-isotp as the oracle."""

from __future__ import annotations

import isotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbc.errors import BadPci
from dbc.pci import (
    FD_LENGTHS,
    ConsecutiveFrame,
    FirstFrame,
    FlowControl,
    FlowStatus,
    SingleFrame,
    byte_from_stmin_us,
    pad,
    parse_pci,
    segment,
    stmin_us_from_byte,
)


@pytest.mark.parametrize(
    ("raw", "frame"),
    [
        ("0322F18CCCCCCCCC", SingleFrame(bytes.fromhex("22F18C"))),
        ("0322F18C", SingleFrame(bytes.fromhex("22F18C"))),
        ("0008 0102030405060708 AAAA", SingleFrame(bytes.fromhex("0102030405060708"))),
        ("103E620105FFFFFF", FirstFrame(62, bytes.fromhex("620105FFFFFF"))),
        ("100000001000AABB", FirstFrame(4096, b"\xaa\xbb")),
        ("2FAABB", ConsecutiveFrame(15, b"\xaa\xbb")),
        ("30080A", FlowControl(FlowStatus.CONTINUE_TO_SEND, 8, 0x0A)),
        ("3100 F3 CCCCCCCCCC", FlowControl(FlowStatus.WAIT, 0, 0xF3)),
    ],
)
def test_vectors(raw: str, frame: object) -> None:
    assert parse_pci(bytes.fromhex(raw)) == frame


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("", "an empty frame"),
        ("00", "length 0"),
        ("0422F18C", "4 bytes announced, 3 there"),
        ("0722F18C0000000000000000", "long form"),
        ("00FF0000000000000000", "255 bytes announced, 8 there"),
        ("1014620105", "below 8 bytes"),
        ("1007620105FFFFFF", "fit a single frame"),
        ("100000000FFFAABB", "long form for a length of 4095"),
        ("21", "without data"),
        ("3000", "below 3 bytes"),
        ("330000", "reserved flow status 3"),
        ("F000000000000000", "reserved frame type F"),
    ],
)
def test_broken_frames_say_why(raw: str, message: str) -> None:
    with pytest.raises(BadPci, match=message):
        parse_pci(bytes.fromhex(raw))


@given(st.binary(max_size=64), st.integers(0, 1))
def test_any_bytes_end_in_a_frame_or_a_declared_error(data: bytes, address_bytes: int) -> None:
    try:
        frame = parse_pci(data, address_bytes=address_bytes)
    except BadPci:
        return
    wire = frame.encode(address_bytes=address_bytes) if isinstance(frame, SingleFrame) else frame.encode()
    assert data.startswith(wire) or len(data) + address_bytes > 8  # the long form may carry a short message


def test_separation_times() -> None:
    assert [stmin_us_from_byte(raw) for raw in (0, 1, 0x7F, 0xF1, 0xF9)] == [0, 1000, 127_000, 100, 900]
    assert {stmin_us_from_byte(raw) for raw in (*range(0x80, 0xF1), *range(0xFA, 0x100))} == {127_000}


@given(st.integers(0, 127_000))
def test_separation_time_is_never_shortened(stmin_us: int) -> None:
    got = stmin_us_from_byte(byte_from_stmin_us(stmin_us))
    assert stmin_us <= got < stmin_us + 1000


@given(st.binary(min_size=1, max_size=6000), st.sampled_from(FD_LENGTHS[8:]), st.integers(0, 1))
def test_segments_carry_the_message(payload: bytes, can_dl: int, address_bytes: int) -> None:
    frames = segment(payload, can_dl=can_dl, address_bytes=address_bytes)
    wires = [
        pad(
            frame.encode(address_bytes=address_bytes) if isinstance(frame, SingleFrame) else frame.encode(),
            address_bytes=address_bytes,
        )
        for frame in frames
    ]
    read = [parse_pci(wire, address_bytes=address_bytes) for wire in wires]
    assert all(len(wire) + address_bytes <= can_dl for wire in wires)
    assert b"".join(frame.data for frame in read if not isinstance(frame, FlowControl))[: len(payload)] == payload


@given(st.binary(min_size=1, max_size=400), st.sampled_from([8, 12, 64]))
def test_can_isotp_sends_the_same_frames(payload: bytes, can_dl: int) -> None:
    sent: list[bytes] = []
    answers = [b"\x30\x00\x00"]

    def receive(timeout: float) -> isotp.CanMessage | None:
        return isotp.CanMessage(arbitration_id=0x7E8, data=answers.pop()) if answers and sent else None

    layer = isotp.TransportLayerLogic(
        rxfn=receive,
        txfn=lambda message: sent.append(bytes(message.data)),
        address=isotp.Address(txid=0x7E0, rxid=0x7E8),
        params={"tx_data_length": can_dl, "can_fd": can_dl > 8, "stmin": 0, "override_receiver_stmin": 0},
    )
    layer.send(payload)
    expected = [frame.encode() for frame in segment(payload, can_dl=can_dl)]
    for _ in range(len(expected) + 4):
        layer.process()
    assert [pad(wire, can_dl=0) for wire in expected] == [pad(wire, can_dl=0) for wire in sent]
