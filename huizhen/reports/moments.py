"""What signals did around a fault: from the flight recorder's half minutes, or from the frames of a visit.

A strip is one signal in at most 240 steps of time with its lowest and highest value in each, so that a spike of one
frame is still there. What tells where the car was is never drawn.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from diag.facts import Text, iso_from_ns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dbc.database import Database
    from diag.broadcast import Broadcast
    from diag.facts import Json
    from diag.samples import Series
    from huizhen.reports.source import ReportSource

__all__ = ["broadcast_of_session", "moment_of_event", "moment_of_visit"]

_STEPS: Final = 240
_MOST_STRIPS: Final = 6
_AROUND_NS: Final = 30_000_000_000
_FEWEST: Final = 4
_MOST_OF: Final = 0.9
_POSITION: Final = re.compile(r"lat(itude)?$|^lat|lon(g|gitude)?$|^lon|gps|gnss|position.*(earth|geo)", re.IGNORECASE)
_CELLS: Final = Text("Cells, lowest and highest", "单体电压（最低与最高）")
_ROLES: Final = (
    ("current", Text("Pack current", "总电流")),
    ("pack_v", Text("Pack voltage", "总压")),
    ("insulation", Text("Isolation", "绝缘电阻")),
    ("soc", Text("State of charge", "SOC")),
)
_UNITS: Final = {"Pack voltage": "V", "Isolation": "kΩ"}
"""Of the roles that are scaled."""


def broadcast_of_session(source: ReportSource, dbc_files: Sequence[str]) -> Broadcast | None:
    """The broadcast frames of a bundle, decoded with what the visit was read with; None without any.

    Raises:
        BundleBroken: a database that was named then is not at hand.
        dbc.errors.DbcError: it cannot be read.
    """
    from diag.broadcast import choose_for_recording, decode_broadcast, table_from_frames

    session = source.session
    if session is None or not session.tape.frames:
        return None
    frames = session.tape.frames
    databases = session.databases(dbc_files) or session.chosen_databases()
    if not databases and (choice := choose_for_recording(table_from_frames(frames))) is not None:
        databases = (choice.database,)
    return decode_broadcast((frame for frame in frames if not frame.tx), databases) if databases else None


def moment_of_visit(scan: Json, broadcast: Broadcast) -> Json | None:
    """The seconds around what changed while the car was read; without a change, the reading itself."""
    span = _span(broadcast.series)
    if span is None:
        return None
    changes = [
        (_ns(change["t"]), _change_text(change))
        for change in scan.get("dtc_changes", ())
        if span[0] <= _ns(change["t"]) <= span[1]
    ]
    refs = [item["ref"] for finding in scan["findings"] for item in finding["evidence"] if item["kind"] == "signal"]
    at_ns = changes[0][0] if changes else span[0]
    start, end = (max(span[0], at_ns - _AROUND_NS), min(span[1], at_ns + _AROUND_NS)) if changes else span
    if not changes and end - start > 2 * _AROUND_NS:
        start = end - 2 * _AROUND_NS
        at_ns = start
    strips = _strips(broadcast.series, refs, start, end, at_ns)
    if not strips:
        return None
    return {
        "kind": "change" if changes else "reading",
        "time": iso_from_ns(at_ns),
        "from_s": round((start - at_ns) / 1e9, 3),
        "to_s": round((end - at_ns) / 1e9, 3),
        "whole": True,
        "marks": [
            {"s": round((t_ns - at_ns) / 1e9, 3), "text": text.to_json()}
            for t_ns, text in changes
            if start <= t_ns <= end
        ],
        "strips": strips,
    }


def moment_of_event(event: Json, frames: Any, databases: Sequence[Database]) -> Json:
    """The half minutes that the flight recorder kept.

    Args:
        event: ``huizhen.event/1``.
        frames: path of its frames.
        databases: to read them with; empty = chosen by the frames.

    Raises:
        dbc.errors.DbcError: the frames cannot be read.
    """
    from dbc.recording import open_recording
    from diag.broadcast import choose_for_recording, decode_recorded

    table = open_recording(frames).table
    if not databases and (choice := choose_for_recording(table)) is not None:
        databases = (choice.database,)
    at_ns = _ns(event["time"])
    start, end = at_ns + round(event["from_s"] * 1e9), at_ns + round(event["to_s"] * 1e9)
    strips: list[Json] = []
    if databases and len(table):
        wanted = [item["signal"] for item in event.get("moved", ())]
        strips = _strips(decode_recorded(table, databases).series, wanted, start, end, at_ns)
    return {
        "kind": "event",
        "time": event["time"],
        "from_s": event["from_s"],
        "to_s": event["to_s"],
        "whole": event["whole"],
        "marks": [{"s": reason["s"], "text": reason["text"]} for reason in event["reasons"]],
        "strips": strips,
    }


def _ns(stamp: str) -> int:
    at = datetime.fromisoformat(stamp)
    return int(at.timestamp()) * 1_000_000_000 + at.microsecond * 1000


def _change_text(change: Json) -> Text:
    before, after = change["before"] or "–", change["after"] or "–"
    return Text(
        f"{change['ecu']} {change['code']}: status {before} → {after}",
        f"{change['ecu']} {change['code']}：状态 {before} → {after}",
    )


def _span(series: Mapping[str, Series]) -> tuple[int, int] | None:
    times = [(int(item.t_ns[0]), int(item.t_ns[-1])) for item in series.values() if len(item.t_ns)]
    return (min(first for first, _ in times), max(last for _, last in times)) if times else None


def _strips(series: Mapping[str, Series], wanted: Sequence[str], start: int, end: int, at_ns: int) -> list[Json]:
    """Up to six: cells and what is asked for first, then the pack's own figures."""
    from diag.battery import find_battery_signals

    signals = find_battery_signals({name: item.unit for name, item in series.items()})
    found: list[Json] = []
    cells = {name for name, _ in signals.cells.values()} if signals is not None else set()
    if signals is not None and cells:
        strip = _cell_band([(series[name], scale) for name, scale in signals.cells.values()], start, end, at_ns)
        if strip is not None:
            found.append({"signal": "", "name": _CELLS.to_json(), "unit": "V", **strip})
    names: dict[str, tuple[Text | None, float]] = {}
    for ref in wanted:
        if ref in series and ref not in cells and not _POSITION.search(ref):
            names.setdefault(ref, (None, 1.0))
    for role, role_name in _ROLES:
        told = getattr(signals, role, None) if signals is not None else None
        name, scale = told if isinstance(told, tuple) else (told, 1.0)
        if isinstance(name, str) and name in series:
            names[name] = (role_name, float(scale))
    for name, (text, scale) in names.items():
        if len(found) >= _MOST_STRIPS:
            break
        strip = _strip(series[name], scale, start, end, at_ns)
        if strip is not None:
            unit = series[name].unit if text is None else _UNITS.get(text.en, series[name].unit)
            found.append({"signal": name, "name": text.to_json() if text else None, "unit": unit, **strip})
    return found


