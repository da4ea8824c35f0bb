"""Which database is it: on real recordings, on the simulated car, and where identifiers alone would mislead."""

from __future__ import annotations

import random
from importlib.util import find_spec
from typing import TYPE_CHECKING

import can
import pytest

import virtualbus
from dbc.catalogue import entries, likely_entries
from dbc.database import Database, load
from dbc.evidence import Sample
from dbc.files import EV400
from dbc.fit import match_databases
from dbc.recording import open_recording
from dbc.signals import Message, Signal
from dbc.table import EXTENDED, FD, FrameRow, FrameTable

if TYPE_CHECKING:
    from pathlib import Path

needs_opendbc = pytest.mark.skipif(find_spec("opendbc") is None, reason="opendbc is not installed")


def opendbc(name: str) -> Path:
    return next(entry.path for entry in entries() if entry.name == name)


@pytest.fixture(scope="module")
def drive() -> FrameTable:
    """Some seconds of the simulated car, as the independent encoder of cantools makes them."""
    with (
        virtualbus.running("healthy", seed=3) as car,
        can.Bus(interface=car.interface, channel=car.channel) as bus,
    ):
        heard = [m for _ in range(1500) if (m := bus.recv(1.0)) is not None]
    first = heard[0].timestamp
    return FrameTable.from_rows(
        FrameRow(int((m.timestamp - first) * 1e9), m.arbitration_id, bytes(m.data)) for m in heard
    )


def test_the_simulated_car_is_its_own_database(drive: FrameTable) -> None:
    match = match_databases(drive, [load(EV400)])
    assert match.best == "huizhen_ev400"
    assert match.certainty > 0.95
    assert {reason.kind for reason in match.candidates[0].because} >= {"identifiers", "counters", "checksums"}


@needs_opendbc
def test_a_real_drive_of_a_tesla_is_known_by_its_checksums(shared: Path) -> None:
    table = open_recording(shared / "data/savvycan/candump.log").table
    names = [entry.name for entry in likely_entries(Sample(table).frames)]
    match = match_databases(table, [load(opendbc(name)) for name in names])
    assert match.best == "tesla_powertrain"
    assert "checksums" in {reason.kind for reason in match.candidates[0].because}
    others = [load(path) for path in sorted((shared / "data/savvycan").glob("*.dbc"))]
    others += [load(opendbc(name)) for name in names if not name.startswith("tesla")]
    without = match_databases(table, others)
    assert without.best is None
    assert without.none > 0.9


@needs_opendbc
@pytest.mark.parametrize("name", ["bmw_e9x_e8x", "hyundai_2015_ccan", "ford_cgea1_2_ptcan_2011", "mazda_2017"])
def test_twenty_four_shared_identifiers_are_no_proof(name: str) -> None:
    """A battery log: cell voltages of two bytes, all messages of 8 bytes, under identifiers of an unrelated car."""
    database, chance = load(opendbc(name)), random.Random(1)
    ids = sorted(m.can_id for m in database.by_key.values() if m.can_id < 0x700 and m.length == 8)[:24]
    assert len(ids) == 24
    cells = {can_id: [chance.uniform(3.2, 4.1) for _ in range(4)] for can_id in ids}
    rows = []
    for n in range(200):
        for can_id in ids:
            volts = [volt + 0.02 * n / 200 + chance.gauss(0, 0.001) for volt in cells[can_id]]
            data = b"".join(int(volt * 1e4).to_bytes(2, "big") for volt in volts)
            rows.append(FrameRow(n * 100_000_000 + can_id * 1000, can_id, data))
    match = match_databases(FrameTable.from_rows(rows), [database])
    assert match.best is None
    assert match.none > 0.5


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [FrameRow(0, 0x7E8, b"\x02\x41\x00")],
        [FrameRow(0, 0x18DAF110, b"\x02\x41\x00", EXTENDED)],
    ],
)
def test_nothing_but_diagnostics_says_nothing(rows: list[FrameRow]) -> None:
    match = match_databases(FrameTable.from_rows(rows), [load(EV400)])
    assert (match.best, match.candidates, match.none) == (None, (), 1.0)
    assert match.notes[0].zh == "没有广播报文"


def test_unknown_identifiers_and_frames_without_times() -> None:
    rows = [FrameRow(0, can_id, bytes(8)) for can_id in range(0x100, 0x140) for _ in range(30)]
    foreign = Database("foreign", "foreign.dbc", (Message("A", 0x10, False, 8, ()), Message("B", 0x11, False, 8, ())))
    match = match_databases(FrameTable.from_rows(rows), [foreign])
    assert (match.best, match.candidates) == (None, ())
    assert match.none > 0.99


def test_relatives_share_the_probability_and_are_named(drive: FrameTable) -> None:
    one = load(EV400)
    twin = Database("twin", "twin.dbc", one.messages)
    match = match_databases(drive, [one, twin])
    assert match.best in {"huizhen_ev400", "twin"}
    assert match.candidates[0].probability == pytest.approx(0.5, abs=0.01)
    assert match.certainty > 0.95
    assert match.candidates[0].same == (match.candidates[1].name,)
    by_make = match_databases(drive, [one, twin], likely=frozenset({"twin"}))
    assert by_make.candidates[0].name == "twin"


def test_long_frames_and_extended_ones() -> None:
    chance = random.Random(2)
    signals = (Signal("Level", 0, 16, True, 0.1), Signal("COUNTER", 16, 4, True), Signal("State", 24, 2, True))
    messages = tuple(
        Message(f"M{n}", 0x1ABC0000 + n if n % 2 else 0x300 + n, bool(n % 2), 24, signals, is_fd=True) for n in range(8)
    )
    rows = []
    for n in range(120):
        for message in messages:
            level = int(2000 + 500 * (n / 120) + 5 * chance.random())
            data = level.to_bytes(2, "little") + bytes([n % 16, 1]) + bytes(20)
            rows.append(FrameRow(n * 20_000_000, message.can_id, data, FD | EXTENDED * message.extended))
    match = match_databases(FrameTable.from_rows(rows), [Database("fd", "fd.dbc", messages)])
    assert match.best == "fd"
