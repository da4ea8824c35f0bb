"""What the cell voltages say: out of their window, a sense wire, weak cells, spread, missing readings, a wrong sum.

A code that names one of these takes part in the finding that the readings support; a cell is named only when it
stands out.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final

from diag.battery import IMPOSSIBLE
from diag.cells import CellView, ranges_from_numbers, view_cells
from diag.evidence import finding_of, measured, rule_of, urgency_of
from diag.facts import Severity, Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.evidence import Case
    from diag.facts import BatteryState, Dtc, Evidence, Finding
    from diag.limits import BatteryLimits

__all__ = ["judge_cells"]

_FEWEST_CELLS: Final = 4
_MOST_OF_IT: Final = 0.75
_RUN_OF_ONE_WIRE = 2
"""An open sense wire spoils the readings on both of its sides, no more."""


def judge_cells(case: Case) -> list[Finding]:
    """Every finding that rests on cell voltages, or on codes about them."""
    battery = case.battery
    silent = _unread_cells(battery) if battery else []
    open_cells = _open_wire_cells(battery, silent, case.limits) if battery else []
    view = CellView()
    if battery:
        believed = [None if cell in open_cells else volts for cell, volts in enumerate(battery.cell_v, start=1)]
        view = view_cells(believed, case.limits)
    line = case.codes(rule_of("battery.sampling-line")["codes"])
    weak = case.codes(rule_of("battery.cell-weak")["codes"])
    spread = case.codes(rule_of("battery.spread")["codes"])
    found = _judge_window(case, view, open_cells)
    has_wire = bool(view.pairs or open_cells)
    stands_out = bool(view.standing_out) and (bool(weak) or _is_low_for_its_load(case, view))
    to_line = [*line, *([] if stands_out or not has_wire else [*weak, *spread])]
    if to_line or has_wire:
        found.append(_sampling_line(case, view, open_cells, to_line))
    own: tuple[list[Dtc], list[Dtc]] = ([], []) if has_wire and not stands_out else (weak, spread)
    found.extend(_judge_rest(case, view, *own, stands_out=stands_out))
    if missing := [cell for cell in silent if cell not in open_cells]:
        found.extend(_missing(case, missing))
    return [*found, *_judge_sum(case)]


def _label(battery: BatteryState | None, cells: Sequence[int]) -> str:
    """Cells by the car's own numbers: ``17``, ``60–61, 80``."""
    parts = []
    for first, last in ranges_from_numbers(cells):
        one, other = (battery.cell_label(first), battery.cell_label(last)) if battery else (str(first), str(last))
        parts.append(one if first == last else f"{one}–{other}")
    return ", ".join(parts)


def _unread_cells(battery: BatteryState) -> list[int]:
    return [cell for cell, volts in enumerate(battery.cell_v, start=1) if volts is None]


def _open_wire_cells(battery: BatteryState, unread: Sequence[int], limits: BatteryLimits) -> list[int]:
    """Cells whose readings are all impossible while the cells beside them are fine.

    With them a cell that shares the wire and reads outside the voltage window: its voltage went to the other side.
    """
    impossible = {item.signal for item in battery.rejected if item.why == IMPOSSIBLE}
    if len(unread) * 2 > len(battery.cell_v):
        return []
    found: list[int] = []
    for first, last in ranges_from_numbers(unread):
        signals = battery.cell_signals[first - 1 : last]
        if last - first < _RUN_OF_ONE_WIRE and signals and all(signal in impossible for signal in signals):
            found.extend(range(first, last + 1))
            found.extend(
                beside
                for beside in (first - 1, last + 1)
                if first == last
                and 1 <= beside <= len(battery.cell_v)
                and (volts := battery.cell_v[beside - 1]) is not None
                and not limits.cell_min_v <= volts <= limits.cell_max_v
            )
    return sorted(found)


def _is_under_load(case: Case) -> bool:
    current = case.battery.current_a if case.battery else None
    return current is not None and abs(current) > case.limits.light_load_a


def _is_low_for_its_load(case: Case, view: CellView) -> bool:
    return not _is_under_load(case) or view.standing_out[0].millivolts >= case.limits.load_monitor_mv


