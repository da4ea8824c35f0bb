"""Packs under fixed conditions, as recordings: the raw material of ``battery.py``.

Conditions: natural spread of capacity and resistance 1 %, cell readings with 1 mV noise in steps of 1 mV, current with
0.1 A noise and an offset of 0.5 A (1 sigma), temperatures with 1 K noise. One reading per second. The physics is the
simulator's; the reader gets nothing but the readings.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from diag.samples import Series
from virtualbus.chemistry import CELL_TYPES
from virtualbus.driving import Body, Trip
from virtualbus.pack import CellSpread, Pack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from virtualbus.chemistry import CellType

    Floats = NDArray[np.float64]

PER_MODULE = 8


def trip_power_w(seconds: int, rng: np.random.Generator, profile: str = "mixed") -> Floats:
    """What a drive takes from the pack, second by second."""
    body, trip = Body(), Trip(seconds, rng, profile)
    speed = 0.0
    power = np.empty(seconds)
    for second in range(seconds):
        step = float(np.clip(trip.speed_kmh(second) / 3.6 - speed, -2.2, 1.8))
        power[second] = 600.0 + body.electric_w(body.wheel_w(speed, step))
        speed += step
    return power


def off_the_table(kind: CellType, error: float, rng: np.random.Generator) -> CellType:
    """The same cell with another curve: at every quarter of the table the charge is off, each by its own draw."""
    if not error:
        return kind
    soc = np.array([0, 5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 100]) / 100
    off = np.interp(soc, [0.0, 0.25, 0.5, 0.75, 1.0], error * rng.standard_normal(5))
    moved = np.maximum.accumulate(soc + off * np.minimum(1.0, np.minimum(soc, 1 - soc) / 0.1))
    return replace(kind, ocv_v=tuple(kind.ocv_from_soc(moved).tolist()))


def recorded(
    cell: str,
    rng: np.random.Generator,
    *,
    parts: Sequence[tuple[str, float]],
    soc: float,
    cells: int = 96,
    change: Callable[[CellSpread], None] | None = None,
    step_s: float = 1.0,
    table_error: float = 0.0,
) -> tuple[dict[str, Series], Pack]:
    """The readings of one pack that does one thing after the other, and the pack itself.

    Args:
        cell: the cells' type.
        parts: what happens: ``("drive", minutes)``, ``("rest", minutes)``, ``("charge", amperes, minutes)`` as
            ``("charge:AMPERES", minutes)``.
        soc: in the beginning, 0..1.
        change: breaks something before it begins.
        table_error: 1 sigma of how far these cells' charge lies beside the published table of their type, 0..1.
    """
    kind = off_the_table(CELL_TYPES[cell], table_error, rng)
    spread = CellSpread.even(cells, soc)
    spread.capacity = 1 + 0.01 * rng.standard_normal(cells)
    spread.resistance = 1 + 0.01 * rng.standard_normal(cells)
    spread.soc = np.clip(soc + 0.001 * rng.standard_normal(cells), 0.0, 1.0)
    if change is not None:
        change(spread)
    pack = Pack(kind, spread, PER_MODULE, 22.0)
    offset_a = 0.5 * float(rng.standard_normal())
    volts, amperes, warmth, charge = [], [], [], []
    for what, minutes in parts:
        steps = round(minutes * 60 / step_s)
        power = trip_power_w(round(minutes * 60), rng) if what == "drive" else None
        for step in range(steps):
            if power is not None:
                current = pack.current_from_power(float(power[int(step * step_s)]))
            else:
                current = -float(what.partition(":")[2] or 0.0)
            if current < 0 and float(pack.terminal_v.max()) >= pack.cell.high_v - 0.05:
                current = 0.0
            pack.step(current, step_s, 20.0)
            volts.append(pack.terminal_v.copy())
            amperes.append(current)
            warmth.append(pack.temperature_c.copy())
            charge.append(float(np.mean(pack.soc)))
    rows = len(volts)
    t_ns = (np.arange(rows) * step_s * 1e9).astype(np.int64)
    seen_v = np.rint((np.array(volts) + 0.001 * rng.standard_normal((rows, cells))) / 0.001) * 0.001
    seen_a = np.array(amperes) + offset_a + 0.1 * rng.standard_normal(rows)
    seen_c = np.array(warmth) + rng.standard_normal((rows, pack.modules))
    # The car's own charge counter: off by up to two percent, in half percents.
    seen_soc = np.rint((np.array(charge) * 100 + 1.0 * float(rng.standard_normal())) * 2) / 2
    sure = np.ones(rows, dtype=np.bool_)
    series = {
        f"CellVoltage_{at + 1:03d}": Series(f"CellVoltage_{at + 1:03d}", "V", t_ns, seen_v[:, at], sure)
        for at in range(cells)
    }
    series |= {
        f"CellTemp_{at + 1:02d}": Series(f"CellTemp_{at + 1:02d}", "degC", t_ns, seen_c[:, at], sure)
        for at in range(pack.modules)
    }
    series["PackCurrent"] = Series("PackCurrent", "A", t_ns, seen_a, sure)
    series["PackVoltage"] = Series("PackVoltage", "V", t_ns, seen_v.sum(axis=1), sure)
    series["StateOfCharge"] = Series("StateOfCharge", "%", t_ns, np.clip(seen_soc, 0, 100), sure)
    return series, pack
