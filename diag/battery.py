"""The traction battery from decoded signals: which signal is what, which readings to believe, which figures follow.

Input is a set of :class:`diag.facts.Series`, wherever they came from. Signals are recognised by name and unit.
Readings that no lithium cell can have are rejected and listed, never judged. Deviations are measured from the
median with the median absolute deviation, never with a mean and a spread that contain the bad cell.

Standard: none; practice as collected in ``docs/standards.md`` (battery).
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from diag.facts import BatteryState, Rejected, Text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from diag.facts import Series

__all__ = ["BatteryLimits", "BatterySignals", "battery_from_series", "find_battery_signals", "load_limits"]

RULES: Final = Path(__file__).parent / "rules" / "findings.toml"

_CELL_V = re.compile(r"(?:cell|bat)[a-z]*?volt(?:age)?s?0*(\d+)$|(?:cell)0*(\d+)volt(?:age)?$|^vcell0*(\d+)$")
_CELL_T = re.compile(
    r"(?:cell|module|batt?|pack)[a-z]*?temp(?:erature)?0*(\d+)$|(?:cell|module)0*(\d+)temp(?:erature)?$"
)
_PACK_V = re.compile(r"(?:pack|hvbatt?|batt?(?:ery)?|totalbatt?)[a-z]*volt(?:age)?$")
_PACK_I = re.compile(r"(?:pack|hvbatt?|batt?(?:ery)?|totalbatt?)[a-z]*curr(?:ent)?$")
_SOC = re.compile(r"^(?:bms|hv|batt?(?:ery)?|pack|display)?(?:soc|stateofcharge)(?:bms|display)?$")
_INSULATION = re.compile(r"(?:insulation|isolation)(?:resistance|resist|res)?$")

_VOLTS: Final = {"v": 1.0, "mv": 1e-3}
_KOHMS: Final = {"kohm": 1.0, "kω": 1.0, "ohm": 1e-3, "ω": 1e-3, "mohm": 1e3, "mω": 1e3}
_CELSIUS: Final = {"degc", "°c", "c", "deg c", "℃"}


@dataclass(frozen=True, slots=True)
class BatteryLimits:
    """Figures that separate possible from impossible and normal from odd; each is a setting in the rule file.

    Volts, millivolts, degrees Celsius and Ω/V as the names say.
    """

    cell_possible_v: tuple[float, float]
    temperature_possible_c: tuple[float, float]
    z_flag: float
    mad_floor_mv: float
    insulation_stop_ohm_per_v: float
    insulation_soon_ohm_per_v: float
    cell_low_monitor_mv: float
    cell_low_soon_mv: float
    opposition_mv: float
    opposition_imbalance: float
    spread_monitor_mv: float
    spread_soon_mv: float
    sum_mismatch_v: float
    temperature_soon_c: float
    temperature_stop_c: float


@cache
def load_rules() -> dict[str, Any]:
    """The rule file as it stands."""
    return tomllib.loads(RULES.read_text(encoding="utf-8"))


@cache
def load_limits() -> BatteryLimits:
    """The limits of the rule file."""
    figures: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in load_rules()["limits"].items()
    }
    return BatteryLimits(**figures)


@dataclass(frozen=True, slots=True)
class BatterySignals:
    """Which signal is what; ``scale`` turns each into V, A, °C, % or kΩ."""

    cells: Mapping[int, tuple[str, float]]
    temperatures: Mapping[int, str]
    pack_v: tuple[str, float] | None = None
    current: str | None = None
    soc: str | None = None
    insulation: tuple[str, float] | None = None


def find_battery_signals(units: Mapping[str, str]) -> BatterySignals | None:
    """Recognises a battery's signals by name and unit.

    Args:
        units: signal name -> unit as the database spells it.

    Returns:
        None when there is neither a cell voltage nor a pack voltage among them.
    """
    cells: dict[int, tuple[str, float]] = {}
    temperatures: dict[int, str] = {}
    single: dict[str, Any] = {}
    for name, unit_text in units.items():
        plain, unit = re.sub(r"[^a-z0-9]", "", name.lower()), unit_text.strip().lower()
        if (found := _CELL_V.search(plain)) and unit in _VOLTS:
            cells[int(next(group for group in found.groups() if group))] = (name, _VOLTS[unit])
        elif (found := _CELL_T.search(plain)) and unit in _CELSIUS:
            temperatures[int(next(group for group in found.groups() if group))] = name
        elif unit in _VOLTS and _PACK_V.search(plain):
            single.setdefault("pack_v", (name, _VOLTS[unit]))
        elif unit == "a" and _PACK_I.search(plain):
            single.setdefault("current", name)
        elif unit == "%" and _SOC.search(plain):
            single.setdefault("soc", name)
        elif unit in _KOHMS and _INSULATION.search(plain):
            single.setdefault("insulation", (name, _KOHMS[unit]))
    if not cells and "pack_v" not in single:
        return None
    return BatterySignals(cells, temperatures, **single)


_IMPOSSIBLE: Final = Text("outside of what such a sensor can measure", "超出该传感器可能的测量范围")
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
        rejected.append(Rejected(series.name, _IMPOSSIBLE, len(values) - len(believed)))
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
        None when there is no battery among the signals.
    """
    limits = limits or load_limits()
    signals = find_battery_signals({name: item.unit for name, item in series.items()})
    if signals is None:
        return None
    rejected: list[Rejected] = []
    count = max(signals.cells, default=0)
    first = min(signals.cells, default=1)
    cells: list[float | None] = []
    for number in range(min(first, 1), count + 1) if signals.cells else ():
        name, scale = signals.cells.get(number, ("", 1.0))
        cells.append(_typical(series.get(name), scale, limits.cell_possible_v, rejected))
    probes = [
        _typical(series.get(signals.temperatures[number]), 1.0, limits.temperature_possible_c, rejected)
        for number in sorted(signals.temperatures)
    ]
    pack_v = (
        _typical(series.get(signals.pack_v[0]), signals.pack_v[1], (1.0, 1500.0), rejected) if signals.pack_v else None
    )
    current = _typical(series.get(signals.current), 1.0, (-3000.0, 3000.0), rejected) if signals.current else None
    soc = _typical(series.get(signals.soc), 1.0, (0.0, 100.0), rejected) if signals.soc else None
    insulation = (
        _typical(series.get(signals.insulation[0]), signals.insulation[1], (0.0, 1e6), rejected)
        if signals.insulation
        else None
    )
    features = _features(cells, probes, pack_v, insulation, limits)
    weakest, why = _weakest(cells, features)
    return BatteryState(
        cell_v=tuple(_rounded(cell, 4) for cell in cells),
        temperatures_c=tuple(_rounded(probe, 2) for probe in probes),
        pack_v=_rounded(pack_v, 2),
        current_a=_rounded(current, 2),
        soc_percent=_rounded(soc, 2),
        insulation_kohm=_rounded(insulation, 1),
        weakest_cell=weakest,
        weakest_why=why,
        features=features,
        rejected=tuple(rejected),
        source=source,
    )


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _features(
    cells: list[float | None],
    probes: list[float | None],
    pack_v: float | None,
    insulation_kohm: float | None,
    limits: BatteryLimits,
) -> dict[str, float | None]:
    """Named figures for findings and the case library; None = could not be measured."""
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
    known = np.array([np.nan if cell is None else cell for cell in cells], dtype=np.float64)
    if np.isfinite(known).sum() >= 4:
        deviation_mv = (known - np.nanmedian(known)) * 1000
        sigma_mv = max(1.4826 * float(np.nanmedian(np.abs(deviation_mv))), limits.mad_floor_mv)
        features["spread_mv"] = round(float(np.nanmax(known) - np.nanmin(known)) * 1000, 1)
        features["cell_low_mv"] = round(-float(np.nanmin(deviation_mv)), 1)
        features["cell_high_mv"] = round(float(np.nanmax(deviation_mv)), 1)
        features["cell_low_z"] = round(-float(np.nanmin(deviation_mv)) / sigma_mv, 1)
        opposition, cell = _opposition(deviation_mv, sigma_mv, limits)
        features["neighbour_opposition_mv"] = round(opposition, 1)
        features["opposition_cell"] = float(cell) if cell else None
        if pack_v is not None and np.isfinite(known).all():
            features["sum_mismatch_v"] = round(float(known.sum()) - pack_v, 2)
    seen = [probe for probe in probes if probe is not None]
    if seen:
        features["temp_max_c"] = max(seen)
        features["temp_spread_k"] = round(max(seen) - min(seen), 2)
    if insulation_kohm is not None and pack_v:
        features["insulation_ohm_per_v"] = round(insulation_kohm * 1000 / pack_v, 1)
    return features


