"""What a column says of its values: codes of J1939, limits, native types; and opendbc against cantools."""

from __future__ import annotations

import logging
import os
import random
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import cantools
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_dbc_decode import check_against_cantools

from dbc.database import Database, load
from dbc.decoding import decode_table
from dbc.errors import DatabaseError
from dbc.files import EV400
from dbc.signals import Message, Signal
from dbc.table import EXTENDED, FD, FrameRow, FrameTable

if TYPE_CHECKING:
    from dbc.columns import SignalColumn

PER_MESSAGE = int(os.environ.get("HUIZHEN_FRAMES_PER_MESSAGE", "0"))
"""Random frames for each message of each file of opendbc; 0 is a few for some of the files."""


def column_of(signal: Signal, payloads: list[bytes], *, j1939: bool = False, native: bool = False) -> SignalColumn:
    """The column of one signal in a message of its own."""
    message = Message("M", 0x18FEF100, True, 8, (signal,), is_j1939=j1939)
    rows = [FrameRow(n, 0x18FEF100, data, EXTENDED) for n, data in enumerate(payloads)]
    decoded = decode_table(FrameTable.from_rows(rows), [Database("made", "made.dbc", (message,))], native=native)
    for row, sample in zip(rows, decoded.messages["M"].columns["S"].values.tolist(), strict=True):
        single = message.decode(row.data)["S"].value
        assert (single is None and (native or np.isnan(sample))) or single == float(sample)
    return decoded.messages["M"].columns["S"]


def of(raw: int, size: int) -> bytes:
    return raw.to_bytes(size, "little").ljust(8, b"\0")


@pytest.mark.parametrize(
    ("bits", "valid", "invalid"),
    [
        (2, [0, 1], [2, 3]),
        (8, [0, 0xFA], [0xFB, 0xFE, 0xFF]),
        (16, [0, 0xFAFF], [0xFB00, 0xFE12, 0xFFFF]),
        (32, [0, 0xFAFFFFFF], [0xFB000000, 0xFFFFFFFF]),
        (4, [0, 15], []),
    ],
)
@pytest.mark.parametrize("native", [False, True])
def test_codes_of_j1939(bits: int, valid: list[int], invalid: list[int], native: bool) -> None:
    codes = [of(raw, 4) for raw in valid + invalid]
    column = column_of(Signal("S", 0, bits, True), codes, j1939=True, native=native)
    assert column.valid.tolist() == [True] * len(valid) + [False] * len(invalid)
    assert column_of(Signal("S", 0, bits, True), codes, native=native).valid.all()


def test_codes_of_j1939_that_the_database_uses_are_values() -> None:
    codes = [of(raw, 1) for raw in (0xFA, 0xFB, 0xFE, 0xFF)]
    whole = Signal("S", 0, 8, True, minimum=0, maximum=255)
    assert column_of(whole, codes, j1939=True).valid.tolist() == [True, True, True, False]
    named = Signal("S", 0, 8, True, labels={0xFB: "Charging", 0xFF: "Not available"})
    assert column_of(named, codes, j1939=True).valid.tolist() == [True, True, False, False]
    switch = Signal("S", 0, 2, True, labels={2: "Both", 3: "Don't care"})
    assert column_of(switch, [of(raw, 1) for raw in range(4)], j1939=True).valid.tolist() == [True] * 3 + [False]


def test_values_beyond_the_declared_range_are_flagged() -> None:
    signal = Signal("S", 0, 8, True, scale=0.1, minimum=1, maximum=20.04, labels={255: "SNA"})
    column = column_of(signal, [of(raw, 1) for raw in (9, 10, 200, 201, 254, 255)])
    assert column.out_of_range.tolist() == [True, False, False, True, True, False]
    assert column_of(Signal("S", 0, 8, True), [of(255, 1)]).out_of_range.tolist() == [False]


