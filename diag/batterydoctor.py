"""The battery over time: what is wrong with which cell and why, probes, charge counter, heat, state of health.

:func:`study_battery` takes the series of a recording, of a live car or of telematics alike and judges what only time
and load can show; :mod:`diag.battery` has the figures of the moment.

Standard: GB 38031-2025 (1 K/s); otherwise practice as collected in ``docs/standards.md`` (battery).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from diag.battery import find_battery_signals
from diag.cellcauses import CellCause, Unseen, find_causes, what_is_unseen
from diag.cellmodel import CellModel, fit_cells
from diag.cells import find_bad_probes, ranges_from_numbers, view_cells
from diag.evidence import finding_of, measured
from diag.facts import Severity
from diag.limits import limits_for
from diag.packevents import find_events
from diag.packhealth import Health, find_health
from diag.packseries import PackSeries, pack_series

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from diag.batterynames import BatterySignals
    from diag.celltypes import CellType
    from diag.facts import BatteryState, Evidence, Finding, Json
    from diag.limits import BatteryLimits
    from diag.samples import Series

    Floats = NDArray[np.float64]

__all__ = ["BatteryStudy", "study_battery", "with_study"]

_SHOWN_CELLS: Final = 6
_FEWEST_SUMS: Final = 10
_SMOOTH_S: Final = 5.0
_CLEAR_OF_NOISE: Final = 9.0


@dataclass(frozen=True, slots=True)
class BatteryStudy:
    """What a recording says about a battery.

    Args:
        seconds: how long it is.
        pack: the series on one grid.
        model: None where there is too little to fit.
        causes: cells that stand apart, and why.
        health: capacity and state of health.
        unseen: questions without an answer.
        findings: for the report, most urgent first.
    """

    seconds: float
    pack: PackSeries
    model: CellModel | None
    causes: tuple[CellCause, ...]
    health: Health
    unseen: tuple[Unseen, ...]
    findings: tuple[Finding, ...]

    @property
    def features(self) -> dict[str, float | None]:
        """Figures for the case library: the largest excess of each kind, None where not visible."""
        model = self.model
        out: dict[str, float | None] = dict.fromkeys(
            ("cell_resistance_excess", "cell_capacity_deficit", "cell_charge_deficit", "pack_resistance_mohm")
        )
        if model is None:
            return out
        whole = model.pack_resistance
        if np.isfinite(whole) and whole > 0 and np.isfinite(model.resistance).any():
            out["pack_resistance_mohm"] = round(1000 * whole, 4)
            out["cell_resistance_excess"] = round(float(np.nanmax(model.resistance)) / whole, 3)
        if np.isfinite(model.capacity).any() and not any(item.what == "capacity" for item in self.unseen):
            out["cell_capacity_deficit"] = round(-float(np.nanmin(model.capacity)), 3)
        if np.isfinite(model.charge).any():
            out["cell_charge_deficit"] = round(-float(np.nanmin(model.charge)), 3)
        return out

    def to_json(self) -> Json:
        """``study`` of a battery report."""
        model = self.model
        return {
            "seconds": round(self.seconds, 1),
            "cell_type": model.kind.name if model and model.kind else None,
            "chemistry": model.kind.chemistry.name if model and model.kind else None,
            "pack_resistance_mohm": self.features["pack_resistance_mohm"],
            "swing_percent": round(100 * model.swing, 1) if model and model.swing is not None else None,
            "causes": [
                {
                    "cell": cause.cell,
                    "cause": cause.cause,
                    "value": round(cause.value, 6),
                    "error": round(cause.error, 6),
                    "score": round(cause.score, 1),
                }
                for cause in self.causes
            ],
            "not_visible": [
                {"what": item.what, "why": item.why.to_json(), "remedy": item.remedy.to_json()} for item in self.unseen
            ],
        }


def study_battery(
    series: Mapping[str, Series],
    *,
    limits: BatteryLimits | None = None,
    state: BatteryState | None = None,
    kind: CellType | None = None,
    rated_ah: float | None = None,
    rated_mohm: float | None = None,
    is_flipped: bool | None = None,
) -> BatteryStudy | None:
    """Studies a battery's series.

    Args:
        series: signal name -> series, units as in the database.
        limits: other than those of the rule file.
        state: the figures of the moment, for the cells' own numbers.
        kind: the cells' type where it is known.
        rated_ah: capacity when new.
        rated_mohm: resistance of one cell when new.
        is_flipped: whether the car counts charging as positive; None = learned from the voltage.

    Returns:
        None when there are no cells among the signals.
    """
    limits = limits or limits_for(None)
    signals = find_battery_signals({name: item.unit for name, item in series.items()})
    if signals is None:
        return None
    pack = pack_series(series, signals, limits, is_flipped=is_flipped)
    if pack is None:
        return None
    whole, pack = pack, _without_wires(pack, limits)
    seconds = float(pack.t_s[-1]) + pack.bin_s
    model = fit_cells(pack, kind=kind) if seconds >= limits.study_needs_s else None
    causes = find_causes(model, limits) if model is not None else ()
    told = _told_health(series)
    health = find_health(pack, model, limits, rated_ah=rated_ah, rated_mohm=rated_mohm, car_says=told)
    heats = _heating_cells(pack, causes, limits)
    findings = [
        *_thermal(pack, signals),
        *_cells(pack, model, causes, limits, state, heats),
        *_probes(pack, signals, limits, set(heats.values())),
        *_charge_jumps(pack, signals, limits),
        *_sum(whole, limits),
        *find_events(series, pack, limits),
    ]
    return BatteryStudy(
        seconds=seconds,
        pack=pack,
        model=model,
        causes=causes,
        health=health,
        unseen=what_is_unseen(model, limits),
        findings=tuple(sorted(findings, key=lambda finding: finding.severity.rank)),
    )


def _told_health(series: Mapping[str, Series]) -> float | None:
    """State of health as the car tells it."""
    for name, item in series.items():
        plain = name.lower().replace("_", "")
        if ("stateofhealth" in plain or plain.endswith("soh") or plain.startswith("soh")) and item.unit == "%":
            values = item.values[item.valid]
            values = values[(values > 0) & (values <= 110)]
            if len(values):
                return float(np.median(values))
    return None


def _without_wires(pack: PackSeries, limits: BatteryLimits) -> PackSeries:
    """The pack without the cells beside a sense wire that reads wrong: their voltages are not theirs."""
    middle = _column_medians(pack.cell_v)
    view = view_cells([None if np.isnan(value) else float(value) for value in middle], limits)
    spoilt = {cell for pair in view.pairs for cell in (pair.cell, pair.cell + 1)}
    unread = np.flatnonzero(np.isnan(middle))
    for beside in {*(unread - 1).tolist(), *(unread + 1).tolist()}:
        if 0 <= beside < len(middle) and not limits.cell_min_v <= middle[beside] <= limits.cell_max_v:
            spoilt.add(beside + 1)
    if not spoilt:
        return pack
    cells = pack.cell_v.copy()
    cells[:, [cell - 1 for cell in sorted(spoilt)]] = np.nan
    return replace(pack, cell_v=cells)


def _column_medians(table: Floats) -> Floats:
    out = np.full(table.shape[1], np.nan)
    seen = np.isfinite(table).any(axis=0)
    if seen.any():
        out[seen] = np.nanmedian(table[:, seen], axis=0)
    return out


# -- cells ----------------------------------------------------------------------------------------------------------


def _label(state: BatteryState | None, cells: Sequence[int]) -> str:
    parts = []
    for first, last in ranges_from_numbers(cells):
        one, other = (state.cell_label(first), state.cell_label(last)) if state else (str(first), str(last))
        parts.append(one if first == last else f"{one}–{other}")
    return ", ".join(parts)


def _cells(
    pack: PackSeries,
    model: CellModel | None,
    causes: Sequence[CellCause],
    limits: BatteryLimits,
    state: BatteryState | None,
    heats: Mapping[int, int],
) -> list[Finding]:
    """One finding per chief cause; a cell that is worn in several ways is one case."""
    if model is None:
        return []
    by_cell: dict[int, dict[str, CellCause]] = {}
    for cause in causes:
        by_cell.setdefault(cause.cell, {})[cause.cause] = cause
    groups: dict[str, list[int]] = {}
    for cell, own in by_cell.items():
        groups.setdefault("battery.cell-short" if cell in heats else _chief(own), []).append(cell)
    found = []
    for code, cells in groups.items():
        evidence: list[Evidence] = []
        for cell in cells[:_SHOWN_CELLS]:
            evidence += [_evidence(pack, model, cause, _label(state, [cell])) for cause in by_cell[cell].values()]
        sees_capacity = not any(item.what == "capacity" for item in what_is_unseen(model, limits))
        if code == "battery.cell-short":
            evidence += [_heat(pack, heats[cell]) for cell in cells[:_SHOWN_CELLS]]
        if code == "battery.cell-charge-low" and not sees_capacity:
            evidence.append(
                measured(
                    "CellVoltage",
                    "whether its capacity is low cannot be seen here: that would look the same",
                    "本记录无法判断其容量是否偏低：容量低的表现相同",
                    None,
                    "",
                )
            )
        title = "title" if len(cells) == 1 else "title_many"
        found.append(finding_of(code, evidence, title=title, cell=_label(state, sorted(cells))))
    return found


def _heating_cells(pack: PackSeries, causes: Sequence[CellCause], limits: BatteryLimits) -> dict[int, int]:
    """Cells that lost charge and whose module is warmer than the others, which no resistance explains.

    Returns:
        Cell from 1 -> its module's probe from 0. Empty where the probes cannot be matched to modules.
    """
    probes, cells = pack.temperature_c.shape[1], pack.cell_v.shape[1]
    if probes < 3 or cells % probes:
        return {}
    per_probe = cells // probes
    resistive = {cause.cell for cause in causes if cause.cause in ("resistance", "joint")}
    found = {}
    for cause in causes:
        if cause.cause not in ("capacity", "charge-low") or cause.cell in resistive:
            continue
        probe = (cause.cell - 1) // per_probe
        if _gap_over_time(pack, probe)[1] >= limits.short_heat_k:
            found[cause.cell] = probe
    return found


def _gap_over_time(pack: PackSeries, probe: int) -> tuple[float, float]:
    """Kelvins of a probe above the others in the first and in the last tenth; 0 where not seen."""
    others = np.delete(pack.temperature_c, probe, axis=1)
    own = pack.temperature_c[:, probe]
    seen = np.isfinite(own) & np.isfinite(others).any(axis=1)
    if int(seen.sum()) < 10:
        return 0.0, 0.0
    gap = own[seen] - np.nanmedian(others[seen], axis=1)
    tenth = len(gap) // 10
    return float(np.median(gap[:tenth])), float(np.median(gap[-tenth:]))


def _heat(pack: PackSeries, probe: int) -> Evidence:
    start, end = _gap_over_time(pack, probe)
    return measured(
        f"CellTemp {probe + 1}",
        f"the probe of its module, {probe + 1}, reads {start:+.1f} K against the others in the beginning and "
        f"{end:+.1f} K in the end, and no resistance explains that heat",
        f"其所在模组的探头 {probe + 1} 与其他探头之差开始时 {start:+.1f} K、结束时 {end:+.1f} K，且无内阻可解释该发热",
        end,
        "K",
    )


def _chief(own: Mapping[str, CellCause]) -> str:
    """The finding's code for one cell's causes."""
    if "joint" in own:
        return own["joint"].code
    if "resistance" in own and ("capacity" in own or "charge-low" in own):
        return "battery.cell-worn"
    for cause in ("capacity", "resistance", "charge-low", "charge-high"):
        if cause in own:
            return own[cause].code
    raise ValueError(own)  # there is no other cause


def _evidence(pack: PackSeries, model: CellModel, cause: CellCause, label: str) -> Evidence:
    span = f"0–{pack.t_s[-1]:.0f} s"
    ref = f"CellVoltage {label}, PackCurrent, {span}"
    if cause.cause in ("joint", "resistance"):
        whole = model.pack_resistance
        en = (
            f"cell {label}: {1000 * cause.value:.2f} mΩ (± {1000 * cause.error:.2f}) more than the median cell's "
            f"{1000 * whole:.2f} mΩ, seen over current changes of {model.current_spread_a:.0f} A"
        )
        zh = (
            f"第 {label} 号单体：内阻比中位单体的 {1000 * whole:.2f} mΩ 高 {1000 * cause.value:.2f} mΩ"
            f"（± {1000 * cause.error:.2f}），电流变化 {model.current_spread_a:.0f} A"
        )
        if cause.cause == "joint":
            en += "; it follows the current at once, without the delay of a cell: a contact"
            zh += "；随电流立即变化，没有单体的滞后：接触电阻"
        return measured(ref, en, zh, 1000 * cause.value, "mOhm")
    if cause.cause == "capacity":
        return measured(
            ref,
            f"cell {label}: {-100 * cause.value:.0f} % (± {100 * cause.error:.1f}) less capacity than the median cell, "
            f"from {100 * (model.swing or 0):.0f} % of charge that passed",
            f"第 {label} 号单体：容量比中位单体低 {-100 * cause.value:.0f} %（± {100 * cause.error:.1f}），"
            f"依据 {100 * (model.swing or 0):.0f} % 的电量变化",
            100 * cause.value,
            "%",
        )
    low = cause.value < 0
    return measured(
        ref,
        f"cell {label}: {100 * abs(cause.value):.1f} % of charge {'below' if low else 'above'} the median cell, "
        "the share of the current taken out",
        f"第 {label} 号单体：扣除电流影响后，电量比中位单体{'低' if low else '高'} {100 * abs(cause.value):.1f} %",
        100 * cause.value,
        "%",
    )


# -- heat, probes, charge counter -----------------------------------------------------------------------------------


def _probe_name(signals: BatterySignals, probe: int) -> str:
    return signals.temperatures[sorted(signals.temperatures)[probe]]


def _thermal(pack: PackSeries, signals: BatterySignals) -> list[Finding]:
    """A probe that rises by 1 K/s for more than 3 s while it did not just jump: runaway (GB 38031-2025)."""
    evidence = []
    for probe in range(pack.temperature_c.shape[1]):
        at, rate = _fastest_rise(pack.t_s, pack.temperature_c[:, probe])
        if rate >= 1.0:
            name = _probe_name(signals, probe)
            evidence.append(
                measured(
                    f"{name} {at:.0f} s",
                    f"probe {probe + 1} rose by {rate:.1f} K/s for more than 3 s, at {at:.0f} s of the recording",
                    f"探头 {probe + 1} 在记录的第 {at:.0f} s 起以 {rate:.1f} K/s 升温超过 3 s",
                    rate,
                    "K/s",
                )
            )
    return [finding_of("thermal.runaway", evidence, Severity.STOP)] if evidence else []


def _fastest_rise(t_s: Floats, celsius: Floats) -> tuple[float, float]:
    """When a probe rose fastest and how fast, over at least three seconds and clear of its own noise."""
    seen = np.isfinite(celsius)
    times, values = t_s[seen], celsius[seen]
    if len(times) < 4:
        return 0.0, 0.0
    steps = np.diff(values)
    noise = 1.4826 * float(np.median(np.abs(steps - np.median(steps)))) / np.sqrt(2)
    best = (0.0, 0.0)
    end = np.searchsorted(times, times + _SMOOTH_S, side="left")
    for start in range(len(times) - 3):
        last = min(int(end[start]), len(times) - 1)
        passed, risen = float(times[last] - times[start]), float(values[last] - values[start])
        if not 3.0 <= passed <= 4 * _SMOOTH_S or last - start < 3 or risen < _CLEAR_OF_NOISE * noise:
            continue
        part = steps[start:last]
        # A bad contact jumps; heat rises step by step.
        if risen / passed > best[1] and part.max() < 3 * max(part.mean(), noise):
            best = float(times[start]), risen / passed
    return best


def _probes(pack: PackSeries, signals: BatterySignals, limits: BatteryLimits, hot: Collection[int]) -> list[Finding]:
    """Probes that stand still while the others move, and probes that read beside all others from the beginning."""
    count = pack.temperature_c.shape[1]
    if count < 3:
        return []
    stuck, beside = [], []
    middles = _column_medians(pack.temperature_c)
    broken = find_bad_probes([None if np.isnan(value) else float(value) for value in middles], limits)
    for probe in range(count):
        if probe in hot or probe + 1 in broken:
            continue
        own = pack.temperature_c[:, probe]
        others = np.delete(pack.temperature_c, probe, axis=1)
        seen = np.isfinite(own) & np.isfinite(others).any(axis=1)
        if not seen.any():
            continue
        middle = np.nanmedian(others[seen], axis=1)
        moved = float(np.percentile(middle, 98) - np.percentile(middle, 2))
        name = _probe_name(signals, probe)
        length = float(np.ptp(pack.t_s[seen]))
        is_far = abs(float(np.median(own[seen] - middle))) >= limits.probe_offset_k
        need_k = limits.probe_still_k / 4 if is_far else limits.probe_still_k
        if length >= limits.probe_still_s and float(np.ptp(own[seen])) == 0.0 and moved >= need_k:
            en = f"probe {probe + 1} reads {own[seen][0]:.1f} °C all the time; the others moved by {moved:.1f} K"
            zh = f"探头 {probe + 1} 始终为 {own[seen][0]:.1f} °C，其余探头变化了 {moved:.1f} K"
            stuck.append((probe + 1, measured(name, en, zh, float(own[seen][0]), "degC")))
            continue
        gap = own[seen] - middle
        ends = np.array([np.median(gap[: max(1, len(gap) // 10)]), np.median(gap), np.median(gap[-len(gap) // 10 :])])
        if length < limits.probe_still_s or np.abs(ends).min() < limits.probe_offset_k or np.ptp(ends) > 2.0:
            continue
        side = "below" if ends[1] < 0 else "above"
        en = f"probe {probe + 1} reads {abs(ends[1]):.1f} K {side} the others all the time"
        zh = f"探头 {probe + 1} 始终比其余探头{'低' if ends[1] < 0 else '高'} {abs(ends[1]):.1f} K"
        beside.append((probe + 1, measured(name, en, zh, float(ends[1]), "K")))
    found = []
    for code, items in (("thermal.probe-stuck", stuck), ("thermal.probe-offset", beside)):
        if items:
            probes = ", ".join(str(number) for number, _ in items)
            found.append(finding_of(code, [evidence for _, evidence in items], probes=probes))
    return found


def _charge_jumps(pack: PackSeries, signals: BatterySignals, limits: BatteryLimits) -> list[Finding]:
    """The car's state of charge jumps although hardly any charge passed."""
    seen = np.flatnonzero(np.isfinite(pack.soc))
    if len(seen) < 2:
        return []
    times, soc = pack.t_s[seen], pack.soc[seen]
    steps, gaps = np.diff(soc), np.diff(times)
    jumps = np.flatnonzero((np.abs(steps) >= limits.soc_jump) & (gaps <= limits.soc_jump_s))
    evidence = []
    for at in jumps[:3].tolist():
        current = pack.current_a[seen[at] : seen[at + 1] + 1]
        current = current[np.isfinite(current)]
        passed_ah = float(np.abs(current).max()) * float(gaps[at]) / 3600 if len(current) else 0.0
        if passed_ah > abs(steps[at]) * limits.smallest_pack_ah / 3:
            continue
        evidence.append(
            measured(
                f"{signals.soc} {times[at]:.0f} s",
                f"from {100 * soc[at]:.1f} to {100 * soc[at + 1]:.1f} % within {gaps[at]:.0f} s at {times[at]:.0f} s "
                f"of the recording, while {passed_ah:.2f} Ah passed",
                f"记录第 {times[at]:.0f} s 处 {gaps[at]:.0f} s 内由 {100 * soc[at]:.1f} % 变为 "
                f"{100 * soc[at + 1]:.1f} %，期间仅通过 {passed_ah:.2f} Ah",
                100 * float(steps[at]),
                "%",
            )
        )
    return [finding_of("battery.soc-jump", evidence)] if evidence else []


