"""Live signals: the last believable value of each, by age, checksum and the sender's own word."""

from __future__ import annotations

import asyncio

import can
import cantools
import numpy as np
import pytest

import virtualbus
from dbc.database import load
from dbc.files import EV400
from diag.canbus import open_can
from diag.frames import Frame
from diag.guard import TransmitGuard
from diag.live import LiveStream, SignalBoard

SECOND = 1_000_000_000
ORACLE = cantools.database.load_file(EV400)


def crc8(data: bytes) -> int:
    """CRC-8/SAE-J1850, bit by bit, from its definition."""
    crc = 0xFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x1D if crc & 0x80 else crc << 1) & 0xFF
    return crc ^ 0xFF


def pack_frame(**values: float) -> Frame:
    message = ORACLE.get_message_by_name("BMS_Pack")
    fields = {"PackVoltage": 362.5, "PackCurrent": -12.5, "StateOfCharge": 53.1, "BMS_Pack_Counter": 3, **values}
    data = bytearray(message.encode({**fields, "BMS_Pack_Checksum": 0}, strict=False))
    data[7] = crc8((384).to_bytes(2, "little") + data[:7])
    return Frame(message.frame_id, bytes(data))


def value_of(board: SignalBoard, name: str, now_ns: int) -> float | None:
    block = board.block(now_ns, now_ns)
    at = [signal.name for signal in board.schema.signals].index(name)
    return float(block.values[at]) if block.valid[at] else None


def test_the_check_value_of_the_crc() -> None:
    assert crc8(b"123456789") == 0x4B


def test_unseen_is_not_zero() -> None:
    board = SignalBoard([load(EV400)])
    block = board.block(0, 0)
    assert not block.valid.any()
    assert block.values.dtype == np.float32
    assert block.values.shape == (len(board.schema.signals),)


def test_plumbing_is_not_shown() -> None:
    names = {signal.name for signal in SignalBoard([load(EV400)]).schema.signals}
    assert "CellVoltage_096" in names
    assert not {"CellGroup", "BMS_Pack_Counter", "BMS_Pack_Checksum"} & names


def test_a_value_lives_as_long_as_three_cycles_and_no_longer() -> None:
    board = SignalBoard([load(EV400)])
    board.take(pack_frame(), SECOND)
    assert value_of(board, "PackVoltage", SECOND) == pytest.approx(362.5)
    assert value_of(board, "PackCurrent", SECOND + SECOND // 2) == pytest.approx(-12.5)
    assert value_of(board, "PackVoltage", SECOND + SECOND // 2 + 1) is None


def test_a_wrong_checksum_is_not_used() -> None:
    board = SignalBoard([load(EV400)])
    frame = pack_frame()
    board.take(Frame(frame.can_id, frame.data[:7] + bytes([frame.data[7] ^ 1])), SECOND)
    assert value_of(board, "PackVoltage", SECOND) is None
    assert board.damaged == 1


def test_not_available_takes_the_value_away() -> None:
    board = SignalBoard([load(EV400)])
    board.take(pack_frame(), SECOND)
    raw = ORACLE.get_message_by_name("BMS_Pack").get_signal_by_name("PackVoltage").choices
    sna = next(number for number, text in raw.items() if str(text) == "SNA")
    frame = pack_frame()
    data = bytearray(sna.to_bytes(2, "little") + frame.data[2:])
    data[7] = crc8((384).to_bytes(2, "little") + data[:7])
    board.take(Frame(frame.can_id, bytes(data)), SECOND + 1)
    assert value_of(board, "PackVoltage", SECOND + 1) is None
    assert value_of(board, "StateOfCharge", SECOND + 1) == pytest.approx(53.1)


def test_only_the_chosen_signals() -> None:
    board = SignalBoard([load(EV400)], signals=["StateOfCharge", "CellVoltage_001"])
    assert {signal.name for signal in board.schema.signals} == {"StateOfCharge", "CellVoltage_001"}


async def test_the_stream_shows_what_cantools_reads_off_the_same_bus() -> None:
    with (
        virtualbus.running("weak-cell", seed=5) as car,
        can.Bus(interface=car.interface, channel=car.channel) as witness,
    ):
        async with await open_can(car.interface, car.channel, guard=TransmitGuard()) as link:
            stream = LiveStream(link, [load(EV400)], period_s=0.05)
            blocks = []
            async with asyncio.timeout(120):
                async for block in stream.blocks():
                    blocks.append(block)
                    if len(blocks) == 60:
                        break
        seen: dict[str, set[float]] = {}
        while message := witness.recv(0):
            if message.arbitration_id in {m.frame_id for m in ORACLE.messages}:
                decoded = ORACLE.decode_message(message.arbitration_id, message.data, decode_choices=False)
                for name, value in decoded.items():
                    seen.setdefault(name, set()).add(round(float(value), 4))
    last = blocks[-1]
    assert last.valid.mean() > 0.95
    for at, signal in enumerate(stream.schema.signals):
        if last.valid[at]:
            nearest = min(seen[signal.name], key=lambda value, at=at: abs(value - float(last.values[at])))
            assert float(last.values[at]) == pytest.approx(nearest, rel=1e-6, abs=1e-4), signal.name
    stamps = [block.t_ns for block in blocks]
    assert stamps == sorted(stamps)
    assert 0.03 < (stamps[-1] - stamps[0]) / 1e9 / (len(stamps) - 1) < 0.2