def _judge_window(case: Case, view: CellView, open_cells: Sequence[int]) -> list[Finding]:
    """Cells outside their voltage window; readings that a wrong sense wire spoils are left out."""
    battery, limits = case.battery, case.limits
    if battery is None:
        return []
    spoilt = {*open_cells, *(cell for pair in view.pairs for cell in (pair.cell, pair.cell + 1))}
    volts = {n: v for n, v in enumerate(battery.cell_v, start=1) if v is not None and n not in spoilt}
    found: list[Finding] = []
    for code, limit, cells in (
        ("battery.over-voltage", limits.cell_max_v, [n for n, v in volts.items() if v > limits.cell_max_v]),
        ("battery.under-voltage", limits.cell_min_v, [n for n, v in volts.items() if v < limits.cell_min_v]),
    ):
        if cells:
            worst = max(cells, key=lambda n: abs(volts[n] - limit))
            name = _label(battery, [worst])
            evidence = measured(
                battery.cell_signals[worst - 1] if battery.cell_signals else f"CellVoltage {worst}",
                f"cell {name} reads {volts[worst]:.3f} V (limit {limit:.2f} V, NMC)",
                f"第 {name} 号单体 {volts[worst]:.3f} V（限值 {limit:.2f} V，三元）",
                volts[worst],
                "V",
            )
            found.append(finding_of(code, [evidence], cells=_label(battery, cells)))
    return found


def _sampling_line(case: Case, view: CellView, open_cells: Sequence[int], dtcs: Sequence[Dtc]) -> Finding:
    battery = case.battery
    evidence = case.evidence(dtcs)
    severity = urgency_of(dtcs, Severity(rule_of("battery.sampling-line")["severity"]))
    if battery is None or not (view.pairs or open_cells):
        return finding_of("battery.sampling-line", evidence, severity, title="title_unknown")
    for pair in view.pairs:
        evidence.append(_opposition(battery, pair.cell, pair.millivolts))
    for cell in open_cells:
        name, volts = battery.cell_label(cell), battery.cell_v[cell - 1]
        words = Text(
            f"cell {name}: every reading is impossible, the neighbours read normally: sense wire open or shorted",
            f"第 {name} 号单体：读数全部不可能，相邻单体正常：采样线断路或短路",
        )
        if volts is not None:
            words = Text(
                f"cell {name}: {volts:.3f} V beside an open sense wire, not believed",
                f"第 {name} 号单体：{volts:.3f} V，紧邻断路的采样线，不可信",
            )
        evidence.append(measured(battery.cell_signals[cell - 1], words.en, words.zh, volts, "V"))
    if view.pairs:
        one = view.pairs[0].cell
        names = {"cell": battery.cell_label(one), "next": battery.cell_label(one + 1)}
        return finding_of("battery.sampling-line", evidence, severity, **names)
    names = {"cells": _label(battery, open_cells)}
    return finding_of("battery.sampling-line", evidence, severity, title="title_open", **names)


def _opposition(battery: BatteryState, cell: int, millivolts: float) -> Evidence:
    one, other = battery.cell_v[cell - 1], battery.cell_v[cell]
    names = battery.cell_label(cell), battery.cell_label(cell + 1)
    return measured(
        f"CellVoltage {names[0]}/{names[1]}",
        f"cells {names[0]} and {names[1]} read {one:.3f} V and {other:.3f} V: {millivolts:.0f} mV away from the "
        "median in opposite directions, while their sum is normal",
        f"第 {names[0]}、{names[1]} 号单体读数为 {one:.3f} V 与 {other:.3f} V，"
        f"向相反方向偏离中位数 {millivolts:.0f} mV，而两者之和正常",
        millivolts,
        "mV",
    )


def _farthest(battery: BatteryState, total: float) -> list[Evidence]:
    """The one cell that makes most of the spread, if one does: a resistive cell stands above the others in a charge."""
    cells = {cell: volts for cell, volts in enumerate(battery.cell_v, start=1) if volts is not None}
    if len(cells) < _FEWEST_CELLS:
        return []
    middle = median(cells.values())
    cell = max(cells, key=lambda number: abs(cells[number] - middle))
    apart = (cells[cell] - middle) * 1000
    if abs(apart) < _MOST_OF_IT * total:
        return []
    name, side = battery.cell_label(cell), ("above", "高于") if apart > 0 else ("below", "低于")
    en = f"cell {name}: {cells[cell]:.3f} V, {abs(apart):.0f} mV {side[0]} the median"
    zh = f"第 {name} 号单体：{cells[cell]:.3f} V，{side[1]}中位数 {abs(apart):.0f} mV"
    return [measured(f"CellVoltage {name}", en, zh, round(apart, 1), "mV")]


def _judge_rest(
    case: Case, view: CellView, weak: Sequence[Dtc], spread: Sequence[Dtc], *, stands_out: bool
) -> list[Finding]:
    """Weak cells, else the general spread."""
    if weak or stands_out:
        return [_weak_cells(case, view, [*weak, *spread], stands_out=stands_out)]
    limits, total = case.limits, view.spread_mv
    begins = limits.load_monitor_mv if _is_under_load(case) else limits.spread_monitor_mv
    evidence = case.evidence(spread)
    severity = Severity.MONITOR
    if total is not None and total >= begins:
        evidence.append(measured("CellVoltage", f"spread {total:.0f} mV", f"压差 {total:.0f} mV", total, "mV"))
        evidence += _farthest(case.battery, total) if case.battery is not None else []
        if total >= limits.spread_soon_mv and not _is_under_load(case):
            severity = Severity.SOON
    return [finding_of("battery.spread", evidence, urgency_of(spread, severity))] if evidence else []


