"""What a pack's switches, isolation and heat showed over a recording: contactors, precharge, offset, leaks that come.

Switches are known by the names that databases give them (main, contactor, relay; positive, negative, precharge), the
voltage behind them by "link". What a database does not name is not judged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from diag.evidence import finding_of, measured

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from diag.facts import Evidence, Finding
    from diag.limits import BatteryLimits
    from diag.packseries import PackSeries
    from diag.samples import Series

    Floats = NDArray[np.float64]

__all__ = ["find_events"]

_SWITCH: Final = re.compile(r"main|contactor|relay", re.IGNORECASE)
_NOT_STATE: Final = re.compile(r"request|command|count|cycle|fault|error|temp|volt", re.IGNORECASE)
_POSITIVE: Final = re.compile(r"pos|plus|(?<![a-z])p(?![a-z])", re.IGNORECASE)
_NEGATIVE: Final = re.compile(r"neg|minus|(?<![a-z])n(?![a-z])", re.IGNORECASE)
_PRECHARGE: Final = re.compile(r"pre.?ch", re.IGNORECASE)
_LINK: Final = re.compile(r"link|inverter.*dc.*volt|dc.*bus.*volt", re.IGNORECASE)
_PACK: Final = re.compile(r"^pack.?volt|battery.?volt|^hv.*volt", re.IGNORECASE)
_ISOLATION: Final = re.compile(r"insulation|isolation", re.IGNORECASE)
_OHM: Final = {"ohm": 0.001, "ω": 0.001, "kohm": 1.0, "kω": 1.0, "mohm": 1000.0, "mω": 1000.0}


@dataclass(frozen=True, slots=True)
class _Line:
    """One signal, told at any moment by its last value; NaN before the first and long after the last."""

    name: str
    t_ns: NDArray[np.int64]
    values: Floats

    def at(self, t_ns: NDArray[np.int64], longest_s: float = 5.0) -> Floats:
        place = np.searchsorted(self.t_ns, t_ns, side="right") - 1
        found = np.where(place >= 0, self.values[np.maximum(place, 0)], np.nan)
        age = t_ns - self.t_ns[np.maximum(place, 0)]
        found[(place < 0) | (age > longest_s * 1e9)] = np.nan
        return found


def _line(item: Series) -> _Line | None:
    good = item.valid & np.isfinite(item.values)
    return _Line(item.name, item.t_ns[good], item.values[good]) if good.any() else None


def _switch(series: Mapping[str, Series], which: re.Pattern[str]) -> _Line | None:
    for name, item in series.items():
        words = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
        if not which.search(words) or _NOT_STATE.search(name) or item.unit not in ("", "bool"):
            continue
        if which is not _PRECHARGE and (not _SWITCH.search(name) or _PRECHARGE.search(name)):
            continue
        line = _line(item)
        if line is not None and set(np.unique(line.values)) <= {0.0, 1.0}:
            return line
    return None


def _volts(series: Mapping[str, Series], which: re.Pattern[str]) -> _Line | None:
    for name, item in series.items():
        if item.unit == "V" and which.search(name):
            line = _line(item)
            if line is not None:
                return line
    return None


def _longest(times_s: Floats, wanted: NDArray[np.bool_]) -> tuple[float, float]:
    """The longest stretch in which a condition holds throughout: its beginning and its length, seconds."""
    best, start = (0.0, 0.0), None
    for at, is_so in zip(times_s.tolist(), wanted.tolist(), strict=True):
        if is_so and start is None:
            start = at
        elif not is_so:
            start = None
        if start is not None and at - start > best[1]:
            best = (start, at - start)
    return best


def find_events(series: Mapping[str, Series], pack: PackSeries, limits: BatteryLimits) -> list[Finding]:
    """Findings of what the recording showed beside the cells.

    Args:
        series: signal name -> series.
        pack: the same on a grid.
        limits: settings.
    """
    return [
        *_switches(series, limits),
        *_offset(series, limits),
        *_isolation(series, limits),
        *_hot_modules(pack, limits),
    ]


def _switches(series: Mapping[str, Series], limits: BatteryLimits) -> list[Finding]:
    positive, negative = _switch(series, _POSITIVE), _switch(series, _NEGATIVE)
    link, pack = _volts(series, _LINK), _volts(series, _PACK)
    if positive is None or negative is None or link is None or pack is None:
        return []
    t_ns, behind = link.t_ns, link.values
    times_s = (t_ns - t_ns[0]) / 1e9
    before = pack.at(t_ns)
    closed = (positive.at(t_ns) == 1) & (negative.at(t_ns) == 1)
    opened = (positive.at(t_ns) == 0) & (negative.at(t_ns) == 0)
    found = []
    low = closed & (before > limits.pack_possible_v[0]) & (behind < before * (1 - limits.link_apart))
    at, length = _longest(times_s, low)
    if length >= limits.link_apart_s:
        row = int(np.searchsorted(times_s, at))
        volts = f"{link.name} {behind[row]:.0f} V, {pack.name} {before[row]:.0f} V"
        en = f"{volts} for {length:.0f} s with both contactors on"
        zh = f"两个主接触器均吸合，但 {volts}，持续 {length:.0f} s"
        found.append(finding_of("hv.contactor-open", [measured(f"{link.name} {at:.0f} s", en, zh, length, "s")]))
    precharge = _switch(series, _PRECHARGE)
    bridged = np.zeros(len(t_ns), np.bool_) if precharge is None else precharge.at(t_ns) == 1
    high = opened & ~bridged & (before > limits.pack_possible_v[0]) & (behind > before * (1 - limits.link_apart))
    at, length = _longest(times_s, high)
    if length >= limits.link_holds_s:
        row = int(np.searchsorted(times_s, at))
        en = f"{link.name} stays at {behind[row]:.0f} V for {length:.0f} s although both contactors are off"
        zh = f"两个主接触器均已断开，{link.name} 仍保持 {behind[row]:.0f} V 达 {length:.0f} s"
        found.append(finding_of("hv.contactor-welded", [measured(f"{link.name} {at:.0f} s", en, zh, length, "s")]))
    if precharge is not None:
        found += _precharge(precharge, limits)
    return found


def _precharge(precharge: _Line, limits: BatteryLimits) -> list[Finding]:
    times_s = (precharge.t_ns - precharge.t_ns[0]) / 1e9
    at, length = _longest(times_s, precharge.values == 1)
    if length < limits.precharge_s:
        return []
    en = f"precharge on for {length:.1f} s at {at:.0f} s of the recording"
    zh = f"记录第 {at:.0f} s 起预充电持续 {length:.1f} s"
    return [finding_of("hv.precharge-slow", [measured(f"{precharge.name} {at:.0f} s", en, zh, length, "s")])]


def _offset(series: Mapping[str, Series], limits: BatteryLimits) -> list[Finding]:
    """Current that is read although nothing can flow."""
    positive, negative = _switch(series, _POSITIVE), _switch(series, _NEGATIVE)
    current = next(
        (line for name, item in series.items() if item.unit == "A" and re.search("pack|battery", name, re.IGNORECASE)
         and (line := _line(item)) is not None),
        None,
    )  # fmt: skip
    if positive is None or negative is None or current is None:
        return []
    opened = (positive.at(current.t_ns) == 0) & (negative.at(current.t_ns) == 0)
    if np.count_nonzero(opened) < limits.offset_readings:
        return []
    amperes = float(np.median(current.values[opened]))
    if abs(amperes) < limits.offset_told_a:
        return []
    en = f"{current.name} reads {amperes:+.1f} A with both contactors off"
    zh = f"两个主接触器均断开时 {current.name} 读数 {amperes:+.1f} A"
    return [finding_of("battery.current-offset", [measured(current.name, en, zh, amperes, "A")])]


def _isolation(series: Mapping[str, Series], limits: BatteryLimits) -> list[Finding]:
    """A leak that comes and goes, which the last reading alone does not show."""
    pack = _volts(series, _PACK)
    for name, item in series.items():
        factor = _OHM.get(item.unit.lower())
        line = _line(item) if factor and _ISOLATION.search(name) else None
        if line is None or pack is None or factor is None or len(line.values) < limits.isolation_readings:
            continue
        volts = float(np.median(pack.values))
        per_volt = line.values * factor * 1000.0 / volts if volts > limits.pack_possible_v[0] else np.array([])
        low = per_volt < limits.insulation_soon_ohm_per_v
        if not low.any() or low.mean() > limits.isolation_mostly:
            continue  # never, or as good as always: that is told elsewhere
        row = int(np.argmin(per_volt))
        at = float(line.t_ns[row] - line.t_ns[0]) / 1e9
        usual = float(np.median(per_volt[~low]))
        en = f"{per_volt[row]:.0f} Ω/V at {at:.0f} s, {usual:.0f} Ω/V at other times; low for {100 * low.mean():.0f} %"
        zh = f"第 {at:.0f} s 为 {per_volt[row]:.0f} Ω/V，其余时间 {usual:.0f} Ω/V；偏低时间占 {100 * low.mean():.0f} %"
        evidence: Evidence = measured(f"{name} {at:.0f} s", en, zh, float(per_volt[row]), "ohm/V")
        return [finding_of("insulation.intermittent", [evidence])]
    return []


def _hot_modules(pack: PackSeries, limits: BatteryLimits) -> list[Finding]:
    """A module that grows warmer than the others: it is cooled worse, or heats itself."""
    count = pack.temperature_c.shape[1]
    rows = len(pack.t_s)
    if count < 3 or rows < 10:
        return []
    found = []
    for probe in range(count):
        others = np.delete(pack.temperature_c, probe, axis=1)
        seen = np.isfinite(pack.temperature_c[:, probe]) & np.isfinite(others).any(axis=1)
        if np.count_nonzero(seen) < 10:
            continue
        gap = pack.temperature_c[seen, probe] - np.nanmedian(others[seen], axis=1)
        tenth = max(1, len(gap) // 10)
        first, last = float(np.median(gap[:tenth])), float(np.median(gap[-tenth:]))
        if last >= limits.gradient_k and last - first >= limits.gradient_growth_k:
            en = f"probe {probe + 1}: {first:+.1f} K to the others in the beginning, {last:+.1f} K at the end"
            zh = f"探头 {probe + 1}：开始时与其余相差 {first:+.1f} K，结束时 {last:+.1f} K"
            found.append((probe + 1, measured(f"CellTemp {probe + 1}", en, zh, last, "K")))
    if not found:
        return []
    probes = ", ".join(str(number) for number, _ in found)
    return [finding_of("thermal.gradient", [evidence for _, evidence in found], probes=probes)]