def _sum(pack: PackSeries, limits: BatteryLimits) -> list[Finding]:
    """The cells against the pack voltage, moment by moment; a sense wire leaves their sum alone."""
    rows = np.isfinite(pack.cell_v).all(axis=1) & np.isfinite(pack.pack_v)
    if int(rows.sum()) < _FEWEST_SUMS:
        return []
    total, told = pack.cell_v[rows].sum(axis=1), pack.pack_v[rows]
    share = float(np.median((total - told) / told))
    if abs(share) <= limits.sum_recorded_share:
        return []
    volts = float(np.median(total - told))
    side, side_zh = ("more", "高") if share > 0 else ("less", "低")
    evidence = measured(
        f"PackVoltage 0–{pack.t_s[-1]:.0f} s",
        f"over the whole recording the cells add up to {abs(volts):.1f} V {side} than the pack voltage "
        f"({100 * abs(share):.2f} %, limit {100 * limits.sum_recorded_share:g} %)",
        f"整个记录期间单体电压之和比总压{side_zh} {abs(volts):.1f} V"
        f"（{100 * abs(share):.2f} %，限值 {100 * limits.sum_recorded_share:g} %）",
        volts,
        "V",
    )
    return [finding_of("data.cell-sum", [evidence])]


def with_study(state: BatteryState, study: BatteryStudy | None) -> BatteryState:
    """The state with the study's figures and state of health."""
    if study is None:
        return state
    return replace(state, features={**state.features, **study.features}, soh=study.health.to_json())
