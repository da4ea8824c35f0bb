"""A recording of somebody else's tester judged as a visit; the tester is udsoncan over can-isotp."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import can
import isotp
import numpy as np
import pytest
import udsoncan
from udsoncan.client import Client
from udsoncan.connections import PythonIsoTpConnection

import virtualbus
from dbc.table import EXTENDED, FrameRow, FrameTable
from diag.addressing import Target
from diag.replay import replay
from diag.sniffed import tape_from_recording

if TYPE_CHECKING:
    from collections.abc import Callable

START = 1_760_000_000_000_000_000


def row(t_ms: int, can_id: int, data: str, flags: int = 0) -> FrameRow:
    return FrameRow(t_ms * 1_000_000, can_id, bytes.fromhex(data), flags)


def taped(*rows: FrameRow):
    return tape_from_recording(FrameTable.from_rows(rows), start_ns=START, name="x.log")


def asked(tape, payload: str) -> list[tuple[str, list[str]]]:
    wanted = bytes.fromhex(payload)
    return [
        (entry.target.request_address, [answer.payload.hex().upper() for answer in entry.answers])
        for entry in tape.entries
        if entry.payload == wanted
    ]


def wait_for(condition: Callable[[], bool]) -> None:
    """Until something is there; fails after a while."""
    until = time.monotonic() + 30.0
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture(scope="module")
def recorded() -> FrameTable:
    """Two seconds of broadcast, then what a workshop's tester asks the BMS and everybody."""
    rows: list[FrameRow] = []
    with virtualbus.running("isolation") as car:
        listener = can.Bus(interface=car.interface, channel=car.channel)
        talker = can.Bus(interface=car.interface, channel=car.channel)
        done = threading.Event()

        def record() -> None:
            while not done.is_set():
                message = listener.recv(0.1)
                if message is not None:
                    t_ns = round(message.timestamp * 1e6) * 1000
                    rows.append(FrameRow(t_ns, message.arbitration_id, bytes(message.data)))

        thread = threading.Thread(target=record)
        thread.start()
        wait_for(lambda: bool(rows) and rows[-1].t_ns - rows[0].t_ns > 2e9)
        stack = isotp.CanStack(
            talker, address=isotp.Address(isotp.AddressingMode.Normal_11bits, txid=0x7E4, rxid=0x7EC)
        )
        config = {"exception_on_negative_response": False, "data_identifiers": {0xF190: udsoncan.AsciiCodec(17)}}
        with Client(PythonIsoTpConnection(stack), config=config, request_timeout=3) as client:
            client.get_dtc_by_status_mask(0xFF)
            client.read_data_by_identifier(0xF190)
        talker.send(can.Message(arbitration_id=0x7DF, data=bytes.fromhex("0201000000000000"), is_extended_id=False))
        wait_for(lambda: any(row.can_id == 0x7E8 and row.data[1:2] == b"\x41" for row in rows))
        done.set()
        thread.join()
        listener.shutdown()
        talker.shutdown()
    return FrameTable.from_rows(rows)


async def test_what_another_tester_asked_is_judged(recorded: FrameTable) -> None:
    tape = tape_from_recording(recorded, start_ns=0, name="workshop.log")
    report, _ = await replay(tape)
    assert "P0AA6-1A" in [dtc.display for dtc in report.dtcs]
    assert report.vehicle.vin is not None
    assert report.vehicle.vin.startswith("LHZ")
    assert report.vehicle.model_year is not None
    assert report.battery is not None
    assert len(report.battery.cell_v) == 96
    assert "insulation.low" in [finding.code for finding in report.findings]
    assert not report.complete  # the other ECUs were not asked for their codes
    assert "0x7E8" in [ecu.address for ecu in report.ecus]  # it answered the request to all


def test_a_request_to_all_is_each_ecu_s_own_part_too() -> None:
    tape = taped(
        row(0, 0x7DF, "0201000000000000"),
        row(10, 0x7E8, "064100BE3EA81100"),
        row(12, 0x7EC, "0641000000000100"),
    )
    assert asked(tape, "0100") == [
        ("0x7DF", ["4100BE3EA811", "410000000001"]),
        ("0x7E0", ["4100BE3EA811"]),
        ("0x7E4", ["410000000001"]),
    ]
    assert {where for where, _ in asked(tape, "3E00")} == {"0x7E0", "0x7E4"}


def test_patience_a_cut_answer_and_29_bits() -> None:
    tape = taped(
        row(0, 0x7E4, "0322F19000000000"),
        row(20, 0x7EC, "037F227800000000"),
        row(5000, 0x7EC, "101462F1904C485A"),
        row(5010, 0x7EC, "2145563444303752"),
        row(6000, 0x18DA10F1, "031902FFAAAAAAAA", EXTENDED),
        row(6020, 0x18DAF110, "075902FF0AA61A2F", EXTENDED),
    )
    ((where, answers),) = asked(tape, "22F190")
    assert (where, answers) == ("0x7E4", ["62F1904C485A45563444303752"])
    (entry,) = [entry for entry in tape.entries if entry.payload == b"\x22\xf1\x90"]
    assert (entry.answers[0].complete, entry.answers[0].missing) == (False, 7)
    assert asked(tape, "1902AF") == [("0x18DA10F1", ["5902FF0AA61A2F"])]
    assert entry.t_ns == START


def test_an_answer_that_is_too_late_or_of_another_service_belongs_to_nothing() -> None:
    late = taped(row(0, 0x7E4, "0322F19000000000"), row(3000, 0x7EC, "037F221100000000"))
    assert late.entries == []
    other = taped(row(0, 0x7E4, "0322F19000000000"), row(10, 0x7EC, "027E000000000000"))
    assert other.entries == []


def test_answers_without_their_requests_imply_them() -> None:
    tape = taped(row(0, 0x7EC, "0562D00212345678"))
    assert asked(tape, "22D002") == [("0x7E4", ["62D0021234"])]
    assert tape.entries[0].target == Target(0x7E4, 0x7EC)


def test_an_empty_recording_and_broadcast_alone_ask_nothing() -> None:
    empty = FrameTable.from_rows([])
    assert tape_from_recording(empty, start_ns=0, name="x").entries == []
    tape = taped(*(row(at, 0x120, "0102030405060708") for at in range(50)))
    assert tape.entries == []
    assert len(tape.frames) == 50
    assert tape.duration_s == pytest.approx(0.049)
    assert np.diff(tape.marks).tolist() == [0, 0, 0]