def _opposition(deviation_mv: NDArray[np.float64], sigma_mv: float, limits: BatteryLimits) -> tuple[float, int | None]:
    """How far two neighbours stand apart in opposite directions by about the same amount.

    A sense wire between two cells that reads wrong moves both readings against each other and leaves their sum alone;
    a bad cell moves only itself.

    Returns:
        The smaller of the two deviations in mV and the first cell's number; ``(0, None)`` when there is no such pair.
    """
    left, right = deviation_mv[:-1], deviation_mv[1:]
    smaller = np.minimum(np.abs(left), np.abs(right))
    larger = np.maximum(np.abs(left), np.abs(right))
    with np.errstate(invalid="ignore"):
        pair = (
            (left * right < 0)
            & (smaller > limits.z_flag * sigma_mv)
            & (np.abs(left + right) <= limits.opposition_imbalance * larger)
        )
    if not pair.any():
        return 0.0, None
    at = int(np.argmax(np.where(pair, smaller, 0.0)))
    return float(smaller[at]), at + 1


def _weakest(cells: list[float | None], features: Mapping[str, float | None]) -> tuple[int | None, Text | None]:
    """The cell with the lowest believed voltage and how far it stands out; none when a sense wire explains it."""
    seen = [(volts, number) for number, volts in enumerate(cells, start=1) if volts is not None]
    low, z = features["cell_low_mv"], features["cell_low_z"]
    if not seen or low is None or z is None or features["opposition_cell"] is not None:
        return None, None
    volts, number = min(seen)
    return number, Text(
        f"{volts:.3f} V, {low:.0f} mV below the median (robust score {z:.1f})",
        f"{volts:.3f} V,低于中位数 {low:.0f} mV(稳健评分 {z:.1f})",
    )
