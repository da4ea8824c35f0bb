"""A battery report in the terminal: findings first, then the cells as a heatmap, health, and what could not be seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from huizhen.scanview import show_figures, show_finding, show_rejected, show_safety

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.batteryreport import BatteryReport
    from diag.broadcast import Broadcast
    from diag.facts import BatteryState
    from diag.outlook import Outlook
    from diag.packhealth import Capacity
    from huizhen.console import Console

__all__ = ["show_battery_report", "show_outlook"]

_PER_ROW: Final = 12
_CELL_WIDTH: Final = 5
_WATCH_MV: Final = 10.0
_FAR_MV: Final = 30.0
_MARKS: Final = {"joint": "J", "resistance": "R", "capacity": "C", "charge-low": "Q", "charge-high": "Q"}


def show_battery_report(
    report: BatteryReport, broadcast: Broadcast, console: Console, *, simulated: bool = False
) -> None:
    """Prints a battery report."""
    tr, study = console.tr, report.study
    if simulated:
        console.line(console.style(tr("scan.simulated"), "monitor"))
    names = ", ".join(database.name for database in broadcast.databases)
    seconds = f"{_length_s(broadcast):.0f}"
    console.line(console.style(tr("battery.title", cells=len(report.state.cell_v), seconds=seconds), "title"))
    console.line("  " + console.style(tr("battery.read_with", database=names), "dim"))
    console.line()
    if study is None or not any(volts is not None for volts in report.state.cell_v):
        console.wrapped(console.style(tr("battery.no_cells"), "monitor"), indent="  ", first="  ")
    elif not report.findings:
        console.line("  " + console.style(tr("battery.no_findings"), "good"))
    for finding in report.findings:
        show_finding(finding, console)
    show_safety(report.findings, console)
    console.line()
    console.line(console.style(tr("scan.battery"), "title"))
    show_figures(report.state, console)
    _show_cells(report, console)
    show_rejected(report.state, console)
    _show_health(report, console)
    if study and study.unseen:
        console.line()
        console.line(console.style(tr("battery.not_visible"), "title"))
        names_of = {
            "resistance": tr("battery.what_resistance"),
            "capacity": tr("battery.what_capacity"),
            "charge": tr("battery.what_charge"),
        }
        for item in study.unseen:
            why, remedy = item.why.in_language(tr.lang), item.remedy.in_language(tr.lang)
            text = tr("battery.unseen", what=names_of[item.what], why=why, remedy=remedy)
            console.wrapped(text, indent="    ", first="  · ")


def _length_s(broadcast: Broadcast) -> float:
    """From the first to the last reading of any signal."""
    times = [(int(item.t_ns[0]), int(item.t_ns[-1])) for item in broadcast.series.values() if len(item.t_ns)]
    return (max(last for _, last in times) - min(first for first, _ in times)) / 1e9 if times else 0.0


def show_outlook(outlook: Sequence[Outlook], visits: int, console: Console) -> None:
    """Prints what will cross a limit; with a history and nothing to tell, that too."""
    if not outlook and not visits:
        return
    tr = console.tr
    console.line()
    console.line(console.style(tr("battery.outlook"), "title"))
    if not outlook:
        console.line("  " + tr("battery.no_trend", visits=visits))
    for item in outlook:
        text = console.style(item.text.in_language(tr.lang), item.severity.value)
        console.wrapped(text, indent="    ", first="  · ")


def _show_cells(report: BatteryReport, console: Console) -> None:
    """Every cell in millivolts against the median, coloured by how far; a letter where a cause was found."""
    state, tr = report.state, console.tr
    seen = sorted(volts for volts in state.cell_v if volts is not None)
    if not seen:
        return
    middle = (seen[(len(seen) - 1) // 2] + seen[len(seen) // 2]) / 2
    console.line()
    console.line("  " + tr("battery.heatmap", median=f"{middle:.3f}"))
    marks = {cause.cell: _MARKS[cause.cause] for cause in reversed(report.study.causes)} if report.study else {}
    per_row = max(4, min(_PER_ROW, (console.width - 10) // _CELL_WIDTH))
    for start in range(0, len(state.cell_v), per_row):
        row = "".join(
            _cell(state, number, middle, marks.get(number, ""), console)
            for number in range(start + 1, min(len(state.cell_v), start + per_row) + 1)
        )
        console.line(f"  {state.cell_label(start + 1):>5} {row}")
    if marks:
        found = {cause.cause for cause in report.study.causes} if report.study else set()
        words = {
            "J": tr("battery.mark_joint"),
            "R": tr("battery.mark_resistance"),
            "C": tr("battery.mark_capacity"),
            "Q": tr("battery.mark_charge"),
        }
        told = dict.fromkeys(_MARKS[name] for name in found)
        console.line("        " + console.style(tr.listed(f"{mark} = {words[mark]}" for mark in sorted(told)), "dim"))


def _cell(state: BatteryState, number: int, middle: float, mark: str, console: Console) -> str:
    volts = state.cell_v[number - 1]
    if volts is None:
        return console.style("  ·  ", "dim")
    away = (volts - middle) * 1000
    text = f"{away:+.0f}" if round(away) else "0"
    shown = f"{text + mark:>{_CELL_WIDTH - 1}} "
    size = abs(away)
    if mark or size >= _FAR_MV:
        return console.style(shown, "stop" if size >= _FAR_MV and away < 0 else "soon")
    return console.style(shown, "monitor" if size >= _WATCH_MV else "good")


def _show_health(report: BatteryReport, console: Console) -> None:
    tr, study = console.tr, report.study
    console.line()
    console.line(console.style(tr("battery.health"), "title"))
    if study is None:
        return
    rows = [[item.name.in_language(tr.lang), _percent(item), _ah(item)] for item in study.health.methods]
    console.table(rows)
    if study.health.why_not is not None:
        console.wrapped(study.health.why_not.in_language(tr.lang), indent="  ", first="  ")


def _percent(item: Capacity) -> str:
    if item.percent is None:
        return ""
    if item.interval is None:
        return f"{item.percent:.1f} %"
    return f"{item.percent:.1f} % ({item.interval[0]:.1f} … {item.interval[1]:.1f})"


def _ah(item: Capacity) -> str:
    if item.ah is None or item.interval_ah is None:
        return ""
    return f"{item.ah:.1f} Ah ({item.interval_ah[0]:.1f} … {item.interval_ah[1]:.1f})"
