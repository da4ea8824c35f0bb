"""Columns of frames: shapes are checked, rows go in and come out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbc.errors import BadTable
from dbc.table import EXTENDED, FD, REMOTE, FrameRow, FrameTable, pgn_from_id


@st.composite
def frame_rows(draw: st.DrawFn) -> FrameRow:
    extended = draw(st.booleans())
    fd = draw(st.booleans())
    flags = EXTENDED * extended | FD * fd
    can_id = draw(st.integers(0, 0x1FFFFFFF if extended else 0x7FF))
    t_ns = draw(st.integers(-(2**62), 2**62))
    channel = draw(st.integers(0, 255))
    if not fd and draw(st.integers(0, 9)) == 0:
        return FrameRow(t_ns, can_id, b"", flags | REMOTE, channel, draw(st.integers(0, 8)))
    return FrameRow(t_ns, can_id, draw(st.binary(max_size=64 if fd else 8)), flags, channel)


@given(st.lists(frame_rows(), max_size=20))
def test_rows_survive_the_table(rows: list[FrameRow]) -> None:
    assert list(FrameTable.from_rows(rows).rows()) == rows


@given(st.lists(frame_rows(), max_size=20), st.integers(0, 20))
def test_two_halves_make_the_whole(rows: list[FrameRow], cut: int) -> None:
    halves = [FrameTable.from_rows(rows[:cut]), FrameTable.from_rows(rows[cut:])]
    assert list(FrameTable.concat(halves).rows()) == rows


@given(st.lists(frame_rows(), max_size=20))
def test_by_time_is_a_stable_sort(rows: list[FrameRow]) -> None:
    table = FrameTable.from_rows(rows)
    assert list(table.by_time().rows()) == sorted(rows, key=lambda row: row.t_ns)
    assert table.by_time().is_sorted


def test_key_tells_short_and_long_identifiers_apart() -> None:
    table = FrameTable.from_rows([FrameRow(0, 0x123, b""), FrameRow(0, 0x123, b"", EXTENDED)])
    assert table.key.tolist() == [0x123, 0x80000123]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"t_ns": np.zeros(2, np.int32)}, "t_ns is int32"),
        ({"can_id": np.zeros(3, np.uint32)}, r"can_id is uint32 \(3,\)"),
        ({"data": np.zeros((2, 9), np.uint8)}, r"data is uint8 \(2, 9\)"),
        ({"can_id": np.full(2, 1 << 29, np.uint32)}, "too large"),
        ({"length": np.full(2, 9, np.uint8)}, "too large"),
    ],
)
def test_columns_that_do_not_fit_are_refused(change: dict[str, np.ndarray], message: str) -> None:
    columns = {
        "t_ns": np.zeros(2, np.int64),
        "can_id": np.zeros(2, np.uint32),
        "flags": np.zeros(2, np.uint8),
        "channel": np.zeros(2, np.uint8),
        "length": np.zeros(2, np.uint8),
        "data": np.zeros((2, 8), np.uint8),
    }
    with pytest.raises(BadTable, match=message):
        FrameTable(**{**columns, **change})


def test_rows_out_of_range_are_refused() -> None:
    with pytest.raises(BadTable):
        FrameTable.from_rows([FrameRow(0, 1 << 29, b"")])
    with pytest.raises(BadTable):
        FrameTable.from_rows([FrameRow(0, 1, bytes(65))])


@pytest.mark.parametrize(
    ("can_id", "pgn"), [(0x0CF00400, 0xF004), (0x18FEF1FE, 0xFEF1), (0x18EAFF00, 0xEA00), (0x1CEC00F9, 0xEC00)]
)
def test_parameter_group_ignores_source_and_destination(can_id: int, pgn: int) -> None:
    assert pgn_from_id(can_id) == pgn
