"""The traction battery from decoded signals: which signal is what, which readings to believe, which figures follow.

Input is a set of :class:`diag.samples.Series`, wherever they came from. Signals are recognised by name and unit.
Readings that no lithium cell can have are rejected and listed, never judged. Deviations are measured from the
median with the median absolute deviation, never with a mean and a spread that contain the bad cell.

Standard: none; practice as collected in ``docs/standards.md`` (battery).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from diag.batterynames import BatterySignals, find_battery_signals
from diag.cells import CellView, find_bad_probes, view_cells
from diag.facts import BatteryState, Rejected, Text
from diag.limits import RULES, BatteryLimits, limits_for, load_limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from diag.samples import Series

__all__ = [
    "IMPOSSIBLE",
    "RULES",
    "BatteryLimits",
    "BatterySignals",
    "battery_from_series",
    "find_battery_signals",
    "load_limits",
]

IMPOSSIBLE: Final = Text("outside of what such a sensor can measure", "超出该传感器可能的测量范围")
_LOW_VOLTAGE: Final = Text(
    "the voltage of the low-voltage battery, not of a traction battery", "是低压蓄电池电压，不是动力电池电压"
)
_NOT_AVAILABLE: Final = Text('the ECU says "not available"', "控制器标记为“不可用”")


def _typical(
    series: Series | None, scale: float, possible: tuple[float, float], rejected: list[Rejected]
) -> float | None:
    """Median of the believable readings, None when there are none; lists what was not believed."""
    if series is None or not len(series.values):
        return None
    if lost := int((~series.valid).sum()):
        rejected.append(Rejected(series.name, _NOT_AVAILABLE, lost))
    values: NDArray[np.float64] = series.values[series.valid] * scale
    believed = values[(values >= possible[0]) & (values <= possible[1])]
    if len(believed) < len(values):
        rejected.append(Rejected(series.name, IMPOSSIBLE, len(values) - len(believed)))
    return float(np.median(believed)) if len(believed) else None


def battery_from_series(
    series: Mapping[str, Series], *, source: str, limits: BatteryLimits | None = None
) -> BatteryState | None:
    """The battery's state over the time that the series cover.

    Each figure is the median over that time, so that noise and one bad frame do not decide. Cells count from 1.

    Args:
        series: signal name -> series, units as in the database.
        source: where they are from, e.g. ``broadcast:huizhen_ev400``.
        limits: other than those of the rule file.

    Returns:
        None when there is no traction battery among the signals; a "battery voltage" of 12, 24 or 48 V is none.
    """
    limits = limits or limits_for(None)
    signals = find_battery_signals({name: item.unit for name, item in series.items()})
    if signals is None:
        return None
    rejected: list[Rejected] = []

    def typical(signal: tuple[str, float] | None, possible: tuple[float, float]) -> float | None:
        return _typical(series.get(signal[0]), signal[1], possible, rejected) if signal else None

    cells = [typical(signals.cells.get(number), limits.cell_possible_v) for number in range(1, signals.count + 1)]
    probes = [
        typical((signals.temperatures[number], 1.0), limits.temperature_possible_c)
        for number in sorted(signals.temperatures)
    ]
    pack_v = typical(signals.pack_v, (1.0, limits.pack_possible_v[1]))
    if pack_v is not None and signals.pack_v and pack_v < limits.pack_possible_v[0]:
        if not cells:
            return None
        if sum(cell or 0.0 for cell in cells) > limits.pack_possible_v[0]:
            rejected.append(Rejected(signals.pack_v[0], _LOW_VOLTAGE, len(series[signals.pack_v[0]].values)))
            pack_v = None
    current = typical((signals.current, 1.0) if signals.current else None, (-3000.0, 3000.0))
    soc = typical((signals.soc, 1.0) if signals.soc else None, (0.0, 100.0))
    insulation = typical(signals.insulation, (0.0, 1e6))
    view = view_cells([_rounded(cell, 4) for cell in cells], limits)
    labels = signals.labels or {}
    stands_out = view.lowest is not None and view.lowest.score >= limits.z_flag
    state = BatteryState(
        cell_v=tuple(_rounded(cell, 4) for cell in cells),
        temperatures_c=tuple(_rounded(probe, 2) for probe in probes),
        pack_v=_rounded(pack_v, 2),
        current_a=_rounded(current, 2),
        soc_percent=_rounded(soc, 2),
        insulation_kohm=_rounded(insulation, 1),
        weakest_cell=view.lowest.cell if view.lowest and stands_out else None,
        features=_features(view, cells, probes, pack_v, insulation, limits),
        rejected=tuple(rejected),
        source=source,
        cell_signals=tuple(signals.cells.get(number, ("", 1.0))[0] for number in range(1, len(cells) + 1)),
        cell_labels=tuple(labels.get(number, "?") for number in range(1, len(cells) + 1)),
    )
    return replace(state, weakest_why=_why_weakest(state, view)) if stands_out else state


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _features(
    view: CellView,
    cells: list[float | None],
    probes: list[float | None],
    pack_v: float | None,
    insulation_kohm: float | None,
    limits: BatteryLimits,
) -> dict[str, float | None]:
    """Named figures for findings and the case library; None = could not be measured.

    The low cell is that of the cells which no wrong sense wire touches; the spread is that of all.
    """
    features: dict[str, float | None] = dict.fromkeys(
        (
            "spread_mv",
            "cell_low_mv",
            "cell_low_z",
            "cell_high_mv",
            "neighbour_opposition_mv",
            "opposition_cell",
            "insulation_ohm_per_v",
            "temp_max_c",
            "temp_spread_k",
            "sum_mismatch_v",
        )
    )
    known = [cell for cell in cells if cell is not None]
    if view.high_mv is not None:
        features["spread_mv"] = round((max(known) - min(known)) * 1000, 1)
        features["cell_high_mv"] = round(view.high_mv, 1)
        features["neighbour_opposition_mv"] = round(view.pairs[0].millivolts, 1) if view.pairs else 0.0
        features["opposition_cell"] = float(view.pairs[0].cell) if view.pairs else None
        if pack_v is not None and len(known) == len(cells):
            features["sum_mismatch_v"] = round(sum(known) - pack_v, 2)
    if view.lowest:
        features["cell_low_mv"] = round(view.lowest.millivolts, 1)
        features["cell_low_z"] = round(view.lowest.score, 1)
    broken = find_bad_probes(probes, limits)
    seen = [probe for number, probe in enumerate(probes, start=1) if probe is not None and number not in broken]
    if seen:
        features["temp_max_c"] = round(max(seen), 2)
        features["temp_spread_k"] = round(max(seen) - min(seen), 2)
    if insulation_kohm is not None and pack_v:
        features["insulation_ohm_per_v"] = round(insulation_kohm * 1000 / pack_v, 1)
    return features


def _why_weakest(state: BatteryState, view: CellView) -> Text | None:
    """How far the lowest cell stands out, with the car's own number where that is another."""
    low = view.lowest
    volts = state.cell_v[low.cell - 1] if low else None
    if low is None or volts is None:
        return None
    signal = state.cell_signals[low.cell - 1]
    own = state.cell_label(low.cell) != str(low.cell)
    return Text(
        f"{volts:.3f} V, {low.millivolts:.0f} mV below the median ({low.score:.1f} times the usual scatter"
        + (f"; signal {signal})" if own else ")"),
        f"{volts:.3f} V，低于中位数 {low.millivolts:.0f} mV（偏离倍数 {low.score:.1f}，即正常离散程度的倍数"
        + (f"；信号 {signal}）" if own else "）"),
    )
