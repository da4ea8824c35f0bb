"""The fault code panel: every code with its status, and what has just changed in it.

A code that changed is marked for some seconds with what its status byte was before; one that went stays for a minute.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from diag.facts import DtcKind
from huizhen.panelrows import columns, fitted, headed, scrolled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.facts import Dtc, DtcChange, DtcStatus
    from huizhen.language import Translator
    from huizhen.panelrows import Piece, Row, Scroll

__all__ = ["clock", "draw_codes"]

_FRESH_NS: Final = 15_000_000_000
_GONE_NS: Final = 60_000_000_000
_CODE_WIDTH: Final = 8
_TEXT_FROM: Final = 50
"""Columns from which a code's text has room."""


def clock(t_ns: int) -> str:
    """The time of day here."""
    return datetime.fromtimestamp(t_ns / 1e9).astimezone().strftime("%H:%M:%S")


def draw_codes(
    dtcs: Sequence[Dtc],
    changes: Sequence[DtcChange],
    note: str,
    now_ns: int,
    width: int,
    height: int,
    tr: Translator,
    *,
    is_focused: bool = False,
    scroll: Scroll | None = None,
) -> tuple[Row, ...]:
    """The panel in ``height`` rows of ``width`` columns.

    Args:
        dtcs: of all ECUs, as they were read last.
        changes: during this session, the oldest first.
        note: how fresh they are, or why there are none.
        now_ns: UTC.
        width: of the panel, in columns.
        height: of it, in rows.
        tr: for its words.
        is_focused: the keys go to it.
        scroll: how far it is scrolled.
    """
    last: dict[tuple[str, str], DtcChange] = {(change.ecu, change.code): change for change in changes}
    faults = [dtc for dtc in dtcs if dtc.is_fault]
    others = [dtc for dtc in dtcs if not dtc.is_fault]
    faults.sort(key=lambda dtc: (_order(dtc.status), dtc.severity.rank))
    there = {(dtc.ecu or "", dtc.display) for dtc in dtcs} | {(dtc.ecu or "", dtc.code) for dtc in dtcs}
    body: list[Row] = []
    for dtc in (*faults, *others):
        change = last.get((dtc.ecu or "", dtc.display)) or last.get((dtc.ecu or "", dtc.code))
        body += _code_rows(dtc, change, now_ns, width, tr)
    for key, change in last.items():
        if key not in there and change.after is None and now_ns - change.t_ns < _GONE_NS:
            body.append(
                fitted(
                    (
                        (" ", ""),
                        (f"{change.code:<{_CODE_WIDTH}}", "dim"),
                        (f" {_short(change.ecu):<4}", "dim"),
                        (" " + tr("dashboard.codes.gone", time=clock(change.t_ns)), "good"),
                    ),
                    width,
                )
            )
    if not body:
        body.append(fitted(((" ", ""), (tr("dashboard.codes.none"), "dim")), width))
    title = tr("dashboard.codes.title")
    if faults:
        title = tr("dashboard.codes.count", n=len(faults))
    return (headed(title, note, width, is_focused=is_focused), *scrolled(body, height - 1, scroll, width))


def _order(status: DtcStatus | None) -> int:
    if status is None:
        return 1
    return 0 if status.failing_now else 1 if status.confirmed else 2


def _short(ecu: str) -> str:
    return ecu.removeprefix("0x")


def _code_rows(dtc: Dtc, change: DtcChange | None, now_ns: int, width: int, tr: Translator) -> list[Row]:
    """One code: its name, ECU, status byte and word, its text behind or, where it is narrow, below."""
    is_fresh = change is not None and now_ns - change.t_ns < _FRESH_NS
    is_fault = dtc.is_fault
    style = dtc.severity.value if is_fault else "dim"
    # The red bar of "stop" belongs to findings: a list of codes would be one red block.
    style = "soon" if style == "stop" else style
    pieces: list[Piece] = [
        (" ", ""),
        (f"{dtc.display:<{_CODE_WIDTH}}", style),
        (f" {_short(dtc.ecu or ''):<4}", "dim"),
    ]
    word, word_style = _status_word(dtc, tr)
    pieces.append((f" {dtc.status.mask:02X}" if dtc.status else "   ", "changed" if is_fresh else ""))
    pieces.append((f" {word}", word_style))
    if is_fresh and change is not None:
        before = tr("dashboard.codes.new") if change.before is None else f"← {change.before.mask:02X}"
        pieces.append((f" {before}", "monitor"))
    text = dtc.text.in_language(tr.lang) if dtc.text else ""
    if width >= _TEXT_FROM:
        pieces.append((f"  {text}", "" if is_fault else "dim"))
        return [fitted(pieces, width)]
    rows = [fitted(pieces, width)]
    used = sum(columns(part) for part, _ in pieces)
    room = width - used - 2
    if text and room >= min(columns(text), 12):
        return [fitted((*pieces, (f"  {text}", "" if is_fault else "dim")), width)]
    if text and is_fault:
        rows.append(fitted((("   ", ""), (text, "dim")), width))
    return rows


def _status_word(dtc: Dtc, tr: Translator) -> tuple[str, str]:
    status = dtc.status
    if status is None and dtc.kind == (DtcKind.PENDING,):
        return tr("dashboard.codes.pending"), "monitor"
    if status is None and dtc.kind == (DtcKind.PERMANENT,):
        return tr("dashboard.codes.permanent"), ""
    if status is None:
        return tr("dashboard.codes.stored"), ""
    if status.failing_now:
        return tr("dashboard.codes.active"), "soon"
    if status.confirmed:
        return tr("dashboard.codes.confirmed"), ""
    if status.pending:
        return tr("dashboard.codes.pending"), "monitor"
    return tr("dashboard.codes.history"), "dim"