@pytest.mark.parametrize(
    ("signal", "kind"),
    [
        (Signal("S", 3, 5, True), np.uint8),
        (Signal("S", 3, 5, True, signed=True), np.int8),
        (Signal("S", 5, 7, True, offset=-40), np.int8),
        (Signal("S", 0, 8, True, offset=-40), np.int16),
        (Signal("S", 6, 12, True, scale=10), np.uint16),
        (Signal("S", 7, 16, False, scale=-2, offset=100), np.int32),
        (Signal("S", 3, 33, True), np.uint64),
        (Signal("S", 0, 64, True), np.uint64),
        (Signal("S", 7, 64, False, signed=True), np.int64),
        (Signal("S", 0, 8, True, scale=0.5), np.float64),
    ],
)
def test_native_types(signal: Signal, kind: type[np.generic]) -> None:
    chance = random.Random(1)
    payloads = [chance.randbytes(8) for _ in range(300)] + [b"\xff" * 8, bytes(8), b"\x80" * 8]
    column = column_of(signal, payloads, native=True)
    assert column.values.dtype == kind
    if signal.length < 53:
        assert np.array_equal(column.values.astype(np.float64), column_of(signal, payloads).values)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 40),
    st.integers(1, 24),
    st.booleans(),
    st.booleans(),
    st.sampled_from([1, 2, -3, 0.5, 0.25, -0.5, 0.1, 1e-3, 2**-20, 4096, 1.5]),
    st.sampled_from([0, 1, -40, 0.5, -273.15, 0.1, 1e9, 2**-30, 1e-17]),
    st.lists(st.binary(min_size=8, max_size=8), min_size=1, max_size=20),
)
def test_the_way_through_the_exponent_is_exact(
    first: int, length: int, little: bool, signed: bool, scale: float, offset: float, payloads: list[bytes]
) -> None:
    start = first if little else 8 * (first // 8) + 7 - first % 8
    signal = Signal("S", start, length, little, signed=signed, scale=scale, offset=offset)
    column = column_of(signal, payloads)
    assert column.values.tolist() == [float(raw * scale + offset) for raw in column.raw.tolist()]
    assert column_of(signal, payloads, native=True).values.tolist() == column.values.tolist()


@pytest.mark.parametrize("width", [8, 24])
def test_many_frames_give_what_few_give(width: int) -> None:
    """Work goes in blocks, and signals of one unit share it: borders and neighbours must not show."""
    chance = np.random.default_rng(5)
    layouts = [(0, 8), (3, 2), (5, 7), (8, 4), (13, 11), (30, 16), (33, 5), (50, 14), (44, 20), (8 * width - 9, 9)]
    signals = tuple(
        Signal(f"S{first}{'LB'[big]}{'US'[signed]}", start, length, not big, signed=bool(signed), scale=scale)
        for first, length in layouts
        for big in (0, 1)
        for signed, scale in ((0, 1), (1, 3), (1, 0.1))[: 2 + first % 2]
        for start in [8 * (first // 8) + 7 - first % 8 if big else first]
    )
    message = Message("M", 1, False, width, signals, is_fd=width > 8)
    database = Database("made", "made.dbc", (message,))
    n = 40_000
    data = np.zeros((n, 8 if width == 8 else 64), np.uint8)
    data[:, :width] = chance.integers(0, 256, (n, width))
    zeros = np.zeros(n, np.uint8)
    flags, length = np.full(n, FD if width > 8 else 0, np.uint8), np.full(n, width, np.uint8)
    table = FrameTable(np.arange(n)[::-1].copy(), np.ones(n, np.uint32), flags, zeros, length, data)
    few = chance.integers(0, n, 200)
    for native in (False, True):
        columns = decode_table(table, [database], native=native).messages["M"].columns
        for row in [*few.tolist(), 0, 16_383, 16_384, n - 1]:
            single = message.decode(data[row, :width].tobytes())
            for name, column in columns.items():
                assert float(column.values[row]) == single[name].value, (name, row)
                assert column.t_ns[row] == table.t_ns[row]


def opendbc_files() -> list[Path]:
    spec = find_spec("opendbc")
    if spec is None or not spec.submodule_search_locations:
        return []
    return sorted((Path(next(iter(spec.submodule_search_locations))) / "dbc").rglob("*.dbc"))


@pytest.mark.skipif(not opendbc_files(), reason="opendbc is not installed")
def test_every_message_of_opendbc_equals_cantools() -> None:
    logging.getLogger("cantools").setLevel(logging.ERROR)
    compared = files = 0
    for path in opendbc_files()[:: 1 if PER_MESSAGE else 6]:
        try:
            cantools.database.load_file(path, strict=False)
        except Exception:  # noqa: BLE001, S112 - what cantools cannot read is no oracle
            continue
        try:
            compared += check_against_cantools(path, per_message=PER_MESSAGE or 2, seed=11)
        except DatabaseError:
            continue
        files += 1
    assert files > 60 if PER_MESSAGE else files > 8
    assert compared > 2_000


@pytest.mark.parametrize("size", [8, 5, 0])
def test_values_alone_are_those_of_decode(size: int) -> None:
    messages = load(EV400).messages
    chance = random.Random(4)
    for one in messages:
        data = chance.randbytes(min(size, one.length))
        assert one.values(data) == {name: found.value for name, found in one.decode(data).items()}
        whole = chance.randbytes(one.length)
        assert one.values(whole) == {name: found.value for name, found in one.decode(whole).items()}