def _steps_of(item: Series, scale: float, start: int, end: int) -> tuple[Any, Any, int]:
    """Lowest and highest believable value in each step of time (infinite where none), and how many there are."""
    low, high = np.full(_STEPS, np.inf), np.full(_STEPS, -np.inf)
    seen = item.valid & np.isfinite(item.values) & (item.t_ns >= start) & (item.t_ns <= end)
    at = np.minimum(((item.t_ns[seen] - start) * _STEPS) // max(1, end - start), _STEPS - 1).astype(np.int64)
    np.minimum.at(low, at, item.values[seen] * scale)
    np.maximum.at(high, at, item.values[seen] * scale)
    return low, high, int(np.count_nonzero(seen))


def _strip(item: Series, scale: float, start: int, end: int, at_ns: int) -> Json | None:
    """One signal; None where there is next to nothing of it."""
    low, high, count = _steps_of(item, scale, start, end)
    return _told(low, high, start, end, at_ns) if count >= _FEWEST else None


def _cell_band(cells: Sequence[tuple[Series, float]], start: int, end: int, at_ns: int) -> Json | None:
    """Lowest and highest of all cells, each held until its next reading: they come in frames one after the other."""
    lows, highs = np.full((len(cells), _STEPS), np.nan), np.full((len(cells), _STEPS), np.nan)
    for row, (item, scale) in enumerate(cells):
        low, high, count = _steps_of(item, scale, start, end)
        if not count:
            continue
        filled = np.isfinite(low)
        last = np.maximum.accumulate(np.where(filled, np.arange(_STEPS), -1))
        known = last >= 0
        lows[row, known], highs[row, known] = low[last[known]], high[last[known]]
    whole = np.isfinite(lows).sum(axis=0) >= _MOST_OF * max(1, int(np.isfinite(lows).any(axis=1).sum()))
    low, high = np.full(_STEPS, np.inf), np.full(_STEPS, -np.inf)
    if np.isfinite(lows).any():
        low[whole], high[whole] = np.nanmin(lows[:, whole], axis=0), np.nanmax(highs[:, whole], axis=0)
    return _told(low, high, start, end, at_ns)


def _told(low: Any, high: Any, start: int, end: int, at_ns: int) -> Json | None:
    filled = np.flatnonzero(np.isfinite(low))
    if len(filled) < _FEWEST:
        return None
    times = (start - at_ns + (filled + 0.5) * (end - start) / _STEPS) / 1e9
    return {
        "t_s": [round(float(value), 3) for value in times],
        "low": [_figure(value) for value in low[filled]],
        "high": [_figure(value) for value in high[filled]],
    }


def _figure(value: float) -> float:
    """Six significant digits."""
    return float(f"{value:.6g}")
