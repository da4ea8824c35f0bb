"""The dashboard's first and last line: the link, the bus, the recording; the keys, or what has just happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from huizhen.panelrows import columns, fitted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from huizhen.language import Translator
    from huizhen.panelrows import Piece, Row

__all__ = ["Status", "draw_keys", "draw_status"]

_LOADED, _FULL = 60.0, 85.0


@dataclass(frozen=True, slots=True)
class Status:
    """What the first line tells.

    Args:
        place: the link in words: channel and bit rate.
        trouble: why nothing comes; None while frames come.
        trouble_s: for how long.
        frames_per_s: of the last second.
        load_percent: of the bus, None without a bit rate.
        dropped: frames that this machine was too busy for.
        recorded_s: of the recording that is on, None while none is.
        recorded_bytes: of it.
        is_simulated: no real car.
        time: of the day.
        round_s: of asking for every value; None where frames are heard.
    """

    place: str
    trouble: str | None = None
    trouble_s: float = 0.0
    frames_per_s: int = 0
    load_percent: float | None = None
    dropped: int = 0
    recorded_s: float | None = None
    recorded_bytes: int = 0
    is_simulated: bool = False
    time: str = ""
    round_s: float | None = None


def draw_status(status: Status, width: int, tr: Translator) -> Row:
    """The first line in ``width`` columns; what matters less goes first where it does not fit."""
    right: list[Piece] = []
    if status.recorded_s is not None:
        minutes, seconds = divmod(int(status.recorded_s), 60)
        size = f"{status.recorded_bytes / 1e6:.1f} MB"
        right.append((f" ● {tr('dashboard.status.recording')} {minutes:02}:{seconds:02} {size} ", "bar.rec"))
    elif status.round_s is None:
        right.append((f" {tr('dashboard.status.no_recording')} ", "bar.dim"))
    if status.time:
        right.append((f" {status.time} ", "bar.dim"))
    if status.trouble is not None:
        lost = [(f" {tr('dashboard.status.lost')} ", "lost")]
        words = tr("dashboard.status.lost_why", seconds=f"{status.trouble_s:.0f}", why=status.trouble)
        return _both([*lost, (f" {words}", "bar.monitor")], right, width)
    left: list[Piece] = [(" ● ", "bar.good"), (status.place, "bar")]
    if status.is_simulated:
        left.append((f" {tr('dashboard.status.simulated')}", "bar.monitor"))
    if status.round_s is not None:
        words = (
            tr("dashboard.status.asked", s=f"{max(0.1, status.round_s):.1f}")
            if status.round_s
            else tr("dashboard.status.asking")
        )
        return _both([*left, (f"  {words}", "bar")], right, width)
    left.append((f"  {status.frames_per_s}/s", "bar"))
    if status.load_percent is None:
        left.append((f"  {tr('dashboard.status.load')} –", "bar.dim"))
    else:
        style = "bar.rec" if status.load_percent >= _FULL else "bar"
        style = "bar.monitor" if _LOADED <= status.load_percent < _FULL else style
        left.append((f"  {tr('dashboard.status.load')} {status.load_percent:.0f} %", style))
    if status.dropped:
        left.append((f"  {tr('dashboard.status.dropped', n=status.dropped)}", "bar.monitor"))
    return _both(left, right, width)


def _both(left: Sequence[Piece], right: Sequence[Piece], width: int) -> Row:
    """Left and right parts; of the right ones the last goes when there is no room."""
    kept = list(right)
    used = sum(columns(text) for text, _ in left)
    while len(kept) > 1 and used + sum(columns(text) for text, _ in kept) > width:
        kept.pop()
    room = width - sum(columns(text) for text, _ in kept)
    if room < width // 3:
        return fitted(left, width, "bar")
    return fitted((*fitted(left, room, "bar"), *kept), width, "bar")


def draw_keys(keys: Sequence[tuple[str, str]], message: str | None, width: int) -> Row:
    """The last line: what has just happened, else the keys and what they do, as many as fit."""
    if message is not None:
        return fitted(((f" {message}", "bar.monitor"),), width, "bar")
    pieces: list[Piece] = []
    used = 0
    for key, word in keys:
        size = columns(key) + columns(word) + 2
        if used + size > width:
            break
        pieces += [(f" {key} ", "bar.key"), (f"{word}", "bar")]
        used += size
    return fitted(pieces, width, "bar")
