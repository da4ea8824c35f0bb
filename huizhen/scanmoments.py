"""Freeze frames in the terminal: what the ECU kept of the moment when a code came, side by side for its records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from huizhen.console import display_width, pad
from huizhen.quantities import with_unit

if TYPE_CHECKING:
    from diag.facts import FreezeFrame, Reading
    from diag.vehiclereport import VehicleReport
    from huizhen.console import Console

__all__ = ["show_freeze_frames"]

_GAP: Final = 2


def show_freeze_frames(report: VehicleReport, console: Console) -> None:
    """Prints a table per ECU and moment; codes that came in the same moment share one."""
    tr = console.tr
    tables: dict[tuple[str, tuple[tuple[int, tuple[tuple[str, str], ...]], ...]], list[str]] = {}
    for (ecu, code), frames in _by_code(report, is_whole=console.verbose).items():
        columns = tuple((frame.record, _rows(frame, console)) for frame in frames)
        tables.setdefault((ecu, columns), []).append(code)
    for (ecu, columns), codes in tables.items():
        console.line()
        console.wrapped(tr("scan.freeze_frame", code=tr.listed(codes), ecu=ecu), indent="  ", first="  ", style="dim")
        _show_table(columns, console)


def _by_code(report: VehicleReport, *, is_whole: bool) -> dict[tuple[str, str], list[FreezeFrame]]:
    """Frames with something in them, by ECU and code; OBD's copy of one only where UDS gave none."""
    uds = {frame.code.partition("-")[0] for frame in report.freeze_frames if frame.source == "uds-snapshot"}
    found: dict[tuple[str, str], list[FreezeFrame]] = {}
    for frame in report.freeze_frames:
        if frame.source == "obd-freeze-frame" and frame.code.partition("-")[0] in uds and not is_whole:
            continue
        if any(item.value is not None for item in frame.readings):
            found.setdefault((frame.ecu, frame.code), []).append(frame)
    return found


def _rows(frame: FreezeFrame, console: Console) -> tuple[tuple[str, str], ...]:
    return tuple(
        (item.text.in_language(console.tr.lang) if item.text else item.name, _reading(item))
        for item in frame.readings
        if item.value is not None
    )


def _show_table(columns: tuple[tuple[int, tuple[tuple[str, str], ...]], ...], console: Console) -> None:
    """A row per reading, a column per record, as many columns at a time as the terminal is wide."""
    names = list(dict.fromkeys(name for _, rows in columns for name, _ in rows))
    first = max(map(display_width, names)) + 4 + _GAP
    cells = [dict(rows) for _, rows in columns]
    heads = [console.tr("scan.record", n=record) for record, _ in columns]
    widths = [
        max(display_width(head), *map(display_width, cell.values())) + _GAP
        for head, cell in zip(heads, cells, strict=True)
    ]
    start = 0
    while start < len(columns):
        end, used = start + 1, first + widths[start]
        while end < len(columns) and used + widths[end] < console.width:
            used += widths[end]
            end += 1
        if len(columns) > 1:
            line = "".join(pad(heads[at], widths[at]) for at in range(start, end))
            console.line(console.style((" " * first + line).rstrip(), "dim"))
        for name in names:
            line = "".join(pad(cells[at].get(name, "–"), widths[at]) for at in range(start, end))
            console.line((pad(f"    {name}", first) + line).rstrip())
        start = end


def _reading(item: Reading) -> str:
    value = item.value
    shown = f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
    return with_unit(shown, item.unit)
