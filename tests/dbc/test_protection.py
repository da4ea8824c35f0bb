"""Counters and checksums: pinned to the published check value, and to the scalar reading of each frame."""

from __future__ import annotations

import random

import numpy as np
import pytest

from dbc.database import load
from dbc.decoding import decode_table
from dbc.files import EV400
from dbc.protection import crc8_j1850, find_protection
from dbc.table import FrameRow, FrameTable


def test_checksum_has_the_published_check_value() -> None:
    assert crc8_j1850(b"123456789") == 0x4B
    assert crc8_j1850(b"") == 0x00


def frames(name: str, counters: list[int], *, seed: int = 1) -> tuple[list[FrameRow], object]:
    message = load(EV400).find_message_by_name(name)
    assert message is not None
    protection = find_protection(message)
    assert protection is not None
    random.seed(seed)
    rows = []
    for n, value in enumerate(counters):
        bits = int.from_bytes(random.randbytes(message.length), "little" if protection.counter.little_endian else "big")
        little = protection.counter.little_endian
        shift = protection.counter.first_bit if little else 8 * message.length - protection.counter.first_bit - 4
        bits = bits & ~(0xF << shift) | value << shift
        data = bytearray(bits.to_bytes(message.length, "little" if little else "big"))
        data[protection.checksum_byte] = protection.checksum_of(bytes(data))
        rows.append(FrameRow(n * 20_000_000, message.can_id, bytes(data)))
    return rows, protection


@pytest.mark.parametrize("name", ["BMS_Pack", "INV_Status"])
def test_sound_frames_pass_in_both_byte_orders(name: str) -> None:
    rows, protection = frames(name, [14, 15, 0, 1])
    verdicts = protection.check(decode_table(FrameTable.from_rows(rows), [load(EV400)]).messages[name])
    assert verdicts.valid.all()
    assert verdicts.step.tolist() == [-1, 1, 1, 1]
    assert (verdicts.lost, verdicts.frozen, verdicts.checksum_errors) == (0, 0, 0)


def test_lost_frozen_and_damaged_frames_are_told_apart() -> None:
    rows, protection = frames("BMS_Pack", [1, 2, 2, 6, 7, 8])
    damaged = bytes([rows[4].data[0] ^ 1]) + rows[4].data[1:]
    rows[4] = rows[4]._replace(data=damaged)
    rows[5] = rows[5]._replace(data=rows[5].data[:6])
    verdicts = protection.check(decode_table(FrameTable.from_rows(rows), [load(EV400)]).messages["BMS_Pack"])
    assert verdicts.step.tolist() == [-1, 1, 0, 4, 1, -1]
    assert verdicts.counter.tolist() == [1, 2, 2, 6, 7, -1]
    assert verdicts.checksum_ok.tolist() == [True, True, True, True, False, False]
    assert (verdicts.lost, verdicts.frozen, verdicts.checksum_errors) == (3, 1, 2)
    assert verdicts.valid.tolist() == [True, True, False, True, False, False]


def test_columns_agree_with_single_frames() -> None:
    rows, protection = frames("BMS_Pack", [n % 16 for n in range(200)])
    random.seed(5)
    rows = [row._replace(data=random.randbytes(random.randint(0, 8))) if random.random() < 0.5 else row for row in rows]
    verdicts = protection.check(decode_table(FrameTable.from_rows(rows), [load(EV400)]).messages["BMS_Pack"])
    assert verdicts.checksum_ok.tolist() == [protection.holds(row.data) for row in rows]


def test_each_bus_counts_by_itself() -> None:
    rows, protection = frames("BMS_Pack", [1, 2, 3])
    both = [row._replace(channel=channel) for row in rows for channel in (0, 1)]
    verdicts = protection.check(decode_table(FrameTable.from_rows(both), [load(EV400)]).messages["BMS_Pack"])
    assert verdicts.step.tolist() == [-1, -1, 1, 1, 1, 1]


def test_no_frames_no_verdicts() -> None:
    rows, protection = frames("BMS_Pack", [1])
    columns = decode_table(FrameTable.from_rows(rows), [load(EV400)]).messages["BMS_Pack"]
    assert np.array_equal(protection.check(columns).t_ns, [0])


def test_unprotected_messages_have_none() -> None:
    database = load(EV400)
    message = database.find_message_by_name("VCU_Odometer")
    assert message is not None
    assert find_protection(message) is None
