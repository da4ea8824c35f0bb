"""Messages longer than a frame: from reassembled payloads, real ones and made ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cantools
import numpy as np
import pytest

from dbc.database import Database, load
from dbc.decoding import decode_table
from dbc.pci import pad, segment
from dbc.recording import open_recording
from dbc.signals import Condition, Message, Signal
from dbc.table import FD, FrameRow, FrameTable

if TYPE_CHECKING:
    from pathlib import Path


def database_of(*messages: Message) -> Database:
    return Database("made", "made.dbc", messages)


def rows_of(payload: bytes, *, can_id: int = 0x7EC, t_ns: int = 0) -> list[FrameRow]:
    return [FrameRow(t_ns + n, can_id, pad(frame.encode())) for n, frame in enumerate(segment(payload))]


def test_kona_state_of_charge(shared: Path) -> None:
    database = load(shared / "data/css/tp_uds.dbc")
    decoded = decode_table(open_recording(shared / "data/css/kona_uds.mf4").table, [database])
    battery = decoded.messages["Battery"]
    charge = battery.columns["M_SID_0x220101_StateOfChargeBMS"]
    assert battery.source == "isotp+length"
    assert len(charge) == 120
    assert charge.valid.all()
    assert set(charge.values.tolist()) == {50.0}
    assert set(charge.raw.tolist()) == {100}
    # cantools agrees, given the payloads that were put together.
    logs = cantools.database.load_file(shared / "data/css/tp_uds.dbc", strict=False)
    for row in charge.rows.tolist():
        data = battery.payloads.data[row, : battery.payloads.length[row]].tobytes()
        values = logs.decode_message("Battery", data, allow_truncated=True)
        assert values["M_SID_0x220101_StateOfChargeBMS"] == 50.0


def test_truck_engine_speed(shared: Path) -> None:
    database = load(shared / "data/css/j1939_demo.dbc")
    table = open_recording(shared / "data/css/j1939_truck.mf4").table
    decoded = decode_table(table, [database])
    speed = decoded.messages["EEC1"].columns["EngineSpeed"]
    assert decoded.messages["EEC1"].source == "j1939"
    assert len(speed) > 10_000
    assert 640 <= speed.values.min() <= speed.values.max() <= 660
    other = cantools.database.load_file(shared / "data/css/j1939_demo.dbc", strict=False)
    rows = np.flatnonzero(table.can_id & 0xFFFF00 == 0xF00400)[::500]
    for row in rows.tolist():
        wanted = other.decode_message("EEC1", table.data[row].tobytes())["EngineSpeed"]
        assert wanted in speed.values[speed.t_ns == table.t_ns[row]]


LONG = Message("Answer", 0x7EC, False, 12, (Signal("First", 0, 8, True), Signal("Last", 88, 8, True)))


def test_plain_payloads() -> None:
    decoded = decode_table(FrameTable.from_rows(rows_of(bytes(range(1, 13)))), [database_of(LONG)])
    columns = decoded.messages["Answer"]
    assert (columns.source, decoded.decoded_frames, decoded.short_frames) == ("isotp", 2, 0)
    assert columns.columns["First"].values.tolist() == [1.0]
    assert columns.columns["Last"].values.tolist() == [12.0]


def test_a_length_byte_in_front_by_length() -> None:
    decoded = decode_table(FrameTable.from_rows(rows_of(bytes(range(1, 12)))), [database_of(LONG)])
    columns = decoded.messages["Answer"]
    assert columns.source == "isotp+length"
    assert columns.columns["First"].values.tolist() == [11.0]
    assert columns.columns["Last"].values.tolist() == [11.0]


@pytest.mark.parametrize(("in_front", "source"), [(False, "isotp"), (True, "isotp+length")])
def test_multiplexed_messages_say_themselves_which(in_front: bool, source: str) -> None:
    at = 8 * in_front
    service = Signal("Service", at, 8, True)
    value = Signal("Value", at + 24, 8, True, conditions=(Condition("Service", ((0x62, 0x62),)),))
    message = Message("Answer", 0x7EC, False, 40, (service, value))
    rows = [*rows_of(b"\x7f\x22\x78"), *rows_of(b"\x62\x01\x01" + bytes([77]) * 20, t_ns=10)]
    columns = decode_table(FrameTable.from_rows(rows), [database_of(message)]).messages["Answer"]
    assert columns.source == source
    assert columns.columns["Value"].values.tolist() == [77.0]
    assert columns.columns["Value"].t_ns.tolist() == [10]


def test_cut_payloads_give_what_is_there() -> None:
    decoded = decode_table(FrameTable.from_rows(rows_of(bytes(range(1, 13)))[:1]), [database_of(LONG)])
    columns = decoded.messages["Answer"]
    assert columns.source == "isotp"
    assert columns.short == 1
    assert columns.columns["First"].values.tolist() == [1.0]
    assert len(columns.columns["Last"]) == 0


def test_raw_frames_are_not_decoded_with_a_long_message() -> None:
    decoded = decode_table(FrameTable.from_rows([FrameRow(0, 0x7EC, b"\xff" * 8)]), [database_of(LONG)])
    assert decoded.messages == {}
    assert (decoded.decoded_frames, decoded.unknown_ids) == (0, ())


def test_can_fd_frames_carry_long_messages_themselves() -> None:
    rows = [FrameRow(0, 0x7EC, bytes(range(12)), FD), *rows_of(bytes(range(1, 13)), t_ns=5)]
    decoded = decode_table(FrameTable.from_rows(rows), [database_of(LONG)])
    assert decoded.messages["Answer"].source == "frame"
    assert decoded.messages["Answer"].columns["Last"].values.tolist() == [11.0]
    assert decoded.messages["Answer@isotp"].columns["Last"].values.tolist() == [12.0]
    assert decoded.decoded_frames == 3
