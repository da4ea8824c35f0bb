"""Signals that a person names: what is told counts, what else looks like it is left out."""

from __future__ import annotations

import numpy as np
import pytest

from diag.battery import battery_from_series
from diag.samples import Series
from diag.toldnames import with_told_names


def series(name: str, unit: str, value: float) -> Series:
    return Series(name, unit, np.arange(5, dtype=np.int64), np.full(5, value), np.ones(5, np.bool_))


def pack(*more: Series) -> dict[str, Series]:
    found = [series(f"U_Z{number}", "mV", 3700.0 + number) for number in range(1, 13)]
    found += [series("PackCurrent", "A", 5.0), series("BattI2", "A", 40.0), series("X17", "%", 61.0), *more]
    return {item.name: item for item in found}


def test_cells_of_any_name_and_the_other_current() -> None:
    named = with_told_names(pack(), {"cell": r"U_Z(\d+)", "pack-current": "BattI2", "soc": "X17"})
    state = battery_from_series(named, source="test")
    assert state is not None
    assert len(state.cell_v) == 12
    assert state.cell_v[0] == pytest.approx(3.701)
    assert state.current_a == 40.0
    assert state.soc_percent == 61.0
    assert "BattI2" not in named


def test_nothing_told_changes_nothing() -> None:
    given = pack()
    assert with_told_names(given, {}) == given


@pytest.mark.parametrize(
    ("told", "error"),
    [
        ({"cells": "x"}, KeyError),
        ({"pack-current": "NoSuch"}, KeyError),
        ({"cell": r"Z_(\d+)"}, KeyError),
        ({"cell": r"U_Z\d+"}, ValueError),
        ({"cell": "("}, ValueError),
        ({"cell": r"U_Z(\d)\d*"}, ValueError),
    ],
)
def test_what_cannot_be_is_an_error(told: dict[str, str], error: type[Exception]) -> None:
    with pytest.raises(error):
        with_told_names(pack(), told)