def _weak_cells(case: Case, view: CellView, dtcs: Sequence[Dtc], *, stands_out: bool) -> Finding:
    """The cells that stand out by number; without one, the code's own statement."""
    battery, limits = case.battery, case.limits
    evidence = case.evidence(dtcs)
    if battery is None or not stands_out:
        if view.lowest:
            low = view.lowest.millivolts
            evidence.append(
                measured(
                    "CellVoltage",
                    f"no cell stands out now: the lowest is {low:.0f} mV below the median",
                    f"当前没有单体明显偏低：最低者低于中位数 {low:.0f} mV",
                    low,
                    "mV",
                )
            )
        return finding_of("battery.cell-weak", evidence, urgency_of(dtcs, Severity.MONITOR), title="title_unknown")
    load = Text("", "")
    if _is_under_load(case):
        load = Text(f", under load ({battery.current_a:.0f} A)", f"，负载下测得（{battery.current_a:.0f} A）")
    for low_cell in view.standing_out:
        name, volts = battery.cell_label(low_cell.cell), battery.cell_v[low_cell.cell - 1]
        evidence.append(
            measured(
                f"CellVoltage {name}",
                f"cell {name}: {volts:.3f} V, {low_cell.millivolts:.0f} mV below the median "
                f"({low_cell.score:.1f} times the usual scatter){load.en}",
                f"第 {name} 号单体：{volts:.3f} V，低于中位数 {low_cell.millivolts:.0f} mV"
                f"（偏离倍数 {low_cell.score:.1f}，即正常离散程度的倍数）{load.zh}",
                low_cell.millivolts,
                "mV",
            )
        )
    cells = [low_cell.cell for low_cell in view.standing_out]
    severe = view.standing_out[0].millivolts >= limits.cell_low_soon_mv and not load.en
    return finding_of(
        "battery.cell-weak",
        evidence,
        urgency_of(dtcs, Severity.SOON if severe else Severity.MONITOR),
        title="title" if len(cells) == 1 else "title_block" if len(ranges_from_numbers(cells)) == 1 else "title_many",
        cell=_label(battery, cells),
    )


def _missing(case: Case, cells: Sequence[int]) -> list[Finding]:
    """Cells without one believed reading; none when nothing at all was received."""
    battery = case.battery
    rejected = {item.signal for item in battery.rejected} if battery else set()
    known = battery is not None and any(volts is not None for volts in battery.cell_v)
    received = battery is not None and any(signal in rejected for signal in battery.cell_signals)
    if battery is None or not (known or received):
        return []
    evidence = []
    for name, chosen in (
        (
            Text("readings that were not believed", "读数不可信"),
            [c for c in cells if battery.cell_signals and battery.cell_signals[c - 1] in rejected],
        ),
        (
            Text("nothing received", "未收到数据"),
            [c for c in cells if not battery.cell_signals or battery.cell_signals[c - 1] not in rejected],
        ),
    ):
        if chosen:
            where = _label(battery, chosen)
            evidence.append(
                measured(
                    f"CellVoltage {where}",
                    f"cells {where}: {name.en} ({len(chosen)})",
                    f"第 {where} 号单体：{name.zh}（{len(chosen)} 个）",
                    float(len(chosen)),
                    "",
                )
            )
    return [finding_of("data.cells-missing", evidence, n=len(cells), total=len(battery.cell_v))]


def _judge_sum(case: Case) -> list[Finding]:
    mismatch, limits = case.feature("sum_mismatch_v"), case.limits
    pack_v = case.battery.pack_v if case.battery else None
    if mismatch is None or pack_v is None:
        return []
    if abs(mismatch) <= max(limits.sum_mismatch_v, limits.sum_mismatch_share * pack_v):
        return []
    total, gap = pack_v + mismatch, abs(mismatch)
    direction = "高" if mismatch > 0 else "低"
    return [
        finding_of(
            "data.cell-sum",
            [
                measured(
                    "PackVoltage",
                    f"the cells add up to {total:.1f} V, the pack voltage reads {pack_v:.1f} V: "
                    f"they differ by {gap:.1f} V",
                    f"单体电压之和 {total:.1f} V，比总压 {pack_v:.1f} V {direction} {gap:.1f} V",
                    mismatch,
                    "V",
                )
            ],
        )
    ]
